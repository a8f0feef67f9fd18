//! What an order of a customer is worth: the Gamma-Gamma model (Fader & Hardie 2013, "The Gamma-Gamma Model of Monetary Value"; Fader,
//! Hardie & Lee 2005, J. Marketing Research 42, 415–430).
//!
//! Orders of one customer vary about a mean of their own, as a gamma distribution of shape `p`; the means vary between customers as an
//! inverse gamma distribution does (`q`, `v`). So a customer with few orders is expected to spend nearly what everybody does, one with many
//! what they always did. The papers fit the mean of *repeat* orders; here it is whatever the caller counts, and all orders predict better.
//!
//! Money in any unit, in and out alike. `q` is kept above 1: below, the mean of everybody would be infinite.

use serde::{Deserialize, Serialize};

use super::interval::Estimate;
use super::optimise::{Curvature, Minimum, Start, Valued, Walls, curvature, delta_error, minimise};
use super::special::{digamma, ln_beta, trigamma};

/// The lowest `q`.
const Q_MIN: f64 = 1.01;
/// With `q` this near to its lowest, a few customers spend as much as all the others together.
const Q_HEAVY: f64 = 1.05;
/// With `p` above this the orders of one customer differ by less than 2 %; the search stops where the last digits of ln Γ begin to matter.
const P_LARGE: f64 = 3e3;
const P_MAX: f64 = 1e4;
/// Up to so many customers only equal ones are counted together …
const SPENDERS_APART: usize = 10_000;
/// … and beyond those whose mean value differs by less than this share.
const ALIKE_STEP: f64 = 0.02;
/// Customers with an order value, at least.
pub const SPENDERS_MIN: usize = 50;

/// Orders of one customer and the mean value of them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spend {
    pub orders: u32,
    pub mean: f64,
}

impl Spend {
    /// `None` without orders, or when they cost nothing: the model knows no free orders.
    pub fn new(orders: u32, mean: f64) -> Option<Spend> {
        (orders > 0 && mean > 0.0 && mean.is_finite()).then_some(Spend { orders, mean })
    }
}

/// A fitted model. `v` is in money.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct GammaGamma {
    pub p: f64,
    pub q: f64,
    pub v: f64,
}

/// The names of the parameters, in the order of arrays here.
pub const PARAMETERS: [&str; 3] = ["p", "q", "v"];

impl GammaGamma {
    /// The value of an order that is expected of a customer, after `orders` orders of mean value `mean`; without orders what is expected
    /// of everybody. Fader & Hardie 2013, eq. 5: the mean of both, weighted by how much is known.
    pub fn expected(&self, orders: u32, mean: f64) -> f64 {
        let known = self.p * f64::from(orders);
        if orders == 0 { self.everybody() } else { (self.p * self.v + known * mean) / (known + self.q - 1.0) }
    }

    /// The mean over everybody.
    pub fn everybody(&self) -> f64 {
        self.p * self.v / (self.q - 1.0)
    }

    /// ln of the likelihood (Fader & Hardie 2013, eq. 1a), and its derivatives by p, q and v.
    fn likelihood(&self, grouped: &Grouped) -> Valued<3> {
        let GammaGamma { p, q, v } = *self;
        let (mut sum, mut by, of_q) = (0.0, [0.0; 3], digamma(q));
        for (orders, means) in &grouped.0 {
            // What hangs on the number of orders alone is computed once for all who have so many.
            let (x, shape) = (f64::from(*orders), p * f64::from(*orders));
            let (beta, of_shape, of_both) = (ln_beta(shape, q), digamma(shape), digamma(shape + q));
            for (mean, n) in means {
                let total = x * mean;
                let all = total + v;
                let (from_v, from_total) = ((v / all).ln(), (total / all).ln());
                sum += n * (q * from_v + shape * from_total - beta - mean.ln());
                by[0] += n * x * (of_both - of_shape + from_total);
                by[1] += n * (of_both - of_q + from_v);
                by[2] += n * (q / v - (shape + q) / all);
            }
        }
        (sum, by)
    }

    pub fn log_likelihood(&self, spends: &[Spend]) -> f64 {
        self.likelihood(&Grouped::of(spends)).0
    }

    /// From ln p, ln(q − [`Q_MIN`]) and ln pv: where all prices are one, p runs away and only pv is known.
    fn of_logs(logs: &[f64; 3]) -> GammaGamma {
        let [p, over, scale] = logs.map(f64::exp);
        GammaGamma { p, q: Q_MIN + over, v: scale / p }
    }

    fn logs(&self) -> [f64; 3] {
        [self.p, self.q - Q_MIN, self.p * self.v].map(f64::ln)
    }

    fn objective(logs: &[f64; 3], grouped: &Grouped, people: f64) -> Valued<3> {
        let model = GammaGamma::of_logs(logs);
        let (sum, [by_p, by_q, by_v]) = model.likelihood(grouped);
        let by = [by_p * model.p - by_v * model.v, by_q * (model.q - Q_MIN), by_v * model.v];
        (-sum / people, by.map(|slope| -slope / people))
    }
}

/// Customers by their number of orders; those of about the same mean value counted together where there are very many.
struct Grouped(Vec<(u32, Vec<(f64, f64)>)>);

impl Grouped {
    fn of(spends: &[Spend]) -> Grouped {
        let alike = |mean: f64| if spends.len() > SPENDERS_APART { (mean.ln() / ALIKE_STEP).floor() as i64 } else { 0 };
        let mut sorted: Vec<(u32, i64, f64)> = spends.iter().map(|s| (s.orders, alike(s.mean), s.mean)).collect();
        sorted.sort_unstable_by(|a, b| (a.0, a.1).cmp(&(b.0, b.1)).then(a.2.total_cmp(&b.2)));
        let apart = spends.len() <= SPENDERS_APART;
        let of_orders = |same: &[(u32, i64, f64)]| {
            let cells = same.chunk_by(|a, b| if apart { a.2 == b.2 } else { a.1 == b.1 });
            let cell = |cell: &[(u32, i64, f64)]| {
                let n = cell.len() as f64;
                (cell.iter().map(|s| s.2).sum::<f64>() / n, n)
            };
            (same[0].0, cells.map(cell).collect())
        };
        Grouped(sorted.chunk_by(|a, b| a.0 == b.0).map(of_orders).collect())
    }
}

/// What the data does not say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ValueBoundary {
    /// A few customers spend so much that the mean over everybody hangs on them.
    HeavyTail,
    /// The orders of one customer hardly differ.
    FixedPrice,
}

impl ValueBoundary {
    /// As a sentence.
    pub fn meaning(self) -> &'static str {
        match self {
            ValueBoundary::HeavyTail => "a few customers spend so much that the mean over everybody hangs on them",
            ValueBoundary::FixedPrice => "the orders of one customer hardly differ in value",
        }
    }
}

/// Why no model of order values was fitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoValue {
    #[error("order values are known of {found} customers only; a model needs {SPENDERS_MIN}")]
    TooFew { found: usize },
}

/// A model, and how sure its parameters are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ValueFit {
    pub model: GammaGamma,
    /// Of [`PARAMETERS`], by the delta method; `None` where the data does not say.
    pub standard_errors: [Option<f64>; 3],
    /// Of ln p, ln(q − Q_MIN), ln pv.
    covariance: [[f64; 3]; 3],
    pub log_likelihood: f64,
    pub customers: u64,
    pub converged: bool,
    pub boundaries: Vec<ValueBoundary>,
}

/// The most likely parameters.
pub fn fit(spends: &[Spend]) -> Result<ValueFit, NoValue> {
    if spends.len() < SPENDERS_MIN {
        return Err(NoValue::TooFew { found: spends.len() });
    }
    let mean = spends.iter().map(|s| s.mean).sum::<f64>() / spends.len() as f64;
    let walls = Walls { low: [1e-3, 1e-4, mean * 1e-9].map(f64::ln), high: [P_MAX, 1e4, mean * 1e6].map(f64::ln) };
    // A large sample is searched from where a part of it ended.
    let mut start = Start::at([2.0, 2.0, 2.0 * mean].map(f64::ln));
    if spends.len() > SPENDERS_APART {
        let scouts: Vec<Spend> = spends.iter().step_by(spends.len().div_ceil(SPENDERS_APART)).copied().collect();
        let (found, known) = search(start, &walls, &scouts);
        start = Start::after(found.at, &known.covariance, scouts.len() as f64);
    }
    let (found, known) = search(start, &walls, spends);
    let model = GammaGamma::of_logs(&found.at);
    let [ln_p, ln_q, ln_scale] = known.standard_error;
    let covariance = known.covariance;
    // ln v = ln pv − ln p.
    let ln_v = ln_p.zip(ln_scale).map(|(p, scale)| (p * p + scale * scale - 2.0 * covariance[0][2]).max(0.0).sqrt());
    let boundaries = [(model.q < Q_HEAVY, ValueBoundary::HeavyTail), (model.p > P_LARGE, ValueBoundary::FixedPrice)];
    Ok(ValueFit {
        model,
        standard_errors: [
            ln_p.map(|se| se * model.p),
            ln_q.map(|se| se * (model.q - Q_MIN)),
            ln_v.map(|se| se * model.v),
        ],
        covariance,
        log_likelihood: model.log_likelihood(spends),
        customers: spends.len() as u64,
        converged: found.converged,
        boundaries: boundaries.into_iter().filter(|(is, _)| *is).map(|(_, b)| b).collect(),
    })
}

fn search(start: Start<3>, walls: &Walls<3>, spends: &[Spend]) -> (Minimum<3>, Curvature<3>) {
    let (grouped, people) = (Grouped::of(spends), spends.len() as f64);
    let objective = |logs: &[f64; 3]| GammaGamma::objective(logs, &grouped, people);
    let found = minimise(start, walls, objective);
    (found, curvature(&found, people, objective))
}

impl ValueFit {
    /// [`GammaGamma::expected`], and between what the mean of `to_come` further orders will lie: it is not known what the customer's own mean
    /// is (an inverse gamma of shape q + px, whose logarithm has variance ψ′), a few orders stray from it, and the parameters are estimates.
    pub fn expected(&self, orders: u32, mean: f64, to_come: f64) -> Estimate {
        let GammaGamma { p, q, .. } = self.model;
        let logs = self.model.logs();
        let parameters = delta_error(&self.covariance, |by| {
            GammaGamma::of_logs(&std::array::from_fn(|i| logs[i] + by[i])).expected(orders, mean).ln()
        });
        let own = trigamma(q + p * f64::from(orders)) + trigamma(p * to_come.max(1.0));
        Estimate::by_factor(self.model.expected(orders, mean), (parameters * parameters + own).sqrt())
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixtures;
    use super::*;

    #[track_caller]
    fn close(found: f64, wanted: f64, relative: f64) {
        assert!((found - wanted).abs() <= relative * wanted.abs(), "{found} is not {wanted}");
    }

    #[test]
    fn single_customers_as_computed_with_forty_digits() {
        for (orders, mean, wanted) in fixtures::VALUES {
            close(fixtures::SPEND.expected(*orders, *mean), *wanted, 1e-9);
        }
    }

    #[test]
    fn lifetime_values_as_computed_with_forty_digits() {
        let weeks: Vec<f64> = (1..=52).map(f64::from).collect();
        for (known, ((orders, mean, _), wanted)) in
            fixtures::CUSTOMERS.iter().zip(fixtures::VALUES.iter().zip(fixtures::LIFETIME_VALUES))
        {
            let orders_to_come = fixtures::MBG.discounted_orders(&known.history(), &weeks, 1.1_f64.powf(-1.0 / 52.0));
            close(orders_to_come * fixtures::SPEND.expected(*orders, *mean), *wanted, 1e-9);
        }
    }

    /// Mean values of repeat orders, and of all, of the CDNOW sample to 1997-09-30.
    fn cdnow() -> Option<(Vec<Spend>, Vec<Spend>)> {
        let end = fixtures::day("1997-09-30");
        let (mut repeats, mut all) = (Vec::new(), Vec::new());
        for customer in fixtures::purchases("cdnow_sample.csv.gz")? {
            let spent: Vec<f64> = customer.range(..=end).map(|(_, spent)| *spent).collect();
            let mean = |of: &[f64]| Spend::new(of.len() as u32, of.iter().sum::<f64>() / of.len() as f64);
            repeats.extend(mean(&spent[1..]));
            all.extend(mean(&spent));
        }
        Some((repeats, all))
    }

    #[test]
    fn cdnow_as_published() {
        let Some((repeats, all)) = cdnow() else { return };
        let found = fit(&repeats).unwrap();
        assert_eq!(found.customers, 946);
        close(found.log_likelihood, -4_055.917_694_801_868_5, 1e-9);
        let GammaGamma { p, q, v } = found.model;
        for (found, wanted) in [(p, fixtures::SPEND.p), (q, fixtures::SPEND.q), (v, fixtures::SPEND.v)] {
            close(found, wanted, 1e-5);
        }
        for (found, wanted) in found.standard_errors.iter().zip([1.190_07, 0.290_135, 4.159_476]) {
            close(found.unwrap(), wanted, 1e-3);
        }
        assert!(found.converged && found.boundaries.is_empty());

        let found = fit(&all).unwrap();
        assert_eq!(found.customers, 2_349);
        let GammaGamma { p, q, v } = found.model;
        for (found, wanted) in [(p, 9.881_286), (q, 3.398_757), (v, 7.928_569)] {
            close(found, wanted, 1e-3);
        }
    }

    #[test]
    fn a_heavy_tail_is_kept_finite_and_named() {
        // Customers' means are drawn with q = 0.6: they have no mean.
        let mut draw = fixtures::Shop::new(fixtures::MBG, 3);
        let mut mean_of = |orders: u32| {
            let rate = draw.gamma(0.6) / 10.0;
            (0..orders).map(|_| draw.gamma(3.0) / rate).sum::<f64>() / f64::from(orders)
        };
        let spends: Vec<Spend> = (0..400).map(|n| Spend::new(1 + n % 4, mean_of(1 + n % 4)).unwrap()).collect();
        let found = fit(&spends).unwrap();
        assert!(found.converged && found.boundaries == [ValueBoundary::HeavyTail], "{found:?}");
        assert!(found.model.q > 1.0);
        let one = found.expected(2, 30.0, 1.0);
        assert!(one.value.is_finite() && one.value > 0.0 && one.low <= one.value && one.value <= one.high, "{one:?}");
        assert!(found.model.everybody().is_finite());
    }

    #[test]
    fn one_price_is_named() {
        let spends = vec![Spend::new(3, 25.0).unwrap(); 200];
        let found = fit(&spends).unwrap();
        assert!(found.converged && found.boundaries.contains(&ValueBoundary::FixedPrice), "{found:?}");
        close(found.model.expected(3, 25.0), 25.0, 1e-2);
        let one = found.expected(3, 25.0, 2.0);
        assert!(one.low.is_finite() && one.high.is_finite(), "{one:?}");
    }

    #[test]
    fn few_spenders_and_free_orders_are_refused() {
        let few = vec![Spend::new(1, 10.0).unwrap(); SPENDERS_MIN - 1];
        assert_eq!(fit(&few), Err(NoValue::TooFew { found: SPENDERS_MIN - 1 }));
        for (orders, mean) in [(0, 10.0), (1, 0.0), (1, -5.0), (1, f64::NAN), (1, f64::INFINITY)] {
            assert_eq!(Spend::new(orders, mean), None);
        }
    }
}
