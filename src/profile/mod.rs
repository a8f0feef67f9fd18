//! The numbers we derive per customer: facts that do not move with the clock, and the expressions that do.
//!
//! Table `profile` is written here and nowhere else ([`refresh`]). It stores what only changes when data changes; days since, lifecycle and
//! R·F·M are computed where they are asked for, in Rust ([`View`]) and in SQL ([`derived_sql`]), and the two agree. So a refresh costs what
//! changed, and always equals a full rebuild: `docs/decisions/0002-profile-stores-facts.md`, which also says what counts as an order.
//!
//! Units: money in minor units, instants in epoch milliseconds, days as local day numbers ([`day`]). Read on: [`refresh`], then [`fields`].

pub mod day;
mod derive;
mod facts;
pub mod fields;
mod gather;
mod grid;
pub mod history;
mod lifecycle;
pub mod loyalty;
pub mod quantile;
mod refresh;
mod refresh_sql;
mod rfm;
mod rhythm;
mod roll;

pub use derive::{Deriver, OrderFact, Status, facts_of_orders};
pub use facts::{EVERYONE, Facts, LastViewed, Moment, View, derived_sql, load};
pub use grid::{Grid, grid};
pub use lifecycle::{Stage, lifecycle_of};
pub use refresh::{RefreshTotals, Scope, epoch, is_rating, refresh, stale};
pub use refresh_sql::COUNTED;
pub use rfm::{Cuts, Rfm, frequency_score};

use crate::args;
use crate::db::{Db, DbResult};

/// Keep a word of the project itself under a name in table `meta`.
async fn set_meta(db: &Db, name: &str, value: &str) -> DbResult<()> {
    let sql = "INSERT INTO meta (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value";
    db.execute(sql, args![name, value]).await.map(|_| ())
}

/// The entries of table `meta` that count changed profiles, and customers of whom models predicted something else.
const META_CHANGES: &str = "profile_changes";
const META_RESCORED: &str = "score_changes";

/// Lines drawn through everybody, percentiles and RFM's cut points, stay for the local day unless one in so many profiles changed.
pub const REDRAWN_AFTER: i64 = 20;

/// How many profiles have changed or gone, ever: what hangs on many of them can tell how old it is.
async fn changes(db: &Db) -> DbResult<i64> {
    meta_number(db, META_CHANGES).await
}

/// The same with the scores.
pub async fn changes_with_scores(db: &Db) -> DbResult<i64> {
    Ok(changes(db).await? + meta_number(db, META_RESCORED).await?)
}

/// Count that the profiles of so many customers changed.
async fn count_changes(db: &Db, customers: u64) -> DbResult<()> {
    count_on(db, META_CHANGES, customers).await
}

/// Count that what models predict of so many customers changed.
pub async fn count_rescored(db: &Db, customers: u64) -> DbResult<()> {
    count_on(db, META_RESCORED, customers).await
}

async fn count_on(db: &Db, name: &str, customers: u64) -> DbResult<()> {
    let number = meta_number(db, name).await? + i64::try_from(customers).unwrap_or(i64::MAX);
    set_meta(db, name, &number.to_string()).await
}

/// A number kept in table `meta`; 0 before it was first set.
async fn meta_number(db: &Db, name: &str) -> DbResult<i64> {
    let row: Option<(String,)> = db.fetch_optional("SELECT value FROM meta WHERE name = $1", args![name]).await?;
    Ok(row.and_then(|(n,)| n.parse().ok()).unwrap_or(0))
}
