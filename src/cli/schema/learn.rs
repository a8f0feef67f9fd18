//! `okaeri schema learn`: looks at the data and proposes the data contract, or writes it.

use std::io::Write as _;
use std::path::Path;

use serde_json::json;

use crate::cli::{Exit, Failure, Invocation};
use crate::data::learn::{Comments, Proposal, learn};
use crate::problem::{Problems, counted};
use crate::settings::contract::FILE;
use crate::settings::{Contract, Project, read_file};

#[derive(Debug, clap::Args)]
pub(super) struct LearnArgs {
    /// Write contract.yaml instead of printing it
    #[arg(long)]
    write: bool,
    /// Renew a contract.yaml that is there already: what it declares stays, what is new is added
    #[arg(long, requires = "write")]
    force: bool,
}

pub(super) async fn run(inv: &Invocation, args: LearnArgs) -> Result<Exit, Failure> {
    let project = inv.project()?;
    let there = there(&project)?;
    if args.write {
        refuse(&project, &there, args.force)?;
    }
    let db = inv.open_db(&project).await?;
    let survey = learn(&db, project.settings.own_contract().as_ref()).await?;
    db.close().await;
    let comments = there.as_deref().map(Comments::of).unwrap_or_default();
    let proposal = Proposal::of(survey, &comments).ok_or_else(too_large)?;
    if args.write {
        write(&project.dir, proposal.text(), there.is_some())?;
        inv.print(|| as_json(&proposal, true), || written(&proposal));
    } else {
        inv.print(|| as_json(&proposal, false), || proposal.text().to_owned());
        inv.say(match (&there, &project.settings.contract) {
            (Some(_), _) => "to keep it: okaeri schema learn --write --force",
            (None, None) => "to keep it: okaeri schema learn --write",
            (None, Some(_)) => "to keep it: put it in place of what is under `contract` in okaeri.yaml",
        });
    }
    Ok(Exit::Done)
}

/// The text of the contract file, if there is one.
fn there(project: &Project) -> Result<Option<String>, Failure> {
    if project.dir.join(FILE).symlink_metadata().is_err() {
        return Ok(None);
    }
    let mut problems = Problems::new();
    read_file(&project.dir, FILE, &mut problems).map(Some).ok_or(Failure::Problems(problems))
}

/// What stands in the way of writing.
fn refuse(project: &Project, there: &Option<String>, force: bool) -> Result<(), Failure> {
    match there {
        Some(_) if !force => Err(Failure::Usage(format!(
            "there is already a {FILE}\n`--write --force` keeps what it declares and adds what is new; without --write the result is only printed"
        ))),
        None if project.settings.contract.is_some() => Err(Failure::Usage(format!(
            "the data contract stands in okaeri.yaml, and a project has one\nmove what is under `contract` to {FILE}, then write again"
        ))),
        _ => Ok(()),
    }
}

/// A file that is there is replaced at once and never half; one that came into being meanwhile stays.
fn write(dir: &Path, text: &str, replace: bool) -> Result<(), Failure> {
    let path = dir.join(FILE);
    let written = if replace {
        // In the same folder, because a file is renamed at once only within a disk.
        let beside = dir.join(format!(".{FILE}.new"));
        std::fs::write(&beside, text).and_then(|()| std::fs::rename(&beside, &path))
    } else {
        let new = std::fs::File::options().write(true).create_new(true).open(&path);
        new.and_then(|mut file| file.write_all(text.as_bytes()))
    };
    written.map_err(|e| Failure::Environment(format!("cannot write {}: {e}", path.display())))
}

fn too_large() -> Failure {
    Failure::Usage(format!(
        "the contract would be larger than a file that is read\ntake names out of {FILE} that no segment asks for"
    ))
}

fn as_json(proposal: &Proposal, written: bool) -> serde_json::Value {
    let mut told = proposal.to_json();
    told["written"] = json!(written.then_some(FILE));
    told
}

fn written(proposal: &Proposal) -> String {
    let Contract { customer, product, events } = proposal.contract();
    let mut out = format!(
        "{FILE} written: {} of customers, {} of products, {}\n",
        counted(customer.len(), "attribute"),
        counted(product.len(), "attribute"),
        counted(events.len(), "event"),
    );
    match proposal.disagreements() {
        0 => {}
        1 => out.push_str("1 declared type does not fit all values: look for `seen as`\n"),
        n => out.push_str(&format!("{n} declared types do not fit all values: look for `seen as`\n")),
    }
    out
}
