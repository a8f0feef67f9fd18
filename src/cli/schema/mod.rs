//! `okaeri schema`: what data and files look like: for the project, learnt from its data; for editors, as JSON Schemas.

mod editor;
mod learn;

pub(super) use editor::write_for_editors;

use super::{Exit, Failure, Invocation};

#[derive(Debug, clap::Args)]
pub struct SchemaArgs {
    #[command(subcommand)]
    verb: SchemaVerb,
}

#[derive(Debug, clap::Subcommand)]
enum SchemaVerb {
    /// Propose a data contract: every attribute, event and property in the database, with its type
    Learn(learn::LearnArgs),
    /// Write JSON Schemas of this project's files: editors complete keys and names by them, and underline what is wrong
    Editor(editor::EditorArgs),
}

pub async fn run(inv: &Invocation, args: SchemaArgs) -> Result<Exit, Failure> {
    match args.verb {
        SchemaVerb::Learn(args) => learn::run(inv, args).await,
        SchemaVerb::Editor(args) => editor::run(inv, &args),
    }
}
