//! `okaeri model …`: fits the models, and shows what they are worth.

use comfy_table::CellAlignment;
use jiff::tz::TimeZone;
use serde_json::json;

use super::{Exit, Failure, Invocation, table};
use crate::clock::{self, Millis};
use crate::model::gates::Confidence;
use crate::model::interval::SCORE_SHARE;
use crate::model::thumb::Predictor;
use crate::money::grouped;
use crate::profile::{self, Scope};
use crate::score::{self, Card, Holdout, ModelCard, ScoreError};

/// Fits that are listed.
const LISTED_MAX: u32 = 50;

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
    Show {
        /// An earlier fit, by its id
        #[arg(long, value_name = "ID")]
        fit: Option<String>,
    },
    /// The last 50 fits, newest first: what was used, and how far off it was
    List,
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
    let settings = &project.settings;
    let clock = inv.clock(&settings.time_zone)?;
    if matches!(args.verb, ModelVerb::Fit) && clock.is_moved() {
        return Err(Failure::Usage(
            "a fit writes the scores that segments go by today, from all orders up to now\nleave --at away".into(),
        ));
    }
    let db = inv.open_db(&project).await?;
    let (now, zone) = (clock.as_of(), &settings.time_zone);
    let card = match args.verb {
        ModelVerb::Fit => {
            profile::refresh(&db, settings, now, Scope::Dirty).await?;
            Some(score::fit(&db, settings, now).await?)
        }
        ModelVerb::Show { fit: None } => score::newest(&db).await?,
        ModelVerb::Show { fit: Some(id) } => {
            let card = score::of_fit(&db, &id).await?.ok_or_else(|| {
                let said = format!("there is no fit `{}`\n`okaeri model list` names them", id.escape_debug());
                Failure::Usage(said)
            })?;
            // An earlier fit is looked at, not used: whatever is wrong with it stops nothing.
            inv.print(|| as_json(&card, now), || as_text(Some(&card), now, zone));
            return Ok(Exit::Done);
        }
        ModelVerb::List => {
            let cards = score::cards(&db, LISTED_MAX).await?;
            inv.print(|| list_json(&cards), || list_text(&cards, zone));
            return Ok(Exit::Done);
        }
    };
    let json = || card.as_ref().map_or(json!({ "models": [] }), |card| as_json(card, now));
    inv.print(json, || as_text(card.as_ref(), now, zone));
    match card.and_then(|card| card.fault(settings.models.max_error, now)) {
        Some(fault) => Err(Failure::Usage(fault)),
        None => Ok(Exit::Done),
    }
}

fn as_json(card: &Card, now: Millis) -> serde_json::Value {
    let mut json = json!(card);
    json["error"] = json!(card.error());
    json["age_days"] = json!(card.age_days(now));
    json["confidence"] = json!(card.confidence(now));
    json["doubts"] = json!(card.doubts(now));
    json
}

/// Fits as they were when they were made: none was old then.
fn list_json(cards: &[Card]) -> serde_json::Value {
    let fits: Vec<_> = cards
        .iter()
        .map(|card| {
            json!({ "fit_id": card.fit_id, "fitted_at": card.fitted_at, "scored": card.scored, "used": card.used,
                    "error": card.error(), "confidence": card.confidence(card.fitted_at),
                    "doubts": card.doubts(card.fitted_at), "refused": card.refused })
        })
        .collect();
    json!({ "fits": fits })
}

fn list_text(cards: &[Card], zone: &TimeZone) -> String {
    if cards.is_empty() {
        return NO_MODELS.to_owned();
    }
    let mut rows = table(["fit", "at", "scored", "used", "off by", "confidence"]);
    for card in cards {
        let confidence = match (&card.refused, card.confidence(card.fitted_at)) {
            (Some(_), _) => "refused",
            (None, Confidence::Good) => "good",
            (None, Confidence::Low) => "low",
        };
        rows.add_row([
            card.fit_id.clone(),
            clock::readable(card.fitted_at, zone),
            grouped(card.scored as i64),
            if card.refused.is_some() { "nothing" } else { card.used.meaning() }.to_owned(),
            card.error().map_or("·".to_owned(), |e| format!("{} %", grouped((100.0 * e).round() as i64))),
            confidence.to_owned(),
        ]);
    }
    format!("{}\n", rows.trim_fmt())
}

const NO_MODELS: &str = "no models yet: `okaeri model fit`\n";

fn as_text(card: Option<&Card>, now: Millis, zone: &TimeZone) -> String {
    let Some(card) = card else {
        return NO_MODELS.to_owned();
    };
    let bold = anstyle::Style::new().bold();
    let mut out = match (&card.refused, &card.observed) {
        (Some(_), _) | (_, None) => {
            let when = clock::readable(card.fitted_at, zone);
            return format!("{bold}No scores{bold:#}: the fit of {when} was refused; nobody has a score.\n");
        }
        (None, Some([first, last])) => {
            let by_season = if card.seasons.is_some() { "; time is counted by the shop's seasons" } else { "" };
            let buyers = if card.scored == 1 { "buyer" } else { "buyers" };
            let scored = grouped(card.scored as i64);
            format!("{scored} {buyers} scored from orders of {first} to {last}{by_season}\n")
        }
    };
    if card.learnt_from < card.scored {
        out.push_str(&format!("learnt from {} of them, drawn by chance\n", grouped(card.learnt_from as i64)));
    }
    let doubts = card.doubts(now);
    if !doubts.is_empty() {
        out.insert_str(0, &format!("{bold}LOW CONFIDENCE{bold:#}: {}\n\n", doubts.join("; ")));
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
    let mut tenths = table(["part", "customers", "model", "really"]);
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
    let orders = if holdout.told.orders == 1 { "order" } else { "orders" };
    let left_out = match holdout.left_out {
        0 => String::new(),
        1 => "; 1 customer far busier than all others is left out".to_owned(),
        n => format!("; {} customers far busier than all others are left out", grouped(n as i64)),
    };
    format!(
        "Without the {} days after {}, which had {} {orders}{left_out}:\n{}\n\
         closest to each customer: {}; inside: orders that lay within the low and the high, which are meant for {:.0} %\n\n\
         An order in those days, by {} of the customers; off by {:.1} points on average:\n{}",
        holdout.days,
        holdout.cut,
        grouped(holdout.told.orders as i64),
        compared.trim_fmt(),
        holdout.best.meaning(),
        100.0 * SCORE_SHARE,
        if holdout.told.calibration.len() == 10 { "tenths" } else { "parts" },
        100.0 * holdout.calibration_error,
        tenths.trim_fmt()
    )
}
