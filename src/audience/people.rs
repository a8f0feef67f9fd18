//! Who of a segment may be handed out: the people whom promotional mail of the topic may reach.
//!
//! What "suppressed", "primary" and "consents" mean is said by the suppression room; here they are asked, and the first reason that holds is
//! the one counted. The order is that of a plan's guards.

use std::collections::HashMap;

use serde_json::{Map, Value as Json};

use super::phone::{self, Phone};
use crate::args;
use crate::db::{Db, DbResult};
use crate::profile::{self, Facts};
use crate::segment::Member;
use crate::suppression::{Kind, sql};

/// Why a member is not handed out, in the order in which it is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LeftOut {
    /// Their data was erased.
    Erased,
    /// Their address stands suppressed for promotional mail of the topic.
    Suppressed,
    /// They have no address that can be mailed.
    InvalidAddress,
    /// Their address belongs to another customer first.
    DuplicateAddress,
    /// They did not agree to the topic.
    NoConsent,
}

impl LeftOut {
    /// All, in their order.
    pub const ALL: [LeftOut; 5] =
        [LeftOut::Erased, LeftOut::Suppressed, LeftOut::InvalidAddress, LeftOut::DuplicateAddress, LeftOut::NoConsent];

    /// The word in JSON; plans give these reasons the same words.
    pub fn word(self) -> &'static str {
        match self {
            LeftOut::Erased => "erased",
            LeftOut::Suppressed => "suppressed",
            LeftOut::InvalidAddress => "invalid_address",
            LeftOut::DuplicateAddress => "duplicate_address",
            LeftOut::NoConsent => "no_consent",
        }
    }

    /// For people.
    pub fn described(self) -> &'static str {
        match self {
            LeftOut::Erased => "erased",
            LeftOut::Suppressed => "suppressed",
            LeftOut::InvalidAddress => "no usable address",
            LeftOut::DuplicateAddress => "address of another customer",
            LeftOut::NoConsent => "no consent to the topic",
        }
    }
}

/// Somebody who may be handed out.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Person {
    pub customer_id: String,
    /// As imported; it can be mailed.
    pub email: String,
    pub first_name: Option<String>,
    pub last_name: Option<String>,
    pub locale: Option<String>,
    pub country: Option<String>,
    pub attributes: Map<String, Json>,
    /// The default when profiles were not asked for.
    pub facts: Facts,
}

impl Person {
    /// An attribute as text; `None` when it is absent, empty or neither text nor number.
    pub fn attribute(&self, name: &str) -> Option<String> {
        let text = match self.attributes.get(name)? {
            Json::String(text) => text.trim().to_owned(),
            Json::Number(number) => number.to_string(),
            _ => return None,
        };
        (!text.is_empty()).then_some(text)
    }

    /// The attribute `phone`, read with the person's country.
    pub fn phone(&self) -> Phone {
        match self.attribute("phone") {
            Some(text) => phone::read(&text, self.country.as_deref()),
            None => Phone::None,
        }
    }
}

/// What was found of some members.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Found {
    /// By bucket and customer_id, as the members came.
    pub people: Vec<Person>,
    /// One reason for each of the others.
    pub left_out: Vec<LeftOut>,
}

#[derive(Debug, Clone, Default, sqlx::FromRow)]
struct Row {
    bucket: i64,
    customer_id: String,
    email: Option<String>,
    first_name: Option<String>,
    last_name: Option<String>,
    locale: Option<String>,
    country: Option<String>,
    attributes: String,
    erased: i64,
    suppressed: i64,
    usable: i64,
    is_primary: i64,
    consents: i64,
}

/// Look members up; `profiles` says whether their facts are wanted too.
pub async fn load(db: &Db, topic: &str, members: &[Member], profiles: bool) -> DbResult<Found> {
    let flag = |condition: String| format!("CAST(CASE WHEN {condition} THEN 1 ELSE 0 END AS BIGINT)");
    let sql = format!(
        "SELECT c.bucket, c.customer_id, c.email, c.first_name, c.last_name, c.locale, c.country, c.attributes, \
         {} AS erased, {} AS suppressed, {} AS usable, {} AS is_primary, {} AS consents \
         FROM k CROSS JOIN customer c WHERE c.bucket = k.bucket AND c.customer_id = k.customer_id",
        flag("c.erased_at IS NOT NULL".to_owned()),
        flag(sql::suppressed("c.address_key", Kind::Promotional, "k.topic")),
        flag("c.address_key IS NOT NULL".to_owned()),
        flag(sql::is_primary("c.address_key", "c.bucket", "c.customer_id")),
        flag(sql::consents("c.bucket", "c.customer_id", "k.topic")),
    );
    let keys = members.iter().flat_map(|m| args![m.bucket, m.customer_id.as_str(), topic]).collect();
    let mut rows: Vec<Row> = db.fetch_keyed(&["bucket", "customer_id", "topic"], keys, &sql).await?;
    rows.sort_by(|a, b| (a.bucket, &a.customer_id).cmp(&(b.bucket, &b.customer_id)));
    let mut found = Found::default();
    for in_bucket in rows.chunk_by(|a, b| a.bucket == b.bucket) {
        let mut welcome: Vec<&Row> = Vec::with_capacity(in_bucket.len());
        for row in in_bucket {
            match left_out(row) {
                Some(reason) => found.left_out.push(reason),
                None => welcome.push(row),
            }
        }
        let mut facts: HashMap<String, Facts> = HashMap::new();
        if profiles && !welcome.is_empty() {
            let ids: Vec<String> = welcome.iter().map(|r| r.customer_id.clone()).collect();
            let loaded = profile::load(db, in_bucket[0].bucket, &ids).await?;
            facts.extend(loaded.into_iter().map(|f| (f.customer_id.clone(), f)));
        }
        found.people.extend(welcome.into_iter().map(|row| {
            let facts = facts.remove(&row.customer_id).unwrap_or_default();
            person(row.clone(), facts)
        }));
    }
    Ok(found)
}

fn left_out(row: &Row) -> Option<LeftOut> {
    let holds = |reason| match reason {
        LeftOut::Erased => row.erased != 0,
        LeftOut::Suppressed => row.suppressed != 0,
        LeftOut::InvalidAddress => row.usable == 0 || row.email.is_none(),
        LeftOut::DuplicateAddress => row.is_primary == 0,
        LeftOut::NoConsent => row.consents == 0,
    };
    LeftOut::ALL.into_iter().find(|reason| holds(*reason))
}

fn person(row: Row, facts: Facts) -> Person {
    Person {
        customer_id: row.customer_id,
        email: row.email.unwrap_or_default(),
        first_name: row.first_name,
        last_name: row.last_name,
        locale: row.locale,
        country: row.country,
        attributes: serde_json::from_str(&row.attributes).unwrap_or_default(),
        facts,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_reason_that_holds_is_counted() {
        let welcome =
            || Row { email: Some("a@example.com".into()), usable: 1, is_primary: 1, consents: 1, ..Row::default() };
        assert_eq!(left_out(&welcome()), None);
        let mut row = Row { erased: 1, suppressed: 1, ..Row::default() };
        assert_eq!(left_out(&row), Some(LeftOut::Erased));
        row.erased = 0;
        assert_eq!(left_out(&row), Some(LeftOut::Suppressed));
        row.suppressed = 0;
        assert_eq!(left_out(&row), Some(LeftOut::InvalidAddress));
        row.usable = 1;
        assert_eq!(left_out(&row), Some(LeftOut::InvalidAddress), "a key without an address cannot be written to");
        row.email = Some("a@example.com".into());
        assert_eq!(left_out(&row), Some(LeftOut::DuplicateAddress));
        row.is_primary = 1;
        assert_eq!(left_out(&row), Some(LeftOut::NoConsent));
    }

    #[test]
    fn attributes_are_text_whatever_file_they_came_from() {
        let attributes =
            serde_json::json!({ "phone": " +49 30 123 ", "zip": 20457, "vip": true, "none": null, "empty": "" });
        let person = Person { attributes: attributes.as_object().unwrap().clone(), ..Person::default() };
        let read = |name| person.attribute(name);
        assert_eq!(read("phone").as_deref(), Some("+49 30 123"));
        assert_eq!(read("zip").as_deref(), Some("20457"));
        assert_eq!([read("vip"), read("none"), read("empty"), read("other")], [None, None, None, None]);
    }
}
