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
pub use lifecycle::{Stage, lifecycle_of};
pub use refresh::{RefreshTotals, Scope, epoch, is_rating, refresh};
pub use refresh_sql::COUNTED;
pub use rfm::{Cuts, Rfm, frequency_score};

use std::collections::BTreeMap;

use crate::args;
use crate::db::{Db, DbError, DbResult, bucket_ranges};

/// Keep a word of the project itself under a name in table `meta`.
async fn set_meta(db: &Db, name: &str, value: &str) -> DbResult<()> {
    let sql = "INSERT INTO meta (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value";
    db.execute(sql, args![name, value]).await.map(|_| ())
}

/// Buckets whose profiles are read in one statement for the grid.
const GRID_BUCKETS: i64 = 64;
/// The entry of table `meta` that counts changed profiles.
const META_CHANGES: &str = "profile_changes";

/// How many profiles have changed or gone, ever: what hangs on many of them can tell how old it is.
pub async fn changes(db: &Db) -> DbResult<i64> {
    meta_number(db, META_CHANGES).await
}

/// Count that numbers of so many customers changed: of their profiles, or what models predict of them.
pub async fn count_changes(db: &Db, customers: u64) -> DbResult<()> {
    let changes = changes(db).await? + i64::try_from(customers).unwrap_or(i64::MAX);
    set_meta(db, META_CHANGES, &changes.to_string()).await
}

/// A number kept in table `meta`; 0 before it was first set.
async fn meta_number(db: &Db, name: &str) -> DbResult<i64> {
    let row: Option<(String,)> = db.fetch_optional("SELECT value FROM meta WHERE name = $1", args![name]).await?;
    Ok(row.and_then(|(n,)| n.parse().ok()).unwrap_or(0))
}

/// How many customers stand in each RFM cell name and lifecycle stage at a moment; leads have no name.
pub async fn grid(db: &Db, moment: &Moment) -> DbResult<BTreeMap<(Option<Rfm>, Stage), i64>> {
    let sql = "SELECT p.orders, p.purchase_days, p.revenue, p.first_order_day, p.last_order_day, p.last_gap_days,
                      p.usual_gap_days, p.earlier_gap_days, p.gap_scatter, p.earlier_gap_scatter
               FROM profile p WHERE p.bucket >= $1 AND p.bucket <= $2";
    let mut grid = BTreeMap::new();
    for (first, last) in bucket_ranges(GRID_BUCKETS) {
        db.each_row(sql, args![first, last], |row| {
            let whole = |n: usize| Ok::<_, DbError>(row.int(n)?.unwrap_or_default());
            let facts = Facts {
                orders: whole(0)?,
                purchase_days: whole(1)?,
                revenue: whole(2)?,
                first_order_day: row.int(3)?,
                last_order_day: row.int(4)?,
                last_gap_days: row.int(5)?,
                usual_gap_days: row.real(6)?,
                earlier_gap_days: row.real(7)?,
                gap_scatter: row.int(8)?,
                earlier_gap_scatter: row.int(9)?,
                ..Facts::default()
            };
            *grid.entry((facts.rfm(moment), facts.stage(moment))).or_insert(0) += 1;
            Ok(())
        })
        .await?;
    }
    Ok(grid)
}
