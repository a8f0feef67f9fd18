//! `recommend:` of a step: which products each person is shown. Said short, `recommend: again`, or in full, with rules.

use crate::offer::recommend::{Asked, COUNT_DEFAULT, COUNT_MAX, SUPPORT_MIN, Strategy};
use crate::problem::{Place, Problems, Severity};
use crate::yaml::{Node, Shape};

/// The highest `min_support` that makes sense to write down; more is a slip.
const SUPPORT_MAX: u32 = 100_000;

/// What a step recommends, and where its file says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recommend {
    pub asked: Asked,
    pub place: Place,
}

pub(super) fn recommend(node: &Node, problems: &mut Problems) -> Option<Recommend> {
    let before = problems.count(Severity::Error);
    let mut asked = Asked::of(&[], COUNT_DEFAULT);
    if !matches!(node.shape, Shape::Map(_)) {
        asked.strategies = strategies(node, problems);
    } else {
        let mut m = node.map("`recommend`", problems)?;
        asked.strategies = m.node("strategy").map(|n| strategies(n, problems)).unwrap_or_default();
        if m.node("strategy").is_none() {
            problems
                .error("missing-key", &m.place, "`recommend` needs `strategy`: how products are chosen")
                .hint(format!("strategy: one of {}, or a list in which later ones fill up", words()));
        }
        let most = COUNT_MAX as u32;
        let count = m.node("count").and_then(|n| within(n, "count", (1, most), problems));
        asked.count = count.map_or(COUNT_DEFAULT, |n| n as usize);
        let at_least = m.node("at_least").and_then(|n| within(n, "at_least", (1, asked.count as u32), problems));
        asked.at_least = at_least.map_or(1, |n| n as usize);
        if let Some(n) = m.node("categories") {
            (asked.categories, asked.not_categories) = categories(n, problems);
        }
        asked.exclude_owned = m.get("exclude_owned", problems).unwrap_or(true);
        let support =
            m.node("min_support").and_then(|n| within(n, "min_support", (SUPPORT_MIN, SUPPORT_MAX), problems));
        asked.min_support = support.unwrap_or(SUPPORT_MIN);
        m.finish(problems);
    }
    (problems.count(Severity::Error) == before).then(|| Recommend { asked, place: node.place.clone() })
}

fn words() -> String {
    Strategy::ALL.map(Strategy::word).join(", ")
}

/// One strategy or a list of them, each once.
fn strategies(node: &Node, problems: &mut Problems) -> Vec<Strategy> {
    let nodes: Vec<&Node> = match &node.shape {
        Shape::List(list) => list.iter().collect(),
        _ => vec![node],
    };
    if nodes.is_empty() {
        problems
            .error("missing-key", &node.place, "`strategy` is an empty list")
            .hint(format!("one or more of {}", words()));
    }
    let mut found = Vec::new();
    for node in nodes {
        let Some(word) = node.read::<String>("a strategy", problems) else { continue };
        match Strategy::from_word(&word) {
            Some(strategy) if found.contains(&strategy) => {
                problems.error("duplicate-strategy", &node.place, format!("`{word}` stands here twice"));
            }
            Some(strategy) => found.push(strategy),
            None => {
                problems
                    .error("unknown-strategy", &node.place, format!("there is no strategy `{word}`"))
                    .did_you_mean(&word, Strategy::ALL.map(Strategy::word));
            }
        }
    }
    found
}

fn within(node: &Node, key: &str, (least, most): (u32, u32), problems: &mut Problems) -> Option<u32> {
    let n = node.read::<u32>(&format!("`{key}`"), problems)?;
    if (least..=most).contains(&n) {
        return Some(n);
    }
    problems.error("out-of-bounds", &node.place, format!("`{key}` must be between {least} and {most}, not {n}"));
    None
}

/// Categories let in and kept out: a list is let in, or `{ in: …, not_in: … }`.
fn categories(node: &Node, problems: &mut Problems) -> (Vec<String>, Vec<String>) {
    if !matches!(node.shape, Shape::Map(_)) {
        return (node.read_list("`categories`", problems).unwrap_or_default(), Vec::new());
    }
    let Some(mut m) = node.map("`categories`", problems) else { return Default::default() };
    let inside: Vec<String> = m.list("in", problems).unwrap_or_default();
    let outside: Vec<String> = m.list("not_in", problems).unwrap_or_default();
    m.finish(problems);
    if let Some(both) = inside.iter().find(|c| outside.contains(c)) {
        problems.error("contradiction", &node.place, format!("the category `{both}` is both `in` and `not_in`"));
    }
    (inside, outside)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Option<Recommend>, String) {
        let mut problems = Problems::new();
        let node = crate::yaml::parse("c.yaml", text, &mut problems).unwrap();
        let found = recommend(&node, &mut problems);
        (found, anstream::adapter::strip_str(&problems.to_text()).to_string())
    }

    #[test]
    fn short_and_full_forms_are_read() {
        let asked = |text| {
            let (found, problems) = read(text);
            assert_eq!(problems, "");
            found.unwrap().asked
        };
        assert_eq!(asked("again"), Asked::of(&[Strategy::Again], 4));
        assert_eq!(asked("[again, popular]"), Asked::of(&[Strategy::Again, Strategy::Popular], 4));
        let full = asked(
            "{ strategy: [discover, popular], count: 3, at_least: 2, categories: { in: [tea, 紙], not_in: sale }, exclude_owned: false, min_support: 10 }",
        );
        assert_eq!((full.count, full.at_least, full.exclude_owned, full.min_support), (3, 2, false, 10));
        assert_eq!(
            (full.categories, full.not_categories),
            (vec!["tea".to_owned(), "紙".to_owned()], vec!["sale".to_owned()])
        );
        assert_eq!(asked("{ strategy: again, categories: tea }").categories, ["tea"]);
    }

    #[test]
    fn mistakes_are_named_all_at_once() {
        let (found, problems) = read(
            "strategy: [agian, popular, popular, 3]\ncount: 21\nat_least: 9\ncategories: { in: [tea], not_in: [tea], of: x }\n\
             exclude_owned: maybe\nmin_support: 1\nfallback: popular\n",
        );
        assert!(found.is_none());
        insta::assert_snapshot!(problems, @r#"
        c.yaml:1:12: error: there is no strategy `agian` [unknown-strategy]
            did you mean `again`?
        c.yaml:1:28: error: `popular` stands here twice [duplicate-strategy]
        c.yaml:1:37: error: there is no strategy `3` [unknown-strategy]
            known here: again, discover, popular, together
        c.yaml:2:8: error: `count` must be between 1 and 20, not 21 [out-of-bounds]
        c.yaml:3:11: error: `at_least` must be between 1 and 4, not 9 [out-of-bounds]
        c.yaml:4:13: error: the category `tea` is both `in` and `not_in` [contradiction]
        c.yaml:4:41: error: `of` is not a key of `categories` [unknown-key]
            known here: in, not_in
        c.yaml:5:16: error: `exclude_owned` must be true or false, not the text "maybe" [wrong-type]
        c.yaml:6:14: error: `min_support` must be between 3 and 100000, not 1 [out-of-bounds]
        c.yaml:7:1: error: `fallback` is not a key of `recommend` [unknown-key]
            known here: at_least, categories, count, exclude_owned, min_support, strategy
        10 errors and 0 warnings
        "#);
        for (text, said) in [
            ("{}", "needs `strategy`"),
            ("[]", "empty list"),
            ("{ strategy: again, count: 0 }", "between 1 and 20"),
            ("[{ a: b }]", "must be text"),
        ] {
            let (found, problems) = read(text);
            assert!(found.is_none() && problems.contains(said), "{text}: {problems}");
        }
    }
}
