//! `okaeri serve`: answer unsubscribe links until told to stop.

use std::net::SocketAddr;

use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use super::{Exit, Failure, Invocation};
use crate::token::Tokens;
use crate::web::{self, App};

#[derive(Debug, clap::Args)]
pub struct ServeArgs {
    /// Where to listen; put a server that speaks https in front
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8025")]
    listen: SocketAddr,
}

pub async fn run(inv: &Invocation, args: ServeArgs) -> Result<Exit, Failure> {
    let project = inv.project()?;
    let links = &project.settings.links;
    let tokens = Tokens::new(links.secret.require("links in mails")?);
    let db = inv.open_db(&project).await?;
    let listener = TcpListener::bind(args.listen)
        .await
        .map_err(|e| Failure::Environment(format!("cannot listen on {}: {e}", args.listen)))?;
    let at = listener.local_addr().map_err(|e| Failure::Environment(e.to_string()))?;
    inv.say(format_args!("listening on http://{at}"));
    match links.base_url.as_ref().and_then(|url| url.get()) {
        Some(url) => inv.say(format_args!("mails lead to {url}: it must reach this server")),
        None => inv.say("links.base_url is not set: mails carry the mailto form only, and nothing leads here"),
    }
    let stop = stop_signal().map_err(|e| Failure::Environment(format!("cannot wait for signals: {e}")))?;
    web::serve(listener, App::new(db.clone(), &project.settings, tokens), stop)
        .await
        .map_err(|e| Failure::Environment(e.to_string()))?;
    db.close().await;
    inv.say("stopped");
    Ok(Exit::Done)
}

/// Ready at SIGTERM or SIGINT.
fn stop_signal() -> std::io::Result<impl Future<Output = ()> + Send + 'static> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
