//! A synthetic shop: every customer with all they did, as a pure function of the seed, the customer's number and the instant.
//!
//! The shape is that of a shop of everyday things: a third buys once, a few dozens of times; people buy mostly in one category of their own;
//! both orders and events lie denser in the recent past. Nothing here knows a database. Units: minor units, epoch milliseconds.

use okaeri::clock::{DAY, HOUR, MINUTE, Millis};
use okaeri::db::bucket_of;

use super::random::Random;

pub const CATEGORIES: [&str; 12] = [
    "coffee",
    "tea",
    "chocolate",
    "kitchen",
    "garden",
    "plants",
    "books",
    "toys",
    "lamps",
    "textiles",
    "stationery",
    "outdoor",
];
/// Articles; the n-th is of category n modulo the number of categories.
pub const SKUS: usize = 2_000;
/// Names of events; the n-th has the number n + 1.
pub const EVENT_NAMES: [&str; 8] = [
    "product.viewed",
    "cart.updated",
    "search.made",
    "ticket.opened",
    "ticket.closed",
    "survey.nps",
    "order.refunded",
    "reward.given",
];
const VIEWED: i64 = 1;
const CART: i64 = 2;
const SEARCHED: i64 = 3;
const OPENED: i64 = 4;
const CLOSED: i64 = 5;
const SURVEY: i64 = 6;
const REFUNDED: i64 = 7;
const REWARDED: i64 = 8;
/// Campaigns whose letters some people received, each of the one step `letter`.
pub const CAMPAIGNS: [&str; 3] = ["win-back", "digest", "letter"];

const SEED: u64 = 0x6f6b_6165_7269;
/// How long the shop exists.
const AGE: Millis = 1_460 * DAY;
/// How far back events are known.
const EVENTS_SINCE: Millis = 1_095 * DAY;
const FIRST_NAMES: [&str; 10] = ["Anna", "Ben", "Chloé", "Dmitri", "Elif", "美佳", "健太", "Søren", "Zoë", "Liam"];
const COUNTRIES: [(&str, &str); 6] =
    [("DE", "de"), ("DE", "de"), ("FR", "fr"), ("GB", "en"), ("US", "en"), ("JP", "ja")];

/// The shop at an instant.
#[derive(Debug, Clone, Copy)]
pub struct Shop {
    pub customers: usize,
    pub now: Millis,
}

/// A customer and all that is known of them. Orders and events are in the order of time.
pub struct Person {
    pub id: String,
    pub bucket: i64,
    pub address: String,
    pub first_name: &'static str,
    pub country: &'static str,
    pub locale: &'static str,
    pub attributes: String,
    pub first_seen_at: Millis,
    /// Topic, granted.
    pub consents: Vec<(&'static str, bool)>,
    pub orders: Vec<Order>,
    pub events: Vec<Event>,
    pub messages: Vec<Message>,
}

pub struct Order {
    pub id: String,
    pub at: Millis,
    pub total: i64,
    pub status: &'static str,
    pub lines: Vec<Line>,
}

pub struct Line {
    pub sku: usize,
    pub quantity: i64,
    pub amount: i64,
}

pub struct Event {
    pub at: Millis,
    pub name_id: i64,
    pub sku: Option<usize>,
    pub amount: Option<i64>,
    pub score: Option<f64>,
    /// JSON object.
    pub properties: String,
}

pub struct Message {
    pub campaign: &'static str,
    pub slot: String,
    pub state: &'static str,
    pub at: Millis,
}

/// The category of an article.
pub fn category(sku: usize) -> &'static str {
    CATEGORIES[sku % CATEGORIES.len()]
}

/// The name of an article.
pub fn sku_name(sku: usize) -> String {
    format!("sku-{sku:04}")
}

/// What an article costs: most a few, some a few hundred.
pub fn price(sku: usize) -> i64 {
    let place = Random::stream(SEED, sku as u64).unit();
    300 + (20_000.0 * place.powi(4)) as i64 + 40 * (sku as i64 % 50)
}

impl Shop {
    /// The customers' numbers in the order of their keys: by bucket, then id.
    pub fn in_key_order(&self) -> Vec<u32> {
        let mut all: Vec<(i64, u32)> = (0..self.customers as u32).map(|n| (bucket_of(&customer_id(n)), n)).collect();
        all.sort_unstable();
        all.into_iter().map(|(_, n)| n).collect()
    }

    /// A customer at the beginning.
    pub fn person(&self, n: u32) -> Person {
        let mut random = Random::stream(SEED, 1 << 32 | u64::from(n));
        let id = customer_id(n);
        let (country, locale) = random.of(&COUNTRIES);
        let favourite = random.below(CATEGORIES.len());
        let orders = self.orders(&id, favourite, &mut random);
        let events = self.events(favourite, &orders, &mut random);
        let seen = orders.first().map(|o| o.at).into_iter().chain(events.first().map(|e| e.at)).min();
        Person {
            bucket: bucket_of(&id),
            address: format!("{id}@d{}.example.com", n % 200),
            first_name: random.of(&FIRST_NAMES),
            country,
            locale,
            attributes: attributes(&mut random),
            first_seen_at: seen.unwrap_or(self.now - random.millis(AGE)),
            consents: consents(&mut random),
            messages: self.messages(&mut random),
            orders,
            events,
            id,
        }
    }

    /// What a customer did within the last hour: three views and an order.
    pub fn return_of(&self, n: u32) -> Person {
        let mut random = Random::stream(SEED, 2 << 32 | u64::from(n));
        let mut person = self.person(n);
        let at = self.now - random.millis(HOUR / 2);
        let favourite = random.below(CATEGORIES.len());
        person.orders = vec![order(format!("{}-again", person.id), at, favourite, &mut random)];
        person.messages = Vec::new();
        person.events = (1..=3).rev().map(|k| viewed(at - k * MINUTE, favourite, &mut random)).collect();
        person
    }

    fn orders(&self, id: &str, favourite: usize, random: &mut Random) -> Vec<Order> {
        let count = match random.below(100) {
            0..15 => 0,
            15..50 => 1,
            50..66 => 2,
            66..87 => 3 + random.below(5),
            87..97 => 8 + random.below(13),
            _ => 21 + random.below(20),
        };
        // From the first to the last in even steps, each somewhere within its step: people have a rhythm of their own.
        let first = AGE as f64 * random.unit().powf(1.3);
        let last = if count > 1 { first * random.unit().powf(1.3) } else { first };
        let step = (first - last) / count.max(2) as f64;
        let mut orders: Vec<Order> = (0..count)
            .map(|k| {
                let age = first - step * (k as f64 + random.unit());
                order(format!("{id}-{k}"), self.now - age as Millis, favourite, random)
            })
            .collect();
        orders.sort_by_key(|o| o.at);
        orders
    }

    fn events(&self, favourite: usize, orders: &[Order], random: &mut Random) -> Vec<Event> {
        let count = match random.below(100) {
            0..30 => random.below(3),
            30..80 => 3 + random.below(9),
            _ => 10 + random.below(25),
        };
        let mut events = Vec::with_capacity(count + orders.len());
        for _ in 0..count {
            // As a shop grows evenly from nothing: today sees twice the average day's events.
            let age = EVENTS_SINCE as f64 * (1.0 - (1.0 - random.unit()).sqrt());
            let at = self.now - age as Millis;
            self.event(at, favourite, random, &mut events);
        }
        for order in orders.iter().filter(|o| o.at >= self.now - EVENTS_SINCE) {
            if random.below(2) == 0 {
                let sku = order.lines[0].sku;
                events.push(cart(order.at - random.millis(2 * HOUR), sku, order.total));
            }
        }
        events.sort_by_key(|e| e.at);
        events
    }

    fn event(&self, at: Millis, favourite: usize, random: &mut Random, events: &mut Vec<Event>) {
        let plain = |name_id, properties| Event { at, name_id, sku: None, amount: None, score: None, properties };
        let event = match random.below(1_000) {
            0..690 => viewed(at, favourite, random),
            690..780 => {
                let sku = article(favourite, random);
                cart(at, sku, price(sku))
            }
            780..920 => plain(SEARCHED, format!("{{\"term\":\"{}\"}}", random.of(&CATEGORIES))),
            920..950 => {
                let ticket = format!("T{:x}", random.bits() >> 24);
                let closed_at = at + random.millis(3 * DAY);
                if random.below(100) < 85 && closed_at < self.now {
                    let rating = 1 + random.below(5);
                    let properties = format!("{{\"ticket_id\":\"{ticket}\",\"rating\":{rating}}}");
                    let event = plain(CLOSED, properties);
                    events.push(Event { at: closed_at, score: Some(rating as f64), ..event });
                }
                plain(OPENED, format!("{{\"ticket_id\":\"{ticket}\",\"channel\":\"mail\"}}"))
            }
            950..975 => {
                let score = random.below(11);
                Event { score: Some(score as f64), ..plain(SURVEY, format!("{{\"score\":{score}}}")) }
            }
            975..988 => {
                let amount = 100 * (5 + random.below(60)) as i64;
                let reason = random.of(&["damaged", "late", "wrong_item", "not_liked", "too_small"]);
                let properties = format!("{{\"amount\":{},\"reason\":\"{reason}\"}}", amount / 100);
                Event { amount: Some(amount), ..plain(REFUNDED, properties) }
            }
            _ => {
                let programme = random.of(&["recovery", "birthday", "loyalty"]);
                plain(REWARDED, format!("{{\"programme\":\"{programme}\"}}"))
            }
        };
        events.push(event);
    }

    fn messages(&self, random: &mut Random) -> Vec<Message> {
        let count = if random.below(100) < 20 { 1 + random.below(2) } else { 0 };
        (0..count)
            .map(|k| Message {
                campaign: random.of(&CAMPAIGNS),
                slot: format!("slot {k}"),
                state: match random.below(1_000) {
                    0..960 => "accepted",
                    960..980 => "failed",
                    980..982 => "unknown",
                    _ => "withheld",
                },
                at: self.now - random.millis(180 * DAY),
            })
            .collect()
    }
}

fn customer_id(n: u32) -> String {
    format!("c{n:07}")
}

fn attributes(random: &mut Random) -> String {
    let account = random.of(&["private", "private", "private", "business", "staff"]);
    let points = random.below(2_000);
    let tags = random.of(&["", "\"early\"", "\"vip\"", "\"early\",\"vip\"", "\"gift\""]);
    format!("{{\"account\":\"{account}\",\"points\":{points},\"tags\":[{tags}]}}")
}

fn consents(random: &mut Random) -> Vec<(&'static str, bool)> {
    let mut consents = Vec::new();
    if random.below(100) < 80 {
        consents.push(("offers", random.below(100) < 90));
    }
    if random.below(100) < 45 {
        consents.push(("news", random.below(100) < 90));
    }
    consents.sort_unstable();
    consents
}

/// An article; two in three from the person's favourite category.
fn article(favourite: usize, random: &mut Random) -> usize {
    let any = random.below(SKUS);
    match random.below(3) {
        0 => any,
        _ => (any - any % CATEGORIES.len() + favourite) % SKUS,
    }
}

fn order(id: String, at: Millis, favourite: usize, random: &mut Random) -> Order {
    let lines: Vec<Line> = (0..1 + random.below(4))
        .map(|_| {
            let sku = article(favourite, random);
            let quantity = [1, 1, 1, 1, 1, 1, 2, 2, 3, 6][random.below(10)];
            Line { sku, quantity, amount: quantity * price(sku) }
        })
        .collect();
    let status = match random.below(100) {
        0..3 => "returned",
        3 => "cancelled",
        _ => "placed",
    };
    Order { id, at, total: lines.iter().map(|l| l.amount).sum(), status, lines }
}

fn viewed(at: Millis, favourite: usize, random: &mut Random) -> Event {
    let sku = article(favourite, random);
    let device = random.of(&["phone", "phone", "desktop", "tablet"]);
    let source = random.of(&["mail", "search", "direct", "social"]);
    let properties = format!("{{\"sku\":\"{}\",\"device\":\"{device}\",\"source\":\"{source}\"}}", sku_name(sku));
    Event { at, name_id: VIEWED, sku: Some(sku), amount: None, score: None, properties }
}

fn cart(at: Millis, sku: usize, amount: i64) -> Event {
    let properties = format!("{{\"sku\":\"{}\",\"amount\":{}.{:02}}}", sku_name(sku), amount / 100, amount % 100);
    Event { at, name_id: CART, sku: Some(sku), amount: Some(amount), score: None, properties }
}
