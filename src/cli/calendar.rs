//! `okaeri calendar`: what live campaigns will send in the days to come, and to about how many.
//!
//! The number is what the last run of the campaign came to; before there was one, how many are in its audience now.

use std::collections::BTreeMap;

use jiff::tz::TimeZone;
use serde_json::json;

use super::loaded::Loaded;
use super::segment;
use super::{Exit, Failure, Invocation, table};
use crate::campaign::schedule::SLOTS_MAX;
use crate::campaign::{Audience, Campaign, Schedule, Slot, Status};
use crate::clock::{DAY, Millis};
use crate::db::Db;
use crate::money::grouped;
use crate::queue::status;

/// Lines shown to people; the rest is counted.
const LINES_MAX: usize = 200;

#[derive(Debug, clap::Args)]
pub struct CalendarArgs {
    /// How many days to look ahead
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(i64).range(1..=366))]
    days: i64,
}

/// One slot to come.
struct Day<'l> {
    campaign: &'l Campaign,
    schedule: &'l Schedule,
    slot: Slot,
    opens_at: Millis,
}

/// About how many it will be, and how that is known.
#[derive(Debug, Clone, Copy)]
enum About {
    LastRun(i64),
    Audience(i64),
}

pub async fn run(inv: &Invocation, args: CalendarArgs) -> Result<Exit, Failure> {
    let loaded = Loaded::load(inv)?;
    let zone = &loaded.project.settings.time_zone;
    let now = inv.clock(zone)?.as_of();
    let live: Vec<&Campaign> = loaded.campaigns.iter().filter(|c| c.status == Status::Live).collect();
    let mut days: Vec<Day> = live.iter().flat_map(|c| days_of(c, now, now + args.days * DAY, zone)).collect();
    days.sort_by_key(|d| (d.opens_at, d.campaign.priority, &d.campaign.name));
    let db = inv.open_db(&loaded.project).await?;
    let mut about = BTreeMap::new();
    for campaign in live.iter().filter(|c| days.iter().any(|d| d.campaign.name == c.name)) {
        about.insert(campaign.name.as_str(), about_of(&db, &loaded, campaign, now).await?);
    }
    let about = |campaign: &Campaign| about[campaign.name.as_str()];
    let journeys: Vec<&str> = live.iter().filter(|c| c.journey.is_some()).map(|c| c.name.as_str()).collect();
    let by_hand = |c: &&&Campaign| c.schedule.is_none() && c.journey.is_none();
    let others: Vec<&str> = live.iter().filter(by_hand).map(|c| c.name.as_str()).collect();
    inv.print(
        || json!({ "from": now, "days": args.days, "slots": days.iter().map(|d| as_json(d, about(d.campaign), zone)).collect::<Vec<_>>(), "journeys": journeys, "by_hand": others }),
        || as_text(&days, about, (&journeys, &others), args.days, zone),
    );
    Ok(Exit::Done)
}

fn days_of<'l>(campaign: &'l Campaign, from: Millis, to: Millis, zone: &TimeZone) -> Vec<Day<'l>> {
    let Some(schedule) = &campaign.schedule else { return Vec::new() };
    let slots = schedule.slots(from, to, zone);
    let days = slots.into_iter().map(|slot| Day { campaign, schedule, slot, opens_at: schedule.opens_at(slot, zone) });
    days.filter(|d| campaign.is_open_at(d.opens_at)).collect()
}

async fn about_of(db: &Db, loaded: &Loaded, campaign: &Campaign, now: Millis) -> Result<About, Failure> {
    if let Some(sent) = status::last_sent(db, &campaign.key).await? {
        return Ok(About::LastRun(sent));
    }
    Ok(match &campaign.audience {
        Audience::Everyone => {
            let (people,): (i64,) = db.fetch_one("SELECT COUNT(*) FROM customer", vec![]).await?;
            About::Audience(people)
        }
        Audience::InSegment(segment) => {
            let names = [segment.as_str()];
            let decided = segment::prepare(db, &loaded.project.settings, &loaded.segments, &names, now).await?;
            About::Audience(decided.sizes(db).await?[0].people)
        }
    })
}

fn as_json(day: &Day, about: About, zone: &TimeZone) -> serde_json::Value {
    let (people, known_by) = match about {
        About::LastRun(n) => (n, "last_run"),
        About::Audience(n) => (n, "audience"),
    };
    json!({
        "campaign": day.campaign.name,
        "slot": day.slot.to_string(),
        "opens_at": day.opens_at,
        "last_at": day.schedule.last_at(day.slot, zone),
        "time_zone": day.schedule.zone.name(zone),
        "people": people,
        "people_known_by": known_by,
    })
}

fn as_text(
    days: &[Day],
    about: impl Fn(&Campaign) -> About,
    (journeys, others): (&[&str], &[&str]),
    ahead: i64,
    zone: &TimeZone,
) -> String {
    let mut out = String::new();
    if days.is_empty() {
        out.push_str(&format!("nothing is scheduled in the next {ahead} days\n"));
    } else {
        let mut t = table(["when", "campaign", "whose clock", "about", ""]);
        for day in days.iter().take(LINES_MAX) {
            let (people, how) = match about(day.campaign) {
                About::LastRun(n) => (grouped(n), "as the last time"),
                About::Audience(n) => (grouped(n), "in its audience now"),
            };
            let when = day.slot.time().strftime("%a %Y-%m-%d %H:%M").to_string();
            t.add_row([when, day.campaign.name.clone(), day.schedule.zone.name(zone), people, how.to_owned()]);
        }
        if let Some(column) = t.column_mut(3) {
            column.set_cell_alignment(comfy_table::CellAlignment::Right);
        }
        out.push_str(&format!("{}\n", t.trim_fmt()));
    }
    if days.len() > LINES_MAX {
        let all = if days.len() >= SLOTS_MAX { "and many more" } else { "and more" };
        out.push_str(&format!("  {all}; --format json has them\n"));
    }
    if !journeys.is_empty() {
        out.push_str(&format!("  whenever somebody matches: {}\n", journeys.join(", ")));
    }
    if !others.is_empty() {
        out.push_str(&format!("  sent by hand, without a schedule: {}\n", others.join(", ")));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    #[test]
    fn slots_are_told_in_the_wall_clock_they_are_named_by() {
        let schedule = Schedule::of_text("every: tuesday 09:00\ntime_zone: customer");
        let zone = TimeZone::get("Asia/Tokyo").unwrap();
        let from = clock::parse_instant("2026-11-23T00:00", &zone).unwrap();
        let slots = schedule.slots(from, from + 14 * DAY, &zone);
        let told: Vec<String> = slots.iter().map(|s| s.time().strftime("%a %Y-%m-%d %H:%M").to_string()).collect();
        assert_eq!(told, ["Tue 2026-11-24 09:00", "Tue 2026-12-01 09:00"]);
    }
}
