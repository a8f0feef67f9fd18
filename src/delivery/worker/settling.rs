//! What became of a message goes to the ledger, and what a refusal means for the run and for everything we send is judged.

use std::sync::atomic::Ordering;

use super::super::breaker::{Finding, nothing_taken};
use super::super::feed::{HeldChunk, Work};
use super::super::replies::{self, Reply};
use super::super::{Ended, refusal::is_about_login};
use super::{Worker, is_acceptance, key};
use crate::clock;
use crate::queue::DeliveryState;
use crate::queue::answers::{About, Limits};
use crate::queue::lately;
use crate::queue::lease::{Lease, parts};
use crate::queue::ledger::{Outcome, Settlement};

impl Worker {
    /// What a recorded refusal means for the run, and for everything we send.
    async fn judge(&self, chunk: &HeldChunk, limits: &Limits, about: About, reply: &Reply) {
        let Lease { run_id, lane, .. } = &*chunk.lease;
        if about == About::Sender && is_about_login(reply) {
            let why = format!("the mail server refused our login: {}", reply.line());
            return self.pause(run_id, &why).await;
        }
        let finding = self.shared.breaker.refused(run_id, lane, about, reply, limits);
        let judged = match finding {
            Finding::Fine => return,
            Finding::InARow(n) => {
                let family = parts(lane).1;
                let why =
                    format!("{n} mails in a row ({family}) were refused because of us; the last: {}", reply.line());
                return self.pause(run_id, &why).await;
            }
            Finding::NothingTaken(n) => match lately::look(&self.shared.db, clock::now()).await {
                Ok(lately) if !lately.takes(lane) => {
                    let why = nothing_taken(&format!("{n} mails in a row"), about, lane, &reply.line());
                    return self.pause(run_id, &why).await;
                }
                Ok(_) => {
                    self.shared.breaker.takes(lane);
                    self.shared.count_and_judge(run_id, limits).await
                }
                Err(e) => Err(e),
            },
            Finding::Suspicious => self.shared.count_and_judge(run_id, limits).await,
        };
        if let Err(e) = judged {
            self.shared.end(Ended::DatabaseUnavailable(e.to_string()));
        }
    }

    /// The whole message went out and nothing was answered: after so many in a row something between us and the server swallows the answers, and
    /// whatever comes next would be in doubt too.
    pub(super) async fn judge_silence(&self, chunk: &HeldChunk, why: &str) {
        let Lease { run_id, lane, .. } = &*chunk.lease;
        let connections = self.outlet.relay.connections;
        if let Some(n) = self.shared.breaker.unanswered(run_id, lane, connections) {
            let family = parts(lane).1;
            let why = format!(
                "{n} mails in a row ({family}) were sent and got no answer, so the server may have them all; the last: {why}"
            );
            self.pause(run_id, &why).await;
        }
    }

    /// Hold a run and end the work: whatever comes next would meet the same.
    pub(super) async fn pause(&self, run_id: &str, why: &str) {
        if let Err(e) = self.shared.hold(run_id, why).await {
            self.shared.end(Ended::DatabaseUnavailable(e.to_string()));
        }
        self.shared.end(Ended::Paused(why.to_owned()));
    }

    pub(super) async fn cannot_compose(&self, work: &Work, why: String) {
        let why = format!("message to customer {}: {why}", work.queued.customer_id);
        self.pause(&work.chunk.lease.run_id, &why).await;
    }

    pub(super) async fn settle(&mut self, work: Work, token: Option<String>, attempt_no: i64, outcome: Outcome) {
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

    pub(super) async fn settle_refusal(
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

    pub(super) async fn write_held(&mut self) {
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
