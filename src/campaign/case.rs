//! `tests:` of a campaign: somebody given, at a fixed instant, and what the campaign does with them at that look.

use super::read::Known;
use crate::clock::Millis;
use crate::problem::{Place, Problems};
use crate::segment::given::{self, Given};
use crate::yaml::{Node, Shape};

/// One test.
#[derive(Debug, Clone)]
pub struct Case {
    pub name: String,
    pub place: Place,
    pub now: Millis,
    pub given: Given,
    /// When they entered; `None`: they have not.
    pub entered_at: Option<Millis>,
    pub expect: Expect,
}

/// What is expected; what is not written may be anything.
#[derive(Debug, Clone)]
pub struct Expect {
    pub verdict: Expected,
    pub step: Option<String>,
    /// Of a skip.
    pub reason: Option<String>,
    pub subject_contains: Option<String>,
}

/// What a look does with somebody. Experiments are left out: whom chance holds out is no question of one person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    Send,
    Skip,
    /// Not in the audience; or no step of theirs is due.
    Nothing,
}

impl Expected {
    /// As authors write it.
    pub fn word(self) -> &'static str {
        match self {
            Expected::Send => "send",
            Expected::Skip => "skip",
            Expected::Nothing => "nothing",
        }
    }
}

/// Read `tests:`.
pub(super) fn cases(node: &Node, known: &Known, problems: &mut Problems) -> Vec<Case> {
    let Shape::List(list) = &node.shape else {
        problems.error("wrong-type", &node.place, format!("`tests` must be a list, not {}", node.described())).hint(
            "tests:\n  - name: a quiet regular gets the letter\n    customer: { orders: 6, last_order: 200d ago, consent: [offers] }\n    expect: { verdict: send }",
        );
        return Vec::new();
    };
    list.iter().filter_map(|node| case(node, known, problems)).collect()
}

fn case(node: &Node, known: &Known, problems: &mut Problems) -> Option<Case> {
    let mut m = node.map("a test of a campaign", problems)?;
    let name = m.require::<String>("name", problems);
    let now = given::now(&mut m, known.settings, problems)?;
    let entered_at = m.node("entered").and_then(|n| given::instant(n, now, known.settings, problems));
    let given = Given::read_from(&mut m, now, known.settings, problems);
    let expect = match m.node("expect") {
        Some(node) => expect(node, problems),
        None => {
            problems
                .error("missing-key", &m.place, "a test needs `expect`: what the campaign does with this person")
                .hint("expect: { verdict: send, step: letter }, or { verdict: skip, reason: service_freeze }, or { verdict: nothing }");
            None
        }
    };
    m.finish(problems);
    Some(Case { name: name?, place: node.place.clone(), now, given, entered_at, expect: expect? })
}

fn expect(node: &Node, problems: &mut Problems) -> Option<Expect> {
    let mut m = node.map("`expect`", problems)?;
    let words = [Expected::Send, Expected::Skip, Expected::Nothing].map(|e| (e.word(), e));
    let verdict = m.choice("verdict", &words, problems);
    if m.node("verdict").is_none() {
        problems.error("missing-key", &m.place, "`expect` needs `verdict`: send, skip or nothing");
    }
    let expect = verdict.map(|verdict| Expect {
        verdict,
        step: m.get("step", problems),
        reason: m.get("reason", problems),
        subject_contains: m.get("subject_contains", problems),
    });
    m.finish(problems);
    expect
}
