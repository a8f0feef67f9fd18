//! Single rows of an invented person: reading a value as a column has it, and setting it.

use serde_json::Value;

use super::sketch::Sketch;
use crate::clock::Millis;
use crate::profile::fields::Kind;
use crate::segment::person::{Datum, EventRow, LineRow, member};
use crate::segment::rule::{Column, Property, Source};

/// The product of a line of which nothing was asked.
const SKU_DEFAULT: &str = "SKU-1";

/// A line of an order, of which nothing was asked.
pub(super) fn plain_line(amount: i64) -> LineRow {
    LineRow {
        at: 0,
        order_id: String::new(),
        sku: SKU_DEFAULT.to_owned(),
        category: None,
        quantity: 1,
        amount,
        total: 0,
        status: String::new(),
        product_name: None,
        product_price: None,
        product_attributes: None,
    }
}

/// An event of which nothing was asked.
pub(super) fn plain_event(at: Millis, name: &str) -> EventRow {
    EventRow {
        at,
        name: name.to_owned(),
        sku: None,
        category: None,
        amount: None,
        score: None,
        properties: "{}".to_owned(),
    }
}

/// A value as a field of a kind has it.
pub(super) fn datum(value: &Value, kind: Kind) -> Option<Datum> {
    match kind {
        Kind::Text => value.as_str().map(|t| Datum::Text(t.to_owned())),
        Kind::Real => value.as_f64().map(Datum::Real),
        Kind::Number | Kind::Money | Kind::Instant | Kind::Days => {
            value.as_i64().or_else(|| value.as_f64().map(|r| r as i64)).map(Datum::Int)
        }
    }
}

/// A value as a property of a row has it.
pub(super) fn property_datum(property: &Property, value: &Value) -> Option<Datum> {
    match property {
        Property::Column(Column::Sku | Column::Category | Column::Currency | Column::Status | Column::ProductName) => {
            datum(value, Kind::Text)
        }
        Property::Column(Column::Score) => datum(value, Kind::Real),
        Property::Column(_) => datum(value, Kind::Number),
        Property::Json(a) | Property::Product(a) => member(&serde_json::json!({ &*a.name: value }).to_string(), a),
    }
}

pub(super) fn instant_of(sketch: &Sketch, source: &Source, place: usize) -> Millis {
    match source {
        Source::Events(_) => sketch.events[place].at,
        Source::OrdersPlaced | Source::OrdersReturned | Source::Lines => sketch.orders[place].at,
        Source::Messages { .. } => sketch.messages[place].at,
        Source::Clicks { .. } => sketch.clicks[place].at,
        Source::Consent { .. } => 0,
    }
}

pub(super) fn set_instant(sketch: &mut Sketch, source: &Source, place: usize, at: Millis) {
    match source {
        Source::Events(_) => sketch.events[place].at = at,
        Source::OrdersPlaced | Source::OrdersReturned | Source::Lines => sketch.orders[place].at = at,
        Source::Messages { .. } => sketch.messages[place].at = at,
        Source::Clicks { .. } => sketch.clicks[place].at = at,
        Source::Consent { .. } => {}
    }
}

/// Set a property of the row at a place; what the source does not have stays unset.
pub(super) fn set(sketch: &mut Sketch, source: &Source, place: usize, property: &Property, value: &Value) {
    let whole = || value.as_i64().or_else(|| value.as_f64().map(|r| r as i64));
    let text = || value.as_str().map(str::to_owned);
    match source {
        Source::Events(_) => {
            let row = &mut sketch.events[place];
            match property {
                Property::Column(Column::Sku) => row.sku = text(),
                Property::Column(Column::Category) => row.category = text(),
                Property::Column(Column::Amount) => row.amount = whole(),
                Property::Column(Column::Score) => row.score = value.as_f64(),
                Property::Json(attribute) => row.properties = with_member(&row.properties, &attribute.name, value),
                _ => {}
            }
        }
        Source::OrdersPlaced | Source::OrdersReturned => {
            let order = &mut sketch.orders[place];
            match property {
                Property::Column(Column::Total) => order.total = whole().unwrap_or(order.total),
                Property::Column(Column::Currency) => order.currency = text().unwrap_or_default(),
                _ => {}
            }
        }
        Source::Lines => {
            let order = &mut sketch.orders[place];
            let Some(line) = order.lines.last_mut() else { return };
            match property {
                Property::Column(Column::Sku) => line.sku = text().unwrap_or_default(),
                Property::Column(Column::Category) => line.category = text(),
                Property::Column(Column::Quantity) => line.quantity = whole().unwrap_or(1),
                Property::Column(Column::Amount) => line.amount = whole().unwrap_or(0),
                Property::Column(Column::ProductName) => line.product_name = text(),
                Property::Column(Column::ProductPrice) => line.product_price = whole(),
                Property::Product(attribute) => {
                    let known = line.product_attributes.as_deref().unwrap_or("{}");
                    line.product_attributes = Some(with_member(known, &attribute.name, value));
                }
                _ => {}
            }
        }
        _ => {}
    }
}

fn with_member(object: &str, name: &str, value: &Value) -> String {
    let mut members: serde_json::Map<String, Value> = serde_json::from_str(object).unwrap_or_default();
    members.insert(name.to_owned(), value.clone());
    Value::Object(members).to_string()
}
