//! Pacing: rates hold over all processes, a slow lane keeps nobody waiting, and neither does a clock that was wrong. The arithmetic is proved
//! in `delivery::pacing::bucket`; here the database, the server and several processes take part, with bounds that a busy machine keeps.

use std::time::Instant;

use okaeri::args;
use okaeri::clock::{self, DAY, HOUR, SECOND};
use okaeri::db::Db;
use okaeri::delivery::pacing::{self, Reserved};
use okaeri::delivery::{Ended, Totals};
use okaeri::queue::status;
use okaeri::settings::{Pacing, Rate};

use crate::ground::each_database;
use crate::ground::mail::by_recipient;
use crate::ground::scenario::Scenario;
use crate::ground::sending::{enqueued, paced};

const LANE: &str = "default/other";

fn rate(messages: u32) -> Rate {
    Rate { messages, per: SECOND }
}

fn family(name: &str, messages: u32) -> Pacing {
    Pacing { families: vec![(name.to_owned(), rate(messages))], ..Pacing::default() }
}

async fn send_to(db: &Db, campaign: &str, addresses: impl Iterator<Item = String>) -> String {
    let addresses: Vec<String> = addresses.collect();
    enqueued(db, campaign, &addresses.iter().map(String::as_str).collect::<Vec<_>>()).await
}

#[tokio::test]
async fn a_slow_lane_keeps_its_rate_and_the_others_do_not_wait_for_it() {
    each_database(|url| async move {
        let db = Db::open(&url).await.unwrap();
        let catcher = by_recipient().await;
        send_to(&db, "slow", (0..4).map(|n| format!("g{n}@gmail.com"))).await;
        send_to(&db, "quick", (0..150).map(|n| format!("c{n}@example.com"))).await;
        let (totals, ended) = paced(&db, &catcher.url(), family("gmail", 1)).await;
        assert_eq!((totals.accepted, ended), (154, Ended::Idle));
        let mails = catcher.mails();
        let slow: Vec<(usize, i64)> = (0..)
            .zip(&mails)
            .filter(|(_, mail)| mail.envelope_to[0].ends_with("@gmail.com"))
            .map(|(place, mail)| (place, mail.at))
            .collect();
        assert!(slow[3].1 - slow[0].1 > 2_000, "four messages at one a second: {slow:?}");
        assert_eq!(slow[3].0, 153, "everything else was through before: {slow:?}");
        db.close().await;
    })
    .await;
}

#[tokio::test]
async fn the_rate_holds_over_two_processes_together() {
    each_database(|url| async move {
        let (a, b) = (Db::open(&url).await.unwrap(), Db::open(&url).await.unwrap());
        let catcher = by_recipient().await;
        for campaign in ["one", "two", "three"] {
            send_to(&a, campaign, (0..70).map(|n| format!("{campaign}{n}@example.com"))).await;
        }
        let server = catcher.url();
        let pacing = Pacing { relay: Some(rate(40)), ..Pacing::default() };
        let ((of_a, _), (of_b, _)) = tokio::join!(paced(&a, &server, pacing.clone()), paced(&b, &server, pacing));
        assert_eq!(of_a.accepted + of_b.accepted, 210);
        assert!(of_a.accepted > 0 && of_b.accepted > 0, "both took part: {of_a:?} {of_b:?}");
        let mails = catcher.mails();
        let took = mails.iter().map(|m| m.at).max().unwrap() - mails.iter().map(|m| m.at).min().unwrap();
        // 5 s at 40 a second; half of that, if each kept a rate of its own.
        assert!(took > 3_500, "210 messages in {took} ms");
        a.close().await;
        b.close().await;
    })
    .await;
}

#[tokio::test]
async fn a_lane_that_is_told_to_go_slower_does_and_says_why() {
    each_database(|url| async move {
        let db = Db::open(&url).await.unwrap();
        let catcher = by_recipient().await;
        send_to(&db, "hello", ["busy@example.com", "full@gmail.com"].map(str::to_owned).into_iter()).await;
        let pacing = Pacing { default: Some(rate(40)), ..Pacing::default() };
        let (totals, _) = paced(&db, &catcher.url(), pacing.clone()).await;
        assert_eq!(totals.deferred, 2);
        let held = pacing::held(&db, |_| pacing.clone(), clock::now()).await.unwrap();
        let [lane] = &held.slowed[..] else { panic!("a full mailbox slows nobody: {held:?}") };
        assert_eq!((lane.lane.as_str(), lane.rate, lane.full_rate), (LANE, 20.0, Some(40.0)));
        assert_eq!(lane.reason, "451 4.3.0 Try again later");
        // The next process keeps to it: 60 messages at 20 a second.
        send_to(&db, "next", (0..60).map(|n| format!("c{n}@example.com"))).await;
        let started = Instant::now();
        let (totals, _) = paced(&db, &catcher.url(), pacing.clone()).await;
        assert_eq!(totals.accepted, 60);
        assert!(started.elapsed().as_millis() > 2_000, "{:?}", started.elapsed());
        // Without rates in the settings too.
        let free = Pacing::default();
        assert_ne!(reserved(&db, &free, 10).await, Reserved::Free);
        // It comes back; and a clock that was ahead does not keep it down.
        for at in [clock::now() - HOUR, clock::now() + 400 * DAY] {
            db.execute("UPDATE pace SET slowed_at = $1, free_at = 0", args![at]).await.unwrap();
            let held = pacing::held(&db, |_| pacing.clone(), clock::now()).await.unwrap();
            assert_eq!(held.slowed.is_empty(), at < clock::now(), "{held:?}");
        }
        assert!(matches!(reserved(&db, &pacing, 1).await, Reserved::Granted(_)));
        let (at,): (i64,) = db.fetch_one("SELECT slowed_at FROM pace WHERE lane = $1", args![LANE]).await.unwrap();
        assert!(at <= clock::now());
        db.close().await;
    })
    .await;
}

async fn reserved(db: &Db, pacing: &Pacing, messages: u32) -> Reserved {
    pacing::reserve(db, pacing, LANE, messages, clock::now()).await.unwrap()
}

#[tokio::test]
async fn a_warm_up_counts_its_days_and_ends() {
    each_database(|url| async move {
        let db = Db::open(&url).await.unwrap();
        let catcher = by_recipient().await;
        let run_id = send_to(&db, "hello", (0..40).map(|n| format!("c{n}@example.com"))).await;
        let pacing = Pacing { warm_up: vec![3, 10], ..Pacing::default() };
        let day = async |url: String, pacing: Pacing| paced(&db, &url, pacing).await;
        let (totals, ended) = day(catcher.url(), pacing.clone()).await;
        assert_eq!((totals.accepted, ended), (3, Ended::Idle));
        assert!(status::next_due(&db, Some(&run_id)).await.unwrap().is_some(), "the rest waits in the queue");
        let held = pacing::held(&db, |_| pacing.clone(), clock::now()).await.unwrap();
        let [warm_up] = &held.warm_up[..] else { panic!("{held:?}") };
        assert_eq!((warm_up.day, warm_up.allowed, warm_up.messages), (1, 3, 3));
        let next = pacing::next_due(&status::due_by_lane(&db, None).await.unwrap(), &held);
        assert_eq!(next, Some(warm_up.next_at), "the rest is due when the next day may begin");
        assert_eq!(day(catcher.url(), pacing.clone()).await.0, Totals::default(), "the day is used up");
        // Clocks that were wrong: a day that seems to begin in a year ends in a day.
        db.execute("UPDATE warm_up SET day_from_at = $1", args![clock::now() + 365 * DAY]).await.unwrap();
        assert_eq!(day(catcher.url(), pacing.clone()).await.0, Totals::default());
        let (from_at,): (i64,) = db.fetch_one("SELECT day_from_at FROM warm_up", args![]).await.unwrap();
        assert!(from_at <= clock::now());
        // A year later it is the second day, not the end of the plan.
        db.execute("UPDATE warm_up SET day_from_at = day_from_at - $1", args![365 * DAY]).await.unwrap();
        assert_eq!(day(catcher.url(), pacing.clone()).await.0.accepted, 10);
        db.execute("UPDATE warm_up SET day_from_at = day_from_at - $1", args![DAY]).await.unwrap();
        assert_eq!(day(catcher.url(), pacing.clone()).await.0.accepted, 27);
        assert_eq!(pacing::held(&db, |_| pacing.clone(), clock::now()).await.unwrap().warm_up, []);
        db.close().await;
    })
    .await;
}

#[tokio::test]
async fn what_was_reserved_by_a_clock_that_was_ahead_does_not_stop_the_lane() {
    each_database(|url| async move {
        let db = Db::open(&url).await.unwrap();
        let catcher = by_recipient().await;
        let pacing = family("other", 20);
        assert!(matches!(reserved(&db, &pacing, 5).await, Reserved::Granted(_)));
        db.execute("UPDATE pace SET free_at = $1", args![clock::now() + 400 * DAY]).await.unwrap();
        send_to(&db, "hello", (0..5).map(|n| format!("c{n}@example.com"))).await;
        assert_eq!(paced(&db, &catcher.url(), pacing).await.0.accepted, 5);
        db.close().await;
    })
    .await;
}

#[tokio::test]
async fn a_connection_carries_no_more_messages_than_it_may() {
    each_database(|url| async move {
        let db = Db::open(&url).await.unwrap();
        let catcher = by_recipient().await;
        send_to(&db, "hello", (0..30).map(|n| format!("c{n}@example.com"))).await;
        let pacing = Pacing { messages_per_connection: Some(4), ..Pacing::default() };
        assert_eq!(paced(&db, &catcher.url(), pacing).await.0.accepted, 30);
        let connections = catcher.counts().connections;
        assert!((8..=10).contains(&connections), "{connections} connections for 30 messages, 4 each");
        db.close().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invocation_ends_when_its_time_is_over_and_says_what_holds_mail_back() {
    each_database(|url| async move {
        let catcher = by_recipient().await;
        let shop = Scenario::new(&url).smtp(&catcher.url()).campaign("hello", "").with_people(40).await;
        let settings = std::fs::read_to_string(shop.path("okaeri.yaml")).unwrap();
        let slow = settings.replace("  connections: 4\n", "  connections: 4\n  rates: { other: 1/s }\n");
        shop.write("okaeri.yaml", &slow);
        let first = shop.json("send hello --max-time 3s", 75).await;
        assert_eq!(first["delivery"]["ended"], "time_up", "{first}");
        let sent = catcher.counts().messages;
        assert!(sent <= 10, "{sent} messages in three seconds, planning included");
        let plan = settings.replace("  connections: 4\n", &format!("  connections: 4\n  warm_up: [{}]\n", 5));
        shop.write("okaeri.yaml", &plan);
        let used_up = shop.json("work", 75).await;
        assert!(used_up["next_due_at"].as_i64().unwrap() > clock::now() + HOUR, "not today: {used_up}");
        assert_eq!(catcher.counts().messages, sent + 5);
        let told = shop.okaeri("queue status").await.exits(0).stdout;
        assert!(told.contains("default warms up: day 1, 5 of 5 messages"), "{told}");
        assert_eq!(shop.json("queue status", 0).await["warm_up"][0]["messages"], 5);
        shop.write("okaeri.yaml", &settings);
        shop.okaeri("work --max-time 10m").await.exits(0);
        assert_eq!(catcher.counts().messages, 40);
        let wrong = shop.okaeri("work --max-time soon").await.exits(2);
        assert!(wrong.stderr.contains("a length of time such as 20m"), "{}", wrong.stderr);
    })
    .await;
}
