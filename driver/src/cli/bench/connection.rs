//! One connection: the commands in flight on it, and the replies as they come.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::time::Duration;

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use quorate::codec::resp::{ReplyError, reply_length};

use super::Nanos;
use super::clock::Clock;
use super::load::{Kind, Load};

/// How long the first connections may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A command that was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Flight {
    pub(super) kind: Kind,
    /// From when its latency counts: when it was due in an open loop, when it was written otherwise.
    pub(super) since: Nanos,
}

/// A command in flight, and how many replies are to come to it.
#[derive(Debug)]
struct Unanswered {
    flight: Flight,
    replies: usize,
}

/// Why a connection cannot be used any more.
#[derive(Debug)]
pub(super) enum Lost {
    /// The other side has closed it.
    Closed,
    /// The operating system says so.
    Io(io::Error),
    /// What came is no reply.
    Malformed(ReplyError),
    /// A reply came and nothing had been asked.
    Unasked,
}

impl From<io::Error> for Lost {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<ReplyError> for Lost {
    fn from(error: ReplyError) -> Self {
        Self::Malformed(error)
    }
}

/// A connection and what is under way on it.
#[derive(Debug)]
pub(super) struct Connection {
    stream: TcpStream,
    address: SocketAddr,
    /// Whether the connection is still being made.
    connecting: bool,
    output: Output,
    replies: Replies,
    flights: VecDeque<Unanswered>,
    /// The first error reply to the command that is answered next, if it has several replies.
    error: Vec<u8>,
    /// Where a reply has said that its command belongs.
    moved: Option<SocketAddr>,
}

impl Connection {
    /// Connects to the first of `addresses` that answers; waits until one does.
    pub(super) fn open(addresses: &[SocketAddr], registry: &Registry, token: Token) -> io::Result<Self> {
        let mut last = io::Error::from(ErrorKind::AddrNotAvailable);
        for &address in addresses {
            match std::net::TcpStream::connect_timeout(&address, CONNECT_TIMEOUT) {
                Ok(stream) => {
                    stream.set_nonblocking(true)?;
                    let mut connection = Self::new(TcpStream::from_std(stream), address);
                    connection.register(registry, token)?;
                    return Ok(connection);
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn new(stream: TcpStream, address: SocketAddr) -> Self {
        Self {
            stream,
            address,
            connecting: false,
            output: Output::default(),
            replies: Replies::default(),
            flights: VecDeque::new(),
            error: Vec::new(),
            moved: None,
        }
    }

    fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        registry.register(&mut self.stream, token, Interest::READABLE | Interest::WRITABLE)?;
        self.stream.set_nodelay(true)
    }

    /// Where it leads.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many commands wait for their replies.
    pub(super) fn in_flight(&self) -> usize {
        self.flights.len()
    }

    /// Whether it is to lead elsewhere, and takes no more commands until it does.
    pub(super) fn is_moving(&self) -> bool {
        self.moved.is_some()
    }

    /// Whether requests wait to be written.
    pub(super) fn has_output(&self) -> bool {
        !self.output.bytes.is_empty()
    }

    /// Takes the next command of `load`; it leaves with the next [`flush`](Self::flush).
    pub(super) fn send(&mut self, load: &mut Load, since: Nanos) {
        let kind = load.append(&mut self.output.bytes);
        self.flights.push_back(Unanswered { flight: Flight { kind, since }, replies: load.replies(kind) });
    }

    /// The socket can be written to: a connection that was being made is there, or has failed.
    pub(super) fn writable(&mut self) -> Result<(), Lost> {
        if self.connecting {
            if let Some(error) = self.stream.take_error()? {
                return Err(error.into());
            }
            self.connecting = false;
        }
        self.flush()
    }

    /// Writes what the socket takes.
    pub(super) fn flush(&mut self) -> Result<(), Lost> {
        if self.connecting { Ok(()) } else { self.output.write_to(&mut self.stream) }
    }

    /// Reads what has come, hands the reply to each command with the command and the time to `answered`, and says how many
    /// there were. A command of several replies is answered by the last, or by its first error. `ends` is whether the other side will send no more.
    pub(super) fn receive(
        &mut self,
        chunk: &mut [u8],
        clock: &Clock,
        ends: bool,
        mut answered: impl FnMut(Flight, Nanos, &[u8]),
    ) -> Result<usize, Lost> {
        let mut count = 0;
        loop {
            let length = match self.stream.read(chunk) {
                Ok(0) => return Err(Lost::Closed),
                Ok(length) => length,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(count),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error.into()),
            };
            let now = clock.now();
            self.replies.take(&chunk[..length], |reply| {
                let front = self.flights.front_mut().ok_or(Lost::Unasked)?;
                front.replies -= 1;
                if let Some(target) = moved_to(reply, self.address.ip()) {
                    self.moved = Some(target);
                }
                if front.replies > 0 {
                    if matches!(reply, [b'-' | b'!', ..]) {
                        self.error.extend_from_slice(reply);
                    }
                    return Ok::<_, Lost>(());
                }
                answered(front.flight, now, if self.error.is_empty() { reply } else { &self.error });
                self.error.clear();
                self.flights.pop_front();
                count += 1;
                Ok(())
            })?;
            // A short read has emptied the socket: whatever comes later is told again.
            if length < chunk.len() && !ends {
                return Ok(count);
            }
        }
    }

    /// Connects to where a reply has pointed, once nothing is in flight here any more.
    pub(super) fn follow(&mut self, registry: &Registry, token: Token) -> Result<(), Lost> {
        let Some(target) = self.moved.filter(|_| self.flights.is_empty()) else { return Ok(()) };
        registry.deregister(&mut self.stream)?;
        let stream = TcpStream::connect(target)?;
        *self = Self { connecting: true, ..Self::new(stream, target) };
        Ok(self.register(registry, token)?)
    }
}

/// Where `-MOVED SLOT HOST:PORT` points. An empty host is that of the server which says it.
fn moved_to(reply: &[u8], here: IpAddr) -> Option<SocketAddr> {
    let text = std::str::from_utf8(reply.strip_prefix(b"-MOVED ")?).ok()?;
    let target = text.trim_end().split(' ').nth(1)?;
    match target.strip_prefix(':') {
        Some(port) => Some(SocketAddr::new(here, port.parse().ok()?)),
        None => target.to_socket_addrs().ok()?.next(),
    }
}

/// Requests on their way into a socket.
#[derive(Debug, Default)]
struct Output {
    bytes: Vec<u8>,
    /// How many of them the socket has.
    written: usize,
}

impl Output {
    /// Writes what `socket` takes now.
    fn write_to(&mut self, socket: &mut impl Write) -> Result<(), Lost> {
        while self.written < self.bytes.len() {
            match socket.write(&self.bytes[self.written..]) {
                Ok(0) => return Err(Lost::Closed),
                Ok(n) => self.written += n,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        // A socket that is always a little behind must not keep all that it ever got; moving the smaller half costs no more
        // than writing the larger did.
        if self.written > self.bytes.len() / 2 {
            self.bytes.drain(..self.written);
            self.written = 0;
        }
        Ok(())
    }
}

/// Finds replies in what a socket yields, wherever it is cut. Only a reply that is cut is copied.
#[derive(Debug, Default)]
struct Replies {
    /// The beginning of a reply.
    rest: Vec<u8>,
}

impl Replies {
    /// Hands each reply that is whole with `bytes` to `each`.
    fn take<E: From<ReplyError>>(
        &mut self,
        bytes: &[u8],
        each: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        if self.rest.is_empty() {
            self.rest.extend_from_slice(split_all(bytes, each)?);
        } else {
            self.rest.extend_from_slice(bytes);
            let left = split_all(&self.rest, each)?.len();
            self.rest.drain(..self.rest.len() - left);
        }
        Ok(())
    }
}

/// Hands each whole reply to `each` and returns what is left.
fn split_all<E: From<ReplyError>>(
    mut bytes: &[u8],
    mut each: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<&[u8], E> {
    while let Some((reply, rest)) = reply_length(bytes)?.and_then(|length| bytes.split_at_checked(length)) {
        each(reply)?;
        bytes = rest;
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPLIES: [&[u8]; 6] = [
        b"+OK\r\n",
        b"$-1\r\n",
        b"$5\r\na\r\nbc\r\n",
        b"-MOVED 1 a:2\r\n",
        b"*2\r\n:1\r\n_\r\n",
        b"$0\r\n\r\n",
    ];

    fn found(pieces: &[&[u8]]) -> Vec<Vec<u8>> {
        let (mut replies, mut found) = (Replies::default(), Vec::new());
        for piece in pieces {
            let each = |reply: &[u8]| {
                found.push(reply.to_vec());
                Ok::<_, ReplyError>(())
            };
            replies.take(piece, each).unwrap();
        }
        assert!(replies.rest.is_empty());
        found
    }

    #[test]
    fn replies_are_found_wherever_they_are_cut() {
        let bytes = REPLIES.concat();
        for first in 0..=bytes.len() {
            for second in first..=bytes.len() {
                let pieces = [&bytes[..first], &bytes[first..second], &bytes[second..]];
                assert_eq!(found(&pieces), REPLIES, "cut at {first} and {second}");
            }
        }
        let one_by_one: Vec<_> = bytes.chunks(1).collect();
        assert_eq!(found(&one_by_one), REPLIES);
    }

    /// A socket that takes three bytes at a time.
    #[derive(Default)]
    struct Narrow {
        taken: Vec<u8>,
        full: bool,
    }

    impl Write for Narrow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.full = !self.full;
            if !self.full {
                return Err(ErrorKind::WouldBlock.into());
            }
            let length = bytes.len().min(3);
            self.taken.extend_from_slice(&bytes[..length]);
            Ok(length)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_socket_that_is_always_behind_gets_all_and_what_it_has_is_let_go() {
        let (mut output, mut socket, mut sent) = (Output::default(), Narrow::default(), Vec::new());
        output.bytes.extend_from_slice(b"0123456789");
        sent.extend_from_slice(b"0123456789");
        for letter in (b'a'..=b'z').cycle().take(1000) {
            output.bytes.extend_from_slice(&[letter; 3]);
            sent.extend_from_slice(&[letter; 3]);
            output.write_to(&mut socket).unwrap();
            assert!(output.bytes.len() <= 40, "{}", output.bytes.len());
        }
        while !output.bytes.is_empty() {
            output.write_to(&mut socket).unwrap();
        }
        assert_eq!(socket.taken, sent);
    }

    #[test]
    fn what_is_no_reply_is_an_error_even_behind_a_cut() {
        let mut replies = Replies::default();
        let each = |_: &[u8]| Ok::<_, ReplyError>(());
        assert_eq!(replies.take(b"$2\r", each), Ok(()));
        assert_eq!(replies.take(b"\nabc\r\n", each), Err(ReplyError::Malformed));
        assert_eq!(Replies::default().take(b"SSH-2.0\r\n", each), Err(ReplyError::Kind(b'S')));
    }

    #[test]
    fn a_redirection_is_read_and_nothing_else_is_taken_for_one() {
        let here = IpAddr::from([10, 0, 0, 1]);
        let target = |reply: &str| moved_to(reply.as_bytes(), here).map(|address| address.to_string());
        assert_eq!(target("-MOVED 3999 127.0.0.1:6381\r\n").as_deref(), Some("127.0.0.1:6381"));
        assert_eq!(target("-MOVED 3999 :6381\r\n").as_deref(), Some("10.0.0.1:6381"));
        for other in [
            "-MOVED\r\n",
            "-MOVED 3999 nowhere\r\n",
            "-ERR MOVED 1 127.0.0.1:1\r\n",
            "+MOVED 1 127.0.0.1:1\r\n",
        ] {
            assert_eq!(target(other), None, "{other}");
        }
    }
}
