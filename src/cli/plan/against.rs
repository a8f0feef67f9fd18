//! `okaeri plan [CAMPAIGN] --against REV`: what an edit of the files does to the people a campaign would reach, and to the mails they get. Both sides are planned on the
//! database as it is now, for the same instant.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::json;

use crate::campaign::{Campaign, Library};
use crate::cli::loaded::Loaded;
use crate::cli::revision::{Past, Revision};
use crate::cli::{Failure, Format, Invocation};
use crate::clock::{self, Clock};
use crate::content::{EditionChange, Editions, FieldSet};
use crate::db::Db;
use crate::money::{grouped, readable};
use crate::plan::compare::{self, Causes, NOT_IN_AUDIENCE, PlanChange, Side};
use crate::plan::{Planning, Reason};
use crate::problem::{Problems, nearest};
use crate::segment::compare::{Group, HIGH_VALUE_PERCENTILE};
use crate::settings::Settings;

/// Groups smaller than this are not counted exactly where anybody may read it.
const SMALL: i64 = 5;

/// One campaign of either side.
struct Compared {
    campaign: String,
    change: PlanChange,
    mails: Vec<Rewritten>,
}

/// A mail of any of its steps that is written otherwise.
struct Rewritten {
    template: String,
    locale: Option<String>,
    /// `new`, `removed`, `subject`, `body`, or `subject and body`.
    what: &'static str,
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
    let mut problems = Problems::new();
    let templates = [revision.templates().await?, Editions::files(&loaded.project.dir, &mut problems)];
    inv.settle(problems)?;
    let mut compared = Vec::new();
    for key in keys {
        let (change, mails) = change(db, (&past, loaded), &templates, key, clock).await?;
        let named = loaded.campaigns.of_key(key).or_else(|| past.campaigns.of_key(key));
        compared.push(Compared { campaign: named.map_or(key, |c| &c.name).to_owned(), change, mails });
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

async fn change(
    db: &Db,
    (past, loaded): (&Past, &Loaded),
    [templates_then, templates]: &[BTreeMap<String, String>; 2],
    key: &str,
    clock: Clock,
) -> Result<(PlanChange, Vec<Rewritten>), Failure> {
    let as_of = clock.as_of();
    let then = past.campaigns.of_key(key).map(|c| (c, &c.steps[0]));
    let now = loaded.campaigns.of_key(key).map(|c| (c, &c.steps[0]));
    let nothing = FieldSet::nothing;
    let before = match then {
        Some(step) => Some(Side {
            planning: Planning::prepare(db, &past.settings, &past.library, step, nothing(), as_of).await?,
            mails: editions(step.0, templates_then, &past.settings)?,
        }),
        None => None,
    };
    let settings = &loaded.project.settings;
    let after = match now {
        Some(step) => Some(Side {
            planning: Planning::prepare(db, settings, &loaded.segments, step, nothing(), as_of).await?,
            mails: editions(step.0, templates, settings)?,
        }),
        None => None,
    };
    let mails = match (&before, &after) {
        (Some(then), Some(now)) => then.mails.changes(&now.mails).into_iter().map(rewritten).collect(),
        _ => Vec::new(), // a campaign that comes or goes is told as such
    };
    Ok((compare::changes(db, before.as_ref(), after.as_ref()).await?, mails))
}

/// How a campaign's mails are written; each must be there.
fn editions(campaign: &Campaign, files: &BTreeMap<String, String>, settings: &Settings) -> Result<Editions, Failure> {
    let editions = Editions::of(campaign.templates(), files, settings);
    let mut problems = Problems::new();
    for (template, place) in campaign.steps.iter().flat_map(|s| s.templates()) {
        if !editions.has(template) {
            problems
                .error(
                    "missing-template",
                    place,
                    format!("there is no template templates/{template}.html beside this file"),
                )
                .hint("a revision in which `okaeri check` finds errors cannot be compared");
        }
    }
    if problems.has_errors() { Err(Failure::Problems(problems)) } else { Ok(editions) }
}

fn rewritten(change: EditionChange<'_>) -> Rewritten {
    let what = match (change.then, change.now) {
        (None, _) => "new",
        (_, None) => "removed",
        (Some(then), Some(now)) => match (then.subject != now.subject, then.has_other_body(now)) {
            (true, false) => "subject",
            (true, true) => "subject and body",
            (false, _) => "body",
        },
    };
    Rewritten { template: change.template.to_owned(), locale: change.locale.map(str::to_owned), what }
}

impl Rewritten {
    fn told(&self) -> String {
        let locale = self.locale.as_ref().map(|l| format!(" ({l})")).unwrap_or_default();
        format!("{}{locale}: {}", self.template, self.what)
    }
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
            .map(|Compared { campaign, change: c, mails }| {
                let mail = |m: &Rewritten| json!({ "template": m.template, "locale": m.locale, "change": m.what });
                json!({ "campaign": campaign, "before": c.before, "after": c.after,
                        "in": group(&c.comes_in, &c.in_because), "out": group(&c.goes_out, &c.out_because),
                        "mails": mails.iter().map(mail).collect::<Vec<_>>(),
                        "other_mail": { "people": c.other_mail.people, "high_value": c.other_mail.high_value,
                                        "other_subject": c.other_subject, "examples": c.other_mail.examples() } })
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
        for Compared { campaign, change, mails } in compared {
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
            let other = &change.other_mail;
            if !mails.is_empty() {
                let (people, subject) = (grouped(other.people), grouped(change.other_subject));
                let examples =
                    if other.people > 0 { format!(" ({})", other.examples().join(", ")) } else { String::new() };
                let _ = writeln!(
                    out,
                    "  ~ {people} people get another first mail, {subject} of them another subject{examples}"
                );
                for mail in mails {
                    let _ = writeln!(out, "      {}", mail.told());
                }
            }
        }
        out
    }

    /// For a pull request: no person is named, and small groups are not told exactly.
    fn markdown(&self, compared: &[Compared]) -> String {
        let mut out = format!("### Plan against `{}`\n\n", self.revision.name.replace('`', ""));
        let moved: Vec<&Compared> =
            compared.iter().filter(|c| c.change.moves_anybody() || !c.mails.is_empty()).collect();
        if moved.is_empty() {
            out.push_str("Nobody comes in, nobody goes out, and every mail is written as it was.\n");
        } else {
            out.push_str("| campaign | planned | comes in | goes out | another first mail |\n|---|---|---|---|---|\n");
            for Compared { campaign, change, mails } in &moved {
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
                    "| {campaign} | {} → {} | {} | {} | {} |",
                    planned(change.before),
                    planned(change.after),
                    cell(&change.comes_in, &change.in_because),
                    cell(&change.goes_out, &change.out_because),
                    rewritten_cell(change, mails)
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

/// The mails that are written otherwise, in a table for anybody to read.
fn rewritten_cell(change: &PlanChange, mails: &[Rewritten]) -> String {
    if mails.is_empty() {
        return "–".to_owned();
    }
    let told: Vec<String> = mails.iter().map(Rewritten::told).collect();
    let (people, subject) = (few(change.other_mail.people), few(change.other_subject));
    format!("{people} people, {subject} another subject<br>{}", told.join("<br>"))
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
