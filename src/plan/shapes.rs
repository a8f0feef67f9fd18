//! Where to look first: buckets with somebody of every rare shape among the customers, so that a template that fails for one in a hundred
//! thousand is found before the other hundred thousand were planned.
//!
//! A hint and no proof: it sees columns, not attributes, and all customers, not the audience. Every message is rendered afterwards all the
//! same.

use super::Planning;
use crate::args;
use crate::db::{Db, DbResult};

/// Buckets looked at first, at most: of 1,024.
const BUCKETS_MAX: usize = 24;
/// Rare shapes looked for.
const SHAPES_MAX: i64 = 64;
/// With fewer ranges to plan than this the whole is told as soon.
const RANGES_MIN: usize = 8;

/// Columns that may be empty, each with the field that shows it.
const CUSTOMER: [(&str, &str); 4] = [
    ("first_name", "c.first_name"),
    ("last_name", "c.last_name"),
    ("country", "c.country"),
    ("time_zone", "c.time_zone"),
];
const PROFILE: [(&str, &str); 5] = [
    ("last_order_at", "p.last_order_at"),
    ("usual_gap_days", "p.usual_gap_days"),
    ("top_category", "p.top_category"),
    ("last_viewed", "p.last_viewed_sku"),
    ("last_rating", "p.last_rating"),
];

impl Planning<'_> {
    /// Buckets with somebody of each rare shape, the rarest first; none where planning everybody takes no longer, or where a limit lets only
    /// the first ones through.
    pub async fn shape_buckets(&self, db: &Db) -> DbResult<Vec<i64>> {
        let small = self.ranges(0).nth(RANGES_MIN).is_none();
        if small || self.campaign.per_run.is_some() || self.campaign.journey.is_some() {
            return Ok(Vec::new());
        }
        let customer = CUSTOMER.iter().filter(|(field, _)| self.fields.customer.contains(field));
        let profile = PROFILE.iter().filter(|(field, _)| {
            self.fields.profile.contains(field) || (self.fields.order && *field == "last_order_at")
        });
        let flags: Vec<String> = customer
            .chain(profile)
            .enumerate()
            .map(|(bit, (_, column))| format!("CASE WHEN {column} IS NULL THEN 0 ELSE {} END", 1_i64 << bit))
            .collect();
        let sql = format!(
            "SELECT c.locale, CAST({} AS BIGINT) AS shape, MIN(c.bucket) AS bucket, COUNT(*) AS people \
             FROM customer c LEFT JOIN profile p ON p.bucket = c.bucket AND p.customer_id = c.customer_id \
             WHERE c.erased_at IS NULL AND c.address_key IS NOT NULL GROUP BY c.locale, shape ORDER BY people, c.locale, shape LIMIT $1",
            flags.join(" + ")
        );
        let rows: Vec<(Option<String>, i64, i64, i64)> = db.fetch_all(&sql, args![SHAPES_MAX]).await?;
        let mut buckets: Vec<i64> = Vec::new();
        for (_, _, bucket, _) in rows {
            if !buckets.contains(&bucket) && buckets.len() < BUCKETS_MAX {
                buckets.push(bucket);
            }
        }
        Ok(buckets)
    }
}
