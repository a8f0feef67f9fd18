//! A worker: one connection to one relay that takes messages from the feed, one after the other.
//!
//! The order that the promise rests on: compose → envelope accepted → commit in the ledger → content → answer → outcome. The outcome of a
//! delivered message travels with the commit of the next one, so at most one message per connection is in doubt at any instant.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::breaker::Finding;
use super::conversation::{Begun, Conversation, Sent};
use super::feed::{HeldChunk, Work};
use super::relays::{self, Cause, Failed, Outlet};
use super::replies::{self, Reply, Stage};
use super::{Ended, Mail, Shared};
use crate::clock;
use crate::queue::answers::{About, Limits};
use crate::queue::lease::{Lease, parts};
use crate::queue::ledger::{self, Answer, Commit, Key, Outcome, Settlement};
use crate::queue::run::Move;
use crate::queue::{DeliveryState, run};
use crate::token;

/// Take messages until the feed ends or the drain does.
pub(super) async fn work(shared: Arc<Shared>, outlet: Arc<Outlet>) {
    let mut worker = Worker { shared, outlet, conversation: None, begun: 0, held: None, retired: false };
    while !worker.retired || worker.held.is_some() {
        let next = match (worker.shared.stopping() || worker.retired, &worker.held) {
            (true, _) => None,
            (false, Some(_)) => worker.outlet.lanes.try_next(),
            (false, None) => worker.outlet.lanes.next().await,
        };
        match next {
            Some(work) => worker.send(work).await,
            None if worker.held.is_some() => worker.write_held().await,
            None => break,
        }
    }
    if let Some(conversation) = worker.conversation.take() {
        conversation.quit().await;
    }
}

struct Worker {
    shared: Arc<Shared>,
    outlet: Arc<Outlet>,
    conversation: Option<Conversation>,
    /// Messages begun in this conversation.
    begun: u32,
    /// An outcome that waits for the next commit; its work keeps the chunk leased until then.
    held: Option<(Settlement, Work)>,
    /// The server takes no more connections than others have; they go on without this one.
    retired: bool,
}

impl Worker {
    async fn send(&mut self, work: Work) {
        let chunk = &work.chunk;
        if chunk.is_lost() || self.shared.breaker.is_stopped(&chunk.lease.run_id, chunk.claimed_at) {
            return;
        }
        let now = clock::now();
        let attempt_no = work.queued.attempts + 1;
        if now > work.expires_at() {
            let outcome = local_outcome(DeliveryState::Expired, "not delivered within its lifetime");
            return self.settle(work, None, attempt_no, outcome).await;
        }
        let date_at = work.queued.date_at.unwrap_or(now);
        let mail = match self.prepare(&work, date_at).await {
            Ok(mail) => mail,
            Err(why) => return self.cannot_compose(&work, why).await,
        };
        let begun = loop {
            if !self.connect(&work).await {
                return;
            }
            let Some(conversation) = &mut self.conversation else { return };
            let used = conversation.is_used();
            self.begun += 1;
            let begun = conversation.begin(&mail, &work.queued.message_id).await;
            if !(used && ends_the_connection(&begun)) {
                break begun;
            }
            // The server was weary of the connection, not of the message: it has a new one, at once.
            self.conversation = None;
        };
        let Some(conversation) = &mut self.conversation else { return };
        match begun {
            Begun::Ready => self.commit_and_send(work, mail, attempt_no, date_at).await,
            Begun::Refused(stage, reply) => {
                let closes = reply.closes() || reply.is_odd();
                let outcome = refused(&work, stage, &reply, attempt_no);
                if closes || !conversation.reset().await {
                    self.conversation = None;
                }
                self.settle_refusal(work, None, attempt_no, &reply, outcome).await;
            }
            Begun::Broken(stage, why) => {
                self.conversation = None;
                let outcome = replies::broken(stage, &why, attempt_no, clock::now(), work.expires_at(), spread());
                self.settle(work, None, attempt_no, outcome).await;
            }
        }
    }

    /// The mail as it will leave. Composing takes microseconds and is done here; signing takes longer and is done elsewhere.
    async fn prepare(&self, work: &Work, date_at: clock::Millis) -> Result<Mail, String> {
        let mail = work.composer.compose(&work.queued, date_at)?;
        match &self.shared.signing {
            Some(signing) => signing.sign(mail, date_at).await,
            None => Ok(mail),
        }
    }

    async fn commit_and_send(&mut self, work: Work, mail: Mail, attempt_no: i64, date_at: clock::Millis) {
        let token = token::random_token();
        let commit = Commit {
            key: key(&work),
            lease: work.chunk.lease.clone(),
            token: token.clone(),
            address_key: work.queued.address_key.clone().unwrap_or_default(),
            kind: work.composer.kind(),
            topic: work.queued.topic.clone(),
            date_at,
            content_hash: ledger::content_hash(&mail.bytes),
        };
        let (settle, finished) = self.held.take().unzip();
        let accepted = settle.as_ref().is_some_and(is_acceptance);
        let answer = self.shared.ledger.write(settle, Some(commit)).await;
        if let Some(finished) = finished.filter(|_| accepted) {
            self.shared.breaker.written(&finished.chunk.lease.run_id);
        }
        let withdrawn = match answer {
            Ok(Some(Answer::Committed)) => None,
            Ok(other) => Some(other),
            Err(stopped) => {
                self.shared.database_gone(&stopped);
                Some(None)
            }
        };
        if let Some(answer) = withdrawn {
            match answer {
                Some(Answer::Suppressed) => {
                    self.shared.counters.suppressed.fetch_add(1, Ordering::Relaxed);
                }
                _ => work.chunk.lose(),
            }
            return self.withdraw().await;
        }
        let Some(conversation) = &mut self.conversation else { return };
        conversation.only_under(Some(work.chunk.lease.clone()));
        let sent = conversation.content(&mail).await;
        conversation.only_under(None);
        match sent {
            Sent::Answered(Stage::Content, reply) if (200..300).contains(&reply.code) => {
                self.shared.counters.accepted.fetch_add(1, Ordering::Relaxed);
                self.shared.breaker.accepted(&work.chunk.lease.run_id, &work.chunk.lease.lane);
                let outcome = Outcome {
                    state: DeliveryState::Accepted,
                    due_at: None,
                    stage: Stage::Content.word(),
                    code: Some(reply.code),
                    enhanced: reply.enhanced.clone(),
                    reply: reply.text,
                    about: None,
                };
                let settlement = Settlement {
                    key: key(&work),
                    lease: work.chunk.lease.clone(),
                    token: Some(token),
                    attempt_no,
                    outcome,
                    hard_bounced: None,
                };
                self.held = Some((settlement, work));
            }
            Sent::Answered(stage, reply) => {
                let outcome = refused(&work, stage, &reply, attempt_no);
                if reply.closes() || reply.is_odd() || !conversation_is_fit(stage, conversation).await {
                    self.conversation = None;
                }
                self.settle_refusal(work, Some(token), attempt_no, &reply, outcome).await;
            }
            Sent::NotWritten(why) => {
                self.conversation = None;
                let expires_at = work.expires_at();
                let outcome = replies::broken(Stage::Content, &why, attempt_no, clock::now(), expires_at, spread());
                self.settle(work, Some(token), attempt_no, outcome).await;
            }
            Sent::Unanswered(why) => {
                self.conversation = None;
                let why = format!("the whole message was sent and no answer came: {why}");
                self.settle(work, Some(token), attempt_no, local_outcome(DeliveryState::Unknown, &why)).await;
            }
        }
    }

    async fn withdraw(&mut self) {
        if let Some(mut conversation) = self.conversation.take()
            && conversation.withdraw().await
        {
            self.conversation = Some(conversation);
        }
    }

    /// Have a conversation open; false when there is none and the drain is about to end.
    async fn connect(&mut self, work: &Work) -> bool {
        if self.outlet.relay.pacing.messages_per_connection.is_some_and(|most| self.begun >= most)
            && let Some(conversation) = self.conversation.take()
        {
            conversation.quit().await;
        }
        while self.conversation.is_none() {
            if self.shared.stopping() || self.shared.outlets.is_out(&self.outlet) {
                return false;
            }
            let server = self.outlet.relay.server.clone();
            match self.outlet.connect().await {
                Ok(conversation) => {
                    self.shared.relay_works(&self.outlet).await;
                    self.conversation = Some(conversation);
                    self.begun = 0;
                }
                Err(error) => {
                    let (cause, why) = relays::told(&server, error);
                    if !self.may_try_again(work, cause, &why).await {
                        return false;
                    }
                }
            }
        }
        true
    }

    /// The relay could not be talked to: whether to try again, after the pause that this waits.
    async fn may_try_again(&mut self, work: &Work, cause: Cause, why: &str) -> bool {
        let server = self.outlet.relay.server.clone();
        let (failures, enough) = self.outlet.cannot_connect();
        if cause == Cause::Busy && !self.outlet.others_talk() {
            // Said before it heard anything, it is about all mail from here. Where others talk, it is about their number.
            self.shared.slow_down(&self.outlet, &self.outlet.relay.name, why).await;
        }
        let others_talk = server.open_conversations() > 0;
        if cause == Cause::Login || enough && !others_talk {
            if let Failed::NobodyLeft(cause, why) = self.shared.relay_failed(&self.outlet, cause, why).await {
                match cause {
                    Cause::Login => self.pause(&work.chunk.lease.run_id, &why).await,
                    Cause::Busy => self.shared.end(Ended::ServerBusy(why)),
                    Cause::Unreachable => self.shared.end(Ended::ServerUnavailable(why)),
                }
            }
            return false;
        }
        if enough {
            self.outlet.connect_failures.store(0, Ordering::Relaxed);
            self.retired = true;
            return false;
        }
        // What was delivered is recorded now, not after a wait.
        self.write_held().await;
        tokio::time::sleep(server.patience().reconnect * failures as u32).await;
        true
    }

    /// What a recorded refusal means for the run, and for everything we send.
    async fn judge(&self, chunk: &HeldChunk, limits: &Limits, about: About, reply: &Reply) {
        let Lease { run_id, lane, .. } = &*chunk.lease;
        if about == About::Sender && matches!(reply.code, 530 | 534 | 535 | 538) {
            let why = format!("the mail server refused our login: {}", reply.line());
            return self.pause(run_id, &why).await;
        }
        match self.shared.breaker.refused(run_id, lane, about, limits) {
            Finding::Fine => {}
            Finding::InARow(n) => {
                let family = parts(lane).1;
                let why =
                    format!("{n} mails in a row ({family}) were refused because of us; the last: {}", reply.line());
                self.pause(run_id, &why).await;
            }
            Finding::Suspicious => {
                if let Err(e) = self.shared.count_and_judge(run_id, limits).await {
                    self.shared.end(Ended::DatabaseUnavailable(e.to_string()));
                }
            }
        }
    }

    /// Hold a run and end the work: whatever comes next would meet the same.
    async fn pause(&self, run_id: &str, why: &str) {
        if let Err(e) = run::advance(&self.shared.db, run_id, Move::Pause, Some(why), clock::now()).await {
            self.shared.end(Ended::DatabaseUnavailable(e.to_string()));
        }
        self.shared.end(Ended::Paused(why.to_owned()));
    }

    async fn cannot_compose(&self, work: &Work, why: String) {
        let why = format!("message to customer {}: {why}", work.queued.customer_id);
        self.pause(&work.chunk.lease.run_id, &why).await;
    }

    async fn settle(&mut self, work: Work, token: Option<String>, attempt_no: i64, outcome: Outcome) {
        self.write(
            Settlement {
                key: key(&work),
                lease: work.chunk.lease.clone(),
                token,
                attempt_no,
                outcome,
                hard_bounced: None,
            },
            work,
        )
        .await;
    }

    async fn settle_refusal(
        &mut self,
        work: Work,
        token: Option<String>,
        attempt_no: i64,
        reply: &Reply,
        outcome: Outcome,
    ) {
        let about = outcome.about;
        let hard_bounced = work.queued.address_key.clone().filter(|_| about == Some(About::NoSuchMailbox));
        // The chunk is kept until the refusal is judged: what is held then is not claimed again in between.
        let (chunk, limits) = (work.chunk.clone(), work.composer.limits());
        let lease = chunk.lease.clone();
        self.write(Settlement { key: key(&work), lease, token, attempt_no, outcome, hard_bounced }, work).await;
        if replies::asks_for_less(reply) {
            self.shared.slow_down(&self.outlet, &chunk.lease.lane, &reply.line()).await;
        }
        if let Some(about) = about {
            self.judge(&chunk, &limits, about, reply).await;
        }
    }

    async fn write(&mut self, settlement: Settlement, work: Work) {
        let counters = &self.shared.counters;
        let counter = match settlement.outcome.state {
            DeliveryState::Deferred => &counters.deferred,
            DeliveryState::Unknown => &counters.unknown,
            DeliveryState::Expired => &counters.expired,
            _ => &counters.failed,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        self.write_held().await;
        self.held = Some((settlement, work));
        self.write_held().await;
    }

    async fn write_held(&mut self) {
        let Some((settlement, work)) = self.held.take() else { return };
        let accepted = is_acceptance(&settlement);
        if let Err(stopped) = self.shared.ledger.write(Some(settlement), None).await {
            self.shared.database_gone(&stopped);
        }
        if accepted {
            self.shared.breaker.written(&work.chunk.lease.run_id);
        }
    }
}

fn is_acceptance(settlement: &Settlement) -> bool {
    settlement.outcome.state == DeliveryState::Accepted
}

fn refused(work: &Work, stage: Stage, reply: &Reply, attempt_no: i64) -> Outcome {
    replies::refused(stage, reply, attempt_no, clock::now(), work.expires_at(), spread())
}

/// Whether an envelope failed because the server ends the connection (RFC 5321 §3.8): nothing is said about the message.
fn ends_the_connection(begun: &Begun) -> bool {
    match begun {
        Begun::Refused(Stage::Mail, reply) => reply.closes(),
        Begun::Broken(stage, _) => *stage == Stage::Mail,
        _ => false,
    }
}

/// After a refused content the server is ready for the next message; after a refused DATA the envelope is still open.
async fn conversation_is_fit(stage: Stage, conversation: &mut Conversation) -> bool {
    stage == Stage::Content || conversation.reset().await
}

fn key(work: &Work) -> Key {
    Key { bucket: work.queued.bucket, chunk_id: work.queued.chunk_id, seq: work.queued.seq }
}

fn local_outcome(state: DeliveryState, why: &str) -> Outcome {
    let stage = Stage::Content.word();
    Outcome { state, due_at: None, stage, code: None, enhanced: None, reply: why.to_owned(), about: None }
}

/// Random in 0..1, so that retries of one moment do not come back together.
fn spread() -> f64 {
    (token::random() % 10_000) as f64 / 10_000.0
}
