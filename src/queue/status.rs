//! Looking at the queue: counts, lists, and `verify`, which proves from the stored rows that nothing is lost or doubled.

use serde::Serialize;

use crate::args;
use crate::clock::Millis;
use crate::db::{Db, DbResult, Value};

use super::wave::{self, WaveStatus};
use super::{DeliveryState, run};

/// A run and where its messages stand.
#[derive(Debug, Clone, Serialize)]
pub struct RunStatus {
    #[serde(flatten)]
    pub run: run::Run,
    /// Messages by state, in the order of a message's life.
    pub messages: Vec<(String, i64)>,
    /// When the next of them is due, if any still moves.
    pub next_due_at: Option<Millis>,
    /// The same for each lane.
    #[serde(skip)]
    pub due_by_lane: Vec<(String, Millis)>,
    /// Its first wave, when something follows after it.
    pub first_wave: Option<WaveStatus>,
}

/// The newest runs with their counts.
pub async fn overview(db: &Db, limit: i64) -> DbResult<Vec<RunStatus>> {
    let mut out = Vec::new();
    for run in run::list(db, limit).await? {
        let messages = states_of(db, &run.run_id).await?;
        let due_by_lane = due_by_lane(db, Some(&run.run_id)).await?;
        let next_due_at = due_by_lane.iter().map(|(_, due_at)| *due_at).min();
        let first_wave = wave::status(db, &run.run_id).await?;
        out.push(RunStatus { run, messages, next_due_at, due_by_lane, first_wave });
    }
    Ok(out)
}

/// Messages of a run by state, in the order of a message's life.
pub async fn states_of(db: &Db, run_id: &str) -> DbResult<Vec<(String, i64)>> {
    let mut counts: Vec<(String, i64)> =
        db.fetch_all("SELECT state, COUNT(*) FROM delivery WHERE run_id = $1 GROUP BY state", args![run_id]).await?;
    let order = |word: &str| DeliveryState::from_word(word).map_or(usize::MAX, |s| s as usize);
    counts.sort_by_key(|(word, _)| order(word));
    Ok(counts)
}

/// A run that is held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    pub run_id: String,
    pub reason: Option<String>,
    /// It has something left to send.
    pub has_left: bool,
}

/// Runs that are held and have something left to send, and those that were held `since` then, whatever they have; one run or all.
pub async fn held(db: &Db, run_id: Option<&str>, since: Millis) -> DbResult<Vec<Held>> {
    let mut args = args![];
    let only = run_id.map(|id| {
        args.push(Value::from(id));
        "AND r.run_id = $1"
    });
    let sql = format!(
        "SELECT r.run_id, r.reason, r.changed_at, CAST(CASE WHEN EXISTS (SELECT 1 FROM chunk k WHERE k.run_id = r.run_id \
         AND k.state IN ('open', 'leased')) THEN 1 ELSE 0 END AS BIGINT) FROM run r WHERE r.state = 'paused' {} ORDER BY r.run_id",
        only.unwrap_or_default()
    );
    let paused: Vec<(String, Option<String>, Millis, i64)> = db.fetch_all(&sql, args).await?;
    let held = paused.into_iter().filter(|(.., held_at, left)| *left == 1 || *held_at >= since);
    Ok(held.map(|(run_id, reason, _, left)| Held { run_id, reason, has_left: left == 1 }).collect())
}

/// Whether a run has anything left to send.
pub async fn has_left(db: &Db, run_id: &str) -> DbResult<bool> {
    let sql = "SELECT COUNT(*) FROM chunk WHERE run_id = $1 AND state <> 'done'";
    let (chunks,): (i64,) = db.fetch_one(sql, args![run_id]).await?;
    Ok(chunks > 0)
}

/// When the next chunk of runs that may send is due; `None` when nothing is left to do.
pub async fn next_due(db: &Db, run_id: Option<&str>) -> DbResult<Option<Millis>> {
    Ok(due_by_lane(db, run_id).await?.into_iter().map(|(_, due_at)| due_at).min())
}

/// When the next chunk of each lane is due; lanes with nothing left to do are left out.
pub async fn due_by_lane(db: &Db, run_id: Option<&str>) -> DbResult<Vec<(String, Millis)>> {
    let mut args = args![];
    let only = run_id.map(|id| {
        args.push(Value::from(id));
        "AND k.run_id = $1"
    });
    let sql = format!(
        "SELECT k.lane, MIN(CASE WHEN NOT k.after_wave OR r.rest_from_at IS NOT NULL THEN k.due_at \
                                 WHEN r.wave_until_at > k.due_at THEN r.wave_until_at \
                                 WHEN r.wave_until_at IS NOT NULL THEN k.due_at END) \
         FROM chunk k JOIN run r ON r.run_id = k.run_id \
         WHERE k.state <> 'done' AND r.state IN ('ready', 'sending') {} GROUP BY k.lane ORDER BY k.lane",
        only.unwrap_or_default()
    );
    // A lane with nothing but what follows a first wave that has not left is due when that has.
    let lanes: Vec<(String, Option<Millis>)> = db.fetch_all(&sql, args).await?;
    Ok(lanes.into_iter().filter_map(|(lane, due_at)| Some((lane, due_at?))).collect())
}

/// A message as lists show it.
#[derive(Debug, Clone, Serialize, sqlx::FromRow)]
pub struct Listed {
    pub customer_id: String,
    pub campaign: String,
    pub step: String,
    pub slot: String,
    pub message_id: String,
    pub address: Option<String>,
    pub state: String,
    pub due_at: Millis,
    pub attempts: i64,
    pub code: Option<i64>,
    pub reply: Option<String>,
}

/// Which messages are meant; nothing set means all.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    pub campaign: Option<String>,
    pub run_id: Option<String>,
    pub state: Option<DeliveryState>,
}

impl Filter {
    /// ` AND …` for rows of `delivery`, under this alias.
    pub(super) fn conditions(&self, alias: &str, args: &mut Vec<Value>) -> String {
        let mut all = String::new();
        let mut add = |value: Value, condition: &dyn Fn(usize) -> String| {
            args.push(value);
            all.push_str(&format!(" AND {}", condition(args.len())));
        };
        if let Some(campaign) = &self.campaign {
            add(campaign.into(), &|n| {
                format!("EXISTS (SELECT 1 FROM run r_ WHERE r_.run_id = {alias}.run_id AND r_.campaign = ${n})")
            });
        }
        if let Some(run_id) = &self.run_id {
            add(run_id.into(), &|n| format!("{alias}.run_id = ${n}"));
        }
        if let Some(state) = self.state {
            add(state.word().into(), &|n| format!("{alias}.state = ${n}"));
        }
        all
    }
}

/// What a filter names and nobody knows, as a sentence.
pub async fn missing(db: &Db, filter: &Filter) -> DbResult<Option<String>> {
    for (named, column, what) in [
        (&filter.run_id, "run_id", "there is no run"),
        (&filter.campaign, "campaign", "nothing was planned for a campaign"),
    ] {
        let Some(named) = named else { continue };
        let sql = format!("SELECT COUNT(*) FROM run WHERE {column} = $1");
        let (runs,): (i64,) = db.fetch_one(&sql, args![named]).await?;
        if runs == 0 {
            return Ok(Some(format!("{what} `{}`", named.escape_debug())));
        }
    }
    Ok(None)
}

/// Messages, latest change first.
pub async fn list(db: &Db, filter: &Filter, limit: i64) -> DbResult<Vec<Listed>> {
    let mut args = args![limit];
    let of = filter.conditions("d", &mut args);
    let sql = format!(
        "SELECT d.customer_id, m.campaign, m.step, m.slot, m.message_id, m.address, d.state, d.due_at, d.attempts, d.code, d.reply \
         FROM delivery d JOIN message m ON m.bucket = d.bucket AND m.customer_id = d.customer_id \
                                       AND m.chunk_id = d.chunk_id AND m.seq = d.seq \
         WHERE d.bucket >= 0{of} ORDER BY d.changed_at DESC, d.bucket, d.customer_id LIMIT $1"
    );
    db.fetch_all(&sql, args).await
}

/// Something that should not be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Which rule is broken.
    pub rule: &'static str,
    /// Where, and by how much.
    pub detail: String,
}

/// The rules `verify` checks: name, and a statement whose rows (one text each) are the violations.
const RULES: [(&str, &str); 12] = [
    (
        "verdicts add up to the audience",
        "SELECT r.run_id || ': audience ' || CAST(r.audience AS TEXT) || ', verdicts ' || CAST(COALESCE(SUM(v.people), 0) AS TEXT) \
         FROM run r LEFT JOIN run_verdict v ON v.run_id = r.run_id WHERE r.state <> 'enqueuing' \
         GROUP BY r.run_id, r.audience HAVING r.audience <> COALESCE(SUM(v.people), 0)",
    ),
    (
        "every send or withheld verdict has its message, or its entry into a journey whose first step comes later",
        "SELECT r.run_id || ': ' || CAST(COALESCE(v.people, 0) AS TEXT) || ' verdicts, ' || CAST(COUNT(d.run_id) AS TEXT) || ' messages' \
         FROM run r \
         LEFT JOIN (SELECT run_id, CAST(COUNT(*) AS BIGINT) AS people FROM entry GROUP BY run_id) e ON e.run_id = r.run_id \
         LEFT JOIN (SELECT run_id, CAST(SUM(people) AS BIGINT) AS people FROM run_verdict WHERE verdict <> 'skip' GROUP BY run_id) v ON v.run_id = r.run_id \
         LEFT JOIN delivery d ON d.run_id = r.run_id \
         WHERE r.state <> 'enqueuing' GROUP BY r.run_id, v.people, e.people \
         HAVING COALESCE(v.people, 0) <> COUNT(d.run_id) AND COALESCE(v.people, 0) <> COUNT(d.run_id) + COALESCE(e.people, 0)",
    ),
    (
        "every message has one delivery and every delivery one message",
        "SELECT m.run_id || ': ' || CAST(COUNT(*) AS TEXT) || ' messages without a delivery' FROM message m \
         WHERE NOT EXISTS (SELECT 1 FROM delivery d WHERE d.bucket = m.bucket AND d.chunk_id = m.chunk_id AND d.seq = m.seq) GROUP BY m.run_id \
         UNION ALL \
         SELECT d.run_id || ': ' || CAST(COUNT(*) AS TEXT) || ' deliveries without a message' FROM delivery d \
         WHERE NOT EXISTS (SELECT 1 FROM message m WHERE m.bucket = d.bucket AND m.customer_id = d.customer_id \
                           AND m.chunk_id = d.chunk_id AND m.seq = d.seq) GROUP BY d.run_id",
    ),
    (
        "no two messages share a Message-ID",
        "SELECT message_id || ': ' || CAST(COUNT(*) AS TEXT) || ' messages' FROM message GROUP BY message_id HAVING COUNT(*) > 1",
    ),
    (
        "nothing is committed without a live lease",
        "SELECT d.run_id || ', customer ' || d.customer_id FROM delivery d WHERE d.state = 'committed' AND NOT EXISTS \
         (SELECT 1 FROM chunk k WHERE k.run_id = d.run_id AND k.chunk_id = d.chunk_id AND k.state = 'leased' AND k.lease_until_at > $1)",
    ),
    (
        "a chunk that is done has nothing left to send",
        "SELECT d.run_id || ', customer ' || d.customer_id || ': ' || d.state FROM delivery d WHERE d.state IN ('pending', 'deferred') \
         AND NOT EXISTS (SELECT 1 FROM chunk k WHERE k.run_id = d.run_id AND k.chunk_id = d.chunk_id AND k.state <> 'done')",
    ),
    (
        "a drained run has nothing left to send",
        "SELECT r.run_id || ': ' || CAST(COUNT(*) AS TEXT) || ' messages' FROM run r JOIN delivery d ON d.run_id = r.run_id \
         WHERE r.state IN ('drained', 'closed') AND d.state IN ('pending', 'deferred', 'committed') GROUP BY r.run_id",
    ),
    (
        "a drained run has no chunk to be done",
        "SELECT r.run_id || ': ' || CAST(COUNT(*) AS TEXT) || ' chunks' FROM run r JOIN chunk k ON k.run_id = r.run_id \
         WHERE r.state IN ('drained', 'closed') AND k.state <> 'done' GROUP BY r.run_id",
    ),
    (
        "a cancelled run has nothing left to send, but what a worker holds",
        "SELECT d.run_id || ', customer ' || d.customer_id || ': ' || d.state FROM delivery d JOIN run r ON r.run_id = d.run_id \
         WHERE r.state = 'cancelled' AND d.state IN ('pending', 'deferred') AND NOT EXISTS \
         (SELECT 1 FROM chunk k WHERE k.run_id = d.run_id AND k.chunk_id = d.chunk_id AND k.state = 'leased' AND k.lease_until_at > $1)",
    ),
    (
        "what an operator closed or sent again stands in the list of decisions",
        "SELECT d.run_id || ', customer ' || d.customer_id || ': ' || d.state FROM delivery d \
         WHERE (d.state = 'closed_unknown' AND NOT EXISTS (SELECT 1 FROM decision x WHERE x.bucket = d.bucket \
                  AND x.chunk_id = d.chunk_id AND x.seq = d.seq AND x.decided = 'closed')) \
            OR (d.expires_at IS NOT NULL AND NOT EXISTS (SELECT 1 FROM decision x WHERE x.bucket = d.bucket \
                  AND x.chunk_id = d.chunk_id AND x.seq = d.seq AND x.decided IN ('retry', 'resend')))",
    ),
    (
        "a reward is with its message, unless nothing of it left and nothing will",
        "SELECT i.run_id || ', pool ' || i.pool || ': ' || d.state FROM reward_issue i \
         JOIN delivery d ON d.bucket = i.bucket AND d.chunk_id = i.chunk_id AND d.seq = i.seq \
         WHERE (i.returned_at IS NULL) = (d.state IN ('suppressed', 'expired', 'cancelled') AND d.date_at IS NULL) \
         UNION ALL \
         SELECT i.run_id || ', pool ' || i.pool || ': no message' FROM reward_issue i \
         WHERE NOT EXISTS (SELECT 1 FROM delivery d WHERE d.bucket = i.bucket AND d.chunk_id = i.chunk_id AND d.seq = i.seq)",
    ),
    (
        "no code is with two messages",
        "SELECT i.code_key || ': ' || CAST(COUNT(*) AS TEXT) || ' messages' FROM reward_issue i \
         WHERE i.returned_at IS NULL AND i.code_key IS NOT NULL GROUP BY i.code_bucket, i.code_key HAVING COUNT(*) > 1",
    ),
];

/// Check every rule; no findings means that the states add up.
pub async fn verify(db: &Db, now: Millis) -> DbResult<Vec<Finding>> {
    let mut findings = Vec::new();
    for (rule, sql) in RULES {
        let args = if sql.contains("$1") { args![now] } else { args![] };
        let rows: Vec<(String,)> = db.fetch_all(sql, args).await?;
        findings.extend(rows.into_iter().map(|(detail,)| Finding { rule, detail }));
    }
    Ok(findings)
}

/// The rules, for `verify` to say what held.
pub fn rules() -> impl Iterator<Item = &'static str> {
    RULES.iter().map(|(rule, _)| *rule)
}
