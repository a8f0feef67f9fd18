//! Where SQLite and Postgres differ: table layout, row locks, bulk parameters. Everything else is one SQL text.
//!
//! Read on: `json` (members of stored JSON), `layout` (how tables lie on Postgres).

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

    /// Ends the subquery of an EXISTS that few rows ask: each looks its own rows up. Postgres would otherwise read the whole table once and join.
    pub fn looked_up(self) -> &'static str {
        match self {
            Dialect::Sqlite => "",
            Dialect::Postgres => " OFFSET 0",
        }
    }

    /// An aggregate that [`Dialect::different`] counts the different values of, among the rows of a group that meet a condition. Postgres would begin
    /// a sort for every group, even one without such rows, which takes longer than all else.
    pub fn gathered(self, value: &str, filter: &str) -> String {
        match self {
            Dialect::Sqlite => format!("COUNT(DISTINCT {value}) FILTER (WHERE {filter})"),
            Dialect::Postgres => format!("ARRAY_AGG({value}) FILTER (WHERE {filter} AND {value} IS NOT NULL)"),
        }
    }

    /// How many different values were [`gathered`](Dialect::gathered) in a column; NULL may stand for none.
    pub fn different(self, gathered: &str) -> String {
        match self {
            Dialect::Sqlite => gathered.to_owned(),
            Dialect::Postgres => format!(
                "CASE WHEN CARDINALITY({gathered}) > 1 THEN (SELECT COUNT(DISTINCT u_.value) FROM UNNEST({gathered}) AS u_ (value)) \
                 ELSE CARDINALITY({gathered}) END"
            ),
        }
    }

    /// Events with all their columns but event_id, of the buckets `$1 … $2`, in the order of their customers: what follows FROM, before an alias.
    pub fn events_in_key_order(self) -> String {
        match self {
            Dialect::Sqlite => "event".to_owned(),
            Dialect::Postgres => super::layout::events_in_key_order(),
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
