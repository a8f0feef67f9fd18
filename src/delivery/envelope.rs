//! The envelope of a message: given by itself, or behind the content of the message before, and what the server says to it.

use lettre::transport::smtp::response::Response;
use tokio::time::timeout;

use super::Mail;
use super::conversation::{Conversation, Manner, Raw, reply_of};
use super::replies::{Reply, Stage};
use crate::failpoint::{self, Step};

/// What the server said to the envelope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Begun {
    /// It waits for the content (or, said step by step, for DATA).
    Ready,
    Refused(Stage, Reply),
    /// The connection is gone, or silent; no content was written.
    Broken(Stage, String),
}

/// An envelope as this server wants it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    mail: String,
    rcpt: String,
}

/// An answer of lettre's.
type Answer = Result<Response, lettre::transport::smtp::Error>;

impl Conversation {
    /// The envelope of a mail; or what the server would say to it, as far as it told before. `envelope_id` names the message in delivery
    /// reports (RFC 3461 §4.4).
    pub fn envelope(&self, mail: &Mail, envelope_id: &str) -> Result<Envelope, (Stage, Reply)> {
        let utf8 = !mail.envelope_to.is_ascii();
        if utf8 && !self.offers.smtputf8 {
            let reply = Reply::new(553, "5.6.7 the mail server does not take international addresses (SMTPUTF8)");
            return Err((Stage::Rcpt, reply));
        }
        if let Some(most) = self.offers.size.filter(|most| *most > 0 && mail.bytes.len() > *most) {
            let text = format!("5.3.4 the message has {} bytes, the server takes {most}", mail.bytes.len());
            return Err((Stage::Mail, Reply::new(552, &text)));
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
        Ok(Envelope { mail: from, rcpt: to })
    }

    /// Give an envelope.
    pub async fn begin(&mut self, envelope: &Envelope) -> Begun {
        self.begun += 1;
        self.gauge.expect_silence();
        let patience = self.patience.command;
        let talk = async {
            match self.manner {
                Manner::Stepwise => self.begin_stepwise(envelope).await,
                manner => {
                    let first = self.connection.command(Raw(&[&envelope.group(manner)])).await;
                    self.hear_group(Some(first)).await
                }
            }
        };
        timeout(patience, talk)
            .await
            .unwrap_or_else(|_| Begun::Broken(Stage::Mail, format!("no answer within {patience:?}")))
    }

    /// What the server says to the envelope that went out behind the content before, whose own answer was read. An error: it is silent.
    pub async fn hear_ahead(&mut self) -> Result<Begun, Begun> {
        self.is_ahead = false;
        let patience = self.patience.command;
        let silent = |_| Begun::Broken(Stage::Mail, format!("no answer within {patience:?}"));
        timeout(patience, self.hear_group(None)).await.map_err(silent)
    }

    async fn begin_stepwise(&mut self, envelope: &Envelope) -> Begun {
        for (stage, command) in [(Stage::Mail, &envelope.mail), (Stage::Rcpt, &envelope.rcpt)] {
            match reply_of(self.connection.command(Raw(&[command, "\r\n"])).await) {
                Ok(reply) if is_yes(stage, &reply) => {}
                Ok(reply) => return Begun::Refused(stage, reply),
                Err(e) => return Begun::Broken(stage, e),
            }
        }
        failpoint::pass(Step::Rcpt);
        Begun::Ready
    }

    /// Read the replies to a group of commands; the first may be known.
    async fn hear_group(&mut self, mut known: Option<Answer>) -> Begun {
        let mut refused = None;
        let mut data_is_open = false;
        let mut is_nobody_taken = false;
        for stage in self.manner.stages() {
            let answer = match known.take() {
                Some(answer) => answer,
                None => self.connection.read_response().await,
            };
            let reply = match reply_of(answer) {
                // After 421 the server closes; replies to the rest may never come.
                Ok(reply) if reply.closes() => return Begun::Refused(*stage, reply),
                Ok(reply) => reply,
                Err(e) => return Begun::Broken(*stage, e),
            };
            match stage {
                Stage::Rcpt => failpoint::pass(Step::Rcpt),
                Stage::Data => failpoint::pass(Step::Data),
                _ => {}
            }
            data_is_open |= *stage == Stage::Data && reply.code == 354;
            is_nobody_taken |= *stage == Stage::Rcpt && (400..600).contains(&reply.code);
            if refused.is_none() && !is_yes(*stage, &reply) {
                refused = Some((*stage, reply));
            }
        }
        if self.gauge.has_more() {
            // One reply too many somewhere: nobody knows which belongs to what.
            return Begun::Broken(Stage::Mail, "the server said more than it was asked".to_owned());
        }
        let Some((stage, reply)) = refused else {
            if self.manner == Manner::Chunked {
                failpoint::pass(Step::Data); // from here on it waits for BDAT
            }
            return Begun::Ready;
        };
        if data_is_open && stage != Stage::Data {
            if !is_nobody_taken {
                // Somebody may have been taken: whatever is written now, be it an end or RSET, may be delivered as a mail.
                return Begun::Broken(
                    stage,
                    format!("after {} the server waits for a content all the same", reply.line()),
                );
            }
            // RFC 2920 §3.1: no recipient was taken and DATA was; a lone dot ends it and delivers nothing.
            if let Err(e) = reply_of(self.connection.command(Raw(&[".\r\n"])).await) {
                return Begun::Broken(stage, e);
            }
        }
        Begun::Refused(stage, reply)
    }
}

impl Manner {
    /// The commands that go out together.
    fn stages(self) -> &'static [Stage] {
        match self {
            Manner::Pipelined => &[Stage::Mail, Stage::Rcpt, Stage::Data],
            Manner::Stepwise | Manner::Chunked => &[Stage::Mail, Stage::Rcpt],
        }
    }
}

impl Envelope {
    /// Its commands in one text.
    pub(super) fn group(&self, manner: Manner) -> String {
        let data = if manner == Manner::Pipelined { "DATA\r\n" } else { "" };
        format!("{}\r\n{}\r\n{data}", self.mail, self.rcpt)
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
