//! `okaeri queue list`: single messages, or groups of them.

use clap::ValueEnum;
use jiff::tz::TimeZone;
use serde_json::json;

use crate::cli::{Exit, Failure, Invocation, shown, table};
use crate::clock;
use crate::db::Db;
use crate::money::grouped;
use crate::queue::groups::{self, Group};
use crate::queue::status::{self, Filter};
use crate::queue::{DeliveryState, groups::By};

#[derive(Debug, clap::Args)]
pub struct ListArgs {
    /// Only this campaign
    #[arg(long)]
    campaign: Option<String>,
    /// Only this run
    #[arg(long)]
    run: Option<String>,
    /// Only this state: pending, deferred, accepted, failed, unknown, withheld, suppressed, expired, cancelled …
    #[arg(long)]
    state: Option<String>,
    /// How many of which kind, since when, and an example of each, instead of single messages
    #[arg(long, value_enum, conflicts_with = "limit")]
    by: Option<ListBy>,
    /// At most so many
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(i64).range(1..))]
    limit: i64,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum ListBy {
    /// Mailbox-provider family: gmail, outlook, yahoo, … other
    Family,
    /// The mail server it goes through, or went through last
    Relay,
    State,
    /// The server's last reply code, with the enhanced code of a refusal: 550 5.1.1
    Code,
    /// Time since the message was planned
    Age,
}

pub async fn run(inv: &Invocation, db: &Db, zone: &TimeZone, args: ListArgs) -> Result<Exit, Failure> {
    let state = args.state.as_deref().map(known_state).transpose()?;
    let filter = Filter { campaign: args.campaign, run_id: args.run, state };
    if let Some(missing) = status::missing(db, &filter).await? {
        return Err(Failure::Usage(format!("{missing}\nokaeri queue status lists the runs")));
    }
    let by = match args.by {
        Some(ListBy::Family) => By::Family,
        Some(ListBy::Relay) => By::Relay,
        Some(ListBy::State) => By::State,
        Some(ListBy::Code) => By::Code,
        Some(ListBy::Age) => By::Age,
        None => {
            let messages = status::list(db, &filter, args.limit).await?;
            inv.print(|| json!({ "messages": messages }), || list_text(&messages));
            return Ok(Exit::Done);
        }
    };
    let groups = groups::groups(db, &filter, by, clock::now()).await?;
    inv.print(|| json!({ "by": by, "groups": groups }), || groups_text(by, &groups, zone));
    Ok(Exit::Done)
}

fn known_state(word: &str) -> Result<DeliveryState, Failure> {
    DeliveryState::from_word(word).ok_or_else(|| {
        let words: Vec<&str> = DeliveryState::ALL.iter().map(|s| s.word()).collect();
        Failure::Usage(format!("`{word}` is not a state of a message\none of: {}", words.join(", ")))
    })
}

fn list_text(messages: &[status::Listed]) -> String {
    if messages.is_empty() {
        return "no such messages\n".to_owned();
    }
    let mut t = table(["customer", "address", "campaign", "slot", "state", "tries", "id", "last answer"]);
    for m in messages {
        t.add_row([
            shown(&m.customer_id),
            m.address.clone().unwrap_or_default(),
            m.campaign.clone(),
            m.slot.clone(),
            m.state.clone(),
            m.attempts.to_string(),
            m.message_id.clone(),
            answer(m.code, m.reply.as_deref()),
        ]);
    }
    format!("{t}\n")
}

/// `451 4.7.1 later`: a reply as one line.
pub fn answer(code: Option<i64>, reply: Option<&str>) -> String {
    let code = code.map_or_else(String::new, |c| format!("{c} "));
    format!("{code}{}", shown(reply.unwrap_or_default()))
}

fn groups_text(by: By, groups: &[Group], zone: &TimeZone) -> String {
    if groups.is_empty() {
        return "no such messages\n".to_owned();
    }
    let word = match by {
        By::Family => "family",
        By::Relay => "relay",
        By::State => "state",
        By::Code => "code",
        By::Age => "age",
    };
    let mut t = table([word, "messages", "oldest", "for example", "its id", "its last answer"]);
    for g in groups {
        let example = g.example.as_ref();
        let who = example.map(|m| shown(m.address.as_deref().unwrap_or(&m.customer_id)));
        t.add_row([
            g.group.clone(),
            grouped(g.messages),
            clock::readable(g.oldest_at, zone),
            who.unwrap_or_default(),
            example.map(|m| m.message_id.clone()).unwrap_or_default(),
            example.map(|m| answer(m.code, m.reply.as_deref())).unwrap_or_default(),
        ]);
    }
    format!("{t}\n")
}
