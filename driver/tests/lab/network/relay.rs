//! The thread in the middle: accepts, dials on, carries messages when their time has come.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::io::{self, Read, Write};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use bytes::{Buf, BytesMut};
use mio::event::Event as Readiness;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token, Waker};

use super::cutter::{Cutter, Message};
use super::fate::{Fate, Party};
use super::{Door, Shared};

/// The token of the waker. Door n has 3n+1, the near end of connection n 3n+2 and its far end 3n; connections count from 1.
const WAKER: Token = Token(0);

/// Bytes read at a time.
const CHUNK: usize = 64 << 10;

/// The two ends of a connection: who came through the door, and the server behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Side {
    Near,
    Far,
}

impl Side {
    const fn other(self) -> Self {
        match self {
            Self::Near => Self::Far,
            Self::Far => Self::Near,
        }
    }
}

/// One end of a connection, with what comes from it and what waits to be written to it.
#[derive(Debug)]
struct End {
    stream: TcpStream,
    cutter: Cutter,
    output: BytesMut,
    /// When the last of what came from here and keeps its order arrives at the other end: later ones may not overtake it.
    last_arrival: Instant,
    /// Nothing that comes from here is passed on any more.
    silent: bool,
    /// Something that keeps its order has gone missing on the way: nothing may arrive behind it.
    gap: bool,
}

/// A connection through a door.
#[derive(Debug)]
struct Pair {
    from: Option<Party>,
    to: Party,
    near: End,
    far: End,
}

/// Something whose time comes.
#[derive(Debug)]
enum Due {
    /// A message that came from this side arrives at the other.
    Arrives(Side, Message),
    /// The connection ends.
    Breaks,
}

#[derive(Debug)]
struct Planned {
    at: Instant,
    number: u64,
    pair: u64,
    due: Due,
}

impl PartialEq for Planned {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Planned {}

impl PartialOrd for Planned {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Planned {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

/// The state of the thread.
pub(super) struct Relay {
    shared: Arc<Shared>,
    new_doors: Receiver<Door>,
    poll: Poll,
    waker: Arc<Waker>,
    doors: Vec<(TcpListener, Option<Party>, Party, String)>,
    pairs: BTreeMap<u64, Pair>,
    next_pair: u64,
    planned: BinaryHeap<Reverse<Planned>>,
    next_planned: u64,
    /// Connections to which something was written in this turn.
    unwritten: BTreeSet<(u64, Side)>,
    /// Space to read into.
    chunk: Vec<u8>,
}

impl Relay {
    pub(super) fn new(shared: Arc<Shared>, new_doors: Receiver<Door>) -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        Ok(Self {
            shared,
            new_doors,
            poll,
            waker,
            doors: Vec::new(),
            pairs: BTreeMap::new(),
            next_pair: 0,
            planned: BinaryHeap::new(),
            next_planned: 0,
            unwritten: BTreeSet::new(),
            chunk: vec![0; CHUNK],
        })
    }

    pub(super) fn waker(&self) -> Arc<Waker> {
        Arc::clone(&self.waker)
    }

    /// Carries messages until the network is dropped.
    pub(super) fn run(&mut self) {
        let mut events = Events::with_capacity(256);
        while !self.shared.ended.load(Ordering::Relaxed) {
            let next = self.planned.peek().map(|Reverse(next)| next.at);
            let wait = next.map(|at| at.saturating_duration_since(Instant::now()));
            match self.poll.poll(&mut events, wait) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => panic!("the network: {error}"),
                _ => {}
            }
            while let Ok(door) = self.new_doors.try_recv() {
                self.add_door(door).expect("a door opens");
            }
            for event in &events {
                self.on_ready(event);
            }
            self.carry();
            for (pair, side) in std::mem::take(&mut self.unwritten) {
                self.write(pair, side);
            }
        }
    }

    fn add_door(&mut self, door: Door) -> io::Result<()> {
        door.listener.set_nonblocking(true)?;
        let mut listener = TcpListener::from_std(door.listener);
        let token = Token(3 * self.doors.len() + 1);
        self.poll.registry().register(&mut listener, token, Interest::READABLE)?;
        self.doors.push((listener, door.from, Party::Server(door.to), door.server));
        Ok(())
    }

    fn on_ready(&mut self, event: &Readiness) {
        let Token(token) = event.token();
        let (pair, side) = match (token, token % 3) {
            (0, _) => return,
            (_, 1) => return self.accept(token / 3),
            (_, 2) => (token as u64 / 3, Side::Near),
            _ => (token as u64 / 3, Side::Far),
        };
        if event.is_writable() {
            self.unwritten.insert((pair, side));
        }
        if event.is_readable() || event.is_read_closed() || event.is_error() {
            self.read(pair, side);
        }
    }

    /// Takes all who wait at a door, and dials on for each.
    fn accept(&mut self, door: usize) {
        while let Ok((near, _)) = self.doors[door].0.accept() {
            let (_, from, to, server) = &self.doors[door];
            let (from, to) = (*from, *to);
            // Who dials a server that does not run is told so, as without a door.
            let Ok(far) = TcpStream::connect(server.parse().expect("an address")) else { continue };
            let (near_cutter, far_cutter) = match from {
                None => (Cutter::of_frames(), Cutter::of_frames()),
                Some(_) => (Cutter::of_requests(), Cutter::of_replies()),
            };
            self.next_pair += 1;
            let number = self.next_pair;
            let mut pair =
                Pair { from, to, near: End::new(near, near_cutter), far: End::new(far, far_cutter) };
            for (end, offset) in [(&mut pair.near, 2), (&mut pair.far, 0)] {
                let token = Token(3 * number as usize + offset);
                let interest = Interest::READABLE | Interest::WRITABLE;
                self.poll.registry().register(&mut end.stream, token, interest).expect("a stream to poll");
            }
            self.pairs.insert(number, pair);
        }
    }

    /// Reads all there is, and gives each message its fate.
    fn read(&mut self, number: u64, side: Side) {
        let Some(pair) = self.pairs.get_mut(&number) else { return };
        let (chunk, mut messages) = (&mut self.chunk, Vec::new());
        let ended = loop {
            let end = pair.end(side);
            match end.stream.read(chunk) {
                Ok(0) => break true,
                Ok(_) if end.silent => {}
                Ok(n) => {
                    messages.extend(end.cutter.cut(&chunk[..n]).expect("servers and clerks speak right"))
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if is_pause(&error) => break false,
                Err(_) => break true,
            }
        };
        for message in messages {
            self.send(number, side, message);
        }
        let Some(pair) = self.pairs.get_mut(&number).filter(|_| ended) else { return };
        // What was sent before arrives before the end does.
        let at = pair.end(side).last_arrival;
        pair.end(side).silent = true;
        self.plan(number, at, Due::Breaks);
    }

    /// A message came from one side of a connection.
    fn send(&mut self, number: u64, side: Side, message: Message) {
        let Some(pair) = self.pairs.get_mut(&number).filter(|pair| !pair.end_of(side).silent) else {
            return;
        };
        if let Some(speaker) = message.speaker.filter(|_| pair.from.is_none() && side == Side::Near) {
            pair.from = Some(Party::Server(speaker));
        }
        self.shared.calls.fetch_add(u64::from(message.class.is_call()), Ordering::Relaxed);
        self.shared.messages.fetch_add(1, Ordering::Relaxed);
        self.shared.bytes.fetch_add(message.bytes.len() as u64, Ordering::Relaxed);
        let fate = match pair.way(side) {
            Some((from, to)) => self.shared.rules().fate(from, to, message.class),
            None => Fate::Arrives(Duration::ZERO),
        };
        let now = Instant::now();
        match fate {
            Fate::Lost => {}
            Fate::Breaks(late) => self.fall_silent(number, side, now + late),
            Fate::Arrives(late) => {
                let end = pair.end(side);
                let at = (now + late).max(end.last_arrival);
                if !message.class.is_loose() {
                    end.last_arrival = at;
                }
                self.plan(number, at, Due::Arrives(side, message));
            }
        }
    }

    /// Nothing more is passed on from this side, and soon the connection ends.
    fn fall_silent(&mut self, number: u64, side: Side, at: Instant) {
        let Some(pair) = self.pairs.get_mut(&number) else { return };
        let end = pair.end(side);
        end.silent = true;
        let at = at.max(end.last_arrival);
        self.plan(number, at, Due::Breaks);
    }

    fn plan(&mut self, pair: u64, at: Instant, due: Due) {
        self.next_planned += 1;
        self.planned.push(Reverse(Planned { at, number: self.next_planned, pair, due }));
    }

    /// Delivers all whose time has come.
    fn carry(&mut self) {
        let now = Instant::now();
        while self.planned.peek().is_some_and(|Reverse(next)| next.at <= now) {
            let Some(Reverse(next)) = self.planned.pop() else { return };
            match next.due {
                Due::Breaks => {
                    for side in [Side::Near, Side::Far] {
                        self.write(next.pair, side);
                    }
                    self.pairs.remove(&next.pair);
                }
                Due::Arrives(side, message) => self.arrive(next.pair, side, &message),
            }
        }
    }

    /// A message that came from `side` is there, unless its link has died on the way.
    fn arrive(&mut self, number: u64, side: Side, message: &Message) {
        let Some(pair) = self.pairs.get_mut(&number).filter(|pair| !pair.end_of(side).gap) else { return };
        if let Some((from, to)) = pair.way(side) {
            let mut rules = self.shared.rules();
            if rules.is_dead(from, to) {
                let fate = rules.swallow(message.class);
                drop(rules);
                if let Fate::Breaks(late) = fate {
                    pair.end(side).gap = true;
                    self.fall_silent(number, side, Instant::now() + late);
                }
                return;
            }
        }
        pair.end(side.other()).output.extend_from_slice(&message.bytes);
        self.unwritten.insert((number, side.other()));
    }

    fn write(&mut self, number: u64, side: Side) {
        let Some(pair) = self.pairs.get_mut(&number) else { return };
        let end = pair.end(side);
        while !end.output.is_empty() {
            match end.stream.write(&end.output) {
                Ok(n @ 1..) => end.output.advance(n),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if is_pause(&error) => return,
                Ok(0) | Err(_) => {
                    self.pairs.remove(&number);
                    return;
                }
            }
        }
    }
}

impl End {
    fn new(stream: TcpStream, cutter: Cutter) -> Self {
        // A help, not a need.
        let _ = stream.set_nodelay(true);
        Self {
            stream,
            cutter,
            output: BytesMut::new(),
            last_arrival: Instant::now(),
            silent: false,
            gap: false,
        }
    }
}

impl Pair {
    fn end(&mut self, side: Side) -> &mut End {
        match side {
            Side::Near => &mut self.near,
            Side::Far => &mut self.far,
        }
    }

    const fn end_of(&self, side: Side) -> &End {
        match side {
            Side::Near => &self.near,
            Side::Far => &self.far,
        }
    }

    /// From whom to whom messages of this side go, once it is known.
    fn way(&self, side: Side) -> Option<(Party, Party)> {
        let from = self.from?;
        Some(match side {
            Side::Near => (from, self.to),
            Side::Far => (self.to, from),
        })
    }
}

/// Whether a socket is not ready, which its readiness will tell.
fn is_pause(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::NotConnected)
}
