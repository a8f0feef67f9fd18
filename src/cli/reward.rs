//! `okaeri reward list`, `import`, `export`: what the pools have, bring codes in, and hand out which code went to whom.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::Subcommand;
use comfy_table::{CellAlignment, Table, presets};
use serde_json::json;

use super::{Exit, Failure, Format, Invocation, NewFile};
use crate::audience::sheet::{Sheet, cell};
use crate::clock;
use crate::data::From as Source;
use crate::db::Db;
use crate::money::{grouped, plain};
use crate::offer::reward::{self, Exported, Imported, Shelf};
use crate::problem::nearest;
use crate::settings::rewards::Codes;
use crate::settings::{Project, RewardPool};

#[derive(Debug, clap::Args)]
pub struct RewardArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Each pool: what is left, out with a message, back, and expired
    List,
    /// Bring codes into a pool: CSV with the column `code`, and `expires` if each has its own; again changes nothing
    Import(ImportArgs),
    /// Which code went to whom, as CSV: for the shop, so that it can activate them
    Export(ExportArgs),
}

#[derive(Debug, clap::Args)]
struct ImportArgs {
    /// The pool's name in okaeri.yaml
    pool: String,
    /// The file; `-` reads standard input
    file: PathBuf,
}

#[derive(Debug, clap::Args)]
struct ExportArgs {
    /// The pool's name
    pool: String,
    /// The file to write; standard output when not given
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

const COLUMNS: [&str; 10] =
    ["pool", "code", "message_id", "customer_id", "campaign", "step", "slot", "state", "issued_at", "expires_at"];

pub async fn run(inv: &Invocation, args: RewardArgs) -> Result<Exit, Failure> {
    let project = inv.project()?;
    let db = inv.open_db(&project).await?;
    match args.what {
        What::List => list(inv, &project, &db).await,
        What::Import(args) => import(inv, &project, &db, args).await,
        What::Export(args) => export(inv, &project, &db, args).await,
    }
}

async fn list(inv: &Invocation, project: &Project, db: &Db) -> Result<Exit, Failure> {
    let settings = &project.settings;
    let as_of = inv.clock(&settings.time_zone)?.as_of();
    let shelves = reward::shelves(db, settings, as_of).await?;
    inv.print(|| json!({ "currency": settings.currency, "pools": shelves }), || table(&shelves, &settings.currency));
    Ok(Exit::Done)
}

fn table(shelves: &[Shelf], currency: &str) -> String {
    if shelves.is_empty() {
        return "no reward pools: name one under `rewards:` in okaeri.yaml\n".to_owned();
    }
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table.set_header(["pool", "kind", "left", "issued", "returned", "expired", &format!("cost ({currency})")]);
    for s in shelves {
        table.add_row([
            s.pool.clone(),
            s.kind.unwrap_or("not in okaeri.yaml").to_owned(),
            s.left.map_or("no end".to_owned(), grouped),
            grouped(s.issued),
            grouped(s.returned),
            grouped(s.expired),
            plain(s.cost, currency),
        ]);
    }
    for column in table.column_iter_mut().skip(2) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    format!("{}\n", table.trim_fmt())
}

async fn import(inv: &Invocation, project: &Project, db: &Db, args: ImportArgs) -> Result<Exit, Failure> {
    let pool = known(project, &args.pool)?;
    if pool.codes == Codes::None {
        return Err(Failure::Usage(format!(
            "the pool `{}` has no codes\nset `codes: imported` in {}, line {}",
            pool.name, pool.place.file, pool.place.line
        )));
    }
    let name = args.file.display().to_string();
    let from = if name == "-" { Source::Reader(Box::new(io::stdin())) } else { Source::File(args.file) };
    let imported = reward::import(db, &pool.name, from, &project.settings.time_zone, clock::now()).await?;
    let imported = imported.map_err(|why| Failure::Usage(format!("{name}: {why}")))?;
    tell(inv, &name, &imported);
    inv.print(
        || {
            let mut json = json!(imported);
            json["pool"] = pool.name.clone().into();
            json
        },
        || {
            format!(
                "{}: {} codes read, {} added, {} there already, {} refused\n",
                pool.name,
                grouped(imported.read as i64),
                grouped(imported.added as i64),
                grouped(imported.known as i64),
                grouped(imported.refused as i64)
            )
        },
    );
    // As with other data: a file of which nothing is any good is a mistake.
    let nothing = imported.read > 0 && imported.refused == imported.read;
    Ok(if nothing { Exit::Problems } else { Exit::Done })
}

/// Refused lines, on stderr even with `--quiet`, because they are problems.
fn tell(inv: &Invocation, name: &str, imported: &Imported) {
    for refused in &imported.refused_lines {
        anstream::eprintln!("{name}:{}: refused: {}", refused.line, refused.reason);
    }
    let more = imported.refused - imported.refused_lines.len() as u64;
    if more > 0 {
        anstream::eprintln!("    and {} more", grouped(more as i64));
    }
    if !imported.ignored_columns.is_empty() {
        inv.say(format_args!("{name}: columns that are not used: {}", imported.ignored_columns.join(", ")));
    }
    if imported.read == 0 {
        inv.say(format_args!("{name}: warning: no codes"));
    }
}

async fn export(inv: &Invocation, project: &Project, db: &Db, args: ExportArgs) -> Result<Exit, Failure> {
    let shelves = reward::shelves(db, &project.settings, clock::now()).await?;
    if !shelves.iter().any(|s| s.pool == args.pool) {
        known(project, &args.pool)?; // says what there is
    }
    let zone = &project.settings.time_zone;
    if inv.format == Format::Json && args.output.is_none() {
        let mut all = Vec::new();
        let keep = |e: Exported| -> Result<(), io::Error> {
            all.push(e);
            Ok(())
        };
        reward::export(db, &args.pool, zone, keep).await?.map_err(|e| cannot_write(None, &e))?;
        inv.print(|| json!({ "pool": args.pool, "issued": all }), String::new);
        return Ok(Exit::Done);
    }
    let rewards = match &args.output {
        None => {
            let ended = write(db, &args.pool, zone, io::stdout().lock()).await?;
            match ended {
                // Who reads has seen enough, as `head` does.
                Err(e) if e.kind() == io::ErrorKind::BrokenPipe => return Ok(Exit::Done),
                ended => ended.map_err(|e| cannot_write(None, &e))?,
            }
        }
        Some(path) => {
            let told = |e: io::Error| cannot_write(Some(path), &e);
            let new = NewFile::beside(path).map_err(told)?;
            let rewards = write(db, &args.pool, zone, &new.file).await?.map_err(told)?;
            new.put_in_place(path).map_err(told)?;
            rewards
        }
    };
    inv.say(format_args!("{}: {} rewards are out", args.pool, grouped(rewards)));
    if let Some(path) = &args.output {
        inv.print(
            || json!({ "pool": args.pool, "rewards": rewards, "output": path.display().to_string() }),
            String::new,
        );
    }
    Ok(Exit::Done)
}

/// The whole list; how many rewards.
async fn write(
    db: &Db,
    pool: &str,
    zone: &jiff::tz::TimeZone,
    out: impl Write,
) -> Result<io::Result<i64>, crate::db::DbError> {
    let mut sheet = Sheet::new(out);
    if let Err(e) = sheet.row(COLUMNS) {
        return Ok(Err(e));
    }
    let mut rewards = 0;
    let written = reward::export(db, pool, zone, |e| {
        rewards += 1;
        sheet.row(row(&e))
    })
    .await?;
    Ok(written.and_then(|()| sheet.end()).map(|()| rewards))
}

fn row(e: &Exported) -> [String; 10] {
    let text = |t: &Option<String>| cell(t.as_deref().unwrap_or_default());
    [
        cell(&e.pool),
        text(&e.code),
        cell(&e.message_id),
        text(&e.customer_id),
        cell(&e.campaign),
        cell(&e.step),
        cell(&e.slot),
        e.state.clone(),
        e.issued_at.clone(),
        e.expires_at.clone().unwrap_or_default(),
    ]
}

fn cannot_write(path: Option<&Path>, e: &io::Error) -> Failure {
    let place = path.map_or("standard output".to_owned(), |p| p.display().to_string());
    Failure::Environment(format!("{place}: {e}"))
}

/// A pool of okaeri.yaml.
fn known<'p>(project: &'p Project, name: &str) -> Result<&'p RewardPool, Failure> {
    let pools = &project.settings.rewards;
    project.settings.reward(name).ok_or_else(|| {
        let names: Vec<&str> = pools.iter().map(|p| p.name.as_str()).collect();
        let hint = match nearest(name, names.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None if names.is_empty() => "okaeri.yaml has no `rewards:`".to_owned(),
            None => format!("pools: {}", names.join(", ")),
        };
        Failure::Usage(format!("there is no reward pool `{name}`\n{hint}"))
    })
}
