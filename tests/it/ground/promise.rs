//! The promise of delivery, judged by the mail server's own log: nobody mailed twice, nobody silently lost, every doubt named.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use okaeri::args;
use okaeri::catcher::{Logged, read_log};
use okaeri::clock;
use okaeri::db::Db;
use okaeri::queue::{DeliveryState, show, status};

use super::scenario::Scenario;

/// What is promised of a send: the ledger, the server's log, and what went wrong on purpose.
pub struct Promise<'a> {
    pub db: &'a Db,
    pub log: &'a Path,
    /// Messages, one a person.
    pub people: usize,
    /// Messages that may be in doubt: kills × connections, and those the server itself left without an answer.
    pub unknown_max: usize,
    /// Addresses whose suppression was committed before their message was: no copy of theirs is stored.
    pub suppressed: BTreeSet<String>,
}

/// One message of the ledger.
#[derive(sqlx::FromRow)]
struct Kept {
    message_id: String,
    address: String,
    state: String,
    content_hash: Option<i64>,
}

/// The promise at the end of a send to `people`: each in the log once or named `unknown`.
pub async fn judge(db: &Db, log: &Path, people: usize, unknown_max: usize) {
    let states = holds(db, log, people, unknown_max).await;
    let open: Vec<_> = states.keys().filter(|state| !matches!(state.as_str(), "accepted" | "unknown")).collect();
    assert!(open.is_empty(), "a message is left: {states:?}");
}

/// The promise between two processes of a send to `people`; how many messages are in each state.
pub async fn holds(db: &Db, log: &Path, people: usize, unknown_max: usize) -> BTreeMap<String, usize> {
    Promise { db, log, people, unknown_max, suppressed: BTreeSet::new() }.holds().await
}

impl Promise<'_> {
    /// Asserts the promise as it stands between two processes, with leases of the dead or without; how many messages are in each state.
    pub async fn holds(&self) -> BTreeMap<String, usize> {
        let logged = read_log(self.log).unwrap();
        let kept: Vec<Kept> = self
            .db
            .fetch_all(
                "SELECT m.message_id, m.address, d.state, d.content_hash FROM message m JOIN delivery d ON d.bucket = m.bucket \
                 AND d.customer_id = m.customer_id AND d.chunk_id = m.chunk_id AND d.seq = m.seq",
                args![],
            )
            .await
            .unwrap();
        assert_eq!(kept.len(), self.people, "one message a person");
        let states: BTreeMap<String, usize> = kept.iter().fold(BTreeMap::new(), |mut all, m| {
            *all.entry(m.state.clone()).or_default() += 1;
            all
        });
        println!("{states:?}, {} in the log", logged.len());
        let copies = self.copies(&logged);
        let ours: BTreeSet<String> = kept.iter().map(|m| format!("<{}@example.com>", m.message_id)).collect();
        assert!(copies.keys().all(|id| ours.contains(*id)), "the log holds a message that the ledger does not know");
        for m in &kept {
            m.agrees(copies.get(format!("<{}@example.com>", m.message_id).as_str()).copied());
        }
        let in_doubt = ["unknown", "committed"].iter().filter_map(|state| states.get(*state)).sum::<usize>();
        let most = self.unknown_max;
        assert!(in_doubt <= most, "{in_doubt} messages in doubt, at most one a connection and kill: {most}");
        states
    }

    /// Message-ID → its copy, of which there is one. Nobody has two, and nobody who was suppressed has one.
    fn copies<'l>(&self, logged: &'l [Logged]) -> BTreeMap<&'l str, &'l Logged> {
        let (mut copies, mut mailed) = (BTreeMap::new(), BTreeSet::new());
        for entry in logged {
            let id = entry.message_id.as_deref().expect("every mail has a Message-ID");
            assert!(copies.insert(id, entry).is_none(), "stored twice: {id} to {}", entry.recipient);
            assert!(mailed.insert(&entry.recipient), "mailed twice: {}", entry.recipient);
            assert!(!self.suppressed.contains(&entry.recipient), "{} was suppressed before", entry.recipient);
        }
        copies
    }

    /// The promise when nobody is at work any more, and the stored rows add up by themselves.
    pub async fn rests(&self) -> BTreeMap<String, usize> {
        let states = self.holds().await;
        let findings = status::verify(self.db, clock::now()).await.unwrap();
        assert!(findings.is_empty(), "{findings:?}");
        states
    }

    /// The promise at the end: nothing waits.
    pub async fn is_kept(&self) -> BTreeMap<String, usize> {
        let states = self.rests().await;
        let known = |state: &String| DeliveryState::from_word(state).expect("a state we know");
        let open: Vec<_> = states.keys().filter(|s| known(s).is_open() && *s != "unknown").collect();
        assert!(open.is_empty(), "a message is left: {states:?}");
        states
    }
}

impl Kept {
    /// Whether the state and what is in the log go together.
    fn agrees(&self, copy: Option<&Logged>) {
        let Kept { address, state, .. } = self;
        match (state.as_str(), copy) {
            ("accepted" | "bounced" | "complained", None) => panic!("{address} is {state} and not in the log"),
            ("accepted" | "bounced" | "complained" | "unknown" | "closed_unknown" | "committed", Some(copy)) => {
                assert_eq!(copy.recipient, *address);
                let hash = self.content_hash.map(show::digits).unwrap_or_default();
                let same = hash.len() == 16 && copy.sha256.starts_with(&hash);
                assert!(same, "{address} is {state}: another content ({hash}) than in the log ({})", copy.sha256);
            }
            ("unknown" | "closed_unknown" | "committed", None) => {}
            (_, Some(_)) => panic!("{address} is {state}, and in the log"),
            (_, None) => {}
        }
    }
}

/// Verdicts and messages add up, and the run is over.
pub async fn nothing_is_left(shop: &Scenario) {
    let verified = shop.okaeri("queue verify --format json").await.exits(0);
    assert_eq!(verified.json()["findings"].as_array().map(Vec::len), Some(0));
    let status = shop.json("queue status", 0).await;
    assert!(status["runs"].as_array().unwrap().iter().all(|r| r["state"] == "drained"), "{status}");
}
