//! Each rule on a mail that breaks it and nothing else, and the facts about mail programs beside their source.

use std::fs;

use serde_json::json;

use super::*;
use crate::content::Rewards;
use crate::content::tests::skipped;
use crate::settings::{Project, RewardPool};

const SETTINGS: &str = "project: shop\nsender: { name: Lamp House, from: hello@example.com, organisation: Lamp House Ltd, postal_address: \"1 Quiet Road, Kyoto\" }\n";

/// A mail without a fault, with room for one: what stands in its head and in its body.
fn mail(head: &str, body: &str) -> String {
    format!(
        "Subject: A light for the evening\nPreheader: Three lamps that we would buy again\n\n\
         <html><head>{head}</head><body style=\"color:#222222\">\n{body}\n\
         <p>Paper lamps are made by two people in a valley, who make forty of them in a year and sign each one.</p>\n\
         <p>Lamp House Ltd, 1 Quiet Road, Kyoto. Questions? Write to us. <a href=\"{{{{ links.unsubscribe }}}}\">Unsubscribe</a></p></body></html>"
    )
}

fn wanted(name: &str) -> Wanted {
    Wanted {
        name: name.into(),
        promotional: true,
        tracked: true,
        place: Place::file("campaigns/a.yaml"),
        recommends: None,
        rewards: None,
    }
}

/// `code@line:column` of all that is told of a project with these files, whose mails are `names`.
fn told(settings: &str, files: &[(&str, String)], names: &[&str]) -> Vec<String> {
    told_giving(settings, files, names, |_| None)
}

/// The same of mails that give something of these pools.
fn told_giving(
    settings: &str,
    files: &[(&str, String)],
    names: &[&str],
    pools: impl Fn(&Settings) -> Option<Vec<RewardPool>>,
) -> Vec<String> {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("templates")).unwrap();
    fs::write(dir.path().join("okaeri.yaml"), format!("{SETTINGS}{settings}")).unwrap();
    for (name, text) in files {
        let file = dir.path().join("templates").join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    }
    let mut problems = Problems::new();
    let project = Project::load_with(dir.path(), |_| None, &mut problems);
    let settings = project.unwrap_or_else(|| panic!("{}", problems.to_text())).settings;
    let place = Place { file: "campaigns/a.yaml".into(), line: 1, column: 1 };
    let rewards = pools(&settings).map(|pools| Rewards { pools, may_be_missing: true, place });
    let wanted: Vec<Wanted> = names.iter().map(|name| Wanted { rewards: rewards.clone(), ..wanted(name) }).collect();
    let set = TemplateSet::load(dir.path(), &wanted, &settings, &mut problems);
    let set = set.unwrap_or_else(|| panic!("{}", problems.to_text()));
    set.check(&settings, None, &mut problems);
    let payload = json!({ "customer": { "customer_id": "p", "email": "p@example.com", "first_name": "Mia" }, "profile": {}, "today": "2026-11-24" });
    let person = |judged: bool, name: &str| {
        let mut payload = payload.clone();
        payload["customer"]["first_name"] = name.into();
        Reader { name: name.into(), locale: None, judged, payload }
    };
    set.lint(
        &settings,
        &[person(true, "Mia"), person(false, "xxx TODO")],
        jiff::civil::date(2026, 11, 24),
        &mut problems,
    );
    weigh(&settings, &mut problems);
    problems.sorted().iter().map(|p| format!("{}@{}:{}", p.code, p.place.line, p.place.column)).collect()
}

fn told_of(body: &str) -> Vec<String> {
    told("", &[("a.html", mail("", body))], &["a"])
}

#[test]
fn a_mail_without_a_fault_is_told_nothing() {
    assert_eq!(
        told(
            "compliance: [eu, us, ca, jp]\n",
            &[("a.html", mail("", "<p>Hi {{ customer.first_name | default(value=\"you\") }}</p>"))],
            &["a"]
        ),
        [""; 0]
    );
}

#[test]
fn each_rule_is_told_at_the_line_that_breaks_it() {
    for (body, expected) in [
        ("<p>\n <span style=\"color:#aaaaaa\">faint words</span></p>", "low-contrast@6:2"),
        ("<p style=\"background:#222222\">dark on dark</p>", "low-contrast@5:1"),
        ("<td bgcolor=\"#222222\"><b style=\"font-size:24px;color:#777777\">large</b></td>", ""),
        ("<p style=\"color:#aaaaaa;background:url(a.png)\">who knows</p>", ""),
        ("<p style=\"color:#ffffff;display:none\">not there</p>", ""),
        ("<p style=\"color:#aaaaaa\" aria-hidden=\"true\">ornament</p>", ""),
        ("<p>x</p><img src=\"https://example.com/a.png\">", "missing-alt@5:9"),
        ("<a href=\"https://example.com/\"><img alt=\"\" src=\"https://example.com/a.png\"></a>", "missing-alt@5:1"),
        ("<img alt=\"\" src=\"https://example.com/a.png\">", ""),
        ("<a href=\"http://example.com/\">plain</a>", "http-link@5:1"),
        ("<img alt=\"\" src=\"HTTP://example.com/a.png\">", "http-link@5:1"),
        ("<a href=\"https://www.bit.ly/x\">short</a>", "link-shortener@5:1"),
        ("<a href=\"#\">nowhere</a>", "empty-link@5:1"),
        ("<p>Lorem ipsum dolor</p>", "placeholder-text@5:1"),
        ("<div style=\"float:left\">x</div>", "ignored-css@5:13"),
        ("<!--[if !mso]><!--><div style=\"display:flex\">x</div><!--<![endif]-->", ""),
        ("<div style=\"position: static; transform: none\">x</div>", ""),
        ("<svg></svg>", "ignored-css@5:1"),
        ("{% set unused = 1 %}{% set used = 2 %}{{ used }}", "unused-variable@5:1"),
        ("{{ today | safe }}", "safe-filter@5:12"),
        // Letters of no size around a table hide nothing inside it.
        ("<div style=\"font-size:0\"><p style=\"font-size:16px;color:#fefefe\">faint</p></div>", "low-contrast@5:26"),
        ("<div style=\"font-size:0\">spaces<img src=\"https://example.com/a.png\"></div>", "missing-alt@5:32"),
        ("<div style=\"font-size:0;color:#fefefe\">spaces</div>", ""),
        ("<script>alert(1)</script>", "script@5:1"),
        ("<img alt=\"\" src=\"data:image/png;base64,AAAA\">", "ignored-css@5:1"),
        ("<p style=\"background:#ffffff url('http://example.com/a.png')\">x</p>", "http-link@5:1"),
        ("<input type=\"image\" alt=\"\" src=\"http://example.com/a.png\">", "http-link@5:1"),
        ("<p><!--[if mso]><v:image src=\"http://example.com/a.png\" /><![endif]--></p>", "http-link@5:1"),
        ("<p><!-- see http://example.com/ --></p>", ""),
    ] {
        let found = told_of(body);
        assert!(
            found.iter().map(String::as_str).eq(Some(expected).filter(|e| !e.is_empty()))
                || (expected.starts_with("placeholder") && found.contains(&expected.to_owned())),
            "{body}\n{found:?}"
        );
    }
}

#[test]
fn styles_are_looked_at_outside_of_media_queries_alone() {
    let told_of =
        |sheet: &str| told("", &[("a.html", mail(&format!("<style>{sheet}</style>"), "<p class=\"a\">x</p>"))], &["a"]);
    assert_eq!(told_of(".a { width: calc(100% - 2rem) }"), ["ignored-css@4:25", "ignored-css@4:25"]);
    assert_eq!(told_of("@media (max-width: 600px) { .a { display: flex } }"), [""; 0]);
    assert_eq!(told_of("@import url(x.css); p:before { color: #222222 }"), ["ignored-css@4:20", "ignored-css@4:40"]);
    assert!(told_of("{% if today %}.a { width: 10vw }{% endif %}").contains(&"ignored-css@4:39".to_owned()));
}

#[test]
fn the_dark_is_looked_at_where_the_mail_says_how_it_looks_there() {
    let told_of = |rules: &str| {
        let head = format!("<style>@media (prefers-color-scheme: dark) {{ {rules} }}</style>");
        told(
            "",
            &[(
                "a.html",
                mail(&head, "<div class=\"note\" style=\"background-color:#f0f0f0\"><p class=\"ink\">words</p></div>"),
            )],
            &["a"],
        )
    };
    assert_eq!(told_of(".note { background-color: #111111 !important }"), ["low-contrast-dark@5:52"]);
    assert_eq!(told_of(".note { background-color: #111111 !important } .ink { color: #eeeeee !important }"), [""; 0]);
    // Without `!important` the inline style wins, in mail programs as here.
    assert_eq!(told_of(".note { background-color: #111111 }"), [""; 0]);
}

#[test]
fn laws_ask_for_what_their_mails_must_show() {
    let bare = "Subject: A light for the evening\nPreheader: Three lamps that we would buy again\n\n<p>Paper lamps are made by two people in a valley, who make forty of them in a year and sign each one of them.</p>\
                <p><a href=\"{{ links.unsubscribe }}\">here</a></p>";
    let codes = |settings: &str| {
        let mut codes: Vec<String> = told(settings, &[("a.html", bare.to_owned())], &["a"])
            .iter()
            .map(|t| t.split('@').next().unwrap().to_owned())
            .collect();
        codes.dedup();
        codes.sort();
        codes.dedup();
        codes.join(" ")
    };
    assert_eq!(codes(""), "");
    assert_eq!(codes("compliance: [eu]\n"), "sender-name");
    assert_eq!(codes("compliance: [us]\n"), "postal-address");
    assert_eq!(codes("compliance: [ca]\n"), "complaints-contact postal-address sender-name");
    assert_eq!(codes("compliance: [jp]\n"), "complaints-contact postal-address refusal-notice sender-name");
    let japanese = "Subject: 灯りのお便り\nPreheader: あたらしいランプが三つ届きました\n\n<p>和紙のランプは、谷あいの工房で二人の職人が一年に四十ほど、ひとつずつ名を入れて作っています。長い夜の読書や、帰りを待つ玄関に、そっと灯る明るさです。\
                    手にとってご覧いただける日を楽しみにしております。どうぞお健やかにお過ごしください。</p>\
                    <p>配信の停止は<a href=\"{{ links.unsubscribe }}\">こちら</a>から。Lamp House Ltd<br>1 Quiet Road,<br>Kyoto<br>電話 075-000-0000</p>";
    assert_eq!(told("compliance: [jp]\n", &[("a.html", japanese.to_owned())], &["a"]), [""; 0]);
}

#[test]
fn a_way_out_that_nobody_sees_is_none() {
    for style in ["display:none", "color:#fefefe", "font-size:1px", "visibility:hidden"] {
        let text = mail("", "").replace(
            "<a href=\"{{ links.unsubscribe }}\">",
            &format!("<a style=\"{style}\" href=\"{{{{ links.unsubscribe }}}}\">"),
        );
        let found = told("", &[("a.html", text)], &["a"]);
        assert!(found.iter().any(|t| t.starts_with("hidden-unsubscribe@7:")), "{style}: {found:?}");
    }
    let empty = mail("", "").replace(">Unsubscribe</a>", "></a>");
    assert!(told("", &[("a.html", empty)], &["a"]).iter().any(|t| t.starts_with("hidden-unsubscribe@7")));
}

#[test]
fn a_mail_in_mjml_is_seen() {
    // What MJML makes stands in cells whose letters have no size.
    let text = "Subject: A light for the evening\nPreheader: Three lamps that we would buy again\n\n\
                <mjml><mj-body><mj-section><mj-column><mj-text>Paper lamps are made by two people in a valley, who make forty of \
                them in a year and sign each one.</mj-text><mj-text>Lamp House Ltd <a href=\"{{ links.unsubscribe }}\">Unsubscribe</a>\
                </mj-text></mj-column></mj-section></mj-body></mjml>";
    assert_eq!(told("compliance: [eu]\n", &[("a.mjml", text.to_owned())], &["a"]), [""; 0]);
}

#[test]
fn faults_inside_product_cards_are_seen() {
    let read = |name: &str| fs::read_to_string(format!("{}/templates/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let [kit, sign] = ["components/kit.html", "components/sign.html"].map(|name| (name, read(name)));
    let grid = "{% set lamps = [{\"name\": \"Paper lamp\", \"price\": 5400, \"image\": \"https://example.com/lamp.jpg\"}] %}{{<product_grid items={lamps} />}}";
    let of = |kit: &(&'static str, String), sign: &(&'static str, String)| {
        let found = told("", &[("a.html", mail("", grid)), kit.clone(), sign.clone()], &["a"]);
        found.iter().map(|t| t.split('@').next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(of(&kit, &sign), [""; 0]);
    let price = "<span class=\"soft\">{{ item.price | money }}";
    let faint =
        (kit.0, kit.1.replace(price, &price.replace("class=\"soft\"", "style=\"color:#fefefe;font-size:14px\"")));
    assert_eq!(of(&faint, &sign), ["low-contrast"]);
    let mute = (sign.0, sign.1.replace(" alt=\"{{ signs[kind] or \"・\" }}\"", ""));
    assert_eq!(of(&kit, &mute), ["missing-alt"]);
}

#[test]
fn a_language_whose_figures_nobody_knows_is_told() {
    let body = "<p>{{ today | date }}</p>{{<cost of={5400} />}}";
    let parts = "{% component cost(of: number) %}<p>{{ of | money }}</p>{% endcomponent cost %}\n\
                 {% component never(of: number) %}<p>{{ of | number }}</p>{% endcomponent never %}";
    let of = |name: &'static str| {
        let files = [("a.html", mail("", "")), (name, mail("", body)), ("components/c.html", parts.to_owned())];
        told("", &files, &["a"])
    };
    let found: Vec<String> = of("a.xx.html").into_iter().filter(|t| t.starts_with("english")).collect();
    assert_eq!(found, ["english-figures@5:15", "english-figures@1:44"]);
    assert!(["a.de-AT.html", "a.es.html"].iter().all(|name| of(name).iter().all(|t| !t.starts_with("english"))));
}

#[test]
fn lists_of_mails_cut_off_what_is_long() {
    let with = |subject: &str, preheader: &str| {
        let text = mail("", "")
            .replace("A light for the evening", subject)
            .replace("Preheader: Three lamps that we would buy again\n", preheader);
        told("", &[("a.html", text)], &["a"])
    };
    assert_eq!(with(&"灯".repeat(36), "Preheader: x\n"), ["long-subject@1:10"]);
    assert_eq!(with(&"灯".repeat(35), "Preheader: x\n"), [""; 0]);
    assert_eq!(with("a", ""), ["missing-preheader@1:10"]);
    assert_eq!(with("a", &format!("Preheader: {}\n", "b".repeat(151))), ["long-preheader@2:12"]);
}

#[test]
fn weight_is_that_of_the_mail_and_not_of_its_numbers() {
    let filled = |bytes: usize| {
        let own = mail("", "").len();
        told("", &[("a.html", mail("", &format!("<p>{}</p>", "lamp ".repeat((bytes - own) / 5))))], &["a"])
    };
    assert_eq!(filled(91_000), [""; 0]);
    assert_eq!(filled(94_000), ["large-mail@0:0"]);
    assert_eq!(filled(103_500), ["too-large-mail@0:0"]);
    // Links that lead through the redirect are many times as long; those of a campaign that counts no clicks are not.
    let shelf: String = (0..400).map(|n| format!("<a href=\"https://www.example.com/p/{n}\">lamp {n}</a>\n")).collect();
    let linked = [("a.html", mail("", &shelf))];
    let redirect = "links: { base_url: \"https://mail.example.com\" }\n";
    assert_eq!(told(redirect, &linked, &["a"]), ["too-large-mail@0:0"]);
    assert_eq!(told("", &linked, &["a"]), [""; 0]);
    assert_eq!(told(&redirect.replace(" }", ", track: false }"), &linked, &["a"]), [""; 0]);
    let picture = mail("", "<img alt=\"All lamps\" src=\"https://example.com/a.png\">").replace("<p>Paper lamps are made by two people in a valley, who make forty of them in a year and sign each one.</p>\n", "").replace("Questions? Write to us. ", "");
    assert_eq!(told("", &[("a.html", picture)], &["a"]), ["image-only@5:1"]);
    let text = [("a.html", mail("", "")), ("a.txt", "{{ links.unsubscribe }}".to_owned())];
    assert_eq!(
        told("", &[text[0].clone(), ("a.txt", "See {{ links.unsubscribe }}".to_owned())], &["a"]).len(),
        0,
        "the link counts"
    );
    assert_eq!(
        told("", &[("a.html", mail("", &format!("<p>{}</p>", "lamp ".repeat(90)))), text[1].clone()], &["a"]),
        ["missing-text@0:0"]
    );
}

#[test]
fn rewards_that_nobody_hears_of_or_that_are_over_are_told() {
    let rewards = "rewards: { spring: { title: A cup, kind: gift, expires: 2026-03-31 } }\n";
    let silent = [("a.html", mail("", ""))];
    let of = |settings: &str, files: &[(&str, String)]| {
        told_giving(&format!("{rewards}{settings}"), files, &["a"], |settings| Some(settings.rewards.clone()))
    };
    assert_eq!(of("", &silent), ["unused-reward@1:1", "expired-reward@3:12"]);
    assert_eq!(of("lint: { unused-reward: off, expired-reward: off }\n", &silent), [""; 0]);
    let said = [("a.html", mail("", "{% if reward %}{{ reward.title }}{% endif %}"))];
    assert_eq!(of("", &said), ["expired-reward@3:12"]);
    assert_eq!(told_giving(&rewards.replace("03-31", "11-24"), &said, &["a"], |s| Some(s.rewards.clone())), [""; 0]);
}

#[test]
fn languages_that_most_mails_have_are_missed() {
    let of = |names: &[&'static str]| names.iter().map(|n| (*n, mail("", ""))).collect::<Vec<_>>();
    assert_eq!(told("", &of(&["a.html", "a.ja.html", "b.html"]), &["a", "b"]), ["missing-locale@0:0"]);
    assert_eq!(told("", &of(&["a.html", "a.ja.html", "b.html", "c.html"]), &["a", "b", "c"]), [""; 0]);
}

#[test]
fn the_settings_weigh_the_rules() {
    let faint = [("a.html", mail("", "<a href=\"http://example.com/\">x</a>"))];
    assert_eq!(told("lint: { http-link: off }\n", &faint, &["a"]), [""; 0]);
    assert_eq!(told("lint: { htp-link: error }\n", &faint, &["a"]), ["unknown-rule@3:9", "http-link@5:1"]);
    let settings = SETTINGS.replace("hello@", "no-reply@");
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("okaeri.yaml"), settings).unwrap();
    let mut problems = Problems::new();
    let settings = Project::load_with(dir.path(), |_| None, &mut problems).unwrap().settings;
    let mut told = Told { problems: &mut problems, known: BTreeSet::new() };
    wording::sender(&settings, &mut told);
    assert_eq!(problems.sorted().iter().map(|p| p.code).collect::<Vec<_>>(), ["noreply-sender"]);
}

/// The newest result of a program in a file of caniemail: `windows: { "2019": "n" }` → `n`. Its block is JSON but for bare keys and commas.
fn newest(text: &str, family: &str, platform: &str) -> Option<char> {
    let block = &text[text.find("stats:")? + "stats:".len()..];
    let (mut path, mut key, mut newest) = (Vec::new(), None::<String>, None);
    let mut rest = block.trim_start();
    while let Some(c) = rest.chars().next() {
        let length = match c {
            '{' => {
                path.push(key.take().unwrap_or_default());
                1
            }
            '}' => {
                path.pop();
                if path.is_empty() {
                    break;
                }
                1
            }
            '"' => rest[1..].find('"')? + 2,
            c if c.is_alphanumeric() => rest.find(|c: char| !c.is_alphanumeric() && c != '-')?,
            c => c.len_utf8(),
        };
        if c == '"' || c.is_alphanumeric() {
            let word = rest[..length].trim_matches('"');
            match key.take() {
                None => key = Some(word.to_owned()),
                Some(_) if path[1..] == [family, platform] => newest = word.chars().next(),
                Some(_) => {}
            }
        }
        rest = &rest[length..];
    }
    newest
}

#[test]
fn what_programs_ignore_is_what_was_tested() {
    let corpora = std::env::var("OKAERI_CORPORA").unwrap_or_else(|_| "../shared/corpora".to_owned());
    let folder = std::path::Path::new(&corpora).join("caniemail/_features");
    if !folder.exists() {
        return skipped("the corpus of caniemail is not here: the table of ignored styles was not compared with it");
    }
    let programs = [
        (Client::Gmail, "gmail", "desktop-webmail"),
        (Client::Outlook, "outlook", "windows"),
        (Client::OutlookCom, "outlook", "outlook-com"),
        (Client::Yahoo, "yahoo", "desktop-webmail"),
    ];
    for ignored in IGNORED {
        let text = fs::read_to_string(folder.join(format!("{}.md", ignored.source))).expect(ignored.source);
        let by: Vec<Client> =
            programs.iter().filter(|(_, f, p)| newest(&text, f, p) == Some('n')).map(|(client, ..)| *client).collect();
        assert_eq!(by, ignored.by, "{}", ignored.source);
    }
}
