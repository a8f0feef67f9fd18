//! Rules in plain language, and values as people read them.

use super::person::Datum;
use super::rule::{Check, Column, History, Leaf, Measure, Number, Op, Operand, Property, Rule, Source, What, Window};
use crate::clock::{self, Millis};
use crate::money;
use crate::profile::fields::Kind;
use crate::settings::Settings;
use crate::yaml::Span;

/// A rule as one sentence without its full stop: "at least 3 orders, and not (open tickets at least 1)".
pub fn sentence(rule: &Rule, settings: &Settings) -> String {
    match rule {
        Rule::All(rules) => joined(rules, ", and ", settings),
        Rule::Any(rules) => joined(rules, ", or ", settings),
        Rule::None(rules) => {
            format!("not ({})", rules.iter().map(|r| sentence(r, settings)).collect::<Vec<_>>().join(", nor "))
        }
        Rule::Leaf(l) => leaf(l, settings),
    }
}

fn joined(rules: &[Rule], word: &str, settings: &Settings) -> String {
    let part = |rule: &Rule| {
        let text = sentence(rule, settings);
        let nested = matches!(rule, Rule::All(r) | Rule::Any(r) if r.len() > 1);
        if nested { format!("({text})") } else { text }
    };
    rules.iter().map(part).collect::<Vec<_>>().join(word)
}

/// A leaf in words.
pub(super) fn leaf(leaf: &Leaf, settings: &Settings) -> String {
    match leaf {
        Leaf::History(h) => history(h, settings),
        Leaf::Customer { what, checks: tests, window: w } => {
            let (name, kind) = match what {
                What::Field(field) => (field.meaning.to_owned(), Some(field.kind)),
                What::Attribute(name) => (format!("`{name}`"), None),
            };
            format!("{name}{}{}", checks(tests, kind, " is", settings), window(*w))
        }
        Leaf::Percentile { field, at_least, at_most } => {
            let mut out = field.meaning.to_owned();
            if let Some(p) = at_least {
                out.push_str(&format!(" among the highest {} % of buyers", plain(100.0 - p)));
            }
            if let Some(p) = at_most {
                out.push_str(&format!(" among the lowest {} % of buyers", plain(*p)));
            }
            out
        }
        Leaf::Rfm(names) => format!("RFM {}", or(names.iter().map(|n| n.name().replace('_', " ")))),
        Leaf::Lifecycle(stages) => format!("lifecycle {}", or(stages.iter().map(|s| s.name().to_owned()))),
        Leaf::InSegment(names) => format!("in segment {}", or(names.iter().map(|n| n.name.clone()))),
    }
}

fn history(h: &History, settings: &Settings) -> String {
    let either = |yes: &str, no: &str| if h.negated { no.to_owned() } else { yes.to_owned() };
    let mut out = match &h.source {
        Source::Events(name) => format!("{} {name}", either("did", "did not do")),
        Source::OrdersPlaced => either("placed an order", "did not place an order"),
        Source::OrdersReturned => either("returned an order", "did not return an order"),
        Source::Lines => either("bought", "did not buy"),
        Source::Messages { campaign, step: None } => format!("received {campaign}"),
        Source::Messages { campaign, step: Some(step) } => format!("received {campaign}/{step}"),
        Source::Consent { topic } => format!("consents to {topic}"),
    };
    for (n, test) in h.with.iter().enumerate() {
        let (name, kind) = match &test.property {
            Property::Column(c) => (c.name(), column_kind(*c)),
            Property::Json(name) => (name.as_str(), None),
        };
        let word = if n == 0 { "with" } else { "and" };
        out.push_str(&format!(" {word} {name}{}", checks(&test.checks, kind, "", settings)));
    }
    for (measure, tests) in &h.measures {
        let (name, kind) = measure_words(*measure);
        let compared = checks(tests, kind, "", settings);
        out.push_str(&match measure {
            Measure::Sum(_) => format!(", {name}{compared}"),
            _ => format!(",{compared} {name}"),
        });
    }
    out + &window(h.window)
}

fn measure_words(measure: Measure) -> (String, Option<Kind>) {
    match measure {
        Measure::Times => ("times".to_owned(), Some(Kind::Number)),
        Measure::Orders => ("orders".to_owned(), Some(Kind::Number)),
        Measure::Sum(column) => (format!("{} in all", column.name()), column_kind(column)),
    }
}

fn column_kind(column: Column) -> Option<Kind> {
    Some(match column {
        Column::Total | Column::Amount => Kind::Money,
        Column::Quantity => Kind::Number,
        Column::Score => Kind::Real,
        Column::Currency | Column::Status | Column::Sku | Column::Category => Kind::Text,
    })
}

fn window(w: Window) -> String {
    match (w.in_last, w.more_than_ago) {
        (None, None) => String::new(),
        (Some(last), None) => format!(" in the last {}", span(last)),
        (None, Some(ago)) => format!(" more than {} ago", span(ago)),
        (Some(last), Some(ago)) => format!(" between {} and {} ago", span(last), span(ago)),
    }
}

fn span(span: Span) -> String {
    let counted = |n: i64, word: &str| crate::problem::counted(n as usize, word);
    match span {
        Span::Days(d) => counted(d, "day"),
        Span::Exact(ms) if ms % clock::HOUR == 0 => counted(ms / clock::HOUR, "hour"),
        other => other.to_string(),
    }
}

/// Comparisons, each after a space; `is` stands before values to be equal to.
fn checks(checks: &[Check], kind: Option<Kind>, is: &str, settings: &Settings) -> String {
    let words: Vec<String> = checks
        .iter()
        .map(|check| match check {
            Check::Exists(true) => " known".to_owned(),
            Check::Exists(false) => " not known".to_owned(),
            Check::Compare(op, n) => format!(" {} {}", op_words(*op), number(*n, kind, settings)),
            Check::In(operands) => {
                format!(
                    "{is} {}",
                    or(operands.iter().map(|o| match o {
                        Operand::Number(n) => number(*n, kind, settings),
                        Operand::Text(t) => t.clone(),
                        Operand::Flag(b) => b.to_string(),
                    }))
                )
            }
            Check::Field { op, field, factor } if *factor == 1.0 => format!(" {} {}", op_words(*op), field.meaning),
            Check::Field { op, field, factor } => {
                format!(" {} {} × {}", op_words(*op), plain(*factor), field.meaning)
            }
        })
        .collect();
    words.join(" and")
}

fn op_words(op: Op) -> &'static str {
    match op {
        Op::Gte => "at least",
        Op::Gt => "more than",
        Op::Lte => "at most",
        Op::Lt => "less than",
    }
}

fn number(n: Number, kind: Option<Kind>, settings: &Settings) -> String {
    match (n, kind) {
        (Number::Int(i), Some(kind)) => datum(&Datum::Int(i), Some(kind), settings),
        (Number::Int(i), None) => i.to_string(),
        (Number::Real(r), _) => plain(r),
    }
}

/// A value of a kind as people read it.
pub(super) fn datum(value: &Datum, kind: Option<Kind>, settings: &Settings) -> String {
    match (value, kind) {
        (Datum::Int(i), Some(Kind::Money)) => money::readable(*i, &settings.currency),
        (Datum::Int(at), Some(Kind::Instant)) => instant(*at, settings),
        (Datum::Int(i), _) => money::grouped(*i),
        (Datum::Real(r), _) => plain(*r),
        (Datum::Text(t) | Datum::Json(t), _) => t.clone(),
    }
}

/// An instant in the project's zone.
pub(super) fn instant(at: Millis, settings: &Settings) -> String {
    clock::readable(at, &settings.time_zone)
}

/// What a measure came to.
pub(super) fn measured(measure: Measure, value: Option<i64>, settings: &Settings) -> String {
    let (name, kind) = measure_words(measure);
    match (measure, value) {
        (_, None) => format!("{name}: none"),
        (Measure::Times, Some(1)) => "once".to_owned(),
        (Measure::Times, Some(n)) => format!("{} times", money::grouped(n)),
        (_, Some(n)) => format!("{name}: {}", datum(&Datum::Int(n), kind, settings)),
    }
}

/// A number without needless decimals.
fn plain(n: f64) -> String {
    let rounded = (n * 100.0).round() / 100.0;
    format!("{rounded}")
}

fn or(words: impl Iterator<Item = String>) -> String {
    let words: Vec<String> = words.collect();
    match words.as_slice() {
        [first @ .., last] if !first.is_empty() => format!("{} or {last}", first.join(", ")),
        words => words.concat(),
    }
}
