//! What mail servers answered within a day, by lane and over all runs: whether anything of ours is taken at all.
//!
//! A share of a run's answers says little while they are few, and a shop that sends two mails an hour never has many. That nothing was taken for a
//! day, and somebody refused because of us, says enough: the next mail would meet the same.

use std::collections::{BTreeMap, HashMap};

use crate::args;
use crate::clock::{DAY, Millis};
use crate::db::{Db, DbResult};

/// How far back is looked.
pub const LATELY: Millis = DAY;
/// Refusals because of us in a lane that took nothing, before they mean the lane: fewer may mean those receivers.
pub const LANE_REFUSALS_MIN: u32 = 3;

/// Final answers of one lane.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Heard {
    taken: u64,
    /// Refused because of us.
    refused: u64,
}

/// The answers of a day, by lane.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lately {
    lanes: BTreeMap<String, Heard>,
}

impl Lately {
    /// Whether a lane took anything.
    pub fn takes(&self, lane: &str) -> bool {
        self.lanes.get(lane).is_some_and(|heard| heard.taken > 0)
    }

    /// How many refusals because of us a lane had that took nothing; `None` when they are too few to mean the lane, or it takes something.
    pub fn blocked(&self, lane: &str) -> Option<u64> {
        let heard = self.lanes.get(lane)?;
        (heard.taken == 0 && heard.refused >= u64::from(LANE_REFUSALS_MIN)).then_some(heard.refused)
    }

    /// How many refusals because of us there were while nobody took anything; `None` when somebody did, or there were none.
    pub fn blocked_everywhere(&self) -> Option<u64> {
        let sum = |of: fn(&Heard) -> u64| self.lanes.values().map(of).sum::<u64>();
        Some(sum(|h| h.refused)).filter(|refused| *refused > 0 && sum(|h| h.taken) == 0)
    }
}

/// Look at the answers of a day up to `now`. Goes through the rows of the runs that were sent in it: not for every message.
pub async fn look(db: &Db, now: Millis) -> DbResult<Lately> {
    let since = now - LATELY;
    let sql = "SELECT run_id FROM run WHERE changed_at >= $1 OR state IN ('ready', 'sending') ORDER BY run_id";
    let runs: Vec<(String,)> = db.fetch_all(sql, args![since]).await?;
    let mut lately = Lately::default();
    for (run_id,) in runs {
        let sql = "SELECT chunk_id, lane FROM chunk WHERE run_id = $1";
        let lanes: HashMap<i64, String> =
            db.fetch_all::<(i64, String)>(sql, args![&run_id]).await?.into_iter().collect();
        let taken = "SELECT d.chunk_id, COUNT(*) FROM delivery d WHERE d.run_id = $1 AND d.changed_at >= $2 \
                     AND d.state IN ('accepted', 'bounced', 'complained') GROUP BY d.chunk_id";
        let refused = "SELECT d.chunk_id, COUNT(*) FROM delivery d \
                       JOIN attempt a ON a.bucket = d.bucket AND a.chunk_id = d.chunk_id AND a.seq = d.seq AND a.attempt_no = d.attempts \
                       WHERE d.run_id = $1 AND d.changed_at >= $2 AND d.state = 'failed' AND a.about = 'policy' GROUP BY d.chunk_id";
        for (sql, is_taken) in [(taken, true), (refused, false)] {
            let counted: Vec<(i64, i64)> = db.fetch_all(sql, args![&run_id, since]).await?;
            for (chunk_id, n) in counted {
                let Some(lane) = lanes.get(&chunk_id) else { continue };
                let heard = lately.lanes.entry(lane.clone()).or_default();
                *(if is_taken { &mut heard.taken } else { &mut heard.refused }) += n.unsigned_abs();
            }
        }
    }
    Ok(lately)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lately(lanes: &[(&str, u64, u64)]) -> Lately {
        let heard = |(lane, taken, refused): &(&str, u64, u64)| {
            ((*lane).to_owned(), Heard { taken: *taken, refused: *refused })
        };
        Lately { lanes: lanes.iter().map(heard).collect() }
    }

    #[test]
    fn a_lane_is_blocked_when_it_takes_nothing_and_three_were_refused_because_of_us() {
        for (taken, refused, blocked) in [(0, 0, None), (0, 2, None), (0, 3, Some(3)), (1, 9, None)] {
            let lately = lately(&[("default/gmail", taken, refused), ("default/other", 50, 0)]);
            assert_eq!(lately.blocked("default/gmail"), blocked, "{taken} taken, {refused} refused");
            assert_eq!(lately.takes("default/gmail"), taken > 0);
        }
        assert_eq!(Lately::default().blocked("default/gmail"), None);
    }

    #[test]
    fn everything_is_blocked_when_nobody_takes_anything_and_one_was_refused_because_of_us() {
        assert_eq!(Lately::default().blocked_everywhere(), None, "nothing was asked");
        assert_eq!(lately(&[("a/gmail", 0, 1), ("a/other", 0, 0)]).blocked_everywhere(), Some(1));
        assert_eq!(lately(&[("a/gmail", 0, 2), ("a/other", 0, 2)]).blocked_everywhere(), Some(4));
        assert_eq!(lately(&[("a/gmail", 0, 2), ("a/other", 1, 0)]).blocked_everywhere(), None);
        assert_eq!(lately(&[("a/gmail", 0, 0)]).blocked_everywhere(), None);
    }
}
