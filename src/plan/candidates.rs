//! Candidates: what the guards need to know about the people of a bucket range.
//!
//! One statement; every look-up goes by a key. Which addresses are suppressed, who consents and who is primary are conditions the
//! suppression room gives.

use std::collections::BTreeMap;

use super::guard::Rules;
use super::timing::{Due, Timing};
use crate::args;
use crate::clock::Millis;
use crate::db::{Db, DbResult, Value, padded};
use crate::suppression::sql;

/// People looked up in one statement, when the audience is a list.
const LISTED_MAX: usize = 512;
/// States in which a message does not count as received: it never went out.
const NOT_RECEIVED: &str = "'cancelled', 'expired', 'suppressed', 'failed'";

/// A member of the audience, as the guards see them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Candidate {
    pub bucket: i64,
    pub customer_id: String,
    pub email: Option<String>,
    /// The canonical address; `None` when there is no usable one.
    pub address_key: Option<String>,
    pub locale: Option<String>,
    /// The IANA name of their time zone.
    pub time_zone: Option<String>,
    /// When their message is due, or would have been.
    pub due_at: Millis,
    /// Their moment is over.
    pub missed: bool,
    pub erased: bool,
    pub suppressed: bool,
    /// Whether this customer is the one the address is written to.
    pub primary: bool,
    pub consents: bool,
    pub already_received: bool,
    /// How often they entered the campaign, when it is a journey.
    pub entries: i64,
    pub open_tickets: i64,
    pub last_rating: Option<f64>,
    pub last_rating_at: Option<Millis>,
    /// Promotional messages in the window of each cap, in the order of the caps.
    pub recent_messages: Vec<i64>,
    /// The campaign recommends products, and none was found for them.
    pub nothing_to_recommend: bool,
    /// The template has nothing to say to them.
    pub template_skips: bool,
    /// The campaign gives something, and there is none left for them.
    pub no_reward_left: bool,
}

#[derive(sqlx::FromRow)]
struct Row {
    bucket: i64,
    customer_id: String,
    email: Option<String>,
    address_key: Option<String>,
    locale: Option<String>,
    time_zone: Option<String>,
    erased: i64,
    suppressed: i64,
    is_primary: i64,
    consents: i64,
    already_received: i64,
    entries: i64,
    open_tickets: i64,
    last_rating: Option<f64>,
    last_rating_at: Option<i64>,
}

/// The candidates of a range, by (bucket, customer_id): those of `members`, or everyone.
pub(super) async fn load(
    db: &Db,
    rules: &Rules,
    timing: &Timing,
    range: (i64, i64),
    members: Option<&[(i64, String)]>,
    this_run: &str,
) -> DbResult<Vec<Candidate>> {
    let mut found: Vec<Candidate> = Vec::new();
    match members {
        None => {
            let mut args = args![];
            let place = format!("c.bucket BETWEEN {} AND {}", bind(&mut args, range.0), bind(&mut args, range.1));
            found.extend(select(db, rules, args, &place, this_run).await?);
        }
        Some(members) => {
            let mut by_bucket: BTreeMap<i64, Vec<&String>> = BTreeMap::new();
            for (bucket, customer_id) in members {
                by_bucket.entry(*bucket).or_default().push(customer_id);
            }
            for (bucket, ids) in by_bucket {
                for part in ids.chunks(LISTED_MAX) {
                    let mut args = args![];
                    let bucket = bind(&mut args, bucket);
                    let list: Vec<String> = padded(part).into_iter().map(|id| bind(&mut args, id)).collect();
                    let place = format!("c.bucket = {bucket} AND c.customer_id IN ({})", list.join(", "));
                    found.extend(select(db, rules, args, &place, this_run).await?);
                }
            }
        }
    }
    for person in &mut found {
        (person.due_at, person.missed) = match timing.due(person.time_zone.as_deref()) {
            Due::At(at) => (at, false),
            Due::Missed(at) => (at, true),
        };
    }
    found.sort_by(|a, b| (a.bucket, &a.customer_id).cmp(&(b.bucket, &b.customer_id)));
    Ok(found)
}

/// Bind a value; its placeholder.
fn bind(args: &mut Vec<Value>, value: impl Into<Value>) -> String {
    args.push(value.into());
    format!("${}", args.len())
}

/// A condition as 0 or 1, the same type on every engine.
fn flag(condition: &str) -> String {
    format!("CAST(CASE WHEN {condition} THEN 1 ELSE 0 END AS BIGINT)")
}

async fn select(db: &Db, rules: &Rules, mut args: Vec<Value>, place: &str, this_run: &str) -> DbResult<Vec<Candidate>> {
    let topic = bind(&mut args, &rules.topic);
    let mut entries = "CAST(0 AS BIGINT)".to_owned();
    let already = match rules.once_per {
        None => flag("1 = 0"),
        Some(since) if rules.journey => {
            let campaign = bind(&mut args, &rules.campaign);
            let since = bind(&mut args, since.unwrap_or(i64::MIN / 4));
            let in_since = bind(&mut args, rules.in_since);
            let run = bind(&mut args, this_run);
            let theirs = format!(
                "FROM entry e WHERE e.bucket = c.bucket AND e.customer_id = c.customer_id AND e.campaign = {campaign}"
            );
            entries = format!("(SELECT COUNT(*) {theirs})");
            // Whoever is still in does not enter again.
            flag(&format!(
                "EXISTS (SELECT 1 {theirs} AND e.run_id <> {run} AND (e.entered_at >= {since} OR (e.exited_at IS NULL AND e.entered_at >= {in_since})))"
            ))
        }
        Some(since) => {
            let campaign = bind(&mut args, &rules.campaign);
            let since = bind(&mut args, since.unwrap_or(i64::MIN / 4));
            let run = bind(&mut args, this_run);
            flag(&format!(
                "EXISTS (SELECT 1 FROM message m JOIN delivery d ON d.bucket = m.bucket AND d.customer_id = m.customer_id \
                   AND d.chunk_id = m.chunk_id AND d.seq = m.seq \
                 WHERE m.bucket = c.bucket AND m.customer_id = c.customer_id AND m.campaign = {campaign} AND m.due_at >= {since} \
                   AND m.run_id <> {run} AND d.state NOT IN ({NOT_RECEIVED}))"
            ))
        }
    };
    let sql = format!(
        "SELECT c.bucket, c.customer_id, c.email, c.address_key, c.locale, c.time_zone, {erased} AS erased, {suppressed} AS suppressed, \
                {primary} AS is_primary, {consents} AS consents, {already} AS already_received, {entries} AS entries, \
                COALESCE(p.open_tickets, 0) AS open_tickets, p.last_rating, p.last_rating_at \
         FROM customer c LEFT JOIN profile p ON p.bucket = c.bucket AND p.customer_id = c.customer_id \
         WHERE {place} ORDER BY c.bucket, c.customer_id",
        erased = flag("c.erased_at IS NOT NULL"),
        suppressed = flag(&sql::suppressed("c.address_key", rules.kind, &topic)),
        primary = flag(&sql::is_primary("c.address_key", "c.bucket", "c.customer_id")),
        consents = flag(&sql::consents("c.bucket", "c.customer_id", &topic)),
    );
    let capped = args.clone();
    let rows: Vec<Row> = db.fetch_all(&sql, args).await?;
    let mut candidates: Vec<Candidate> = rows.into_iter().map(candidate).collect();
    for cap in &rules.caps {
        count_recent(db, cap, capped.clone(), place, &mut candidates, this_run).await?;
    }
    Ok(candidates)
}

fn candidate(row: Row) -> Candidate {
    Candidate {
        bucket: row.bucket,
        customer_id: row.customer_id,
        email: row.email,
        address_key: row.address_key,
        locale: row.locale,
        time_zone: row.time_zone,
        due_at: 0,
        missed: false,
        erased: row.erased != 0,
        suppressed: row.suppressed != 0,
        primary: row.is_primary != 0,
        consents: row.consents != 0,
        already_received: row.already_received != 0,
        entries: row.entries,
        open_tickets: row.open_tickets,
        last_rating: row.last_rating,
        last_rating_at: row.last_rating_at,
        recent_messages: Vec::new(),
        nothing_to_recommend: false,
        template_skips: false,
        no_reward_left: false,
    }
}

/// Count the promotional messages of a cap's window; planned and withheld ones count like sent ones.
async fn count_recent(
    db: &Db,
    (_, since, topic): &(u32, Millis, Option<String>),
    args: Vec<Value>,
    place: &str,
    candidates: &mut [Candidate],
    this_run: &str,
) -> DbResult<()> {
    // Only the binds the place names; they come first.
    let mut args: Vec<Value> = args.into_iter().take(place.matches('$').count()).collect();
    let since = bind(&mut args, *since);
    let run = bind(&mut args, this_run);
    let only = topic.as_ref().map(|t| format!("AND c.topic = {}", bind(&mut args, t))).unwrap_or_default();
    let sql = format!(
        "SELECT c.bucket, c.customer_id, COUNT(*) FROM message c \
         JOIN delivery d ON d.bucket = c.bucket AND d.customer_id = c.customer_id AND d.chunk_id = c.chunk_id AND d.seq = c.seq \
         WHERE {place} AND c.kind = 'promotional' AND c.due_at >= {since} AND c.run_id <> {run} {only} \
           AND d.state NOT IN ({NOT_RECEIVED}) GROUP BY c.bucket, c.customer_id"
    );
    let counts: Vec<(i64, String, i64)> = db.fetch_all(&sql, args).await?;
    let counts: BTreeMap<(i64, String), i64> = counts.into_iter().map(|(b, id, n)| ((b, id), n)).collect();
    for c in candidates {
        let key = (c.bucket, c.customer_id.clone());
        c.recent_messages.push(counts.get(&key).copied().unwrap_or(0));
    }
    Ok(())
}
