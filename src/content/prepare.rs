//! A mail made ready once, so that each message costs a Tera render and nothing else: flattened, MJML turned into HTML, styles inlined,
//! links and what the text part needs between marks.
//!
//! What was prepared is compared with the slow way, which renders first and inlines afterwards, for invented people ([`super::gate`]).
//! Where the two differ, or the preparation refuses, the mail is rendered the slow way, message by message, and `okaeri check` says why.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::engine::Source;
use super::flatten::{self, Flat, Refusal};
use super::mapped::{Edit, Mapped};
use super::markup::Kind;
use super::plain::escaped;
use super::track::Trail;
use super::unit::Unit;
use super::{decided, inline, links, marker, mjml, scan, settled, splice, tags};

/// The names of a prepared mail inside the engine; both are escaped.
pub(super) fn body_of(html: &str) -> String {
    format!("{html}#body.html")
}

pub(super) fn components_of(html: &str) -> String {
    format!("{html}#components.html")
}

/// A mail in MJML.
pub(super) fn is_mjml(name: &str) -> bool {
    name.ends_with(".mjml")
}

/// A prepared mail.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Prepared {
    pub body: Mapped,
    /// All components made for its calls, one after the other.
    pub components: Mapped,
    /// What it knows beside what it is told: tables that its files write down, by name.
    pub tables: BTreeMap<String, Json>,
    /// Its files show the preheader themselves.
    pub shows_preheader: bool,
}

/// Prepare the mail `html`. `brand` is what the settings say in its language; `has_preheader` when it has one, which is put in
/// where the mail does not show it itself.
pub(super) fn prepare(
    html: &str,
    number: usize,
    has_preheader: bool,
    brand: &Json,
    sources: &BTreeMap<String, Source>,
) -> Result<Prepared, Refusal> {
    let mut flat = flatten::flatten(html, number, sources)?;
    let shows_preheader = flat_shows_preheader(&flat);
    // What the settings say stands in components before they are put where they are called, because they see only what they are given.
    for component in &mut flat.components {
        component.text = settled::settled(&component.text, brand);
    }
    let mut flat = inline::inlined(flat);
    flat.root = decided::decided(&flat.root, brand);
    // A component may take a value of its caller without naming it: `@signs`.
    let implicit = flat
        .components
        .iter()
        .any(|c| tags::tags(&c.text.text).first().is_some_and(|t| t.inner(&c.text.text).contains('@')));
    let (root, tables) = match implicit {
        true => (flat.root, BTreeMap::new()),
        false => decided::without_tables(&flat.root),
    };
    let root = if is_mjml(html) { mjml::to_html(&root)? } else { root };
    let mut units = vec![Unit::new("", &root)];
    units.extend(flat.components.iter().map(|c| Unit::new(&c.name, &c.text)));
    let mut edits = splice::edits(&units)?;
    if has_preheader && !shows_preheader {
        edits[0].extend(preheader(&units[0]));
    }
    let styled: Vec<Mapped> = units.iter().zip(edits).map(|(unit, edits)| unit.mapped.edited(edits)).collect();
    let mut marked = marked(&styled).into_iter();
    let body = marked.next().unwrap_or_default();
    let mut components = Mapped::default();
    for component in marked {
        components.copy(&component, 0..component.text.len());
    }
    Ok(Prepared { body, components, tables, shows_preheader })
}

/// Texts with the marks of their links and, where all of them can tell it ahead, of the text part.
fn marked(styled: &[Mapped]) -> Vec<Mapped> {
    let units: Vec<Unit<'_>> = styled.iter().map(|text| Unit::new("", text)).collect();
    let texts: Option<Vec<Vec<Edit>>> = units.iter().map(marker::text_marks).collect();
    let texts = texts.unwrap_or_else(|| units.iter().map(|_| Vec::new()).collect());
    let mut link = 0;
    let all = |(unit, mut edits): (&Unit<'_>, Vec<Edit>)| {
        edits.extend(links::edits(unit, &mut link));
        unit.mapped.edited(edits)
    };
    units.iter().zip(texts).map(all).collect()
}

fn flat_shows_preheader(flat: &Flat) -> bool {
    let mut texts = std::iter::once(&flat.root).chain(flat.components.iter().map(|c| &c.text));
    texts.any(|mapped| names_preheader(&mapped.text))
}

fn names_preheader(text: &str) -> bool {
    scan::names(text).values.iter().any(|value| value.path[0] == "preheader")
}

/// Whether a mail that could not be prepared shows its preheader: itself, or a file that it extends or includes. What other mails of the
/// project show is theirs.
pub(super) fn shows_preheader(html: &str, sources: &BTreeMap<String, Source>) -> bool {
    if let Ok(flat) = flatten::flatten(html, 0, sources) {
        return flat_shows_preheader(&flat);
    }
    let (mut queue, mut seen) = (vec![html], BTreeSet::new());
    while let Some(name) = queue.pop() {
        let Some(source) = sources.get(name).filter(|_| seen.insert(name)) else { continue };
        if names_preheader(&source.text) {
            return true;
        }
        queue.extend(scan::names(&source.text).templates.into_iter().map(|(target, _)| target));
    }
    false
}

/// What shows the preheader in lists of mails, and nowhere else.
const PREHEADER: &str = "<div style=\"display:none;max-height:0;overflow:hidden;mso-hide:all;font-size:1px;line-height:1px;\">{{ preheader }}</div>";

fn preheader(root: &Unit<'_>) -> Option<Edit> {
    let body = root.pieces.iter().find(|p| matches!(&p.kind, Kind::Start(s) if s.name == "body"))?;
    Some(Edit::insert(body.range.end, PREHEADER.to_owned()))
}

/// The slow way, after the render: MJML, styles, links.
pub(super) fn finish(html: &str, rendered: String, preheader: Option<&str>, trail: &Trail) -> Result<String, String> {
    let rendered = if is_mjml(html) { mjml::rendered_to_html(&rendered)? } else { rendered };
    let mapped = Mapped::of("", &rendered);
    let unit = Unit::rendered(&mapped);
    let mut edits = splice::edits(std::slice::from_ref(&unit)).map_err(|r| r.message)?.pop().unwrap_or_default();
    if let Some(preheader) = preheader {
        let text = escaped(preheader);
        edits.extend(self::preheader(&unit).map(|e| Edit { text: e.text.replace("{{ preheader }}", &text), ..e }));
    }
    Ok(links::in_rendered(&mapped.edited(edits).text, trail))
}
