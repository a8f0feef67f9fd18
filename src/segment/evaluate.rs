//! Rules at one planning instant against one database: who is in which segment.

use std::collections::BTreeMap;

use super::library::Library;
use super::resolve::{Defined, Resolved};
use super::rule::{Leaf, Pick, Rule};
use super::sql::{self, Scope, Statement};
use crate::clock::Millis;
use crate::db::{BUCKETS, Db, DbResult, Dialect, Reads, Value};
use crate::profile::Moment;
use crate::settings::Settings;

/// The most segments one evaluation decides: bits of a BIGINT, with its sign and one more kept free.
pub const SEGMENTS_MAX: usize = 62;
/// Buckets asked for in one statement where the whole table is gone through.
pub(super) const BUCKETS_PER_STATEMENT: i64 = 64;
/// The most measured columns of one statement, and the most funnels: below what engines allow in one SELECT (1,664) and one join (64).
const COLUMNS_MAX: usize = 1_200;
const FUNNELS_MAX: usize = 24;
/// The most values of one statement; SQLite takes 32,766.
const VALUES_MAX: usize = 30_000;

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
    defined: BTreeMap<String, Defined>,
    as_of: Millis,
    settings: Settings,
}

/// Segments ready to be evaluated, any number of times.
#[derive(Debug, Clone)]
pub struct Prepared {
    names: Vec<String>,
    pub(super) resolved: Resolved,
    /// Together they decide all; most often it is one.
    statements: Vec<Statement>,
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

impl Size {
    /// Everybody who has a profile.
    pub async fn of_everyone(db: &Db) -> DbResult<Size> {
        let sql = "SELECT COUNT(*), CAST(COALESCE(SUM(revenue), 0) AS BIGINT) FROM profile";
        let (people, revenue) = db.fetch_one(sql, vec![]).await?;
        Ok(Size { people, revenue })
    }
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
        let defined = definitions(library, names.iter().map(|n| (*n).to_owned()).collect())?;
        let names = names.iter().map(|n| (*n).to_owned()).collect();
        Ok(Compiled { names, defined, as_of, settings: settings.clone() })
    }

    /// Rules that are no segments; the n-th becomes bit n.
    pub(super) fn of_rules(
        library: &Library,
        rules: Vec<Rule>,
        as_of: Millis,
        settings: &Settings,
    ) -> Result<Compiled, CompileError> {
        if rules.len() > SEGMENTS_MAX {
            return Err(CompileError::TooMany(rules.len()));
        }
        let referred = rules.iter().flat_map(Rule::references).map(|r| r.name.clone()).collect();
        let mut defined = definitions(library, referred)?;
        // A space keeps them apart from the names of segments.
        let names: Vec<String> = (0..rules.len()).map(|n| format!("condition {n}")).collect();
        let conditions = rules.into_iter().map(|rule| Defined { rule, pick: Pick::default() });
        defined.extend(names.iter().cloned().zip(conditions));
        Ok(Compiled { names, defined, as_of, settings: settings.clone() })
    }

    /// Ask the database what the statements need to know.
    pub async fn prepare(&self, db: &Db) -> DbResult<Prepared> {
        let moment = Moment::at(db, &self.settings, self.as_of).await?;
        let resolved = Resolved::ask(db, self.defined.clone(), moment).await?;
        Ok(Prepared::new(db.dialect(), self.names.clone(), resolved))
    }

    /// Without a database, for people given as they are: [`explain`](super::explain) decides, nothing else does.
    pub fn unprepared(&self) -> Prepared {
        let moment = Moment::with_cuts(&self.settings, self.as_of, None);
        let resolved = Resolved::unasked(self.defined.clone(), moment);
        Prepared { names: self.names.clone(), resolved, statements: Vec::new() }
    }
}

/// The definitions of segments and of everything they refer to.
pub(super) fn definitions(library: &Library, mut open: Vec<String>) -> Result<BTreeMap<String, Defined>, CompileError> {
    let mut defined = BTreeMap::new();
    while let Some(name) = open.pop() {
        if defined.contains_key(&name) {
            continue;
        }
        let segment = library.get(&name).ok_or_else(|| CompileError::Unknown(name.clone()))?;
        open.extend(segment.rule.references().map(|r| r.name.clone()));
        defined.insert(name, Defined { rule: segment.rule.clone(), pick: segment.pick.clone() });
    }
    Ok(defined)
}

/// The statements that decide segments, each with its bit; as few as the engines' limits allow.
pub(super) fn statements(
    dialect: Dialect,
    resolved: &Resolved,
    scope: Scope,
    segments: &[(u32, &str)],
) -> Vec<Statement> {
    let mut out = Vec::new();
    let mut group: Vec<(u32, &str)> = Vec::new();
    let mut total = Cost::default();
    let costs: Vec<Cost> = segments.iter().map(|(_, name)| cost(resolved, name)).collect();
    for (segment, cost) in segments.iter().zip(costs) {
        let sum = Cost { columns: total.columns + cost.columns, funnels: total.funnels + cost.funnels };
        if !group.is_empty() && (sum.columns > COLUMNS_MAX || sum.funnels > FUNNELS_MAX) {
            push_statements(dialect, resolved, scope, &group, &mut out);
            group.clear();
            total = cost;
        } else {
            total = sum;
        }
        group.push(*segment);
    }
    if !group.is_empty() {
        push_statements(dialect, resolved, scope, &group, &mut out);
    }
    out
}

/// One statement, or several when it would have too many values.
fn push_statements(
    dialect: Dialect,
    resolved: &Resolved,
    scope: Scope,
    group: &[(u32, &str)],
    out: &mut Vec<Statement>,
) {
    let rules: Vec<(u32, Rule)> = group.iter().map(|(bit, name)| (*bit, Rule::member_of(name))).collect();
    let borrowed: Vec<(u32, &Rule)> = rules.iter().map(|(bit, rule)| (*bit, rule)).collect();
    let statement = sql::statement(dialect, resolved, scope, &borrowed);
    if statement.values.len() > VALUES_MAX && group.len() > 1 {
        let (left, right) = group.split_at(group.len() / 2);
        push_statements(dialect, resolved, scope, left, out);
        push_statements(dialect, resolved, scope, right, out);
    } else {
        out.push(statement);
    }
}

/// What a rule takes of a statement, once its references are written out.
#[derive(Debug, Clone, Copy, Default)]
struct Cost {
    columns: usize,
    funnels: usize,
}

fn cost(resolved: &Resolved, name: &str) -> Cost {
    let mut sum = Cost::default();
    for leaf in resolved.rule(name).leaves() {
        match leaf {
            Leaf::Funnel(_) => sum.funnels += 1,
            Leaf::InSegment(references) => {
                for reference in references {
                    let inner = cost(resolved, &reference.name);
                    sum.columns += inner.columns;
                    sum.funnels += inner.funnels;
                }
            }
            leaf => sum.columns += leaf.columns(),
        }
    }
    sum
}

impl Prepared {
    fn new(dialect: Dialect, names: Vec<String>, resolved: Resolved) -> Prepared {
        let segments: Vec<(u32, &str)> = names.iter().enumerate().map(|(n, name)| (n as u32, name.as_str())).collect();
        let statements = statements(dialect, &resolved, Scope::Everyone, &segments);
        Prepared { names, resolved, statements }
    }

    /// The members among customers of buckets `first ..= last`, by bucket and customer_id. Customers without a profile are in no segment.
    pub async fn evaluate(&self, db: &Db, first: i64, last: i64) -> DbResult<Vec<Member>> {
        let mut members: Vec<Member> = Vec::new();
        for statement in &self.statements {
            let sql = format!("SELECT bucket, customer_id, bits FROM ({}) found WHERE bits <> 0", statement.sql);
            let rows: Vec<(i64, String, i64)> =
                db.fetch_planned(Reads::Everybody, &sql, statement.values_for(first, last)).await?;
            members.extend(rows.into_iter().map(|(bucket, customer_id, bits)| Member {
                bucket,
                customer_id,
                bits: bits as u64,
            }));
        }
        // Sorted here and not by the engine, whose collation decides the order of text.
        members.sort_unstable();
        members.dedup_by(|later, kept| {
            let same = later.bucket == kept.bucket && later.customer_id == kept.customer_id;
            kept.bits |= if same { later.bits } else { 0 };
            same
        });
        Ok(members)
    }

    /// The bit of a segment in [`Member::bits`]; zero when it was not picked.
    pub fn mask_of(&self, name: &str) -> u64 {
        self.names.iter().position(|n| n == name).map_or(0, |n| 1 << n)
    }

    /// The size of each picked segment, in their order; no list of people leaves the database.
    pub async fn sizes(&self, db: &Db) -> DbResult<Vec<Size>> {
        let mut sizes = vec![Size::default(); self.names.len()];
        for statement in &self.statements {
            let sql = format!(
                "SELECT bits, COUNT(*), CAST(SUM(revenue) AS BIGINT) FROM ({}) found GROUP BY bits",
                statement.sql
            );
            for first in (0..BUCKETS).step_by(BUCKETS_PER_STATEMENT as usize) {
                let values = statement.values_for(first, first + BUCKETS_PER_STATEMENT - 1);
                let rows: Vec<(i64, i64, i64)> = db.fetch_planned(Reads::Everybody, &sql, values).await?;
                for (bits, people, revenue) in rows {
                    add(&mut sizes, bits as u64, people, revenue);
                }
            }
        }
        Ok(sizes)
    }

    /// The picked segments; the n-th is bit n.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The statements and their values, for people to look at. The first two values are the bucket range.
    pub fn statements(&self) -> impl Iterator<Item = (&str, &[Value])> {
        self.statements.iter().map(|s| (s.sql.as_str(), s.values.as_slice()))
    }

    /// The instant and what else profiles are looked at with.
    pub fn moment(&self) -> &Moment {
        &self.resolved.moment
    }
}

/// Count people with these bits in the size of each segment.
pub(super) fn add(sizes: &mut [Size], bits: u64, people: i64, revenue: i64) {
    for (_, size) in sizes.iter_mut().enumerate().filter(|(n, _)| bits & (1 << n) != 0) {
        size.people += people;
        size.revenue += revenue;
    }
}
