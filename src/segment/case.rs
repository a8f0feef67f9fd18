//! What a segment file expects of itself: of the set of its members, and of single people with given facts.

use super::given::Given;
use super::rule::{Op, Reference};
use crate::clock::Millis;
use crate::problem::Place;

/// The `tests:` of a segment.
#[derive(Debug, Clone, Default)]
pub struct Tests {
    pub sets: Vec<SetTest>,
    pub cases: Vec<Case>,
}

/// Something that holds for the set of members.
#[derive(Debug, Clone)]
pub struct SetTest {
    pub place: Place,
    pub expectation: Expectation,
}

/// What is expected of the members.
#[derive(Debug, Clone)]
pub enum Expectation {
    /// So many; all bounds must hold.
    Size(Vec<(Op, Bound)>),
    /// Every member is in each of these.
    SubsetOf(Vec<Reference>),
    /// No member is in any of these.
    DisjointWith(Vec<Reference>),
    /// Everybody in any of these is a member.
    Covers(Vec<Reference>),
}

/// A size.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Bound {
    People(i64),
    /// Of everybody with a profile, 0 to 1.
    Share(f64),
}

/// One person with given facts at a fixed instant.
#[derive(Debug, Clone)]
pub struct Case {
    pub name: String,
    pub place: Place,
    pub now: Millis,
    pub given: Given,
    pub expect_in: bool,
}

impl Expectation {
    /// As the author writes it.
    pub fn key(&self) -> &'static str {
        match self {
            Expectation::Size(_) => "size",
            Expectation::SubsetOf(_) => "subset_of",
            Expectation::DisjointWith(_) => "disjoint_with",
            Expectation::Covers(_) => "covers",
        }
    }

    /// The segments it names.
    pub fn references(&self) -> &[Reference] {
        match self {
            Expectation::Size(_) => &[],
            Expectation::SubsetOf(names) | Expectation::DisjointWith(names) | Expectation::Covers(names) => names,
        }
    }

    /// Whether it is broken by somebody who is a member or not, and in the named segments or not.
    pub fn broken_by(&self, member: bool, in_named: &[bool]) -> bool {
        match self {
            Expectation::Size(_) => false,
            Expectation::SubsetOf(_) => member && !in_named.iter().all(|i| *i),
            Expectation::DisjointWith(_) => member && in_named.iter().any(|i| *i),
            Expectation::Covers(_) => !member && in_named.iter().any(|i| *i),
        }
    }
}

impl Bound {
    /// Compared with a number of people among everybody.
    pub fn holds(self, op: Op, people: i64, everyone: i64) -> bool {
        let (left, right) = match self {
            Bound::People(n) => (people as f64, n as f64),
            Bound::Share(share) => (people as f64, share * everyone as f64),
        };
        left.partial_cmp(&right).is_some_and(|o| op.holds(o))
    }
}

impl std::fmt::Display for Bound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Bound::People(n) => write!(f, "{n}"),
            Bound::Share(share) => write!(f, "{} %", (share * 10_000.0).round() / 100.0),
        }
    }
}
