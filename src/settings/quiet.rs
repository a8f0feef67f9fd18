//! Quiet hours: when promotional mail waits.

use jiff::ToSpan as _;
use jiff::civil::Time;
use jiff::tz::TimeZone;

use crate::clock::{self, Millis};
use crate::problem::Problems;
use crate::yaml::{MapReader, Node};

/// When promotional mail waits, by the person's own clock. `from` later than `to` goes over midnight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuietHours {
    pub from: jiff::civil::Time,
    pub to: jiff::civil::Time,
}

impl QuietHours {
    /// The instant itself, or the end of the quiet hours it lies in.
    pub fn allowed_from(self, at: Millis, zone: &TimeZone) -> Millis {
        let local = clock::timestamp(at).to_zoned(zone.clone()).datetime();
        let (time, over_midnight) = (local.time(), self.from > self.to);
        let quiet =
            if over_midnight { time >= self.from || time < self.to } else { time >= self.from && time < self.to };
        if !quiet {
            return at;
        }
        let tomorrow = over_midnight && time >= self.from;
        let date = if tomorrow { local.date().saturating_add(1.day()) } else { local.date() };
        let end = date.to_datetime(self.to).to_zoned(zone.clone());
        end.map_or(at, |end| end.timestamp().as_millisecond()).max(at)
    }
}

/// Read `guards.quiet_hours`.
pub(super) fn read(node: &Node, problems: &mut Problems) -> Option<QuietHours> {
    let mut q = node.map("quiet_hours", problems)?;
    let (from, to) = (clock_time(&mut q, "from", problems), clock_time(&mut q, "to", problems));
    let place = q.place.clone();
    q.finish(problems);
    let (from, to) = (from?, to?);
    if from == to {
        problems
            .error("quiet-hours-empty", &place, "quiet hours that end when they begin are a whole day or nothing")
            .hint("quiet_hours: { from: \"21:00\", to: \"08:00\" }");
        return None;
    }
    Some(QuietHours { from, to })
}

/// A time of day; it must be there.
fn clock_time(m: &mut MapReader, key: &'static str, problems: &mut Problems) -> Option<Time> {
    let text = m.require::<String>(key, problems)?;
    let time = text.parse::<Time>().ok();
    if time.is_none() {
        let place = &m.node(key).expect("required above").place;
        problems
            .error("wrong-type", place, format!("`{key}` must be a time of day, not `{text}`"))
            .hint("with quotes and two digits each: \"08:00\"");
    }
    time
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quiet_hours_within_a_day_and_over_a_clock_change() {
        let zone = TimeZone::get("Europe/Berlin").unwrap();
        let at = |text: &str| clock::parse_instant(text, &zone).unwrap();
        let hours = |from: &str, to: &str| QuietHours { from: from.parse().unwrap(), to: to.parse().unwrap() };
        let noon = hours("12:00", "14:00");
        assert_eq!(noon.allowed_from(at("2026-11-24T12:00"), &zone), at("2026-11-24T14:00"));
        for free in ["2026-11-24T11:59", "2026-11-24T14:00"] {
            assert_eq!(noon.allowed_from(at(free), &zone), at(free));
        }
        // The night of the jump is an hour shorter, and 02:30 is 03:30.
        assert_eq!(hours("21:00", "02:30").allowed_from(at("2026-03-28T23:00"), &zone), at("2026-03-29T03:30"));
    }

    #[test]
    fn times_of_day_are_read_or_named() {
        let read = |text: &str| {
            let mut problems = Problems::new();
            let node = crate::yaml::parse("okaeri.yaml", text, &mut problems).unwrap();
            let hours = read(&node, &mut problems);
            (hours.is_some(), problems.sorted().iter().map(|p| p.code).collect::<Vec<_>>())
        };
        assert_eq!(read("{ from: \"21:00\", to: \"08:00\" }"), (true, vec![]));
        assert_eq!(read("{ from: 21:00, to: 08:00 }"), (true, vec![]));
        assert_eq!(read("{ from: \"21:00\", to: \"21:00\" }"), (false, vec!["quiet-hours-empty"]));
        assert_eq!(
            read("{ from: late, to: \"25:00\", zone: x }"),
            (false, vec!["wrong-type", "wrong-type", "unknown-key"])
        );
        assert_eq!(read("{ from: \"21:00\" }"), (false, vec!["missing-key"]));
    }
}
