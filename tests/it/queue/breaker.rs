//! Runs that are held because of what the servers answer, and let go on once somebody has mended it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use okaeri::args;
use okaeri::catcher::{Answer, Behaviour, ByRecipient, Moment, Stage};
use serde_json::json;

use super::{run_id, shop_of, states};
use crate::ground::each_database;
use crate::ground::mail::{by_recipient, catcher, deserted};
use crate::ground::scenario::Scenario;

/// So many people `a0…`, every tenth of whom has no mailbox any more.
async fn with_dead_mailboxes(shop: Scenario, people: usize) -> Scenario {
    let address = |i: usize| if i.is_multiple_of(10) { format!("hard+{i}") } else { format!("a{i}") };
    let rows: String = (0..people).map(|i| format!("a{i},{}@example.com,offers\n", address(i))).collect();
    shop.write("people.csv", format!("customer_id,email,consent\n{rows}"));
    shop.okaeri("import customers people.csv --quiet").await.exits(0);
    shop
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_dead_mailboxes_hold_their_run_and_no_other() {
    const PEOPLE: usize = 300;
    each_database(|url| async move {
        let catcher = by_recipient().await;
        let lenient = "stop_above: { hard_bounce: 20%, failed: 20% }";
        let shop = Scenario::new(&url).smtp(&deserted()).campaign("strict", "").campaign("lenient", lenient);
        let shop = with_dead_mailboxes(shop, PEOPLE).await;
        shop.okaeri("send strict --slot one --quiet").await.exits(5);
        shop.okaeri("send lenient --slot one --quiet").await.exits(5);
        let shop = shop.smtp(&catcher.url());
        let told = shop.json("work", 4).await;
        assert_eq!(told["ended"], "paused", "{told}");
        let why = told["reason"].as_str().unwrap();
        assert!(why.contains("said that there is no such mailbox; stop_above allows hard_bounce: 5%"), "{why}");
        let status = shop.json("queue status", 0).await;
        let run = |campaign: &str| {
            let runs = status["runs"].as_array().unwrap();
            runs.iter().find(|r| r["campaign"] == campaign).unwrap_or_else(|| panic!("{status}")).clone()
        };
        assert_eq!((&run("strict")["state"], &run("strict")["reason"]), (&json!("paused"), &json!(why)));
        assert_eq!(run("lenient")["state"], "drained", "the other went on to its end");
        let strict = run("strict")["run_id"].as_str().unwrap().to_owned();
        let db = shop.database().await;
        let sent: (i64,) = db
            .fetch_one(
                "SELECT COUNT(*) FROM delivery WHERE run_id = $1 AND state IN ('accepted', 'failed')",
                args![&strict],
            )
            .await
            .unwrap();
        assert!((100..=140).contains(&sent.0), "{} answers before it was held", sent.0);
        // Nothing of it leaves until somebody has looked; then the count begins anew.
        shop.okaeri("send strict --slot one").await.exits(4);
        shop.okaeri(&format!("queue resume {strict}")).await.exits(0);
        let again = shop.okaeri("work").await;
        let rest: (i64,) = db
            .fetch_one(
                "SELECT COUNT(*) FROM delivery WHERE run_id = $1 AND state IN ('pending', 'committed')",
                args![&strict],
            )
            .await
            .unwrap();
        match again.code() {
            0 => assert_eq!(rest.0, 0),
            4 => assert!(rest.0 <= 100, "{rest:?}"),
            _ => panic!("{again:?}"),
        }
        shop.okaeri("queue verify").await.exits(0);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_run_is_taken_up_again_by_the_process_that_held_it() {
    struct Slow(ByRecipient);
    impl Behaviour for Slow {
        fn answer(&self, moment: &Moment<'_>) -> Answer {
            match moment.stage {
                Stage::EndOfData => Answer::store_then_wait(Duration::from_millis(10)),
                _ => self.0.answer(moment),
            }
        }
    }
    each_database(|url| async move {
        let catcher = catcher(Arc::new(Slow(ByRecipient::standard()))).await;
        let lenient = "stop_above: { hard_bounce: 20%, failed: 20% }";
        let shop = Scenario::new(&url).smtp(&deserted()).campaign("strict", "").campaign("lenient", lenient);
        let shop = with_dead_mailboxes(shop, 800).await;
        // Each run has two chunks; the one that is held is due first.
        shop.okaeri("send strict --slot one --quiet").await.exits(5);
        shop.okaeri("send lenient --slot one --quiet").await.exits(5);
        let shop = shop.smtp(&catcher.url());
        let work = shop.start("work --quiet");
        let db = shop.database().await;
        let strict = async || -> (String, String) {
            db.fetch_one("SELECT run_id, state FROM run WHERE campaign = 'strict'", args![]).await.unwrap()
        };
        let answered = async || -> i64 {
            let sql = "SELECT COUNT(*) FROM delivery d JOIN run r ON r.run_id = d.run_id \
                       WHERE r.campaign = 'strict' AND d.state IN ('accepted', 'failed')";
            db.fetch_one::<(i64,)>(sql, args![]).await.unwrap().0
        };
        while strict().await.1 != "paused" {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let first = answered().await;
        shop.okaeri(&format!("queue resume {}", strict().await.0)).await.exits(0);
        let ended = work.end().await.exits(4);
        assert!(answered().await >= first + 100, "it went on until it was held again: {first}, {ended:?}");
        assert_eq!(strict().await.1, "paused");
        shop.okaeri("queue verify").await.exits(0);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn policy_refusals_in_a_row_stop_everything_until_they_are_mended() {
    each_database(|url| async move {
        let names: Vec<String> = (0..24).map(|i| format!("p{i}")).collect();
        let blocked = Answer::reply(550, "5.7.26", "Mail from example.com is not authenticated");
        let behaviour = names.iter().fold(ByRecipient::new(), |b, name| b.times(name, Stage::Rcpt, 1, blocked.clone()));
        let catcher = catcher(Arc::new(behaviour)).await;
        let shop = shop_of(&url, &catcher.url(), &names.iter().map(String::as_str).collect::<Vec<_>>()).await;
        let told = shop.json("send hello --slot one", 4).await;
        let why = told["delivery"]["reason"].as_str().unwrap();
        let words = "mails in a row (other) were refused because of us, and none was taken there for a day; the last: 550 5.7.26";
        assert!(why.contains(words), "{why}");
        let failed = told["delivery"]["totals"]["failed"].as_u64().unwrap();
        assert!((3..=6).contains(&failed), "{failed} were refused before it stopped");
        assert_eq!(told["delivery"]["totals"]["accepted"], 0);
        shop.okaeri("send hello --slot one").await.exits(4);
        // The rest is blocked once as well; mended means here that each was asked once.
        let run = run_id(&shop).await;
        let mut stops = 0;
        loop {
            shop.okaeri(&format!("queue resume {run}")).await.exits(0);
            match shop.okaeri("work").await.code() {
                4 => stops += 1,
                0 => break,
                code => panic!("{code}"),
            }
        }
        assert!((3..=8).contains(&stops), "{stops}");
        shop.okaeri(&format!("queue retry --run {run} --evidence dkim --by kay")).await.exits(0);
        shop.okaeri("work").await.exits(0);
        assert_eq!(catcher.mails().len(), 24);
        assert_eq!(states(&shop.database().await).await, [("accepted".to_owned(), 24)]);
        shop.okaeri("queue verify").await.exits(0);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_run_that_is_refused_because_of_us_is_held_and_sent_once_it_is_mended() {
    each_database(|url| async move {
        let blocked = Answer::reply(550, "5.7.26", "Mail from example.com is not authenticated");
        let behaviour = ["ann", "bob"]
            .iter()
            .fold(ByRecipient::new(), |b, name| b.times(name, Stage::Rcpt, 1, blocked.clone()))
            .on("policy", Stage::Rcpt, blocked);
        let catcher = catcher(Arc::new(behaviour)).await;
        let shop = shop_of(&url, &catcher.url(), &["ann", "bob"]).await;
        let told = shop.okaeri("send hello --slot one").await.exits(4).stdout;
        let run = run_id(&shop).await;
        for words in [
            "2 refused for good",
            "paused: 2 mails were refused because of us, and nothing was taken for a day; the last: 550 5.7.26 Mail from",
            &format!("mend it, then: okaeri queue resume {run}, and okaeri work"),
            &format!("what was refused is sent again by: okaeri queue retry --run {run}"),
        ] {
            assert!(told.contains(words), "{words}: {told}");
        }
        // Once is enough: nothing of it is left to be held back. Its slot stays held.
        shop.okaeri("work").await.exits(0);
        shop.okaeri("send hello --slot one").await.exits(4);
        assert_eq!(shop.json("queue status", 0).await["runs"][0]["state"], "paused");
        let retried = shop.okaeri(&format!("queue retry --run {run} --evidence spf --by kay")).await.exits(0).stdout;
        let paused = format!("2 will be sent again when their run goes on\n  it is paused: okaeri queue resume {run}, then okaeri work\n");
        assert_eq!(retried, paused);
        shop.okaeri("work").await.exits(4);
        shop.okaeri(&format!("queue resume {run}")).await.exits(0);
        shop.okaeri("work").await.exits(0);
        assert_eq!(catcher.mails().len(), 2);
        assert_eq!(states(&shop.database().await).await, [("accepted".to_owned(), 2)]);
        shop.okaeri("queue verify").await.exits(0);
        // With one that was taken today, a single refusal is that receiver's.
        shop.write("more.csv", "customer_id,email,consent\npolicy,policy@example.com,offers\n");
        shop.okaeri("import customers more.csv --quiet").await.exits(0);
        shop.okaeri("send hello --slot two").await.exits(0);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_breaker_counts_the_answers_of_all_workers() {
    const PEOPLE: usize = 400;
    each_database(|url| async move {
        let catcher = by_recipient().await;
        let shop = Scenario::new(&url).smtp(&deserted()).campaign("hello", "");
        let shop = with_dead_mailboxes(shop, PEOPLE).await;
        shop.okaeri("send hello --slot one --quiet").await.exits(5);
        let shop = shop.smtp(&catcher.url());
        let (a, b) = tokio::join!(shop.okaeri("work"), shop.okaeri("work"));
        // The other finds a run that is held; on SQLite it may have waited for the first in vain.
        let codes = BTreeSet::from([a.code(), b.code()]);
        assert!(codes.contains(&4) && codes.is_subset(&[4, 75].into()), "{a:?} {b:?}");
        shop.okaeri("work").await.exits(4);
        let status = shop.json("queue status", 0).await;
        assert_eq!(status["runs"][0]["state"], "paused", "{status}");
        shop.okaeri("queue verify").await.exits(0);
    })
    .await;
}
