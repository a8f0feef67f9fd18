//! The bytes of one connection: buffered lines in, buffered replies out, plain or encrypted.
//!
//! Replies are collected and sent together when the server would have to wait for input, so that a pipelined group
//! of commands costs one write (RFC 2920 §3.2). Every wait has a limit. Nothing here knows SMTP beyond CRLF.

use rustls::ServerConfig;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::{TlsAcceptor, server::TlsStream};

/// How long the server waits for the client to send or to take something (RFC 5321 §4.5.3.2.7: at least 5 minutes).
pub const IDLE_MAX: Duration = Duration::from_secs(300);
/// How long a TLS handshake may take.
pub const HANDSHAKE_MAX: Duration = Duration::from_secs(30);
/// How long a closed connection is drained so that the client sees a FIN, not a reset.
const LINGER_MAX: Duration = Duration::from_millis(500);
/// Input buffer in bytes; longer than any line.
const INPUT_BYTES: usize = 32 * 1024;
/// Replies are sent when this many bytes have been collected, even when more input waits.
const OUTPUT_BYTES_MAX: usize = 64 * 1024;

/// One line of input.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// Without its CRLF.
    Text(Vec<u8>),
    /// Longer than allowed; dropped.
    TooLong,
    /// Ended by a bare LF; dropped.
    BareLf,
    /// The client has closed.
    End,
}

enum Channel {
    Plain(TcpStream),
    Encrypted(Box<TlsStream<TcpStream>>),
}

pub(super) struct Wire {
    /// `None` once closed.
    channel: Option<Channel>,
    input: Box<[u8]>,
    start: usize,
    end: usize,
    output: Vec<u8>,
}

impl Wire {
    pub fn new(stream: TcpStream) -> Self {
        Self {
            channel: Some(Channel::Plain(stream)),
            input: vec![0; INPUT_BYTES].into_boxed_slice(),
            start: 0,
            end: 0,
            output: Vec::new(),
        }
    }

    /// Input that has arrived and was not looked at.
    pub fn waiting(&self) -> &[u8] {
        &self.input[self.start..self.end]
    }

    /// Takes `count` bytes off [`Wire::waiting`].
    pub fn consume(&mut self, count: usize) {
        self.start += count.min(self.end - self.start);
    }

    /// Where to put replies.
    pub fn output(&mut self) -> &mut Vec<u8> {
        &mut self.output
    }

    /// Sends the collected replies if they have become many.
    pub async fn relieve(&mut self) -> io::Result<()> {
        if self.output.len() < OUTPUT_BYTES_MAX { Ok(()) } else { self.flush().await }
    }

    /// Sends the collected replies.
    pub async fn flush(&mut self) -> io::Result<()> {
        if self.output.is_empty() {
            return Ok(());
        }
        let sending = async {
            match self.channel.as_mut().ok_or(io::ErrorKind::NotConnected)? {
                Channel::Plain(stream) => stream.write_all(&self.output).await,
                Channel::Encrypted(stream) => {
                    stream.write_all(&self.output).await?;
                    stream.flush().await
                }
            }
        };
        timeout(IDLE_MAX, sending).await.map_err(|_| io::ErrorKind::TimedOut)??;
        self.output.clear();
        Ok(())
    }

    /// Sends the collected replies, then waits for more input. False at its end.
    pub async fn fill(&mut self) -> io::Result<bool> {
        self.flush().await?;
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.end == self.input.len() {
            self.input.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        let room = &mut self.input[self.end..];
        let reading = async {
            match self.channel.as_mut().ok_or(io::ErrorKind::NotConnected)? {
                Channel::Plain(stream) => stream.read(room).await,
                Channel::Encrypted(stream) => stream.read(room).await,
            }
        };
        let count = timeout(IDLE_MAX, reading).await.map_err(|_| io::ErrorKind::TimedOut)??;
        self.end += count;
        Ok(count > 0)
    }

    /// The next line, of at most `bytes_max` bytes without its CRLF (less than the input buffer holds).
    pub async fn line(&mut self, bytes_max: usize) -> io::Result<Line> {
        let (mut searched, mut too_long) = (0, false);
        loop {
            if let Some(lf) = self.waiting()[searched..].iter().position(|b| *b == b'\n') {
                let line = &self.waiting()[..searched + lf];
                let read = match line {
                    _ if too_long || line.len() > bytes_max + 1 => Line::TooLong,
                    [text @ .., b'\r'] => Line::Text(text.to_vec()),
                    _ => Line::BareLf,
                };
                self.consume(searched + lf + 1);
                return Ok(read);
            }
            if self.waiting().len() > bytes_max + 1 {
                too_long = true;
                self.start = self.end;
            }
            searched = self.waiting().len();
            if !self.fill().await? {
                return Ok(Line::End);
            }
        }
    }

    /// Becomes encrypted. Input that came before the handshake is thrown away (RFC 3207 §6).
    pub async fn encrypt(&mut self, config: Arc<ServerConfig>) -> io::Result<()> {
        self.flush().await?;
        self.start = self.end;
        let Some(Channel::Plain(stream)) = self.channel.take() else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        let handshake = TlsAcceptor::from(config).accept(stream);
        let stream = timeout(HANDSHAKE_MAX, handshake).await.map_err(|_| io::ErrorKind::TimedOut)??;
        self.channel = Some(Channel::Encrypted(Box::new(stream)));
        Ok(())
    }

    /// Sends the collected replies and ends the connection in good order.
    pub async fn close(&mut self) -> io::Result<()> {
        self.flush().await?;
        match self.channel.as_mut().ok_or(io::ErrorKind::NotConnected)? {
            Channel::Plain(stream) => stream.shutdown().await?,
            Channel::Encrypted(stream) => stream.shutdown().await?,
        }
        let drain = async {
            self.start = self.end;
            while self.fill().await? {
                self.start = self.end;
            }
            io::Result::Ok(())
        };
        // Whatever ends the draining, the connection is over.
        let _ = timeout(LINGER_MAX, drain).await;
        self.channel = None;
        Ok(())
    }

    /// Sends the collected replies and resets the connection.
    pub async fn reset(&mut self) -> io::Result<()> {
        self.flush().await?;
        match self.channel.take().ok_or(io::ErrorKind::NotConnected)? {
            Channel::Plain(stream) => stream.set_zero_linger(),
            Channel::Encrypted(stream) => stream.get_ref().0.set_zero_linger(),
        }
    }
}
