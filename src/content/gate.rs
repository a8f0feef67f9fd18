//! Whether a prepared mail says what the slow way says: the same elements, attributes, styles and words, for invented people with much,
//! little and none of everything.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::engine::Source;
use super::markup::{self, Kind};
use super::plain::decoded;
use super::sample::{sample_person, sample_recommended, sample_stranger};
use super::scan;
use super::tags;

/// Lengths that every list takes on.
const LENGTHS: [usize; 3] = [0, 1, 3];
/// Most fields that are taken away, one at a time.
const FIELDS_MAX: usize = 16;

/// The invented people a mail is tried with.
pub(super) fn people(locale: &str, sources: &BTreeMap<String, Source>) -> Vec<Value> {
    let mut full = sample_person(locale);
    full["recommend"] = sample_recommended(&full, 3, &["again", "discover", "popular"]);
    full["reward"] = json!({ "pool": "sample", "kind": "code", "title": "10 % off", "value": 1_000, "code": "SAMPLE-CODE",
                             "expires_on": "2026-12-24", "terms": "Once." });
    for name in attributes(sources) {
        if full["customer"].get(&name).is_none() {
            full["customer"][name] = json!("12");
        }
    }
    let mut stranger = sample_stranger(locale);
    stranger["recommend"] = json!([]);
    let mut people = vec![stranger];
    for length in LENGTHS {
        let mut person = full.clone();
        person["recommend"] = sample_recommended(&full, length, &["discover", "popular"]);
        let lines = person["order"]["lines"].as_array().cloned().unwrap_or_default();
        person["order"]["lines"] = lines.iter().cycle().take(length).cloned().collect();
        let items = person["cart"]["items"].as_array().cloned().unwrap_or_default();
        person["cart"]["items"] = items.iter().cycle().take(length.max(1)).cloned().collect();
        people.push(person);
    }
    for path in asked(sources).into_iter().take(FIELDS_MAX) {
        let mut person = full.clone();
        let (last, above) = path.split_last().expect("a path has a name");
        let owner = above.iter().try_fold(&mut person, |v, name| v.get_mut(name));
        if let Some(fields) = owner.and_then(Value::as_object_mut)
            && fields.remove(last).is_some()
        {
            people.push(person);
        }
    }
    people.push(full);
    people
}

/// Attributes of customers that templates name.
fn attributes(sources: &BTreeMap<String, Source>) -> BTreeSet<String> {
    let named = sources.values().flat_map(|s| scan::names(&s.text).values);
    named.filter(|v| v.path.len() > 1 && v.path[0] == "customer").map(|v| v.path[1].to_owned()).collect()
}

/// The values that conditions ask for.
fn asked(sources: &BTreeMap<String, Source>) -> BTreeSet<Vec<String>> {
    let mut out = BTreeSet::new();
    for source in sources.values() {
        for tag in tags::tags(&source.text).iter().filter(|t| matches!(t.word(&source.text), "if" | "elif")) {
            let condition = format!("{{{{ {} }}}}", tag.rest(&source.text));
            for value in scan::names(&condition).values {
                out.insert(value.path.iter().map(|name| (*name).to_owned()).collect());
            }
        }
    }
    out
}

/// What differs first, in words; `None` when nothing does.
pub(super) fn difference(prepared: &str, slow: &str) -> Option<String> {
    let (mut ours, mut theirs) = (Normal::of(prepared), Normal::of(slow));
    let (rules, all) = (std::mem::take(&mut ours.rules), std::mem::take(&mut theirs.rules));
    if let Some(at) = ours.parts.iter().zip(&theirs.parts).position(|(a, b)| a != b) {
        return Some(format!("`{}` and `{}`", shortened(&ours.parts[at]), shortened(&theirs.parts[at])));
    }
    if ours.parts.len() != theirs.parts.len() {
        let more = if ours.parts.len() > theirs.parts.len() { &ours.parts } else { &theirs.parts };
        return Some(format!("one ends before `{}`", shortened(&more[ours.parts.len().min(theirs.parts.len())])));
    }
    // A rule that matches nothing in one message stays in its style sheet, and does nothing there.
    let lost = all.iter().find(|r| r.starts_with('@') && !rules.contains(*r));
    lost.or_else(|| rules.iter().find(|r| !all.contains(*r))).map(|rule| format!("the rule `{}`", shortened(rule)))
}

fn shortened(text: &str) -> String {
    let cut: String = text.chars().take(80).collect();
    if cut.len() < text.len() { format!("{cut}…") } else { cut }
}

/// A mail without what no reader sees: order of attributes, white space, how a character is written.
#[derive(Default)]
struct Normal {
    parts: Vec<String>,
    rules: BTreeSet<String>,
}

impl Normal {
    fn of(html: &str) -> Normal {
        let mut normal = Normal::default();
        let mut text = String::new();
        for piece in markup::pieces(html, &[]) {
            let raw = &html[piece.range.clone()];
            if !matches!(piece.kind, Kind::Text) {
                let words = spaced(&decoded(&std::mem::take(&mut text)));
                if !words.is_empty() {
                    normal.parts.push(words);
                }
            }
            match &piece.kind {
                Kind::Text => text.push_str(raw),
                Kind::Start(start) => {
                    let mut attributes: Vec<String> = start
                        .attributes
                        .iter()
                        .map(|a| {
                            let value = a.value.clone().map_or(String::new(), |v| decoded(&html[v]).into_owned());
                            format!(" {}={}", a.name, if a.name == "style" { declarations(&value) } else { value })
                        })
                        .collect();
                    attributes.sort();
                    normal.parts.push(format!("<{}{}>", start.name, attributes.concat()));
                }
                Kind::End(name) => normal.parts.push(format!("</{name}>")),
                Kind::Sheet => normal.rules.extend(rules(raw)),
                Kind::Comment | Kind::Doctype | Kind::Raw => normal.parts.push(spaced(raw)),
                Kind::Tera(_) => {}
            }
        }
        let words = spaced(&decoded(&text));
        if !words.is_empty() {
            normal.parts.push(words);
        }
        normal
    }
}

fn spaced(text: &str) -> String {
    text.split_ascii_whitespace().collect::<Vec<_>>().join(" ")
}

fn declarations(style: &str) -> String {
    let tidy = |d: &str| {
        let (name, value) = d.split_once(':').unwrap_or((d, ""));
        format!("{}:{}", name.trim().to_ascii_lowercase(), spaced(value).replace('"', "'"))
    };
    style.split(';').filter(|d| !d.trim().is_empty()).map(tidy).collect::<Vec<_>>().join(";")
}

/// The rules of a style sheet, each as one text.
pub(super) fn rules(sheet: &str) -> Vec<String> {
    let mut out = Vec::new();
    let (mut depth, mut start) = (0_usize, 0);
    for (i, c) in sheet.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    out.push(spaced(&sheet[start..=i]));
                    start = i + 1;
                }
            }
            _ => {}
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_reader_sees_is_a_difference() {
        let same = |a, b| assert_eq!(difference(a, b), None);
        same("<p a='1'  b=\"2\">x &amp;  y</p>", "<p b=2 a=1>x &#38; y</p>");
        same("<p style='color: RED; margin:0'>", "<p style=\"color:RED;margin:0;\">");
        same("<style>@media x{a{b:c}}</style>", "<style>.unmatched{a:b} @media x{a{b:c}}</style>");
        let differs = |a, b| assert!(difference(a, b).is_some(), "{a} {b}");
        differs("<p>a</p>", "<p>b</p>");
        differs("<p style='color:red'>", "<p style='color:blue'>");
        differs("<p></p>", "<p></p><p></p>");
        differs("<style></style>", "<style>@media x{a{b:c}}</style>");
        differs("<style>.a:hover{b:c}</style>", "<style></style>");
    }
}
