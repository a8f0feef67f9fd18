//! Leases: a worker claims a chunk for a short time, renews it while it lives, and gives it back with what is left.

use std::sync::atomic::{AtomicI64, Ordering};

use crate::args;
use crate::clock::Millis;
use crate::db::{Db, DbResult, Tx, Value, padded};
use crate::failpoint::{self, Step};
use crate::offer::reward;

use super::{LEASE, run};

/// A chunk this process holds.
#[derive(Debug)]
pub struct Lease {
    pub bucket: i64,
    pub chunk_id: i64,
    pub bucket_to: i64,
    pub run_id: String,
    pub lane: String,
    /// Random; whoever knows it holds the chunk.
    pub token: String,
    until_at: AtomicI64,
}

/// A message of a leased chunk that may be sent now.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Queued {
    pub bucket: i64,
    pub chunk_id: i64,
    pub seq: i64,
    pub customer_id: String,
    pub campaign: String,
    pub step: String,
    pub slot: String,
    pub topic: String,
    pub arm: String,
    pub message_id: String,
    pub address: Option<String>,
    pub address_key: Option<String>,
    pub locale: String,
    pub payload: String,
    pub attempts: i64,
    /// When an operator gave it a life of its own; else the run's holds.
    pub expires_at: Option<Millis>,
    /// The Date header, once a first commit has set it.
    pub date_at: Option<Millis>,
}

#[derive(sqlx::FromRow)]
struct Claimed {
    bucket: i64,
    chunk_id: i64,
    bucket_to: i64,
    run_id: String,
    lane: String,
}

impl Lease {
    /// The relay of its lane.
    pub fn relay(&self) -> &str {
        parts(&self.lane).0
    }

    /// Until when nobody else may take the chunk.
    pub fn until_at(&self) -> Millis {
        self.until_at.load(Ordering::Relaxed)
    }
}

/// Relay and mailbox-provider family of a lane; a relay's own name has no family.
pub fn parts(lane: &str) -> (&str, &str) {
    lane.rsplit_once('/').unwrap_or((lane, ""))
}

/// Claim the chunk that has been due longest, of one run or of any, in no lane of `but`; `None` when nothing such is due.
pub async fn claim(db: &Db, run_id: Option<&str>, but: &[String], now: Millis) -> DbResult<Option<Lease>> {
    let token = crate::token::random_token();
    let until_at = now + LEASE;
    let mut args = args![now, &token, until_at];
    let mut only = String::new();
    if let Some(run_id) = run_id {
        args.push(run_id.into());
        only.push_str(&format!(" AND k.run_id = ${}", args.len()));
    }
    if !but.is_empty() {
        let first = args.len() + 1;
        args.extend(padded(but).into_iter().map(Value::from));
        let list: Vec<String> = (first..=args.len()).map(|n| format!("${n}")).collect();
        only.push_str(&format!(" AND k.lane NOT IN ({})", list.join(", ")));
    }
    // The outer `state = 'open'` is not redundant: without it Postgres hands a row out twice under load.
    let sql = format!(
        "WITH c AS MATERIALIZED (\
           SELECT k.bucket, k.chunk_id FROM chunk k JOIN run r ON r.run_id = k.run_id \
           WHERE k.state = 'open' AND k.due_at <= $1 AND r.state IN ('ready', 'sending') \
             AND (NOT k.after_wave OR r.rest_from_at <= $1){only} \
           ORDER BY k.due_at, k.bucket, k.chunk_id LIMIT 1 {}) \
         UPDATE chunk SET state = 'leased', lease_token = $2, lease_until_at = $3, changed_at = $1 \
         FROM c WHERE chunk.bucket = c.bucket AND chunk.chunk_id = c.chunk_id AND chunk.state = 'open' \
         RETURNING chunk.bucket, chunk.chunk_id, chunk.bucket_to, chunk.run_id, chunk.lane",
        db.dialect().claim(),
    );
    let claimed: Option<Claimed> = db.write_returning(&sql, args).await?.into_iter().next();
    let Some(c) = claimed else { return Ok(None) };
    failpoint::pass(Step::Lease);
    run::advance(db, &c.run_id, run::Move::Begin, None, now).await?;
    Ok(Some(Lease {
        bucket: c.bucket,
        chunk_id: c.chunk_id,
        bucket_to: c.bucket_to,
        run_id: c.run_id,
        lane: c.lane,
        token,
        until_at: AtomicI64::new(until_at),
    }))
}

/// Move a chunk that this lease holds to another lane; false when the lease is lost.
pub async fn move_to(db: &Db, lease: &mut Lease, lane: String) -> DbResult<bool> {
    let sql = "UPDATE chunk SET lane = $1 WHERE bucket = $2 AND chunk_id = $3 AND lease_token = $4";
    let held = db.execute(sql, args![&lane, lease.bucket, lease.chunk_id, &lease.token]).await?;
    lease.lane = lane;
    Ok(held > 0)
}

/// `$1, $2, …` naming every bucket of a chunk: seeks in the key instead of a scan between the first and the last.
pub(super) fn bucket_list(bucket: i64, bucket_to: i64, args: &mut Vec<Value>) -> String {
    let first = args.len() + 1;
    let buckets: Vec<i64> = (bucket..=bucket_to).collect();
    args.extend(padded(&buckets).into_iter().map(Value::from));
    let list: Vec<String> = (first..=args.len()).map(|n| format!("${n}")).collect();
    list.join(", ")
}

/// The messages of a leased chunk that are due, in key order.
pub async fn load(db: &Db, lease: &Lease, now: Millis) -> DbResult<Vec<Queued>> {
    let mut args = args![lease.chunk_id, now];
    let buckets = bucket_list(lease.bucket, lease.bucket_to, &mut args);
    let sql = format!(
        "SELECT d.bucket, d.chunk_id, d.seq, d.customer_id, m.campaign, m.step, m.slot, m.topic, m.arm, m.message_id, m.address, \
                m.address_key, m.locale, m.payload, d.attempts, d.expires_at, d.date_at \
         FROM delivery d JOIN message m ON m.bucket = d.bucket AND m.customer_id = d.customer_id \
                                       AND m.chunk_id = d.chunk_id AND m.seq = d.seq \
         WHERE d.bucket IN ({buckets}) AND d.chunk_id = $1 AND d.state IN ('pending', 'deferred') AND d.due_at <= $2 \
         ORDER BY d.bucket, d.seq"
    );
    db.fetch_all(&sql, args).await
}

/// Hold on to leases for another term; those that were lost are returned.
pub async fn renew<'l>(db: &Db, leases: &[&'l Lease], now: Millis) -> DbResult<Vec<&'l Lease>> {
    let mut lost = Vec::new();
    for lease in leases {
        let until_at = now + LEASE;
        // A lease that ran out is not revived, even if nobody took the chunk yet: a rescuer may be about to.
        let renewed = db
            .execute(
                "UPDATE chunk SET lease_until_at = $1 WHERE bucket = $2 AND chunk_id = $3 AND lease_token = $4 AND lease_until_at > $5",
                args![until_at, lease.bucket, lease.chunk_id, &lease.token, now],
            )
            .await?;
        if renewed > 0 {
            lease.until_at.store(until_at, Ordering::Relaxed);
        } else {
            lost.push(*lease);
        }
    }
    Ok(lost)
}

/// Give a chunk back: done when nothing of it is left, else open again from the moment its earliest message is due. How many messages it
/// leaves in doubt: committed ones of which the database did not take the outcome.
pub async fn release(db: &Db, lease: &Lease, now: Millis) -> DbResult<u64> {
    let mut tx = db.begin().await?;
    let unknown = settle_chunk(&mut tx, lease.bucket, lease.chunk_id, lease.bucket_to, &lease.token, now).await?;
    tx.commit().await?;
    failpoint::pass(Step::ChunkClosed);
    Ok(unknown.unwrap_or(0))
}

/// Close or reopen the chunk that `token` holds, by what is left in it. Nobody is sending any of it: what is committed is in doubt, and
/// named so. How many those are; `None` when the token did not hold it any more.
pub(super) async fn settle_chunk(
    tx: &mut Tx,
    bucket: i64,
    chunk_id: i64,
    bucket_to: i64,
    token: &str,
    now: Millis,
) -> DbResult<Option<u64>> {
    // Taking the chunk first makes commits that still trust this lease wait or fail.
    let held: Option<(String,)> = tx
        .fetch_optional(
            "UPDATE chunk SET state = 'open', lease_token = NULL, lease_until_at = NULL, changed_at = $1 \
             WHERE bucket = $2 AND chunk_id = $3 AND lease_token = $4 RETURNING lane",
            args![now, bucket, chunk_id, token],
        )
        .await?;
    let Some((lane,)) = held else { return Ok(None) };
    let reply = format!(
        "the worker that was sending it through the relay {} stopped before the server's answer was recorded",
        parts(&lane).0
    );
    let mut args = args![now, chunk_id, reply];
    let buckets = bucket_list(bucket, bucket_to, &mut args);
    let sql = format!(
        "UPDATE delivery SET state = 'unknown', reply = $3, \
         changed_at = $1 WHERE bucket IN ({buckets}) AND chunk_id = $2 AND state = 'committed'"
    );
    let unknown = tx.execute(&sql, args).await?;
    close_or_open(tx, (bucket, bucket_to), chunk_id, now).await?;
    Ok(Some(unknown))
}

/// Bring an open chunk, held by this transaction, in line with its messages: nothing left is done, something left is due with the earliest.
/// What a cancelled run has left is cancelled.
pub(super) async fn close_or_open(
    tx: &mut Tx,
    (bucket, bucket_to): (i64, i64),
    chunk_id: i64,
    now: Millis,
) -> DbResult<()> {
    cancel_rest(tx, (bucket, bucket_to), chunk_id, now).await?;
    let mut args = args![chunk_id];
    let buckets = bucket_list(bucket, bucket_to, &mut args);
    let sql = format!(
        "SELECT COUNT(*), MIN(due_at) FROM delivery WHERE bucket IN ({buckets}) AND chunk_id = $1 AND state IN ('pending', 'deferred')"
    );
    let (left, due_at): (i64, Option<i64>) = tx.fetch_optional(&sql, args).await?.expect("an aggregate has a row");
    if left == 0 {
        tx.execute("UPDATE chunk SET state = 'done' WHERE bucket = $1 AND chunk_id = $2", args![bucket, chunk_id])
            .await?;
    } else {
        tx.execute(
            "UPDATE chunk SET due_at = $1 WHERE bucket = $2 AND chunk_id = $3",
            args![due_at.unwrap_or(now), bucket, chunk_id],
        )
        .await?;
    }
    Ok(())
}

/// Cancel what waits in a chunk, held by this transaction, if its run was cancelled; how many messages.
pub(super) async fn cancel_rest(
    tx: &mut Tx,
    (bucket, bucket_to): (i64, i64),
    chunk_id: i64,
    now: Millis,
) -> DbResult<u64> {
    let mut args = args![now, chunk_id];
    let buckets = bucket_list(bucket, bucket_to, &mut args);
    let sql = format!(
        "UPDATE delivery SET state = 'cancelled', reply = 'its run was cancelled before it left', changed_at = $1 \
         WHERE bucket IN ({buckets}) AND chunk_id = $2 AND state IN ('pending', 'deferred') \
           AND EXISTS (SELECT 1 FROM run r WHERE r.run_id = delivery.run_id AND r.state = 'cancelled')"
    );
    let cancelled = tx.execute(&sql, args).await?;
    if cancelled > 0 {
        let buckets: Vec<i64> = (bucket..=bucket_to).collect();
        reward::give_back(tx, &buckets, chunk_id, None, now).await?;
    }
    Ok(cancelled)
}
