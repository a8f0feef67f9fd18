//! Suppressions: a standing list of addresses brought from elsewhere. Without `scope` an address is stopped altogether.

use super::super::cells::{Cells, Reading, hint, shown};
use super::super::columns::Kind;
use super::{Table, Written};
use crate::address::Address;
use crate::clock::Millis;
use crate::db::{DbResult, Tx};
use crate::suppression::{Reason, Scope, Suppression, suppress_all};

const ADDRESS: usize = 0;
const SCOPE: usize = 1;
const REASON: usize = 2;
const AT: usize = 3;

#[derive(Debug, Default)]
pub(in crate::data) struct Suppressions;

impl Table for Suppressions {
    type Row = Suppression;
    const KIND: Kind = Kind::Suppressions;

    fn read(reading: &mut Reading, cells: Cells<'_>) -> Result<Suppression, String> {
        let text = cells.required(ADDRESS)?;
        let address = Address::parse(text).map_err(|e| format!("the address `{}` {e}", shown(text)))?;
        let scope = match cells.text(SCOPE) {
            None => Scope::All,
            Some(word) => Scope::parse(word).ok_or_else(|| {
                let known = ["all", "promotional", "topic:NAME"];
                format!("`scope`: `{}` is not known; {}", shown(word), hint(word, known))
            })?,
        };
        if let Scope::Topic(topic) = &scope {
            reading.remarks.extend(reading.shop.remark_on_topic(topic));
        }
        let reason = match cells.text(REASON) {
            None => Reason::Import,
            Some(word) => Reason::parse(&word.to_lowercase().replace([' ', '-'], "_")).ok_or_else(|| {
                format!("`reason`: `{}` is not known; {}", shown(word), hint(word, Reason::ALL.map(Reason::as_str)))
            })?,
        };
        let at = match cells.text(AT) {
            Some(_) => cells.instant(AT, &reading.shop)?,
            None => reading.shop.now,
        };
        Ok(Suppression { address_key: address.key(), scope, reason, at, source: reading.shop.source.clone() })
    }

    async fn write(&mut self, tx: &mut Tx, rows: &[Suppression], _now: Millis) -> DbResult<Written> {
        Ok(Written { changed: suppress_all(tx, rows.to_vec()).await?, ..Written::default() })
    }
}
