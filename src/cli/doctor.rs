//! `okaeri doctor`: everything that a campaign needs to go out and to arrive, looked at before one does.
//!
//! No mail is sent. The database is opened as every verb opens it. What the DNS says is judged by the room `doctor`; here is the rest, and how
//! it is told.

use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use serde_json::json;

use super::revision::git;
use super::{Exit, Failure, Invocation, sending};
use crate::clock::{self, MINUTE};
use crate::db::{Db, DbError, Lease};
use crate::delivery::{Conversation, Distrust, OpenError, Server, Stage};
use crate::dkim::{Identity, PublicKey};
use crate::doctor::{self, Area, Dns, Finding, Names, Status};
use crate::problem::{Problem, Problems, Severity, counted};
use crate::settings::{DkimKey, Project, Relay, SmtpUrl, Tls};

/// The port of name servers.
const DNS_PORT: u16 = 53;
/// How long the mail server may take from the connection to the login.
const MAIL_SERVER_TIMEOUT: Duration = Duration::from_secs(60);
/// Bits of a file's mode that let others than its owner in.
const MODE_OTHERS: u32 = 0o077;

#[derive(Debug, clap::Args)]
pub struct DoctorArgs {
    /// Ask this name server instead of those of this machine: an address, with a port if it is not 53
    #[arg(long, value_name = "ADDRESS", value_parser = name_server)]
    dns: Option<SocketAddr>,
}

fn name_server(text: &str) -> Result<SocketAddr, String> {
    let address = text.parse::<SocketAddr>().or_else(|_| text.parse::<IpAddr>().map(|ip| (ip, DNS_PORT).into()));
    address.map_err(|_| "an IP address, such as 9.9.9.9 or 127.0.0.1:5353".to_owned())
}

pub async fn run(inv: &Invocation, args: DoctorArgs) -> Result<Exit, Failure> {
    let mut problems = Problems::new();
    let project = inv.read_project(&mut problems);
    let mut findings: Vec<Finding> = problems.sorted().into_iter().map(written).collect();
    if let Some(project) = &project {
        findings.push(Finding::ok(Area::Settings, format!("okaeri.yaml of {} can be used", project.settings.project)));
        findings.extend(secrets(project));
        let (keys, told) = keys(project).await;
        findings.extend(told);
        findings.push(database(project).await);
        let relays = &project.settings.smtp.relays;
        let several = relays.len() > 1;
        for relay in relays {
            let found = mail_server(project, relay).await;
            findings.push(if several { found.of(&format!("relay {}", relay.name)) } else { found });
        }
        let (from, envelope) = (project.settings.from_domain(), project.settings.envelope_domain());
        let names = Names { from, envelope, servers: mail_hosts(relays), keys };
        match Dns::new(args.dns) {
            Ok(resolver) => findings.extend(doctor::dns(&resolver, &names).await),
            Err(e) => findings.push(Finding::unclear(
                Area::Dns,
                format!("the name servers of this machine are not known: {e}"),
                "nothing of the DNS was looked at",
                "name one: --dns ADDRESS",
            )),
        }
    }
    inv.print(|| told_json(&findings), || told_text(&findings));
    Ok(exit(&findings))
}

/// Problems of the project come first: what did not answer may answer later, they stay.
fn exit(findings: &[Finding]) -> Exit {
    let has = |is: fn(&Finding) -> bool| findings.iter().any(is);
    match () {
        () if has(|f| f.status == Status::Problem && !f.unavailable) => Exit::Problems,
        () if has(|f| f.unavailable) => Exit::Unavailable,
        () => Exit::Done,
    }
}

/// A problem of okaeri.yaml.
fn written(problem: &Problem) -> Finding {
    let finding = format!("{}: {}", problem.place, problem.message);
    let remedy = problem.hint.clone().unwrap_or_else(|| "docs/settings.md tells every key".to_owned());
    match problem.severity {
        Severity::Error => Finding::problem(Area::Settings, finding, "nothing works before this is mended", remedy),
        Severity::Warning => Finding::warn(Area::Settings, finding, "it may not be what you mean", remedy),
    }
}

/// The secret, and the address that links lead to.
fn secrets(project: &Project) -> Vec<Finding> {
    let links = &project.settings.links;
    let secret = match links.secret.require("signing links and Message-IDs") {
        Ok(_) => Finding::ok(Area::Secrets, "the secret that signs links and Message-IDs is set"),
        Err(e) => Finding::problem(
            Area::Secrets,
            e.to_string(),
            "nothing can be sent without it",
            "set it to a long random text once and keep it: openssl rand -hex 32",
        ),
    };
    let base_url = links.base_url.as_ref().map(|url| url.get());
    let page = match base_url {
        Some(Some(url)) => Finding::ok(Area::Secrets, format!("links lead to {url}")),
        Some(None) | None => Finding::warn(
            Area::Secrets,
            "links.base_url is not set",
            "mails offer no one-click unsubscribe (RFC 8058), which Gmail and Yahoo ask of bulk mail",
            "run `okaeri serve` where the world reaches it, and set links.base_url to its https address",
        ),
    };
    vec![secret, page]
}

/// The keys that sign, and what was found about each.
async fn keys(project: &Project) -> (Vec<(Identity, PublicKey)>, Vec<Finding>) {
    let mut keys = Vec::new();
    let mut findings = Vec::new();
    for entry in &project.settings.dkim {
        let name = format!("the DKIM key of selector {}", entry.selector);
        match sending::private_key(project, entry) {
            Ok(key) => {
                let from = match &entry.key {
                    DkimKey::Environment(_) => "the environment".to_owned(),
                    DkimKey::File(path) => path.display().to_string(),
                };
                let told = format!("{name} ({}) is read from {from}", key.public().algorithm.word());
                findings.push(Finding::ok(Area::Secrets, told));
                let identity = Identity { domain: entry.domain.clone(), selector: entry.selector.clone() };
                keys.push((identity, key.public().clone()));
            }
            Err(why) => findings.push(Finding::problem(
                Area::Secrets,
                format!("{name} {why}"),
                "nothing can be sent without it",
                "bring the key here, or take its entry out of `dkim:`",
            )),
        }
        if let DkimKey::File(path) = &entry.key {
            findings.extend(kept(project, path).await);
        }
    }
    (keys, findings)
}

/// Who else can get at the file of a key.
async fn kept(project: &Project, path: &Path) -> Vec<Finding> {
    let mut findings = Vec::new();
    let (file, meaning) = (path.display(), "whoever has the key can write in your name");
    let mode = std::fs::metadata(project.dir.join(path)).map(|m| m.permissions().mode());
    if mode.is_ok_and(|mode| mode & MODE_OTHERS != 0) {
        let finding = format!("others than its owner may read or change {file}");
        findings.push(Finding::warn(Area::Secrets, finding, meaning, format!("chmod 600 {file}")));
    }
    // Without git, or outside of a repository, nothing is in git.
    let listed = git(&project.dir, &["ls-files", "--error-unmatch", "--", &file.to_string()]).await;
    if let Ok(Ok(_)) = listed {
        let remedy = "make a new key with a new selector outside of the repository; the old one stays in its history";
        findings.push(Finding::problem(Area::Secrets, format!("the key {file} is in git"), meaning, remedy));
    }
    findings
}

/// Whether the database can be reached, has our schema, and takes what is written.
async fn database(project: &Project) -> Finding {
    let url = match project.database_url() {
        Ok(url) => url,
        Err(e) => {
            let remedy = "set it to sqlite:PATH or postgres://…";
            return Finding::problem(Area::Database, e.to_string(), "nothing works without it", remedy);
        }
    };
    match written_to(&url).await {
        Ok(engine) => {
            Finding::ok(Area::Database, format!("{engine} answers, its schema is up to date, and it can be written"))
        }
        Err(e) => {
            let meaning = "nothing can be imported, planned or sent";
            match e {
                DbError::Address(_) => {
                    Finding::problem(Area::Database, e.to_string(), meaning, "write sqlite:PATH or postgres://…")
                }
                DbError::Migrate(_) | DbError::SchemaOfAnother(_) => {
                    let remedy =
                        "let the database's owner run a newer okaeri once, or go back to the version that wrote it";
                    Finding::problem(Area::Database, e.to_string(), meaning, remedy)
                }
                _ => {
                    let remedy = "see that it runs, that this machine may reach it, and that the user may write";
                    Finding::unavailable(Area::Database, e.to_string(), meaning, remedy)
                }
            }
        }
    }
}

/// Open the database and write to it: a lease, given back at once.
async fn written_to(url: &str) -> Result<&'static str, DbError> {
    let db = Db::open(url).await?;
    if let Some(lease) = Lease::take(&db, "doctor", MINUTE, clock::now()).await? {
        lease.release(&db).await?;
    }
    Ok(if let Db::Sqlite { .. } = db { "SQLite" } else { "PostgreSQL" })
}

/// The hosts of the relays whose addresses are set.
fn mail_hosts(relays: &[Relay]) -> Vec<String> {
    let host = |relay: &Relay| Some(SmtpUrl::parse(relay.url.require("doctor").ok()?).ok()?.host);
    relays.iter().filter_map(host).collect()
}

/// A conversation with a mail server up to the point where mail would begin.
async fn mail_server(project: &Project, relay: &Relay) -> Finding {
    let meaning = match project.settings.smtp.relays.len() {
        1 => "no mail leaves",
        _ => "its mail goes to the other relays, as far as they take it",
    };
    let server = match sending::server_of(project, relay) {
        Ok(server) => server,
        Err(failure) => {
            let why = if let Failure::Usage(why) = failure { why } else { "it cannot be used".to_owned() };
            return Finding::problem(Area::MailServer, why, meaning, "set smtp: to smtps://user:password@host");
        }
    };
    let opened = tokio::time::timeout(MAIL_SERVER_TIMEOUT, Conversation::open(&server)).await;
    let seconds = MAIL_SERVER_TIMEOUT.as_secs();
    let opened = opened.unwrap_or_else(|_| {
        Err(OpenError::Unreachable(format!("{}: no conversation within {seconds} s", server.url())))
    });
    match opened {
        Ok(conversation) => {
            let told = welcomed(&server, &conversation);
            conversation.quit().await;
            Finding::ok(Area::MailServer, told)
        }
        Err(OpenError::Refused(Stage::Auth, reply)) if !reply.is_temporary() => Finding::problem(
            Area::MailServer,
            format!("{} refuses our login: {}", server.url(), reply.line()),
            meaning,
            "mend user and password in SMTP_URL; both are percent-encoded",
        ),
        Err(OpenError::Refused(_, reply)) => Finding::unavailable(
            Area::MailServer,
            format!("{} takes no mail from us now: {}", server.url(), reply.line()),
            meaning,
            "run again later; if it stays, ask who runs the server",
        ),
        Err(OpenError::Distrusted(Distrust { why, remedy })) => {
            Finding::problem(Area::MailServer, why, meaning, remedy)
        }
        Err(OpenError::Unreachable(why)) if server.url().is_loopback() => Finding::unavailable(
            Area::MailServer,
            why,
            meaning,
            "to keep the mail on this machine, start `okaeri catch` in another terminal; for a real server set SMTP_URL",
        ),
        Err(OpenError::Unreachable(why)) => Finding::unavailable(
            Area::MailServer,
            why,
            meaning,
            "see that host and port are right, and that a firewall lets them through",
        ),
    }
}

fn welcomed(server: &Server, conversation: &Conversation) -> String {
    let url = server.url();
    let private = match url.tls {
        Tls::Implicit => "over TLS",
        Tls::Required => "over TLS (STARTTLS)",
        Tls::None => "in clear text, on this machine",
    };
    let login = if url.login.is_some() { "takes our login" } else { "asks for no login" };
    let offers = conversation.offers();
    let size = offers.size.filter(|size| *size > 0).map(|size| format!("messages up to {size} bytes"));
    let offered: Vec<String> = [("PIPELINING", offers.pipelining), ("SMTPUTF8", offers.smtputf8), ("DSN", offers.dsn)]
        .into_iter()
        .filter(|(_, offered)| *offered)
        .map(|(word, _)| word.to_owned())
        .chain(size)
        .collect();
    let offered = if offered.is_empty() { "nothing further".to_owned() } else { offered.join(", ") };
    format!("{url} answers {private}, {login}, and offers {offered}")
}

fn told_text(findings: &[Finding]) -> String {
    let (bold, dim) = (Style::new().bold(), Style::new().dimmed());
    let mut out = String::new();
    let mut area = None;
    for f in findings {
        if area.replace(f.area) != Some(f.area) {
            out.push_str(&format!("{bold}{}{bold:#}\n", f.area.word()));
        }
        let (word, colour) = match f.status {
            Status::Ok => ("✓ ok     ", AnsiColor::Green),
            Status::Warn => ("! warn   ", AnsiColor::Yellow),
            Status::Unclear => ("? unclear", AnsiColor::Cyan),
            Status::Problem => ("✗ problem", AnsiColor::Red),
        };
        let style = Style::new().fg_color(Some(colour.into()));
        out.push_str(&format!("  {style}{word}{style:#}  {}\n", f.finding));
        if let Some(meaning) = &f.meaning {
            out.push_str(&format!("             {dim}{meaning}{dim:#}\n"));
        }
        if let Some(remedy) = &f.remedy {
            out.push_str(&format!("             → {remedy}\n"));
        }
    }
    let count = |status| findings.iter().filter(|f| f.status == status).count();
    let (problems, warnings) = (counted(count(Status::Problem), "problem"), counted(count(Status::Warn), "warning"));
    out.push_str(&match count(Status::Unclear) {
        0 => format!("{problems} and {warnings}\n"),
        n => format!("{problems}, {warnings}, and {n} without an answer\n"),
    });
    out
}

fn told_json(findings: &[Finding]) -> serde_json::Value {
    let worst = findings.iter().map(|f| f.status).max().unwrap_or(Status::Ok);
    json!({ "status": worst, "findings": findings })
}
