//! A lint for SQL: does a statement keep the rules by which one text runs on SQLite, on Postgres, and on Citus, where `bucket` says on
//! which machine a row lies?
//!
//! [`lint`] takes one statement as it goes to an engine and gives every violation in words; [`lint_migration`] takes a script of the
//! schema. Which tables grow with customers is read from the migrations themselves, so a new table is known as soon as it exists. What the lint cannot
//! parse or does not know is a violation too: nothing passes by being strange.
//!
//! The rules:
//! * Tables that grow with customers meet (JOIN, comma, EXISTS, IN) on equal bucket **and** customer_id, or on bucket, chunk_id and seq. Derived
//!   tables and common table expressions carry the columns they select. Small tables and lists of values meet by any key.
//! * GROUP BY, DISTINCT and PARTITION BY over them begin with bucket and customer_id (or chunk_id); the outermost SELECT may group as it likes.
//! * A subquery over such a table that does not depend on its surroundings names the bucket range by placeholders, because no engine
//!   pushes it in. A list of values whose bucket is equal is a range too.
//! * Keys and ON CONFLICT targets of such tables contain bucket, and bucket is never updated.
//! * `INSERT … SELECT … ON CONFLICT` has a WHERE; a derived table has an alias; SUM and AVG are inside a CAST (a SUM that is only compared
//!   is exact everywhere).
//! * Never: the clock, chance or hashes in SQL; triggers, GROUPING SETS, recursion, DISTINCT ON, LATERAL, MERGE, NOT IN (subquery),
//!   `x::t` outside of UNNEST, a change whose rows an `IN (SELECT … LIMIT …)` picks.
//!
//! What it does not see: plans, types, tie-breaks of ORDER BY, and conditions that hold for other reasons than equality.
//!
//! Read on: `block` (one SELECT), `expression`, `change` (writes and schema), `names` (what columns are equal), `tests`.

mod block;
mod change;
mod expression;
mod from;
mod names;
mod parse;
mod schema;
mod tests;

use std::collections::HashMap;
use std::fmt::Display;

use okaeri::db::Dialect;
use sqlparser::ast::Statement;

use names::Output;
use schema::{Schema, schema};

/// Generated statements nest deeply, and so does whoever walks them.
const STACK_BYTES: usize = 256 * 1024 * 1024;
/// How much of an offending piece is shown.
const SHOWN_CHARS: usize = 160;

/// What one statement, as it goes to `dialect`, breaks; empty when it keeps every rule.
pub fn lint(sql: &str, dialect: Dialect) -> Vec<String> {
    on_a_deep_stack(|| match parse::statements(sql, dialect) {
        Ok(statements) if statements.len() == 1 => Linter::new(schema()).whole(&statements[0]),
        Ok(statements) => vec![format!("{} statements in one text; the lint takes one", statements.len())],
        Err(e) => vec![e],
    })
}

/// What a script of the schema breaks, in the words of `dialect`, when the scripts of `earlier` have been run.
pub fn lint_migration(earlier: &str, script: &str, dialect: Dialect) -> Vec<String> {
    let parsed = |text: &str| parse::statements(&dialect.ddl(text), dialect);
    on_a_deep_stack(|| match parsed(earlier).and_then(|earlier| Ok((earlier, parsed(script)?))) {
        Ok((earlier, statements)) => {
            let mut schema = Schema::of(&earlier);
            let mut found = Vec::new();
            for statement in &statements {
                schema.apply(statement);
                found.extend(Linter::new(&schema).whole(statement));
            }
            found
        }
        Err(e) => vec![e],
    })
}

/// The scripts that make the schema, in their order: name and text.
pub fn migrations() -> Vec<(String, String)> {
    schema::scripts()
}

fn on_a_deep_stack(work: impl FnOnce() -> Vec<String> + Send) -> Vec<String> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(STACK_BYTES).spawn_scoped(scope, work);
        thread.expect("a thread can be started").join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// The common table expressions that a query sees.
type Known = HashMap<String, Output>;

/// One statement under examination.
struct Linter<'s> {
    schema: &'s Schema,
    found: Vec<String>,
    /// Every relation of a statement has a number of its own, so that an alias used twice is no trouble.
    relations: usize,
    /// The outermost depth of a scope that a column was found in, since it was last set.
    reached: usize,
    /// Inside UPDATE or DELETE.
    changing: bool,
}

impl<'s> Linter<'s> {
    fn new(schema: &'s Schema) -> Linter<'s> {
        Linter { schema, found: Vec::new(), relations: 0, reached: usize::MAX, changing: false }
    }

    fn whole(mut self, statement: &Statement) -> Vec<String> {
        self.statement(statement, &Known::new());
        self.found
    }

    fn say(&mut self, violation: String) {
        if !self.found.contains(&violation) {
            self.found.push(violation);
        }
    }
}

/// A piece of SQL as violations show it.
fn shown(piece: &impl Display) -> String {
    let text = piece.to_string();
    match text.char_indices().nth(SHOWN_CHARS) {
        Some((end, _)) => format!("`{} …`", &text[..end]),
        None => format!("`{text}`"),
    }
}
