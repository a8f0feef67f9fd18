//! Content: from the template files an author writes to the words one person reads.
//!
//! ```text
//! files → TemplateSet (checked) → Snapshot (pinned, stored with the run) → Compiled → Rendered (one message)
//! ```
//!
//! Promises: all mistakes of all files at once, at the author's line. A value that is missing is an error, never an empty place. Data is
//! never compiled and is escaped in HTML. A snapshot renders the same bytes in every process of one program, without the disk. Nothing
//! here sends, reads the clock or knows the database. Money is in minor units.
//!
//! Read on: [`load`] (files), [`check`] (names and trial renders), [`lint`] (rules of good mail), [`snapshot`] (pinning and rendering),
//! [`fields`] (what templates may name).

mod answer;
mod check;
mod compiled;
mod context;
mod current;
mod decided;
mod editions;
mod engine;
mod fields;
mod figures;
mod file;
mod flatten;
mod format;
mod gate;
mod inline;
mod kept;
mod language;
mod lines;
mod links;
mod lint;
mod load;
mod mapped;
mod marker;
mod marks;
mod markup;
mod mjml;
mod plain;
mod prepare;
mod sample;
mod scan;
mod settled;
mod skip;
mod snapshot;
mod splice;
mod tags;
mod traced;
mod track;
mod unit;
mod words;

pub use crate::money::minor_digits as exponent;
pub use compiled::{Compiled, Facts, Rendered};
pub use editions::{Edition, EditionChange, Editions, is_part};
pub use engine::{FOLDER, RenderError};
pub use fields::{FieldSet, Used};
pub use lint::{Client, IGNORED, Ignored, RULES, Reader, Rule, Sign, weigh};
pub use load::{Recommends, Rewards, TemplateSet, Variant, Wanted, is_locale, template_names};
pub use sample::{sample_clicks, sample_person, sample_recommended, sample_recommended_of, sample_stranger};
pub use snapshot::{SenderValues, Snapshot, SnapshotError};

#[cfg(test)]
mod tests;
