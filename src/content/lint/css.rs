//! Styles and elements that mail programs ignore ([`super::facts`]), in the sources as their authors wrote them.
//!
//! What stands inside `@media` is for programs that know it, and is left alone; so is what a comment hides from Outlook.

use std::collections::BTreeMap;
use std::ops::Range;

use super::super::engine::Source;
use super::super::mapped::Mapped;
use super::super::markup::Kind;
use super::super::prepare::is_mjml;
use super::super::unit::Unit;
use super::Told;
use super::facts::{Client, IGNORED, Ignored, Sign};
use super::look::split;

pub(super) fn lint(sources: &BTreeMap<String, Source>, told: &mut Told<'_>) {
    for (name, source) in sources {
        if source.made.is_none() && (name.ends_with(".html") || is_mjml(name)) {
            let mapped = Mapped::of(name, &source.text);
            Styles { source, unit: &Unit::new("", &mapped), told, hidden_from_outlook: false }.all();
        }
    }
}

struct Styles<'s, 't, 'p> {
    source: &'s Source,
    unit: &'s Unit<'s>,
    told: &'t mut Told<'p>,
    /// Between `<!--[if !mso]>` and its end.
    hidden_from_outlook: bool,
}

impl Styles<'_, '_, '_> {
    fn all(&mut self) {
        let unit = self.unit;
        for piece in &unit.pieces {
            let text = &unit.text()[piece.range.clone()];
            match &piece.kind {
                Kind::Comment if text.contains("[if !mso") => self.hidden_from_outlook = true,
                Kind::Comment if text.contains("[endif]") => self.hidden_from_outlook = false,
                Kind::Start(start) => {
                    self.matching(|sign| matches!(sign, Sign::Element(name) if *name == start.name), piece.range.start);
                    if let Some(address) =
                        start.attribute("src").filter(|_| start.name == "img").and_then(|a| a.value.clone())
                    {
                        let begins =
                            unit.text()[address.clone()].trim_start().get(..5).unwrap_or_default().to_ascii_lowercase();
                        self.matching(|sign| matches!(sign, Sign::Picture(with) if begins == *with), piece.range.start);
                    }
                    if let Some(style) = start.attribute("style").and_then(|a| a.value.clone()) {
                        self.declarations(style);
                    }
                }
                Kind::Sheet => self.sheet(piece.range.clone()),
                _ => {}
            }
        }
    }

    /// Tell what of the table a test picks.
    fn matching(&mut self, is: impl Fn(&Sign) -> bool, at: usize) {
        for Ignored { sign, by, .. } in IGNORED.iter().filter(|i| is(&i.sign)) {
            let by: Vec<&str> =
                by.iter().filter(|c| **c != Client::Outlook || !self.hidden_from_outlook).map(|c| c.name()).collect();
            if by.is_empty() {
                continue;
            }
            let what = match sign {
                Sign::Property(name) | Sign::AtRule(name) | Sign::Selector(name) => format!("`{name}`"),
                Sign::Value(name, value) => format!("`{name}: {value}`"),
                Sign::Function(name) => format!("`{name}()`"),
                Sign::Unit(name) => format!("the unit `{name}`"),
                Sign::Element(name) => format!("`<{name}>`"),
                Sign::Picture(begins) => format!("a picture inside the mail (`{begins}`)"),
            };
            let message = format!("{what} means nothing to {}", by.join(", "));
            let hint = "build it so that the mail is right without it: tables, widths in px, words beside pictures";
            self.told.tell("ignored-css", &self.source.place_at(at), message, hint);
        }
    }

    /// A style sheet: its rules outside of at-rules.
    fn sheet(&mut self, range: Range<usize>) {
        let text = &self.unit.text()[range.clone()];
        let (mut start, mut i) = (0, 0);
        while let Some(found) = text[i..].find(['{', ';', '}']).map(|at| i + at) {
            let head = text[start..found].trim_start();
            let at = range.start + found - text[start..found].trim_start().len();
            match text.as_bytes()[found] {
                b'{' if self.unit.tera.iter().any(|t| t.range.contains(&(range.start + found))) => {
                    // A tag of Tera, not a rule.
                    let tag = self.unit.tera.iter().find(|t| t.range.contains(&(range.start + found)));
                    i = tag.map_or(found + 1, |t| t.range.end - range.start).min(text.len());
                    continue;
                }
                b'{' => {
                    let end = closing(text, found);
                    if !head.starts_with('@') {
                        let selector = head.to_ascii_lowercase().replace("::", ":").replace(':', "::");
                        self.matching(|sign| matches!(sign, Sign::Selector(part) if selector.contains(part)), at);
                        self.declarations(range.start + found + 1..range.start + end);
                    }
                    i = (end + 1).min(text.len());
                    start = i;
                }
                _ => {
                    self.matching(|sign| matches!(sign, Sign::AtRule(name) if head.starts_with(name)), at);
                    i = found + 1;
                    start = i;
                }
            }
        }
    }

    fn declarations(&mut self, range: Range<usize>) {
        let text = &self.unit.text()[range.clone()];
        let mut at = range.start;
        for declaration in split(text, ';') {
            let own = at + declaration.len() - declaration.trim_start().len();
            at += declaration.len() + 1;
            let Some((name, value)) = declaration.split_once(':') else { continue };
            let (name, value) = (name.trim().to_ascii_lowercase(), value.trim().to_ascii_lowercase());
            // What Tera fills in is not known here.
            let plain = !value.starts_with('{');
            let function = |f: &str| {
                value.match_indices(f).any(|(i, _)| {
                    value[i + f.len()..].starts_with('(')
                        && !value[..i].ends_with(|c: char| c.is_alphanumeric() || c == '-')
                })
            };
            self.matching(
                |sign| match sign {
                    Sign::Property(property) => name == *property && plain && !is_nothing(&value),
                    Sign::Value(property, begins) => name == *property && value.starts_with(begins),
                    Sign::Function(f) => function(f),
                    Sign::Unit(unit) => has_unit(&value, unit),
                    Sign::Selector(_) | Sign::AtRule(_) | Sign::Element(_) | Sign::Picture(_) => false,
                },
                own,
            );
        }
    }
}

/// Values that ask for what is there anyway.
fn is_nothing(value: &str) -> bool {
    let value = value.trim_end_matches("!important").trim();
    matches!(value, "none" | "static" | "visible" | "0" | "auto" | "normal" | "inherit" | "initial")
}

fn has_unit(value: &str, unit: &str) -> bool {
    value.match_indices(unit).any(|(i, _)| {
        value[..i].ends_with(|c: char| c.is_ascii_digit())
            && !value[i + unit.len()..].starts_with(|c: char| c.is_alphanumeric())
    })
}

/// Where the bracket that opens at `open` closes.
fn closing(text: &str, open: usize) -> usize {
    let mut depth = 0_usize;
    for (i, b) in text.bytes().enumerate().skip(open) {
        match b {
            b'{' => depth += 1,
            b'}' => {
                depth -= 1;
                if depth == 0 {
                    return i;
                }
            }
            _ => {}
        }
    }
    text.len()
}
