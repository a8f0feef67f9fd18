//! `okaeri test`: the tests of segment and campaign files, without customers; with `--data` also on the project's database.
//!
//! A test that fails is the author's problem: exit code 2, and what failed is a result on standard output.

use std::fmt::Write as _;
use std::path::PathBuf;

use anstyle::{AnsiColor, Style};
use serde_json::{Value, json};

use self::campaign::CampaignTrial;
use super::junit::{self, Case, Outcome};
use super::loaded::Loaded;
use super::{Exit, Failure, Invocation, write_file};
use crate::campaign::Campaign;
use crate::clock::{self, Millis};
use crate::counts::Counts;
use crate::money::grouped;
use crate::problem::{Place, Problem, Problems, Severity, counted, nearest};
use crate::segment::Segment;
use crate::segment::trial::{self, Counterexample, Ground, Trial, Verdict, Who};

mod campaign;

#[derive(Debug, clap::Args)]
pub struct TestArgs {
    /// Segments and campaigns whose tests are run; without, all that have tests
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Also on the project's database: sizes, and what is expected of the whole segment, exactly
    #[arg(long)]
    data: bool,
    /// Write the results to this file as JUnit XML
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
}

pub async fn run(inv: &Invocation, args: TestArgs) -> Result<Exit, Failure> {
    let loaded = match Loaded::load(inv) {
        // Whoever reads the results is told of files that could not be tested too.
        Err(Failure::Problems(problems)) => {
            if let Some(file) = &args.junit {
                write_file(file, &junit::document(&untested(&problems)))?;
            }
            return Err(Failure::Problems(problems));
        }
        ended => ended?,
    };
    let (segments, campaigns) = chosen(&loaded, &args.names)?;
    let mut report = Report::default();
    for campaign in campaigns {
        report.campaigns.extend(campaign::run(inv, &loaded, campaign));
    }
    for segment in &segments {
        report.trials.extend(trial::run(&loaded.segments, segment, &loaded.project.settings));
    }
    if args.data {
        report.add_data(inv, &loaded, &segments).await?;
    }
    if let Some(file) = &args.junit {
        write_file(file, &junit::document(&report.cases()))?;
    }
    inv.print(|| report.to_json(), || report.to_text(inv.quiet, &args.names, inv.counts()));
    Ok(if report.failed() > 0 { Exit::Problems } else { Exit::Done })
}

/// Problems that kept the tests from being run, as failed tests of their files.
fn untested(problems: &Problems) -> Vec<Case> {
    let case = |p: &Problem| {
        let hint = p.hint.as_ref().map(|hint| format!("\n{hint}")).unwrap_or_default();
        let why = format!("{}: {}{hint}", p.place, p.message);
        Case { suite: p.place.file.to_string(), name: p.code.to_owned(), outcome: Outcome::Failed(why) }
    };
    problems.sorted().into_iter().filter(|p| p.severity == Severity::Error).map(case).collect()
}

/// The segments and campaigns of these names, or all that have tests.
fn chosen<'l>(loaded: &'l Loaded, names: &[String]) -> Result<(Vec<&'l Segment>, Vec<&'l Campaign>), Failure> {
    let (library, campaigns) = (&loaded.segments, &loaded.campaigns);
    if names.is_empty() {
        let has_tests = |s: &&Segment| !s.tests.cases.is_empty() || !s.tests.sets.is_empty();
        let tested = campaigns.iter().filter(|c| !c.tests.is_empty()).collect();
        return Ok((library.iter().filter(has_tests).collect(), tested));
    }
    for name in names {
        if library.get(name).is_none() && campaigns.get(name).is_none() {
            let remedy = match nearest(name, library.names().chain(campaigns.iter().map(|c| c.name.as_str()))) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "`okaeri segment list` and `okaeri campaign list` show all".to_owned(),
            };
            return Err(Failure::Usage(format!("there is no segment or campaign `{name}`\n{remedy}")));
        }
    }
    let of = |name: &String| (library.get(name), campaigns.get(name));
    Ok((names.iter().filter_map(|n| of(n).0).collect(), names.iter().filter_map(|n| of(n).1).collect()))
}

/// Everything that was tried.
#[derive(Default)]
struct Report {
    trials: Vec<Trial>,
    campaigns: Vec<CampaignTrial>,
    /// The instant of the data, where it was looked at.
    as_of: Option<String>,
}

fn is_failed(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Failed(_))
}

impl Report {
    /// What is only known with data takes the place of what was not checked.
    async fn add_data(&mut self, inv: &Invocation, loaded: &Loaded, segments: &[&Segment]) -> Result<(), Failure> {
        // Not among what is checked without a database: the settings may name one that is not set.
        let project = inv.project()?;
        let as_of: Millis = inv.clock(&project.settings.time_zone)?.as_of();
        let db = inv.open_db(&project).await?;
        for segment in segments {
            let on_data = trial::run_on_data(&db, &loaded.segments, segment, &project.settings, as_of).await?;
            self.trials.retain(|t| !(t.segment == segment.name && matches!(t.verdict, Verdict::NotChecked(_))));
            self.trials.extend(on_data);
        }
        self.trials.sort_by(|a, b| (&a.segment, &a.place).cmp(&(&b.segment, &b.place)));
        self.as_of = Some(clock::rfc3339(as_of, &project.settings.time_zone));
        Ok(())
    }

    /// As other tools count them.
    fn cases(&self) -> Vec<Case> {
        let outcome = |verdict: &Verdict| match verdict {
            Verdict::Passed(_) => Outcome::Passed,
            Verdict::Failed(failure) => Outcome::Failed(failed(failure, Counts::Exact)),
            Verdict::NotChecked(why) => Outcome::Skipped(why.clone()),
        };
        let case = |t: &Trial| Case { suite: t.segment.clone(), name: t.test.clone(), outcome: outcome(&t.verdict) };
        let of_campaign = |t: &CampaignTrial| Case {
            suite: t.campaign.clone(),
            name: t.test.clone(),
            outcome: t.failed.clone().map_or(Outcome::Passed, Outcome::Failed),
        };
        self.trials.iter().map(case).chain(self.campaigns.iter().map(of_campaign)).collect()
    }

    fn failed(&self) -> usize {
        self.count(is_failed) + self.campaigns.iter().filter(|t| t.failed.is_some()).count()
    }

    fn count(&self, of: impl Fn(&Verdict) -> bool) -> usize {
        self.trials.iter().filter(|t| of(&t.verdict)).count()
    }

    fn to_json(&self) -> Value {
        let trials: Vec<Value> = self.trials.iter().map(trial_json).collect();
        json!({
            "as_of": self.as_of, "tests": trials,
            "campaign_tests": self.campaigns.iter().map(CampaignTrial::as_json).collect::<Vec<_>>(),
            "passed": self.trials.len() + self.campaigns.len() - self.failed() - self.count(|v| matches!(v, Verdict::NotChecked(_))),
            "failed": self.failed(), "not_checked": self.count(|v| matches!(v, Verdict::NotChecked(_))),
        })
    }

    fn to_text(&self, only_failures: bool, names: &[String], counts: Counts) -> String {
        if self.trials.is_empty() && self.campaigns.is_empty() {
            let whose = if names.is_empty() {
                "no segment or campaign has tests".to_owned()
            } else {
                format!("{} has no tests", names.join(", "))
            };
            return format!(
                "{whose}\nwrite the first one at the end of a segment's file:\n\n  tests:\n    - case: a customer with six orders is in\n      \
                 given: {{ customer: {{ orders: 6, last_order: 20d ago }} }}\n      expect: in\n"
            );
        }
        let bold = Style::new().bold();
        let mut out = String::new();
        let mut segment = "";
        for trial in self.trials.iter().filter(|t| !only_failures || is_failed(&t.verdict)) {
            if trial.segment != segment {
                segment = &trial.segment;
                let _ = writeln!(out, "{bold}{segment}{bold:#}");
            }
            write_trial(trial, counts, &mut out);
        }
        let mut campaign = "";
        for trial in self.campaigns.iter().filter(|t| !only_failures || t.failed.is_some()) {
            if trial.campaign != campaign {
                campaign = &trial.campaign;
                let _ = writeln!(out, "{bold}{campaign}{bold:#}");
            }
            write_line(trial.failed.is_none().into(), &trial.test, "", &trial.place, &mut out);
            if let Some(why) = &trial.failed {
                out.push_str(&indented(why, "      "));
            }
        }
        let all = self.trials.len() + self.campaigns.len();
        let (failed, open) = (self.failed(), self.count(|v| matches!(v, Verdict::NotChecked(_))));
        if only_failures && failed == 0 {
            return out;
        }
        let _ = write!(out, "{}: {} passed, {failed} failed", counted(all, "test"), all - failed - open);
        if open > 0 {
            let _ = write!(out, ", {open} not checked");
        }
        out.push('\n');
        out
    }
}

fn write_trial(trial: &Trial, counts: Counts, out: &mut String) {
    let (mark, note) = match &trial.verdict {
        Verdict::Passed(ground) => (Mark::Passed, passed(*ground, counts)),
        Verdict::Failed(_) => (Mark::Failed, String::new()),
        Verdict::NotChecked(why) => (Mark::Open, format!("not checked: {why}")),
    };
    write_line(mark, &trial.test, &note, &trial.place, out);
    if let Verdict::Failed(failure) = &trial.verdict {
        out.push_str(&indented(&failed(failure, counts), "      "));
    }
}

/// How a test ended, at a glance.
enum Mark {
    Passed,
    Failed,
    Open,
}

impl From<bool> for Mark {
    fn from(passed: bool) -> Mark {
        if passed { Mark::Passed } else { Mark::Failed }
    }
}

fn write_line(mark: Mark, test: &str, note: &str, place: &Place, out: &mut String) {
    let dim = Style::new().dimmed();
    let (mark, colour) = match mark {
        Mark::Passed => ("✓ passed", AnsiColor::Green),
        Mark::Failed => ("✗ failed", AnsiColor::Red),
        Mark::Open => ("- open  ", AnsiColor::Yellow),
    };
    let style = Style::new().fg_color(Some(colour.into())).bold();
    let note = if note.is_empty() { String::new() } else { format!("  {dim}({note}){dim:#}") };
    let _ = writeln!(out, "  {style}{mark}{style:#}  {test}{note}  {dim}{place}{dim:#}");
}

fn passed(ground: Ground, counts: Counts) -> String {
    match ground {
        Ground::Case => String::new(),
        Ground::Invented(people) => format!("nobody breaks it among {} invented people", grouped(people as i64)),
        Ground::Data(people) if counts.hides(people) => format!("on the data: {} people", counts.of(people)),
        Ground::Data(people) => format!("on the data: {}", people_text(people)),
    }
}

fn failed(failure: &trial::Failure, counts: Counts) -> String {
    match failure {
        trial::Failure::Case { expected_in, proof } => {
            let (expected, found) = if *expected_in { ("in", "out") } else { ("out", "in") };
            format!("expected {expected}, found {found}:\n{}", proof.to_text())
        }
        trial::Failure::Unstated(given) => {
            let lines: String = given.iter().map(|g| format!("  {g}\n")).collect();
            format!(
                "the rule asks what the case does not say of this buyer; say it under `given`, for example:\n{lines}"
            )
        }
        trial::Failure::Counterexample(found) => counterexample(found),
        trial::Failure::People { people, examples } => {
            if counts == Counts::Few {
                return format!("on the data, broken by {}\n", counts.of(*people));
            }
            let more = if *people > examples.len() as i64 { " …" } else { "" };
            format!(
                "on the data, broken by {}: {}{more}\n`okaeri segment explain NAME --customer ID` shows why\n",
                people_text(*people),
                examples.join(", ")
            )
        }
        trial::Failure::Size { people, everyone } => {
            let share = if *everyone > 0 { *people as f64 * 100.0 / *everyone as f64 } else { 0.0 };
            let share = counts.shows(*people, || format!("{share:.2} %"));
            format!("on the data it has {} of {}: {share}\n", counts.of(*people), grouped(*everyone))
        }
    }
}

fn counterexample(found: &Counterexample) -> String {
    let mut out = match &found.who {
        Who::Case { name, place } => format!("broken by the person of the case `{name}` ({place})\n"),
        Who::Invented { case } => {
            format!(
                "broken by somebody like this; paste it under `tests:` and say what you mean:\n{}",
                indented(case, "  ")
            )
        }
    };
    for (name, proof) in &found.proofs {
        let verdict = if proof.holds { "in" } else { "not in" };
        let _ = write!(out, "{verdict} {name}:\n{}", indented(&proof.to_text(), "  "));
    }
    out
}

fn indented(text: &str, by: &str) -> String {
    text.lines().map(|line| format!("{by}{line}\n")).collect()
}

/// `1 person`, `1,234 people`.
fn people_text(n: i64) -> String {
    if n == 1 { "1 person".to_owned() } else { format!("{} people", grouped(n)) }
}

fn trial_json(trial: &Trial) -> Value {
    let Trial { segment, place, test, verdict } = trial;
    let (word, detail) = match verdict {
        Verdict::Passed(ground) => ("passed", ground_json(*ground)),
        Verdict::Failed(failure) => ("failed", failure_json(failure)),
        Verdict::NotChecked(why) => ("not_checked", json!({ "why": why })),
    };
    json!({
        "segment": segment, "test": test, "file": &*place.file, "line": place.line, "column": place.column,
        "verdict": word, "detail": detail,
    })
}

fn ground_json(ground: Ground) -> Value {
    match ground {
        Ground::Case => json!({ "on": "case" }),
        Ground::Invented(people) => json!({ "on": "invented people", "people": people }),
        Ground::Data(people) => json!({ "on": "data", "people": people }),
    }
}

fn failure_json(failure: &trial::Failure) -> Value {
    match failure {
        trial::Failure::Case { expected_in, proof } => {
            json!({ "on": "case", "expected": if *expected_in { "in" } else { "out" }, "proof": proof })
        }
        trial::Failure::Unstated(given) => json!({ "on": "case", "unstated": given }),
        trial::Failure::Counterexample(found) => {
            let proofs: Vec<Value> = found
                .proofs
                .iter()
                .map(|(name, proof)| json!({ "segment": name, "member": proof.holds, "proof": proof }))
                .collect();
            match &found.who {
                Who::Case { name, place } => {
                    json!({ "on": "case", "case": name, "place": place.to_string(), "proofs": proofs })
                }
                Who::Invented { case } => json!({ "on": "invented people", "yaml": case, "proofs": proofs }),
            }
        }
        trial::Failure::People { people, examples } => json!({ "on": "data", "people": people, "examples": examples }),
        trial::Failure::Size { people, everyone } => json!({ "on": "data", "people": people, "everyone": everyone }),
    }
}
