//! When a person's message is due: by the schedule on their own clock, after quiet hours. Pure.

use jiff::tz::TimeZone;

use crate::campaign::{Campaign, Schedule, Slot};
use crate::clock::{DAY, Millis};
use crate::settings::{QuietHours, Settings};
use crate::suppression::Kind;

/// What a message of one run is timed by.
#[derive(Debug)]
pub struct Timing {
    scheduled: Option<(Schedule, Slot)>,
    /// Promotional mail waits for them to end.
    quiet: Option<QuietHours>,
    project_zone: TimeZone,
    as_of: Millis,
}

/// When a message is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    At(Millis),
    /// The person's moment lies further back than `catch_up`; it was then.
    Missed(Millis),
}

impl Timing {
    /// The timing of a campaign's run: for a slot of its schedule, or now.
    pub fn of(campaign: &Campaign, settings: &Settings, slot: Option<Slot>, as_of: Millis) -> Timing {
        Timing {
            scheduled: campaign.schedule.clone().zip(slot),
            quiet: settings.guards.quiet_hours.filter(|_| campaign.kind == Kind::Promotional),
            project_zone: settings.time_zone.clone(),
            as_of,
        }
    }

    /// No message is due later.
    pub fn last_due(&self) -> Millis {
        let last = self.scheduled.as_ref().map(|(schedule, slot)| schedule.last_at(*slot, &self.project_zone));
        let last = last.unwrap_or(self.as_of).max(self.as_of);
        if self.quiet.is_some() { last + DAY } else { last }
    }

    /// When somebody's message is due; `own` is the name of their time zone. Nothing is due before the planning instant.
    pub fn due(&self, own: Option<&str>) -> Due {
        let own = own.and_then(|name| TimeZone::get(name).ok());
        let zone = own.as_ref().unwrap_or(&self.project_zone);
        let mut at = self.as_of;
        if let Some((schedule, slot)) = &self.scheduled {
            let moment = schedule.moment(*slot, own.as_ref(), &self.project_zone);
            if moment.saturating_add(schedule.catch_up) < self.as_of {
                return Due::Missed(moment);
            }
            at = at.max(moment);
        }
        Due::At(self.quiet.map_or(at, |quiet| quiet.allowed_from(at, zone)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    fn timing(quiet: bool, schedule: &str, as_of: &str) -> Timing {
        let zone = TimeZone::get("Europe/Berlin").unwrap();
        let slot = Slot::parse("2026-11-24T09:00").unwrap();
        let time = |text: &str| text.parse().unwrap();
        Timing {
            scheduled: Some((Schedule::of_text(schedule), slot)),
            quiet: quiet.then(|| QuietHours { from: time("21:00"), to: time("08:00") }),
            as_of: clock::parse_instant(as_of, &zone).unwrap(),
            project_zone: zone,
        }
    }

    fn said(due: Due) -> String {
        let utc = |at| clock::rfc3339(at, &TimeZone::UTC).replace("+00:00", "");
        match due {
            Due::At(at) => utc(at),
            Due::Missed(at) => format!("missed {}", utc(at)),
        }
    }

    #[test]
    fn a_moment_that_is_over_is_missed_for_that_person_alone() {
        let t = timing(false, "every: tuesday 09:00\ntime_zone: customer\ncatch_up: 6h", "2026-11-24T12:00");
        assert_eq!(said(t.due(Some("Asia/Tokyo"))), "missed 2026-11-24T00:00:00");
        assert_eq!(said(t.due(Some("Europe/Berlin"))), "2026-11-24T11:00:00");
        assert_eq!(said(t.due(Some("America/New_York"))), "2026-11-24T14:00:00");
        assert_eq!(t.due(None), t.due(Some("Europe/Berlin")));
        assert_eq!(t.due(Some("Mars/Olympus")), t.due(None));
    }

    #[test]
    fn quiet_hours_end_on_the_persons_own_clock() {
        let t = timing(true, "every: tuesday 09:00\ncatch_up: 30h", "2026-11-24T14:00");
        assert_eq!(said(t.due(Some("Europe/Berlin"))), "2026-11-24T13:00:00");
        assert_eq!(said(t.due(Some("Asia/Tokyo"))), "2026-11-24T23:00:00"); // 22:00 there: tomorrow at 8
        assert_eq!(said(t.due(Some("America/Los_Angeles"))), "2026-11-24T16:00:00"); // 05:00 there: today at 8
    }
}
