//! Orders of everybody, a customer at a time: for what hangs on the whole course of a customer's orders (models, cohorts, where somebody
//! stood at an earlier date).

use super::day::LocalDays;
use super::derive::{OrderFact, Status};
use super::roll::Roll;
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
    let sql = "SELECT o.customer_id, o.ordered_at, o.total, o.status FROM customer_order o
               WHERE o.bucket >= $1 AND o.bucket <= $2 AND (o.status = 'placed' OR (o.status = 'returned' AND o.total < 0))";
    let mut roll: Roll<Vec<Entry>> = Roll::new();
    db.each_row(sql, args![first, last], |row| {
        let fact = OrderFact {
            at: row.int(1)?.unwrap_or_default(),
            total: row.int(2)?.unwrap_or_default(),
            status: Status::of(row.text(3)?.unwrap_or_default()),
        };
        let entry = Entry { at: fact.at, total: fact.total, is_counted: fact.is_counted() };
        let customer_id = row.text(0)?.unwrap_or_default();
        match roll.find(customer_id) {
            Some(orders) => orders.push(entry),
            None => roll.add(customer_id, Vec::new()).push(entry),
        }
        Ok(())
    })
    .await?;
    let sorted = |(customer_id, mut orders): (String, Vec<Entry>)| {
        orders.sort_unstable();
        Bought { customer_id, orders }
    };
    Ok(roll.people.into_iter().map(sorted).collect())
}

impl Bought {
    /// Local days with a counted order, ascending, each once.
    pub fn days(&self, zone: &LocalDays) -> Vec<i64> {
        let mut days: Vec<i64> = self.counted().map(|e| zone.number(e.at)).collect();
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
    use jiff::tz::TimeZone;

    use super::*;

    #[test]
    fn what_came_back_is_taken_off_from_then_on() {
        let entry = |at, total, is_counted| Entry { at, total, is_counted };
        let orders =
            vec![entry(-5, 0, true), entry(1_000, 1, true), entry(1_000, 1_999, true), entry(2_000, -500, false)];
        let of = Bought { customer_id: "mia".into(), orders };
        assert_eq!(of.sums(i64::MAX), (3, 1_500));
        assert_eq!(of.sums(2_000), (3, 2_000));
    }

    #[test]
    fn days_are_those_of_the_zone() {
        let tokyo = TimeZone::get("Asia/Tokyo").unwrap();
        // 2025-11-25 at 14:59 and 15:01 UTC: before and after midnight in Tokyo.
        let at = [1_764_082_740_000, 1_764_082_860_000, 1_764_082_861_000];
        let orders = at.map(|at| Entry { at, total: 1, is_counted: true }).to_vec();
        let of = Bought { customer_id: "美咲".into(), orders };
        assert_eq!(of.days(&LocalDays::new(&tokyo)), [20_417, 20_418]);
        assert_eq!(of.days(&LocalDays::new(&TimeZone::UTC)), [20_417]);
    }
}
