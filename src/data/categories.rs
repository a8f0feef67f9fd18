//! The category that order lines and events copy from their product, kept true when products change.
//!
//! A products batch that adds a product or changes a category counts up `changed` in the same transaction; the end of the import works
//! through all rows, bucket range by bucket range, and sets `done` to the count it began with. It compares states instead of remembering
//! changes, so an interruption costs nothing but the rest of the work, which the next products import does.

use super::kinds::{People, mark_dirty};
use crate::args;
use crate::db::{BUCKETS, Db, DbResult, Tx};

const CHANGED: &str = "data.categories.changed";
const DONE: &str = "data.categories.done";
/// Buckets per transaction: a sixty-fourth of all lines, a fraction of a second for ten million.
const BUCKETS_AT_ONCE: i64 = 16;

/// Note that the category of some product is new.
pub(super) async fn mark_stale(tx: &mut Tx) -> DbResult<()> {
    let sql = "INSERT INTO meta (name, value) VALUES ($1, '1') \
               ON CONFLICT (name) DO UPDATE SET value = CAST(CAST(meta.value AS BIGINT) + 1 AS TEXT)";
    tx.execute(sql, args![CHANGED]).await?;
    Ok(())
}

/// Bring the copies up to date, if a category changed since that was last done. Customers of changed rows are marked dirty.
pub(super) async fn refresh(db: &Db) -> DbResult<()> {
    let sql = "SELECT value FROM meta WHERE name = $1";
    let changed: Option<(String,)> = db.fetch_optional(sql, args![CHANGED]).await?;
    let done: Option<(String,)> = db.fetch_optional(sql, args![DONE]).await?;
    let Some((changed,)) = changed.filter(|c| done.as_ref() != Some(c)) else { return Ok(()) };
    all_buckets(db).await?;
    let sql = "INSERT INTO meta (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value";
    db.execute(sql, args![DONE, changed]).await?;
    Ok(())
}

async fn all_buckets(db: &Db) -> DbResult<()> {
    for first in (0..BUCKETS).step_by(BUCKETS_AT_ONCE as usize) {
        let last = first + BUCKETS_AT_ONCE - 1;
        let mut tx = db.begin().await?;
        for table in ["order_line", "event"] {
            let stale = stale_rows(table);
            let people = format!("SELECT DISTINCT {table}.bucket, {table}.customer_id FROM {table} WHERE {stale}");
            let people: Vec<(i64, String)> = tx.fetch_all(&people, args![first, last]).await?;
            if people.is_empty() {
                continue;
            }
            let update = format!(
                "UPDATE {table} SET category = (SELECT p.category FROM product p WHERE p.sku = {table}.sku) WHERE {stale}"
            );
            tx.execute(&update, args![first, last]).await?;
            mark_dirty(&mut tx, People::from_iter(people)).await?;
        }
        tx.commit().await?;
    }
    Ok(())
}

/// Rows whose copy differs from their product. An event with a `category` of its own keeps it: its properties are our own compact
/// JSON, in which `"category":` can stand only as a name.
fn stale_rows(table: &str) -> String {
    let own = if table == "event" { " AND event.properties NOT LIKE '%\"category\":%'" } else { "" };
    format!(
        "{table}.bucket BETWEEN $1 AND $2 AND EXISTS (SELECT 1 FROM product p WHERE p.sku = {table}.sku \
         AND p.category IS DISTINCT FROM {table}.category){own}"
    )
}
