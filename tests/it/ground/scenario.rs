//! A shop in a folder and the real binary at work on it, so that a test reads like a manual.
//!
//! ```text
//! let shop = Scenario::new(&database_url).campaign("hello", "").smtp(&catcher.url());
//! shop.write("customers.csv", "customer_id,email,consent\nmia,mia@example.com,offers\n");
//! shop.okaeri("import customers customers.csv").await.exits(0);
//! shop.okaeri("send hello").await.exits(0);
//! ```
//!
//! The binary sees the variables it documents and nothing else of ours. What it prints is kept apart: stdout is data, stderr is talk.

use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use okaeri::cli::Invocation;
use okaeri::db::Db;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::process::{Child, ChildStderr, ChildStdout, Command};

use super::emitted::{self, Emitted};

/// Connections to the mail server that each process of a scenario opens.
pub const CONNECTIONS: usize = 4;

const SETTINGS: &str = "\
project: kaze
time_zone: Europe/Berlin
currency: EUR
default_locale: en
database: ${DATABASE_URL}
smtp:
  url: ${SMTP_URL}
  connections: 4
sender:
  name: Kaze
  from: letters@example.com
  organisation: Kaze LLC
  postal_address: 1 Harbour Road, 20457 Hamburg
links:
  base_url: https://mail.example.com   # a test reads the token of a link and asks the server where it really listens
  secret: ${OKAERI_SECRET}
topics: { offers: { en: Offers, ja: ご案内 }, news: News }
";

const HTML: &str = "\
Subject: Hello {{ customer.first_name | default(value=\"there\") }}

<!doctype html><html lang=\"en\"><head><title>Hello</title></head><body><p>Come by when you like.</p>
<p><a href=\"{{ links.unsubscribe }}\">Unsubscribe</a><br>{{ brand.organisation }}, {{ brand.postal_address }}</p></body></html>
";

const TEXT: &str = "\
Come by when you like.

{{ links.unsubscribe }}
{{ brand.organisation }}, {{ brand.postal_address }}
";

/// A project of its own in a folder that vanishes.
pub struct Scenario {
    folder: TempDir,
    database_url: String,
    environment: Vec<(&'static str, String)>,
    /// Where its processes write down their statements, a file each.
    statements: TempDir,
    started: AtomicUsize,
}

impl Scenario {
    /// Settings, a secret, and this database; no campaign, and no mail server until [`Scenario::smtp`] names one.
    pub fn new(database_url: &str) -> Scenario {
        let folder = || tempfile::tempdir().expect("a temporary folder can be made");
        let environment = vec![
            ("DATABASE_URL", database_url.to_owned()),
            ("OKAERI_SECRET", "a secret of the scenario, long enough".to_owned()),
        ];
        let shop = Scenario {
            folder: folder(),
            database_url: database_url.to_owned(),
            environment,
            statements: folder(),
            started: AtomicUsize::new(0),
        };
        shop.write("okaeri.yaml", SETTINGS);
        shop
    }

    /// Sets a variable that every later command sees.
    pub fn with(mut self, name: &'static str, value: &str) -> Scenario {
        self.environment.retain(|(n, _)| *n != name);
        self.environment.push((name, value.to_owned()));
        self
    }

    /// Sends through this mail server.
    pub fn smtp(self, url: &str) -> Scenario {
        self.with("SMTP_URL", url)
    }

    /// Further lines of okaeri.yaml.
    pub fn settings(self, more: &str) -> Scenario {
        self.write("okaeri.yaml", format!("{SETTINGS}{more}"));
        self
    }

    /// A segment by its rule, as it stands under `where:`.
    pub fn segment(self, name: &str, rule: &str) -> Scenario {
        self.write(&format!("campaigns/segments/{name}.yaml"), format!("segment: {name}\nwhere: {rule}\n"));
        self
    }

    /// A live campaign on the topic `offers` for everyone, with its templates; `more` overrides or adds lines.
    pub fn campaign(self, name: &str, more: &str) -> Scenario {
        let mut text = format!("campaign: {name}\nsteps: [{{ step: letter, template: {name}/letter }}]\n");
        for line in ["status: live", "topic: offers", "kind: promotional", "audience: everyone"] {
            let (key, _) = line.split_once(':').expect("a line is `key: value`");
            if !more.lines().any(|m| m.starts_with(&format!("{key}:"))) {
                text.push_str(&format!("{line}\n"));
            }
        }
        self.write(&format!("campaigns/{name}.yaml"), format!("{text}{more}\n"));
        self.write(&format!("templates/{name}/letter.html"), HTML);
        self.write(&format!("templates/{name}/letter.txt"), TEXT);
        self
    }

    /// What the binary does, inside this process.
    pub fn inside(&self) -> Invocation {
        Invocation::inside(self.folder.path().to_owned(), self.environment.iter().cloned().collect())
    }

    /// A path inside the project.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file of the project, with its folders.
    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        let path = self.path(name);
        let folder = path.parent().expect("a file of the project has a folder");
        std::fs::create_dir_all(folder).expect("folders can be made");
        std::fs::write(path, bytes).expect("files can be written");
    }

    /// Imports so many people who agreed to offers: `p00001@example.com` and on.
    pub async fn with_people(self, n: usize) -> Scenario {
        let mut csv = "customer_id,email,first_name,consent\n".to_owned();
        for i in 1..=n {
            csv.push_str(&format!("p{i:05},p{i:05}@example.com,P{i},offers\n"));
        }
        self.write("people.csv", csv);
        self.okaeri("import customers people.csv --quiet").await.exits(0);
        self
    }

    /// The database, beside the binary.
    pub async fn database(&self) -> Db {
        Db::open(&self.database_url).await.expect("the scenario's database opens")
    }

    /// Runs a command to its end; words are split at spaces, and file names are relative to the project.
    pub async fn okaeri(&self, line: &str) -> Ran {
        self.start(line).end().await
    }

    /// Runs a command with `--format json`; its exit code is checked and its whole stdout is one JSON value.
    pub async fn json(&self, line: &str, code: i32) -> serde_json::Value {
        self.okaeri(&format!("{line} --format json")).await.exits(code).json()
    }

    /// The statements that its processes ran so far.
    pub fn statements(&self) -> Vec<Emitted> {
        (0..self.started.load(Relaxed)).flat_map(|n| emitted::read(&self.statements_of(n))).collect()
    }

    fn statements_of(&self, process: usize) -> PathBuf {
        self.statements.path().join(format!("{process}.jsonl"))
    }

    /// Starts a command and lets it run.
    pub fn start(&self, line: &str) -> Running {
        self.start_with(&line.split_whitespace().collect::<Vec<_>>())
    }

    /// [`Scenario::start`] with words that may hold spaces.
    pub fn start_with(&self, words: &[&str]) -> Running {
        self.start_under(&[], words, &[])
    }

    /// [`Scenario::start`] where the process dies or stops at a failpoint.
    pub fn start_to_fail(&self, failpoint: &str, line: &str) -> Running {
        let words: Vec<&str> = line.split_whitespace().collect();
        self.start_under(&[], &words, &[("OKAERI_FAILPOINT", failpoint)])
    }

    /// Starts a command through a program, as somebody who cannot write down its statements.
    pub fn start_unrecorded(&self, through: &[&str], words: &[&str]) -> Running {
        self.spawn(through, words, &[], false)
    }

    /// Starts a command with further variables, through a program that runs its arguments.
    pub fn start_under(&self, through: &[&str], words: &[&str], variables: &[(&str, &str)]) -> Running {
        self.spawn(through, words, variables, cfg!(debug_assertions))
    }

    fn spawn(&self, through: &[&str], words: &[&str], variables: &[(&str, &str)], recorded: bool) -> Running {
        let folder: &Path = self.folder.path();
        let statements = self.statements_of(self.started.fetch_add(1, Relaxed));
        let okaeri = env!("CARGO_BIN_EXE_okaeri");
        let mut command = Command::new(through.first().unwrap_or(&okaeri));
        if let [_, more @ ..] = through {
            command.args(more).arg(okaeri);
        }
        if recorded {
            command.arg("--record-statements").arg(&statements);
        }
        let mut child = command
            .args(words)
            .current_dir(folder)
            .env_clear()
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the binary starts");
        let stdout = child.stdout.take().expect("stdout is piped");
        let stderr = BufReader::new(child.stderr.take().expect("stderr is piped"));
        Running { line: words.join(" "), child, stdout, stderr, said: String::new(), statements }
    }
}

/// A process of the binary at work.
pub struct Running {
    line: String,
    child: Child,
    stdout: ChildStdout,
    stderr: BufReader<ChildStderr>,
    said: String,
    statements: PathBuf,
}

impl Running {
    /// Waits until it says a line on stderr that begins so; the rest of that line.
    pub async fn says(&mut self, beginning: &str) -> String {
        loop {
            let mut line = String::new();
            let read = self.stderr.read_line(&mut line).await.expect("stderr is text");
            assert!(read > 0, "`okaeri {}` ended without saying `{beginning}`: {}", self.line, self.said);
            self.said.push_str(&line);
            if let Some(rest) = line.strip_prefix(beginning) {
                return rest.trim_end().to_owned();
            }
        }
    }

    /// Sends a signal by its name, such as TERM, STOP or CONT.
    pub async fn signal(&self, name: &str) {
        let pid = self.child.id().expect("the process has not been waited for").to_string();
        let sent = Command::new("kill").args([&format!("-{name}"), &pid]).status().await.expect("kill runs");
        assert!(sent.success(), "SIG{name} reaches `okaeri {}`", self.line);
    }

    /// Whether it is stopped (by SIGSTOP).
    pub fn is_stopped(&self) -> bool {
        let Some(pid) = self.child.id() else { return false };
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with('T'))
    }

    /// SIGKILL, now; true when it was still alive. Its statements are judged.
    pub async fn kill(mut self) -> bool {
        let alive = self.child.try_wait().expect("the process can be asked").is_none();
        self.child.kill().await.expect("the process can be killed");
        emitted::judge(&self.line, &self.statements);
        alive
    }

    /// How many statements it has begun.
    pub fn statements(&self) -> usize {
        emitted::read(&self.statements).len()
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("the process can be asked").is_some()
    }

    /// Waits for its end; its statements are judged.
    pub async fn end(mut self) -> Ran {
        let (mut stdout, mut stderr) = (String::new(), self.said);
        let (read, talked) =
            tokio::join!(self.stdout.read_to_string(&mut stdout), self.stderr.read_to_string(&mut stderr));
        read.expect("stdout is text");
        talked.expect("stderr is text");
        let status = self.child.wait().await.expect("the process can be waited for");
        emitted::judge(&self.line, &self.statements);
        Ran { line: self.line, status, stdout, stderr }
    }
}

/// A command that has ended.
#[derive(Debug)]
pub struct Ran {
    line: String,
    status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    /// The exit code; −1 after a signal.
    pub fn code(&self) -> i32 {
        self.status.code().unwrap_or(-1)
    }

    /// Fails with everything it said unless it ended with this code.
    #[track_caller]
    pub fn exits(self, code: i32) -> Ran {
        let Ran { line, status, stdout, stderr } = &self;
        assert_eq!(status.code(), Some(code), "okaeri {line}: {status}\n--- stdout\n{stdout}\n--- stderr\n{stderr}");
        self
    }

    /// Its whole stdout as one JSON value.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|e| {
            panic!(
                "okaeri {}: stdout is not one JSON value: {e}\n{}\n--- stderr\n{}",
                self.line, self.stdout, self.stderr
            )
        })
    }
}
