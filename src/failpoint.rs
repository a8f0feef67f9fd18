//! Places at which a debug build dies or freezes when a test asks for it: the steps of delivery, so that a test can end or stop a process
//! between any two.
//!
//! `OKAERI_FAILPOINT=name:k` aborts the process at the `k`th passing of the step `name`; `any:k` counts the steps of all names together;
//! `name:k:stop` stops it there (SIGSTOP) until somebody continues it. Release builds contain nothing of it: [`pass`] is empty there.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// A step of delivery, in the order a message meets them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// A chunk was claimed.
    Lease,
    /// A connection to the mail server is open.
    Connect,
    /// The server accepted the recipient.
    Rcpt,
    /// The server waits for the content.
    Data,
    /// The transaction that commits messages is about to end.
    CommitSent,
    /// The database confirmed it.
    CommitConfirmed,
    /// Half of a content was written.
    HalfContent,
    /// All of a content was written, its end too.
    DotSent,
    /// The server's answer to a content was read.
    ReplyRead,
    /// What became of messages is in the database.
    OutcomeWritten,
    /// A chunk was given back.
    ChunkClosed,
}

/// Every step.
pub const STEPS: [Step; 11] = [
    Step::Lease,
    Step::Connect,
    Step::Rcpt,
    Step::Data,
    Step::CommitSent,
    Step::CommitConfirmed,
    Step::HalfContent,
    Step::DotSent,
    Step::ReplyRead,
    Step::OutcomeWritten,
    Step::ChunkClosed,
];

impl Step {
    /// As `OKAERI_FAILPOINT` names it.
    pub fn word(self) -> &'static str {
        match self {
            Step::Lease => "lease",
            Step::Connect => "connect",
            Step::Rcpt => "rcpt",
            Step::Data => "354",
            Step::CommitSent => "commit_sent",
            Step::CommitConfirmed => "commit_confirmed",
            Step::HalfContent => "half_content",
            Step::DotSent => "dot_sent",
            Step::ReplyRead => "reply_read",
            Step::OutcomeWritten => "outcome_written",
            Step::ChunkClosed => "chunk_closed",
        }
    }
}

/// Where this process dies, or stops.
struct Fatal {
    /// `None`: at any step.
    step: Option<Step>,
    /// Passings that are still survived, and one.
    left: AtomicU64,
    /// It is only stopped there, once.
    stops: bool,
}

static FATAL: OnceLock<Fatal> = OnceLock::new();

impl Fatal {
    fn read(text: &str) -> Result<Fatal, String> {
        let told = || {
            let names: Vec<&str> = STEPS.iter().map(|s| s.word()).collect();
            format!(
                "OKAERI_FAILPOINT={text}: not `name:k` or `name:k:stop` with k from 1 on; names: any, {}",
                names.join(", ")
            )
        };
        let (place, stops) = text.strip_suffix(":stop").map_or((text, false), |place| (place, true));
        let (name, k) = place.split_once(':').ok_or_else(told)?;
        let step = STEPS.into_iter().find(|s| s.word() == name);
        let k: u64 = k.parse().map_err(|_| told())?;
        if k == 0 || (step.is_none() && name != "any") {
            return Err(told());
        }
        Ok(Fatal { step, left: AtomicU64::new(k), stops })
    }

    /// Counts a passing; true at the fatal one and, where the process dies, from then on.
    fn is_reached(&self, step: Step) -> bool {
        if self.step.is_some_and(|only| only != step) {
            return false;
        }
        let left = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| Some(n.saturating_sub(1)));
        left == Ok(1) || (left == Ok(0) && !self.stops)
    }
}

/// Set where this process dies, as `name:k`; once. The error is a sentence.
pub fn arm(text: &str) -> Result<(), String> {
    let fatal = Fatal::read(text)?;
    FATAL.get_or_init(|| fatal);
    Ok(())
}

/// The process is at a step; if it is the fatal one, it goes no further.
pub fn pass(step: Step) {
    if is_fatal(step) {
        strike();
    }
}

/// Dies here; or stops here, and returns when somebody continues the process.
pub fn strike() {
    if !FATAL.get().is_some_and(|fatal| fatal.stops) {
        std::process::abort();
    }
    let me = std::process::id().to_string();
    let stopped = std::process::Command::new("kill").args(["-STOP", &me]).status();
    assert!(stopped.is_ok_and(|s| s.success()), "a process may stop itself");
    // The signal reaches the threads one after the other, and this one, which asked for it, not at once.
    std::thread::sleep(STOP_ARRIVES);
}

/// How long a stop may take to reach every thread of a process on a busy machine.
const STOP_ARRIVES: std::time::Duration = std::time::Duration::from_millis(500);

/// Counts a passing; whether the process is to die or to stop now, by the caller's hand ([`strike`]).
pub fn is_fatal(step: Step) -> bool {
    cfg!(debug_assertions) && FATAL.get().is_some_and(|fatal| fatal.is_reached(step))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kth_passing_of_the_step_is_the_fatal_one() {
        let fatal = Fatal::read("rcpt:2").unwrap();
        let passings = [Step::Rcpt, Step::Data, Step::Rcpt, Step::Lease, Step::Rcpt];
        assert_eq!(passings.map(|s| fatal.is_reached(s)), [false, false, true, false, true]);
        let any = Fatal::read("any:3").unwrap();
        assert_eq!(passings.map(|s| any.is_reached(s)), [false, false, true, true, true]);
        let once = Fatal::read("rcpt:1:stop").unwrap();
        assert_eq!(passings.map(|s| once.is_reached(s)), [true, false, false, false, false]);
        for wrong in ["", "rcpt", "rcpt:0", "rcpt:x", "lunch:1", "rcpt:1:go"] {
            assert!(Fatal::read(wrong).is_err_and(|e| e.contains("outcome_written")), "{wrong}");
        }
    }
}
