//! Answers to the questions of mails: stars, numbers from 0 to 10, a few words.
//!
//! An answer is an *event* of the customer like those the shop imports (`survey.nps` with `score`, `review.given` with `rating`), so that rules,
//! journeys, ratings and goals know it; and a *fact* of the message, by which the campaign's report counts. Both become durable together.
//! One person has one answer to one question of a message: who answers again says something else, not more. The words stand in the
//! event alone.

use serde_json::{Value as Json, json};

use crate::args;
use crate::clock::Millis;
use crate::data::{Happened, record_events};
use crate::db::{Db, DbResult, Tx, bucket_of};
use crate::token::{Answer, MessageKey};

use super::{Recorded, asks_again, consequence, due};

/// Longest comment kept, in characters.
pub const COMMENT_CHARS_MAX: usize = 1_000;

/// Record an answer that its person confirmed; it takes the place of an earlier one. Somebody who is no customer any more leaves the fact alone.
pub async fn record_answer(
    db: &Db,
    key: &MessageKey,
    answer: &Answer,
    comment: &str,
    now: Millis,
) -> DbResult<Recorded> {
    let mut tries = 1;
    loop {
        match once(db, key, answer, comment, now).await {
            Err(e) if asks_again(&e, &mut tries) => {}
            done => return done,
        }
    }
}

async fn once(db: &Db, key: &MessageKey, answer: &Answer, comment: &str, now: Millis) -> DbResult<Recorded> {
    let mut tx = db.begin().await?;
    let bucket = bucket_of(&key.customer_id);
    let person = consequence::lock_person(&mut tx, bucket, key).await?;
    let id = id(key, answer);
    let recorded = file(&mut tx, bucket, key, &id, answer, now).await?;
    if person.known {
        let earlier: Option<(i64,)> = tx
            .fetch_optional(
                "SELECT at FROM event WHERE bucket = $1 AND customer_id = $2 AND event_id = $3",
                args![bucket, &key.customer_id, &id],
            )
            .await?;
        let happened = Happened {
            customer_id: key.customer_id.clone(),
            name: answer.event.clone(),
            // An event lies at its instant, so that of the first answer stays.
            at: earlier.map_or(now, |(at,)| at),
            event_id: id,
            properties: properties(key, answer, comment),
        };
        record_events(&mut tx, vec![happened], now).await?;
    }
    due(&mut tx, bucket, &key.customer_id).await?;
    tx.commit().await?;
    Ok(recorded)
}

/// The name of the answer, as a fact and as an event.
fn id(key: &MessageKey, answer: &Answer) -> String {
    let about = answer.sku.as_ref().map_or(String::new(), |sku| format!("/{sku}"));
    format!("answer/{}/{}/{}/{}{about}", key.campaign, key.step, key.slot, answer.event)
}

fn properties(key: &MessageKey, answer: &Answer, comment: &str) -> Json {
    // As shops call it that send these events themselves.
    let score = if answer.event.starts_with("review.") { "rating" } else { "score" };
    let mut properties = json!({
        score: answer.score, "of": answer.of, "campaign": key.campaign, "step": key.step, "slot": key.slot,
    });
    if let Some(sku) = &answer.sku {
        properties["sku"] = sku.as_str().into();
    }
    if !comment.is_empty() {
        properties["comment"] = comment.into();
    }
    properties
}

async fn file(
    tx: &mut Tx,
    bucket: i64,
    key: &MessageKey,
    id: &str,
    answer: &Answer,
    now: Millis,
) -> DbResult<Recorded> {
    let MessageKey { customer_id, campaign, step, slot, .. } = key;
    let detail = json!({ "event": answer.event, "score": answer.score, "of": answer.of }).to_string();
    let new = tx
        .execute(
            "INSERT INTO fact (bucket, customer_id, fact_id, kind, at, campaign, step, slot, detail, recorded_at)
             VALUES ($1, $2, $3, 'answer', $4, $5, $6, $7, $8, $4)
             ON CONFLICT (bucket, customer_id, fact_id) DO NOTHING",
            args![bucket, customer_id, id, now, campaign, step, slot, &detail],
        )
        .await?;
    if new > 0 {
        return Ok(Recorded::New);
    }
    tx.execute(
        "UPDATE fact SET at = $4, detail = $5 WHERE bucket = $1 AND customer_id = $2 AND fact_id = $3",
        args![bucket, customer_id, id, now, &detail],
    )
    .await?;
    Ok(Recorded::Known)
}
