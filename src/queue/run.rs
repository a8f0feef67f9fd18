//! Runs: one execution of a campaign for a slot. Created once per (campaign, slot), whoever asks first.

use crate::args;
use crate::clock::Millis;
use crate::db::{Db, DbResult, Tx};

use super::RunState;

/// One run, as stored.
#[derive(Debug, Clone, sqlx::FromRow, serde::Serialize)]
pub struct Run {
    pub run_id: String,
    pub campaign: String,
    pub slot: String,
    #[sqlx(rename = "state")]
    #[serde(rename = "state")]
    state_word: String,
    pub reason: Option<String>,
    /// The planning instant.
    pub as_of: Millis,
    pub due_at: Millis,
    pub expires_at: Millis,
    /// Every bucket below this one is enqueued.
    pub next_bucket: i64,
    pub audience: i64,
    pub snapshot_id: String,
    /// JSON: what of the campaign the run is bound to.
    #[serde(skip)]
    pub definition: String,
}

const COLUMNS: &str =
    "run_id, campaign, slot, state, reason, as_of, due_at, expires_at, next_bucket, audience, snapshot_id, definition";

impl Run {
    /// The state; a word this version does not know reads as `paused`, which sends nothing.
    pub fn state(&self) -> RunState {
        RunState::from_word(&self.state_word).unwrap_or(RunState::Paused)
    }
}

/// What a new run starts from.
#[derive(Debug, Clone)]
pub struct NewRun<'a> {
    pub campaign: &'a str,
    pub slot: &'a str,
    pub as_of: Millis,
    pub due_at: Millis,
    pub expires_at: Millis,
    pub snapshot_id: &'a str,
    pub definition: &'a str,
}

/// The run of (campaign, slot), created in state `enqueuing` when there is none. Two schedulers that ask at once get the same run.
pub async fn open(tx: &mut Tx, new: &NewRun<'_>, now: Millis) -> DbResult<Run> {
    let run_id = format!("{}-{}", new.campaign, crate::token::random_token());
    tx.execute(
        "INSERT INTO run (run_id, campaign, slot, state, as_of, due_at, expires_at, next_bucket, audience, snapshot_id, definition, created_at, changed_at) \
         VALUES ($1, $2, $3, 'enqueuing', $4, $5, $6, 0, 0, $7, $8, $9, $9) ON CONFLICT (campaign, slot) DO NOTHING",
        args![run_id, new.campaign, new.slot, new.as_of, new.due_at, new.expires_at, new.snapshot_id, new.definition, now],
    )
    .await?;
    let run = tx
        .fetch_optional(
            &format!("SELECT {COLUMNS} FROM run WHERE campaign = $1 AND slot = $2"),
            args![new.campaign, new.slot],
        )
        .await?;
    Ok(run.expect("inserted above or there before"))
}

/// The run of (campaign, slot), if there is one.
pub async fn find(db: &Db, campaign: &str, slot: &str) -> DbResult<Option<Run>> {
    db.fetch_optional(&format!("SELECT {COLUMNS} FROM run WHERE campaign = $1 AND slot = $2"), args![campaign, slot])
        .await
}

/// The run with this id.
pub async fn get(db: &Db, run_id: &str) -> DbResult<Option<Run>> {
    db.fetch_optional(&format!("SELECT {COLUMNS} FROM run WHERE run_id = $1"), args![run_id]).await
}

/// Runs that are not at rest, and the newest others, newest first.
pub async fn list(db: &Db, limit: i64) -> DbResult<Vec<Run>> {
    db.fetch_all(&format!("SELECT {COLUMNS} FROM run ORDER BY created_at DESC, run_id LIMIT $1"), args![limit]).await
}

/// Move a run, if it is in a state that may; whether it moved.
pub async fn advance(db: &Db, run_id: &str, next: RunState, reason: Option<&str>, now: Millis) -> DbResult<bool> {
    let from: Vec<String> =
        RunState::ALL.iter().filter(|s| s.may_become(next)).map(|s| format!("'{}'", s.word())).collect();
    let sql = format!(
        "UPDATE run SET state = $1, reason = $2, changed_at = $3 WHERE run_id = $4 AND state IN ({})",
        from.join(", ")
    );
    Ok(db.execute(&sql, args![next.word(), reason, now, run_id]).await? > 0)
}

/// Note how far enqueuing came; part of the transaction that wrote the messages of these buckets.
pub async fn note_enqueued(tx: &mut Tx, run_id: &str, next_bucket: i64, audience: i64, now: Millis) -> DbResult<()> {
    tx.execute(
        "UPDATE run SET next_bucket = $1, audience = audience + $2, changed_at = $3 WHERE run_id = $4 AND state = 'enqueuing'",
        args![next_bucket, audience, now, run_id],
    )
    .await?;
    Ok(())
}

/// Runs in which every chunk is done are drained; how many.
pub async fn drain_finished(db: &Db, now: Millis) -> DbResult<u64> {
    db.execute(
        "UPDATE run SET state = 'drained', changed_at = $1 WHERE state IN ('ready', 'sending') \
         AND NOT EXISTS (SELECT 1 FROM chunk k WHERE k.run_id = run.run_id AND k.state <> 'done')",
        args![now],
    )
    .await
}

/// Take back a run that never became ready: none of its messages has left, so its rows go and its slot is free again.
pub async fn discard(db: &Db, run_id: &str) -> DbResult<()> {
    let mut tx = db.begin().await?;
    let held = tx
        .execute("UPDATE run SET state = 'cancelled' WHERE run_id = $1 AND state = 'enqueuing'", args![run_id])
        .await?;
    if held > 0 {
        for table in ["chunk", "delivery", "message", "entry", "skip", "run_verdict", "run"] {
            tx.execute(&format!("DELETE FROM {table} WHERE run_id = $1"), args![run_id]).await?;
        }
    }
    tx.commit().await
}
