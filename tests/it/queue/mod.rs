//! The verbs of the queue, through the real binary: looking, cancelling, trying again, settling doubts; what holds a run; and every exit code.

mod breaker;
mod cancelling;
mod deciding;
mod exits;
mod looking;

use okaeri::args;
use okaeri::db::Db;

use crate::ground::scenario::Scenario;

/// A campaign `hello` for these people, who all agreed to it; their ids are the local parts.
async fn shop_of(url: &str, smtp: &str, people: &[&str]) -> Scenario {
    let shop = Scenario::new(url).smtp(smtp).campaign("hello", "");
    let rows: String = people.iter().map(|p| format!("{p},{p}@example.com,offers\n")).collect();
    shop.write("people.csv", format!("customer_id,email,consent\n{rows}"));
    shop.okaeri("import customers people.csv --quiet").await.exits(0);
    shop
}

/// State and id of a customer's message.
async fn message_of(shop: &Scenario, customer: &str) -> (String, String) {
    let list = shop.json("queue list --limit 1000", 0).await;
    let found = list["messages"].as_array().unwrap().iter().find(|m| m["customer_id"] == customer);
    let m = found.unwrap_or_else(|| panic!("{customer}: {list}"));
    (m["state"].as_str().unwrap().to_owned(), m["message_id"].as_str().unwrap().to_owned())
}

async fn run_id(shop: &Scenario) -> String {
    shop.json("queue status", 0).await["runs"][0]["run_id"].as_str().unwrap().to_owned()
}

async fn states(db: &Db) -> Vec<(String, i64)> {
    db.fetch_all("SELECT state, COUNT(*) FROM delivery GROUP BY state ORDER BY state", args![]).await.unwrap()
}

/// Everything that waits is due now.
async fn hasten(db: &Db) {
    db.execute("UPDATE chunk SET due_at = 0 WHERE state = 'open'", args![]).await.unwrap();
    db.execute("UPDATE delivery SET due_at = 0 WHERE state = 'deferred'", args![]).await.unwrap();
}
