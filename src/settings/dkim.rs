//! `dkim:` of okaeri.yaml: which keys sign, and where they come from. A key itself never stands in the file.

use std::path::PathBuf;

use super::EnvText;
use super::read::{Lookup, env_text};
use crate::dkim::{self, PrivateKey};
use crate::problem::{Place, Problems};
use crate::yaml::{MapReader, Node, Shape};

/// Signatures on one mail: two kinds of keys, and one more of each while keys are changed.
const KEYS_MAX: usize = 4;
/// How to get a key.
const MAKE_ONE: &str = "make one with `okaeri dkim key FILE`";

/// One key that signs all mail.
#[derive(Debug, Clone)]
pub struct Dkim {
    /// `s=`: where under the domain receivers find the public key.
    pub selector: String,
    /// `d=`: the domain that signs, in ASCII.
    pub domain: String,
    pub key: DkimKey,
    pub place: Place,
}

/// Where a private key is.
#[derive(Debug, Clone)]
pub enum DkimKey {
    /// In environment variables.
    Environment(EnvText),
    /// In a file, relative to the project's folder.
    File(PathBuf),
}

/// One entry or a list of them. `from` is the address of the From header, whose domain signs when none is named.
pub(super) fn dkim(m: &mut MapReader, from: Option<&str>, lookup: Lookup, problems: &mut Problems) -> Vec<Dkim> {
    let Some(node) = m.node("dkim") else { return Vec::new() };
    let nodes: Vec<&Node> = match &node.shape {
        Shape::List(list) => list.iter().collect(),
        _ => vec![node],
    };
    if nodes.len() > KEYS_MAX {
        problems.error("out-of-range", &node.place, format!("`dkim` has {} keys; at most {KEYS_MAX}", nodes.len()));
    }
    let from_domain = from.and_then(|f| f.rsplit_once('@')).map(|(_, domain)| domain);
    let mut keys: Vec<Dkim> = Vec::new();
    for node in nodes {
        let Some(key) = entry(node, from_domain, lookup, problems) else { continue };
        let twice = |k: &&Dkim| k.selector == key.selector && k.domain == key.domain;
        if let Some(first) = keys.iter().find(twice) {
            let told = format!("the selector `{}` stands on line {} already", key.selector, first.place.line);
            problems.error("duplicate-name", &key.place, told).hint("each key has a selector of its own");
        } else {
            keys.push(key);
        }
    }
    keys
}

fn entry(node: &Node, from_domain: Option<&str>, lookup: Lookup, problems: &mut Problems) -> Option<Dkim> {
    let mut d = node.map("a DKIM key", problems)?;
    let selector = d.require::<String>("selector", problems);
    let selector = selector.filter(|s| named(&mut d, "selector", s, problems));
    let domain = match d.get::<String>("domain", problems) {
        Some(domain) => ascii(&domain).or_else(|| {
            named(&mut d, "domain", &domain, problems);
            None
        }),
        None => from_domain.and_then(ascii),
    };
    let file = d.get::<String>("key_file", problems);
    let key = match (env_text(&mut d, "key", lookup, problems), file) {
        (Some((text, place)), None) => in_environment(text, &place, problems),
        (None, Some(file)) => Some(DkimKey::File(file.into())),
        (Some((_, place)), Some(_)) => {
            problems.error("two-keys", &place, "`key` and `key_file` both stand here").hint("keep one of them");
            None
        }
        (None, None) => {
            if d.node("key").is_none() {
                problems
                    .error("missing-key", &d.place, "a DKIM key needs `key: ${NAME}` or `key_file: PATH`")
                    .hint(MAKE_ONE);
            }
            None
        }
    };
    let place = d.place.clone();
    d.finish(problems);
    Some(Dkim { selector: selector?, domain: domain?, key: key?, place })
}

/// A key in the environment, if it is one; a variable that is not set is asked for when mail is sent.
fn in_environment(text: EnvText, place: &Place, problems: &mut Problems) -> Option<DkimKey> {
    if !text.from_environment {
        problems
            .error("literal-secret", place, "a private key in the settings file")
            .hint("keep it in the environment (key: ${DKIM_KEY}) or in a file outside git (key_file: PATH)");
        return None;
    }
    if let Some(Err(e)) = text.get().map(PrivateKey::parse) {
        problems.error("bad-key", place, format!("the DKIM key {e}")).hint(MAKE_ONE);
        return None;
    }
    Some(DkimKey::Environment(text))
}

/// Whether a text can be a DNS name, told as a problem when not.
fn named(d: &mut MapReader, key: &'static str, text: &str, problems: &mut Problems) -> bool {
    let good = dkim::is_name(text);
    if let Some(node) = d.node(key).filter(|_| !good) {
        problems
            .error("bad-name", &node.place, format!("`{key}` cannot be `{text}`"))
            .hint("letters, digits and `-`, with dots between: mail2026, shop.example.com");
    }
    good
}

/// A domain as the DNS has it.
fn ascii(domain: &str) -> Option<String> {
    idna::domain_to_ascii(domain).ok().filter(|d| dkim::is_name(d) && d.contains('.'))
}
