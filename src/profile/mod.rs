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
pub mod quantile;
mod refresh;
mod refresh_sql;
mod rfm;
mod roll;

pub use derive::{Deriver, OrderFact, Status, facts_of_orders};
pub use facts::{EVERYONE, Facts, LastViewed, Moment, View, derived_sql, load};
pub use lifecycle::{Stage, lifecycle_of};
pub use refresh::{RefreshTotals, Scope, epoch, is_rating, refresh};
pub use refresh_sql::COUNTED;
pub use rfm::{Cuts, Rfm, frequency_score};

use std::collections::BTreeMap;

use crate::args;
use crate::db::{Binds, Db, DbResult, bucket_ranges};

/// Keep a word of the project itself under a name in table `meta`.
async fn set_meta(db: &Db, name: &str, value: &str) -> DbResult<()> {
    let sql = "INSERT INTO meta (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value";
    db.execute(sql, args![name, value]).await.map(|_| ())
}

/// Buckets whose grid is counted at once.
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
    let mut binds = Binds::after(2);
    let derived = derived_sql(moment, EVERYONE, &mut binds);
    // One number to sort by, and few customers at a time: a third of the cost of all at once by three.
    let sql = format!(
        "SELECT code, COUNT(*) FROM (SELECT 100 * stage + COALESCE(10 * r + f, 0) AS code FROM ({derived}) p) q GROUP BY code"
    );
    let mut values = binds.into_values();
    let mut grid = BTreeMap::new();
    for (first, last) in bucket_ranges(GRID_BUCKETS) {
        (values[0], values[1]) = (first.into(), last.into());
        let rows: Vec<(i64, i64)> = db.fetch_all(&sql, values.clone()).await?;
        for (code, people) in rows {
            let stage = Stage::ALL[usize::try_from(code / 100).expect("a stage's number is small")];
            let cell = code % 100;
            *grid.entry(((cell > 0).then(|| Rfm::of(cell / 10, cell % 10)), stage)).or_insert(0) += people;
        }
    }
    Ok(grid)
}
