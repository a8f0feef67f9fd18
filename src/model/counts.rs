//! How often customers order, and when they have left: the models' parameters, their likelihood and the search for the most likely ones.
//!
//! While a customer is one, their orders come at a rate of their own; after an order they may leave for good, unseen. Rates differ between
//! customers as a gamma distribution does, the chance of leaving as a beta distribution. Two families differ in one point:
//! [`Family::Bg`] (Fader, Hardie & Lee 2005, Marketing Science 24, 275–284) lets nobody leave after the first order, so that whoever ordered
//! once counts as a customer for ever; [`Family::Mbg`] (Batislam, Denizel & Filiztekin 2007, IJRM 24, 201–209) lets them. Both with regular
//! timing: between two orders lie k stages of a Poisson process, k = 1 being the papers' own form, larger k customers with a rhythm
//! (Reutterer, Platzer & Schröder 2020, IJRM 38, 194–215).
//!
//! Time is in weeks throughout; a *repeat order* is a day with orders after the first such day. What a fitted model says about a customer
//! stands in [`forecast`](super::forecast); who may be fitted at all in [`gates`](super::gates).

use serde::{Deserialize, Serialize};

pub use super::history::{History, REPEATS_MAX, Sample};
use super::optimise::{Curvature, Start, Valued, Walls, curvature, minimise};
use super::special::{ln_gamma, softplus_and_slope};

/// Different histories from which a search over more of them begins.
const SCOUTS_MAX: usize = 5_000;
/// The regularities that [`fit_best`] tries.
pub const REGULARITIES: [u32; 3] = [1, 2, 3];

/// When a customer may leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// After every order, the first included.
    Mbg,
    /// After every order but the first.
    Bg,
}

/// A model with its parameters: rates are gamma(`r`, `alpha` weeks), counted in stages; the chance of leaving is beta(`a`, `b`).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct CountModel {
    pub family: Family,
    /// Stages between two orders.
    pub k: u32,
    pub r: f64,
    pub alpha: f64,
    pub a: f64,
    pub b: f64,
}

/// The names of the parameters, in the order of arrays here.
pub const PARAMETERS: [&str; 4] = ["r", "alpha", "a", "b"];

/// Sums over whole numbers that the likelihood of many customers shares: ln of rising factorials, and their derivatives. They stand in
/// for differences of ln Γ, which lose all digits when parameters grow large.
struct Tables {
    /// Σ_{i<n} ln(r + i), and its derivative.
    rate: Vec<(f64, f64)>,
    /// Σ_{i<m} ln((b + i) / (a + b + i)), and its derivatives by a and b.
    stay: Vec<(f64, f64, f64)>,
    /// ln a/(b + m − 1) after m chances to leave; the first is never asked for.
    leave: Vec<f64>,
    ln_alpha: f64,
}

impl Tables {
    fn new(model: &CountModel, repeats_max: u32) -> Tables {
        let CountModel { r, a, b, k, .. } = *model;
        let mut rate = vec![(0.0, 0.0)];
        for i in 0..repeats_max * k {
            let (sum, slope) = rate[i as usize];
            let at = r + f64::from(i);
            rate.push((sum + at.ln(), slope + 1.0 / at));
        }
        let mut stay = vec![(0.0, 0.0, 0.0)];
        for i in 0..=repeats_max {
            let (sum, by_a, by_b) = stay[i as usize];
            let (kept, all) = (b + f64::from(i), a + b + f64::from(i));
            stay.push((sum - (a / kept).ln_1p(), by_a - 1.0 / all, by_b + a / (kept * all)));
        }
        let leave =
            (0..=repeats_max + 1).map(|m| a.ln() - (b + f64::from(m) - 1.0).max(f64::MIN_POSITIVE).ln()).collect();
        Tables { rate, stay, leave, ln_alpha: model.alpha.ln() }
    }
}

impl CountModel {
    fn of_logs(family: Family, k: u32, logs: &[f64; 4]) -> CountModel {
        let [r, alpha, a, b] = logs.map(f64::exp);
        CountModel { family, k, r, alpha, a, b }
    }

    /// [`PARAMETERS`].
    pub fn parameters(&self) -> [f64; 4] {
        [self.r, self.alpha, self.a, self.b]
    }

    /// The same model with its parameters multiplied, as the delta method needs it.
    pub(super) fn scaled(&self, by: [f64; 4]) -> CountModel {
        CountModel { r: self.r * by[0], alpha: self.alpha * by[1], a: self.a * by[2], b: self.b * by[3], ..*self }
    }

    /// How often a customer had the chance to leave.
    pub(super) fn chances(&self, repeats: u32) -> u32 {
        match self.family {
            Family::Mbg => repeats + 1,
            Family::Bg => repeats,
        }
    }

    /// The shape of a customer's rate after what was seen, in stages.
    pub(super) fn shape(&self, repeats: u32) -> f64 {
        self.r + f64::from(self.k) * f64::from(repeats)
    }

    /// Log odds of having left: ln a/(b + m − 1) + (r + kx)·ln((α + T)/(α + t_x)) − ln Σ_{j<k} (r + kx)_j zʲ / j! with m chances to leave
    /// and z = (T − t_x)/(α + T). Reutterer et al. 2020; for k = 1 Batislam et al. 2007, and Fader & Hardie 2008.
    /// Minus infinity when there was no chance.
    pub(super) fn log_odds_left(&self, h: &History) -> f64 {
        let chances = self.chances(h.repeats);
        if chances == 0 {
            return f64::NEG_INFINITY;
        }
        let silent = (h.observed - h.recency) / (self.alpha + h.recency);
        let (stages, ..) = stages(self.k, self.shape(h.repeats), (h.observed - h.recency) / (self.alpha + h.observed));
        self.a.ln() - (self.b + f64::from(chances - 1)).ln() + self.shape(h.repeats) * silent.ln_1p() - stages.ln()
    }

    /// ln of the likelihood of one history, without what only depends on k (see [`CountModel::log_likelihood`]), and its derivatives by
    /// [`PARAMETERS`]. Reutterer et al. 2020; for k = 1 and a first order that nobody leaves after, Fader et al. 2005, eq. 6.
    fn history_likelihood(&self, h: &History, tables: &Tables) -> Valued<4> {
        let CountModel { r, alpha, a, b, k, .. } = *self;
        let (chances, shape) = (self.chances(h.repeats), self.shape(h.repeats));
        let (until_end, until_last) = (alpha + h.observed, alpha + h.recency);
        let z = (h.observed - h.recency) / until_end;
        let (stages, by_shape, by_z) = stages(k, shape, z);
        let ln_stages = if k == 1 { 0.0 } else { stages.ln() };
        let (rate, rate_by_r) = tables.rate[(k * h.repeats) as usize];
        let (stay, stay_by_a, stay_by_b) = tables.stay[chances as usize];
        let fully = f64::from(k) * f64::from(h.repeats);
        // ln((α + T)/α): with ln α both logarithms of α + T.
        let aged = (h.observed / alpha).ln_1p();

        // Still a customer at the end.
        let here = rate - r * aged - fully * (aged + tables.ln_alpha) + ln_stages + stay;
        let here_by = [
            rate_by_r - aged + by_shape / stages,
            r * h.observed / (alpha * until_end) - fully / until_end - by_z * z / (until_end * stages),
            stay_by_a,
            stay_by_b,
        ];
        if chances == 0 {
            return (here, here_by);
        }
        // Or left after the last order.
        let silent = ((h.observed - h.recency) / until_last).ln_1p();
        let odds = tables.leave[chances as usize] + shape * silent - ln_stages;
        let odds_by = [
            silent - by_shape / stages,
            shape * (1.0 / until_end - 1.0 / until_last) + by_z * z / (until_end * stages),
            1.0 / a,
            -1.0 / (b + f64::from(chances - 1)),
        ];
        let (either, left) = softplus_and_slope(odds);
        (here + either, std::array::from_fn(|i| here_by[i] + left * odds_by[i]))
    }

    /// ln of the likelihood of a sample. With the density of the gaps between orders, Π gapᵏ⁻¹ / Γ(k), so that different k compare.
    pub fn log_likelihood(&self, sample: &Sample) -> f64 {
        let tables = Tables::new(self, sample.repeats_max());
        let sum: f64 = sample.groups().iter().map(|(h, n)| n * self.history_likelihood(h, &tables).0).sum();
        sum + gap_density(self.k, sample)
    }

    /// Mean negative log-likelihood per customer and its gradient by the logarithms of the parameters, with a prior if there is one.
    fn objective(&self, sample: &Sample, prior: Option<&Prior>) -> Valued<4> {
        let tables = Tables::new(self, sample.repeats_max());
        let (mut sum, mut slopes) = (0.0, [0.0; 4]);
        for (h, n) in sample.groups() {
            let (value, by) = self.history_likelihood(h, &tables);
            sum += n * value;
            for (slope, by) in slopes.iter_mut().zip(by) {
                *slope += n * by;
            }
        }
        let parameters = self.parameters();
        for i in 0..4 {
            slopes[i] *= parameters[i];
            if let Some(prior) = prior {
                // Gaps are of k stages: alpha is compared as weeks per order.
                let centre = prior.centre[i] / if i == 1 { f64::from(self.k) } else { 1.0 };
                let off = (parameters[i] / centre).ln() / prior.spread;
                sum -= off * off / 2.0;
                slopes[i] -= off / prior.spread;
            }
        }
        let customers = sample.customers().max(1) as f64;
        (-sum / customers, slopes.map(|s| -s / customers))
    }
}

/// Σ_{j<k} (R)_j zʲ / j!: the chance, up to a factor, that less than k stages passed since the last order; and its derivatives by R and z.
fn stages(k: u32, shape: f64, z: f64) -> (f64, f64, f64) {
    // term_j = (R)_j zʲ / j!, with the derivatives of (R)_j zʲ.
    let (mut term, mut by_shape, mut by_z) = (1.0, 0.0, 0.0);
    let mut sums = (1.0, 0.0, 0.0);
    for j in 1..k {
        let j = f64::from(j);
        let at = shape + j - 1.0;
        (term, by_shape, by_z) = (term * at * z / j, (by_shape * at + term) * z / j, (by_z * z + term) * at / j);
        sums = (sums.0 + term, sums.1 + by_shape, sums.2 + by_z);
    }
    sums
}

fn gap_density(k: u32, sample: &Sample) -> f64 {
    if k == 1 {
        return 0.0;
    }
    let repeats: f64 = sample.groups().iter().map(|(h, n)| n * f64::from(h.repeats)).sum();
    f64::from(k - 1) * sample.log_gaps() - repeats * ln_gamma(f64::from(k))
}

/// What is believed of a shop before its data speaks: each parameter about its centre, within a factor of e^`spread` two times in three.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Prior {
    /// [`PARAMETERS`] for k = 1.
    pub centre: [f64; 4],
    pub spread: f64,
}

/// Between the published fits of an online music shop (CDNOW; r 0.52, α 6.2, a 0.89, b 1.6) and of a gift shop (UCI Online Retail II;
/// r 0.90, α 10.6, nearly nobody leaving), and wide enough to hold both. A few dozen customers weigh more.
pub const POOLED: Prior = Prior { centre: [0.7, 8.0, 0.8, 2.5], spread: 1.5 };

/// A parameter, or several, that ran to where the data no longer says anything: the model is simpler than it looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Boundary {
    /// Every customer orders at the same rate (r and alpha large).
    OneRate,
    /// Hardly anybody orders again (r near 0).
    NoRepeats,
    /// Nobody leaves (a near 0, or small beside b).
    NobodyLeaves,
    /// Every customer leaves with the same chance (a + b large).
    OneChance,
    /// Whoever leaves does so at once, or never (a and b near 0).
    AtOnceOrNever,
}

impl Boundary {
    /// As a sentence.
    pub fn meaning(self) -> &'static str {
        match self {
            Boundary::OneRate => {
                "every customer seems to order at the same rate; single customers cannot be told apart by it"
            }
            Boundary::NoRepeats => "hardly anybody orders again; the rates of single customers are not known",
            Boundary::NobodyLeaves => {
                "nobody seems to leave: what was observed is too short to see it, or orders follow the season"
            }
            Boundary::OneChance => "every customer seems to leave with the same chance",
            Boundary::AtOnceOrNever => "customers seem to leave after one order or never",
        }
    }

    fn of(model: &CountModel) -> Vec<Boundary> {
        /// Beyond these a change of the parameter changes no prediction that anybody could see.
        const LARGE: f64 = 1_000.0;
        const SMALL: f64 = 1e-3;
        let CountModel { r, a, b, .. } = *model;
        let found = [
            (r > LARGE, Boundary::OneRate),
            (r < SMALL, Boundary::NoRepeats),
            (a / (a + b) < SMALL, Boundary::NobodyLeaves),
            (a + b > LARGE && a / (a + b) >= SMALL, Boundary::OneChance),
            (a + b < SMALL, Boundary::AtOnceOrNever),
        ];
        found.into_iter().filter(|(is, _)| *is).map(|(_, b)| b).collect()
    }
}

/// A model, and how sure its parameters are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CountFit {
    pub model: CountModel,
    /// Of [`PARAMETERS`], by the delta method; `None` where the data does not say.
    pub standard_errors: [Option<f64>; 4],
    /// Of the logarithms of the parameters.
    pub(super) covariance: [[f64; 4]; 4],
    /// Comparable between k; without the prior.
    pub log_likelihood: f64,
    pub customers: u64,
    /// Whether the search ended at a maximum.
    pub converged: bool,
    pub boundaries: Vec<Boundary>,
}

/// The most likely parameters of a family and k. A sample without customers gives parameters that mean nothing: see
/// [`gates`](super::gates). A large sample is searched from where a part of it ended.
pub fn fit(family: Family, k: u32, sample: &Sample, prior: Option<&Prior>) -> CountFit {
    match sample.thinned(SCOUTS_MAX) {
        Some(scouts) => search(family, k, sample, prior, Some(&search(family, k, &scouts, prior, None))),
        None => search(family, k, sample, prior, None),
    }
}

fn search(family: Family, k: u32, sample: &Sample, prior: Option<&Prior>, from: Option<&CountFit>) -> CountFit {
    // In units of the mean time observed, so that a shop of ten years and one of ten weeks look alike to the search.
    let scale = sample.mean(|h| h.observed).max(1e-3);
    let per_week = sample.mean(|h| f64::from(h.repeats)).max(1e-2) / scale;
    let usual = [1.0, 1.0 / (per_week * f64::from(k)), 1.0, 3.0];
    let start = match from {
        Some(fit) => Start::after(fit.model.parameters().map(f64::ln), &fit.covariance, fit.customers as f64),
        None => Start::at(usual.map(f64::ln)),
    };
    let walls =
        Walls { low: [1e-6, scale * 1e-6, 1e-6, 1e-6].map(f64::ln), high: [1e5, scale * 1e7, 1e5, 1e6].map(f64::ln) };
    let objective = |logs: &[f64; 4]| CountModel::of_logs(family, k, logs).objective(sample, prior);
    let found = minimise(start, &walls, objective);
    let known: Curvature<4> = curvature(&found, sample.customers() as f64, objective);
    let model = CountModel::of_logs(family, k, &found.at);
    let parameters = model.parameters();
    CountFit {
        model,
        standard_errors: std::array::from_fn(|i| known.standard_error[i].map(|se| se * parameters[i])),
        covariance: known.covariance,
        log_likelihood: model.log_likelihood(sample),
        customers: sample.customers(),
        converged: found.converged,
        boundaries: Boundary::of(&model),
    }
}

/// The regularity that explains the sample best, with its parameters. The sample must know its gaps. Of a large sample a part decides.
pub fn fit_best(family: Family, sample: &Sample, prior: Option<&Prior>) -> CountFit {
    let scouts = sample.thinned(SCOUTS_MAX);
    let fits = REGULARITIES.map(|k| search(family, k, scouts.as_ref().unwrap_or(sample), prior, None));
    let best = fits
        .into_iter()
        .reduce(|best, next| if next.log_likelihood > best.log_likelihood { next } else { best })
        .expect("there are regularities to try");
    if scouts.is_some() { search(family, best.model.k, sample, prior, Some(&best)) } else { best }
}

#[cfg(test)]
#[path = "counts_tests.rs"]
mod tests;
