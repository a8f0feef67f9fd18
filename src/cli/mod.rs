//! The command line: one file per verb, each reading like a paragraph; here the conventions they share.
//!
//! Stdout is data, stderr is talk. `--format json` prints one JSON value on stdout. Exit codes are [`Exit`] and [`Failure::exit`].

mod calendar;
mod campaign;
mod catch;
mod check;
mod completions;
mod customer;
pub mod demo;
mod dkim;
mod doctor;
mod drained;
mod follow;
mod import;
mod init;
mod invocation;
mod junit;
mod ledger;
mod loaded;
mod model;
mod new_file;
mod plan;
mod preview;
mod profile;
mod queue;
mod recommend;
mod report;
mod revision;
mod reward;
pub mod run;
mod schema;
mod segment;
mod send;
mod sending;
mod serve;
mod suppress;
mod test;
mod why;
mod work;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};

use crate::db::DbError;
use crate::plan::PlanError;
use crate::problem::Problems;
use crate::settings::NotSet;
pub use invocation::Invocation;
use invocation::Variables;
use new_file::NewFile;

/// What a verb that may send ends with.
const EXIT_CODES: &str = "\
Exit codes: 0 done · 1 a bug · 2 problems in files or usage · 3 done, but this invocation left messages in doubt · 4 a run is paused ·
  5 database, mail server or DNS unavailable · 75 work remains, run again later";

/// The heading over what every verb accepts.
const EVERYWHERE: &str = "Everywhere";

/// Personal e-mail that brings customers back: segments, plans and a durable queue, kept in git.
#[derive(Debug, Parser)]
#[command(name = "okaeri", version, propagate_version = true, after_help = EXIT_CODES)]
pub struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    verb: Verb,
}

/// What every verb accepts.
#[derive(Debug, clap::Args)]
struct Global {
    /// The project's folder
    #[arg(long, global = true, help_heading = EVERYWHERE, value_name = "DIR", default_value = ".")]
    project: PathBuf,
    /// How results are printed on standard output
    #[arg(long, global = true, help_heading = EVERYWHERE, value_enum, default_value = "text")]
    format: Format,
    /// Say nothing but results and problems
    #[arg(long, short, global = true, help_heading = EVERYWHERE)]
    quiet: bool,
    /// Look, plan and report as if it were this instant (2026-11-24T09:00, in the project's time zone). What is sent so leaves at once, also what
    /// quiet hours or a person's own clock would hold until later; only to a mail server on this machine
    #[arg(long, global = true, help_heading = EVERYWHERE, value_name = "INSTANT")]
    at: Option<String>,
    /// Write down which SQL statements run, for tests
    #[cfg(debug_assertions)]
    #[arg(long, global = true, hide = true, value_name = "FILE")]
    record_statements: Option<PathBuf>,
}

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    Text,
    Json,
    /// For a comment on a pull request or a job's summary: no person is named, and small groups are not counted exactly (plan, run, report, calendar, test)
    Markdown,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Write a small project that works at once
    Init(init::InitArgs),
    /// Find all problems of the project's files; needs no database unless `--data` is given
    Check(check::CheckArgs),
    /// Run the tests of segment and campaign files; needs no database
    Test(test::TestArgs),
    /// Bring in customers, orders, events and the rest from files
    Import(import::ImportArgs),
    /// Bring every customer's numbers up to date
    Profile(profile::ProfileArgs),
    /// Learn from the orders what to expect of each customer: orders to come, lifetime value, churn
    Model(model::ModelArgs),
    /// Learn a data contract from the data; write JSON Schemas, by which editors complete and underline (`schema editor`)
    Schema(schema::SchemaArgs),
    /// Who is in which segment, and why
    Segment(segment::SegmentArgs),
    /// What each customer might like: learn it, look at it, prove it on the shop's past
    Recommend(recommend::RecommendArgs),
    /// What pools of rewards have, codes that come in, and which went to whom
    Reward(reward::RewardArgs),
    /// One customer: their numbers, scores, segments, and what happened
    Customer(customer::CustomerArgs),
    /// The project's campaigns
    Campaign(campaign::CampaignArgs),
    /// Who would get a campaign, who would not, and why; sends nothing
    Plan(plan::PlanArgs),
    /// Look at a campaign's mails, write them to files, or send yourself a test copy
    Preview(preview::PreviewArgs),
    /// Keep mail on this machine instead of delivering it, to try a campaign out
    Catch(catch::CatchArgs),
    /// Look for whatever keeps mail from going out or from arriving: settings, database, mail server, DNS
    Doctor(doctor::DoctorArgs),
    /// Make keys that sign mail, and the DNS records that publish them
    Dkim(dkim::DkimArgs),
    /// Everything that is due: what schedules ask for, and what waits in the queue
    #[command(after_help = EXIT_CODES)]
    Run(run::RunArgs),
    /// What will go out in the days to come, and to about how many
    Calendar(calendar::CalendarArgs),
    /// Plan a campaign and deliver it
    #[command(after_help = EXIT_CODES)]
    Send(send::SendArgs),
    /// Deliver everything that is due
    #[command(after_help = EXIT_CODES)]
    Work(work::WorkArgs),
    /// Look at the queue, prove that it adds up, hold, release and cancel runs, settle doubts
    Queue(queue::QueueArgs),
    /// One person: every message to them and what happened, and why the rest was not sent
    Why(why::WhyArgs),
    /// Never mail an address again, or lift that
    Suppress(suppress::SuppressArgs),
    /// Answer unsubscribe links and preference pages until told to stop
    Serve(serve::ServeArgs),
    /// What a campaign did and what it caused; or the shop's cohorts and lifecycle flows
    Report(report::ReportArgs),
    /// The whole way on a sample shop, in a fresh folder; no mail leaves this machine
    Demo(demo::DemoArgs),
    /// What your shell needs to complete commands and options
    Completions(completions::CompletionsArgs),
}

impl Verb {
    /// Whether what it prints names nobody, so that it may stand where anybody reads it.
    fn has_markdown(&self) -> bool {
        matches!(self, Verb::Plan(_) | Verb::Run(_) | Verb::Report(_) | Verb::Calendar(_) | Verb::Test(_))
    }
}

/// How a verb ended when it did what was asked. The numbers are part of the interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// 0: done.
    Done,
    /// 2: problems in files or usage.
    Problems,
    /// 3: done, but this invocation left messages in state `unknown`.
    Unknown,
    /// 4: stopped by the breaker.
    Breaker,
    /// 5: what was asked about could not be reached.
    Unavailable,
    /// 75: work remains (EX_TEMPFAIL); run again later.
    WorkRemains,
}

/// Why a verb could not do what was asked.
#[derive(Debug)]
pub enum Failure {
    /// Problems in the author's files: exit code 2.
    Problems(Problems),
    /// The request itself makes no sense: exit code 2. Message and, on a second line, the remedy.
    Usage(String),
    /// Database or mail server unavailable: exit code 5.
    Environment(String),
    /// Nothing leaves until somebody has looked: exit code 4.
    Held(String),
    /// Another process is at work; later it may go: exit code 75.
    Busy(String),
}

impl Exit {
    pub(crate) fn code(self) -> u8 {
        match self {
            Exit::Done => 0,
            Exit::Problems => 2,
            Exit::Unknown => 3,
            Exit::Breaker => 4,
            Exit::Unavailable => 5,
            Exit::WorkRemains => 75,
        }
    }
}

impl Failure {
    /// In a word, for machines.
    fn kind(&self) -> &'static str {
        match self {
            Failure::Problems(_) => "problems",
            Failure::Usage(_) => "usage",
            Failure::Held(_) => "held",
            Failure::Environment(_) => "environment",
            Failure::Busy(_) => "busy",
        }
    }

    fn code(&self) -> u8 {
        match self {
            Failure::Problems(_) | Failure::Usage(_) => 2,
            Failure::Held(_) => 4,
            Failure::Environment(_) => 5,
            Failure::Busy(_) => 75,
        }
    }
}

impl From<DbError> for Failure {
    fn from(e: DbError) -> Failure {
        match e {
            DbError::Address(_) => Failure::Usage(e.to_string()),
            DbError::SchemaOfAnother(_) => Failure::Environment(format!(
                "{e}\nlet `okaeri doctor` run once with a login that may; where the database is ahead, bring this okaeri up to date"
            )),
            e => Failure::Environment(e.to_string()),
        }
    }
}

impl From<PlanError> for Failure {
    fn from(e: PlanError) -> Failure {
        match e {
            PlanError::Db(e) => e.into(),
            e => Failure::Usage(e.to_string()),
        }
    }
}

impl From<NotSet> for Failure {
    fn from(e: NotSet) -> Failure {
        Failure::Usage(e.to_string())
    }
}

/// The whole program: read the arguments, run the verb, give the exit code.
pub fn start() -> ExitCode {
    let cli = Cli::parse();
    rustls::crypto::ring::default_provider().install_default().expect("no other provider was installed before");
    // One processor is left to the thread of SQLite, or to the server: with as many threads as processors they take turns instead, which costs a
    // tenth of a send.
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads((processors - 1).max(1))
        .enable_all()
        .build()
        .expect("the system gives threads")
        .block_on(invoke(cli))
}

async fn invoke(cli: Cli) -> ExitCode {
    #[cfg(debug_assertions)]
    if let Some(file) = &cli.global.record_statements {
        crate::db::record_statements(file).expect("the file of --record-statements can be made");
    }
    #[cfg(debug_assertions)]
    if let Some(text) = Variables::Process.lookup("OKAERI_FAILPOINT") {
        crate::failpoint::arm(&text).expect("OKAERI_FAILPOINT is understood");
    }
    #[cfg(debug_assertions)]
    if let Some(text) = Variables::Process.lookup("OKAERI_CLOCK_SHIFT") {
        crate::clock::shift_by(text.parse().expect("OKAERI_CLOCK_SHIFT is a number of milliseconds"));
    }
    let Global { project, format, quiet, at, .. } = cli.global;
    if format == Format::Markdown && !cli.verb.has_markdown() {
        anstream::eprintln!("error: this command has no Markdown\n    plan, run, report, calendar and test have");
        return ExitCode::from(Exit::Problems.code());
    }
    let inv =
        Invocation { project_dir: project, format, quiet, at, variables: Variables::Process, until: None, stop: None };
    let ended = match cli.verb {
        Verb::Init(args) => init::run(&inv, args).await,
        Verb::Check(args) => check::run(&inv, args).await,
        Verb::Test(args) => test::run(&inv, args).await,
        Verb::Import(args) => import::run(&inv, args).await,
        Verb::Profile(args) => profile::run(&inv, args).await,
        Verb::Model(args) => model::run(&inv, args).await,
        Verb::Schema(args) => schema::run(&inv, args).await,
        Verb::Segment(args) => segment::run(&inv, args).await,
        Verb::Recommend(args) => recommend::run(&inv, args).await,
        Verb::Reward(args) => reward::run(&inv, args).await,
        Verb::Customer(args) => customer::run(&inv, args).await,
        Verb::Campaign(args) => campaign::run(&inv, args).await,
        Verb::Plan(args) => plan::run(&inv, args).await,
        Verb::Preview(args) => preview::run(&inv, args).await,
        Verb::Catch(args) => catch::run(&inv, args).await,
        Verb::Doctor(args) => doctor::run(&inv, args).await,
        Verb::Dkim(args) => dkim::run(&inv, args).await,
        Verb::Run(args) => run::run(&inv, args).await,
        Verb::Calendar(args) => calendar::run(&inv, args).await,
        Verb::Send(args) => send::run(&inv, args).await,
        Verb::Work(args) => work::run(&inv, args).await,
        Verb::Queue(args) => queue::run(&inv, args).await,
        Verb::Why(args) => why::run(&inv, args).await,
        Verb::Suppress(args) => suppress::run(&inv, args).await,
        Verb::Serve(args) => serve::run(&inv, args).await,
        Verb::Report(args) => report::run(&inv, args).await,
        Verb::Demo(args) => demo::run(&inv, args).await,
        Verb::Completions(args) => completions::run(&args),
    };
    match ended {
        Ok(exit) => ExitCode::from(exit.code()),
        Err(failure) => {
            tell(&inv, &failure);
            ExitCode::from(failure.code())
        }
    }
}

fn tell(inv: &Invocation, failure: &Failure) {
    match failure {
        Failure::Problems(problems) if inv.format == Format::Json => {
            anstream::println!("{}", serde_json::json!({ "problems": problems.to_json() }));
        }
        Failure::Problems(problems) => anstream::eprint!("{}", problems.to_text()),
        Failure::Usage(text) | Failure::Environment(text) | Failure::Held(text) | Failure::Busy(text) => {
            let red = anstyle::Style::new().fg_color(Some(anstyle::AnsiColor::Red.into())).bold();
            let (first, rest) = text.split_once('\n').unwrap_or((text, ""));
            anstream::eprintln!("{red}error{red:#}: {first}");
            for line in rest.lines() {
                anstream::eprintln!("    {line}");
            }
        }
    }
}

/// Write a file that was asked for.
fn write_file(path: &Path, text: &str) -> Result<(), Failure> {
    std::fs::write(path, text).map_err(|e| Failure::Environment(format!("cannot write {}: {e}", path.display())))
}

/// Text that others wrote, safe in a terminal: what it would act upon, and what turns the direction of writing, is written as its code.
fn shown(text: &str) -> String {
    let acts = |c: char| {
        c.is_control() || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars().fold(String::with_capacity(text.len()), |mut out, c| {
        if acts(c) {
            out.extend(c.escape_unicode())
        } else {
            out.push(c)
        }
        out
    })
}

/// A table with a heading and no frame but a line under it.
fn table<const N: usize>(heading: [&str; N]) -> comfy_table::Table {
    let mut t = comfy_table::Table::new();
    t.load_preset(comfy_table::presets::NOTHING).set_header(heading);
    t
}

#[cfg(test)]
mod tests {
    use super::shown;

    #[test]
    fn text_of_others_is_written_and_not_obeyed() {
        assert_eq!(shown("美咲 naïve €"), "美咲 naïve €");
        assert_eq!(shown("a\u{1b}[31m\u{202e}b\n"), "a\\u{1b}[31m\\u{202e}b\\u{a}");
    }
}
