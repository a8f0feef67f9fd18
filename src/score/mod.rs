//! What models predict of each customer: learn from the orders, fit, prove on the last weeks, write the scores.
//!
//! Owns the tables score and model_fit. A fit sees the orders up to the newest one of anybody ([`learn`]); "the next 90 days" are those after
//! that day, whatever day it is now. Before the parameters of today are fitted, the same is done without the last 13 weeks, and what it
//! would have said about them is compared with what happened, and with rules of thumb: that stands in the [`Card`]. Whether time is counted
//! with the seasons of the shop is decided there too, and whether scores come from the model at all: where a rule was closer, it is used.
//!
//! Scores are written slice by slice ([`write`]); whoever has one is handed to the segments. [`follow`] scores those anew whose orders
//! changed, with the parameters of the last fit. A refused fit takes all scores back: old ones would pass for new.
//! Statistics live in [`model`](crate::model); `docs/models.md` tells the whole to analysts.

mod card;
mod learn;
mod scorer;
mod write;

pub use card::{Card, Extreme, Holdout, ModelCard};

use crate::args;
use crate::clock::{MINUTE, Millis};
use crate::db::{Db, DbError, DbResult, Lease};
use crate::model::backtest::Predictor;
use crate::model::counts::Family;
use crate::model::gates::{Refused, fit_bg, fit_counts, long_enough, temper};
use crate::model::value;
use crate::money;
use crate::profile;
use crate::profile::day::day_number;
use crate::settings::Settings;
use crate::token::random_token;
use scorer::{Basis, Scorer};

/// How long the right to fit holds unless it is renewed.
const HOLD: Millis = 10 * MINUTE;
/// Extreme customers that a card names.
const EXTREME_NAMED_MAX: usize = 10;

/// Why there are no new scores.
#[derive(Debug, thiserror::Error)]
pub enum ScoreError {
    #[error("another process is fitting models")]
    Busy,
    #[error(transparent)]
    Db(#[from] DbError),
}

/// Fit the models on what customers ordered, and score every buyer; the card says so when that was refused. Profiles must be up to date.
pub async fn fit(db: &Db, settings: &Settings, now: Millis) -> Result<Card, ScoreError> {
    let lease = Lease::take(db, "model_fit", HOLD, now).await?.ok_or(ScoreError::Busy)?;
    let outcome = fit_alone(db, settings, now, &lease).await;
    lease.release(db).await?;
    outcome
}

async fn fit_alone(db: &Db, settings: &Settings, now: Millis, lease: &Lease) -> Result<Card, ScoreError> {
    let asked = &settings.models;
    let mut card = Card {
        fit_id: random_token(),
        fitted_at: now,
        refused: None,
        observed: None,
        scored: 0,
        learnt_from: 0,
        used: Predictor::Model,
        seasons: None,
        discount_yearly: asked.discount_yearly,
        margin: asked.margin,
        models: Vec::new(),
        missing: Vec::new(),
        extreme: Vec::new(),
        holdout: None,
    };
    let Some(learnt) = learn::learn(db, &settings.time_zone, now).await? else {
        return refuse(db, card, Refused::TooFewBuyers { buyers: 0 }, lease).await;
    };
    let span = learnt.span;
    card.observed = Some([card::date(span.0), card::date(span.1)]);
    card.learnt_from = learnt.buyers();
    let trial = learnt.trial(asked.cap_repeat_orders);
    let seasons = trial.as_ref().filter(|t| t.seasonal).and_then(|_| learnt.seasons(span.1));
    let sample = learnt.sample(&learn::calendar(seasons.as_ref(), span), span.1);
    let counts = match fit_counts(Family::Mbg, &sample, asked.cap_repeat_orders) {
        Ok(counts) => counts,
        Err(why) => return refuse(db, card, why, lease).await,
    };
    if let Err(why) = long_enough(span) {
        return refuse(db, card, why, lease).await;
    }
    // Without order values there is no lifetime value, but all the rest.
    let tempered = temper(learnt.spends, counts.cap);
    let values = value::fit(&tempered.spends);
    let dear = tempered.dear.map(|(customers, cap)| dear(customers, cap, &settings.currency));
    let said = dear.into_iter().chain(unpaid(learnt.unpaid)).collect();

    card.used = trial.as_ref().map_or(Predictor::Model, |t| t.holdout.best);
    card.seasons = seasons.as_ref().map(|s| s.index());
    (card.models, card.missing) = card::models(card.used, &counts, &values, said, &fit_bg(&sample, counts.cap));
    card.holdout = trial.map(|t| t.holdout);
    let extreme = learn::extreme(db, counts.cap, EXTREME_NAMED_MAX).await?;
    card.extreme = extreme.into_iter().map(|(customer_id, orders)| Extreme { customer_id, orders }).collect();

    let basis = Basis {
        used: card.used,
        counts: counts.fit,
        values: values.ok(),
        seasons,
        span,
        discount_yearly: asked.discount_yearly,
        margin: asked.margin,
    };
    let stored = serde_json::to_string(&basis).expect("a basis is plain data");
    let mut scorer = Scorer::new(basis, &settings.time_zone);
    card.scored = write::all(db, &mut scorer, &card.fit_id, now, lease).await?;
    profile::count_rescored(db, card.scored).await?;
    keep(db, &card, &stored).await?;
    Ok(card)
}

fn dear(customers: u64, cap: f64, currency: &str) -> String {
    let (who, were) = if customers == 1 { ("customer", "was") } else { ("customers", "were") };
    format!(
        "{} {who} whose mean order is far above all others {were} fitted as if it were {}",
        money::grouped(customers as i64),
        money::readable(cap.round() as i64, currency)
    )
}

/// Whoever brought nothing after what they gave back is unknown to a model of order values.
fn unpaid(customers: u64) -> Option<String> {
    let (who, are) = if customers == 1 { ("customer", "is") } else { ("customers", "are") };
    let said =
        || format!("{} {who} brought nothing net of returns and {are} left out", money::grouped(customers as i64));
    (customers > 0).then(said)
}

/// Take back what an earlier fit said, and keep why.
async fn refuse(db: &Db, mut card: Card, why: Refused, lease: &Lease) -> Result<Card, ScoreError> {
    let withdrawn = write::withdraw(db, lease).await?;
    profile::count_rescored(db, withdrawn).await?;
    card.refused = Some(why.to_string());
    keep(db, &card, "").await?;
    Ok(card)
}

async fn keep(db: &Db, card: &Card, basis: &str) -> DbResult<()> {
    let text = serde_json::to_string(card).expect("a card is plain data");
    let sql = "INSERT INTO model_fit (fit_id, fitted_at, card, scorer) VALUES ($1, $2, $3, $4)";
    db.execute(sql, args![&card.fit_id, card.fitted_at, &text, basis]).await.map(|_| ())
}

/// Score those anew whose profile changed since the last fit, with its parameters; how many got another score. Profiles must be up to date,
/// and segments not yet, for they are told by the same list. Nothing is done without a fit, or while another process scores.
pub async fn follow(db: &Db, settings: &Settings, now: Millis) -> DbResult<u64> {
    let sql = "SELECT fit_id, scorer FROM model_fit ORDER BY fitted_at DESC, fit_id LIMIT 1";
    let row: Option<(String, String)> = db.fetch_optional(sql, vec![]).await?;
    let Some((fit_id, Ok(basis))) = row.map(|(id, basis)| (id, serde_json::from_str::<Basis>(&basis))) else {
        return Ok(0);
    };
    let Some(lease) = Lease::take(db, "model_fit", HOLD, now).await? else { return Ok(0) };
    let mut scorer = Scorer::new(basis, &settings.time_zone);
    let today = day_number(now, &settings.time_zone);
    let outcome = write::changed(db, &mut scorer, &fit_id, (today, now), &lease).await;
    lease.release(db).await?;
    match outcome {
        Ok(scored) => {
            if scored > 0 {
                profile::count_rescored(db, scored).await?;
            }
            Ok(scored)
        }
        // Another process took over and does the same.
        Err(ScoreError::Busy) => Ok(0),
        Err(ScoreError::Db(e)) => Err(e),
    }
}

/// The card of the newest fit; `None` before the first, or when a version that wrote other cards made it.
pub async fn newest(db: &Db) -> Result<Option<Card>, DbError> {
    let sql = "SELECT card FROM model_fit ORDER BY fitted_at DESC, fit_id LIMIT 1";
    let row: Option<(String,)> = db.fetch_optional(sql, vec![]).await?;
    Ok(row.and_then(|(card,)| serde_json::from_str(&card).ok()))
}

/// The card of a fit; `None` when there is none of this id.
pub async fn of_fit(db: &Db, fit_id: &str) -> DbResult<Option<Card>> {
    let row: Option<(String,)> =
        db.fetch_optional("SELECT card FROM model_fit WHERE fit_id = $1", args![fit_id]).await?;
    Ok(row.and_then(|(card,)| serde_json::from_str(&card).ok()))
}

/// The cards of the last fits, the newest first, `most` at most.
pub async fn cards(db: &Db, most: u32) -> DbResult<Vec<Card>> {
    let sql = "SELECT card FROM model_fit ORDER BY fitted_at DESC, fit_id LIMIT $1";
    let rows: Vec<(String,)> = db.fetch_all(sql, args![i64::from(most)]).await?;
    Ok(rows.iter().filter_map(|(card,)| serde_json::from_str(card).ok()).collect())
}
