//! One customer with everything rules ask about, and rules decided for them in plain Rust: the oracle of the compiled SQL, and the engine of
//! [`explain`](super::explain).

use std::collections::BTreeSet;

use super::evaluate::Resolved;
use super::rule::{Check, Column, History, Measure, Number, Op, Operand, Property, PropertyTest, Source, What, Window};
use super::sql::RECEIVED_STATES;
use crate::args;
use crate::clock::Millis;
use crate::db::{Db, DbResult, bucket_of, decimal};
use crate::profile::fields::Field;
use crate::profile::{Facts, Moment, load};

/// A customer and their history.
#[derive(Debug, Clone)]
pub struct Person {
    pub facts: Facts,
    customer: CustomerRow,
    rows: Rows,
}

#[derive(Debug, Clone, Default)]
struct Rows {
    orders: Vec<OrderRow>,
    lines: Vec<LineRow>,
    events: Vec<EventRow>,
    messages: Vec<MessageRow>,
    consents: Vec<ConsentRow>,
}

#[derive(Debug, Clone, sqlx::FromRow)]
struct CustomerRow {
    email: Option<String>,
    first_name: Option<String>,
    last_name: Option<String>,
    locale: Option<String>,
    time_zone: Option<String>,
    country: Option<String>,
    attributes: String,
    first_seen_at: Millis,
}

#[derive(Debug, Clone, sqlx::FromRow)]
struct OrderRow {
    at: Millis,
    total: i64,
    currency: String,
    status: String,
}

#[derive(Debug, Clone, sqlx::FromRow)]
struct LineRow {
    at: Millis,
    order_id: String,
    sku: String,
    category: Option<String>,
    quantity: i64,
    amount: i64,
    total: i64,
    status: String,
}

#[derive(Debug, Clone, sqlx::FromRow)]
struct EventRow {
    at: Millis,
    name: String,
    sku: Option<String>,
    category: Option<String>,
    amount: Option<i64>,
    score: Option<f64>,
    properties: String,
}

#[derive(Debug, Clone, sqlx::FromRow)]
struct MessageRow {
    at: Millis,
    campaign: String,
    step: String,
    state: String,
}

#[derive(Debug, Clone, sqlx::FromRow)]
struct ConsentRow {
    at: Millis,
    topic: String,
    granted: bool,
}

/// A known value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Datum {
    Int(i64),
    Real(f64),
    Text(String),
    /// Text inside JSON, which reads as a number when compared with one.
    Json(String),
}

/// A row of any source that lies in a leaf's window and passes its tests.
#[derive(Clone, Copy)]
enum Hit<'a> {
    Order(&'a OrderRow),
    Line(&'a LineRow),
    Event(&'a EventRow),
    /// A message or a consent: nothing but its instant is asked for.
    At(Millis),
}

/// What a history leaf found.
pub(super) struct Found {
    /// Whether the leaf holds.
    pub holds: bool,
    pub latest_at: Option<Millis>,
    /// What each measure came to; absent for a sum of nothing.
    pub measured: Vec<(Measure, Option<i64>)>,
}

impl Person {
    /// Load a customer; `None` when there is none of this id. Somebody without a profile yet is looked at as if nothing were known.
    pub async fn load(db: &Db, customer_id: &str) -> DbResult<Option<Person>> {
        let bucket = bucket_of(customer_id);
        let of = || args![bucket, customer_id];
        let customer: Option<CustomerRow> = db
            .fetch_optional(
                "SELECT email, first_name, last_name, locale, time_zone, country, attributes, first_seen_at FROM customer
                 WHERE bucket = $1 AND customer_id = $2",
                of(),
            )
            .await?;
        let Some(customer) = customer else { return Ok(None) };
        let facts = load(db, bucket, &[customer_id.to_owned()]).await?.pop();
        let rows = Rows {
            orders: db
                .fetch_all(
                    "SELECT ordered_at AS at, total, currency, status FROM customer_order WHERE bucket = $1 AND customer_id = $2",
                    of(),
                )
                .await?,
            lines: db
                .fetch_all(
                    "SELECT l.ordered_at AS at, l.order_id, l.sku, l.category, l.quantity, l.amount, o.total, o.status
                     FROM order_line l JOIN customer_order o ON o.bucket = l.bucket AND o.customer_id = l.customer_id
                      AND o.ordered_at = l.ordered_at AND o.order_id = l.order_id WHERE l.bucket = $1 AND l.customer_id = $2",
                    of(),
                )
                .await?,
            events: db
                .fetch_all(
                    "SELECT e.at, n.name, e.sku, e.category, e.amount, e.score, e.properties
                     FROM event e JOIN event_name n ON n.name_id = e.name_id WHERE e.bucket = $1 AND e.customer_id = $2",
                    of(),
                )
                .await?,
            messages: db
                .fetch_all(
                    "SELECT COALESCE(d.date_at, m.due_at) AS at, m.campaign, m.step, d.state
                     FROM message m JOIN delivery d ON d.bucket = m.bucket AND d.chunk_id = m.chunk_id AND d.seq = m.seq
                     WHERE m.bucket = $1 AND m.customer_id = $2",
                    of(),
                )
                .await?,
            consents: db
                .fetch_all("SELECT at, topic, granted FROM consent WHERE bucket = $1 AND customer_id = $2", of())
                .await?,
        };
        Ok(Some(Person { facts: facts.unwrap_or_default(), customer, rows }))
    }

    /// Whether a profile was computed; segments hold nobody without one.
    pub fn has_profile(&self) -> bool {
        !self.facts.customer_id.is_empty()
    }

    /// The value of a field or attribute.
    pub(super) fn value(&self, what: &What, moment: &Moment) -> Option<Datum> {
        match what {
            What::Field(field) => self.field(field, moment),
            What::Attribute(name) => json_scalar(&self.customer.attributes, name),
        }
    }

    /// The value of a field.
    pub(super) fn field(&self, field: &Field, moment: &Moment) -> Option<Datum> {
        let f = &self.facts;
        let view = || f.view(moment);
        let text = |t: &Option<String>| t.clone().map(Datum::Text);
        match field.name {
            "orders" => Some(Datum::Int(f.orders)),
            "purchase_days" => Some(Datum::Int(f.purchase_days)),
            "revenue" => Some(Datum::Int(f.revenue)),
            "open_tickets" => Some(Datum::Int(f.open_tickets)),
            "frequency" => view().frequency.map(Datum::Int),
            "recency_days" => view().recency_days.map(Datum::Int),
            "days_since_first_order" => view().days_since_first_order.map(Datum::Int),
            "days_since_last_order" => view().days_since_last_order.map(Datum::Int),
            "r" => view().r.map(Datum::Int),
            "f" => crate::profile::frequency_score(f.orders).map(Datum::Int),
            "m" => view().m.map(Datum::Int),
            "average_order" => f.average_order.map(Datum::Int),
            "first_order_at" => f.first_order_at.map(Datum::Int),
            "last_order_at" => f.last_order_at.map(Datum::Int),
            "previous_order_at" => f.previous_order_at.map(Datum::Int),
            "last_gap_days" => f.last_gap_days.map(Datum::Int),
            "last_viewed_at" => f.last_viewed_at.map(Datum::Int),
            "last_rating_at" => f.last_rating_at.map(Datum::Int),
            "last_event_at" => f.last_event_at.map(Datum::Int),
            "usual_gap_days" => f.usual_gap_days.map(Datum::Real),
            "last_rating" => f.last_rating.map(Datum::Real),
            "top_category" => text(&f.top_category),
            "last_viewed_sku" => text(&f.last_viewed_sku),
            "first_seen_at" => Some(Datum::Int(self.customer.first_seen_at)),
            "email" => text(&self.customer.email),
            "first_name" => text(&self.customer.first_name),
            "last_name" => text(&self.customer.last_name),
            "locale" => text(&self.customer.locale),
            "time_zone" => text(&self.customer.time_zone),
            "country" => text(&self.customer.country),
            other => unreachable!("`{other}` is in the catalogue and has no value here"),
        }
    }

    /// Whether a field or attribute passes its checks and lies in its window.
    pub(super) fn customer_holds(&self, what: &What, checks: &[Check], window: Window, moment: &Moment) -> bool {
        let value = self.value(what, moment);
        let inside = !window.is_limited() || matches!(value, Some(Datum::Int(at)) if within(at, window, moment));
        inside && checks.iter().all(|c| self.check(value.as_ref(), c, moment))
    }

    fn check(&self, value: Option<&Datum>, check: &Check, moment: &Moment) -> bool {
        match check {
            Check::Exists(wanted) => value.is_some() == *wanted,
            Check::Compare(op, number) => value.and_then(|v| v.compare(*number)).is_some_and(|o| op.holds(o)),
            Check::In(operands) => value.is_some_and(|v| operands.iter().any(|o| v.equals(o))),
            Check::Field { op, field, factor } => {
                let other = self.field(field, moment).and_then(|d| d.as_f64());
                let pair = value.and_then(Datum::as_f64).zip(other);
                pair.and_then(|(left, right)| left.partial_cmp(&(right * factor))).is_some_and(|o| op.holds(o))
            }
        }
    }

    /// Decide a history leaf.
    pub(super) fn history(&self, history: &History, resolved: &Resolved) -> Found {
        let hits: Vec<Hit> = self
            .hits(&history.source)
            .into_iter()
            .filter(|h| within(h.at(), history.window, &resolved.moment))
            .filter(|h| history.with.iter().all(|t| self.property_holds(h, t, &resolved.moment)))
            .collect();
        let measure = |m: Measure| match m {
            Measure::Times => Some(hits.len() as i64),
            Measure::Orders => Some(hits.iter().filter_map(|h| h.order_id()).collect::<BTreeSet<_>>().len() as i64),
            Measure::Sum(column) => {
                let known = hits.iter().filter_map(|h| match h.value(&Property::Column(column)) {
                    Some(Datum::Int(i)) => Some(i),
                    _ => None,
                });
                known.fold(None, |sum, i| Some(sum.unwrap_or(0) + i))
            }
        };
        let at_least_one = [(Measure::Times, vec![Check::Compare(Op::Gte, Number::Int(1))])];
        let measures = if history.measures.is_empty() { &at_least_one[..] } else { &history.measures };
        let holds = measures.iter().all(|(m, checks)| {
            let value = measure(*m).map(Datum::Int);
            checks.iter().all(|c| self.check(value.as_ref(), c, &resolved.moment))
        });
        Found {
            holds: holds != history.negated,
            latest_at: hits.iter().map(|h| h.at()).max(),
            measured: measures.iter().map(|(m, _)| (*m, measure(*m))).collect(),
        }
    }

    fn property_holds(&self, hit: &Hit, test: &PropertyTest, moment: &Moment) -> bool {
        let value = hit.value(&test.property);
        test.checks.iter().all(|c| self.check(value.as_ref(), c, moment))
    }

    /// The rows of a source, before windows and tests.
    fn hits(&self, source: &Source) -> Vec<Hit<'_>> {
        let rows = &self.rows;
        match source {
            Source::OrdersPlaced => {
                rows.orders.iter().filter(|o| counted(&o.status, o.total)).map(Hit::Order).collect()
            }
            Source::OrdersReturned => {
                let returned = |o: &&OrderRow| o.status == "returned" || (o.status == "placed" && o.total < 0);
                rows.orders.iter().filter(returned).map(Hit::Order).collect()
            }
            Source::Lines => rows.lines.iter().filter(|l| counted(&l.status, l.total)).map(Hit::Line).collect(),
            Source::Events(name) => rows.events.iter().filter(|e| e.name == *name).map(Hit::Event).collect(),
            Source::Messages { campaign, step } => rows
                .messages
                .iter()
                .filter(|m| m.campaign == *campaign && step.as_ref().is_none_or(|s| m.step == *s))
                .filter(|m| RECEIVED_STATES.contains(&m.state.as_str()))
                .map(|m| Hit::At(m.at))
                .collect(),
            Source::Consent { topic } => {
                rows.consents.iter().filter(|c| c.granted && c.topic == *topic).map(|c| Hit::At(c.at)).collect()
            }
        }
    }
}

/// An order that counts (docs/decisions/0002).
fn counted(status: &str, total: i64) -> bool {
    status == "placed" && total >= 0
}

fn within(at: Millis, window: Window, moment: &Moment) -> bool {
    let (from, until) = window.bounds(moment);
    from.is_none_or(|from| at >= from) && at < until
}

impl Hit<'_> {
    fn at(&self) -> Millis {
        match self {
            Hit::Order(o) => o.at,
            Hit::Line(l) => l.at,
            Hit::Event(e) => e.at,
            Hit::At(at) => *at,
        }
    }

    fn order_id(&self) -> Option<&str> {
        if let Hit::Line(l) = self { Some(&l.order_id) } else { None }
    }

    fn value(&self, property: &Property) -> Option<Datum> {
        let column = match property {
            Property::Column(column) => *column,
            Property::Json(name) => {
                let Hit::Event(e) = self else { return None };
                return json_scalar(&e.properties, name);
            }
        };
        match (self, column) {
            (Hit::Order(o), Column::Total) => Some(Datum::Int(o.total)),
            (Hit::Order(o), Column::Currency) => Some(Datum::Text(o.currency.clone())),
            (Hit::Order(o), Column::Status) => Some(Datum::Text(o.status.clone())),
            (Hit::Line(l), Column::Sku) => Some(Datum::Text(l.sku.clone())),
            (Hit::Line(l), Column::Category) => l.category.clone().map(Datum::Text),
            (Hit::Line(l), Column::Quantity) => Some(Datum::Int(l.quantity)),
            (Hit::Line(l), Column::Amount) => Some(Datum::Int(l.amount)),
            (Hit::Event(e), Column::Sku) => e.sku.clone().map(Datum::Text),
            (Hit::Event(e), Column::Category) => e.category.clone().map(Datum::Text),
            (Hit::Event(e), Column::Amount) => e.amount.map(Datum::Int),
            (Hit::Event(e), Column::Score) => e.score.map(Datum::Real),
            _ => None,
        }
    }
}

/// A member of a JSON object as text, by the rule of `Dialect::json_scalar`.
fn json_scalar(object: &str, name: &str) -> Option<Datum> {
    let object: serde_json::Value = serde_json::from_str(object).ok()?;
    match object.get(name)? {
        serde_json::Value::String(s) => Some(Datum::Json(s.clone())),
        v @ (serde_json::Value::Number(_) | serde_json::Value::Bool(_)) => Some(Datum::Json(v.to_string())),
        _ => None,
    }
}

impl Datum {
    fn as_f64(&self) -> Option<f64> {
        match self {
            Datum::Int(i) => Some(*i as f64),
            Datum::Real(r) => Some(*r),
            Datum::Text(_) => None,
            Datum::Json(t) => decimal(t),
        }
    }

    fn compare(&self, number: Number) -> Option<std::cmp::Ordering> {
        match (self, number) {
            (Datum::Int(a), Number::Int(b)) => Some(a.cmp(&b)),
            (value, number) => value.as_f64()?.partial_cmp(&number.as_f64()),
        }
    }

    fn equals(&self, operand: &Operand) -> bool {
        match (self, operand) {
            (value, Operand::Number(n)) => value.compare(*n).is_some_and(std::cmp::Ordering::is_eq),
            (Datum::Text(a) | Datum::Json(a), Operand::Text(b)) => a == b,
            (Datum::Text(a) | Datum::Json(a), Operand::Flag(b)) => a == if *b { "true" } else { "false" },
            (Datum::Int(_) | Datum::Real(_), Operand::Text(_) | Operand::Flag(_)) => false,
        }
    }
}
