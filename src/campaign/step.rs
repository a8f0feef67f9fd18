//! Steps: what is sent, and when, counted from a person's entry. Reading and timing; pure.
//!
//! `after: 3d` is the third local day after the entry at the same time of day, or at `at`; `after: 4h` is four hours later, and with `at` the
//! first such time after that. Both count from the entry, so that taking a step out moves no other.

use jiff::civil::{Date, Time};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, ToSpan as _};

use super::read::{Known, name};
use super::{Condition, Kind, Recommend, Reward};
use crate::clock::{self, Millis};
use crate::problem::{Place, Problems};
use crate::yaml::{MapReader, Node, Shape, Span};

/// The longest `after`, in days: profiles and templates change.
const AFTER_DAYS_MAX: i64 = 400;

/// One message of a campaign.
#[derive(Debug, Clone)]
pub struct Step {
    pub name: String,
    /// Names files in `templates/`: `win-back/letter`.
    pub template: String,
    /// Where the template is named.
    pub template_place: Place,
    /// Arms with a template of their own.
    pub variants: Vec<Variant>,
    /// Products for each person.
    pub recommend: Option<Recommend>,
    /// Something for each person.
    pub reward: Option<Reward>,
    /// So long after the entry.
    pub after: Span,
    /// At this time of the person's day.
    pub at: Option<Time>,
    /// Not for those this holds for.
    pub unless: Option<Condition>,
    /// Only for those this holds for.
    pub only_if: Option<Condition>,
    /// What it was called before; whoever had it then has had it.
    pub renamed_from: Vec<String>,
}

/// What an arm gets instead.
#[derive(Debug, Clone)]
pub struct Variant {
    pub arm: String,
    pub template: String,
    pub template_place: Place,
}

impl Step {
    /// The template of an arm.
    pub fn template_for(&self, arm: &str) -> &str {
        self.variants.iter().find(|v| v.arm == arm).map_or(&self.template, |v| &v.template)
    }

    /// Its templates, each with where it is named.
    pub fn templates(&self) -> impl Iterator<Item = (&str, &Place)> {
        let variants = self.variants.iter().map(|v| (v.template.as_str(), &v.template_place));
        std::iter::once((self.template.as_str(), &self.template_place)).chain(variants)
    }

    /// Its conditions.
    pub fn conditions(&self) -> impl Iterator<Item = &Condition> {
        self.unless.iter().chain(&self.only_if)
    }

    /// Whether everybody gets it as soon as they enter.
    pub fn is_immediate(&self) -> bool {
        self.after.millis() == 0 && self.at.is_none() && self.conditions().next().is_none()
    }

    /// Its name now and before.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.name.as_str()).chain(self.renamed_from.iter().map(String::as_str))
    }

    /// When it is due for somebody who entered then and lives in this zone.
    pub fn moment(&self, entered_at: Millis, zone: &TimeZone) -> Millis {
        let entered = clock::timestamp(entered_at).to_zoned(zone.clone()).datetime();
        let on = |date: Date, time: Time| {
            // Skipped and repeated times as slots have them (schedule.rs).
            date.to_datetime(time).to_zoned(zone.clone()).map_or(Millis::MAX / 4, |z| z.timestamp().as_millisecond())
        };
        match (self.after, self.at) {
            (Span::Exact(ms), None) => entered_at + ms,
            (Span::Days(days), None) => on(plus(entered.date(), days), entered.time()),
            (Span::Days(days), Some(at)) if days > 0 => on(plus(entered.date(), days), at),
            (after, Some(at)) => {
                let earliest = entered_at + after.millis();
                let date = clock::date_in(earliest, zone);
                let today = on(date, at);
                if today >= earliest { today } else { on(date.saturating_add(1.day()), at) }
            }
        }
    }
}

fn plus(date: Date, days: i64) -> Date {
    date.saturating_add(SignedDuration::from_hours(24 * days))
}

/// Read `steps:`.
pub(super) fn steps(m: &mut MapReader, kind: Kind, known: &Known, problems: &mut Problems) -> Vec<Step> {
    let Some(node) = m.node("steps") else {
        problems
            .error("missing-key", &m.place, "a campaign needs `steps`: what is sent")
            .hint("steps:\n      - step: letter\n        template: win-back/letter");
        return Vec::new();
    };
    let Shape::List(list) = &node.shape else {
        problems.error("wrong-type", &node.place, format!("`steps` must be a list, not {}", node.described()));
        return Vec::new();
    };
    if list.is_empty() {
        problems.error("missing-key", &node.place, "a campaign needs at least one step");
    }
    let mut steps: Vec<Step> = Vec::new();
    for node in list {
        let Some(step) = step(node, kind, known, problems) else { continue };
        if let Some(twice) = step.names().find(|name| steps.iter().any(|s| s.names().any(|n| n == *name))) {
            problems
                .error("duplicate-step", &node.place, format!("a second step is, or was, called `{twice}`"))
                .hint("steps are known by their names: who had one is told by it");
        }
        steps.push(step);
    }
    steps
}

fn step(node: &Node, kind: Kind, known: &Known, problems: &mut Problems) -> Option<Step> {
    let mut s = node.map("a step", problems)?;
    let step = name(&mut s, "step", problems);
    let template = s.require::<String>("template", problems);
    let recommend = s.node("recommend").and_then(|n| super::recommend::recommend(n, problems));
    let reward = s.node("reward").and_then(|n| super::reward::reward(n, kind, known, problems));
    let variants = s.node("variants").map(|n| variants(n, problems)).unwrap_or_default();
    let after = s.node("after").and_then(|n| after(n, problems)).unwrap_or(Span::Days(0));
    let at = s.node("at").and_then(|n| at(n, problems));
    let mut condition = |key| {
        let node = s.node(key)?;
        Condition::read(node, known.settings, known.segments, problems)
    };
    let (unless, only_if) = (condition("unless"), condition("only_if"));
    let renamed_from = s.list::<String>("renamed_from", problems).unwrap_or_default();
    let step = step.zip(template).map(|(name, template)| Step {
        name,
        template,
        template_place: s.node("template").expect("required above").place.clone(),
        variants,
        recommend,
        reward,
        after,
        at,
        unless,
        only_if,
        renamed_from,
    });
    s.finish(problems);
    step
}

/// `{ b: { template: win-back/letter-b } }`, or `{ b: win-back/letter-b }`.
fn variants(node: &Node, problems: &mut Problems) -> Vec<Variant> {
    let Some(mut m) = node.map("variants", problems) else { return Vec::new() };
    let mut variants = Vec::new();
    for pair in m.all() {
        let template = match &pair.value.shape {
            Shape::Map(_) => pair.value.map("a variant", problems).and_then(|mut v| {
                let template = v.require::<String>("template", problems);
                v.finish(problems);
                template
            }),
            _ => pair.value.read::<String>("the template of a variant", problems),
        };
        if let Some(template) = template {
            variants.push(Variant { arm: pair.key.clone(), template, template_place: pair.value.place.clone() });
        }
    }
    variants
}

fn after(node: &Node, problems: &mut Problems) -> Option<Span> {
    let span = node.read::<Span>("`after`", problems)?;
    if span.millis() > AFTER_DAYS_MAX * clock::DAY {
        problems
            .error("after-too-long", &node.place, format!("`after: {span}` lies too far ahead"))
            .hint(format!("at most {AFTER_DAYS_MAX} days after the entry"));
        return None;
    }
    Some(span)
}

fn at(node: &Node, problems: &mut Problems) -> Option<Time> {
    let text = node.read::<String>("`at`", problems)?;
    let time = text.trim().parse::<Time>().ok();
    if time.is_none() {
        problems
            .error("wrong-type", &node.place, format!("`at` must be a time of day, not `{text}`"))
            .hint("with quotes and two digits each: \"09:00\"; it goes by each person's own clock");
    }
    time
}

#[cfg(test)]
mod tests {
    use super::*;

    fn due(after: &str, at: Option<&str>, entered: &str) -> String {
        let zone = TimeZone::get("Europe/Berlin").unwrap();
        let step = Step {
            name: "letter".into(),
            template: "a/letter".into(),
            template_place: Place::file("c.yaml"),
            variants: Vec::new(),
            recommend: None,
            reward: None,
            after: Span::parse(after).unwrap(),
            at: at.map(|t| t.parse().unwrap()),
            unless: None,
            only_if: None,
            renamed_from: Vec::new(),
        };
        let entered_at = clock::parse_instant(entered, &zone).unwrap();
        clock::readable(step.moment(entered_at, &zone), &zone)
    }

    #[test]
    fn days_are_local_days_and_hours_are_hours() {
        assert_eq!(due("0d", None, "2026-11-24T15:20"), "2026-11-24 15:20");
        assert_eq!(due("3d", None, "2026-11-24T15:20"), "2026-11-27 15:20");
        assert_eq!(due("4h", None, "2026-11-24T15:20"), "2026-11-24 19:20");
        // Over the change of clocks of 29 March: the same time of day, and 72 hours.
        assert_eq!(due("3d", None, "2026-03-27T15:20"), "2026-03-30 15:20");
        assert_eq!(due("72h", None, "2026-03-27T15:20"), "2026-03-30 16:20");
        assert_eq!(due("2d", None, "2026-03-27T02:30"), "2026-03-29 03:30");
    }

    #[test]
    fn a_time_of_day_is_the_first_one_after_or_that_of_the_day() {
        assert_eq!(due("3d", Some("09:00"), "2026-11-24T15:20"), "2026-11-27 09:00");
        assert_eq!(due("0d", Some("09:00"), "2026-11-24T15:20"), "2026-11-25 09:00");
        assert_eq!(due("0d", Some("18:00"), "2026-11-24T15:20"), "2026-11-24 18:00");
        assert_eq!(due("4h", Some("18:00"), "2026-11-24T15:20"), "2026-11-25 18:00");
    }
}
