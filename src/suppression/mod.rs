//! Who may be mailed: standing "do not mail" by address, consent by customer and topic, one primary customer per address.
//!
//! Owns every write to the tables `suppression`, `consent` and `address`. It stands above `data`, because an import brings all three.
//! Promises that every write here commutes and repeats: the same statements in any order and any number leave the same state.
//! A suppression is keyed by address and outlives customers and imports (docs/decisions/0003-unsubscribe-outlives-import.md);
//! only [`lift`] removes one. Read on: [`sql`] for the conditions plans and deliveries ask, [`consent`], [`addresses`].

pub mod addresses;
pub mod consent;
pub mod sql;

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::args;
use crate::clock::Millis;
use crate::db::{Conflict, Db, DbResult, Tx, Value};

/// Longest name of a topic, in bytes.
pub const TOPIC_BYTES_MAX: usize = 100;

/// What a message is for; decides which suppressions stop it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Advertising: stopped by every suppression that covers its topic.
    Promotional,
    /// Owed to the person (an apology, a receipt): stopped by [`Scope::All`] only.
    Service,
}

impl Kind {
    /// As authors write it and the ledger stores it.
    pub fn word(self) -> &'static str {
        match self {
            Kind::Promotional => "promotional",
            Kind::Service => "service",
        }
    }
}

/// How far a suppression reaches. Stored as `all`, `promotional` or `topic:NAME`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// Nothing whatsoever.
    All,
    /// No promotional message of any topic.
    Promotional,
    /// No promotional message of this topic.
    Topic(String),
}

impl Scope {
    /// Read the stored form. `None` for anything else, an empty topic and topics longer than [`TOPIC_BYTES_MAX`].
    pub fn parse(text: &str) -> Option<Scope> {
        match text {
            "all" => Some(Scope::All),
            "promotional" => Some(Scope::Promotional),
            _ => {
                let topic = text.strip_prefix("topic:")?;
                is_topic_name(topic).then(|| Scope::Topic(topic.to_owned()))
            }
        }
    }

    /// Whether it stops a message of this kind and topic.
    pub fn stops(&self, kind: Kind, topic: &str) -> bool {
        match (self, kind) {
            (Scope::All, _) => true,
            (_, Kind::Service) => false,
            (Scope::Promotional, Kind::Promotional) => true,
            (Scope::Topic(t), Kind::Promotional) => t == topic,
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Scope::All => f.write_str("all"),
            Scope::Promotional => f.write_str("promotional"),
            Scope::Topic(topic) => write!(f, "topic:{topic}"),
        }
    }
}

/// Whether a text can name a topic: not empty, no control characters, none of the signs that separate topics in lists.
pub fn is_topic_name(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= TOPIC_BYTES_MAX
        && text.trim() == text
        && !text.contains(|c: char| c.is_control() || c == ';' || c == ',')
}

/// Why an address is suppressed. Stored in snake_case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Its server said that the mailbox does not exist.
    HardBounce,
    /// The person called a message spam.
    Complaint,
    /// The person unsubscribed.
    Unsubscribe,
    /// An operator said so.
    Manual,
    /// A list brought from elsewhere said so.
    Import,
}

impl Reason {
    /// All reasons.
    pub const ALL: [Reason; 5] =
        [Reason::HardBounce, Reason::Complaint, Reason::Unsubscribe, Reason::Manual, Reason::Import];

    /// The stored form.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::HardBounce => "hard_bounce",
            Reason::Complaint => "complaint",
            Reason::Unsubscribe => "unsubscribe",
            Reason::Manual => "manual",
            Reason::Import => "import",
        }
    }

    /// Read the stored form.
    pub fn parse(text: &str) -> Option<Reason> {
        Reason::ALL.into_iter().find(|r| r.as_str() == text)
    }
}

/// A standing "do not mail".
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suppression {
    /// Canonical address ([`crate::address::Address::key`]).
    pub address_key: String,
    pub scope: Scope,
    pub reason: Reason,
    /// When it was said.
    pub at: Millis,
    /// Who said it: `okaeri suppress`, a file's name, `unsubscribe link`.
    pub source: String,
}

const COLUMNS: [&str; 5] = ["address_key", "scope", "reason", "at", "source"];
/// The earliest statement is kept; ties are broken by text, so that order of arrival never matters.
const EARLIER: &str =
    "(excluded.at, excluded.reason, excluded.source) < (suppression.at, suppression.reason, suppression.source)";

/// Suppress an address; true when this changed anything. Of several statements with one scope the earliest is kept.
pub async fn suppress(
    tx: &mut Tx,
    address_key: &str,
    scope: &Scope,
    reason: Reason,
    at: Millis,
    source: &str,
) -> DbResult<bool> {
    let one = Suppression {
        address_key: address_key.to_owned(),
        scope: scope.clone(),
        reason,
        at,
        source: source.to_owned(),
    };
    Ok(suppress_all(tx, vec![one]).await? > 0)
}

/// [`suppress`] for many; how many rows it changed.
pub async fn suppress_all(tx: &mut Tx, mut list: Vec<Suppression>) -> DbResult<u64> {
    let order = |s: &Suppression| (s.at, s.reason.as_str(), s.source.clone());
    list.sort_by(|a, b| (&a.address_key, &a.scope).cmp(&(&b.address_key, &b.scope)).then(order(a).cmp(&order(b))));
    list.dedup_by(|b, a| a.address_key == b.address_key && a.scope == b.scope);
    let rows: Vec<Value> = list
        .into_iter()
        .flat_map(|s| args![s.address_key, s.scope.to_string(), s.reason.as_str(), s.at, s.source])
        .collect();
    let conflict = Conflict::UpdateWhen { key: &["address_key", "scope"], when: EARLIER };
    tx.insert_rows("suppression", &COLUMNS, rows, conflict).await
}

/// Remove the suppression of one scope; true when there was one. Wider and narrower scopes stay.
pub async fn lift(tx: &mut Tx, address_key: &str, scope: &Scope) -> DbResult<bool> {
    let sql = "DELETE FROM suppression WHERE address_key = $1 AND scope = $2";
    Ok(tx.execute(sql, args![address_key, scope.to_string()]).await? > 0)
}

/// Whether an address may not get a message of this kind and topic.
pub async fn is_suppressed(db: &Db, address_key: &str, kind: Kind, topic: &str) -> DbResult<bool> {
    Ok(standing(db, address_key).await?.iter().any(|s| s.scope.stops(kind, topic)))
}

/// What stands against an address, widest scope first. Rows of a form this version does not know are taken as [`Scope::All`].
pub async fn standing(db: &Db, address_key: &str) -> DbResult<Vec<Suppression>> {
    let sql = "SELECT scope, reason, at, source FROM suppression WHERE address_key = $1 ORDER BY scope";
    let rows: Vec<(String, String, i64, String)> = db.fetch_all(sql, args![address_key]).await?;
    let mut list: Vec<Suppression> = rows
        .into_iter()
        .map(|(scope, reason, at, source)| Suppression {
            address_key: address_key.to_owned(),
            scope: Scope::parse(&scope).unwrap_or(Scope::All),
            reason: Reason::parse(&reason).unwrap_or(Reason::Import),
            at,
            source,
        })
        .collect();
    list.sort_by(|a, b| a.scope.cmp(&b.scope));
    Ok(list)
}

#[cfg(test)]
mod tests;
