//! Customers: who they are. A column that the file has and whose cell is empty clears the field; a column that the file has not leaves
//! it alone. Further columns become attributes (text from CSV, typed from JSONL).
//!
//! An address that cannot be mailed does not cost the customer: the row is kept as it is, without a usable address.

use std::collections::HashMap;

use serde_json::Value as Json;

use super::super::cells::{Cells, Reading, Stated, shown};
use super::super::columns::Kind;
use super::{People, Table, Written, mark_dirty, merge_attributes, owned};
use crate::address::Address;
use crate::args;
use crate::clock::Millis;
use crate::db::{Conflict, DbResult, Tx, Value, bucket_of};
use crate::suppression::addresses::{self, Moved};
use crate::suppression::consent::{self, Statement, UNDATED};
use crate::suppression::is_topic_name;

const CUSTOMER_ID: usize = 0;
const EMAIL: usize = 1;
const FIRST_NAME: usize = 2;
const LAST_NAME: usize = 3;
const LOCALE: usize = 4;
const TIME_ZONE: usize = 5;
const COUNTRY: usize = 6;
const CONSENT: usize = 7;

/// Longest locale tag in bytes (RFC 5646 §4.4.1 asks for at least 35).
const LOCALE_BYTES_MAX: usize = 35;

#[derive(Debug, Default)]
pub(in crate::data) struct Customers;

#[derive(Debug)]
pub(in crate::data) struct Row {
    bucket: i64,
    customer_id: String,
    email: Stated,
    address_key: Option<String>,
    first_name: Stated,
    last_name: Stated,
    locale: Stated,
    time_zone: Stated,
    country: Stated,
    /// The topics consented to; `None` when the file does not speak of consent.
    consent: Option<Vec<String>>,
    attributes: Vec<(String, Json)>,
}

/// A customer as stored.
#[derive(Debug, Clone, PartialEq, sqlx::FromRow)]
struct Stored {
    bucket: i64,
    customer_id: String,
    email: Option<String>,
    address_key: Option<String>,
    first_name: Option<String>,
    last_name: Option<String>,
    locale: Option<String>,
    time_zone: Option<String>,
    country: Option<String>,
    attributes: String,
    first_seen_at: i64,
    erased_at: Option<i64>,
}

impl Table for Customers {
    type Row = Row;
    const KIND: Kind = Kind::Customers;

    fn read(reading: &mut Reading, cells: Cells<'_>) -> Result<Row, String> {
        let customer_id = cells.id(CUSTOMER_ID)?.to_owned();
        let remarks = &mut reading.remarks;
        let address_key = cells.text(EMAIL).and_then(|text| match Address::parse(text) {
            Ok(address) => Some(address.key()),
            Err(e) => {
                remarks.push(format!("the address `{}` {e}; kept without a usable address", shown(text)));
                None
            }
        });
        let consent = cells.is_stated(CONSENT).then(|| topics(cells.text(CONSENT).unwrap_or_default()));
        for topic in consent.iter().flatten() {
            if !is_topic_name(topic) {
                return Err(format!("`consent`: `{}` cannot name a topic", shown(topic)));
            }
            remarks.extend(reading.shop.remark_on_topic(topic));
        }
        Ok(Row {
            bucket: bucket_of(&customer_id),
            customer_id,
            email: cells.stated(EMAIL),
            address_key,
            first_name: cells.stated(FIRST_NAME),
            last_name: cells.stated(LAST_NAME),
            locale: checked(cells.stated(LOCALE), locale, "locale", remarks),
            time_zone: checked(cells.stated(TIME_ZONE), time_zone, "time_zone", remarks),
            country: cells.stated(COUNTRY),
            consent,
            attributes: owned(cells.further),
        })
    }

    async fn write(&mut self, tx: &mut Tx, rows: &[Row], now: Millis) -> DbResult<Written> {
        let mut written = Written::default();
        let stored = fetch(tx, rows).await?;
        let mut after: HashMap<&str, Stored> = HashMap::with_capacity(rows.len());
        let mut order: Vec<&str> = Vec::with_capacity(rows.len());
        for (i, row) in rows.iter().enumerate() {
            let before = stored.get(row.customer_id.as_str());
            if before.is_some_and(|s| s.erased_at.is_some()) {
                written.rejected.push((i, "this person was forgotten; take them out of the file".to_owned()));
                continue;
            }
            if let Some(state) = after.get_mut(row.customer_id.as_str()) {
                written.repeated += 1;
                row.apply(state);
            } else {
                let mut state = before.cloned().unwrap_or_else(|| row.blank(now));
                row.apply(&mut state);
                after.insert(&row.customer_id, state);
                order.push(&row.customer_id);
            }
        }
        let mut moved = Vec::new();
        let mut dirty = People::new();
        let mut values = Vec::new();
        for id in order {
            let state = &after[id];
            let before = stored.get(id);
            if before == Some(state) {
                continue;
            }
            let from = before.and_then(|s| s.address_key.clone());
            if from != state.address_key {
                let to = state.address_key.clone();
                moved.push(Moved { bucket: state.bucket, customer_id: id.to_owned(), from, to });
            }
            dirty.insert((state.bucket, id.to_owned()));
            values.extend(state.clone().into_values());
        }
        written.changed = dirty.len() as u64;
        let conflict = Conflict::Update { key: &["bucket", "customer_id"] };
        tx.insert_rows("customer", &COLUMNS, values, conflict).await?;
        addresses::settle(tx, &moved).await?;
        written.consents_changed = state_consent(tx, rows, now).await?;
        mark_dirty(tx, dirty).await?;
        Ok(written)
    }
}

const COLUMNS: [&str; 11] = [
    "bucket",
    "customer_id",
    "email",
    "address_key",
    "first_name",
    "last_name",
    "locale",
    "time_zone",
    "country",
    "attributes",
    "first_seen_at",
];

impl Row {
    fn blank(&self, now: Millis) -> Stored {
        Stored {
            bucket: self.bucket,
            customer_id: self.customer_id.clone(),
            email: None,
            address_key: None,
            first_name: None,
            last_name: None,
            locale: None,
            time_zone: None,
            country: None,
            attributes: "{}".to_owned(),
            first_seen_at: now,
            erased_at: None,
        }
    }

    fn apply(&self, stored: &mut Stored) {
        if let Some(email) = &self.email {
            stored.email.clone_from(email);
            stored.address_key.clone_from(&self.address_key);
        }
        for (stated, field) in [
            (&self.first_name, &mut stored.first_name),
            (&self.last_name, &mut stored.last_name),
            (&self.locale, &mut stored.locale),
            (&self.time_zone, &mut stored.time_zone),
            (&self.country, &mut stored.country),
        ] {
            if let Some(value) = stated {
                field.clone_from(value);
            }
        }
        if !self.attributes.is_empty() {
            stored.attributes = merge_attributes(&stored.attributes, &self.attributes);
        }
    }
}

impl Stored {
    fn into_values(self) -> Vec<Value> {
        args![
            self.bucket,
            self.customer_id,
            self.email,
            self.address_key,
            self.first_name,
            self.last_name,
            self.locale,
            self.time_zone,
            self.country,
            self.attributes,
            self.first_seen_at
        ]
    }
}

async fn fetch(tx: &mut Tx, rows: &[Row]) -> DbResult<HashMap<String, Stored>> {
    let keys = People::from_iter(rows.iter().map(|r| (r.bucket, r.customer_id.clone())));
    let stored: Vec<Stored> = tx
        .fetch_keyed(
            &["bucket", "customer_id"],
            keys.into_iter().flat_map(|(bucket, id)| args![bucket, id]).collect(),
            "SELECT c.bucket, c.customer_id, c.email, c.address_key, c.first_name, c.last_name, c.locale, c.time_zone, c.country, \
             c.attributes, c.first_seen_at, c.erased_at \
             FROM k CROSS JOIN customer c WHERE c.bucket = k.bucket AND c.customer_id = k.customer_id",
        )
        .await?;
    Ok(stored.into_iter().map(|s| (s.customer_id.clone(), s)).collect())
}

/// The consent column is a whole statement: what it names is granted, what earlier undated statements granted and it no longer names
/// is taken back.
async fn state_consent(tx: &mut Tx, rows: &[Row], now: Millis) -> DbResult<u64> {
    let last: HashMap<&str, (&Row, &Vec<String>)> =
        rows.iter().filter_map(|r| Some((r.customer_id.as_str(), (r, r.consent.as_ref()?)))).collect();
    if last.is_empty() {
        return Ok(0);
    }
    let keys = last.values().flat_map(|(r, _)| args![r.bucket, r.customer_id.as_str()]).collect();
    let granted = consent::granted_undated(tx, keys).await?;
    let mut people: Vec<_> = last.values().collect();
    people.sort_by_key(|(r, _)| (r.bucket, &r.customer_id));
    let statement = |row: &Row, topic: &str, granted| Statement {
        bucket: row.bucket,
        customer_id: row.customer_id.clone(),
        topic: topic.to_owned(),
        granted,
        at: now,
        source: UNDATED.to_owned(),
    };
    let mut statements: Vec<Statement> =
        people.iter().flat_map(|(row, topics)| topics.iter().map(|t| statement(row, t, true))).collect();
    for (customer_id, topic) in &granted {
        let (row, topics) = last[customer_id.as_str()];
        if !topics.contains(topic) {
            statements.push(statement(row, topic, false));
        }
    }
    consent::state_all(tx, statements).await
}

fn topics(text: &str) -> Vec<String> {
    let mut topics: Vec<String> =
        text.split([';', ',']).map(str::trim).filter(|t| !t.is_empty()).map(str::to_owned).collect();
    topics.sort();
    topics.dedup();
    topics
}

/// A stated text made regular by `rule`; what the rule refuses is cleared and remarked on.
fn checked(stated: Stated, rule: fn(&str) -> Option<String>, name: &str, remarks: &mut Vec<String>) -> Stated {
    let Some(Some(text)) = stated else { return stated };
    let regular = rule(&text);
    if regular.is_none() {
        remarks.push(format!("`{name}`: `{}` is not known; left empty", shown(&text)));
    }
    Some(regular)
}

/// `ja_JP` → `ja-JP`; letters, digits and hyphens, a language of two or three letters first (RFC 5646).
fn locale(text: &str) -> Option<String> {
    let tag = text.replace('_', "-");
    let language = tag.split('-').next().unwrap_or_default();
    let fits = (2..=3).contains(&language.len())
        && language.bytes().all(|b| b.is_ascii_alphabetic())
        && tag.len() <= LOCALE_BYTES_MAX
        && tag.split('-').all(|part| (1..=8).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_alphanumeric()));
    fits.then_some(tag)
}

fn time_zone(text: &str) -> Option<String> {
    jiff::tz::TimeZone::get(text).ok().map(|zone| zone.iana_name().unwrap_or(text).to_owned())
}
