//! An invented person as an author writes them: a case that can be pasted under `tests:`, and is read back as the same person.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use serde_json::Value;

use super::sketch::{Order, Sketch, field_by_sql};
use crate::clock::{self, Millis};
use crate::money;
use crate::profile::Moment;
use crate::profile::fields::{Field, Kind, SCORE_PREFIX};
use crate::segment::person::{Datum, EventRow, LineRow};
use crate::segment::rule::Leaf;
use crate::settings::Settings;

/// Write a person down. Of what is free, only what these leaves ask for. `remark` stands beside the expectation.
pub fn written(
    sketch: &Sketch,
    leaves: &[&Leaf],
    name: &str,
    expect_in: bool,
    remark: &str,
    moment: &Moment,
    settings: &Settings,
) -> String {
    let writer = Writer { moment, settings };
    let mut out = format!("- case: {}\n  now: {}\n", scalar(name), writer.instant(moment.as_of));
    let given = writer.given(sketch, leaves);
    if given.is_empty() {
        out.push_str("  given: {}\n");
    } else {
        let _ = write!(out, "  given:\n{given}");
    }
    let _ = writeln!(out, "  expect: {}  # {remark}", if expect_in { "in" } else { "out" });
    out
}

struct Writer<'a> {
    moment: &'a Moment,
    settings: &'a Settings,
}

impl Writer<'_> {
    fn given(&self, sketch: &Sketch, leaves: &[&Leaf]) -> String {
        let mut out = String::new();
        let customer = self.customer(sketch, leaves);
        if !customer.is_empty() {
            let _ = writeln!(out, "    customer: {{ {} }}", customer.join(", "));
        }
        let mut list = |key: &str, items: Vec<String>| {
            if items.is_empty() {
                return;
            }
            let _ = writeln!(out, "    {key}:");
            for item in items {
                let _ = writeln!(out, "      - {{ {item} }}");
            }
        };
        let mut orders: Vec<&Order> = sketch.orders.iter().collect();
        orders.sort_by_key(|o| o.at);
        list("orders", orders.into_iter().map(|o| self.order(o)).collect());
        let mut events: Vec<&EventRow> = sketch.events.iter().collect();
        events.sort_by_key(|e| e.at);
        let same = |a: &&EventRow, b: &&EventRow| self.event(a, 1) == self.event(b, 1);
        list("events", events.chunk_by(same).map(|e| self.event(e[0], e.len())).collect());
        let message = |campaign: &str, step: &str, at| {
            let step = if step.is_empty() { String::new() } else { format!(", step: {}", scalar(step)) };
            format!("campaign: {}{step}, at: {}", scalar(campaign), self.instant(at))
        };
        list("received", sketch.messages.iter().map(|m| message(&m.campaign, &m.step, m.at)).collect());
        list("clicked", sketch.clicks.iter().map(|c| message(&c.campaign, &c.step, c.at)).collect());
        let person = sketch.person(self.moment);
        let places = person.given.percentiles.iter().filter_map(|(sql, place)| Some((field_by_sql(sql)?, place)));
        let asked: BTreeSet<&str> = asked_percentiles(leaves);
        let places: Vec<String> =
            places.filter(|(f, _)| asked.contains(f.sql)).map(|(f, place)| format!("{}: {place}", f.name)).collect();
        if !places.is_empty() {
            let _ = writeln!(out, "    percentile: {{ {} }}", places.join(", "));
        }
        out
    }

    fn customer(&self, sketch: &Sketch, leaves: &[&Leaf]) -> Vec<String> {
        let person = sketch.person(self.moment);
        let mut out = Vec::new();
        for (sql, datum) in &person.given.fields {
            let Some(field) = field_by_sql(sql) else { continue };
            let is_asked = match *sql {
                "p.r" => leaves.iter().any(|l| matches!(l, Leaf::Rfm(_)) || l.fields().iter().any(|f| f.sql == "p.r")),
                "p.m" => leaves.iter().any(|l| l.fields().iter().any(|f| f.sql == "p.m")),
                _ => true,
            };
            if is_asked {
                let prefix = if field.is_score() { SCORE_PREFIX } else { "" };
                out.push(format!("{prefix}{}: {}", field.name, self.datum(field, datum)));
            }
        }
        out.extend(
            sketch.attributes.iter().map(|(k, v)| format!("{}: {}", scalar(&format!("attribute.{k}")), json(v))),
        );
        if !sketch.consents.is_empty() {
            let topics: Vec<String> = sketch.consents.iter().map(|t| scalar(t)).collect();
            out.push(format!("consent: [{}]", topics.join(", ")));
        }
        out
    }

    fn datum(&self, field: &Field, datum: &Datum) -> String {
        match datum {
            Datum::Int(at) if field.kind == Kind::Instant => self.instant(*at),
            Datum::Int(amount) if field.kind == Kind::Money => self.money(*amount),
            Datum::Int(n) => n.to_string(),
            Datum::Real(r) => r.to_string(),
            Datum::Text(text) | Datum::Json(text) => scalar(text),
            Datum::List(list) => format!("[{}]", list.iter().map(|t| scalar(t)).collect::<Vec<_>>().join(", ")),
        }
    }

    fn order(&self, order: &Order) -> String {
        let mut out = format!("at: {}, total: {}", self.instant(order.at), self.money(order.total));
        if order.status != "placed" {
            let _ = write!(out, ", status: {}", order.status);
        }
        if order.currency != self.settings.currency {
            let _ = write!(out, ", currency: {}", scalar(&order.currency));
        }
        if !order.lines.is_empty() {
            let lines: Vec<String> = order.lines.iter().map(|l| format!("{{ {} }}", self.line(l))).collect();
            let _ = write!(out, ", lines: [{}]", lines.join(", "));
        }
        out
    }

    fn line(&self, line: &LineRow) -> String {
        let mut out = format!("sku: {}", scalar(&line.sku));
        for (key, text) in [("category", &line.category), ("name", &line.product_name)] {
            if let Some(text) = text {
                let _ = write!(out, ", {key}: {}", scalar(text));
            }
        }
        if line.quantity != 1 {
            let _ = write!(out, ", quantity: {}", line.quantity);
        }
        let _ = write!(out, ", amount: {}", self.money(line.amount));
        if let Some(price) = line.product_price {
            let _ = write!(out, ", price: {}", self.money(price));
        }
        if let Some(product) = members(line.product_attributes.as_deref()) {
            let _ = write!(out, ", product: {{ {product} }}");
        }
        out
    }

    fn event(&self, event: &EventRow, times: usize) -> String {
        let mut out = format!("did: {}, at: {}", scalar(&event.name), self.instant(event.at));
        if times > 1 {
            let _ = write!(out, ", times: {times}");
        }
        let mut with: Vec<String> = Vec::new();
        with.extend(event.sku.as_ref().map(|t| format!("sku: {}", scalar(t))));
        with.extend(event.category.as_ref().map(|t| format!("category: {}", scalar(t))));
        with.extend(event.amount.map(|n| format!("amount: {}", self.money(n))));
        with.extend(event.score.map(|r| format!("score: {r}")));
        with.extend(members(Some(&event.properties)));
        if !with.is_empty() {
            let _ = write!(out, ", with: {{ {} }}", with.join(", "));
        }
        out
    }

    fn money(&self, minor: i64) -> String {
        money::plain(minor, &self.settings.currency)
    }

    /// The local time where that says it exactly.
    fn instant(&self, at: Millis) -> String {
        let zone = &self.settings.time_zone;
        let local = clock::readable(at, zone).replace(' ', "T");
        if clock::parse_instant(&local, zone) == Some(at) { local } else { clock::timestamp(at).to_string() }
    }
}

fn asked_percentiles<'l>(leaves: &[&'l Leaf]) -> BTreeSet<&'l str> {
    let of = |l: &&'l Leaf| if let Leaf::Percentile { field, .. } = l { Some(field.sql) } else { None };
    leaves.iter().filter_map(of).collect()
}

/// The members of a JSON object, without its braces; `None` when it has none.
fn members(object: Option<&str>) -> Option<String> {
    let members: serde_json::Map<String, Value> = serde_json::from_str(object?).ok()?;
    let texts: Vec<String> = members.iter().map(|(k, v)| format!("{}: {}", scalar(k), json(v))).collect();
    (!texts.is_empty()).then(|| texts.join(", "))
}

/// A JSON value in YAML's flow style.
fn json(value: &Value) -> String {
    match value {
        Value::String(text) => scalar(text),
        Value::Array(list) => format!("[{}]", list.iter().map(json).collect::<Vec<_>>().join(", ")),
        other => other.to_string(),
    }
}

/// A text that YAML reads as this text: plain where it is a word, quoted otherwise.
fn scalar(text: &str) -> String {
    const MEANS_SOMETHING: [&str; 10] = ["true", "false", "yes", "no", "on", "off", "null", "y", "n", "nan"];
    let is_word = text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "._-@/".contains(c))
        && !MEANS_SOMETHING.contains(&text.to_ascii_lowercase().as_str());
    if is_word { text.to_owned() } else { Value::from(text).to_string() }
}
