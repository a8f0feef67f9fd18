//! The walk over all buckets that decides rules and counts what changed: slice by slice, one transaction each.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::try_join_all;

use super::super::evaluate::Size;
use super::super::sql::{Scope, Statement};
use super::{HOLD, WORD};
use crate::args;
use crate::db::{BUCKETS, Conflict, Db, DbResult, Dialect, Lease, Tx, Value};

/// Buckets of the first slice on SQLite; later ones grow and shrink with how long they take, because others write too.
const SLICE_BUCKETS: i64 = 8;
const SLICE_SHORT: Duration = Duration::from_millis(40);
const SLICE_LONG: Duration = Duration::from_millis(100);
/// Buckets of a slice on Postgres, and how many are worked on at once.
const SLICE_BUCKETS_POSTGRES: i64 = 64;
const WORKERS_POSTGRES: usize = 3;
/// How often a slice is tried when another session gets in its way.
const SLICE_TRIES: u32 = 5;

/// One word's statements and the bits they decide.
pub(super) struct Job {
    pub word: i64,
    pub scope: Scope,
    pub mask: i64,
    pub statements: Vec<Statement>,
}

/// A walk over all buckets.
pub(super) struct Work<'a> {
    pub db: &'a Db,
    pub jobs: &'a [Job],
    /// Some rules are decided for everybody.
    pub is_whole: bool,
    /// Some are decided for those in segment_due.
    pub has_due: bool,
}

/// What the walk came to: by word, people and revenue by pattern of bits; what was there before counts negative.
#[derive(Debug, Default)]
pub(super) struct Done {
    patterns: BTreeMap<(i64, i64), Size>,
    pub looked_at: u64,
}

impl Done {
    fn add(&mut self, word: i64, bits: i64, people: i64, revenue: i64) {
        let size = self.patterns.entry((word, bits)).or_default();
        size.people += people;
        size.revenue += revenue;
    }

    /// By how much the size of a bit's segment changed.
    pub fn change(&self, bit: i64) -> Size {
        let with =
            self.patterns.iter().filter(|((word, bits), _)| *word == bit / WORD && bits & (1 << (bit % WORD)) != 0);
        with.fold(Size::default(), |sum, (_, size)| Size {
            people: sum.people + size.people,
            revenue: sum.revenue + size.revenue,
        })
    }
}

impl Work<'_> {
    /// Go through all buckets; `None` when the lease was lost on the way.
    pub async fn run(&self, lease: &Lease) -> DbResult<Option<Done>> {
        let next = AtomicI64::new(0);
        let workers = match self.db.dialect() {
            Dialect::Sqlite => 1,
            Dialect::Postgres => WORKERS_POSTGRES,
        };
        let parts = try_join_all((0..workers).map(|_| self.worker(&next, lease))).await?;
        let mut sum = Done::default();
        for part in parts {
            let Some(part) = part else { return Ok(None) };
            sum.looked_at += part.looked_at;
            for ((word, bits), size) in part.patterns {
                sum.add(word, bits, size.people, size.revenue);
            }
        }
        Ok(Some(sum))
    }

    async fn worker(&self, next: &AtomicI64, lease: &Lease) -> DbResult<Option<Done>> {
        let adapts = self.db.dialect() == Dialect::Sqlite;
        let mut width = if adapts { SLICE_BUCKETS } else { SLICE_BUCKETS_POSTGRES };
        let mut done = Done::default();
        let mut renewed = Instant::now();
        loop {
            let first = next.fetch_add(width, Ordering::Relaxed);
            if first >= BUCKETS {
                return Ok(Some(done));
            }
            if renewed.elapsed() > Duration::from_millis(HOLD as u64 / 4) {
                renewed = Instant::now();
                if !lease.renew(self.db, crate::clock::now()).await? {
                    return Ok(None);
                }
            }
            let begun = Instant::now();
            self.slice_with_retry(first, (first + width - 1).min(BUCKETS - 1), &mut done).await?;
            if adapts {
                width = match begun.elapsed() {
                    short if short < SLICE_SHORT => (width * 2).min(BUCKETS),
                    long if long > SLICE_LONG => (width / 2).max(1),
                    _ => width,
                };
            }
        }
    }

    async fn slice_with_retry(&self, first: i64, last: i64, done: &mut Done) -> DbResult<()> {
        let mut tries = 0;
        loop {
            tries += 1;
            let mut slice = Done::default();
            match self.slice(first, last, &mut slice).await {
                Err(e) if e.is_retryable() && tries < SLICE_TRIES => continue,
                Err(e) => return Err(e),
                Ok(()) => {
                    done.looked_at += slice.looked_at;
                    for ((word, bits), size) in slice.patterns {
                        done.add(word, bits, size.people, size.revenue);
                    }
                    return Ok(());
                }
            }
        }
    }

    /// One transaction. It takes its customers out of segment_due *first*: whoever changes one meanwhile waits for us, or is seen.
    async fn slice(&self, first: i64, last: i64, done: &mut Done) -> DbResult<()> {
        let range = || args![first, last];
        let mut tx = self.db.begin().await?;
        let taken = "DELETE FROM segment_due WHERE bucket >= $1 AND bucket <= $2";
        let mut due = 0;
        if self.has_due {
            let rows: Vec<(i64, String)> =
                tx.fetch_all(&format!("{taken} RETURNING bucket, customer_id"), range()).await?;
            due = rows.len();
            let rows = rows.into_iter().flat_map(|(b, c)| [Value::from(b), Value::from(c)]).collect();
            tx.insert_rows("segment_now", &["bucket", "customer_id"], rows, Conflict::Keep).await?;
        } else {
            tx.execute(taken, range()).await?;
        }
        if due == 0 && !self.is_whole {
            tx.rollback().await?;
            return Ok(());
        }
        done.looked_at = due as u64;
        let jobs = || self.jobs.iter().filter(|j| due > 0 || j.scope == Scope::Everyone);
        // What was there is counted before any job writes: those of one word share rows.
        for job in jobs().filter(|j| j.scope == Scope::Due) {
            job.count(&mut tx, first, last, -1, done).await?;
        }
        for job in jobs() {
            job.decide(&mut tx, first, last).await?;
        }
        for job in jobs() {
            job.count(&mut tx, first, last, 1, done).await?;
        }
        if let Some(gone) = self.gone(due > 0) {
            tx.execute(gone, range()).await?;
        }
        if due > 0 {
            tx.execute("DELETE FROM segment_now WHERE bucket >= $1 AND bucket <= $2", range()).await?;
        }
        tx.commit().await
    }

    /// Drops the rows of customers who have no profile any more.
    fn gone(&self, has_due: bool) -> Option<&'static str> {
        if self.is_whole {
            return Some(
                "DELETE FROM segment_bits WHERE bucket >= $1 AND bucket <= $2 AND NOT EXISTS (SELECT 1 FROM profile p
                 WHERE p.bucket = segment_bits.bucket AND p.customer_id = segment_bits.customer_id)",
            );
        }
        has_due.then_some(
            "DELETE FROM segment_bits WHERE bucket >= $1 AND bucket <= $2
             AND EXISTS (SELECT 1 FROM segment_now d WHERE d.bucket = segment_bits.bucket AND d.customer_id = segment_bits.customer_id)
             AND NOT EXISTS (SELECT 1 FROM profile p WHERE p.bucket = segment_bits.bucket AND p.customer_id = segment_bits.customer_id)",
        )
    }
}

impl Job {
    /// Decide the job's rules for its customers of a range.
    async fn decide(&self, tx: &mut Tx, first: i64, last: i64) -> DbResult<()> {
        for statement in &self.statements {
            let mut values = statement.values_for(first, last);
            let mut bind = |value: i64| {
                values.push(value.into());
                format!("${}", values.len())
            };
            let (word, keep) = (bind(self.word), bind(!statement.mask));
            let merged = format!("(segment_bits.bits & {keep}) | excluded.bits");
            let sql = format!(
                "INSERT INTO segment_bits (bucket, customer_id, word, bits, revenue)
                 SELECT bucket, customer_id, CAST({word} AS BIGINT), bits, revenue FROM ({}) found WHERE true
                 ON CONFLICT (bucket, customer_id, word) DO UPDATE SET bits = {merged}, revenue = excluded.revenue
                 WHERE segment_bits.bits <> ({merged}) OR segment_bits.revenue <> excluded.revenue",
                statement.sql
            );
            tx.execute(&sql, values).await?;
        }
        Ok(())
    }

    /// Add the customers of a range to what the walk came to, or take them off it.
    async fn count(&self, tx: &mut Tx, first: i64, last: i64, sign: i64, done: &mut Done) -> DbResult<()> {
        let from = self.scope.rows("segment_bits", "b");
        let profiled = "EXISTS (SELECT 1 FROM profile q WHERE q.bucket = b.bucket AND q.customer_id = b.customer_id)";
        // Before: what was there. After: whoever still has a profile, since the others are dropped.
        let condition = if sign > 0 { format!(" AND {profiled}") } else { String::new() };
        let sql = format!(
            "SELECT b.bits & $3, COUNT(*), CAST(SUM(b.revenue) AS BIGINT) FROM {from} AND b.word = $4{condition} GROUP BY 1"
        );
        let rows: Vec<(i64, i64, i64)> = tx.fetch_all(&sql, args![first, last, self.mask, self.word]).await?;
        for (bits, people, revenue) in rows {
            done.add(self.word, bits, sign * people, sign * revenue);
        }
        Ok(())
    }
}
