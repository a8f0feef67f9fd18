//! `okaeri catch`: a mail server on this machine that keeps what it gets and delivers nothing, to try a campaign out.
//!
//! It listens where the project's `smtp` setting points, so that `send`, `work` and `preview --send-to` reach it without another word.
//! Only loopback addresses are taken: nobody else can use it, and nothing of it leaves.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::json;

use super::sending::stop_signal;
use super::{Exit, Failure, Invocation};
use crate::catcher::{Agreeable, Behaviour, ByRecipient, Catcher, CatcherOptions, Counts, Keep};
use crate::money::grouped;
use crate::settings::{Project, SmtpUrl, Tls};

/// Where caught mail is kept, in the project's folder.
const FOLDER: &str = ".okaeri/mails";

#[derive(Debug, clap::Args)]
pub struct CatchArgs {
    /// Where to listen, on this machine only [default: where the project's `smtp` points]
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr>,
    /// Where to write the mails, one .eml file each [default: .okaeri/mails in the project]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Misbehave by recipient: refuse hard@…, defer full@…, hang up on drop@… after taking the mail; take everyone else
    #[arg(long)]
    faults: bool,
}

pub async fn run(inv: &Invocation, args: CatchArgs) -> Result<Exit, Failure> {
    let project = inv.project()?;
    let (bind, auth) = match args.listen {
        Some(bind) => (bind, None),
        None => from_settings(&project)?,
    };
    if !bind.ip().is_loopback() {
        return Err(Failure::Usage(format!(
            "--listen {bind}: `catch` takes any mail without asking, so it listens on this machine only\nwrite 127.0.0.1:{}",
            bind.port()
        )));
    }
    let dir = args.dir.unwrap_or_else(|| project.dir.strip_prefix(".").unwrap_or(&project.dir).join(FOLDER));
    let behaviour: Arc<dyn Behaviour> =
        if args.faults { Arc::new(ByRecipient::standard()) } else { Arc::new(Agreeable) };
    let options = CatcherOptions { bind, auth, keep: Keep::Dir(dir.clone()), behaviour, ..CatcherOptions::default() };
    let mut stop = stop_signal();
    let catcher = Catcher::start(options).await.map_err(|e| cannot_catch(bind, &dir, &e))?;
    inv.say(format_args!("catching mail on smtp://{}, into {}; Ctrl-C ends it", catcher.addr(), dir.display()));
    let _ = stop.changed().await;
    let counts = catcher.counts();
    catcher.stop().await;
    inv.print(|| as_json(&counts, &dir), || as_text(&counts, &dir));
    Ok(Exit::Done)
}

fn cannot_catch(bind: SocketAddr, dir: &Path, e: &std::io::Error) -> Failure {
    let remedy = match e.kind() {
        std::io::ErrorKind::AddrInUse => {
            "\nanother `okaeri catch` is at work there: use it, end it, or take another port with --listen and SMTP_URL"
        }
        _ => "",
    };
    Failure::Environment(format!("cannot catch mail on {bind}, into {}: {e}{remedy}", dir.display()))
}

/// The address, and the login if it names one, of the project's mail server, when that is this machine.
fn from_settings(project: &Project) -> Result<(SocketAddr, Option<(String, String)>), Failure> {
    let text = project.settings.smtp.first().url.require("catching what is sent")?;
    let url = SmtpUrl::parse(text).map_err(Failure::Usage)?;
    let address = match url.host.as_str() {
        "localhost" => Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        host => host.parse().ok(),
    };
    match (address, url.tls) {
        (Some(ip), Tls::None) => Ok((SocketAddr::new(ip, url.port), url.login)),
        _ => Err(Failure::Usage(format!(
            "the project sends to {url}, and `catch` speaks plain SMTP on this machine only\n\
             SMTP_URL=smtp://127.0.0.1:2525 okaeri catch, and the same for okaeri send"
        ))),
    }
}

fn as_json(counts: &Counts, dir: &Path) -> serde_json::Value {
    json!({ "messages": counts.messages, "refused": counts.refused, "defective": counts.defective, "dir": dir })
}

fn as_text(counts: &Counts, dir: &Path) -> String {
    let mut out = format!("{:>9} caught, in {}\n", grouped(counts.messages as i64), dir.display());
    for (n, words) in [(counts.refused, "commands refused or deferred"), (counts.defective, "with a defect of form")] {
        if n > 0 {
            out.push_str(&format!("{:>9} {words}\n", grouped(n as i64)));
        }
    }
    out
}
