//! Reads what customers bought: of a range of buckets, to learn from, and of a list of people, to choose for.
//!
//! A thing is bought when a counted order has a line of it with a quantity above zero. Lines with a negative quantity, in whatever order
//! that was not cancelled, say that it came back.

use super::learn::Owned;
use crate::args;
use crate::clock::Millis;
use crate::db::{BUCKETS, Cells, Db, DbResult, Tx, Value, bucket_ranges};
use crate::profile::COUNTED;

/// Customers whose lines are read in one statement, about.
const RANGE_CUSTOMERS: i64 = 4_000;

/// What one customer has of one product.
#[derive(Debug, Clone, PartialEq, sqlx::FromRow)]
pub(super) struct Bought {
    pub bucket: i64,
    pub customer_id: String,
    pub sku: String,
    /// Orders that had it.
    pub times: i64,
    pub last_at: Millis,
    /// Pieces bought less pieces sent back.
    pub pieces: i64,
}

impl Bought {
    /// The same, with the product by its number.
    pub fn owned(&self, product: u32) -> Owned {
        owned(product, self.times, self.last_at, self.pieces)
    }
}

fn owned(product: u32, times: i64, last_at: Millis, pieces: i64) -> Owned {
    Owned { product, times: u32::try_from(times).unwrap_or(u32::MAX), last_at, kept: pieces > 0 }
}

/// SQL: a line `l` of an order `o` by which something was bought.
fn bought() -> String {
    format!("{COUNTED} AND l.quantity > 0")
}

/// Lines with their orders; whose, and until when, stands in the WHERE that follows.
fn lines(from: &str) -> String {
    let bought = bought();
    format!(
        "SELECT l.bucket, l.customer_id, l.sku, COUNT(DISTINCT CASE WHEN {bought} THEN l.order_id END) AS times,
                MAX(CASE WHEN {bought} THEN l.ordered_at END) AS last_at,
                CAST(SUM(CASE WHEN {bought} OR (l.quantity < 0 AND o.status <> 'cancelled') THEN l.quantity ELSE 0 END) AS BIGINT) AS pieces
         FROM {from} order_line l JOIN customer_order o ON o.bucket = l.bucket AND o.customer_id = l.customer_id
              AND o.ordered_at = l.ordered_at AND o.order_id = l.order_id"
    )
}

/// What follows the WHERE: a row for each customer and product.
fn grouped() -> String {
    format!(
        "GROUP BY l.bucket, l.customer_id, l.sku HAVING COUNT(CASE WHEN {} THEN 1 END) > 0 ORDER BY l.bucket, l.customer_id, l.sku",
        bought()
    )
}

/// SQL: what the customers of buckets `$1` to `$2` had bought before `$3`, customer by customer.
fn range_sql() -> String {
    format!("{} WHERE l.bucket >= $1 AND l.bucket <= $2 AND l.ordered_at < $3 {}", lines(""), grouped())
}

/// What the customers of buckets `first` to `last` had bought before an instant, customer by customer.
pub(super) async fn of_range(db: &Db, (first, last): (i64, i64), before: Millis) -> DbResult<Vec<Bought>> {
    db.fetch_all(&range_sql(), args![first, last, before]).await
}

/// The same in a transaction, row by row: bucket, customer, sku, and what there is of it; its number is left to whoever takes it.
pub(super) async fn pass_range(
    tx: &mut Tx,
    (first, last): (i64, i64),
    before: Millis,
    mut pass: impl FnMut(i64, &str, &str, Owned),
) -> DbResult<()> {
    let take = |row: Cells| {
        let number = |n| row.int(n).map(Option::unwrap_or_default);
        let text = |n| row.text(n).map(Option::unwrap_or_default);
        pass(number(0)?, text(1)?, text(2)?, owned(0, number(3)?, number(4)?, number(5)?));
        Ok(())
    };
    tx.each_row(&range_sql(), args![first, last, before], take).await
}

const PEOPLE: [&str; 3] = ["bucket", "customer_id", "before_at"];

/// What follows the keys of people: what they had bought before an instant.
fn people_sql() -> String {
    format!(
        "{} WHERE l.bucket = k.bucket AND l.customer_id = k.customer_id AND l.ordered_at < k.before_at {}",
        lines("k CROSS JOIN"),
        grouped()
    )
}

fn keys(people: &[(i64, &str)], before: Millis) -> Vec<Value> {
    people.iter().flat_map(|(bucket, id)| args![*bucket, *id, before]).collect()
}

/// What these people, by bucket and id, had bought before an instant.
pub(super) async fn of_people(db: &Db, people: &[(i64, &str)], before: Millis) -> DbResult<Vec<Bought>> {
    db.fetch_keyed(&PEOPLE, keys(people, before), &people_sql()).await
}

/// The same in a transaction.
pub(super) async fn of_people_in(tx: &mut Tx, people: &[(i64, &str)], before: Millis) -> DbResult<Vec<Bought>> {
    tx.fetch_keyed(&PEOPLE, keys(people, before), &people_sql()).await
}

/// Who of these people has lines that are not before an instant.
pub(super) async fn later_people(tx: &mut Tx, people: &[(i64, &str)], before: Millis) -> DbResult<Vec<(i64, String)>> {
    let tail = "SELECT k.bucket, k.customer_id FROM k WHERE EXISTS (SELECT 1 FROM order_line l
                WHERE l.bucket = k.bucket AND l.customer_id = k.customer_id AND l.ordered_at >= k.before_at)";
    tx.fetch_keyed(&PEOPLE, keys(people, before), tail).await
}

/// Who of the customers of buckets `first` to `last` has such lines.
pub(super) async fn later_in_range(
    tx: &mut Tx,
    (first, last): (i64, i64),
    before: Millis,
) -> DbResult<Vec<(i64, String)>> {
    let sql = "SELECT DISTINCT l.bucket, l.customer_id FROM order_line l
               WHERE l.bucket >= $1 AND l.bucket <= $2 AND l.ordered_at >= $3";
    tx.fetch_all(sql, args![first, last, before]).await
}

/// (bucket, customer_id, sku): what customers bought in their first order at or after an instant, customer by customer.
pub(super) async fn next_orders(
    db: &Db,
    (first, last): (i64, i64),
    from: Millis,
) -> DbResult<Vec<(i64, String, String)>> {
    let bought = bought();
    let sql = format!(
        "SELECT DISTINCT l.bucket, l.customer_id, l.sku FROM
           (SELECT o.bucket, o.customer_id, MIN(o.ordered_at) AS at FROM customer_order o
            WHERE o.bucket >= $1 AND o.bucket <= $2 AND o.ordered_at >= $3 AND {COUNTED} GROUP BY o.bucket, o.customer_id) n
         JOIN order_line l ON l.bucket = n.bucket AND l.customer_id = n.customer_id AND l.ordered_at = n.at
         JOIN customer_order o ON o.bucket = l.bucket AND o.customer_id = l.customer_id AND o.ordered_at = l.ordered_at
              AND o.order_id = l.order_id
         WHERE l.bucket >= $1 AND l.bucket <= $2 AND {bought} ORDER BY l.bucket, l.customer_id, l.sku"
    );
    db.fetch_all(&sql, args![first, last, from]).await
}

/// (bucket, customer_id) of customers with so many counted orders before an instant.
pub(super) async fn with_orders(
    db: &Db,
    (first, last): (i64, i64),
    before: Millis,
    orders: i64,
) -> DbResult<Vec<(i64, String)>> {
    let sql = format!(
        "SELECT o.bucket, o.customer_id FROM customer_order o
         WHERE o.bucket >= $1 AND o.bucket <= $2 AND o.ordered_at < $3 AND {COUNTED}
         GROUP BY o.bucket, o.customer_id HAVING COUNT(*) >= $4"
    );
    db.fetch_all(&sql, args![first, last, before, orders]).await
}

/// All buckets in ranges of a size that can be held at once.
pub(super) async fn ranges(db: &Db) -> DbResult<impl Iterator<Item = (i64, i64)>> {
    let (customers,): (i64,) = db.fetch_one("SELECT COUNT(*) FROM customer", vec![]).await?;
    Ok(bucket_ranges((RANGE_CUSTOMERS * BUCKETS / customers.max(1)).clamp(1, BUCKETS)))
}

/// The rows of one customer after the other.
pub(super) fn by_customer(rows: &[Bought]) -> impl Iterator<Item = &[Bought]> {
    rows.chunk_by(|a, b| a.bucket == b.bucket && a.customer_id == b.customer_id)
}
