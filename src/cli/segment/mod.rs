//! `okaeri segment …`: looking at segments; one file per sub-verb, here what they share.

mod explain;
mod list;
mod show;

use super::{Exit, Failure, Invocation};
use crate::clock::{self, Millis};
use crate::db::Db;
use crate::problem::{Problems, nearest};
use crate::segment::{Library, Prepared, SEGMENTS_MAX, Segment, Size};
use crate::settings::Project;

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
}

pub async fn run(inv: &Invocation, args: SegmentArgs) -> Result<Exit, Failure> {
    let project = inv.project()?;
    let mut problems = Problems::new();
    let library = Library::load(&project, &mut problems);
    inv.settle(problems)?;
    let as_of = inv.clock(&project.settings.time_zone)?.as_of();
    let db = inv.open_db(&project).await?;
    let at = Asked { inv, project: &project, library: &library, db: &db, as_of };
    match args.verb {
        SegmentVerb::List => at.list().await,
        SegmentVerb::Show { name } => at.show(&name).await,
        SegmentVerb::Explain { name, customer } => at.explain(&name, &customer).await,
    }
}

/// What every sub-verb is asked with.
struct Asked<'a> {
    inv: &'a Invocation,
    project: &'a Project,
    library: &'a Library,
    db: &'a Db,
    as_of: Millis,
}

impl Asked<'_> {
    fn segment(&self, name: &str) -> Result<&Segment, Failure> {
        self.library.get(name).ok_or_else(|| {
            let near = nearest(name, self.library.names());
            let remedy = near.map_or("`okaeri segment list` shows all".to_owned(), |n| format!("did you mean `{n}`?"));
            Failure::Usage(format!("there is no segment `{name}`\n{remedy}"))
        })
    }

    async fn prepare(&self, names: &[&str]) -> Result<Prepared, Failure> {
        prepare(self.db, self.project, self.library, names, self.as_of).await
    }

    fn instant(&self, at: Millis) -> String {
        clock::rfc3339(at, &self.project.settings.time_zone)
    }
}

async fn prepare(
    db: &Db,
    project: &Project,
    library: &Library,
    names: &[&str],
    as_of: Millis,
) -> Result<Prepared, Failure> {
    let compiled = library.compile(names, as_of, &project.settings).map_err(|e| Failure::Usage(e.to_string()))?;
    Ok(compiled.prepare(db).await?)
}

/// Every segment with its size, by name.
pub async fn sizes<'l>(
    db: &Db,
    project: &Project,
    library: &'l Library,
    as_of: Millis,
) -> Result<Vec<(&'l Segment, Size)>, Failure> {
    let names: Vec<&str> = library.names().collect();
    let mut sizes = Vec::new();
    for part in names.chunks(SEGMENTS_MAX) {
        sizes.extend(prepare(db, project, library, part, as_of).await?.sizes(db).await?);
    }
    Ok(library.iter().zip(sizes).collect())
}

/// Everybody who has a profile.
pub async fn everyone(db: &Db) -> Result<Size, Failure> {
    let (people, revenue): (i64, i64) =
        db.fetch_one("SELECT COUNT(*), CAST(COALESCE(SUM(revenue), 0) AS BIGINT) FROM profile", vec![]).await?;
    Ok(Size { people, revenue })
}

fn share(part: i64, whole: i64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}
