//! One mail as one text: `extends`, blocks and includes are resolved, and every call of a component gets a component of its own, because
//! what a style sheet does to an element depends on what stands around it.
//!
//! The result renders what the files render. Whatever this cannot take apart is refused with the reason and the place, and the mail is
//! then rendered from its files ([`super::prepare`]).

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use super::engine::Source;
use super::mapped::{Mapped, Origin};
use super::scan;
use super::tags::{self, Kind, Tag};

/// Most calls of components in one mail, deepest nesting of files, largest flattened mail.
const CALLS_MAX: usize = 2_000;
const DEPTH_MAX: usize = 24;
const BYTES_MAX: usize = 4 << 20;

/// A mail in one piece, and the components it calls.
#[derive(Debug, Default)]
pub(super) struct Flat {
    pub root: Mapped,
    pub components: Vec<Component>,
}

/// A component made for one call.
#[derive(Debug)]
pub(super) struct Component {
    /// `button__0_3`.
    pub name: String,
    /// From `{% component … %}` to `{% endcomponent … %}`.
    pub text: Mapped,
}

/// Why a mail cannot be prepared ahead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub code: &'static str,
    pub message: String,
    pub at: Origin,
}

/// A file with its tags.
struct File<'a> {
    name: Arc<str>,
    text: &'a str,
    tags: Vec<Tag>,
    partners: Vec<Option<usize>>,
}

impl File<'_> {
    fn origin(&self, offset: usize) -> Origin {
        Origin { source: self.name.clone(), offset }
    }

    fn inside(&self, open: usize) -> Option<(Range<usize>, usize)> {
        let close = self.partners[open]?;
        Some((self.tags[open].range.end..self.tags[close].range.start, close))
    }
}

/// Flatten the source `root`. Names of components are the engine's, so `mail`, a number, is part of those made here.
pub(super) fn flatten(root: &str, mail: usize, sources: &BTreeMap<String, Source>) -> Result<Flat, Refusal> {
    let mut files = BTreeMap::new();
    for (name, source) in sources {
        let tags = tags::tags(&source.text);
        let partners = tags::partners(&source.text, &tags);
        files.insert(name.as_str(), File { name: name.as_str().into(), text: &source.text, tags, partners });
    }
    let mut defined = BTreeMap::new();
    for (name, file) in &files {
        for (i, tag) in file.tags.iter().enumerate().filter(|(_, t)| t.word(file.text) == "component") {
            let rest = tag.rest(file.text);
            defined.insert(rest[..rest.find('(').unwrap_or(rest.len())].trim(), (*name, i));
        }
    }
    let mut flattener =
        Flattener { mail, files: &files, defined, made: Vec::new(), open: Vec::new(), depth: 0, seen: BTreeSet::new() };
    let mut out = Mapped::default();
    flattener.file(root, &mut out)?;
    flattener.no_leaks()?;
    let components = flattener.made.into_iter().map(|c| c.expect("every component begun was finished")).collect();
    Ok(Flat { root: out, components })
}

struct Flattener<'a> {
    mail: usize,
    files: &'a BTreeMap<&'a str, File<'a>>,
    /// Component → its file and the tag that begins it.
    defined: BTreeMap<&'a str, (&'a str, usize)>,
    made: Vec<Option<Component>>,
    /// Components being made, to see a circle.
    open: Vec<&'a str>,
    depth: usize,
    /// Files that were put in by `include`.
    seen: BTreeSet<&'a str>,
}

/// From a mail to the frame it extends, the mail first.
type Chain<'a> = Vec<&'a File<'a>>;

impl<'a> Flattener<'a> {
    /// A file with what it extends.
    fn file(&mut self, name: &str, out: &mut Mapped) -> Result<(), Refusal> {
        let files = self.files;
        let mut chain: Chain<'a> = Vec::new();
        let mut next = files.get(name);
        while let Some(file) = next {
            chain.push(file);
            if chain.len() > DEPTH_MAX {
                return Err(refusal("too-deep", "templates extend each other too deeply", file.origin(0)));
            }
            next = file
                .tags
                .iter()
                .find(|t| t.word(file.text) == "extends")
                .and_then(|t| files.get(unquoted(t.rest(file.text))));
        }
        let Some(base) = chain.last().copied() else { return Ok(()) };
        for file in &chain[..chain.len() - 1] {
            self.nothing_beside_blocks(file)?;
        }
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(refusal("too-deep", "templates include each other too deeply", base.origin(0)));
        }
        self.emit(base, 0..base.text.len(), &chain, None, out)?;
        self.depth -= 1;
        Ok(())
    }

    /// A value set beside the blocks of a mail that extends another would be lost here.
    fn nothing_beside_blocks(&self, file: &File<'_>) -> Result<(), Refusal> {
        let mut i = 0;
        while i < file.tags.len() {
            match file.tags[i].word(file.text) {
                "set" | "set_global" | "if" | "for" => {
                    let at = file.origin(file.tags[i].range.start);
                    return Err(refusal(
                        "set-beside-blocks",
                        "a mail that extends another can set values only inside its blocks",
                        at,
                    ));
                }
                "block" | "component" => i = file.partners[i].unwrap_or(i),
                _ => {}
            }
            i += 1;
        }
        Ok(())
    }

    fn emit(
        &mut self,
        file: &'a File<'a>,
        range: Range<usize>,
        chain: &Chain<'a>,
        block: Option<(&'a str, usize)>,
        out: &mut Mapped,
    ) -> Result<(), Refusal> {
        let mut at = range.start;
        let mut renamed: BTreeMap<usize, String> = BTreeMap::new();
        let mut i = file.tags.partition_point(|t| t.range.start < range.start);
        while let Some(tag) = file.tags.get(i).filter(|t| t.range.start < range.end) {
            if out.text.len() > BYTES_MAX {
                return Err(refusal("too-large", "the mail is too large", file.origin(tag.range.start)));
            }
            let inner = tag.inner(file.text);
            let here = file.origin(tag.range.start);
            let copy_before = |at: usize, out: &mut Mapped| out.verbatim(&file.name, file.text, at..tag.range.start);
            match (tag.kind, tag.word(file.text)) {
                (Kind::Statement, "extends") => {
                    copy_before(at, out);
                    neutral(out, tag.trims_left, tag.trims_right, &here);
                    at = tag.range.end;
                }
                (Kind::Statement, "block") => {
                    copy_before(at, out);
                    let close = file.partners[i].ok_or_else(|| unclosed(&here))?;
                    self.block(file, (i, close), chain, out)?;
                    at = file.tags[close].range.end;
                    i = close;
                }
                (Kind::Statement, "include") => {
                    copy_before(at, out);
                    let name = unquoted(tag.rest(file.text));
                    let Some((name, _)) = self.files.get_key_value(name) else {
                        return Err(refusal("dynamic-include", "only a file named in quotes can be included", here));
                    };
                    neutral(out, tag.trims_left, false, &here);
                    self.seen.insert(name);
                    self.file(name, out)?;
                    neutral(out, false, tag.trims_right, &here);
                    at = tag.range.end;
                }
                (Kind::Statement, "component") => {
                    copy_before(at, out);
                    let close = file.partners[i].ok_or_else(|| unclosed(&here))?;
                    neutral(out, tag.trims_left, file.tags[close].trims_right, &here);
                    at = file.tags[close].range.end;
                    i = close;
                }
                (Kind::Expression | Kind::Statement, "") if inner.starts_with("</") => {
                    if let Some(name) = renamed.remove(&i) {
                        copy_before(at, out);
                        let dash = |trims: bool| if trims { "-" } else { "" };
                        let (left, right) = (dash(tag.trims_left), dash(tag.trims_right));
                        out.made(&format!("{{%{left} </{name}> {right}%}}"), here);
                        at = tag.range.end;
                    }
                }
                (Kind::Expression | Kind::Statement, "") if inner.starts_with('<') => {
                    let called = called(inner);
                    let name = self.specialise(called, &here)?;
                    let name_at = tag.inner.start + file.text[tag.inner.clone()].find('<').unwrap_or_default() + 1;
                    out.verbatim(&file.name, file.text, at..name_at);
                    out.made(&name, here);
                    at =
                        name_at + (file.text[name_at..].len() - file.text[name_at..].trim_start().len()) + called.len();
                    if let Some(close) = file.partners[i] {
                        renamed.insert(close, name);
                    }
                }
                (Kind::Expression, _) if inner.replace(' ', "") == "super()" => {
                    copy_before(at, out);
                    let (name, level) =
                        block.ok_or_else(|| refusal("super-outside", "`super()` stands in no block", here.clone()))?;
                    if let Some((above, level, open)) = lowest(chain, name, level + 1)
                        && let Some((inside, _)) = above.inside(open)
                    {
                        self.emit(above, inside, chain, Some((name, level)), out)?;
                    }
                    at = tag.range.end;
                }
                (Kind::Expression | Kind::Statement, _) if calls_within(inner) => {
                    return Err(refusal("component-in-expression", "a component is called inside an expression", here));
                }
                _ => {}
            }
            i += 1;
        }
        out.verbatim(&file.name, file.text, at..range.end.max(at));
        Ok(())
    }

    /// A block, as the mail nearest to the reader fills it.
    fn block(
        &mut self,
        file: &'a File<'a>,
        (open, close): (usize, usize),
        chain: &Chain<'a>,
        out: &mut Mapped,
    ) -> Result<(), Refusal> {
        let name = file.tags[open].rest(file.text);
        let here = file.origin(file.tags[open].range.start);
        let (filled, level, at) = lowest(chain, name, 0).unwrap_or((file, 0, open));
        let (inside, end) = filled.inside(at).ok_or_else(|| unclosed(&here))?;
        neutral(out, file.tags[open].trims_left, filled.tags[at].trims_right, &here);
        self.emit(filled, inside, chain, Some((name, level)), out)?;
        neutral(out, filled.tags[end].trims_left, file.tags[close].trims_right, &here);
        Ok(())
    }

    /// Make a component for one call; returns its name.
    fn specialise(&mut self, called: &str, at: &Origin) -> Result<String, Refusal> {
        let Some((name, (file, open))) = self.defined.get_key_value(called) else {
            return Err(refusal("missing-component", &format!("there is no component `{called}`"), at.clone()));
        };
        let (name, file, open) = (*name, &self.files[*file], *open);
        if self.open.contains(&name) {
            return Err(refusal("recursive-component", &format!("the component `{name}` calls itself"), at.clone()));
        }
        if self.made.len() >= CALLS_MAX {
            return Err(refusal("too-large", "the mail calls too many components", at.clone()));
        }
        let place = self.made.len();
        self.made.push(None);
        self.open.push(name);
        let own = format!("{name}__{}_{}", self.mail, place + 1);
        let (inside, close) = file.inside(open).ok_or_else(|| unclosed(at))?;
        let (begins, ends) = (&file.tags[open], &file.tags[close]);
        let mut text = Mapped::default();
        let arguments = begins.rest(file.text).strip_prefix(name).unwrap_or_default();
        let dash = |trims: bool| if trims { "-" } else { "" };
        text.made(
            &format!("{{% component {own}{arguments} {}%}}", dash(begins.trims_right)),
            file.origin(begins.range.start),
        );
        let alone = vec![file];
        self.emit(file, inside, &alone, None, &mut text)?;
        text.made(&format!("{{%{} endcomponent {own} %}}", dash(ends.trims_left)), file.origin(ends.range.start));
        self.open.pop();
        self.made[place] = Some(Component { name: own.clone(), text });
        Ok(own)
    }

    /// An included file that sets a value keeps it to itself; put in, it would not.
    fn no_leaks(&self) -> Result<(), Refusal> {
        for included in &self.seen {
            let file = &self.files[included];
            for (i, tag) in file.tags.iter().enumerate() {
                if !matches!(tag.word(file.text), "set" | "set_global") {
                    continue;
                }
                let rest = tag.rest(file.text);
                let local = &rest[..rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len())];
                let in_loop = (0..i)
                    .any(|o| file.tags[o].word(file.text) == "for" && file.partners[o].is_some_and(|close| close > i));
                let used = self.files.iter().filter(|(name, _)| *name != included).any(|(_, other)| {
                    scan::names(other.text).values.iter().any(|v| v.path[0] == local) && !self.is_component_file(other)
                });
                if !in_loop && used {
                    return Err(refusal(
                        "set-in-include",
                        &format!("`{local}` is set in an included file, and another file uses the same name"),
                        file.origin(tag.range.start),
                    ));
                }
            }
        }
        Ok(())
    }

    /// A file that holds components sees nobody's values but their arguments.
    fn is_component_file(&self, file: &File<'_>) -> bool {
        self.defined.values().any(|(name, _)| *name == &*file.name)
    }
}

/// The file nearest to the reader, from `from` on, that fills a block.
fn lowest<'a>(chain: &Chain<'a>, name: &str, from: usize) -> Option<(&'a File<'a>, usize, usize)> {
    chain.iter().enumerate().skip(from).find_map(|(level, file)| {
        let open = file.tags.iter().position(|t| t.word(file.text) == "block" && t.rest(file.text) == name)?;
        Some((*file, level, open))
    })
}

/// What is left of a tag that was resolved: nothing, or a comment that trims as the tag did.
fn neutral(out: &mut Mapped, left: bool, right: bool, at: &Origin) {
    out.made(tags::trimming(left, right), at.clone());
}

fn unquoted(text: &str) -> &str {
    text.trim_matches(['"', '\'', '`'])
}

/// The name in `<card.big title="x" />`.
fn called(inner: &str) -> &str {
    let name = inner[1..].trim_start();
    &name[..name.find(|c: char| !c.is_alphanumeric() && c != '_' && c != '.').unwrap_or(name.len())]
}

fn calls_within(inner: &str) -> bool {
    inner.contains("/>")
}

fn refusal(code: &'static str, message: &str, at: Origin) -> Refusal {
    Refusal { code, message: message.to_owned(), at }
}

fn unclosed(at: &Origin) -> Refusal {
    refusal("unclosed", "a tag here is never closed", at.clone())
}
