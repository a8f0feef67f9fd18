//! One record by our column names, whatever the format it came in, and the readers of typed cells.
//!
//! A cell is *absent* (the file does not speak of it), *empty* (it says "nothing") or text. Every reader's error is a sentence fit for
//! the list of rejected rows: what stands there, what is wrong, what would be right.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::columns::{KNOWN_MAX, Kind, Target};
use super::limits::{CELL_BYTES_MAX, FUTURE_MS_MAX, ID_BYTES_MAX};
use super::money::{Decimal, MoneyError};
use crate::clock::{self, Millis};
use crate::db::stable_hash;
use crate::problem::nearest;

/// Characters of a cell that a message shows.
const SHOWN_CHARS: usize = 40;

/// What one cell says.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) enum Cell<'a> {
    #[default]
    Absent,
    Empty,
    Text(Cow<'a, str>),
}

/// One record.
#[derive(Debug)]
pub(super) struct Cells<'a> {
    kind: Kind,
    known: [Cell<'a>; KNOWN_MAX],
    /// Attributes or properties in the order of the file; null where the cell is empty.
    pub(super) further: Vec<(Cow<'a, str>, Value)>,
}

/// A cell that may be left as it is (`None`), cleared (`Some(None)`) or set.
pub(super) type Stated = Option<Option<String>>;

impl<'a> Cells<'a> {
    pub(super) fn new(kind: Kind) -> Cells<'a> {
        Cells { kind, known: Default::default(), further: Vec::new() }
    }

    /// Take a cell of a CSV file.
    pub(super) fn put_text(&mut self, target: &'a Target, text: &'a str) -> Result<(), String> {
        let text = text.trim();
        match target {
            Target::Skip => {}
            Target::Known(n) => {
                self.known[*n] = if text.is_empty() { Cell::Empty } else { Cell::Text(Cow::Borrowed(text)) };
            }
            Target::Further(name) => {
                let value = if text.is_empty() { Value::Null } else { Value::String(text.to_owned()) };
                self.further.push((Cow::Borrowed(name), value));
            }
        }
        if text.len() > CELL_BYTES_MAX {
            return Err(format!("a cell is larger than {} KiB: {}", CELL_BYTES_MAX >> 10, shown(text)));
        }
        Ok(())
    }

    /// Take a member of a JSON object. Lists become text separated by `;`, objects their JSON text.
    pub(super) fn put_json(&mut self, target: Target, value: Value) -> Result<(), String> {
        let size = match &value {
            Value::String(s) => s.len(),
            Value::Array(_) | Value::Object(_) => value.to_string().len(),
            _ => 0,
        };
        if size > CELL_BYTES_MAX {
            return Err(format!("a value is larger than {} KiB", CELL_BYTES_MAX >> 10));
        }
        match target {
            Target::Skip => {}
            Target::Further(name) => self.further.push((Cow::Owned(name.to_string()), value)),
            Target::Known(n) => self.known[n] = cell_of(value),
        }
        Ok(())
    }

    fn name(&self, n: usize) -> &'static str {
        self.kind.columns()[n]
    }

    /// The cell's text; `None` when it is absent or empty.
    pub(super) fn text(&self, n: usize) -> Option<&str> {
        match &self.known[n] {
            Cell::Text(t) => Some(t),
            _ => None,
        }
    }

    /// The cell's text; an error when there is none.
    pub(super) fn required(&self, n: usize) -> Result<&str, String> {
        self.text(n).ok_or_else(|| match self.known[n] {
            Cell::Empty => format!("`{}` is empty", self.name(n)),
            _ => format!("`{}` is missing", self.name(n)),
        })
    }

    /// Whether the file speaks of this cell at all.
    pub(super) fn is_stated(&self, n: usize) -> bool {
        self.known[n] != Cell::Absent
    }

    /// The cell as a wish: leave, clear or set.
    pub(super) fn stated(&self, n: usize) -> Stated {
        match &self.known[n] {
            Cell::Absent => None,
            Cell::Empty => Some(None),
            Cell::Text(t) => Some(Some(t.to_string())),
        }
    }

    /// A required id: at most [`ID_BYTES_MAX`] bytes, no control characters.
    pub(super) fn id(&self, n: usize) -> Result<&str, String> {
        let id = self.required(n)?;
        check_id(self.name(n), id)?;
        Ok(id)
    }

    /// A required amount in minor units.
    pub(super) fn money(&self, n: usize, exponent: u32) -> Result<i64, String> {
        self.amount(n, |d| d.to_minor(exponent))
    }

    /// A required decimal, turned into minor units by `to_minor`.
    pub(super) fn amount(
        &self,
        n: usize,
        to_minor: impl FnOnce(Decimal) -> Result<i64, MoneyError>,
    ) -> Result<i64, String> {
        let text = self.required(n)?;
        Decimal::parse(text).and_then(to_minor).map_err(|e| format!("`{}`: `{}` {e}", self.name(n), shown(text)))
    }

    /// A required whole number (`12` or `12.0`).
    pub(super) fn integer(&self, n: usize) -> Result<i64, String> {
        let text = self.required(n)?;
        Decimal::parse(text)
            .and_then(|d| d.to_minor(0))
            .map_err(|_| format!("`{}`: `{}` is not a whole number", self.name(n), shown(text)))
    }

    /// A required instant, not more than a day ahead.
    pub(super) fn instant(&self, n: usize, shop: &Shop) -> Result<Millis, String> {
        let text = self.required(n)?;
        let at = clock::parse_instant(text, &shop.zone).ok_or_else(|| {
            format!(
                "`{}`: `{}` is not an instant (write 2026-11-24, 2026-11-24T09:00 or 2026-11-24T09:00:00+01:00)",
                self.name(n),
                shown(text)
            )
        })?;
        if at > shop.now + FUTURE_MS_MAX {
            return Err(format!("`{}`: `{}` lies in the future", self.name(n), shown(text)));
        }
        Ok(at)
    }

    /// A required yes or no.
    pub(super) fn boolean(&self, n: usize) -> Result<bool, String> {
        let text = self.required(n)?;
        match text.to_ascii_lowercase().as_str() {
            "true" | "yes" | "1" | "y" | "t" => Ok(true),
            "false" | "no" | "0" | "n" | "f" => Ok(false),
            _ => Err(format!("`{}`: `{}` is neither true nor false", self.name(n), shown(text))),
        }
    }
}

fn cell_of(value: Value) -> Cell<'static> {
    let text = match value {
        Value::Null => return Cell::Empty,
        Value::String(s) => s.trim().to_owned(),
        Value::Array(list) => {
            let parts: Vec<String> =
                list.into_iter().map(|v| v.as_str().map_or_else(|| v.to_string(), str::to_owned)).collect();
            parts.join(";")
        }
        other => other.to_string(),
    };
    if text.is_empty() { Cell::Empty } else { Cell::Text(Cow::Owned(text)) }
}

/// Whether a text can be an id.
pub(super) fn check_id(name: &str, id: &str) -> Result<(), String> {
    if id.len() > ID_BYTES_MAX {
        return Err(format!("`{name}` is longer than {ID_BYTES_MAX} bytes: {}", shown(id)));
    }
    if id.chars().any(char::is_control) {
        return Err(format!("`{name}` holds a control character: {}", shown(id)));
    }
    Ok(())
}

/// The beginning of a text, fit for a message.
pub(super) fn shown(text: &str) -> String {
    let mut out: String = text.chars().take(SHOWN_CHARS).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if text.chars().nth(SHOWN_CHARS).is_some() {
        out.push('…');
    }
    out
}

/// "did you mean `x`?" or the list of words, for the end of a reason.
pub(super) fn hint<'w>(word: &str, known: impl IntoIterator<Item = &'w str> + Clone) -> String {
    match nearest(word, known.clone()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("known: {}", known.into_iter().collect::<Vec<_>>().join(", ")),
    }
}

/// A JSON object's members sorted into known cells and further ones.
pub(super) fn put_object(
    cells: &mut Cells<'_>,
    object: Map<String, Value>,
    mut target: impl FnMut(&str) -> Result<Target, String>,
) -> Result<(), String> {
    for (key, value) in object {
        let target = target(&key)?;
        cells.put_json(target, value)?;
    }
    Ok(())
}

/// What of the settings reading needs.
#[derive(Debug, Clone)]
pub(super) struct Shop {
    pub(super) zone: jiff::tz::TimeZone,
    pub(super) currency: String,
    /// Decimal places of the currency.
    pub(super) exponent: u32,
    /// Names of the project's topics.
    pub(super) topics: Vec<String>,
    pub(super) now: Millis,
    /// The name of the source, for rows that remember where they came from.
    pub(super) source: String,
}

impl Shop {
    /// A remark when the project has topics and this is none of them.
    pub(super) fn remark_on_topic(&self, topic: &str) -> Option<String> {
        if self.topics.is_empty() || self.topics.iter().any(|t| t == topic) {
            return None;
        }
        let hint = hint(topic, self.topics.iter().map(String::as_str));
        Some(format!("the topic `{}` is not among `topics` of okaeri.yaml; {hint}", shown(topic)))
    }
}

/// What reading remembers from row to row.
#[derive(Debug)]
pub(super) struct Reading {
    pub(super) shop: Shop,
    /// Remarks on the present row: it is taken, but something about it deserves a look.
    pub(super) remarks: Vec<String>,
    /// How many lines each order had so far, by a hash of its id.
    lines: std::collections::HashMap<u64, u32>,
}

impl Reading {
    pub(super) fn new(shop: Shop) -> Reading {
        Reading { shop, remarks: Vec::new(), lines: std::collections::HashMap::new() }
    }

    /// The running number of a line within its order, from 1 in the order of the file. Two ids with one hash would share a count, which
    /// leaves gaps and no harm.
    pub(super) fn number_line(&mut self, order_id: &str) -> Result<i64, String> {
        let key = stable_hash(order_id.as_bytes());
        if self.lines.len() >= super::limits::ORDERS_NUMBERED_MAX && !self.lines.contains_key(&key) {
            return Err(format!(
                "more than {} orders without `line_no` in one file: add the column or split the file",
                super::limits::ORDERS_NUMBERED_MAX
            ));
        }
        let n = self.lines.entry(key).or_default();
        *n += 1;
        Ok(i64::from(*n))
    }
}
