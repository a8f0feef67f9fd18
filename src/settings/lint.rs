//! What `okaeri.yaml` says of lints: whose law mails are written for (`compliance`), and how much each rule matters (`lint`).
//!
//! Which rules there are is known to `content`, which tells words that are none.

use crate::problem::{Place, Problems, Severity};
use crate::yaml::MapReader;

/// Whose law a mail is written for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Law {
    Eu,
    Us,
    Ca,
    Jp,
}

impl Law {
    pub const ALL: [Law; 4] = [Law::Eu, Law::Us, Law::Ca, Law::Jp];

    /// As authors write it.
    pub fn word(self) -> &'static str {
        match self {
            Law::Eu => "eu",
            Law::Us => "us",
            Law::Ca => "ca",
            Law::Jp => "jp",
        }
    }
}

/// How much a rule matters to this project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Weighed {
    /// The rule's code.
    pub code: String,
    /// `None`: not at all.
    pub severity: Option<Severity>,
    pub place: Place,
}

/// `compliance: [eu, jp]`.
pub(super) fn compliance(m: &mut MapReader, problems: &mut Problems) -> Vec<Law> {
    let Some(node) = m.node("compliance") else { return Vec::new() };
    let mut laws = Vec::new();
    for word in node.read_list::<String>("`compliance`", problems).unwrap_or_default() {
        match Law::ALL.into_iter().find(|law| law.word() == word) {
            Some(law) => laws.push(law),
            None => {
                problems
                    .error("unknown-word", &node.place, format!("`compliance` does not know `{word}`"))
                    .hint(format!("known: {}", Law::ALL.map(Law::word).join(", ")));
            }
        }
    }
    laws
}

/// `lint: { low-contrast: off, http-link: error }`.
pub(super) fn weights(m: &mut MapReader, problems: &mut Problems) -> Vec<Weighed> {
    let Some(mut rules) = m.map("lint", "`lint`", problems) else { return Vec::new() };
    let words = [("error", Some(Severity::Error)), ("warning", Some(Severity::Warning)), ("off", None)];
    let mut out = Vec::new();
    for pair in rules.all() {
        // YAML 1.1 reads a bare `off` as false.
        let word = match pair.value.shape {
            crate::yaml::Shape::Bool(false) => "off".to_owned(),
            _ => match pair.value.read::<String>("how much a rule matters", problems) {
                Some(word) => word,
                None => continue,
            },
        };
        match words.iter().find(|(w, _)| *w == word) {
            Some((_, severity)) => {
                out.push(Weighed { code: pair.key.clone(), severity: *severity, place: pair.key_place.clone() });
            }
            None => {
                problems
                    .error("unknown-word", &pair.value.place, format!("`{}` cannot be `{word}`", pair.key))
                    .hint("one of: error, warning, off");
            }
        }
    }
    out
}
