//! `okaeri queue`: look at the queue, prove that it adds up, hold a run and let it go.

use clap::Subcommand;
use serde_json::json;

use super::{Exit, Failure, Invocation, table};
use crate::clock;
use crate::money::grouped;
use crate::queue::{DeliveryState, RunState, run, status};

#[derive(Debug, clap::Args)]
pub struct QueueArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// The newest runs and where their messages stand
    Status,
    /// Single messages with the server's last words
    List {
        /// Only this campaign
        #[arg(long)]
        campaign: Option<String>,
        /// Only this state: pending, deferred, accepted, failed, unknown, withheld, suppressed, expired …
        #[arg(long)]
        state: Option<String>,
        /// At most so many
        #[arg(long, default_value_t = 50)]
        limit: i64,
    },
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
}

pub async fn run(inv: &Invocation, args: QueueArgs) -> Result<Exit, Failure> {
    let project = inv.project()?;
    let zone = &project.settings.time_zone;
    let db = inv.open_db(&project).await?;
    match args.what {
        What::Status => {
            let runs = status::overview(&db, 20).await?;
            inv.print(|| json!({ "runs": runs }), || overview_text(&runs, zone));
            Ok(Exit::Done)
        }
        What::List { campaign, state, limit } => {
            let state = state.as_deref().map(known_state).transpose()?;
            let messages = status::list(&db, campaign.as_deref(), state, limit.max(1)).await?;
            inv.print(|| json!({ "messages": messages }), || list_text(&messages));
            Ok(Exit::Done)
        }
        What::Verify => {
            let findings = status::verify(&db, clock::now()).await?;
            inv.print(|| json!({ "findings": findings }), || verify_text(&findings));
            Ok(if findings.is_empty() { Exit::Done } else { Exit::Problems })
        }
        What::Pause { run, reason } => moved(inv, &db, &run, RunState::Paused, Some(&reason)).await,
        What::Resume { run } => moved(inv, &db, &run, RunState::Sending, None).await,
    }
}

fn known_state(word: &str) -> Result<DeliveryState, Failure> {
    DeliveryState::from_word(word).ok_or_else(|| {
        let words: Vec<&str> = DeliveryState::ALL.iter().map(|s| s.word()).collect();
        Failure::Usage(format!("`{word}` is not a state of a message\none of: {}", words.join(", ")))
    })
}

async fn moved(
    inv: &Invocation,
    db: &crate::db::Db,
    run_id: &str,
    next: RunState,
    reason: Option<&str>,
) -> Result<Exit, Failure> {
    if !run::advance(db, run_id, next, reason, clock::now()).await? {
        let found = run::get(db, run_id).await?;
        return Err(Failure::Usage(match found {
            Some(run) => format!("the run {run_id} is {} and cannot become {next}", run.state()),
            None => format!("there is no run {run_id}\nokaeri queue status lists them"),
        }));
    }
    inv.print(|| json!({ "run_id": run_id, "state": next.word() }), || format!("{run_id} is {next}\n"));
    Ok(Exit::Done)
}

fn overview_text(runs: &[status::RunStatus], zone: &jiff::tz::TimeZone) -> String {
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
        t.add_row([r.run.campaign.clone(), r.run.slot.clone(), state, messages.join("\n"), due, r.run.run_id.clone()]);
    }
    format!("{t}\n")
}

fn list_text(messages: &[status::Listed]) -> String {
    if messages.is_empty() {
        return "no such messages\n".to_owned();
    }
    let mut t = table(["customer", "address", "campaign", "slot", "state", "tries", "last answer"]);
    for m in messages {
        let code = m.code.map_or_else(String::new, |c| format!("{c} "));
        t.add_row([
            m.customer_id.clone(),
            m.address.clone().unwrap_or_default(),
            m.campaign.clone(),
            m.slot.clone(),
            m.state.clone(),
            m.attempts.to_string(),
            format!("{code}{}", m.reply.as_deref().unwrap_or_default()),
        ]);
    }
    format!("{t}\n")
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
