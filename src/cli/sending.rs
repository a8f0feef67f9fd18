//! What `send`, `work` and the demo share: the server, the composers of stored runs, stopping on a signal, and draining.

use std::collections::HashMap;
use std::io::IsTerminal as _;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::drained::{self, Drained};
use super::ledger;
use super::loaded::Loaded;
use super::{Failure, Invocation};
use crate::args;
use crate::campaign::Definition;
use crate::clock::{self, Clock, Millis};
use crate::content::Snapshot;
use crate::db::Db;
use crate::delivery::pacing;
use crate::delivery::{
    self, Compose, DeliveryLock, Limits, Mail, OpenComposer, Options, Recheck, Relay, Server, Totals,
};
use crate::dkim::{Identity, PrivateKey, Signer};
use crate::message::{Composer, MessageFacts};
use crate::plan::PlanError;
use crate::problem::Problems;
use crate::queue::lease::Queued;
use crate::queue::recheck::{self, Files};
use crate::queue::{run, status};
use crate::segment::condition::ConditionError;
use crate::settings::{self, Dkim, DkimKey, Project, SmtpUrl};
use crate::suppression::Kind;
use crate::token::Tokens;
use crate::yaml::Span;

/// How long a second process waits for the one that delivers from the same SQLite file.
const LOCK_WAIT: Duration = Duration::from_secs(10);
const LOCK_POLL: Duration = Duration::from_millis(200);

/// The mail server that mail goes to first.
pub fn server(project: &Project) -> Result<Server, Failure> {
    server_of(project, project.settings.smtp.first())
}

/// A relay's server.
pub fn server_of(project: &Project, relay: &settings::Relay) -> Result<Server, Failure> {
    let url = SmtpUrl::parse(relay.url.require("sending")?).map_err(Failure::Usage)?;
    let hello = project.settings.sender.from.rsplit_once('@').map_or("localhost", |(_, domain)| domain);
    let ca_file = relay.ca_file.as_ref().map(|f| project.dir.join(f));
    Server::new(url, ca_file.as_deref(), hello).map_err(Failure::Usage)
}

/// The project's relays, ready to send through.
pub fn relays(project: &Project) -> Result<Vec<Relay>, Failure> {
    let ready = |relay: &settings::Relay| {
        Ok(Relay {
            name: relay.name.clone(),
            server: Arc::new(server_of(project, relay)?),
            weight: relay.weight,
            connections: relay.connections,
            pacing: relay.pacing.clone(),
        })
    };
    project.settings.smtp.relays.iter().map(ready).collect()
}

/// What signs the project's mail, with every key read and tried; `None` when the settings name none.
pub fn signer(project: &Project) -> Result<Option<Arc<Signer>>, Failure> {
    let mut problems = Problems::new();
    let mut keys = Vec::new();
    for entry in &project.settings.dkim {
        match private_key(project, entry) {
            Ok(key) => {
                let identity = Identity { domain: entry.domain.clone(), selector: entry.selector.clone() };
                keys.push((identity, key));
            }
            Err(why) => {
                problems
                    .error("no-dkim-key", &entry.place, format!("the DKIM key of selector `{}` {why}", entry.selector))
                    .hint("bring the key here, or take the entry away; nothing leaves half-signed");
            }
        }
    }
    if problems.has_errors() {
        return Err(Failure::Problems(problems));
    }
    Ok(Signer::new(keys).map(Arc::new))
}

/// The private key of an entry of `dkim:`; else the end of the sentence "the key …".
pub fn private_key(project: &Project, entry: &Dkim) -> Result<PrivateKey, String> {
    let text = match &entry.key {
        DkimKey::Environment(text) => {
            text.require("DKIM").map_err(|e| format!("is not there: {} is not set", e.variable))?.to_owned()
        }
        DkimKey::File(path) => std::fs::read_to_string(project.dir.join(path))
            .map_err(|e| format!("cannot be read from {}: {e}", path.display()))?,
    };
    PrivateKey::parse(&text).map_err(|e| e.to_string())
}

/// Refuse to send at a moved time, except to this machine itself.
pub fn refuse_moved_clock<'s>(clock: Clock, servers: impl IntoIterator<Item = &'s Server>) -> Result<(), Failure> {
    match servers.into_iter().map(Server::url).find(|url| !url.is_loopback()) {
        Some(url) if clock.is_moved() => Err(Failure::Usage(format!(
            "--at is for trying things out, and {url} is a real mail server\nleave --at away, or point SMTP_URL at this machine"
        ))),
        _ => Ok(()),
    }
}

/// Say what a moved clock means for mail.
pub fn tell_moved(inv: &Invocation, clock: Clock) {
    if clock.is_moved() {
        inv.say("--at: everything that is planned now leaves at once, also what quiet hours or a person's own clock would hold until later");
    }
}

/// Refuse to send to the world from a ledger that is thrown away with the machine, unless somebody says that it is not.
pub fn refuse_throwaway(inv: &Invocation, project: &Project, relays: &[Relay], kept: bool) -> Result<(), Failure> {
    let is_file = project.database_url()?.starts_with("sqlite:");
    if is_file && inv.is_ci() && !kept && relays.iter().any(|r| !r.server.url().is_loopback()) {
        return Err(Failure::Usage(
            "the ledger is a SQLite file, and this is a job of continuous integration (CI is set)\n\
             thrown away with the machine it forgets who was mailed: set DATABASE_URL to a Postgres server\n\
             where the file is kept: --ephemeral-ok"
                .to_owned(),
        ));
    }
    Ok(())
}

/// The keys of the project's secret.
pub fn tokens(project: &Project) -> Result<Tokens, Failure> {
    let secret = project.settings.links.secret.require("signing links and Message-IDs").map_err(|e| {
        Failure::Usage(format!("{e}\nset it to a long random text once and keep it: openssl rand -hex 32"))
    })?;
    Ok(Tokens::new(secret))
}

/// The composer of one stored run.
struct RunComposer {
    composer: Composer,
    definition: Definition,
    /// The topic's titles, looked up by locale.
    topic: crate::settings::Topic,
    expires_at: Millis,
}

impl RunComposer {
    fn facts<'m>(&'m self, m: &'m Queued, payload: &'m serde_json::Value) -> Result<MessageFacts<'m>, String> {
        let template =
            self.definition.template(&m.step, &m.arm).ok_or_else(|| format!("its run has no step `{}`", m.step))?;
        Ok(MessageFacts {
            bucket: m.bucket,
            chunk_id: m.chunk_id,
            seq: m.seq,
            customer_id: &m.customer_id,
            campaign: &m.campaign,
            campaign_title: &self.definition.title,
            step: &m.step,
            slot: &m.slot,
            topic: &m.topic,
            topic_title: self.topic.title(&m.locale),
            promotional: self.definition.kind == Kind::Promotional,
            template,
            locale: &m.locale,
            message_id: &m.message_id,
            address: m.address.as_deref().unwrap_or_default(),
            payload,
        })
    }
}

impl Compose for RunComposer {
    fn compose(&self, m: &Queued, date_at: Millis) -> Result<Mail, String> {
        let payload = serde_json::from_str(&m.payload).map_err(|e| format!("its stored data cannot be read: {e}"))?;
        let composed = self.composer.compose(&self.facts(m, &payload)?, date_at).map_err(|e| e.to_string())?;
        Ok(Mail { envelope_from: composed.envelope_from, envelope_to: composed.envelope_to, bytes: composed.bytes })
    }

    fn kind(&self) -> Kind {
        self.definition.kind
    }

    fn expires_at(&self) -> Millis {
        self.expires_at
    }

    fn limits(&self) -> Limits {
        self.definition.stop_above.into()
    }
}

/// Opens the composers of stored runs; runs with the same snapshot share their compiled templates.
pub fn composers(db: Db, project: &Project, tokens: Tokens) -> OpenComposer {
    let home: Arc<Path> = project.dir.as_path().into();
    let compiled: Arc<tokio::sync::Mutex<HashMap<String, Composer>>> = Arc::default();
    Arc::new(move |run_id| {
        let (db, home, tokens, compiled) = (db.clone(), home.clone(), tokens.clone(), compiled.clone());
        Box::pin(async move {
            let run = run::get(&db, &run_id).await.map_err(|e| e.to_string())?;
            let run = run.ok_or_else(|| format!("the run {run_id} is gone"))?;
            let definition: Definition = serde_json::from_str(&run.definition).map_err(|e| e.to_string())?;
            let mut compiled = compiled.lock().await;
            if !compiled.contains_key(&run.snapshot_id) {
                let composer = stored_composer(&db, &home, &run.snapshot_id, tokens).await?;
                compiled.insert(run.snapshot_id.clone(), composer);
            }
            let topic = crate::settings::Topic {
                name: run.campaign.clone(),
                titles: definition.topic_titles.clone(),
                place: crate::problem::Place::file(""),
            };
            let composer = compiled[&run.snapshot_id].clone();
            Ok(Arc::new(RunComposer { composer, definition, topic, expires_at: run.expires_at }) as Arc<dyn Compose>)
        })
    })
}

/// Looks again at what was planned long ago, with the files as they are now.
fn rechecker(db: Db, files: Files) -> Recheck {
    let files = Arc::new(files);
    Arc::new(move |lease| {
        let (db, files) = (db.clone(), files.clone());
        Box::pin(async move {
            recheck::recheck(&db, &files, &lease, clock::now()).await.map_err(|e| match e {
                PlanError::Db(e) | PlanError::Condition(ConditionError::Db(e)) => e,
                e => panic!("checked campaigns name only what there is: {e}"),
            })
        })
    })
}

async fn stored_composer(db: &Db, home: &Path, snapshot_id: &str, tokens: Tokens) -> Result<Composer, String> {
    let sql = "SELECT content FROM template_snapshot WHERE snapshot_id = $1";
    let row: Option<(String,)> = db.fetch_optional(sql, args![snapshot_id]).await.map_err(|e| e.to_string())?;
    let (content,) = row.ok_or_else(|| format!("the template snapshot {snapshot_id} is gone"))?;
    let snapshot = Snapshot::from_json(&content).map_err(|e| e.to_string())?.at_home(home);
    Ok(Composer::new(snapshot.compile().map_err(|e| e.to_string())?, Some(tokens)))
}

/// Turns true on SIGTERM or Ctrl-C: finish what is in flight, then end. One for the whole process, so that a signal between two of its
/// works is not lost.
pub fn stop_signal() -> watch::Receiver<bool> {
    static STOP: OnceLock<watch::Receiver<bool>> = OnceLock::new();
    STOP.get_or_init(|| {
        let (asked, stop) = watch::channel(false);
        let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())
            .expect("the system delivers SIGTERM");
        tokio::spawn(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = tokio::signal::ctrl_c() => {}
            }
            let _ = asked.send(true);
            // Hold the channel: dropping it would look like another change.
            std::future::pending::<()>().await;
        });
        stop
    })
    .clone()
}

/// `--max-time`: `20m`, `90s`, `2h`.
pub fn max_time(text: &str) -> Result<Duration, String> {
    match Span::parse(text).map(Span::millis) {
        Some(millis) if millis > 0 => Ok(Duration::from_millis(millis.unsigned_abs())),
        _ => Err("a length of time such as 20m, 90s or 2h".to_owned()),
    }
}

/// Send what is due, of one run or of all.
pub async fn drain(
    inv: &Invocation,
    loaded: &Loaded,
    db: &Db,
    (relays, signer): (Vec<Relay>, Option<Arc<Signer>>),
    run_id: Option<String>,
    expected: u64,
) -> Result<Drained, Failure> {
    let project = &loaded.project;
    let _lock = delivery_lock(inv, db).await?;
    let bar = progress_bar(inv, expected);
    let local = relays.iter().all(|r| r.server.url().is_loopback());
    let options = Options {
        run_id: run_id.clone(),
        relays,
        open_composer: composers(db.clone(), project, tokens(project)?),
        recheck: Some(rechecker(db.clone(), loaded.files())),
        signer,
        stop: inv.stop(),
        until: inv.until(),
        progress: bar.clone().map(|bar| {
            let told: delivery::Progress =
                Arc::new(move |t: &Totals| bar.set_position(t.accepted + t.failed + t.deferred));
            told
        }),
    };
    let growing = ledger::grow(inv, project, db).await?;
    let began_at = clock::now();
    let drained = delivery::drain(db, options).await;
    growing.end().await;
    let (totals, ended) = drained?;
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    let held = status::held(db, run_id.as_deref(), began_at).await?;
    let back = drained::held_back(project, db).await?;
    let next_due_at = pacing::next_due(&status::due_by_lane(db, run_id.as_deref()).await?, &back.pace);
    Ok(Drained { totals, ended, next_due_at, held, back, local })
}

async fn delivery_lock(inv: &Invocation, db: &Db) -> Result<DeliveryLock, Failure> {
    let started = Instant::now();
    loop {
        match DeliveryLock::take(db) {
            Ok(Some(lock)) => return Ok(lock),
            Ok(None) if started.elapsed() < LOCK_WAIT && inv.over().is_none() => tokio::time::sleep(LOCK_POLL).await,
            Ok(None) => {
                return Err(Failure::Busy(
                    "another process is delivering from this SQLite file\nrun again later; with Postgres any number may deliver at once".to_owned(),
                ));
            }
            Err(e) => return Err(Failure::Environment(format!("cannot lock the database file for delivery: {e}"))),
        }
    }
}

fn progress_bar(inv: &Invocation, expected: u64) -> Option<indicatif::ProgressBar> {
    if inv.quiet || expected == 0 || !std::io::stderr().is_terminal() {
        return None;
    }
    let style = indicatif::ProgressStyle::with_template("  sending {wide_bar} {human_pos}/{human_len}  {per_sec}")
        .expect("a well-formed template");
    Some(indicatif::ProgressBar::new(expected).with_style(style))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_read_and_no_time_is_none() {
        assert_eq!(max_time("20m"), Ok(Duration::from_secs(1_200)));
        assert_eq!(max_time("90s"), Ok(Duration::from_secs(90)));
        for text in ["", "0m", "20", "soon", "-5m"] {
            assert!(max_time(text).is_err(), "{text}");
        }
    }
}
