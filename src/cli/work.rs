//! `okaeri work`: deliver everything that is due, whatever run it belongs to, then end.

use std::time::Duration;

use super::ledger;
use super::loaded::Loaded;
use super::sending;
use super::{Exit, Failure, Invocation};

#[derive(Debug, clap::Args)]
pub struct WorkArgs {
    /// End after this time (20m, 90s, 2h) with what is in flight; exit code 75 when work remains
    #[arg(long, value_name = "TIME", value_parser = sending::max_time)]
    max_time: Option<Duration>,
    /// Deliver from a SQLite file although this is a job of continuous integration: the file is kept, and with it who was mailed
    #[arg(long)]
    ephemeral_ok: bool,
}

pub async fn run(inv: &Invocation, args: WorkArgs) -> Result<Exit, Failure> {
    let inv = &inv.within(args.max_time);
    let loaded = Loaded::for_delivery(inv)?;
    let project = &loaded.project;
    let clock = inv.clock(&project.settings.time_zone)?;
    let relays = sending::relays(project)?;
    sending::refuse_moved_clock(clock, relays.iter().map(|r| &*r.server))?;
    sending::refuse_throwaway(inv, project, &relays, args.ephemeral_ok)?;
    let signer = sending::signer(project)?;
    let db = ledger::open(inv, project).await?;
    let drained = sending::drain(inv, &loaded, &db, (relays, signer), None, 0).await?;
    inv.print(|| drained.json(), || drained.text(&project.settings.time_zone, inv.counts()));
    drained.exit()
}
