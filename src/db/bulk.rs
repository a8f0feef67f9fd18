//! Bulk inserts and keyed statements. SQLite runs one prepared insert for row after row ([`passing`]) and takes keys, and rows that return
//! something, as VALUES of many rows; Postgres takes one array per column through UNNEST.

use super::{Db, DbResult, Dialect, Row, Tx, Value, passing};

/// SQLite's limit on bound values in a statement is 32,766; half of it keeps statements of one shape in the cache.
const SQLITE_BINDS_MAX: usize = 16_000;
/// So few rows go in one statement, as sqlx runs it and remembers it.
const SQLITE_FEW_ROWS: usize = 16;
/// Rows in one SQLite statement.
const SQLITE_ROWS_MAX: usize = 500;
/// Rows in one Postgres statement.
const POSTGRES_ROWS_MAX: usize = 10_000;

/// Keys in one SQLite statement.
const SQLITE_KEYS_MAX: usize = 1_000;

/// What an insert does when the key is taken.
#[derive(Debug, Clone, Copy)]
pub enum Conflict<'a> {
    /// Keep the row that is there.
    Keep,
    /// Replace the columns that are not part of `key`, but only when one of them differs: an unchanged row is not written.
    Update { key: &'a [&'a str] },
    /// Leave stored rows as they are, and locked: whoever takes one out waits until this transaction has ended.
    KeepLocked { key: &'a [&'a str] },
    /// Replace them when `when` holds: an SQL condition over the stored row (by the table's name) and the new one (`excluded`).
    UpdateWhen { key: &'a [&'a str], when: &'a str },
}

impl Tx {
    /// Insert `rows` (row-major, `columns.len()` values each) into `table`; the number of rows inserted or changed.
    ///
    /// With [`Conflict::Update`] no two rows of one call may share a key.
    pub async fn insert_rows(
        &mut self,
        table: &str,
        columns: &[&str],
        rows: Vec<Value>,
        conflict: Conflict<'_>,
    ) -> DbResult<u64> {
        if rows.is_empty() {
            return Ok(0);
        }
        let (width, tail) = (columns.len(), conflict_clause(table, columns, conflict));
        if let Tx::Sqlite(tx) = self
            && rows.len() > SQLITE_FEW_ROWS * width
        {
            let places = vec!["?"; width].join(",");
            let sql = format!("INSERT INTO {table} ({}) VALUES ({places}) {tail}", columns.join(", "));
            return passing::insert_into_sqlite(tx, &sql, width, rows).await;
        }
        let mut changed = 0;
        for part in self.parts(width, rows) {
            let (sql, args) = self.insert_statement(table, columns, part, &tail);
            changed += self.execute(&sql, args).await?;
        }
        Ok(changed)
    }

    /// Like [`Tx::insert_rows`]; returns `returning` of the rows inserted or changed.
    pub async fn insert_rows_returning<T: Row>(
        &mut self,
        table: &str,
        columns: &[&str],
        rows: Vec<Value>,
        conflict: Conflict<'_>,
        returning: &str,
    ) -> DbResult<Vec<T>> {
        let tail = format!("{} RETURNING {returning}", conflict_clause(table, columns, conflict));
        let mut out = Vec::new();
        for part in self.parts(columns.len(), rows) {
            let (sql, args) = self.insert_statement(table, columns, part, &tail);
            out.extend(self.fetch_all(&sql, args).await?);
        }
        Ok(out)
    }

    /// All rows of `tail`, a statement that reads the keys as the table `k (names…)`; `keys` is row-major like the rows of an insert.
    ///
    /// Begin the FROM with `k CROSS JOIN table`: SQLite then looks each key up instead of scanning the table.
    pub async fn fetch_keyed<T: Row>(&mut self, names: &[&str], keys: Vec<Value>, tail: &str) -> DbResult<Vec<T>> {
        let mut out = Vec::new();
        for (sql, args) in keyed_statements(self.dialect(), names, keys, tail) {
            out.extend(self.fetch_all(&sql, args).await?);
        }
        Ok(out)
    }

    /// Run `tail`, which reads the keys as the table `k (names…)`; the number of rows it changed.
    pub async fn execute_keyed(&mut self, names: &[&str], keys: Vec<Value>, tail: &str) -> DbResult<u64> {
        let mut changed = 0;
        for (sql, args) in keyed_statements(self.dialect(), names, keys, tail) {
            changed += self.execute(&sql, args).await?;
        }
        Ok(changed)
    }

    /// Like [`Tx::fetch_keyed`], in one statement for as many keys as one takes. For keys that are few and come again and again: on SQLite they are
    /// filled up to a power of two with keys that are null and match nothing, so that few statement texts exist.
    pub async fn fetch_few<T: Row>(&mut self, names: &[&str], keys: Vec<Value>, tail: &str) -> DbResult<Vec<T>> {
        let (sql, args) = few_statement(self.dialect(), names, keys, tail);
        self.fetch_all(&sql, args).await
    }

    /// [`Tx::fetch_few`] for a `tail` that returns no rows; the number of rows it changed.
    pub async fn execute_few(&mut self, names: &[&str], keys: Vec<Value>, tail: &str) -> DbResult<u64> {
        let (sql, args) = few_statement(self.dialect(), names, keys, tail);
        self.execute(&sql, args).await
    }

    fn parts(&self, width: usize, rows: Vec<Value>) -> Vec<Vec<Value>> {
        let most = match self {
            Tx::Sqlite(_) => SQLITE_ROWS_MAX.min(SQLITE_BINDS_MAX / width),
            Tx::Postgres(_) => POSTGRES_ROWS_MAX,
        };
        parts(self.dialect(), most, width, rows)
    }

    fn insert_statement(&self, table: &str, columns: &[&str], part: Vec<Value>, tail: &str) -> (String, Vec<Value>) {
        let width = columns.len();
        let names = columns.join(", ");
        match self {
            Tx::Sqlite(_) => {
                let mut sql = String::with_capacity(64 + part.len() * 3);
                sql.push_str(&format!("INSERT INTO {table} ({names}) VALUES "));
                // Plain `?` binds by position; it is the shortest text to parse.
                let row = format!("({})", vec!["?"; width].join(","));
                for i in 0..part.len() / width {
                    if i > 0 {
                        sql.push(',');
                    }
                    sql.push_str(&row);
                }
                sql.push(' ');
                sql.push_str(tail);
                (sql, part)
            }
            Tx::Postgres(_) => {
                let arrays = columns_of(part, width);
                let sql = format!(
                    "INSERT INTO {table} ({names}) SELECT * FROM UNNEST({}) WHERE true {tail}",
                    unnested(&arrays)
                );
                (sql, arrays)
            }
        }
    }
}

impl Db {
    /// [`Tx::fetch_keyed`] outside a transaction.
    pub async fn fetch_keyed<T: Row>(&self, names: &[&str], keys: Vec<Value>, tail: &str) -> DbResult<Vec<T>> {
        let mut out = Vec::new();
        for (sql, args) in keyed_statements(self.dialect(), names, keys, tail) {
            out.extend(self.fetch_all(&sql, args).await?);
        }
        Ok(out)
    }
}

/// Rows in parts of `most`. On SQLite the rest comes in powers of two, so that few statement texts exist: each text stays prepared, and a
/// prepared insert of hundreds of rows holds hundreds of kilobytes.
fn parts(dialect: Dialect, most: usize, width: usize, rows: Vec<Value>) -> Vec<Vec<Value>> {
    debug_assert_eq!(rows.len() % width, 0, "rows are row-major");
    let mut left = rows.len() / width;
    let mut parts = Vec::with_capacity(left / most + 8);
    let mut rows = rows.into_iter();
    while left > 0 {
        let size = match dialect {
            _ if left >= most => most,
            Dialect::Sqlite => 1 << left.ilog2(),
            Dialect::Postgres => left, // arrays: one text for any number
        };
        parts.push(rows.by_ref().take(size * width).collect());
        left -= size;
    }
    parts
}

/// A list made as long as the next power of two by repeating its last member: an IN list means the same, and few statement texts exist.
pub fn padded<T: Clone>(list: &[T]) -> Vec<T> {
    let mut out = list.to_vec();
    if let Some(last) = list.last() {
        out.resize(list.len().next_power_of_two(), last.clone());
    }
    out
}

fn few_statement(dialect: Dialect, names: &[&str], mut keys: Vec<Value>, tail: &str) -> (String, Vec<Value>) {
    let width = names.len();
    debug_assert!(!keys.is_empty() && keys.len() <= width * SQLITE_KEYS_MAX, "few keys, and some");
    if dialect == Dialect::Sqlite {
        let padded = (keys.len() / width).next_power_of_two() * width;
        let nothing: Vec<Value> = keys[..width].iter().map(Value::null).collect();
        keys.extend(nothing.iter().cycle().take(padded - keys.len()).cloned());
    }
    keyed_statements(dialect, names, keys, tail).remove(0)
}

/// `WITH k (names) AS (the keys) tail`, as often as the engine's limits ask for.
fn keyed_statements(dialect: Dialect, names: &[&str], keys: Vec<Value>, tail: &str) -> Vec<(String, Vec<Value>)> {
    let width = names.len();
    let head = format!("WITH k ({}) AS", names.join(", "));
    match dialect {
        Dialect::Sqlite => {
            let row = format!("({})", vec!["?"; width].join(","));
            parts(dialect, SQLITE_KEYS_MAX, width, keys)
                .into_iter()
                .map(|part| (format!("{head} (VALUES {}) {tail}", vec![&*row; part.len() / width].join(",")), part))
                .collect()
        }
        Dialect::Postgres => parts(dialect, POSTGRES_ROWS_MAX, width, keys)
            .into_iter()
            .map(|part| {
                let arrays = columns_of(part, width);
                (format!("{head} (SELECT * FROM UNNEST({})) {tail}", unnested(&arrays)), arrays)
            })
            .collect(),
    }
}

/// `$1::bigint[], $2::text[]` for these columns.
fn unnested(arrays: &[Value]) -> String {
    arrays.iter().enumerate().map(|(i, a)| format!("${}::{}", i + 1, a.array_type())).collect::<Vec<_>>().join(", ")
}

fn conflict_clause(table: &str, columns: &[&str], conflict: Conflict<'_>) -> String {
    let rest = |key: &[&str]| -> Vec<&str> { columns.iter().copied().filter(|c| !key.contains(c)).collect() };
    let replace = |key: &[&str], when: &str| {
        let set: Vec<String> = rest(key).iter().map(|c| format!("{c} = excluded.{c}")).collect();
        format!("ON CONFLICT ({}) DO UPDATE SET {} WHERE {when}", key.join(", "), set.join(", "))
    };
    match conflict {
        Conflict::Keep => "ON CONFLICT DO NOTHING".to_owned(),
        Conflict::Update { key } => {
            let differs: Vec<String> =
                rest(key).iter().map(|c| format!("{table}.{c} IS DISTINCT FROM excluded.{c}")).collect();
            replace(key, &differs.join(" OR "))
        }
        Conflict::KeepLocked { key } => {
            let same = key.last().expect("a key has a column");
            format!("ON CONFLICT ({}) DO UPDATE SET {same} = excluded.{same} WHERE false", key.join(", "))
        }
        Conflict::UpdateWhen { key, when } => replace(key, when),
    }
}

/// Row-major values to one array value per column.
fn columns_of(part: Vec<Value>, width: usize) -> Vec<Value> {
    let mut arrays: Vec<Value> = part[..width].iter().map(Value::empty_array).collect();
    for (i, v) in part.into_iter().enumerate() {
        arrays[i % width].push(v);
    }
    arrays
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_keys_have_few_texts() {
        let keys = |n: i64| (0..n).flat_map(|i| [Value::from(i), Value::from("x")]).collect::<Vec<_>>();
        let (sql, args) = few_statement(Dialect::Sqlite, &["a", "b"], keys(3), "SELECT a FROM k");
        assert_eq!(sql, "WITH k (a, b) AS (VALUES (?,?),(?,?),(?,?),(?,?)) SELECT a FROM k");
        assert_eq!(args[..6], keys(3));
        assert_eq!(args[6..], [Value::Int(None), Value::Text(None)]);
        let (sql, args) = few_statement(Dialect::Postgres, &["a", "b"], keys(3), "SELECT a FROM k");
        assert_eq!(sql, "WITH k (a, b) AS (SELECT * FROM UNNEST($1::bigint[], $2::text[])) SELECT a FROM k");
        assert_eq!(args.len(), 2);
    }

    #[test]
    fn rows_are_cut_into_few_sizes_and_none_is_lost() {
        let mut sizes = std::collections::BTreeSet::new();
        for n in 0..1_600_i64 {
            let rows: Vec<Value> = (0..n).flat_map(|i| [Value::from(i), Value::from(-i)]).collect();
            let cut = parts(Dialect::Sqlite, 500, 2, rows.clone());
            sizes.extend(cut.iter().map(|p| p.len() / 2));
            assert_eq!(cut.concat(), rows);
        }
        assert_eq!(sizes.len(), 10, "{sizes:?}");
        assert_eq!(parts(Dialect::Postgres, 500, 1, vec![Value::from(1_i64); 730]).len(), 2);
        assert_eq!(padded(&[1, 2, 3]), [1, 2, 3, 3]);
        assert!(padded::<i64>(&[]).is_empty());
    }
}
