//! The facts of one customer, computed from what they did: of rows of the database ([`refresh`](super::refresh)), and of people who stand in
//! none (cases of segment files, generated people). Pure.

use std::cmp::Reverse;

use jiff::tz::TimeZone;

use super::Facts;
use super::day::LocalDays;
use super::rhythm::scatter;
use crate::clock::Millis;

/// How many categories an affinity keeps.
const AFFINITY_CATEGORIES: usize = 5;

/// What became of an order, as far as facts hang on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    Placed,
    Returned,
    /// Counts for nothing.
    Other,
}

impl Status {
    /// The status of a word of table `customer_order`.
    pub fn of(word: &str) -> Status {
        match word {
            "placed" => Status::Placed,
            "returned" => Status::Returned,
            _ => Status::Other,
        }
    }
}

/// An order as far as facts hang on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OrderFact {
    pub at: Millis,
    /// Minor units.
    pub total: i64,
    pub status: Status,
}

impl OrderFact {
    /// Whether it counts as an order: [`COUNTED`](super::COUNTED).
    pub fn is_counted(&self) -> bool {
        self.status == Status::Placed && self.total >= 0
    }

    /// Whether it came back.
    fn is_returned(&self) -> bool {
        self.status == Status::Returned || (self.status == Status::Placed && self.total < 0)
    }

    /// Whether its total is part of revenue.
    fn is_in_revenue(&self) -> bool {
        self.status == Status::Placed || (self.status == Status::Returned && self.total < 0)
    }
}

/// Derives the facts of one customer after another.
#[derive(Debug)]
pub struct Deriver {
    days: LocalDays,
    /// Purchase days, and the last order of each.
    purchases: Vec<(i64, Millis)>,
    gaps: Vec<i64>,
}

impl Deriver {
    pub fn new(zone: &TimeZone) -> Deriver {
        Deriver { days: LocalDays::new(zone), purchases: Vec::new(), gaps: Vec::new() }
    }

    /// What orders say of a customer; everything else is as if nothing were known. Orders come in the order of their instants.
    pub fn orders(&mut self, orders: &[OrderFact]) -> Facts {
        debug_assert!(orders.is_sorted_by_key(|o| o.at));
        let (mut number, mut gross, mut revenue) = (0, 0_i64, 0_i64);
        let (mut first_order_at, mut last_order_at, mut last_return_at) = (None, None, None);
        self.purchases.clear();
        for order in orders {
            if order.is_in_revenue() {
                revenue = revenue.saturating_add(order.total);
            }
            if order.is_returned() {
                last_return_at = Some(order.at);
            }
            if order.is_counted() {
                number += 1;
                gross = gross.saturating_add(order.total);
                first_order_at = first_order_at.or(Some(order.at));
                last_order_at = Some(order.at);
                self.purchase(order.at);
            }
        }
        let days = &self.purchases;
        self.gaps.clear();
        self.gaps.extend(days.windows(2).map(|pair| pair[1].0 - pair[0].0));
        let last_gap_days = self.gaps.last().copied();
        let earlier = self.gaps.len().saturating_sub(1);
        let average = || (2 * i128::from(gross) + i128::from(number)) / (2 * i128::from(number));
        Facts {
            orders: number,
            purchase_days: days.len() as i64,
            revenue,
            average_order: (number > 0).then(|| average() as i64),
            first_order_at,
            last_order_at,
            previous_order_at: days.iter().nth_back(1).map(|d| d.1),
            first_order_day: days.first().map(|d| d.0),
            last_order_day: days.last().map(|d| d.0),
            last_gap_days,
            gap_scatter: scatter(&self.gaps),
            earlier_gap_scatter: scatter(&self.gaps[..earlier]),
            // Last, and the earlier gaps first: a median moves them about.
            earlier_gap_days: if earlier >= 2 { median(&mut self.gaps[..earlier]) } else { None },
            usual_gap_days: median(&mut self.gaps),
            last_return_at,
            ..Facts::default()
        }
    }

    fn purchase(&mut self, at: Millis) {
        let day = self.days.number(at);
        match self.purchases.last_mut() {
            Some(last) if last.0 == day => last.1 = at,
            _ => self.purchases.push((day, at)),
        }
    }
}

/// [`Deriver::orders`] of one customer, in whatever order theirs come.
pub fn facts_of_orders(mut orders: Vec<OrderFact>, zone: &TimeZone) -> Facts {
    orders.sort_by_key(|o| o.at);
    Deriver::new(zone).orders(&orders)
}

/// The middle one, or the mean of the two in the middle; `None` of none.
fn median(numbers: &mut [i64]) -> Option<f64> {
    let middle = numbers.len() / 2;
    if numbers.is_empty() {
        return None;
    }
    let is_odd = numbers.len() % 2 == 1;
    let (below, upper, _) = numbers.select_nth_unstable(middle);
    let lower = if is_odd { *upper } else { *below.iter().max().expect("an even number of them is two or more") };
    Some((lower + *upper) as f64 / 2.0)
}

/// Favourite category and affinity of what was bought, as amounts of categories: the JSON object of the most bought and their shares of
/// all in thousandths. Categories that brought nothing are left out.
pub(super) fn affinity<'c>(bought: &mut [(&'c str, i64)]) -> Option<(&'c str, String)> {
    bought.sort_unstable();
    let mut sums: Vec<(&str, i64)> = Vec::new();
    for (category, amount) in bought.iter() {
        match sums.last_mut() {
            Some(last) if last.0 == *category => last.1 = last.1.saturating_add(*amount),
            _ => sums.push((category, *amount)),
        }
    }
    sums.retain(|(_, amount)| *amount > 0);
    let total: i128 = sums.iter().map(|(_, amount)| i128::from(*amount)).sum();
    // Stable: of equal amounts the first by name.
    sums.sort_by_key(|(_, amount)| Reverse(*amount));
    sums.truncate(AFFINITY_CATEGORIES);
    let share = |amount: i64| (2_000 * i128::from(amount) + total) / (2 * total);
    let shares: serde_json::Map<String, serde_json::Value> =
        sums.iter().map(|(category, amount)| ((*category).to_owned(), (share(*amount) as i64).into())).collect();
    let (top, _) = sums.first()?;
    Some((top, serde_json::Value::Object(shares).to_string()))
}

/// Open tickets of a customer, of events that opened or closed one: with a number a ticket is open unless its latest event closed it (at the same instant,
/// closing is the later); without one, as many as were opened and not closed.
pub(super) fn open_tickets(events: &mut [TicketEvent]) -> i64 {
    events.sort_unstable();
    let mut open = 0;
    for of_one in events.chunk_by(|a, b| a.ticket == b.ticket) {
        let last = of_one.last().expect("a chunk holds an event");
        let closed = of_one.iter().filter(|e| e.is_closed).count();
        open += match last.ticket {
            Some(_) => i64::from(!last.is_closed),
            None => (of_one.len() as i64 - 2 * closed as i64).max(0),
        };
    }
    open
}

/// A ticket was opened or closed. In the order in which it happened, for each ticket.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct TicketEvent {
    pub ticket: Option<String>,
    pub at: Millis,
    pub is_closed: bool,
}
