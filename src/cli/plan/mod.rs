//! `okaeri plan CAMPAIGN`: who would get it, who would not and why; every message rendered once; no run and no message is written.

use serde_json::json;

pub use self::against::few;
use super::loaded::Loaded;
use super::profile;
use super::recommend::{self, recommendation};
use super::send::{composer, enlist, is_open, not_rendered, over, proved, proved_json, slot_or_usual};
use super::{Exit, Failure, Format, Invocation};
use crate::address::masked;
use crate::campaign::{Campaign, Slot, Status};
use crate::clock::{self, Clock, Millis};
use crate::money::{grouped, readable};
use crate::plan::ahead::{self, OnTheWay};
use crate::plan::{Planning, Reason, Rewarded};
use crate::queue::RunState;
use crate::queue::fill::{Filled, Filling, Tally};
use crate::queue::run::{self, Move};
use crate::settings::Settings;
use crate::token::Tokens;
use crate::yaml::Span;

mod against;
mod way;

#[derive(Debug, clap::Args)]
pub struct PlanArgs {
    /// The campaign's name; with --against all campaigns when none is named
    #[arg(required_unless_present = "against")]
    campaign: Option<String>,
    /// What is different from the files of this git revision: a branch, a tag or a commit
    #[arg(long, value_name = "REV", conflicts_with = "save")]
    against: Option<String>,
    /// Keep the plan: its messages are written, and leave when somebody says `okaeri send --plan ID`, or when the schedule's time comes
    #[arg(long)]
    save: bool,
    /// The slot to plan [default: what its schedule has open, else the local day]
    #[arg(long, conflicts_with = "against")]
    slot: Option<String>,
}

pub async fn run(inv: &Invocation, args: PlanArgs) -> Result<Exit, Failure> {
    let loaded = Loaded::load(inv)?;
    let clock = inv.clock(&loaded.project.settings.time_zone)?;
    if let Some(revision) = &args.against {
        let db = inv.open_db(&loaded.project).await?;
        against::against(inv, &loaded, &db, clock, (args.campaign.as_deref(), revision)).await?;
        return Ok(Exit::Done);
    }
    let name = args.campaign.as_deref().unwrap_or_default();
    if args.save {
        save(inv, &loaded, clock, name, args.slot).await
    } else {
        look(inv, &loaded, clock, name, args.slot).await
    }
}

/// Write the run and keep it; an earlier plan of the slot that nobody sent makes room.
async fn save(
    inv: &Invocation,
    loaded: &Loaded,
    clock: Clock,
    name: &str,
    slot: Option<String>,
) -> Result<Exit, Failure> {
    let campaign = loaded.live_campaign(name)?;
    if campaign.journey.is_some() {
        return Err(Failure::Usage(format!(
            "`{name}` is a journey: people enter whenever they match, so there is no plan to keep\nlook at it with `okaeri plan {name}`"
        )));
    }
    let db = inv.open_db(&loaded.project).await?;
    profile::tell_stale(inv, &db).await?;
    let slot = slot_or_usual(&db, loaded, campaign, slot, clock.as_of()).await?;
    if !is_open(loaded, campaign, &slot, clock.as_of()) {
        return Err(over(loaded, campaign));
    }
    let earlier = run::find(&db, &campaign.key, &slot).await?;
    if let Some(earlier) = &earlier {
        if earlier.state() != RunState::Planned {
            return Err(Failure::Usage(format!(
                "the slot {slot} of `{name}` is {} already\nanother slot: --slot NAME",
                earlier.state()
            )));
        }
        run::discard(&db, &earlier.run_id).await?;
    }
    let saved = enlist(inv, loaded, &db, campaign, Some(slot), clock, Move::Save).await?;
    let run = &saved.run;
    let tally = saved.filled.as_ref().map(|f| &f.tally);
    let filled = saved.filled.as_ref();
    inv.print(
        || json!({ "run": run, "verdicts": tally.map(verdicts_json), "replaces": earlier.as_ref().map(|e| &e.run_id) }),
        || {
            let of = |verdict| grouped(tally.map_or(0, |t| t.of(verdict)));
            let rendered = filled.map_or(0, |f| f.proof.rendered);
            let replaces = earlier.as_ref().map(|e| format!("  in place of {}, which is dropped\n", e.run_id));
            let replaces = replaces.unwrap_or_default();
            format!(
                "{name} · slot {} · {} to be mailed (each rendered: {rendered}), {} withheld, {} skipped\n  kept as {id}\n{replaces}  send it: okaeri send --plan {id}\n  drop it: okaeri queue cancel {id}\n",
                run.slot,
                of("send"),
                of("withheld"),
                of("skip"),
                id = run.run_id
            )
        },
    );
    Ok(Exit::Done)
}

/// Decide and render everything, write nothing.
async fn look(
    inv: &Invocation,
    loaded: &Loaded,
    clock: Clock,
    name: &str,
    slot: Option<String>,
) -> Result<Exit, Failure> {
    let campaign = loaded.campaign(name)?;
    let settings = &loaded.project.settings;
    let (set, snapshot) = loaded.pinned(inv, campaign)?;
    let db = inv.open_db(&loaded.project).await?;
    recommend::get_ready(inv, &db, campaign).await?;
    loaded.scores_hold(inv, &db, campaign).await?;
    let slot = slot_or_usual(&db, loaded, campaign, slot, clock.as_of()).await?;
    let step = (campaign, &campaign.steps[0]);
    let planning = Planning::prepare(&db, settings, &loaded.segments, step, set.fields_used(), clock.as_of()).await?;
    let planning = planning.for_slot(Slot::parse(&slot));
    // A plan is looked at where no secret is at hand; its links and Message-IDs are never used.
    let tokens = Tokens::new(settings.links.secret.get().unwrap_or("a plan signs nothing"));
    let composer = composer(&snapshot, tokens.clone())?;
    let filling = Filling { planning: &planning, composer: &composer, tokens: &tokens, slot: &slot, leave_at: None };
    let filled = filling.rehearse(&db).await?;
    if filled.proof.failed > 0 {
        return Err(not_rendered(campaign, &filled));
    }
    let stale = profile::tell_stale(inv, &db).await?;
    if filled.tally.audience() == 0 && !planning.knows_anybody() {
        inv.say("nobody is known yet: `okaeri import` brings in customers, `okaeri profile` their numbers");
    }
    let looked = Looked {
        campaign,
        settings,
        filled,
        windows: planning.windows(&loaded.segments),
        way: ahead::on_the_way(&db, settings, campaign, clock.as_of()).await?,
        is_open: is_open(loaded, campaign, &slot, clock.as_of()),
        as_of: clock.as_of(),
        stale,
    };
    match inv.format {
        Format::Markdown => anstream::print!("{}", looked.markdown()),
        _ => inv.print(|| looked.json(), || looked.text(inv)),
    }
    Ok(Exit::Done)
}

/// What looking at a campaign came to, and how it is told.
struct Looked<'l> {
    campaign: &'l Campaign,
    settings: &'l Settings,
    filled: Filled,
    windows: Vec<String>,
    way: OnTheWay,
    /// `ends` is still to come.
    is_open: bool,
    as_of: Millis,
    /// Customers whose numbers are older than their data.
    stale: i64,
}

impl Looked<'_> {
    /// For a pull request: counts alone, small ones not exactly.
    fn markdown(&self) -> String {
        let Looked { campaign, filled, .. } = self;
        let tally = &filled.tally;
        let mut out = format!("### {} · {}\n\n| people | verdict |\n|--:|---|\n", campaign.name, campaign.title);
        out.push_str(&format!("| {} | audience |\n| {} | **send** |\n", few(tally.audience()), few(tally.of("send"))));
        for r in &filled.rewards {
            out.push_str(&format!("| {} | reward {} |\n", few(r.needed), r.pool));
        }
        for (verdict, reason, people) in tally.rows().filter(|(v, ..)| *v != "send") {
            let meaning = Reason::from_word(reason).map_or("", Reason::meaning);
            let word = if verdict == "withheld" { format!("withheld: {reason}") } else { format!("skip: {reason}") };
            out.push_str(&format!("| {} | {word} – {meaning} |\n", few(people)));
        }
        if self.way.people > 0 {
            out.push_str(&format!("| {} | on their way |\n", few(self.way.people)));
            for s in &self.way.steps {
                out.push_str(&format!("| {} | step {} ahead |\n", few(s.people), s.name()));
            }
            for t in &self.way.taken_out {
                out.push_str(&format!("| {} | step {}: taken out, they do not get it |\n", few(t.people), t.step));
            }
        }
        if let Some(silent) = self.silent() {
            out.push_str(&format!("\n{silent}\n"));
        }
        if self.stale > 0 {
            out.push_str(&format!("\n{}\n", profile::stale(&few(self.stale))));
        }
        out
    }

    /// Why nothing of it is sent now.
    fn silent(&self) -> Option<String> {
        let status = self.campaign.status;
        if status != Status::Live {
            return Some(format!("{} — a plan only; it sends nothing until `status: live`", status.word()));
        }
        let ended = self.campaign.ends_at.filter(|_| !self.is_open)?;
        let ended = clock::readable(ended, &self.settings.time_zone);
        Some(format!("ended {ended} — a plan only; nobody gets anything new (`ends`)"))
    }

    fn json(&self) -> serde_json::Value {
        let mut json = plan_json(self.campaign, &self.filled, self.as_of);
        json["windows"] = json!(self.windows);
        json["status"] = json!(self.campaign.status.word());
        json["ended"] = json!(!self.is_open);
        json["on_their_way"] = way::json(&self.way, self.as_of);
        json["stale"] = json!(self.stale);
        json
    }

    fn text(&self, inv: &Invocation) -> String {
        let Looked { campaign, filled, windows, .. } = self;
        let instant = clock::rfc3339(self.as_of, &self.settings.time_zone);
        let bold = anstyle::Style::new().bold();
        let dim = anstyle::Style::new().dimmed();
        let tally = &filled.tally;
        let mut out = format!("{bold}{}{bold:#} · {} · as of {}\n", campaign.name, campaign.title, instant);
        for window in windows {
            out.push_str(&format!("  {dim}{window}{dim:#}\n"));
        }
        if let Some(silent) = self.silent() {
            out.push_str(&format!("  {silent}\n"));
        }
        let line =
            |n: i64, word: &str, meaning: &str| format!("  {:>9}  {word:<18} {dim}{meaning}{dim:#}\n", grouped(n));
        out.push_str(&line(tally.audience(), "audience", ""));
        out.push_str(&line(tally.of("send"), "send", &proved(filled)));
        for r in &filled.rewards {
            out.push_str(&line(r.needed, &format!("reward {}", r.pool), &reward(r, &self.settings.currency)));
        }
        if filled.short > 0 {
            out.push_str(&line(
                filled.short,
                "rewards missing",
                "the run would stop before anything leaves (when_none_left: stop)",
            ));
        }
        if let Some((size, rest, wait)) = first_wave(campaign, tally) {
            let rest = format!("{} follow {wait} later, if nothing looks wrong", grouped(rest));
            out.push_str(&line(size, "first wave", &rest));
        }
        for (verdict, reason, people) in tally.rows().filter(|(v, ..)| *v != "send") {
            let meaning = Reason::from_word(reason).map_or("", Reason::meaning);
            let word = if verdict == "withheld" { format!("withheld · {reason}") } else { reason.to_owned() };
            out.push_str(&line(people, &word, meaning));
        }
        if self.way.people > 0 {
            out.push_str(&line(
                self.way.people,
                "on their way",
                "entered before; steps are asked again when they are due",
            ));
            for (people, step, said) in way::lines(&self.way, self.as_of, &self.settings.time_zone) {
                out.push_str(&line(people, &format!("· {step}"), &said));
            }
        }
        if !filled.samples.is_empty() {
            out.push_str("  for example:\n");
        }
        for s in &filled.samples {
            let c = &s.candidate;
            let who = c.email.as_deref().map(masked).unwrap_or_default();
            let locale = c.locale.as_deref().unwrap_or("–");
            out.push_str(&format!("    {:<14} {who:<24} {locale}\n", c.customer_id));
            for item in s.payload["recommend"].as_array().into_iter().flatten() {
                out.push_str(&format!("      {dim}{}{dim:#}\n", recommendation(item)));
            }
        }
        if !inv.quiet && tally.of("send") > 0 {
            let name = &campaign.name;
            out.push_str(&format!(
                "{dim}  look at them: okaeri preview {name} · send them: okaeri send {name}{dim:#}\n"
            ));
        }
        out
    }
}

/// Verdicts for machines: counts by verdict, and by reason inside.
pub fn verdicts_json(tally: &Tally) -> serde_json::Value {
    let by_reason = |verdict: &str| -> serde_json::Value {
        tally
            .rows()
            .filter(|(v, ..)| *v == verdict)
            .map(|(_, r, n)| (r.to_owned(), json!(n)))
            .collect::<serde_json::Map<_, _>>()
            .into()
    };
    json!({
        "audience": tally.audience(),
        "send": tally.of("send"),
        "withheld": by_reason("withheld"),
        "skip": by_reason("skip"),
    })
}

/// Messages of the first wave, those that follow, and how long after; `None` when nothing follows.
fn first_wave(campaign: &Campaign, tally: &Tally) -> Option<(i64, i64, Span)> {
    let wave = campaign.first_wave?;
    let (size, send) = (i64::from(wave.size), tally.of("send"));
    (send > size).then(|| (size, send - size, Span::Exact(wave.wait)))
}

/// People for whom there is no reward.
fn missing(filled: &Filled) -> i64 {
    filled.tally.because(Reason::NoRewardLeft)
}

/// What is taken of a pool, in words.
fn reward(r: &Rewarded, currency: &str) -> String {
    let left = match r.left {
        Some(left) => format!("of {}", grouped(left)),
        None => "of as many as are wanted".to_owned(),
    };
    let cost = if r.cost > 0 { format!(", {} if all are used", readable(r.cost, currency)) } else { String::new() };
    format!("{left}{cost}")
}

fn plan_json(campaign: &Campaign, filled: &Filled, as_of: clock::Millis) -> serde_json::Value {
    json!({
        "campaign": campaign.name,
        "as_of": as_of,
        "verdicts": verdicts_json(&filled.tally),
        "rendered": filled.proof.rendered,
        "proof": proved_json(filled),
        "rewards": filled.rewards,
        "rewards_missing": missing(filled),
        "first_wave": first_wave(campaign, &filled.tally).map(|(size, rest, wait)| json!({ "size": size, "rest": rest, "wait": wait.to_string() })),
        "samples": filled.samples.iter().map(|s| json!({
            "customer_id": s.candidate.customer_id,
            "address": s.candidate.email.as_deref().map(masked),
            "locale": s.candidate.locale,
            "recommend": s.payload.get("recommend"),
        })).collect::<Vec<_>>(),
    })
}
