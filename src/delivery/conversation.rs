//! One SMTP conversation (RFC 5321), over lettre's connection with the stages driven by us.
//!
//! With PIPELINING (RFC 2920) MAIL, RCPT and DATA go out in one write and the commit falls after 354; without, MAIL and RCPT are answered,
//! the commit falls, and DATA follows. One recipient per transaction, so that one answer belongs to one message.
//! STARTTLS (RFC 3207) is done on the bare stream before lettre sees it: anything the server, or someone between, says in clear text
//! after its 220 ends the connection.

use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::AsyncSmtpConnection;
use lettre::transport::smtp::commands::Ehlo;
use lettre::transport::smtp::extension::ClientId;
use lettre::transport::smtp::response::Response;
use rustls::ClientConfig;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::Mail;
use super::replies::{Reply, Stage};
use super::wire::{Gauge, Stream, Wire};
use crate::failpoint::{self, Step};
use crate::settings::{SmtpUrl, Tls};

/// Courtesy at the end; nothing depends on it.
const QUIT_TIMEOUT: Duration = Duration::from_secs(2);
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
    url: SmtpUrl,
    tls: Arc<ClientConfig>,
    hello: ClientId,
    patience: Patience,
    /// Conversations with it that are open in this process.
    open: Arc<AtomicUsize>,
}

/// Counts a conversation as open while it lives.
struct Open(Arc<AtomicUsize>);

impl Open {
    fn new(count: &Arc<AtomicUsize>) -> Open {
        count.fetch_add(1, Ordering::Relaxed);
        Open(count.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What the server's EHLO offers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Offers {
    pub pipelining: bool,
    pub smtputf8: bool,
    pub dsn: bool,
    /// RFC 1870: the largest message taken, when one is named.
    pub size: Option<usize>,
}

/// Why a conversation could not be opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OpenError {
    /// No connection, no TLS, or no sensible greeting.
    Unreachable(String),
    /// The server said no.
    Refused(Stage, Reply),
}

/// What the server said to the envelope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Begun {
    /// It waits for the content (or, without pipelining, for DATA).
    Ready,
    Refused(Stage, Reply),
    /// The connection is gone; no content was written.
    Broken(Stage, String),
}

/// What became of the content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sent {
    /// The server answered.
    Answered(Stage, Reply),
    /// The connection broke before the end of the content was written: it cannot have been delivered.
    NotWritten(String),
    /// The end was written and no answer came: it may have been delivered.
    Unanswered(String),
}

/// An open conversation.
pub struct Conversation {
    connection: AsyncSmtpConnection,
    gauge: Arc<Gauge>,
    offers: Offers,
    patience: Patience,
    /// Envelopes given so far.
    begun: u64,
    _open: Open,
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

    async fn connect(&self) -> Result<Wire, OpenError> {
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
            .map_err(OpenError::Unreachable)?;
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

/// A command written as it stands.
struct Raw<'a>(&'a str);

impl fmt::Display for Raw<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// A reply, or why there is none.
fn reply_of(result: Result<Response, lettre::transport::smtp::Error>) -> Result<Reply, String> {
    match result {
        Ok(response) => {
            let text: Vec<&str> = response.message().collect();
            Ok(Reply::new(u16::from(response.code()), &text.join(" ")))
        }
        Err(e) => match e.status() {
            Some(code) => {
                let text = std::error::Error::source(&e).map(ToString::to_string).unwrap_or_default();
                Ok(Reply::new(u16::from(code), &text.replace('\n', " ")))
            }
            None => Err(e.to_string()),
        },
    }
}

impl Conversation {
    /// Connect, greet, and log in when the address has a login.
    pub async fn open(server: &Server) -> Result<Conversation, OpenError> {
        let wire = server.connect().await?;
        let gauge = wire.gauge();
        let unreachable = |e: String| OpenError::Unreachable(format!("{}: {e}", server.url));
        let greeted = timeout(
            server.patience.command,
            AsyncSmtpConnection::connect_with_transport(Box::new(wire), &server.hello),
        )
        .await
        .map_err(|_| unreachable(format!("no greeting within {:?}", server.patience.command)))?;
        let mut connection = match greeted {
            Ok(connection) => connection,
            Err(e) => {
                return Err(match reply_of(Err(e)) {
                    Ok(reply) => OpenError::Refused(Stage::Connect, reply),
                    Err(e) => unreachable(e),
                });
            }
        };
        // lettre keeps only some of the EHLO lines; asking again is allowed (RFC 5321 §4.1.4) and costs one round trip a connection.
        let ehlo = timeout(server.patience.command, connection.command(Ehlo::new(server.hello.clone())))
            .await
            .map_err(|_| unreachable("no answer to EHLO".to_owned()))?
            .map_err(|e| unreachable(e.to_string()))?;
        let lines: Vec<&str> = ehlo.message().collect();
        let offers = Offers::read(&lines);
        if let Some((user, password)) = &server.url.login {
            let credentials = Credentials::new(user.clone(), password.clone());
            let login = connection.auth(&[Mechanism::Plain, Mechanism::Login], &credentials);
            let result = timeout(server.patience.command, login)
                .await
                .map_err(|_| unreachable("no answer to AUTH".to_owned()))?;
            // Of lettre's own errors only this says that no answer was given because none was asked for.
            let impossible = result.as_ref().is_err_and(lettre::transport::smtp::Error::is_client);
            match reply_of(result) {
                Ok(reply) if (200..300).contains(&reply.code) => {}
                Ok(reply) => return Err(OpenError::Refused(Stage::Auth, reply)),
                Err(e) if !impossible => return Err(unreachable(e)),
                Err(e) => {
                    let reply = Reply { code: 535, enhanced: None, text: format!("login is not possible: {e}") };
                    return Err(OpenError::Refused(Stage::Auth, reply));
                }
            }
        }
        failpoint::pass(Step::Connect);
        Ok(Conversation {
            connection,
            gauge,
            offers,
            patience: server.patience,
            begun: 0,
            _open: Open::new(&server.open),
        })
    }

    /// What the server offers.
    pub fn offers(&self) -> &Offers {
        &self.offers
    }

    /// Whether a message was begun in it before.
    pub fn is_used(&self) -> bool {
        self.begun > 0
    }

    /// Give the envelope. `envelope_id` names the message in delivery reports (RFC 3461 §4.4).
    pub async fn begin(&mut self, mail: &Mail, envelope_id: &str) -> Begun {
        let utf8 = !mail.envelope_to.is_ascii();
        if utf8 && !self.offers.smtputf8 {
            let reply = Reply::new(553, "5.6.7 the mail server does not take international addresses (SMTPUTF8)");
            return Begun::Refused(Stage::Rcpt, reply);
        }
        if let Some(most) = self.offers.size.filter(|most| *most > 0 && mail.bytes.len() > *most) {
            let text = format!("5.3.4 the message has {} bytes, the server takes {most}", mail.bytes.len());
            return Begun::Refused(Stage::Mail, Reply::new(552, &text));
        }
        let mut from = format!("MAIL FROM:<{}>", mail.envelope_from);
        if self.offers.size.is_some() {
            from.push_str(&format!(" SIZE={}", mail.bytes.len()));
        }
        if utf8 {
            from.push_str(" BODY=8BITMIME SMTPUTF8"); // RFC 6531 §3.4: the one implies the other
        }
        let mut to = format!("RCPT TO:<{}>", mail.envelope_to);
        if self.offers.dsn {
            from.push_str(&format!(" RET=HDRS ENVID={envelope_id}"));
            to.push_str(" NOTIFY=FAILURE");
        }
        self.begun += 1;
        self.gauge.expect_silence();
        let patience = self.patience.command;
        let talk = async {
            if self.offers.pipelining {
                self.begin_pipelined(&from, &to).await
            } else {
                self.begin_stepwise(&from, &to).await
            }
        };
        timeout(patience, talk)
            .await
            .unwrap_or_else(|_| Begun::Broken(Stage::Mail, format!("no answer within {patience:?}")))
    }

    async fn begin_stepwise(&mut self, from: &str, to: &str) -> Begun {
        for (stage, command) in [(Stage::Mail, from), (Stage::Rcpt, to)] {
            match reply_of(self.connection.command(Raw(&format!("{command}\r\n"))).await) {
                Ok(reply) if is_yes(stage, &reply) => {}
                Ok(reply) => return Begun::Refused(stage, reply),
                Err(e) => return Begun::Broken(stage, e),
            }
        }
        failpoint::pass(Step::Rcpt);
        Begun::Ready
    }

    async fn begin_pipelined(&mut self, from: &str, to: &str) -> Begun {
        let mut replies = Vec::with_capacity(3);
        for stage in [Stage::Mail, Stage::Rcpt, Stage::Data] {
            let result = match stage {
                Stage::Mail => self.connection.command(Raw(&format!("{from}\r\n{to}\r\nDATA\r\n"))).await,
                _ => self.connection.read_response().await,
            };
            match reply_of(result) {
                // After 421 the server closes; replies to the rest may never come.
                Ok(reply) if reply.closes() => return Begun::Refused(stage, reply),
                Ok(reply) => {
                    match stage {
                        Stage::Rcpt => failpoint::pass(Step::Rcpt),
                        Stage::Data => failpoint::pass(Step::Data),
                        _ => {}
                    }
                    replies.push((stage, reply));
                }
                Err(e) => return Begun::Broken(stage, e),
            }
        }
        let data_is_open = replies[2].1.code == 354;
        let refused = replies.into_iter().find(|(stage, reply)| !is_yes(*stage, reply));
        let Some((stage, reply)) = refused else { return Begun::Ready };
        if data_is_open && stage != Stage::Data {
            // RFC 2920 §3.1: no recipient was taken and DATA was; a lone dot ends it and delivers nothing.
            if let Err(e) = reply_of(self.connection.command(Raw(".\r\n")).await) {
                return Begun::Broken(stage, e);
            }
        }
        Begun::Refused(stage, reply)
    }

    /// Take back an envelope whose content may not be sent. False when the connection must be dropped: with DATA open,
    /// a lone dot would deliver an empty mail and RSET would be taken as content.
    pub async fn withdraw(&mut self) -> bool {
        !self.offers.pipelining && self.reset().await
    }

    /// RSET, after a refusal; false when the connection is of no more use.
    pub async fn reset(&mut self) -> bool {
        let reset = timeout(self.patience.command, self.connection.command(Raw("RSET\r\n"))).await;
        matches!(reset.map(reply_of), Ok(Ok(reply)) if reply.code == 250)
    }

    /// Hand over the content, with DATA before it where that is still to be said. Call only after the commit.
    pub async fn content(&mut self, mail: &Mail) -> Sent {
        let Some(text) = stuffed(&mail.bytes) else {
            return Sent::NotWritten("the composed mail is not UTF-8".to_owned());
        };
        let patience = self.patience;
        self.gauge.expect_silence();
        if !self.offers.pipelining {
            match timeout(patience.command, self.connection.command(Raw("DATA\r\n"))).await.map(reply_of) {
                Ok(Ok(reply)) if reply.code == 354 => {}
                Ok(Ok(reply)) => return Sent::Answered(Stage::Data, reply),
                Ok(Err(e)) => return Sent::NotWritten(e),
                Err(_) => return Sent::NotWritten(format!("no answer to DATA within {:?}", patience.command)),
            }
            failpoint::pass(Step::Data);
            self.gauge.expect_silence();
        }
        if failpoint::is_fatal(Step::HalfContent) {
            self.gauge.die_after(text.len() as u64 / 2);
        } else if failpoint::is_fatal(Step::DotSent) {
            self.gauge.die_after(text.len() as u64);
        }
        let before = self.gauge.taken();
        let answered = timeout(patience.content, self.connection.command(Raw(&text))).await;
        let why = match answered.map(reply_of) {
            Ok(Ok(reply)) if (200..300).contains(&reply.code) || (400..600).contains(&reply.code) => {
                failpoint::pass(Step::ReplyRead);
                return Sent::Answered(Stage::Content, reply);
            }
            Ok(Ok(reply)) => format!("a reply that answers nothing: {}", reply.line()),
            Ok(Err(e)) => e,
            Err(_) => format!("no answer within {:?}", patience.content),
        };
        let written = self.gauge.taken() - before;
        if written < text.len() as u64 { Sent::NotWritten(why) } else { Sent::Unanswered(why) }
    }

    /// Say goodbye.
    pub async fn quit(mut self) {
        let _ = timeout(QUIT_TIMEOUT, self.connection.quit()).await;
    }
}

/// The replies that let the conversation go on: 250 to MAIL, 250–252 to RCPT, 354 to DATA.
fn is_yes(stage: Stage, reply: &Reply) -> bool {
    match stage {
        Stage::Mail => reply.code == 250,
        Stage::Rcpt => (250..=252).contains(&reply.code),
        Stage::Data => reply.code == 354,
        Stage::Connect | Stage::Auth | Stage::Content => (200..300).contains(&reply.code),
    }
}

/// Content with its dots doubled (RFC 5321 §4.5.2) and its end. `None` when it is not text: mails are ASCII, or UTF-8 to
/// international addresses (RFC 6532).
fn stuffed(bytes: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(bytes).ok()?;
    let mut out = String::with_capacity(text.len() + 16);
    for line in text.split_inclusive("\r\n") {
        if line.starts_with('.') {
            out.push('.');
        }
        out.push_str(line);
    }
    if !out.ends_with("\r\n") {
        out.push_str("\r\n");
    }
    out.push_str(".\r\n");
    Some(out)
}

impl Offers {
    fn read(lines: &[&str]) -> Offers {
        let mut offers = Offers::default();
        for line in lines.iter().skip(1) {
            let mut words = line.split_ascii_whitespace();
            match words.next().unwrap_or_default().to_ascii_uppercase().as_str() {
                "PIPELINING" => offers.pipelining = true,
                "SMTPUTF8" => offers.smtputf8 = true,
                "DSN" => offers.dsn = true,
                "SIZE" => offers.size = Some(words.next().and_then(|n| n.parse().ok()).unwrap_or(0)),
                _ => {}
            }
        }
        offers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dots_are_doubled_and_the_end_is_one() {
        assert_eq!(stuffed(b"a\r\n.b\r\n..\r\n").unwrap(), "a\r\n..b\r\n...\r\n.\r\n");
        assert_eq!(stuffed(b".").unwrap(), "..\r\n.\r\n");
        assert_eq!(stuffed(b"\xff"), None);
    }

    #[test]
    fn offers_are_read_in_any_case() {
        let offers = Offers::read(&["mx.example.com", "pipelining", "SIZE 1000", "8BITMIME", "Dsn"]);
        assert_eq!(offers, Offers { pipelining: true, smtputf8: false, dsn: true, size: Some(1000) });
        assert_eq!(Offers::read(&["PIPELINING"]), Offers::default(), "the first line is the server's name");
    }
}
