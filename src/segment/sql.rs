//! From rules to one SQL statement that decides them all for a range of buckets.
//!
//! `profile` (with its derived numbers) JOIN `customer` LEFT JOIN one grouped subquery per source table; every history leaf is an aggregate with
//! FILTER in the pass over its table, shared by leaves that differ only in a threshold; `in_segment` is its rule, written in place. The
//! output is one BIGINT bit set per customer. `$1` and `$2` are the bucket range, repeated in every subquery, because neither engine
//! pushes it in. Every author's value is bound; names come from enumerations of ours.
//!
//! Two-valued logic: each atomic comparison is `(…) IS TRUE`, and only AND, OR and NOT stand above. Groups are written as balanced trees,
//! because SQLite parses an expression at most 1,000 levels deep.

use std::collections::BTreeMap;

use super::evaluate::Resolved;
use super::rule::{
    Check, Column, History, Leaf, Measure, Number, Op, Operand, Property, PropertyTest, Rule, Source, What, Window,
};
use crate::db::{Binds, Dialect, Value};
use crate::profile::{self, COUNTED, derived_sql};

/// States of a message that its recipient has received, or may have.
pub(super) const RECEIVED_STATES: [&str; 4] = ["accepted", "complained", "unknown", "closed_unknown"];
/// No event has this number.
const NO_NAME: i64 = -1;

/// The tables that history leaves are read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Table {
    Orders,
    Lines,
    Events,
    Messages,
    Consents,
}

impl Table {
    fn of(source: &Source) -> Table {
        match source {
            Source::OrdersPlaced | Source::OrdersReturned => Table::Orders,
            Source::Lines => Table::Lines,
            Source::Events(_) => Table::Events,
            Source::Messages { .. } => Table::Messages,
            Source::Consent { .. } => Table::Consents,
        }
    }

    /// The alias of its grouped subquery outside, and of the table inside.
    fn aliases(self) -> (&'static str, &'static str) {
        match self {
            Table::Orders => ("orders", "o"),
            Table::Lines => ("lines", "l"),
            Table::Events => ("events", "e"),
            Table::Messages => ("messages", "m"),
            Table::Consents => ("consents", "s"),
        }
    }

    /// The instant of a row.
    fn at(self) -> &'static str {
        match self {
            Table::Orders => "o.ordered_at",
            Table::Lines => "l.ordered_at",
            Table::Events => "e.at",
            Table::Messages => "COALESCE(d.date_at, m.due_at)",
            Table::Consents => "s.at",
        }
    }
}

/// One pass over a table: its aggregates, in the order of their columns `a0, a1 …`.
#[derive(Debug, Default)]
struct Pass {
    aggregates: Vec<String>,
    /// The event names any leaf asks for. A filter of the whole pass must hold for every leaf in it.
    name_ids: Vec<i64>,
}

/// Writes a statement.
pub(super) struct Writer<'a> {
    dialect: Dialect,
    resolved: &'a Resolved,
    binds: Binds,
    passes: BTreeMap<Table, Pass>,
}

/// A statement and its values; the first two are the bucket range.
#[derive(Debug, Clone)]
pub(super) struct Statement {
    /// Columns bucket, customer_id, revenue, bits; one row per customer whose bits are not all zero.
    pub sql: String,
    pub values: Vec<Value>,
}

/// The statement for rules; the n-th rule is bit n.
pub(super) fn statement(dialect: Dialect, resolved: &Resolved, rules: &[&Rule]) -> Statement {
    let mut w = Writer { dialect, resolved, binds: Binds::after(2), passes: BTreeMap::new() };
    let bits: Vec<String> = rules
        .iter()
        .enumerate()
        .map(|(n, rule)| format!("CASE WHEN {} THEN {} ELSE 0 END", w.rule(rule), 1_u64 << n))
        .collect();
    let bits = balanced(bits, " + ");
    let profile = derived_sql(&resolved.moment, "$1", "$2", &mut w.binds);
    let mut from = format!("({profile}) p\n JOIN customer c ON c.bucket = p.bucket AND c.customer_id = p.customer_id");
    for (table, pass) in std::mem::take(&mut w.passes) {
        let outside = table.aliases().0;
        let grouped = w.grouped(table, &pass);
        from.push_str(&format!(
            "\n LEFT JOIN ({grouped}) {outside}\n   ON {outside}.bucket = p.bucket AND {outside}.customer_id = p.customer_id"
        ));
    }
    let sql = format!(
        "SELECT bucket, customer_id, revenue, bits FROM (\n SELECT p.bucket, p.customer_id, p.revenue, CAST({bits} AS BIGINT) AS bits\n \
         FROM {from}\n WHERE c.bucket >= $1 AND c.bucket <= $2) members WHERE bits <> 0"
    );
    Statement { sql, values: w.binds.into_values() }
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
            Leaf::Customer { what, checks, window } => self.customer(what, checks, *window),
            Leaf::Percentile { field, at_least, at_most } => {
                let mut parts = vec!["(p.orders > 0) IS TRUE".to_owned()];
                for (op, percent) in [(Op::Gte, at_least), (Op::Lte, at_most)] {
                    let Some(percent) = percent else { continue };
                    parts.push(match self.resolved.threshold(field.name, op, *percent) {
                        Some(value) => format!("({} {} {}) IS TRUE", field.sql, op.sign(), self.binds.bind(value)),
                        None => "1 = 0".to_owned(),
                    });
                }
                balanced(parts, " AND ")
            }
            Leaf::Rfm(names) => {
                let cells: Vec<String> = names.iter().flat_map(|n| n.cells()).map(|c| self.binds.bind(c)).collect();
                format!("((10 * p.r + p.f) IN ({})) IS TRUE", cells.join(", "))
            }
            Leaf::Lifecycle(stages) => {
                let numbers: Vec<String> = stages.iter().map(|s| self.binds.bind(s.number())).collect();
                format!("(p.stage IN ({})) IS TRUE", numbers.join(", "))
            }
            Leaf::InSegment(references) => {
                let resolved = self.resolved;
                let parts = references
                    .iter()
                    .map(|r| self.rule(resolved.rules.get(&r.name).expect("references are checked at load")))
                    .collect();
                balanced(parts, " OR ")
            }
        }
    }

    fn customer(&mut self, what: &What, checks: &[Check], window: Window) -> String {
        let (expression, is_json) = match what {
            What::Field(field) => (field.sql.to_owned(), false),
            What::Attribute(name) => (self.json("c.attributes", name), true),
        };
        let mut parts: Vec<String> = checks.iter().map(|c| self.check(&expression, is_json, c)).collect();
        if window.is_limited() {
            let inside = self.inside(&expression, window);
            parts.push(format!("({inside}) IS TRUE"));
        }
        balanced(parts, " AND ")
    }

    fn json(&mut self, column: &str, name: &str) -> String {
        let path = self.binds.bind(self.dialect.json_key(name));
        format!("({})", self.dialect.json_scalar(column, &path))
    }

    fn inside(&mut self, at: &str, window: Window) -> String {
        let (from, until) = window.bounds(&self.resolved.moment);
        let until = format!("{at} < {}", self.binds.bind(until));
        match from {
            Some(from) => format!("{at} >= {} AND {until}", self.binds.bind(from)),
            None => until,
        }
    }

    /// A comparison of an expression: true or false, never null.
    fn check(&mut self, expression: &str, is_json: bool, check: &Check) -> String {
        match check {
            Check::Exists(true) => format!("({expression} IS NOT NULL)"),
            Check::Exists(false) => format!("({expression} IS NULL)"),
            Check::Compare(op, number) => {
                let left = if is_json { self.dialect.decimal_of(expression) } else { expression.to_owned() };
                format!("(({left}) {} {}) IS TRUE", op.sign(), self.number(*number, is_json))
            }
            Check::Field { op, field, factor } => {
                let factor = self.binds.bind(*factor);
                let real = |e: &str| format!("CAST({e} AS DOUBLE PRECISION)");
                format!("({} {} {} * {factor}) IS TRUE", real(expression), op.sign(), real(field.sql))
            }
            Check::In(operands) => {
                let parts = operands.iter().map(|o| self.equal(expression, is_json, o)).collect();
                balanced(parts, " OR ")
            }
        }
    }

    fn equal(&mut self, expression: &str, is_json: bool, operand: &Operand) -> String {
        match operand {
            Operand::Number(number) => {
                let left = if is_json { self.dialect.decimal_of(expression) } else { expression.to_owned() };
                format!("(({left}) = {}) IS TRUE", self.number(*number, is_json))
            }
            Operand::Text(text) => format!("({expression} = {}) IS TRUE", self.binds.bind(text)),
            Operand::Flag(flag) => {
                format!("({expression} = {}) IS TRUE", self.binds.bind(if *flag { "true" } else { "false" }))
            }
        }
    }

    fn number(&mut self, number: Number, as_real: bool) -> String {
        match number {
            Number::Int(i) if !as_real => self.binds.bind(i),
            n => self.binds.bind(n.as_f64()),
        }
    }

    fn history(&mut self, history: &History) -> String {
        let table = Table::of(&history.source);
        let filter = self.filter(table, history);
        let measured: Vec<(Measure, &[Check])> = match history.measures.as_slice() {
            [] => vec![(Measure::Times, &[Check::Compare(Op::Gte, Number::Int(1))])],
            measures => measures.iter().map(|(m, checks)| (*m, checks.as_slice())).collect(),
        };
        let mut parts = Vec::new();
        for (measure, checks) in measured {
            let inside = table.aliases().1;
            let aggregate = match measure {
                Measure::Times => format!("COUNT(*) FILTER (WHERE {filter})"),
                Measure::Orders => format!("COUNT(DISTINCT {inside}.order_id) FILTER (WHERE {filter})"),
                Measure::Sum(column) => {
                    format!("CAST(SUM({inside}.{}) FILTER (WHERE {filter}) AS BIGINT)", column.name())
                }
            };
            let column = self.aggregate(table, aggregate);
            // A count is never missing: of no rows it is zero.
            let value = if matches!(measure, Measure::Sum(_)) { column } else { format!("COALESCE({column}, 0)") };
            parts.extend(checks.iter().map(|c| self.check(&value, false, c)));
        }
        let holds = balanced(parts, " AND ");
        if history.negated { format!("NOT ({holds})") } else { holds }
    }

    /// The column of an aggregate in its table's pass; equal aggregates share one.
    fn aggregate(&mut self, table: Table, text: String) -> String {
        let pass = self.passes.entry(table).or_default();
        let at = pass.aggregates.iter().position(|a| *a == text).unwrap_or_else(|| {
            pass.aggregates.push(text);
            pass.aggregates.len() - 1
        });
        format!("{}.a{at}", table.aliases().0)
    }

    /// The rows of a table that a leaf is about.
    fn filter(&mut self, table: Table, history: &History) -> String {
        let mut parts = Vec::new();
        match &history.source {
            Source::Events(name) => {
                let id = self.resolved.name_ids.get(name).copied().unwrap_or(NO_NAME);
                let pass = self.passes.entry(table).or_default();
                if !pass.name_ids.contains(&id) {
                    pass.name_ids.push(id);
                }
                parts.push(format!("e.name_id = {}", self.binds.bind(id)));
            }
            Source::OrdersPlaced => parts.push(COUNTED.to_owned()),
            Source::OrdersReturned => {
                parts.push("(o.status = 'returned' OR (o.status = 'placed' AND o.total < 0))".to_owned());
            }
            Source::Lines => {}
            Source::Messages { campaign, step } => {
                parts.push(format!("m.campaign = {}", self.binds.bind(campaign)));
                if let Some(step) = step {
                    parts.push(format!("m.step = {}", self.binds.bind(step)));
                }
            }
            Source::Consent { topic } => {
                parts.push(format!("s.topic = {} AND s.granted", self.binds.bind(topic)));
            }
        }
        parts.push(self.inside(table.at(), history.window));
        for test in &history.with {
            parts.extend(self.property(table, test));
        }
        parts.join(" AND ")
    }

    fn property(&mut self, table: Table, test: &PropertyTest) -> Vec<String> {
        let inside = table.aliases().1;
        let (expression, is_json) = match &test.property {
            Property::Column(column) => (format!("{inside}.{}", Column::name(*column)), false),
            Property::Json(name) => (self.json(&format!("{inside}.properties"), name), true),
        };
        test.checks.iter().map(|c| self.check(&expression, is_json, c)).collect()
    }

    fn grouped(&mut self, table: Table, pass: &Pass) -> String {
        let inside = table.aliases().1;
        let range = |a: &str| format!("{a}.bucket >= $1 AND {a}.bucket <= $2");
        let from = match table {
            Table::Orders => format!("customer_order o WHERE {}", range("o")),
            Table::Lines => format!(
                "order_line l JOIN customer_order o ON o.bucket = l.bucket AND o.customer_id = l.customer_id \
                 AND o.ordered_at = l.ordered_at AND o.order_id = l.order_id WHERE {} AND {} AND {COUNTED}",
                range("l"),
                range("o")
            ),
            Table::Events => {
                let ids: Vec<String> = pass.name_ids.iter().map(|id| self.binds.bind(*id)).collect();
                format!("event e WHERE {} AND e.name_id IN ({})", range("e"), ids.join(", "))
            }
            Table::Messages => {
                let states: Vec<String> = RECEIVED_STATES.iter().map(|s| format!("'{s}'")).collect();
                format!(
                    "message m JOIN delivery d ON d.bucket = m.bucket AND d.chunk_id = m.chunk_id AND d.seq = m.seq \
                     WHERE {} AND {} AND d.state IN ({})",
                    range("m"),
                    range("d"),
                    states.join(", ")
                )
            }
            Table::Consents => format!("consent s WHERE {}", range("s")),
        };
        let columns: Vec<String> = pass.aggregates.iter().enumerate().map(|(n, a)| format!("{a} AS a{n}")).collect();
        format!(
            "SELECT {inside}.bucket, {inside}.customer_id, {} FROM {from} GROUP BY {inside}.bucket, {inside}.customer_id",
            columns.join(",\n   ")
        )
    }
}

/// Parts joined as a balanced tree in parentheses.
fn balanced(parts: Vec<String>, word: &str) -> String {
    match parts.len() {
        0 => unreachable!("groups and comparisons are never empty"),
        1 => parts.into_iter().next().expect("one part"),
        n => {
            let mut left = parts;
            let right = left.split_off(n / 2);
            format!("({}{word}{})", balanced(left, word), balanced(right, word))
        }
    }
}

/// Fields that percentiles are drawn of, as columns of table `profile`.
pub(super) async fn threshold(
    db: &crate::db::Db,
    field: &str,
    op: Op,
    percent: f64,
) -> crate::db::DbResult<Option<i64>> {
    let rank = |n: i64| {
        let share = n as f64 * percent / 100.0;
        vec![match op {
            // At least this share of all buyers lies at or below: equal values are in or out together.
            Op::Gte | Op::Gt => (share + 1e-9).floor() as i64,
            Op::Lte | Op::Lt => (share - 1e-9).ceil() as i64 - 1,
        }]
    };
    let (_, values) = profile::quantile::values_at(db, field, rank).await?;
    Ok(values.first().copied())
}
