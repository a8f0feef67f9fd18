//! `okaeri segment diff A B`: two segments beside each other. `okaeri segment diff --against REV`: what an edit of the files does to the
//! people, both sides evaluated on the database as it is now.
//!
//! Customers are named by id; no address is printed.

use std::fmt::Write as _;

use serde_json::json;

use super::{Asked, people, several, unknown_segment};
use crate::cli::revision::{Past, Revision};
use crate::cli::{Exit, Failure};
use crate::money::{grouped, readable};
use crate::problem::counted;
use crate::segment::compare::{self, Change, EXAMPLES_MAX, Group, HIGH_VALUE_PERCENTILE, Pair};
use crate::segment::{Library, sentence};

#[derive(Debug, clap::Args)]
pub struct DiffArgs {
    /// Two segments; with --against any number, all when none is named
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Compare with the files of this git revision: a branch, a tag or a commit
    #[arg(long, value_name = "REV")]
    against: Option<String>,
}

impl Asked<'_> {
    pub(super) async fn diff(&self, args: DiffArgs) -> Result<Exit, Failure> {
        match (args.against, args.names.as_slice()) {
            (Some(revision), names) => self.diff_against(&revision, names).await,
            (None, [first, second]) if first != second => self.diff_two(first, second).await,
            (None, [_, _]) => Err(Failure::Usage("the same segment twice\nname two segments".to_owned())),
            (None, _) => Err(Failure::Usage(
                "name two segments, or compare with a git revision\n\
                 okaeri segment diff A B, or okaeri segment diff --against main"
                    .to_owned(),
            )),
        }
    }

    async fn diff_two(&self, first: &str, second: &str) -> Result<Exit, Failure> {
        self.segment(first)?;
        self.segment(second)?;
        let pair = compare::pair(self.db, &self.prepare(&[first, second]).await?).await?;
        self.inv.print(
            || {
                json!({ "as_of": self.instant(self.as_of), "currency": self.project.settings.currency,
                        "high_value_percentile": HIGH_VALUE_PERCENTILE, "first": first, "second": second,
                        "only_first": as_json(&pair.only_first), "only_second": as_json(&pair.only_second),
                        "both": as_json(&pair.both) })
            },
            || self.two_text(first, second, &pair),
        );
        Ok(Exit::Done)
    }

    fn two_text(&self, first: &str, second: &str, pair: &Pair) -> String {
        let bold = anstyle::Style::new().bold();
        let mut out = format!("as of {}{HIGH_VALUE}\n\n", self.instant(self.as_of));
        let groups = [
            (format!("only in {first}"), &pair.only_first),
            (format!("only in {second}"), &pair.only_second),
            ("in both".to_owned(), &pair.both),
        ];
        let width = groups.iter().map(|(title, _)| title.chars().count()).max().unwrap_or(0);
        for (title, group) in &groups {
            let _ = writeln!(out, "{bold}{title:width$}{bold:#}  {}", self.told(group));
        }
        out
    }

    async fn diff_against(&self, revision: &str, names: &[String]) -> Result<Exit, Failure> {
        let revision = Revision::find(&self.project.dir, revision).await?;
        let past = revision.project(self.inv).await?;
        let known = |name: &str| self.library.get(name).is_some() || past.library.get(name).is_some();
        if let Some(unknown) = names.iter().find(|n| !known(n)) {
            return Err(unknown_segment(unknown, self.library.names().chain(past.library.names())));
        }
        let wanted = |library: &'_ Library| -> Vec<String> {
            library.names().filter(|n| names.is_empty() || names.iter().any(|w| w == n)).map(str::to_owned).collect()
        };
        let before = several(self.db, &past.settings, &past.library, &wanted(&past.library), self.as_of).await?;
        let after = several(self.db, &self.project.settings, self.library, &wanted(self.library), self.as_of).await?;
        let changes = compare::changes(self.db, &before, &after).await?;
        let rewritten: Vec<&str> =
            changes.iter().filter(|c| self.is_rewritten(&c.segment, &past)).map(|c| &*c.segment).collect();
        self.inv.print(
            || self.against_json(&revision, &changes, &rewritten),
            || self.against_text(&revision, &changes, &rewritten),
        );
        Ok(Exit::Done)
    }

    /// Whether a segment of both sides has another rule now. The rules of segments it names do not count.
    fn is_rewritten(&self, name: &str, past: &Past) -> bool {
        let then = past.library.get(name).map(|s| sentence(&s.rule, &past.settings));
        let now = self.library.get(name).map(|s| sentence(&s.rule, &self.project.settings));
        then.zip(now).is_some_and(|(then, now)| then != now)
    }

    fn against_json(&self, revision: &Revision, changes: &[Change], rewritten: &[&str]) -> serde_json::Value {
        let segments: Vec<_> = changes
            .iter()
            .map(|c| {
                json!({ "segment": c.segment, "status": Status::of(c).word(),
                        "rule_changed": rewritten.contains(&c.segment.as_str()), "before": c.before, "after": c.after,
                        "in": as_json(&c.comes_in), "out": as_json(&c.goes_out) })
            })
            .collect();
        json!({ "as_of": self.instant(self.as_of), "currency": self.project.settings.currency,
                "high_value_percentile": HIGH_VALUE_PERCENTILE, "against": revision.name, "commit": revision.commit,
                "segments": segments })
    }

    fn against_text(&self, revision: &Revision, changes: &[Change], rewritten: &[&str]) -> String {
        let bold = anstyle::Style::new().bold();
        let mut out = format!(
            "against {} ({}), as of {}{HIGH_VALUE}\n\n",
            revision.name,
            revision.short(),
            self.instant(self.as_of)
        );
        for change in changes {
            let name = &change.segment;
            match Status::of(change) {
                Status::Unchanged => {}
                Status::New => {
                    let _ = writeln!(out, "{bold}{name}{bold:#} is new\n  + {}", self.told(&change.comes_in));
                }
                Status::Removed => {
                    let _ = writeln!(out, "{bold}{name}{bold:#} is removed\n  − {}", self.told(&change.goes_out));
                }
                Status::Changed => {
                    let (before, after) = (change.before.unwrap_or(0), change.after.unwrap_or(0));
                    let _ = writeln!(out, "{bold}{name}{bold:#}: {} → {}", grouped(before), people(after));
                    for (sign, group) in [("+", &change.comes_in), ("−", &change.goes_out)] {
                        if group.people > 0 {
                            let _ = writeln!(out, "  {sign} {}", self.told(group));
                        }
                    }
                }
            }
        }
        let unchanged: Vec<&str> =
            changes.iter().filter(|c| Status::of(c) == Status::Unchanged).map(|c| c.segment.as_str()).collect();
        let same_people: Vec<&str> = unchanged.iter().copied().filter(|n| rewritten.contains(n)).collect();
        let _ = match (changes.len(), unchanged.len()) {
            (0, _) => writeln!(out, "no segments, neither then nor now"),
            (_, 0) => Ok(()),
            (_, n) => writeln!(out, "unchanged: {}", counted(n, "segment")),
        };
        if !same_people.is_empty() {
            let _ = writeln!(out, "  written differently, for the same people: {}", same_people.join(", "));
        }
        out
    }

    /// `540 people, 38 of high value, revenue 12,345.00 EUR (c-1, c-14 …)`.
    fn told(&self, group: &Group) -> String {
        if group.people == 0 {
            return "nobody".to_owned();
        }
        let high = if group.high_value == 0 { "none".to_owned() } else { grouped(group.high_value) };
        let revenue = readable(group.revenue, &self.project.settings.currency);
        let more = if group.people as usize > EXAMPLES_MAX { " …" } else { "" };
        format!(
            "{}, {high} of high value, revenue {revenue} ({}{more})",
            people(group.people),
            group.examples().join(", ")
        )
    }
}

/// What "of high value" means, after the heading.
const HIGH_VALUE: &str = "; of high value: the highest fifth of all buyers by revenue";

/// What became of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Status {
    New,
    Removed,
    /// Somebody comes in or goes out.
    Changed,
    /// The same people.
    Unchanged,
}

impl Status {
    fn of(change: &Change) -> Status {
        match (change.before, change.after) {
            (None, _) => Status::New,
            (_, None) => Status::Removed,
            _ if change.moves_anybody() => Status::Changed,
            _ => Status::Unchanged,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Status::New => "new",
            Status::Removed => "removed",
            Status::Changed => "changed",
            Status::Unchanged => "unchanged",
        }
    }
}

fn as_json(group: &Group) -> serde_json::Value {
    json!({ "people": group.people, "high_value": group.high_value, "revenue": group.revenue, "examples": group.examples() })
}
