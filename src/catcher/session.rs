//! One connection: greeting, TLS, authentication, and handing each command to where it belongs.
//!
//! The session owns the [`Wire`] and asks the [`Behaviour`](super::Behaviour) before every answer it would give to a
//! command in order; a command out of order or with bad syntax is refused without asking. The mail transaction
//! (MAIL, RCPT, DATA, BDAT) is in `transaction.rs`, saying and doing the answers in `answering.rs`. An `Err` ends the connection: the network failed.

use super::behaviour::{Reply, Stage};
use super::command::{self, Command};
use super::extensions::Extensions;
use super::store::Tally;
use super::transaction::Envelope;
use super::wire::{Line, Wire};
use super::{Server, Tls};
use base64::{Engine, prelude::BASE64_STANDARD};
use std::io;
use std::sync::Arc;
use tokio::net::TcpStream;

/// Longest command line in bytes without its CRLF: RFC 5321 §4.5.3.1.4 says 512, extensions add their parameters.
pub const COMMAND_BYTES_MAX: usize = 4_096;
/// Longest line of an authentication exchange (RFC 4954 §4).
pub const AUTH_BYTES_MAX: usize = 12_288;
/// Refused lines in a row after which the server hangs up: whoever speaks does not speak SMTP.
pub const NONSENSE_MAX: u32 = 20;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Answered positively: its effect holds.
    Accepted,
    /// Refused or not answered: nothing changed.
    Refused,
    /// The connection is over.
    Gone,
}

pub(super) struct Session {
    pub(super) server: Arc<Server>,
    pub(super) wire: Wire,
    pub(super) number: u64,
    pub(super) messages: u64,
    pub(super) encrypted: bool,
    pub(super) envelope: Option<Envelope>,
    /// Faults of the conversation since the last message; they go into the next one's defects.
    pub(super) faults: Vec<String>,
    greeting: Greeting,
    authenticated: bool,
    nonsense: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Greeting {
    None,
    Helo,
    Ehlo,
}

impl Session {
    pub fn new(server: Arc<Server>, stream: TcpStream, number: u64) -> Self {
        Self {
            server,
            wire: Wire::new(stream),
            number,
            messages: 0,
            encrypted: false,
            envelope: None,
            faults: Vec::new(),
            greeting: Greeting::None,
            authenticated: false,
            nonsense: 0,
        }
    }

    /// Converses until either side ends it.
    pub async fn run(mut self, crowded: bool) -> io::Result<()> {
        if let Some(Tls::Implicit(config)) = &self.server.tls {
            let config = Arc::clone(config);
            self.encrypt(config).await?;
        }
        if crowded {
            return self.hang_up("4.3.2", "Too many connections").await;
        }
        let banner = Reply::new(220, "", "catcher.example ESMTP ready");
        let welcome = match self.answer(Stage::Banner, "", banner).await? {
            Next::Accepted => true,
            Next::Refused => false,
            Next::Gone => return Ok(()),
        };
        loop {
            let line = self.wire.line(COMMAND_BYTES_MAX).await?;
            let command = match line {
                Line::End => return self.wire.flush().await,
                Line::TooLong => Err(Reply::new(500, "5.5.6", "The line is too long")),
                Line::BareLf => {
                    self.fault("a command line ends in LF without CR");
                    Err(Reply::new(500, "5.5.2", "A line ends in CRLF"))
                }
                Line::Text(text) => command::parse(&text, self.extensions()),
            };
            let command = match command {
                Ok(command) => command,
                Err(refusal) => {
                    self.nonsense += 1;
                    if self.nonsense == NONSENSE_MAX {
                        return self.hang_up("4.7.0", "Too many bad commands").await;
                    }
                    self.say(&refusal).await?;
                    continue;
                }
            };
            self.nonsense = 0;
            self.judge_pipelining(&command);
            let next = if welcome || command == Command::Quit {
                self.obey(command).await?
            } else {
                self.refuse(503, "5.5.1", "No service here, say QUIT").await?
            };
            if next == Next::Gone {
                return Ok(());
            }
        }
    }

    async fn obey(&mut self, command: Command) -> io::Result<Next> {
        match command {
            Command::Ehlo(host) => self.ehlo(&host).await,
            Command::Helo(host) => {
                let hello = Reply::new(250, "", "catcher.example");
                let next = self.answer(Stage::Helo, &host, hello).await?;
                self.greet(next, Greeting::Helo);
                Ok(next)
            }
            Command::StartTls => self.start_tls().await,
            Command::Auth { mechanism, initial } => self.auth(&mechanism, initial).await,
            Command::Mail { path, parameters } => self.mail(path, parameters).await,
            Command::Rcpt { path, parameters } => self.rcpt(path, parameters).await,
            Command::Data => self.data().await,
            Command::Bdat { bytes, last } => self.bdat(bytes, last).await,
            Command::Rset => {
                let next = self.answer(Stage::Rset, "", Reply::new(250, "2.0.0", "Forgotten")).await?;
                if next == Next::Accepted {
                    self.envelope = None;
                }
                Ok(next)
            }
            Command::Noop => self.answer(Stage::Noop, "", Reply::new(250, "2.0.0", "Ok")).await,
            Command::Vrfy(who) => {
                let maybe = Reply::new(252, "2.1.5", "Cannot verify, will try to deliver");
                self.answer(Stage::Vrfy, &who, maybe).await
            }
            Command::Quit => {
                let next = self.answer(Stage::Quit, "", Reply::new(221, "2.0.0", "Goodbye")).await?;
                if next != Next::Gone {
                    self.wire.close().await?;
                }
                Ok(Next::Gone)
            }
        }
    }

    // --- greeting, TLS, authentication

    async fn ehlo(&mut self, host: &str) -> io::Result<Next> {
        let starttls = matches!(self.server.tls, Some(Tls::StartTls(_))) && !self.encrypted;
        let auth = self.server.auth.is_some() && !starttls;
        let mut lines = self.server.extensions.keywords(starttls, auth);
        lines.insert(0, "catcher.example".to_owned());
        // RFC 2034 §4: enhanced codes do not appear in the answer to EHLO.
        let next = self.answer(Stage::Ehlo, host, Reply::new(250, "", lines.join("\n"))).await?;
        self.greet(next, Greeting::Ehlo);
        Ok(next)
    }

    fn greet(&mut self, next: Next, greeting: Greeting) {
        if next == Next::Accepted {
            self.greeting = greeting;
            self.envelope = None;
        }
    }

    async fn start_tls(&mut self) -> io::Result<Next> {
        let config = match &self.server.tls {
            Some(Tls::StartTls(config)) if !self.encrypted => Arc::clone(config),
            _ => return self.refuse(503, "5.5.1", "STARTTLS is not on offer").await,
        };
        if self.greeting == Greeting::None {
            return self.refuse(503, "5.5.1", "Say EHLO first").await;
        }
        let next = self.answer(Stage::StartTls, "", Reply::new(220, "2.0.0", "Go ahead")).await?;
        if next != Next::Accepted {
            return Ok(next);
        }
        if !self.wire.waiting().is_empty() {
            self.fault("plaintext was sent between STARTTLS and the handshake; it was thrown away");
        }
        // RFC 3207 §4.2: both sides forget what they knew before.
        (self.greeting, self.authenticated, self.envelope) = (Greeting::None, false, None);
        self.encrypt(config).await?;
        Ok(Next::Accepted)
    }

    async fn encrypt(&mut self, config: Arc<rustls::ServerConfig>) -> io::Result<()> {
        if let Err(error) = self.wire.encrypt(config).await {
            self.server.store.complain(self.number, &format!("the TLS handshake failed: {error}"));
            return Err(error);
        }
        self.encrypted = true;
        Tally::add(&self.server.store.tally.encrypted, 1);
        Ok(())
    }

    async fn auth(&mut self, mechanism: &str, initial: Option<String>) -> io::Result<Next> {
        let server = Arc::clone(&self.server);
        let Some((user, password)) = &server.auth else {
            return self.refuse(502, "5.5.1", "AUTH is not on offer").await;
        };
        if self.must_encrypt() {
            return self.refuse(530, "5.7.0", "Say STARTTLS first").await;
        }
        if self.greeting != Greeting::Ehlo || self.authenticated || self.envelope.is_some() {
            return self.refuse(503, "5.5.1", "AUTH comes once, after EHLO and before MAIL").await;
        }
        let given = match mechanism {
            "PLAIN" => self.auth_plain(initial).await?,
            "LOGIN" => self.auth_login(initial).await?,
            _ => return self.refuse(504, "5.5.4", "Mechanism unknown, use PLAIN or LOGIN").await,
        };
        let (given_user, given_password) = match given {
            Ok(credentials) => credentials,
            Err(refusal) => {
                self.say(&refusal).await?;
                return Ok(Next::Refused);
            }
        };
        let right = given_user == *user && given_password == *password;
        let verdict = if right {
            Reply::new(235, "2.7.0", "Authenticated")
        } else {
            Reply::new(535, "5.7.8", "User or password is wrong")
        };
        let next = self.answer(Stage::Auth, &given_user, verdict).await?;
        self.authenticated = next == Next::Accepted;
        Ok(next)
    }

    /// RFC 4616: authorisation identity NUL user NUL password.
    async fn auth_plain(&mut self, initial: Option<String>) -> io::Result<Result<(String, String), Reply>> {
        let response = match initial {
            Some(response) => decode(&response),
            None => self.challenge("").await?,
        };
        Ok(response.and_then(|text| {
            let mut parts = text.split('\0').skip(1).map(str::to_owned);
            match (parts.next(), parts.next(), parts.next()) {
                (Some(user), Some(password), None) => Ok((user, password)),
                _ => Err(Reply::new(501, "5.5.2", "PLAIN is identity NUL user NUL password")),
            }
        }))
    }

    async fn auth_login(&mut self, initial: Option<String>) -> io::Result<Result<(String, String), Reply>> {
        let user = match initial {
            Some(response) => decode(&response),
            None => self.challenge("Username:").await?,
        };
        match user {
            Ok(user) => Ok(self.challenge("Password:").await?.map(|password| (user, password))),
            Err(refusal) => Ok(Err(refusal)),
        }
    }

    async fn challenge(&mut self, prompt: &str) -> io::Result<Result<String, Reply>> {
        self.say(&Reply::new(334, "", BASE64_STANDARD.encode(prompt))).await?;
        Ok(match self.wire.line(AUTH_BYTES_MAX).await? {
            Line::Text(line) => match std::str::from_utf8(&line) {
                Ok("*") => Err(Reply::new(501, "5.7.0", "Authentication cancelled")),
                Ok(line) => decode(line),
                Err(_) => Err(not_base64()),
            },
            Line::TooLong => Err(Reply::new(500, "5.5.6", "The line is too long")),
            Line::BareLf => Err(Reply::new(500, "5.5.2", "A line ends in CRLF")),
            Line::End => return Err(io::ErrorKind::UnexpectedEof.into()),
        })
    }

    // --- what other commands ask

    /// Why MAIL cannot come now, if so.
    pub(super) fn not_ready(&self) -> Option<Reply> {
        if self.greeting == Greeting::None {
            Some(Reply::new(503, "5.5.1", "Say EHLO first"))
        } else if self.must_encrypt() {
            Some(Reply::new(530, "5.7.0", "Say STARTTLS first"))
        } else if self.server.auth.is_some() && !self.authenticated {
            Some(Reply::new(530, "5.7.0", "Authenticate first"))
        } else {
            None
        }
    }

    fn must_encrypt(&self) -> bool {
        matches!(self.server.tls, Some(Tls::StartTls(_))) && !self.encrypted
    }

    /// What this client may use: nothing without EHLO.
    fn extensions(&self) -> &Extensions {
        const NONE: &Extensions = &Extensions::none();
        if self.greeting == Greeting::Ehlo { &self.server.extensions } else { NONE }
    }

    pub(super) fn fault(&mut self, what: &str) {
        self.server.store.complain(self.number, what);
        if !self.faults.iter().any(|known| known == what) {
            self.faults.push(what.to_owned());
        }
    }

    /// RFC 2920 §3.1: only MAIL, RCPT and RSET may have more behind them; BDAT has its content (RFC 3030 §4.2).
    fn judge_pipelining(&mut self, command: &Command) {
        match command {
            Command::Mail { .. } | Command::Rcpt { .. } | Command::Rset => self.judge_what_follows(),
            Command::Bdat { .. } | Command::StartTls | Command::Quit => {}
            _ if self.wire.waiting().is_empty() => {}
            _ => self.fault("a command that must end its group was followed by more input"),
        }
    }

    /// Without PIPELINING nothing may follow before the reply.
    pub(super) fn judge_what_follows(&mut self) {
        if !self.wire.waiting().is_empty() && !self.extensions().pipelining {
            self.fault("commands were pipelined although PIPELINING was not announced");
        }
    }
}

fn decode(response: &str) -> Result<String, Reply> {
    // RFC 4954 §4: "=" stands for an empty initial response.
    let response = if response == "=" { "" } else { response };
    let bytes = BASE64_STANDARD.decode(response).map_err(|_| not_base64())?;
    String::from_utf8(bytes).map_err(|_| not_base64())
}

fn not_base64() -> Reply {
    Reply::new(501, "5.5.2", "That is not base64 of UTF-8 text")
}
