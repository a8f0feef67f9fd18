//! `okaeri check`: every problem of the project's files at once, without a database; with `--data` also whether scores hold.

use std::path::PathBuf;

use super::loaded::Loaded;
use super::{Exit, Failure, Invocation, write_file};
use crate::problem::{Problems, Severity, counted};

#[derive(Debug, clap::Args)]
pub struct CheckArgs {
    /// Look into the database too: whether the scores that segments and campaigns hang on hold what `models: max_error` asks
    #[arg(long)]
    data: bool,
    /// Write the problems to this file as SARIF 2.1.0, for tools that show them beside the code
    #[arg(long, value_name = "FILE")]
    sarif: Option<PathBuf>,
    /// Also print a workflow command for each problem: GitHub shows them at their lines in a pull request
    #[arg(long)]
    github: bool,
}

pub async fn run(inv: &Invocation, args: CheckArgs) -> Result<Exit, Failure> {
    let mut problems = Problems::new();
    let loaded = Loaded::read(inv, &mut problems);
    if let Some(loaded) = &loaded {
        let now = inv.clock(&loaded.project.settings.time_zone)?.as_of();
        for campaign in loaded.campaigns.iter() {
            campaign.lint(&loaded.project.settings.time_zone, now, &mut problems);
        }
        loaded.linted(loaded.campaigns.iter(), now, &mut problems);
    }
    // Who is used by nobody cannot be told while files are broken.
    if let Some(loaded) = loaded.as_ref().filter(|_| !problems.has_errors()) {
        let campaigns: Vec<(&str, &str)> = loaded.campaigns.iter().map(|c| (c.name.as_str(), c.key.as_str())).collect();
        let used = loaded.campaigns.segments_used();
        loaded.segments.lint(&loaded.project.settings, &used, &campaigns, &mut problems);
    }
    if let Some(file) = &args.sarif {
        let text = serde_json::to_string_pretty(&problems.to_sarif()).expect("a JSON value serialises");
        write_file(file, &text)?;
    }
    if args.github {
        anstream::eprint!("{}", problems.to_github());
    }
    if problems.has_errors() {
        return Err(Failure::Problems(problems));
    }
    if let Some(loaded) = loaded.as_ref().filter(|_| args.data) {
        let db = inv.open_db(&loaded.project).await?;
        let now = inv.clock(&loaded.project.settings.time_zone)?.as_of();
        if let Some(fault) = loaded.scores_fault(&db, now).await? {
            return Err(Failure::Usage(fault));
        }
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
