//! The goal: who reached it within their window, mailed and withheld, and what the difference says.
//!
//! A person's window begins at the planned `due_at` of their entry, in every arm, and lasts the days the goal names (24 hours each). Only
//! people whose windows are all over are compared; the others are counted apart.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use statrs::distribution::{ChiSquared, ContinuousCDF as _};

use crate::campaign::{Definition, Goal};
use crate::clock::{DAY, Millis};
use crate::db::{Db, DbResult, Value, bucket_ranges};
use crate::model::interval::{
    Count, Estimate, Sample, Z_POWER_80, mean_difference, rate, rate_difference, smallest_mean_difference,
    smallest_rate_difference,
};

use crate::segment::goal::GoalEvent;
use crate::settings::Settings;

use super::{BUCKETS_PER_STATEMENT, NOT_CARRIED_OUT, RunLine};

/// The sides of the comparison, as the statement numbers them.
const TREATED: i64 = 1;
const WITHHELD: i64 = 2;
/// Counts less likely than this are told as a fault of the split.
const SPLIT_FAULT_P: f64 = 0.001;

/// What the goal says.
#[derive(Debug, Clone, Serialize)]
pub struct Outcome {
    pub goal: Goal,
    pub treated: Group,
    pub withheld: Group,
    /// The mailed arms apart, in the order of their names; empty when there is one.
    pub arms: Vec<Arm>,
    /// The difference, treated less withheld; `None` when nobody was withheld or no window is over.
    pub effect: Option<Effect>,
}

/// One arm that is mailed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Arm {
    pub arm: String,
    pub group: Group,
    /// Its difference to the first arm; `None` for that one, and while no window is over.
    pub against_first: Option<Effect>,
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
    settings: &Settings,
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
    let sides = sides(db, settings, campaign, &goal, &same, as_of).await?;
    if sides.both > 0 {
        notes.push(format!("people who were mailed once and withheld once are not compared: {}", sides.both));
    }
    if sides.wandered > 0 {
        notes.push(format!("people whose arm changed between runs stand in no arm: {}", sides.wandered));
    }
    if let Some(newest) = carried_out.last() {
        notes.extend(split_fault(newest, &sides));
    }
    let (treated, withheld) = (sides.treated, sides.withheld);
    let mut arms: Vec<Arm> = Vec::new();
    for (arm, group) in sides.arms {
        let against_first = arms.first().and_then(|first| effect(&group, &first.group));
        arms.push(Arm { arm, group, against_first });
    }
    if arms.len() < 2 {
        arms.clear();
    }
    if withheld.people + withheld.window_open == 0 {
        notes.push("nobody was withheld, so what the mail caused cannot be told".to_owned());
    }
    let effect = effect(&treated, &withheld);
    Ok(Some(Outcome { goal, treated, withheld, arms, effect }))
}

/// What is wrong with how many people each arm has, when chance does not explain it: a sample ratio mismatch (Fabijan et al. 2019). Then the
/// comparison is not one of like with like.
fn split_fault(newest: &RunLine, sides: &Sides) -> Option<String> {
    let definition: Definition = serde_json::from_str(&newest.definition).ok()?;
    let people = |g: &Group| g.people + g.window_open;
    let mut observed = vec![(definition.holdout, people(&sides.held_out))];
    match definition.arms.as_slice() {
        [] => observed.push((1.0 - definition.holdout, people(&sides.treated))),
        arms => observed.extend(
            arms.iter()
                .map(|(arm, share)| (*share, sides.arms.iter().find(|(a, _)| a == arm).map_or(0, |(_, g)| people(g)))),
        ),
    }
    observed.retain(|(share, _)| *share > 0.0);
    let p = chi_square_p(&observed)?;
    (p < SPLIT_FAULT_P).then(|| {
        format!("the arms do not have the shares of the split (p = {p:.6}): something takes people out of one and not the other")
    })
}

/// Pearson's chi-square test of counts against shares; `None` with fewer than two cells or nobody in them.
fn chi_square_p(observed: &[(f64, i64)]) -> Option<f64> {
    let (shares, all): (f64, i64) = observed.iter().fold((0.0, 0), |(s, n), (share, people)| (s + share, n + people));
    if observed.len() < 2 || all == 0 {
        return None;
    }
    let statistic: f64 = observed
        .iter()
        .map(|(share, people)| {
            let expected = all as f64 * share / shares;
            (*people as f64 - expected).powi(2) / expected
        })
        .sum();
    ChiSquared::new(observed.len() as f64 - 1.0).ok().map(|d| d.sf(statistic))
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
    /// Of `withheld`, those held out of this campaign and not of all.
    held_out: Group,
    arms: Vec<(String, Group)>,
    /// People who were on both sides, when the split changed between runs.
    both: i64,
    /// People of `treated` who were in several arms.
    wandered: i64,
}

/// Per person of the buckets $4 … $5: on which side (bit 1 withheld, bit 0 treated), whether any window is open, whether the goal was
/// reached, for how much; and in which arm, empty when in several.
const PEOPLE: &str = "
    SELECT CAST(p.side AS BIGINT), CAST(p.open AS BIGINT), CAST(COUNT(*) AS BIGINT),
           CAST(COALESCE(SUM(CASE WHEN d.reached > 0 THEN 1 ELSE 0 END), 0) AS BIGINT),
           CAST(COALESCE(SUM(d.value), 0) AS BIGINT),
           CAST(COALESCE(SUM(CAST(d.value AS DOUBLE PRECISION) * d.value), 0) AS DOUBLE PRECISION), p.arm
    FROM (SELECT e.bucket, e.customer_id,
                 MAX(CASE WHEN e.arm IN ('holdout', 'holdout_global') THEN 2 ELSE 0 END)
                   + MAX(CASE WHEN e.arm IN ('holdout', 'holdout_global') THEN 0 ELSE 1 END) AS side,
                 CASE WHEN MIN(e.arm) = MAX(e.arm) THEN MIN(e.arm) ELSE '' END AS arm,
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
    GROUP BY p.side, p.open, p.arm";

async fn sides(
    db: &Db,
    settings: &Settings,
    campaign: &str,
    goal: &Goal,
    runs: &[&str],
    as_of: Millis,
) -> DbResult<Sides> {
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
    let like = GoalEvent::stored(&goal.did, goal.with.as_ref(), settings)
        .map_or(String::new(), |event| event.and_sql(db.dialect(), "o", settings, &mut args));
    let (done, at, reached, worth, value, which) = if goal.did == "order.placed" {
        let placed = "o.status = 'placed' AND o.total >= 0";
        let worth = "o.status = 'placed' OR (o.status = 'returned' AND o.total < 0)";
        ("customer_order", "ordered_at", placed, worth, "o.total", like)
    } else {
        args.push(Value::from(goal.did.as_str()));
        let which = format!("AND o.name_id = (SELECT name_id FROM event_name WHERE name = ${}){like}", args.len());
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
    let mut sums: BTreeMap<(i64, i64, String), Sums> = BTreeMap::new();
    for (first, last) in bucket_ranges(BUCKETS_PER_STATEMENT) {
        args[3] = first.into();
        args[4] = last.into();
        let rows: Vec<(i64, i64, i64, i64, i64, f64, String)> = db.fetch_all(&sql, args.clone()).await?;
        for (side, open, people, reached, value, squares, arm) in rows {
            sums.entry((side, open, arm)).or_default().add(&Sums { people, reached, value, squares });
        }
    }
    let of = |side: i64, open: i64, arm: Option<&str>| {
        let mut all = Sums::default();
        let asked = sums.iter().filter(|((s, o, a), _)| *s == side && *o == open && arm.is_none_or(|arm| arm == a));
        asked.for_each(|(_, sum)| all.add(sum));
        all
    };
    let group = |side: i64, arm: Option<&str>| group(goal, of(side, 1, arm).people, of(side, 0, arm));
    let people = |side: i64, arm: Option<&str>| of(side, 0, arm).people + of(side, 1, arm).people;
    let arms: BTreeSet<&str> = sums
        .keys()
        .filter(|(side, _, arm)| *side == TREATED && !arm.is_empty())
        .map(|(.., arm)| arm.as_str())
        .collect();
    Ok(Sides {
        treated: group(TREATED, None),
        withheld: group(WITHHELD, None),
        held_out: group(WITHHELD, Some("holdout")),
        arms: arms.into_iter().map(|arm| (arm.to_owned(), group(TREATED, Some(arm)))).collect(),
        both: people(TREATED + WITHHELD, None),
        wandered: people(TREATED, Some("")),
    })
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

impl Sums {
    fn add(&mut self, other: &Sums) {
        self.people += other.people;
        self.reached += other.reached;
        self.value += other.value;
        self.squares += other.squares;
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_split_that_chance_does_not_explain_is_found() {
        // R: chisq.test(c(4950, 5050), p = c(.5, .5)) and chisq.test(c(4700, 5300), p = c(.5, .5))
        let p = |a, b| chi_square_p(&[(0.5, a), (0.5, b)]).unwrap();
        assert!((p(4_950, 5_050) - 0.317_310_5).abs() < 1e-6);
        assert!(p(4_700, 5_300) < 1e-8);
        assert_eq!(chi_square_p(&[(1.0, 10)]), None);
        assert_eq!(chi_square_p(&[(0.5, 0), (0.5, 0)]), None);
    }
}
