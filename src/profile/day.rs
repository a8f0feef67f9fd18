//! Local days as numbers: days since 1970-01-01 in the project's time zone, in Rust and as an SQL expression that both engines compute alike.
//!
//! Neither engine knows our time zones, so the zone's clock changes become a balanced tree of CASE: seven comparisons per row for a zone that
//! changed its clocks a hundred times, none for one that never did.

use jiff::tz::TimeZone;

use crate::clock::{self, DAY, Millis, SECOND};

/// Instants further than this beyond the planning instant use the offset of this instant.
const YEARS_AHEAD: i64 = 5;
/// Added before the division and taken off after it, so that instants before 1970 divide downwards too.
const DAYS_AHEAD: i64 = 36_500_000;

/// The day number of an instant.
pub fn day_number(at: Millis, zone: &TimeZone) -> i64 {
    (at + offset_at(at.max(0), zone)).div_euclid(DAY)
}

/// Day numbers of many instants: what the zone's clocks show is looked up once, and not for every one of them.
#[derive(Debug, Clone)]
pub struct LocalDays {
    zone: TimeZone,
    /// From when on clocks are how far ahead of UTC.
    pieces: Vec<(Millis, Millis)>,
}

/// Instants from here on (2100) are looked up one by one.
const LOOKED_UP_UNTIL: Millis = 47_482 * DAY;

impl LocalDays {
    pub fn new(zone: &TimeZone) -> LocalDays {
        LocalDays { zone: zone.clone(), pieces: pieces(zone, LOOKED_UP_UNTIL) }
    }

    /// Equal to [`day_number`].
    pub fn number(&self, at: Millis) -> i64 {
        if at >= LOOKED_UP_UNTIL {
            return day_number(at, &self.zone);
        }
        let later = self.pieces.partition_point(|(from, _)| *from <= at);
        (at + self.pieces[later.saturating_sub(1)].1).div_euclid(DAY)
    }
}

/// The instant a day began.
pub fn start_of(day: i64, zone: &TimeZone) -> Millis {
    let date = clock::date_in(day * DAY, &TimeZone::UTC);
    clock::start_of_day(date, zone)
}

/// SQL: the day number of the instant `column`, as BIGINT; equal to [`day_number`] until [`YEARS_AHEAD`] years after `now`.
pub fn day_sql(column: &str, zone: &TimeZone, now: Millis) -> String {
    let pieces = pieces(zone, now + YEARS_AHEAD * 366 * DAY);
    format!("(({column} + {}) / {DAY} - {DAYS_AHEAD})", tree(column, &pieces))
}

/// SQL: the date of a day number as one number, `yyyymmdd`; null of null. The days of the Gregorian calendar from year 0 on.
pub fn civil_sql(day: &str) -> String {
    // After Hinnant, "chrono-Compatible Low-Level Date Algorithms", civil_from_days: years begin in March, so that the leap day ends them.
    format!(
        "(SELECT (CASE WHEN mp_ < 10 THEN y_ ELSE y_ + 1 END) * 10000 + (CASE WHEN mp_ < 10 THEN mp_ + 3 ELSE mp_ - 9 END) * 100 \
         + doy_ - (153 * mp_ + 2) / 5 + 1 \
         FROM (SELECT y_, doy_, (5 * doy_ + 2) / 153 AS mp_ \
         FROM (SELECT yoe_ + era_ * 400 AS y_, doe_ - (365 * yoe_ + yoe_ / 4 - yoe_ / 100) AS doy_ \
         FROM (SELECT doe_, era_, (doe_ - doe_ / 1460 + doe_ / 36524 - doe_ / 146096) / 365 AS yoe_ \
         FROM (SELECT z_ % 146097 AS doe_, z_ / 146097 AS era_ FROM (SELECT {day} + 719468 AS z_) d1_) d2_) d3_) d4_) d5_)"
    )
}

/// The date of a day number.
pub fn date(day: i64) -> jiff::civil::Date {
    clock::date_in(day * DAY, &TimeZone::UTC)
}

/// The date of a day number, as [`civil_sql`] writes it.
pub fn civil_number(day: i64) -> i64 {
    let date = date(day);
    i64::from(date.year()) * 10_000 + i64::from(date.month()) * 100 + i64::from(date.day())
}

/// Which dates have their anniversary between so many days before a day and so many after: for each year in that time, the days as `mmdd`. The
/// 29th of February has it on the 28th in common years.
pub fn anniversaries(today: i64, before: i64, after: i64) -> Vec<(i64, Vec<i64>)> {
    let mut out: Vec<(i64, Vec<i64>)> = Vec::new();
    for day in today - before..=today + after {
        let number = civil_number(day);
        let (year, month_day) = (number / 10_000, number % 10_000);
        if out.last().is_none_or(|(y, _)| *y != year) {
            out.push((year, Vec::new()));
        }
        let days = &mut out.last_mut().expect("pushed above").1;
        days.push(month_day);
        let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        if month_day == 228 && !leap {
            days.push(229);
        }
    }
    out
}

/// From when on the clocks of a zone are how far ahead of UTC; from 1970 to `end`, and the first of it before that too.
fn pieces(zone: &TimeZone, end: Millis) -> Vec<(Millis, Millis)> {
    let mut pieces = vec![(0, offset_at(0, zone))];
    for change in zone.following(clock::timestamp(0)) {
        let at = change.timestamp().as_millisecond();
        if at > end {
            break;
        }
        let offset = i64::from(change.offset().seconds()) * SECOND;
        if pieces.last().is_some_and(|(_, last)| *last != offset) {
            pieces.push((at, offset));
        }
    }
    pieces
}

fn offset_at(at: Millis, zone: &TimeZone) -> Millis {
    i64::from(zone.to_offset(clock::timestamp(at)).seconds()) * SECOND
}

fn tree(column: &str, pieces: &[(Millis, Millis)]) -> String {
    match pieces {
        [(_, offset)] => format!("{}", offset + DAYS_AHEAD * DAY),
        _ => {
            let (before, after) = pieces.split_at(pieces.len() / 2);
            format!(
                "CASE WHEN {column} < {} THEN {} ELSE {} END",
                after[0].0,
                tree(column, before),
                tree(column, after)
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args;
    use crate::db::Db;

    #[tokio::test]
    async fn sql_and_rust_agree_on_every_date() {
        let dir = tempfile::tempdir().unwrap();
        let db = Db::open(&format!("sqlite:{}", dir.path().join("a.db").display())).await.unwrap();
        let sql = format!("SELECT {}", civil_sql("CAST($1 AS BIGINT)"));
        for day in (-140_000..140_000).step_by(97).chain(11_000..11_800) {
            let (number,): (i64,) = db.fetch_one(&sql, args![day]).await.unwrap();
            assert_eq!(number, civil_number(day), "{day}");
        }
        let (none,): (Option<i64>,) = db.fetch_one(&sql, vec![crate::db::Value::Int(None)]).await.unwrap();
        assert_eq!(none, None);
    }

    #[test]
    fn the_leap_day_returns_on_the_28th_in_common_years() {
        let day = |text| day_number(clock::parse_instant(text, &TimeZone::UTC).unwrap(), &TimeZone::UTC);
        assert_eq!(anniversaries(day("2026-02-28"), 0, 1), [(2026, vec![228, 229, 301])]);
        assert_eq!(anniversaries(day("2028-02-28"), 0, 1), [(2028, vec![228, 229])]);
        assert_eq!(anniversaries(day("2026-12-31"), 1, 1), [(2026, vec![1230, 1231]), (2027, vec![101])]);
    }

    #[tokio::test]
    async fn sql_and_rust_agree_on_every_local_day() {
        let dir = tempfile::tempdir().unwrap();
        let db = Db::open(&format!("sqlite:{}", dir.path().join("a.db").display())).await.unwrap();
        let now = clock::parse_instant("2026-11-24", &TimeZone::UTC).unwrap();
        for name in ["UTC", "Asia/Tokyo", "Europe/Berlin", "America/Sao_Paulo", "Australia/Lord_Howe", "Asia/Kathmandu"]
        {
            let zone = TimeZone::get(name).unwrap();
            let sql = format!("SELECT {}", day_sql("CAST($1 AS BIGINT)", &zone, now));
            let days = LocalDays::new(&zone);
            // An odd stride visits every hour of the day and both sides of clock changes.
            for i in 0..2_000 {
                let at = -DAY * 400 + i * (DAY * 10 + 3_599_000);
                let (day,): (i64,) = db.fetch_one(&sql, args![at]).await.unwrap();
                assert_eq!(day, day_number(at, &zone), "{name} {at}");
                let far = at + 80 * 366 * DAY;
                assert_eq!([at, far].map(|at| days.number(at)), [day, day_number(far, &zone)], "{name} {at}");
                if at >= 0 {
                    let date = clock::date_in(at, &zone);
                    assert_eq!(clock::date_in(day * DAY, &TimeZone::UTC), date, "{name} {at}");
                    assert_eq!(start_of(day, &zone), clock::start_of_day(date, &zone));
                }
            }
        }
    }
}
