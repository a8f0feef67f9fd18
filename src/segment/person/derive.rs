//! What the profile says of a person, from their rows, for people who stand in no database: by the rules of the statement that computes
//! profiles.

use std::collections::{BTreeMap, HashMap};

use jiff::tz::TimeZone;

use super::{EventRow, OrderRow, Person, Rows};
use crate::clock::Millis;
use crate::profile::{OrderFact, Status, facts_of_orders, is_rating};

impl Person {
    /// Set the facts to what orders, lines and events say. Nothing is known afterwards that does not stand in the rows.
    pub(in crate::segment) fn derive(&mut self, zone: &TimeZone) {
        let order = |o: &OrderRow| OrderFact { at: o.at, total: o.total, status: Status::of(&o.status) };
        let mut facts = facts_of_orders(self.rows.orders.iter().map(order).collect(), zone);
        let events = &self.rows.events;
        let viewed = events.iter().filter(|e| e.name == "product.viewed" && e.sku.is_some());
        let viewed = viewed.max_by(|a, b| (a.at, &a.sku).cmp(&(b.at, &b.sku)));
        let rated = events.iter().filter(|e| is_rating(&e.name) && e.score.is_some()).max_by_key(|e| e.at);
        facts.last_event_at = events.iter().map(|e| e.at).max();
        facts.last_viewed_at = viewed.map(|e| e.at);
        facts.last_viewed_sku = viewed.and_then(|e| e.sku.clone());
        facts.last_rating = rated.and_then(|e| e.score);
        facts.last_rating_at = rated.map(|e| e.at);
        facts.open_tickets = open_tickets(events);
        facts.top_category = top_category(&self.rows);
        self.facts = facts;
    }
}

/// The category most was spent on; of equal ones the first by name.
fn top_category(rows: &Rows) -> Option<String> {
    let mut spent: BTreeMap<&str, i64> = BTreeMap::new();
    for line in rows.lines.iter().filter(|l| l.is_counted()) {
        if let Some(category) = &line.category {
            *spent.entry(category).or_default() += line.amount;
        }
    }
    let bought = spent.into_iter().filter(|(_, amount)| *amount > 0);
    bought.min_by_key(|(category, amount)| (std::cmp::Reverse(*amount), *category)).map(|(c, _)| c.to_owned())
}

/// With a `ticket_id` a ticket is open unless its latest event closed it; without one, as many as were opened and not closed.
fn open_tickets(events: &[EventRow]) -> i64 {
    let mut without_id = 0;
    let mut latest: HashMap<String, (Millis, bool)> = HashMap::new();
    for event in events {
        let closes = event.name == "ticket.closed";
        if !closes && event.name != "ticket.opened" {
            continue;
        }
        let properties: Option<serde_json::Value> = serde_json::from_str(&event.properties).ok();
        let id = properties.as_ref().and_then(|p| p.get("ticket_id")).filter(|id| id.is_string() || id.is_number());
        match id {
            Some(id) => {
                let now = latest.entry(id.to_string()).or_insert((event.at, closes));
                *now = (*now).max((event.at, closes));
            }
            None => without_id += if closes { -1 } else { 1 },
        }
    }
    without_id.max(0) + latest.values().filter(|(_, closed)| !closed).count() as i64
}
