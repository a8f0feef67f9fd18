//! A rule decided for a person without telling why: with what a case leaves open kept apart ([`decide`]), and as what still has to change
//! for a wish to come true ([`Wish`]).
//!
//! Decides each leaf exactly as [`explain`](super::explain) does; a test holds the two together.

use std::collections::BTreeSet;

use super::person::Person;
use super::resolve::Resolved;
use super::rule::{Leaf, Rule, What};
use crate::profile::fields::Field;

/// What a rule asks and a case does not state, for somebody for whom it would count.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unstated {
    /// The place of a number among all buyers, by the name authors write.
    Percentile(&'static str),
    /// R or M.
    Score(&'static str),
    Rfm,
}

impl std::fmt::Display for Unstated {
    /// What to write under `given`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Unstated::Percentile(name) => write!(f, "percentile: {{ {name}: 85 }}"),
            Unstated::Score(name) => write!(f, "customer: {{ {name}: 4 }}"),
            Unstated::Rfm => write!(f, "customer: {{ rfm: champions }}"),
        }
    }
}

impl Unstated {
    fn of(leaf: &Leaf, person: &Person, resolved: &Resolved) -> Option<Unstated> {
        let moment = &resolved.moment;
        if person.facts.orders == 0 {
            return None;
        }
        match leaf {
            Leaf::Percentile { field, .. } => {
                let is_open =
                    !person.given.percentiles.contains_key(field.sql) && person.field(field, moment).is_some();
                is_open.then_some(Unstated::Percentile(field.name))
            }
            Leaf::Rfm(_) => person.rfm(moment).is_none().then_some(Unstated::Rfm),
            leaf => {
                let is_open = |f: &&&Field| matches!(f.sql, "p.r" | "p.m") && person.field(f, moment).is_none();
                leaf.fields().iter().find(is_open).map(|f| Unstated::Score(f.name))
            }
        }
    }
}

/// Whether the rule holds; an error when that hangs on what is not stated.
pub fn decide(rule: &Rule, person: &Person, resolved: &Resolved) -> Result<bool, BTreeSet<Unstated>> {
    match rule {
        Rule::All(rules) => group(rules, false, person, resolved),
        Rule::Any(rules) => group(rules, true, person, resolved),
        Rule::None(rules) => group(rules, true, person, resolved).map(|any| !any),
        Rule::Leaf(Leaf::InSegment(references)) => {
            group(references.iter().map(|r| resolved.rule(&r.name)), true, person, resolved)
        }
        Rule::Leaf(leaf) => match Unstated::of(leaf, person, resolved) {
            Some(unstated) => Err(BTreeSet::from([unstated])),
            None => Ok(leaf_holds(leaf, person, resolved)),
        },
    }
}

/// A group that one part decides when it is `decisive`, whatever is open in the others.
fn group<'r>(
    rules: impl IntoIterator<Item = &'r Rule>,
    decisive: bool,
    person: &Person,
    resolved: &Resolved,
) -> Result<bool, BTreeSet<Unstated>> {
    let mut open = BTreeSet::new();
    for rule in rules {
        match decide(rule, person, resolved) {
            Ok(holds) if holds == decisive => return Ok(decisive),
            Ok(_) => {}
            Err(unstated) => open.extend(unstated),
        }
    }
    if open.is_empty() { Ok(!decisive) } else { Err(open) }
}

/// Whether one leaf holds that is no reference.
fn leaf_holds(leaf: &Leaf, person: &Person, resolved: &Resolved) -> bool {
    let moment = &resolved.moment;
    match leaf {
        Leaf::History(history) => person.history(history, resolved).holds,
        Leaf::Last(rows) => person.last(rows, moment).0,
        Leaf::Funnel(steps) => person.funnel(steps, moment).is_some(),
        Leaf::Customer { what, checks, window } => person.customer_holds(what, checks, window, moment),
        Leaf::Percentile { field, any_of } => person.percentile_holds(field, any_of, resolved),
        Leaf::Rfm(names) => person.rfm(moment).is_some_and(|r| names.contains(&r)),
        Leaf::Lifecycle(stages) => stages.contains(&person.stage(moment)),
        Leaf::Tier(tier) => person.tier_holds(tier, moment),
        Leaf::InSegment(_) => unreachable!("references are followed before"),
    }
}

/// A rule that is wished to hold, or not to hold, looked at for one person. Negations are gone: what remains are leaves, each wished one way.
#[derive(Debug)]
pub struct Wish<'r> {
    /// How many leaves would have to change, at least. Zero: the wish is true.
    pub misses: usize,
    parts: Parts<'r>,
}

#[derive(Debug)]
enum Parts<'r> {
    Leaf(&'r Leaf, bool),
    Every(Vec<Wish<'r>>),
    One(Vec<Wish<'r>>),
}

impl<'r> Wish<'r> {
    /// Look at a rule.
    pub fn of(rule: &'r Rule, wished: bool, person: &Person, resolved: &'r Resolved) -> Wish<'r> {
        let of_all = |rules: &'r [Rule], wished| rules.iter().map(|r| Wish::of(r, wished, person, resolved)).collect();
        match (rule, wished) {
            (Rule::All(rules), true) => Wish::every(of_all(rules, true)),
            (Rule::All(rules), false) => Wish::one(of_all(rules, false)),
            (Rule::Any(rules), true) => Wish::one(of_all(rules, true)),
            (Rule::Any(rules), false) => Wish::every(of_all(rules, false)),
            (Rule::None(rules), true) => Wish::every(of_all(rules, false)),
            (Rule::None(rules), false) => Wish::one(of_all(rules, true)),
            (Rule::Leaf(Leaf::InSegment(references)), wished) => {
                let rules = references.iter().map(|r| resolved.rule(&r.name));
                let parts = rules.map(|rule| Wish::of(rule, wished, person, resolved)).collect();
                if wished { Wish::one(parts) } else { Wish::every(parts) }
            }
            (Rule::Leaf(leaf), wished) => {
                let misses = usize::from(leaf_holds(leaf, person, resolved) != wished);
                Wish { misses, parts: Parts::Leaf(leaf, wished) }
            }
        }
    }

    fn every(parts: Vec<Wish<'r>>) -> Wish<'r> {
        Wish { misses: parts.iter().map(|p| p.misses).sum(), parts: Parts::Every(parts) }
    }

    fn one(parts: Vec<Wish<'r>>) -> Wish<'r> {
        Wish { misses: parts.iter().map(|p| p.misses).min().unwrap_or(0), parts: Parts::One(parts) }
    }

    /// A leaf that keeps the wish from being true, and how it should be; `choose` picks one of so many ways. `None` when it is true.
    pub fn obstacle(&self, choose: &mut impl FnMut(usize) -> usize) -> Option<(&'r Leaf, bool)> {
        match &self.parts {
            _ if self.misses == 0 => None,
            Parts::Leaf(leaf, wished) => Some((leaf, *wished)),
            Parts::Every(parts) | Parts::One(parts) => {
                let open: Vec<&Wish> = parts.iter().filter(|p| p.misses > 0).collect();
                open.get(choose(open.len()))?.obstacle(choose)
            }
        }
    }
}

/// Every leaf of a rule with its references written out.
pub fn leaves<'r>(rule: &'r Rule, resolved: &'r Resolved) -> Vec<&'r Leaf> {
    let mut out: Vec<&Leaf> = Vec::new();
    for leaf in rule.leaves() {
        match leaf {
            Leaf::InSegment(references) => {
                for reference in references {
                    out.extend(leaves(resolved.rule(&reference.name), resolved));
                }
            }
            leaf => out.push(leaf),
        }
    }
    out
}

/// The field of a leaf that is about one.
pub fn field_of(leaf: &Leaf) -> Option<&'static Field> {
    match leaf {
        Leaf::Percentile { field, .. } | Leaf::Customer { what: What::Field(field), .. } => Some(field),
        _ => None,
    }
}
