//! Delivery: leased messages go out over SMTP, and what the servers said is recorded.
//!
//! Knows no campaign, plan or template source: a [`Compose`] turns a queued message into bytes. The conversation runs over lettre's
//! connection with stages driven by us, so that every reply has its meaning ([`replies`]) and the ledger's commit falls exactly between
//! the server's readiness and the first byte of content ([`worker`]).
//!
//! Read on: [`drain`], then [`worker`], then `queue::ledger`.

mod breaker;
pub mod conversation;
mod envelope;
mod feed;
mod handover;
mod lanes;
mod lock;
pub mod pacing;
mod refusal;
pub mod relays;
pub mod replies;
mod server;
mod signing;
mod tls;
mod wire;
mod worker;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use breaker::Breaker;
use envelope::Begun;
use futures_util::future::BoxFuture;
use handover::Sent;
use lanes::{Lanes, Signals};
use relays::{Outlet, Outlets};
use tokio::sync::watch;

pub use conversation::Conversation;
pub use lock::DeliveryLock;
pub use relays::Relay;
pub use replies::Stage;
pub use server::{OpenError, Patience, Server};
pub use tls::Distrust;

use crate::clock::{self, Millis};
use crate::db::{Db, DbError, DbResult};
use crate::dkim::Signer;
pub use crate::queue::answers::Limits;
use crate::queue::lease::{Lease, Queued};
use crate::queue::ledger::{Ledger, Stopped};
use crate::queue::{rescue, wave};
use crate::suppression::Kind;
use signing::Signing;

/// How long a server may still answer to what is not committed yet once the work is to end; after that its connection is dropped.
const STOP_GRACE: Duration = Duration::from_secs(2);
/// Where mail is signed, the ledger waits a moment for a request of each so many connections.
const CONNECTIONS_A_REQUEST: usize = 6;
/// How often the feed looks for what is due while nothing else wakes it, and its pause while the database is busy.
const FOREIGN_LEASE_POLL: Duration = Duration::from_millis(500);

/// A mail ready for the wire.
#[derive(Debug, Clone)]
pub struct Mail {
    /// RFC 5321 reverse-path; where bounces go.
    pub envelope_from: String,
    pub envelope_to: String,
    /// ASCII, CRLF line ends, no bare dot handling needed: the conversation stuffs dots.
    pub bytes: Vec<u8>,
}

/// Turns queued messages of one run into mail. The same message and `date_at` always give the same bytes.
pub trait Compose: Send + Sync {
    /// The mail, or why it cannot be composed.
    fn compose(&self, message: &Queued, date_at: Millis) -> Result<Mail, String>;
    /// Whether the run is promotional or service mail.
    fn kind(&self) -> Kind;
    /// After this instant a message of the run is not worth sending.
    fn expires_at(&self) -> Millis;
    /// Above which shares of refusals the run is held.
    fn limits(&self) -> Limits;
}

/// Opens the composer of a run, once per run and process.
pub type OpenComposer = Arc<dyn Fn(String) -> BoxFuture<'static, Result<Arc<dyn Compose>, String>> + Send + Sync>;

/// Looks again at a claimed chunk: messages that lost their ground are suppressed in the ledger; how many.
pub type Recheck = Arc<dyn Fn(Arc<Lease>) -> BoxFuture<'static, DbResult<u64>> + Send + Sync>;

/// Told the totals so far.
pub type Progress = Arc<dyn Fn(&Totals) + Send + Sync>;

/// What to drain and how.
pub struct Options {
    /// One run, or every run that may send.
    pub run_id: Option<String>,
    /// Where mail goes; at least one.
    pub relays: Vec<Relay>,
    pub open_composer: OpenComposer,
    /// Looks again at a claimed chunk before anything of it leaves.
    pub recheck: Option<Recheck>,
    /// Signs every mail with DKIM; without it mail leaves unsigned.
    pub signer: Option<Arc<Signer>>,
    /// Turns true when the process is asked to stop.
    pub stop: watch::Receiver<bool>,
    /// When to stop by itself.
    pub until: Option<tokio::time::Instant>,
    /// Called now and then with the totals so far.
    pub progress: Option<Progress>,
}

/// What one drain did.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Totals {
    pub accepted: u64,
    pub deferred: u64,
    pub failed: u64,
    pub unknown: u64,
    pub suppressed: u64,
    pub expired: u64,
    /// Messages that an earlier, dead worker left in doubt and this invocation named.
    pub rescued_unknown: u64,
}

/// Why a drain ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// Nothing is due and nobody else holds a lease.
    Idle,
    /// Asked to stop; what was not in flight is back in the queue.
    Asked,
    /// The time it was given is over; likewise.
    TimeUp,
    /// The server refused our login or our mail as such, or too much was refused: the run is paused.
    Paused(String),
    /// No mail server could be reached.
    ServerUnavailable(String),
    /// The mail server asks for less before it has heard anything; nothing was tried.
    ServerBusy(String),
    /// The database stayed unreachable.
    DatabaseUnavailable(String),
    /// A run's mail could not be composed; its run is paused.
    CannotCompose(String),
}

/// Counters shared by the connections.
#[derive(Debug, Default)]
struct Counters {
    accepted: AtomicU64,
    deferred: AtomicU64,
    failed: AtomicU64,
    unknown: AtomicU64,
    suppressed: AtomicU64,
    expired: AtomicU64,
}

impl Counters {
    fn totals(&self, rescued_unknown: u64) -> Totals {
        let get = |n: &AtomicU64| n.load(Ordering::Relaxed);
        Totals {
            accepted: get(&self.accepted),
            deferred: get(&self.deferred),
            failed: get(&self.failed),
            unknown: get(&self.unknown),
            suppressed: get(&self.suppressed),
            expired: get(&self.expired),
            rescued_unknown,
        }
    }
}

/// What the connections of one drain share.
struct Shared {
    db: Db,
    ledger: Ledger,
    outlets: Outlets,
    signing: Option<Signing>,
    counters: Counters,
    signals: Arc<Signals>,
    stop: watch::Receiver<bool>,
    breaker: Breaker,
    /// Why a run was paused while others go on; the first reason.
    paused: OnceLock<String>,
    /// Set once, by whoever finds that the drain cannot go on.
    ended: watch::Sender<Option<Ended>>,
}

impl Shared {
    fn end(&self, why: Ended) {
        self.ended.send_if_modified(|e| {
            let first = e.is_none();
            if first {
                *e = Some(why.clone());
            }
            first
        });
        self.outlets.end();
    }

    fn stopping(&self) -> bool {
        *self.stop.borrow() || self.ended.borrow().is_some()
    }

    /// What comes of talking with a server while nothing is at stake; `None` when the work is to end and the server stays silent.
    async fn unless_over<T>(&self, talk: impl Future<Output = T>) -> Option<T> {
        let (mut stop, mut ended) = (self.stop.clone(), self.ended.subscribe());
        let over = async {
            // A channel whose other end is gone says nothing any more.
            tokio::select! {
                true = async { stop.wait_for(|stop| *stop).await.is_ok() } => {}
                true = async { ended.wait_for(Option::is_some).await.is_ok() } => {}
                else => std::future::pending().await,
            }
            tokio::time::sleep(STOP_GRACE).await;
        };
        tokio::select! {
            biased;
            said = talk => Some(said),
            () = over => None,
        }
    }

    /// A server answered that less is wanted in this lane, or, by the relay's name, at all: everybody goes slower there.
    async fn slow_down(&self, outlet: &Outlet, lane: &str, answer: &str) {
        let Some(seen) = outlet.lanes.complained(lane) else { return };
        match pacing::slow_down(&self.db, lane, seen, answer, clock::now()).await {
            Ok(_) => {
                let void = outlet.lanes.slow(lane);
                self.give_back(outlet, lane, void).await;
            }
            Err(e) if e.is_retryable() => {} // the next such answer says it again
            Err(e) => self.end(Ended::DatabaseUnavailable(e.to_string())),
        }
    }

    /// Messages that a warm-up counted and that did not leave. When it fails they stay counted, which is only slower.
    async fn give_back(&self, outlet: &Outlet, lane: &str, messages: u32) {
        if messages > 0 && !outlet.relay.pacing.warm_up.is_empty() {
            let _ = pacing::give_back(&self.db, lane, messages).await;
        }
    }

    fn database_gone(&self, e: &Stopped) {
        self.end(Ended::DatabaseUnavailable(e.to_string()));
    }
}

/// Send everything that is due until nothing is, or until something stops us.
pub async fn drain(db: &Db, options: Options) -> Result<(Totals, Ended), DbError> {
    db.sending_begins().await?;
    let signals: Arc<Signals> = Arc::default();
    let rescued = rescue::rescue(db, clock::now()).await?;
    let outlets = outlets(db, options.relays, &signals).await?;
    let (ended, ended_seen) = watch::channel(None);
    // Signed mails come one by one, as slowly as they are signed.
    let connections: u32 = outlets.list.iter().map(|o| o.relay.connections).sum();
    let at_once = if options.signer.is_some() { connections as usize / CONNECTIONS_A_REQUEST } else { 1 };
    let shared = Arc::new(Shared {
        db: db.clone(),
        ledger: Ledger::start(db.clone(), at_once),
        outlets,
        signing: options.signer.map(Signing::new),
        counters: Counters::default(),
        signals,
        stop: options.stop,
        breaker: Breaker::default(),
        paused: OnceLock::new(),
        ended,
    });
    let mut rescued_unknown = rescued.unknown;
    let feed = feed::start(shared.clone(), options.run_id, options.open_composer, options.recheck);
    let recovery = tokio::spawn(relays::recover(shared.clone()));
    let of_all = shared.outlets.list.iter().flat_map(|o| std::iter::repeat_n(o, o.relay.connections as usize));
    let connections: Vec<_> = of_all.map(|o| tokio::spawn(worker::work(shared.clone(), o.clone()))).collect();
    let timer = options.until.map(|until| {
        let shared = shared.clone();
        tokio::spawn(async move {
            tokio::time::sleep_until(until).await;
            shared.end(Ended::TimeUp);
        })
    });
    let reporter = options.progress.map(|progress| {
        let shared = shared.clone();
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_millis(200)).await;
                progress(&shared.counters.totals(0));
            }
        })
    });
    for connection in connections {
        if let Err(e) = connection.await
            && e.is_panic()
        {
            std::panic::resume_unwind(e.into_panic());
        }
    }
    rescued_unknown += feed.finish().await?;
    for task in [timer, reporter, Some(recovery)].into_iter().flatten() {
        task.abort();
    }
    let ended = ended_seen.borrow().clone();
    let came_to_its_end = matches!(ended, None | Some(Ended::TimeUp));
    if came_to_its_end {
        shared.judge_the_end().await?; // while its runs are not called drained
    }
    crate::queue::run::drain_finished(db, clock::now()).await?;
    wave::look(db, None, clock::now()).await?; // so that what is due next is known
    let paused = shared.paused.get().filter(|_| came_to_its_end).cloned().map(Ended::Paused);
    let ended = paused.or(ended).unwrap_or(if *shared.stop.borrow() { Ended::Asked } else { Ended::Idle });
    Ok((shared.counters.totals(rescued_unknown), ended))
}

/// The relays as they are found: which lanes are slowed, and who takes no mail.
async fn outlets(db: &Db, relays: Vec<Relay>, signals: &Arc<Signals>) -> Result<Outlets, DbError> {
    let slowed = pacing::slowed(db, clock::now()).await?;
    let kept = relays::outages(db).await?;
    let outlet = |relay: Relay| {
        let lanes = Lanes::new(&relay.name, slowed.iter().cloned(), signals.clone());
        Outlet::new(relay, lanes)
    };
    Ok(Outlets::new(relays.into_iter().map(outlet).collect(), &kept, clock::now()))
}

/// Send one mail outside the ledger: a test copy to its author. The server's answer.
pub async fn send_copy(server: &Server, mail: &Mail) -> Result<replies::Reply, String> {
    let told = |stage: replies::Stage, reply: replies::Reply| format!("refused at {}: {}", stage.word(), reply.line());
    let mut conversation = Conversation::open(server).await.map_err(|e| match e {
        OpenError::Unreachable(why) => why,
        OpenError::Distrusted(distrust) => distrust.to_string(),
        OpenError::Refused(stage, reply) => told(stage, reply),
    })?;
    let envelope = conversation.envelope(mail, "test").map_err(|(stage, reply)| told(stage, reply))?;
    match conversation.begin(&envelope).await {
        Begun::Ready => {}
        Begun::Refused(stage, reply) => return Err(told(stage, reply)),
        Begun::Broken(_, why) => return Err(why),
    }
    let reply = match conversation.content(mail, None, None).await {
        Sent::Answered(Stage::Content, reply) if reply.takes_a_message() => reply,
        Sent::Answered(stage, reply) => return Err(told(stage, reply)),
        Sent::NotUnderstood(reply) => return Err(told(Stage::Content, reply)),
        Sent::NotWritten(why) | Sent::Unanswered(why) => return Err(why),
    };
    conversation.quit().await;
    Ok(reply)
}
