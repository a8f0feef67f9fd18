//! The feed: claims chunks, puts their messages into the lanes of the relay that takes them, renews the leases meanwhile, and gives every chunk back when the last
//! of its messages is settled or dropped. No chunk is claimed of a lane that has enough, or that must wait.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::pacing::Reserved;
use super::relays::Outlet;
use super::{Compose, Ended, FOREIGN_LEASE_POLL, OpenComposer, Recheck, Shared, pacing};
use crate::args;
use crate::clock::{self, Millis};
use crate::db::{DbError, DbResult, Value};
use crate::queue::lease::{self, Lease, Queued, parts};
use crate::queue::run::Move;
use crate::queue::{LEASE_RENEWAL, rescue, run, wave};

/// How often the feed looks whether others still hold chunks.
const FOREIGN_LEASE_LOOK: Duration = Duration::from_millis(100);
/// How often the pacer looks which lanes others have slowed.
const SLOWED_LOOK: Duration = Duration::from_secs(5);
/// The pause of the pacer while the database is busy.
const PACER_PAUSE: Duration = Duration::from_millis(200);
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

/// The running feed.
pub(super) struct Feed {
    feeder: JoinHandle<DbResult<u64>>,
    releaser: JoinHandle<()>,
    renewer: JoinHandle<()>,
    pacer: JoinHandle<()>,
    shared: Arc<Shared>,
}

type HeldChunks = Arc<Mutex<Vec<Weak<HeldChunk>>>>;

/// Start feeding.
pub(super) fn start(
    shared: Arc<Shared>,
    run_id: Option<String>,
    open_composer: OpenComposer,
    recheck: Option<Recheck>,
) -> Feed {
    let (back, returned) = mpsc::unbounded_channel();
    let held: HeldChunks = Arc::default();
    let feeder = Feeder {
        shared: shared.clone(),
        run_id,
        open_composer,
        recheck,
        composers: HashMap::new(),
        back,
        held: held.clone(),
        homes: shared.outlets.list.iter().map(|o| o.relay.name.clone()).collect(),
        rescued: 0,
        looked_again: false,
    };
    Feed {
        feeder: tokio::spawn(feeder.run()),
        releaser: tokio::spawn(release_returned(shared.clone(), returned)),
        renewer: tokio::spawn(renew_held(shared.clone(), held)),
        pacer: tokio::spawn(pace(shared.clone())),
        shared,
    }
}

impl Feed {
    /// Wait until every chunk is given back; how many messages of dead workers were named `unknown` meanwhile.
    pub async fn finish(self) -> DbResult<u64> {
        let rescued = self.feeder.await.expect("the feeder does not panic");
        self.renewer.abort();
        self.pacer.abort();
        for outlet in &self.shared.outlets.list {
            let unused = outlet.lanes.clear(); // and with it the chunks they kept
            for (lane, messages) in unused {
                self.shared.give_back(outlet, &lane, messages).await;
            }
        }
        self.releaser.await.expect("the releaser does not panic");
        rescued
    }
}

struct Feeder {
    shared: Arc<Shared>,
    run_id: Option<String>,
    open_composer: OpenComposer,
    recheck: Option<Recheck>,
    composers: HashMap<String, Arc<dyn Compose>>,
    back: mpsc::UnboundedSender<Arc<Lease>>,
    held: HeldChunks,
    /// Relays that chunks were planned for; some may stand in no settings any more.
    homes: BTreeSet<String>,
    rescued: u64,
    /// Nothing was leased, and another claim was made since.
    looked_again: bool,
}

impl Feeder {
    async fn run(mut self) -> DbResult<u64> {
        let fed = self.feed().await;
        self.shared.outlets.end();
        fed.map(|()| self.rescued)
    }

    async fn feed(&mut self) -> DbResult<()> {
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
        Ok(())
    }

    /// Feed one chunk, or wait for what may come; false when nothing can come any more.
    async fn feed_one(&mut self) -> Result<bool, DbError> {
        let db = self.shared.db.clone();
        let claimed_at = Instant::now();
        let full = self.full();
        let Some(mut lease) = lease::claim(&db, self.run_id.as_deref(), &full, clock::now()).await? else {
            return self.wait_for_more().await;
        };
        self.looked_again = false;
        self.homes.insert(lease.relay().to_owned());
        let outlet = match self.shared.route(&mut lease).await {
            Ok(Some(outlet)) => outlet,
            Ok(None) => return Ok(true),
            Err(e) => {
                let _ = self.back.send(Arc::new(lease)); // not kept until its lease runs out
                return Err(e);
            }
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
        if let Some(recheck) = &self.recheck {
            let suppressed = recheck(chunk.lease.clone()).await?;
            self.shared.counters.suppressed.fetch_add(suppressed, Ordering::Relaxed);
        }
        let works = lease::load(&db, &chunk.lease, clock::now())
            .await?
            .into_iter()
            .map(|queued| Work { queued, chunk: chunk.clone(), composer: composer.clone() })
            .collect();
        let lane = &chunk.lease.lane;
        outlet.lanes.add(lane, works, pacing::is_limited(&outlet.relay.pacing, lane));
        Ok(true)
    }

    /// The lanes, as chunks are planned for them, whose mail now goes where no more is wanted.
    fn full(&self) -> Vec<String> {
        let mut lanes = Vec::new();
        for home in &self.homes {
            let full = self.shared.outlets.towards(home).lanes.full();
            lanes.extend(full.iter().map(|lane| format!("{home}/{}", parts(lane).1)));
        }
        lanes
    }

    async fn composer(&mut self, run_id: &str) -> Result<Option<Arc<dyn Compose>>, DbError> {
        if let Some(composer) = self.composers.get(run_id) {
            return Ok(Some(composer.clone()));
        }
        match (self.open_composer)(run_id.to_owned()).await {
            Ok(composer) => {
                self.shared.breaker.begin(run_id, composer.limits());
                self.shared.judge_complaints(run_id).await?;
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
            // A lane has room again, a chunk came back, or what was not due is.
            let _ = tokio::time::timeout(FOREIGN_LEASE_POLL, self.shared.signals.room.notified()).await;
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
            if wave::look(&self.shared.db, self.run_id.as_deref(), clock::now()).await? {
                return Ok(true); // the rest of a run may leave
            }
            // The last one may have been given back, with something left in it, since the claim found nothing: claim once more. What is due in a
            // lane that may not send stays.
            return Ok(!std::mem::replace(&mut self.looked_again, true));
        }
        let _ = tokio::time::timeout(FOREIGN_LEASE_LOOK, self.shared.signals.room.notified()).await;
        self.rescued += rescue::rescue(&self.shared.db, clock::now()).await?.unknown;
        Ok(true)
    }
}

async fn release_returned(shared: Arc<Shared>, mut returned: mpsc::UnboundedReceiver<Arc<Lease>>) {
    while let Some(lease) = returned.recv().await {
        for _ in 0..RELEASE_TRIES_MAX {
            match lease::release(&shared.db, &lease, clock::now()).await {
                Ok(unknown) => {
                    shared.counters.unknown.fetch_add(unknown, Ordering::Relaxed);
                    break;
                }
                // Given back twice is given back once.
                Err(e) if e.is_retryable() || matches!(e, DbError::InDoubt(_)) => {
                    tokio::time::sleep(FOREIGN_LEASE_POLL).await
                }
                Err(e) => {
                    shared.end(Ended::DatabaseUnavailable(e.to_string()));
                    break;
                }
            }
        }
        shared.signals.room.notify_one();
    }
}

/// The pacer: reserves time for the lanes that are limited, and looks which others have slowed meanwhile.
async fn pace(shared: Arc<Shared>) {
    let mut looked = Instant::now();
    let outlets = &shared.outlets.list;
    loop {
        let paced = async {
            if looked.elapsed() >= SLOWED_LOOK {
                looked = Instant::now();
                let slowed = pacing::slowed(&shared.db, clock::now()).await?;
                outlets.iter().for_each(|o| o.lanes.slowed(slowed.iter().cloned()));
            }
            for outlet in outlets {
                reserve(&shared, outlet).await?;
            }
            Ok::<(), DbError>(())
        };
        match paced.await {
            Ok(()) => {
                let soonest = outlets.iter().filter_map(|o| o.lanes.wanting_in()).min();
                let wait = soonest.unwrap_or(SLOWED_LOOK).min(SLOWED_LOOK);
                let _ = tokio::time::timeout(wait, shared.signals.wanting.notified()).await;
            }
            Err(e) if e.is_retryable() => tokio::time::sleep(PACER_PAUSE).await,
            Err(e) => return shared.end(Ended::DatabaseUnavailable(e.to_string())),
        }
    }
}

async fn reserve(shared: &Shared, outlet: &Outlet) -> DbResult<()> {
    for (lane, messages) in outlet.lanes.wanting() {
        let now = clock::now();
        match pacing::reserve(&shared.db, &outlet.relay.pacing, &lane, messages, now).await? {
            Reserved::Granted(grant) => outlet.lanes.grant(&lane, grant, now),
            Reserved::Later(at) => outlet.lanes.wait(&lane, at - now),
            Reserved::Free => outlet.lanes.free(&lane),
        }
    }
    Ok(())
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
        leave_stopped_runs(&shared, &chunks).await;
    }
}

/// Leave the rest of chunks alone whose run was held or cancelled, by another hand or because of complaints. Commits look for themselves; this is for messages that
/// are refused before they come so far.
async fn leave_stopped_runs(shared: &Shared, chunks: &[Arc<HeldChunk>]) {
    let mut may_send: HashMap<&str, bool> = HashMap::new();
    for chunk in chunks {
        let run_id = chunk.lease.run_id.as_str();
        if !may_send.contains_key(run_id) {
            // What fails here is tried again at the next turn.
            if shared.judge_complaints(run_id).await.is_err() {
                return;
            }
            let Ok(run) = run::get(&shared.db, run_id).await else { return };
            may_send.insert(run_id, run.is_some_and(|r| r.state().may_send()));
        }
        if !may_send[run_id] {
            chunk.lose();
        }
    }
}
