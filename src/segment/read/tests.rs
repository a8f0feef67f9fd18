//! `tests` of a segment file: what its set is like, and who is in it.

use super::super::case::{Bound, Case, Expectation, SetTest, Tests};
use super::super::given::{self, Given};
use super::references;
use crate::problem::Problems;
use crate::settings::Settings;
use crate::yaml::{Node, Shape, Share};

pub(super) fn tests(node: &Node, settings: &Settings, problems: &mut Problems) -> Tests {
    let mut tests = Tests::default();
    let Shape::List(list) = &node.shape else {
        problems
            .error("wrong-type", &node.place, format!("`tests` must be a list, not {}", node.described()))
            .hint("tests:\n  - size: { between: [1%, 20%] }\n  - disjoint_with: [new_customers]");
        return tests;
    };
    for node in list {
        let Some(mut m) = node.map("a test of a segment", problems) else { continue };
        if m.node("case").is_some() {
            tests.cases.extend(case(node, settings, problems));
            continue;
        }
        let mut found = 0;
        let mut add = |expectation: Option<Expectation>| {
            found += 1;
            tests.sets.extend(expectation.map(|expectation| SetTest { place: node.place.clone(), expectation }));
        };
        if let Some(size_node) = m.node("size") {
            add(size(size_node, problems).map(Expectation::Size));
        }
        for (key, make) in [
            ("subset_of", Expectation::SubsetOf as fn(_) -> _),
            ("disjoint_with", Expectation::DisjointWith),
            ("covers", Expectation::Covers),
        ] {
            if let Some(node) = m.node(key) {
                add(references(node, key, problems).map(make));
            }
        }
        if found == 0 {
            problems
                .error("missing-key", &node.place, "a test needs one of size, subset_of, disjoint_with, covers, case")
                .hint("- case: a regular is in\n    given: { customer: { orders: 6 } }\n    expect: in");
        }
        m.finish(problems);
    }
    tests
}

/// `{ between: [0.5%, 20%] }`, `{ gte: 100 }`: shares of everybody, or people.
fn size(node: &Node, problems: &mut Problems) -> Option<Vec<(super::super::rule::Op, Bound)>> {
    use super::super::rule::Op;
    let mut m = node.map("`size`", problems)?;
    let mut out: Vec<Option<(Op, Bound)>> = Vec::new();
    for (key, op) in [("gte", Op::Gte), ("gt", Op::Gt), ("lte", Op::Lte), ("lt", Op::Lt)] {
        out.extend(m.node(key).map(|n| bound(n, problems).map(|b| (op, b))));
    }
    if let Some(node) = m.node("between") {
        match &node.shape {
            Shape::List(list) if list.len() == 2 => {
                out.push(bound(&list[0], problems).map(|b| (Op::Gte, b)));
                out.push(bound(&list[1], problems).map(|b| (Op::Lte, b)));
            }
            _ => {
                problems
                    .error("wrong-type", &node.place, format!("`between` must be two sizes, not {}", node.described()))
                    .hint("size: { between: [0.5%, 20%] }");
                out.push(None);
            }
        }
    }
    m.finish(problems);
    if out.is_empty() {
        problems
            .error("missing-key", &node.place, "`size` is compared with nothing")
            .hint("size: { between: [0.5%, 20%] }");
        return None;
    }
    out.into_iter().collect()
}

fn bound(node: &Node, problems: &mut Problems) -> Option<Bound> {
    if let Shape::Int(people) = node.shape {
        return Some(Bound::People(people));
    }
    node.read::<Share>("a size", problems).map(|s| Bound::Share(s.0))
}

fn case(node: &Node, settings: &Settings, problems: &mut Problems) -> Option<Case> {
    let mut m = node.map("a case", problems)?;
    let name = m.require::<String>("case", problems);
    let now = given::now(&mut m, settings, problems);
    let given = match m.node("given") {
        Some(node) => now.and_then(|now| given::read(node, now, settings, problems)),
        None => Some(Given::default()),
    };
    let expect = m.choice("expect", &[("in", true), ("out", false)], problems);
    if m.node("expect").is_none() {
        problems.error("missing-key", &m.place, "a case needs `expect`: in or out");
    }
    m.finish(problems);
    Some(Case { name: name?, place: node.place.clone(), now: now?, given: given?, expect_in: expect? })
}
