//! Runs that were enqueued without a plan, and what sends them: for tests of delivery alone.
//!
//! The verdicts that a plan would have are missing, so [`adds_up`] looks at everything else.

use std::sync::Arc;

use okaeri::address::family_of;
use okaeri::args;
use okaeri::clock::{self, HOUR, Millis};
use okaeri::db::{Db, bucket_of, stable_hash};
use okaeri::delivery::{Compose, Ended, Limits, Mail, OpenComposer, Options, Relay, Server, Totals, drain};
use okaeri::queue::enqueue::{Batch, Draft};
use okaeri::queue::lease::Queued;
use okaeri::queue::{enqueue, run, status};
use okaeri::settings::{Pacing, SmtpUrl};
use okaeri::suppression::Kind;
use tokio::sync::watch;

/// A short mail; to a customer `uncomposable` there is none.
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

/// Sends what is due.
pub async fn drained(db: &Db, url: &str) -> (Totals, Ended) {
    drained_as(db, url, Kind::Promotional, clock::now() + HOUR).await
}

/// The same, of this kind and with so much time.
pub async fn drained_as(db: &Db, url: &str, kind: Kind, expires_at: Millis) -> (Totals, Ended) {
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

/// How many messages of a run are in each state.
pub async fn states(db: &Db, run_id: &str) -> Vec<(String, i64)> {
    status::states_of(db, run_id).await.unwrap()
}

/// State, code and reply of a customer's only message.
pub async fn state_of(db: &Db, customer_id: &str) -> (String, Option<i64>, String) {
    db.fetch_one(
        "SELECT state, code, COALESCE(reply, '') FROM delivery WHERE bucket = $1 AND customer_id = $2",
        args![bucket_of(customer_id), customer_id],
    )
    .await
    .unwrap()
}
