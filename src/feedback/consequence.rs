//! What follows from a fact: who is stopped, whose consent is withdrawn or given back.
//!
//! Decided from the whole set of a person's words, so that a late or repeated fact ends in the same state.

use crate::args;
use crate::clock::Millis;
use crate::db::{DbResult, Tx};
use crate::suppression::consent::{self, Statement};
use crate::suppression::{self, Reason, Scope};
use crate::token::MessageKey;

use super::mind::{Change, Word, last_word};
use super::{Fact, Kind};

/// The person a fact is about, as the ledger and the customer table know them.
pub(super) struct Person {
    /// There is a customer row.
    pub known: bool,
    /// The address of the message; failing that, the customer's present one.
    pub mailed: Option<String>,
}

/// Find the person, and lock them: two facts about one person are recorded one after the other, so that each sees the other's words.
pub(super) async fn lock_person(tx: &mut Tx, bucket: i64, key: &MessageKey) -> DbResult<Person> {
    let lock = tx.dialect().lock();
    let customer: Option<(Option<String>,)> = tx
        .fetch_optional(
            &format!("SELECT k.address_key FROM customer k WHERE k.bucket = $1 AND k.customer_id = $2 {lock}"),
            args![bucket, &key.customer_id],
        )
        .await?;
    let message: Option<(Option<String>,)> = tx
        .fetch_optional(
            "SELECT address_key FROM message
             WHERE bucket = $1 AND customer_id = $2 AND campaign = $3 AND step = $4 AND slot = $5",
            args![bucket, &key.customer_id, &key.campaign, &key.step, &key.slot],
        )
        .await?;
    let known = customer.is_some();
    let mailed = message.and_then(|m| m.0).or_else(|| customer.and_then(|c| c.0));
    Ok(Person { known, mailed })
}

/// Bring suppression and consent in line with the facts, `changes` being all the person ever said, this fact included.
pub(super) async fn apply(tx: &mut Tx, bucket: i64, fact: &Fact, person: &Person, changes: &[Change]) -> DbResult<()> {
    let source = format!("{} {}", fact.via, fact.key.campaign);
    match &fact.kind {
        Kind::Unsubscribe(scope) | Kind::Resubscribe(scope) => {
            let said = || changes.iter().filter(|c| c.scope == *scope);
            if let Some(address) = &person.mailed {
                let there = said().filter(|c| c.address_key.as_ref() == Some(address));
                stop_or_lift(tx, address, scope, last_word(there), &source).await?;
            }
            // Consent is the person's, whichever of their addresses they wrote from.
            if let (Scope::Topic(topic), true) = (scope, person.known)
                && let Some((word, at)) = last_word(said())
            {
                let statement = Statement {
                    bucket,
                    customer_id: fact.key.customer_id.clone(),
                    topic: topic.clone(),
                    granted: word == Word::Go,
                    at,
                    source,
                };
                consent::state_all(tx, vec![statement]).await?;
            }
        }
        Kind::Complaint => stop(tx, person, Reason::Complaint, fact.at, &source).await?,
        Kind::Bounce { hard: true } => stop(tx, person, Reason::HardBounce, fact.at, &source).await?,
        Kind::Bounce { hard: false } => {}
    }
    Ok(())
}

async fn stop_or_lift(
    tx: &mut Tx,
    address: &str,
    scope: &Scope,
    said: Option<(Word, Millis)>,
    source: &str,
) -> DbResult<()> {
    match said {
        Some((Word::Stop, at)) => {
            suppression::suppress(tx, address, scope, Reason::Unsubscribe, at, source).await?;
        }
        // Only what a person said can be unsaid by a person: bounces, complaints and the shop's own stops stay.
        Some((Word::Go, _)) if stands_for(tx, address, scope).await? == Some(Reason::Unsubscribe) => {
            suppression::lift(tx, address, scope).await?;
        }
        Some((Word::Go, _)) | None => {}
    }
    Ok(())
}

/// Why a stop stands.
async fn stands_for(tx: &mut Tx, address: &str, scope: &Scope) -> DbResult<Option<Reason>> {
    let reason: Option<(String,)> = tx
        .fetch_optional(
            "SELECT reason FROM suppression WHERE address_key = $1 AND scope = $2",
            args![address, scope.to_string()],
        )
        .await?;
    Ok(reason.and_then(|(reason,)| Reason::parse(&reason)))
}

async fn stop(tx: &mut Tx, person: &Person, reason: Reason, at: Millis, source: &str) -> DbResult<()> {
    if let Some(address) = &person.mailed {
        suppression::suppress(tx, address, &Scope::All, reason, at, source).await?;
    }
    Ok(())
}
