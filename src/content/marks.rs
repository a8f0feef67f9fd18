//! Marks in a prepared mail: what Tera pours out is HTML with marks, and one pass turns it into the HTML with its links and the text part.
//!
//! A link or a picture stands between marks and is judged ([`super::track`]) on the way out, which costs less than a filter of Tera. HTML that
//! no message changes stands between marks that say what its tags and words do to the lines of the text part ([`super::marker`]), so that
//! no message's HTML is read again. What [`super::plain`] makes of the finished HTML is the judge ([`super::gate`]); where a template does
//! not show ahead what a reader sees, there are no such marks and the text is made from the HTML.
//!
//! A mark is [`MARK`] and a letter. No data holds it: [`super::context`] drops it.

use std::fmt::Write as _;
use std::ops::Range;

use super::lines::{Effect, Lines};
use super::mapped::Edit;
use super::plain;
use super::track::Trail;

/// Begins every mark.
pub(super) const MARK: char = '\u{1}';

/// From here on HTML alone; may be nested.
const HTML_ALONE: char = 'h';
/// Ends that; the letters of effects, words ([`WORDS`]) and [`STOP`] follow.
const BOTH: char = 't';
/// Words that a stretch says: their length in bytes, a colon, the words.
const WORDS: u8 = b'x';
/// A link: its number, how it is treated, its destination up to [`END`].
const LINK: char = 'l';
const PICTURE: char = 'p';
/// A value of an attribute that the text part says.
const SAID: char = 's';
const END: char = 'e';
/// Ends what follows a mark.
const STOP: char = ';';
const STOP_LETTER: u8 = STOP as u8;

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

/// Put a value of an attribute that the text part says between marks.
pub(super) fn said(value: &Range<usize>) -> [Edit; 2] {
    between(value, &SAID.to_string())
}

/// Put a stretch of HTML between marks that tell what it does, in letters and words, to the text part.
pub(super) fn stretch(range: &Range<usize>, told: &str) -> [Edit; 2] {
    [
        Edit::insert(range.start, format!("{MARK}{HTML_ALONE}")),
        Edit::insert(range.end, format!("{MARK}{BOTH}{told}{STOP}")),
    ]
}

/// Words among the letters of a stretch.
pub(super) fn say(told: &mut String, words: &str) {
    write!(told, "{}{}:{words}", char::from(WORDS), words.len()).expect("memory takes what is written");
}

fn between(value: &Range<usize>, begins: &str) -> [Edit; 2] {
    [Edit::insert(value.start, format!("{MARK}{begins}")), Edit::insert(value.end, format!("{MARK}{END}"))]
}

/// Whether a prepared text says what its tags do to the text part.
pub(super) fn tell_text(prepared: &str) -> bool {
    prepared.contains(&format!("{MARK}{HTML_ALONE}"))
}

/// The HTML of a message and, where the marks tell it, its text part.
pub(super) fn parted(poured: &str, trail: &Trail, wants_text: bool) -> (String, Option<String>) {
    let lines = if wants_text { Lines::roomy() } else { Lines::default() };
    let mut out = Parted { html: String::with_capacity(poured.len() + poured.len() / 8), lines, ..Parted::default() };
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
                self.alone = self.alone.saturating_sub(1);
                return self.told(rest, wants_text && self.alone == 0);
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

    /// Do what the letters of a stretch say, or pass them over; returns where reading goes on.
    fn told<'r>(&mut self, mut rest: &'r str, wanted: bool) -> &'r str {
        let (said, href) = (&self.html[self.said.clone()], &self.html[self.href.clone()]);
        while let Some(letter) = rest.bytes().next() {
            rest = rest.get(1..).unwrap_or_default();
            match letter {
                STOP_LETTER => return rest,
                WORDS => {
                    let Some((words, after)) = counted(rest) else { return "" };
                    rest = after;
                    if wanted {
                        self.lines.say(words);
                    }
                }
                letter => {
                    if let Some(effect) = Effect::of_letter(letter).filter(|_| wanted) {
                        self.lines.take(effect, said, href);
                    }
                }
            }
        }
        rest
    }
}

/// `5:words`, and what follows.
fn counted(text: &str) -> Option<(&str, &str)> {
    let (length, rest) = text.split_once(':')?;
    rest.split_at_checked(length.parse().ok()?)
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
    use super::super::marker::text_marks;
    use super::super::unit::Unit;
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
        for poured in [
            "\u{1}",
            "\u{1}h",
            "\u{1}t",
            "\u{1}txyz;\u{1}t;",
            "\u{1}l",
            "\u{1}lt9;",
            "\u{1}s\u{1}",
            "\u{1}日",
            "\u{1}tx9:a;",
            "\u{1}tx",
            "\u{1}tx1:日;",
            "\u{1}tx99999999999999999999:;",
        ] {
            parted(poured, &Trail::default(), true);
        }
    }
}
