//! Accepts connections, not too many and none for ever: a crowd of slow clients cannot keep mail programs from unsubscribing.

use std::future::Future as _;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep};

/// Connections open at once.
const CONNECTIONS_MAX: usize = 512;
/// A connection on which nothing was answered for so long is closed.
const QUIET_MAX: Duration = Duration::from_secs(30);
/// The pause after the system refused a connection (for want of file descriptors, say).
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// A listener that hands out [`Connection`]s.
pub struct Listener {
    listener: TcpListener,
    places: Arc<Semaphore>,
}

impl Listener {
    pub fn new(listener: TcpListener) -> Listener {
        Listener { listener, places: Arc::new(Semaphore::new(CONNECTIONS_MAX)) }
    }
}

impl axum::serve::Listener for Listener {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        let place = self.places.clone().acquire_owned().await.expect("the semaphore is never closed");
        loop {
            match self.listener.accept().await {
                Ok((stream, addr)) => {
                    // Best effort: without it answers are only a little later.
                    let _ = stream.set_nodelay(true);
                    let until = Box::pin(tokio::time::sleep(QUIET_MAX));
                    return (Connection { stream, until, _place: place }, addr);
                }
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection that ends when we had nothing to answer for [`QUIET_MAX`]: bytes that trickle in do not prolong it.
pub struct Connection {
    stream: TcpStream,
    until: Pin<Box<Sleep>>,
    _place: OwnedSemaphorePermit,
}

impl Connection {
    fn poll_quiet(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        self.until.as_mut().poll(cx).map(|()| io::ErrorKind::TimedOut.into())
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if let Poll::Ready(e) = self.poll_quiet(cx) {
            return Poll::Ready(Err(e));
        }
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if let Poll::Ready(e) = self.poll_quiet(cx) {
            return Poll::Ready(Err(e));
        }
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, buf))?;
        self.until.as_mut().reset(Instant::now() + QUIET_MAX);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
