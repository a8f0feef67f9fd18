//! Ten campaigns planned one after the other: for everybody and for nine segments, under a cap that sees what the ones before have planned.

use std::path::Path;

use okaeri::money::grouped;
use serde_json::Value as Json;

use crate::letter;
use crate::measure::{self, Cost, Verbs};

/// Their segments, in the order of planning; `letter` is for everybody and comes last.
const SEGMENTS: [&str; 9] = [
    "again_in_category_1",
    "lapsing_1",
    "lapsing_2",
    "lapsing_3",
    "overdue_1",
    "overdue_2",
    "overdue_3",
    "again_in_category_2",
    "again_in_category_3",
];

pub fn write(dir: &Path) {
    letter::write(dir);
    for segment in SEGMENTS {
        let text = format!(
            "campaign: {segment}\nstatus: live\ntopic: offers\naudience: {{ in_segment: {segment} }}\nsteps:\n  - step: letter\n    template: letter\n\
             experiment:\n  split: {{ holdout: 10%, a: 90% }}\n"
        );
        measure::write(dir, &format!("campaigns/{segment}.yaml"), &text);
    }
}

/// Plan all ten and keep the plans: every message is rendered once and written. Prints one line of all together and what was planned.
pub fn plan(verbs: &Verbs<'_>) {
    let mut all = Cost { wall: 0.0, cpu: 0.0, server_cpu: 0.0, peak: 0.0, succeeded: true };
    let (mut audience, mut messages) = (0, 0);
    for name in SEGMENTS.into_iter().chain(["letter"]) {
        let cost = verbs.measure(&["plan", name, "--save", "--format", "json"]);
        all.wall += cost.wall;
        all.cpu += cost.cpu;
        all.server_cpu += cost.server_cpu;
        all.peak = all.peak.max(cost.peak);
        all.succeeded &= cost.succeeded;
        let said = std::fs::read_to_string(verbs.dir.join("said")).unwrap_or_default();
        let said: Json = serde_json::from_str(&said).unwrap_or_default();
        audience += said["verdicts"]["audience"].as_i64().unwrap_or_default();
        messages += ["send", "withheld"].iter().map(|v| sum(&said["verdicts"][v])).sum::<i64>();
    }
    verbs.tell("ten campaigns planned", &all);
    let each = 1e6 * all.all_cpu() / messages.max(1) as f64;
    println!(
        "{} verdicts, {} messages, {each:.0} us of CPU time for each message",
        grouped(audience),
        grouped(messages)
    );
}

/// People of a verdict: a number, or a number by reason.
fn sum(people: &Json) -> i64 {
    match people {
        Json::Object(by_reason) => by_reason.values().filter_map(Json::as_i64).sum(),
        other => other.as_i64().unwrap_or_default(),
    }
}
