//! One primary customer per address: several customer rows may share a mailbox, and the mailbox gets one message.
//!
//! The primary is the first customer who had the address and still has it. When that customer's address changes or goes, the address
//! passes to the customer with the smallest (bucket, customer_id) who has it, or becomes free.

use std::collections::{BTreeMap, BTreeSet};

use crate::args;
use crate::db::{Conflict, DbResult, Tx, Value};

/// A customer whose canonical address changed; `None` is "no usable address".
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moved {
    pub bucket: i64,
    pub customer_id: String,
    pub from: Option<String>,
    pub to: Option<String>,
}

/// Keep the table `address` true after customer rows changed. Call it in the same transaction, after the rows are written.
pub async fn settle(tx: &mut Tx, moved: &[Moved]) -> DbResult<()> {
    let left: Vec<&Moved> = moved.iter().filter(|m| m.from.is_some() && m.from != m.to).collect();
    let released = release(tx, &left).await?;
    if !released.is_empty() {
        hand_over(tx, released).await?;
    }
    let claims: BTreeMap<&str, &Moved> = moved.iter().rev().filter_map(|m| Some((m.to.as_deref()?, m))).collect();
    let rows: Vec<Value> = claims.iter().flat_map(|(key, m)| args![*key, m.bucket, m.customer_id.as_str()]).collect();
    claim(tx, rows).await
}

/// Free the addresses these customers were primary for; the freed addresses.
async fn release(tx: &mut Tx, left: &[&Moved]) -> DbResult<Vec<String>> {
    if left.is_empty() {
        return Ok(Vec::new());
    }
    let keys: Vec<Value> =
        left.iter().flat_map(|m| args![m.from.as_deref(), m.bucket, m.customer_id.as_str()]).collect();
    let mine: Vec<(String,)> = tx
        .fetch_keyed(
            &["address_key", "bucket", "customer_id"],
            keys,
            "SELECT a.address_key FROM k CROSS JOIN address a \
             WHERE a.address_key = k.address_key AND a.bucket = k.bucket AND a.customer_id = k.customer_id",
        )
        .await?;
    let keys: Vec<Value> = mine.iter().map(|(key,)| Value::from(key)).collect();
    tx.execute_keyed(&["address_key"], keys, "DELETE FROM address WHERE address_key IN (SELECT address_key FROM k)")
        .await?;
    Ok(mine.into_iter().map(|(key,)| key).collect())
}

/// Give freed addresses to the smallest (bucket, customer_id) that has them. Two plain aggregates, because a row-wise minimum is not
/// one SQL text.
async fn hand_over(tx: &mut Tx, freed: Vec<String>) -> DbResult<()> {
    let freed: BTreeSet<String> = freed.into_iter().collect();
    let buckets: Vec<(String, i64)> = tx
        .fetch_keyed(
            &["address_key"],
            freed.iter().map(Value::from).collect(),
            "SELECT c.address_key, MIN(c.bucket) FROM k CROSS JOIN customer c \
             WHERE c.address_key = k.address_key GROUP BY c.address_key",
        )
        .await?;
    let heirs: Vec<(String, i64, String)> = tx
        .fetch_keyed(
            &["address_key", "bucket"],
            buckets.into_iter().flat_map(|(key, bucket)| args![key, bucket]).collect(),
            "SELECT c.address_key, c.bucket, MIN(c.customer_id) FROM k CROSS JOIN customer c \
             WHERE c.address_key = k.address_key AND c.bucket = k.bucket GROUP BY c.address_key, c.bucket",
        )
        .await?;
    claim(tx, heirs.into_iter().flat_map(|(key, bucket, customer_id)| args![key, bucket, customer_id]).collect()).await
}

async fn claim(tx: &mut Tx, rows: Vec<Value>) -> DbResult<()> {
    tx.insert_rows("address", &["address_key", "bucket", "customer_id"], rows, Conflict::Keep).await?;
    Ok(())
}
