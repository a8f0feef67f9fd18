//! The walk over all buckets that decides rules and counts what changed: slice by slice, read by whoever is
//! free and written in one transaction each.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::try_join_all;

use super::super::evaluate::Size;
use super::super::sql::{Scope, Statement};
use super::WORD;
use crate::args;
use crate::clock;
use crate::db::{BUCKETS, Conflict, Db, DbResult, Dialect, Lease, SERVED_AT_ONCE, Tx, Value, bucket_ranges, retried};

/// Buckets out of which those who are due are taken at once.
const TAKEN_BUCKETS: i64 = 128;
/// Slices that are read at once on SQLite, at most; each takes a core.
const READERS_MAX: usize = 4;

/// How many buckets are decided at once: so many at first, then more or fewer with how long they take. Most of it is reading, beside which others
/// can write; but what a slice gathers lies in memory, and the lease is renewed between slices.
struct Pace {
    first: i64,
    short: Duration,
    long: Duration,
}

const PACE_SQLITE: Pace = Pace { first: 8, short: Duration::from_millis(150), long: Duration::from_millis(500) };
/// Planning the statement takes some twentieth of a second, so slices are larger; more so where few are decided.
const PACE_POSTGRES: Pace = Pace { first: 32, short: Duration::from_millis(3_000), long: Duration::from_millis(6_000) };
const PACE_POSTGRES_DUE: Pace = Pace { first: BUCKETS / 4, ..PACE_POSTGRES };

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
    ///
    /// Those who are due are taken out of segment_due *first*: whoever changes one afterwards is seen the next time. Cut off in between, all is
    /// decided anew, because no rule has an `as_of`.
    pub async fn run(&self, lease: &Lease) -> DbResult<Option<Done>> {
        let Some(due) = self.take(lease).await? else { return Ok(None) };
        let next = AtomicI64::new(0);
        let workers = match self.db.dialect() {
            Dialect::Sqlite => std::thread::available_parallelism().map_or(1, usize::from).min(READERS_MAX),
            Dialect::Postgres => SERVED_AT_ONCE,
        };
        let parts = try_join_all((0..workers).map(|_| self.worker(&next, &due, lease))).await?;
        let mut sum = Done { looked_at: due.iter().sum(), ..Done::default() };
        for part in parts {
            let Some(part) = part else { return Ok(None) };
            sum.merge(part);
        }
        Ok(Some(sum))
    }

    /// Move everybody from segment_due to segment_now, if any rule is decided for them; how many there are in each bucket.
    async fn take(&self, lease: &Lease) -> DbResult<Option<Vec<u64>>> {
        let mut due = vec![0; BUCKETS as usize];
        for (first, last) in bucket_ranges(TAKEN_BUCKETS) {
            let held = retried(async || {
                let mut tx = self.db.begin().await?;
                // Those of a refresh that was cut off.
                tx.execute("DELETE FROM segment_now WHERE bucket >= $1 AND bucket <= $2", args![first, last]).await?;
                let sql = "DELETE FROM segment_due WHERE bucket >= $1 AND bucket <= $2 RETURNING bucket, customer_id";
                let taken: Vec<(i64, String)> = tx.fetch_all(sql, args![first, last]).await?;
                due[first as usize..=last as usize].fill(0);
                if self.has_due {
                    for (bucket, _) in &taken {
                        due[*bucket as usize] += 1;
                    }
                    let rows = taken.into_iter().flat_map(|(b, c)| [Value::from(b), Value::from(c)]).collect();
                    tx.insert_rows("segment_now", &["bucket", "customer_id"], rows, Conflict::Keep).await?;
                }
                commit(tx, lease).await
            })
            .await?;
            if !held {
                return Ok(None);
            }
        }
        if due.iter().any(|n| *n > 0) && self.db.dialect() == Dialect::Postgres {
            // It grew from nothing, and who knows nothing of it expects one row.
            self.db.execute("ANALYZE segment_now", vec![]).await?;
        }
        Ok(Some(due))
    }

    async fn worker(&self, next: &AtomicI64, due: &[u64], lease: &Lease) -> DbResult<Option<Done>> {
        let pace = match self.db.dialect() {
            Dialect::Sqlite => PACE_SQLITE,
            Dialect::Postgres if self.is_whole => PACE_POSTGRES,
            Dialect::Postgres => PACE_POSTGRES_DUE,
        };
        let mut width = pace.first;
        let mut done = Done::default();
        loop {
            let first = next.fetch_add(width, Ordering::Relaxed);
            if first >= BUCKETS {
                return Ok(Some(done));
            }
            let begun = Instant::now();
            let last = (first + width - 1).min(BUCKETS - 1);
            let has_due = due[first as usize..=last as usize].iter().any(|n| *n > 0);
            match retried(async || self.slice((first, last), has_due, lease).await).await? {
                Some(part) => done.merge(part),
                None => return Ok(None),
            }
            width = match begun.elapsed() {
                took if took < pace.short => (width * 2).min(BUCKETS),
                took if took > pace.long => (width / 2).max(1),
                _ => width,
            };
        }
    }

    /// Decide all rules for a range of buckets; `None` when the lease was lost.
    async fn slice(&self, (first, last): (i64, i64), has_due: bool, lease: &Lease) -> DbResult<Option<Done>> {
        let mut done = Done::default();
        if !has_due && !self.is_whole {
            return Ok(Some(done));
        }
        let jobs: Vec<&Job> = self.jobs.iter().filter(|j| has_due || j.scope == Scope::Everyone).collect();
        let mut changes = Changes::new();
        for job in jobs {
            Found::read(self.db, job, first, last).await?.merge(&mut changes, &mut done);
        }
        let mut tx = self.db.begin().await?;
        write(&mut tx, changes).await?;
        if has_due {
            let sql = "DELETE FROM segment_now WHERE bucket >= $1 AND bucket <= $2";
            tx.execute(sql, args![first, last]).await?;
        }
        Ok(commit(tx, lease).await?.then_some(done))
    }
}

/// Rows of segment_bits that are to be others, by word, bucket and customer: all bits of the word, and revenue.
type Changes = BTreeMap<(i64, i64, String), (i64, i64)>;

/// What a job comes to in a range of buckets, read but not yet written.
struct Found {
    word: i64,
    mask: i64,
    /// Bucket, customer_id, the bits that are stored, those of the mask that are to be, revenue.
    changed: Vec<(i64, String, i64, i64, i64)>,
    /// By how much people and revenue change, by pattern of bits.
    patterns: BTreeMap<i64, Size>,
}

impl Found {
    async fn read(db: &Db, job: &Job, first: i64, last: i64) -> DbResult<Found> {
        let mut now: HashMap<(i64, String), (i64, i64)> = HashMap::new();
        for statement in &job.statements {
            // Whoever is in nothing is left out here: a condition on bits would have the engine compute them twice for everybody else.
            let sql = format!("SELECT bucket, customer_id, bits, revenue FROM ({}) found", statement.sql);
            let rows: Vec<(i64, String, i64, i64)> =
                db.fetch_planned(job.scope.reads(), &sql, statement.values_for(first, last)).await?;
            for (bucket, customer_id, bits, revenue) in rows.into_iter().filter(|r| r.2 != 0) {
                let entry = now.entry((bucket, customer_id)).or_insert((0, revenue));
                entry.0 |= bits;
            }
        }
        let mut patterns: BTreeMap<i64, Size> = BTreeMap::new();
        let mut count = |bits: i64, people: i64, revenue: i64| {
            let size = patterns.entry(bits).or_default();
            size.people += people;
            size.revenue += revenue;
        };
        for (bits, revenue) in now.values() {
            count(*bits, 1, *revenue);
        }
        let sql = format!(
            "SELECT b.bucket, b.customer_id, b.bits, b.revenue FROM {} AND b.word = $3",
            job.scope.rows("segment_bits", "b")
        );
        let stored: Vec<(i64, String, i64, i64)> =
            db.fetch_planned(job.scope.reads(), &sql, args![first, last, job.word]).await?;
        let mut changed = Vec::new();
        for (bucket, customer_id, bits, revenue) in stored {
            // The size of what is decided anew for everybody is counted from nothing.
            if job.scope == Scope::Due {
                count(bits & job.mask, -1, -revenue);
            }
            let key = (bucket, customer_id);
            let (new, earned) = now.remove(&key).unwrap_or((0, revenue));
            if new != bits & job.mask || earned != revenue {
                changed.push((key.0, key.1, bits, new, earned));
            }
        }
        changed.extend(now.into_iter().map(|((bucket, id), (new, revenue))| (bucket, id, 0, new, revenue)));
        Ok(Found { word: job.word, mask: job.mask, changed, patterns })
    }

    /// Put it among the changes: jobs of one word share rows.
    fn merge(self, changes: &mut Changes, done: &mut Done) {
        for (bucket, customer_id, stored, new, revenue) in self.changed {
            let row = changes.entry((self.word, bucket, customer_id)).or_insert((stored, revenue));
            *row = ((row.0 & !self.mask) | new, revenue);
        }
        for (bits, size) in self.patterns {
            done.add(self.word, bits, size.people, size.revenue);
        }
    }
}

/// Commit, unless the lease was lost; whether it was held. In the transaction, because another refresh may own the same rows by now, and last in it,
/// because workers wait for each other there.
async fn commit(mut tx: Tx, lease: &Lease) -> DbResult<bool> {
    let held = lease.renew_in(&mut tx, clock::now()).await?;
    if held {
        tx.commit().await?
    } else {
        tx.rollback().await?
    }
    Ok(held)
}

/// Whoever is in nothing any more has no row; so rows go with the profiles they are of.
async fn write(tx: &mut Tx, changes: Changes) -> DbResult<()> {
    let mut rows = Vec::new();
    let mut gone = Vec::new();
    for ((word, bucket, customer_id), (bits, revenue)) in changes {
        let key = [bucket.into(), customer_id.into(), word.into()];
        match bits {
            0 => gone.extend(key),
            bits => rows.extend(key.into_iter().chain([bits.into(), revenue.into()])),
        }
    }
    let columns = ["bucket", "customer_id", "word", "bits", "revenue"];
    let key = &columns[..3];
    tx.insert_rows("segment_bits", &columns, rows, Conflict::Update { key }).await?;
    if gone.is_empty() {
        return Ok(());
    }
    let sql = "DELETE FROM segment_bits WHERE (bucket, customer_id, word) IN (SELECT bucket, customer_id, word FROM k)";
    tx.execute_keyed(key, gone, sql).await.map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::MINUTE;
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
            Job { word: 0, scope, mask, statements: vec![Statement { sql, values: args![0_i64, 0_i64] }] }
        };
        let jobs = [job(Scope::Everyone, 1), job(Scope::Due, 2)];
        let work = Work { db: &db, jobs: &jobs, is_whole: true, has_due: true };
        let lease = Lease::take(&db, "segments", MINUTE, clock::now()).await.unwrap().unwrap();
        let due = work.take(&lease).await.unwrap().unwrap();
        assert_eq!(due.iter().sum::<u64>(), 1);
        let all = (0, BUCKETS - 1);

        run("ALTER TABLE segment_bits RENAME TO elsewhere", vec![]).await;
        work.slice(all, true, &lease).await.unwrap_err();
        run("ALTER TABLE elsewhere RENAME TO segment_bits", vec![]).await;
        let (left,): (i64,) = db.fetch_one("SELECT COUNT(*) FROM segment_due", vec![]).await.unwrap();
        assert_eq!(left, 0, "what was taken stays taken");

        // Whoever lost the right meanwhile writes nothing.
        let late = Lease::take(&db, "late", MINUTE, clock::now()).await.unwrap().unwrap();
        run("DELETE FROM lease WHERE name = 'late'", vec![]).await;
        assert!(work.slice(all, true, &late).await.unwrap().is_none());
        assert!(work.take(&late).await.unwrap().is_none());

        let done = work.slice(all, true, &lease).await.unwrap().unwrap();
        let bits: Vec<(String, i64)> =
            db.fetch_all("SELECT customer_id, bits FROM segment_bits ORDER BY customer_id", vec![]).await.unwrap();
        assert_eq!(bits, [("jo".to_owned(), 1), ("mia".to_owned(), 3)]);
        assert_eq!((done.change(0).people, done.change(1).people), (2, 1));
    }
}
