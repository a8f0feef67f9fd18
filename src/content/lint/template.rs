//! What a template should not do, told before it hurts: HTML and CSS that cannot be prepared ahead, or that data could break.
//!
//! Each author's file is looked at alone, so that a mistake in a shared part is told once. The codes are explained in
//! `docs/templates.md`.

use std::collections::BTreeMap;
use std::ops::Range;

use super::super::engine::Source;
use super::super::mapped::Mapped;
use super::super::markup::Kind;
use super::super::prepare::is_mjml;
use super::super::scan;
use super::super::unit::{Spot, Unit};
use crate::problem::Problems;

/// Look at all sources that are HTML or MJML.
pub(in crate::content) fn lint(sources: &BTreeMap<String, Source>, problems: &mut Problems) {
    let html = |name: &str| name.ends_with(".html") || is_mjml(name);
    let texts: Vec<(&Source, bool, Mapped)> = sources
        .iter()
        .filter(|(name, source)| html(name) && source.made.is_none())
        .map(|(name, source)| (source, is_mjml(name), Mapped::of(name, &source.text)))
        .collect();
    let units: Vec<Unit<'_>> = texts.iter().map(|(.., mapped)| Unit::new("", mapped)).collect();
    let changes = units.iter().any(|u| (0..u.tera.len()).any(|t| matches!(u.word(t), "if" | "for")));
    for ((source, mjml, _), unit) in texts.iter().zip(&units) {
        let mut lint = Lint { source, unit, problems };
        for tag in 0..unit.tera.len() {
            lint.tag(tag, *mjml);
        }
        lint.values();
        if changes {
            lint.siblings();
        }
        for (filter, at) in scan::names(&source.text).filters {
            if filter == "safe" {
                lint.warning(
                    "safe-filter",
                    at,
                    "`safe` prints a value as HTML",
                    "fine for text of your own, never for what customers typed",
                );
            }
        }
    }
}

struct Lint<'a> {
    source: &'a Source,
    unit: &'a Unit<'a>,
    problems: &'a mut Problems,
}

impl Lint<'_> {
    fn error(&mut self, code: &'static str, at: usize, message: &str, hint: &str) {
        self.problems.error(code, &self.source.place_at(at), message).hint(hint);
    }

    fn warning(&mut self, code: &'static str, at: usize, message: &str, hint: &str) {
        self.problems.warning(code, &self.source.place_at(at), message).hint(hint);
    }

    fn tag(&mut self, tag: usize, mjml: bool) {
        let unit = self.unit;
        let at = unit.tera[tag].range.start;
        let class = match unit.spots[tag] {
            Spot::Value(piece, attribute) => match &unit.pieces[piece].kind {
                Kind::Start(start) => matches!(start.attributes[attribute].name.as_str(), "class" | "id"),
                _ => false,
            },
            _ => false,
        };
        if unit.is_expression(tag) {
            match unit.spots[tag] {
                Spot::Value(..) if class => self.error(
                    "expression-in-class",
                    at,
                    "an expression in `class` or `id`: which rules apply is not known before the render",
                    "write the classes out: class=\"{% if … %}a{% else %}b{% endif %}\"",
                ),
                // In MJML the preparation itself tells this, since MJML cannot read it at all.
                Spot::Loose(_) if !mjml => self.error(
                    "expression-in-tag",
                    at,
                    "an expression between the attributes of a tag",
                    "write the attribute's name, and the expression in its value: title=\"{{ … }}\"",
                ),
                Spot::Sheet(piece) if self.in_selector(&unit.pieces[piece].range, tag) => self.error(
                    "expression-in-selector",
                    at,
                    "an expression in a selector: which rules apply is not known before the render",
                    "expressions can stand in values: color: {{ brand.colour }}",
                ),
                _ => {}
            }
        }
        let Some(close) = unit.partners[tag] else { return };
        let inside = unit.between(tag, close);
        match unit.word(tag) {
            "for" if class || matches!(unit.spots[tag], Spot::Loose(_) | Spot::Sheet(_)) => self.error(
                "loop-in-tag",
                at,
                "a loop inside a tag or a style sheet",
                "repeat whole elements, or write conditions",
            ),
            "for" if unit.spots[tag] == Spot::Between => {
                if unit.is_unbalanced(&inside) {
                    self.error(
                        "unbalanced-loop",
                        at,
                        "the body of this loop opens what it does not close, or closes what it did not open",
                        "every element begun in a loop ends in it",
                    );
                }
                if mjml && holds(unit, &inside, |name| name == "mj-column") {
                    self.warning(
                        "column-loop",
                        at,
                        "a loop around `mj-column`: the width of columns depends on how many there are, so each message is prepared on its own",
                        "repeat what stands inside one column, or use a table",
                    );
                }
            }
            "set" | "set_global" if holds(unit, &inside, |_| true) => self.error(
                "html-in-set",
                at,
                "HTML inside `set` gets no styles",
                "make it a component: {% component name() %}…{% endcomponent name %}",
            ),
            _ => {}
        }
    }

    /// Values without quotes: data with a space in it would end them.
    fn values(&mut self) {
        let unit = self.unit;
        for piece in &unit.pieces {
            let Kind::Start(start) = &piece.kind else { continue };
            for attribute in start.attributes.iter().filter(|a| !a.quoted) {
                let expressions =
                    attribute.value.as_ref().is_some_and(|v| unit.within(v).any(|t| unit.is_expression(t)));
                if expressions {
                    self.error(
                        "unquoted-value",
                        attribute.range.start,
                        "a value from data without quotes: a space in it would end it",
                        &format!("{}=\"{{{{ … }}}}\"", attribute.name),
                    );
                }
            }
        }
    }

    /// Whether an expression in a style sheet stands before the `{` of a rule.
    fn in_selector(&self, sheet: &Range<usize>, tag: usize) -> bool {
        let text = self.unit.text();
        let mut blanked = text[sheet.clone()].as_bytes().to_vec();
        for other in self.unit.within(sheet) {
            let range = self.unit.tera[other].range.clone();
            blanked[range.start - sheet.start..range.end - sheet.start].fill(b' ');
        }
        let at = self.unit.tera[tag].range.start - sheet.start;
        let marks = |b: &u8| matches!(b, b'{' | b'}' | b';');
        let opens = blanked[at..].iter().find(|b| marks(b)) == Some(&b'{');
        let begins = blanked[..at].iter().rposition(marks).map_or(0, |i| i + 1);
        let is_at_rule = blanked[begins..at].trim_ascii_start().starts_with(b"@");
        opens && !is_at_rule
    }

    /// Selectors that depend on neighbours, where neighbours come and go.
    fn siblings(&mut self) {
        const NEIGHBOURS: [&str; 8] = ["+", "~", ":first-", ":last-", ":nth-", ":only-", ":empty", ":has("];
        let unit = self.unit;
        for piece in unit.pieces.iter().filter(|p| p.kind == Kind::Sheet) {
            let sheet = &unit.text()[piece.range.clone()];
            let mut start = 0;
            for (i, c) in sheet.char_indices().filter(|(_, c)| matches!(c, '{' | '}' | ';')) {
                let selector = &sheet[start..i];
                let is_rule = c == '{' && !selector.trim_start().starts_with('@');
                if is_rule && let Some(sign) = NEIGHBOURS.iter().find(|n| selector.contains(**n)) {
                    let at = piece.range.start + start + (selector.len() - selector.trim_start().len());
                    self.warning(
                        "sibling-selector",
                        at,
                        &format!("`{sign}` depends on which neighbours are rendered"),
                        "give the element a class",
                    );
                }
                start = i + 1;
            }
        }
    }
}

fn holds(unit: &Unit<'_>, range: &Range<usize>, wanted: impl Fn(&str) -> bool) -> bool {
    unit.pieces.iter().any(|p| range.contains(&p.range.start) && matches!(&p.kind, Kind::Start(s) if wanted(&s.name)))
}

#[cfg(test)]
mod tests {
    use super::super::super::engine;
    use super::*;

    fn told(body: &str, name: &str) -> String {
        let files = BTreeMap::from([(name.to_owned(), format!("Subject: x\n\n{body}"))]);
        let mut problems = Problems::new();
        let sources = engine::sources(&files, |_| true, &mut problems);
        lint(&sources, &mut problems);
        problems
            .sorted()
            .iter()
            .map(|p| format!("{}:{} {}", p.place.line, p.place.column, p.code))
            .collect::<Vec<_>>()
            .join(", ")
    }

    #[test]
    fn each_code_is_told_at_its_place_and_what_is_fine_is_not() {
        for (body, expected) in [
            ("<p class=\"a {{ x }}\">", "3:13 expression-in-class"),
            ("<p {{ x }}>", "3:4 expression-in-tag"),
            ("<p {% for x in y %}a{% endfor %}>", "3:4 loop-in-tag"),
            ("<style>{% for x in y %}.a{}{% endfor %}</style>", "3:8 loop-in-tag"),
            ("<style>.{{ x }} { color: {{ y }} }</style>", "3:9 expression-in-selector"),
            ("{% for x in y %}<tr>{% endfor %}", "3:1 unbalanced-loop"),
            ("{% for x in y %}</tr><tr>{% endfor %}", "3:1 unbalanced-loop"),
            ("<a href={{ x }}>y</a>", "3:4 unquoted-value"),
            ("{% set x %}<b>y</b>{% endset %}", "3:1 html-in-set"),
            ("<style>a + b { c: d }</style>{% if x %}{% endif %}", "3:8 sibling-selector"),
            ("{{ x | safe }}", "3:8 safe-filter"),
            (
                "<p class=\"{% if x %}a{% endif %}\" title=\"{{ x }}\">{% for x in y %}<br><i>z</i>{% endfor %}{% set z = 1 %}{% set w %}v{% endset %}",
                "",
            ),
            (
                "<style>@media (max-width: {{ w }}px) { a { color: {{ c }} } } a > b { c: d }</style>{% if x %}{% endif %}",
                "",
            ),
            ("<style>a + b { c: d }</style>", ""),
        ] {
            assert_eq!(told(body, "a.html"), expected, "{body}");
        }
        assert_eq!(
            told("<mjml>{% for x in y %}<mj-column></mj-column>{% endfor %}</mjml>", "a.mjml"),
            "3:7 column-loop"
        );
    }
}
