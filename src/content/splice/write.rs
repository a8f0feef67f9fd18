//! Writes the answers into the template: `style="…"` on elements, what remains into the style sheets, and the conditions where the
//! answers of several combinations differ.

use super::super::flatten::Refusal;
use super::super::mapped::Edit;
use super::super::markup::{Kind, Start};
use super::super::unit::Unit;
use super::axes::{Axes, Combination};
use super::copy::{Answer, Tokens};

/// The changes to each text.
pub(super) fn edits(
    units: &[Unit<'_>],
    axes: &Axes,
    answers: &[Answer],
    tokens: &Tokens,
) -> Result<Vec<Vec<Edit>>, Refusal> {
    let combinations = axes.combinations();
    let mut out = Vec::new();
    for (u, unit) in units.iter().enumerate() {
        let mut edits = Vec::new();
        for (p, piece) in unit.pieces.iter().enumerate() {
            let writer = Writer { unit, u, p, axes, combinations: &combinations, tokens };
            match &piece.kind {
                Kind::Start(start) if start.name != "style" => {
                    let values = answers.iter().map(|a| a.styles.get(&(u, p)).map(String::as_str)).collect::<Vec<_>>();
                    edits.extend(writer.style(start, &values)?);
                }
                Kind::Sheet if unit.text()[piece.range.clone()].trim() != "" => {
                    let number = p.checked_sub(1).map(|start| (u, start));
                    let present = |a: &Answer| number.is_some_and(|n| a.styles.contains_key(&n));
                    let values: Vec<Option<&str>> = answers
                        .iter()
                        .map(|a| present(a).then(|| number.and_then(|n| a.sheets.get(&n)).map_or("", String::as_str)))
                        .collect();
                    let conditional = unit.within(&piece.range).any(|t| unit.word(t) == "if");
                    // Rules that cannot be inlined remain in every combination. Others remain where nothing matches them, and do nothing.
                    let text = match conditional {
                        true => writer.one(&values)?,
                        false => values.iter().flatten().min_by_key(|v| v.len()).map(|v| (*v).to_owned()),
                    };
                    if let Some(text) = text {
                        edits.push(Edit { range: piece.range.clone(), text: tokens.restored(&text) });
                    }
                }
                _ => {}
            }
        }
        out.push(edits);
    }
    Ok(out)
}

struct Writer<'a> {
    unit: &'a Unit<'a>,
    u: usize,
    p: usize,
    axes: &'a Axes,
    combinations: &'a [Combination],
    tokens: &'a Tokens,
}

impl Writer<'_> {
    /// The edit that gives an element its style; none when no rule applies.
    fn style(&self, start: &Start, values: &[Option<&str>]) -> Result<Option<Edit>, Refusal> {
        let Some(text) = self.one(values)? else { return Ok(None) };
        if text.is_empty() {
            return Ok(None);
        }
        let own = start.attribute("style").and_then(|a| Some((a, a.value.clone()?)));
        Ok(Some(match own {
            Some((attribute, value)) if attribute.quoted => {
                let quote = self.unit.text().as_bytes()[value.start - 1];
                let sheet = in_quotes(&text, quote);
                let end = if self.unit.text()[value.clone()].trim().is_empty() || sheet.ends_with([';', '}']) {
                    ""
                } else {
                    ";"
                };
                Edit::insert(value.start, self.tokens.restored(&format!("{sheet}{end}")))
            }
            Some((attribute, value)) => Edit {
                range: attribute.range.clone(),
                text: self.tokens.restored(&format!(
                    "style=\"{}{}\"",
                    in_quotes(&text, b'"'),
                    &self.unit.text()[value]
                )),
            },
            None => {
                Edit::insert(start.name_end, self.tokens.restored(&format!(" style=\"{}\"", in_quotes(&text, b'"'))))
            }
        }))
    }

    /// The values of all combinations as one text, with conditions where they differ. `None`: in no combination.
    fn one(&self, values: &[Option<&str>]) -> Result<Option<String>, Refusal> {
        let all: Vec<usize> = (0..values.len()).collect();
        if values.iter().all(Option::is_none) {
            return Ok(None);
        }
        let deciding: Vec<usize> = (0..self.axes.axes.len()).filter(|axis| self.decides(*axis, values)).collect();
        for axis in &deciding {
            self.can_ask(*axis)?;
        }
        self.tree(&deciding, &all, values).map(Some)
    }

    /// Whether two combinations that differ on this axis alone give different values.
    fn decides(&self, axis: usize, values: &[Option<&str>]) -> bool {
        let differ_there =
            |a: &Combination, b: &Combination| a.iter().zip(b).enumerate().all(|(i, (x, y))| (i == axis) != (x == y));
        self.combinations.iter().enumerate().any(|(i, a)| {
            self.combinations
                .iter()
                .enumerate()
                .skip(i + 1)
                .any(|(j, b)| differ_there(a, b) && matches!((values[i], values[j]), (Some(x), Some(y)) if x != y))
        })
    }

    /// Whether the condition of an axis means the same here as where it stands.
    fn can_ask(&self, axis: usize) -> Result<(), Refusal> {
        let axis = &self.axes.axes[axis];
        let at = self.unit.pieces[self.p].range.start;
        if axis.unit != self.u {
            return Err(self.refused("component-condition", "a component is styled through a condition of its caller"));
        }
        let inside = axis.inside_loop.is_none_or(|open| {
            let close = self.unit.partners[open].expect("an axis lies in a loop that is closed");
            self.unit.between(open, close).contains(&at)
        });
        match inside {
            true => Ok(()),
            false => Err(self.refused("loop-condition", "a condition inside a loop decides styles outside it")),
        }
    }

    fn refused(&self, code: &'static str, message: &str) -> Refusal {
        let at = self.unit.mapped.origin(self.unit.pieces[self.p].range.start).expect("a piece stands in a text");
        Refusal { code, message: message.to_owned(), at }
    }

    fn tree(&self, deciding: &[usize], among: &[usize], values: &[Option<&str>]) -> Result<String, Refusal> {
        let mut present = among.iter().filter_map(|i| values[*i]);
        let first = present.next().unwrap_or_default();
        if present.all(|v| v == first) {
            return Ok(first.to_owned());
        }
        let Some((axis, rest)) = deciding.split_first() else {
            return Err(self.refused("tangled-conditions", "conditions that decide styles are too intertwined"));
        };
        let branches = (0..self.axes.axes[*axis].options())
            .map(|option| {
                let those: Vec<usize> =
                    among.iter().copied().filter(|i| self.combinations[*i][*axis] == option).collect();
                self.tree(rest, &those, values)
            })
            .collect::<Result<Vec<String>, Refusal>>()?;
        if branches.iter().all(|b| *b == branches[0]) {
            return Ok(branches.into_iter().next().unwrap_or_default());
        }
        let conditions = &self.axes.axes[*axis].conditions;
        let mut out = String::new();
        for (i, branch) in branches.iter().enumerate() {
            match conditions.get(i) {
                Some(condition) if i == 0 => out.push_str(&format!("{{% if {condition} %}}")),
                Some(condition) => out.push_str(&format!("{{% elif {condition} %}}")),
                None if branch.is_empty() => continue,
                None => out.push_str("{% else %}"),
            }
            out.push_str(branch);
        }
        out.push_str("{% endif %}");
        Ok(out)
    }
}

/// Declarations inside quotes of this kind. A quote inside CSS may be of either kind; Tera's tags, which are single characters or
/// conditions of the author here, are left alone.
fn in_quotes(text: &str, quote: u8) -> String {
    let (bad, good) = if quote == b'\'' { ('\'', '"') } else { ('"', '\'') };
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("{%") {
        let end = rest[start..].find("%}").map_or(rest.len(), |e| start + e + 2);
        out.push_str(&rest[..start].replace(bad, &good.to_string()));
        out.push_str(&rest[start..end]);
        rest = &rest[end..];
    }
    out.push_str(&rest.replace(bad, &good.to_string()));
    out
}
