//! What a template asks of values that every message has alike is answered once, when its mail is prepared: `{% if brand.url %}`, and
//! whatever components ask of the texts, numbers and switches that they are given (`{{ "118" if wide else "56" }}`). A table that a template
//! writes down (`{% set signs = {"tea": "茶"} %}`) is made once, and not by every message, nor by every product of a list.
//!
//! Only answers that are certain: literals and the settings. Whatever else is part of a condition stays in it.

mod known;
mod tables;

use std::collections::BTreeMap;
use std::ops::Range;

use serde_json::Value as Json;

use super::mapped::Mapped;
use super::plain::escaped;
use super::scan::{self, Token};
use super::tags::{self, Kind, NOTHING, Tag, trimming};
use known::{Known, Truth, words};
pub(super) use tables::without_tables;
use tables::written_down;

/// Longest text that a loop is written out to, and all loops of a mail, in bytes.
const WRITTEN_OUT_MAX: usize = 16 << 10;
const ALL_WRITTEN_OUT_MAX: usize = 256 << 10;

/// A mail's text with its questions answered. `brand` is what the settings say.
pub(super) fn decided(text: &Mapped, brand: &Json) -> Mapped {
    let source = text.text.as_str();
    let tags = tags::tags(source);
    let partners = tags::partners(source, &tags);
    let mut known = BTreeMap::new();
    // Who gives `brand` a value of its own means another.
    if !scan::names(source).locals.contains(&"brand") {
        known.insert("brand".to_owned(), brand.clone());
    }
    let lists = written_down(source, &tags).into_iter().filter(|w| w.value.is_array());
    known.extend(lists.map(|list| (list.name.to_owned(), list.value)));
    let mut decider =
        Decider { text, tags: &tags, partners: &partners, known: Known(known), out: Mapped::default(), written_out: 0 };
    decider.write(0..tags.len(), 0..source.len());
    decider.out
}

struct Decider<'a> {
    text: &'a Mapped,
    tags: &'a [Tag],
    partners: &'a [Option<usize>],
    known: Known,
    out: Mapped,
    /// Bytes of loops written out so far.
    written_out: usize,
}

/// A branch of a condition that may come to be taken.
struct Branch {
    /// Its tag: `if`, `elif`, `else`.
    tag: usize,
    /// What is still asked; `None`: nothing.
    asks: Option<String>,
}

impl<'a> Decider<'a> {
    fn source(&self) -> &'a str {
        &self.text.text
    }

    fn tokens(&self, tag: &Tag) -> Vec<(Token<'a>, usize)> {
        scan::tokens(self.source(), tag.inner.start, tag.inner.end)
    }

    /// Write a part of the text that holds these tags.
    fn write(&mut self, tags: Range<usize>, bytes: Range<usize>) {
        let mut at = bytes.start;
        let mut i = tags.start;
        while i < tags.end {
            let tag = &self.tags[i];
            let last = match (tag.kind, tag.word(self.source()), self.partners[i]) {
                (Kind::Statement, "if" | "for", Some(end)) => end,
                _ => i,
            };
            self.out.copy(self.text, at..tag.range.start);
            match tag.word(self.source()) {
                "if" if last > i => self.condition(i, last),
                "for" if last > i => self.repetition(i, last),
                _ if tag.kind == Kind::Expression => self.expression(tag),
                _ => self.out.copy(self.text, tag.range.clone()),
            }
            at = self.tags[last].range.end;
            i = last + 1;
        }
        self.out.copy(self.text, at..bytes.end);
    }

    /// Write what stands between two tags.
    fn between(&mut self, first: usize, last: usize) {
        self.write(first + 1..last, self.tags[first].range.end..self.tags[last].range.start);
    }

    fn made(&mut self, text: &str, tag: usize) {
        if let Some(origin) = self.text.origin(self.tags[tag].range.start) {
            self.out.made(text, origin);
        }
    }

    fn expression(&mut self, tag: &Tag) {
        let tokens = self.tokens(tag);
        let chosen = self.chosen(&tokens);
        let said = match self.known.value(chosen) {
            Some(Json::String(said)) => said,
            Some(Json::Number(n)) => n.to_string(),
            _ => String::new(),
        };
        let origin = self.text.origin(tag.range.start).filter(|_| !said.is_empty() || chosen.len() < tokens.len());
        let Some(origin) = origin else { return self.out.copy(self.text, tag.range.clone()) };
        // Text beside a tag that trims would be trimmed; and what looks like a tag of Tera stays a text that is never read as one.
        let plain = !said.is_empty() && said.trim() == said && !said.contains(['{', '}']);
        if plain && !tag.trims_left && !tag.trims_right {
            self.out.made(&escaped(&said), origin);
        } else {
            self.out.copy(self.text, tag.range.start..tag.inner.start);
            self.out.made(&format!(" {} ", written(self.source(), chosen)), origin);
            self.out.copy(self.text, tag.inner.end..tag.range.end);
        }
    }

    /// What is left of `a if x else b` where `x` is known.
    fn chosen<'t, 's>(&self, tokens: &'t [(Token<'s>, usize)]) -> &'t [(Token<'s>, usize)] {
        let (ifs, elses) = (words(tokens, "if"), words(tokens, "else"));
        let ([asked], [otherwise]) = (ifs.as_slice(), elses.as_slice()) else { return tokens };
        if asked >= otherwise {
            return tokens;
        }
        match self.known.truth(&tokens[asked + 1..*otherwise]) {
            Truth::Known(true) => &tokens[..*asked],
            Truth::Known(false) => &tokens[otherwise + 1..],
            Truth::Asks(_) => tokens,
        }
    }

    /// An `if` with all its branches.
    fn condition(&mut self, open: usize, end: usize) {
        let asks = |tag: &usize| matches!(self.tags[*tag].word(self.source()), "elif" | "else");
        let heads: Vec<usize> = std::iter::once(open).chain(self.own(open, end).filter(asks)).chain([end]).collect();
        let mut left = Vec::new();
        for head in &heads[..heads.len() - 1] {
            let tag = &self.tags[*head];
            let tokens = self.tokens(tag);
            let asked = tokens.get(1..).unwrap_or_default();
            let truth = match tag.word(self.source()) {
                "else" => Truth::Known(true),
                _ => self.known.truth(asked),
            };
            match truth {
                Truth::Known(false) => {}
                Truth::Known(true) => {
                    left.push(Branch { tag: *head, asks: None });
                    break;
                }
                Truth::Asks(parts) => {
                    let parts: Vec<&str> =
                        parts.iter().map(|part| written(self.source(), &asked[part.clone()])).collect();
                    left.push(Branch { tag: *head, asks: Some(parts.join(" and ")) });
                }
            }
        }
        let next = |tag: usize| heads.iter().copied().find(|head| *head > tag).unwrap_or(end);
        let mut from = open;
        for (n, branch) in left.iter().enumerate() {
            let says = match (&branch.asks, n) {
                (Some(asks), 0) => Some(format!("if {asks}")),
                (Some(asks), _) => Some(format!("elif {asks}")),
                (None, 0) => None,
                (None, _) => Some("else".to_owned()),
            };
            self.replace(from, branch.tag, says.as_deref());
            from = next(branch.tag);
            self.between(branch.tag, from);
        }
        let closes = left.first().is_some_and(|branch| branch.asks.is_some());
        self.replace(from, end, closes.then_some("endif"));
    }

    /// One tag, or none, in place of all from `first` to `last`.
    fn replace(&mut self, first: usize, last: usize, says: Option<&str>) {
        let (begins, ends) = (&self.tags[first], &self.tags[last]);
        let dash = |trims: bool| if trims { "-" } else { "" };
        match says {
            Some(says) if first == last && begins.inner(self.source()) == says => {
                self.out.copy(self.text, begins.range.clone());
            }
            Some(says) => {
                let text = format!("{{%{} {says} {}%}}", dash(begins.trims_left), dash(ends.trims_right));
                self.made(&text, first);
            }
            None => self.made(&removed(self.source(), self.tags, first..last + 1), first),
        }
    }

    /// A `for`: written out when its list is known and nothing else is asked of it.
    fn repetition(&mut self, open: usize, end: usize) {
        if let Some(written) = self.written_out(open, end) {
            self.made(&removed(self.source(), self.tags, open..open + 1), open);
            self.out.copy(&written, 0..written.text.len());
            self.made(&removed(self.source(), self.tags, end..end + 1), end);
            return;
        }
        self.out.copy(self.text, self.tags[open].range.clone());
        self.between(open, end);
        self.out.copy(self.text, self.tags[end].range.clone());
    }

    fn written_out(&mut self, open: usize, end: usize) -> Option<Mapped> {
        let (begins, ends) = (&self.tags[open], &self.tags[end]);
        let tokens = self.tokens(begins);
        let [_, (Token::Word(name), _), (Token::Word("in"), _), list @ ..] = tokens.as_slice() else { return None };
        let Some(Json::Array(items)) = self.known.value(list) else { return None };
        let mut bytes = begins.range.end..ends.range.start;
        let body = &self.source()[bytes.clone()];
        let length = items.len() * body.len();
        if items.is_empty() || length > WRITTEN_OUT_MAX || self.written_out + length > ALL_WRITTEN_OUT_MAX {
            return None;
        }
        self.written_out += length;
        let inside = &self.tags[open + 1..end];
        let simple = |tag: &Tag| match tag.kind {
            Kind::Expression => !tag.inner(self.source()).starts_with('<'),
            Kind::Statement => matches!(tag.word(self.source()), "if" | "elif" | "else" | "endif"),
            Kind::Comment => true,
            Kind::Raw => false,
        };
        let has_else = self.own(open, end).any(|i| self.tags[i].word(self.source()) == "else");
        if has_else || !inside.iter().all(simple) {
            return None;
        }
        if begins.trims_right {
            bytes.start += body.len() - body.trim_start().len();
        }
        if ends.trims_left {
            bytes.end = bytes.start.max(begins.range.end + body.trim_end().len());
        }
        let blank = |range: Range<usize>| self.source()[range].trim().is_empty();
        // Trimming goes on behind a comment, which stands here only once.
        let is_comment = |tag: Option<&Tag>| tag.is_some_and(|t| t.kind == Kind::Comment);
        if begins.trims_right && is_comment(inside.first()) || ends.trims_left && is_comment(inside.last()) {
            return None;
        }
        let reaches_back = inside.first().is_some_and(|t| t.trims_left && blank(bytes.start..t.range.start));
        let reaches_on =
            inside.last().is_some_and(|t| (t.trims_right || t.kind == Kind::Comment) && blank(t.range.end..bytes.end));
        let origin = self.text.origin(begins.range.start)?;
        let before = std::mem::take(&mut self.out);
        for (index, item) in items.iter().enumerate() {
            let place = serde_json::json!({ "index": index + 1, "index0": index, "first": index == 0, "last": index + 1 == items.len(), "length": items.len() });
            self.known.0.extend([((*name).to_owned(), item.clone()), ("loop".to_owned(), place)]);
            if reaches_back {
                self.out.made(NOTHING, origin.clone());
            }
            self.write(open + 1..end, bytes.clone());
            if reaches_on {
                self.out.made(NOTHING, origin.clone());
            }
        }
        self.known.0.remove(*name);
        self.known.0.remove("loop");
        let written = std::mem::replace(&mut self.out, before);
        let asked = scan::names(&written.text);
        asked.values.iter().all(|v| v.path[0] != *name && v.path[0] != "loop").then_some(written)
    }

    /// The tags that stand directly between two others, and in nothing that opens there.
    fn own(&self, open: usize, end: usize) -> impl Iterator<Item = usize> {
        let next = move |i: &usize| Some(self.partners[*i].unwrap_or(*i) + 1).filter(|next| *next < end);
        std::iter::successors(Some(open + 1).filter(|first| *first < end), next)
    }
}

fn written<'a>(source: &'a str, tokens: &[(Token<'_>, usize)]) -> &'a str {
    match (tokens.first(), tokens.last()) {
        (Some((_, start)), Some(last)) => &source[*start..scan::end_of(source, *last)],
        _ => "",
    }
}

/// What stands in place of tags that are not needed: nothing, or what trims as they did and keeps their neighbours from trimming further.
fn removed(source: &str, tags: &[Tag], gone: Range<usize>) -> String {
    let (begins, ends) = (&tags[gone.start], &tags[gone.end - 1]);
    let blank = |range: Range<usize>| source[range].trim().is_empty();
    let before = gone.start.checked_sub(1).map(|i| &tags[i]);
    let after = tags.get(gone.end);
    // A comment passes on what the tag before it trims.
    let reaches = before
        .is_some_and(|t| (t.trims_right || t.kind == Kind::Comment) && blank(t.range.end..begins.range.start))
        || after.is_some_and(|t| t.trims_left && blank(ends.range.end..t.range.start));
    let stop = if reaches { NOTHING } else { "" };
    match (begins.trims_left, ends.trims_right) {
        (left, right) if stop.is_empty() => trimming(left, right).to_owned(),
        (left, right) => format!("{}{stop}{}", trimming(left, false), trimming(false, right)),
    }
}

#[cfg(test)]
mod tests;
