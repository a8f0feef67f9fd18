//! `okaeri run`: everything that is due, for a scheduler that may be late, come twice or be killed.
//!
//! Brings profiles up to date, opens the slots that schedules ask for (keyed, so any number of these may overlap), goes on with runs that an
//! earlier invocation left half written, and delivers what is due. What one campaign's problems stop, stops that campaign alone.

use std::sync::Arc;
use std::time::Duration;

use super::drained::Drained;
use super::follow;
use super::ledger;
use super::loaded::Loaded;
use super::profile::notice_tiers;
use super::send::{self, Enlisted};
use super::sending;
use super::{Exit, Failure, Invocation};
use crate::campaign::{Campaign, Slot, Status};
use crate::clock::{self, Clock, Millis};
use crate::counts::Counts;
use crate::db::Db;
use crate::delivery::Relay;
use crate::dkim::Signer;
use crate::problem::Problems;
use crate::profile::{self, Scope};
use crate::queue::due::{self, Opened};
use crate::queue::run::{self, Move, Run};
use crate::score;

#[derive(Debug, clap::Args)]
pub struct RunArgs {
    /// End after this time (20m, 90s, 2h) with what is in flight, planning included; exit code 75 when work remains
    #[arg(long, value_name = "TIME", value_parser = sending::max_time)]
    max_time: Option<Duration>,
    /// Deliver from a SQLite file although this is a job of continuous integration: the file is kept, and with it who was mailed
    #[arg(long)]
    ephemeral_ok: bool,
}

/// What became of one slot.
struct Turn<'l> {
    campaign: &'l Campaign,
    slot: String,
    became: Became,
}

enum Became {
    Enlisted(Box<Enlisted>),
    Missed(String),
    /// Nothing of it has left; the next invocation tries again.
    Stopped(Failure),
}

pub async fn run(inv: &Invocation, args: RunArgs) -> Result<Exit, Failure> {
    let inv = &inv.within(args.max_time);
    let scheduler = Scheduler::open(inv, args.ephemeral_ok).await?;
    let clock = inv.clock(&scheduler.loaded.project.settings.time_zone)?;
    sending::tell_moved(inv, clock);
    let (turns, drained) = scheduler.turns(inv, clock).await?;
    inv.print(|| json(&turns, &drained), || text(&scheduler.loaded, (&turns, &drained), clock, inv.counts()));
    ended(turns, &drained)
}

/// A project that is ready to be looked at: files read, database open, relays known.
pub struct Scheduler {
    loaded: Loaded,
    db: Db,
    relays: Vec<Relay>,
    signer: Option<Arc<Signer>>,
}

impl Scheduler {
    /// Read the files and open the database.
    pub async fn open(inv: &Invocation, ephemeral_ok: bool) -> Result<Scheduler, Failure> {
        let loaded = Loaded::load(inv)?;
        let clock = inv.clock(&loaded.project.settings.time_zone)?;
        let relays = sending::relays(&loaded.project)?;
        sending::refuse_moved_clock(clock, relays.iter().map(|r| &*r.server))?;
        sending::refuse_throwaway(inv, &loaded.project, &relays, ephemeral_ok)?;
        let signer = sending::signer(&loaded.project)?;
        let db = ledger::open(inv, &loaded.project).await?;
        Ok(Scheduler { loaded, db, relays, signer })
    }

    /// See to everything that is due, as `okaeri run` does.
    pub async fn look(&self, inv: &Invocation) -> Result<Exit, Failure> {
        let clock = inv.clock(&self.loaded.project.settings.time_zone)?;
        let (turns, drained) = self.turns(inv, clock).await?;
        ended(turns, &drained)
    }

    /// Bring profiles up to date, open what is due, and deliver.
    async fn turns(&self, inv: &Invocation, clock: Clock) -> Result<(Vec<Turn<'_>>, Drained), Failure> {
        let (db, settings) = (&self.db, &self.loaded.project.settings);
        profile::refresh(db, settings, clock.now(), Scope::Dirty).await?;
        score::follow(db, settings, clock.now()).await?;
        notice_tiers(db, settings, clock).await?;
        let turns = take_turns(inv, &self.loaded, db, clock).await?;
        let mail = (self.relays.clone(), self.signer.clone());
        let drained = sending::drain(inv, &self.loaded, db, mail, None, 0).await?;
        Ok((turns, drained))
    }
}

/// Open what is due, campaign by campaign, the smallest priority first.
async fn take_turns<'l>(inv: &Invocation, loaded: &'l Loaded, db: &Db, clock: Clock) -> Result<Vec<Turn<'l>>, Failure> {
    let now = clock.as_of();
    let mut live: Vec<&Campaign> = loaded.campaigns.iter().filter(|c| c.status == Status::Live).collect();
    live.sort_by(|a, b| (a.priority, &a.name).cmp(&(b.priority, &b.name)));
    let names: Vec<&str> = live.iter().map(|c| c.key.as_str()).collect();
    let marks = due::marks(db, &names).await?;
    let mut seen_to = Vec::new();
    let unfinished = run::unfinished(db).await?;
    let mut turns = Vec::new();
    for campaign in live {
        if let Some(why) = inv.over() {
            let rest = Failure::Busy(format!("{why} before it was looked at\nrun again to go on"));
            turns.push(Turn { campaign, slot: "now".to_owned(), became: Became::Stopped(rest) });
            continue;
        }
        let before = turns.len();
        let half_written = || unfinished.iter().filter(|r| r.campaign == campaign.key);
        let since = marks.get(&campaign.key).copied();
        let opened = due::opened(campaign, since, &loaded.project.settings.time_zone, now);
        let mut slots = Vec::new();
        let mut interrupted = None;
        for run in half_written() {
            match half_written_run(loaded, campaign, run, now) {
                HalfWritten::GoesOn if run.is_followed() => interrupted = Some(run),
                HalfWritten::GoesOn => slots.push(run.slot.clone()),
                HalfWritten::TooLate => run::discard(db, &run.run_id).await?,
                HalfWritten::NotOurs => {}
            }
        }
        for opened in opened {
            match opened {
                Opened::Due(slot) => slots.push(slot.to_string()),
                Opened::Missed(slot, why) => {
                    due::miss(db, campaign, &loaded.project.settings, slot, &why).await?;
                    turns.push(Turn { campaign, slot: slot.to_string(), became: Became::Missed(why) });
                }
            }
        }
        slots.sort();
        slots.dedup();
        for slot in slots {
            let became = match send::enlist(inv, loaded, db, campaign, Some(slot.clone()), clock, Move::Ready).await {
                Ok(enlisted) => Became::Enlisted(Box::new(enlisted)),
                Err(failure @ Failure::Environment(_)) => return Err(failure),
                Err(failure) => Became::Stopped(failure),
            };
            turns.push(Turn { campaign, slot, became });
        }
        if campaign.is_followed() {
            let slot = interrupted.map_or_else(|| "now".to_owned(), |run| run.slot.clone());
            match follow::follow(inv, loaded, db, campaign, clock, (since, interrupted)).await {
                Ok(None) => {}
                Ok(Some(enlisted)) => {
                    let slot = enlisted.run.slot.clone();
                    turns.push(Turn { campaign, slot, became: Became::Enlisted(Box::new(enlisted)) });
                }
                Err(failure @ Failure::Environment(_)) => return Err(failure),
                Err(failure) => turns.push(Turn { campaign, slot, became: Became::Stopped(failure) }),
            }
        }
        // Looked at up to now, unless something of it waits for another try.
        let all_taken = turns[before..].iter().all(|t| !matches!(t.became, Became::Stopped(_)));
        if (campaign.schedule.is_some() || campaign.is_followed()) && all_taken {
            seen_to.push(campaign.key.as_str());
        }
    }
    seen_to.sort_unstable();
    due::mark(db, &seen_to, now).await?;
    Ok(turns)
}

/// What becomes of a run that somebody was interrupted in.
enum HalfWritten {
    GoesOn,
    /// Its moment is over. Its rows go; the slot is found again, and kept as missed.
    TooLate,
    /// Begun by hand, and gone on with by hand.
    NotOurs,
}

fn half_written_run(loaded: &Loaded, campaign: &Campaign, run: &Run, now: Millis) -> HalfWritten {
    let late = |is: bool| if is { HalfWritten::TooLate } else { HalfWritten::GoesOn };
    if run.is_followed() {
        return late(run.as_of.saturating_add(campaign.catch_up()) < now);
    }
    match campaign.schedule.as_ref().zip(Slot::parse(&run.slot)) {
        Some((schedule, slot)) => late(due::is_late(schedule, slot, &loaded.project.settings.time_zone, now)),
        None => HalfWritten::NotOurs,
    }
}

/// The exit code: problems before all else, because somebody must mend them.
fn ended(turns: Vec<Turn>, drained: &Drained) -> Result<Exit, Failure> {
    let delivered = drained.exit()?;
    let mut problems = Problems::new();
    let mut busy = None;
    for turn in turns {
        match turn.became {
            Became::Stopped(Failure::Problems(found)) => problems.append(found),
            Became::Stopped(Failure::Busy(why)) => busy = Some(why),
            Became::Stopped(failure) => return Err(failure),
            Became::Enlisted(_) | Became::Missed(_) => {}
        }
    }
    if !problems.is_empty() {
        return Err(Failure::Problems(problems));
    }
    match busy {
        Some(why) if delivered == Exit::Done => Err(Failure::Busy(why)),
        _ => Ok(delivered),
    }
}

fn text(loaded: &Loaded, (turns, drained): (&[Turn], &Drained), clock: Clock, counts: Counts) -> String {
    let zone = &loaded.project.settings.time_zone;
    let mut out = String::new();
    for turn in turns {
        let said = match &turn.became {
            Became::Missed(why) => format!("missed: {why}"),
            Became::Stopped(_) => "stopped; nothing of it has left".to_owned(),
            Became::Enlisted(enlisted) => match &enlisted.filled {
                None => format!("{} since another invocation", enlisted.run.state()),
                Some(filled) => {
                    let of = |verdict| counts.of(filled.tally.of(verdict));
                    format!("{} to be mailed, {} withheld, {} skipped", of("send"), of("withheld"), of("skip"))
                }
            },
        };
        out.push_str(&format!("{} · slot {} · {said}\n", turn.campaign.name, turn.slot));
    }
    if turns.is_empty() {
        let next = loaded
            .campaigns
            .iter()
            .filter(|c| c.status == Status::Live)
            .filter_map(|c| Some((c.schedule.as_ref()?.next_opening(clock.as_of(), zone)?, &c.name)))
            .min();
        match next {
            Some((at, name)) => {
                out.push_str(&format!("nothing new is due; next: {name}, {}\n", clock::readable(at, zone)));
            }
            None => out.push_str("nothing is due, and no live campaign has a schedule with a time to come\n"),
        }
    }
    out.push_str(&drained.text(zone, counts));
    out
}

fn json(turns: &[Turn], drained: &Drained) -> serde_json::Value {
    let turn = |turn: &Turn| {
        let mut json = serde_json::json!({ "campaign": turn.campaign.name, "slot": turn.slot });
        match &turn.became {
            Became::Missed(why) => json["missed"] = why.as_str().into(),
            Became::Stopped(failure) => json["stopped"] = failure.kind().into(),
            Became::Enlisted(enlisted) => {
                json["run"] = serde_json::json!(enlisted.run);
                json["verdicts"] = enlisted.filled.as_ref().map(|f| super::plan::verdicts_json(&f.tally)).into();
            }
        }
        json
    };
    serde_json::json!({ "slots": turns.iter().map(turn).collect::<Vec<_>>(), "delivery": drained.json() })
}
