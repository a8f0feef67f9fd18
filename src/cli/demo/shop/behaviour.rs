//! What people did besides buying, in the last ninety days: looked at things, filled baskets, joined the letter, asked for help, told us what they
//! think.
//!
//! All invented. People who bought lately look around more; tickets follow orders.

use jiff::ToSpan;
use jiff::civil::Date;
use serde_json::{Value, json};

use super::Customer;
use super::chance::{Chance, For};
use super::purchases::Moment;
use super::shelf::{self, Product};

/// One line of events.jsonl, without its id.
pub(super) struct Event {
    pub(super) at: Moment,
    /// Place of the customer in the list.
    pub(super) customer: usize,
    pub(super) name: &'static str,
    pub(super) properties: Value,
}

/// How far back visits, tickets and surveys go.
const WINDOW_DAYS: i64 = 90;

/// Everything that happened before `today`, in order.
pub(super) fn events(customers: &[Customer], shelf: &[Product], today: Date) -> Vec<Event> {
    let mut events = Vec::new();
    for (place, customer) in customers.iter().enumerate() {
        let mut log = Log { customer: place, today, events: &mut events };
        log.joined(customer);
        log.visits(customer, shelf);
        log.cart(customer, shelf);
        log.ticket(customer);
        log.review(customer, shelf);
        log.survey(customer);
    }
    events.sort_by_key(|e| (e.at, e.customer));
    events
}

/// Writes down what one customer did.
struct Log<'a> {
    customer: usize,
    today: Date,
    events: &'a mut Vec<Event>,
}

impl Log<'_> {
    fn add(&mut self, days_ago: i64, name: &'static str, properties: Value, chance: &mut Chance) {
        let at = Moment::some_time_on(self.today.saturating_sub(days_ago.max(1).days()), chance);
        self.events.push(Event { at, customer: self.customer, name, properties });
    }

    fn joined(&mut self, customer: &Customer) {
        let days_ago = self.days_since(customer.joined_on);
        if days_ago <= WINDOW_DAYS {
            let mut chance = Chance::stream(For::Visits, customer.number << 1 | 1);
            self.add(days_ago, "newsletter.joined", json!({ "source": "website" }), &mut chance);
        }
    }

    fn visits(&mut self, customer: &Customer, shelf: &[Product]) {
        let mut chance = Chance::stream(For::Visits, customer.number << 1);
        let visits = match customer.last_order.map(|day| self.days_since(day)) {
            Some(0..=120) => chance.between(2, 9),
            Some(121..=240) if chance.percent(55) => chance.between(1, 6),
            Some(_) if chance.percent(20) => chance.between(1, 4),
            Some(_) => 0,
            None => chance.between(1, 5),
        };
        let window = WINDOW_DAYS.min(self.days_since(customer.joined_on).max(1));
        for _ in 0..visits {
            let category = shelf::category(customer.favourite, &mut chance);
            let in_category: Vec<&Product> = shelf.iter().filter(|p| p.category == category).collect();
            let seen = chance.one_of(&in_category);
            let days_ago = chance.between(1, window);
            let properties = json!({ "sku": seen.sku, "category": seen.category, "url": seen.url });
            self.add(days_ago, "product.viewed", properties, &mut chance);
        }
    }

    /// Yesterday one in sixteen of the livelier customers, and one in four who only looked so far, left something in the basket.
    fn cart(&mut self, customer: &Customer, shelf: &[Product]) {
        let mut chance = Chance::stream(For::Carts, customer.number);
        let percent = match customer.last_order.map(|day| self.days_since(day)) {
            Some(0..=1) => return,
            Some(2..=240) => 6,
            Some(_) => 1,
            None => 25,
        };
        if !chance.percent(percent) {
            return;
        }
        let skus: Vec<&str> = (0..chance.between(1, 3))
            .map(|_| {
                let category = shelf::category(customer.favourite, &mut chance);
                let in_category: Vec<&Product> = shelf.iter().filter(|p| p.category == category).collect();
                chance.one_of(&in_category).sku.as_str()
            })
            .collect();
        self.add(1, "cart.updated", json!({ "skus": skus }), &mut chance);
    }

    /// One in ten of those whose last order is a while ago wrote what they think of something.
    fn review(&mut self, customer: &Customer, shelf: &[Product]) {
        let mut chance = Chance::stream(For::Reviews, customer.number);
        let Some(since) = customer.last_order.map(|day| self.days_since(day)) else { return };
        if (20..=WINDOW_DAYS).contains(&since) && chance.percent(10) {
            let sku = &chance.one_of(shelf).sku;
            let rating = [1, 2, 3, 4, 5][chance.weighted(&[3, 5, 12, 30, 50])];
            let days_ago = chance.between(1, since - 14);
            self.add(days_ago, "review.given", json!({ "sku": sku, "rating": rating }), &mut chance);
        }
    }

    /// One in ten of those who bought in the last two hundred days asked for help; a quarter of them still waits.
    fn ticket(&mut self, customer: &Customer) {
        let mut chance = Chance::stream(For::Tickets, customer.number);
        let Some(since) = customer.last_order.map(|day| self.days_since(day)) else { return };
        if since > 200 || !chance.percent(10) {
            return;
        }
        let opened = chance.between(1, since.min(30));
        let ticket = format!("Q{:05}", customer.number);
        let about = chance.one_of(&["late parcel", "damaged", "wrong item", "question"]);
        self.add(opened, "ticket.opened", json!({ "ticket_id": ticket, "about": about }), &mut chance);
        if opened == 1 || chance.percent(25) {
            return;
        }
        let closed = (opened - chance.between(1, 8)).max(1);
        let rating = [1, 2, 3, 4, 5][chance.weighted(&[12, 14, 14, 25, 35])];
        self.add(closed, "ticket.closed", json!({ "ticket_id": ticket, "rating": rating }), &mut chance);
    }

    /// One in twelve recent buyers answered "would you recommend us?", 0 to 10.
    fn survey(&mut self, customer: &Customer) {
        let mut chance = Chance::stream(For::Surveys, customer.number);
        let Some(since) = customer.last_order.map(|day| self.days_since(day)) else { return };
        if (8..=WINDOW_DAYS).contains(&since) && chance.percent(8) {
            let score = chance.weighted(&[1, 1, 1, 2, 2, 4, 6, 12, 22, 26, 23]);
            let days_ago = chance.between(1, since - 6);
            self.add(days_ago, "survey.nps", json!({ "score": score }), &mut chance);
        }
    }

    fn days_since(&self, day: Date) -> i64 {
        i64::from((self.today - day).get_days())
    }
}
