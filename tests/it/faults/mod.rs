//! What a mail server can do wrong, and what becomes of messages, addresses, lanes and runs.
//!
//! | file | |
//! |---|---|
//! | `table.rs` | one line for each fault of a conversation, and what follows |
//! | `suffering.rs` | has messages meet each line of it, in each conversation, on both databases |
//! | `unreachable.rs` | servers that cannot be talked to at all |
//! | `runs.rs` | whole runs: servers that limit, refuse, swallow, or say too much |
//! | `few.rs` | refusals because of us that are too few for shares |
//!
//! Every scenario ends with a server that behaves: what waited reaches it, once; whatever may have arrived, or was refused for good, does not.

mod few;
mod runs;
mod suffering;
mod table;
mod unreachable;

use std::sync::Arc;
use std::time::Duration;

use okaeri::args;
use okaeri::catcher::{Catcher, CatcherOptions, Keep};
use okaeri::clock::{self, HOUR, Millis};
use okaeri::db::{Db, bucket_of};
use okaeri::delivery::{Compose, Ended, Limits, Mail, Options, Patience, Server, Totals, drain};
use okaeri::queue::lease::Queued;
use okaeri::settings::{Pacing, SmtpUrl};
use okaeri::suppression::Kind;
use tokio::sync::watch;

use crate::ground::sending::relay;

/// Longer than any scenario waits.
const FOR_EVER: Duration = Duration::from_secs(600);

/// A mail of at least so many bytes.
struct Letter {
    bytes: usize,
}

impl Compose for Letter {
    fn compose(&self, m: &Queued, _: Millis) -> Result<Mail, String> {
        let to = m.address.clone().unwrap_or_default();
        let head = format!(
            "From: Shop <shop@example.com>\r\nTo: <{to}>\r\nSubject: Hello\r\nDate: Tue, 24 Nov 2026 09:00:00 +0000\r\n\
             Message-ID: <{}@example.com>\r\n\r\nHello\r\n",
            m.message_id
        );
        let mut bytes = head.into_bytes();
        while bytes.len() < self.bytes {
            bytes.extend_from_slice(&[b'x'; 76]);
            bytes.extend_from_slice(b"\r\n");
        }
        Ok(Mail { envelope_from: "bounce@example.com".to_owned(), envelope_to: to, bytes })
    }

    fn kind(&self) -> Kind {
        Kind::Promotional
    }

    fn expires_at(&self) -> Millis {
        clock::now() + HOUR
    }

    fn limits(&self) -> Limits {
        Limits { hard_bounce: 0.05, policy: 0.05, failed: 0.1, complaint: 1.0 }
    }
}

/// Waits long for what comes, and shortly for what does not.
fn patience(the_server_is_mute: bool) -> Patience {
    let long = Duration::from_secs(if the_server_is_mute { 0 } else { 30 }) + Duration::from_millis(400);
    Patience { connect: long, command: long, content: long, reconnect: Duration::from_millis(5) }
}

async fn drained(db: &Db, run_id: &str, server: Server, connections: u32, bytes: usize) -> (Totals, Ended) {
    drained_until(db, run_id, server, connections, bytes, None).await
}

async fn drained_until(
    db: &Db,
    run_id: &str,
    server: Server,
    connections: u32,
    bytes: usize,
    until: Option<tokio::time::Instant>,
) -> (Totals, Ended) {
    let (_keep, stop) = watch::channel(false);
    let options = Options {
        run_id: Some(run_id.to_owned()),
        relays: vec![relay(server, connections, Pacing::default())],
        open_composer: Arc::new(move |_| Box::pin(async move { Ok(Arc::new(Letter { bytes }) as Arc<dyn Compose>) })),
        recheck: None,
        signer: None,
        until,
        stop,
        progress: None,
    };
    drain(db, options).await.unwrap()
}

fn server(url: &str, patience: Patience) -> Server {
    Server::new(SmtpUrl::parse(url).unwrap(), None, "example.com").unwrap().with_patience(patience)
}

/// Everything that waits is due now. A lane that was slowed takes minutes to recover; that is tested in `pacing`.
async fn hasten(db: &Db) {
    db.execute("DELETE FROM pace", vec![]).await.unwrap();
    db.execute("UPDATE chunk SET due_at = 0 WHERE state = 'open'", args![]).await.unwrap();
    db.execute("UPDATE delivery SET due_at = 0 WHERE state IN ('deferred', 'pending')", args![]).await.unwrap();
}

/// A day or more goes by: what was taken and refused before says nothing any more.
async fn a_day_goes_by(db: &Db) {
    db.execute("UPDATE delivery SET changed_at = 0", args![]).await.unwrap();
    db.execute("UPDATE run SET changed_at = 0", args![]).await.unwrap();
}

/// Everything that waits goes to a server that behaves; how many mails it got.
async fn mended(db: &Db, run_id: &str, bytes: usize) -> u64 {
    hasten(db).await;
    let catcher = Catcher::start(CatcherOptions { keep: Keep::Count, ..CatcherOptions::default() }).await.unwrap();
    drained(db, run_id, server(&catcher.url(), patience(false)), 1, bytes).await;
    catcher.counts().messages
}

#[derive(sqlx::FromRow)]
struct Found {
    state: String,
    due_at: i64,
    changed_at: i64,
}

#[derive(Debug, PartialEq, sqlx::FromRow)]
struct Tried {
    stage: String,
    code: Option<i64>,
    enhanced: Option<String>,
    about: Option<String>,
}

/// A customer's only message, and its tries, the first one first.
async fn found(db: &Db, customer_id: &str) -> (Found, Vec<Tried>) {
    let key = || args![bucket_of(customer_id), customer_id];
    let sql = "SELECT state, due_at, changed_at FROM delivery WHERE bucket = $1 AND customer_id = $2";
    let found: Found = db.fetch_one(sql, key()).await.unwrap();
    let sql = "SELECT a.stage, a.code, a.enhanced, a.about FROM delivery d JOIN attempt a ON a.bucket = d.bucket \
               AND a.chunk_id = d.chunk_id AND a.seq = d.seq WHERE d.bucket = $1 AND d.customer_id = $2 ORDER BY a.attempt_no";
    (found, db.fetch_all(sql, key()).await.unwrap())
}
