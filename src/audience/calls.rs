//! The call list: whom to call first and what to talk about. Pure.
//!
//! The points are made from the profile. Whoever waits for an answer or was disappointed hears about that first, and nothing is sold before
//! it is settled.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::people::Person;
use super::sheet::cell;
use crate::clock::{self, DAY, Millis};
use crate::money::{plain, readable};
use crate::problem::counted;
use crate::profile::{Facts, Moment};
use crate::settings::Settings;

/// The longest call list, in people; those of the lowest revenue beyond it are left away, and counted.
pub const CALLS_MAX: usize = 10_000;
/// A rating at or below this is bad when the project does not say (`service_freeze: { rating_at_most: … }`).
const BAD_RATING: f64 = 2.0;
/// An order is late when it is so many usual gaps away.
const LATE_FROM_GAPS: f64 = 1.0;
/// From how many purchase days on a rhythm is the person's own: two gaps.
const RHYTHM_FROM_PURCHASE_DAYS: i64 = 3;

/// The columns.
pub const COLUMNS: [&str; 12] = [
    "customer_id",
    "name",
    "phone",
    "email",
    "locale",
    "country",
    "lifecycle",
    "orders",
    "revenue",
    "currency",
    "last_order",
    "talking_points",
];

/// People by revenue, the highest first, then by id; at most [`CALLS_MAX`] are kept.
#[derive(Debug, Default)]
pub(super) struct CallList {
    people: BTreeMap<(Reverse<i64>, String), Person>,
    beyond: i64,
}

impl CallList {
    pub(super) fn add(&mut self, person: Person) {
        self.people.insert((Reverse(person.facts.revenue), person.customer_id.clone()), person);
        if self.people.len() > CALLS_MAX {
            self.people.pop_last();
            self.beyond += 1;
        }
    }

    /// The people in their order, and how many were left away.
    pub(super) fn into_people(self) -> (Vec<Person>, i64) {
        (self.people.into_values().collect(), self.beyond)
    }
}

/// A person's row.
pub(super) fn row(person: &Person, moment: &Moment, settings: &Settings) -> [String; 12] {
    let facts = &person.facts;
    let text = |t: &Option<String>| cell(t.as_deref().unwrap_or_default());
    [
        cell(&person.customer_id),
        cell(&full_name(person)),
        cell(&person.attribute("phone").unwrap_or_default()),
        cell(&person.email),
        text(&person.locale),
        text(&person.country),
        facts.stage(moment).name().to_owned(),
        facts.orders.to_string(),
        plain(facts.revenue, &settings.currency),
        settings.currency.clone(),
        facts.last_order_at.map(|at| date(at, moment)).unwrap_or_default(),
        cell(&talking_points(facts, moment, settings).join(" | ")),
    ]
}

/// The name in the order of the person's language: the family name first in Chinese, Hungarian, Japanese and Korean.
fn full_name(person: &Person) -> String {
    let language = person.locale.as_deref().unwrap_or_default().split(['-', '_']).next().unwrap_or_default();
    let (first, last) = (person.first_name.as_deref(), person.last_name.as_deref());
    let parts = if matches!(language, "zh" | "hu" | "ja" | "ko") { [last, first] } else { [first, last] };
    parts.into_iter().flatten().collect::<Vec<_>>().join(" ")
}

/// What to talk about, the most pressing first.
pub fn talking_points(facts: &Facts, moment: &Moment, settings: &Settings) -> Vec<String> {
    let currency = &settings.currency;
    let mut points = Vec::new();
    points.extend(owed(facts, moment, settings));
    let (Some(first), Some(last)) = (facts.first_order_at, facts.last_order_at) else {
        points.push("has not ordered yet".to_owned());
        points.extend(viewed(facts, moment, currency));
        return points;
    };
    points.push(format!("customer since {}", date(first, moment)));
    let average = facts.average_order.filter(|_| facts.orders > 1);
    let average = average.map(|a| format!(", {} on average", readable(a, currency))).unwrap_or_default();
    points.push(format!(
        "{}, {} in all{average}",
        counted(facts.orders as usize, "order"),
        readable(facts.revenue, currency)
    ));
    points.push(rhythm(facts, moment, last));
    points.extend(facts.top_category.as_ref().map(|category| format!("buys {category} most")));
    points.extend(viewed(facts, moment, currency));
    points
}

/// What we owe this person, if anything.
fn owed(facts: &Facts, moment: &Moment, settings: &Settings) -> Vec<String> {
    let freeze = &settings.guards.service_freeze;
    let mut points = Vec::new();
    if facts.open_tickets > 0 {
        let tickets = counted(facts.open_tickets as usize, "open ticket");
        points.push(format!("FIRST: {tickets}; bring an answer, sell nothing before"));
    }
    let bad = facts.last_rating.zip(facts.last_rating_at);
    if let Some((rating, at)) = bad.filter(|(rating, _)| *rating <= freeze.rating_at_most.unwrap_or(BAD_RATING)) {
        let when = date(at, moment);
        points.push(if moment.as_of - at <= freeze.days * DAY {
            format!("FIRST: rated us {rating} on {when}; ask what went wrong, sell nothing before that is settled")
        } else {
            format!("rated us {rating} on {when}; ask whether that was put right")
        });
    }
    points
}

/// The person's own rhythm beside the days since the last order.
fn rhythm(facts: &Facts, moment: &Moment, last: Millis) -> String {
    let quiet = facts.last_order_day.map_or(0, |day| moment.today - day);
    let since = match quiet {
        ..=0 => "today".to_owned(),
        days => format!("{} ago", counted(days as usize, "day")),
    };
    let last = date(last, moment);
    match facts.usual_gap_days.filter(|gap| facts.purchase_days >= RHYTHM_FROM_PURCHASE_DAYS && *gap > 0.0) {
        None => format!("last order {last}, {since}"),
        Some(gap) => {
            let usual = format!("usually orders every {}", counted(gap.round().max(1.0) as usize, "day"));
            let times = quiet as f64 / gap;
            if times > LATE_FROM_GAPS {
                format!("{usual}, the last was {since} ({last}): {times:.1} times as long")
            } else {
                format!("{usual}, the last was {since} ({last}): not late")
            }
        }
    }
}

/// The product looked at last: its name and what else is known of it.
fn viewed(facts: &Facts, moment: &Moment, currency: &str) -> Option<String> {
    let (sku, at) = facts.last_viewed_sku.as_ref().zip(facts.last_viewed_at)?;
    let name = facts.viewed_name.as_ref().unwrap_or(sku);
    let more: Vec<String> =
        facts.viewed_category.iter().cloned().chain(facts.viewed_price.map(|p| readable(p, currency))).collect();
    let more = if more.is_empty() { String::new() } else { format!(" ({})", more.join(", ")) };
    let bought_since = facts.last_order_at.is_some_and(|last| last >= at);
    let since = if bought_since { ", before the last order" } else { "" };
    Some(format!("looked at {name}{more} on {}{since}", date(at, moment)))
}

fn date(at: Millis, moment: &Moment) -> String {
    clock::date_in(at, &moment.zone).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::HOUR;
    use crate::problem::Problems;

    /// 2026-11-24T12:00Z.
    const NOW: Millis = 1_795_521_600_000;

    fn settings(more: &str) -> Settings {
        let text = format!(
            "project: shop\ntime_zone: Europe/Berlin\ncurrency: EUR\n\
             sender: {{ from: hello@example.com, organisation: Shop, postal_address: 1 Road }}\n{more}"
        );
        let mut problems = Problems::new();
        let settings = Settings::from_texts(("okaeri.yaml", &text), None, |_| None, &mut problems);
        assert!(problems.is_empty(), "{}", problems.to_text());
        settings.unwrap()
    }

    fn moment(settings: &Settings) -> Moment {
        Moment::with_cuts(settings, NOW, None)
    }

    /// Three orders, a month apart, the last 78 days ago.
    fn regular(moment: &Moment) -> Facts {
        let at = |days: i64| Some(NOW - days * DAY);
        let day = |days: i64| Some(moment.today - days);
        Facts {
            orders: 3,
            purchase_days: 3,
            revenue: 25_600,
            average_order: Some(8_533),
            first_order_at: at(140),
            last_order_at: at(78),
            first_order_day: day(140),
            last_order_day: day(78),
            usual_gap_days: Some(31.0),
            top_category: Some("plants".into()),
            last_viewed_at: at(4),
            last_viewed_sku: Some("OLIVE-1".into()),
            viewed_name: Some("Olive tree".into()),
            viewed_category: Some("plants".into()),
            viewed_price: Some(4_900),
            ..Facts::default()
        }
    }

    #[test]
    fn points_follow_from_the_profile() {
        let settings = settings("");
        let moment = moment(&settings);
        assert_eq!(
            talking_points(&regular(&moment), &moment, &settings),
            [
                "customer since 2026-07-07",
                "3 orders, 256.00 EUR in all, 85.33 EUR on average",
                "usually orders every 31 days, the last was 78 days ago (2026-09-07): 2.5 times as long",
                "buys plants most",
                "looked at Olive tree (plants, 49.00 EUR) on 2026-11-20",
            ]
        );
        let once =
            Facts { orders: 1, purchase_days: 1, usual_gap_days: None, last_viewed_sku: None, ..regular(&moment) };
        let points = talking_points(&once, &moment, &settings);
        assert_eq!(points[1..3], ["1 order, 256.00 EUR in all", "last order 2026-09-07, 78 days ago"]);
        let on_time = Facts { usual_gap_days: Some(90.0), last_viewed_at: Some(NOW - 100 * DAY), ..regular(&moment) };
        let points = talking_points(&on_time, &moment, &settings);
        assert!(points[2].ends_with(": not late"), "{points:?}");
        assert!(points[4].ends_with(" on 2026-08-16, before the last order"), "{points:?}");
        let lead = Facts { last_viewed_at: Some(NOW), last_viewed_sku: Some("X-9".into()), ..Facts::default() };
        assert_eq!(
            talking_points(&lead, &moment, &settings),
            ["has not ordered yet", "looked at X-9 on 2026-11-24"],
            "an unknown product is named by its sku"
        );
    }

    #[test]
    fn what_we_owe_comes_first_and_forbids_selling() {
        let defaults = settings("");
        let moment = moment(&defaults);
        let waiting =
            Facts { open_tickets: 2, last_rating: Some(1.0), last_rating_at: Some(NOW - 14 * DAY), ..regular(&moment) };
        let points = talking_points(&waiting, &moment, &defaults);
        assert_eq!(points[0], "FIRST: 2 open tickets; bring an answer, sell nothing before");
        assert_eq!(
            points[1],
            "FIRST: rated us 1 on 2026-11-10; ask what went wrong, sell nothing before that is settled"
        );
        let long_ago = Facts { open_tickets: 0, last_rating_at: Some(NOW - 14 * DAY - HOUR), ..waiting.clone() };
        let points = talking_points(&long_ago, &moment, &defaults);
        assert_eq!(points[0], "rated us 1 on 2026-11-10; ask whether that was put right");
        let content = Facts { last_rating: Some(2.5), ..long_ago.clone() };
        assert_eq!(talking_points(&content, &moment, &defaults)[0], "customer since 2026-07-07");
        let strict = settings("guards: { service_freeze: { rating_at_most: 3, for: 30d } }\n");
        let points = talking_points(&Facts { last_rating: Some(2.5), ..long_ago }, &moment, &strict);
        assert!(points[0].starts_with("FIRST: rated us 2.5"), "{points:?}");
    }

    #[test]
    fn names_stand_in_the_order_of_the_language() {
        let person = |locale: &str| Person {
            first_name: Some("太郎".into()),
            last_name: Some("山田".into()),
            locale: Some(locale.into()),
            ..Person::default()
        };
        assert_eq!(full_name(&person("ja-JP")), "山田 太郎");
        assert_eq!(full_name(&person("en")), "太郎 山田");
        assert_eq!(full_name(&Person { first_name: None, ..person("en") }), "山田");
        assert_eq!(full_name(&Person::default()), "");
    }

    #[test]
    fn the_list_keeps_those_of_the_highest_revenue() {
        let mut list = CallList::default();
        for n in 0..CALLS_MAX as i64 + 3 {
            let facts = Facts { revenue: n % 7, ..Facts::default() };
            list.add(Person { customer_id: format!("c{n:05}"), facts, ..Person::default() });
        }
        let (people, beyond) = list.into_people();
        assert_eq!((people.len(), beyond), (CALLS_MAX, 3));
        assert_eq!((people[0].customer_id.as_str(), people[0].facts.revenue), ("c00006", 6));
        assert!(people.windows(2).all(|w| w[0].facts.revenue >= w[1].facts.revenue));
    }
}
