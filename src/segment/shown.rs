//! What templates see of a person who stands in no database: the same view of the same facts that a message of a customer carries.

use super::given::Given;
use super::person::{Datum, EventRow};
use crate::clock;
use crate::data::cart::{self, Cart, Item};
use crate::data::load::{Line, Order};
use crate::profile::Moment;
use crate::profile::fields::{FIELDS, Kind};
use crate::profile::loyalty::{Standing, standing};
use crate::settings::Settings;

impl Given {
    /// What templates see: `customer` with its own columns, `profile`, `loyalty` where there are tiers, `order`, the last
    /// one that counts, and `cart`, where there is one.
    pub fn for_templates(&self, settings: &Settings, moment: &Moment) -> serde_json::Value {
        let mut customer: serde_json::Map<String, serde_json::Value> =
            serde_json::from_str(&self.person.customer.attributes).unwrap_or_default();
        let mut profile = serde_json::to_value(self.person.facts.view(moment)).unwrap_or_default();
        self.add_viewed(&mut profile);
        for field in FIELDS {
            let Some(datum) = self.person.given.fields.get(field.sql) else { continue };
            let value = match datum {
                Datum::Int(at) if field.kind == Kind::Instant => clock::rfc3339(*at, &moment.zone).into(),
                Datum::Int(n) => (*n).into(),
                Datum::Real(n) => (*n).into(),
                Datum::Text(text) | Datum::Json(text) => text.as_str().into(),
                Datum::List(texts) => texts.clone().into(),
            };
            if field.sql.starts_with("c.") {
                customer.insert(field.name.to_owned(), value);
            } else {
                profile[field.name] = value;
            }
        }
        let mut shown = serde_json::json!({ "customer": customer, "profile": profile });
        if let Some(standing) = self.standing(settings, moment) {
            shown["loyalty"] = serde_json::to_value(standing).unwrap_or_default();
        }
        if let Some(order) = self.last_order(moment) {
            shown["order"] = serde_json::to_value(order).unwrap_or_default();
        }
        if let Some(cart) = self.cart(moment) {
            shown["cart"] = serde_json::to_value(cart).unwrap_or_default();
        }
        shown
    }

    /// Where they stand among the tiers; a tier that is stated holds, whatever the orders say.
    fn standing(&self, settings: &Settings, moment: &Moment) -> Option<Standing> {
        let loyalty = settings.loyalty.as_ref()?;
        let from = loyalty.counts_from(moment.as_of, &moment.zone);
        let counts = |at| at >= from && at <= moment.as_of;
        let orders = self.person.rows.orders.iter().filter(|o| o.status == "placed" && o.total >= 0 && counts(o.at));
        let orders: Vec<_> = orders.map(|o| (o.at, o.total)).collect();
        let mut standing = standing(loyalty, &orders, &moment.zone);
        if let Some(tier) = &self.person.given.tier {
            standing.tier = Some(tier.clone());
        }
        Some(standing)
    }

    /// What is known of the product viewed last stands in the event.
    fn add_viewed(&self, profile: &mut serde_json::Value) {
        let viewed = self.person.rows.events.iter().filter(|e| e.name == "product.viewed");
        let latest = viewed.filter(|e| e.sku == self.person.facts.last_viewed_sku).max_by_key(|e| e.at);
        if let (Some(event), Some(shown)) = (latest, profile["last_viewed"].as_object_mut()) {
            let properties: serde_json::Map<_, _> = serde_json::from_str(&event.properties).unwrap_or_default();
            shown.extend(properties.into_iter().filter(|(name, _)| matches!(name.as_str(), "name" | "url")));
            shown.extend(event.category.clone().map(|c| ("category".to_owned(), c.into())));
            shown.extend(event.amount.map(|price| ("price".to_owned(), price.into())));
        }
    }

    /// The basket of the latest `cart.updated`. There is no catalogue to look its products up in: what is known of them is what they were
    /// looked at, or bought, as.
    fn cart(&self, moment: &Moment) -> Option<Cart> {
        let rows = &self.person.rows;
        let event = rows.events.iter().filter(|e| e.name == "cart.updated").max_by_key(|e| e.at)?;
        let item = |(sku, quantity): (String, i64)| {
            let mut item =
                Item { name: sku.clone(), category: None, price: None, url: None, image: None, sku, quantity };
            if let Some(line) = rows.lines.iter().rfind(|l| l.sku == item.sku) {
                item.name = line.product_name.clone().unwrap_or(item.name);
                item.category = line.category.clone();
                item.price = Some(line.amount / line.quantity.max(1));
            }
            let looked_at = |e: &&EventRow| e.name == "product.viewed" && e.sku.as_ref() == Some(&item.sku);
            if let Some(viewed) = rows.events.iter().filter(looked_at).max_by_key(|e| e.at) {
                let properties: serde_json::Map<_, _> = serde_json::from_str(&viewed.properties).unwrap_or_default();
                let text = |name: &str| properties.get(name).and_then(|v| v.as_str()).map(str::to_owned);
                item.name = text("name").unwrap_or(item.name);
                (item.url, item.image) = (text("url"), text("image"));
                item.category = viewed.category.clone().or(item.category);
                item.price = viewed.amount.or(item.price);
            }
            item
        };
        let items: Vec<Item> = cart::skus(event.sku.as_deref(), &event.properties).into_iter().map(item).collect();
        (!items.is_empty()).then(|| Cart { updated_at: clock::rfc3339(event.at, &moment.zone), items })
    }

    fn last_order(&self, moment: &Moment) -> Option<Order> {
        let rows = &self.person.rows;
        let (number, last) =
            rows.orders.iter().enumerate().filter(|(_, o)| o.status == "placed").max_by_key(|(_, o)| o.at)?;
        let order_id = format!("o{number}");
        let lines = rows.lines.iter().filter(|l| l.order_id == order_id).map(|l| Line {
            name: l.product_name.clone().unwrap_or_else(|| l.sku.clone()),
            sku: l.sku.clone(),
            category: l.category.clone(),
            quantity: l.quantity,
            amount: l.amount,
            url: None,
        });
        Some(Order {
            ordered_at: clock::rfc3339(last.at, &moment.zone),
            at: last.at,
            total: last.total,
            currency: last.currency.clone(),
            status: last.status.clone(),
            lines: lines.collect(),
            order_id,
        })
    }
}
