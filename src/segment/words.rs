//! Rules in plain language, and values as people read them.

use super::check::weekday_name;
use super::library::Library;
use super::person::Datum;
use super::rule::{
    BANDS, Calendar, Check, Column, DaysAfter, FunnelStep, History, Leaf, Measure, Number, Op, Operand, Pattern, Pick,
    Property, PropertyTest, Rows, Rule, Since, Source, Stretch, Take, What, Window,
};
use crate::clock::{self, Millis};
use crate::money;
use crate::profile::Moment;
use crate::profile::fields::{Field, Kind};
use crate::settings::Settings;
use crate::yaml::Span;

/// Values of a list that are written out; the others are counted.
const LISTED_MAX: usize = 6;

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
        Leaf::Last(rows) => {
            format!("the last {}{}{}", noun(&rows.source), with(&rows.with, settings), window(&rows.window, settings))
        }
        Leaf::Funnel(steps) => {
            let words: Vec<String> = steps.iter().map(|s| funnel_step(s, settings)).collect();
            words.join(", then ")
        }
        Leaf::Customer { what, checks: tests, window: w } => {
            let (name, kind) = match what {
                What::Field(field) => (field.meaning.to_owned(), Some(field.kind)),
                What::Attribute(attribute) => (format!("`{}`", attribute.name), None),
            };
            format!("{name}{}{}", checks(tests, kind, " is", settings), window(w, settings))
        }
        Leaf::Percentile { field, any_of } => format!("{} {}", field.meaning, percentile(any_of)),
        Leaf::Rfm(names) => format!("RFM {}", or(names.iter().map(|n| n.name().replace('_', " ")))),
        Leaf::Lifecycle(stages) => format!("lifecycle {}", or(stages.iter().map(|s| s.name().to_owned()))),
        Leaf::Tier(tier) => format!("tier {}", or(tier.names.iter().cloned())),
        Leaf::InSegment(names) => format!("in segment {}", or(names.iter().map(|n| n.name.clone()))),
    }
}

/// Who is picked of the members: "the 5 % with the highest revenue, of these a sample of 50 %".
pub(super) fn pick(pick: &Pick) -> String {
    let top = pick.top.as_ref().map(|top| match top.take {
        Take::Share(share) => format!("the {} % with the highest {}", plain(share * 100.0), top.by.meaning),
        Take::Count(count) => format!("the {} with the highest {}", money::grouped(count), top.by.meaning),
    });
    let sample = pick.sample.as_ref().map(|s| format!("a sample of {} % (salt {})", plain(s.share * 100.0), s.salt));
    match (top, sample) {
        (Some(top), Some(sample)) => format!("{top}, of these {sample}"),
        (top, sample) => top.or(sample).unwrap_or_default(),
    }
}

fn percentile(any_of: &[Stretch]) -> String {
    let bound = |op: Op, percent: f64| match op {
        Op::Gte | Op::Gt => format!("among the highest {} % of buyers", plain(100.0 - percent)),
        Op::Lte | Op::Lt => format!("among the lowest {} % of buyers", plain(percent)),
    };
    let stretch = |s: &Stretch| {
        // A band is shown by its name.
        let of = |low: f64, high: f64| {
            let above = (low > 0.0).then_some((Op::Gt, low));
            let below = (high < 100.0).then_some((Op::Lte, high));
            s.0 == above.into_iter().chain(below).collect::<Vec<_>>()
        };
        match BANDS.into_iter().find(|(_, low, high)| of(*low, *high)) {
            Some((name, ..)) => format!("in the {name} fifth of buyers"),
            None => s.0.iter().map(|(op, p)| bound(*op, *p)).collect::<Vec<_>>().join(" and "),
        }
    };
    any_of.iter().map(stretch).collect::<Vec<_>>().join(" or ")
}

/// What one row is called.
fn noun(source: &Source) -> String {
    match source {
        Source::Events(name) => name.clone(),
        Source::OrdersPlaced => "order".to_owned(),
        Source::OrdersReturned => "returned order".to_owned(),
        Source::Lines => "purchase".to_owned(),
        Source::Messages { campaign, .. } => format!("message of {campaign}"),
        Source::Clicks { campaign, .. } => format!("click in {campaign}"),
        Source::Consent { topic } => format!("consent to {topic}"),
    }
}

/// What somebody did, or did not.
fn verb(source: &Source, negated: bool) -> String {
    let either = |yes: &str, no: &str| if negated { no.to_owned() } else { yes.to_owned() };
    match source {
        Source::Events(name) => format!("{} {name}", either("did", "did not do")),
        Source::OrdersPlaced => either("placed an order", "did not place an order"),
        Source::OrdersReturned => either("returned an order", "did not return an order"),
        Source::Lines => either("bought", "did not buy"),
        Source::Messages { campaign, step: None } => format!("received {campaign}"),
        Source::Messages { campaign, step: Some(step) } => format!("received {campaign}/{step}"),
        Source::Clicks { campaign, step: None } => format!("clicked in {campaign}"),
        Source::Clicks { campaign, step: Some(step) } => format!("clicked in {campaign}/{step}"),
        Source::Consent { topic } => format!("consents to {topic}"),
    }
}

fn with(tests: &[PropertyTest], settings: &Settings) -> String {
    let mut out = String::new();
    for (n, test) in tests.iter().enumerate() {
        let (name, kind) = property(&test.property);
        let word = if n == 0 { "with" } else { "and" };
        out.push_str(&format!(" {word} {name}{}", checks(&test.checks, kind, "", settings)));
    }
    out
}

fn property(property: &Property) -> (String, Option<Kind>) {
    match property {
        Property::Column(column) => (column.name().to_owned(), column_kind(*column)),
        Property::Json(attribute) | Property::Product(attribute) => (attribute.name.clone(), None),
    }
}

fn rows(rows: &Rows, negated: bool, settings: &Settings) -> String {
    format!("{}{}", verb(&rows.source, negated), with(&rows.with, settings))
}

fn history(h: &History, settings: &Settings) -> String {
    let mut out = rows(&h.rows, h.negated, settings);
    for (measure, tests) in &h.measures {
        let (name, kind) = measure_words(measure);
        let compared = checks(tests, kind, "", settings);
        out.push_str(&match measure {
            Measure::Sum(_) => format!(", {name}{compared}"),
            _ => format!(",{compared} {name}"),
        });
    }
    out + &window(&h.rows.window, settings)
}

fn funnel_step(step: &FunnelStep, settings: &Settings) -> String {
    let within = step.within_after.map_or(String::new(), |s| format!(" within {}", span(s)));
    format!("{}{within}{}", rows(&step.rows, step.negated, settings), window(&step.rows.window, settings))
}

fn measure_words(measure: &Measure) -> (String, Option<Kind>) {
    match measure {
        Measure::Times => ("times".to_owned(), Some(Kind::Number)),
        Measure::Orders => ("orders".to_owned(), Some(Kind::Number)),
        Measure::Sum(of) => {
            let (name, kind) = property(of);
            (format!("{name} in all"), kind)
        }
        Measure::Distinct(of) => (format!("different values of {}", property(of).0), Some(Kind::Number)),
    }
}

fn column_kind(column: Column) -> Option<Kind> {
    Some(match column {
        Column::Total | Column::Amount | Column::ProductPrice => Kind::Money,
        Column::Quantity => Kind::Number,
        Column::Score => Kind::Real,
        Column::Currency | Column::Status | Column::Sku | Column::Category | Column::ProductName => Kind::Text,
    })
}

fn window(w: &Window, settings: &Settings) -> String {
    let mut out = match (w.in_last, w.more_than_ago) {
        (None, None) => String::new(),
        (Some(last), None) => format!(" in the last {}", span(last)),
        (None, Some(ago)) => format!(" more than {} ago", span(ago)),
        (Some(last), Some(ago)) => format!(" between {} and {} ago", span(last), span(ago)),
    };
    if let Some((from, until)) = w.between {
        out.push_str(&format!(" from {} to before {}", instant(from, settings), instant(until, settings)));
    }
    match w.since {
        Some(Since::At(at)) => out.push_str(&format!(" since {}", instant(at, settings))),
        Some(Since::Field(field)) => out.push_str(&format!(" since {}", field.meaning)),
        Some(Since::Entry) => out.push_str(" since they entered"),
        None => {}
    }
    if let Some(DaysAfter { field, from, to }) = w.days_after {
        out.push_str(&format!(" from day {from} to day {to} after {}", field.meaning));
    }
    if !w.weekdays.is_empty() {
        out.push_str(&format!(" on {}", or(w.weekdays.iter().map(|d| weekday_name(*d).to_owned()))));
    }
    out
}

/// The windows of a rule and of what it refers to, with their instants; sorted, each once.
pub fn windows(rule: &Rule, library: &Library, moment: &Moment) -> Vec<String> {
    let mut out = Vec::new();
    for leaf in rule.leaves() {
        out.extend(leaf.windows().into_iter().flat_map(|(_, window)| resolved(window, moment)));
        if let Leaf::InSegment(references) = leaf {
            let rules = references.iter().filter_map(|r| library.get(&r.name));
            out.extend(rules.flat_map(|s| windows(&s.rule, library, moment)));
        }
    }
    out.sort();
    out.dedup();
    out
}

/// The limits of a window as instants, one line each: "in_last 30d: from 2026-10-26T00:00:00+01:00".
fn resolved(w: &Window, moment: &Moment) -> Vec<String> {
    let at = |at: Millis| clock::rfc3339(at, &moment.zone);
    let mut out = Vec::new();
    out.extend(w.in_last.map(|s| format!("in_last {s}: from {}", at(s.before(moment.as_of, &moment.zone)))));
    out.extend(
        w.more_than_ago.map(|s| format!("more_than_ago {s}: before {}", at(s.before(moment.as_of, &moment.zone)))),
    );
    out.extend(w.between.map(|(from, until)| format!("between: from {} to before {}", at(from), at(until))));
    if let Some(Since::At(from)) = w.since {
        out.push(format!("since: from {}", at(from)));
    }
    out
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
                let words = operands.iter().map(|o| match o {
                    Operand::Number(n) => number(*n, kind, settings),
                    Operand::Text(t) => t.clone(),
                    Operand::Flag(b) => b.to_string(),
                });
                format!("{is} {}", or(words))
            }
            Check::Field { op, field, factor, plus } => {
                format!(" {} {}", op_words(*op), scaled(field, *factor, *plus, settings))
            }
            Check::StartsWith(text) => format!(" beginning with {text}"),
            Check::Contains(text) => format!(" containing {text}"),
            Check::Matches(Pattern(pattern)) => format!(" like {pattern}"),
            Check::Has(texts) => format!(" holding {}", or(texts.iter().cloned())),
            Check::Date(op, date) => format!(" {} {date}", date_words(*op)),
            Check::Calendar(calendar) => calendar_words(calendar),
        })
        .collect();
    words.join(" and")
}

/// "1.5 × the usual days between orders + 3".
fn scaled(field: &Field, factor: f64, plus: f64, settings: &Settings) -> String {
    let mut out = field.meaning.to_owned();
    if factor != 1.0 {
        out = format!("{} × {out}", plain(factor));
    }
    if plus != 0.0 {
        let sign = if plus < 0.0 { '-' } else { '+' };
        let shift = match field.kind {
            Kind::Instant => span(Span::Exact(plus.abs() as i64)),
            Kind::Money => money::readable(plus.abs() as i64, &settings.currency),
            _ => plain(plus.abs()),
        };
        out.push_str(&format!(" {sign} {shift}"));
    }
    out
}

fn date_words(op: Op) -> &'static str {
    match op {
        Op::Gte => "on or after",
        Op::Gt => "after",
        Op::Lte => "on or before",
        Op::Lt => "before",
    }
}

fn calendar_words(calendar: &Calendar) -> String {
    match calendar {
        Calendar::Weekday(days) => format!(" on a {}", or(days.iter().map(|d| weekday_name(*d).to_owned()))),
        Calendar::DayOfMonth(days) => format!(" on day {} of a month", or(days.iter().map(i64::to_string))),
        Calendar::Anniversary { before: 0, after: 0 } => " with its anniversary today".to_owned(),
        Calendar::Anniversary { before, after } => {
            let side = |days: i64, word: &str| (days > 0).then(|| format!("the {word} {}", span(Span::Days(days))));
            let sides: Vec<String> = side(*before, "last").into_iter().chain(side(*after, "next")).collect();
            format!(" with its anniversary in {}", sides.join(" or "))
        }
    }
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
        (Datum::List(list), _) => list.join(", "),
    }
}

/// An instant in the project's zone.
pub(super) fn instant(at: Millis, settings: &Settings) -> String {
    clock::readable(at, &settings.time_zone)
}

/// What a measure came to.
pub(super) fn measured(measure: &Measure, value: Option<&Datum>, settings: &Settings) -> String {
    let (name, kind) = measure_words(measure);
    match (measure, value) {
        (_, None) => format!("{name}: none"),
        (Measure::Times, Some(Datum::Int(1))) => "once".to_owned(),
        (Measure::Times, Some(Datum::Int(n))) => format!("{} times", money::grouped(*n)),
        (_, Some(value)) => format!("{name}: {}", datum(value, kind, settings)),
    }
}

/// A number without needless decimals.
fn plain(n: f64) -> String {
    let rounded = (n * 100.0).round() / 100.0;
    format!("{rounded}")
}

fn or(words: impl Iterator<Item = String>) -> String {
    let mut words: Vec<String> = words.collect();
    if words.len() > LISTED_MAX {
        let others = words.len() - LISTED_MAX + 1;
        words.truncate(LISTED_MAX - 1);
        words.push(format!("one of {others} others"));
    }
    match words.as_slice() {
        [first @ .., last] if !first.is_empty() => format!("{} or {last}", first.join(", ")),
        words => words.concat(),
    }
}
