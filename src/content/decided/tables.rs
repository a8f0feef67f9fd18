//! Tables and lists that templates write down: `{% set signs = {"tea": "茶"} %}`.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use super::super::kept::hex;
use super::super::mapped::{Edit, Mapped};
use super::super::scan;
use super::super::tags::{self, Tag};
use super::removed;

/// The text without the tables that it writes down, and these, each under a name that no author uses.
pub(in super::super) fn without_tables(text: &Mapped) -> (Mapped, BTreeMap<String, Json>) {
    let source = text.text.as_str();
    let tags = tags::tags(source);
    let mut tables = BTreeMap::new();
    let mut edits = Vec::new();
    for WrittenDown { tag, name, value, uses } in written_down(source, &tags) {
        // Errors name it as its author did (`engine::render_error`).
        let own = name.find("__").map_or(name, |at| &name[..at]);
        let known = format!("{own}__{}", &hex(&[value.to_string().as_bytes()])[..12]);
        edits.push(Edit { range: tags[tag].range.clone(), text: removed(source, &tags, tag..tag + 1) });
        edits.extend(uses.iter().map(|at| Edit { range: *at..at + name.len(), text: known.clone() }));
        if !uses.is_empty() {
            tables.insert(known, value);
        }
    }
    (text.edited(edits), tables)
}

/// A table or list that a template sets a name to, once and for all who see the name.
pub(super) struct WrittenDown<'a> {
    tag: usize,
    pub(super) name: &'a str,
    pub(super) value: Json,
    uses: Vec<usize>,
}

pub(super) fn written_down<'a>(source: &'a str, tags: &[Tag]) -> Vec<WrittenDown<'a>> {
    let names = scan::names(source);
    // What a call of a component names is its own business: `<c signs />` gives the value under this name.
    let in_call = |at: usize| tags.iter().any(|t| t.range.contains(&at) && t.inner(source).starts_with('<'));
    let partners = tags::partners(source, tags);
    let of = |(tag, set): (usize, &Tag)| {
        let (name, written) = set.rest(source).split_once('=')?;
        let (name, value) = (name.trim(), table(written)?);
        let uses: Vec<usize> = names.values.iter().filter(|v| v.path[0] == name).map(|v| v.at).collect();
        let seen = set.range.end..end_of_scope(source, tags, &partners, tag);
        let once = names.locals.iter().filter(|local| **local == name).count() == 1;
        (once && uses.iter().all(|at| seen.contains(at) && !in_call(*at))).then_some(WrittenDown {
            tag,
            name,
            value,
            uses,
        })
    };
    tags.iter().enumerate().filter(|(_, t)| t.word(source) == "set").filter_map(of).collect()
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
