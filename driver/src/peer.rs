//! Connections between peers: dials, accepts, reads whole frames, writes queues of frames with one vectored write a turn.

use std::collections::VecDeque;
use std::io::{self, IoSlice, Read, Write};
use std::sync::Arc;

use bytes::Bytes;
use mio::event::Event as Readiness;
use mio::net::{TcpListener, TcpStream};
use mio::{Interest, Registry, Token};
use quorate::codec::frame::{Decoder, Frame, FrameError};
use quorate::node::{Event, LinkId};
use quorate::raft::NodeId;
use quorate::replica::StateMachine;
use quorate::time::Micros;

use crate::bell::Bell;
use crate::listener::{Accepted, Listener, prepare};
use crate::resolver::Resolver;
use crate::slots::Slots;
use crate::work_list::WorkList;

/// Bounds of the connections between peers.
#[derive(Debug, Clone)]
pub struct PeerLimits {
    /// Longest frame that is read, in bytes.
    pub max_frame: usize,
    /// Most connections at once, in both directions.
    pub max_links: usize,
    /// Bytes that may wait to be written on one connection; more, and it is dropped.
    pub max_output: usize,
    /// How long a dial may take. Microseconds.
    pub dial_timeout: Micros,
    /// How long a new connection may take to its first whole frame. Microseconds.
    pub greeting_timeout: Micros,
    /// How long a connection that is being closed may take to write what waits. Microseconds.
    pub closing_timeout: Micros,
}

impl PeerLimits {
    /// Limits for a node that sends and accepts frames of at most `max_frame` bytes.
    pub fn new(max_frame: usize) -> Self {
        Self {
            max_frame,
            max_links: 256,
            max_output: max_frame.saturating_mul(2).saturating_add(64 << 20),
            dial_timeout: 1_000_000,
            greeting_timeout: 5_000_000,
            closing_timeout: 1_000_000,
        }
    }
}

/// Bytes read from one connection in one turn.
const READ_PER_TURN: usize = 1 << 20;

/// Least space for one read.
const READ_SPACE: usize = 4096;

/// Most slices of one vectored write.
const MAX_SLICES: usize = 64;

/// A connection on which something was sent, and of which nothing has been heard for so long, is dead. Milliseconds.
#[cfg(any(target_os = "linux", target_os = "android"))]
const SILENCE_MS: u32 = 5_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Our dial is on its way.
    Dialling,
    /// Open; no whole frame has come yet.
    Greeting,
    /// Open.
    Open,
    /// To be closed when all is written.
    Closing,
}

#[derive(Debug)]
struct Link {
    stream: TcpStream,
    dialled: Option<NodeId>,
    stage: Stage,
    /// When the stage must be over.
    deadline: Option<Micros>,
    decoder: Decoder,
    output: VecDeque<Bytes>,
    output_bytes: usize,
    /// Whether it stands in the list of those to read from, or to write to.
    in_ready: bool,
    in_dirty: bool,
    writable: bool,
    /// The poll has told of the end: a short read does not mean that nothing follows.
    ending: bool,
}

/// How a connection ended.
enum End {
    /// The peer closed it or the network broke it.
    Gone,
    /// The peer's bytes were refused.
    Refused(FrameError),
}

/// All connections between this node and its peers.
#[derive(Debug)]
pub(crate) struct Peers {
    registry: Registry,
    limits: PeerLimits,
    first_token: usize,
    listener: Option<Listener>,
    links: Slots<Link>,
    resolver: Resolver,
    ready: WorkList,
    dirty: WorkList,
    /// No deadline is earlier.
    deadline: Option<Micros>,
}

impl Peers {
    /// Tokens of links are `first_token + 2 * place`.
    pub(crate) fn new(registry: Registry, limits: PeerLimits, first_token: usize, bell: Arc<Bell>) -> Self {
        Self {
            registry,
            limits,
            first_token,
            listener: None,
            links: Slots::new(),
            resolver: Resolver::new(bell),
            ready: WorkList::default(),
            dirty: WorkList::default(),
            deadline: None,
        }
    }

    pub(crate) fn listen(&mut self, socket: TcpListener, token: Token) -> io::Result<()> {
        self.listener = Some(Listener::new(socket, &self.registry, token)?);
        Ok(())
    }

    /// Takes no more connections.
    pub(crate) fn close_listener(&mut self) {
        self.listener = None;
    }

    pub(crate) fn listener_ready(&mut self) {
        if let Some(listener) = &mut self.listener {
            listener.set_ready();
        }
    }

    /// The poll has something to say about the link at `place`.
    pub(crate) fn on_ready(&mut self, place: usize, readiness: &Readiness) {
        let Some(name) = self.links.name_at(place) else { return };
        let Some(link) = self.links.get_mut(name) else { return };
        link.writable |= readiness.is_writable() || readiness.is_error() || readiness.is_write_closed();
        link.ending |= readiness.is_read_closed() || readiness.is_error();
        let news = readiness.is_readable() || link.ending || link.stage == Stage::Dialling;
        if news && !link.in_ready {
            link.in_ready = true;
            self.ready.push(name);
        }
        if link.writable && !link.output.is_empty() && !link.in_dirty {
            link.in_dirty = true;
            self.dirty.push(name);
        }
    }

    /// Whether the next turn has work that the poll will not tell of.
    pub(crate) fn has_work(&self) -> bool {
        !self.ready.is_empty() || self.listener.as_ref().is_some_and(Listener::is_ready)
    }

    /// The next time at which [`expire`](Self::expire) has work.
    pub(crate) fn wake_at(&self) -> Option<Micros> {
        let pause = self.listener.as_ref().and_then(Listener::wake_at);
        self.deadline.into_iter().chain(pause).min()
    }

    /// Takes new connections. An error is one that people should know about.
    pub(crate) fn accept<S: StateMachine>(
        &mut self,
        now: Micros,
        events: &mut Vec<Event<S>>,
    ) -> io::Result<()> {
        let Some(listener) = &mut self.listener else { return Ok(()) };
        listener.turn(now);
        loop {
            let Some(listener) = &mut self.listener else { return Ok(()) };
            match listener.accept(now) {
                Accepted::Enough => return Ok(()),
                Accepted::Failed(error) => return Err(error),
                Accepted::Stream(stream, _) => {
                    let deadline = now.saturating_add(self.limits.greeting_timeout);
                    if let Some(link) = self.add(stream, None, Stage::Greeting, deadline) {
                        events.push(Event::LinkOpened { link, dialled: None });
                    }
                }
            }
        }
    }

    /// Connects to a peer. `LinkOpened` or `DialFailed` follows.
    pub(crate) fn dial<S: StateMachine>(
        &mut self,
        now: Micros,
        peer: NodeId,
        address: String,
        events: &mut Vec<Event<S>>,
    ) {
        if let Some(address) = self.resolver.resolve(peer, address) {
            self.connect(now, peer, Ok(address), events);
        }
    }

    /// Goes on with the dials whose names were resolved.
    pub(crate) fn resolved<S: StateMachine>(&mut self, now: Micros, events: &mut Vec<Event<S>>) {
        while let Some((peer, address)) = self.resolver.try_next() {
            self.connect(now, peer, address, events);
        }
    }

    fn connect<S: StateMachine>(
        &mut self,
        now: Micros,
        peer: NodeId,
        address: io::Result<std::net::SocketAddr>,
        events: &mut Vec<Event<S>>,
    ) {
        let deadline = now.saturating_add(self.limits.dial_timeout);
        let stream = address.and_then(TcpStream::connect).ok();
        let link = stream.and_then(|s| self.add(s, Some(peer), Stage::Dialling, deadline));
        if link.is_none() {
            events.push(Event::DialFailed { peer });
        }
    }

    fn add(
        &mut self,
        stream: TcpStream,
        dialled: Option<NodeId>,
        stage: Stage,
        by: Micros,
    ) -> Option<LinkId> {
        if self.links.len() >= self.limits.max_links {
            return None;
        }
        let (registry, first, max_frame) = (&self.registry, self.first_token, self.limits.max_frame);
        let mut stream = stream;
        bound_silence(&stream);
        let link = self.links.insert_with(|_, place| {
            let interest = Interest::READABLE | Interest::WRITABLE;
            registry.register(&mut stream, Token(first + 2 * place), interest).ok()?;
            Some(Link {
                stream,
                dialled,
                stage,
                deadline: Some(by),
                decoder: Decoder::new(max_frame),
                output: VecDeque::new(),
                output_bytes: 0,
                in_ready: false,
                in_dirty: false,
                writable: true,
                ending: false,
            })
        })?;
        self.due_by(by);
        Some(link)
    }

    /// Reads what has come, a bounded number of bytes from each link.
    pub(crate) fn read<S: StateMachine>(&mut self, now: Micros, events: &mut Vec<Event<S>>) {
        let mut ready = self.ready.take();
        for name in ready.drain(..) {
            let Some(link) = self.links.get_mut(name) else { continue };
            link.in_ready = false;
            if link.stage == Stage::Dialling {
                match dialled(&link.stream) {
                    Ok(false) => continue,
                    Ok(true) => {
                        prepare(&link.stream);
                        link.stage = Stage::Greeting;
                        link.deadline = Some(now.saturating_add(self.limits.greeting_timeout));
                        events.push(Event::LinkOpened { link: name, dialled: link.dialled });
                    }
                    Err(_) => {
                        events.extend(link.dialled.map(|peer| Event::DialFailed { peer }));
                        self.links.remove(name);
                        continue;
                    }
                }
            }
            match link.read(name, events) {
                Ok(false) => {}
                Ok(true) => {
                    link.in_ready = true;
                    self.ready.push(name);
                }
                Err(end) => self.end(name, end, events),
            }
        }
        self.ready.give_back(ready);
    }

    /// Queues a frame. Nothing is written before [`flush`](Self::flush).
    pub(crate) fn send<S: StateMachine>(&mut self, name: LinkId, frame: Frame, events: &mut Vec<Event<S>>) {
        let Some(link) = self.links.get_mut(name) else { return };
        if link.stage == Stage::Closing {
            return;
        }
        for piece in frame.0 {
            if !piece.is_empty() {
                link.output_bytes += piece.len();
                link.output.push_back(piece);
            }
        }
        if link.output_bytes > self.limits.max_output {
            return self.end(name, End::Gone, events);
        }
        if link.writable && !link.in_dirty {
            link.in_dirty = true;
            self.dirty.push(name);
        }
    }

    /// Closes a link when all is written, or when that takes too long.
    pub(crate) fn close<S: StateMachine>(&mut self, now: Micros, name: LinkId, events: &mut Vec<Event<S>>) {
        let by = now.saturating_add(self.limits.closing_timeout);
        let Some(link) = self.links.get_mut(name) else { return };
        if link.output.is_empty() {
            return self.end(name, End::Gone, events);
        }
        link.stage = Stage::Closing;
        link.deadline = Some(by);
        self.due_by(by);
    }

    /// Writes what waits: one vectored write for each link, as long as the socket takes all of it.
    pub(crate) fn flush<S: StateMachine>(&mut self, events: &mut Vec<Event<S>>) {
        let mut dirty = self.dirty.take();
        for name in dirty.drain(..) {
            let Some(link) = self.links.get_mut(name) else { continue };
            link.in_dirty = false;
            let written = link.write();
            let closed = link.stage == Stage::Closing && link.output.is_empty();
            if written.is_err() || closed {
                self.end(name, End::Gone, events);
            }
        }
        self.dirty.give_back(dirty);
    }

    /// Ends what has taken too long.
    pub(crate) fn expire<S: StateMachine>(&mut self, now: Micros, events: &mut Vec<Event<S>>) {
        if self.deadline.is_none_or(|at| at > now) {
            return;
        }
        let due = |link: &Link| link.deadline.is_some_and(|by| by <= now);
        let late: Vec<_> = self.links.iter().filter(|(_, link)| due(link)).map(|(name, _)| name).collect();
        for name in late {
            self.end(name, End::Gone, events);
        }
        self.deadline = self.links.iter().filter_map(|(_, link)| link.deadline).min();
    }

    fn due_by(&mut self, by: Micros) {
        self.deadline = Some(self.deadline.map_or(by, |at| at.min(by)));
    }

    fn end<S: StateMachine>(&mut self, name: LinkId, end: End, events: &mut Vec<Event<S>>) {
        let Some(link) = self.links.remove(name) else { return };
        let error = match end {
            End::Gone => None,
            End::Refused(error) => Some(error),
        };
        match (link.stage, link.dialled) {
            (Stage::Dialling, Some(peer)) => events.push(Event::DialFailed { peer }),
            _ => events.push(Event::LinkClosed { link: name, error }),
        }
    }
}

/// Lets the kernel give up a connection soon when the network swallows what is sent. By itself it tries for a quarter of an
/// hour, ever more rarely: after a network was cut for a minute the leader's messages would wait for up to another minute.
fn bound_silence(stream: &TcpStream) {
    // A help, not a need: a connection without it is still right.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    let _ = rustix::net::sockopt::set_tcp_user_timeout(stream, SILENCE_MS);
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    let _ = stream;
}

/// Whether a dial has come to its end, and how.
fn dialled(stream: &TcpStream) -> io::Result<bool> {
    if let Some(error) = stream.take_error()? {
        return Err(error);
    }
    match stream.peer_addr() {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(false),
        Err(error) => Err(error),
    }
}

impl Link {
    /// Reads and decodes; `true` if there may be more than this turn's share.
    fn read<S: StateMachine>(&mut self, name: LinkId, events: &mut Vec<Event<S>>) -> Result<bool, End> {
        let (mut left, mut frames, mut bytes) = (READ_PER_TURN, 0, 0);
        let mut more = true;
        while more && left > 0 {
            let space = self.decoder.space(READ_SPACE);
            let room = space.len();
            match self.stream.read(space) {
                Ok(0) => return Err(End::Gone),
                Ok(n) => {
                    self.decoder.advance(n);
                    bytes += n;
                    left = left.saturating_sub(n);
                    more = n == room || self.ending;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => more = false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Err(End::Gone),
            }
            while let Some(frame) = self.decoder.next_frame().map_err(End::Refused)? {
                frames += 1;
                if self.stage != Stage::Closing {
                    events.push(Event::LinkFrame { link: name, frame });
                }
            }
        }
        if frames > 0 && self.stage == Stage::Greeting {
            self.stage = Stage::Open;
            self.deadline = None;
        } else if frames == 0 && bytes > 0 && self.stage == Stage::Open {
            events.push(Event::LinkProgress { link: name });
        }
        Ok(more)
    }

    fn write(&mut self) -> io::Result<()> {
        while !self.output.is_empty() {
            // Mostly one frame of one piece: no use in clearing the array for it.
            let (result, length) = match (self.output.front(), self.output.len()) {
                (Some(only), 1) => (self.stream.write(only), only.len()),
                _ => {
                    let mut slices = [IoSlice::new(&[]); MAX_SLICES];
                    let filled = slices.iter_mut().zip(&self.output);
                    let (mut count, mut length) = (0, 0);
                    for (slice, piece) in filled {
                        *slice = IoSlice::new(piece);
                        count += 1;
                        length += piece.len();
                    }
                    (self.stream.write_vectored(&slices[..count]), length)
                }
            };
            match result {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => {
                    self.written(n);
                    if n < length {
                        self.writable = false;
                        return Ok(());
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.writable = false;
                    return Ok(());
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn written(&mut self, mut n: usize) {
        self.output_bytes = self.output_bytes.saturating_sub(n);
        while let Some(first) = self.output.front_mut() {
            if first.len() > n {
                let _ = first.split_to(n);
                return;
            }
            n -= first.len();
            self.output.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Nothing;
    use mio::{Events, Poll};
    use std::time::{Duration, Instant};

    const LISTENER: Token = Token(1);
    const FIRST: usize = 4;

    struct Side {
        poll: Poll,
        peers: Peers,
        events: Vec<Event<Nothing>>,
    }

    impl Side {
        fn new(limits: PeerLimits) -> Self {
            let poll = Poll::new().unwrap();
            let bell = Arc::new(Bell::new(&poll, Token(0)).unwrap());
            let peers = Peers::new(poll.registry().try_clone().unwrap(), limits, FIRST, bell);
            Self { poll, peers, events: Vec::new() }
        }

        fn listening(limits: PeerLimits) -> (Self, String) {
            let mut side = Self::new(limits);
            let socket = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
            let address = socket.local_addr().unwrap().to_string();
            side.peers.listen(socket, LISTENER).unwrap();
            (side, address)
        }

        /// One turn as the event loop makes it.
        fn turn(&mut self, now: Micros) {
            let mut readiness = Events::with_capacity(16);
            self.poll.poll(&mut readiness, Some(Duration::from_millis(5))).unwrap();
            for event in &readiness {
                match event.token() {
                    LISTENER => self.peers.listener_ready(),
                    Token(t) if t >= FIRST => self.peers.on_ready((t - FIRST) / 2, event),
                    _ => {}
                }
            }
            self.peers.accept(now, &mut self.events).unwrap();
            self.peers.read(now, &mut self.events);
            self.peers.resolved(now, &mut self.events);
            self.peers.expire(now, &mut self.events);
            self.peers.flush(&mut self.events);
        }

        fn opened(&self) -> Option<LinkId> {
            self.events.iter().find_map(|e| match e {
                Event::LinkOpened { link, .. } => Some(*link),
                _ => None,
            })
        }

        fn frames(&self) -> Vec<Bytes> {
            let frame = |e: &Event<Nothing>| match e {
                Event::LinkFrame { frame, .. } => Some(frame.clone()),
                _ => None,
            };
            self.events.iter().filter_map(frame).collect()
        }

        fn closed(&self) -> Option<Option<FrameError>> {
            self.events.iter().find_map(|e| match e {
                Event::LinkClosed { error, .. } => Some(*error),
                _ => None,
            })
        }
    }

    /// Turns both sides until `done`; a bound ends a test that hangs.
    fn turn_until(a: &mut Side, b: &mut Side, now: Micros, done: impl Fn(&Side, &Side) -> bool) {
        let give_up = Instant::now() + Duration::from_secs(20);
        while !done(a, b) {
            assert!(Instant::now() < give_up, "{:?} / {:?}", a.events.len(), b.events.len());
            a.turn(now);
            b.turn(now);
        }
    }

    fn frame(payload: Vec<u8>) -> Frame {
        Frame::seal([Bytes::from(payload)])
    }

    fn connected(limits: PeerLimits) -> (Side, LinkId, Side, LinkId) {
        let (mut server, address) = Side::listening(limits.clone());
        let mut client = Side::new(limits);
        client.peers.dial(0, NodeId(7), address, &mut client.events);
        turn_until(&mut client, &mut server, 0, |c, s| c.opened().is_some() && s.opened().is_some());
        let (ours, theirs) = (client.opened().unwrap(), server.opened().unwrap());
        (client, ours, server, theirs)
    }

    #[test]
    #[cfg(any(target_os = "linux", target_os = "android"))]
    fn the_kernel_gives_up_a_connection_into_a_silent_network_soon() {
        let (client, ours, server, theirs) = connected(PeerLimits::new(1 << 20));
        for (mut side, link) in [(client, ours), (server, theirs)] {
            let stream = &side.peers.links.get_mut(link).unwrap().stream;
            assert_eq!(rustix::net::sockopt::tcp_user_timeout(stream), Ok(SILENCE_MS));
        }
    }

    #[test]
    fn frames_pass_whole_and_in_order_whatever_their_length() {
        let (mut client, link, mut server, _) = connected(PeerLimits::new(1 << 20));
        let payloads: Vec<Vec<u8>> = (0..300).map(|i| vec![i as u8; (i * i * 11) % 200_000]).collect();
        for payload in &payloads {
            client.peers.send(link, frame(payload.clone()), &mut client.events);
        }
        turn_until(&mut client, &mut server, 0, |_, s| s.frames().len() == payloads.len());
        assert!(server.frames().iter().zip(&payloads).all(|(got, sent)| got == sent));
        assert!(client.closed().is_none() && server.closed().is_none());
    }

    #[test]
    fn a_name_is_resolved_beside_the_loop() {
        let (mut server, address) = Side::listening(PeerLimits::new(1 << 20));
        let port = address.rsplit(':').next().unwrap();
        let mut client = Side::new(PeerLimits::new(1 << 20));
        // A name may have several addresses; the node dials again as it would.
        let give_up = Instant::now() + Duration::from_secs(20);
        client.peers.dial(0, NodeId(7), format!("localhost:{port}"), &mut client.events);
        while client.opened().is_none() {
            assert!(Instant::now() < give_up);
            client.turn(0);
            server.turn(0);
            if client.events.iter().any(|e| matches!(e, Event::DialFailed { .. })) {
                client.events.clear();
                client.peers.dial(0, NodeId(7), format!("localhost:{port}"), &mut client.events);
            }
        }
    }

    #[test]
    fn a_refused_dial_is_reported() {
        let (server, address) = Side::listening(PeerLimits::new(1 << 20));
        drop(server);
        let mut client = Side::new(PeerLimits::new(1 << 20));
        let mut idle = Side::new(PeerLimits::new(1 << 20));
        client.peers.dial(0, NodeId(7), address, &mut client.events);
        turn_until(&mut client, &mut idle, 0, |c, _| !c.events.is_empty());
        assert!(matches!(client.events[..], [Event::DialFailed { peer: NodeId(7) }]));
    }

    #[test]
    fn a_malformed_frame_closes_the_link_with_its_error() {
        let (mut client, link, mut server, _) = connected(PeerLimits::new(1 << 20));
        let mut broken = frame(vec![1; 100]).0.concat();
        broken[50] ^= 1;
        let broken = Frame([Bytes::from(broken)].into_iter().collect());
        client.peers.send(link, broken, &mut client.events);
        turn_until(&mut client, &mut server, 0, |c, s| c.closed().is_some() && s.closed().is_some());
        assert_eq!(server.closed(), Some(Some(FrameError::Checksum)));
        assert_eq!(client.closed(), Some(None));
    }

    #[test]
    fn a_link_is_closed_after_what_was_sent_on_it_is_written() {
        let (mut client, link, mut server, _) = connected(PeerLimits::new(8 << 20));
        let payload = vec![5; 4 << 20];
        client.peers.send(link, frame(payload.clone()), &mut client.events);
        client.peers.close(0, link, &mut client.events);
        client.peers.send(link, frame(vec![6]), &mut client.events);
        turn_until(&mut client, &mut server, 0, |c, s| c.closed().is_some() && s.closed().is_some());
        assert_eq!(server.frames(), [payload]);
    }

    #[test]
    fn a_peer_that_reads_nothing_is_dropped_when_too_much_waits() {
        let limits = PeerLimits { max_output: 10_000, ..PeerLimits::new(1 << 20) };
        let (mut client, link, _server, _) = connected(limits);
        client.peers.send(link, frame(vec![0; 9_000]), &mut client.events);
        assert_eq!(client.closed(), None);
        client.peers.send(link, frame(vec![0; 9_000]), &mut client.events);
        assert_eq!(client.closed(), Some(None));
    }

    #[test]
    fn a_stranger_who_says_nothing_is_dropped_in_time() {
        let limits = PeerLimits::new(1 << 20);
        let late = limits.greeting_timeout + limits.dial_timeout;
        let (mut client, _, mut server, _) = connected(limits);
        server.turn(late);
        assert_eq!(server.closed(), Some(None));
        turn_until(&mut client, &mut server, 0, |c, _| c.closed().is_some());
        assert_eq!(server.peers.wake_at(), None);
    }

    #[test]
    fn links_are_bounded() {
        let (mut server, address) = Side::listening(PeerLimits { max_links: 2, ..PeerLimits::new(1 << 20) });
        let mut client = Side::new(PeerLimits::new(1 << 20));
        for _ in 0..5 {
            client.peers.dial(0, NodeId(7), address.clone(), &mut client.events);
        }
        let closed = |s: &Side| s.events.iter().filter(|e| matches!(e, Event::LinkClosed { .. })).count();
        turn_until(&mut client, &mut server, 0, |c, _| closed(c) == 3);
        assert_eq!(server.events.len(), 2);
    }
}
