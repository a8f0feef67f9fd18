//! Codes from a file: CSV with the column `code`, and `expires` if each has its own end. The same file again changes nothing.

use std::collections::HashMap;

use jiff::ToSpan as _;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::Serialize;

use super::key_of;
use crate::args;
use crate::clock::{self, Millis};
use crate::data::{From, List};
use crate::db::{Conflict, Db, DbResult, Value, bucket_of, retried};
use crate::settings::rewards::not_a_code;

/// Codes written in one transaction.
const BATCH_CODES: usize = 5_000;
/// Refused lines that are listed one by one.
const LISTED_MAX: usize = 20;
const COLUMNS: [&str; 2] = ["code", "expires"];
const CODE: [&str; 6] = ["bucket", "code_key", "pool", "code", "expires_at", "added_at"];

/// What came of a file. Every line is counted once.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Imported {
    pub read: u64,
    pub added: u64,
    /// In this pool already, by an earlier import or an earlier line.
    pub known: u64,
    pub refused: u64,
    /// The first of those refused.
    pub refused_lines: Vec<Refused>,
    pub ignored_columns: Vec<String>,
}

/// A line that was not taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Refused {
    pub line: u64,
    pub reason: String,
}

/// A line on its way.
struct Line {
    line: u64,
    bucket: i64,
    key: String,
    code: String,
    expires_at: Option<Millis>,
}

impl Imported {
    fn refuse(&mut self, line: u64, reason: String) {
        self.refused += 1;
        if self.refused_lines.len() < LISTED_MAX {
            self.refused_lines.push(Refused { line, reason });
        }
    }
}

/// Bring codes into a pool. The inner error is of the file, with the remedy on a second line; what was read before it stays.
pub async fn import(
    db: &Db,
    pool: &str,
    from: From,
    zone: &TimeZone,
    now: Millis,
) -> DbResult<Result<Imported, String>> {
    let mut list = match List::open(from, &COLUMNS) {
        Ok(list) => list,
        Err(why) => return Ok(Err(why)),
    };
    let mut imported = Imported { ignored_columns: std::mem::take(&mut list.ignored), ..Imported::default() };
    loop {
        let mut batch = Vec::with_capacity(BATCH_CODES);
        let ended = loop {
            match list.next_line() {
                Ok(Some((line, cells))) => {
                    imported.read += 1;
                    match cells.and_then(|cells| read(line, cells, zone, now)) {
                        Ok(line) => batch.push(line),
                        Err(reason) => imported.refuse(line, reason),
                    }
                }
                Ok(None) => break Some(Ok(())),
                Err(why) => break Some(Err(why)),
            }
            if batch.len() == BATCH_CODES {
                break None;
            }
        };
        write(db, pool, &batch, now, &mut imported).await?;
        match ended {
            Some(Ok(())) => return Ok(Ok(imported)),
            Some(Err(why)) => return Ok(Err(format!("{why}\n{} codes before it were brought in", imported.added))),
            None => {}
        }
    }
}

fn read(line: u64, cells: Vec<Option<String>>, zone: &TimeZone, now: Millis) -> Result<Line, String> {
    let mut cells = cells.into_iter();
    let code = cells.next().flatten().ok_or("has no code")?;
    if let Some(why) = not_a_code(&code) {
        return Err(format!("the code {why}"));
    }
    let expires_at = cells.next().flatten().map(|text| end_of(&text, zone)).transpose()?;
    if expires_at.is_some_and(|at| at <= now) {
        return Err("is over already".to_owned());
    }
    let key = key_of(&code);
    Ok(Line { line, bucket: bucket_of(&key), key, code, expires_at })
}

/// A day, which belongs to it, or an instant.
fn end_of(text: &str, zone: &TimeZone) -> Result<Millis, String> {
    if let Ok(day) = text.parse::<Date>() {
        return Ok(clock::start_of_day(day.saturating_add(1.day()), zone));
    }
    let shown: String = text.chars().take(40).collect();
    clock::parse_instant(text, zone).ok_or_else(|| format!("`{shown}` is no date: write 2026-12-31"))
}

async fn write(db: &Db, pool: &str, batch: &[Line], now: Millis, imported: &mut Imported) -> DbResult<()> {
    if batch.is_empty() {
        return Ok(());
    }
    let keys = || -> Vec<Value> { batch.iter().flat_map(|l| args![l.bucket, &l.key]).collect() };
    let sql = "SELECT c.code_key, c.pool FROM k CROSS JOIN reward_code c WHERE c.bucket = k.bucket AND c.code_key = k.code_key";
    let (added, pools) = retried(async || {
        let mut tx = db.begin().await?;
        let rows = batch.iter().flat_map(|l| args![l.bucket, &l.key, pool, &l.code, l.expires_at, now]).collect();
        let added = tx.insert_rows("reward_code", &CODE, rows, Conflict::Keep).await?;
        let pools: Vec<(String, String)> = tx.fetch_keyed(&["bucket", "code_key"], keys(), sql).await?;
        tx.commit().await?;
        Ok((added, pools))
    })
    .await?;
    let pools: HashMap<String, String> = pools.into_iter().collect();
    let mut ours = 0;
    for line in batch {
        match pools.get(&line.key) {
            Some(other) if other != pool => {
                imported.refuse(line.line, format!("`{}` is in the pool `{other}`: a code is given once", line.code));
            }
            _ => ours += 1,
        }
    }
    imported.added += added;
    imported.known += ours - added;
    Ok(())
}
