//! The values at ranks among many customers, exact.
//!
//! A window or an OFFSET over all customers would sort them in the engine, and on a distributed one move them to one machine. A file is read as it
//! is. On a server a sample of the buckets tells about where each rank lies; one pass over everybody then counts what lies below and returns only the values in
//! that neighbourhood. When a rank was not in it, the neighbourhood grows and the pass is run again, in the end over everything, so the
//! answer is exact whatever the sample said.

use crate::db::{BUCKETS, Db, DbResult, Value, bucket_ranges, each_range};

/// About so many values at most are fetched and counted here.
const FETCHED_MAX: i64 = 50_000;
/// Buckets of the sample: a sixteenth of all customers, by chance, because buckets are hashes.
const SAMPLE_BUCKETS: i64 = BUCKETS / 16;
/// Half the width of a neighbourhood, in standard deviations of a rank in the sample.
const DEVIATIONS: f64 = 4.0;

/// Customers and what is asked of them.
#[derive(Debug, Clone)]
pub struct Population<'a> {
    /// `FROM`'s text with its WHERE, `$1` and `$2` the bucket range: `profile p WHERE p.bucket >= $1 AND …`.
    pub rows: &'a str,
    /// Its values; the first two are the bucket range and set here.
    pub values: Vec<Value>,
    /// A number over the rows; null is left out.
    pub number: &'a str,
}

/// How many values there are, and for each rank (from 0, ascending) that `ranks` asks of so many the value there. Ranks are clamped to
/// what exists; nothing when there is no value.
pub async fn values_at(
    db: &Db,
    population: &Population<'_>,
    ranks: impl Fn(i64) -> Vec<i64>,
) -> DbResult<(i64, Vec<f64>)> {
    match db {
        Db::Sqlite { .. } => values_of_file(db, population, ranks).await,
        Db::Postgres(_) => values_counted(db, population, ranks).await,
    }
}

/// From a file all values are read: a million cost a tenth of a second and 8 MB, less than one counting pass of the engine.
async fn values_of_file(
    db: &Db,
    population: &Population<'_>,
    ranks: impl Fn(i64) -> Vec<i64>,
) -> DbResult<(i64, Vec<f64>)> {
    let sql = format!("SELECT CAST({} AS DOUBLE PRECISION) FROM {}", population.number, population.rows);
    let mut values: Vec<f64> = Vec::new();
    for (first, last) in bucket_ranges(SAMPLE_BUCKETS) {
        db.each_row(&sql, population.of(first, last), |row| {
            values.extend(row.real(0)?);
            Ok(())
        })
        .await?;
    }
    values.sort_unstable_by(f64::total_cmp);
    let n = values.len() as i64;
    if n == 0 {
        return Ok((0, Vec::new()));
    }
    Ok((n, ranks(n).iter().map(|rank| values[(*rank).clamp(0, n - 1) as usize]).collect()))
}

/// On a server only the values near a rank are fetched, and what lies between is counted there.
async fn values_counted(
    db: &Db,
    population: &Population<'_>,
    ranks: impl Fn(i64) -> Vec<i64>,
) -> DbResult<(i64, Vec<f64>)> {
    let sample = population.fetch(db, 0, SAMPLE_BUCKETS - 1).await?;
    let size: i64 = sample.iter().map(|(_, count)| count).sum();
    let about = (size * BUCKETS / SAMPLE_BUCKETS).max(1);
    let known = if about <= FETCHED_MAX { &[][..] } else { &sample };
    let mut width = 2 + (DEVIATIONS * 0.5 * (size as f64).sqrt()) as i64;
    loop {
        let near = |rank: i64| neighbourhood(known, size, rank.clamp(0, about - 1), about, width);
        let found = population.count(db, &merged(ranks(about).into_iter().map(near).collect())).await?;
        let n: i64 = found.iter().map(|(_, count)| count).sum();
        if n == 0 {
            return Ok((0, Vec::new()));
        }
        let values: Option<Vec<f64>> = ranks(n).iter().map(|r| value_at(&found, (*r).clamp(0, n - 1))).collect();
        if let Some(values) = values {
            return Ok((n, values));
        }
        width *= 8;
    }
}

/// The values between which a rank of all `n` lies, as far as a sample tells; everything when the sample ends there.
fn neighbourhood(sample: &[(f64, i64)], size: i64, rank: i64, n: i64, width: i64) -> (f64, f64) {
    let at = (i128::from(rank) * i128::from(size) / i128::from(n)) as i64;
    let value = |rank: i64| {
        let mut below = 0;
        sample.iter().find(|(_, count)| {
            below += count;
            rank < below
        })
    };
    let low = if at < width { None } else { value(at - width) };
    let high = value(at.saturating_add(width));
    (low.map_or(f64::NEG_INFINITY, |v| v.0), high.map_or(f64::INFINITY, |v| v.0))
}

/// Stretches in order, those that touch made one.
fn merged(mut stretches: Vec<(f64, f64)>) -> Vec<(f64, f64)> {
    stretches.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut out: Vec<(f64, f64)> = Vec::new();
    for (low, high) in stretches {
        match out.last_mut() {
            Some(last) if low <= last.1 => last.1 = last.1.max(high),
            _ => out.push((low, high)),
        }
    }
    out
}

/// The value at a rank, when it is among those that were fetched. `None` stands for values outside of every stretch.
fn value_at(found: &[(Option<f64>, i64)], rank: i64) -> Option<f64> {
    let mut below = 0;
    for (value, count) in found {
        below += count;
        if rank < below {
            return *value;
        }
    }
    None
}

impl Population<'_> {
    fn of(&self, first: i64, last: i64) -> Vec<Value> {
        let mut values = self.values.clone();
        values[0] = first.into();
        values[1] = last.into();
        values
    }

    /// Different values of a bucket range with how often each is there, ascending.
    async fn fetch(&self, db: &Db, first: i64, last: i64) -> DbResult<Vec<(f64, i64)>> {
        let (number, rows) = (self.number, self.rows);
        let sql = format!(
            "SELECT v, COUNT(*) FROM (SELECT CAST({number} AS DOUBLE PRECISION) AS v FROM {rows}) n WHERE v IS NOT NULL GROUP BY v"
        );
        let mut values: Vec<(f64, i64)> = db.fetch_all(&sql, self.of(first, last)).await?;
        values.sort_by(|a, b| a.0.total_cmp(&b.0));
        Ok(values)
    }

    /// Everybody's values in order: those inside of a stretch each, the others as one count per gap.
    async fn count(&self, db: &Db, stretches: &[(f64, f64)]) -> DbResult<Vec<(Option<f64>, i64)>> {
        let (number, rows) = (self.number, self.rows);
        let mut values = self.values.clone();
        let mut bind = |value: f64| {
            values.push(value.into());
            format!("${}", values.len())
        };
        // Piece 2n is the gap before stretch n, piece 2n + 1 the stretch.
        let mut pieces = String::new();
        for (n, (low, high)) in stretches.iter().enumerate() {
            if low.is_finite() {
                pieces.push_str(&format!(" WHEN v < {} THEN {}", bind(*low), 2 * n));
            }
            if high.is_finite() {
                pieces.push_str(&format!(" WHEN v <= {} THEN {}", bind(*high), 2 * n + 1));
            } else {
                pieces.push_str(&format!(" WHEN 1 = 1 THEN {}", 2 * n + 1));
            }
        }
        let sql = format!(
            "SELECT CAST(piece AS BIGINT), w, COUNT(*) FROM (SELECT piece, CASE WHEN piece % 2 = 1 THEN v END AS w FROM \
             (SELECT v, CASE{pieces} ELSE {} END AS piece FROM (SELECT CAST({number} AS DOUBLE PRECISION) AS v FROM {rows}) n) p_ \
             WHERE v IS NOT NULL) q_ GROUP BY 1, 2",
            2 * stretches.len()
        );
        // Range by range: many small groupings cost less than a large one.
        let parts = each_range(db, SAMPLE_BUCKETS, |first, last| {
            let mut values = values.clone();
            (values[0], values[1]) = (first.into(), last.into());
            db.fetch_all::<(i64, Option<f64>, i64)>(&sql, values)
        });
        let mut found: Vec<(i64, Option<f64>, i64)> = parts.await?.into_iter().flatten().collect();
        found.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.unwrap_or(0.0).total_cmp(&b.1.unwrap_or(0.0))));
        Ok(found.into_iter().map(|(_, value, count)| (value, count)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::Conflict;

    /// Ranks of skewed values with heavy ties, more than are fetched at once.
    #[tokio::test]
    async fn ranks_of_many_values_are_exact() {
        let dir = tempfile::tempdir().unwrap();
        let db = Db::open(&format!("sqlite:{}", dir.path().join("a.db").display())).await.unwrap();
        let n = FETCHED_MAX + 10_000;
        let value = |i: i64| if i % 3 == 0 { 1.0 } else { ((i * 7_919) % n) as f64 / 2.0 };
        let mut tx = db.begin().await.unwrap();
        for part in (0..n).collect::<Vec<_>>().chunks(5_000) {
            let rows = part.iter().flat_map(|i| {
                let known = if i % 10 == 9 { None } else { Some(value(*i)) };
                let zeros = [0_i64; 4].map(Value::from);
                [Value::from(i % BUCKETS), format!("c{i}").into(), Value::from(known)].into_iter().chain(zeros)
            });
            let columns =
                ["bucket", "customer_id", "usual_gap_days", "orders", "purchase_days", "revenue", "open_tickets"];
            let columns: Vec<&str> = columns.into_iter().chain(["computed_at"]).collect();
            let rows: Vec<Value> =
                rows.collect::<Vec<_>>().chunks(7).flat_map(|r| [r, &[Value::from(0_i64)]].concat()).collect();
            tx.insert_rows("profile", &columns, rows, Conflict::Keep).await.unwrap();
        }
        tx.commit().await.unwrap();
        let mut all: Vec<f64> = (0..n).filter(|i| i % 10 != 9).map(value).collect();
        all.sort_by(f64::total_cmp);
        let rows = "profile p WHERE p.bucket >= $1 AND p.bucket <= $2";
        let values = vec![Value::Int(None), Value::Int(None)];
        let population = Population { rows, values, number: "p.usual_gap_days" };
        let asked = |n: i64| vec![0, 1, n / 10, n / 3, n / 2, n * 9 / 10, n - 2, n - 1, n * 5];
        let read = values_of_file(&db, &population, asked).await.unwrap();
        let counted = values_counted(&db, &population, asked).await.unwrap();
        assert_eq!(counted, read);
        let (count, found) = read;
        assert_eq!(count, all.len() as i64);
        let wanted: Vec<f64> = asked(count).iter().map(|r| all[(*r).min(count - 1) as usize]).collect();
        assert_eq!(found, wanted);
    }

    #[test]
    fn stretches_that_touch_become_one() {
        assert_eq!(merged(vec![(5.0, 9.0), (1.0, 2.0), (2.0, 3.0)]), [(1.0, 3.0), (5.0, 9.0)]);
        assert_eq!(merged(vec![]), []);
    }
}
