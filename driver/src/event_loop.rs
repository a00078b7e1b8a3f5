//! The event loop: one thread, one poll, one step of the node a turn.

use std::cell::LazyCell;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use mio::net::TcpListener;
use mio::{Events, Poll, Token};
use quorate::gateway::{Context, Process, Settings};
use quorate::node::{self, Action, Actions, Event, Fault, Garbage, Job, Node, Phase};
use quorate::raft::{ConfigError, NodeId};
use quorate::replica::StateMachine;
use quorate::storage::{DiskBatch, DiskError, DiskOp};
use quorate::time::{Micros, Now};

use crate::alarm::Alarm;
use crate::bell::Bell;
use crate::clients::Clients;
use crate::clock::Clock;
use crate::disk::Disk;
use crate::job_lane::JobLanes;
use crate::log_lane::LogLane;
use crate::peer::{PeerLimits, Peers};
use crate::process;
use crate::signals::StopSignal;
use crate::stderr::Stderr;
use crate::timed::Timed;

const BELL: Token = Token(0);
const STOP: Token = Token(1);
const CLIENT_LISTENER: Token = Token(2);
const PEER_LISTENER: Token = Token(3);
/// Even tokens from here on are links between peers, odd ones clients.
const FIRST_LINK: usize = 4;
const FIRST_CLIENT: usize = 5;

/// Most readiness events of one poll.
const MAX_EVENTS: usize = 1024;

/// The longest sleep. Lanes are looked after at least this often, whatever happens.
const MAX_SLEEP: Micros = 1_000_000;

/// How long a clean end may take. Microseconds.
const STOP_TIMEOUT: Micros = 3_000_000;

/// A sync of the log that takes longer is told to people: elections and clients feel it. Microseconds.
const SLOW_SYNC: Micros = 200_000;

/// A follower writes more than this on the log's thread, however quick the disk. Bytes.
const SYNC_HERE_BYTES: usize = 1 << 20;

/// How old the figure of the process's memory may be. Microseconds.
const MEMORY_AGE: Micros = 1_000_000;

/// What a server is made of.
#[derive(Debug)]
pub struct Setup {
    /// The node's settings.
    pub node: node::Config,
    /// The settings of clients' connections.
    pub gateway: Settings,
    /// Bounds of the connections between peers.
    pub peers: PeerLimits,
    /// Most clients at once.
    pub max_clients: usize,
    /// The data directory, locked.
    pub disk: Disk,
    /// Where clients connect; bound.
    pub client_listener: std::net::TcpListener,
    /// Where peers connect; bound.
    pub peer_listener: std::net::TcpListener,
    /// Where notes go.
    pub stderr: Stderr,
    /// What asks the process to stop.
    pub stop: StopSignal,
}

/// Why a loop has come to its end.
#[derive(Debug)]
pub enum End {
    /// It was asked to.
    Stopped,
    /// The node does nothing any more.
    Halted(Fault),
}

/// Why a loop could not start.
#[derive(Debug)]
#[non_exhaustive]
pub enum StartError {
    /// A setting cannot work.
    Config(ConfigError),
    /// The system refused something that every process needs.
    System(io::Error),
}

impl std::fmt::Display for StartError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Config(error) => error.fmt(f),
            Self::System(error) => write!(f, "the system refused a poll, a thread or a socket: {error}"),
        }
    }
}

impl std::error::Error for StartError {}

impl From<io::Error> for StartError {
    fn from(error: io::Error) -> Self {
        Self::System(error)
    }
}

/// A node with its sockets, its disk lanes and its clock.
#[derive(Debug)]
pub struct EventLoop<S: StateMachine> {
    poll: Poll,
    bell: Arc<Bell>,
    clock: Clock,
    node: Node<S>,
    id: NodeId,
    /// What the next step is given.
    events: Vec<Event<S>>,
    actions: Actions<S>,
    log: LogLane,
    /// What the log is to write, in this turn.
    batches: Vec<DiskBatch>,
    jobs: JobLanes<S>,
    peers: Peers,
    clients: Clients,
    /// Listening sockets that wait for the node to have recovered.
    listeners: Option<(TcpListener, TcpListener)>,
    stderr: Stderr,
    stop: StopSignal,
    alarm: Alarm,
    now: Now,
    /// What clients see of the process.
    process: Process,
    memory_read: Option<Micros>,
    /// When to end, finished or not, once a stop was asked for.
    stop_by: Option<Micros>,
    stopped: bool,
    fault: Option<Fault>,
}

impl<S> EventLoop<Timed<S>>
where
    S: StateMachine,
    Job<Timed<S>>: Send,
    Garbage<Timed<S>>: Send,
{
    /// Starts the lanes and the node, which begins to read its disk.
    pub fn start(setup: Setup) -> Result<Self, StartError> {
        let poll = Poll::new()?;
        let bell = Arc::new(Bell::new(&poll, BELL)?);
        let clock = Clock::start();
        let now = clock.now();
        let mut actions = Actions::new();
        let id = setup.node.raft.id;
        let node = Node::new(setup.node, now, &mut actions).map_err(StartError::Config)?;
        let log = LogLane::start(setup.disk.clone(), Arc::clone(&bell))?;
        let jobs = JobLanes::start(&setup.disk, &bell)?;
        let registry = || poll.registry().try_clone();
        let peers = Peers::new(registry()?, setup.peers, FIRST_LINK, Arc::clone(&bell));
        let clients = Clients::new(registry()?, setup.gateway, setup.max_clients, FIRST_CLIENT);
        let mut stop = setup.stop;
        stop.register(poll.registry(), STOP)?;
        let port = setup.client_listener.local_addr()?.port();
        setup.client_listener.set_nonblocking(true)?;
        setup.peer_listener.set_nonblocking(true)?;
        let listeners =
            (TcpListener::from_std(setup.client_listener), TcpListener::from_std(setup.peer_listener));
        let mut process = Process::default();
        process.pid = std::process::id();
        process.started = now.mono;
        process.port = port;
        let mut this = Self {
            poll,
            bell,
            clock,
            node,
            id,
            events: Vec::new(),
            actions,
            log,
            batches: Vec::new(),
            jobs,
            peers,
            clients,
            listeners: Some(listeners),
            stderr: setup.stderr,
            stop,
            alarm: Alarm::default(),
            now,
            process,
            memory_read: None,
            stop_by: None,
            stopped: false,
            fault: None,
        };
        this.perform();
        Ok(this)
    }

    /// Runs until the process is asked to stop or the node halts. `ready` is called once, when clients and peers are
    /// accepted.
    pub fn run(&mut self, ready: impl FnOnce()) -> Result<End, StartError> {
        let mut ready = Some(ready);
        let mut readiness = Events::with_capacity(MAX_EVENTS);
        loop {
            self.wait(&mut readiness)?;
            self.read(&readiness);
            self.now = self.clock.now();
            self.step();
            // A write's way through its peers is longer than that through this node's disk.
            self.peers.flush(&mut self.events);
            self.write_log();
            self.clients.flush(&mut self.events);
            self.sync_here();
            if let Some(fault) = self.fault.take() {
                return Ok(End::Halted(fault));
            }
            if self.has_ended() {
                return Ok(End::Stopped);
            }
            if self.listeners.is_some() && self.node.status().phase != Phase::Recovering {
                self.listen()?;
                if let Some(ready) = ready.take() {
                    ready();
                }
            }
        }
    }

    /// Sleeps until there is something to do.
    fn wait(&mut self, readiness: &mut Events) -> io::Result<()> {
        self.bell.lie_down();
        self.take_from_threads();
        let busy = !self.events.is_empty() || self.peers.has_work() || self.clients.has_work();
        let now = self.clock.mono();
        let timeout = if busy { Duration::ZERO } else { self.sleep(now) };
        self.alarm.ask(now);
        let polled = self.poll.poll(readiness, Some(timeout));
        self.bell.get_up();
        match polled {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => Err(error),
            _ => Ok(()),
        }
    }

    /// How long nothing is due from `now` on.
    fn sleep(&self, now: Micros) -> Duration {
        let due = [self.alarm.at(), self.peers.wake_at(), self.clients.wake_at(), self.stop_by];
        let until = due.into_iter().flatten().min().map_or(MAX_SLEEP, |at| at.saturating_sub(now));
        Duration::from_micros(until.min(MAX_SLEEP))
    }

    /// Takes in all that sockets, lanes and signals have to say, up to each one's share of a turn.
    fn read(&mut self, readiness: &Events) {
        for event in readiness {
            match event.token() {
                BELL => {}
                STOP => self.on_stop_signal(),
                CLIENT_LISTENER => self.clients.listener_ready(),
                PEER_LISTENER => self.peers.listener_ready(),
                Token(t) if t % 2 == FIRST_LINK % 2 => self.peers.on_ready((t - FIRST_LINK) / 2, event),
                Token(t) => self.clients.on_ready((t - FIRST_CLIENT) / 2, event),
            }
        }
        // For deadlines only: what is stepped gets the clock that is read when all of this is done.
        let now = Now { mono: self.clock.mono(), ..self.now };
        for result in [self.peers.accept(now.mono, &mut self.events), self.clients.accept(now)] {
            if let Err(error) = result {
                self.stderr.note(format_args!("cannot take a connection: {error}; trying again"));
            }
        }
        self.peers.read(now.mono, &mut self.events);
        self.clients.read(&mut self.events);
        self.take_from_threads();
    }

    /// Collects what other threads have finished.
    fn take_from_threads(&mut self) {
        if !self.bell.was_rung() {
            return;
        }
        self.peers.resolved(self.clock.mono(), &mut self.events);
        while let Some(done) = self.log.try_next() {
            self.events.push(Event::DiskDone { batch: done.batch, result: done.result });
        }
        while let Some(job) = self.jobs.try_next() {
            self.events.push(Event::JobDone(job));
        }
    }

    /// Steps the connections, then the node with the whole batch, then performs what it asks for.
    fn step(&mut self) {
        let now = self.now;
        if self.clients.is_due(now) {
            self.count();
            let context = Context { node: &LazyCell::new(|| self.node.status()), process: &self.process };
            self.clients.step(now, &context, &mut self.events);
            self.clients.wake(now, &context, &mut self.events);
        }
        self.peers.expire(now.mono, &mut self.events);
        if self.alarm.rings(now.mono) {
            self.events.push(Event::Wake);
            self.check_lanes();
        }
        self.step_node();
    }

    fn step_node(&mut self) {
        if !self.events.is_empty() {
            self.node.step_into(self.now, self.events.drain(..), &mut self.actions);
            self.note_slow();
            self.jobs.press(self.node.is_snapshot_pressing());
            self.perform();
        }
    }

    /// Adds what the state machine has just spent long on to the slow log.
    fn note_slow(&mut self) {
        let slow = self.node.replica().map(|replica| replica.state().take_slow());
        for command in slow.unwrap_or_default() {
            self.process.slow_log.add(self.clock.now().wall, command);
        }
    }

    /// Performs the actions of a step. What follows from them at once goes into the next turn's batch.
    fn perform(&mut self) {
        let replies = self.actions.iter().any(|action| matches!(action, Action::Reply { .. }));
        if replies {
            // What the step took is part of what its replies took.
            self.now = self.clock.now();
            self.count();
        }
        let (now, events) = (self.now, &mut self.events);
        let context = Context { node: &LazyCell::new(|| self.node.status()), process: &self.process };
        for action in self.actions.drain() {
            match action {
                Action::Log(batch) => self.batches.push(batch),
                Action::Job(job) => self.jobs.submit(job),
                Action::Dial { peer, address } => self.peers.dial(now.mono, peer, address, events),
                Action::Send { link, frame } => self.peers.send(link, frame, events),
                Action::CloseLink { link } => self.peers.close(now.mono, link, events),
                Action::Reply { request, outcome } => {
                    self.clients.reply(now, request, outcome, &context, events);
                }
                Action::WakeAt(at) => self.alarm.set(at),
                Action::Discard(garbage) => self.jobs.discard(garbage),
                Action::Note(note) => self.stderr.note(note.0),
                Action::Stopped => self.stopped = true,
                Action::Halt(fault) => self.fault = Some(fault),
                // A newer library's action that this driver does not know: going on would break what it promises.
                _ => {
                    self.fault =
                        Some(Fault::Directory("the library asks for what this driver does not know".into()))
                }
            }
        }
        self.clients.after_replies(now, &context, events);
        if replies || !self.batches.is_empty() || self.node.has_requests() {
            self.jobs.served();
        }
    }

    /// Hands the log's writes to its thread. A follower keeps them if its disk is quick: see [`sync_here`](Self::sync_here).
    fn write_log(&mut self) {
        if self.node.leads() || !self.log.is_quick() || written_bytes(&self.batches) > SYNC_HERE_BYTES {
            self.batches.drain(..).for_each(|batch| self.log.submit(batch));
        }
    }

    /// Syncs what a follower has to sync on this thread, and sends its answer in the same turn: that saves two wake-ups of
    /// threads for each write. A leader never does so, as it has to notice that its disk stalls; a follower whose disk stalls
    /// has nothing to say anyway, and leaves the next syncs to the thread.
    fn sync_here(&mut self) {
        if self.batches.is_empty() || self.fault.is_some() {
            return;
        }
        let done = self.log.perform_here(&mut self.batches);
        self.events.extend(done.into_iter().map(|d| Event::DiskDone { batch: d.batch, result: d.result }));
        self.now = self.clock.now();
        self.step_node();
        self.batches.drain(..).for_each(|batch| self.log.submit(batch));
        self.peers.flush(&mut self.events);
        self.clients.flush(&mut self.events);
    }

    fn listen(&mut self) -> io::Result<()> {
        if let Some((client, peer)) = self.listeners.take() {
            self.clients.listen(client, CLIENT_LISTENER)?;
            self.peers.listen(peer, PEER_LISTENER)?;
        }
        Ok(())
    }

    fn on_stop_signal(&mut self) {
        for _ in 0..self.stop.take() {
            if self.stop_by.is_some() {
                // Asked twice: whoever asks does not want to wait.
                self.stop_by = Some(0);
                continue;
            }
            self.stop_by = Some(self.clock.now().mono.saturating_add(STOP_TIMEOUT));
            self.stderr.note("stopping");
            self.clients.close_listener();
            self.peers.close_listener();
            self.listeners = None;
            self.events.push(Event::Stop);
        }
    }

    fn has_ended(&self) -> bool {
        let late = self.stop_by.is_some_and(|by| by <= self.now.mono);
        late || (self.stopped && !self.clients.has_output())
    }

    /// A lane whose thread has died can never answer: that is a failed disk as far as the node can tell. A slow one is told
    /// of (STORAGE row 6).
    fn check_lanes(&mut self) {
        if !self.log.is_alive() || !self.jobs.are_alive() {
            self.fault = Some(Fault::Disk(DiskError::Io(None, 0)));
        }
        let longest = self.log.times().take_recent_max_us();
        if longest >= SLOW_SYNC {
            self.stderr.note(format_args!("the disk is slow: a sync of the log took {} ms", longest / 1000));
        }
    }

    /// Renews what clients may see of the process.
    fn count(&mut self) {
        let (now, process, times) = (self.now.mono, &mut self.process, self.log.times());
        process.clients = self.clients.count() as u64;
        process.connections_received = self.clients.received();
        process.log_syncs = times.count();
        process.log_sync_us = times.total_us();
        process.log_sync_max_us = times.max_us();
        if self.memory_read.is_none_or(|at| now.saturating_sub(at) >= MEMORY_AGE) {
            self.memory_read = Some(now);
            process.memory = process::resident_bytes().unwrap_or(0);
        }
    }

    /// The node's number.
    pub fn id(&self) -> NodeId {
        self.id
    }
}

/// Bytes that batches are to write.
fn written_bytes(batches: &[DiskBatch]) -> usize {
    let written = |op: &DiskOp| match op {
        DiskOp::WriteAt { data, .. } => data.iter().map(bytes::Bytes::len).sum(),
        _ => 0,
    };
    batches.iter().flat_map(|batch| &batch.ops).map(written).sum()
}
