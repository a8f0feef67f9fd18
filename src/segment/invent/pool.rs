//! The words, numbers and instants that invented people are made of: those of the rules themselves, their neighbours, and a few others.
//!
//! Comparisons cut what can be into stretches; for each the pool holds a value of every stretch: the number compared with, the next on either
//! side, and what lies between two numbers. So people are found in the corners where two rules touch.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::clock::{self, DAY, HOUR, MINUTE, Millis};
use crate::profile::fields::{Field, Kind};
use crate::profile::{Moment, day};
use crate::segment::rule::{
    Attribute, Calendar, Check, Column, DaysAfter, History, Leaf, Measure, Number, Operand, Property, PropertyTest,
    Rows, Since, Source, What,
};
use crate::settings::{PropertyType, Settings};

/// Ages of rows that no rule names, in days.
const AGES_DAYS: [i64; 7] = [0, 1, 10, 45, 100, 300, 800];
/// A word that no rule names.
const OTHER_WORD: &str = "other";

/// What invented people are made of.
#[derive(Debug, Default)]
pub struct Pool {
    /// By [`of_field`] and its kin; each sorted, none twice.
    values: BTreeMap<String, Vec<Value>>,
    /// Not after the planning instant, sorted.
    pub instants: Vec<Millis>,
    /// Whole local days before today, sorted.
    pub ages: Vec<i64>,
    /// Anchors of windows, with days after them.
    pub anchored: Vec<(&'static Field, Vec<i64>)>,
    /// Percentages of buyers.
    pub percents: Vec<f64>,
    /// Events that carry a rating.
    pub rated: Vec<String>,
    pub weekdays: bool,
}

/// The key of a field's values.
pub fn of_field(field: &Field) -> String {
    field.sql.to_owned()
}

/// The key of an attribute's values.
pub fn of_attribute(attribute: &Attribute) -> String {
    format!("attribute {}", attribute.name)
}

/// The key of a property's values.
pub fn of_property(source: &Source, property: &Property) -> String {
    let name = match property {
        Property::Column(column) => column.name(),
        Property::Json(attribute) | Property::Product(attribute) => &attribute.name,
    };
    match source {
        Source::Events(event) => format!("event {event} {name}"),
        Source::Lines => format!("line {name}"),
        _ => format!("order {name}"),
    }
}

/// The key of a measure's values.
pub fn of_measure(source: &Source, measure: &Measure) -> String {
    match measure {
        Measure::Times => "times".to_owned(),
        Measure::Orders => "orders".to_owned(),
        Measure::Sum(property) => format!("sum {}", of_property(source, property)),
        Measure::Distinct(_) => "distinct".to_owned(),
    }
}

impl Pool {
    /// Of everything that these leaves ask.
    pub fn of(leaves: &[&Leaf], moment: &Moment, settings: &Settings) -> Pool {
        let life = &moment.lifecycle;
        let mut filling = Filling { pool: Pool::default(), edges: BTreeSet::new(), moment, settings };
        filling.pool.rated = vec!["survey.nps".to_owned()];
        if let Some(contract) = &settings.contract {
            let rated = contract.events.keys().filter(|e| crate::profile::is_rating(e));
            filling.pool.rated = rated.cloned().collect();
        }
        let mut ages: BTreeSet<i64> = AGES_DAYS.into();
        if leaves.iter().any(|l| matches!(l, Leaf::Lifecycle(_))) {
            let gap = life.default_gap_days;
            let stages = [life.new_days, life.returned_days, life.lost_days];
            let gaps = [gap * life.lapsed_gaps, gap * life.drifting_gaps, gap].map(|d| d as i64);
            ages.extend(stages.into_iter().chain(gaps).flat_map(|d| [d - 1, d, d + 1]));
        }
        for leaf in leaves {
            filling.leaf(leaf);
            if let Leaf::Customer { what: What::Field(field), checks, .. } = leaf
                && field.kind == Kind::Days
            {
                let days =
                    checks.iter().filter_map(|c| if let Check::Compare(_, n) = c { Some(n.as_f64()) } else { None });
                ages.extend(days.flat_map(|d| [d as i64 - 1, d as i64, d as i64 + 1]));
            }
        }
        filling.finish(ages)
    }

    /// The values under a key; none when no rule compares them.
    pub fn values(&self, key: &str) -> &[Value] {
        self.values.get(key).map_or(&[], Vec::as_slice)
    }
}

struct Filling<'a> {
    pool: Pool,
    edges: BTreeSet<Millis>,
    moment: &'a Moment,
    settings: &'a Settings,
}

impl Filling<'_> {
    fn add(&mut self, key: &str, values: impl IntoIterator<Item = Value>) {
        self.pool.values.entry(key.to_owned()).or_default().extend(values);
    }

    fn leaf(&mut self, leaf: &Leaf) {
        for (_, window) in leaf.windows() {
            let (from, until) = window.bounds(self.moment);
            self.edges.extend(from.into_iter().chain([until]).flat_map(|at| [at - 1, at, at + 1]));
            self.pool.weekdays |= !window.weekdays.is_empty();
            if let Some(DaysAfter { field, from, to }) = window.days_after {
                self.pool.anchored.push((field, vec![from - 1, from, to, to + 1]));
            }
            if let Some(Since::Field(field)) = window.since {
                self.pool.anchored.push((field, vec![0]));
            }
        }
        match leaf {
            Leaf::History(History { rows, measures, .. }) => {
                self.rows(rows);
                for (measure, checks) in measures {
                    let key = of_measure(&rows.source, measure);
                    if let Measure::Sum(property) | Measure::Distinct(property) = measure {
                        self.property(&rows.source, property, &[]);
                    }
                    self.checks(&key, checks, None);
                }
            }
            Leaf::Last(rows) => self.rows(rows),
            Leaf::Funnel(steps) => {
                for step in steps {
                    self.rows(&step.rows);
                    let back = step.within_after.map(|s| self.moment.as_of - s.millis());
                    self.edges.extend(back.into_iter().flat_map(|at| [at - 1, at, at + 1]));
                }
            }
            Leaf::Customer { what, checks, window } => match what {
                What::Field(field) => {
                    if field.kind == Kind::Text {
                        self.add(&of_field(field), [json!(OTHER_WORD)]);
                    }
                    self.checks(&of_field(field), checks, None);
                }
                What::Attribute(attribute) => {
                    let declared = self.settings.contract.as_ref().and_then(|c| c.customer.get(&attribute.name));
                    let key = of_attribute(attribute);
                    if attribute.is_date && window.is_limited() {
                        let (from, until) = window.bounds(self.moment);
                        let days = from.into_iter().chain([until]).map(|at| day::day_number(at, &self.moment.zone));
                        let dates: Vec<Value> = days.flat_map(|d| [d - 1, d, d + 1]).map(|d| self.date(d)).collect();
                        self.add(&key, dates);
                    }
                    self.declared(&key, declared, attribute.is_date, checks);
                }
            },
            Leaf::Percentile { any_of, .. } => {
                let percents = any_of.iter().flat_map(|s| &s.0).map(|(_, percent)| *percent);
                self.pool.percents.extend(percents.flat_map(|p| [p - 0.5, p, p + 0.5]));
            }
            Leaf::Tier(tier) => {
                let key = of_measure(&Source::OrdersPlaced, &tier.measure);
                let edges = tier.stretches.iter().flat_map(|(from, below)| [Some(*from), *below]).flatten();
                let values: Vec<Value> = edges.flat_map(|n| [n - 1, n, n + 1]).map(|n| json!(n)).collect();
                self.add(&key, values);
            }
            Leaf::Rfm(_) | Leaf::Lifecycle(_) | Leaf::InSegment(_) => {}
        }
    }

    fn rows(&mut self, rows: &Rows) {
        for PropertyTest { property, checks } in &rows.with {
            self.property(&rows.source, property, checks);
        }
    }

    fn property(&mut self, source: &Source, property: &Property, checks: &[Check]) {
        let key = of_property(source, property);
        let contract = self.settings.contract.as_ref();
        let is_date = matches!(property, Property::Json(a) | Property::Product(a) if a.is_date);
        let declared = match (source, property) {
            (Source::Events(event), Property::Json(a)) => contract.and_then(|c| c.events.get(event)?.get(&a.name)),
            (Source::Events(event), Property::Column(column)) => {
                contract.and_then(|c| c.events.get(event)?.get(column.name()))
            }
            (_, Property::Product(a)) => contract.and_then(|c| c.product.get(&a.name)),
            _ => None,
        };
        match property {
            Property::Column(Column::Status) => {}
            Property::Column(Column::Currency) => {
                let own = self.settings.currency.clone();
                self.add(&key, [json!(own)]);
            }
            Property::Column(
                Column::Total | Column::Amount | Column::ProductPrice | Column::Quantity | Column::Score,
            ) => {
                self.add(&key, [json!(1), json!(5)]);
            }
            _ => return self.declared(&key, declared, is_date, checks),
        }
        self.checks(&key, checks, declared);
    }

    /// Values of a name that the contract may declare.
    fn declared(&mut self, key: &str, declared: Option<&PropertyType>, is_date: bool, checks: &[Check]) {
        match declared {
            Some(PropertyType::Words(words)) => self.add(key, words.iter().map(|w| json!(w))),
            Some(PropertyType::Flag) => self.add(key, [json!(true), json!(false)]),
            Some(PropertyType::Number | PropertyType::Money) => self.add(key, [json!(0), json!(1)]),
            Some(PropertyType::List) => self.add(key, [json!([OTHER_WORD])]),
            Some(PropertyType::Date) => {}
            Some(PropertyType::Text) | None if is_date => {}
            Some(PropertyType::Text) | None => self.add(key, [json!(OTHER_WORD)]),
        }
        if is_date {
            let dates: Vec<Value> = AGES_DAYS.iter().map(|d| self.date(self.moment.today - d * 30)).collect();
            self.add(key, dates);
        }
        self.checks(key, checks, declared);
    }

    fn date(&self, day_number: i64) -> Value {
        let number = day::civil_number(day_number);
        json!(format!("{:04}-{:02}-{:02}", number / 10_000, number / 100 % 100, number % 100))
    }

    fn checks(&mut self, key: &str, checks: &[Check], declared: Option<&PropertyType>) {
        let fixed = matches!(declared, Some(PropertyType::Words(_)));
        let mut values: Vec<Value> = Vec::new();
        for check in checks {
            match check {
                Check::Compare(_, number) => values.extend(neighbours(*number)),
                Check::In(operands) => {
                    for operand in operands {
                        match operand {
                            Operand::Number(number) => values.extend(neighbours(*number)),
                            Operand::Text(text) => values.push(json!(text)),
                            Operand::Flag(flag) => values.extend([json!(flag), json!(!flag)]),
                        }
                    }
                }
                Check::StartsWith(text) | Check::Contains(text) if !fixed => {
                    values.extend([json!(text), json!(format!("{text}x")), json!(format!("x{text}"))]);
                }
                Check::Matches(pattern) if !fixed => {
                    let filled = |run: &str| json!(pattern.0.replace('*', run).replace('?', "x"));
                    values.extend([filled(""), filled("x"), filled("1")]);
                }
                Check::Has(words) => {
                    values.extend(words.iter().map(|w| json!([w])));
                    values.push(json!(words));
                }
                Check::Date(_, date) => {
                    let number =
                        day::day_number(clock::start_of_day(*date, &jiff::tz::TimeZone::UTC), &jiff::tz::TimeZone::UTC);
                    values.extend([-1, 0, 1].map(|d| self.date(number + d)));
                }
                Check::Calendar(calendar) => self.calendar(calendar, &mut values),
                Check::StartsWith(_)
                | Check::Contains(_)
                | Check::Matches(_)
                | Check::Exists(_)
                | Check::Field { .. } => {}
            }
        }
        // An instant compared with is an edge of time, too.
        if super::sketch::field_by_sql(key).is_some_and(|f| f.kind == Kind::Instant) {
            self.edges.extend(values.iter().filter_map(Value::as_i64));
        }
        self.add(key, values);
    }

    fn calendar(&mut self, calendar: &Calendar, values: &mut Vec<Value>) {
        let days: Vec<i64> = match calendar {
            Calendar::Weekday(_) => {
                self.pool.weekdays = true;
                return;
            }
            Calendar::DayOfMonth(_) => (1..=31).map(|d| self.moment.today - d).collect(),
            Calendar::Anniversary { before, after } => {
                let around = [-before - 1, -before, 0, *after, after + 1];
                around.map(|d| self.moment.today - 365 + d).to_vec()
            }
        };
        let noon = |d: i64| day::start_of(d, &self.moment.zone) + DAY / 2;
        self.edges.extend(days.iter().map(|d| noon(*d)));
        values.extend(days.into_iter().map(|d| self.date(d)));
    }

    fn finish(self, ages: BTreeSet<i64>) -> Pool {
        let Filling { mut pool, mut edges, moment, .. } = self;
        let noon = |age: &i64| day::start_of(moment.today - age, &moment.zone) + DAY / 2;
        pool.ages = ages.into_iter().filter(|age| *age >= 0).collect();
        edges.extend(pool.ages.iter().map(noon));
        edges.extend([0, MINUTE, HOUR].map(|ago| moment.as_of - ago));
        edges.retain(|at| *at <= moment.as_of && *at > moment.as_of - 40 * 365 * DAY);
        let known: Vec<Millis> = edges.iter().copied().collect();
        edges.extend(known.windows(2).map(|pair| {
            let middle = pair[0] + (pair[1] - pair[0]) / 2;
            // A whole minute reads better.
            let even = middle - middle.rem_euclid(MINUTE);
            if even > pair[0] { even } else { middle }
        }));
        pool.instants = edges.into_iter().collect();
        let mut percents = pool.percents;
        percents.extend([0.0, 10.0, 30.0, 50.0, 70.0, 90.0, 100.0]);
        percents.retain(|p| (0.0..=100.0).contains(p));
        percents.sort_by(f64::total_cmp);
        percents.dedup();
        pool.percents = percents;
        for values in pool.values.values_mut() {
            with_middles(values);
        }
        pool
    }
}

/// A number and what lies beside it.
fn neighbours(number: Number) -> Vec<Value> {
    match number {
        Number::Int(n) => vec![json!(n.saturating_sub(1)), json!(n), json!(n.saturating_add(1))],
        Number::Real(r) => [r - 0.5, r - 0.01, r, r + 0.01, r + 0.5].map(|r| json!(r)).to_vec(),
    }
}

/// Sort, drop what stands twice, and add what lies between two numbers.
fn with_middles(values: &mut Vec<Value>) {
    let mut seen = BTreeSet::new();
    values.retain(|v| seen.insert(v.to_string()));
    let mut numbers: Vec<f64> = values.iter().filter_map(Value::as_f64).collect();
    numbers.sort_by(f64::total_cmp);
    let whole = values.iter().filter(|v| v.is_number()).all(|v| v.is_i64());
    for pair in numbers.windows(2).filter(|p| p[1] - p[0] > if whole { 1.5 } else { 1e-9 }) {
        let middle = f64::midpoint(pair[0], pair[1]);
        values.push(if whole { json!(middle as i64) } else { json!(middle) });
    }
}
