//! Steps that are due for people who entered before: who, and what is decided for each.
//!
//! Somebody's step is open until it is a message (sent or withheld) or a *pass* with its reason. What bars a promotion for a while only, a
//! service freeze or a frequency cap, leaves it open: it is asked again until its moment is further back than `catch_up`.

use std::collections::{BTreeMap, BTreeSet};

use jiff::tz::TimeZone;

use super::candidates::{self, Candidate};
use super::guard::{self, Reason, Rules};
use super::timing::Timing;
use super::{PlanError, Planning, Skips, Spent};
use crate::args;
use crate::campaign::{Campaign, Step};
use crate::clock::{DAY, Millis};
use crate::db::{BUCKETS, Db, DbResult, Value};
use crate::offer::recommend::Recommended;
use crate::segment;
use crate::segment::condition::{self, Condition, Entered};
use crate::settings::Settings;

/// Entries looked at together, about.
const RANGE_ENTRIES: i64 = 2_000;
/// Between a moment on somebody's own clock and the same in UTC lies less than this; two days on either side of a whole number of days.
pub(super) const SLACK: Millis = 3 * DAY;

/// Which look at the steps it is.
#[derive(Debug, Clone, Copy)]
pub struct Look<'a> {
    /// The run it writes.
    pub run_id: &'a str,
    /// When steps were looked at last.
    pub looked_until: Millis,
}

/// Somebody's step whose moment has come.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct DueStep {
    pub bucket: i64,
    pub customer_id: String,
    /// Of their entry.
    pub slot: String,
    /// Of their entry.
    pub arm: String,
    pub entered_at: Millis,
    time_zone: Option<String>,
}

/// What is decided about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    Send,
    /// Their arm is held out.
    Withheld,
    /// Not this step, and why.
    Pass(Reason),
    /// No further step at all.
    Exit,
    /// Not now.
    Wait,
}

/// A step that is due, with its person.
#[derive(Debug, Clone)]
pub struct StepDecided {
    pub due: DueStep,
    pub candidate: Candidate,
    pub turn: Turn,
    pub recommended: Vec<Recommended>,
    /// The pool that they are given something from.
    pub reward: Option<String>,
}

impl DueStep {
    /// Whether their arm is mailed nothing.
    fn is_held_out(&self) -> bool {
        [Reason::Holdout, Reason::HoldoutGlobal].iter().any(|r| r.word() == self.arm)
    }
}

impl Planning<'_> {
    /// The bucket ranges to go through for the planned step; none when nobody's is due.
    pub async fn step_ranges(&self, db: &Db, look: Look<'_>) -> DbResult<Vec<(i64, i64)>> {
        let entries = open_entries(db, (self.campaign, self.step), self.as_of, look).await?;
        if entries == 0 {
            return Ok(Vec::new());
        }
        let step = (RANGE_ENTRIES * BUCKETS / entries).clamp(1, BUCKETS);
        Ok((0..BUCKETS).step_by(step as usize).map(|b| (b, (b + step - 1).min(BUCKETS - 1))).collect())
    }

    /// What is decided about the planned step of those in a range for whom it is due. `spent` is what was used up before.
    pub async fn step_turns(
        &self,
        db: &Db,
        library: &segment::Library,
        range: (i64, i64),
        look: Look<'_>,
        skips: Skips<'_>,
        spent: &mut Spent,
    ) -> Result<Vec<StepDecided>, PlanError> {
        let mut args = args![range.0, range.1];
        let open = open_steps((self.campaign, self.step), self.as_of, look, &mut args);
        let sql = format!(
            "SELECT e.bucket, e.customer_id, e.slot, e.arm, e.entered_at, c.time_zone FROM entry e \
             LEFT JOIN customer c ON c.bucket = e.bucket AND c.customer_id = e.customer_id \
             WHERE {open} ORDER BY e.bucket, e.customer_id, e.slot"
        );
        let entries: Vec<DueStep> = db.fetch_all(&sql, args).await?;
        let due: Vec<(DueStep, bool)> = entries.into_iter().filter_map(|e| self.is_due(e)).collect();
        if due.is_empty() {
            return Ok(Vec::new());
        }
        let who = due.iter().map(|(d, _)| entered(d)).collect();
        let held = conditions(db, self.settings, library, (self.campaign, self.step), self.as_of, &who).await?;
        let people: BTreeSet<(i64, String)> = due.iter().map(|(d, _)| (d.bucket, d.customer_id.clone())).collect();
        let people: Vec<(i64, String)> = people.into_iter().collect();
        let rules = Rules { once_per: None, journey: false, ..self.rules.clone() };
        let timing = Timing::of(self.campaign, self.settings, None, self.as_of);
        let mut candidates = candidates::load(db, &rules, &timing, range, Some(&people), "").await?;
        let mut recommended = self.recommend(db, &mut candidates).await?;
        self.ask_templates(db, &mut candidates, &recommended, skips).await?;
        let tastes = self.tastes(db, &candidates).await?;
        let by_person: BTreeMap<(i64, String), usize> =
            (0..).zip(&candidates).map(|(at, c)| ((c.bucket, c.customer_id.clone()), at)).collect();
        let mut turns = Vec::with_capacity(due.len());
        for (due, missed) in due {
            let at = by_person.get(&(due.bucket, due.customer_id.clone()));
            // Erased altogether: there is nobody left to decide about.
            let Some(&at) = at else { continue };
            let candidate = candidates[at].clone();
            let holds = held.get(&entered(&due)).copied().unwrap_or_default();
            let mut turn = self.turn(&rules, &due, &candidate, missed, holds);
            let pool = if self.step.reward.is_some() { self.suits(tastes.get(&at), spent) } else { None };
            // Asked of those held out too: they differ from the mailed by chance alone.
            if matches!(turn, Turn::Send | Turn::Withheld) && pool.is_none() && self.needs_reward() {
                turn = Turn::Pass(Reason::NoRewardLeft);
            }
            let pool = pool.filter(|_| turn == Turn::Send);
            if let Some(pool) = pool {
                spent.stock.take(&pool.name);
            }
            let recommended = recommended.remove(&at).unwrap_or_default();
            let reward = pool.map(|p| p.name.clone());
            turns.push(StepDecided { due, candidate, turn, recommended, reward });
        }
        Ok(turns)
    }

    /// The entry, when its moment has come, and whether that is too long ago.
    fn is_due(&self, due: DueStep) -> Option<(DueStep, bool)> {
        let own = due.time_zone.as_deref().and_then(|name| TimeZone::get(name).ok());
        let moment = self.step.moment(due.entered_at, own.as_ref().unwrap_or(&self.settings.time_zone));
        (moment <= self.as_of).then(|| (due, moment.saturating_add(self.campaign.catch_up()) < self.as_of))
    }

    fn turn(&self, rules: &Rules, due: &DueStep, person: &Candidate, missed: bool, holds: Holds) -> Turn {
        if holds.exit {
            return Turn::Exit;
        }
        if missed {
            return Turn::Pass(Reason::Missed);
        }
        if holds.unless {
            return Turn::Pass(Reason::Unless);
        }
        if self.step.only_if.is_some() && !holds.only_if {
            return Turn::Pass(Reason::OnlyIf);
        }
        match guard::barred(rules, person) {
            Some(Reason::ServiceFreeze | Reason::FrequencyCap) => Turn::Wait,
            Some(reason) => Turn::Pass(reason),
            None if due.is_held_out() => Turn::Withheld,
            None => Turn::Send,
        }
    }
}

/// Entries of which a step may be due.
pub(super) async fn open_entries(db: &Db, step: (&Campaign, &Step), as_of: Millis, look: Look<'_>) -> DbResult<i64> {
    let mut args = args![0, BUCKETS - 1];
    let sql = format!("SELECT COUNT(*) FROM entry e WHERE {}", open_steps(step, as_of, look, &mut args));
    Ok(db.fetch_one::<(i64,)>(&sql, args).await?.0)
}

/// The condition on `entry e` for entries of which a step may be due and is still open. `$1` and `$2` are the bucket range.
/// Whose run never came about (a saved plan, a cancelled run) has not entered.
fn open_steps((campaign, step): (&Campaign, &Step), as_of: Millis, look: Look<'_>, args: &mut Vec<Value>) -> String {
    let mut bind = |value: Value| {
        args.push(value);
        format!("${}", args.len())
    };
    let key = bind((&campaign.key).into());
    let after = step.after.millis();
    let newest = bind((as_of - after + if after >= DAY { SLACK } else { 0 }).into());
    let oldest = bind((look.looked_until.min(as_of) - after - campaign.catch_up() - SLACK).into());
    let names: Vec<String> = step.names().map(|name| bind(name.into())).collect();
    let [message, pass] = traces(&names.join(", "));
    let run = bind(look.run_id.into());
    format!(
        "e.bucket >= $1 AND e.bucket <= $2 AND e.campaign = {key} AND e.exited_at IS NULL \
         AND e.entered_at <= {newest} AND e.entered_at > {oldest} \
         AND EXISTS (SELECT 1 FROM run r WHERE r.run_id = e.run_id \
           AND (r.run_id = {run} OR r.state NOT IN ('planned', 'enqueuing', 'cancelled'))) \
         AND NOT {message} AND NOT {pass}"
    )
}

/// The conditions on `entry e` that a step of these names (bound already) is a message, or a pass.
pub(super) fn traces(names: &str) -> [String; 2] {
    [("message", "m"), ("step_pass", "s")].map(|(table, t)| {
        format!(
            "EXISTS (SELECT 1 FROM {table} {t} WHERE {t}.bucket = e.bucket AND {t}.customer_id = e.customer_id \
               AND {t}.campaign = e.campaign AND {t}.slot = e.slot AND {t}.step IN ({names}))"
        )
    })
}

/// Which conditions hold for somebody; those that are not written hold for nobody.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Holds {
    pub exit: bool,
    pub unless: bool,
    pub only_if: bool,
}

/// Which of `exit_on`, `unless` and `only_if` of a step hold for these people. Whoever is not in the answer none holds for.
pub(super) async fn conditions(
    db: &Db,
    settings: &Settings,
    library: &segment::Library,
    (campaign, step): (&Campaign, &Step),
    as_of: Millis,
    people: &BTreeSet<Entered>,
) -> Result<BTreeMap<Entered, Holds>, PlanError> {
    let asked = asked(campaign.exit_on.as_ref(), step);
    let conditions: Vec<&Condition> = asked.iter().map(|(_, condition)| *condition).collect();
    let held = condition::holding(db, library, settings, &conditions, as_of, people).await?;
    let holds = |bits: u64| {
        let mut holds = Holds::default();
        for (n, (set, _)) in asked.iter().enumerate() {
            set(&mut holds, bits & (1 << n) != 0);
        }
        holds
    };
    Ok(held.into_iter().map(|(who, bits)| (who, holds(bits))).collect())
}

type Set = fn(&mut Holds, bool);

/// The conditions that are written, each with what it decides.
fn asked<'s>(exit_on: Option<&'s Condition>, step: &'s Step) -> Vec<(Set, &'s Condition)> {
    let of = |set: Set, condition: Option<&'s Condition>| condition.map(|c| (set, c));
    [
        of(|h, is| h.exit = is, exit_on),
        of(|h, is| h.unless = is, step.unless.as_ref()),
        of(|h, is| h.only_if = is, step.only_if.as_ref()),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn entered(due: &DueStep) -> Entered {
    Entered { entered_at: due.entered_at, bucket: due.bucket, customer_id: due.customer_id.clone() }
}
