//! What a value of a rule is compared with: numbers, texts, lists, dates, patterns. Pure; compiled by `sql`, decided in plain Rust by `explain`.

use jiff::civil::Date;

use crate::profile::fields::Field;

/// A comparison.
#[derive(Debug, Clone, PartialEq)]
pub enum Check {
    Compare(Op, Number),
    /// Equal to one of these.
    In(Vec<Operand>),
    /// Known, or not known.
    Exists(bool),
    /// With another field of the same customer: times `factor`, plus `plus` (minor units, days or milliseconds, as the field has).
    Field {
        op: Op,
        field: &'static Field,
        factor: f64,
        plus: f64,
    },
    /// Text begins so; case counts.
    StartsWith(String),
    /// Text holds this; case counts.
    Contains(String),
    /// Text is like this; case counts.
    Matches(Pattern),
    /// A list holds one of these: a JSON list, or text separated by `;`.
    Has(Vec<String>),
    /// A date, compared with one.
    Date(Op, Date),
    /// The local date is one of these.
    Calendar(Calendar),
}

/// A question about the local date of an instant, or about a date.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Calendar {
    /// Days of the week, Monday is 0.
    Weekday(Vec<i64>),
    /// Days of the month, 1 to 31.
    DayOfMonth(Vec<i64>),
    /// A later year's return of the day lies between so many days before today and so many after. The 29th of February returns on the 28th
    /// in common years.
    Anniversary { before: i64, after: i64 },
}

/// A text pattern: `*` is any run of characters, `?` exactly one. Texts longer than [`Pattern::TEXT_CHARS_MAX`] match none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern(pub String);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Op {
    Gte,
    Gt,
    Lte,
    Lt,
}

impl Op {
    /// As SQL writes it.
    pub fn sign(self) -> &'static str {
        match self {
            Op::Gte => ">=",
            Op::Gt => ">",
            Op::Lte => "<=",
            Op::Lt => "<",
        }
    }

    /// Whether it holds for an ordering of left to right.
    pub fn holds(self, ordering: std::cmp::Ordering) -> bool {
        match self {
            Op::Gte => ordering.is_ge(),
            Op::Gt => ordering.is_gt(),
            Op::Lte => ordering.is_le(),
            Op::Lt => ordering.is_lt(),
        }
    }
}

/// A number to compare with. Money is in minor units, an instant in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Number {
    Int(i64),
    Real(f64),
}

impl Number {
    /// As a number with a fraction.
    pub fn as_f64(self) -> f64 {
        match self {
            Number::Int(i) => i as f64,
            Number::Real(r) => r,
        }
    }
}

/// A value to be equal to.
#[derive(Debug, Clone, PartialEq)]
pub enum Operand {
    Number(Number),
    Text(String),
    Flag(bool),
}

impl Pattern {
    /// Engines look for a pattern by trying; this bounds their trouble.
    pub const TEXT_CHARS_MAX: usize = 1_000;

    /// Whether a text is like it.
    pub fn matches(&self, text: &str) -> bool {
        if text.chars().count() > Pattern::TEXT_CHARS_MAX {
            return false;
        }
        // ends[i]: the first i characters of the pattern can end here. One pass over the text, no backtracking.
        let pattern: Vec<char> = self.0.chars().collect();
        let runs_on = |ends: &mut Vec<bool>| {
            for (i, _) in pattern.iter().enumerate().filter(|(_, p)| **p == '*') {
                ends[i + 1] |= ends[i];
            }
        };
        let mut ends = vec![false; pattern.len() + 1];
        ends[0] = true;
        runs_on(&mut ends);
        for c in text.chars() {
            let mut next = vec![false; pattern.len() + 1];
            for (i, p) in pattern.iter().enumerate().filter(|(i, _)| ends[*i]) {
                match p {
                    '*' => next[i] = true,
                    p => next[i + 1] |= *p == '?' || *p == c,
                }
            }
            runs_on(&mut next);
            ends = next;
        }
        ends[pattern.len()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_a_whole() {
        let like = |pattern: &str, text: &str| Pattern(pattern.to_owned()).matches(text);
        assert!(like("*@example.com", "mia@example.com") && like("*@example.com", "@example.com"));
        assert!(!like("*@example.com", "mia@example.com.evil.example") && !like("*@example.com", "mia@EXAMPLE.com"));
        assert!(like("A-??*", "A-桜花") && like("A-??*", "A-12345") && !like("A-??*", "A-1"));
        assert!(like("*", "") && !like("?", "") && like("a[b]%_", "a[b]%_") && !like("a_", "ab"));
        assert!(!like("*a*a*b", &"a".repeat(1_000)) && !like("*", &"a".repeat(1_001)));
    }
}
