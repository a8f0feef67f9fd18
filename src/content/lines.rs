//! The lines of a text part while they are written: words, breaks, lists, links as footnotes.
//!
//! What the tags of HTML do to them is told here once, for both who read HTML: [`super::plain`], which reads a whole mail, and
//! [`super::marker`], which reads a template ahead.

use std::fmt::Write as _;

use super::plain::decoded;

/// What a tag does to the lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    /// A space before the next word.
    Space,
    /// One break more, two at most.
    Break,
    /// The next word begins a line.
    Line,
    /// The next word begins a paragraph.
    Paragraph,
    Numbered,
    Bulleted,
    ListEnds,
    Item,
    /// What follows is a signature.
    Signature,
    /// An alternative text is said.
    Words,
    Link,
    /// A link is said by its label.
    Label,
    LinkEnds,
}

/// Every effect with the letter that stands for it.
const LETTERS: [(Effect, u8); 13] = [
    (Effect::Space, b's'),
    (Effect::Break, b'b'),
    (Effect::Line, b'l'),
    (Effect::Paragraph, b'p'),
    (Effect::Numbered, b'n'),
    (Effect::Bulleted, b'u'),
    (Effect::ListEnds, b'e'),
    (Effect::Item, b'i'),
    (Effect::Signature, b'c'),
    (Effect::Words, b'w'),
    (Effect::Link, b'a'),
    (Effect::Label, b'm'),
    (Effect::LinkEnds, b'z'),
];

impl Effect {
    pub fn letter(self) -> char {
        let (_, letter) = LETTERS.iter().find(|(e, _)| *e == self).expect("every effect has its letter");
        char::from(*letter)
    }

    pub fn of_letter(letter: u8) -> Option<Effect> {
        const BY_LETTER: [Option<Effect>; 128] = {
            let mut all = [None; 128];
            let mut i = 0;
            while i < LETTERS.len() {
                all[LETTERS[i].1 as usize] = Some(LETTERS[i].0);
                i += 1;
            }
            all
        };
        BY_LETTER.get(usize::from(letter)).copied().flatten()
    }

    /// What a tag does by its name alone.
    pub fn of_tag(name: &str, closing: bool) -> &'static [Effect] {
        match name {
            "br" => &[Effect::Break],
            "p" | "table" | "h1" | "h2" | "h3" | "h4" | "h5" | "h6" | "blockquote" | "hr" => &[Effect::Paragraph],
            "ul" | "ol" if closing => &[Effect::Paragraph, Effect::ListEnds],
            "ol" => &[Effect::Paragraph, Effect::Numbered],
            "ul" => &[Effect::Paragraph, Effect::Bulleted],
            "li" if closing => &[Effect::Line],
            "li" => &[Effect::Line, Effect::Item],
            "div" | "tr" | "section" | "article" | "header" | "footer" | "body" | "center" => &[Effect::Line],
            "td" | "th" => &[Effect::Space],
            "a" => &[Effect::LinkEnds],
            _ => &[],
        }
    }
}

/// The last byte of a no-break space.
const NO_BREAK: u8 = 0xa0;

/// A text part in the making.
#[derive(Default)]
pub(super) struct Lines {
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
    /// How many of them stand in the text.
    listed: usize,
}

impl Lines {
    /// With room for a text part as most are.
    pub fn roomy() -> Lines {
        Lines { out: String::with_capacity(4_096), links: Vec::with_capacity(16), ..Lines::default() }
    }

    /// Do what a tag does. `said` is the value that it brings, as it stands in HTML: an alternative text or a label; `href` where it leads.
    pub fn take(&mut self, effect: Effect, said: &str, href: &str) {
        match effect {
            Effect::Space => self.space = true,
            Effect::Break => {
                self.breaks = (self.breaks + 1).min(2);
                self.space = false;
            }
            Effect::Line => self.owe(1),
            Effect::Paragraph => self.owe(2),
            Effect::Numbered => self.lists.push(Some(0)),
            Effect::Bulleted => self.lists.push(None),
            Effect::ListEnds => drop(self.lists.pop()),
            Effect::Item => self.item(),
            Effect::Signature => {
                // Mail programs fold what follows the dashes, so the body's addresses stand before them.
                self.link_ends();
                self.list_links();
                self.owe(2);
                self.break_line();
                self.out.push_str("-- ");
                self.owe(1);
            }
            Effect::Words => self.words(said),
            Effect::Link => {
                self.link_ends();
                self.link = Some((decoded(href).trim().to_owned(), self.out.len()));
            }
            Effect::Label => {
                self.words(said);
                self.link_ends();
            }
            Effect::LinkEnds => self.link_ends(),
        }
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
        let n = match self.links.iter().position(|l| are_same(l, &href)) {
            Some(i) => i + 1,
            None => {
                self.links.push(href);
                self.links.len()
            }
        };
        write!(self.out, " [{n}]").expect("memory takes what is written");
    }

    /// Text between tags, with its entities.
    pub fn words(&mut self, raw: &str) {
        self.plain(&decoded(raw));
    }

    fn plain(&mut self, text: &str) {
        let is_space = |b: u8| matches!(b, b' ' | b'\t' | b'\r' | b'\n' | b'\x0c');
        let has_layout = text.as_bytes().contains(&NO_BREAK) && text.contains('\u{a0}');
        let mut rest = text;
        // Words with single spaces between them are taken together.
        loop {
            let begins = rest.bytes().position(|b| !is_space(b));
            self.space |= begins != Some(0) && !rest.is_empty();
            let Some(begins) = begins else { return };
            rest = &rest[begins..];
            let bytes = rest.as_bytes();
            let joins =
                |at: usize| !has_layout && bytes[at] == b' ' && bytes.get(at + 1).is_some_and(|b| !is_space(*b));
            let mut end = 0;
            while let Some(far) = bytes[end..].iter().position(|b| *b <= b' ' && is_space(*b)) {
                end += far;
                if !joins(end) {
                    break;
                }
                end += 1;
            }
            let ends = if end < bytes.len() && is_space(bytes[end]) { end } else { bytes.len() };
            self.say(&rest[..ends]);
            rest = &rest[ends..];
        }
    }

    /// Words with single spaces between them.
    pub fn say(&mut self, words: &str) {
        let words = words.trim_matches('\u{a0}');
        // A word of nothing but no-break spaces is layout.
        if words.is_empty() {
            return;
        }
        self.break_line();
        if self.space && !self.at_start() {
            self.out.push(' ');
        }
        self.space = false;
        self.out.push_str(words);
    }

    /// Whether nothing but the mark of an item stands before the next word.
    fn at_start(&self) -> bool {
        matches!(self.out.as_bytes(), [] | [.., b'\n'] | [.., b'-' | b'.', b' '])
    }

    fn break_line(&mut self) {
        if self.breaks > 0 && !self.out.is_empty() {
            let breaks = if self.out.ends_with("\n-- ") { 1 } else { self.breaks };
            self.out.extend(std::iter::repeat_n('\n', breaks));
        }
        self.breaks = 0;
    }

    pub fn finish(mut self) -> String {
        self.link_ends();
        self.list_links();
        self.out.push('\n');
        self.out
    }

    /// Write where the links lead that were not listed yet.
    fn list_links(&mut self) {
        for (i, link) in self.links.iter().enumerate().skip(self.listed) {
            let apart = if i == self.listed { "\n\n" } else { "\n" };
            write!(self.out, "{apart}[{}] {link}", i + 1).expect("memory takes what is written");
        }
        self.listed = self.links.len();
    }
}

/// Whether two addresses are the same. Those of one mail begin alike and end differently.
fn are_same(a: &str, b: &str) -> bool {
    let end = |text: &str| text.as_bytes().last_chunk::<8>().copied();
    a.len() == b.len() && end(a) == end(b) && a == b
}
