//! What is kept of a fit, for people and for programs: the models, how sure they are, and what they would have predicted.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::clock::{self, Millis};
use crate::model::backtest::{Backtest, Period, Predictor};
use crate::model::counts;
use crate::model::gates::{Confidence, Passed};
use crate::model::value::{self, NoValue, ValueFit};

/// All about a fit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Card {
    pub fit_id: String,
    /// Epoch milliseconds.
    pub fitted_at: Millis,
    /// The first and the last day with an order, as dates.
    pub observed: [String; 2],
    /// Customers with a score.
    pub scored: u64,
    /// How much a day of each month counts, January first; absent when time is not counted by season.
    pub seasons: Option<[f64; 12]>,
    pub models: Vec<ModelCard>,
    /// Why a model is missing.
    pub missing: Vec<String>,
    /// Absent when too little was observed.
    pub holdout: Option<Holdout>,
}

/// A fitted model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelCard {
    /// `mbg_nbd` or `gamma_gamma`.
    pub name: String,
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
}

/// The date of a day number.
pub(super) fn date(day: i64) -> String {
    clock::date_in(day * clock::DAY, &jiff::tz::TimeZone::UTC).to_string()
}

/// The fitted models, and why one is missing.
pub(super) fn models(counts: &Passed, values: &Result<ValueFit, NoValue>) -> (Vec<ModelCard>, Vec<String>) {
    let counts = of_counts(counts);
    match values {
        Ok(fit) => (vec![counts, of_values(fit)], vec![]),
        Err(why) => (vec![counts], vec![format!("gamma_gamma: {why}")]),
    }
}

fn of_counts(passed: &Passed) -> ModelCard {
    let fit = &passed.fit;
    ModelCard {
        name: "mbg_nbd".to_owned(),
        k: Some(fit.model.k),
        time_unit: Some("week".to_owned()),
        parameters: named(counts::PARAMETERS, fit.model.parameters()),
        standard_errors: named(counts::PARAMETERS, fit.standard_errors),
        log_likelihood: fit.log_likelihood,
        customers: fit.customers,
        confidence: passed.confidence,
        warnings: passed.warnings.iter().map(ToString::to_string).collect(),
    }
}

fn of_values(fit: &ValueFit) -> ModelCard {
    let sure = fit.converged && fit.boundaries.is_empty();
    let unsettled = (!fit.converged).then(|| "the search for the parameters did not settle".to_owned());
    ModelCard {
        name: "gamma_gamma".to_owned(),
        k: None,
        time_unit: None,
        parameters: named(value::PARAMETERS, [fit.model.p, fit.model.q, fit.model.v]),
        standard_errors: named(value::PARAMETERS, fit.standard_errors),
        log_likelihood: fit.log_likelihood,
        customers: fit.customers,
        confidence: if sure { Confidence::Good } else { Confidence::Low },
        warnings: fit.boundaries.iter().map(|b| b.meaning().to_owned()).chain(unsettled).collect(),
    }
}

fn named<T, const N: usize>(names: [&str; N], values: [T; N]) -> BTreeMap<String, T> {
    names.into_iter().map(str::to_owned).zip(values).collect()
}
