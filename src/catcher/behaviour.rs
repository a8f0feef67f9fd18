//! How the catcher answers: the one seam through which tests make it misbehave.
//!
//! At every stage of a conversation the server has an answer it would give by itself. A [`Behaviour`] sees the
//! [`Moment`] and may replace that answer by another [`Answer`], which is a *value*: a short list of [`Move`]s
//! (say this, wait, store, close, reset, …). A new fault is a new list, never a new branch in the session. Some, as
//! they read:
//!
//! ```
//! use okaeri::catcher::{Answer, Move, Reply};
//! use std::time::Duration;
//!
//! let refused = Answer::reply(550, "5.7.1", "Policy");
//! let stored_without_an_answer = Answer::store_then_close();
//! let half_a_reply = Answer::of([Move::Store, Move::Raw(b"25".to_vec()), Move::Close]);
//! let one_too_many = Answer::of([Move::Agree, Move::Raw(b"250 2.0.0 Again\r\n".to_vec())]);
//! let slow_banner = Answer::of([Move::Trickle(b"220 slow.example ESMTP\r\n".to_vec(), Duration::from_secs(1))]);
//! let injected = Answer::of([Move::Raw(b"220 Go ahead\r\n250 Injected\r\n".to_vec())]);
//! ```
//!
//! A behaviour decides and never touches the socket or the store.

use std::borrow::Cow;
use std::time::Duration;

/// A point of the conversation at which the server answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stage {
    /// The connection has been accepted (and, with implicit TLS, encrypted).
    Banner,
    Ehlo,
    Helo,
    /// A positive answer starts the TLS handshake.
    StartTls,
    /// The credentials have been read; [`Moment::agreed`] says whether they are right.
    Auth,
    Mail,
    Rcpt,
    /// Also asked when no recipient was accepted; then [`Moment::agreed`] is a refusal (RFC 2920 §3.1).
    Data,
    /// More content has arrived. Agreeing means reading on; only moves that wait, close or reset make sense.
    Content,
    /// A BDAT chunk that is not the last is complete.
    Chunk,
    /// The whole message has arrived (final dot, or `BDAT … LAST`). This decides whether it is stored.
    EndOfData,
    Rset,
    Noop,
    Vrfy,
    Quit,
}

/// What is known of the mail transaction so far. Empty outside of one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Transaction {
    /// The reverse path; empty for the null sender.
    pub from: String,
    /// The accepted recipients in the order of their RCPT commands.
    pub to: Vec<String>,
    /// The size the client declared, in bytes (RFC 1870).
    pub declared_bytes: Option<u64>,
    /// Content received so far, in bytes as on the wire.
    pub content_bytes: u64,
}

/// Everything a behaviour may look at when it decides.
#[derive(Debug)]
pub struct Moment<'a> {
    pub stage: Stage,
    /// Number of this connection, from 1 in the order of arrival.
    pub connection: u64,
    /// Connections open now, this one included.
    pub open_connections: usize,
    /// Messages this connection has delivered so far.
    pub messages: u64,
    /// TLS is active.
    pub encrypted: bool,
    /// The argument of the command: the host of EHLO, the path of MAIL and RCPT, the user of AUTH; at
    /// [`Stage::EndOfData`] the first recipient; else empty.
    pub argument: &'a str,
    pub transaction: &'a Transaction,
    /// What the server would say by itself.
    pub agreed: &'a Reply,
}

/// Decides how the catcher answers. Must be quick: it runs inside the connection's task.
pub trait Behaviour: Send + Sync + 'static {
    /// The answer at this moment; [`Answer::agree`] lets the server go on by itself.
    fn answer(&self, moment: &Moment<'_>) -> Answer;
}

/// One SMTP reply. Its code decides what the server does next: 2yz and 3yz go on, 4yz and 5yz refuse.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The reply code of RFC 5321 §4.2, `200..=599`.
    pub code: u16,
    /// The enhanced code of RFC 3463, such as `5.1.1`. Empty: none. Left out when the extension is off.
    pub enhanced: Cow<'static, str>,
    /// The text; a line break makes a multi-line reply.
    pub text: Cow<'static, str>,
}

impl Reply {
    pub fn new(code: u16, enhanced: impl Into<Cow<'static, str>>, text: impl Into<Cow<'static, str>>) -> Self {
        Self { code, enhanced: enhanced.into(), text: text.into() }
    }

    /// The reply is 2yz or 3yz.
    pub fn is_positive(&self) -> bool {
        matches!(self.code, 200..=399)
    }

    /// Appends the reply as it goes over the wire.
    pub(super) fn write(&self, with_enhanced: bool, out: &mut Vec<u8>) {
        let mut lines = self.text.split('\n').peekable();
        while let Some(line) = lines.next() {
            out.extend([self.code / 100 % 10, self.code / 10 % 10, self.code % 10].map(|d| b'0' + d as u8));
            out.push(if lines.peek().is_some() { b'-' } else { b' ' });
            if with_enhanced && !self.enhanced.is_empty() {
                out.extend_from_slice(self.enhanced.as_bytes());
                out.push(b' ');
            }
            out.extend_from_slice(line.as_bytes());
            out.extend_from_slice(b"\r\n");
        }
    }
}

/// One thing the server does while it answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Move {
    /// Say what the server would have said. At [`Stage::EndOfData`] the message is stored first.
    Agree,
    /// Say this instead. At [`Stage::EndOfData`] a positive reply stores the message first.
    Say(Reply),
    /// Store the message now, before anything is said. Only at [`Stage::EndOfData`], and only once.
    Store,
    /// Send these bytes as they are. Their first digit decides like a reply code; they never store a message.
    Raw(Vec<u8>),
    /// As [`Move::Raw`], one byte at a time with this pause before each.
    Trickle(Vec<u8>, Duration),
    /// Send these bytes again and again until the client goes away.
    Endless(Vec<u8>),
    /// Send what was said so far, then do nothing for this long: no reading, no writing.
    Wait(Duration),
    /// Forget input that has arrived and was not looked at yet: a server that lies about PIPELINING.
    DropInput,
    /// Send what was said so far, then end the connection in good order (FIN).
    Close,
    /// Send what was said so far, then reset the connection (RST).
    Reset,
}

/// How the server answers at one moment: moves, done in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    moves: Vec<Move>,
}

impl Answer {
    /// The server's own answer.
    pub const fn agree() -> Self {
        Self { moves: Vec::new() }
    }

    /// These moves in order. None at all means to agree.
    pub fn of(moves: impl IntoIterator<Item = Move>) -> Self {
        Self { moves: moves.into_iter().collect() }
    }

    /// This reply instead of the server's own.
    pub fn reply(code: u16, enhanced: impl Into<Cow<'static, str>>, text: impl Into<Cow<'static, str>>) -> Self {
        Self::of([Move::Say(Reply::new(code, enhanced, text))])
    }

    /// No word, end of connection.
    pub fn close() -> Self {
        Self::of([Move::Close])
    }

    /// No word, connection reset.
    pub fn reset() -> Self {
        Self::of([Move::Reset])
    }

    /// The message is stored, then the connection ends without an answer.
    pub fn store_then_close() -> Self {
        Self::of([Move::Store, Move::Close])
    }

    /// The message is stored, then the connection is reset without an answer.
    pub fn store_then_reset() -> Self {
        Self::of([Move::Store, Move::Reset])
    }

    /// The message is stored, the positive answer comes this much later.
    pub fn store_then_wait(pause: Duration) -> Self {
        Self::of([Move::Store, Move::Wait(pause), Move::Agree])
    }

    /// The server's own answer, this much later; at [`Stage::EndOfData`] nothing is stored before.
    pub fn stall(pause: Duration) -> Self {
        Self::of([Move::Wait(pause), Move::Agree])
    }

    /// The moves; empty means the server's own answer.
    pub fn moves(&self) -> &[Move] {
        &self.moves
    }
}

/// A server that accepts everything in good order.
#[derive(Debug, Clone, Copy, Default)]
pub struct Agreeable;

impl Behaviour for Agreeable {
    fn answer(&self, _: &Moment<'_>) -> Answer {
        Answer::agree()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(reply: &Reply, with_enhanced: bool) -> String {
        let mut out = Vec::new();
        reply.write(with_enhanced, &mut out);
        String::from_utf8(out).expect("test replies are text")
    }

    #[test]
    fn a_reply_repeats_its_codes_on_every_line() {
        let reply = Reply::new(550, "5.1.1", "Nobody here\nby that name");
        assert_eq!(written(&reply, true), "550-5.1.1 Nobody here\r\n550 5.1.1 by that name\r\n");
        assert_eq!(written(&reply, false), "550-Nobody here\r\n550 by that name\r\n");
        assert_eq!(written(&Reply::new(354, "", "Go on"), true), "354 Go on\r\n");
    }
}
