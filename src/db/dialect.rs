//! Where SQLite and Postgres differ: table layout, row locks, bulk parameters. Everything else is one SQL text.

/// The engine behind an open database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    Sqlite,
    Postgres,
}

impl Dialect {
    /// Appended to the inner SELECT of a claim: rows locked by another session are passed over. SQLite has one writer and needs none.
    pub fn skip_locked(self) -> &'static str {
        match self {
            Dialect::Sqlite => "",
            Dialect::Postgres => "FOR UPDATE SKIP LOCKED",
        }
    }

    /// The keyword before a CTE that must be computed exactly once (claims would otherwise be re-run per row on Postgres).
    pub fn once(self) -> &'static str {
        "MATERIALIZED"
    }

    /// A migration text in this engine's words: `CLUSTERED` after a table means that rows lie in key order.
    pub fn ddl(self, text: &str) -> String {
        match self {
            Dialect::Sqlite => text.replace(" CLUSTERED", " WITHOUT ROWID"),
            Dialect::Postgres => text.replace(" CLUSTERED", ""),
        }
    }
}
