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

/// The instant a day began.
pub fn start_of(day: i64, zone: &TimeZone) -> Millis {
    let date = clock::date_in(day * DAY, &TimeZone::UTC);
    clock::start_of_day(date, zone)
}

/// SQL: the day number of the instant `column`, as BIGINT; equal to [`day_number`] until [`YEARS_AHEAD`] years after `now`.
pub(super) fn day_sql(column: &str, zone: &TimeZone, now: Millis) -> String {
    let start = clock::timestamp(0);
    let end = now + YEARS_AHEAD * 366 * DAY;
    let mut pieces = vec![(0, offset_at(0, zone))];
    for change in zone.following(start) {
        let at = change.timestamp().as_millisecond();
        if at > end {
            break;
        }
        let offset = i64::from(change.offset().seconds()) * SECOND;
        if pieces.last().is_some_and(|(_, last)| *last != offset) {
            pieces.push((at, offset));
        }
    }
    format!("(({column} + {}) / {DAY} - {DAYS_AHEAD})", tree(column, &pieces))
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
    async fn sql_and_rust_agree_on_every_local_day() {
        let dir = tempfile::tempdir().unwrap();
        let db = Db::open(&format!("sqlite:{}", dir.path().join("a.db").display())).await.unwrap();
        let now = clock::parse_instant("2026-11-24", &TimeZone::UTC).unwrap();
        for name in ["UTC", "Asia/Tokyo", "Europe/Berlin", "America/Sao_Paulo", "Australia/Lord_Howe", "Asia/Kathmandu"]
        {
            let zone = TimeZone::get(name).unwrap();
            let sql = format!("SELECT {}", day_sql("CAST($1 AS BIGINT)", &zone, now));
            // An odd stride visits every hour of the day and both sides of clock changes.
            for i in 0..2_000 {
                let at = -DAY * 400 + i * (DAY * 10 + 3_599_000);
                let (day,): (i64,) = db.fetch_one(&sql, args![at]).await.unwrap();
                assert_eq!(day, day_number(at, &zone), "{name} {at}");
                if at >= 0 {
                    let date = clock::date_in(at, &zone);
                    assert_eq!(clock::date_in(day * DAY, &TimeZone::UTC), date, "{name} {at}");
                    assert_eq!(start_of(day, &zone), clock::start_of_day(date, &zone));
                }
            }
        }
    }
}
