//! What comes back: facts about messages we sent, recorded once, with what follows from them.
//!
//! Owns the table `fact`. Promises: recording is idempotent and the order of arrival does not matter (who is stopped in the end depends on
//! the set of facts alone); a fact and its consequence become durable together. Never sends anything, never deletes a fact (a click that turns out to be a
//! scanner's is filed again as a scan: [`click`]; who answers a question again changes
//! their [`answer`]).
//!
//! What follows: an unsubscribe stops *the address that was mailed* and withdraws the person's consent to the topic; a resubscribe by the
//! same person takes both back; a complaint or a hard bounce stops the address altogether, and no resubscribe undoes that.
//! When people changed their mind, the last word counts ([`mind`]). Instants are epoch milliseconds UTC.

pub mod answer;
pub mod click;
mod consequence;
pub mod mind;
mod preferences;

pub use answer::record_answer;
pub use click::record_click;
pub use preferences::{Preferences, preferences};

use crate::args;
use crate::clock::Millis;
use crate::db::{Db, DbError, DbResult, Tx, bucket_of};
use crate::suppression::Scope;
use crate::token::MessageKey;

use mind::{Change, Word};

/// How often a fact's transaction is tried when the database asks for it to be run again.
const TRIES_MAX: u32 = 5;

/// Something that came back about one message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fact {
    pub kind: Kind,
    /// When it happened, as far as we can tell; not when we heard of it.
    pub at: Millis,
    /// The message it is about.
    pub key: MessageKey,
    /// How it reached us, in one word: `one_click`, `page`, `preferences`, …
    pub via: String,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// The address wants no more of this.
    Unsubscribe(Scope),
    /// … and wants it again: said by the person self, on a page of ours.
    Resubscribe(Scope),
    /// The mail came back. Hard: the mailbox does not exist (RFC 3463 class 5.1).
    Bounce { hard: bool },
    /// The person called the mail spam.
    Complaint,
}

/// Whether a fact was news.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recorded {
    New,
    /// Told before; nothing changed.
    Known,
}

impl Kind {
    /// The word in the table.
    pub fn name(&self) -> &'static str {
        match self {
            Kind::Unsubscribe(_) => "unsubscribe",
            Kind::Resubscribe(_) => "resubscribe",
            Kind::Bounce { .. } => "bounce",
            Kind::Complaint => "complaint",
        }
    }

    /// What it says about being mailed, when a person said it.
    fn word(&self) -> Option<(Word, &Scope)> {
        match self {
            Kind::Unsubscribe(scope) => Some((Word::Stop, scope)),
            Kind::Resubscribe(scope) => Some((Word::Go, scope)),
            Kind::Bounce { .. } | Kind::Complaint => None,
        }
    }
}

impl Fact {
    /// The fact's name: two reports of the same thing have the same. A change of mind is named by its turn, that is by how often the person
    /// had said the opposite before, so that pressing a button twice is one fact and stop – undo – stop again is three.
    fn id(&self, turn: usize) -> String {
        let kind = self.kind.name();
        let MessageKey { campaign, step, slot, .. } = &self.key;
        match self.kind.word() {
            Some((_, scope)) => format!("{kind}/{}/{campaign}/{step}/{slot}/{turn}", scope),
            None => format!("{kind}/{campaign}/{step}/{slot}"),
        }
    }

    fn detail(&self) -> String {
        let mut detail = serde_json::json!({ "via": self.via });
        match &self.kind {
            Kind::Unsubscribe(scope) | Kind::Resubscribe(scope) => detail["scope"] = scope.to_string().into(),
            Kind::Bounce { hard } => detail["hard"] = (*hard).into(),
            Kind::Complaint => {}
        }
        detail.to_string()
    }
}

/// Record a fact and what follows from it, in one transaction. `now` is when we heard of it.
///
/// The address is the one the message went to; when the ledger no longer knows it, the customer's present one; when neither is known the
/// fact is recorded all the same and stops nobody. A transaction that the database wants to see again is run again: repeating is harmless.
pub async fn record(db: &Db, fact: &Fact, now: Millis) -> DbResult<Recorded> {
    let mut tries = 1;
    loop {
        match record_once(db, fact, now).await {
            Err(e) if asks_again(&e, &mut tries) => {}
            done => return done,
        }
    }
}

/// Whether a transaction is run again: when the database asks for it, within reason.
fn asks_again(error: &DbError, tries: &mut u32) -> bool {
    *tries += 1;
    *tries <= TRIES_MAX && (error.is_retryable() || matches!(error, DbError::InDoubt(_)))
}

/// Rules may ask about a fact: who it is about is looked at again.
async fn due(tx: &mut Tx, bucket: i64, customer_id: &str) -> DbResult<()> {
    tx.execute(
        "INSERT INTO segment_due (bucket, customer_id) VALUES ($1, $2) ON CONFLICT (bucket, customer_id) DO NOTHING",
        args![bucket, customer_id],
    )
    .await?;
    Ok(())
}

async fn record_once(db: &Db, fact: &Fact, now: Millis) -> DbResult<Recorded> {
    let mut tx = db.begin().await?;
    let bucket = bucket_of(&fact.key.customer_id);
    let person = consequence::lock_person(&mut tx, bucket, &fact.key).await?;
    let mut changes = mind::changes(&mut tx, bucket, &fact.key.customer_id).await?;
    let turn = match fact.kind.word() {
        Some((word, scope)) => mind::turn(&changes, word, scope, fact.at),
        None => 0,
    };
    let recorded = insert(&mut tx, bucket, fact, &fact.id(turn), now).await?;
    if let Some((word, scope)) = fact.kind.word() {
        changes.push(Change { word, scope: scope.clone(), at: fact.at, address_key: person.mailed.clone() });
    }
    consequence::apply(&mut tx, bucket, fact, &person, &changes).await?;
    // Consent may have moved, and rules may ask about the fact itself.
    due(&mut tx, bucket, &fact.key.customer_id).await?;
    tx.commit().await?;
    Ok(recorded)
}

/// A repeat only moves `at` forward: the last time it was said is what the last word is judged by.
async fn insert(tx: &mut Tx, bucket: i64, fact: &Fact, fact_id: &str, now: Millis) -> DbResult<Recorded> {
    let MessageKey { customer_id, campaign, step, slot, .. } = &fact.key;
    let new = tx
        .execute(
            "INSERT INTO fact (bucket, customer_id, fact_id, kind, at, campaign, step, slot, detail, recorded_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
             ON CONFLICT (bucket, customer_id, fact_id) DO NOTHING",
            args![bucket, customer_id, fact_id, fact.kind.name(), fact.at, campaign, step, slot, fact.detail(), now],
        )
        .await?;
    if new > 0 {
        return Ok(Recorded::New);
    }
    tx.execute(
        "UPDATE fact SET at = $1 WHERE bucket = $2 AND customer_id = $3 AND fact_id = $4 AND at < $1",
        args![fact.at, bucket, customer_id, fact_id],
    )
    .await?;
    Ok(Recorded::Known)
}
