//! Experiments: who is held out is a matter of chance alone, the same at every run, and a split that is not what was asked for is told.

use okaeri::args;

use crate::ground::each_database;
use crate::ground::scenario::Scenario;
use crate::review::catcher;

const SPLIT: &str = "experiment:\n  split: { holdout: 40%, a: 30%, b: 30% }\n  goal: { did: order.placed, within: 1d }";

/// Customers by slot, and the arm they were in.
async fn arms(shop: &Scenario, slot: &str) -> Vec<(String, String)> {
    let db = shop.database().await;
    let sql = "SELECT m.customer_id, m.arm FROM message m WHERE m.slot = $1 ORDER BY m.customer_id";
    let rows = db.fetch_all(sql, args![slot]).await.unwrap();
    db.close().await;
    rows
}

#[tokio::test(flavor = "multi_thread")]
async fn arms_stay_as_they_are_when_secrets_rotate_and_files_are_renamed() {
    each_database(|url| async move {
        let catcher = catcher().await;
        let shop = Scenario::new(&url)
            .smtp(&catcher.url())
            .campaign("hello", SPLIT)
            .settings("holdout: { global: 10% }\n")
            .with_people(120)
            .await;
        shop.okaeri("send hello --slot one --quiet").await.exits(0);
        let first = arms(&shop, "one").await;
        for arm in ["holdout", "holdout_global", "a", "b"] {
            assert!(first.iter().filter(|(_, a)| a == arm).count() > 3, "{arm}: {first:?}");
        }
        let shop = shop.with("OKAERI_SECRET", "another secret of the scenario, as long");
        std::fs::rename(shop.path("campaigns/hello.yaml"), shop.path("campaigns/99-renamed.yaml")).unwrap();
        shop.okaeri("send hello --slot two --quiet").await.exits(0);
        assert_eq!(arms(&shop, "two").await, first);
        // Another name, said to be the same campaign.
        let text = std::fs::read_to_string(shop.path("campaigns/99-renamed.yaml")).unwrap();
        let text = text.replace("campaign: hello\n", "campaign: hello-again\nrenamed_from: hello\n");
        std::fs::write(shop.path("campaigns/99-renamed.yaml"), text).unwrap();
        shop.okaeri("send hello-again --slot three --quiet").await.exits(0);
        assert_eq!(arms(&shop, "three").await, first);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_split_that_is_not_what_was_asked_for_is_told() {
    each_database(|url| async move {
        let catcher = catcher().await;
        let shop = Scenario::new(&url).smtp(&catcher.url()).campaign("hello", SPLIT).with_people(200).await;
        shop.okaeri("send hello --quiet").await.exits(0);
        let note = "the arms do not have the shares of the split";
        let told = shop.okaeri("report hello").await.exits(0).stdout;
        assert!(!told.contains(note), "chance alone is no fault: {told}");
        // Something takes most of one arm away.
        let db = shop.database().await;
        db.execute("DELETE FROM entry WHERE arm = 'a' AND customer_id > 'p00040'", args![]).await.unwrap();
        db.close().await;
        let told = shop.okaeri("report hello").await.exits(0).stdout;
        assert!(told.contains(note), "{told}");
    })
    .await;
}
