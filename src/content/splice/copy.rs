//! The copy that the inliner sees: the elements of a mail in the order they are rendered, each with a number, and nothing else. What the
//! inliner says about a number is the answer.

use std::collections::BTreeMap;
use std::ops::Range;

use css_inline::CSSInliner;

use super::super::flatten::Refusal;
use super::super::markup::{self, Kind, Start};
use super::super::plain::decoded;
use super::super::unit::Unit;
use super::axes::{Axes, Combination};

/// The attribute that carries an element's number.
const NUMBER: &str = "data-okaeri-number";

/// What the inliner said, by unit and piece.
#[derive(Debug, Default)]
pub(super) struct Answer {
    /// Declarations for each element that was in the copy; empty when no rule applies.
    pub styles: BTreeMap<(usize, usize), String>,
    /// What remains of each style sheet.
    pub sheets: BTreeMap<(usize, usize), String>,
}

/// Tera tags inside values and style sheets, each as one private-use character, which CSS takes for a name.
#[derive(Debug, Default)]
pub(super) struct Tokens {
    tags: Vec<String>,
}

impl Tokens {
    fn character(&mut self, tag: &str) -> char {
        let place = self.tags.iter().position(|t| t == tag).unwrap_or_else(|| {
            self.tags.push(tag.to_owned());
            self.tags.len() - 1
        });
        let code = FIRST + u32::try_from(place).unwrap_or(u32::MAX - FIRST).min(LAST - FIRST);
        char::from_u32(code).expect("the private use plane has no gaps")
    }

    /// Put the tags back.
    pub fn restored(&self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        for c in text.chars() {
            match u32::from(c).checked_sub(FIRST).and_then(|n| self.tags.get(n as usize)) {
                Some(tag) => out.push_str(tag),
                None => out.push(c),
            }
        }
        out
    }
}

/// Supplementary Private Use Area-A.
const FIRST: u32 = 0xF_0000;
const LAST: u32 = 0xF_FFFD;

/// Style one combination.
pub(super) fn styled(
    units: &[Unit<'_>],
    axes: &Axes,
    combination: &Combination,
    tokens: &mut Tokens,
) -> Result<Answer, Refusal> {
    let left_out = (0..units.len()).map(|u| axes.left_out(units, u, combination)).collect();
    let mut copy = Copy { units, left_out, tokens, out: "<!DOCTYPE html>".to_owned(), numbers: Vec::new() };
    copy.range(0, 0..units[0].pieces.len(), None);
    let Copy { out, numbers, .. } = copy;
    let inliner = CSSInliner::options()
        .keep_style_tags(true)
        .remove_inlined_selectors(true)
        .load_remote_stylesheets(false)
        .build();
    let origin = || units[0].mapped.origin(0).expect("a mail with a style sheet is not empty");
    let inlined = inliner.inline(&out).map_err(|e| Refusal {
        code: "css-fails",
        message: format!("the style sheet cannot be read: {e}"),
        at: sheet_origin(units).unwrap_or_else(origin),
    })?;
    Ok(read(&inlined, &numbers))
}

fn sheet_origin(units: &[Unit<'_>]) -> Option<super::super::mapped::Origin> {
    units.iter().find_map(|u| {
        let sheet = u.pieces.iter().find(|p| p.kind == Kind::Sheet)?;
        u.mapped.origin(sheet.range.start)
    })
}

/// Read the answer out of what the inliner wrote.
fn read(inlined: &str, numbers: &[(usize, usize)]) -> Answer {
    let mut answer = Answer::default();
    for key in numbers {
        answer.styles.insert(*key, String::new());
    }
    let mut sheet = None;
    for piece in markup::pieces(inlined, &[]) {
        match piece.kind {
            Kind::Start(start) => {
                let value = |name: &str| Some(&inlined[start.attribute(name)?.value.clone()?]);
                let Some(key) = value(NUMBER).and_then(|n| numbers.get(n.parse::<usize>().ok()?)) else { continue };
                if start.name == "style" {
                    sheet = Some(*key);
                } else if let Some(style) = value("style") {
                    answer.styles.insert(*key, decoded(style).into_owned());
                }
            }
            Kind::Sheet => {
                if let Some(key) = sheet.take() {
                    answer.sheets.insert(key, inlined[piece.range].to_owned());
                }
            }
            _ => {}
        }
    }
    answer
}

struct Copy<'a> {
    units: &'a [Unit<'a>],
    left_out: Vec<Vec<Range<usize>>>,
    tokens: &'a mut Tokens,
    out: String,
    /// Number → unit and piece.
    numbers: Vec<(usize, usize)>,
}

/// The pieces between a component's start and end tag, which stand where it says `{{ body }}`.
type Body = Option<(usize, Range<usize>)>;

impl Copy<'_> {
    /// Whether a whole range is; a style sheet may begin with a branch that is, and go on.
    fn is_left_out(&self, unit: usize, range: &Range<usize>) -> bool {
        self.left_out[unit].iter().any(|r| r.start <= range.start && range.end <= r.end)
    }

    fn range(&mut self, u: usize, range: Range<usize>, body: Option<(&Body, usize)>) {
        let unit = &self.units[u];
        let mut p = range.start;
        while p < range.end {
            let piece = &unit.pieces[p];
            if !self.is_left_out(u, &piece.range) {
                match &piece.kind {
                    Kind::Start(start) => self.start(u, p, start),
                    Kind::End(name) => {
                        self.out.push_str("</");
                        self.out.push_str(name);
                        self.out.push('>');
                    }
                    Kind::Sheet => {
                        let text = self.chosen(u, piece.range.clone());
                        self.out.push_str(&text);
                    }
                    Kind::Tera(tag) => p = self.called(u, p, *tag, body),
                    Kind::Text | Kind::Comment | Kind::Doctype | Kind::Raw => {}
                }
            }
            p += 1;
        }
    }

    /// A Tera tag between elements: a call puts its component in; returns the last piece dealt with.
    fn called(&mut self, u: usize, p: usize, tag: usize, body: Option<(&Body, usize)>) -> usize {
        let unit = &self.units[u];
        let said = unit.said(tag);
        if let Some(name) = said.strip_prefix('<').filter(|s| !s.starts_with('/')) {
            let name = name.trim_start();
            let name = &name[..name.find(|c: char| !c.is_alphanumeric() && c != '_' && c != '.').unwrap_or(name.len())];
            let Some(component) = self.units.iter().position(|other| !name.is_empty() && other.name == name) else {
                return p;
            };
            let close = unit.partners[tag]
                .and_then(|close| unit.pieces.iter().position(|q| q.kind == Kind::Tera(close)))
                .filter(|close| *close > p);
            let inside: Body = close.map(|close| (u, p + 1..close));
            let pieces = 0..self.units[component].pieces.len();
            self.range(component, pieces, Some((&inside, 0)));
            return close.unwrap_or(p);
        }
        let is_body = unit.is_expression(tag)
            && said
                .strip_prefix("body")
                .is_some_and(|rest| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_'));
        if is_body
            && let Some((Some((caller, pieces)), depth)) = body
            && depth < 1
        {
            self.range(*caller, pieces.clone(), None);
        }
        p
    }

    fn start(&mut self, u: usize, p: usize, start: &Start) {
        if matches!(start.name.as_str(), "link" | "script" | "title" | "textarea") {
            return;
        }
        let unit = &self.units[u];
        self.out.push('<');
        self.out.push_str(&start.name);
        self.out.push_str(&format!(" {NUMBER}=\"{}\"", self.numbers.len()));
        self.numbers.push((u, p));
        for attribute in &start.attributes {
            let plain = attribute.name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b':'));
            if attribute.name == "style" || !plain || self.is_left_out(u, &attribute.range) {
                continue;
            }
            self.out.push(' ');
            self.out.push_str(&attribute.name);
            if let Some(value) = &attribute.value {
                let quote = if unit.text()[..value.start].ends_with('\'') { '\'' } else { '"' };
                let text = self.chosen(u, value.clone());
                self.out.push('=');
                self.out.push(quote);
                self.out.push_str(&text);
                self.out.push(quote);
            }
        }
        self.out.push('>');
    }

    /// A text of the template without the branches that are left out, its Tera expressions as characters.
    fn chosen(&mut self, u: usize, range: Range<usize>) -> String {
        let unit = &self.units[u];
        let mut out = String::new();
        let mut at = range.start;
        for t in unit.within(&range) {
            let tag = &unit.tera[t];
            self.push_kept(u, at..tag.range.start, &mut out);
            if unit.is_expression(t) && !self.is_left_out(u, &tag.range) {
                out.push(self.tokens.character(&unit.text()[tag.range.clone()]));
            }
            at = tag.range.end;
        }
        self.push_kept(u, at..range.end, &mut out);
        out
    }

    fn push_kept(&self, u: usize, range: Range<usize>, out: &mut String) {
        if !range.is_empty() && !self.is_left_out(u, &range) {
            out.push_str(&self.units[u].text()[range]);
        }
    }
}
