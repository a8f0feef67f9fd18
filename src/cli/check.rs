//! `okaeri check`: every problem of the project's files at once, without a database.

use super::{Exit, Failure, Invocation};
use crate::problem::{Problems, Severity};
use crate::segment::Library;
use crate::settings::Project;

#[derive(Debug, clap::Args)]
pub struct CheckArgs {}

pub async fn run(inv: &Invocation, _args: CheckArgs) -> Result<Exit, Failure> {
    let mut problems = Problems::new();
    if let Some(project) = Project::load(&inv.project_dir, &mut problems) {
        Library::load(&project, &mut problems);
    }
    if problems.has_errors() {
        return Err(Failure::Problems(problems));
    }
    let warnings = problems.count(Severity::Warning);
    inv.print(
        || serde_json::json!({ "problems": problems.to_json() }),
        || if warnings > 0 { problems.to_text() } else { "no problems\n".to_owned() },
    );
    Ok(Exit::Done)
}
