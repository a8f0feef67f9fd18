//! A test over days: looks at somebody who stands in no database, one an hour as `okaeri run` takes them. What they got is theirs at the next look.
//! Pure.
//!
//! Left out, as in every test of a campaign: chance (experiments and holdouts), limits, and mail of other campaigns.

use std::collections::BTreeSet;

use super::{Found, NOTHING, Question, send, skip};
use crate::campaign::case::{Case, Day, Expected};
use crate::campaign::{Campaign, Step};
use crate::clock::{HOUR, Millis};
use crate::plan::guard::{Reason, Rules};
use crate::segment::Library;
use crate::segment::given::Given;
use crate::settings::Settings;

/// Something that a look did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Happened {
    pub at: Millis,
    pub found: Found,
}

/// What happened up to each of the days, since the one before; else what is missing to know.
pub fn happenings(
    campaign: &Campaign,
    library: &Library,
    settings: &Settings,
    (case, days): (&Case, &[Day]),
) -> Result<Vec<Vec<Happened>>, String> {
    let mut course =
        Course { campaign, library, settings, entries: Vec::new(), sent: Vec::new(), happened: Vec::new() };
    let start = case.given.clone().as_time_passes();
    let mut given = &start;
    let mut before = case.now - 1;
    let mut out = Vec::new();
    for day in days {
        // Every hour on the way, with the person as they were; then the day itself.
        for at in hours(case.now, before, day.at) {
            course.look(given, (before, at), false)?;
            before = at;
        }
        given = &day.given;
        course.look(given, (before, day.at), true)?;
        before = day.at;
        out.push(std::mem::take(&mut course.happened));
    }
    Ok(out)
}

/// The hours from `start` on that lie between two instants.
fn hours(start: Millis, after: Millis, until: Millis) -> impl Iterator<Item = Millis> {
    let first = (after - start).div_euclid(HOUR) + 1;
    (first..).map(move |hour| start + hour * HOUR).take_while(move |at| *at < until)
}

/// One way through the campaign.
struct Entry {
    at: Millis,
    /// Steps that are over, by their names.
    decided: BTreeSet<String>,
    exited: bool,
}

/// Somebody on their way.
struct Course<'a> {
    campaign: &'a Campaign,
    library: &'a Library,
    settings: &'a Settings,
    entries: Vec<Entry>,
    /// Steps they got, and when.
    sent: Vec<(String, Millis)>,
    /// Since the last day of the test.
    happened: Vec<Happened>,
}

impl Course<'_> {
    /// One look. `before` was the one before it; `is_day`: one of the test's own instants.
    fn look(&mut self, given: &Given, (before, now): (Millis, Millis), is_day: bool) -> Result<(), String> {
        let given = given.with_received(&self.campaign.key, self.sent.iter().map(|(step, at)| (step.as_str(), *at)));
        let instants: Vec<Millis> = self.sent.iter().map(|(_, at)| *at).collect();
        let (campaign, library, settings) = (self.campaign, self.library, self.settings);
        let question = Question { campaign, library, settings, given: &given, now, sent: &instants };
        // As `run` does: entries first, then steps.
        if self.may_enter(&question, before, is_day) {
            self.enter(&question)?;
        }
        self.follow(&question)
    }

    /// Whether people enter at this look: at any of a journey, at the times of a schedule; by hand on the days of the test.
    fn may_enter(&self, question: &Question<'_>, before: Millis, is_day: bool) -> bool {
        let (campaign, now) = (self.campaign, question.now);
        if !campaign.is_open_at(now) {
            return false;
        }
        let Some(schedule) = &campaign.schedule else { return campaign.journey.is_some() || is_day };
        let zone = &self.settings.time_zone;
        let own = question.own_zone();
        // Slots open on their own clock up to a day or so apart.
        let near = schedule.slots(before - 2 * crate::clock::DAY, now + 2 * crate::clock::DAY, zone);
        near.into_iter().map(|slot| schedule.moment(slot, own.as_ref(), zone)).any(|at| at > before && at <= now)
    }

    fn enter(&mut self, question: &Question<'_>) -> Result<(), String> {
        let (campaign, now) = (self.campaign, question.now);
        let first = &campaign.steps[0];
        let rules = Rules::of(campaign, self.settings, now);
        if campaign.journey.is_some() {
            // Whoever was in within `once_per`, or is still in, does not enter again: no look tells of that.
            let again = |e: &Entry| {
                rules.once_per.is_some_and(|since| since.is_none_or(|s| e.at >= s))
                    || (!e.exited && e.at >= rules.in_since)
            };
            if self.entries.iter().any(again) {
                return Ok(());
            }
        }
        if !question.is_in_audience()? {
            return Ok(());
        }
        if let Some(reason) = question.barred(question.had_it()) {
            self.note(now, skip(first, reason));
            return Ok(());
        }
        let mut entry = Entry { at: now, decided: BTreeSet::new(), exited: false };
        if first.is_immediate() {
            entry.decided.insert(first.name.clone());
            self.sends(first, now);
        }
        self.entries.push(entry);
        Ok(())
    }

    /// Steps of those who are in, the earliest first.
    fn follow(&mut self, question: &Question<'_>) -> Result<(), String> {
        let (campaign, now, zone) = (self.campaign, question.now, question.zone());
        for n in 0..self.entries.len() {
            let entered_at = self.entries[n].at;
            let mut due: Vec<(Millis, &Step)> =
                campaign.steps.iter().filter(|s| !s.is_immediate()).map(|s| (s.moment(entered_at, &zone), s)).collect();
            due.retain(|(at, _)| *at <= now);
            due.sort_by_key(|(at, _)| *at);
            for (at, step) in due {
                if self.entries[n].exited || self.entries[n].decided.contains(&step.name) {
                    continue;
                }
                let reason = match at.saturating_add(campaign.catch_up()) < now {
                    true => Some(Reason::Missed),
                    false => question.kept_from(step, entered_at)?,
                };
                match reason {
                    None => self.sends(step, now),
                    Some(reason) => self.note(now, skip(step, reason)),
                }
                // A freeze and a cap hold a step back, and it is asked again.
                if !matches!(reason, Some(Reason::ServiceFreeze | Reason::FrequencyCap)) {
                    self.entries[n].decided.insert(step.name.clone());
                }
                self.entries[n].exited |= reason == Some(Reason::Exit);
            }
        }
        Ok(())
    }

    fn sends(&mut self, step: &Step, now: Millis) {
        self.sent.push((step.name.clone(), now));
        self.note(now, send(step));
    }

    /// Keep what happened to a step: the same at the next look is no news, and what was decided at last stands for what held it back.
    fn note(&mut self, at: Millis, found: Found) {
        debug_assert_ne!(found, NOTHING);
        let held = |h: &Happened| h.found.verdict == Expected::Skip && h.found.step == found.step;
        match self.happened.iter_mut().find(|h| held(h)) {
            Some(same) if same.found == found => {}
            Some(before) => *before = Happened { at, found },
            None => self.happened.push(Happened { at, found }),
        }
    }
}
