//! What the shop knows: customers, consents, products, orders, order lines, events, suppressions — brought in and read back.
//!
//! Owns every write to `customer`, `product`, `customer_order`, `order_ref`, `order_line`, `event`, `event_name`, `import_batch` and the
//! inserts into `dirty`; address, consent and suppression rows are written through [`crate::suppression`].
//!
//! Promises:
//! * an import holds a few batches in memory, however large the file or a line of it ([`limits`]);
//! * every import repeats: the same file again, or the rest after an interruption, leaves the same state and marks nobody as changed;
//! * no row is lost in silence: it is written, equal to what is there, or rejected with line and reason and kept in a file;
//! * whoever's data changed stands in `dirty` in the same transaction.
//!
//! [`learn`] reads it all back as names and types, for the data contract.
//!
//! The way of a row: [`input`] bytes → `records` raw records → `cells` named cells → [`kinds`] typed rows → a batch → one transaction.
//! Read on: [`import`](fn@import), then `kinds/orders.rs` for the most instructive kind.

pub mod cart;
mod categories;
mod cells;
mod columns;
mod import;
mod input;
mod kinds;
pub mod learn;
mod list;
pub mod load;
pub mod money;
mod people;
mod records;
mod rejected;

pub use columns::Kind;
pub use import::{ImportError, ImportRequest, ImportTotals, Place, Progress, import};
pub use input::From;
pub use kinds::{Happened, record_events};
pub use list::List;

/// Limits of what is read, each with its unit.
pub mod limits {
    /// Bytes of one record: a CSV record with its line breaks, or a line of JSONL.
    pub const RECORD_BYTES_MAX: usize = 1 << 20;
    /// Bytes of one cell.
    pub const CELL_BYTES_MAX: usize = 64 << 10;
    /// Columns of a CSV file.
    pub const COLUMNS_MAX: usize = 512;
    /// Bytes of an id (customer, order, event, sku) and of the name of an attribute, property or event.
    pub const ID_BYTES_MAX: usize = 200;
    /// Names of events in one project; more means that the wrong column was taken for the name.
    pub const EVENT_NAMES_MAX: usize = 2_000;
    /// How far an instant may lie after now, in milliseconds: clocks differ, but not by more than a day.
    pub const FUTURE_MS_MAX: i64 = crate::clock::DAY;
    /// Rows written in one transaction.
    pub const BATCH_ROWS: usize = 10_000;
    /// Bytes of raw records after which a batch is closed early.
    pub const BATCH_BYTES: usize = 8 << 20;
    /// Batches that wait between reading and writing.
    pub const BATCHES_WAITING: usize = 2;
    /// Orders whose lines are numbered here because the file has no `line_no`; about 40 bytes of memory each.
    pub const ORDERS_NUMBERED_MAX: usize = 4_000_000;
    /// Rejected rows and warnings that are listed one by one; all rejected rows are kept in the file.
    pub const LISTED_MAX: usize = 20;
    /// How often a transaction is tried again when another one was in its way.
    pub const TRIES_MAX: u32 = 8;
}
