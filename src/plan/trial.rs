//! Tests of campaigns: what a look does with somebody who stands in no database. Pure, and with the guards and the timing of real plans.

use jiff::tz::TimeZone;

use super::candidates::Candidate;
use super::guard::{self, Reason, Rules};
use crate::campaign::case::{Case, Expected};
use crate::campaign::{Audience, Campaign, Step};
use crate::clock::Millis;
use crate::profile::Moment;
use crate::segment::Library;
use crate::segment::condition::{Asked, holds_for};
use crate::settings::Settings;

/// What the look does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    pub verdict: Expected,
    pub step: Option<String>,
    pub reason: Option<Reason>,
}

/// What the campaign does with the person of a test; else what is missing to know.
pub fn look(campaign: &Campaign, library: &Library, settings: &Settings, case: &Case) -> Result<Found, String> {
    let question = Question { campaign, library, settings, case };
    match case.entered_at {
        None => question.enter(),
        Some(entered_at) => question.follow(entered_at),
    }
}

struct Question<'a> {
    campaign: &'a Campaign,
    library: &'a Library,
    settings: &'a Settings,
    case: &'a Case,
}

const NOTHING: Found = Found { verdict: Expected::Nothing, step: None, reason: None };

fn skip(step: &Step, reason: Reason) -> Found {
    Found { verdict: Expected::Skip, step: Some(step.name.clone()), reason: Some(reason) }
}

impl Question<'_> {
    fn asks(&self, what: Asked<'_>) -> Result<bool, String> {
        holds_for(self.library, self.settings, &what, &self.case.given, self.case.now)
    }

    /// Somebody who has not entered.
    fn enter(&self) -> Result<Found, String> {
        let first = &self.campaign.steps[0];
        let is_member = match &self.campaign.audience {
            Audience::Everyone => true,
            Audience::InSegment(name) => self.asks(Asked::Member(name))?,
        };
        if !is_member {
            return Ok(NOTHING);
        }
        for excluded in &self.campaign.exclude {
            if self.asks(Asked::Member(excluded))? {
                return Ok(NOTHING);
            }
        }
        if let Some(reason) = self.barred() {
            return Ok(skip(first, reason));
        }
        if first.is_immediate() { Ok(self.send(first)) } else { Ok(NOTHING) }
    }

    /// Somebody who entered: their newest step that is due.
    fn follow(&self, entered_at: Millis) -> Result<Found, String> {
        let moment = Moment::with_cuts(self.settings, self.case.now, None);
        let own = self.case.given.text("time_zone", &moment).and_then(|name| TimeZone::get(&name).ok());
        let zone = own.as_ref().unwrap_or(&self.settings.time_zone);
        let now = self.case.now;
        let due = |step: &&Step| {
            let at = step.moment(entered_at, zone);
            // Whoever is in had the first step as they entered.
            !step.is_immediate() && at <= now && at.saturating_add(self.campaign.catch_up()) >= now
        };
        let newest = self.campaign.steps.iter().filter(due).max_by_key(|step| step.moment(entered_at, zone));
        let Some(step) = newest else { return Ok(NOTHING) };
        for (condition, bars_if, reason) in [
            (&self.campaign.exit_on, true, Reason::Exit),
            (&step.unless, true, Reason::Unless),
            (&step.only_if, false, Reason::OnlyIf),
        ] {
            if let Some(condition) = condition
                && self.asks(Asked::Condition(condition, entered_at))? == bars_if
            {
                return Ok(skip(step, reason));
            }
        }
        Ok(self.barred().map_or_else(|| self.send(step), |reason| skip(step, reason)))
    }

    fn send(&self, step: &Step) -> Found {
        Found { verdict: Expected::Send, step: Some(step.name.clone()), reason: None }
    }

    /// The guards, as far as a given person can meet them. They have an address of their own.
    fn barred(&self) -> Option<Reason> {
        let (given, now) = (&self.case.given, self.case.now);
        let moment = Moment::with_cuts(self.settings, now, None);
        let rules = Rules::of(self.campaign, self.settings, now);
        let bars = |since: Option<Millis>| {
            let mut received = self.campaign.names().flat_map(|name| given.received(name));
            received.any(|at| since.is_none_or(|s| at >= s))
        };
        let entering = self.case.entered_at.is_none();
        let candidate = Candidate {
            customer_id: "given".to_owned(),
            address_key: Some("given@example.com".to_owned()),
            primary: true,
            consents: given.consents(&rules.topic),
            already_received: entering && rules.once_per.is_some_and(bars),
            open_tickets: given.number("open_tickets", &moment).unwrap_or_default() as i64,
            last_rating: given.number("last_rating", &moment),
            last_rating_at: given.number("last_rating_at", &moment).map(|at| at as Millis),
            recent_messages: vec![0; rules.caps.len()],
            ..Candidate::default()
        };
        guard::barred(&rules, &candidate)
    }
}
