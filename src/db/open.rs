//! Opening a database: the engine by its address, and how its connections are.

use std::path::PathBuf;
use std::time::Duration;

use sqlx::Connection as _;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};

use super::{Db, DbError, DbResult};

/// How long a statement waits for another writer of the same SQLite file.
const SQLITE_BUSY_TIMEOUT: Duration = Duration::from_secs(30);
/// Connections that read a SQLite file beside the one that writes.
const SQLITE_READERS: u32 = 4;
/// Rows that a connection's thread reads ahead of who asked. With the usual 50 a large read wakes one of the two for nearly every row.
const SQLITE_ROWS_AHEAD: usize = 1_000;
/// Page cache of the writing connection, in KiB as SQLite wants it (negative). The 2 MB it would take by itself spill in the middle of
/// every batch of an import.
const SQLITE_WRITER_CACHE: &str = "-32768";
/// Pages in the write-ahead log before they are carried into the file: 32 MiB. With the usual 1,000 every batch of an import would carry
/// nearly the same pages again.
const SQLITE_CHECKPOINT_PAGES: &str = "8000";
/// How often, and after what wait, a file that another process is turning to write-ahead logging is opened again.
const SQLITE_OPEN_TRIES_MAX: u32 = 200;
const SQLITE_OPEN_WAIT: Duration = Duration::from_millis(20);
/// Connections to Postgres that one process opens at most.
const POSTGRES_CONNECTIONS: u32 = 10;
/// How long opening a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A connection that was given back so recently is there, or is lost no more likely than after it was asked.
const TRUSTED_FOR: Duration = Duration::from_millis(100);

/// Connections are kept as long as the process: with any limit sqlx starts a task that counts idle connections. The count goes below zero for
/// a moment when one is given back and taken at once, and for good when the pool is closed meanwhile; the task then counts to 2^64 and the
/// process never ends. A connection that a server or a firewall dropped is noticed and replaced when it is next taken.
const CONNECTION_LIFETIME: Option<Duration> = None;

/// Connect; the schema is not looked at.
pub(super) async fn connect(url: &str) -> DbResult<Db> {
    if let Some(path) = url.strip_prefix("sqlite:") {
        let path = PathBuf::from(path.strip_prefix("//").unwrap_or(path));
        let place = path.display().to_string();
        if let Some(parent) = path.parent().filter(|p| !p.as_os_str().is_empty()) {
            std::fs::create_dir_all(parent)
                .map_err(|e| DbError::Open { place: place.clone(), source: sqlx::Error::Io(e) })?;
        }
        let options = SqliteConnectOptions::new()
            .filename(&path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(SQLITE_BUSY_TIMEOUT)
            .statement_cache_capacity(256)
            .row_buffer_size(SQLITE_ROWS_AHEAD)
            .pragma("temp_store", "memory");
        let open = |e| DbError::Open { place: place.clone(), source: e };
        let writer = options
            .clone()
            .pragma("cache_size", SQLITE_WRITER_CACHE)
            .pragma("wal_autocheckpoint", SQLITE_CHECKPOINT_PAGES);
        let write = sqlite_pool(1, writer).await.map_err(open)?;
        let read = sqlite_pool(SQLITE_READERS, options.pragma("query_only", "on")).await.map_err(open)?;
        return Ok(Db::Sqlite { write, read, path });
    }
    if url.starts_with("postgres://") || url.starts_with("postgresql://") {
        let options: PgConnectOptions = url.parse().map_err(|_| DbError::Address(without_password(url)))?;
        // Just-in-time compiling the long statements of segments takes many times what running them does.
        let options = options.application_name("okaeri").statement_cache_capacity(256).options([("jit", "off")]);
        let pool = PgPoolOptions::new()
            .max_connections(POSTGRES_CONNECTIONS)
            .idle_timeout(CONNECTION_LIFETIME)
            .max_lifetime(CONNECTION_LIFETIME)
            .acquire_timeout(CONNECT_TIMEOUT)
            .test_before_acquire(false)
            .before_acquire(|connection, known| {
                Box::pin(async move { Ok(known.idle_for < TRUSTED_FOR || connection.ping().await.is_ok()) })
            })
            .connect_with(options)
            .await
            .map_err(|e| DbError::Open { place: without_password(url), source: e })?;
        return Ok(Db::Postgres(pool));
    }
    Err(DbError::Address(without_password(url)))
}

/// Open a pool on a file. Several processes that open a new file at once each turn it to write-ahead logging, which SQLite refuses as
/// "locked" without waiting; so this waits and tries again.
async fn sqlite_pool(connections: u32, options: SqliteConnectOptions) -> Result<SqlitePool, sqlx::Error> {
    let mut tries = 1;
    loop {
        let opened = SqlitePoolOptions::new()
            .max_connections(connections)
            .idle_timeout(CONNECTION_LIFETIME)
            .max_lifetime(CONNECTION_LIFETIME)
            .test_before_acquire(false) // a file is there; asking would cost two switches of threads each time
            // A COMMIT that failed (a full disk) was rolled back by SQLite, of which sqlx knows nothing: that connection begins nothing any more.
            .before_acquire(|connection, _| Box::pin(async move { Ok(!connection.is_in_transaction()) }))
            .connect_with(options.clone())
            .await;
        match opened {
            Err(sqlx::Error::Database(e)) if e.code().as_deref() == Some("5") && tries < SQLITE_OPEN_TRIES_MAX => {
                tokio::time::sleep(SQLITE_OPEN_WAIT).await;
                tries += 1;
            }
            ended => return ended,
        }
    }
}

/// A database address fit for messages: the password is replaced.
pub fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    match rest.rsplit_once('@') {
        Some((login, host)) => {
            let user = login.split(':').next().unwrap_or_default();
            format!("{scheme}://{user}:…@{host}")
        }
        None => url.to_owned(),
    }
}
