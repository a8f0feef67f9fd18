//! Warnings about rules that work and rarely mean what they say: negations that hold for strangers, conditions that always or never hold,
//! two segments with one rule, segments that nobody uses, campaigns that do not exist.

use super::explain;
use super::given::Given;
use super::library::{Library, Segment};
use super::rule::{Check, History, Leaf, Measure, Number, Op, Operand, Rule, Source, What};
use super::words;
use crate::clock::Millis;
use crate::problem::{Problems, nearest};
use crate::settings::Settings;

/// The instant rules are looked at; which one does not matter to somebody of whom nothing is known.
const AS_OF: Millis = 1_780_000_000_000;

/// Lint one rule by itself.
pub(super) fn segment(segment: &Segment, library: &Library, settings: &Settings, problems: &mut Problems) {
    let name = &segment.name;
    match constant(&segment.rule) {
        Some(false) => {
            let part = culprit(&segment.rule, false, settings);
            problems
                .warning("always-false", &segment.rule_place, format!("nobody can ever be in `{name}`: {part}"))
                .hint(
                    "a rule that cannot hold is a mistake; `status: draft` on the campaign sends nothing just as well",
                );
        }
        Some(true) => {
            let part = culprit(&segment.rule, true, settings);
            problems
                .warning("always-true", &segment.rule_place, format!("everybody is in `{name}`: {part}"))
                .hint("for everybody write `audience: everyone` in the campaign");
        }
        None => {
            for part in constant_parts(&segment.rule, settings) {
                problems.warning("always-true-or-false", &segment.rule_place, format!("in `{name}`, {part}"));
            }
            strangers(segment, library, settings, problems);
        }
    }
}

/// A negation that also holds for people of whom nothing is known.
fn strangers(segment: &Segment, library: &Library, settings: &Settings, problems: &mut Problems) {
    if !negates(&segment.rule) {
        return;
    }
    let Ok(compiled) = library.compile(&[&segment.name], AS_OF, settings) else { return };
    let stranger = Given::default().person;
    let proof = explain::explain(&compiled.unprepared(), &segment.name, &stranger, settings);
    if proof.is_some_and(|p| p.holds) {
        let known_for = window_of_negation(&segment.rule).map_or("with no history at all".to_owned(), |w| {
            format!("known for less than {w}, and those with no history at all,")
        });
        problems
            .warning(
                "unguarded-negation",
                &segment.rule_place,
                format!("`{}` says only what people did not do: those {known_for} match too", segment.name),
            )
            .hint("say beside it, under `all:`, whom you mean, for example customer: orders, gte: 1");
    }
}

fn negates(rule: &Rule) -> bool {
    match rule {
        Rule::All(rules) | Rule::Any(rules) => rules.iter().any(negates),
        Rule::None(_) => true,
        Rule::Leaf(Leaf::History(h)) => h.negated,
        Rule::Leaf(_) => false,
    }
}

fn window_of_negation(rule: &Rule) -> Option<crate::yaml::Span> {
    match rule {
        Rule::All(rules) | Rule::Any(rules) | Rule::None(rules) => rules.iter().find_map(window_of_negation),
        Rule::Leaf(Leaf::History(h)) if h.negated => h.rows.window.in_last,
        Rule::Leaf(_) => None,
    }
}

/// Whether a rule is true for everybody, or for nobody, whatever the data.
fn constant(rule: &Rule) -> Option<bool> {
    match rule {
        Rule::All(rules) => {
            if contradicts(rules) || rules.iter().any(|r| constant(r) == Some(false)) {
                return Some(false);
            }
            rules.iter().all(|r| constant(r) == Some(true)).then_some(true)
        }
        Rule::Any(rules) => any(rules),
        Rule::None(rules) => any(rules).map(|holds| !holds),
        Rule::Leaf(leaf) => constant_leaf(leaf),
    }
}

fn any(rules: &[Rule]) -> Option<bool> {
    let complements = rules.iter().any(|r| matches!(r, Rule::None(not) if not.len() == 1 && rules.contains(&not[0])));
    if complements || rules.iter().any(|r| constant(r) == Some(true)) {
        return Some(true);
    }
    rules.iter().all(|r| constant(r) == Some(false)).then_some(false)
}

fn constant_leaf(leaf: &Leaf) -> Option<bool> {
    match leaf {
        Leaf::History(History { negated, measures, .. }) => {
            let counts = |m: &Measure| !matches!(m, Measure::Sum(_));
            let checks = measures.iter().filter(|(m, _)| counts(m)).flat_map(|(_, checks)| checks);
            let decided: Vec<Option<bool>> = checks.map(|c| bounded(c, 0.0, f64::INFINITY)).collect();
            let only_counts = measures.iter().all(|(m, _)| counts(m));
            let holds = if decided.contains(&Some(false)) {
                Some(false)
            } else {
                (only_counts && !decided.is_empty() && decided.iter().all(|d| *d == Some(true))).then_some(true)
            };
            holds.map(|h| h != *negated)
        }
        Leaf::Customer { what: What::Field(field), checks, window } if !window.is_limited() => {
            // The bounds of a field, and whether it may be missing.
            let (low, high, is_always_known) = match field.sql {
                "p.orders" | "p.purchase_days" | "p.open_tickets" => (0.0, f64::INFINITY, true),
                "p.frequency" | "p.recency_days" | "p.days_since_last_order" | "p.days_since_first_order" => {
                    (if field.sql.contains("since") { f64::NEG_INFINITY } else { 0.0 }, f64::INFINITY, false)
                }
                "p.r" | "p.f" | "p.m" => (1.0, 5.0, false),
                "sc.alive" | "sc.churn_90d" => (0.0, 1.0, false),
                _ => return None,
            };
            let decided: Vec<Option<bool>> = checks.iter().map(|c| bounded(c, low, high)).collect();
            if decided.contains(&Some(false)) {
                return Some(false);
            }
            (is_always_known && !decided.is_empty() && decided.iter().all(|d| *d == Some(true))).then_some(true)
        }
        _ => None,
    }
}

/// Whether a comparison is true, or false, for every number from `low` to `high`.
fn bounded(check: &Check, low: f64, high: f64) -> Option<bool> {
    match check {
        Check::Compare(op, n) => {
            let n = n.as_f64();
            let holds = |x: f64| x.partial_cmp(&n).is_some_and(|o| op.holds(o));
            match (holds(low), holds(high)) {
                (true, true) => Some(true),
                (false, false) => Some(false),
                _ => None,
            }
        }
        Check::In(operands) => {
            let outside = |o: &Operand| matches!(o, Operand::Number(n) if !(low..=high).contains(&n.as_f64()));
            operands.iter().all(outside).then_some(false)
        }
        _ => None,
    }
}

/// Whether two rules that must both hold exclude each other.
fn contradicts(rules: &[Rule]) -> bool {
    let mut flat: Vec<&Rule> = Vec::new();
    let mut open: Vec<&Rule> = rules.iter().collect();
    while let Some(rule) = open.pop() {
        match rule {
            Rule::All(inner) => open.extend(inner),
            rule => flat.push(rule),
        }
    }
    let opposite = |a: &Rule, b: &Rule| match (a, b) {
        (Rule::None(not), b) => not.contains(b),
        (Rule::Leaf(Leaf::History(a)), Rule::Leaf(Leaf::History(b))) => {
            a.negated != b.negated && a.rows == b.rows && a.measures == b.measures
        }
        (Rule::Leaf(Leaf::Lifecycle(a)), Rule::Leaf(Leaf::Lifecycle(b))) => !a.iter().any(|s| b.contains(s)),
        (Rule::Leaf(Leaf::Rfm(a)), Rule::Leaf(Leaf::Rfm(b))) => !a.iter().any(|s| b.contains(s)),
        (
            Rule::Leaf(Leaf::Customer { what: a, checks, .. }),
            Rule::Leaf(Leaf::Customer { what: b, checks: others, .. }),
        ) => a == b && exclude(checks, others),
        _ => false,
    };
    flat.iter().any(|a| flat.iter().any(|b| opposite(a, b)))
}

/// Whether no value passes both.
fn exclude(checks: &[Check], others: &[Check]) -> bool {
    let low = |checks: &[Check]| bound(checks, &[Op::Gte, Op::Gt], f64::max, f64::NEG_INFINITY);
    let high = |checks: &[Check]| bound(checks, &[Op::Lte, Op::Lt], f64::min, f64::INFINITY);
    let all = [checks, others].concat();
    let (low, high) = (low(&all), high(&all));
    let is_open =
        |op: Op, at: f64| all.iter().any(|c| matches!(c, Check::Compare(o, n) if *o == op && n.as_f64() == at));
    if low > high || (low == high && (is_open(Op::Gt, low) || is_open(Op::Lt, high))) {
        return true;
    }
    let values =
        |checks: &[Check]| checks.iter().find_map(|c| if let Check::In(v) = c { Some(v.clone()) } else { None });
    match (values(checks), values(others)) {
        (Some(a), Some(b)) => !a.iter().any(|v| b.contains(v)),
        (Some(one), None) | (None, Some(one)) => one.iter().all(
            |v| matches!(v, Operand::Number(Number::Int(_) | Number::Real(_)) if !(low..=high).contains(&number(v))),
        ),
        (None, None) => false,
    }
}

fn number(operand: &Operand) -> f64 {
    if let Operand::Number(n) = operand { n.as_f64() } else { f64::NAN }
}

fn bound(checks: &[Check], ops: &[Op], tighter: fn(f64, f64) -> f64, none: f64) -> f64 {
    let of = |c: &Check| if let Check::Compare(op, n) = c { ops.contains(op).then(|| n.as_f64()) } else { None };
    checks.iter().filter_map(of).fold(none, tighter)
}

/// The part that decides a constant rule, in words.
fn culprit(rule: &Rule, holds: bool, settings: &Settings) -> String {
    let found = match rule {
        Rule::All(rules) | Rule::Any(rules) => rules.iter().find(|r| constant(r) == Some(holds)),
        _ => None,
    };
    match found {
        Some(part) => culprit(part, holds, settings),
        None if matches!(rule, Rule::All(_)) && !holds => "its conditions exclude each other".to_owned(),
        None => format!("`{}` {} holds", words::sentence(rule, settings), if holds { "always" } else { "never" }),
    }
}

/// Parts that decide nothing, in words.
fn constant_parts(rule: &Rule, settings: &Settings) -> Vec<String> {
    match rule {
        Rule::All(rules) | Rule::Any(rules) | Rule::None(rules) => rules
            .iter()
            .flat_map(|r| match constant(r) {
                Some(holds) => vec![culprit(r, holds, settings)],
                None => constant_parts(r, settings),
            })
            .collect(),
        Rule::Leaf(_) => Vec::new(),
    }
}

/// Two segments with the same rule.
pub(super) fn alike(library: &Library, problems: &mut Problems) {
    let mut seen: Vec<(String, &Segment)> = Vec::new();
    for segment in library.iter() {
        let text = format!("{} {:?}", segment.rule.canonical(), segment.pick);
        match seen.iter().find(|(t, _)| *t == text) {
            Some((_, first)) => {
                problems
                    .warning(
                        "same-rule",
                        &segment.place,
                        format!("`{}` has the same rule as `{}`", segment.name, first.name),
                    )
                    .hint(format!("keep one of them, or write: where: {{ in_segment: {} }}", first.name));
            }
            None => seen.push((text, segment)),
        }
    }
}

/// How segments are used, and which campaigns they speak of.
/// `campaigns` are their names now, each with the name that the ledger knows it by.
pub(super) fn uses(library: &Library, used: &[&str], campaigns: &[(&str, &str)], problems: &mut Problems) {
    for segment in library.iter() {
        let is_named = library.iter().any(|s| {
            let tested = s.tests.sets.iter().flat_map(|t| t.expectation.references());
            s.rule.references().chain(tested).any(|r| r.name == segment.name)
        });
        if !used.contains(&segment.name.as_str()) && !is_named && !segment.watched {
            problems
                .warning(
                    "unused-segment",
                    &segment.place,
                    format!("no campaign and no other segment uses `{}`", segment.name),
                )
                .hint("remove it, or say `watched: true` when it is there to be looked at");
        }
        for leaf in segment.rule.leaves() {
            for (source, _) in leaf.windows() {
                let Some(Source::Messages { campaign, .. } | Source::Clicks { campaign, .. }) = source else {
                    continue;
                };
                if campaigns.iter().any(|(_, key)| key == campaign) {
                    continue;
                }
                if let Some((_, key)) = campaigns.iter().find(|(name, _)| name == campaign) {
                    problems
                        .warning(
                            "renamed-campaign",
                            &segment.rule_place,
                            format!("`{}` asks about mail of `{campaign}`, which was sent as `{key}`", segment.name),
                        )
                        .hint(format!("mail is kept under the campaign's first name: write `{key}`"));
                    continue;
                }
                let problem = problems.warning(
                    "unknown-campaign",
                    &segment.rule_place,
                    format!("`{}` asks about the campaign `{campaign}`, which is not in campaigns/", segment.name),
                );
                match nearest(campaign, campaigns.iter().map(|(_, key)| *key)) {
                    Some(near) => problem.hint(format!("did you mean `{near}`?")),
                    None => problem.hint("a campaign of the past may stay named here as long as its messages matter"),
                };
            }
        }
    }
}
