//! The sample shop: Tomoshibi, music and small things for home.
//!
//! What is real: the purchases, which are those of the CDNOW 1/10 sample (2,357 customers, 6,919 purchases, January 1997 to June 1998;
//! Fader & Hardie 2001): who bought when, how many pieces, for how much. Their days are all moved by the same number, so that the last
//! one is yesterday.
//!
//! What is invented, from a fixed seed: everybody's name, address (all at example.com, example.net and example.org), language, home and
//! consent; the products and which of them an order held; times of day; visits, baskets, tickets, reviews and surveys; and beyond the sample a few dozen
//! newcomers, people who only signed up, and three of the staff, because the sample has nobody in the first month.
//!
//! The same `today` gives the same bytes; another day moves every date and changes nothing else. Money is in cents inside and in dollars
//! (`29.33`) in the files; the files have the columns that `okaeri import` expects without a mapping.
//!
//! Read on: `purchases` (the facts), `shelf`, `people`, `behaviour` (the inventions), `chance` (the seed).

mod behaviour;
mod chance;
mod people;
mod purchases;
mod shelf;

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::Path;

use jiff::ToSpan;
use jiff::civil::Date;
use serde_json::json;

use behaviour::Event;
use chance::{Chance, For};
use people::Person;
use purchases::{CDNOW_CUSTOMERS, NEWCOMERS, Purchase};
use shelf::Product;

/// How much [`write_shop`] wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShopTotals {
    /// Everybody in customers.csv.
    pub customers: usize,
    /// Those of them who are customers of the CDNOW sample.
    pub cdnow_customers: usize,
    /// Everything in orders.csv.
    pub orders: usize,
    /// Those of them that are purchases of the CDNOW sample.
    pub cdnow_orders: usize,
    pub lines: usize,
    pub products: usize,
    pub events: usize,
}

/// Invented people who signed up in the last month and have not bought yet.
const LEADS: usize = 24;
/// Invented people who work in the shop, and buy nothing.
const STAFF: usize = 3;

/// A row of customers.csv and what the inventions need to know about it.
struct Customer {
    /// Counts from 1: the sample's customers, then newcomers, leads, staff.
    number: usize,
    id: String,
    person: Person,
    favourite: &'static str,
    joined_on: Date,
    last_order: Option<Date>,
}

/// Writes products.csv, customers.csv, orders.csv, lines.csv and events.jsonl into `dir`, which is made if it is not there; files of these
/// names are replaced. Nothing in them lies on `today` or later. `today` is the day in the shop's zone, Asia/Tokyo.
///
/// # Errors
/// When the folder or a file cannot be written.
pub fn write_shop(dir: &Path, today: Date) -> io::Result<ShopTotals> {
    fs::create_dir_all(dir)?;
    let shelf = shelf::shelf();
    let purchases = purchases::purchases(today)?;
    let customers = customers(&purchases, today);
    let events = behaviour::events(&customers, &shelf, today);
    write_products(&dir.join("products.csv"), &shelf)?;
    write_customers(&dir.join("customers.csv"), &customers)?;
    write_orders(&dir.join("orders.csv"), &purchases, &customers)?;
    let lines = write_lines(&dir.join("lines.csv"), &purchases, &customers, &shelf)?;
    write_events(&dir.join("events.jsonl"), &events, &customers)?;
    Ok(ShopTotals {
        customers: customers.len(),
        cdnow_customers: CDNOW_CUSTOMERS,
        orders: purchases.len(),
        cdnow_orders: purchases.iter().filter(|p| p.customer <= CDNOW_CUSTOMERS).count(),
        lines,
        products: shelf.len(),
        events: events.len(),
    })
}

fn customers(purchases: &[Purchase], today: Date) -> Vec<Customer> {
    let mut ordered: Vec<Option<(Date, Date)>> = vec![None; CDNOW_CUSTOMERS + NEWCOMERS + LEADS + STAFF];
    for purchase in purchases {
        let day = purchase.at.date;
        let first_and_last = &mut ordered[purchase.customer - 1];
        *first_and_last = Some((first_and_last.map_or(day, |(first, _)| first), day));
    }
    ordered
        .into_iter()
        .enumerate()
        .map(|(place, first_and_last)| {
            let number = place + 1;
            let mut chance = Chance::stream(For::Person, number);
            let mut person = people::person(number, &mut chance);
            let favourite = shelf::CATEGORIES[chance.weighted(&shelf::CATEGORIES.map(|(_, weight)| weight))].0;
            let joined_on = match first_and_last {
                Some((first, _)) => first.saturating_sub(chance.between(0, 2).days()),
                None => today.saturating_sub(chance.between(2, 27).days()),
            };
            if is_staff(number) || is_lead(number) {
                person.consent = "news;offers"; // signing up is all that a lead did
            }
            let id = format!("T{number:04}");
            Customer { number, id, person, favourite, joined_on, last_order: first_and_last.map(|(_, last)| last) }
        })
        .collect()
}

fn is_lead(number: usize) -> bool {
    number > CDNOW_CUSTOMERS + NEWCOMERS && !is_staff(number)
}

fn is_staff(number: usize) -> bool {
    number > CDNOW_CUSTOMERS + NEWCOMERS + LEADS
}

/// `A00001` for the first order of all.
fn order_id(place: usize) -> String {
    format!("A{:05}", place + 1)
}

/// Cents as dollars, `29.33`.
fn dollars(cents: i64) -> String {
    format!("{}.{:02}", cents / 100, cents % 100)
}

fn write_products(file: &Path, shelf: &[Product]) -> io::Result<()> {
    let mut out = csv::Writer::from_path(file)?;
    out.write_record(["sku", "name", "category", "price", "url", "image_url"])?;
    for p in shelf {
        out.write_record([&p.sku, p.name, p.category, &dollars(p.price), &p.url, ""])?;
    }
    out.flush()
}

fn write_customers(file: &Path, customers: &[Customer]) -> io::Result<()> {
    let mut out = csv::Writer::from_path(file)?;
    out.write_record([
        "customer_id",
        "email",
        "first_name",
        "last_name",
        "locale",
        "time_zone",
        "country",
        "consent",
        "account",
        "joined_on",
    ])?;
    for c in customers {
        let p = &c.person;
        let account = if is_staff(c.number) { "staff" } else { "personal" };
        let joined_on = c.joined_on.to_string();
        out.write_record([
            c.id.as_str(),
            &p.email,
            p.first_name,
            p.last_name,
            p.locale,
            p.time_zone,
            p.country,
            p.consent,
            account,
            &joined_on,
        ])?;
    }
    out.flush()
}

fn write_orders(file: &Path, purchases: &[Purchase], customers: &[Customer]) -> io::Result<()> {
    let mut out = csv::Writer::from_path(file)?;
    out.write_record(["order_id", "customer_id", "ordered_at", "total", "currency", "status"])?;
    for (place, p) in purchases.iter().enumerate() {
        let id = &customers[p.customer - 1].id;
        out.write_record([&order_id(place), id, &p.at.to_string(), &dollars(p.amount), "USD", "paid"])?;
    }
    out.flush()
}

fn write_lines(file: &Path, purchases: &[Purchase], customers: &[Customer], shelf: &[Product]) -> io::Result<usize> {
    let mut out = csv::Writer::from_path(file)?;
    out.write_record(["order_id", "line_no", "sku", "quantity", "amount"])?;
    let mut written = 0;
    for (place, p) in purchases.iter().enumerate() {
        let mut chance = Chance::stream(For::Order, p.customer << 32 | place);
        let favourite = customers[p.customer - 1].favourite;
        let lines = shelf::lay_out(shelf, favourite, p.units, p.amount, &mut chance);
        for (line_no, line) in lines.iter().enumerate() {
            let sku = &shelf[line.product].sku;
            let (line_no, quantity) = ((line_no + 1).to_string(), line.quantity.to_string());
            out.write_record([&order_id(place), &line_no, sku, &quantity, &dollars(line.amount)])?;
        }
        written += lines.len();
    }
    out.flush()?;
    Ok(written)
}

fn write_events(file: &Path, events: &[Event], customers: &[Customer]) -> io::Result<()> {
    let mut out = BufWriter::new(File::create(file)?);
    for (place, event) in events.iter().enumerate() {
        let line = json!({
            "event_id": format!("E{:05}", place + 1),
            "customer_id": customers[event.customer].id,
            "name": event.name,
            "at": event.at.to_string(),
            "properties": event.properties,
        });
        writeln!(out, "{line}")?;
    }
    out.flush()
}

#[cfg(test)]
mod tests;
