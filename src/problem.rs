//! Problems: what an author wrote that cannot work, with the place and the remedy.
//!
//! Problems are collected, never thrown one at a time: a marketer fixes a file once, not once per run. A problem is not an
//! [`std::error::Error`]; those are for an environment that failed.

mod machines;

use std::fmt::Write as _;
use std::sync::Arc;

use anstyle::{AnsiColor, Style};
use serde::Serialize;

/// Where in a file, as an editor counts: lines and columns from 1. Line 0 means the file as a whole.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    pub file: Arc<str>,
    pub line: usize,
    pub column: usize,
}

impl Place {
    /// A file as a whole.
    pub fn file(file: &str) -> Place {
        Place { file: file.into(), line: 0, column: 0 }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.line {
            0 => write!(f, "{}", self.file),
            _ => write!(f, "{}:{}:{}", self.file, self.line, self.column),
        }
    }
}

/// Whether a problem stops the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    Error,
    Warning,
}

/// One problem.
#[derive(Debug, Clone)]
pub struct Problem {
    /// A stable short name, such as `unknown-key`.
    pub code: &'static str,
    pub severity: Severity,
    pub place: Place,
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Problem {
    /// Add the remedy.
    pub fn hint(&mut self, hint: impl Into<String>) -> &mut Problem {
        self.hint = Some(hint.into());
        self
    }

    /// Add "did you mean …?" when one of the known words is close.
    pub fn did_you_mean<'a>(&mut self, word: &str, known: impl IntoIterator<Item = &'a str> + Clone) -> &mut Problem {
        if let Some(near) = nearest(word, known.clone()) {
            self.hint = Some(format!("did you mean `{near}`?"));
        } else {
            let mut known: Vec<&str> = known.into_iter().collect();
            known.sort_unstable();
            known.dedup();
            if !known.is_empty() && known.len() <= KNOWN_LISTED_MAX {
                self.hint = Some(format!("known here: {}", known.join(", ")));
            }
        }
        self
    }
}

/// A list of known words longer than this is not printed as a hint.
const KNOWN_LISTED_MAX: usize = 24;

/// The known word nearest to a misspelt one, when it is near enough to be meant.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = word.to_lowercase();
    known
        .into_iter()
        .map(|k| (strsim::damerau_levenshtein(&lower, &k.to_lowercase()), k))
        .filter(|(d, k)| *d <= 1 + k.chars().count().max(word.chars().count()) / 4)
        .min_by_key(|(d, k)| (*d, *k))
        .map(|(_, k)| k)
}

/// All problems found so far.
#[derive(Debug, Clone, Default)]
pub struct Problems(Vec<Problem>);

impl Problems {
    pub fn new() -> Problems {
        Problems::default()
    }

    /// Record something that stops the work.
    pub fn error(&mut self, code: &'static str, place: &Place, message: impl Into<String>) -> &mut Problem {
        self.add(code, Severity::Error, place, message.into())
    }

    /// Record something that deserves a look.
    pub fn warning(&mut self, code: &'static str, place: &Place, message: impl Into<String>) -> &mut Problem {
        self.add(code, Severity::Warning, place, message.into())
    }

    fn add(&mut self, code: &'static str, severity: Severity, place: &Place, message: String) -> &mut Problem {
        self.0.push(Problem { code, severity, place: place.clone(), message, hint: None });
        self.0.last_mut().expect("pushed above")
    }

    /// Take over the problems of another list.
    pub fn append(&mut self, other: Problems) {
        self.0.extend(other.0);
    }

    /// Give each problem the severity that is said of its code and severity; `None` takes it away.
    pub fn reweigh(&mut self, severity: impl Fn(&str, Severity) -> Option<Severity>) {
        self.0.retain_mut(|p| match severity(p.code, p.severity) {
            Some(severity) => {
                p.severity = severity;
                true
            }
            None => false,
        });
    }

    pub fn has_errors(&self) -> bool {
        self.0.iter().any(|p| p.severity == Severity::Error)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many of a severity.
    pub fn count(&self, severity: Severity) -> usize {
        self.0.iter().filter(|p| p.severity == severity).count()
    }

    /// Problems by file, line and column.
    pub fn sorted(&self) -> Vec<&Problem> {
        let mut all: Vec<&Problem> = self.0.iter().collect();
        all.sort_by(|a, b| (&a.place, a.severity, &a.message).cmp(&(&b.place, b.severity, &b.message)));
        all
    }

    /// For people: a line a problem, its hint below, a count at the end. Holds ANSI styles; print through `anstream`.
    pub fn to_text(&self) -> String {
        let bold = Style::new().bold();
        let dim = Style::new().dimmed();
        let mut out = String::new();
        for p in self.sorted() {
            let (word, colour) = match p.severity {
                Severity::Error => ("error", AnsiColor::Red),
                Severity::Warning => ("warning", AnsiColor::Yellow),
            };
            let style = Style::new().fg_color(Some(colour.into())).bold();
            let _ = writeln!(
                out,
                "{bold}{}{bold:#}: {style}{word}{style:#}: {} {dim}[{}]{dim:#}",
                p.place, p.message, p.code
            );
            if let Some(hint) = &p.hint {
                let _ = writeln!(out, "    {hint}");
            }
        }
        let (errors, warnings) = (self.count(Severity::Error), self.count(Severity::Warning));
        if errors + warnings > 0 {
            let _ = writeln!(out, "{} and {}", counted(errors, "error"), counted(warnings, "warning"));
        }
        out
    }

    /// For machines.
    pub fn to_json(&self) -> serde_json::Value {
        self.sorted()
            .into_iter()
            .map(|p| {
                serde_json::json!({
                    "code": p.code, "severity": p.severity, "file": &*p.place.file,
                    "line": p.place.line, "column": p.place.column, "message": p.message, "hint": p.hint,
                })
            })
            .collect()
    }
}

/// `1 error`, `2 errors`.
pub fn counted(n: usize, word: &str) -> String {
    if n == 1 { format!("1 {word}") } else { format!("{n} {word}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_read_well_and_come_in_file_order() {
        let mut problems = Problems::new();
        let at = |line, column| Place { file: "campaigns/a.yaml".into(), line, column };
        problems.warning("late", &at(9, 3), "never sends");
        problems
            .error("unknown-key", &at(2, 1), "`audiance` is not a key of a campaign")
            .did_you_mean("audiance", ["audience", "title"]);
        let text = anstream::adapter::strip_str(&problems.to_text()).to_string();
        assert_eq!(
            text,
            "campaigns/a.yaml:2:1: error: `audiance` is not a key of a campaign [unknown-key]\n    did you mean `audience`?\n\
             campaigns/a.yaml:9:3: warning: never sends [late]\n1 error and 1 warning\n"
        );
    }

    #[test]
    fn far_words_are_not_suggested() {
        assert_eq!(nearest("zebra", ["audience", "title"]), None);
        assert_eq!(nearest("tilte", ["audience", "title"]), Some("title"));
    }
}
