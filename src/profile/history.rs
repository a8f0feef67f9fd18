//! Orders of everybody, a customer at a time: for what hangs on the whole course of a customer's orders (models, cohorts, where somebody
//! stood at an earlier date). One row of a statement holds all orders of a customer as text, so that a million orders are not a million
//! rows.

use jiff::tz::TimeZone;

use super::COUNTED;
use super::day::day_number;
use crate::args;
use crate::clock::Millis;
use crate::db::{Db, DbResult};

/// The orders of a customer that revenue is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bought {
    pub customer_id: String,
    /// Oldest first.
    pub orders: Vec<Entry>,
}

/// An order, or what came back of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    pub at: Millis,
    /// Minor units; below zero when something came back.
    pub total: i64,
    /// Whether it counts as an order: placed, with a total of 0 or more.
    pub is_counted: bool,
}

/// What the customers of the buckets `first` to `last` bought; those without an order are left out.
pub async fn bought(db: &Db, first: i64, last: i64) -> DbResult<Vec<Bought>> {
    let sql = format!(
        "SELECT o.customer_id, STRING_AGG(CAST(o.ordered_at AS TEXT) || CASE WHEN {COUNTED} THEN 'c' ELSE 'r' END
                                          || CAST(o.total AS TEXT), ' ')
         FROM customer_order o
         WHERE o.bucket >= $1 AND o.bucket <= $2 AND (o.status = 'placed' OR (o.status = 'returned' AND o.total < 0))
         GROUP BY o.bucket, o.customer_id"
    );
    let rows: Vec<(String, String)> = db.fetch_all(&sql, args![first, last]).await?;
    Ok(rows.into_iter().map(|(customer_id, orders)| Bought { customer_id, orders: entries(&orders) }).collect())
}

/// `1764061200000c1999 1764147600000r-500`.
fn entries(text: &str) -> Vec<Entry> {
    let entry = |word: &str| {
        let kind = word.find(['c', 'r'])?;
        let (at, total) = (word[..kind].parse().ok()?, word[kind + 1..].parse().ok()?);
        Some(Entry { at, total, is_counted: word.as_bytes()[kind] == b'c' })
    };
    let mut entries: Vec<Entry> = text.split(' ').filter_map(entry).collect();
    entries.sort_unstable();
    entries
}

impl Bought {
    /// Local days with a counted order, ascending, each once.
    pub fn days(&self, zone: &TimeZone) -> Vec<i64> {
        let mut days: Vec<i64> = self.counted().map(|e| day_number(e.at, zone)).collect();
        days.dedup();
        days
    }

    fn counted(&self) -> impl Iterator<Item = &Entry> {
        self.orders.iter().filter(|e| e.is_counted)
    }

    /// Counted orders, and all that they brought, net of what came back; of the instants before `until`.
    pub fn sums(&self, until: Millis) -> (u32, i64) {
        let before = || self.orders.iter().filter(|e| e.at < until);
        (before().filter(|e| e.is_counted).count() as u32, before().map(|e| e.total).sum())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_read_back_in_order() {
        let text = "1764147600000r-500 1764061200000c1999 -5c0 1764061200000c1";
        let read = entries(text);
        assert_eq!(
            read.iter().map(|e| (e.at, e.total, e.is_counted)).collect::<Vec<_>>(),
            [
                (-5, 0, true),
                (1_764_061_200_000, 1, true),
                (1_764_061_200_000, 1_999, true),
                (1_764_147_600_000, -500, false),
            ]
        );
        let of = Bought { customer_id: "mia".into(), orders: read };
        assert_eq!(of.sums(i64::MAX), (3, 1_500));
        assert_eq!(of.sums(1_764_147_600_000), (3, 2_000));
    }

    #[test]
    fn days_are_those_of_the_zone() {
        let tokyo = TimeZone::get("Asia/Tokyo").unwrap();
        // 2025-11-25 at 14:59 and 15:01 UTC: before and after midnight in Tokyo.
        let orders = entries("1764082740000c1 1764082860000c1 1764082861000c1");
        let of = Bought { customer_id: "美咲".into(), orders };
        assert_eq!(of.days(&tokyo), [20_417, 20_418]);
        assert_eq!(of.days(&TimeZone::UTC), [20_417]);
    }
}
