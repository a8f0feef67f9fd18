//! The purchases: those of the CDNOW sample, moved to end yesterday, and a few of invented newcomers.
//!
//! CDNOW's customers all bought first between January and March 1997, so after the move nobody of them is new: their first orders lie
//! fifteen to eighteen months back. A shop without newcomers would leave the first month empty; hence [`NEWCOMERS`].

use std::fmt;
use std::io::{self, Read};

use flate2::read::GzDecoder;
use jiff::ToSpan;
use jiff::civil::{Date, date};

use super::chance::{Chance, For};

/// Customers of the sample.
pub(super) const CDNOW_CUSTOMERS: usize = 2_357;
/// The day of the sample's last purchase.
const CDNOW_LAST: Date = date(1998, 6, 30);
/// Invented people whose first order lies within the last thirty days. Units and amounts are those of real first purchases.
pub(super) const NEWCOMERS: usize = 42;

/// Customer, date, units and amount of the sample's purchases; the file names its source.
const CDNOW: &[u8] = include_bytes!("cdnow.csv.gz");

/// A time by the shop's clock (Asia/Tokyo, which knows no summer time).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Moment {
    pub(super) date: Date,
    second: i64,
}

impl Moment {
    /// A time of `date` at which people shop: seven in the morning to eleven at night.
    pub(super) fn some_time_on(date: Date, chance: &mut Chance) -> Moment {
        Moment { date, second: chance.between(7 * 3_600, 23 * 3_600 - 1) }
    }
}

/// RFC 3339 with the shop's offset.
impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (hour, minute, second) = (self.second / 3_600, self.second / 60 % 60, self.second % 60);
        write!(f, "{}T{hour:02}:{minute:02}:{second:02}+09:00", self.date)
    }
}

/// One purchase. `customer` counts from 1; newcomers follow after the sample's customers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Purchase {
    pub(super) customer: usize,
    pub(super) at: Moment,
    pub(super) units: i64,
    /// In cents.
    pub(super) amount: i64,
}

/// All purchases up to the day before `today`, in the order in which they happened.
///
/// The sample tells days; the time of day is invented. The last day is yesterday and not `today`, so that no order lies in the future
/// of a demo that is run in the morning.
pub(super) fn purchases(today: Date) -> io::Result<Vec<Purchase>> {
    let mut all = sample(today)?;
    let borrowed: Vec<(i64, i64)> = first_of_each(&all).map(|p| (p.units, p.amount)).filter(|&(_, a)| a > 0).collect();
    for number in 1..=NEWCOMERS {
        newcomer(number, today, &borrowed, &mut all);
    }
    all.sort_by_key(|p| (p.at, p.customer));
    Ok(all)
}

fn sample(today: Date) -> io::Result<Vec<Purchase>> {
    let mut text = String::new();
    GzDecoder::new(CDNOW).read_to_string(&mut text)?;
    let move_days = (today.saturating_sub(1.day()) - CDNOW_LAST).get_days();
    let mut rows = csv::ReaderBuilder::new().comment(Some(b'#')).from_reader(text.as_bytes());
    let mut purchases = Vec::new();
    for (number, row) in rows.deserialize::<(usize, String, i64, String)>().enumerate() {
        let (customer, day, units, amount) = row?;
        let date: Date = day.parse().map_err(|_| not_a("day", &day))?;
        let mut chance = Chance::stream(For::Order, number);
        let at = Moment::some_time_on(date.saturating_add(move_days.days()), &mut chance);
        purchases.push(Purchase { customer, at, units, amount: cents(&amount)? });
    }
    Ok(purchases)
}

/// The first purchase of each customer, given purchases that come customer by customer.
fn first_of_each(purchases: &[Purchase]) -> impl Iterator<Item = &Purchase> {
    purchases.chunk_by(|a, b| a.customer == b.customer).map(|of_one| &of_one[0])
}

/// A first order in the last month, and for one in five a second.
fn newcomer(number: usize, today: Date, borrowed: &[(i64, i64)], purchases: &mut Vec<Purchase>) {
    let mut chance = Chance::stream(For::Newcomer, number);
    let mut days_ago = chance.between(1, 28);
    loop {
        let (units, amount) = *chance.one_of(borrowed);
        let at = Moment::some_time_on(today.saturating_sub(days_ago.days()), &mut chance);
        purchases.push(Purchase { customer: CDNOW_CUSTOMERS + number, at, units, amount });
        if days_ago < 8 || !chance.percent(20) {
            return;
        }
        days_ago = chance.between(1, days_ago - 6);
    }
}

/// `29.33` → 2933.
fn cents(text: &str) -> io::Result<i64> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    format!("{whole}{part:0<2}").parse().map_err(|_| not_a("amount of dollars and cents", text))
}

fn not_a(what: &str, text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("`{text}` is not a {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TODAY: Date = date(2026, 11, 24);

    #[test]
    fn the_sample_is_complete_and_ends_yesterday() {
        let sample = sample(TODAY).unwrap();
        assert_eq!(sample.len(), 6_919);
        assert_eq!(first_of_each(&sample).count(), CDNOW_CUSTOMERS);
        assert_eq!(sample.iter().map(|p| p.amount).sum::<i64>(), 24_409_194, "dollars 244,091.94");
        let days: Vec<Date> = sample.iter().map(|p| p.at.date).collect();
        assert_eq!(days.iter().max(), Some(&date(2026, 11, 23)));
        assert_eq!(days.iter().min(), Some(&date(2025, 5, 27)), "545 days, as from 1997-01-01 to 1998-06-30");
    }

    #[test]
    fn newcomers_bought_first_within_thirty_days() {
        let all = purchases(TODAY).unwrap();
        let first = date(2026, 10, 26);
        let newcomers: Vec<_> = all.iter().filter(|p| p.customer > CDNOW_CUSTOMERS).collect();
        assert!(newcomers.iter().all(|p| p.at.date >= first && p.at.date < TODAY));
        assert!(newcomers.len() > NEWCOMERS, "some came back already");
        assert!(all.is_sorted_by_key(|p| p.at));
    }

    #[test]
    fn a_moment_is_written_with_the_offset_of_the_shop() {
        assert_eq!(Moment { date: TODAY, second: 7 * 3_600 + 62 }.to_string(), "2026-11-24T07:01:02+09:00");
    }

    #[test]
    fn amounts_are_read_to_the_cent() {
        assert_eq!([cents("29.33").unwrap(), cents("5").unwrap(), cents("7.5").unwrap()], [2_933, 500, 750]);
        assert!(cents("much").is_err());
    }
}
