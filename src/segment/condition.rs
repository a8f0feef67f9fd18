//! Conditions of a campaign's steps: rules about somebody since their entry, decided for those whose step is due.

use std::collections::{BTreeMap, BTreeSet};

use super::decide::decide;
use super::evaluate::{CompileError, Compiled};
use super::given::Given;
use super::library::Library;
use super::read;
use super::rule::Rule;
use super::words;
use crate::clock::Millis;
use crate::db::{Db, DbError};
use crate::problem::{Place, Problems};
use crate::settings::Settings;
use crate::yaml::Node;

/// A checked condition.
#[derive(Debug, Clone)]
pub struct Condition {
    rule: Rule,
    pub place: Place,
}

/// Somebody a condition is asked about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entered {
    pub entered_at: Millis,
    pub bucket: i64,
    pub customer_id: String,
}

impl Condition {
    /// Read a condition; `segments` are the names it may use.
    pub fn read(node: &Node, settings: &Settings, segments: &[&str], problems: &mut Problems) -> Option<Condition> {
        let rule = read::rule(node, settings, problems)?;
        let mut known = true;
        for reference in rule.references().filter(|r| !segments.contains(&r.name.as_str())) {
            known = false;
            problems
                .error("unknown-segment", &reference.place, format!("there is no segment `{}`", reference.name))
                .did_you_mean(&reference.name, segments.iter().copied());
        }
        known.then(|| Condition { rule, place: node.place.clone() })
    }

    /// In plain words, without its full stop.
    pub fn sentence(&self, settings: &Settings) -> String {
        words::sentence(&self.rule, settings)
    }

    /// Whether it hangs on what models predict, by itself.
    pub fn uses_scores(&self) -> bool {
        self.rule.uses_scores()
    }

    /// The segments it names.
    pub fn segments(&self) -> impl Iterator<Item = &str> {
        self.rule.references().map(|r| r.name.as_str())
    }
}

/// Whether a rule holds for somebody who stands in no database; else what would have to be said of them to know.
pub fn holds_for(
    library: &Library,
    settings: &Settings,
    rule: &Asked<'_>,
    given: &Given,
    now: Millis,
) -> Result<bool, String> {
    let rule = match rule {
        Asked::Member(segment) => Rule::member_of(segment),
        Asked::Condition(condition, entered_at) => condition.rule.entered(*entered_at),
    };
    let compiled = Compiled::of_rules(library, vec![rule.clone()], now, settings).map_err(|e| e.to_string())?;
    decide(&rule, &given.person, &compiled.unprepared().resolved).map_err(|open| {
        let open: Vec<String> = open.iter().map(ToString::to_string).collect();
        format!("it asks what is not said of this person; say for example {}", open.join(", "))
    })
}

/// What is asked about somebody given.
#[derive(Debug, Clone, Copy)]
pub enum Asked<'a> {
    /// Whether they are in a segment.
    Member(&'a str),
    /// Whether a condition holds for them, who entered then.
    Condition(&'a Condition, Millis),
}

/// Which of the conditions hold for each of these people: bit n for the n-th. People who entered together are asked about together, and only
/// the buckets they are in.
pub async fn holding(
    db: &Db,
    library: &Library,
    settings: &Settings,
    conditions: &[&Condition],
    as_of: Millis,
    people: &BTreeSet<Entered>,
) -> Result<BTreeMap<Entered, u64>, ConditionError> {
    let mut held = BTreeMap::new();
    if conditions.is_empty() {
        return Ok(held);
    }
    let people: Vec<&Entered> = people.iter().collect();
    for together in people.chunk_by(|a, b| a.entered_at == b.entered_at) {
        let entered_at = together[0].entered_at;
        let rules = conditions.iter().map(|c| c.rule.entered(entered_at)).collect();
        let prepared = Compiled::of_rules(library, rules, as_of, settings)?.prepare(db).await?;
        for in_bucket in together.chunk_by(|a, b| a.bucket == b.bucket) {
            let bucket = in_bucket[0].bucket;
            let asked: BTreeSet<&str> = in_bucket.iter().map(|e| e.customer_id.as_str()).collect();
            for member in prepared.evaluate(db, bucket, bucket).await? {
                if asked.contains(member.customer_id.as_str()) {
                    held.insert(Entered { entered_at, bucket, customer_id: member.customer_id }, member.bits);
                }
            }
        }
    }
    Ok(held)
}

/// Why conditions could not be decided.
#[derive(Debug, thiserror::Error)]
pub enum ConditionError {
    #[error(transparent)]
    Compile(#[from] CompileError),
    #[error(transparent)]
    Db(#[from] DbError),
}
