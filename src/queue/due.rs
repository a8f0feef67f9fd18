//! What the schedules of live campaigns ask for: which slots are due now, and which were missed.
//!
//! A campaign is looked at up to an instant, the *mark*; the next look begins there. So it does not matter whether the scheduler is late, comes
//! twice or died: a slot is found by the first look after it opened, and its run is keyed. A campaign seen for the first time begins with what
//! could still be caught up. Marks of campaigns that are not live are dropped: what passes while one is paused is not missed.

use std::collections::BTreeMap;

use crate::args;
use crate::campaign::{Campaign, Definition, Schedule, Slot};
use crate::clock::{self, Millis};
use crate::db::{Db, DbResult};
use crate::settings::Settings;

use super::run::{self, NewRun};

use jiff::tz::TimeZone;

/// What became of a slot that opened since the last look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Opened {
    Due(Slot),
    /// Never to be sent, and why.
    Missed(Slot, String),
}

/// The slots of a campaign that opened since the last look, oldest first; none without a schedule.
pub async fn look(db: &Db, campaign: &Campaign, zone: &TimeZone, now: Millis) -> DbResult<Vec<Opened>> {
    if campaign.schedule.is_none() {
        return Ok(Vec::new());
    }
    Ok(opened(campaign, looked_until(db, &campaign.key).await?, zone, now))
}

/// The same since a mark that is at hand.
pub fn opened(campaign: &Campaign, since: Option<Millis>, zone: &TimeZone, now: Millis) -> Vec<Opened> {
    let Some(schedule) = &campaign.schedule else { return Vec::new() };
    let mut opened = sorted(schedule, since, zone, now);
    opened.retain(|o| {
        let (Opened::Due(slot) | Opened::Missed(slot, _)) = o;
        campaign.is_open_at(schedule.opens_at(*slot, zone))
    });
    opened
}

/// Whether a run that was begun for a slot, and is not all written, comes too late to be sent.
pub fn is_late(schedule: &Schedule, slot: Slot, zone: &TimeZone, now: Millis) -> bool {
    schedule.last_at(slot, zone).saturating_add(schedule.catch_up) < now
}

/// Up to when the campaign was looked at; `None` when never.
async fn looked_until(db: &Db, campaign: &str) -> DbResult<Option<Millis>> {
    let sql = "SELECT looked_until_at FROM schedule_mark WHERE campaign = $1";
    Ok(db.fetch_optional::<(i64,)>(sql, args![campaign]).await?.map(|(at,)| at))
}

/// Note that everything of these campaigns up to `now` was seen to.
pub async fn mark(db: &Db, campaigns: &[&str], now: Millis) -> DbResult<()> {
    let mut tx = db.begin().await?;
    for campaign in campaigns {
        tx.execute(
            "INSERT INTO schedule_mark (campaign, looked_until_at) VALUES ($1, $2) \
             ON CONFLICT (campaign) DO UPDATE SET looked_until_at = excluded.looked_until_at \
             WHERE schedule_mark.looked_until_at < excluded.looked_until_at",
            args![*campaign, now],
        )
        .await?;
    }
    tx.commit().await
}

/// Up to when each of these campaigns was looked at. The marks of all others are dropped.
pub async fn marks(db: &Db, live: &[&str]) -> DbResult<BTreeMap<String, Millis>> {
    let sql = "SELECT campaign, looked_until_at FROM schedule_mark ORDER BY campaign";
    let marked: Vec<(String, i64)> = db.fetch_all(sql, vec![]).await?;
    let (marks, others): (BTreeMap<_, _>, BTreeMap<_, _>) =
        marked.into_iter().partition(|(c, _)| live.contains(&c.as_str()));
    for campaign in others.keys() {
        db.execute("DELETE FROM schedule_mark WHERE campaign = $1", args![campaign]).await?;
    }
    Ok(marks)
}

/// Keep a missed slot as a run that never was; nothing when the slot has a run already.
pub async fn miss(db: &Db, campaign: &Campaign, settings: &Settings, slot: Slot, why: &str) -> DbResult<()> {
    let now = clock::now();
    let opened = campaign.schedule.as_ref().map_or(now, |s| s.opens_at(slot, &settings.time_zone));
    let definition = serde_json::to_string(&Definition::of(campaign, settings)).expect("a definition serialises");
    let new = NewRun {
        campaign: &campaign.key,
        slot: &slot.to_string(),
        as_of: opened,
        due_at: opened,
        expires_at: opened,
        snapshot_id: "",
        definition: &definition,
    };
    run::miss(db, &new, why, now).await
}

/// Decide about the slots that opened after `since`, or after what could be caught up when nobody looked before.
fn sorted(schedule: &Schedule, since: Option<Millis>, zone: &TimeZone, now: Millis) -> Vec<Opened> {
    // A single date is told even when it lies far back: it never comes again.
    let first_look = if schedule.is_single() { Millis::MIN / 4 } else { now - schedule.catch_up - 2 * clock::DAY };
    let slots = schedule.slots(since.unwrap_or(first_look), now, zone);
    let in_time = |slot: &Slot| !is_late(schedule, *slot, zone, now);
    // Where everybody has the same moment, what is due now is due once: a digest of eight o'clock says nothing beside that of nine.
    let newest = slots.iter().rev().copied().find(in_time);
    let same_moment = |slot: &Slot| schedule.opens_at(*slot, zone) == schedule.last_at(*slot, zone);
    slots
        .into_iter()
        .filter_map(|slot| match newest {
            Some(newest) if in_time(&slot) && (slot == newest || !same_moment(&slot)) => Some(Opened::Due(slot)),
            _ if since.is_none() && !schedule.is_single() => None,
            Some(newest) if in_time(&slot) => Some(Opened::Missed(slot, format!("overtaken by {newest}"))),
            _ => {
                let late = now - schedule.last_at(slot, zone);
                Some(Opened::Missed(slot, format!("found {} late", span(late))))
            }
        })
        .collect()
}

/// A length of time for people: minutes, hours or days.
fn span(ms: Millis) -> String {
    match ms {
        ms if ms < 2 * clock::HOUR => crate::problem::counted((ms / clock::MINUTE).unsigned_abs() as usize, "minute"),
        ms if ms < 2 * clock::DAY => crate::problem::counted((ms / clock::HOUR).unsigned_abs() as usize, "hour"),
        ms => crate::problem::counted((ms / clock::DAY).unsigned_abs() as usize, "day"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(schedule: &str, since: Option<&str>, now: &str) -> Vec<String> {
        let zone = TimeZone::get("Europe/Berlin").unwrap();
        let at = |text: &str| clock::parse_instant(text, &zone).unwrap();
        let schedule = Schedule::of_text(schedule);
        let told = |opened| match opened {
            Opened::Due(slot) => format!("{slot}"),
            Opened::Missed(slot, why) => format!("{slot} {why}"),
        };
        sorted(&schedule, since.map(at), &zone, at(now)).into_iter().map(told).collect()
    }

    #[test]
    fn a_slot_is_found_by_the_first_look_after_it_opened() {
        let tuesday = "every: tuesday 09:00";
        let of = |since, now| found(tuesday, Some(since), now);
        assert_eq!(of("2026-11-24T08:00", "2026-11-24T08:59:59"), [""; 0]);
        assert_eq!(of("2026-11-24T08:59:59", "2026-11-24T09:00"), ["2026-11-24T09:00"]);
        assert_eq!(of("2026-11-24T09:00", "2026-11-24T09:01"), [""; 0]);
        assert_eq!(of("2026-11-24T08:00", "2026-11-24T15:00"), ["2026-11-24T09:00"]);
        assert_eq!(of("2026-11-24T08:00", "2026-11-24T15:00:01"), ["2026-11-24T09:00 found 6 hours late"]);
        assert_eq!(of("2026-11-09T08:00", "2026-11-24T10:00").len(), 3);
    }

    #[test]
    fn of_several_moments_that_are_over_the_last_is_sent() {
        let hourly = "cron: \"0 * * * *\"\ncatch_up: 2h";
        assert_eq!(
            found(hourly, Some("2026-11-24T08:30"), "2026-11-24T12:10"),
            [
                "2026-11-24T09:00 found 3 hours late",
                "2026-11-24T10:00 found 2 hours late",
                "2026-11-24T11:00 overtaken by 2026-11-24T12:00",
                "2026-11-24T12:00"
            ]
        );
    }

    #[test]
    fn moments_of_their_own_are_over_when_the_last_person_had_it() {
        let own = "every: day 09:00\ntime_zone: customer\ncatch_up: 1h";
        // 09:00 of the 23rd is over in UTC-12 at 22:00 in Berlin; with an hour to catch up at 23:00. That of the 24th opens at 20:00.
        assert_eq!(found(own, Some("2026-11-22T12:00"), "2026-11-23T22:30"), ["2026-11-23T09:00", "2026-11-24T09:00"]);
        assert_eq!(
            found(own, Some("2026-11-22T12:00"), "2026-11-23T23:30"),
            ["2026-11-23T09:00 found 90 minutes late", "2026-11-24T09:00"]
        );
    }

    #[test]
    fn a_new_campaign_begins_with_what_can_be_caught_up_and_a_date_is_never_lost() {
        assert_eq!(found("every: tuesday 09:00", None, "2026-11-24T10:00"), ["2026-11-24T09:00"]);
        assert_eq!(found("every: tuesday 09:00", None, "2026-11-24T20:00"), [""; 0]);
        assert_eq!(found("at: 2026-11-01 09:00", None, "2026-11-24T20:00"), ["2026-11-01T09:00 found 23 days late"]);
        assert_eq!(found("at: 2026-12-01 09:00", None, "2026-11-24T20:00"), [""; 0]);
    }
}
