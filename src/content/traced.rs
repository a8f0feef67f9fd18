//! Mails whose elements know where their author wrote them, for the lint and for whoever asks "which line made this?".
//!
//! Every start tag of the sources carries a number in an attribute of ours; after the render the number leads back to the author's line.
//! Such a mail is looked at and never sent.

use std::collections::BTreeMap;

use super::compiled::{Compiled, Facts, Rendered};
use super::engine::{self, RenderError, Source};
use super::mapped::{Edit, Mapped};
use super::markup::Kind;
use super::prepare::is_mjml;
use super::unit::Unit;
use crate::problem::Place;

/// The attribute.
pub(super) const NUMBER: &str = "data-okaeri-line";

/// Templates whose mails carry the numbers.
pub(super) struct Traced {
    compiled: Compiled,
    places: Vec<Place>,
}

/// Where the parts of a mail are written.
#[derive(Debug, Clone)]
pub(super) struct Parts {
    pub subject: Place,
    /// The subject's line when there is none.
    pub preheader: Place,
    pub has_preheader: bool,
    /// The file as a whole.
    pub body: Place,
    /// The file of the text part; the mail's own where that is made.
    pub text: Place,
}

impl Traced {
    /// Render a mail with its numbers.
    pub fn render(&self, template: &str, facts: &Facts<'_>) -> Result<Rendered, RenderError> {
        self.compiled.render(template, facts)
    }

    /// The author's place behind a number.
    pub fn place(&self, number: &str) -> Option<&Place> {
        self.places.get(number.parse::<usize>().ok()?)
    }
}

impl Compiled {
    /// The same templates with numbers in their start tags.
    pub(super) fn traced(&self) -> Traced {
        let mut places = Vec::new();
        let sources: BTreeMap<String, Source> = self
            .sources
            .iter()
            .map(|(name, source)| {
                let html = name.ends_with(".html") && !is_mjml(name);
                (name.clone(), if html { self.numbered(name, source, &mut places) } else { source.clone() })
            })
            .collect();
        let compiled = Compiled {
            sender: self.sender.clone(),
            brands: self.brands.clone(),
            mails: self.mails.clone(),
            tables: self.tables.clone(),
            fields: self.fields.clone(),
            sources,
            engine: Default::default(),
            refusals: Vec::new(),
        };
        Traced { compiled, places }
    }

    fn numbered(&self, name: &str, source: &Source, places: &mut Vec<Place>) -> Source {
        let own = Mapped::of(name, &source.text);
        let mapped = source.made.as_ref().unwrap_or(&own);
        let unit = Unit::new("", mapped);
        let mut edits = Vec::new();
        for piece in &unit.pieces {
            let Kind::Start(start) = &piece.kind else { continue };
            edits.push(Edit::insert(start.name_end, format!(" {NUMBER}=\"{}\"", places.len())));
            places.push(engine::origin_place(mapped.origin(piece.range.start), &self.sources));
        }
        let edited = mapped.edited(edits);
        match source.made {
            Some(_) => Source::made(edited),
            None => Source { text: edited.text, ..source.clone() },
        }
    }
}
