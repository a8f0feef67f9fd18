//! Where SQLite and Postgres differ: table layout, row locks, bulk parameters. Everything else is one SQL text.

/// The engine behind an open database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    Sqlite,
    Postgres,
}

impl Dialect {
    /// Appended to the inner SELECT of a claim on table alias `k`: rows another session holds are passed over. SQLite has one writer and needs none.
    pub fn claim(self) -> &'static str {
        match self {
            Dialect::Sqlite => "",
            Dialect::Postgres => "FOR UPDATE OF k SKIP LOCKED",
        }
    }

    /// Appended to a SELECT on table alias `k` whose rows must stay as they are until this transaction ends.
    pub fn hold(self) -> &'static str {
        match self {
            Dialect::Sqlite => "",
            Dialect::Postgres => "FOR SHARE OF k",
        }
    }

    /// A migration text in this engine's words: `CLUSTERED` after a table means that rows lie in key order.
    pub fn ddl(self, text: &str) -> String {
        match self {
            Dialect::Sqlite => text.replace(" CLUSTERED", " WITHOUT ROWID"),
            Dialect::Postgres => text.replace(" CLUSTERED", ""),
        }
    }
}
