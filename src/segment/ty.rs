//! The types of what rules compare, and which comparisons fit each.

use crate::profile::fields::Kind;
use crate::settings::PropertyType;

/// What is compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ty {
    Number,
    Real,
    /// Authors write major units.
    Money,
    /// Authors write dates.
    Instant,
    Text,
    /// One of these.
    Words(Vec<String>),
    /// Text inside JSON, which reads as a number when compared with one: what no contract declares.
    Open,
    /// Inside JSON: a number.
    JsonNumber,
    Flag,
    /// `YYYY-MM-DD`.
    Date,
    List,
}

impl Ty {
    pub fn of(kind: Kind) -> Ty {
        match kind {
            Kind::Number | Kind::Days => Ty::Number,
            Kind::Real => Ty::Real,
            Kind::Money => Ty::Money,
            Kind::Instant => Ty::Instant,
            Kind::Text => Ty::Text,
        }
    }

    /// Of a property kept in JSON.
    pub fn declared(ty: &PropertyType) -> Ty {
        match ty {
            PropertyType::Text => Ty::Text,
            PropertyType::Words(words) => Ty::Words(words.clone()),
            PropertyType::Number | PropertyType::Money => Ty::JsonNumber,
            PropertyType::Flag => Ty::Flag,
            PropertyType::Date => Ty::Date,
            PropertyType::List => Ty::List,
        }
    }

    pub fn described(&self) -> &'static str {
        match self {
            Ty::Number | Ty::Real | Ty::JsonNumber => "a number",
            Ty::Money => "an amount of money",
            Ty::Instant => "an instant",
            Ty::Text => "text",
            Ty::Words(_) => "one of a few words",
            Ty::Open => "a column or property of your own",
            Ty::Flag => "true or false",
            Ty::Date => "a date",
            Ty::List => "a list",
        }
    }

    /// The comparisons that make sense.
    pub fn keys(&self) -> &'static [&'static str] {
        match self {
            Ty::Number | Ty::Real | Ty::Money | Ty::JsonNumber => {
                &["gte", "gt", "lte", "lt", "between", "eq", "in", "exists"]
            }
            Ty::Instant => &["gte", "gt", "lte", "lt", "eq", "in", "exists", "anniversary", "day_of_month", "weekday"],
            Ty::Text => &["eq", "in", "exists", "starts_with", "contains", "matches"],
            Ty::Words(_) | Ty::Flag => &["eq", "in", "exists"],
            Ty::Open => &[
                "gte",
                "gt",
                "lte",
                "lt",
                "between",
                "eq",
                "in",
                "exists",
                "starts_with",
                "contains",
                "matches",
                "has",
            ],
            Ty::Date => &["gte", "gt", "lte", "lt", "between", "eq", "in", "exists", "anniversary", "day_of_month"],
            Ty::List => &["has", "exists"],
        }
    }
}
