//! Each rule of the lint with statements that break it and their twins that do not.

mod blocks;
mod changes;
mod meetings;
mod words;

use okaeri::db::Dialect::{self, Postgres, Sqlite};

use super::lint;

const BOTH: [Dialect; 2] = [Sqlite, Postgres];

/// The statement breaks rules in these words, one violation each, on every engine given.
#[track_caller]
fn breaks_on(engines: &[Dialect], sql: &str, told: &[&str]) {
    for engine in engines {
        let found = lint(sql, *engine);
        let as_told = found.len() == told.len() && found.iter().zip(told).all(|(f, t)| f.contains(t));
        assert!(as_told, "{engine:?}: {sql}\n  found {found:#?}\n  expected {told:#?}");
    }
}

#[track_caller]
fn breaks(sql: &str, told: &[&str]) {
    breaks_on(&BOTH, sql, told);
}

#[track_caller]
fn keeps(sql: &str) {
    breaks(sql, &[]);
}

/// Who is joined to whom in most statements here.
const ON_KEY: &str = "o.bucket = c.bucket AND o.customer_id = c.customer_id";
