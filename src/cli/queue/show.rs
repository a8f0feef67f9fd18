//! `okaeri queue show ID`: one message in full.

use std::fmt::Write as _;

use jiff::tz::TimeZone;
use serde_json::json;

use super::list::answer;
use crate::cli::{Exit, Failure, Invocation, shown};
use crate::clock;
use crate::db::Db;
use crate::queue::show::{self, Happened, Message, digits};
use crate::settings;

#[derive(Debug, clap::Args)]
pub struct ShowArgs {
    /// The message's id: what `queue list` shows, or a Message-ID from a mail or a server's log
    id: String,
}

pub async fn run(inv: &Invocation, db: &Db, zone: &TimeZone, args: ShowArgs) -> Result<Exit, Failure> {
    let message = found(db, &args.id).await?;
    let history = show::history(db, &message).await?;
    let stopped_by = show::stopped_by(db, &message).await?;
    let next = show::next(&message, stopped_by.as_deref(), clock::now(), zone);
    inv.print(
        || json!({ "message": message, "history": history, "suppressed": stopped_by, "next": next }),
        || text(&message, &history, &next, zone),
    );
    Ok(Exit::Done)
}

/// The message that somebody means.
pub(super) async fn found(db: &Db, text: &str) -> Result<Message, Failure> {
    show::find(db, show::id_of(text)).await?.ok_or_else(|| {
        Failure::Usage(format!(
            "there is no message `{}`\nids are what `okaeri queue list` shows, or the Message-ID of a mail",
            text.escape_debug()
        ))
    })
}

fn text(m: &Message, history: &[Happened], next: &str, zone: &TimeZone) -> String {
    let bold = anstyle::Style::new().bold();
    let when = |at| clock::readable(at, zone);
    let mut out = String::new();
    let mut line = |word: &str, rest: String| writeln!(out, "{word:<11} {rest}").expect("a String takes any text");
    line("message", m.message_id.clone());
    line("to", format!("{}, customer {}", m.address.as_deref().unwrap_or("no address"), shown(&m.customer_id)));
    line("campaign", format!("{}, step {}, slot {}, arm {}", m.campaign, m.step, shown(&m.slot), m.arm));
    line("kind", format!("{}, topic {}, in {}", m.kind().word(), m.topic, m.locale));
    let reason = m.run_reason.as_deref().map(|r| format!(": {}", shown(r))).unwrap_or_default();
    line("run", format!("{} is {}{reason}", m.run_id, m.run_state()));
    line("state", format!("{bold}{}{bold:#} since {}", m.state(), when(m.changed_at)));
    line("planned", format!("{}, due {}, expires {}", when(m.planned_at), when(m.due_at), when(m.expires_at)));
    if let Some(at) = m.date_at {
        line("dated", when(at));
    }
    if let Some(hash) = m.content_hash {
        line("content", format!("SHA-256 {}…", digits(hash)));
    }
    line("tries", m.attempts.to_string());
    let through = |relay: &Option<String>| {
        let relay = relay.as_deref().filter(|r| *r != settings::relays::ONLY);
        relay.map(|r| format!(" through {r}")).unwrap_or_default()
    };
    if m.reply.is_some() || m.code.is_some() {
        line("last answer", format!("{}{}", answer(m.code, m.reply.as_deref()), through(&m.relay)));
    }
    line("next", next.to_owned());
    for happened in history {
        let told = match happened {
            Happened::Attempt { attempt_no, stage, state, code, reply, relay, .. } => {
                let through = through(relay);
                format!("try {attempt_no}{through}, at {stage}: {} → {state}", answer(*code, Some(reply)))
            }
            Happened::Decision { decided, by, evidence, .. } => {
                let why = if evidence.is_empty() { String::new() } else { format!(": {}", shown(evidence)) };
                format!("{decided}, decided by {}{why}", shown(by))
            }
        };
        writeln!(out, "  {}  {told}", when(happened.at())).expect("a String takes any text");
    }
    out
}
