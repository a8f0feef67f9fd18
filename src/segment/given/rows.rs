//! What a described person did: orders with their lines, events, mail received and clicks, each a row.

use super::{Reader, TIMES_MAX};
use crate::clock::Millis;
use crate::problem::Problems;
use crate::segment::person::{ClickRow, EventRow, LineRow, MessageRow, OrderRow, Person};
use crate::yaml::{MapReader, Node, Shape};

impl Reader<'_> {
    /// Orders, events, mail and clicks.
    pub(super) fn rows(&self, m: &mut MapReader, person: &mut Person, problems: &mut Problems) {
        for key in ["orders", "events", "received", "clicked"] {
            let Some(node) = m.node(key) else { continue };
            let nodes: Vec<&Node> =
                if let Shape::List(list) = &node.shape { list.iter().collect() } else { vec![node] };
            for node in nodes {
                let Some(mut one) = node.map("one of these", problems) else { continue };
                match key {
                    "orders" => self.order(&mut one, person, problems),
                    "events" => self.event(&mut one, person, problems),
                    "received" => self.received(&mut one, person, problems),
                    _ => self.clicked(&mut one, person, problems),
                }
                one.finish(problems);
            }
        }
    }

    fn at(&self, m: &mut MapReader, problems: &mut Problems) -> Millis {
        match m.node("at") {
            Some(node) => self.instant(node, problems).unwrap_or(self.now),
            None if self.happens_now => self.now,
            None => {
                problems.error("missing-key", &m.place, "it needs `at`: when it was").hint("at: 3d ago");
                self.now
            }
        }
    }

    fn times(m: &mut MapReader, problems: &mut Problems) -> i64 {
        let Some(node) = m.node("times") else { return 1 };
        let times = node.read::<i64>("`times`", problems).unwrap_or(1);
        if !(1..=TIMES_MAX).contains(&times) {
            problems.error("out-of-range", &node.place, format!("`times` is 1 to {TIMES_MAX}, not {times}"));
        }
        times.clamp(1, TIMES_MAX)
    }

    /// `{ at: 40d ago, total: 50, status: placed, lines: [{ sku: OLIVE-1, category: plants, amount: 50 }] }`.
    fn order(&self, m: &mut MapReader, person: &mut Person, problems: &mut Problems) {
        let at = self.at(m, problems);
        let total = m.node("total").and_then(|n| self.money(n, "`total`", problems));
        let status =
            m.choice("status", &[("placed", "placed"), ("returned", "returned"), ("cancelled", "cancelled")], problems);
        let status = status.unwrap_or("placed").to_owned();
        let order_id = format!("o{}", person.rows.orders.len());
        let mut lines = Vec::new();
        if let Some(node) = m.node("lines") {
            let nodes: Vec<&Node> =
                if let Shape::List(list) = &node.shape { list.iter().collect() } else { vec![node] };
            for node in nodes {
                let Some(mut l) = node.map("an order line", problems) else { continue };
                let amount = l.node("amount").and_then(|n| self.money(n, "`amount`", problems)).unwrap_or(0);
                let line = LineRow {
                    at,
                    order_id: order_id.clone(),
                    sku: l.get::<String>("sku", problems).unwrap_or_default(),
                    category: l.get("category", problems),
                    quantity: l.get("quantity", problems).unwrap_or(1),
                    amount,
                    total: 0,
                    status: status.clone(),
                    product_name: l.get("name", problems),
                    product_price: l.node("price").and_then(|n| self.money(n, "`price`", problems)),
                    product_attributes: l.node("product").map(|n| n.to_json().to_string()),
                };
                l.finish(problems);
                lines.push(line);
            }
        }
        let total = total.unwrap_or_else(|| lines.iter().map(|l| l.amount).sum());
        let currency = m.get("currency", problems).unwrap_or_else(|| self.settings.currency.clone());
        for line in &mut lines {
            line.total = total;
        }
        person.rows.lines.extend(lines);
        person.rows.orders.push(OrderRow { at, total, currency, status });
    }

    /// `{ did: product.viewed, at: 3d ago, times: 3, with: { category: home } }`.
    fn event(&self, m: &mut MapReader, person: &mut Person, problems: &mut Problems) {
        let place = m.node("did").map_or_else(|| m.place.clone(), |n| n.place.clone());
        let Some(name) = m.require::<String>("did", problems) else { return };
        if let Some(contract) = &self.settings.contract
            && !contract.events.contains_key(&name)
        {
            problems
                .error("unknown-event", &place, format!("the contract has no event `{name}`"))
                .did_you_mean(&name, contract.events.keys().map(String::as_str).collect::<Vec<_>>());
        }
        let at = self.at(m, problems);
        let times = Reader::times(m, problems);
        let mut row =
            EventRow { at, name, sku: None, category: None, amount: None, score: None, properties: String::new() };
        let mut properties = serde_json::Map::new();
        if let Some(mut w) = m.map("with", "`with`", problems) {
            let rated = crate::profile::is_rating(&row.name);
            for pair in w.all() {
                match pair.key.as_str() {
                    "sku" => row.sku = pair.value.read("`sku`", problems),
                    "category" => row.category = pair.value.read("`category`", problems),
                    "amount" => row.amount = self.money(&pair.value, "`amount`", problems),
                    "score" | "rating" if rated => row.score = pair.value.read("a rating", problems),
                    _ => {
                        properties.insert(pair.key.clone(), pair.value.to_json());
                    }
                }
            }
        }
        row.properties = serde_json::Value::Object(properties).to_string();
        person.rows.events.extend(std::iter::repeat_n(row, times as usize));
    }

    /// `{ campaign: win-back, step: letter, at: 10d ago }`.
    fn received(&self, m: &mut MapReader, person: &mut Person, problems: &mut Problems) {
        let (campaign, step, at) = self.message(m, problems);
        person.rows.messages.push(MessageRow { at, campaign, step, state: "accepted".to_owned() });
    }

    fn clicked(&self, m: &mut MapReader, person: &mut Person, problems: &mut Problems) {
        let (campaign, step, at) = self.message(m, problems);
        person.rows.clicks.push(ClickRow { at, campaign, step });
    }

    fn message(&self, m: &mut MapReader, problems: &mut Problems) -> (String, String, Millis) {
        let campaign = m.require::<String>("campaign", problems).unwrap_or_default();
        let step = m.get::<String>("step", problems).unwrap_or_default();
        (campaign, step, self.at(m, problems))
    }
}
