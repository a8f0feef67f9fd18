//! `okaeri report CAMPAIGN`: what happened, what came back, and what it caused.

use super::{Exit, Failure, Invocation};
use crate::report::{self, ReportError};

#[derive(Debug, clap::Args)]
pub struct ReportArgs {
    /// The campaign's name
    campaign: String,
    /// One occurrence only, such as 2026-11-24
    #[arg(long, value_name = "SLOT")]
    slot: Option<String>,
}

pub async fn run(inv: &Invocation, args: ReportArgs) -> Result<Exit, Failure> {
    let project = inv.project()?;
    let as_of = inv.clock(&project.settings.time_zone)?.as_of();
    let db = inv.open_db(&project).await?;
    let report = report::campaign(&db, &project.settings, &args.campaign, args.slot.as_deref(), as_of).await?;
    inv.print(
        || serde_json::to_value(&report).expect("a report serialises"),
        || report::text(&report, &project.settings.time_zone),
    );
    Ok(Exit::Done)
}

impl From<ReportError> for Failure {
    fn from(e: ReportError) -> Failure {
        match e {
            ReportError::NoRun { .. } => Failure::Usage(e.to_string()),
            ReportError::Db(e) => e.into(),
        }
    }
}
