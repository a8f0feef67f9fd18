//! One SMTP conversation (RFC 5321), over lettre's connection with the stages driven by us.
//!
//! With PIPELINING (RFC 2920) MAIL, RCPT and DATA go out in one write and the commit falls after 354; without, MAIL and RCPT are answered,
//! the commit falls, and DATA follows. One recipient per transaction, so that one answer belongs to one message.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::AsyncSmtpConnection;
use lettre::transport::smtp::commands::Ehlo;
use lettre::transport::smtp::response::Response;
use tokio::time::timeout;

use super::Mail;
use super::replies::{Reply, Stage};
use super::server::{Open, OpenError, Patience, Server};
use super::wire::Gauge;
use crate::failpoint::{self, Step};
use crate::queue::lease::Lease;

/// Courtesy at the end; nothing depends on it.
const QUIT_TIMEOUT: Duration = Duration::from_secs(2);
/// What the server's EHLO offers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Offers {
    pub pipelining: bool,
    pub smtputf8: bool,
    pub dsn: bool,
    /// RFC 1870: the largest message taken, when one is named.
    pub size: Option<usize>,
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

    /// Write only while this lease holds, until told otherwise.
    pub fn only_under(&self, lease: Option<Arc<Lease>>) {
        self.gauge.only_under(lease);
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
