//! From `schedule:` to a [`Schedule`].

use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use jiff::civil::{DateTime, Time};
use jiff::tz::TimeZone;

use super::{CATCH_UP, CATCH_UP_JOURNEY, Journey, Rule, Schedule, Scheduled, Zone};
use crate::clock::Millis;
use crate::problem::{Place, Problems, nearest};
use crate::yaml::{MapReader, Node, Span};

const WEEKDAYS: [&str; 7] = ["sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"];
/// The shortest piece of a weekday's name.
const WEEKDAY_CHARS_MIN: usize = 3;
const EVERY_EXAMPLES: &str = "every: tuesday 09:00; also day, weekday, weekend, month 1, month last, or a list of them";

pub(crate) fn schedule(node: &Node, problems: &mut Problems) -> Option<Scheduled> {
    let mut m = node.map("a schedule", problems)?;
    let found: Vec<(&'static str, &Node)> =
        ["at", "every", "cron", "enter"].into_iter().filter_map(|key| Some((key, m.node(key)?))).collect();
    let zone = zone(&mut m, problems);
    let catch_up = catch_up(&mut m, problems);
    let place = m.place.clone();
    m.finish(problems);
    let (key, value) = match found[..] {
        [one] => one,
        [] => {
            problems
                .error("missing-key", &place, "a schedule needs one of `at`, `every`, `cron` and `enter`")
                .hint(EVERY_EXAMPLES);
            return None;
        }
        [_, (_, second), ..] => {
            problems.error(
                "several-schedules",
                &second.place,
                "a schedule has one of `at`, `every`, `cron` and `enter`",
            );
            return None;
        }
    };
    if key == "enter" {
        return journey(value, zone.as_ref(), catch_up, problems).map(Scheduled::WhenMatching);
    }
    let (rule, written) = match key {
        "at" => once(value, problems)?,
        "every" => every(value, problems)?,
        _ => cron(value, problems)?,
    };
    let schedule = Schedule { rule, zone: zone?, catch_up: catch_up?.unwrap_or(CATCH_UP), place, written };
    Some(Scheduled::At(Box::new(schedule)))
}

/// `enter: when_matching`.
fn journey(
    node: &Node,
    zone: Option<&Zone>,
    catch_up: Option<Option<Millis>>,
    problems: &mut Problems,
) -> Option<Journey> {
    let word = node.read::<String>("`enter`", problems)?;
    if word != "when_matching" {
        problems
            .error("unknown-word", &node.place, format!("`enter` cannot be `{word}`"))
            .hint("enter: when_matching; everybody enters as soon as they are in the audience");
        return None;
    }
    if let Some(Zone::Named(_)) = zone {
        problems
            .error("journey-zone", &node.place, "people enter a journey whenever they match: there is no time to read")
            .hint("leave `time_zone` away; `at:` of a step goes by each person's own clock");
        return None;
    }
    Some(Journey { catch_up: catch_up?.unwrap_or(CATCH_UP_JOURNEY) })
}

fn zone(m: &mut MapReader, problems: &mut Problems) -> Option<Zone> {
    let Some(node) = m.node("time_zone") else { return Some(Zone::Project) };
    let name = node.read::<String>("`time_zone`", problems)?;
    if name == "customer" {
        return Some(Zone::Customer);
    }
    match TimeZone::get(&name) {
        Ok(zone) => Some(Zone::Named(zone)),
        Err(_) => {
            problems
                .error("unknown-zone", &node.place, format!("there is no time zone `{name}`"))
                .hint("`customer` for each person's own, or an IANA name such as Europe/Berlin or Asia/Tokyo");
            None
        }
    }
}

/// `None` when it is wrong, `Some(None)` when it is not there.
fn catch_up(m: &mut MapReader, problems: &mut Problems) -> Option<Option<Millis>> {
    let Some(node) = m.node("catch_up") else { return Some(None) };
    let span = node.read::<Span>("`catch_up`", problems)?;
    if span.millis() == 0 {
        problems
            .error("catch-up-zero", &node.place, "with `catch_up: 0` every moment would be missed")
            .hint("schedulers are minutes late: 1h is short");
        return None;
    }
    Some(Some(span.millis()))
}

fn once(node: &Node, problems: &mut Problems) -> Option<(Rule, String)> {
    let text = node.read::<String>("`at`", problems)?;
    match text.trim().parse::<DateTime>() {
        Ok(at) if text.contains(':') => Some((Rule::Once(at), format!("at {}", at.strftime("%Y-%m-%d %H:%M")))),
        _ => {
            problems
                .error("wrong-type", &node.place, format!("`at` must be a day and a time, not `{text}`"))
                .hint("at: 2026-12-01 09:00; the zone stands in `time_zone`");
            None
        }
    }
}

fn cron(node: &Node, problems: &mut Problems) -> Option<(Rule, String)> {
    let text = node.read::<String>("`cron`", problems)?;
    let parsed = parse(&text, &node.place, problems)?;
    Some((Rule::Repeated(vec![parsed]), format!("cron {}", text.trim())))
}

fn parse(pattern: &str, place: &Place, problems: &mut Problems) -> Option<Cron> {
    let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
    match parser.parse(pattern) {
        Ok(cron) => Some(cron),
        Err(e) => {
            problems
                .error("bad-cron", place, format!("`{pattern}` is not a cron pattern: {e}"))
                .hint("minute hour day month weekday, such as \"0 9 * * TUE\"");
            None
        }
    }
}

fn every(node: &Node, problems: &mut Problems) -> Option<(Rule, String)> {
    let texts = node.read_list::<String>("`every`", problems)?;
    let mut rules = Vec::new();
    for text in &texts {
        let Some(pattern) = pattern_of(text) else {
            problems
                .error("bad-schedule", &node.place, format!("`every: {text}` is not understood"))
                .hint(hint_for(text));
            return None;
        };
        rules.push(parse(&pattern, &node.place, problems)?);
    }
    if rules.is_empty() {
        problems.error("bad-schedule", &node.place, "`every` names no time").hint(EVERY_EXAMPLES);
        return None;
    }
    Some((Rule::Repeated(rules), format!("every {}", texts.join(", "))))
}

/// What may have been meant.
fn hint_for(text: &str) -> String {
    let lower = text.to_lowercase();
    let words: Vec<&str> = lower.split_whitespace().collect();
    let day = words.first().copied().unwrap_or_default();
    if let Some(said) = words.last().filter(|w| w.contains(':') && time(w).is_none()) {
        let midnight =
            if said.starts_with("24:") { "; midnight is 00:00, and belongs to the day it begins" } else { "" };
        return format!("`{said}` is no time of day: 00:00 to 23:59{midnight}");
    }
    match (day, words.get(1).map(|n| n.parse::<u8>())) {
        ("month", Some(Ok(29 | 30))) => "not every month has that day: month 1 to month 28, or month last".to_owned(),
        ("month", Some(Ok(_))) => {
            "months have the days 1 to 28 in common: month 1 to month 28, or month last".to_owned()
        }
        _ => nearest(day, WEEKDAYS).map_or(EVERY_EXAMPLES.to_owned(), |day| format!("did you mean `{day}`?")),
    }
}

/// `tuesday 09:00` and its kin as a cron pattern.
fn pattern_of(text: &str) -> Option<String> {
    let lower = text.to_lowercase();
    let mut words: Vec<&str> = lower.split_whitespace().collect();
    let time = time(words.pop()?)?;
    let (day, weekday) = match words[..] {
        ["day"] => ("*".to_owned(), "*".to_owned()),
        ["weekday"] => ("*".to_owned(), "1-5".to_owned()),
        ["weekend"] => ("*".to_owned(), "0,6".to_owned()),
        ["month", "last"] => ("L".to_owned(), "*".to_owned()),
        ["month", day] => (day_of_month(day)?, "*".to_owned()),
        [name] => ("*".to_owned(), weekday(name)?.to_string()),
        _ => return None,
    };
    Some(format!("{} {} {day} * {weekday}", time.minute(), time.hour()))
}

/// A day of the month; months that are shorter have it on their last.
fn day_of_month(text: &str) -> Option<String> {
    match text.parse::<u8>().ok()? {
        day @ 1..=28 => Some(day.to_string()),
        // Only the last day can be one that exists always; 29 and 30 as they are would leave out February.
        31 => Some("L".to_owned()),
        _ => None,
    }
}

fn weekday(name: &str) -> Option<usize> {
    let fits = |full: &&str| name.len() >= WEEKDAY_CHARS_MIN && full.starts_with(name);
    WEEKDAYS.iter().position(fits)
}

/// `9:00` and `09:00`.
fn time(text: &str) -> Option<Time> {
    let (hour, minute) = text.split_once(':')?;
    if hour.is_empty() || hour.len() > 2 || minute.len() != 2 {
        return None;
    }
    Time::new(hour.parse().ok()?, minute.parse().ok()?, 0, 0).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_say_what_was_meant() {
        let said = |text: &str| {
            let mut problems = Problems::new();
            let node = crate::yaml::parse("c.yaml", text, &mut problems).unwrap();
            assert!(schedule(&node, &mut problems).is_none(), "{text}");
            anstream::adapter::strip_str(&problems.to_text()).to_string()
        };
        let all = [
            "every: tusday 09:00",
            "every: month 30 09:00",
            "every: day 25:00",
            "every: friday 24:00",
            "every: month 0 09:00",
            "every: []",
            "cron: \"61 * * * *\"",
            "cron: \"0 0 9 * * TUE\"",
            "at: tomorrow",
            "at: 2026-12-01",
            "at: 2026-12-01 09:00\nevery: day 09:00",
            "time_zone: Mars/Olympus",
            "every: day 09:00\ntime_zone: Mars/Olympus",
            "every: day 09:00\ncatch_up: 0h",
        ]
        .map(said)
        .join("");
        insta::assert_snapshot!(all, @r#"
        c.yaml:1:8: error: `every: tusday 09:00` is not understood [bad-schedule]
            did you mean `tuesday`?
        1 error and 0 warnings
        c.yaml:1:8: error: `every: month 30 09:00` is not understood [bad-schedule]
            not every month has that day: month 1 to month 28, or month last
        1 error and 0 warnings
        c.yaml:1:8: error: `every: day 25:00` is not understood [bad-schedule]
            `25:00` is no time of day: 00:00 to 23:59
        1 error and 0 warnings
        c.yaml:1:8: error: `every: friday 24:00` is not understood [bad-schedule]
            `24:00` is no time of day: 00:00 to 23:59; midnight is 00:00, and belongs to the day it begins
        1 error and 0 warnings
        c.yaml:1:8: error: `every: month 0 09:00` is not understood [bad-schedule]
            months have the days 1 to 28 in common: month 1 to month 28, or month last
        1 error and 0 warnings
        c.yaml:1:8: error: `every` names no time [bad-schedule]
            every: tuesday 09:00; also day, weekday, weekend, month 1, month last, or a list of them
        1 error and 0 warnings
        c.yaml:1:7: error: `61 * * * *` is not a cron pattern: Component error: Number out of bounds. [bad-cron]
            minute hour day month weekday, such as "0 9 * * TUE"
        1 error and 0 warnings
        c.yaml:1:7: error: `0 0 9 * * TUE` is not a cron pattern: Invalid pattern: Pattern must have 5 fields when seconds are disallowed. [bad-cron]
            minute hour day month weekday, such as "0 9 * * TUE"
        1 error and 0 warnings
        c.yaml:1:5: error: `at` must be a day and a time, not `tomorrow` [wrong-type]
            at: 2026-12-01 09:00; the zone stands in `time_zone`
        1 error and 0 warnings
        c.yaml:1:5: error: `at` must be a day and a time, not `2026-12-01` [wrong-type]
            at: 2026-12-01 09:00; the zone stands in `time_zone`
        1 error and 0 warnings
        c.yaml:2:8: error: a schedule has one of `at`, `every`, `cron` and `enter` [several-schedules]
        1 error and 0 warnings
        c.yaml:1:1: error: a schedule needs one of `at`, `every`, `cron` and `enter` [missing-key]
            every: tuesday 09:00; also day, weekday, weekend, month 1, month last, or a list of them
        c.yaml:1:12: error: there is no time zone `Mars/Olympus` [unknown-zone]
            `customer` for each person's own, or an IANA name such as Europe/Berlin or Asia/Tokyo
        2 errors and 0 warnings
        c.yaml:2:12: error: there is no time zone `Mars/Olympus` [unknown-zone]
            `customer` for each person's own, or an IANA name such as Europe/Berlin or Asia/Tokyo
        1 error and 0 warnings
        c.yaml:2:11: error: with `catch_up: 0` every moment would be missed [catch-up-zero]
            schedulers are minutes late: 1h is short
        1 error and 0 warnings
        "#);
    }
}
