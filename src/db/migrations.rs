//! Brings the schema up to date: numbered texts, embedded, run in order and remembered by checksum (sqlx's migrator keeps the list).
//!
//! A text that has been released is never edited; a change is a new file.

use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::{AssertSqlSafe, SqlSafeStr};

use super::{Db, DbResult};

const TEXTS: &[(i64, &str, &str)] = &[(1, "foundation", include_str!("migrations/0001_foundation.sql"))];

pub(super) async fn run(db: &Db) -> DbResult<()> {
    let dialect = db.dialect();
    let list = TEXTS
        .iter()
        .map(|(version, name, text)| {
            let sql = AssertSqlSafe(dialect.ddl(text)).into_sql_str();
            Migration::new(*version, (*name).into(), MigrationType::Simple, sql, false)
        })
        .collect();
    let migrator = Migrator::with_migrations(list);
    match db {
        Db::Sqlite { write, .. } => migrator.run(write).await?,
        Db::Postgres(pool) => migrator.run(pool).await?,
    }
    Ok(())
}
