//! Everything known of one customer: who they are, whether they may be mailed, their numbers, what models predict of them, and what
//! happened, newest first. Reads only.
//!
//! The address is masked: what is printed here ends in terminals and tickets. Instants are RFC 3339 in the project's zone, money minor units.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::address::masked;
use crate::args;
use crate::clock::{self, Millis};
use crate::db::{Db, DbResult, bucket_of, bucket_ranges};
use crate::model::gates::Confidence;
use crate::model::thumb::Predictor;
use crate::profile::fields::{Kind, SCORES};
use crate::profile::loyalty::Standing;
use crate::profile::{self, Moment, View};
use crate::score;
use crate::suppression;

/// Buckets whose scores are compared in one statement.
const BUCKETS_PER_STATEMENT: i64 = 256;

/// One customer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Customer {
    pub customer_id: String,
    pub as_of: String,
    #[serde(flatten)]
    pub who: Who,
    /// Topic → whether they agreed to it.
    pub consent: BTreeMap<String, bool>,
    /// What stands against mail to the address: scope and reason.
    pub suppressed: Vec<String>,
    /// `None` until `okaeri profile` has run.
    pub profile: Option<View>,
    /// Where they stand among the loyalty tiers; filled by the caller, who knows the settings.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loyalty: Option<Standing>,
    /// What stands in table score; empty without.
    pub scores: Vec<Score>,
    /// The fit that they are of, and how far it is to be trusted; `None` without scores.
    pub fit: Option<Fit>,
    /// The segments they are in; filled by the caller, who knows the project's files.
    pub segments: Vec<String>,
    /// Newest first.
    pub timeline: Vec<Happened>,
    /// How much more happened than is told.
    pub left_out: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Who {
    pub first_name: Option<String>,
    pub last_name: Option<String>,
    /// Masked; absent when there is none.
    pub address: Option<String>,
    pub locale: Option<String>,
    pub country: Option<String>,
    pub time_zone: Option<String>,
    pub first_seen_at: String,
    pub erased_at: Option<String>,
}

/// A predicted number, with its interval, and the share of scored customers who have less.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Score {
    pub score: &'static str,
    pub meaning: &'static str,
    #[serde(skip)]
    pub kind: Kind,
    pub value: f64,
    pub low: Option<f64>,
    pub high: Option<f64>,
    /// 0 to 100.
    pub percentile: f64,
}

/// What is to be known of a fit by whoever looks at scores of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Fit {
    pub fitted_at: String,
    /// Who predicts: the model, or a rule of thumb that was closer.
    pub used: Predictor,
    pub confidence: Confidence,
    /// Why it is to be taken with care.
    pub doubts: Vec<String>,
}

/// An order, an event, a message, or what came back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Happened {
    pub at: String,
    /// `order`, `event`, `message` or `fact`.
    pub kind: &'static str,
    pub what: String,
    /// Minor units of `currency`; orders only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub currency: Option<String>,
}

#[derive(Debug, sqlx::FromRow)]
struct Row {
    email: Option<String>,
    address_key: Option<String>,
    first_name: Option<String>,
    last_name: Option<String>,
    locale: Option<String>,
    country: Option<String>,
    time_zone: Option<String>,
    first_seen_at: Millis,
    erased_at: Option<Millis>,
}

/// Look at a customer, with `most` entries of what happened up to the moment. `None` when there is none of this id.
pub async fn customer(db: &Db, customer_id: &str, moment: &Moment, most: usize) -> DbResult<Option<Customer>> {
    let bucket = bucket_of(customer_id);
    let sql = "SELECT email, address_key, first_name, last_name, locale, country, time_zone, first_seen_at, erased_at FROM customer
               WHERE bucket = $1 AND customer_id = $2";
    let Some(row) = db.fetch_optional::<Row>(sql, args![bucket, customer_id]).await? else { return Ok(None) };
    let instant = |at: Millis| clock::rfc3339(at, &moment.zone);
    let sql = "SELECT topic, granted FROM consent WHERE bucket = $1 AND customer_id = $2";
    let consent: Vec<(String, bool)> = db.fetch_all(sql, args![bucket, customer_id]).await?;
    let standing = match &row.address_key {
        Some(key) => suppression::standing(db, key).await?,
        None => Vec::new(),
    };
    let facts = profile::load(db, bucket, &[customer_id.to_owned()]).await?.pop();
    let scores = scores(db, bucket, customer_id).await?;
    let card = if scores.is_empty() { None } else { score::newest(db).await? };
    let fit = card.map(|card| Fit {
        fitted_at: instant(card.fitted_at),
        used: card.used,
        confidence: card.confidence(moment.as_of),
        doubts: card.doubts(moment.as_of),
    });
    let (timeline, all) = timeline(db, bucket, customer_id, moment, most).await?;
    Ok(Some(Customer {
        customer_id: customer_id.to_owned(),
        as_of: instant(moment.as_of),
        who: Who {
            first_name: row.first_name,
            last_name: row.last_name,
            address: row.email.as_deref().map(masked),
            locale: row.locale,
            country: row.country,
            time_zone: row.time_zone,
            first_seen_at: instant(row.first_seen_at),
            erased_at: row.erased_at.map(instant),
        },
        consent: consent.into_iter().collect(),
        suppressed: standing.iter().map(|s| format!("{} ({})", s.scope, s.reason.as_str())).collect(),
        profile: facts.map(|f| f.view(moment)),
        loyalty: None,
        scores,
        fit,
        segments: Vec::new(),
        left_out: all - timeline.len() as u64,
        timeline,
    }))
}

async fn scores(db: &Db, bucket: i64, customer_id: &str) -> DbResult<Vec<Score>> {
    let mut out = Vec::new();
    for field in SCORES {
        // All as doubles: instants and money are exact up to 2⁵³.
        let column = field.sql.trim_start_matches("sc.");
        let beside = |side: &str| match column.strip_suffix("_at") {
            Some(name) => format!("sc.{name}_{side}_at"),
            None => format!("sc.{column}_{side}"),
        };
        let double = |sql: &str| format!("CAST({sql} AS DOUBLE PRECISION)");
        let sql = format!(
            "SELECT {}, {}, {} FROM score sc WHERE sc.bucket = $1 AND sc.customer_id = $2",
            double(field.sql),
            double(&beside("low")),
            double(&beside("high"))
        );
        let row: Option<(Option<f64>, Option<f64>, Option<f64>)> =
            db.fetch_optional(&sql, args![bucket, customer_id]).await?;
        let Some((Some(value), low, high)) = row else { continue };
        let sql = format!(
            "SELECT COUNT(*), COUNT(*) FILTER (WHERE {} < $3) FROM score sc
             WHERE sc.bucket >= $1 AND sc.bucket <= $2 AND {} IS NOT NULL",
            double(field.sql),
            field.sql
        );
        let (mut everybody, mut below) = (0, 0);
        for (first, last) in bucket_ranges(BUCKETS_PER_STATEMENT) {
            let (all, less): (i64, i64) = db.fetch_one(&sql, args![first, last, value]).await?;
            (everybody, below) = (everybody + all, below + less);
        }
        let percentile = 100.0 * below as f64 / i64::max(everybody, 1) as f64;
        out.push(Score { score: field.name, meaning: field.meaning, kind: field.kind, value, low, high, percentile });
    }
    Ok(out)
}

/// What happened, newest first, and how much in all.
async fn timeline(
    db: &Db,
    bucket: i64,
    customer_id: &str,
    moment: &Moment,
    most: usize,
) -> DbResult<(Vec<Happened>, u64)> {
    let of = || args![bucket, customer_id, moment.as_of, most as i64];
    let counted = || args![bucket, customer_id, moment.as_of];
    let own = "bucket = $1 AND customer_id = $2";
    let orders: Vec<(Millis, String, i64, String, String)> = db
        .fetch_all(
            &format!(
                "SELECT ordered_at, order_id, total, currency, status FROM customer_order
                 WHERE {own} AND ordered_at <= $3 ORDER BY ordered_at DESC, order_id LIMIT $4"
            ),
            of(),
        )
        .await?;
    type Event = (Millis, String, Option<String>, Option<f64>, String);
    let events: Vec<Event> = db
        .fetch_all(
            "SELECT e.at, n.name, e.sku, e.score, e.properties FROM event e JOIN event_name n ON n.name_id = e.name_id
             WHERE e.bucket = $1 AND e.customer_id = $2 AND e.at <= $3 ORDER BY e.at DESC, e.event_id LIMIT $4",
            of(),
        )
        .await?;
    let messages: Vec<(Millis, String, String, String, String)> = db
        .fetch_all(
            "SELECT COALESCE(d.date_at, m.due_at), m.campaign, m.step, m.slot, d.state
             FROM message m JOIN delivery d ON d.bucket = m.bucket AND d.chunk_id = m.chunk_id AND d.seq = m.seq
             WHERE m.bucket = $1 AND m.customer_id = $2 AND COALESCE(d.date_at, m.due_at) <= $3
             ORDER BY 1 DESC, m.campaign, m.step LIMIT $4",
            of(),
        )
        .await?;
    let facts: Vec<(Millis, String, String, String)> = db
        .fetch_all(
            &format!(
                "SELECT at, kind, campaign, step FROM fact WHERE {own} AND at <= $3 ORDER BY at DESC, fact_id LIMIT $4"
            ),
            of(),
        )
        .await?;
    let mut all = 0;
    for (table, at) in [("customer_order", "ordered_at"), ("event", "at"), ("message", "due_at"), ("fact", "at")] {
        let sql = format!("SELECT COUNT(*) FROM {table} WHERE {own} AND {at} <= $3");
        all += db.fetch_one::<(i64,)>(&sql, counted()).await?.0.unsigned_abs();
    }
    let told = |at: Millis, kind: &'static str, what: String| {
        (at, Happened { at: clock::rfc3339(at, &moment.zone), kind, what, total: None, currency: None })
    };
    let mut out: Vec<(Millis, Happened)> = Vec::new();
    for (at, order_id, total, currency, status) in orders {
        let (at, order) = told(at, "order", format!("{order_id} {status}"));
        out.push((at, Happened { total: Some(total), currency: Some(currency), ..order }));
    }
    out.extend(events.into_iter().map(|(at, name, sku, score, properties)| {
        told(at, "event", format!("{name}{}", said(sku.as_deref(), score, &properties)))
    }));
    out.extend(
        messages.into_iter().map(|(at, campaign, step, slot, state)| {
            told(at, "message", format!("{campaign}/{step} of {slot}: {state}"))
        }),
    );
    out.extend(
        facts.into_iter().map(|(at, kind, campaign, step)| told(at, "fact", format!("{kind}, {campaign}/{step}"))),
    );
    out.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
    out.truncate(most);
    let all = all.max(out.len() as u64);
    Ok((out.into_iter().map(|(_, happened)| happened).collect(), all))
}

/// What an event says beside its name: the product it is about, the number that was given, and the words.
fn said(sku: Option<&str>, score: Option<f64>, properties: &str) -> String {
    let properties: serde_json::Value = serde_json::from_str(properties).unwrap_or_default();
    let mut out = sku.map_or(String::new(), |sku| format!(" {sku}"));
    if let Some(score) = score {
        let of = properties["of"].as_i64().map_or(String::new(), |of| format!(" of {of}"));
        out.push_str(&format!(" {score}{of}"));
    }
    if let Some(comment) = properties["comment"].as_str() {
        out.push_str(&format!(" “{}”", comment.replace('\n', " / ")));
    }
    out
}
