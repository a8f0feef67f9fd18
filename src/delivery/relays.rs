//! The relays that a process sends through: which of them takes mail now, and where a lane's mail goes while its own relay does not.
//!
//! A chunk is claimed in the lane it was planned for. While that lane's relay takes nothing, the chunk moves to the same family's lane of another
//! relay, in the ledger too ([`lease::move_to`]), before any of its messages begins. So a message belongs to one relay at any instant, and what
//! another relay gets is what the ledger knows to be unsent: pending or deferred. A message whose content one relay may have taken is `unknown`,
//! and goes nowhere.
//!
//! Owns the table `relay_outage`: a relay that took no mail, why, and when it is tried again; the next process begins with that. Each process finds
//! for itself whether it can reach a relay, since that may depend on the machine.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::conversation::Conversation;
use super::lanes::Lanes;
use super::replies::{self, Reply, Stage};
use super::server::{OpenError, Server};
use super::{Ended, Shared};
use crate::args;
use crate::clock::{self, MINUTE, Millis};
use crate::db::{Db, DbResult};
use crate::queue::lease::{self, Lease, parts};
use crate::settings::Pacing;

/// Pauses before a relay is tried again; the last repeats.
const AGAIN_AFTER: [Millis; 4] = [MINUTE, 2 * MINUTE, 5 * MINUTE, 15 * MINUTE];
/// Attempts to reach a relay before its mail goes elsewhere.
const CONNECT_FAILURES_MAX: u64 = 5;
/// The longest reason kept, in characters.
const REASON_CHARS_MAX: usize = 300;

/// A relay to send through.
#[derive(Clone)]
pub struct Relay {
    /// Part of every lane's name.
    pub name: String,
    pub server: Arc<Server>,
    /// Of those that take mail, the one with the largest weight stands in for others.
    pub weight: u32,
    pub connections: u32,
    /// How fast mail may leave.
    pub pacing: Pacing,
}

/// Why a relay takes no mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    /// No connection, or no sensible conversation.
    Unreachable,
    /// A certificate that is not accepted: trying again at once does not help.
    Distrusted,
    /// It asks for less before it has heard anything.
    Busy,
    /// It refuses our login.
    Login,
}

/// A relay at work in this process.
pub(super) struct Outlet {
    pub relay: Relay,
    /// Its messages that wait for a connection.
    pub lanes: Lanes,
    /// Attempts to connect that failed since the last that did not.
    pub connect_failures: AtomicU64,
    /// Connections that are being opened.
    opening: AtomicUsize,
    /// Outages since it last worked, as the database knows them; 0: none is kept there.
    outages: AtomicU32,
    /// It was silent about an envelope behind a content.
    kept_apart: AtomicBool,
    /// It announced BDAT and did not know it.
    unchunked: AtomicBool,
}

/// All of them.
pub(super) struct Outlets {
    pub list: Vec<Arc<Outlet>>,
    /// By place in `list`: why it takes no mail, and when it is tried again.
    out: Mutex<Vec<Option<Out>>>,
    /// One more takes no mail.
    fewer: Notify,
}

#[derive(Debug, Clone)]
struct Out {
    cause: Cause,
    why: String,
    until: Instant,
}

/// What a failure means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failed {
    /// Another connection was told the same before.
    Known,
    /// Others take its mail from now on; so many outages since it last worked, and so long until it is tried again.
    Moved(u32, Millis),
    /// Nobody is left: for these reasons.
    NobodyLeft(Cause, String),
}

/// A relay that takes no mail, as the database has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, sqlx::FromRow)]
pub struct Outage {
    pub relay: String,
    pub since_at: Millis,
    /// When it is tried again.
    pub again_at: Millis,
    #[serde(skip)]
    outages: i64,
    pub reason: String,
}

impl Out {
    fn new(cause: Cause, why: &str, pause: Millis) -> Out {
        Out { cause, why: why.to_owned(), until: Instant::now() + Duration::from_millis(pause.unsigned_abs()) }
    }
}

impl Outlet {
    /// A relay to which nothing has happened yet.
    pub fn new(relay: Relay, lanes: Lanes) -> Outlet {
        Outlet {
            relay,
            lanes,
            connect_failures: AtomicU64::new(0),
            opening: AtomicUsize::new(0),
            outages: AtomicU32::new(0),
            kept_apart: AtomicBool::new(false),
            unchunked: AtomicBool::new(false),
        }
    }

    /// Give no envelope behind a content any more: some servers announce PIPELINING and forget what stands there.
    pub fn keep_apart(&self) {
        self.kept_apart.store(true, Ordering::Relaxed);
    }

    /// Whether contents and envelopes are kept apart.
    pub fn is_kept_apart(&self) -> bool {
        self.kept_apart.load(Ordering::Relaxed)
    }

    /// Say DATA to it from now on: something between us and the server passes on what that offers, and does not know it.
    pub fn avoid_chunks(&self) {
        self.unchunked.store(true, Ordering::Relaxed);
    }

    /// Whether a conversation goes on by BDAT though that is not known there.
    pub fn is_misled(&self, conversation: &Conversation) -> bool {
        conversation.is_chunked() && self.unchunked.load(Ordering::Relaxed)
    }

    /// Open a conversation.
    pub async fn connect(&self) -> Result<Conversation, OpenError> {
        self.opening.fetch_add(1, Ordering::Relaxed);
        let opened = Conversation::open(&self.relay.server).await;
        self.opening.fetch_sub(1, Ordering::Relaxed);
        opened.map(|conversation| match self.is_misled(&conversation) {
            true => conversation.without_chunks(),
            false => conversation,
        })
    }

    /// Whether other connections talk with it, or are about to.
    pub fn others_talk(&self) -> bool {
        self.relay.server.open_conversations() + self.opening.load(Ordering::Relaxed) > 0
    }

    fn one_more_outage(&self) -> (u32, Millis) {
        let outages = self.outages.fetch_add(1, Ordering::Relaxed) + 1;
        (outages, AGAIN_AFTER[(outages as usize).min(AGAIN_AFTER.len()) - 1])
    }

    /// Note one more failure to connect; whether those in a row are enough to send mail elsewhere.
    pub fn cannot_connect(&self) -> (u64, bool) {
        let failures = self.connect_failures.fetch_add(1, Ordering::Relaxed) + 1;
        (failures, failures >= CONNECT_FAILURES_MAX)
    }
}

impl Outlets {
    /// Those that were out of use when an earlier process ended are so until they are to be tried again, unless nobody else is there.
    pub fn new(list: Vec<Outlet>, kept: &[Outage], now: Millis) -> Outlets {
        let list: Vec<Arc<Outlet>> = list.into_iter().map(Arc::new).collect();
        let mut out = vec![None; list.len()];
        for (outlet, out) in list.iter().zip(&mut out) {
            let Some(outage) = kept.iter().find(|o| o.relay == outlet.relay.name) else { continue };
            outlet.outages.store(u32::try_from(outage.outages).unwrap_or(1).max(1), Ordering::Relaxed);
            // A clock that was ahead keeps no relay out for longer than the longest pause.
            let wait = (outage.again_at - now).min(AGAIN_AFTER[AGAIN_AFTER.len() - 1]);
            if wait > 0 {
                *out = Some(Out::new(Cause::Unreachable, &outage.reason, wait));
            }
        }
        if out.iter().all(Option::is_some) {
            out.fill(None);
        }
        for (outlet, _) in list.iter().zip(&out).filter(|(_, out)| out.is_some()) {
            outlet.lanes.close();
        }
        Outlets { list, out: Mutex::new(out), fewer: Notify::new() }
    }

    fn out(&self) -> MutexGuard<'_, Vec<Option<Out>>> {
        self.out.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn place(&self, name: &str) -> Option<usize> {
        self.list.iter().position(|o| o.relay.name == name)
    }

    /// Whether it takes no mail now.
    pub fn is_out(&self, outlet: &Outlet) -> bool {
        self.place(&outlet.relay.name).is_some_and(|i| self.out()[i].is_some())
    }

    /// Where mail planned for a relay goes now: there, or to the one with the largest weight that takes mail.
    pub fn towards(&self, relay: &str) -> &Arc<Outlet> {
        let out = self.out();
        let works = |i: &usize| out[*i].is_none();
        let own = self.place(relay).filter(works);
        let largest = |i: &usize| (self.list[*i].relay.weight, std::cmp::Reverse(*i));
        // When nobody takes mail the work is about to end, and it does not matter where.
        let i = own.or_else(|| (0..self.list.len()).filter(works).max_by_key(largest)).unwrap_or(0);
        &self.list[i]
    }

    /// It takes no mail: until it is tried again its mail goes to the others.
    fn take_out(&self, outlet: &Outlet, cause: Cause, why: &str) -> Failed {
        let mut out = self.out();
        let Some(i) = self.place(&outlet.relay.name).filter(|i| out[*i].is_none()) else { return Failed::Known };
        let (outages, pause) = outlet.one_more_outage();
        out[i] = Some(Out::new(cause, why, pause));
        let all: Option<Vec<&Out>> = out.iter().map(Option::as_ref).collect();
        let Some(all) = all else {
            self.fewer.notify_one();
            return Failed::Moved(outages, pause);
        };
        let cause = match () {
            () if all.iter().all(|o| o.cause == Cause::Login) => Cause::Login,
            () if all.iter().any(|o| o.cause == Cause::Busy) => Cause::Busy,
            () => Cause::Unreachable,
        };
        let reasons: Vec<&str> = all.iter().map(|o| o.why.as_str()).collect();
        Failed::NobodyLeft(cause, reasons.join("; "))
    }

    /// It was tried again, in vain.
    fn postpone(&self, outlet: &Outlet, cause: Cause, why: &str, pause: Millis) {
        if let Some(i) = self.place(&outlet.relay.name) {
            self.out()[i] = Some(Out::new(cause, why, pause));
        }
    }

    /// It takes mail again.
    fn take_in(&self, outlet: &Outlet) {
        if let Some(i) = self.place(&outlet.relay.name) {
            self.out()[i] = None;
        }
        outlet.connect_failures.store(0, Ordering::Relaxed);
        outlet.lanes.open();
    }

    /// It answered; whether something is kept of outages that are over. While it takes no mail an answer says nothing: it may let everybody in
    /// and refuse what they bring.
    fn answered(&self, outlet: &Outlet) -> bool {
        let out = self.out();
        let is_out = self.place(&outlet.relay.name).is_some_and(|i| out[i].is_some());
        !is_out && outlet.outages.swap(0, Ordering::Relaxed) > 0
    }

    /// The one to be tried again next, and when.
    fn next_try(&self) -> Option<(Arc<Outlet>, Instant)> {
        let out = self.out();
        let waiting = out.iter().zip(&self.list).filter_map(|(o, outlet)| Some((outlet, o.as_ref()?.until)));
        waiting.min_by_key(|(_, until)| *until).map(|(outlet, until)| (outlet.clone(), until))
    }

    /// Nothing will come any more, anywhere.
    pub fn end(&self) {
        for outlet in &self.list {
            outlet.lanes.end();
        }
    }
}

impl Shared {
    /// A relay takes no mail: its mail goes to the others. When nobody is left the caller ends the work.
    pub(super) async fn relay_failed(&self, outlet: &Outlet, cause: Cause, why: &str) -> Failed {
        let failed = self.outlets.take_out(outlet, cause, why);
        if let Failed::Moved(outages, pause) = failed {
            let unused = outlet.lanes.close(); // and with it the chunks they kept
            for (lane, messages) in unused {
                self.give_back(outlet, &lane, messages).await;
            }
            if let Err(e) = keep(&self.db, &outlet.relay.name, outages, pause, why).await
                && !e.is_retryable()
            {
                self.end(Ended::DatabaseUnavailable(e.to_string()));
            }
        }
        failed
    }

    /// A relay answers: what is kept of its outages is over.
    pub(super) async fn relay_works(&self, outlet: &Outlet) {
        outlet.connect_failures.store(0, Ordering::Relaxed);
        if self.outlets.answered(outlet) {
            // Should this fail, the next process that finds it at work forgets it.
            let _ = forget(&self.db, &outlet.relay.name).await;
        }
    }

    /// Where a claimed chunk goes; moved in the ledger first, if it goes elsewhere. `None` when its lease was lost meanwhile.
    pub(super) async fn route(&self, lease: &mut Lease) -> DbResult<Option<Arc<Outlet>>> {
        let (relay, family) = parts(&lease.lane);
        let outlet = self.outlets.towards(relay).clone();
        if outlet.relay.name == relay {
            return Ok(Some(outlet));
        }
        let lane = format!("{}/{family}", outlet.relay.name);
        Ok(lease::move_to(&self.db, lease, lane).await?.then_some(outlet))
    }
}

/// Tries relays that were out of use, at their time, until it is aborted.
pub(super) async fn recover(shared: Arc<Shared>) {
    loop {
        match shared.outlets.next_try() {
            None => shared.outlets.fewer.notified().await,
            Some((_, until)) if until > Instant::now() => {
                let _ = tokio::time::timeout_at(until, shared.outlets.fewer.notified()).await;
            }
            Some((outlet, _)) => try_again(&shared, &outlet).await,
        }
    }
}

async fn try_again(shared: &Shared, outlet: &Outlet) {
    match Conversation::open(&outlet.relay.server).await {
        Ok(conversation) => {
            shared.outlets.take_in(outlet);
            shared.relay_works(outlet).await;
            conversation.quit().await;
        }
        Err(error) => {
            let (cause, why) = told(&outlet.relay.server, error);
            let (outages, pause) = outlet.one_more_outage();
            shared.outlets.postpone(outlet, cause, &why, pause);
            let _ = keep(&shared.db, &outlet.relay.name, outages, pause, &why).await; // only tells; the next try tells again
        }
    }
}

/// What it means that no conversation could be opened, and the words for it.
pub(super) fn told(server: &Server, error: OpenError) -> (Cause, String) {
    match error {
        OpenError::Unreachable(why) => (Cause::Unreachable, why),
        OpenError::Distrusted(distrust) => (Cause::Distrusted, distrust.to_string()),
        OpenError::Refused(Stage::Auth, reply) if !reply.is_temporary() => (Cause::Login, login_refused(&reply)),
        OpenError::Refused(_, reply) => {
            let cause = if replies::asks_for_less(&reply) { Cause::Busy } else { Cause::Unreachable };
            (cause, format!("{}: {}", server.url(), reply.line()))
        }
    }
}

/// The words for a refused login.
pub(super) fn login_refused(reply: &Reply) -> String {
    format!("the mail server refused our login: {}", reply.line())
}

/// The relays that take no mail, as far as anybody found.
pub async fn outages(db: &Db) -> DbResult<Vec<Outage>> {
    db.fetch_all("SELECT relay, since_at, again_at, outages, reason FROM relay_outage ORDER BY relay", args![]).await
}

async fn keep(db: &Db, relay: &str, outages: u32, pause: Millis, why: &str) -> DbResult<()> {
    let now = clock::now();
    let reason: String = why.chars().take(REASON_CHARS_MAX).collect();
    db.execute(
        "INSERT INTO relay_outage (relay, since_at, again_at, outages, reason) VALUES ($1, $2, $3, $4, $5) \
         ON CONFLICT (relay) DO UPDATE SET again_at = excluded.again_at, outages = excluded.outages, reason = excluded.reason",
        args![relay, now, now + pause, i64::from(outages), reason],
    )
    .await?;
    Ok(())
}

async fn forget(db: &Db, relay: &str) -> DbResult<()> {
    db.execute("DELETE FROM relay_outage WHERE relay = $1", args![relay]).await?;
    Ok(())
}
