//! The library of mails: what every one of them says, in both languages, is written down in `tests/it/library/`; none is large; and
//! whatever a customer calls themselves, a mail stays a mail.
//!
//! To renew what is written down, after looking at the difference: `OKAERI_RENEW=1 cargo test --test it -- library::`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use okaeri::campaign::{Library, WhenNoneLeft};
use okaeri::content::{Compiled, Facts, Rendered, Rewards, SenderValues, Snapshot, TemplateSet, Wanted};
use okaeri::content::{sample_clicks, sample_person, sample_recommended, sample_stranger};
use okaeri::problem::{Place, Problems};
use okaeri::segment;
use okaeri::settings::{Project, RewardPool};
use okaeri::token::Clicks;
use serde_json::{Value, json};

/// A mail is at most so large, in bytes of HTML; mail programs cut off what is larger than 102,400.
const HTML_BYTES_MAX: usize = 60_000;
const LOCALES: [&str; 2] = ["en", "ja"];

/// The sample shop's mails, ready to render.
struct Mails {
    compiled: Arc<Compiled>,
    /// Template → how many products its step recommends, and by which strategies.
    recommends: BTreeMap<String, Option<(usize, Vec<String>)>>,
    /// Template → what its step gives, when it has it.
    rewards: BTreeMap<String, RewardPool>,
}

impl Mails {
    fn load() -> Mails {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut problems = Problems::new();
        let lookup = |name: &str| (name == "OKAERI_BASE_URL").then(|| "https://mail.example.com".to_owned());
        let project = Project::load_with(dir, lookup, &mut problems).expect("the sample shop has settings");
        let segments = segment::Library::load(&project, &mut problems);
        let names: Vec<&str> = segments.names().collect();
        let campaigns = Library::load(&project, &names, &mut problems);
        let mut recommends = BTreeMap::new();
        let mut rewards = BTreeMap::new();
        let mut wanted = Vec::new();
        for campaign in campaigns.iter() {
            for step in &campaign.steps {
                let asked = step.recommend.as_ref().map(|r| {
                    (r.asked.count, r.asked.strategies.iter().map(|s| s.word().to_owned()).collect::<Vec<_>>())
                });
                recommends.insert(step.template.clone(), asked);
                let pools: Vec<RewardPool> = step
                    .reward
                    .iter()
                    .flat_map(|r| &r.pools)
                    .filter_map(|pool| project.settings.reward(pool).cloned())
                    .collect();
                rewards.extend(pools.first().map(|pool| (step.template.clone(), pool.clone())));
                wanted.push(Wanted {
                    name: step.template.clone(),
                    tracked: campaign.track,
                    promotional: campaign.kind == okaeri::campaign::Kind::Promotional,
                    place: Place::file("campaigns"),
                    recommends: None,
                    rewards: step.reward.as_ref().map(|r| Rewards {
                        pools,
                        may_be_missing: r.when_none_left == WhenNoneLeft::Send,
                        place: r.place.clone(),
                    }),
                });
            }
        }
        let set = TemplateSet::load(dir, &wanted, &project.settings, &mut problems);
        assert!(problems.is_empty(), "{}", problems.to_text());
        let sender = SenderValues::of(&project.settings).expect("every value is at hand");
        let compiled = Snapshot::take(&set.unwrap(), sender).compile().expect("the library compiles");
        Mails { compiled, recommends, rewards }
    }

    /// Somebody of whom everything is known, or as little as there can be, with what the mail recommends.
    fn person(&self, template: &str, locale: &str, stranger: bool) -> Value {
        let mut person = if stranger { sample_stranger(locale) } else { sample_person(locale) };
        if let Some((count, strategies)) = &self.recommends[template] {
            let words: Vec<&str> = strategies.iter().map(String::as_str).collect();
            person["recommend"] = sample_recommended(&person, *count, &words);
        }
        if let Some(pool) = self.rewards.get(template).filter(|_| !stranger) {
            person["reward"] = pool.sample(locale, jiff::civil::date(2026, 11, 24));
        }
        person
    }

    fn render(&self, template: &str, locale: &str, person: &Value) -> Rendered {
        self.render_with(template, locale, person, None)
    }

    /// As it would leave: its links lead through the redirect, and are many times as long.
    fn as_it_leaves(&self, template: &str, locale: &str, person: &Value) -> Rendered {
        self.render_with(template, locale, person, Some(&sample_clicks()))
    }

    fn render_with(&self, template: &str, locale: &str, person: &Value, clicks: Option<&Clicks>) -> Rendered {
        let facts = Facts {
            payload: person,
            customer_id: person["customer"]["customer_id"].as_str().unwrap_or("c-1"),
            email: "mia.berg@example.com",
            locale,
            campaign: "library",
            campaign_title: "Library",
            step: "step",
            unsubscribe: "https://mail.example.com/u/T",
            preferences: Some("https://mail.example.com/p/T"),
            clicks,
            today: "2026-11-24",
        };
        self.compiled.render(template, &facts).unwrap_or_else(|e| panic!("{template} {locale}: {e}"))
    }

    /// Every mail in every language.
    fn all(&self) -> impl Iterator<Item = (&str, &'static str)> {
        self.recommends.keys().flat_map(|t| LOCALES.map(|l| (t.as_str(), l)))
    }
}

/// Compare with what is written down, or write it down.
fn pinned(name: &str, said: &str, wrong: &mut Vec<String>) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/library").join(name);
    if std::env::var_os("OKAERI_RENEW").is_some() {
        std::fs::create_dir_all(file.parent().expect("a file lies in a folder")).unwrap();
        std::fs::write(&file, said).unwrap();
        return;
    }
    let written = std::fs::read_to_string(&file).unwrap_or_default();
    if written == said {
        return;
    }
    let differs = written.lines().zip(said.lines()).enumerate().find(|(_, (a, b))| a != b);
    let told = match differs {
        Some((line, (was, is))) => format!("line {}\n  was {was}\n  is  {is}", line + 1),
        None => "one ends earlier than the other".to_owned(),
    };
    wrong.push(format!("{name}: {told}"));
}

#[test]
fn every_mail_says_what_is_written_down() {
    let mails = Mails::load();
    let mut wrong = Vec::new();
    let mut names = Vec::new();
    for (template, locale) in mails.all() {
        let mail = mails.render(template, locale, &mails.person(template, locale, false));
        let name = format!("{}.{locale}", template.replace('/', "."));
        pinned(&format!("{name}.html"), &mail.html, &mut wrong);
        let text = format!("Subject: {}\nPreheader: {}\n\n{}", mail.subject, mail.preheader, mail.text);
        pinned(&format!("{name}.txt"), &text, &mut wrong);
        names.extend([format!("{name}.html"), format!("{name}.txt")]);
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/library");
    let there = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
    wrong.extend(there.filter(|f| !names.contains(f)).map(|f| format!("{f}: there is no such mail any more")));
    assert!(
        wrong.is_empty(),
        "{}\n\nif this is meant: OKAERI_RENEW=1 cargo test --test it -- library::",
        wrong.join("\n")
    );
}

#[test]
fn every_mail_is_small_complete_and_prepared_ahead() {
    let mails = Mails::load();
    let (mut smallest, mut largest) = (usize::MAX, 0);
    for (template, locale) in mails.all() {
        assert!(mails.compiled.is_prepared(template), "{template} is rendered the slow way");
        for stranger in [false, true] {
            let mail = mails.render(template, locale, &mails.person(template, locale, stranger));
            let (html, text) = (&mail.html, &mail.text);
            let leaving = mails.as_it_leaves(template, locale, &mails.person(template, locale, stranger)).html;
            assert!(
                leaving.contains("https://mail.example.com/c/"),
                "{template} {locale}: no link is led through the redirect"
            );
            assert!(leaving.len() <= HTML_BYTES_MAX, "{template} {locale}: {} bytes", leaving.len());
            largest = largest.max(leaving.len());
            smallest = smallest.min(leaving.len());
            assert!(html.contains(&format!(" lang=\"{locale}\"")), "{template} {locale}: its language");
            for part in [html, text] {
                let address = if locale == "ja" { "〒600-0000" } else { "Kyoto 600-0000" };
                for must in ["https://mail.example.com/u/T", address] {
                    assert!(part.contains(must), "{template} {locale} lacks {must}\n{part}");
                }
            }
            let (japanese, subject) = (locale == "ja", &mail.subject);
            assert_eq!(subject.chars().any(|c| ('\u{3040}'..='\u{30ff}').contains(&c)), japanese, "{subject}");
            assert!(subject.chars().count() <= 60, "{template} {locale}: a long subject, {subject}");
            assert!(!mail.preheader.is_empty(), "{template} {locale} has no preheader");
            // Nothing is left of what a template says about missing values.
            for never in ["{{", "{%", "undefined", "  ,", " ,", "、、", "様様", "「」"] {
                assert!(!text.contains(never), "{template} {locale} says `{never}`\n{text}");
            }
        }
    }
    eprintln!("mails of {smallest} to {largest} bytes of HTML as they leave");
}

/// What a name, a product or an address may hold. Each ends in a word that shows whether it arrived.
const HOSTILE: [&str; 8] = [
    "\"><script>alert(1)</script><img src=x onerror=alert(1)>here",
    "' onmouseover='alert(1)' here",
    "</style></td></table><h1>here",
    "--><![endif]--><b>here",
    "{{ brand.name }}{% raw %}{{ customer }}here",
    "&lt;b&gt;&#106;avascript:alert(1)//here",
    "\u{202e}\u{0}\r\nBcc: x@example.com\r\n\r\nhere",
    "javascript:alert(1)//here",
];

/// Every text of a person replaced, but what are not words: instants, days, categories that templates choose by, currencies.
fn poisoned(value: &mut Value, poison: &str) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let fixed = ["_at", "_on"].iter().any(|of_time| name.ends_with(of_time))
                    || matches!(name.as_str(), "today" | "currency" | "locale" | "strategy");
                if !fixed {
                    poisoned(value, poison);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|v| poisoned(v, poison)),
        Value::String(text) => *text = poison.to_owned(),
        _ => {}
    }
}

/// The elements of a mail with their attributes' names, and where its links lead.
fn skeleton(html: &str) -> (Vec<String>, Vec<String>) {
    let document = scraper::Html::parse_document(html);
    let all = scraper::Selector::parse("*").expect("a selector");
    let mut elements = Vec::new();
    let mut links = Vec::new();
    for element in document.select(&all) {
        let value = element.value();
        let mut names: Vec<&str> = value.attrs().map(|(name, _)| name).collect();
        names.sort_unstable();
        elements.push(format!("{} {}", value.name(), names.join(" ")));
        links.extend(value.attrs().filter(|(n, _)| matches!(*n, "href" | "src")).map(|(_, v)| v.to_owned()));
    }
    (elements, links)
}

#[test]
fn whatever_customers_call_themselves_a_mail_stays_a_mail() {
    let mails = Mails::load();
    let base = url::Url::parse("https://mail.example.com/").unwrap();
    for (template, locale) in mails.all() {
        let plain = {
            let mut person = mails.person(template, locale, false);
            poisoned(&mut person, "https://www.example.com/here");
            mails.render(template, locale, &person)
        };
        let comments = |html: &str| html.matches("<!--").count();
        let (elements, _) = skeleton(&plain.html);
        for poison in HOSTILE {
            let mut person = mails.person(template, locale, false);
            poisoned(&mut person, poison);
            let mail = mails.render(template, locale, &person);
            let (theirs, links) = skeleton(&mail.html);
            assert_eq!(theirs, elements, "{template} {locale}: {poison:?} changes the elements");
            assert_eq!(comments(&mail.html), comments(&plain.html), "{template} {locale}: {poison:?}");
            for link in links {
                // As a browser resolves it; what cannot be resolved leads nowhere.
                let Ok(url) = base.join(&link) else { continue };
                assert!(
                    matches!(url.scheme(), "https" | "mailto"),
                    "{template} {locale}: {poison:?} makes a link of {link}"
                );
            }
            assert!(!mail.text.contains("Tomoshibi{% raw"), "{template} {locale}: data was compiled");
            let hostile_braces = poison.contains("{{");
            assert!(hostile_braces || !mail.html.contains("{{"), "{template} {locale}");
            // What reaches the header of a mail is one line whatever the template gave; that is the composer's (hostile.rs).
            assert!(!mail.subject.is_empty());
        }
    }
}

#[test]
fn mails_do_without_orders_lines_products_and_names() {
    let mails = Mails::load();
    for (template, locale) in mails.all() {
        for hole in [
            "/order/lines",
            "/cart/items/1",
            "/profile/last_viewed",
            "/profile/top_category",
            "/customer/first_name",
            "/customer/last_name",
        ] {
            let mut person = mails.person(template, locale, false);
            match hole {
                "/order/lines" => person["order"]["lines"] = json!([]),
                "/cart/items/1" => drop(person["cart"]["items"].as_array_mut().unwrap().remove(1)),
                path => {
                    let (owner, name) = path.rsplit_once('/').unwrap();
                    person.pointer_mut(owner).unwrap().as_object_mut().unwrap().remove(name);
                }
            }
            mails.render(template, locale, &person);
        }
    }
}

/// The pages of the library and the campaigns are the same ones.
#[test]
fn every_campaign_stands_in_the_page_of_the_library() {
    let root: PathBuf = env!("CARGO_MANIFEST_DIR").into();
    let page = std::fs::read_to_string(root.join("docs/library.md")).unwrap();
    for entry in std::fs::read_dir(root.join("campaigns")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "yaml") {
            let name = path.file_stem().unwrap().to_str().unwrap();
            assert!(page.contains(&format!("`{name}`")), "docs/library.md does not name {name}");
        }
    }
}
