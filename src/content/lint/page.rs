//! A rendered mail as elements and texts, each with the place in its author's file.
//!
//! No repair and no layout: what is not closed stays open. That is enough to ask what surrounds a text.

use css_inline::CSSInliner;

use super::super::gate;
use super::super::markup::{self, Kind};
use super::super::plain::decoded;
use super::super::traced::{NUMBER, Traced};
use crate::problem::Place;

pub(super) struct Page {
    /// In the order of their start tags, so that parents stand before their children.
    pub elements: Vec<Element>,
    pub texts: Vec<Text>,
    /// What stands inside `<style>`.
    pub sheets: Vec<String>,
    /// Style sheets and comments, which may be for Outlook, with what surrounds them.
    pub hidden: Vec<(String, Option<usize>)>,
}

pub(super) struct Element {
    /// In small letters.
    pub name: String,
    attributes: Vec<(String, String)>,
    pub parent: Option<usize>,
    pub place: Place,
}

/// Words between two tags.
pub(super) struct Text {
    pub words: String,
    pub within: Option<usize>,
}

impl Element {
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }
}

impl Page {
    /// Read a mail that was rendered with numbers; `whole` is the place of what has none.
    pub fn read(html: &str, traced: &Traced, whole: &Place) -> Page {
        let mut page = Page { elements: Vec::new(), texts: Vec::new(), sheets: Vec::new(), hidden: Vec::new() };
        let mut open: Vec<usize> = Vec::new();
        for piece in markup::pieces(html, &[]) {
            match piece.kind {
                Kind::Start(start) => {
                    let mut place = None;
                    let mut attributes = Vec::new();
                    for attribute in &start.attributes {
                        let value = attribute.value.clone().map_or(String::new(), |v| decoded(&html[v]).into_owned());
                        if attribute.name == NUMBER {
                            place = traced.place(&value);
                        } else {
                            attributes.push((attribute.name.clone(), value));
                        }
                    }
                    let parent = open.last().copied();
                    let place = place.or(parent.map(|p| &page.elements[p].place)).unwrap_or(whole).clone();
                    if !start.is_void() {
                        open.push(page.elements.len());
                    }
                    page.elements.push(Element { name: start.name, attributes, parent, place });
                }
                Kind::End(name) => {
                    if let Some(at) = open.iter().rposition(|e| page.elements[*e].name == name) {
                        open.truncate(at);
                    }
                }
                Kind::Text => {
                    page.texts
                        .push(Text { words: decoded(&html[piece.range]).into_owned(), within: open.last().copied() });
                }
                Kind::Sheet => {
                    page.hidden.push((html[piece.range.clone()].to_owned(), open.last().copied()));
                    page.sheets.push(html[piece.range].to_owned());
                }
                Kind::Comment => page.hidden.push((html[piece.range].to_owned(), open.last().copied())),
                Kind::Doctype | Kind::Raw | Kind::Tera(_) => {}
            }
        }
        page
    }

    /// The same mail in the dark, when it says how it looks there: the rules of `@media (prefers-color-scheme: dark)` are applied.
    pub fn in_the_dark(&self, html: &str, traced: &Traced, whole: &Place) -> Option<Page> {
        let rules: String =
            self.sheets.iter().flat_map(|s| gate::rules(s)).filter_map(|r| dark_rules(&r).map(str::to_owned)).collect();
        if rules.is_empty() {
            return None;
        }
        let mut bare = String::with_capacity(html.len() + rules.len());
        for piece in markup::pieces(html, &[]).into_iter().filter(|p| p.kind != Kind::Sheet) {
            bare.push_str(&html[piece.range]);
        }
        let inliner = CSSInliner::options()
            .keep_style_tags(false)
            .load_remote_stylesheets(false)
            .extra_css(Some(rules.into()))
            .build();
        Some(Page::read(&inliner.inline(&bare).ok()?, traced, whole))
    }

    /// An element and what surrounds it, from the inside out.
    pub fn around(&self, within: Option<usize>) -> impl Iterator<Item = usize> {
        std::iter::successors(within, |at| self.elements[*at].parent)
    }

    /// Whether one element stands inside another, or is it.
    pub fn is_inside(&self, within: Option<usize>, outer: usize) -> bool {
        self.around(within).any(|at| at == outer)
    }
}

/// What stands inside a rule for dark programs.
fn dark_rules(rule: &str) -> Option<&str> {
    let (condition, body) = rule.split_once('{')?;
    let condition = condition.to_ascii_lowercase().replace(' ', "");
    let dark = condition.trim_start().starts_with("@media") && condition.contains("(prefers-color-scheme:dark)");
    dark.then(|| body.trim_end().strip_suffix('}')).flatten()
}
