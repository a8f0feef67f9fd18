//! `okaeri init DIR`: write a small project that works at once.
//!
//! The files are those of the folder `init/`, embedded, with the frame and the building blocks of the library of mails. In the data, `{day-12}` stands for the date twelve days ago, so that the invented
//! customers are as new or as overdue as the sample wants, whenever it is written. Nothing that exists is ever overwritten: when one of the files is
//! there already, none is written.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use include_dir::{Dir, File, include_dir};
use jiff::ToSpan as _;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde_json::json;

use super::{Exit, Failure, Invocation, schema};
use crate::clock;

static PROJECT: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/src/cli/init");

/// What the mails are built of is the library's, so that any of its mails can be copied into the project.
const FROM_LIBRARY: [(&str, &str); 3] = [
    ("templates/components/kit.html", include_str!("../../templates/components/kit.html")),
    ("templates/parts/frame.html", include_str!("../../templates/parts/frame.html")),
    ("templates/parts/frame.ja.html", include_str!("../../templates/parts/frame.ja.html")),
];
/// Under another name in our own repository, where it would take effect itself.
const RENAMED: [(&str, &str); 3] = [
    ("gitignore", ".gitignore"),
    ("github/workflows/campaigns.yml", ".github/workflows/campaigns.yml"),
    ("vscode/settings.json", ".vscode/settings.json"),
];
/// How a date of the sample data begins; the days before today and a `}` follow.
const DAY_MARK: &str = "{day-";
/// Files that are in the way and named in the message.
const SHOWN_MAX: usize = 4;

#[derive(Debug, clap::Args)]
pub struct InitArgs {
    /// The folder to write the project to; made if missing
    dir: PathBuf,
}

/// A file to be written: its path below the folder, and its content.
struct Sheet {
    path: PathBuf,
    text: String,
}

pub async fn run(inv: &Invocation, args: InitArgs) -> Result<Exit, Failure> {
    let as_of = inv.clock(&TimeZone::UTC)?.as_of();
    let sheets = sheets(clock::date_in(as_of, &TimeZone::UTC));
    refuse_existing(&args.dir, &sheets)?;
    for sheet in &sheets {
        write_new(&args.dir, sheet)?;
    }
    schema::write_for_editors(&Invocation { project_dir: args.dir.clone(), ..inv.clone() })?;
    let next = next_commands(&args.dir);
    inv.print(
        || json!({ "dir": args.dir, "files": sheets.iter().map(|s| &s.path).collect::<Vec<_>>(), "next": next }),
        || text(&args.dir, &sheets, &next),
    );
    Ok(Exit::Done)
}

/// Every file of the project, by path.
fn sheets(today: Date) -> Vec<Sheet> {
    let mut sheets: Vec<Sheet> = files(&PROJECT)
        .into_iter()
        .map(|file| {
            let renamed = RENAMED.iter().find(|(ours, _)| file.path() == Path::new(ours));
            let path = renamed.map_or(file.path(), |(_, theirs)| Path::new(theirs));
            let text = file.contents_utf8().expect("the embedded files are UTF-8");
            Sheet { path: path.to_owned(), text: dated(text, today) }
        })
        .chain(FROM_LIBRARY.map(|(path, text)| Sheet { path: path.into(), text: text.to_owned() }))
        .collect();
    sheets.sort_by(|a, b| a.path.cmp(&b.path));
    sheets
}

fn files<'a>(dir: &'a Dir<'a>) -> Vec<&'a File<'a>> {
    dir.files().chain(dir.dirs().flat_map(files)).collect()
}

/// `{day-12}` → the date twelve days before `today`.
fn dated(text: &str, today: Date) -> String {
    let mut parts = text.split(DAY_MARK);
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (days, rest) = part.split_once('}').expect("a mark of the embedded files is closed");
        let days: i64 = days.parse().expect("a mark of the embedded files holds a number");
        out.push_str(&today.saturating_sub(days.days()).to_string());
        out.push_str(rest);
    }
    out
}

fn refuse_existing(dir: &Path, sheets: &[Sheet]) -> Result<(), Failure> {
    let there: Vec<String> = sheets
        .iter()
        .filter(|s| dir.join(&s.path).symlink_metadata().is_ok())
        .map(|s| s.path.display().to_string())
        .collect();
    if there.is_empty() {
        return Ok(());
    }
    let more = there.len().saturating_sub(SHOWN_MAX);
    let shown = there[..there.len() - more].join(", ");
    let and_more = if more > 0 { format!(" and {more} more") } else { String::new() };
    Err(Failure::Usage(format!(
        "in {} there is already {shown}{and_more}\nnothing was written; name a new folder",
        dir.display(),
    )))
}

/// Write a file that is not there yet; one that came into being meanwhile stays as it is and ends the verb.
fn write_new(dir: &Path, sheet: &Sheet) -> Result<(), Failure> {
    let path = dir.join(&sheet.path);
    let write = || -> std::io::Result<()> {
        std::fs::create_dir_all(path.parent().unwrap_or(dir))?;
        std::fs::File::options().write(true).create_new(true).open(&path)?.write_all(sheet.text.as_bytes())
    };
    write().map_err(|e| Failure::Environment(format!("cannot write {}: {e}", path.display())))
}

fn next_commands(dir: &Path) -> Vec<String> {
    let mut next = Vec::new();
    if dir != Path::new(".") {
        next.push(format!("cd {}", quoted(&dir.display().to_string())));
    }
    next.extend(
        [
            "export OKAERI_SECRET=$(openssl rand -hex 32)",
            "okaeri check && okaeri test",
            "okaeri import && okaeri profile",
            "okaeri plan win-back",
            "okaeri preview win-back",
            "okaeri catch &",
            "okaeri send win-back",
            "okaeri report win-back",
        ]
        .map(str::to_owned),
    );
    next
}

/// A word for a shell.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "/._-".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

fn text(dir: &Path, sheets: &[Sheet], next: &[String]) -> String {
    let dim = anstyle::Style::new().dimmed();
    let mut out = format!("{} files written to {}\n", sheets.len(), dir.display());
    for sheet in sheets {
        out.push_str(&format!("  {dim}{}{dim:#}\n", sheet.path.display()));
    }
    out.push_str("next:\n");
    for command in next {
        out.push_str(&format!("  {command}\n"));
    }
    out.push_str(&format!(
        "{dim}`okaeri catch` keeps the mail on this machine; README.md there says how to go on{dim:#}\n"
    ));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_of_the_sample_follow_the_day_it_is_written() {
        let today: Date = "2026-03-01".parse().unwrap();
        assert_eq!(dated("a,{day-1}T09:00\nb,{day-0}\n", today), "a,2026-02-28T09:00\nb,2026-03-01\n");
        assert_eq!(dated("{ in_last: 30d }", today), "{ in_last: 30d }");
        assert!(sheets(today).iter().all(|s| !s.text.contains(DAY_MARK)));
    }

    #[test]
    fn commands_can_be_pasted_whatever_the_folder_is_called() {
        assert_eq!(next_commands(Path::new("my shop's"))[0], r"cd 'my shop'\''s'");
        assert_eq!(next_commands(Path::new("店"))[0], "cd 店");
        assert!(next_commands(Path::new("."))[0].starts_with("export"));
    }
}
