//! A text of a mail taken apart: its Tera tags, its pieces of HTML, and where each tag stands among them.

use std::ops::Range;

use super::mapped::Mapped;
use super::markup::{self, Piece};
use super::tags::{self, Kind as TeraKind, Tag};

/// One text: the mail itself, or a component made for one call.
#[derive(Debug)]
pub(super) struct Unit<'a> {
    /// Of a component; empty for the mail itself.
    pub name: &'a str,
    pub mapped: &'a Mapped,
    pub tera: Vec<Tag>,
    pub partners: Vec<Option<usize>>,
    pub pieces: Vec<Piece>,
    /// For each Tera tag.
    pub spots: Vec<Spot>,
}

/// Where a Tera tag stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spot {
    /// Between the tags of HTML.
    Between,
    /// In a start tag, between attributes; the piece.
    Loose(usize),
    /// In an attribute's value: the piece and the attribute.
    Value(usize, usize),
    /// In a style sheet; the piece.
    Sheet(usize),
    /// In a comment, a title, a script, the name of an attribute.
    Elsewhere,
}

/// `{% if %} … {% elif %} … {% else %} … {% endif %}`, by their places in the list of tags.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Group {
    pub marks: Vec<usize>,
    pub end: usize,
}

impl<'a> Unit<'a> {
    pub fn new(name: &'a str, mapped: &'a Mapped) -> Unit<'a> {
        Unit::with_tags(name, mapped, tags::tags(&mapped.text))
    }

    /// A text without Tera: what looks like a tag of it came from data, and is text.
    pub fn rendered(mapped: &'a Mapped) -> Unit<'a> {
        Unit::with_tags("", mapped, Vec::new())
    }

    fn with_tags(name: &'a str, mapped: &'a Mapped, tera: Vec<Tag>) -> Unit<'a> {
        let partners = tags::partners(&mapped.text, &tera);
        let pieces = markup::pieces(&mapped.text, &tera);
        let mut unit = Unit { name, mapped, partners, pieces, spots: vec![Spot::Elsewhere; tera.len()], tera };
        unit.find_spots();
        unit
    }

    pub fn text(&self) -> &'a str {
        &self.mapped.text
    }

    /// What a Tera tag says.
    pub fn said(&self, tag: usize) -> &'a str {
        self.tera[tag].inner(self.text())
    }

    pub fn word(&self, tag: usize) -> &'a str {
        self.tera[tag].word(self.text())
    }

    pub fn is_expression(&self, tag: usize) -> bool {
        self.tera[tag].kind == TeraKind::Expression
    }

    /// The Tera tags within a range.
    pub fn within(&self, range: &Range<usize>) -> Range<usize> {
        let first = self.tera.partition_point(|t| t.range.start < range.start);
        let last = self.tera.partition_point(|t| t.range.start < range.end);
        first..last.max(first)
    }

    fn find_spots(&mut self) {
        let mut spots = std::mem::take(&mut self.spots);
        for (p, piece) in self.pieces.iter().enumerate() {
            match &piece.kind {
                markup::Kind::Tera(tag) => spots[*tag] = Spot::Between,
                markup::Kind::Sheet => spots[self.within(&piece.range)].fill(Spot::Sheet(p)),
                markup::Kind::Start(start) => {
                    for tag in &start.loose {
                        spots[*tag] = Spot::Loose(p);
                    }
                    for (a, attribute) in start.attributes.iter().enumerate() {
                        if let Some(value) = &attribute.value {
                            spots[self.within(value)].fill(Spot::Value(p, a));
                        }
                    }
                }
                _ => {}
            }
        }
        self.spots = spots;
    }

    /// The `if`s with their branches.
    pub fn groups(&self) -> Vec<Group> {
        let mut groups = Vec::new();
        for (i, end) in self.partners.iter().enumerate().filter(|(i, _)| self.word(*i) == "if") {
            let Some(end) = *end else { continue };
            let mut marks = vec![i];
            let mut j = i + 1;
            while j < end {
                match self.word(j) {
                    "elif" | "else" => marks.push(j),
                    _ => {}
                }
                j = self.partners[j].map_or(j, |close| close) + 1;
            }
            groups.push(Group { marks, end });
        }
        groups
    }

    /// The innermost `for` around a tag, by the place of its tag.
    pub fn loop_around(&self, tag: usize) -> Option<usize> {
        (0..tag).rev().find(|i| self.word(*i) == "for" && self.partners[*i].is_some_and(|close| close > tag))
    }

    /// From the end of one Tera tag to the start of another.
    pub fn between(&self, from: usize, to: usize) -> Range<usize> {
        self.tera[from].range.end..self.tera[to].range.start
    }

    /// Whether a range opens elements that it does not close, or closes what it did not open.
    pub fn is_unbalanced(&self, range: &Range<usize>) -> bool {
        let inside = self.pieces.iter().filter(|p| range.contains(&p.range.start));
        let mut depth = 0_usize;
        for piece in inside {
            match &piece.kind {
                markup::Kind::Start(start) if !start.is_void() => depth += 1,
                markup::Kind::End(name) if !markup::is_void(name) => match depth.checked_sub(1) {
                    Some(less) => depth = less,
                    None => return true,
                },
                _ => {}
            }
        }
        depth != 0
    }
}
