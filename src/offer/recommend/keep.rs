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
    #[error(transparent)]
    Db(#[from] DbError),
}

/// Learn from all orders until `as_of`, and keep it in place of what was there. With [`Scope::Dirty`] only the orders of customers are read that
/// changed since they were last read, as far as that is known; what is learnt is the same.
pub async fn fit(db: &Db, as_of: Millis, scope: Scope) -> Result<FitCard, LearnError> {
    let lease = Lease::take(db, "recommend_fit", HOLD, clock::now()).await?.ok_or(LearnError::Busy)?;
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
    /// From orders, and baskets stay as they are.
    async fn orders(&self) -> Result<Read, LearnError> {
        let mut learner = Learner::new(self.as_of);
        let mut buckets = 0;
        for (first, last) in bought::ranges(self.db).await? {
            // Real time: the lease must outlive a long read.
            if !self.lease.renew(self.db, clock::now()).await? {
                return Err(LearnError::Busy);
            }
            for rows in bought::by_customer(&bought::of_range(self.db, (first, last), self.as_of + 1).await?) {
                if !self.erased.has(rows[0].bucket, &rows[0].customer_id) {
                    let owned: Vec<Owned> = rows.iter().map(|r| r.owned(learner.id(&r.sku))).collect();
                    learner.take(&owned);
                }
            }
            buckets = last + 1;
            if learner.rows() >= self.rows_max {
                break;
            }
        }
        Ok(Read { buckets, read_anew: learner.customers() as u64, learner })
    }

    /// From orders, and everybody's basket is kept.
    async fn everybody(&self) -> Result<Read, LearnError> {
        let mut baskets = Baskets::open(self.db, self.lease, self.erased, self.as_of).await?;
        let mut taken = Taken::new(self.as_of);
        let mut buckets = 0;
        baskets.begin_anew().await?;
        for (first, last) in bought::ranges(self.db).await? {
            for mut basket in baskets.make((first, last)).await? {
                taken.take(&mut basket.owned, baskets.skus()).expect("its products were numbered when it was made");
            }
            buckets = last + 1;
            if taken.learner.rows() >= self.rows_max {
                break;
            }
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
    use crate::db::BUCKETS;

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
}
