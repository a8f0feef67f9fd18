//! `okaeri send CAMPAIGN`: plan the campaign for its slot, write the ledger, deliver.

use std::time::Duration;

use tokio::time::Instant;

use super::drained::Drained;
use super::ledger;
use super::loaded::Loaded;
use super::profile;
use super::recommend;
use super::sending;
use super::{Exit, Failure, Invocation, shown};
use crate::args;
use crate::campaign::{Campaign, Definition, Slot};
use crate::clock::{self, Clock, Millis};
use crate::content::Snapshot;
use crate::counts::Counts;
use crate::db::{Db, Lease};
use crate::message::Composer;
use crate::money::grouped;
use crate::plan::{Planning, Timing};
use crate::problem::{Place, Problems, counted};
use crate::queue::due::{self, Opened};
use crate::queue::fill::{Filled, Filling};
use crate::queue::run::{self, Move, NewRun, Run};
use crate::queue::{MESSAGE_LIFETIME, RunState, planner, recheck, status};
use crate::segment::kept::{self, Kept};
use crate::token::Tokens;

/// How long we wait for another planner.
const PLANNER_WAIT: Duration = Duration::from_secs(60);
const PLANNER_POLL: Duration = Duration::from_millis(200);

#[derive(Debug, clap::Args)]
pub struct SendArgs {
    /// The campaign's name
    #[arg(required_unless_present = "plan")]
    campaign: Option<String>,
    /// Send this saved plan (`okaeri plan --save`): those planned who still qualify, and nobody else
    #[arg(long, value_name = "ID", conflicts_with_all = ["campaign", "slot"])]
    plan: Option<String>,
    /// The key of this occurrence; the same slot is never sent twice [default: what its schedule has open, else the local day]
    #[arg(long)]
    slot: Option<String>,
    /// End after this time (20m, 90s, 2h) with what is in flight, planning included; exit code 75 when work remains
    #[arg(long, value_name = "TIME", value_parser = sending::max_time)]
    max_time: Option<Duration>,
    /// Deliver from a SQLite file although this is a job of continuous integration: the file is kept, and with it who was mailed
    #[arg(long)]
    ephemeral_ok: bool,
}

pub async fn run(inv: &Invocation, args: SendArgs) -> Result<Exit, Failure> {
    let inv = &inv.within(args.max_time);
    let loaded = Loaded::load(inv)?;
    let clock = inv.clock(&loaded.project.settings.time_zone)?;
    let relays = sending::relays(&loaded.project)?;
    sending::refuse_moved_clock(clock, relays.iter().map(|r| &*r.server))?;
    sending::refuse_throwaway(inv, &loaded.project, &relays, args.ephemeral_ok)?;
    sending::tell_moved(inv, clock);
    let signer = sending::signer(&loaded.project)?;
    let db = ledger::open(inv, &loaded.project).await?;
    let (campaign, slot) = match &args.plan {
        Some(run_id) => saved_plan(&loaded, &db, run_id).await?,
        None => (loaded.live_campaign(args.campaign.as_deref().unwrap_or_default())?, args.slot),
    };
    let slot = slot_or_usual(&db, &loaded, campaign, slot, clock.as_of()).await?;
    // What was begun goes on, whatever is over since.
    let begun = run::find(&db, &campaign.key, &slot).await?.filter(|run| run.state() != RunState::Planned);
    if begun.is_none() {
        if !is_open(&loaded, campaign, &slot, clock.as_of()) {
            return Err(over(&loaded, campaign));
        }
        profile::tell_stale(inv, &db).await?;
    }
    let enlisted = enlist(inv, &loaded, &db, campaign, Some(slot), clock, Move::Ready).await?;
    let sent = match enlisted.run.state() {
        RunState::Ready | RunState::Sending => {
            let waiting = pending(&db, &enlisted.run.run_id).await?;
            let run_id = Some(enlisted.run.run_id.clone());
            Some(sending::drain(inv, &loaded, &db, (relays, signer), run_id, waiting).await?)
        }
        _ => None,
    };
    inv.print(|| json(&enlisted, sent.as_ref()), || text(&loaded, campaign, &enlisted, sent.as_ref()));
    match sent {
        Some(sent) => sent.exit(),
        None if enlisted.run.state() == RunState::Paused => Ok(Exit::Breaker),
        None => Ok(Exit::Done),
    }
}

/// A run with its messages in the ledger.
pub struct Enlisted {
    pub run: Run,
    /// What filling came to; `None` when the run was there before.
    pub filled: Option<Filled>,
}

/// Open the campaign's run for the slot and see that all its messages are in the ledger and the run has come to `end`: may leave, or is kept as a plan.
/// To leave, a plan that was saved for the slot is released.
pub async fn enlist(
    inv: &Invocation,
    loaded: &Loaded,
    db: &Db,
    campaign: &Campaign,
    slot: Option<String>,
    clock: Clock,
    end: Move,
) -> Result<Enlisted, Failure> {
    let settings = &loaded.project.settings;
    let as_of = clock.as_of();
    let slot = slot_or_usual(db, loaded, campaign, slot, as_of).await?;
    let timing = Timing::of(campaign, settings, Slot::parse(&slot), as_of);
    let tokens = sending::tokens(&loaded.project)?;
    let (set, snapshot) = loaded.pinned(inv, campaign)?;
    if run::find(db, &campaign.key, &slot).await?.is_none() {
        loaded.scores_hold(inv, db, campaign).await?;
    }
    let kept = kept_members(loaded, db, campaign, &slot, clock, as_of).await?;
    recommend::get_ready(inv, db, campaign).await?;
    let lease = planner_lease(inv, db).await?;
    let run = open_run(db, loaded, campaign, (&slot, &timing), &snapshot, as_of, clock).await?;
    if run.state() != RunState::Enqueuing {
        lease.release(db).await?;
        let run =
            if run.state() == RunState::Planned && end == Move::Ready { release(loaded, db, run).await? } else { run };
        return Ok(Enlisted { run, filled: None });
    }
    let snapshot = pinned_earlier(db, &run, snapshot).await?.at_home(&loaded.project.dir);
    let planning =
        Planning::prepare(db, settings, &loaded.segments, (campaign, &campaign.steps[0]), set.fields_used(), run.as_of)
            .await?;
    let planning = planning.with_kept(kept).for_slot(Slot::parse(&slot));
    let composer = composer(&snapshot, tokens.clone())?;
    let filling = Filling {
        planning: &planning,
        composer: &composer,
        tokens: &tokens,
        slot: &slot,
        leave_at: clock.is_moved().then(|| clock.now()),
    };
    let keep = async || inv.over().is_none() && lease.renew(db, clock::now()).await.unwrap_or(false);
    let Some(filled) = filling.fill(db, &run, keep).await? else {
        lease.release(db).await?;
        return Err(interrupted(inv));
    };
    if let Some(failure) = stopped(campaign, &filled) {
        run::discard(db, &run.run_id).await?;
        lease.release(db).await?;
        return Err(failure);
    }
    run::advance(db, &run.run_id, end, None, clock::now()).await?;
    lease.release(db).await?;
    let run = run::get(db, &run.run_id).await?.unwrap_or(run);
    Ok(Enlisted { run, filled: Some(filled) })
}

/// A saved plan may be sent: first whoever no longer qualifies is taken out of it. Nobody is added.
async fn release(loaded: &Loaded, db: &Db, run: Run) -> Result<Run, Failure> {
    recheck::recheck_plan(db, &loaded.files(), &run, clock::now()).await?;
    let now = clock::now();
    run::release(db, &run.run_id, now + MESSAGE_LIFETIME, now).await?;
    Ok(run::get(db, &run.run_id).await?.unwrap_or(run))
}

/// The campaign and slot of a saved plan.
async fn saved_plan<'l>(loaded: &'l Loaded, db: &Db, run_id: &str) -> Result<(&'l Campaign, Option<String>), Failure> {
    let Some(run) = run::get(db, run_id).await? else { return Err(no_plan(loaded, db, run_id).await?) };
    let name = loaded.campaigns.of_key(&run.campaign).map_or(&run.campaign, |c| &c.name);
    Ok((loaded.live_campaign(name)?, Some(run.slot)))
}

/// A plan is dropped when another one is kept for its slot: then that one is named.
async fn no_plan(loaded: &Loaded, db: &Db, run_id: &str) -> Result<Failure, Failure> {
    let of_campaign = |c: &&Campaign| run_id.strip_prefix(&c.key).is_some_and(|rest| rest.starts_with('-'));
    // `win-back` begins as `win` does.
    let campaign = loaded.campaigns.iter().filter(of_campaign).max_by_key(|c| c.key.len());
    let kept = match campaign {
        Some(campaign) => run::planned(db, &campaign.key).await?,
        None => Vec::new(),
    };
    let hint = match (campaign, kept.as_slice()) {
        (Some(campaign), [newest, ..]) => {
            let zone = &loaded.project.settings.time_zone;
            format!(
                "a plan that is kept for a slot takes the place of an earlier one; `{}` has this one, of {}, for slot {}:\nokaeri send --plan {}",
                campaign.name,
                clock::readable(newest.created_at, zone),
                newest.slot,
                newest.run_id
            )
        }
        _ => "okaeri plan CAMPAIGN --save makes one and prints its id".to_owned(),
    };
    Ok(Failure::Usage(format!("there is no plan `{}`\n{hint}", shown(run_id))))
}

/// Whether somebody may get anything new of a campaign in a slot: `ends` is later than the slot opens, or than now when it is no slot of a schedule.
pub(super) fn is_open(loaded: &Loaded, campaign: &Campaign, slot: &str, as_of: Millis) -> bool {
    let scheduled = campaign.schedule.as_ref().zip(Slot::parse(slot));
    let at = scheduled.map_or(as_of, |(schedule, slot)| schedule.opens_at(slot, &loaded.project.settings.time_zone));
    campaign.is_open_at(at)
}

/// Why a campaign whose `ends` is over sends nothing.
pub(super) fn over(loaded: &Loaded, campaign: &Campaign) -> Failure {
    let zone = &loaded.project.settings.time_zone;
    let ended = campaign.ends_at.map(|at| clock::readable(at, zone)).unwrap_or_default();
    Failure::Usage(format!(
        "the campaign `{}` ended {ended}: nobody gets anything new of it\ngive `ends` in {} a day to come if it goes on",
        campaign.name, campaign.place.file
    ))
}

/// The slot that was asked for; else the one the schedule has open, which `okaeri run` would take; else the local day.
pub(super) async fn slot_or_usual(
    db: &Db,
    loaded: &Loaded,
    campaign: &Campaign,
    asked: Option<String>,
    as_of: Millis,
) -> Result<String, Failure> {
    if let Some(slot) = asked {
        return Ok(slot);
    }
    let zone = &loaded.project.settings.time_zone;
    let open = due::look(db, campaign, zone, as_of).await?.into_iter().rev().find_map(|opened| match opened {
        Opened::Due(slot) => Some(slot.to_string()),
        Opened::Missed(..) => None,
    });
    Ok(open.unwrap_or_else(|| clock::date_in(as_of, zone).to_string()))
}

/// All segments in one go, kept for the campaigns that follow today; before the planner's lease is taken, because it may take a while.
/// A run that was begun at another instant decides for itself.
async fn kept_members(
    loaded: &Loaded,
    db: &Db,
    campaign: &Campaign,
    slot: &str,
    clock: Clock,
    as_of: Millis,
) -> Result<Option<Kept>, Failure> {
    if clock.is_moved() || campaign.segments().is_empty() || run::find(db, &campaign.key, slot).await?.is_some() {
        return Ok(None);
    }
    Ok(kept::refresh(db, &loaded.segments, &loaded.project.settings, as_of).await?)
}

/// Templates compiled for composing.
pub fn composer(snapshot: &Snapshot, tokens: Tokens) -> Result<Composer, Failure> {
    let compiled = snapshot.compile().map_err(|e| Failure::Usage(e.to_string()))?;
    Ok(Composer::new(compiled, Some(tokens)))
}

/// Why a run must not go on.
pub fn stopped(campaign: &Campaign, filled: &Filled) -> Option<Failure> {
    if filled.proof.failed > 0 {
        return Some(not_rendered(campaign, filled));
    }
    let reward = campaign.steps.iter().find_map(|s| s.reward.as_ref()).filter(|_| filled.short > 0)?;
    let mut problems = Problems::new();
    let pools = reward.pools.join(", ");
    problems
        .error("no-reward-left", &reward.place, format!("nothing was sent: there are not enough rewards for everybody ({pools})"))
        .hint(format!(
            "`okaeri plan {}` says how many are missing; bring more in with `okaeri reward import`, or say what else holds: when_none_left: skip",
            campaign.name
        ));
    Some(Failure::Problems(problems))
}

/// The problems that a run with unrenderable messages ends with: one for each line of a template that fails.
pub fn not_rendered(campaign: &Campaign, filled: &Filled) -> Failure {
    let mut problems = Problems::new();
    let proof = &filled.proof;
    for fault in &proof.faults {
        let messages = counted(fault.messages as usize, "message");
        let told = format!("{}: {messages}, for example to customer {}", fault.why, shown(&fault.customer_id));
        let problem = problems.error("not-rendered", &fault.place, told);
        if let Some(hint) = &fault.hint {
            problem.hint(hint.as_str());
        }
    }
    let looked_at = grouped((proof.rendered + proof.failed) as i64);
    let all = match filled.ended_early {
        true => format!("{} of {looked_at} messages looked at first", grouped(proof.failed as i64)),
        false => format!("{} of {looked_at} messages", grouped(proof.failed as i64)),
    };
    problems
        .error(
            "run-stopped",
            &Place::file(&campaign.place.file),
            format!("nothing was sent: {all} could not be rendered"),
        )
        .hint("mend the template (a `default(value=…)` for what may be missing), then run again");
    Failure::Problems(problems)
}

/// How fast messages were rendered, and how many ways through the templates that took; nothing where none was.
pub fn proved(filled: &Filled) -> String {
    let proof = &filled.proof;
    let pace = proof.per_second().map(|n| format!(", {} a second", grouped(n as i64))).unwrap_or_default();
    match proof.rendered {
        0 => String::new(),
        _ => format!("each rendered once without fault: {}{pace}", counted(proof.shapes(), "shape")),
    }
}

/// The same for machines.
pub fn proved_json(filled: &Filled) -> serde_json::Value {
    let proof = &filled.proof;
    serde_json::json!({ "rendered": proof.rendered, "shapes": proof.shapes(), "per_second": proof.per_second() })
}

/// Planning ended before its time.
pub(super) fn interrupted(inv: &Invocation) -> Failure {
    let why = inv.over().unwrap_or("another process took over planning");
    Failure::Busy(format!("{why} before every message was written; nothing has left\nrun again to go on"))
}

/// Wait for the right to plan, a minute at most.
pub(super) async fn planner_lease(inv: &Invocation, db: &Db) -> Result<Lease, Failure> {
    let started = Instant::now();
    loop {
        if let Some(lease) = planner::take(db, clock::now()).await? {
            return Ok(lease);
        }
        if let Some(why) = inv.over() {
            return Err(Failure::Busy(format!("{why} while another process was planning\nrun again later")));
        }
        if started.elapsed() > PLANNER_WAIT {
            return Err(Failure::Busy("another process is planning; run again later".to_owned()));
        }
        tokio::time::sleep(PLANNER_POLL).await;
    }
}

pub(super) async fn open_run(
    db: &Db,
    loaded: &Loaded,
    campaign: &Campaign,
    (slot, timing): (&str, &Timing),
    snapshot: &Snapshot,
    as_of: Millis,
    clock: Clock,
) -> Result<Run, Failure> {
    let definition = Definition::of(campaign, &loaded.project.settings);
    let definition = serde_json::to_string(&definition).expect("a definition serialises");
    let snapshot_id = snapshot.id();
    let mut tx = db.begin().await?;
    tx.execute(
        "INSERT INTO template_snapshot (snapshot_id, content, created_at) VALUES ($1, $2, $3) ON CONFLICT (snapshot_id) DO NOTHING",
        args![&snapshot_id, snapshot.to_json(), clock.now()],
    )
    .await?;
    let new = NewRun {
        campaign: &campaign.key,
        slot,
        as_of,
        due_at: as_of,
        expires_at: clock.now().max(if clock.is_moved() { 0 } else { timing.last_due() }) + MESSAGE_LIFETIME,
        snapshot_id: &snapshot_id,
        definition: &definition,
    };
    let run = run::open(&mut tx, &new, clock.now()).await?;
    tx.commit().await?;
    Ok(run)
}

/// The templates the run was opened with; an interrupted run goes on with them, whatever the files say now.
pub(super) async fn pinned_earlier(db: &Db, run: &Run, ours: Snapshot) -> Result<Snapshot, Failure> {
    if run.snapshot_id == ours.id() {
        return Ok(ours);
    }
    let sql = "SELECT content FROM template_snapshot WHERE snapshot_id = $1";
    let (content,): (String,) = db.fetch_one(sql, args![&run.snapshot_id]).await?;
    Snapshot::from_json(&content).map_err(|e| Failure::Environment(e.to_string()))
}

async fn pending(db: &Db, run_id: &str) -> Result<u64, Failure> {
    let states = status::states_of(db, run_id).await?;
    Ok(states.iter().filter(|(s, _)| s == "pending" || s == "deferred").map(|(_, n)| n.unsigned_abs()).sum())
}

fn text(loaded: &Loaded, campaign: &Campaign, enlisted: &Enlisted, sent: Option<&Drained>) -> String {
    let run = &enlisted.run;
    let mut out = format!("{} · {} · slot {}\n", campaign.name, campaign.title, run.slot);
    match (&enlisted.filled, run.state()) {
        (Some(filled), _) => {
            for (verdict, words) in [("send", "to be mailed"), ("withheld", "withheld"), ("skip", "skipped")] {
                let proof = if verdict == "send" { proved(filled) } else { String::new() };
                let proof = if proof.is_empty() { proof } else { format!(", {proof}") };
                out.push_str(&format!("  {:>9} {words}{proof}\n", grouped(filled.tally.of(verdict))));
            }
        }
        (None, RunState::Ready | RunState::Sending) => {
            out.push_str("  this slot was planned or begun before; going on with it\n");
        }
        (None, RunState::Paused) => {
            let why = run.reason.as_deref().unwrap_or("by an operator");
            out.push_str(&format!("  this slot is paused: {why}\n  okaeri queue resume {}\n", run.run_id));
        }
        (None, state) => {
            out.push_str(&format!("  this slot is {state}: nothing to do (another slot: --slot NAME)\n"));
        }
    }
    if let Some(sent) = sent {
        out.push_str(&sent.text(&loaded.project.settings.time_zone, Counts::Exact));
    }
    out
}

fn json(enlisted: &Enlisted, sent: Option<&Drained>) -> serde_json::Value {
    serde_json::json!({
        "run": enlisted.run,
        "verdicts": enlisted.filled.as_ref().map(|f| super::plan::verdicts_json(&f.tally)),
        "proof": enlisted.filled.as_ref().map(proved_json),
        "delivery": sent.map(Drained::json),
    })
}
