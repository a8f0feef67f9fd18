//! `okaeri profile`: brings the customers' numbers up to date and shows where everybody stands.

use std::collections::BTreeMap;

use comfy_table::{CellAlignment, Table, presets};
use serde_json::json;

use super::{Exit, Failure, Invocation};
use crate::clock::Clock;
use crate::db::Db;
use crate::money::grouped;
use crate::problem::counted;
use crate::profile::loyalty::{self, Crossings};
use crate::profile::{self, Moment, RefreshTotals, Rfm, Scope, Stage};
use crate::score;
use crate::settings::Settings;

#[derive(Debug, clap::Args)]
pub struct ProfileArgs {
    /// Compute everyone anew, not only customers whose data changed
    #[arg(long)]
    full: bool,
}

pub async fn run(inv: &Invocation, args: ProfileArgs) -> Result<Exit, Failure> {
    let project = inv.project()?;
    let db = inv.open_db(&project).await?;
    let clock = inv.clock(&project.settings.time_zone)?;
    let scope = if args.full { Scope::Everyone } else { Scope::Dirty };
    let totals = profile::refresh(&db, &project.settings, clock.now(), scope).await?;
    let rescored = score::follow(&db, &project.settings, clock.now()).await?;
    let crossings = notice_tiers(&db, &project.settings, clock).await?;
    let moment = Moment::at(&db, &project.settings, clock.as_of()).await?;
    let grid = profile::grid(&db, &moment).await?;
    inv.print(|| as_json(&totals, rescored, crossings, &grid), || as_text(&totals, rescored, crossings, &grid));
    Ok(Exit::Done)
}

/// Record who crossed a line between loyalty tiers; they are refreshed once more, so that segments know.
pub async fn notice_tiers(db: &Db, settings: &Settings, clock: Clock) -> Result<Crossings, Failure> {
    let crossings = loyalty::follow(db, settings, clock.now(), clock.as_of()).await?;
    if crossings.any() {
        profile::refresh(db, settings, clock.now(), Scope::Dirty).await?;
    }
    Ok(crossings)
}

/// Customers whose data changed since their numbers were computed; said, when there are any.
pub async fn tell_stale(inv: &Invocation, db: &Db) -> Result<i64, Failure> {
    let customers = profile::stale(db).await?;
    if customers > 0 {
        inv.say(stale(&grouped(customers)));
    }
    Ok(customers)
}

/// What is wrong with numbers that are older than the data.
pub fn stale(customers: &str) -> String {
    format!(
        "{customers} customers changed since their numbers were computed, and are planned by the old ones: run `okaeri profile` first"
    )
}

type Grid = BTreeMap<(Option<Rfm>, Stage), i64>;

fn as_json(totals: &RefreshTotals, rescored: u64, crossings: Crossings, grid: &Grid) -> serde_json::Value {
    let cells: Vec<_> =
        grid.iter().map(|((rfm, stage), n)| json!({ "rfm": rfm, "lifecycle": stage, "people": n })).collect();
    json!({ "refresh": totals, "rescored": rescored, "tiers": crossings, "people": grid.values().sum::<i64>(), "grid": cells })
}

fn as_text(totals: &RefreshTotals, rescored: u64, crossings: Crossings, grid: &Grid) -> String {
    let what = if totals.everyone { "everyone" } else { "customers whose data changed" };
    let mut out = format!(
        "{} computed ({what}), {} changed",
        counted_grouped(totals.computed, "profile"),
        grouped(totals.changed as i64)
    );
    if totals.dropped > 0 {
        out.push_str(&format!(", {} dropped", grouped(totals.dropped as i64)));
    }
    if rescored > 0 {
        out.push_str(&format!("; {} rescored", grouped(rescored as i64)));
    }
    if crossings.any() {
        out.push_str(&format!(
            "; {} in a higher tier, {} about to lose theirs",
            grouped(crossings.up as i64),
            grouped(crossings.at_risk as i64)
        ));
    }
    out.push('\n');
    if grid.is_empty() {
        out.push_str("no customers yet: start with `okaeri import`\n");
        return out;
    }
    let stages: Vec<Stage> = Stage::ALL.into_iter().filter(|s| grid.keys().any(|(_, stage)| stage == s)).collect();
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    let mut head = vec!["RFM".to_owned()];
    head.extend(stages.iter().map(|s| s.name().to_owned()));
    head.push("people".to_owned());
    table.set_header(head);
    let rows = Rfm::ALL.into_iter().map(Some).chain([None]);
    for rfm in rows {
        let of = |stage: &Stage| grid.get(&(rfm, *stage)).copied().unwrap_or(0);
        let sum: i64 = stages.iter().map(of).sum();
        if sum == 0 {
            continue;
        }
        let mut row = vec![rfm.map_or("no order yet", Rfm::name).replace('_', " ")];
        row.extend(stages.iter().map(|s| if of(s) == 0 { "·".to_owned() } else { grouped(of(s)) }));
        row.push(grouped(sum));
        table.add_row(row);
    }
    let mut last = vec!["people".to_owned()];
    last.extend(stages.iter().map(|s| grouped(grid.iter().filter(|((_, stage), _)| stage == s).map(|(_, n)| n).sum())));
    last.push(grouped(grid.values().sum()));
    table.add_row(last);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    format!("{out}\n{}\n", table.trim_fmt())
}

fn counted_grouped(n: u64, word: &str) -> String {
    if n == 1 { counted(1, word) } else { format!("{} {word}s", grouped(n as i64)) }
}
