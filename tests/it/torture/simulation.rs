//! Days of sending in a moment: the worker itself, in this process, against a server whose answers come from a seed; when nothing is due any
//! more the clock is moved to when something is. Workers die at a moment of the conversation that the seed chose, clocks jump, people are
//! suppressed, and nothing sleeps.
//!
//! The clock of the process is moved, so a week has a process of its own: this binary once more, asked for the one test and told the week.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use okaeri::args;
use okaeri::catcher::{Answer, Behaviour, Catcher, CatcherOptions, Keep, Moment};
use okaeri::clock::{self, DAY, HOUR, MINUTE, Millis};
use okaeri::db::Db;
use okaeri::delivery::{Compose, Ended, Limits, Mail, Options, Server, Totals, drain, pacing};
use okaeri::queue::lease::Queued;
use okaeri::queue::{LEASE, MESSAGE_LIFETIME, rescue, run, status};
use okaeri::settings::{Pacing, SmtpUrl};
use okaeri::suppression::{self, Kind, Reason, Scope};
use tokio::runtime::Runtime;
use tokio::sync::{oneshot, watch};

use super::world::Moody;
use crate::crash::Chance;
use crate::ground::mail::conversations;
use crate::ground::postgres::{self, FreshDatabase};
use crate::ground::promise::Promise;
use crate::ground::sending::{enqueued, relay};

/// Days on which a campaign begins, and its people.
const DAYS: u64 = 4;
const PEOPLE: usize = 30;
/// Connections of each worker, and workers at once.
const CONNECTIONS: usize = 3;
const WORKERS_MAX: u64 = 3;
/// Moments of the conversation until a worker dies, at most.
const MOMENTS_MAX: u64 = 120;
/// Refused for now at RCPT, of a thousand: most of the week is waiting for another try.
const FULL: u64 = 300;
/// How long a worker may take on a busy machine before the week counts as stuck.
const PATIENCE: Duration = Duration::from_secs(120);

/// The test that starts weeks, and is one in the process it starts; and the variable that says which.
const THE_TEST: &str = "torture::weeks_of_sending_in_moments_keep_the_promise";
const WEEK: &str = "OKAERI_WEEK";

/// A week passes in a process of its own.
pub async fn passes(seed: u64) {
    let week = tokio::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", THE_TEST, "--nocapture"])
        .env(WEEK, seed.to_string())
        .output()
        .await
        .unwrap();
    let told = String::from_utf8_lossy(&week.stdout);
    let why = String::from_utf8_lossy(&week.stderr);
    assert!(week.status.success() && told.contains("1 passed"), "{told}\n{why}");
    println!("{}", told.lines().find(|l| l.starts_with("week of")).unwrap_or_default());
}

/// The week this process is for, when it was started for one.
pub fn asked_for() -> Option<u64> {
    std::env::var(WEEK).ok().map(|seed| seed.parse().expect("the seed of a week is a number"))
}

/// Live through a week. Moves the clock of the process.
pub fn one_week(seed: u64) {
    let outside = Runtime::new().unwrap();
    let mut week = outside.block_on(Week::begins(seed));
    for day in 0..DAYS {
        week.day(&outside, day);
    }
    outside.block_on(week.ends(seed));
}

/// A letter whose bytes depend on the message and its date alone.
struct Letter {
    expires_at: Millis,
}

impl Compose for Letter {
    fn compose(&self, m: &Queued, date_at: Millis) -> Result<Mail, String> {
        let to = m.address.clone().unwrap_or_default();
        let bytes = format!(
            "From: Shop <shop@example.com>\r\nTo: <{to}>\r\nSubject: Hello {}\r\nX-Date-At: {date_at}\r\n\
             Message-ID: <{}@example.com>\r\n\r\nHello\r\n.\r\n",
            m.customer_id.len(),
            m.message_id
        );
        Ok(Mail { envelope_from: "bounce@example.com".to_owned(), envelope_to: to, bytes: bytes.into_bytes() })
    }

    fn kind(&self) -> Kind {
        Kind::Promotional
    }

    fn expires_at(&self) -> Millis {
        self.expires_at
    }

    fn limits(&self) -> Limits {
        Limits { hard_bounce: 1.0, policy: 1.0, failed: 1.0, complaint: 1.0 }
    }
}

/// The server, which says when a moment has come.
struct Watched {
    moody: Arc<Moody>,
    moments: AtomicU64,
    fatal: AtomicU64,
    tell: mpsc::SyncSender<Happened>,
}

impl Behaviour for Watched {
    fn answer(&self, m: &Moment<'_>) -> Answer {
        if self.moments.fetch_add(1, SeqCst) + 1 == self.fatal.load(SeqCst) {
            let _ = self.tell.try_send(Happened::Fatal); // nobody listens between two workers
        }
        self.moody.answer(m)
    }
}

/// What the week waits for.
enum Happened {
    /// The first worker dies now.
    Fatal,
    /// A worker, by its number, came to its end, or was killed.
    Ended(usize, Option<Result<(Totals, Ended), String>>),
}

struct Week {
    chance: Chance,
    url: String,
    database: Option<FreshDatabase>,
    db: Db,
    catcher: Catcher,
    watched: Arc<Watched>,
    happened: mpsc::Receiver<Happened>,
    tell: mpsc::SyncSender<Happened>,
    pacing: Pacing,
    log: PathBuf,
    began_at: Millis,
    people: usize,
    deaths: usize,
    drains: usize,
    suppressed: BTreeSet<String>,
    _folder: tempfile::TempDir,
}

impl Week {
    async fn begins(seed: u64) -> Week {
        let mut chance = Chance::from(seed);
        let folder = tempfile::tempdir().unwrap();
        let database = if chance.below(3) == 0 { Some(postgres::fresh_database().await) } else { None };
        let file = format!("sqlite:{}", folder.path().join("okaeri.db").display());
        let url = database.as_ref().map_or(file, |database| database.url.clone());
        let log = folder.path().join("log");
        let (tell, happened) = mpsc::sync_channel(64);
        let watched = Arc::new(Watched {
            moody: Arc::new(Moody::new(seed, FULL, Duration::ZERO)),
            moments: AtomicU64::new(0),
            fatal: AtomicU64::new(0),
            tell: tell.clone(),
        });
        let options = CatcherOptions {
            keep: Keep::Count,
            log: Some(log.clone()),
            behaviour: watched.clone(),
            extensions: conversations()[chance.below(3) as usize].1.clone(),
            ..CatcherOptions::default()
        };
        let catcher = Catcher::start(options).await.unwrap();
        // A warm-up holds more back than a day brings: what waits too long expires, and is named so.
        let warm_up = if chance.below(3) == 0 { vec![PEOPLE as u32 / 2, PEOPLE as u32] } else { vec![] };
        Week {
            db: Db::open(&url).await.unwrap(),
            began_at: clock::now(),
            pacing: Pacing { warm_up, ..Pacing::default() },
            people: 0,
            deaths: 0,
            drains: 0,
            suppressed: BTreeSet::new(),
            chance,
            url,
            database,
            catcher,
            watched,
            happened,
            tell,
            log,
            _folder: folder,
        }
    }

    /// A campaign begins; workers come until the next morning, or nothing is left.
    fn day(&mut self, outside: &Runtime, day: u64) {
        let evening = self.began_at + (day as Millis + 1) * DAY;
        let people: Vec<String> = (0..PEOPLE).map(|n| format!("d{day}p{n:02}@example.com")).collect();
        outside.block_on(self.campaign(day, &people));
        self.people += PEOPLE;
        while let Some(due_at) = outside.block_on(self.next_due()) {
            if due_at >= evening {
                break;
            }
            clock::shift_by((due_at - clock::now()).max(0));
            if self.chance.below(4) == 0 {
                let who = people[self.chance.below(PEOPLE as u64) as usize].clone();
                outside.block_on(self.suppress(who));
            }
            let workers = 1 + self.chance.below(WORKERS_MAX) as usize;
            let dies = self.chance.below(3) == 0;
            self.work(workers, dies);
            // A clock that is put right, or wrong, between two invocations.
            if self.chance.below(8) == 0 {
                clock::shift_by(self.chance.below(HOUR as u64) as Millis - HOUR / 2);
            }
            outside.block_on(async {
                rescue::rescue(&self.db, clock::now()).await.unwrap();
                self.promise().rests().await;
            });
        }
        clock::shift_by((evening - clock::now()).max(0));
    }

    async fn campaign(&self, day: u64, people: &[String]) {
        let people: Vec<&str> = people.iter().map(String::as_str).collect();
        let run_id = enqueued(&self.db, &format!("day{day}"), &people).await;
        let expires_at = clock::now() + MESSAGE_LIFETIME;
        let sql = "UPDATE run SET audience = $1, expires_at = $2 WHERE run_id = $3";
        self.db.execute(sql, args![PEOPLE as i64, expires_at, &run_id]).await.unwrap();
        let sql = "INSERT INTO run_verdict (run_id, verdict, reason, people) VALUES ($1, 'send', '', $2)";
        self.db.execute(sql, args![&run_id, PEOPLE as i64]).await.unwrap();
    }

    /// When something may leave next.
    async fn next_due(&self) -> Option<Millis> {
        let held = pacing::held(&self.db, |_| self.pacing.clone(), clock::now()).await.unwrap();
        pacing::next_due(&status::due_by_lane(&self.db, None).await.unwrap(), &held)
    }

    async fn suppress(&mut self, who: String) {
        let mut tx = self.db.begin().await.unwrap();
        suppression::suppress(&mut tx, &who, &Scope::All, Reason::Manual, clock::now(), "torture").await.unwrap();
        let sql = "SELECT d.state FROM message m JOIN delivery d ON d.bucket = m.bucket AND d.customer_id = m.customer_id \
                   AND d.chunk_id = m.chunk_id AND d.seq = m.seq WHERE m.address = $1";
        let (state,): (String,) = tx.fetch_optional(sql, args![&who]).await.unwrap().unwrap();
        tx.commit().await.unwrap();
        if matches!(state.as_str(), "pending" | "deferred") {
            self.suppressed.insert(who);
        }
    }

    /// Workers send what is due, each with threads and a database of its own; the first may die on the way.
    fn work(&mut self, workers: usize, dies: bool) {
        let fatal = if dies { self.watched.moments.load(SeqCst) + 1 + self.chance.below(MOMENTS_MAX) } else { 0 };
        self.watched.fatal.store(fatal, SeqCst);
        let mut alive: Vec<Option<oneshot::Sender<()>>> = Vec::new();
        for n in 0..workers {
            let (kill, killed) = oneshot::channel();
            let (url, server, pacing, tell) =
                (self.url.clone(), self.catcher.url(), self.pacing.clone(), self.tell.clone());
            std::thread::spawn(move || {
                let runtime = Runtime::new().unwrap();
                let ended = runtime.block_on(async {
                    tokio::select! {
                        _ = killed => None,
                        ended = worker(&url, &server, pacing) => Some(ended),
                    }
                });
                // Every task is dropped where it stands, as when a process is killed.
                runtime.shutdown_background();
                let _ = tell.send(Happened::Ended(n, ended)); // nobody listens: the week has failed
            });
            alive.push(Some(kill));
        }
        self.drains += workers;
        while alive.iter().any(Option::is_some) {
            match self.happened.recv_timeout(PATIENCE).expect("a worker comes to its end") {
                Happened::Fatal => {
                    if let Some(kill) = &mut alive[0]
                        && !kill.is_closed()
                    {
                        let (none, _) = oneshot::channel();
                        let _ = std::mem::replace(kill, none).send(());
                    }
                    // The others outwait its leases: half a minute passes.
                    clock::shift_by(LEASE + 1_000);
                }
                Happened::Ended(n, None) => {
                    self.deaths += 1;
                    alive[n] = None;
                }
                Happened::Ended(n, Some(ended)) => {
                    let (_, ended) = ended.unwrap();
                    assert!(matches!(ended, Ended::Idle), "{ended:?}");
                    alive[n] = None;
                }
            }
        }
        if dies {
            clock::shift_by(LEASE + 1_000);
        }
    }

    fn promise(&self) -> Promise<'_> {
        Promise {
            db: &self.db,
            log: Path::new(&self.log),
            people: self.people,
            unknown_max: self.deaths * CONNECTIONS + self.watched.moody.unanswered(),
            suppressed: self.suppressed.clone(),
        }
    }

    /// Whatever still waits is sent or expires; then everything adds up.
    async fn ends(self, seed: u64) {
        while let Some(due_at) = self.next_due().await {
            clock::shift_by((due_at - clock::now()).max(0) + MINUTE);
            worker(&self.url, &self.catcher.url(), self.pacing.clone()).await.unwrap();
        }
        run::drain_finished(&self.db, clock::now()).await.unwrap();
        let states = self.promise().is_kept().await;
        let hours = (clock::now() - self.began_at) / HOUR;
        println!("week of {hours} hours by seed {seed}: {} workers, {} died: {states:?}", self.drains, self.deaths);
        self.db.close().await;
        if let Some(database) = self.database {
            database.remove().await;
        }
    }
}

/// One invocation: everything that is due.
async fn worker(url: &str, server: &str, pacing: Pacing) -> Result<(Totals, Ended), String> {
    let db = Db::open(url).await.map_err(|e| e.to_string())?;
    let (_keep, stop) = watch::channel(false);
    let ledger = db.clone();
    let options = Options {
        run_id: None,
        relays: vec![relay(Server::new(SmtpUrl::parse(server)?, None, "example.com")?, CONNECTIONS as u32, pacing)],
        open_composer: Arc::new(move |run_id| {
            let db = ledger.clone();
            Box::pin(async move {
                let run = run::get(&db, &run_id).await.map_err(|e| e.to_string())?.ok_or("no such run")?;
                Ok(Arc::new(Letter { expires_at: run.expires_at }) as Arc<dyn Compose>)
            })
        }),
        signer: None,
        stop,
        until: None,
        recheck: None,
        progress: None,
    };
    let ended = drain(&db, options).await.map_err(|e| e.to_string());
    db.close().await;
    ended
}
