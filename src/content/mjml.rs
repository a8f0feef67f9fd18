//! MJML to HTML, with Tera's tags carried through as words that MJML leaves alone.
//!
//! Between layout elements, where MJML knows only its own, a tag travels inside `<mj-raw>`. Afterwards every word must be there again:
//! what MJML dropped would be a condition or a loop that is silently gone.

use std::ops::Range;

use super::flatten::Refusal;
use super::mapped::{Mapped, Origin};
use super::markup::Kind;
use super::tags;
use super::unit::{Spot, Unit};
use crate::problem::nearest;

/// Elements whose content is theirs to lay out; in all others, text may stand.
const LAYOUT: [&str; 14] = [
    "mjml",
    "mj-body",
    "mj-section",
    "mj-wrapper",
    "mj-group",
    "mj-column",
    "mj-hero",
    "mj-navbar",
    "mj-social",
    "mj-accordion",
    "mj-accordion-element",
    "mj-carousel",
    "mj-head",
    "mj-attributes",
];

/// Every element of MJML 4; the parser passes over others without a word.
const ELEMENTS: [&str; 36] = [
    "mjml",
    "mj-accordion",
    "mj-accordion-element",
    "mj-accordion-text",
    "mj-accordion-title",
    "mj-all",
    "mj-attributes",
    "mj-body",
    "mj-breakpoint",
    "mj-button",
    "mj-carousel",
    "mj-carousel-image",
    "mj-class",
    "mj-column",
    "mj-divider",
    "mj-font",
    "mj-group",
    "mj-head",
    "mj-hero",
    "mj-html-attributes",
    "mj-html-attribute",
    "mj-image",
    "mj-navbar",
    "mj-navbar-link",
    "mj-preview",
    "mj-raw",
    "mj-section",
    "mj-selector",
    "mj-social",
    "mj-social-element",
    "mj-spacer",
    "mj-style",
    "mj-table",
    "mj-text",
    "mj-title",
    "mj-wrapper",
];

/// The word for a tag.
fn word(tag: usize) -> String {
    format!("okx{tag}xko")
}

/// Turn a flattened MJML mail into HTML.
pub(super) fn to_html(source: &Mapped) -> Result<Mapped, Refusal> {
    let worded = worded(source)?;
    let parsed = mrml::parse(&worded.text).map_err(|e| refused(&worded, &e))?;
    let html = parsed.element.render(&mrml::prelude::render::RenderOptions::default()).map_err(|e| Refusal {
        code: "mjml-fails",
        message: format!("this MJML cannot be rendered: {e}"),
        at: start(source),
    })?;
    restored(source, &html)
}

/// MJML without Tera, for a mail that is rendered first.
pub(super) fn rendered_to_html(mjml: &str) -> Result<String, String> {
    let parsed = mrml::parse(mjml).map_err(|e| e.to_string())?;
    parsed.element.render(&mrml::prelude::render::RenderOptions::default()).map_err(|e| e.to_string())
}

fn start(source: &Mapped) -> Origin {
    source.origin(0).unwrap_or(Origin { source: "".into(), offset: 0 })
}

fn worded(source: &Mapped) -> Result<Mapped, Refusal> {
    let unit = Unit::new("", source);
    let mut out = Mapped::default();
    let mut at = 0;
    let mut open: Vec<&str> = Vec::new();
    for piece in &unit.pieces {
        if let Kind::Start(start) = &piece.kind
            && start.name == "mj-include"
        {
            return Err(Refusal {
                code: "mjml-syntax",
                message:
                    "`mj-include` is not read here: write {% include \"parts/foot.mjml\" %}, a file below templates/"
                        .to_owned(),
                at: source.origin(piece.range.start).expect("a piece stands in a text"),
            });
        }
        if let Kind::Start(start) = &piece.kind
            && start.name.starts_with("mj")
            && !ELEMENTS.contains(&start.name.as_str())
        {
            let near = nearest(&start.name, ELEMENTS).map_or(String::new(), |n| format!(": did you mean `{n}`?"));
            return Err(Refusal {
                code: "mjml-syntax",
                message: format!("`{}` is no element of MJML{near}", start.name),
                at: source.origin(piece.range.start).expect("a piece stands in a text"),
            });
        }
        match &piece.kind {
            Kind::Start(start) if !start.is_void() => open.push(&start.name),
            Kind::End(name) => {
                if let Some(depth) = open.iter().rposition(|o| o == name) {
                    open.truncate(depth);
                }
            }
            _ => {}
        }
        for tag in unit.within(&piece.range) {
            let range = unit.tera[tag].range.clone();
            let origin = source.origin(range.start).expect("a tag stands in a text");
            out.copy(source, at..range.start);
            at = range.end;
            if matches!(unit.spots[tag], Spot::Loose(_)) {
                return Err(Refusal {
                    code: "tag-in-mjml-tag",
                    message: "in an MJML tag, Tera can stand only inside the value of an attribute".to_owned(),
                    at: origin,
                });
            }
            let in_layout = unit.spots[tag] == Spot::Between
                && open.last().is_none_or(|o| LAYOUT.contains(o))
                && unit.tera[tag].kind != tags::Kind::Comment;
            if unit.tera[tag].kind == tags::Kind::Comment && unit.spots[tag] == Spot::Between {
                continue;
            }
            let text =
                if in_layout && !open.is_empty() { format!("<mj-raw>{}</mj-raw>", word(tag)) } else { word(tag) };
            out.made(&text, origin);
        }
    }
    out.copy(source, at..source.text.len());
    // Before the root element MJML knows nothing, not even an empty line.
    let begins = out.text.find("<mjml").unwrap_or_default();
    let mut trimmed = Mapped::default();
    trimmed.copy(&out, begins..out.text.trim_end().len().max(begins));
    Ok(trimmed)
}

fn refused(worded: &Mapped, error: &mrml::prelude::parser::Error) -> Refusal {
    use mrml::prelude::parser::Error;
    let position = match error {
        Error::UnexpectedElement { position, .. }
        | Error::UnexpectedToken { position, .. }
        | Error::MissingAttribute { position, .. }
        | Error::InvalidAttribute { position, .. }
        | Error::InvalidFormat { position, .. }
        | Error::IncludeLoaderError { position, .. } => Some(position.start),
        Error::ParserError { source, .. } => {
            let pos = source.pos();
            let line =
                worded.text.split_inclusive('\n').take(pos.row.saturating_sub(1) as usize).map(str::len).sum::<usize>();
            let column = worded.text.get(line..).unwrap_or_default().chars().take(pos.col.saturating_sub(1) as usize);
            Some(line + column.map(char::len_utf8).sum::<usize>())
        }
        _ => None,
    };
    let message = match error {
        Error::UnexpectedElement { position, .. } => {
            let element = worded.text.get(position.start..position.end).unwrap_or_default();
            format!("`{}` may not stand here", element.trim_matches(['<', '>', '/']))
        }
        Error::UnexpectedToken { .. } => "this is not MJML".to_owned(),
        Error::MissingAttribute { name, .. } => format!("the attribute `{name}` is missing"),
        Error::EndOfStream { .. } => "an MJML element is not closed".to_owned(),
        Error::NoRootNode => "there is no <mjml> in this file".to_owned(),
        Error::ParserError { source, .. } => format!("this is not MJML: {source}"),
        other => other.to_string(),
    };
    let at = position.and_then(|p| worded.origin(p.min(worded.text.len().saturating_sub(1))));
    Refusal { code: "mjml-syntax", message, at: at.unwrap_or_else(|| start(worded)) }
}

/// Put the tags back for their words.
fn restored(source: &Mapped, html: &str) -> Result<Mapped, Refusal> {
    let tera = tags::tags(&source.text);
    let unit = Unit::new("", source);
    let mut seen = vec![false; tera.len()];
    let mut out = Mapped::default();
    let mut last = start(source);
    let mut rest = html;
    while let Some((before, tag, after)) = next_word(rest, tera.len()) {
        out.made(before, last.clone());
        let range: Range<usize> = tera[tag].range.clone();
        last = source.origin(range.start).expect("a tag stands in a text");
        out.copy(source, range);
        seen[tag] = true;
        rest = after;
    }
    out.made(rest, last);
    let lost = seen.iter().enumerate().find(|(i, seen)| {
        !**seen
            && tera[*i].kind != tags::Kind::Comment
            && inside_root(source, &tera[*i])
            && unit.spots[*i] != Spot::Elsewhere
    });
    match lost {
        Some((i, _)) => Err(Refusal {
            code: "lost-in-mjml",
            message: "MJML drops what stands here".to_owned(),
            at: source.origin(tera[i].range.start).expect("a tag stands in a text"),
        }),
        None => Ok(out),
    }
}

/// What stands before `<mjml` sets values for the mail and is none of MJML's.
fn inside_root(source: &Mapped, tag: &tags::Tag) -> bool {
    source.text.find("<mjml").is_some_and(|root| tag.range.start > root)
}

fn next_word(html: &str, tags: usize) -> Option<(&str, usize, &str)> {
    let mut from = 0;
    while let Some(at) = html[from..].find("okx").map(|i| from + i) {
        let digits = &html[at + 3..];
        let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
        if let Ok(tag) = digits[..end].parse::<usize>()
            && tag < tags
            && digits[end..].starts_with("xko")
        {
            return Some((&html[..at], tag, &digits[end + 3..]));
        }
        from = at + 3;
    }
    None
}
