//! Rewards: every code issued at most once, every mail shows its own, and what never left comes back.
//!
//! What a mail showed is read from the mail server's own store or log, never from the ledger alone.

use std::collections::{BTreeMap, BTreeSet};

use okaeri::args;
use okaeri::catcher::{Catcher, CatcherOptions};
use okaeri::db::Db;
use serde_json::Value;

use crate::ground::each_database;
use crate::ground::scenario::Scenario;

const TEXT: &str = "\
Take this: {{ reward.title }} {% if reward.code %}code={{ reward.code }};{% endif %}{% if reward.expires_on %}until={{ reward.expires_on }};{% endif %}

{{ links.unsubscribe }}
{{ brand.organisation }}, {{ brand.postal_address }}
";

/// A shop whose campaign `hello` gives what `reward` says.
pub fn giving(url: &str, pools: &str, reward: &str, more: &str) -> Scenario {
    let shop = Scenario::new(url).settings(&format!("rewards:\n{pools}"));
    let steps = format!("steps: [{{ step: letter, template: hello/letter, reward: {reward} }}]\n{more}");
    let shop = shop.campaign("hello", "");
    let text = std::fs::read_to_string(shop.path("campaigns/hello.yaml")).unwrap();
    let rest: String = text.lines().filter(|l| !l.starts_with("steps:")).map(|l| format!("{l}\n")).collect();
    let keys: Vec<&str> = more.lines().filter_map(|l| l.split_once(':')).map(|(key, _)| key).collect();
    let rest: String = rest
        .lines()
        .filter(|l| !keys.iter().any(|key| l.starts_with(&format!("{key}:"))))
        .map(|l| format!("{l}\n"))
        .collect();
    shop.write("campaigns/hello.yaml", format!("{rest}{steps}\n"));
    shop.write("templates/hello/letter.txt", TEXT);
    shop
}

/// A file of so many codes.
pub fn codes(n: usize) -> String {
    let mut csv = "code\n".to_owned();
    (1..=n).for_each(|i| csv.push_str(&format!("KAZE-{i:06}\n")));
    csv
}

pub async fn brings_codes(shop: &Scenario, pool: &str, n: usize) {
    shop.write("codes.csv", codes(n));
    let imported = shop.json(&format!("reward import {pool} codes.csv"), 0).await;
    assert_eq!((&imported["added"], &imported["refused"]), (&n.into(), &0.into()), "{imported}");
}

/// Recipient → the code in the mail that the server stored.
pub fn shown(catcher: &Catcher) -> BTreeMap<String, String> {
    let mut shown = BTreeMap::new();
    for mail in catcher.mails() {
        let parsed = mail_parser::MessageParser::default().parse(mail.bytes.as_slice()).unwrap();
        let text = parsed.body_text(0).unwrap().into_owned();
        let code = text.split("code=").nth(1).unwrap_or_else(|| panic!("no code in {text}")).split(';').next().unwrap();
        let before = shown.insert(mail.envelope_to[0].clone(), code.to_owned());
        assert!(before.is_none(), "{} got two", mail.envelope_to[0]);
    }
    shown
}

/// What the ledger says: code → recipient, of the codes that are out.
async fn issued(db: &Db) -> BTreeMap<String, String> {
    let rows: Vec<(String, String)> = db
        .fetch_all(
            "SELECT i.code, m.address FROM reward_issue i JOIN delivery d ON d.bucket = i.bucket AND d.chunk_id = i.chunk_id AND d.seq = i.seq \
             JOIN message m ON m.bucket = d.bucket AND m.customer_id = d.customer_id AND m.chunk_id = d.chunk_id AND m.seq = d.seq \
             WHERE i.returned_at IS NULL",
            args![],
        )
        .await
        .unwrap();
    let n = rows.len();
    let issued: BTreeMap<String, String> = rows.into_iter().collect();
    assert_eq!(issued.len(), n, "no code is out twice");
    issued
}

async fn pool(shop: &Scenario, name: &str) -> Value {
    let listed = shop.json("reward list", 0).await;
    let pools = listed["pools"].as_array().unwrap();
    pools.iter().find(|p| p["pool"] == name).unwrap_or_else(|| panic!("{listed}")).clone()
}

#[track_caller]
fn numbers(pool: &Value, expected: (i64, i64, i64, i64)) {
    let n = |key: &str| pool[key].as_i64().unwrap();
    assert_eq!((n("left"), n("issued"), n("returned"), n("expired")), expected, "left, issued, returned, expired: {pool}");
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_gets_a_code_of_their_own_and_the_ledger_knows_whose() {
    each_database(|url| async move {
        let catcher = Catcher::start(CatcherOptions::default()).await.unwrap();
        let pools = "  ten: { title: { default: Ten off, ja: 十引き }, value: 10, cost: 4, expires: 30d }\n";
        let more = "experiment: { split: { holdout: 30%, a: 70% } }";
        let shop = giving(&url, pools, "ten", more).smtp(&catcher.url()).with_people(60).await;
        brings_codes(&shop, "ten", 100).await;
        let plan = shop.json("plan hello", 0).await;
        let send = plan["verdicts"]["send"].as_i64().unwrap();
        assert!(send > 20 && send < 60, "some are held out: {plan}");
        let expected = serde_json::json!([{ "pool": "ten", "needed": send, "left": 100, "cost": 400 * send }]);
        assert_eq!(plan["rewards"], expected, "{plan}");
        numbers(&pool(&shop, "ten").await, (100, 0, 0, 0)); // a plan takes nothing
        let told = shop.okaeri("plan hello").await.exits(0).stdout;
        assert!(told.contains("reward ten") && told.contains("of 100, "), "{told}");

        shop.json("send hello --slot one", 0).await;
        shop.json("send hello --slot one", 0).await;
        let shown = shown(&catcher);
        assert_eq!(shown.len() as i64, send);
        let distinct: BTreeSet<&String> = shown.values().collect();
        assert_eq!(distinct.len() as i64, send, "nobody shares a code");
        let db = shop.database().await;
        let issued = issued(&db).await;
        for (recipient, code) in &shown {
            assert_eq!(issued.get(code), Some(recipient), "{code}");
        }
        assert_eq!(issued.len(), shown.len(), "those held out get none");
        numbers(&pool(&shop, "ten").await, (100 - send, send, 0, 0));
        assert_eq!(pool(&shop, "ten").await["cost"], 400 * send);

        let csv = shop.okaeri("reward export ten").await.exits(0).stdout;
        let mut lines = csv.lines();
        assert_eq!(
            lines.next(),
            Some("pool,code,message_id,customer_id,campaign,step,slot,state,issued_at,expires_at")
        );
        let rows: Vec<Vec<&str>> = lines.map(|l| l.split(',').collect()).collect();
        assert_eq!(rows.len() as i64, send);
        for row in rows {
            assert_eq!(shown[&format!("{}@example.com", row[3])], row[1], "{row:?}");
            assert_eq!((row[0], row[4], row[5], row[6], row[7]), ("ten", "hello", "letter", "one", "accepted"));
        }
        shop.okaeri("reward export ten --output out.csv").await.exits(0);
        assert_eq!(std::fs::read_to_string(shop.path("out.csv")).unwrap(), csv);
        let verified = shop.json("queue verify", 0).await;
        assert_eq!(verified["findings"].as_array().map(Vec::len), Some(0), "{verified}");
        let report = shop.json("report hello", 0).await;
        assert_eq!(report["rewards"]["pools"][0]["issued"], send, "{report}");
    })
    .await;
}
