//! What each campaign would do with a person now, and where they are in it.

use std::fmt::Write as _;

use anstyle::Style;

use super::line;
use crate::campaign::{Campaign, Status};
use crate::cli::loaded::Loaded;
use crate::cli::{Failure, Invocation, table};
use crate::clock::{self, Millis};
use crate::db::Db;
use crate::plan::person::{self, Inside, Standing, Walk};
use crate::segment::Person;

/// What is asked: of which campaigns, and when.
pub(super) struct Question<'l> {
    loaded: &'l Loaded,
    campaigns: Vec<&'l Campaign>,
    as_of: Millis,
    /// One campaign was named: its proof is told.
    in_full: bool,
}

impl<'l> Question<'l> {
    /// Of the campaign that is named, else of all that are live, by priority.
    pub fn of(inv: &Invocation, loaded: &'l Loaded, named: Option<&str>) -> Result<Question<'l>, Failure> {
        let as_of = inv.clock(&loaded.project.settings.time_zone)?.as_of();
        let campaigns = match named {
            Some(name) => vec![loaded.campaign(name)?],
            None => {
                let mut live: Vec<&Campaign> = loaded.campaigns.iter().filter(|c| c.status == Status::Live).collect();
                live.sort_by_key(|c| (c.priority, &c.name));
                live
            }
        };
        Ok(Question { loaded, campaigns, as_of, in_full: named.is_some() })
    }

    /// The campaign that alone is asked about, as the ledger knows it.
    pub fn only(&self) -> Option<&'l str> {
        self.campaigns.first().filter(|_| self.in_full).map(|c| c.key.as_str())
    }

    /// How they stand to each campaign; to none without a profile.
    pub async fn answer(&self, db: &Db, customer_id: &str) -> Result<Vec<Standing>, Failure> {
        let Some(person) = Person::load(db, customer_id).await?.filter(Person::has_profile) else {
            return Ok(Vec::new());
        };
        let (settings, library) = (&self.loaded.project.settings, &self.loaded.segments);
        let mut standings = Vec::with_capacity(self.campaigns.len());
        for campaign in &self.campaigns {
            standings.push(person::standing(db, settings, library, campaign, &person, self.as_of).await?);
        }
        Ok(standings)
    }

    pub fn tell(&self, out: &mut String, standings: &[Standing]) {
        let bold = Style::new().bold();
        if standings.is_empty() {
            return;
        }
        let at = self.readable(self.as_of);
        line(out, format_args!("{bold}campaigns{bold:#}, planned for them as of {at}"));
        if !self.in_full {
            let mut t = table(["campaign", "now", "why"]);
            for s in standings {
                let (word, why) = self.answer_of(s);
                t.add_row([s.campaign.clone(), word.to_owned(), why]);
            }
            line(out, format_args!("{t}"));
            line(out, format_args!("  the proof for one of them: okaeri why CUSTOMER CAMPAIGN"));
            return;
        }
        for s in standings {
            let (word, why) = self.answer_of(s);
            line(out, format_args!("  {} ({}): {word}, {why}", s.campaign, s.status));
            for m in &s.segments {
                let which = if m.left_out { "left out are" } else { "its audience is" };
                line(out, format_args!("  {which} {}", m.segment));
                for text in m.proof.to_text().lines() {
                    line(out, format_args!("    {text}"));
                }
            }
            for entry in &s.entries {
                self.way(out, entry);
            }
        }
    }

    /// One word and its reason.
    fn answer_of(&self, s: &Standing) -> (&'static str, String) {
        let next = s.entries.first().and_then(|entry| self.next_step(entry));
        let newly = match (s.verdict, s.meaning) {
            (Some("send"), _) => ("yes", format!("as step {}", s.step)),
            (Some("withheld"), Some(meaning)) => ("withheld", meaning.to_owned()),
            (_, Some(meaning)) => ("no", format!("{}: {meaning}", s.reason.unwrap_or_default())),
            _ => ("no", self.outside(s)),
        };
        match next {
            Some(next) if newly.0 != "yes" => ("in it", next),
            _ => newly,
        }
    }

    /// Why somebody is not in the audience.
    fn outside(&self, s: &Standing) -> String {
        let audience = s.segments.iter().find(|m| !m.left_out && !m.proof.holds);
        let left_out = s.segments.iter().find(|m| m.left_out && m.proof.holds);
        match (audience, left_out) {
            (Some(m), _) => format!("not in {}", m.segment),
            (None, Some(m)) => format!("in {}, which it leaves out", m.segment),
            (None, None) => "not a customer".to_owned(),
        }
    }

    /// The step that comes next to somebody who is in.
    fn next_step(&self, entry: &Inside) -> Option<String> {
        entry.steps.iter().find_map(|walked| match walked.state {
            Walk::Due(at) => Some(format!("{} is due {}", walked.step, self.readable(at))),
            _ => None,
        })
    }

    fn way(&self, out: &mut String, entry: &Inside) {
        let at = self.readable(entry.entered_at);
        let mut text = format!("  entered {at}, arm {}:", entry.arm);
        for walked in &entry.steps {
            let state = match &walked.state {
                Walk::Message(state) => state.clone(),
                Walk::Passed(reason) => format!("passed ({reason})"),
                Walk::Due(at) => format!("due {}", self.readable(*at)),
                Walk::Over => "no more".to_owned(),
            };
            write!(text, " {} {state};", walked.step).expect("writing to a string never fails");
        }
        line(out, format_args!("{}", text.trim_end_matches(';')));
    }

    fn readable(&self, at: Millis) -> String {
        clock::readable(at, &self.loaded.project.settings.time_zone)
    }
}
