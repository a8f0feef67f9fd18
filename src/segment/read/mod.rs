//! From YAML to checked rules. All problems of a file come at once, each with its place and remedy.

mod customer;
mod history;
mod pick;
mod tests;
mod window;

pub(super) use history::{ORDERS, source_of, tests_of};

use super::case::Tests;
use super::rule::{Leaf, Pick, Reference, Rule};
use crate::problem::{Place, Problems, Severity};
use crate::profile::{Rfm, Stage};
use crate::settings::Settings;
use crate::yaml::{MapReader, Node, Shape};

const GROUPS: [&str; 3] = ["all", "any", "none"];
const LEAVES: [&str; 15] = [
    "did",
    "did_not",
    "last",
    "bought",
    "bought_not",
    "funnel",
    "customer",
    "score",
    "rfm",
    "lifecycle",
    "tier",
    "in_segment",
    "consent",
    "received",
    "clicked",
];
/// The longest name of a property or attribute, in characters.
const NAME_CHARS_MAX: usize = 100;

/// One segment as its file gives it.
pub(super) struct Read {
    pub name: String,
    pub name_place: Place,
    pub title: String,
    pub rule: Rule,
    /// Where `where` begins.
    pub rule_place: Place,
    pub pick: Pick,
    pub tests: Tests,
    /// Looked at in lists and reports, used by no campaign.
    pub watched: bool,
}

/// Read a segment file.
pub(super) fn segment(node: &Node, settings: &Settings, problems: &mut Problems) -> Option<Read> {
    let mut m = node.map("a segment", problems)?;
    let name_place = m.node("segment").map_or_else(|| m.place.clone(), |n| n.place.clone());
    let name = m.require::<String>("segment", problems);
    if let Some(name) = &name
        && !is_name(name)
    {
        problems
            .error("bad-name", &name_place, format!("`{name}` cannot name a segment"))
            .hint("small letters, digits, _ and -");
    }
    let title = m.get::<String>("title", problems);
    let mut rule_place = m.place.clone();
    let rule = match m.node("where") {
        Some(node) => {
            rule_place = node.place.clone();
            refuse_entry(node, problems);
            rule(node, settings, problems)
        }
        None => {
            problems
                .error("missing-key", &m.place, "a segment needs `where`: the rule")
                .hint("where: { customer: orders, gte: 2 }");
            None
        }
    };
    let before = problems.count(Severity::Error);
    let pick = m.node("pick").map(|n| pick::pick(n, problems)).unwrap_or_default();
    let tests = m.node("tests").map(|n| tests::tests(n, settings, problems)).unwrap_or_default();
    let watched = m.get::<bool>("watched", problems).unwrap_or(false);
    let is_sound = problems.count(Severity::Error) == before;
    m.finish(problems);
    let name = name?;
    let read = Read {
        title: title.unwrap_or_else(|| name.clone()),
        name,
        name_place,
        rule: rule?,
        rule_place,
        pick,
        tests,
        watched,
    };
    is_sound.then_some(read)
}

/// `since: entry` means something in a campaign's step only.
fn refuse_entry(node: &Node, problems: &mut Problems) {
    match &node.shape {
        Shape::List(list) => list.iter().for_each(|n| refuse_entry(n, problems)),
        Shape::Map(pairs) => {
            for pair in pairs {
                if pair.key == "since" && pair.value.as_text() == Some("entry") {
                    problems
                        .error(
                            "since-entry",
                            &pair.value.place,
                            "`since: entry` counts from a person's entry into a campaign; a segment has none",
                        )
                        .hint(
                            "use it in a step of a campaign, or count from a date or an instant: since: last_viewed_at",
                        );
                }
                refuse_entry(&pair.value, problems);
            }
        }
        _ => {}
    }
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-')
}

/// Read a rule: a group or a leaf. `None` when it has errors. How deep it nests is bounded by the reader of YAML.
pub fn rule(node: &Node, settings: &Settings, problems: &mut Problems) -> Option<Rule> {
    let Shape::Map(pairs) = &node.shape else {
        let problem =
            problems.error("wrong-type", &node.place, format!("a rule must be a mapping, not {}", node.described()));
        if matches!(node.shape, Shape::List(_)) {
            problem.hint("put `all:` or `any:` before the list");
        }
        return None;
    };
    let known = |k: &str| GROUPS.contains(&k) || LEAVES.contains(&k);
    let mut kinds = pairs.iter().filter(|p| known(&p.key));
    let (Some(kind), second) = (kinds.next(), kinds.next()) else {
        let (word, place) = pairs.first().map_or(("", &node.place), |p| (p.key.as_str(), &p.key_place));
        let what = if word.is_empty() { "an empty rule".to_owned() } else { format!("`{word}` begins no rule") };
        problems.error("unknown-leaf", place, what).did_you_mean(word, GROUPS.into_iter().chain(LEAVES));
        return None;
    };
    if let Some(second) = second {
        problems
            .error("two-leaves", &second.key_place, format!("`{}` and `{}` in one rule", kind.key, second.key))
            .hint("make a list of them under `all:` or `any:`");
        return None;
    }
    let before = problems.count(Severity::Error);
    let mut m = node.map("this rule", problems)?;
    let mut group = |key| group(&mut m, key, settings, problems);
    let rule = match kind.key.as_str() {
        "all" => group("all").map(Rule::All),
        "any" => group("any").map(Rule::Any),
        "none" => group("none").map(Rule::None),
        _ => leaf(&mut m, &kind.key, settings, problems).map(Rule::Leaf),
    };
    m.finish(problems);
    rule.filter(|_| problems.count(Severity::Error) == before)
}

fn group(m: &mut MapReader, key: &'static str, settings: &Settings, problems: &mut Problems) -> Option<Vec<Rule>> {
    let list = rules_of(m, key, problems)?;
    // Read every one before giving up, so that all problems come at once.
    let rules: Vec<Option<Rule>> = list.iter().map(|n| rule(n, settings, problems)).collect();
    rules.into_iter().collect()
}

/// The list of rules or steps under a key.
fn rules_of<'n>(m: &mut MapReader<'n>, key: &'static str, problems: &mut Problems) -> Option<&'n [Node]> {
    let node = m.pair(key).map(|p| &p.value)?;
    let Shape::List(list) = &node.shape else {
        problems
            .error("wrong-type", &node.place, format!("`{key}` must be a list of rules, not {}", node.described()))
            .hint(format!("{key}:\n    - customer: orders\n      gte: 2"));
        return None;
    };
    if list.is_empty() {
        problems.error("empty-group", &node.place, format!("`{key}` holds no rule"));
        return None;
    }
    Some(list)
}

fn leaf(m: &mut MapReader, key: &str, settings: &Settings, problems: &mut Problems) -> Option<Leaf> {
    match key {
        "did" => history::did(m, "did", settings, problems).map(Leaf::History),
        "did_not" => history::did(m, "did_not", settings, problems).map(Leaf::History),
        "bought" => history::bought(m, "bought", settings, problems).map(Leaf::History),
        "bought_not" => history::bought(m, "bought_not", settings, problems).map(Leaf::History),
        "last" => history::last(m, settings, problems),
        "funnel" => history::funnel(m, settings, problems),
        "consent" => history::consent(m, settings, problems),
        "received" => history::messages(m, "received", settings, problems),
        "clicked" => history::messages(m, "clicked", settings, problems),
        "customer" => customer::customer(m, settings, problems),
        "score" => customer::score(m, settings, problems),
        "tier" => customer::tier(m, settings, problems),
        "rfm" => words(m, "rfm", &Rfm::ALL, Rfm::name, problems).map(Leaf::Rfm),
        "lifecycle" => words(m, "lifecycle", &Stage::ALL, Stage::name, problems).map(Leaf::Lifecycle),
        "in_segment" => {
            m.pair("in_segment").and_then(|p| references(&p.value, "in_segment", problems)).map(Leaf::InSegment)
        }
        _ => unreachable!("asked for keys of LEAVES only"),
    }
}

/// One word or a list of them.
fn words<T: Copy>(
    m: &mut MapReader,
    key: &'static str,
    all: &[T],
    name: fn(T) -> &'static str,
    problems: &mut Problems,
) -> Option<Vec<T>> {
    let node = m.node(key);
    let Some(node) = node else {
        m.require::<Vec<String>>(key, problems);
        return None;
    };
    let nodes: Vec<&Node> = if let Shape::List(list) = &node.shape { list.iter().collect() } else { vec![node] };
    if nodes.is_empty() {
        problems.error("empty-list", &node.place, format!("`{key}` names nothing"));
        return None;
    }
    let found: Vec<Option<T>> = nodes
        .into_iter()
        .map(|n| {
            let word = n.read::<String>(&format!("`{key}`"), problems)?;
            let found = all.iter().copied().find(|t| name(*t) == word);
            if found.is_none() {
                problems
                    .error("unknown-word", &n.place, format!("`{key}` has no `{word}`"))
                    .did_you_mean(&word, all.iter().map(|t| name(*t)));
            }
            found
        })
        .collect();
    found.into_iter().collect()
}

/// The names of segments: one or a list.
fn references(node: &Node, key: &str, problems: &mut Problems) -> Option<Vec<Reference>> {
    let nodes: Vec<&Node> = if let Shape::List(list) = &node.shape { list.iter().collect() } else { vec![node] };
    if nodes.is_empty() {
        problems.error("empty-list", &node.place, format!("`{key}` names nothing"));
        return None;
    }
    let names: Vec<Option<Reference>> = nodes
        .into_iter()
        .map(|n| Some(Reference { name: n.read::<String>(&format!("`{key}`"), problems)?, place: n.place.clone() }))
        .collect();
    names.into_iter().collect()
}

/// A name inside stored JSON.
fn json_name(name: &str, place: &Place, problems: &mut Problems) -> Option<String> {
    let fits = !name.is_empty() && name.chars().count() <= NAME_CHARS_MAX;
    if fits && !name.chars().any(|c| c.is_control() || c == '"' || c == '\\') {
        return Some(name.to_owned());
    }
    problems
        .error("bad-name", place, "not a name of a property or column")
        .hint(format!("at most {NAME_CHARS_MAX} characters, without quotes, backslashes and control characters"));
    None
}
