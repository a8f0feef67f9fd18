//! Hands that come too late, and clocks and databases of another time: a worker that wakes up over the end of its lease, a clock that was
//! ahead, an old copy of the ledger.

use std::time::Duration;

use okaeri::args;
use okaeri::catcher::read_log;
use okaeri::clock::{self, HOUR};
use okaeri::db::Db;
use okaeri::queue::LEASE;

use crate::crash::{age_leases, enlisted, logging_catcher, until};
use crate::ground::postgres;
use crate::ground::promise::{judge, nothing_is_left};
use crate::ground::scenario::{CONNECTIONS, Scenario};

/// The ids of messages in doubt.
async fn in_doubt(db: &Db) -> Vec<String> {
    let sql = "SELECT m.message_id FROM message m JOIN delivery d ON d.bucket = m.bucket AND d.customer_id = m.customer_id \
               AND d.chunk_id = m.chunk_id AND d.seq = m.seq WHERE d.state = 'unknown'";
    db.fetch_all::<(String,)>(sql, args![]).await.unwrap().into_iter().map(|(id,)| id).collect()
}

/// The heir waits, as it would, until the lease is over: half a minute.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_wakes_after_its_message_was_sent_again_sends_it_no_second_time() {
    const PEOPLE: usize = 40;
    let database = postgres::fresh_database().await;
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let catcher = logging_catcher(&log, Duration::ZERO).await;
    let shop = Scenario::new(&database.url).campaign("hello", "").with_people(PEOPLE).await;
    let shop = enlisted(shop).await.smtp(&catcher.url());
    let db = shop.database().await;
    // Its commits are confirmed, and not a byte of their contents is written.
    let frozen = shop.start_to_fail("commit_confirmed:3:stop", "work --quiet");
    until("it is frozen", async || frozen.is_stopped()).await;
    shop.json("work", 3).await;
    let ids = in_doubt(&db).await;
    assert!(!ids.is_empty() && ids.len() <= CONNECTIONS, "{ids:?}");
    // What the server's log does not have is sent again.
    let logged = read_log(&log).unwrap();
    let has = |id: &String| logged.iter().any(|l| l.message_id == Some(format!("<{id}@example.com>")));
    assert!(!ids.iter().all(has), "what was frozen before its content left: {ids:?}");
    for id in &ids {
        let what = if has(id) { "accepted" } else { "resend" };
        let words = ["queue", "resolve", id, "--as", what, "--evidence", "the server's log", "--by", "mia"];
        shop.start_with(&words).end().await.exits(0);
    }
    shop.json("work", 0).await;
    assert_eq!(catcher.counts().messages, PEOPLE as u64, "everybody has it");
    frozen.signal("CONT").await;
    let woken = frozen.end().await;
    assert!(matches!(woken.code(), 0 | 3), "{woken:?}");
    judge(&db, &log, PEOPLE, 0).await;
    nothing_is_left(&shop).await;
    database.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_worker_whose_clock_was_ahead_keeps_nobody_waiting_for_hours() {
    const PEOPLE: usize = 60;
    crate::ground::each_database(|url| async move {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let catcher = logging_catcher(&log, Duration::ZERO).await;
        let shop = Scenario::new(&url).campaign("hello", "").with_people(PEOPLE).await;
        let shop = enlisted(shop).await.smtp(&catcher.url());
        let db = shop.database().await;
        let mut kills = 0;
        for (hours, failpoint) in [(2, "dot_sent:5"), (-2, "commit_confirmed:1"), (2, "lease:1")] {
            let shift = (hours * HOUR).to_string();
            let variables = [("OKAERI_CLOCK_SHIFT", shift.as_str()), ("OKAERI_FAILPOINT", failpoint)];
            let ran = shop.start_under(&[], &["work", "--quiet"], &variables).end().await;
            // By a clock that is behind nothing is due yet.
            kills += usize::from(ran.code() == -1);
            assert!(ran.code() == -1 || hours < 0, "{ran:?}");
            let heir = shop.start("work --quiet");
            until("no lease lasts longer than one can", async || {
                let sql = "SELECT COUNT(*) FROM chunk WHERE state = 'leased' AND lease_until_at > $1";
                db.fetch_one::<(i64,)>(sql, args![clock::now() + 2 * LEASE]).await.unwrap() == (0,)
            })
            .await;
            heir.signal("TERM").await;
            heir.end().await;
            age_leases(&db).await;
        }
        let last = shop.okaeri("work").await;
        assert!(matches!(last.code(), 0 | 3), "{last:?}");
        judge(&db, &log, PEOPLE, kills * CONNECTIONS).await;
        nothing_is_left(&shop).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_planner_whose_clock_was_ahead_keeps_nobody_from_planning() {
    crate::ground::each_database(|url| async move {
        let db = Db::open(&url).await.unwrap();
        let now = clock::now();
        let dead = okaeri::queue::planner::take(&db, now + 2 * HOUR).await.unwrap().unwrap();
        assert!(
            okaeri::queue::planner::take(&db, now).await.unwrap().is_some(),
            "it is held for half a minute at most"
        );
        assert!(!dead.renew(&db, now + 2 * HOUR).await.unwrap(), "and whoever had it hears of that");
        assert!(okaeri::queue::planner::take(&db, now).await.unwrap().is_none(), "one at a time");
        db.close().await;
    })
    .await;
}

/// Puts an old copy in the place of a database.
struct Copy {
    url: String,
    postgres: Option<postgres::FreshDatabase>,
    folder: tempfile::TempDir,
}

impl Copy {
    async fn of(url: &str) -> Copy {
        let folder = tempfile::tempdir().unwrap();
        let postgres = match url.strip_prefix("sqlite:") {
            Some(file) => {
                let copied = folder.path().join("copy").display().to_string();
                let db = Db::open(url).await.unwrap();
                db.execute("VACUUM INTO $1", args![copied]).await.unwrap();
                db.close().await;
                assert!(std::path::Path::new(file).exists());
                None
            }
            None => Some(postgres::copy_of(url).await),
        };
        Copy { url: url.to_owned(), postgres, folder }
    }

    async fn put_back(self) {
        match (self.url.strip_prefix("sqlite:"), self.postgres) {
            (Some(file), _) => {
                for end in ["-wal", "-shm"] {
                    let _ = std::fs::remove_file(format!("{file}{end}"));
                }
                std::fs::copy(self.folder.path().join("copy"), file).unwrap();
            }
            (None, Some(copy)) => copy.take_the_place_of(&self.url).await,
            (None, None) => unreachable!("a Postgres copy is a database"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_copy_of_the_ledger_is_noticed_and_nothing_leaves_until_somebody_says_so() {
    const PEOPLE: usize = 30;
    crate::ground::each_database(|url| async move {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let catcher = logging_catcher(&log, Duration::ZERO).await;
        let shop = Scenario::new(&url).smtp(&catcher.url()).campaign("hello", "").with_people(PEOPLE).await;
        shop.okaeri("send hello --slot one").await.exits(0);
        // A backup of every night; then a day's work; then the backup is put back.
        shop.start_to_fail("lease:1", "send hello --slot two --quiet").end().await;
        age_leases(&shop.database().await).await;
        let copy = Copy::of(&url).await;
        shop.okaeri("work").await.exits(0);
        shop.okaeri("send hello --slot three").await.exits(0);
        assert_eq!(catcher.counts().messages, 3 * PEOPLE as u64);
        copy.put_back().await;
        for line in ["work", "send hello --slot two", "send hello --slot three", "run", "work"] {
            let ran = shop.okaeri(line).await.exits(4);
            assert!(ran.stderr.contains("the database is older than what was seen of it"), "{line}: {}", ran.stderr);
            assert!(ran.stderr.contains("okaeri queue restored"), "{line}: {}", ran.stderr);
        }
        assert_eq!(catcher.counts().messages, 3 * PEOPLE as u64, "nothing left");
        let status = shop.json("queue status", 0).await;
        let states: Vec<_> = status["runs"].as_array().unwrap().iter().map(|r| (&r["slot"], &r["state"])).collect();
        assert!(states.iter().any(|(slot, state)| *slot == "two" && *state == "paused"), "{status}");
        // Whoever is on call knows that `two` had left, and says that this database counts.
        let restored = shop.json("queue restored", 0).await;
        let run = restored["held"][0]["run_id"].as_str().unwrap();
        shop.okaeri("work").await.exits(4);
        shop.okaeri(&format!("queue cancel {run}")).await.exits(0);
        shop.okaeri("work").await.exits(0);
        shop.okaeri("send hello --slot four").await.exits(0);
        assert_eq!(catcher.counts().messages, 4 * PEOPLE as u64, "a new slot goes out, the old one does not");
        shop.okaeri("queue verify").await.exits(0);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_was_made_anew_in_the_place_of_another_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("okaeri.db");
    let catcher = logging_catcher(&folder.path().join("log"), Duration::ZERO).await;
    let shop = Scenario::new(&format!("sqlite:{}", file.display()))
        .smtp(&catcher.url())
        .campaign("hello", "")
        .with_people(5)
        .await;
    shop.okaeri("send hello --slot one").await.exits(0);
    for entry in std::fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().path()) {
        let name = entry.file_name().unwrap().to_str().unwrap();
        if name.starts_with("okaeri.db") && name != "okaeri.db.seen" {
            std::fs::remove_file(&entry).unwrap();
        }
    }
    let shop = shop.with_people(5).await;
    let ran = shop.okaeri("send hello --slot one").await.exits(4);
    assert!(ran.stderr.contains("the database is not the one that was here"), "{}", ran.stderr);
    assert_eq!(catcher.counts().messages, 5, "who had it has no second one");
    shop.okaeri("queue restored").await.exits(0);
    shop.okaeri("send hello --slot two").await.exits(0);
    assert_eq!(catcher.counts().messages, 10);
}
