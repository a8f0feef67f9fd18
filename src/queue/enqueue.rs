//! Enqueue: write the ledger rows of a stretch of buckets, in one transaction given by the planner.
//!
//! Messages of one lane and quarter-hour share a chunk; a chunk spans neighbouring buckets so that small runs have few chunks.
//! Writing the same stretch twice writes nothing the second time.

use std::collections::BTreeMap;

use crate::clock::Millis;
use crate::db::{BUCKETS, Conflict, DbResult, Tx, Value};
use crate::offer::reward::{self, Issue, Sent};
use crate::suppression::Kind;

use super::{CHUNK_MESSAGES_MAX, CHUNK_STRETCH};

/// A message to be written.
#[derive(Debug, Clone)]
pub struct Draft {
    pub bucket: i64,
    pub customer_id: String,
    /// Of the entry it belongs to.
    pub slot: String,
    pub arm: String,
    /// Left side of the Message-ID.
    pub message_id: String,
    /// Absent for people without one who are withheld.
    pub address: Option<String>,
    pub address_key: Option<String>,
    /// Mailbox-provider family; part of the lane.
    pub family: &'static str,
    pub locale: String,
    /// JSON: the fields its templates use.
    pub payload: String,
    pub due_at: Millis,
    /// Held out: counted, never sent.
    pub withheld: bool,
    /// Waits until the first wave of its run is through.
    pub after_wave: bool,
    /// What it gives; nothing to those held out.
    pub reward: Option<Issue>,
}

/// What all messages of one call have in common.
#[derive(Debug, Clone)]
pub struct Batch<'a> {
    pub run_id: &'a str,
    pub campaign: &'a str,
    pub step: &'a str,
    pub topic: &'a str,
    pub kind: Kind,
    /// When `--at` moved the planning instant, messages leave now all the same: deliveries keep real time.
    pub leave_at: Option<Millis>,
    /// The relays and their weights; with the family a relay makes the lane.
    pub relays: Vec<(&'a str, u32)>,
}

const MESSAGE: [&str; 18] = [
    "bucket",
    "customer_id",
    "campaign",
    "step",
    "slot",
    "run_id",
    "chunk_id",
    "seq",
    "topic",
    "kind",
    "arm",
    "message_id",
    "address",
    "address_key",
    "locale",
    "payload",
    "due_at",
    "created_at",
];
const DELIVERY: [&str; 9] =
    ["bucket", "chunk_id", "seq", "customer_id", "run_id", "state", "due_at", "attempts", "changed_at"];
const CHUNK: [&str; 10] =
    ["bucket", "chunk_id", "bucket_to", "run_id", "lane", "state", "due_at", "messages", "changed_at", "after_wave"];

impl<'a> Batch<'a> {
    /// The relay of a bucket: each has as much of the buckets, and so of the people, as its weight is of all weights.
    fn relay_of(&self, bucket: i64) -> &'a str {
        let all: i64 = self.relays.iter().map(|(_, weight)| i64::from(*weight)).sum();
        let mut place = bucket * all / BUCKETS;
        let of_place = self.relays.iter().find(|(_, weight)| {
            place -= i64::from(*weight);
            place < 0
        });
        of_place.or(self.relays.first()).map_or("", |(name, _)| name)
    }
}

/// Where a message lies: which chunk, which place in it.
struct Placed<'d> {
    draft: &'d Draft,
    chunk_id: i64,
    seq: i64,
}

impl<'d> Placed<'d> {
    /// Where what it gives is to be found.
    fn gives(&self) -> Option<Sent<'d>> {
        let issue = self.draft.reward.as_ref()?;
        Some(Sent { bucket: self.draft.bucket, chunk_id: self.chunk_id, seq: self.seq, issue })
    }
}

/// Write messages, deliveries and chunks, and give the rewards they carry. Drafts come in the order of (bucket, customer_id). False when rewards
/// cannot be given, because a code or a message was written by other hands meanwhile: then the transaction must not be committed.
pub async fn write(tx: &mut Tx, batch: &Batch<'_>, drafts: &[Draft], now: Millis) -> DbResult<bool> {
    let mut lanes: BTreeMap<(bool, bool, &str, &str, Millis), Vec<&Draft>> = BTreeMap::new();
    for draft in drafts {
        lanes
            .entry((
                draft.withheld,
                draft.after_wave,
                batch.relay_of(draft.bucket),
                draft.family,
                draft.due_at - draft.due_at.rem_euclid(CHUNK_STRETCH),
            ))
            .or_default()
            .push(draft);
    }
    let mut placed = Vec::with_capacity(drafts.len());
    let mut chunks = Vec::new();
    for ((withheld, after_wave, relay, family, _), members) in lanes {
        for part in members.chunks(CHUNK_MESSAGES_MAX) {
            let chunk_id = new_chunk_id(now);
            placed.extend(part.iter().zip(0..).map(|(draft, seq)| Placed { draft, chunk_id, seq }));
            if withheld {
                continue; // counted, never leased: no chunk row
            }
            let buckets = part.iter().map(|d| d.bucket);
            chunks.extend([
                Value::from(buckets.clone().min().expect("chunks are not empty")),
                chunk_id.into(),
                buckets.max().expect("chunks are not empty").into(),
                batch.run_id.into(),
                format!("{relay}/{family}").into(),
                "open".into(),
                batch.leave_at.or(part.iter().map(|d| d.due_at).min()).expect("chunks are not empty").into(),
                (part.len() as i64).into(),
                now.into(),
                after_wave.into(),
            ]);
        }
    }
    placed.sort_by(|a, b| (a.draft.bucket, &a.draft.customer_id).cmp(&(b.draft.bucket, &b.draft.customer_id)));
    let messages = tx
        .insert_rows(
            "message",
            &MESSAGE,
            placed.iter().flat_map(|p| message_row(batch, p, now)).collect(),
            Conflict::Keep,
        )
        .await?;
    placed.sort_by_key(|p| (p.draft.bucket, p.chunk_id, p.seq));
    tx.insert_rows(
        "delivery",
        &DELIVERY,
        placed.iter().flat_map(|p| delivery_row(batch, p, now)).collect(),
        Conflict::Keep,
    )
    .await?;
    tx.insert_rows("chunk", &CHUNK, chunks, Conflict::Keep).await?;
    let sent: Vec<Sent<'_>> = placed.iter().filter_map(Placed::gives).collect();
    if sent.is_empty() {
        return Ok(true);
    }
    Ok(messages == placed.len() as u64 && reward::issue(tx, batch.run_id, &sent, now).await?)
}

fn message_row(batch: &Batch, p: &Placed, now: Millis) -> [Value; 18] {
    let d = p.draft;
    [
        d.bucket.into(),
        (&d.customer_id).into(),
        batch.campaign.into(),
        batch.step.into(),
        (&d.slot).into(),
        batch.run_id.into(),
        p.chunk_id.into(),
        p.seq.into(),
        batch.topic.into(),
        batch.kind.word().into(),
        (&d.arm).into(),
        (&d.message_id).into(),
        d.address.clone().into(),
        d.address_key.clone().into(),
        (&d.locale).into(),
        (&d.payload).into(),
        d.due_at.into(),
        now.into(),
    ]
}

fn delivery_row(batch: &Batch, p: &Placed, now: Millis) -> [Value; 9] {
    let d = p.draft;
    let state = if d.withheld { super::DeliveryState::Withheld } else { super::DeliveryState::Pending };
    [
        d.bucket.into(),
        p.chunk_id.into(),
        p.seq.into(),
        (&d.customer_id).into(),
        batch.run_id.into(),
        state.word().into(),
        batch.leave_at.unwrap_or(d.due_at).into(),
        0_i64.into(),
        now.into(),
    ]
}

/// Places in a chunk: with this, bucket and place make one number.
pub(super) const CHUNK_SEQS: i64 = 512;
const _: () = assert!(CHUNK_MESSAGES_MAX <= CHUNK_SEQS as usize);

/// A number that no other chunk has, growing with time: 42 bits of milliseconds, 21 random bits.
fn new_chunk_id(now: Millis) -> i64 {
    (now & ((1 << 42) - 1)) << 21 | (crate::token::random() & ((1 << 21) - 1))
}

/// When the messages of a chunk were written.
pub(super) fn planned_at(chunk_id: i64) -> Millis {
    chunk_id >> 21
}
