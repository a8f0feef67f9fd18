//! The feed: claims chunks, hands their messages to the connections, renews the leases meanwhile, and gives every chunk back when the last
//! of its messages is settled or dropped.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use tokio::sync::{Mutex as AsyncMutex, mpsc};
use tokio::task::JoinHandle;

use super::{Compose, Ended, FOREIGN_LEASE_POLL, OpenComposer, Shared};
use crate::args;
use crate::clock::{self, Millis};
use crate::db::{Db, DbError, DbResult, Value};
use crate::queue::lease::{self, Lease, Queued};
use crate::queue::run::Move;
use crate::queue::{LEASE_RENEWAL, rescue, run, status};

/// Messages that wait between the feed and the connections; more would only age.
const READY_MAX: usize = 64;
/// How long the feed waits for its own chunks to come back before it looks again.
const OWN_CHUNK_POLL: Duration = Duration::from_millis(20);
/// Tries to give a chunk back while the database is busy; after that its lease runs out by itself.
const RELEASE_TRIES_MAX: u32 = 5;

/// A message to be sent, and the chunk it keeps leased.
pub(super) struct Work {
    pub queued: Queued,
    pub chunk: Arc<HeldChunk>,
    pub composer: Arc<dyn Compose>,
}

impl Work {
    /// After this instant it is not worth sending.
    pub fn expires_at(&self) -> Millis {
        self.queued.expires_at.unwrap_or_else(|| self.composer.expires_at())
    }
}

/// A leased chunk; given back when the last work of it is dropped.
pub(super) struct HeldChunk {
    pub lease: Arc<Lease>,
    /// Taken before the claim was made.
    pub claimed_at: Instant,
    lost: AtomicBool,
    back: mpsc::UnboundedSender<Arc<Lease>>,
}

impl HeldChunk {
    /// Whether the rest of the chunk is to be left alone.
    pub fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Relaxed)
    }

    /// Leave the rest of the chunk alone.
    pub fn lose(&self) {
        self.lost.store(true, Ordering::Relaxed);
    }
}

impl Drop for HeldChunk {
    fn drop(&mut self) {
        // When nobody listens any more the process is ending and the lease will run out.
        let _ = self.back.send(self.lease.clone());
    }
}

/// The connections' end of the feed.
#[derive(Clone)]
pub(super) struct Takers(Arc<AsyncMutex<mpsc::Receiver<Work>>>);

impl Takers {
    /// The next message; `None` when the feed has ended.
    pub async fn next(&self) -> Option<Work> {
        self.0.lock().await.recv().await
    }

    /// The next message if one is waiting.
    pub fn try_next(&self) -> Option<Work> {
        self.0.try_lock().ok()?.try_recv().ok()
    }
}

/// The running feed.
pub(super) struct Feed {
    feeder: JoinHandle<DbResult<u64>>,
    releaser: JoinHandle<()>,
    renewer: JoinHandle<()>,
}

type HeldChunks = Arc<Mutex<Vec<Weak<HeldChunk>>>>;

/// Start feeding.
pub(super) fn start(shared: Arc<Shared>, run_id: Option<String>, open_composer: OpenComposer) -> (Feed, Takers) {
    let (ready, taken) = mpsc::channel(READY_MAX);
    let (back, returned) = mpsc::unbounded_channel();
    let held: HeldChunks = Arc::default();
    let feeder = Feeder {
        shared: shared.clone(),
        run_id,
        open_composer,
        composers: HashMap::new(),
        ready,
        back,
        held: held.clone(),
        rescued: 0,
    };
    let feed = Feed {
        feeder: tokio::spawn(feeder.run()),
        releaser: tokio::spawn(release_returned(shared.clone(), returned)),
        renewer: tokio::spawn(renew_held(shared, held)),
    };
    (feed, Takers(Arc::new(AsyncMutex::new(taken))))
}

impl Feed {
    /// Wait until every chunk is given back; how many messages of dead workers were named `unknown` meanwhile.
    pub async fn finish(self) -> DbResult<u64> {
        let rescued = self.feeder.await.expect("the feeder does not panic");
        self.renewer.abort();
        self.releaser.await.expect("the releaser does not panic");
        rescued
    }
}

struct Feeder {
    shared: Arc<Shared>,
    run_id: Option<String>,
    open_composer: OpenComposer,
    composers: HashMap<String, Arc<dyn Compose>>,
    ready: mpsc::Sender<Work>,
    back: mpsc::UnboundedSender<Arc<Lease>>,
    held: HeldChunks,
    rescued: u64,
}

impl Feeder {
    async fn run(mut self) -> DbResult<u64> {
        // No step is cancelled halfway: a claim that was dropped after the database took it would hold its chunk for a whole lease. The
        // connections end first, and with them whatever this loop waits for.
        while !self.shared.stopping() {
            match self.feed_one().await {
                Ok(true) => {}
                Ok(false) => break,
                Err(e) if e.is_retryable() => tokio::time::sleep(FOREIGN_LEASE_POLL).await,
                Err(e) => {
                    self.shared.end(Ended::DatabaseUnavailable(e.to_string()));
                    return Err(e);
                }
            }
        }
        Ok(self.rescued)
    }

    /// Feed one chunk, or wait for what may come; false when nothing can come any more.
    async fn feed_one(&mut self) -> Result<bool, DbError> {
        let db = self.shared.db.clone();
        let claimed_at = Instant::now();
        let Some(lease) = lease::claim(&db, self.run_id.as_deref(), clock::now()).await? else {
            return self.wait_for_more().await;
        };
        let chunk = Arc::new(HeldChunk {
            lease: Arc::new(lease),
            claimed_at,
            lost: AtomicBool::new(false),
            back: self.back.clone(),
        });
        {
            let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
            held.retain(|c| c.strong_count() > 0);
            held.push(Arc::downgrade(&chunk));
        }
        let Some(composer) = self.composer(&chunk.lease.run_id).await? else { return Ok(false) };
        for queued in lease::load(&db, &chunk.lease, clock::now()).await? {
            let work = Work { queued, chunk: chunk.clone(), composer: composer.clone() };
            if self.ready.send(work).await.is_err() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn composer(&mut self, run_id: &str) -> Result<Option<Arc<dyn Compose>>, DbError> {
        if let Some(composer) = self.composers.get(run_id) {
            return Ok(Some(composer.clone()));
        }
        match (self.open_composer)(run_id.to_owned()).await {
            Ok(composer) => {
                self.composers.insert(run_id.to_owned(), composer.clone());
                Ok(Some(composer))
            }
            Err(why) => {
                run::advance(&self.shared.db, run_id, Move::Pause, Some(&why), clock::now()).await?;
                self.shared.end(Ended::CannotCompose(why));
                Ok(None)
            }
        }
    }

    async fn wait_for_more(&mut self) -> Result<bool, DbError> {
        let ours = self.held.lock().unwrap_or_else(PoisonError::into_inner).iter().any(|c| c.strong_count() > 0);
        if ours {
            tokio::time::sleep(OWN_CHUNK_POLL).await;
            return Ok(true);
        }
        // A chunk just returned may not be released yet, and others may hold some: stay until no lease is left.
        let mut args = args![];
        let only = self.run_id.as_deref().map(|id| {
            args.push(Value::from(id));
            "AND run_id = $1"
        });
        let sql = format!("SELECT COUNT(*) FROM chunk WHERE state = 'leased' {}", only.unwrap_or_default());
        let (leased,): (i64,) = self.shared.db.fetch_one(&sql, args).await?;
        if leased == 0 {
            // The last one may have been given back, with something left in it, since the claim found nothing.
            let due_at = status::next_due(&self.shared.db, self.run_id.as_deref()).await?;
            return Ok(due_at.is_some_and(|due_at| due_at <= clock::now()));
        }
        tokio::time::sleep(FOREIGN_LEASE_POLL.min(OWN_CHUNK_POLL * 5)).await;
        self.rescued += rescue::rescue(&self.shared.db, clock::now()).await?.unknown;
        Ok(true)
    }
}

async fn release_returned(shared: Arc<Shared>, mut returned: mpsc::UnboundedReceiver<Arc<Lease>>) {
    while let Some(lease) = returned.recv().await {
        for _ in 0..RELEASE_TRIES_MAX {
            match lease::release(&shared.db, &lease, clock::now()).await {
                Ok(()) => break,
                Err(e) if e.is_retryable() => tokio::time::sleep(FOREIGN_LEASE_POLL).await,
                Err(e) => {
                    shared.end(Ended::DatabaseUnavailable(e.to_string()));
                    break;
                }
            }
        }
    }
}

async fn renew_held(shared: Arc<Shared>, held: HeldChunks) {
    let every = Duration::from_millis(LEASE_RENEWAL as u64);
    loop {
        tokio::time::sleep(every).await;
        let chunks: Vec<Arc<HeldChunk>> =
            held.lock().unwrap_or_else(PoisonError::into_inner).iter().filter_map(Weak::upgrade).collect();
        let leases: Vec<&Lease> = chunks.iter().map(|c| &*c.lease).collect();
        // A renewal that fails is tried at the next turn; until then commits check the lease themselves.
        if let Ok(lost) = lease::renew(&shared.db, &leases, clock::now()).await {
            for chunk in &chunks {
                if lost.iter().any(|l| l.token == chunk.lease.token) {
                    chunk.lose();
                }
            }
        }
        leave_stopped_runs(&shared.db, &chunks).await;
    }
}

/// Leave the rest of chunks alone whose run was held or cancelled by another hand. Commits look for themselves; this is for messages that
/// are refused before they come so far.
async fn leave_stopped_runs(db: &Db, chunks: &[Arc<HeldChunk>]) {
    let mut may_send: HashMap<&str, bool> = HashMap::new();
    for chunk in chunks {
        let run_id = chunk.lease.run_id.as_str();
        if !may_send.contains_key(run_id) {
            let Ok(run) = run::get(db, run_id).await else { return };
            may_send.insert(run_id, run.is_some_and(|r| r.state().may_send()));
        }
        if !may_send[run_id] {
            chunk.lose();
        }
    }
}
