//! Torture: processes that die at random, again and again, and days of sending in a moment; the promise is judged after each.
//!
//! `make test` does a slice, bounded by count; `make torture` a thousand crashes and a hundred weeks. What the tests choose comes from a seed that
//! is printed: whom the server refuses, when who dies, how clocks jump. The seeds of what failed stand in `tests/torture.seeds` and are tried first.
//!
//! A seed brings back these choices and not the run: how fast the machine was, which thread came first, and what the processes draw for themselves
//! (tokens, the spread of retries) differ each time, in a simulated week too. What failed once may have to be tried a few times.
//!
//! `OKAERI_TORTURE=1000` sets the number of crashes, and of simulated weeks to a tenth of it; `OKAERI_SEED` the first seed.

mod rewards;
mod simulation;
mod world;

use std::io::Write as _;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};

use futures_util::FutureExt as _;
use okaeri::clock;

/// Crashes in `make test`.
const CRASHES: u64 = 40;
/// Simulated weeks for so many crashes.
const CRASHES_PER_WEEK: u64 = 10;

/// Reward codes that are given under kills: on Postgres, where four workers die in so many rounds, and on SQLite.
const CODES: (usize, usize) = (5_000, 3);
const CODES_TORTURED: (usize, usize) = (100_000, 12);
const CODES_SQLITE: (usize, usize) = (1_500, 6);
const CODES_SQLITE_TORTURED: (usize, usize) = (20_000, 20);

/// How many crashes are wanted.
fn crashes_wanted() -> u64 {
    std::env::var("OKAERI_TORTURE").ok().and_then(|n| n.parse().ok()).unwrap_or(CRASHES)
}

/// The file of seeds that failed once: a word that says of what, and the seed.
fn kept_seeds() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/torture.seeds")
}

/// Seeds to try: those that failed once, then new ones without end.
fn seeds(of: &str) -> impl Iterator<Item = u64> {
    let text = std::fs::read_to_string(kept_seeds()).unwrap();
    let kept: Vec<u64> = text
        .lines()
        .filter(|line| !line.starts_with('#') && !line.trim().is_empty())
        .filter_map(|line| line.strip_prefix(of).map(|seed| seed.trim().parse().expect("a seed is a number")))
        .collect();
    let first = std::env::var("OKAERI_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(clock::now() as u64);
    kept.into_iter().chain((0..).map(move |n| first.wrapping_add(n)))
}

/// Runs what a seed brings; when it fails, says the seed and keeps it.
async fn tried<T>(of: &str, seed: u64, what: impl Future<Output = T>) -> T {
    match AssertUnwindSafe(what).catch_unwind().await {
        Ok(result) => result,
        Err(panic) => {
            eprintln!("{of}: broken with OKAERI_SEED={seed}, kept in tests/torture.seeds");
            let text = std::fs::read_to_string(kept_seeds()).unwrap();
            let line = format!("{of} {seed}");
            if !text.lines().any(|known| known == line) {
                let mut file = std::fs::OpenOptions::new().append(true).open(kept_seeds()).unwrap();
                writeln!(file, "{line}").unwrap();
            }
            std::panic::resume_unwind(panic)
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_that_die_at_random_keep_the_promise() {
    let wanted = crashes_wanted();
    let (mut crashes, mut worlds) = (0, 0);
    for seed in seeds("crashes") {
        if crashes >= wanted {
            break;
        }
        crashes += tried("crashes", seed, world::suffers(seed)).await;
        worlds += 1;
        println!("seed {seed}: {crashes} crashes so far, {worlds} ledgers");
    }
    assert!(crashes >= wanted);
}

#[test]
fn weeks_of_sending_in_moments_keep_the_promise() {
    if let Some(seed) = simulation::asked_for() {
        return simulation::one_week(seed);
    }
    let wanted = crashes_wanted() / CRASHES_PER_WEEK;
    let runtime = tokio::runtime::Runtime::new().unwrap();
    for (n, seed) in seeds("weeks").take(wanted as usize).enumerate() {
        runtime.block_on(tried("weeks", seed, simulation::passes(seed)));
        println!("seed {seed}: week {}", n + 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn reward_codes_are_given_once_whoever_dies() {
    let tortured = crashes_wanted() > CRASHES;
    let database = crate::ground::postgres::fresh_database().await;
    let (people, rounds) = if tortured { CODES_TORTURED } else { CODES };
    rewards::are_given_once(&database.url, people, rounds).await;
    database.remove().await;
    let folder = tempfile::tempdir().unwrap();
    let (people, rounds) = if tortured { CODES_SQLITE_TORTURED } else { CODES_SQLITE };
    rewards::are_given_once(&format!("sqlite:{}", folder.path().join("okaeri.db").display()), people, rounds).await;
}
