//! What is right as YAML and will never come to anything: schedules without a time to come, campaigns that are over.

use jiff::tz::TimeZone;

use super::{Campaign, Status};
use crate::clock::{self, DAY, Millis};
use crate::problem::Problems;

/// A schedule is expected to come within this.
const AHEAD: Millis = 366 * DAY;

impl Campaign {
    /// Warn of a schedule that does not come within a year, and of a live campaign that is over.
    pub fn lint(&self, zone: &TimeZone, now: Millis, problems: &mut Problems) {
        let is_over = !self.is_open_at(now);
        if is_over && self.status == Status::Live {
            let ended = clock::readable(self.ends_at.unwrap_or(now), zone);
            problems
                .warning(
                    "campaign-over",
                    &self.place,
                    format!("`{}` ended {ended}: nobody gets anything new of it", self.name),
                )
                .hint("give `ends` a day to come, or set `status: paused`");
        }
        let Some(schedule) = self.schedule.as_ref().filter(|_| !is_over) else { return };
        let next = schedule.next_opening(now, zone);
        if next.is_some_and(|next| next <= now + AHEAD) {
            return;
        }
        let (code, told, hint) = match next {
            // A date that was is kept in the file of what was sent.
            None if schedule.is_single() && self.status != Status::Live => return,
            None if schedule.is_single() => (
                "schedule-over",
                format!("`{}` is over: it comes only once", schedule.written),
                "if it was sent, set `status: paused`; if not, write a day to come",
            ),
            None => (
                "schedule-never",
                format!("`{}` never comes", schedule.written),
                "no year has such a day; minute hour day month weekday, such as \"0 9 * * TUE\"",
            ),
            Some(next) => (
                "schedule-far",
                format!("`{}` comes in more than a year, {}", schedule.written, clock::readable(next, zone)),
                "write a schedule that comes more often, or leave it as it is if that is meant",
            ),
        };
        problems.warning(code, &schedule.place, told).hint(hint);
    }
}
