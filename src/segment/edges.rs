//! What moves people in and out of segments within a day, beside changes of their data: edges of windows that are no whole days, lines that
//! percentiles and RFM cut points draw, and messages on their way. [`collect`] puts everybody it may concern into segment_due; a
//! few too many do no harm.

use serde::{Deserialize, Serialize};

use super::resolve::Resolved;
use super::rule::{FunnelStep, Leaf, Source, What, Window};
use crate::args;
use crate::clock::Millis;
use crate::db::{BUCKETS, Binds, Db, DbResult, each_range};
use crate::profile::{Cuts, EVERYONE, derived_sql};
use crate::yaml::Span;

/// Buckets that are looked through at once: halves, since each look may read the whole table of profiles.
const BUCKETS_PER_LOOK: i64 = BUCKETS / 2;

/// What members were decided with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Lines {
    /// How often everybody's profile had been computed.
    pub epoch: i64,
    cuts: Option<Cuts>,
    /// Field's SQL, side, percent, value.
    percentiles: Vec<(String, String, f64, Option<f64>)>,
}

impl Lines {
    /// Those of an evaluation.
    pub fn of(resolved: &Resolved, epoch: i64) -> Lines {
        let percentiles = resolved.thresholds().iter();
        Lines {
            epoch,
            cuts: resolved.moment.cuts.clone(),
            percentiles: percentiles
                .map(|t| (t.field.sql.to_owned(), format!("{:?}", t.side), t.percent, t.value))
                .collect(),
        }
    }

    /// Those kept under a name.
    pub async fn load(db: &Db, name: &str) -> DbResult<Option<Lines>> {
        let row: Option<(String,)> = db.fetch_optional("SELECT value FROM meta WHERE name = $1", args![name]).await?;
        Ok(row.and_then(|(text,)| serde_json::from_str(&text).ok()))
    }

    pub fn to_text(&self) -> String {
        serde_json::to_string(self).expect("numbers serialise")
    }

    /// Whether the way from these lines to later ones can be followed: nothing appeared out of nothing.
    pub fn comparable(&self, later: &Lines) -> bool {
        self.cuts.is_some() == later.cuts.is_some()
            && later.percentiles.iter().all(|new| self.value_of(new).is_none_or(|old| old.is_some() == new.3.is_some()))
    }

    /// The value of the same percentile here; `None` when it was not asked for, so that no kept rule hangs on it.
    fn value_of(&self, like: &(String, String, f64, Option<f64>)) -> Option<Option<f64>> {
        let same = self.percentiles.iter().find(|p| p.0 == like.0 && p.1 == like.1 && p.2 == like.2);
        same.map(|p| p.3)
    }
}

/// Put everybody into segment_due for whom a line or an edge moved between `then` and the evaluation's instant.
pub(super) async fn collect(
    db: &Db,
    resolved: &Resolved,
    names: &[&str],
    before: &Lines,
    after: &Lines,
    then: Millis,
) -> DbResult<()> {
    let leaves = leaves(resolved, names);
    let now = resolved.moment.as_of;
    let mut moved = Moved { then, now, binds: Binds::after(2), conditions: Vec::new(), distances: Default::default() };
    for leaf in &leaves {
        moved.leaf(leaf);
    }
    moved.rows();
    moved.lines(before, after);
    moved.conditions.sort_unstable();
    moved.conditions.dedup();
    if !moved.conditions.is_empty() {
        let conditions = moved.conditions.join(" OR ");
        let beside = |alias: &str, join: &'static str| if mentions(&conditions, alias) { join } else { "" };
        let customers = beside(
            "c",
            " JOIN customer c ON c.bucket = p.bucket AND c.customer_id = p.customer_id AND c.bucket >= $1 AND c.bucket <= $2",
        );
        let scores = beside("sc", " LEFT JOIN score sc ON sc.bucket = p.bucket AND sc.customer_id = p.customer_id");
        let derived = derived_sql(&resolved.moment, EVERYONE, &mut moved.binds);
        let sql = format!(
            "INSERT INTO segment_due (bucket, customer_id) SELECT p.bucket, p.customer_id FROM ({derived}) p{customers}{scores}
             WHERE {conditions} ON CONFLICT (bucket, customer_id) DO NOTHING"
        );
        let values = moved.binds.into_values();
        each_range(db, BUCKETS_PER_LOOK, |first, last| {
            let mut values = values.clone();
            (values[0], values[1]) = (first.into(), last.into());
            db.execute(&sql, values)
        })
        .await?;
    }
    consents(db, &leaves, then, now).await?;
    messages(db, &leaves, then).await?;
    clicks(db, &leaves, then).await
}

/// Whether SQL reads a column of the table with this alias.
fn mentions(sql: &str, alias: &str) -> bool {
    let begins = |at: usize| !sql[..at].ends_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
    sql.match_indices(&format!("{alias}.")).any(|(at, _)| begins(at))
}

/// The leaves of rules with all they refer to.
fn leaves<'r>(resolved: &'r Resolved, names: &[&'r str]) -> Vec<&'r Leaf> {
    let mut out = Vec::new();
    let mut open: Vec<&str> = names.to_vec();
    let mut seen: Vec<&str> = Vec::new();
    while let Some(name) = open.pop() {
        if seen.contains(&name) {
            continue;
        }
        seen.push(name);
        let rule = resolved.rule(name);
        out.extend(rule.leaves());
        open.extend(rule.references().map(|r| r.name.as_str()));
    }
    out
}

/// How far back the edges of a window lie that move with the hour; the instant itself is one, because what lies after it does not count yet.
fn distances(window: &Window) -> impl Iterator<Item = Millis> {
    let exact = |span: Option<Span>| if let Some(Span::Exact(ms)) = span { Some(ms) } else { None };
    exact(window.in_last).into_iter().chain(exact(window.more_than_ago)).chain([0])
}

/// The earliest instant that matters to a window, looked at from `then`.
fn reach(window: &Window, then: Millis) -> Millis {
    distances(window).map(|ms| then - ms).fold(then, Millis::min)
}

/// The same for the steps of a funnel: a wait may also be over.
fn funnel_distances(steps: &[FunnelStep]) -> Vec<Millis> {
    let waits = steps.iter().filter_map(|s| s.within_after).map(Span::millis);
    steps.iter().flat_map(|s| distances(&s.rows.window)).chain(waits).collect()
}

/// Conditions on profiles, each of which somebody concerned fulfils.
struct Moved {
    then: Millis,
    now: Millis,
    binds: Binds,
    conditions: Vec<String>,
    /// How far back edges lie that pass over orders, and over events.
    distances: [Vec<Millis>; 2],
}

impl Moved {
    fn leaf(&mut self, leaf: &Leaf) {
        match leaf {
            Leaf::Customer { what: What::Field(field), window, .. } if window.is_limited() => {
                let from = reach(window, self.then);
                let (from, now) = (self.binds.bind(from), self.binds.bind(self.now));
                self.conditions.push(format!("({0} >= {from} AND {0} <= {now})", field.sql));
            }
            Leaf::Funnel(steps) => {
                let distances = funnel_distances(steps);
                for step in steps {
                    self.passed(&step.rows.source, &distances);
                }
            }
            leaf => {
                for (source, window) in leaf.windows() {
                    if let Some(source) = source {
                        self.passed(source, &distances(window).collect::<Vec<_>>());
                    }
                }
            }
        }
    }

    /// Note which edges pass over rows of a source.
    fn passed(&mut self, source: &Source, distances: &[Millis]) {
        let table = match source {
            Source::OrdersPlaced | Source::OrdersReturned | Source::Lines => 0,
            Source::Events(_) => 1,
            Source::Messages { .. } | Source::Clicks { .. } | Source::Consent { .. } => return,
        };
        for distance in distances {
            if !self.distances[table].contains(distance) {
                self.distances[table].push(*distance);
            }
        }
    }

    /// Whoever has an order or event that an edge passed. The profile tells most people apart before their rows are looked at.
    fn rows(&mut self) {
        const LATEST: [&str; 2] =
            ["(p.last_order_at >= {from} OR p.last_return_at >= {from})", "(p.last_event_at >= {from})"];
        for (table, (name, at)) in [("customer_order", "x_.ordered_at"), ("event", "x_.at")].into_iter().enumerate() {
            let distances = std::mem::take(&mut self.distances[table]);
            let Some(furthest) = distances.iter().max() else { continue };
            let from = self.binds.bind(self.then - furthest);
            let intervals: Vec<String> = distances
                .iter()
                .map(|ms| {
                    let (first, last) = (self.binds.bind(self.then - ms), self.binds.bind(self.now - ms));
                    format!("({at} >= {first} AND {at} <= {last})")
                })
                .collect();
            self.conditions.push(format!(
                "({} AND EXISTS (SELECT 1 FROM {name} x_ WHERE x_.bucket = p.bucket AND x_.customer_id = p.customer_id \
                 AND x_.bucket >= $1 AND x_.bucket <= $2 AND {at} >= {from} AND ({})))",
                LATEST[table].replace("{from}", &from),
                intervals.join(" OR ")
            ));
        }
    }

    /// Whoever lies between an old line and the new one.
    fn lines(&mut self, before: &Lines, after: &Lines) {
        for new in &after.percentiles {
            if let (Some(Some(old)), Some(value)) = (before.value_of(new), new.3)
                && old != value
            {
                self.between(&new.0, old, value);
            }
        }
        if let (Some(old), Some(new)) = (&before.cuts, &after.cuts) {
            for i in 0..old.recency.len() {
                for (column, old, new) in
                    [("p.last_order_day", old.recency[i], new.recency[i]), ("p.revenue", old.money[i], new.money[i])]
                {
                    if old != new {
                        self.between(column, old as f64, new as f64);
                    }
                }
            }
        }
    }

    fn between(&mut self, sql: &str, a: f64, b: f64) {
        let (low, high) = (self.binds.bind(a.min(b)), self.binds.bind(a.max(b)));
        let value = format!("CAST({sql} AS DOUBLE PRECISION)");
        self.conditions.push(format!("({value} >= {low} AND {value} <= {high})"));
    }
}

/// Whoever gave a consent that was dated ahead: it begins to count when its instant comes. Rules about consents have no windows.
async fn consents(db: &Db, leaves: &[&Leaf], then: Millis, now: Millis) -> DbResult<()> {
    let mut sources = leaves.iter().flat_map(|l| l.windows()).filter_map(|(source, _)| source);
    if !sources.any(|s| matches!(s, Source::Consent { .. })) {
        return Ok(());
    }
    let sql = "INSERT INTO segment_due (bucket, customer_id) SELECT DISTINCT s.bucket, s.customer_id FROM consent s
               WHERE s.bucket >= $1 AND s.bucket <= $2 AND s.at >= $3 AND s.at <= $4 ON CONFLICT (bucket, customer_id) DO NOTHING";
    each_range(db, BUCKETS_PER_LOOK, |first, last| db.execute(sql, args![first, last, then, now])).await.map(|_| ())
}

/// Recipients of messages that moved since, or that the edge of a window passed.
async fn messages(db: &Db, leaves: &[&Leaf], then: Millis) -> DbResult<()> {
    let windows = leaves.iter().flat_map(|l| l.windows());
    let from = windows.filter(|(s, _)| matches!(s, Some(Source::Messages { .. }))).map(|(_, w)| reach(w, then)).min();
    let Some(from) = from else { return Ok(()) };
    // Only runs that still move, or moved since: their rows are found by the index on run_id.
    let sql = "INSERT INTO segment_due (bucket, customer_id)
               SELECT DISTINCT d.bucket, d.customer_id FROM run r JOIN delivery d ON d.run_id = r.run_id
               WHERE (r.changed_at >= $1 OR r.state NOT IN ('drained', 'closed', 'cancelled', 'missed')) AND d.changed_at >= $1
               ON CONFLICT (bucket, customer_id) DO NOTHING";
    db.execute(sql, args![from]).await.map(|_| ())
}

/// Whoever clicked so lately.
async fn clicks(db: &Db, leaves: &[&Leaf], then: Millis) -> DbResult<()> {
    let windows = leaves.iter().flat_map(|l| l.windows());
    let from = windows.filter(|(s, _)| matches!(s, Some(Source::Clicks { .. }))).map(|(_, w)| reach(w, then)).min();
    let Some(from) = from else { return Ok(()) };
    let sql = "INSERT INTO segment_due (bucket, customer_id) SELECT DISTINCT k.bucket, k.customer_id FROM fact k
               WHERE k.kind = 'click' AND (k.at >= $1 OR k.recorded_at >= $1) ON CONFLICT (bucket, customer_id) DO NOTHING";
    db.execute(sql, args![from]).await.map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::mentions;

    #[test]
    fn an_alias_is_not_the_end_of_another() {
        for (sql, reads) in [("(c.a >= $1)", true), ("c.a", true), ("(sc.a IS NULL)", false), ("p.c = 1", false)] {
            assert_eq!(mentions(sql, "c"), reads, "{sql}");
        }
    }
}
