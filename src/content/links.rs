//! Finds the links of a mail and puts them between marks ([`super::marks`]): `href="…"` of `<a>` and `<area>`, and those inside comments
//! for Outlook. The addresses of pictures that come from data are marked likewise (`<img src="…">`).
//!
//! `data-track="off"` on a link leaves it direct. The links of the mail itself (unsubscribe, preferences) are never redirected.

use super::mapped::Edit;
use super::marks::{self, Treated};
use super::markup::{Attribute, Kind, Start};
use super::track::{self, Trail};
use super::unit::Unit;

/// The attribute that opts a link out.
const OPT_OUT: &str = "data-track";

/// The changes that mark links; `number` is the next link's.
pub(super) fn edits(unit: &Unit<'_>, number: &mut u32) -> Vec<Edit> {
    let mut out = Vec::new();
    for piece in &unit.pieces {
        match &piece.kind {
            Kind::Start(start) => {
                let off = opted_out(unit, start, &mut out);
                if matches!(start.name.as_str(), "a" | "area")
                    && let Some(href) = start.attribute("href")
                {
                    wrap(unit, href, off, number, &mut out);
                }
                if start.name == "img"
                    && let Some(value) = start.attribute("src").filter(|a| a.quoted).and_then(|a| a.value.clone())
                    && !unit.within(&value).is_empty()
                {
                    out.extend(marks::picture(&value));
                }
            }
            Kind::Comment => in_comment(unit, piece.range.clone(), number, &mut out),
            _ => {}
        }
    }
    out
}

/// Whether a link is opted out; the attribute that says so is not sent.
fn opted_out(unit: &Unit<'_>, start: &Start, out: &mut Vec<Edit>) -> bool {
    let Some(attribute) = start.attribute(OPT_OUT) else { return false };
    let spaced = unit.text()[..attribute.range.start].ends_with(' ');
    out.push(Edit { range: attribute.range.start - usize::from(spaced)..attribute.range.end, text: String::new() });
    attribute.value.clone().is_some_and(|v| matches!(unit.text()[v].trim(), "off" | "false" | "no"))
}

fn wrap(unit: &Unit<'_>, href: &Attribute, off: bool, number: &mut u32, out: &mut Vec<Edit>) {
    let Some(value) = href.value.clone() else { return };
    let text = &unit.text()[value.clone()];
    let tags = unit.within(&value);
    let is_known = tags.is_empty() && (off || !is_web(text));
    let is_ours = unit.tera[tags].iter().any(|t| t.inner(unit.text()).starts_with("links."));
    let treated = match (is_known || is_ours || !href.quoted, off) {
        (true, _) => Treated::AsItIs,
        (false, true) => Treated::Direct,
        (false, false) => Treated::Tracked,
    };
    out.extend(marks::link(&value, *number, treated));
    if treated != Treated::AsItIs {
        *number += 1;
    }
}

/// Links in what only Outlook reads: `<!--[if mso]>…<![endif]-->`.
fn in_comment(unit: &Unit<'_>, range: std::ops::Range<usize>, number: &mut u32, out: &mut Vec<Edit>) {
    let comment = &unit.text()[range.clone()];
    if !comment.starts_with("<!--[if") {
        return;
    }
    let mut at = 0;
    while let Some(start) = comment[at..].find(" href=").map(|i| at + i + " href=".len()) {
        let Some(quote) = comment[start..].chars().next().filter(|c| matches!(c, '"' | '\'')) else {
            at = start;
            continue;
        };
        let begin = start + 1;
        let mut end = begin;
        let tera = |at: usize| unit.tera.iter().find(|t| t.range.start == range.start + at);
        while end < comment.len() && !comment[end..].starts_with(quote) {
            end = match tera(end) {
                Some(tag) => tag.range.end - range.start,
                None => end + comment[end..].chars().next().map_or(1, char::len_utf8),
            };
        }
        if end >= comment.len() {
            return;
        }
        let value = range.start + begin..range.start + end;
        let name = "href".to_owned();
        wrap(unit, &Attribute { name, range: value.clone(), value: Some(value), quoted: true }, false, number, out);
        at = end;
    }
}

fn is_web(text: &str) -> bool {
    let text = text.trim_start().as_bytes();
    let begins = |scheme: &str| text.get(..scheme.len()).is_some_and(|t| t.eq_ignore_ascii_case(scheme.as_bytes()));
    begins("http://") || begins("https://")
}

/// The links of a mail that is already rendered.
pub(super) fn in_rendered(html: &str, trail: &Trail) -> String {
    let mapped = super::mapped::Mapped::of("", html);
    let unit = Unit::rendered(&mapped);
    let mut number = 0;
    let mut edits = Vec::new();
    for piece in &unit.pieces {
        let Kind::Start(start) = &piece.kind else { continue };
        let off = opted_out(&unit, start, &mut edits);
        if start.name == "img"
            && let Some(value) = start.attribute("src").filter(|a| a.quoted).and_then(|a| a.value.clone())
        {
            let text = track::picture(&html[value.clone()]).to_owned();
            edits.push(Edit { range: value, text });
        }
        if !matches!(start.name.as_str(), "a" | "area") {
            continue;
        }
        if let Some(value) = start.attribute("href").filter(|a| a.quoted).and_then(|a| a.value.clone()) {
            let mut text = String::new();
            trail.link(&mut text, &html[value.clone()], number, !off);
            number += 1;
            edits.push(Edit { range: value, text });
        }
    }
    mapped.edited(edits).text
}
