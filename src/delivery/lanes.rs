//! The messages that wait for a connection to one relay, by lane. A connection takes the next one whose lane may send now, in turns, so a lane that is
//! slow or empty keeps nobody from the others.
//!
//! A lane that is limited has *grants*: time that was reserved in the database ([`super::pacing`]). Here they are only used up, without a
//! query, and by a clock that never jumps: milliseconds since the process began to send. Who fills the lanes is the feed; who fetches grants
//! is the pacer.

use std::collections::{HashSet, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Mutex as AsyncMutex, Notify};

use super::feed::Work;
use super::pacing::{Grant, SLOWED_ONCE_IN};
use crate::clock::{MINUTE, Millis, SECOND};

/// A lane with fewer messages is filled up; more would only age.
const READY_MIN: usize = 64;
/// How far a lane may lag behind its grant and make up for it, in milliseconds.
const LAG_MAX: f64 = 250.0;
/// A grant that ends sooner is followed by the next.
const NEXT_GRANT: Millis = 400;
/// A lane that must wait longer gives its messages back.
const WAIT_MAX: Millis = 2 * MINUTE;
/// What a lane did is measured over so long at least.
const MEASURED_MIN: Millis = SECOND;
/// Between two questions about one lane, at least.
const ASK_AGAIN_MIN: Millis = 20;

/// All lanes of one relay.
pub(super) struct Lanes {
    /// The relay's name. It may be slowed as a whole, and is then named like a lane.
    relay: String,
    began: Instant,
    inner: Mutex<Inner>,
    /// One connection at a time waits for a message, the others wait for their turn.
    turn: AsyncMutex<()>,
    /// Connections that have nothing to do.
    idle: AtomicUsize,
    /// Something may be taken that could not be before.
    ready: Notify,
    signals: Arc<Signals>,
}

/// What the lanes of all relays tell those who fill them.
#[derive(Default)]
pub(super) struct Signals {
    /// The feed may find room, or a chunk came back.
    pub room: Notify,
    /// A lane may need a grant.
    pub wanting: Notify,
}

#[derive(Default)]
struct Inner {
    lanes: Vec<Lane>,
    /// Lanes that are slowed in the database, whether they have messages here or not; the relay's name when it is slowed as a whole.
    slowed: HashSet<String>,
    /// Whose turn it is.
    next: usize,
    /// Nothing will come any more.
    ended: bool,
    /// The relay takes no mail: what would wait here goes elsewhere.
    closed: bool,
    /// When its server last asked for less as a whole.
    complained_at: Option<Millis>,
}

struct Lane {
    name: String,
    waiting: VecDeque<Work>,
    limited: bool,
    grants: VecDeque<Running>,
    /// When it makes sense to ask for another grant.
    ask_at: Millis,
    /// Its messages were given back; nothing before this instant.
    closed_until: Option<Millis>,
    /// When its server last asked for less.
    complained_at: Option<Millis>,
    /// Messages taken, and since when: what it does by itself.
    taken: u64,
    since: Millis,
}

/// A grant being used up.
#[derive(Debug, Clone, Copy)]
struct Running {
    next_at: f64,
    interval: f64,
    left: u32,
}

/// Counts a connection as idle while it lives.
struct Idle<'a>(&'a AtomicUsize);

impl Idle<'_> {
    fn new(count: &AtomicUsize) -> Idle<'_> {
        count.fetch_add(1, Ordering::Relaxed);
        Idle(count)
    }
}

impl Drop for Idle<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What can be taken.
enum Next {
    Work(Box<Work>),
    /// Something after so long, nothing before.
    In(Duration),
    /// Nothing that waits has its time yet.
    Nothing,
    Ended,
}

impl Running {
    fn ends_at(&self) -> Millis {
        (self.next_at + self.interval * f64::from(self.left)) as Millis
    }
}

impl Lane {
    fn new(name: &str, now: Millis) -> Lane {
        Lane {
            name: name.to_owned(),
            waiting: VecDeque::new(),
            limited: false,
            grants: VecDeque::new(),
            ask_at: 0,
            closed_until: None,
            complained_at: None,
            taken: 0,
            since: now,
        }
    }

    /// When its next message may leave; `None` while that is not known.
    fn may_at(&self) -> Option<Millis> {
        if self.limited { self.grants.front().map(|g| g.next_at.ceil() as Millis) } else { Some(0) }
    }

    fn take(&mut self, now: Millis) -> Option<Work> {
        let work = self.waiting.pop_front()?;
        self.taken += 1;
        if self.limited
            && let Some(grant) = self.grants.front_mut()
        {
            grant.left -= 1;
            grant.next_at = (grant.next_at + grant.interval).max(now as f64 - LAG_MAX);
            if grant.left == 0 {
                self.grants.pop_front();
            }
        }
        Some(work)
    }

    /// Messages a second so far.
    fn seen(&self, now: Millis) -> f64 {
        self.taken as f64 * SECOND as f64 / (now - self.since).max(MEASURED_MIN) as f64
    }

    fn granted(&self) -> usize {
        self.grants.iter().map(|g| g.left as usize).sum()
    }

    /// When it wants another grant; `None` while it has enough.
    fn wants_at(&self) -> Option<Millis> {
        let wants = self.limited && self.waiting.len() > self.granted() && self.grants.len() < 2;
        wants.then(|| self.grants.back().map_or(0, |g| g.ends_at() - NEXT_GRANT).max(self.ask_at))
    }
}

impl Lanes {
    /// No messages yet. `slowed` are the lanes that are slowed in the database.
    pub fn new(relay: &str, slowed: impl Iterator<Item = String>, signals: Arc<Signals>) -> Lanes {
        Lanes {
            relay: relay.to_owned(),
            began: Instant::now(),
            inner: Mutex::new(Inner { slowed: slowed.collect(), ..Inner::default() }),
            turn: AsyncMutex::default(),
            idle: AtomicUsize::new(0),
            ready: Notify::new(),
            signals,
        }
    }

    fn now(&self) -> Millis {
        self.began.elapsed().as_millis() as Millis
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Look at one lane, or change it.
    fn with<T>(&self, name: &str, change: impl FnOnce(&mut Lane, Millis) -> T) -> T {
        let now = self.now();
        change(self.inner().lane(name, now), now)
    }

    /// The next message, waited for; `None` when nothing will come any more.
    pub async fn next(&self) -> Option<Work> {
        let _idle = Idle::new(&self.idle);
        let _turn = self.turn.lock().await;
        loop {
            match self.look() {
                Next::Work(work) => return Some(*work),
                Next::Ended => return None,
                Next::Nothing => self.ready.notified().await,
                Next::In(wait) => {
                    let _ = tokio::time::timeout(wait, self.ready.notified()).await;
                }
            }
        }
    }

    /// The next message if one may leave now and no other connection has nothing to do.
    pub fn try_next(&self) -> Option<Work> {
        if self.idle.load(Ordering::Relaxed) > 0 {
            return None;
        }
        match self.look() {
            Next::Work(work) => Some(*work),
            _ => None,
        }
    }

    fn look(&self) -> Next {
        let now = self.now();
        let mut inner = self.inner();
        let Inner { lanes, next, ended, .. } = &mut *inner;
        if *ended {
            return Next::Ended;
        }
        let mut soonest: Option<Millis> = None;
        for n in 0..lanes.len() {
            let i = (*next + n) % lanes.len();
            let lane = &mut lanes[i];
            if lane.waiting.is_empty() {
                continue;
            }
            match lane.may_at() {
                Some(at) if at <= now => {
                    let work = lane.take(now).expect("not empty");
                    if lane.waiting.len() + 1 == READY_MIN {
                        self.signals.room.notify_one();
                    }
                    if lane.wants_at().is_some() {
                        self.signals.wanting.notify_one();
                    }
                    *next = (i + 1) % lanes.len();
                    return Next::Work(Box::new(work));
                }
                Some(at) => soonest = Some(soonest.map_or(at, |s| s.min(at))),
                None => {}
            }
        }
        soonest.map_or(Next::Nothing, |at| Next::In(Duration::from_millis((at - now) as u64)))
    }

    /// Messages of a lane, to wait for their turn; dropped when the lane is closed. `limited`: the settings limit it.
    pub fn add(&self, name: &str, works: Vec<Work>, limited: bool) {
        let now = self.now();
        let mut inner = self.inner();
        if inner.closed {
            return; // the relay failed while the chunk was being claimed
        }
        let slowed = inner.slowed.contains(name) || inner.slowed.contains(&self.relay);
        let lane = inner.lane(name, now);
        if lane.closed_until.is_some_and(|at| now < at) {
            return; // closed while the chunk was being claimed: it goes back like the others
        }
        lane.limited |= limited || slowed;
        lane.waiting.extend(works);
        drop(inner);
        self.ready.notify_one();
        self.signals.wanting.notify_one();
    }

    /// The lanes of which no more is wanted now: they have enough, or must wait.
    pub fn full(&self) -> Vec<String> {
        let now = self.now();
        let inner = self.inner();
        let full = |l: &&Lane| l.waiting.len() >= READY_MIN || l.closed_until.is_some_and(|at| now < at);
        inner.lanes.iter().filter(full).map(|l| l.name.clone()).collect()
    }

    /// The lanes that want a grant now, and for how many messages.
    pub fn wanting(&self) -> Vec<(String, u32)> {
        let now = self.now();
        let inner = self.inner();
        let wanting = inner.lanes.iter().filter(|l| l.wants_at().is_some_and(|at| at <= now));
        let messages = |l: &Lane| u32::try_from(l.waiting.len() - l.granted()).unwrap_or(u32::MAX);
        wanting.map(|l| (l.name.clone(), messages(l))).collect()
    }

    /// How long until one of them wants a grant, if nothing else happens.
    pub fn wanting_in(&self) -> Option<Duration> {
        let now = self.now();
        let soonest = self.inner().lanes.iter().filter_map(Lane::wants_at).min();
        soonest.map(|at| Duration::from_millis((at - now).max(0) as u64))
    }

    /// A lane may send so much; `asked_at` is the instant, by the clock of the grant, at which it was given.
    pub fn grant(&self, name: &str, grant: Grant, asked_at: Millis) {
        self.with(name, |lane, now| {
            let next_at = (now + grant.from_at - asked_at) as f64;
            lane.grants.push_back(Running { next_at, interval: grant.interval, left: grant.messages });
        });
        self.ready.notify_one();
    }

    /// A lane is limited by nothing any more.
    pub fn free(&self, name: &str) {
        self.with(name, |lane, _| {
            lane.limited = false;
            lane.grants.clear();
        });
        self.ready.notify_one();
    }

    /// A lane must wait so long. When that is too long, its messages go back to the queue, where whoever looks sees that they are due.
    pub fn wait(&self, name: &str, millis: Millis) {
        let given_back = self.with(name, |lane, now| {
            let has_grants = !lane.grants.is_empty();
            if millis <= WAIT_MAX || has_grants {
                // What is granted is used up first; then it is asked again.
                lane.ask_at = now + millis.clamp(ASK_AGAIN_MIN, if has_grants { SECOND } else { WAIT_MAX });
                return VecDeque::new();
            }
            lane.ask_at = now + millis;
            lane.closed_until = Some(lane.ask_at);
            std::mem::take(&mut lane.waiting)
        });
        if !given_back.is_empty() {
            drop(given_back); // and with it the chunks they kept
            self.signals.room.notify_one();
        }
    }

    /// A server asked for less in this lane, or, by the relay's name, in all. Messages a second that it took so far; `None` when the same was
    /// heard a moment ago.
    pub fn complained(&self, name: &str) -> Option<f64> {
        let now = self.now();
        let mut inner = self.inner();
        let whole = name == self.relay;
        let heard = if whole { &mut inner.complained_at } else { &mut inner.lane(name, now).complained_at };
        if heard.is_some_and(|at| now - at < SLOWED_ONCE_IN) {
            return None;
        }
        *heard = Some(now);
        Some(inner.lanes.iter().filter(|l| whole || l.name == name).map(|l| l.seen(now)).sum())
    }

    /// A lane is slowed, or, by the relay's name, all are: what was granted at the old rate is void. How many messages that were.
    pub fn slow(&self, name: &str) -> u32 {
        let now = self.now();
        let mut inner = self.inner();
        inner.slowed.insert(name.to_owned());
        let whole = name == self.relay;
        let mut void = 0;
        for lane in inner.lanes.iter_mut().filter(|l| whole || l.name == name) {
            lane.limited = true;
            lane.ask_at = now;
            void += lane.granted() as u32;
            lane.grants.clear();
        }
        drop(inner);
        self.signals.wanting.notify_one();
        void
    }

    /// The lanes that are slowed in the database, by whichever process.
    pub fn slowed(&self, names: impl Iterator<Item = String>) {
        let mut inner = self.inner();
        inner.slowed = names.collect();
        let Inner { lanes, slowed, .. } = &mut *inner;
        let whole = slowed.contains(&self.relay);
        for lane in lanes {
            lane.limited |= whole || slowed.contains(&lane.name);
        }
    }

    /// The relay takes no mail: let go of everything that waits, as [`Lanes::clear`] does, and take nothing.
    pub fn close(&self) -> Vec<(String, u32)> {
        self.inner().closed = true;
        let unused = self.clear();
        self.signals.room.notify_one();
        unused
    }

    /// The relay takes mail again.
    pub fn open(&self) {
        self.inner().closed = false;
        self.signals.room.notify_one();
    }

    /// Nothing will come any more.
    pub fn end(&self) {
        self.inner().ended = true;
        self.ready.notify_one();
        self.signals.room.notify_one();
    }

    /// Let go of everything that waits: lanes, and how many messages each was granted that did not leave.
    pub fn clear(&self) -> Vec<(String, u32)> {
        let lanes = std::mem::take(&mut self.inner().lanes);
        lanes.into_iter().map(|l| (l.granted() as u32, l.name)).filter(|(n, _)| *n > 0).map(|(n, l)| (l, n)).collect()
    }
}

impl Inner {
    fn lane(&mut self, name: &str, now: Millis) -> &mut Lane {
        let i = self.lanes.iter().position(|l| l.name == name).unwrap_or_else(|| {
            self.lanes.push(Lane::new(name, now));
            self.lanes.len() - 1
        });
        &mut self.lanes[i]
    }
}
