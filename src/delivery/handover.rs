//! Handing over the content of a message, after the commit; and with it, in the same write, the envelope of the next one.
//!
//! Whatever happens, it is known whether the end of the content can have reached the server: the wire counts the bytes that it took.

use std::sync::Arc;

use tokio::time::timeout;

use super::Mail;
use super::conversation::{Conversation, Manner, Raw, reply_of};
use super::envelope::Envelope;
use super::replies::{Reply, Stage};
use crate::failpoint::{self, Step};
use crate::queue::lease::Lease;

/// Room for the frame of a content and the envelope behind it, in bytes.
const ROOM: usize = 512;

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

impl Conversation {
    /// Whether an envelope may go out behind a content.
    pub fn can_go_ahead(&self) -> bool {
        self.manner != Manner::Stepwise
    }

    /// Hand over the content, with DATA before it where that is still to be said, and the `next` envelope behind it. Nothing of the content is
    /// written after the end of the lease. Call only after the commit.
    pub async fn content(&mut self, mail: &Mail, next: Option<&Envelope>, lease: Option<&Arc<Lease>>) -> Sent {
        let Some(mut text) = framed(&mail.bytes, self.manner) else {
            return Sent::NotWritten("the composed mail is not UTF-8".to_owned());
        };
        let content_bytes = text.len() as u64;
        if self.manner == Manner::Stepwise
            && let Some(not_open) = self.open_data().await
        {
            return not_open;
        }
        if let Some(next) = next {
            text.push_str(&next.group(self.manner));
            self.begun += 1;
            self.is_ahead = true;
        }
        if failpoint::is_fatal(Step::HalfContent) {
            self.gauge.die_after(content_bytes / 2);
        } else if failpoint::is_fatal(Step::DotSent) {
            self.gauge.die_after(content_bytes);
        }
        self.gauge.expect_silence();
        let content_end = self.gauge.taken() + content_bytes;
        self.gauge.only_under(lease.map(|lease| (lease.clone(), content_end)));
        let patience = self.patience.content;
        let answered = timeout(patience, self.connection.command(Raw(&text))).await;
        self.gauge.only_under(None);
        let why = match answered.map(reply_of) {
            Ok(Ok(reply)) if (200..300).contains(&reply.code) || (400..600).contains(&reply.code) => {
                failpoint::pass(Step::ReplyRead);
                return Sent::Answered(Stage::Content, reply);
            }
            Ok(Ok(reply)) => format!("a reply that answers nothing: {}", reply.line()),
            Ok(Err(e)) => e,
            Err(_) => format!("no answer within {patience:?}"),
        };
        if self.gauge.taken() < content_end { Sent::NotWritten(why) } else { Sent::Unanswered(why) }
    }

    /// Say DATA and wait until the server waits for the content; or why it does not.
    async fn open_data(&mut self) -> Option<Sent> {
        let patience = self.patience.command;
        self.gauge.expect_silence();
        match timeout(patience, self.connection.command(Raw("DATA\r\n"))).await.map(reply_of) {
            Ok(Ok(reply)) if reply.code == 354 => {
                failpoint::pass(Step::Data);
                None
            }
            Ok(Ok(reply)) => Some(Sent::Answered(Stage::Data, reply)),
            Ok(Err(e)) => Some(Sent::NotWritten(e)),
            Err(_) => Some(Sent::NotWritten(format!("no answer to DATA within {patience:?}"))),
        }
    }
}

/// A content as it goes over the wire. `None` when it is not text: mails are ASCII, or UTF-8 to international addresses (RFC 6532).
fn framed(bytes: &[u8], manner: Manner) -> Option<String> {
    let text = std::str::from_utf8(bytes).ok()?;
    Some(if manner == Manner::Chunked { chunk(text) } else { stuffed(text) })
}

/// All of it in one chunk, the last (RFC 3030 §2): as it is.
fn chunk(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + ROOM);
    out.push_str(&format!("BDAT {} LAST\r\n", text.len()));
    out.push_str(text);
    out
}

/// With its dots doubled (RFC 5321 §4.5.2) and its end.
fn stuffed(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + ROOM);
    let mut rest = text;
    if rest.starts_with('.') {
        out.push('.');
    }
    while let Some(at) = rest.find("\r\n.") {
        let (line, after) = rest.split_at(at + 2);
        out.push_str(line);
        out.push('.');
        rest = after;
    }
    out.push_str(rest);
    if !out.ends_with("\r\n") {
        out.push_str("\r\n");
    }
    out.push_str(".\r\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dots_are_doubled_and_the_end_is_one() {
        for (text, expected) in [
            ("a\r\n.b\r\n..\r\n", "a\r\n..b\r\n...\r\n.\r\n"),
            (".", "..\r\n.\r\n"),
            ("\r\n.\r\n.", "\r\n..\r\n..\r\n.\r\n"),
            ("a.b\n.c\r\n", "a.b\n.c\r\n.\r\n"),
            ("", "\r\n.\r\n"),
        ] {
            assert_eq!(framed(text.as_bytes(), Manner::Pipelined).unwrap(), expected, "{text:?}");
        }
        assert_eq!(framed(b"\xff", Manner::Stepwise), None);
    }

    #[test]
    fn a_chunk_says_its_bytes_and_changes_none() {
        assert_eq!(framed("灯\r\n.\r\n".as_bytes(), Manner::Chunked).unwrap(), "BDAT 8 LAST\r\n灯\r\n.\r\n");
        assert_eq!(framed(b"", Manner::Chunked).unwrap(), "BDAT 0 LAST\r\n");
    }
}
