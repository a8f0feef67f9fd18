//! The scores of one customer: what a fit says, as a row of table score. Pure, but for what it remembers.

use std::collections::HashMap;

use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use super::learn;
use crate::args;
use crate::clock::Millis;
use crate::db::Value;
use crate::model::counts::CountFit;
use crate::model::interval::Estimate;
use crate::model::outlook::{Grid, Horizons, Outlook};
use crate::model::seasons::{Calendar, Seasons};
use crate::model::thumb::{Predictor, Seen, shape_quantiles};
use crate::model::value::ValueFit;
use crate::profile::day;

/// Ends of the steps in which a year is discounted, days.
const QUARTERS: [i64; 4] = [91, 183, 274, 365];
const SHORT_DAYS: i64 = 90;
/// The period that is taken for the next one where the last period is the best predictor, days.
const LAST_PERIOD_DAYS: i64 = 91;
/// A next order further away than this is not told.
const NEXT_ORDER_DAYS_MAX: f64 = 3_650.0;

pub(super) const COLUMNS: [&str; 22] = [
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

/// All that scoring needs of a fit; stored beside its card.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Basis {
    /// Who predicts: the model, or the rule of thumb that was closer.
    pub used: Predictor,
    pub counts: CountFit,
    pub values: Option<ValueFit>,
    pub seasons: Option<Seasons>,
    /// The first and the last day with an order of anybody: forecasts begin after the last.
    pub span: (i64, i64),
    /// What a year's delay takes off the value of an order, 0 to 1.
    pub discount_yearly: f64,
    /// What of an order's value counts, 0 to 1.
    pub margin: f64,
}

/// A customer as the profile knows them: bucket, id, days with orders, the first and the last of them, orders, revenue.
pub(super) type Buyer = (i64, String, i64, i64, i64, i64, i64);

/// Scores customers.
pub(super) struct Scorer {
    basis: Basis,
    grid: Grid,
    calendar: Calendar,
    zone: TimeZone,
    quarter: f64,
    /// Day → its beginning.
    begins: HashMap<i64, Millis>,
    /// Orders that a rule goes by → how unsure a rate of so many is.
    unsure: HashMap<u32, [f64; 2]>,
}

impl Scorer {
    pub fn new(basis: Basis, zone: &TimeZone) -> Scorer {
        let calendar = learn::calendar(basis.seasons.as_ref(), basis.span);
        let weeks = |days: i64| calendar.weeks(basis.span.1, basis.span.1 + days);
        let quarter = (1.0 - basis.discount_yearly).powf(0.25);
        let horizons = Horizons { short: weeks(SHORT_DAYS), quarters: QUARTERS.map(weeks), discount: quarter };
        let grid = Grid::new(basis.counts.clone(), horizons);
        Scorer { grid, calendar, zone: zone.clone(), quarter, begins: HashMap::new(), unsure: HashMap::new(), basis }
    }

    /// The newest day with an order of anybody at the fit.
    pub fn end(&self) -> i64 {
        self.basis.span.1
    }

    pub fn zone(&self) -> &TimeZone {
        &self.zone
    }

    /// The days that matter beside what the profile knows.
    pub fn last_period(&self) -> Option<(i64, i64)> {
        (self.basis.used == Predictor::LastPeriod).then(|| (self.end() - LAST_PERIOD_DAYS + 1, self.end()))
    }

    /// Append the row of a customer, who had orders on `lately` days of the last period; whether there is one.
    pub fn row(&mut self, buyer: &Buyer, lately: i64, fit_id: &str, now: Millis, rows: &mut Vec<Value>) -> bool {
        let &(bucket, ref customer_id, days, first, last, orders, revenue) = buyer;
        let end = self.end().max(last);
        let is_model = self.basis.used == Predictor::Model;
        let told = if is_model {
            learn::history(&self.calendar, days, first, last, end).map(|h| self.grid.outlook(&h))
        } else {
            self.by_rule(days, first, last, end, lately)
        };
        let Some(outlook) = told else { return false };
        let value = self.lifetime_value(&outlook, orders, revenue);
        let real = |e: Estimate| [e.value, e.low, e.high].map(Value::from);
        let money = |of: fn(&Estimate) -> f64| Value::from(value.as_ref().map(|e| of(e).round() as i64));
        let alive = is_model.then_some(outlook.alive);
        let part = |of: fn(&Estimate) -> f64| Value::from(alive.as_ref().map(of));
        let [low, middle, high] = outlook.next_order.map(|weeks| self.when(end, weeks?));
        rows.extend(args![bucket, customer_id]);
        rows.extend(real(outlook.orders_90d));
        rows.extend(real(outlook.orders_12m));
        rows.extend([money(|e| e.value), money(|e| e.low), money(|e| e.high)]);
        rows.extend([part(|e| e.value), part(|e| e.low), part(|e| e.high)]);
        rows.extend(real(outlook.orders_at_all.complement()));
        rows.extend(args![middle, low, high, fit_id, now]);
        true
    }

    /// A rule knows real weeks only, and neither who is still a customer nor when the next order comes.
    fn by_rule(&mut self, days: i64, first: i64, last: i64, end: i64, lately: i64) -> Option<Outlook> {
        let real = Calendar::new(&Seasons::NONE, first, first);
        let h = learn::history(&real, days, first, last, end)?;
        let weeks = |days: i64| days as f64 / 7.0;
        let lately = Seen { orders: u32::try_from(lately).ok()?, weeks: weeks(LAST_PERIOD_DAYS) };
        let seen = self.basis.used.seen(&h, lately)?;
        let quantiles = *self.unsure.entry(seen.orders).or_insert_with(|| shape_quantiles(seen.orders));
        let (short, year) = (seen.orders(weeks(SHORT_DAYS)), seen.orders(weeks(QUARTERS[3])));
        let mean_discount = (1..=4).map(|n| self.quarter.powi(n)).sum::<f64>() / 4.0;
        Some(Outlook {
            orders_90d: short,
            orders_12m: year,
            worth: year.value * mean_discount,
            // Not told.
            alive: Estimate { value: 1.0, low: 1.0, high: 1.0 },
            orders_at_all: seen.at_all(weeks(SHORT_DAYS), quantiles),
            next_order: [None; 3],
        })
    }

    /// Orders to come, discounted, times what one is worth; minor units.
    fn lifetime_value(&self, outlook: &Outlook, orders: i64, revenue: i64) -> Option<Estimate> {
        let orders = u32::try_from(orders).ok().filter(|n| *n > 0)?;
        // More given back than bought says no more than nothing bought.
        let mean = revenue.max(0) as f64 / f64::from(orders);
        let year = outlook.orders_12m;
        let value = self.basis.values.as_ref()?.expected(orders, mean, year.high);
        let discounted = if year.value > 0.0 { outlook.worth / year.value } else { 1.0 };
        // A rule that expects nothing does not rule out everything.
        let worth = if year.value > 0.0 {
            year.times(value)
        } else {
            Estimate { value: 0.0, low: 0.0, high: year.high * value.value }
        };
        Some(worth.scaled(discounted * self.basis.margin))
    }

    fn when(&mut self, end: i64, weeks: f64) -> Option<Millis> {
        let days = self.calendar.days_after(end, weeks);
        if days > NEXT_ORDER_DAYS_MAX {
            return None;
        }
        let day = end + days.ceil() as i64;
        Some(*self.begins.entry(day).or_insert_with(|| day::start_of(day, &self.zone)))
    }
}
