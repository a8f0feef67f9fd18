//! The walk over all buckets that decides rules and counts what changed: slice by slice, written in one transaction each.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::try_join_all;

use super::super::evaluate::Size;
use super::super::sql::{Scope, Statement};
use super::{HOLD, WORD};
use crate::args;
use crate::db::{BUCKETS, Conflict, Db, DbResult, Dialect, Lease, Tx, Value, retried};

/// Buckets of the first slice on SQLite; later ones grow and shrink with how long they take: because others write too, and because what a
/// slice gathers lies in memory.
const SLICE_BUCKETS: i64 = 8;
const SLICE_SHORT: Duration = Duration::from_millis(40);
const SLICE_LONG: Duration = Duration::from_millis(100);
/// The same where the time is spent reading, beside which others can write.
const READING_SHORT: Duration = Duration::from_millis(150);
const READING_LONG: Duration = Duration::from_millis(500);
/// Slices that are read at once on SQLite, at most; each takes a core.
const READERS_MAX: usize = 4;
/// Buckets of a slice on Postgres, and how many are worked on at once. The lease is renewed between slices, so none may take long.
const SLICE_BUCKETS_POSTGRES: i64 = 16;
const WORKERS_POSTGRES: usize = 3;

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

    fn merge(&mut self, part: Done) {
        self.looked_at += part.looked_at;
        for ((word, bits), size) in part.patterns {
            self.add(word, bits, size.people, size.revenue);
        }
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
            Dialect::Sqlite if self.reads_apart() => {
                std::thread::available_parallelism().map_or(1, usize::from).min(READERS_MAX)
            }
            Dialect::Sqlite => 1,
            Dialect::Postgres => WORKERS_POSTGRES,
        };
        let parts = try_join_all((0..workers).map(|_| self.worker(&next, lease))).await?;
        let mut sum = Done::default();
        for part in parts {
            let Some(part) = part else { return Ok(None) };
            sum.merge(part);
        }
        Ok(Some(sum))
    }

    /// On SQLite one connection writes while several read: what takes long is read on those, and only what changed is written.
    fn reads_apart(&self) -> bool {
        self.is_whole && self.db.dialect() == Dialect::Sqlite
    }

    async fn worker(&self, next: &AtomicI64, lease: &Lease) -> DbResult<Option<Done>> {
        let adapts = self.db.dialect() == Dialect::Sqlite;
        let mut width = if adapts { SLICE_BUCKETS } else { SLICE_BUCKETS_POSTGRES };
        let (short, long) = if self.reads_apart() { (READING_SHORT, READING_LONG) } else { (SLICE_SHORT, SLICE_LONG) };
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
            let last = (first + width - 1).min(BUCKETS - 1);
            // Taken out of segment_due for good, and to be decided however often the slice is tried.
            let mut taken = Vec::new();
            done.merge(retried(async || self.slice(first, last, &mut taken).await).await?);
            if adapts {
                width = match begun.elapsed() {
                    took if took < short => (width * 2).min(BUCKETS),
                    took if took > long => (width / 2).max(1),
                    _ => width,
                };
            }
        }
    }

    /// It takes its customers out of segment_due *first*: whoever changes one afterwards waits for us, or is seen the next time. Where reading
    /// goes apart, that is committed before anything is read, and they are kept in `taken` should the rest fail; cut off in between, all is
    /// decided anew, because no rule has an `as_of`.
    async fn slice(&self, first: i64, last: i64, taken: &mut Vec<(i64, String)>) -> DbResult<Done> {
        let range = || args![first, last];
        let mut done = Done::default();
        let mut tx = self.db.begin().await?;
        let take = "DELETE FROM segment_due WHERE bucket >= $1 AND bucket <= $2";
        let mut due = taken.clone();
        if self.has_due {
            let rows: Vec<(i64, String)> =
                tx.fetch_all(&format!("{take} RETURNING bucket, customer_id"), range()).await?;
            due.extend(rows);
            due.sort_unstable();
            due.dedup();
        } else {
            tx.execute(take, range()).await?;
        }
        if due.is_empty() && !self.is_whole {
            tx.rollback().await?;
            return Ok(done);
        }
        done.looked_at = due.len() as u64;
        let has_due = !due.is_empty();
        let jobs = || self.jobs.iter().filter(|j| has_due || j.scope == Scope::Everyone);
        let mut found = Vec::new();
        if self.reads_apart() {
            tx.commit().await?;
            taken.clone_from(&due);
            for job in jobs().filter(|j| j.scope == Scope::Everyone) {
                found.push(Found::read(self.db, job, first, last).await?);
            }
            tx = self.db.begin().await?;
        }
        if has_due {
            let rows = due.into_iter().flat_map(|(b, c)| [Value::from(b), Value::from(c)]).collect();
            tx.insert_rows("segment_now", &["bucket", "customer_id"], rows, Conflict::Keep).await?;
        }
        // What was there is counted before any job writes: those of one word share rows.
        for job in jobs().filter(|j| j.scope == Scope::Due) {
            job.count(&mut tx, first, last, -1, &mut done).await?;
        }
        for found in found {
            found.write(&mut tx, &mut done).await?;
        }
        let in_database = || jobs().filter(|j| j.scope == Scope::Due || !self.reads_apart());
        if self.is_whole {
            tx.expect_many_rows().await?;
        }
        for job in in_database() {
            job.decide(&mut tx, first, last).await?;
        }
        for job in in_database() {
            job.count(&mut tx, first, last, 1, &mut done).await?;
        }
        self.drop_gone(&mut tx, first, last).await?;
        if has_due {
            tx.execute("DELETE FROM segment_now WHERE bucket >= $1 AND bucket <= $2", range()).await?;
        }
        tx.commit().await?;
        Ok(done)
    }

    /// Drop the rows of customers who have no profile any more.
    async fn drop_gone(&self, tx: &mut Tx, first: i64, last: i64) -> DbResult<()> {
        if self.is_whole {
            let sql =
                "DELETE FROM segment_bits WHERE bucket >= $1 AND bucket <= $2 AND NOT EXISTS (SELECT 1 FROM profile p
                       WHERE p.bucket = segment_bits.bucket AND p.customer_id = segment_bits.customer_id)";
            return tx.execute(sql, args![first, last]).await.map(|_| ());
        }
        // Seldom anybody, so each is dropped by name.
        let sql = "SELECT d.bucket, d.customer_id FROM segment_now d WHERE d.bucket >= $1 AND d.bucket <= $2
                   AND NOT EXISTS (SELECT 1 FROM profile p WHERE p.bucket = d.bucket AND p.customer_id = d.customer_id)";
        let gone: Vec<(i64, String)> = tx.fetch_all(sql, args![first, last]).await?;
        for (bucket, customer_id) in gone {
            let sql = "DELETE FROM segment_bits WHERE bucket = $1 AND customer_id = $2";
            tx.execute(sql, args![bucket, customer_id]).await?;
        }
        Ok(())
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

/// What a job for everybody comes to in a range of buckets, read but not yet written.
struct Found {
    word: i64,
    /// Whose row is to be another: bucket, customer_id, all bits of the word, revenue.
    changed: Vec<(i64, String, i64, i64)>,
    /// People and revenue by pattern of bits.
    patterns: BTreeMap<i64, Size>,
}

impl Found {
    async fn read(db: &Db, job: &Job, first: i64, last: i64) -> DbResult<Found> {
        let mut now: HashMap<(i64, String), (i64, i64)> = HashMap::new();
        for statement in &job.statements {
            let sql =
                format!("SELECT bucket, customer_id, bits, revenue FROM ({}) found WHERE bits <> 0", statement.sql);
            let rows: Vec<(i64, String, i64, i64)> = db.fetch_all(&sql, statement.values_for(first, last)).await?;
            for (bucket, customer_id, bits, revenue) in rows {
                let entry = now.entry((bucket, customer_id)).or_insert((0, revenue));
                entry.0 |= bits;
            }
        }
        let mut patterns: BTreeMap<i64, Size> = BTreeMap::new();
        for (bits, revenue) in now.values() {
            let size = patterns.entry(*bits).or_default();
            size.people += 1;
            size.revenue += revenue;
        }
        let stored: Vec<(i64, String, i64, i64)> = db
            .fetch_all(
                "SELECT bucket, customer_id, bits, revenue FROM segment_bits
                 WHERE bucket >= $1 AND bucket <= $2 AND word = $3",
                args![first, last, job.word],
            )
            .await?;
        let mut changed = Vec::new();
        for (bucket, customer_id, bits, revenue) in stored {
            let key = (bucket, customer_id);
            match now.remove(&key) {
                Some((new, earned)) if new == bits & job.mask && earned == revenue => {}
                Some((new, earned)) => changed.push((key.0, key.1, (bits & !job.mask) | new, earned)),
                None if bits & job.mask == 0 => {}
                None => changed.push((key.0, key.1, bits & !job.mask, revenue)),
            }
        }
        changed.extend(
            now.into_iter().map(|((bucket, customer_id), (bits, revenue))| (bucket, customer_id, bits, revenue)),
        );
        changed.sort_unstable();
        Ok(Found { word: job.word, changed, patterns })
    }

    async fn write(self, tx: &mut Tx, done: &mut Done) -> DbResult<()> {
        let rows = self.changed.into_iter().flat_map(|(bucket, customer_id, bits, revenue)| {
            [bucket.into(), customer_id.into(), self.word.into(), bits.into(), revenue.into()]
        });
        let columns = ["bucket", "customer_id", "word", "bits", "revenue"];
        let conflict = Conflict::Update { key: &["bucket", "customer_id", "word"] };
        tx.insert_rows("segment_bits", &columns, rows.collect(), conflict).await?;
        for (bits, size) in self.patterns {
            done.add(self.word, bits, size.people, size.revenue);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::bucket_of;

    #[tokio::test]
    async fn whoever_was_taken_is_decided_when_the_rest_is_tried_again() {
        let dir = tempfile::tempdir().unwrap();
        let db = Db::open(&format!("sqlite:{}", dir.path().join("shop.db").display())).await.unwrap();
        let run = async |sql: &str, args: Vec<Value>| db.execute(sql, args).await.unwrap();
        for id in ["mia", "jo"] {
            let sql =
                "INSERT INTO profile (bucket, customer_id, orders, purchase_days, revenue, open_tickets, computed_at)
                       VALUES ($1, $2, 1, 1, 500, 0, 0)";
            run(sql, args![bucket_of(id), id]).await;
        }
        run("INSERT INTO segment_due (bucket, customer_id) VALUES ($1, $2)", args![bucket_of("mia"), "mia"]).await;
        let job = |scope: Scope, mask: i64| {
            let from = scope.rows("profile", "p");
            let sql = format!("SELECT p.bucket, p.customer_id, p.revenue, {mask} AS bits FROM {from}");
            Job { word: 0, scope, mask, statements: vec![Statement { sql, values: args![0_i64, 0_i64], mask }] }
        };
        let jobs = [job(Scope::Everyone, 1), job(Scope::Due, 2)];
        let work = Work { db: &db, jobs: &jobs, is_whole: true, has_due: true };
        let mut taken = Vec::new();

        run("ALTER TABLE segment_bits RENAME TO elsewhere", vec![]).await;
        work.slice(0, BUCKETS - 1, &mut taken).await.unwrap_err();
        run("ALTER TABLE elsewhere RENAME TO segment_bits", vec![]).await;
        let (due,): (i64,) = db.fetch_one("SELECT COUNT(*) FROM segment_due", vec![]).await.unwrap();
        assert_eq!(due, 0, "what was taken stays taken");

        let done = work.slice(0, BUCKETS - 1, &mut taken).await.unwrap();
        let bits: Vec<(String, i64)> =
            db.fetch_all("SELECT customer_id, bits FROM segment_bits ORDER BY customer_id", vec![]).await.unwrap();
        assert_eq!(bits, [("jo".to_owned(), 1), ("mia".to_owned(), 3)]);
        assert_eq!((done.looked_at, done.change(0).people, done.change(1).people), (1, 2, 1));
    }
}
