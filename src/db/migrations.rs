//! Brings the schema up to date: numbered texts, embedded, run in order and remembered by checksum (sqlx's migrator keeps the list).
//!
//! A text that has been released is never edited; a change is a new file.

use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
use sqlx::{AssertSqlSafe, SqlSafeStr};

use super::{Db, DbError, DbResult, is_denied};

const TEXTS: &[(i64, &str, &str)] = &[
    (1, "foundation", include_str!("migrations/0001_foundation.sql")),
    (2, "segments", include_str!("migrations/0002_segments.sql")),
    (3, "models", include_str!("migrations/0003_models.sql")),
    (4, "recommendations", include_str!("migrations/0004_recommendations.sql")),
    (5, "scorers", include_str!("migrations/0005_scorers.sql")),
    (6, "operators", include_str!("migrations/0006_operators.sql")),
    (7, "pacing", include_str!("migrations/0007_pacing.sql")),
    (8, "evidence", include_str!("migrations/0008_evidence.sql")),
    (10, "relays", include_str!("migrations/0010_relays.sql")),
    (12, "schedules", include_str!("migrations/0012_schedules.sql")),
    (13, "steps", include_str!("migrations/0013_steps.sql")),
    (14, "relay_of_messages", include_str!("migrations/0014_relay_of_messages.sql")),
    (15, "rewards", include_str!("migrations/0015_rewards.sql")),
    (16, "loyalty", include_str!("migrations/0016_loyalty.sql")),
    (20, "rhythm", include_str!("migrations/0020_rhythm.sql")),
    (21, "baskets", include_str!("migrations/0021_baskets.sql")),
];

pub(super) async fn run(db: &Db) -> DbResult<()> {
    let dialect = db.dialect();
    let list: Vec<Migration> = TEXTS
        .iter()
        .map(|(version, name, text)| {
            let sql = AssertSqlSafe(dialect.ddl(text)).into_sql_str();
            Migration::new(*version, (*name).into(), MigrationType::Simple, sql, false)
        })
        .collect();
    if is_current(db, &list).await {
        return Ok(());
    }
    let migrator = Migrator::with_migrations(list);
    let ended = match db {
        Db::Sqlite { write, .. } => {
            // sqlx takes an advisory lock on Postgres and none here: without the write lock, two processes that open a new file at once
            // both begin at the first text.
            let mut tx = write.begin_with("BEGIN IMMEDIATE").await?;
            migrator.run(&mut *tx).await?;
            tx.commit().await?;
            return Ok(());
        }
        Db::Postgres(pool) => migrator.run(pool).await,
    };
    ended.map_err(|e| match &e {
        MigrateError::Execute(denied) | MigrateError::ExecuteMigration(denied, _) if is_denied(denied) => {
            DbError::SchemaOfAnother(denied.to_string())
        }
        _ => DbError::Migrate(e),
    })
}

/// Whether every text was run as it is here, and no other; then opening needs no lock and changes nothing, so that a login that may only read
/// is enough. What stands in the way of the answer is found again by the migrator, and told.
async fn is_current(db: &Db, ours: &[Migration]) -> bool {
    let sql = "SELECT version, checksum FROM _sqlx_migrations WHERE success ORDER BY version";
    let run: Result<Vec<(i64, Vec<u8>)>, _> = match db {
        Db::Sqlite { write, .. } => sqlx::query_as(sql).fetch_all(write).await,
        Db::Postgres(pool) => sqlx::query_as(sql).fetch_all(pool).await,
    };
    let same = |(run, ours): (&(i64, Vec<u8>), &Migration)| run.0 == ours.version && run.1 == *ours.checksum;
    run.is_ok_and(|run| run.len() == ours.len() && run.iter().zip(ours).all(same)) // no list yet: a new database
}
