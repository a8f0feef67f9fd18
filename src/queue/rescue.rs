//! Rescue: what dead workers left behind. Runs at every start and while working.
//!
//! A chunk whose lease ran out is opened again; what was committed under that lease and never settled is `unknown`: its content may have
//! arrived or not, and it is not sent again by itself. What somebody began to cancel and did not finish is cancelled.

use crate::args;
use crate::clock::Millis;
use crate::db::{Db, DbResult};

use super::LEASE;
use super::lease::settle_chunk;

/// What a rescue found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rescued {
    /// Chunks whose lease had run out.
    pub chunks: u64,
    /// Messages that are now `unknown`.
    pub unknown: u64,
}

#[derive(sqlx::FromRow)]
struct Expired {
    bucket: i64,
    chunk_id: i64,
    bucket_to: i64,
    lease_token: String,
}

/// Open chunks whose lease ended before `now`, and name what they leave in doubt.
pub async fn rescue(db: &Db, now: Millis) -> DbResult<Rescued> {
    let mut rescued = Rescued::default();
    super::cancel::sweep(db, None, now).await?;
    // Nobody can hold a chunk for longer than a lease: a clock that was ahead gave it. It ends a lease from now.
    let sql = "UPDATE chunk SET lease_until_at = $1 WHERE state = 'leased' AND lease_until_at > $2";
    db.execute(sql, args![now + LEASE, now + 2 * LEASE]).await?;
    let expired: Vec<Expired> = db
        .fetch_all(
            "SELECT bucket, chunk_id, bucket_to, lease_token FROM chunk WHERE state = 'leased' AND lease_until_at <= $1 \
             ORDER BY bucket, chunk_id",
            args![now],
        )
        .await?;
    for e in expired {
        let mut tx = db.begin().await?;
        // Renewals only extend a lease that has not run out, so taking it by its token alone is safe once it has.
        let held = tx
            .execute(
                "UPDATE chunk SET changed_at = $1 WHERE bucket = $2 AND chunk_id = $3 AND lease_token = $4 AND lease_until_at <= $1",
                args![now, e.bucket, e.chunk_id, &e.lease_token],
            )
            .await?;
        if held == 0 {
            tx.rollback().await?;
            continue;
        }
        let unknown = settle_chunk(&mut tx, e.bucket, e.chunk_id, e.bucket_to, &e.lease_token, now).await?;
        tx.commit().await?;
        rescued.unknown += unknown.unwrap_or(0);
        rescued.chunks += 1;
    }
    Ok(rescued)
}
