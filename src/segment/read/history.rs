//! Leaves about rows over time: `did`, `bought`, `last`, `funnel`, `consent`, `received`, `clicked`, and their windows.

use super::super::check::{checks, value_checks};
use super::super::rule::{
    Attribute, Check, Column, FunnelStep, History, Leaf, Measure, Property, PropertyTest, Rows, Source, Window,
};
use super::super::ty::Ty;
use super::window::row_window;
use super::{json_name, rules_of};
use crate::problem::{Place, Problems};
use crate::settings::{PropertyType, Settings};
use crate::yaml::{MapReader, Node, Shape, Span};

/// The most steps of a funnel.
const FUNNEL_STEPS_MAX: usize = 8;
/// Built-in names beside those of imported events.
pub(in crate::segment) const ORDERS: [&str; 2] = ["order.placed", "order.returned"];
/// Columns of events, which every event may have.
const EVENT_COLUMNS: [&str; 3] = ["sku", "category", "amount"];

pub(super) fn did(
    m: &mut MapReader,
    key: &'static str,
    settings: &Settings,
    problems: &mut Problems,
) -> Option<History> {
    let Some(source) = source(m, key, settings, problems) else {
        m.all(); // what stands beside an unknown event cannot be judged
        return None;
    };
    let with = with(m, &source, settings, problems);
    let mut measures = Vec::new();
    if let Some(node) = m.node("times") {
        measures.extend(value_checks(node, "times", &Ty::Number, settings, problems).map(|c| (Measure::Times, c)));
    }
    measures.extend(measured(m, &source, settings, problems));
    let rows = Rows { source, with, window: row_window(m, settings, problems) };
    Some(History { rows, negated: key == "did_not", measures })
}

/// The source of the event that a key names.
fn source(m: &mut MapReader, key: &'static str, settings: &Settings, problems: &mut Problems) -> Option<Source> {
    let place = m.node(key).map_or_else(|| m.place.clone(), |n| n.place.clone());
    let name = m.require::<String>(key, problems)?;
    source_of(&name, &place, settings, problems)
}

/// The source that an event's name means. With a contract the name must be one of its events.
pub(in crate::segment) fn source_of(
    name: &str,
    place: &Place,
    settings: &Settings,
    problems: &mut Problems,
) -> Option<Source> {
    match name {
        "order.placed" => return Some(Source::OrdersPlaced),
        "order.returned" => return Some(Source::OrdersReturned),
        _ => {}
    }
    if let Some(contract) = &settings.contract
        && !contract.events.contains_key(name)
    {
        let known = contract.events.keys().map(String::as_str).chain(ORDERS);
        problems
            .error("unknown-event", place, format!("the contract has no event `{name}`"))
            .did_you_mean(name, known.collect::<Vec<_>>());
        return None;
    }
    Some(Source::Events(name.to_owned()))
}

fn with(m: &mut MapReader, source: &Source, settings: &Settings, problems: &mut Problems) -> Vec<PropertyTest> {
    m.node("with").map(|node| tests_of(node, source, settings, problems)).unwrap_or_default()
}

/// What a mapping of properties asks of the rows of a source.
pub(in crate::segment) fn tests_of(
    node: &Node,
    source: &Source,
    settings: &Settings,
    problems: &mut Problems,
) -> Vec<PropertyTest> {
    let mut out = Vec::new();
    if let Some(mut w) = node.map("`with`", problems) {
        for pair in w.all() {
            let found = property(source, &pair.key, &pair.key_place, settings, problems);
            out.extend(found.and_then(|(property, ty)| {
                let checks = value_checks(&pair.value, &pair.key, &ty, settings, problems)?;
                Some(PropertyTest { property, checks })
            }));
        }
    }
    out
}

/// `sum: { of: …, gte: … }` and `distinct: { of: …, gte: … }`.
fn measured(
    m: &mut MapReader,
    source: &Source,
    settings: &Settings,
    problems: &mut Problems,
) -> Vec<(Measure, Vec<Check>)> {
    let mut out = Vec::new();
    for key in ["sum", "distinct"] {
        let Some(mut s) = m.map(key, if key == "sum" { "`sum`" } else { "`distinct`" }, problems) else { continue };
        let found = of(&mut s, key, source, settings, problems);
        let ty = match (&found, key) {
            (Some((_, ty)), "sum") => ty.clone(),
            _ => Ty::Number,
        };
        let compared = checks(&mut s, &format!("`{key}`"), &ty, settings, problems);
        s.finish(problems);
        let measure = if key == "sum" { Measure::Sum } else { Measure::Distinct };
        out.extend(found.zip(compared).map(|((property, _), checks)| (measure(property), checks)));
    }
    out
}

/// The property that a measure is of; a sum needs a number.
fn of(
    s: &mut MapReader,
    key: &str,
    source: &Source,
    settings: &Settings,
    problems: &mut Problems,
) -> Option<(Property, Ty)> {
    let Some(node) = s.node("of") else {
        let example = if key == "sum" { "sum: { of: total, gte: 200 }" } else { "distinct: { of: sku, gte: 2 }" };
        problems.error("missing-key", &s.place, format!("`{key}` needs `of`: the property it is of")).hint(example);
        return None;
    };
    let word = node.read::<String>("`of`", problems)?;
    let (property, ty) = property(source, &word, &node.place, settings, problems)?;
    let adds_up = matches!(ty, Ty::Number | Ty::Real | Ty::Money | Ty::JsonNumber | Ty::Open);
    if key == "sum" && !adds_up {
        problems
            .error("wrong-type", &node.place, format!("`{word}` cannot be added up: it is {}", ty.described()))
            .hint("count its different values: distinct: { of: …, gte: 2 }");
        return None;
    }
    // What nobody declared is added up as the number it reads as.
    let ty = if ty == Ty::Open { Ty::JsonNumber } else { ty };
    Some((property, ty))
}

/// Where a property of a source's rows is kept, and its type.
fn property(
    source: &Source,
    name: &str,
    place: &Place,
    settings: &Settings,
    problems: &mut Problems,
) -> Option<(Property, Ty)> {
    let column = |c, ty| Some((Property::Column(c), ty));
    match source {
        Source::Events(event) => event_property(event, name, place, settings, problems),
        Source::Lines => match name {
            "sku" => column(Column::Sku, Ty::Text),
            "category" => column(Column::Category, Ty::Text),
            "quantity" => column(Column::Quantity, Ty::Number),
            "amount" => column(Column::Amount, Ty::Money),
            "name" => column(Column::ProductName, Ty::Text),
            "price" => column(Column::ProductPrice, Ty::Money),
            _ => product_property(name, place, settings, problems),
        },
        _ => match name {
            "total" => column(Column::Total, Ty::Money),
            "currency" => column(Column::Currency, Ty::Text),
            "status" => column(Column::Status, Ty::Text),
            _ => {
                problems
                    .error("unknown-property", place, format!("an order has no property `{name}`"))
                    .did_you_mean(name, ["total", "currency", "status"]);
                None
            }
        },
    }
}

fn event_property(
    event: &str,
    name: &str,
    place: &Place,
    settings: &Settings,
    problems: &mut Problems,
) -> Option<(Property, Ty)> {
    let column = |c, ty| Some((Property::Column(c), ty));
    let rated = crate::profile::is_rating(event);
    if let Some(declared) = settings.contract.as_ref().and_then(|c| c.events.get(event)) {
        let known = declared.contains_key(name) || (rated && name == "rating" && declared.contains_key("score"));
        if !known {
            let mut names: Vec<&str> = declared.keys().map(String::as_str).collect();
            names.sort_unstable();
            let problem =
                problems.error("unknown-property", place, format!("the contract gives `{event}` no property `{name}`"));
            problem.did_you_mean(name, names);
            return None;
        }
    }
    match name {
        "sku" => column(Column::Sku, Ty::Text),
        "category" => column(Column::Category, Ty::Text),
        "amount" => column(Column::Amount, Ty::Money),
        "score" | "rating" if rated => column(Column::Score, Ty::Real),
        _ => {
            let declared = settings.contract.as_ref().and_then(|c| c.events.get(event)?.get(name));
            if declared.is_none()
                && let Some(near) = near_column(name)
            {
                problems
                    .warning("near-property", place, format!("`{name}` is read as a property of your own"))
                    .hint(format!("did you mean `{near}`?"));
            }
            let (attribute, ty) = json_property(name, declared, place, problems)?;
            Some((Property::Json(attribute), ty))
        }
    }
}

/// A column that an undeclared name is one letter away from.
fn near_column(name: &str) -> Option<&'static str> {
    EVENT_COLUMNS.into_iter().find(|c| strsim::damerau_levenshtein(name, c) == 1)
}

fn product_property(name: &str, place: &Place, settings: &Settings, problems: &mut Problems) -> Option<(Property, Ty)> {
    let declared = settings.contract.as_ref().map(|c| &c.product);
    if let Some(product) = declared
        && !product.contains_key(name)
    {
        let known = ["category", "sku", "name", "price"].into_iter().chain(product.keys().map(String::as_str));
        problems
            .error("unknown-property", place, format!("the contract gives products no property `{name}`"))
            .did_you_mean(name, known.collect::<Vec<_>>());
        return None;
    }
    if declared.is_none()
        && let Some(near) = crate::problem::nearest(name, ["category", "sku", "price"])
    {
        problems
            .error("unknown-property", place, format!("`{name}` is not a property of what was bought"))
            .hint(format!("did you mean `{near}`?"));
        return None;
    }
    let (attribute, ty) = json_property(name, declared.and_then(|p| p.get(name)), place, problems)?;
    Some((Property::Product(attribute), ty))
}

/// A member of stored JSON, with the type it is declared to have.
pub(super) fn json_property(
    name: &str,
    declared: Option<&PropertyType>,
    place: &Place,
    problems: &mut Problems,
) -> Option<(Attribute, Ty)> {
    let ty = declared.map_or(Ty::Open, Ty::declared);
    let name = json_name(name, place, problems)?;
    Some((Attribute { name, is_date: ty == Ty::Date }, ty))
}

pub(super) fn bought(
    m: &mut MapReader,
    key: &'static str,
    settings: &Settings,
    problems: &mut Problems,
) -> Option<History> {
    let mut with = Vec::new();
    if let Some(mut b) = m.map(key, "what was bought", problems) {
        for pair in b.all() {
            let found = property(&Source::Lines, &pair.key, &pair.key_place, settings, problems);
            with.extend(found.and_then(|(property, ty)| {
                let checks = value_checks(&pair.value, &pair.key, &ty, settings, problems)?;
                Some(PropertyTest { property, checks })
            }));
        }
    }
    let mut measures = Vec::new();
    for (key, measure, ty) in [
        ("orders", Measure::Orders, Ty::Number),
        ("quantity", Measure::Sum(Property::Column(Column::Quantity)), Ty::Number),
        ("amount", Measure::Sum(Property::Column(Column::Amount)), Ty::Money),
    ] {
        let Some(node) = m.node(key) else { continue };
        measures.extend(value_checks(node, key, &ty, settings, problems).map(|c| (measure, c)));
    }
    measures.extend(measured(m, &Source::Lines, settings, problems));
    let window = row_window(m, settings, problems);
    Some(History { rows: Rows { source: Source::Lines, with, window }, negated: key == "bought_not", measures })
}

/// The latest such event or order.
pub(super) fn last(m: &mut MapReader, settings: &Settings, problems: &mut Problems) -> Option<Leaf> {
    let place = m.place.clone();
    let Some(source) = source(m, "last", settings, problems) else {
        m.all();
        return None;
    };
    let with = with(m, &source, settings, problems);
    if with.is_empty() && m.node("with").is_none() {
        problems
            .error("missing-key", &place, "`last` needs `with`: what the latest one is like")
            .hint("last: survey.nps with { score: { gte: 9 } }; to ask only when it was, use `did` with a window");
    }
    Some(Leaf::Last(Rows { source, with, window: row_window(m, settings, problems) }))
}

pub(super) fn funnel(m: &mut MapReader, settings: &Settings, problems: &mut Problems) -> Option<Leaf> {
    let place = m.node("funnel").map_or_else(|| m.place.clone(), |n| n.place.clone());
    let list = rules_of(m, "funnel", problems)?;
    if list.len() < 2 || list.len() > FUNNEL_STEPS_MAX {
        problems
            .error("bad-funnel", &place, format!("a funnel has 2 to {FUNNEL_STEPS_MAX} steps, not {}", list.len()))
            .hint("funnel: [{ did: cart.updated, in_last: 2d }, { did_not: order.placed, within_after: 4h }]");
        return None;
    }
    let steps: Vec<Option<FunnelStep>> =
        list.iter().enumerate().map(|(n, node)| funnel_step(n, node, settings, problems)).collect();
    steps.into_iter().collect::<Option<Vec<_>>>().map(Leaf::Funnel)
}

fn funnel_step(n: usize, node: &Node, settings: &Settings, problems: &mut Problems) -> Option<FunnelStep> {
    let mut m = node.map("a step of a funnel", problems)?;
    const KINDS: [&str; 4] = ["did", "did_not", "bought", "bought_not"];
    let Some(key) = KINDS.into_iter().find(|k| m.pair(k).is_some()) else {
        problems.error("unknown-leaf", &node.place, "a step of a funnel is one of did, did_not, bought, bought_not");
        return None;
    };
    let within_after = m.get::<Span>("within_after", problems);
    let history = match key {
        "did" | "did_not" => did(&mut m, key, settings, problems),
        _ => bought(&mut m, key, settings, problems),
    }?;
    m.finish(problems);
    if !history.measures.is_empty() {
        problems
            .error("bad-funnel", &node.place, "a step of a funnel is about one row: it is not counted or added up")
            .hint("put counts in a rule of their own beside the funnel, under `all:`");
    }
    if n == 0 && history.negated {
        problems.error("bad-funnel", &node.place, "a funnel begins with something that happened: did or bought");
    }
    if n == 0 && within_after.is_some() {
        problems.error("bad-funnel", &node.place, "`within_after` counts from the step before; the first has none");
    }
    if n > 0 && history.negated && within_after.is_none() {
        problems
            .error(
                "missing-key",
                &node.place,
                format!("`{key}` in a funnel needs `within_after`: how long to wait for it"),
            )
            .hint("within_after: 4h");
    }
    Some(FunnelStep { rows: history.rows, negated: history.negated, within_after })
}

pub(super) fn consent(m: &mut MapReader, settings: &Settings, problems: &mut Problems) -> Option<Leaf> {
    let place = m.node("consent").map_or_else(|| m.place.clone(), |n| n.place.clone());
    let topic = m.require::<String>("consent", problems)?;
    if !settings.has_topic(&topic) {
        problems
            .error("unknown-topic", &place, format!("`{topic}` is not among the project's topics"))
            .did_you_mean(&topic, settings.topics.iter().map(|t| t.name.as_str()));
    }
    let rows = Rows { source: Source::Consent { topic }, with: Vec::new(), window: Window::default() };
    Some(Leaf::History(History { rows, negated: false, measures: Vec::new() }))
}

/// `received` and `clicked`: a campaign's name, or `{ campaign: …, step: … }`.
pub(super) fn messages(
    m: &mut MapReader,
    key: &'static str,
    settings: &Settings,
    problems: &mut Problems,
) -> Option<Leaf> {
    let Some(node) = m.node(key) else {
        m.require::<String>(key, problems);
        return None;
    };
    let (campaign, step) = match &node.shape {
        Shape::Text(name) => (Some(name.clone()), None),
        _ => {
            let mut r = node.map("the name of a campaign", problems)?;
            let named = (r.require::<String>("campaign", problems), r.get::<String>("step", problems));
            r.finish(problems);
            named
        }
    };
    let mut measures = Vec::new();
    if let Some(node) = m.node("times") {
        measures.extend(value_checks(node, "times", &Ty::Number, settings, problems).map(|c| (Measure::Times, c)));
    }
    let window = row_window(m, settings, problems);
    let campaign = campaign?;
    let source =
        if key == "received" { Source::Messages { campaign, step } } else { Source::Clicks { campaign, step } };
    let rows = Rows { source, with: Vec::new(), window };
    Some(Leaf::History(History { rows, negated: false, measures }))
}
