//! A listening socket: takes connections a bounded number a turn, and pauses when the process has no more descriptors.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use mio::net::{TcpListener, TcpStream};
use mio::{Interest, Registry, Token};
use quorate::time::Micros;
use rustix::net::sockopt;

/// Most connections taken in one turn of the loop.
const MAX_PER_TURN: usize = 64;

/// How long to leave connections waiting when one could not be taken. Microseconds.
const PAUSE: Micros = 100_000;

/// A silent connection is probed by the kernel after this time, so that a vanished host is noticed.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// What came of a try to take a connection.
pub(crate) enum Accepted {
    /// One was taken.
    Stream(TcpStream, SocketAddr),
    /// None waits, or the turn's share is used up.
    Enough,
    /// One waits that cannot be taken now.
    Failed(io::Error),
}

/// A listening socket.
#[derive(Debug)]
pub(crate) struct Listener {
    socket: TcpListener,
    /// More may wait.
    ready: bool,
    /// Leave them until then.
    paused_until: Option<Micros>,
    left: usize,
}

impl Listener {
    pub(crate) fn new(mut socket: TcpListener, registry: &Registry, token: Token) -> io::Result<Self> {
        registry.register(&mut socket, token, Interest::READABLE)?;
        Ok(Self { socket, ready: true, paused_until: None, left: MAX_PER_TURN })
    }

    /// The poll has said that connections wait.
    pub(crate) fn set_ready(&mut self) {
        self.ready = true;
    }

    /// Whether the next turn should look here without being told by the poll.
    pub(crate) fn is_ready(&self) -> bool {
        self.ready && self.paused_until.is_none()
    }

    /// When the pause ends, if there is one.
    pub(crate) fn wake_at(&self) -> Option<Micros> {
        self.paused_until
    }

    /// Begins a turn.
    pub(crate) fn turn(&mut self, now: Micros) {
        self.left = MAX_PER_TURN;
        if self.paused_until.is_some_and(|until| until <= now) {
            self.paused_until = None;
        }
    }

    /// Takes the next connection.
    pub(crate) fn accept(&mut self, now: Micros) -> Accepted {
        while self.is_ready() && self.left > 0 {
            match self.socket.accept() {
                Ok((stream, from)) => {
                    self.left -= 1;
                    prepare(&stream);
                    return Accepted::Stream(stream, from);
                }
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => self.ready = false,
                    // This connection ended before it was taken; the next one may be well.
                    io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted => self.left -= 1,
                    _ => {
                        self.paused_until = Some(now + PAUSE);
                        return Accepted::Failed(error);
                    }
                },
            }
        }
        Accepted::Enough
    }
}

/// Sets what every connection has: no delay of small writes, and probes of silent peers.
pub(crate) fn prepare(stream: &TcpStream) {
    // Both are a help, not a need: a connection without them is still right.
    let _ = stream.set_nodelay(true);
    let _ = sockopt::set_socket_keepalive(stream, true);
    #[cfg(not(target_os = "openbsd"))]
    let _ = sockopt::set_tcp_keepidle(stream, KEEPALIVE);
}
