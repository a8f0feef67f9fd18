//! Orders: what was bought, when, for how much. Keyed by order_id through `order_ref`, so a corrected order changes in place: when its
//! customer or its time moves, the row and its lines move along, and both customers are marked as changed.
//!
//! A status is one of three words here: `placed` counts; `returned` lowers revenue; `cancelled` counts for nothing. The words shops use
//! are mapped to them; an order with a negative total is a return whatever its status says, unless it was cancelled.

use std::collections::{BTreeMap, HashMap};

use super::super::cells::{Cells, Reading, hint, shown};
use super::super::columns::Kind;
use super::super::people::KnownPeople;
use super::{People, Table, Written, mark_ordered};
use crate::args;
use crate::clock::Millis;
use crate::db::{Conflict, DbResult, Tx, Value, bucket_of};

const ORDER_ID: usize = 0;
const CUSTOMER_ID: usize = 1;
const ORDERED_AT: usize = 2;
const TOTAL: usize = 3;
const CURRENCY: usize = 4;
const STATUS: usize = 5;

/// Shops' words for the state of an order, and ours.
const STATUSES: [(&str, &str); 19] = [
    ("placed", "placed"),
    ("paid", "placed"),
    ("complete", "placed"),
    ("completed", "placed"),
    ("shipped", "placed"),
    ("delivered", "placed"),
    ("fulfilled", "placed"),
    ("processing", "placed"),
    ("confirmed", "placed"),
    ("closed", "placed"),
    ("returned", "returned"),
    ("refunded", "returned"),
    ("refund", "returned"),
    ("return", "returned"),
    ("cancelled", "cancelled"),
    ("canceled", "cancelled"),
    ("void", "cancelled"),
    ("voided", "cancelled"),
    ("failed", "cancelled"),
];

#[derive(Debug, Default)]
pub(in crate::data) struct Orders {
    people: KnownPeople,
}

/// An order, as read and as stored.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub(in crate::data) struct Row {
    bucket: i64,
    customer_id: String,
    ordered_at: i64,
    order_id: String,
    total: i64,
    currency: String,
    status: String,
}

/// Where an order lies: the key of its row and of its lines.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub(super) struct OrderRef {
    pub(super) order_id: String,
    pub(super) bucket: i64,
    pub(super) customer_id: String,
    pub(super) ordered_at: i64,
}

const KEY: [&str; 4] = ["bucket", "customer_id", "ordered_at", "order_id"];
const COLUMNS: [&str; 7] = ["bucket", "customer_id", "ordered_at", "order_id", "total", "currency", "status"];

impl Table for Orders {
    type Row = Row;
    const KIND: Kind = Kind::Orders;

    fn read(reading: &mut Reading, cells: Cells<'_>) -> Result<Row, String> {
        let shop = &reading.shop;
        let customer_id = cells.id(CUSTOMER_ID)?.to_owned();
        let currency = cells.text(CURRENCY).map_or_else(|| shop.currency.clone(), str::to_ascii_uppercase);
        if currency != shop.currency {
            return Err(format!(
                "`currency`: `{}` is not the project's {}; orders in other currencies are not supported yet",
                shown(&currency),
                shop.currency
            ));
        }
        let total = cells.money(TOTAL, shop.exponent)?;
        Ok(Row {
            bucket: bucket_of(&customer_id),
            customer_id,
            ordered_at: cells.instant(ORDERED_AT, shop)?,
            order_id: cells.id(ORDER_ID)?.to_owned(),
            total,
            currency,
            status: status(cells.text(STATUS), total)?.to_owned(),
        })
    }

    async fn write(&mut self, tx: &mut Tx, rows: &[Row], now: Millis) -> DbResult<Written> {
        let mut written = Written::default();
        let mut last: BTreeMap<&str, &Row> = BTreeMap::new();
        for row in rows {
            written.repeated += u64::from(last.insert(&row.order_id, row).is_some());
        }
        let refs = fetch_refs(tx, last.keys().copied()).await?;
        let stored = fetch_stored(tx, refs.values()).await?;
        let changed: Vec<&Row> =
            last.values().copied().filter(|r| stored.get(r.order_id.as_str()) != Some(*r)).collect();
        written.changed = changed.len() as u64;
        written.customers_created = {
            let people = changed.iter().map(|r| (r.bucket, r.customer_id.as_str()));
            self.people.ensure(tx, people, now).await?
        };
        let mut dirty: People = changed.iter().map(|r| (r.bucket, r.customer_id.clone())).collect();
        let moved: Vec<(&OrderRef, &Row)> =
            changed.iter().filter_map(|r| Some((refs.get(&r.order_id)?, *r))).filter(|(o, r)| !r.lies_at(o)).collect();
        if !moved.is_empty() {
            dirty.extend(moved.iter().map(|(o, _)| (o.bucket, o.customer_id.clone())));
            leave(tx, &moved).await?;
        }
        let mut changed = changed;
        changed.sort_by_key(|r| (r.bucket, &r.customer_id, r.ordered_at, &r.order_id));
        point_to(tx, changed.iter().map(|r| r.place())).await?;
        let values = changed.iter().flat_map(|r| (*r).clone().into_values()).collect();
        tx.insert_rows("customer_order", &COLUMNS, values, Conflict::Update { key: &KEY }).await?;
        mark_ordered(tx, dirty, now).await?;
        Ok(written)
    }
}

impl Row {
    fn lies_at(&self, place: &OrderRef) -> bool {
        (self.bucket, &self.customer_id, self.ordered_at) == (place.bucket, &place.customer_id, place.ordered_at)
    }

    fn place(&self) -> OrderRef {
        OrderRef {
            order_id: self.order_id.clone(),
            bucket: self.bucket,
            customer_id: self.customer_id.clone(),
            ordered_at: self.ordered_at,
        }
    }

    fn into_values(self) -> Vec<Value> {
        args![self.bucket, self.customer_id, self.ordered_at, self.order_id, self.total, self.currency, self.status]
    }
}

impl OrderRef {
    pub(super) fn key(&self) -> Vec<Value> {
        args![self.bucket, self.customer_id.as_str(), self.ordered_at, self.order_id.as_str()]
    }
}

fn status(word: Option<&str>, total: i64) -> Result<&'static str, String> {
    let status = match word {
        None => "placed",
        Some(word) => {
            let lower = word.to_lowercase();
            STATUSES.iter().find(|(theirs, _)| *theirs == lower).map(|(_, ours)| *ours).ok_or_else(|| {
                format!(
                    "`status`: `{}` is not known; {}",
                    shown(word),
                    hint(&lower, STATUSES.map(|(theirs, _)| theirs))
                )
            })?
        }
    };
    Ok(if total < 0 && status == "placed" { "returned" } else { status })
}

/// Where these orders lie, by order_id.
pub(super) async fn fetch_refs(
    tx: &mut Tx,
    order_ids: impl Iterator<Item = &str>,
) -> DbResult<HashMap<String, OrderRef>> {
    let refs: Vec<OrderRef> = tx
        .fetch_keyed(
            &["order_id"],
            order_ids.map(Value::from).collect(),
            "SELECT r.order_id, r.bucket, r.customer_id, r.ordered_at FROM k CROSS JOIN order_ref r \
             WHERE r.order_id = k.order_id",
        )
        .await?;
    Ok(refs.into_iter().map(|r| (r.order_id.clone(), r)).collect())
}

/// Remember where orders lie.
pub(super) async fn point_to(tx: &mut Tx, places: impl Iterator<Item = OrderRef>) -> DbResult<()> {
    let mut places: Vec<OrderRef> = places.collect();
    places.sort_by(|a, b| a.order_id.cmp(&b.order_id));
    let values = places.into_iter().flat_map(|p| args![p.order_id, p.bucket, p.customer_id, p.ordered_at]).collect();
    let columns = ["order_id", "bucket", "customer_id", "ordered_at"];
    tx.insert_rows("order_ref", &columns, values, Conflict::Update { key: &["order_id"] }).await?;
    Ok(())
}

async fn fetch_stored(tx: &mut Tx, refs: impl Iterator<Item = &OrderRef>) -> DbResult<HashMap<String, Row>> {
    let stored: Vec<Row> = tx
        .fetch_keyed(
            &KEY,
            refs.flat_map(OrderRef::key).collect(),
            "SELECT o.bucket, o.customer_id, o.ordered_at, o.order_id, o.total, o.currency, o.status \
             FROM k CROSS JOIN customer_order o WHERE o.bucket = k.bucket AND o.customer_id = k.customer_id \
             AND o.ordered_at = k.ordered_at AND o.order_id = k.order_id",
        )
        .await?;
    Ok(stored.into_iter().map(|r| (r.order_id.clone(), r)).collect())
}

/// Take moved orders away from where they lie and bring their lines to where they will lie. Deleting and inserting, because a bucket is
/// never updated.
async fn leave(tx: &mut Tx, moved: &[(&OrderRef, &Row)]) -> DbResult<()> {
    type Line = (String, i64, String, Option<String>, i64, i64);
    let old: Vec<Value> = moved.iter().flat_map(|(place, _)| place.key()).collect();
    let at_key = |alias: &str| KEY.map(|c| format!("{alias}.{c} = k.{c}")).join(" AND ");
    let read = format!(
        "SELECT l.order_id, l.line_no, l.sku, l.category, l.quantity, l.amount FROM k CROSS JOIN order_line l WHERE {}",
        at_key("l")
    );
    let lines: Vec<Line> = tx.fetch_keyed(&KEY, old.clone(), &read).await?;
    for table in ["order_line", "customer_order"] {
        let key = KEY.join(", ");
        let delete = format!("DELETE FROM {table} WHERE ({key}) IN (SELECT {key} FROM k)");
        tx.execute_keyed(&KEY, old.clone(), &delete).await?;
    }
    let to: HashMap<&str, &Row> = moved.iter().map(|(_, row)| (row.order_id.as_str(), *row)).collect();
    let values = lines
        .into_iter()
        .flat_map(|(order_id, line_no, sku, category, quantity, amount)| {
            let row = to[order_id.as_str()];
            args![
                row.bucket,
                row.customer_id.as_str(),
                row.ordered_at,
                order_id,
                line_no,
                sku,
                category,
                quantity,
                amount
            ]
        })
        .collect();
    tx.insert_rows("order_line", &super::lines::COLUMNS, values, Conflict::Keep).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shops_words_become_three() {
        assert_eq!(status(None, 100), Ok("placed"));
        assert_eq!(status(None, -100), Ok("returned"));
        assert_eq!(status(Some("Shipped"), 100), Ok("placed"));
        assert_eq!(status(Some("paid"), -100), Ok("returned"));
        assert_eq!(status(Some("refunded"), 100), Ok("returned"));
        assert_eq!(status(Some("VOID"), -100), Ok("cancelled"));
        assert_eq!(status(Some("shiped"), 1).unwrap_err(), "`status`: `shiped` is not known; did you mean `shipped`?");
    }
}
