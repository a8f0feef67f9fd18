//! From YAML to checked rules. All problems of a file come at once; what the language of the design has and this version does not carry out is
//! told as "not supported yet".

use super::check::{CHECK_KEYS, Ty, checks, value_checks};
use super::rule::{Column, History, Leaf, Measure, Property, PropertyTest, Reference, Rule, Source, What, Window};
use crate::problem::{Place, Problems};
use crate::profile::fields::{FIELDS, Kind, field};
use crate::profile::{Rfm, Stage};
use crate::settings::Settings;
use crate::yaml::{MapReader, Node, Shape};

const GROUPS: [&str; 3] = ["all", "any", "none"];
const LEAVES: [&str; 9] =
    ["did", "did_not", "bought", "customer", "rfm", "lifecycle", "in_segment", "consent", "received"];
/// Leaves and groups of the design that come later.
const LATER: [&str; 7] = ["last", "bought_not", "score", "tier", "clicked", "funnel", "everyone"];
/// Keys beside a leaf that come later.
const LATER_BESIDE: [&str; 7] = ["distinct", "between", "days_after", "since", "within", "within_after", "has"];
/// The prefix that says: a column of the shop's own, whatever it is called.
const ATTRIBUTE: &str = "attribute.";
/// The longest name of a property or attribute, in characters.
const NAME_CHARS_MAX: usize = 100;

/// One segment as its file gives it.
pub(super) struct Read {
    pub name: String,
    pub name_place: Place,
    pub title: String,
    pub rule: Rule,
}

/// Read a segment file.
pub(super) fn segment(node: &Node, settings: &Settings, problems: &mut Problems) -> Option<Read> {
    let mut m = node.map("a segment", problems)?;
    let name_place = m.node("segment").map_or_else(|| m.place.clone(), |n| n.place.clone());
    let name = m.require::<String>("segment", problems);
    if let Some(name) = &name
        && !is_name(name)
    {
        problems
            .error("bad-name", &name_place, format!("`{name}` cannot name a segment"))
            .hint("small letters, digits, _ and -");
    }
    let title = m.get::<String>("title", problems);
    let rule = match m.node("where") {
        Some(node) => rule(node, settings, problems),
        None => {
            problems
                .error("missing-key", &m.place, "a segment needs `where`: the rule")
                .hint("where: { customer: orders, gte: 2 }");
            None
        }
    };
    m.not_supported_yet(&["tests", "pick"], problems);
    m.finish(problems);
    let name = name?;
    Some(Read { title: title.unwrap_or_else(|| name.clone()), name, name_place, rule: rule? })
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-')
}

/// Read a rule: a group or a leaf. `None` when it has errors.
pub fn rule(node: &Node, settings: &Settings, problems: &mut Problems) -> Option<Rule> {
    let Shape::Map(pairs) = &node.shape else {
        let problem =
            problems.error("wrong-type", &node.place, format!("a rule must be a mapping, not {}", node.described()));
        if matches!(node.shape, Shape::List(_)) {
            problem.hint("put `all:` or `any:` before the list");
        }
        return None;
    };
    let known = |k: &str| GROUPS.contains(&k) || LEAVES.contains(&k) || LATER.contains(&k);
    let mut kinds = pairs.iter().filter(|p| known(&p.key));
    let (Some(kind), second) = (kinds.next(), kinds.next()) else {
        let (word, place) = pairs.first().map_or(("", &node.place), |p| (p.key.as_str(), &p.key_place));
        let what = if word.is_empty() { "an empty rule".to_owned() } else { format!("`{word}` begins no rule") };
        problems.error("unknown-leaf", place, what).did_you_mean(word, GROUPS.into_iter().chain(LEAVES));
        return None;
    };
    if let Some(second) = second {
        problems
            .error("two-leaves", &second.key_place, format!("`{}` and `{}` in one rule", kind.key, second.key))
            .hint("make a list of them under `all:` or `any:`");
        return None;
    }
    if let Some(later) = LATER.iter().find(|k| **k == kind.key) {
        node.map("a rule", problems)?.not_supported_yet(&[later], problems);
        return None;
    }
    let before = problems.count(crate::problem::Severity::Error);
    let mut m = node.map("this rule", problems)?;
    let rule = match kind.key.as_str() {
        "all" => group(&mut m, "all", settings, problems).map(Rule::All),
        "any" => group(&mut m, "any", settings, problems).map(Rule::Any),
        "none" => group(&mut m, "none", settings, problems).map(Rule::None),
        _ => leaf(&mut m, &kind.key, settings, problems).map(Rule::Leaf),
    };
    m.not_supported_yet(&LATER_BESIDE, problems);
    m.finish(problems);
    rule.filter(|_| problems.count(crate::problem::Severity::Error) == before)
}

fn group(m: &mut MapReader, key: &'static str, settings: &Settings, problems: &mut Problems) -> Option<Vec<Rule>> {
    let node = m.pair(key).map(|p| &p.value)?;
    let Shape::List(list) = &node.shape else {
        problems
            .error("wrong-type", &node.place, format!("`{key}` must be a list of rules, not {}", node.described()))
            .hint(format!("{key}:\n    - customer: orders\n      gte: 2"));
        return None;
    };
    if list.is_empty() {
        problems.error("empty-group", &node.place, format!("`{key}` holds no rule"));
        return None;
    }
    // Read every one before giving up, so that all problems come at once.
    let rules: Vec<Option<Rule>> = list.iter().map(|n| rule(n, settings, problems)).collect();
    rules.into_iter().collect()
}

fn leaf(m: &mut MapReader, key: &str, settings: &Settings, problems: &mut Problems) -> Option<Leaf> {
    match key {
        "did" => did(m, "did", settings, problems),
        "did_not" => did(m, "did_not", settings, problems),
        "bought" => bought(m, settings, problems),
        "customer" => customer(m, settings, problems),
        "rfm" => words(m, "rfm", &Rfm::ALL, Rfm::name, problems).map(Leaf::Rfm),
        "lifecycle" => words(m, "lifecycle", &Stage::ALL, Stage::name, problems).map(Leaf::Lifecycle),
        "in_segment" => in_segment(m, problems),
        "consent" => consent(m, settings, problems),
        "received" => received(m, settings, problems),
        _ => unreachable!("asked for keys of LEAVES only"),
    }
}

fn window(m: &mut MapReader, problems: &mut Problems) -> Window {
    Window { in_last: m.get("in_last", problems), more_than_ago: m.get("more_than_ago", problems) }
}

fn did(m: &mut MapReader, key: &'static str, settings: &Settings, problems: &mut Problems) -> Option<Leaf> {
    let name = m.require::<String>(key, problems)?;
    let source = match name.as_str() {
        "order.placed" => Source::OrdersPlaced,
        "order.returned" => Source::OrdersReturned,
        _ => Source::Events(name),
    };
    let mut with = Vec::new();
    if let Some(mut w) = m.map("with", "`with`", problems) {
        for pair in w.all() {
            let Some((property, ty)) = property(&source, &pair.key, &pair.key_place, problems) else { continue };
            let checks = value_checks(&pair.value, &pair.key, ty, settings, problems);
            with.extend(checks.map(|checks| PropertyTest { property, checks }));
        }
    }
    let mut measures = Vec::new();
    if let Some(node) = m.node("times") {
        measures.extend(value_checks(node, "times", Ty::Number, settings, problems).map(|c| (Measure::Times, c)));
    }
    if let Some(mut s) = m.map("sum", "`sum`", problems) {
        let column = summed(&mut s, &source, problems);
        let ty = if column == Some(Column::Quantity) { Ty::Number } else { Ty::Money };
        let checks = checks(&mut s, "`sum`", ty, settings, problems);
        s.finish(problems);
        measures.extend(column.zip(checks).map(|(column, checks)| (Measure::Sum(column), checks)));
    }
    Some(Leaf::History(History { source, negated: key == "did_not", with, window: window(m, problems), measures }))
}

/// The column that a `sum` adds up.
fn summed(s: &mut MapReader, source: &Source, problems: &mut Problems) -> Option<Column> {
    let node = s.node("of");
    let Some(node) = node else {
        problems
            .error("missing-key", &s.place, "`sum` needs `of`: the property to add up")
            .hint("sum: { of: total, gte: 200 }");
        return None;
    };
    let word = node.read::<String>("`of`", problems)?;
    let column = match (source, word.as_str()) {
        (Source::OrdersPlaced | Source::OrdersReturned, "total") => Some(Column::Total),
        (Source::Events(_), "amount") => Some(Column::Amount),
        _ => None,
    };
    if column.is_none() {
        let known = if matches!(source, Source::Events(_)) { "amount" } else { "total" };
        problems
            .error("unknown-property", &node.place, format!("`{word}` cannot be added up here"))
            .hint(format!("known here: {known}"));
    }
    column
}

/// Where a property of a source's rows is kept, and its type.
fn property(source: &Source, name: &str, place: &Place, problems: &mut Problems) -> Option<(Property, Ty)> {
    let column = |c, ty| Some((Property::Column(c), ty));
    if !matches!(source, Source::Events(_)) {
        return match name {
            "total" => column(Column::Total, Ty::Money),
            "currency" => column(Column::Currency, Ty::Text),
            "status" => column(Column::Status, Ty::Text),
            _ => {
                problems
                    .error("unknown-property", place, format!("an order has no property `{name}`"))
                    .did_you_mean(name, ["total", "currency", "status"]);
                None
            }
        };
    }
    let rated = matches!(source, Source::Events(event) if crate::profile::is_rating(event));
    match name {
        "sku" => column(Column::Sku, Ty::Text),
        "category" => column(Column::Category, Ty::Text),
        "amount" => column(Column::Amount, Ty::Money),
        "score" | "rating" if rated => column(Column::Score, Ty::Real),
        _ => json_name(name, place, problems).map(|name| (Property::Json(name), Ty::Json)),
    }
}

/// A name inside stored JSON.
fn json_name(name: &str, place: &Place, problems: &mut Problems) -> Option<String> {
    let fits = !name.is_empty() && name.chars().count() <= NAME_CHARS_MAX;
    if fits && !name.chars().any(|c| c.is_control() || c == '"' || c == '\\') {
        return Some(name.to_owned());
    }
    problems
        .error("bad-name", place, "not a name of a property or column")
        .hint(format!("at most {NAME_CHARS_MAX} characters, without quotes, backslashes and control characters"));
    None
}

fn bought(m: &mut MapReader, settings: &Settings, problems: &mut Problems) -> Option<Leaf> {
    let mut with = Vec::new();
    if let Some(mut b) = m.map("bought", "`bought`", problems) {
        for (key, column) in [("category", Column::Category), ("sku", Column::Sku)] {
            let Some(node) = b.node(key) else { continue };
            let checks = value_checks(node, key, Ty::Text, settings, problems);
            with.extend(checks.map(|checks| PropertyTest { property: Property::Column(column), checks }));
        }
        b.finish(problems);
    }
    let mut measures = Vec::new();
    for (key, measure, ty) in [
        ("orders", Measure::Orders, Ty::Number),
        ("quantity", Measure::Sum(Column::Quantity), Ty::Number),
        ("amount", Measure::Sum(Column::Amount), Ty::Money),
    ] {
        let Some(node) = m.node(key) else { continue };
        measures.extend(value_checks(node, key, ty, settings, problems).map(|c| (measure, c)));
    }
    Some(Leaf::History(History { source: Source::Lines, negated: false, with, window: window(m, problems), measures }))
}

fn customer(m: &mut MapReader, settings: &Settings, problems: &mut Problems) -> Option<Leaf> {
    let node = m.node("customer");
    let place = node.map_or_else(|| m.place.clone(), |n| n.place.clone());
    let name = m.require::<String>("customer", problems)?;
    let what = what(&name, &place, problems);
    if let Some(node) = m.node("percentile") {
        return percentile(node, what?, problems);
    }
    let ty = match &what {
        Some(What::Field(f)) => Ty::of(f.kind),
        _ => Ty::Json,
    };
    let window = window(m, problems);
    if window.is_limited() && ty != Ty::Instant {
        problems
            .error(
                "wrong-type",
                &place,
                format!("`in_last` and `more_than_ago` ask for an instant; `{name}` is {}", ty.described()),
            )
            .did_you_mean(&format!("{name}_at"), FIELDS.iter().filter(|f| f.kind == Kind::Instant).map(|f| f.name));
    }
    let compared = CHECK_KEYS.iter().any(|k| m.node(k).is_some());
    let checks = if compared || !window.is_limited() {
        checks(m, &format!("`{name}`"), ty, settings, problems)?
    } else {
        Vec::new()
    };
    Some(Leaf::Customer { what: what?, checks, window })
}

/// The field or attribute of a name. A near miss of a field is a problem, because as an attribute it would match nobody in silence.
fn what(name: &str, place: &Place, problems: &mut Problems) -> Option<What> {
    if let Some(known) = field(name) {
        return Some(What::Field(known));
    }
    if let Some(own) = name.strip_prefix(ATTRIBUTE) {
        return json_name(own, place, problems).map(What::Attribute);
    }
    if matches!(name, "rfm" | "lifecycle" | "consent") {
        problems.error("unknown-field", place, format!("`{name}` is a leaf of its own")).hint(format!("{name}: [ … ]"));
        return None;
    }
    if let Some(near) = crate::problem::nearest(name, FIELDS.iter().map(|f| f.name)) {
        problems
            .error("unknown-field", place, format!("`{name}` is not a field of a customer"))
            .hint(format!("did you mean `{near}`? A column of your own is written `{ATTRIBUTE}{name}`"));
        return None;
    }
    json_name(name, place, problems).map(What::Attribute)
}

fn percentile(node: &Node, what: What, problems: &mut Problems) -> Option<Leaf> {
    let mut p = node.map("`percentile`", problems)?;
    let mut bound = |key: &'static str, problems: &mut Problems| {
        let node = p.node(key)?;
        let value = node.read::<f64>(&format!("`{key}`"), problems)?;
        if !(0.0..=100.0).contains(&value) {
            problems.error("out-of-range", &node.place, format!("a percentile is 0 to 100, not {value}"));
        }
        Some(value)
    };
    let (at_least, at_most) = (bound("gte", problems), bound("lte", problems));
    p.finish(problems);
    if at_least.is_none() && at_most.is_none() {
        problems.error("missing-key", &node.place, "`percentile` needs `gte` or `lte`").hint("percentile: { gte: 70 }");
        return None;
    }
    match what {
        What::Field(field) if matches!(field.name, "revenue" | "orders" | "average_order") => {
            Some(Leaf::Percentile { field, at_least, at_most })
        }
        _ => {
            problems
                .error("not-supported-yet", &node.place, "`percentile` of this field is not supported yet")
                .hint("known here: revenue, orders, average_order");
            None
        }
    }
}

fn words<T: Copy>(
    m: &mut MapReader,
    key: &'static str,
    all: &[T],
    name: fn(T) -> &'static str,
    problems: &mut Problems,
) -> Option<Vec<T>> {
    let node = m.node(key);
    let Some(node) = node else {
        m.require::<Vec<String>>(key, problems);
        return None;
    };
    let nodes: Vec<&Node> = if let Shape::List(list) = &node.shape { list.iter().collect() } else { vec![node] };
    if nodes.is_empty() {
        problems.error("empty-list", &node.place, format!("`{key}` names nothing"));
        return None;
    }
    let found: Vec<Option<T>> = nodes
        .into_iter()
        .map(|n| {
            let word = n.read::<String>(&format!("`{key}`"), problems)?;
            let found = all.iter().copied().find(|t| name(*t) == word);
            if found.is_none() {
                problems
                    .error("unknown-word", &n.place, format!("`{key}` has no `{word}`"))
                    .did_you_mean(&word, all.iter().map(|t| name(*t)));
            }
            found
        })
        .collect();
    found.into_iter().collect()
}

fn in_segment(m: &mut MapReader, problems: &mut Problems) -> Option<Leaf> {
    let node = m.pair("in_segment").map(|p| &p.value)?;
    let nodes: Vec<&Node> = if let Shape::List(list) = &node.shape { list.iter().collect() } else { vec![node] };
    if nodes.is_empty() {
        problems.error("empty-list", &node.place, "`in_segment` names nothing");
        return None;
    }
    let names: Vec<Option<Reference>> = nodes
        .into_iter()
        .map(|n| Some(Reference { name: n.read::<String>("`in_segment`", problems)?, place: n.place.clone() }))
        .collect();
    names.into_iter().collect::<Option<Vec<_>>>().map(Leaf::InSegment)
}

fn consent(m: &mut MapReader, settings: &Settings, problems: &mut Problems) -> Option<Leaf> {
    let place = m.node("consent").map_or_else(|| m.place.clone(), |n| n.place.clone());
    let topic = m.require::<String>("consent", problems)?;
    if !settings.has_topic(&topic) {
        problems
            .error("unknown-topic", &place, format!("`{topic}` is not among the project's topics"))
            .did_you_mean(&topic, settings.topics.iter().map(|t| t.name.as_str()));
    }
    Some(history(Source::Consent { topic }, Window::default(), Vec::new()))
}

fn received(m: &mut MapReader, settings: &Settings, problems: &mut Problems) -> Option<Leaf> {
    let node = m.pair("received").map(|p| &p.value)?;
    let (campaign, step) = match &node.shape {
        Shape::Text(name) => (Some(name.clone()), None),
        _ => {
            let mut r = node.map("`received`", problems)?;
            let named = (r.require::<String>("campaign", problems), r.get::<String>("step", problems));
            r.finish(problems);
            named
        }
    };
    let mut measures = Vec::new();
    if let Some(node) = m.node("times") {
        measures.extend(value_checks(node, "times", Ty::Number, settings, problems).map(|c| (Measure::Times, c)));
    }
    let window = window(m, problems);
    Some(history(Source::Messages { campaign: campaign?, step }, window, measures))
}

fn history(source: Source, window: Window, measures: Vec<(Measure, Vec<super::rule::Check>)>) -> Leaf {
    Leaf::History(History { source, negated: false, with: Vec::new(), window, measures })
}
