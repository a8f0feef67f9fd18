//! Consent: one standing statement per customer and topic, and which of two statements stands.
//!
//! A statement is *dated* when it says when it was made (the person here, a consents file with `at`), and *undated* when it only
//! repeats what another system holds now (the `consent` column of a customers file). Rules:
//! 1. A dated statement replaces an undated one, and an earlier dated one. At the same instant a refusal stands.
//! 2. An undated statement replaces an undated one that says otherwise. It never replaces a dated one: a nightly export that still
//!    says "yes" must not undo what the person said since (docs/decisions/0003-unsubscribe-outlives-import.md).
//!
//! So dated statements commute; among undated ones the latest import stands.

use super::is_topic_name;
use crate::args;
use crate::clock::Millis;
use crate::db::{Conflict, DbResult, Tx, Value};

/// The source of undated statements. Every other source is dated.
pub const UNDATED: &str = "import";
/// The source of dated statements in imported files.
pub const DATED_IMPORT: &str = "import dated";

/// What a customer said about a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    pub bucket: i64,
    pub customer_id: String,
    pub topic: String,
    pub granted: bool,
    /// When it was made; for undated ones, when we learnt it.
    pub at: Millis,
    /// [`UNDATED`], [`DATED_IMPORT`], or who heard it here: `unsubscribe link`, `preference page`.
    pub source: String,
}

const COLUMNS: [&str; 6] = ["bucket", "customer_id", "topic", "granted", "at", "source"];
const STANDS: &str = "CASE WHEN excluded.source = 'import' \
     THEN consent.source = 'import' AND consent.granted <> excluded.granted \
     ELSE consent.source = 'import' OR excluded.at > consent.at \
       OR (excluded.at = consent.at AND consent.granted AND NOT excluded.granted) END";

/// Record statements; how many of them stand now and did not before. The order within the call is the order they were made in.
pub async fn state_all(tx: &mut Tx, statements: Vec<Statement>) -> DbResult<u64> {
    let mut standing: Vec<Statement> = Vec::with_capacity(statements.len());
    let mut at: std::collections::HashMap<(String, String), usize> = std::collections::HashMap::new();
    for s in statements {
        debug_assert!(is_topic_name(&s.topic), "topics are checked where they are read");
        match at.entry((s.customer_id.clone(), s.topic.clone())) {
            std::collections::hash_map::Entry::Vacant(e) => {
                e.insert(standing.len());
                standing.push(s);
            }
            std::collections::hash_map::Entry::Occupied(e) => {
                let old = &mut standing[*e.get()];
                if replaces(&s, old) {
                    *old = s;
                }
            }
        }
    }
    let rows: Vec<Value> =
        standing.into_iter().flat_map(|s| args![s.bucket, s.customer_id, s.topic, s.granted, s.at, s.source]).collect();
    let conflict = Conflict::UpdateWhen { key: &["bucket", "customer_id", "topic"], when: STANDS };
    tx.insert_rows("consent", &COLUMNS, rows, conflict).await
}

/// Whether a new statement replaces the one that stands. The SQL condition `STANDS` is the same rule.
pub fn replaces(new: &Statement, old: &Statement) -> bool {
    match (new.source != UNDATED, old.source != UNDATED) {
        (true, true) => new.at > old.at || (new.at == old.at && old.granted && !new.granted),
        (true, false) => true,
        (false, true) => false,
        (false, false) => new.granted != old.granted,
    }
}

/// The topics that undated statements grant to these customers (bucket, customer_id); what a new undated list takes back.
pub async fn granted_undated(tx: &mut Tx, customers: Vec<Value>) -> DbResult<Vec<(String, String)>> {
    tx.fetch_keyed(
        &["bucket", "customer_id"],
        customers,
        "SELECT n.customer_id, n.topic FROM k CROSS JOIN consent n WHERE n.bucket = k.bucket AND n.customer_id = k.customer_id \
         AND n.granted AND n.source = 'import' ORDER BY n.customer_id, n.topic",
    )
    .await
}
