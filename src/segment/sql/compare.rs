//! Comparisons in SQL: each true or false, never null.

use super::{Writer, balanced};
use crate::clock;
use crate::db;
use crate::profile::day::anniversaries;
use crate::profile::fields::Kind;
use crate::segment::rule::{Attribute, Calendar, Check, Number, Op, Operand, Pattern, What, Window};

/// Lists longer than this are bound as one JSON text, because engines limit how many values a statement has.
const LIST_BINDS_MAX: usize = 32;

/// A value to compare.
#[derive(Debug, Clone)]
pub(super) struct Expression {
    source: Source,
    /// Adds up to whole numbers.
    pub is_whole: bool,
    /// A date as text.
    is_date: bool,
}

#[derive(Debug, Clone)]
enum Source {
    Sql(String),
    /// A member of stored JSON: its text is a number only when it reads as one.
    Json(Member),
}

/// Where a value lies in stored JSON: the column, and the placeholder of the path.
#[derive(Debug, Clone)]
struct Member {
    column: String,
    path: String,
    /// It is the customer's own, read once for each of them.
    is_own: bool,
    /// The column that it is in already.
    read: Option<String>,
}

impl Member {
    fn of(&self) -> db::Member<'_> {
        match &self.read {
            Some(column) => db::Member::Read(column),
            None => db::Member::Of { json: &self.column, path: &self.path },
        }
    }
}

impl Expression {
    /// A whole number or text.
    pub fn plain(sql: String) -> Expression {
        Expression { source: Source::Sql(sql), is_whole: true, is_date: false }
    }

    /// A number with a fraction.
    pub fn real(sql: String) -> Expression {
        Expression { is_whole: false, ..Expression::plain(sql) }
    }

    fn json(&self) -> Option<&Member> {
        match &self.source {
            Source::Json(member) => Some(member),
            Source::Sql(_) => None,
        }
    }
}

impl Writer<'_> {
    /// The value of a field or attribute.
    pub(super) fn value_of(&mut self, what: &What) -> Expression {
        match what {
            What::Field(field) if field.kind == Kind::Real => Expression::real(field.sql.to_owned()),
            What::Field(field) => Expression::plain(field.sql.to_owned()),
            What::Attribute(attribute) => self.json_member("c.attributes", attribute, true),
        }
    }

    /// A member of the JSON object of a row.
    pub(super) fn member_of(&mut self, column: &str, attribute: &Attribute) -> Expression {
        self.json_member(column, attribute, false)
    }

    fn json_member(&mut self, column: &str, attribute: &Attribute, is_own: bool) -> Expression {
        let path = self.binds.bind(self.dialect.json_key(&attribute.name));
        let read = if is_own { self.own_member(&path) } else { None };
        let source = Source::Json(Member { column: column.to_owned(), path, is_own, read });
        Expression { source, is_whole: false, is_date: attribute.is_date }
    }

    /// A value as it is: of JSON, its text.
    pub(super) fn text(&mut self, value: &Expression) -> String {
        match &value.source {
            Source::Sql(sql) => sql.clone(),
            Source::Json(member) => {
                let text = format!("({})", self.dialect.json_scalar(member.of()));
                let sql = if value.is_date { format!("({})", self.dialect.date_of(&text)) } else { text };
                self.read(member, sql)
            }
        }
    }

    /// A value as a number; null when it is none.
    pub(super) fn as_number(&mut self, value: &Expression) -> String {
        match &value.source {
            Source::Sql(sql) => sql.clone(),
            Source::Json(member) => {
                let sql = self.dialect.json_decimal(member.of());
                self.read(member, sql)
            }
        }
    }

    /// What is read from JSON, in its place or from where it was read once.
    fn read(&mut self, member: &Member, sql: String) -> String {
        if member.is_own { self.own(sql) } else { sql }
    }

    fn read_condition(&mut self, member: &Member, holds: String) -> String {
        if member.is_own {
            format!("({} = 1) IS TRUE", self.own(format!("CASE WHEN {holds} THEN 1 ELSE 0 END")))
        } else {
            holds
        }
    }

    /// A comparison: true or false, never null.
    pub(super) fn check(&mut self, value: &Expression, check: &Check) -> String {
        match check {
            Check::Exists(wanted) => self.exists(value, *wanted),
            Check::Compare(op, number) => {
                let (left, right) = (self.as_number(value), self.number(*number, value));
                format!("(({left}) {} {right}) IS TRUE", op.sign())
            }
            Check::Field { op, field, factor, plus } => {
                let sql = self.text(value);
                let real = |e: &str| format!("CAST({e} AS DOUBLE PRECISION)");
                let mut right = format!("{} * {}", real(field.sql), self.binds.bind(*factor));
                if *plus != 0.0 {
                    right.push_str(&format!(" + {}", self.binds.bind(*plus)));
                }
                format!("({} {} {right}) IS TRUE", real(&sql), op.sign())
            }
            Check::In(operands) => self.one_of(value, operands),
            Check::StartsWith(text) => {
                let (sql, text) = (self.text(value), self.binds.bind(text));
                format!("(SUBSTR({sql}, 1, LENGTH({text})) = {text}) IS TRUE")
            }
            Check::Contains(text) => {
                let (sql, text) = (self.text(value), self.binds.bind(text));
                format!("({}) IS TRUE", self.dialect.text_holds(&sql, &text))
            }
            Check::Matches(Pattern(pattern)) => {
                let (sql, pattern) = (self.text(value), self.binds.bind(self.dialect.pattern(pattern)));
                let like = self.dialect.text_like(&sql, &pattern);
                format!("(LENGTH({sql}) <= {} AND {like}) IS TRUE", Pattern::TEXT_CHARS_MAX)
            }
            Check::Has(texts) => match value.json() {
                Some(member) => {
                    let wanted: Vec<String> = texts.iter().map(|t| self.binds.bind(t)).collect();
                    let has = self.dialect.json_list_has(member.of(), &wanted);
                    let has = match self.dialect.json_may_hold(&member.column, &wanted) {
                        Some(may) => format!("({may} AND {has})"),
                        None => has,
                    };
                    self.read_condition(member, has)
                }
                None => "1 = 0".to_owned(),
            },
            Check::Date(op, date) => {
                let (sql, date) = (self.text(value), self.binds.bind(date.to_string()));
                format!("({sql} {} {} {date}) IS TRUE", self.dialect.bytewise(), op.sign())
            }
            Check::Calendar(calendar) => self.calendar(value, calendar),
        }
    }

    fn exists(&mut self, value: &Expression, wanted: bool) -> String {
        let text = self.text(value);
        let known = match value.json() {
            // A list is known, though it is no single value.
            Some(member) if !value.is_date => {
                let is_list = self.dialect.json_is_list(member.of());
                format!("({text} IS NOT NULL OR {})", self.read_condition(member, is_list))
            }
            _ => format!("{text} IS NOT NULL"),
        };
        if wanted { format!("({known})") } else { format!("NOT ({known})") }
    }

    fn one_of(&mut self, value: &Expression, operands: &[Operand]) -> String {
        let mut numbers = Vec::new();
        let mut texts = Vec::new();
        for operand in operands {
            match operand {
                Operand::Number(n) => numbers.push(*n),
                Operand::Text(t) => texts.push(t.clone()),
                Operand::Flag(flag) => texts.push(flag.to_string()),
            }
        }
        let mut parts = Vec::new();
        if !numbers.is_empty() {
            let left = format!("({})", self.as_number(value));
            parts.push(if numbers.len() > LIST_BINDS_MAX {
                let list: Vec<f64> = numbers.iter().map(|n| n.as_f64()).collect();
                let list = self.binds.bind(serde_json::to_string(&list).expect("numbers serialise"));
                self.dialect.in_json_list(&format!("CAST({left} AS DOUBLE PRECISION)"), &list, true)
            } else {
                let list: Vec<String> = numbers.iter().map(|n| self.number(*n, value)).collect();
                format!("{left} IN ({})", list.join(", "))
            });
        }
        if !texts.is_empty() {
            let word = value.json().filter(|_| !value.is_date && texts.iter().all(|t| is_word(t)));
            let text = match word {
                Some(member) => self.read(member, format!("({})", self.dialect.json_word(member.of()))),
                None => self.text(value),
            };
            parts.push(if texts.len() > LIST_BINDS_MAX {
                let list = self.binds.bind(serde_json::to_string(&texts).expect("texts serialise"));
                self.dialect.in_json_list(&text, &list, false)
            } else {
                let list: Vec<String> = texts.iter().map(|t| self.binds.bind(t)).collect();
                let holds = format!("{text} IN ({})", list.join(", "));
                // What is the customer's own is read once anyway.
                match value.json().filter(|m| !m.is_own).and_then(|m| self.dialect.json_may_hold(&m.column, &list)) {
                    Some(may) => format!("{may} AND {holds}"),
                    None => holds,
                }
            });
        }
        balanced(parts.into_iter().map(|p| format!("({p}) IS TRUE")).collect(), " OR ")
    }

    fn number(&mut self, number: Number, of: &Expression) -> String {
        match number {
            Number::Int(i) if of.json().is_none() => self.binds.bind(i),
            n => self.binds.bind(n.as_f64()),
        }
    }

    /// A date of the customer's own lies in a window of whole days.
    pub(super) fn date_inside(&mut self, value: &Expression, window: &Window) -> String {
        let moment = &self.resolved.moment;
        let (from, until) = window.bounds(moment);
        let zone = moment.zone.clone();
        let mut parts = Vec::new();
        if let Some(from) = from {
            parts.push(self.check(value, &Check::Date(Op::Gte, clock::date_in(from, &zone))));
        }
        // The planning instant's own day belongs to the window; a day that `until` begins does not.
        let op = if window.more_than_ago.is_some() { Op::Lt } else { Op::Lte };
        parts.push(self.check(value, &Check::Date(op, clock::date_in(until, &zone))));
        balanced(parts, " AND ")
    }

    fn calendar(&mut self, value: &Expression, calendar: &Calendar) -> String {
        let text = self.text(value);
        if let Calendar::Weekday(days) = calendar {
            return self.on_weekdays(&text, days);
        }
        let number = if value.is_date {
            format!("CAST(REPLACE({text}, '-', '') AS BIGINT)")
        } else {
            self.date_number_of(&text)
        };
        let holds = match calendar {
            Calendar::Weekday(_) => unreachable!("decided above"),
            Calendar::DayOfMonth(days) => {
                let list: Vec<String> = days.iter().map(i64::to_string).collect();
                format!("q_.ymd % 100 IN ({})", list.join(", "))
            }
            Calendar::Anniversary { before, after } => {
                let years = anniversaries(self.resolved.moment.today, *before, *after);
                let parts = years
                    .into_iter()
                    .map(|(year, days)| {
                        let list: Vec<String> = days.iter().map(i64::to_string).collect();
                        format!("(q_.ymd / 10000 < {year} AND q_.ymd % 10000 IN ({}))", list.join(", "))
                    })
                    .collect();
                balanced(parts, " OR ")
            }
        };
        // The date is computed once, in a subquery of no table.
        format!("((SELECT CASE WHEN {holds} THEN 1 ELSE 0 END FROM (SELECT {number} AS ymd) q_) = 1) IS TRUE")
    }
}

/// A text that no number, flag, list or object of JSON reads as.
fn is_word(text: &str) -> bool {
    text.starts_with(char::is_alphabetic) && text != "true" && text != "false"
}
