//! Writing scores: of everybody after a fit, of those whose orders changed since, and taking all back. Bucket range by bucket range, one
//! short transaction each; whoever gets or loses a score is handed to the segments.

use std::collections::HashMap;

use super::ScoreError;
use super::scorer::{Buyer, COLUMNS, Scorer};
use crate::args;
use crate::clock::{self, Millis};
use crate::db::{BUCKETS, Cells, Conflict, Db, DbError, DbResult, Lease, Tx, Value, bucket_ranges, retried};
use crate::profile::day::LocalDays;
use crate::profile::history::bought;

/// Buckets in one transaction.
const SLICE_BUCKETS: i64 = 16;
/// Rows that are made and written at once: what fits the processor's cache.
const ROWS_AT_ONCE: usize = 500;
/// Buckets in which changed customers are looked for at once.
const FOLLOWED_BUCKETS: i64 = 256;

/// Whoever has a score in the buckets `$1` to `$2` is looked at by the segments again.
const HAND_OVER: &str = "INSERT INTO segment_due (bucket, customer_id) SELECT bucket, customer_id FROM score
                         WHERE bucket >= $1 AND bucket <= $2 ON CONFLICT (bucket, customer_id) DO NOTHING";
const EMPTY: &str = "DELETE FROM score WHERE bucket >= $1 AND bucket <= $2";

/// Score every buyer; how many there are.
pub(super) async fn all(
    db: &Db,
    scorer: &mut Scorer,
    fit_id: &str,
    now: Millis,
    lease: &Lease,
) -> Result<u64, ScoreError> {
    let mut scored = 0;
    for (first, last) in bucket_ranges(SLICE_BUCKETS) {
        keep(lease, db).await?;
        let sql =
            "SELECT bucket, customer_id, purchase_days, first_order_day, last_order_day, orders, revenue FROM profile
                   WHERE bucket >= $1 AND bucket <= $2 AND purchase_days > 0 AND last_order_day <= $3";
        let buyers = buyers(db, sql, args![first, last, scorer.end()]).await?;
        let lately = lately(db, scorer, first, last).await?;
        scored += retried(async || {
            let mut tx = db.begin().await?;
            // Those who are about to lose theirs, and then those who have a new one.
            tx.execute(HAND_OVER, args![first, last]).await?;
            tx.execute(EMPTY, args![first, last]).await?;
            let mut written = 0;
            for part in buyers.chunks(ROWS_AT_ONCE) {
                let mut rows = Vec::with_capacity(part.len() * COLUMNS.len());
                for buyer in part {
                    let days = lately.get(&buyer.1).copied().unwrap_or(0);
                    scorer.row(buyer, days, fit_id, now, &mut rows);
                }
                written += tx.insert_rows("score", &COLUMNS, rows, Conflict::Keep).await?;
            }
            tx.execute(HAND_OVER, args![first, last]).await?;
            tx.commit().await?;
            Ok(written)
        })
        .await?;
    }
    Ok(scored)
}

/// Score those anew whose profile changed since they were scored; how many got another score, or lost theirs. Whoever ordered since the fit is
/// told from their last order on.
pub(super) async fn changed(
    db: &Db,
    scorer: &mut Scorer,
    fit_id: &str,
    (today, now): (i64, Millis),
    lease: &Lease,
) -> Result<u64, ScoreError> {
    let sql = "SELECT p.bucket, p.customer_id, p.purchase_days, COALESCE(p.first_order_day, 0), COALESCE(p.last_order_day, 0),
                      p.orders, p.revenue
               FROM segment_due d JOIN profile p ON p.bucket = d.bucket AND p.customer_id = d.customer_id
               LEFT JOIN score s ON s.bucket = d.bucket AND s.customer_id = d.customer_id
               WHERE d.bucket >= $1 AND d.bucket <= $2 AND p.bucket >= $1 AND p.bucket <= $2
                 AND (p.purchase_days > 0 OR s.fit_id IS NOT NULL) AND (s.computed_at IS NULL OR s.computed_at < p.computed_at)";
    let mut scored = 0;
    for (first, last) in bucket_ranges(FOLLOWED_BUCKETS) {
        keep(lease, db).await?;
        let lately = lately(db, scorer, first, last).await?;
        scored += retried(async || {
            // Read where it is written: the pages are those that the refresh has just left, and those that are written next.
            let mut tx = db.begin().await?;
            let mut buyers = Vec::new();
            tx.each_row(sql, args![first, last], |row| read(row, &mut buyers)).await?;
            if buyers.is_empty() {
                tx.rollback().await?;
                return Ok(0);
            }
            let (mut rows, mut keys, mut gone) = (Vec::new(), Vec::new(), Vec::new());
            for buyer in buyers {
                let days = lately.get(&buyer.1).copied().unwrap_or(0);
                keys.extend(args![buyer.0, &buyer.1]);
                if buyer.4 > today || !scorer.row(&buyer, days, fit_id, now, &mut rows) {
                    gone.push((buyer.0, buyer.1));
                }
            }
            let people = keys.len() as u64 / 2;
            replace(&mut tx, keys, rows, &gone).await?;
            tx.commit().await?;
            Ok(people)
        })
        .await?;
    }
    Ok(scored)
}

async fn replace(tx: &mut Tx, keys: Vec<Value>, rows: Vec<Value>, gone: &[(i64, String)]) -> DbResult<()> {
    let names = ["bucket", "customer_id"];
    tx.insert_rows("score", &COLUMNS, rows, Conflict::Update { key: &names }).await?;
    // Few: those whose last order was taken back.
    for (bucket, customer_id) in gone {
        tx.execute("DELETE FROM score WHERE bucket = $1 AND customer_id = $2", args![*bucket, customer_id]).await?;
    }
    // A refresh of segments may have looked at them meanwhile, with their old score.
    tx.insert_rows("segment_due", &names, keys, Conflict::Keep).await.map(|_| ())
}

/// Take all scores back; how many there were.
pub(super) async fn withdraw(db: &Db, lease: &Lease) -> Result<u64, ScoreError> {
    let mut withdrawn = 0;
    for (first, last) in bucket_ranges(SLICE_BUCKETS) {
        keep(lease, db).await?;
        withdrawn += retried(async || {
            let mut tx = db.begin().await?;
            tx.execute(HAND_OVER, args![first, last]).await?;
            let gone = tx.execute(EMPTY, args![first, last]).await?;
            tx.commit().await?;
            Ok(gone)
        })
        .await?;
    }
    Ok(withdrawn)
}

async fn buyers(db: &Db, sql: &str, values: Vec<Value>) -> DbResult<Vec<Buyer>> {
    let mut buyers = Vec::new();
    db.each_row(sql, values, |row| read(row, &mut buyers)).await?;
    Ok(buyers)
}

fn read(row: Cells, buyers: &mut Vec<Buyer>) -> DbResult<()> {
    let whole = |n: usize| Ok::<_, DbError>(row.int(n)?.unwrap_or_default());
    let customer_id = row.text(1)?.unwrap_or_default().to_owned();
    buyers.push((whole(0)?, customer_id, whole(2)?, whole(3)?, whole(4)?, whole(5)?, whole(6)?));
    Ok(())
}

/// Days with orders in the last period, where the scores go by them.
async fn lately(db: &Db, scorer: &Scorer, first: i64, last: i64) -> DbResult<HashMap<String, i64>> {
    let Some((from, to)) = scorer.last_period() else { return Ok(HashMap::new()) };
    debug_assert!((0..BUCKETS).contains(&last));
    let count = |days: Vec<i64>| days.into_iter().filter(|day| (from..=to).contains(day)).count() as i64;
    let all = bought(db, first, last).await?;
    let zone = LocalDays::new(scorer.zone());
    Ok(all.into_iter().map(|b| (b.customer_id.clone(), count(b.days(&zone)))).collect())
}

/// Hold the right to fit a while longer. Real time: the lease must outlive a long run.
async fn keep(lease: &Lease, db: &Db) -> Result<(), ScoreError> {
    if lease.renew(db, clock::now()).await? { Ok(()) } else { Err(ScoreError::Busy) }
}
