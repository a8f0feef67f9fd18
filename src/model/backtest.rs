//! Would it have been right? A model fitted on the past predicts a period that has passed since, beside the simple rules that a shop could
//! use instead ([`thumb`](super::thumb)). What does not beat them is not worth having, and the report says so.

use serde::{Deserialize, Serialize};

use super::counts::{CountFit, History};
use super::forecast::whole;
use super::interval::Estimate;
use super::seasons::Calendar;
pub use super::thumb::Predictor;
use super::thumb::Seen;

/// Groups by which probabilities are held against what happened, at most …
const GROUPS_MAX: usize = 10;
/// … and customers in each, at least: of five, one more or less is 20 points.
const GROUP_CUSTOMERS_MIN: usize = 50;
/// Customers whose intervals are held against what happened, at most.
const INTERVALS_MAX: usize = 10_000;

/// A customer before and after the day at which the past was cut off.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Observed {
    /// What the model may see, in the calendar's weeks.
    pub history: History,
    /// The same in real weeks, for the rules.
    plain: History,
    /// Days with orders in the period before the cut, as long as the one after it.
    before: u32,
    /// Days with orders in the period after the cut.
    after: u32,
}

/// The period that is predicted: the days after `cut`, `days` of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Period {
    /// The last day of the past.
    pub cut: i64,
    pub days: i64,
}

impl Observed {
    /// Whether their orders, up to the cut or after it, are more than so many repeat orders: not like the others.
    pub fn is_beyond(&self, cap: u32) -> bool {
        self.history.repeats > cap || self.after > cap
    }
}

impl Period {
    /// Split a customer's days with orders (ascending, each once). `None` for those who had not ordered by the cut.
    pub fn split(&self, order_days: &[i64], calendar: &Calendar) -> Option<Observed> {
        let past = &order_days[..order_days.partition_point(|day| *day <= self.cut)];
        let counts = Counts {
            first: *past.first()?,
            last: *past.last()?,
            past: past.len() as u32,
            before: past.iter().filter(|day| **day > self.cut - self.days).count() as u32,
            after: order_days[past.len()..].iter().filter(|day| **day <= self.cut + self.days).count() as u32,
        };
        self.observed(&counts, calendar)
    }

    /// The same from days that were counted already; `None` when the counts contradict each other.
    pub fn observed(&self, counts: &Counts, calendar: &Calendar) -> Option<Observed> {
        let Counts { first, last, past, before, after } = *counts;
        let repeats = past.checked_sub(1)?;
        let weeks = |from: i64, to: i64| (to - from) as f64 / 7.0;
        Some(Observed {
            history: History::new(repeats, calendar.weeks(first, last), calendar.weeks(first, self.cut))?,
            plain: History::new(repeats, weeks(first, last), weeks(first, self.cut))?,
            before,
            after,
        })
    }
}

/// A customer's days with orders around a cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// The first and the last day, up to the cut.
    pub first: i64,
    pub last: i64,
    /// Days up to the cut, in the period before it, and in the period after it.
    pub past: u32,
    pub before: u32,
    pub after: u32,
}

/// How far predictions were from what happened.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Accuracy {
    pub predictor: Predictor,
    /// Orders predicted of everybody.
    pub total: f64,
    /// Predicted over actual, less 1; `None` when nobody ordered.
    pub total_error: Option<f64>,
    /// Mean absolute error of a customer's number of orders.
    pub mae: f64,
    /// Root of the mean squared error of it.
    pub rmse: f64,
    /// How often who ordered was ranked before who did not, ties counting half; `None` when everybody did, or nobody.
    pub auc: Option<f64>,
    /// Mean squared error of the probability of an order at all. A rule's number n stands for the probability 1 − e⁻ⁿ.
    pub brier: f64,
    /// Share of customers whose number of orders lay in the interval that is meant to hold
    /// [`SCORE_SHARE`](super::interval::SCORE_SHARE) of them.
    pub covered: f64,
    /// Share of customers who ordered more often than the high of it.
    pub above: f64,
}

/// A tenth of the customers (of a small shop, a larger part), by the probability of an order that the model gave them.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Tenth {
    pub customers: u64,
    /// Mean probability.
    pub predicted: f64,
    /// Share who ordered.
    pub actual: f64,
}

/// Predictions beside what happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Backtest {
    pub customers: u64,
    /// Days with orders in the period, of everybody.
    pub orders: u64,
    /// Share who ordered at all.
    pub buyers: f64,
    /// In the order of [`Predictor::ALL`].
    pub accuracy: Vec<Accuracy>,
    /// Least likely first; fewer than ten where they would be of fewer than fifty customers.
    pub calibration: Vec<Tenth>,
}

/// What models, fitted on the histories of these customers, would have said about the period; `None` without customers. `bg` is the one to
/// compare with.
pub fn backtest(
    fit: &CountFit,
    bg: Option<&CountFit>,
    customers: &[Observed],
    period: Period,
    calendar: &Calendar,
) -> Option<Backtest> {
    if customers.is_empty() {
        return None;
    }
    let weeks = period.days as f64 / 7.0;
    let horizon = calendar.weeks(period.cut, period.cut + period.days);
    let of_fit = |fit: &CountFit| -> Vec<Told> {
        let every = customers.len().div_ceil(INTERVALS_MAX);
        let told = |(n, customer): (usize, &Observed)| {
            let h = &customer.history;
            let likely = fit.model.orders_at_all(h, horizon);
            let interval = (n % every == 0).then(|| whole(fit.orders(h, horizon)));
            Told { orders: fit.model.expected_orders(h, horizon), interval, likely, rank: likely }
        };
        customers.iter().enumerate().map(told).collect()
    };
    let by_model = of_fit(fit);
    let calibration = calibration(customers, &by_model);
    let accuracy = Predictor::ALL.into_iter().filter_map(|predictor| {
        let told = match predictor {
            Predictor::Model => by_model.clone(),
            Predictor::BgNbd => of_fit(bg?),
            rule => customers.iter().map(|c| c.by_rule(rule, period, weeks)).collect::<Option<_>>()?,
        };
        Some(compare(predictor, customers, &told))
    });
    Some(Backtest {
        customers: customers.len() as u64,
        orders: customers.iter().map(|c| u64::from(c.after)).sum(),
        buyers: mean(customers.iter().map(|c| f64::from(c.after > 0))),
        accuracy: accuracy.collect(),
        calibration,
    })
}

/// What is predicted of a customer.
#[derive(Debug, Clone, Copy)]
struct Told {
    orders: f64,
    /// Between what it will be; not of everybody where there are very many.
    interval: Option<Estimate>,
    /// The probability of an order at all.
    likely: f64,
    /// What customers are ranked by.
    rank: f64,
}

impl Backtest {
    pub fn accuracy_of(&self, predictor: Predictor) -> &Accuracy {
        let found = self.accuracy.iter().find(|a| a.predictor == predictor);
        found.expect("the model and the rules were compared")
    }

    /// Who came closest to the number of orders of each customer: least squared error, since that is what an expected number is best at.
    /// The absolute error would prefer whoever says that nobody comes, for most customers do not.
    pub fn best(&self) -> Predictor {
        let closest = self.accuracy.iter().filter(|a| a.predictor.may_score()).min_by(|a, b| a.rmse.total_cmp(&b.rmse));
        closest.expect("the model and the rules were compared").predictor
    }

    /// Mean distance between the predicted and the actual share over the tenths.
    pub fn calibration_error(&self) -> f64 {
        let off = self.calibration.iter().map(|t| t.customers as f64 * (t.predicted - t.actual).abs());
        off.sum::<f64>() / self.customers as f64
    }
}

impl Observed {
    fn by_rule(&self, rule: Predictor, period: Period, weeks: f64) -> Option<Told> {
        let lately = Seen { orders: self.before, weeks: period.days as f64 / 7.0 };
        let told = rule.seen(&self.plain, lately)?.orders(weeks);
        let orders = told.value;
        Some(Told { orders, interval: Some(told), likely: -(-orders).exp_m1(), rank: orders })
    }
}

fn compare(predictor: Predictor, customers: &[Observed], told: &[Told]) -> Accuracy {
    let inside: Vec<(Estimate, f64)> =
        told.iter().zip(customers).filter_map(|(t, c)| Some((t.interval?, f64::from(c.after)))).collect();
    let pairs = || told.iter().zip(customers).map(|(t, c)| (t, f64::from(c.after)));
    let total: f64 = told.iter().map(|t| t.orders).sum();
    let orders: f64 = pairs().map(|(_, after)| after).sum();
    Accuracy {
        predictor,
        total,
        total_error: (orders > 0.0).then(|| total / orders - 1.0),
        mae: mean(pairs().map(|(t, after)| (t.orders - after).abs())),
        rmse: mean(pairs().map(|(t, after)| (t.orders - after).powi(2))).sqrt(),
        auc: auc(&told.iter().map(|t| t.rank).collect::<Vec<_>>(), customers),
        brier: mean(pairs().map(|(t, after)| (t.likely - f64::from(after > 0.0)).powi(2))),
        covered: mean(inside.iter().map(|(e, after)| f64::from((e.low..=e.high).contains(after)))),
        above: mean(inside.iter().map(|(e, after)| f64::from(*after > e.high))),
    }
}

/// What a model says of the period, customer by customer: the squared error of each number of orders.
pub fn squared_errors(fit: &CountFit, customers: &[Observed], period: Period, calendar: &Calendar) -> Vec<f64> {
    let horizon = calendar.weeks(period.cut, period.cut + period.days);
    let of = |c: &Observed| (fit.model.expected_orders(&c.history, horizon) - f64::from(c.after)).powi(2);
    customers.iter().map(of).collect()
}

/// Whether errors are smaller than others of the same customers by more than chance explains: the mean difference lies more than its standard
/// error above nothing. One lucky customer does not decide.
pub fn surely_smaller(errors: &[f64], than: &[f64]) -> bool {
    let gains = || than.iter().zip(errors).map(|(than, error)| than - error);
    let n = errors.len() as f64;
    if errors.len() != than.len() || errors.len() < 2 {
        return false;
    }
    let gain = gains().sum::<f64>() / n;
    let variance = gains().map(|g| (g - gain).powi(2)).sum::<f64>() / (n - 1.0);
    gain > (variance / n).sqrt()
}

fn mean(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let n = values.len().max(1) as f64;
    values.sum::<f64>() / n
}

/// The area under the ROC curve, from the ranks of those who ordered (Mann & Whitney 1947); equal scores share their mean rank.
fn auc(scores: &[f64], customers: &[Observed]) -> Option<f64> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|a, b| scores[*a].total_cmp(&scores[*b]));
    let (mut rank, mut ranks, mut bought) = (0.0, 0.0, 0.0);
    for equal in order.chunk_by(|a, b| scores[*a] == scores[*b]) {
        let size = equal.len() as f64;
        let among = equal.iter().filter(|i| customers[**i].after > 0).count() as f64;
        ranks += among * (rank + (size + 1.0) / 2.0);
        bought += among;
        rank += size;
    }
    let others = rank - bought;
    (bought > 0.0 && others > 0.0).then(|| (ranks - bought * (bought + 1.0) / 2.0) / (bought * others))
}

fn calibration(customers: &[Observed], told: &[Told]) -> Vec<Tenth> {
    let mut order: Vec<usize> = (0..told.len()).collect();
    order.sort_by(|a, b| told[*a].likely.total_cmp(&told[*b].likely));
    let groups = (order.len() / GROUP_CUSTOMERS_MIN).clamp(1, GROUPS_MAX);
    (0..groups)
        .map(|n| &order[n * order.len() / groups..(n + 1) * order.len() / groups])
        .filter(|group| !group.is_empty())
        .map(|group| Tenth {
            customers: group.len() as u64,
            predicted: mean(group.iter().map(|i| told[*i].likely)),
            actual: mean(group.iter().map(|i| f64::from(customers[*i].after > 0))),
        })
        .collect()
}

#[cfg(test)]
#[path = "backtest_tests.rs"]
mod tests;
