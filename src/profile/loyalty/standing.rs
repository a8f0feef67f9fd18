//! Where one person stands among the tiers, from their counted orders. Pure.

use jiff::ToSpan as _;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::Serialize;

use crate::clock::{self, Millis};
use crate::settings::{Loyalty, LoyaltyBy};
use crate::yaml::Span;

/// A person's place among the tiers at an instant. What there is not is absent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Standing {
    /// What tiers go by: minor units, or orders.
    pub reached: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tier: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_tier: Option<String>,
    /// What is missing to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to_next: Option<i64>,
    /// The first day on which they are in a lower tier, or in none, unless they order again.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "as_text")]
    pub falls_on: Option<Date>,
    /// The tier they are in then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub falls_to: Option<String>,
    /// What it takes to keep theirs on that day.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to_keep: Option<i64>,
}

fn as_text<S: serde::Serializer>(day: &Option<Date>, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(&day.expect("skipped when there is none"))
}

impl Loyalty {
    /// The place in the list of the tier that so much reaches; `None` below the lowest.
    pub(super) fn tier_of(&self, reached: i64) -> Option<usize> {
        self.tiers.iter().rposition(|(_, threshold)| reached >= *threshold)
    }

    /// What one order adds to what tiers go by.
    fn weight(&self, total: i64) -> i64 {
        match self.by {
            LoyaltyBy::Spend => total,
            LoyaltyBy::Orders => 1,
        }
    }

    /// Since when orders count at an instant.
    pub fn counts_from(&self, at: Millis, zone: &TimeZone) -> Millis {
        self.in_last.map_or(Millis::MIN / 4, |window| window.before(at, zone))
    }

    /// The first day on which an order counts no more.
    fn last_counts_before(&self, ordered_at: Millis, zone: &TimeZone) -> Option<Date> {
        Some(match self.in_last? {
            // Windows are whole days: the day itself and so many after it.
            Span::Days(days) => clock::date_in(ordered_at, zone).saturating_add((days + 1).clamp(0, 4_000_000).days()),
            Span::Exact(ms) => clock::date_in(ordered_at.saturating_add(ms), zone),
        })
    }
}

/// Where somebody stands, whose counted orders of the window are these (instant, total).
pub fn standing(loyalty: &Loyalty, orders: &[(Millis, i64)], zone: &TimeZone) -> Standing {
    let reached: i64 = orders.iter().map(|(_, total)| loyalty.weight(*total)).sum();
    let tier = loyalty.tier_of(reached);
    let name = |at: usize| loyalty.tiers[at].0.clone();
    let next = tier.map_or(0, |at| at + 1);
    let mut standing = Standing {
        reached,
        tier: tier.map(name),
        next_tier: loyalty.tiers.get(next).map(|(name, _)| name.clone()),
        to_next: loyalty.tiers.get(next).map(|(_, threshold)| threshold - reached),
        ..Standing::default()
    };
    let Some(tier) = tier else { return standing };
    let mut leaving: Vec<(Date, i64)> = orders
        .iter()
        .filter_map(|(at, total)| Some((loyalty.last_counts_before(*at, zone)?, loyalty.weight(*total))))
        .collect();
    leaving.sort_unstable();
    let mut left = reached;
    for of_day in leaving.chunk_by(|(a, _), (b, _)| a == b) {
        left -= of_day.iter().map(|(_, weight)| weight).sum::<i64>();
        let then = loyalty.tier_of(left);
        if then < Some(tier) {
            standing.falls_on = Some(of_day[0].0);
            standing.falls_to = then.map(name);
            standing.to_keep = Some(loyalty.tiers[tier].1 - left);
            break;
        }
    }
    standing
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loyalty(by: LoyaltyBy, in_last: Option<Span>) -> Loyalty {
        let tiers = [("bronze", 0), ("silver", 2), ("gold", 5)].map(|(n, t)| (n.to_owned(), t));
        let scale = if by == LoyaltyBy::Spend { 100 } else { 1 };
        Loyalty { by, in_last, tiers: tiers.map(|(n, t)| (n, t * scale)).into(), at_risk_days: 30 }
    }

    fn at(text: &str) -> Millis {
        clock::parse_instant(text, &TimeZone::UTC).unwrap()
    }

    #[test]
    fn somebody_stands_where_their_orders_reach() {
        let by_spend = loyalty(LoyaltyBy::Spend, Some(Span::Days(10)));
        let orders = [(at("2026-11-01T10:00"), 150), (at("2026-11-03T23:00"), 200), (at("2026-11-03T01:00"), 50)];
        let found = standing(&by_spend, &orders, &TimeZone::UTC);
        let expected = Standing {
            reached: 400,
            tier: Some("silver".into()),
            next_tier: Some("gold".into()),
            to_next: Some(100),
            // The first order counts on the 11th for the last time; without both of the third nothing is left.
            falls_on: Some(jiff::civil::date(2026, 11, 14)),
            falls_to: Some("bronze".into()),
            to_keep: Some(200),
        };
        assert_eq!(found, expected);
        let by_orders = loyalty(LoyaltyBy::Orders, None);
        let found = standing(&by_orders, &orders, &TimeZone::UTC);
        assert_eq!(
            (found.reached, found.tier.as_deref(), found.falls_on),
            (3, Some("silver"), None),
            "nothing ever ends"
        );
        let found = standing(&by_orders, &[(0, 1); 7], &TimeZone::UTC);
        assert_eq!((found.tier.as_deref(), found.next_tier, found.to_next), (Some("gold"), None, None));
        let mut from_one = by_orders;
        from_one.tiers.remove(0);
        let found = standing(&from_one, &[], &TimeZone::UTC);
        assert_eq!((found.tier, found.next_tier.as_deref(), found.to_next), (None, Some("silver"), Some(2)));
    }

    #[test]
    fn the_day_of_a_fall_is_the_first_on_which_the_window_leaves_the_order_out() {
        let zone = TimeZone::get("Europe/Berlin").unwrap();
        let loyalty = loyalty(LoyaltyBy::Orders, Some(Span::Days(30)));
        for ordered in ["2026-03-01T00:30", "2026-03-01T23:30", "2026-10-01T12:00"] {
            let ordered_at = clock::parse_instant(ordered, &zone).unwrap();
            let falls_on = standing(&loyalty, &[(ordered_at, 1); 2], &zone).falls_on.unwrap();
            let counts = |day: Date| loyalty.counts_from(clock::start_of_day(day, &zone), &zone) <= ordered_at;
            assert!(!counts(falls_on) && counts(falls_on.yesterday().unwrap()), "{ordered}: {falls_on}");
        }
    }
}
