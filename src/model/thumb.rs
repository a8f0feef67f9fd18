//! Rules of thumb: what a shop can say of the weeks to come without any model. A model that is not nearer than these is not worth having,
//! so each fit is held against them, and where one of them wins it is what the scores say.

use serde::{Deserialize, Serialize};

use statrs::function::gamma::gamma_lr;

use super::counts::History;
use super::interval::{Estimate, SCORE_SHARE};

/// Silence after which the recency rule takes a customer for gone, weeks.
const SILENT_WEEKS: f64 = 13.0;
/// A rate is of this many weeks at least: one repeat order on the second day is no rate of seven a week.
const RATE_WEEKS_MIN: f64 = 4.0;
/// A number with a larger mean is told by the normal distribution.
const COUNTED_MEAN_MAX: f64 = 300.0;
/// What an interval leaves out at each end.
const TAIL: f64 = (1.0 - SCORE_SHARE) / 2.0;

/// Who predicts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Predictor {
    /// MBG/NBD.
    Model,
    /// BG/NBD, for comparison: whoever ordered once is a customer for ever, so it is never what the scores say.
    BgNbd,
    LastPeriod,
    PastRate,
    RecencyRule,
}

impl Predictor {
    pub const ALL: [Predictor; 5] =
        [Predictor::Model, Predictor::BgNbd, Predictor::LastPeriod, Predictor::PastRate, Predictor::RecencyRule];

    pub fn meaning(self) -> &'static str {
        match self {
            Predictor::Model => "the model",
            Predictor::BgNbd => "BG/NBD, to compare",
            Predictor::LastPeriod => "same as last period",
            Predictor::PastRate => "everybody at their past rate",
            Predictor::RecencyRule => "past rate, unless silent for 13 weeks",
        }
    }

    /// Whether scores may be what it says.
    pub fn may_score(self) -> bool {
        self != Predictor::BgNbd
    }

    /// What a rule goes by, of a customer with this history in real weeks who ordered as often as `lately` in the last period; `None` for
    /// models.
    pub fn seen(self, h: &History, lately: Seen) -> Option<Seen> {
        let silent_weeks = h.observed - h.recency;
        match self {
            Predictor::Model | Predictor::BgNbd => None,
            Predictor::LastPeriod => Some(lately),
            Predictor::RecencyRule if silent_weeks > SILENT_WEEKS => Some(Seen { orders: 0, weeks: silent_weeks }),
            Predictor::PastRate | Predictor::RecencyRule => {
                Some(Seen { orders: h.repeats, weeks: h.observed.max(RATE_WEEKS_MIN) })
            }
        }
    }
}

/// So many days with orders in so many weeks: all that a rule knows of a customer. Whoever had none in them may still order, and whoever had
/// two has not that rate for sure: the rate is as unsure as a count is (a gamma distribution of shape orders + ½; Jeffreys' prior).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Seen {
    pub orders: u32,
    pub weeks: f64,
}

impl Seen {
    fn shape(self) -> f64 {
        f64::from(self.orders) + 0.5
    }

    /// Orders within `weeks` at the same rate, with what their number will be for [`SCORE_SHARE`] of such customers: chance and the rate
    /// being unsure both count (negative binomial).
    pub fn orders(self, weeks: f64) -> Estimate {
        let value = f64::from(self.orders) / self.weeks * weeks;
        let (shape, times) = (self.shape(), weeks / self.weeks);
        let mean = shape * times;
        if mean > COUNTED_MEAN_MAX {
            let half = Estimate::by_factor(1.0, 1.0).high.ln() * (mean + mean * times).sqrt();
            let (low, high) = ((mean - half).floor().max(0.0), (mean + half).ceil());
            return Estimate { value, low: low.min(value), high: high.max(value) };
        }
        let share = times / (1.0 + times);
        let (mut term, mut below, mut n) = ((-shape * times.ln_1p()).exp(), 0.0, 0.0);
        let mut low = 0.0;
        // `below` is P(fewer than n).
        while below + term < 1.0 - TAIL {
            below += term;
            term *= (shape + n) / (n + 1.0) * share;
            n += 1.0;
            if below <= TAIL {
                low = n;
            }
            if term < f64::EPSILON && n > mean {
                break;
            }
        }
        Estimate { value, low: f64::min(low, value), high: f64::max(n, value) }
    }

    /// The probability of an order at all within `weeks`, by [`shape_quantiles`] of the same number of orders.
    pub fn at_all(self, weeks: f64, quantiles: [f64; 2]) -> Estimate {
        let some = |mean: f64| -(-mean).exp_m1();
        let value = some(f64::from(self.orders) / self.weeks * weeks);
        let [low, high] = quantiles.map(|q| some(q / self.weeks * weeks));
        Estimate { value, low: low.min(value), high: high.max(value) }
    }
}

/// Between what the rate of a customer with so many orders lies for [`SCORE_SHARE`] of them, in orders per time seen: quantiles of the gamma
/// distribution, by bisection of its distribution function.
pub fn shape_quantiles(orders: u32) -> [f64; 2] {
    let shape = f64::from(orders) + 0.5;
    [TAIL, 1.0 - TAIL].map(|wanted| {
        let (mut low, mut high) = (0.0, shape + 10.0 * shape.sqrt());
        // 60 halvings reach the last bit of a double.
        for _ in 0..60 {
            let middle = f64::midpoint(low, high);
            if gamma_lr(shape, middle) < wanted { low = middle } else { high = middle }
        }
        high
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Orders within 8 weeks, of somebody who had 3 in the last 12.
    fn said(by: Predictor, repeats: u32, recency: f64, observed: f64) -> Option<f64> {
        let seen = by.seen(&History::new(repeats, recency, observed).unwrap(), Seen { orders: 3, weeks: 12.0 });
        seen.map(|s| s.orders(8.0).value)
    }

    #[test]
    fn each_rule_by_hand() {
        assert_eq!(said(Predictor::PastRate, 10, 30.0, 40.0), Some(2.0));
        assert_eq!(said(Predictor::RecencyRule, 10, 30.0, 40.0), Some(2.0));
        assert_eq!(said(Predictor::RecencyRule, 10, 20.0, 40.0), Some(0.0));
        assert_eq!(said(Predictor::LastPeriod, 10, 20.0, 40.0), Some(2.0));
        assert_eq!(said(Predictor::PastRate, 1, 0.1, 0.2), Some(2.0), "two days are no rate");
        assert_eq!(said(Predictor::Model, 1, 1.0, 2.0), None);
    }

    #[test]
    fn nothing_seen_is_not_nothing_to_come() {
        // As many weeks as were seen: a count of r has probability C(r − ½, r) / 2^(r + ½): 0.707, 0.177, 0.066, 0.028.
        let none = Seen { orders: 0, weeks: 13.0 };
        let of = |seen: Seen, weeks: f64| (seen.orders(weeks).low, seen.orders(weeks).high);
        assert_eq!((none.orders(13.0).value, of(none, 13.0)), (0.0, (0.0, 2.0)));
        assert_eq!(of(none, 1e-9), (0.0, 0.0));
        // The quantile of 90 % of half a χ² of one degree of freedom: 2.705543 / 2.
        let [low, high] = shape_quantiles(0);
        assert!((low - 0.015_790_774 / 2.0).abs() < 1e-8 && (high - 2.705_543_454 / 2.0).abs() < 1e-8, "{low} {high}");
        let some = none.at_all(13.0, [low, high]);
        assert_eq!((some.value, some.low), (0.0, 0.0));
        assert!((some.high - (1.0 - (-1.352_771_727_f64).exp())).abs() < 1e-8, "{some:?}");
        // χ² of seven degrees of freedom: 2.833107 and 12.017037.
        let [low, high] = shape_quantiles(3);
        assert!((low - 2.833_107 / 2.0).abs() < 1e-6 && (high - 12.017_037 / 2.0).abs() < 1e-6, "{low} {high}");
    }

    #[test]
    fn much_seen_is_told_as_surely_as_chance_lets_it() {
        // A rate known from a thousand times as long: Poisson. At 5 P(Y ≤ 1) = 0.040, P(Y ≤ 2) = 0.125, P(Y ≤ 8) = 0.932.
        let five = Seen { orders: 5_000, weeks: 1_000.0 }.orders(1.0);
        assert_eq!((five.value, five.low, five.high), (5.0, 2.0, 8.0));
        let many = Seen { orders: 40_000, weeks: 1.0 }.orders(1.0);
        let half = 1.281_551_6 * 80_000.5_f64.sqrt();
        assert!((many.low - (40_000.0 - half)).abs() < 3.0 && (many.high - (40_000.0 + half)).abs() < 3.0, "{many:?}");
        // Where counting ends and the normal distribution begins, both say nearly the same.
        let (counted, normal) =
            (Seen { orders: 299, weeks: 4.0 }.orders(4.0), Seen { orders: 300, weeks: 4.0 }.orders(4.0));
        assert!(
            (counted.low - normal.low).abs() < 4.0 && (counted.high - normal.high).abs() < 4.0,
            "{counted:?} {normal:?}"
        );
    }
}
