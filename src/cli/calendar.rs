//! `okaeri calendar`: what live campaigns will send in the days to come, and to about how many.
//!
//! The first slot of a campaign is planned as it stands; those that follow go by `once_per` ([`Forecast`]). Steps ahead of people who entered before are told by day
//! ([`OnTheWay`](crate::plan::ahead::OnTheWay)). Caps that several campaigns share, and people who come or go, are not foreseen.

use std::collections::BTreeMap;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde_json::json;

use super::loaded::Loaded;
use super::plan::few;
use super::profile;
use super::{Exit, Failure, Format, Invocation, table};
use crate::campaign::schedule::SLOTS_MAX;
use crate::campaign::{Campaign, Schedule, Slot, Status};
use crate::clock::{self, DAY, Millis};
use crate::db::Db;
use crate::money::grouped;
use crate::plan::ahead;
use crate::plan::forecast::Forecast;
use crate::queue::run;

/// Lines shown to people; the rest is counted.
const LINES_MAX: usize = 200;

#[derive(Debug, clap::Args)]
pub struct CalendarArgs {
    /// How many days to look ahead
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(i64).range(1..=366))]
    days: i64,
}

/// What is to come, in the order of time.
struct Calendar<'l> {
    from: Millis,
    days: i64,
    slots: Vec<SlotAhead<'l>>,
    steps: Vec<StepsOfDay<'l>>,
    /// Journeys, and how many enter at the next look.
    journeys: Vec<(&'l str, i64)>,
    by_hand: Vec<&'l str>,
    zone: &'l TimeZone,
}

/// One slot to come.
struct SlotAhead<'l> {
    campaign: &'l Campaign,
    schedule: &'l Schedule,
    slot: Slot,
    opens_at: Millis,
    people: i64,
    /// The first of its campaign: planned as it stands. Others are expected.
    is_first: bool,
}

/// A step that is due for some on one day.
struct StepsOfDay<'l> {
    campaign: &'l str,
    step: String,
    day: Date,
    /// Of the first of them.
    at: Millis,
    people: i64,
}

pub async fn run(inv: &Invocation, args: CalendarArgs) -> Result<Exit, Failure> {
    let loaded = Loaded::load(inv)?;
    let now = inv.clock(&loaded.project.settings.time_zone)?.as_of();
    let db = inv.open_db(&loaded.project).await?;
    profile::tell_stale(inv, &db).await?;
    let calendar = Calendar::of(&db, &loaded, now, args.days).await?;
    let count: fn(i64) -> String = if inv.format == Format::Markdown { few } else { grouped };
    inv.print(|| calendar.json(), || calendar.text(count));
    Ok(Exit::Done)
}

impl<'l> Calendar<'l> {
    async fn of(db: &Db, loaded: &'l Loaded, from: Millis, days: i64) -> Result<Calendar<'l>, Failure> {
        let (settings, library) = (&loaded.project.settings, &loaded.segments);
        let zone = &settings.time_zone;
        let to = from + days * DAY;
        let (mut slots, mut steps, mut journeys, mut by_hand) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for campaign in loaded.campaigns.iter().filter(|c| c.status == Status::Live) {
            steps.extend(steps_of(db, loaded, campaign, (from, to)).await?);
            let name = campaign.name.as_str();
            match &campaign.schedule {
                Some(_) => {
                    let mut ahead = slots_of(campaign, from, to, zone);
                    if let Some(first) = ahead.first() {
                        let first = (Some(first.slot), first.opens_at.max(from));
                        // A plan that is kept for it has its messages already.
                        let kept = run::find(db, &campaign.key, &ahead[0].slot.to_string()).await?;
                        let kept = kept.map(|run| run.run_id).unwrap_or_default();
                        let forecast = Forecast::of(db, settings, library, campaign, first, &kept).await?;
                        let opening: Vec<Millis> = ahead.iter().map(|s| s.opens_at).collect();
                        for (slot, people) in ahead.iter_mut().zip(forecast.of_slots(&opening)) {
                            slot.people = people;
                        }
                    }
                    slots.extend(ahead);
                }
                None if campaign.journey.is_some() => {
                    let forecast = Forecast::of(db, settings, library, campaign, (None, from), "").await?;
                    let enter = if campaign.is_open_at(from) { forecast.of_slots(&[from])[0] } else { 0 };
                    journeys.push((name, enter));
                }
                None => by_hand.push(name),
            }
        }
        slots.sort_by_key(|s| (s.opens_at, s.campaign.priority, &s.campaign.name));
        steps.sort_by(|a, b| (a.at, a.campaign).cmp(&(b.at, b.campaign)));
        Ok(Calendar { from, days, slots, steps, journeys, by_hand, zone })
    }

    fn json(&self) -> serde_json::Value {
        let slot = |s: &SlotAhead| {
            json!({
                "campaign": s.campaign.name,
                "slot": s.slot.to_string(),
                "opens_at": s.opens_at,
                "last_at": s.schedule.last_at(s.slot, self.zone),
                "time_zone": s.schedule.zone.name(self.zone),
                "people": s.people,
                "people_known_by": if s.is_first { "plan" } else { "forecast" },
            })
        };
        let step = |s: &StepsOfDay| json!({ "campaign": s.campaign, "step": s.step, "day": s.day.to_string(), "first_at": s.at, "people": s.people });
        json!({
            "from": self.from,
            "days": self.days,
            "slots": self.slots.iter().map(slot).collect::<Vec<_>>(),
            "steps": self.steps.iter().map(step).collect::<Vec<_>>(),
            "journeys": self.journeys.iter().map(|(name, enter)| json!({ "campaign": name, "entering": enter })).collect::<Vec<_>>(),
            "by_hand": self.by_hand,
        })
    }

    fn text(&self, count: fn(i64) -> String) -> String {
        let mut out = String::new();
        let slots = self.slots.iter().map(|s| {
            let when = s.slot.time().strftime("%a %Y-%m-%d %H:%M").to_string();
            let how = if s.is_first { "as planned now" } else { "expected" };
            (
                s.opens_at,
                [when, s.campaign.name.clone(), s.schedule.zone.name(self.zone), count(s.people), how.to_owned()],
            )
        });
        let steps = self.steps.iter().map(|s| {
            let when = s.day.strftime("%a %Y-%m-%d").to_string();
            (
                s.at,
                [
                    when,
                    s.campaign.to_owned(),
                    "since they entered".to_owned(),
                    count(s.people),
                    format!("step {}", s.step),
                ],
            )
        });
        let mut lines: Vec<(Millis, [String; 5])> = slots.chain(steps).collect();
        lines.sort_by_key(|(at, _)| *at);
        if lines.is_empty() {
            out.push_str(&format!("nothing is scheduled in the next {} days\n", self.days));
        } else {
            let mut t = table(["when", "campaign", "whose clock", "about", ""]);
            for (_, line) in lines.iter().take(LINES_MAX) {
                t.add_row(line);
            }
            if let Some(column) = t.column_mut(3) {
                column.set_cell_alignment(comfy_table::CellAlignment::Right);
            }
            out.push_str(&format!("{}\n", t.trim_fmt()));
        }
        if lines.len() > LINES_MAX {
            let all = if self.slots.len() >= SLOTS_MAX { "and many more" } else { "and more" };
            out.push_str(&format!("  {all}; --format json has them\n"));
        }
        if !self.journeys.is_empty() {
            let told: Vec<String> = self
                .journeys
                .iter()
                .map(|(name, enter)| format!("{name} ({} at the next look)", count(*enter)))
                .collect();
            out.push_str(&format!("  entered whenever somebody matches: {}\n", told.join(", ")));
        }
        if !self.by_hand.is_empty() {
            out.push_str(&format!("  sent by hand, without a schedule: {}\n", self.by_hand.join(", ")));
        }
        out
    }
}

fn slots_of<'l>(campaign: &'l Campaign, from: Millis, to: Millis, zone: &TimeZone) -> Vec<SlotAhead<'l>> {
    let Some(schedule) = &campaign.schedule else { return Vec::new() };
    let slots = schedule.slots(from, to, zone).into_iter().map(|slot| (slot, schedule.opens_at(slot, zone)));
    let open = slots.filter(|(_, opens_at)| campaign.is_open_at(*opens_at));
    let ahead = open.enumerate().map(|(n, (slot, opens_at))| SlotAhead {
        campaign,
        schedule,
        slot,
        opens_at,
        people: 0,
        is_first: n == 0,
    });
    ahead.collect()
}

/// The steps of people who entered before, by day; what is due already comes with the next look, today.
async fn steps_of<'l>(
    db: &Db,
    loaded: &'l Loaded,
    campaign: &'l Campaign,
    (from, to): (Millis, Millis),
) -> Result<Vec<StepsOfDay<'l>>, Failure> {
    let settings = &loaded.project.settings;
    let way = ahead::on_the_way(db, settings, campaign, from).await?;
    let mut of_days = Vec::new();
    for step in &way.steps {
        let mut by_day: BTreeMap<Date, (Millis, i64)> = BTreeMap::new();
        for (moment, people) in step.moments.range(..=to) {
            let at = (*moment).max(from);
            by_day.entry(clock::date_in(at, &settings.time_zone)).or_insert((at, 0)).1 += people;
        }
        let told = |(day, (at, people))| StepsOfDay {
            campaign: &campaign.name,
            step: step.name().to_owned(),
            day,
            at,
            people,
        };
        of_days.extend(by_day.into_iter().map(told));
    }
    Ok(of_days)
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
