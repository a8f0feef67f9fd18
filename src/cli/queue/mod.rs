//! `okaeri queue`: look at the queue, prove that it adds up, hold runs and let them go, and settle what only a person can.

mod act;
mod list;
mod show;

pub(super) use list::answer;

use clap::Subcommand;
use serde_json::json;

use super::{Exit, Failure, Invocation, drained, ledger, table};
use crate::clock::{self, Millis};
use crate::db::Db;
use crate::delivery::pacing;
use crate::money::grouped;
use crate::queue::run::Move;
use crate::queue::status;
use crate::queue::wave::WaveStatus;
use crate::settings::Project;

#[derive(Debug, clap::Args)]
pub struct QueueArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// The newest runs and where their messages stand; lanes that are slowed, and why
    Status,
    /// Single messages with the server's last words; or, with `--by`, how many of which kind
    List(list::ListArgs),
    /// One message: who, where it stands, every try with the server's words, and what comes next
    Show(show::ShowArgs),
    /// Prove from the stored rows that nothing is lost or doubled
    Verify,
    /// Hold a run: what is in flight is finished, nothing more leaves
    Pause {
        /// The run's id, as `queue status` shows it
        run: String,
        /// Why; shown to whoever looks
        #[arg(long, default_value = "by an operator")]
        reason: String,
    },
    /// Let a held run go on
    Resume {
        /// The run's id, as `queue status` shows it
        run: String,
    },
    /// End a run for good: what has not left never will
    Cancel {
        /// The run's id, as `queue status` shows it
        run: String,
        /// Why; shown to whoever looks
        #[arg(long, default_value = "by an operator")]
        reason: String,
    },
    /// Try again what was refused for good, once its cause is mended
    Retry(act::RetryArgs),
    /// Settle a message in doubt: whether it arrived, and how you know
    Resolve(act::ResolveArgs),
    /// Take the database for the newest after an old copy was put back: sending may go on
    Restored,
}

pub async fn run(inv: &Invocation, args: QueueArgs) -> Result<Exit, Failure> {
    let project = inv.project()?;
    let zone = &project.settings.time_zone;
    let db = inv.open_db(&project).await?;
    match args.what {
        What::Status => {
            let mut runs = status::overview(&db, 20).await?;
            let back = drained::held_back(&project, &db).await?;
            for run in &mut runs {
                run.next_due_at = pacing::next_due(&run.due_by_lane, &back.pace);
            }
            inv.print(
                || json!({ "runs": runs, "slowed": back.pace.slowed, "warm_up": back.pace.warm_up, "outages": back.outages }),
                || overview_text(&runs, &back, zone),
            );
            Ok(Exit::Done)
        }
        What::List(args) => list::run(inv, &db, zone, args).await,
        What::Show(args) => show::run(inv, &db, zone, args).await,
        What::Verify => {
            let findings = status::verify(&db, clock::now()).await?;
            inv.print(|| json!({ "findings": findings }), || verify_text(&findings));
            Ok(if findings.is_empty() { Exit::Done } else { Exit::Problems })
        }
        What::Pause { run, reason } => act::move_run(inv, &db, &run, Move::Pause, Some(&reason)).await,
        What::Resume { run } => act::move_run(inv, &db, &run, Move::Resume, None).await,
        What::Cancel { run, reason } => act::cancel_run(inv, &db, &run, &reason).await,
        What::Retry(args) => act::retry(inv, &db, args).await,
        What::Resolve(args) => act::resolve(inv, &db, args).await,
        What::Restored => restored(inv, &project, &db).await,
    }
}

async fn restored(inv: &Invocation, project: &Project, db: &Db) -> Result<Exit, Failure> {
    let beside = ledger::beside(project, db);
    beside
        .accept(db)
        .await?
        .map_err(|e| Failure::Environment(format!("{} cannot be written: {e}", beside.file().display())))?;
    let held = status::held(db, None, Millis::MAX).await?;
    inv.print(
        || json!({ "held": held.iter().map(|h| json!({ "run_id": h.run_id, "reason": h.reason })).collect::<Vec<_>>() }),
        || {
            let mut out = "this database counts as the newest from now on\n".to_owned();
            for status::Held { run_id, .. } in &held {
                out.push_str(&format!("  {run_id} is paused: okaeri queue cancel {run_id}, or resume\n"));
            }
            out
        },
    );
    Ok(Exit::Done)
}

fn overview_text(runs: &[status::RunStatus], back: &drained::HeldBack, zone: &jiff::tz::TimeZone) -> String {
    if runs.is_empty() {
        return "no runs yet: okaeri send CAMPAIGN makes one\n".to_owned();
    }
    let mut t = table(["campaign", "slot", "state", "messages", "next due", "run"]);
    for r in runs {
        let messages: Vec<String> = r.messages.iter().map(|(s, n)| format!("{} {s}", grouped(*n))).collect();
        let due = r.next_due_at.map_or_else(String::new, |d| clock::readable(d, zone));
        let state = match &r.run.reason {
            Some(why) => format!("{}: {why}", r.run.state()),
            None => r.run.state().to_string(),
        };
        let state = format!("{state}{}", r.first_wave.as_ref().map(|w| wave_text(w, zone)).unwrap_or_default());
        t.add_row([r.run.campaign.clone(), r.run.slot.clone(), state, messages.join("\n"), due, r.run.run_id.clone()]);
    }
    let back: String = drained::held_back_lines(back, zone).iter().map(|line| format!("{line}\n")).collect();
    format!("{t}\n{back}")
}

/// What a run's first wave means for the others.
fn wave_text(wave: &WaveStatus, zone: &jiff::tz::TimeZone) -> String {
    let (size, rest) = (grouped(wave.messages), grouped(wave.rest));
    match (wave.rest_from_at, wave.until_at) {
        (Some(_), _) => format!("\nfirst wave of {size} is through"),
        (None, Some(until_at)) => {
            format!("\nfirst wave of {size} has left; {rest} wait until {}", clock::readable(until_at, zone))
        }
        (None, None) => format!("\nfirst wave of {size} leaves; {rest} wait for it"),
    }
}

fn verify_text(findings: &[status::Finding]) -> String {
    let mut out = String::new();
    for rule in status::rules() {
        let broken: Vec<&status::Finding> = findings.iter().filter(|f| f.rule == rule).collect();
        out.push_str(&format!("{} {rule}\n", if broken.is_empty() { "✓ holds " } else { "✗ broken" }));
        for f in broken.iter().take(10) {
            out.push_str(&format!("    {}\n", f.detail));
        }
    }
    out
}
