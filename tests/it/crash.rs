//! Processes that die, freeze, or start twice, and what is left: nobody mailed twice, nobody silently lost, every doubt named.
//!
//! The server's own log judges. Leases that a dead process held would make its heirs wait half a minute; with no other process alive, the
//! tests age them in the database instead. Instants of death are random from a seed that is printed (`OKAERI_SEED` sets it).

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use okaeri::args;
use okaeri::catcher::{Answer, Behaviour, Catcher, CatcherOptions, Keep, Moment, Stage};
use okaeri::clock;
use okaeri::db::Db;
use okaeri::failpoint::STEPS;
use sqlx::Connection as _;

use crate::ground::each_database;
use crate::ground::mail::conversations;
use crate::ground::promise::{holds, judge, nothing_is_left};
use crate::ground::scenario::{CONNECTIONS, Running, Scenario};

/// Messages of the sends that are killed again and again, and how often.
const MESSAGES: usize = 5_000;
const KILLS: usize = 20;
/// Messages that pass before a kill, at most: 20 kills must fall before the end.
const BETWEEN_KILLS_MAX: u64 = 200;
/// How often a state is looked at while waiting for it, and how long it may take on a busy machine.
const POLL: Duration = Duration::from_millis(2);
const PATIENCE: Duration = Duration::from_secs(180);

/// Splitmix64: random instants that can be had again.
pub struct Chance(u64);

impl Chance {
    pub fn new() -> Chance {
        let seed = std::env::var("OKAERI_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(clock::now() as u64);
        println!("OKAERI_SEED={seed}");
        Chance(seed)
    }

    pub fn from(seed: u64) -> Chance {
        Chance(seed)
    }

    pub fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }
}

/// Waits until something is so.
pub async fn until(what: &str, mut is: impl AsyncFnMut() -> bool) {
    let started = Instant::now();
    while !is().await {
        assert!(started.elapsed() < PATIENCE, "waited in vain until {what}");
        tokio::time::sleep(POLL).await;
    }
}

/// A server that logs what it takes, and takes its time: `pause` for each message.
pub async fn logging_catcher(log: &Path, pause: Duration) -> Catcher {
    struct Slow(Duration);
    impl Behaviour for Slow {
        fn answer(&self, moment: &Moment<'_>) -> Answer {
            match moment.stage {
                Stage::EndOfData if !self.0.is_zero() => Answer::store_then_wait(self.0),
                _ => Answer::agree(),
            }
        }
    }
    let behaviour = Arc::new(Slow(pause));
    let options =
        CatcherOptions { keep: Keep::Memory, log: Some(log.to_owned()), behaviour, ..CatcherOptions::default() };
    Catcher::start(options).await.unwrap()
}

/// What the dead left behind is free at once. Only while nobody delivers.
pub async fn age_leases(db: &Db) {
    db.execute("UPDATE chunk SET lease_until_at = 0 WHERE state = 'leased'", args![]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_kills_of_a_process_that_sends_from_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", folder.path().join("okaeri.db").display());
    let log = folder.path().join("log");
    let catcher = logging_catcher(&log, Duration::ZERO).await;
    let shop = Scenario::new(&url).smtp(&catcher.url()).campaign("hello", "").with_people(MESSAGES).await;
    let mut chance = Chance::new();
    let mut kills = 0;
    for _ in 0..KILLS {
        let mut process = shop.start("send hello --slot one --quiet");
        let target = catcher.counts().messages + 1 + chance.below(BETWEEN_KILLS_MAX);
        until("messages pass", async || catcher.counts().messages >= target || process.has_ended()).await;
        tokio::time::sleep(Duration::from_micros(chance.below(3_000))).await;
        kills += usize::from(process.kill().await);
        age_leases(&shop.database().await).await;
    }
    assert_eq!(kills, KILLS, "every process was killed at work");
    let last = shop.okaeri("send hello --slot one").await;
    assert!(matches!(last.code(), 0 | 3), "{last:?}");
    judge(&shop.database().await, &log, MESSAGES, KILLS * CONNECTIONS).await;
    nothing_is_left(&shop).await;
}

/// One send dies at each step by its name; another at the first step of all, then at the second, … until a process comes to the end. So in each
/// conversation.
#[tokio::test(flavor = "multi_thread")]
async fn a_send_that_dies_at_every_step_in_turn_comes_to_its_end() {
    const PEOPLE: usize = 60;
    let ways =
        conversations().into_iter().flat_map(|(name, offers)| [true, false].map(|by| (name, offers.clone(), by)));
    for (conversation, extensions, by_name) in ways {
        let extensions = &extensions;
        each_database(|url| async move {
            let folder = tempfile::tempdir().unwrap();
            let log = folder.path().join("log");
            let extensions = extensions.clone();
            let options = CatcherOptions { log: Some(log.clone()), extensions, ..CatcherOptions::default() };
            let catcher = Catcher::start(options).await.unwrap();
            let mut shop = Scenario::new(&url).smtp(&catcher.url()).campaign("hello", "").with_people(PEOPLE).await;
            let db = shop.database().await;
            // The last step of the first comes when everything is sent; the process after it passes few.
            let named = STEPS.iter().map(|step| format!("{}:1", step.word())).chain(["any:1000".to_owned()]);
            let counted = (1..).map(|k| format!("any:{k}"));
            let failpoints: Vec<String> = if by_name { named.collect() } else { counted.take(1_000).collect() };
            let mut kills = 0;
            for failpoint in failpoints {
                shop = shop.with("OKAERI_FAILPOINT", &failpoint);
                let ran = shop.okaeri("send hello --slot one --quiet").await;
                if ran.code() >= 0 {
                    assert!(matches!(ran.code(), 0 | 3) && failpoint.starts_with("any"), "{failpoint}: {ran:?}");
                    break;
                }
                kills += 1;
                holds(&db, &log, PEOPLE, kills * CONNECTIONS).await;
                shop.json("queue verify", 0).await;
                age_leases(&db).await;
            }
            println!("{conversation}: {kills} kills");
            assert!(if by_name { kills == STEPS.len() } else { kills > STEPS.len() }, "it died too rarely");
            judge(&db, &log, PEOPLE, kills * CONNECTIONS).await;
            nothing_is_left(&shop).await;
            assert!(catcher.mails().iter().all(|m| m.defects.is_empty()), "every mail is whole");
            assert_eq!(catcher.complaints(), Vec::<String>::new());
        })
        .await;
    }
}

/// The first step of a send kills it, and what is left is sent; then the second step of another send to a new ledger, … until one comes to its end:
/// every step there is, each met by a ledger that nothing has happened to.
#[tokio::test(flavor = "multi_thread")]
async fn a_fresh_send_that_dies_at_its_nth_step_is_finished_by_the_next() {
    const PEOPLE: usize = 3;
    for (conversation, extensions) in conversations() {
        let mut deaths = 0;
        loop {
            let folder = tempfile::tempdir().unwrap();
            let url = format!("sqlite:{}", folder.path().join("okaeri.db").display());
            let log = folder.path().join("log");
            let extensions = extensions.clone();
            let options = CatcherOptions { log: Some(log.clone()), extensions, ..CatcherOptions::default() };
            let catcher = Catcher::start(options).await.unwrap();
            let shop = Scenario::new(&url).smtp(&catcher.url()).campaign("hello", "").with_people(PEOPLE).await;
            let failpoint = format!("any:{}", deaths + 1);
            let shop = shop.with("OKAERI_FAILPOINT", &failpoint);
            let ran = shop.okaeri("send hello --slot one --quiet").await;
            if ran.code() >= 0 {
                assert_eq!(ran.code(), 0, "{conversation} {failpoint}: {ran:?}");
                break;
            }
            deaths += 1;
            let db = shop.database().await;
            holds(&db, &log, PEOPLE, CONNECTIONS).await;
            age_leases(&db).await;
            let shop = shop.with("OKAERI_FAILPOINT", "any:1000");
            let heir = shop.okaeri("send hello --slot one --quiet").await;
            assert!(matches!(heir.code(), 0 | 3), "{conversation} {failpoint}: {heir:?}");
            judge(&db, &log, PEOPLE, CONNECTIONS).await;
            shop.json("queue verify", 0).await;
            assert_eq!(catcher.complaints(), Vec::<String>::new(), "{conversation} {failpoint}");
        }
        println!("{conversation}: {deaths} deaths");
        assert!(deaths >= 2 * PEOPLE + STEPS.len(), "{conversation}: it died too rarely, {deaths} times");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_kills_of_two_workers_on_postgres() {
    let database = crate::ground::postgres::fresh_database().await;
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let catcher = logging_catcher(&log, Duration::ZERO).await;
    let shop = Scenario::new(&database.url).campaign("hello", "").with_people(MESSAGES).await;
    let shop = enlisted(shop).await.smtp(&catcher.url());
    let mut chance = Chance::new();
    let mut kills = 0;
    for _ in 0..KILLS / 2 {
        let mut workers = vec![shop.start("work --quiet"), shop.start("work --quiet")];
        for _ in 0..2 {
            let target = catcher.counts().messages + 1 + chance.below(BETWEEN_KILLS_MAX);
            // The survivor may find every chunk leased by the dead one; then it dies waiting.
            let patience = Instant::now() + Duration::from_secs(5);
            until("messages pass", async || catcher.counts().messages >= target || Instant::now() > patience).await;
            tokio::time::sleep(Duration::from_micros(chance.below(3_000))).await;
            let victim = workers.swap_remove(chance.below(workers.len() as u64) as usize);
            kills += usize::from(victim.kill().await);
        }
        age_leases(&shop.database().await).await;
    }
    assert_eq!(kills, KILLS, "every worker was killed at work");
    let (a, b) = tokio::join!(shop.okaeri("work"), shop.okaeri("work"));
    assert!([&a, &b].iter().all(|r| matches!(r.code(), 0 | 3)), "{a:?} {b:?}");
    judge(&shop.database().await, &log, MESSAGES, KILLS * CONNECTIONS).await;
    nothing_is_left(&shop).await;
    database.remove().await;
}

/// The campaign `hello` in the ledger, with nothing of it sent: the process died at its first lease.
pub async fn enlisted(shop: Scenario) -> Scenario {
    let shop = shop.smtp("smtp://127.0.0.1:9");
    let ran = shop.start_to_fail("lease:1", "send hello --slot one --quiet").end().await;
    assert_eq!(ran.code(), -1, "{ran:?}");
    age_leases(&shop.database().await).await;
    shop
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_frozen_past_its_lease_doubles_nothing_when_it_wakes() {
    const PEOPLE: usize = 1_500;
    let database = crate::ground::postgres::fresh_database().await;
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let catcher = logging_catcher(&log, Duration::from_millis(5)).await;
    let shop = Scenario::new(&database.url).campaign("hello", "").with_people(PEOPLE).await;
    let shop = enlisted(shop).await.smtp(&catcher.url());
    let frozen = shop.start("work --quiet");
    until("messages pass", async || catcher.counts().messages >= 100).await;
    frozen.signal("STOP").await;
    // Half a minute later, as the database sees it: its leases are over, and a transaction it was in the middle of is given up.
    let db = shop.database().await;
    db.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in transaction%'",
        args![],
    )
    .await
    .unwrap();
    age_leases(&db).await;
    let heir = shop.json("work", 3).await;
    assert!(
        heir["totals"]["rescued_unknown"].as_u64().is_some_and(|n| n > 0),
        "it names what the frozen one held: {heir}"
    );
    frozen.signal("CONT").await;
    let woken = frozen.end().await;
    assert!(matches!(woken.code(), 0 | 3), "{woken:?}");
    judge(&db, &log, PEOPLE, CONNECTIONS).await;
    nothing_is_left(&shop).await;
    database.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_sends_of_a_campaign_at_the_same_moment_mail_everyone_once() {
    const PEOPLE: usize = 300;
    each_database(|url| async move {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let catcher = logging_catcher(&log, Duration::ZERO).await;
        let shop = Scenario::new(&url).smtp(&catcher.url()).campaign("hello", "").with_people(PEOPLE).await;
        let line = "send hello --slot one --format json";
        let both = tokio::join!(shop.okaeri(line), shop.okaeri(line));
        let codes = BTreeSet::from([both.0.code(), both.1.code()]);
        assert!(codes.contains(&0) && codes.is_subset(&[0, 75].into()), "{both:?}");
        judge(&shop.database().await, &log, PEOPLE, 0).await;
        nothing_is_left(&shop).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fill_that_is_killed_goes_on_where_it_stood() {
    // Two ranges of buckets, and a limit that is reached in the second.
    const PEOPLE: usize = 5_000;
    const PER_RUN: usize = 4_300;
    each_database(|url| async move {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let catcher = logging_catcher(&log, Duration::ZERO).await;
        let limits = format!("limits: {{ per_run: {PER_RUN} }}");
        let shop = Scenario::new(&url).smtp(&catcher.url()).campaign("hello", &limits).with_people(PEOPLE).await;
        let db = shop.database().await;
        let process = shop.start("send hello --slot one");
        until("the first range is written", async || {
            let run: Option<(i64,)> = db.fetch_optional("SELECT next_bucket FROM run", args![]).await.unwrap();
            run.is_some_and(|(next_bucket,)| next_bucket > 0)
        })
        .await;
        process.kill().await;
        let (state, next_bucket): (String, i64) =
            db.fetch_one("SELECT state, next_bucket FROM run", args![]).await.unwrap();
        assert!(state == "enqueuing" && next_bucket < 1024, "it was killed while it filled: {state}, {next_bucket}");
        assert_eq!(catcher.counts().messages, 0, "nothing leaves before every message is written and rendered");
        shop.json("queue verify", 0).await;
        db.execute("UPDATE lease SET until_at = 0", args![]).await.unwrap();

        let process = shop.start("send hello --slot one");
        until("another process plans", async || {
            let (planners,): (i64,) =
                db.fetch_one("SELECT COUNT(*) FROM lease WHERE until_at > 0", args![]).await.unwrap();
            planners > 0
        })
        .await;
        process.signal("TERM").await;
        process.end().await.exits(75);
        assert_eq!(catcher.counts().messages, 0, "asked to end before anything left");

        shop.json("send hello --slot one", 0).await;
        let report = shop.json("report hello", 0).await;
        assert_eq!(report["audience"], PEOPLE, "{report}");
        let verdicts = &report["verdicts"];
        assert_eq!((&verdicts[0]["people"], &verdicts[1]["people"]), (&PER_RUN.into(), &(PEOPLE - PER_RUN).into()));
        judge(&db, &log, PER_RUN, 0).await;
        nothing_is_left(&shop).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_ends_with_75_and_the_rest_leaves_with_the_templates_of_the_start() {
    const PEOPLE: usize = 400;
    each_database(|url| async move {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let catcher = logging_catcher(&log, Duration::from_millis(10)).await;
        let shop = Scenario::new(&url).smtp(&catcher.url()).campaign("hello", "").with_people(PEOPLE).await;
        let first = interrupted(&shop, "send hello --slot one --format json", &catcher).await;
        assert_eq!(first.json()["delivery"]["ended"], "asked", "{first:?}");
        shop.write(
            "templates/hello/letter.html",
            "Subject: Edited\n\n<p>{{ links.unsubscribe }} {{ brand.organisation }} {{ brand.postal_address }}</p>",
        );
        let second = interrupted(&shop, "send hello --slot one --format json", &catcher).await;
        assert_eq!(second.json()["verdicts"], serde_json::Value::Null, "the slot was planned once: {second:?}");
        shop.write("templates/hello/letter.html", "Subject: {{ broken\n");
        shop.json("work", 0).await;
        let subjects: BTreeSet<String> = catcher.mails().iter().map(|m| subject(&m.bytes)).collect();
        assert!(subjects.iter().all(|s| s.starts_with("Subject: Hello P")), "{subjects:?}");
        judge(&shop.database().await, &log, PEOPLE, 0).await;
        nothing_is_left(&shop).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_drops_its_connections_again_and_again_loses_and_doubles_nothing() {
    const PEOPLE: usize = 2_000;
    const BREAKS: usize = 15;
    let database = crate::ground::postgres::fresh_database().await;
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let catcher = logging_catcher(&log, Duration::ZERO).await;
    let shop = Scenario::new(&database.url).campaign("hello", "").with_people(PEOPLE).await;
    let shop = enlisted(shop).await.smtp(&catcher.url());
    let mut operator = sqlx::PgConnection::connect(&database.url).await.unwrap();
    let mut chance = Chance::new();
    let mut process = shop.start("work");
    for _ in 0..BREAKS {
        let target = catcher.counts().messages + 1 + chance.below(120);
        until("messages pass", async || catcher.counts().messages >= target || process.has_ended()).await;
        if process.has_ended() {
            age_leases(&shop.database().await).await;
            process = shop.start("work");
        }
        tokio::time::sleep(Duration::from_micros(chance.below(3_000))).await;
        let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                   WHERE datname = current_database() AND application_name = 'okaeri'";
        sqlx::query(cut).execute(&mut operator).await.unwrap();
    }
    let ran = process.end().await;
    assert!(matches!(ran.code(), 0 | 3 | 5 | 75), "{ran:?}");
    let db = shop.database().await;
    age_leases(&db).await;
    let last = shop.okaeri("work").await;
    assert!(matches!(last.code(), 0 | 3), "{last:?}");
    judge(&db, &log, PEOPLE, BREAKS * CONNECTIONS).await;
    nothing_is_left(&shop).await;
    database.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_run_holds_what_has_not_left_and_a_resumed_one_sends_it() {
    const PEOPLE: usize = 300;
    each_database(|url| async move {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let catcher = logging_catcher(&log, Duration::from_millis(10)).await;
        let shop = Scenario::new(&url).smtp(&catcher.url()).campaign("hello", "").with_people(PEOPLE).await;
        let process = shop.start("send hello --slot one --format json");
        until("fifty messages pass", async || catcher.counts().messages >= 50).await;
        let status = shop.json("queue status", 0).await;
        let run = status["runs"][0]["run_id"].as_str().unwrap();
        shop.json(&format!("queue pause {run}"), 0).await;
        let held = catcher.counts().messages as usize;
        process.end().await.exits(4); // to be run again only when somebody let it go on
        let left = catcher.counts().messages as usize;
        assert!(left < PEOPLE && left <= held + CONNECTIONS, "only what was in flight: {held}, then {left}");
        shop.json("work", 4).await;
        assert_eq!(catcher.counts().messages as usize, left, "a paused run stays where it is");
        shop.json(&format!("queue resume {run}"), 0).await;
        shop.json("work", 0).await;
        judge(&shop.database().await, &log, PEOPLE, 0).await;
        nothing_is_left(&shop).await;
    })
    .await;
}

/// A send that is told to end when fifty more messages have passed; it exits with 75.
async fn interrupted(shop: &Scenario, line: &str, catcher: &Catcher) -> crate::ground::scenario::Ran {
    let process: Running = shop.start(line);
    let target = catcher.counts().messages + 50;
    until("fifty messages pass", async || catcher.counts().messages >= target).await;
    process.signal("TERM").await;
    process.end().await.exits(75)
}

fn subject(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.lines().find(|l| l.starts_with("Subject:")).unwrap_or_default().to_owned()
}
