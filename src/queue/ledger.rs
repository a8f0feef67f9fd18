//! The ledger: one task per process that moves messages to `committed` and records what became of them.
//!
//! Every connection's request may carry the *outcome of message n* and the *commit of message n + 1*. The task takes whatever waits,
//! writes it in one transaction, and answers all; while it waits for the disk the next group gathers. So durability is paid once per
//! group, not per message. Nothing is delayed to make groups larger, except where messages trickle because each is signed first: then a
//! transaction for each would cost more than is won ([`GATHERING`]).
//!
//! Promises: a commit is confirmed only when one transaction saw the chunk under this lease, the run sending, the message still unsent
//! and its address not suppressed. A COMMIT that the database did not confirm is read back before anyone acts on it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use crate::args;
use crate::clock::{self, Millis};
use crate::db::{Conflict, Db, DbError, DbResult, Tx, Value};
use crate::failpoint::{self, Step};
use crate::offer::reward;
use crate::suppression::{self, Kind, Reason, Scope};

use super::answers::About;
use super::lease::{self, Lease};
use super::{DeliveryState, RunState, run};

/// Requests written in one transaction at most.
const GROUP_MAX: usize = 64;
/// Requests waiting for the ledger at most; connections wait beyond that.
const WAITING_MAX: usize = 1_024;
/// How long a group that is to be larger waits for others.
const GATHERING: Duration = Duration::from_millis(2);
/// How often a group is tried again when the database was busy or unreachable, and how long between the tries.
const TRIES_MAX: u32 = 6;
const TRY_PAUSE: Duration = Duration::from_millis(250);

/// Which message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    pub bucket: i64,
    pub chunk_id: i64,
    pub seq: i64,
}

/// Wants to hand a message's content to the server.
#[derive(Debug, Clone)]
pub struct Commit {
    pub key: Key,
    pub lease: Arc<Lease>,
    /// Random; settles only what this commit moved.
    pub token: String,
    pub address_key: String,
    pub kind: Kind,
    pub topic: String,
    /// The Date header, kept if an earlier commit set one.
    pub date_at: Millis,
    /// Of the content that will leave: [`content_hash`].
    pub content_hash: i64,
}

/// The first 64 bits of the SHA-256 of a content as the server stores it: what tells whether a mail that turned up is the one that was sent.
pub fn content_hash(bytes: &[u8]) -> i64 {
    let sha256 = ring::digest::digest(&ring::digest::SHA256, bytes);
    i64::from_be_bytes(sha256.as_ref()[..8].try_into().expect("32 bytes"))
}

/// What became of a try.
#[derive(Debug, Clone)]
pub struct Settlement {
    pub key: Key,
    pub lease: Arc<Lease>,
    /// The commit's token; `None` when the try ended before a commit.
    pub token: Option<String>,
    pub attempt_no: i64,
    pub outcome: Outcome,
    /// Whose mailbox does not exist, when the outcome says so.
    pub hard_bounced: Option<String>,
}

/// The remote's answer, as a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    pub state: DeliveryState,
    /// When a deferred message is due again.
    pub due_at: Option<Millis>,
    /// Where in the conversation: connect, mail, rcpt, data, content.
    pub stage: &'static str,
    pub code: Option<u16>,
    /// RFC 3463, as text.
    pub enhanced: Option<String>,
    /// The server's words, or ours when it said nothing.
    pub reply: String,
    /// What a refusal for good was about.
    pub about: Option<About>,
}

/// The answer to a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// The content may leave.
    Committed,
    /// The address was suppressed meanwhile; recorded as such.
    Suppressed,
    /// The run is paused, cancelled or gone.
    RunStopped,
    /// The lease is lost, or the message moved by another hand: leave it alone.
    NotOurs,
}

/// The ledger ended because the database stayed unreachable.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct Stopped(pub Arc<str>);

struct Request {
    settle: Option<Settlement>,
    commit: Option<Commit>,
    answer: oneshot::Sender<Result<Option<Answer>, Stopped>>,
}

/// A handle on the ledger task; the task ends when the last handle is dropped.
#[derive(Clone)]
pub struct Ledger {
    requests: mpsc::Sender<Request>,
}

impl Ledger {
    /// Start the task. A group waits a moment until it has `at_once` requests; 1 waits for nobody.
    pub fn start(db: Db, at_once: usize) -> Ledger {
        let (requests, inbox) = mpsc::channel(WAITING_MAX);
        tokio::spawn(serve(db, inbox, at_once.min(GROUP_MAX)));
        Ledger { requests }
    }

    /// Record an outcome and ask for a commit, either or both, in one transaction.
    pub async fn write(&self, settle: Option<Settlement>, commit: Option<Commit>) -> Result<Option<Answer>, Stopped> {
        let (answer, answered) = oneshot::channel();
        let gone = || Stopped("the ledger has stopped".into());
        self.requests.send(Request { settle, commit, answer }).await.map_err(|_| gone())?;
        answered.await.map_err(|_| gone())?
    }
}

/// Put requests together after the first. Connections that have something to say are heard before a transaction begins: a larger group costs each
/// of its messages less.
async fn gather(inbox: &mut mpsc::Receiver<Request>, group: &mut Vec<Request>, at_once: usize) {
    if group.len() < at_once {
        let wait =
            async { while group.len() < at_once && inbox.recv_many(group, GROUP_MAX - group.len()).await > 0 {} };
        let _ = tokio::time::timeout(GATHERING, wait).await;
    }
    loop {
        tokio::task::yield_now().await;
        let room = GROUP_MAX - group.len();
        if room == 0 || inbox.is_empty() {
            return;
        }
        inbox.recv_many(group, room).await;
    }
}

async fn serve(db: Db, mut inbox: mpsc::Receiver<Request>, at_once: usize) {
    let mut group = Vec::with_capacity(GROUP_MAX);
    while inbox.recv_many(&mut group, GROUP_MAX).await > 0 {
        gather(&mut inbox, &mut group, at_once).await;
        let settlements: Vec<&Settlement> = group.iter().filter_map(|r| r.settle.as_ref()).collect();
        let commits: Vec<&Commit> = group.iter().filter_map(|r| r.commit.as_ref()).collect();
        let written = write_group(&db, &settlements, &commits).await;
        let stopped = written.as_ref().err().map(|e| Stopped(e.to_string().into()));
        let answers = written.unwrap_or_default();
        for request in group.drain(..) {
            let result = match &stopped {
                Some(stopped) => Err(stopped.clone()),
                None => Ok(request.commit.as_ref().map(|c| answers.get(&c.key).copied().unwrap_or(Answer::NotOurs))),
            };
            // A connection that no longer listens has dropped its message; what was committed for it is rescued later.
            let _ = request.answer.send(result);
        }
    }
}

/// Write a group, again and again while the database is merely busy.
async fn write_group(db: &Db, settlements: &[&Settlement], commits: &[&Commit]) -> DbResult<HashMap<Key, Answer>> {
    let mut in_doubt = false;
    for _ in 1..TRIES_MAX {
        match write_once(db, settlements, commits, in_doubt).await {
            Err(DbError::InDoubt(_)) => in_doubt = true,
            Err(e) if e.is_retryable() => {}
            result => return result,
        }
        tokio::time::sleep(TRY_PAUSE).await;
    }
    write_once(db, settlements, commits, in_doubt).await
}

/// One try. From the first COMMIT on that was not answered (`in_doubt`), commits are only looked up, never made again: they may have happened.
/// Outcomes are written again; the same outcome twice is the same state.
async fn write_once(
    db: &Db,
    settlements: &[&Settlement],
    commits: &[&Commit],
    in_doubt: bool,
) -> DbResult<HashMap<Key, Answer>> {
    if !in_doubt {
        return try_group(db, settlements, commits).await;
    }
    if !settlements.is_empty() {
        try_group(db, settlements, &[]).await?;
    }
    read_back(db, commits).await
}

async fn try_group(db: &Db, settlements: &[&Settlement], commits: &[&Commit]) -> DbResult<HashMap<Key, Answer>> {
    let now = clock::now();
    let mut tx = db.begin().await?;
    hold_chunks(&mut tx, commits).await?; // before any delivery row: rescuers lock in the same order
    if !settlements.is_empty() {
        settle(&mut tx, settlements, now).await?;
    }
    let answers = if commits.is_empty() { HashMap::new() } else { commit(&mut tx, commits, now).await? };
    if !commits.is_empty() {
        failpoint::pass(Step::CommitSent);
    }
    tx.commit().await?;
    if !commits.is_empty() {
        failpoint::pass(Step::CommitConfirmed);
    }
    if !settlements.is_empty() {
        failpoint::pass(Step::OutcomeWritten);
    }
    Ok(answers)
}

async fn settle(tx: &mut Tx, list: &[&Settlement], now: Millis) -> DbResult<()> {
    const COLUMNS: [&str; 12] = [
        "bucket",
        "chunk_id",
        "seq",
        "token",
        "state",
        "due_at",
        "code",
        "reply",
        "relay",
        "tries",
        "attempt_no",
        "at",
    ];
    // The order is: the outcomes, then each delivery by its key. That it was accepted counts whatever somebody decided while the answer was
    // missing: what did arrive is not sent again.
    let sql = "UPDATE delivery SET state = k.state, due_at = COALESCE(k.due_at, delivery.due_at), code = k.code, reply = k.reply, \
                relay = k.relay, attempts = CASE WHEN delivery.attempts < k.attempt_no THEN k.attempt_no ELSE delivery.attempts END, \
                changed_at = k.at \
         FROM k WHERE delivery.bucket = k.bucket AND delivery.chunk_id = k.chunk_id AND delivery.seq = k.seq \
           AND ((k.tries = 0 AND delivery.commit_token = k.token \
                 AND (delivery.state IN ('committed', 'unknown') \
                      OR (delivery.state IN ('pending', 'failed', 'closed_unknown') AND k.state = 'accepted'))) \
             OR (k.tries = 1 AND delivery.state IN ('pending', 'deferred')))";
    let mut rows = Vec::with_capacity(list.len().next_power_of_two() * COLUMNS.len());
    for s in list {
        let o = &s.outcome;
        rows.extend(args![
            s.key.bucket,
            s.key.chunk_id,
            s.key.seq,
            s.token.clone().unwrap_or_default(),
            o.state.word(),
            o.due_at,
            o.code,
            &o.reply,
            s.lease.relay(),
            i64::from(s.token.is_none()),
            s.attempt_no,
            now,
        ]);
    }
    tx.execute_few(&COLUMNS, rows, sql).await?;
    record_attempts(tx, list, now).await?;
    reopen(tx, list, now).await?;
    for s in list {
        if let Some(address_key) = &s.hard_bounced {
            let source = format!("smtp: {}", s.outcome.reply);
            suppression::suppress(tx, address_key, &Scope::All, Reason::HardBounce, now, &source).await?;
        }
        if s.outcome.state == DeliveryState::Expired {
            reward::give_back(tx, &[s.key.bucket], s.key.chunk_id, Some(s.key.seq), now).await?;
        }
    }
    Ok(())
}

/// A late "come back later": the lease had run out and the chunk may be done already, but the message waits again. So does its chunk.
async fn reopen(tx: &mut Tx, list: &[&Settlement], now: Millis) -> DbResult<()> {
    for s in list {
        let (Some(due_at), Some(_)) = (s.outcome.due_at, &s.token) else { continue };
        let (bucket, chunk_id) = (s.lease.bucket, s.lease.chunk_id);
        let reopened = tx
            .execute(
                "UPDATE chunk SET state = 'open', due_at = $1, changed_at = $2 WHERE bucket = $3 AND chunk_id = $4 AND state = 'done'",
                args![due_at, now, bucket, chunk_id],
            )
            .await?;
        if reopened > 0 {
            run::wake(tx, &s.lease.run_id, now).await?;
            lease::close_or_open(tx, (bucket, s.lease.bucket_to), chunk_id, now).await?;
        }
    }
    Ok(())
}

/// Tries that did not end in plain acceptance are kept, with the server's words.
async fn record_attempts(tx: &mut Tx, list: &[&Settlement], now: Millis) -> DbResult<()> {
    let rows: Vec<Value> = list
        .iter()
        .filter(|s| s.outcome.state != DeliveryState::Accepted)
        .flat_map(|s| {
            let o = &s.outcome;
            args![
                s.key.bucket,
                s.key.chunk_id,
                s.key.seq,
                s.attempt_no,
                now,
                o.stage,
                o.state.word(),
                o.code,
                o.enhanced.clone(),
                &o.reply,
                o.about.map(About::word),
                s.lease.relay(),
            ]
        })
        .collect();
    if rows.is_empty() {
        return Ok(());
    }
    let columns = [
        "bucket",
        "chunk_id",
        "seq",
        "attempt_no",
        "at",
        "stage",
        "state",
        "code",
        "enhanced",
        "reply",
        "about",
        "relay",
    ];
    tx.insert_rows("attempt", &columns, rows, Conflict::Keep).await?;
    Ok(())
}

async fn commit(tx: &mut Tx, list: &[&Commit], now: Millis) -> DbResult<HashMap<Key, Answer>> {
    const COLUMNS: [&str; 12] = [
        "bucket",
        "chunk_id",
        "seq",
        "chunk_bucket",
        "lease",
        "token",
        "address_key",
        "scope_a",
        "scope_b",
        "date_at",
        "content_hash",
        "at",
    ];
    // The order is: the wanted rows, then each delivery by its key; chunk, run and suppression are looked up by key per row.
    let sql = "UPDATE delivery SET state = 'committed', commit_token = k.token, date_at = COALESCE(delivery.date_at, k.date_at), \
                content_hash = k.content_hash, attempts = delivery.attempts + 1, changed_at = k.at \
         FROM k WHERE delivery.bucket = k.bucket AND delivery.chunk_id = k.chunk_id AND delivery.seq = k.seq \
           AND delivery.state IN ('pending', 'deferred') \
           AND EXISTS (SELECT 1 FROM chunk c JOIN run r ON r.run_id = c.run_id \
                       WHERE c.bucket = k.chunk_bucket AND c.chunk_id = k.chunk_id AND c.lease_token = k.lease \
                         AND c.lease_until_at > k.at AND r.state IN ('ready', 'sending')) \
           AND NOT EXISTS (SELECT 1 FROM suppression s WHERE s.address_key = k.address_key \
                           AND s.scope IN ('all', k.scope_a, k.scope_b)) \
         RETURNING delivery.bucket, delivery.chunk_id, delivery.seq";
    let mut rows = Vec::with_capacity(list.len().next_power_of_two() * COLUMNS.len());
    for c in list {
        let (scope_a, scope_b) = scopes(c);
        rows.extend(args![
            c.key.bucket,
            c.key.chunk_id,
            c.key.seq,
            c.lease.bucket,
            &c.lease.token,
            &c.token,
            &c.address_key,
            scope_a,
            scope_b,
            c.date_at,
            c.content_hash,
            now,
        ]);
    }
    let committed: Vec<(i64, i64, i64)> = tx.fetch_few(&COLUMNS, rows, sql).await?;
    let committed: HashSet<Key> =
        committed.into_iter().map(|(bucket, chunk_id, seq)| Key { bucket, chunk_id, seq }).collect();
    let mut answers = HashMap::with_capacity(list.len());
    for c in list {
        let answer = if committed.contains(&c.key) { Answer::Committed } else { refusal(tx, c, now).await? };
        answers.insert(c.key, answer);
    }
    Ok(answers)
}

/// The scopes beside `all` that stop a message.
fn scopes(c: &Commit) -> (String, String) {
    match c.kind {
        Kind::Service => (Scope::All.to_string(), Scope::All.to_string()),
        Kind::Promotional => (Scope::Promotional.to_string(), Scope::Topic(c.topic.clone()).to_string()),
    }
}

/// Keep the chunks as they are until this transaction ends, so that no rescuer opens one between our look and our commit.
async fn hold_chunks(tx: &mut Tx, list: &[&Commit]) -> DbResult<()> {
    let clause = tx.dialect().hold();
    if clause.is_empty() {
        return Ok(()); // one writer: nobody comes between
    }
    let chunks: HashSet<(i64, i64)> = list.iter().map(|c| (c.lease.bucket, c.lease.chunk_id)).collect();
    let mut chunks: Vec<_> = chunks.into_iter().collect();
    chunks.sort_unstable(); // one order for all, so that two processes never wait for each other
    for (bucket, chunk_id) in chunks {
        // One bucket a statement: rows of several shards cannot be held by one.
        let sql = format!("SELECT k.chunk_id FROM chunk k WHERE k.bucket = $1 AND k.chunk_id = $2 {clause}");
        tx.fetch_all::<(i64,)>(&sql, args![bucket, chunk_id]).await?;
    }
    Ok(())
}

/// Why a commit did not match; a suppressed message is recorded as such.
async fn refusal(tx: &mut Tx, c: &Commit, now: Millis) -> DbResult<Answer> {
    let run: Option<(String,)> = tx
        .fetch_optional(
            "SELECT r.state FROM chunk k JOIN run r ON r.run_id = k.run_id \
             WHERE k.bucket = $1 AND k.chunk_id = $2 AND k.lease_token = $3 AND k.lease_until_at > $4",
            args![c.lease.bucket, c.lease.chunk_id, &c.lease.token, now],
        )
        .await?;
    let Some((state,)) = run else { return Ok(Answer::NotOurs) };
    if !RunState::from_word(&state).is_some_and(RunState::may_send) {
        return Ok(Answer::RunStopped);
    }
    let (scope_a, scope_b) = scopes(c);
    let suppressed = tx
        .execute(
            "UPDATE delivery SET state = 'suppressed', reply = 'the address was suppressed before the message left', changed_at = $1 \
             WHERE bucket = $2 AND chunk_id = $3 AND seq = $4 AND state IN ('pending', 'deferred') \
               AND EXISTS (SELECT 1 FROM suppression s WHERE s.address_key = $5 AND s.scope IN ('all', $6, $7))",
            args![now, c.key.bucket, c.key.chunk_id, c.key.seq, &c.address_key, scope_a, scope_b],
        )
        .await?;
    if suppressed == 0 {
        return Ok(Answer::NotOurs);
    }
    reward::give_back(tx, &[c.key.bucket], c.key.chunk_id, Some(c.key.seq), now).await?;
    Ok(Answer::Suppressed)
}

/// After a COMMIT without an answer: what does the database say?
async fn read_back(db: &Db, commits: &[&Commit]) -> DbResult<HashMap<Key, Answer>> {
    let mut answers = HashMap::new();
    for c in commits {
        let row: Option<(String, Option<String>)> = db
            .fetch_optional(
                "SELECT state, commit_token FROM delivery WHERE bucket = $1 AND chunk_id = $2 AND seq = $3",
                args![c.key.bucket, c.key.chunk_id, c.key.seq],
            )
            .await?;
        let ours = row.is_some_and(|(state, token)| state == "committed" && token.as_deref() == Some(&c.token));
        answers.insert(c.key, if ours { Answer::Committed } else { Answer::NotOurs });
    }
    Ok(answers)
}
