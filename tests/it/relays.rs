//! Several relays: they share the mail, stand in for each other, and what one of them may have taken the other never gets.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use okaeri::args;
use okaeri::catcher::{Answer, Behaviour, Catcher, CatcherOptions, Moment, Move, Reply, Stage};
use okaeri::clock::{self, DAY, SECOND};
use okaeri::db::Db;
use okaeri::delivery::{Ended, Patience, Relay, Server, Totals, pacing, relays};
use okaeri::queue::{RunState, run, status};
use okaeri::settings::{Pacing, Rate, SmtpUrl};

use crate::ground::each_database;
use crate::ground::mail::{Acting, at, catcher, deserted};
use crate::ground::scenario::Scenario;
use crate::ground::sending::{RELAY, adds_up, drained_through, enqueued};

/// The second relay.
const SPARE: &str = "spare";

/// A relay at this address that is given up after a few milliseconds.
fn relay(name: &str, url: &str) -> Relay {
    let patience = Patience { reconnect: Duration::from_millis(2), ..Patience::default() };
    let server = Server::new(SmtpUrl::parse(url).unwrap(), None, "example.com").unwrap().with_patience(patience);
    Relay { name: name.into(), server: Arc::new(server), weight: 1, connections: 3, pacing: Pacing::default() }
}

async fn agreeable() -> Catcher {
    Catcher::start(CatcherOptions::default()).await.unwrap()
}

async fn sent_to(db: &Db, campaign: &str, people: usize) -> String {
    let addresses: Vec<String> = (0..people).map(|n| format!("{campaign}{n}@example.com")).collect();
    enqueued(db, campaign, &addresses.iter().map(String::as_str).collect::<Vec<_>>()).await
}

fn recipients(catcher: &Catcher) -> BTreeSet<String> {
    catcher.mails().into_iter().flat_map(|m| m.envelope_to).collect()
}

async fn lanes(db: &Db) -> Vec<String> {
    let rows: Vec<(String,)> = db.fetch_all("SELECT DISTINCT lane FROM chunk ORDER BY lane", args![]).await.unwrap();
    rows.into_iter().map(|(lane,)| lane).collect()
}

/// Refuses every login and every mail of those who have none.
fn no_login() -> Arc<dyn Behaviour> {
    at(Stage::Auth, Answer::reply(535, "5.7.8", "Bad credentials"))
}

#[tokio::test(flavor = "multi_thread")]
async fn mail_goes_to_the_other_relay_while_one_takes_none_and_comes_back() {
    let banner = |code, text: &'static str| at(Stage::Banner, Answer::reply(code, "", text));
    // (what its server does, whether it is there at all, what is told)
    let troubles = [
        (banner(554, "No service"), true, "554 No service"),
        (at(Stage::Ehlo, Answer::reply(550, "", "Not you")), true, "550 Not you"),
        (banner(421, "Too busy"), true, "421 Too busy"),
        (no_login(), true, "refused our login: 535 5.7.8 Bad credentials"),
        (
            at(Stage::Mail, Answer::reply(530, "5.7.0", "Authentication required")),
            true,
            "refused our login: 530 5.7.0 Authentication required",
        ),
        (banner(220, "never said"), false, "refused"),
    ];
    for (behaviour, is_there, told) in troubles {
        let behaviour = &behaviour;
        each_database(|url| async move {
            let db = Db::open(&url).await.unwrap();
            let login = Some(("shop".to_owned(), "secret".to_owned()));
            let options = CatcherOptions { behaviour: behaviour.clone(), auth: login, ..CatcherOptions::default() };
            let (main, spare) = (Catcher::start(options).await.unwrap(), agreeable().await);
            let address = if is_there { main.url() } else { deserted() };
            let both = || vec![relay(RELAY, &address), relay(SPARE, &spare.url())];
            let run_id = sent_to(&db, "one", 20).await;
            let (totals, ended) = drained_through(&db, both()).await;
            assert_eq!((totals.accepted, ended, totals.deferred), (20, Ended::Idle, 0), "{told}");
            assert_eq!((main.counts().messages, spare.counts().messages), (0, 20), "{told}");
            assert_eq!(run::get(&db, &run_id).await.unwrap().unwrap().state(), RunState::Drained, "{told}: not held");
            assert_eq!(lanes(&db).await, ["spare/other"], "{told}: the ledger knows where they went");
            let [outage] = &relays::outages(&db).await.unwrap()[..] else { panic!("{told}: nothing is kept") };
            assert!(outage.relay == RELAY && outage.reason.contains(told), "{told}: {outage:?}");
            // The next process knows, and asks it nothing.
            let asked = main.counts().connections;
            sent_to(&db, "two", 5).await;
            assert_eq!(drained_through(&db, both()).await.0.accepted, 5, "{told}");
            assert_eq!(main.counts().connections, asked, "{told}: it was left alone");
            // At its time it is tried again. What was told before is forgotten as soon as it answers.
            db.execute("UPDATE relay_outage SET again_at = 0", args![]).await.unwrap();
            let mended = agreeable().await;
            sent_to(&db, "three", 5).await;
            db.execute("DELETE FROM pace", args![]).await.unwrap(); // how a slowed relay recovers is tested in `pacing`
            let whole = vec![relay(RELAY, &mended.url()), relay(SPARE, &spare.url())];
            assert_eq!(drained_through(&db, whole).await.0.accepted, 5, "{told}");
            assert_eq!((mended.counts().messages, relays::outages(&db).await.unwrap()), (5, vec![]), "{told}");
            adds_up(&db).await;
            db.close().await;
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_relay_may_have_taken_the_other_never_gets() {
    each_database(|url| async move {
        let db = Db::open(&url).await.unwrap();
        // Takes four mails; of every third it keeps the content and says nothing. Then it is gone for good.
        let (taken, gone) = (AtomicU64::new(0), AtomicBool::new(false));
        let main = catcher(Arc::new(Acting(move |m: &Moment<'_>| match m.stage {
            Stage::Banner if gone.load(Relaxed) => Answer::reply(554, "", "Gone"),
            Stage::EndOfData => {
                let n = taken.fetch_add(1, Relaxed);
                gone.store(n >= 11, Relaxed);
                match n % 3 {
                    _ if n >= 12 => Answer::of([Move::Close]),
                    2 => Answer::store_then_reset(),
                    1 => Answer::of([Move::Store, Move::Say(Reply::new(451, "4.3.0", "Kept, and denied"))]),
                    _ => Answer::agree(),
                }
            }
            _ => Answer::agree(),
        })))
        .await;
        let spare = agreeable().await;
        let run_id = sent_to(&db, "hello", 60).await;
        let both = || vec![relay(RELAY, &main.url()), relay(SPARE, &spare.url())];
        let (totals, _) = drained_through(&db, both()).await;
        assert!(totals.unknown >= 4, "{totals:?}");
        let states = status::states_of(&db, &run_id).await.unwrap();
        assert!(states.iter().all(|(s, n)| s != "pending" || *n == 0), "{states:?}");
        let sql = "SELECT m.address FROM delivery d JOIN message m ON m.bucket = d.bucket AND m.customer_id = d.customer_id \
                   AND m.chunk_id = d.chunk_id AND m.seq = d.seq WHERE d.state = 'unknown'";
        let doubtful: Vec<(String,)> = db.fetch_all(sql, args![]).await.unwrap();
        let at_spare = recipients(&spare);
        assert!(doubtful.iter().all(|(a,)| !at_spare.contains(a)), "{doubtful:?} {at_spare:?}");
        // What was told to come back is due, and may go to the other; what may have arrived may not.
        db.execute("UPDATE chunk SET due_at = 0 WHERE state = 'open'", args![]).await.unwrap();
        db.execute("UPDATE delivery SET due_at = 0 WHERE state = 'deferred'", args![]).await.unwrap();
        db.execute("DELETE FROM pace", args![]).await.unwrap();
        let (again, _) = drained_through(&db, both()).await;
        assert_eq!(again.accepted, totals.deferred, "{totals:?} {again:?}");
        let at_spare = recipients(&spare);
        assert!(doubtful.iter().all(|(a,)| !at_spare.contains(a)), "{doubtful:?} {at_spare:?}");
        // Kept and denied: the second mail is the first, byte for byte, so that a receiver can tell.
        let (first, second) = (main.mails(), spare.mails());
        let both = first.iter().filter_map(|m| Some((m, second.iter().find(|s| s.envelope_to == m.envelope_to)?)));
        let pairs: Vec<_> = both.collect();
        assert!(pairs.len() >= 3, "{} mails went to both", pairs.len());
        assert!(pairs.iter().all(|(a, b)| a.bytes == b.bytes && a.message_id == b.message_id));
        let tried: Vec<(Option<String>,)> =
            db.fetch_all("SELECT DISTINCT relay FROM attempt", args![]).await.unwrap();
        assert_eq!(tried, [(Some(RELAY.to_owned()),)], "each try says where it was");
        let sql = "SELECT m.address, d.relay FROM delivery d JOIN message m ON m.bucket = d.bucket AND m.customer_id = d.customer_id \
                   AND m.chunk_id = d.chunk_id AND m.seq = d.seq WHERE d.state = 'accepted'";
        let accepted: Vec<(String, Option<String>)> = db.fetch_all(sql, args![]).await.unwrap();
        for (address, relay) in accepted {
            let where_it_is = if at_spare.contains(&address) { SPARE } else { RELAY };
            assert_eq!(relay.as_deref(), Some(where_it_is), "{address}: the ledger knows who took it");
        }
        adds_up(&db).await;
        db.close().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_answers_again_gets_its_mail_again_while_the_process_works() {
    each_database(|url| async move {
        let db = Db::open(&url).await.unwrap();
        let (main, spare) = (agreeable().await, agreeable().await);
        let slow = Pacing { relay: Some(Rate { messages: 20, per: SECOND }), ..Pacing::default() };
        sent_to(&db, "slow", 60).await;
        let sql =
            "INSERT INTO relay_outage (relay, since_at, again_at, outages, reason) VALUES ($1, $2, $3, 1, 'gone')";
        db.execute(sql, args![RELAY, clock::now(), clock::now() + 200]).await.unwrap();
        let both = vec![relay(RELAY, &main.url()), Relay { pacing: slow, ..relay(SPARE, &spare.url()) }];
        let later = async {
            while main.counts().connections == 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            while !relays::outages(&db).await.unwrap().is_empty() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            sent_to(&db, "later", 30).await;
        };
        let ((totals, ended), ()) = tokio::join!(drained_through(&db, both), later);
        assert_eq!((totals.accepted, ended), (90, Ended::Idle));
        assert_eq!((main.counts().messages, spare.counts().messages), (30, 60));
        db.close().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn when_no_relay_is_left_the_work_ends_and_says_why_of_each() {
    each_database(|url| async move {
        let db = Db::open(&url).await.unwrap();
        let login = || Some(("shop".to_owned(), "secret".to_owned()));
        let refusing = || CatcherOptions { behaviour: no_login(), auth: login(), ..CatcherOptions::default() };
        let (a, b) = (Catcher::start(refusing()).await.unwrap(), Catcher::start(refusing()).await.unwrap());
        let gone = deserted();
        let busy = catcher(at(Stage::Banner, Answer::reply(421, "4.7.0", "Too busy"))).await;
        let run_id = sent_to(&db, "hello", 10).await;
        let drained = async |first: &str, second: &str| {
            db.execute("DELETE FROM relay_outage", args![]).await.unwrap();
            let (totals, ended) = drained_through(&db, vec![relay(RELAY, first), relay(SPARE, second)]).await;
            assert_eq!(totals, Totals::default(), "nothing was tried");
            ended
        };
        let told = drained(&a.url(), &gone).await;
        assert!(
            matches!(&told, Ended::ServerUnavailable(why) if why.contains("refused our login") && why.contains(&gone)),
            "{told:?}"
        );
        let told = drained(&gone, &busy.url()).await;
        assert!(matches!(&told, Ended::ServerBusy(why) if why.contains("421 4.7.0 Too busy")), "{told:?}");
        assert!(run::get(&db, &run_id).await.unwrap().unwrap().state().may_send(), "neither is the run's fault");
        let told = drained(&a.url(), &b.url()).await;
        assert!(matches!(&told, Ended::Paused(why) if why.contains("refused our login")), "{told:?}");
        assert_eq!(run::get(&db, &run_id).await.unwrap().unwrap().state(), RunState::Paused, "that is to be mended");
        db.close().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_was_taken_out_of_the_settings_leaves_its_mail_to_the_others() {
    each_database(|url| async move {
        let db = Db::open(&url).await.unwrap();
        let (small, large) = (agreeable().await, agreeable().await);
        sent_to(&db, "hello", 30).await;
        let others = vec![
            Relay { weight: 1, ..relay("small", &small.url()) },
            Relay { weight: 5, ..relay("large", &large.url()) },
        ];
        assert_eq!(drained_through(&db, others).await.0.accepted, 30);
        assert_eq!((small.counts().messages, large.counts().messages), (0, 30));
        db.close().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_says_421_before_anything_is_slowed_as_a_whole_and_recovers() {
    each_database(|url| async move {
        let db = Db::open(&url).await.unwrap();
        let said = AtomicU64::new(0);
        let main = catcher(Arc::new(Acting(move |m: &Moment<'_>| match m.stage {
            Stage::Banner if said.fetch_add(1, Relaxed) < 2 => Answer::reply(421, "4.7.0", "Slow down"),
            _ => Answer::agree(),
        })))
        .await;
        let pacing = Pacing { relay: Some(Rate { messages: 400, per: SECOND }), ..Pacing::default() };
        let only = || vec![Relay { pacing: pacing.clone(), connections: 1, ..relay(RELAY, &main.url()) }];
        sent_to(&db, "hello", 20).await;
        let (totals, ended) = drained_through(&db, only()).await;
        assert_eq!((totals.accepted, totals.deferred, ended), (20, 0, Ended::Idle), "no try was spent");
        let held = async || pacing::held(&db, |_| pacing.clone(), clock::now()).await.unwrap().slowed;
        let slowed = held().await;
        let [lane] = &slowed[..] else { panic!("{slowed:?}") };
        assert_eq!((lane.lane.as_str(), lane.rate, lane.full_rate), (RELAY, 200.0, Some(400.0)), "once for one cause");
        assert!(lane.reason.contains("421 4.7.0 Slow down"), "{lane:?}");
        assert_eq!(relays::outages(&db).await.unwrap(), [], "it is not taken for unreachable");
        // Every lane of it keeps to that, also where the settings name no rate.
        let free = Pacing::default();
        let granted = pacing::reserve(&db, &free, "default/gmail", 10, clock::now()).await.unwrap();
        assert_ne!(granted, pacing::Reserved::Free);
        let other = pacing::reserve(&db, &free, "spare/gmail", 10, clock::now()).await.unwrap();
        assert_eq!(other, pacing::Reserved::Free, "another relay is not meant");
        db.execute("UPDATE pace SET slowed_at = slowed_at - $1", args![DAY]).await.unwrap();
        assert_eq!(held().await, []);
        let granted = pacing::reserve(&db, &free, "default/gmail", 10, clock::now()).await.unwrap();
        assert_eq!(granted, pacing::Reserved::Free);
        db.close().await;
    })
    .await;
}

/// Settings with two relays, one of them three times the other.
fn two_relays(shop: &Scenario) {
    let settings = std::fs::read_to_string(shop.path("okaeri.yaml")).unwrap();
    let relays = "  relays:\n    - { relay: main, url: \"${SMTP_URL}\", weight: 3 }\n    \
                  - { relay: other, url: \"${SMTP_OTHER_URL}\" }\n";
    shop.write("okaeri.yaml", settings.replace("  url: ${SMTP_URL}\n", relays));
}

#[tokio::test(flavor = "multi_thread")]
async fn relays_share_the_mail_by_weight_and_a_person_keeps_theirs() {
    each_database(|url| async move {
        let (main, other) = (agreeable().await, agreeable().await);
        let shop = Scenario::new(&url).smtp(&main.url()).with("SMTP_OTHER_URL", &other.url()).campaign("hello", "");
        two_relays(&shop);
        let shop = shop.with_people(200).await;
        shop.okaeri("send hello --slot one").await.exits(0);
        let (of_main, of_other) = (recipients(&main), recipients(&other));
        assert_eq!((of_main.len() + of_other.len(), of_main.intersection(&of_other).count()), (200, 0));
        assert!((130..170).contains(&of_main.len()), "{} of 200, where three quarters are meant", of_main.len());
        shop.okaeri("send hello --slot two").await.exits(0);
        assert_eq!((recipients(&main), recipients(&other)), (of_main.clone(), of_other.clone()));
        let groups = shop.json("queue list --by relay", 0).await;
        let counted = |n: usize| (groups["groups"][n]["group"].clone(), groups["groups"][n]["messages"].clone());
        assert_eq!(counted(0), ("main".into(), (2 * of_main.len()).into()));
        assert_eq!(counted(1), ("other".into(), (2 * of_other.len()).into()));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_is_told_by_status_and_doctor() {
    each_database(|url| async move {
        let other = agreeable().await;
        let gone = deserted();
        let shop = Scenario::new(&url).smtp(&gone).with("SMTP_OTHER_URL", &other.url()).campaign("hello", "");
        two_relays(&shop);
        let shop = shop.with_people(20).await;
        shop.okaeri("send hello").await.exits(0);
        assert_eq!(other.counts().messages, 20);
        let told = shop.okaeri("queue status").await.exits(0).stdout;
        assert!(told.contains("main takes no mail since ") && told.contains("and is tried again "), "{told}");
        assert_eq!(shop.json("queue status", 0).await["outages"][0]["relay"], "main");
        let told = shop.okaeri("doctor --dns 127.0.0.1:9").await.stdout;
        assert!(told.contains(&format!("relay main: {gone}")), "{told}");
        assert!(told.contains("its mail goes to the other relays"), "{told}");
        assert!(told.contains(&format!("relay other: {} answers in clear text", other.url())), "{told}");
    })
    .await;
}
