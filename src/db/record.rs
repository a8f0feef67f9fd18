//! Writes down which statements this process runs, for tests that check every one of them.
//!
//! Only debug builds have it, and they only do it when asked. Each distinct text is written once, before it runs for the first time: a
//! line of JSON, `["sqlite", "SELECT …"]` or `["postgres", "SELECT …"]`. So whatever a process ran before it was killed is there to be
//! read. Bound values are never written.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Mutex, OnceLock, PoisonError};

use super::Dialect;

struct Record {
    file: File,
    /// The texts written, by engine.
    known: HashMap<&'static str, HashSet<String>>,
}

static RECORD: OnceLock<Mutex<Record>> = OnceLock::new();

/// From now on, write the statements of this process into `file`, which begins empty. Asked twice, it goes on with the first file.
pub fn record_statements(file: &Path) -> io::Result<()> {
    let file = File::create(file)?;
    RECORD.get_or_init(|| Mutex::new(Record { file, known: HashMap::new() }));
    Ok(())
}

/// A statement is about to run.
pub(super) fn note(engine: Dialect, sql: &str) {
    let Some(record) = RECORD.get() else { return };
    let mut record = record.lock().unwrap_or_else(PoisonError::into_inner);
    let engine = match engine {
        Dialect::Sqlite => "sqlite",
        Dialect::Postgres => "postgres",
    };
    if record.known.get(engine).is_some_and(|known| known.contains(sql)) {
        return;
    }
    let line = format!("{}\n", serde_json::json!([engine, sql]));
    // A record with holes would prove nothing, and nobody but a test keeps one.
    record.file.write_all(line.as_bytes()).expect("the file of recorded statements can be written");
    record.known.entry(engine).or_default().insert(sql.to_owned());
}
