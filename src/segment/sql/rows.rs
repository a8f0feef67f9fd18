//! Rows over time in SQL: the tables of the sources, their windows, the pass over each, `last` and funnels.

use super::compare::Expression;
use super::{RECEIVED_STATES, Scope, Writer};
use crate::clock::DAY;
use crate::db::Reads;
use crate::profile::day::{civil_sql, day_sql};
use crate::profile::fields::Field;
use crate::segment::rule::{
    Column, DaysAfter, FunnelStep, Measure, Property, PropertyTest, Rows, Since, Source, Tier, Window,
};
use crate::yaml::Span;

/// No event has this number.
const NO_NAME: i64 = -1;

/// The tables that history leaves are read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Table {
    Orders,
    /// Of the same table the orders that came back: what is asked of every row of a pass is asked once.
    Returns,
    Lines,
    Events,
    Messages,
    Clicks,
    Consents,
}

/// One pass over a table: its aggregates, in the order of their columns `a0, a1 …`, and what beside the table they read.
#[derive(Debug, Default)]
pub(super) struct Pass {
    aggregates: Vec<String>,
    /// The event names any leaf asks for. A filter of the whole pass must hold for every leaf in it.
    name_ids: Vec<i64>,
    /// Some leaf reads an instant of the profile, or of the customer.
    profile: bool,
    customer: bool,
    product: bool,
}

impl Table {
    fn of(source: &Source) -> Table {
        match source {
            Source::OrdersPlaced => Table::Orders,
            Source::OrdersReturned => Table::Returns,
            Source::Lines => Table::Lines,
            Source::Events(_) => Table::Events,
            Source::Messages { .. } => Table::Messages,
            Source::Clicks { .. } => Table::Clicks,
            Source::Consent { .. } => Table::Consents,
        }
    }

    /// The alias of its pass.
    pub fn outside(self) -> &'static str {
        match self {
            Table::Orders => "orders",
            Table::Returns => "returns",
            Table::Lines => "lines",
            Table::Events => "events",
            Table::Messages => "messages",
            Table::Clicks => "clicks",
            Table::Consents => "consents",
        }
    }

    /// The alias of the table inside of its pass; steps of funnels add a number.
    fn inside(self) -> &'static str {
        match self {
            Table::Orders => "o",
            Table::Returns => "r",
            Table::Lines => "l",
            Table::Events => "e",
            Table::Messages => "m",
            Table::Clicks => "k",
            Table::Consents => "s",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Table::Orders | Table::Returns => "customer_order",
            Table::Lines => "order_line",
            Table::Events => "event",
            Table::Messages => "message",
            Table::Clicks => "fact",
            Table::Consents => "consent",
        }
    }

    /// The instant of a row.
    fn at(self, alias: &str) -> String {
        match self {
            Table::Orders | Table::Returns | Table::Lines => format!("{alias}.ordered_at"),
            Table::Events | Table::Clicks | Table::Consents => format!("{alias}.at"),
            Table::Messages => format!("COALESCE({alias}d.date_at, {alias}.due_at)"),
        }
    }
}

impl Tier {
    /// The orders it goes by.
    pub(in crate::segment) fn rows(&self) -> Rows {
        Rows { source: Source::OrdersPlaced, with: Vec::new(), window: self.window.clone() }
    }
}

/// An order that counts, over an alias.
fn counted(alias: &str) -> String {
    format!("{alias}.status = 'placed' AND {alias}.total >= 0")
}

impl Writer<'_> {
    /// The column of a measure over rows, in its table's pass; equal ones share a column.
    pub(super) fn measured(&mut self, rows: &Rows, measure: &Measure) -> String {
        let table = Table::of(&rows.source);
        let alias = table.inside();
        let filter = self.filter(table, alias, rows);
        let aggregate = match measure {
            Measure::Times => format!("COUNT(*) FILTER (WHERE {filter})"),
            Measure::Orders => self.dialect.gathered(&format!("{alias}.order_id"), &filter),
            Measure::Distinct(property) => {
                let of = self.property(table, alias, property);
                let value = self.text(&of);
                self.dialect.gathered(&value, &filter)
            }
            Measure::Sum(property) => {
                let of = self.property(table, alias, property);
                let ty = if of.is_whole { "BIGINT" } else { "DOUBLE PRECISION" };
                format!("CAST(SUM({}) FILTER (WHERE {filter}) AS {ty})", self.as_number(&of))
            }
        };
        let column = self.column(table, aggregate);
        match measure {
            Measure::Orders | Measure::Distinct(_) => self.dialect.different(&column),
            Measure::Times | Measure::Sum(_) => column,
        }
    }

    /// Whether there is a row at all, by the latest or the earliest one: a column that leaves with other windows share. `None` where that does not tell.
    pub(super) fn any_row(&mut self, rows: &Rows) -> Option<String> {
        let Rows { with, window, .. } = rows;
        if !with.is_empty() || !window.weekdays.is_empty() || !window.anchors().is_empty() {
            return None;
        }
        let as_of = self.resolved.moment.as_of;
        let (extreme, condition) = match window.bounds(&self.resolved.moment) {
            (None, until) if until > as_of => ("MAX", " IS NOT NULL".to_owned()),
            (Some(from), until) if until > as_of => ("MAX", format!(" >= {}", self.binds.bind(from))),
            (None, until) => ("MIN", format!(" < {}", self.binds.bind(until))),
            (Some(_), _) => return None,
        };
        let table = Table::of(&rows.source);
        let alias = table.inside();
        let filter = self.filter(table, alias, &Rows { window: Window::default(), ..rows.clone() });
        let column = self.column(table, format!("{extreme}({}) FILTER (WHERE {filter})", table.at(alias)));
        Some(format!("({column}{condition}) IS TRUE"))
    }

    /// The latest row of the window passes the tests; of several at the same instant one is enough.
    pub(super) fn last(&mut self, rows: &Rows) -> String {
        let table = Table::of(&rows.source);
        let alias = table.inside();
        let all = Rows { with: Vec::new(), ..rows.clone() };
        let filter = self.filter(table, alias, &all);
        let tests = self.tests(table, alias, &rows.with);
        let at = table.at(alias);
        let passes = if tests.is_empty() {
            "1".to_owned()
        } else {
            format!("CASE WHEN {} THEN 1 ELSE 0 END", tests.join(" AND "))
        };
        let column = self.column(table, format!("MAX({at} * 2 + {passes}) FILTER (WHERE {filter})"));
        format!("({column} % 2 <> 0) IS TRUE")
    }

    fn column(&mut self, table: Table, aggregate: String) -> String {
        let pass = self.passes.entry(table).or_default();
        let at = pass.aggregates.iter().position(|a| *a == aggregate).unwrap_or_else(|| {
            pass.aggregates.push(aggregate);
            pass.aggregates.len() - 1
        });
        format!("{}.a{at}", table.outside())
    }

    /// The rows of a table that a leaf is about; notes in the table's pass what they need.
    fn filter(&mut self, table: Table, alias: &str, rows: &Rows) -> String {
        let pass = self.passes.entry(table).or_default();
        for field in rows.window.anchors() {
            pass.profile = true;
            pass.customer |= field.is_of_customer();
        }
        let of_product = |p: &Property| {
            matches!(p, Property::Product(_) | Property::Column(Column::ProductName | Column::ProductPrice))
        };
        pass.product |= rows.with.iter().any(|t| of_product(&t.property));
        if let Source::Events(name) = &rows.source {
            let id = self.resolved.name_ids.get(name).copied().unwrap_or(NO_NAME);
            let pass = self.passes.entry(table).or_default();
            if !pass.name_ids.contains(&id) {
                pass.name_ids.push(id);
            }
        }
        let mut parts = self.of_source(alias, &rows.source);
        parts.extend(self.within(&table.at(alias), &rows.window));
        parts.extend(self.tests(table, alias, &rows.with));
        if parts.is_empty() { "1 = 1".to_owned() } else { parts.join(" AND ") }
    }

    /// What makes a row of the table one of the source, beside what [`Writer::from`] asks of every row.
    fn of_source(&mut self, alias: &str, source: &Source) -> Vec<String> {
        match source {
            Source::Events(name) => {
                let id = self.resolved.name_ids.get(name).copied().unwrap_or(NO_NAME);
                vec![format!("{alias}.name_id = {}", self.binds.bind(id))]
            }
            Source::OrdersPlaced | Source::OrdersReturned | Source::Lines => Vec::new(),
            Source::Messages { campaign, step } | Source::Clicks { campaign, step } => {
                let mut parts = vec![format!("{alias}.campaign = {}", self.binds.bind(campaign))];
                parts.extend(step.as_ref().map(|step| format!("{alias}.step = {}", self.binds.bind(step))));
                parts
            }
            Source::Consent { topic } => {
                vec![format!("{alias}.topic = {} AND {alias}.granted", self.binds.bind(topic))]
            }
        }
    }

    /// The tests of single rows under any alias.
    pub(super) fn row_tests(&mut self, rows: &Rows, alias: &str) -> Vec<String> {
        self.tests(Table::of(&rows.source), alias, &rows.with)
    }

    fn tests(&mut self, table: Table, alias: &str, tests: &[PropertyTest]) -> Vec<String> {
        let mut out = Vec::new();
        for test in tests {
            let value = self.property(table, alias, &test.property);
            out.extend(test.checks.iter().map(|c| self.check(&value, c)));
        }
        out
    }

    fn property(&mut self, table: Table, alias: &str, property: &Property) -> Expression {
        if matches!(property, Property::Product(_) | Property::Column(Column::ProductName | Column::ProductPrice)) {
            self.passes.entry(table).or_default().product = true;
        }
        match property {
            Property::Column(column @ (Column::ProductName | Column::ProductPrice)) => {
                Expression::plain(format!("{alias}p.{}", column.name()))
            }
            Property::Column(Column::Score) => Expression::real(format!("{alias}.score")),
            Property::Column(column) => Expression::plain(format!("{alias}.{}", column.name())),
            Property::Json(attribute) => self.member_of(&format!("{alias}.properties"), attribute),
            Property::Product(attribute) => self.member_of(&format!("{alias}p.attributes"), attribute),
        }
    }

    /// A condition: an instant lies in a window; hangs on alias `p` (and `c`) where the window is anchored.
    pub(super) fn inside(&mut self, at: &str, window: &Window) -> String {
        let mut parts = vec![self.before_now(at)];
        parts.extend(self.within(at, window));
        parts.join(" AND ")
    }

    /// What lies after the planning instant does not count yet.
    fn before_now(&mut self, at: &str) -> String {
        format!("{at} < {}", self.binds.bind(self.resolved.moment.as_of + 1))
    }

    /// The same of instants before the planning instant.
    fn within(&mut self, at: &str, window: &Window) -> Vec<String> {
        let (from, until) = window.bounds(&self.resolved.moment);
        let mut parts = Vec::new();
        if let Some(from) = from {
            parts.push(format!("{at} >= {}", self.binds.bind(from)));
        }
        if until <= self.resolved.moment.as_of {
            parts.push(format!("{at} < {}", self.binds.bind(until)));
        }
        if let Some(Since::Field(field)) = window.since {
            parts.push(format!("({at} >= {}) IS TRUE", field.sql));
        }
        if let Some(DaysAfter { field, from, to }) = window.days_after {
            // The local day is computed only of rows within two days of an end.
            let mut near = |day: i64| self.binds.bind(day.saturating_mul(DAY));
            let (after, before) = (near(from - 2), near(to + 2));
            let (surely_after, surely_before) = (near(from + 2), near(to - 2));
            let distance = format!("({at} - {})", field.sql);
            let days = format!("({} - {})", self.day_of(at), self.anchor_day(field));
            let (from, to) = (self.binds.bind(from), self.binds.bind(to));
            parts.push(format!(
                "({distance} >= {after} AND {distance} <= {before} AND ({distance} >= {surely_after} AND {distance} <= {surely_before} \
                 OR {days} BETWEEN {from} AND {to})) IS TRUE"
            ));
        }
        if !window.weekdays.is_empty() {
            parts.push(self.on_weekdays(at, &window.weekdays));
        }
        parts
    }

    /// The local day number of an instant.
    pub(super) fn day_of(&self, at: &str) -> String {
        let moment = &self.resolved.moment;
        day_sql(at, &moment.zone, moment.as_of)
    }

    /// Anchors whose day is stored need no computing.
    fn anchor_day(&self, field: &Field) -> String {
        match field.name {
            "first_order_at" => "p.first_order_day".to_owned(),
            "last_order_at" => "p.last_order_day".to_owned(),
            _ => self.day_of(field.sql),
        }
    }

    /// The 1st of January 1970 was a Thursday; seven times a number is added so that earlier days do not turn negative.
    pub(super) fn on_weekdays(&self, at: &str, days: &[i64]) -> String {
        let list: Vec<String> = days.iter().map(i64::to_string).collect();
        format!("((({} + 70000003) % 7) IN ({})) IS TRUE", self.day_of(at), list.join(", "))
    }

    /// The local date of an instant as a number, `yyyymmdd`.
    pub(super) fn date_number_of(&self, at: &str) -> String {
        civil_sql(&self.day_of(at))
    }

    /// The subquery of one pass.
    pub(super) fn grouped(&mut self, table: Table, pass: &Pass) -> String {
        let alias = table.inside();
        let (mut from, key) = self.from(table, alias, pass, self.scope.reads());
        if table == Table::Events {
            let ids: Vec<String> = pass.name_ids.iter().map(|id| self.binds.bind(*id)).collect();
            from.push_str(&format!(" AND {alias}.name_id IN ({})", ids.join(", ")));
        }
        let columns: Vec<String> = pass.aggregates.iter().enumerate().map(|(n, a)| format!("{a} AS a{n}")).collect();
        format!(
            "SELECT {key}.bucket, {key}.customer_id, {} FROM {from} GROUP BY {key}.bucket, {key}.customer_id",
            columns.join(",\n   ")
        )
    }

    /// FROM and WHERE of the rows of a table, and the alias whose key they are grouped by: the outermost loop, so that groups come in order.
    fn from(&mut self, table: Table, alias: &str, pass: &Pass, reads: Reads) -> (String, String) {
        let mut chain: Vec<(&str, String)> = Vec::new();
        if self.scope == Scope::Due {
            chain.push(("segment_now", "d".to_owned()));
        }
        if pass.profile {
            chain.push(("profile", "p".to_owned()));
        }
        if pass.customer {
            chain.push(("customer", "c".to_owned()));
        }
        // Lines are found from their order: one step per order instead of one per line.
        if table == Table::Lines {
            chain.push(("customer_order", format!("{alias}o")));
        }
        chain.push((table.name(), alias.to_owned()));
        let same = |a: &str, b: &str| format!("{a}.bucket = {b}.bucket AND {a}.customer_id = {b}.customer_id");
        let range = |a: &str| format!("{a}.bucket >= $1 AND {a}.bucket <= $2");
        let mut conditions: Vec<String> = chain.iter().map(|(_, a)| range(a)).collect();
        conditions.extend(chain.windows(2).map(|pair| same(&pair[1].1, &pair[0].1)));
        conditions.push(self.before_now(&table.at(alias)));
        let mut beside = String::new();
        match table {
            Table::Lines => conditions.push(format!(
                "{alias}.ordered_at = {alias}o.ordered_at AND {alias}.order_id = {alias}o.order_id AND {}",
                counted(&format!("{alias}o"))
            )),
            Table::Messages => {
                beside = format!(" CROSS JOIN delivery {alias}d");
                conditions.push(format!(
                    "{alias}d.bucket = {alias}.bucket AND {alias}d.chunk_id = {alias}.chunk_id AND {alias}d.seq = {alias}.seq"
                ));
                let states: Vec<String> = RECEIVED_STATES.iter().map(|s| format!("'{s}'")).collect();
                conditions.push(format!(
                    "{} AND {alias}d.state IN ({})",
                    range(&format!("{alias}d")),
                    states.join(", ")
                ));
            }
            Table::Clicks => conditions.push(format!("{alias}.kind = 'click'")),
            Table::Orders => conditions.push(counted(alias)),
            Table::Returns => conditions
                .push(format!("({alias}.status = 'returned' OR ({alias}.status = 'placed' AND {alias}.total < 0))")),
            Table::Events | Table::Consents => {}
        }
        if pass.product {
            beside.push_str(&format!(" LEFT JOIN product {alias}p ON {alias}p.sku = {alias}.sku"));
        }
        let named = |(name, alias): &(&str, String)| match *name {
            "event" if reads == Reads::Everybody => format!("{} {alias}", self.dialect.events_in_key_order()),
            name => format!("{name} {alias}"),
        };
        let tables: Vec<String> = chain.iter().map(named).collect();
        let from = format!("{}{beside} WHERE {}", tables.join(" CROSS JOIN "), conditions.join(" AND "));
        (from, chain.swap_remove(0).1)
    }

    /// The customers who went through the steps: a subquery of the first step's rows, each later step an EXISTS inside the one before.
    pub(super) fn funnel(&mut self, steps: &[FunnelStep]) -> String {
        let [first, rest @ ..] = steps else { return "1 = 0".to_owned() };
        let table = Table::of(&first.rows.source);
        let alias = format!("{}0", table.inside());
        let (conditions, pass) = self.step(table, &alias, &first.rows);
        let (from, key) = self.from(table, &alias, &pass, self.scope.reads());
        // First steps of a window are few; of those without, it is cheaper to read the later steps' table once.
        let ends =
            if first.rows.window.bounds(&self.resolved.moment).0.is_some() { self.dialect.looked_up() } else { "" };
        let after = self.after(rest, 1, &table.at(&alias), &alias, ends);
        let number = self.funnels.len();
        self.funnels.push(format!(
            "SELECT {key}.bucket, {key}.customer_id, 1 AS hit FROM {from} AND {conditions}{after} GROUP BY {key}.bucket, {key}.customer_id"
        ));
        format!("(funnel{number}.hit = 1) IS TRUE")
    }

    /// The conditions of a step's own rows, and what its FROM needs; the passes stay as they were.
    fn step(&mut self, table: Table, alias: &str, rows: &Rows) -> (String, Pass) {
        let kept = self.passes.remove(&table);
        let conditions = self.filter(table, alias, rows);
        let pass = self.passes.remove(&table).unwrap_or_default();
        if let Some(kept) = kept {
            self.passes.insert(table, kept);
        }
        (conditions, pass)
    }

    /// ` AND …` for the steps after a row at `at`; `ends` ends their subqueries.
    fn after(&mut self, steps: &[FunnelStep], depth: usize, at: &str, outer: &str, ends: &str) -> String {
        let [step, rest @ ..] = steps else { return String::new() };
        let table = Table::of(&step.rows.source);
        let alias = format!("{}{depth}", table.inside());
        let own_at = table.at(&alias);
        let within = step.within_after.map(Span::millis);
        let (mut conditions, pass) = self.step(table, &alias, &step.rows);
        conditions.push_str(&format!(" AND {own_at} > {at}"));
        if let Some(within) = within {
            conditions.push_str(&format!(" AND {own_at} <= {at} + {}", self.binds.bind(within)));
        }
        let from = self.further_rows(table, &alias, &pass, outer);
        if step.negated {
            // Nobody is without it before the time is over.
            let over = within.map_or(String::new(), |within| {
                format!(" AND {at} + {} <= {}", self.binds.bind(within), self.binds.bind(self.resolved.moment.as_of))
            });
            let rest = self.after(rest, depth + 1, at, outer, ends);
            format!("{over} AND NOT EXISTS (SELECT 1 FROM {from} AND {conditions}{ends}){rest}")
        } else {
            let rest = self.after(rest, depth + 1, &own_at, &alias, ends);
            format!(" AND EXISTS (SELECT 1 FROM {from} AND {conditions}{rest}{ends})")
        }
    }

    /// FROM and WHERE of further rows of the customer of `outer`.
    fn further_rows(&mut self, table: Table, alias: &str, pass: &Pass, outer: &str) -> String {
        // The customer is known, so the due ones need not be asked for again.
        let scope = std::mem::replace(&mut self.scope, Scope::Everyone);
        let (from, _) = self.from(table, alias, pass, Reads::Few);
        self.scope = scope;
        format!("{from} AND {alias}.bucket = {outer}.bucket AND {alias}.customer_id = {outer}.customer_id")
    }
}

impl Window {
    /// The fields it hangs on.
    pub(in crate::segment) fn anchors(&self) -> Vec<&'static Field> {
        let since = if let Some(Since::Field(field)) = self.since { Some(field) } else { None };
        since.into_iter().chain(self.days_after.map(|d| d.field)).collect()
    }
}
