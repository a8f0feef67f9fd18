//! How fast mail may leave: `rate`, `rates`, `warm_up` and `messages_per_connection` of `smtp`.

use crate::address::FAMILIES;
use crate::clock::{HOUR, MINUTE, Millis, SECOND};
use crate::problem::Problems;
use crate::yaml::{FromNode, MapReader, Node, Shape};

/// The family of `rates` that stands for all that are not named.
const DEFAULT: &str = "default";
/// Days of a warm-up at most.
const WARM_UP_DAYS_MAX: usize = 100;

/// Messages in a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    pub messages: u32,
    /// A second, a minute or an hour.
    pub per: Millis,
}

/// What is said about speed; by default nothing, and mail leaves as fast as it is taken.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pacing {
    /// Of everything that one relay gets.
    pub relay: Option<Rate>,
    /// Mailbox-provider family → rate.
    pub families: Vec<(String, Rate)>,
    /// Of each family that is not named, by itself.
    pub default: Option<Rate>,
    /// Messages allowed on the first day, the second, …; then as many as the rates allow. Empty: no warm-up.
    pub warm_up: Vec<u32>,
    /// After so many a connection is closed and another opened.
    pub messages_per_connection: Option<u32>,
}

impl Rate {
    /// Messages a second.
    pub fn per_second(self) -> f64 {
        f64::from(self.messages) * SECOND as f64 / self.per as f64
    }

    /// Read `20/s`, `300/m` or `5000/h`.
    fn parse(text: &str) -> Option<Rate> {
        let (messages, per) = text.split_once('/')?;
        let messages = messages.trim().parse().ok().filter(|n| *n > 0)?;
        let per = match per.trim() {
            "s" | "second" => SECOND,
            "m" | "min" | "minute" => MINUTE,
            "h" | "hour" => HOUR,
            _ => return None,
        };
        // Slower than one a minute, an invocation would wait for its next message longer than it works.
        (i64::from(messages) * MINUTE >= per).then_some(Rate { messages, per })
    }
}

impl FromNode for Rate {
    const WANTED: &'static str = "a rate such as 20/s, 300/m or 5000/h, one a minute or more";
    fn from_node(node: &Node) -> Option<Rate> {
        if let Shape::Text(t) = &node.shape { Rate::parse(t) } else { None }
    }
}

impl Pacing {
    /// The rate of a mailbox-provider family.
    pub fn of_family(&self, family: &str) -> Option<Rate> {
        self.families.iter().find(|(f, _)| f == family).map(|(_, rate)| *rate).or(self.default)
    }
}

/// Takes its keys out of `smtp` or of a relay; what is not said there is as it is for `every` relay.
pub(super) fn pacing(s: &mut MapReader, every: &Pacing, problems: &mut Problems) -> Pacing {
    let mut pacing = every.clone();
    pacing.relay = s.get("rate", problems).or(pacing.relay);
    if let Some(mut rates) = s.map("rates", "`rates`", problems) {
        (pacing.families, pacing.default) = (Vec::new(), None);
        for pair in rates.all() {
            let Some(rate) = pair.value.read::<Rate>("a rate", problems) else { continue };
            match pair.key.as_str() {
                DEFAULT => pacing.default = Some(rate),
                family if FAMILIES.contains(&family) => pacing.families.push((family.to_owned(), rate)),
                family => {
                    problems
                        .error("unknown-family", &pair.key_place, format!("`{family}` is no mailbox-provider family"))
                        .did_you_mean(family, FAMILIES.into_iter().chain([DEFAULT]));
                }
            }
        }
    }
    if let Some(node) = s.node("warm_up") {
        pacing.warm_up = warm_up(node, problems);
    }
    if let Some(node) = s.node("messages_per_connection") {
        pacing.messages_per_connection = node.read::<u32>("`messages_per_connection`", problems).filter(|n| {
            if *n == 0 {
                problems.error("out-of-range", &node.place, "`messages_per_connection` must be 1 or more");
            }
            *n > 0
        });
    }
    pacing
}

/// `[50, 100, 500]`: messages a day, never fewer than the day before.
fn warm_up(node: &Node, problems: &mut Problems) -> Vec<u32> {
    let Some(days) = node.read::<Vec<u32>>("`warm_up`", problems) else { return Vec::new() };
    let grows = days.windows(2).all(|w| w[0] <= w[1]);
    if grows && (1..=WARM_UP_DAYS_MAX).contains(&days.len()) && days[0] > 0 {
        return days;
    }
    problems
        .error(
            "out-of-range",
            &node.place,
            format!(
                "`warm_up` lists 1 to {WARM_UP_DAYS_MAX} days, each with at least as many messages as the day before"
            ),
        )
        .hint("warm_up: [50, 100, 500, 1000, 5000]");
    Vec::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Pacing, String) {
        let mut problems = Problems::new();
        let node = crate::yaml::parse("okaeri.yaml", text, &mut problems).unwrap();
        let mut reader = node.map("smtp", &mut problems).unwrap();
        let pacing = pacing(&mut reader, &Pacing::default(), &mut problems);
        reader.finish(&mut problems);
        (pacing, anstream::adapter::strip_str(&problems.to_text()).to_string())
    }

    #[test]
    fn rates_are_read_for_the_relay_and_by_family() {
        let (pacing, problems) = read(
            "rate: 100/s\nrates: { gmail: 20/s, other: 90/m, default: 3600/h }\nwarm_up: [50, 100]\nmessages_per_connection: 20\n",
        );
        assert_eq!(problems, "");
        assert_eq!(pacing.relay.map(Rate::per_second), Some(100.0));
        for (family, rate) in [("gmail", 20.0), ("other", 1.5), ("docomo", 1.0)] {
            assert_eq!(pacing.of_family(family).map(Rate::per_second), Some(rate), "{family}");
        }
        assert_eq!((pacing.warm_up, pacing.messages_per_connection), (vec![50, 100], Some(20)));
        assert_eq!(read("rates: { gmail: 1/m }\n").0.of_family("outlook"), None);
    }

    #[test]
    fn what_is_no_pace_is_told_with_its_place() {
        let (_, problems) = read(
            "rate: fast\nrates:\n  gmial: 20/s\n  gmail: 0/s\n  yahoo: 59/h\n  au: 5/d\nwarm_up: [100, 50]\n\
             messages_per_connection: 0\nratse: 1/s\n",
        );
        insta::assert_snapshot!(problems, @r#"
        okaeri.yaml:1:7: error: `rate` must be a rate such as 20/s, 300/m or 5000/h, one a minute or more, not the text "fast" [wrong-type]
        okaeri.yaml:3:3: error: `gmial` is no mailbox-provider family [unknown-family]
            did you mean `gmail`?
        okaeri.yaml:4:10: error: a rate must be a rate such as 20/s, 300/m or 5000/h, one a minute or more, not the text "0/s" [wrong-type]
        okaeri.yaml:5:10: error: a rate must be a rate such as 20/s, 300/m or 5000/h, one a minute or more, not the text "59/h" [wrong-type]
        okaeri.yaml:6:7: error: a rate must be a rate such as 20/s, 300/m or 5000/h, one a minute or more, not the text "5/d" [wrong-type]
        okaeri.yaml:7:10: error: `warm_up` lists 1 to 100 days, each with at least as many messages as the day before [out-of-range]
            warm_up: [50, 100, 500, 1000, 5000]
        okaeri.yaml:8:26: error: `messages_per_connection` must be 1 or more [out-of-range]
        okaeri.yaml:9:1: error: `ratse` is not a key of smtp [unknown-key]
            did you mean `rate`?
        8 errors and 0 warnings
        "#);
    }
}
