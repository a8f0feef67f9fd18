//! Members of JSON objects that are stored as text, in SQL.
//!
//! Postgres takes a text apart anew for each member that is asked for, which is most of what a segment over attributes costs: where a row is
//! asked several times, its members are read into columns once ([`Dialect::json_columns`]).

use super::Dialect;
use super::dialect::DECIMAL_CHARS_MAX;

/// A member of a JSON object.
#[derive(Debug, Clone, Copy)]
pub enum Member<'a> {
    /// Of the text in a column; `path` is the placeholder that [`Dialect::json_key`] is bound to.
    Of { json: &'a str, path: &'a str },
    /// In a column that [`Dialect::json_columns`] made.
    Read(&'a str),
}

impl Member<'_> {
    /// On Postgres, as JSON.
    fn json(self) -> String {
        match self {
            Member::Of { json, path } => format!("{} -> {path}", readable(json)),
            Member::Read(column) => column.to_owned(),
        }
    }

    /// On Postgres, as text; NULL for null.
    fn text(self) -> String {
        match self {
            Member::Of { json, path } => format!("{} ->> {path}", readable(json)),
            Member::Read(column) => format!("{column} #>> '{{}}'"),
        }
    }

    /// On SQLite, the column and the path.
    fn place(self) -> (String, String) {
        match self {
            Member::Of { json, path } => (json.to_owned(), path.to_owned()),
            Member::Read(column) => (column.to_owned(), "'$'".to_owned()),
        }
    }
}

/// A text column read as JSON on Postgres, whose text holds no NUL: reading an escaped one would fail the whole statement.
fn readable(json: &str) -> String {
    format!("CAST(REPLACE({json}, '\\u0000', '\\ufffd') AS JSON)")
}

impl Dialect {
    /// What to bind for [`Member::Of`] to read `key`. A key holds no `"` and no `\`.
    pub fn json_key(self, key: &str) -> String {
        match self {
            Dialect::Sqlite => format!("$.\"{key}\""),
            Dialect::Postgres => key.to_owned(),
        }
    }

    /// Members of the JSON in a column read into columns `m0, m1 …` beside it, of the rows of `from` (FROM's text with its WHERE) over alias `alias`: a
    /// subquery to be put in its place, its rows in the order of their customers. `None` where reading a member again costs little.
    pub fn json_columns(self, from: &str, alias: &str, column: &str, paths: &[String]) -> Option<String> {
        if self == Dialect::Sqlite || paths.is_empty() {
            return None;
        }
        let key = format!("{alias}.bucket, {alias}.customer_id");
        let members: Vec<String> =
            paths.iter().enumerate().map(|(n, path)| format!("{alias}.json -> {path} AS m{n}")).collect();
        // OFFSET 0: Postgres would otherwise write the expressions out wherever they are named.
        Some(format!(
            "(SELECT {key}, {alias}.{column}, {} FROM (SELECT {key}, {alias}.{column}, {} AS json FROM {from} ORDER BY {key} OFFSET 0) {alias} ORDER BY {key} OFFSET 0)",
            members.join(", "),
            readable(&format!("{alias}.{column}")),
        ))
    }

    /// A condition that costs little and holds wherever the member of a JSON object can be, or have in it, one of the texts `wanted` (placeholders). `None`
    /// where nothing is cheaper than looking.
    pub fn json_may_hold(self, json: &str, wanted: &[String]) -> Option<String> {
        match self {
            Dialect::Sqlite => None,
            // What is not written as it is, is written with a backslash.
            Dialect::Postgres => {
                let parts: Vec<String> = wanted.iter().map(|w| format!("STRPOS({json}, {w}) > 0")).collect();
                Some(format!("({} OR STRPOS({json}, '\\') > 0)", parts.join(" OR ")))
            }
        }
    }

    /// The member as text: strings unquoted, numbers as they are written, `true` and `false`; NULL when it is absent, null, an object or a list.
    pub fn json_scalar(self, member: Member) -> String {
        match self {
            Dialect::Sqlite => {
                let (json, path) = member.place();
                format!(
                    "CASE json_type({json}, {path}) WHEN 'text' THEN {json} ->> {path} WHEN 'integer' THEN {json} -> {path} \
                     WHEN 'real' THEN {json} -> {path} WHEN 'true' THEN 'true' WHEN 'false' THEN 'false' END"
                )
            }
            Dialect::Postgres => format!(
                "CASE WHEN json_typeof({}) IN ('string', 'number', 'boolean') THEN {} END",
                member.json(),
                member.text()
            ),
        }
    }

    /// The member, to be compared with texts that read neither as a number nor as `true`, `false`, a list or an object: then it equals one of them
    /// exactly when [`Dialect::json_scalar`] does, for less.
    pub fn json_word(self, member: Member) -> String {
        match self {
            Dialect::Sqlite => {
                let (json, path) = member.place();
                format!("{json} ->> {path}")
            }
            Dialect::Postgres => member.text(),
        }
    }

    /// The member as a number: what [`Dialect::decimal_of`] makes of its text.
    pub fn json_decimal(self, member: Member) -> String {
        match self {
            Dialect::Sqlite => {
                let (json, path) = member.place();
                format!(
                    "CASE json_type({json}, {path}) WHEN 'integer' THEN \
                     CASE WHEN LENGTH({json} -> {path}) <= {DECIMAL_CHARS_MAX} THEN CAST({json} ->> {path} AS DOUBLE PRECISION) END \
                     WHEN 'real' THEN {} WHEN 'text' THEN {} END",
                    self.decimal_of(&format!("({json} -> {path})")),
                    self.decimal_of(&format!("({json} ->> {path})"))
                )
            }
            Dialect::Postgres => self.decimal_of(&format!("({})", self.json_scalar(member))),
        }
    }

    /// A condition: the member is a list that holds one of the texts `wanted` (placeholders), or a text that does when it is taken apart at `;`.
    /// Members of a list are compared by their text: strings, whole numbers, `true` and `false`.
    pub fn json_list_has(self, member: Member, wanted: &[String]) -> String {
        let list = wanted.join(", ");
        let apart = |text: &str, found: &dyn Fn(&str, &str) -> String| {
            let text = format!("(';' || REPLACE({text}, '; ', ';') || ';')");
            let parts: Vec<String> = wanted.iter().map(|w| found(&text, &format!("(';' || {w} || ';')"))).collect();
            parts.join(" OR ")
        };
        match self {
            Dialect::Sqlite => {
                let (json, path) = member.place();
                format!(
                    "(CASE json_type({json}, {path}) WHEN 'array' THEN EXISTS (SELECT 1 FROM json_each({json}, {path}) j_ \
                     WHERE (CASE j_.type WHEN 'text' THEN j_.value WHEN 'integer' THEN CAST(j_.value AS TEXT) WHEN 'true' THEN 'true' \
                     WHEN 'false' THEN 'false' END) IN ({list})) WHEN 'text' THEN {apart} END) IS TRUE",
                    apart = apart(&format!("({json} ->> {path})"), &|text, part| format!("INSTR({text}, {part}) > 0")),
                )
            }
            Dialect::Postgres => format!(
                "(CASE json_typeof({json}) WHEN 'array' THEN EXISTS (SELECT 1 FROM json_array_elements({json}) \
                 AS j_ (value) WHERE (CASE json_typeof(j_.value) WHEN 'string' THEN j_.value #>> '{{}}' \
                 WHEN 'boolean' THEN j_.value #>> '{{}}' WHEN 'number' THEN SUBSTRING(j_.value #>> '{{}}' FROM '^-?[0-9]+$') END) \
                 IN ({list})) WHEN 'string' THEN {apart} END) IS TRUE",
                json = member.json(),
                apart = apart(&format!("({})", member.text()), &|text, part| format!("STRPOS({text}, {part}) > 0")),
            ),
        }
    }

    /// A condition: the member is a list.
    pub fn json_is_list(self, member: Member) -> String {
        match self {
            Dialect::Sqlite => {
                let (json, path) = member.place();
                format!("(json_type({json}, {path}) = 'array') IS TRUE")
            }
            Dialect::Postgres => format!("(json_typeof({}) = 'array') IS TRUE", member.json()),
        }
    }
}
