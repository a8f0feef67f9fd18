//! Runs: one execution of a campaign for a slot. Created once per (campaign, slot), whoever asks first.

use crate::args;
use crate::clock::Millis;
use crate::db::{Db, DbResult, Tx};
use crate::offer::reward;

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
    pub created_at: Millis,
    /// Every bucket below this one is enqueued.
    pub next_bucket: i64,
    pub audience: i64,
    pub snapshot_id: String,
    /// JSON: what of the campaign the run is bound to.
    #[serde(skip)]
    pub definition: String,
}

const COLUMNS: &str = "run_id, campaign, slot, state, reason, as_of, due_at, expires_at, created_at, next_bucket, audience, snapshot_id, definition";

impl Run {
    /// Whether its verdicts are not all known yet.
    pub fn is_being_planned(&self) -> bool {
        self.state() == RunState::Enqueuing
    }

    /// Whether it is a look at entries and steps, and not a slot: its key is an instant.
    pub fn is_followed(&self) -> bool {
        self.slot.ends_with('Z')
    }

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

/// Keep that a slot was missed, unless it has a run.
pub async fn miss(db: &Db, new: &NewRun<'_>, why: &str, now: Millis) -> DbResult<()> {
    let run_id = format!("{}-{}", new.campaign, crate::token::random_token());
    db.execute(
        "INSERT INTO run (run_id, campaign, slot, state, reason, as_of, due_at, expires_at, next_bucket, audience, snapshot_id, definition, created_at, changed_at) \
         VALUES ($1, $2, $3, 'missed', $4, $5, $6, $7, 0, 0, $8, $9, $10, $10) ON CONFLICT (campaign, slot) DO NOTHING",
        args![run_id, new.campaign, new.slot, why, new.as_of, new.due_at, new.expires_at, new.snapshot_id, new.definition, now],
    )
    .await?;
    Ok(())
}

/// Runs whose messages are not all written: somebody was interrupted, or is at it.
pub async fn unfinished(db: &Db) -> DbResult<Vec<Run>> {
    db.fetch_all(&format!("SELECT {COLUMNS} FROM run WHERE state = 'enqueuing' ORDER BY created_at, run_id"), args![])
        .await
}

/// Plans of a campaign that are kept and not sent, newest first.
pub async fn planned(db: &Db, campaign: &str) -> DbResult<Vec<Run>> {
    let sql =
        format!("SELECT {COLUMNS} FROM run WHERE campaign = $1 AND state = 'planned' ORDER BY created_at DESC, run_id");
    db.fetch_all(&sql, args![campaign]).await
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

/// A run moves: to which state, and from which. The statement names both, so that of two hands at once one moves it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Move {
    /// Every message is written.
    Ready,
    /// Every message is written, and waits for somebody to send the plan.
    Save,
    /// A saved plan is sent.
    Release,
    /// Its first chunk was claimed.
    Begin,
    /// Nothing of it leaves until somebody lets it go on.
    Pause,
    /// It was held and goes on.
    Resume,
    /// Nothing of it leaves ever again.
    Cancel,
}

impl Move {
    /// The states it starts from, and the one it ends in.
    pub fn states(self) -> (&'static [RunState], RunState) {
        use RunState::*;
        match self {
            Move::Ready => (&[Enqueuing], Ready),
            Move::Save => (&[Enqueuing], Planned),
            Move::Release => (&[Planned], Ready),
            Move::Begin => (&[Ready], Sending),
            Move::Pause => (&[Ready, Sending], Paused),
            Move::Resume => (&[Paused], Sending),
            Move::Cancel => (&[Planned, Enqueuing, Ready, Sending, Paused, Drained], Cancelled),
        }
    }
}

/// Move a run, if it is in a state that may; whether it moved. What the breaker counts begins anew when a run is resumed.
pub async fn advance(db: &Db, run_id: &str, by: Move, reason: Option<&str>, now: Millis) -> DbResult<bool> {
    let (from, next) = by.states();
    let from: Vec<String> = from.iter().map(|s| format!("'{}'", s.word())).collect();
    let anew = if by == Move::Resume { ", watched_from_at = $3" } else { "" };
    let sql = format!(
        "UPDATE run SET state = $1, reason = $2, changed_at = $3{anew} WHERE run_id = $4 AND state IN ({})",
        from.join(", ")
    );
    Ok(db.execute(&sql, args![next.word(), reason, now, run_id]).await? > 0)
}

/// A saved plan is sent: from now on its messages may leave, for so long. Whether it was this call that released it.
pub async fn release(db: &Db, run_id: &str, expires_at: Millis, now: Millis) -> DbResult<bool> {
    // First the time it has: whoever claims from it at once must see it.
    let sql = "UPDATE run SET expires_at = $1 WHERE run_id = $2 AND state = 'planned' AND expires_at < $1";
    db.execute(sql, args![expires_at, run_id]).await?;
    advance(db, run_id, Move::Release, None, now).await
}

/// Hold every run that may send; how many.
pub async fn pause_all(db: &Db, reason: &str, now: Millis) -> DbResult<u64> {
    let sql = "UPDATE run SET state = 'paused', reason = $1, changed_at = $2 WHERE state IN ('ready', 'sending')";
    db.execute(sql, args![reason, now]).await
}

/// A drained run has something to send again. Written also when the run is sending, so that whoever is about to call it drained waits and
/// looks again.
pub(super) async fn wake(tx: &mut Tx, run_id: &str, now: Millis) -> DbResult<()> {
    let sql = "UPDATE run SET state = 'sending', changed_at = $1 WHERE run_id = $2 AND state IN ('drained', 'sending')";
    tx.execute(sql, args![now, run_id]).await?;
    Ok(())
}

/// Note that the buckets from `first` up to `next` are enqueued; part of the transaction that wrote their messages. False when the run is
/// no longer being enqueued, or another planner has written these buckets: then the transaction must not be committed.
pub async fn note_enqueued(
    tx: &mut Tx,
    run_id: &str,
    (first, next): (i64, i64),
    audience: i64,
    now: Millis,
) -> DbResult<bool> {
    let noted = tx
        .execute(
            "UPDATE run SET next_bucket = $1, audience = audience + $2, changed_at = $3 \
             WHERE run_id = $4 AND state = 'enqueuing' AND next_bucket = $5",
            args![next, audience, now, run_id, first],
        )
        .await?;
    Ok(noted > 0)
}

/// Note that so many more people were decided about; part of the transaction that wrote it. False when the run is no longer being enqueued.
pub async fn note_followed(tx: &mut Tx, run_id: &str, people: i64, now: Millis) -> DbResult<bool> {
    let sql = "UPDATE run SET audience = audience + $1, changed_at = $2 WHERE run_id = $3 AND state = 'enqueuing'";
    Ok(tx.execute(sql, args![people, now, run_id]).await? > 0)
}

/// Runs in which every chunk is done are drained; how many.
pub async fn drain_finished(db: &Db, now: Millis) -> DbResult<u64> {
    let mut tx = db.begin().await?;
    // Held first and looked at by a later statement: whoever opens a chunk meanwhile has written the run before, or waits and wakes it.
    let lock = tx.dialect().lock();
    let held: Vec<(String,)> = tx
        .fetch_all(
            &format!("SELECT k.run_id FROM run k WHERE k.state IN ('ready', 'sending') ORDER BY k.run_id {lock}"),
            args![],
        )
        .await?;
    let mut drained = 0;
    if !held.is_empty() {
        drained = tx
            .execute(
                "UPDATE run SET state = 'drained', changed_at = $1 WHERE state IN ('ready', 'sending') \
                 AND NOT EXISTS (SELECT 1 FROM chunk k WHERE k.run_id = run.run_id AND k.state <> 'done')",
                args![now],
            )
            .await?;
    }
    tx.commit().await?;
    Ok(drained)
}

/// Take back a run that never became ready, or a plan that nobody sent: none of its messages has left, so its rows go and its slot is free again.
pub async fn discard(db: &Db, run_id: &str) -> DbResult<()> {
    let mut tx = db.begin().await?;
    let sql = "UPDATE run SET state = 'cancelled' WHERE run_id = $1 AND state IN ('enqueuing', 'planned')";
    let held = tx.execute(sql, args![run_id]).await?;
    if held > 0 {
        reward::take_back_run(&mut tx, run_id).await?;
        for table in ["chunk", "delivery", "message", "entry", "skip", "step_pass", "run_verdict", "run"] {
            tx.execute(&format!("DELETE FROM {table} WHERE run_id = $1"), args![run_id]).await?;
        }
    }
    tx.commit().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_move_of_a_run_is_legal_and_a_resume_starts_from_paused_alone() {
        for by in [Move::Ready, Move::Save, Move::Release, Move::Begin, Move::Pause, Move::Resume, Move::Cancel] {
            let (from, next) = by.states();
            assert!(from.iter().all(|s| s.may_become(next)), "{by:?}");
        }
        // Were a claim to move paused runs too, a pause that falls between claim and move would be lost.
        assert_eq!(Move::Begin.states().0, [RunState::Ready]);
        assert_eq!(Move::Resume.states().0, [RunState::Paused]);
    }
}
