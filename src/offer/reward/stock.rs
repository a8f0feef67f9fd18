//! What pools have left while a plan is made, and the codes that are set apart for its messages.

use std::collections::{BTreeMap, HashSet};

use jiff::tz::TimeZone;

use super::{GOOD_FOR_MIN, key_of};
use crate::args;
use crate::clock::Millis;
use crate::db::{Db, DbResult, Value, bucket_of};
use crate::settings::RewardPool;
use crate::settings::rewards::{Codes, code_by};

/// How often new codes are made for those that there are already.
const MAKING_TRIES: usize = 8;

/// What each pool has left, and what is taken of it as people are planned.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stock {
    /// Pool → rewards left at the start; `None`: no end to them.
    left: BTreeMap<String, Option<i64>>,
    /// Pool → rewards that were chosen so far.
    taken: BTreeMap<String, i64>,
}

impl Stock {
    /// What is left of these pools at a plan's instant.
    pub async fn load(db: &Db, pools: &[&RewardPool], as_of: Millis, zone: &TimeZone) -> DbResult<Stock> {
        let mut stock = Stock::default();
        for pool in pools {
            stock.left.insert(pool.name.clone(), left(db, pool, as_of, zone).await?);
        }
        Ok(stock)
    }

    /// Whether somebody can still be given one.
    pub fn has(&self, pool: &str) -> bool {
        let taken = self.taken.get(pool).copied().unwrap_or(0);
        self.left.get(pool).is_some_and(|left| left.is_none_or(|n| n > taken))
    }

    /// Somebody is given one.
    pub fn take(&mut self, pool: &str) {
        *self.taken.entry(pool.to_owned()).or_default() += 1;
    }

    /// Each pool with what it had left at the start and what was taken of it since.
    pub fn rows(&self) -> impl Iterator<Item = (&str, Option<i64>, i64)> {
        self.left.iter().map(|(pool, left)| (pool.as_str(), *left, self.taken.get(pool).copied().unwrap_or(0)))
    }
}

/// Whether a pool gives nothing any more, whatever it holds.
pub fn is_over(pool: &RewardPool, as_of: Millis, zone: &TimeZone) -> bool {
    pool.ends_at(zone).is_some_and(|ends| ends <= as_of + GOOD_FOR_MIN)
}

async fn left(db: &Db, pool: &RewardPool, as_of: Millis, zone: &TimeZone) -> DbResult<Option<i64>> {
    if is_over(pool, as_of, zone) {
        return Ok(Some(0));
    }
    let mut left = None;
    if pool.codes == Codes::Imported {
        let sql = "SELECT COUNT(*) FROM reward_code c WHERE c.pool = $1 AND c.issued_at IS NULL \
                   AND (c.expires_at IS NULL OR c.expires_at > $2)";
        left = Some(db.fetch_one::<(i64,)>(sql, args![&pool.name, as_of + GOOD_FOR_MIN]).await?.0);
    }
    if let Some(most) = pool.at_most {
        let sql = "SELECT COUNT(*) FROM reward_issue i WHERE i.pool = $1 AND i.returned_at IS NULL";
        let (out,): (i64,) = db.fetch_one(sql, args![&pool.name]).await?;
        let room = (i64::from(most) - out).max(0);
        left = Some(left.map_or(room, |n| n.min(room)));
    }
    Ok(left)
}

/// A code set apart for a message.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Reserved {
    pub(super) bucket: i64,
    pub(super) code_key: String,
    pub code: String,
    /// Its own end, beside the pool's.
    pub(super) expires_at: Option<Millis>,
    /// It was made just now, and is nowhere yet.
    #[sqlx(skip)]
    pub(super) is_new: bool,
}

/// So many codes of a pool that are free now; new ones where the pool makes them. Fewer when somebody else took some. Looked for from a bucket
/// on, and from the first when the end is reached: ranges of people begin where codes of earlier ranges are not in the way.
pub async fn reserve(db: &Db, pool: &RewardPool, wanted: usize, from: i64, as_of: Millis) -> DbResult<Vec<Reserved>> {
    let mut found = free(db, pool, wanted, ("c.bucket >= $2", from), as_of).await?;
    let missing = wanted - found.len();
    found.extend(free(db, pool, missing, ("c.bucket < $2", from), as_of).await?);
    if let Codes::Pattern(pattern) = &pool.codes {
        let missing = wanted - found.len();
        found.extend(made(db, pattern, missing).await?);
    }
    Ok(found)
}

async fn free(
    db: &Db,
    pool: &RewardPool,
    wanted: usize,
    (place, from): (&str, i64),
    as_of: Millis,
) -> DbResult<Vec<Reserved>> {
    if wanted == 0 {
        return Ok(Vec::new());
    }
    let sql = format!(
        "SELECT c.bucket, c.code_key, c.code, c.expires_at FROM reward_code c WHERE c.pool = $1 AND c.issued_at IS NULL AND {place} \
         AND (c.expires_at IS NULL OR c.expires_at > $3) ORDER BY c.bucket, c.code_key LIMIT $4"
    );
    db.fetch_all(&sql, args![&pool.name, from, as_of + GOOD_FOR_MIN, wanted as i64]).await
}

/// New codes that nobody has.
async fn made(db: &Db, pattern: &str, wanted: usize) -> DbResult<Vec<Reserved>> {
    let mut known: HashSet<String> = HashSet::new();
    let mut out: Vec<Reserved> = Vec::with_capacity(wanted);
    for _ in 0..MAKING_TRIES {
        if out.len() == wanted {
            break;
        }
        let mut new = Vec::new();
        for _ in out.len()..wanted {
            let code = code_by(pattern, |n| crate::token::random_below(n as u64) as usize);
            let code_key = key_of(&code);
            if known.insert(code_key.clone()) {
                new.push(Reserved { bucket: bucket_of(&code_key), code_key, code, expires_at: None, is_new: true });
            }
        }
        let keys: Vec<Value> = new.iter().flat_map(|c| args![c.bucket, &c.code_key]).collect();
        let sql =
            "SELECT c.code_key FROM k CROSS JOIN reward_code c WHERE c.bucket = k.bucket AND c.code_key = k.code_key";
        let there: Vec<(String,)> = db.fetch_keyed(&["bucket", "code_key"], keys, sql).await?;
        let there: HashSet<String> = there.into_iter().map(|(key,)| key).collect();
        out.extend(new.into_iter().filter(|c| !there.contains(&c.code_key)));
    }
    Ok(out)
}
