//! The seven kinds of data: how a record becomes a typed row, and how rows become table rows. One file per kind.
//!
//! A writer is given a batch and a transaction, and may be given the same batch again in another one when the first did not commit:
//! what it remembers between batches is forgotten before the second try.

mod consents;
mod customers;
mod events;
mod lines;
mod orders;
mod products;
mod suppressions;

pub(super) use consents::Consents;
pub(super) use customers::Customers;
pub(super) use events::Events;
pub use events::{Happened, record_events};
pub(super) use lines::Lines;
pub(super) use orders::Orders;
pub(super) use products::Products;
pub(super) use suppressions::Suppressions;

use std::collections::BTreeSet;
use std::future::Future;

use serde_json::{Map, Value as Json};

use super::cells::{Cells, Reading};
use super::columns::Kind;
use crate::args;
use crate::clock::Millis;
use crate::db::{Conflict, DbResult, Tx, Value};

/// One kind of data. `Default` is the state before the first batch.
pub(super) trait Table: Default + Send {
    /// A row as read, checked as far as is possible without the database.
    type Row: Send + Sync + 'static;
    const KIND: Kind;

    /// Read one record; the error is the reason of its rejection.
    fn read(reading: &mut Reading, cells: Cells<'_>) -> Result<Self::Row, String>;

    /// Write a batch. Rows are in the order of the file; of two rows with one key the later stands.
    fn write(&mut self, tx: &mut Tx, rows: &[Self::Row], now: Millis)
    -> impl Future<Output = DbResult<Written>> + Send;
}

/// What writing a batch came to. Rows not counted here and not rejected were equal to what was there.
#[derive(Debug, Default)]
pub(super) struct Written {
    /// Rows that are new or changed something.
    pub(super) changed: u64,
    /// Rows that a later row of the same batch replaced.
    pub(super) repeated: u64,
    /// Customers created because a row named them.
    pub(super) customers_created: u64,
    /// Consent statements that stand now and did not before.
    pub(super) consents_changed: u64,
    /// Rows (by position in the batch) that could not be written, and why.
    pub(super) rejected: Vec<(usize, String)>,
}

/// A set of customers, in key order so that concurrent writers lock rows in one order.
pub(super) type People = BTreeSet<(i64, String)>;

/// Mark customers as changed since their profile was computed.
///
/// A row that is there is locked, although nothing in it changes: whoever takes it out and reads what they did then waits for us and sees it.
pub(super) async fn mark_dirty(tx: &mut Tx, people: People) -> DbResult<()> {
    let rows: Vec<Value> = people.into_iter().flat_map(|(bucket, id)| args![bucket, id]).collect();
    tx.insert_rows("dirty", &KEY, rows, LOCKED).await?;
    Ok(())
}

/// Mark customers whose orders changed: their profile and their basket are to be read anew.
pub(super) async fn mark_ordered(tx: &mut Tx, people: People, now: Millis) -> DbResult<()> {
    let rows: Vec<Value> = people.iter().flat_map(|(bucket, id)| args![*bucket, id, now]).collect();
    tx.insert_rows("basket_due", &[KEY[0], KEY[1], "noted_at"], rows, LOCKED).await?;
    mark_dirty(tx, people).await
}

const KEY: [&str; 2] = ["bucket", "customer_id"];
const LOCKED: Conflict = Conflict::KeepLocked { key: &KEY };

/// Further columns merged into stored attributes: null removes a name, anything else sets it.
fn merge_attributes(stored: &str, further: &[(String, Json)]) -> String {
    let mut attributes: Map<String, Json> = serde_json::from_str(stored).unwrap_or_default();
    for (name, value) in further {
        if value.is_null() {
            attributes.shift_remove(name);
        } else {
            attributes.insert(name.clone(), value.clone());
        }
    }
    Json::Object(attributes).to_string()
}

/// Further columns of a row that outlives its record.
fn owned(further: Vec<(std::borrow::Cow<'_, str>, Json)>) -> Vec<(String, Json)> {
    further.into_iter().map(|(name, value)| (name.into_owned(), value)).collect()
}
