//! `okaeri import`: files named on the command line, or every source of okaeri.yaml in the order of dependence.

use std::fmt::Write as _;
use std::io::IsTerminal as _;
use std::path::PathBuf;

use indicatif::{ProgressBar, ProgressStyle};

use super::{Exit, Failure, Format, Invocation};
use crate::clock;
use crate::data::{self, From, ImportError, ImportRequest, ImportTotals, Kind, Place, Progress};
use crate::db::Db;
use crate::problem::nearest;
use crate::settings::Project;

/// Bring in customers, consents, products, orders, lines, events or suppressions from CSV or JSONL files (plain or gzip)
#[derive(Debug, clap::Args)]
pub struct ImportArgs {
    /// What the files hold: products, customers, consents, orders, lines, events or suppressions; all `sources:` when not given
    kind: Option<String>,
    /// The files; `-` is standard input
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Their column = ours, such as `product_id=sku`; `theirs=-` leaves a column out
    #[arg(long, value_name = "THEIRS=OURS")]
    map: Vec<String>,
    /// Exit with 2 when any row is rejected
    #[arg(long)]
    strict: bool,
}

/// One source to read.
struct Task {
    kind: Kind,
    path: PathBuf,
    name: String,
    map: Vec<(String, String)>,
}

pub async fn run(inv: &Invocation, args: ImportArgs) -> Result<Exit, Failure> {
    let project = inv.project()?;
    let strict = args.strict;
    let tasks = tasks(&project, args)?;
    let db = inv.open_db(&project).await?;
    let say = |totals: &ImportTotals| {
        if inv.format == Format::Text {
            anstream::print!("{}", line(totals));
        }
    };
    let all = read(inv, &project, &db, tasks, say).await?;
    db.close().await;
    inv.print(|| serde_json::json!({ "imports": all }), String::new);
    let failed = all.iter().any(|t| t.nothing_accepted() || (strict && t.rejected > 0));
    Ok(if failed { Exit::Problems } else { Exit::Done })
}

/// Read every source of okaeri.yaml, in the order of dependence.
pub async fn all_sources(inv: &Invocation, project: &Project, db: &Db) -> Result<Vec<ImportTotals>, Failure> {
    read(inv, project, db, sources(project)?, |_| ()).await
}

/// Read these one after the other; `through` hears of each that is.
async fn read(
    inv: &Invocation,
    project: &Project,
    db: &Db,
    tasks: Vec<Task>,
    through: impl Fn(&ImportTotals),
) -> Result<Vec<ImportTotals>, Failure> {
    let bytes = db.lies_badly().await?;
    if bytes > 0 {
        let megabytes = grouped(bytes as u64 / 1_000_000);
        anstream::eprintln!(
            "{megabytes} MB of tables are laid out anew, once; who uses them meanwhile waits some minutes"
        );
        db.lay_out().await?;
    }
    let mut all = Vec::new();
    for task in tasks {
        let bar = progress_bar(inv);
        let request = ImportRequest {
            kind: task.kind,
            from: if task.name == "-" { From::Reader(Box::new(std::io::stdin())) } else { From::File(task.path) },
            name: task.name,
            map: task.map,
            rejected_dir: Some(rejected_dir(project)),
            now: clock::now(),
        };
        let ended = data::import(db, &project.settings, request, |p| show(&bar, p)).await;
        bar.finish_and_clear();
        let totals = ended?;
        tell(inv, &totals);
        through(&totals);
        all.push(totals);
    }
    Ok(all)
}

fn tasks(project: &Project, args: ImportArgs) -> Result<Vec<Task>, Failure> {
    let map = args.map.iter().map(|pair| split_pair(pair)).collect::<Result<Vec<_>, _>>()?;
    let Some(word) = args.kind else {
        if !map.is_empty() {
            return Err(Failure::Usage(
                "--map needs a kind and a file\nmappings of sources stand in okaeri.yaml".into(),
            ));
        }
        return sources(project);
    };
    let names = Kind::ALL.map(Kind::name);
    let kind = Kind::parse(&word).ok_or_else(|| {
        let hint = nearest(&word, names).map_or_else(|| names.join(", "), |n| format!("did you mean `{n}`?"));
        Failure::Usage(format!("`{word}` is not a kind of data\n{hint}"))
    })?;
    if args.files.is_empty() {
        return Err(Failure::Usage(format!("no file of {word} is named\nokaeri import {word} FILE…")));
    }
    let task = |path: PathBuf| Task { kind, name: path.display().to_string(), path, map: map.clone() };
    Ok(args.files.into_iter().map(task).collect())
}

/// Where rejected rows are kept; without the `./` of a project that is the present folder.
fn rejected_dir(project: &Project) -> PathBuf {
    let dir = project.dir.join(".okaeri/rejected");
    dir.strip_prefix(".").map(PathBuf::from).unwrap_or(dir)
}

fn sources(project: &Project) -> Result<Vec<Task>, Failure> {
    let mut tasks: Vec<Task> = project
        .settings
        .sources
        .iter()
        .map(|s| Task {
            kind: Kind::parse(&s.kind).expect("settings check the kinds of sources"),
            path: project.dir.join(&s.file),
            name: s.file.clone(),
            map: s.map.clone(),
        })
        .collect();
    if tasks.is_empty() {
        let remedy = "name them: okaeri import KIND FILE…, or list them under `sources:`";
        return Err(Failure::Usage(format!("okaeri.yaml has no `sources:` and no file is named\n{remedy}")));
    }
    let missing: Vec<&str> = tasks.iter().filter(|t| !t.path.exists()).map(|t| &*t.name).collect();
    if !missing.is_empty() {
        let (files, names) = (missing.join(", "), if missing.len() == 1 { "names it" } else { "names them" });
        return Err(Failure::Usage(format!(
            "{files}: no such file\n`sources:` of okaeri.yaml {names}; nothing was imported\n\
             what git ignores is in no clone: let the job fetch it before, or keep it elsewhere and name that place"
        )));
    }
    tasks.sort_by_key(|t| t.kind);
    Ok(tasks)
}

fn split_pair(pair: &str) -> Result<(String, String), Failure> {
    match pair.split_once('=') {
        Some((theirs, ours)) if !theirs.trim().is_empty() && !ours.trim().is_empty() => {
            Ok((theirs.trim().to_owned(), ours.trim().to_owned()))
        }
        _ => {
            Err(Failure::Usage(format!("--map {pair}: not a mapping\nwrite --map theirs=ours, such as product_id=sku")))
        }
    }
}

impl std::convert::From<ImportError> for Failure {
    fn from(e: ImportError) -> Failure {
        match e {
            ImportError::Db(e) => e.into(),
            ImportError::Rejects { .. } => Failure::Environment(e.to_string()),
            ImportError::Source { .. } | ImportError::Broken { .. } => Failure::Usage(e.to_string()),
        }
    }
}

/// A bar on a terminal, nothing elsewhere.
fn progress_bar(inv: &Invocation) -> ProgressBar {
    if inv.quiet || !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:32} {percent:>3} %  {msg}  {eta}").expect("a well-formed template");
    ProgressBar::new(0).with_style(style)
}

fn show(bar: &ProgressBar, progress: Progress) {
    bar.set_length(progress.size.unwrap_or(progress.bytes));
    bar.set_position(progress.bytes);
    bar.set_message(format!("{} rows", grouped(progress.rows)));
}

/// Rejected rows and warnings, on stderr; rejected rows even with `--quiet`, because they are problems.
fn tell(inv: &Invocation, totals: &ImportTotals) {
    let places = |list: &[Place], word: &str, all: u64| {
        for Place { line, reason } in list {
            anstream::eprintln!("{}:{line}: {word}: {reason}", totals.source);
        }
        let more = all - list.len() as u64;
        if more > 0 {
            anstream::eprintln!("    and {} more", grouped(more));
        }
    };
    places(&totals.rejected_rows, "rejected", totals.rejected);
    if let Some(file) = &totals.rejected_file {
        anstream::eprintln!(
            "    rejected rows are kept in {}; correct them there and import that file the same way",
            file.display()
        );
    }
    if inv.quiet {
        return;
    }
    places(&totals.warned_rows, "warning", totals.warnings);
    if !totals.ignored_columns.is_empty() {
        let names = totals.ignored_columns.join(", ");
        anstream::eprintln!("{}: columns that {} have no place for: {names}", totals.source, totals.kind);
    }
    if totals.read == 0 {
        anstream::eprintln!("{}: warning: no rows", totals.source);
    }
}

fn line(totals: &ImportTotals) -> String {
    let mut out = format!(
        "{:<12} {}: {} read, {} new or changed, {} unchanged",
        totals.kind,
        totals.source,
        grouped(totals.read),
        grouped(totals.changed),
        grouped(totals.unchanged)
    );
    for (n, what) in [
        (totals.repeated, "repeated"),
        (totals.rejected, "rejected"),
        (totals.warnings, "with a warning"),
        (totals.consents_changed, "consents changed"),
        (totals.customers_created, "customers first seen here"),
    ] {
        if n > 0 {
            let _ = write!(out, ", {} {what}", grouped(n));
        }
    }
    let seconds = totals.milliseconds as f64 / 1000.0;
    let _ = writeln!(out, " ({seconds:.1} s, {} rows/s)", grouped(totals.rows_per_second()));
    out
}

/// `1234567` → `1,234,567`.
fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, d) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(d);
    }
    out
}
