//! A login that may only read, as jobs of pull requests should have: every verb that looks works with it, and nothing is written.

use crate::ground::postgres::{self, Reader};
use crate::ground::scenario::Scenario;

/// Everything that looks.
const LOOKS: [&str; 17] = [
    "plan hello",
    "plan hello --format markdown",
    "segment list",
    "segment show regulars",
    "segment explain regulars --customer p00001",
    "segment overlap",
    "segment sample regulars",
    "customer show p00001",
    "campaign list",
    "calendar",
    "report",
    "report cohorts",
    "report flows --from 2026-01-01",
    "why p00001",
    "queue status",
    "queue list",
    "queue verify",
];

async fn shop(url: &str) -> Scenario {
    let shop = Scenario::new(url)
        .segment("regulars", "{ customer: orders, gte: 0 }")
        .campaign("hello", "audience: { in_segment: regulars }\nschedule: { every: day 09:00 }")
        .campaign("cross", "")
        .with_people(12)
        .await;
    let steps = "steps: [{ step: letter, template: cross/letter, recommend: { strategy: popular, count: 2 } }]";
    let head = "campaign: cross\nstatus: live\ntopic: offers\naudience: everyone\n";
    shop.write("campaigns/cross.yaml", format!("{head}{steps}\n"));
    shop.okaeri("profile --quiet").await.exits(0);
    shop
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_may_only_read_is_enough_to_look() {
    let database = postgres::fresh_database().await;
    let mut shop = shop(&database.url).await;
    let reader = Reader::of(&database).await;
    for may_create in [false, true] {
        if may_create {
            reader.may_create().await;
        }
        shop = shop.with("DATABASE_URL", &reader.url);
        for line in LOOKS {
            let told = shop.okaeri(line).await.exits(0);
            assert!(!told.stderr.contains("denied"), "{line}: {}", told.stderr);
        }
    }
    let listed = shop.json("segment list", 0).await;
    assert_eq!(listed["segments"][0]["people"], 12, "decided anew, without being kept");

    let unlearnt = shop.okaeri("plan cross").await.exits(0).stderr;
    assert!(unlearnt.contains("this login may not keep what is learnt of recommendations"), "{unlearnt}");

    // Whatever writes says why it cannot.
    let sent = shop.okaeri("import customers people.csv").await.exits(5);
    assert!(sent.stderr.contains("permission denied for table"), "{}", sent.stderr);

    // A schema of another version: neither is it changed, nor is it taken for ours.
    reader.may_not_create().await;
    reader.owner(&["DELETE FROM _sqlx_migrations WHERE version = (SELECT MAX(version) FROM _sqlx_migrations)"]).await;
    let behind = shop.okaeri("segment list").await.exits(5).stderr;
    assert!(behind.contains("not that of this version of okaeri, and this login may not change it"), "{behind}");
    assert!(behind.contains("okaeri doctor"), "{behind}");
    database.remove().await;
    reader.remove().await;
}
