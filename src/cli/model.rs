//! `okaeri model …`: fits the models, and shows what they are worth.

use comfy_table::CellAlignment;
use serde_json::json;

use super::{Exit, Failure, Invocation, table};
use crate::clock::{self, DAY, Millis};
use crate::model::gates::Confidence;
use crate::model::interval::SCORE_SHARE;
use crate::model::thumb::Predictor;
use crate::money::grouped;
use crate::profile::{self, Scope};
use crate::score::{self, Card, Holdout, ModelCard, ScoreError};

/// A fit older than this is said to be old, days.
const OLD_DAYS: i64 = 45;

#[derive(Debug, clap::Args)]
pub struct ModelArgs {
    #[command(subcommand)]
    verb: ModelVerb,
}

#[derive(Debug, clap::Subcommand)]
enum ModelVerb {
    /// Fit the models on all orders, prove them on the last 13 weeks, and score every buyer
    Fit,
    /// The newest fit: parameters, how sure they are, and what they would have predicted
    Show,
}

impl From<ScoreError> for Failure {
    fn from(e: ScoreError) -> Failure {
        match e {
            ScoreError::Busy => Failure::Busy(e.to_string()),
            ScoreError::Db(e) => e.into(),
        }
    }
}

pub async fn run(inv: &Invocation, args: ModelArgs) -> Result<Exit, Failure> {
    let project = inv.project()?;
    let db = inv.open_db(&project).await?;
    let now = inv.clock(&project.settings.time_zone)?.now();
    let card = match args.verb {
        ModelVerb::Fit => {
            profile::refresh(&db, &project.settings, now, Scope::Dirty).await?;
            Some(score::fit(&db, &project.settings, now).await?)
        }
        ModelVerb::Show => score::newest(&db).await?,
    };
    inv.print(|| card.as_ref().map_or(json!({ "models": [] }), as_json), || as_text(card.as_ref(), now));
    match card.and_then(|card| card.fault(project.settings.models.max_error)) {
        Some(fault) => Err(Failure::Usage(fault)),
        None => Ok(Exit::Done),
    }
}

fn as_json(card: &Card) -> serde_json::Value {
    let mut json = json!(card);
    json["error"] = json!(card.error());
    json
}

fn as_text(card: Option<&Card>, now: Millis) -> String {
    let Some(card) = card else {
        return "no models yet: `okaeri model fit`\n".to_owned();
    };
    let bold = anstyle::Style::new().bold();
    let mut out = match (&card.refused, &card.observed) {
        (Some(_), _) | (_, None) => {
            let when = clock::readable(card.fitted_at, &jiff::tz::TimeZone::UTC);
            return format!(
                "{bold}No scores{bold:#}: the fit of {when} was refused, and all scores were taken back.\n"
            );
        }
        (None, Some([first, last])) => {
            let by_season = if card.seasons.is_some() { "; time is counted by the shop's seasons" } else { "" };
            format!("{} buyers scored from orders of {first} to {last}{by_season}\n", grouped(card.scored as i64))
        }
    };
    if card.learnt_from < card.scored {
        out.push_str(&format!("learnt from {} of them, drawn by chance\n", grouped(card.learnt_from as i64)));
    }
    let age = (now - card.fitted_at) / DAY;
    if age > OLD_DAYS {
        out.push_str(&format!("{bold}This fit is {age} days old{bold:#}: `okaeri model fit`\n"));
    }
    if let Some(holdout) = card.holdout.as_ref().filter(|_| card.used != Predictor::Model) {
        let rmse = |by| holdout.told.accuracy_of(by).rmse;
        out.push_str(&format!(
            "\n{bold}THE MODEL LOST{bold:#} against a rule of thumb: {} was closer in the weeks held out (RMSE {:.3}, the model {:.3}).\n\
             Scores are what the rule says; it knows neither `alive` nor `next_order_at`.\n",
            card.used.meaning(),
            rmse(card.used),
            rmse(Predictor::Model)
        ));
    }
    for model in &card.models {
        out.push_str(&format!("\n{}\n", of_model(model)));
    }
    if !card.extreme.is_empty() {
        let named: Vec<String> =
            card.extreme.iter().map(|e| format!("{} ({})", e.customer_id, grouped(e.orders))).collect();
        out.push_str(&format!("\nfar busier than all others (days with orders): {}\n", named.join(", ")));
    }
    for why in &card.missing {
        out.push_str(&format!("\nmissing: {why}\n"));
    }
    match &card.holdout {
        Some(holdout) => out.push_str(&format!("\n{}\n", of_holdout(holdout))),
        None => out.push_str("\nNot yet proved: that takes 39 weeks of orders.\n"),
    }
    out
}

fn of_model(model: &ModelCard) -> String {
    let timing = model.k.map_or(String::new(), |k| format!(", k = {k}"));
    let unit = model.time_unit.as_ref().map_or(String::new(), |unit| format!(", time in {unit}s"));
    let role = match model.role.as_str() {
        "comparison" => " (to compare)",
        "nothing" => " (not used)",
        _ => "",
    };
    let confidence = if model.confidence == Confidence::Low { ", low confidence" } else { "" };
    let mut out = format!(
        "{}{timing}{unit}{role}: {} customers, log-likelihood {:.1}{confidence}",
        model.name,
        grouped(model.customers as i64),
        model.log_likelihood
    );
    for (name, value) in &model.parameters {
        let error = model.standard_errors.get(name).copied().flatten();
        let error = error.map_or("the data does not say how sure".to_owned(), |e| format!("± {}", digits(e)));
        out.push_str(&format!("\n  {name:<6} {:>10} {error}", digits(*value)));
    }
    for warning in &model.warnings {
        out.push_str(&format!("\n  warning: {warning}"));
    }
    out
}

/// Four digits that count.
fn digits(value: f64) -> String {
    let before = value.abs().max(1e-9).log10().floor() as i32;
    format!("{value:.*}", usize::try_from(3 - before).unwrap_or(0))
}

fn of_holdout(holdout: &Holdout) -> String {
    let mut compared = table(["", "orders", "off by", "MAE", "RMSE", "AUC", "Brier", "inside"]);
    for a in &holdout.told.accuracy {
        compared.add_row([
            a.predictor.meaning().to_owned(),
            grouped(a.total.round() as i64),
            a.total_error.map_or("·".to_owned(), |e| format!("{:+.1} %", 100.0 * e)),
            format!("{:.3}", a.mae),
            format!("{:.3}", a.rmse),
            a.auc.map_or("·".to_owned(), |auc| format!("{auc:.3}")),
            format!("{:.3}", a.brier),
            format!("{:.0} %", 100.0 * a.covered),
        ]);
    }
    let mut tenths = table(["tenth", "customers", "model", "really"]);
    for (n, tenth) in holdout.told.calibration.iter().enumerate() {
        tenths.add_row([
            format!("{}", n + 1),
            grouped(tenth.customers as i64),
            format!("{:.1} %", 100.0 * tenth.predicted),
            format!("{:.1} %", 100.0 * tenth.actual),
        ]);
    }
    for shown in [&mut compared, &mut tenths] {
        for column in shown.column_iter_mut().skip(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    format!(
        "Without the {} days after {}, which had {} orders:\n{}\n\
         closest to each customer: {}; inside: orders that lay within the low and the high, which are meant for {:.0} %\n\n\
         An order in those days, by tenths of the customers; off by {:.1} points on average:\n{}",
        holdout.days,
        holdout.cut,
        grouped(holdout.told.orders as i64),
        compared.trim_fmt(),
        holdout.best.meaning(),
        100.0 * SCORE_SHARE,
        100.0 * holdout.calibration_error,
        tenths.trim_fmt()
    )
}
