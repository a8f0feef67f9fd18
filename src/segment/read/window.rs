//! Windows of time as authors write them.

use super::super::check::{date, weekdays};
use super::super::rule::{DaysAfter, Since, Window};
use crate::clock::{self, Millis};
use crate::problem::Problems;
use crate::profile::fields::{FIELDS, Field, Kind, field};
use crate::settings::Settings;
use crate::yaml::{MapReader, Node, Shape, Span};

/// The furthest an anchored window reaches, in days.
const DAYS_AFTER_MAX: i64 = 36_500;

/// The window beside a value that is itself an instant.
pub(super) fn window(m: &mut MapReader, settings: &Settings, problems: &mut Problems) -> Window {
    let place = m.place.clone();
    let window = Window {
        in_last: m.get("in_last", problems),
        more_than_ago: m.get("more_than_ago", problems),
        between: m.node("between").and_then(|n| between(n, settings, problems)),
        since: m.node("since").and_then(|n| since(n, settings, problems)),
        days_after: m.node("days_after").and_then(|n| days_after(n, problems)),
        weekdays: Vec::new(),
    };
    if let (Some(last), Some(ago)) = (window.in_last, window.more_than_ago)
        && ago.millis() >= last.millis()
    {
        problems
            .error("impossible", &place, format!("nothing lies both in the last {last} and more than {ago} ago"))
            .hint("`in_last: 60d` with `more_than_ago: 30d` is the month before the last");
    }
    for (key, span) in [("in_last", window.in_last), ("more_than_ago", window.more_than_ago)] {
        if let Some(Span::Exact(0)) = span {
            problems.error("impossible", &place, format!("`{key}` has no length"));
        }
    }
    window
}

/// [`window`], and on which days of the week the rows lie.
pub(super) fn row_window(m: &mut MapReader, settings: &Settings, problems: &mut Problems) -> Window {
    let weekdays = m.node("weekday").and_then(|n| weekdays(n, problems)).unwrap_or_default();
    Window { weekdays, ..window(m, settings, problems) }
}

/// `[2026-01-01, 2026-01-31]`: whole local days, both inside; with a time of day, from an instant to before another.
fn between(node: &Node, settings: &Settings, problems: &mut Problems) -> Option<(Millis, Millis)> {
    let pair = match &node.shape {
        Shape::List(list) if list.len() == 2 => (&list[0], &list[1]),
        _ => {
            problems
                .error("wrong-type", &node.place, format!("`between` must be two dates, not {}", node.described()))
                .hint("between: [2026-01-01, 2026-01-31]; both days belong to it");
            return None;
        }
    };
    let (from, _) = instant(pair.0, settings, problems)?;
    let (until, is_day) = instant(pair.1, settings, problems)?;
    let until = if is_day { clock::days_before(until, -1, &settings.time_zone) } else { until };
    if from >= until {
        problems
            .error("impossible", &node.place, "`between` ends before it begins")
            .hint("the earlier date comes first");
        return None;
    }
    Some((from, until))
}

/// An instant, and whether it was written as a whole day.
fn instant(node: &Node, settings: &Settings, problems: &mut Problems) -> Option<(Millis, bool)> {
    let text = node.read::<String>("a date", problems)?;
    let at = clock::parse_instant(&text, &settings.time_zone);
    if at.is_none() {
        problems
            .error("bad-instant", &node.place, format!("`{text}` is not an instant"))
            .hint("write 2026-11-24 or 2026-11-24T09:00");
    }
    let is_day = text.len() == 10 && date(node, "a date", &mut Problems::new()).is_some();
    at.map(|at| (at, is_day))
}

/// A date, or an instant of the customer.
fn since(node: &Node, settings: &Settings, problems: &mut Problems) -> Option<Since> {
    let word = node.read::<String>("`since`", problems)?;
    if word == "entry" {
        return Some(Since::Entry);
    }
    match anchor(&word) {
        Some(field) => Some(Since::Field(field)),
        None => {
            let at = clock::parse_instant(&word, &settings.time_zone);
            if at.is_none() {
                problems
                    .error(
                        "bad-instant",
                        &node.place,
                        format!("`{word}` is neither a date nor an instant of a customer"),
                    )
                    .did_you_mean(&word, anchors());
            }
            at.map(Since::At)
        }
    }
}

/// `{ first_order_at: [1, 30] }`.
fn days_after(node: &Node, problems: &mut Problems) -> Option<DaysAfter> {
    let shape = "days_after: { first_order_at: [1, 30] }; the day itself is 0, and both ends belong to it";
    let Shape::Map(pairs) = &node.shape else {
        problems
            .error("wrong-type", &node.place, format!("`days_after` must be a mapping, not {}", node.described()))
            .hint(shape);
        return None;
    };
    let [pair] = pairs.as_slice() else {
        problems.error("wrong-type", &node.place, "`days_after` counts from one instant").hint(shape);
        return None;
    };
    let Some(field) = anchor(&pair.key) else {
        problems
            .error("unknown-field", &pair.key_place, format!("`{}` is not an instant of a customer", pair.key))
            .did_you_mean(&pair.key, anchors());
        return None;
    };
    let days = match &pair.value.shape {
        Shape::List(list) if list.len() == 2 => match (&list[0].shape, &list[1].shape) {
            (Shape::Int(from), Shape::Int(to)) => Some((*from, *to)),
            _ => None,
        },
        _ => None,
    };
    let Some((from, to)) = days else {
        problems.error("wrong-type", &pair.value.place, "`days_after` needs two whole numbers of days").hint(shape);
        return None;
    };
    if from > to || from.abs() > DAYS_AFTER_MAX || to.abs() > DAYS_AFTER_MAX {
        problems
            .error("impossible", &pair.value.place, format!("no day lies from {from} to {to} days after it"))
            .hint(format!("the earlier day comes first; at most {DAYS_AFTER_MAX} days"));
        return None;
    }
    Some(DaysAfter { field, from, to })
}

/// An instant that stands in the data itself.
fn anchor(name: &str) -> Option<&'static Field> {
    field(name).filter(|f| f.kind == Kind::Instant)
}

fn anchors() -> impl Iterator<Item = &'static str> + Clone {
    FIELDS.iter().filter(|f| f.kind == Kind::Instant).map(|f| f.name)
}
