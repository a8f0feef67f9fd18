//! What can be imported: the kinds, their columns, and the way from the columns of a file to ours.

use std::collections::HashMap;
use std::sync::Arc;

use super::limits::{COLUMNS_MAX, ID_BYTES_MAX};
use crate::problem::nearest;

/// A kind of data. The order is the order of dependence: what is named earlier is imported earlier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    Products,
    Customers,
    Consents,
    Orders,
    Lines,
    Events,
    Suppressions,
}

/// Columns of the reject files, passed over when such a file is imported after correction.
pub(super) const REJECTED_LINE: &str = "rejected_line";
pub(super) const REJECTED_REASON: &str = "rejected_reason";
pub(super) const REJECTED_TEXT: &str = "rejected_text";

/// Our columns of any kind at most.
pub(super) const KNOWN_MAX: usize = 10;

impl Kind {
    /// All kinds, in the order of dependence.
    pub const ALL: [Kind; 7] =
        [Kind::Products, Kind::Customers, Kind::Consents, Kind::Orders, Kind::Lines, Kind::Events, Kind::Suppressions];

    /// The word used on the command line and in `sources:`.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Products => "products",
            Kind::Customers => "customers",
            Kind::Consents => "consents",
            Kind::Orders => "orders",
            Kind::Lines => "lines",
            Kind::Events => "events",
            Kind::Suppressions => "suppressions",
        }
    }

    /// The kind of that name.
    pub fn parse(name: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|k| k.name() == name)
    }

    /// Our columns; the modules in `kinds/` number their cells by position in this list.
    pub fn columns(self) -> &'static [&'static str] {
        match self {
            Kind::Products => &["sku", "name", "category", "price", "url", "image_url"],
            Kind::Customers => {
                &["customer_id", "email", "first_name", "last_name", "locale", "time_zone", "country", "consent"]
            }
            Kind::Consents => &["customer_id", "topic", "granted", "at"],
            Kind::Orders => &["order_id", "customer_id", "ordered_at", "total", "currency", "status"],
            Kind::Lines => {
                &["order_id", "sku", "quantity", "line_no", "amount", "unit_price", "customer_id", "ordered_at"]
            }
            Kind::Events => &["customer_id", "name", "at", "event_id", "properties"],
            Kind::Suppressions => &["address", "scope", "reason", "at"],
        }
    }

    /// The columns a CSV header must have. JSONL rows are judged one by one.
    fn required(self) -> &'static [&'static str] {
        match self {
            Kind::Products => &["sku"],
            Kind::Customers => &["customer_id"],
            Kind::Consents => &["customer_id", "topic", "granted"],
            Kind::Orders => &["order_id", "customer_id", "ordered_at", "total"],
            Kind::Lines => &["order_id", "sku", "quantity"],
            Kind::Events => &["customer_id", "name", "at"],
            Kind::Suppressions => &["address"],
        }
    }

    /// What further columns become; `None` when there is no place for them and they are passed over.
    fn further(self) -> Option<&'static str> {
        match self {
            Kind::Products | Kind::Customers => Some("attribute"),
            Kind::Events => Some("property"),
            _ => None,
        }
    }
}

/// Where a column of the file goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Target {
    /// Our column of this number.
    Known(usize),
    /// An attribute or property of this name.
    Further(Arc<str>),
    /// Nowhere.
    Skip,
}

/// The mapping of one import: `theirs=ours` pairs over the default names.
#[derive(Debug)]
pub(super) struct Mapping {
    kind: Kind,
    named: HashMap<String, Target>,
    seen: HashMap<String, Target>,
}

impl Mapping {
    /// `map` holds (their column, ours); ours may be `-`: leave it out. The message of an error names what is wrong and the remedy.
    pub(super) fn new(kind: Kind, map: &[(String, String)]) -> Result<Mapping, String> {
        let mut named = HashMap::new();
        for (theirs, ours) in map {
            let target = if ours == "-" {
                Target::Skip
            } else if let Some(n) = kind.columns().iter().position(|c| c == ours) {
                Target::Known(n)
            } else if kind.further().is_some() {
                Target::Further(further_name(ours)?)
            } else {
                let near = nearest(ours, kind.columns().iter().copied());
                let hint = near.map_or_else(
                    || format!("{} have {}", kind.name(), kind.columns().join(", ")),
                    |n| format!("did you mean `{n}`?"),
                );
                return Err(format!(
                    "the mapping {theirs}={ours}: `{ours}` is not a column of {}\n{hint}",
                    kind.name()
                ));
            };
            named.insert(theirs.clone(), target);
        }
        Ok(Mapping { kind, named, seen: HashMap::new() })
    }

    /// Where one column goes. Our own names are recognised in any case and with spaces for underscores (`First Name`).
    pub(super) fn target(&mut self, theirs: &str) -> Result<Target, String> {
        if let Some(t) = self.seen.get(theirs) {
            return Ok(t.clone());
        }
        let target = self.decide(theirs)?;
        if self.seen.len() < COLUMNS_MAX {
            self.seen.insert(theirs.to_owned(), target.clone());
        }
        Ok(target)
    }

    fn decide(&self, theirs: &str) -> Result<Target, String> {
        let name = theirs.trim();
        if let Some(t) = self.named.get(name) {
            return Ok(t.clone());
        }
        if [REJECTED_LINE, REJECTED_REASON, REJECTED_TEXT].contains(&name) || name.is_empty() {
            return Ok(Target::Skip);
        }
        let plain = name.to_lowercase().replace([' ', '-'], "_");
        // A column that another one was mapped to is taken; this one keeps its own name.
        if let Some(n) = self.kind.columns().iter().position(|c| *c == plain)
            && !self.named.values().any(|t| *t == Target::Known(n))
        {
            return Ok(Target::Known(n));
        }
        match self.kind.further() {
            Some(_) => Ok(Target::Further(further_name(name)?)),
            None => Ok(Target::Skip),
        }
    }

    /// The targets of a CSV header and the columns that go nowhere; every mistake of the header is an error with its remedy.
    pub(super) fn header(&mut self, header: &[&str]) -> Result<(Vec<Target>, Vec<String>), String> {
        let targets: Vec<Target> = header.iter().map(|h| self.target(h)).collect::<Result<_, _>>()?;
        for (i, t) in targets.iter().enumerate() {
            if *t != Target::Skip && targets[..i].contains(t) {
                return Err(format!(
                    "two columns are `{}`: the {} and the {}\nname one of them in --map theirs=ours, or leave it out with theirs=-",
                    header[i].trim(),
                    ordinal(1 + targets.iter().position(|o| o == t).expect("contained above")),
                    ordinal(1 + i),
                ));
            }
        }
        for theirs in self.named.keys() {
            if !header.iter().any(|h| h.trim() == theirs) {
                let hint = nearest(theirs, header.iter().map(|h| h.trim()))
                    .map_or_else(|| format!("it has {}", listed(header)), |n| format!("did you mean `{n}`?"));
                return Err(format!("the mapping names `{theirs}`, which the file has not\n{hint}"));
            }
        }
        let has = |name: &str| {
            self.kind.columns().iter().position(|c| *c == name).is_some_and(|n| targets.contains(&Target::Known(n)))
        };
        let mut missing: Vec<&str> = self.kind.required().iter().copied().filter(|c| !has(c)).collect();
        if self.kind == Kind::Lines && !has("amount") && !has("unit_price") {
            missing.push("amount (or unit_price)");
        }
        if !missing.is_empty() {
            return Err(format!(
                "no column `{}` for {}; the file has {}\nname it with --map theirs={}",
                missing.join("`, `"),
                self.kind.name(),
                listed(header),
                missing[0].split(' ').next().unwrap_or_default(),
            ));
        }
        let skipped = header
            .iter()
            .zip(&targets)
            .filter(|(h, t)| {
                **t == Target::Skip && !h.trim().starts_with("rejected_") && !self.named.contains_key(h.trim())
            })
            .map(|(h, _)| h.trim().to_owned())
            .filter(|h| !h.is_empty())
            .collect();
        Ok((targets, skipped))
    }
}

fn further_name(name: &str) -> Result<Arc<str>, String> {
    if name.len() > ID_BYTES_MAX || name.chars().any(char::is_control) {
        return Err(format!("the column name `{}` is too long or holds control characters", super::cells::shown(name)));
    }
    Ok(name.into())
}

fn listed(header: &[&str]) -> String {
    const SHOWN: usize = 24;
    let mut names: Vec<String> = header.iter().take(SHOWN).map(|h| super::cells::shown(h.trim())).collect();
    if header.len() > SHOWN {
        names.push(format!("and {} more", header.len() - SHOWN));
    }
    names.join(", ")
}

fn ordinal(n: usize) -> String {
    let suffix = match (n % 10, n % 100) {
        (1, t) if t != 11 => "st",
        (2, t) if t != 12 => "nd",
        (3, t) if t != 13 => "rd",
        _ => "th",
    };
    format!("{n}{suffix}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(kind: Kind, map: &[(&str, &str)], header: &[&str]) -> Result<(Vec<Target>, Vec<String>), String> {
        let map: Vec<(String, String)> = map.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
        Mapping::new(kind, &map)?.header(header)
    }

    #[test]
    fn columns_find_their_place() {
        let (targets, skipped) =
            header(Kind::Customers, &[("id", "customer_id"), ("secret", "-")], &["id", "First Name", "secret", "好き"])
                .unwrap();
        assert_eq!(targets, [Target::Known(0), Target::Known(2), Target::Skip, Target::Further("好き".into())]);
        assert!(skipped.is_empty());

        let map = [("product_id", "sku")];
        let (targets, skipped) =
            header(Kind::Lines, &map, &["order_id", "product_id", "quantity", "unit_price", "note"]).unwrap();
        assert_eq!(targets[..4], [Target::Known(0), Target::Known(1), Target::Known(2), Target::Known(5)]);
        assert_eq!(skipped, ["note"]);
    }

    #[test]
    fn a_header_that_cannot_work_says_why() {
        for (kind, map, cells, message) in [
            (
                Kind::Orders,
                &[][..],
                &["order_id", "customer_id", "ordered_at", "amount"][..],
                "no column `total` for orders; the file has order_id, customer_id, ordered_at, amount\nname it with --map theirs=total",
            ),
            (
                Kind::Orders,
                &[("amonut", "total")],
                &["order_id", "customer_id", "ordered_at", "amount"],
                "the mapping names `amonut`, which the file has not\ndid you mean `amount`?",
            ),
            (
                Kind::Orders,
                &[("amount", "totl")],
                &["amount"],
                "the mapping amount=totl: `totl` is not a column of orders\ndid you mean `total`?",
            ),
            (
                Kind::Customers,
                &[],
                &["customer_id", "email", "Email"],
                "two columns are `Email`: the 2nd and the 3rd\nname one of them in --map theirs=ours, or leave it out with theirs=-",
            ),
        ] {
            assert_eq!(header(kind, map, cells).unwrap_err(), message);
        }
    }
}
