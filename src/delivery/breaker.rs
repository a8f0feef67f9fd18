//! The circuit breaker: when the servers' answers say that something is wrong with a run or with us, it is held before more harm is done.
//!
//! Three rules beside the refused login. *Shares*: of a run's final answers, so many may be refusals ([`Limits`]), once there are enough. *Policy
//! in a row*: [`POLICY_IN_A_ROW_MAX`] refusals about us in one lane, one after the other, end the whole work, because the next run's mails
//! would meet the same. *Silence in a row*: contents that nobody answered, [`UNANSWERED_IN_A_ROW_MIN`] of them and two of each connection, end
//! it too: a server that went away leaves one of each connection, more is somebody who swallows answers, and each is a message in doubt.
//!
//! Each process counts what it hears. At its first refusal, and whenever its count looks wrong, the database is asked, which knows the
//! answers of all processes and of those before; only what it says holds a run. So a message costs no query.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use super::Shared;
use crate::clock;
use crate::db::DbResult;
use crate::queue::answers::{self, About, Answers, COMPLAINTS_MIN, Limits};
use crate::queue::run::{self, Move};

/// Policy refusals in a row, in one lane, that stop everything.
const POLICY_IN_A_ROW_MAX: u32 = 10;

/// Unanswered contents in a row, in one lane, that stop everything; at least two of each connection.
const UNANSWERED_IN_A_ROW_MIN: u32 = 10;

/// What an answer calls for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Finding {
    Fine,
    /// By what this process knows a share is exceeded, or it knows nothing yet: count in the database.
    Suspicious,
    /// So many policy refusals in a row.
    InARow(u32),
}

/// What this process knows of a run.
#[derive(Debug, Default)]
struct Watch {
    answers: Answers,
    /// The database was asked; what was answered before this process began is among the answers.
    asked: bool,
    /// Policy refusals since the last other answer, by lane.
    in_a_row: HashMap<String, u32>,
    /// Contents without an answer since the last answer, by lane.
    unanswered: HashMap<String, u32>,
    /// Accepted, and not yet in the database: they travel with the next commit.
    unwritten: u64,
    /// Above which shares the run is held, once its composer is open.
    limits: Option<Limits>,
    /// When this process held the run. What was claimed before is left alone; what is claimed later was let go on by somebody.
    stopped_at: Option<Instant>,
}

/// The runs this process sends.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    runs: Mutex<HashMap<String, Watch>>,
}

impl Breaker {
    fn with<T>(&self, run_id: &str, look: impl FnOnce(&mut Watch) -> T) -> T {
        let mut runs = self.runs.lock().unwrap_or_else(PoisonError::into_inner);
        match runs.get_mut(run_id) {
            Some(watch) => look(watch),
            None => look(runs.entry(run_id.to_owned()).or_default()),
        }
    }

    /// This process begins to send a run, which is held above these shares.
    pub fn begin(&self, run_id: &str, limits: Limits) {
        self.with(run_id, |w| w.limits = Some(limits));
    }

    /// Above which shares a run is held.
    pub fn limits(&self, run_id: &str) -> Option<Limits> {
        self.with(run_id, |w| w.limits)
    }

    /// A message was accepted.
    pub fn accepted(&self, run_id: &str, lane: &str) {
        self.with(run_id, |w| {
            w.answers.accept(1);
            w.unwritten += 1;
            for rows in [&mut w.in_a_row, &mut w.unanswered] {
                if let Some(row) = rows.get_mut(lane) {
                    *row = 0;
                }
            }
        });
    }

    /// An acceptance is in the database.
    pub fn written(&self, run_id: &str) {
        self.with(run_id, |w| w.unwritten = w.unwritten.saturating_sub(1));
    }

    /// A message was refused for good.
    pub fn refused(&self, run_id: &str, lane: &str, about: About, limits: &Limits) -> Finding {
        self.with(run_id, |w| {
            w.answers.refuse(about, 1);
            w.unanswered.remove(lane);
            let row = w.in_a_row.entry(lane.to_owned()).or_default();
            *row = if about == About::Sender { *row + 1 } else { 0 };
            match *row {
                row if row >= POLICY_IN_A_ROW_MAX => Finding::InARow(row),
                _ if !w.asked || limits.exceeded_by(&w.answers).is_some() => Finding::Suspicious,
                _ => Finding::Fine,
            }
        })
    }

    /// A content got no answer over one of so many connections: how many in a row by now, when they are too many.
    pub fn unanswered(&self, run_id: &str, lane: &str, connections: u32) -> Option<u32> {
        self.with(run_id, |w| {
            let row = w.unanswered.entry(lane.to_owned()).or_default();
            *row += 1;
            (*row >= UNANSWERED_IN_A_ROW_MIN.max(2 * connections)).then_some(*row)
        })
    }

    /// What the database counted, beside what was accepted here and is not written yet: the limit they exceed.
    pub fn confirm(&self, run_id: &str, counted: Answers, limits: &Limits) -> Option<String> {
        self.with(run_id, |w| {
            w.asked = true;
            w.answers = counted;
            w.answers.accept(w.unwritten);
            limits.exceeded_by(&w.answers)
        })
    }

    /// The run is held, in the database too. Should it be let go on, everything is counted anew.
    pub fn stop(&self, run_id: &str) {
        self.with(run_id, |w| {
            *w = Watch {
                unwritten: w.unwritten,
                limits: w.limits,
                stopped_at: Some(Instant::now()),
                ..Watch::default()
            };
        });
    }

    /// Whether messages of a chunk that was claimed then are left alone.
    pub fn is_stopped(&self, run_id: &str, claimed_at: Instant) -> bool {
        self.with(run_id, |w| w.stopped_at.is_some_and(|stopped_at| claimed_at <= stopped_at))
    }
}

impl Shared {
    /// Hold a run if the answers that all processes wrote down exceed a limit.
    pub(super) async fn count_and_judge(&self, run_id: &str, limits: &Limits) -> DbResult<()> {
        let counted = answers::count(&self.db, run_id).await?;
        let Some(why) = self.breaker.confirm(run_id, counted, limits) else { return Ok(()) };
        run::advance(&self.db, run_id, Move::Pause, Some(&why), clock::now()).await?;
        self.breaker.stop(run_id);
        let _ = self.paused.set(why); // the first reason is told
        Ok(())
    }

    /// The same, because of readers who called a mail spam: they come back while nothing is refused, and after the run.
    pub(super) async fn judge_complaints(&self, run_id: &str) -> DbResult<()> {
        let Some(limits) = self.breaker.limits(run_id).filter(|l| l.complaint < 1.0) else { return Ok(()) };
        if answers::complaints(&self.db, run_id).await? < COMPLAINTS_MIN {
            return Ok(());
        }
        self.count_and_judge(run_id, &limits).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { hard_bounce: 0.05, policy: 0.05, failed: 0.1, complaint: 0.003 };

    fn answers(accepted: u64, hard_bounce: u64, policy: u64, other: u64) -> Answers {
        Answers { accepted, hard_bounce, policy, other, complaints: 0 }
    }

    #[test]
    fn policy_refusals_count_in_a_row_and_by_lane() {
        let breaker = Breaker::default();
        let refused = |lane, about| breaker.refused("r", lane, about, &LIMITS);
        assert_eq!(refused("default/other", About::Message), Finding::Suspicious, "nothing is known yet");
        assert_eq!(breaker.confirm("r", answers(0, 0, 0, 1), &LIMITS), None);
        for _ in 0..2 {
            for _ in 1..POLICY_IN_A_ROW_MAX {
                assert_eq!(refused("default/gmail", About::Sender), Finding::Fine);
                assert_eq!(refused("default/other", About::Message), Finding::Fine);
            }
            breaker.accepted("r", "default/gmail");
        }
        for _ in 1..POLICY_IN_A_ROW_MAX {
            assert_eq!(refused("default/gmail", About::Sender), Finding::Fine);
        }
        assert_eq!(refused("default/gmail", About::Sender), Finding::InARow(POLICY_IN_A_ROW_MAX));
    }

    #[test]
    fn silence_counts_in_a_row_and_grows_with_the_connections() {
        let breaker = Breaker::default();
        for _ in 1..UNANSWERED_IN_A_ROW_MIN {
            assert_eq!(breaker.unanswered("r", "a", 1), None);
        }
        breaker.accepted("r", "a");
        for n in 1..40 {
            let expected = (n >= 20).then_some(n);
            assert_eq!(breaker.unanswered("r", "a", 10), expected, "{n} over ten connections");
        }
        breaker.refused("r", "a", About::Message, &LIMITS);
        assert_eq!(breaker.unanswered("r", "a", 1), None, "any answer ends the row");
        assert_eq!(breaker.unanswered("r", "b", 1), None, "another lane");
    }

    #[test]
    fn a_suspicion_is_confirmed_by_what_all_processes_heard() {
        let breaker = Breaker::default();
        assert_eq!(breaker.confirm("r", answers(95, 5, 0, 0), &LIMITS), None);
        assert_eq!(breaker.refused("r", "l", About::NoSuchMailbox, &LIMITS), Finding::Suspicious);
        // Others were answered better: the run goes on, and this process knows it.
        assert_eq!(breaker.confirm("r", answers(300, 6, 0, 0), &LIMITS), None);
        assert_eq!(breaker.refused("r", "l", About::NoSuchMailbox, &LIMITS), Finding::Fine);
        // What is accepted and not yet written counts.
        assert!(breaker.confirm("r", answers(94, 6, 0, 0), &LIMITS).is_some());
        for _ in 0..30 {
            breaker.accepted("r", "l");
        }
        assert_eq!(breaker.confirm("r", answers(94, 6, 0, 0), &LIMITS), None);
        for _ in 0..30 {
            breaker.written("r");
        }
        assert!(breaker.confirm("r", answers(94, 6, 0, 0), &LIMITS).is_some());
    }

    #[test]
    fn a_stopped_run_that_somebody_lets_go_on_is_counted_anew() {
        let breaker = Breaker::default();
        let before = Instant::now();
        assert!(breaker.confirm("r", answers(0, 100, 0, 0), &LIMITS).is_some());
        assert!(!breaker.is_stopped("r", before), "not before the database holds it");
        breaker.stop("r");
        assert!(breaker.is_stopped("r", before) && !breaker.is_stopped("another", before));
        let after = Instant::now() + std::time::Duration::from_millis(1);
        assert!(!breaker.is_stopped("r", after), "claimed later: it was let go on");
        assert_eq!(breaker.refused("r", "l", About::NoSuchMailbox, &LIMITS), Finding::Suspicious, "nothing is known");
        assert_eq!(breaker.confirm("r", answers(0, 1, 0, 0), &LIMITS), None);
    }
}
