//! What people left in their baskets: the latest `cart.updated` of each, with what is known of its products. What mails show as `cart`.

use std::collections::HashMap;

use jiff::tz::TimeZone;
use serde::Serialize;
use serde_json::{Map, Value as Json};

use super::load::{keys, products};
use crate::clock::{self, Millis};
use crate::db::{Db, DbResult};

/// Whose cart it is, since when, and what lies in it: numbers of products and how many.
type Held = (String, Millis, Vec<(String, i64)>);

/// Most products of a basket that are looked at.
const ITEMS_MAX: usize = 20;

/// A basket that is not empty.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Cart {
    /// RFC 3339 in the project's zone.
    pub updated_at: String,
    pub items: Vec<Item>,
}

/// A product in a basket. The price is that of the catalogue, in minor units.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Item {
    pub sku: String,
    /// The product's name; its sku when the product is not known.
    pub name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub category: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub price: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    pub quantity: i64,
}

#[derive(sqlx::FromRow)]
struct Row {
    customer_id: String,
    at: i64,
    sku: Option<String>,
    properties: String,
}

/// The baskets of these customers of one bucket, by customer_id; who has none, or an empty one, is missing from the answer.
pub async fn carts(db: &Db, zone: &TimeZone, bucket: i64, customer_ids: &[&str]) -> DbResult<HashMap<String, Cart>> {
    let rows: Vec<Row> = db
        .fetch_keyed(
            &["bucket", "customer_id"],
            keys(bucket, customer_ids),
            "SELECT e.customer_id, e.at, e.sku, e.properties FROM k CROSS JOIN event e JOIN event_name n ON n.name_id = e.name_id \
             WHERE e.bucket = k.bucket AND e.customer_id = k.customer_id AND n.name = 'cart.updated' \
             AND NOT EXISTS (SELECT 1 FROM event l WHERE l.bucket = e.bucket AND l.customer_id = e.customer_id \
             AND l.name_id = e.name_id AND (l.at, l.event_id) > (e.at, e.event_id))",
        )
        .await?;
    let held: Vec<Held> =
        rows.into_iter().map(|r| (r.customer_id, r.at, skus(r.sku.as_deref(), &r.properties))).collect();
    let wanted: Vec<&str> = held.iter().flat_map(|(.., skus)| skus.iter().map(|(sku, _)| sku.as_str())).collect();
    if wanted.is_empty() {
        return Ok(HashMap::new());
    }
    let known = products(db, &wanted).await?;
    let item = |(sku, quantity): (String, i64)| match known.get(&sku) {
        Some(p) => Item {
            name: p.name.clone(),
            category: p.category.clone(),
            price: p.price,
            url: p.url.clone(),
            image: p.image_url.clone(),
            sku,
            quantity,
        },
        None => Item { name: sku.clone(), category: None, price: None, url: None, image: None, sku, quantity },
    };
    let full = held.into_iter().filter(|(.., skus)| !skus.is_empty());
    Ok(full
        .map(|(customer_id, at, skus)| {
            let updated_at = clock::rfc3339(at, zone);
            (customer_id, Cart { updated_at, items: skus.into_iter().map(item).collect() })
        })
        .collect())
}

/// Skus and how many of each of an event `cart.updated`, in the order they were put in: the property `skus` (a JSON list, or text separated by `;`), else the event's own sku.
pub fn skus(own: Option<&str>, properties: &str) -> Vec<(String, i64)> {
    let properties: Map<String, Json> = serde_json::from_str(properties).unwrap_or_default();
    let listed: Vec<&str> = match properties.get("skus") {
        Some(Json::Array(list)) => list.iter().filter_map(Json::as_str).collect(),
        Some(Json::String(text)) => text.split(';').collect(),
        _ => own.into_iter().collect(),
    };
    let mut out: Vec<(String, i64)> = Vec::new();
    for sku in listed.into_iter().map(str::trim).filter(|s| !s.is_empty()) {
        match out.iter().position(|(known, _)| known == sku) {
            Some(place) => out[place].1 += 1,
            None if out.len() < ITEMS_MAX => out.push((sku.to_owned(), 1)),
            None => {}
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_basket_is_a_list_a_text_or_one_product() {
        let of = |own, properties| {
            skus(own, properties).iter().map(|(s, n)| format!("{s}×{n}")).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(of(None, r#"{"skus":["A","B","A"]}"#), "A×2 B×1");
        assert_eq!(of(None, r#"{"skus":"A; B;;A"}"#), "A×2 B×1");
        assert_eq!(of(Some("C"), "{}"), "C×1");
        for empty in [r#"{"skus":[]}"#, r#"{"skus":""}"#, r#"{"skus":[1,null]}"#, "{}", "", "[]"] {
            assert_eq!(of(None, empty), "", "{empty}");
        }
        assert_eq!(of(Some("C"), r#"{"skus":[]}"#), "", "an emptied basket is empty");
        let many = (0..100).map(|n| n.to_string()).collect::<Vec<_>>().join(";");
        assert_eq!(skus(None, &format!("{{\"skus\":\"{many}\"}}")).len(), ITEMS_MAX);
    }
}
