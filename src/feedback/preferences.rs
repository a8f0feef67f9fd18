//! What one recipient wants, as the pages of [`crate::web`] show it. Reads only.

use crate::args;
use crate::clock::Millis;
use crate::db::{Db, DbResult, bucket_of};
use crate::suppression::{self, Kind, Reason, Scope, Suppression};
use crate::token::MessageKey;

/// The recipient of one message and what they get.
#[derive(Debug, Clone, Default)]
pub struct Preferences {
    /// The address the message went to, or the customer's present one.
    pub address_key: Option<String>,
    /// The locale the message was written in, or the customer's.
    pub locale: Option<String>,
    /// The standing stops of that address.
    pub stops: Vec<Suppression>,
    /// Topics the customer has said yes or no to.
    pub consents: Vec<(String, bool)>,
    /// When the customer last changed their mind on a page of ours.
    pub changed_at: Option<Millis>,
}

impl Preferences {
    /// Whether mail about `topic` would be sent: agreed to, and nothing stands in the way.
    pub fn gets(&self, topic: &str) -> bool {
        let stopped = self.stops.iter().any(|s| s.scope.stops(Kind::Promotional, topic));
        !stopped && self.consents.iter().any(|(t, granted)| t == topic && *granted)
    }

    /// Whether exactly this stop stands.
    pub fn has_stopped(&self, scope: &Scope) -> bool {
        self.stops.iter().any(|s| s.scope == *scope)
    }

    /// A stop that the person cannot lift themselves (a bounce, a complaint, the shop's own) keeps mail about `topic` away.
    pub fn is_barred(&self, topic: &str) -> bool {
        self.stops.iter().any(|s| s.reason != Reason::Unsubscribe && s.scope.stops(Kind::Promotional, topic))
    }
}

/// The preferences behind a message.
pub async fn preferences(db: &Db, key: &MessageKey) -> DbResult<Preferences> {
    let bucket = bucket_of(&key.customer_id);
    let message: Option<(Option<String>, String)> = db
        .fetch_optional(
            "SELECT address_key, locale FROM message
             WHERE bucket = $1 AND customer_id = $2 AND campaign = $3 AND step = $4 AND slot = $5",
            args![bucket, &key.customer_id, &key.campaign, &key.step, &key.slot],
        )
        .await?;
    let customer: Option<(Option<String>, Option<String>)> = db
        .fetch_optional(
            "SELECT address_key, locale FROM customer WHERE bucket = $1 AND customer_id = $2",
            args![bucket, &key.customer_id],
        )
        .await?;
    let consents = db
        .fetch_all(
            "SELECT topic, granted FROM consent WHERE bucket = $1 AND customer_id = $2 ORDER BY topic",
            args![bucket, &key.customer_id],
        )
        .await?;
    let (changed_at,): (Option<i64>,) = db
        .fetch_one(
            "SELECT MAX(at) FROM fact
             WHERE bucket = $1 AND customer_id = $2 AND kind IN ('unsubscribe', 'resubscribe')",
            args![bucket, &key.customer_id],
        )
        .await?;
    let (message_key, message_locale) = message.map_or((None, None), |(k, l)| (k, Some(l).filter(|l| !l.is_empty())));
    let (customer_key, customer_locale) = customer.unwrap_or_default();
    let address_key = message_key.or(customer_key);
    let stops = match &address_key {
        Some(address) => suppression::standing(db, address).await?,
        None => Vec::new(),
    };
    Ok(Preferences { address_key, locale: message_locale.or(customer_locale), stops, consents, changed_at })
}
