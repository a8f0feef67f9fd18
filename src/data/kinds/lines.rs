//! Order lines: what an order was made of. A line belongs to an order that is known, or names customer_id and ordered_at itself.
//!
//! The amount is the line's total; with `unit_price` instead it is quantity × unit price. Without `line_no` lines are numbered within
//! their order in the order of the file, so a file holds the whole of an order or names the numbers.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use super::super::cells::{Cells, Reading, shown};
use super::super::columns::Kind;
use super::super::people::KnownPeople;
use super::orders::{OrderRef, fetch_refs, point_to};
use super::{People, Table, Written, mark_ordered};
use crate::clock::Millis;
use crate::db::{Conflict, DbResult, Tx, Value, bucket_of};

const ORDER_ID: usize = 0;
const SKU: usize = 1;
const QUANTITY: usize = 2;
const LINE_NO: usize = 3;
const AMOUNT: usize = 4;
const UNIT_PRICE: usize = 5;
const CUSTOMER_ID: usize = 6;
const ORDERED_AT: usize = 7;

pub(super) const COLUMNS: [&str; 9] =
    ["bucket", "customer_id", "ordered_at", "order_id", "line_no", "sku", "category", "quantity", "amount"];
const KEY: [&str; 5] = ["bucket", "customer_id", "ordered_at", "order_id", "line_no"];

#[derive(Debug, Default)]
pub(in crate::data) struct Lines {
    people: KnownPeople,
    categories: Categories,
}

#[derive(Debug)]
pub(in crate::data) struct Row {
    order_id: String,
    /// Whose order it is and when it was placed, when the line itself says so.
    own: Option<Box<(String, Millis)>>,
    line_no: i64,
    sku: String,
    quantity: i64,
    amount: i64,
}

impl Table for Lines {
    type Row = Row;
    const KIND: Kind = Kind::Lines;

    fn read(reading: &mut Reading, cells: Cells<'_>) -> Result<Row, String> {
        let exponent = reading.shop.exponent;
        let order_id = cells.id(ORDER_ID)?;
        // Counted before anything can be wrong with the line, so that a corrected file numbers the same lines alike.
        let line_no = match cells.text(LINE_NO) {
            Some(_) => cells.integer(LINE_NO)?,
            None => reading.number_line(order_id)?,
        };
        let quantity = cells.integer(QUANTITY)?;
        let amount = if cells.text(AMOUNT).is_some() {
            cells.money(AMOUNT, exponent)?
        } else if cells.text(UNIT_PRICE).is_some() {
            cells.amount(UNIT_PRICE, |price| price.times_to_minor(quantity, exponent))?
        } else {
            return Err("neither `amount` nor `unit_price`".to_owned());
        };
        let own = match (cells.text(CUSTOMER_ID), cells.text(ORDERED_AT)) {
            (Some(_), Some(_)) => {
                Some(Box::new((cells.id(CUSTOMER_ID)?.to_owned(), cells.instant(ORDERED_AT, &reading.shop)?)))
            }
            _ => None,
        };
        Ok(Row { order_id: order_id.to_owned(), own, line_no, sku: cells.id(SKU)?.to_owned(), quantity, amount })
    }

    async fn write(&mut self, tx: &mut Tx, rows: &[Row], now: Millis) -> DbResult<Written> {
        let mut written = Written::default();
        let places = self.places(tx, rows, now, &mut written).await?;
        self.categories.learn(tx, rows.iter().map(|r| r.sku.as_str())).await?;
        let mut lines: Vec<(&OrderRef, &Row)> = Vec::with_capacity(rows.len());
        for (i, row) in rows.iter().enumerate() {
            match places.get(&row.order_id) {
                Some(place) => lines.push((place, row)),
                None => {
                    let id = shown(&row.order_id);
                    written.rejected.push((i, format!("the order `{id}` is not known: import orders first")));
                }
            }
        }
        // In key order: neighbours lie on one page. The sort is stable, so of equal keys the last is the last of the file.
        lines.sort_by_key(|(p, r)| (p.bucket, &p.customer_id, p.ordered_at, &p.order_id, r.line_no));
        let given = lines.len();
        lines.dedup_by(|b, a| {
            let same = a.0 == b.0 && a.1.line_no == b.1.line_no;
            if same {
                *a = *b;
            }
            same
        });
        written.repeated = (given - lines.len()) as u64;
        let touched = filled(tx, lines.iter().map(|(place, _)| *place)).await?;
        let (again, new): (Vec<_>, Vec<_>) = lines.into_iter().partition(|(p, _)| touched.contains(&p.order_id));
        let conflict = Conflict::Update { key: &KEY };
        let mut dirty: People = new.iter().map(|(p, _)| (p.bucket, p.customer_id.clone())).collect();
        written.changed = tx.insert_rows("order_line", &COLUMNS, self.values(&new), conflict).await?;
        let changed: Vec<(String,)> =
            tx.insert_rows_returning("order_line", &COLUMNS, self.values(&again), conflict, "customer_id").await?;
        written.changed += changed.len() as u64;
        dirty.extend(changed.into_iter().map(|(id,)| (bucket_of(&id), id)));
        mark_ordered(tx, dirty, now).await?;
        Ok(written)
    }
}

/// Which of these orders have lines already. Asked once per order, it spares every line of a new order from being reported back one by
/// one, which costs more than writing it.
async fn filled(tx: &mut Tx, places: impl Iterator<Item = &OrderRef>) -> DbResult<HashSet<String>> {
    let mut keys = Vec::new();
    let mut previous = None;
    for place in places.filter(|p| previous.replace(*p) != Some(p)) {
        keys.extend(place.key());
    }
    let found: Vec<(String,)> = tx
        .fetch_keyed(
            &KEY[..4],
            keys,
            "SELECT k.order_id FROM k WHERE EXISTS (SELECT 1 FROM order_line l WHERE l.bucket = k.bucket \
             AND l.customer_id = k.customer_id AND l.ordered_at = k.ordered_at AND l.order_id = k.order_id)",
        )
        .await?;
    Ok(found.into_iter().map(|(id,)| id).collect())
}

impl Lines {
    /// Lines as rows of the table.
    fn values(&self, lines: &[(&OrderRef, &Row)]) -> Vec<Value> {
        let mut values = Vec::with_capacity(lines.len() * COLUMNS.len());
        for (place, row) in lines {
            values.extend([
                Value::from(place.bucket),
                Value::from(&place.customer_id),
                Value::from(place.ordered_at),
                Value::from(&row.order_id),
                Value::from(row.line_no),
                Value::from(&row.sku),
                Value::from(self.categories.of(&row.sku)),
                Value::from(row.quantity),
                Value::from(row.amount),
            ]);
        }
        values
    }

    /// Where the orders of these lines lie. Orders that only the lines know are remembered, so that the order itself finds them later.
    async fn places(
        &mut self,
        tx: &mut Tx,
        rows: &[Row],
        now: Millis,
        written: &mut Written,
    ) -> DbResult<HashMap<String, OrderRef>> {
        let ids: BTreeSet<&str> = rows.iter().map(|r| r.order_id.as_str()).collect();
        let mut places = fetch_refs(tx, ids.into_iter()).await?;
        let mut new: BTreeMap<&str, OrderRef> = BTreeMap::new();
        for row in rows.iter().filter(|r| !places.contains_key(&r.order_id)) {
            if let Some((customer_id, ordered_at)) = row.own.as_deref() {
                new.entry(&row.order_id).or_insert_with(|| OrderRef {
                    order_id: row.order_id.clone(),
                    bucket: bucket_of(customer_id),
                    customer_id: customer_id.clone(),
                    ordered_at: *ordered_at,
                });
            }
        }
        if !new.is_empty() {
            let people = new.values().map(|p| (p.bucket, p.customer_id.as_str()));
            written.customers_created = self.people.ensure(tx, people, now).await?;
            point_to(tx, new.values().cloned()).await?;
            places.extend(new.into_values().map(|p| (p.order_id.clone(), p)));
        }
        Ok(places)
    }
}

/// Skus remembered at once; beyond it the memory starts anew.
const SKUS_REMEMBERED_MAX: usize = 200_000;

/// The category of each product, as far as it was asked for.
#[derive(Debug, Default)]
pub(super) struct Categories(HashMap<String, Option<Arc<str>>>);

impl Categories {
    /// Learn the categories of these skus; products that are not known have none.
    pub(super) async fn learn(&mut self, tx: &mut Tx, skus: impl Iterator<Item = &str>) -> DbResult<()> {
        if self.0.len() > SKUS_REMEMBERED_MAX {
            self.0.clear();
        }
        let unknown: BTreeSet<&str> = skus.filter(|s| !self.0.contains_key(*s)).collect();
        let found: Vec<(String, Option<String>)> = tx
            .fetch_keyed(
                &["sku"],
                unknown.iter().map(|s| Value::from(*s)).collect(),
                "SELECT p.sku, p.category FROM k CROSS JOIN product p WHERE p.sku = k.sku",
            )
            .await?;
        self.0.extend(unknown.into_iter().map(|s| (s.to_owned(), None)));
        self.0.extend(found.into_iter().map(|(sku, category)| (sku, category.map(Arc::from))));
        Ok(())
    }

    /// The category of a product, if it has one.
    pub(super) fn of(&self, sku: &str) -> Option<&str> {
        self.0.get(sku)?.as_deref()
    }
}
