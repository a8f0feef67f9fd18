//! How a drain ended, for people, machines and exit codes; and what holds mail back.

use super::{Exit, Failure, shown};
use crate::clock::{self, Millis};
use crate::counts::Counts;
use crate::db::Db;
use crate::delivery::pacing::{self, SlowLane, WarmingUp};
use crate::delivery::relays::{self, Outage};
use crate::delivery::{Ended, Totals};
use crate::queue::status::Held;
use crate::settings::Project;

/// What a drain did, and how it ended.
#[derive(Debug)]
pub struct Drained {
    pub totals: Totals,
    pub ended: Ended,
    /// When the next message is due, if any still moves.
    pub next_due_at: Option<Millis>,
    /// Runs that wait for somebody to let them go on, and those that were held just now, why, and whether they have something left.
    pub held: Vec<Held>,
    /// What holds mail back.
    pub back: HeldBack,
    /// Its mail servers are on this machine.
    pub local: bool,
}

/// What holds mail back now, told with the queue.
#[derive(Debug, serde::Serialize)]
pub struct HeldBack {
    /// Slowed lanes, warm-ups.
    #[serde(flatten)]
    pub pace: pacing::Held,
    /// Relays that take no mail.
    pub outages: Vec<Outage>,
}

/// What holds mail of this project back.
pub async fn held_back(project: &Project, db: &Db) -> Result<HeldBack, Failure> {
    let smtp = &project.settings.smtp;
    let pace = pacing::held(db, |relay| smtp.pacing(relay), clock::now()).await?;
    let mut outages = relays::outages(db).await?;
    outages.retain(|o| smtp.relays.iter().any(|r| r.name == o.relay)); // one that was taken out of the settings is nobody's concern
    Ok(HeldBack { pace, outages })
}

impl Drained {
    /// The exit code, or the failure, that this end means. What somebody must look into goes first: a database that is gone, a run that is held,
    /// messages in doubt; then what may be tried again.
    pub fn exit(&self) -> Result<Exit, Failure> {
        match &self.ended {
            Ended::DatabaseUnavailable(why) => Err(Failure::Environment(format!(
                "the database could not be reached any more: {why}\nwhat was sent is in the ledger; run again to go on"
            ))),
            Ended::Paused(_) | Ended::CannotCompose(_) => Ok(Exit::Breaker),
            _ if self.doubtful() > 0 => Ok(Exit::Unknown),
            Ended::ServerUnavailable(why) => Err(Failure::Environment(format!(
                "the mail server cannot be reached: {why}\n{}nothing is lost; run again to go on",
                if self.local {
                    "to keep the mail on this machine, start `okaeri catch` in another terminal\n"
                } else {
                    ""
                }
            ))),
            Ended::Asked | Ended::ServerBusy(_) => Ok(Exit::WorkRemains),
            Ended::Idle | Ended::TimeUp if self.next_due_at.is_some() => Ok(Exit::WorkRemains),
            Ended::Idle | Ended::TimeUp if self.held.iter().any(|h| h.has_left) => Ok(Exit::Breaker),
            Ended::Idle | Ended::TimeUp => Ok(Exit::Done),
        }
    }

    /// Messages that this invocation left, or found, in doubt.
    fn doubtful(&self) -> u64 {
        self.totals.unknown + self.totals.rescued_unknown
    }

    /// For people: one line a fact.
    pub fn text(&self, zone: &jiff::tz::TimeZone, counts: Counts) -> String {
        let t = &self.totals;
        let mut lines = vec![format!("  {:>9} accepted by the mail server", counts.of(t.accepted as i64))];
        for (n, words) in [
            (t.deferred, "deferred: tried again later"),
            (t.failed, "refused for good"),
            (t.suppressed, "suppressed before they left"),
            (t.expired, "expired: not delivered within a day"),
            (t.unknown, "unknown: sent, and no answer came"),
            (t.rescued_unknown, "unknown: left in doubt by a worker that stopped"),
        ] {
            if n > 0 {
                lines.push(format!("  {:>9} {words}", counts.of(n as i64)));
            }
        }
        match &self.ended {
            Ended::Idle => {}
            Ended::Asked => lines.push("  stopped as asked; the rest waits in the queue".to_owned()),
            Ended::TimeUp => lines.push("  its time was over".to_owned()),
            Ended::ServerBusy(why) => lines.push(format!("  the mail server asks to come back later: {}", shown(why))),
            Ended::Paused(why) | Ended::CannotCompose(why) if self.held.is_empty() => {
                lines.push(format!("  paused: {why}"));
            }
            Ended::Paused(_) | Ended::CannotCompose(_) => {}
            // With messages in doubt that is the exit code, and this is no error of its own.
            Ended::ServerUnavailable(why) if self.doubtful() > 0 => {
                lines.push(format!("  the mail server cannot be reached: {}", shown(why)));
            }
            Ended::ServerUnavailable(_) | Ended::DatabaseUnavailable(_) => {}
        }
        for Held { run_id, reason, .. } in &self.held {
            lines.push(format!("  paused: {}", reason.as_deref().unwrap_or("by an operator")));
            lines.push(format!("  mend it, then: okaeri queue resume {run_id}, and okaeri work"));
            if t.failed > 0 {
                lines.push(format!("  what was refused is sent again by: okaeri queue retry --run {run_id}"));
            }
        }
        if self.doubtful() > 0 {
            lines.push("  see them with: okaeri queue list --state unknown".to_owned());
        }
        if t.failed > 0 {
            lines.push("  why they were refused: okaeri queue list --by code --state failed".to_owned());
        }
        if self.next_due_at.is_some() {
            lines.extend(held_back_lines(&self.back, zone).into_iter().map(|line| format!("  {line}")));
        }
        if let Some(due) = self.next_due_at {
            let when = if due <= clock::now() { "now".to_owned() } else { clock::readable(due, zone) };
            lines.push(format!("  work remains, next due {when}: okaeri work"));
        }
        lines.join("\n") + "\n"
    }

    /// For machines.
    pub fn json(&self) -> serde_json::Value {
        let (ended, why) = match &self.ended {
            Ended::Idle => ("idle", None),
            Ended::Asked => ("asked", None),
            Ended::TimeUp => ("time_up", None),
            Ended::Paused(why) => ("paused", Some(why)),
            Ended::CannotCompose(why) => ("cannot_compose", Some(why)),
            Ended::ServerUnavailable(why) => ("server_unavailable", Some(why)),
            Ended::ServerBusy(why) => ("server_busy", Some(why)),
            Ended::DatabaseUnavailable(why) => ("database_unavailable", Some(why)),
        };
        let held: Vec<_> =
            self.held.iter().map(|h| serde_json::json!({ "run_id": h.run_id, "reason": h.reason })).collect();
        serde_json::json!({
            "totals": self.totals, "ended": ended, "reason": why, "next_due_at": self.next_due_at, "held": held,
            "slowed": self.back.pace.slowed, "warm_up": self.back.pace.warm_up, "outages": self.back.outages,
        })
    }
}

/// For people: what holds mail back, one line each.
pub fn held_back_lines(HeldBack { pace, outages }: &HeldBack, zone: &jiff::tz::TimeZone) -> Vec<String> {
    let out = outages.iter().map(|Outage { relay, since_at, again_at, reason, .. }| {
        let (since, again) = (clock::readable(*since_at, zone), clock::readable(*again_at, zone));
        format!("{relay} takes no mail since {since}, and is tried again {again}: {}", shown(reason))
    });
    let slowed = pace.slowed.iter().map(|SlowLane { lane, rate, full_rate, since, full_at, reason }| {
        let of = full_rate.map(|r| format!(" instead of {r:.3}")).unwrap_or_default();
        let (since, full_at) = (clock::readable(*since, zone), clock::readable(*full_at, zone));
        format!("{lane} is slowed to {rate:.3}{of} messages a second since {since}, until {full_at}: {}", shown(reason))
    });
    let warm_up = pace.warm_up.iter().map(|WarmingUp { relay, day, allowed, messages, next_at }| {
        let next_at = clock::readable(*next_at, zone);
        format!("{relay} warms up: day {day}, {messages} of {allowed} messages; the next day begins {next_at}")
    });
    out.chain(slowed).chain(warm_up).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_looks_at_the_exit_code_hears_of_doubts_before_anything_that_is_only_late() {
        let drained = |ended: Ended, unknown: u64| Drained {
            totals: Totals { unknown, ..Totals::default() },
            ended,
            next_due_at: Some(1),
            held: Vec::new(),
            back: HeldBack { pace: pacing::Held::default(), outages: Vec::new() },
            local: false,
        };
        let why = || "why".to_owned();
        for (ended, clear, doubtful) in [
            (Ended::Idle, 75, 3),
            (Ended::TimeUp, 75, 3),
            (Ended::Asked, 75, 3),
            (Ended::ServerBusy(why()), 75, 3),
            (Ended::ServerUnavailable(why()), 5, 3),
            (Ended::DatabaseUnavailable(why()), 5, 5),
            (Ended::Paused(why()), 4, 4),
            (Ended::CannotCompose(why()), 4, 4),
        ] {
            for (unknown, expected) in [(0, clear), (1, doubtful)] {
                let exit = drained(ended.clone(), unknown).exit();
                let code = match &exit {
                    Ok(exit) => exit.code(),
                    Err(Failure::Environment(_)) => 5,
                    Err(other) => panic!("{other:?}"),
                };
                assert_eq!(code, expected, "{ended:?}, {unknown} in doubt");
            }
        }
        let text = drained(Ended::ServerUnavailable(why()), 1).text(&jiff::tz::TimeZone::UTC, Counts::Exact);
        assert!(text.contains("cannot be reached") && text.contains("--state unknown"), "{text}");
    }
}
