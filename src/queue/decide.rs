//! What operators decide about single messages: try a refused one again, settle an unknown one.
//!
//! A decision moves messages of one chunk in one transaction, by one statement that names the state they come from, and is stored beside
//! them: what, who, why, when. Of two hands at once one moves a message, and the other is told so. Whoever is suppressed or took back their
//! consent is not written to again, whatever an operator says; the commit that lets a message leave looks once more.

use serde::Serialize;

use crate::args;
use crate::clock::Millis;
use crate::db::{self, Conflict, Db, DbResult, Tx, Value};
use crate::suppression::{self, Kind, sql};

use super::lease::bucket_list;
use super::show::Message;
use super::{DeliveryState, MESSAGE_LIFETIME, RunState, run};

/// What may be decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// Refused for good; what it was refused for is mended, and it is to be sent again.
    Retry,
    /// Unknown; it did arrive.
    Accepted,
    /// Unknown; it did not arrive.
    Failed,
    /// Unknown; to be sent again under the same Message-ID, though it may have arrived.
    Resend,
    /// Unknown, and it stays so; nobody waits for an answer any more.
    Closed,
}

/// Who decided, and why.
#[derive(Debug, Clone, Copy)]
pub struct By<'a> {
    pub who: &'a str,
    pub evidence: &'a str,
}

impl Decision {
    /// Every decision.
    pub const ALL: [Decision; 5] =
        [Decision::Retry, Decision::Accepted, Decision::Failed, Decision::Resend, Decision::Closed];

    /// The stored word.
    pub fn word(self) -> &'static str {
        match self {
            Decision::Retry => "retry",
            Decision::Accepted => "accepted",
            Decision::Failed => "failed",
            Decision::Resend => "resend",
            Decision::Closed => "closed",
        }
    }

    /// The state a message comes from, and the one it moves to.
    pub fn states(self) -> (DeliveryState, DeliveryState) {
        use DeliveryState::*;
        match self {
            Decision::Retry => (Failed, Pending),
            Decision::Accepted => (Unknown, Accepted),
            Decision::Failed => (Unknown, Failed),
            Decision::Resend => (Unknown, Pending),
            Decision::Closed => (Unknown, ClosedUnknown),
        }
    }

    /// Whether the message goes out again.
    pub fn sends(self) -> bool {
        matches!(self, Decision::Retry | Decision::Resend)
    }
}

/// States of a run whose messages may still be sent, now or after a resume.
const MAY_STILL_SEND: [RunState; 4] = [RunState::Ready, RunState::Sending, RunState::Paused, RunState::Drained];

/// Decide about one message; `None` when it moved, else why it did not.
pub async fn decide(
    db: &Db,
    message: &Message,
    decision: Decision,
    by: By<'_>,
    now: Millis,
) -> DbResult<Option<String>> {
    let place = (message.bucket, message.seq);
    let moved = decide_in_chunk(db, &message.run_id, message.chunk_id, Some(place), decision, by, now).await?;
    if moved > 0 { Ok(None) } else { Ok(Some(why_not(db, message, decision).await?)) }
}

/// Try every refused message of a run again, but for those that may not be written to any more; how many.
pub async fn retry_run(db: &Db, run_id: &str, by: By<'_>, now: Millis) -> DbResult<u64> {
    let sql =
        "SELECT DISTINCT d.chunk_id FROM delivery d WHERE d.run_id = $1 AND d.state = 'failed' ORDER BY d.chunk_id";
    let chunks: Vec<(i64,)> = db.fetch_all(sql, args![run_id]).await?;
    let mut moved = 0;
    for (chunk_id,) in chunks {
        moved += decide_in_chunk(db, run_id, chunk_id, None, Decision::Retry, by, now).await?;
    }
    Ok(moved)
}

/// The messages of a chunk, or the one at (bucket, seq).
async fn decide_in_chunk(
    db: &Db,
    run_id: &str,
    chunk_id: i64,
    only: Option<(i64, i64)>,
    decision: Decision,
    by: By<'_>,
    now: Millis,
) -> DbResult<u64> {
    let sql = "SELECT bucket, bucket_to FROM chunk WHERE run_id = $1 AND chunk_id = $2";
    let Some((bucket, bucket_to)) = db.fetch_optional::<(i64, i64)>(sql, args![run_id, chunk_id]).await? else {
        return Ok(0);
    };
    db::retried(async || {
        let mut tx = db.begin().await?;
        if decision.sends() {
            open_chunk(&mut tx, bucket, chunk_id, now).await?; // before its deliveries, as everybody does
        }
        let buckets = only.map_or((bucket, bucket_to), |(bucket, _)| (bucket, bucket));
        let seq = only.map(|(_, seq)| seq);
        let moved = move_messages(&mut tx, buckets, chunk_id, seq, decision, now).await?;
        if moved.is_empty() {
            tx.rollback().await?;
            return Ok(0);
        }
        if decision.sends() {
            run::wake(&mut tx, run_id, now).await?;
        }
        let columns = ["bucket", "chunk_id", "seq", "at", "decided", "decided_by", "evidence"];
        let rows: Vec<Value> = moved
            .iter()
            .flat_map(|(bucket, seq)| args![*bucket, chunk_id, *seq, now, decision.word(), by.who, by.evidence])
            .collect();
        tx.insert_rows("decision", &columns, rows, Conflict::Keep).await?;
        tx.commit().await?;
        Ok(moved.len() as u64)
    })
    .await
}

/// Have workers look at the chunk now. One that is leased is looked at when it is given back.
async fn open_chunk(tx: &mut Tx, bucket: i64, chunk_id: i64, now: Millis) -> DbResult<()> {
    let sql = "UPDATE chunk SET due_at = CASE WHEN state = 'open' AND due_at < $1 THEN due_at ELSE $1 END, \
               state = CASE WHEN state = 'done' THEN 'open' ELSE state END, changed_at = $1 \
               WHERE bucket = $2 AND chunk_id = $3";
    tx.execute(sql, args![now, bucket, chunk_id]).await?;
    Ok(())
}

/// The one statement that moves: (bucket, seq) of what moved.
async fn move_messages(
    tx: &mut Tx,
    (bucket, bucket_to): (i64, i64),
    chunk_id: i64,
    seq: Option<i64>,
    decision: Decision,
    now: Millis,
) -> DbResult<Vec<(i64, i64)>> {
    let (from, to) = decision.states();
    let mut args = args![now, chunk_id, from.word(), to.word()];
    let buckets = bucket_list(bucket, bucket_to, &mut args);
    let mut set = "state = $4, changed_at = $1".to_owned();
    let mut when = String::new();
    if let Some(seq) = seq {
        args.push(seq.into());
        when.push_str(&format!(" AND seq = ${}", args.len()));
    }
    if decision.sends() {
        args.push((now + MESSAGE_LIFETIME).into());
        // The commit's token stays: should the missing answer come after all before the message leaves again, it still counts.
        set.push_str(&format!(", due_at = $1, expires_at = ${}", args.len()));
        when.push_str(&may_be_written_to());
    }
    let sql = format!(
        "UPDATE delivery SET {set} WHERE bucket IN ({buckets}) AND chunk_id = $2 AND state = $3{when} RETURNING bucket, seq"
    );
    tx.fetch_all(&sql, args).await
}

/// The run may still send, and the person may still be written to about this.
fn may_be_written_to() -> String {
    let runs: Vec<String> = MAY_STILL_SEND.iter().map(|s| format!("'{}'", s.word())).collect();
    format!(
        " AND EXISTS (SELECT 1 FROM run r WHERE r.run_id = delivery.run_id AND r.state IN ({runs})) \
         AND EXISTS (SELECT 1 FROM message m WHERE m.bucket = delivery.bucket AND m.customer_id = delivery.customer_id \
              AND m.chunk_id = delivery.chunk_id AND m.seq = delivery.seq AND m.address IS NOT NULL \
              AND ((m.kind = 'service' AND NOT {service}) OR (m.kind = 'promotional' AND NOT {promotional} AND {consents})))",
        runs = runs.join(", "),
        service = sql::suppressed("m.address_key", Kind::Service, "m.topic"),
        promotional = sql::suppressed("m.address_key", Kind::Promotional, "m.topic"),
        consents = sql::consents("m.bucket", "m.customer_id", "m.topic"),
    )
}

/// Why a message did not move, as it stands now.
async fn why_not(db: &Db, message: &Message, decision: Decision) -> DbResult<String> {
    let Some(message) = super::show::find(db, &message.message_id).await? else {
        return Ok("it is gone".to_owned());
    };
    let (from, _) = decision.states();
    let state = message.state();
    if state != from {
        return Ok(match (decision, state) {
            (Decision::Retry, DeliveryState::Unknown) => {
                "it is unknown: it may have arrived\nlook in the mail server's log, then: okaeri queue resolve ID --as … --evidence …".to_owned()
            }
            (Decision::Retry, state) => format!("it is {state}; only what was refused for good (failed) can be tried again"),
            (_, state) => format!("it is {state}; only what is unknown can be resolved"),
        });
    }
    if !MAY_STILL_SEND.contains(&message.run_state()) {
        return Ok(format!("its run is {}", message.run_state()));
    }
    let kind = message.kind();
    let key = message.address_key.as_deref().unwrap_or_default();
    let standing = suppression::standing(db, key).await?;
    if let Some(s) = standing.iter().find(|s| s.scope.stops(kind, &message.topic)) {
        return Ok(format!("its address is suppressed ({}, {})", s.scope, s.reason.as_str()));
    }
    Ok(match kind {
        Kind::Promotional => format!("the person has not agreed to {} any more", message.topic),
        Kind::Service => "it has no address any more".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decisions_are_legal_moves_and_none_sends_what_arrived() {
        for decision in Decision::ALL {
            let (from, to) = decision.states();
            assert!(from.may_become(to), "{decision:?}");
            assert!(matches!(from, DeliveryState::Failed | DeliveryState::Unknown), "{decision:?}");
            assert_eq!(decision.sends(), to == DeliveryState::Pending, "{decision:?}");
        }
        for state in MAY_STILL_SEND {
            assert!(state.may_send() || state.may_become(RunState::Sending), "{state}");
        }
    }
}
