//! From the YAML of `okaeri.yaml` to [`Settings`]; every key is read here or in a file beside it, and keys the design names but this version does not
//! carry out are told as such.

use jiff::tz::TimeZone;

use super::contract;
use super::dkim::dkim;
use super::language::by_language;
use super::lint;
use super::people::{check_caps, guards, holdout, lifecycle, loyalty, models};
use super::relays::smtp;
use super::rewards::rewards;
use super::{Contract, EnvText, Links, Sender, Settings, Source, Topic};
use crate::address::Address;
use crate::problem::{Place, Problems};
use crate::token::SECRET_CHARS_MIN;
use crate::yaml::{MapReader, Node, Shape};

/// The kinds of data a source can bring.
pub(super) const SOURCE_KINDS: [&str; 7] =
    ["customers", "consents", "products", "orders", "lines", "events", "suppressions"];

pub(super) type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The settings as far as they can be read; what is wrong is among `problems`, and a plain value stands in for it. An inline data
/// contract comes with its place, because there may be a file that says the same.
pub(super) fn settings(
    node: &Node,
    lookup: &dyn Fn(&str) -> Option<String>,
    problems: &mut Problems,
) -> Option<(Settings, Option<(Contract, Place)>)> {
    let mut m = node.map("okaeri.yaml", problems)?;
    let project = m.require::<String>("project", problems);
    let time_zone = time_zone(&mut m, problems);
    let currency = currency(&mut m, problems);
    let default_locale = m.get::<String>("default_locale", problems).unwrap_or_else(|| "en".to_owned());
    let database = env_text(&mut m, "database", lookup, problems)
        .map(|(t, _)| t)
        .unwrap_or_else(|| EnvText::literal("sqlite:.okaeri/okaeri.db"));
    let sender = sender(&mut m, problems);
    let brand = super::brand::brand(&mut m, problems);
    let smtp = smtp(&mut m, lookup, problems);
    let dkim = dkim(&mut m, sender.as_ref().map(|s| s.from.as_str()), lookup, problems);
    let links = links(&mut m, lookup, problems);
    let compliance = lint::compliance(&mut m, problems);
    let lint = lint::weights(&mut m, problems);
    let guards = guards(&mut m, problems);
    let holdout_global = holdout(&mut m, problems);
    let lifecycle = lifecycle(&mut m, problems);
    let models = models(&mut m, problems);
    let loyalty = m.node("loyalty").and_then(|n| loyalty(n, currency.as_deref().unwrap_or("EUR"), problems));
    let rewards = rewards(&mut m, currency.as_deref().unwrap_or("EUR"), problems);
    let topics = topics(&mut m, problems);
    let sources = sources(&mut m, problems);
    check_caps(&guards, &topics, node, problems);
    let inline = m.node("contract").and_then(|n| Some((contract::read(n, problems)?, n.place.clone())));
    m.not_supported_yet(&["utm", "tracking"], problems);
    m.finish(problems);
    let settings = Settings {
        project: project.unwrap_or_default(),
        time_zone: time_zone.unwrap_or(TimeZone::UTC),
        currency: currency.unwrap_or_else(|| "EUR".to_owned()),
        default_locale,
        database,
        sender: sender.unwrap_or_default(),
        brand,
        smtp,
        dkim,
        links,
        compliance,
        lint,
        guards,
        holdout_global,
        lifecycle,
        models,
        loyalty,
        rewards,
        topics,
        sources,
        contract: None,
    };
    Some((settings, inline))
}

pub(super) fn env_text(
    m: &mut MapReader,
    key: &'static str,
    lookup: Lookup,
    problems: &mut Problems,
) -> Option<(EnvText, Place)> {
    let node = m.node(key)?;
    filled(node, key, lookup, problems).map(|t| (t, node.place.clone()))
}

pub(super) fn filled(node: &Node, key: &str, lookup: Lookup, problems: &mut Problems) -> Option<EnvText> {
    let text = node.read::<String>(&format!("`{key}`"), problems)?;
    EnvText::fill(&text, lookup).map_err(|e| problems.error("bad-variable", &node.place, e).to_owned()).ok()
}

fn time_zone(m: &mut MapReader, problems: &mut Problems) -> Option<TimeZone> {
    let Some(node) = m.node("time_zone") else { return Some(TimeZone::UTC) };
    let name = node.read::<String>("`time_zone`", problems)?;
    TimeZone::get(&name)
        .map_err(|_| {
            problems
                .error("unknown-time-zone", &node.place, format!("`{name}` is not a time zone"))
                .hint("an IANA name such as Europe/Berlin, America/New_York or Asia/Tokyo")
                .to_owned()
        })
        .ok()
}

fn currency(m: &mut MapReader, problems: &mut Problems) -> Option<String> {
    let Some(node) = m.node("currency") else { return Some("EUR".to_owned()) };
    let code = node.read::<String>("`currency`", problems)?;
    if code.len() == 3 && code.bytes().all(|b| b.is_ascii_uppercase()) {
        return Some(code);
    }
    problems
        .error("unknown-currency", &node.place, format!("`{code}` is not a currency code"))
        .hint("three capital letters (ISO 4217), such as EUR, USD or JPY");
    None
}

pub(super) fn address(node: &Node, key: &str, problems: &mut Problems) -> Option<String> {
    let text = node.read::<String>(&format!("`{key}`"), problems)?;
    match Address::parse(&text) {
        Ok(a) => Some(a.to_string()),
        Err(e) => {
            problems.error("bad-address", &node.place, format!("`{key}`: the address `{text}` {e}"));
            None
        }
    }
}

fn sender(m: &mut MapReader, problems: &mut Problems) -> Option<Sender> {
    let Some(mut s) = m.map("sender", "the sender", problems) else {
        if m.node("sender").is_none() {
            problems
                .error("missing-key", &m.place, "okaeri.yaml needs `sender`: who the mail is from")
                .hint("sender: { name: My Shop, from: hello@shop.example.com, organisation: …, postal_address: … }");
        }
        return None;
    };
    let mut from_place = None;
    let from = match s.node("from") {
        Some(node) => {
            from_place = Some(node.place.clone());
            address(node, "from", problems)
        }
        None => {
            problems.error("missing-key", &s.place, "the sender needs `from`: an address");
            None
        }
    };
    let sender = Sender {
        name: s.get("name", problems),
        from: from.unwrap_or_default(),
        from_place,
        reply_to: s.node("reply_to").and_then(|n| address(n, "reply_to", problems)),
        bounce_domain: s.get("bounce_domain", problems),
        organisation: s.require("organisation", problems).unwrap_or_default(),
        postal_address: s.require("postal_address", problems).unwrap_or_default(),
    };
    s.finish(problems);
    Some(sender)
}

fn links(m: &mut MapReader, lookup: Lookup, problems: &mut Problems) -> Links {
    let mut links = Links { base_url: None, secret: EnvText::literal(""), track: true, utm: Vec::new() };
    links.secret = EnvText::fill("${OKAERI_SECRET}", lookup).expect("a well-formed variable");
    let Some(mut l) = m.map("links", "links", problems) else { return links };
    if let Some((text, place)) = env_text(&mut l, "base_url", lookup, problems) {
        match text.get() {
            Some("") => {}
            Some(url) => {
                let parsed =
                    url::Url::parse(url).ok().filter(|u| matches!(u.scheme(), "http" | "https") && u.host().is_some());
                match parsed {
                    None => {
                        problems
                            .error("bad-url", &place, format!("`base_url` is not a web address: {url}"))
                            .hint("https://mail.shop.example.com");
                    }
                    Some(u)
                        if u.scheme() == "http"
                            && !u.host_str().is_some_and(|h| h == "localhost" || h == "127.0.0.1") =>
                    {
                        problems
                            .error(
                                "bad-url",
                                &place,
                                "`base_url` must be https: mail programs refuse one-click unsubscribe without it",
                            )
                            .hint("RFC 8058 §3.1");
                    }
                    Some(_) => links.base_url = Some(text),
                }
            }
            None => links.base_url = Some(text),
        }
    }
    if let Some((secret, place)) = env_text(&mut l, "secret", lookup, problems) {
        if !secret.from_environment {
            problems
                .error("literal-secret", &place, "a secret in the settings file")
                .hint("keep it in the environment: secret: ${OKAERI_SECRET}");
        } else if secret.get().is_some_and(|s| s.chars().count() < SECRET_CHARS_MIN) {
            problems
                .error("weak-secret", &place, format!("the secret is shorter than {SECRET_CHARS_MIN} characters"))
                .hint("for example: openssl rand -hex 32");
        }
        links.secret = secret;
    }
    links.track = l.get("track", problems).unwrap_or(true);
    if let Some(u) = l.map("utm", "links.utm", problems) {
        links.utm = utm(u, problems);
    }
    l.not_supported_yet(&["assets_url"], problems);
    l.finish(problems);
    links
}

/// The parameters that web statistics read, without their `utm_`.
pub(super) const UTM: [&str; 6] = ["source", "medium", "campaign", "content", "term", "id"];

/// `{campaign}` and `{step}` in a value are filled in for each mail.
fn utm(mut u: MapReader, problems: &mut Problems) -> Vec<(String, String)> {
    let mut out = Vec::new();
    for key in UTM {
        let Some(node) = u.node(key) else { continue };
        let Some(value) = node.read::<String>("a value of links.utm", problems) else { continue };
        for word in value.split('{').skip(1).filter_map(|rest| rest.split_once('}')).map(|(word, _)| word) {
            if !matches!(word, "campaign" | "step") {
                problems
                    .error("unknown-placeholder", &node.place, format!("`{{{word}}}` is not filled in here"))
                    .did_you_mean(word, ["campaign", "step"]);
            }
        }
        out.push((format!("utm_{key}"), value));
    }
    u.finish(problems);
    out
}

fn topics(m: &mut MapReader, problems: &mut Problems) -> Vec<Topic> {
    let Some(mut t) = m.map("topics", "topics", problems) else { return Vec::new() };
    let mut topics = Vec::new();
    for pair in t.all() {
        let titles = by_language(&pair.value, "a topic's title", problems);
        topics.push(Topic { name: pair.key.clone(), titles, place: pair.key_place.clone() });
    }
    topics
}

fn sources(m: &mut MapReader, problems: &mut Problems) -> Vec<Source> {
    let Some(node) = m.node("sources") else { return Vec::new() };
    let Shape::List(list) = &node.shape else {
        problems.error("wrong-type", &node.place, format!("`sources` must be a list, not {}", node.described()));
        return Vec::new();
    };
    let mut sources = Vec::new();
    for node in list {
        let Some(mut s) = node.map("a source", problems) else { continue };
        s.not_supported_yet(&["sql", "database", "required", "volume_drop", "freshness"], problems);
        let kind = s.choice("import", &SOURCE_KINDS.map(|k| (k, k)), problems);
        if s.node("import").is_none() {
            problems.error(
                "missing-key",
                &s.place,
                format!("a source needs `import`: one of {}", SOURCE_KINDS.join(", ")),
            );
        }
        let file = s.require::<String>("file", problems);
        let mut map = Vec::new();
        if let Some(mut names) = s.map("map", "a column mapping", problems) {
            for pair in names.all() {
                if let Some(ours) = pair.value.read::<String>("a column name", problems) {
                    map.push((pair.key.clone(), ours));
                }
            }
        }
        s.finish(problems);
        if let (Some(kind), Some(file)) = (kind, file) {
            sources.push(Source { kind: kind.to_owned(), file, map, place: node.place.clone() });
        }
    }
    sources
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in super::super) fn load(text: &str, env: &[(&str, &str)]) -> (Option<Settings>, String) {
        let mut problems = Problems::new();
        let lookup = |n: &str| env.iter().find(|(k, _)| *k == n).map(|(_, v)| (*v).to_owned());
        let settings = crate::yaml::parse("okaeri.yaml", text, &mut problems)
            .and_then(|node| settings(&node, &lookup, &mut problems))
            .map(|(settings, _)| settings)
            .filter(|_| !problems.has_errors());
        (settings, anstream::adapter::strip_str(&problems.to_text()).to_string())
    }

    pub(in super::super) const SMALL: &str =
        "project: shop\nsender: { from: hello@example.com, organisation: Shop, postal_address: 1 Road }\n";

    #[test]
    fn a_small_file_is_enough() {
        let (settings, problems) = load(SMALL, &[]);
        assert_eq!(problems, "");
        let settings = settings.unwrap();
        assert_eq!(settings.database.get(), Some("sqlite:.okaeri/okaeri.db"));
        assert_eq!(settings.links.secret.require("links").unwrap_err().variable, "OKAERI_SECRET");
        assert_eq!(settings.sender_name(), "shop");
    }

    #[test]
    fn every_problem_has_its_place() {
        let (settings, problems) = load(
            "projct: shop\ntime_zone: Mars/Olympus\ncurrency: euro\nsender:\n  from: nobody\n  organisation: Shop\n  postal_address: 1 Road\n\
             smtp: smtp://u:p@mail.example.com\nlinks:\n  base_url: http://shop.example.com\n  secret: hunter2hunter2hunter2\n\
             dkim: {}\nholdout: { global: 200% }\nsources:\n  - import: costumers\n    file: a.csv\n",
            &[],
        );
        assert!(settings.is_none());
        insta::assert_snapshot!(problems, @r#"
        okaeri.yaml:1:1: error: `projct` is not a key of okaeri.yaml [unknown-key]
            did you mean `project`?
        okaeri.yaml:1:1: error: okaeri.yaml needs `project`: text [missing-key]
        okaeri.yaml:2:12: error: `Mars/Olympus` is not a time zone [unknown-time-zone]
            an IANA name such as Europe/Berlin, America/New_York or Asia/Tokyo
        okaeri.yaml:3:11: error: `euro` is not a currency code [unknown-currency]
            three capital letters (ISO 4217), such as EUR, USD or JPY
        okaeri.yaml:5:9: error: `from`: the address `nobody` has no @ [bad-address]
        okaeri.yaml:8:7: error: a password in the settings file [literal-secret]
            keep it in the environment: smtp: ${SMTP_URL}
        okaeri.yaml:10:13: error: `base_url` must be https: mail programs refuse one-click unsubscribe without it [bad-url]
            RFC 8058 §3.1
        okaeri.yaml:11:11: error: a secret in the settings file [literal-secret]
            keep it in the environment: secret: ${OKAERI_SECRET}
        okaeri.yaml:12:7: error: a DKIM key needs `key: ${NAME}` or `key_file: PATH` [missing-key]
            make one with `okaeri dkim key FILE`
        okaeri.yaml:12:7: error: a DKIM key needs `selector`: text [missing-key]
        okaeri.yaml:13:20: error: `global` must be a share such as 10%, not the text "200%" [wrong-type]
        okaeri.yaml:15:13: error: `import` cannot be `costumers` [unknown-word]
            one of: customers, consents, products, orders, lines, events, suppressions
        12 errors and 0 warnings
        "#);
    }

    #[test]
    fn dkim_keys_come_from_elsewhere() {
        let key = "MC4CAQAwBQYDK2VwBCIEICvSrIllVpVqYHlHJCkxO3kbRmbrJ6fSojjnkAlVveHX";
        let entry = |text: &str, env: &[(&str, &str)]| load(&format!("{SMALL}dkim: {text}\n"), env);
        let one = entry("{ selector: s1, key: \"${KEY}\" }", &[("KEY", key)]).0.unwrap();
        assert_eq!((one.dkim[0].selector.as_str(), one.dkim[0].domain.as_str()), ("s1", "example.com"));
        let two = entry(
            "[{ selector: s1, key: \"${KEY}\" }, { selector: s2, domain: Bücher.example, key_file: a.pem }]",
            &[],
        );
        let two = two.0.unwrap_or_else(|| panic!("{}", two.1)).dkim;
        assert_eq!(two[1].domain, "xn--bcher-kva.example");
        let (settings, problems) = load(
            &format!(
                "{SMALL}dkim:\n  - {{ selector: s1, key: {key} }}\n  - {{ selector: s1, key: \"${{BAD}}\" }}\n  - {{ selector: a b, key_file: a.pem }}\n  \
                 - {{ selector: s2, domain: a;b, key_file: a.pem, key: \"${{KEY}}\" }}\n  - {{ selector: s3 }}\n  \
                 - {{ selector: s4, key_file: a.pem }}\n  - {{ selector: s4, key_file: b.pem }}\n"
            ),
            &[("KEY", key), ("BAD", "hunter2")],
        );
        assert!(settings.is_none());
        insta::assert_snapshot!(problems, @r#"
        okaeri.yaml:4:3: error: `dkim` has 7 keys; at most 4 [out-of-range]
        okaeri.yaml:4:26: error: a private key in the settings file [literal-secret]
            keep it in the environment (key: ${DKIM_KEY}) or in a file outside git (key_file: PATH)
        okaeri.yaml:5:26: error: the DKIM key is not a private key: neither PEM nor base64 of PKCS #8 or PKCS #1 [bad-key]
            make one with `okaeri dkim key FILE`
        okaeri.yaml:6:17: error: `selector` cannot be `a b` [bad-name]
            letters, digits and `-`, with dots between: mail2026, shop.example.com
        okaeri.yaml:7:29: error: `domain` cannot be `a;b` [bad-name]
            letters, digits and `-`, with dots between: mail2026, shop.example.com
        okaeri.yaml:7:56: error: `key` and `key_file` both stand here [two-keys]
            keep one of them
        okaeri.yaml:8:5: error: a DKIM key needs `key: ${NAME}` or `key_file: PATH` [missing-key]
            make one with `okaeri dkim key FILE`
        okaeri.yaml:10:5: error: the selector `s4` stands on line 9 already [duplicate-name]
            each key has a selector of its own
        8 errors and 0 warnings
        "#);
    }

    #[test]
    fn topics_have_titles_by_language() {
        let text = format!("{SMALL}topics:\n  offers: {{ default: Offers, ja: お得な情報 }}\n  news: News\n  bare:\n");
        let settings = load(&text, &[]).0.unwrap();
        assert_eq!(settings.topics[0].title("ja-JP"), "お得な情報");
        assert_eq!(settings.topics[0].title("de"), "Offers");
        assert_eq!(settings.topics[1].title("ja"), "News");
        assert_eq!(settings.topics[2].title("ja"), "bare");
    }
}
