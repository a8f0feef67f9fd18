//! `first_wave`: some of a run's messages go first; the rest follows when they had time to show that nothing is wrong.

use crate::clock::{HOUR, MINUTE, Millis};
use crate::problem::Problems;
use crate::yaml::{MapReader, Span};

/// The shortest and the longest wait. Messages are worth sending for a day.
const WAIT_MIN: Millis = MINUTE;
const WAIT_MAX: Millis = 12 * HOUR;

/// A first wave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct FirstWave {
    /// Messages in it, at most.
    pub size: u32,
    /// How long the rest waits after it has left, in milliseconds.
    pub wait: Millis,
}

/// The key of a campaign; `journey`: people enter one by one.
pub(super) fn first_wave(m: &mut MapReader, journey: bool, problems: &mut Problems) -> Option<FirstWave> {
    let node = m.node("first_wave")?;
    let mut w = node.map("`first_wave`", problems)?;
    let size = w.require::<u32>("size", problems);
    let wait = w.require::<Span>("wait", problems).map(Span::millis);
    w.finish(problems);
    let (size, wait) = (size?, wait?);
    if journey {
        problems
            .error("first-wave-of-journey", &node.place, "a journey has no first wave: people enter it one by one")
            .hint("remove `first_wave`; `stop_above` holds for journeys too");
        return None;
    }
    if size == 0 || !(WAIT_MIN..=WAIT_MAX).contains(&wait) {
        problems
            .error("out-of-range", &node.place, "`first_wave` has 1 message or more, and waits from 1m to 12h")
            .hint("first_wave: { size: 500, wait: 30m }");
        return None;
    }
    Some(FirstWave { size, wait })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, journey: bool) -> (Option<FirstWave>, usize) {
        let mut problems = Problems::new();
        let node = crate::yaml::parse("c.yaml", &format!("first_wave: {text}\n"), &mut problems).unwrap();
        let mut reader = node.map("a campaign", &mut problems).unwrap();
        let wave = first_wave(&mut reader, journey, &mut problems);
        (wave, problems.count(crate::problem::Severity::Error))
    }

    #[test]
    fn a_wave_has_a_size_and_a_wait() {
        assert_eq!(read("{ size: 500, wait: 30m }", false), (Some(FirstWave { size: 500, wait: 30 * MINUTE }), 0));
        for text in [
            "{ size: 500 }",
            "{ wait: 30m }",
            "{ size: 0, wait: 30m }",
            "{ size: 5, wait: 30s }",
            "{ size: 5, wait: 13h }",
            "500",
        ] {
            assert_eq!(read(text, false), (None, 1), "{text}");
        }
        assert_eq!(read("{ size: 500, wait: 30m }", true), (None, 1), "not in a journey");
    }
}
