//! Rules at one planning instant against one database: who is in which segment.

use std::collections::{BTreeMap, HashMap};

use super::library::Library;
use super::rule::{Leaf, Op, Rule};
use super::sql::{self, Statement};
use crate::clock::Millis;
use crate::db::{BUCKETS, Db, DbResult, Value};
use crate::profile::Moment;
use crate::settings::Settings;

/// The most segments one evaluation decides: bits of a BIGINT, with its sign and one more kept free.
pub const SEGMENTS_MAX: usize = 62;
/// Buckets that [`Prepared::sizes`] asks for in one statement.
const BUCKETS_PER_STATEMENT: i64 = 64;

/// Why segments cannot be picked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CompileError {
    #[error("there is no segment `{0}`")]
    Unknown(String),
    #[error("{0} segments at once; at most {SEGMENTS_MAX} are evaluated together")]
    TooMany(usize),
}

/// Segments picked for one planning instant.
#[derive(Debug, Clone)]
pub struct Compiled {
    names: Vec<String>,
    /// The rules of these and of everything they refer to.
    rules: BTreeMap<String, Rule>,
    as_of: Millis,
    settings: Settings,
}

/// What a rule needs to be decided, beside the customer.
#[derive(Debug, Clone)]
pub(super) struct Resolved {
    pub rules: BTreeMap<String, Rule>,
    pub moment: Moment,
    /// Event name → its number in the database.
    pub name_ids: HashMap<String, i64>,
    /// Percentiles as values: field, comparison, percent → the value to compare with; absent before the first buyer.
    thresholds: Vec<(&'static str, Op, f64, Option<i64>)>,
}

impl Resolved {
    /// The value at a percentile; `None` when nobody has bought.
    pub fn threshold(&self, field: &str, op: Op, percent: f64) -> Option<i64> {
        self.thresholds
            .iter()
            .find(|(f, o, p, _)| *f == field && *o == op && *p == percent)
            .and_then(|(.., value)| *value)
    }
}

/// Segments ready to be evaluated, any number of times.
#[derive(Debug, Clone)]
pub struct Prepared {
    names: Vec<String>,
    pub(super) resolved: Resolved,
    statement: Option<Statement>,
}

/// Somebody who is in at least one of the segments.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Member {
    pub bucket: i64,
    pub customer_id: String,
    /// Bit n is set when the customer is in the n-th segment.
    pub bits: u64,
}

/// How large a segment is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Size {
    pub people: i64,
    /// Their net revenue, minor units.
    pub revenue: i64,
}

impl Compiled {
    pub(super) fn new(
        library: &Library,
        names: &[&str],
        as_of: Millis,
        settings: &Settings,
    ) -> Result<Compiled, CompileError> {
        if names.len() > SEGMENTS_MAX {
            return Err(CompileError::TooMany(names.len()));
        }
        let mut rules = BTreeMap::new();
        let mut open: Vec<String> = names.iter().map(|n| (*n).to_owned()).collect();
        while let Some(name) = open.pop() {
            if rules.contains_key(&name) {
                continue;
            }
            let segment = library.get(&name).ok_or_else(|| CompileError::Unknown(name.clone()))?;
            open.extend(segment.rule.references().map(|r| r.name.clone()));
            rules.insert(name, segment.rule.clone());
        }
        let names = names.iter().map(|n| (*n).to_owned()).collect();
        Ok(Compiled { names, rules, as_of, settings: settings.clone() })
    }

    /// Ask the database what the statement needs to know.
    pub async fn prepare(&self, db: &Db) -> DbResult<Prepared> {
        let moment = Moment::at(db, &self.settings, self.as_of).await?;
        let rows: Vec<(String, i64)> = db.fetch_all("SELECT name, name_id FROM event_name", vec![]).await?;
        let mut thresholds: Vec<(&'static str, Op, f64, Option<i64>)> = Vec::new();
        for leaf in self.rules.values().flat_map(Rule::leaves) {
            let Leaf::Percentile { field, at_least, at_most } = leaf else { continue };
            for (op, percent) in [(Op::Gte, at_least), (Op::Lte, at_most)] {
                let Some(percent) = percent else { continue };
                if !thresholds.iter().any(|(f, o, p, _)| *f == field.name && *o == op && p == percent) {
                    thresholds.push((field.name, op, *percent, sql::threshold(db, field.name, op, *percent).await?));
                }
            }
        }
        let resolved = Resolved { rules: self.rules.clone(), moment, name_ids: rows.into_iter().collect(), thresholds };
        let picked: Vec<&Rule> = self.names.iter().map(|n| &resolved.rules[n]).collect();
        let statement = (!picked.is_empty()).then(|| sql::statement(db.dialect(), &resolved, &picked));
        Ok(Prepared { names: self.names.clone(), resolved, statement })
    }
}

impl Prepared {
    /// The members among customers of buckets `first ..= last`, by bucket and customer_id. Customers without a profile are in no segment.
    pub async fn evaluate(&self, db: &Db, first: i64, last: i64) -> DbResult<Vec<Member>> {
        let Some(statement) = &self.statement else { return Ok(Vec::new()) };
        let sql = format!("SELECT bucket, customer_id, bits FROM ({}) found", statement.sql);
        let rows: Vec<(i64, String, i64)> = db.fetch_all(&sql, statement.values_for(first, last)).await?;
        let mut members: Vec<Member> = rows
            .into_iter()
            .map(|(bucket, customer_id, bits)| Member { bucket, customer_id, bits: bits as u64 })
            .collect();
        // Sorted here and not by the engine, whose collation decides the order of text.
        members.sort_unstable();
        Ok(members)
    }

    /// The bit of a segment in [`Member::bits`]; zero when it was not picked.
    pub fn mask_of(&self, name: &str) -> u64 {
        self.names.iter().position(|n| n == name).map_or(0, |n| 1 << n)
    }

    /// The size of each picked segment, in their order; no list of people leaves the database.
    pub async fn sizes(&self, db: &Db) -> DbResult<Vec<Size>> {
        let mut sizes = vec![Size::default(); self.names.len()];
        let Some(statement) = &self.statement else { return Ok(sizes) };
        let sql =
            format!("SELECT bits, COUNT(*), CAST(SUM(revenue) AS BIGINT) FROM ({}) found GROUP BY bits", statement.sql);
        let mut first = 0;
        while first < BUCKETS {
            let last = first + BUCKETS_PER_STATEMENT - 1;
            let rows: Vec<(i64, i64, i64)> = db.fetch_all(&sql, statement.values_for(first, last)).await?;
            for (bits, people, revenue) in rows {
                for (n, size) in sizes.iter_mut().enumerate().filter(|(n, _)| bits & (1 << n) != 0) {
                    debug_assert!(n < SEGMENTS_MAX);
                    size.people += people;
                    size.revenue += revenue;
                }
            }
            first = last + 1;
        }
        Ok(sizes)
    }

    /// The picked segments; the n-th is bit n.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The statement and its values, for people to look at. The first two values are the bucket range.
    pub fn statement(&self) -> Option<(&str, &[Value])> {
        self.statement.as_ref().map(|s| (s.sql.as_str(), s.values.as_slice()))
    }

    /// The instant and what else profiles are looked at with.
    pub fn moment(&self) -> &Moment {
        &self.resolved.moment
    }
}

impl Statement {
    fn values_for(&self, first: i64, last: i64) -> Vec<Value> {
        let mut values = self.values.clone();
        values[0] = first.into();
        values[1] = last.into();
        values
    }
}
