//! The import: a thread that reads, checks and packs batches; the task that writes each batch in one transaction; the totals.
//!
//! Reading runs ahead of writing by [`BATCHES_WAITING`] batches and no further. A batch whose transaction fails for another writer's
//! sake, or whose commit was not confirmed, is written again: every batch repeats without harm.

use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde::Serialize;
use tokio::sync::mpsc;

use super::categories;
use super::cells::{Cells, Reading, Shop, put_object};
use super::columns::{Kind, Mapping};
use super::input::{self, Format, From, Input};
use super::kinds::{Consents, Customers, Events, Lines, Orders, Products, Suppressions, Table, Written};
use super::limits::{BATCH_BYTES, BATCH_ROWS, BATCHES_WAITING, LISTED_MAX, TRIES_MAX};
use super::money;
use super::records::{self, Found, Records};
use super::rejected::{Rejects, Shape};
use crate::args;
use crate::clock::{self, Millis};
use crate::db::{Db, DbError, DbResult, stable_hash};
use crate::settings::Settings;

/// Rows written after which the planner's statistics are refreshed.
const ANALYZE_AFTER_ROWS: u64 = 10_000;
/// Wait before a transaction is tried again, doubled each time.
const RETRY_FIRST: Duration = Duration::from_millis(20);

/// What to import.
pub struct ImportRequest {
    pub kind: Kind,
    pub from: From,
    /// What messages and `import_batch` call the source: usually the file's name as given.
    pub name: String,
    /// Their column → ours; ours may be `-`: leave it out.
    pub map: Vec<(String, String)>,
    /// The folder where rejected rows are kept; nowhere when absent.
    pub rejected_dir: Option<PathBuf>,
    /// Now: rows dated more than a day later are rejected, and rows that need a first date get this one.
    pub now: Millis,
}

/// How far an import is.
#[derive(Debug, Clone, Copy, Default)]
pub struct Progress {
    /// Bytes of the file read, as it lies on disk.
    pub bytes: u64,
    /// Bytes of the file, when known.
    pub size: Option<u64>,
    /// Rows read, written or not.
    pub rows: u64,
}

/// A line of the source and what is to be said about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Place {
    pub line: u64,
    pub reason: String,
}

/// What an import came to. Every row read is counted once: changed, unchanged, repeated or rejected.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ImportTotals {
    pub kind: &'static str,
    pub source: String,
    pub read: u64,
    /// New rows and rows that changed something.
    pub changed: u64,
    /// Rows equal to what was there, or overruled by it.
    pub unchanged: u64,
    /// Rows that a later row with the same key replaced in the same batch.
    pub repeated: u64,
    pub rejected: u64,
    /// Customers first seen through other data; they have a row without address.
    pub customers_created: u64,
    pub consents_changed: u64,
    /// Rows that were taken although something about them deserves a look.
    pub warnings: u64,
    /// Columns of the file that went nowhere.
    pub ignored_columns: Vec<String>,
    /// The first rejected rows and warnings, [`LISTED_MAX`] each.
    pub rejected_rows: Vec<Place>,
    pub warned_rows: Vec<Place>,
    /// Where all rejected rows are kept.
    pub rejected_file: Option<PathBuf>,
    pub milliseconds: i64,
}

impl ImportTotals {
    /// Rows read per second.
    pub fn rows_per_second(&self) -> u64 {
        (self.read * 1000).checked_div(self.milliseconds.max(1) as u64).unwrap_or_default()
    }

    /// Whether rows were read and none could be taken.
    pub fn nothing_accepted(&self) -> bool {
        self.read > 0 && self.rejected == self.read
    }
}

/// Why an import ended before the end of its source. What was written stays; the same import again goes on.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The source cannot be used at all; nothing was written. The remedy is on a second line.
    #[error("{name}: {reason}")]
    Source { name: String, reason: String },
    /// Reading failed on the way.
    #[error("{name}:{line}: {reason}\n{read} rows before it were imported; mend the file and import it again")]
    Broken { name: String, line: u64, reason: String, read: u64 },
    /// Rejected rows could not be kept.
    #[error(
        "cannot keep rejected rows in {dir}: {source}\nlet this user write there, or mend the rows; what was read so far is imported"
    )]
    Rejects { dir: String, source: std::io::Error },
    #[error(transparent)]
    Db(#[from] DbError),
}

/// Import one source. `progress` is called after every batch.
pub async fn import(
    db: &Db,
    settings: &Settings,
    request: ImportRequest,
    progress: impl FnMut(Progress) + Send,
) -> Result<ImportTotals, ImportError> {
    match request.kind {
        Kind::Products => run::<Products>(db, settings, request, progress).await,
        Kind::Customers => run::<Customers>(db, settings, request, progress).await,
        Kind::Consents => run::<Consents>(db, settings, request, progress).await,
        Kind::Orders => run::<Orders>(db, settings, request, progress).await,
        Kind::Lines => run::<Lines>(db, settings, request, progress).await,
        Kind::Events => run::<Events>(db, settings, request, progress).await,
        Kind::Suppressions => run::<Suppressions>(db, settings, request, progress).await,
    }
}

async fn run<T: Table + 'static>(
    db: &Db,
    settings: &Settings,
    request: ImportRequest,
    mut progress: impl FnMut(Progress) + Send,
) -> Result<ImportTotals, ImportError> {
    let ImportRequest { from, name, map, rejected_dir, now, .. } = request;
    let began = clock::now();
    let unusable = |reason: String| ImportError::Source { name: name.clone(), reason };
    let mapping = Mapping::new(T::KIND, &map).map_err(unusable)?;
    let opened = tokio::task::spawn_blocking(move || input::open(from)).await.expect("opening does not panic");
    let input = opened.map_err(|e| unusable(e.to_string()))?;
    let (count, size) = (input.count.clone(), input.size);
    let dir = rejected_dir.as_ref().map(|dir| dir.display().to_string()).unwrap_or_default();
    let not_kept = |source| ImportError::Rejects { dir: dir.clone(), source };
    let mut rejects = Rejects::new(rejected_dir, T::KIND, now, input.format);
    let reading = Reading::new(Shop {
        zone: settings.time_zone.clone(),
        currency: settings.currency.clone(),
        exponent: money::exponent(&settings.currency),
        topics: settings.topics.iter().map(|t| t.name.clone()).collect(),
        now,
        source: name.clone(),
    });
    let mut totals = ImportTotals { kind: T::KIND.name(), source: name.clone(), ..ImportTotals::default() };
    let batch_id = begin_batch(db, &totals, began).await?;

    let (send, mut receive) = mpsc::channel(BATCHES_WAITING);
    let reader = tokio::task::spawn_blocking(move || read::<T>(input, mapping, reading, &send));
    let mut table = T::default();
    while let Some(message) = receive.recv().await {
        match message {
            Message::Header { shape, ignored } => {
                rejects.shape(shape);
                totals.ignored_columns = ignored;
            }
            Message::Batch(batch) => {
                let written = write(db, &mut table, &batch, now).await?;
                totals.add(&batch, written, &mut rejects).map_err(not_kept)?;
                progress(Progress { bytes: count.load(Ordering::Relaxed), size, rows: totals.read });
            }
        }
    }
    let ended = reader.await.expect("reading does not panic");
    totals.rejected_file = rejects.finish().map_err(not_kept)?;
    match ended {
        Ok(()) => {}
        Err(Stop::Source(reason)) => return Err(ImportError::Source { name, reason }),
        Err(Stop::Broken { line, reason }) => {
            return Err(ImportError::Broken { name, line, reason, read: totals.read });
        }
    }
    if T::KIND == Kind::Products {
        categories::refresh(db).await?;
    }
    if totals.changed > ANALYZE_AFTER_ROWS {
        db.analyze().await?;
    }
    let finished = clock::now();
    totals.milliseconds = finished - began;
    end_batch(db, &batch_id, &totals, finished).await?;
    Ok(totals)
}

/// From the reading thread to the writing task.
enum Message<R> {
    Header { shape: Shape, ignored: Vec<String> },
    Batch(Batch<R>),
}

/// Rows on their way, with what is needed to reject them still.
struct Batch<R> {
    rows: Vec<R>,
    /// Line and end of the raw record, for each row.
    marks: Vec<(u64, usize)>,
    raw: Vec<u8>,
    rejected: Vec<Reject>,
    remarks: Vec<Place>,
}

struct Reject {
    line: u64,
    reason: String,
    raw: Vec<u8>,
}

/// Why reading ended early.
enum Stop {
    Source(String),
    Broken { line: u64, reason: String },
}

impl<R> Batch<R> {
    fn new() -> Batch<R> {
        Batch { rows: Vec::new(), marks: Vec::new(), raw: Vec::new(), rejected: Vec::new(), remarks: Vec::new() }
    }

    fn take(&mut self, line: u64, raw: &[u8], row: Result<R, String>, remarks: &mut Vec<String>) {
        match row {
            Ok(row) => {
                self.rows.push(row);
                self.raw.extend_from_slice(raw);
                self.marks.push((line, self.raw.len()));
                self.remarks.extend(remarks.drain(..).map(|reason| Place { line, reason }));
            }
            Err(reason) => {
                remarks.clear();
                self.rejected.push(Reject { line, reason, raw: raw.to_vec() });
            }
        }
    }

    fn is_full(&self) -> bool {
        let rejected: usize = self.rejected.iter().map(|r| r.raw.len()).sum();
        self.rows.len() + self.rejected.len() >= BATCH_ROWS || self.raw.len() + rejected >= BATCH_BYTES
    }

    fn raw_of(&self, row: usize) -> &[u8] {
        let start = if row == 0 { 0 } else { self.marks[row - 1].1 };
        &self.raw[start..self.marks[row].1]
    }
}

/// The reading side: records to batches, until the end or until nobody listens.
fn read<T: Table>(
    input: Input,
    mapping: Mapping,
    reading: Reading,
    send: &mpsc::Sender<Message<T::Row>>,
) -> Result<(), Stop> {
    match input.format {
        Format::Csv => read_csv::<T>(input, mapping, reading, send),
        Format::Jsonl => read_jsonl::<T>(input, mapping, reading, send),
    }
}

fn broken(line: u64) -> impl Fn(std::io::Error) -> Stop {
    move |e| Stop::Broken { line, reason: format!("reading stops after this line: {e}") }
}

fn read_csv<T: Table>(
    input: Input,
    mut mapping: Mapping,
    mut reading: Reading,
    send: &mpsc::Sender<Message<T::Row>>,
) -> Result<(), Stop> {
    let Some(mut records) = Records::open(input.bytes).map_err(broken(0))? else { return Ok(()) };
    let Found::Record(_) = records.next().map_err(broken(0))? else {
        return Err(Stop::Source("the header line cannot be read".to_owned()));
    };
    let width = records.len();
    let (targets, ignored) = {
        let fields =
            records.text().ok_or_else(|| Stop::Source("the header is not UTF-8\nsave the file as UTF-8".to_owned()))?;
        let header: Vec<&str> = (0..width).filter_map(|i| fields.get(i)).collect();
        mapping.header(&header).map_err(Stop::Source)?
    };
    let shape = Shape::Csv { delimiter: records.delimiter(), header: records.raw().to_vec() };
    if send.blocking_send(Message::Header { shape, ignored }).is_err() {
        return Ok(());
    }
    let mut batch = Batch::new();
    loop {
        match records.next().map_err(|e| broken(records.line())(e)) {
            Ok(Found::End) => break,
            Ok(Found::Broken(line, reason)) => batch.take(line, records.raw(), Err(reason), &mut reading.remarks),
            Ok(Found::Record(line)) => {
                let row = if records.len() != width {
                    Err(format!("has {} cells, the header has {width}", records.len()))
                } else {
                    let mut cells = Cells::new(T::KIND);
                    records.text().ok_or_else(|| "is not UTF-8 text".to_owned()).and_then(|fields| {
                        for (n, target) in targets.iter().enumerate() {
                            cells.put_text(target, fields.get(n).ok_or("is not UTF-8 text")?)?;
                        }
                        T::read(&mut reading, cells)
                    })
                };
                batch.take(line, records.raw(), row, &mut reading.remarks);
            }
            Err(stop) => {
                // What was read before the break is written; the break is told after it.
                let _ = send.blocking_send(Message::Batch(batch));
                return Err(stop);
            }
        }
        if batch.is_full() && send.blocking_send(Message::Batch(std::mem::replace(&mut batch, Batch::new()))).is_err() {
            return Ok(());
        }
    }
    let _ = send.blocking_send(Message::Batch(batch));
    Ok(())
}

fn read_jsonl<T: Table>(
    input: Input,
    mut mapping: Mapping,
    mut reading: Reading,
    send: &mpsc::Sender<Message<T::Row>>,
) -> Result<(), Stop> {
    let mut lines = records::Lines::new(input.bytes);
    let mut batch = Batch::new();
    let mut buffer = Vec::new();
    loop {
        let line = match lines.next(buffer) {
            Ok(Some(line)) => line,
            Ok(None) => break,
            Err(e) => {
                let _ = send.blocking_send(Message::Batch(batch));
                return Err(broken(lines.number())(e));
            }
        };
        if !line.bytes.trim_ascii().is_empty() {
            let row = if line.cut {
                Err(records::too_long())
            } else {
                object(&line.bytes).and_then(|object| {
                    let mut cells = Cells::new(T::KIND);
                    put_object(&mut cells, object, |key| mapping.target(key))?;
                    T::read(&mut reading, cells)
                })
            };
            batch.take(line.number, &line.bytes, row, &mut reading.remarks);
        }
        buffer = line.bytes;
        if batch.is_full() && send.blocking_send(Message::Batch(std::mem::replace(&mut batch, Batch::new()))).is_err() {
            return Ok(());
        }
    }
    let _ = send.blocking_send(Message::Batch(batch));
    Ok(())
}

fn object(line: &[u8]) -> Result<serde_json::Map<String, serde_json::Value>, String> {
    let text = std::str::from_utf8(line).map_err(|_| "is not UTF-8 text".to_owned())?;
    match serde_json::from_str(text) {
        Ok(serde_json::Value::Object(object)) => Ok(object),
        Ok(_) => Err("is not a JSON object".to_owned()),
        Err(e) => Err(format!("is not JSON: {}", e.to_string().replace(" at line 1 column ", " at column "))),
    }
}

/// Write a batch in one transaction, again if that is worth it.
async fn write<T: Table>(db: &Db, table: &mut T, batch: &Batch<T::Row>, now: Millis) -> DbResult<Written> {
    let mut wait = RETRY_FIRST;
    for _ in 1..TRIES_MAX {
        match write_once(db, table, batch, now).await {
            Err(e) if e.is_retryable() || matches!(e, DbError::InDoubt(_)) => {
                *table = T::default();
                tokio::time::sleep(wait).await;
                wait *= 2;
            }
            ended => return ended,
        }
    }
    write_once(db, table, batch, now).await
}

async fn write_once<T: Table>(db: &Db, table: &mut T, batch: &Batch<T::Row>, now: Millis) -> DbResult<Written> {
    if batch.rows.is_empty() {
        return Ok(Written::default());
    }
    let mut tx = db.begin().await?;
    let written = table.write(&mut tx, &batch.rows, now).await?;
    tx.commit().await?;
    Ok(written)
}

impl ImportTotals {
    fn add<R>(&mut self, batch: &Batch<R>, written: Written, rejects: &mut Rejects) -> std::io::Result<()> {
        let read = (batch.rows.len() + batch.rejected.len()) as u64;
        let mut rejected: Vec<(u64, &str, &[u8])> =
            batch.rejected.iter().map(|r| (r.line, r.reason.as_str(), r.raw.as_slice())).collect();
        rejected.extend(written.rejected.iter().map(|(i, why)| (batch.marks[*i].0, why.as_str(), batch.raw_of(*i))));
        rejected.sort_by_key(|(line, ..)| *line);
        for (line, reason, raw) in &rejected {
            rejects.keep(*line, reason, raw)?;
            list(&mut self.rejected_rows, *line, reason);
        }
        for Place { line, reason } in &batch.remarks {
            list(&mut self.warned_rows, *line, reason);
        }
        let accepted = read - rejected.len() as u64;
        self.read += read;
        self.rejected += rejected.len() as u64;
        self.warnings += batch.remarks.len() as u64;
        self.changed += written.changed;
        self.repeated += written.repeated;
        self.unchanged += accepted.saturating_sub(written.changed + written.repeated);
        self.customers_created += written.customers_created;
        self.consents_changed += written.consents_changed;
        Ok(())
    }
}

fn list(places: &mut Vec<Place>, line: u64, reason: &str) {
    if places.len() < LISTED_MAX {
        places.push(Place { line, reason: reason.to_owned() });
    }
}

/// Note that an import began; without `finished_at` it did not end.
async fn begin_batch(db: &Db, totals: &ImportTotals, began: Millis) -> DbResult<String> {
    let seed = format!("{}\n{}\n{began}\n{}", totals.kind, totals.source, std::process::id());
    let batch_id = format!("{began:013}-{:08x}", stable_hash(seed.as_bytes()) as u32);
    db.execute(
        "INSERT INTO import_batch (batch_id, kind, source, started_at, read_rows, written_rows, unchanged_rows, rejected_rows) \
         VALUES ($1, $2, $3, $4, 0, 0, 0, 0) ON CONFLICT DO NOTHING",
        args![&batch_id, totals.kind, &totals.source, began],
    )
    .await?;
    Ok(batch_id)
}

async fn end_batch(db: &Db, batch_id: &str, totals: &ImportTotals, finished: Millis) -> DbResult<()> {
    let count = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    db.execute(
        "UPDATE import_batch SET finished_at = $2, read_rows = $3, written_rows = $4, unchanged_rows = $5, rejected_rows = $6 \
         WHERE batch_id = $1",
        args![
            batch_id,
            finished,
            count(totals.read),
            count(totals.changed),
            count(totals.unchanged + totals.repeated),
            count(totals.rejected)
        ],
    )
    .await?;
    Ok(())
}
