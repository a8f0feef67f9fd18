//! The statements that the binary ran, each judged by `sql_lint`.
//!
//! Every process of a scenario writes down what it runs (`--record-statements`, which only debug builds have), and is judged when it has
//! ended: a test that leads the binary to a statement against the rules fails, whatever else it is about.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::{LazyLock, Mutex, PoisonError};

use okaeri::db::Dialect;

use super::sql_lint::lint;

/// A statement of which we know that it breaks a rule.
pub struct Exception {
    /// A piece of its text; spaces and line breaks count as one space.
    pub statement: &'static str,
    /// The beginning of what the lint says.
    pub violation: &'static str,
    /// Why it may.
    pub reason: &'static str,
}

/// All there are. A test in `sql_rules.rs` fails when one is no longer needed.
pub const EXCEPTIONS: [Exception; 6] = [
    Exception {
        statement: "WITH c AS MATERIALIZED (SELECT k.bucket, k.chunk_id FROM chunk k JOIN run r",
        violation: "the subquery c reads chunk k without a range",
        reason: "a claim takes what is due first, wherever it lies; on many machines it must ask bucket by bucket",
    },
    Exception {
        statement: "UPDATE delivery SET state = 'committed', commit_token = k.token",
        violation: "delivery and chunk c meet without equal bucket and chunk_id: bucket is not equal",
        reason: "a chunk may span buckets on one machine, and its lease is looked at in the same statement that commits",
    },
    Exception {
        statement: "(SELECT 1 FROM chunk k WHERE k.run_id = d.run_id AND k.chunk_id = d.chunk_id AND k.state = 'leased'",
        violation: "delivery d and chunk k meet without equal bucket and chunk_id: bucket is not equal",
        reason: "the same, where the whole ledger is verified",
    },
    Exception {
        statement: "(SELECT 1 FROM chunk k WHERE k.run_id = d.run_id AND k.chunk_id = d.chunk_id AND k.state <> 'done')",
        violation: "delivery d and chunk k meet without equal bucket and chunk_id: bucket is not equal",
        reason: "the same, where the whole ledger is verified",
    },
    Exception {
        statement: "(SELECT run_id, CAST(COUNT(*) AS BIGINT) AS people FROM entry GROUP BY run_id)",
        violation: "the subquery e reads entry without a range",
        reason: "the whole ledger is verified, run by run",
    },
    Exception {
        statement: "(SELECT run_id, CAST(COUNT(*) AS BIGINT) AS people FROM entry GROUP BY run_id)",
        violation: "GROUP BY `run_id` over entry does not begin with bucket",
        reason: "the same",
    },
];

/// A statement and the engine it went to.
pub type Emitted = (Dialect, String);

/// The statements a process wrote down; none when it ended before it could.
pub fn read(file: &Path) -> Vec<Emitted> {
    let text = match std::fs::read_to_string(file) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Vec::new(),
        Err(e) => panic!("{}: {e}", file.display()),
    };
    // A process that is killed while it writes leaves half a line of a statement that it did not run.
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole
        .lines()
        .map(|line| {
            let (engine, sql): (String, String) = serde_json::from_str(line).unwrap_or_else(|e| panic!("{line}: {e}"));
            match engine.as_str() {
                "sqlite" => (Dialect::Sqlite, sql),
                "postgres" => (Dialect::Postgres, sql),
                other => panic!("a statement for `{other}`"),
            }
        })
        .collect()
}

/// What a statement breaks and has no exception for. Each text is linted once per run of the tests.
pub fn violations(engine: Dialect, sql: &str) -> Vec<String> {
    let mut found = linted(engine, sql);
    found.retain(|violation| !exceptions(sql, violation).any(|_| true));
    found
}

/// The exceptions that a statement needs, by their place in [`EXCEPTIONS`].
pub fn needed(engine: Dialect, sql: &str) -> HashSet<usize> {
    linted(engine, sql).iter().flat_map(|violation| exceptions(sql, violation)).collect()
}

fn exceptions<'s>(sql: &'s str, violation: &'s str) -> impl Iterator<Item = usize> + use<'s> {
    let sql = sql.split_whitespace().collect::<Vec<_>>().join(" ");
    let applies = move |e: &Exception| violation.starts_with(e.violation) && sql.contains(e.statement);
    EXCEPTIONS.iter().enumerate().filter(move |(_, e)| applies(e)).map(|(n, _)| n)
}

fn linted(engine: Dialect, sql: &str) -> Vec<String> {
    type Judged = HashMap<(bool, String), Vec<String>>;
    static JUDGED: LazyLock<Mutex<Judged>> = LazyLock::new(Mutex::default);
    let key = (engine == Dialect::Sqlite, sql.to_owned());
    if let Some(found) = JUDGED.lock().unwrap_or_else(PoisonError::into_inner).get(&key) {
        return found.clone();
    }
    let found = lint(sql, engine);
    JUDGED.lock().unwrap_or_else(PoisonError::into_inner).insert(key, found.clone());
    found
}

/// Fails when a process ran a statement that breaks a rule.
#[track_caller]
pub fn judge(line: &str, file: &Path) {
    for (engine, sql) in read(file) {
        let found = violations(engine, &sql);
        assert!(
            found.is_empty(),
            "`okaeri {line}` ran a statement that breaks the rules of distributed SQL on {engine:?}:\n  {}\n--- {sql}",
            found.join("\n  ")
        );
    }
}
