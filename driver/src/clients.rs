//! Connections of clients: moves bytes between sockets and [`gateway::Connection`]s, and requests and replies between those
//! and the node.

use std::collections::BTreeSet;
use std::io::{self, Read, Write};
use std::mem;
use std::net::SocketAddr;

use bytes::BytesMut;
use mio::event::Event as Readiness;
use mio::net::{TcpListener, TcpStream};
use mio::{Interest, Registry, Token};
use quorate::gateway::{self, Connection, Context};
use quorate::node;
use quorate::replica::{Outcome, StateMachine};
use quorate::time::{Micros, Now};

use crate::listener::{Accepted, Listener};
use crate::slots::Slots;
use crate::work_list::WorkList;

/// Bytes read from one connection in one turn.
const READ_PER_TURN: usize = 128 << 10;

/// Least space for one read.
const READ_SPACE: usize = 4096;

/// Most buffers that wait for a client to read from: connections have them only while they have something to read. A turn
/// that reads from more clients makes new ones, which costs more than the rest of a small request.
const MAX_SPARES: usize = 1024;

/// How long a connection that is being closed may take to write what waits. Microseconds.
const CLOSING: Micros = 2_000_000;

/// What a client above the limit is told.
const FULL: &[u8] = b"-ERR max number of clients reached\r\n";

#[derive(Debug)]
struct Client {
    stream: TcpStream,
    connection: Connection,
    /// There may be something to read; not acted upon while the connection wants no input.
    readable: bool,
    writable: bool,
    /// The poll has told of the end: a short read does not mean that nothing follows.
    ending: bool,
    /// The end was read.
    ended: bool,
    /// Bytes were read that the connection has not been told of.
    fresh: bool,
    /// To be closed when all is written.
    closing: bool,
    in_ready: bool,
    in_touched: bool,
    in_answered: bool,
    in_dirty: bool,
    /// The entry of this connection among the timers.
    timer: Option<Micros>,
    close_by: Option<Micros>,
}

/// All connections of clients.
#[derive(Debug)]
pub(crate) struct Clients {
    registry: Registry,
    settings: gateway::Settings,
    max_clients: usize,
    first_token: usize,
    listener: Option<Listener>,
    clients: Slots<Client>,
    /// To be read from.
    ready: WorkList,
    /// To be told what was read.
    touched: WorkList,
    /// Have had replies in this turn.
    answered: WorkList,
    /// To be written to.
    dirty: WorkList,
    timers: BTreeSet<(Micros, u64)>,
    /// Empty between steps; kept for its space.
    actions: gateway::Actions,
    /// Buffers to read into.
    spares: Vec<BytesMut>,
    received: u64,
}

impl Clients {
    /// Tokens of clients are `first_token + 2 * place`.
    pub(crate) fn new(
        registry: Registry,
        settings: gateway::Settings,
        max_clients: usize,
        first_token: usize,
    ) -> Self {
        Self {
            registry,
            settings,
            max_clients,
            first_token,
            listener: None,
            clients: Slots::new(),
            ready: WorkList::default(),
            touched: WorkList::default(),
            answered: WorkList::default(),
            dirty: WorkList::default(),
            timers: BTreeSet::new(),
            actions: gateway::Actions::new(),
            spares: Vec::new(),
            received: 0,
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

    /// Connected clients.
    pub(crate) fn count(&self) -> usize {
        self.clients.len()
    }

    /// Connections taken since the start.
    pub(crate) fn received(&self) -> u64 {
        self.received
    }

    /// Whether bytes wait to be written.
    pub(crate) fn has_output(&self) -> bool {
        self.clients.iter().any(|(_, client)| !client.connection.output().is_empty())
    }

    /// Whether [`step`](Self::step) or [`wake`](Self::wake) has a connection to step.
    pub(crate) fn is_due(&self, now: Now) -> bool {
        !self.touched.is_empty() || self.timers.first().is_some_and(|(at, _)| *at <= now.mono)
    }

    /// Whether the next turn has work that the poll will not tell of.
    pub(crate) fn has_work(&self) -> bool {
        !self.ready.is_empty()
            || !self.touched.is_empty()
            || self.listener.as_ref().is_some_and(Listener::is_ready)
    }

    /// The next time at which [`wake`](Self::wake) or the listener has work.
    pub(crate) fn wake_at(&self) -> Option<Micros> {
        let pause = self.listener.as_ref().and_then(Listener::wake_at);
        self.timers.first().map(|(at, _)| *at).into_iter().chain(pause).min()
    }

    /// The poll has something to say about the client at `place`.
    pub(crate) fn on_ready(&mut self, place: usize, readiness: &Readiness) {
        let Some(name) = self.clients.name_at(place) else { return };
        let Some(client) = self.clients.get_mut(name) else { return };
        client.ending |= readiness.is_read_closed() || readiness.is_error();
        client.readable |= readiness.is_readable() || client.ending;
        if readiness.is_writable() || readiness.is_error() || readiness.is_write_closed() {
            client.writable = true;
        }
        client.queue(name, &mut self.ready, &mut self.dirty);
    }

    /// Takes new connections. An error is one that people should know about.
    pub(crate) fn accept(&mut self, now: Now) -> io::Result<()> {
        let Some(listener) = &mut self.listener else { return Ok(()) };
        listener.turn(now.mono);
        loop {
            let Some(listener) = &mut self.listener else { return Ok(()) };
            match listener.accept(now.mono) {
                Accepted::Enough => return Ok(()),
                Accepted::Failed(error) => return Err(error),
                Accepted::Stream(stream, from) => self.add(now, stream, from),
            }
        }
    }

    fn add(&mut self, now: Now, mut stream: TcpStream, from: SocketAddr) {
        self.received += 1;
        if self.clients.len() >= self.max_clients {
            // The socket is new and its buffer empty: this does not block, and nothing can be done if it fails.
            let _ = stream.write(FULL);
            return;
        }
        let (registry, first, settings) = (&self.registry, self.first_token, &self.settings);
        let ready = &mut self.ready;
        self.clients.insert_with(|name, place| {
            let interest = Interest::READABLE | Interest::WRITABLE;
            registry.register(&mut stream, Token(first + 2 * place), interest).ok()?;
            // A client that has just connected has mostly sent its first command already.
            ready.push(name);
            Some(Client {
                stream,
                connection: Connection::new(name, &from.to_string(), now, settings),
                readable: true,
                writable: true,
                ending: false,
                ended: false,
                fresh: false,
                closing: false,
                in_ready: true,
                in_touched: false,
                in_answered: false,
                in_dirty: false,
                timer: None,
                close_by: None,
            })
        });
    }

    /// Reads what has come, a bounded number of bytes from each client that wants input.
    pub(crate) fn read<S: StateMachine>(&mut self, events: &mut Vec<node::Event<S>>) {
        let mut ready = self.ready.take();
        for name in ready.drain(..) {
            let Some(client) = self.clients.get_mut(name) else { continue };
            client.in_ready = false;
            if !client.wants_input() {
                continue;
            }
            client.connection.lend(&mut self.spares);
            match client.read() {
                Ok(()) if client.fresh || client.ended => {
                    if !mem::replace(&mut client.in_touched, true) {
                        self.touched.push(name);
                    }
                }
                Ok(()) => client.connection.give_back(&mut self.spares, MAX_SPARES),
                Err(_) => self.remove(name, events),
            }
        }
        self.ready.give_back(ready);
    }

    /// Has the connections look at what was read, and hands their requests to the node.
    pub(crate) fn step<S: StateMachine>(
        &mut self,
        now: Now,
        context: &Context<'_>,
        events: &mut Vec<node::Event<S>>,
    ) {
        let mut touched = self.touched.take();
        for name in touched.drain(..) {
            let Some(client) = self.clients.get_mut(name) else { continue };
            client.in_touched = false;
            if mem::take(&mut client.fresh) {
                client.connection.step(now, gateway::Event::Input, context, &mut self.actions);
            }
            if client.ended {
                client.connection.step(now, gateway::Event::InputEnded, context, &mut self.actions);
            }
            self.after_step(now, name, context, events);
        }
        self.touched.give_back(touched);
    }

    /// Hands a reply of the node to its connection, if that is still there.
    pub(crate) fn reply<S: StateMachine>(
        &mut self,
        now: Now,
        request: node::RequestId,
        outcome: Outcome,
        context: &Context<'_>,
        events: &mut Vec<node::Event<S>>,
    ) {
        let name = request.connection;
        let Some(client) = self.clients.get_mut(name) else { return };
        let event = gateway::Event::Reply { number: request.number, outcome };
        client.connection.step(now, event, context, &mut self.actions);
        if !self.actions.is_empty() {
            self.after_step(now, name, context, events);
        } else if !client.in_answered {
            client.in_answered = true;
            self.answered.push(name);
        }
    }

    /// Does what follows from a turn's replies, once for each connection: a pipeline gets many of them.
    pub(crate) fn after_replies<S: StateMachine>(
        &mut self,
        now: Now,
        context: &Context<'_>,
        events: &mut Vec<node::Event<S>>,
    ) {
        let mut answered = self.answered.take();
        for name in answered.drain(..) {
            let Some(client) = self.clients.get_mut(name) else { continue };
            client.in_answered = false;
            self.after_step(now, name, context, events);
        }
        self.answered.give_back(answered);
    }

    /// Wakes the connections whose time has come.
    pub(crate) fn wake<S: StateMachine>(
        &mut self,
        now: Now,
        context: &Context<'_>,
        events: &mut Vec<node::Event<S>>,
    ) {
        while let Some((at, name)) = self.timers.first().copied().filter(|(at, _)| *at <= now.mono) {
            self.timers.remove(&(at, name));
            let Some(client) = self.clients.get_mut(name) else { continue };
            client.timer = None;
            if client.close_by.is_some_and(|by| by <= now.mono) {
                self.remove(name, events);
                continue;
            }
            if client.connection.wake_at().is_some_and(|at| at <= now.mono) {
                client.connection.step(now, gateway::Event::Wake, context, &mut self.actions);
            }
            self.after_step(now, name, context, events);
        }
    }

    /// Does what a connection asked for in its last step.
    fn after_step<S: StateMachine>(
        &mut self,
        now: Now,
        name: u64,
        context: &Context<'_>,
        events: &mut Vec<node::Event<S>>,
    ) {
        // The answer to one action may be the next.
        while let Some(action) = self.actions.pop() {
            self.perform(now, name, action, context, events);
        }
        let Some(client) = self.clients.get_mut(name) else { return };
        if client.closing && client.connection.output().is_empty() {
            return self.remove(name, events);
        }
        client.connection.give_back(&mut self.spares, MAX_SPARES);
        client.queue(name, &mut self.ready, &mut self.dirty);
        client.arm(name, &mut self.timers);
    }

    fn perform<S: StateMachine>(
        &mut self,
        now: Now,
        name: u64,
        action: gateway::Action,
        context: &Context<'_>,
        events: &mut Vec<node::Event<S>>,
    ) {
        match action {
            gateway::Action::Request { id, epoch, request } => {
                events.push(node::Event::Request { id, epoch, deadline: None, request });
            }
            gateway::Action::ListClients => {
                let mut lines = Vec::new();
                for (_, client) in self.clients.iter() {
                    client.connection.describe(now, &mut lines);
                }
                if let Some(client) = self.clients.get_mut(name) {
                    let event = gateway::Event::Clients(lines);
                    client.connection.step(now, event, context, &mut self.actions);
                }
            }
            gateway::Action::TakeSnapshot => events.push(node::Event::TakeSnapshot),
            gateway::Action::Close => {
                if let Some(client) = self.clients.get_mut(name) {
                    client.closing = true;
                    client.close_by = Some(now.mono.saturating_add(CLOSING));
                }
            }
            // A newer library's wish that this driver does not know cannot be granted; the connection goes on.
            _ => {}
        }
    }

    /// Writes what waits: one write for each client, as long as the socket takes all of it.
    pub(crate) fn flush<S: StateMachine>(&mut self, events: &mut Vec<node::Event<S>>) {
        let mut dirty = self.dirty.take();
        for name in dirty.drain(..) {
            let Some(client) = self.clients.get_mut(name) else { continue };
            client.in_dirty = false;
            let written = client.write();
            let closed = client.closing && client.connection.output().is_empty();
            if written.is_err() || closed {
                self.remove(name, events);
            } else {
                client.queue(name, &mut self.ready, &mut self.dirty);
                // A connection that had too much output to go on wants to as soon as it is written.
                client.arm(name, &mut self.timers);
            }
        }
        self.dirty.give_back(dirty);
    }

    fn remove<S: StateMachine>(&mut self, name: u64, events: &mut Vec<node::Event<S>>) {
        if let Some(client) = self.clients.remove(name) {
            if let Some(at) = client.timer {
                self.timers.remove(&(at, name));
            }
            events.push(node::Event::ConnectionClosed { connection: name });
        }
    }
}

impl Client {
    fn wants_input(&self) -> bool {
        !self.closing && !self.ended && self.connection.wants_input()
    }

    /// Puts itself into the lists of what can be done.
    fn queue(&mut self, name: u64, ready: &mut WorkList, dirty: &mut WorkList) {
        if self.readable && !self.in_ready && self.wants_input() {
            self.in_ready = true;
            ready.push(name);
        }
        if self.writable && !self.in_dirty && !self.connection.output().is_empty() {
            self.in_dirty = true;
            dirty.push(name);
        }
    }

    /// Sets the timer. One that has moved to later is looked at when its old time comes: most are moved with each command.
    fn arm(&mut self, name: u64, timers: &mut BTreeSet<(Micros, u64)>) {
        let wake_at = self.connection.wake_at().into_iter().chain(self.close_by).min();
        if let Some(at) = wake_at.filter(|at| self.timer.is_none_or(|timer| *at < timer)) {
            if let Some(old) = self.timer.replace(at) {
                timers.remove(&(old, name));
            }
            timers.insert((at, name));
        }
    }

    /// Reads this turn's share; `readable` stays if there may be more.
    fn read(&mut self) -> io::Result<()> {
        let mut left = READ_PER_TURN;
        while self.readable && left > 0 && !self.ended {
            let space = self.connection.space(READ_SPACE);
            let room = space.len();
            match self.stream.read(space) {
                Ok(0) => self.ended = true,
                Ok(n) => {
                    self.connection.advance(n);
                    self.fresh = true;
                    left = left.saturating_sub(n);
                    self.readable = n == room || self.ending;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.readable = false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn write(&mut self) -> io::Result<()> {
        while self.writable {
            let output = self.connection.output();
            let length = output.len();
            if length == 0 {
                break;
            }
            match self.stream.write(output) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => {
                    self.connection.written(n);
                    self.writable = n == length;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.writable = false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
