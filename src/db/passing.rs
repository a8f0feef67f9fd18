//! Many rows at the price of few: the rows of a statement one at a time as they pass, and one prepared insert run row after row.
//!
//! sqlx reads a SQLite file in a thread of its own and hands every row over with its cells copied: two microseconds a row, which is a third of a
//! minute for ten million orders. Here the connection is taken out of that thread for a moment ([`sqlx::SqliteConnection::lock_handle`])
//! and driven by rusqlite, which is linked against the same library: a row then costs a tenth of that. It is the same connection and the
//! same transaction, so all that is said of those holds. On Postgres rows pass as sqlx reads them.
//!
//! The calling thread works meanwhile; on a runtime of several threads the other tasks move away from it first.

use futures_util::TryStreamExt as _;
use rusqlite::types::ValueRef;
use sqlx::postgres::PgRow;
use sqlx::{Connection as _, PgConnection, Row as _, SqliteConnection};
use tokio::runtime::{Handle, RuntimeFlavor};

use super::value::{postgres_arguments, text, without_nul};
use super::{Db, DbResult, Dialect, Tx, Value};

/// The row that passes; its cells by position, from 0. Asking for another type than the column has is an error.
#[derive(Clone, Copy)]
pub enum Cells<'r> {
    Sqlite(&'r rusqlite::Row<'r>),
    Postgres(&'r PgRow),
}

impl<'r> Cells<'r> {
    /// A whole number; `None` of null.
    pub fn int(&self, n: usize) -> DbResult<Option<i64>> {
        Ok(match self {
            Cells::Sqlite(row) => row.get_ref(n)?.as_i64_or_null().map_err(rusqlite::Error::from)?,
            Cells::Postgres(row) => row.try_get(n)?,
        })
    }

    /// A number with a fraction; `None` of null.
    pub fn real(&self, n: usize) -> DbResult<Option<f64>> {
        Ok(match self {
            Cells::Sqlite(row) => row.get_ref(n)?.as_f64_or_null().map_err(rusqlite::Error::from)?,
            Cells::Postgres(row) => row.try_get(n)?,
        })
    }

    /// A text; `None` of null.
    pub fn text(&self, n: usize) -> DbResult<Option<&'r str>> {
        Ok(match self {
            Cells::Sqlite(row) => match row.get_ref(n)? {
                ValueRef::Null => None,
                text => Some(text.as_str().map_err(rusqlite::Error::from)?),
            },
            Cells::Postgres(row) => row.try_get(n)?,
        })
    }
}

impl Db {
    /// Let all rows of a reading statement pass, one at a time.
    pub async fn each_row(
        &self,
        sql: &str,
        args: Vec<Value>,
        mut pass: impl FnMut(Cells) -> DbResult<()>,
    ) -> DbResult<()> {
        match self {
            Db::Sqlite { read, .. } => each_of_sqlite(&mut *read.acquire().await?, sql, args, &mut pass).await,
            Db::Postgres(pool) => each_of_postgres(&mut *pool.acquire().await?, sql, args, &mut pass).await,
        }
    }
}

impl Tx {
    /// Let all rows of a statement pass, one at a time.
    pub async fn each_row(
        &mut self,
        sql: &str,
        args: Vec<Value>,
        mut pass: impl FnMut(Cells) -> DbResult<()>,
    ) -> DbResult<()> {
        match self {
            Tx::Sqlite(tx) => each_of_sqlite(tx, sql, args, &mut pass).await,
            Tx::Postgres(tx) => each_of_postgres(tx, sql, args, &mut pass).await,
        }
    }
}

async fn each_of_sqlite(
    connection: &mut SqliteConnection,
    sql: &str,
    args: Vec<Value>,
    pass: &mut impl FnMut(Cells) -> DbResult<()>,
) -> DbResult<()> {
    on_file(
        connection,
        |file| {
            let mut statement = file.prepare(sql)?;
            bind_numbered(&mut statement, args)?;
            let mut rows = statement.raw_query();
            while let Some(row) = rows.next()? {
                pass(Cells::Sqlite(row))?;
            }
            Ok(())
        },
        sql,
    )
    .await
}

async fn each_of_postgres(
    connection: &mut PgConnection,
    sql: &str,
    args: Vec<Value>,
    pass: &mut impl FnMut(Cells) -> DbResult<()>,
) -> DbResult<()> {
    let query = sqlx::query_with(text(Dialect::Postgres, sql), postgres_arguments(args)?);
    let mut rows = query.fetch(connection);
    while let Some(row) = rows.try_next().await? {
        pass(Cells::Postgres(&row))?;
    }
    Ok(())
}

/// Run an insert of `width` values once for each of the rows; how many rows it inserted or changed.
pub(super) async fn insert_into_sqlite(
    connection: &mut SqliteConnection,
    sql: &str,
    width: usize,
    rows: Vec<Value>,
) -> DbResult<u64> {
    on_file(
        connection,
        |file| {
            let mut statement = file.prepare(sql)?;
            let mut changed = 0;
            let mut left = rows.len() / width;
            let mut values = rows.into_iter();
            while left > 0 {
                for (place, value) in (1..).zip(values.by_ref().take(width)) {
                    bind_one(&mut statement, place, value)?;
                }
                changed += statement.raw_execute()? as u64;
                left -= 1;
            }
            Ok(changed)
        },
        sql,
    )
    .await
}

/// Do something with the file behind a connection while no other thread touches it.
async fn on_file<T>(
    connection: &mut SqliteConnection,
    work: impl FnOnce(&rusqlite::Connection) -> DbResult<T>,
    sql: &str,
) -> DbResult<T> {
    // One list of all statements for the tests that check them.
    let _ = text(Dialect::Sqlite, sql);
    let done = {
        let mut locked = connection.lock_handle().await?;
        let work = || {
            // SAFETY: the handle is open and ours alone as long as `locked` lives, which is longer than `file`; `file` does not close it,
            // and finalises every statement it prepared before it is dropped.
            let file = unsafe { rusqlite::Connection::from_handle(locked.as_raw_handle().as_ptr()) }?;
            work(&file)
        };
        match Handle::try_current().map(|runtime| runtime.runtime_flavor()) {
            Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(work),
            _ => work(),
        }
    };
    // Let the thread have its file back before anything else: each request for the lock leaves a command in its queue, and a queue full of them
    // would be waited for by whoever holds the lock.
    connection.ping().await?;
    done
}

/// Bind values to `$1 … $n`, wherever and how often they stand: the file counts names in the order in which it meets them.
fn bind_numbered(statement: &mut rusqlite::Statement<'_>, args: Vec<Value>) -> DbResult<()> {
    for place in 1..=statement.parameter_count() {
        let number = statement.parameter_name(place).and_then(|name| name.strip_prefix('$')?.parse::<usize>().ok());
        let value = args.get(number.unwrap_or(place).wrapping_sub(1));
        let value = value.ok_or(rusqlite::Error::InvalidParameterCount(args.len(), place))?;
        bind_one(statement, place, value.clone())?;
    }
    Ok(())
}

fn bind_one(statement: &mut rusqlite::Statement<'_>, place: usize, value: Value) -> DbResult<()> {
    match value {
        Value::Int(v) => statement.raw_bind_parameter(place, v)?,
        Value::Real(v) => statement.raw_bind_parameter(place, v)?,
        Value::Text(v) => statement.raw_bind_parameter(place, v.map(without_nul))?,
        Value::Bool(v) => statement.raw_bind_parameter(place, v)?,
        Value::Array(_) => unreachable!("SQLite has no arrays"),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args;
    use crate::db::Conflict;

    async fn file(dir: &tempfile::TempDir) -> Db {
        Db::open(&format!("sqlite:{}", dir.path().join("a.db").display())).await.unwrap()
    }

    #[tokio::test]
    async fn values_go_by_their_number_and_not_by_where_they_stand() {
        let dir = tempfile::tempdir().unwrap();
        let db = file(&dir).await;
        let mut seen = Vec::new();
        let sql = "SELECT $3, $1, CAST($2 AS DOUBLE PRECISION), $1, NULL";
        db.each_row(sql, args!["美咲", 2.5, 7_i64], |row| {
            seen.push((row.int(0)?, row.text(1)?.map(str::to_owned), row.real(2)?, row.text(3)?.is_some()));
            assert_eq!((row.int(4)?, row.real(4)?, row.text(4)?), (None, None, None));
            assert!(row.text(0).is_err() && row.int(1).is_err(), "a cell has one type");
            Ok(())
        })
        .await
        .unwrap();
        assert_eq!(seen, [(Some(7), Some("美咲".to_owned()), Some(2.5), true)]);
        assert!(db.each_row(sql, args!["too", 1.0], |_| Ok(())).await.is_err(), "a value is missing");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_file_that_is_taken_again_and_again_goes_back_each_time() {
        let dir = tempfile::tempdir().unwrap();
        let db = file(&dir).await;
        let mut tx = db.begin().await.unwrap();
        let mut rows = 0;
        for _ in 0..5_000 {
            tx.each_row("SELECT 1", vec![], |_| {
                rows += 1;
                Ok(())
            })
            .await
            .unwrap();
        }
        assert_eq!(rows, 5_000);
        tx.commit().await.unwrap();
    }

    #[tokio::test]
    async fn rows_of_a_transaction_pass_before_it_ends_and_an_insert_counts_what_changed() {
        let dir = tempfile::tempdir().unwrap();
        let db = file(&dir).await;
        let columns = ["name", "value"];
        // More than go in one statement.
        let rows = |from: u32, value: &str| -> Vec<Value> {
            (from..from + 100).flat_map(|n| args![format!("n{n:03}"), format!("{value}\0{}", n / 2)]).collect()
        };
        let mut tx = db.begin().await.unwrap();
        assert_eq!(tx.insert_rows("meta", &columns, rows(0, "x"), Conflict::Keep).await.unwrap(), 100);
        assert_eq!(
            tx.insert_rows("meta", &columns, rows(0, "x"), Conflict::Update { key: &["name"] }).await.unwrap(),
            0
        );
        assert_eq!(
            tx.insert_rows("meta", &columns, rows(90, "x"), Conflict::Update { key: &["name"] }).await.unwrap(),
            90
        );
        assert_eq!(
            tx.insert_rows("meta", &columns, rows(95, "y"), Conflict::Update { key: &["name"] }).await.unwrap(),
            100
        );
        let mut values = Vec::new();
        tx.each_row("SELECT value FROM meta WHERE name BETWEEN 'n094' AND 'n096' ORDER BY name", vec![], |row| {
            values.extend(row.text(0)?.map(str::to_owned));
            Ok(())
        })
        .await
        .unwrap();
        assert_eq!(values, ["x\u{FFFD}47", "y\u{FFFD}47", "y\u{FFFD}48"]);
        // A row that is refused fails the insert, and the transaction goes on.
        let when = Conflict::UpdateWhen { key: &["value"], when: "true" };
        assert!(tx.insert_rows("meta", &columns, rows(500, "z"), when).await.is_err());
        tx.rollback().await.unwrap();
        let (left,): (i64,) = db.fetch_one("SELECT COUNT(*) FROM meta WHERE name LIKE 'n___'", vec![]).await.unwrap();
        assert_eq!(left, 0);
    }
}
