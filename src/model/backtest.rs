//! Would it have been right? A model fitted on the past predicts a period that has passed since, beside the simple rules that a shop could
//! use instead. What does not beat them is not worth having, and the report says so.
//!
//! The rules: the coming period will be *like the last* of the same length; everybody goes on *at their past rate*; the same, but whoever has
//! been *silent* for 13 weeks is gone.

use serde::{Deserialize, Serialize};

use super::counts::{CountModel, History};
use super::seasons::Calendar;

/// Silence after which the recency rule takes a customer for gone, weeks.
const SILENT_WEEKS: f64 = 13.0;
/// A rate is of this many weeks at least: one repeat order on the second day is no rate of seven a week.
const RATE_WEEKS_MIN: f64 = 4.0;
const GROUPS: usize = 10;

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

/// Who predicts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Predictor {
    Model,
    LastPeriod,
    PastRate,
    RecencyRule,
}

impl Predictor {
    pub const ALL: [Predictor; 4] =
        [Predictor::Model, Predictor::LastPeriod, Predictor::PastRate, Predictor::RecencyRule];

    pub fn meaning(self) -> &'static str {
        match self {
            Predictor::Model => "the model",
            Predictor::LastPeriod => "same as last period",
            Predictor::PastRate => "everybody at their past rate",
            Predictor::RecencyRule => "past rate, unless silent for 13 weeks",
        }
    }
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
}

/// A tenth of the customers, by the probability of an order that the model gave them.
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
    /// Least likely first; fewer than ten when there are fewer customers.
    pub calibration: Vec<Tenth>,
}

/// What a model, fitted on the histories of these customers, would have said about the period; `None` without customers.
pub fn backtest(model: &CountModel, customers: &[Observed], period: Period, calendar: &Calendar) -> Option<Backtest> {
    if customers.is_empty() {
        return None;
    }
    let (horizon, weeks) = (calendar.weeks(period.cut, period.cut + period.days), period.days as f64 / 7.0);
    let probabilities: Vec<f64> = customers.iter().map(|c| model.orders_at_all(&c.history, horizon)).collect();
    let accuracy = Predictor::ALL.map(|predictor| {
        let counts: Vec<f64> = customers
            .iter()
            .map(|c| match predictor {
                Predictor::Model => model.expected_orders(&c.history, horizon),
                Predictor::LastPeriod => f64::from(c.before),
                Predictor::PastRate => c.rate() * weeks,
                Predictor::RecencyRule => {
                    if c.is_silent() {
                        0.0
                    } else {
                        c.rate() * weeks
                    }
                }
            })
            .collect();
        if predictor == Predictor::Model {
            return compare(predictor, customers, &counts, &probabilities, &probabilities);
        }
        let likely: Vec<f64> = counts.iter().map(|n| -(-n).exp_m1()).collect();
        compare(predictor, customers, &counts, &counts, &likely)
    });
    Some(Backtest {
        customers: customers.len() as u64,
        orders: customers.iter().map(|c| u64::from(c.after)).sum(),
        buyers: mean(customers.iter().map(|c| f64::from(c.after > 0))),
        accuracy: accuracy.to_vec(),
        calibration: calibration(customers, &probabilities),
    })
}

impl Backtest {
    /// How far a predictor was off.
    pub fn accuracy_of(&self, predictor: Predictor) -> &Accuracy {
        let found = self.accuracy.iter().find(|a| a.predictor == predictor);
        found.expect("every predictor was compared")
    }

    /// Who came closest to the number of orders of each customer: least squared error, since that is what an expected number is best at.
    /// The absolute error would prefer whoever says that nobody comes, for most customers do not.
    pub fn best(&self) -> Predictor {
        let closest = self.accuracy.iter().min_by(|a, b| a.rmse.total_cmp(&b.rmse));
        closest.expect("every predictor was compared").predictor
    }

    /// Mean distance between the predicted and the actual share over the tenths.
    pub fn calibration_error(&self) -> f64 {
        let off = self.calibration.iter().map(|t| t.customers as f64 * (t.predicted - t.actual).abs());
        off.sum::<f64>() / self.customers as f64
    }
}

impl Observed {
    /// Repeat orders a week.
    fn rate(&self) -> f64 {
        f64::from(self.plain.repeats) / self.plain.observed.max(RATE_WEEKS_MIN)
    }

    fn is_silent(&self) -> bool {
        self.plain.observed - self.plain.recency > SILENT_WEEKS
    }
}

/// `counts` are predicted orders, `scores` what customers are ranked by, `likely` the probabilities of an order.
fn compare(predictor: Predictor, customers: &[Observed], counts: &[f64], scores: &[f64], likely: &[f64]) -> Accuracy {
    let off = || counts.iter().zip(customers).map(|(n, c)| n - f64::from(c.after));
    let total: f64 = counts.iter().sum();
    let orders: f64 = customers.iter().map(|c| f64::from(c.after)).sum();
    let missed = likely.iter().zip(customers).map(|(p, c)| (p - f64::from(c.after > 0)).powi(2));
    Accuracy {
        predictor,
        total,
        total_error: (orders > 0.0).then(|| total / orders - 1.0),
        mae: mean(off().map(f64::abs)),
        rmse: mean(off().map(|e| e * e)).sqrt(),
        auc: auc(scores, customers),
        brier: mean(missed),
    }
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

fn calibration(customers: &[Observed], probabilities: &[f64]) -> Vec<Tenth> {
    let mut order: Vec<usize> = (0..probabilities.len()).collect();
    order.sort_by(|a, b| probabilities[*a].total_cmp(&probabilities[*b]));
    (0..GROUPS)
        .map(|n| &order[n * order.len() / GROUPS..(n + 1) * order.len() / GROUPS])
        .filter(|group| !group.is_empty())
        .map(|group| Tenth {
            customers: group.len() as u64,
            predicted: mean(group.iter().map(|i| probabilities[*i])),
            actual: mean(group.iter().map(|i| f64::from(customers[*i].after > 0))),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::counts::{Family, Sample, fit};
    use super::super::fixtures::{self, Shop, day, purchases};
    use super::super::seasons::Seasons;
    use super::*;

    #[track_caller]
    fn close(found: f64, wanted: f64, relative: f64) {
        assert!((found - wanted).abs() <= relative * wanted.abs(), "{found} is not {wanted}");
    }

    /// Fit on the past of a file of the reference data, predict the weeks after it.
    fn replay(file: &str, period: Period, calendar: &Calendar, family: Family) -> Option<(CountModel, f64, Backtest)> {
        let shop = purchases(file)?;
        let customers: Vec<Observed> =
            shop.into_iter().filter_map(|days| period.split(&days.into_keys().collect::<Vec<_>>(), calendar)).collect();
        let fitted = fit(family, 1, &Sample::new(customers.iter().map(|c| c.history), 0.0), None);
        let told = backtest(&fitted.model, &customers, period, calendar).unwrap();
        Some((fitted.model, fitted.log_likelihood, told))
    }

    fn plain() -> Calendar {
        Calendar::new(&Seasons::NONE, 0, 1)
    }

    #[test]
    fn cdnow_as_measured() {
        let period = Period { cut: day("1997-09-30"), days: 39 * 7 };
        let Some((_, _, told)) = replay("cdnow_sample.csv.gz", period, &plain(), Family::Mbg) else { return };
        assert_eq!((told.customers, told.orders), (2_357, 1_882));
        close(told.buyers, 0.290_199_406, 1e-8);
        let [model, last, rate, _] = told.accuracy[..] else { panic!("{told:?}") };
        close(model.total_error.unwrap(), -0.162_205_996, 1e-5);
        for (found, wanted) in [
            (model.total, 1_576.728_315),
            (model.mae, 0.764_778_949),
            (model.rmse, 1.607_182_656),
            (model.auc.unwrap(), 0.760_103_274),
            (model.brier, 0.161_406_324),
            (last.total, 4_814.0),
            (last.mae, 1.596_096_733),
            (last.rmse, 2.317_958_518),
            (last.auc.unwrap(), 0.757_627_157),
            (rate.total, 2_930.101_126),
            (rate.mae, 1.023_669_163),
            (rate.auc.unwrap(), 0.759_772_951),
        ] {
            close(found, wanted, 1e-5);
        }
        assert_eq!(told.best(), Predictor::Model);
        // The reference has 0.0540 with other borders between the tenths.
        assert!((told.calibration_error() - 0.054).abs() < 0.002, "{}", told.calibration_error());

        let Some((_, _, told)) = replay("cdnow_sample.csv.gz", period, &plain(), Family::Bg) else { return };
        close(told.accuracy[0].total, 1_653.408_704, 1e-5);
        close(told.accuracy[0].mae, 0.785_454_236, 1e-5);
    }

    #[test]
    fn the_season_explains_half_of_what_went_wrong_in_the_gift_shop() {
        let (from, cut) = (day("2009-12-01"), day("2010-11-30"));
        let period = Period { cut, days: 26 * 7 };
        let file = "ukretail_orders.csv.gz";
        let Some(shop) = purchases(file) else { return };
        let Some((_, likelihood, flat)) = replay(file, period, &plain(), Family::Mbg) else { return };
        // On the ridge of this likelihood no two searches end with the same parameters; what they predict is the same.
        close(likelihood, -36_741.256_57, 1e-8);
        let [model, _, _, recency] = flat.accuracy[..] else { panic!("{flat:?}") };
        close(model.total_error.unwrap(), 0.638_585, 2e-3);
        close(model.mae, 1.375_72, 1e-3);
        close(recency.mae, 1.261_302_142, 1e-6);
        close(recency.auc.unwrap(), 0.748_853_117, 1e-6);
        assert!(model.mae > recency.mae, "without the season a rule of thumb is nearer");

        let orders = shop.iter().flat_map(|days| days.keys().map(|d| (*d, 1)));
        let seasons = Seasons::of_orders(orders, from, cut).unwrap();
        let calendar = Calendar::new(&seasons, from, cut + period.days);
        let Some((fitted, likelihood, told)) = replay(file, period, &calendar, Family::Mbg) else { return };
        close(likelihood, -37_349.879_513_8, 1e-6);
        for (found, wanted) in fitted.parameters().iter().zip([0.843_904, 10.575_307, 0.391_016, 49.408_121]) {
            close(*found, wanted, 5e-3);
        }
        let model = told.accuracy[0];
        close(model.total_error.unwrap(), 0.248_219, 2e-3);
        close(model.mae, 1.118_445, 1e-3);
        close(model.auc.unwrap(), 0.781_466, 1e-3);
        assert!(model.mae < recency.mae && told.best() == Predictor::Model);
    }

    #[test]
    fn the_day_of_the_cut_belongs_to_the_past() {
        let period = Period { cut: 100, days: 30 };
        let split = |days: &[i64]| period.split(days, &plain());
        let seen = split(&[40, 70, 71, 100, 101, 130, 131]).unwrap();
        assert_eq!((seen.history.repeats, seen.before, seen.after), (3, 2, 2));
        close(seen.history.recency, 60.0 / 7.0, 1e-12);
        close(seen.history.observed, 60.0 / 7.0, 1e-12);
        assert_eq!(split(&[101, 110]), None);
        assert_eq!(split(&[]), None);
    }

    #[test]
    fn ranks_with_ties_by_hand() {
        let customer = |after: u32| Observed { after, ..Period { cut: 10, days: 5 }.split(&[1], &plain()).unwrap() };
        let customers = [customer(0), customer(2), customer(0), customer(1)];
        // Pairs (bought, not): (0.5, 0.2) won, (0.5, 0.5) a tie, (0.9, both) won.
        assert_eq!(auc(&[0.2, 0.5, 0.5, 0.9], &customers), Some(3.5 / 4.0));
        assert_eq!(auc(&[0.2], &customers[..1]), None);
        assert_eq!(auc(&[0.2, 0.5], &[customer(1), customer(1)]), None);
    }

    #[test]
    fn who_did_what_the_model_says_is_predicted_best_by_it() {
        let mut shop = Shop::new(fixtures::MBG, 21);
        let period = Period { cut: 280, days: 140 };
        let customers: Vec<Observed> = (0..3_000)
            .map(|_| {
                let seen = shop.customer(40.0, 20.0);
                Observed { history: seen.history, plain: seen.history, before: 0, after: seen.later }
            })
            .collect();
        let told = backtest(&fixtures::MBG, &customers, period, &plain()).unwrap();
        assert_eq!(told.best(), Predictor::Model);
        assert!(told.accuracy[0].total_error.unwrap().abs() < 0.1, "{told:?}");
        assert!(told.calibration_error() < 0.03, "{told:?}");
        assert_eq!(told.calibration.iter().map(|t| t.customers).sum::<u64>(), 3_000);
        assert_eq!(backtest(&fixtures::MBG, &[], period, &plain()), None);
    }
}
