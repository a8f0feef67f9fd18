//! `okaeri plan [CAMPAIGN] --against REV`: what an edit of the files does to the people a campaign would reach. Both sides are planned on the
//! database as it is now, for the same instant.

use std::fmt::Write as _;

use serde_json::json;

use crate::campaign::Library;
use crate::cli::loaded::Loaded;
use crate::cli::revision::{Past, Revision};
use crate::cli::{Failure, Format, Invocation};
use crate::clock::{self, Clock};
use crate::content::FieldSet;
use crate::db::Db;
use crate::money::{grouped, readable};
use crate::plan::compare::{self, Causes, NOT_IN_AUDIENCE, PlanChange};
use crate::plan::{Planning, Reason};
use crate::problem::nearest;
use crate::segment::compare::{Group, HIGH_VALUE_PERCENTILE};

/// Groups smaller than this are not counted exactly where anybody may read it.
const SMALL: i64 = 5;

/// One campaign of either side.
struct Compared {
    campaign: String,
    change: PlanChange,
}

/// Compare the plans of a campaign, or of all.
pub async fn against(
    inv: &Invocation,
    loaded: &Loaded,
    db: &Db,
    clock: Clock,
    (name, revision): (Option<&str>, &str),
) -> Result<(), Failure> {
    let revision = Revision::find(&loaded.project.dir, revision).await?;
    let past = revision.project(inv).await?;
    // A campaign with a new name is compared with itself.
    let mut keys: Vec<&str> = past.campaigns.iter().chain(loaded.campaigns.iter()).map(|c| c.key.as_str()).collect();
    keys.sort_unstable();
    keys.dedup();
    if let Some(name) = name {
        let named = |library: &Library| library.get(name).map(|c| c.key.clone());
        let Some(key) = named(&loaded.campaigns).or_else(|| named(&past.campaigns)) else {
            let names = past.campaigns.iter().chain(loaded.campaigns.iter()).map(|c| c.name.as_str());
            let hint = nearest(name, names).map(|near| format!("\ndid you mean `{near}`?"));
            let hint = hint.unwrap_or_default();
            return Err(Failure::Usage(format!("neither side has a campaign `{name}`{hint}")));
        };
        keys.retain(|k| *k == key);
    }
    let mut compared = Vec::new();
    for key in keys {
        let change = change(db, &past, loaded, key, clock).await?;
        let named = loaded.campaigns.of_key(key).or_else(|| past.campaigns.of_key(key));
        compared.push(Compared { campaign: named.map_or(key, |c| &c.name).to_owned(), change });
    }
    let told = Told { revision: &revision, currency: &loaded.project.settings.currency };
    match inv.format {
        Format::Markdown => anstream::print!("{}", told.markdown(&compared)),
        _ => inv.print(
            || told.json(&compared, &clock::rfc3339(clock.as_of(), &loaded.project.settings.time_zone)),
            || told.text(&compared),
        ),
    }
    Ok(())
}

async fn change(db: &Db, past: &Past, loaded: &Loaded, key: &str, clock: Clock) -> Result<PlanChange, Failure> {
    let as_of = clock.as_of();
    let then = past.campaigns.of_key(key).map(|c| (c, &c.steps[0]));
    let now = loaded.campaigns.of_key(key).map(|c| (c, &c.steps[0]));
    let nothing = FieldSet::nothing;
    let before = match then {
        Some(step) => Some(Planning::prepare(db, &past.settings, &past.library, step, nothing(), as_of).await?),
        None => None,
    };
    let settings = &loaded.project.settings;
    let after = match now {
        Some(step) => Some(Planning::prepare(db, settings, &loaded.segments, step, nothing(), as_of).await?),
        None => None,
    };
    Ok(compare::changes(db, before.as_ref(), after.as_ref()).await?)
}

/// How it is told.
struct Told<'a> {
    revision: &'a Revision,
    currency: &'a str,
}

impl Told<'_> {
    fn json(&self, compared: &[Compared], as_of: &str) -> serde_json::Value {
        let group = |g: &Group, causes: &Causes| {
            json!({ "people": g.people, "high_value": g.high_value, "revenue": g.revenue, "because": causes,
                    "examples": g.examples() })
        };
        let campaigns: Vec<_> = compared
            .iter()
            .map(|Compared { campaign, change: c }| {
                json!({ "campaign": campaign, "before": c.before, "after": c.after,
                        "in": group(&c.comes_in, &c.in_because), "out": group(&c.goes_out, &c.out_because) })
            })
            .collect();
        json!({ "against": self.revision.name, "commit": self.revision.commit, "as_of": as_of,
                "currency": self.currency, "high_value_percentile": HIGH_VALUE_PERCENTILE, "campaigns": campaigns })
    }

    fn text(&self, compared: &[Compared]) -> String {
        let bold = anstyle::Style::new().bold();
        let mut out = format!(
            "against {} ({}); planned are those who are mailed or withheld by chance; of high value: the highest fifth of all buyers\n\n",
            self.revision.name,
            self.revision.short()
        );
        for Compared { campaign, change } in compared {
            let _ = writeln!(out, "{bold}{campaign}{bold:#}: {}", sizes(change));
            for (sign, group, causes) in
                [("+", &change.comes_in, &change.in_because), ("−", &change.goes_out, &change.out_because)]
            {
                if group.people > 0 {
                    let _ = writeln!(out, "  {sign} {} ({})", self.worth(group), group.examples().join(", "));
                    let was = if sign == "+" { "were" } else { "are now" };
                    for (word, people) in causes.rows() {
                        let _ = writeln!(out, "      {} {was} {}", grouped(people), cause(word));
                    }
                }
            }
        }
        out
    }

    /// For a pull request: no person is named, and small groups are not told exactly.
    fn markdown(&self, compared: &[Compared]) -> String {
        let mut out = format!("### Plan against `{}`\n\n", self.revision.name.replace('`', ""));
        let moved: Vec<&Compared> = compared.iter().filter(|c| c.change.moves_anybody()).collect();
        if moved.is_empty() {
            out.push_str("Nobody comes in, nobody goes out.\n");
        } else {
            out.push_str("| campaign | planned | comes in | goes out |\n|---|---|---|---|\n");
            for Compared { campaign, change } in &moved {
                let cell = |g: &Group, causes: &Causes| {
                    if g.people == 0 {
                        return "–".to_owned();
                    }
                    let because: Vec<String> =
                        causes.rows().iter().map(|(word, n)| format!("{} {}", few(*n), cause(word))).collect();
                    format!("{} people, {} of high value<br>{}", few(g.people), few(g.high_value), because.join("<br>"))
                };
                let planned = |n: Option<i64>| n.map_or("–".to_owned(), few);
                let _ = writeln!(
                    out,
                    "| {campaign} | {} → {} | {} | {} |",
                    planned(change.before),
                    planned(change.after),
                    cell(&change.comes_in, &change.in_because),
                    cell(&change.goes_out, &change.out_because)
                );
            }
        }
        let same = compared.len() - moved.len();
        if same > 0 && !moved.is_empty() {
            let _ = writeln!(out, "\nUnchanged: {same} more.");
        }
        out
    }

    fn worth(&self, group: &Group) -> String {
        let (people, high) = (grouped(group.people), grouped(group.high_value));
        format!("{people} people, {high} of high value, revenue {}", readable(group.revenue, self.currency))
    }
}

/// A count where anybody may read it.
pub fn few(n: i64) -> String {
    if (1..SMALL).contains(&n) { format!("fewer than {SMALL}") } else { grouped(n) }
}

fn sizes(change: &PlanChange) -> String {
    match (change.before, change.after) {
        (None, Some(now)) => format!("new, {} people planned", grouped(now)),
        (Some(then), None) => format!("removed, {} people were planned", grouped(then)),
        (Some(then), Some(now)) if change.moves_anybody() => {
            format!("{} → {} people planned", grouped(then), grouped(now))
        }
        (_, now) => format!("{} people planned, the same", grouped(now.unwrap_or(0))),
    }
}

/// What is said of people on the other side.
fn cause(word: &str) -> String {
    match word {
        NOT_IN_AUDIENCE => "not in its audience".to_owned(),
        word => match Reason::from_word(word) {
            Some(_) => format!("skipped: {word}"),
            None => word.to_owned(),
        },
    }
}
