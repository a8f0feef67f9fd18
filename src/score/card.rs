//! What is kept of a fit, for people and for programs: the models, how sure they are, and what they would have predicted.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::clock::{self, DAY, Millis};
use crate::model::backtest::{Accuracy, Backtest, Period, Predictor};
use crate::model::counts::{self, CountFit};
use crate::model::gates::{Confidence, Passed, larger};
use crate::model::value::{self, NoValue, ValueFit};
use crate::money::grouped;

/// A fit older than this is said to be old, days.
const OLD_DAYS: i64 = 45;
/// Orders in total that were further off than this share in the weeks held out cast doubt on the scores …
const TOTAL_DOUBTED: f64 = 0.5;
/// … and so do probabilities of an order that were off by more than this on average.
const CALIBRATION_DOUBTED: f64 = 0.1;

/// All about a fit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Card {
    pub fit_id: String,
    /// Epoch milliseconds.
    pub fitted_at: Millis,
    /// Why nothing was fitted; scores that there were are taken back.
    pub refused: Option<String>,
    /// The first and the last day with an order, as dates; absent without an order.
    pub observed: Option<[String; 2]>,
    /// Customers with a score.
    pub scored: u64,
    /// Buyers that the models learnt from: all, or a part of them drawn by chance.
    pub learnt_from: u64,
    /// Who predicts: the model, or the rule of thumb that was closer in the weeks held out.
    pub used: Predictor,
    /// How much a day of each month counts, January first; absent when time is not counted by season.
    pub seasons: Option<[f64; 12]>,
    /// What a year's delay takes off the value of an order, and what part of the value counts.
    pub discount_yearly: f64,
    pub margin: f64,
    pub models: Vec<ModelCard>,
    /// Why a model is missing.
    pub missing: Vec<String>,
    /// Customers so far from all others that they were fitted as if they had fewer orders: the busiest.
    pub extreme: Vec<Extreme>,
    /// Absent when too little was observed.
    pub holdout: Option<Holdout>,
}

/// A fitted model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelCard {
    /// `mbg_nbd`, `gamma_gamma` or `bg_nbd`.
    pub name: String,
    /// What it is for: `scores`, `nothing` when a rule of thumb took its place, or `comparison`.
    pub role: String,
    /// Stages between two orders.
    pub k: Option<u32>,
    pub time_unit: Option<String>,
    pub parameters: BTreeMap<String, f64>,
    /// Null where the data does not say.
    pub standard_errors: BTreeMap<String, Option<f64>>,
    pub log_likelihood: f64,
    pub customers: u64,
    pub confidence: Confidence,
    pub warnings: Vec<String>,
}

/// A customer far from all others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extreme {
    pub customer_id: String,
    /// Days with an order.
    pub orders: i64,
}

/// What a model that did not see the last weeks would have said about them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Holdout {
    /// The last day it saw.
    pub cut: String,
    pub days: i64,
    pub k: u32,
    /// Customers left out of the comparison, being far busier than all others.
    #[serde(default)]
    pub left_out: u64,
    /// Who came closest to each customer's number of orders.
    pub best: Predictor,
    pub calibration_error: f64,
    #[serde(flatten)]
    pub told: Backtest,
}

impl Holdout {
    pub(super) fn new(period: Period, k: u32, told: Backtest) -> Holdout {
        let (best, calibration_error) = (told.best(), told.calibration_error());
        Holdout { cut: date(period.cut), days: period.days, k, left_out: 0, best, calibration_error, told }
    }

    /// Of whom the scores come from.
    pub fn of_best(&self) -> &Accuracy {
        self.told.accuracy_of(self.best)
    }
}

impl Card {
    /// By how much the scores were off in the weeks held out: orders of everybody in total, or the probabilities of an order, whichever is
    /// further off. Where nobody ordered, each order predicted is one too many. `None` when nothing was held out.
    pub fn error(&self) -> Option<f64> {
        let holdout = self.holdout.as_ref()?;
        let best = holdout.of_best();
        let total = best.total_error.map_or(best.total, f64::abs);
        Some(total.max(holdout.calibration()))
    }

    /// Days since the fit.
    pub fn age_days(&self, now: Millis) -> i64 {
        (now - self.fitted_at).max(0) / DAY
    }

    /// Why the scores are to be taken with care, a clause each, the gravest first; none when there is no reason to.
    pub fn doubts(&self, now: Millis) -> Vec<String> {
        if let Some(why) = &self.refused {
            return vec![why.clone()];
        }
        let mut out: Vec<String> = self.holdout.iter().flat_map(Holdout::doubts).collect();
        if self.holdout.is_none() {
            out.push(NOT_PROVED.to_owned());
        }
        if self.age_days(now) > OLD_DAYS {
            out.push(format!("the fit is {} days old", grouped(self.age_days(now))));
        }
        let unsure = self.models.iter().filter(|m| m.role == "scores" && m.confidence == Confidence::Low);
        out.extend(unsure.map(|m| m.warnings.first().map_or_else(|| format!("{} is unsure", m.name), Clone::clone)));
        out
    }

    /// How far the scores are to be trusted now.
    pub fn confidence(&self, now: Millis) -> Confidence {
        if self.doubts(now).is_empty() { Confidence::Good } else { Confidence::Low }
    }

    /// What is wrong with the scores now, as far as the settings ask: a sentence and a remedy on a second line. Where they ask how far off scores
    /// may be, those of which nobody can say it do not pass.
    pub fn fault(&self, max_error: Option<f64>, now: Millis) -> Option<String> {
        if let Some(why) = &self.refused {
            return Some(format!("there are no scores: {why}\nwithout them, segments can go by lifecycle and rfm"));
        }
        let most = max_error?;
        let Some(error) = self.error() else {
            return Some(format!(
                "nothing says how far off the scores are, and `models: max_error` asks: {NOT_PROVED}\n\
                 leave `max_error` out until then, or go by lifecycle and rfm"
            ));
        };
        if error > most {
            return Some(format!(
                "{}; `models: max_error` allows {:.0} %\n\
                 `okaeri model show` says where; fit again when more orders are in, or allow more",
                self.holdout.as_ref().map_or_else(String::new, |h| h.off_by(error)),
                100.0 * most
            ));
        }
        let age = self.age_days(now);
        (age > OLD_DAYS).then(|| {
            format!("the scores are of a fit {} days ago, and `models: max_error` asks for proof\nfit again: okaeri model fit", grouped(age))
        })
    }
}

/// Said of a fit without a trial.
const NOT_PROVED: &str = "not yet proved, which takes 39 weeks of orders";

impl Holdout {
    /// How far the probabilities of an order were off, if the scores have them from the model, whose tenths they are.
    fn calibration(&self) -> f64 {
        if self.best == Predictor::Model { self.calibration_error } else { 0.0 }
    }

    fn doubts(&self) -> Vec<String> {
        let mut out = Vec::new();
        let best = self.of_best();
        match best.total_error {
            None if best.total >= 1.0 => out.push(self.off_by(best.total)),
            Some(error) if error.abs() > TOTAL_DOUBTED => out.push(self.off_by(error)),
            _ => {}
        }
        if self.calibration() > CALIBRATION_DOUBTED {
            let points = 100.0 * self.calibration();
            out.push(format!("the probabilities of an order were off by {points:.1} points in the weeks held out"));
        }
        out
    }

    fn off_by(&self, error: f64) -> String {
        let predicted = self.of_best().total.round() as i64;
        match self.told.orders {
            0 => format!("{} orders were predicted of the weeks held out, and none came", grouped(predicted)),
            _ => format!("the scores were off by {} % in the weeks held out", grouped((100.0 * error).round() as i64)),
        }
    }
}

/// The date of a day number.
pub(super) fn date(day: i64) -> String {
    clock::date_in(day * clock::DAY, &jiff::tz::TimeZone::UTC).to_string()
}

/// The fitted models, and why one is missing.
pub(super) fn models(
    used: Predictor,
    counts: &Passed,
    values: &Result<ValueFit, NoValue>,
    said: Vec<String>,
    bg: &CountFit,
) -> (Vec<ModelCard>, Vec<String>) {
    let role = if used == Predictor::Model { "scores" } else { "nothing" };
    let warnings = counts.warnings.iter().map(ToString::to_string).collect();
    let mut models = vec![of_counts("mbg_nbd", role, &counts.fit, counts.confidence, warnings)];
    let mut missing = Vec::new();
    match values {
        Ok(fit) => models.push(of_values(fit, said)),
        Err(why) => missing.push(format!("gamma_gamma, and with it the lifetime value: {why}")),
    }
    let warnings = bg.boundaries.iter().map(|b| b.meaning().to_owned()).collect();
    models.push(of_counts("bg_nbd", "comparison", bg, counts.confidence, warnings));
    (models, missing)
}

fn of_counts(name: &str, role: &str, fit: &CountFit, confidence: Confidence, warnings: Vec<String>) -> ModelCard {
    ModelCard {
        name: name.to_owned(),
        role: role.to_owned(),
        k: Some(fit.model.k),
        time_unit: Some("week".to_owned()),
        parameters: named(counts::PARAMETERS, fit.model.parameters()),
        standard_errors: named(counts::PARAMETERS, fit.standard_errors),
        log_likelihood: fit.log_likelihood,
        customers: fit.customers,
        confidence,
        warnings,
    }
}

fn of_values(fit: &ValueFit, said: Vec<String>) -> ModelCard {
    let parameters = [fit.model.p, fit.model.q, fit.model.v];
    let is_unsure = larger(fit.standard_errors, parameters).contains(&true);
    let unsure = is_unsure.then(|| "how much the orders of one customer differ is hardly known".to_owned());
    let sure = fit.converged && fit.boundaries.is_empty() && !is_unsure;
    let unsettled = (!fit.converged).then(|| "the search for the parameters did not settle".to_owned());
    ModelCard {
        name: "gamma_gamma".to_owned(),
        role: "scores".to_owned(),
        k: None,
        time_unit: None,
        parameters: named(value::PARAMETERS, parameters),
        standard_errors: named(value::PARAMETERS, fit.standard_errors),
        log_likelihood: fit.log_likelihood,
        customers: fit.customers,
        confidence: if sure { Confidence::Good } else { Confidence::Low },
        // What makes it unsure before what is only told.
        warnings: fit
            .boundaries
            .iter()
            .map(|b| b.meaning().to_owned())
            .chain(unsettled)
            .chain(unsure)
            .chain(said)
            .collect(),
    }
}

fn named<T, const N: usize>(names: [&str; N], values: [T; N]) -> BTreeMap<String, T> {
    names.into_iter().map(str::to_owned).zip(values).collect()
}
