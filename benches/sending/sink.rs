//! A mail server that accepts everything and keeps nothing, in a process of its own so that its work is not counted as ours.
//!
//! One thread for each connection. It offers PIPELINING, answers all commands that arrived together in one write, and waits before each such
//! write as long as it was told: that stands for the way to a real server and back.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// What the program is called with to be the sink; the delay in milliseconds follows.
pub const FLAG: &str = "--sink";
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
    pub fn start(delay_ms: u64) -> Sink {
        let me = std::env::current_exe().expect("our own path");
        let mut child = Command::new(me)
            .args([FLAG, &delay_ms.to_string()])
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

/// Be the sink, until killed.
pub fn serve(delay: Duration) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    println!("{}", listener.local_addr().expect("it listens").port());
    for stream in listener.incoming().flatten() {
        // A client that goes away mid-sentence ends its thread, and nothing else.
        std::thread::spawn(move || Session::new(stream, delay).talk());
    }
}

struct Session {
    stream: TcpStream,
    delay: Duration,
    /// What arrived and is not understood yet.
    heard: Vec<u8>,
    in_content: bool,
}

impl Session {
    fn new(stream: TcpStream, delay: Duration) -> Session {
        Session { stream, delay, heard: Vec::with_capacity(READ_BYTES), in_content: false }
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
        if self.in_content {
            let end = self.heard.windows(CONTENT_END.len()).position(|w| w == CONTENT_END)?;
            self.heard.drain(..end + CONTENT_END.len());
            self.in_content = false;
            return Some(b"250 2.0.0 kept nowhere\r\n");
        }
        let end = self.heard.windows(2).position(|w| w == b"\r\n")?;
        let line: Vec<u8> = self.heard.drain(..end + 2).collect();
        let word = line[..end.min(4)].to_ascii_uppercase();
        Some(match word.as_slice() {
            b"EHLO" => b"250-sink.example.com\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 SMTPUTF8\r\n",
            b"HELO" | b"MAIL" | b"RCPT" | b"RSET" | b"NOOP" => b"250 2.1.0 ok\r\n",
            b"DATA" => {
                self.in_content = true;
                b"354 go on\r\n"
            }
            b"QUIT" => b"221 2.0.0 bye\r\n",
            _ => b"500 5.5.2 unknown\r\n",
        })
    }
}
