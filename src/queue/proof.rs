//! The proof of an audience: every message is rendered once, as it will leave, before any of them may.
//!
//! Renders in parallel and groups what fails by the template's line, so that a mistake that hits a hundred thousand people is told once,
//! with their number and one of them. Shapes (which fields are there, how long lists are, language, arm) are counted: two messages of one shape
//! take the same way through a template.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::Duration;

use serde_json::Value as Json;
use tokio::time::Instant;

use crate::clock::Millis;
use crate::message::{ComposeError, Composer, MessageFacts};
use crate::problem::Place;

/// Lines of templates told at most; the first ones tell the story.
const FAULTS_MAX: usize = 20;
/// Shapes told apart at most.
const SHAPES_MAX: usize = 100_000;
/// Most threads that render, and messages below which another thread is not worth its start.
const THREADS_MAX: usize = 16;
const MESSAGES_PER_THREAD_MIN: usize = 64;

/// What cannot be rendered, at one line of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    pub place: Place,
    /// The value that is missing, as the template names it.
    pub field: Option<String>,
    pub why: String,
    pub hint: Option<String>,
    /// Messages it keeps from being rendered.
    pub messages: u64,
    /// One of whom it fails for.
    pub customer_id: String,
}

/// What rendering came to.
#[derive(Debug, Clone, Default)]
pub struct Proof {
    /// Messages rendered without fault.
    pub rendered: u64,
    /// Messages that could not be rendered, all of them.
    pub failed: u64,
    /// Where and why, by the number of messages.
    pub faults: Vec<Fault>,
    shapes: BTreeSet<u64>,
    took: Duration,
}

impl Proof {
    /// Render messages once; whether each could be.
    pub(super) fn render(&mut self, composer: &Composer, messages: &[MessageFacts<'_>], date_at: Millis) -> Vec<bool> {
        let started = Instant::now();
        let proved = in_parallel(messages, |m| composer.compose(m, date_at).map(|_| ()).map_err(Box::new));
        self.took += started.elapsed();
        for (message, proved) in messages.iter().zip(&proved) {
            if self.shapes.len() < SHAPES_MAX {
                self.shapes.insert(shape(message));
            }
            match proved {
                Ok(()) => self.rendered += 1,
                Err(error) => {
                    self.failed += 1;
                    self.add(fault(composer, message, error));
                }
            }
        }
        proved.iter().map(Result::is_ok).collect()
    }

    /// Shapes of messages told apart.
    pub fn shapes(&self) -> usize {
        self.shapes.len()
    }

    /// Messages rendered a second, of those that were; `None` when there was nothing to measure.
    pub fn per_second(&self) -> Option<u64> {
        let messages = self.rendered + self.failed;
        (messages > 0 && !self.took.is_zero()).then(|| (messages as f64 / self.took.as_secs_f64()) as u64)
    }

    pub(super) fn append(&mut self, other: Proof) {
        self.rendered += other.rendered;
        self.failed += other.failed;
        self.took += other.took;
        self.shapes.extend(other.shapes);
        other.faults.into_iter().for_each(|fault| self.add(fault));
    }

    fn add(&mut self, fault: Fault) {
        match self.faults.iter().position(|known| known.place == fault.place && known.why == fault.why) {
            Some(at) => self.faults[at].messages += fault.messages,
            None if self.faults.len() < FAULTS_MAX => self.faults.push(fault),
            None => {}
        }
        self.faults.sort_by(|a, b| (b.messages, &a.place).cmp(&(a.messages, &b.place)));
    }
}

fn fault(composer: &Composer, message: &MessageFacts<'_>, error: &ComposeError) -> Fault {
    let (place, field, why, hint) = match error {
        ComposeError::Render(e) => (e.place.clone(), e.field.clone(), e.message.clone(), e.hint()),
        e => (Place::file(&composer.file(message.template, message.locale)), None, e.to_string(), None),
    };
    Fault { place, field, why, hint, messages: 1, customer_id: message.customer_id.to_owned() }
}

/// The answers in the order of the questions, asked on as many threads as are worth it.
fn in_parallel<T: Sync, R: Send>(items: &[T], ask: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let threads = (items.len() / MESSAGES_PER_THREAD_MIN).clamp(1, processors.min(THREADS_MAX));
    if threads == 1 {
        return items.iter().map(ask).collect();
    }
    let ask = &ask;
    std::thread::scope(|scope| {
        let parts = items.chunks(items.len().div_ceil(threads));
        let working: Vec<_> = parts.map(|part| scope.spawn(move || part.iter().map(ask).collect::<Vec<R>>())).collect();
        working
            .into_iter()
            .flat_map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    })
}

/// Which way through its templates a message can take: what it has, not what that is.
fn shape(message: &MessageFacts<'_>) -> u64 {
    let mut hasher = DefaultHasher::new();
    (message.template, message.locale).hash(&mut hasher);
    shape_of(message.payload, &mut hasher);
    hasher.finish()
}

fn shape_of(value: &Json, hasher: &mut DefaultHasher) {
    std::mem::discriminant(value).hash(hasher);
    match value {
        Json::Object(fields) => {
            // Attributes come in the order of the data.
            let mut names: Vec<&String> = fields.keys().collect();
            names.sort_unstable();
            for name in names {
                name.hash(hasher);
                shape_of(&fields[name], hasher);
            }
        }
        Json::Array(items) => {
            items.len().hash(hasher);
            items.iter().for_each(|item| shape_of(item, hasher));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_keep_the_order_of_the_questions() {
        let items: Vec<usize> = (0..1_003).collect();
        assert_eq!(in_parallel(&items, |n| n * 2), items.iter().map(|n| n * 2).collect::<Vec<_>>());
        assert!(in_parallel(&[0_u8; 0], |n| *n).is_empty());
    }

    #[test]
    fn a_shape_is_what_there_is_and_not_what_it_says() {
        let of = |json: &str| {
            let mut hasher = DefaultHasher::new();
            shape_of(&serde_json::from_str(json).unwrap(), &mut hasher);
            hasher.finish()
        };
        assert_eq!(of(r#"{"a": "x", "b": [{"c": 1}]}"#), of(r#"{"b": [{"c": 2}], "a": "y"}"#));
        assert_ne!(of(r#"{"a": "x"}"#), of(r#"{"b": "x"}"#));
        assert_ne!(of(r#"{"a": [1]}"#), of(r#"{"a": [1, 1]}"#));
        assert_ne!(of(r#"{"a": {"b": 1}}"#), of(r#"{"a": 1, "b": 1}"#));
    }

    #[test]
    fn faults_of_one_line_are_one_and_the_widest_comes_first() {
        let fault = |line: usize, customer: &str| Fault {
            place: Place { file: "templates/a.html".into(), line, column: 1 },
            field: None,
            why: "missing".to_owned(),
            hint: None,
            messages: 1,
            customer_id: customer.to_owned(),
        };
        let mut proof = Proof::default();
        for (line, customer) in [(3, "a"), (7, "b"), (7, "c")] {
            proof.add(fault(line, customer));
        }
        let mut other = Proof::default();
        (0..30).for_each(|line| other.add(fault(line + 10, "z")));
        proof.append(other);
        let first: Vec<(usize, u64, &str)> =
            proof.faults[..2].iter().map(|f| (f.place.line, f.messages, &*f.customer_id)).collect();
        assert_eq!(first, [(7, 2, "b"), (3, 1, "a")]);
        assert_eq!(proof.faults.len(), FAULTS_MAX);
    }
}
