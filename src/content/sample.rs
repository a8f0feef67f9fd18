//! Invented people to try templates on: one of whom everything is known, and one of whom only what everybody has.

use serde_json::{Value, json};

use super::load::Wanted;
use crate::token::{Clicks, MessageKey, Tokens};

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

/// At most so many different products recommended to an invented person, by these strategies in turn: `again` what they bought last, as long
/// as there is any of it; the others what they do not have.
pub fn sample_recommended(person: &Value, count: usize, strategies: &[&str]) -> Value {
    sample_recommended_of(person, count, strategies, |_| true)
}

/// The same of categories that suit. Where nothing invented is of one, anything is shown.
pub fn sample_recommended_of(person: &Value, count: usize, strategies: &[&str], suits: impl Fn(&str) -> bool) -> Value {
    let locale = person["customer"]["locale"].as_str().unwrap_or_default();
    let japanese = locale.to_ascii_lowercase().starts_with("ja");
    let had = had(person);
    let any = !NEW.iter().any(|(.., category, _)| suits(category));
    let suits = |category: &str| any || suits(category);
    // Who bought nothing that suits is shown something that does, as if they had.
    let had_none = !had.iter().any(|product| product["category"].as_str().is_none_or(suits));
    let mut again = had.iter().filter(|product| product["category"].as_str().is_none_or(suits));
    let mut new = NEW.iter().filter(|(.., category, _)| suits(category));
    let mut out = Vec::new();
    let others: Vec<&str> = strategies.iter().copied().filter(|s| *s != "again").collect();
    for (turn, strategy) in strategies.iter().cycle().take(count).enumerate() {
        if *strategy == "again"
            && let Some(line) = again.next()
        {
            out.push(recommended(line.clone(), strategy, &[], 3));
            continue;
        }
        // Whoever bought nothing is shown what is popular; whoever has nothing left to buy again, what else there is.
        let by = match *strategy {
            _ if had.is_empty() => "popular",
            "again" if others.is_empty() && !had_none => break,
            "again" if others.is_empty() => "again",
            "again" => others[turn % others.len()],
            other => other,
        };
        let Some((sku, english, own, category, price)) = new.next() else { break };
        let because: &[Value] = if matches!(by, "discover" | "together") { &had } else { &[] };
        let name = if japanese { own } else { english };
        out.push(recommended(
            json!({ "sku": sku, "name": name, "category": category, "price": price }),
            by,
            because,
            if by == "again" { 3 } else { 0 },
        ));
    }
    out.into()
}

/// What an invented person bought last, each product once.
fn had(person: &Value) -> Vec<Value> {
    let mut had: Vec<Value> = Vec::new();
    for line in person["order"]["lines"].as_array().into_iter().flatten() {
        if had.iter().any(|known| known["sku"] == line["sku"]) {
            continue;
        }
        let mut product = json!({ "sku": line["sku"], "name": line["name"] });
        if let Some(category) = line["category"].as_str() {
            product["category"] = category.into();
        }
        if let Some((amount, quantity)) = line["amount"].as_i64().zip(line["quantity"].as_i64()) {
            product["price"] = (amount / quantity.max(1)).into();
        }
        had.push(product);
    }
    had
}

/// A product as a message carries it.
fn recommended(mut product: Value, strategy: &str, because: &[Value], bought: u32) -> Value {
    // What a person typed is never part of an address of ours.
    let sku: String = product["sku"]
        .as_str()
        .unwrap_or_default()
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || *c == '-')
        .collect();
    product["url"] = format!("https://www.example.com/{sku}").into();
    product["image"] = format!("https://www.example.com/{sku}.jpg").into();
    product["strategy"] = strategy.into();
    product["because"] = because.iter().map(|p| p["name"].clone()).collect();
    product["bought"] = bought.into();
    product
}

/// What nobody invented has bought: number, name in English and in Japanese, category, price in minor units.
const NEW: [(&str, &str, &str, &str, i64); 20] = [
    ("tea-1", "Roasted tea", "ほうじ茶", "tea", 1_250),
    ("rec-9", "Strings at night", "夜の弦楽", "music", 2_100),
    ("cup-4", "Small cup", "小さな湯呑", "tea", 1_790),
    ("lin-3", "Linen towel", "麻の手ぬぐい", "linen", 2_400),
    ("inc-2", "Cedar incense", "杉のお香", "incense", 1_400),
    ("lamp-5", "Reading lamp", "読書のあかり", "light", 7_900),
    ("pap-1", "Letter paper", "便箋", "paper", 980),
    ("rec-12", "A guitar in winter", "冬のギター", "music", 2_300),
    ("tea-6", "First green tea", "新茶", "tea", 1_850),
    ("lin-8", "Wool blanket", "ウールの膝掛け", "linen", 6_400),
    ("inc-5", "Plum incense", "梅のお香", "incense", 1_600),
    ("lamp-7", "Brass lantern", "真鍮のランタン", "light", 8_800),
    ("pap-4", "Bound notebook", "和綴じの帳面", "paper", 1_300),
    ("rec-15", "Songs for two voices", "ふたりの歌", "music", 2_200),
    ("tea-9", "Iron kettle", "鉄瓶", "tea", 9_600),
    ("lin-11", "Linen apron", "麻の前掛け", "linen", 4_200),
    ("inc-8", "Incense dish", "香皿", "incense", 1_900),
    ("lamp-9", "Candle holder", "燭台", "light", 3_100),
    ("pap-6", "Wrapping paper", "包み紙", "paper", 760),
    ("rec-18", "The sea, in one take", "海の一枚", "music", 2_500),
];

/// Give somebody invented what a step offers: as many products as it can, and its first reward.
pub(super) fn add_offers(person: &mut Value, wanted: &Wanted, locale: &str) {
    if let Some(pool) = wanted.rewards.as_ref().and_then(|r| r.pools.first()) {
        person["reward"] = pool.sample(locale, SAMPLE_DAY);
    }
    if let Some(recommends) = &wanted.recommends {
        person["customer"]["locale"] = locale.into();
        person["recommend"] = sample_recommended(person, recommends.at_most, &["again", "discover", "popular"]);
    }
}

/// Signs the links of a mail that is only weighed. Its message's names are as long as those of most.
pub fn sample_clicks() -> Clicks {
    let named = |name: &str, length: usize| name.chars().cycle().take(length).collect();
    Tokens::new("for weighing, never for sending").clicks(&MessageKey {
        customer_id: named("customer-", 24),
        campaign: named("campaign-", 16),
        step: named("step-", 12),
        slot: named("2026-11-24T09:00", 16),
        topic: named("topic-", 10),
    })
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

    #[test]
    fn what_is_bought_again_is_of_the_categories_that_a_step_asks_for() {
        let of = |category: &str, strategies: &[&str]| -> Vec<(String, u64)> {
            let list = sample_recommended_of(&sample_person("en"), 3, strategies, |c| c == category);
            let told = |p: &Value| (p["category"].as_str().unwrap().to_owned(), p["bought"].as_u64().unwrap());
            list.as_array().unwrap().iter().map(told).collect()
        };
        assert_eq!(of("light", &["again"]), [("light".to_owned(), 3)]);
        assert_eq!(of("tea", &["again"]), vec![("tea".to_owned(), 3); 3]);
        assert_eq!(of("tea", &["popular"]), vec![("tea".to_owned(), 0); 3]);
        assert_eq!(of("cars", &["again"]).len(), 2, "what nobody invented has is not asked for");
    }

    #[test]
    fn what_is_recommended_is_different_each_and_again_is_what_they_had() {
        let skus = |person: &Value, count, strategies: &[&str]| {
            let list = sample_recommended(person, count, strategies);
            let skus: Vec<String> =
                list.as_array().unwrap().iter().map(|p| p["sku"].as_str().unwrap().to_owned()).collect();
            assert_eq!(skus.iter().collect::<std::collections::BTreeSet<_>>().len(), skus.len(), "{skus:?}");
            skus
        };
        let mut person = sample_person("en");
        assert_eq!(skus(&person, 20, &["discover", "popular"]).len(), 20);
        assert_eq!(skus(&person, 4, &["again", "popular"]), ["rec-7", "tea-1", "lamp-2", "rec-9"]);
        // No more can be bought again than was bought; what else a step asks for takes its place.
        assert_eq!(skus(&person, 4, &["again"]), ["rec-7", "lamp-2"]);
        assert_eq!(skus(&person, 8, &["again", "popular"]).len(), 8);
        person["order"]["lines"] = json!([{ "sku": "x\"><b>", "name": "Mine", "quantity": 2, "amount": 300 }]);
        let list = sample_recommended(&person, 2, &["again", "discover"]);
        assert_eq!(
            (&list[0]["name"], &list[0]["price"], &list[0]["url"]),
            (&json!("Mine"), &json!(150), &json!("https://www.example.com/xb"))
        );
        assert_eq!(list[1]["because"], json!(["Mine"]));
        let stranger = sample_recommended(&sample_stranger("ja"), 2, &["again", "discover"]);
        assert_eq!((&stranger[0]["strategy"], &stranger[1]["name"]), (&json!("popular"), &json!("夜の弦楽")));
    }

    #[test]
    fn the_objects_that_not_everybody_has_are_those_the_stranger_lacks() {
        let stranger = sample_stranger("en");
        for root in ["order", "cart", "reward", "profile.last_viewed"] {
            assert!(fields::is_of_some(root) && stranger.pointer(&format!("/{}", root.replace('.', "/"))).is_none());
        }
        assert!(["customer", "profile", "loyalty"].iter().all(|r| !fields::is_of_some(r) && stranger.get(r).is_some()));
    }
}
