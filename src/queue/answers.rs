//! What the servers answered to a run's messages, counted: what the breaker judges by.

use crate::args;
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
    /// As attempts keep it.
    pub fn word(self) -> &'static str {
        match self {
            About::NoSuchMailbox => "mailbox",
            About::Sender => "policy",
            About::Message => "message",
        }
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
}

impl Answers {
    /// One more refusal.
    pub fn refuse(&mut self, about: About) {
        match about {
            About::NoSuchMailbox => self.hard_bounce += 1,
            About::Sender => self.policy += 1,
            About::Message => self.other += 1,
        }
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
    let mut answers = Answers { accepted: accepted.unsigned_abs(), ..Answers::default() };
    for (about, n) in refused {
        let counter = match about.as_deref() {
            Some("mailbox") => &mut answers.hard_bounce,
            Some("policy") => &mut answers.policy,
            _ => &mut answers.other,
        };
        *counter += n.unsigned_abs();
    }
    Ok(answers)
}
