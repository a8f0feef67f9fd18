//! Looking again at what is about to leave and was planned a while ago: messages that lost their ground become `suppressed`, with the reason.

use std::collections::{BTreeMap, BTreeSet};

use crate::args;
use crate::campaign;
use crate::clock::{HOUR, Millis};
use crate::db::{Db, DbResult, Value};
use crate::plan::{self, PlanError};
use crate::segment;
use crate::segment::condition::Entered;
use crate::settings::Settings;

use super::lease::{Lease, bucket_list};
use super::run;

/// What was planned longer ago is looked at again.
const STALE_AFTER: Millis = HOUR;

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
    seq: i64,
    customer_id: String,
    step: String,
    entered_at: Option<Millis>,
}

/// Look again at the messages of a leased chunk, if they were planned long ago; how many lost their ground. A campaign or step that is no
/// longer in the files has nothing to be compared with: then what was planned holds.
pub async fn recheck(db: &Db, files: &Files, lease: &Lease, now: Millis) -> Result<u64, PlanError> {
    let Some(run) = run::get(db, &lease.run_id).await? else { return Ok(0) };
    if run.created_at.saturating_add(STALE_AFTER) > now {
        return Ok(0);
    }
    let Some(campaign) = files.campaigns.get(&run.campaign) else { return Ok(0) };
    let waiting = waiting(db, lease).await?;
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
                lost += suppress(db, lease, message, reason.word(), now).await?;
            }
        }
    }
    Ok(lost)
}

async fn waiting(db: &Db, lease: &Lease) -> DbResult<Vec<Waiting>> {
    let mut args = args![lease.chunk_id];
    let buckets = bucket_list(lease.bucket, lease.bucket_to, &mut args);
    let sql = format!(
        "SELECT d.bucket, d.seq, d.customer_id, m.step, e.entered_at FROM delivery d \
         JOIN message m ON m.bucket = d.bucket AND m.customer_id = d.customer_id AND m.chunk_id = d.chunk_id AND m.seq = d.seq \
         LEFT JOIN entry e ON e.bucket = m.bucket AND e.customer_id = m.customer_id AND e.campaign = m.campaign AND e.slot = m.slot \
         WHERE d.bucket IN ({buckets}) AND d.chunk_id = $1 AND d.state IN ('pending', 'deferred') ORDER BY d.bucket, d.seq"
    );
    db.fetch_all(&sql, args).await
}

/// Whether the message was taken out; it is not when the lease was lost, or it moved meanwhile.
async fn suppress(db: &Db, lease: &Lease, message: &Waiting, reason: &str, now: Millis) -> DbResult<u64> {
    let sql = "UPDATE delivery SET state = 'suppressed', reply = $1, changed_at = $2 \
               WHERE bucket = $3 AND chunk_id = $4 AND seq = $5 AND state IN ('pending', 'deferred') \
               AND EXISTS (SELECT 1 FROM chunk k WHERE k.bucket = $6 AND k.chunk_id = $4 AND k.lease_token = $7)";
    let args: Vec<Value> = args![
        format!("lost its ground: {reason}"),
        now,
        message.bucket,
        lease.chunk_id,
        message.seq,
        lease.bucket,
        &lease.token
    ];
    db.execute(sql, args).await
}
