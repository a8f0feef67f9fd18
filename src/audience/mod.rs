//! People handed to other channels: advertising audiences, call lists, plain tables.
//!
//! Promises: only people whom promotional mail of the topic may reach are handed out ([`people`]); a network gets hashes of what its
//! documentation asks for and nothing else ([`network`]); a cell never becomes a formula ([`sheet`]). Reads the database range by range and
//! writes rows to whatever it is given; files and messages are the caller's. Whom chance holds back from mail is handed out like everybody:
//! a holdout measures mail, and is measured beside the same advertisements.
//!
//! Read on: [`export`], then [`people`] and [`network`]; [`calls`] for the call list.

pub mod calls;
pub mod network;
pub mod normal;
pub mod people;
pub mod phone;
pub mod sheet;

use std::collections::BTreeMap;
use std::io::Write;

use crate::clock;
use crate::db::{Db, DbError};
use crate::profile::{Moment, Rfm};
use crate::segment::compare::ranges;
use crate::segment::{Member, Prepared};
use crate::settings::Settings;

use calls::CallList;
use network::Network;
use people::{LeftOut, Person};
use phone::Phone;
use sheet::{Sheet, cell};

/// Members whose rows are looked up together.
const MEMBERS_PER_LOOKUP: usize = 2_000;

/// What the list is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// A table for people and their tools, in plain text.
    Csv,
    /// The upload of an advertising network: hashed.
    Network(Network),
    /// People to call, those worth most first, with what to talk about.
    Calls,
}

/// What was handed out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Totals {
    /// Members of the segment.
    pub members: i64,
    /// Rows of the list.
    pub handed_out: i64,
    /// Members that are not in the list, by the first reason that holds.
    pub left_out: BTreeMap<LeftOut, i64>,
    /// Rows with a phone number that says its country.
    pub phones: i64,
    /// People whose phone number does not, so that it was not used.
    pub phones_unusable: i64,
    /// People beyond the length of a call list ([`calls::CALLS_MAX`]).
    pub beyond_the_list: i64,
}

/// Why a list could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    #[error(transparent)]
    Db(#[from] DbError),
    #[error("{0}")]
    Write(#[from] std::io::Error),
}

/// Write the members of a segment who may be handed out. `prepared` holds the segment by `name`; `topic` is one of the project's.
pub async fn export<W: Write>(
    db: &Db,
    settings: &Settings,
    prepared: &Prepared,
    name: &str,
    topic: &str,
    format: Format,
    out: W,
) -> Result<Totals, ExportError> {
    let mask = prepared.mask_of(name);
    let moment = prepared.moment();
    let mut totals = Totals::default();
    let mut list = List::begin(format, settings, out)?;
    for (first, last) in ranges() {
        let mut members = prepared.evaluate(db, first, last).await?;
        members.retain(|m| m.bits & mask != 0);
        for part in members.chunks(MEMBERS_PER_LOOKUP) {
            hand_out(db, topic, part, moment, &mut list, &mut totals).await?;
        }
    }
    list.end(moment, &mut totals)?;
    Ok(totals)
}

async fn hand_out<W: Write>(
    db: &Db,
    topic: &str,
    members: &[Member],
    moment: &Moment,
    list: &mut List<'_, W>,
    totals: &mut Totals,
) -> Result<(), ExportError> {
    let found = people::load(db, topic, members, list.wants_profiles()).await?;
    totals.members += members.len() as i64;
    for reason in found.left_out {
        *totals.left_out.entry(reason).or_default() += 1;
    }
    for person in found.people {
        list.add(person, moment, totals)?;
    }
    Ok(())
}

impl Totals {
    /// A row was written.
    fn count(&mut self, person: &Person) {
        self.handed_out += 1;
        match person.phone() {
            Phone::Usable(_) => self.phones += 1,
            Phone::NoCountry => self.phones_unusable += 1,
            Phone::None => {}
        }
    }
}

/// The list being written. Tables and uploads are written as people come; a call list is sorted, so it is kept until the end.
enum List<'s, W: Write> {
    Table { sheet: Sheet<W>, settings: &'s Settings },
    Upload { sheet: Sheet<W>, network: Network },
    Calls { sheet: Sheet<W>, settings: &'s Settings, list: CallList },
}

/// The columns of [`Format::Csv`].
pub const TABLE_COLUMNS: [&str; 16] = [
    "customer_id",
    "email",
    "first_name",
    "last_name",
    "locale",
    "country",
    "phone",
    "orders",
    "revenue",
    "average_order",
    "currency",
    "first_order",
    "last_order",
    "lifecycle",
    "rfm",
    "top_category",
];

impl<'s, W: Write> List<'s, W> {
    fn begin(format: Format, settings: &'s Settings, out: W) -> Result<List<'s, W>, ExportError> {
        let mut sheet = Sheet::new(out);
        Ok(match format {
            Format::Csv => {
                sheet.row(TABLE_COLUMNS)?;
                List::Table { sheet, settings }
            }
            Format::Network(network) => {
                if let Some(header) = network.header() {
                    sheet.row(header)?;
                }
                List::Upload { sheet, network }
            }
            Format::Calls => {
                sheet.row(calls::COLUMNS)?;
                List::Calls { sheet, settings, list: CallList::default() }
            }
        })
    }

    fn wants_profiles(&self) -> bool {
        !matches!(self, List::Upload { .. })
    }

    fn add(&mut self, person: Person, moment: &Moment, totals: &mut Totals) -> Result<(), ExportError> {
        match self {
            List::Table { sheet, settings } => sheet.row(table_row(&person, moment, &settings.currency))?,
            List::Upload { sheet, network } => sheet.row(network.row(&person))?,
            List::Calls { list, .. } => {
                list.add(person);
                return Ok(());
            }
        }
        totals.count(&person);
        Ok(())
    }

    fn end(self, moment: &Moment, totals: &mut Totals) -> Result<(), ExportError> {
        match self {
            List::Table { sheet, .. } | List::Upload { sheet, .. } => sheet.end()?,
            List::Calls { mut sheet, settings, list } => {
                let (people, beyond) = list.into_people();
                totals.beyond_the_list = beyond;
                for person in &people {
                    sheet.row(calls::row(person, moment, settings))?;
                    totals.count(person);
                }
                sheet.end()?;
            }
        }
        Ok(())
    }
}

fn table_row(person: &Person, moment: &Moment, currency: &str) -> [String; 16] {
    let facts = &person.facts;
    let text = |t: &Option<String>| cell(t.as_deref().unwrap_or_default());
    let money = |minor: i64| crate::money::plain(minor, currency);
    let date = |at: Option<i64>| at.map(|at| clock::date_in(at, &moment.zone).to_string()).unwrap_or_default();
    [
        cell(&person.customer_id),
        cell(&person.email),
        text(&person.first_name),
        text(&person.last_name),
        text(&person.locale),
        text(&person.country),
        cell(&person.attribute("phone").unwrap_or_default()),
        facts.orders.to_string(),
        money(facts.revenue),
        facts.average_order.map(money).unwrap_or_default(),
        currency.to_owned(),
        date(facts.first_order_at),
        date(facts.last_order_at),
        facts.stage(moment).name().to_owned(),
        facts.rfm(moment).map(Rfm::name).unwrap_or_default().to_owned(),
        text(&facts.top_category),
    ]
}
