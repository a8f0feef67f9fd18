//! CSS into `style` attributes, with Tera's tags left where they are.
//!
//! The template itself is never parsed and written back: a *copy* of it, elements only, is given to an inliner, and what the inliner says
//! about each element is written into the untouched template as `style="…"`. Loops, conditions and tables survive because nothing looked
//! at them. Where a condition decides which rules apply, there is one copy per combination of such conditions ([`axes`]), and where the
//! answers differ, the same condition is written into the attribute.
//!
//! Rules that cannot be inlined (media queries, `:hover`, dark mode) stay in the style sheet.

mod axes;
mod copy;
mod write;

use super::flatten::Refusal;
use super::mapped::Edit;
use super::markup::Kind;
use super::unit::Unit;

/// The changes that style the texts, one list for each.
pub(super) fn edits(units: &[Unit<'_>]) -> Result<Vec<Vec<Edit>>, Refusal> {
    let has_rules =
        |u: &Unit<'_>| u.pieces.iter().any(|p| p.kind == Kind::Sheet && !u.text()[p.range.clone()].trim().is_empty());
    if !units.iter().any(has_rules) {
        return Ok(units.iter().map(|_| Vec::new()).collect());
    }
    let axes = axes::find(units)?;
    let mut tokens = copy::Tokens::default();
    let mut answers = Vec::new();
    for combination in axes.combinations() {
        answers.push(copy::styled(units, &axes, &combination, &mut tokens)?);
    }
    write::edits(units, &axes, &answers, &tokens)
}

#[cfg(test)]
mod tests;
