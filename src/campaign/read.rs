//! From a campaign's YAML to a checked [`Campaign`].

use jiff::ToSpan as _;
use jiff::civil::Date;

use super::case::Case;
use super::schedule::Scheduled;
use super::{Audience, Campaign, Condition, Experiment, Goal, Kind, OncePer, Status, Step};
use crate::clock::{self, Millis};
use crate::problem::{Problems, Severity};
use crate::segment::goal::GoalEvent;
use crate::settings::{NAME_CHARS_MAX, Settings, is_name};
use crate::yaml::{MapReader, Node, Shape, Share, Span};

/// The arm that is mailed nothing.
const HOLDOUT: &str = "holdout";
/// Words that verdicts use; an arm with such a name would be taken for one.
const TAKEN: [&str; 2] = ["holdout_global", "send"];
/// Arm shares must add up to one within this; percentages with two decimals do.
const SPLIT_TOLERANCE: f64 = 0.000_05;

/// The names a campaign may use.
pub(super) struct Known<'a> {
    pub settings: &'a Settings,
    pub segments: &'a [&'a str],
}

pub(super) fn campaign(node: &Node, known: &Known, problems: &mut Problems) -> Option<Campaign> {
    let before = problems.count(Severity::Error);
    let mut m = node.map("a campaign", problems)?;
    let name = name(&mut m, "campaign", problems);
    let title = m.get::<String>("title", problems);
    let status = m
        .choice("status", &[("draft", Status::Draft), ("live", Status::Live), ("paused", Status::Paused)], problems)
        .unwrap_or(Status::Draft);
    let kind = m
        .choice("kind", &[("promotional", Kind::Promotional), ("service", Kind::Service)], problems)
        .unwrap_or(Kind::Promotional);
    let topic = topic(&mut m, known, problems);
    let audience = audience(&mut m, known, problems);
    let exclude = m.node("exclude").map(|n| segments_of(n, "exclude", known, problems)).unwrap_or_default();
    let (schedule, journey) = match m.node("schedule").and_then(|n| super::schedule::schedule(n, problems)) {
        Some(Scheduled::At(schedule)) => (Some(*schedule), None),
        Some(Scheduled::WhenMatching(journey)) => (None, Some(journey)),
        None => (None, None),
    };
    let once_per = m.node("once_per").and_then(|n| once_per(n, problems));
    let priority = m.get("priority", problems).unwrap_or(0);
    let steps = super::step::steps(&mut m, kind, known, problems);
    let exit_on = m.node("exit_on").and_then(|n| Condition::read(n, known.settings, known.segments, problems));
    let ends_at = m.node("ends").and_then(|n| ends(n, known, problems));
    let experiment = m.node("experiment").map(|n| experiment(n, kind, known, problems)).unwrap_or_default();
    check_variants(&steps, &experiment, problems);
    let per_run = m.map("limits", "limits", problems).and_then(|mut l| {
        let per_run = l.get("per_run", problems);
        l.finish(problems);
        per_run
    });
    let stop_above = super::stop::stop_above(&mut m, problems);
    let tests = m.node("tests").map(|n| super::case::cases(n, known, problems)).unwrap_or_default();
    check_tests(&steps, &tests, problems);
    let renamed_from = m.node("renamed_from").and_then(|_| self::name(&mut m, "renamed_from", problems));
    let track = m.get("track", problems).unwrap_or(true);
    let first_wave = super::wave::first_wave(&mut m, journey.is_some(), problems);
    let place = m.place.clone();
    m.finish(problems);
    if problems.count(Severity::Error) > before {
        return None;
    }
    let name = name?;
    // Whoever is in the audience at every look would enter again and again.
    let once_per = once_per.or(journey.is_some().then_some(OncePer::Person));
    Some(Campaign {
        title: title.unwrap_or_else(|| name.clone()),
        key: renamed_from.unwrap_or_else(|| name.clone()),
        name,
        place,
        status,
        topic: topic?,
        kind,
        audience: audience?,
        exclude,
        schedule,
        journey,
        once_per,
        exit_on,
        ends_at,
        priority,
        steps,
        experiment,
        per_run,
        stop_above,
        tests,
        track,
        first_wave,
        written: node.to_json(),
    })
}

pub(super) fn name(m: &mut MapReader, key: &'static str, problems: &mut Problems) -> Option<String> {
    let name = m.require::<String>(key, problems)?;
    if !is_name(&name) {
        let place = &m.node(key).expect("required above").place;
        problems
            .error("bad-name", place, format!("`{name}` cannot be a name"))
            .hint(format!("lower-case letters, digits, - and _; at most {NAME_CHARS_MAX}; the title may say anything"));
        return None;
    }
    Some(name)
}

fn topic(m: &mut MapReader, known: &Known, problems: &mut Problems) -> Option<String> {
    let topic = m.require::<String>("topic", problems)?;
    if known.settings.has_topic(&topic) {
        return Some(topic);
    }
    let place = &m.node("topic").expect("required above").place;
    problems
        .error("unknown-topic", place, format!("the topic `{topic}` is not among `topics` of okaeri.yaml"))
        .did_you_mean(&topic, known.settings.topics.iter().map(|t| t.name.as_str()));
    None
}

fn audience(m: &mut MapReader, known: &Known, problems: &mut Problems) -> Option<Audience> {
    let Some(node) = m.node("audience") else {
        problems
            .error("missing-key", &m.place, "a campaign needs `audience`: whom it is for")
            .hint("audience: { in_segment: NAME }, or: everyone");
        return None;
    };
    if node.as_text() == Some("everyone") {
        return Some(Audience::Everyone);
    }
    let names = segments_of(node, "audience", known, problems);
    match names.as_slice() {
        [one] => Some(Audience::InSegment(one.clone())),
        [] => None,
        _ => {
            problems
                .error("several-segments", &node.place, "an audience is one segment")
                .hint("compose them in a segment file with `any:` or `all:`");
            None
        }
    }
}

/// The names under `{ in_segment: … }`; unknown ones are problems and left out.
fn segments_of(node: &Node, key: &str, known: &Known, problems: &mut Problems) -> Vec<String> {
    let Shape::Map(_) = node.shape else {
        problems.error(
            "wrong-type",
            &node.place,
            format!("`{key}` must be {{ in_segment: NAME }}, not {}", node.described()),
        );
        return Vec::new();
    };
    let Some(mut m) = node.map("an audience", problems) else { return Vec::new() };
    let mut names = Vec::new();
    match m.node("in_segment") {
        Some(value) => {
            for name in value.read_list::<String>("`in_segment`", problems).unwrap_or_default() {
                if known.segments.contains(&name.as_str()) {
                    names.push(name);
                    continue;
                }
                problems
                    .error(
                        "unknown-segment",
                        &value.place,
                        format!("there is no segment `{name}` in campaigns/segments/"),
                    )
                    .did_you_mean(&name, known.segments.iter().copied());
            }
        }
        None => {
            problems.error("missing-key", &m.place, format!("`{key}` needs `in_segment`: the name of a segment"));
        }
    }
    m.finish(problems);
    names
}

fn once_per(node: &Node, problems: &mut Problems) -> Option<OncePer> {
    if node.as_text() == Some("person") {
        return Some(OncePer::Person);
    }
    match node.as_text().and_then(Span::parse) {
        Some(span) => Some(OncePer::Window(span)),
        None => {
            problems.error(
                "wrong-type",
                &node.place,
                format!("`once_per` must be `person` or a length of time such as 60d, not {}", node.described()),
            );
            None
        }
    }
}

/// Tests name steps that there are.
fn check_tests(steps: &[Step], tests: &[Case], problems: &mut Problems) {
    let expected = |test: &'_ Case| test.expectations().filter_map(|e| e.step.clone()).collect::<Vec<_>>();
    for (test, step) in tests.iter().flat_map(|test| expected(test).into_iter().map(move |step| (test, step))) {
        if !steps.iter().any(|s| s.name == step) {
            problems
                .error("unknown-step", &test.place, format!("the test expects the step `{step}`, which there is not"))
                .did_you_mean(&step, steps.iter().map(|s| s.name.as_str()));
        }
    }
}

/// A day, which belongs to it, or an instant.
fn ends(node: &Node, known: &Known, problems: &mut Problems) -> Option<Millis> {
    let zone = &known.settings.time_zone;
    let text = node.read::<String>("`ends`", problems)?;
    if let Ok(day) = text.trim().parse::<Date>() {
        return Some(clock::start_of_day(day.saturating_add(1.day()), zone));
    }
    let at = clock::parse_instant(&text, zone);
    if at.is_none() {
        problems
            .error("bad-instant", &node.place, format!("`{text}` is not an instant"))
            .hint("ends: 2026-12-31 (that day belongs to it), or 2026-12-31T18:00");
    }
    at
}

fn experiment(node: &Node, kind: Kind, known: &Known, problems: &mut Problems) -> Experiment {
    let mut experiment = Experiment::default();
    let Some(mut m) = node.map("an experiment", problems) else { return experiment };
    if let Some(node) = m.node("split") {
        (experiment.holdout, experiment.arms) = split(node, kind, problems);
    }
    if let Some(mut g) = m.map("goal", "a goal", problems) {
        let did = g.require::<String>("did", problems);
        let did_place = g.node("did").map_or_else(|| g.place.clone(), |n| n.place.clone());
        let within = g.require::<Span>("within", problems);
        let value = g.get::<String>("value", problems);
        let with = g.node("with");
        g.finish(problems);
        if let (Some(did), Some(within)) = (did, within) {
            let within_days = (within.millis() / crate::clock::DAY).max(1);
            GoalEvent::read((&did, &did_place), with, known.settings, problems);
            experiment.goal = Some(Goal { did, within_days, value, with: with.map(Node::to_json) });
        }
    }
    m.finish(problems);
    experiment
}

/// The held-out share of a split and its other arms; all shares must be there and total 100 %.
fn split(node: &Node, kind: Kind, problems: &mut Problems) -> (f64, Vec<(String, f64)>) {
    let Some(mut s) = node.map("a split", problems) else { return (0.0, Vec::new()) };
    let (mut total, mut holdout, mut arms) = (0.0, 0.0, Vec::new());
    for pair in s.all() {
        let share = pair.value.read::<Share>("a share", problems).map_or(0.0, |s| s.0);
        total += share;
        if pair.key == HOLDOUT {
            holdout = share;
            if kind == Kind::Service && share > 0.0 {
                problems
                    .error("service-holdout", &pair.key_place, "service mail is owed to people and is never withheld")
                    .hint("remove `holdout`, or make the campaign `kind: promotional`");
            }
            continue;
        }
        if !is_name(&pair.key) || TAKEN.contains(&pair.key.as_str()) {
            problems
                .error("bad-name", &pair.key_place, format!("`{}` cannot be the name of an arm", pair.key))
                .hint("a, b, …: lower-case letters, digits, - and _");
        }
        arms.push((pair.key.clone(), share));
    }
    if (total - 1.0).abs() > SPLIT_TOLERANCE {
        problems
            .error("split-total", &node.place, format!("the shares add up to {:.2} %, not 100 %", total * 100.0))
            .hint("for example: split: { holdout: 10%, a: 90% }");
    }
    (holdout, arms)
}

/// Variants belong to arms of the split.
fn check_variants(steps: &[Step], experiment: &Experiment, problems: &mut Problems) {
    for variant in steps.iter().flat_map(|s| &s.variants) {
        if !experiment.arms.iter().any(|(arm, _)| *arm == variant.arm) {
            problems
                .error(
                    "unknown-arm",
                    &variant.template_place,
                    format!("`experiment.split` has no arm `{}`: nobody would get this", variant.arm),
                )
                .did_you_mean(&variant.arm, experiment.arms.iter().map(|(arm, _)| arm.as_str()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Option<Campaign>, String) {
        let mut problems = Problems::new();
        let mut settings_problems = Problems::new();
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(
            dir.path().join("okaeri.yaml"),
            "project: shop\nsender: { from: a@example.com, organisation: o, postal_address: p }\ntopics: { offers: Offers }\n",
        )
        .unwrap();
        let project = crate::settings::Project::load_with(dir.path(), |_| None, &mut settings_problems).unwrap();
        let known = Known { settings: &project.settings, segments: &["drifting_regulars", "employees"] };
        let campaign =
            crate::yaml::parse("c.yaml", text, &mut problems).and_then(|n| campaign(&n, &known, &mut problems));
        (campaign, anstream::adapter::strip_str(&problems.to_text()).to_string())
    }

    #[test]
    fn a_full_campaign_is_read() {
        let (campaign, problems) = read(
            "campaign: win-back\ntitle: Come home\nstatus: live\ntopic: offers\naudience: { in_segment: drifting_regulars }\n\
             exclude: { in_segment: [employees] }\nonce_per: 60d\npriority: 20\nsteps:\n  - step: letter\n    template: win-back/letter\n\
             experiment:\n  split: { holdout: 10%, a: 90% }\n  goal: { did: order.placed, within: 14d, value: total }\nlimits: { per_run: 20000 }\nstop_above: { hard_bounce: 3% }\n",
        );
        assert_eq!(problems, "");
        let c = campaign.unwrap();
        assert_eq!((c.status, c.kind, c.priority, c.per_run), (Status::Live, Kind::Promotional, 20, Some(20_000)));
        assert_eq!(c.segments(), ["drifting_regulars", "employees"]);
        assert!((c.experiment.holdout - 0.1).abs() < 1e-9);
        assert_eq!(c.experiment.goal.unwrap().within_days, 14);
        assert_eq!(c.stop_above, super::super::StopAbove { hard_bounce: 0.03, ..Default::default() });
    }

    #[test]
    fn mistakes_are_named_all_at_once() {
        let (campaign, problems) = read(
            "campaign: Win Back\nstatus: alive\ntopic: offer\nkind: service\naudience: { in_segment: drifting_regular }\nonce_per: often\n\
             steps:\n  - step: letter\n    tempalte: x\n  - step: two\n    template: y\n    after: 500d\n\
             experiment:\n  split: { holdout: 20%, a: 70% }\nschedule: { every: tusday 09:00 }\nstop_above: { complaint: 3, bounces: 5%, failed: often }\n",
        );
        assert!(campaign.is_none());
        insta::assert_snapshot!(problems, @r#"
        c.yaml:1:11: error: `Win Back` cannot be a name [bad-name]
            lower-case letters, digits, - and _; at most 64; the title may say anything
        c.yaml:2:9: error: `status` cannot be `alive` [unknown-word]
            one of: draft, live, paused
        c.yaml:3:8: error: the topic `offer` is not among `topics` of okaeri.yaml [unknown-topic]
            did you mean `offers`?
        c.yaml:5:25: error: there is no segment `drifting_regular` in campaigns/segments/ [unknown-segment]
            did you mean `drifting_regulars`?
        c.yaml:6:11: error: `once_per` must be `person` or a length of time such as 60d, not the text "often" [wrong-type]
        c.yaml:8:5: error: a step needs `template`: text [missing-key]
        c.yaml:9:5: error: `tempalte` is not a key of a step [unknown-key]
            did you mean `template`?
        c.yaml:12:12: error: `after: 500d` lies too far ahead [after-too-long]
            at most 400 days after the entry
        c.yaml:14:10: error: the shares add up to 90.00 %, not 100 % [split-total]
            for example: split: { holdout: 10%, a: 90% }
        c.yaml:14:12: error: service mail is owed to people and is never withheld [service-holdout]
            remove `holdout`, or make the campaign `kind: promotional`
        c.yaml:15:20: error: `every: tusday 09:00` is not understood [bad-schedule]
            did you mean `tuesday`?
        c.yaml:16:26: error: `complaint` must be a share such as 10%, not the number 3 [wrong-type]
        c.yaml:16:29: error: `bounces` is not a key of `stop_above` [unknown-key]
            known here: complaint, failed, hard_bounce, policy
        c.yaml:16:50: error: `failed` must be a share such as 10%, not the text "often" [wrong-type]
        14 errors and 0 warnings
        "#);
    }
}
