//! From orders to what the models learn from.
//!
//! A shop of a million buyers has more to tell than models of four parameters can use: they learn from about [`SAMPLE_BUYERS`] of them,
//! which makes parameters sure to a hundredth. These are the customers of the first buckets; a bucket is a hash, so they are drawn by chance,
//! and the same ones as long as the shop is of one size.

use jiff::tz::TimeZone;

use super::card::Holdout;
use crate::args;
use crate::clock::Millis;
use crate::db::{BUCKETS, Db, DbResult, bucket_ranges};
use crate::model::backtest::{Observed, Period, backtest, squared_errors, surely_smaller};
use crate::model::counts::{CountModel, Family, History, Sample};
use crate::model::gates::{Passed, fit_bg, fit_counts};
use crate::model::seasons::{Calendar, Seasons, differ_by_month};
use crate::model::value::Spend;
use crate::profile::day::{LocalDays, day_number, start_of};
use crate::profile::history::bought;

/// Buyers that models learn from, about.
const SAMPLE_BUYERS: i64 = 50_000;
/// Buckets whose orders are read in one statement.
const BUCKETS_PER_STATEMENT: i64 = 16;
/// Buckets whose profiles are surveyed in one statement.
const BUCKETS_PER_SURVEY: i64 = 256;
/// The days that are held out for the trial: 13 weeks.
const HELD_OUT_DAYS: i64 = 91;
/// What must lie before them.
const TRIAL_DAYS_MIN: i64 = 182;
/// Days after the newest order that a calendar must know: a forecast of a year, and some way to the next order.
const AHEAD_DAYS: i64 = 1_100;

/// The buyers that models learn from, and the days on which the whole shop had orders.
pub(super) struct Learnt {
    /// The first and the last day with an order of anybody; what is dated later than today is left out.
    pub span: (i64, i64),
    /// Days with orders of each buyer, ascending.
    days: Vec<Vec<i64>>,
    /// Orders and what they brought, net of returns, of each buyer who brought anything.
    pub spends: Vec<Spend>,
    /// Buyers who brought nothing, or less: no model of order values knows them.
    pub unpaid: u64,
}

/// The trial of a model on the last weeks.
pub(super) struct Trial {
    /// Whether it was closer with time counted by season, by more than chance explains.
    pub seasonal: bool,
    pub holdout: Holdout,
}

/// A model of the past, and the customers that it is tried on.
struct Attempt {
    calendar: Calendar,
    sample: Sample,
    passed: Passed,
    customers: Vec<Observed>,
    /// Customers that it is not tried on, being far busier than all others: one of them would decide for everybody.
    left_out: u64,
}

/// Read what models learn from. `None` without an order. Profiles must be up to date.
pub(super) async fn learn(db: &Db, zone: &TimeZone, now: Millis) -> DbResult<Option<Learnt>> {
    let today = day_number(now, zone);
    let Some((buyers, span)) = survey(db, today).await? else { return Ok(None) };
    let buckets = (BUCKETS * SAMPLE_BUYERS / buyers.max(1)).clamp(1, BUCKETS);
    let until = start_of(span.1 + 1, zone);
    let local = LocalDays::new(zone);
    let mut learnt = Learnt { span, days: Vec::new(), spends: Vec::new(), unpaid: 0 };
    for first in (0..buckets).step_by(BUCKETS_PER_STATEMENT as usize) {
        let last = (first + BUCKETS_PER_STATEMENT).min(buckets) - 1;
        for customer in bought(db, first, last).await? {
            let mut days = customer.days(&local);
            days.retain(|day| *day <= span.1);
            if !days.is_empty() {
                learnt.days.push(days);
                match spend(customer.sums(until)) {
                    Some(spend) => learnt.spends.push(spend),
                    None => learnt.unpaid += 1,
                }
            }
        }
    }
    Ok(Some(learnt))
}

/// Buyers, and the first and the last day with an order.
async fn survey(db: &Db, today: i64) -> DbResult<Option<(i64, (i64, i64))>> {
    let sql = "SELECT COUNT(*), MIN(first_order_day), MAX(last_order_day) FROM profile
               WHERE bucket >= $1 AND bucket <= $2 AND purchase_days > 0 AND first_order_day <= $3";
    let mut found: Option<(i64, (i64, i64))> = None;
    for (first, last) in bucket_ranges(BUCKETS_PER_SURVEY) {
        let row: (i64, Option<i64>, Option<i64>) = db.fetch_one(sql, args![first, last, today]).await?;
        let (buyers, Some(from), Some(to)) = row else { continue };
        let (all, span) = found.unwrap_or((0, (from, to)));
        found = Some((all + buyers, (span.0.min(from), span.1.max(to))));
    }
    Ok(found.map(|(buyers, (from, to))| (buyers, (from, to.min(today)))))
}

/// What a buyer's orders were worth.
fn spend((orders, net): (u32, i64)) -> Option<Spend> {
    Spend::new(orders, net as f64 / f64::from(orders.max(1)))
}

impl Learnt {
    pub fn buyers(&self) -> u64 {
        self.days.len() as u64
    }

    /// The seasons up to a day, if a year was seen.
    pub fn seasons(&self, until: i64) -> Option<Seasons> {
        Seasons::of_orders(self.days.iter().flatten().map(|day| (*day, 1)), self.span.0, until)
    }

    /// Whether the months up to a day differ by more than chance from what a model without seasons expects.
    fn has_seasons(&self, until: i64, plain: &CountModel) -> bool {
        let new = History::new(0, 0.0, 0.0).expect("nothing was seen yet");
        differ_by_month(self.past(until), (self.span.0, until), |weeks| plain.expected_orders(&new, weeks))
    }

    /// The days with orders of each buyer, up to a day.
    fn past(&self, until: i64) -> impl Iterator<Item = &[i64]> {
        self.days.iter().map(move |days| &days[..days.partition_point(|day| *day <= until)])
    }

    /// What every buyer did up to a day.
    pub fn sample(&self, calendar: &Calendar, until: i64) -> Sample {
        let past = || self.past(until);
        let histories = past().filter_map(|days| {
            let (first, last) = (days.first()?, days.last()?);
            history(calendar, days.len() as i64, *first, *last, until)
        });
        let log_gaps = past().flat_map(|days| days.windows(2)).map(|gap| calendar.weeks(gap[0], gap[1]).ln()).sum();
        Sample::new(histories, log_gaps)
    }

    /// Fit without the last weeks and compare with what happened in them; `None` when too little lies before, or was too little to fit.
    pub fn trial(&self, cap: Option<u32>) -> Option<Trial> {
        let period = Period { cut: self.span.1 - HELD_OUT_DAYS, days: HELD_OUT_DAYS };
        if period.cut - self.span.0 < TRIAL_DAYS_MIN {
            return None;
        }
        let attempt = self.attempt(period, cap, None)?;
        let has_seasons = self.has_seasons(period.cut, &attempt.passed.fit.model);
        let seasons = self.seasons(period.cut).filter(|_| has_seasons);
        let by_season = seasons.and_then(|seasons| self.attempt(period, cap, Some(&seasons)));
        let by_season = by_season.filter(|other| surely_smaller(&other.errors(period), &attempt.errors(period)));
        let seasonal = by_season.is_some();
        let Attempt { calendar, sample, passed, customers, left_out } = by_season.unwrap_or(attempt);
        let bg = fit_bg(&sample, passed.cap);
        let told = backtest(&passed.fit, Some(&bg), &customers, period, &calendar)?;
        let holdout = Holdout { left_out, ..Holdout::new(period, passed.fit.model.k, told) };
        Some(Trial { seasonal, holdout })
    }

    fn attempt(&self, period: Period, cap: Option<u32>, seasons: Option<&Seasons>) -> Option<Attempt> {
        let calendar = calendar(seasons, self.span);
        let sample = self.sample(&calendar, period.cut);
        let passed = fit_counts(Family::Mbg, &sample, cap).ok()?;
        let all = self.days.iter().filter_map(|days| period.split(days, &calendar));
        let (beyond, customers): (Vec<_>, Vec<_>) = all.partition(|customer| customer.is_beyond(passed.cap));
        Some(Attempt { calendar, sample, passed, customers, left_out: beyond.len() as u64 })
    }
}

impl Attempt {
    fn errors(&self, period: Period) -> Vec<f64> {
        squared_errors(&self.passed.fit, &self.customers, period, &self.calendar)
    }
}

pub(super) fn calendar(seasons: Option<&Seasons>, (first, last): (i64, i64)) -> Calendar {
    Calendar::new(seasons.unwrap_or(&Seasons::NONE), first, last + AHEAD_DAYS)
}

/// The history of a customer with `purchase_days` days with orders, seen until `end`.
pub(super) fn history(calendar: &Calendar, purchase_days: i64, first: i64, last: i64, end: i64) -> Option<History> {
    let repeats = u32::try_from(purchase_days - 1).ok()?;
    History::new(repeats, calendar.weeks(first, last), calendar.weeks(first, end))
}

/// Customers with more repeat orders than a cap, the busiest first, and how many orders each had.
pub(super) async fn extreme(db: &Db, cap: u32, most: usize) -> DbResult<Vec<(String, i64)>> {
    let sql =
        "SELECT customer_id, purchase_days FROM profile WHERE bucket >= $1 AND bucket <= $2 AND purchase_days > $3 + 1
               ORDER BY purchase_days DESC, customer_id LIMIT $4";
    let mut found: Vec<(String, i64)> = Vec::new();
    for (first, last) in bucket_ranges(BUCKETS_PER_SURVEY) {
        found.extend(db.fetch_all::<(String, i64)>(sql, args![first, last, i64::from(cap), most as i64]).await?);
    }
    found.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    found.truncate(most);
    Ok(found)
}
