//! `okaeri plan [CAMPAIGN] --against REV`: what an edit of the files does to the people a campaign would reach, and to the mails they get. Both sides are planned on the
//! database as it is now, for the same instant.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use jiff::tz::TimeZone;
use serde_json::json;

use super::way::{self, StepChange};
use crate::campaign::edits::{Edit, edits};
use crate::campaign::{Campaign, Library, Status};
use crate::cli::loaded::Loaded;
use crate::cli::profile;
use crate::cli::revision::{Past, Revision};
use crate::cli::{Failure, Format, Invocation, shown};
use crate::clock::{self, Clock, Millis};
use crate::content::{EditionChange, Editions, FieldSet};
use crate::counts::Counts;
use crate::db::Db;
use crate::money::{grouped, readable};
use crate::plan::ahead::{self, OnTheWay};
use crate::plan::compare::{self, Causes, NOT_IN_AUDIENCE, PlanChange, Side};
use crate::plan::{Planning, Reason};
use crate::problem::{Problems, nearest};
use crate::segment::compare::{Group, HIGH_VALUE_PERCENTILE};
use crate::settings::{self, Settings};

/// One campaign of either side.
struct Compared {
    campaign: String,
    /// `None` when it is removed.
    status: Option<Status>,
    change: PlanChange,
    mails: Vec<Rewritten>,
    /// Other keys of its file; none of a campaign that comes or goes.
    edits: Vec<Edit>,
    /// Steps ahead of people who entered before.
    way: Vec<StepChange>,
    on_the_way: [OnTheWay; 2],
}

impl Compared {
    /// Whether there is anything to look at.
    fn is_changed(&self) -> bool {
        let comes_or_goes = self.change.before.is_none() || self.change.after.is_none();
        comes_or_goes || self.moves_people() || !self.edits.is_empty() || !self.way.is_empty()
    }

    /// Whether other people are planned, or another mail is written.
    fn moves_people(&self) -> bool {
        self.change.moves_anybody() || !self.mails.is_empty()
    }
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
    let stale = profile::tell_stale(inv, db).await?;
    let mut compared = Vec::new();
    for key in keys {
        compared.push(compare_campaign(db, (&past, loaded), &templates, key, clock).await?);
    }
    let settings = &loaded.project.settings;
    let told = Told {
        revision: &revision,
        currency: &settings.currency,
        zone: &settings.time_zone,
        settings: edits(&past.written, &settings_as_written(loaded)),
        as_of: clock.as_of(),
        stale,
    };
    match inv.format {
        Format::Markdown => anstream::print!("{}", told.markdown(&compared)),
        _ => inv.print(|| told.json(&compared), || told.text(&compared)),
    }
    Ok(())
}

/// The settings as they stand in their file.
fn settings_as_written(loaded: &Loaded) -> serde_json::Value {
    let mut problems = Problems::new(); // told when the project was loaded
    let text = settings::read_file(&loaded.project.dir, settings::FILE, &mut problems);
    let node = text.and_then(|text| crate::yaml::parse(settings::FILE, &text, &mut problems));
    node.map(|n| n.to_json()).unwrap_or_default()
}

/// One campaign as it was and as it is.
async fn compare_campaign(
    db: &Db,
    (past, loaded): (&Past, &Loaded),
    [templates_then, templates]: &[BTreeMap<String, String>; 2],
    key: &str,
    clock: Clock,
) -> Result<Compared, Failure> {
    let as_of = clock.as_of();
    let settings = &loaded.project.settings;
    let (then, now) = (past.campaigns.of_key(key), loaded.campaigns.of_key(key));
    let mut sides = [None, None];
    let mut on_the_way = [OnTheWay::default(), OnTheWay::default()];
    let of_sides =
        [(then, &past.settings, &past.library, templates_then), (now, settings, &loaded.segments, templates)];
    for (n, (campaign, settings, library, templates)) in of_sides.into_iter().enumerate() {
        let Some(campaign) = campaign else { continue };
        let (step, nothing) = ((campaign, &campaign.steps[0]), FieldSet::nothing());
        sides[n] = Some(Side {
            planning: Planning::prepare(db, settings, library, step, nothing, as_of).await?,
            mails: editions(campaign, templates, settings)?,
        });
        on_the_way[n] = ahead::on_the_way(db, settings, campaign, as_of).await?;
    }
    let [before, after] = &sides;
    let mails = match (before, after) {
        (Some(then), Some(now)) => then.mails.changes(&now.mails).into_iter().map(rewritten).collect(),
        _ => Vec::new(), // a campaign that comes or goes is told as such
    };
    let edits = then.zip(now).map(|(then, now)| edits(&then.written, &now.written)).unwrap_or_default();
    Ok(Compared {
        campaign: now.or(then).map_or(key, |c| &c.name).to_owned(),
        status: now.map(|c| c.status),
        change: compare::changes(db, before.as_ref(), after.as_ref()).await?,
        mails,
        edits,
        way: way::changes(&on_the_way[0], &on_the_way[1]),
        on_the_way,
    })
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
    zone: &'a TimeZone,
    /// Keys of okaeri.yaml that differ.
    settings: Vec<Edit>,
    as_of: Millis,
    /// Customers whose numbers are older than their data.
    stale: i64,
}

impl Told<'_> {
    fn json(&self, compared: &[Compared]) -> serde_json::Value {
        let group = |g: &Group, causes: &Causes| {
            json!({ "people": g.people, "high_value": g.high_value, "revenue": g.revenue, "because": causes,
                    "examples": g.examples() })
        };
        let campaigns: Vec<_> = compared
            .iter()
            .map(|Compared { campaign, status, change: c, mails, edits, way, on_the_way: [then, now] }| {
                let mail = |m: &Rewritten| json!({ "template": m.template, "locale": m.locale, "change": m.what });
                let steps: Vec<_> = way.iter().map(StepChange::json).collect();
                json!({ "campaign": campaign, "status": status.map(Status::word), "before": c.before, "after": c.after,
                        "settings": edits,
                        "on_their_way": { "before": way::json(then, self.as_of), "after": way::json(now, self.as_of), "changes": steps },
                        "in": group(&c.comes_in, &c.in_because), "out": group(&c.goes_out, &c.out_because),
                        "mails": mails.iter().map(mail).collect::<Vec<_>>(),
                        "other_mail": { "people": c.other_mail.people, "high_value": c.other_mail.high_value,
                                        "other_subject": c.other_subject, "examples": c.other_mail.examples() } })
            })
            .collect();
        json!({ "against": self.revision.name, "commit": self.revision.commit,
                "as_of": clock::rfc3339(self.as_of, self.zone), "settings": self.settings, "stale": self.stale,
                "currency": self.currency, "high_value_percentile": HIGH_VALUE_PERCENTILE, "campaigns": campaigns })
    }

    fn text(&self, compared: &[Compared]) -> String {
        let bold = anstyle::Style::new().bold();
        let mut out = format!(
            "against {} ({}); planned are those who are mailed or withheld by chance; of high value: the highest fifth of all buyers\n\n",
            self.revision.name,
            self.revision.short()
        );
        if !self.settings.is_empty() {
            let _ = writeln!(out, "{bold}okaeri.yaml{bold:#}");
            for edit in &self.settings {
                let _ = writeln!(out, "  {}", edited(edit));
            }
        }
        for Compared { campaign, status, change, mails, edits, way, .. } in compared {
            let _ = writeln!(out, "{bold}{campaign}{bold:#}: {}{}", sizes(change), is_silent(*status));
            for edit in edits {
                let _ = writeln!(out, "  {}", edited(edit));
            }
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
            for step in way {
                let _ = writeln!(out, "  step {}", step.told(grouped, self.zone));
            }
        }
        out
    }

    /// For a pull request: no person is named, and small groups are not told exactly.
    fn markdown(&self, compared: &[Compared]) -> String {
        let mut out = format!("### Plan against `{}`\n\n", self.revision.name.replace('`', ""));
        if self.stale > 0 {
            let _ = writeln!(out, "{}\n", profile::stale(&few(self.stale)));
        }
        let changed: Vec<&Compared> = compared.iter().filter(|c| c.is_changed()).collect();
        if changed.is_empty() && self.settings.is_empty() {
            out.push_str(
                "Nobody comes in, nobody goes out, every mail is written as it was, and no setting changed.\n",
            );
            return out;
        }
        let moved: Vec<&&Compared> = changed.iter().filter(|c| c.moves_people()).collect();
        if moved.is_empty() {
            out.push_str("Nobody comes in, nobody goes out, and every mail is written as it was.\n");
        } else {
            out.push_str("| campaign | planned | comes in | goes out | another first mail |\n|---|---|---|---|---|\n");
            for Compared { campaign, change, mails, .. } in moved {
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
        let mut lines: Vec<String> = self.settings.iter().map(|e| format!("- **okaeri.yaml** {}", code(e))).collect();
        for Compared { campaign, status, change, edits, way, .. } in &changed {
            let line = |said: String| format!("- **{campaign}** {said}");
            match (change.before, change.after) {
                (None, Some(_)) => lines.push(line(format!("new{}", is_silent(*status)))),
                (Some(_), None) => lines.push(line("removed".to_owned())),
                _ => {}
            }
            lines.extend(edits.iter().map(|e| line(code(e))));
            lines.extend(way.iter().map(|step| line(format!("step {}", step.told(few, self.zone)))));
        }
        if !lines.is_empty() {
            let _ = writeln!(out, "\n{}", lines.join("\n"));
        }
        let same = compared.len() - changed.len();
        if same > 0 {
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

/// `status: draft → live`.
fn edited(edit: &Edit) -> String {
    let side = |side: &Option<String>| side.clone().unwrap_or_else(|| "not set".to_owned());
    shown(&format!("{}: {} → {}", edit.key, side(&edit.then), side(&edit.now)))
}

/// The same as code, which nothing in it ends.
fn code(edit: &Edit) -> String {
    format!("`{}`", edited(edit).replace('`', "'"))
}

/// What is to be known of a campaign that is planned and not sent.
fn is_silent(status: Option<Status>) -> String {
    match status {
        Some(status @ (Status::Draft | Status::Paused)) => format!(" ({}: sends nothing)", status.word()),
        Some(Status::Live) | None => String::new(),
    }
}

/// A count where anybody may read it.
pub fn few(n: i64) -> String {
    Counts::Few.of(n)
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
