//! A checked rule: what an author's YAML says, with every word resolved to something that exists.
//!
//! Two-valued logic: a comparison with a missing value is false, so `none` and `did_not` hold for those of whom nothing is known.

use crate::clock::{self, Millis};
use crate::problem::Place;
use crate::profile::fields::Field;
use crate::profile::{Moment, Rfm, Stage};
use crate::yaml::Span;

/// A tree of leaves.
#[derive(Debug, Clone, PartialEq)]
pub enum Rule {
    /// Every one holds.
    All(Vec<Rule>),
    /// At least one holds.
    Any(Vec<Rule>),
    /// Not one holds.
    None(Vec<Rule>),
    Leaf(Leaf),
}

/// One condition.
#[derive(Debug, Clone, PartialEq)]
pub enum Leaf {
    /// What somebody did, bought, received or agreed to.
    History(History),
    /// A field or attribute.
    Customer {
        what: What,
        checks: Vec<Check>,
        window: Window,
    },
    /// The place of a number among those of all buyers, 0 to 100.
    Percentile {
        field: &'static Field,
        at_least: Option<f64>,
        at_most: Option<f64>,
    },
    Rfm(Vec<Rfm>),
    Lifecycle(Vec<Stage>),
    /// In at least one of these segments.
    InSegment(Vec<Reference>),
}

/// A segment named by another.
#[derive(Debug, Clone)]
pub struct Reference {
    pub name: String,
    pub place: Place,
}

impl PartialEq for Reference {
    fn eq(&self, other: &Reference) -> bool {
        self.name == other.name
    }
}

/// What is known of a customer.
#[derive(Debug, Clone, PartialEq)]
pub enum What {
    Field(&'static Field),
    /// A column of the shop's own, kept in the JSON of `customer.attributes`.
    Attribute(String),
}

/// Rows of one table that pass the tests, lie in the window, and are measured.
#[derive(Debug, Clone, PartialEq)]
pub struct History {
    pub source: Source,
    /// `did_not`: the opposite of everything else in this leaf.
    pub negated: bool,
    pub with: Vec<PropertyTest>,
    pub window: Window,
    /// All must pass; empty asks for at least one row.
    pub measures: Vec<(Measure, Vec<Check>)>,
}

/// Where the rows come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Imported events of a name.
    Events(String),
    /// `order.placed`: counted orders.
    OrdersPlaced,
    /// `order.returned`: status returned, or a negative total.
    OrdersReturned,
    /// Lines of counted orders.
    Lines,
    /// Messages of a campaign (and step) that the recipient's server accepted, or may have.
    Messages { campaign: String, step: Option<String> },
    /// Standing consent to a topic.
    Consent { topic: String },
}

/// What is measured over the rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measure {
    /// How many rows. None is zero.
    Times,
    /// How many different orders. None is zero.
    Orders,
    /// The sum of a whole-number column. Of no rows it is missing.
    Sum(Column),
}

/// A typed column of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Column {
    Total,
    Currency,
    Status,
    Sku,
    Category,
    Quantity,
    Amount,
    Score,
}

impl Column {
    /// Its name in the table.
    pub fn name(self) -> &'static str {
        match self {
            Column::Total => "total",
            Column::Currency => "currency",
            Column::Status => "status",
            Column::Sku => "sku",
            Column::Category => "category",
            Column::Quantity => "quantity",
            Column::Amount => "amount",
            Column::Score => "score",
        }
    }
}

/// A test of one property of a row.
#[derive(Debug, Clone, PartialEq)]
pub struct PropertyTest {
    pub property: Property,
    pub checks: Vec<Check>,
}

/// Where a property is kept.
#[derive(Debug, Clone, PartialEq)]
pub enum Property {
    Column(Column),
    /// In the JSON of `event.properties`.
    Json(String),
}

/// A comparison.
#[derive(Debug, Clone, PartialEq)]
pub enum Check {
    Compare(Op, Number),
    /// Equal to one of these.
    In(Vec<Operand>),
    /// Known, or not known.
    Exists(bool),
    /// With another field of the same customer, multiplied.
    Field {
        op: Op,
        field: &'static Field,
        factor: f64,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    Gte,
    Gt,
    Lte,
    Lt,
}

impl Op {
    /// As SQL writes it.
    pub fn sign(self) -> &'static str {
        match self {
            Op::Gte => ">=",
            Op::Gt => ">",
            Op::Lte => "<=",
            Op::Lt => "<",
        }
    }

    /// Whether it holds for an ordering of left to right.
    pub fn holds(self, ordering: std::cmp::Ordering) -> bool {
        match self {
            Op::Gte => ordering.is_ge(),
            Op::Gt => ordering.is_gt(),
            Op::Lte => ordering.is_le(),
            Op::Lt => ordering.is_lt(),
        }
    }
}

/// A number to compare with. Money is in minor units, an instant in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Number {
    Int(i64),
    Real(f64),
}

impl Number {
    /// As a number with a fraction.
    pub fn as_f64(self) -> f64 {
        match self {
            Number::Int(i) => i as f64,
            Number::Real(r) => r,
        }
    }
}

/// A value to be equal to.
#[derive(Debug, Clone, PartialEq)]
pub enum Operand {
    Number(Number),
    Text(String),
    Flag(bool),
}

/// A stretch of time before the planning instant. Without limits: ever, until then.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Window {
    pub in_last: Option<Span>,
    pub more_than_ago: Option<Span>,
}

impl Window {
    /// Whether it has a limit.
    pub fn is_limited(self) -> bool {
        self.in_last.is_some() || self.more_than_ago.is_some()
    }

    /// The instants `from ≤ at < until`. Spans of days begin at local midnight, so a day is in or out as a whole; spans of hours are exact.
    pub fn bounds(self, moment: &Moment) -> (Option<Millis>, Millis) {
        let ago = |span: Span| match span {
            Span::Days(days) => clock::days_before(moment.as_of, days, &moment.zone),
            Span::Exact(ms) => moment.as_of - ms,
        };
        (self.in_last.map(ago), self.more_than_ago.map_or(moment.as_of + 1, ago))
    }
}

impl Rule {
    /// Every leaf.
    pub fn leaves(&self) -> Vec<&Leaf> {
        match self {
            Rule::All(rules) | Rule::Any(rules) | Rule::None(rules) => rules.iter().flat_map(Rule::leaves).collect(),
            Rule::Leaf(leaf) => vec![leaf],
        }
    }

    /// Every segment this rule names.
    pub fn references(&self) -> impl Iterator<Item = &Reference> {
        self.leaves()
            .into_iter()
            .filter_map(|l| if let Leaf::InSegment(names) = l { Some(names) } else { None })
            .flatten()
    }
}
