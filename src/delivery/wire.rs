//! Our own stream under lettre's connection: it counts the bytes it took, so that after a broken connection we know whether the end of a
//! message can have reached the server; after STARTTLS it plays the greeting that lettre expects; and it makes UTF-8 of whatever the server
//! says, because lettre gives up a connection over a reply that is not, though the server may have taken the message.
//!
//! It hands out one line at a time, so that what the server said beyond its reply stays here and is noticed before the next command
//! ([`Gauge::expect_silence`]): one reply too many would otherwise be taken for the answer to something else, up to an acceptance of a
//! message that was refused.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use lettre::transport::smtp::client::AsyncTokioStream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::clock;
use crate::failpoint;
use crate::queue::lease::Lease;

/// Read from the server at once, in bytes.
const READ_BYTES: usize = 1024;

/// What the server may say between two writes of ours, in bytes; RFC 5321 §4.5.3.1.5 allows 512 a line. lettre parses a reply anew with
/// every line of it, so an endless one costs time by its square.
const REPLIES_BYTES_MAX: usize = 16 * 1024;

/// A plain or encrypted connection.
pub enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// What is known of a wire after it was handed over.
#[derive(Debug, Default)]
pub struct Gauge {
    taken: AtomicU64,
    silence: AtomicBool,
    unread: AtomicBool,
    /// The count of taken bytes at which a test has the process die; 0: never.
    fatal_at: AtomicU64,
    /// What is written, up to this count of taken bytes, belongs to a chunk: nothing more of it once this lease has run out.
    lease: Mutex<Option<(Arc<Lease>, u64)>>,
}

impl Gauge {
    /// The bytes taken for writing so far.
    pub fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }

    /// Whether the server has said more than was read of it; as far as that has arrived.
    pub fn has_more(&self) -> bool {
        self.unread.load(Ordering::Relaxed)
    }

    /// Every reply was read: if the server has said more when the next byte is to be written, nothing is written and writing fails.
    pub fn expect_silence(&self) {
        self.silence.store(true, Ordering::Relaxed);
    }

    /// Write only while this lease holds, up to this count of taken bytes; `None`: whatever comes. A process that was frozen over the end of its
    /// lease wakes up with a content to send that is somebody else's by now.
    pub fn only_under(&self, lease: Option<(Arc<Lease>, u64)>) {
        *self.lease.lock().unwrap_or_else(PoisonError::into_inner) = lease;
    }

    /// Fails when the lease has run out of a content of which more is to be written, `taken` bytes being written.
    fn under_lease(&self, taken: u64) -> io::Result<()> {
        let lease = self.lease.lock().unwrap_or_else(PoisonError::into_inner);
        match &*lease {
            Some((lease, end)) if taken < *end && lease.until_at() <= clock::now() => Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "the lease of the chunk ran out before the content was written",
            )),
            _ => Ok(()),
        }
    }

    /// Die, as a [`crate::failpoint`], when so many more bytes are taken.
    pub fn die_after(&self, bytes: u64) {
        self.fatal_at.store(self.taken() + bytes.max(1), Ordering::Relaxed);
    }
}

/// A counting connection.
pub struct Wire {
    stream: Stream,
    peer: SocketAddr,
    gauge: Arc<Gauge>,
    /// Read before anything else.
    read: VecDeque<u8>,
    /// Handed out since the last write, in bytes.
    replies_bytes: usize,
    /// The beginning of a character whose end has not arrived.
    split: Vec<u8>,
}

impl Wire {
    /// Wrap a connection. `greeting` is read first: after STARTTLS the server greets no second time, but lettre waits for it.
    pub fn new(stream: Stream, peer: SocketAddr, greeting: &'static [u8]) -> Wire {
        Wire {
            stream,
            peer,
            gauge: Arc::default(),
            read: greeting.iter().copied().collect(),
            replies_bytes: 0,
            split: vec![],
        }
    }

    /// Its gauge; goes on after the wire is handed over.
    pub fn gauge(&self) -> Arc<Gauge> {
        self.gauge.clone()
    }

    /// What of `buf` may still be written before a test has the process die; at that byte it does.
    fn up_to_the_end<'b>(&self, buf: &'b [u8]) -> &'b [u8] {
        match (self.gauge.fatal_at.load(Ordering::Relaxed), self.gauge.taken()) {
            (0, _) => buf,
            (fatal_at, taken) if taken >= fatal_at => {
                failpoint::strike();
                self.gauge.fatal_at.store(0, Ordering::Relaxed);
                buf
            }
            (fatal_at, taken) => &buf[..buf.len().min((fatal_at - taken) as usize)],
        }
    }

    /// Take what the server said, as text. Ready with no byte: the end.
    fn poll_hear(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut bytes = [0; READ_BYTES];
        let mut got = ReadBuf::new(&mut bytes);
        let polled = match &mut self.stream {
            Stream::Plain(s) => Pin::new(s).poll_read(cx, &mut got),
            Stream::Tls(s) => Pin::new(s).poll_read(cx, &mut got),
        };
        ready!(polled)?;
        self.split.extend_from_slice(got.filled());
        let text = readable(&mut self.split);
        self.read.extend(text.as_bytes());
        Poll::Ready(Ok(got.filled().len()))
    }

    /// Fails when the server has said anything, or has gone.
    fn hear_nothing(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        let unasked = || io::Error::new(io::ErrorKind::InvalidData, "the server said more than it was asked");
        if !self.read.is_empty() || !self.split.is_empty() {
            return Err(unasked());
        }
        match self.poll_hear(cx) {
            Poll::Pending => Ok(()),
            Poll::Ready(Ok(0)) => Err(io::ErrorKind::UnexpectedEof.into()),
            Poll::Ready(Ok(_)) => Err(unasked()),
            Poll::Ready(Err(e)) => Err(e),
        }
    }
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Wire({})", self.peer)
    }
}

impl AsyncTokioStream for Wire {
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.peer)
    }
}

/// Bytes as UTF-8: those that are none are written as their code, `\xef`. What may be the beginning of a character stays in `bytes`.
fn readable(bytes: &mut Vec<u8>) -> String {
    let mut out = String::with_capacity(bytes.len());
    let mut rest = bytes.as_slice();
    loop {
        let bad = match std::str::from_utf8(rest) {
            Ok(text) => {
                out.push_str(text);
                rest = &[];
                break;
            }
            Err(e) => e,
        };
        let (good, after) = rest.split_at(bad.valid_up_to());
        out.push_str(std::str::from_utf8(good).expect("valid up to there"));
        let Some(wrong) = bad.error_len() else {
            rest = after;
            break;
        };
        for byte in &after[..wrong] {
            out.push_str(&format!("\\x{byte:02x}"));
        }
        rest = &after[wrong..];
    }
    *bytes = rest.to_vec();
    out
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        while self.read.is_empty() {
            if ready!(self.poll_hear(cx))? == 0 {
                return Poll::Ready(Ok(()));
            }
        }
        let line = self.read.iter().position(|b| *b == b'\n').map(|at| at + 1);
        let n = line.unwrap_or(self.read.len()).min(buf.remaining());
        self.replies_bytes += n;
        if self.replies_bytes > REPLIES_BYTES_MAX {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, "an endless reply")));
        }
        let (first, second) = self.read.as_slices();
        let of_first = n.min(first.len());
        buf.put_slice(&first[..of_first]);
        buf.put_slice(&second[..n - of_first]);
        self.read.drain(..n);
        self.gauge.unread.store(!self.read.is_empty(), Ordering::Relaxed);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.gauge.silence.swap(false, Ordering::Relaxed) {
            self.hear_nothing(cx)?;
        }
        self.replies_bytes = 0;
        let buf = self.up_to_the_end(buf);
        self.gauge.under_lease(self.gauge.taken())?;
        let written = match &mut self.stream {
            Stream::Plain(s) => Pin::new(s).poll_write(cx, buf),
            Stream::Tls(s) => Pin::new(s).poll_write(cx, buf),
        };
        if let Poll::Ready(Ok(n)) = written {
            self.gauge.taken.fetch_add(n as u64, Ordering::Relaxed);
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if matches!(self.stream, Stream::Tls(_)) {
            self.gauge.under_lease(0)?; // what was taken may still be here, encrypted
        }
        let flushed = match &mut self.stream {
            Stream::Plain(s) => Pin::new(s).poll_flush(cx),
            Stream::Tls(s) => Pin::new(s).poll_flush(cx),
        };
        if flushed.is_ready() {
            self.up_to_the_end(&[]);
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Plain(s) => Pin::new(s).poll_shutdown(cx),
            Stream::Tls(s) => Pin::new(s).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_the_server_says_becomes_text() {
        for (parts, text, left) in [
            (vec![&b"250 ok\r\n"[..]], "250 ok\r\n", 0),
            (vec![b"250 na\xefve\r\n"], "250 na\\xefve\r\n", 0),
            (vec![b"250 \xe2\x82", b"\xac\r\n"], "250 \u{20ac}\r\n", 0),
            (vec![b"250 \xe2\x82", b"\r\n"], "250 \\xe2\\x82\r\n", 0),
            (vec![b"\xff\xfe\xe2"], "\\xff\\xfe", 1),
        ] {
            let mut bytes = Vec::new();
            let mut told = String::new();
            for part in parts {
                bytes.extend_from_slice(part);
                told.push_str(&readable(&mut bytes));
            }
            assert_eq!((told.as_str(), bytes.len()), (text, left));
        }
    }
}
