//! The first wave: some go first, the rest waits until the wait is over and nothing looks wrong. And complaints, which hold a run with or without one.

use std::collections::BTreeSet;
use std::sync::Arc;

use okaeri::args;
use okaeri::catcher::{Answer, ByRecipient, Catcher, Stage};
use okaeri::clock;
use okaeri::db::{Db, bucket_of};
use okaeri::feedback::{self, Fact};
use okaeri::token::MessageKey;
use serde_json::Value;

use crate::ground::each_database;
use crate::ground::mail::{self, at, by_recipient, deserted};
use crate::ground::scenario::Scenario;

const WAVE: &str = "first_wave: { size: 30, wait: 30m }";

fn recipients(catcher: &Catcher) -> BTreeSet<String> {
    catcher.mails().into_iter().flat_map(|m| m.envelope_to).collect()
}

/// The wait of every wave that has left is over.
async fn wait_is_over(db: &Db) {
    db.execute("UPDATE run SET wave_until_at = 1 WHERE wave_until_at IS NOT NULL", args![]).await.unwrap();
}

async fn run_of(shop: &Scenario) -> Value {
    shop.json("queue status", 0).await["runs"][0].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rest_follows_the_first_wave_when_the_wait_is_over() {
    each_database(|url| async move {
        let catcher = by_recipient().await;
        let shop = Scenario::new(&url).smtp(&catcher.url()).campaign("hello", WAVE).with_people(100).await;
        let plan = shop.okaeri("plan hello").await.exits(0).stdout;
        assert!(plan.contains("30  first wave") && plan.contains("70 follow 30m later"), "{plan}");
        assert_eq!(shop.json("plan hello", 0).await["first_wave"]["rest"], 70);
        let sent = shop.json("send hello", 75).await;
        assert_eq!(sent["delivery"]["totals"]["accepted"], 30, "{sent}");
        let status = run_of(&shop).await;
        let wave = &status["first_wave"];
        assert_eq!((&wave["messages"], &wave["rest"], &wave["rest_from_at"]), (&30.into(), &70.into(), &Value::Null));
        assert_eq!(status["next_due_at"], wave["until_at"], "the rest is due when the wait is over");
        assert!(wave["until_at"].as_i64().unwrap() > clock::now() + 29 * clock::MINUTE, "{wave}");
        let told = shop.okaeri("queue status").await.exits(0).stdout;
        assert!(told.contains("first wave of 30 has left; 70 wait until "), "{told}");
        // Whoever asks before: nothing leaves.
        shop.okaeri("work").await.exits(75);
        shop.okaeri("send hello").await.exits(75);
        let first = recipients(&catcher);
        assert_eq!(first.len(), 30);
        wait_is_over(&shop.database().await).await;
        shop.okaeri("work").await.exits(0);
        assert_eq!((catcher.counts().messages, recipients(&catcher).len()), (100, 100), "everyone, once");
        assert_eq!(run_of(&shop).await["state"], "drained");
        shop.okaeri("queue verify").await.exits(0);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_no_larger_than_its_wave_does_not_wait() {
    each_database(|url| async move {
        let catcher = by_recipient().await;
        let shop = Scenario::new(&url).smtp(&catcher.url()).campaign("hello", WAVE).with_people(30).await;
        assert!(!shop.okaeri("plan hello").await.exits(0).stdout.contains("first wave"));
        shop.okaeri("send hello").await.exits(0);
        assert_eq!((catcher.counts().messages, &run_of(&shop).await["first_wave"]), (30, &Value::Null));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wave_that_went_wrong_holds_the_rest_until_somebody_has_looked() {
    each_database(|url| async move {
        // Every third person has no mailbox; a hundred answers, from which the breaker judges, never come.
        let catcher = by_recipient().await;
        let shop = Scenario::new(&url).smtp(&catcher.url()).campaign("hello", WAVE);
        let people: String = (0..90)
            .map(|n| format!("p{n},{}{n}@example.com,offers\n", if n % 3 == 0 { "hard+" } else { "p" }))
            .collect();
        shop.write("people.csv", format!("customer_id,email,consent\n{people}"));
        shop.okaeri("import customers people.csv --quiet").await.exits(0);
        shop.okaeri("send hello").await.exits(75);
        let db = shop.database().await;
        wait_is_over(&db).await;
        let taken = catcher.counts().messages;
        let told = shop.okaeri("work").await.exits(4).stdout;
        assert!(told.contains("paused: after the first wave: ") && told.contains("there is no such mailbox"), "{told}");
        assert_eq!(catcher.counts().messages, taken, "nothing more left");
        let id = run_of(&shop).await["run_id"].as_str().unwrap().to_owned();
        shop.okaeri("work").await.exits(4);
        shop.okaeri(&format!("queue resume {id}")).await.exits(0);
        shop.okaeri("work").await.exits(0);
        assert_eq!(recipients(&catcher).len(), 60, "the living, once");
        assert_eq!(catcher.counts().messages, 60);
        shop.okaeri("queue verify").await.exits(0);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_keeps_the_rest_waiting_and_a_cancel_ends_it() {
    each_database(|url| async move {
        let catcher = by_recipient().await;
        let shop = Scenario::new(&url).smtp(&catcher.url()).campaign("hello", WAVE).with_people(60).await;
        shop.okaeri("send hello").await.exits(75);
        let id = run_of(&shop).await["run_id"].as_str().unwrap().to_owned();
        shop.okaeri(&format!("queue pause {id}")).await.exits(0);
        shop.okaeri(&format!("queue resume {id}")).await.exits(0);
        shop.okaeri("work").await.exits(75);
        assert_eq!(catcher.counts().messages, 30, "a pause is not the end of the wait");
        shop.okaeri(&format!("queue cancel {id}")).await.exits(0);
        wait_is_over(&shop.database().await).await;
        shop.okaeri("work").await.exits(0);
        assert_eq!(catcher.counts().messages, 30);
        let cancelled = shop.json("queue list --by state", 0).await;
        let group = |state: &str| cancelled["groups"].as_array().unwrap().iter().find(|g| g["group"] == state).cloned();
        assert_eq!(group("cancelled").unwrap()["messages"], 30, "{cancelled}");
        shop.okaeri("queue verify").await.exits(0);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wave_survives_interruptions_and_several_processes() {
    each_database(|url| async move {
        let catcher = by_recipient().await;
        let gone = deserted();
        let shop = Scenario::new(&url).smtp(&gone).campaign("hello", WAVE).with_people(100).await;
        // The wave could not leave: its wait does not begin.
        shop.okaeri("send hello").await.exits(5);
        assert_eq!(run_of(&shop).await["first_wave"]["until_at"], Value::Null);
        let shop = shop.smtp(&catcher.url());
        let (a, b) = tokio::join!(shop.okaeri("work"), shop.okaeri("work"));
        assert_eq!((a.code(), b.code()), (75, 75), "{a:?} {b:?}");
        assert_eq!(catcher.counts().messages, 30);
        wait_is_over(&shop.database().await).await;
        let (a, b) = tokio::join!(shop.okaeri("work"), shop.okaeri("work"));
        assert_eq!((a.code(), b.code()), (0, 0), "{a:?} {b:?}");
        assert_eq!((catcher.counts().messages, recipients(&catcher).len()), (100, 100));
        shop.okaeri("queue verify").await.exits(0);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wave_of_which_nothing_is_known_is_waited_for() {
    each_database(|url| async move {
        let busy = mail::catcher(at(Stage::Rcpt, Answer::reply(451, "4.2.1", "Mailbox busy"))).await;
        let shop = Scenario::new(&url).smtp(&busy.url()).campaign("hello", WAVE).with_people(60).await;
        shop.okaeri("send hello").await.exits(75);
        let db = shop.database().await;
        wait_is_over(&db).await;
        shop.okaeri("work").await.exits(75);
        assert_eq!(run_of(&shop).await["first_wave"]["rest_from_at"], Value::Null, "no answer is no good answer");
        let well = by_recipient().await;
        let shop = shop.smtp(&well.url());
        db.execute("UPDATE chunk SET due_at = 0 WHERE state = 'open' AND NOT after_wave", args![]).await.unwrap();
        db.execute("UPDATE delivery SET due_at = 0 WHERE state = 'deferred'", args![]).await.unwrap();
        wait_is_over(&db).await;
        shop.okaeri("work").await.exits(0);
        assert_eq!(well.counts().messages, 60);
        shop.okaeri("queue verify").await.exits(0);
    })
    .await;
}

/// So many readers of `hello` call it spam.
async fn complain(db: &Db, mailed: &BTreeSet<String>, readers: usize) {
    for address in mailed.iter().take(readers) {
        let customer_id = address.split('@').next().unwrap().to_owned();
        let sql = "SELECT step, slot FROM message WHERE bucket = $1 AND customer_id = $2";
        let (step, slot): (String, String) =
            db.fetch_one(sql, args![bucket_of(&customer_id), &customer_id]).await.unwrap();
        let key = MessageKey { customer_id, campaign: "hello".into(), step, slot, topic: "offers".into() };
        let fact = Fact { kind: feedback::Kind::Complaint, at: clock::now(), key, via: "arf".into() };
        feedback::record(db, &fact, clock::now()).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_who_call_it_spam_hold_the_rest_of_a_run() {
    const TOLD: &str = "were called spam by their readers; stop_above allows complaint: 0.3%";
    let with = |share: &str| format!("{WAVE}\nstop_above: {{ complaint: {share} }}");
    for (campaign, readers, held) in
        [(WAVE.to_owned(), 2, false), (WAVE.to_owned(), 3, true), (with("20%"), 3, false), (with("100%"), 20, false)]
    {
        let campaign = &campaign;
        each_database(|url| async move {
            let catcher = by_recipient().await;
            let shop = Scenario::new(&url).smtp(&catcher.url()).campaign("hello", campaign).with_people(60).await;
            shop.okaeri("send hello").await.exits(75);
            let db = shop.database().await;
            complain(&db, &recipients(&catcher), readers).await;
            wait_is_over(&db).await;
            let told = shop.okaeri("work").await.exits(if held { 4 } else { 0 }).stdout;
            assert_eq!(told.contains(TOLD), held, "{readers} of 30: {told}");
            assert_eq!(catcher.counts().messages, if held { 30 } else { 60 }, "{readers} of 30");
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn complaints_hold_what_is_left_of_a_run_before_anything_of_it_leaves() {
    each_database(|url| async move {
        let busy = Arc::new(ByRecipient::new().times("p00001", Stage::Rcpt, 1, Answer::reply(450, "4.2.0", "Later")));
        let catcher = mail::catcher(busy).await;
        let shop = Scenario::new(&url).smtp(&catcher.url()).campaign("hello", "").with_people(120).await;
        shop.okaeri("send hello").await.exits(75);
        let db = shop.database().await;
        complain(&db, &recipients(&catcher), 3).await;
        for sql in [
            "UPDATE chunk SET due_at = 0 WHERE state = 'open'",
            "UPDATE delivery SET due_at = 0 WHERE state = 'deferred'",
        ] {
            db.execute(sql, args![]).await.unwrap();
        }
        let told = shop.okaeri("work").await.exits(4).stdout;
        assert!(told.contains("paused: 3 of 119 accepted mails (2.5 %) were called spam by their readers"), "{told}");
        assert_eq!(catcher.counts().messages, 119);
        // Somebody looked, and lets it go on: those complaints do not hold it again.
        let id = run_of(&shop).await["run_id"].as_str().unwrap().to_owned();
        shop.okaeri(&format!("queue resume {id}")).await.exits(0);
        shop.okaeri("work").await.exits(0);
        assert_eq!(catcher.counts().messages, 120);
    })
    .await;
}
