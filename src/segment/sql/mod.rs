//! From rules to one SQL statement that decides many of them in one pass over the data, for a range of buckets.
//!
//! `profile` (with its derived numbers) JOIN `customer` LEFT JOIN one grouped subquery per source table; every history leaf is an aggregate with
//! FILTER in the pass over its table, shared by leaves that differ only in a threshold; attributes are read in a pass over the customers; a funnel is
//! a subquery of its own; `in_segment` is its rule and pick, written in place. The output is one BIGINT bit set per customer. `$1` and `$2` are the bucket range, repeated in every
//! subquery, because neither engine pushes it in. Every author's value is bound; names come from enumerations of ours.
//!
//! Two-valued logic: each atomic comparison is `(…) IS TRUE`, and only AND, OR and NOT stand above. Groups are written as balanced trees,
//! because SQLite parses an expression at most 1,000 levels deep.
//!
//! Read on: [`rows`] (tables, windows, funnels), [`compare`] (comparisons).

mod compare;
mod rows;

use std::collections::BTreeMap;

use super::resolve::{Drawn, Resolved};
use super::rule::{Check, History, Leaf, Measure, Number, Op, Rows, Rule, Stretch, Tier, What, Window};
use crate::db::{Binds, Dialect, Reads, Value};
use crate::profile::derived_sql;
use crate::profile::fields::Field;
use rows::{Pass, Table};

/// States of a message that its recipient has received, or may have.
pub(super) const RECEIVED_STATES: [&str; 4] = ["accepted", "complained", "unknown", "closed_unknown"];

/// Whom a statement decides about, among the customers of its bucket range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    Everyone,
    /// The customers in table `segment_now`.
    Due,
}

/// Writes a statement.
pub(super) struct Writer<'a> {
    dialect: Dialect,
    resolved: &'a Resolved,
    scope: Scope,
    binds: Binds,
    passes: BTreeMap<Table, Pass>,
    /// Subqueries of funnels: the customers who went through.
    funnels: Vec<String>,
    /// What is read from attributes: the columns `a0, a1 …` of a subquery of the customers.
    own: Vec<String>,
    /// Members of their attributes, by the placeholders of their paths, that are read into columns first: `m0, m1 …`.
    own_members: Vec<String>,
}

/// A statement and its values; the first two are the bucket range.
#[derive(Debug, Clone)]
pub(super) struct Statement {
    /// Columns bucket, customer_id, revenue, bits; one row per customer.
    pub sql: String,
    pub values: Vec<Value>,
}

impl Statement {
    /// The values for a range of buckets.
    pub fn values_for(&self, first: i64, last: i64) -> Vec<Value> {
        let mut values = self.values.clone();
        values[0] = first.into();
        values[1] = last.into();
        values
    }
}

/// The statement for rules, each with its bit.
pub(super) fn statement(dialect: Dialect, resolved: &Resolved, scope: Scope, rules: &[(u32, &Rule)]) -> Statement {
    statement_of(dialect, resolved, scope, rules, None)
}

/// The same with one more column, `value`: a number of the customer as DOUBLE PRECISION.
pub(super) fn statement_of(
    dialect: Dialect,
    resolved: &Resolved,
    scope: Scope,
    rules: &[(u32, &Rule)],
    value: Option<&Field>,
) -> Statement {
    let mut w = Writer::new(dialect, resolved, scope, Binds::after(2));
    let bits: Vec<String> = rules
        .iter()
        .map(|(bit, rule)| format!("CASE WHEN {} THEN {} ELSE 0 END", w.rule(rule), 1_u64 << bit))
        .collect();
    let bits = balanced(bits, " + ");
    let value = value.map_or(String::new(), |f| format!(", CAST({} AS DOUBLE PRECISION) AS value", f.sql));
    let profile = derived_sql(&resolved.moment, &scope.rows("profile", "p"), &mut w.binds);
    let mut from = format!("({profile}) p\n CROSS JOIN customer c");
    let mut join = |subquery: String, alias: &str| {
        from.push_str(&format!(
            "\n LEFT JOIN ({subquery}) {alias}\n   ON {alias}.bucket = p.bucket AND {alias}.customer_id = p.customer_id"
        ));
    };
    for (table, pass) in std::mem::take(&mut w.passes) {
        join(w.grouped(table, &pass), table.outside());
    }
    for (n, funnel) in w.funnels.iter().enumerate() {
        join(funnel.clone(), &format!("funnel{n}"));
    }
    if !w.own.is_empty() {
        join(w.own_values(), "own");
    }
    if bits.contains("sc.") || value.contains("sc.") {
        from.push_str("\n LEFT JOIN score sc ON sc.bucket = p.bucket AND sc.customer_id = p.customer_id");
    }
    let sql = format!(
        "SELECT p.bucket, p.customer_id, p.revenue, CAST({bits} AS BIGINT) AS bits{value}\n FROM {from}\n \
         WHERE c.bucket >= $1 AND c.bucket <= $2 AND c.bucket = p.bucket AND c.customer_id = p.customer_id"
    );
    Statement { sql, values: w.binds.into_values() }
}

/// What the tests of `rows` ask of a row under an alias, for a statement of somebody else, to whose values theirs are appended.
pub(super) fn row_tests(
    dialect: Dialect,
    resolved: &Resolved,
    rows: &Rows,
    alias: &str,
    args: &mut Vec<Value>,
) -> Vec<String> {
    let before = args.len();
    let mut w = Writer::new(dialect, resolved, Scope::Everyone, Binds::after(before));
    let tests = w.row_tests(rows, alias);
    args.extend(w.binds.into_values().into_iter().skip(before));
    tests
}

impl<'a> Writer<'a> {
    fn new(dialect: Dialect, resolved: &'a Resolved, scope: Scope, binds: Binds) -> Writer<'a> {
        Writer {
            dialect,
            resolved,
            scope,
            binds,
            passes: BTreeMap::new(),
            funnels: Vec::new(),
            own: Vec::new(),
            own_members: Vec::new(),
        }
    }
}

impl Scope {
    /// How much of the tables its statements read.
    pub fn reads(self) -> Reads {
        match self {
            Scope::Everyone => Reads::Everybody,
            Scope::Due => Reads::Few,
        }
    }

    /// `FROM`'s text for the rows of a table, with their WHERE; more conditions follow after ` AND `. CROSS JOIN makes SQLite begin with the few
    /// customers that are due.
    pub fn rows(self, table: &str, alias: &str) -> String {
        let range = |a: &str| format!("{a}.bucket >= $1 AND {a}.bucket <= $2");
        match self {
            Scope::Everyone => format!("{table} {alias} WHERE {}", range(alias)),
            Scope::Due => format!(
                "segment_now d CROSS JOIN {table} {alias} WHERE {} AND {alias}.bucket = d.bucket AND {alias}.customer_id = d.customer_id",
                range("d")
            ),
        }
    }
}

impl Writer<'_> {
    fn rule(&mut self, rule: &Rule) -> String {
        match rule {
            Rule::All(rules) => self.group(rules, " AND "),
            Rule::Any(rules) => self.group(rules, " OR "),
            Rule::None(rules) => format!("NOT ({})", self.group(rules, " OR ")),
            Rule::Leaf(leaf) => self.leaf(leaf),
        }
    }

    fn group(&mut self, rules: &[Rule], word: &str) -> String {
        let parts = rules.iter().map(|r| self.rule(r)).collect();
        balanced(parts, word)
    }

    fn leaf(&mut self, leaf: &Leaf) -> String {
        match leaf {
            Leaf::History(history) => self.history(history),
            Leaf::Last(rows) => self.last(rows),
            Leaf::Funnel(steps) => self.funnel(steps),
            Leaf::Customer { what, checks, window } => self.customer(what, checks, window),
            Leaf::Percentile { field, any_of } => {
                let parts = any_of.iter().map(|s| self.stretch(field, s)).collect();
                format!("((p.orders > 0) IS TRUE AND {})", balanced(parts, " OR "))
            }
            Leaf::Rfm(names) => {
                let cells: Vec<String> = names.iter().flat_map(|n| n.cells()).map(|c| self.binds.bind(c)).collect();
                format!("((10 * p.r + p.f) IN ({})) IS TRUE", cells.join(", "))
            }
            Leaf::Lifecycle(stages) => {
                let numbers: Vec<String> = stages.iter().map(|s| self.binds.bind(s.number())).collect();
                format!("(p.stage IN ({})) IS TRUE", numbers.join(", "))
            }
            Leaf::Tier(tier) => self.tier(tier),
            Leaf::InSegment(references) => {
                let resolved = self.resolved;
                let parts = references.iter().map(|r| self.member(&r.name, resolved)).collect();
                balanced(parts, " OR ")
            }
        }
    }

    /// Membership in a segment: its rule, and who of its members is picked.
    fn member(&mut self, name: &str, resolved: &Resolved) -> String {
        let rule = self.rule(resolved.rule(name));
        match resolved.drawn.get(name) {
            Some(drawn) => format!("({rule} AND {})", self.drawn(drawn)),
            None => rule,
        }
    }

    /// Whether a member is picked.
    fn drawn(&mut self, drawn: &Drawn) -> String {
        let mut parts = Vec::new();
        match &drawn.top {
            None => {}
            Some(None) => parts.push("1 = 0".to_owned()),
            Some(Some(edge)) => {
                let value = format!("CAST({} AS DOUBLE PRECISION)", edge.by.sql);
                let (at, bucket, id) =
                    (self.binds.bind(edge.value), self.binds.bind(edge.bucket), self.binds.bind(&edge.customer_id));
                let bytewise = self.dialect.bytewise();
                parts.push(format!(
                    "({value} > {at} OR ({value} = {at} AND (p.bucket < {bucket} \
                     OR (p.bucket = {bucket} AND p.customer_id {bytewise} <= {id})))) IS TRUE"
                ));
            }
        }
        if let Some(cells) = &drawn.cells {
            let list: Vec<String> = cells.iter().map(i64::to_string).collect();
            parts.push(format!("p.bucket IN ({})", list.join(", ")));
        }
        balanced(parts, " AND ")
    }

    fn stretch(&mut self, field: &'static Field, stretch: &Stretch) -> String {
        let mut parts = Vec::new();
        for (op, percent) in &stretch.0 {
            parts.push(match self.resolved.threshold(field, *op, *percent) {
                Some(edge) => {
                    let edge = self.binds.bind(edge);
                    format!("(CAST({} AS DOUBLE PRECISION) {} {edge}) IS TRUE", field.sql, op.sign())
                }
                None => "1 = 0".to_owned(),
            });
        }
        balanced(parts, " AND ")
    }

    fn tier(&mut self, tier: &Tier) -> String {
        let rows = tier.rows();
        let column = self.measured(&rows, &tier.measure);
        let value = format!("COALESCE({column}, 0)");
        let parts = tier
            .stretches
            .iter()
            .map(|(from, below)| {
                let from = format!("{value} >= {}", self.binds.bind(*from));
                match below {
                    Some(below) => format!("({from} AND {value} < {})", self.binds.bind(*below)),
                    None => format!("({from})"),
                }
            })
            .collect();
        balanced(parts, " OR ")
    }

    fn customer(&mut self, what: &What, checks: &[Check], window: &Window) -> String {
        let value = self.value_of(what);
        let mut parts: Vec<String> = checks.iter().map(|c| self.check(&value, c)).collect();
        if window.is_limited() {
            parts.push(match what {
                What::Attribute(_) => self.date_inside(&value, window),
                What::Field(field) => {
                    let inside = self.inside(field.sql, window);
                    format!("({inside}) IS TRUE")
                }
            });
        }
        balanced(parts, " AND ")
    }

    /// A value that is costly to read from the customer's row, and used more than once: engines compute an expression wherever it is referred to,
    /// an aggregate once.
    fn own(&mut self, sql: String) -> String {
        let at = self.own.iter().position(|o| *o == sql).unwrap_or_else(|| {
            self.own.push(sql);
            self.own.len() - 1
        });
        format!("own.a{at}")
    }

    /// The column that a member of the customer's attributes is read into, where reading it again would cost much.
    fn own_member(&mut self, path: &str) -> Option<String> {
        if self.dialect == Dialect::Sqlite {
            return None;
        }
        let at = self.own_members.iter().position(|p| p == path).unwrap_or_else(|| {
            self.own_members.push(path.to_owned());
            self.own_members.len() - 1
        });
        Some(format!("c.m{at}"))
    }

    fn own_values(&self) -> String {
        let columns: Vec<String> = self.own.iter().enumerate().map(|(n, sql)| format!("MAX({sql}) AS a{n}")).collect();
        let rows = self.scope.rows("customer", "c");
        let from = match self.dialect.json_columns(&rows, "c", "attributes", &self.own_members) {
            Some(read) => format!("{read} c"),
            None => rows,
        };
        format!(
            "SELECT c.bucket, c.customer_id, {} FROM {from} GROUP BY c.bucket, c.customer_id",
            columns.join(",\n   ")
        )
    }

    fn history(&mut self, history: &History) -> String {
        let at_least_one = [(Measure::Times, vec![Check::Compare(Op::Gte, Number::Int(1))])];
        let measures = if history.measures.is_empty() { &at_least_one[..] } else { &history.measures };
        if measures == at_least_one
            && let Some(holds) = self.any_row(&history.rows)
        {
            return if history.negated { format!("NOT ({holds})") } else { holds };
        }
        let mut parts = Vec::new();
        for (measure, checks) in measures {
            let column = self.measured(&history.rows, measure);
            // A count is never missing: of no rows it is zero.
            let value = if matches!(measure, Measure::Sum(_)) { column } else { format!("COALESCE({column}, 0)") };
            let value = compare::Expression::plain(value);
            parts.extend(checks.iter().map(|c| self.check(&value, c)));
        }
        let holds = balanced(parts, " AND ");
        if history.negated { format!("NOT ({holds})") } else { holds }
    }
}

/// Parts joined as a balanced tree in parentheses. Of nothing: true, which no caller asks for.
fn balanced(mut parts: Vec<String>, word: &str) -> String {
    match parts.len() {
        0 => "1 = 1".to_owned(),
        1 => parts.remove(0),
        n => {
            let right = parts.split_off(n / 2);
            format!("({}{word}{})", balanced(parts, word), balanced(right, word))
        }
    }
}
