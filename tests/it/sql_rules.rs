//! Every statement keeps the rules of distributed SQL: those of random segments, and those the binary runs on the whole way of the data.
//!
//! Scenarios judge their statements wherever they are used; here one goes everywhere, so that a room whose statements nobody sees is
//! noticed, and so is an exception that nobody needs.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use okaeri::catcher::{ByRecipient, Catcher, CatcherOptions};
use okaeri::db::{Db, Dialect};
use proptest::prelude::*;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::ground::emitted::{EXCEPTIONS, Emitted, needed, violations};
use crate::ground::scenario::Scenario;
use crate::ground::{each_database, skipped};
use crate::history::{self, NOW, for_cases};
use crate::segment::{library, rule};

#[tokio::test(flavor = "multi_thread")]
async fn statements_of_random_segments_keep_the_rules() {
    each_database(|url| async move {
        let db = Db::open(&url).await.unwrap();
        let settings = history::settings();
        history::write_customers(&db, 3).await;
        for_cases(48, prop::collection::vec(rule(), 1..20), async |rules: Vec<String>| {
            let library = library(&rules, &settings);
            let names: Vec<&str> = library.names().collect();
            let prepared = library.compile(&names, NOW, &settings).unwrap().prepare(&db).await.unwrap();
            for (sql, _) in prepared.statements() {
                let found = violations(db.dialect(), sql);
                assert!(found.is_empty(), "{found:#?}\n{rules:#?}\n{sql}");
            }
        });
        db.close().await;
    })
    .await;
}

/// Writes that the whole way cannot do without: what begins the statement, and its table.
const SEEN: [(&str, &str); 53] = [
    ("INSERT INTO", "customer"),
    ("INSERT INTO", "address"),
    ("DELETE FROM", "address"),
    ("INSERT INTO", "consent"),
    ("INSERT INTO", "product"),
    ("INSERT INTO", "customer_order"),
    ("DELETE FROM", "customer_order"),
    ("INSERT INTO", "order_ref"),
    ("INSERT INTO", "order_line"),
    ("UPDATE", "order_line"),
    ("INSERT INTO", "event"),
    ("INSERT INTO", "event_name"),
    ("INSERT INTO", "import_batch"),
    ("INSERT INTO", "dirty"),
    ("DELETE FROM", "dirty"),
    ("INSERT INTO", "profile_due"),
    ("INSERT INTO", "profile"),
    ("DELETE FROM", "profile"),
    ("INSERT INTO", "percentile"),
    ("INSERT INTO", "segment_rule"),
    ("INSERT INTO", "segment_bits"),
    ("INSERT INTO", "segment_due"),
    ("INSERT INTO", "segment_size"),
    ("INSERT INTO", "basket_due"),
    ("DELETE FROM", "basket_due"),
    ("INSERT INTO", "basket"),
    ("DELETE FROM", "basket"),
    ("INSERT INTO", "basket_product"),
    ("INSERT INTO", "basket_state"),
    ("INSERT INTO", "recommend_fit"),
    ("INSERT INTO", "product_sold"),
    ("INSERT INTO", "product_pair"),
    ("INSERT INTO", "suppression"),
    ("DELETE FROM", "suppression"),
    ("INSERT INTO", "lease"),
    ("DELETE FROM", "lease"),
    ("INSERT INTO", "template_snapshot"),
    ("INSERT INTO", "run"),
    ("UPDATE", "run"),
    ("INSERT INTO", "run_verdict"),
    ("INSERT INTO", "entry"),
    ("INSERT INTO", "skip"),
    ("INSERT INTO", "message"),
    ("INSERT INTO", "delivery"),
    ("UPDATE", "delivery"),
    ("UPDATE", "chunk"),
    ("INSERT INTO", "attempt"),
    ("INSERT INTO", "fact"),
    ("INSERT INTO", "reward_code"),
    ("UPDATE", "reward_code"),
    ("INSERT INTO", "reward_issue"),
    ("DELETE FROM", "reward_issue"),
    ("INSERT INTO", "loyalty_standing"),
];

#[tokio::test(flavor = "multi_thread")]
async fn the_whole_way_is_seen_and_every_exception_is_needed() {
    if !cfg!(debug_assertions) {
        return skipped("only debug builds write down their statements");
    }
    let all: Arc<Mutex<Vec<Emitted>>> = Arc::default();
    each_database(|url| {
        let all = all.clone();
        async move {
            let emitted = whole_way(&url).await;
            let engine = if url.starts_with("sqlite:") { Dialect::Sqlite } else { Dialect::Postgres };
            assert!(emitted.iter().all(|(on, _)| *on == engine));
            for (verb, table) in SEEN {
                let piece = format!("{verb} {table} ");
                assert!(
                    emitted.iter().any(|(_, sql)| sql.contains(&piece)),
                    "no statement on {engine:?} has `{piece}`"
                );
            }
            all.lock().unwrap().extend(emitted);
        }
    })
    .await;
    let all = all.lock().unwrap();
    let used: HashSet<usize> = all.iter().flat_map(|(engine, sql)| needed(*engine, sql)).collect();
    for (n, exception) in EXCEPTIONS.iter().enumerate() {
        assert!(used.contains(&n), "this exception is not needed: {}\n{}", exception.statement, exception.reason);
    }
}

/// A shop from its first file to a report, with everything that goes wrong on an ordinary day; the statements of all its processes.
async fn whole_way(url: &str) -> Vec<Emitted> {
    let options = CatcherOptions { behaviour: Arc::new(ByRecipient::standard()), ..CatcherOptions::default() };
    let catcher = Catcher::start(options).await.unwrap();
    let shop = Scenario::new(url)
        .smtp(&catcher.url())
        .settings(
            "guards: { frequency_cap: [{ messages: 9, in_last: 7d }] }\nrewards: { ten: { title: Ten } }\n\
             loyalty: { by: spend, in_last: 1y, tiers: { silver: 12 } }\n",
        )
        .segment("buyers", "{ any: [{ customer: orders, gte: 1 }, { customer: revenue, percentile: { gte: 50 } }] }")
        .segment("lookers", "{ all: [{ in_segment: buyers }, { did_not: product.viewed, in_last: 1d }] }")
        .campaign(
            "spring",
            "audience: { in_segment: buyers }\nonce_per: 30d\n\
             experiment: { split: { holdout: 40%, a: 60% }, goal: { did: order.placed, within: 14d, value: total } }",
        )
        .campaign("visit", "experiment: { split: { a: 100% }, goal: { did: product.viewed, within: 7d } }")
        .campaign("broken", "");
    shop.okaeri("profile").await.exits(0); // of nobody
    data_comes_in(&shop).await;
    people_are_looked_at(&shop).await;
    something_is_given(&shop).await;
    mail_goes_out(&shop).await;
    people_answer(&shop, &catcher).await;
    shop.okaeri("report spring").await.exits(0);
    shop.okaeri("report visit --slot one").await.exits(0);
    // The mail server is away; meanwhile somebody is never to be mailed again.
    let shop = shop.smtp(&format!("smtp://127.0.0.1:{}", deserted_port()));
    shop.okaeri("send visit --slot two").await.exits(5);
    shop.okaeri("suppress c08@example.com").await.exits(0);
    let shop = shop.smtp(&catcher.url());
    shop.okaeri("work").await.exits(75);
    if url.starts_with("sqlite:") {
        shop.okaeri("demo --dir demo --quiet").await.exits(0); // the demo knows no other engine
    }
    shop.statements()
}

async fn data_comes_in(shop: &Scenario) {
    shop.write("products.csv", "sku,name,category\nlamp,Lamp,light\nvase,Vase,home\n");
    let people: String = (0..12).map(|n| format!("c{n:02},c{n:02}@example.com,offers;news\n")).collect();
    let apart = "hard,hard@example.com,offers\ngreylist,greylist@example.com,offers\ntwin,c00@example.com,offers\n";
    shop.write("customers.csv", format!("customer_id,email,consent\n{people}{apart}"));
    shop.write("sizes.csv", "customer_id,size\nc07,XXL\n");
    shop.write("consents.csv", "customer_id,topic,granted,at\nc01,offers,no,2026-01-01\n");
    let orders: String = (0..12).map(|n| format!("o{n},c{n:02},2026-01-{:02},{}.00\n", n + 1, 10 + n)).collect();
    shop.write(
        "orders.csv",
        format!(
            "order_id,customer_id,ordered_at,total\n{orders}oh,hard,2026-01-02,5.00\nog,greylist,2026-01-02,5.00\n"
        ),
    );
    let line = |n: usize| format!("o{n},lamp,1,{}.00\no{n},vase,1,0.00\n", 10 + n);
    let lines: String = (0..12).map(line).collect();
    shop.write("lines.csv", format!("order_id,sku,quantity,amount\n{lines}"));
    let event = |n: usize, name: &str| {
        format!(
            "{{\"event_id\":\"e{n}\",\"customer_id\":\"c{n:02}\",\"name\":\"{name}\",\"at\":\"2026-01-05T10:00:00Z\",\"properties\":{{\"sku\":\"lamp\"}}}}\n"
        )
    };
    shop.write("events.jsonl", event(2, "product.viewed") + &event(3, "ticket.opened") + &event(4, "survey.nps"));
    shop.write("suppressions.csv", "address\nc05@example.com\n");
    let kinds = ["products", "customers", "consents", "orders", "lines", "events.jsonl", "suppressions"];
    let import = async || {
        for kind in kinds {
            let (kind, file) =
                kind.split_once('.').map_or((kind, format!("{kind}.csv")), |(k, _)| (k, kind.to_owned()));
            shop.okaeri(&format!("import {kind} {file}")).await.exits(0);
        }
    };
    import().await;
    shop.okaeri("import customers sizes.csv").await.exits(0);
    // The next day: a category, an address, an order's customer and a consent are others.
    shop.write("products.csv", "sku,name,category\nlamp,Lamp,home\n");
    shop.write("customers.csv", "customer_id,email,consent\nc00,new@example.com,offers\nc02,c02@example.com,\n");
    shop.write("orders.csv", "order_id,customer_id,ordered_at,total\no3,c04,2026-01-09,30.00\n");
    import().await;
}

async fn people_are_looked_at(shop: &Scenario) {
    for line in [
        "profile",
        "profile --full",
        "recommend fit",
        "recommend show --customer c03",
        "recommend backtest --as-of 2026-01-06",
        "segment list",
        "segment show lookers",
        "segment explain lookers --customer c03",
        "check",
        "campaign list",
        "plan spring",
        "preview spring",
        "suppress c06@example.com",
        "suppress c06@example.com --lift",
    ] {
        shop.okaeri(line).await.exits(0);
    }
}

/// A plan that gives something, and is dropped.
async fn something_is_given(shop: &Scenario) {
    let head = "campaign: gift\nstatus: live\ntopic: offers\naudience: { in_segment: buyers }\n";
    let steps = "steps: [{ step: letter, template: gift/letter, reward: ten }]\n";
    shop.write("campaigns/gift.yaml", format!("{head}{steps}"));
    let end = "{{ links.unsubscribe }} {{ brand.organisation }}, {{ brand.postal_address }}";
    shop.write("templates/gift/letter.html", format!("Subject: Gift\n\n<p>{{{{ reward.code }}}} {end}</p>"));
    shop.write("codes.csv", "code\nA-1\nA-2\nA-3\n");
    shop.okaeri("reward import ten codes.csv").await.exits(0);
    let saved = shop.json("plan gift --save", 0).await;
    shop.okaeri("reward list").await.exits(0);
    shop.okaeri("reward export ten").await.exits(0);
    let run = saved["run"]["run_id"].as_str().or(saved["run_id"].as_str()).unwrap_or_else(|| panic!("{saved}"));
    shop.okaeri(&format!("queue cancel {run}")).await.exits(0);
    std::fs::remove_file(shop.path("campaigns/gift.yaml")).unwrap();
}

async fn mail_goes_out(shop: &Scenario) {
    // One campaign cannot be written to one of them, so nothing of it leaves.
    let text = "{% if customer.size == \"XXL\" %}{{ customer.shoes }}{% endif %}{{ links.unsubscribe }}\n\
                {{ brand.organisation }}, {{ brand.postal_address }}\n";
    shop.write("templates/broken/letter.txt", text);
    let broken = shop.okaeri("send broken").await.exits(2);
    assert!(broken.stderr.contains("customer.shoes"), "{}", broken.stderr);
    shop.okaeri("send spring --slot one").await.exits(75); // a greylisted message remains
    shop.okaeri("send visit --slot one").await.exits(0);
    let status = shop.json("queue status", 0).await;
    let waiting = status["runs"]
        .as_array()
        .unwrap()
        .iter()
        .find(|r| r["state"] == "sending")
        .unwrap_or_else(|| panic!("{status}"));
    let run = waiting["run_id"].as_str().unwrap();
    shop.okaeri(&format!("queue pause {run}")).await.exits(0);
    shop.okaeri(&format!("queue resume {run}")).await.exits(0);
    shop.okaeri("work").await.exits(75);
    shop.okaeri("queue list --campaign spring").await.exits(0);
    shop.okaeri("queue verify").await.exits(0);
}

async fn people_answer(shop: &Scenario, catcher: &Catcher) {
    let mail = catcher.mails().into_iter().next().expect("some mail arrived");
    let text = String::from_utf8(mail.bytes.to_vec()).unwrap().replace("\r\n ", " ");
    let link = text.split("List-Unsubscribe: <https://mail.example.com").nth(1).unwrap().split('>').next().unwrap();
    let page = link.replace("/u/", "/p/");
    let mut server = shop.start("serve --listen 127.0.0.1:0");
    let address = server.says("listening on http://").await;
    for (request, path, body) in [
        ("GET", "/healthz", ""),
        ("GET", link, ""),
        ("POST", link, "List-Unsubscribe=One-Click"),
        ("POST", link, "List-Unsubscribe=One-Click"),
        ("POST", link, "do=undo_topic"),
        ("GET", &page, ""),
        ("POST", &page, "topic=offers&do=save"),
    ] {
        let mut stream = TcpStream::connect(&address).await.unwrap();
        let head = format!("{request} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n");
        let kind = "Content-Type: application/x-www-form-urlencoded";
        let whole = format!("{head}{kind}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        stream.write_all(whole.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 "), "{request} {path} {body}: {answer}");
    }
    server.signal("TERM").await;
    server.end().await.exits(0);
}

/// An address on this machine where nothing listens.
fn deserted_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[test]
fn the_lint_is_asked() {
    let told = violations(Dialect::Sqlite, "SELECT 1 FROM customer c JOIN event e ON e.customer_id = c.customer_id");
    assert_eq!(told.len(), 1, "{told:?}");
}
