//! `okaeri schema editor`: JSON Schemas of okaeri.yaml, contract.yaml, campaigns, segments and personas, with this project's own names in them.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::campaign;
use crate::cli::loaded::Loaded;
use crate::cli::{Exit, Failure, Invocation, write_file};
use crate::content::{RULES, template_names};
use crate::persona;
use crate::problem::Problems;
use crate::segment::{self, schema::Names};
use crate::settings;

/// Where schemas are written, beside the database: they are made again from the files at any time.
const FOLDER: &str = ".okaeri/schemas";

#[derive(Debug, clap::Args)]
pub(super) struct EditorArgs {
    /// The folder to write to
    #[arg(long, value_name = "DIR", default_value = FOLDER)]
    to: PathBuf,
}

pub(super) fn run(inv: &Invocation, args: &EditorArgs) -> Result<Exit, Failure> {
    let written = write_to(&read(inv)?, &args.to)?;
    inv.print(|| json!({ "schemas": by_pattern(&written) }), || text(&written));
    Ok(Exit::Done)
}

/// Write the schemas of a new project where its files look for them.
pub fn write_for_editors(inv: &Invocation) -> Result<(), Failure> {
    write_to(&read(inv)?, Path::new(FOLDER)).map(|_| ())
}

/// The project; also while its files are being written: what cannot be read yet is not among the names.
fn read(inv: &Invocation) -> Result<Loaded, Failure> {
    let mut problems = Problems::new();
    Loaded::read(inv, &mut problems).ok_or(Failure::Problems(problems))
}

/// A schema that was written.
struct Schema {
    /// The files it is of.
    of: &'static [&'static str],
    /// Where it is, relative to the project when it lies inside.
    path: PathBuf,
}

/// Write the schemas to a folder of the project.
fn write_to(loaded: &Loaded, folder: &Path) -> Result<Vec<Schema>, Failure> {
    let segments: Vec<&str> = loaded.segments.names().collect();
    let campaigns: Vec<&str> = loaded.campaigns.iter().map(|c| c.key.as_str()).collect();
    let names = Names { settings: &loaded.project.settings, segments: &segments, campaigns: &campaigns };
    let templates = template_names(&loaded.project.dir);
    let templates: Vec<&str> = templates.iter().map(String::as_str).collect();
    let schemas: [(&'static str, &'static [&'static str], Value); 5] = [
        ("settings.json", &["okaeri.yaml"], settings::schema::settings_file(&RULES.map(|r| r.code))),
        ("contract.json", &["contract.yaml"], settings::schema::contract_file()),
        ("campaign.json", &["campaigns/*.yaml", "campaigns/*.yml"], campaign::schema::campaign_file(names, &templates)),
        (
            "segment.json",
            &["campaigns/segments/*.yaml", "campaigns/segments/*.yml"],
            segment::schema::segment_file(names),
        ),
        ("personas.json", &["personas.yaml"], persona::schema::personas_file(names)),
    ];
    let dir = loaded.project.dir.join(folder);
    std::fs::create_dir_all(&dir).map_err(|e| Failure::Environment(format!("cannot make {}: {e}", dir.display())))?;
    let mut written = Vec::new();
    for (name, of, schema) in schemas {
        let text = serde_json::to_string_pretty(&schema).expect("a JSON value serialises");
        write_file(&dir.join(name), &text)?;
        written.push(Schema { of, path: folder.join(name) });
    }
    Ok(written)
}

/// As the YAML extension of VS Code takes it in `yaml.schemas`.
fn by_pattern(written: &[Schema]) -> Value {
    let pairs = written.iter().map(|s| {
        let path = s.path.display().to_string();
        let path = if s.path.is_absolute() { path } else { format!("./{path}") };
        (path, if s.of.len() == 1 { json!(s.of[0]) } else { json!(s.of) })
    });
    Value::Object(pairs.collect())
}

fn text(written: &[Schema]) -> String {
    let dim = anstyle::Style::new().dimmed();
    let mut out = String::new();
    for schema in written {
        out.push_str(&format!("{}  {dim}of {}{dim:#}\n", schema.path.display(), schema.of[0]));
    }
    let settings =
        serde_json::to_string_pretty(&json!({ "yaml.schemas": by_pattern(written) })).expect("it serialises");
    out.push_str("\nVS Code with the YAML extension takes them from .vscode/settings.json:\n");
    out.push_str(&settings);
    out.push_str("\nother editors, from the first line of a file in campaigns/:\n");
    out.push_str("# yaml-language-server: $schema=../.okaeri/schemas/campaign.json\n");
    out.push_str("again after a segment, template or event is added: okaeri schema editor\n");
    out
}
