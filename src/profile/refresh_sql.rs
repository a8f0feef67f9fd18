//! The statements that read what profiles are derived from, of a range of buckets: `$1` first bucket, `$2` last bucket; and those that write them.
//!
//! One statement per source table, nothing joined, nothing sorted: rows pass one by one and are sorted out in [`gather`](super::gather). Only names
//! and numbers of ours are written into the text.

use super::Scope;
use crate::db::{Dialect, Member};

/// What is stored beside the key and `computed_at`.
pub(super) const COLUMNS: [&str; 23] = [
    "orders",
    "purchase_days",
    "revenue",
    "average_order",
    "first_order_at",
    "last_order_at",
    "previous_order_at",
    "first_order_day",
    "last_order_day",
    "last_gap_days",
    "usual_gap_days",
    "earlier_gap_days",
    "gap_scatter",
    "earlier_gap_scatter",
    "top_category",
    "affinity",
    "last_viewed_at",
    "last_viewed_sku",
    "open_tickets",
    "last_rating",
    "last_rating_at",
    "last_event_at",
    "last_return_at",
];

/// An order that counts, over alias `o`.
pub const COUNTED: &str = "o.status = 'placed' AND o.total >= 0";

/// The numbers of the event names that profiles read; absent when no such event was ever imported.
#[derive(Debug, Default)]
pub(super) struct EventNames {
    pub viewed: Option<i64>,
    pub ticket_opened: Option<i64>,
    pub ticket_closed: Option<i64>,
    pub rated: Vec<i64>,
}

/// A row that would not change is not written: whether one would.
pub(super) fn differs() -> String {
    let differs: Vec<String> = COLUMNS.iter().map(|c| format!("profile.{c} IS DISTINCT FROM excluded.{c}")).collect();
    differs.join(" OR ")
}

/// Drops the profiles of customers who are gone.
pub(super) fn orphans(scope: Scope) -> &'static str {
    match scope {
        Scope::Everyone => {
            "DELETE FROM profile WHERE bucket >= $1 AND bucket <= $2 AND NOT EXISTS
             (SELECT 1 FROM customer c WHERE c.bucket = profile.bucket AND c.customer_id = profile.customer_id)"
        }
        Scope::Dirty => {
            "DELETE FROM profile WHERE bucket >= $1 AND bucket <= $2
             AND EXISTS (SELECT 1 FROM profile_due d WHERE d.bucket = profile.bucket AND d.customer_id = profile.customer_id)
             AND NOT EXISTS (SELECT 1 FROM customer c WHERE c.bucket = profile.bucket AND c.customer_id = profile.customer_id)"
        }
    }
}

/// The customers to compute: bucket, id.
pub(super) fn customers(scope: Scope) -> String {
    format!("SELECT c.bucket, c.customer_id FROM {}", source(scope, "customer", "c"))
}

/// Their orders: customer, instant, id, total, status.
pub(super) fn orders(scope: Scope) -> String {
    let from = source(scope, "customer_order", "o");
    format!("SELECT o.customer_id, o.ordered_at, o.order_id, o.total, o.status FROM {from}")
}

/// Lines of theirs that have a category: customer, instant and id of the order, category, amount.
pub(super) fn lines(scope: Scope) -> String {
    let from = source(scope, "order_line", "l");
    format!(
        "SELECT l.customer_id, l.ordered_at, l.order_id, l.category, l.amount FROM {from} AND l.category IS NOT NULL"
    )
}

/// Their events: customer, instant, number of the name, sku, score, and of those that open or close a ticket its number.
pub(super) fn events(scope: Scope, dialect: Dialect, names: &EventNames) -> String {
    let from = source(scope, "event", "e");
    let path = match dialect {
        Dialect::Sqlite => "'$.ticket_id'",
        Dialect::Postgres => "'ticket_id'",
    };
    let ticket = match (names.ticket_opened, names.ticket_closed) {
        (None, None) => "CAST(NULL AS TEXT)".to_owned(),
        (opened, closed) => {
            let numbers: Vec<String> = opened.iter().chain(&closed).map(i64::to_string).collect();
            let scalar = dialect.json_scalar(Member::Of { json: "e.properties", path });
            format!("CASE WHEN e.name_id IN ({}) THEN {scalar} END", numbers.join(", "))
        }
    };
    format!("SELECT e.customer_id, e.at, e.name_id, e.sku, e.score, {ticket} FROM {from}")
}

/// `FROM`'s text for the rows of `table` that are asked for, with their WHERE; more conditions follow after ` AND `.
/// CROSS JOIN makes SQLite begin with the few customers that are due.
fn source(scope: Scope, table: &str, alias: &str) -> String {
    let range = |a: &str| format!("{a}.bucket >= $1 AND {a}.bucket <= $2");
    match scope {
        Scope::Everyone => format!("{table} {alias} WHERE {}", range(alias)),
        Scope::Dirty => format!(
            "profile_due d CROSS JOIN {table} {alias}
             WHERE {} AND {alias}.bucket = d.bucket AND {alias}.customer_id = d.customer_id",
            range("d")
        ),
    }
}
