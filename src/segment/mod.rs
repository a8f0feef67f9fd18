//! Segments: named rules that a customer matches or not.
//!
//! [`Library`] holds the project's checked segments. [`Library::compile`] picks some of them for one planning instant; [`Compiled::prepare`] asks
//! the database what the statements need to know (percentile thresholds, event numbers, RFM cut points, where picks draw the line);
//! [`Prepared::evaluate`] decides them all for a range of buckets in one statement. [`explain`] decides the same rules for one person in plain Rust, which is also the
//! oracle of the tests. [`kept`] keeps the members of all segments and brings them up to date. [`trial`] runs the
//! tests of segment files.
//!
//! Read on: [`rule`] (the language), `read` (from YAML), `sql` (the compiler), [`explain`]; [`compare`] for segments beside each other.

pub mod case;
mod check;
pub mod compare;
mod comparison;
pub mod condition;
mod decide;
pub mod draw;
mod edges;
mod evaluate;
pub mod explain;
pub mod given;
pub mod goal;
mod invent;
pub mod kept;
mod library;
mod lint;
mod person;
mod read;
mod resolve;
pub mod rule;
pub mod schema;
mod shown;
mod sql;
pub mod trial;
mod ty;
mod words;

pub use evaluate::{CompileError, Compiled, Member, Prepared, SEGMENTS_MAX, Size};
pub use library::{Library, Segment};
pub use person::Person;
pub use words::{sentence, windows};

#[cfg(test)]
mod tests;
