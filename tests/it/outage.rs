//! Databases that fail in the middle: a wire cut at COMMIT, both ways; busy, read-only. What was promised holds, and what to do is said.

use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::time::Duration;

use okaeri::args;
use okaeri::clock;
use okaeri::db::Db;
use okaeri::queue::lease::{self, Lease};
use okaeri::queue::ledger::{Answer, Commit, Key, Ledger, Outcome, Settlement};
use okaeri::queue::{DeliveryState, status};
use okaeri::suppression::Kind;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _};

use crate::crash::{Chance, age_leases, enlisted, logging_catcher, until};
use crate::ground::promise::{judge, nothing_is_left};
use crate::ground::proxy::Proxy;
use crate::ground::scenario::{CONNECTIONS, Scenario};
use crate::ground::sending::enqueued;
use crate::ground::{each_database, postgres};

#[tokio::test(flavor = "multi_thread")]
async fn a_wire_that_is_cut_at_commit_again_and_again_loses_and_doubles_nothing() {
    const PEOPLE: usize = 1_000;
    const CUTS: u64 = 24;
    let database = postgres::fresh_database().await;
    let proxy = Proxy::to(&database.url).await;
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let catcher = logging_catcher(&log, Duration::from_millis(2)).await;
    let shop = Scenario::new(&database.url).campaign("hello", "").with_people(PEOPLE).await;
    let shop = enlisted(shop).await.smtp(&catcher.url()).with("DATABASE_URL", &proxy.url);
    let mut chance = Chance::new();
    let mut process = shop.start("work --quiet");
    let mut given_up = 0;
    while proxy.cuts() < CUTS {
        let before = proxy.cuts();
        proxy.cut_at(1 + chance.below(8), chance.below(2) == 0, chance.below(3));
        until("the wire is cut", async || proxy.cuts() > before || process.has_ended()).await;
        if process.has_ended() {
            let ended = process.end().await;
            assert!(ended.code() == 5, "the last cut came too late: {} cuts, then {ended:?}", proxy.cuts());
            given_up += 1;
            age_leases(&shop.database().await).await;
            process = shop.start("work --quiet");
        }
    }
    proxy.mend();
    // Its own lost claims, if any, it waits for.
    let ended = process.end().await;
    given_up += usize::from(ended.code() == 5);
    assert!(matches!(ended.code(), 0 | 3 | 5 | 75), "{ended:?}");
    let db = shop.database().await;
    age_leases(&db).await;
    let last = shop.okaeri("work").await;
    assert!(matches!(last.code(), 0 | 3), "{last:?}");
    // Whoever goes on reads back what the database did: in doubt is only what a process left that gave the database up.
    judge(&db, &log, PEOPLE, given_up * CONNECTIONS).await;
    nothing_is_left(&shop).await;
    database.remove().await;
}

/// One message claimed by us and committed through this ledger.
async fn committed(db: &Db, ledger: &Ledger) -> (Arc<Lease>, Key) {
    let lease = Arc::new(lease::claim(db, None, &[], clock::now()).await.unwrap().unwrap());
    let queued = lease::load(db, &lease, clock::now()).await.unwrap().remove(0);
    let key = Key { bucket: queued.bucket, chunk_id: queued.chunk_id, seq: queued.seq };
    let commit = Commit {
        key,
        lease: lease.clone(),
        token: "t".to_owned(),
        address_key: queued.address_key.unwrap(),
        kind: Kind::Promotional,
        topic: "offers".to_owned(),
        date_at: clock::now(),
        content_hash: 0,
    };
    assert_eq!(ledger.write(None, Some(commit)).await.unwrap(), Some(Answer::Committed));
    (lease, key)
}

/// State and tries of the one message there is.
async fn stands(db: &Db) -> (String, i64) {
    db.fetch_one("SELECT state, attempts FROM delivery", args![]).await.unwrap()
}

#[tokio::test]
async fn a_chunk_that_is_given_back_names_what_it_leaves_committed() {
    each_database(|url| async move {
        let db = Db::open(&url).await.unwrap();
        enqueued(&db, "hello", &["mia@example.com"]).await;
        let (lease, _) = committed(&db, &Ledger::start(db.clone(), 1)).await;
        // The database did not take the outcome, and is there again when the chunk is given back.
        assert_eq!(lease::release(&db, &lease, clock::now()).await.unwrap(), 1);
        assert_eq!(stands(&db).await.0, "unknown");
        let findings = status::verify(&db, clock::now()).await.unwrap();
        assert!(findings.iter().all(|f| f.rule.contains("verdict")), "{findings:?}"); // it was never planned
        db.close().await;
    })
    .await;
}

/// An outcome after which the message waits.
fn later(key: Key, lease: &Arc<Lease>, token: Option<&str>) -> Settlement {
    let outcome = Outcome {
        state: DeliveryState::Deferred,
        due_at: Some(clock::now()),
        stage: "rcpt",
        code: Some(452),
        enhanced: None,
        reply: "full".to_owned(),
        about: None,
    };
    let token = token.map(str::to_owned);
    Settlement { key, lease: lease.clone(), token, attempt_no: 1, outcome, hard_bounced: None }
}

#[tokio::test]
async fn an_outcome_that_is_written_twice_counts_one_try() {
    each_database(|url| async move {
        let db = Db::open(&url).await.unwrap();
        enqueued(&db, "hello", &["mia@example.com"]).await;
        let lease = Arc::new(lease::claim(&db, None, &[], clock::now()).await.unwrap().unwrap());
        let queued = lease::load(&db, &lease, clock::now()).await.unwrap().remove(0);
        let key = Key { bucket: queued.bucket, chunk_id: queued.chunk_id, seq: queued.seq };
        let ledger = Ledger::start(db.clone(), 1);
        for _ in 0..2 {
            ledger.write(Some(later(key, &lease, None)), None).await.unwrap();
            assert_eq!(stands(&db).await, ("deferred".to_owned(), 1));
        }
        db.close().await;
    })
    .await;
}

#[tokio::test]
async fn a_commit_in_doubt_is_read_back_even_when_the_next_try_fails_too() {
    let database = postgres::fresh_database().await;
    let direct = Db::open(&database.url).await.unwrap();
    let proxy = Proxy::to(&database.url).await;
    let cut = Db::open(&proxy.url).await.unwrap();
    for (n, done) in [true, false].into_iter().enumerate() {
        let people = [format!("a{n}@example.com"), format!("b{n}@example.com")];
        enqueued(&direct, &format!("hello{n}"), &people.each_ref().map(String::as_str)).await;
        let lease = Arc::new(lease::claim(&direct, None, &[], clock::now()).await.unwrap().unwrap());
        let mut queued = lease::load(&direct, &lease, clock::now()).await.unwrap();
        let (b, a) = (queued.remove(1), queued.remove(0));
        let key = |q: &lease::Queued| Key { bucket: q.bucket, chunk_id: q.chunk_id, seq: q.seq };
        let ledger = Ledger::start(cut.clone(), 1);
        let commit = Commit {
            key: key(&b),
            lease: lease.clone(),
            token: format!("t{n}"),
            address_key: b.address_key.clone().unwrap(),
            kind: Kind::Promotional,
            topic: "offers".to_owned(),
            date_at: clock::now(),
            content_hash: 0,
        };
        // The COMMIT of both is cut, and so is the next connection, on which the outcome of the first was to be written again.
        proxy.cut_at(1, done, 2);
        let answer = ledger.write(Some(later(key(&a), &lease, None)), Some(commit)).await.unwrap();
        assert_eq!(answer, Some(if done { Answer::Committed } else { Answer::NotOurs }), "done: {done}");
        let sql = "SELECT state, attempts FROM delivery WHERE bucket = $1 AND chunk_id = $2 AND seq = $3";
        let of =
            async |k: Key| direct.fetch_one::<(String, i64)>(sql, args![k.bucket, k.chunk_id, k.seq]).await.unwrap();
        assert_eq!(of(key(&a)).await, ("deferred".to_owned(), 1), "done: {done}");
        assert_eq!(of(key(&b)).await.0, if done { "committed" } else { "pending" });
        lease::release(&direct, &lease, clock::now()).await.unwrap();
        direct.execute("UPDATE chunk SET state = 'done'", args![]).await.unwrap();
    }
    assert_eq!(proxy.cuts(), 2);
    direct.close().await;
    cut.close().await;
    database.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_busy_is_waited_for() {
    const PEOPLE: usize = 1_000;
    each_database(|url| async move {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let catcher = logging_catcher(&log, Duration::from_millis(5)).await;
        let shop = Scenario::new(&url).smtp(&catcher.url()).campaign("hello", "").with_people(PEOPLE).await;
        let db = shop.database().await;
        let process = shop.start("send hello --slot one --quiet");
        until("messages pass", async || catcher.counts().messages >= 20).await;
        // Somebody else writes, and takes their time: every connection comes to stand before its commit.
        let mut other = db.begin().await.unwrap();
        if url.starts_with("postgres") {
            other.execute("LOCK TABLE delivery IN EXCLUSIVE MODE", args![]).await.unwrap();
        }
        let mut before = (0, 0);
        until("nothing moves any more", async || {
            let now = catcher.counts().messages;
            before = if now == before.0 { (now, before.1 + 1) } else { (now, 0) };
            before.1 >= 100
        })
        .await;
        assert!(before.0 < PEOPLE as u64, "it came to its end");
        other.rollback().await.unwrap();
        process.end().await.exits(0);
        judge(&db, &log, PEOPLE, 0).await;
        nothing_is_left(&shop).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_read_only_ends_the_work_and_nothing_leaves() {
    let database = postgres::fresh_database().await;
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let catcher = logging_catcher(&log, Duration::ZERO).await;
    let shop = Scenario::new(&database.url).campaign("hello", "").with_people(20).await;
    let shop = enlisted(shop).await.smtp(&catcher.url());
    let mut operator = sqlx::PgConnection::connect(&database.url).await.unwrap();
    let (_, name) = database.url.rsplit_once('/').unwrap();
    let mut set = async |to: &str| {
        let sql = format!("ALTER DATABASE \"{name}\" SET default_transaction_read_only = {to}");
        operator.execute(AssertSqlSafe(sql)).await.unwrap();
    };
    set("on").await;
    for line in ["work", "send hello --slot one", "send hello --slot two"] {
        let ran = shop.okaeri(line).await.exits(5);
        assert!(ran.stderr.contains("read-only transaction"), "{line}: {}", ran.stderr);
    }
    assert_eq!(catcher.counts().messages, 0);
    set("off").await;
    let db = shop.database().await;
    age_leases(&db).await;
    shop.okaeri("work").await.exits(0);
    judge(&db, &log, 20, 0).await;
    nothing_is_left(&shop).await;
    database.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_may_not_be_written_ends_the_work_and_nothing_leaves() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ledger/okaeri.db");
    let log = folder.path().join("log");
    let catcher = logging_catcher(&log, Duration::ZERO).await;
    let shop = Scenario::new(&format!("sqlite:{}", file.display())).campaign("hello", "").with_people(20).await;
    let shop = enlisted(shop).await.smtp(&catcher.url());
    let mode = |path: &std::path::Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    // Root may write everything: then it is somebody else who tries.
    let is_root = std::fs::metadata("/proc/self").is_ok_and(|m| std::os::unix::fs::MetadataExt::uid(&m) == 0);
    let through: &[&str] = if is_root { &["setpriv", "--reuid=65534", "--clear-groups"] } else { &[] };
    for (path, of) in
        [(folder.path(), 0o755), (shop.path("").as_path(), 0o755), (shop.path("okaeri.yaml").as_path(), 0o644)]
    {
        mode(path, of);
    }
    let parent = file.parent().unwrap();
    let files = || std::fs::read_dir(parent).unwrap().map(|e| e.unwrap().path());
    files().for_each(|f| mode(&f, 0o444));
    mode(parent, 0o555);
    for words in [&["work"][..], &["send", "hello", "--slot", "two"]] {
        let ran = shop.start_unrecorded(through, words).end().await.exits(5);
        assert!(ran.stderr.contains("readonly") || ran.stderr.contains("unable to open"), "{words:?}: {}", ran.stderr);
    }
    assert_eq!(catcher.counts().messages, 0);
    mode(parent, 0o755);
    files().for_each(|f| mode(&f, 0o644));
    let db = shop.database().await;
    age_leases(&db).await;
    shop.okaeri("work").await.exits(0);
    judge(&db, &log, 20, 0).await;
    nothing_is_left(&shop).await;
}
