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

    /// Appended to a text expression that is ordered or compared: by its bytes, whatever the database's collation.
    pub fn bytewise(self) -> &'static str {
        match self {
            Dialect::Sqlite => "COLLATE BINARY",
            Dialect::Postgres => "COLLATE \"C\"",
        }
    }

    /// An aggregate: the JSON object (as text) of a group's keys and values, in an order.
    pub fn json_object_of(self, key: &str, value: &str, order: &str) -> String {
        match self {
            Dialect::Sqlite => format!("json_group_object({key}, {value} ORDER BY {order})"),
            Dialect::Postgres => format!("CAST(json_object_agg({key}, {value} ORDER BY {order}) AS TEXT)"),
        }
    }

    /// The member of a JSON object as text: strings unquoted, numbers as they are written, `true` and `false`; NULL when it is absent,
    /// null, an object or a list. `path` is the placeholder that [`Dialect::json_key`] is bound to.
    pub fn json_scalar(self, json: &str, path: &str) -> String {
        match self {
            Dialect::Sqlite => format!(
                "CASE json_type({json}, {path}) WHEN 'text' THEN {json} ->> {path} WHEN 'integer' THEN {json} -> {path} \
                 WHEN 'real' THEN {json} -> {path} WHEN 'true' THEN 'true' WHEN 'false' THEN 'false' END"
            ),
            Dialect::Postgres => {
                // Its text holds no NUL, so reading an escaped one would fail the whole statement.
                let json = format!("CAST(REPLACE({json}, '\\u0000', '\\ufffd') AS JSON)");
                format!(
                    "CASE WHEN json_typeof({json} -> {path}) IN ('string', 'number', 'boolean') THEN {json} ->> {path} END"
                )
            }
        }
    }

    /// What to bind for [`Dialect::json_scalar`] to read `key`. A key holds no `"` and no `\`.
    pub fn json_key(self, key: &str) -> String {
        match self {
            Dialect::Sqlite => format!("$.\"{key}\""),
            Dialect::Postgres => key.to_owned(),
        }
    }

    /// A text expression read as a decimal number: digits with an optional sign and fraction, at most [`DECIMAL_CHARS_MAX`]
    /// characters; NULL when it is anything else. [`decimal`] is the same rule in Rust.
    pub fn decimal_of(self, text: &str) -> String {
        let is_number = match self {
            Dialect::Sqlite => format!(
                "LENGTH({text}) <= {DECIMAL_CHARS_MAX} AND {text} NOT GLOB '*[^-.0-9]*' AND json_valid({text}) \
                 AND json_type({text}) IN ('integer', 'real')"
            ),
            Dialect::Postgres => {
                format!("LENGTH({text}) <= {DECIMAL_CHARS_MAX} AND {text} ~ '^-?(0|[1-9][0-9]*)([.][0-9]+)?$'")
            }
        };
        format!("CASE WHEN {is_number} THEN CAST({text} AS DOUBLE PRECISION) END")
    }

    /// Appended to a SELECT on table alias `k` whose rows this transaction decides about: others that ask the same wait until it ends.
    pub fn lock(self) -> &'static str {
        match self {
            Dialect::Sqlite => "",
            Dialect::Postgres => "FOR UPDATE OF k",
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

/// A text longer than this is no number to a comparison.
pub const DECIMAL_CHARS_MAX: usize = 18;

/// A text as a decimal number, by the rule of [`Dialect::decimal_of`].
pub fn decimal(text: &str) -> Option<f64> {
    if text.chars().count() > DECIMAL_CHARS_MAX {
        return None;
    }
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = match unsigned.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (unsigned, None),
    };
    let digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
    let well_formed = digits(whole) && (whole.len() == 1 || !whole.starts_with('0')) && fraction.is_none_or(digits);
    well_formed.then(|| text.parse().ok()).flatten()
}
