//! Comparisons as authors write them (`gte: 2`, `eq: staff`, `in: [a, b]`, a bare value) become [`Check`]s that fit what they compare.

use jiff::civil::Date;

use super::rule::{Calendar, Check, Number, Op, Operand, Pattern};
use super::ty::Ty;
use crate::clock;
use crate::money;
use crate::problem::Problems;
use crate::profile::fields::{Field, Kind, number_names, numeric};
use crate::settings::Settings;
use crate::yaml::{MapReader, Node, Shape, Span};

/// The keys of comparisons.
pub(super) const CHECK_KEYS: [&str; 15] = [
    "gte",
    "gt",
    "lte",
    "lt",
    "between",
    "eq",
    "in",
    "exists",
    "starts_with",
    "contains",
    "matches",
    "has",
    "anniversary",
    "day_of_month",
    "weekday",
];
const OPS: [(&str, Op); 4] = [("gte", Op::Gte), ("gt", Op::Gt), ("lte", Op::Lte), ("lt", Op::Lt)];
/// The most values in one list.
const LIST_MAX: usize = 20_000;
/// The longest text compared with, in characters.
const TEXT_CHARS_MAX: usize = 500;
/// The most `*` in one pattern.
const RUNS_MAX: usize = 3;
/// The furthest an anniversary looks, in days.
const ANNIVERSARY_DAYS_MAX: i64 = 180;
/// Monday is 0.
const WEEKDAYS: [&str; 7] = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];

/// The comparisons among the keys of a mapping; at least one is needed.
pub(super) fn checks(
    m: &mut MapReader,
    what: &str,
    ty: &Ty,
    settings: &Settings,
    problems: &mut Problems,
) -> Option<Vec<Check>> {
    let mut out: Vec<Option<Check>> = Vec::new();
    for key in CHECK_KEYS {
        let Some(node) = m.node(key) else { continue };
        if !ty.keys().contains(&key) {
            problems
                .error("wrong-type", &node.place, format!("`{key}` does not fit {what}, which is {}", ty.described()))
                .hint(format!("it can be compared with: {}", ty.keys().join(", ")));
            out.push(None);
            continue;
        }
        match key {
            "between" => out.extend(between(node, ty, settings, problems)),
            _ => out.push(check(node, key, ty, settings, problems)),
        }
    }
    if out.is_empty() {
        problems
            .error("missing-key", &m.place, format!("{what} is compared with nothing"))
            .hint(format!("one of: {}", ty.keys().join(", ")));
        return None;
    }
    let checks: Vec<Check> = out.into_iter().collect::<Option<_>>()?;
    contradiction(m, what, &checks, problems);
    Some(checks)
}

/// The comparisons of a value that may be bare (`category: home`), a list, or a mapping (`{ gte: 2 }`).
pub(super) fn value_checks(
    node: &Node,
    key: &str,
    ty: &Ty,
    settings: &Settings,
    problems: &mut Problems,
) -> Option<Vec<Check>> {
    if !matches!(node.shape, Shape::Map(_)) {
        let check = if *ty == Ty::List { has(node, problems) } else { equal(node, key, ty, settings, problems) };
        return check.map(|check| vec![check]);
    }
    let mut m = node.map("a comparison", problems)?;
    let checks = checks(&mut m, &format!("`{key}`"), ty, settings, problems);
    m.finish(problems);
    checks
}

fn check(node: &Node, key: &str, ty: &Ty, settings: &Settings, problems: &mut Problems) -> Option<Check> {
    if let Some((_, op)) = OPS.into_iter().find(|(k, _)| *k == key) {
        return ordered(node, key, op, ty, settings, problems);
    }
    match key {
        "eq" | "in" => equal(node, key, ty, settings, problems),
        "exists" => node.read::<bool>("`exists`", problems).map(Check::Exists),
        "starts_with" => text(node, key, problems).map(Check::StartsWith),
        "contains" => text(node, key, problems).map(Check::Contains),
        "matches" => pattern(node, problems).map(Check::Matches),
        "has" => has(node, problems),
        "weekday" => weekdays(node, problems).map(|d| Check::Calendar(Calendar::Weekday(d))),
        "day_of_month" => days_of_month(node, problems).map(|d| Check::Calendar(Calendar::DayOfMonth(d))),
        "anniversary" => anniversary(node, problems).map(Check::Calendar),
        _ => unreachable!("asked for keys of CHECK_KEYS only"),
    }
}

fn ordered(node: &Node, key: &str, op: Op, ty: &Ty, settings: &Settings, problems: &mut Problems) -> Option<Check> {
    if matches!(node.shape, Shape::Map(_)) {
        return against_field(node, op, ty, settings, problems);
    }
    if *ty == Ty::Date {
        return date(node, key, problems).map(|d| Check::Date(op, d));
    }
    number(node, key, ty, settings, problems).map(|n| Check::Compare(op, n))
}

/// `[low, high]`, both inside.
fn between(node: &Node, ty: &Ty, settings: &Settings, problems: &mut Problems) -> Vec<Option<Check>> {
    let Shape::List(list) = &node.shape else {
        problems
            .error("wrong-type", &node.place, format!("`between` must be two values, not {}", node.described()))
            .hint("between: [10, 20]; both belong to it");
        return vec![None];
    };
    let [low, high] = list.as_slice() else {
        problems
            .error("wrong-type", &node.place, format!("`between` must be two values, not {}", list.len()))
            .hint("between: [10, 20]; both belong to it");
        return vec![None];
    };
    vec![
        ordered(low, "between", Op::Gte, ty, settings, problems),
        ordered(high, "between", Op::Lte, ty, settings, problems),
    ]
}

/// `{ field: usual_gap_days, multiplied_by: 1.5, plus: 3 }`.
fn against_field(node: &Node, op: Op, ty: &Ty, settings: &Settings, problems: &mut Problems) -> Option<Check> {
    let mut m = node.map("a comparison with a field", problems)?;
    let place = m.node("field").map_or_else(|| node.place.clone(), |n| n.place.clone());
    let name = m.require::<String>("field", problems);
    let factor = m.get::<f64>("multiplied_by", problems);
    let plus_node = m.node("plus");
    m.finish(problems);
    let name = name?;
    let Some(field) = numeric(&name) else {
        problems
            .error("unknown-field", &place, format!("`{name}` is not a number or instant of a customer"))
            .did_you_mean(&name, number_names());
        return None;
    };
    if !comparable(ty, field) {
        problems.error(
            "wrong-type",
            &place,
            format!("{} cannot be compared with `{name}`, which is {}", ty.described(), field.kind.described()),
        );
        return None;
    }
    if let (Some(_), Kind::Instant) = (factor, field.kind) {
        problems
            .error("wrong-type", &place, format!("`{name}` is an instant: it cannot be multiplied"))
            .hint("shift it: plus: 30d");
        return None;
    }
    let plus = match (plus_node, field.kind) {
        (None, _) => 0.0,
        (Some(node), Kind::Instant) => signed_span(node, problems)? as f64,
        (Some(node), kind) => number(node, "plus", &Ty::of(kind), settings, problems)?.as_f64(),
    };
    Some(Check::Field { op, field, factor: factor.unwrap_or(1.0), plus })
}

fn comparable(ty: &Ty, field: &Field) -> bool {
    match field.kind {
        Kind::Money => *ty == Ty::Money,
        Kind::Instant => *ty == Ty::Instant,
        _ => matches!(ty, Ty::Number | Ty::Real),
    }
}

/// `30d` or `-30d`, in milliseconds; a day is 24 hours.
fn signed_span(node: &Node, problems: &mut Problems) -> Option<i64> {
    let text = node.as_text().unwrap_or_default();
    let (sign, digits) = text.strip_prefix('-').map_or((1, text), |rest| (-1, rest));
    let span = Span::parse(digits).map(|s| sign * s.millis());
    if span.is_none() {
        problems.error(
            "wrong-type",
            &node.place,
            format!("`plus` must be a length of time such as 30d or -12h, not {}", node.described()),
        );
    }
    span
}

fn number(node: &Node, key: &str, ty: &Ty, settings: &Settings, problems: &mut Problems) -> Option<Number> {
    let what = format!("`{key}`");
    match ty {
        Ty::Instant => {
            let text = node.read::<String>(&what, problems)?;
            let at = clock::parse_instant(&text, &settings.time_zone);
            if at.is_none() {
                problems
                    .error("bad-instant", &node.place, format!("`{text}` is not an instant"))
                    .hint("write 2026-11-24 or 2026-11-24T09:00; for a distance from now use in_last or more_than_ago");
            }
            at.map(Number::Int)
        }
        Ty::Money => {
            let value = node.read::<f64>(&what, problems)?;
            let minor = money::to_minor(value, &settings.currency);
            if minor.is_none() {
                problems
                    .error("bad-amount", &node.place, format!("{value} is not an amount of {}", settings.currency))
                    .hint(format!("{} has {} decimals", settings.currency, money::minor_digits(&settings.currency)));
            }
            minor.map(Number::Int)
        }
        _ => match node.shape {
            Shape::Int(i) => Some(Number::Int(i)),
            _ => node.read::<f64>(&what, problems).map(Number::Real),
        },
    }
}

/// The values of a list, or one value; bounded.
fn listed<'n>(node: &'n Node, key: &str, problems: &mut Problems) -> Option<Vec<&'n Node>> {
    let nodes: Vec<&Node> = if let Shape::List(list) = &node.shape { list.iter().collect() } else { vec![node] };
    if nodes.is_empty() {
        problems.error("empty-list", &node.place, format!("`{key}` names nothing"));
        return None;
    }
    if nodes.len() > LIST_MAX {
        problems
            .error("list-too-long", &node.place, format!("`{key}` lists {} values; at most {LIST_MAX}", nodes.len()))
            .hint("give these customers or products an attribute of their own and compare with that");
        return None;
    }
    Some(nodes)
}

fn equal(node: &Node, key: &str, ty: &Ty, settings: &Settings, problems: &mut Problems) -> Option<Check> {
    let nodes = listed(node, key, problems)?;
    let all: Vec<Option<Operand>> = nodes.into_iter().map(|n| operand(n, key, ty, settings, problems)).collect();
    all.into_iter().collect::<Option<Vec<_>>>().map(Check::In)
}

fn operand(node: &Node, key: &str, ty: &Ty, settings: &Settings, problems: &mut Problems) -> Option<Operand> {
    match ty {
        Ty::Text => text(node, key, problems).map(Operand::Text),
        Ty::Words(words) => {
            let word = text(node, key, problems)?;
            if !words.contains(&word) {
                problems
                    .error(
                        "unknown-word",
                        &node.place,
                        format!("`{key}` is never `{word}`: the contract lists its words"),
                    )
                    .did_you_mean(&word, words.iter().map(String::as_str));
                return None;
            }
            Some(Operand::Text(word))
        }
        Ty::Flag => node.read::<bool>(&format!("`{key}`"), problems).map(Operand::Flag),
        Ty::Date => date(node, key, problems).map(|d| Operand::Text(d.to_string())),
        Ty::Open => match &node.shape {
            Shape::Bool(b) => Some(Operand::Flag(*b)),
            Shape::Text(_) => text(node, key, problems).map(Operand::Text),
            _ => number(node, key, ty, settings, problems).map(Operand::Number),
        },
        _ => number(node, key, ty, settings, problems).map(Operand::Number),
    }
}

/// A text of bounded length.
fn text(node: &Node, key: &str, problems: &mut Problems) -> Option<String> {
    let text = node.read::<String>(&format!("`{key}`"), problems)?;
    if text.chars().count() > TEXT_CHARS_MAX {
        problems.error("text-too-long", &node.place, format!("`{key}` is longer than {TEXT_CHARS_MAX} characters"));
        return None;
    }
    Some(text)
}

fn pattern(node: &Node, problems: &mut Problems) -> Option<Pattern> {
    let text = text(node, "matches", problems)?;
    let runs = text.chars().filter(|c| *c == '*').count();
    if runs > RUNS_MAX {
        problems
            .error("pattern-too-wide", &node.place, format!("`matches` has {runs} times `*`; at most {RUNS_MAX}"))
            .hint("`*` stands for any run of characters, `?` for exactly one");
        return None;
    }
    if text.is_empty() {
        problems
            .error("empty-pattern", &node.place, "`matches` is empty")
            .hint("exists: false asks for what is not known");
        return None;
    }
    Some(Pattern(text))
}

fn has(node: &Node, problems: &mut Problems) -> Option<Check> {
    let all: Vec<Option<String>> =
        listed(node, "has", problems)?.into_iter().map(|n| text(n, "has", problems)).collect();
    all.into_iter().collect::<Option<Vec<_>>>().map(Check::Has)
}

pub(super) fn date(node: &Node, key: &str, problems: &mut Problems) -> Option<Date> {
    let text = node.read::<String>(&format!("`{key}`"), problems)?;
    let date = text.parse::<Date>().ok().filter(|d| text.len() == 10 && d.year() >= 0);
    if date.is_none() {
        problems.error("bad-date", &node.place, format!("`{text}` is not a date")).hint("write 1990-05-23");
    }
    date
}

pub(super) fn weekdays(node: &Node, problems: &mut Problems) -> Option<Vec<i64>> {
    let days: Vec<Option<i64>> = listed(node, "weekday", problems)?
        .into_iter()
        .map(|n| {
            let word = n.read::<String>("`weekday`", problems)?;
            let lower = word.to_lowercase();
            let found = WEEKDAYS.iter().position(|d| *d == lower || d[..3] == lower);
            if found.is_none() {
                problems
                    .error("unknown-word", &n.place, format!("`{word}` is not a day of the week"))
                    .did_you_mean(&word, WEEKDAYS);
            }
            found.map(|d| d as i64)
        })
        .collect();
    let mut days = days.into_iter().collect::<Option<Vec<_>>>()?;
    days.sort_unstable();
    days.dedup();
    Some(days)
}

/// The name of a day, Monday is 0.
pub(super) fn weekday_name(day: i64) -> &'static str {
    WEEKDAYS[day.rem_euclid(7) as usize]
}

fn days_of_month(node: &Node, problems: &mut Problems) -> Option<Vec<i64>> {
    let days: Vec<Option<i64>> = listed(node, "day_of_month", problems)?
        .into_iter()
        .map(|n| {
            let day = n.read::<i64>("`day_of_month`", problems)?;
            if !(1..=31).contains(&day) {
                problems.error("out-of-range", &n.place, format!("a day of the month is 1 to 31, not {day}"));
                return None;
            }
            Some(day)
        })
        .collect();
    days.into_iter().collect()
}

/// `today`, or `{ in_next: 7d, in_last: 3d }`.
fn anniversary(node: &Node, problems: &mut Problems) -> Option<Calendar> {
    if node.as_text() == Some("today") {
        return Some(Calendar::Anniversary { before: 0, after: 0 });
    }
    let mut m = node.map("an anniversary", problems)?;
    let (before, after) = (m.get::<Span>("in_last", problems), m.get::<Span>("in_next", problems));
    m.finish(problems);
    let whole = |span: Option<Span>| match span {
        None => Some(0),
        Some(Span::Days(days)) if days <= ANNIVERSARY_DAYS_MAX => Some(days),
        Some(_) => None,
    };
    let asked = before.is_some() || after.is_some();
    let days = whole(before).zip(whole(after)).filter(|_| asked);
    if days.is_none() {
        problems.error("bad-window", &node.place, "an anniversary lies within whole days of today").hint(format!(
            "anniversary: today, or {{ in_next: 7d }}, or {{ in_last: 3d, in_next: 7d }}; at most {ANNIVERSARY_DAYS_MAX}d"
        ));
    }
    days.map(|(before, after)| Calendar::Anniversary { before, after })
}

/// Comparisons that can never hold together.
fn contradiction(m: &MapReader, what: &str, checks: &[Check], problems: &mut Problems) {
    let mut low: Option<(f64, bool)> = None;
    let mut high: Option<(f64, bool)> = None;
    for check in checks {
        let Check::Compare(op, n) = check else { continue };
        let n = n.as_f64();
        match op {
            Op::Gte | Op::Gt => {
                low = Some(low.map_or((n, *op == Op::Gt), |l| if n > l.0 { (n, *op == Op::Gt) } else { l }))
            }
            Op::Lte | Op::Lt => {
                high = Some(high.map_or((n, *op == Op::Lt), |h| if n < h.0 { (n, *op == Op::Lt) } else { h }));
            }
        }
    }
    if let (Some((low, open_low)), Some((high, open_high))) = (low, high)
        && (low > high || (low == high && (open_low || open_high)))
    {
        problems
            .error("impossible", &m.place, format!("{what} can never be both: its comparisons exclude each other"))
            .hint("a range is written `gte: 10` with `lt: 20`, or `between: [10, 20]`");
    }
}
