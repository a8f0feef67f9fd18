//! A person's rows, from the database.

use super::{Person, Rows};
use crate::args;
use crate::clock::Millis;
use crate::db::{Db, DbResult, bucket_of};
use crate::profile;

#[derive(Debug, Clone, Default, sqlx::FromRow)]
pub struct CustomerRow {
    pub email: Option<String>,
    pub first_name: Option<String>,
    pub last_name: Option<String>,
    pub locale: Option<String>,
    pub time_zone: Option<String>,
    pub country: Option<String>,
    pub attributes: String,
    pub first_seen_at: Millis,
}

#[derive(Debug, Clone, Default, sqlx::FromRow)]
pub struct ScoreRow {
    pub orders_90d: Option<f64>,
    pub orders_12m: Option<f64>,
    pub ltv_12m: Option<i64>,
    pub alive: Option<f64>,
    pub churn_90d: Option<f64>,
    pub next_order_at: Option<Millis>,
}

#[derive(Debug, Clone, sqlx::FromRow)]
pub struct OrderRow {
    pub at: Millis,
    pub total: i64,
    pub currency: String,
    pub status: String,
}

#[derive(Debug, Clone, sqlx::FromRow)]
pub struct LineRow {
    pub at: Millis,
    pub order_id: String,
    pub sku: String,
    pub category: Option<String>,
    pub quantity: i64,
    pub amount: i64,
    pub total: i64,
    pub status: String,
    pub product_name: Option<String>,
    pub product_price: Option<i64>,
    /// JSON; absent when the product is not known.
    pub product_attributes: Option<String>,
}

#[derive(Debug, Clone, sqlx::FromRow)]
pub struct EventRow {
    pub at: Millis,
    pub name: String,
    pub sku: Option<String>,
    pub category: Option<String>,
    pub amount: Option<i64>,
    pub score: Option<f64>,
    pub properties: String,
}

#[derive(Debug, Clone, sqlx::FromRow)]
pub struct MessageRow {
    pub at: Millis,
    pub campaign: String,
    pub step: String,
    pub state: String,
}

#[derive(Debug, Clone, sqlx::FromRow)]
pub struct ClickRow {
    pub at: Millis,
    pub campaign: String,
    pub step: String,
}

#[derive(Debug, Clone, sqlx::FromRow)]
pub struct ConsentRow {
    pub at: Millis,
    pub topic: String,
    pub granted: bool,
}

/// An order that counts (docs/decisions/0002).
fn counted(status: &str, total: i64) -> bool {
    status == "placed" && total >= 0
}

impl OrderRow {
    pub fn is_counted(&self) -> bool {
        counted(&self.status, self.total)
    }

    pub fn is_return(&self) -> bool {
        self.status == "returned" || (self.status == "placed" && self.total < 0)
    }
}

impl LineRow {
    pub fn is_counted(&self) -> bool {
        counted(&self.status, self.total)
    }
}

impl Person {
    /// Load a customer; `None` when there is none of this id. Somebody without a profile yet is looked at as if nothing were known.
    pub async fn load(db: &Db, customer_id: &str) -> DbResult<Option<Person>> {
        let bucket = bucket_of(customer_id);
        let of = || args![bucket, customer_id];
        let customer: Option<CustomerRow> = db
            .fetch_optional(
                "SELECT email, first_name, last_name, locale, time_zone, country, attributes, first_seen_at FROM customer
                 WHERE bucket = $1 AND customer_id = $2",
                of(),
            )
            .await?;
        let Some(customer) = customer else { return Ok(None) };
        let facts = profile::load(db, bucket, &[customer_id.to_owned()]).await?.pop();
        let scores = db
            .fetch_optional(
                "SELECT orders_90d, orders_12m, ltv_12m, alive, churn_90d, next_order_at FROM score
                 WHERE bucket = $1 AND customer_id = $2",
                of(),
            )
            .await?;
        let rows = Rows {
            orders: db
                .fetch_all(
                    "SELECT ordered_at AS at, total, currency, status FROM customer_order WHERE bucket = $1 AND customer_id = $2",
                    of(),
                )
                .await?,
            lines: db
                .fetch_all(
                    "SELECT l.ordered_at AS at, l.order_id, l.sku, l.category, l.quantity, l.amount, o.total, o.status,
                            pr.name AS product_name, pr.price AS product_price, pr.attributes AS product_attributes
                     FROM order_line l JOIN customer_order o ON o.bucket = l.bucket AND o.customer_id = l.customer_id
                      AND o.ordered_at = l.ordered_at AND o.order_id = l.order_id LEFT JOIN product pr ON pr.sku = l.sku
                     WHERE l.bucket = $1 AND l.customer_id = $2",
                    of(),
                )
                .await?,
            events: db
                .fetch_all(
                    "SELECT e.at, n.name, e.sku, e.category, e.amount, e.score, e.properties
                     FROM event e JOIN event_name n ON n.name_id = e.name_id WHERE e.bucket = $1 AND e.customer_id = $2",
                    of(),
                )
                .await?,
            messages: db
                .fetch_all(
                    "SELECT COALESCE(d.date_at, m.due_at) AS at, m.campaign, m.step, d.state
                     FROM message m JOIN delivery d ON d.bucket = m.bucket AND d.chunk_id = m.chunk_id AND d.seq = m.seq
                     WHERE m.bucket = $1 AND m.customer_id = $2",
                    of(),
                )
                .await?,
            clicks: db
                .fetch_all(
                    "SELECT at, campaign, step FROM fact WHERE bucket = $1 AND customer_id = $2 AND kind = 'click'",
                    of(),
                )
                .await?,
            consents: db
                .fetch_all("SELECT at, topic, granted FROM consent WHERE bucket = $1 AND customer_id = $2", of())
                .await?,
        };
        Ok(Some(Person {
            facts: facts.unwrap_or_default(),
            customer,
            scores,
            rows,
            given: super::Overrides::default(),
        }))
    }
}
