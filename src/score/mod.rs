//! What models predict of each customer: learn from the orders, fit, prove on the last weeks, write the scores.
//!
//! Owns the tables score and model_fit. A fit sees all orders up to the newest one of anybody ([`learn`]); "the next 90 days" are those after
//! that day, whatever day it is now. Before the parameters of today are fitted, the same is done without the last 13 weeks, and what it
//! would have said about them is compared with what happened, and with rules of thumb: that stands in the [`Card`]. Whether time is counted
//! with the seasons of the shop is decided there too.
//!
//! Scores are written slice by slice ([`write`]); whoever has one is handed to the segments. A customer who orders after a fit keeps their
//! score until the next one. Statistics live in [`model`](crate::model).

mod card;
mod learn;
mod write;

pub use card::{Card, Holdout, ModelCard};

use crate::args;
use crate::clock::{MINUTE, Millis};
use crate::db::{Db, DbError, Lease};
use crate::model::counts::Family;
use crate::model::gates::{Refused, fit_counts};
use crate::model::value;
use crate::profile;
use crate::settings::Settings;
use crate::token::random_token;

/// How long the right to fit holds unless it is renewed.
const HOLD: Millis = 10 * MINUTE;

/// Why there are no new scores.
#[derive(Debug, thiserror::Error)]
pub enum ScoreError {
    #[error(transparent)]
    Refused(#[from] Refused),
    #[error("another process is fitting models")]
    Busy,
    #[error(transparent)]
    Db(#[from] DbError),
}

/// Fit the models on what the profiles know, and score every buyer. Profiles must be up to date.
pub async fn fit(db: &Db, settings: &Settings, now: Millis) -> Result<Card, ScoreError> {
    let lease = Lease::take(db, "model_fit", HOLD, now).await?.ok_or(ScoreError::Busy)?;
    let outcome = fit_alone(db, settings, now, &lease).await;
    lease.release(db).await?;
    outcome
}

async fn fit_alone(db: &Db, settings: &Settings, now: Millis, lease: &Lease) -> Result<Card, ScoreError> {
    let days = learn::order_days(db, &settings.time_zone, now).await?;
    let Some(span) = days.span() else { return Err(Refused::TooFewBuyers { buyers: 0 }.into()) };
    let trial = learn::trial(db, &settings.time_zone, now, &days, span).await?;
    let seasons = trial.as_ref().and_then(|t| t.seasonal.then(|| days.seasons(span.1)).flatten());
    let calendar = learn::calendar(seasons.as_ref(), span);

    let sample = learn::sample(db, &days, &calendar, span).await?;
    let counts = fit_counts(Family::Mbg, &sample)?;
    // Without order values there is no lifetime value, but all the rest.
    let values = value::fit(&learn::spends(db).await?);

    let fit_id = random_token();
    let scorer = write::Scorer::new(counts.fit.clone(), values.as_ref().ok().cloned(), calendar, span.1, settings);
    let scored = write::all(db, &scorer, &fit_id, now, lease).await?;
    profile::count_changes(db, scored).await?;
    let (models, missing) = card::models(&counts, &values);
    let card = Card {
        fit_id,
        fitted_at: now,
        observed: [card::date(span.0), card::date(span.1)],
        scored,
        seasons: seasons.map(|s| s.index()),
        models,
        missing,
        holdout: trial.map(|t| t.holdout),
    };
    let text = serde_json::to_string(&card).expect("a card is plain data");
    let sql = "INSERT INTO model_fit (fit_id, fitted_at, card) VALUES ($1, $2, $3)";
    db.execute(sql, args![&card.fit_id, now, &text]).await?;
    Ok(card)
}

/// The card of the newest fit; `None` before the first, or when a version that wrote other cards made it.
pub async fn newest(db: &Db) -> Result<Option<Card>, DbError> {
    let sql = "SELECT card FROM model_fit ORDER BY fitted_at DESC, fit_id LIMIT 1";
    let row: Option<(String,)> = db.fetch_optional(sql, vec![]).await?;
    Ok(row.and_then(|(card,)| serde_json::from_str(&card).ok()))
}
