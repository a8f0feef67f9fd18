//! `okaeri work`: deliver everything that is due, whatever run it belongs to, then end.

use super::sending;
use super::{Exit, Failure, Invocation};

#[derive(Debug, clap::Args)]
pub struct WorkArgs {}

pub async fn run(inv: &Invocation, _args: WorkArgs) -> Result<Exit, Failure> {
    let project = inv.project()?;
    let clock = inv.clock(&project.settings.time_zone)?;
    let server = sending::server(&project)?;
    sending::refuse_moved_clock(clock, &server)?;
    let signer = sending::signer(&project)?;
    let db = inv.open_db(&project).await?;
    let drained = sending::drain(inv, &project, &db, (server, signer), None, 0).await?;
    inv.print(|| drained.json(), || drained.text(&project.settings.time_zone));
    drained.exit()
}
