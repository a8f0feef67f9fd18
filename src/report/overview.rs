//! All campaigns beside each other, a row each: what went out, what came back, what it caused. Pure.

use jiff::tz::TimeZone;

use super::text::{share, signed};
use super::{CampaignReport, Effect, Outcome};
use crate::clock;
use crate::counts::Counts;
use crate::model::interval::Estimate;
use crate::money::readable;

/// What the columns of [`row`] are called.
pub const HEADINGS: [&str; 7] =
    ["campaign", "newest run", "messages", "delivered", "unsubscribed", "caused", "money a person"];

/// A campaign in one row, under the name it has now.
pub fn row(name: &str, report: &CampaignReport, zone: &TimeZone, counts: Counts) -> [String; 7] {
    let newest = report.runs.last().map(|r| clock::readable(r.due_at, zone)).unwrap_or_default();
    let (total, back) = (report.messages(), &report.came_back);
    let of = |n: i64, all: i64| match all {
        0 => String::new(),
        _ if counts.hides(n) => counts.of(n),
        _ => format!("{} ({})", counts.of(n), share(n, all).trim()),
    };
    let sides = |o: &Outcome| [o.treated.people, o.treated.reached, o.withheld.people, o.withheld.reached];
    let told = report.outcome.as_ref().filter(|o| !sides(o).into_iter().any(|n| counts.hides(n)));
    let effect = told.and_then(|o| o.effect.as_ref());
    let open = report.outcome.as_ref().map_or(0, |o| o.treated.window_open + o.withheld.window_open);
    let caused = match effect {
        Some(effect) => rate(effect),
        None if open > 0 => "windows are open".to_owned(),
        None => String::new(),
    };
    let money = effect.and_then(|e| e.value_per_person).map(|v| money(v, &report.currency)).unwrap_or_default();
    [
        name.to_owned(),
        newest,
        counts.of(total),
        of(back.delivered, total),
        of(back.unsubscribed, back.delivered),
        caused,
        money,
    ]
}

/// Difference of the rates in points, with its interval of 95 %.
fn rate(effect: &Effect) -> String {
    let Estimate { value, low, high } = effect.rate;
    format!("{} points ({} to {})", signed(100.0 * value), signed(100.0 * low), signed(100.0 * high))
}

fn money(Estimate { value, low, high }: Estimate, currency: &str) -> String {
    let of = |minor: f64| readable(minor.round() as i64, currency);
    format!("{} ({} to {})", of(value), of(low), of(high))
}
