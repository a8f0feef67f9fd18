//! `okaeri check`: every problem of the project's files at once, without a database.

use super::loaded::Loaded;
use super::{Exit, Failure, Invocation};
use crate::problem::{Problems, Severity, counted};

#[derive(Debug, clap::Args)]
pub struct CheckArgs {}

pub async fn run(inv: &Invocation, _args: CheckArgs) -> Result<Exit, Failure> {
    let mut problems = Problems::new();
    let loaded = Loaded::read(inv, &mut problems);
    if let Some(loaded) = &loaded {
        loaded.templates(loaded.campaigns.iter(), &mut problems);
    }
    // Who is used by nobody cannot be told while files are broken.
    if let Some(loaded) = loaded.as_ref().filter(|_| !problems.has_errors()) {
        let campaigns: Vec<&str> = loaded.campaigns.iter().map(|c| c.name.as_str()).collect();
        let used = loaded.campaigns.segments_used();
        loaded.segments.lint(&loaded.project.settings, &used, &campaigns, &mut problems);
    }
    if problems.has_errors() {
        return Err(Failure::Problems(problems));
    }
    let checked = loaded.map_or_else(String::new, |l| {
        format!(
            "{}, {} and {}: ",
            counted(1, "settings file"),
            counted(l.segments.names().count(), "segment"),
            counted(l.campaigns.iter().count(), "campaign")
        )
    });
    let warnings = problems.count(Severity::Warning);
    inv.print(
        || serde_json::json!({ "problems": problems.to_json() }),
        || if warnings > 0 { problems.to_text() } else { format!("{checked}no problems\n") },
    );
    Ok(Exit::Done)
}
