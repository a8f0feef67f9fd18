//! Delivery against a real SMTP server, with the ledger in SQLite and in Postgres.

use std::sync::Arc;

use okaeri::args;
use okaeri::catcher::{ByRecipient, Catcher, CatcherOptions};
use okaeri::clock::{self, HOUR};
use okaeri::db::Db;
use okaeri::delivery::{Ended, Totals};
use okaeri::queue::{RunState, lease, rescue, run, status};
use okaeri::suppression::{self, Kind, Reason, Scope};

use crate::ground::each_database;
use crate::ground::sending::{adds_up, drained, drained_as, enqueued, state_of, states};

#[tokio::test(flavor = "multi_thread")]
async fn postgres_leaves_room_beside_messages_unless_told_otherwise() {
    each_database(|url| async move {
        let db = Db::open(&url).await.unwrap();
        db.analyze().await.unwrap();
        if url.starts_with("postgres") {
            let options = async || {
                let sql = "SELECT array_to_string(reloptions, ',') FROM pg_class \
                           WHERE relname = 'delivery' AND relnamespace = current_schema()::regnamespace";
                db.fetch_one::<(String,)>(sql, vec![]).await.unwrap().0
            };
            assert_eq!(options().await, "fillfactor=45");
            db.execute("ALTER TABLE delivery SET (fillfactor = 70)", vec![]).await.unwrap();
            db.analyze().await.unwrap();
            assert_eq!(options().await, "fillfactor=70", "an operator's own word stays");
        }
        db.close().await;
    })
    .await;
}

#[tokio::test]
async fn everyone_is_mailed_once_and_the_ledger_adds_up() {
    each_database(|url| async move {
        let db = Db::open(&url).await.unwrap();
        let catcher = Catcher::start(CatcherOptions::default()).await.unwrap();
        let addresses: Vec<String> = (0..700).map(|i| format!("c{i}@example.com")).collect();
        let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
        let run_id = enqueued(&db, "hello", &addresses).await;
        let (totals, ended) = drained(&db, &catcher.url()).await;
        assert_eq!((totals.accepted, ended), (700, Ended::Idle));
        let mut caught: Vec<String> =
            catcher.mails().into_iter().filter_map(|m| m.envelope_to.first().cloned()).collect();
        caught.sort();
        caught.dedup();
        assert_eq!(caught.len(), 700);
        assert!(catcher.mails().iter().all(|m| m.defects.is_empty()), "{:?}", catcher.mails()[0].defects);
        assert_eq!(states(&db, &run_id).await, [("accepted".to_owned(), 700)]);
        assert_eq!(run::get(&db, &run_id).await.unwrap().unwrap().state(), RunState::Drained);
        adds_up(&db).await;
        let again = drained(&db, &catcher.url()).await;
        assert_eq!(again, (Totals::default(), Ended::Idle));
    })
    .await;
}

#[tokio::test]
async fn every_answer_finds_its_state() {
    each_database(|url| async move {
        let db = Db::open(&url).await.unwrap();
        let options = CatcherOptions { behaviour: Arc::new(ByRecipient::standard()), ..CatcherOptions::default() };
        let catcher = Catcher::start(options).await.unwrap();
        let everyone = [
            "ok@example.com",
            "hard@example.com",
            "full@example.com",
            "policy@example.com",
            "greylist@example.com",
            "spam@example.com",
            "busy@example.com",
            "drop@example.com",
            "lost@example.com",
            "美佳@example.com",
        ];
        let run_id = enqueued(&db, "hello", &everyone).await;
        let (totals, ended) = drained(&db, &catcher.url()).await;
        assert_eq!(ended, Ended::Idle);
        assert_eq!(state_of(&db, "美佳").await, ("accepted".to_owned(), Some(250), state_of(&db, "ok").await.2));
        assert_eq!((totals.failed, totals.deferred, totals.unknown), (3, 3, 2), "{totals:?}");
        for (customer, state, code) in [
            ("ok", "accepted", Some(250)),
            ("hard", "failed", Some(550)),
            ("full", "deferred", Some(452)),
            ("policy", "failed", Some(550)),
            ("greylist", "deferred", Some(451)),
            ("spam", "failed", Some(554)),
            ("busy", "deferred", Some(451)),
            ("drop", "unknown", None),
            ("lost", "unknown", None),
        ] {
            let found = state_of(&db, customer).await;
            assert_eq!((found.0.as_str(), found.1), (state, code), "{customer}: {found:?}");
        }
        // Only the mailbox that does not exist is suppressed; a refusal about us says nothing about the address.
        let suppressed = |key: &'static str| suppression::is_suppressed(&db, key, Kind::Service, "offers");
        assert!(suppressed("hard@example.com").await.unwrap());
        assert!(!suppressed("policy@example.com").await.unwrap());
        assert!(!suppressed("spam@example.com").await.unwrap());
        let attempts: Vec<(String, String)> =
            db.fetch_all("SELECT stage, reply FROM attempt WHERE code = 452", args![]).await.unwrap();
        assert_eq!(attempts, [("rcpt".to_owned(), "4.2.2 Mailbox full".to_owned())]);
        // The greylisted come back later and get through; a doubtful one is not sent again.
        db.execute("UPDATE chunk SET due_at = 0 WHERE state = 'open'", args![]).await.unwrap();
        db.execute("UPDATE delivery SET due_at = 0 WHERE state = 'deferred'", args![]).await.unwrap();
        let (totals, _) = drained(&db, &catcher.url()).await;
        assert_eq!((totals.accepted, totals.deferred, totals.unknown), (1, 2, 0));
        assert_eq!(state_of(&db, "greylist").await.0, "accepted");
        assert_eq!(states(&db, &run_id).await.iter().map(|(_, n)| n).sum::<i64>(), 10);
    })
    .await;
}

#[tokio::test]
async fn suppression_after_planning_stops_the_message() {
    each_database(|url| async move {
        let db = Db::open(&url).await.unwrap();
        let catcher = Catcher::start(CatcherOptions::default()).await.unwrap();
        enqueued(&db, "hello", &["a@example.com", "b@example.com", "c@example.com"]).await;
        let mut tx = db.begin().await.unwrap();
        suppression::suppress(&mut tx, "a@example.com", &Scope::All, Reason::Manual, 1, "test").await.unwrap();
        let topic = Scope::Topic("offers".to_owned());
        suppression::suppress(&mut tx, "b@example.com", &topic, Reason::Unsubscribe, 1, "test").await.unwrap();
        let other = Scope::Topic("news".to_owned());
        suppression::suppress(&mut tx, "c@example.com", &other, Reason::Unsubscribe, 1, "test").await.unwrap();
        tx.commit().await.unwrap();
        let (totals, _) = drained(&db, &catcher.url()).await;
        assert_eq!((totals.accepted, totals.suppressed), (1, 2));
        assert_eq!(catcher.mails()[0].envelope_to, ["c@example.com"]);
        assert_eq!(state_of(&db, "a").await.0, "suppressed");
    })
    .await;
}

#[tokio::test]
async fn a_dead_workers_chunk_is_rescued_and_its_doubt_is_named() {
    each_database(|url| async move {
        let db = Db::open(&url).await.unwrap();
        let catcher = Catcher::start(CatcherOptions::default()).await.unwrap();
        enqueued(&db, "hello", &["a@example.com", "b@example.com"]).await;
        // A worker leased the chunk, committed one message, and died long ago.
        let then = clock::now() - HOUR;
        db.execute("UPDATE chunk SET due_at = 0", args![]).await.unwrap();
        let lease = lease::claim(&db, None, &[], then).await.unwrap().unwrap();
        db.execute(
            "UPDATE delivery SET state = 'committed', commit_token = 't', attempts = 1, date_at = 5 WHERE customer_id = 'a'",
            args![],
        )
        .await
        .unwrap();
        assert!(lease::claim(&db, None, &[], then).await.unwrap().is_none(), "a leased chunk is not leased again");
        let (totals, _) = drained(&db, &catcher.url()).await;
        assert_eq!((totals.rescued_unknown, totals.accepted), (1, 1));
        assert_eq!(state_of(&db, "a").await.0, "unknown");
        assert_eq!(catcher.mails().len(), 1);
        // The dead worker wakes up: its lease is gone, so it can neither renew nor release over others.
        assert_eq!(lease::renew(&db, &[&lease], clock::now()).await.unwrap().len(), 1);
        assert_eq!(rescue::rescue(&db, clock::now()).await.unwrap(), rescue::Rescued::default());
    })
    .await;
}

#[tokio::test]
async fn what_cannot_be_composed_pauses_its_run_and_sends_nothing_of_it() {
    each_database(|url| async move {
        let db = Db::open(&url).await.unwrap();
        let catcher = Catcher::start(CatcherOptions::default()).await.unwrap();
        let run_id = enqueued(&db, "hello", &["uncomposable@example.com"]).await;
        let (_, ended) = drained(&db, &catcher.url()).await;
        assert!(matches!(&ended, Ended::Paused(why) if why.contains("uncomposable")), "{ended:?}");
        let run = run::get(&db, &run_id).await.unwrap().unwrap();
        assert_eq!(run.state(), RunState::Paused);
        assert_eq!(state_of(&db, "uncomposable").await.0, "pending");
    })
    .await;
}

#[tokio::test]
async fn what_is_too_old_expires() {
    each_database(|url| async move {
        let db = Db::open(&url).await.unwrap();
        let catcher = Catcher::start(CatcherOptions::default()).await.unwrap();
        enqueued(&db, "hello", &["a@example.com"]).await;
        let (totals, _) = drained_as(&db, &catcher.url(), Kind::Promotional, clock::now() - 1).await;
        assert_eq!((totals.expired, totals.accepted), (1, 0));
        assert_eq!(state_of(&db, "a").await.0, "expired");
    })
    .await;
}

#[tokio::test]
async fn a_server_that_is_not_there_leaves_everything_pending() {
    each_database(|url| async move {
        let db = Db::open(&url).await.unwrap();
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        enqueued(&db, "hello", &["a@example.com"]).await;
        let (_, ended) = drained(&db, &format!("smtp://127.0.0.1:{port}")).await;
        assert!(matches!(ended, Ended::ServerUnavailable(_)), "{ended:?}");
        assert_eq!(state_of(&db, "a").await.0, "pending");
        assert_eq!(status::next_due(&db, None).await.unwrap().map(|t| t <= clock::now()), Some(true));
    })
    .await;
}

#[tokio::test]
async fn a_refused_login_pauses_at_once() {
    each_database(|url| async move {
        let db = Db::open(&url).await.unwrap();
        let options = CatcherOptions { auth: Some(("shop".into(), "right".into())), ..CatcherOptions::default() };
        let catcher = Catcher::start(options).await.unwrap();
        let run_id = enqueued(&db, "hello", &["a@example.com"]).await;
        let wrong = catcher.url().replace("right", "wrong");
        assert_ne!(wrong, catcher.url());
        let (_, ended) = drained(&db, &wrong).await;
        assert!(matches!(ended, Ended::Paused(_)), "{ended:?}");
        assert_eq!(run::get(&db, &run_id).await.unwrap().unwrap().state(), RunState::Paused);
        assert!(run::advance(&db, &run_id, run::Move::Resume, None, clock::now()).await.unwrap());
        let (totals, _) = drained(&db, &catcher.url()).await;
        assert_eq!(totals.accepted, 1);
    })
    .await;
}

#[tokio::test]
async fn a_claim_does_not_wake_a_run_that_was_paused_meanwhile() {
    each_database(|url| async move {
        let db = Db::open(&url).await.unwrap();
        let run_id = enqueued(&db, "hello", &["a@example.com"]).await;
        let now = clock::now();
        lease::claim(&db, None, &[], now).await.unwrap().unwrap();
        assert!(run::advance(&db, &run_id, run::Move::Pause, Some("wait"), now).await.unwrap());
        // What a claim does after its first statement; the pause came in between.
        assert!(!run::advance(&db, &run_id, run::Move::Begin, None, now).await.unwrap());
        let run = run::get(&db, &run_id).await.unwrap().unwrap();
        assert_eq!((run.state(), run.reason.as_deref()), (RunState::Paused, Some("wait")));
    })
    .await;
}

#[tokio::test]
async fn a_ledger_that_does_not_add_up_is_told_run_by_run() {
    each_database(|url| async move {
        let db = Db::open(&url).await.unwrap();
        let run_id = enqueued(&db, "hello", &["a@example.com", "b@example.com"]).await;
        let verdict = "INSERT INTO run_verdict (run_id, verdict, reason, people) VALUES ($1, 'send', '', 2)";
        db.execute(verdict, args![&run_id]).await.unwrap();
        db.execute("UPDATE run SET audience = 2", args![]).await.unwrap();
        assert_eq!(status::verify(&db, clock::now()).await.unwrap(), []);
        // Each change comes on top of those before it.
        for (change, told) in [
            ("UPDATE run SET audience = 3", vec!["audience 3, verdicts 2"]),
            ("UPDATE run_verdict SET people = 3", vec!["3 verdicts, 2 messages"]),
            (
                "DELETE FROM delivery WHERE customer_id = 'a'",
                vec!["3 verdicts, 1 messages", "1 messages without a delivery"],
            ),
            (
                "UPDATE message SET customer_id = 'c' WHERE customer_id = 'b'",
                vec!["3 verdicts, 1 messages", "1 messages without a delivery", "1 deliveries without a message"],
            ),
            ("DELETE FROM message", vec!["3 verdicts, 1 messages", "1 deliveries without a message"]),
            ("DELETE FROM delivery", vec!["3 verdicts, 0 messages"]),
            ("UPDATE run_verdict SET verdict = 'skip'", vec![]),
        ] {
            db.execute(change, args![]).await.unwrap();
            let findings = status::verify(&db, clock::now()).await.unwrap();
            let mut found: Vec<&str> = findings.iter().map(|f| f.detail.as_str()).collect();
            found.sort_by_key(|detail| told.iter().position(|t| detail.ends_with(t)));
            let as_told: Vec<String> = told.iter().map(|t| format!("{run_id}: {t}")).collect();
            assert_eq!(found, as_told, "{change}");
        }
        db.close().await;
    })
    .await;
}
