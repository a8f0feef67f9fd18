//! Pacing: how fast mail leaves, kept in the database so that it holds summed over all processes. Owns `pace` and `warm_up`.
//!
//! A process reserves time for some messages of a lane, then lets them leave one after the other ([`bucket`]). Three things limit it: the
//! rate of the lane's family, the rate of its relay, and the relay's warm-up. A lane that is told to go slower is halved, for everybody, and
//! comes back step by step. What is not limited is not asked about: without rates in the settings a message costs nothing here.
//!
//! Rows are locked lane first, relay second, warm-up last.

mod bucket;

pub use bucket::{Grant, SLOWED_ONCE_IN};
use bucket::{Slowed, WarmUp};
use serde::Serialize;

use crate::args;
use crate::clock::Millis;
use crate::db::{Db, DbResult, Tx};
use crate::queue::lease::parts;
use crate::settings::Pacing;

/// Messages reserved at once where only a warm-up limits them.
const WARM_UP_RESERVED_MAX: u32 = 100;
/// The longest answer kept as a reason, in characters.
const REASON_CHARS_MAX: usize = 200;

/// What came of asking.
#[derive(Debug, Clone, PartialEq)]
pub enum Reserved {
    Granted(Grant),
    /// Nothing before this instant.
    Later(Millis),
    /// Nothing limits this lane.
    Free,
}

/// A lane that is slower than the settings say.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SlowLane {
    pub lane: String,
    /// Messages a second now.
    pub rate: f64,
    /// Messages a second in the settings; absent: as fast as mail is taken.
    pub full_rate: Option<f64>,
    pub since: Millis,
    /// When it has its full rate again, if nobody complains.
    pub full_at: Millis,
    /// The answer that slowed it last.
    pub reason: String,
}

/// A relay in its warm-up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WarmingUp {
    pub relay: String,
    /// The day of its plan, from 1.
    pub day: i64,
    /// Messages allowed on this day, and those that are reserved or sent.
    pub allowed: u32,
    pub messages: i64,
    /// When the next day may begin.
    pub next_at: Millis,
}

/// What holds mail back now.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Held {
    pub slowed: Vec<SlowLane>,
    pub warm_up: Vec<WarmingUp>,
}

#[derive(Debug, Clone, Default, sqlx::FromRow)]
struct Row {
    lane: String,
    free_at: Millis,
    slow_steps: i64,
    slow_from: f64,
    slowed_at: Millis,
    slow_reason: String,
}

impl Row {
    fn slowed(&self) -> Slowed {
        Slowed { steps: self.slow_steps, from: self.slow_from, at: self.slowed_at }
    }

    fn slow_lane(self, pacing: &Pacing, now: Millis) -> Option<SlowLane> {
        let slowed = self.slowed();
        let full_rate = set_rate(pacing, &self.lane);
        let rate = slowed.rate(full_rate, now)?;
        (slowed.steps_at(now) > 0).then(|| SlowLane {
            rate,
            full_rate,
            since: slowed.honest_at(now),
            full_at: slowed.full_at(now),
            reason: self.slow_reason,
            lane: self.lane,
        })
    }
}

/// When the next message may leave: when it is due, or, where the day's warm-up is used up, when the next day may begin.
pub fn next_due(due_by_lane: &[(String, Millis)], held: &Held) -> Option<Millis> {
    let used_up = |relay: &str| {
        let of_relay = |w: &&WarmingUp| w.relay == relay && w.messages >= i64::from(w.allowed);
        held.warm_up.iter().find(of_relay).map(|w| w.next_at)
    };
    due_by_lane.iter().map(|(lane, due_at)| used_up(parts(lane).0).map_or(*due_at, |at| at.max(*due_at))).min()
}

/// The rate that the settings name for a lane's family, or for a relay.
fn set_rate(pacing: &Pacing, name: &str) -> Option<f64> {
    let rate = match name.rsplit_once('/') {
        Some((_, family)) => pacing.of_family(family),
        None => pacing.relay,
    };
    rate.map(|r| r.per_second())
}

/// Whether the settings limit this lane at all.
pub fn is_limited(pacing: &Pacing, lane: &str) -> bool {
    set_rate(pacing, lane).is_some() || pacing.relay.is_some() || !pacing.warm_up.is_empty()
}

const COLUMNS: &str = "k.lane, k.free_at, k.slow_steps, k.slow_from, k.slowed_at, k.slow_reason";

/// The row of a lane or relay, made if there is none, and ours until the transaction ends.
async fn locked(tx: &mut Tx, lane: &str) -> DbResult<Row> {
    tx.execute(
        "INSERT INTO pace (lane, free_at, slow_steps, slow_from, slowed_at, slow_reason) VALUES ($1, 0, 0, 0.0, 0, '') \
         ON CONFLICT (lane) DO NOTHING",
        args![lane],
    )
    .await?;
    let sql = format!("SELECT {COLUMNS} FROM pace k WHERE k.lane = $1 {}", tx.dialect().lock());
    let row = tx.fetch_optional(&sql, args![lane]).await?;
    Ok(row.expect("inserted above or there before"))
}

/// Reserve time for up to `wanted` messages of a lane.
pub async fn reserve(db: &Db, pacing: &Pacing, lane: &str, wanted: u32, now: Millis) -> DbResult<Reserved> {
    let mut tx = db.begin().await?;
    let reserved = reserve_in(&mut tx, pacing, lane, wanted, now).await?;
    tx.commit().await?; // also when nothing is granted: a day that seemed to begin later begins now
    Ok(reserved)
}

async fn reserve_in(tx: &mut Tx, pacing: &Pacing, lane: &str, wanted: u32, now: Millis) -> DbResult<Reserved> {
    let relay = parts(lane).0;
    let mut grant = Grant { from_at: now, interval: 0.0, messages: wanted };
    let of_lane = locked(tx, lane).await?;
    let lane_rate = of_lane.slowed().rate(set_rate(pacing, lane), now);
    let of_relay = locked(tx, relay).await?;
    let relay_rate = of_relay.slowed().rate(set_rate(pacing, relay), now);
    let mut buckets = Vec::new(); // who, and from when its time is taken
    if let Some(rate) = lane_rate {
        buckets.push((lane, rate, of_lane.free_at));
    }
    if let Some(rate) = relay_rate {
        buckets.push((relay, rate, of_relay.free_at));
    }
    let mut starts = Vec::new();
    for (_, rate, free_at) in &buckets {
        match bucket::begins_at(*free_at, *rate, now) {
            Ok(from_at) => starts.push(from_at),
            Err(again_at) => return Ok(Reserved::Later(again_at)),
        }
        grant.interval = grant.interval.max(bucket::interval(*rate));
        grant.messages = bucket::at_once(*rate, grant.messages);
    }
    grant.from_at = starts.iter().copied().max().unwrap_or(now);
    if !pacing.warm_up.is_empty() {
        match warm_up_in(tx, pacing, relay, grant.messages, now).await? {
            Some(Ok(messages)) => grant.messages = messages,
            Some(Err(again_at)) => return Ok(Reserved::Later(again_at)),
            None if buckets.is_empty() => return Ok(Reserved::Free),
            None => {}
        }
    } else if buckets.is_empty() {
        return Ok(Reserved::Free);
    }
    for ((name, rate, _), from_at) in buckets.into_iter().zip(starts) {
        let taken = Grant { from_at, interval: bucket::interval(rate), messages: grant.messages };
        let free_at = taken.ends_at();
        tx.execute("UPDATE pace SET free_at = $1 WHERE lane = $2", args![free_at, name]).await?;
    }
    // A slowing that seems to lie ahead is of now, once somebody has seen it.
    for row in [of_lane, of_relay] {
        let honest_at = row.slowed().honest_at(now);
        if honest_at != row.slowed_at {
            tx.execute("UPDATE pace SET slowed_at = $1 WHERE lane = $2", args![honest_at, row.lane]).await?;
        }
    }
    Ok(Reserved::Granted(grant))
}

/// Count messages of a warm-up: how many may go, or when the next may; `None` when its plan is through.
async fn warm_up_in(
    tx: &mut Tx,
    pacing: &Pacing,
    relay: &str,
    wanted: u32,
    now: Millis,
) -> DbResult<Option<Result<u32, Millis>>> {
    tx.execute(
        "INSERT INTO warm_up (relay, day_no, day_from_at, messages) VALUES ($1, 1, $2, 0) ON CONFLICT (relay) DO NOTHING",
        args![relay, now],
    )
    .await?;
    let sql =
        format!("SELECT k.day_no, k.day_from_at, k.messages FROM warm_up k WHERE k.relay = $1 {}", tx.dialect().lock());
    let row: Option<(i64, Millis, i64)> = tx.fetch_optional(&sql, args![relay]).await?;
    let (day_no, day_from_at, messages) = row.expect("inserted above or there before");
    let today = WarmUp { day_no, day_from_at, messages }.today(now);
    let Some(left) = today.left(&pacing.warm_up) else { return Ok(None) };
    let messages = wanted.min(left).min(WARM_UP_RESERVED_MAX);
    tx.execute(
        "UPDATE warm_up SET day_no = $1, day_from_at = $2, messages = $3 WHERE relay = $4",
        args![today.day_no, today.day_from_at, today.messages + i64::from(messages), relay],
    )
    .await?;
    Ok(Some(if messages > 0 { Ok(messages) } else { Err(today.next_at()) }))
}

/// Messages of a warm-up that were reserved and did not leave.
pub async fn give_back(db: &Db, lane: &str, messages: u32) -> DbResult<()> {
    let sql = "UPDATE warm_up SET messages = CASE WHEN messages > $1 THEN messages - $1 ELSE 0 END WHERE relay = $2";
    db.execute(sql, args![i64::from(messages), parts(lane).0]).await?;
    Ok(())
}

/// A server asked for less in this lane, or of the relay as a whole: halve its rate, or what it was `seen` to do (messages a second) where the settings name none.
/// False when it was slowed a moment ago.
pub async fn slow_down(db: &Db, lane: &str, seen: f64, reason: &str, now: Millis) -> DbResult<bool> {
    let reason: String = reason.chars().take(REASON_CHARS_MAX).collect();
    let mut tx = db.begin().await?;
    let slowed = locked(&mut tx, lane).await?.slowed().again(seen, now);
    if let Some(Slowed { steps, from, at }) = slowed {
        tx.execute(
            "UPDATE pace SET slow_steps = $1, slow_from = $2, slowed_at = $3, slow_reason = $4 WHERE lane = $5",
            args![steps, from, at, reason, lane],
        )
        .await?;
    }
    tx.commit().await?;
    Ok(slowed.is_some())
}

/// The lanes that are slowed now, and relays as a whole, by name.
pub async fn slowed(db: &Db, now: Millis) -> DbResult<Vec<String>> {
    let sql = format!("SELECT {COLUMNS} FROM pace k WHERE k.slow_steps > 0 ORDER BY k.lane");
    let rows: Vec<Row> = db.fetch_all(&sql, args![]).await?;
    Ok(rows.into_iter().filter(|row| row.slowed().steps_at(now) > 0).map(|row| row.lane).collect())
}

/// What holds mail back: lanes that are slowed, relays in their warm-up. `pacing` tells how fast a relay may be.
pub async fn held(db: &Db, pacing: impl Fn(&str) -> Pacing, now: Millis) -> DbResult<Held> {
    let sql = format!("SELECT {COLUMNS} FROM pace k WHERE k.slow_steps > 0 ORDER BY k.lane");
    let rows: Vec<Row> = db.fetch_all(&sql, args![]).await?;
    let slowed = rows
        .into_iter()
        .filter_map(|row: Row| {
            let pacing = pacing(parts(&row.lane).0);
            row.slow_lane(&pacing, now)
        })
        .collect();
    let sql = "SELECT relay, day_no, day_from_at, messages FROM warm_up ORDER BY relay";
    let rows: Vec<(String, i64, Millis, i64)> = db.fetch_all(sql, args![]).await?;
    let warm_up = rows
        .into_iter()
        .filter_map(|(relay, day_no, day_from_at, messages)| {
            let today = WarmUp { day_no, day_from_at, messages }.today(now);
            let left = today.left(&pacing(&relay).warm_up)?;
            let allowed = left + u32::try_from(today.messages).unwrap_or(0);
            Some(WarmingUp { relay, day: today.day_no, allowed, messages: today.messages, next_at: today.next_at() })
        })
        .collect();
    Ok(Held { slowed, warm_up })
}
