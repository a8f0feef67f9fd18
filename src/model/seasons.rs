//! Time as a shop lives it: a week before Christmas holds more orders than one in January.
//!
//! The count models believe that a customer's rate stays the same. Where everybody orders more in some months, they mistake the season for
//! loyalty, and forecast the year from its peak. So time is measured in *operational* weeks: each day counts as much as its month has
//! orders per day, against the mean of the year. Fitted and forecast in that time, the models need no change.

use jiff::civil::{Date, date};
use serde::{Deserialize, Serialize};

/// Days in each month of a common year.
const MONTH_DAYS: [f64; 12] = [31.0, 28.0, 31.0, 30.0, 31.0, 30.0, 31.0, 31.0, 30.0, 31.0, 30.0, 31.0];
/// The sum of squared differences of twelve months, each over what was expected, that chance exceeds in one shop of a thousand: χ² of eleven
/// degrees of freedom.
const CHANCE_MAX: f64 = 31.264;
/// A season is only seen over a whole year (52 weeks).
pub const SEEN_DAYS_MIN: i64 = 364;
/// In no month does time stand nearly still: a shop that was closed then would otherwise owe nobody an order.
const INDEX_MIN: f64 = 0.1;
/// Days a calendar holds at most: a hundred years.
pub const CALENDAR_DAYS_MAX: i64 = 36_600;

/// How much a day of each month counts, January first. The mean over the days of a year is 1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Seasons([f64; 12]);

impl Seasons {
    /// Every day counts the same.
    pub const NONE: Seasons = Seasons([1.0; 12]);

    /// From the number of customers who ordered on each day (days since 1970-01-01), all between `from` and `until`, which are counted
    /// too. `None` when that is less than [`SEEN_DAYS_MIN`], or nobody ordered.
    pub fn of_orders(orders: impl IntoIterator<Item = (i64, u64)>, from: i64, until: i64) -> Option<Seasons> {
        let seen_days = until - from + 1;
        if !(SEEN_DAYS_MIN..=CALENDAR_DAYS_MAX).contains(&seen_days) {
            return None;
        }
        let mut counted = [0.0; 12];
        for (day, orders) in orders.into_iter().filter(|(day, _)| (from..=until).contains(day)) {
            counted[month(day)] += orders as f64;
        }
        let mut days = [0.0; 12];
        for day in from..=until {
            days[month(day)] += 1.0;
        }
        let mean = counted.iter().sum::<f64>() / seen_days as f64;
        if mean <= 0.0 {
            return None;
        }
        // 52 weeks may miss a month by a day, never all of it.
        let per_day: [f64; 12] = std::array::from_fn(|m| (counted[m] / days[m] / mean).max(INDEX_MIN));
        let year: f64 = per_day.iter().zip(MONTH_DAYS).map(|(index, days)| index * days).sum();
        Some(Seasons(per_day.map(|index| index * MONTH_DAYS.iter().sum::<f64>() / year)))
    }

    /// The index of each month, January first.
    pub fn index(&self) -> [f64; 12] {
        self.0
    }
}

/// Whether the months differ by more than chance explains, and not only because a shop was launched, grew, or lost its customers.
///
/// Of the days with orders of each customer (days since 1970-01-01, ascending, each once) between `from` and `until`, the repeat orders of each
/// month of the year are held against those that a model without seasons expects of the same customers: `expected` says how many a new customer
/// has within so many weeks.
pub fn differ_by_month<'d>(
    customers: impl IntoIterator<Item = &'d [i64]>,
    (from, until): (i64, i64),
    expected: impl Fn(f64) -> f64,
) -> bool {
    if !(SEEN_DAYS_MIN..=CALENDAR_DAYS_MAX).contains(&(until - from + 1)) {
        return false;
    }
    let months: Vec<usize> = (from..=until).map(month).collect();
    let place = |day: i64| usize::try_from(day - from).ok().filter(|n| *n < months.len());
    let (mut counted, mut starts) = ([0.0; 12], vec![0.0; months.len()]);
    for days in customers {
        let Some((first, others)) = days.split_first() else { continue };
        if let Some(n) = place(*first) {
            starts[n] += 1.0;
            others.iter().filter_map(|day| place(*day)).for_each(|n| counted[months[n]] += 1.0);
        }
    }
    let until_age: Vec<f64> = (0..months.len()).map(|age| expected(age as f64 / 7.0)).collect();
    let mut by_model = [0.0; 12];
    for (first, n) in starts.iter().enumerate().filter(|(_, n)| **n > 0.0) {
        for (age, at) in until_age.windows(2).zip(&months[first + 1..]) {
            by_model[*at] += n * (age[1] - age[0]);
        }
    }
    let scale = counted.iter().sum::<f64>() / by_model.iter().sum::<f64>();
    // Pearson 1900. Where the model expects next to nothing, nothing is compared. NaN, where nobody came again, is no difference.
    let apart = |m: usize| (counted[m] - by_model[m] * scale).powi(2) / (by_model[m] * scale).max(1.0);
    (0..12).map(apart).sum::<f64>() > CHANCE_MAX
}

/// Operational weeks between any two days of a span.
#[derive(Debug, Clone)]
pub struct Calendar {
    first: i64,
    /// Operational days until the end of each day.
    passed: Vec<f64>,
}

impl Calendar {
    /// For days `first` to `last`, of which there are [`CALENDAR_DAYS_MAX`] at most; the days outside count as one each.
    pub fn new(seasons: &Seasons, first: i64, last: i64) -> Calendar {
        let last = last.clamp(first, first + CALENDAR_DAYS_MAX - 1);
        let mut sum = 0.0;
        let passed = (first..=last)
            .map(|day| {
                sum += seasons.0[month(day)];
                sum
            })
            .collect();
        Calendar { first, passed }
    }

    /// Weeks from one day to another, not before it: the first is not counted, the last is.
    pub fn weeks(&self, from: i64, to: i64) -> f64 {
        ((self.passed_until(to) - self.passed_until(from)) / 7.0).max(0.0)
    }

    /// How many days after `from` as many operational weeks have passed: the way back to the real calendar.
    pub fn days_after(&self, from: i64, weeks: f64) -> f64 {
        let wanted = self.passed_until(from) + weeks * 7.0;
        let index = self.passed.partition_point(|passed| *passed < wanted);
        let day = self.first + index as i64;
        let (before, at) = (self.passed_until(day - 1), self.passed_until(day));
        (day - 1 - from) as f64 + (wanted - before) / (at - before)
    }

    fn passed_until(&self, day: i64) -> f64 {
        let at = day - self.first;
        let last = self.passed.len() as i64 - 1;
        if at < 0 {
            return (at + 1) as f64;
        }
        self.passed[at.min(last) as usize] + (at - last).max(0) as f64
    }
}

/// The month of a day, January being 0; days no calendar knows count as January.
fn month(day: i64) -> usize {
    const EPOCH: Date = date(1970, 1, 1);
    let date = jiff::Span::new().try_days(day).ok().and_then(|span| EPOCH.checked_add(span).ok());
    date.map_or(0, |d| usize::from(d.month().unsigned_abs()) - 1)
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{MBG, Shop, day, purchases};
    use super::*;

    #[test]
    fn without_seasons_time_is_time() {
        let calendar = Calendar::new(&Seasons::NONE, 100, 500);
        for (from, to) in [(100, 107), (99, 499), (20, 90), (400, 900), (-50, 1_000)] {
            assert!((calendar.weeks(from, to) - (to - from) as f64 / 7.0).abs() < 1e-12, "{from} {to}");
            assert!(
                (calendar.days_after(from, (to - from) as f64 / 7.0) - (to - from) as f64).abs() < 1e-9,
                "{from} {to}"
            );
        }
        assert_eq!(calendar.weeks(200, 150), 0.0);
    }

    #[test]
    fn a_busy_month_counts_more_and_a_year_stays_a_year() {
        let (from, until) = (day("2023-01-01"), day("2023-12-31"));
        // Three times as many in December; nobody in August, when the shop is closed.
        let orders = (from..=until).map(|d| (d, [1, 1, 1, 1, 1, 1, 1, 0, 1, 1, 1, 3][month(d)]));
        let seasons = Seasons::of_orders(orders, from, until).unwrap();
        let index = seasons.index();
        assert!((index[11] / index[0] - 3.0).abs() < 1e-12, "{index:?}");
        assert!(index[7] > 0.05, "{index:?}");
        let calendar = Calendar::new(&seasons, from, until);
        assert!((calendar.weeks(from - 1, until) - 365.0 / 7.0).abs() < 1e-9);
        let december = calendar.weeks(day("2023-11-30"), until);
        assert!((december - index[11] * 31.0 / 7.0).abs() < 1e-9);
        assert!((calendar.days_after(day("2023-11-30"), december / 2.0) - 15.5).abs() < 1e-9);
    }

    #[test]
    fn less_than_a_year_shows_no_season() {
        assert_eq!(Seasons::of_orders([(10, 5)], 0, SEEN_DAYS_MIN - 2), None);
        assert_eq!(Seasons::of_orders([], 0, 400), None);
        assert_eq!(Seasons::of_orders([(5_000, 7)], 0, 400), None, "orders outside of the span do not count");
        assert_eq!(Seasons::of_orders([(10, 5)], 0, i64::MAX - 1), None);
    }

    /// Customers who come at 0.2 orders a week, in December at `peak` times that, from a first day on that `first` draws.
    fn shop(customers: u32, peak: f64, (from, until): (i64, i64), first: impl Fn(f64) -> f64) -> Vec<Vec<i64>> {
        let mut chance = Shop::new(MBG, 3);
        let of = |_| {
            let first = from + (first(chance.uniform()) * (until - from) as f64) as i64;
            let ordered = |day: &i64| chance.uniform() < 0.2 / 7.0 * if month(*day) == 11 { peak } else { 1.0 };
            std::iter::once(first).chain((first + 1..=until).filter(ordered)).collect()
        };
        (0..customers).map(of).collect()
    }

    fn differ(shop: &[Vec<i64>], span: (i64, i64)) -> bool {
        differ_by_month(shop.iter().map(Vec::as_slice), span, |weeks| 0.2 * weeks)
    }

    #[test]
    fn a_season_is_seen_and_neither_chance_nor_a_launch_nor_growth_is_one() {
        let span = (day("2022-07-01"), day("2023-12-31"));
        assert!(differ(&shop(600, 2.0, span, |u| 0.6 * u), span));
        // Everybody's first order is in the first weeks; most come late; few at all.
        assert!(!differ(&shop(600, 1.0, span, |u| 0.05 * u), span));
        assert!(!differ(&shop(600, 1.0, span, f64::sqrt), span));
        assert!(!differ(&shop(20, 1.0, span, |u| 0.6 * u), span));
        // As people leave, fewer come: the model knows.
        let leaving: Vec<Vec<i64>> = shop(600, 1.0, span, |_| 0.0)
            .into_iter()
            .enumerate()
            .map(|(n, days)| days.into_iter().take_while(|d| *d < span.0 + 1 + n as i64).collect())
            .collect();
        let expected = |weeks: f64| 0.2 * (weeks - weeks * weeks * 7.0 / 1_200.0);
        assert!(!differ_by_month(leaving.iter().map(Vec::as_slice), span, expected));
        assert!(differ(&leaving, span), "a model that did not know would take it for a season");
    }

    #[test]
    fn less_than_a_year_and_nothing_at_all_differ_in_nothing() {
        let span = (day("2023-01-02"), day("2023-12-30"));
        let busy = shop(600, 3.0, span, |u| 0.3 * u);
        assert!(differ(&busy, (span.0 - 1, span.1)));
        assert!(!differ(&busy, span) && !differ(&busy, (0, i64::MAX - 1)));
        assert!(!differ(&[], (0, 400)) && !differ(&[vec![7], vec![]], (0, 400)));
        assert!(!differ(&[vec![5_000, 5_001]], (0, 400)), "orders outside of the span do not count");
    }

    #[test]
    fn the_gift_shop_as_measured() {
        let Some(shop) = purchases("ukretail_orders.csv.gz") else { return };
        let (from, until) = (day("2009-12-01"), day("2010-11-30"));
        let orders = shop.iter().flat_map(|days| days.keys().map(|d| (*d, 1)));
        let index = Seasons::of_orders(orders, from, until).unwrap().index();
        for (month, wanted) in [(0, 0.662_766_646), (8, 1.074_930_658), (10, 1.695_770_109), (11, 0.980_462_397)] {
            assert!((index[month] - wanted).abs() < 1e-6, "{index:?}");
        }
    }
}
