//! Values bound to statements, and rows read back: the typed bridge between one SQL text and two native drivers.

use sqlx::postgres::{PgArguments, PgRow};
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{Arguments, AssertSqlSafe, Executor, FromRow, Postgres, Sqlite};

use super::{DbResult, Dialect};

/// One bound value. Nulls keep their type, because Postgres wants to know it.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Int(Option<i64>),
    Real(Option<f64>),
    Text(Option<String>),
    Bool(Option<bool>),
    /// One array per column of a bulk insert; Postgres only.
    Array(Array),
}

/// A column of a bulk insert.
#[derive(Debug, Clone, PartialEq)]
pub enum Array {
    Int(Vec<Option<i64>>),
    Real(Vec<Option<f64>>),
    Text(Vec<Option<String>>),
    Bool(Vec<Option<bool>>),
}

impl Value {
    /// A null of the same type.
    pub(super) fn null(&self) -> Value {
        match self {
            Value::Int(_) => Value::Int(None),
            Value::Real(_) => Value::Real(None),
            Value::Text(_) => Value::Text(None),
            Value::Bool(_) => Value::Bool(None),
            Value::Array(_) => unreachable!("arrays are not nested"),
        }
    }

    pub(super) fn empty_array(&self) -> Value {
        Value::Array(match self {
            Value::Int(_) => Array::Int(vec![]),
            Value::Real(_) => Array::Real(vec![]),
            Value::Text(_) => Array::Text(vec![]),
            Value::Bool(_) => Array::Bool(vec![]),
            Value::Array(_) => unreachable!("arrays are not nested"),
        })
    }

    pub(super) fn push(&mut self, v: Value) {
        match (self, v) {
            (Value::Array(Array::Int(a)), Value::Int(v)) => a.push(v),
            (Value::Array(Array::Real(a)), Value::Real(v)) => a.push(v),
            (Value::Array(Array::Text(a)), Value::Text(v)) => a.push(v.map(without_nul)),
            (Value::Array(Array::Bool(a)), Value::Bool(v)) => a.push(v),
            (array, v) => unreachable!("a column holds one type: {array:?} and {v:?}"),
        }
    }

    pub(super) fn array_type(&self) -> &'static str {
        match self {
            Value::Array(Array::Int(_)) => "bigint[]",
            Value::Array(Array::Real(_)) => "double precision[]",
            Value::Array(Array::Text(_)) => "text[]",
            Value::Array(Array::Bool(_)) => "boolean[]",
            _ => unreachable!("asked of arrays only"),
        }
    }
}

/// Postgres stores no NUL in text and SQLite would: one rule for both, it becomes U+FFFD.
pub(super) fn without_nul(s: String) -> String {
    if s.contains('\0') { s.replace('\0', "\u{FFFD}") } else { s }
}

/// A row type that both engines can fill: tuples, or structs deriving `sqlx::FromRow`.
pub trait Row: for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin {}
impl<T> Row for T where T: for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin {}

macro_rules! value_from {
    ($($t:ty => $variant:ident, $v:ident => $e:expr;)*) => { $(
        impl From<$t> for Value { fn from($v: $t) -> Value { Value::$variant(Some($e)) } }
        impl From<Option<$t>> for Value { fn from(v: Option<$t>) -> Value { Value::$variant(v.map(|$v| $e)) } }
    )* };
}
value_from! {
    i64 => Int, v => v;
    i32 => Int, v => i64::from(v);
    u32 => Int, v => i64::from(v);
    u16 => Int, v => i64::from(v);
    f64 => Real, v => v;
    bool => Bool, v => v;
    String => Text, v => v;
    &String => Text, v => v.clone();
    &str => Text, v => v.to_owned();
}

/// The longest text that a Postgres connection keeps prepared: the plans of the long statements of segments hold megabytes each.
const PREPARED_BYTES_MAX: usize = 8_000;

fn stays_prepared(sql: &str) -> bool {
    sql.len() <= PREPARED_BYTES_MAX
}

fn sqlite_arguments(args: Vec<Value>) -> DbResult<SqliteArguments> {
    let mut out = SqliteArguments::default();
    out.reserve(args.len(), 0);
    for v in args {
        match v {
            Value::Int(v) => out.add(v),
            Value::Real(v) => out.add(v),
            Value::Text(v) => out.add(v.map(without_nul)),
            Value::Bool(v) => out.add(v),
            Value::Array(_) => unreachable!("SQLite has no arrays"),
        }
        .map_err(sqlx::Error::Encode)?;
    }
    Ok(out)
}

pub(super) fn postgres_arguments(args: Vec<Value>) -> DbResult<PgArguments> {
    let mut out = PgArguments::default();
    out.reserve(args.len(), 0);
    for v in args {
        match v {
            Value::Int(v) => out.add(v),
            Value::Real(v) => out.add(v),
            Value::Text(v) => out.add(v.map(without_nul)),
            Value::Bool(v) => out.add(v),
            Value::Array(Array::Int(v)) => out.add(v),
            Value::Array(Array::Real(v)) => out.add(v),
            Value::Array(Array::Text(v)) => out.add(v),
            Value::Array(Array::Bool(v)) => out.add(v),
        }
        .map_err(sqlx::Error::Encode)?;
    }
    Ok(out)
}

/// A statement on its way to an engine; every one of ours passes here.
#[cfg_attr(not(debug_assertions), expect(unused_variables))]
pub(super) fn text(engine: Dialect, sql: &str) -> AssertSqlSafe<&str> {
    #[cfg(debug_assertions)]
    super::record::note(engine, sql);
    AssertSqlSafe(sql)
}

pub(super) async fn execute_sqlite<'c>(
    on: impl Executor<'c, Database = Sqlite>,
    sql: &str,
    args: Vec<Value>,
) -> DbResult<u64> {
    Ok(sqlx::query_with(text(Dialect::Sqlite, sql), sqlite_arguments(args)?).execute(on).await?.rows_affected())
}

pub(super) async fn execute_postgres<'c>(
    on: impl Executor<'c, Database = Postgres>,
    sql: &str,
    args: Vec<Value>,
) -> DbResult<u64> {
    let query = sqlx::query_with(text(Dialect::Postgres, sql), postgres_arguments(args)?);
    Ok(query.persistent(stays_prepared(sql)).execute(on).await?.rows_affected())
}

pub(super) async fn fetch_sqlite<'c, T: Row>(
    on: impl Executor<'c, Database = Sqlite>,
    sql: &str,
    args: Vec<Value>,
) -> DbResult<Vec<T>> {
    Ok(sqlx::query_as_with(text(Dialect::Sqlite, sql), sqlite_arguments(args)?).fetch_all(on).await?)
}

pub(super) async fn fetch_postgres<'c, T: Row>(
    on: impl Executor<'c, Database = Postgres>,
    sql: &str,
    args: Vec<Value>,
) -> DbResult<Vec<T>> {
    let query = sqlx::query_as_with(text(Dialect::Postgres, sql), postgres_arguments(args)?);
    Ok(query.persistent(stays_prepared(sql)).fetch_all(on).await?)
}
