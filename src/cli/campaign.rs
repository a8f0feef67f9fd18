//! `okaeri campaign list`: the project's campaigns at a glance.

use clap::Subcommand;
use serde_json::json;

use super::loaded::Loaded;
use super::{Exit, Failure, Invocation, table};
use crate::campaign::{Audience, Campaign};

#[derive(Debug, clap::Args)]
pub struct CampaignArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// All campaigns: status, topic, audience
    List,
}

pub async fn run(inv: &Invocation, args: CampaignArgs) -> Result<Exit, Failure> {
    let What::List = args.what;
    let loaded = Loaded::load(inv)?;
    let campaigns: Vec<&Campaign> = loaded.campaigns.iter().collect();
    inv.print(|| json!({ "campaigns": campaigns.iter().map(|c| row(c)).collect::<Vec<_>>() }), || text(&campaigns));
    Ok(Exit::Done)
}

fn audience(c: &Campaign) -> &str {
    match &c.audience {
        Audience::Everyone => "everyone",
        Audience::InSegment(name) => name,
    }
}

fn row(c: &Campaign) -> serde_json::Value {
    json!({
        "campaign": c.name, "key": c.key, "title": c.title, "status": c.status.word(), "kind": c.kind.word(), "topic": c.topic,
        "audience": audience(c), "exclude": c.exclude, "priority": c.priority, "file": &*c.place.file,
        "steps": c.steps.iter().map(|s| json!({
            "step": s.name, "template": s.template,
            "recommend": s.recommend.as_ref().map(|r| json!({ "strategy": r.asked.strategies, "count": r.asked.count })),
        })).collect::<Vec<_>>(),
        "holdout": c.experiment.holdout, "goal": c.experiment.goal,
    })
}

fn text(campaigns: &[&Campaign]) -> String {
    if campaigns.is_empty() {
        return "no campaigns in campaigns/\n".to_owned();
    }
    let mut t = table(["campaign", "status", "kind", "topic", "audience", "title"]);
    for c in campaigns {
        t.add_row([&c.name, c.status.word(), c.kind.word(), &c.topic, audience(c), &c.title]);
    }
    format!("{t}\n")
}
