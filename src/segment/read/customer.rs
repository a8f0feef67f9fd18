//! Leaves about what is known of a customer: `customer`, `score`, `tier`, with percentiles and bands.

use super::super::check::{CHECK_KEYS, checks};
use super::super::rule::{BANDS, Column, Leaf, Measure, Op, Property, Stretch, Tier, What, Window};
use super::super::ty::Ty;
use super::history::json_property;
use super::window::window;
use crate::problem::{Place, Problems, nearest};
use crate::profile::fields::{FIELDS, Kind, SCORE_PREFIX, SCORES, field, score as score_of};
use crate::settings::{LoyaltyBy, Settings};
use crate::yaml::{MapReader, Node, Shape};

/// The prefix that says: a column of the shop's own, whatever it is called.
const ATTRIBUTE: &str = "attribute.";

pub(super) fn customer(m: &mut MapReader, settings: &Settings, problems: &mut Problems) -> Option<Leaf> {
    let place = m.node("customer").map_or_else(|| m.place.clone(), |n| n.place.clone());
    let name = m.require::<String>("customer", problems)?;
    let Some((what, ty)) = what(&name, &place, settings, problems) else {
        m.all(); // what stands beside an unknown name cannot be judged
        return None;
    };
    compared(m, &name, &place, what, &ty, settings, problems)
}

pub(super) fn score(m: &mut MapReader, settings: &Settings, problems: &mut Problems) -> Option<Leaf> {
    let place = m.node("score").map_or_else(|| m.place.clone(), |n| n.place.clone());
    let name = m.require::<String>("score", problems)?;
    let Some(known) = score_of(&name) else {
        problems
            .error("unknown-score", &place, format!("there is no score `{name}`"))
            .did_you_mean(&name, SCORES.iter().map(|s| s.name));
        m.all();
        return None;
    };
    compared(m, &name, &place, What::Field(known), &Ty::of(known.kind), settings, problems)
}

/// The comparisons, window, percentile or band beside a field.
fn compared(
    m: &mut MapReader,
    name: &str,
    place: &Place,
    what: What,
    ty: &Ty,
    settings: &Settings,
    problems: &mut Problems,
) -> Option<Leaf> {
    for (key, read) in [("percentile", percentile as Reader), ("band", band as Reader)] {
        let Some(node) = m.node(key) else { continue };
        let any_of = read(node, problems)?;
        return match &what {
            What::Field(field) if field.kind.is_numeric() => Some(Leaf::Percentile { field, any_of }),
            _ => {
                problems
                    .error("wrong-type", &node.place, format!("`{key}` ranks numbers; `{name}` is {}", ty.described()))
                    .hint("known here: every field and score that is a number, such as revenue or ltv.12m");
                None
            }
        };
    }
    let asks_time = matches!(ty, Ty::Instant | Ty::Date);
    let windowed = ["in_last", "more_than_ago", "since", "days_after"].iter().any(|k| m.node(k).is_some())
        || (*ty == Ty::Instant && m.node("between").is_some());
    if windowed && !asks_time {
        let near = format!("{name}_at");
        let problem = problems.error(
            "wrong-type",
            place,
            format!("windows of time ask for an instant or a date; `{name}` is {}", ty.described()),
        );
        problem.did_you_mean(&near, FIELDS.iter().filter(|f| f.kind == Kind::Instant).map(|f| f.name));
        return None;
    }
    let window = if asks_time { self_window(m, ty, settings, problems) } else { Window::default() };
    let has_checks = CHECK_KEYS.iter().any(|k| m.node(k).is_some() && !(*ty == Ty::Instant && *k == "between"));
    let checks = if has_checks || !window.is_limited() {
        checks(m, &format!("`{name}`"), ty, settings, problems)?
    } else {
        Vec::new()
    };
    Some(Leaf::Customer { what, checks, window })
}

type Reader = fn(&Node, &mut Problems) -> Option<Vec<Stretch>>;

/// The window of a value that is itself an instant or a date.
fn self_window(m: &mut MapReader, ty: &Ty, settings: &Settings, problems: &mut Problems) -> Window {
    if *ty == Ty::Instant {
        return window(m, settings, problems);
    }
    // A date has no hour: only lengths in days make sense, and `between` compares dates.
    let place = m.place.clone();
    let window = Window {
        in_last: m.get("in_last", problems),
        more_than_ago: m.get("more_than_ago", problems),
        ..Window::default()
    };
    for span in [window.in_last, window.more_than_ago].into_iter().flatten() {
        if let crate::yaml::Span::Exact(_) = span {
            problems.error(
                "wrong-type",
                &place,
                format!("a date has no time of day: {span} is no whole number of days"),
            );
        }
    }
    window
}

/// The field or attribute of a name. A near miss of a field is a problem, because as an attribute it would match nobody in silence.
fn what(name: &str, place: &Place, settings: &Settings, problems: &mut Problems) -> Option<(What, Ty)> {
    if let Some(known) = field(name) {
        return Some((What::Field(known), Ty::of(known.kind)));
    }
    if let Some(score) = score_of(name.strip_prefix(SCORE_PREFIX).unwrap_or(name)) {
        problems
            .error("unknown-field", place, format!("`{name}` is predicted by a model"))
            .hint(format!("score: {}", score.name));
        return None;
    }
    if matches!(name, "rfm" | "lifecycle" | "consent" | "tier") {
        problems.error("unknown-field", place, format!("`{name}` is a leaf of its own")).hint(format!("{name}: [ … ]"));
        return None;
    }
    let own = name.strip_prefix(ATTRIBUTE).unwrap_or(name);
    let declared = settings.contract.as_ref().map(|c| &c.customer);
    let fields = || FIELDS.iter().map(|f| f.name);
    match declared {
        Some(customer) if !customer.contains_key(own) => {
            let known = fields().chain(customer.keys().map(String::as_str));
            problems
                .error(
                    "unknown-field",
                    place,
                    format!("`{own}` is neither a field nor a column that the contract declares"),
                )
                .did_you_mean(own, known.collect::<Vec<_>>());
            return None;
        }
        None if own == name => {
            if let Some(near) = nearest(name, fields()) {
                problems
                    .error("unknown-field", place, format!("`{name}` is not a field of a customer"))
                    .hint(format!("did you mean `{near}`? A column of your own is written `{ATTRIBUTE}{name}`"));
                return None;
            }
        }
        _ => {}
    }
    let (attribute, ty) = json_property(own, declared.and_then(|c| c.get(own)), place, problems)?;
    Some((What::Attribute(attribute), ty))
}

/// `{ gte: 70 }`, `{ gt: 20, lte: 40 }`.
fn percentile(node: &Node, problems: &mut Problems) -> Option<Vec<Stretch>> {
    let mut p = node.map("`percentile`", problems)?;
    let mut bounds = Vec::new();
    for (key, op) in [("gte", Op::Gte), ("gt", Op::Gt), ("lte", Op::Lte), ("lt", Op::Lt)] {
        let Some(node) = p.node(key) else { continue };
        let value = node.read::<f64>(&format!("`{key}`"), problems)?;
        if !(0.0..=100.0).contains(&value) {
            problems.error("out-of-range", &node.place, format!("a percentile is 0 to 100, not {value}"));
        }
        bounds.push((op, value));
    }
    p.finish(problems);
    if bounds.is_empty() {
        problems.error("missing-key", &node.place, "`percentile` needs `gte` or `lte`").hint("percentile: { gte: 70 }");
        return None;
    }
    let of = |ops: [Op; 2]| bounds.iter().filter(move |b| ops.contains(&b.0)).map(|b| b.1);
    let (low, high) = (of([Op::Gte, Op::Gt]).fold(0.0, f64::max), of([Op::Lte, Op::Lt]).fold(100.0, f64::min));
    if low > high {
        problems.error("impossible", &node.place, "nobody lies above the one percentile and below the other");
        return None;
    }
    Some(vec![Stretch(bounds)])
}

/// `top`, or a list: fifths of all buyers.
fn band(node: &Node, problems: &mut Problems) -> Option<Vec<Stretch>> {
    let nodes: Vec<&Node> = if let Shape::List(list) = &node.shape { list.iter().collect() } else { vec![node] };
    if nodes.is_empty() {
        problems.error("empty-list", &node.place, "`band` names nothing");
        return None;
    }
    let found: Vec<Option<Stretch>> = nodes
        .into_iter()
        .map(|n| {
            let word = n.read::<String>("`band`", problems)?;
            let Some((_, low, high)) = BANDS.into_iter().find(|(w, ..)| *w == word) else {
                problems
                    .error("unknown-word", &n.place, format!("there is no band `{word}`"))
                    .did_you_mean(&word, BANDS.map(|b| b.0));
                return None;
            };
            let above = (low > 0.0).then_some((Op::Gt, low));
            let below = (high < 100.0).then_some((Op::Lte, high));
            Some(Stretch(above.into_iter().chain(below).collect()))
        })
        .collect();
    found.into_iter().collect()
}

/// Loyalty tiers, as the settings define them.
pub(super) fn tier(m: &mut MapReader, settings: &Settings, problems: &mut Problems) -> Option<Leaf> {
    let Some(loyalty) = &settings.loyalty else {
        let place = m.node("tier").map_or_else(|| m.place.clone(), |n| n.place.clone());
        problems
            .error("no-tiers", &place, "okaeri.yaml defines no loyalty tiers")
            .hint("loyalty: { by: spend, in_last: 1y, tiers: { silver: 200, gold: 500 } }");
        return None;
    };
    let names: Vec<&str> = loyalty.tiers.iter().map(|t| t.0.as_str()).collect();
    let chosen = tier_words(m, &names, problems)?;
    let stretch = |at: &usize| (loyalty.tiers[*at].1, loyalty.tiers.get(at + 1).map(|t| t.1));
    Some(Leaf::Tier(Tier {
        names: chosen.iter().map(|at| names[*at].to_owned()).collect(),
        measure: match loyalty.by {
            LoyaltyBy::Spend => Measure::Sum(Property::Column(Column::Total)),
            LoyaltyBy::Orders => Measure::Times,
        },
        window: Window { in_last: loyalty.in_last, ..Window::default() },
        stretches: chosen.iter().map(stretch).collect(),
    }))
}

/// The positions of the tiers that are asked for.
fn tier_words(m: &mut MapReader, names: &[&str], problems: &mut Problems) -> Option<Vec<usize>> {
    let node = m.node("tier")?;
    let asked = node.read_list::<String>("`tier`", problems)?;
    let found: Vec<Option<usize>> = asked
        .iter()
        .map(|word| {
            let at = names.iter().position(|name| name == word);
            if at.is_none() {
                problems
                    .error("unknown-word", &node.place, format!("there is no tier `{word}`"))
                    .did_you_mean(word, names.iter().copied());
            }
            at
        })
        .collect();
    found.into_iter().collect()
}
