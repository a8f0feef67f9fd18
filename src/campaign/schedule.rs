//! Schedules: at which wall-clock times a campaign is due, and what that is for a person somewhere on earth. Pure.
//!
//! A *slot* is a wall-clock time without a zone (`2026-11-24T09:00`) and the key of one run. Where clocks jump forward over it, it happens as
//! much later as they jump (02:30 becomes 03:30); where they go back it happens the first time. So each slot happens exactly once in every zone,
//! and a rule that names every hour is silent in the repeated one.
//!
//! With `time_zone: customer` a slot lasts 26 hours: it opens where the day begins first (UTC+14) and everybody has a moment of their own.
//!
//! Reading is in [`read`].

mod read;

use std::fmt;

use croner::Cron;
use jiff::civil::DateTime;
use jiff::tz::{TimeZone, offset};

use crate::clock::{self, DAY, HOUR, Millis};
use crate::problem::Place;

pub(crate) use read::schedule;

/// How late a person's moment may be, when the campaign says nothing.
pub const CATCH_UP: Millis = 6 * HOUR;
/// How far ahead a next slot is looked for: a rule for the 29th of February has one in it.
pub const AHEAD_MAX: Millis = 9 * 366 * DAY;
/// The same for the steps of a journey.
pub const CATCH_UP_JOURNEY: Millis = DAY;
/// Slots looked at in one go: a rule for every minute fills a week.
pub const SLOTS_MAX: usize = 10_080;

/// When a campaign is due.
#[derive(Debug, Clone)]
pub struct Schedule {
    rule: Rule,
    pub zone: Zone,
    /// A moment older than this is missed.
    pub catch_up: Millis,
    pub place: Place,
    /// What the author wrote, for calendars and reports.
    pub written: String,
}

/// Everybody enters as soon as they are in the audience.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Journey {
    /// A step's moment older than this is missed.
    pub catch_up: Millis,
}

/// What `schedule:` says.
pub(crate) enum Scheduled {
    At(Box<Schedule>),
    WhenMatching(Journey),
}

#[derive(Debug, Clone)]
enum Rule {
    Once(DateTime),
    /// Whenever one of them says so.
    Repeated(Vec<Cron>),
}

/// Whose clock a slot is read from.
#[derive(Debug, Clone)]
pub enum Zone {
    /// The project's, unless it names one.
    Project,
    Named(TimeZone),
    /// Each person's own; the project's for people without one.
    Customer,
}

/// The key of one occurrence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Slot(DateTime);

impl Slot {
    /// The slot of this key; `None` for keys that are no wall-clock time.
    pub fn parse(key: &str) -> Option<Slot> {
        key.contains('T').then(|| key.parse().ok().map(Slot)).flatten()
    }

    /// The wall-clock time.
    pub fn time(self) -> DateTime {
        self.0
    }

    /// When it happens in a zone.
    pub fn in_zone(self, zone: &TimeZone) -> Millis {
        // Compatible disambiguation (RFC 5545 §3.3.5): a skipped time moves on by the jump, a repeated one is the first.
        self.0.to_zoned(zone.clone()).map_or(Millis::MAX / 4, |z| z.timestamp().as_millisecond())
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.strftime("%Y-%m-%dT%H:%M"))
    }
}

impl Schedule {
    /// The slots that open after `after` and not later than `until`, oldest first; the first [`SLOTS_MAX`] of them.
    pub fn slots(&self, after: Millis, until: Millis, project: &TimeZone) -> Vec<Slot> {
        // Wall clocks differ from UTC by less than a day and a half, DST included.
        let from = clock::timestamp(after.saturating_sub(2 * DAY)).to_zoned(TimeZone::UTC);
        let to = clock::timestamp(until.saturating_add(2 * DAY)).to_zoned(TimeZone::UTC);
        let opens = |slot: &Slot| {
            let at = self.opens_at(*slot, project);
            at > after && at <= until
        };
        match &self.rule {
            Rule::Once(at) => Some(Slot(*at)).filter(opens).into_iter().collect(),
            Rule::Repeated(rules) => {
                let mut slots: Vec<Slot> = rules
                    .iter()
                    .flat_map(|rule| {
                        // Asked in UTC, which has every wall-clock time once.
                        let times = rule.iter_from(from.clone(), croner::Direction::Forward);
                        times.take_while(|t| *t <= to).map(|t| Slot(t.datetime())).filter(opens).take(SLOTS_MAX)
                    })
                    .collect();
                slots.sort_unstable();
                slots.dedup();
                slots.truncate(SLOTS_MAX);
                slots
            }
        }
    }

    /// When the first person may have it.
    pub fn opens_at(&self, slot: Slot, project: &TimeZone) -> Millis {
        match &self.zone {
            Zone::Project => slot.in_zone(project),
            Zone::Named(zone) => slot.in_zone(zone),
            Zone::Customer => slot.in_zone(&TimeZone::fixed(offset(14))),
        }
    }

    /// When the last person's moment is.
    pub fn last_at(&self, slot: Slot, project: &TimeZone) -> Millis {
        match &self.zone {
            Zone::Customer => slot.in_zone(&TimeZone::fixed(offset(-12))),
            _ => self.opens_at(slot, project),
        }
    }

    /// A person's moment. `own` is the person's zone, as far as it is known.
    pub fn moment(&self, slot: Slot, own: Option<&TimeZone>, project: &TimeZone) -> Millis {
        match &self.zone {
            Zone::Customer => slot.in_zone(own.unwrap_or(project)),
            _ => self.opens_at(slot, project),
        }
    }

    /// When the next slot after an instant opens; `None` when none does within [`AHEAD_MAX`].
    pub fn next_opening(&self, after: Millis, project: &TimeZone) -> Option<Millis> {
        let near = self.slots(after, after + 7 * DAY, project);
        let found = if near.is_empty() { self.slots(after, after + AHEAD_MAX, project) } else { near };
        found.first().map(|slot| self.opens_at(*slot, project))
    }

    /// Whether a slot happens once only.
    pub fn is_single(&self) -> bool {
        matches!(self.rule, Rule::Once(_))
    }
}

impl Zone {
    /// As people read it.
    pub fn name(&self, project: &TimeZone) -> String {
        let name = |zone: &TimeZone| zone.iana_name().unwrap_or("UTC").to_owned();
        match self {
            Zone::Project => name(project),
            Zone::Named(zone) => name(zone),
            Zone::Customer => "each person's own time".to_owned(),
        }
    }
}

#[cfg(test)]
impl Schedule {
    /// A schedule from its YAML, for tests.
    pub(crate) fn of_text(text: &str) -> Schedule {
        let mut problems = crate::problem::Problems::new();
        let node = crate::yaml::parse("c.yaml", text, &mut problems).expect("the YAML of a test");
        match schedule(&node, &mut problems) {
            Some(Scheduled::At(schedule)) => *schedule,
            _ => panic!("{}", problems.to_text()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zone(name: &str) -> TimeZone {
        TimeZone::get(name).unwrap()
    }

    fn keys(text: &str, zone_name: &str, after: &str, until: &str) -> Vec<String> {
        let zone = zone(zone_name);
        let at = |text: &str| clock::parse_instant(text, &zone).unwrap();
        Schedule::of_text(text).slots(at(after), at(until), &zone).iter().map(Slot::to_string).collect()
    }

    #[test]
    fn a_week_has_its_slots() {
        let of = |text| keys(text, "Europe/Berlin", "2026-11-22T00:00", "2026-11-29T00:00");
        assert_eq!(of("every: tuesday 09:00"), ["2026-11-24T09:00"]);
        assert_eq!(of("every: [monday 09:00, thu 18:30]"), ["2026-11-23T09:00", "2026-11-26T18:30"]);
        assert_eq!(of("every: weekday 8:05").len(), 5);
        assert_eq!(of("every: day 00:00"), (23..=29).map(|d| format!("2026-11-{d}T00:00")).collect::<Vec<_>>());
        assert_eq!(of("cron: \"0 9 * * TUE\""), ["2026-11-24T09:00"]);
        assert_eq!(of("at: 2026-11-25 10:00"), ["2026-11-25T10:00"]);
        assert_eq!(of("at: 2026-11-30 10:00"), [""; 0]);
        assert_eq!(
            keys("every: month 31 09:00", "UTC", "2027-01-01", "2027-05-01"),
            ["2027-01-31T09:00", "2027-02-28T09:00", "2027-03-31T09:00", "2027-04-30T09:00"]
        );
    }

    #[test]
    fn a_slot_opens_after_the_first_instant_and_at_the_last() {
        let text = "every: day 09:00";
        assert_eq!(keys(text, "Asia/Tokyo", "2026-11-24T09:00", "2026-11-25T09:00"), ["2026-11-25T09:00"]);
        assert_eq!(keys(text, "Asia/Tokyo", "2026-11-24T09:00", "2026-11-25T08:59:59"), [""; 0]);
    }

    #[test]
    fn a_skipped_time_moves_on_and_a_repeated_one_happens_first() {
        let berlin = zone("Europe/Berlin");
        let utc = |slot: &str| clock::rfc3339(Slot::parse(slot).unwrap().in_zone(&berlin), &TimeZone::UTC);
        assert_eq!(utc("2026-03-29T02:30"), "2026-03-29T01:30:00+00:00"); // 03:30 in summer time
        assert_eq!(utc("2026-10-25T02:30"), "2026-10-25T00:30:00+00:00"); // still in summer time
        // Every day has it once, also those with 23 and 25 hours.
        for (after, until) in [("2026-03-28T12:00", "2026-03-31T12:00"), ("2026-10-24T12:00", "2026-10-27T12:00")] {
            assert_eq!(keys("every: day 02:30", "Europe/Berlin", after, until).len(), 3);
        }
        // Hours of the wall clock: the skipped one comes with the next, the repeated one once.
        let hourly = |after, until| keys("cron: \"0 * * * *\"", "Europe/Berlin", after, until).len();
        assert_eq!(hourly("2026-03-29T00:00", "2026-03-30T00:00"), 24);
        assert_eq!(hourly("2026-10-25T00:00", "2026-10-26T00:00"), 24);
    }

    #[test]
    fn everybody_has_a_moment_of_their_own() {
        let s = Schedule::of_text("every: tuesday 09:00\ntime_zone: customer");
        let (project, slot) = (zone("Europe/Berlin"), Slot::parse("2026-11-24T09:00").unwrap());
        let utc = |at| clock::rfc3339(at, &TimeZone::UTC);
        assert_eq!(utc(s.opens_at(slot, &project)), "2026-11-23T19:00:00+00:00");
        assert_eq!(utc(s.moment(slot, Some(&zone("Asia/Tokyo")), &project)), "2026-11-24T00:00:00+00:00");
        assert_eq!(utc(s.moment(slot, None, &project)), "2026-11-24T08:00:00+00:00");
        assert_eq!(utc(s.last_at(slot, &project)), "2026-11-24T21:00:00+00:00");
        for name in ["Pacific/Kiritimati", "Asia/Kathmandu", "America/Los_Angeles", "Pacific/Niue"] {
            let moment = s.moment(slot, Some(&zone(name)), &project);
            assert!((s.opens_at(slot, &project)..=s.last_at(slot, &project)).contains(&moment), "{name}");
        }
    }

    #[test]
    fn a_long_silence_is_looked_at_in_parts() {
        let zone = zone("UTC");
        let s = Schedule::of_text("cron: \"* * * * *\"");
        let all = s.slots(0, 400 * DAY, &zone);
        assert_eq!(all.len(), SLOTS_MAX);
        assert_eq!(all[0].to_string(), "1970-01-01T00:01");
    }
}
