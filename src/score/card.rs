//! What is kept of a fit, for people and for programs: the models, how sure they are, and what they would have predicted.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::clock::{self, Millis};
use crate::model::backtest::{Accuracy, Backtest, Period, Predictor};
use crate::model::counts::{self, CountFit};
use crate::model::gates::{Confidence, Passed};
use crate::model::value::{self, NoValue, ValueFit};

/// All about a fit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Card {
    pub fit_id: String,
    /// Epoch milliseconds.
    pub fitted_at: Millis,
    /// Why nothing was fitted; all scores were taken back.
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
    /// Who came closest to each customer's number of orders.
    pub best: Predictor,
    pub calibration_error: f64,
    #[serde(flatten)]
    pub told: Backtest,
}

impl Holdout {
    pub(super) fn new(period: Period, k: u32, told: Backtest) -> Holdout {
        let (best, calibration_error) = (told.best(), told.calibration_error());
        Holdout { cut: date(period.cut), days: period.days, k, best, calibration_error, told }
    }

    /// Of whom the scores come from.
    pub fn of_best(&self) -> &Accuracy {
        self.told.accuracy_of(self.best)
    }
}

impl Card {
    /// By how much the scores were off in the weeks held out: orders of everybody in total, or the probabilities of an order, whichever is
    /// further off. `None` when nothing was held out, or nobody ordered.
    pub fn error(&self) -> Option<f64> {
        let holdout = self.holdout.as_ref()?;
        let total = holdout.of_best().total_error?.abs();
        // The tenths are the model's.
        let calibration = if holdout.best == Predictor::Model { holdout.calibration_error } else { 0.0 };
        Some(total.max(calibration))
    }

    /// What is wrong with the scores, as far as the settings ask: a sentence and a remedy on a second line.
    pub fn fault(&self, max_error: Option<f64>) -> Option<String> {
        if let Some(why) = &self.refused {
            return Some(format!("there are no scores: {why}\nwithout them, segments can go by lifecycle and rfm"));
        }
        let (error, most) = (self.error()?, max_error?);
        (error > most).then(|| {
            format!(
                "the scores were off by {:.0} % in the weeks held out; `models: max_error` allows {:.0} %\n\
                 `okaeri model show` says where; fit again when more orders are in, or allow more",
                100.0 * error,
                100.0 * most
            )
        })
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
    dear: Option<String>,
    bg: &CountFit,
) -> (Vec<ModelCard>, Vec<String>) {
    let role = if used == Predictor::Model { "scores" } else { "nothing" };
    let warnings = counts.warnings.iter().map(ToString::to_string).collect();
    let mut models = vec![of_counts("mbg_nbd", role, &counts.fit, counts.confidence, warnings)];
    let mut missing = Vec::new();
    match values {
        Ok(fit) => models.push(of_values(fit, dear)),
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

fn of_values(fit: &ValueFit, dear: Option<String>) -> ModelCard {
    let sure = fit.converged && fit.boundaries.is_empty();
    let unsettled = (!fit.converged).then(|| "the search for the parameters did not settle".to_owned());
    ModelCard {
        name: "gamma_gamma".to_owned(),
        role: "scores".to_owned(),
        k: None,
        time_unit: None,
        parameters: named(value::PARAMETERS, [fit.model.p, fit.model.q, fit.model.v]),
        standard_errors: named(value::PARAMETERS, fit.standard_errors),
        log_likelihood: fit.log_likelihood,
        customers: fit.customers,
        confidence: if sure { Confidence::Good } else { Confidence::Low },
        warnings: dear
            .into_iter()
            .chain(fit.boundaries.iter().map(|b| b.meaning().to_owned()))
            .chain(unsettled)
            .collect(),
    }
}

fn named<T, const N: usize>(names: [&str; N], values: [T; N]) -> BTreeMap<String, T> {
    names.into_iter().map(str::to_owned).zip(values).collect()
}
