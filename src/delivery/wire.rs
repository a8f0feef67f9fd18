//! Our own stream under lettre's connection: it counts the bytes it took, so that after a broken connection we know whether the end of a
//! message can have reached the server; after STARTTLS it plays the greeting that lettre expects; and it makes UTF-8 of whatever the server
//! says, because lettre gives up a connection over a reply that is not, though the server may have taken the message.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use lettre::transport::smtp::client::AsyncTokioStream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

/// Read from the server at once, in bytes.
const READ_BYTES: usize = 1024;

/// A plain or encrypted connection.
pub enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// A counting connection.
pub struct Wire {
    stream: Stream,
    peer: SocketAddr,
    taken: Arc<AtomicU64>,
    /// Read before anything else.
    read: VecDeque<u8>,
    /// The beginning of a character whose end has not arrived.
    split: Vec<u8>,
}

impl Wire {
    /// Wrap a connection. `greeting` is read first: after STARTTLS the server greets no second time, but lettre waits for it.
    pub fn new(stream: Stream, peer: SocketAddr, greeting: &'static [u8]) -> Wire {
        Wire {
            stream,
            peer,
            taken: Arc::new(AtomicU64::new(0)),
            read: greeting.iter().copied().collect(),
            split: vec![],
        }
    }

    /// The count of bytes taken for writing; keeps counting after the wire is handed over.
    pub fn taken(&self) -> Arc<AtomicU64> {
        self.taken.clone()
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
            let mut bytes = [0; READ_BYTES];
            let mut got = ReadBuf::new(&mut bytes);
            let polled = match &mut self.stream {
                Stream::Plain(s) => Pin::new(s).poll_read(cx, &mut got),
                Stream::Tls(s) => Pin::new(s).poll_read(cx, &mut got),
            };
            match polled {
                Poll::Ready(Ok(())) if got.filled().is_empty() => return Poll::Ready(Ok(())),
                Poll::Ready(Ok(())) => {
                    self.split.extend_from_slice(got.filled());
                    let text = readable(&mut self.split);
                    self.read.extend(text.as_bytes());
                }
                other => return other,
            }
        }
        let n = self.read.len().min(buf.remaining());
        for byte in self.read.drain(..n) {
            buf.put_slice(&[byte]);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = match &mut self.stream {
            Stream::Plain(s) => Pin::new(s).poll_write(cx, buf),
            Stream::Tls(s) => Pin::new(s).poll_write(cx, buf),
        };
        if let Poll::Ready(Ok(n)) = written {
            self.taken.fetch_add(n as u64, Ordering::Relaxed);
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Plain(s) => Pin::new(s).poll_flush(cx),
            Stream::Tls(s) => Pin::new(s).poll_flush(cx),
        }
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
