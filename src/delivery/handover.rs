//! Handing over the content of a message, after the commit; and with it, in the same write, the envelope of the next one.
//!
//! Whatever happens, it is known whether the end of the content can have reached the server: the wire counts the bytes that it took. What the
//! server says then is an answer only if it can be one: anything else leaves the message in doubt.

use std::borrow::Cow;
use std::sync::Arc;

use tokio::time::timeout;

use super::Mail;
use super::conversation::{Conversation, Manner, Raw, reply_of};
use super::envelope::Envelope;
use super::replies::{Reply, Stage};
use crate::failpoint::{self, Step};
use crate::queue::lease::Lease;

/// What became of the content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sent {
    /// The server answered.
    Answered(Stage, Reply),
    /// The server announced BDAT (RFC 3030) and does not know it: a content was never begun.
    NotUnderstood(Reply),
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
        // Mails are ASCII, or UTF-8 to international addresses (RFC 6532).
        let Ok(text) = std::str::from_utf8(&mail.bytes) else {
            return Sent::NotWritten("the composed mail is not UTF-8".to_owned());
        };
        let framed = Framed::new(text, self.manner);
        let content_bytes = framed.bytes();
        if self.manner == Manner::Stepwise
            && let Some(not_open) = self.open_data().await
        {
            return not_open;
        }
        let behind = next.map(|next| next.group(self.manner)).unwrap_or_default();
        if next.is_some() {
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
        let answered = timeout(patience, self.connection.command(Raw(&framed.then(&behind)))).await;
        self.gauge.only_under(None);
        let why = match answered.map(reply_of) {
            Ok(Ok(reply)) if self.answers_a_content(&reply) => {
                failpoint::pass(Step::ReplyRead);
                return match self.manner == Manner::Chunked && reply.is_unknown_command() {
                    true => Sent::NotUnderstood(reply),
                    false => Sent::Answered(Stage::Content, reply),
                };
            }
            Ok(Ok(reply)) => format!("a reply that answers no content: {}", reply.line()),
            Ok(Err(e)) => e,
            Err(_) => format!("no answer within {patience:?}"),
        };
        if self.gauge.taken() < content_end { Sent::NotWritten(why) } else { Sent::Unanswered(why) }
    }

    /// Whether a reply can be the answer to a whole content. Where nothing is said between an envelope and its content (BDAT), one reply too many
    /// that came before would have us take the answer to RCPT for it.
    fn answers_a_content(&self, reply: &Reply) -> bool {
        let is_taken = reply.takes_a_message() && !(self.manner == Manner::Chunked && reply.speaks_of_an_address());
        is_taken || (400..600).contains(&reply.code)
    }

    /// Say DATA and wait until the server waits for the content; or why it does not.
    async fn open_data(&mut self) -> Option<Sent> {
        let patience = self.patience.command;
        self.gauge.expect_silence();
        match timeout(patience, self.connection.command(Raw(&["DATA\r\n"]))).await.map(reply_of) {
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

/// A content as it goes over the wire.
#[derive(Debug)]
struct Framed<'m> {
    head: String,
    text: Cow<'m, str>,
    end: &'static str,
}

impl<'m> Framed<'m> {
    fn new(text: &'m str, manner: Manner) -> Framed<'m> {
        if manner == Manner::Chunked {
            // All of it in one chunk, the last (RFC 3030 §2): as it is.
            let head = format!("BDAT {} LAST\r\n", text.len());
            return Framed { head, text: text.into(), end: "" };
        }
        let end = if text.ends_with("\r\n") { ".\r\n" } else { "\r\n.\r\n" };
        Framed { head: String::new(), text: stuffed(text), end }
    }

    fn bytes(&self) -> u64 {
        (self.head.len() + self.text.len() + self.end.len()) as u64
    }

    fn then<'a>(&'a self, behind: &'a str) -> [&'a str; 4] {
        [&self.head, &self.text, self.end, behind]
    }
}

/// With its dots doubled (RFC 5321 §4.5.2). What we compose has no line that begins with one, so most is not copied.
fn stuffed(text: &str) -> Cow<'_, str> {
    let mut out = String::new();
    let mut copied = 0;
    for (at, _) in text.match_indices('.') {
        if at == 0 || text[..at].ends_with("\r\n") {
            out.push_str(&text[copied..at]);
            out.push('.');
            copied = at;
        }
    }
    if copied == 0 && out.is_empty() {
        return text.into();
    }
    out.push_str(&text[copied..]);
    out.into()
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
            let framed = Framed::new(text, Manner::Pipelined);
            assert_eq!(framed.then("").concat(), expected, "{text:?}");
            assert_eq!(framed.bytes(), expected.len() as u64);
        }
    }

    #[test]
    fn a_chunk_says_its_bytes_and_changes_none() {
        let of = |text: &str| Framed::new(text, Manner::Chunked).then("MAIL").concat();
        assert_eq!(of("灯\r\n.\r\n"), "BDAT 8 LAST\r\n灯\r\n.\r\nMAIL");
        assert_eq!(of(""), "BDAT 0 LAST\r\nMAIL");
    }
}
