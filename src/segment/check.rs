//! Comparisons as authors write them (`gte: 2`, `eq: staff`, `in: [a, b]`, a bare value) become [`Check`]s that fit what they compare.

use super::rule::{Check, Number, Op, Operand};
use crate::clock;
use crate::money;
use crate::problem::Problems;
use crate::profile::fields::{FIELDS, Kind, field};
use crate::settings::Settings;
use crate::yaml::{MapReader, Node, Shape};

/// The keys of comparisons.
pub(super) const CHECK_KEYS: [&str; 7] = ["gte", "gt", "lte", "lt", "eq", "in", "exists"];
const OPS: [(&str, Op); 4] = [("gte", Op::Gte), ("gt", Op::Gt), ("lte", Op::Lte), ("lt", Op::Lt)];

/// What is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ty {
    Number,
    Real,
    /// Authors write major units.
    Money,
    /// Authors write dates.
    Instant,
    Text,
    /// Text inside JSON, which reads as a number when compared with one.
    Json,
}

impl Ty {
    pub fn of(kind: Kind) -> Ty {
        match kind {
            Kind::Number | Kind::Days => Ty::Number,
            Kind::Real => Ty::Real,
            Kind::Money => Ty::Money,
            Kind::Instant => Ty::Instant,
            Kind::Text => Ty::Text,
        }
    }

    pub fn described(self) -> &'static str {
        match self {
            Ty::Number | Ty::Real => "a number",
            Ty::Money => "an amount of money",
            Ty::Instant => "an instant",
            Ty::Text => "text",
            Ty::Json => "a column or property of your own",
        }
    }
}

/// The comparisons among the keys of a mapping; at least one is needed.
pub(super) fn checks(
    m: &mut MapReader,
    what: &str,
    ty: Ty,
    settings: &Settings,
    problems: &mut Problems,
) -> Option<Vec<Check>> {
    let mut out: Vec<Option<Check>> = Vec::new();
    for (key, op) in OPS {
        let Some(node) = m.node(key) else { continue };
        out.push(ordered(node, key, op, ty, settings, problems));
    }
    for key in ["eq", "in"] {
        let Some(node) = m.node(key) else { continue };
        out.push(equal(node, key, ty, settings, problems));
    }
    if let Some(node) = m.node("exists") {
        out.push(node.read::<bool>("`exists`", problems).map(Check::Exists));
    }
    if out.is_empty() {
        problems
            .error("missing-key", &m.place, format!("{what} is compared with nothing"))
            .hint("one of: gte, gt, lte, lt, eq, in, exists");
        return None;
    }
    out.into_iter().collect()
}

/// The comparisons of a value that may be bare (`category: home`), a list, or a mapping (`{ gte: 2 }`).
pub(super) fn value_checks(
    node: &Node,
    key: &str,
    ty: Ty,
    settings: &Settings,
    problems: &mut Problems,
) -> Option<Vec<Check>> {
    if !matches!(node.shape, Shape::Map(_)) {
        return equal(node, key, ty, settings, problems).map(|check| vec![check]);
    }
    let mut m = node.map("a comparison", problems)?;
    let checks = checks(&mut m, &format!("`{key}`"), ty, settings, problems);
    m.not_supported_yet(&["between", "has"], problems);
    m.finish(problems);
    checks
}

fn ordered(node: &Node, key: &str, op: Op, ty: Ty, settings: &Settings, problems: &mut Problems) -> Option<Check> {
    if ty == Ty::Text {
        problems
            .error("wrong-type", &node.place, format!("`{key}` orders numbers; this is text"))
            .hint("compare text with eq or in");
        return None;
    }
    if matches!(node.shape, Shape::Map(_)) {
        return against_field(node, op, ty, problems);
    }
    number(node, key, ty, settings, problems).map(|n| Check::Compare(op, n))
}

/// `{ field: usual_gap_days, multiplied_by: 1.5 }`.
fn against_field(node: &Node, op: Op, ty: Ty, problems: &mut Problems) -> Option<Check> {
    let mut m = node.map("a comparison with a field", problems)?;
    let place = m.node("field").map_or_else(|| node.place.clone(), |n| n.place.clone());
    let name = m.require::<String>("field", problems);
    let factor = m.get::<f64>("multiplied_by", problems).unwrap_or(1.0);
    m.finish(problems);
    let name = name?;
    let numeric = || FIELDS.iter().filter(|f| f.kind.is_numeric()).map(|f| f.name);
    let Some(field) = field(&name) else {
        problems
            .error("unknown-field", &place, format!("`{name}` is not a field of a customer"))
            .did_you_mean(&name, numeric().collect::<Vec<_>>());
        return None;
    };
    let money = field.kind == Kind::Money;
    if !field.kind.is_numeric() || matches!(ty, Ty::Instant | Ty::Json) || money != (ty == Ty::Money) {
        problems.error(
            "wrong-type",
            &place,
            format!("{} cannot be compared with `{name}`, which is {}", ty.described(), field.kind.described()),
        );
        return None;
    }
    Some(Check::Field { op, field, factor })
}

fn number(node: &Node, key: &str, ty: Ty, settings: &Settings, problems: &mut Problems) -> Option<Number> {
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

fn equal(node: &Node, key: &str, ty: Ty, settings: &Settings, problems: &mut Problems) -> Option<Check> {
    let nodes: Vec<&Node> = if let Shape::List(list) = &node.shape { list.iter().collect() } else { vec![node] };
    if nodes.is_empty() {
        problems.error("empty-list", &node.place, format!("`{key}` names nothing"));
        return None;
    }
    let all: Vec<Option<Operand>> = nodes.into_iter().map(|n| operand(n, key, ty, settings, problems)).collect();
    all.into_iter().collect::<Option<Vec<_>>>().map(Check::In)
}

fn operand(node: &Node, key: &str, ty: Ty, settings: &Settings, problems: &mut Problems) -> Option<Operand> {
    match ty {
        Ty::Text => node.read::<String>(&format!("`{key}`"), problems).map(Operand::Text),
        Ty::Json => match &node.shape {
            Shape::Bool(b) => Some(Operand::Flag(*b)),
            Shape::Text(t) => Some(Operand::Text(t.clone())),
            _ => number(node, key, ty, settings, problems).map(Operand::Number),
        },
        _ => number(node, key, ty, settings, problems).map(Operand::Number),
    }
}
