//! A mail server that accepts everything and keeps nothing, in a process of its own so that its work is not counted as ours.
//!
//! One thread for each connection. It offers PIPELINING, and CHUNKING unless told not to, answers all commands that arrived together in one
//! write, and waits before each such write as long as it was told: that stands for the way to a real server and back.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// What the program is called with to be the sink; the delay in milliseconds and what it offers follow.
pub const FLAG: &str = "--sink";
/// What a sink offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offer {
    /// PIPELINING.
    Pipelining,
    /// PIPELINING and CHUNKING.
    Chunking,
}

impl Offer {
    /// As a word on a line.
    pub fn word(self) -> &'static str {
        match self {
            Offer::Pipelining => "DATA",
            Offer::Chunking => "BDAT",
        }
    }
}

const READ_BYTES: usize = 64 * 1024;
const CONTENT_END: &[u8] = b"\r\n.\r\n";

/// A running sink; ends when dropped.
pub struct Sink {
    child: Child,
    /// Where it listens, on this machine.
    pub port: u16,
}

impl Sink {
    /// Start this program once more, as a sink.
    pub fn start(delay_ms: u64, offer: Offer) -> Sink {
        let me = std::env::current_exe().expect("our own path");
        let mut child = Command::new(me)
            .args([FLAG, &delay_ms.to_string(), offer.word()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the sink starts");
        let mut said = String::new();
        let out = child.stdout.take().expect("piped");
        BufReader::new(out).read_line(&mut said).expect("the sink says where it listens");
        Sink { child, port: said.trim().parse().expect("a port") }
    }

    /// As `smtp.url` names it.
    pub fn url(&self) -> String {
        format!("smtp://127.0.0.1:{}", self.port)
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Be the sink that the words after [`FLAG`] ask for, until killed.
pub fn serve(words: &[String]) {
    let delay = Duration::from_millis(words[0].parse().expect("a delay in milliseconds"));
    let offer = if words[1] == Offer::Chunking.word() { Offer::Chunking } else { Offer::Pipelining };
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    println!("{}", listener.local_addr().expect("it listens").port());
    for stream in listener.incoming().flatten() {
        // A client that goes away mid-sentence ends its thread, and nothing else.
        std::thread::spawn(move || Session::new(stream, delay, offer).talk());
    }
}

struct Session {
    stream: TcpStream,
    delay: Duration,
    offer: Offer,
    /// What arrived and is not understood yet.
    heard: Vec<u8>,
    expects: Expects,
}

/// What comes next.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Expects {
    Command,
    /// A content up to its dot.
    Content,
    /// So many bytes of a content.
    Chunk(usize),
}

impl Session {
    fn new(stream: TcpStream, delay: Duration, offer: Offer) -> Session {
        Session { stream, delay, offer, heard: Vec::with_capacity(READ_BYTES), expects: Expects::Command }
    }

    fn talk(mut self) -> std::io::Result<()> {
        self.stream.set_nodelay(true)?;
        self.stream.write_all(b"220 sink.example.com ESMTP\r\n")?;
        let mut buffer = vec![0; READ_BYTES];
        loop {
            let n = self.stream.read(&mut buffer)?;
            if n == 0 {
                return Ok(());
            }
            self.heard.extend_from_slice(&buffer[..n]);
            let mut replies = Vec::new();
            let mut last = false;
            while let Some(reply) = self.answer() {
                replies.extend_from_slice(reply);
                last |= reply.starts_with(b"221");
            }
            if replies.is_empty() {
                continue;
            }
            std::thread::sleep(self.delay);
            self.stream.write_all(&replies)?;
            if last {
                return Ok(());
            }
        }
    }

    /// The answer to the next whole command or content.
    fn answer(&mut self) -> Option<&'static [u8]> {
        let kept = match self.expects {
            Expects::Command => None,
            Expects::Content => {
                Some(self.heard.windows(CONTENT_END.len()).position(|w| w == CONTENT_END)? + CONTENT_END.len())
            }
            Expects::Chunk(bytes) if self.heard.len() < bytes => return None,
            Expects::Chunk(bytes) => Some(bytes),
        };
        if let Some(bytes) = kept {
            self.heard.drain(..bytes);
            self.expects = Expects::Command;
            return Some(b"250 2.0.0 kept nowhere\r\n");
        }
        let end = self.heard.windows(2).position(|w| w == b"\r\n")?;
        let line: Vec<u8> = self.heard.drain(..end + 2).collect();
        let word = line[..end.min(4)].to_ascii_uppercase();
        Some(match word.as_slice() {
            b"EHLO" if self.offer == Offer::Chunking => {
                b"250-sink.example.com\r\n250-PIPELINING\r\n250-CHUNKING\r\n250-8BITMIME\r\n250 SMTPUTF8\r\n"
            }
            b"EHLO" => b"250-sink.example.com\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 SMTPUTF8\r\n",
            b"HELO" | b"MAIL" | b"RCPT" | b"RSET" | b"NOOP" => b"250 2.1.0 ok\r\n",
            b"DATA" => {
                self.expects = Expects::Content;
                b"354 go on\r\n"
            }
            b"BDAT" => {
                let bytes = std::str::from_utf8(&line).ok()?.split_ascii_whitespace().nth(1)?.parse().ok()?;
                self.expects = Expects::Chunk(bytes);
                return self.answer(); // to its content
            }
            b"QUIT" => b"221 2.0.0 bye\r\n",
            _ => b"500 5.5.2 unknown\r\n",
        })
    }
}
