//! A real SMTP server on loopback that catches mail instead of delivering it.
//!
//! The demo and `preview` look at what arrives; tests judge by it and make it misbehave. It speaks ESMTP as RFC 5321
//! and its extensions define it, strictly, and holds against a client whatever a strict receiver would
//! ([`Caught::defects`]). Every stored message is in the log before the client hears 250.
//!
//! It relays nothing and imports no other room: it stands for the outside world. Sizes are bytes, times are epoch
//! milliseconds UTC.
//!
//! | file | |
//! |---|---|
//! | `behaviour.rs` | the seam: what the server may say and do instead of the right thing, as values |
//! | `scripted.rs` | a behaviour keyed by recipient |
//! | `extensions.rs`, `command.rs` | what is announced; command lines, pure |
//! | `content.rs` | dot-unstuffing and defects, pure |
//! | `wire.rs` | buffered bytes, plain or encrypted |
//! | `session.rs`, `transaction.rs`, `answering.rs` | one connection |
//! | `store.rs`, `log.rs` | what is kept |

mod answering;
mod behaviour;
mod command;
mod content;
mod extensions;
mod log;
mod scripted;
mod session;
mod store;
mod transaction;
mod wire;

#[cfg(test)]
mod tests;

pub use behaviour::{Agreeable, Answer, Behaviour, Moment, Move, Reply, Stage, Transaction};
pub use extensions::{Extensions, SIZE_BYTES_MAX};
pub use log::{Logged, read_log};
pub use scripted::ByRecipient;

use rustls::ServerConfig;
use session::Session;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;
use store::{Store, Tally};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};

/// Most connections open at once; one more is told 421 4.3.2.
pub const CONNECTIONS_MAX: usize = 1_000;
/// Pause after the system refused to accept a connection (out of file descriptors), in milliseconds.
const ACCEPT_RETRY_MS: u64 = 10;

/// How connections are encrypted.
#[derive(Debug, Clone)]
pub enum Tls {
    /// From the first byte (`smtps`, RFC 8314).
    Implicit(Arc<ServerConfig>),
    /// After STARTTLS, which is then required before AUTH and MAIL.
    StartTls(Arc<ServerConfig>),
}

/// What is kept of a stored message, beside its line in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Keep {
    /// Everything, in memory.
    Memory,
    /// Envelopes in memory, content as `000001.eml`, `000002.eml` … in this folder, which is made if missing.
    Dir(PathBuf),
    /// Only counts.
    Count,
}

/// How to start a [`Catcher`]. The default: a free port on 127.0.0.1, plain, agreeable, everything in memory.
#[derive(Clone)]
pub struct CatcherOptions {
    /// Where to listen; port 0 takes a free one.
    pub bind: SocketAddr,
    pub tls: Option<Tls>,
    /// User and password every client must give. `None`: AUTH is not on offer.
    pub auth: Option<(String, String)>,
    pub keep: Keep,
    /// The append-only log of stored messages; see [`read_log`].
    pub log: Option<PathBuf>,
    pub extensions: Extensions,
    pub behaviour: Arc<dyn Behaviour>,
}

impl Default for CatcherOptions {
    fn default() -> Self {
        Self {
            bind: (Ipv4Addr::LOCALHOST, 0).into(),
            tls: None,
            auth: None,
            keep: Keep::Memory,
            log: None,
            extensions: Extensions::default(),
            behaviour: Arc::new(Agreeable),
        }
    }
}

/// One stored message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caught {
    /// From 1 in the order of storing.
    pub number: u64,
    /// When it was stored, epoch milliseconds UTC.
    pub at: i64,
    /// The reverse path; empty for the null sender.
    pub envelope_from: String,
    /// The accepted recipients in order.
    pub envelope_to: Vec<String>,
    /// The parameters as the client wrote them: those of MAIL, then those of each recipient. Empty strings: none.
    pub envelope_parameters: Vec<String>,
    /// It came over TLS.
    pub encrypted: bool,
    /// The Message-ID with its angle brackets.
    pub message_id: Option<String>,
    /// The content, dots unstuffed, otherwise exactly as it came.
    pub bytes: Arc<Vec<u8>>,
    /// What a strict receiver holds against the content and against the conversation since the message before.
    pub defects: Vec<String>,
}

/// Totals since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Connections accepted.
    pub connections: u64,
    /// TLS handshakes completed.
    pub encrypted: u64,
    /// Messages stored.
    pub messages: u64,
    /// Recipients of stored messages.
    pub recipients: u64,
    /// Replies of 4yz and 5yz.
    pub refused: u64,
    /// Stored messages with a defect.
    pub defective: u64,
    /// Content stored, in bytes.
    pub bytes: u64,
}

/// What all connections share.
pub(crate) struct Server {
    tls: Option<Tls>,
    auth: Option<(String, String)>,
    extensions: Extensions,
    behaviour: Arc<dyn Behaviour>,
    store: Store,
    open: AtomicUsize,
}

/// A running server. Dropping it ends it at once; [`Catcher::stop`] also waits for the end.
pub struct Catcher {
    addr: SocketAddr,
    server: Arc<Server>,
    stop: Option<oneshot::Sender<()>>,
    accepting: JoinHandle<()>,
}

impl Catcher {
    /// Binds and begins to accept, on the current tokio runtime.
    ///
    /// # Errors
    /// The address cannot be bound; the log or the folder cannot be opened; the log is not one of ours.
    pub async fn start(options: CatcherOptions) -> io::Result<Self> {
        let store = Store::open(options.keep, options.log.as_deref())?;
        let listener = TcpListener::bind(options.bind).await?;
        let addr = listener.local_addr()?;
        let server = Arc::new(Server {
            tls: options.tls,
            auth: options.auth,
            extensions: options.extensions,
            behaviour: options.behaviour,
            store,
            open: AtomicUsize::new(0),
        });
        let (stop, stopped) = oneshot::channel();
        let accepting = tokio::spawn(accept(listener, Arc::clone(&server), stopped));
        Ok(Self { addr, server, stop: Some(stop), accepting })
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Its address as `SMTP_URL` takes it, with user and password when it wants them:
    /// `smtp://127.0.0.1:2525`, `smtps://…` or `smtp://…?tls=required`.
    pub fn url(&self) -> String {
        let (scheme, query) = match self.server.tls {
            None => ("smtp", ""),
            Some(Tls::Implicit(_)) => ("smtps", ""),
            Some(Tls::StartTls(_)) => ("smtp", "?tls=required"),
        };
        let login = self.server.auth.as_ref().map_or_else(String::new, |(user, password)| {
            format!("{}:{}@", percent_encoded(user), percent_encoded(password))
        });
        format!("{scheme}://{login}{}{query}", self.addr)
    }

    /// The stored messages in order; empty with [`Keep::Count`].
    pub fn mails(&self) -> Vec<Caught> {
        self.server.store.mails()
    }

    /// Totals since the start.
    pub fn counts(&self) -> Counts {
        self.server.store.counts()
    }

    /// What the conversations of all connections did wrong, whether or not a message came of it (the latest 1,000).
    pub fn complaints(&self) -> Vec<String> {
        self.server.store.complaints()
    }

    /// Ends all connections where they are and gives the port back.
    pub async fn stop(mut self) {
        if let Some(stop) = self.stop.take() {
            // Nobody listens any more only if the task has ended by itself.
            let _ = stop.send(());
        }
        let _ = (&mut self.accepting).await;
    }
}

impl Drop for Catcher {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, server: Arc<Server>, mut stopped: oneshot::Receiver<()>) {
    let mut sessions = JoinSet::new();
    let mut number = 0;
    loop {
        tokio::select! {
            _ = &mut stopped => break,
            Some(_) = sessions.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    number += 1;
                    sessions.spawn(converse(Arc::clone(&server), stream, number));
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(ACCEPT_RETRY_MS)).await,
            },
        }
    }
    drop(listener);
    sessions.shutdown().await;
}

/// Counts a connection as open while it lives, however it ends.
struct Open<'a>(&'a AtomicUsize);

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

async fn converse(server: Arc<Server>, stream: TcpStream, number: u64) {
    Tally::add(&server.store.tally.connections, 1);
    let crowded = server.open.fetch_add(1, Relaxed) >= CONNECTIONS_MAX;
    let _open = Open(&server.open);
    // A network error ends this one conversation and concerns nobody else.
    let _ = stream.set_nodelay(true);
    let _ = Session::new(Arc::clone(&server), stream, number).run(crowded).await;
}

fn percent_encoded(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
    text.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}
