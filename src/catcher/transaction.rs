//! The mail transaction: MAIL, RCPT, DATA, BDAT, and handing the message to the store.
//!
//! One [`Envelope`] lives from an accepted MAIL until the message ends, RSET or EHLO. Content beyond the size limit
//! is read and dropped, so that the client hears 552 at the right place. A message is stored at most once.

use super::behaviour::{Reply, Stage, Transaction};
use super::command::MailParameters;
use super::content::{Allowed, DotReader, inspect};
use super::extensions::SIZE_BYTES_MAX;
use super::session::{Next, Session};
use super::store::Arrived;
use std::io;

/// Most recipients of one transaction (RFC 5321 §4.5.3.1.8: at least 100).
pub const RECIPIENTS_MAX: usize = 1_000;

/// A mail transaction in progress.
#[derive(Debug, Default)]
pub(super) struct Envelope {
    pub transaction: Transaction,
    mail: MailParameters,
    rcpt_parameters: Vec<String>,
    body: Vec<u8>,
    /// BDAT has begun: no more recipients, no DATA.
    chunked: bool,
    unstuffed: u32,
    stored: bool,
}

impl Envelope {
    /// Takes content unless it exceeds the limit; then nothing of it is kept.
    fn take(&mut self, bytes: &[u8], size_max: u64) {
        if self.transaction.content_bytes > size_max {
            self.body = Vec::new();
        } else {
            self.body.extend_from_slice(bytes);
        }
    }

    fn defects(&self) -> Vec<String> {
        let allowed = Allowed { eight_bit: self.mail.eight_bit || self.mail.utf8, utf8_header: self.mail.utf8 };
        let mut defects = inspect(&self.body, allowed);
        if self.unstuffed > 0 {
            defects.push(format!("lines begin with a dot that was not doubled ({})", self.unstuffed));
        }
        defects
    }
}

impl Session {
    pub(super) async fn mail(&mut self, path: String, parameters: MailParameters) -> io::Result<Next> {
        if let Some(refusal) = self.not_ready() {
            self.say(&refusal).await?;
            return Ok(Next::Refused);
        }
        if self.envelope.is_some() {
            return self.refuse(503, "5.5.1", "MAIL was said already").await;
        }
        let declared = parameters.size;
        let agreed = if declared.is_some_and(|bytes| bytes > self.size_max()) {
            too_big()
        } else {
            Reply::new(250, "2.1.0", "Sender ok")
        };
        self.envelope = Some(Envelope {
            transaction: Transaction { from: path.clone(), declared_bytes: declared, ..Transaction::default() },
            mail: parameters,
            ..Envelope::default()
        });
        let next = self.answer(Stage::Mail, &path, agreed).await?;
        if next != Next::Accepted {
            self.envelope = None;
        }
        Ok(next)
    }

    pub(super) async fn rcpt(&mut self, path: String, parameters: String) -> io::Result<Next> {
        let agreed = match &self.envelope {
            None => return self.refuse(503, "5.5.1", "Say MAIL first").await,
            Some(envelope) if envelope.chunked => {
                return self.refuse(503, "5.5.1", "The content has begun").await;
            }
            Some(envelope) if !path.is_ascii() && !envelope.mail.utf8 => {
                Reply::new(553, "5.6.7", "A non-ASCII address needs the SMTPUTF8 parameter of MAIL")
            }
            Some(envelope) if envelope.transaction.to.len() >= RECIPIENTS_MAX => {
                Reply::new(452, "4.5.3", "Too many recipients")
            }
            Some(_) => Reply::new(250, "2.1.5", "Recipient ok"),
        };
        let next = self.answer(Stage::Rcpt, &path, agreed).await?;
        if let (Next::Accepted, Some(envelope)) = (next, &mut self.envelope) {
            envelope.transaction.to.push(path);
            envelope.rcpt_parameters.push(parameters);
        }
        Ok(next)
    }

    pub(super) async fn data(&mut self) -> io::Result<Next> {
        let agreed = match &self.envelope {
            None => return self.refuse(503, "5.5.1", "Say MAIL first").await,
            Some(envelope) if envelope.chunked => {
                return self.refuse(503, "5.5.1", "BDAT has begun, go on with it").await;
            }
            Some(envelope) if envelope.transaction.to.is_empty() => no_recipients(),
            Some(_) => Reply::new(354, "", "End the content with a line that is a dot"),
        };
        match self.answer(Stage::Data, "", agreed).await? {
            Next::Accepted => {}
            // The transaction stays open, as in Postfix: a client that goes on without RSET is found out.
            other => return Ok(other),
        }
        let mut reader = DotReader::new();
        loop {
            if self.wire.waiting().is_empty() && !self.wire.fill().await? {
                return Ok(Next::Gone);
            }
            if self.interrupted().await? {
                return Ok(Next::Gone);
            }
            let (size_max, input) = (self.size_max(), self.wire.waiting());
            let envelope = self.envelope.as_mut().expect("DATA was accepted inside a transaction");
            let end = reader.read(input, |bytes| envelope.take(bytes, size_max));
            let count = end.unwrap_or(input.len());
            envelope.transaction.content_bytes += count as u64;
            self.wire.consume(count);
            if end.is_some() {
                envelope.unstuffed = reader.unstuffed;
                self.judge_what_follows();
                return self.end_of_message().await;
            }
        }
    }

    pub(super) async fn bdat(&mut self, bytes: u64, last: bool) -> io::Result<Next> {
        let refusal = match &mut self.envelope {
            _ if !self.server.extensions.chunking => Some(Reply::new(502, "5.5.1", "BDAT is not on offer")),
            None => Some(Reply::new(503, "5.5.1", "Say MAIL first")),
            Some(envelope) if envelope.transaction.to.is_empty() => Some(no_recipients()),
            Some(envelope) => {
                envelope.chunked = true;
                None
            }
        };
        // RFC 3030 §2: the content of a refused chunk follows all the same.
        let mut left = bytes;
        while left > 0 {
            if self.wire.waiting().is_empty() && !self.wire.fill().await? {
                return Ok(Next::Gone);
            }
            if refusal.is_none() && self.interrupted().await? {
                return Ok(Next::Gone);
            }
            let (size_max, input) = (self.size_max(), self.wire.waiting());
            let count = input.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            if let (None, Some(envelope)) = (&refusal, &mut self.envelope) {
                envelope.transaction.content_bytes += count as u64;
                envelope.take(&input[..count], size_max);
            }
            self.wire.consume(count);
            left -= count as u64;
        }
        self.judge_what_follows();
        if let Some(refusal) = refusal {
            self.say(&refusal).await?;
            return Ok(Next::Refused);
        }
        if last {
            return self.end_of_message().await;
        }
        let next = self.answer(Stage::Chunk, "", Reply::new(250, "2.0.0", "Chunk taken")).await?;
        if next != Next::Accepted {
            // RFC 3030 §2: after a failed chunk nothing but RSET helps; without a transaction all else is 503.
            self.envelope = None;
        }
        Ok(next)
    }

    /// The message is complete: answer, store unless refused, end the transaction.
    async fn end_of_message(&mut self) -> io::Result<Next> {
        let envelope = self.envelope.as_ref().expect("content ends inside a transaction");
        let first = envelope.transaction.to.first().cloned();
        let agreed = if first.is_none() {
            no_recipients()
        } else if envelope.transaction.content_bytes > self.size_max() {
            too_big()
        } else {
            Reply::new(250, "2.0.0", "Message stored")
        };
        let next = self.answer(Stage::EndOfData, first.as_deref().unwrap_or_default(), agreed).await?;
        self.envelope = None;
        Ok(next)
    }

    /// Stores the message of the current transaction, once. `Err` is the reply that says it was impossible.
    pub(super) fn store(&mut self) -> Result<(), Reply> {
        let Some(envelope) = self.envelope.as_mut().filter(|envelope| !envelope.stored) else {
            return Ok(());
        };
        if envelope.transaction.to.is_empty() {
            return Err(no_recipients());
        }
        envelope.stored = true;
        let mut defects = envelope.defects();
        defects.append(&mut self.faults);
        let mut parameters = vec![std::mem::take(&mut envelope.mail.written)];
        parameters.append(&mut envelope.rcpt_parameters);
        let kept = self.server.store.keep(Arrived {
            from: &envelope.transaction.from,
            to: &envelope.transaction.to,
            parameters,
            encrypted: self.encrypted,
            bytes: std::mem::take(&mut envelope.body),
            defects,
        });
        match kept {
            Ok(()) => {
                self.messages += 1;
                Ok(())
            }
            Err(error) => {
                self.server.store.complain(self.number, &format!("the message cannot be stored: {error}"));
                Err(Reply::new(452, "4.3.1", "No room to store the message"))
            }
        }
    }

    /// Lets the behaviour step in while content arrives; true when the connection is over.
    async fn interrupted(&mut self) -> io::Result<bool> {
        let next = self.answer(Stage::Content, "", Reply::new(354, "", "")).await?;
        Ok(next == Next::Gone)
    }

    /// The largest message in bytes, announced or not.
    fn size_max(&self) -> u64 {
        self.server.extensions.size_max.unwrap_or(SIZE_BYTES_MAX)
    }
}

fn too_big() -> Reply {
    Reply::new(552, "5.3.4", "The message is too big")
}

fn no_recipients() -> Reply {
    Reply::new(554, "5.5.1", "No valid recipients")
}
