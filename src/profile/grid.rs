//! Where everybody stands: how many people have each RFM name and lifecycle stage.
//!
//! Counted in a pass over all profiles and kept with what it was counted at: the local day, the thresholds and the cut points. A refresh of a few
//! customers moves them in what is kept, so that the next look costs what changed.
//!
//! Owns the entry `profile_grid` of table `meta`. A refresh puts its mark there before its first slice and what it came to in place of the
//! mark after its last; whoever finds another's mark leaves it alone. So of two refreshes at once neither counts, and after one that was
//! cut off the next one begins anew.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Cuts, Facts, Moment, Rfm, Stage};
use crate::args;
use crate::db::{Cells, Db, DbError, DbResult, Tx, bucket_ranges};
use crate::token::random_token;

/// People by RFM name and stage; leads have no name.
pub type Grid = BTreeMap<(Option<Rfm>, Stage), i64>;

const META_GRID: &str = "profile_grid";
/// Buckets whose profiles are read in one statement.
const BUCKETS_PER_LOOK: i64 = 64;
/// The columns of a profile `p` that a place in the grid hangs on.
const PLACED_BY: &str = "p.orders, p.purchase_days, p.revenue, p.first_order_day, p.last_order_day, p.last_gap_days, p.usual_gap_days, \
                         p.earlier_gap_days, p.gap_scatter, p.earlier_gap_scatter";

/// What stands in the entry.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Entry {
    /// A refresh is at work.
    At(String),
    Kept(Kept),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Kept {
    counted_at: CountedAt,
    people: Vec<(Option<Rfm>, Stage, i64)>,
}

/// What places hang on beside the profile.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct CountedAt {
    today: i64,
    lifecycle: String,
    cuts: Option<Cuts>,
}

impl CountedAt {
    fn of(moment: &Moment) -> CountedAt {
        CountedAt { today: moment.today, lifecycle: format!("{:?}", moment.lifecycle), cuts: moment.cuts.clone() }
    }
}

/// How many people stand where at a moment.
pub async fn grid(db: &Db, moment: &Moment) -> DbResult<Grid> {
    let before = entry(db).await?;
    let counted_at = CountedAt::of(moment);
    if let Some((_, Some(Entry::Kept(kept)))) = &before
        && kept.counted_at == counted_at
    {
        return Ok(kept.people.iter().map(|(rfm, stage, n)| ((*rfm, *stage), *n)).collect());
    }
    let mut grid = Grid::new();
    let sql = format!("SELECT {PLACED_BY} FROM profile p WHERE p.bucket >= $1 AND p.bucket <= $2");
    for (first, last) in bucket_ranges(BUCKETS_PER_LOOK) {
        db.each_row(&sql, args![first, last], |row| {
            *grid.entry(place(row, moment)?).or_insert(0) += 1;
            Ok(())
        })
        .await?;
    }
    let text = text_of(counted_at, &grid);
    match before {
        Some((_, Some(Entry::At(_)))) => {}
        Some((found, _)) => replace(db, &found, &text).await?,
        None => {
            let sql = "INSERT INTO meta (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING";
            db.execute(sql, args![META_GRID, text]).await?;
        }
    }
    Ok(grid)
}

/// People whom a refresh moves within the grid.
pub(super) struct Moves {
    mark: String,
    /// What is kept, if it was counted at the refresh's moment.
    base: Option<(Moment, Grid)>,
}

/// The people a slice moved: fewer here, more there.
pub(super) type Moved = Grid;

impl Moves {
    /// Before the first slice of a few is written.
    pub async fn begin(db: &Db, moment: Moment) -> DbResult<Moves> {
        let base = match entry(db).await? {
            Some((_, Some(Entry::Kept(kept)))) if kept.counted_at == CountedAt::of(&moment) => {
                Some((moment, kept.people.into_iter().map(|(rfm, stage, n)| ((rfm, stage), n)).collect()))
            }
            _ => None,
        };
        Moves::upon(db, base).await
    }

    /// Before everybody is: there is nothing to move them in.
    pub async fn of_everyone(db: &Db) -> DbResult<Moves> {
        Moves::upon(db, None).await
    }

    async fn upon(db: &Db, base: Option<(Moment, Grid)>) -> DbResult<Moves> {
        let mark = serde_json::to_string(&Entry::At(random_token())).expect("a text serialises");
        super::set_meta(db, META_GRID, &mark).await?;
        Ok(Moves { mark, base })
    }

    /// Take the customers of a slice who are due away from where they stood.
    pub async fn leave(&self, tx: &mut Tx, (first, last): (i64, i64), moved: &mut Moved) -> DbResult<()> {
        let Some((moment, _)) = &self.base else { return Ok(()) };
        let sql = format!(
            "SELECT {PLACED_BY} FROM profile_due d CROSS JOIN profile p WHERE d.bucket >= $1 AND d.bucket <= $2
             AND p.bucket >= $1 AND p.bucket <= $2 AND p.bucket = d.bucket AND p.customer_id = d.customer_id"
        );
        tx.each_row(&sql, args![first, last], |row| {
            *moved.entry(place(row, moment)?).or_insert(0) -= 1;
            Ok(())
        })
        .await
    }

    /// Put somebody where they stand now.
    pub fn enter(&self, facts: &Facts, moved: &mut Moved) {
        if let Some((moment, _)) = &self.base {
            *moved.entry((facts.rfm(moment), facts.stage(moment))).or_insert(0) += 1;
        }
    }

    /// A slice is written.
    pub fn add(&mut self, moved: Moved) {
        let Some((_, grid)) = &mut self.base else { return };
        for (at, n) in moved {
            *grid.entry(at).or_insert(0) += n;
        }
    }

    /// All slices are written. What was kept stands if the cut points did not move.
    pub async fn end(self, db: &Db) -> DbResult<()> {
        let cuts = Cuts::load(db).await?;
        match self.base {
            Some((moment, grid)) if moment.cuts == cuts => {
                replace(db, &self.mark, &text_of(CountedAt::of(&moment), &grid)).await
            }
            _ => {
                let sql = "DELETE FROM meta WHERE name = $1 AND value = $2";
                db.execute(sql, args![META_GRID, &self.mark]).await.map(|_| ())
            }
        }
    }
}

/// What stands there, as text and as far as it can be read.
async fn entry(db: &Db) -> DbResult<Option<(String, Option<Entry>)>> {
    let row: Option<(String,)> = db.fetch_optional("SELECT value FROM meta WHERE name = $1", args![META_GRID]).await?;
    Ok(row.map(|(text,)| {
        let entry = serde_json::from_str(&text).ok();
        (text, entry)
    }))
}

/// Put a text in place of the one that was found, unless another has come.
async fn replace(db: &Db, found: &str, text: &str) -> DbResult<()> {
    let sql = "UPDATE meta SET value = $1 WHERE name = $2 AND value = $3";
    db.execute(sql, args![text, META_GRID, found]).await.map(|_| ())
}

fn text_of(counted_at: CountedAt, grid: &Grid) -> String {
    let people = grid.iter().filter(|(_, n)| **n != 0).map(|((rfm, stage), n)| (*rfm, *stage, *n)).collect();
    serde_json::to_string(&Entry::Kept(Kept { counted_at, people })).expect("names and numbers serialise")
}

/// Where a row of [`PLACED_BY`] stands.
fn place(row: Cells<'_>, moment: &Moment) -> DbResult<(Option<Rfm>, Stage)> {
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
    Ok((facts.rfm(moment), facts.stage(moment)))
}
