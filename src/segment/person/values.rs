//! Values of a person and of their rows, and single comparisons: each by the rule that the compiled SQL follows.

use super::Person;
use super::load::{EventRow, LineRow, OrderRow};
use crate::clock::{self, Millis};
use crate::db::{decimal, is_date};
use crate::profile::fields::Field;
use crate::profile::{Moment, day};
use crate::segment::rule::{Attribute, Calendar, Check, Column, Number, Operand, Property, What, Window};

/// A known value.
#[derive(Debug, Clone, PartialEq)]
pub enum Datum {
    Int(i64),
    Real(f64),
    Text(String),
    /// Text inside JSON, which reads as a number when compared with one.
    Json(String),
    /// A JSON list: the texts of its members, as far as they have one.
    List(Vec<String>),
}

/// A row of any source that lies in a leaf's window and passes its tests.
#[derive(Clone, Copy)]
pub enum Hit<'a> {
    Order(&'a OrderRow),
    Line(&'a LineRow),
    Event(&'a EventRow),
    /// A message, click or consent: nothing but its instant is asked for.
    At(Millis),
}

impl Person {
    /// The value of a field or attribute.
    pub(in crate::segment) fn value(&self, what: &What, moment: &Moment) -> Option<Datum> {
        match what {
            What::Field(field) => self.field(field, moment),
            What::Attribute(attribute) => member(&self.customer.attributes, attribute),
        }
    }

    /// The value of a field or score.
    pub(in crate::segment) fn field(&self, field: &Field, moment: &Moment) -> Option<Datum> {
        if let Some(given) = self.given.fields.get(field.sql) {
            return Some(given.clone());
        }
        let f = &self.facts;
        let view = || f.view(moment);
        let text = |t: &Option<String>| t.clone().map(Datum::Text);
        let scores = self.scores.as_ref();
        match field.sql {
            "p.orders" => Some(Datum::Int(f.orders)),
            "p.purchase_days" => Some(Datum::Int(f.purchase_days)),
            "p.revenue" => Some(Datum::Int(f.revenue)),
            "p.open_tickets" => Some(Datum::Int(f.open_tickets)),
            "p.frequency" => view().frequency.map(Datum::Int),
            "p.recency_days" => view().recency_days.map(Datum::Int),
            "p.days_since_first_order" => view().days_since_first_order.map(Datum::Int),
            "p.days_since_last_order" => view().days_since_last_order.map(Datum::Int),
            "p.r" => view().r.map(Datum::Int),
            "p.f" => crate::profile::frequency_score(f.orders).map(Datum::Int),
            "p.m" => view().m.map(Datum::Int),
            "p.average_order" => f.average_order.map(Datum::Int),
            "p.first_order_at" => f.first_order_at.map(Datum::Int),
            "p.last_order_at" => f.last_order_at.map(Datum::Int),
            "p.previous_order_at" => f.previous_order_at.map(Datum::Int),
            "p.last_gap_days" => f.last_gap_days.map(Datum::Int),
            "p.last_viewed_at" => f.last_viewed_at.map(Datum::Int),
            "p.last_rating_at" => f.last_rating_at.map(Datum::Int),
            "p.last_event_at" => f.last_event_at.map(Datum::Int),
            "p.last_return_at" => f.last_return_at.map(Datum::Int),
            "p.usual_gap_days" => f.usual_gap_days.map(Datum::Real),
            "p.last_rating" => f.last_rating.map(Datum::Real),
            "p.top_category" => text(&f.top_category),
            "p.last_viewed_sku" => text(&f.last_viewed_sku),
            "c.first_seen_at" => Some(Datum::Int(self.customer.first_seen_at)),
            "c.email" => text(&self.customer.email),
            "c.first_name" => text(&self.customer.first_name),
            "c.last_name" => text(&self.customer.last_name),
            "c.locale" => text(&self.customer.locale),
            "c.time_zone" => text(&self.customer.time_zone),
            "c.country" => text(&self.customer.country),
            "sc.orders_90d" => scores?.orders_90d.map(Datum::Real),
            "sc.orders_12m" => scores?.orders_12m.map(Datum::Real),
            "sc.ltv_12m" => scores?.ltv_12m.map(Datum::Int),
            "sc.alive" => scores?.alive.map(Datum::Real),
            "sc.churn_90d" => scores?.churn_90d.map(Datum::Real),
            "sc.next_order_at" => scores?.next_order_at.map(Datum::Int),
            other => unreachable!("`{other}` is in the catalogue and has no value here"),
        }
    }
}

impl<'a> Hit<'a> {
    pub fn at(&self) -> Millis {
        match self {
            Hit::Order(o) => o.at,
            Hit::Line(l) => l.at,
            Hit::Event(e) => e.at,
            Hit::At(at) => *at,
        }
    }

    pub fn order_id(&self) -> Option<&'a str> {
        if let Hit::Line(l) = self { Some(&l.order_id) } else { None }
    }

    pub fn value(&self, property: &Property) -> Option<Datum> {
        let column = match (property, self) {
            (Property::Column(column), _) => *column,
            (Property::Json(attribute), Hit::Event(e)) => return member(&e.properties, attribute),
            (Property::Product(attribute), Hit::Line(l)) => return member(l.product_attributes.as_deref()?, attribute),
            _ => return None,
        };
        match (self, column) {
            (Hit::Order(o), Column::Total) => Some(Datum::Int(o.total)),
            (Hit::Order(o), Column::Currency) => Some(Datum::Text(o.currency.clone())),
            (Hit::Order(o), Column::Status) => Some(Datum::Text(o.status.clone())),
            (Hit::Line(l), Column::Sku) => Some(Datum::Text(l.sku.clone())),
            (Hit::Line(l), Column::Category) => l.category.clone().map(Datum::Text),
            (Hit::Line(l), Column::Quantity) => Some(Datum::Int(l.quantity)),
            (Hit::Line(l), Column::Amount) => Some(Datum::Int(l.amount)),
            (Hit::Line(l), Column::ProductName) => l.product_name.clone().map(Datum::Text),
            (Hit::Line(l), Column::ProductPrice) => l.product_price.map(Datum::Int),
            (Hit::Event(e), Column::Sku) => e.sku.clone().map(Datum::Text),
            (Hit::Event(e), Column::Category) => e.category.clone().map(Datum::Text),
            (Hit::Event(e), Column::Amount) => e.amount.map(Datum::Int),
            (Hit::Event(e), Column::Score) => e.score.map(Datum::Real),
            _ => None,
        }
    }
}

/// A member of a JSON object, by the rule of `Dialect::json_scalar`; a list is known too.
pub fn member(object: &str, attribute: &Attribute) -> Option<Datum> {
    let object: serde_json::Value = serde_json::from_str(object).ok()?;
    let value = object.get(&attribute.name)?;
    if let serde_json::Value::Array(list) = value {
        return (!attribute.is_date).then(|| Datum::List(list.iter().filter_map(text_in_list).collect()));
    }
    let text = match value {
        serde_json::Value::String(s) => s.clone(),
        serde_json::Value::Number(_) | serde_json::Value::Bool(_) => value.to_string(),
        _ => return None,
    };
    (!attribute.is_date || is_date(&text)).then_some(Datum::Json(text))
}

/// The text of a list's member: strings, whole numbers, true and false.
fn text_in_list(value: &serde_json::Value) -> Option<String> {
    match value {
        serde_json::Value::String(s) => Some(s.clone()),
        serde_json::Value::Number(n) if n.is_i64() || n.is_u64() => Some(n.to_string()),
        serde_json::Value::Bool(b) => Some(b.to_string()),
        _ => None,
    }
}

/// Monday is 0.
pub fn weekday(at: Millis, moment: &Moment) -> i64 {
    (day::day_number(at, &moment.zone) + 3).rem_euclid(7)
}

/// A date lies in a window of whole days.
pub fn date_within(date: &str, window: &Window, moment: &Moment) -> bool {
    let (from, until) = window.bounds(moment);
    let text = |at: Millis| clock::date_in(at, &moment.zone).to_string();
    let before_end = if window.more_than_ago.is_some() { *date < *text(until) } else { *date <= *text(until) };
    from.is_none_or(|from| *date >= *text(from)) && before_end
}

impl Datum {
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Datum::Int(i) => Some(*i as f64),
            Datum::Real(r) => Some(*r),
            Datum::Text(_) | Datum::List(_) => None,
            Datum::Json(t) => decimal(t),
        }
    }

    fn text(&self) -> Option<&str> {
        if let Datum::Text(t) | Datum::Json(t) = self { Some(t) } else { None }
    }

    /// What counts as one value among different ones; lists do not count.
    pub fn distinct_key(&self) -> Option<String> {
        match self {
            Datum::Int(i) => Some(i.to_string()),
            Datum::Real(r) => Some(r.to_bits().to_string()),
            Datum::Text(t) | Datum::Json(t) => Some(t.clone()),
            Datum::List(_) => None,
        }
    }

    /// Whether it passes a comparison that asks for nothing but this value.
    pub fn passes(&self, check: &Check, moment: &Moment) -> bool {
        match check {
            Check::Exists(wanted) => *wanted,
            Check::Compare(op, number) => self.compare(*number).is_some_and(|o| op.holds(o)),
            Check::In(operands) => operands.iter().any(|o| self.equals(o)),
            Check::StartsWith(text) => self.text().is_some_and(|t| t.starts_with(text.as_str())),
            Check::Contains(text) => self.text().is_some_and(|t| t.contains(text.as_str())),
            Check::Matches(pattern) => self.text().is_some_and(|t| pattern.matches(t)),
            Check::Has(wanted) => match self {
                Datum::List(list) => list.iter().any(|l| wanted.contains(l)),
                Datum::Json(text) => {
                    let apart = format!(";{};", text.replace("; ", ";"));
                    wanted.iter().any(|w| apart.contains(&format!(";{w};")))
                }
                _ => false,
            },
            Check::Date(op, date) => self.text().is_some_and(|t| op.holds(t.cmp(&date.to_string()))),
            Check::Calendar(calendar) => self.on_calendar(calendar, moment),
            Check::Field { .. } => unreachable!("asks for a field too"),
        }
    }

    fn on_calendar(&self, calendar: &Calendar, moment: &Moment) -> bool {
        let number = match self {
            Datum::Int(at) => day::civil_number(day::day_number(*at, &moment.zone)),
            Datum::Json(date) => match date.replace('-', "").parse() {
                Ok(number) => number,
                Err(_) => return false,
            },
            _ => return false,
        };
        match calendar {
            Calendar::Weekday(days) => matches!(self, Datum::Int(at) if days.contains(&weekday(*at, moment))),
            Calendar::DayOfMonth(days) => days.contains(&(number % 100)),
            Calendar::Anniversary { before, after } => day::anniversaries(moment.today, *before, *after)
                .iter()
                .any(|(year, days)| number / 10_000 < *year && days.contains(&(number % 10_000))),
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
            (value, Operand::Text(b)) => value.text() == Some(b),
            (value, Operand::Flag(b)) => value.text() == Some(if *b { "true" } else { "false" }),
        }
    }
}
