//! The scores of one customer, and writing those of all: bucket range by bucket range, one short transaction each.

use std::collections::HashMap;

use jiff::tz::TimeZone;

use super::{ScoreError, learn};
use crate::args;
use crate::clock::{self, Millis};
use crate::db::{BUCKETS, Conflict, Db, DbResult, Lease, Value};
use crate::model::counts::{CountFit, History};
use crate::model::interval::Estimate;
use crate::model::seasons::Calendar;
use crate::model::value::ValueFit;
use crate::profile::day;
use crate::settings::Settings;

/// What a year's delay takes off the value of an order.
const DISCOUNT_YEARLY: f64 = 0.1;
/// Ends of the steps in which a year is discounted, days.
const QUARTERS: [i64; 4] = [91, 183, 274, 365];
const SHORT_DAYS: i64 = 90;
/// Of customers like this one, still customers, so many have ordered again by the low, the middle and the high of `next_order_at`.
const NEXT_ORDER_SHARES: [f64; 3] = [0.1, 0.5, 0.9];
/// A next order further away than this is not told.
const NEXT_ORDER_DAYS_MAX: f64 = 3_650.0;
/// Buckets in one transaction.
const SLICE_BUCKETS: i64 = 16;
/// How often a slice is tried when another session gets in its way.
const SLICE_TRIES: u32 = 5;
/// Histories whose forecast is remembered.
const REMEMBERED_MAX: usize = 200_000;

const COLUMNS: [&str; 22] = [
    "bucket",
    "customer_id",
    "orders_90d",
    "orders_90d_low",
    "orders_90d_high",
    "orders_12m",
    "orders_12m_low",
    "orders_12m_high",
    "ltv_12m",
    "ltv_12m_low",
    "ltv_12m_high",
    "alive",
    "alive_low",
    "alive_high",
    "churn_90d",
    "churn_90d_low",
    "churn_90d_high",
    "next_order_at",
    "next_order_low_at",
    "next_order_high_at",
    "fit_id",
    "computed_at",
];

/// What is needed to score a customer.
pub(super) struct Scorer {
    counts: CountFit,
    values: Option<ValueFit>,
    calendar: Calendar,
    /// The newest day with an order of anybody: forecasts begin after it.
    end: i64,
    zone: TimeZone,
    /// Operational weeks of the horizons.
    short: f64,
    quarters: [f64; 4],
}

/// What hangs on a customer's history alone.
#[derive(Clone)]
struct Forecast {
    orders_90d: Estimate,
    orders_12m: Estimate,
    /// Discounted.
    worth: f64,
    alive: Estimate,
    churn_90d: Estimate,
    /// Low, median and high.
    next_order: [Option<Millis>; 3],
}

/// A customer as the profile knows them.
type Buyer = (i64, String, i64, i64, i64, i64, Option<i64>);

impl Scorer {
    pub fn new(
        counts: CountFit,
        values: Option<ValueFit>,
        calendar: Calendar,
        end: i64,
        settings: &Settings,
    ) -> Scorer {
        let weeks = |days: i64| calendar.weeks(end, end + days);
        let (short, quarters) = (weeks(SHORT_DAYS), QUARTERS.map(weeks));
        Scorer { counts, values, calendar, end, zone: settings.time_zone.clone(), short, quarters }
    }

    fn forecast(&self, h: &History) -> Forecast {
        let model = &self.counts.model;
        let discount = (1.0 - DISCOUNT_YEARLY).powf(0.25);
        let at = |share: f64| {
            let days = self.calendar.days_after(self.end, model.next_order(h, share)?);
            (days <= NEXT_ORDER_DAYS_MAX).then(|| day::start_of(self.end + days.ceil() as i64, &self.zone))
        };
        Forecast {
            orders_90d: self.counts.expected_orders(h, self.short),
            orders_12m: self.counts.expected_orders(h, self.quarters[3]),
            worth: model.discounted_orders(h, &self.quarters, discount),
            alive: self.counts.alive(h),
            churn_90d: self.counts.orders_at_all(h, self.short).complement(),
            next_order: NEXT_ORDER_SHARES.map(at),
        }
    }

    /// Orders to come, discounted, times what one is worth; minor units.
    fn lifetime_value(&self, forecast: &Forecast, orders: i64, average: Option<i64>) -> Option<Estimate> {
        let (orders, average) = (u32::try_from(orders).ok()?, average.filter(|mean| *mean > 0)?);
        let value = self.values.as_ref()?.expected(orders, average as f64);
        // As sure as the number of orders, which is not discounted.
        let scale = if forecast.orders_12m.value > 0.0 { forecast.worth / forecast.orders_12m.value } else { 0.0 };
        let Estimate { value: n, low, high } = forecast.orders_12m;
        Some(Estimate { value: n * scale, low: low * scale, high: high * scale }.times(value))
    }

    /// The row of a buyer; `None` when what is known of them contradicts itself.
    fn row(
        &self,
        buyer: Buyer,
        remembered: &mut HashMap<(i64, i64, i64), Forecast>,
        fit_id: &str,
        now: Millis,
    ) -> Option<Vec<Value>> {
        let (bucket, customer_id, days, first, last, orders, average) = buyer;
        if remembered.len() > REMEMBERED_MAX {
            remembered.clear();
        }
        let forecast = match remembered.get(&(days, first, last)) {
            Some(forecast) => forecast.clone(),
            None => {
                let forecast = self.forecast(&learn::history(&self.calendar, days, first, last, self.end)?);
                remembered.insert((days, first, last), forecast.clone());
                forecast
            }
        };
        let value = self.lifetime_value(&forecast, orders, average);
        let real = |e: Estimate| [e.value, e.low, e.high].map(Value::from);
        let money = |of: fn(&Estimate) -> f64| Value::from(value.as_ref().map(|e| of(e).round() as i64));
        let [low, middle, high] = forecast.next_order;
        let mut row = args![bucket, customer_id];
        row.extend(real(forecast.orders_90d));
        row.extend(real(forecast.orders_12m));
        row.extend([money(|e| e.value), money(|e| e.low), money(|e| e.high)]);
        row.extend(real(forecast.alive));
        row.extend(real(forecast.churn_90d));
        row.extend(args![middle, low, high, fit_id, now]);
        Some(row)
    }
}

/// Score every buyer; how many there are.
pub(super) async fn all(db: &Db, scorer: &Scorer, fit_id: &str, now: Millis, lease: &Lease) -> Result<u64, ScoreError> {
    let (mut scored, mut remembered) = (0, HashMap::new());
    for first in (0..BUCKETS).step_by(SLICE_BUCKETS as usize) {
        // Real time: the lease must outlive a long run.
        if !lease.renew(db, clock::now()).await? {
            return Err(ScoreError::Busy);
        }
        let last = (first + SLICE_BUCKETS - 1).min(BUCKETS - 1);
        let sql = "SELECT bucket, customer_id, purchase_days, first_order_day, last_order_day, orders, average_order FROM profile
                   WHERE bucket >= $1 AND bucket <= $2 AND purchase_days > 0 AND last_order_day <= $3";
        let buyers: Vec<Buyer> = db.fetch_all(sql, args![first, last, scorer.end]).await?;
        let rows: Vec<Vec<Value>> =
            buyers.into_iter().filter_map(|b| scorer.row(b, &mut remembered, fit_id, now)).collect();
        scored += rows.len() as u64;
        let mut tries = 1;
        loop {
            match slice(db, first, last, rows.concat(), fit_id).await {
                Err(e) if e.is_retryable() && tries < SLICE_TRIES => tries += 1,
                ended => break ended?,
            }
        }
    }
    Ok(scored)
}

async fn slice(db: &Db, first: i64, last: i64, rows: Vec<Value>, fit_id: &str) -> DbResult<()> {
    let mut tx = db.begin().await?;
    let key = ["bucket", "customer_id"];
    tx.insert_rows("score", &COLUMNS, rows, Conflict::Update { key: &key }).await?;
    // Those who have a new score, and those who are about to lose theirs.
    tx.execute(
        "INSERT INTO segment_due (bucket, customer_id) SELECT bucket, customer_id FROM score
         WHERE bucket >= $1 AND bucket <= $2 ON CONFLICT (bucket, customer_id) DO NOTHING",
        args![first, last],
    )
    .await?;
    tx.execute("DELETE FROM score WHERE bucket >= $1 AND bucket <= $2 AND fit_id <> $3", args![first, last, fit_id])
        .await?;
    tx.commit().await
}
