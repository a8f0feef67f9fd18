//! Events: what people did beside buying. Open-ended names, properties as JSON; a few declared properties also fill columns, so that
//! segments can ask for them without reading JSON: `sku`, `category` (its own, or its product's), `amount` (money) and `score`
//! (`rating` of `ticket.closed`; `score` or `rating` of `survey.*` and `review.*`).
//!
//! An event is known by customer, time and event_id; without an event_id by its content, so a repeated file changes nothing.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Map, Value as Json};

use super::super::cells::{Cells, Reading, check_id, shown};
use super::super::columns::Kind;
use super::super::limits::EVENT_NAMES_MAX;
use super::super::money;
use super::super::people::KnownPeople;
use super::lines::Categories;
use super::{Table, Written, mark_dirty};
use crate::args;
use crate::clock::Millis;
use crate::db::{Conflict, DbResult, Tx, bucket_of, stable_hash};

const CUSTOMER_ID: usize = 0;
const NAME: usize = 1;
const AT: usize = 2;
const EVENT_ID: usize = 3;
const PROPERTIES: usize = 4;

const COLUMNS: [&str; 10] =
    ["bucket", "customer_id", "at", "event_id", "name_id", "sku", "category", "amount", "score", "properties"];
const KEY: [&str; 4] = ["bucket", "customer_id", "at", "event_id"];
/// How often naming a new event is tried when another import names one at the same time.
const NAMING_TRIES: usize = 16;

#[derive(Debug, Default)]
pub(in crate::data) struct Events {
    people: KnownPeople,
    categories: Categories,
    names: HashMap<String, i64>,
}

/// Something that we noticed ourselves.
#[derive(Debug)]
pub struct Happened {
    pub customer_id: String,
    pub name: String,
    pub at: Millis,
    /// Tells it from others of the same person and instant.
    pub event_id: String,
    /// An object.
    pub properties: Json,
}

/// Write down what happened, as if it had been imported; part of the transaction that noticed it.
pub async fn record_events(tx: &mut Tx, happened: Vec<Happened>, now: Millis) -> DbResult<()> {
    let row = |h: Happened| Row {
        bucket: bucket_of(&h.customer_id),
        customer_id: h.customer_id,
        at: h.at,
        event_id: h.event_id,
        sku: h.properties["sku"].as_str().map(str::to_owned),
        category: None,
        amount: None,
        score: h.properties.as_object().and_then(|properties| score(&h.name, properties)),
        name: h.name,
        properties: h.properties.to_string(),
    };
    let rows: Vec<Row> = happened.into_iter().map(row).collect();
    if !rows.is_empty() {
        Events::default().write(tx, &rows, now).await?;
    }
    Ok(())
}

#[derive(Debug)]
pub(in crate::data) struct Row {
    bucket: i64,
    customer_id: String,
    at: Millis,
    event_id: String,
    name: String,
    sku: Option<String>,
    category: Option<String>,
    amount: Option<i64>,
    score: Option<f64>,
    properties: String,
}

impl Table for Events {
    type Row = Row;
    const KIND: Kind = Kind::Events;

    fn read(reading: &mut Reading, cells: Cells<'_>) -> Result<Row, String> {
        let customer_id = cells.id(CUSTOMER_ID)?.to_owned();
        let name = cells.id(NAME)?.to_owned();
        let at = cells.instant(AT, &reading.shop)?;
        let event_id = cells.text(EVENT_ID).map(str::to_owned);
        if let Some(id) = &event_id {
            check_id("event_id", id)?;
        }
        let properties = properties(cells)?;
        let (sku, category) = (short_text(&properties, "sku")?, short_text(&properties, "category")?);
        let amount =
            properties.get("amount").and_then(|v| match money::parse(&number_text(v), reading.shop.exponent) {
                Ok(minor) => Some(minor),
                Err(e) => {
                    reading
                        .remarks
                        .push(format!("the property `amount`: `{}` {e}; kept as it is", shown(&number_text(v))));
                    None
                }
            });
        let score = score(&name, &properties);
        let properties = Json::Object(properties).to_string();
        let event_id = event_id.unwrap_or_else(|| {
            format!("~{:016x}", stable_hash(format!("{customer_id}\n{name}\n{at}\n{properties}").as_bytes()))
        });
        let bucket = bucket_of(&customer_id);
        Ok(Row { bucket, customer_id, at, event_id, name, sku, category, amount, score, properties })
    }

    async fn write(&mut self, tx: &mut Tx, rows: &[Row], now: Millis) -> DbResult<Written> {
        let mut written = Written::default();
        let mut last: BTreeMap<(i64, &str, Millis, &str), &Row> = BTreeMap::new();
        for (i, row) in rows.iter().enumerate() {
            if self.name_id(tx, &row.name).await?.is_none() {
                let reason = format!("more than {EVENT_NAMES_MAX} names of events: is `name` the right column?");
                written.rejected.push((i, reason));
                continue;
            }
            let key = (row.bucket, row.customer_id.as_str(), row.at, row.event_id.as_str());
            written.repeated += u64::from(last.insert(key, row).is_some());
        }
        let people = last.values().map(|r| (r.bucket, r.customer_id.as_str()));
        written.customers_created = self.people.ensure(tx, people, now).await?;
        self.categories.learn(tx, last.values().filter_map(|r| r.sku.as_deref())).await?;
        let mut values = Vec::with_capacity(last.len() * COLUMNS.len());
        for row in last.values() {
            let category = row.category.as_deref().or_else(|| self.categories.of(row.sku.as_deref()?));
            values.extend(args![
                row.bucket,
                row.customer_id.as_str(),
                row.at,
                row.event_id.as_str(),
                self.names[&row.name],
                row.sku.as_deref(),
                category,
                row.amount,
                row.score,
                row.properties.as_str(),
            ]);
        }
        let conflict = Conflict::Update { key: &KEY };
        let changed: Vec<(String,)> =
            tx.insert_rows_returning("event", &COLUMNS, values, conflict, "customer_id").await?;
        written.changed = changed.len() as u64;
        mark_dirty(tx, changed.into_iter().map(|(id,)| (bucket_of(&id), id)).collect()).await?;
        Ok(written)
    }
}

impl Events {
    /// The number of an event's name, given to it when it is new; `None` when there are too many names.
    async fn name_id(&mut self, tx: &mut Tx, name: &str) -> DbResult<Option<i64>> {
        if let Some(id) = self.names.get(name) {
            return Ok(Some(*id));
        }
        if self.names.len() >= EVENT_NAMES_MAX {
            return Ok(None);
        }
        for _ in 0..NAMING_TRIES {
            let all: Vec<(String, i64)> = tx.fetch_all("SELECT name, name_id FROM event_name", vec![]).await?;
            self.names = all.into_iter().collect();
            if self.names.contains_key(name) || self.names.len() >= EVENT_NAMES_MAX {
                break;
            }
            // Another import may take the number or the name first; then this does nothing and the next look tells.
            let next = self.names.values().max().map_or(1, |id| id + 1);
            let values = args![next, name];
            tx.insert_rows("event_name", &["name_id", "name"], values, Conflict::Keep).await?;
        }
        Ok(self.names.get(name).copied())
    }
}

/// The properties column and the further columns, as one object; the latter win.
fn properties(cells: Cells<'_>) -> Result<Map<String, Json>, String> {
    let mut all = match cells.text(PROPERTIES) {
        None => Map::new(),
        Some(text) => match serde_json::from_str(text) {
            Ok(Json::Object(all)) => all,
            Ok(_) => return Err("`properties` is not a JSON object".to_owned()),
            Err(e) => return Err(format!("`properties` is not JSON: {e}")),
        },
    };
    for (name, value) in cells.further {
        if !value.is_null() {
            all.insert(name.into_owned(), value);
        }
    }
    Ok(all)
}

/// A property that fills a text column.
fn short_text(properties: &Map<String, Json>, name: &str) -> Result<Option<String>, String> {
    let Some(value) = properties.get(name).filter(|v| !v.is_null()) else { return Ok(None) };
    let text = number_text(value);
    check_id(name, &text)?;
    Ok(Some(text))
}

fn number_text(value: &Json) -> String {
    value.as_str().map_or_else(|| value.to_string(), |s| s.trim().to_owned())
}

/// The rating an event carries, if it is one of those that do.
fn score(name: &str, properties: &Map<String, Json>) -> Option<f64> {
    let number = |key: &str| {
        let value = properties.get(key)?;
        value.as_f64().or_else(|| value.as_str()?.trim().parse().ok()).filter(|n| n.is_finite())
    };
    if name == "ticket.closed" {
        number("rating")
    } else if name.starts_with("survey.") || name.starts_with("review.") {
        number("score").or_else(|| number("rating"))
    } else {
        None
    }
}
