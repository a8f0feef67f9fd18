//! HTML as a row of pieces, with Tera's tags left in: where start tags, their attributes, end tags, comments and style sheets stand.
//!
//! A scanner, not a parser: it builds no tree and repairs nothing, so that a template can be changed in a few places and stay as its
//! author wrote it everywhere else. A Tera tag is one opaque character to it. Never fails: what is no HTML is text.

use std::ops::Range;

use super::tags::Tag as Tera;

/// One piece. Together they cover the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Piece {
    pub range: Range<usize>,
    pub kind: Kind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    /// A tag of Tera between the tags of HTML, by its place in the list.
    Tera(usize),
    Start(Start),
    End(String),
    Comment,
    Doctype,
    /// What stands inside `<style>`.
    Sheet,
    /// What stands inside `<script>`, `<title>`, `<textarea>`.
    Raw,
}

/// A start tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Start {
    /// In small letters.
    pub name: String,
    pub name_end: usize,
    pub attributes: Vec<Attribute>,
    /// Tera tags between the attributes.
    pub loose: Vec<usize>,
    pub closes_itself: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Attribute {
    /// In small letters.
    pub name: String,
    /// Name, equals sign and value with its quotes.
    pub range: Range<usize>,
    /// Without the quotes.
    pub value: Option<Range<usize>>,
    pub quoted: bool,
}

impl Start {
    pub fn attribute(&self, name: &str) -> Option<&Attribute> {
        self.attributes.iter().find(|a| a.name == name)
    }

    pub fn is_void(&self) -> bool {
        self.closes_itself || is_void(&self.name)
    }
}

/// Elements that have no end tag (HTML Living Standard §13.1.2).
pub(super) fn is_void(name: &str) -> bool {
    matches!(
        name,
        "area"
            | "base"
            | "br"
            | "col"
            | "embed"
            | "hr"
            | "img"
            | "input"
            | "link"
            | "meta"
            | "source"
            | "track"
            | "wbr"
    )
}

/// Cut a text into pieces; `tera` are its Tera tags in order.
pub(super) fn pieces(text: &str, tera: &[Tera]) -> Vec<Piece> {
    let mut scanner = Scanner { text, bytes: text.as_bytes(), tera, out: Vec::new() };
    scanner.run();
    scanner.out
}

struct Scanner<'a> {
    text: &'a str,
    bytes: &'a [u8],
    tera: &'a [Tera],
    out: Vec<Piece>,
}

impl Scanner<'_> {
    /// The Tera tag that begins at a byte.
    fn tera_at(&self, at: usize) -> Option<usize> {
        (self.bytes.get(at) == Some(&b'{')).then(|| self.tera.binary_search_by_key(&at, |t| t.range.start).ok())?
    }

    fn push(&mut self, range: Range<usize>, kind: Kind) {
        if !range.is_empty() {
            self.out.push(Piece { range, kind });
        }
    }

    fn run(&mut self) {
        let mut at = 0;
        let mut text_start = 0;
        while at < self.bytes.len() {
            let (end, kind) = if let Some(i) = self.tera_at(at) {
                (self.tera[i].range.end, Kind::Tera(i))
            } else if self.bytes[at] == b'<'
                && let Some(found) = self.markup(at)
            {
                found
            } else {
                at += 1;
                continue;
            };
            self.push(text_start..at, Kind::Text);
            let raw = match &kind {
                Kind::Start(start) if !start.closes_itself => match start.name.as_str() {
                    "style" | "mj-style" => Some((start.name.clone(), Kind::Sheet)),
                    "script" | "title" | "textarea" => Some((start.name.clone(), Kind::Raw)),
                    _ => None,
                },
                _ => None,
            };
            self.push(at..end, kind);
            at = end;
            if let Some((name, kind)) = raw {
                let end = self.end_of_raw(&name, at);
                self.push(at..end, kind);
                at = end;
            }
            text_start = at;
        }
        self.push(text_start..self.bytes.len(), Kind::Text);
    }

    /// Where `</name` begins.
    fn end_of_raw(&self, name: &str, mut at: usize) -> usize {
        while at < self.bytes.len() {
            if let Some(i) = self.tera_at(at) {
                at = self.tera[i].range.end;
            } else if self.bytes[at] == b'<'
                && self.bytes.get(at + 1) == Some(&b'/')
                && self.bytes.get(at + 2..at + 2 + name.len()).is_some_and(|n| n.eq_ignore_ascii_case(name.as_bytes()))
            {
                return at;
            } else {
                at += 1;
            }
        }
        self.bytes.len()
    }

    /// A tag, comment or doctype at a `<`.
    fn markup(&self, at: usize) -> Option<(usize, Kind)> {
        let rest = &self.text[at + 1..];
        if let Some(comment) = rest.strip_prefix("!--") {
            // `<!-->` is a whole comment, as the one that reveals what follows to all but Outlook.
            let end = comment.find("-->").map_or(self.text.len(), |i| at + 4 + i + 3);
            return Some((end, Kind::Comment));
        }
        match rest.bytes().next()? {
            b'!' | b'?' => Some((at + 1 + rest.find('>')? + 1, Kind::Doctype)),
            b'/' if rest.as_bytes().get(1).is_some_and(u8::is_ascii_alphabetic) => {
                let end = at + 1 + rest.find('>')? + 1;
                let name = self.text[at + 2..end - 1].trim().to_ascii_lowercase();
                Some((end, Kind::End(name)))
            }
            b if b.is_ascii_alphabetic() => self.start(at),
            _ => None,
        }
    }

    fn start(&self, at: usize) -> Option<(usize, Kind)> {
        let name_end = self.bytes[at + 1..]
            .iter()
            .position(|b| b.is_ascii_whitespace() || matches!(b, b'>' | b'/' | b'{'))
            .map(|i| at + 1 + i)?;
        let mut start = Start {
            name: self.text[at + 1..name_end].to_ascii_lowercase(),
            name_end,
            attributes: Vec::new(),
            loose: Vec::new(),
            closes_itself: false,
        };
        let mut i = name_end;
        loop {
            match *self.bytes.get(i)? {
                b'>' => {
                    start.closes_itself = self.bytes[i - 1] == b'/';
                    return Some((i + 1, Kind::Start(start)));
                }
                b if b.is_ascii_whitespace() || b == b'/' => i += 1,
                _ => match self.tera_at(i) {
                    Some(tag) => {
                        start.loose.push(tag);
                        i = self.tera[tag].range.end;
                    }
                    None => i = self.attribute(i, &mut start)?,
                },
            }
        }
    }

    /// One attribute from `at` on; returns where it ends.
    fn attribute(&self, at: usize, start: &mut Start) -> Option<usize> {
        let mut i = at;
        while !matches!(*self.bytes.get(i)?, b'=' | b'>' | b'/') && !self.bytes[i].is_ascii_whitespace() {
            match self.tera_at(i) {
                Some(_) if i > at => break,
                Some(tag) => i = self.tera[tag].range.end,
                None => i += 1,
            }
        }
        // A lone `=` is a name of one character, so that reading goes on.
        let name_end = if i == at { i + 1 } else { i };
        let name = self.text.get(at..name_end)?.to_ascii_lowercase();
        let mut after = name_end;
        while self.bytes.get(after)?.is_ascii_whitespace() {
            after += 1;
        }
        if self.bytes[after] != b'=' || name_end != i {
            start.attributes.push(Attribute { name, range: at..name_end, value: None, quoted: false });
            return Some(name_end);
        }
        after += 1;
        while self.bytes.get(after)?.is_ascii_whitespace() {
            after += 1;
        }
        let quote = Some(self.bytes[after]).filter(|b| matches!(b, b'"' | b'\''));
        let value_start = after + usize::from(quote.is_some());
        let mut j = value_start;
        loop {
            let b = *self.bytes.get(j)?;
            let ends = match quote {
                Some(q) => b == q,
                None => b.is_ascii_whitespace() || b == b'>',
            };
            if ends {
                break;
            }
            j = self.tera_at(j).map_or(j + 1, |tag| self.tera[tag].range.end);
        }
        let end = j + usize::from(quote.is_some());
        start.attributes.push(Attribute { name, range: at..end, value: Some(value_start..j), quoted: quote.is_some() });
        Some(end)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tags;
    use super::*;

    fn told(text: &str) -> String {
        let tera = tags::tags(text);
        let pieces = pieces(text, &tera);
        assert_eq!(
            pieces.iter().map(|p| &text[p.range.clone()]).collect::<String>(),
            text,
            "the pieces cover the text"
        );
        let told = |p: &Piece| match &p.kind {
            Kind::Start(s) => {
                let attributes =
                    s.attributes.iter().map(|a| format!(" {}={}", a.name, a.value.clone().map_or("", |v| &text[v])));
                format!("<{}{}{}>", s.name, attributes.collect::<String>(), "*".repeat(s.loose.len()))
            }
            Kind::End(name) => format!("</{name}>"),
            kind => format!("{kind:?}"),
        };
        pieces.iter().map(told).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn tags_attributes_and_tera_are_told_apart() {
        insta::assert_snapshot!(
            told(r#"<!DOCTYPE html><A HREF='x?a=">"' {% if a > b %}class="{{ c ~ ">" }}"{% endif %} x data-y=1>a < b{{ x }}</A ><br/>"#),
            @r#"Doctype <a href=x?a=">" class={{ c ~ ">" }} x= data-y=1**> Text Tera(3) </a> <br>"#
        );
        insta::assert_snapshot!(
            told("<style>p > a {}{{ x }}</style><!--[if mso]><p><![endif]--><!--[if !mso]><!--><td{% if a %} b{% endif %}>"),
            @"<style> Sheet </style> Comment Comment <td b=**>"
        );
    }

    #[test]
    fn broken_html_is_text_and_never_a_panic() {
        for text in [
            "<",
            "<a",
            "<a b",
            "<a b=",
            "<a b='",
            "</",
            "</a",
            "<!--",
            "<!",
            "<style>",
            "<a =>",
            "<a ==x>",
            "<a{{x}}>",
            "<a b{{x}}=c>",
            "日<本 語=\"",
            "<a / / >",
        ] {
            told(text);
        }
    }
}
