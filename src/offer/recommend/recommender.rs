//! Recommendations for many people at once: a few statements for all of them, then [`Chooser`] one by one.
//!
//! Memory: what was learnt, and what a few hundred people bought.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use super::choose::{Chooser, Person, Pick, Standing};
use super::learn::{Learnt, Owned};
use super::{Asked, bought, keep};
use crate::clock::Millis;
use crate::data::load::{self, Product};
use crate::db::{Db, DbResult, decimal};

/// A product recommended to a person, as templates see it and messages carry it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Recommended {
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
    pub image: Option<String>,
    /// How it was chosen.
    pub strategy: String,
    /// Names of what they bought that speaks for it; empty for `again` and `popular`.
    pub because: Vec<String>,
    /// Orders of theirs that had it.
    pub bought: u32,
}

/// People whose purchases are held at once.
const PEOPLE_AT_ONCE: usize = 500;

/// Recommends by one request, at one instant.
pub struct Recommender {
    asked: Asked,
    as_of: Millis,
    learnt: Learnt,
    /// Of the learnt products, those that are in the catalogue.
    products: HashMap<String, Product>,
    categories: HashMap<String, u32>,
    standing: Vec<Standing>,
    ids: HashMap<String, u32>,
}

impl Recommender {
    /// Load what the newest fit learnt. Without one, there is still `again`.
    pub async fn prepare(db: &Db, asked: Asked, as_of: Millis) -> DbResult<Recommender> {
        let learnt = keep::load(db).await?;
        let skus: Vec<&str> = learnt.sold.iter().map(|s| &*s.sku).collect();
        let products = load::products(db, &skus).await?;
        let mut categories = HashMap::new();
        for category in learnt.sold.iter().filter_map(|s| products.get(&s.sku)?.category.as_ref()) {
            number(&mut categories, category);
        }
        let standing = learnt.sold.iter().map(|s| standing(&asked, products.get(&s.sku), &mut categories)).collect();
        let ids = learnt.sold.iter().zip(0..).map(|(s, at)| (s.sku.clone(), at)).collect();
        Ok(Recommender { asked, as_of, learnt, products, categories, standing, ids })
    }

    /// What is asked of it.
    pub fn asked(&self) -> &Asked {
        &self.asked
    }

    /// For each of these people, by bucket and id, what is recommended to them; nothing where less than `at_least` was found.
    pub async fn of_people(&self, db: &Db, people: &[(i64, &str)]) -> DbResult<Vec<Vec<Recommended>>> {
        let mut found = Vec::with_capacity(people.len());
        for some in people.chunks(PEOPLE_AT_ONCE) {
            found.append(&mut self.of_some(db, some).await?);
        }
        Ok(found)
    }

    async fn of_some(&self, db: &Db, people: &[(i64, &str)]) -> DbResult<Vec<Vec<Recommended>>> {
        let rows = bought::of_people(db, people, self.as_of + 1).await?;
        let mut further = Further::default();
        for row in rows.iter().filter(|r| !self.ids.contains_key(&r.sku)) {
            further.number(&row.sku, self.learnt.sold.len());
        }
        further.load(db, self).await?;
        let mut owned: HashMap<(i64, &str), Vec<Owned>> = HashMap::new();
        for row in &rows {
            let product = self.ids.get(&row.sku).or_else(|| further.ids.get(&row.sku)).expect("numbered above");
            owned.entry((row.bucket, &row.customer_id)).or_default().push(row.owned(*product));
        }
        let chooser = Chooser::new(&self.learnt, &self.standing, &self.asked, self.as_of);
        let of = |person: &(i64, &str)| {
            let owned = owned.get(person).map_or(&[][..], Vec::as_slice);
            let picks = chooser.choose(Person { owned, further: &further.standing });
            if picks.len() < self.asked.at_least {
                return Vec::new();
            }
            picks.iter().filter_map(|pick| self.recommended(pick, &further)).collect()
        };
        Ok(people.iter().map(of).collect())
    }

    fn recommended(&self, pick: &Pick, further: &Further) -> Option<Recommended> {
        let product = self.product(pick.product, further)?.clone();
        Some(Recommended {
            sku: product.sku,
            name: product.name,
            category: product.category,
            price: product.price,
            url: product.url,
            image: product.image_url,
            strategy: pick.strategy.word().to_owned(),
            // What is not in the catalogue has no name to be called by.
            because: pick.because.iter().filter_map(|p| Some(self.product(*p, further)?.name.clone())).collect(),
            bought: pick.bought,
        })
    }

    fn product<'p>(&'p self, product: u32, further: &'p Further) -> Option<&'p Product> {
        let at = product as usize;
        match self.learnt.sold.get(at) {
            Some(sold) => self.products.get(&sold.sku),
            None => further.products.get(further.skus.get(at - self.learnt.sold.len())?),
        }
    }
}

/// Products beyond the learnt ones that some people bought, numbered on.
#[derive(Default)]
struct Further {
    skus: Vec<String>,
    ids: HashMap<String, u32>,
    products: HashMap<String, Product>,
    standing: Vec<Standing>,
}

impl Further {
    fn number(&mut self, sku: &str, learnt: usize) {
        if !self.ids.contains_key(sku) {
            let id = u32::try_from(learnt + self.skus.len()).expect("fewer than four thousand million products");
            self.ids.insert(sku.to_owned(), id);
            self.skus.push(sku.to_owned());
        }
    }

    async fn load(&mut self, db: &Db, of: &Recommender) -> DbResult<()> {
        if self.skus.is_empty() {
            return Ok(());
        }
        let skus: Vec<&str> = self.skus.iter().map(String::as_str).collect();
        self.products = load::products(db, &skus).await?;
        let mut categories = of.categories.clone();
        self.standing =
            self.skus.iter().map(|sku| standing(&of.asked, self.products.get(sku), &mut categories)).collect();
        Ok(())
    }
}

fn number(categories: &mut HashMap<String, u32>, category: &str) -> u32 {
    let next = categories.len() as u32;
    *categories.entry(category.to_owned()).or_insert(next)
}

/// What the rules say of a product; one that is not in the catalogue is not offered.
fn standing(asked: &Asked, product: Option<&Product>, categories: &mut HashMap<String, u32>) -> Standing {
    let Some(product) = product else { return Standing::default() };
    let category = product.category.as_deref();
    Standing {
        allowed: asked.lets_in(category) && is_in_stock(&product.attributes),
        category: category.map(|c| number(categories, c)),
    }
}

/// Attributes that say how many there are, or whether there are any.
const STOCK: [&str; 19] = [
    "stock",
    "stock_quantity",
    "stock_level",
    "stock_status",
    "inventory",
    "inventory_quantity",
    "inventory_level",
    "inventory_status",
    "quantity",
    "quantity_available",
    "available_quantity",
    "in_stock",
    "instock",
    "is_in_stock",
    "available",
    "is_available",
    "availability",
    "active",
    "is_active",
];
/// Words that say no, without case, spaces and signs.
const NONE_LEFT: [&str; 20] = [
    "no",
    "n",
    "false",
    "out",
    "none",
    "outofstock",
    "notinstock",
    "nostock",
    "soldout",
    "unavailable",
    "notavailable",
    "discontinued",
    "inactive",
    "ausverkauft",
    "nichtverfügbar",
    "在庫なし",
    "在庫切れ",
    "売り切れ",
    "品切れ",
    "完売",
];

/// Whether a product can be had, as far as its attributes say: a number of pieces above zero, a flag or word that is not a no.
fn is_in_stock(attributes: &Map<String, Json>) -> bool {
    let word = |text: &str| {
        // https://schema.org/OutOfStock
        let last = text.rsplit('/').next().unwrap_or(text);
        last.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect::<String>()
    };
    let is_no = |value: &Json| match value {
        Json::Bool(yes) => !yes,
        Json::Number(n) => n.as_f64().is_some_and(|n| n <= 0.0),
        Json::String(text) => match decimal(text.trim()) {
            Some(n) => n <= 0.0,
            None => NONE_LEFT.contains(&word(text).as_str()),
        },
        _ => false,
    };
    !STOCK.iter().any(|name| attributes.get(*name).is_some_and(is_no))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stock_is_read_from_what_shops_call_it() {
        let in_stock = |json: &str| is_in_stock(&serde_json::from_str(json).unwrap());
        for (json, expected) in [
            ("{}", true),
            (r#"{"colour": "0"}"#, true),
            (r#"{"stock": "12"}"#, true),
            (r#"{"stock": "0"}"#, false),
            (r#"{"stock": -3}"#, false),
            (r#"{"stock": "plenty"}"#, true),
            (r#"{"stock": ""}"#, true),
            (r#"{"in_stock": "No"}"#, false),
            (r#"{"in_stock": true, "stock": 0}"#, false),
            (r#"{"available": false}"#, false),
            (r#"{"available": null}"#, true),
            (r#"{"active": "yes"}"#, true),
            (r#"{"availability": "out of stock"}"#, false),
            (r#"{"availability": "https://schema.org/OutOfStock"}"#, false),
            (r#"{"availability": "https://schema.org/InStock"}"#, true),
            (r#"{"availability": "preorder"}"#, true),
            (r#"{"stock_status": "outofstock"}"#, false),
            (r#"{"stock_status": "instock"}"#, true),
            (r#"{"inventory_quantity": 0}"#, false),
            (r#"{"inventory_quantity": "7"}"#, true),
            (r#"{"stock": "Sold out"}"#, false),
            (r#"{"stock": "売り切れ"}"#, false),
            (r#"{"stock": "在庫あり"}"#, true),
            (r#"{"is_available": 0}"#, false),
        ] {
            assert_eq!(in_stock(json), expected, "{json}");
        }
    }

    #[test]
    fn categories_let_in_and_keep_out() {
        let mut asked = Asked::of(&[super::super::Strategy::Again], 4);
        assert!(asked.lets_in(None) && asked.lets_in(Some("tea")));
        asked.not_categories = vec!["tea".into()];
        assert!(asked.lets_in(None) && !asked.lets_in(Some("tea")) && asked.lets_in(Some("紙")));
        asked.categories = vec!["tea".into(), "紙".into()];
        assert!(!asked.lets_in(None) && !asked.lets_in(Some("tea")) && asked.lets_in(Some("紙")));
    }
}
