//! Learning the data contract: what `okaeri schema learn` finds on both databases, and what it does to the file.

use std::collections::BTreeMap;

use okaeri::data::Kind;
use okaeri::data::learn::{Comments, Proposal, ROWS_PER_EVENT_MAX, Survey, learn};
use okaeri::problem::Problems;
use okaeri::settings::contract::parse;
use okaeri::settings::{Contract, PropertyType};
use serde_json::{Value, json};

use crate::ground::each_database;
use crate::ground::scenario::Scenario;
use crate::import::shop::{SETTINGS, Shop};

fn contract(text: &str) -> Contract {
    let mut problems = Problems::new();
    let contract = parse("contract.yaml", text, &mut problems).filter(|_| problems.is_empty());
    contract.unwrap_or_else(|| panic!("{}\n{text}", problems.to_text()))
}

/// What is proposed, after a look at its file.
fn proposed(survey: Survey) -> (Contract, String) {
    let proposal = Proposal::of(survey, &Comments::default()).unwrap();
    assert_eq!(contract(proposal.text()), proposal.contract());
    (proposal.contract(), proposal.text().to_owned())
}

/// A line of an events file.
fn event(customer: usize, name: &str, minute: usize, properties: Value) -> String {
    let at = format!(
        "2026-{:02}-{:02}T{:02}:{:02}",
        1 + minute / 40_320,
        1 + minute / 1_440 % 28,
        minute / 60 % 24,
        minute % 60
    );
    json!({ "customer_id": format!("c{customer}"), "name": name, "at": at, "event_id": format!("{name}-{minute}"), "properties": properties })
        .to_string()
        + "\n"
}

const HOSTILE: [&str; 8] =
    ["都道府県", "#: [x] {y}, &a *b !c", "'single'", "quote\"d", "back\\slash", "line\nbreak\u{0}", "<<", " "];

#[tokio::test]
async fn what_is_learnt_is_what_was_imported() {
    each_database(|url| async move {
        let shop = Shop::open(&url, SETTINGS).await;
        shop.import(Kind::Products, "sku,name,category,price,colour,weight\nS1,土鍋,home,5400,black,2.5\nS2,Record,music,2800,,0.3\n").await;
        let mut customers = "customer_id,email,first_name,points,tier,zip,vip,birthday,colour\n".to_owned();
        for n in 0..60 {
            let tier = ["gold", "silver"][n % 2];
            let points = if n == 7 { "many" } else { "120.5" };
            customers += &format!("c{n},p{n}@example.com,P{n},{points},{tier},0{n:04},true,1990-02-{:02},{n}\n", 1 + n % 28);
        }
        shop.import(Kind::Customers, customers).await;
        let mut events = String::new();
        for n in 0..60 {
            events += &event(n, "product.viewed", n, json!({ "sku": "S1", "seconds": n, "seen_in": (["app", "web"][n % 2]) }));
            events += &event(n, "cart.updated", n, json!({ "amount": "2800", "skus": ["S1", "S2"], "mixed": if n == 3 { json!(true) } else { json!("x") } }));
        }
        events += &event(1, "ticket.closed", 1, json!({ "rating": 2, "nested": { "deep": 1 } }));
        events += &event(1, "newsletter.joined", 1, json!({}));
        let mut hostile: serde_json::Map<String, Value> = HOSTILE.iter().map(|n| ((*n).to_owned(), json!(1))).collect();
        hostile.insert("長".repeat(10_000), json!("x"));
        events += &event(2, "全部 # 'だめ'", 1, hostile.into());
        shop.import(Kind::Events, events).await;
        shop.db.execute("UPDATE customer SET erased_at = 1 WHERE customer_id = 'c59'", vec![]).await.unwrap();

        let survey = learn(&shop.db, None).await.unwrap();
        assert_eq!((survey.customer.there, survey.customer.looked_at), (59, 59), "whoever was forgotten is not looked at");
        let (learnt, text) = proposed(survey);
        let expected = contract(
            "customer: { points: text, tier: [gold, silver], zip: text, vip: flag, birthday: date, colour: number }\n\
             product: { colour: text, weight: number }\nevents:\n\
             \x20 product.viewed: { sku: text, category: text, seconds: number, seen_in: [app, web] }\n\
             \x20 cart.updated: { amount: money, skus: list, mixed: text }\n  ticket.closed: { rating: number, score: number }\n\
             \x20 newsletter.joined: {}\n\
             \x20 \"全部 # 'だめ'\": { 都道府県: number, '#: [x] {y}, &a *b !c': number, '''single''': number, ' ': number }\n",
        );
        assert_eq!(learnt, expected, "{text}");
        for told in [
            "  points: text  # seen as numbers (58) and text (1), in 59 of 59\n",
            "    mixed: text  # seen as true or false (1) and text (59), in 60 of 60\n",
            "    # seen but left out, because no rule can ask for objects: nested\n",
            "    # seen but left out, because no rule can ask for such names: <<",
            "  zip: text  # seen in 59 of 59, such as 99999\n",
            "  newsletter.joined: {}  # seen once\n",
        ] {
            assert!(text.contains(told), "{told}\n{text}");
        }
        assert!(!text.contains("example.com") && !text.contains("120.5"), "no value of anybody: {text}");

        let declared = contract(
            "customer: { points: number, tier: [gold], gone: text }\n\
             events: { product.viewed: { seconds: flag }, order.gifted: { to: text } }\n",
        );
        let survey = learn(&shop.db, Some(&declared)).await.unwrap();
        let proposal = Proposal::of(survey, &Comments::default()).unwrap();
        assert_eq!(proposal.disagreements(), 3);
        let kept = proposal.contract();
        assert_eq!(kept.customer["points"], PropertyType::Number);
        assert_eq!(kept.events["product.viewed"]["seconds"], PropertyType::Flag);
        assert_eq!(kept.events["product.viewed"].len(), 4, "what is new is added");
        assert_eq!(kept.events["order.gifted"]["to"], PropertyType::Text);
        for told in [
            "  tier: [gold]  # seen as other words (29), in 59 of 59\n",
            "  gone: text  # not seen in 59 looked at\n",
            "    seconds: flag  # seen as numbers, in 60 of 60\n",
            "  order.gifted:  # not seen\n    to: text  # not seen\n",
        ] {
            assert!(proposal.text().contains(told), "{told}\n{}", proposal.text());
        }
    })
    .await;
}

#[tokio::test]
async fn a_look_is_bounded_and_no_rare_event_is_missed() {
    each_database(|url| async move {
        let shop = Shop::open(&url, SETTINGS).await;
        let mut events = String::new();
        for n in 0..3_000 {
            events += &event(n % 700, "page.seen", n, json!({ "page": n }));
        }
        for n in 0..150 {
            events += &event(5, "door.opened", n, json!({ "n": n }));
        }
        for n in 0..5 {
            events += &event(100 * n, "moon.full", n, json!({ "n": true }));
        }
        events += &event(9, "letter.pasted", 1, json!({ "text": "x".repeat(20_000), "short": 1 }));
        shop.import(Kind::Events, events).await;
        let survey = learn(&shop.db, None).await.unwrap();
        let looked: BTreeMap<&str, (u64, u64)> =
            survey.events.iter().map(|(name, l)| (name.as_str(), (l.there, l.looked_at))).collect();
        assert_eq!(looked["page.seen"], (3_000, ROWS_PER_EVENT_MAX));
        assert_eq!(looked["door.opened"], (150, 100), "one customer is not the whole sample");
        assert_eq!(looked["moon.full"], (5, 5));
        assert_eq!(looked["letter.pasted"], (1, 0), "too large a row");
        let (_, text) = proposed(survey);
        assert!(text.contains("  page.seen:  # seen 3,000 times, 2,000 of them looked at\n"), "{text}");
        assert!(text.contains("0 of 0 products, 2,105 of 3,156 events\n"), "{text}");
    })
    .await;
}

#[tokio::test]
async fn nothing_imported_is_a_contract_of_nothing() {
    each_database(|url| async move {
        let shop = Shop::open(&url, SETTINGS).await;
        let (learnt, text) = proposed(learn(&shop.db, None).await.unwrap());
        assert_eq!(learnt, Contract::default(), "{text}");
        let names: Vec<String> = (0..600).map(|n| event(1, &format!("e{n:03}"), n, json!({}))).collect();
        shop.import(Kind::Events, names.concat() + &event(1, "e599", 999, json!({}))).await;
        let (learnt, text) = proposed(learn(&shop.db, None).await.unwrap());
        assert_eq!(learnt.events.len(), 500);
        assert!(learnt.events.contains_key("e599"), "the most frequent ones stay");
        assert!(text.contains("# seen but left out: 100 rarer events\n"), "{text}");
    })
    .await;
}

#[tokio::test]
async fn the_file_is_written_once_and_renewed_on_request() {
    let shop = Scenario::new("sqlite:.okaeri/okaeri.db");
    shop.write("customers.csv", "customer_id,email,points,city\nmia,mia@example.com,7,Hamburg\njo,jo@example.com,9,\n");
    shop.okaeri("import customers customers.csv --quiet").await.exits(0);
    let file = || std::fs::read_to_string(shop.path("contract.yaml")).unwrap();

    let printed = shop.okaeri("schema learn").await.exits(0);
    assert!(!shop.path("contract.yaml").exists(), "only printed");
    assert_eq!(printed.stderr, "to keep it: okaeri schema learn --write\n");
    let written = shop.okaeri("schema learn --write").await.exits(0);
    assert_eq!(
        written.stdout,
        "contract.yaml written: 2 attributes of customers, 0 attributes of products, 0 events\n"
    );
    assert_eq!(file(), printed.stdout);
    assert!(shop.okaeri("check").await.exits(0).stdout.ends_with("no problems\n"));

    let refused = shop.okaeri("schema learn --write").await.exits(2);
    assert!(refused.stderr.starts_with("error: there is already a contract.yaml\n"), "{}", refused.stderr);
    shop.okaeri("schema learn --force").await.exits(2);
    assert_eq!(file(), printed.stdout);

    shop.write("contract.yaml", "customer:\n  # of the till\n  points: flag\n  gone: date   # by hand\n");
    let renewed = shop.json("schema learn --write --force", 0).await;
    assert_eq!((&renewed["written"], &renewed["disagreements"]), (&json!("contract.yaml"), &json!(1)));
    assert_eq!(renewed["customer"]["attributes"]["points"]["unlike_declared"], 2);
    assert_eq!(
        renewed["customer"]["attributes"]["city"],
        json!({ "type": "text", "declared": false, "seen": 1, "seen_as": { "text": 1 }, "unlike_declared": 0 })
    );
    let customer = file();
    let customer = customer.split("customer:\n").nth(1).unwrap().split("product:").next().unwrap();
    assert_eq!(
        customer,
        "  city: text  # seen in 1 of 2, such as Aaaaaaa\n  gone: date  # by hand  # not seen in 2 looked at\n  # of the till\n\
         \x20 points: flag  # seen as numbers, in 2 of 2\n"
    );
    let said = shop.okaeri("schema learn --write --force").await.exits(0).stdout;
    assert!(said.ends_with("1 declared type does not fit all values: look for `seen as`\n"), "{said}");

    shop.write("contract.yaml", "customer: { points: nubmer }\n");
    let broken = shop.okaeri("schema learn --write --force").await.exits(2);
    assert!(broken.stderr.contains("did you mean `number`?"), "{}", broken.stderr);
    assert_eq!(file(), "customer: { points: nubmer }\n", "a broken file is mended by its author");

    std::fs::remove_file(shop.path("contract.yaml")).unwrap();
    let shop = shop.settings("contract: { customer: { points: number } }\n");
    let refused = shop.okaeri("schema learn --write").await.exits(2);
    assert!(refused.stderr.contains("stands in okaeri.yaml"), "{}", refused.stderr);
    let printed = shop.okaeri("schema learn").await.exits(0);
    assert!(printed.stdout.contains("  points: number  # seen in 2 of 2, such as 9\n"), "{}", printed.stdout);
    assert!(
        printed.stderr.starts_with("to keep it: put it in place of what is under `contract`"),
        "{}",
        printed.stderr
    );
}
