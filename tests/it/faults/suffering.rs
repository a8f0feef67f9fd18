//! Messages meet every line of the table: the first of a conversation, one whose envelope came behind a content, and all of a run.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use okaeri::args;
use okaeri::catcher::{Answer, Behaviour, Catcher, CatcherOptions, Extensions, Keep, Moment, Move, Stage};
use okaeri::clock::{MINUTE, Millis};
use okaeri::db::Db;
use okaeri::delivery::Ended;
use okaeri::queue::{RunState, run};
use okaeri::suppression::{self, Kind};

use super::table::{Fault, Replied, faults};
use super::{a_day_goes_by, drained, drained_until, found, hasten, mended, patience, server};
use crate::ground::each_database;
use crate::ground::mail::conversations;
use crate::ground::sending::enqueued;

/// The lane of every message here.
const LANE: &str = "default/other";
/// Messages of a run in which all meet the same: more than any row that holds it.
const MANY: usize = 12;
/// So long a run goes on slowly.
const SHORTLY: Duration = Duration::from_millis(300);
/// The pauses after the first and the second try, before they are spread by a fifth.
const PAUSES: [Millis; 2] = [5 * MINUTE, 15 * MINUTE];

/// Whether a fault can be met: BDAT needs no DATA.
fn is_met(fault: &Fault, conversation: &str) -> bool {
    conversation != "chunked" || !fault.named.starts_with("DATA")
}

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_of_a_conversation_finds_its_state_and_no_message_leaves_twice() {
    each_database(|url| async move {
        let db = Db::open(&url).await.unwrap();
        for (conversation, extensions) in conversations() {
            for (n, fault) in faults().into_iter().filter(|fault| is_met(fault, conversation)).enumerate() {
                // A large content takes longer than a mute server is waited for.
                let places = if fault.mute && fault.bytes > 0 { 1 } else { 2 };
                for place in [Place::First, Place::Second].into_iter().take(places) {
                    let customer = format!("c{n}-{conversation}-{place:?}").to_lowercase();
                    suffers(&db, &customer, &fault, place, extensions.clone()).await;
                }
            }
        }
        db.close().await;
    })
    .await;
}

/// Each in one of the conversations: what is judged is the same. Those that cost seconds a message are left out.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_meets_nothing_else_goes_on_or_is_held_as_the_table_says() {
    each_database(|url| async move {
        let db = Db::open(&url).await.unwrap();
        let quick = faults().into_iter().filter(|fault| !fault.mute && fault.bytes == 0);
        for (n, fault) in quick.enumerate() {
            let (conversation, extensions) =
                conversations().into_iter().cycle().skip(n).find(|(c, _)| is_met(&fault, c)).expect("one of three");
            all_suffer(&db, &format!("m{n}"), conversation, &fault, extensions).await;
        }
        db.close().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_lies_about_pipelining_gets_nothing_and_loses_nothing() {
    each_database(|url| async move {
        let db = Db::open(&url).await.unwrap();
        let lies = Answer::of([Move::Agree, Move::DropInput]);
        let line = "deferred | - | - | again | - | - | goes on | 0 | mute";
        let lies = Fault::new("MAIL drops what follows", Stage::Mail, lies, line);
        for (conversation, extensions) in conversations().into_iter().filter(|(_, offers)| offers.pipelining) {
            suffers(&db, conversation, &lies, Place::First, extensions).await;
        }
        db.close().await;
    })
    .await;
}

/// Which message of a conversation meets the fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    First,
    /// The one behind a message that is accepted: its envelope may come with that content.
    Second,
}

/// Agrees until one message is stored, then does what another does.
struct AfterOne {
    then: Arc<dyn Behaviour>,
    first: Mutex<Option<String>>,
}

impl Behaviour for AfterOne {
    fn answer(&self, moment: &Moment<'_>) -> Answer {
        let mut first = self.first.lock().unwrap();
        match &*first {
            Some(_) => self.then.answer(moment),
            None => {
                *first = (moment.stage == Stage::EndOfData).then(|| moment.argument.to_owned());
                Answer::agree()
            }
        }
    }
}

/// One message meets the fault.
async fn suffers(db: &Db, customer: &str, fault: &Fault, place: Place, extensions: Extensions) {
    let told = format!("{} ({customer})", fault.named);
    a_day_goes_by(db).await;
    hasten(db).await;
    let after_one = Arc::new(AfterOne { then: fault.behaviour.clone(), first: Mutex::default() });
    let behaviour = if place == Place::First { fault.behaviour.clone() } else { after_one.clone() };
    let options = CatcherOptions { behaviour, extensions, keep: Keep::Count, ..Default::default() };
    let catcher = Catcher::start(options).await.unwrap();
    let mut customers = vec![customer.to_owned()];
    if place == Place::Second {
        customers.push(format!("{customer}-too"));
    }
    let addresses: Vec<String> = customers.iter().map(|c| format!("{c}@example.com")).collect();
    let run_id = enqueued(db, customer, &addresses.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let sent = || server(&catcher.url(), patience(fault.mute));
    let (_, ended) = drained(db, &run_id, sent(), 1, fault.bytes).await;
    // Nothing but a refusal because of us came back, and nothing of the run is left: it is held. Where another was accepted it goes on.
    let is_held = fault.about == Some("policy") && place == Place::First;
    let state = run::get(db, &run_id).await.unwrap().unwrap().state();
    match ended {
        Ended::Paused(why) if is_held => {
            assert!(
                why.starts_with("1 mail was refused because of us, and nothing was taken for a day"),
                "{told}: {why}"
            );
            assert_eq!(state, RunState::Paused, "{told}");
        }
        ended => assert_eq!((ended, is_held, state == RunState::Paused), (Ended::Idle, false, false), "{told}"),
    }
    let lucky = after_one.first.lock().unwrap().clone();
    if let Some(lucky) = &lucky {
        let (found, tried) = found(db, lucky.strip_suffix("@example.com").unwrap()).await;
        assert_eq!((found.state.as_str(), tried.len()), ("accepted", 0), "{told}: the first");
    }
    let (customer, address) =
        customers.iter().zip(&addresses).find(|(_, address)| Some(*address) != lucky.as_ref()).unwrap();
    is_as_told(db, customer, fault, 1, &told).await;
    let suppressed = suppression::is_suppressed(db, address, Kind::Service, "offers").await.unwrap();
    assert_eq!(suppressed, fault.suppressed, "{told}: only a mailbox that does not exist is suppressed");
    assert_eq!(slowed(db).await, fault.slowed, "{told}: how fast its lane goes");
    let stored = fault.stored + u64::from(place == Place::Second);
    assert_eq!(catcher.counts().messages, stored, "{told}: copies the server keeps");
    // The pause grows. What takes its time is not tried again.
    if fault.again && !fault.mute && fault.bytes == 0 && place == Place::First {
        hasten(db).await;
        drained(db, &run_id, sent(), 1, fault.bytes).await;
        is_as_told(db, customer, fault, 2, &told).await;
    }
    let due_again = u64::from(fault.again);
    assert_eq!(mended(db, &run_id, fault.bytes).await, due_again, "{told}: what waits is sent, and nothing else");
}

/// The message has its state, its next try, and a record of each of so many tries.
async fn is_as_told(db: &Db, customer: &str, fault: &Fault, tries: usize, told: &str) {
    let (found, tried) = found(db, customer).await;
    assert_eq!(found.state, fault.state, "{told}: {tried:?}");
    assert_eq!(found.state == "deferred", fault.again, "{told}: only what is deferred is tried again");
    if fault.again {
        let (wait, pause) = (found.due_at - found.changed_at, PAUSES[tries - 1]);
        let spread = pause / 5;
        assert!((pause - spread..=pause + spread).contains(&wait), "{told}: try {tries}, due again after {wait} ms");
    }
    let kept = if fault.state == "accepted" { 0 } else { tries };
    assert_eq!(tried.len(), kept, "{told}: {tried:?}");
    for tried in &tried {
        assert_eq!(tried.about.as_deref(), fault.about, "{told}");
        let stage = fault.named.split(' ').next().unwrap().to_lowercase();
        match fault.reply {
            Replied::As(code, enhanced) => {
                let expected = (stage.as_str(), Some(code), enhanced);
                assert_eq!((tried.stage.as_str(), tried.code, tried.enhanced.as_deref()), expected, "{told}");
            }
            Replied::Nothing => assert_eq!((tried.code, tried.enhanced.as_deref()), (None, None), "{told}"),
            Replied::Any => {}
        }
    }
}

/// Whether the lane is slowed for everybody.
async fn slowed(db: &Db) -> bool {
    let sql = "SELECT slow_steps FROM pace WHERE lane = $1";
    let row: Option<(i64,)> = db.fetch_optional(sql, args![LANE]).await.unwrap();
    row.is_some_and(|(steps,)| steps > 0)
}

/// Every message of a run meets the fault.
async fn all_suffer(db: &Db, customer: &str, conversation: &str, fault: &Fault, extensions: Extensions) {
    let told = format!("{} ({customer}, {conversation})", fault.named);
    a_day_goes_by(db).await;
    hasten(db).await;
    let options =
        CatcherOptions { behaviour: fault.behaviour.clone(), extensions, keep: Keep::Count, ..Default::default() };
    let catcher = Catcher::start(options).await.unwrap();
    let addresses: Vec<String> = (0..MANY).map(|n| format!("{customer}-{n}@example.com")).collect();
    let run_id = enqueued(db, customer, &addresses.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let until = fault.slowed.then(|| tokio::time::Instant::now() + SHORTLY);
    let (totals, ended) = drained_until(db, &run_id, server(&catcher.url(), patience(false)), 1, 0, until).await;
    let state = run::get(db, &run_id).await.unwrap().unwrap().state();
    match fault.held {
        Some((after, words)) => {
            assert!(matches!(&ended, Ended::Paused(why) if why.contains(words)), "{told}: {ended:?}");
            assert_eq!((state, totals.failed + totals.unknown), (RunState::Paused, after), "{told}: {totals:?}");
            assert_eq!(mended(db, &run_id, 0).await, 0, "{told}: a held run stays where it is");
        }
        None if fault.slowed => {
            assert_eq!(ended, Ended::TimeUp, "{told}: {totals:?}");
            assert!(state.may_send() && totals.deferred > 0, "{told}: {state}, {totals:?}");
        }
        None => {
            assert_eq!(ended, Ended::Idle, "{told}: {totals:?}");
            assert!(state == if fault.again { RunState::Sending } else { RunState::Drained }, "{told}: {state}");
            assert_eq!(totals.accepted + totals.deferred + totals.failed, MANY as u64, "{told}: {totals:?}");
        }
    }
}
