//! What is promised of the files as a whole.

use std::collections::{BTreeMap, BTreeSet};

use jiff::civil::date;
use serde_json::Value;

use super::*;

const TODAY: Date = date(2026, 11, 24);

const FILES: [&str; 5] = ["products.csv", "customers.csv", "orders.csv", "lines.csv", "events.jsonl"];

fn shop(today: Date) -> (tempfile::TempDir, ShopTotals) {
    let dir = tempfile::tempdir().unwrap();
    let totals = write_shop(&dir.path().join("data"), today).unwrap();
    (dir, totals)
}

fn text(dir: &tempfile::TempDir, file: &str) -> String {
    fs::read_to_string(dir.path().join("data").join(file)).unwrap()
}

fn rows(dir: &tempfile::TempDir, file: &str) -> Vec<BTreeMap<String, String>> {
    csv::Reader::from_reader(text(dir, file).as_bytes()).deserialize().map(Result::unwrap).collect()
}

fn events(dir: &tempfile::TempDir) -> Vec<Value> {
    text(dir, "events.jsonl").lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn cents(dollars: &str) -> i64 {
    dollars.replace('.', "").parse().unwrap()
}

#[test]
fn the_same_day_gives_the_same_bytes() {
    let ((a, totals_a), (b, totals_b)) = (shop(TODAY), shop(TODAY));
    assert_eq!(totals_a, totals_b);
    for file in FILES {
        assert_eq!(text(&a, file), text(&b, file), "{file}");
    }
}

#[test]
fn another_day_moves_the_dates_and_nothing_else() {
    let ((a, totals_a), (b, totals_b)) = (shop(TODAY), shop(date(2028, 3, 1)));
    assert_eq!(totals_a, totals_b);
    assert_eq!(text(&a, "lines.csv"), text(&b, "lines.csv"));
    assert_eq!(text(&a, "products.csv"), text(&b, "products.csv"));
}

#[test]
fn totals_are_those_of_the_sample_and_of_the_files() {
    let (dir, totals) = shop(TODAY);
    assert_eq!((totals.cdnow_customers, totals.cdnow_orders), (2_357, 6_919));
    assert_eq!(totals.customers, 2_357 + NEWCOMERS + LEADS + STAFF);
    assert_eq!(totals.customers, rows(&dir, "customers.csv").len());
    assert_eq!(totals.orders, rows(&dir, "orders.csv").len());
    assert_eq!(totals.lines, rows(&dir, "lines.csv").len());
    assert_eq!(totals.products, rows(&dir, "products.csv").len());
    assert_eq!(totals.events, events(&dir).len());
}

#[test]
fn addresses_are_unique_and_belong_to_nobody() {
    let (dir, totals) = shop(TODAY);
    let addresses: BTreeSet<String> = rows(&dir, "customers.csv").into_iter().map(|c| c["email"].clone()).collect();
    assert_eq!(addresses.len(), totals.customers);
    for address in addresses {
        let host = address.split_once('@').unwrap().1;
        assert!(["example.com", "example.net", "example.org"].contains(&host), "{address}");
    }
}

#[test]
fn the_lines_of_an_order_sum_to_its_total() {
    let (dir, _) = shop(TODAY);
    let mut sums: BTreeMap<String, i64> = BTreeMap::new();
    for line in rows(&dir, "lines.csv") {
        *sums.entry(line["order_id"].clone()).or_default() += cents(&line["amount"]);
    }
    for order in rows(&dir, "orders.csv") {
        assert_eq!(sums.remove(&order["order_id"]), Some(cents(&order["total"])), "{order:?}");
    }
    assert!(sums.is_empty(), "lines without an order: {sums:?}");
}

#[test]
fn everything_refers_to_something_that_exists_and_lies_in_the_past() {
    let (dir, _) = shop(TODAY);
    let ids = |file, key: &str| -> BTreeSet<String> { rows(&dir, file).into_iter().map(|r| r[key].clone()).collect() };
    let (customers, skus) = (ids("customers.csv", "customer_id"), ids("products.csv", "sku"));
    assert!(
        rows(&dir, "orders.csv")
            .iter()
            .all(|o| customers.contains(&o["customer_id"]) && *o["ordered_at"] < *"2026-11-24")
    );
    assert!(rows(&dir, "lines.csv").iter().all(|l| skus.contains(&l["sku"])));
    for event in events(&dir) {
        assert!(customers.contains(event["customer_id"].as_str().unwrap()), "{event}");
        assert!(
            event["at"].as_str().unwrap() < "2026-11-24" && event["at"].as_str().unwrap() > "2026-08-25",
            "{event}"
        );
        let named = match event["name"].as_str().unwrap() {
            "product.viewed" | "review.given" => vec![&event["properties"]["sku"]],
            "cart.updated" => event["properties"]["skus"].as_array().unwrap().iter().collect(),
            _ => vec![],
        };
        assert!(named.into_iter().all(|sku| skus.contains(sku.as_str().unwrap())), "{event}");
    }
}

/// Every sample campaign must find somebody, or the demo has nothing to show.
#[test]
fn there_are_leads_newcomers_waiting_and_unhappy_people() {
    let (dir, _) = shop(TODAY);
    let events = events(&dir);
    let who = |name: &str| -> Vec<&str> {
        events
            .iter()
            .filter(|e| e["name"] == name)
            .map(|e| e["properties"]["ticket_id"].as_str().unwrap_or(""))
            .collect()
    };
    let (opened, closed) = (who("ticket.opened"), who("ticket.closed"));
    assert!(closed.iter().all(|t| opened.contains(t)), "only what was opened is closed");
    assert!((5..40).contains(&(opened.len() - closed.len())), "waiting: {}", opened.len() - closed.len());
    let unhappy =
        events.iter().filter(|e| e["name"] == "ticket.closed" && e["properties"]["rating"].as_i64() <= Some(2));
    assert!((5..30).contains(&unhappy.count()));
    let count = |name: &str| events.iter().filter(|e| e["name"] == name).count();
    assert!((30..150).contains(&count("cart.updated")), "{} baskets", count("cart.updated"));
    assert!((15..120).contains(&count("review.given")), "{} reviews", count("review.given"));
    let joined = events.iter().filter(|e| e["name"] == "newsletter.joined").count();
    assert_eq!(joined, NEWCOMERS + LEADS + STAFF);
}

/// A ticket is never closed before it was opened.
#[test]
fn tickets_are_opened_before_they_are_closed() {
    let (dir, _) = shop(TODAY);
    let mut open = BTreeSet::new();
    for event in events(&dir) {
        let ticket = event["properties"]["ticket_id"].as_str().unwrap_or("").to_owned();
        match event["name"].as_str().unwrap() {
            "ticket.opened" => assert!(open.insert(ticket), "{event}"),
            "ticket.closed" => assert!(open.remove(&ticket), "{event}"),
            _ => {}
        }
    }
}
