//! Customers that other data names before their own row arrives: a row without address, so that nothing is lost.

use std::collections::{BTreeSet, HashSet};

use crate::args;
use crate::clock::Millis;
use crate::db::{Conflict, DbResult, Tx, Value};

/// Ids remembered at once; beyond it the memory starts anew and rows are looked at again.
const REMEMBERED_MAX: usize = 200_000;

/// The customers known to exist.
#[derive(Debug, Default)]
pub(super) struct KnownPeople(HashSet<String>);

impl KnownPeople {
    /// See to it that each (bucket, customer_id) has a row; how many had none.
    pub(super) async fn ensure<'r>(
        &mut self,
        tx: &mut Tx,
        people: impl Iterator<Item = (i64, &'r str)>,
        now: Millis,
    ) -> DbResult<u64> {
        if self.0.len() > REMEMBERED_MAX {
            self.0.clear();
        }
        let unknown: BTreeSet<(i64, &str)> = people.filter(|(_, id)| !self.0.contains(*id)).collect();
        let rows: Vec<Value> = unknown.iter().flat_map(|(bucket, id)| args![*bucket, *id, "{}", now]).collect();
        let columns = ["bucket", "customer_id", "attributes", "first_seen_at"];
        let created = tx.insert_rows("customer", &columns, rows, Conflict::Keep).await?;
        self.0.extend(unknown.into_iter().map(|(_, id)| id.to_owned()));
        Ok(created)
    }
}
