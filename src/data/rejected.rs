//! The file of rejected rows: each as it stood, after its line number and the reason, so that it can be corrected and imported again
//! with the same mapping. Import passes over the columns this file adds.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use super::columns::{Kind, REJECTED_LINE, REJECTED_REASON, REJECTED_TEXT};
use super::input::Format;
use crate::clock::{self, Millis};

/// How the rejected rows of one import are written.
#[derive(Debug, Clone)]
pub(super) enum Shape {
    Csv { delimiter: u8, header: Vec<u8> },
    Jsonl,
}

/// A file that comes into being with the first rejected row.
pub(super) struct Rejects {
    dir: Option<PathBuf>,
    kind: Kind,
    at: Millis,
    shape: Shape,
    open: Option<(PathBuf, BufWriter<File>)>,
}

impl Rejects {
    /// Rejected rows are kept in a new file in `dir`, or nowhere.
    pub(super) fn new(dir: Option<PathBuf>, kind: Kind, at: Millis, format: Format) -> Rejects {
        let shape = match format {
            Format::Csv => Shape::Csv { delimiter: b',', header: Vec::new() },
            Format::Jsonl => Shape::Jsonl,
        };
        Rejects { dir, kind, at, shape, open: None }
    }

    /// What the file's header and delimiter are; known once reading began.
    pub(super) fn shape(&mut self, shape: Shape) {
        self.shape = shape;
    }

    /// Keep one row.
    pub(super) fn keep(&mut self, line: u64, reason: &str, raw: &[u8]) -> io::Result<()> {
        let Some(dir) = &self.dir else { return Ok(()) };
        if self.open.is_none() {
            let (path, file) = create(dir, self.kind, self.at, &self.shape)?;
            let mut file = BufWriter::new(file);
            if let Shape::Csv { delimiter, header } = &self.shape {
                let d = char::from(*delimiter);
                write!(file, "{REJECTED_LINE}{d}{REJECTED_REASON}{d}")?;
                file.write_all(header)?;
                file.write_all(b"\n")?;
            }
            self.open = Some((path, file));
        }
        let (_, file) = self.open.as_mut().expect("opened above");
        match &self.shape {
            Shape::Csv { delimiter, .. } => {
                let d = char::from(*delimiter);
                write!(file, "{line}{d}\"{}\"{d}", reason.replace('"', "\"\""))?;
                file.write_all(raw)?;
            }
            Shape::Jsonl => json_row(file, line, reason, raw)?,
        }
        file.write_all(b"\n")
    }

    /// Write everything out; the path of the file, if there is one.
    pub(super) fn finish(self) -> io::Result<Option<PathBuf>> {
        let Some((path, mut file)) = self.open else { return Ok(None) };
        file.flush()?;
        Ok(Some(path))
    }
}

/// An object keeps its members behind ours; a line that is no object is kept as text.
fn json_row(file: &mut impl Write, line: u64, reason: &str, raw: &[u8]) -> io::Result<()> {
    let reason = serde_json::Value::from(reason);
    write!(file, "{{\"{REJECTED_LINE}\":{line},\"{REJECTED_REASON}\":{reason}")?;
    match raw.trim_ascii_start().strip_prefix(b"{") {
        Some(rest) => {
            if rest.trim_ascii_start().first() != Some(&b'}') {
                file.write_all(b",")?;
            }
            file.write_all(rest)
        }
        None => {
            let text = serde_json::Value::from(String::from_utf8_lossy(raw));
            write!(file, ",\"{REJECTED_TEXT}\":{text}}}")
        }
    }
}

/// `customers-20261124T090000Z.csv`, with a number behind it when that exists.
fn create(dir: &Path, kind: Kind, at: Millis, shape: &Shape) -> io::Result<(PathBuf, File)> {
    std::fs::create_dir_all(dir)?;
    let end = if matches!(shape, Shape::Jsonl) { "jsonl" } else { "csv" };
    let time = clock::timestamp(at).strftime("%Y%m%dT%H%M%SZ").to_string();
    for n in 1_u32.. {
        let suffix = if n == 1 { String::new() } else { format!("-{n}") };
        let path = dir.join(format!("{}-{time}{suffix}.{end}", kind.name()));
        match OpenOptions::new().write(true).create_new(true).open(&path) {
            Ok(file) => return Ok((path, file)),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            Err(e) => return Err(e),
        }
    }
    unreachable!("the numbers do not end before the disk does")
}
