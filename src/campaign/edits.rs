//! What an edit of a file changed, key by key, as authors wrote it. Pure.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

/// The longest value told, in characters.
const VALUE_CHARS_MAX: usize = 60;
/// What files expect of themselves decides about nobody.
const NOT_TOLD: &str = "tests";

/// A key whose value is another, came, or went.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Edit {
    /// Where it stands: `schedule.every`, `steps.reminder.after`.
    pub key: String,
    /// `None` when it was not set.
    pub then: Option<String>,
    /// `None` when it is not set any more.
    pub now: Option<String>,
}

/// The keys that differ between two files, in the order of their names. Steps are known by their names, so taking one out is no edit of those that
/// follow.
pub fn edits(then: &Value, now: &Value) -> Vec<Edit> {
    let mut found = Vec::new();
    compare("", Some(then), Some(now), &mut found);
    found
}

fn compare(key: &str, then: Option<&Value>, now: Option<&Value>, found: &mut Vec<Edit>) {
    let inside = |name: &str| if key.is_empty() { name.to_owned() } else { format!("{key}.{name}") };
    match (then, now) {
        (Some(Value::Object(then)), Some(Value::Object(now))) => {
            let names: BTreeSet<&String> = then.keys().chain(now.keys()).collect();
            for name in names.into_iter().filter(|name| *name != NOT_TOLD) {
                compare(&inside(name), then.get(name), now.get(name), found);
            }
        }
        (Some(Value::Array(then)), Some(Value::Array(now))) if key == "steps" => {
            for step in then.iter().filter(|s| !now.iter().any(|n| is_same_step(s, n))) {
                compare(&inside(name(step)), Some(step), None, found);
            }
            for step in now {
                let before = then.iter().find(|s| is_same_step(s, step));
                compare(&inside(name(step)), before, Some(step), found);
            }
        }
        (then, now) if then == now => {}
        (then, now) => found.push(Edit { key: key.to_owned(), then: then.map(told), now: now.map(told) }),
    }
}

fn name(step: &Value) -> &str {
    step["step"].as_str().unwrap_or_default()
}

/// Whether a step is another one, perhaps under a new name.
fn is_same_step(then: &Value, now: &Value) -> bool {
    let was = match &now["renamed_from"] {
        Value::Array(names) => names.iter().any(|n| n.as_str() == Some(name(then))),
        Value::String(one) => one == name(then),
        _ => false,
    };
    name(then) == name(now) || was
}

/// A value as a short line of YAML.
fn told(value: &Value) -> String {
    let line = flow(value);
    if line.chars().count() <= VALUE_CHARS_MAX {
        return line;
    }
    line.chars().take(VALUE_CHARS_MAX - 1).chain(['…']).collect()
}

fn flow(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::String(text) => text.split_whitespace().collect::<Vec<_>>().join(" "),
        Value::Array(list) => format!("[{}]", list.iter().map(flow).collect::<Vec<_>>().join(", ")),
        Value::Object(map) => flow_of(map),
    }
}

fn flow_of(map: &Map<String, Value>) -> String {
    let pairs: Vec<String> = map.iter().map(|(key, value)| format!("{key}: {}", flow(value))).collect();
    if pairs.is_empty() { "{}".to_owned() } else { format!("{{ {} }}", pairs.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::problem::Problems;

    fn of(then: &str, now: &str) -> Vec<String> {
        let read = |text| crate::yaml::parse("c.yaml", text, &mut Problems::new()).unwrap().to_json();
        let told = |side: Option<String>| side.unwrap_or_else(|| "–".to_owned());
        edits(&read(then), &read(now))
            .into_iter()
            .map(|e| format!("{}: {} → {}", e.key, told(e.then), told(e.now)))
            .collect()
    }

    #[test]
    fn every_key_is_told_by_where_it_stands() {
        let then = "status: draft\nonce_per: 60d\nschedule: { every: tuesday 09:00 }\nexperiment: { split: { holdout: 10%, a: 90% } }\n\
                    tests: [{ name: one }]\n";
        let now = "status: live\nschedule: { every: [monday 10:00, friday 10:00], catch_up: 2h }\nexperiment: { split: { holdout: 20%, a: 80% } }\n\
                   limits: { per_run: 100 }\ntests: []\n";
        assert_eq!(
            of(then, now),
            [
                "experiment.split.a: 90% → 80%",
                "experiment.split.holdout: 10% → 20%",
                "limits: – → { per_run: 100 }",
                "once_per: 60d → –",
                "schedule.catch_up: – → 2h",
                "schedule.every: tuesday 09:00 → [monday 10:00, friday 10:00]",
                "status: draft → live",
            ]
        );
        assert_eq!(of(then, then), [""; 0]);
    }

    #[test]
    fn steps_are_known_by_their_names() {
        let then = "steps:\n  - { step: hello, template: a }\n  - { step: tips, after: 3d, template: b }\n  - { step: offer, after: 10d, template: c }\n";
        let now = "steps:\n  - { step: gift, after: 9d, template: d }\n  - { step: hello, template: a }\n  - { step: advice, renamed_from: [tips], after: 4d, template: b }\n";
        assert_eq!(
            of(then, now),
            [
                "steps.offer: { step: offer, after: 10d, template: c } → –",
                "steps.gift: – → { step: gift, after: 9d, template: d }",
                "steps.advice.after: 3d → 4d",
                "steps.advice.renamed_from: – → [tips]",
                "steps.advice.step: tips → advice",
            ]
        );
    }

    #[test]
    fn long_and_broken_lines_are_told_short_on_one() {
        let told = of("title: a\n", &format!("title: \"two\\nlines {}\"\n", "本".repeat(100)));
        assert!(told[0].starts_with("title: a → two lines 本本") && told[0].ends_with("本…"), "{told:?}");
        assert_eq!(told[0].chars().count(), "title: a → ".chars().count() + VALUE_CHARS_MAX);
    }
}
