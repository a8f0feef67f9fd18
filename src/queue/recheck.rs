//! Looking again at what is about to leave and was planned a while ago: messages that lost their ground become `suppressed`, with the reason.

use std::collections::{BTreeMap, BTreeSet};

use crate::args;
use crate::campaign;
use crate::clock::{HOUR, Millis};
use crate::db::{Db, DbResult, bucket_ranges};
use crate::offer::reward;
use crate::plan::{self, PlanError};
use crate::segment;
use crate::segment::condition::Entered;
use crate::settings::Settings;

use super::lease::{Lease, bucket_list};
use super::run::{self, Run};

/// What was planned longer ago is looked at again.
const STALE_AFTER: Millis = HOUR;

/// Buckets of a saved plan looked at together.
const BUCKETS_PER_LOOK: i64 = 16;

/// What looking again takes: the files as they are now.
#[derive(Debug, Clone)]
pub struct Files {
    pub settings: Settings,
    pub segments: segment::Library,
    pub campaigns: campaign::Library,
}

/// A message that waits in a leased chunk.
#[derive(sqlx::FromRow)]
struct Waiting {
    bucket: i64,
    chunk_id: i64,
    seq: i64,
    customer_id: String,
    step: String,
    entered_at: Option<Millis>,
}

/// Whose messages are looked at.
#[derive(Clone, Copy)]
enum Held<'a> {
    /// The chunk of a lease.
    Chunk(&'a Lease),
    /// Buckets of a run that is planned and not released.
    Plan(&'a Run, (i64, i64)),
}

/// Look again at the messages of a leased chunk, if they were planned long ago; how many lost their ground. A campaign or step that is no
/// longer in the files has nothing to be compared with: then what was planned holds.
pub async fn recheck(db: &Db, files: &Files, lease: &Lease, now: Millis) -> Result<u64, PlanError> {
    let Some(run) = run::get(db, &lease.run_id).await? else { return Ok(0) };
    if run.created_at.saturating_add(STALE_AFTER) > now {
        return Ok(0);
    }
    look(db, files, &run, Held::Chunk(lease), now).await
}

/// Look again at all messages of a saved plan; how many lost their ground.
pub async fn recheck_plan(db: &Db, files: &Files, run: &Run, now: Millis) -> Result<u64, PlanError> {
    let mut lost = 0;
    for range in bucket_ranges(BUCKETS_PER_LOOK) {
        lost += look(db, files, run, Held::Plan(run, range), now).await?;
    }
    Ok(lost)
}

async fn look(db: &Db, files: &Files, run: &Run, held: Held<'_>, now: Millis) -> Result<u64, PlanError> {
    let Some(campaign) = files.campaigns.of_key(&run.campaign) else { return Ok(0) };
    let waiting = held.waiting(db).await?;
    let mut lost = 0;
    for step in &campaign.steps {
        let mut of_step: BTreeMap<Entered, Vec<&Waiting>> = BTreeMap::new();
        for w in waiting.iter().filter(|w| step.names().any(|name| name == w.step)) {
            let entered_at = w.entered_at.unwrap_or(run.as_of);
            let who = Entered { entered_at, bucket: w.bucket, customer_id: w.customer_id.clone() };
            of_step.entry(who).or_default().push(w);
        }
        let people: BTreeSet<Entered> = of_step.keys().cloned().collect();
        let found = plan::lost(db, &files.settings, &files.segments, (campaign, step), now, &people).await?;
        for (who, reason) in found {
            for message in &of_step[&who] {
                lost += held.suppress(db, message, reason.word(), now).await?;
            }
        }
    }
    Ok(lost)
}

impl Held<'_> {
    async fn waiting(self, db: &Db) -> DbResult<Vec<Waiting>> {
        let mut args = args![];
        let which = match self {
            Held::Chunk(lease) => {
                args.push(lease.chunk_id.into());
                let buckets = bucket_list(lease.bucket, lease.bucket_to, &mut args);
                format!("d.bucket IN ({buckets}) AND d.chunk_id = $1")
            }
            Held::Plan(run, (first, last)) => {
                args = args![&run.run_id, first, last];
                "d.run_id = $1 AND d.bucket >= $2 AND d.bucket <= $3".to_owned()
            }
        };
        let sql = format!(
            "SELECT d.bucket, d.chunk_id, d.seq, d.customer_id, m.step, e.entered_at FROM delivery d \
             JOIN message m ON m.bucket = d.bucket AND m.customer_id = d.customer_id AND m.chunk_id = d.chunk_id AND m.seq = d.seq \
             LEFT JOIN entry e ON e.bucket = m.bucket AND e.customer_id = m.customer_id AND e.campaign = m.campaign AND e.slot = m.slot \
             WHERE {which} AND d.state IN ('pending', 'deferred') ORDER BY d.bucket, d.chunk_id, d.seq"
        );
        db.fetch_all(&sql, args).await
    }

    /// Whether the message was taken out; it is not when it is no longer held, or moved meanwhile.
    async fn suppress(self, db: &Db, message: &Waiting, reason: &str, now: Millis) -> DbResult<u64> {
        let said = format!("lost its ground: {reason}");
        let mut args = args![said, now, message.bucket, message.chunk_id, message.seq];
        let still = match self {
            Held::Chunk(lease) => {
                args.extend(args![lease.bucket, &lease.token]);
                "EXISTS (SELECT 1 FROM chunk k WHERE k.bucket = $6 AND k.chunk_id = $4 AND k.lease_token = $7)"
            }
            Held::Plan(run, _) => {
                args.extend(args![&run.run_id]);
                "EXISTS (SELECT 1 FROM run r WHERE r.run_id = $6 AND r.state = 'planned')"
            }
        };
        let sql = format!(
            "UPDATE delivery SET state = 'suppressed', reply = $1, changed_at = $2 \
             WHERE bucket = $3 AND chunk_id = $4 AND seq = $5 AND state IN ('pending', 'deferred') AND {still}"
        );
        let mut tx = db.begin().await?;
        let suppressed = tx.execute(&sql, args).await?;
        if suppressed > 0 {
            reward::give_back(&mut tx, &[message.bucket], message.chunk_id, Some(message.seq), now).await?;
        }
        tx.commit().await?;
        Ok(suppressed)
    }
}
