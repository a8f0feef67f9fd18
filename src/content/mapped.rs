//! A text made of pieces of authors' files that remembers, byte for byte, where each piece came from: so that an error in what the
//! pipeline made is told at the author's line.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A place in a source: its name in the engine, and a byte of its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Origin {
    pub source: Arc<str>,
    pub offset: usize,
}

/// Text with its origins.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Written", into = "Written")]
pub(super) struct Mapped {
    pub text: String,
    /// In order of `start`; each reaches to the next.
    spans: Vec<Span>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Span {
    start: usize,
    origin: Origin,
    /// Byte for byte as in the source; else the whole span was made for its origin.
    verbatim: bool,
}

/// A mapped text as it is kept in a file: each source is named once.
#[derive(Serialize, Deserialize)]
struct Written {
    text: String,
    sources: Vec<String>,
    /// Start, source, offset there, verbatim.
    spans: Vec<(usize, usize, usize, bool)>,
}

impl From<Mapped> for Written {
    fn from(mapped: Mapped) -> Written {
        let mut sources = Vec::new();
        let mut numbers: BTreeMap<Arc<str>, usize> = BTreeMap::new();
        let mut spans = Vec::with_capacity(mapped.spans.len());
        for Span { start, origin, verbatim } in mapped.spans {
            let number = *numbers.entry(origin.source.clone()).or_insert_with(|| {
                sources.push(origin.source.to_string());
                sources.len() - 1
            });
            spans.push((start, number, origin.offset, verbatim));
        }
        Written { text: mapped.text, sources, spans }
    }
}

impl From<Written> for Mapped {
    fn from(written: Written) -> Mapped {
        let sources: Vec<Arc<str>> = written.sources.iter().map(|s| Arc::from(s.as_str())).collect();
        let span = |(start, number, offset, verbatim): (usize, usize, usize, bool)| {
            let source = sources.get(number).cloned().unwrap_or_default();
            Span { start, origin: Origin { source, offset }, verbatim }
        };
        Mapped { spans: written.spans.into_iter().map(span).collect(), text: written.text }
    }
}

/// A replacement of a range of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Edit {
    pub range: Range<usize>,
    pub text: String,
}

impl Edit {
    pub fn insert(at: usize, text: String) -> Edit {
        Edit { range: at..at, text }
    }
}

impl Mapped {
    /// A piece of a source as it stands there.
    pub fn verbatim(&mut self, source: &Arc<str>, text: &str, range: Range<usize>) {
        let origin = Origin { source: source.clone(), offset: range.start };
        self.push(&text[range], origin, true);
    }

    /// A whole source.
    pub fn of(source: &str, text: &str) -> Mapped {
        let mut out = Mapped::default();
        out.verbatim(&Arc::from(source), text, 0..text.len());
        out
    }

    /// Text that no source holds, made for a place in one.
    pub fn made(&mut self, text: &str, origin: Origin) {
        self.push(text, origin, false);
    }

    fn push(&mut self, text: &str, origin: Origin, verbatim: bool) {
        if !text.is_empty() {
            self.spans.push(Span { start: self.text.len(), origin, verbatim });
            self.text.push_str(text);
        }
    }

    /// A piece of another mapped text.
    pub fn copy(&mut self, from: &Mapped, range: Range<usize>) {
        let first = from.spans.partition_point(|s| s.start <= range.start).saturating_sub(1);
        for (i, span) in from.spans.iter().enumerate().skip(first) {
            let end = from.spans.get(i + 1).map_or(from.text.len(), |next| next.start);
            let (start, end) = (span.start.max(range.start), end.min(range.end));
            if span.start >= range.end {
                break;
            }
            if start < end {
                let shift = if span.verbatim { start - span.start } else { 0 };
                let origin = Origin { source: span.origin.source.clone(), offset: span.origin.offset + shift };
                self.push(&from.text[start..end], origin, span.verbatim);
            }
        }
    }

    /// Where a byte came from; `None` in an empty text.
    pub fn origin(&self, offset: usize) -> Option<Origin> {
        let i = self.spans.partition_point(|s| s.start <= offset).checked_sub(1)?;
        let span = &self.spans[i];
        let shift = if span.verbatim { offset - span.start } else { 0 };
        Some(Origin { source: span.origin.source.clone(), offset: span.origin.offset + shift })
    }

    /// The text with replacements, which must not overlap; several insertions at one place stand in the order given.
    pub fn edited(&self, mut edits: Vec<Edit>) -> Mapped {
        edits.sort_by_key(|e| (e.range.start, e.range.end));
        let mut out = Mapped::default();
        let mut at = 0;
        for edit in edits {
            out.copy(self, at..edit.range.start);
            if let Some(origin) = self.origin(edit.range.start.min(self.text.len().saturating_sub(1))) {
                out.made(&edit.text, origin);
            }
            at = edit.range.end;
        }
        out.copy(self, at..self.text.len());
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_survive_copies_and_edits() {
        let text = Mapped::of("a", "<p>日本 {{ x }}</p>");
        let at = text.text.find("{{").unwrap();
        let edited =
            text.edited(vec![Edit::insert(2, " style=\"color:red\"".into()), Edit { range: 3..6, text: "-".into() }]);
        assert_eq!(edited.text, "<p style=\"color:red\">-本 {{ x }}</p>");
        let moved = edited.text.find("{{").unwrap();
        assert_eq!(edited.origin(moved), Some(Origin { source: "a".into(), offset: at }));
        assert_eq!(edited.origin(5).unwrap().offset, 2, "what was made belongs to the place it was made for");
        let mut part = Mapped::default();
        part.copy(&edited, moved + 3..edited.text.len());
        assert_eq!((part.text.as_str(), part.origin(0).unwrap().offset), ("x }}</p>", at + 3));
        assert_eq!(Mapped::default().origin(0), None);
    }
}
