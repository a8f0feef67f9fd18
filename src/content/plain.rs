//! The text part of a mail that has no `.txt` of its own: one linear pass over the rendered HTML.
//!
//! Keeps what a reader needs: paragraphs, lists, alternative texts, and where links lead (numbered, at the end). A link with `aria-label`
//! says that; what has `role="contentinfo"` begins with `-- `, as signatures do. Drops head, styles, comments (also those for Outlook),
//! ornaments (`aria-hidden`) and whatever is not displayed. Never fails: broken HTML gives plain, perhaps odd, text.

/// The text of an HTML mail.
pub(super) fn from_html(html: &str) -> String {
    let mut text = Text::default();
    let mut rest = html;
    while let Some(start) = rest.find('<') {
        text.words(&rest[..start]);
        let after = &rest[start..];
        rest = if let Some(comment) = after.strip_prefix("<!--") {
            comment.find("-->").map_or("", |end| &comment[end + 3..])
        } else if let Some((tag, rest)) = Tag::read(after) {
            text.tag(&tag, rest)
        } else {
            text.words("<");
            &after[1..]
        };
    }
    text.words(rest);
    text.finish()
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

    fn attribute(&self, name: &str) -> Option<String> {
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
                return Some(decoded(value));
            }
            rest = after;
        }
    }

    /// Whether an attribute written in small letters has this value.
    fn says(&self, name: &str, value: &str) -> bool {
        self.attributes.contains(name) && self.attribute(name).is_some_and(|v| v == value)
    }

    /// Whether the style may say `display`; most tags are told apart by this alone.
    fn may_say_display(&self) -> bool {
        self.attributes.contains("isplay") || self.attributes.contains("ISPLAY")
    }

    /// Whether this element and what it holds are never seen.
    fn is_hidden(&self) -> bool {
        matches!(self.name.as_str(), "head" | "style" | "script" | "title" | "template" | "noscript")
            || self.says("aria-hidden", "true")
            || self.may_say_display()
                && self.attribute("style").is_some_and(|style| {
                    let style: String =
                        style.chars().filter(|c| !c.is_ascii_whitespace()).map(|c| c.to_ascii_lowercase()).collect();
                    style.split(';').any(|rule| matches!(rule, "display:none" | "display:none!important"))
                })
    }

    fn is_void(&self) -> bool {
        self.attributes.ends_with('/')
            || matches!(self.name.as_str(), "br" | "img" | "hr" | "meta" | "link" | "input" | "col" | "area" | "wbr")
    }
}

#[derive(Default)]
struct Text {
    out: String,
    /// Line breaks owed before the next word.
    breaks: usize,
    /// A space owed before the next word on the same line.
    space: bool,
    /// Numbers of the ordered lists we are in; `None` for an unordered one.
    lists: Vec<Option<u32>>,
    /// Where the open link leads, and where its text began.
    link: Option<(String, usize)>,
    /// Where links lead; their number is the place in this list, from 1.
    links: Vec<String>,
}

impl Text {
    /// Take a tag; returns where reading goes on.
    fn tag<'a>(&mut self, tag: &Tag<'_>, rest: &'a str) -> &'a str {
        if !tag.closing && tag.is_hidden() && !tag.is_void() {
            return after_element(&tag.name, rest);
        }
        if !tag.closing && tag.says("role", "contentinfo") {
            self.owe(2);
            self.break_line();
            self.out.push_str("-- ");
            self.owe(1);
        }
        match tag.name.as_str() {
            "br" => {
                self.breaks = (self.breaks + 1).min(2);
                self.space = false;
            }
            "p" | "table" | "h1" | "h2" | "h3" | "h4" | "h5" | "h6" | "blockquote" | "hr" => self.owe(2),
            "ul" | "ol" => {
                self.owe(2);
                match tag.closing {
                    true => drop(self.lists.pop()),
                    false => self.lists.push((tag.name == "ol").then_some(0)),
                }
            }
            "li" => {
                self.owe(1);
                if !tag.closing {
                    self.item();
                }
            }
            "div" | "tr" | "section" | "article" | "header" | "footer" | "body" | "center" => self.owe(1),
            "td" | "th" => self.space = true,
            "img" if !tag.closing => {
                if let Some(alt) = tag.attribute("alt") {
                    self.plain(&alt);
                }
            }
            "a" if tag.closing => self.link_ends(),
            "a" => {
                self.link_ends();
                self.link = tag.attribute("href").map(|href| (href.trim().to_owned(), self.out.len()));
                if tag.attributes.contains("aria-label")
                    && let Some(label) = tag.attribute("aria-label")
                {
                    self.plain(&label);
                    self.link_ends();
                    return after_element("a", rest);
                }
            }
            _ => {}
        }
        rest
    }

    fn owe(&mut self, breaks: usize) {
        self.breaks = self.breaks.max(breaks);
        self.space = false;
    }

    fn item(&mut self) {
        let depth = self.lists.len().max(1) - 1;
        let mark = match self.lists.last_mut() {
            Some(Some(n)) => {
                *n += 1;
                format!("{n}. ")
            }
            _ => "- ".to_owned(),
        };
        self.break_line();
        self.out.push_str(&"  ".repeat(depth));
        self.out.push_str(&mark);
    }

    fn link_ends(&mut self) {
        let Some((href, start)) = self.link.take() else { return };
        let said = self.out.get(start..).unwrap_or_default().trim();
        let leads_somewhere = href.contains(':');
        if said.is_empty() || !leads_somewhere || said == href || href.strip_prefix("mailto:") == Some(said) {
            return;
        }
        let n = match self.links.iter().position(|l| *l == href) {
            Some(i) => i + 1,
            None => {
                self.links.push(href);
                self.links.len()
            }
        };
        self.out.push_str(&format!(" [{n}]"));
    }

    /// Text between tags, with its entities.
    fn words(&mut self, raw: &str) {
        match raw.contains('&') {
            true => self.plain(&decoded(raw)),
            false => self.plain(raw),
        }
    }

    fn plain(&mut self, text: &str) {
        for (i, word) in text.split([' ', '\t', '\r', '\n', '\u{c}']).enumerate() {
            if i > 0 {
                self.space = true;
            }
            // A word of nothing but no-break spaces is layout.
            if word.is_empty() || word.chars().all(|c| c == '\u{a0}') {
                continue;
            }
            self.break_line();
            let at_start =
                self.out.is_empty() || self.out.ends_with('\n') || self.out.ends_with("- ") || self.out.ends_with(". ");
            if self.space && !at_start {
                self.out.push(' ');
            }
            self.space = false;
            self.out.push_str(word.trim_matches('\u{a0}'));
        }
    }

    fn break_line(&mut self) {
        if !self.out.is_empty() {
            let breaks = if self.out.ends_with("\n-- ") { 1 } else { self.breaks };
            self.out.extend(std::iter::repeat_n('\n', breaks));
        }
        self.breaks = 0;
    }

    fn finish(mut self) -> String {
        self.link_ends();
        self.out.push('\n');
        for (i, link) in self.links.iter().enumerate() {
            self.out.push_str(&format!("\n[{}] {link}", i + 1));
        }
        if !self.links.is_empty() {
            self.out.push('\n');
        }
        self.out
    }
}

/// What follows the end tag of `name`, counting elements of the same name inside.
fn after_element<'a>(name: &str, html: &'a str) -> &'a str {
    let mut depth = 1;
    let mut rest = html;
    while let Some(start) = rest.find('<') {
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

/// Replace character references. What is none, or unknown, stays as written.
pub(super) fn decoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find('&') {
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
    out
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
            "How was it?\n\n1 star [1] 2 stars [2]\n\n-- \nUnsubscribe\n\n[1] https://example.com/?s=1\n[2] https://example.com/?s=2\n"
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
