//! How it is told who is on their way through a campaign, and what an edit of its steps does to them.

use jiff::tz::TimeZone;
use serde_json::json;

use crate::clock::{self, Millis};
use crate::money::grouped;
use crate::plan::ahead::{OnTheWay, StepAhead};

/// For machines.
pub fn json(way: &OnTheWay, as_of: Millis) -> serde_json::Value {
    let steps: Vec<_> = way
        .steps
        .iter()
        .map(|s| {
            json!({ "step": s.name(), "people": s.people, "held_out": s.held_out, "due_now": s.due_by(as_of),
                    "next_due_at": s.next_due(), "new_to": s.new_to, "was": s.was })
        })
        .collect();
    let taken_out: Vec<_> = way.taken_out.iter().map(|t| json!({ "step": t.step, "people": t.people })).collect();
    json!({ "people": way.people, "steps": steps, "taken_out": taken_out })
}

/// For people: (how many, which step, what there is to say), a line each.
pub fn lines(way: &OnTheWay, as_of: Millis, zone: &TimeZone) -> Vec<(i64, String, String)> {
    let ahead = way.steps.iter().map(|s| (s.people, s.name().to_owned(), about(s, as_of, zone)));
    let gone = way.taken_out.iter().map(|t| {
        (t.people, t.step.clone(), "taken out of the file: they do not get it (renamed? `renamed_from`)".to_owned())
    });
    ahead.chain(gone).collect()
}

fn about(step: &StepAhead, as_of: Millis, zone: &TimeZone) -> String {
    let mut said = Vec::new();
    match (step.due_by(as_of), step.next_due()) {
        (0, Some(next)) => said.push(format!("next {}", clock::readable(next, zone))),
        (now, _) if now > 0 => said.push(format!("{} at the next look", grouped(now))),
        _ => {}
    }
    if step.held_out > 0 {
        said.push(format!("{} of them held out", grouped(step.held_out)));
    }
    if step.new_to > 0 {
        said.push(format!("new to {} of them", grouped(step.new_to)));
    }
    if let Some(was) = &step.was {
        said.push(format!("was called {was}"));
    }
    said.join(", ")
}

/// What an edit does to those who have a step ahead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepChange {
    /// Its name now; of one that is taken out, its last.
    pub step: String,
    /// `new`, `taken_out`, `renamed` or `moved`.
    pub what: &'static str,
    /// Its name then, if it was another.
    pub was: Option<String>,
    pub people: Sides<i64>,
    pub next_due_at: Sides<Option<Millis>>,
}

/// Then and now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Sides<T> {
    pub before: T,
    pub after: T,
}

/// The steps that are ahead of other people, or at another time, than before. A side without the campaign has nobody on their way.
pub fn changes(before: &OnTheWay, after: &OnTheWay) -> Vec<StepChange> {
    let is_same = |a: &StepAhead, b: &StepAhead| a.names.contains(&b.names[0]) || b.names.contains(&a.names[0]);
    let change = |step: &StepAhead, what, was: Option<&StepAhead>, now: Option<&StepAhead>| StepChange {
        step: step.name().to_owned(),
        what,
        was: was.map(|w| w.name().to_owned()).filter(|w| w != step.name()),
        people: Sides { before: was.map_or(0, |s| s.people), after: now.map_or(0, |s| s.people) },
        next_due_at: Sides { before: was.and_then(StepAhead::next_due), after: now.and_then(StepAhead::next_due) },
    };
    let gone = before.steps.iter().filter(|b| !after.steps.iter().any(|a| is_same(a, b)));
    let mut found: Vec<StepChange> = gone.map(|b| change(b, "taken_out", Some(b), None)).collect();
    for a in &after.steps {
        match before.steps.iter().find(|b| is_same(a, b)) {
            None => found.push(change(a, "new", None, Some(a))),
            Some(b) if a.name() != b.name() => found.push(change(a, "renamed", Some(b), Some(a))),
            Some(b) if (a.people, &a.moments) != (b.people, &b.moments) => {
                found.push(change(a, "moved", Some(b), Some(a)))
            }
            Some(_) => {}
        }
    }
    found
}

impl StepChange {
    pub fn json(&self) -> serde_json::Value {
        json!({ "step": self.step, "change": self.what, "was": self.was, "people": self.people, "next_due_at": self.next_due_at })
    }

    /// For people; `count` says how exactly they are counted.
    pub fn told(&self, count: impl Fn(i64) -> String, zone: &TimeZone) -> String {
        let people = |n| format!("{} people", count(n));
        let Sides { before, after } = self.people;
        let first =
            |at: Option<Millis>| at.map(|at| format!(", the first {}", clock::readable(at, zone))).unwrap_or_default();
        let moved = match (self.next_due_at.before, self.next_due_at.after) {
            (then, now) if then == now => String::new(),
            (Some(then), Some(now)) => {
                format!(", the first {} instead of {}", clock::readable(now, zone), clock::readable(then, zone))
            }
            (_, now) => first(now),
        };
        let step = &self.step;
        match self.what {
            "new" => format!("{step}: new, {} on their way get it{}", people(after), first(self.next_due_at.after)),
            "taken_out" => format!("{step}: taken out, {} on their way do not get it", people(before)),
            "renamed" => {
                let was = self.was.as_deref().unwrap_or_default();
                format!("{step}: was called {was}, {} on their way get it{moved}", people(after))
            }
            _ if before == after => format!("{step}: {} on their way get it at another time{moved}", people(after)),
            _ => format!("{step}: {} on their way get it instead of {}{moved}", people(after), count(before)),
        }
    }
}
