//! What the customers of a slice did, gathered from the rows of four tables as they pass, and the facts of each of them in the end.
//!
//! Memory follows the slice: an order takes 40 bytes, a line 16, an event nothing unless it opens or closes a ticket.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};

use super::Facts;
use super::derive::{Deriver, OrderFact, Status, TicketEvent, affinity, open_tickets};
use super::refresh_sql::EventNames;
use super::roll::Roll;
use crate::clock::Millis;
use crate::db::{Cells, DbResult};

/// The customers of a slice.
pub(super) struct Gathered<'n> {
    names: &'n EventNames,
    people: Roll<Person>,
    /// Categories by number, and their numbers.
    categories: Vec<String>,
    category: HashMap<String, u32>,
    hasher: RandomState,
}

/// One of them, and what has passed so far.
#[derive(Default)]
struct Person {
    bucket: i64,
    orders: Vec<Order>,
    /// Whether `orders` stand in their order.
    is_sorted: bool,
    /// Category and amount of lines in counted orders.
    bought: Vec<(u32, i64)>,
    tickets: Vec<TicketEvent>,
    last_event_at: Option<Millis>,
    viewed: Option<(Millis, String)>,
    rated: Option<(Millis, f64)>,
}

#[derive(Clone, Copy)]
struct Order {
    fact: OrderFact,
    /// A hash of its id: lines name their order by instant and id.
    id: u64,
}

impl<'n> Gathered<'n> {
    pub fn new(names: &'n EventNames) -> Gathered<'n> {
        Gathered {
            names,
            people: Roll::new(),
            categories: Vec::new(),
            category: HashMap::new(),
            hasher: RandomState::new(),
        }
    }

    /// A row of [`customers`](super::refresh_sql::customers).
    pub fn customer(&mut self, row: Cells) -> DbResult<()> {
        let person = Person { bucket: int(row, 0)?, is_sorted: true, ..Person::default() };
        self.people.add(text(row, 1)?, person);
        Ok(())
    }

    /// A row of [`orders`](super::refresh_sql::orders).
    pub fn order(&mut self, row: Cells) -> DbResult<()> {
        let id = self.hasher.hash_one(text(row, 2)?);
        let fact = OrderFact { at: int(row, 1)?, total: int(row, 3)?, status: Status::of(text(row, 4)?) };
        if let Some(person) = self.people.find(text(row, 0)?) {
            person.is_sorted &= person.orders.last().is_none_or(|o| o.fact.at <= fact.at);
            person.orders.push(Order { fact, id });
        }
        Ok(())
    }

    /// Between the orders and the lines.
    pub fn sort_orders(&mut self) {
        for (_, person) in self.people.people.iter_mut().filter(|(_, p)| !p.is_sorted) {
            person.orders.sort_by_key(|o| o.fact.at);
        }
    }

    /// A row of [`lines`](super::refresh_sql::lines).
    pub fn line(&mut self, row: Cells) -> DbResult<()> {
        let (at, id) = (int(row, 1)?, self.hasher.hash_one(text(row, 2)?));
        let category = self.category(text(row, 3)?);
        let amount = int(row, 4)?;
        if let Some(person) = self.people.find(text(row, 0)?)
            && person.has_counted(at, id)
        {
            person.bought.push((category, amount));
        }
        Ok(())
    }

    /// A row of [`events`](super::refresh_sql::events).
    pub fn event(&mut self, row: Cells) -> DbResult<()> {
        let (at, name) = (int(row, 1)?, int(row, 2)?);
        let names = self.names;
        let Some(person) = self.people.find(text(row, 0)?) else { return Ok(()) };
        person.last_event_at = person.last_event_at.max(Some(at));
        // Of two at the same instant the greater wins, so that the outcome does not depend on the order of rows.
        if names.viewed == Some(name)
            && person.viewed.as_ref().is_none_or(|v| v.0 <= at)
            && let Some(sku) = row.text(3)?
            && person.viewed.as_ref().is_none_or(|v| (v.0, &*v.1) < (at, sku))
        {
            person.viewed = Some((at, sku.to_owned()));
        }
        if names.rated.contains(&name)
            && let Some(score) = row.real(4)?
            && person.rated.is_none_or(|r| r.0 < at || (r.0 == at && r.1 < score))
        {
            person.rated = Some((at, score));
        }
        let is_closed = names.ticket_closed == Some(name);
        if is_closed || names.ticket_opened == Some(name) {
            person.tickets.push(TicketEvent { ticket: row.text(5)?.map(str::to_owned), at, is_closed });
        }
        Ok(())
    }

    /// Everybody's facts.
    pub fn facts(self, deriver: &mut Deriver) -> impl Iterator<Item = Facts> {
        let categories = self.categories;
        let (mut orders, mut last_bought) = (Vec::new(), Vec::new());
        self.people.people.into_iter().map(move |(customer_id, mut person)| {
            orders.clear();
            orders.extend(person.orders.iter().map(|o| o.fact));
            last_bought.clear();
            last_bought.append(&mut person.bought);
            let mut bought: Vec<(&str, i64)> =
                last_bought.iter().map(|(category, amount)| (&*categories[*category as usize], *amount)).collect();
            let (top_category, affinity) = affinity(&mut bought).map(|(top, shares)| (top.to_owned(), shares)).unzip();
            let (last_viewed_at, last_viewed_sku) = person.viewed.unzip();
            let (last_rating_at, last_rating) = person.rated.unzip();
            Facts {
                bucket: person.bucket,
                customer_id,
                top_category,
                affinity,
                last_viewed_at,
                last_viewed_sku,
                last_rating,
                last_rating_at,
                last_event_at: person.last_event_at,
                open_tickets: open_tickets(&mut person.tickets),
                ..deriver.orders(&orders)
            }
        })
    }

    fn category(&mut self, name: &str) -> u32 {
        if let Some(number) = self.category.get(name) {
            return *number;
        }
        let number = self.categories.len() as u32;
        self.categories.push(name.to_owned());
        self.category.insert(name.to_owned(), number);
        number
    }
}

impl Person {
    /// Whether there is such an order, and it counts.
    fn has_counted(&self, at: Millis, id: u64) -> bool {
        let first = self.orders.partition_point(|o| o.fact.at < at);
        let same = self.orders[first..].iter().take_while(|o| o.fact.at == at);
        same.into_iter().any(|o| o.id == id && o.fact.is_counted())
    }
}

/// A column that is never null.
fn int(row: Cells, n: usize) -> DbResult<i64> {
    Ok(row.int(n)?.unwrap_or_default())
}

fn text(row: Cells<'_>, n: usize) -> DbResult<&str> {
    Ok(row.text(n)?.unwrap_or_default())
}
