//! Reads the pools back: what each has, and who got what.

use std::collections::BTreeMap;

use jiff::tz::TimeZone;
use serde::Serialize;

use super::GOOD_FOR_MIN;
use super::stock::is_over;
use crate::args;
use crate::clock::{self, Millis};
use crate::db::{Db, DbResult, bucket_ranges};
use crate::settings::rewards::Codes;
use crate::settings::{RewardPool, Settings};

/// Buckets of issued rewards read at once.
const BUCKETS_PER_READ: i64 = 32;

/// A pool and what became of its rewards.
#[derive(Debug, Clone, Serialize, PartialEq, Eq)]
pub struct Shelf {
    pub pool: String,
    /// `None`: okaeri.yaml does not have it any more.
    pub kind: Option<&'static str>,
    /// Can still be given; `None`: no end to them.
    pub left: Option<i64>,
    /// Out with a message.
    pub issued: i64,
    /// Came back, because their message never left; free again.
    pub returned: i64,
    /// Never given, and too late now.
    pub expired: i64,
    /// Of those out, if all are used; minor units.
    pub cost: i64,
}

#[derive(Default, Clone, Copy)]
struct Counted {
    free: i64,
    late: i64,
    issued: i64,
    returned: i64,
    cost: i64,
}

/// Every pool of the settings, in their order, and those that only the database knows.
pub async fn shelves(db: &Db, settings: &Settings, as_of: Millis) -> DbResult<Vec<Shelf>> {
    let mut counted: BTreeMap<String, Counted> = BTreeMap::new();
    let sql = "SELECT c.pool, CAST(SUM(CASE WHEN c.expires_at IS NULL OR c.expires_at > $1 THEN 1 ELSE 0 END) AS BIGINT), \
                      CAST(SUM(CASE WHEN c.expires_at <= $1 THEN 1 ELSE 0 END) AS BIGINT) \
               FROM reward_code c WHERE c.issued_at IS NULL GROUP BY c.pool";
    for (pool, free, late) in db.fetch_all::<(String, i64, i64)>(sql, args![as_of + GOOD_FOR_MIN]).await? {
        let c = counted.entry(pool).or_default();
        (c.free, c.late) = (free, late);
    }
    let sql = "SELECT i.pool, CAST(SUM(CASE WHEN i.returned_at IS NULL THEN 1 ELSE 0 END) AS BIGINT), \
                      CAST(SUM(CASE WHEN i.returned_at IS NULL THEN 0 ELSE 1 END) AS BIGINT), \
                      CAST(SUM(CASE WHEN i.returned_at IS NULL THEN i.cost ELSE 0 END) AS BIGINT) \
               FROM reward_issue i GROUP BY i.pool";
    for (pool, issued, returned, cost) in db.fetch_all::<(String, i64, i64, i64)>(sql, args![]).await? {
        let c = counted.entry(pool).or_default();
        (c.issued, c.returned, c.cost) = (issued, returned, cost);
    }
    let known = settings.rewards.iter().map(|pool| {
        let c = counted.remove(&pool.name).unwrap_or_default();
        shelf(&pool.name, Some(pool), c, as_of, &settings.time_zone)
    });
    let mut shelves: Vec<Shelf> = known.collect();
    shelves.extend(counted.iter().map(|(name, c)| shelf(name, None, *c, as_of, &settings.time_zone)));
    Ok(shelves)
}

fn shelf(name: &str, pool: Option<&RewardPool>, c: Counted, as_of: Millis, zone: &TimeZone) -> Shelf {
    let over = pool.is_some_and(|pool| is_over(pool, as_of, zone));
    let room = pool.and_then(|pool| pool.at_most).map(|most| (i64::from(most) - c.issued).max(0));
    let codes = pool.is_none_or(|pool| pool.codes == Codes::Imported).then_some(c.free);
    let left = codes.into_iter().chain(room).min();
    Shelf {
        pool: name.to_owned(),
        kind: pool.map(|pool| pool.kind.word()),
        left: if over { Some(0) } else { left },
        issued: c.issued,
        returned: c.returned,
        expired: c.late + if over { c.free } else { 0 },
        cost: c.cost,
    }
}

/// A reward that is out, and with what.
#[derive(Debug, Clone, Serialize)]
pub struct Exported {
    pub pool: String,
    pub code: Option<String>,
    pub campaign: String,
    pub step: String,
    pub slot: String,
    pub message_id: String,
    /// `None`: they asked to be forgotten.
    pub customer_id: Option<String>,
    /// What became of the message.
    pub state: String,
    pub issued_at: String,
    pub expires_at: Option<String>,
}

#[derive(sqlx::FromRow)]
struct Row {
    code: Option<String>,
    campaign: String,
    step: String,
    slot: String,
    message_id: String,
    customer_id: Option<String>,
    state: String,
    issued_at: i64,
    expires_at: Option<i64>,
}

/// The rewards of a pool that are out, bucket by bucket, handed to `each`; what came back is not among them.
pub async fn export<E>(
    db: &Db,
    pool: &str,
    zone: &TimeZone,
    mut each: impl FnMut(Exported) -> Result<(), E>,
) -> DbResult<Result<(), E>> {
    let sql = "SELECT i.code, m.campaign, m.step, m.slot, m.message_id, \
                      CASE WHEN c.erased_at IS NULL THEN c.customer_id END AS customer_id, d.state, i.issued_at, i.expires_at \
               FROM reward_issue i JOIN delivery d ON d.bucket = i.bucket AND d.chunk_id = i.chunk_id AND d.seq = i.seq \
               JOIN message m ON m.bucket = d.bucket AND m.customer_id = d.customer_id AND m.chunk_id = d.chunk_id AND m.seq = d.seq \
               LEFT JOIN customer c ON c.bucket = d.bucket AND c.customer_id = d.customer_id \
               WHERE i.pool = $1 AND i.bucket >= $2 AND i.bucket <= $3 AND i.returned_at IS NULL ORDER BY i.bucket, i.chunk_id, i.seq";
    for (first, last) in bucket_ranges(BUCKETS_PER_READ) {
        for row in db.fetch_all::<Row>(sql, args![pool, first, last]).await? {
            let exported = Exported {
                pool: pool.to_owned(),
                code: row.code,
                campaign: row.campaign,
                step: row.step,
                slot: row.slot,
                message_id: row.message_id,
                customer_id: row.customer_id,
                state: row.state,
                issued_at: clock::rfc3339(row.issued_at, zone),
                expires_at: row.expires_at.map(|at| clock::rfc3339(at, zone)),
            };
            if let Err(e) = each(exported) {
                return Ok(Err(e));
            }
        }
    }
    Ok(Ok(()))
}
