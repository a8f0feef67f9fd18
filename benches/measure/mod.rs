//! What the benchmarks share: verbs of the real binary, run as child processes and watched through /proc; and a probe of the disk.
//!
//! Promises: nothing is measured inside the benchmark itself. CPU is user and system time of the child; with a Postgres server on this
//! machine, also that of all its processes. A verb that fails is marked, and [`Verbs::all_succeeded`] remembers it.
//! Units: seconds, and megabytes of 10⁶ bytes.

mod server;

use std::cell::Cell;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

pub use server::Server;

/// Clock ticks of /proc in a second, on every Linux.
const TICKS: f64 = 100.0;
/// How often a running child is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// Durable writes of which the median is told.
const SYNCS: usize = 21;
const SECRET: &str = "a secret for measuring only";

/// What a verb took.
pub struct Cost {
    pub wall: f64,
    /// Of the child.
    pub cpu: f64,
    /// Of the database server's processes meanwhile; zero when there is none to look at.
    pub server_cpu: f64,
    /// Megabytes the child held at most.
    pub peak: f64,
    pub succeeded: bool,
}

impl Cost {
    /// Of child and server.
    pub fn all_cpu(&self) -> f64 {
        self.cpu + self.server_cpu
    }
}

/// Runs the binary's verbs in a project's folder and prints a line for each.
pub struct Verbs<'a> {
    pub dir: &'a Path,
    /// The database's address.
    pub database: &'a str,
    /// The mail server's address.
    pub smtp: &'a str,
    /// The database server, when it runs on this machine.
    pub server: Option<Server>,
    failed: Cell<bool>,
}

impl<'a> Verbs<'a> {
    /// Print the heading of the lines to come.
    pub fn in_project(dir: &'a Path, database: &'a str, smtp: &'a str) -> Verbs<'a> {
        let verbs = Verbs::silent(dir, database, smtp);
        let columns = if verbs.server.is_some() { "   CPU s  server s" } else { "   CPU s" };
        println!("{:<36} {:>9} {columns} {:>9}", "", "wall s", "peak MB");
        verbs
    }

    /// Without a heading, for [`Verbs::measure`].
    pub fn silent(dir: &'a Path, database: &'a str, smtp: &'a str) -> Verbs<'a> {
        Verbs { dir, database, smtp, server: Server::of(database), failed: Cell::new(false) }
    }

    /// Run a verb to its end and print a line about it.
    pub fn run(&self, label: &str, words: &[&str]) -> Cost {
        let cost = self.measure(words);
        self.tell(label, &cost);
        cost
    }

    /// A line about what something took.
    pub fn tell(&self, label: &str, cost: &Cost) {
        let of_server = self.server.as_ref().map_or(String::new(), |_| format!(" {:>9.2}", cost.server_cpu));
        let mark = if cost.succeeded { "" } else { "  FAILED" };
        println!("{label:<36} {:>9.2} {:>9.2}{of_server} {:>9.1}{mark}", cost.wall, cost.cpu, cost.peak);
    }

    /// Run a verb to its end. What it says goes into the file `said` of the project's folder.
    pub fn measure(&self, words: &[&str]) -> Cost {
        let mut command = Command::new(env!("CARGO_BIN_EXE_okaeri"));
        command
            .args(words)
            .arg("--quiet")
            .current_dir(self.dir)
            .env("DATABASE_URL", self.database)
            .env("SMTP_URL", self.smtp)
            .env("OKAERI_SECRET", SECRET)
            .stdout(File::create(self.dir.join("said")).expect("a file"));
        let server = || self.server.as_ref().and_then(Server::cpu_seconds);
        let before = server();
        let mut cost = watch(command).expect("the binary runs");
        cost.server_cpu = before.zip(server()).map_or(0.0, |(before, after)| after - before);
        if !cost.succeeded {
            self.failed.set(true);
        }
        cost
    }

    /// Whether no verb failed so far.
    pub fn all_succeeded(&self) -> bool {
        !self.failed.get()
    }
}

/// Run a command to its end, and what it took.
pub fn watch(mut command: Command) -> std::io::Result<Cost> {
    let started = Instant::now();
    let mut child = command.stdin(Stdio::null()).spawn()?;
    let (mut cpu, mut peak) = (0.0, 0.0);
    let status = loop {
        if let Some(seen) = usage(child.id()) {
            (cpu, peak) = seen;
        }
        if let Some(status) = child.try_wait()? {
            break status;
        }
        std::thread::sleep(LOOK_EVERY);
    };
    let wall = started.elapsed().as_secs_f64();
    Ok(Cost { wall, cpu, server_cpu: 0.0, peak, succeeded: status.success() })
}

/// How many customers the shop has: `OKAERI_BENCH_CUSTOMERS`, or `default`.
pub fn customers(default: usize) -> usize {
    match std::env::var("OKAERI_BENCH_CUSTOMERS") {
        Ok(text) => text.parse().expect("OKAERI_BENCH_CUSTOMERS is a number of customers"),
        Err(_) => default,
    }
}

/// Write a file of the project, with its folders.
pub fn write(dir: &Path, name: &str, text: &str) {
    let path = dir.join(name);
    std::fs::create_dir_all(path.parent().expect("inside the folder")).expect("a folder");
    std::fs::write(path, text).expect("a file");
}

/// The median milliseconds of a few durable writes in a folder.
pub fn fsync_ms(dir: &Path) -> f64 {
    let mut file = File::create(dir.join("probe")).expect("a file");
    let mut times: Vec<f64> = (0..SYNCS)
        .map(|_| {
            file.write_all(&[0; 4096]).expect("a write");
            let started = Instant::now();
            file.sync_data().expect("a sync");
            started.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// CPU seconds and peak resident megabytes of a living process.
fn usage(pid: u32) -> Option<(f64, f64)> {
    let cpu = Stat::of(pid)?.cpu_seconds();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let peak = status.lines().find_map(|l| l.strip_prefix("VmHWM:"))?;
    let kilobytes: f64 = peak.trim().trim_end_matches(" kB").parse().ok()?;
    Some((cpu, kilobytes * 1.024 / 1e3))
}

/// What /proc/PID/stat says of a process; `man 5 proc_pid_stat`.
struct Stat {
    parent: u32,
    /// utime, stime, cutime, cstime: its own and those of children it has waited for.
    ticks: [f64; 4],
}

impl Stat {
    fn of(pid: u32) -> Option<Stat> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The program's name stands in parentheses and may hold spaces.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let tick = |n: usize| fields.get(n)?.parse::<f64>().ok();
        Some(Stat { parent: fields.get(1)?.parse().ok()?, ticks: [tick(11)?, tick(12)?, tick(13)?, tick(14)?] })
    }

    /// Its own time.
    fn cpu_seconds(&self) -> f64 {
        (self.ticks[0] + self.ticks[1]) / TICKS
    }

    /// Its own time and that of the children that have ended.
    fn family_cpu_seconds(&self) -> f64 {
        self.ticks.iter().sum::<f64>() / TICKS
    }
}
