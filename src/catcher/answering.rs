//! Saying and doing what a [`Behaviour`](super::Behaviour) decided: the only interpreter of [`Move`]s.

use super::behaviour::{Moment, Move, Reply, Stage, Transaction};
use super::session::{Next, Session};
use super::store::Tally;
use std::io;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

impl Session {
    /// Asks the behaviour and does what it says. `agreed` is the server's own reply.
    pub(super) async fn answer(&mut self, stage: Stage, argument: &str, agreed: Reply) -> io::Result<Next> {
        let nothing = Transaction::default();
        let answer = self.server.behaviour.answer(&Moment {
            stage,
            connection: self.number,
            open_connections: self.server.open.load(Relaxed),
            messages: self.messages,
            encrypted: self.encrypted,
            argument,
            transaction: self.envelope.as_ref().map_or(&nothing, |envelope| &envelope.transaction),
            agreed: &agreed,
        });
        let moves = if answer.moves().is_empty() { &[Move::Agree] } else { answer.moves() };
        // The first thing said is what the client takes for the reply; silence changes nothing.
        let mut heard = None;
        for this in moves {
            let said = match this {
                Move::Agree if stage == Stage::Content => continue,
                Move::Agree => self.speak(stage, &agreed, heard).await?,
                Move::Say(reply) => self.speak(stage, reply, heard).await?,
                other => self.act(stage, other).await?,
            };
            match said {
                Some(Next::Gone) => return Ok(Next::Gone),
                Some(next) => _ = heard.get_or_insert(next),
                None => {}
            }
        }
        Ok(heard.unwrap_or(Next::Refused))
    }

    /// Says a reply. A positive one at the end of a message stores it first; 421 ends the connection (RFC 5321 §3.8).
    async fn speak(&mut self, stage: Stage, reply: &Reply, heard: Option<Next>) -> io::Result<Option<Next>> {
        let stores = stage == Stage::EndOfData && reply.is_positive() && heard.is_none();
        if stores && let Err(refusal) = self.store() {
            self.say(&refusal).await?;
            return Ok(Some(Next::Refused));
        }
        self.say(reply).await?;
        if reply.code == 421 {
            self.wire.close().await?;
            return Ok(Some(Next::Gone));
        }
        Ok(Some(if reply.is_positive() { Next::Accepted } else { Next::Refused }))
    }

    /// Does a move other than [`Move::Agree`] and [`Move::Say`]. `None`: the client has heard nothing by it.
    async fn act(&mut self, stage: Stage, this: &Move) -> io::Result<Option<Next>> {
        match this {
            Move::Store if stage == Stage::EndOfData => {
                if let Err(refusal) = self.store() {
                    self.say(&refusal).await?;
                    return Ok(Some(Next::Refused));
                }
            }
            Move::Agree | Move::Say(_) | Move::Store => {}
            Move::Raw(bytes) => {
                self.wire.output().extend_from_slice(bytes);
                self.wire.relieve().await?;
                return Ok(heard_as(bytes));
            }
            Move::Trickle(bytes, pause) => {
                self.trickle(bytes, *pause).await?;
                return Ok(heard_as(bytes));
            }
            Move::Endless(bytes) => {
                while !bytes.is_empty() {
                    self.wire.output().extend_from_slice(bytes);
                    self.wire.relieve().await?;
                }
            }
            Move::Wait(pause) => {
                self.wire.flush().await?;
                tokio::time::sleep(*pause).await;
            }
            Move::DropInput => self.wire.consume(usize::MAX),
            Move::Close => {
                self.wire.close().await?;
                return Ok(Some(Next::Gone));
            }
            Move::Reset => {
                self.wire.reset().await?;
                return Ok(Some(Next::Gone));
            }
        }
        Ok(None)
    }

    async fn trickle(&mut self, bytes: &[u8], pause: Duration) -> io::Result<()> {
        for byte in bytes {
            self.wire.flush().await?;
            tokio::time::sleep(pause).await;
            self.wire.output().push(*byte);
        }
        self.wire.flush().await
    }

    /// Collects a reply; it leaves when the server next waits for input.
    pub(super) async fn say(&mut self, reply: &Reply) -> io::Result<()> {
        if !reply.is_positive() {
            Tally::add(&self.server.store.tally.refused, 1);
        }
        reply.write(self.server.extensions.enhanced_status_codes, self.wire.output());
        self.wire.relieve().await
    }

    /// Refuses a command that is out of order.
    pub(super) async fn refuse(&mut self, code: u16, enhanced: &'static str, text: &'static str) -> io::Result<Next> {
        self.say(&Reply::new(code, enhanced, text)).await?;
        Ok(Next::Refused)
    }

    /// Ends the connection for a reason of the server's own.
    pub(super) async fn hang_up(&mut self, enhanced: &'static str, text: &'static str) -> io::Result<()> {
        self.say(&Reply::new(421, enhanced, text)).await?;
        self.wire.close().await
    }
}

/// How raw bytes count: by their first digit, like a reply code.
fn heard_as(bytes: &[u8]) -> Option<Next> {
    bytes.first().map(|first| if matches!(first, b'2' | b'3') { Next::Accepted } else { Next::Refused })
}
