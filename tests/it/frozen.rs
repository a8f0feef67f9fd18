//! Answers that come late: a worker committed a message and froze, others went on, and then it wakes up with what the server said.

use std::sync::Arc;

use okaeri::args;
use okaeri::catcher::{Catcher, CatcherOptions};
use okaeri::clock;
use okaeri::db::{Db, bucket_of};
use okaeri::queue::decide::{self, By, Decision};
use okaeri::queue::lease::{self, Queued};
use okaeri::queue::ledger::{Answer, Commit, Key, Ledger, Outcome, Settlement};
use okaeri::queue::{DeliveryState, RunState, cancel, rescue, run, show};
use okaeri::suppression::Kind;

use crate::ground::each_database;
use crate::ground::sending::{drained, enqueued, state_of};

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
async fn what_arrived_is_not_sent_again_though_somebody_settled_the_doubt_otherwise() {
    each_database(|url| async move {
        let db = Db::open(&url).await.unwrap();
        let catcher = Catcher::start(CatcherOptions::default()).await.unwrap();
        let people = ["failed@example.com", "closed@example.com", "refused@example.com"];
        enqueued(&db, "hello", &people).await;
        let consent = "INSERT INTO consent (bucket, customer_id, topic, granted, at, source) VALUES ($1, $2, 'offers', TRUE, 1, 'import')";
        for id in ["failed", "closed", "refused"] {
            db.execute(consent, args![bucket_of(id), id]).await.unwrap();
        }
        let lease = Arc::new(lease::claim(&db, None, &[], clock::now()).await.unwrap().unwrap());
        let ledger = Ledger::start(db.clone(), 1);
        let (mut late, mut messages) = (Vec::new(), Vec::new());
        for queued in lease::load(&db, &lease, clock::now()).await.unwrap() {
            let frozen = Frozen::commit(&ledger, &lease, &queued).await;
            let (state, code) = match queued.customer_id.as_str() {
                "refused" => (DeliveryState::Failed, 554),
                _ => (DeliveryState::Accepted, 250),
            };
            late.push(frozen.answered(state, code));
            messages.push((queued.customer_id, queued.message_id));
        }
        db.execute("UPDATE chunk SET lease_until_at = 0", args![]).await.unwrap();
        assert_eq!(rescue::rescue(&db, clock::now()).await.unwrap().unknown, 3);
        // Somebody looks in the mail server's log before it is there, and somebody gives up.
        let decided = async |id: &str, decision| {
            let message = show::find(&db, id).await.unwrap().unwrap();
            let by = By { who: "kay", evidence: "not in the log" };
            decide::decide(&db, &message, decision, by, clock::now()).await.unwrap()
        };
        for (customer, id) in &messages {
            let decision = if customer == "closed" { Decision::Closed } else { Decision::Failed };
            assert_eq!(decided(id, decision).await, None, "{customer}");
        }
        for settlement in late {
            ledger.write(Some(settlement), None).await.unwrap();
        }
        for (customer, expected) in [("failed", "accepted"), ("closed", "accepted"), ("refused", "failed")] {
            assert_eq!(state_of(&db, customer).await.0, expected, "{customer}");
        }
        // Now the cause seems mended, and what is failed is to be tried again.
        for (customer, id) in &messages {
            let refused = decided(id, Decision::Retry).await;
            assert_eq!(refused.is_none(), customer == "refused", "{customer}: {refused:?}");
        }
        let (totals, _) = drained(&db, &catcher.url()).await;
        assert_eq!((totals.accepted, catcher.mails().len()), (1, 1));
        assert_eq!(catcher.mails()[0].envelope_to, ["refused@example.com"]);
    })
    .await;
}
