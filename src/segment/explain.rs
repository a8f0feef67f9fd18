//! Why somebody is in a segment, or why not: the rule as a tree of proofs with this person's values.
//!
//! Decides exactly as the compiled SQL does; a property test holds the two together.

use anstyle::{AnsiColor, Style};
use serde::Serialize;

use super::evaluate::{Prepared, Resolved};
use super::person::{Datum, Person};
use super::rule::{Leaf, Op, Rule, What};
use super::words;
use crate::profile::fields::Kind;
use crate::settings::Settings;

/// A rule or leaf decided for one person.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Proof {
    pub holds: bool,
    /// What was asked: a leaf in words, or `all of`, `any of`, `none of`.
    pub what: String,
    /// What this person's data says; absent for groups.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<Proof>,
}

/// Explain a segment that was picked, or that a picked one refers to. `None` when it is neither.
pub fn explain(prepared: &Prepared, name: &str, person: &Person, settings: &Settings) -> Option<Proof> {
    let resolved = &prepared.resolved;
    let rule = resolved.rules.get(name)?;
    Some(Explainer { resolved, person, settings }.rule(rule))
}

struct Explainer<'a> {
    resolved: &'a Resolved,
    person: &'a Person,
    settings: &'a Settings,
}

impl Explainer<'_> {
    fn rule(&self, rule: &Rule) -> Proof {
        let group = |what: &str, rules: &[Rule], decide: fn(&[Proof]) -> bool| {
            let parts: Vec<Proof> = rules.iter().map(|r| self.rule(r)).collect();
            Proof { holds: decide(&parts), what: what.to_owned(), value: None, parts }
        };
        match rule {
            Rule::All(rules) => group("all of", rules, |parts| parts.iter().all(|p| p.holds)),
            Rule::Any(rules) => group("any of", rules, |parts| parts.iter().any(|p| p.holds)),
            Rule::None(rules) => group("none of", rules, |parts| !parts.iter().any(|p| p.holds)),
            Rule::Leaf(leaf) => self.leaf(leaf),
        }
    }

    fn leaf(&self, leaf: &Leaf) -> Proof {
        let (person, moment) = (self.person, &self.resolved.moment);
        let what = words::leaf(leaf, self.settings);
        let decided =
            |holds: bool, value: String| Proof { holds, what: what.clone(), value: Some(value), parts: Vec::new() };
        match leaf {
            Leaf::History(history) => {
                let found = person.history(history, self.resolved);
                let mut value: Vec<String> =
                    found.measured.iter().map(|(m, v)| words::measured(*m, *v, self.settings)).collect();
                match found.latest_at {
                    Some(at) => value.push(format!("last {}", words::instant(at, self.settings))),
                    None => value = vec!["never".to_owned()],
                }
                decided(found.holds, value.join(", "))
            }
            Leaf::Customer { what: field, checks, window } => {
                let holds = person.customer_holds(field, checks, *window, moment);
                let kind = if let What::Field(f) = field { Some(f.kind) } else { None };
                decided(holds, self.shown(person.value(field, moment), kind))
            }
            Leaf::Percentile { field, at_least, at_most } => {
                let value = person.field(field, moment);
                let mut holds = person.facts.orders > 0;
                let mut edges = Vec::new();
                for (op, percent) in [(Op::Gte, at_least), (Op::Lte, at_most)] {
                    let Some(percent) = percent else { continue };
                    let edge = self.resolved.threshold(field.name, op, *percent);
                    let passes = matches!((&value, edge), (Some(Datum::Int(v)), Some(edge)) if op.holds(v.cmp(&edge)));
                    holds = holds && passes;
                    let edge = edge.map(Datum::Int);
                    edges.push(format!("the edge is {}", self.shown(edge, Some(field.kind))));
                }
                decided(holds, format!("{}; {}", self.shown(value, Some(field.kind)), edges.join(", ")))
            }
            Leaf::Rfm(names) => {
                let rfm = person.facts.rfm(moment);
                let value = match (rfm, person.facts.scores(moment)) {
                    (Some(name), Some((r, f, m))) => format!("{} (R{r} F{f} M{m})", name.name()),
                    _ => "no scores before the first order".to_owned(),
                };
                decided(rfm.is_some_and(|r| names.contains(&r)), value)
            }
            Leaf::Lifecycle(stages) => {
                let stage = person.facts.stage(moment);
                decided(stages.contains(&stage), stage.name().to_owned())
            }
            Leaf::InSegment(references) => {
                let parts: Vec<Proof> = references
                    .iter()
                    .map(|r| {
                        let rule = self.resolved.rules.get(&r.name).expect("references are checked at load");
                        let proof = self.rule(rule);
                        Proof {
                            holds: proof.holds,
                            what: format!("in segment {}", r.name),
                            value: None,
                            parts: vec![proof],
                        }
                    })
                    .collect();
                match <[Proof; 1]>::try_from(parts) {
                    Ok([one]) => one,
                    Err(parts) => Proof { holds: parts.iter().any(|p| p.holds), what, value: None, parts },
                }
            }
        }
    }

    fn shown(&self, value: Option<Datum>, kind: Option<Kind>) -> String {
        value.map_or_else(|| "not known".to_owned(), |v| words::datum(&v, kind, self.settings))
    }
}

impl Proof {
    /// For people: a line each, `✓ yes` or `✗ no` (does this line hold?), not colour alone. Holds ANSI styles; print through `anstream`.
    pub fn to_text(&self) -> String {
        let mut out = String::new();
        self.write(0, &mut out);
        out
    }

    fn write(&self, depth: usize, out: &mut String) {
        let (mark, colour) = if self.holds { ('✓', AnsiColor::Green) } else { ('✗', AnsiColor::Red) };
        let style = Style::new().fg_color(Some(colour.into())).bold();
        let dim = Style::new().dimmed();
        let word = if self.holds { "yes" } else { "no " };
        out.push_str(&format!("{}{style}{mark} {word}{style:#}  {}", "  ".repeat(depth), self.what));
        if let Some(value) = &self.value {
            out.push_str(&format!("  {dim}({value}){dim:#}"));
        }
        out.push('\n');
        for part in &self.parts {
            part.write(depth + 1, out);
        }
    }
}
