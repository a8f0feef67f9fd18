//! A mail server: where it is, how long it is waited for, and how it is reached.
//!
//! STARTTLS (RFC 3207) is done on the bare stream before lettre sees it: anything the server, or someone between, says in clear text
//! after its 220 ends the connection.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use lettre::transport::smtp::extension::ClientId;
use rustls::ClientConfig;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::replies::{Reply, Stage};
use super::tls::{Distrust, NoTls};
use super::wire::{Stream, Wire};
use crate::settings::{SmtpUrl, Tls};

/// The longest reply read before TLS, in bytes.
const CLEAR_REPLY_BYTES_MAX: usize = 8 * 1024;

/// How long we wait for a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// For a connection, and for its TLS handshake.
    pub connect: Duration,
    /// For the answer to a command.
    pub command: Duration,
    /// For the answer to a message's content.
    pub content: Duration,
    /// Before connecting again, times the number of failures so far.
    pub reconnect: Duration,
}

impl Default for Patience {
    /// What RFC 5321 §4.5.3.2 asks for.
    fn default() -> Patience {
        Patience {
            connect: Duration::from_secs(30),
            command: Duration::from_secs(5 * 60),
            content: Duration::from_secs(10 * 60),
            reconnect: Duration::from_millis(500),
        }
    }
}

/// A mail server and how to reach it.
pub struct Server {
    pub(super) url: SmtpUrl,
    tls: Arc<ClientConfig>,
    pub(super) hello: ClientId,
    pub(super) patience: Patience,
    /// Conversations with it that are open in this process.
    pub(super) open: Arc<AtomicUsize>,
}

/// Counts a conversation as open while it lives.
pub(super) struct Open(Arc<AtomicUsize>);

impl Open {
    pub fn new(count: &Arc<AtomicUsize>) -> Open {
        count.fetch_add(1, Ordering::Relaxed);
        Open(count.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Why a conversation could not be opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OpenError {
    /// No connection, no TLS, or no sensible greeting.
    Unreachable(String),
    /// A certificate that is not accepted: it stays so until somebody mends it.
    Distrusted(Distrust),
    /// The server said no.
    Refused(Stage, Reply),
}

impl Server {
    /// A server at `url`, greeted as `hello_domain`.
    pub fn new(url: SmtpUrl, ca_file: Option<&Path>, hello_domain: &str) -> Result<Server, String> {
        let hello = ClientId::Domain(hello_domain.to_owned());
        Ok(Server {
            url,
            tls: super::tls::client(ca_file)?,
            hello,
            patience: Patience::default(),
            open: Arc::default(),
        })
    }

    /// How many conversations with it are open.
    pub fn open_conversations(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// The same server, waited for so long.
    pub fn with_patience(self, patience: Patience) -> Server {
        Server { patience, ..self }
    }

    /// How long it is waited for.
    pub fn patience(&self) -> &Patience {
        &self.patience
    }

    /// Where mail goes, without the password.
    pub fn url(&self) -> &SmtpUrl {
        &self.url
    }

    pub(super) async fn connect(&self) -> Result<Wire, OpenError> {
        let unreachable = |e: String| OpenError::Unreachable(format!("{}: {e}", self.url));
        let address = (self.url.host.as_str(), self.url.port);
        let stream = timeout(self.patience.connect, TcpStream::connect(address))
            .await
            .map_err(|_| unreachable(format!("no connection within {:?}", self.patience.connect)))?
            .map_err(|e| unreachable(e.to_string()))?;
        // Without this every message waits 40 ms for a delayed acknowledgement.
        stream.set_nodelay(true).map_err(|e| unreachable(e.to_string()))?;
        let peer = stream.peer_addr().map_err(|e| unreachable(e.to_string()))?;
        match self.url.tls {
            Tls::None => Ok(Wire::new(Stream::Plain(stream), peer, b"")),
            Tls::Implicit => self.begin_tls(stream, peer, b"").await,
            Tls::Required => {
                let stream = self.ask_for_tls(stream).await?;
                self.begin_tls(stream, peer, b"220 ready\r\n").await
            }
        }
    }

    async fn begin_tls(&self, stream: TcpStream, peer: SocketAddr, greeting: &'static [u8]) -> Result<Wire, OpenError> {
        let tls = timeout(self.patience.connect, super::tls::handshake(self.tls.clone(), &self.url.host, stream))
            .await
            .map_err(|_| {
                OpenError::Unreachable(format!("{}: no TLS handshake within {:?}", self.url, self.patience.connect))
            })?
            .map_err(|no_tls| match no_tls {
                NoTls::Broken(why) => OpenError::Unreachable(why),
                NoTls::Distrusted(Distrust { why, remedy }) => {
                    OpenError::Distrusted(Distrust { why: format!("{}: {why}", self.url), remedy })
                }
            })?;
        Ok(Wire::new(Stream::Tls(Box::new(tls)), peer, greeting))
    }

    /// The part of the conversation that is not yet private: greeting, EHLO, STARTTLS.
    async fn ask_for_tls(&self, mut stream: TcpStream) -> Result<TcpStream, OpenError> {
        let hello = format!("EHLO {}\r\n", self.hello);
        for (command, stage_is_starttls) in [("", false), (hello.as_str(), false), ("STARTTLS\r\n", true)] {
            let talk = async {
                stream.write_all(command.as_bytes()).await?;
                clear_reply(&mut stream).await
            };
            let reply = timeout(self.patience.command, talk)
                .await
                .map_err(|_| OpenError::Unreachable(format!("{}: no answer before TLS", self.url)))?
                .map_err(|e| OpenError::Unreachable(format!("{}: {e}", self.url)))?;
            let last = reply.trim_end_matches("\r\n").rsplit("\r\n").next().unwrap_or_default();
            let code = last.get(..3).and_then(|c| c.parse().ok()).unwrap_or(0);
            let expected = if command == hello { 250 } else { 220 };
            if code != expected {
                let text = last.get(4..).unwrap_or_default();
                return Err(if stage_is_starttls {
                    OpenError::Unreachable(format!("{}: STARTTLS refused: {code} {text}", self.url))
                } else {
                    OpenError::Refused(Stage::Connect, Reply::new(code, text))
                });
            }
            if command == hello
                && !reply.to_ascii_uppercase().lines().any(|l| l.get(4..).is_some_and(|k| k.trim() == "STARTTLS"))
            {
                return Err(OpenError::Unreachable(format!(
                    "{}: the server offers no STARTTLS, and mail is not sent without TLS",
                    self.url
                )));
            }
        }
        Ok(stream)
    }
}

/// One reply, read byte-exactly: whatever follows its last line in the same packet is an injection (CVE-2011-0411) and ends the connection.
async fn clear_reply(stream: &mut TcpStream) -> std::io::Result<String> {
    let bad = |why: &str| std::io::Error::new(std::io::ErrorKind::InvalidData, why.to_owned());
    let mut text = Vec::new();
    let mut buffer = [0; 1024];
    loop {
        let n = stream.read(&mut buffer).await?;
        if n == 0 {
            return Err(bad("the server closed the connection"));
        }
        text.extend_from_slice(&buffer[..n]);
        if text.len() > CLEAR_REPLY_BYTES_MAX {
            return Err(bad("an endless reply"));
        }
        let mut end = 0;
        while let Some(line) = text[end..].split_inclusive(|b| *b == b'\n').next().filter(|l| l.ends_with(b"\n")) {
            end += line.len();
            if line.get(3) != Some(&b'-') {
                if end < text.len() {
                    return Err(bad("the server said more than one reply before TLS"));
                }
                return String::from_utf8(text).map_err(|_| bad("a reply that is not text"));
            }
        }
    }
}
