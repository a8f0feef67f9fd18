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
                let json = readable_json(json);
                format!(
                    "CASE WHEN json_typeof({json} -> {path}) IN ('string', 'number', 'boolean') THEN {json} ->> {path} END"
                )
            }
        }
    }

    /// The member of a JSON object, to be compared with texts that read neither as a number nor as `true`, `false`, a list or an object: then it
    /// equals one of them exactly when [`Dialect::json_scalar`] does, for less.
    pub fn json_word(self, json: &str, path: &str) -> String {
        match self {
            Dialect::Sqlite => format!("{json} ->> {path}"),
            Dialect::Postgres => format!("{} ->> {path}", readable_json(json)),
        }
    }

    /// The member of a JSON object as a number: what [`Dialect::decimal_of`] makes of its text.
    pub fn json_decimal(self, json: &str, path: &str) -> String {
        match self {
            Dialect::Sqlite => format!(
                "CASE json_type({json}, {path}) WHEN 'integer' THEN \
                 CASE WHEN LENGTH({json} -> {path}) <= {DECIMAL_CHARS_MAX} THEN CAST({json} ->> {path} AS DOUBLE PRECISION) END \
                 WHEN 'real' THEN {} WHEN 'text' THEN {} END",
                self.decimal_of(&format!("({json} -> {path})")),
                self.decimal_of(&format!("({json} ->> {path})"))
            ),
            Dialect::Postgres => self.decimal_of(&format!("({})", self.json_scalar(json, path))),
        }
    }

    /// A condition: the member of a JSON object is a list that holds one of the texts `wanted` (placeholders), or a text that does when it is
    /// taken apart at `;`. Members of a list are compared by their text: strings, whole numbers, `true` and `false`.
    pub fn json_list_has(self, json: &str, path: &str, wanted: &[String]) -> String {
        let list = wanted.join(", ");
        let apart = |text: &str, found: &dyn Fn(&str, &str) -> String| {
            let text = format!("(';' || REPLACE({text}, '; ', ';') || ';')");
            let parts: Vec<String> = wanted.iter().map(|w| found(&text, &format!("(';' || {w} || ';')"))).collect();
            parts.join(" OR ")
        };
        match self {
            Dialect::Sqlite => format!(
                "(CASE json_type({json}, {path}) WHEN 'array' THEN EXISTS (SELECT 1 FROM json_each({json}, {path}) j_ \
                 WHERE (CASE j_.type WHEN 'text' THEN j_.value WHEN 'integer' THEN CAST(j_.value AS TEXT) WHEN 'true' THEN 'true' \
                 WHEN 'false' THEN 'false' END) IN ({list})) WHEN 'text' THEN {apart} END) IS TRUE",
                apart = apart(&format!("({json} ->> {path})"), &|text, part| format!("INSTR({text}, {part}) > 0")),
            ),
            Dialect::Postgres => {
                let json = readable_json(json);
                format!(
                    "(CASE json_typeof({json} -> {path}) WHEN 'array' THEN EXISTS (SELECT 1 FROM json_array_elements({json} -> {path}) \
                     AS j_ (value) WHERE (CASE json_typeof(j_.value) WHEN 'string' THEN j_.value #>> '{{}}' \
                     WHEN 'boolean' THEN j_.value #>> '{{}}' WHEN 'number' THEN SUBSTRING(j_.value #>> '{{}}' FROM '^-?[0-9]+$') END) \
                     IN ({list})) WHEN 'string' THEN {apart} END) IS TRUE",
                    apart = apart(&format!("({json} ->> {path})"), &|text, part| format!("STRPOS({text}, {part}) > 0")),
                )
            }
        }
    }

    /// A condition: the member of a JSON object is a list.
    pub fn json_is_list(self, json: &str, path: &str) -> String {
        match self {
            Dialect::Sqlite => format!("(json_type({json}, {path}) = 'array') IS TRUE"),
            Dialect::Postgres => format!("(json_typeof({} -> {path}) = 'array') IS TRUE", readable_json(json)),
        }
    }

    /// A condition: the value is one of a list bound as one JSON text, of texts or of numbers.
    pub fn in_json_list(self, value: &str, list: &str, of_numbers: bool) -> String {
        match (self, of_numbers) {
            (Dialect::Sqlite, _) => format!("{value} IN (SELECT value FROM json_each({list}))"),
            (Dialect::Postgres, false) => {
                format!("{value} IN (SELECT json_array_elements_text(CAST({list} AS JSON)))")
            }
            (Dialect::Postgres, true) => {
                format!("{value} IN (SELECT CAST(json_array_elements_text(CAST({list} AS JSON)) AS DOUBLE PRECISION))")
            }
        }
    }

    /// A condition: a text holds a part, by its characters.
    pub fn text_holds(self, text: &str, part: &str) -> String {
        match self {
            Dialect::Sqlite => format!("INSTR({text}, {part}) > 0"),
            Dialect::Postgres => format!("STRPOS({text}, {part}) > 0"),
        }
    }

    /// A condition: a text is like a bound pattern ([`Dialect::pattern`]); case counts.
    pub fn text_like(self, text: &str, pattern: &str) -> String {
        match self {
            Dialect::Sqlite => format!("{text} GLOB {pattern}"),
            Dialect::Postgres => format!("{text} LIKE {pattern}"),
        }
    }

    /// What to bind for [`Dialect::text_like`]: `*` is any run of characters, `?` exactly one, everything else itself.
    pub fn pattern(self, pattern: &str) -> String {
        match self {
            Dialect::Sqlite => pattern.replace('[', "[[]"),
            Dialect::Postgres => {
                let escaped = pattern.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_");
                escaped.replace('*', "%").replace('?', "_")
            }
        }
    }

    /// A text expression when it is a date, `YYYY-MM-DD`; else NULL. Whether there is such a day is not asked.
    pub fn date_of(self, text: &str) -> String {
        let is_date = match self {
            Dialect::Sqlite => {
                format!("LENGTH({text}) = 10 AND {text} GLOB '[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]'")
            }
            Dialect::Postgres => format!("{text} ~ '^[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}$'"),
        };
        format!("CASE WHEN {is_date} THEN {text} END")
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

/// A text column read as JSON on Postgres, whose text holds no NUL: reading an escaped one would fail the whole statement.
fn readable_json(json: &str) -> String {
    format!("CAST(REPLACE({json}, '\\u0000', '\\ufffd') AS JSON)")
}

/// A text that [`Dialect::date_of`] takes for a date.
pub fn is_date(text: &str) -> bool {
    let digits = |range: std::ops::Range<usize>| text.as_bytes()[range].iter().all(u8::is_ascii_digit);
    text.len() == 10
        && digits(0..4)
        && digits(5..7)
        && digits(8..10)
        && text.as_bytes()[4] == b'-'
        && text.as_bytes()[7] == b'-'
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
