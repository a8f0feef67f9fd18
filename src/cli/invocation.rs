//! One invocation of the program: the shared options, where variables come from, when it is over, and how it speaks.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use jiff::tz::TimeZone;
use tokio::sync::watch;
use tokio::time::Instant;

use super::{Failure, Format, sending};
use crate::clock::{self, Clock};
use crate::counts::Counts;
use crate::db::Db;
use crate::problem::Problems;
use crate::settings::{Project, env};

/// One invocation: what the shared options say.
#[derive(Debug, Clone)]
pub struct Invocation {
    pub project_dir: PathBuf,
    pub format: Format,
    pub quiet: bool,
    pub(super) at: Option<String>,
    pub(super) variables: Variables,
    /// When it ends of its own accord: `--max-time`.
    pub(super) until: Option<Instant>,
    /// Turns true when it is to end; `None`: on a signal to the process.
    pub(super) stop: Option<watch::Receiver<bool>>,
}

/// Where `${NAME}` in okaeri.yaml gets its value.
#[derive(Debug, Clone)]
pub(super) enum Variables {
    /// The environment of the process.
    Process,
    /// These and no others, whatever the process was started with.
    Given(Arc<BTreeMap<&'static str, String>>),
}

impl Variables {
    pub(super) fn lookup(&self, name: &str) -> Option<String> {
        match self {
            Variables::Process => env::lookup(name),
            Variables::Given(given) => given.get(name).cloned(),
        }
    }
}

impl Invocation {
    /// Of a project whose settings see these variables and no others; says nothing, and is deaf to signals.
    pub fn inside(project_dir: PathBuf, variables: BTreeMap<&'static str, String>) -> Invocation {
        static NEVER: LazyLock<watch::Sender<bool>> = LazyLock::new(|| watch::Sender::new(false));
        Invocation {
            project_dir,
            format: Format::Text,
            quiet: true,
            at: None,
            variables: Variables::Given(Arc::new(variables)),
            until: None,
            stop: Some(NEVER.subscribe()),
        }
    }

    /// The same at another time.
    pub fn at(&self, instant: &str) -> Invocation {
        Invocation { at: Some(instant.to_owned()), ..self.clone() }
    }

    /// The project, checked; its problems end the verb, its warnings are told on stderr.
    pub fn project(&self) -> Result<Project, Failure> {
        let mut problems = Problems::new();
        let project = self.read_project(&mut problems);
        self.settle(problems)?;
        project.ok_or_else(|| Failure::Usage("the settings could not be read".to_owned()))
    }

    /// The project, if its settings can be used; what is wrong with them is among `problems`.
    pub(super) fn read_project(&self, problems: &mut Problems) -> Option<Project> {
        Project::load_with(&self.project_dir, |name| self.variables.lookup(name), problems)
    }

    /// The project with plain values in place of what is wrong, so that its other files can be checked too; never to be acted upon.
    pub(super) fn read_project_to_check(&self, problems: &mut Problems) -> Option<Project> {
        Project::load_to_check(&self.project_dir, |name| self.variables.lookup(name), problems)
    }

    /// End the verb if there are errors among `problems`; otherwise tell the warnings.
    pub fn settle(&self, problems: Problems) -> Result<(), Failure> {
        if problems.has_errors() {
            return Err(Failure::Problems(problems));
        }
        if !problems.is_empty() && !self.quiet {
            anstream::eprint!("{}", problems.to_text());
        }
        Ok(())
    }

    /// The project's database, open and up to date.
    pub async fn open_db(&self, project: &Project) -> Result<Db, Failure> {
        Ok(Db::open(&project.database_url()?).await?)
    }

    /// Whether this is a job of continuous integration, whose machine may be thrown away: `CI` is set, as all of them do.
    pub fn is_ci(&self) -> bool {
        self.variables.lookup("CI").is_some_and(|value| !matches!(value.as_str(), "" | "false" | "0"))
    }

    /// Who is logged in.
    pub fn login_name(&self) -> Option<String> {
        ["USER", "LOGNAME"].into_iter().find_map(|name| self.variables.lookup(name)).filter(|name| !name.is_empty())
    }

    /// The clock, moved by `--at` if given.
    pub fn clock(&self, zone: &TimeZone) -> Result<Clock, Failure> {
        let Some(text) = &self.at else { return Ok(Clock::real()) };
        clock::parse_instant(text, zone).map(Clock::planning_at).ok_or_else(|| {
            Failure::Usage(format!(
                "--at {text}: not an instant\nwrite 2026-11-24T09:00, 2026-11-24 or 2026-11-24T09:00:00+01:00"
            ))
        })
    }

    /// The same, over after this time, or when a signal asks for it from now on.
    pub fn within(&self, time: Option<Duration>) -> Invocation {
        drop(self.stop()); // listens from here on
        Invocation { until: time.map(|time| Instant::now() + time), ..self.clone() }
    }

    /// When it is over, if that was said.
    pub fn until(&self) -> Option<Instant> {
        self.until
    }

    /// Turns true when a signal asks for the end.
    pub fn stop(&self) -> watch::Receiver<bool> {
        self.stop.clone().unwrap_or_else(sending::stop_signal)
    }

    /// Why nothing more is to be begun: a signal asked for it, or the time is up.
    pub fn over(&self) -> Option<&'static str> {
        let is_up = self.until.is_some_and(|until| Instant::now() >= until);
        match *self.stop().borrow() {
            true => Some("stopped as asked"),
            false => is_up.then_some("the time is up"),
        }
    }

    /// How people and messages are counted in what is printed.
    pub fn counts(&self) -> Counts {
        if self.format == Format::Markdown { Counts::Few } else { Counts::Exact }
    }

    /// Print a result on stdout: `json` with `--format json`, else the text.
    pub fn print(&self, json: impl FnOnce() -> serde_json::Value, text: impl FnOnce() -> String) {
        match self.format {
            Format::Json => {
                let text = serde_json::to_string_pretty(&json()).expect("a JSON value serialises");
                anstream::println!("{text}");
            }
            Format::Text => anstream::print!("{}", text()),
            Format::Markdown => {
                let text = anstream::adapter::strip_str(&text()).to_string();
                anstream::print!("```\n{}```\n", without_addresses(&text));
            }
        }
    }

    /// Say something on stderr, unless `--quiet`.
    pub fn say(&self, text: impl std::fmt::Display) {
        if !self.quiet {
            anstream::eprintln!("{text}");
        }
    }
}

/// Text in which nobody's address stands: an answer of a mail server may have had one.
fn without_addresses(text: &str) -> String {
    let is_part = |c: char| !c.is_whitespace() && !"<>()[]\"',;:|`".contains(c);
    let mut parts = text.split('@');
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let local = out.chars().rev().take_while(|c| is_part(*c)).map(char::len_utf8).sum::<usize>();
        if local > 0 && part.starts_with(is_part) {
            out.truncate(out.len() - local);
            out.push('…');
        }
        out.push('@');
        out.push_str(part);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::without_addresses;

    #[test]
    fn addresses_in_the_words_of_others_are_cut() {
        assert_eq!(
            without_addresses("550 5.1.1 <mia.moe@example.com>: no such user"),
            "550 5.1.1 <…@example.com>: no such user"
        );
        assert_eq!(without_addresses("to 美咲@example.jp, x+y@example.net"), "to …@example.jp, …@example.net");
        assert_eq!(without_addresses("3 @ 09:00"), "3 @ 09:00");
    }
}
