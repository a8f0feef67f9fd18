//! The verbs of `okaeri queue` that change something: hold, release and cancel runs, try again, settle a doubt.

use std::collections::BTreeSet;

use clap::ValueEnum;
use serde_json::json;

use super::show::found;
use crate::cli::{Exit, Failure, Invocation};
use crate::clock;
use crate::db::Db;
use crate::money::grouped;
use crate::queue::cancel::{self, Cancelled};
use crate::queue::decide::{self, By, Decision};
use crate::queue::run::{self, Move};
use crate::queue::{RunState, planner, status};

/// The longest evidence kept, in characters.
const EVIDENCE_CHARS_MAX: usize = 2_000;

#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("which").required(true).args(["ids", "run"]))]
pub struct RetryArgs {
    /// The messages' ids, as `queue list` shows them; or --run for all of a run
    #[arg(value_name = "ID")]
    ids: Vec<String>,
    /// Every refused message of this run
    #[arg(long)]
    run: Option<String>,
    /// Which messages of the run
    #[arg(long, value_enum, default_value = "failed")]
    state: RetryState,
    /// What was mended; kept with the messages
    #[arg(long, value_name = "TEXT", default_value = "")]
    evidence: String,
    /// Who says so [default: your login name]
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
}

/// Unknown messages are not among them: each needs evidence of its own.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum RetryState {
    Failed,
}

#[derive(Debug, clap::Args)]
pub struct ResolveArgs {
    /// The message's id, as `queue list --state unknown` shows it
    id: String,
    /// What became of it
    #[arg(long = "as", value_enum)]
    outcome: Outcome,
    /// How you know: a line of the mail server's log, what the person said
    #[arg(long, value_name = "TEXT")]
    evidence: String,
    /// Who says so [default: your login name]
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Outcome {
    /// It arrived
    Accepted,
    /// It did not arrive
    Failed,
    /// Send it again under the same Message-ID, though it may have arrived
    Resend,
    /// Nobody will ever know; stop asking
    Closed,
}

pub(super) async fn move_run(
    inv: &Invocation,
    db: &Db,
    run_id: &str,
    by: Move,
    reason: Option<&str>,
) -> Result<Exit, Failure> {
    let (_, next) = by.states();
    if !run::advance(db, run_id, by, reason, clock::now()).await? {
        return Err(cannot_become(db, run_id, next).await?);
    }
    inv.print(|| json!({ "run_id": run_id, "state": next.word() }), || format!("{run_id} is {next}\n"));
    Ok(Exit::Done)
}

async fn cannot_become(db: &Db, run_id: &str, next: RunState) -> Result<Failure, Failure> {
    Ok(Failure::Usage(match run::get(db, run_id).await? {
        Some(run) => {
            let hint = match run.state() {
                RunState::Planned => format!(
                    "\na plan that is kept: send it with `okaeri send --plan {run_id}`, drop it with `okaeri queue cancel {run_id}`"
                ),
                _ => String::new(),
            };
            format!("the run {run_id} is {} and cannot become {next}{hint}", run.state())
        }
        None => format!("there is no run `{}`\nokaeri queue status lists them", run_id.escape_debug()),
    }))
}

pub(super) async fn cancel_run(inv: &Invocation, db: &Db, run_id: &str, reason: &str) -> Result<Exit, Failure> {
    let is_planned = run::get(db, run_id).await?.is_some_and(|r| r.state() == RunState::Enqueuing);
    let lease = if is_planned {
        let busy = || Failure::Busy("the run is being planned at this moment\ncancel it again shortly".to_owned());
        Some(planner::take(db, clock::now()).await?.ok_or_else(busy)?)
    } else {
        None
    };
    let cancelled = cancel::cancel(db, run_id, reason, clock::now()).await?;
    if let Some(lease) = lease {
        lease.release(db).await?;
    }
    let Cancelled::Messages(messages) = cancelled else {
        return Err(cannot_become(db, run_id, RunState::Cancelled).await?);
    };
    let states = status::states_of(db, run_id).await?;
    inv.print(
        || json!({ "run_id": run_id, "state": "cancelled", "cancelled": messages, "messages": states }),
        || {
            let rest: Vec<String> = states.iter().map(|(state, n)| format!("{} {state}", grouped(*n))).collect();
            format!("{run_id} is cancelled; its messages: {}\n", rest.join(", "))
        },
    );
    Ok(Exit::Done)
}

pub(super) async fn retry(inv: &Invocation, db: &Db, args: RetryArgs) -> Result<Exit, Failure> {
    let RetryState::Failed = args.state;
    let who = who(inv, args.by)?;
    let by = By { who: &who, evidence: &evidence(&args.evidence)? };
    let now = clock::now();
    let (mut retried, mut refused) = (0, Vec::new());
    let mut held = BTreeSet::new();
    if let Some(run_id) = &args.run {
        let Some(run) = run::get(db, run_id).await? else {
            return Err(cannot_become(db, run_id, RunState::Sending).await?);
        };
        retried = decide::retry_run(db, run_id, by, now).await?;
        if run.state() == RunState::Paused {
            held.insert(run.run_id);
        }
        let failed = status::states_of(db, run_id).await?.into_iter().find(|(state, _)| state == "failed");
        if let Some((_, left)) = failed {
            let why = "their address is suppressed, they no longer agree to the topic, or the run has ended";
            refused.push((run_id.clone(), format!("{} stay refused: {why} (okaeri why ADDRESS)", grouped(left))));
        }
    }
    for id in &args.ids {
        let message = found(db, id).await?;
        match decide::decide(db, &message, Decision::Retry, by, now).await? {
            None => {
                retried += 1;
                if message.run_state() == RunState::Paused {
                    held.insert(message.run_id);
                }
            }
            Some(why) => refused.push((message.message_id, why)),
        }
    }
    inv.print(
        || {
            let refused: Vec<_> = refused.iter().map(|(what, why)| json!({ "id": what, "why": why })).collect();
            json!({ "retried": retried, "refused": refused, "held": held })
        },
        || {
            let mut out = match (retried, held.is_empty()) {
                (0, _) => "nothing will be sent again\n".to_owned(),
                (n, true) => format!("{} will be sent again: okaeri work\n", grouped(n as i64)),
                (n, false) => format!("{} will be sent again when their run goes on\n", grouped(n as i64)),
            };
            for run_id in held.iter().filter(|_| retried > 0) {
                out.push_str(&format!("  it is paused: okaeri queue resume {run_id}, then okaeri work\n"));
            }
            for (what, why) in &refused {
                out.push_str(&format!("  not {what}: {}\n", why.replace('\n', "; ")));
            }
            out
        },
    );
    Ok(if retried == 0 && !refused.is_empty() { Exit::Problems } else { Exit::Done })
}

pub(super) async fn resolve(inv: &Invocation, db: &Db, args: ResolveArgs) -> Result<Exit, Failure> {
    let evidence = evidence(&args.evidence)?;
    if evidence.is_empty() {
        return Err(Failure::Usage(
            "--evidence is empty: a doubt is settled by what you know, and it is kept with the message\n\
             quote the mail server's log, or say who told you"
                .to_owned(),
        ));
    }
    let who = who(inv, args.by)?;
    let decision = match args.outcome {
        Outcome::Accepted => Decision::Accepted,
        Outcome::Failed => Decision::Failed,
        Outcome::Resend => Decision::Resend,
        Outcome::Closed => Decision::Closed,
    };
    let message = found(db, &args.id).await?;
    let by = By { who: &who, evidence: &evidence };
    if let Some(why) = decide::decide(db, &message, decision, by, clock::now()).await? {
        return Err(Failure::Usage(format!("{} stays as it is: {why}", message.message_id)));
    }
    let (_, state) = decision.states();
    inv.print(
        || json!({ "message_id": message.message_id, "state": state.word(), "decided": decision, "by": who }),
        || {
            let next = if decision.sends() { "; it will be sent again: okaeri work" } else { "" };
            format!("{} is {state}{next}\n", message.message_id)
        },
    );
    Ok(Exit::Done)
}

fn who(inv: &Invocation, by: Option<String>) -> Result<String, Failure> {
    by.or_else(|| inv.login_name()).map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).ok_or_else(
        || {
            Failure::Usage(
                "nobody is logged in here, and what is decided is kept with a name\nsay who: --by NAME".to_owned(),
            )
        },
    )
}

fn evidence(text: &str) -> Result<String, Failure> {
    let text = text.trim();
    if text.chars().count() > EVIDENCE_CHARS_MAX {
        return Err(Failure::Usage(format!(
            "--evidence is longer than {EVIDENCE_CHARS_MAX} characters\nquote less of it"
        )));
    }
    Ok(text.to_owned())
}
