//! Clients that wait: one connection to one node, and a whole client around the library's clerk. For the command line, the demo
//! and the tests.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use bytes::Bytes;
use quorate::client::{Action, CallKind, Clerk, ClerkError, Config, Event, LinkId};
use quorate::codec::input::Input;
use quorate::codec::resp::{ReplyParser, Value, write};
use quorate::time::Micros;

use crate::clock::{Clock, micros};
use crate::process::random_u128;

/// Bytes that are read at a time.
const CHUNK: usize = 16 << 10;

/// The longest wait without looking at the clock.
const MAX_WAIT: Duration = Duration::from_millis(500);

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

/// A client of the whole cluster: the library's [`Clerk`] with a socket that it waits on. It finds the leader, tries again, and
/// runs each write exactly once.
#[derive(Debug)]
pub struct Client {
    clerk: Clerk,
    clock: Clock,
    links: BTreeMap<LinkId, TcpStream>,
    wake_at: Option<Micros>,
    connect_timeout: Duration,
    actions: Vec<Action>,
    done: Option<Result<Value, ClerkError>>,
}

impl Client {
    /// A client that knows these nodes (`host:port`); each call takes at most `timeout`.
    ///
    /// # Errors
    ///
    /// The operating system has no random numbers: the clerk needs a name that nobody else has.
    pub fn new(nodes: Vec<String>, timeout: Duration) -> io::Result<Self> {
        let mut config = Config::new(nodes, random_u128()?);
        config.call_timeout = micros(timeout);
        Ok(Self {
            connect_timeout: Duration::from_micros(config.connect_timeout),
            clerk: Clerk::new(config),
            clock: Clock::start(),
            links: BTreeMap::new(),
            wake_at: None,
            actions: Vec::new(),
            done: None,
        })
    }

    /// Runs a command that changes nothing, and waits for its reply, which is never a [`Value::Error`].
    pub fn read<A: AsRef<[u8]>>(&mut self, command: &[A]) -> Result<Value, ClerkError> {
        self.call(CallKind::Read, command)
    }

    /// Runs a command exactly once, and waits for its reply, which is never a [`Value::Error`].
    pub fn write<A: AsRef<[u8]>>(&mut self, command: &[A]) -> Result<Value, ClerkError> {
        self.call(CallKind::Write, command)
    }

    /// Closes the session of the writes, if there is one, so that it does not fill a place in the cluster until it expires.
    /// To be called by whom writes little and ends; without it nothing is lost but that place, for a time.
    pub fn finish(mut self) {
        if let Some(session) = self.clerk.session() {
            // If nobody takes it now, the session expires by itself.
            let _ = self.read(&["SESSION", "CLOSE", &session.to_string()]);
        }
    }

    fn call<A: AsRef<[u8]>>(&mut self, kind: CallKind, command: &[A]) -> Result<Value, ClerkError> {
        let now = self.clock.now().mono;
        self.done = None;
        self.clerk.call(now, kind, command, &mut self.actions);
        loop {
            self.perform();
            if let Some(result) = self.done.take() {
                return result;
            }
            let event = self.wait();
            self.clerk.step(self.clock.now().mono, event, &mut self.actions);
        }
    }

    /// Performs what the clerk asks for, and what it asks for in answer to that.
    fn perform(&mut self) {
        while !self.actions.is_empty() {
            let mut answers = Vec::new();
            for action in std::mem::take(&mut self.actions) {
                match action {
                    Action::Connect { link, endpoint } => answers.push(match self.connect(&endpoint) {
                        Ok(stream) => {
                            self.links.insert(link, stream);
                            Event::Connected { link }
                        }
                        Err(_) => Event::Disconnected { link },
                    }),
                    Action::Send { link, bytes } => {
                        let sent = self.links.get_mut(&link).map(|stream| stream.write_all(&bytes));
                        if let Some(Err(_)) = sent {
                            self.links.remove(&link);
                            answers.push(Event::Disconnected { link });
                        }
                    }
                    Action::Close { link } => drop(self.links.remove(&link)),
                    Action::Done { result, .. } => self.done = Some(result),
                    Action::WakeAt(at) => self.wake_at = Some(at),
                    // A wish that this client does not know is not granted; the call ends at its deadline.
                    _ => {}
                }
            }
            for answer in answers {
                self.clerk.step(self.clock.now().mono, answer, &mut self.actions);
            }
        }
    }

    fn connect(&self, endpoint: &str) -> io::Result<TcpStream> {
        let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
        for address in endpoint.to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, self.connect_timeout) {
                Ok(stream) => {
                    stream.set_nodelay(true)?;
                    stream.set_write_timeout(Some(self.connect_timeout))?;
                    return Ok(stream);
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Waits for bytes or for the clerk's next timer.
    fn wait(&mut self) -> Event {
        let now = self.clock.now().mono;
        let left = self.wake_at.map_or(MAX_WAIT, |at| Duration::from_micros(at.saturating_sub(now)));
        if left.is_zero() {
            self.wake_at = None;
            return Event::Wake;
        }
        // The clerk talks to one node at a time; the newest connection is that one.
        let Some((link, stream)) = self.links.iter_mut().next_back() else {
            std::thread::sleep(left.min(MAX_WAIT));
            return Event::Wake;
        };
        let (link, mut chunk) = (*link, [0; CHUNK]);
        let read = stream.set_read_timeout(Some(left.min(MAX_WAIT))).and_then(|()| stream.read(&mut chunk));
        match read {
            Ok(n @ 1..) => Event::Received { link, bytes: Bytes::copy_from_slice(&chunk[..n]) },
            Err(error) if is_pause(&error) => Event::Wake,
            Ok(0) | Err(_) => {
                self.links.remove(&link);
                Event::Disconnected { link }
            }
        }
    }
}

/// Whether a read has found nothing yet.
fn is_pause(error: &io::Error) -> bool {
    use io::ErrorKind::{Interrupted, TimedOut, WouldBlock};
    matches!(error.kind(), WouldBlock | TimedOut | Interrupted)
}
