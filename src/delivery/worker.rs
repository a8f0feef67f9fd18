//! A worker: one connection to one relay that takes messages from the feed, one after the other.
//!
//! The order that the promise rests on: compose → envelope accepted → commit in the ledger → content → answer → outcome. The outcome of a
//! delivered message travels with the commit of the next one, so at most one message per connection is in doubt at any instant.
//!
//! Where the server takes several commands at once, a worker goes *ahead*: while a message is being committed it takes the next and composes it,
//! and gives its envelope behind the content. Its commit falls as ever, when the server has accepted it.

mod settling;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::conversation::Conversation;
use super::envelope::{Begun, Envelope};
use super::feed::Work;
use super::handover::Sent;
use super::refusal::is_about_login;
use super::relays::{self, Cause, Failed, Outlet};
use super::replies::{self, Reply, Stage};
use super::{Ended, Mail, Shared};
use crate::clock;
use crate::queue::DeliveryState;
use crate::queue::ledger::{self, Answer, Commit, Key, Outcome, Settlement};
use crate::token;

/// Take messages until the feed ends or the drain does.
pub(super) async fn work(shared: Arc<Shared>, outlet: Arc<Outlet>) {
    let mut worker = Worker { shared, outlet, conversation: None, ahead: None, held: None, retired: false };
    while let Some(letter) = worker.next().await {
        worker.send(letter).await;
    }
    if let Some(conversation) = worker.conversation.take() {
        conversation.quit().await;
    }
}

struct Worker {
    shared: Arc<Shared>,
    outlet: Arc<Outlet>,
    conversation: Option<Conversation>,
    /// The message after the one at hand; its envelope may have been given.
    ahead: Option<Letter>,
    /// An outcome that waits for the next commit; its work keeps the chunk leased until then.
    held: Option<(Settlement, Work)>,
    /// The server takes no more connections than others have; they go on without this one.
    retired: bool,
}

/// A message to be sent, with its mail, or why there is none.
struct Letter {
    work: Work,
    attempt_no: i64,
    date_at: clock::Millis,
    mail: Result<Mail, String>,
}

impl Worker {
    /// The next message; `None` at the end.
    async fn next(&mut self) -> Option<Letter> {
        loop {
            if self.shared.stopping() || self.retired {
                self.ahead = None;
                self.leave_ahead();
                self.write_held().await;
                return None;
            }
            if let Some(letter) = self.ahead.take() {
                return Some(letter);
            }
            let work = match self.held {
                None => self.outlet.lanes.next().await?,
                Some(_) => match self.outlet.lanes.try_next() {
                    Some(work) => work,
                    None => {
                        self.write_held().await;
                        continue;
                    }
                },
            };
            return Some(self.letter(work).await);
        }
    }

    /// The mail as it will leave. Composing takes microseconds and is done here; signing takes longer and is done elsewhere.
    async fn letter(&self, work: Work) -> Letter {
        let date_at = work.queued.date_at.unwrap_or_else(clock::now);
        let mail = match (work.composer.compose(&work.queued, date_at), &self.shared.signing) {
            (Ok(mail), Some(signing)) => signing.sign(mail, date_at).await,
            (mail, _) => mail,
        };
        Letter { attempt_no: work.queued.attempts + 1, date_at, mail, work }
    }

    /// Whether a message is to be left alone: its chunk is lost, or its run is held.
    fn is_left_alone(&self, work: &Work) -> bool {
        work.chunk.is_lost() || self.shared.breaker.is_stopped(&work.chunk.lease.run_id, work.chunk.claimed_at)
    }

    async fn send(&mut self, letter: Letter) {
        let Letter { work, attempt_no, date_at, mail } = letter;
        if self.is_left_alone(&work) {
            return self.leave_ahead();
        }
        if clock::now() > work.expires_at() {
            self.leave_ahead();
            return self.settle(work, None, attempt_no, expired()).await;
        }
        let mail = match mail {
            Ok(mail) => mail,
            Err(why) => return self.cannot_compose(&work, why).await,
        };
        match self.begin(&work, &mail).await {
            None => {}
            Some(Begun::Ready) => self.commit_and_send(work, mail, attempt_no, date_at).await,
            // It says nothing about the message: another relay may take it.
            Some(Begun::Refused(_, reply)) if is_about_login(&reply) => {
                self.conversation = None;
                self.relay_failed(&work, Cause::Login, &relays::login_refused(&reply)).await;
            }
            Some(Begun::Refused(stage, reply)) => {
                let outcome = refused(&work, stage, &reply, attempt_no);
                self.settle_refusal(work, None, attempt_no, &reply, outcome).await;
            }
            Some(Begun::Broken(stage, why)) => {
                let outcome = replies::broken(stage, &why, attempt_no, clock::now(), work.expires_at(), spread());
                self.settle(work, None, attempt_no, outcome).await;
            }
        }
    }

    /// What the server says to the envelope, which is given first where it was not yet; `None` when there is no server, or a silent one, and the
    /// drain is about to end. Afterwards there is a conversation only if it can go on.
    async fn begin(&mut self, work: &Work, mail: &Mail) -> Option<Begun> {
        loop {
            let ahead = self.conversation.as_ref().is_some_and(Conversation::is_ahead);
            if !ahead && !self.connect(work).await {
                return None;
            }
            let conversation = self.conversation.as_mut()?;
            let used = conversation.is_used();
            let heard = if ahead {
                let heard = self.shared.unless_over(conversation.hear_ahead()).await;
                heard.map(|begun| {
                    begun.unwrap_or_else(|silent| {
                        self.outlet.keep_apart(); // it may hear nothing of what stands behind a content
                        silent
                    })
                })
            } else {
                match conversation.envelope(mail, &work.queued.message_id) {
                    Ok(envelope) => self.shared.unless_over(conversation.begin(&envelope)).await,
                    Err((stage, reply)) => return Some(Begun::Refused(stage, reply)),
                }
            };
            let Some(begun) = heard else {
                self.conversation = None;
                return None;
            };
            let fit = match &begun {
                Begun::Ready => true,
                Begun::Refused(_, reply) => !reply.closes() && !reply.is_odd() && conversation.reset().await,
                Begun::Broken(..) => false,
            };
            if !fit {
                self.conversation = None;
            }
            // The server was weary of the connection, not of the message: it has a new one, at once.
            let again = if ahead { !fit || is_out_of_order(&begun) } else { used && ends_the_connection(&begun) };
            if !again {
                return Some(begun);
            }
        }
    }

    /// The message after this one, composed while this one is committed, where its envelope may be given behind this content.
    async fn look_ahead(&self) -> Option<Letter> {
        let conversation = self.conversation.as_ref().filter(|c| c.can_go_ahead() && !self.is_used_up(c))?;
        if self.shared.stopping() || self.outlet.is_kept_apart() || conversation.is_ahead() {
            return None;
        }
        let work = self.outlet.lanes.try_next()?;
        Some(self.letter(work).await)
    }

    /// The envelope of the message ahead, if nothing speaks against it by now.
    fn envelope_ahead(&self) -> Option<Envelope> {
        let Letter { work, mail, .. } = self.ahead.as_ref()?;
        let stays = self.shared.stopping() || self.is_left_alone(work) || clock::now() > work.expires_at();
        let mail = mail.as_ref().ok().filter(|_| !stays)?;
        self.conversation.as_ref()?.envelope(mail, &work.queued.message_id).ok()
    }

    /// The message ahead is not sent now: when its envelope was given, the connection goes.
    fn leave_ahead(&mut self) {
        if self.conversation.as_ref().is_some_and(Conversation::is_ahead) {
            self.conversation = None;
        }
    }

    async fn commit_and_send(&mut self, work: Work, mail: Mail, attempt_no: i64, date_at: clock::Millis) {
        // The server may have taken its time over the envelope.
        if clock::now() > work.expires_at() {
            self.withdraw().await;
            return self.settle(work, None, attempt_no, expired()).await;
        }
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
        let (answer, ahead) = tokio::join!(self.shared.ledger.write(settle, Some(commit)), self.look_ahead());
        self.ahead = ahead;
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
        let next = self.envelope_ahead();
        let Some(conversation) = &mut self.conversation else { return };
        let sent = conversation.content(&mail, next.as_ref(), Some(&work.chunk.lease)).await;
        match sent {
            Sent::Answered(Stage::Content, reply) if reply.takes_a_message() => {
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
            Sent::NotUnderstood(reply) => {
                self.conversation = None; // the content may have been read as commands
                self.outlet.avoid_chunks();
                let why = format!("the server announces BDAT and does not know it: {}", reply.line());
                let expires_at = work.expires_at();
                let outcome = replies::broken(Stage::Content, &why, attempt_no, clock::now(), expires_at, spread());
                self.settle(work, Some(token), attempt_no, outcome).await;
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
                let chunk = work.chunk.clone();
                self.settle(work, Some(token), attempt_no, local_outcome(DeliveryState::Unknown, &why)).await;
                self.judge_silence(&chunk, &why).await;
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

    /// Whether a conversation has had as many messages as it may.
    fn is_used_up(&self, conversation: &Conversation) -> bool {
        let most = self.outlet.relay.pacing.messages_per_connection;
        most.is_some_and(|most| conversation.begun() >= u64::from(most))
    }

    /// Have a conversation open; false when there is none and the drain is about to end.
    async fn connect(&mut self, work: &Work) -> bool {
        if self.conversation.as_ref().is_some_and(|c| self.is_used_up(c) || self.outlet.is_misled(c))
            && let Some(conversation) = self.conversation.take()
        {
            conversation.quit().await;
        }
        while self.conversation.is_none() {
            if self.shared.stopping() || self.shared.outlets.is_out(&self.outlet) {
                return false;
            }
            let server = self.outlet.relay.server.clone();
            let Some(connected) = self.shared.unless_over(self.outlet.connect()).await else { return false };
            match connected {
                Ok(conversation) => {
                    self.shared.relay_works(&self.outlet).await;
                    self.conversation = Some(conversation);
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
        if cause == Cause::Login || (enough || cause == Cause::Distrusted) && !others_talk {
            self.relay_failed(work, cause, why).await;
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

    /// The relay takes no mail; when nobody else does, the work is over.
    async fn relay_failed(&self, work: &Work, cause: Cause, why: &str) {
        if let Failed::NobodyLeft(cause, why) = self.shared.relay_failed(&self.outlet, cause, why).await {
            match cause {
                Cause::Login => self.pause(&work.chunk.lease.run_id, &why).await,
                Cause::Busy => self.shared.end(Ended::ServerBusy(why)),
                Cause::Unreachable | Cause::Distrusted => self.shared.end(Ended::ServerUnavailable(why)),
            }
        }
    }
}

fn is_acceptance(settlement: &Settlement) -> bool {
    settlement.outcome.state == DeliveryState::Accepted
}

fn refused(work: &Work, stage: Stage, reply: &Reply, attempt_no: i64) -> Outcome {
    replies::refused(stage, reply, attempt_no, clock::now(), work.expires_at(), spread())
}

/// Whether an envelope failed because the server ends the connection (RFC 5321 §3.8), or what we are in it: nothing is said about the message.
fn ends_the_connection(begun: &Begun) -> bool {
    match begun {
        Begun::Refused(Stage::Mail, reply) => reply.closes() || is_about_login(reply),
        Begun::Broken(stage, _) => *stage == Stage::Mail,
        _ => false,
    }
}

/// Whether the server did not expect an envelope there: some want RSET after a refused BDAT (RFC 3030 §2).
fn is_out_of_order(begun: &Begun) -> bool {
    matches!(begun, Begun::Refused(_, reply) if reply.code == 503)
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

fn expired() -> Outcome {
    local_outcome(DeliveryState::Expired, "not delivered within its lifetime")
}

/// Random in 0..1, so that retries of one moment do not come back together.
fn spread() -> f64 {
    (token::random() % 10_000) as f64 / 10_000.0
}
