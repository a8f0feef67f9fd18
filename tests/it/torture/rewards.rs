//! Rewards under kills: while the codes are given out, and while four workers send them.
//!
//! What each mail shows is read from what the server stored.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use okaeri::args;
use okaeri::catcher::{Catcher, CatcherOptions};
use okaeri::db::Db;

use crate::crash::{Chance, age_leases, enlisted, until};
use crate::ground::promise::{judge, nothing_is_left};
use crate::ground::scenario::{CONNECTIONS, Running, Scenario};
use crate::reward::{brings_codes, giving, shown};

/// Workers at once on Postgres; SQLite has one that delivers.
const WORKERS: usize = 4;
/// Kills of a planner, at most: as many ranges as there are, less one.
const PLANNER_KILLS: usize = 4;

/// So many people and codes, exactly; workers die in so many rounds, all of them in each.
pub async fn are_given_once(url: &str, people: usize, rounds: usize) {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let options = CatcherOptions { log: Some(log.clone()), ..CatcherOptions::default() };
    let catcher = Catcher::start(options).await.unwrap();
    let shop = giving(url, "  ten: { title: Ten, value: 10 }\n", "ten", "").with_people(people).await;
    brings_codes(&shop, "ten", people).await;
    let db = shop.database().await;
    let mut chance = Chance::new();
    let begun = Instant::now();
    let shop = dies_while_it_gives(shop.smtp("smtp://127.0.0.1:9"), &db, &mut chance).await;
    println!("{people} codes given out after {:?}, kills included", begun.elapsed());
    assert_eq!(catcher.counts().messages, 0);
    let shop = shop.smtp(&catcher.url());
    let workers = if url.starts_with("sqlite:") { 1 } else { WORKERS };
    let mut kills = 0;
    for _ in 0..rounds {
        kills += die_while_they_send(&shop, &catcher, &mut chance, (workers, people / rounds / workers)).await;
        age_leases(&db).await;
    }
    assert!(kills > 0, "somebody was killed at work");
    let ran = shop.okaeri("work").await;
    assert!(matches!(ran.code(), 0 | 3), "{ran:?}");
    println!("{kills} workers killed, all sent after {:?}", begun.elapsed());

    judge(&db, &log, people, kills * CONNECTIONS).await;
    nothing_is_left(&shop).await;
    each_shows_its_own(&db, &catcher, people).await;
    let listed = shop.json("reward list", 0).await;
    let ten = &listed["pools"][0];
    let n = |key: &str| ten[key].as_u64().unwrap() as usize;
    assert_eq!((n("left"), n("issued"), n("returned")), (0, people, 0), "{listed}");
}

/// The planner dies after a range or in the middle of the next, again and again; at last it comes to the end, and dies at its first lease.
async fn dies_while_it_gives(shop: Scenario, db: &Db, chance: &mut Chance) -> Scenario {
    let at = async || {
        let run: Option<(i64, String)> =
            db.fetch_optional("SELECT next_bucket, state FROM run", args![]).await.unwrap();
        run.map_or((0, String::new()), |(next, state)| (next, state))
    };
    for _ in 0..PLANNER_KILLS {
        let (before, _) = at().await;
        let mut process = shop.start("send hello --slot one --quiet");
        until("a range is written", async || at().await.0 > before || process.has_ended()).await;
        tokio::time::sleep(Duration::from_micros(chance.below(200_000))).await;
        process.kill().await;
        db.execute("UPDATE lease SET until_at = 0", args![]).await.unwrap();
        let (next, state) = at().await;
        let out: (i64,) = db.fetch_one("SELECT COUNT(*) FROM reward_issue", args![]).await.unwrap();
        let messages: (i64,) = db.fetch_one("SELECT COUNT(*) FROM message", args![]).await.unwrap();
        assert_eq!(out, messages, "a code with every message, and with nothing else");
        if next >= 1024 || state != "enqueuing" {
            break;
        }
    }
    age_leases(db).await;
    enlisted(shop).await
}

async fn die_while_they_send(
    shop: &Scenario,
    catcher: &Catcher,
    chance: &mut Chance,
    (workers, between): (usize, usize),
) -> usize {
    let mut alive: Vec<Running> = (0..workers).map(|_| shop.start("work --quiet")).collect();
    let mut kills = 0;
    while !alive.is_empty() {
        let target = catcher.counts().messages + 1 + chance.below(between.max(1) as u64);
        // Who is left may find every chunk held by the dead: then it dies waiting.
        let patience = Instant::now() + Duration::from_secs(5);
        until("messages pass", async || {
            catcher.counts().messages >= target || Instant::now() > patience || alive.iter_mut().all(Running::has_ended)
        })
        .await;
        let victim = alive.swap_remove(chance.below(alive.len() as u64) as usize);
        kills += usize::from(victim.kill().await);
    }
    kills
}

/// Every mail that the server has shows one code, which the ledger gave to its recipient and to nobody else.
async fn each_shows_its_own(db: &Db, catcher: &Catcher, people: usize) {
    let given: Vec<(String, String)> = db
        .fetch_all(
            "SELECT m.address, i.code FROM reward_issue i JOIN delivery d ON d.bucket = i.bucket AND d.chunk_id = i.chunk_id AND d.seq = i.seq \
             JOIN message m ON m.bucket = d.bucket AND m.customer_id = d.customer_id AND m.chunk_id = d.chunk_id AND m.seq = d.seq \
             WHERE i.returned_at IS NULL",
            args![],
        )
        .await
        .unwrap();
    assert_eq!(given.len(), people);
    let codes: BTreeSet<&String> = given.iter().map(|(_, code)| code).collect();
    assert_eq!(codes.len(), people, "every code is issued at most once");
    let given: BTreeMap<&String, &String> = given.iter().map(|(who, code)| (who, code)).collect();
    let shown = shown(catcher);
    for (recipient, code) in &shown {
        assert_eq!(given.get(recipient), Some(&code), "{recipient}");
    }
    println!("{} mails, each with its own code", shown.len());
}
