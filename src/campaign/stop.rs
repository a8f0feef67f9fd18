//! `stop_above`: the shares of a run's answers above which it is held, until somebody has looked.

use crate::problem::Problems;
use crate::yaml::{MapReader, Share};

/// Shares from 0 to 1; a share above one of them holds the run. 1 holds it never.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct StopAbove {
    /// Mailboxes that do not exist.
    pub hard_bounce: f64,
    /// Refusals about us: policy, reputation, authentication.
    pub policy: f64,
    /// Everything that was refused for good, these two included.
    pub failed: f64,
    /// Readers who called it spam, of the messages that were accepted. Runs of earlier versions have none stored.
    #[serde(default = "complaint")]
    pub complaint: f64,
}

/// What Gmail and Yahoo ask bulk senders to stay below.
fn complaint() -> f64 {
    0.003
}

impl Default for StopAbove {
    fn default() -> StopAbove {
        StopAbove { hard_bounce: 0.05, policy: 0.05, failed: 0.1, complaint: complaint() }
    }
}

/// The key of a campaign; what it does not name is as by default.
pub(super) fn stop_above(m: &mut MapReader, problems: &mut Problems) -> StopAbove {
    let mut stop = StopAbove::default();
    let Some(mut s) = m.map("stop_above", "`stop_above`", problems) else { return stop };
    for (key, share) in [
        ("hard_bounce", &mut stop.hard_bounce),
        ("policy", &mut stop.policy),
        ("failed", &mut stop.failed),
        ("complaint", &mut stop.complaint),
    ] {
        if let Some(Share(value)) = s.get(key, problems) {
            *share = value;
        }
    }
    s.finish(problems);
    stop
}
