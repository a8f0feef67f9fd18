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
use sqlx::{PgConnection, Row as _, SqliteConnection};
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
            bind(&mut statement, args.into_iter())?;
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
                bind(&mut statement, values.by_ref().take(width))?;
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
    let mut locked = connection.lock_handle().await?;
    let work = || {
        // SAFETY: the handle is open and ours alone as long as `locked` lives, which is longer than `file`; `file` does not close it, and
        // finalises every statement it prepared before it is dropped.
        let file = unsafe { rusqlite::Connection::from_handle(locked.as_raw_handle().as_ptr()) }?;
        work(&file)
    };
    match Handle::try_current().map(|runtime| runtime.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(work),
        _ => work(),
    }
}

fn bind(statement: &mut rusqlite::Statement<'_>, values: impl Iterator<Item = Value>) -> DbResult<()> {
    for (n, value) in (1_usize..).zip(values) {
        match value {
            Value::Int(v) => statement.raw_bind_parameter(n, v)?,
            Value::Real(v) => statement.raw_bind_parameter(n, v)?,
            Value::Text(v) => statement.raw_bind_parameter(n, v.map(without_nul))?,
            Value::Bool(v) => statement.raw_bind_parameter(n, v)?,
            Value::Array(_) => unreachable!("SQLite has no arrays"),
        }
    }
    Ok(())
}
