//! Invented people to try templates on: one of whom everything is known, and one of whom only what everybody has.

use serde_json::{Value, json};

use super::load::Wanted;

/// The language of an invented person with everything known; others than Japanese get the English one, under their own locale.
pub fn sample_person(locale: &str) -> Value {
    let japanese = locale.to_ascii_lowercase().starts_with("ja");
    let (first, last, country, zone) = match japanese {
        true => ("美帆", "花岡", "JP", "Asia/Tokyo"),
        false => ("Mia", "Berg", "DE", "Europe/Berlin"),
    };
    let (lamp, record) =
        if japanese { ("和紙のランプ", "雨の日のピアノ") } else { ("Paper lamp", "Piano for rainy days") };
    let line = |sku: &str, name: &str, category: &str, quantity: i64, amount: i64| {
        json!({ "sku": sku, "name": name, "category": category, "quantity": quantity, "amount": amount,
                "url": format!("https://www.example.com/{sku}") })
    };
    json!({
        "customer": {
            "customer_id": "sample-1", "email": "mia.berg@example.com", "locale": locale,
            "first_name": first, "last_name": last, "country": country, "time_zone": zone,
        },
        "profile": {
            "orders": 6, "revenue": 48_900, "average_order": 8_150,
            "first_order_at": "2025-03-08T19:20:00+01:00", "last_order_at": "2026-07-02T21:05:00+02:00",
            "days_since_first_order": 626, "days_since_last_order": 145, "usual_gap_days": 62.5,
            "r": 2, "f": 4, "m": 4, "rfm": "at_risk", "lifecycle": "drifting", "top_category": "music",
            "last_viewed": { "sku": "lamp-2", "name": lamp, "category": "light", "price": 5_400,
                             "url": "https://www.example.com/lamp-2" },
            "open_tickets": 1, "last_rating": 2.0,
        },
        "order": {
            "order_id": "o-1042", "ordered_at": "2026-07-02T21:05:00+02:00", "total": 9_200, "currency": "EUR",
            "lines": [line("rec-7", record, "music", 2, 3_800), line("lamp-2", lamp, "light", 1, 5_400)],
        },
        "loyalty": { "reached": 42_000, "tier": "silver", "next_tier": "gold", "to_next": 8_000,
                     "falls_on": "2026-12-20", "falls_to": "bronze", "to_keep": 3_000 },
        "cart": {
            "updated_at": "2026-11-23T18:40:00+01:00",
            "items": [
                { "sku": "lamp-2", "name": lamp, "category": "light", "price": 5_400, "quantity": 1,
                  "url": "https://www.example.com/lamp-2", "image": "https://www.example.com/lamp-2.jpg" },
                { "sku": "rec-7", "name": record, "category": "music", "price": 1_900, "quantity": 2,
                  "url": "https://www.example.com/rec-7", "image": "https://www.example.com/rec-7.jpg" },
            ],
        },
        "today": TODAY,
    })
}

/// A person of whom only what everybody has is known: no name, no order.
pub fn sample_stranger(locale: &str) -> Value {
    json!({
        "customer": { "customer_id": "sample-2", "email": "someone@example.net", "locale": locale },
        "profile": { "orders": 0, "revenue": 0, "lifecycle": "lead", "open_tickets": 0 },
        "loyalty": { "reached": 0 },
        "today": TODAY,
    })
}

/// So many products recommended to the person of whom everything is known, by these strategies in turn.
pub fn sample_recommended(locale: &str, count: usize, strategies: &[&str]) -> Value {
    let japanese = locale.to_ascii_lowercase().starts_with("ja");
    let had = [
        ("rec-7", "Piano for rainy days", "雨の日のピアノ", "music", 1_900),
        ("lamp-2", "Paper lamp", "和紙のランプ", "light", 5_400),
    ];
    let new = [
        ("tea-1", "Roasted tea", "ほうじ茶", "tea", 1_250),
        ("rec-9", "Strings at night", "夜の弦楽", "music", 2_100),
        ("cup-4", "Small cup", "小さな湯呑", "tea", 1_790),
    ];
    let name = |english: &'static str, own: &'static str| if japanese { own } else { english };
    let recommended = |at: usize| {
        let strategy_of = |at: usize| strategies[at % strategies.len()];
        let strategy = strategy_of(at);
        let again = strategy == "again";
        let turn = (0..at).filter(|before| (strategy_of(*before) == "again") == again).count();
        let (sku, english, own, category, price) = if again { had[turn % had.len()] } else { new[turn % new.len()] };
        let because: Vec<&str> = match strategy {
            "discover" | "together" => had.iter().map(|(_, english, own, ..)| name(english, own)).collect(),
            _ => vec![],
        };
        json!({
            "sku": sku, "name": name(english, own), "category": category, "price": price,
            "url": format!("https://www.example.com/{sku}"), "image": format!("https://www.example.com/{sku}.jpg"),
            "strategy": strategy, "because": because, "bought": if again { 3 } else { 0 },
        })
    };
    (0..count).map(recommended).collect()
}

/// Give somebody invented what a step offers: as many products as it can, and its first reward.
pub(super) fn add_offers(person: &mut Value, wanted: &Wanted, locale: &str) {
    if let Some(pool) = wanted.rewards.as_ref().and_then(|r| r.pools.first()) {
        person["reward"] = pool.sample(locale, SAMPLE_DAY);
    }
    if let Some(recommends) = &wanted.recommends {
        person["recommend"] = sample_recommended(locale, recommends.at_most, &["again", "discover", "popular"]);
    }
}

/// So many of which only what every product has is known.
pub(super) fn sample_few_recommended(count: usize) -> Value {
    let few = |at: usize| {
        let sku = format!("sku-{}", at + 1);
        json!({ "sku": sku, "name": sku, "strategy": "popular", "because": [], "bought": 0 })
    };
    (0..count).map(few).collect()
}

/// The day samples are rendered on.
const TODAY: &str = "2026-11-24";
pub(super) const SAMPLE_DAY: jiff::civil::Date = jiff::civil::date(2026, 11, 24);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::fields::{self, CATALOGUE, Field};

    fn missing(fields: &[Field], value: &Value, path: &str, out: &mut Vec<String>) {
        for field in fields {
            let path = format!("{path}.{}", field.name);
            match value.get(field.name) {
                Some(v) => missing(field.fields, v, &path, out),
                None => out.push(path),
            }
        }
    }

    #[test]
    fn the_samples_hold_everything_and_as_little_as_there_can_be() {
        let mut out = Vec::new();
        for root in ["customer", "profile", "order", "loyalty", "cart"] {
            let catalogue = fields::find(&CATALOGUE, root).unwrap();
            missing(catalogue.fields, &sample_person("ja")[root], root, &mut out);
        }
        assert_eq!(out, Vec::<String>::new());
        let names = |v: &Value| v.as_object().unwrap().keys().map(String::as_str).collect::<Vec<_>>().join(" ");
        let stranger = sample_stranger("en");
        assert_eq!(names(&stranger), "customer profile loyalty today");
        assert_eq!(names(&stranger["customer"]), "customer_id email locale");
        assert_eq!(names(&stranger["profile"]), "orders revenue lifecycle open_tickets");
    }
}
