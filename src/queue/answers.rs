//! What the servers answered to a run's messages, and its readers, counted, and how much of which kind holds a run: what the breaker judges by.

use crate::args;
use crate::campaign::StopAbove;
use crate::db::{Db, DbResult};

/// What a refusal for good was about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum About {
    /// The mailbox does not exist: suppress the address.
    NoSuchMailbox,
    /// Us: our login, our reputation, our rights. Says nothing about the address.
    Sender,
    /// This message or mailbox.
    Message,
}

impl About {
    /// What an attempt was kept with; one that this version does not know, or that was kept without, is about the message.
    fn from_word(word: Option<&str>) -> About {
        [About::NoSuchMailbox, About::Sender].into_iter().find(|a| Some(a.word()) == word).unwrap_or(About::Message)
    }

    /// As attempts keep it.
    pub fn word(self) -> &'static str {
        match self {
            About::NoSuchMailbox => "mailbox",
            About::Sender => "policy",
            About::Message => "message",
        }
    }
}

/// Answers before shares are judged: of fewer, chance alone makes large ones.
const ANSWERS_MIN: u64 = 100;
/// The same of a first wave, which is there to be judged early; then so many at least must be of the bad kind.
const WAVE_ANSWERS_MIN: u64 = 20;
const WAVE_BAD_MIN: u64 = 3;
/// Complaints before their share is judged: one reader's finger slips.
pub const COMPLAINTS_MIN: u64 = 3;

/// Shares of a run's answers, 0 to 1, above which it is held.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// No such mailbox.
    pub hard_bounce: f64,
    /// Refused because of us.
    pub policy: f64,
    /// Refused for good, for whatever reason.
    pub failed: f64,
    /// Called spam by its reader, of what was accepted.
    pub complaint: f64,
}

impl From<StopAbove> for Limits {
    fn from(StopAbove { hard_bounce, policy, failed, complaint }: StopAbove) -> Limits {
        Limits { hard_bounce, policy, failed, complaint }
    }
}

impl Limits {
    /// Which limit these answers exceed, in words.
    pub fn exceeded_by(&self, answers: &Answers) -> Option<String> {
        self.exceeded(answers, ANSWERS_MIN, 1)
    }

    /// The same, of a first wave.
    pub fn exceeded_by_wave(&self, answers: &Answers) -> Option<String> {
        self.exceeded(answers, WAVE_ANSWERS_MIN, WAVE_BAD_MIN)
    }

    fn exceeded(&self, answers: &Answers, least: u64, bad: u64) -> Option<String> {
        let all = answers.all();
        if all < least {
            return None;
        }
        let refusals = [
            ("hard_bounce", answers.hard_bounce, self.hard_bounce, "said that there is no such mailbox"),
            ("policy", answers.policy, self.policy, "were refusals because of us (5.7.x)"),
            ("failed", answers.failed(), self.failed, "were refusals for good"),
        ];
        let refusals = refusals.map(|(key, n, most, words)| (key, n, bad, most, all, "answers", words));
        let complaints = answers.complaints;
        let accepted = answers.accepted.max(1);
        let words = "were called spam by their readers";
        let complaint = ("complaint", complaints, COMPLAINTS_MIN, self.complaint, accepted, "accepted mails", words);
        let exceeds =
            |(_, n, bad, most, of, ..): &(_, u64, u64, f64, u64, _, _)| n >= bad && *n as f64 > most * *of as f64;
        refusals.into_iter().chain([complaint]).find(exceeds).map(|(key, n, _, most, of, things, words)| {
            let share = 100.0 * n as f64 / of as f64;
            // Written as a person would: 0.3, not 0.30000000000000004.
            let most = (most * 1e6).round() / 1e4;
            format!("{n} of {of} {things} ({share:.1} %) {words}; stop_above allows {key}: {most}%")
        })
    }
}

/// Final answers, since the run began or was last resumed. What was deferred or is in doubt is no answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Answers {
    pub accepted: u64,
    /// No such mailbox.
    pub hard_bounce: u64,
    /// Refused because of us.
    pub policy: u64,
    /// Refused for another reason.
    pub other: u64,
    /// Readers who called it spam.
    pub complaints: u64,
}

impl Answers {
    /// So many more refusals: the only place that tells which kind counts as what.
    pub fn refuse(&mut self, about: About, n: u64) {
        let counter = match about {
            About::NoSuchMailbox => &mut self.hard_bounce,
            About::Sender => &mut self.policy,
            About::Message => &mut self.other,
        };
        *counter += n;
    }

    /// So many more acceptances.
    pub fn accept(&mut self, n: u64) {
        self.accepted += n;
    }

    /// Refused for good.
    pub fn failed(&self) -> u64 {
        self.hard_bounce + self.policy + self.other
    }

    /// All of them.
    pub fn all(&self) -> u64 {
        self.accepted + self.failed()
    }
}

/// The answers to a run's messages, of every process that sends them. Goes through the run's rows: not for every message.
pub async fn count(db: &Db, run_id: &str) -> DbResult<Answers> {
    let sql = "SELECT COUNT(*) FROM delivery d JOIN run r ON r.run_id = d.run_id \
               WHERE d.run_id = $1 AND d.state IN ('accepted', 'bounced', 'complained') AND d.changed_at >= r.watched_from_at";
    let (accepted,): (i64,) = db.fetch_one(sql, args![run_id]).await?;
    let sql = "SELECT a.about, COUNT(*) FROM delivery d JOIN run r ON r.run_id = d.run_id \
               JOIN attempt a ON a.bucket = d.bucket AND a.chunk_id = d.chunk_id AND a.seq = d.seq AND a.attempt_no = d.attempts \
               WHERE d.run_id = $1 AND d.state = 'failed' AND a.state = 'failed' AND d.changed_at >= r.watched_from_at GROUP BY a.about";
    let refused: Vec<(Option<String>, i64)> = db.fetch_all(sql, args![run_id]).await?;
    let mut answers = Answers { complaints: complaints(db, run_id).await?, ..Answers::default() };
    answers.accept(accepted.unsigned_abs());
    for (about, n) in refused {
        answers.refuse(About::from_word(about.as_deref()), n.unsigned_abs());
    }
    Ok(answers)
}

/// Readers of a run's messages who called one spam since it began or was last resumed. They are few and looked up by an index of their own.
pub async fn complaints(db: &Db, run_id: &str) -> DbResult<u64> {
    let sql = "SELECT COUNT(*) FROM fact f JOIN run r ON r.campaign = f.campaign \
               JOIN message m ON m.bucket = f.bucket AND m.customer_id = f.customer_id \
                             AND m.campaign = f.campaign AND m.step = f.step AND m.slot = f.slot \
               WHERE f.kind = 'complaint' AND r.run_id = $1 AND m.run_id = $1 AND f.at >= r.watched_from_at";
    let (complaints,): (i64,) = db.fetch_one(sql, args![run_id]).await?;
    Ok(complaints.unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { hard_bounce: 0.05, policy: 0.05, failed: 0.1, complaint: 0.003 };

    fn answers(accepted: u64, hard_bounce: u64, policy: u64, other: u64) -> Answers {
        Answers { accepted, hard_bounce, policy, other, complaints: 0 }
    }

    #[test]
    fn shares_are_judged_from_a_hundred_answers_on_and_strictly() {
        let never = Limits { hard_bounce: 1.0, policy: 1.0, failed: 1.0, complaint: 1.0 };
        let complained = |accepted, complaints| Answers { complaints, ..answers(accepted, 0, 0, 0) };
        for (counted, limits, told) in [
            (answers(0, 99, 0, 0), LIMITS, None),
            (answers(95, 5, 0, 0), LIMITS, None),
            (
                answers(94, 6, 0, 0),
                LIMITS,
                Some("6 of 100 answers (6.0 %) said that there is no such mailbox; stop_above allows hard_bounce: 5%"),
            ),
            (
                answers(188, 0, 12, 0),
                LIMITS,
                Some("12 of 200 answers (6.0 %) were refusals because of us (5.7.x); stop_above allows policy: 5%"),
            ),
            (
                answers(89, 5, 5, 1),
                LIMITS,
                Some("11 of 100 answers (11.0 %) were refusals for good; stop_above allows failed: 10%"),
            ),
            (answers(0, 1_000, 0, 0), never, None),
            (complained(100, 2), LIMITS, None),
            (complained(1_000, 3), LIMITS, None),
            (
                complained(900, 3),
                LIMITS,
                Some(
                    "3 of 900 accepted mails (0.3 %) were called spam by their readers; stop_above allows complaint: 0.3%",
                ),
            ),
            (complained(900, 900), never, None),
        ] {
            assert_eq!(limits.exceeded_by(&counted).as_deref(), told, "{counted:?}");
        }
    }

    #[test]
    fn a_first_wave_is_judged_by_fewer_but_not_by_chance() {
        let held = |counted| LIMITS.exceeded_by_wave(&counted).is_some();
        assert!(!held(answers(0, 19, 0, 0)), "too few to tell");
        assert!(!held(answers(18, 2, 0, 0)), "two of twenty are chance");
        assert!(held(answers(17, 3, 0, 0)));
        assert!(!held(answers(57, 3, 0, 0)), "no more than is allowed");
        assert!(held(Answers { complaints: 3, ..answers(50, 0, 0, 0) }));
    }
}
