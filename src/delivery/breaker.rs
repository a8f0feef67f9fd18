//! The circuit breaker: when the servers' answers say that something is wrong with a run or with us, it is held before more harm is done.
//!
//! Five rules beside the refused login. *Shares*: of a run's final answers, so many may be refusals ([`Limits`]), once there are enough. *Policy
//! in a row*: refusals about us in one lane, one after the other, end the whole work, because the next run's mails would meet the same:
//! [`POLICY_IN_A_ROW_MAX`] of them, and [`POLICY_AT_FIRST_MAX`] where the lane took nothing for a day. *Nothing taken*: when the work is over, runs that
//! were refused because of us are held however few they were, if nothing was taken meanwhile ([`lately`]): small runs have no shares.
//! *Nobody at home*: [`NO_MAILBOX_IN_A_ROW_MAX`] mailboxes in a row that are said not to exist, in a lane that took nothing for a day, are a server that
//! has lost its directory sooner than a list of the dead; each costs an address. *Silence in a row*: contents that nobody answered, [`UNANSWERED_IN_A_ROW_MIN`] of them and two of each connection, end
//! the work too: a server that went away leaves one of each connection, more is somebody who swallows answers, and each is a message in doubt.
//!
//! Each process counts what it hears. At its first refusal, and whenever its count looks wrong, the database is asked, which knows the
//! answers of all processes and of those before; only what it says holds a run. So a message costs no query.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::Shared;
use super::replies::Reply;
use crate::clock;
use crate::db::DbResult;
use crate::queue::answers::{self, About, Answers, COMPLAINTS_MIN, Limits};
use crate::queue::lease::parts;
use crate::queue::run::{self, Move};
use crate::queue::{lately, status};

/// Policy refusals in a row, in one lane, that stop everything.
const POLICY_IN_A_ROW_MAX: u32 = 10;
/// The same of a lane that took nothing for a day, by all that is known.
const POLICY_AT_FIRST_MAX: u32 = lately::LANE_REFUSALS_MIN;

/// Mailboxes in a row that do not exist, in one lane that took nothing for a day, that stop everything: each is suppressed for good.
const NO_MAILBOX_IN_A_ROW_MAX: u32 = 10;

/// Unanswered contents in a row, in one lane, that stop everything; at least two of each connection.
const UNANSWERED_IN_A_ROW_MIN: u32 = 10;

/// How often a run is tried to be held while the database is busy, and how long between the tries.
const HOLD_TRIES_MAX: u32 = 6;
const HOLD_PAUSE: Duration = Duration::from_millis(250);

/// What an answer calls for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Finding {
    Fine,
    /// By what this process knows a share is exceeded, or it knows nothing yet: count in the database.
    Suspicious,
    /// So many policy refusals in a row.
    InARow(u32),
    /// So many policy refusals in a row, or mailboxes that do not exist, and this process knows of nothing that the lane took: look in the database.
    NothingTaken(u32),
}

/// What this process knows of a run.
#[derive(Debug, Default)]
struct Watch {
    answers: Answers,
    /// The database was asked; what was answered before this process began is among the answers.
    asked: bool,
    /// Contents without an answer since the last answer, by lane.
    unanswered: HashMap<String, u32>,
    /// Accepted, and not yet in the database: they travel with the next commit.
    unwritten: u64,
    /// Above which shares the run is held, once its composer is open.
    limits: Option<Limits>,
    /// When this process held the run. What was claimed before is left alone; what is claimed later was let go on by somebody.
    stopped_at: Option<Instant>,
}

/// What this process knows of a lane, whichever run it hears of: refusals because of us are not about a run.
#[derive(Debug, Default)]
struct LaneWatch {
    /// Policy refusals since the last other answer.
    in_a_row: u32,
    /// Mailboxes that do not exist since the last other answer.
    no_mailbox: u32,
    /// It took something, as this process heard, or the database knows of the last day.
    takes: bool,
    /// The last policy refusal, and the runs that had one.
    last: String,
    runs: BTreeSet<String>,
}

/// A lane that refused because of us and took nothing, as far as this process knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusing {
    lane: String,
    last: String,
    runs: Vec<String>,
}

/// The runs this process sends, and the lanes it sends them in.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    runs: Mutex<HashMap<String, Watch>>,
    lanes: Mutex<BTreeMap<String, LaneWatch>>,
}

impl Breaker {
    fn with<T>(&self, run_id: &str, look: impl FnOnce(&mut Watch) -> T) -> T {
        let mut runs = self.runs.lock().unwrap_or_else(PoisonError::into_inner);
        match runs.get_mut(run_id) {
            Some(watch) => look(watch),
            None => look(runs.entry(run_id.to_owned()).or_default()),
        }
    }

    fn with_lane<T>(&self, lane: &str, look: impl FnOnce(&mut LaneWatch) -> T) -> T {
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        match lanes.get_mut(lane) {
            Some(watch) => look(watch),
            None => look(lanes.entry(lane.to_owned()).or_default()),
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
            if let Some(row) = w.unanswered.get_mut(lane) {
                *row = 0;
            }
        });
        self.with_lane(lane, |l| (l.in_a_row, l.no_mailbox, l.takes) = (0, 0, true));
    }

    /// A lane took something within the day, as the database knows.
    pub fn takes(&self, lane: &str) {
        self.with_lane(lane, |l| l.takes = true);
    }

    /// An acceptance is in the database.
    pub fn written(&self, run_id: &str) {
        self.with(run_id, |w| w.unwritten = w.unwritten.saturating_sub(1));
    }

    /// A message was refused for good.
    pub fn refused(&self, run_id: &str, lane: &str, about: About, reply: &Reply, limits: &Limits) -> Finding {
        let (row, no_mailbox, takes) = self.with_lane(lane, |l| {
            l.in_a_row = if about == About::Sender { l.in_a_row + 1 } else { 0 };
            l.no_mailbox = if about == About::NoSuchMailbox { l.no_mailbox + 1 } else { 0 };
            if about == About::Sender {
                l.last = reply.line();
                l.runs.insert(run_id.to_owned());
            }
            (l.in_a_row, l.no_mailbox, l.takes)
        });
        self.with(run_id, |w| {
            w.answers.refuse(about, 1);
            w.unanswered.remove(lane);
            match row {
                row if row >= POLICY_IN_A_ROW_MAX => Finding::InARow(row),
                row if row >= POLICY_AT_FIRST_MAX && !takes => Finding::NothingTaken(row),
                _ if no_mailbox >= NO_MAILBOX_IN_A_ROW_MAX && !takes => Finding::NothingTaken(no_mailbox),
                _ if !w.asked || limits.exceeded_by(&w.answers).is_some() => Finding::Suspicious,
                _ => Finding::Fine,
            }
        })
    }

    /// The lanes that refused because of us and took nothing.
    fn refusing(&self) -> Vec<Refusing> {
        let lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        let refusing = lanes.iter().filter(|(_, l)| !l.takes && !l.runs.is_empty());
        refusing
            .map(|(lane, l)| Refusing {
                lane: lane.clone(),
                last: l.last.clone(),
                runs: l.runs.iter().cloned().collect(),
            })
            .collect()
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
    /// Hold a run. A database that is busy for a moment does not let it go on.
    pub(super) async fn hold(&self, run_id: &str, why: &str) -> DbResult<()> {
        let mut tries = 1;
        loop {
            match run::advance(&self.db, run_id, Move::Pause, Some(why), clock::now()).await {
                Err(e) if e.is_retryable() && tries < HOLD_TRIES_MAX => tokio::time::sleep(HOLD_PAUSE).await,
                ended => return ended.map(|_| ()),
            }
            tries += 1;
        }
    }

    /// Hold a run if the answers that all processes wrote down exceed a limit.
    pub(super) async fn count_and_judge(&self, run_id: &str, limits: &Limits) -> DbResult<()> {
        let counted = answers::count(&self.db, run_id).await?;
        let Some(why) = self.breaker.confirm(run_id, counted, limits) else { return Ok(()) };
        self.hold(run_id, &why).await?;
        self.breaker.stop(run_id);
        let _ = self.paused.set(why); // the first reason is told
        Ok(())
    }

    /// At the end of the work: runs that were refused because of us are held where nothing was taken for a day, however few they were. By one refusal
    /// only a run is held of which nothing is left: its other answers are known.
    pub(super) async fn judge_the_end(&self) -> DbResult<()> {
        let refusing = self.breaker.refusing();
        if refusing.is_empty() {
            return Ok(());
        }
        let lately = lately::look(&self.db, clock::now()).await?;
        for Refusing { lane, last, runs } in refusing {
            let (why, of_all) = match (lately.blocked(&lane), lately.blocked_everywhere()) {
                (Some(n), _) => (nothing_taken(&format!("{n} mails"), About::Sender, &lane, &last), true),
                (None, Some(n)) => {
                    let mails = if n == 1 { "1 mail was".to_owned() } else { format!("{n} mails were") };
                    let why =
                        format!("{mails} refused because of us, and nothing was taken for a day; the last: {last}");
                    (why, false)
                }
                (None, None) => continue,
            };
            for run_id in runs {
                if of_all || !status::has_left(&self.db, &run_id).await? {
                    self.hold(&run_id, &why).await?;
                    let _ = self.paused.set(why.clone()); // the first reason is told
                }
            }
        }
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

/// That a lane refuses, because of us or every mailbox, and takes nothing; `mails` are so many.
pub(super) fn nothing_taken(mails: &str, about: About, lane: &str, last: &str) -> String {
    let family = parts(lane).1;
    let because = match about {
        About::NoSuchMailbox => "because there is no such mailbox",
        About::Sender | About::Message => "because of us",
    };
    format!("{mails} ({family}) were refused {because}, and none was taken there for a day; the last: {last}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { hard_bounce: 0.05, policy: 0.05, failed: 0.1, complaint: 0.003 };

    fn answers(accepted: u64, hard_bounce: u64, policy: u64, other: u64) -> Answers {
        Answers { accepted, hard_bounce, policy, other, complaints: 0 }
    }

    fn reply() -> Reply {
        Reply::new(550, "5.7.1 no")
    }

    #[test]
    fn policy_refusals_count_in_a_row_and_by_lane() {
        let breaker = Breaker::default();
        let refused = |lane, about| breaker.refused("r", lane, about, &reply(), &LIMITS);
        assert_eq!(refused("default/other", About::Message), Finding::Suspicious, "nothing is known yet");
        assert_eq!(breaker.confirm("r", answers(0, 0, 0, 1), &LIMITS), None);
        breaker.takes("default/gmail");
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
    fn a_lane_that_took_nothing_is_suspected_at_the_third_refusal_whichever_run_hears_it() {
        let breaker = Breaker::default();
        for run in ["a", "b", "c", "d"] {
            assert_eq!(breaker.confirm(run, answers(0, 0, 0, 0), &LIMITS), None);
        }
        let refused = |run, lane| breaker.refused(run, lane, About::Sender, &reply(), &LIMITS);
        assert_eq!([refused("a", "l/gmail"), refused("b", "l/gmail")], [Finding::Fine, Finding::Fine]);
        assert_eq!(refused("a", "l/other"), Finding::Fine, "another lane");
        assert_eq!(refused("c", "l/gmail"), Finding::NothingTaken(3));
        let of_gmail = |runs: &[&str]| Refusing {
            lane: "l/gmail".to_owned(),
            last: "550 5.7.1 no".to_owned(),
            runs: runs.iter().map(|r| (*r).to_owned()).collect(),
        };
        assert_eq!(breaker.refusing()[0], of_gmail(&["a", "b", "c"]));
        // The database knows that it takes something: then ten are needed, and few refusals hold nobody.
        breaker.takes("l/gmail");
        assert_eq!(refused("d", "l/gmail"), Finding::Fine);
        let lanes: Vec<String> = breaker.refusing().into_iter().map(|r| r.lane).collect();
        assert_eq!(lanes, ["l/other"]);
        breaker.accepted("a", "l/other");
        assert_eq!(breaker.refusing(), []);
        assert_eq!([refused("a", "l/other"), refused("a", "l/other"), refused("a", "l/other")], [Finding::Fine; 3]);
    }

    #[test]
    fn ten_mailboxes_in_a_row_that_do_not_exist_are_suspected_where_nothing_is_taken() {
        let breaker = Breaker::default();
        assert_eq!(breaker.confirm("r", answers(0, 0, 0, 0), &LIMITS), None);
        let refused = |about| breaker.refused("r", "l/other", about, &reply(), &LIMITS);
        for about in [About::Message, About::Sender] {
            for _ in 1..NO_MAILBOX_IN_A_ROW_MAX {
                assert_eq!(refused(About::NoSuchMailbox), Finding::Fine);
            }
            assert_eq!(refused(about), Finding::Fine, "another answer ends the row");
        }
        for _ in 1..NO_MAILBOX_IN_A_ROW_MAX {
            assert_eq!(refused(About::NoSuchMailbox), Finding::Fine);
        }
        assert_eq!(refused(About::NoSuchMailbox), Finding::NothingTaken(NO_MAILBOX_IN_A_ROW_MAX));
        breaker.takes("l/other");
        assert_eq!(refused(About::NoSuchMailbox), Finding::Fine, "a list with old addresses: shares judge it");
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
        breaker.refused("r", "a", About::Message, &reply(), &LIMITS);
        assert_eq!(breaker.unanswered("r", "a", 1), None, "any answer ends the row");
        assert_eq!(breaker.unanswered("r", "b", 1), None, "another lane");
    }

    #[test]
    fn a_suspicion_is_confirmed_by_what_all_processes_heard() {
        let breaker = Breaker::default();
        assert_eq!(breaker.confirm("r", answers(95, 5, 0, 0), &LIMITS), None);
        assert_eq!(breaker.refused("r", "l", About::NoSuchMailbox, &reply(), &LIMITS), Finding::Suspicious);
        // Others were answered better: the run goes on, and this process knows it.
        assert_eq!(breaker.confirm("r", answers(300, 6, 0, 0), &LIMITS), None);
        assert_eq!(breaker.refused("r", "l", About::NoSuchMailbox, &reply(), &LIMITS), Finding::Fine);
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
        assert_eq!(
            breaker.refused("r", "l", About::NoSuchMailbox, &reply(), &LIMITS),
            Finding::Suspicious,
            "nothing is known"
        );
        assert_eq!(breaker.confirm("r", answers(0, 1, 0, 0), &LIMITS), None);
    }
}
