//! `tests:` of a campaign: somebody given, at a fixed instant, and what the campaign does with them at that look; or over days, one after the other.

use super::read::Known;
use crate::clock::{self, Millis};
use crate::problem::{Place, Problems};
use crate::segment::given::{self, Given};
use crate::yaml::{MapReader, Node, Shape, Span};

/// The furthest day of a test: campaigns and their steps are over by then.
const DAYS_MAX: i64 = 400;

/// One test.
#[derive(Debug, Clone)]
pub struct Case {
    pub name: String,
    pub place: Place,
    pub now: Millis,
    pub given: Given,
    /// When they entered; `None`: they have not.
    pub entered_at: Option<Millis>,
    pub expects: Expects,
}

/// What a test asks.
#[derive(Debug, Clone)]
pub enum Expects {
    /// What becomes of them at that look.
    Look(Expect),
    /// What becomes of them from that instant on, in the order of time; looked at every hour, as `okaeri run` does.
    Days(Vec<Day>),
}

/// An instant of a test over days.
#[derive(Debug, Clone)]
pub struct Day {
    pub place: Place,
    /// How long after the test's instant, as written.
    pub on: Span,
    pub at: Millis,
    /// The person from then on.
    pub given: Given,
    /// What became of them since the last instant at which something was expected.
    pub expect: Option<Expect>,
}

/// What is expected; what is not written may be anything.
#[derive(Debug, Clone)]
pub struct Expect {
    pub verdict: Expected,
    pub step: Option<String>,
    /// Of a skip.
    pub reason: Option<String>,
    pub subject_contains: Option<String>,
    /// Where the reason stands.
    pub reason_place: Place,
}

impl Case {
    /// Everything that is expected.
    pub fn expectations(&self) -> impl Iterator<Item = &Expect> {
        let (look, days): (Option<&Expect>, &[Day]) = match &self.expects {
            Expects::Look(expect) => (Some(expect), &[]),
            Expects::Days(days) => (None, days),
        };
        look.into_iter().chain(days.iter().filter_map(|day| day.expect.as_ref()))
    }
}

/// What a look does with somebody. Experiments are left out: whom chance holds out is no question of one person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    Send,
    Skip,
    /// Not in the audience; or no step of theirs is due.
    Nothing,
}

impl Expected {
    /// As authors write it.
    pub fn word(self) -> &'static str {
        match self {
            Expected::Send => "send",
            Expected::Skip => "skip",
            Expected::Nothing => "nothing",
        }
    }
}

/// Read `tests:`.
pub(super) fn cases(node: &Node, known: &Known, problems: &mut Problems) -> Vec<Case> {
    let Shape::List(list) = &node.shape else {
        problems.error("wrong-type", &node.place, format!("`tests` must be a list, not {}", node.described())).hint(
            "tests:\n  - name: a quiet regular gets the letter\n    customer: { orders: 6, last_order: 200d ago, consent: [offers] }\n    expect: { verdict: send }",
        );
        return Vec::new();
    };
    list.iter().filter_map(|node| case(node, known, problems)).collect()
}

fn case(node: &Node, known: &Known, problems: &mut Problems) -> Option<Case> {
    let mut m = node.map("a test of a campaign", problems)?;
    let name = m.require::<String>("name", problems);
    let now = given::now(&mut m, known.settings, problems)?;
    let entered_at = m.node("entered").and_then(|n| given::instant(n, now, known.settings, problems));
    let given = Given::read_from(&mut m, now, known.settings, problems);
    let expects = match (m.node("expect"), m.node("days")) {
        (Some(node), None) => expect(node, problems).map(Expects::Look),
        (None, Some(node)) => {
            if entered_at.is_some() {
                problems
                    .error(
                        "bad-test",
                        &node.place,
                        "a test over `days` has no `entered`: whoever is to enter does so on the way",
                    )
                    .hint("let `now` be the day on which they enter");
            }
            days(node, &given, now, known, problems).map(Expects::Days)
        }
        (Some(_), Some(node)) => {
            problems.error("bad-test", &node.place, "a test has `expect` or `days`, not both").hint(DAYS_HINT);
            None
        }
        (None, None) => {
            problems
                .error("missing-key", &m.place, "a test needs `expect`: what the campaign does with this person; or `days`")
                .hint("expect: { verdict: send, step: letter }, or { verdict: skip, reason: service_freeze }, or { verdict: nothing }");
            None
        }
    };
    m.finish(problems);
    Some(Case { name: name?, place: node.place.clone(), now, given, entered_at, expects: expects? })
}

const DAYS_HINT: &str = "days:\n  - { on: 0d, expect: { verdict: send, step: hello } }\n  - { on: 2d, orders: { total: 40 } }\n  - { on: 3d, expect: { verdict: nothing } }";

/// Read `days`: each later than the one before.
fn days(node: &Node, given: &Given, now: Millis, known: &Known, problems: &mut Problems) -> Option<Vec<Day>> {
    let Shape::List(list) = &node.shape else {
        problems
            .error("wrong-type", &node.place, format!("`days` must be a list, not {}", node.described()))
            .hint(DAYS_HINT);
        return None;
    };
    let mut days: Vec<Day> = Vec::new();
    let mut given = given.clone().as_time_passes();
    for node in list {
        let mut m = node.map("a day of a test", problems)?;
        let day = day(&mut m, node, (&given, now), known, problems);
        m.finish(problems);
        let day = day?;
        if let Some(before) = days.last().filter(|before| before.at >= day.at) {
            let (on, then) = (day.on, before.on);
            problems
                .error("bad-test", &day.place, format!("{on} does not come after {then}"))
                .hint("days stand in the order of time");
        }
        given = day.given.clone();
        days.push(day);
    }
    if days.iter().all(|day| day.expect.is_none()) {
        problems.error("missing-key", &node.place, "nothing is expected on any of these days").hint(DAYS_HINT);
    }
    Some(days)
}

fn day(
    m: &mut MapReader,
    node: &Node,
    (given, now): (&Given, Millis),
    known: &Known,
    problems: &mut Problems,
) -> Option<Day> {
    let on = m.require::<Span>("on", problems);
    let zone = &known.settings.time_zone;
    let at = match on {
        // The same time of day, so many local days later.
        Some(Span::Days(days)) => {
            let midnight = clock::days_before(now, 0, zone);
            clock::days_before(now, -days, zone) + (now - midnight).min(clock::DAY - 1)
        }
        Some(Span::Exact(ms)) => now + ms,
        None => now,
    };
    let latest = now + DAYS_MAX * clock::DAY;
    if at > latest {
        problems.error("out-of-range", &node.place, format!("a test goes on for {DAYS_MAX} days at most"));
    }
    let at = at.min(latest);
    let given = given.later(m, at, known.settings, problems);
    let expect = m.node("expect").and_then(|node| expect(node, problems));
    Some(Day { place: node.place.clone(), on: on?, at, given, expect })
}

fn expect(node: &Node, problems: &mut Problems) -> Option<Expect> {
    let mut m = node.map("`expect`", problems)?;
    let words = [Expected::Send, Expected::Skip, Expected::Nothing].map(|e| (e.word(), e));
    let verdict = m.choice("verdict", &words, problems);
    if m.node("verdict").is_none() {
        problems.error("missing-key", &m.place, "`expect` needs `verdict`: send, skip or nothing");
    }
    let reason_place = m.node("reason").map_or_else(|| node.place.clone(), |n| n.place.clone());
    let expect = verdict.map(|verdict| Expect {
        verdict,
        reason_place,
        step: m.get("step", problems),
        reason: m.get("reason", problems),
        subject_contains: m.get("subject_contains", problems),
    });
    m.finish(problems);
    expect
}
