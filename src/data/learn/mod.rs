//! Learning the data contract: which attributes, events and properties the database holds, and of what types they seem to be.
//!
//! Reads only. The database counts and picks the rows; types are guessed in plain code ([`property`]), so that both engines see the same.
//! Bounded: a sample of [`ROWS_PER_EVENT_MAX`] rows of each event, [`ROWS_PER_TABLE_MAX`] customers and products, rows of at most
//! [`DOCUMENT_CHARS_MAX`] characters, [`NAMES_MAX`] names each. A bucket is a hash of the customer, so the first buckets are a fair
//! sample of the customers; a name rarer than the sample is looked for in all of them.
//!
//! Read on: [`learn`], [`property`] (one name), [`proposal`] (the contract), [`sheet`] (its YAML).

mod comments;
pub mod property;
mod proposal;
mod sheet;

pub use comments::Comments;
pub use proposal::Proposal;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value as Json};

use super::cells::shown;
use crate::args;
use crate::db::{BUCKETS, Binds, Db, DbResult, Value};
use crate::settings::contract::{NAMES_MAX, is_name};
use crate::settings::{Contract, PropertyType};
use property::{Of, Property};

/// Rows looked at of each event.
pub const ROWS_PER_EVENT_MAX: u64 = 2_000;
/// Rows of one event that one customer adds to the sample of a range of buckets: the latest.
const ROWS_PER_CUSTOMER_MAX: i64 = 100;
/// Rows of customers and of products looked at.
pub const ROWS_PER_TABLE_MAX: u64 = 50_000;
/// Characters of one row's attributes or properties; larger rows are passed over.
pub const DOCUMENT_CHARS_MAX: i64 = 16 << 10;
/// Rows held at once while customers and products are read.
const PAGE_ROWS: i64 = 2_000;
/// Rows held at once while events are read.
const EVENT_ROWS_AT_ONCE: i64 = 20_000;
/// Names that cannot be declared and are shown.
const UNUSABLE_SHOWN_MAX: usize = 4;

/// What was seen of customers, of products or of one event.
#[derive(Debug, Clone)]
pub struct Looked {
    of: Of,
    /// Rows there are.
    pub there: u64,
    /// Rows looked at.
    pub looked_at: u64,
    /// By name; the declared ones first of all, whether or not they were seen.
    pub properties: BTreeMap<String, Property>,
    /// Names that no contract can hold, fit for a message.
    pub unusable: BTreeSet<String>,
    /// There were more names than [`NAMES_MAX`].
    pub crowded: bool,
    /// Somebody declared the event itself.
    pub declared: bool,
}

impl Looked {
    fn new(of: Of, declared: Option<&BTreeMap<String, PropertyType>>) -> Looked {
        let types = declared.into_iter().flatten();
        let properties = types.map(|(name, ty)| (name.clone(), Property::new(name, of, Some(ty.clone())))).collect();
        Looked {
            of,
            there: 0,
            looked_at: 0,
            properties,
            unusable: BTreeSet::new(),
            crowded: false,
            declared: declared.is_some(),
        }
    }

    /// Count the values of one row.
    fn observe<'v>(&mut self, values: impl Iterator<Item = (&'v str, &'v Json)>) {
        self.looked_at += 1;
        for (name, value) in values {
            if let Some(property) = self.property(name) {
                property.observe(value);
            }
        }
    }

    fn property(&mut self, name: &str) -> Option<&mut Property> {
        if !self.properties.contains_key(name) {
            if !is_name(name) {
                note_unusable(&mut self.unusable, name);
                return None;
            }
            if self.properties.len() >= NAMES_MAX {
                self.crowded = true;
                return None;
            }
            self.properties.insert(name.to_owned(), Property::new(name, self.of, None));
        }
        self.properties.get_mut(name)
    }
}

fn note_unusable(unusable: &mut BTreeSet<String>, name: &str) {
    if unusable.len() <= UNUSABLE_SHOWN_MAX {
        unusable.insert(shown(name));
    }
}

/// Everything that was seen.
#[derive(Debug, Clone)]
pub struct Survey {
    pub customer: Looked,
    pub product: Looked,
    pub events: BTreeMap<String, Looked>,
    /// Names of events that no contract can hold, fit for a message.
    pub unusable: BTreeSet<String>,
    /// Events left out because there are more than [`NAMES_MAX`].
    pub crowded: u64,
}

/// Look at the data; what is declared already is compared with it.
pub async fn learn(db: &Db, declared: Option<&Contract>) -> DbResult<Survey> {
    let mut customer = Looked::new(Of::Customers, declared.map(|c| &c.customer));
    let mut product = Looked::new(Of::Products, declared.map(|c| &c.product));
    look_at_customers(db, &mut customer).await?;
    look_at_products(db, &mut product).await?;
    let mut survey = Survey { customer, product, events: BTreeMap::new(), unusable: BTreeSet::new(), crowded: 0 };
    for (name, types) in declared.iter().flat_map(|c| &c.events) {
        survey.events.insert(name.clone(), Looked::new(Of::Events, Some(types)));
    }
    let names = survey.count_events(db).await?;
    look_at_events(db, &names, &mut survey.events).await?;
    Ok(survey)
}

impl Survey {
    /// One pass over all events: how many there are of each. Gives the numbers of the names to look at.
    async fn count_events(&mut self, db: &Db) -> DbResult<BTreeMap<i64, String>> {
        let names: Vec<(i64, String)> = db.fetch_all("SELECT name_id, name FROM event_name", vec![]).await?;
        let counts: Vec<(i64, i64)> =
            db.fetch_all("SELECT name_id, COUNT(*) FROM event GROUP BY name_id", vec![]).await?;
        let counts: BTreeMap<i64, i64> = counts.into_iter().collect();
        let mut names: Vec<(i64, String, u64)> = names
            .into_iter()
            .filter_map(|(id, name)| Some((id, name, u64::try_from(*counts.get(&id)?).unwrap_or_default())))
            .collect();
        // The most frequent first, because the contract may not hold them all.
        names.sort_by(|a, b| (b.2, &a.1).cmp(&(a.2, &b.1)));
        let mut wanted = BTreeMap::new();
        for (id, name, there) in names {
            if !self.events.contains_key(&name) {
                if !is_name(&name) {
                    note_unusable(&mut self.unusable, &name);
                    continue;
                }
                if self.events.len() >= NAMES_MAX {
                    self.crowded += 1;
                    continue;
                }
                self.events.insert(name.clone(), Looked::new(Of::Events, None));
            }
            self.events.get_mut(&name).expect("inserted above").there = there;
            wanted.insert(id, name);
        }
        Ok(wanted)
    }
}

async fn look_at_customers(db: &Db, looked: &mut Looked) -> DbResult<()> {
    let (there,): (i64,) = db.fetch_one("SELECT COUNT(*) FROM customer WHERE erased_at IS NULL", vec![]).await?;
    looked.there = there as u64;
    let sql = "SELECT bucket, customer_id, attributes FROM customer \
               WHERE (bucket, customer_id) > ($1, $2) AND erased_at IS NULL AND LENGTH(attributes) <= $3 \
               ORDER BY bucket, customer_id LIMIT $4";
    let mut after = (-1_i64, String::new());
    while looked.looked_at < ROWS_PER_TABLE_MAX {
        let args = args![after.0, after.1.as_str(), DOCUMENT_CHARS_MAX, PAGE_ROWS];
        let page: Vec<(i64, String, String)> = db.fetch_all(sql, args).await?;
        for (_, _, attributes) in &page {
            looked.observe_document(attributes);
        }
        match page.into_iter().next_back() {
            Some((bucket, customer_id, _)) => after = (bucket, customer_id),
            None => break,
        }
    }
    Ok(())
}

async fn look_at_products(db: &Db, looked: &mut Looked) -> DbResult<()> {
    let (there,): (i64,) = db.fetch_one("SELECT COUNT(*) FROM product", vec![]).await?;
    looked.there = there as u64;
    let sql = "SELECT sku, attributes FROM product WHERE sku > $1 AND LENGTH(attributes) <= $2 ORDER BY sku LIMIT $3";
    let mut after = String::new();
    while looked.looked_at < ROWS_PER_TABLE_MAX {
        let args = args![after.as_str(), DOCUMENT_CHARS_MAX, PAGE_ROWS];
        let page: Vec<(String, String)> = db.fetch_all(sql, args).await?;
        for (_, attributes) in &page {
            looked.observe_document(attributes);
        }
        match page.into_iter().next_back() {
            Some((sku, _)) => after = sku,
            None => break,
        }
    }
    Ok(())
}

impl Looked {
    fn observe_document(&mut self, text: &str) {
        let document = members(text);
        self.observe(document.iter().map(|(name, value)| (name.as_str(), value)));
    }
}

/// The members of a stored JSON object; none of what an import would not have written.
fn members(text: &str) -> Map<String, Json> {
    serde_json::from_str(text).unwrap_or_default()
}

/// One event as it is read: the columns that some properties fill, and all properties as JSON.
#[derive(Debug, sqlx::FromRow)]
struct EventRow {
    name_id: i64,
    sku: Option<String>,
    category: Option<String>,
    amount: Option<i64>,
    score: Option<f64>,
    properties: String,
}

impl EventRow {
    /// The properties as segments see them: where a column is filled, it is asked and not the JSON.
    fn properties(self) -> Map<String, Json> {
        let mut all = members(&self.properties);
        let columns = [
            ("sku", self.sku.map(Json::from)),
            ("category", self.category.map(Json::from)),
            ("amount", self.amount.map(Json::from)),
            ("score", self.score.map(Json::from)),
        ];
        for (name, value) in columns {
            if let Some(value) = value {
                all.insert(name.to_owned(), value);
            }
        }
        all
    }
}

/// Sample every event: bucket 0, then 1, 2–3, 4–7 and on, each range as large as all before it, so that an event that is still short of
/// rows is likely to need the next one. Events with rows enough are no longer asked for.
async fn look_at_events(db: &Db, names: &BTreeMap<i64, String>, events: &mut BTreeMap<String, Looked>) -> DbResult<()> {
    let mut first = 0;
    while first < BUCKETS {
        let last = (2 * first - 1).max(first);
        let short = |id: &i64| events[&names[id]].looked_at < ROWS_PER_EVENT_MAX;
        let wanted: Vec<i64> = names.keys().copied().filter(short).collect();
        if wanted.is_empty() {
            break;
        }
        let (sql, args) = sample_of(first, last, &wanted);
        let rows: Vec<EventRow> = db.fetch_all(&sql, args).await?;
        for row in rows {
            let looked = events.get_mut(&names[&row.name_id]).expect("every name wanted is among the events");
            if looked.looked_at < ROWS_PER_EVENT_MAX {
                let properties = row.properties();
                looked.observe(properties.iter().map(|(name, value)| (name.as_str(), value)));
            }
        }
        first = last + 1;
    }
    Ok(())
}

/// The statement that reads some events of a range of buckets: each customer's latest first, so that a sample cut short is still spread
/// over many customers. Cost: one pass over the range, and a sort of the rows of these names.
fn sample_of(first: i64, last: i64, name_ids: &[i64]) -> (String, Vec<Value>) {
    let mut binds = Binds::default();
    let range = (binds.bind(first), binds.bind(last));
    let chars = binds.bind(DOCUMENT_CHARS_MAX);
    let names: Vec<String> = name_ids.iter().map(|id| binds.bind(*id)).collect();
    let per_customer = binds.bind(ROWS_PER_CUSTOMER_MAX);
    let at_once = binds.bind(EVENT_ROWS_AT_ONCE);
    let sql = format!(
        "SELECT name_id, sku, category, amount, score, properties FROM (\
           SELECT e.bucket, e.customer_id, e.name_id, e.sku, e.category, e.amount, e.score, e.properties, \
             ROW_NUMBER() OVER (PARTITION BY e.bucket, e.customer_id, e.name_id ORDER BY e.at DESC, e.event_id) AS nth \
           FROM event e \
           WHERE e.bucket BETWEEN {} AND {} AND LENGTH(e.properties) <= {chars} AND e.name_id IN ({})\
         ) s WHERE nth <= {per_customer} ORDER BY nth, bucket, customer_id, name_id LIMIT {at_once}",
        range.0,
        range.1,
        names.join(", ")
    );
    (sql, binds.into_values())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_speaks_before_the_json_does() {
        let row = EventRow {
            name_id: 1,
            sku: Some("S1".to_owned()),
            category: Some("home".to_owned()),
            amount: None,
            score: Some(2.0),
            properties: r#"{"sku":7,"amount":"12,50","rating":"2"}"#.to_owned(),
        };
        let properties = Json::Object(row.properties());
        let told =
            serde_json::json!({ "sku": "S1", "amount": "12,50", "rating": "2", "category": "home", "score": 2.0 });
        assert_eq!(properties, told);
    }

    #[test]
    fn names_are_bounded_and_the_unusable_told() {
        let mut looked = Looked::new(Of::Events, None);
        let value = Json::from(1);
        let many: Vec<String> = (0..NAMES_MAX + 10).map(|i| format!("n{i}")).collect();
        looked.observe(many.iter().map(|n| (n.as_str(), &value)));
        assert_eq!((looked.properties.len(), looked.crowded), (NAMES_MAX, true));
        let hostile = ["a\"b", "a\nb", "", "<<", "a\\b", &"x".repeat(10_000)];
        looked.observe(hostile.iter().map(|n| (*n, &value)));
        assert_eq!(looked.properties.len(), NAMES_MAX);
        assert_eq!(looked.unusable.len(), UNUSABLE_SHOWN_MAX + 1);
        assert!(looked.unusable.iter().all(|n| n.chars().count() <= 41 && !n.contains('\n')), "{:?}", looked.unusable);
    }
}
