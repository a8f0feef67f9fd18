//! The catcher under a raw TCP client: what goes over the wire, byte by byte.

mod conversation;
mod faults;
mod keeping;
mod security;

use super::{Catcher, CatcherOptions};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

/// No test waits longer than this for a byte; only a failing one waits at all.
const PATIENCE: Duration = Duration::from_secs(20);

async fn catcher() -> Catcher {
    with(CatcherOptions::default()).await
}

async fn with(options: CatcherOptions) -> Catcher {
    Catcher::start(options).await.unwrap()
}

/// A client that sends exactly what it is told.
struct Client<S> {
    stream: S,
    input: Vec<u8>,
}

impl Client<TcpStream> {
    /// Connects and expects the banner.
    async fn connect(catcher: &Catcher) -> Self {
        let mut client = Self::silent(catcher).await;
        assert_eq!(client.reply().await, "220 catcher.example ESMTP ready");
        client
    }

    /// Connects and reads nothing.
    async fn silent(catcher: &Catcher) -> Self {
        Self { stream: TcpStream::connect(catcher.addr()).await.unwrap(), input: Vec::new() }
    }

    /// Connects and says EHLO.
    async fn greeted(catcher: &Catcher) -> Self {
        let mut client = Self::connect(catcher).await;
        assert!(client.ask("EHLO test.example").await.starts_with("250"));
        client
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).await.unwrap();
        self.stream.flush().await.unwrap();
    }

    /// One reply, its lines joined by `\n`, or `end` when the server has closed, or `reset`.
    async fn reply(&mut self) -> String {
        let mut lines = Vec::new();
        loop {
            let line = match self.line().await {
                Ok(line) => line,
                Err(end) => return end.to_owned(),
            };
            let last = line.as_bytes().get(3) != Some(&b'-');
            lines.push(line);
            if last {
                return lines.join("\n");
            }
        }
    }

    async fn line(&mut self) -> Result<String, &'static str> {
        loop {
            if let Some(at) = self.input.windows(2).position(|two| two == b"\r\n") {
                let line: Vec<u8> = self.input.drain(..at + 2).collect();
                return Ok(String::from_utf8_lossy(&line[..at]).into_owned());
            }
            let mut more = [0; 4096];
            match tokio::time::timeout(PATIENCE, self.stream.read(&mut more)).await.expect("no answer") {
                Ok(0) => return Err("end"),
                Ok(count) => self.input.extend_from_slice(&more[..count]),
                Err(_) => return Err("reset"),
            }
        }
    }

    /// Sends a line and returns the reply.
    async fn ask(&mut self, line: &str) -> String {
        self.send(format!("{line}\r\n")).await;
        self.reply().await
    }

    /// Sends a group in one write and returns the codes of `count` replies.
    async fn group(&mut self, bytes: impl AsRef<[u8]>, count: usize) -> Vec<String> {
        self.send(bytes).await;
        let mut codes = Vec::new();
        for _ in 0..count {
            codes.push(self.reply().await.chars().take(3).collect());
        }
        codes
    }

    /// Sends one message to one recipient and returns the last reply.
    async fn deliver(&mut self, to: &str, content: &str) -> String {
        let envelope = format!("MAIL FROM:<news@example.com>\r\nRCPT TO:<{to}>\r\nDATA\r\n");
        assert_eq!(self.group(envelope, 3).await, ["250", "250", "354"], "{to}");
        self.send(format!("{content}.\r\n")).await;
        self.reply().await
    }
}

/// A small message with this subject, its lines ended by CRLF.
fn letter(subject: &str) -> String {
    format!("Message-ID: <{subject}@example.com>\r\nSubject: {subject}\r\n\r\nWelcome back.\r\n")
}
