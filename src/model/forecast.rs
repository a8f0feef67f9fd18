//! What a fitted count model says about one customer: still one? how many orders to come? when the next? and how sure is that.
//!
//! All numbers come from one distribution. Given that a customer is still one, the stages that pass in the next `t` weeks are negative
//! binomial; every k-th ends in an order, and after each order the customer stays with a chance that is known on average. So
//! P(n orders or more) is a product of two known numbers, and the expected number is their sum over n: the papers' ₂F₁ (Fader et al. 2005,
//! eq. 10) written as a series of positive terms, without its pole at a = 1; for k > 1 exact, where the paper approximates (Reutterer et
//! al. 2020).
//!
//! Time in weeks from the end of what was observed. Every number is finite for every [`History`].

use super::counts::{CountFit, CountModel, History};
use super::interval::{Estimate, SCORE_SHARE};
use super::optimise::delta_error;
use super::special::{log_odds, logistic};

/// Terms of a series at most: so many stages in a horizon. Only a model with alpha near 0 ever gets there.
const TERMS_MAX: u32 = 20_000;
/// Sums larger than this are scaled down.
const SCALE_AT: f64 = 1e250;
/// What is left of a series that may be dropped, as a share of its sum.
const REST: f64 = 1e-17;
/// A median further away than this many weeks (two thousand years) is never.
const NEVER_WEEKS: f64 = 1e5;

impl CountModel {
    /// P(alive): the probability that the customer has not left. Fader & Hardie 2008, "Computing P(alive) Using the BG/NBD Model"; Batislam
    /// et al. 2007; Reutterer et al. 2020.
    pub fn alive(&self, h: &History) -> f64 {
        logistic(-self.log_odds_left(h))
    }

    /// E[Y(t)]: orders expected within `t` weeks.
    pub fn expected_orders(&self, h: &History, t: f64) -> f64 {
        self.alive(h) * self.orders_given_alive(h, t)
    }

    /// The same, given that they are still a customer.
    pub(super) fn orders_given_alive(&self, h: &History, t: f64) -> f64 {
        self.phases(h).map(|(j, share)| share * self.orders_of_phase(h, j, t)).sum()
    }

    /// P(at least one order within `t` weeks).
    pub fn orders_at_all(&self, h: &History, t: f64) -> f64 {
        self.alive(h) * self.orders_at_all_given_alive(h, t)
    }

    /// Weeks until half of the customers like this one, given that they are still customers, have ordered again; `None` when that is
    /// never.
    pub fn next_order_median(&self, h: &History) -> Option<f64> {
        self.next_order(h, 0.5)
    }

    /// Weeks until a share of them has (0 to 1, neither included). For k = 1 (α + T)((1 − share)^{−1/(r + x)} − 1), a quantile of a Lomax
    /// distribution.
    pub fn next_order(&self, h: &History, share: f64) -> Option<f64> {
        if self.k == 1 {
            let weeks = (self.alpha + h.observed) * (-(-share).ln_1p() / self.shape(h.repeats)).exp_m1();
            return (weeks <= NEVER_WEEKS).then_some(weeks);
        }
        let (mut low, mut high) = (0.0, NEVER_WEEKS);
        if self.orders_at_all_given_alive(h, high) < share {
            return None;
        }
        // 80 halvings bring 1e5 weeks below a double's precision.
        for _ in 0..80 {
            let middle = f64::midpoint(low, high);
            if self.orders_at_all_given_alive(h, middle) < share { low = middle } else { high = middle }
        }
        Some(high)
    }

    /// How many orders within `t` weeks are plausible: the fewest and the most such that at most `(1 − share)/2` lie below and above.
    pub fn orders_range(&self, h: &History, t: f64, share: f64) -> (u32, u32) {
        let tail = (1.0 - share.clamp(0.0, 1.0)) / 2.0;
        let at_least = self.orders_at_least(h, t, tail);
        // P(Y < n) = 1 − P(Y ≥ n) ≤ tail for the fewest n; P(Y > n) ≤ tail for the most.
        let fewest = at_least.iter().rposition(|p| 1.0 - p <= tail).unwrap_or(0);
        let most = at_least.iter().position(|p| *p <= tail).map_or(at_least.len(), |n| n.saturating_sub(1));
        (fewest as u32, most as u32)
    }

    /// Orders of the steps that end at `ends` (weeks, ascending), those of each discounted by the factor `discount` once more. An order is
    /// worth 1; times its value this is what the customer is worth.
    pub fn discounted_orders(&self, h: &History, ends: &[f64], discount: f64) -> f64 {
        let (mut before, mut factor, mut sum) = (0.0, 1.0, 0.0);
        for end in ends {
            let until = self.expected_orders(h, *end);
            factor *= discount;
            sum += factor * (until - before);
            before = until;
        }
        sum
    }

    /// Since the last order 0 ≤ j < k stages have passed: each j with its probability, given alive.
    fn phases(&self, h: &History) -> impl Iterator<Item = (u32, f64)> {
        let (shape, z) = (self.shape(h.repeats), (h.observed - h.recency) / (self.alpha + h.observed));
        let terms = (0..self.k).scan(1.0, move |term, j| {
            let now = *term;
            *term *= (shape + f64::from(j)) * z / f64::from(j + 1);
            Some(now)
        });
        let total: f64 = terms.clone().sum();
        terms.enumerate().map(move |(j, term)| (j as u32, term / total))
    }

    /// Stages within `t` weeks, given alive and `j` stages since the last order, are negative binomial: shape and chance of each stage.
    fn stages_to_come(&self, h: &History, j: u32, t: f64) -> (f64, f64) {
        (self.shape(h.repeats) + f64::from(j), t / (self.alpha + h.observed + t))
    }

    pub(super) fn orders_at_all_given_alive(&self, h: &History, t: f64) -> f64 {
        self.phases(h)
            .map(|(j, share)| {
                // P(fewer than k − j stages) = (1 − z)^R Σ_{i<k−j} (R)_i zⁱ / i!.
                let (shape, z) = self.stages_to_come(h, j, t);
                let none = shape * (t / (self.alpha + h.observed)).ln_1p();
                let (mut term, mut few) = (1.0, 0.0);
                for i in 1..self.k - j {
                    term *= (shape + f64::from(i) - 1.0) * z / f64::from(i);
                    few += term;
                }
                share * (-(-none).exp_m1() - (-none).exp() * few)
            })
            .sum()
    }

    /// E[orders within `t` | alive, phase j] = Σ_n P(n stages) · Σ_{i < (n + j)/k} P(stays through i more orders).
    fn orders_of_phase(&self, h: &History, j: u32, t: f64) -> f64 {
        let (shape, z) = self.stages_to_come(h, j, t);
        let mut stay = Stay::new(self, h);
        // Weights start at 1; what they are divided by is known as a logarithm.
        let (mut weight, mut weights, mut sum) = (1.0_f64, 1.0, 0.0);
        let mut ln_total = shape * (t / (self.alpha + h.observed)).ln_1p();
        let (mut phase, mut orders) = (j, 0.0);
        for n in 0..TERMS_MAX {
            let at = f64::from(n);
            let ratio = z * (shape + at) / (at + 1.0);
            weight *= ratio;
            weights += weight;
            phase += 1;
            if phase == self.k {
                phase = 0;
                orders += stay.next();
            }
            sum += weight * orders;
            // Later terms shrink at least as fast as the larger of this ratio and z.
            let shrink = ratio.max(z);
            if shrink < 1.0 && weight * (orders + 1.0 / (1.0 - shrink)) < REST * (1.0 - shrink) * sum {
                return sum / weights;
            }
            // Far horizons begin below the smallest double.
            if weights > SCALE_AT {
                weight /= SCALE_AT;
                weights /= SCALE_AT;
                sum /= SCALE_AT;
                ln_total -= SCALE_AT.ln();
            }
        }
        // So many stages that the rest is taken for as many orders as were counted.
        let counted = (weights.ln() - ln_total).exp().min(1.0);
        counted * sum / weights + (1.0 - counted) * orders
    }

    /// P(Y ≥ n) for n = 0, 1, …, until it is not above `enough`.
    fn orders_at_least(&self, h: &History, t: f64, enough: f64) -> Vec<f64> {
        let alive = self.alive(h);
        let stages: Vec<(u32, f64, Vec<f64>)> =
            self.phases(h).map(|(j, share)| (j, share, self.stage_tails(h, j, t))).collect();
        let mut stay = Stay::new(self, h);
        let mut out = vec![1.0];
        for n in 1..TERMS_MAX {
            let stays = stay.next();
            let passed: f64 = stages
                .iter()
                .map(|(j, share, tails)| share * tails.get((n * self.k - j) as usize).copied().unwrap_or(0.0))
                .sum();
            let p = alive * stays * passed;
            out.push(p);
            if p <= enough {
                break;
            }
        }
        out
    }

    /// P(n stages or more) for n = 0, 1, …, as far as it matters.
    fn stage_tails(&self, h: &History, j: u32, t: f64) -> Vec<f64> {
        let (shape, z) = self.stages_to_come(h, j, t);
        let mut weights = vec![1.0_f64];
        let mut total = 1.0;
        for n in 0..TERMS_MAX {
            let at = f64::from(n);
            let ratio = z * (shape + at) / (at + 1.0);
            let weight = weights[n as usize] * ratio;
            weights.push(weight);
            total += weight;
            let shrink = ratio.max(z);
            if shrink < 1.0 && weight < 1e-12 * (1.0 - shrink) * total {
                break;
            }
            if total > SCALE_AT {
                weights.iter_mut().for_each(|w| *w /= SCALE_AT);
                total /= SCALE_AT;
            }
        }
        let mut tail = 0.0;
        for weight in weights.iter_mut().rev() {
            tail += *weight;
            *weight = tail / total;
        }
        weights
    }
}

/// P(stays through n more orders), one after the other: Π_{i<n} (b + m + i) / (a + b + m + i) after m chances to leave.
struct Stay {
    next: f64,
    kept: f64,
    all: f64,
}

impl Stay {
    fn new(model: &CountModel, h: &History) -> Stay {
        let kept = model.b + f64::from(model.chances(h.repeats));
        Stay { next: 1.0, kept, all: model.a + kept }
    }

    fn next(&mut self) -> f64 {
        let now = self.next;
        self.next *= self.kept / self.all;
        self.kept += 1.0;
        self.all += 1.0;
        now
    }
}

/// All at [`SCORE_SHARE`].
impl CountFit {
    /// P(alive), and how far it is off because the parameters are estimates.
    pub fn alive(&self, h: &History) -> Estimate {
        self.probability(|model| model.alive(h))
    }

    /// P(at least one order within `t` weeks), likewise.
    pub fn orders_at_all(&self, h: &History, t: f64) -> Estimate {
        self.probability(|model| model.orders_at_all(h, t))
    }

    /// Orders expected within `t` weeks, likewise.
    pub fn expected_orders(&self, h: &History, t: f64) -> Estimate {
        let error = self.standard_error(|model| model.expected_orders(h, t).max(f64::MIN_POSITIVE).ln());
        Estimate::by_factor(self.model.expected_orders(h, t), error)
    }

    /// Orders expected within `t` weeks, and between what their number will lie: chance, what the customer's own rate is, and what the
    /// parameters are, all count. Not yet whole numbers: see [`whole`].
    pub fn orders(&self, h: &History, t: f64) -> Estimate {
        let expected = self.expected_orders(h, t);
        let (fewest, most) = self.model.orders_range(h, t, SCORE_SHARE);
        let (low, high) = (f64::from(fewest).min(expected.value), f64::from(most).max(expected.value));
        let chance = Estimate { low, high, ..expected };
        if expected.value <= 0.0 { chance } else { chance.times(expected.scaled(1.0 / expected.value)) }
    }

    fn probability(&self, of: impl Fn(&CountModel) -> f64) -> Estimate {
        Estimate::by_odds(of(&self.model), self.standard_error(|model| log_odds(of(model))))
    }

    fn standard_error(&self, of: impl Fn(&CountModel) -> f64) -> f64 {
        delta_error(&self.covariance, |by| of(&self.model.scaled(by.map(f64::exp))))
    }
}

/// An interval of a number of orders in whole orders; the expected number, which is not whole, stays inside.
pub fn whole(orders: Estimate) -> Estimate {
    let Estimate { value, low, high } = orders;
    Estimate { value, low: low.round().min(value), high: high.round().max(value) }
}

#[cfg(test)]
#[path = "forecast_tests.rs"]
mod tests;
