//! Ending a run for good, beside workers and planners.

use std::sync::Arc;
use std::time::Duration;

use okaeri::args;
use okaeri::catcher::{Answer, Behaviour, ByRecipient, Moment, Stage};
use okaeri::clock;
use okaeri::queue::{planner, run};
use serde_json::json;

use super::{hasten, message_of, run_id, shop_of, states};
use crate::ground::each_database;
use crate::ground::mail::{by_recipient, catcher, deserted};

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_run_sends_nothing_more() {
    each_database(|url| async move {
        let catcher = by_recipient().await;
        let shop = shop_of(&url, &deserted(), &["ann", "bob", "greylist"]).await;
        shop.okaeri("send hello --slot one").await.exits(5);
        let run = run_id(&shop).await;
        let told = shop.json(&format!("queue cancel {run} --reason typo"), 0).await;
        assert_eq!(told["cancelled"], 3, "{told}");
        let shop = shop.smtp(&catcher.url());
        shop.okaeri("work").await.exits(0);
        shop.okaeri("send hello --slot one").await.exits(0);
        assert_eq!(catcher.mails().len(), 0);
        assert_eq!(states(&shop.database().await).await, [("cancelled".to_owned(), 3)]);
        shop.okaeri("queue verify").await.exits(0);
        let status = shop.json("queue status", 0).await;
        assert_eq!((&status["runs"][0]["state"], &status["runs"][0]["reason"]), (&json!("cancelled"), &json!("typo")));
        let again = shop.okaeri(&format!("queue cancel {run}")).await.exits(2);
        assert!(again.stderr.contains("is cancelled and cannot become cancelled"), "{}", again.stderr);
        shop.okaeri(&format!("queue resume {run}")).await.exits(2);
        shop.okaeri("queue cancel nothing").await.exits(2);
        let (_, id) = message_of(&shop, "ann").await;
        shop.okaeri(&format!("queue retry {id} --by ann")).await.exits(2);
        // A deferred one is cancelled too, and what was accepted stays so.
        shop.okaeri("send hello --slot two").await.exits(75);
        let run = run_id(&shop).await;
        assert_eq!(shop.json(&format!("queue cancel {run}"), 0).await["cancelled"], 1);
        hasten(&shop.database().await).await;
        shop.okaeri("work").await.exits(0);
        assert_eq!(states(&shop.database().await).await, [("accepted".into(), 2), ("cancelled".into(), 4)]);
        shop.okaeri("queue verify").await.exits(0);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_begun_to_be_cancelled_is_cancelled_by_the_next_start() {
    each_database(|url| async move {
        let catcher = catcher(Arc::new(ByRecipient::new())).await;
        let shop = shop_of(&url, &deserted(), &["ann", "bob"]).await;
        shop.okaeri("send hello --slot one").await.exits(5);
        // The process that cancelled was killed after its first statement.
        let db = shop.database().await;
        db.execute("UPDATE run SET state = 'cancelled'", args![]).await.unwrap();
        shop.okaeri("queue verify").await.exits(2);
        let shop = shop.smtp(&catcher.url());
        shop.okaeri("work").await.exits(0);
        assert_eq!(states(&db).await, [("cancelled".to_owned(), 2)]);
        shop.okaeri("queue verify").await.exits(0);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cancelling_beside_workers_leaves_each_message_sent_or_cancelled() {
    each_database(|url| async move {
        const PEOPLE: usize = 400;
        let names: Vec<String> = (0..PEOPLE).map(|i| format!("p{i}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        struct Slow;
        impl Behaviour for Slow {
            fn answer(&self, moment: &Moment<'_>) -> Answer {
                match moment.stage {
                    Stage::EndOfData => Answer::store_then_wait(Duration::from_millis(15)),
                    _ => Answer::agree(),
                }
            }
        }
        let catcher = catcher(Arc::new(Slow)).await;
        let shop = shop_of(&url, &deserted(), &names).await;
        shop.okaeri("send hello --slot one --quiet").await.exits(5);
        let run = run_id(&shop).await;
        let shop = shop.smtp(&catcher.url());
        let workers = [shop.start("work --quiet"), shop.start("work --quiet")];
        while catcher.counts().messages < 40 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        shop.okaeri(&format!("queue cancel {run}")).await.exits(0);
        for worker in workers {
            let ended = worker.end().await;
            assert!(matches!(ended.code(), 0 | 75), "{ended:?}"); // 75: on SQLite one of them waited for the other
        }
        let db = shop.database().await;
        let all = states(&db).await;
        let of = |state: &str| all.iter().find(|(s, _)| s == state).map_or(0, |(_, n)| *n);
        assert_eq!(of("accepted") + of("cancelled"), PEOPLE as i64, "{all:?}");
        assert!(of("cancelled") > 0 && of("accepted") >= 40, "{all:?}");
        assert_eq!(catcher.mails().len() as i64, of("accepted"));
        shop.okaeri("queue verify").await.exits(0);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_not_cancelled_under_its_planner_and_its_planner_writes_no_more() {
    each_database(|url| async move {
        let catcher = catcher(Arc::new(ByRecipient::new())).await;
        let shop = shop_of(&url, &deserted(), &["ann", "bob"]).await;
        shop.okaeri("send hello --slot one").await.exits(5);
        // As if its planner were still at it, in the middle of the buckets.
        let (db, run) = (shop.database().await, run_id(&shop).await);
        db.execute("UPDATE run SET state = 'enqueuing', next_bucket = 500", args![]).await.unwrap();
        let lease = planner::take(&db, clock::now()).await.unwrap().unwrap();
        let busy = shop.okaeri(&format!("queue cancel {run}")).await.exits(75);
        assert!(busy.stderr.contains("is being planned at this moment"), "{busy:?}");
        lease.release(&db).await.unwrap();
        let note = async |range| {
            let mut tx = db.begin().await.unwrap();
            let noted = run::note_enqueued(&mut tx, &run, range, 0, clock::now()).await.unwrap();
            tx.rollback().await.unwrap();
            noted
        };
        assert!(note((500, 600)).await);
        assert!(!note((400, 500)).await, "another planner wrote these buckets");
        shop.okaeri(&format!("queue cancel {run}")).await.exits(0);
        assert!(!note((500, 600)).await, "a planner that wakes up finds it cancelled");
        let shop = shop.smtp(&catcher.url());
        shop.okaeri("send hello --slot one").await.exits(0);
        shop.okaeri("work").await.exits(0);
        assert_eq!(catcher.mails().len(), 0);
        assert_eq!(states(&db).await, [("cancelled".to_owned(), 2)]);
    })
    .await;
}
