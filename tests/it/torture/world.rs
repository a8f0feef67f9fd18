//! One ledger, one mail server with moods, and processes of the real binary that are killed, frozen, or cut off from their database.

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use okaeri::args;
use okaeri::catcher::{Answer, Behaviour, Catcher, CatcherOptions, Keep, Moment, Stage};
use okaeri::clock;
use okaeri::db::{Db, stable_hash};
use okaeri::failpoint::STEPS;
use okaeri::suppression::{self, Reason, Scope};

use crate::crash::{Chance, age_leases, enlisted, until};
use crate::ground::mail::conversations;
use crate::ground::postgres::{self, FreshDatabase};
use crate::ground::promise::{Promise, nothing_is_left};
use crate::ground::proxy::Proxy;
use crate::ground::scenario::{CONNECTIONS, Running, Scenario};

/// Times something is done to the processes of one ledger, at most; then the rest is sent in peace.
const BLOWS_MAX: u64 = 14;
/// Processes at once on Postgres.
const PROCESSES_MAX: u64 = 5;
/// Messages between two blows, at most.
const MESSAGES_BETWEEN_MAX: u64 = 25;
/// Steps until a process dies by one, at most.
const STEPS_MAX: u64 = 150;
/// One ledger in so many keeps a rate: it takes longer.
const PACED_ONE_IN: u64 = 10;
/// Refused for now at RCPT, of a thousand.
const FULL: u64 = 30;
/// The rate of a ledger that keeps one, in messages a second, over all processes, and its people.
const RATE: usize = 60;
const PEOPLE_PACED: usize = 300;
/// What may come beyond the rate in two seconds: what every process may make up for, and what is in flight or ahead when the server stalls.
const BEYOND_RATE: usize = (RATE / 4 + 2 * CONNECTIONS) * PROCESSES_MAX as usize;

/// A server whose answer depends on the seed, the recipient and how often it was asked, and on nothing else.
pub struct Moody {
    seed: u64,
    /// Refused for now at RCPT, of a thousand.
    full: u64,
    pause: Duration,
    visits: Mutex<HashMap<String, u32>>,
    /// Contents it did not answer.
    unanswered: AtomicUsize,
}

impl Moody {
    pub fn new(seed: u64, full: u64, pause: Duration) -> Moody {
        Moody { seed, full, pause, visits: Mutex::default(), unanswered: AtomicUsize::new(0) }
    }

    /// Contents that it did not answer so far.
    pub fn unanswered(&self) -> usize {
        self.unanswered.load(Relaxed)
    }

    /// Less than a thousand, for this visit.
    fn mood(&self, recipient: &str) -> u64 {
        let visit = self.visits.lock().unwrap().get(recipient).copied().unwrap_or(0);
        stable_hash(format!("{} {recipient} {visit}", self.seed).as_bytes()) % 1_000
    }
}

impl Behaviour for Moody {
    fn answer(&self, m: &Moment<'_>) -> Answer {
        let recipient = m.transaction.to.first().map_or(m.argument, String::as_str).to_owned();
        match (m.stage, self.mood(&recipient)) {
            (Stage::Rcpt, mood) => {
                *self.visits.lock().unwrap().entry(recipient).or_default() += 1;
                match mood {
                    mood if mood < self.full => Answer::reply(452, "4.2.2", "Mailbox full"),
                    900..905 => Answer::reply(550, "5.1.1", "No such person here"),
                    905..915 => Answer::reset(),
                    _ => Answer::agree(),
                }
            }
            (Stage::EndOfData, 940..960) => Answer::reply(452, "4.2.2", "Mailbox full"),
            (Stage::EndOfData, mood @ 960..970) => {
                self.unanswered.fetch_add(1, Relaxed);
                if mood < 965 { Answer::store_then_reset() } else { Answer::close() }
            }
            (Stage::EndOfData, _) if !self.pause.is_zero() => Answer::store_then_wait(self.pause),
            _ => Answer::agree(),
        }
    }
}

struct World {
    chance: Chance,
    shop: Scenario,
    db: Db,
    database: Option<FreshDatabase>,
    proxy: Option<Proxy>,
    catcher: Catcher,
    moody: Arc<Moody>,
    log: PathBuf,
    people: usize,
    crashes: u64,
    /// Processes that died, froze or gave their database up: each leaves a doubt a connection at most.
    deaths: usize,
    suppressed: BTreeSet<String>,
    paced: bool,
    _folder: tempfile::TempDir,
}

/// A ledger lives through what the seed brings; how many processes crashed.
pub async fn suffers(seed: u64) -> u64 {
    let mut world = World::begins(seed).await;
    for _ in 0..BLOWS_MAX {
        let left = world.people as u64 - world.catcher.counts().messages.min(world.people as u64);
        if left < MESSAGES_BETWEEN_MAX {
            break;
        }
        world.blow().await;
        world.age().await;
        world.promise().rests().await;
    }
    world.ends().await
}

impl World {
    async fn begins(seed: u64) -> World {
        let mut chance = Chance::from(seed);
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let on_postgres = chance.below(2) == 0;
        let paced = chance.below(PACED_ONE_IN) == 0;
        let people = if paced { PEOPLE_PACED } else { 120 + chance.below(120) as usize };
        let pause = Duration::from_micros([0, 300, 2_000][chance.below(3) as usize]);
        let moody = Arc::new(Moody::new(seed, FULL, pause));
        let extensions = conversations()[chance.below(3) as usize].1.clone();
        let options = CatcherOptions {
            keep: Keep::Memory,
            log: Some(log.clone()),
            behaviour: moody.clone(),
            extensions,
            ..CatcherOptions::default()
        };
        let catcher = Catcher::start(options).await.unwrap();
        let (database, proxy, url) = if on_postgres {
            let database = postgres::fresh_database().await;
            let (proxy, url) = (Proxy::to(&database.url).await, database.url.clone());
            (Some(database), Some(proxy), url)
        } else {
            (None, None, format!("sqlite:{}", folder.path().join("okaeri.db").display()))
        };
        // What the server does is not to hold the run.
        let calm = "stop_above: { hard_bounce: 90% }";
        let shop = enlisted(Scenario::new(&url).campaign("hello", calm).with_people(people).await).await;
        if paced {
            let settings = std::fs::read_to_string(shop.path("okaeri.yaml")).unwrap();
            let paced = format!("  connections: 4\n  rates: {{ other: {RATE}/s }}\n");
            shop.write("okaeri.yaml", settings.replace("  connections: 4\n", &paced));
        }
        let shop = shop.smtp(&catcher.url());
        let db = shop.database().await;
        let (crashes, deaths, suppressed) = (0, 0, BTreeSet::new());
        World {
            chance,
            shop,
            db,
            database,
            proxy,
            catcher,
            moody,
            log,
            people,
            crashes,
            deaths,
            suppressed,
            paced,
            _folder: folder,
        }
    }

    fn promise(&self) -> Promise<'_> {
        Promise {
            db: &self.db,
            log: &self.log,
            people: self.people,
            unknown_max: self.deaths * CONNECTIONS + self.moody.unanswered(),
            suppressed: self.suppressed.clone(),
        }
    }

    /// What the dead held is free, and what waits for another try is due.
    async fn age(&self) {
        age_leases(&self.db).await;
        okaeri::queue::rescue::rescue(&self.db, clock::now()).await.unwrap();
        for sql in [
            "UPDATE chunk SET due_at = 0 WHERE state = 'open'",
            "UPDATE delivery SET due_at = 0 WHERE state IN ('deferred', 'pending')",
        ] {
            self.db.execute(sql, args![]).await.unwrap();
        }
    }

    async fn blow(&mut self) {
        match (self.chance.below(4), self.proxy.is_some()) {
            (0, _) => self.dies_by_a_step().await,
            (1, true) => self.freezes().await,
            (2, true) => self.is_cut_off().await,
            _ => self.is_killed().await,
        }
    }

    fn died(&mut self, crashed: bool) {
        self.crashes += u64::from(crashed);
        self.deaths += usize::from(crashed);
    }

    /// Some step, or any, passed so often.
    fn step(&mut self) -> String {
        let k = 1 + self.chance.below(STEPS_MAX);
        match self.chance.below(2 * STEPS.len() as u64) as usize {
            n if n < STEPS.len() => format!("{}:{}", STEPS[n].word(), 1 + k / 10),
            _ => format!("any:{k}"),
        }
    }

    /// Waits until some more messages passed, or nobody is left who could send them.
    async fn some_pass(&mut self, processes: &mut [Running]) {
        let target = self.catcher.counts().messages + 1 + self.chance.below(MESSAGES_BETWEEN_MAX);
        let catcher = &self.catcher;
        until("messages pass", async || {
            catcher.counts().messages >= target || processes.iter_mut().all(Running::has_ended)
        })
        .await;
        tokio::time::sleep(Duration::from_micros(self.chance.below(3_000))).await;
    }

    async fn dies_by_a_step(&mut self) {
        let step = self.step();
        let ran = self.shop.start_to_fail(&step, "work --quiet").end().await;
        assert!(matches!(ran.code(), -1 | 0 | 3 | 75), "{ran:?}");
        self.died(ran.code() == -1);
    }

    /// One to five at once, killed one after the other; somebody is suppressed meanwhile.
    async fn is_killed(&mut self) {
        let processes = if self.proxy.is_some() { 1 + self.chance.below(PROCESSES_MAX) } else { 1 };
        let mut alive: Vec<Running> = (0..processes).map(|_| self.shop.start("work --quiet")).collect();
        if self.chance.below(3) == 0 {
            self.suppress().await;
        }
        while !alive.is_empty() {
            // Who is left may wait for the leases of the dead: then it dies waiting.
            if alive.len() == processes as usize {
                self.some_pass(&mut alive).await;
            }
            let victim = alive.swap_remove(self.chance.below(alive.len() as u64) as usize);
            let crashed = victim.kill().await;
            self.died(crashed);
        }
    }

    /// Stopped at some step past its lease, while another takes over and dies; then it wakes up.
    async fn freezes(&mut self) {
        let step = format!("{}:stop", self.step());
        let mut frozen = self.shop.start_to_fail(&step, "work --quiet");
        until("it is frozen", async || frozen.is_stopped() || frozen.has_ended()).await;
        let stopped = frozen.is_stopped();
        self.died(stopped);
        if stopped {
            let lost = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() \
                        AND state LIKE 'idle in transaction%'";
            self.db.execute(lost, args![]).await.unwrap();
            age_leases(&self.db).await;
            self.dies_by_a_step().await;
            age_leases(&self.db).await;
            frozen.signal("CONT").await;
        }
        self.some_pass(std::slice::from_mut(&mut frozen)).await;
        let crashed = frozen.kill().await;
        self.died(crashed);
    }

    /// Its wire is cut at a COMMIT, done or not; it goes on for a while.
    async fn is_cut_off(&mut self) {
        let proxy = self.proxy.as_ref().expect("on Postgres");
        let cuts = proxy.cuts();
        let (nth, done) = (1 + self.chance.below(20), self.chance.below(2) == 0);
        proxy.cut_at(nth, done, self.chance.below(3));
        let url = proxy.url.clone();
        let mut process = self.shop.start_under(&[], &["work", "--quiet"], &[("DATABASE_URL", &url)]);
        until("the wire is cut", async || proxy.cuts() > cuts || process.has_ended()).await;
        self.crashes += u64::from(proxy.cuts() > cuts);
        proxy.cut_at(0, false, 0);
        self.some_pass(std::slice::from_mut(&mut process)).await;
        // Killed, or it gave its database up.
        process.kill().await;
        self.deaths += 1;
    }

    /// Somebody is suppressed now. Whoever was not committed by then is never mailed.
    async fn suppress(&mut self) {
        let who = format!("p{:05}@example.com", 1 + self.chance.below(self.people as u64));
        let mut tx = self.db.begin().await.unwrap();
        suppression::suppress(&mut tx, &who, &Scope::All, Reason::Manual, clock::now(), "torture").await.unwrap();
        tx.commit().await.unwrap();
        // Commits that began before the suppression was there are waited for.
        let mut tx = self.db.begin().await.unwrap();
        if self.proxy.is_some() {
            tx.execute("LOCK TABLE delivery IN SHARE ROW EXCLUSIVE MODE", args![]).await.unwrap();
        }
        let sql = "SELECT d.state FROM message m JOIN delivery d ON d.bucket = m.bucket AND d.customer_id = m.customer_id \
                   AND d.chunk_id = m.chunk_id AND d.seq = m.seq WHERE m.address = $1";
        let (state,): (String,) = tx.fetch_optional(sql, args![&who]).await.unwrap().expect("everybody has a message");
        tx.rollback().await.unwrap();
        if matches!(state.as_str(), "pending" | "deferred" | "suppressed") {
            self.suppressed.insert(who);
        }
    }

    /// The rest is sent in peace, and everything adds up.
    async fn ends(self) -> u64 {
        loop {
            let ran = self.shop.okaeri("work").await;
            assert!(matches!(ran.code(), 0 | 3 | 75), "{ran:?}");
            self.age().await;
            let (waits,): (i64,) = self
                .db
                .fetch_one("SELECT COUNT(*) FROM delivery WHERE state IN ('pending', 'deferred')", args![])
                .await
                .unwrap();
            if waits == 0 {
                break;
            }
        }
        okaeri::queue::run::drain_finished(&self.db, clock::now()).await.unwrap();
        self.promise().is_kept().await;
        nothing_is_left(&self.shop).await;
        if self.paced {
            let mut at: Vec<i64> = self.catcher.mails().iter().map(|m| m.at).collect();
            at.sort_unstable();
            for (n, from) in at.iter().enumerate() {
                let within = at[n..].iter().take_while(|at| **at < from + 2_000).count();
                assert!(within <= 2 * RATE + BEYOND_RATE, "{within} messages in two seconds at {RATE} a second");
            }
        }
        let unanswered = self.moody.unanswered();
        println!("{} people, {} deaths, {unanswered} contents unanswered", self.people, self.deaths);
        self.db.close().await;
        if let Some(database) = self.database {
            database.remove().await;
        }
        self.crashes
    }
}
