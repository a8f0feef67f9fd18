//! Rules of thumb: what a shop can say of the weeks to come without any model. A model that is not nearer than these is not worth having,
//! so each fit is held against them, and where one of them wins it is what the scores say.

use serde::{Deserialize, Serialize};

use super::counts::History;
use super::interval::{Estimate, SCORE_SHARE};

/// Silence after which the recency rule takes a customer for gone, weeks.
const SILENT_WEEKS: f64 = 13.0;
/// A rate is of this many weeks at least: one repeat order on the second day is no rate of seven a week.
const RATE_WEEKS_MIN: f64 = 4.0;
/// A Poisson number with a larger mean is told by the normal distribution.
const POISSON_MEAN_MAX: f64 = 300.0;

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

    /// Orders within `weeks` by a rule, of a customer with this history in real weeks who had `lately` orders a week in the last period;
    /// `None` for models.
    pub fn rule(self, h: &History, lately: f64, weeks: f64) -> Option<f64> {
        let rate = f64::from(h.repeats) / h.observed.max(RATE_WEEKS_MIN);
        let is_silent = h.observed - h.recency > SILENT_WEEKS;
        match self {
            Predictor::Model | Predictor::BgNbd => None,
            Predictor::LastPeriod => Some(lately * weeks),
            Predictor::RecencyRule if is_silent => Some(0.0),
            Predictor::PastRate | Predictor::RecencyRule => Some(rate * weeks),
        }
    }
}

/// A number of orders that a rule expects, with what it will be for [`SCORE_SHARE`] of such customers if orders come by chance at that rate.
pub fn poisson(mean: f64) -> Estimate {
    let tail = (1.0 - SCORE_SHARE) / 2.0;
    if mean > POISSON_MEAN_MAX {
        let half = Estimate::by_factor(1.0, 1.0).high.ln() * mean.sqrt();
        return Estimate { value: mean, low: (mean - half).floor(), high: (mean + half).ceil() };
    }
    let (mut term, mut below, mut n) = ((-mean).exp(), 0.0, 0.0);
    let mut low = 0.0;
    // `below` is P(fewer than n).
    while below + term < 1.0 - tail {
        below += term;
        n += 1.0;
        term *= mean / n;
        if below <= tail {
            low = n;
        }
        if term < f64::EPSILON && n > mean {
            break;
        }
    }
    Estimate { value: mean, low: f64::min(low, mean), high: f64::max(n, mean) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(by: Predictor, repeats: u32, recency: f64, observed: f64) -> Option<f64> {
        by.rule(&History::new(repeats, recency, observed).unwrap(), 0.25, 8.0)
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
    fn poisson_quantiles_as_tabled() {
        // P(Y = 0) at 0.1 is 0.905; at 1: 0.368, 0.736, 0.920; at 5 P(Y ≤ 1) = 0.040, P(Y ≤ 2) = 0.125, P(Y ≤ 8) = 0.932.
        let of = |mean: f64| (poisson(mean).low, poisson(mean).high);
        assert_eq!(of(0.0), (0.0, 0.0));
        assert_eq!(of(0.1), (0.0, 0.1));
        assert_eq!(of(1.0), (0.0, 2.0));
        assert_eq!(of(5.0), (2.0, 8.0));
        let (low, high) = of(40_000.0);
        assert!((low - 39_743.0).abs() <= 1.0 && (high - 40_257.0).abs() <= 1.0, "{low} {high}");
        let (low, high) = of(299.9);
        assert!((low - 278.0).abs() < 2.0 && (high - 322.0).abs() < 2.0, "{low} {high}");
    }
}
