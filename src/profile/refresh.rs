//! Brings profiles up to date: of the customers whose data changed, or of everyone.
//!
//! Walks the buckets in slices, one short write transaction each, so that a SQLite file stays writable for others. A slice takes its
//! customers out of `dirty` *first* and computes after that: whoever changes a customer meanwhile either is seen, or waits for us and makes the
//! customer dirty again. Interrupted anywhere, the slices that are done are done and the rest is still dirty.

use std::time::{Duration, Instant};

use serde::Serialize;

use super::derive::Deriver;
use super::gather::Gathered;
use super::grid::{Moved, Moves};
use super::refresh_sql::{self, EventNames};
use super::{Cuts, Facts, Moment, set_meta};
use crate::args;
use crate::clock::Millis;
use crate::db::{BUCKETS, Conflict, Db, DbResult, Tx, Value, retried};
use crate::settings::Settings;

const KEY: [&str; 2] = ["bucket", "customer_id"];
/// Buckets in the first slice; later ones grow and shrink with how long they take.
const FIRST_SLICE_BUCKETS: i64 = 8;
/// A slice shorter than this is followed by a wider one …
const SLICE_SHORT: Duration = Duration::from_millis(30);
/// … and one longer than this by a narrower one.
const SLICE_LONG: Duration = Duration::from_millis(80);
/// The entry of table `meta` that says in which zone the stored local days were counted.
const META_ZONE: &str = "profile_zone";

/// Hands the customers of a slice on to whoever keeps what is decided about them.
const NOTE_CHANGED: &str = "INSERT INTO segment_due (bucket, customer_id) SELECT bucket, customer_id FROM profile_due
    WHERE bucket >= $1 AND bucket <= $2 ON CONFLICT (bucket, customer_id) DO NOTHING";
/// The entry of table `meta` that counts refreshes of everyone.
const META_EPOCH: &str = "profile_epoch";

/// How often everybody's profile was computed: what is kept of an earlier epoch is to be decided anew.
pub async fn epoch(db: &Db) -> DbResult<i64> {
    super::meta_number(db, META_EPOCH).await
}

/// Whose profiles to compute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Customers whose data changed since their profile was computed.
    Dirty,
    /// Everyone; also drops profiles whose customer is gone.
    Everyone,
}

/// What a refresh did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct RefreshTotals {
    /// Customers whose profile was computed.
    pub computed: u64,
    /// Profiles that were new or had a number that changed.
    pub changed: u64,
    /// Profiles dropped, because their customer is gone.
    pub dropped: u64,
    /// Whether everyone was computed: asked for, or because the project's time zone changed.
    pub everyone: bool,
}

/// Refresh profiles. `now` marks the rows that changed; the numbers do not depend on it.
pub async fn refresh(db: &Db, settings: &Settings, now: Millis, scope: Scope) -> DbResult<RefreshTotals> {
    let zone_name = settings.time_zone.iana_name().unwrap_or("fixed").to_owned();
    let known: Option<(String,)> =
        db.fetch_optional("SELECT value FROM meta WHERE name = $1", args![META_ZONE]).await?;
    let scope = if known.is_some_and(|(z,)| z == zone_name) { scope } else { Scope::Everyone };
    if scope == Scope::Everyone {
        set_meta(db, META_EPOCH, &(epoch(db).await? + 1).to_string()).await?;
    }
    let Some(begin) = first_bucket(db, scope).await? else { return Ok(RefreshTotals::default()) };
    let mut refresher = Refresher::new(db, settings, scope, now).await?;
    let mut totals = RefreshTotals { everyone: scope == Scope::Everyone, ..RefreshTotals::default() };
    let mut width = FIRST_SLICE_BUCKETS;
    let mut next = Some(begin);
    while let Some(first) = next {
        let last = (first + width - 1).min(BUCKETS - 1);
        let begun = Instant::now();
        let (slice, moved) = retried(async || refresher.slice(db, first, last).await).await?;
        refresher.moves.add(moved);
        totals.computed += slice.computed;
        totals.changed += slice.changed;
        totals.dropped += slice.dropped;
        width = match begun.elapsed() {
            short if short < SLICE_SHORT => (width * 2).min(BUCKETS),
            long if long > SLICE_LONG => (width / 2).max(1),
            _ => width,
        };
        next = (last + 1 < BUCKETS).then_some(last + 1);
    }
    if totals.changed + totals.dropped > 0 || totals.everyone {
        super::count_changes(db, totals.changed + totals.dropped).await?;
        match totals.everyone {
            true => Cuts::redraw(db, now).await?,
            false => Cuts::renew(db, &settings.time_zone, now).await?,
        }
    }
    refresher.moves.end(db).await?;
    if totals.everyone {
        db.analyze().await?;
        set_meta(db, META_ZONE, &zone_name).await?;
    }
    Ok(totals)
}

/// Customers whose data changed since their numbers were computed.
pub async fn stale(db: &Db) -> DbResult<i64> {
    Ok(db.fetch_one::<(i64,)>("SELECT COUNT(*) FROM dirty", vec![]).await?.0)
}

async fn first_bucket(db: &Db, scope: Scope) -> DbResult<Option<i64>> {
    match scope {
        Scope::Everyone => Ok(Some(0)),
        Scope::Dirty => {
            let (first,): (Option<i64>,) = db.fetch_one("SELECT MIN(bucket) FROM dirty", vec![]).await?;
            Ok(first)
        }
    }
}

/// What every slice needs.
struct Refresher {
    scope: Scope,
    now: Millis,
    names: EventNames,
    deriver: Deriver,
    moves: Moves,
    /// Whether a stored row would change.
    differs: String,
}

impl Refresher {
    async fn new(db: &Db, settings: &Settings, scope: Scope, now: Millis) -> DbResult<Refresher> {
        let names = event_names(db).await?;
        let deriver = Deriver::new(&settings.time_zone);
        let moves = match scope {
            Scope::Dirty => Moves::begin(db, Moment::at(db, settings, now).await?).await?,
            Scope::Everyone => Moves::of_everyone(db).await?,
        };
        Ok(Refresher { scope, now, names, deriver, moves, differs: refresh_sql::differs() })
    }

    /// Compute the buckets `first` to `last`.
    async fn slice(&mut self, db: &Db, first: i64, last: i64) -> DbResult<(RefreshTotals, Moved)> {
        let mut moved = Moved::new();
        let mut totals = RefreshTotals::default();
        let range = || args![first, last];
        let mut tx = db.begin().await?;
        let taken = "DELETE FROM dirty WHERE bucket >= $1 AND bucket <= $2";
        match self.scope {
            Scope::Dirty => {
                let due: Vec<(i64, String)> =
                    tx.fetch_all(&format!("{taken} RETURNING bucket, customer_id"), range()).await?;
                if due.is_empty() {
                    tx.rollback().await?;
                    return Ok((totals, moved));
                }
                totals.computed = due.len() as u64;
                let rows = due.into_iter().flat_map(|(b, c)| [Value::from(b), Value::from(c)]).collect();
                tx.insert_rows("profile_due", &KEY, rows, Conflict::Keep).await?;
                self.moves.leave(&mut tx, (first, last), &mut moved).await?;
            }
            Scope::Everyone => {
                tx.execute(taken, range()).await?;
            }
        }
        let rows = self.rows(&mut tx, (first, last), &mut moved).await?;
        if self.scope == Scope::Everyone {
            totals.computed = rows.len() as u64 / WIDTH as u64;
        }
        let columns = [&KEY[..], &refresh_sql::COLUMNS, &["computed_at"]].concat();
        let conflict = Conflict::UpdateWhen { key: &KEY, when: &self.differs };
        totals.changed = tx.insert_rows("profile", &columns, rows, conflict).await?;
        totals.dropped = tx.execute(refresh_sql::orphans(self.scope), range()).await?;
        if self.scope == Scope::Dirty {
            tx.execute(NOTE_CHANGED, range()).await?;
            tx.execute("DELETE FROM profile_due WHERE bucket >= $1 AND bucket <= $2", range()).await?;
        }
        tx.commit().await?;
        Ok((totals, moved))
    }

    /// The rows of table `profile` of the slice's customers.
    async fn rows(&mut self, tx: &mut Tx, (first, last): (i64, i64), moved: &mut Moved) -> DbResult<Vec<Value>> {
        let (scope, range) = (self.scope, || args![first, last]);
        let mut gathered = Gathered::new(&self.names);
        tx.each_row(&refresh_sql::customers(scope), range(), |row| gathered.customer(row)).await?;
        tx.each_row(&refresh_sql::orders(scope), range(), |row| gathered.order(row)).await?;
        gathered.sort_orders();
        tx.each_row(&refresh_sql::lines(scope), range(), |row| gathered.line(row)).await?;
        let events = refresh_sql::events(scope, tx.dialect(), &self.names);
        tx.each_row(&events, range(), |row| gathered.event(row)).await?;
        let now = self.now;
        let facts = gathered.facts(&mut self.deriver).inspect(|facts| self.moves.enter(facts, moved));
        Ok(facts.flat_map(|facts| row(facts, now)).collect())
    }
}

/// Values of a row of table `profile`: the key, [`refresh_sql::COLUMNS`], and when it was computed.
const WIDTH: usize = KEY.len() + refresh_sql::COLUMNS.len() + 1;

fn row(f: Facts, now: Millis) -> [Value; WIDTH] {
    [
        f.bucket.into(),
        f.customer_id.into(),
        f.orders.into(),
        f.purchase_days.into(),
        f.revenue.into(),
        f.average_order.into(),
        f.first_order_at.into(),
        f.last_order_at.into(),
        f.previous_order_at.into(),
        f.first_order_day.into(),
        f.last_order_day.into(),
        f.last_gap_days.into(),
        f.usual_gap_days.into(),
        f.earlier_gap_days.into(),
        f.gap_scatter.into(),
        f.earlier_gap_scatter.into(),
        f.top_category.into(),
        f.affinity.into(),
        f.last_viewed_at.into(),
        f.last_viewed_sku.into(),
        f.open_tickets.into(),
        f.last_rating.into(),
        f.last_rating_at.into(),
        f.last_event_at.into(),
        f.last_return_at.into(),
        now.into(),
    ]
}

/// The numbers of the event names that profiles read.
async fn event_names(db: &Db) -> DbResult<EventNames> {
    let rows: Vec<(i64, String)> =
        db.fetch_all("SELECT name_id, name FROM event_name ORDER BY name_id", vec![]).await?;
    let mut names = EventNames::default();
    for (id, name) in rows {
        match name.as_str() {
            "product.viewed" => names.viewed = Some(id),
            "ticket.opened" => names.ticket_opened = Some(id),
            "ticket.closed" => names.ticket_closed = Some(id),
            _ => {}
        }
        if is_rating(&name) {
            names.rated.push(id);
        }
    }
    Ok(names)
}

/// Whether events of a name carry a rating in their column `score`.
pub fn is_rating(event: &str) -> bool {
    event == "ticket.closed" || event.starts_with("survey.") || event.starts_with("review.")
}
