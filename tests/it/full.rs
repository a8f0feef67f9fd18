//! A disk that is full under the database: the work ends, and room again brings it to its end. Nobody is mailed twice, nobody is forgotten.
//!
//! SQLite meets a file that may not grow (a limit of its process). Postgres has its tables on a small disk of its own, mounted for one cluster, which
//! only root may do.

use std::sync::Arc;
use std::time::Duration;

use okaeri::args;
use okaeri::catcher::{Answer, ByRecipient, Catcher, CatcherOptions, Keep, Stage};

use crate::crash::{age_leases, enlisted, logging_catcher};
use crate::ground::not_allowed;
use crate::ground::postgres::SmallDisk;
use crate::ground::promise::{judge, nothing_is_left};
use crate::ground::scenario::{CONNECTIONS, Scenario};

const PEOPLE: usize = 600;

/// Kibibytes that a file may have on the disk that is full.
const FULL_KIB: u64 = 1_600;

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_may_not_grow_ends_the_work_and_room_again_brings_it_to_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("okaeri.db");
    let log = folder.path().join("log");
    let catcher: Catcher = logging_catcher(&log, Duration::ZERO).await;
    let shop = Scenario::new(&format!("sqlite:{}", file.display())).campaign("hello", "").with_people(PEOPLE).await;
    let shop = enlisted(shop).await.smtp(&catcher.url());
    let has = std::fs::metadata(&file).unwrap().len() / 1024;
    assert!(has < FULL_KIB, "the database itself has {has} KiB already");
    // No file grows beyond this; the signal that says so is ignored, as a full disk sends none.
    let full = format!("trap '' XFSZ; ulimit -f {FULL_KIB}; exec \"$@\"");
    let ran = shop.start_under(&["bash", "-c", &full, "bash"], &["work"], &[]).end().await;
    assert!(ran.code() == 5 && ran.stderr.contains("disk"), "{ran:?}");
    let passed = catcher.counts().messages as usize;
    assert!(0 < passed && passed < PEOPLE, "{passed} messages before the disk was full");
    let db = shop.database().await;
    age_leases(&db).await;
    let last = shop.okaeri("work").await;
    assert!(matches!(last.code(), 0 | 3), "{last:?}");
    judge(&db, &log, PEOPLE, CONNECTIONS).await;
    nothing_is_left(&shop).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_whose_disk_is_full_ends_the_work_and_room_again_brings_it_to_its_end() {
    let Some(disk) = SmallDisk::mounted().await else {
        return not_allowed("only root may mount a small disk for Postgres");
    };
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    // What was refused for now is written into a table that has no page yet: that is where the disk is full.
    let later = Answer::reply(451, "4.7.1", "Greylisted, come back later");
    let tenths = (1..=PEOPLE).filter(|n| n.is_multiple_of(10)).map(|n| format!("p{n:05}"));
    let behaviour = tenths.fold(ByRecipient::new(), |b, name| b.times(&name, Stage::Rcpt, 1, later.clone()));
    let options = CatcherOptions {
        keep: Keep::Memory,
        log: Some(log.clone()),
        behaviour: Arc::new(behaviour),
        ..CatcherOptions::default()
    };
    let catcher = Catcher::start(options).await.unwrap();
    let shop = Scenario::new(&disk.url).campaign("hello", "").with_people(PEOPLE).await;
    let shop = enlisted(shop).await.smtp(&catcher.url());
    disk.fill().await;
    let ran = shop.okaeri("work").await.exits(5);
    assert!(ran.stderr.contains("No space left on device"), "{}", ran.stderr);
    assert!((catcher.counts().messages as usize) < PEOPLE, "it went on");
    // Nothing is mended by trying again.
    shop.okaeri("work").await.exits(5);
    disk.empty().await;
    let db = shop.database().await;
    age_leases(&db).await;
    let then = shop.okaeri("work").await;
    assert!(matches!(then.code(), 3 | 75), "{then:?}");
    db.execute("UPDATE chunk SET due_at = 0 WHERE state = 'open'", args![]).await.unwrap();
    db.execute("UPDATE delivery SET due_at = 0 WHERE state = 'deferred'", args![]).await.unwrap();
    shop.okaeri("work").await.exits(0);
    judge(&db, &log, PEOPLE, 2 * CONNECTIONS).await;
    nothing_is_left(&shop).await;
    db.close().await;
    disk.unmount();
}
