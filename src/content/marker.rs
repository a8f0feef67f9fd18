//! What the tags and words of a template do to the text part, told ahead between marks ([`super::marks`]): so that no message's HTML is read
//! again, only what Tera pours between its tags.

use std::ops::Range;

use super::lines::Effect;
use super::mapped::Edit;
use super::marks::{self, MARK};
use super::markup::{Kind, Start};
use super::plain;
use super::tags::Kind as TeraKind;
use super::unit::Unit;

/// The marks of the text part. `None`: what a reader sees of it is not known ahead.
pub(super) fn text_marks(unit: &Unit<'_>) -> Option<Vec<Edit>> {
    let mut marker = Marker { unit, open: None, edits: Vec::new() };
    let mut p = 0;
    while p < unit.pieces.len() {
        p = marker.piece(p)?;
    }
    marker.close();
    Some(marker.edits)
}

/// A stretch of HTML that no message changes but for its links, and what it does to the lines.
struct Stretch {
    range: Range<usize>,
    steps: Vec<Step>,
}

enum Step {
    Does(Effect),
    /// Words with single spaces between them.
    Says(String),
}

impl Stretch {
    fn does(&self, effects: &[Effect]) -> bool {
        self.steps.iter().any(|step| matches!(step, Step::Does(effect) if effects.contains(effect)))
    }

    /// Whether the last step is this one.
    fn ends_with(&self, effects: &[Effect]) -> bool {
        matches!(self.steps.last(), Some(Step::Does(effect)) if effects.contains(effect))
    }
}

struct Marker<'u, 'a> {
    unit: &'u Unit<'a>,
    open: Option<Stretch>,
    edits: Vec<Edit>,
}

impl Marker<'_, '_> {
    /// Read a piece; returns the next.
    fn piece(&mut self, p: usize) -> Option<usize> {
        let piece = &self.unit.pieces[p];
        match &piece.kind {
            Kind::Tera(tag) => {
                // What is captured is changed before it is written, and marks with it.
                let captures = match self.unit.word(*tag) {
                    "filter" => true,
                    "set" | "set_global" => self.unit.partners[*tag].is_some(),
                    _ => false,
                };
                if captures {
                    return None;
                }
                self.close();
            }
            Kind::Text => self.text(p),
            Kind::Start(start) => return self.start(p, start),
            Kind::End(name) => self.extend(piece.range.clone(), Effect::of_tag(name, true)),
            Kind::Comment | Kind::Doctype => self.extend(piece.range.clone(), &[]),
            Kind::Sheet | Kind::Raw => return None,
        }
        Some(p + 1)
    }

    fn trims(&self, p: usize) -> bool {
        match self.unit.pieces[p].kind {
            // A comment passes on what the tag before it trims.
            Kind::Tera(tag) => {
                let tag = &self.unit.tera[tag];
                tag.trims_left || tag.trims_right || tag.kind == TeraKind::Comment
            }
            _ => false,
        }
    }

    fn text(&mut self, p: usize) {
        let range = self.unit.pieces[p].range.clone();
        let raw = &self.unit.text()[range.clone()];
        let text = plain::decoded(raw);
        let is_space = |c: char| c.is_ascii_whitespace();
        // White space beside a tag that trims it must stay beside it.
        let trimmed = p > 0 && self.trims(p - 1) || p + 1 < self.unit.pieces.len() && self.trims(p + 1);
        if !trimmed && text.chars().all(|c| c == '\u{a0}' || is_space(c)) {
            let space = text.chars().any(|c| c != '\u{a0}');
            return self.extend(range, if space { &[Effect::Space] } else { &[] });
        }
        // What Tera pours out beside a word may be part of it, and what looks like a tag of Tera must not become one.
        let whole = (text.starts_with(is_space) || self.is_html(p.checked_sub(1)))
            && (text.ends_with(is_space) || self.is_html(Some(p + 1)));
        if trimmed || !whole || raw.contains(['<', '>']) || text.contains(['\u{a0}', '{', MARK]) {
            return self.close();
        }
        self.extend(range.clone(), if text.starts_with(is_space) { &[Effect::Space] } else { &[] });
        let words: Vec<&str> = text.split_ascii_whitespace().collect();
        self.open
            .get_or_insert_with(|| Stretch { range: range.clone(), steps: Vec::new() })
            .steps
            .push(Step::Says(words.join(" ")));
        self.extend(range, if text.ends_with(is_space) { &[Effect::Space] } else { &[] });
    }

    /// Whether a piece is a tag of HTML, or a comment.
    fn is_html(&self, p: Option<usize>) -> bool {
        let piece = p.and_then(|p| self.unit.pieces.get(p));
        piece.is_some_and(|piece| matches!(piece.kind, Kind::Start(_) | Kind::End(_) | Kind::Comment | Kind::Doctype))
    }

    fn start(&mut self, p: usize, start: &Start) -> Option<usize> {
        let range = self.unit.pieces[p].range.clone();
        if !start.loose.is_empty() && start.attributes.iter().any(|a| matters(&a.name)) {
            return None;
        }
        let is_hidden = self.is_hidden(start)? && !start.is_void();
        // A stretch is told at its end, by its last link and its last value.
        let tells = |stretch: &Stretch| stretch.does(&[Effect::Link, Effect::Words, Effect::Label]);
        if self.open.as_ref().is_some_and(tells) && (is_hidden || matches!(start.name.as_str(), "a" | "img")) {
            self.close();
        }
        if is_hidden {
            let end = self.end_of(p, &start.name)?;
            self.extend(range.start..self.unit.pieces[end].range.end, &[]);
            return Some(end + 1);
        }
        if let Some(role) = start.attribute("role").and_then(|a| a.value.clone())
            && self.constant(&role)? == "contentinfo"
        {
            self.extend(range.clone(), &[Effect::Signature]);
        }
        match start.name.as_str() {
            "img" => match self.say(start, "alt") {
                true => self.extend(range, &[Effect::Words]),
                false => self.extend(range, &[]),
            },
            "a" => {
                let leads = start.attribute("href").is_some_and(|a| a.value.is_some());
                self.extend(range.clone(), &[if leads { Effect::Link } else { Effect::LinkEnds }]);
                if self.say(start, "aria-label") {
                    let end = self.end_of(p, "a")?;
                    self.extend(range.start..self.unit.pieces[end].range.end, &[Effect::Label]);
                    return Some(end + 1);
                }
            }
            name => self.extend(range, Effect::of_tag(name, false)),
        }
        Some(p + 1)
    }

    /// Whether an element is never seen; `None` when that depends on the message.
    fn is_hidden(&self, start: &Start) -> Option<bool> {
        if plain::is_never_seen(&start.name) {
            return Some(true);
        }
        if let Some(value) = start.attribute("aria-hidden").and_then(|a| a.value.clone())
            && self.constant(&value)? == "true"
        {
            return Some(true);
        }
        let Some(value) = start.attribute("style").and_then(|a| a.value.clone()) else { return Some(false) };
        let style = &self.unit.text()[value.clone()];
        if !style.to_ascii_lowercase().contains("display") {
            return Some(false);
        }
        // A value of a rule changes nothing about the other rules; a condition might.
        let tags = &self.unit.tera[self.unit.within(&value)];
        if tags.iter().any(|t| t.kind != TeraKind::Expression) {
            return None;
        }
        Some(plain::displays_nothing(&plain::decoded(style)))
    }

    /// The value of an attribute that is the same in every message.
    fn constant(&self, value: &Range<usize>) -> Option<String> {
        self.unit.within(value).is_empty().then(|| plain::decoded(&self.unit.text()[value.clone()]).into_owned())
    }

    /// Have an attribute said.
    fn say(&mut self, start: &Start, name: &str) -> bool {
        let value = start.attribute(name).and_then(|a| a.value.clone());
        if let Some(value) = &value {
            self.edits.extend(marks::said(value));
        }
        value.is_some()
    }

    /// The end tag of the element that begins at a piece; `None` also when conditions or loops reach into the element from outside.
    fn end_of(&self, p: usize, name: &str) -> Option<usize> {
        let mut depth = 1_usize;
        let end = (p + 1..self.unit.pieces.len()).find(|i| {
            match &self.unit.pieces[*i].kind {
                Kind::Start(start) if start.name == name && !start.is_void() => depth += 1,
                Kind::End(ended) if ended == name => depth -= 1,
                _ => {}
            }
            depth == 0
        })?;
        let inside = self.unit.within(&(self.unit.pieces[p].range.end..self.unit.pieces[end].range.start));
        let whole = inside.clone().all(|tag| match self.unit.partners[tag] {
            Some(close) => inside.contains(&close),
            None => !self.unit.word(tag).starts_with("end") || self.opens_within(tag, &inside),
        });
        whole.then_some(end)
    }

    fn opens_within(&self, close: usize, inside: &Range<usize>) -> bool {
        inside.clone().any(|open| self.unit.partners[open] == Some(close))
    }

    fn extend(&mut self, range: Range<usize>, effects: &[Effect]) {
        let stretch = self.open.get_or_insert_with(|| Stretch { range: range.clone(), steps: Vec::new() });
        stretch.range.end = stretch.range.end.max(range.end);
        for effect in effects {
            // A space is forgotten where a line begins, and two are one.
            let ends_line = matches!(effect, Effect::Space | Effect::Break | Effect::Line | Effect::Paragraph);
            if ends_line && stretch.ends_with(&[Effect::Space]) {
                stretch.steps.pop();
            }
            if *effect == Effect::Line && stretch.ends_with(&[Effect::Line, Effect::Paragraph]) {
                continue;
            }
            stretch.steps.push(Step::Does(*effect));
        }
    }

    fn close(&mut self) {
        let Some(Stretch { range, steps }) = self.open.take() else { return };
        let mut told = String::new();
        for step in &steps {
            match step {
                Step::Does(effect) => told.push(effect.letter()),
                Step::Says(words) => marks::say(&mut told, words),
            }
        }
        self.edits.extend(marks::stretch(&range, &told));
    }
}

/// Attributes that decide what the text part says.
fn matters(name: &str) -> bool {
    matches!(name, "aria-hidden" | "style" | "role" | "href" | "alt" | "aria-label")
}
