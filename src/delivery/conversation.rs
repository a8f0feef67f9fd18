//! One SMTP conversation (RFC 5321), over lettre's connection with the stages driven by us: how it is opened, what the server offers, and how
//! it ends.
//!
//! What the server offers decides the [`Manner`]. Where it takes several commands at once, the content of a message and the envelope of the next go
//! out in one write (RFC 2920 §3.1, RFC 3030 §2), so that a message costs one wait and not two. One recipient per transaction, so that one
//! answer belongs to one message.
//!
//! Read on: `envelope`, then `handover`.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::AsyncSmtpConnection;
use lettre::transport::smtp::commands::Ehlo;
use lettre::transport::smtp::response::Response;
use tokio::time::timeout;

use super::replies::{Reply, Stage};
use super::server::{Open, OpenError, Patience, Server};
use super::wire::Gauge;
use crate::failpoint::{self, Step};

/// Courtesy at the end; nothing depends on it.
const QUIT_TIMEOUT: Duration = Duration::from_secs(2);
/// What the server's EHLO offers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Offers {
    pub pipelining: bool,
    pub chunking: bool,
    pub smtputf8: bool,
    pub dsn: bool,
    /// RFC 1870: the largest message taken, when one is named.
    pub size: Option<usize>,
}

/// How envelopes, commits and contents follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// MAIL and RCPT are answered, the commit falls, DATA follows and the content after it.
    Stepwise,
    /// PIPELINING: MAIL, RCPT and DATA in one write; the commit falls after 354.
    Pipelined,
    /// CHUNKING too: MAIL and RCPT in one write, the commit falls, BDAT follows with its content in one write.
    Chunked,
}

/// An open conversation.
pub struct Conversation {
    pub(super) connection: AsyncSmtpConnection,
    pub(super) gauge: Arc<Gauge>,
    pub(super) offers: Offers,
    pub(super) manner: Manner,
    pub(super) patience: Patience,
    /// Envelopes given so far.
    pub(super) begun: u64,
    /// The last of them went out behind a content, and its replies were not read yet.
    pub(super) is_ahead: bool,
    _open: Open,
}

/// What is written as it stands, piece after piece: contents are not copied together first.
pub(super) struct Raw<'a>(pub &'a [&'a str]);

impl fmt::Display for Raw<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|piece| f.write_str(piece))
    }
}

/// A reply, or why there is none.
pub(super) fn reply_of(result: Result<Response, lettre::transport::smtp::Error>) -> Result<Reply, String> {
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
            manner: offers.manner(),
            offers,
            patience: server.patience,
            begun: 0,
            is_ahead: false,
            _open: Open::new(&server.open),
        })
    }

    /// What the server offers.
    pub fn offers(&self) -> &Offers {
        &self.offers
    }

    /// Whether contents go out by BDAT.
    pub fn is_chunked(&self) -> bool {
        self.manner == Manner::Chunked
    }

    /// The same, with DATA whatever the server offers. Before its first message.
    pub fn without_chunks(mut self) -> Conversation {
        self.offers.chunking = false;
        self.manner = self.offers.manner();
        self
    }

    /// Messages begun in it so far.
    pub fn begun(&self) -> u64 {
        self.begun
    }

    /// Whether a message was begun in it before.
    pub fn is_used(&self) -> bool {
        self.begun > 0
    }

    /// Whether an envelope was given whose replies are still to be heard.
    pub fn is_ahead(&self) -> bool {
        self.is_ahead
    }

    /// Take back an envelope whose content may not be sent. False when the connection must be dropped: with DATA open,
    /// a lone dot would deliver an empty mail and RSET would be taken as content.
    pub async fn withdraw(&mut self) -> bool {
        self.manner != Manner::Pipelined && self.reset().await
    }

    /// RSET, after a refusal; false when the connection is of no more use.
    pub async fn reset(&mut self) -> bool {
        let reset = timeout(self.patience.command, self.connection.command(Raw(&["RSET\r\n"]))).await;
        matches!(reset.map(reply_of), Ok(Ok(reply)) if reply.code == 250)
    }

    /// Say goodbye.
    pub async fn quit(mut self) {
        let _ = timeout(QUIT_TIMEOUT, self.connection.quit()).await;
    }
}

impl Offers {
    fn read(lines: &[&str]) -> Offers {
        let mut offers = Offers::default();
        for line in lines.iter().skip(1) {
            let mut words = line.split_ascii_whitespace();
            match words.next().unwrap_or_default().to_ascii_uppercase().as_str() {
                "PIPELINING" => offers.pipelining = true,
                "CHUNKING" => offers.chunking = true,
                "SMTPUTF8" => offers.smtputf8 = true,
                "DSN" => offers.dsn = true,
                "SIZE" => offers.size = Some(words.next().and_then(|n| n.parse().ok()).unwrap_or(0)),
                _ => {}
            }
        }
        offers
    }

    /// How to talk with such a server. BDAT alone would save nothing: its content still waits for the commit.
    fn manner(&self) -> Manner {
        match (self.pipelining, self.chunking) {
            (true, true) => Manner::Chunked,
            (true, false) => Manner::Pipelined,
            (false, _) => Manner::Stepwise,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offers_are_read_in_any_case() {
        let offers = Offers::read(&["mx.example.com", "pipelining", "SIZE 1000", "8BITMIME", "Dsn"]);
        let expected = Offers { pipelining: true, dsn: true, size: Some(1000), ..Offers::default() };
        assert_eq!((offers.manner(), offers), (Manner::Pipelined, expected));
        assert_eq!(Offers::read(&["PIPELINING"]), Offers::default(), "the first line is the server's name");
        assert_eq!(Offers::read(&["mx", "CHUNKING"]).manner(), Manner::Stepwise);
        assert_eq!(Offers::read(&["mx", "CHUNKING", "PIPELINING"]).manner(), Manner::Chunked);
    }
}
