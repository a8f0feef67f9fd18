//! The arithmetic of pacing, pure. Rates are messages a second; instants come from whoever asks.
//!
//! A rate is kept by *reserving time*: so many messages take so long, and the next reservation begins where the last one ends. Whoever
//! reserves first has the earlier stretch, so the sum over all processes holds by itself (the virtual scheduling of the generic cell rate
//! algorithm, ITU-T I.371 §A.1).
//!
//! Clocks are not trusted. An instant that lies further ahead than [`CLOCKS_APART_MAX`] and a reservation was written by a clock that was
//! wrong, and does not bind: after a jump back a lane waits a minute at most. After a jump forward it has one [`TOLERANCE`] more, not the whole
//! time that seems to have passed.

use crate::clock::{DAY, MINUTE, Millis, SECOND};

/// How much of the time that went by unused is made up for.
const TOLERANCE: Millis = 250;
/// A reservation begins so soon, or is not made yet.
const AHEAD: Millis = SECOND;
/// The clocks of machines that send at once may differ by so much; of more, each would keep the rate by itself.
const CLOCKS_APART_MAX: Millis = MINUTE;
/// The time that one reservation takes, unless a single message takes longer.
const STRETCH: Millis = SECOND;
/// Messages of one reservation at most.
const RESERVED_MAX: u32 = 500;
/// Complaints that follow a halving so soon were about mail that was on its way.
pub const SLOWED_ONCE_IN: Millis = 20 * SECOND;
/// So long without a complaint, and one halving is taken back.
pub const RECOVERY: Millis = 5 * MINUTE;
/// Halvings at most: a sixty-fourth of the rate, so that a lane never stops.
const STEPS_MAX: i64 = 6;
/// A lane without a rate is slowed from what it did, and from so much at least, in messages a second.
const SLOWED_FROM_MIN: f64 = 2.0;

/// Messages that may leave, the first at `from_at`, each `interval` milliseconds after the one before.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Grant {
    pub from_at: Millis,
    pub interval: f64,
    pub messages: u32,
}

impl Grant {
    /// When its last message has had its time.
    pub fn ends_at(&self) -> Millis {
        self.from_at + (f64::from(self.messages) * self.interval).ceil() as Millis
    }
}

/// When a reservation at this rate may begin, if the last one ends at `free_at`; or when to ask again.
pub fn begins_at(free_at: Millis, rate: f64, now: Millis) -> Result<Millis, Millis> {
    let longest = STRETCH.max(interval(rate).ceil() as Millis);
    let believed = free_at <= now + AHEAD + longest + CLOCKS_APART_MAX;
    let from_at = if believed { free_at.max(now - TOLERANCE) } else { now + AHEAD };
    if from_at <= now + AHEAD { Ok(from_at) } else { Err(from_at - AHEAD) }
}

/// Messages that are reserved at once, of those wanted.
pub fn at_once(rate: f64, wanted: u32) -> u32 {
    let fit = (STRETCH as f64 / interval(rate)).floor().max(1.0);
    wanted.min(RESERVED_MAX).min(fit.min(f64::from(RESERVED_MAX)) as u32)
}

/// Milliseconds from one message to the next.
pub fn interval(rate: f64) -> f64 {
    SECOND as f64 / rate
}

/// How far a lane is slowed.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Slowed {
    /// Halvings when it was slowed last.
    pub steps: i64,
    /// The rate before, where the settings name none.
    pub from: f64,
    /// When it was slowed last.
    pub at: Millis,
}

impl Slowed {
    /// The halvings that are left.
    pub fn steps_at(self, now: Millis) -> i64 {
        (self.steps - (now - self.honest_at(now)) / RECOVERY).max(0)
    }

    /// When it was slowed; never later than now, so that a clock that was ahead does not hold it down until then.
    pub fn honest_at(self, now: Millis) -> Millis {
        self.at.min(now)
    }

    /// The rate that is left of the one in the settings; `None`: none, as fast as mail is taken.
    pub fn rate(self, set: Option<f64>, now: Millis) -> Option<f64> {
        match self.steps_at(now) {
            0 => set,
            steps => Some(set.unwrap_or(self.from) / f64::from(1 << steps.min(STEPS_MAX))),
        }
    }

    /// When all halvings are taken back.
    pub fn full_at(self, now: Millis) -> Millis {
        self.honest_at(now) + self.steps * RECOVERY
    }

    /// Slowed once more. `None` when it was slowed a moment ago: what is heard now is about mail that was on its way. `seen` is the rate so
    /// far, where the settings name none.
    pub fn again(self, seen: f64, now: Millis) -> Option<Slowed> {
        let steps = self.steps_at(now);
        if steps > 0 && (0..SLOWED_ONCE_IN).contains(&(now - self.at)) {
            return None;
        }
        let from = if steps > 0 { self.from } else { seen.max(SLOWED_FROM_MIN) };
        Some(Slowed { steps: (steps + 1).min(STEPS_MAX), from, at: now })
    }
}

/// Where a relay stands in its warm-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WarmUp {
    /// The day, from 1; days without mail do not count.
    pub day_no: i64,
    /// When the day began.
    pub day_from_at: Millis,
    /// Messages of this day.
    pub messages: i64,
}

impl WarmUp {
    /// The day that a message of now belongs to. However long ago the last one was, the next day is the next step: an address that was
    /// silent is no better known, and a clock that jumps ahead skips nothing. A day that seems to begin later begins now.
    pub fn today(self, now: Millis) -> WarmUp {
        if now - self.day_from_at >= DAY {
            WarmUp { day_no: self.day_no + 1, day_from_at: now, messages: 0 }
        } else {
            WarmUp { day_from_at: self.day_from_at.min(now), ..self }
        }
    }

    /// Messages left on this day of the plan; `None` when the plan is through.
    pub fn left(self, plan: &[u32]) -> Option<u32> {
        let allowed = plan.get(usize::try_from(self.day_no - 1).unwrap_or(0))?;
        Some(u32::try_from(i64::from(*allowed) - self.messages).unwrap_or(0))
    }

    /// When the next day may begin.
    pub fn next_at(self) -> Millis {
        self.day_from_at + DAY
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::HOUR;
    use proptest::prelude::*;

    const NOW: Millis = 1_795_507_200_000;

    /// Reserve as a process does: the stored instant moves, and the messages' instants are told.
    fn reserve(free_at: &mut Millis, rate: f64, wanted: u32, now: Millis) -> Result<Vec<f64>, Millis> {
        let from_at = begins_at(*free_at, rate, now)?;
        let grant = Grant { from_at, interval: interval(rate), messages: at_once(rate, wanted) };
        *free_at = grant.ends_at();
        Ok((0..grant.messages).map(|n| grant.from_at as f64 + f64::from(n) * grant.interval).collect())
    }

    /// Messages in the busiest stretch of so long.
    fn busiest(sent: &mut [f64], window: f64) -> usize {
        sent.sort_by(f64::total_cmp);
        let mut first = 0;
        let mut most = 0;
        for last in 0..sent.len() {
            while sent[first] <= sent[last] - window {
                first += 1;
            }
            most = most.max(last - first + 1);
        }
        most
    }

    proptest! {
        /// However many ask, whenever they ask: the sum over all of them keeps the rate, and the rate is reached when all want to send.
        #[test]
        fn the_sum_over_all_processes_keeps_the_rate(
            rate in prop_oneof![0.02..5.0, 5.0..300.0_f64],
            pauses in prop::collection::vec((0..400_i64, 1..600_u32), 50..100),
        ) {
            let (mut free_at, mut now) = (0, NOW);
            let mut sent = Vec::new();
            for (pause, wanted) in pauses {
                now += pause;
                if let Ok(instants) = reserve(&mut free_at, rate, wanted, now) {
                    sent.extend(instants);
                }
            }
            for window in [1_000.0, 10_000.0] {
                // One tolerance may have been saved, and both ends of the window may cut a message.
                let most = (window + TOLERANCE as f64) / interval(rate) + 2.0;
                prop_assert!(busiest(&mut sent, window) as f64 <= most, "{} of {most}", busiest(&mut sent, window));
            }
        }

        /// Clocks that jump anywhere neither stop a lane nor open it.
        #[test]
        fn no_jump_of_a_clock_stops_a_lane_or_floods_it(
            rate in 1.0..500.0_f64,
            jumps in prop::collection::vec(-400 * DAY..400 * DAY, 1..20),
        ) {
            let mut free_at = 0;
            for jump in jumps {
                let mut now = NOW + jump;
                let (mut got, began) = (0, now);
                while now < began + 10_000 {
                    got += reserve(&mut free_at, rate, 500, now).map_or(0, |instants| instants.len());
                    now += 50;
                }
                // Ten seconds' worth, what lies ahead, and what the jump brought or cost: at most a few seconds' worth.
                let (least, most) = (rate * 6.0 - 1.0, rate * 12.5 + 2.0);
                prop_assert!((least..most).contains(&(got as f64)), "{got}, not {least} to {most}");
            }
        }
    }

    #[test]
    fn a_slow_rate_gives_one_message_at_a_time() {
        let mut free_at = 0;
        let minute = 1.0 / 60.0;
        assert_eq!(reserve(&mut free_at, minute, 10, NOW).unwrap().len(), 1);
        assert_eq!(reserve(&mut free_at, minute, 10, NOW), Err(NOW - TOLERANCE + MINUTE - AHEAD));
        // Reserved time binds whoever sees it, whatever their own rate, unless no clock in order can have written it.
        assert_eq!(begins_at(NOW + MINUTE, 100.0, NOW), Err(NOW + MINUTE - AHEAD));
        assert_eq!(begins_at(NOW + HOUR, 100.0, NOW), Ok(NOW + AHEAD));
    }

    #[test]
    fn a_lane_is_halved_once_for_one_cause_and_recovers_step_by_step() {
        let lane = Slowed::default().again(100.0, NOW).unwrap();
        assert_eq!(lane.rate(Some(20.0), NOW), Some(10.0));
        assert_eq!(lane.rate(None, NOW), Some(50.0));
        assert_eq!(lane.again(1.0, NOW + SLOWED_ONCE_IN - 1), None, "mail that was on its way");
        let lane = lane.again(1.0, NOW + SLOWED_ONCE_IN).unwrap();
        assert_eq!((lane.steps, lane.from), (2, 100.0), "what it did while slowed is not where it comes from");
        let at = |after| lane.rate(Some(20.0), lane.at + after);
        assert_eq!([at(0), at(RECOVERY - 1), at(RECOVERY), at(2 * RECOVERY)], [5.0, 5.0, 10.0, 20.0].map(Some));
        assert_eq!(lane.rate(None, lane.full_at(lane.at)), None);
        let mut worst = lane;
        for n in 1..20 {
            worst = worst.again(1.0, lane.at + n * SLOWED_ONCE_IN).unwrap();
        }
        assert_eq!(worst.rate(Some(64.0), worst.at), Some(1.0), "it never stops");
        // Its clock was an hour ahead: from now on it recovers as if it were slowed now.
        assert_eq!(lane.rate(Some(20.0), lane.at - HOUR), Some(5.0));
        assert_eq!(lane.full_at(lane.at - HOUR), lane.at - HOUR + 2 * RECOVERY);
        assert_eq!(lane.again(1.0, lane.at - HOUR).unwrap().steps, 3);
    }

    #[test]
    fn a_warm_up_takes_one_step_a_day_of_sending_whatever_the_clock_says() {
        let plan = [50, 100];
        let first = WarmUp { day_no: 1, day_from_at: NOW, messages: 50 };
        assert_eq!(first.left(&plan), Some(0));
        assert_eq!(first.today(NOW + DAY - 1), first);
        let second = first.today(NOW + 40 * DAY);
        assert_eq!(second, WarmUp { day_no: 2, day_from_at: NOW + 40 * DAY, messages: 0 }, "a jump ahead is one step");
        assert_eq!(second.left(&plan), Some(100));
        assert_eq!(second.today(NOW + 42 * DAY).left(&plan), None, "through");
        let back = WarmUp { messages: 100, ..second }.today(NOW);
        assert_eq!((back.day_no, back.left(&plan), back.next_at()), (2, Some(0), NOW + DAY), "a day, not forty");
        assert_eq!(WarmUp { messages: 120, ..second }.left(&plan), Some(0));
    }
}
