//! What a template asks of values that every message has alike is answered once, when its mail is prepared: `{% if brand.url %}`, and
//! whatever components ask of the texts, numbers and switches that they are given (`{{ "118" if wide else "56" }}`). A table that a template
//! writes down (`{% set signs = {"tea": "茶"} %}`) is made once, and not by every message, nor by every product of a list.
//!
//! Only answers that are certain: literals and the settings. Whatever else is part of a condition stays in it.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use serde_json::Value as Json;

use super::kept::hex;
use super::mapped::{Edit, Mapped};
use super::scan::{self, Token};
use super::settled;
use super::tags::{self, Kind, Tag, trimming};

/// Longest text that a loop is written out to, in bytes.
const WRITTEN_OUT_MAX: usize = 16 << 10;

/// A mail's text with its questions answered. `brand` is what the settings say.
pub(super) fn decided(text: &Mapped, brand: &Json) -> Mapped {
    let source = text.text.as_str();
    let tags = tags::tags(source);
    let partners = tags::partners(source, &tags);
    let mut known = BTreeMap::new();
    // Who gives `brand` a value of its own means another.
    if !scan::names(source).locals.contains(&"brand") {
        known.insert("brand".to_owned(), Some(brand.clone()));
    }
    let lists = written_down(source, &tags).into_iter().filter(|w| w.value.is_array());
    known.extend(lists.map(|list| (list.name.to_owned(), Some(list.value))));
    let mut decider = Decider { text, tags: &tags, partners: &partners, known: Known(known), out: Mapped::default() };
    decider.write(0..tags.len(), 0..source.len());
    decider.out
}

struct Decider<'a> {
    text: &'a Mapped,
    tags: &'a [Tag],
    partners: &'a [Option<usize>],
    known: Known,
    out: Mapped,
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
            let mut escaped = Vec::new();
            tera::escape_html(&said, &mut escaped).expect("memory takes what is written");
            self.out.made(&String::from_utf8(escaped).expect("escaped text is text"), origin);
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
        let mut heads = vec![open];
        let mut i = open + 1;
        while i < end {
            match self.tags[i].word(self.source()) {
                "elif" | "else" => heads.push(i),
                _ => i = self.partners[i].unwrap_or(i),
            }
            i += 1;
        }
        heads.push(end);
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
        let tokens = self.tokens(&self.tags[open]);
        let names: Vec<&str> =
            tokens.iter().skip(1).map_while(|(t, _)| scan::word(*t).filter(|w| *w != "in")).collect();
        let hidden = self.known.hide(names.into_iter().chain(["loop"]));
        self.between(open, end);
        self.known.restore(hidden);
        self.out.copy(self.text, self.tags[end].range.clone());
    }

    fn written_out(&mut self, open: usize, end: usize) -> Option<Mapped> {
        let (begins, ends) = (&self.tags[open], &self.tags[end]);
        let tokens = self.tokens(begins);
        let [_, (Token::Word(name), _), (Token::Word("in"), _), list @ ..] = tokens.as_slice() else { return None };
        let Some(Json::Array(items)) = self.known.value(list) else { return None };
        let mut bytes = begins.range.end..ends.range.start;
        let body = &self.source()[bytes.clone()];
        if items.is_empty() || items.len() * body.len() > WRITTEN_OUT_MAX {
            return None;
        }
        let inside = &self.tags[open + 1..end];
        let simple = |tag: &Tag| match tag.kind {
            Kind::Expression => !tag.inner(self.source()).starts_with('<'),
            Kind::Statement => matches!(tag.word(self.source()), "if" | "elif" | "else" | "endif"),
            Kind::Comment => true,
            Kind::Raw => false,
        };
        let no_else = (open + 1..end).all(|i| self.tags[i].word(self.source()) != "else" || self.is_of_if(i, open));
        if !no_else || !inside.iter().all(simple) {
            return None;
        }
        if begins.trims_right {
            bytes.start += body.len() - body.trim_start().len();
        }
        if ends.trims_left {
            bytes.end = bytes.start.max(begins.range.end + body.trim_end().len());
        }
        let blank = |range: Range<usize>| self.source()[range].trim().is_empty();
        let reaches_back = inside.first().is_some_and(|t| t.trims_left && blank(bytes.start..t.range.start));
        let reaches_on = inside.last().is_some_and(|t| t.trims_right && blank(t.range.end..bytes.end));
        let origin = self.text.origin(begins.range.start)?;
        let before = std::mem::take(&mut self.out);
        for (index, item) in items.iter().enumerate() {
            let place = serde_json::json!({ "index": index + 1, "index0": index, "first": index == 0, "last": index + 1 == items.len(), "length": items.len() });
            let hidden = self.known.show([(*name, item.clone()), ("loop", place)]);
            if reaches_back {
                self.out.made(NOTHING, origin.clone());
            }
            self.write(open + 1..end, bytes.clone());
            if reaches_on {
                self.out.made(NOTHING, origin.clone());
            }
            self.known.restore(hidden);
        }
        let written = std::mem::replace(&mut self.out, before);
        let asked = scan::names(&written.text);
        asked.values.iter().all(|v| v.path[0] != *name && v.path[0] != "loop").then_some(written)
    }

    /// Whether an `else` belongs to a condition inside the loop that begins at `open`.
    fn is_of_if(&self, i: usize, open: usize) -> bool {
        (open + 1..i)
            .any(|o| self.tags[o].word(self.source()) == "if" && self.partners[o].is_some_and(|close| close > i))
    }
}

fn written<'a>(source: &'a str, tokens: &[(Token<'_>, usize)]) -> &'a str {
    match (tokens.first(), tokens.last()) {
        (Some((_, start)), Some(last)) => &source[*start..scan::end_of(source, *last)],
        _ => "",
    }
}

/// An expression that prints nothing, and that no trimming looks beyond.
const NOTHING: &str = "{{ \"\" }}";

/// What stands in place of tags that are not needed: nothing, or what trims as they did and keeps their neighbours from trimming further.
fn removed(source: &str, tags: &[Tag], gone: Range<usize>) -> String {
    let (begins, ends) = (&tags[gone.start], &tags[gone.end - 1]);
    let blank = |range: Range<usize>| source[range].trim().is_empty();
    let before = gone.start.checked_sub(1).map(|i| &tags[i]);
    let after = tags.get(gone.end);
    let reaches = before.is_some_and(|t| t.trims_right && blank(t.range.end..begins.range.start))
        || after.is_some_and(|t| t.trims_left && blank(ends.range.end..t.range.start));
    let stop = if reaches { NOTHING } else { "" };
    match (begins.trims_left, ends.trims_right) {
        (left, right) if stop.is_empty() => trimming(left, right).to_owned(),
        (left, right) => format!("{}{stop}{}", trimming(left, false), trimming(false, right)),
    }
}

/// What is certain of a condition.
enum Truth {
    Known(bool),
    /// Open: the parts of its `and` that are to be asked, as places in its tokens.
    Asks(Vec<Range<usize>>),
}

/// Values that every message has alike, by name; `None` hides one.
struct Known(BTreeMap<String, Option<Json>>);

/// What stood under names before others took them.
type Hidden = Vec<(String, Option<Option<Json>>)>;

impl Known {
    fn show<'n>(&mut self, values: impl IntoIterator<Item = (&'n str, Json)>) -> Hidden {
        values.into_iter().map(|(name, value)| (name.to_owned(), self.0.insert(name.to_owned(), Some(value)))).collect()
    }

    fn hide<'n>(&mut self, names: impl IntoIterator<Item = &'n str>) -> Hidden {
        names.into_iter().map(|name| (name.to_owned(), self.0.insert(name.to_owned(), None))).collect()
    }

    fn restore(&mut self, hidden: Hidden) {
        for (name, before) in hidden.into_iter().rev() {
            match before {
                Some(before) => drop(self.0.insert(name, before)),
                None => drop(self.0.remove(&name)),
            }
        }
    }

    fn truth(&self, tokens: &[(Token<'_>, usize)]) -> Truth {
        let open = || Truth::Asks(std::iter::once(0..tokens.len()).collect());
        if let [(Token::Word("not"), _), asked @ ..] = tokens
            && words(asked, "and").is_empty()
            && words(asked, "or").is_empty()
            && let Some(value) = self.value(asked)
        {
            return Truth::Known(!is_truthy(&value));
        }
        if let Some(value) = self.value(tokens) {
            return Truth::Known(is_truthy(&value));
        }
        let ands = words(tokens, "and");
        if ands.is_empty() || ["or", "if", "else"].iter().any(|word| !words(tokens, word).is_empty()) {
            return open();
        }
        let starts = std::iter::once(0).chain(ands.iter().map(|at| at + 1));
        let ends = ands.iter().copied().chain(std::iter::once(tokens.len()));
        let mut parts = Vec::new();
        for part in starts.zip(ends).map(|(start, end)| start..end) {
            match self.value(&tokens[part.clone()]).map(|value| is_truthy(&value)) {
                // What was asked before it may be an error, which must stay one.
                Some(false) if parts.is_empty() => return Truth::Known(false),
                Some(true) => {}
                _ => parts.push(part),
            }
        }
        match parts.is_empty() {
            true => Truth::Known(true),
            false => Truth::Asks(parts),
        }
    }

    /// A value that every message has alike; null for one that is not there.
    fn value(&self, tokens: &[(Token<'_>, usize)]) -> Option<Json> {
        match tokens {
            [(Token::Text(said), _)] if !said.contains('\\') => Some(Json::from(*said)),
            [(Token::Word("true"), _)] => Some(Json::from(true)),
            [(Token::Word("false"), _)] => Some(Json::from(false)),
            [(Token::Number(digits), _)] => digits.parse::<i64>().ok().map(Json::from),
            [(Token::Word(name), _), rest @ ..] => {
                let value = self.0.get(*name)?.as_ref()?;
                let mut names = Vec::new();
                for step in rest.chunks(2) {
                    let [(Token::Sign('.'), _), (Token::Word(name), _)] = step else { return None };
                    names.push(*name);
                }
                settled::value(value, &names)
            }
            _ => None,
        }
    }
}

/// As Tera sees it.
fn is_truthy(value: &Json) -> bool {
    match value {
        Json::Null => false,
        Json::Bool(b) => *b,
        Json::Number(n) => n.as_f64() != Some(0.0),
        Json::String(s) => !s.is_empty(),
        Json::Array(items) => !items.is_empty(),
        Json::Object(fields) => !fields.is_empty(),
    }
}

/// Where a word stands in no brackets.
fn words(tokens: &[(Token<'_>, usize)], word: &str) -> Vec<usize> {
    let mut depth = 0_usize;
    let mut found = Vec::new();
    for (i, (token, _)) in tokens.iter().enumerate() {
        match token {
            Token::Sign('(' | '[' | '{') => depth += 1,
            Token::Sign(')' | ']' | '}') => depth = depth.saturating_sub(1),
            Token::Word(w) if depth == 0 && *w == word => found.push(i),
            _ => {}
        }
    }
    found
}

/// The text without the tables that it writes down, and these, each under a name that no author uses.
pub(super) fn without_tables(text: &Mapped) -> (Mapped, BTreeMap<String, Json>) {
    let source = text.text.as_str();
    let tags = tags::tags(source);
    let mut tables = BTreeMap::new();
    let mut edits = Vec::new();
    for WrittenDown { tag, name, value, uses } in written_down(source, &tags) {
        let known = format!("table__{}", &hex(&[value.to_string().as_bytes()])[..12]);
        edits.push(Edit { range: tags[tag].range.clone(), text: removed(source, &tags, tag..tag + 1) });
        edits.extend(uses.iter().map(|at| Edit { range: *at..at + name.len(), text: known.clone() }));
        if !uses.is_empty() {
            tables.insert(known, value);
        }
    }
    (text.edited(edits), tables)
}

/// A table or list that a template sets a name to, once and for all who see the name.
struct WrittenDown<'a> {
    tag: usize,
    name: &'a str,
    value: Json,
    uses: Vec<usize>,
}

fn written_down<'a>(source: &'a str, tags: &[Tag]) -> Vec<WrittenDown<'a>> {
    let names = scan::names(source);
    let partners = tags::partners(source, tags);
    let of = |(tag, set): (usize, &Tag)| {
        let (name, written) = set.rest(source).split_once('=')?;
        let (name, value) = (name.trim(), table(written)?);
        let uses: Vec<usize> = names.values.iter().filter(|v| v.path[0] == name).map(|v| v.at).collect();
        let seen = set.range.end..end_of_scope(source, tags, &partners, tag);
        let once = names.locals.iter().filter(|local| **local == name).count() == 1;
        (once && uses.iter().all(|at| seen.contains(at))).then_some(WrittenDown { tag, name, value, uses })
    };
    tags.iter().enumerate().filter(|(_, t)| t.word(source) == "set").filter_map(of).collect()
}

/// Names that a source sets to tables and lists that it writes down, and to nothing else.
pub(super) fn tables<'a>(source: &'a str, tags: &[Tag]) -> BTreeSet<&'a str> {
    let names = scan::names(source);
    let mut found: BTreeMap<&str, usize> = BTreeMap::new();
    for set in tags.iter().filter(|t| t.word(source) == "set") {
        if let Some((name, _)) = set.rest(source).split_once('=').filter(|(_, written)| table(written).is_some()) {
            *found.entry(name.trim()).or_default() += 1;
        }
    }
    let given = |name: &str| names.locals.iter().filter(|local| **local == name).count();
    found.into_iter().filter(|(name, times)| given(name) == *times).map(|(name, _)| name).collect()
}

/// A table or list of texts, numbers and switches, written as JSON writes it too.
fn table(written: &str) -> Option<Json> {
    // Tera reads escapes otherwise.
    let table: Json = serde_json::from_str(written).ok().filter(|_| !written.contains('\\'))?;
    let plain = |value: &Json| value.is_string() || value.is_boolean() || value.is_i64();
    let all = match &table {
        Json::Object(fields) => fields.values().all(plain),
        Json::Array(items) => items.iter().all(plain),
        _ => false,
    };
    all.then_some(table)
}

/// Where a value that a tag sets is no longer seen, or no longer certain to have been set.
fn end_of_scope(source: &str, tags: &[Tag], partners: &[Option<usize>], set: usize) -> usize {
    let mut i = set + 1;
    while let Some(tag) = tags.get(i) {
        let word = tag.word(source);
        let ends = word.starts_with("end") || matches!(word, "elif" | "else") || tag.inner(source).starts_with("</");
        if ends {
            return tag.range.start;
        }
        i = partners[i].unwrap_or(i) + 1;
    }
    source.len()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn brand() -> Json {
        serde_json::json!({ "name": "Tea & co", "url": "https://example.com/", "tagline": "", "logo": null, "odd": "{{ x }}", "n": 0, "of": { "a": "b" } })
    }

    fn context() -> Json {
        serde_json::json!({ "brand": { "name": "Tea & co", "url": "https://example.com/", "tagline": "", "odd": "{{ x }}", "n": 0, "of": { "a": "b" } }, "x": "y < z", "n": 3, "no": "", "xs": [{ "k": "tea" }, { "k": "music" }, { "k": "none" }] })
    }

    fn rendered(text: &str, tables: &BTreeMap<String, Json>) -> String {
        let mut tera = tera::Tera::new();
        tera.autoescape_on([".html"]);
        if let Err(e) = tera.add_raw_templates([("a.html", text)]) {
            panic!("{e}\n{text}");
        }
        for (name, table) in tables {
            tera.global_context().insert(name.clone(), table);
        }
        let context = tera::Context::from_serialize(&context()).unwrap();
        tera.render("a.html", &context).unwrap_or_else(|_| "an error".to_owned())
    }

    fn of(text: &str) -> String {
        decided(&Mapped::of("a", text), &brand()).text
    }

    #[test]
    fn what_is_certain_is_answered_and_the_rest_is_still_asked() {
        for (text, answered) in [
            ("{% if brand.url %}a{{ brand.url }}{% endif %}", "ahttps://example.com/"),
            ("{% if brand.logo %}a{% elif x %}b{% else %}c{% endif %}", "{% if x %}b{% else %}c{% endif %}"),
            ("{% if x %}a{% elif true %}b{% elif no %}c{% else %}d{% endif %}", "{% if x %}a{% else %}b{% endif %}"),
            ("{% if \"t\" and x %}a{% endif %}", "{% if x %}a{% endif %}"),
            ("{% if x and 1 and no %}a{% endif %}", "{% if x and no %}a{% endif %}"),
            ("{% if not brand.tagline %}{% if brand.n %}a{% else %}b{% endif %}{% endif %}", "b"),
            (
                "<p style=\"width:{{ \"118\" if true else \"56\" }}px\">{{ 280 }}</p>",
                "<p style=\"width:118px\">280</p>",
            ),
            ("{{ \"a < b\" if \"\" else brand.name }}", "Tea &amp; co"),
            ("{{ x | upper if false else x | lower }}", "{{ x | lower }}"),
            ("{%- if false -%} a {%- else -%} b {%- endif -%}", "{#- -#} b {#- -#}"),
            (
                "{% if false %}a{% endif %}{% for x in xs %}{% if false %}b{% endif %}{% endfor %}",
                "{% for x in xs %}{% endfor %}",
            ),
        ] {
            assert_eq!(of(text), answered, "{text}");
        }
        for open in [
            "{% if x %}a{% endif %}",
            "{% if brand.of.a.deep %}a{% endif %}",
            "{% if brand.none.deep %}a{% endif %}",
            "{% if true or x %}a{% endif %}",
            "{% if x.y and false %}a{% endif %}",
            "{{ brand.odd }}",
            "{{ brand.logo }}",
            "{{ \"\" }}",
            "{{ \"a\\n\" }}",
            "{{ (\"a\" if true else \"b\") | upper }}",
            "{% raw %}{% if true %}{% endraw %}",
            "{% for brand in xs %}{% if brand.url %}a{% endif %}{% endfor %}",
            "{% set on = [true] %}{% for x in on %}{{ x | str }}{% endfor %}",
            "{% set on = [true] %}{% for x in on %}{% set y = x %}{% endfor %}",
            "{% set on = [true] %}{% for x in on %}a{% else %}b{% endfor %}",
            "{% set on = [true] %}{% for x in on %}{% for x in xs %}{% if x %}a{% endif %}{% endfor %}{% endfor %}",
        ] {
            assert_eq!(of(open), open);
        }
    }

    #[test]
    fn tables_are_made_once_and_looked_up_as_before() {
        let text = "{% for x in xs -%} {% set signs = {\"tea\": \"茶\", \"music\": \"音\"} -%} {{ signs[x.k] | default(value=\"・\") }}{% endfor %}\
            {% if x %}{% set more = {\"tea\": \"茶\", \"music\": \"音\"} %}{{ more.tea }}{% endif %}";
        let (without, tables) = without_tables(&Mapped::of("a", text));
        assert_eq!(rendered(text, &BTreeMap::new()), rendered(&without.text, &tables), "{}", without.text);
        assert!(!without.text.contains("set"), "{}", without.text);
        assert_eq!(tables.len(), 1, "the same table is there once");
        for kept in [
            // Set twice; seen where it may not have been set; not a table; not JSON's.
            "{% set a = {\"k\": 1} %}{% if x %}{% set a = {\"k\": 2} %}{% endif %}{{ a.k }}",
            "{% if no %}{% set a = {\"k\": 1} %}{% endif %}{{ a.k }}",
            "{{ a.k }}{% set a = {\"k\": 1} %}",
            "{% if x %}{% set a = {\"k\": 1} %}{% else %}{{ a.k }}{% endif %}",
            "{% set a = {\"k\": x} %}{{ a.k }}",
            "{% set a = {'k': 1} %}{{ a.k }}",
            "{% set a = [1, [2]] %}{{ a[0] }}",
        ] {
            assert_eq!(without_tables(&Mapped::of("a", kept)).0.text, kept);
        }
    }

    /// Conditions, some of them certain, some errors.
    fn asked() -> impl Strategy<Value = String> {
        let one = prop::sample::select(vec![
            "true",
            "false",
            "\"\"",
            "\"t\"",
            "1",
            "0",
            "x",
            "no",
            "xs",
            "not x",
            "not \"\"",
            "brand.url",
            "brand.logo",
            "brand.tagline",
            "x.y",
            "x == \"y\"",
            "n",
            "loop.first",
        ]);
        prop::collection::vec((one, prop::sample::select(vec![" and ", " or ", " and "])), 1..4).prop_map(|parts| {
            let mut out = String::new();
            for (n, (part, joined)) in parts.iter().enumerate() {
                out.push_str(if n == 0 { "" } else { joined });
                out.push_str(part);
            }
            out
        })
    }

    fn piece() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![
            prop::sample::select(vec![
                "a",
                " ",
                " b ",
                "\n",
                "{{ x }}",
                "{{- \"t\" -}}",
                "{{ 1 }}",
                "{{ brand.name }}",
                "{{ \"\" }}",
                "{#- c -#}",
                "{% set signs = {\"k\": \"v\"} -%}{{ signs.k }}"
            ])
            .prop_map(str::to_owned),
            asked().prop_map(|asked| format!("{{{{ \"p\" if {asked} else \"q\" }}}}")),
        ];
        leaf.prop_recursive(3, 24, 4, |inner| {
            let body = prop::collection::vec(inner, 0..4).prop_map(|parts| parts.concat());
            let dashes = prop::collection::vec(prop::bool::weighted(0.3), 6);
            (asked(), asked(), body.clone(), body.clone(), body, dashes, 0..5_usize).prop_map(
                |(first, second, a, b, c, dashes, form)| {
                    let mut dashes = dashes.into_iter().map(|d| if d { "-" } else { "" });
                    let mut tag = |says: &str| {
                        format!(
                            "{{%{} {says} {}%}}",
                            dashes.next().unwrap_or_default(),
                            dashes.next().unwrap_or_default()
                        )
                    };
                    let open = tag(&format!("if {first}"));
                    let middle = tag(&format!("elif {second}"));
                    let last = tag("else");
                    match form {
                        0 => format!("{open}{a}{{% endif -%}}"),
                        1 => format!("{open}{a}{last}{b}{{% endif %}}"),
                        2 => format!("{open}{a}{middle}{b}{last}{c}{{%- endif %}}"),
                        3 => format!("{{%- for n in ns -%}}{a} {open}{{{{ n }}}}{last}{{{{ loop.index }}}}{{% endif %}}{b}{{% endfor %}}"),
                        _ => format!("{{%- for x in xs %}}{open}{a}{middle}{b}{{% endif %}}{c}{{% endfor -%}}"),
                    }
                },
            )
        })
    }

    proptest! {
        #[test]
        fn an_answered_template_says_what_it_said(parts in prop::collection::vec(piece(), 1..5)) {
            let text = format!("{{% set ns = [0, 5, \"a\"] %}}{}", parts.concat());
            let answered = decided(&Mapped::of("a", &text), &brand());
            let (without, tables) = without_tables(&answered);
            prop_assert_eq!(rendered(&text, &BTreeMap::new()), rendered(&without.text, &tables), "{}", without.text);
        }
    }
}
