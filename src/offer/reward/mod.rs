//! Rewards: what a pool has left, which one suits a person, and which message got what.
//!
//! ```text
//! okaeri.yaml, CSV → reward_code         (import)
//! what is left → a choice for each person → reserved → issued with the message   (stock, choose, issue; while a run is planned)
//! message ends before anything left → the code is free again                      (give_back)
//! ```
//!
//! Owns the tables reward_code and reward_issue. Promises: a code is one row, and whoever takes it finds it free in the transaction that
//! writes their message, so nobody shares it; a message carries its code in its payload, so every try of it shows the same; what was, or may
//! have been, handed to a mail server never comes back. Money is minor units, instants are epoch milliseconds.
//!
//! Read on: [`Stock`], [`issue`](fn@issue).

mod choose;
mod import;
mod issue;
mod list;
mod stock;

pub use choose::in_order_of_taste;
pub use import::{Imported, Refused, import};
pub use issue::{Issue, Sent, give_back, issue, take_back_run};
pub use list::{Exported, Shelf, export, shelves};
pub use stock::{Reserved, Stock, is_over, reserve};

use crate::clock::{DAY, Millis};

/// A reward is given while it is good for so much longer than the plan's instant: mail takes its time, and so do people.
const GOOD_FOR_MIN: Millis = 2 * DAY;

/// The code as it is told from others: case does not count.
fn key_of(code: &str) -> String {
    code.to_uppercase()
}
