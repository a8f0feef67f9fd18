//! Why somebody is in a segment, or why not: the rule as a tree of proofs with this person's values.
//!
//! Decides exactly as the compiled SQL does; a property test holds the two together.

use anstyle::{AnsiColor, Style};
use serde::Serialize;

use super::evaluate::Prepared;
use super::person::{Datum, Person};
use super::resolve::{Drawn, Resolved};
use super::rule::{Leaf, Pick, Rule, Stretch, What};
use super::words;
use crate::profile::fields::{Field, Kind};
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
    resolved.defined.get(name)?;
    Some(Explainer { resolved, person, settings }.segment(name))
}

struct Explainer<'a> {
    resolved: &'a Resolved,
    person: &'a Person,
    settings: &'a Settings,
}

impl Explainer<'_> {
    /// Its rule, and whether this member is picked.
    fn segment(&self, name: &str) -> Proof {
        let rule = self.rule(self.resolved.rule(name));
        let pick = &self.resolved.defined[name].pick;
        match self.resolved.drawn.get(name) {
            Some(drawn) => {
                let picked = self.picked(pick, drawn);
                let holds = rule.holds && picked.holds;
                Proof { holds, what: "all of".to_owned(), value: None, parts: vec![rule, picked] }
            }
            None => rule,
        }
    }

    fn picked(&self, pick: &Pick, drawn: &Drawn) -> Proof {
        let moment = &self.resolved.moment;
        let value = drawn.top.as_ref().map(|edge| match edge {
            None => "the rule holds for nobody who has this number".to_owned(),
            Some(edge) => {
                let own = self.shown(self.person.field(edge.by, moment), Some(edge.by.kind));
                format!("{own}; the edge is {}", self.edge(edge.by, Some(edge.value)))
            }
        });
        let what = words::pick(pick);
        Proof { holds: self.person.is_drawn(drawn, moment), what, value, parts: Vec::new() }
    }

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
                    found.measured.iter().map(|(m, v)| words::measured(m, v.as_ref(), self.settings)).collect();
                match found.latest_at {
                    Some(at) => value.push(format!("last {}", words::instant(at, self.settings))),
                    None => value = vec!["never".to_owned()],
                }
                decided(found.holds, value.join(", "))
            }
            Leaf::Last(rows) => {
                let (holds, latest_at) = person.last(rows, moment);
                let value =
                    latest_at.map_or("never".to_owned(), |at| format!("last {}", words::instant(at, self.settings)));
                decided(holds, value)
            }
            Leaf::Funnel(steps) => {
                let way = person.funnel(steps, moment);
                let value = match &way {
                    Some(way) => {
                        let instants: Vec<String> = way.iter().map(|at| words::instant(*at, self.settings)).collect();
                        instants.join(" → ")
                    }
                    None => "no way through".to_owned(),
                };
                decided(way.is_some(), value)
            }
            Leaf::Customer { what: field, checks, window } => {
                let holds = person.customer_holds(field, checks, window, moment);
                let value = person.value(field, moment);
                let said = match field {
                    What::Field(f) => self.own(f, value),
                    _ => self.shown(value, None),
                };
                decided(holds, said)
            }
            Leaf::Percentile { field, any_of } => {
                let value = match person.given.percentiles.get(field.sql) {
                    Some(place) => format!("percentile {place}"),
                    None => {
                        let own = self.own(field, person.field(field, moment));
                        format!("{own}; {}", self.edges(field, any_of))
                    }
                };
                decided(person.percentile_holds(field, any_of, self.resolved), value)
            }
            Leaf::Rfm(names) => {
                let rfm = person.rfm(moment);
                let value = match (rfm, person.facts.scores(moment)) {
                    (Some(name), Some((r, f, m))) => format!("{} (R{r} F{f} M{m})", name.name()),
                    (Some(name), None) => name.name().to_owned(),
                    _ => "no scores before the first order".to_owned(),
                };
                decided(rfm.is_some_and(|r| names.contains(&r)), value)
            }
            Leaf::Lifecycle(stages) => {
                let stage = person.stage(moment);
                decided(stages.contains(&stage), stage.name().to_owned())
            }
            Leaf::Tier(tier) => {
                let value = match &person.given.tier {
                    Some(tier) => tier.clone(),
                    None => words::measured(
                        &tier.measure,
                        Some(&Datum::Int(person.tier_value(tier, moment))),
                        self.settings,
                    ),
                };
                decided(person.tier_holds(tier, moment), value)
            }
            Leaf::InSegment(references) => {
                let parts: Vec<Proof> = references
                    .iter()
                    .map(|r| {
                        let proof = self.segment(&r.name);
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

    /// The values at the asked percentiles.
    fn edges(&self, field: &'static Field, any_of: &[Stretch]) -> String {
        let bounds = any_of.iter().flat_map(|s| &s.0);
        let mut edges: Vec<String> = bounds
            .map(|(op, percent)| {
                format!("the edge is {}", self.edge(field, self.resolved.threshold(field, *op, *percent)))
            })
            .collect();
        edges.dedup();
        edges.join(", ")
    }

    fn edge(&self, field: &Field, value: Option<f64>) -> String {
        let value = value.map(|v| if field.kind == Kind::Real { Datum::Real(v) } else { Datum::Int(v as i64) });
        self.shown(value, Some(field.kind))
    }

    /// This person's value of a field or score.
    fn own(&self, field: &Field, value: Option<Datum>) -> String {
        if value.is_none() && field.is_score() {
            return "no score: `okaeri model show` says whether there is a fit".to_owned();
        }
        self.shown(value, Some(field.kind))
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
