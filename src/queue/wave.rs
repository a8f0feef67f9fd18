//! The first wave of a run: who is in it, and when the rest may follow.
//!
//! Messages of the rest lie in chunks of their own ([`super::enqueue`]), which no worker claims before the run's `rest_from_at`. When nothing of the
//! wave can leave any more, its wait begins; when the wait is over, the answers so far are judged once, by whichever process looks first. Fine: the
//! rest may leave. Not fine: the run is paused, and letting it go on lets the rest go too, because somebody has looked. Every step is one statement that
//! names the state it starts from, so that several processes may look at once, and a process that dies leaves nothing half done.

use crate::args;
use crate::campaign::Definition;
use crate::clock::Millis;
use crate::db::{BUCKETS, Db, DbResult, Value};

use super::RunState;
use super::answers::{self, Limits};
use super::enqueue::Draft;

/// Messages of a wave that may be in the buckets up to and with this one: so it is spread over all of them, and an interrupted filling goes on as it
/// would have gone.
fn allowed(size: u32, last_bucket: i64) -> u64 {
    (u64::from(size) * (last_bucket + 1).unsigned_abs()).div_ceil(BUCKETS.unsigned_abs())
}

/// Choose a range's part of the wave; the others follow after it. `chosen` counts those of the ranges before. The choice follows from the
/// messages alone: every so-manyth by mailbox-provider family, in the order of their ids, which are random and another each slot.
pub(super) fn choose(drafts: &mut [Draft], size: u32, (first, last): (i64, i64), chosen: &mut u64) {
    let mut order: Vec<usize> = (0..drafts.len()).filter(|i| !drafts[*i].withheld).collect();
    order.sort_by(|a, b| {
        let key = |i: &usize| (drafts[*i].family, &drafts[*i].message_id);
        key(a).cmp(&key(b))
    });
    let all = order.len() as u64;
    let take = allowed(size, last).saturating_sub(*chosen).min(all);
    *chosen += take;
    for i in &order {
        drafts[*i].after_wave = true;
    }
    // Where the first one stands moves from range to range, so that small families have their turn.
    let shift = if all == 0 { 0 } else { (first.unsigned_abs().wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20) % all };
    for n in 0..take {
        drafts[order[((n * all + shift) / take) as usize]].after_wave = false;
    }
}

/// How many messages of a run are in its first wave so far.
pub(super) async fn chosen_so_far(db: &Db, run_id: &str) -> DbResult<u64> {
    let sql = "SELECT CAST(COALESCE(SUM(messages), 0) AS BIGINT) FROM chunk WHERE run_id = $1 AND NOT after_wave";
    let (messages,): (i64,) = db.fetch_one(sql, args![run_id]).await?;
    Ok(messages.unsigned_abs())
}

/// A run that is no larger than its wave has no rest.
pub(super) async fn settle_small(db: &Db, run_id: &str, size: u32) -> DbResult<()> {
    let sql = "SELECT CAST(COALESCE(SUM(messages), 0) AS BIGINT) FROM chunk WHERE run_id = $1";
    let (messages,): (i64,) = db.fetch_one(sql, args![run_id]).await?;
    if messages <= i64::from(size) {
        let sql = "UPDATE chunk SET after_wave = FALSE WHERE run_id = $1 AND after_wave";
        db.execute(sql, args![run_id]).await?;
    }
    Ok(())
}

/// Where a run's first wave stands.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct WaveStatus {
    pub messages: i64,
    /// Messages that follow after it.
    pub rest: i64,
    /// Until then the rest waits, and then the answers are looked at; absent while the wave has not left.
    pub until_at: Option<Millis>,
    /// Since when the rest may leave.
    pub rest_from_at: Option<Millis>,
}

/// The first wave of a run; `None` when it has none, or nothing but it.
pub async fn status(db: &Db, run_id: &str) -> DbResult<Option<WaveStatus>> {
    let sql = "SELECT CAST(COALESCE(SUM(CASE WHEN k.after_wave THEN 0 ELSE k.messages END), 0) AS BIGINT), \
                      CAST(COALESCE(SUM(CASE WHEN k.after_wave THEN k.messages ELSE 0 END), 0) AS BIGINT) \
               FROM chunk k WHERE k.run_id = $1";
    let (messages, rest): (i64, i64) = db.fetch_one(sql, args![run_id]).await?;
    if rest == 0 {
        return Ok(None);
    }
    let sql = "SELECT wave_until_at, rest_from_at FROM run WHERE run_id = $1";
    let (until_at, rest_from_at): (Option<Millis>, Option<Millis>) = db.fetch_one(sql, args![run_id]).await?;
    Ok(Some(WaveStatus { messages, rest, until_at, rest_from_at }))
}

/// A run whose rest waits.
#[derive(sqlx::FromRow)]
struct Waiting {
    run_id: String,
    definition: String,
    wave_until_at: Option<Millis>,
}

/// Look at the runs whose rest waits, one or all; whether the rest of one may leave now.
pub async fn look(db: &Db, run_id: Option<&str>, now: Millis) -> DbResult<bool> {
    let mut args = args![];
    let only = run_id.map(|id| {
        args.push(Value::from(id));
        "AND r.run_id = $1"
    });
    let sql = format!(
        "SELECT r.run_id, r.definition, r.wave_until_at FROM run r WHERE r.state IN ('ready', 'sending') AND r.rest_from_at IS NULL {} \
         AND EXISTS (SELECT 1 FROM chunk k WHERE k.run_id = r.run_id AND k.after_wave) ORDER BY r.run_id",
        only.unwrap_or_default()
    );
    let waiting: Vec<Waiting> = db.fetch_all(&sql, args).await?;
    let mut opened = false;
    for run in waiting {
        opened |= look_at(db, &run, now).await?;
    }
    Ok(opened)
}

async fn look_at(db: &Db, run: &Waiting, now: Millis) -> DbResult<bool> {
    // Runs keep the definition they were opened with; one that cannot be read any more cannot be composed either, and is held for that.
    let Ok(definition) = serde_json::from_str::<Definition>(&run.definition) else { return Ok(false) };
    let Some(wave) = definition.first_wave else { return open_rest(db, run, now).await };
    let id = &run.run_id;
    let sql = "SELECT COUNT(*), CAST(COALESCE(SUM(CASE WHEN k.state = 'leased' OR k.due_at <= $2 THEN 1 ELSE 0 END), 0) AS BIGINT), MIN(k.due_at) \
               FROM chunk k WHERE k.run_id = $1 AND NOT k.after_wave AND k.state <> 'done'";
    let (left, now_leaving, next_due_at): (i64, i64, Option<Millis>) = db.fetch_one(sql, args![id, now]).await?;
    if now_leaving > 0 {
        return Ok(false);
    }
    // A clock that was ahead holds nobody longer than the wait.
    let until_at = run.wave_until_at.filter(|until_at| *until_at <= now + wave.wait);
    let Some(until_at) = until_at else {
        wait_until(db, run, now + wave.wait, now).await?;
        return Ok(false);
    };
    if now < until_at {
        return Ok(false);
    }
    let answers = answers::count(db, id).await?;
    if answers.all() == 0 && left > 0 {
        // Everything of it was told to come back later: nothing is known yet.
        wait_until(db, run, next_due_at.unwrap_or(now).min(now + wave.wait), now).await?;
        return Ok(false);
    }
    match Limits::from(definition.stop_above).exceeded_by_wave(&answers) {
        None => open_rest(db, run, now).await,
        Some(why) => {
            let sql = "UPDATE run SET state = $1, reason = $2, rest_from_at = $3, changed_at = $3 \
                       WHERE run_id = $4 AND rest_from_at IS NULL AND state IN ('ready', 'sending')";
            let reason = format!("after the first wave: {why}");
            db.execute(sql, args![RunState::Paused.word(), reason, now, id]).await?;
            Ok(false)
        }
    }
}

/// The rest waits until then.
async fn wait_until(db: &Db, run: &Waiting, until_at: Millis, now: Millis) -> DbResult<()> {
    // Of two that look at once the first sets it.
    let (before, mut args) = match run.wave_until_at {
        None => ("wave_until_at IS NULL", args![]),
        Some(at) => ("wave_until_at = $4", args![at]),
    };
    let sql = format!(
        "UPDATE run SET wave_until_at = $1, changed_at = $2 WHERE run_id = $3 AND rest_from_at IS NULL AND {before}"
    );
    let mut all = args![until_at, now, &run.run_id];
    all.append(&mut args);
    db.execute(&sql, all).await?;
    Ok(())
}

async fn open_rest(db: &Db, run: &Waiting, now: Millis) -> DbResult<bool> {
    let sql = "UPDATE run SET rest_from_at = $1, changed_at = $1 WHERE run_id = $2 AND rest_from_at IS NULL AND state IN ('ready', 'sending')";
    Ok(db.execute(sql, args![now, &run.run_id]).await? > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draft(n: usize, family: &'static str) -> Draft {
        let customer_id = format!("c{n}");
        Draft {
            bucket: crate::db::bucket_of(&customer_id),
            slot: String::new(),
            arm: String::new(),
            message_id: format!("{:016x}", crate::db::stable_hash(customer_id.as_bytes())),
            address: None,
            address_key: None,
            family,
            locale: String::new(),
            payload: String::new(),
            due_at: 0,
            withheld: n.is_multiple_of(11),
            after_wave: false,
            reward: None,
            customer_id,
        }
    }

    /// The wave of so many people, filled in ranges of so many buckets.
    fn wave(people: usize, size: u32, buckets: i64) -> Vec<Draft> {
        let family = |n: usize| if n % 50 == 3 { "docomo" } else { ["gmail", "other", "yahoo"][n % 3] };
        let all: Vec<Draft> = (0..people).map(|n| draft(n, family(n))).collect();
        let (mut chosen, mut first, mut out) = (0, 0, Vec::new());
        while first < BUCKETS {
            let last = (first + buckets - 1).min(BUCKETS - 1);
            let mut range: Vec<Draft> = all.iter().filter(|d| (first..=last).contains(&d.bucket)).cloned().collect();
            choose(&mut range, size, (first, last), &mut chosen);
            out.extend(range);
            first = last + 1;
        }
        out
    }

    #[test]
    fn a_wave_is_as_large_as_asked_and_spread_over_families_and_buckets() {
        for buckets in [1, 16, 100, BUCKETS] {
            let all = wave(20_000, 1_000, buckets);
            let sent: Vec<&Draft> = all.iter().filter(|d| !d.withheld && !d.after_wave).collect();
            assert_eq!(sent.len(), 1_000, "ranges of {buckets}");
            assert!(all.iter().filter(|d| d.withheld).all(|d| !d.after_wave), "the held out follow nobody");
            for (family, share) in [("gmail", 0.327), ("other", 0.327), ("yahoo", 0.327), ("docomo", 0.02)] {
                let n = sent.iter().filter(|d| d.family == family).count() as f64;
                assert!((0.7 * share..1.3 * share).contains(&(n / 1_000.0)), "{n} of {family}, ranges of {buckets}");
            }
            let half = sent.iter().filter(|d| d.bucket < BUCKETS / 2).count();
            assert!((450..=550).contains(&half), "{half} in the first half of the buckets");
        }
    }

    #[test]
    fn a_wave_is_the_same_each_time_and_never_larger_than_asked() {
        for (people, size) in [(0, 5), (3, 5), (7, 5), (100, 99), (3_000, 1), (3_000, 500)] {
            let chosen = |all: &[Draft]| -> Vec<String> {
                let sent = all.iter().filter(|d| !d.withheld && !d.after_wave);
                sent.map(|d| d.customer_id.clone()).collect()
            };
            let first = chosen(&wave(people, size, 64));
            assert!(first.len() <= size as usize, "{} of {people}, {size} asked", first.len());
            assert_eq!(first, chosen(&wave(people, size, 64)));
        }
    }
}
