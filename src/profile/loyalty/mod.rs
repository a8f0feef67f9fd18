//! Loyalty tiers as time goes by: who came into a higher one, and who is about to lose theirs.
//!
//! Which tier somebody is in is computed from their orders wherever it is asked for; table loyalty_standing, written here alone, keeps only where
//! each was seen last. A look compares the two and records `tier.up` and `tier.at_risk` as events, in the transaction that moves the row, so a
//! crossing is told once, whoever looks how often. The first look, and one after the tiers were changed, only notes where people stand: nobody
//! crossed anything. Everybody is looked at once a local day, because the window moves; else only those whose profile changed.
//!
//! Read on: [`follow`], then [`standing`](fn@standing).

mod standing;

use std::collections::{BTreeMap, HashMap};

use serde_json::{Value as Json, json};

pub use standing::{Standing, standing};

use super::day::day_number;
use super::refresh_sql::COUNTED;
use super::set_meta;
use crate::args;
use crate::clock::{self, DAY, HOUR, Millis};
use crate::data::{Happened, record_events};
use crate::db::{Conflict, Db, DbResult, Tx, Value, bucket_ranges, retried};
use crate::settings::{Loyalty, LoyaltyBy, Settings};

/// Somebody came into a higher tier.
pub const TIER_UP: &str = "tier.up";
/// Somebody's tier is lost within the days the settings name, unless they order again.
pub const TIER_AT_RISK: &str = "tier.at_risk";

/// Buckets looked at in one transaction.
const BUCKETS_PER_LOOK: i64 = 32;
/// Who reached a tier by an order longer ago is not told: the news came with an import of the past.
const NEWS_DAYS: i64 = 14;
/// Profiles that another process was writing while we looked last are looked at again.
const MARGIN: Millis = HOUR;
/// The entries of table `meta`: by which rules people were looked at last; and on which local day, and when.
const META_RULES: &str = "loyalty_rules";
const META_LOOKED: &str = "loyalty_looked";

/// What a look recorded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Crossings {
    pub up: u64,
    pub at_risk: u64,
}

impl Crossings {
    /// Whether anything was recorded.
    pub fn any(&self) -> bool {
        self.up + self.at_risk > 0
    }
}

/// Somebody in a tier.
#[derive(sqlx::FromRow)]
struct Counted {
    bucket: i64,
    customer_id: String,
    reached: i64,
    /// The same, as far as it will still count when the days at risk are over.
    lasts: i64,
    /// Their latest order.
    latest_at: Millis,
}

#[derive(sqlx::FromRow)]
struct Seen {
    bucket: i64,
    customer_id: String,
    tier: String,
    at_risk_at: Option<Millis>,
}

/// A person's row as it is to be.
struct Moved {
    bucket: i64,
    customer_id: String,
    from: Option<String>,
    tier: Option<usize>,
    at_risk: bool,
    /// The tier itself is another one.
    crossed: bool,
    latest_at: Millis,
}

/// Look at everybody who may have crossed a line since the last look; `now` is the instant profiles were refreshed at, `as_of` the plan's.
pub async fn follow(db: &Db, settings: &Settings, now: Millis, as_of: Millis) -> DbResult<Crossings> {
    let Some(loyalty) = &settings.loyalty else { return Ok(Crossings::default()) };
    // Where nobody ever ordered there is nothing to stand on: the first orders to come are no crossings either.
    let ordered: Option<(i64,)> = db.fetch_optional("SELECT o.bucket FROM customer_order o LIMIT 1", args![]).await?;
    if ordered.is_none() {
        return Ok(Crossings::default());
    }
    let look = Look::new(db, settings, loyalty, as_of).await?;
    let mut all = Crossings::default();
    if look.is_needed(db).await? {
        for range in bucket_ranges(BUCKETS_PER_LOOK) {
            let of_range = retried(async || look.range(db, range).await).await?;
            all.up += of_range.up;
            all.at_risk += of_range.at_risk;
        }
    }
    set_meta(db, META_RULES, &rules(loyalty)).await?;
    set_meta(db, META_LOOKED, &format!("{} {now}", look.day)).await?;
    Ok(all)
}

/// What tiers hang on, as a text that differs when they do.
fn rules(loyalty: &Loyalty) -> String {
    format!("{loyalty:?}")
}

async fn meta(db: &Db, name: &str) -> DbResult<Option<String>> {
    let row: Option<(String,)> = db.fetch_optional("SELECT value FROM meta WHERE name = $1", args![name]).await?;
    Ok(row.map(|(value,)| value))
}

struct Look<'s> {
    settings: &'s Settings,
    loyalty: &'s Loyalty,
    as_of: Millis,
    day: i64,
    /// Nobody was looked at by these rules before.
    is_first: bool,
    /// Only those whose profile changed since; `None`: everybody.
    changed_since: Option<Millis>,
}

impl Look<'_> {
    async fn new<'s>(db: &Db, settings: &'s Settings, loyalty: &'s Loyalty, as_of: Millis) -> DbResult<Look<'s>> {
        let is_first = meta(db, META_RULES).await?.is_none_or(|known| known != rules(loyalty));
        let day = day_number(as_of, &settings.time_zone);
        let looked = meta(db, META_LOOKED).await?;
        let looked = looked.as_deref().and_then(|text| text.split_once(' '));
        let looked = looked.and_then(|(day, at)| Some((day.parse::<i64>().ok()?, at.parse::<Millis>().ok()?)));
        let same_day = looked.filter(|(then, _)| *then == day && !is_first);
        Ok(Look { settings, loyalty, as_of, day, is_first, changed_since: same_day.map(|(_, at)| at - MARGIN) })
    }

    async fn is_needed(&self, db: &Db) -> DbResult<bool> {
        let Some(since) = self.changed_since else { return Ok(true) };
        let sql = "SELECT MAX(p.computed_at) FROM profile p WHERE p.computed_at >= $1";
        let (newest,): (Option<i64>,) = db.fetch_one(sql, args![since]).await?;
        Ok(newest.is_some())
    }

    async fn range(&self, db: &Db, range: (i64, i64)) -> DbResult<Crossings> {
        let mut tx = db.begin().await?;
        let moved = self.moved(&mut tx, range).await?;
        let crossings = self.write(&mut tx, &moved).await?;
        tx.commit().await?;
        Ok(crossings)
    }

    /// Whose row is not what it should be.
    async fn moved(&self, tx: &mut Tx, (first, last): (i64, i64)) -> DbResult<Vec<Moved>> {
        let zone = &self.settings.time_zone;
        let weight = match self.loyalty.by {
            LoyaltyBy::Spend => "o.total",
            LoyaltyBy::Orders => "1",
        };
        let changed = |alias: &str| {
            format!(
                "($3 < 0 OR EXISTS (SELECT 1 FROM profile p WHERE p.bucket = {alias}.bucket AND p.customer_id = {alias}.customer_id \
                 AND p.computed_at >= $3))"
            )
        };
        let since = self.changed_since.unwrap_or(-1);
        let sql = format!(
            "SELECT o.bucket, o.customer_id, CAST(SUM({weight}) AS BIGINT) AS reached, \
                    CAST(SUM(CASE WHEN o.ordered_at >= $4 THEN {weight} ELSE 0 END) AS BIGINT) AS lasts, MAX(o.ordered_at) AS latest_at \
             FROM customer_order o WHERE o.bucket >= $1 AND o.bucket <= $2 AND o.ordered_at >= $5 AND o.ordered_at < $6 AND {COUNTED} \
               AND {} GROUP BY o.bucket, o.customer_id",
            changed("o")
        );
        let later = self.as_of + self.loyalty.at_risk_days * DAY;
        let (from, lasts_from) = (self.loyalty.counts_from(self.as_of, zone), self.loyalty.counts_from(later, zone));
        let counted: Vec<Counted> =
            tx.fetch_all(&sql, args![first, last, since, lasts_from, from, self.as_of + 1]).await?;
        let sql = format!(
            "SELECT s.bucket, s.customer_id, s.tier, s.at_risk_at FROM loyalty_standing s WHERE s.bucket >= $1 AND s.bucket <= $2 AND {}",
            changed("s")
        );
        let seen: Vec<Seen> = tx.fetch_all(&sql, args![first, last, since]).await?;
        let mut seen: BTreeMap<(i64, String), (String, bool)> =
            seen.into_iter().map(|s| ((s.bucket, s.customer_id), (s.tier, s.at_risk_at.is_some()))).collect();
        let mut moved = Vec::new();
        let mut compare = |c: Counted, was: Option<(String, bool)>| {
            // Who has nothing, or only what everybody has, is in no tier that could be lost.
            let tier_of = |reached| self.loyalty.tier_of(reached).filter(|at| self.loyalty.tiers[*at].1 > 0);
            let tier = tier_of(c.reached);
            let (then, was_at_risk) = was.unwrap_or_default();
            let crossed = then != self.name(tier);
            // Who has just come into a tier is not warned of losing it on the same day.
            let at_risk = !crossed && tier_of(c.lasts) < tier;
            if crossed || at_risk != was_at_risk {
                let from = Some(then).filter(|name| !name.is_empty());
                let Counted { bucket, customer_id, latest_at, .. } = c;
                moved.push(Moved { bucket, customer_id, from, tier, at_risk, crossed, latest_at });
            }
        };
        for c in counted {
            let was = seen.remove(&(c.bucket, c.customer_id.clone()));
            compare(c, was);
        }
        for ((bucket, customer_id), was) in seen {
            // No order of theirs counts any more.
            compare(Counted { bucket, customer_id, reached: 0, lasts: 0, latest_at: Millis::MIN }, Some(was));
        }
        Ok(moved)
    }

    fn name(&self, tier: Option<usize>) -> &str {
        tier.map_or("", |at| &self.loyalty.tiers[at].0)
    }

    async fn write(&self, tx: &mut Tx, moved: &[Moved]) -> DbResult<Crossings> {
        let columns = ["bucket", "customer_id", "tier", "changed_at", "at_risk_at"];
        let mut moved: Vec<&Moved> = moved.iter().collect();
        moved.sort_by(|a, b| (a.bucket, &a.customer_id).cmp(&(b.bucket, &b.customer_id)));
        let rows: Vec<Value> = moved
            .iter()
            .flat_map(|m| {
                args![m.bucket, &m.customer_id, self.name(m.tier), self.as_of, m.at_risk.then_some(self.as_of)]
            })
            .collect();
        // Of two looks at once the second finds the row as it should be, and records nothing.
        let conflict = Conflict::UpdateWhen {
            key: &["bucket", "customer_id"],
            when: "loyalty_standing.tier <> excluded.tier OR (loyalty_standing.at_risk_at IS NULL) <> (excluded.at_risk_at IS NULL)",
        };
        let written: Vec<(i64, String)> =
            tx.insert_rows_returning("loyalty_standing", &columns, rows, conflict, "bucket, customer_id").await?;
        if self.is_first {
            return Ok(Crossings::default());
        }
        let mut crossings = Crossings::default();
        let mut happened = Vec::new();
        let by_person: HashMap<(i64, &str), &Moved> =
            moved.iter().map(|m| ((m.bucket, m.customer_id.as_str()), *m)).collect();
        for (bucket, customer_id) in &written {
            let m = by_person[&(*bucket, customer_id.as_str())];
            let was = m.from.as_ref().and_then(|name| self.loyalty.tiers.iter().position(|(n, _)| n == name));
            let is_news = m.latest_at >= self.as_of - NEWS_DAYS * DAY;
            if m.crossed && m.tier > was && is_news {
                crossings.up += 1;
                happened.push(self.happened(m, TIER_UP, json!({ "from": m.from, "to": self.name(m.tier) })));
            } else if m.at_risk {
                crossings.at_risk += 1;
                happened.push(self.happened(m, TIER_AT_RISK, json!({ "tier": self.name(m.tier) })));
            }
        }
        record_events(tx, happened, self.as_of).await?;
        Ok(crossings)
    }

    fn happened(&self, m: &Moved, name: &str, properties: Json) -> Happened {
        let day = clock::date_in(self.as_of, &self.settings.time_zone);
        Happened {
            customer_id: m.customer_id.clone(),
            at: self.as_of,
            event_id: format!("{name} {} {day}", self.name(m.tier)),
            name: name.to_owned(),
            properties,
        }
    }
}

/// Where customers of one bucket stand, by id; who has no order that counts is missing.
pub async fn standings(
    db: &Db,
    settings: &Settings,
    as_of: Millis,
    bucket: i64,
    customer_ids: &[&str],
) -> DbResult<HashMap<String, Standing>> {
    let Some(loyalty) = &settings.loyalty else { return Ok(HashMap::new()) };
    let from = loyalty.counts_from(as_of, &settings.time_zone);
    let keys = customer_ids.iter().flat_map(|id| args![bucket, *id, from, as_of + 1]).collect();
    let tail = format!(
        "SELECT o.customer_id, o.ordered_at, o.total FROM k CROSS JOIN customer_order o WHERE o.bucket = k.bucket \
         AND o.customer_id = k.customer_id AND o.ordered_at >= k.from_at AND o.ordered_at < k.until_at AND {COUNTED}"
    );
    let rows: Vec<(String, Millis, i64)> =
        db.fetch_keyed(&["bucket", "customer_id", "from_at", "until_at"], keys, &tail).await?;
    let mut orders: HashMap<String, Vec<(Millis, i64)>> = HashMap::new();
    for (id, at, total) in rows {
        orders.entry(id).or_default().push((at, total));
    }
    Ok(orders.into_iter().map(|(id, orders)| (id, standing(loyalty, &orders, &settings.time_zone))).collect())
}
