//! Time: the only reader of the wall clock.
//!
//! Two clocks that must not be mixed: [`Clock::now`] is real and drives leases, pacing and Date headers;
//! [`Clock::as_of`] is the planning instant, which `--at` may move. Instants are epoch milliseconds UTC.

use std::sync::atomic::{AtomicI64, Ordering};

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

/// Milliseconds since 1970-01-01T00:00:00Z.
pub type Millis = i64;

/// Milliseconds in a second, a minute, an hour and a day of 24 hours.
pub const SECOND: Millis = 1_000;
pub const MINUTE: Millis = 60 * SECOND;
pub const HOUR: Millis = 60 * MINUTE;
pub const DAY: Millis = 24 * HOUR;

/// The clock of one invocation.
#[derive(Debug, Clone, Copy, Default)]
pub struct Clock {
    at: Option<Millis>,
}

impl Clock {
    /// The real clock.
    pub fn real() -> Clock {
        Clock { at: None }
    }

    /// A clock whose planning instant is `at`.
    pub fn planning_at(at: Millis) -> Clock {
        Clock { at: Some(at) }
    }

    /// Now, really.
    pub fn now(self) -> Millis {
        now()
    }

    /// The instant plans are made for: `--at`, or now.
    pub fn as_of(self) -> Millis {
        self.at.unwrap_or_else(now)
    }

    /// Whether `--at` moved the planning instant.
    pub fn is_moved(self) -> bool {
        self.at.is_some()
    }
}

/// Now, really; for leases, pacing and Date headers.
pub fn now() -> Millis {
    let shift = if cfg!(debug_assertions) { SHIFT.load(Ordering::Relaxed) } else { 0 };
    Timestamp::now().as_millisecond() + shift
}

/// How wrong the clock of this process is; always 0 but in tests.
static SHIFT: AtomicI64 = AtomicI64::new(0);

/// Have this process' clock be wrong by so much: for tests of clocks that are, and to pass days in moments. Without effect in release builds.
pub fn shift_by(by: Millis) {
    SHIFT.fetch_add(by, Ordering::Relaxed);
}

/// The civil date of an instant in a zone.
pub fn date_in(at: Millis, zone: &TimeZone) -> Date {
    timestamp(at).to_zoned(zone.clone()).date()
}

/// The instant a civil date begins in a zone. Where midnight is skipped by a clock change, the first instant of the day.
pub fn start_of_day(date: Date, zone: &TimeZone) -> Millis {
    date.to_zoned(zone.clone()).map_or_else(
        |_| if date < Date::constant(1970, 1, 1) { Millis::MIN / 4 } else { Millis::MAX / 4 },
        |z| z.timestamp().as_millisecond(),
    )
}

/// The instant `days` whole local days before the day of `at` began: `in_last: 30d` on any hour of a day starts at the same midnight.
pub fn days_before(at: Millis, days: i64, zone: &TimeZone) -> Millis {
    let today = date_in(at, zone);
    match today.checked_sub(SignedDuration::from_hours(24 * days.clamp(-4_000_000, 4_000_000))) {
        Ok(date) => start_of_day(date, zone),
        Err(_) => Millis::MIN / 4,
    }
}

/// Whole local days from one instant to a later one: yesterday 23:59 to today 00:01 is one day. Negative when `to` lies before.
pub fn days_between(from: Millis, to: Millis, zone: &TimeZone) -> i64 {
    let span = date_in(from, zone).duration_until(date_in(to, zone));
    span.as_hours() / 24
}

/// An instant as jiff's timestamp; instants outside its range (years -9999 to 9999) are clamped.
pub fn timestamp(at: Millis) -> Timestamp {
    Timestamp::from_millisecond(at).unwrap_or(if at < 0 { Timestamp::MIN } else { Timestamp::MAX })
}

/// An instant as RFC 3339 with the offset of a zone, to the second.
pub fn rfc3339(at: Millis, zone: &TimeZone) -> String {
    timestamp(at).to_zoned(zone.clone()).strftime("%Y-%m-%dT%H:%M:%S%:z").to_string()
}

/// An instant for people: `2026-11-24 09:00`.
pub fn readable(at: Millis, zone: &TimeZone) -> String {
    timestamp(at).to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M").to_string()
}

/// Read an instant as authors and data files write it: RFC 3339 with an offset; a civil date-time or date in `zone`
/// (`2026-11-24T09:00`, `2026-11-24 09:00:30`, `2026-11-24`); or epoch seconds (10 digits) or milliseconds (13 digits).
pub fn parse_instant(text: &str, zone: &TimeZone) -> Option<Millis> {
    let text = text.trim();
    if let Ok(t) = text.parse::<Timestamp>() {
        return Some(t.as_millisecond());
    }
    if text.bytes().all(|b| b.is_ascii_digit()) {
        return match text.len() {
            8 => Date::strptime("%Y%m%d", text).ok().map(|d| start_of_day(d, zone)),
            9 | 10 => text.parse::<i64>().ok().map(|s| s * SECOND),
            12 | 13 => text.parse().ok(),
            _ => None,
        };
    }
    if let Ok(t) = text.parse::<jiff::civil::DateTime>() {
        return t.to_zoned(zone.clone()).ok().map(|z| z.timestamp().as_millisecond());
    }
    text.parse::<Date>().ok().map(|d| start_of_day(d, zone))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zone(name: &str) -> TimeZone {
        TimeZone::get(name).unwrap()
    }

    #[test]
    fn instants_are_read_in_the_forms_people_write() {
        let berlin = zone("Europe/Berlin");
        for (text, utc) in [
            ("2026-11-24T09:00:00+01:00", "2026-11-24T08:00:00Z"),
            ("2026-11-24T08:00:00Z", "2026-11-24T08:00:00Z"),
            ("2026-11-24T09:00", "2026-11-24T08:00:00Z"),
            ("2026-11-24 09:00:30", "2026-11-24T08:00:30Z"),
            ("2026-11-24", "2026-11-23T23:00:00Z"),
            ("20261124", "2026-11-23T23:00:00Z"),
            ("1795507200", "2026-11-24T08:00:00Z"),
            ("1795507200000", "2026-11-24T08:00:00Z"),
        ] {
            assert_eq!(parse_instant(text, &berlin).map(|m| timestamp(m).to_string()).as_deref(), Some(utc), "{text}");
        }
        for text in ["", "yesterday", "2026-13-01", "24/11/2026", "1", "99999999999999999999"] {
            assert_eq!(parse_instant(text, &berlin), None, "{text}");
        }
    }

    #[test]
    fn day_windows_start_at_local_midnight_on_any_side_of_a_clock_change() {
        let berlin = zone("Europe/Berlin");
        let at = parse_instant("2026-03-30T12:00", &berlin).unwrap(); // clocks went forward on the 29th
        assert_eq!(rfc3339(days_before(at, 2, &berlin), &berlin), "2026-03-28T00:00:00+01:00");
        assert_eq!(rfc3339(days_before(at, 0, &berlin), &berlin), "2026-03-30T00:00:00+02:00");
        assert_eq!(days_between(parse_instant("2026-03-28T23:59", &berlin).unwrap(), at, &berlin), 2);
    }
}
