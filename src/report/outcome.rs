//! The goal: who reached it within their window, mailed and withheld, and what the difference says.
//!
//! A person's window begins at the planned `due_at` of their entry, in every arm, and lasts the days the goal names (24 hours each). Only
//! people whose windows are all over are compared; the others are counted apart.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::campaign::Goal;
use crate::clock::{DAY, Millis};
use crate::db::{Db, DbResult, Value, bucket_ranges};
use crate::model::interval::{
    Count, Estimate, Sample, Z_POWER_80, mean_difference, rate, rate_difference, smallest_mean_difference,
    smallest_rate_difference,
};

use super::{BUCKETS_PER_STATEMENT, NOT_CARRIED_OUT, RunLine};

/// What the goal says.
#[derive(Debug, Clone, Serialize)]
pub struct Outcome {
    pub goal: Goal,
    pub treated: Group,
    pub withheld: Group,
    /// The difference, treated less withheld; `None` when nobody was withheld or no window is over.
    pub effect: Option<Effect>,
}

/// One side of the comparison: people whose windows are over.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Group {
    pub people: i64,
    /// People whose window is still open, beside `people`.
    pub window_open: i64,
    pub reached: i64,
    pub rate: Option<Estimate>,
    /// Money of all of them, net of returns; `None` when the goal names no value.
    pub value: Option<i64>,
    pub value_per_person: Option<f64>,
    #[serde(skip)]
    squares: f64,
}

/// What the mail caused.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Effect {
    /// Difference of the rates, −1 to 1.
    pub rate: Estimate,
    /// The smallest difference of rates that groups of this size find four times out of five.
    pub smallest_rate: Option<f64>,
    /// Difference of money per person, in minor units.
    pub value_per_person: Option<Estimate>,
    pub smallest_value_per_person: Option<f64>,
}

/// The outcome of those runs that share the newest run's goal.
pub(super) async fn of(
    db: &Db,
    campaign: &str,
    runs: &[RunLine],
    as_of: Millis,
    notes: &mut Vec<String>,
) -> DbResult<Option<Outcome>> {
    let carried_out: Vec<&RunLine> = runs.iter().filter(|r| !NOT_CARRIED_OUT.contains(&r.state.as_str())).collect();
    let cancelled = runs.iter().filter(|r| r.state == "cancelled").count();
    let Some(goal) = carried_out.last().and_then(|r| goal_of(r)) else { return Ok(None) };
    let same: Vec<&str> =
        carried_out.iter().filter(|r| goal_of(r).as_ref() == Some(&goal)).map(|r| r.run.as_str()).collect();
    if cancelled > 0 {
        notes.push(format!("cancelled runs are not compared: {cancelled}"));
    }
    if same.len() < carried_out.len() {
        notes.push(format!("runs with another goal are not compared: {}", carried_out.len() - same.len()));
    }
    let sides = sides(db, campaign, &goal, &same, as_of).await?;
    if sides.both > 0 {
        notes.push(format!("people who were mailed once and withheld once are not compared: {}", sides.both));
    }
    let (treated, withheld) = (sides.treated, sides.withheld);
    if withheld.people + withheld.window_open == 0 {
        notes.push("nobody was withheld, so what the mail caused cannot be told".to_owned());
    }
    let effect = effect(&treated, &withheld);
    Ok(Some(Outcome { goal, treated, withheld, effect }))
}

fn goal_of(run: &RunLine) -> Option<Goal> {
    let definition: serde_json::Value = serde_json::from_str(&run.definition).ok()?;
    serde_json::from_value(definition.get("goal")?.clone()).ok()
}

fn effect(treated: &Group, withheld: &Group) -> Option<Effect> {
    let count = |g: &Group| Count { reached: g.reached.max(0) as u64, people: g.people.max(0) as u64 };
    let sample = |g: &Group| Some(Sample::from_sums(g.people as u64, g.value? as f64, g.squares));
    let rate = rate_difference(count(treated), count(withheld))?;
    let values = sample(treated).zip(sample(withheld));
    // The withheld rate, drawn a little towards one half: in a small group, none of them is no evidence of never.
    let base = (withheld.reached as f64 + 1.0) / (withheld.people as f64 + 2.0);
    Some(Effect {
        rate,
        smallest_rate: smallest_rate_difference(base, treated.people as u64, withheld.people as u64, Z_POWER_80),
        value_per_person: values.and_then(|(t, w)| mean_difference(t, w)),
        smallest_value_per_person: values.and_then(|(t, w)| smallest_mean_difference(t, w, Z_POWER_80)),
    })
}

struct Sides {
    treated: Group,
    withheld: Group,
    /// People who were on both sides, when the split changed between runs.
    both: i64,
}

/// Per person of the buckets $4 … $5: on which side (bit 1 withheld, bit 0 treated), whether any window is open, whether the goal was
/// reached, for how much.
const PEOPLE: &str = "
    SELECT CAST(p.side AS BIGINT), CAST(p.open AS BIGINT), CAST(COUNT(*) AS BIGINT),
           CAST(COALESCE(SUM(CASE WHEN d.reached > 0 THEN 1 ELSE 0 END), 0) AS BIGINT),
           CAST(COALESCE(SUM(d.value), 0) AS BIGINT),
           CAST(COALESCE(SUM(CAST(d.value AS DOUBLE PRECISION) * d.value), 0) AS DOUBLE PRECISION)
    FROM (SELECT e.bucket, e.customer_id,
                 MAX(CASE WHEN e.arm IN ('holdout', 'holdout_global') THEN 2 ELSE 0 END)
                   + MAX(CASE WHEN e.arm IN ('holdout', 'holdout_global') THEN 0 ELSE 1 END) AS side,
                 CASE WHEN MAX(e.due_at) + $2 > $3 THEN 1 ELSE 0 END AS open
          FROM entry e WHERE e.bucket >= $4 AND e.bucket <= $5 AND {ENTRY} GROUP BY e.bucket, e.customer_id) p
    LEFT JOIN (SELECT o.bucket, o.customer_id,
                      CAST(SUM(CASE WHEN {REACHED} THEN 1 ELSE 0 END) AS BIGINT) AS reached,
                      CAST(SUM(CASE WHEN {WORTH} THEN {VALUE} ELSE 0 END) AS BIGINT) AS value
               FROM {DONE} o
               WHERE o.bucket >= $4 AND o.bucket <= $5
                 AND EXISTS (SELECT 1 FROM entry e WHERE e.bucket = o.bucket AND e.customer_id = o.customer_id AND {ENTRY}
                 AND o.{AT} >= e.due_at AND o.{AT} < e.due_at + $2) {WHICH}
               GROUP BY o.bucket, o.customer_id) d
      ON d.bucket = p.bucket AND d.customer_id = p.customer_id
    GROUP BY p.side, p.open";

async fn sides(db: &Db, campaign: &str, goal: &Goal, runs: &[&str], as_of: Millis) -> DbResult<Sides> {
    let window = goal.within_days.saturating_mul(DAY);
    let mut args =
        vec![Value::from(campaign), Value::from(window), Value::from(as_of), Value::Int(None), Value::Int(None)];
    let names: Vec<String> = runs
        .iter()
        .map(|run| {
            args.push(Value::from(*run));
            format!("${}", args.len())
        })
        .collect();
    let entry = format!("e.campaign = $1 AND e.run_id IN ({})", names.join(", "));
    // What counts is what counts in a profile: placed orders of zero or more; money is net of returns.
    let (done, at, reached, worth, value, which) = if goal.did == "order.placed" {
        let placed = "o.status = 'placed' AND o.total >= 0";
        let worth = "o.status = 'placed' OR (o.status = 'returned' AND o.total < 0)";
        ("customer_order", "ordered_at", placed, worth, "o.total", String::new())
    } else {
        args.push(Value::from(goal.did.as_str()));
        let which = format!("AND o.name_id = (SELECT name_id FROM event_name WHERE name = ${})", args.len());
        ("event", "at", "1 = 1", "1 = 1", "COALESCE(o.amount, 0)", which)
    };
    let sql = PEOPLE
        .replace("{ENTRY}", &entry)
        .replace("{REACHED}", reached)
        .replace("{WORTH}", worth)
        .replace("{VALUE}", value)
        .replace("{DONE}", done)
        .replace("{AT}", at)
        .replace("{WHICH}", &which);
    let mut sums: BTreeMap<(i64, i64), Sums> = BTreeMap::new();
    for (first, last) in bucket_ranges(BUCKETS_PER_STATEMENT) {
        args[3] = first.into();
        args[4] = last.into();
        let rows: Vec<(i64, i64, i64, i64, i64, f64)> = db.fetch_all(&sql, args.clone()).await?;
        for (side, open, people, reached, value, squares) in rows {
            let sum = sums.entry((side, open)).or_default();
            sum.people += people;
            sum.reached += reached;
            sum.value += value;
            sum.squares += squares;
        }
    }
    let of = |side: i64, open: i64| sums.get(&(side, open)).copied().unwrap_or_default();
    let group = |side: i64| group(goal, of(side, 1).people, of(side, 0));
    let both = of(3, 0).people + of(3, 1).people;
    Ok(Sides { treated: group(1), withheld: group(2), both })
}

/// What the people of one side come to.
#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    people: i64,
    reached: i64,
    value: i64,
    /// Of each person's value, squared.
    squares: f64,
}

fn group(goal: &Goal, window_open: i64, Sums { people, reached, value, squares }: Sums) -> Group {
    let valued = goal.value.is_some();
    Group {
        people,
        window_open,
        reached,
        rate: rate(Count { reached: reached as u64, people: people as u64 }),
        value: valued.then_some(value),
        value_per_person: (valued && people > 0).then(|| value as f64 / people as f64),
        squares,
    }
}
