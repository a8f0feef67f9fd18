//! Kept baskets: what each customer had bought when it was last read, so that a fit reads the orders of those alone who ordered since.
//!
//! Owns basket, basket_product and basket_state; who is in basket_due is noted by imports, and taken out here. Three things hold at every commit:
//!
//! * a basket holds what its customer had bought until an instant that is not after the `as_of` of basket_state, or the customer is due;
//! * whoever has lines after the instant their basket was read for is due;
//! * without a row in basket_state nothing of this holds, and all baskets are made anew.
//!
//! Customers are taken out of basket_due *first* and their lines read after that, in one transaction, as profiles do it: whoever changes them
//! meanwhile is seen, or waits and makes them due again. Each transaction holds the lease, so that product numbers are given by one process.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::body;
use super::bought::{self, Bought};
use super::keep::LearnError;
use super::learn::{Learner, Owned};
use crate::args;
use crate::clock::{self, Millis};
use crate::db::{Cells, Conflict, Db, DbResult, Lease, Tx, Value, bucket_ranges, retried};

const KEY: [&str; 2] = ["bucket", "customer_id"];
const IN_RANGE: &str = "bucket >= $1 AND bucket <= $2";
/// Due customers who are read in one transaction, about.
const DUE_AT_ONCE: i64 = 2_000;
/// Buckets whose baskets pass between two renewals of the lease.
const BUCKETS_PASSING: i64 = 32;

/// What is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::FromRow)]
pub(super) struct Kept {
    /// Orders until then.
    pub as_of: Millis,
    /// The customers of so many buckets.
    pub buckets: i64,
}

/// The state of the baskets; `None` when they are not whole, or written in another layout.
pub(super) async fn kept(db: &Db) -> DbResult<Option<Kept>> {
    db.fetch_optional("SELECT as_of, buckets FROM basket_state WHERE layout = $1", args![body::LAYOUT]).await
}

/// Remove the baskets of those who were erased, and who they are: nothing is learnt from what they bought.
pub(super) async fn forget_erased(db: &Db) -> DbResult<Erased> {
    let erased: Vec<(i64, String)> =
        db.fetch_all("SELECT bucket, customer_id FROM customer WHERE erased_at IS NOT NULL", vec![]).await?;
    let people: Vec<(i64, &str)> = erased.iter().map(|(bucket, id)| (*bucket, &**id)).collect();
    let mut tx = db.begin().await?;
    remove(&mut tx, &people).await?;
    tx.commit().await?;
    Ok(Erased(erased.into_iter().collect()))
}

/// Customers who were erased: few.
pub(super) struct Erased(HashSet<(i64, String)>);

impl Erased {
    pub fn has(&self, bucket: i64, customer_id: &str) -> bool {
        !self.0.is_empty() && self.0.contains(&(bucket, customer_id.to_owned()))
    }
}

/// What one customer has; products by their number.
pub(super) struct Basket {
    pub bucket: i64,
    customer_id: String,
    pub owned: Vec<Owned>,
}

/// The baskets while a fit reads and writes them.
pub(super) struct Baskets<'a> {
    db: &'a Db,
    lease: &'a Lease,
    /// What was bought before this instant counts.
    before: Millis,
    erased: &'a Erased,
    products: Products,
}

impl<'a> Baskets<'a> {
    /// For orders until `as_of`.
    pub async fn open(db: &'a Db, lease: &'a Lease, erased: &'a Erased, as_of: Millis) -> DbResult<Baskets<'a>> {
        let products = Products::load(db).await?;
        Ok(Baskets { db, lease, before: as_of.saturating_add(1), erased, products })
    }

    /// The skus of products by their number.
    pub fn skus(&self) -> &[String] {
        &self.products.skus
    }

    /// From here until [`Baskets::end_anew`] nothing is kept.
    pub async fn begin_anew(&mut self) -> Result<(), LearnError> {
        self.products = Products::default();
        alone(self.db, self.lease, async |tx| {
            tx.execute("DELETE FROM basket_state", vec![]).await?;
            tx.execute("DELETE FROM basket_product", vec![]).await?;
            Ok(())
        })
        .await
    }

    /// Read and keep the baskets of all customers of a range of buckets.
    pub async fn make(&mut self, (first, last): (i64, i64)) -> Result<Vec<Basket>, LearnError> {
        let Baskets { db, lease, before, erased, products } = self;
        let made = alone(db, lease, async |tx| {
            for table in ["basket_due", "basket"] {
                tx.execute(&format!("DELETE FROM {table} WHERE {IN_RANGE}"), args![first, last]).await?;
            }
            let mut baskets = bought_in(tx, (first, last), *before, products).await?;
            baskets.retain(|b| !erased.has(b.bucket, &b.customer_id));
            let later = bought::later_in_range(tx, (first, last), *before).await?;
            make_due(tx, later).await?;
            products.keep(tx).await?;
            write(tx, &baskets).await?;
            Ok(baskets)
        })
        .await?;
        self.products.were_kept();
        Ok(made)
    }

    /// The baskets of the first `buckets` buckets are whole.
    pub async fn end_anew(&self, buckets: i64) -> Result<(), LearnError> {
        alone(self.db, self.lease, async |tx| {
            for table in ["basket_due", "basket"] {
                tx.execute(&format!("DELETE FROM {table} WHERE bucket >= $1"), args![buckets]).await?;
            }
            let row = args![body::LAYOUT, self.before - 1, buckets];
            tx.insert_rows("basket_state", &["layout", "as_of", "buckets"], row, Conflict::Keep).await?;
            Ok(())
        })
        .await
    }

    /// Read those anew who ordered since `kept`; how many.
    pub async fn renew(&mut self, kept: Kept) -> Result<u64, LearnError> {
        let as_of = self.before - 1;
        alone(self.db, self.lease, async |tx| {
            // Before the first basket: one that was read for now must not be taken for one of then.
            tx.execute("UPDATE basket_state SET as_of = $1 WHERE layout = $2", args![as_of, body::LAYOUT]).await?;
            // Of others nothing is kept.
            tx.execute("DELETE FROM basket_due WHERE bucket >= $1", args![kept.buckets]).await?;
            Ok(())
        })
        .await?;
        let mut read = 0;
        for range in self.due_ranges().await? {
            read += self.renew_range(range).await?;
        }
        Ok(read)
    }

    /// Ranges of buckets that hold some due customers each.
    async fn due_ranges(&self) -> DbResult<Vec<(i64, i64)>> {
        let due: Vec<(i64, i64)> = self
            .db
            .fetch_all("SELECT bucket, COUNT(*) FROM basket_due GROUP BY bucket ORDER BY bucket", vec![])
            .await?;
        let mut ranges: Vec<(i64, i64)> = Vec::new();
        let mut held = DUE_AT_ONCE;
        for (bucket, customers) in due {
            match ranges.last_mut() {
                Some((_, last)) if held + customers <= DUE_AT_ONCE => *last = bucket,
                _ => {
                    ranges.push((bucket, bucket));
                    held = 0;
                }
            }
            held += customers;
        }
        Ok(ranges)
    }

    async fn renew_range(&mut self, (first, last): (i64, i64)) -> Result<u64, LearnError> {
        let Baskets { db, lease, before, erased, products } = self;
        let read = alone(db, lease, async |tx| {
            let take = format!("DELETE FROM basket_due WHERE {IN_RANGE} RETURNING bucket, customer_id");
            let due: Vec<(i64, String)> = tx.fetch_all(&take, args![first, last]).await?;
            let due: BTreeSet<(i64, String)> = due.into_iter().collect();
            let people: Vec<(i64, &str)> = due.iter().map(|(bucket, id)| (*bucket, &**id)).collect();
            let rows = bought::of_people_in(tx, &people, *before).await?;
            let mut baskets: Vec<Basket> = bought::by_customer(&rows).map(|rows| products.basket(rows)).collect();
            baskets.retain(|b| !erased.has(b.bucket, &b.customer_id));
            let later = bought::later_people(tx, &people, *before).await?;
            make_due(tx, later).await?;
            products.keep(tx).await?;
            write(tx, &baskets).await?;
            let there: HashSet<(i64, &str)> = baskets.iter().map(|b| (b.bucket, &*b.customer_id)).collect();
            let gone: Vec<(i64, &str)> = people.iter().filter(|p| !there.contains(*p)).copied().collect();
            remove(tx, &gone).await?;
            Ok(people.len() as u64)
        })
        .await?;
        self.products.were_kept();
        Ok(read)
    }

    /// Let all baskets go into `taken`. False when there are more than `rows_max` pairs of a customer and a product, or one that cannot be read.
    pub async fn pass(&self, kept: Kept, taken: &mut Taken, rows_max: usize) -> Result<bool, LearnError> {
        let mut torn = false;
        for (first, last) in bucket_ranges(BUCKETS_PASSING).take_while(|(first, _)| *first < kept.buckets) {
            if !self.lease.renew(self.db, clock::now()).await? {
                return Err(LearnError::Busy);
            }
            let sql = format!("SELECT body FROM basket WHERE {IN_RANGE}");
            let pass = |row: Cells| {
                let owned = row.text(0)?.and_then(body::read);
                torn |= owned.and_then(|mut owned| taken.take(&mut owned, self.skus())).is_none();
                Ok(())
            };
            self.db.each_row(&sql, args![first, last], pass).await?;
            if torn || taken.learner.rows() > rows_max {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Customers on their way from numbers of products here to those of a learner.
pub(super) struct Taken {
    pub learner: Learner,
    numbers: Vec<Option<u32>>,
}

impl Taken {
    pub fn new(as_of: Millis) -> Taken {
        Taken { learner: Learner::new(as_of), numbers: Vec::new() }
    }

    /// Learn from one customer; `None`, and nothing learnt, when a product has no sku. Products that nobody has any more are never met.
    pub fn take(&mut self, owned: &mut [Owned], skus: &[String]) -> Option<()> {
        self.numbers.resize(skus.len(), None);
        for o in &mut *owned {
            let number = self.numbers.get_mut(o.product as usize)?;
            o.product = *number.get_or_insert_with(|| self.learner.id(&skus[o.product as usize]));
        }
        self.learner.take(owned);
        Some(())
    }
}

/// Products by number.
#[derive(Default)]
struct Products {
    skus: Vec<String>,
    numbers: HashMap<String, u32>,
    /// So many of them are in the table.
    kept: usize,
}

impl Products {
    async fn load(db: &Db) -> DbResult<Products> {
        let rows: Vec<(i64, String)> =
            db.fetch_all("SELECT number, sku FROM basket_product ORDER BY number", vec![]).await?;
        let mut products = Products::default();
        for (_, sku) in rows {
            products.number(&sku);
        }
        products.were_kept();
        Ok(products)
    }

    fn number(&mut self, sku: &str) -> u32 {
        if let Some(number) = self.numbers.get(sku) {
            return *number;
        }
        let number = u32::try_from(self.skus.len()).expect("fewer than four thousand million products");
        self.numbers.insert(sku.to_owned(), number);
        self.skus.push(sku.to_owned());
        number
    }

    fn basket(&mut self, rows: &[Bought]) -> Basket {
        let owned = rows.iter().map(|r| r.owned(self.number(&r.sku))).collect();
        Basket { bucket: rows[0].bucket, customer_id: rows[0].customer_id.clone(), owned }
    }

    /// Write the numbers that are new.
    async fn keep(&self, tx: &mut Tx) -> DbResult<()> {
        let new = self.skus.iter().enumerate().skip(self.kept);
        let rows: Vec<Value> = new.flat_map(|(number, sku)| args![number as i64, sku]).collect();
        tx.insert_rows("basket_product", &["number", "sku"], rows, Conflict::Keep).await.map(|_| ())
    }

    /// The transaction that wrote them has ended.
    fn were_kept(&mut self) {
        self.kept = self.skus.len();
    }
}

/// Do something in a transaction that nobody else who learns can be beside.
async fn alone<T>(db: &Db, lease: &Lease, mut work: impl AsyncFnMut(&mut Tx) -> DbResult<T>) -> Result<T, LearnError> {
    let done = retried(async || {
        let mut tx = db.begin().await?;
        // Real time, as leases have it.
        if !lease.renew_in(&mut tx, clock::now()).await? {
            tx.rollback().await?;
            return Ok(None);
        }
        let done = work(&mut tx).await?;
        tx.commit().await?;
        Ok(Some(done))
    });
    done.await?.ok_or(LearnError::Busy)
}

/// What the customers of a range had bought, a basket each.
async fn bought_in(tx: &mut Tx, range: (i64, i64), before: Millis, products: &mut Products) -> DbResult<Vec<Basket>> {
    let mut baskets: Vec<Basket> = Vec::new();
    bought::pass_range(tx, range, before, |bucket, customer_id, sku, owned| {
        let owned = Owned { product: products.number(sku), ..owned };
        match baskets.last_mut() {
            Some(b) if b.bucket == bucket && b.customer_id == customer_id => b.owned.push(owned),
            _ => baskets.push(Basket { bucket, customer_id: customer_id.to_owned(), owned: vec![owned] }),
        }
    })
    .await?;
    Ok(baskets)
}

async fn write(tx: &mut Tx, baskets: &[Basket]) -> DbResult<()> {
    let rows: Vec<Value> =
        baskets.iter().flat_map(|b| args![b.bucket, &b.customer_id, body::write(&b.owned)]).collect();
    let columns = [KEY[0], KEY[1], "body"];
    tx.insert_rows("basket", &columns, rows, Conflict::Update { key: &KEY }).await.map(|_| ())
}

async fn remove(tx: &mut Tx, people: &[(i64, &str)]) -> DbResult<()> {
    let keys = people.iter().flat_map(|(bucket, id)| args![*bucket, *id]).collect();
    let sql = "DELETE FROM basket WHERE (bucket, customer_id) IN (SELECT bucket, customer_id FROM k)";
    tx.execute_keyed(&KEY, keys, sql).await.map(|_| ())
}

/// Read them again when what they ordered has come to pass.
async fn make_due(tx: &mut Tx, people: Vec<(i64, String)>) -> DbResult<()> {
    let now = clock::now();
    let rows: Vec<Value> = people.into_iter().flat_map(|(bucket, id)| args![bucket, id, now]).collect();
    tx.insert_rows("basket_due", &["bucket", "customer_id", "noted_at"], rows, Conflict::Keep).await.map(|_| ())
}
