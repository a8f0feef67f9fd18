//! `okaeri suppress`: stop mail to an address, or lift what stops it.

use super::{Exit, Failure, Invocation};
use crate::address::Address;
use crate::clock;
use crate::problem::nearest;
use crate::settings::Settings;
use crate::suppression::{self, Reason, Scope};

/// Stop mail to an address: everything, or promotional mail, or one topic
#[derive(Debug, clap::Args)]
pub struct SuppressArgs {
    /// The address
    address: String,
    /// Only promotional mail of this topic
    #[arg(long, value_name = "TOPIC", conflicts_with = "promotional")]
    topic: Option<String>,
    /// Only promotional mail, of every topic
    #[arg(long)]
    promotional: bool,
    /// Remove this suppression instead; do so only when the person asks for mail again
    #[arg(long)]
    lift: bool,
    /// Why: manual, unsubscribe, complaint, hard_bounce or import
    #[arg(long, default_value = "manual", conflicts_with = "lift")]
    reason: String,
}

pub async fn run(inv: &Invocation, args: SuppressArgs) -> Result<Exit, Failure> {
    let project = inv.project()?;
    let address = Address::parse(&args.address)
        .map_err(|e| Failure::Usage(format!("the address `{}` {e}", args.address.escape_debug())))?;
    let scope = scope(&args, &project.settings)?;
    let reason = Reason::parse(&args.reason).ok_or_else(|| {
        let known = Reason::ALL.map(Reason::as_str).join(", ");
        Failure::Usage(format!("--reason {}: not a reason\none of: {known}", args.reason))
    })?;
    let key = address.key();
    let db = inv.open_db(&project).await?;
    let mut tx = db.begin().await?;
    let changed = if args.lift {
        suppression::lift(&mut tx, &key, &scope).await?
    } else {
        suppression::suppress(&mut tx, &key, &scope, reason, clock::now(), "okaeri suppress").await?
    };
    tx.commit().await?;
    let standing: Vec<String> = suppression::standing(&db, &key).await?.iter().map(|s| s.scope.to_string()).collect();
    db.close().await;
    inv.print(
        || serde_json::json!({ "address": key, "scope": scope.to_string(), "changed": changed, "standing": standing }),
        || match (args.lift, changed, standing.as_slice()) {
            (false, true, _) => format!("suppressed: {key} ({scope})\n"),
            (false, false, _) => format!("was suppressed already: {key} ({scope})\n"),
            (true, true, []) => format!("lifted: {key} ({scope}); nothing stands against it\n"),
            (true, false, []) => format!("nothing stands against {key}\n"),
            (true, true, rest) => format!("lifted: {key} ({scope}); still suppressed: {}\n", rest.join(", ")),
            (true, false, rest) => format!("{key} is not suppressed for {scope}, but for: {}\n", rest.join(", ")),
        },
    );
    Ok(Exit::Done)
}

fn scope(args: &SuppressArgs, settings: &Settings) -> Result<Scope, Failure> {
    let Some(topic) = &args.topic else {
        return Ok(if args.promotional { Scope::Promotional } else { Scope::All });
    };
    // What was suppressed under a topic that is gone can still be lifted.
    if settings.has_topic(topic) || (args.lift && suppression::is_topic_name(topic)) {
        return Ok(Scope::Topic(topic.clone()));
    }
    let known: Vec<&str> = settings.topics.iter().map(|t| t.name.as_str()).collect();
    let hint = match nearest(topic, known.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None if known.is_empty() => "okaeri.yaml has no `topics:`".to_owned(),
        None => format!("known: {}", known.join(", ")),
    };
    Err(Failure::Usage(format!("--topic {topic}: not a topic of this project\n{hint}")))
}
