//! `okaeri plan CAMPAIGN`: who would get it, who would not and why; every message rendered once; no run and no message is written.

use serde_json::json;

use super::loaded::Loaded;
use super::recommend::{self, recommendation};
use super::send::{composer, not_rendered};
use super::{Exit, Failure, Invocation};
use crate::address::masked;
use crate::campaign::{Campaign, Status};
use crate::clock;
use crate::money::grouped;
use crate::plan::{Planning, Reason};
use crate::queue::fill::{Filled, Filling, Tally};
use crate::token::Tokens;

#[derive(Debug, clap::Args)]
pub struct PlanArgs {
    /// The campaign's name
    campaign: String,
}

pub async fn run(inv: &Invocation, args: PlanArgs) -> Result<Exit, Failure> {
    let loaded = Loaded::load(inv)?;
    let campaign = loaded.campaign(&args.campaign)?;
    let settings = &loaded.project.settings;
    let clock = inv.clock(&settings.time_zone)?;
    let (set, snapshot) = loaded.pinned(inv, campaign)?;
    let db = inv.open_db(&loaded.project).await?;
    recommend::get_ready(inv, &db, campaign).await?;
    loaded.scores_hold(inv, &db, campaign).await?;
    let planning = Planning::prepare(
        &db,
        settings,
        &loaded.segments,
        (campaign, &campaign.steps[0]),
        set.fields_used(),
        clock.as_of(),
    )
    .await?;
    // A plan is looked at where no secret is at hand; its links and Message-IDs are never used.
    let tokens = Tokens::new(settings.links.secret.get().unwrap_or("a plan signs nothing"));
    let composer = composer(&snapshot, tokens.clone())?;
    let slot = clock::date_in(clock.as_of(), &settings.time_zone).to_string();
    let filling = Filling { planning: &planning, composer: &composer, tokens: &tokens, slot: &slot, leave_at: None };
    let filled = filling.rehearse(&db).await?;
    if filled.failed > 0 {
        return Err(not_rendered(campaign, &filled));
    }
    let windows = planning.windows(&loaded.segments);
    let instant = clock::rfc3339(clock.as_of(), &settings.time_zone);
    inv.print(
        || {
            let mut json = plan_json(campaign, &filled, clock.as_of());
            json["windows"] = json!(windows);
            json
        },
        || text(inv, campaign, &filled, &instant, &windows),
    );
    Ok(Exit::Done)
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

fn plan_json(campaign: &Campaign, filled: &Filled, as_of: clock::Millis) -> serde_json::Value {
    json!({
        "campaign": campaign.name,
        "as_of": as_of,
        "verdicts": verdicts_json(&filled.tally),
        "rendered": filled.rendered,
        "samples": filled.samples.iter().map(|s| json!({
            "customer_id": s.candidate.customer_id,
            "address": s.candidate.email.as_deref().map(masked),
            "locale": s.candidate.locale,
            "recommend": s.payload.get("recommend"),
        })).collect::<Vec<_>>(),
    })
}

fn text(inv: &Invocation, campaign: &Campaign, filled: &Filled, instant: &str, windows: &[String]) -> String {
    let bold = anstyle::Style::new().bold();
    let dim = anstyle::Style::new().dimmed();
    let tally = &filled.tally;
    let mut out = format!("{bold}{}{bold:#} · {} · as of {}\n", campaign.name, campaign.title, instant);
    for window in windows {
        out.push_str(&format!("  {dim}{window}{dim:#}\n"));
    }
    if campaign.status != Status::Live {
        out.push_str(&format!("  {} — a plan only; it sends nothing until `status: live`\n", campaign.status.word()));
    }
    let line = |n: i64, word: &str, meaning: &str| format!("  {:>9}  {word:<18} {dim}{meaning}{dim:#}\n", grouped(n));
    out.push_str(&line(tally.audience(), "audience", ""));
    out.push_str(&line(tally.of("send"), "send", "each rendered once without fault"));
    for (verdict, reason, people) in tally.rows().filter(|(v, ..)| *v != "send") {
        let meaning = Reason::from_word(reason).map_or("", Reason::meaning);
        let word = if verdict == "withheld" { format!("withheld · {reason}") } else { reason.to_owned() };
        out.push_str(&line(people, &word, meaning));
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
        out.push_str(&format!("{dim}  look at them: okaeri preview {name} · send them: okaeri send {name}{dim:#}\n"));
    }
    out
}
