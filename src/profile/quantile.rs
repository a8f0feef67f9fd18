//! The value at a rank among all buyers, without ever sorting them: histograms that narrow down to the value.
//!
//! A window or an OFFSET over all customers would sort them all, and on a distributed engine move them all to one machine. Here
//! each pass returns at most [`BINS`] counts. Columns are whole numbers, so two or three passes reach the exact value.

use std::collections::BTreeMap;

use crate::args;
use crate::db::{Db, DbResult};

/// How many counts one pass asks for.
const BINS: i128 = 1_024;

/// A stretch of values that still holds some of the wanted ranks.
struct Stretch {
    low: i64,
    high: i64,
    /// How many values lie below `low`.
    below: i64,
    ranks: Vec<i64>,
}

/// How many customers have bought, and for each rank (from 0, ascending) that `ranks` asks of so many the value of `column` there.
/// Ranks are clamped to what exists; nothing when nobody has bought. `column` is one of ours, never an author's word.
pub async fn values_at(db: &Db, column: &str, ranks: impl Fn(i64) -> Vec<i64>) -> DbResult<(i64, Vec<i64>)> {
    let sql =
        format!("SELECT COUNT(*), MIN({column}), MAX({column}) FROM profile WHERE orders > 0 AND {column} IS NOT NULL");
    let (n, low, high): (i64, Option<i64>, Option<i64>) = db.fetch_one(&sql, vec![]).await?;
    let (Some(low), Some(high)) = (low, high) else { return Ok((0, Vec::new())) };
    let wanted: Vec<i64> = ranks(n).into_iter().map(|r| r.clamp(0, n - 1)).collect();
    let mut found = BTreeMap::new();
    let mut open = vec![Stretch { low, high, below: 0, ranks: wanted.clone() }];
    while let Some(stretch) = open.pop() {
        if stretch.low == stretch.high {
            found.extend(stretch.ranks.iter().map(|r| (*r, stretch.low)));
            continue;
        }
        open.extend(narrow(db, column, stretch).await?);
    }
    Ok((n, wanted.iter().map(|r| found[r]).collect()))
}

/// The bins of a stretch that hold wanted ranks.
async fn narrow(db: &Db, column: &str, stretch: Stretch) -> DbResult<Vec<Stretch>> {
    let width = (i128::from(stretch.high) - i128::from(stretch.low)) / BINS + 1;
    let width = i64::try_from(width).expect("a 1024th of the range of a whole number");
    let sql = format!(
        "SELECT ({column} - $1) / $2, COUNT(*) FROM profile
         WHERE orders > 0 AND {column} >= $1 AND {column} <= $3 GROUP BY 1 ORDER BY 1"
    );
    let bins: Vec<(i64, i64)> = db.fetch_all(&sql, args![stretch.low, width, stretch.high]).await?;
    let mut out = Vec::new();
    let mut below = stretch.below;
    for (bin, count) in bins {
        let ranks: Vec<i64> = stretch.ranks.iter().copied().filter(|r| (below..below + count).contains(r)).collect();
        if !ranks.is_empty() {
            let low = stretch.low + bin * width;
            let high = low.saturating_add(width - 1).min(stretch.high);
            out.push(Stretch { low, high, below, ranks });
        }
        below += count;
    }
    Ok(out)
}
