//! Cancel a run: what has not left never will.
//!
//! The run's state goes first; from then on no commit passes. Then its chunks are gone through, one short transaction each, and what waits
//! in them is cancelled. A chunk that a worker holds is finished by the worker when it gives it back; one that nobody finished, because the
//! process that cancelled was killed, by the next rescue.

use crate::args;
use crate::clock::Millis;
use crate::db::{Db, DbResult, Value};

use super::lease::cancel_rest;
use super::run::{self, Move};

/// What cancelling came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cancelled {
    /// So many messages will not leave.
    Messages(u64),
    /// The run has ended already, or there is none.
    NotMoved,
}

/// Cancel a run that has not ended. One that is being planned must not be given here without the planner's lease.
pub async fn cancel(db: &Db, run_id: &str, reason: &str, now: Millis) -> DbResult<Cancelled> {
    if !run::advance(db, run_id, Move::Cancel, Some(reason), now).await? {
        return Ok(Cancelled::NotMoved);
    }
    Ok(Cancelled::Messages(sweep(db, Some(run_id), now).await?))
}

/// Go through the chunks that cancelled runs left behind, of one run or of all; how many messages were cancelled.
pub(super) async fn sweep(db: &Db, run_id: Option<&str>, now: Millis) -> DbResult<u64> {
    let mut args = args![];
    let only = run_id.map(|id| {
        args.push(Value::from(id));
        "AND k.run_id = $1"
    });
    let sql = format!(
        "SELECT k.bucket, k.chunk_id, k.bucket_to FROM chunk k JOIN run r ON r.run_id = k.run_id \
         WHERE r.state = 'cancelled' AND k.state IN ('open', 'leased') {} ORDER BY k.bucket, k.chunk_id",
        only.unwrap_or_default()
    );
    let chunks: Vec<(i64, i64, i64)> = db.fetch_all(&sql, args).await?;
    let mut cancelled = 0;
    for (bucket, chunk_id, bucket_to) in chunks {
        let mut tx = db.begin().await?;
        // Waits for a worker that is giving the chunk back: what it found left may not have looked at the run any more.
        let held = args![now, bucket, chunk_id];
        tx.execute("UPDATE chunk SET changed_at = $1 WHERE bucket = $2 AND chunk_id = $3", held).await?;
        cancelled += cancel_rest(&mut tx, (bucket, bucket_to), chunk_id, now).await?;
        let sql = "UPDATE chunk SET state = 'done' WHERE bucket = $1 AND chunk_id = $2 AND state = 'open'";
        tx.execute(sql, args![bucket, chunk_id]).await?;
        tx.commit().await?;
    }
    Ok(cancelled)
}
