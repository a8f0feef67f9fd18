//! `okaeri model …`: fits the models, and shows what they are worth.

use comfy_table::{CellAlignment, Table, presets};
use serde_json::json;

use super::{Exit, Failure, Invocation};
use crate::money::grouped;
use crate::profile::{self, Scope};
use crate::score::{self, Card, Holdout, ModelCard, ScoreError};

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
            ScoreError::Refused(why) => Failure::Usage(why.to_string()),
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
    inv.print(|| card.as_ref().map_or(json!({ "models": [] }), |c| json!(c)), || as_text(card.as_ref()));
    Ok(Exit::Done)
}

fn as_text(card: Option<&Card>) -> String {
    let Some(card) = card else {
        return "no models yet: `okaeri model fit`\n".to_owned();
    };
    let [first, last] = &card.observed;
    let by_season = if card.seasons.is_some() { "; time is counted by the shop's seasons" } else { "" };
    let mut out =
        format!("{} buyers scored from orders of {first} to {last}{by_season}\n", grouped(card.scored as i64));
    for model in &card.models {
        out.push_str(&format!("\n{}\n", of_model(model)));
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
    let mut out = format!(
        "{}{timing}{unit}: {} customers, log-likelihood {:.1}",
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
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table.set_header(["", "orders", "off by", "MAE", "RMSE", "AUC", "Brier"]);
    for a in &holdout.told.accuracy {
        table.add_row([
            a.predictor.meaning().to_owned(),
            grouped(a.total.round() as i64),
            a.total_error.map_or("·".to_owned(), |e| format!("{:+.1} %", 100.0 * e)),
            format!("{:.3}", a.mae),
            format!("{:.3}", a.rmse),
            a.auc.map_or("·".to_owned(), |auc| format!("{auc:.3}")),
            format!("{:.3}", a.brier),
        ]);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    format!(
        "Without the {} days after {}, which had {} orders:\n{}\nclosest: {}; probabilities of an order are off by {:.1} points",
        holdout.days,
        holdout.cut,
        grouped(holdout.told.orders as i64),
        table.trim_fmt(),
        holdout.best.meaning(),
        100.0 * holdout.calibration_error
    )
}
