//! `okaeri segment export NAME --topic TOPIC --as FORMAT`: hand the members who agreed to another channel.
//!
//! The list goes to a file that only its owner may read, put in place whole or not at all, or to stdout. What it leaves out, and why, is said
//! on stderr; with `--format json` it is printed, and the list needs a file.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use serde_json::json;

use super::{Asked, people};
use crate::audience::network::Network;
use crate::audience::people::LeftOut;
use crate::audience::{self, ExportError, Totals};
use crate::cli::{Exit, Failure, Format, NewFile};
use crate::money::grouped;
use crate::problem::nearest;

#[derive(Debug, clap::Args)]
pub struct ExportArgs {
    /// The segment's name
    name: String,
    /// The topic that people must have agreed to
    #[arg(long, value_name = "TOPIC")]
    topic: String,
    /// What the list is for
    #[arg(long = "as", value_enum, value_name = "FORMAT")]
    list: ListFormat,
    /// The file to write; standard output when not given
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// [`audience::Format`], as it is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ListFormat {
    /// A table in plain text
    Csv,
    /// A customer list for Meta, hashed
    Meta,
    /// A Customer Match list for Google, hashed
    Google,
    /// A list audience for X, hashed
    X,
    /// People to call, with what to talk about
    Calls,
}

impl ListFormat {
    fn format(self) -> audience::Format {
        match self {
            ListFormat::Csv => audience::Format::Csv,
            ListFormat::Meta => audience::Format::Network(Network::Meta),
            ListFormat::Google => audience::Format::Network(Network::Google),
            ListFormat::X => audience::Format::Network(Network::X),
            ListFormat::Calls => audience::Format::Calls,
        }
    }

    fn word(self) -> &'static str {
        match self {
            ListFormat::Csv => "csv",
            ListFormat::Meta => "meta",
            ListFormat::Google => "google",
            ListFormat::X => "x",
            ListFormat::Calls => "calls",
        }
    }
}

impl Asked<'_> {
    pub(super) async fn export(&self, args: ExportArgs) -> Result<Exit, Failure> {
        self.segment(&args.name)?;
        self.topic(&args.topic)?;
        if self.inv.format == Format::Json && args.output.is_none() {
            return Err(Failure::Usage(
                "--format json prints counts, and the list would stand among them\nname a file with --output"
                    .to_owned(),
            ));
        }
        let totals = match &args.output {
            None => self.write(&args, io::stdout().lock()).await.map_err(|e| failed(e, None))?,
            Some(path) => {
                let new = NewFile::beside(path).map_err(|e| cannot_write(path, &e))?;
                let totals = self.write(&args, &new.file).await.map_err(|e| failed(e, Some(path)))?;
                new.put_in_place(path).map_err(|e| cannot_write(path, &e))?;
                totals
            }
        };
        let warnings = warnings(args.list, &totals);
        self.tell(&args, &totals, &warnings);
        if args.output.is_some() {
            self.inv.print(|| self.export_json(&args, &totals, &warnings), String::new);
        }
        Ok(Exit::Done)
    }

    async fn write(&self, args: &ExportArgs, out: impl Write) -> Result<Totals, ExportFailure> {
        let prepared = self.prepare(&[&args.name]).await.map_err(ExportFailure::Told)?;
        let settings = &self.project.settings;
        audience::export(self.db, settings, &prepared, &args.name, &args.topic, args.list.format(), out)
            .await
            .map_err(ExportFailure::Export)
    }

    fn topic(&self, name: &str) -> Result<(), Failure> {
        if self.project.settings.has_topic(name) {
            return Ok(());
        }
        let known: Vec<&str> = self.project.settings.topics.iter().map(|t| t.name.as_str()).collect();
        let remedy = match nearest(name, known.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None if known.is_empty() => "okaeri.yaml has no `topics:`; nobody can have agreed to one".to_owned(),
            None => format!("known: {}", known.join(", ")),
        };
        Err(Failure::Usage(format!("--topic {name}: not a topic of this project\n{remedy}")))
    }

    fn tell(&self, args: &ExportArgs, totals: &Totals, warnings: &[String]) {
        let place = args.output.as_ref().map(|p| format!(" to {}", p.display())).unwrap_or_default();
        self.inv.say(format_args!(
            "{}: {} of {} members handed out as {}{place}",
            args.name,
            grouped(totals.handed_out),
            grouped(totals.members),
            args.list.word()
        ));
        let left_out: Vec<String> =
            totals.left_out.iter().map(|(reason, n)| format!("{} {}", grouped(*n), reason.described())).collect();
        if !left_out.is_empty() {
            self.inv.say(format_args!("left out: {}", left_out.join(", ")));
        }
        for warning in warnings {
            self.inv.say(format_args!("warning: {warning}"));
        }
    }

    fn export_json(&self, args: &ExportArgs, totals: &Totals, warnings: &[String]) -> serde_json::Value {
        let left_out: serde_json::Map<String, serde_json::Value> = LeftOut::ALL
            .iter()
            .map(|r| (r.word().to_owned(), totals.left_out.get(r).copied().unwrap_or(0).into()))
            .collect();
        json!({ "segment": args.name, "topic": args.topic, "as": args.list.word(), "as_of": self.instant(self.as_of),
                "output": args.output.as_ref().map(|p| p.display().to_string()), "members": totals.members,
                "handed_out": totals.handed_out, "left_out": left_out, "phones": totals.phones,
                "phones_unusable": totals.phones_unusable, "beyond_the_list": totals.beyond_the_list,
                "warnings": warnings })
    }
}

/// What deserves a look before the list is used.
fn warnings(list: ListFormat, totals: &Totals) -> Vec<String> {
    let mut out = Vec::new();
    if totals.handed_out == 0 {
        out.push("the list is empty".to_owned());
    }
    if let audience::Format::Network(network) = list.format() {
        if let Some(minimum) = network.too_few(totals.handed_out) {
            out.push(format!("{}: {}", people(totals.handed_out), minimum.told));
        }
        if totals.phones_unusable > 0 {
            out.push(format!(
                "phone numbers that say no country, left empty: {} (write +81 …, or give the customer a country)",
                grouped(totals.phones_unusable)
            ));
        }
    }
    if list == ListFormat::Calls {
        out.push("consent to e-mail is not always consent to be called: look at the law of each country".to_owned());
        if totals.beyond_the_list > 0 {
            out.push(format!("{} of lower revenue are beyond the length of the list", people(totals.beyond_the_list)));
        }
    }
    out
}

/// Why a list was not written.
enum ExportFailure {
    Told(Failure),
    Export(ExportError),
}

fn failed(e: ExportFailure, path: Option<&Path>) -> Failure {
    match e {
        ExportFailure::Told(failure) => failure,
        ExportFailure::Export(ExportError::Db(e)) => e.into(),
        ExportFailure::Export(ExportError::Write(e)) => match path {
            Some(path) => cannot_write(path, &e),
            None => Failure::Environment(format!("cannot write to standard output: {e}")),
        },
    }
}

fn cannot_write(path: &Path, e: &io::Error) -> Failure {
    Failure::Environment(format!("cannot write {}: {e}\nname another file with --output", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_lists_and_unusable_numbers_are_told() {
        let totals = |handed_out| Totals { handed_out, phones_unusable: 1, ..Totals::default() };
        let told = warnings(ListFormat::Meta, &totals(1));
        assert_eq!(told.len(), 2);
        assert_eq!(told[0], "1 person: Meta advertises to no list in which it recognises fewer than 100");
        assert_eq!(
            told[1],
            "phone numbers that say no country, left empty: 1 (write +81 …, or give the customer a country)"
        );
        assert_eq!(
            warnings(ListFormat::Google, &Totals { handed_out: 5_000, ..Totals::default() }),
            Vec::<String>::new()
        );
        assert_eq!(warnings(ListFormat::Csv, &totals(0)), ["the list is empty"]);
    }
}
