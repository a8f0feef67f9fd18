//! Segments: named rules that a customer matches or not.
//!
//! [`Library`] holds the project's checked segments. [`Library::compile`] picks some of them for one planning instant; [`Compiled::prepare`] asks
//! the database what the statement needs to know (percentile thresholds, event numbers, RFM cut points); [`Prepared::evaluate`] decides
//! them all for a range of buckets in one statement. [`explain`] decides the same rules for one person in plain Rust, which is also the
//! oracle of the tests. Nothing here writes to the database.
//!
//! Read on: [`rule`] (the language), `read` (from YAML), `sql` (the compiler), [`explain`]; [`compare`] for segments beside each other.

mod check;
pub mod compare;
pub mod draw;
mod evaluate;
pub mod explain;
mod library;
mod person;
mod read;
pub mod rule;
mod sql;
mod words;

pub use evaluate::{CompileError, Compiled, Member, Prepared, SEGMENTS_MAX, Size};
pub use library::{Library, Segment};
pub use person::Person;
pub use words::sentence;

#[cfg(test)]
mod tests;
