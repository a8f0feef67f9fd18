//! Consents: who said yes or no to which topic, and when. A row with `at` is a dated statement, one without is undated; which of two
//! statements stands is decided in [`crate::suppression::consent`].

use super::super::cells::{Cells, Reading, shown};
use super::super::columns::Kind;
use super::super::people::KnownPeople;
use super::{Table, Written};
use crate::clock::Millis;
use crate::db::{DbResult, Tx, bucket_of};
use crate::suppression::consent::{self, DATED_IMPORT, Statement, UNDATED};
use crate::suppression::is_topic_name;

const CUSTOMER_ID: usize = 0;
const TOPIC: usize = 1;
const GRANTED: usize = 2;
const AT: usize = 3;

#[derive(Debug, Default)]
pub(in crate::data) struct Consents {
    people: KnownPeople,
}

impl Table for Consents {
    type Row = Statement;
    const KIND: Kind = Kind::Consents;

    fn read(reading: &mut Reading, cells: Cells<'_>) -> Result<Statement, String> {
        let customer_id = cells.id(CUSTOMER_ID)?.to_owned();
        let topic = cells.required(TOPIC)?.to_owned();
        if !is_topic_name(&topic) {
            return Err(format!("`topic`: `{}` cannot name a topic", shown(&topic)));
        }
        reading.remarks.extend(reading.shop.remark_on_topic(&topic));
        let (at, source) = match cells.text(AT) {
            Some(_) => (cells.instant(AT, &reading.shop)?, DATED_IMPORT),
            None => (reading.shop.now, UNDATED),
        };
        let bucket = bucket_of(&customer_id);
        Ok(Statement { bucket, customer_id, topic, granted: cells.boolean(GRANTED)?, at, source: source.to_owned() })
    }

    async fn write(&mut self, tx: &mut Tx, rows: &[Statement], now: Millis) -> DbResult<Written> {
        let people = rows.iter().map(|r| (r.bucket, r.customer_id.as_str()));
        let customers_created = self.people.ensure(tx, people, now).await?;
        let changed = consent::state_all(tx, rows.to_vec()).await?;
        Ok(Written { changed, consents_changed: changed, customers_created, ..Written::default() })
    }
}
