//! `okaeri segment …`: looking at segments; one file per sub-verb, here what they share.

mod diff;
mod explain;
mod export;
mod list;
mod overlap;
pub(super) mod sample;
mod show;

use super::{Exit, Failure, Invocation};
use crate::clock::{self, Clock, Millis};
use crate::db::Db;
use crate::money::grouped;
use crate::problem::{Problems, nearest};
use crate::segment::compare::Several;
use crate::segment::{Library, Prepared, SEGMENTS_MAX, Segment, Size, kept};
use crate::settings::{Project, Settings};

#[derive(Debug, clap::Args)]
pub struct SegmentArgs {
    #[command(subcommand)]
    verb: SegmentVerb,
}

#[derive(Debug, clap::Subcommand)]
enum SegmentVerb {
    /// All segments with their size and what their people are worth
    List,
    /// One segment: its rule in words, its dates, its size and its SQL
    Show {
        /// The segment's name
        name: String,
    },
    /// Why a customer is in a segment, or why not
    Explain {
        /// The segment's name
        name: String,
        /// The customer's id
        #[arg(long, value_name = "ID")]
        customer: String,
    },
    /// Two segments beside each other, or what an edit of the files does to the people
    Diff(diff::DiffArgs),
    /// Which segments share people
    Overlap(overlap::OverlapArgs),
    /// A few members, drawn by lot; addresses are masked
    Sample(sample::SampleArgs),
    /// Hand the members who agreed to other channels: advertising audiences, call lists, plain CSV
    Export(export::ExportArgs),
}

pub async fn run(inv: &Invocation, args: SegmentArgs) -> Result<Exit, Failure> {
    let project = inv.project()?;
    let mut problems = Problems::new();
    let library = Library::load(&project, &mut problems);
    inv.settle(problems)?;
    let clock = inv.clock(&project.settings.time_zone)?;
    let db = inv.open_db(&project).await?;
    let at = Asked { inv, project: &project, library: &library, db: &db, clock, as_of: clock.as_of() };
    match args.verb {
        SegmentVerb::List => at.list().await,
        SegmentVerb::Show { name } => at.show(&name).await,
        SegmentVerb::Explain { name, customer } => at.explain(&name, &customer).await,
        SegmentVerb::Diff(args) => at.diff(args).await,
        SegmentVerb::Overlap(args) => at.overlap(args).await,
        SegmentVerb::Sample(args) => at.sample(args).await,
        SegmentVerb::Export(args) => at.export(args).await,
    }
}

/// What every sub-verb is asked with.
struct Asked<'a> {
    inv: &'a Invocation,
    project: &'a Project,
    library: &'a Library,
    db: &'a Db,
    clock: Clock,
    as_of: Millis,
}

impl Asked<'_> {
    fn segment(&self, name: &str) -> Result<&Segment, Failure> {
        self.library.get(name).ok_or_else(|| unknown_segment(name, self.library.names()))
    }

    async fn prepare(&self, names: &[&str]) -> Result<Prepared, Failure> {
        prepare(self.db, &self.project.settings, self.library, names, self.as_of).await
    }

    fn instant(&self, at: Millis) -> String {
        clock::rfc3339(at, &self.project.settings.time_zone)
    }
}

fn unknown_segment<'n>(name: &str, known: impl Iterator<Item = &'n str>) -> Failure {
    let remedy = match nearest(name, known) {
        Some(near) => format!("did you mean `{near}`?"),
        None => "`okaeri segment list` shows all".to_owned(),
    };
    Failure::Usage(format!("there is no segment `{name}`\n{remedy}"))
}

/// Segments by name, ready to be decided.
pub async fn prepare(
    db: &Db,
    settings: &Settings,
    library: &Library,
    names: &[&str],
    as_of: Millis,
) -> Result<Prepared, Failure> {
    let compiled = library.compile(names, as_of, settings).map_err(|e| Failure::Usage(e.to_string()))?;
    Ok(compiled.prepare(db).await?)
}

/// Any number of segments, ready to be evaluated together.
async fn several(
    db: &Db,
    settings: &Settings,
    library: &Library,
    names: &[String],
    as_of: Millis,
) -> Result<Several, Failure> {
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut parts = Vec::new();
    for part in names.chunks(SEGMENTS_MAX) {
        parts.push(prepare(db, settings, library, part, as_of).await?);
    }
    Ok(Several::of(parts))
}

/// Every segment with its size, by name, and everybody. Members are kept and brought up to date on the way, unless `--at` asks about another time
/// or another process is at it.
pub async fn sizes<'l>(
    db: &Db,
    project: &Project,
    library: &'l Library,
    clock: Clock,
) -> Result<(Vec<(&'l Segment, Size)>, Size), Failure> {
    if !clock.is_moved()
        && let Some(kept) = kept::refresh(db, library, &project.settings, clock.as_of()).await?
    {
        return Ok((library.iter().map(|s| (s, kept.size(&s.name))).collect(), kept.everyone()));
    }
    let names: Vec<&str> = library.names().collect();
    let mut sizes = Vec::new();
    for part in names.chunks(SEGMENTS_MAX) {
        sizes.extend(prepare(db, &project.settings, library, part, clock.as_of()).await?.sizes(db).await?);
    }
    Ok((library.iter().zip(sizes).collect(), Size::of_everyone(db).await?))
}

fn share(part: i64, whole: i64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// `1 person`, `1,234 people`.
fn people(n: i64) -> String {
    if n == 1 { "1 person".to_owned() } else { format!("{} people", grouped(n)) }
}
