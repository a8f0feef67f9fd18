//! Products: what is sold. As with customers, an empty cell clears and a missing column leaves alone; further columns become attributes.
//!
//! Order lines and events carry their product's category. When it changes, or a product arrives after its lines, the import brings the
//! copies up to date at its end ([`super::super::categories`]).

use std::collections::{BTreeSet, HashMap};

use serde_json::Value as Json;

use super::super::categories;
use super::super::cells::{Cells, Reading, Stated, check_id};
use super::super::columns::Kind;
use super::{Table, Written, merge_attributes, owned};
use crate::args;
use crate::clock::Millis;
use crate::db::{Conflict, DbResult, Tx, Value};

const SKU: usize = 0;
const NAME: usize = 1;
const CATEGORY: usize = 2;
const PRICE: usize = 3;
const URL: usize = 4;
const IMAGE_URL: usize = 5;

#[derive(Debug, Default)]
pub(in crate::data) struct Products;

#[derive(Debug)]
pub(in crate::data) struct Row {
    sku: String,
    name: Stated,
    category: Stated,
    price: Option<Option<i64>>,
    url: Stated,
    image_url: Stated,
    attributes: Vec<(String, Json)>,
}

#[derive(Debug, Clone, PartialEq, sqlx::FromRow)]
struct Stored {
    sku: String,
    name: Option<String>,
    category: Option<String>,
    price: Option<i64>,
    url: Option<String>,
    image_url: Option<String>,
    attributes: String,
}

impl Table for Products {
    type Row = Row;
    const KIND: Kind = Kind::Products;

    fn read(reading: &mut Reading, cells: Cells<'_>) -> Result<Row, String> {
        let price = match cells.text(PRICE) {
            Some(_) => Some(Some(cells.money(PRICE, reading.shop.exponent)?)),
            None => cells.is_stated(PRICE).then_some(None),
        };
        let category = cells.stated(CATEGORY);
        if let Some(Some(text)) = &category {
            check_id("category", text)?; // it is carried by every line and event of the product, and by indexes of them
        }
        Ok(Row {
            sku: cells.id(SKU)?.to_owned(),
            name: cells.stated(NAME),
            category,
            price,
            url: cells.stated(URL),
            image_url: cells.stated(IMAGE_URL),
            attributes: owned(cells.further),
        })
    }

    async fn write(&mut self, tx: &mut Tx, rows: &[Row], _now: Millis) -> DbResult<Written> {
        let mut written = Written::default();
        let skus: BTreeSet<&str> = rows.iter().map(|r| r.sku.as_str()).collect();
        let stored: Vec<Stored> = tx
            .fetch_keyed(
                &["sku"],
                skus.iter().map(|s| Value::from(*s)).collect(),
                "SELECT p.sku, p.name, p.category, p.price, p.url, p.image_url, p.attributes \
                 FROM k CROSS JOIN product p WHERE p.sku = k.sku",
            )
            .await?;
        let stored: HashMap<&str, &Stored> = stored.iter().map(|s| (s.sku.as_str(), s)).collect();
        let mut after: HashMap<&str, Stored> = HashMap::with_capacity(skus.len());
        for row in rows {
            written.repeated += u64::from(after.contains_key(row.sku.as_str()));
            let state = after
                .entry(&row.sku)
                .or_insert_with(|| stored.get(row.sku.as_str()).map_or_else(|| row.blank(), |s| (*s).clone()));
            row.apply(state);
        }
        let changed: Vec<Stored> =
            skus.iter().filter_map(|s| after.remove(s)).filter(|s| stored.get(s.sku.as_str()) != Some(&s)).collect();
        let recategorised =
            changed.iter().any(|s| stored.get(s.sku.as_str()).is_none_or(|old| old.category != s.category));
        if recategorised {
            categories::mark_stale(tx).await?;
        }
        written.changed = changed.len() as u64;
        let values = changed.into_iter().flat_map(Stored::into_values).collect();
        tx.insert_rows("product", &COLUMNS, values, Conflict::Update { key: &["sku"] }).await?;
        Ok(written)
    }
}

const COLUMNS: [&str; 7] = ["sku", "name", "category", "price", "url", "image_url", "attributes"];

impl Row {
    fn blank(&self) -> Stored {
        Stored {
            sku: self.sku.clone(),
            name: None,
            category: None,
            price: None,
            url: None,
            image_url: None,
            attributes: "{}".to_owned(),
        }
    }

    fn apply(&self, stored: &mut Stored) {
        for (stated, field) in [
            (&self.name, &mut stored.name),
            (&self.category, &mut stored.category),
            (&self.url, &mut stored.url),
            (&self.image_url, &mut stored.image_url),
        ] {
            if let Some(value) = stated {
                field.clone_from(value);
            }
        }
        if let Some(price) = self.price {
            stored.price = price;
        }
        if !self.attributes.is_empty() {
            stored.attributes = merge_attributes(&stored.attributes, &self.attributes);
        }
    }
}

impl Stored {
    fn into_values(self) -> Vec<Value> {
        args![self.sku, self.name, self.category, self.price, self.url, self.image_url, self.attributes]
    }
}
