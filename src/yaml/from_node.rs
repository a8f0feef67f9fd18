//! What a node can be read as: text, numbers, yes or no, lists, shares, lengths of time.

use super::{Node, Shape};

/// A type that a scalar or list node can be read as.
pub trait FromNode: Sized {
    /// What a reader expects, as it is told to the author: "a whole number".
    const WANTED: &'static str;
    /// The value, or `None` when the node is something else.
    fn from_node(node: &Node) -> Option<Self>;
}

impl FromNode for String {
    const WANTED: &'static str = "text";
    fn from_node(node: &Node) -> Option<String> {
        match &node.shape {
            Shape::Text(t) => Some(t.clone()),
            Shape::Int(i) => Some(i.to_string()),
            _ => None,
        }
    }
}

impl FromNode for bool {
    const WANTED: &'static str = "true or false";
    fn from_node(node: &Node) -> Option<bool> {
        if let Shape::Bool(b) = node.shape { Some(b) } else { None }
    }
}

impl FromNode for i64 {
    const WANTED: &'static str = "a whole number";
    fn from_node(node: &Node) -> Option<i64> {
        if let Shape::Int(i) = node.shape { Some(i) } else { None }
    }
}

impl FromNode for u32 {
    const WANTED: &'static str = "a whole number, 0 or more";
    fn from_node(node: &Node) -> Option<u32> {
        i64::from_node(node).and_then(|i| u32::try_from(i).ok())
    }
}

impl FromNode for f64 {
    const WANTED: &'static str = "a number";
    fn from_node(node: &Node) -> Option<f64> {
        match node.shape {
            Shape::Int(i) => Some(i as f64),
            Shape::Real(r) if r.is_finite() => Some(r),
            _ => None,
        }
    }
}

impl<T: FromNode> FromNode for Vec<T> {
    const WANTED: &'static str = "a list";
    fn from_node(node: &Node) -> Option<Vec<T>> {
        match &node.shape {
            Shape::List(list) => list.iter().map(T::from_node).collect(),
            _ => None,
        }
    }
}

/// A share between 0 and 1, written `10%` or `0.1`.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Share(pub f64);

impl FromNode for Share {
    const WANTED: &'static str = "a share such as 10%";
    fn from_node(node: &Node) -> Option<Share> {
        let value = match &node.shape {
            Shape::Text(t) => t.trim().strip_suffix('%')?.trim().parse::<f64>().ok()? / 100.0,
            Shape::Int(0) => 0.0,
            Shape::Int(1) => 1.0,
            Shape::Real(r) => *r,
            _ => return None,
        };
        (0.0..=1.0).contains(&value).then_some(Share(value))
    }
}

/// A length of time, written `30d`, `12h`, `45m`, `2w`, `1y`. Days, weeks and years are whole local days; hours, minutes and seconds are exact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Span {
    Days(i64),
    Exact(crate::clock::Millis),
}

impl Span {
    /// The length in milliseconds, a day taken as 24 hours.
    pub fn millis(self) -> crate::clock::Millis {
        match self {
            Span::Days(d) => d * crate::clock::DAY,
            Span::Exact(ms) => ms,
        }
    }

    /// The instant so long before another: whole local days back from the day of `at`, or exactly.
    pub fn before(self, at: crate::clock::Millis, zone: &jiff::tz::TimeZone) -> crate::clock::Millis {
        match self {
            Span::Days(days) => crate::clock::days_before(at, days, zone),
            Span::Exact(ms) => at - ms,
        }
    }

    /// Read `30d` and its kin.
    pub fn parse(text: &str) -> Option<Span> {
        use crate::clock::{HOUR, MINUTE, SECOND};
        let text = text.trim();
        let digits = text.find(|c: char| !c.is_ascii_digit())?;
        let n: i64 = text[..digits].parse().ok().filter(|n| *n <= 1_000_000)?;
        Some(match text[digits..].trim() {
            "d" | "day" | "days" => Span::Days(n),
            "w" | "week" | "weeks" => Span::Days(7 * n),
            "y" | "year" | "years" => Span::Days(365 * n),
            "h" | "hour" | "hours" => Span::Exact(n * HOUR),
            "m" | "min" | "minutes" => Span::Exact(n * MINUTE),
            "s" | "seconds" => Span::Exact(n * SECOND),
            _ => return None,
        })
    }
}

impl std::fmt::Display for Span {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        use crate::clock::{HOUR, MINUTE, SECOND};
        match *self {
            Span::Days(d) => write!(f, "{d}d"),
            Span::Exact(ms) if ms % HOUR == 0 => write!(f, "{}h", ms / HOUR),
            Span::Exact(ms) if ms % MINUTE == 0 => write!(f, "{}m", ms / MINUTE),
            Span::Exact(ms) => write!(f, "{}s", ms / SECOND),
        }
    }
}

impl FromNode for Span {
    const WANTED: &'static str = "a length of time such as 30d, 12h or 45m";
    fn from_node(node: &Node) -> Option<Span> {
        if let Shape::Text(t) = &node.shape { Span::parse(t) } else { None }
    }
}
