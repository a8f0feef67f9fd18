//! On their way: people who entered a campaign before and have steps ahead, step by step, as the files are now. Reads only.
//!
//! People are counted in groups that entered in one look and have had the same steps, so memory goes by looks and not by people. What a step asks
//! when it is due (`unless`, `only_if`, `exit_on`, the guards) is not asked here.

use std::collections::{BTreeMap, BTreeSet};

use jiff::tz::TimeZone;

use super::guard::Reason;
use super::steps;
use crate::args;
use crate::campaign::{Campaign, Definition, Step};
use crate::clock::{DAY, Millis};
use crate::db::{BUCKETS, Db, DbResult, Value};
use crate::settings::Settings;

/// Steps told of, those taken out among them: a bit each of what a group has had.
const STEPS_MAX: usize = 62;
/// How far back runs are looked at for steps that are gone: `after` is no longer.
const GONE_SINCE: Millis = 400 * DAY;

/// Everybody who entered one campaign and has something of it ahead.
#[derive(Debug, Clone, Default)]
pub struct OnTheWay {
    /// People with a step ahead, or without one that was taken out.
    pub people: i64,
    /// In the order of the file; steps that nobody has ahead are left out.
    pub steps: Vec<StepAhead>,
    /// Steps that were there when people entered, are not in the file any more, and would have been ahead.
    pub taken_out: Vec<TakenOut>,
}

/// A step and those who have it ahead.
#[derive(Debug, Clone, Default)]
pub struct StepAhead {
    /// Its name now, and those before.
    pub names: Vec<String>,
    /// Held out included.
    pub people: i64,
    /// Of them: held out, so mailed nothing.
    pub held_out: i64,
    /// Of them: entered when there was no such step.
    pub new_to: i64,
    /// The name it had when some of them entered, if it was another.
    pub was: Option<String>,
    /// How many are to be mailed at which instant. Those of the past wait for the next look.
    pub moments: BTreeMap<Millis, i64>,
}

/// A step that nobody gets any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TakenOut {
    pub step: String,
    pub people: i64,
}

impl StepAhead {
    pub fn name(&self) -> &str {
        &self.names[0]
    }

    /// When the first of those who are mailed has it; `None` when all are held out.
    pub fn next_due(&self) -> Option<Millis> {
        self.moments.keys().next().copied()
    }

    /// How many are mailed at the next look.
    pub fn due_by(&self, as_of: Millis) -> i64 {
        self.moments.range(..=as_of).map(|(_, people)| people).sum()
    }
}

/// People of one look who have had the same.
#[derive(sqlx::FromRow)]
struct Group {
    entered_at: Millis,
    time_zone: Option<String>,
    arm: String,
    run_id: String,
    had: i64,
    people: i64,
}

/// A step of a run that is not in the file any more.
struct Gone {
    step: String,
    after: Millis,
}

/// Who is on their way through a campaign at an instant.
pub async fn on_the_way(db: &Db, settings: &Settings, campaign: &Campaign, as_of: Millis) -> DbResult<OnTheWay> {
    let began_with = began_with(db, campaign, as_of).await?;
    let gone = gone(campaign, began_with.values());
    if !campaign.has_later_steps() && gone.is_empty() {
        return Ok(OnTheWay::default());
    }
    let steps = &campaign.steps[..campaign.steps.len().min(STEPS_MAX)];
    let mut way = OnTheWay {
        steps: steps
            .iter()
            .map(|s| StepAhead { names: s.names().map(str::to_owned).collect(), ..StepAhead::default() })
            .collect(),
        taken_out: gone.iter().map(|g| TakenOut { step: g.step.clone(), people: 0 }).collect(),
        people: 0,
    };
    for group in groups(db, campaign, &gone, as_of).await? {
        let began_with = began_with.get(&group.run_id);
        if way.add(settings, (campaign, steps), &gone, &group, began_with, as_of) {
            way.people += group.people;
        }
    }
    way.steps.retain(|s| s.people > 0);
    way.taken_out.retain(|t| t.people > 0);
    Ok(way)
}

impl OnTheWay {
    /// Whether they have anything ahead, or lost something.
    fn add(
        &mut self,
        settings: &Settings,
        (campaign, steps): (&Campaign, &[Step]),
        gone: &[Gone],
        group: &Group,
        began_with: Option<&Definition>,
        as_of: Millis,
    ) -> bool {
        let own = group.time_zone.as_deref().and_then(|name| TimeZone::get(name).ok());
        let zone = own.as_ref().unwrap_or(&settings.time_zone);
        let is_held_out = [Reason::Holdout, Reason::HoldoutGlobal].iter().any(|r| r.word() == group.arm);
        let is_over = |moment: Millis| moment.saturating_add(campaign.catch_up()) < as_of;
        let has_had = |n: usize| group.had & (1 << n) != 0;
        let mut any = false;
        for (n, step) in steps.iter().enumerate() {
            let moment = step.moment(group.entered_at, zone);
            if has_had(n) || is_over(moment) {
                continue;
            }
            any = true;
            let ahead = &mut self.steps[n];
            ahead.people += group.people;
            if is_held_out {
                ahead.held_out += group.people;
            } else {
                *ahead.moments.entry(moment).or_default() += group.people;
            }
            let known = began_with.map(|d| step.names().find(|name| d.has_step(name)));
            match known {
                Some(None) => ahead.new_to += group.people,
                Some(Some(name)) if name != step.name => ahead.was = Some(name.to_owned()),
                _ => {}
            }
        }
        for (n, gone) in gone.iter().enumerate() {
            let had_it_ahead = began_with.is_some_and(|d| d.has_step(&gone.step));
            if had_it_ahead && !has_had(steps.len() + n) && !is_over(group.entered_at + gone.after) {
                any = true;
                self.taken_out[n].people += group.people;
            }
        }
        any
    }
}

/// What the runs people entered with were bound to, by run.
async fn began_with(db: &Db, campaign: &Campaign, as_of: Millis) -> DbResult<BTreeMap<String, Definition>> {
    let sql = "SELECT run_id, definition FROM run WHERE campaign = $1 AND as_of > $2 AND as_of <= $3 ORDER BY run_id";
    let runs: Vec<(String, String)> = db.fetch_all(sql, args![&campaign.key, as_of - GONE_SINCE, as_of]).await?;
    // Of a run whose definition this version does not read, nothing is known.
    Ok(runs.into_iter().filter_map(|(id, text)| Some((id, serde_json::from_str(&text).ok()?))).collect())
}

/// Steps of these runs that are not in the file any more, by any name.
fn gone<'d>(campaign: &Campaign, began_with: impl Iterator<Item = &'d Definition>) -> Vec<Gone> {
    let mut gone: BTreeMap<&str, Millis> = BTreeMap::new();
    let names: BTreeSet<&str> = campaign.steps.iter().flat_map(Step::names).collect();
    for (step, after) in began_with.flat_map(|d| &d.after).filter(|(step, _)| !names.contains(step.as_str())) {
        let latest = gone.entry(step).or_default();
        *latest = (*latest).max(*after);
    }
    let room = STEPS_MAX - campaign.steps.len().min(STEPS_MAX);
    gone.into_iter().take(room).map(|(step, after)| Gone { step: step.to_owned(), after }).collect()
}

async fn groups(db: &Db, campaign: &Campaign, gone: &[Gone], as_of: Millis) -> DbResult<Vec<Group>> {
    let mut args: Vec<Value> = args![0, BUCKETS - 1, &campaign.key, as_of];
    let longest = gone.iter().map(|g| g.after).fold(campaign.length(), Millis::max);
    args.push((as_of - longest - campaign.catch_up() - steps::SLACK).into());
    let of_file = campaign.steps.iter().take(STEPS_MAX).map(|s| s.names().collect::<Vec<_>>());
    let had: Vec<String> = of_file
        .chain(gone.iter().map(|g| vec![g.step.as_str()]))
        .enumerate()
        .map(|(n, names)| {
            let names: Vec<String> = names
                .into_iter()
                .map(|name| {
                    args.push(name.into());
                    format!("${}", args.len())
                })
                .collect();
            let [message, pass] = steps::traces(&names.join(", "));
            format!("CASE WHEN {message} OR {pass} THEN CAST({} AS BIGINT) ELSE 0 END", 1_i64 << n)
        })
        .collect();
    let sql = format!(
        "SELECT e.entered_at, c.time_zone, e.arm, e.run_id, {} AS had, COUNT(*) AS people FROM entry e \
         JOIN customer c ON c.bucket = e.bucket AND c.customer_id = e.customer_id \
         WHERE e.bucket >= $1 AND e.bucket <= $2 AND e.campaign = $3 AND e.entered_at <= $4 AND e.entered_at > $5 \
           AND e.exited_at IS NULL AND c.erased_at IS NULL \
           AND EXISTS (SELECT 1 FROM run r WHERE r.run_id = e.run_id AND r.state NOT IN ('planned', 'enqueuing', 'cancelled')) \
         GROUP BY e.entered_at, c.time_zone, e.arm, e.run_id, had",
        had.join(" + ")
    );
    db.fetch_all(&sql, args).await
}
