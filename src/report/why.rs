//! Why a person got what they got, and why not: every message to them and what became of it, what they agreed to, what stands against
//! mail to them, and what the latest runs decided about them.
//!
//! Reads only, and only what is stored: the reason is the one recorded when the run was planned. Instants are epoch milliseconds UTC.

use std::collections::HashMap;

use serde::Serialize;

use crate::args;
use crate::clock::Millis;
use crate::db::{Db, DbResult, bucket_of, bucket_ranges};
use crate::plan::Reason;
use crate::queue::show::{self, Message};
use crate::suppression;

/// Messages told of one person at most, newest first.
const MESSAGES_MAX: i64 = 50;
/// Runs that are looked at, newest first.
const RUNS_MAX: i64 = 20;
/// People with one address that are told at most.
const PEOPLE_MAX: usize = 20;
/// Buckets searched in one statement for an address that no customer has any more.
const BUCKETS_PER_STATEMENT: i64 = 64;

/// One person.
#[derive(Debug, Clone, Serialize)]
pub struct Person {
    pub customer_id: String,
    /// Their address now; absent when they have none, or are no customer any more.
    pub address: Option<String>,
    /// Another customer with this address is the one who is written to.
    pub written_to: Option<String>,
    pub erased_at: Option<Millis>,
    pub consents: Vec<Consent>,
    pub suppressions: Vec<Suppressed>,
    /// Newest first.
    pub messages: Vec<Message>,
    /// How many more there are.
    pub messages_left_out: i64,
    /// Newest first.
    pub runs: Vec<Decided>,
}

impl Person {
    /// Keep what is about one campaign.
    pub fn only(&mut self, campaign: &str) {
        self.messages.retain(|m| m.campaign == campaign);
        self.runs.retain(|r| r.campaign == campaign);
    }
}

/// What they said about a topic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, sqlx::FromRow)]
pub struct Consent {
    pub topic: String,
    pub granted: bool,
    pub at: Millis,
    pub source: String,
}

/// A standing "do not mail".
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Suppressed {
    pub address: String,
    pub scope: String,
    pub reason: &'static str,
    pub at: Millis,
    pub source: String,
}

/// What a run decided about them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Decided {
    pub campaign: String,
    pub slot: String,
    pub run_id: String,
    pub run_state: String,
    /// The planning instant.
    pub as_of: Millis,
    /// `send`, `withheld`, `skip`, `not_in_audience`; `not_planned` while the run's messages are still being written.
    pub verdict: &'static str,
    pub reason: Option<String>,
    /// The reason, or the verdict, for people.
    pub meaning: String,
}

/// The people that a text means: a customer's id, or else an address.
pub async fn people(db: &Db, text: &str, address_key: Option<&str>) -> DbResult<Vec<Person>> {
    let sql = "SELECT c.customer_id FROM customer c WHERE c.bucket = $1 AND c.customer_id = $2 \
               UNION SELECT m.customer_id FROM message m WHERE m.bucket = $1 AND m.customer_id = $2";
    let mut ids: Vec<(String,)> = db.fetch_all(sql, args![bucket_of(text), text]).await?;
    if let (true, Some(key)) = (ids.is_empty(), address_key) {
        let sql = "SELECT customer_id FROM customer WHERE address_key = $1 ORDER BY bucket, customer_id";
        ids = db.fetch_all(sql, args![key]).await?;
        if ids.is_empty() {
            ids = mailed_there(db, key).await?;
        }
    }
    let mut people = Vec::new();
    for (customer_id,) in ids.into_iter().take(PEOPLE_MAX) {
        people.push(person(db, customer_id).await?);
    }
    Ok(people)
}

/// Whoever was written to at an address that nobody has now. No index knows it: all messages are gone through.
async fn mailed_there(db: &Db, address_key: &str) -> DbResult<Vec<(String,)>> {
    let mut found = Vec::new();
    for (first, last) in bucket_ranges(BUCKETS_PER_STATEMENT) {
        let sql = "SELECT DISTINCT customer_id FROM message WHERE bucket BETWEEN $1 AND $2 AND address_key = $3";
        found.extend(db.fetch_all::<(String,)>(sql, args![first, last, address_key]).await?);
    }
    Ok(found)
}

/// What stands against mail to an address.
pub async fn suppressions(db: &Db, address_key: &str) -> DbResult<Vec<Suppressed>> {
    let standing = suppression::standing(db, address_key).await?;
    let told = |s: suppression::Suppression| Suppressed {
        scope: s.scope.to_string(),
        reason: s.reason.as_str(),
        address: s.address_key,
        at: s.at,
        source: s.source,
    };
    Ok(standing.into_iter().map(told).collect())
}

async fn person(db: &Db, customer_id: String) -> DbResult<Person> {
    let bucket = bucket_of(&customer_id);
    let own = || args![bucket, &customer_id];
    let sql = "SELECT email, address_key, erased_at FROM customer WHERE bucket = $1 AND customer_id = $2";
    let row: Option<(Option<String>, Option<String>, Option<Millis>)> = db.fetch_optional(sql, own()).await?;
    let (address, key, erased_at) = row.unwrap_or_default();
    let sql = "SELECT topic, granted, at, source FROM consent WHERE bucket = $1 AND customer_id = $2 ORDER BY topic";
    let consents = db.fetch_all(sql, own()).await?;
    let messages = show::of_customer(db, bucket, &customer_id, MESSAGES_MAX).await?;
    let sql = "SELECT COUNT(*) FROM message WHERE bucket = $1 AND customer_id = $2";
    let (all,): (i64,) = db.fetch_one(sql, own()).await?;
    let mut keys: Vec<&String> = key.iter().chain(messages.iter().filter_map(|m| m.address_key.as_ref())).collect();
    keys.sort_unstable();
    keys.dedup();
    let mut standing = Vec::new();
    for key in keys {
        standing.extend(suppressions(db, key).await?);
    }
    Ok(Person {
        written_to: match &key {
            Some(key) => primary(db, key).await?.filter(|primary| *primary != customer_id),
            None => None,
        },
        runs: decided(db, bucket, &customer_id).await?,
        messages_left_out: all - messages.len() as i64,
        suppressions: standing,
        customer_id,
        address,
        erased_at,
        consents,
        messages,
    })
}

async fn primary(db: &Db, address_key: &str) -> DbResult<Option<String>> {
    let sql = "SELECT customer_id FROM address WHERE address_key = $1";
    Ok(db.fetch_optional::<(String,)>(sql, args![address_key]).await?.map(|(id,)| id))
}

/// What the latest runs decided about a customer.
async fn decided(db: &Db, bucket: i64, customer_id: &str) -> DbResult<Vec<Decided>> {
    let own = || args![bucket, customer_id];
    let sql = "SELECT run_id, reason FROM skip WHERE bucket = $1 AND customer_id = $2";
    let skips: Vec<(String, String)> = db.fetch_all(sql, own()).await?;
    let skips: HashMap<String, String> = skips.into_iter().collect();
    let sql = "SELECT m.run_id, m.arm, d.state FROM message m JOIN delivery d ON d.bucket = m.bucket AND d.customer_id = m.customer_id \
               AND d.chunk_id = m.chunk_id AND d.seq = m.seq WHERE m.bucket = $1 AND m.customer_id = $2";
    let messages: Vec<(String, String, String)> = db.fetch_all(sql, own()).await?;
    let messages: HashMap<String, (String, String)> =
        messages.into_iter().map(|(run_id, arm, state)| (run_id, (arm, state))).collect();
    let runs = crate::queue::run::list(db, RUNS_MAX).await?;
    let meaning = |word: &str| Reason::from_word(word).map_or(word.to_owned(), |r| r.meaning().to_owned());
    let told = runs.into_iter().map(|run| {
        let (verdict, reason, meaning) = match (messages.get(&run.run_id), skips.get(&run.run_id)) {
            (Some((arm, state)), _) if state == "withheld" => ("withheld", Some(arm.clone()), meaning(arm)),
            (Some((_, state)), _) => ("send", None, format!("a message, which is {state}")),
            (None, Some(reason)) => ("skip", Some(reason.clone()), meaning(reason)),
            (None, None) if run.is_being_planned() => ("not_planned", None, "is still being planned".to_owned()),
            (None, None) => ("not_in_audience", None, "was not in its audience, or is excluded from it".to_owned()),
        };
        Decided {
            run_state: run.state().to_string(),
            campaign: run.campaign,
            slot: run.slot,
            run_id: run.run_id,
            as_of: run.as_of,
            verdict,
            reason,
            meaning,
        }
    });
    Ok(told.collect())
}
