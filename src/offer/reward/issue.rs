//! Issuing: rewards become a message's in the transaction that writes it, and are free again when the message ended before anything of it had
//! left. What a mail server was, or may have been, handed is gone for good: it may have been read.

use crate::args;
use crate::clock::Millis;
use crate::db::{Conflict, DbResult, Tx, Value, padded};

use super::stock::Reserved;
use crate::settings::RewardPool;

/// A reward for one message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issue {
    pub pool: String,
    pub code: Option<Reserved>,
    pub cost: i64,
    pub expires_at: Option<Millis>,
}

impl Issue {
    /// A reward of this pool; `ends_at` is when the pool's own rule ends it.
    pub fn of(pool: &RewardPool, code: Option<Reserved>, ends_at: Option<Millis>) -> Issue {
        let own = code.as_ref().and_then(|c| c.expires_at);
        let expires_at = own.into_iter().chain(ends_at).min();
        Issue { pool: pool.name.clone(), code, cost: pool.cost, expires_at }
    }
}

/// Where the ledger has the message that carries a reward.
#[derive(Debug, Clone, Copy)]
pub struct Sent<'i> {
    pub bucket: i64,
    pub chunk_id: i64,
    pub seq: i64,
    pub issue: &'i Issue,
}

const CODE: [&str; 7] = ["bucket", "code_key", "pool", "code", "expires_at", "added_at", "issued_at"];
const ISSUE: [&str; 11] = [
    "bucket",
    "chunk_id",
    "seq",
    "run_id",
    "pool",
    "code_bucket",
    "code_key",
    "code",
    "cost",
    "expires_at",
    "issued_at",
];
/// States in which a message is over without having been sent.
const NEVER_LEFT: &str = "'suppressed', 'expired', 'cancelled'";

/// Give the rewards of these messages, whose rows the same transaction writes. False when a code is not free any more: then the transaction must
/// not be committed.
pub async fn issue(tx: &mut Tx, run_id: &str, sent: &[Sent<'_>], now: Millis) -> DbResult<bool> {
    let mut codes: Vec<(&str, &Reserved)> =
        sent.iter().filter_map(|s| Some((s.issue.pool.as_str(), s.issue.code.as_ref()?))).collect();
    // One order for all, so that two processes never wait for each other.
    codes.sort_by(|(_, a), (_, b)| (a.bucket, &a.code_key).cmp(&(b.bucket, &b.code_key)));
    let (new, stored): (Vec<_>, Vec<_>) = codes.into_iter().partition(|(_, code)| code.is_new);
    let keys: Vec<Value> = stored.iter().flat_map(|(_, c)| args![c.bucket, &c.code_key, now]).collect();
    let sql = "UPDATE reward_code SET issued_at = k.issued_at FROM k WHERE reward_code.bucket = k.bucket \
               AND reward_code.code_key = k.code_key AND reward_code.issued_at IS NULL";
    let taken = tx.execute_keyed(&["bucket", "code_key", "issued_at"], keys, sql).await?;
    let rows =
        new.iter().flat_map(|(pool, c)| args![c.bucket, &c.code_key, *pool, &c.code, c.expires_at, now, now]).collect();
    let made = tx.insert_rows("reward_code", &CODE, rows, Conflict::Keep).await?;
    let rows = sent.iter().flat_map(|s| row(run_id, s, now)).collect();
    let issued = tx.insert_rows("reward_issue", &ISSUE, rows, Conflict::Keep).await?;
    Ok((taken, made, issued) == (stored.len() as u64, new.len() as u64, sent.len() as u64))
}

fn row(run_id: &str, sent: &Sent<'_>, now: Millis) -> Vec<Value> {
    let Issue { pool, code, cost, expires_at } = sent.issue;
    args![
        sent.bucket,
        sent.chunk_id,
        sent.seq,
        run_id,
        pool,
        code.as_ref().map(|c| c.bucket),
        code.as_ref().map(|c| c.code_key.clone()),
        code.as_ref().map(|c| c.code.clone()),
        *cost,
        *expires_at,
        now
    ]
}

/// Take back what the messages of a chunk in these buckets, or the one at `seq`, carry and will never show: they are over, and no byte of their
/// content was ever let go. Part of the transaction that ended them; how many rewards.
pub async fn give_back(tx: &mut Tx, buckets: &[i64], chunk_id: i64, seq: Option<i64>, now: Millis) -> DbResult<u64> {
    let mut args = args![now, chunk_id];
    let mut bind = |value: Value| {
        args.push(value);
        format!("${}", args.len())
    };
    let list: Vec<String> = padded(buckets).into_iter().map(|b| bind(b.into())).collect();
    let only = seq.map(|seq| format!("AND reward_issue.seq = {}", bind(seq.into()))).unwrap_or_default();
    // Of two that end the same message one gives back: the row is looked at again once the other has let it go.
    let sql = format!(
        "UPDATE reward_issue SET returned_at = $1 WHERE reward_issue.bucket IN ({}) AND reward_issue.chunk_id = $2 {only} \
           AND reward_issue.returned_at IS NULL \
           AND EXISTS (SELECT 1 FROM delivery d WHERE d.bucket = reward_issue.bucket AND d.chunk_id = reward_issue.chunk_id \
                       AND d.seq = reward_issue.seq AND d.state IN ({NEVER_LEFT}) AND d.date_at IS NULL) \
         RETURNING reward_issue.code_bucket, reward_issue.code_key",
        list.join(", ")
    );
    let returned: Vec<(Option<i64>, Option<String>)> = tx.fetch_all(&sql, args).await?;
    let rewards = returned.len() as u64;
    set_free(tx, returned).await?;
    Ok(rewards)
}

/// Undo what a run gave, which never became ready: of none of its messages anything has left, and its rows go.
pub async fn take_back_run(tx: &mut Tx, run_id: &str) -> DbResult<()> {
    let sql = "DELETE FROM reward_issue WHERE run_id = $1 RETURNING code_bucket, code_key, returned_at";
    let given: Vec<(Option<i64>, Option<String>, Option<i64>)> = tx.fetch_all(sql, args![run_id]).await?;
    // What was returned before may be somebody else's by now.
    let held = given.into_iter().filter(|(.., returned_at)| returned_at.is_none());
    set_free(tx, held.map(|(bucket, key, _)| (bucket, key)).collect()).await
}

async fn set_free(tx: &mut Tx, codes: Vec<(Option<i64>, Option<String>)>) -> DbResult<()> {
    let mut codes: Vec<(i64, String)> = codes.into_iter().filter_map(|(bucket, key)| bucket.zip(key)).collect();
    codes.sort();
    let keys = codes.into_iter().flat_map(|(bucket, key)| args![bucket, key]).collect();
    let sql = "UPDATE reward_code SET issued_at = NULL FROM k WHERE reward_code.bucket = k.bucket AND reward_code.code_key = k.code_key";
    tx.execute_keyed(&["bucket", "code_key"], keys, sql).await?;
    Ok(())
}
