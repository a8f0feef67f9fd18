//! Whole runs meet a server: one that limits, refuses, swallows answers, says nothing or too much, or offers little.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use okaeri::args;
use okaeri::catcher::{Answer, Behaviour, Catcher, CatcherOptions, Extensions, Moment, Move, Stage};
use okaeri::clock;
use okaeri::db::Db;
use okaeri::delivery::{Ended, Patience, Totals};
use okaeri::queue::{RunState, run};
use okaeri::suppression::{self, Kind};

use super::table::raw;
use super::{FOR_EVER, drained, drained_until, found, mended, patience, server};
use crate::ground::each_database;
use crate::ground::mail::{Acting, at, conversations};
use crate::ground::sending::{enqueued, states};

/// So many people of one campaign.
fn people(n: usize) -> Vec<String> {
    (0..n).map(|i| format!("p{i}@example.com")).collect()
}

/// A run to `n` people meets the server; how it ended and what the server kept.
async fn sent_to(
    db: &Db,
    n: usize,
    options: CatcherOptions,
    connections: u32,
    patience: Patience,
) -> (String, Totals, Ended, Vec<String>) {
    let catcher = Catcher::start(options).await.unwrap();
    let addresses = people(n);
    let run_id = enqueued(db, "hello", &addresses.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let (totals, ended) = drained(db, &run_id, server(&catcher.url(), patience), connections, 0).await;
    let mut kept: Vec<String> = catcher.mails().into_iter().flat_map(|m| m.envelope_to).collect();
    kept.sort();
    (run_id, totals, ended, kept)
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_that_limit_connections_or_messages_get_everything_once_and_without_a_delay() {
    const PEOPLE: usize = 120;
    let one_connection = |m: &Moment<'_>| match m.stage {
        Stage::Banner if m.open_connections > 1 => Answer::reply(421, "4.7.0", "Too many connections"),
        Stage::EndOfData => Answer::store_then_wait(Duration::from_millis(2)),
        _ => Answer::agree(),
    };
    let seven_messages = |m: &Moment<'_>| match m.stage {
        Stage::Mail if m.messages >= 7 => Answer::reply(421, "4.7.0", "Too many messages"),
        _ => Answer::agree(),
    };
    let seven_then_silence = |m: &Moment<'_>| match m.stage {
        Stage::EndOfData if m.messages >= 6 => Answer::of([Move::Agree, Move::Close]),
        _ => Answer::agree(),
    };
    let answers_twice = |m: &Moment<'_>| match m.stage {
        Stage::EndOfData => Answer::of([Move::Agree, raw(b"250 2.0.0 Again\r\n")]),
        _ => Answer::agree(),
    };
    let forgets_what_follows = |m: &Moment<'_>| match m.stage {
        Stage::EndOfData => Answer::of([Move::Agree, Move::DropInput]),
        _ => Answer::agree(),
    };
    // Each connection waits once for an answer that does not come.
    let shortly = Patience { command: Duration::from_secs(2), ..patience(false) };
    let behaviours: [(Arc<dyn Behaviour>, Patience); 5] = [
        (Arc::new(Acting(one_connection)), patience(false)),
        (Arc::new(Acting(seven_messages)), patience(false)),
        (Arc::new(Acting(seven_then_silence)), patience(false)),
        (Arc::new(Acting(answers_twice)), patience(false)),
        (Arc::new(Acting(forgets_what_follows)), shortly),
    ];
    for (n, (behaviour, patience)) in behaviours.into_iter().enumerate() {
        for (conversation, extensions) in conversations() {
            let (behaviour, extensions) = (&behaviour, &extensions);
            each_database(|url| async move {
                let db = Db::open(&url).await.unwrap();
                let extensions = extensions.clone();
                let options = CatcherOptions { behaviour: behaviour.clone(), extensions, ..CatcherOptions::default() };
                let (_, totals, ended, kept) = sent_to(&db, PEOPLE, options, 4, patience).await;
                let told = format!("behaviour {n}, {conversation}: {totals:?}");
                assert_eq!((totals.accepted, ended), (PEOPLE as u64, Ended::Idle), "{told}");
                let mut everyone = people(PEOPLE);
                everyone.sort();
                assert_eq!(kept, everyone, "{told}");
                let (tried,): (i64,) = db.fetch_one("SELECT COUNT(*) FROM attempt", args![]).await.unwrap();
                assert_eq!(tried, 0, "{told}: no try failed");
            })
            .await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_because_of_us_hold_the_run_before_everybody_was_tried() {
    let policy = at(Stage::Mail, Answer::reply(550, "5.7.1", "Not from you"));
    let login = at(Stage::Mail, Answer::reply(530, "5.7.0", "Authentication required"));
    let password = at(Stage::Auth, Answer::reply(535, "5.7.8", "Wrong password"));
    for (behaviour, failed_max, told) in [
        (policy, 6, "mails in a row (other) were refused because of us, and none was taken there for a day"),
        (login, 0, "refused our login"),
        (password, 0, "535 5.7.8 Wrong password"),
    ] {
        let behaviour = &behaviour;
        each_database(|url| async move {
            let db = Db::open(&url).await.unwrap();
            let auth = Some(("shop".to_owned(), "secret".to_owned()));
            let options = CatcherOptions { behaviour: behaviour.clone(), auth, ..CatcherOptions::default() };
            let (run_id, totals, ended, kept) = sent_to(&db, 60, options, 4, patience(false)).await;
            assert!(matches!(&ended, Ended::Paused(why) if why.contains(told)), "{ended:?}");
            assert!(totals.failed <= failed_max, "{told}: {totals:?}");
            assert_eq!(kept.len(), 0);
            assert_eq!(run::get(&db, &run_id).await.unwrap().unwrap().state(), RunState::Paused);
            assert_eq!(mended(&db, &run_id, 0).await, 0, "a held run stays where it is");
            assert!(run::advance(&db, &run_id, run::Move::Resume, None, clock::now()).await.unwrap());
            assert_eq!(mended(&db, &run_id, 0).await, 60 - totals.failed, "{told}: the rest is sent");
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_who_swallows_all_answers_does_not_bring_everybody_in_doubt() {
    for (_, extensions) in conversations() {
        let extensions = &extensions;
        each_database(|url| async move {
            let db = Db::open(&url).await.unwrap();
            let behaviour = at(Stage::EndOfData, Answer::store_then_close());
            let options = CatcherOptions { behaviour, extensions: extensions.clone(), ..CatcherOptions::default() };
            let (run_id, totals, ended, kept) = sent_to(&db, 60, options, 4, patience(false)).await;
            assert!(matches!(&ended, Ended::Paused(why) if why.contains("mails in a row (other) were sent and got no answer")), "{ended:?}");
            assert!((10..=13).contains(&totals.unknown), "ten, and one of each other connection: {totals:?}");
            assert_eq!(kept.len() as u64, totals.unknown);
            assert!(run::advance(&db, &run_id, run::Move::Resume, None, clock::now()).await.unwrap());
            assert_eq!(mended(&db, &run_id, 0).await, 60 - totals.unknown, "the rest is sent");
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_work_ends_in_time_before_a_server_that_says_nothing() {
    for stage in [Stage::Banner, Stage::Mail, Stage::Rcpt] {
        each_database(|url| async move {
            let db = Db::open(&url).await.unwrap();
            let options = CatcherOptions { behaviour: at(stage, Answer::stall(FOR_EVER)), ..CatcherOptions::default() };
            let catcher = Catcher::start(options).await.unwrap();
            let run_id = enqueued(&db, "hello", &["mia@example.com"]).await;
            let until = tokio::time::Instant::now() + Duration::from_millis(100);
            // Whoever waits for an answer waits for half a minute, and notes a try.
            let server = server(&catcher.url(), patience(false));
            let (totals, ended) = drained_until(&db, &run_id, server, 2, 0, Some(until)).await;
            assert_eq!((totals, ended), (Totals::default(), Ended::TimeUp), "{stage:?}");
            let (found, tried) = found(&db, "mia").await;
            assert_eq!((found.state.as_str(), tried), ("pending", vec![]), "{stage:?}");
            assert_eq!(mended(&db, &run_id, 0).await, 1, "{stage:?}");
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_server_does_not_offer_is_not_asked_of_it() {
    let small = Extensions { size_max: Some(100), ..Extensions::default() };
    let seven_bit = Extensions { eight_bit_mime: false, ..Extensions::default() };
    let ascii = Extensions { smtp_utf8: false, ..Extensions::default() };
    for (extensions, customer, state, code) in [
        (&small, "mia", "failed", Some(552)),
        (&seven_bit, "mia", "accepted", None),
        (&ascii, "mia", "accepted", None),
        (&ascii, "美佳", "failed", Some(553)),
        (&Extensions::none(), "mia", "accepted", None),
    ] {
        each_database(|url| async move {
            let db = Db::open(&url).await.unwrap();
            let options = CatcherOptions { extensions: extensions.clone(), ..CatcherOptions::default() };
            let catcher = Catcher::start(options).await.unwrap();
            let address = format!("{customer}@example.com");
            let run_id = enqueued(&db, "hello", &[&address]).await;
            let (_, ended) = drained(&db, &run_id, server(&catcher.url(), patience(false)), 1, 0).await;
            assert_eq!(ended, Ended::Idle);
            let (found, tried) = found(&db, customer).await;
            assert_eq!((found.state.as_str(), tried.first().and_then(|t| t.code)), (state, code), "{extensions:?}");
            assert!(tried.iter().all(|t| t.about.as_deref() == Some("message")), "{tried:?}");
            assert!(!suppression::is_suppressed(&db, &address, Kind::Service, "offers").await.unwrap());
            assert_eq!(catcher.complaints(), Vec::<String>::new());
            assert!(catcher.mails().iter().all(|m| m.defects.is_empty()), "{:?}", catcher.mails());
            assert_eq!(catcher.counts().messages, u64::from(state == "accepted"));
        })
        .await;
    }
}

/// The server says one reply too many after a content and takes its time over the next recipient: whatever stands between is read one answer too
/// early. Where nothing is said between envelope and content, the answer to that RCPT comes where the answer to the content is waited for.
#[tokio::test(flavor = "multi_thread")]
async fn the_answer_to_an_envelope_is_not_taken_for_that_to_a_content() {
    let slow = Duration::from_millis(300);
    for (conversation, extensions) in conversations() {
        let extensions = &extensions;
        each_database(|url| async move {
            let db = Db::open(&url).await.unwrap();
            let behaviour = Acting(move |m: &Moment<'_>| match m.stage {
                Stage::EndOfData if m.messages == 0 => Answer::of([Move::Agree, raw(b"250 2.0.0 Again\r\n")]),
                Stage::EndOfData => Answer::reply(554, "5.6.0", "Not this one"),
                Stage::Rcpt if m.messages > 0 => Answer::stall(slow),
                _ => Answer::agree(),
            });
            let options =
                CatcherOptions { behaviour: Arc::new(behaviour), extensions: extensions.clone(), ..Default::default() };
            let (run_id, totals, _, kept) = sent_to(&db, 2, options, 1, patience(false)).await;
            let states = states(&db, &run_id).await;
            assert_eq!(totals.accepted, kept.len() as u64, "{conversation}: accepted is what was stored: {states:?}");
            // Where DATA stands between, the shift is noticed in time, and the message goes over a new connection.
            let expected =
                if conversation == "chunked" { [("accepted", 1), ("unknown", 1)] } else { [("accepted", 2), ("", 0)] };
            let expected = expected.into_iter().filter(|(_, n)| *n > 0).map(|(state, n)| (state.to_owned(), n));
            assert_eq!(states, expected.collect::<Vec<_>>(), "{conversation}");
        })
        .await;
    }
}

/// Some proxies pass on what the server behind them offers.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_announces_bdat_and_does_not_know_it_gets_data() {
    each_database(|url| async move {
        let db = Db::open(&url).await.unwrap();
        let data_was_said = AtomicBool::new(false);
        let behaviour = Acting(move |m: &Moment<'_>| match m.stage {
            Stage::Data => {
                data_was_said.store(true, Relaxed);
                Answer::agree()
            }
            Stage::EndOfData if !data_was_said.swap(false, Relaxed) => Answer::reply(502, "5.5.1", "What?"),
            _ => Answer::agree(),
        });
        let (_, extensions) = conversations().into_iter().next().expect("the one with BDAT");
        let options = CatcherOptions { behaviour: Arc::new(behaviour), extensions, ..CatcherOptions::default() };
        let (run_id, totals, ended, kept) = sent_to(&db, 20, options, 1, patience(false)).await;
        assert_eq!(ended, Ended::Idle);
        // The first is tried again later; nobody was refused.
        assert_eq!((totals.accepted, totals.deferred, totals.failed, kept.len()), (19, 1, 0, 19), "{totals:?}");
        assert_eq!(mended(&db, &run_id, 0).await, 1);
        db.close().await;
    })
    .await;
}
