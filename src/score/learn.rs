//! From orders to what the models learn from. Everything comes grouped out of the database: days and gaps with how often they occur,
//! histories with how many customers have each.

use jiff::tz::TimeZone;

use super::card::Holdout;
use crate::args;
use crate::clock::Millis;
use crate::db::{Db, DbResult, bucket_ranges};
use crate::model::backtest::{Backtest, Counts, Observed, Period, Predictor, backtest};
use crate::model::counts::{Family, History, Sample};
use crate::model::gates::fit_counts;
use crate::model::seasons::{Calendar, Seasons};
use crate::model::value::Spend;
use crate::profile::COUNTED;
use crate::profile::day::day_sql;

/// Buckets whose orders are read in one statement.
const BUCKETS_PER_STATEMENT: i64 = 64;
/// The days that are held out for the trial: 13 weeks.
const HELD_OUT_DAYS: i64 = 91;
/// What must lie before them.
const TRIAL_DAYS_MIN: i64 = 182;
/// Days after the newest order that a calendar must know: a forecast of a year, and some way to the next order.
const AHEAD_DAYS: i64 = 1_100;

/// On which days customers ordered, and how long after their day before.
pub(super) struct OrderDays {
    /// (day, days since the customer's last such day), and how many customers; once for each range of buckets.
    gaps: Vec<(i64, Option<i64>, i64)>,
}

/// The trial of a model on the last weeks.
pub(super) struct Trial {
    /// Whether it was closer with time counted by season.
    pub seasonal: bool,
    pub holdout: Holdout,
}

/// SQL: a row for each customer and local day with a counted order, among those of the buckets `$1` to `$2`.
fn days_sql(zone: &TimeZone, now: Millis) -> String {
    let day = day_sql("o.ordered_at", zone, now);
    format!(
        "SELECT o.bucket, o.customer_id, {day} AS day FROM customer_order o
         WHERE o.bucket >= $1 AND o.bucket <= $2 AND {COUNTED} GROUP BY 1, 2, 3"
    )
}

pub(super) async fn order_days(db: &Db, zone: &TimeZone, now: Millis) -> DbResult<OrderDays> {
    let days = days_sql(zone, now);
    let sql = format!(
        "SELECT day, gap, COUNT(*) FROM
           (SELECT day, day - LAG(day) OVER (PARTITION BY bucket, customer_id ORDER BY day) AS gap FROM ({days}) d) g
         GROUP BY day, gap"
    );
    let mut gaps = Vec::new();
    for (first, last) in bucket_ranges(BUCKETS_PER_STATEMENT) {
        gaps.extend(db.fetch_all::<(i64, Option<i64>, i64)>(&sql, args![first, last]).await?);
    }
    Ok(OrderDays { gaps })
}

impl OrderDays {
    /// The first and the last day with an order.
    pub fn span(&self) -> Option<(i64, i64)> {
        let days = || self.gaps.iter().map(|(day, ..)| *day);
        days().min().zip(days().max())
    }

    /// The seasons up to a day, if a year was seen.
    pub fn seasons(&self, until: i64) -> Option<Seasons> {
        let (first, _) = self.span()?;
        Seasons::of_orders(self.gaps.iter().map(|(day, _, n)| (*day, n.unsigned_abs())), first, until)
    }

    /// Σ ln(weeks) over the gaps that end by a day.
    fn log_gaps(&self, calendar: &Calendar, until: i64) -> f64 {
        let ended = self.gaps.iter().filter(|(day, ..)| *day <= until);
        ended.filter_map(|(day, gap, n)| gap.map(|gap| *n as f64 * calendar.weeks(day - gap, *day).ln())).sum()
    }
}

pub(super) fn calendar(seasons: Option<&Seasons>, (first, last): (i64, i64)) -> Calendar {
    Calendar::new(seasons.unwrap_or(&Seasons::NONE), first, last + AHEAD_DAYS)
}

/// What every buyer did, up to the newest order of anybody.
pub(super) async fn sample(db: &Db, days: &OrderDays, calendar: &Calendar, (_, last): (i64, i64)) -> DbResult<Sample> {
    let sql = "SELECT purchase_days, first_order_day, last_order_day, COUNT(*) FROM profile
               WHERE purchase_days > 0 AND last_order_day <= $1 GROUP BY 1, 2, 3";
    let rows: Vec<(i64, i64, i64, i64)> = db.fetch_all(sql, args![last]).await?;
    let groups = rows
        .into_iter()
        .filter_map(|(n, from, to, people)| Some((history(calendar, n, from, to, last)?, people.unsigned_abs())));
    Ok(Sample::of_groups(groups, days.log_gaps(calendar, last)))
}

/// The history of a customer with `purchase_days` days with orders, seen until `end`.
pub(super) fn history(calendar: &Calendar, purchase_days: i64, first: i64, last: i64, end: i64) -> Option<History> {
    let repeats = u32::try_from(purchase_days - 1).ok()?;
    History::new(repeats, calendar.weeks(first, last), calendar.weeks(first, end))
}

/// What the orders of every buyer were worth, in minor units.
pub(super) async fn spends(db: &Db) -> DbResult<Vec<Spend>> {
    let sql = "SELECT orders, average_order FROM profile WHERE orders > 0 AND average_order > 0";
    let rows: Vec<(i64, i64)> = db.fetch_all(sql, vec![]).await?;
    Ok(rows.into_iter().filter_map(|(n, mean)| Spend::new(u32::try_from(n).ok()?, mean as f64)).collect())
}

/// Fit without the last weeks and compare with what happened in them; `None` when too little lies before, or was too little to fit.
pub(super) async fn trial(
    db: &Db,
    zone: &TimeZone,
    now: Millis,
    days: &OrderDays,
    span: (i64, i64),
) -> DbResult<Option<Trial>> {
    let period = Period { cut: span.1 - HELD_OUT_DAYS, days: HELD_OUT_DAYS };
    if period.cut - span.0 < TRIAL_DAYS_MIN {
        return Ok(None);
    }
    let counted = counted(db, zone, now, period).await?;
    let attempt = |seasons: Option<&Seasons>| {
        let calendar = calendar(seasons, span);
        let customers: Vec<Observed> = counted
            .iter()
            .filter_map(|(counts, people)| Some((period.observed(counts, &calendar)?, *people as usize)))
            .flat_map(|(seen, people)| std::iter::repeat_n(seen, people))
            .collect();
        let sample = Sample::new(customers.iter().map(|c| c.history), days.log_gaps(&calendar, period.cut));
        let passed = fit_counts(Family::Mbg, &sample).ok()?;
        let told = backtest(&passed.fit.model, &customers, period, &calendar)?;
        Some((seasons.is_some(), passed.fit.model.k, told))
    };
    let by_season = days.seasons(period.cut);
    let attempts = [attempt(None), by_season.as_ref().and_then(|s| attempt(Some(s)))];
    let error = |told: &Backtest| told.accuracy_of(Predictor::Model).rmse;
    let best = attempts.into_iter().flatten().min_by(|a, b| error(&a.2).total_cmp(&error(&b.2)));
    Ok(best.map(|(seasonal, k, told)| Trial { seasonal, holdout: Holdout::new(period, k, told) }))
}

/// Customers' days with orders around a cut, equal ones of a range of buckets counted together.
async fn counted(db: &Db, zone: &TimeZone, now: Millis, period: Period) -> DbResult<Vec<(Counts, u64)>> {
    let days = days_sql(zone, now);
    let sql = format!(
        "SELECT first_day, last_day, days_past, days_before, days_after, COUNT(*) FROM
           (SELECT MIN(day) AS first_day, MAX(day) FILTER (WHERE day <= $3) AS last_day,
                   COUNT(*) FILTER (WHERE day <= $3) AS days_past,
                   COUNT(*) FILTER (WHERE day <= $3 AND day > $3 - $4) AS days_before,
                   COUNT(*) FILTER (WHERE day > $3 AND day <= $3 + $4) AS days_after
            FROM ({days}) d GROUP BY bucket, customer_id HAVING MIN(day) <= $3) c
         GROUP BY 1, 2, 3, 4, 5"
    );
    let mut rows = Vec::new();
    for (first, last) in bucket_ranges(BUCKETS_PER_STATEMENT) {
        let part: Vec<(i64, i64, i64, i64, i64, i64)> =
            db.fetch_all(&sql, args![first, last, period.cut, period.days]).await?;
        rows.extend(part);
    }
    let small = |n: i64| u32::try_from(n).unwrap_or(u32::MAX);
    Ok(rows
        .into_iter()
        .map(|(first, last, past, before, after, people)| {
            let counts = Counts { first, last, past: small(past), before: small(before), after: small(after) };
            (counts, people.unsigned_abs())
        })
        .collect())
}
