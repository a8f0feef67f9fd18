//! What was learnt, kept: fitting anew, and reading the newest fit back.
//!
//! Cost: the first fit reads order lines bucket range by bucket range and stops after [`ROWS_MAX`] pairs of a customer and a product. Buckets are
//! drawn by a hash, so the first so many of them are a fair sample of a shop that is larger. Later fits read what was kept ([`basket`]) and
//! the lines of those who ordered since. [`renew_if_old`] fits at most once a day, and not when nothing was imported since.

use std::collections::HashMap;

use serde::Serialize;

use super::basket::{self, Baskets, Erased, Kept, Taken};
use super::bought;
use super::learn::{Learner, Learnt, Neighbour, Owned, ROWS_MAX, Sold};
use crate::args;
use crate::clock::{self, DAY, MINUTE, Millis};
use crate::db::{Conflict, Db, DbError, DbResult, Lease, Value};
use crate::profile::Scope;
use crate::token::random_token;

/// How long the right to fit holds unless it is renewed, which happens every few thousand customers: so long nobody learns after one that was killed.
const HOLD: Millis = 2 * MINUTE;
/// A fit older than this is renewed when a campaign needs it.
const FRESH: Millis = DAY;
/// Products whose neighbours are turned into rows at once.
const PRODUCTS_AT_ONCE: usize = 500;
/// A shop that has grown by a fourth is learnt from fewer of its customers, chosen anew.
const OUTGROWN_BY: usize = 4;

/// What a fit learnt from, and how much.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, sqlx::FromRow)]
pub struct FitCard {
    pub fit_id: String,
    pub fitted_at: Millis,
    /// Orders until then.
    pub as_of: Millis,
    #[serde(skip)]
    seen: String,
    /// Learnt from the customers of so many buckets out of 1024; fewer than all only in a very large shop.
    pub buckets: i64,
    /// Customers who had bought something.
    pub customers: i64,
    /// Customers whose orders were read for it; of the others what they had bought was kept.
    pub read_anew: i64,
    pub products: i64,
    pub pairs: i64,
}

/// Why nothing was learnt.
#[derive(Debug, thiserror::Error)]
pub enum LearnError {
    #[error("another process is learning recommendations")]
    Busy,
    #[error("this login may not keep what is learnt of recommendations")]
    Denied,
    #[error(transparent)]
    Db(#[from] DbError),
}

/// Learn from all orders until `as_of`, and keep it in place of what was there. With [`Scope::Dirty`] only the orders of customers are read that
/// changed since they were last read, as far as that is known; what is learnt is the same.
pub async fn fit(db: &Db, as_of: Millis, scope: Scope) -> Result<FitCard, LearnError> {
    let lease = match Lease::take(db, "recommend_fit", HOLD, clock::now()).await {
        Err(e) if e.is_denied() => return Err(LearnError::Denied),
        taken => taken?.ok_or(LearnError::Busy)?,
    };
    let outcome = fit_alone(db, as_of, scope, ROWS_MAX, &lease).await;
    lease.release(db).await?;
    outcome
}

/// Learn when there is no fit, when it was made for another day than its own (`--at`), or when it was made more than a day ago and something was
/// imported since. While another process learns, the old fit is good enough; [`LearnError::Busy`] when there is none.
///
/// Real time, whatever instant is planned for: a plan that was tried for next month must not stand in the way of today's mail.
pub async fn renew_if_old(db: &Db) -> Result<(), LearnError> {
    let now = clock::now();
    let old = newest(db).await?;
    if let Some(card) = &old
        && (card.fitted_at - card.as_of).abs() < FRESH
        && (now - card.fitted_at < FRESH || card.seen == seen(db).await?)
    {
        return Ok(());
    }
    match fit(db, now, Scope::Dirty).await {
        Err(LearnError::Busy) if old.is_some() => Ok(()),
        ended => ended.map(|_| ()),
    }
}

async fn fit_alone(
    db: &Db,
    as_of: Millis,
    scope: Scope,
    rows_max: usize,
    lease: &Lease,
) -> Result<FitCard, LearnError> {
    let seen = seen(db).await?;
    let read = read(db, as_of, scope, rows_max, lease).await?;
    let customers = read.learner.customers() as i64;
    let learnt = read.learner.finish();
    let card = FitCard {
        fit_id: random_token(),
        fitted_at: clock::now(),
        as_of,
        seen,
        buckets: read.buckets,
        customers,
        read_anew: i64::try_from(read.read_anew).unwrap_or(i64::MAX),
        products: learnt.sold.len() as i64,
        pairs: learnt.neighbours.iter().map(|n| n.len() as i64).sum(),
    };
    if !write(db, &learnt, &card, lease).await? {
        return Err(LearnError::Busy);
    }
    Ok(card)
}

/// All customers there are to learn from.
struct Read {
    learner: Learner,
    buckets: i64,
    /// Customers whose orders were read.
    read_anew: u64,
}

/// Baskets are kept of the past alone: they serve whoever asks later, and for an earlier day orders are read as they lie.
async fn read(db: &Db, as_of: Millis, scope: Scope, rows_max: usize, lease: &Lease) -> Result<Read, LearnError> {
    let now = clock::now();
    let erased = &basket::forget_erased(db).await?;
    let reading = Reading { db, as_of, rows_max, lease, erased };
    match basket::kept(db).await?.filter(|kept| scope == Scope::Dirty && kept.as_of <= now) {
        _ if as_of > now => reading.orders().await,
        Some(kept) if as_of < kept.as_of => reading.orders().await,
        Some(kept) => match reading.changed(kept).await? {
            Some(read) => Ok(read),
            None => reading.everybody().await,
        },
        None => reading.everybody().await,
    }
}

struct Reading<'a> {
    db: &'a Db,
    as_of: Millis,
    rows_max: usize,
    lease: &'a Lease,
    erased: &'a Erased,
}

impl Reading<'_> {
    /// Whether enough was learnt from whole buckets, before a customer of this one.
    fn is_enough(&self, learner: &Learner, buckets: i64, bucket: i64) -> bool {
        bucket >= buckets && learner.rows() >= self.rows_max
    }

    /// From orders, and baskets stay as they are.
    async fn orders(&self) -> Result<Read, LearnError> {
        let mut learner = Learner::new(self.as_of);
        let mut buckets = 0;
        'ranges: for (first, last) in bought::ranges(self.db).await? {
            // Real time: the lease must outlive a long read.
            if !self.lease.renew(self.db, clock::now()).await? {
                return Err(LearnError::Busy);
            }
            for rows in bought::by_customer(&bought::of_range(self.db, (first, last), self.as_of + 1).await?) {
                if self.is_enough(&learner, buckets, rows[0].bucket) {
                    break 'ranges;
                }
                buckets = rows[0].bucket + 1;
                if !self.erased.has(rows[0].bucket, &rows[0].customer_id) {
                    let owned: Vec<Owned> = rows.iter().map(|r| r.owned(learner.id(&r.sku))).collect();
                    learner.take(&owned);
                }
            }
            buckets = last + 1;
        }
        Ok(Read { buckets, read_anew: learner.customers() as u64, learner })
    }

    /// From orders, and everybody's basket is kept.
    async fn everybody(&self) -> Result<Read, LearnError> {
        let mut baskets = Baskets::open(self.db, self.lease, self.erased, self.as_of).await?;
        let mut taken = Taken::new(self.as_of);
        let mut buckets = 0;
        baskets.begin_anew().await?;
        'ranges: for (first, last) in bought::ranges(self.db).await? {
            for mut basket in baskets.make((first, last)).await? {
                if self.is_enough(&taken.learner, buckets, basket.bucket) {
                    break 'ranges;
                }
                buckets = basket.bucket + 1;
                taken.take(&mut basket.owned, baskets.skus()).expect("its products were numbered when it was made");
            }
            buckets = last + 1;
        }
        baskets.end_anew(buckets).await?;
        Ok(Read { buckets, read_anew: taken.learner.customers() as u64, learner: taken.learner })
    }

    /// From baskets, after those who ordered were read anew. `None` when it needs everybody: the shop has outgrown the sample, or a basket cannot be read.
    async fn changed(&self, kept: Kept) -> Result<Option<Read>, LearnError> {
        let mut baskets = Baskets::open(self.db, self.lease, self.erased, self.as_of).await?;
        let mut taken = Taken::new(self.as_of);
        let read_anew = baskets.renew(kept).await?;
        let whole = baskets.pass(kept, &mut taken, self.rows_max + self.rows_max / OUTGROWN_BY).await?;
        Ok(whole.then_some(Read { buckets: kept.buckets, read_anew, learner: taken.learner }))
    }
}

/// The card of the newest fit; `None` before the first.
pub async fn newest(db: &Db) -> DbResult<Option<FitCard>> {
    let sql = "SELECT fit_id, fitted_at, as_of, seen, buckets, customers, read_anew, products, pairs FROM recommend_fit
               ORDER BY fitted_at DESC, fit_id LIMIT 1";
    db.fetch_optional(sql, vec![]).await
}

/// What the newest fit learnt; nothing before the first.
pub(super) async fn load(db: &Db) -> DbResult<Learnt> {
    let sql = "SELECT sku, buyers, recent_buyers, orders FROM product_sold";
    let sold: Vec<(String, i64, i64, i64)> = db.fetch_all(sql, vec![]).await?;
    let small = |n: i64| u32::try_from(n).unwrap_or(0);
    let mut sold: Vec<Sold> = sold
        .into_iter()
        .map(|(sku, buyers, recent, orders)| Sold {
            sku,
            buyers: small(buyers),
            recent_buyers: small(recent),
            orders: small(orders),
        })
        .collect();
    // The order they were learnt in, whatever the engine takes for alphabetical.
    sold.sort_by(|a, b| b.buyers.cmp(&a.buyers).then_with(|| a.sku.cmp(&b.sku)));
    let mut neighbours: Vec<Vec<Neighbour>> = vec![Vec::new(); sold.len()];
    let place: HashMap<&str, u32> = sold.iter().zip(0..).map(|(s, at)| (&*s.sku, at)).collect();
    let sql = "SELECT sku, other_sku, customers, cosine FROM product_pair";
    let pairs: Vec<(String, String, i64, f64)> = db.fetch_all(sql, vec![]).await?;
    for (sku, other, support, cosine) in pairs {
        // Read beside a fit that has just begun to replace them, a pair may name a product that is no longer there.
        let (Some(sku), Some(product)) = (place.get(&*sku), place.get(&*other)) else { continue };
        neighbours[*sku as usize].push(Neighbour { product: *product, support: small(support), cosine });
    }
    for near in &mut neighbours {
        near.sort_by(|a, b| b.cosine.total_cmp(&a.cosine).then(a.product.cmp(&b.product)));
    }
    Ok(Learnt { sold, neighbours })
}

/// All in one transaction; false, and nothing written, when the lease was lost.
async fn write(db: &Db, learnt: &Learnt, card: &FitCard, lease: &Lease) -> DbResult<bool> {
    let mut tx = db.begin().await?;
    if !lease.renew_in(&mut tx, clock::now()).await? {
        tx.rollback().await?;
        return Ok(false);
    }
    for table in ["recommend_fit", "product_sold", "product_pair"] {
        tx.execute(&format!("DELETE FROM {table}"), vec![]).await?;
    }
    let rows: Vec<Value> =
        learnt.sold.iter().flat_map(|s| args![&s.sku, s.buyers, s.recent_buyers, s.orders]).collect();
    tx.insert_rows("product_sold", &["sku", "buyers", "recent_buyers", "orders"], rows, Conflict::Keep).await?;
    for (sold, near) in learnt.sold.chunks(PRODUCTS_AT_ONCE).zip(learnt.neighbours.chunks(PRODUCTS_AT_ONCE)) {
        let pairs = sold.iter().zip(near).flat_map(|(s, near)| near.iter().map(move |n| (s, n)));
        let rows: Vec<Value> =
            pairs.flat_map(|(s, n)| args![&s.sku, &learnt.sold[n.product as usize].sku, n.support, n.cosine]).collect();
        tx.insert_rows("product_pair", &["sku", "other_sku", "customers", "cosine"], rows, Conflict::Keep).await?;
    }
    let columns = ["fit_id", "fitted_at", "as_of", "seen", "buckets", "customers", "read_anew", "products", "pairs"];
    let c = card;
    let row = args![&c.fit_id, c.fitted_at, c.as_of, &c.seen, c.buckets, c.customers, c.read_anew, c.products, c.pairs];
    tx.insert_rows("recommend_fit", &columns, row, Conflict::Keep).await?;
    tx.commit().await?;
    Ok(true)
}

/// What imports had brought: while it is the same, a fit would learn the same. An import that was broken off has brought something too.
async fn seen(db: &Db) -> DbResult<String> {
    let sql = "SELECT COUNT(*), CAST(COALESCE(SUM(written_rows), 0) AS BIGINT) FROM import_batch
               WHERE kind IN ('orders', 'lines') AND (written_rows > 0 OR finished_at IS NULL)";
    let (batches, rows): (i64, i64) = db.fetch_one(sql, vec![]).await?;
    Ok(format!("{batches} imports, {rows} rows"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::{BUCKETS, bucket_of};

    #[tokio::test]
    async fn whoever_lost_the_lease_writes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let db = Db::open(&format!("sqlite:{}", dir.path().join("shop.db").display())).await.unwrap();
        let now = clock::now();
        let frozen = Lease::take(&db, "recommend_fit", HOLD, now - 2 * HOLD).await.unwrap().unwrap();
        let heir = Lease::take(&db, "recommend_fit", HOLD, now).await.unwrap().unwrap();
        let late = fit_alone(&db, now, Scope::Dirty, ROWS_MAX, &frozen).await;
        assert!(matches!(late, Err(LearnError::Busy)), "{late:?}");
        let learnt = Learner::new(now).finish();
        let card = |id: &str| FitCard {
            fit_id: id.to_owned(),
            fitted_at: now,
            as_of: now,
            seen: String::new(),
            buckets: BUCKETS,
            customers: 0,
            read_anew: 0,
            products: 0,
            pairs: 0,
        };
        assert!(!write(&db, &learnt, &card("late"), &frozen).await.unwrap());
        assert_eq!(newest(&db).await.unwrap(), None);
        assert!(write(&db, &learnt, &card("heir"), &heir).await.unwrap());
        assert_eq!(newest(&db).await.unwrap().unwrap().fit_id, "heir");
    }

    /// Each of these customers buys three of ten things at an instant.
    async fn buy(db: &Db, customers: std::ops::Range<usize>, at: Millis) {
        let (mut orders, mut lines, mut due) = (Vec::new(), Vec::new(), Vec::new());
        for n in customers {
            let id = format!("c{n}");
            let (bucket, order) = (bucket_of(&id), format!("{id}-{at}"));
            orders.extend(args![bucket, &id, at, &order, 900_i64, "EUR", "placed"]);
            for thing in 0..3_usize {
                let sku = format!("p{}", (n + thing * thing) % 10);
                lines.extend(args![bucket, &id, at, &order, thing as i64, sku, 1_i64, 300_i64]);
            }
            due.extend(args![bucket, id, at]);
        }
        let mut tx = db.begin().await.unwrap();
        let key = ["bucket", "customer_id", "ordered_at", "order_id"];
        let order = [&key[..], &["total", "currency", "status"]].concat();
        let line = [&key[..], &["line_no", "sku", "quantity", "amount"]].concat();
        tx.insert_rows("customer_order", &order, orders, Conflict::Keep).await.unwrap();
        tx.insert_rows("order_line", &line, lines, Conflict::Keep).await.unwrap();
        tx.insert_rows("basket_due", &["bucket", "customer_id", "noted_at"], due, Conflict::Keep).await.unwrap();
        // How wide the ranges are that are read at once goes by how many customers there are.
        let known = (0..40_000).flat_map(|n| args![n % BUCKETS, format!("known{n}"), "{}", 0_i64]).collect();
        tx.insert_rows("customer", &["bucket", "customer_id", "attributes", "first_seen_at"], known, Conflict::Keep)
            .await
            .unwrap();
        tx.commit().await.unwrap();
    }

    #[tokio::test]
    async fn a_sample_is_renewed_as_it_is_until_it_has_outgrown_itself() {
        let dir = tempfile::tempdir().unwrap();
        let db = Db::open(&format!("sqlite:{}", dir.path().join("shop.db").display())).await.unwrap();
        let lease = Lease::take(&db, "recommend_fit", HOLD, clock::now()).await.unwrap().unwrap();
        const ROWS: usize = 900;
        let fit = async |as_of: Millis, scope: Scope| {
            let card = fit_alone(&db, as_of, scope, ROWS, &lease).await.unwrap();
            (card.buckets, card.customers, card.read_anew, load(&db).await.unwrap())
        };
        buy(&db, 0..1_000, 1_000).await;
        let (buckets, customers, read, learnt) = fit(2_000, Scope::Dirty).await;
        assert!(buckets < BUCKETS / 2 && (300..305).contains(&customers) && read == customers, "{buckets} {customers}");
        let (due,): (i64,) = db.fetch_one("SELECT COUNT(*) FROM basket_due", vec![]).await.unwrap();
        assert_eq!(due, 0, "nobody beyond the sample waits for ever");
        assert_eq!(fit(2_000, Scope::Dirty).await, (buckets, customers, 0, learnt));

        // A tenth more: the same sample, and what one drawn anew would say of the same customers.
        buy(&db, 1_000..1_100, 3_000).await;
        let (same, more, read, learnt) = fit(4_000, Scope::Dirty).await;
        assert_eq!((same, more), (buckets, customers + read));
        assert!(0 < read && read < 100, "{read} of a hundred are in the sample");
        let mut all = Learner::new(4_000);
        for rows in bought::by_customer(&bought::of_range(&db, (0, buckets - 1), 4_001).await.unwrap()) {
            let owned: Vec<Owned> = rows.iter().map(|r| r.owned(all.id(&r.sku))).collect();
            all.take(&owned);
        }
        assert_eq!(learnt, all.finish());

        buy(&db, 1_100..1_500, 5_000).await;
        let (fewer, customers, read, learnt) = fit(6_000, Scope::Dirty).await;
        assert!(fewer < buckets && read == customers, "{fewer} of {buckets} buckets");
        assert_eq!(fit(6_000, Scope::Everyone).await, (fewer, customers, read, learnt));
    }
}
