//! Reads back what imports wrote, for one customer or for a few: what mails show and what `explain` proves.
//!
//! The names that serialise are the names templates use. Amounts are minor units, instants RFC 3339 in the project's zone.

use std::collections::{BTreeSet, HashMap};

use jiff::tz::TimeZone;
use serde::Serialize;
use serde_json::{Map, Value as Json};

use crate::args;
use crate::clock::{self, Millis};
use crate::db::{Db, DbResult, Value, bucket_of};

/// A customer. Attributes stand beside the fields.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Customer {
    #[serde(skip)]
    pub bucket: i64,
    pub customer_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// Canonical form of the address; `None` when it cannot be mailed.
    #[serde(skip)]
    pub address_key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub locale: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub country: Option<String>,
    #[serde(flatten)]
    pub attributes: Map<String, Json>,
    #[serde(skip)]
    pub erased_at: Option<Millis>,
}

/// An order with its lines.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Order {
    pub order_id: String,
    pub ordered_at: String,
    #[serde(skip)]
    pub at: Millis,
    pub total: i64,
    pub currency: String,
    /// placed, returned or cancelled.
    pub status: String,
    pub lines: Vec<Line>,
}

/// A line of an order, with what is known of its product.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Line {
    pub sku: String,
    /// The product's name; its sku when the product is not known.
    pub name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub category: Option<String>,
    pub quantity: i64,
    pub amount: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

/// A product.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Product {
    pub sku: String,
    /// Its sku when it has no name.
    pub name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub category: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub price: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_url: Option<String>,
    pub attributes: Map<String, Json>,
}

#[derive(sqlx::FromRow)]
struct CustomerRow {
    bucket: i64,
    customer_id: String,
    email: Option<String>,
    address_key: Option<String>,
    first_name: Option<String>,
    last_name: Option<String>,
    locale: Option<String>,
    time_zone: Option<String>,
    country: Option<String>,
    attributes: String,
    erased_at: Option<i64>,
}

#[derive(sqlx::FromRow)]
struct OrderRow {
    customer_id: String,
    ordered_at: i64,
    order_id: String,
    total: i64,
    currency: String,
    status: String,
}

#[derive(sqlx::FromRow)]
struct LineRow {
    order_id: String,
    sku: String,
    category: Option<String>,
    quantity: i64,
    amount: i64,
    name: Option<String>,
    url: Option<String>,
}

/// One customer by id.
pub async fn customer(db: &Db, customer_id: &str) -> DbResult<Option<Customer>> {
    Ok(customers(db, bucket_of(customer_id), &[customer_id]).await?.pop())
}

/// Customers of one bucket by id, in the order of their ids; ids that are not known are missing from the answer.
pub async fn customers(db: &Db, bucket: i64, customer_ids: &[&str]) -> DbResult<Vec<Customer>> {
    let rows: Vec<CustomerRow> = db
        .fetch_keyed(
            &["bucket", "customer_id"],
            keys(bucket, customer_ids),
            "SELECT c.bucket, c.customer_id, c.email, c.address_key, c.first_name, c.last_name, c.locale, c.time_zone, c.country, \
             c.attributes, c.erased_at FROM k CROSS JOIN customer c WHERE c.bucket = k.bucket AND c.customer_id = k.customer_id",
        )
        .await?;
    let mut customers: Vec<Customer> = rows
        .into_iter()
        .map(|r| Customer {
            bucket: r.bucket,
            customer_id: r.customer_id,
            email: r.email,
            address_key: r.address_key,
            first_name: r.first_name,
            last_name: r.last_name,
            locale: r.locale,
            time_zone: r.time_zone,
            country: r.country,
            attributes: object(&r.attributes),
            erased_at: r.erased_at,
        })
        .collect();
    customers.sort_by(|a, b| a.customer_id.cmp(&b.customer_id));
    Ok(customers)
}

/// All orders of a customer with their lines, the oldest first.
pub async fn orders(db: &Db, zone: &TimeZone, customer_id: &str) -> DbResult<Vec<Order>> {
    let bucket = bucket_of(customer_id);
    let rows: Vec<OrderRow> = db
        .fetch_all(
            "SELECT o.customer_id, o.ordered_at, o.order_id, o.total, o.currency, o.status FROM customer_order o \
             WHERE o.bucket = $1 AND o.customer_id = $2 ORDER BY o.ordered_at, o.order_id",
            args![bucket, customer_id],
        )
        .await?;
    let orders = with_lines(db, zone, bucket, rows).await?;
    Ok(orders.into_iter().map(|(_, order)| order).collect())
}

/// The last order that counts (status `placed`) of each of these customers of one bucket, by customer_id; customers without one are
/// missing from the answer.
pub async fn last_order_with_lines(
    db: &Db,
    zone: &TimeZone,
    bucket: i64,
    customer_ids: &[&str],
) -> DbResult<HashMap<String, Order>> {
    let rows: Vec<OrderRow> = db
        .fetch_keyed(
            &["bucket", "customer_id"],
            keys(bucket, customer_ids),
            "SELECT o.customer_id, o.ordered_at, o.order_id, o.total, o.currency, o.status \
             FROM k CROSS JOIN customer_order o WHERE o.bucket = k.bucket AND o.customer_id = k.customer_id \
             AND o.status = 'placed' AND NOT EXISTS (SELECT 1 FROM customer_order n WHERE n.bucket = o.bucket \
             AND n.customer_id = o.customer_id AND n.status = 'placed' AND (n.ordered_at, n.order_id) > (o.ordered_at, o.order_id))",
        )
        .await?;
    Ok(with_lines(db, zone, bucket, rows).await?.into_iter().collect())
}

/// The categories of all products, by name.
pub async fn categories(db: &Db) -> DbResult<Vec<String>> {
    let rows: Vec<(String,)> =
        db.fetch_all("SELECT DISTINCT category FROM product WHERE category IS NOT NULL", vec![]).await?;
    let mut names: Vec<String> = rows.into_iter().map(|(name,)| name).collect();
    names.sort_unstable();
    Ok(names)
}

/// Products by sku; skus that are not known are missing from the answer.
pub async fn products(db: &Db, skus: &[&str]) -> DbResult<HashMap<String, Product>> {
    type Row = (String, Option<String>, Option<String>, Option<i64>, Option<String>, Option<String>, String);
    let skus: BTreeSet<&str> = skus.iter().copied().collect();
    let rows: Vec<Row> = db
        .fetch_keyed(
            &["sku"],
            skus.into_iter().map(Value::from).collect(),
            "SELECT p.sku, p.name, p.category, p.price, p.url, p.image_url, p.attributes \
             FROM k CROSS JOIN product p WHERE p.sku = k.sku",
        )
        .await?;
    Ok(rows
        .into_iter()
        .map(|(sku, name, category, price, url, image_url, attributes)| {
            let name = name.unwrap_or_else(|| sku.clone());
            let attributes = object(&attributes);
            (sku.clone(), Product { sku, name, category, price, url, image_url, attributes })
        })
        .collect())
}

pub(super) fn keys(bucket: i64, customer_ids: &[&str]) -> Vec<Value> {
    let ids: BTreeSet<&str> = customer_ids.iter().copied().collect();
    ids.into_iter().flat_map(|id| args![bucket, id]).collect()
}

fn object(text: &str) -> Map<String, Json> {
    serde_json::from_str(text).unwrap_or_default()
}

/// Orders of one bucket with their lines, beside the id of their customer, in the order given.
async fn with_lines(db: &Db, zone: &TimeZone, bucket: i64, orders: Vec<OrderRow>) -> DbResult<Vec<(String, Order)>> {
    let keys =
        orders.iter().flat_map(|o| args![bucket, o.customer_id.as_str(), o.ordered_at, o.order_id.as_str()]).collect();
    let rows: Vec<LineRow> = db
        .fetch_keyed(
            &["bucket", "customer_id", "ordered_at", "order_id"],
            keys,
            "SELECT l.order_id, l.sku, l.category, l.quantity, l.amount, p.name, p.url \
             FROM k CROSS JOIN order_line l LEFT JOIN product p ON p.sku = l.sku \
             WHERE l.bucket = k.bucket AND l.customer_id = k.customer_id AND l.ordered_at = k.ordered_at \
             AND l.order_id = k.order_id ORDER BY l.order_id, l.line_no",
        )
        .await?;
    let mut lines: HashMap<String, Vec<Line>> = HashMap::new();
    for r in rows {
        let name = r.name.unwrap_or_else(|| r.sku.clone());
        let line = Line { sku: r.sku, name, category: r.category, quantity: r.quantity, amount: r.amount, url: r.url };
        lines.entry(r.order_id).or_default().push(line);
    }
    Ok(orders
        .into_iter()
        .map(|o| {
            let order = Order {
                ordered_at: clock::rfc3339(o.ordered_at, zone),
                at: o.ordered_at,
                total: o.total,
                currency: o.currency,
                status: o.status,
                lines: lines.remove(&o.order_id).unwrap_or_default(),
                order_id: o.order_id,
            };
            (o.customer_id, order)
        })
        .collect())
}
