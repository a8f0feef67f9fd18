//! Delivery against a real SMTP server, with the ledger in SQLite and in Postgres.

use std::sync::Arc;

use okaeri::address::family_of;
use okaeri::args;
use okaeri::catcher::{ByRecipient, Catcher, CatcherOptions, Tls};
use okaeri::clock::{self, HOUR, Millis};
use okaeri::db::{Db, bucket_of, stable_hash};
use okaeri::delivery::{self, Compose, Ended, Limits, Mail, OpenComposer, Options, Relay, Server, Totals, drain};
use okaeri::queue::decide::{self, By, Decision};
use okaeri::queue::enqueue::{Batch, Draft};
use okaeri::queue::lease::Queued;
use okaeri::queue::ledger::{Answer, Commit, Key, Ledger, Outcome, Settlement};
use okaeri::queue::{DeliveryState, RunState, cancel, enqueue, lease, rescue, run, show, status};
use okaeri::settings::{Pacing, SmtpUrl};
use okaeri::suppression::{self, Kind, Reason, Scope};
use tokio::sync::watch;

use crate::ground::each_database;

struct Letter {
    kind: Kind,
    expires_at: Millis,
}

impl Compose for Letter {
    fn compose(&self, m: &Queued, date_at: Millis) -> Result<Mail, String> {
        if m.customer_id == "uncomposable" {
            return Err("the template fails".to_owned());
        }
        let to = m.address.clone().unwrap_or_default();
        let bytes = format!(
            "From: Shop <shop@example.com>\r\nTo: <{to}>\r\nSubject: Hello\r\nDate: Tue, 24 Nov 2026 09:00:00 +0000\r\n\
             X-Date-At: {date_at}\r\nMessage-ID: <{}@example.com>\r\n\r\nHello {}\r\n.dot\r\n",
            m.message_id, m.customer_id
        );
        Ok(Mail { envelope_from: "bounce@example.com".to_owned(), envelope_to: to, bytes: bytes.into_bytes() })
    }

    fn kind(&self) -> Kind {
        self.kind
    }

    fn expires_at(&self) -> Millis {
        self.expires_at
    }

    fn limits(&self) -> Limits {
        Limits { hard_bounce: 0.05, policy: 0.05, failed: 0.1, complaint: 1.0 }
    }
}

/// A run in state `ready` with one message for each address; the customer's id is the local part.
pub async fn enqueued(db: &Db, campaign: &str, addresses: &[&str]) -> String {
    let now = clock::now();
    let mut drafts: Vec<Draft> = addresses
        .iter()
        .map(|address| {
            let customer_id = address.split('@').next().unwrap().to_owned();
            Draft {
                bucket: bucket_of(&customer_id),
                slot: "2026-11-24".into(),
                message_id: format!("{campaign}.{:016x}", stable_hash(customer_id.as_bytes())),
                arm: "a".into(),
                address: Some((*address).to_owned()),
                address_key: Some((*address).to_owned()),
                family: family_of(address.rsplit_once('@').unwrap().1),
                locale: "en".into(),
                payload: "{}".into(),
                due_at: now,
                withheld: false,
                after_wave: false,
                reward: None,
                customer_id,
            }
        })
        .collect();
    drafts.sort_by(|a, b| (a.bucket, &a.customer_id).cmp(&(b.bucket, &b.customer_id)));
    let mut tx = db.begin().await.unwrap();
    let new = run::NewRun {
        campaign,
        slot: "2026-11-24",
        as_of: now,
        due_at: now,
        expires_at: now + HOUR,
        snapshot_id: "none",
        definition: "{}",
    };
    let run = run::open(&mut tx, &new, now).await.unwrap();
    let batch = Batch {
        run_id: &run.run_id,
        campaign,
        step: "letter",
        topic: "offers",
        kind: Kind::Promotional,
        leave_at: None,
        relays: vec![(RELAY, 1)],
    };
    enqueue::write(&mut tx, &batch, &drafts, now).await.unwrap();
    tx.commit().await.unwrap();
    assert!(run::advance(db, &run.run_id, run::Move::Ready, None, now).await.unwrap());
    run.run_id
}

async fn drained(db: &Db, url: &str) -> (Totals, Ended) {
    drained_as(db, url, Kind::Promotional, clock::now() + HOUR).await
}

async fn drained_as(db: &Db, url: &str, kind: Kind, expires_at: Millis) -> (Totals, Ended) {
    drained_at_pace(db, url, kind, expires_at, Pacing::default()).await
}

/// The relay of runs that [`enqueued`] writes.
pub const RELAY: &str = "default";

/// The only relay.
pub fn relay(server: Server, connections: u32, pacing: Pacing) -> Relay {
    Relay { name: RELAY.into(), server: Arc::new(server), weight: 1, connections, pacing }
}

/// Sends what is due, no faster than that.
pub async fn paced(db: &Db, url: &str, pacing: Pacing) -> (Totals, Ended) {
    drained_at_pace(db, url, Kind::Promotional, clock::now() + HOUR, pacing).await
}

async fn drained_at_pace(db: &Db, url: &str, kind: Kind, expires_at: Millis, pacing: Pacing) -> (Totals, Ended) {
    let server = Server::new(SmtpUrl::parse(url).unwrap(), None, "example.com").unwrap();
    drained_as_letters(db, vec![relay(server, 3, pacing)], Letter { kind, expires_at }).await
}

/// The ledger of runs that were enqueued without a plan, and so without verdicts, adds up.
pub async fn adds_up(db: &Db) {
    let mut findings = status::verify(db, clock::now()).await.unwrap();
    findings.retain(|f| !f.rule.contains("verdict"));
    assert_eq!(findings, []);
}

/// Sends what is due, through these.
pub async fn drained_through(db: &Db, relays: Vec<Relay>) -> (Totals, Ended) {
    drained_as_letters(db, relays, Letter { kind: Kind::Promotional, expires_at: clock::now() + HOUR }).await
}

async fn drained_as_letters(db: &Db, relays: Vec<Relay>, letter: Letter) -> (Totals, Ended) {
    let letter = Arc::new(letter);
    let open_composer: OpenComposer = Arc::new(move |_| {
        let letter: Arc<dyn Compose> = letter.clone();
        Box::pin(async move { Ok(letter) })
    });
    let (_keep, stop) = watch::channel(false);
    let options =
        Options { run_id: None, relays, open_composer, recheck: None, signer: None, stop, until: None, progress: None };
    drain(db, options).await.unwrap()
}

async fn states(db: &Db, run_id: &str) -> Vec<(String, i64)> {
    status::states_of(db, run_id).await.unwrap()
}

async fn state_of(db: &Db, customer_id: &str) -> (String, Option<i64>, String) {
    db.fetch_one(
        "SELECT state, code, COALESCE(reply, '') FROM delivery WHERE bucket = $1 AND customer_id = $2",
        args![bucket_of(customer_id), customer_id],
    )
    .await
    .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_leaves_room_beside_messages_unless_told_otherwise() {
    each_database(|url| async move {
        let db = Db::open(&url).await.unwrap();
        db.analyze().await.unwrap();
        if url.starts_with("postgres") {
            let options = async || {
                let sql = "SELECT array_to_string(reloptions, ',') FROM pg_class \
                           WHERE relname = 'delivery' AND relnamespace = current_schema()::regnamespace";
                db.fetch_one::<(String,)>(sql, vec![]).await.unwrap().0
            };
            assert_eq!(options().await, "fillfactor=45");
            db.execute("ALTER TABLE delivery SET (fillfactor = 70)", vec![]).await.unwrap();
            db.analyze().await.unwrap();
            assert_eq!(options().await, "fillfactor=70", "an operator's own word stays");
        }
        db.close().await;
    })
    .await;
}

#[tokio::test]
async fn everyone_is_mailed_once_and_the_ledger_adds_up() {
    each_database(|url| async move {
        let db = Db::open(&url).await.unwrap();
        let catcher = Catcher::start(CatcherOptions::default()).await.unwrap();
        let addresses: Vec<String> = (0..700).map(|i| format!("c{i}@example.com")).collect();
        let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
        let run_id = enqueued(&db, "hello", &addresses).await;
        let (totals, ended) = drained(&db, &catcher.url()).await;
        assert_eq!((totals.accepted, ended), (700, Ended::Idle));
        let mut caught: Vec<String> =
            catcher.mails().into_iter().filter_map(|m| m.envelope_to.first().cloned()).collect();
        caught.sort();
        caught.dedup();
        assert_eq!(caught.len(), 700);
        assert!(catcher.mails().iter().all(|m| m.defects.is_empty()), "{:?}", catcher.mails()[0].defects);
        assert_eq!(states(&db, &run_id).await, [("accepted".to_owned(), 700)]);
        assert_eq!(run::get(&db, &run_id).await.unwrap().unwrap().state(), RunState::Drained);
        adds_up(&db).await;
        let again = drained(&db, &catcher.url()).await;
        assert_eq!(again, (Totals::default(), Ended::Idle));
    })
    .await;
}

#[tokio::test]
async fn every_answer_finds_its_state() {
    each_database(|url| async move {
        let db = Db::open(&url).await.unwrap();
        let options = CatcherOptions { behaviour: Arc::new(ByRecipient::standard()), ..CatcherOptions::default() };
        let catcher = Catcher::start(options).await.unwrap();
        let everyone = [
            "ok@example.com",
            "hard@example.com",
            "full@example.com",
            "policy@example.com",
            "greylist@example.com",
            "spam@example.com",
            "busy@example.com",
            "drop@example.com",
            "lost@example.com",
            "美佳@example.com",
        ];
        let run_id = enqueued(&db, "hello", &everyone).await;
        let (totals, ended) = drained(&db, &catcher.url()).await;
        assert_eq!(ended, Ended::Idle);
        assert_eq!(state_of(&db, "美佳").await, ("accepted".to_owned(), Some(250), state_of(&db, "ok").await.2));
        assert_eq!((totals.failed, totals.deferred, totals.unknown), (3, 3, 2), "{totals:?}");
        for (customer, state, code) in [
            ("ok", "accepted", Some(250)),
            ("hard", "failed", Some(550)),
            ("full", "deferred", Some(452)),
            ("policy", "failed", Some(550)),
            ("greylist", "deferred", Some(451)),
            ("spam", "failed", Some(554)),
            ("busy", "deferred", Some(451)),
            ("drop", "unknown", None),
            ("lost", "unknown", None),
        ] {
            let found = state_of(&db, customer).await;
            assert_eq!((found.0.as_str(), found.1), (state, code), "{customer}: {found:?}");
        }
        // Only the mailbox that does not exist is suppressed; a refusal about us says nothing about the address.
        let suppressed = |key: &'static str| suppression::is_suppressed(&db, key, Kind::Service, "offers");
        assert!(suppressed("hard@example.com").await.unwrap());
        assert!(!suppressed("policy@example.com").await.unwrap());
        assert!(!suppressed("spam@example.com").await.unwrap());
        let attempts: Vec<(String, String)> =
            db.fetch_all("SELECT stage, reply FROM attempt WHERE code = 452", args![]).await.unwrap();
        assert_eq!(attempts, [("rcpt".to_owned(), "4.2.2 Mailbox full".to_owned())]);
        // The greylisted come back later and get through; a doubtful one is not sent again.
        db.execute("UPDATE chunk SET due_at = 0 WHERE state = 'open'", args![]).await.unwrap();
        db.execute("UPDATE delivery SET due_at = 0 WHERE state = 'deferred'", args![]).await.unwrap();
        let (totals, _) = drained(&db, &catcher.url()).await;
        assert_eq!((totals.accepted, totals.deferred, totals.unknown), (1, 2, 0));
        assert_eq!(state_of(&db, "greylist").await.0, "accepted");
        assert_eq!(states(&db, &run_id).await.iter().map(|(_, n)| n).sum::<i64>(), 10);
    })
    .await;
}

#[tokio::test]
async fn suppression_after_planning_stops_the_message() {
    each_database(|url| async move {
        let db = Db::open(&url).await.unwrap();
        let catcher = Catcher::start(CatcherOptions::default()).await.unwrap();
        enqueued(&db, "hello", &["a@example.com", "b@example.com", "c@example.com"]).await;
        let mut tx = db.begin().await.unwrap();
        suppression::suppress(&mut tx, "a@example.com", &Scope::All, Reason::Manual, 1, "test").await.unwrap();
        let topic = Scope::Topic("offers".to_owned());
        suppression::suppress(&mut tx, "b@example.com", &topic, Reason::Unsubscribe, 1, "test").await.unwrap();
        let other = Scope::Topic("news".to_owned());
        suppression::suppress(&mut tx, "c@example.com", &other, Reason::Unsubscribe, 1, "test").await.unwrap();
        tx.commit().await.unwrap();
        let (totals, _) = drained(&db, &catcher.url()).await;
        assert_eq!((totals.accepted, totals.suppressed), (1, 2));
        assert_eq!(catcher.mails()[0].envelope_to, ["c@example.com"]);
        assert_eq!(state_of(&db, "a").await.0, "suppressed");
    })
    .await;
}

#[tokio::test]
async fn a_dead_workers_chunk_is_rescued_and_its_doubt_is_named() {
    each_database(|url| async move {
        let db = Db::open(&url).await.unwrap();
        let catcher = Catcher::start(CatcherOptions::default()).await.unwrap();
        enqueued(&db, "hello", &["a@example.com", "b@example.com"]).await;
        // A worker leased the chunk, committed one message, and died long ago.
        let then = clock::now() - HOUR;
        db.execute("UPDATE chunk SET due_at = 0", args![]).await.unwrap();
        let lease = lease::claim(&db, None, &[], then).await.unwrap().unwrap();
        db.execute(
            "UPDATE delivery SET state = 'committed', commit_token = 't', attempts = 1, date_at = 5 WHERE customer_id = 'a'",
            args![],
        )
        .await
        .unwrap();
        assert!(lease::claim(&db, None, &[], then).await.unwrap().is_none(), "a leased chunk is not leased again");
        let (totals, _) = drained(&db, &catcher.url()).await;
        assert_eq!((totals.rescued_unknown, totals.accepted), (1, 1));
        assert_eq!(state_of(&db, "a").await.0, "unknown");
        assert_eq!(catcher.mails().len(), 1);
        // The dead worker wakes up: its lease is gone, so it can neither renew nor release over others.
        assert_eq!(lease::renew(&db, &[&lease], clock::now()).await.unwrap().len(), 1);
        assert_eq!(rescue::rescue(&db, clock::now()).await.unwrap(), rescue::Rescued::default());
    })
    .await;
}

#[tokio::test]
async fn what_cannot_be_composed_pauses_its_run_and_sends_nothing_of_it() {
    each_database(|url| async move {
        let db = Db::open(&url).await.unwrap();
        let catcher = Catcher::start(CatcherOptions::default()).await.unwrap();
        let run_id = enqueued(&db, "hello", &["uncomposable@example.com"]).await;
        let (_, ended) = drained(&db, &catcher.url()).await;
        assert!(matches!(&ended, Ended::Paused(why) if why.contains("uncomposable")), "{ended:?}");
        let run = run::get(&db, &run_id).await.unwrap().unwrap();
        assert_eq!(run.state(), RunState::Paused);
        assert_eq!(state_of(&db, "uncomposable").await.0, "pending");
    })
    .await;
}

#[tokio::test]
async fn what_is_too_old_expires() {
    each_database(|url| async move {
        let db = Db::open(&url).await.unwrap();
        let catcher = Catcher::start(CatcherOptions::default()).await.unwrap();
        enqueued(&db, "hello", &["a@example.com"]).await;
        let (totals, _) = drained_as(&db, &catcher.url(), Kind::Promotional, clock::now() - 1).await;
        assert_eq!((totals.expired, totals.accepted), (1, 0));
        assert_eq!(state_of(&db, "a").await.0, "expired");
    })
    .await;
}

#[tokio::test]
async fn a_server_that_is_not_there_leaves_everything_pending() {
    each_database(|url| async move {
        let db = Db::open(&url).await.unwrap();
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        enqueued(&db, "hello", &["a@example.com"]).await;
        let (_, ended) = drained(&db, &format!("smtp://127.0.0.1:{port}")).await;
        assert!(matches!(ended, Ended::ServerUnavailable(_)), "{ended:?}");
        assert_eq!(state_of(&db, "a").await.0, "pending");
        assert_eq!(status::next_due(&db, None).await.unwrap().map(|t| t <= clock::now()), Some(true));
    })
    .await;
}

#[tokio::test]
async fn a_refused_login_pauses_at_once() {
    each_database(|url| async move {
        let db = Db::open(&url).await.unwrap();
        let options = CatcherOptions { auth: Some(("shop".into(), "right".into())), ..CatcherOptions::default() };
        let catcher = Catcher::start(options).await.unwrap();
        let run_id = enqueued(&db, "hello", &["a@example.com"]).await;
        let wrong = catcher.url().replace("right", "wrong");
        assert_ne!(wrong, catcher.url());
        let (_, ended) = drained(&db, &wrong).await;
        assert!(matches!(ended, Ended::Paused(_)), "{ended:?}");
        assert_eq!(run::get(&db, &run_id).await.unwrap().unwrap().state(), RunState::Paused);
        assert!(run::advance(&db, &run_id, run::Move::Resume, None, clock::now()).await.unwrap());
        let (totals, _) = drained(&db, &catcher.url()).await;
        assert_eq!(totals.accepted, 1);
    })
    .await;
}

/// A certificate for `localhost`, signed by itself, as the server uses it and as a file to trust.
pub fn certificate(dir: &std::path::Path) -> (Arc<rustls::ServerConfig>, std::path::PathBuf) {
    let signed = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let ca_file = dir.join("ca.pem");
    std::fs::write(&ca_file, signed.cert.pem()).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(signed.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![signed.cert.der().clone()], key)
        .unwrap();
    (Arc::new(config), ca_file)
}

#[tokio::test]
async fn mail_travels_over_tls_from_the_first_byte_or_after_starttls_and_never_without() {
    let dir = tempfile::tempdir().unwrap();
    let (config, ca_file) = certificate(dir.path());
    let login = || Some(("shop".to_owned(), "a password".to_owned()));
    for (tls, scheme, query) in
        [(Tls::Implicit(config.clone()), "smtps", ""), (Tls::StartTls(config.clone()), "smtp", "?tls=required")]
    {
        let options = CatcherOptions { tls: Some(tls), auth: login(), ..CatcherOptions::default() };
        let catcher = Catcher::start(options).await.unwrap();
        let url = format!("{scheme}://shop:a%20password@localhost:{}{query}", catcher.addr().port());
        let mail = Mail {
            envelope_from: "bounce@example.com".to_owned(),
            envelope_to: "mia@example.com".to_owned(),
            bytes: b"From: <shop@example.com>\r\nDate: Tue, 24 Nov 2026 09:00:00 +0000\r\nMessage-ID: <1@example.com>\r\n\r\nHello\r\n".to_vec(),
        };
        let trusting = Server::new(SmtpUrl::parse(&url).unwrap(), Some(&ca_file), "example.com").unwrap();
        delivery::send_copy(&trusting, &mail).await.unwrap();
        let caught = catcher.mails();
        assert!(caught[0].encrypted && caught[0].defects.is_empty(), "{:?}", caught[0]);
        // A certificate nobody vouches for ends the conversation before the login.
        let wary = Server::new(SmtpUrl::parse(&url).unwrap(), None, "example.com").unwrap();
        let refused = delivery::send_copy(&wary, &mail).await.unwrap_err();
        assert!(refused.contains("TLS"), "{refused}");
        assert_eq!(catcher.mails().len(), 1);
    }
    // A server that offers no STARTTLS gets no mail when TLS is required.
    let plain = Catcher::start(CatcherOptions::default()).await.unwrap();
    let url = format!("smtp://localhost:{}?tls=required", plain.addr().port());
    let server = Server::new(SmtpUrl::parse(&url).unwrap(), Some(&ca_file), "example.com").unwrap();
    let mail =
        Mail { envelope_from: "b@example.com".into(), envelope_to: "m@example.com".into(), bytes: b"\r\n".to_vec() };
    assert!(delivery::send_copy(&server, &mail).await.unwrap_err().contains("STARTTLS"));
}

/// A worker that committed a message and froze before the server's answer.
struct Frozen {
    key: Key,
    lease: Arc<lease::Lease>,
    token: String,
}

impl Frozen {
    async fn commit(ledger: &Ledger, lease: &Arc<lease::Lease>, queued: &Queued) -> Frozen {
        let key = Key { bucket: queued.bucket, chunk_id: queued.chunk_id, seq: queued.seq };
        let frozen = Frozen { key, lease: lease.clone(), token: format!("t-{}", queued.customer_id) };
        let commit = Commit {
            key,
            lease: lease.clone(),
            token: frozen.token.clone(),
            address_key: queued.address_key.clone().unwrap(),
            kind: Kind::Promotional,
            topic: "offers".to_owned(),
            date_at: clock::now(),
            content_hash: 0,
        };
        assert_eq!(ledger.write(None, Some(commit)).await.unwrap(), Some(Answer::Committed));
        frozen
    }

    /// It wakes up with this answer to the content.
    fn answered(self, state: DeliveryState, code: u16) -> Settlement {
        let outcome = Outcome {
            state,
            due_at: (state == DeliveryState::Deferred).then(clock::now),
            stage: "content",
            code: Some(code),
            enhanced: None,
            reply: "late".to_owned(),
            about: None,
        };
        let Frozen { key, lease, token } = self;
        Settlement { key, lease, token: Some(token), attempt_no: 1, outcome, hard_bounced: None }
    }
}

#[tokio::test]
async fn a_late_come_back_later_is_not_forgotten() {
    each_database(|url| async move {
        let db = Db::open(&url).await.unwrap();
        let catcher = Catcher::start(CatcherOptions::default()).await.unwrap();
        let run_id = enqueued(&db, "hello", &["a@example.com"]).await;
        // A worker commits the message and freezes; others rescue the chunk and drain the run.
        let lease = Arc::new(lease::claim(&db, None, &[], clock::now()).await.unwrap().unwrap());
        let queued = lease::load(&db, &lease, clock::now()).await.unwrap().remove(0);
        let ledger = Ledger::start(db.clone(), 1);
        let frozen = Frozen::commit(&ledger, &lease, &queued).await;
        db.execute("UPDATE chunk SET lease_until_at = 0", args![]).await.unwrap();
        let (totals, _) = drained(&db, &catcher.url()).await;
        assert_eq!(totals.rescued_unknown, 1);
        assert_eq!(run::get(&db, &run_id).await.unwrap().unwrap().state(), RunState::Drained);
        // It wakes up with the server's 451: nothing was delivered, so the message waits again, and is sent.
        ledger.write(Some(frozen.answered(DeliveryState::Deferred, 451)), None).await.unwrap();
        let (totals, _) = drained(&db, &catcher.url()).await;
        assert_eq!(totals.accepted, 1);
        assert_eq!(state_of(&db, "a").await.0, "accepted");
        assert_eq!(run::get(&db, &run_id).await.unwrap().unwrap().state(), RunState::Drained);
    })
    .await;
}

#[tokio::test]
async fn a_late_acceptance_still_counts_while_what_was_resent_waits() {
    each_database(|url| async move {
        let db = Db::open(&url).await.unwrap();
        let catcher = Catcher::start(CatcherOptions::default()).await.unwrap();
        enqueued(&db, "hello", &["a@example.com", "b@example.com"]).await;
        let consent = "INSERT INTO consent (bucket, customer_id, topic, granted, at, source) VALUES ($1, $2, 'offers', $3, 1, 'import')";
        for id in ["a", "b"] {
            db.execute(consent, args![bucket_of(id), id, true]).await.unwrap();
        }
        // A worker commits both and freezes; others name the doubt, and an operator has them sent again.
        let lease = Arc::new(lease::claim(&db, None, &[], clock::now()).await.unwrap().unwrap());
        let ledger = Ledger::start(db.clone(), 1);
        let mut late = Vec::new();
        let mut messages = Vec::new();
        for queued in lease::load(&db, &lease, clock::now()).await.unwrap() {
            let frozen = Frozen::commit(&ledger, &lease, &queued).await;
            messages.push(show::find(&db, &queued.message_id).await.unwrap().unwrap());
            let (state, code) = match queued.customer_id.as_str() {
                "a" => (DeliveryState::Accepted, 250),
                _ => (DeliveryState::Failed, 554),
            };
            late.push(frozen.answered(state, code));
        }
        let by = By { who: "kay", evidence: "log" };
        let resend = async |message| decide::decide(&db, message, Decision::Resend, by, clock::now()).await.unwrap();
        assert!(resend(&messages[0]).await.unwrap().contains("it is committed"), "a worker is still at it");
        db.execute("UPDATE chunk SET lease_until_at = 0", args![]).await.unwrap();
        assert_eq!(rescue::rescue(&db, clock::now()).await.unwrap().unknown, 2);
        for message in &messages {
            assert_eq!(resend(message).await, None);
        }
        // The worker wakes up with the answers: what was accepted did arrive and is not sent again. A refusal changes nothing: it is sent.
        for settlement in late {
            ledger.write(Some(settlement), None).await.unwrap();
        }
        assert_eq!((state_of(&db, "a").await.0.as_str(), state_of(&db, "b").await.0.as_str()), ("accepted", "pending"));
        let (totals, _) = drained(&db, &catcher.url()).await;
        assert_eq!((totals.accepted, state_of(&db, "b").await.0.as_str()), (1, "accepted"));
        assert_eq!(catcher.mails()[0].envelope_to, ["b@example.com"]);
        assert_eq!(catcher.mails().len(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_deferral_that_comes_after_its_run_was_cancelled_is_cancelled() {
    each_database(|url| async move {
        let db = Db::open(&url).await.unwrap();
        let run_id = enqueued(&db, "hello", &["a@example.com"]).await;
        for late in [false, true] {
            db.execute("UPDATE run SET state = 'sending'", args![]).await.unwrap();
            db.execute("UPDATE chunk SET state = 'open', due_at = 0, lease_token = NULL", args![]).await.unwrap();
            db.execute("UPDATE delivery SET state = 'pending', due_at = 0, attempts = 0", args![]).await.unwrap();
            let lease = Arc::new(lease::claim(&db, None, &[], clock::now()).await.unwrap().unwrap());
            let queued = lease::load(&db, &lease, clock::now()).await.unwrap().remove(0);
            let ledger = Ledger::start(db.clone(), 1);
            let frozen = Frozen::commit(&ledger, &lease, &queued).await;
            let cancelled = cancel::cancel(&db, &run_id, "typo", clock::now()).await.unwrap();
            assert_eq!(cancelled, cancel::Cancelled::Messages(0), "what is committed is left to end");
            if late {
                db.execute("UPDATE chunk SET lease_until_at = 0", args![]).await.unwrap();
                assert_eq!(rescue::rescue(&db, clock::now()).await.unwrap().unknown, 1);
            }
            ledger.write(Some(frozen.answered(DeliveryState::Deferred, 451)), None).await.unwrap();
            if !late {
                lease::release(&db, &lease, clock::now()).await.unwrap();
            }
            assert_eq!(state_of(&db, "a").await.0, "cancelled", "late: {late}");
            assert_eq!(run::get(&db, &run_id).await.unwrap().unwrap().state(), RunState::Cancelled);
            let open: (i64,) = db.fetch_one("SELECT COUNT(*) FROM chunk WHERE state <> 'done'", args![]).await.unwrap();
            assert_eq!(open.0, 0, "late: {late}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_claim_does_not_wake_a_run_that_was_paused_meanwhile() {
    each_database(|url| async move {
        let db = Db::open(&url).await.unwrap();
        let run_id = enqueued(&db, "hello", &["a@example.com"]).await;
        let now = clock::now();
        lease::claim(&db, None, &[], now).await.unwrap().unwrap();
        assert!(run::advance(&db, &run_id, run::Move::Pause, Some("wait"), now).await.unwrap());
        // What a claim does after its first statement; the pause came in between.
        assert!(!run::advance(&db, &run_id, run::Move::Begin, None, now).await.unwrap());
        let run = run::get(&db, &run_id).await.unwrap().unwrap();
        assert_eq!((run.state(), run.reason.as_deref()), (RunState::Paused, Some("wait")));
    })
    .await;
}

#[tokio::test]
async fn a_ledger_that_does_not_add_up_is_told_run_by_run() {
    each_database(|url| async move {
        let db = Db::open(&url).await.unwrap();
        let run_id = enqueued(&db, "hello", &["a@example.com", "b@example.com"]).await;
        let verdict = "INSERT INTO run_verdict (run_id, verdict, reason, people) VALUES ($1, 'send', '', 2)";
        db.execute(verdict, args![&run_id]).await.unwrap();
        db.execute("UPDATE run SET audience = 2", args![]).await.unwrap();
        assert_eq!(status::verify(&db, clock::now()).await.unwrap(), []);
        // Each change comes on top of those before it.
        for (change, told) in [
            ("UPDATE run SET audience = 3", vec!["audience 3, verdicts 2"]),
            ("UPDATE run_verdict SET people = 3", vec!["3 verdicts, 2 messages"]),
            (
                "DELETE FROM delivery WHERE customer_id = 'a'",
                vec!["3 verdicts, 1 messages", "1 messages without a delivery"],
            ),
            (
                "UPDATE message SET customer_id = 'c' WHERE customer_id = 'b'",
                vec!["3 verdicts, 1 messages", "1 messages without a delivery", "1 deliveries without a message"],
            ),
            ("DELETE FROM message", vec!["3 verdicts, 1 messages", "1 deliveries without a message"]),
            ("DELETE FROM delivery", vec!["3 verdicts, 0 messages"]),
            ("UPDATE run_verdict SET verdict = 'skip'", vec![]),
        ] {
            db.execute(change, args![]).await.unwrap();
            let findings = status::verify(&db, clock::now()).await.unwrap();
            let mut found: Vec<&str> = findings.iter().map(|f| f.detail.as_str()).collect();
            found.sort_by_key(|detail| told.iter().position(|t| detail.ends_with(t)));
            let as_told: Vec<String> = told.iter().map(|t| format!("{run_id}: {t}")).collect();
            assert_eq!(found, as_told, "{change}");
        }
        db.close().await;
    })
    .await;
}
