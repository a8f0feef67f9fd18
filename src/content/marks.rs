//! Marks in a prepared mail: what Tera pours out is HTML with marks, and one pass turns it into the HTML with its links and the text part.
//!
//! A link or a picture stands between marks and is judged ([`super::track`]) on the way out, which costs less than a filter of Tera. Tags
//! of HTML stand between marks that say what they do to the lines of the text part, so that no message's HTML is read again. What
//! [`super::plain`] makes of the finished HTML is the judge ([`super::gate`]); where a template does not show ahead what a reader
//! sees, there are no such marks and the text is made from the HTML.
//!
//! A mark is [`MARK`] and a letter. No data holds it: [`super::context`] drops it.

use std::ops::Range;

use super::lines::{Effect, Lines};
use super::mapped::Edit;
use super::markup::{Kind, Start};
use super::plain;
use super::tags::Kind as TeraKind;
use super::track::Trail;
use super::unit::Unit;

/// Begins every mark.
pub(super) const MARK: char = '\u{1}';

/// From here on HTML alone; may be nested.
const HTML_ALONE: char = 'h';
/// Ends that; the letters of effects and [`STOP`] follow.
const BOTH: char = 't';
/// A link: its number, how it is treated, its destination up to [`END`].
const LINK: char = 'l';
const PICTURE: char = 'p';
/// A value of an attribute that the text part says.
const SAID: char = 's';
const END: char = 'e';
/// Ends what follows a mark.
const STOP: char = ';';

/// How a link is treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Treated {
    Tracked,
    Direct,
    /// Its destination is our own or no page of the web.
    AsItIs,
}

/// Put a link between marks.
pub(super) fn link(value: &Range<usize>, number: u32, treated: Treated) -> [Edit; 2] {
    let letter = match treated {
        Treated::Tracked => 't',
        Treated::Direct => 'd',
        Treated::AsItIs => 'a',
    };
    between(value, &format!("{LINK}{letter}{number}{STOP}"))
}

/// Put the address of a picture between marks.
pub(super) fn picture(value: &Range<usize>) -> [Edit; 2] {
    between(value, &PICTURE.to_string())
}

fn between(value: &Range<usize>, begins: &str) -> [Edit; 2] {
    [Edit::insert(value.start, format!("{MARK}{begins}")), Edit::insert(value.end, format!("{MARK}{END}"))]
}

/// Whether a prepared text says what its tags do to the text part.
pub(super) fn tell_text(prepared: &str) -> bool {
    prepared.contains(&format!("{MARK}{HTML_ALONE}"))
}

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

/// A stretch of HTML that the text part does not show, and what it does to the lines.
struct Stretch {
    range: Range<usize>,
    effects: Vec<Effect>,
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
                if self.unit.tera[*tag].kind != TeraKind::Comment || self.trims(p) {
                    self.close();
                } else {
                    self.extend(piece.range.clone(), &[]);
                }
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
            Kind::Tera(tag) => self.unit.tera[tag].trims_left || self.unit.tera[tag].trims_right,
            _ => false,
        }
    }

    fn text(&mut self, p: usize) {
        let range = self.unit.pieces[p].range.clone();
        let text = plain::decoded(&self.unit.text()[range.clone()]);
        // White space beside a tag that trims it must stay beside it.
        let trimmed = p > 0 && self.trims(p - 1) || p + 1 < self.unit.pieces.len() && self.trims(p + 1);
        if trimmed || !text.chars().all(|c| c == '\u{a0}' || c.is_ascii_whitespace()) {
            self.close();
            return;
        }
        let space = text.chars().any(|c| c != '\u{a0}');
        self.extend(range, if space { &[Effect::Space] } else { &[] });
    }

    fn start(&mut self, p: usize, start: &Start) -> Option<usize> {
        let range = self.unit.pieces[p].range.clone();
        if !start.loose.is_empty() && start.attributes.iter().any(|a| matters(&a.name)) {
            return None;
        }
        if self.is_hidden(start)? && !start.is_void() {
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
        self.unit.within(value).is_empty().then(|| plain::decoded(&self.unit.text()[value.clone()]))
    }

    /// Have an attribute said.
    fn say(&mut self, start: &Start, name: &str) -> bool {
        let value = start.attribute(name).and_then(|a| a.value.clone());
        if let Some(value) = &value {
            self.edits.extend(between(value, &SAID.to_string()));
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
        let stretch = self.open.get_or_insert_with(|| Stretch { range: range.clone(), effects: Vec::new() });
        stretch.range.end = stretch.range.end.max(range.end);
        for effect in effects {
            // A space is forgotten where a line begins, and two are one.
            let ends_line = matches!(effect, Effect::Space | Effect::Break | Effect::Line | Effect::Paragraph);
            if ends_line && stretch.effects.last() == Some(&Effect::Space) {
                stretch.effects.pop();
            }
            if *effect == Effect::Line && matches!(stretch.effects.last(), Some(Effect::Line | Effect::Paragraph)) {
                continue;
            }
            stretch.effects.push(*effect);
        }
    }

    fn close(&mut self) {
        let Some(stretch) = self.open.take() else { return };
        let letters: String = stretch.effects.iter().map(|e| e.letter()).collect();
        self.edits.push(Edit::insert(stretch.range.start, format!("{MARK}{HTML_ALONE}")));
        self.edits.push(Edit::insert(stretch.range.end, format!("{MARK}{BOTH}{letters}{STOP}")));
    }
}

/// Attributes that decide what the text part says.
fn matters(name: &str) -> bool {
    matches!(name, "aria-hidden" | "style" | "role" | "href" | "alt" | "aria-label")
}

/// The HTML of a message and, where the marks tell it, its text part.
pub(super) fn parted(poured: &str, trail: &Trail, wants_text: bool) -> (String, Option<String>) {
    let mut out = Parted { html: String::with_capacity(poured.len() + poured.len() / 8), ..Parted::default() };
    let mut rest = poured;
    while let Some(at) = next_mark(rest) {
        out.piece(&rest[..at], wants_text);
        let Some(letter) = rest[at + 1..].chars().next() else { break };
        rest = out.mark(letter, &rest[at + 1 + letter.len_utf8()..], trail, wants_text);
    }
    out.piece(rest, wants_text);
    (out.html, wants_text.then(|| out.lines.finish()))
}

#[derive(Default)]
struct Parted {
    html: String,
    lines: Lines,
    /// How deep we are in what the text part does not show.
    alone: usize,
    /// The last link and the last value that were marked, by their places in the HTML.
    href: Range<usize>,
    said: Range<usize>,
}

impl Parted {
    fn piece(&mut self, piece: &str, wants_text: bool) {
        self.html.push_str(piece);
        if wants_text && self.alone == 0 {
            plain::read(piece, &mut self.lines);
        }
    }

    /// Do what a mark says; returns where reading goes on.
    fn mark<'r>(&mut self, letter: char, rest: &'r str, trail: &Trail, wants_text: bool) -> &'r str {
        let start = self.html.len();
        match letter {
            HTML_ALONE => self.alone += 1,
            BOTH => {
                let (letters, rest) = rest.split_once(STOP).unwrap_or_default();
                self.alone = self.alone.saturating_sub(1);
                if wants_text && self.alone == 0 {
                    let (said, href) = (&self.html[self.said.clone()], &self.html[self.href.clone()]);
                    for effect in letters.bytes().filter_map(Effect::of_letter) {
                        self.lines.take(effect, said, href);
                    }
                }
                return rest;
            }
            LINK => {
                let (how, after) = rest.split_once(STOP).unwrap_or_default();
                let (to, rest) = ended(after);
                let number = how.get(1..).and_then(|n| n.parse().ok()).unwrap_or_default();
                match how.as_bytes().first() {
                    Some(b't') => trail.link(&mut self.html, to, number, true),
                    Some(b'd') => trail.link(&mut self.html, to, number, false),
                    _ => self.html.push_str(to),
                }
                self.href = start..self.html.len();
                return rest;
            }
            PICTURE => {
                let (of, rest) = ended(rest);
                self.html.push_str(super::track::picture(of));
                return rest;
            }
            SAID => {
                let (value, rest) = ended(rest);
                self.html.push_str(value);
                self.said = start..self.html.len();
                return rest;
            }
            _ => {}
        }
        rest
    }
}

fn next_mark(text: &str) -> Option<usize> {
    memchr::memchr(MARK as u8, text.as_bytes())
}

/// What stands before the mark that ends it, and what follows.
fn ended(text: &str) -> (&str, &str) {
    let Some(at) = next_mark(text) else { return (text, "") };
    (&text[..at], text.get(at + 2..).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::super::mapped::Mapped;
    use super::*;

    /// The text part that marks tell of a template without tags of Tera, and whether they tell it.
    fn told(html: &str) -> Option<String> {
        let mapped = Mapped::of("", html);
        let unit = Unit::new("", &mapped);
        let mut edits = text_marks(&unit)?;
        let mut number = 0;
        edits.extend(super::super::links::edits(&unit, &mut number));
        let (out, text) = parted(&mapped.edited(edits).text, &Trail::default(), true);
        assert_eq!(out, html, "marks leave the HTML as it is");
        text
    }

    #[test]
    fn marks_tell_what_the_finished_html_says() {
        for html in [
            "<html><head><title>x</title><style>p > a { color: red }</style></head><body><p>a <b>b</b>c</p> d<br>e</body></html>",
            "<div style='display: none'>x<div>y</div></div><ul><li>a</li><li>b <a href=\"https://example.com/\">c</a></li></ul>",
            "<table aria-hidden=\"true\"><tr><td>x</td></tr></table><table><tr>\n<td> 1 </td><td>2</td></tr></table>",
            "<a href=\"https://example.com/?a=1&amp;b=2\" aria-label=\"Go &amp; see\">&#9733;</a> z <img alt=\"A &lt; B\" src=\"x\">",
            "<p>5 < 6 &nbsp; AT&T</p>&nbsp;<ol><li>x<ol><li>y</li></ol></li></ol><div role=\"contentinfo\"><p>leave</p></div>",
            "<!--[if mso]><p>Outlook</p><![endif]--><a>no link</a><a href=\"mailto:a@example.com\">a@example.com</a>",
        ] {
            assert_eq!(told(html), Some(plain::from_html(html)), "{html}");
        }
    }

    #[test]
    fn what_is_only_known_per_message_is_not_told_ahead() {
        for template in [
            "<p aria-hidden=\"{{ x }}\">a</p>",
            "<p style=\"{% if x %}display:none{% endif %}\">a</p>",
            "{% filter upper %}<p>a</p>{% endfilter %}",
            "<div style=\"display:none\">{% if x %}</div>{% endif %}",
            "<a {% if x %}href=\"https://example.com/\"{% endif %}>a</a>",
            "<div style=\"display:none\">never closed",
        ] {
            let mapped = Mapped::of("", template);
            assert_eq!(text_marks(&Unit::new("", &mapped)), None, "{template}");
        }
    }

    #[test]
    fn marks_that_make_no_sense_are_no_panic() {
        for poured in
            ["\u{1}", "\u{1}h", "\u{1}t", "\u{1}txyz;\u{1}t;", "\u{1}l", "\u{1}lt9;", "\u{1}s\u{1}", "\u{1}日"]
        {
            parted(poured, &Trail::default(), true);
        }
    }
}
