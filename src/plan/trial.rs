//! Tests of campaigns: what a look does with somebody who stands in no database. Pure, and with the guards and the timing of real plans.

use jiff::tz::TimeZone;

use super::candidates::Candidate;
use super::guard::{self, Reason, Rules};
use crate::campaign::case::{Case, Expected};
use crate::campaign::{Audience, Campaign, Step};
use crate::clock::Millis;
use crate::problem::Problems;
use crate::profile::Moment;
use crate::segment::Library;
use crate::segment::condition::{Asked, holds_for};
use crate::segment::given::Given;
use crate::settings::Settings;

pub mod days;

/// What the look does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    pub verdict: Expected,
    pub step: Option<String>,
    pub reason: Option<Reason>,
}

/// What the campaign does with the person of a test at one look; else what is missing to know.
pub fn look(campaign: &Campaign, library: &Library, settings: &Settings, case: &Case) -> Result<Found, String> {
    let (given, now) = (&case.given, case.now);
    let question = Question { campaign, library, settings, given, now, sent: &[] };
    match case.entered_at {
        None => question.enter(),
        Some(entered_at) => question.follow(entered_at),
    }
}

/// Reasons of tests that are none.
pub fn check(campaign: &Campaign, problems: &mut Problems) {
    for expect in campaign.tests.iter().flat_map(Case::expectations) {
        if let Some(word) = expect.reason.as_ref().filter(|word| Reason::from_word(word).is_none()) {
            problems
                .error(
                    "unknown-word",
                    &expect.reason_place,
                    format!("`{word}` is no reason for which people are skipped"),
                )
                .did_you_mean(word, Reason::ALL.map(Reason::word));
        }
    }
}

/// A question about somebody at one instant.
#[derive(Clone, Copy)]
struct Question<'a> {
    pub campaign: &'a Campaign,
    pub library: &'a Library,
    pub settings: &'a Settings,
    pub given: &'a Given,
    pub now: Millis,
    /// When the campaign sent them something in the course of the test.
    pub sent: &'a [Millis],
}

/// A look that did nothing.
pub const NOTHING: Found = Found { verdict: Expected::Nothing, step: None, reason: None };

fn skip(step: &Step, reason: Reason) -> Found {
    Found { verdict: Expected::Skip, step: Some(step.name.clone()), reason: Some(reason) }
}

fn send(step: &Step) -> Found {
    Found { verdict: Expected::Send, step: Some(step.name.clone()), reason: None }
}

impl Question<'_> {
    fn asks(&self, what: Asked<'_>) -> Result<bool, String> {
        holds_for(self.library, self.settings, &what, self.given, self.now)
    }

    /// Their own time zone, or the project's.
    pub fn zone(&self) -> TimeZone {
        self.own_zone().unwrap_or_else(|| self.settings.time_zone.clone())
    }

    /// Their own time zone, when it is known.
    pub fn own_zone(&self) -> Option<TimeZone> {
        let moment = Moment::with_cuts(self.settings, self.now, None);
        self.given.text("time_zone", &moment).and_then(|name| TimeZone::get(&name).ok())
    }

    /// Whether the campaign is for them.
    pub fn is_in_audience(&self) -> Result<bool, String> {
        let is_member = match &self.campaign.audience {
            Audience::Everyone => true,
            Audience::InSegment(name) => self.asks(Asked::Member(name))?,
        };
        if !is_member {
            return Ok(false);
        }
        for excluded in &self.campaign.exclude {
            if self.asks(Asked::Member(excluded))? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Somebody who has not entered.
    fn enter(&self) -> Result<Found, String> {
        let first = &self.campaign.steps[0];
        if !self.is_in_audience()? {
            return Ok(NOTHING);
        }
        if let Some(reason) = self.barred(self.had_it()) {
            return Ok(skip(first, reason));
        }
        if first.is_immediate() { Ok(send(first)) } else { Ok(NOTHING) }
    }

    /// Somebody who entered: their newest step that is due.
    fn follow(&self, entered_at: Millis) -> Result<Found, String> {
        let (zone, now) = (self.zone(), self.now);
        let due = |step: &&Step| {
            let at = step.moment(entered_at, &zone);
            // Whoever is in had the first step as they entered.
            !step.is_immediate() && at <= now && at.saturating_add(self.campaign.catch_up()) >= now
        };
        let newest = self.campaign.steps.iter().filter(due).max_by_key(|step| step.moment(entered_at, &zone));
        let Some(step) = newest else { return Ok(NOTHING) };
        Ok(self.kept_from(step, entered_at)?.map_or_else(|| send(step), |reason| skip(step, reason)))
    }

    /// Why somebody who entered then does not get a step that is due; `None` when they do.
    pub fn kept_from(&self, step: &Step, entered_at: Millis) -> Result<Option<Reason>, String> {
        for (condition, bars_if, reason) in [
            (&self.campaign.exit_on, true, Reason::Exit),
            (&step.unless, true, Reason::Unless),
            (&step.only_if, false, Reason::OnlyIf),
        ] {
            if let Some(condition) = condition
                && self.asks(Asked::Condition(condition, entered_at))? == bars_if
            {
                return Ok(Some(reason));
            }
        }
        Ok(self.barred(false))
    }

    /// Whether mail that they had of the campaign keeps them out by `once_per`.
    pub fn had_it(&self) -> bool {
        let rules = Rules::of(self.campaign, self.settings, self.now);
        let bars = |since: Option<Millis>| {
            let mut received = self.campaign.names().flat_map(|name| self.given.received(name));
            received.any(|at| since.is_none_or(|s| at >= s))
        };
        rules.once_per.is_some_and(bars)
    }

    /// The guards, as far as a given person can meet them. They have an address of their own.
    pub fn barred(&self, already_received: bool) -> Option<Reason> {
        let (given, now) = (self.given, self.now);
        let moment = Moment::with_cuts(self.settings, now, None);
        let rules = Rules::of(self.campaign, self.settings, now);
        let sent_since = |since: Millis| self.sent.iter().filter(|at| **at >= since).count() as i64;
        let candidate = Candidate {
            customer_id: "given".to_owned(),
            address_key: Some("given@example.com".to_owned()),
            primary: true,
            consents: given.consents(&rules.topic),
            already_received,
            open_tickets: given.number("open_tickets", &moment).unwrap_or_default() as i64,
            last_rating: given.number("last_rating", &moment),
            last_rating_at: given.number("last_rating_at", &moment).map(|at| at as Millis),
            recent_messages: rules.caps.iter().map(|(_, since, _)| sent_since(*since)).collect(),
            ..Candidate::default()
        };
        guard::barred(&rules, &candidate)
    }
}
