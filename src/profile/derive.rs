//! The facts of one customer computed from their orders in plain Rust, for people who stand in no database: cases of segment files and
//! generated people. A property test holds it to the statement that computes profiles.

use jiff::tz::TimeZone;

use super::Facts;
use super::day::day_number;
use crate::clock::Millis;

/// An order as far as facts hang on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderFact<'a> {
    pub at: Millis,
    /// Minor units.
    pub total: i64,
    pub status: &'a str,
}

/// What orders say of a customer; everything else is as if nothing were known.
pub fn facts_of_orders(orders: &[OrderFact], zone: &TimeZone) -> Facts {
    let mut counted: Vec<&OrderFact> = orders.iter().filter(|o| o.status == "placed" && o.total >= 0).collect();
    counted.sort_by_key(|o| o.at);
    let returned = |o: &&OrderFact| o.status == "placed" || (o.status == "returned" && o.total < 0);
    let mut days: Vec<(i64, Millis)> = Vec::new();
    for order in &counted {
        let day = day_number(order.at, zone);
        match days.last_mut() {
            Some(last) if last.0 == day => last.1 = order.at,
            _ => days.push((day, order.at)),
        }
    }
    let gaps: Vec<i64> = days.windows(2).map(|pair| pair[1].0 - pair[0].0).collect();
    let number = counted.len() as i64;
    let gross: i64 = counted.iter().map(|o| o.total).sum();
    Facts {
        orders: number,
        purchase_days: days.len() as i64,
        revenue: orders.iter().filter(returned).map(|o| o.total).sum(),
        average_order: (number > 0).then(|| (2 * gross + number) / (2 * number)),
        first_order_at: counted.first().map(|o| o.at),
        last_order_at: counted.last().map(|o| o.at),
        previous_order_at: days.iter().rev().nth(1).map(|d| d.1),
        first_order_day: days.first().map(|d| d.0),
        last_order_day: days.last().map(|d| d.0),
        last_gap_days: gaps.last().copied(),
        usual_gap_days: median(&gaps),
        earlier_gap_days: if days.len() >= 4 { median(&gaps[..gaps.len() - 1]) } else { None },
        last_return_at: orders
            .iter()
            .filter(|o| o.status == "returned" || (o.status == "placed" && o.total < 0))
            .map(|o| o.at)
            .max(),
        ..Facts::default()
    }
}

fn median(gaps: &[i64]) -> Option<f64> {
    let mut sorted = gaps.to_vec();
    sorted.sort_unstable();
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        n if n % 2 == 1 => Some(sorted[middle] as f64),
        _ => Some((sorted[middle - 1] + sorted[middle]) as f64 / 2.0),
    }
}
