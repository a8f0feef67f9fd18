//! A person as they are invented: rows, and what nobody can derive from rows. Everything else follows ([`Sketch::person`]), so an invented
//! person never contradicts themselves.
//!
//! Free beside the rows, as far as somebody can have them: attributes, contact fields, scores, R, and places among all buyers. M follows from
//! the place of the revenue, because both cut the same list; the RFM name follows from R and the number of orders.

use std::collections::{BTreeMap, BTreeSet};

use crate::clock::Millis;
use crate::profile::fields::{Field, field};
use crate::profile::{Moment, Rfm, frequency_score};
use crate::segment::given::CUSTOMER_ID;
use crate::segment::person::{
    ClickRow, ConsentRow, CustomerRow, Datum, EventRow, LineRow, MessageRow, OrderRow, Person,
};

/// R of somebody of whom nothing else was asked.
const R_DEFAULT: i64 = 3;
/// A place among all buyers of somebody of whom nothing else was asked.
pub(super) const PERCENTILE_DEFAULT: f64 = 50.0;

/// An invented person.
#[derive(Debug, Clone)]
pub struct Sketch {
    pub orders: Vec<Order>,
    pub events: Vec<EventRow>,
    pub messages: Vec<MessageRow>,
    pub clicks: Vec<ClickRow>,
    pub consents: BTreeSet<String>,
    pub attributes: serde_json::Map<String, serde_json::Value>,
    /// Fields of the customer and scores, by their SQL.
    pub fields: BTreeMap<&'static str, Datum>,
    pub r: i64,
    /// Of every number whose place a rule asks for, by its SQL.
    pub percentiles: BTreeMap<&'static str, (&'static Field, f64)>,
}

/// An order with its lines, whose `at`, `order_id`, `total` and `status` are the order's.
#[derive(Debug, Clone)]
pub struct Order {
    pub at: Millis,
    /// Minor units.
    pub total: i64,
    pub currency: String,
    pub status: String,
    pub lines: Vec<LineRow>,
}

impl Order {
    pub fn placed(at: Millis, total: i64, currency: &str) -> Order {
        Order { at, total, currency: currency.to_owned(), status: "placed".to_owned(), lines: Vec::new() }
    }

    pub fn is_counted(&self) -> bool {
        self.status == "placed" && self.total >= 0
    }
}

impl Sketch {
    /// Somebody of whom nothing is known.
    pub fn new() -> Sketch {
        Sketch {
            orders: Vec::new(),
            events: Vec::new(),
            messages: Vec::new(),
            clicks: Vec::new(),
            consents: BTreeSet::new(),
            attributes: serde_json::Map::new(),
            fields: BTreeMap::new(),
            r: R_DEFAULT,
            percentiles: BTreeMap::new(),
        }
    }

    /// The place among all buyers by a number.
    pub fn percentile(&self, sql: &str) -> f64 {
        self.percentiles.get(sql).map_or(PERCENTILE_DEFAULT, |p| p.1)
    }

    /// The fifth of the revenue.
    pub fn m(&self) -> i64 {
        (1 + (self.percentile("p.revenue") / 20.0) as i64).clamp(1, 5)
    }

    /// The person, with everything that follows.
    pub fn person(&self, moment: &Moment) -> Person {
        let mut person = Person::default();
        let rows = &mut person.rows;
        for (n, order) in self.orders.iter().enumerate() {
            rows.orders.push(OrderRow {
                at: order.at,
                total: order.total,
                currency: order.currency.clone(),
                status: order.status.clone(),
            });
            rows.lines.extend(order.lines.iter().map(|line| LineRow {
                at: order.at,
                order_id: format!("o{n}"),
                total: order.total,
                status: order.status.clone(),
                ..line.clone()
            }));
        }
        rows.events = self.events.clone();
        rows.messages = self.messages.clone();
        rows.clicks = self.clicks.clone();
        let consent = |topic: &String| ConsentRow { at: moment.as_of, topic: topic.clone(), granted: true };
        rows.consents = self.consents.iter().map(consent).collect();
        person.derive(&moment.zone);
        person.facts.customer_id = CUSTOMER_ID.to_owned();
        person.customer = CustomerRow {
            attributes: serde_json::Value::Object(self.attributes.clone()).to_string(),
            first_seen_at: person.facts.first_order_at.unwrap_or(moment.as_of),
            ..CustomerRow::default()
        };
        let is_buyer = person.facts.orders > 0;
        let of_customer = |sql: &&str| sql.starts_with("c.");
        let fields = self.fields.iter().filter(|(sql, _)| is_buyer || of_customer(sql));
        person.given.fields = fields.map(|(sql, datum)| (*sql, datum.clone())).collect();
        if let Some(f) = frequency_score(person.facts.orders) {
            person.given.fields.insert("p.r", Datum::Int(self.r));
            person.given.fields.insert("p.m", Datum::Int(self.m()));
            person.given.rfm = Some(Rfm::of(self.r, f));
            let known = self.percentiles.values().filter(|(field, _)| person.field(field, moment).is_some());
            person.given.percentiles = known.map(|(field, place)| (field.sql, *place)).collect();
        }
        person
    }

    /// So many different places to take something away, for whoever wants to make a person simpler.
    pub fn pieces(&self) -> usize {
        self.orders.len()
            + self.orders.iter().map(|o| o.lines.len()).sum::<usize>()
            + self.events.len()
            + self.messages.len()
            + self.clicks.len()
            + self.consents.len()
            + self.attributes.len()
            + self.fields.len()
    }

    /// The same person without the n-th piece.
    pub fn without(&self, mut n: usize) -> Sketch {
        let mut out = self.clone();
        let mut here = |len: usize| {
            if n < len {
                return Some(n);
            }
            n -= len;
            None
        };
        if let Some(i) = here(self.orders.len()) {
            out.orders.remove(i);
        } else if let Some(i) = here(self.orders.iter().map(|o| o.lines.len()).sum()) {
            let mut lines = (0..self.orders.len()).flat_map(|o| (0..self.orders[o].lines.len()).map(move |l| (o, l)));
            if let Some((order, line)) = lines.nth(i) {
                out.orders[order].lines.remove(line);
            }
        } else if let Some(i) = here(self.events.len()) {
            out.events.remove(i);
        } else if let Some(i) = here(self.messages.len()) {
            out.messages.remove(i);
        } else if let Some(i) = here(self.clicks.len()) {
            out.clicks.remove(i);
        } else if let Some(i) = here(self.consents.len()) {
            let topic = self.consents.iter().nth(i).cloned();
            out.consents.retain(|t| Some(t) != topic.as_ref());
        } else if let Some(i) = here(self.attributes.len()) {
            let name = self.attributes.keys().nth(i).cloned();
            out.attributes.retain(|k, _| Some(k) != name.as_ref());
        } else if let Some(i) = here(self.fields.len()) {
            let sql = self.fields.keys().nth(i).copied();
            out.fields.retain(|k, _| Some(*k) != sql);
        }
        out
    }

    /// The places of counted orders, the earliest first.
    pub fn counted(&self) -> Vec<usize> {
        let mut counted: Vec<usize> = (0..self.orders.len()).filter(|i| self.orders[*i].is_counted()).collect();
        counted.sort_by_key(|i| self.orders[*i].at);
        counted
    }

    /// Move the counted orders to these instants, earliest to earliest; too many go, missing ones are added. Their lines stay theirs.
    pub fn move_orders(&mut self, mut instants: Vec<Millis>, plain: impl Fn(Millis) -> Order) {
        instants.sort_unstable();
        let counted = self.counted();
        for (n, at) in instants.iter().enumerate() {
            match counted.get(n) {
                Some(i) => self.orders[*i].at = *at,
                None => self.orders.push(plain(*at)),
            }
        }
        let gone: BTreeSet<usize> = counted.into_iter().skip(instants.len()).collect();
        let mut n = 0;
        self.orders.retain(|_| {
            n += 1;
            !gone.contains(&(n - 1))
        });
    }
}

/// The field of an SQL that is its key.
pub(super) fn field_by_sql(sql: &str) -> Option<&'static Field> {
    use crate::profile::fields::{FIELDS, SCORES};
    FIELDS.iter().chain(SCORES).find(|f| f.sql == sql)
}

/// Revenue, on whose place M hangs.
pub(super) fn revenue() -> &'static Field {
    field("revenue").expect("revenue is a field")
}
