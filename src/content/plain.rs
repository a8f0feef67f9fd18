//! The text part of a mail that has no `.txt` of its own: one linear pass over the rendered HTML. Prepared mails write theirs while they
//! are rendered ([`super::marks`]), and say the same.
//!
//! Keeps what a reader needs: paragraphs, lists, alternative texts, and where links lead (numbered, at the end). A link with `aria-label`
//! says that; what has `role="contentinfo"` begins with `-- `, as signatures do. Drops head, styles, comments (also those for Outlook),
//! ornaments (`aria-hidden`) and whatever is not displayed. Never fails: broken HTML gives plain, perhaps odd, text.

use std::borrow::Cow;

use super::lines::{Effect, Lines};

/// The text of an HTML mail.
pub(super) fn from_html(html: &str) -> String {
    let mut lines = Lines::default();
    read(html, &mut lines);
    lines.finish()
}

/// Write what a piece of HTML says.
pub(super) fn read(html: &str, lines: &mut Lines) {
    let mut rest = html;
    while let Some(start) = memchr::memchr(b'<', rest.as_bytes()) {
        lines.words(&rest[..start]);
        let after = &rest[start..];
        rest = if let Some(comment) = after.strip_prefix("<!--") {
            comment.find("-->").map_or("", |end| &comment[end + 3..])
        } else if let Some((tag, rest)) = Tag::read(after) {
            tag.write(lines, rest)
        } else {
            lines.words("<");
            &after[1..]
        };
    }
    lines.words(rest);
}

/// A start or end tag.
struct Tag<'a> {
    name: String,
    closing: bool,
    attributes: &'a str,
}

impl<'a> Tag<'a> {
    /// Read a tag at the start of `html`; a `<` that begins none is text. Quoted attribute values may hold `>`.
    fn read(html: &'a str) -> Option<(Tag<'a>, &'a str)> {
        let inner = &html[1..];
        let first = inner.bytes().next()?;
        if !(first.is_ascii_alphabetic() || first == b'/' || first == b'!' || first == b'?') {
            return None;
        }
        let mut quote = None;
        let end = inner.bytes().position(|b| match quote {
            Some(q) if b == q => {
                quote = None;
                false
            }
            Some(_) => false,
            None if b == b'"' || b == b'\'' => {
                quote = Some(b);
                false
            }
            None => b == b'>',
        })?;
        let (body, rest) = (&inner[..end], &inner[end + 1..]);
        let closing = body.starts_with('/');
        let body = body.strip_prefix('/').unwrap_or(body);
        let name_end = body.find(|c: char| !c.is_ascii_alphanumeric() && c != ':').unwrap_or(body.len());
        let tag = Tag { name: body[..name_end].to_ascii_lowercase(), closing, attributes: &body[name_end..] };
        Some((tag, rest))
    }

    /// Do what this tag does; returns where reading goes on.
    fn write<'r>(&self, lines: &mut Lines, rest: &'r str) -> &'r str {
        if !self.closing && self.is_hidden() && !self.is_void() {
            return after_element(&self.name, rest);
        }
        if !self.closing && self.says("role", "contentinfo") {
            lines.take(Effect::Signature, "", "");
        }
        match self.name.as_str() {
            "img" if !self.closing => {
                if let Some(alt) = self.attribute("alt") {
                    lines.take(Effect::Words, alt, "");
                }
            }
            "a" if !self.closing => {
                match self.attribute("href") {
                    Some(href) => lines.take(Effect::Link, "", href),
                    None => lines.take(Effect::LinkEnds, "", ""),
                }
                if let Some(label) = self.attribute("aria-label") {
                    lines.take(Effect::Label, label, "");
                    return after_element("a", rest);
                }
            }
            name => {
                for effect in Effect::of_tag(name, self.closing) {
                    lines.take(*effect, "", "");
                }
            }
        }
        rest
    }

    /// The value of an attribute, as it stands in the quotes.
    fn attribute(&self, name: &str) -> Option<&'a str> {
        let mut rest = self.attributes;
        loop {
            rest = rest.trim_start_matches(|c: char| c.is_ascii_whitespace() || c == '/');
            let end = rest.find(|c: char| c == '=' || c.is_ascii_whitespace()).unwrap_or(rest.len());
            if rest.is_empty() {
                return None;
            }
            let (key, after) = rest.split_at(end);
            let after = after.trim_start();
            let Some(value) = after.strip_prefix('=').map(str::trim_start) else {
                rest = if end == 0 { &rest[1..] } else { after };
                continue;
            };
            let (value, after) = match value.chars().next() {
                Some(q @ ('"' | '\'')) => value[1..].split_once(q).unwrap_or((&value[1..], "")),
                _ => value.split_at(value.find(|c: char| c.is_ascii_whitespace()).unwrap_or(value.len())),
            };
            if key.eq_ignore_ascii_case(name) {
                return Some(value);
            }
            rest = after;
        }
    }

    /// Whether an attribute written in small letters has this value.
    fn says(&self, name: &str, value: &str) -> bool {
        self.attributes.contains(name) && self.attribute(name).is_some_and(|v| decoded(v) == value)
    }

    /// Whether the style may say `display`; most tags are told apart by this alone.
    fn may_say_display(&self) -> bool {
        self.attributes.contains("isplay") || self.attributes.contains("ISPLAY")
    }

    /// Whether this element and what it holds are never seen.
    fn is_hidden(&self) -> bool {
        is_never_seen(&self.name)
            || self.says("aria-hidden", "true")
            || self.may_say_display() && self.attribute("style").is_some_and(|style| displays_nothing(&decoded(style)))
    }

    fn is_void(&self) -> bool {
        self.attributes.ends_with('/')
            || matches!(self.name.as_str(), "br" | "img" | "hr" | "meta" | "link" | "input" | "col" | "area" | "wbr")
    }
}

/// Elements whose words no reader sees.
pub(super) fn is_never_seen(name: &str) -> bool {
    matches!(name, "head" | "style" | "script" | "title" | "template" | "noscript")
}

/// Whether a style hides its element.
pub(super) fn displays_nothing(style: &str) -> bool {
    let style: String = style.chars().filter(|c| !c.is_ascii_whitespace()).map(|c| c.to_ascii_lowercase()).collect();
    style.split(';').any(|rule| matches!(rule, "display:none" | "display:none!important"))
}

/// What follows the end tag of `name`, counting elements of the same name inside.
fn after_element<'a>(name: &str, html: &'a str) -> &'a str {
    let mut depth = 1;
    let mut rest = html;
    while let Some(start) = memchr::memchr(b'<', rest.as_bytes()) {
        let after = &rest[start..];
        if let Some(comment) = after.strip_prefix("<!--") {
            rest = comment.find("-->").map_or("", |end| &comment[end + 3..]);
            continue;
        }
        let Some((tag, next)) = Tag::read(after) else {
            rest = &after[1..];
            continue;
        };
        if tag.name == name && !tag.is_void() {
            depth = if tag.closing { depth - 1 } else { depth + 1 };
        }
        rest = next;
        if depth == 0 {
            return rest;
        }
    }
    ""
}

/// A text as it stands in HTML, between tags and in quotes; Tera writes values so.
pub(super) fn escaped(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len() + 16);
    tera::escape_html(text, &mut out).expect("memory takes what is written");
    String::from_utf8(out).expect("escaping keeps UTF-8")
}

/// Replace character references. What is none, or unknown, stays as written.
pub(super) fn decoded(text: &str) -> Cow<'_, str> {
    if memchr::memchr(b'&', text.as_bytes()).is_none() {
        return text.into();
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = memchr::memchr(b'&', rest.as_bytes()) {
        out.push_str(&rest[..start]);
        let after = &rest[start + 1..];
        let reference = after.bytes().take(ENTITY_BYTES_MAX).position(|b| b == b';').map(|end| &after[..end]);
        match reference.and_then(|r| character(r).map(|c| (r, c))) {
            Some((r, c)) => {
                out.push(c);
                rest = &after[r.len() + 1..];
            }
            None => {
                out.push('&');
                rest = after;
            }
        }
    }
    out.push_str(rest);
    out.into()
}

/// Longest character reference, in bytes.
const ENTITY_BYTES_MAX: usize = 12;

fn character(reference: &str) -> Option<char> {
    if let Some(number) = reference.strip_prefix('#') {
        let code = match number.strip_prefix(['x', 'X']) {
            Some(hex) => u32::from_str_radix(hex, 16).ok()?,
            None => number.parse().ok()?,
        };
        return char::from_u32(code).filter(|c| !c.is_control());
    }
    ENTITIES.iter().find(|(name, _)| *name == reference).map(|(_, c)| *c)
}

const ENTITIES: [(&str, char); 58] = [
    ("amp", '&'),
    ("lt", '<'),
    ("gt", '>'),
    ("quot", '"'),
    ("apos", '\''),
    ("nbsp", '\u{a0}'),
    ("copy", '©'),
    ("reg", '®'),
    ("trade", '™'),
    ("hellip", '…'),
    ("mdash", '—'),
    ("ndash", '–'),
    ("lsquo", '‘'),
    ("rsquo", '’'),
    ("ldquo", '“'),
    ("rdquo", '”'),
    ("sbquo", '‚'),
    ("bdquo", '„'),
    ("laquo", '«'),
    ("raquo", '»'),
    ("bull", '•'),
    ("middot", '·'),
    ("euro", '€'),
    ("pound", '£'),
    ("yen", '¥'),
    ("cent", '¢'),
    ("sect", '§'),
    ("para", '¶'),
    ("deg", '°'),
    ("times", '×'),
    ("divide", '÷'),
    ("plusmn", '±'),
    ("frac12", '½'),
    ("larr", '←'),
    ("rarr", '→'),
    ("uarr", '↑'),
    ("darr", '↓'),
    ("hearts", '♥'),
    ("zwnj", '\u{200c}'),
    ("zwj", '\u{200d}'),
    ("shy", '\u{ad}'),
    ("ensp", '\u{2002}'),
    ("emsp", '\u{2003}'),
    ("thinsp", '\u{2009}'),
    ("auml", 'ä'),
    ("ouml", 'ö'),
    ("uuml", 'ü'),
    ("Auml", 'Ä'),
    ("Ouml", 'Ö'),
    ("Uuml", 'Ü'),
    ("szlig", 'ß'),
    ("eacute", 'é'),
    ("egrave", 'è'),
    ("ecirc", 'ê'),
    ("agrave", 'à'),
    ("ccedil", 'ç'),
    ("ntilde", 'ñ'),
    ("aring", 'å'),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_reader_needs_stays() {
        let html = r#"<!DOCTYPE html><html><head><title>x</title><style>p > a { color: red }</style></head><body>
            <div style="display: none; max-height:0">preheader<div>deeper</div></div><!--[if mso]><p>Outlook</p><![endif]-->
            <table><tr><td><h1>Hello,
            Mia &amp; co</h1><p>We <b>missed</b> you&nbsp;&#8212; really.<br>Look:</p></td></tr></table>
            <ul><li>a lamp</li><li>a <a href="https://example.com/?a=1&amp;b=2">record</a></li></ul>
            <ol><li>one</li><li>two</li></ol>
            <img src="x.png" alt="A quiet room"><p>5 < 6, AT&T</p>
            <p><a href="https://example.com/?a=1&amp;b=2">Again</a> <a href="https://example.com/u">https://example.com/u</a>
            <a href="mailto:us@example.com">us@example.com</a> <a href="x"> </a></p></body></html>"#;
        assert_eq!(
            from_html(html),
            "Hello, Mia & co\n\nWe missed you\u{a0}— really.\nLook:\n\n- a lamp\n- a record [1]\n\n1. one\n2. two\n\n\
             A quiet room\n\n5 < 6, AT&T\n\nAgain [1] https://example.com/u us@example.com\n\n[1] https://example.com/?a=1&b=2\n"
        );
    }

    #[test]
    fn ornaments_are_dropped_links_say_their_label_and_the_foot_is_a_signature() {
        let html = r#"<table aria-hidden="true"><tr><td>灯</td></tr></table><p>How was it?</p>
            <a href="https://example.com/?s=1" aria-label="1 star">&#9733;</a> <a href="https://example.com/?s=2" aria-label="2 stars"><b>&#9733;</b></a>
            <div role="contentinfo"><p>Unsubscribe</p></div>"#;
        assert_eq!(
            from_html(html),
            "How was it?\n\n1 star [1] 2 stars [2]\n\n[1] https://example.com/?s=1\n[2] https://example.com/?s=2\n\n-- \nUnsubscribe\n"
        );
    }

    #[test]
    fn broken_html_is_text_and_never_a_panic() {
        for html in
            ["", "<", "<a", "<a href=", "<p title='x", "&", "&#", "&#xD800;", "<!--", "</", "<style>", "日本<本>"]
        {
            from_html(html);
        }
        assert_eq!(from_html("a < b"), "a < b\n");
        assert_eq!(from_html("&bogus; &#0; &copy;"), "&bogus; &#0; ©\n");
    }
}
