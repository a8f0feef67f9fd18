//! The database: SQLite embedded, Postgres for teams, one SQL text for both.
//!
//! Owns opening (`open`), migrations, transactions and bulk inserts. Everything above speaks SQL with `$1 … $n` and binds [`Value`]s;
//! where the engines differ (bulk load, row locks, clustered tables) the difference lives in [`dialect`].
//!
//! Rules for the SQL (each was tried on SQLite, Postgres and Citus):
//! * tables that grow with customers carry `bucket` first in every key, and joins between them use bucket **and** customer_id;
//! * no `now()`, no `random()`, no engine-only construct; times are epoch milliseconds UTC, money is minor units;
//! * `SUM`, `COUNT(*) FILTER` and `CASE … THEN 1` are cast to BIGINT, so that both engines give the same type.
//!
//! The tests hold every statement to them: `tests/it/ground/sql_lint`.
//!
//! Read on: [`bucket_of`], then `migrations/0001_foundation.sql`.

mod binds;
mod bulk;
mod dialect;
mod generation;
mod json;
mod layout;
mod lease;
mod migrations;
mod open;
mod passing;
#[cfg(debug_assertions)]
mod record;
mod value;

pub use binds::Binds;
pub use bulk::{Conflict, padded};
pub use dialect::{Dialect, decimal, is_date};
pub use generation::{Behind, Beside};
pub use json::Member;
pub use lease::Lease;
pub use open::without_password;
pub use passing::Cells;
#[cfg(debug_assertions)]
pub use record::record_statements;
pub use value::{Row, Value};

use std::path::PathBuf;

use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use sqlx::postgres::PgPool;
use sqlx::sqlite::SqlitePool;
use sqlx::{Postgres, Sqlite, Transaction};

/// How many buckets customers are spread over. A constant of the stored data: it never changes.
pub const BUCKETS: i64 = 1024;
/// How often [`retried`] runs a transaction.
const TRANSACTION_TRIES_MAX: u32 = 5;
/// Page cache of the writing connection while messages are sent: they are passed through in the order of their pages, and none is needed again.
const SQLITE_SENDING_CACHE: &str = "PRAGMA cache_size = -4096";
/// What Postgres is told before a pass over everybody: [`Tx::plan_in_key_order`].
const IN_KEY_ORDER: [(&str, &str); 6] = [
    ("plan_cache_mode", "force_custom_plan"),
    ("random_page_cost", "1"),
    ("enable_nestloop", "off"),
    ("enable_seqscan", "off"),
    ("enable_bitmapscan", "off"),
    ("max_parallel_workers_per_gather", "0"), // several buckets are worked on at once anyway
];
/// What it is told before a look at few: [`Tx::plan_for_few`].
const FOR_FEW: [(&str, &str); 3] = [
    ("plan_cache_mode", "force_custom_plan"),
    ("join_collapse_limit", "1"), // in the order of the statement: from the few to their rows
    ("max_parallel_workers_per_gather", "0"),
];

/// The bucket of a customer: FNV-1a over the id's UTF-8 bytes, finished with the 64-bit mix of MurmurHash3, modulo [`BUCKETS`].
///
/// Computed here and never in SQL, so that every engine and every version agrees.
pub fn bucket_of(customer_id: &str) -> i64 {
    (stable_hash(customer_id.as_bytes()) % BUCKETS as u64) as i64
}

/// The stable 64-bit hash behind [`bucket_of`]; the same on every machine and in every version.
pub fn stable_hash(bytes: &[u8]) -> u64 {
    let mut h = 0xcbf2_9ce4_8422_2325_u64;
    for b in bytes {
        h = (h ^ u64::from(*b)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    h ^= h >> 33;
    h = h.wrapping_mul(0xff51_afd7_ed55_8ccd);
    h ^= h >> 33;
    h = h.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    h ^ (h >> 33)
}

/// All buckets in ranges of so many: the first and the last bucket of each range.
pub fn bucket_ranges(width: i64) -> impl Iterator<Item = (i64, i64)> {
    let width = width.max(1);
    (0..BUCKETS).step_by(width as usize).map(move |first| (first, (first + width - 1).min(BUCKETS - 1)))
}

/// Statements over bucket ranges that a server is given at once. A file is read and written by one at a time.
pub const SERVED_AT_ONCE: usize = 3;

/// Do something for all bucket ranges of a width, on a server several at once; the outcomes come in any order.
pub async fn each_range<T, F>(db: &Db, width: i64, work: impl Fn(i64, i64) -> F) -> DbResult<Vec<T>>
where
    F: Future<Output = DbResult<T>>,
{
    let workers = match db.dialect() {
        Dialect::Sqlite => 1,
        Dialect::Postgres => SERVED_AT_ONCE,
    };
    let at_work = bucket_ranges(width).map(|(first, last)| work(first, last));
    stream::iter(at_work).buffer_unordered(workers).try_collect().await
}

/// What can go wrong between us and the database.
#[derive(Debug, thiserror::Error)]
pub enum DbError {
    /// The address names no engine we know.
    #[error("database `{0}`: expected sqlite:PATH or postgres://…")]
    Address(String),
    /// The engine could not be reached or the file could not be opened.
    #[error("cannot open the database {place}: {source}")]
    Open { place: String, source: sqlx::Error },
    /// The schema could not be brought up to date.
    #[error("cannot bring the database schema up to date: {0}")]
    Migrate(#[from] sqlx::migrate::MigrateError),
    /// The schema is not that of this version, and the login may not change it.
    #[error("the schema of the database is not that of this version of okaeri, and this login may not change it: {0}")]
    SchemaOfAnother(String),
    /// A statement failed.
    #[error("database: {0}")]
    Sql(#[from] sqlx::Error),
    /// A statement on a SQLite file failed while its rows passed one by one.
    #[error("database: {0}")]
    File(#[from] rusqlite::Error),
    /// The connection broke while a COMMIT was under way: it may or may not have happened.
    #[error("the database did not confirm a commit: {0}")]
    InDoubt(sqlx::Error),
}

/// Whether the server says that a login may not do this (SQLSTATE 42501).
fn is_denied(e: &sqlx::Error) -> bool {
    matches!(e, sqlx::Error::Database(d) if d.code().as_deref() == Some("42501"))
}

impl DbError {
    /// True when the login may not do this: it may only read.
    pub fn is_denied(&self) -> bool {
        matches!(self, DbError::Sql(e) if is_denied(e))
    }

    /// True when the same transaction may succeed if it is run again: serialisation failures, deadlocks, busy files, lost connections.
    pub fn is_retryable(&self) -> bool {
        if let DbError::File(rusqlite::Error::SqliteFailure(e, _)) = self {
            return matches!(e.code, rusqlite::ErrorCode::DatabaseBusy | rusqlite::ErrorCode::DatabaseLocked);
        }
        let DbError::Sql(e) = self else { return false };
        match e {
            sqlx::Error::Database(d) => {
                let code = d.code().unwrap_or_default();
                // SQLSTATE 40001 serialisation, 40P01 deadlock, class 08 connection, 57P01 shutdown; SQLite 5 BUSY, 6 LOCKED and their extended forms.
                matches!(code.as_ref(), "40001" | "40P01" | "57P01" | "5" | "6" | "261" | "517" | "262")
                    || code.starts_with("08")
            }
            // Protocol: a connection that ended while it was opened, by something between us and the server.
            sqlx::Error::Io(_) | sqlx::Error::Protocol(_) | sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed => true,
            _ => false,
        }
    }
}

/// Result of a database call.
pub type DbResult<T> = Result<T, DbError>;

/// An open database. Cheap to clone; all clones share their connections.
#[derive(Clone)]
pub enum Db {
    /// A file on this machine: one writing connection, several reading ones.
    Sqlite { write: SqlitePool, read: SqlitePool, path: PathBuf },
    /// A Postgres (or Citus) server.
    Postgres(PgPool),
}

/// How much of its tables a statement reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reads {
    /// The rows of few customers, each found by its key.
    Few,
    /// All rows of some buckets.
    Everybody,
}

/// A transaction; rolled back when dropped.
pub enum Tx {
    Sqlite(Transaction<'static, Sqlite>),
    Postgres(Transaction<'static, Postgres>),
}

impl Db {
    /// Open `url` (`sqlite:PATH` or `postgres://…`) and bring its schema up to date. A missing SQLite file is created with its folder.
    pub async fn open(url: &str) -> DbResult<Db> {
        let db = open::connect(url).await?;
        migrations::run(&db).await?;
        if let Db::Postgres(pool) = &db {
            layout::lay_out_small(pool).await?;
        }
        Ok(db)
    }

    /// Which engine this is.
    pub fn dialect(&self) -> Dialect {
        match self {
            Db::Sqlite { .. } => Dialect::Sqlite,
            Db::Postgres(_) => Dialect::Postgres,
        }
    }

    /// Begin a writing transaction. SQLite takes its write lock now (`BEGIN IMMEDIATE`), so that it never fails halfway for another writer.
    pub async fn begin(&self) -> DbResult<Tx> {
        Ok(match self {
            Db::Sqlite { write, .. } => Tx::Sqlite(write.begin_with("BEGIN IMMEDIATE").await?),
            Db::Postgres(pool) => Tx::Postgres(pool.begin().await?),
        })
    }

    /// Run one statement in a transaction of its own; the number of rows it changed.
    pub async fn execute(&self, sql: &str, args: Vec<Value>) -> DbResult<u64> {
        match self {
            Db::Sqlite { write, .. } => value::execute_sqlite(write, sql, args).await,
            Db::Postgres(pool) => value::execute_postgres(pool, sql, args).await,
        }
    }

    /// All rows of a reading statement.
    pub async fn fetch_all<T: Row>(&self, sql: &str, args: Vec<Value>) -> DbResult<Vec<T>> {
        match self {
            Db::Sqlite { read, .. } => value::fetch_sqlite(read, sql, args).await,
            Db::Postgres(pool) => value::fetch_postgres(pool, sql, args).await,
        }
    }

    /// [`Db::fetch_all`] of a large statement, planned for the values it is run with and for how much of its tables it reads.
    pub async fn fetch_planned<T: Row>(&self, reads: Reads, sql: &str, args: Vec<Value>) -> DbResult<Vec<T>> {
        if self.dialect() == Dialect::Sqlite {
            return self.fetch_all(sql, args).await;
        }
        let mut tx = self.begin().await?;
        match reads {
            Reads::Few => tx.plan_for_few().await?,
            Reads::Everybody => tx.plan_in_key_order().await?,
        }
        let rows = tx.fetch_all(sql, args).await?;
        tx.commit().await?;
        Ok(rows)
    }

    /// The first row, if there is one.
    pub async fn fetch_optional<T: Row>(&self, sql: &str, args: Vec<Value>) -> DbResult<Option<T>> {
        Ok(self.fetch_all(sql, args).await?.into_iter().next())
    }

    /// The only row; an error when there is none.
    pub async fn fetch_one<T: Row>(&self, sql: &str, args: Vec<Value>) -> DbResult<T> {
        self.fetch_optional(sql, args).await?.ok_or(DbError::Sql(sqlx::Error::RowNotFound))
    }

    /// Like [`Db::fetch_all`] for a statement that writes (`INSERT … RETURNING`, `UPDATE … RETURNING`).
    pub async fn write_returning<T: Row>(&self, sql: &str, args: Vec<Value>) -> DbResult<Vec<T>> {
        match self {
            Db::Sqlite { write, .. } => value::fetch_sqlite(write, sql, args).await,
            Db::Postgres(pool) => value::fetch_postgres(pool, sql, args).await,
        }
    }

    /// Bytes of tables that lie slower than they could: opening a database mends small ones alone. [`Db::lay_out`] mends them.
    pub async fn lies_badly(&self) -> DbResult<i64> {
        match self {
            Db::Sqlite { .. } => Ok(0),
            Db::Postgres(pool) => Ok(layout::waiting(pool).await?),
        }
    }

    /// Lay the tables out as reading them wants it. Nobody can use a table meanwhile, a minute for some ten million rows.
    pub async fn lay_out(&self) -> DbResult<()> {
        match self {
            Db::Sqlite { .. } => Ok(()),
            Db::Postgres(pool) => Ok(layout::lay_out(pool).await?),
        }
    }

    /// Refresh what the engine knows of its tables after a bulk load. Speed only: correctness never depends on it.
    pub async fn analyze(&self) -> DbResult<()> {
        match self {
            Db::Sqlite { .. } => self.execute("PRAGMA optimize", vec![]).await.map(|_| ()),
            Db::Postgres(pool) => {
                layout::know_buckets(pool).await?;
                layout::leave_room(pool).await?;
                Ok(layout::vacuum(pool).await?)
            }
        }
    }

    /// Give back the memory that batches needed: from here on rows are passed through once. Speed only.
    pub async fn sending_begins(&self) -> DbResult<()> {
        if let Db::Sqlite { write, .. } = self {
            sqlx::query(SQLITE_SENDING_CACHE).execute(write).await?;
        }
        Ok(())
    }

    /// Close all connections and wait for them.
    pub async fn close(&self) {
        match self {
            Db::Sqlite { write, read, .. } => {
                read.close().await;
                write.close().await;
            }
            Db::Postgres(pool) => pool.close().await,
        }
    }
}

impl Tx {
    /// Which engine this is.
    pub fn dialect(&self) -> Dialect {
        match self {
            Tx::Sqlite(_) => Dialect::Sqlite,
            Tx::Postgres(_) => Dialect::Postgres,
        }
    }

    /// Run one statement; the number of rows it changed.
    pub async fn execute(&mut self, sql: &str, args: Vec<Value>) -> DbResult<u64> {
        match self {
            Tx::Sqlite(tx) => value::execute_sqlite(&mut **tx, sql, args).await,
            Tx::Postgres(tx) => value::execute_postgres(&mut **tx, sql, args).await,
        }
    }

    /// All rows of a statement.
    pub async fn fetch_all<T: Row>(&mut self, sql: &str, args: Vec<Value>) -> DbResult<Vec<T>> {
        match self {
            Tx::Sqlite(tx) => value::fetch_sqlite(&mut **tx, sql, args).await,
            Tx::Postgres(tx) => value::fetch_postgres(&mut **tx, sql, args).await,
        }
    }

    /// The first row, if there is one.
    pub async fn fetch_optional<T: Row>(&mut self, sql: &str, args: Vec<Value>) -> DbResult<Option<T>> {
        Ok(self.fetch_all(sql, args).await?.into_iter().next())
    }

    /// Have Postgres plan each statement for the values it is run with. After five runs it would take a plan for any: for one that is run a few
    /// dozen times on thousands of rows that costs more than it saves. It looks up the rows of the few that the statement begins with: left
    /// to itself it expects a single row of joins on four columns and turns them round.
    pub async fn plan_for_few(&mut self) -> DbResult<()> {
        self.set_local(&FOR_FEW).await
    }

    /// Have Postgres go through tables in the order of their keys, joining and grouping as it goes. Left to itself it takes a page of an index for four
    /// times as dear as it is, and expects a single row as above.
    pub async fn plan_in_key_order(&mut self) -> DbResult<()> {
        self.set_local(&IN_KEY_ORDER).await
    }

    /// Settings of Postgres for the rest of this transaction.
    async fn set_local(&mut self, settings: &[(&str, &str)]) -> DbResult<()> {
        if let Tx::Sqlite(_) = self {
            return Ok(());
        }
        let set: Vec<String> =
            settings.iter().map(|(name, value)| format!("set_config('{name}', '{value}', TRUE)")).collect();
        self.execute(&format!("SELECT {}", set.join(", ")), vec![]).await.map(|_| ())
    }

    /// Make it durable. [`DbError::InDoubt`] when the engine did not answer: read the rows back before acting on them.
    pub async fn commit(self) -> DbResult<()> {
        let done = match self {
            Tx::Sqlite(tx) => tx.commit().await,
            Tx::Postgres(tx) => tx.commit().await,
        };
        done.map_err(|e| match &e {
            // A session that the server ends may end after its COMMIT was done and before that was said (SQLSTATE class 57).
            sqlx::Error::Database(d) if !d.code().is_some_and(|c| c.starts_with("57P")) => DbError::Sql(e),
            _ => DbError::InDoubt(e),
        })
    }

    /// Undo everything since `begin`.
    pub async fn rollback(self) -> DbResult<()> {
        match self {
            Tx::Sqlite(tx) => tx.rollback().await?,
            Tx::Postgres(tx) => tx.rollback().await?,
        }
        Ok(())
    }
}

/// Run what is one transaction, and again when another session got in its way: a few times, since whoever was first is done by then.
pub async fn retried<T>(mut run: impl AsyncFnMut() -> DbResult<T>) -> DbResult<T> {
    let mut tries = 1;
    loop {
        match run().await {
            Err(e) if e.is_retryable() && tries < TRANSACTION_TRIES_MAX => tries += 1,
            ended => return ended,
        }
    }
}

/// Bind values in order: `args![bucket, customer_id, now]`.
#[macro_export]
macro_rules! args {
    ($($v:expr),* $(,)?) => { vec![$($crate::db::Value::from($v)),*] };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_pinned_forever() {
        // Changing any of these moves customers to other buckets and breaks every stored key.
        assert_eq!(bucket_of(""), (stable_hash(b"") % 1024) as i64);
        assert_eq!(stable_hash(b""), 0xefd0_1f60_ba99_2926);
        assert_eq!(["1", "2", "c-1001", "顧客"].map(bucket_of), PINNED);
    }

    const PINNED: [i64; 4] = [982, 334, 425, 317];

    #[test]
    fn ranges_hold_every_bucket_once() {
        for width in [1, 64, 1_000, BUCKETS, 5_000] {
            let all: Vec<i64> = bucket_ranges(width).flat_map(|(first, last)| first..=last).collect();
            assert_eq!(all, (0..BUCKETS).collect::<Vec<_>>());
        }
    }

    #[test]
    fn passwords_stay_out_of_messages() {
        assert_eq!(without_password("postgres://okaeri:s3cret@db/shop"), "postgres://okaeri:…@db/shop");
        assert_eq!(without_password("sqlite:.okaeri/okaeri.db"), "sqlite:.okaeri/okaeri.db");
    }

    #[tokio::test]
    async fn opens_twice_and_migrates_once() {
        let dir = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", dir.path().join("a/b.db").display());
        let db = Db::open(&url).await.unwrap();
        db.execute("INSERT INTO meta (name, value) VALUES ($1, $2)", args!["k", "v"]).await.unwrap();
        db.close().await;
        let db = Db::open(&url).await.unwrap();
        let (v,): (String,) = db.fetch_one("SELECT value FROM meta WHERE name = $1", args!["k"]).await.unwrap();
        assert_eq!(v, "v");
    }

    #[tokio::test]
    async fn a_new_file_opened_by_many_at_once_is_migrated_once() {
        for _ in 0..5 {
            let dir = tempfile::tempdir().unwrap();
            let url = format!("sqlite:{}", dir.path().join("new.db").display());
            let opened = futures_util::future::join_all((0..8).map(|_| Db::open(&url))).await;
            for db in opened {
                db.unwrap().close().await;
            }
        }
    }

    #[tokio::test]
    async fn an_unknown_engine_is_named() {
        let e = Db::open("mysql://u:p@h/d").await.err().unwrap();
        assert!(e.to_string().contains("mysql://u:…@h/d"), "{e}");
    }
}
