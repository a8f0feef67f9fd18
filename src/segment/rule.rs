//! A checked rule: what an author's YAML says, with every word resolved to something that exists.
//!
//! Two-valued logic: a comparison with a missing value is false, so `none`, `did_not` and `bought_not` hold for those of whom nothing is known.

pub use super::comparison::{Calendar, Check, Number, Op, Operand, Pattern};
use crate::clock::Millis;
use crate::problem::Place;
use crate::profile::fields::Field;
use crate::profile::{Moment, Rfm, Stage};
use crate::yaml::Span;

/// A tree of leaves.
#[derive(Debug, Clone, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "rules are few, and leaves are matched on in depth")]
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
    /// What somebody did, bought, received, clicked or agreed to.
    History(History),
    /// The latest row of the source in the window passes the tests.
    Last(Rows),
    /// Rows in this order.
    Funnel(Vec<FunnelStep>),
    /// A field, score or attribute.
    Customer {
        what: What,
        checks: Vec<Check>,
        window: Window,
    },
    /// The place of a number among those of all buyers: one of these stretches holds.
    Percentile {
        field: &'static Field,
        any_of: Vec<Stretch>,
    },
    Rfm(Vec<Rfm>),
    Lifecycle(Vec<Stage>),
    /// The loyalty tier is one of these.
    Tier(Tier),
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
    /// Of the profile, the customer or a model's scores.
    Field(&'static Field),
    /// A column of the shop's own, kept in the JSON of `customer.attributes`.
    Attribute(Attribute),
}

/// A member of a JSON object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attribute {
    pub name: String,
    /// Holds a date, `YYYY-MM-DD`; anything else in it is missing.
    pub is_date: bool,
}

/// Rows of one source that lie in a window and pass tests.
#[derive(Debug, Clone, PartialEq)]
pub struct Rows {
    pub source: Source,
    pub with: Vec<PropertyTest>,
    pub window: Window,
}

/// Rows, measured.
#[derive(Debug, Clone, PartialEq)]
pub struct History {
    pub rows: Rows,
    /// `did_not`, `bought_not`: the opposite of everything else in this leaf.
    pub negated: bool,
    /// All must pass; empty asks for at least one row.
    pub measures: Vec<(Measure, Vec<Check>)>,
}

/// One step of a funnel. The first is a row in its window; each later one comes, or does not, after the row of the `did` step before it.
#[derive(Debug, Clone, PartialEq)]
pub struct FunnelStep {
    pub rows: Rows,
    /// No such row came in that time, and the time is over.
    pub negated: bool,
    /// So long after the row before; a day is 24 hours. Without: ever after.
    pub within_after: Option<Span>,
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
    /// Clicks on links of a campaign's messages.
    Clicks { campaign: String, step: Option<String> },
    /// Standing consent to a topic.
    Consent { topic: String },
}

/// What is measured over the rows.
#[derive(Debug, Clone, PartialEq)]
pub enum Measure {
    /// How many rows. None is zero.
    Times,
    /// How many different orders. None is zero.
    Orders,
    /// The sum of a property. Of no known value it is missing.
    Sum(Property),
    /// How many different known values of a property. None is zero.
    Distinct(Property),
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
    /// Of the product a line is about.
    ProductName,
    ProductPrice,
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
            Column::ProductName => "name",
            Column::ProductPrice => "price",
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
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Property {
    Column(Column),
    /// In the JSON of `event.properties`.
    Json(Attribute),
    /// In the JSON of `product.attributes` of the product a line is about.
    Product(Attribute),
}

/// Bounds on a place among all buyers, in percent of them; all must hold.
#[derive(Debug, Clone, PartialEq)]
pub struct Stretch(pub Vec<(Op, f64)>);

/// A fifth of all buyers by a number, as authors name it.
pub const BANDS: [(&str, f64, f64); 5] =
    [("bottom", 0.0, 20.0), ("low", 20.0, 40.0), ("middle", 40.0, 60.0), ("high", 60.0, 80.0), ("top", 80.0, 100.0)];

/// A loyalty tier: what it goes by, and the stretches of the asked tiers.
#[derive(Debug, Clone, PartialEq)]
pub struct Tier {
    pub names: Vec<String>,
    /// Counted orders of the window; their number or their total.
    pub measure: Measure,
    pub window: Window,
    /// From this (minor units, or orders) to below that.
    pub stretches: Vec<(i64, Option<i64>)>,
}

/// A stretch of time. Without limits: ever, until the planning instant.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Window {
    pub in_last: Option<Span>,
    pub more_than_ago: Option<Span>,
    /// From an instant to before another.
    pub between: Option<(Millis, Millis)>,
    pub since: Option<Since>,
    pub days_after: Option<DaysAfter>,
    /// Only on these days of the week, Monday is 0.
    pub weekdays: Vec<i64>,
}

/// Where a window begins that has no length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Since {
    At(Millis),
    /// An instant of the same customer; nothing lies after a missing one.
    Field(&'static Field),
    /// The person's entry into a campaign: an instant in conditions of steps, once [`Rule::entered`] gave it; never in segments.
    Entry,
}

/// Local days counted from an instant of the same customer, whose own day is 0; both ends belong to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DaysAfter {
    pub field: &'static Field,
    pub from: i64,
    pub to: i64,
}

impl Window {
    /// Whether it has a limit.
    pub fn is_limited(&self) -> bool {
        *self != Window::default()
    }

    /// Whether it hangs on instants of the customer.
    pub fn is_anchored(&self) -> bool {
        self.days_after.is_some() || matches!(self.since, Some(Since::Field(_)))
    }

    /// The instants `from ≤ at < until` of what does not hang on the customer. Spans of days begin at local midnight, so a day is in or out as a
    /// whole; spans of hours are exact.
    pub fn bounds(&self, moment: &Moment) -> (Option<Millis>, Millis) {
        let ago = |span: Span| span.before(moment.as_of, &moment.zone);
        let since = match self.since {
            Some(Since::At(at)) => Some(at),
            Some(Since::Entry) => Some(Millis::MAX), // nobody has entered: nothing lies after it
            Some(Since::Field(_)) | None => None,
        };
        let from = [self.in_last.map(ago), self.between.map(|b| b.0), since].into_iter().flatten().max();
        let until = [self.more_than_ago.map(ago), self.between.map(|b| b.1)].into_iter().flatten().min();
        (from, until.unwrap_or(Millis::MAX).min(moment.as_of + 1))
    }
}

/// Who of the members of `where` is picked, apart from it, so that `where` stays a question about one person.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Pick {
    pub top: Option<Top>,
    pub sample: Option<Sample>,
}

/// The members with the highest number; of equal ones the first by bucket and id, so that exactly so many are picked. Members whose number is
/// missing are not picked.
#[derive(Debug, Clone, PartialEq)]
pub struct Top {
    pub by: &'static Field,
    pub take: Take,
}

/// How many.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Take {
    /// A share of the members of `where`, rounded up.
    Share(f64),
    Count(i64),
}

/// A share of the members, drawn by chance: the same people for the same salt, on every machine. Drawn in cells: the hash buckets of
/// customers are dealt out anew for each salt.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    pub share: f64,
    pub salt: String,
}

impl Rule {
    /// Whether it asks for what models predict; segments it refers to apart.
    pub fn uses_scores(&self) -> bool {
        self.leaves().iter().any(|leaf| leaf.fields().iter().any(|f| f.is_score()))
    }

    /// The rule as text, whatever the order of its parts and the places of its words: equal texts mean equal rules.
    pub fn canonical(&self) -> String {
        let group = |word: &str, rules: &[Rule]| {
            let mut parts: Vec<String> = rules.iter().map(Rule::canonical).collect();
            parts.sort_unstable();
            parts.dedup();
            if parts.len() == 1 && word != "none" { parts.remove(0) } else { format!("{word}({})", parts.join(",")) }
        };
        match self {
            Rule::All(rules) => group("all", rules),
            Rule::Any(rules) => group("any", rules),
            Rule::None(rules) => group("none", rules),
            Rule::Leaf(Leaf::InSegment(names)) => {
                let mut names: Vec<&str> = names.iter().map(|n| n.name.as_str()).collect();
                names.sort_unstable();
                format!("in({})", names.join(","))
            }
            Rule::Leaf(leaf) => format!("{leaf:?}"),
        }
    }

    /// Every leaf.
    pub fn leaves(&self) -> Vec<&Leaf> {
        match self {
            Rule::All(rules) | Rule::Any(rules) | Rule::None(rules) => rules.iter().flat_map(Rule::leaves).collect(),
            Rule::Leaf(leaf) => vec![leaf],
        }
    }

    /// The same for somebody who entered at this instant.
    pub fn entered(&self, at: Millis) -> Rule {
        let all = |rules: &[Rule]| rules.iter().map(|r| r.entered(at)).collect();
        match self {
            Rule::All(rules) => Rule::All(all(rules)),
            Rule::Any(rules) => Rule::Any(all(rules)),
            Rule::None(rules) => Rule::None(all(rules)),
            Rule::Leaf(leaf) => {
                let mut leaf = leaf.clone();
                for window in leaf.windows_mut() {
                    if window.since == Some(Since::Entry) {
                        window.since = Some(Since::At(at));
                    }
                }
                Rule::Leaf(leaf)
            }
        }
    }

    /// Membership in a segment.
    pub fn member_of(name: &str) -> Rule {
        let place = Place::file("");
        Rule::Leaf(Leaf::InSegment(vec![Reference { name: name.to_owned(), place }]))
    }

    /// Every segment this rule names.
    pub fn references(&self) -> impl Iterator<Item = &Reference> {
        self.leaves()
            .into_iter()
            .filter_map(|l| if let Leaf::InSegment(names) = l { Some(names) } else { None })
            .flatten()
    }
}

impl Leaf {
    /// Its sources and windows over time, for whoever must know which rows and instants it looks at.
    pub fn windows(&self) -> Vec<(Option<&Source>, &Window)> {
        match self {
            Leaf::History(History { rows, .. }) | Leaf::Last(rows) => vec![(Some(&rows.source), &rows.window)],
            Leaf::Funnel(steps) => steps.iter().map(|s| (Some(&s.rows.source), &s.rows.window)).collect(),
            Leaf::Customer { window, .. } => vec![(None, window)],
            Leaf::Tier(tier) => vec![(Some(&Source::OrdersPlaced), &tier.window)],
            Leaf::Percentile { .. } | Leaf::Rfm(_) | Leaf::Lifecycle(_) | Leaf::InSegment(_) => Vec::new(),
        }
    }

    fn windows_mut(&mut self) -> Vec<&mut Window> {
        match self {
            Leaf::History(History { rows, .. }) | Leaf::Last(rows) => vec![&mut rows.window],
            Leaf::Funnel(steps) => steps.iter_mut().map(|s| &mut s.rows.window).collect(),
            Leaf::Customer { window, .. } => vec![window],
            Leaf::Tier(tier) => vec![&mut tier.window],
            Leaf::Percentile { .. } | Leaf::Rfm(_) | Leaf::Lifecycle(_) | Leaf::InSegment(_) => Vec::new(),
        }
    }

    /// How many measured columns it takes of a pass.
    pub fn columns(&self) -> usize {
        if let Leaf::History(history) = self { history.measures.len().max(1) } else { 1 }
    }

    /// The fields it compares, in any role.
    pub fn fields(&self) -> Vec<&'static Field> {
        let of_checks = |checks: &[Check]| -> Vec<&'static Field> {
            checks.iter().filter_map(|c| if let Check::Field { field, .. } = c { Some(*field) } else { None }).collect()
        };
        let of_window = |w: &Window| {
            let since = if let Some(Since::Field(f)) = w.since { Some(f) } else { None };
            since.into_iter().chain(w.days_after.map(|d| d.field)).collect::<Vec<_>>()
        };
        let mut out: Vec<&'static Field> = self.windows().iter().flat_map(|(_, w)| of_window(w)).collect();
        match self {
            Leaf::Customer { what, checks, .. } => {
                if let What::Field(field) = what {
                    out.push(field);
                }
                out.extend(of_checks(checks));
            }
            Leaf::Percentile { field, .. } => out.push(field),
            _ => {}
        }
        out
    }
}
