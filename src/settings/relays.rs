//! `smtp`: the mail servers that take our mail. One address, or a list of relays that share the mail by weight and stand in for each other.
//!
//! What stands beside `relays` holds for each of them, unless a relay says otherwise.

use std::path::PathBuf;

use super::pacing::pacing;
use super::read::{Lookup, filled};
use super::{EnvText, Pacing, SmtpUrl};
use crate::problem::{Place, Problems};
use crate::yaml::{MapReader, Node, Shape};

/// The name of the only relay, when nobody gave it one.
pub const ONLY: &str = "default";
/// Connections to a relay when the settings name no number.
const CONNECTIONS_DEFAULT: u32 = 10;
const CONNECTIONS_MAX: u32 = 200;
/// Relays of a project at most.
const RELAYS_MAX: usize = 8;
const WEIGHT_MAX: u32 = 1_000;
const NAME_CHARS_MAX: usize = 40;

/// A mail server that takes our mail.
#[derive(Debug, Clone)]
pub struct Relay {
    /// Part of every lane's name.
    pub name: String,
    pub url: EnvText,
    /// Its part of all mail, beside the weights of the others. 0: only what the others cannot take.
    pub weight: u32,
    /// Connections opened at once by one process.
    pub connections: u32,
    /// A PEM file with one more certificate authority to trust.
    pub ca_file: Option<PathBuf>,
    /// How fast mail may leave.
    pub pacing: Pacing,
}

/// The mail servers: at least one, with at least one that has a weight.
#[derive(Debug, Clone)]
pub struct Smtp {
    pub relays: Vec<Relay>,
}

impl Relay {
    /// The relay of a project that names none: this machine itself.
    fn plain() -> Relay {
        Relay {
            name: ONLY.to_owned(),
            url: EnvText::literal("smtp://127.0.0.1:2525"),
            weight: 1,
            connections: CONNECTIONS_DEFAULT,
            ca_file: None,
            pacing: Pacing::default(),
        }
    }
}

impl Smtp {
    /// Where mail goes first: the relay with the largest weight.
    pub fn first(&self) -> &Relay {
        self.relays.iter().rev().max_by_key(|r| r.weight).expect("there is at least one")
    }

    /// How fast mail may leave through the relay of this name; one that the settings do not name any more has no pace.
    pub fn pacing(&self, relay: &str) -> Pacing {
        self.relays.iter().find(|r| r.name == relay).map(|r| r.pacing.clone()).unwrap_or_default()
    }
}

/// The key of okaeri.yaml.
pub(super) fn smtp(m: &mut MapReader, lookup: Lookup, problems: &mut Problems) -> Smtp {
    let only = |relay| Smtp { relays: vec![relay] };
    let Some(node) = m.node("smtp") else { return only(Relay::plain()) };
    let Shape::Map(_) = &node.shape else {
        return only(Relay { url: url_of(node, "smtp", lookup, problems), ..Relay::plain() });
    };
    let Some(mut s) = node.map("smtp", problems) else { return only(Relay::plain()) };
    let every = common(&mut s, &Relay::plain(), problems);
    let (url, relays) = (s.node("url"), s.node("relays"));
    let smtp = match (url, relays) {
        (Some(url), Some(relays)) => {
            problems.error("two-keys", &relays.place, "`url` and `relays` both stand here").hint("keep one of them");
            only(Relay { url: url_of(url, "url", lookup, problems), ..every })
        }
        (Some(url), None) => only(Relay { url: url_of(url, "url", lookup, problems), ..every }),
        (None, Some(relays)) => Smtp { relays: listed(relays, &every, lookup, problems) },
        (None, None) => {
            problems
                .error("missing-key", &s.place, "smtp needs `url`: smtp://host:port or smtps://host")
                .hint("or `relays`: a list of them");
            only(every)
        }
    };
    s.finish(problems);
    smtp
}

/// `relays`: a list; plain values stand in for what is wrong.
fn listed(node: &Node, every: &Relay, lookup: Lookup, problems: &mut Problems) -> Vec<Relay> {
    let plain = || vec![every.clone()];
    let Shape::List(list) = &node.shape else {
        problems.error("wrong-type", &node.place, format!("`relays` must be a list, not {}", node.described())).hint(
            "relays: [{ relay: main, url: \"${SMTP_URL}\" }, { relay: spare, url: \"${SMTP_SPARE_URL}\", weight: 0 }]",
        );
        return plain();
    };
    if !(1..=RELAYS_MAX).contains(&list.len()) {
        problems.error("out-of-range", &node.place, format!("`relays` has {} relays; 1 to {RELAYS_MAX}", list.len()));
    }
    let mut relays: Vec<(Relay, Place)> = Vec::new();
    for item in list {
        let Some(mut r) = item.map("a relay", problems) else { continue };
        let relay = relay(&mut r, every, lookup, problems);
        r.finish(problems);
        if let Some((_, first)) = relays.iter().find(|(other, _)| other.name == relay.name) {
            problems
                .error(
                    "duplicate-name",
                    &item.place,
                    format!("the relay `{}` stands on line {} already", relay.name, first.line),
                )
                .hint("each relay has a name of its own: lanes, rates and what is told are by it");
        }
        relays.push((relay, item.place.clone()));
    }
    if !relays.is_empty() && relays.iter().all(|(r, _)| r.weight == 0) {
        problems
            .error("out-of-range", &node.place, "every relay has `weight: 0`: mail would have no way to go")
            .hint("0 is for relays that only stand in for others");
    }
    if relays.is_empty() { plain() } else { relays.into_iter().map(|(r, _)| r).collect() }
}

fn relay(r: &mut MapReader, every: &Relay, lookup: Lookup, problems: &mut Problems) -> Relay {
    let name = r.require::<String>("relay", problems);
    let in_names = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_');
    if let Some(name) = name.as_deref().filter(|n| !(1..=NAME_CHARS_MAX).contains(&n.len()) || !n.bytes().all(in_names))
    {
        let place = &r.node("relay").expect("required above").place;
        problems
            .error("bad-name", place, format!("`relay` cannot be `{name}`"))
            .hint(format!("lower-case letters, digits, - and _; at most {NAME_CHARS_MAX}"));
    }
    let name = name.unwrap_or_default();
    let url = match r.node("url") {
        Some(node) => url_of(node, "url", lookup, problems),
        None => {
            problems.error("missing-key", &r.place, "a relay needs `url`: smtp://host:port or smtps://host");
            every.url.clone()
        }
    };
    let weight = within(r, "weight", 0..=WEIGHT_MAX, problems).unwrap_or(1);
    Relay { name, url, weight, ..common(r, every, problems) }
}

/// What `smtp` says for all relays and each may say for itself.
fn common(s: &mut MapReader, every: &Relay, problems: &mut Problems) -> Relay {
    Relay {
        connections: within(s, "connections", 1..=CONNECTIONS_MAX, problems).unwrap_or(every.connections),
        ca_file: s.get::<String>("ca_file", problems).map(Into::into).or_else(|| every.ca_file.clone()),
        pacing: pacing(s, &every.pacing, problems),
        ..every.clone()
    }
}

fn within(
    s: &mut MapReader,
    key: &'static str,
    range: std::ops::RangeInclusive<u32>,
    problems: &mut Problems,
) -> Option<u32> {
    let node = s.node(key)?;
    let n = node.read::<u32>(&format!("`{key}`"), problems)?;
    if !range.contains(&n) {
        let (least, most) = range.into_inner();
        problems.error("out-of-range", &node.place, format!("`{key}` must be {least} to {most}, not {n}"));
        return None;
    }
    Some(n)
}

/// The address of a mail server, looked at as far as its variables are set.
fn url_of(node: &Node, key: &str, lookup: Lookup, problems: &mut Problems) -> EnvText {
    let Some(url) = filled(node, key, lookup, problems) else { return Relay::plain().url };
    if let Some(text) = url.get() {
        match SmtpUrl::parse(text) {
            Ok(parsed) if parsed.login.is_some() && !url.from_environment => {
                problems
                    .error("literal-secret", &node.place, "a password in the settings file")
                    .hint(format!("keep it in the environment: {key}: ${{SMTP_URL}}"));
            }
            Ok(_) => {}
            Err(e) => {
                problems.error("bad-smtp", &node.place, e);
            }
        }
    }
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Smtp, String) {
        let mut problems = Problems::new();
        let node = crate::yaml::parse("okaeri.yaml", text, &mut problems).unwrap();
        let mut reader = node.map("okaeri.yaml", &mut problems).unwrap();
        let lookup = |name: &str| (name == "MAIN").then(|| "smtps://shop:secret@mail.example.com".to_owned());
        let smtp = smtp(&mut reader, &lookup, &mut problems);
        reader.finish(&mut problems);
        (smtp, anstream::adapter::strip_str(&problems.to_text()).to_string())
    }

    #[test]
    fn relays_share_what_stands_beside_them_unless_they_say_otherwise() {
        let (smtp, problems) = read(
            "smtp:\n  connections: 20\n  rate: 100/s\n  rates: { gmail: 20/s }\n  relays:\n    - { relay: main, url: \"${MAIN}\", weight: 3 }\n    \
             - { relay: other, url: smtps://mail.example.net, connections: 2, rate: 5/s }\n    \
             - { relay: spare, url: \"${SPARE}\", weight: 0, rates: { default: 1/s } }\n",
        );
        assert_eq!(problems, "");
        let [main, other, spare] = &smtp.relays[..] else { panic!("{smtp:?}") };
        assert_eq!((main.weight, main.connections, other.weight, other.connections), (3, 20, 1, 2));
        let rates = |r: &Relay, family: &str| {
            let per_second = |rate: Option<super::super::Rate>| rate.map(super::super::Rate::per_second);
            (per_second(r.pacing.relay), per_second(r.pacing.of_family(family)))
        };
        assert_eq!(rates(main, "gmail"), (Some(100.0), Some(20.0)));
        assert_eq!(rates(other, "gmail"), (Some(5.0), Some(20.0)));
        assert_eq!(rates(spare, "gmail"), (Some(100.0), Some(1.0)));
        assert_eq!(smtp.first().name, "main");
        assert_eq!(spare.url.require("sending").unwrap_err().variable, "SPARE");
    }

    #[test]
    fn one_address_is_one_relay() {
        for text in ["smtp: smtp://127.0.0.1:25\n", "smtp: { url: smtp://127.0.0.1:25 }\n", "{}\n"] {
            let (smtp, problems) = read(text);
            assert_eq!((problems.as_str(), smtp.relays.len(), smtp.relays[0].name.as_str()), ("", 1, ONLY), "{text}");
        }
    }

    #[test]
    fn what_is_no_relay_is_told_with_its_place() {
        let (_, problems) = read(
            "smtp:\n  connections: 500\n  relays:\n    - { relay: Main Relay, url: smtp://u:p@mail.example.com }\n    - { relay: a, weight: 0 }\n    \
             - { relay: a, url: ftp://x, weight: 2000, wieght: 1 }\n",
        );
        insta::assert_snapshot!(problems, @r"
        okaeri.yaml:2:16: error: `connections` must be 1 to 200, not 500 [out-of-range]
        okaeri.yaml:4:16: error: `relay` cannot be `Main Relay` [bad-name]
            lower-case letters, digits, - and _; at most 40
        okaeri.yaml:4:33: error: a password in the settings file [literal-secret]
            keep it in the environment: url: ${SMTP_URL}
        okaeri.yaml:5:7: error: a relay needs `url`: smtp://host:port or smtps://host [missing-key]
        okaeri.yaml:6:7: error: the relay `a` stands on line 5 already [duplicate-name]
            each relay has a name of its own: lanes, rates and what is told are by it
        okaeri.yaml:6:24: error: `ftp://` is not a mail server: smtp:// or smtps:// [bad-smtp]
        okaeri.yaml:6:41: error: `weight` must be 0 to 1000, not 2000 [out-of-range]
        okaeri.yaml:6:47: error: `wieght` is not a key of a relay [unknown-key]
            did you mean `weight`?
        8 errors and 0 warnings
        ");
        for (text, told) in [
            ("{ relays: [] }", "`relays` has 0 relays; 1 to 8"),
            ("{ relays: yes please }", "`relays` must be a list"),
            ("{ relays: [], url: smtp://localhost }", "`url` and `relays` both stand here"),
            ("{ relays: [{ relay: a, url: smtp://localhost, weight: 0 }] }", "mail would have no way to go"),
            ("{ relays: [{ relay: \"\", url: smtp://localhost }] }", "`relay` cannot be ``"),
            ("{ relays: [{ url: smtp://localhost }] }", "a relay needs `relay`: text"),
            ("{ rate: 5/s }", "smtp needs `url`"),
        ] {
            let (smtp, problems) = read(&format!("smtp: {text}\n"));
            assert!(problems.contains(told) && problems.contains("1 error "), "{text}: {problems}");
            assert!(!smtp.relays.is_empty(), "{text}");
        }
    }
}
