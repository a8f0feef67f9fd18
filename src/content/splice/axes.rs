//! Axes: the conditions that decide which rules of a style sheet apply to which element.
//!
//! Most conditions only show or hide elements; a copy that holds both branches styles both. An *axis* changes what a selector matches: a
//! condition inside a `class`, around a `<style>`, or with a start tag in one branch and its end tag elsewhere.

use std::collections::BTreeMap;

use super::super::flatten::Refusal;
use super::super::markup::Kind;
use super::super::unit::{Group, Spot, Unit};

/// Most combinations of conditions that are tried.
pub(super) const COMBINATIONS_MAX: usize = 64;

/// A condition with its branches.
#[derive(Debug)]
pub(super) struct Axis {
    pub unit: usize,
    /// The conditions of `if` and each `elif`; what applies when none holds is the last option.
    pub conditions: Vec<String>,
    /// The tag of the innermost loop around it: its conditions may ask about the loop's own values.
    pub inside_loop: Option<usize>,
}

impl Axis {
    pub fn options(&self) -> usize {
        self.conditions.len() + 1
    }
}

#[derive(Debug, Default)]
pub(super) struct Axes {
    pub axes: Vec<Axis>,
    /// Every group of branches that is an axis: its unit, its tags, the axis.
    pub groups: Vec<(usize, Group, usize)>,
}

/// The option chosen on each axis.
pub(super) type Combination = Vec<usize>;

impl Axes {
    /// Every combination of options.
    pub fn combinations(&self) -> Vec<Combination> {
        let mut all = vec![Vec::new()];
        for axis in &self.axes {
            all = all
                .iter()
                .flat_map(|c: &Combination| (0..axis.options()).map(|o| c.iter().copied().chain([o]).collect()))
                .collect();
        }
        all
    }

    /// The ranges of a unit that a combination leaves out.
    pub fn left_out(&self, units: &[Unit<'_>], unit: usize, combination: &Combination) -> Vec<std::ops::Range<usize>> {
        let mut out = Vec::new();
        for (_, group, axis) in self.groups.iter().filter(|(u, ..)| *u == unit) {
            let tera = &units[unit].tera;
            for (branch, mark) in group.marks.iter().enumerate() {
                let next = group.marks.get(branch + 1).copied().unwrap_or(group.end);
                if combination[*axis] != branch {
                    out.push(tera[*mark].range.start..tera[next].range.start);
                }
            }
        }
        out
    }
}

/// Find the axes of all texts.
pub(super) fn find(units: &[Unit<'_>]) -> Result<Axes, Refusal> {
    let named = attributes_in_selectors(units);
    let mut axes = Axes::default();
    let mut known: BTreeMap<(usize, Option<usize>, Vec<String>), usize> = BTreeMap::new();
    for (u, unit) in units.iter().enumerate() {
        for group in unit.groups() {
            if !is_axis(unit, &group, &named)? {
                continue;
            }
            let conditions: Vec<String> = group
                .marks
                .iter()
                .filter(|m| unit.word(**m) != "else")
                .map(|m| unit.tera[*m].rest(unit.text()).to_owned())
                .collect();
            let inside_loop = unit.loop_around(group.marks[0]);
            let new = axes.axes.len();
            let axis = *known.entry((u, inside_loop, conditions.clone())).or_insert(new);
            if axis == new {
                axes.axes.push(Axis { unit: u, conditions, inside_loop });
                let combinations = axes.axes.iter().map(Axis::options).try_fold(1_usize, |n, o| n.checked_mul(o));
                if combinations.is_none_or(|n| n > COMBINATIONS_MAX) {
                    return Err(refused(
                        unit,
                        group.marks[0],
                        "too-many-styles",
                        format!("more than {COMBINATIONS_MAX} combinations of conditions decide which styles apply"),
                    ));
                }
            }
            axes.groups.push((u, group, axis));
        }
    }
    Ok(axes)
}

fn refused(unit: &Unit<'_>, tag: usize, code: &'static str, message: String) -> Refusal {
    let at = unit.mapped.origin(unit.tera[tag].range.start).expect("a tag stands in a text");
    Refusal { code, message, at }
}

/// Attributes that selectors ask about: `[align=center]`.
fn attributes_in_selectors(units: &[Unit<'_>]) -> Vec<String> {
    let mut named = vec!["class".to_owned(), "id".to_owned()];
    for unit in units {
        for piece in unit.pieces.iter().filter(|p| p.kind == Kind::Sheet) {
            for rest in unit.text()[piece.range.clone()].split('[').skip(1) {
                let end = rest.find(|c: char| !c.is_alphanumeric() && c != '-').unwrap_or(rest.len());
                named.push(rest[..end].to_ascii_lowercase());
            }
        }
    }
    named
}

fn is_axis(unit: &Unit<'_>, group: &Group, named: &[String]) -> Result<bool, Refusal> {
    let controls: Vec<usize> = group.marks.iter().copied().chain([group.end]).collect();
    let spot = unit.spots[controls[0]];
    if controls.iter().any(|c| unit.spots[*c] != spot) {
        let message = "a condition begins in one place of the HTML and ends in another".to_owned();
        return Err(refused(unit, controls[0], "condition-across-tags", message));
    }
    let range = unit.between(controls[0], group.end);
    Ok(match spot {
        Spot::Sheet(_) => true,
        Spot::Value(piece, attribute) => match &unit.pieces[piece].kind {
            Kind::Start(start) => named.contains(&start.attributes[attribute].name),
            _ => false,
        },
        Spot::Loose(piece) => match &unit.pieces[piece].kind {
            Kind::Start(start) => {
                start.attributes.iter().any(|a| range.contains(&a.range.start) && named.contains(&a.name))
            }
            _ => false,
        },
        Spot::Between => {
            let branches = controls.windows(2).map(|w| unit.between(w[0], w[1]));
            let holds_sheet = unit.pieces.iter().any(|p| p.kind == Kind::Sheet && range.contains(&p.range.start));
            holds_sheet || branches.into_iter().any(|b| unit.is_unbalanced(&b))
        }
        Spot::Elsewhere => false,
    })
}
