//! One client connection as a step machine: bytes to commands to replies in order.
//!
//! ```text
//!  bytes ─► codec::resp ─► command ─┬─► node, which answers later ─┬─► queue ─► RESP2 or RESP3 ─► bytes
//!                          (what    ├─► control: answered here ────┤   (in the
//!                           it is)  └─► refused here ──────────────┘    order of requests)
//! ```
//!
//! # Pipelines
//!
//! A client may send many commands before it reads a reply; replies leave in the order of commands. Writes that follow
//! each other go to the node at once, and so do reads; but a read waits until every earlier write of the connection is
//! answered, and a write until every earlier read is. So a client reads its own writes, and a read never sees a later
//! write, without the node knowing about connections.
//!
//! Short commands of a pipeline that are read together, and all write or all read, are one request (`pipeline`). Behind reads
//! that are one request, the next read waits as well: they may have to be answered in pieces, and a connection's reads see
//! states in order.
//!
//! When a write is refused (no leader, too much waits), the rest of its pipeline must not be done either: after
//! `SET balance 0` failed, `SET paid yes` must not succeed. So every data command whose first byte had been received when
//! the refusal came is refused too. The writes among them that are with the node already are refused there, because they
//! carry the same *epoch*; it grows by one when all of them are answered. Bytes of the pipeline that were still on their
//! way are another pipeline as far as anyone can tell. A WATCH that is refused counts as a write: the EXEC behind it must
//! not run as if nothing had been watched.
//!
//! # What changes what
//!
//! Control commands (HELLO, CLIENT, CLUSTER, …) are answered when they are parsed. They change nothing but the connection
//! itself, so it cannot be told that an earlier GET is still under way; each reply is put in the protocol that was spoken
//! when its command was parsed. WAIT alone waits for what came before it.
//!
//! While MULTI is open commands are queued instead, and EXEC sends them as one request (`transaction`). Nothing follows a
//! WATCH before its keys' versions have come.

mod action;
mod client;
mod cluster;
mod command;
mod command_docs;
mod command_stats;
mod config;
mod connection;
mod control;
mod glob;
mod help;
mod info;
mod membership;
mod output;
mod pipeline;
mod queue;
mod reply;
mod session;
mod slot;
mod slow_log;
#[cfg(test)]
mod tests;
mod transaction;

pub use action::{Action, Actions};
pub use command_stats::CommandStats;
pub use slow_log::{SlowCommand, SlowLog};

use bytes::Bytes;

use crate::codec::input::Input;
use crate::codec::resp::RequestParser;
use crate::node::Status;
use crate::replica::Outcome;
use crate::time::{Micros, Now};
use command::Held;
use output::Output;
use queue::{Queue, Stamp};

/// Something that happened to a connection.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event {
    /// Bytes were put into [`Connection::space`].
    Input,
    /// The client will send no more.
    InputEnded,
    /// The node answered a request of this connection.
    Reply {
        /// `RequestId::number` of the request.
        number: u64,
        /// How it ended.
        outcome: Outcome,
    },
    /// The driver's answer to `Action::ListClients`: a line for each connection, by [`Connection::describe`].
    Clients(alloc::vec::Vec<u8>),
    /// The time of [`Connection::wake_at`] has come.
    Wake,
}

/// What gives a node's status when a connection looks at it: the status itself, or, since few commands look, a
/// [`LazyCell`](core::cell::LazyCell) that makes it then.
pub type Look<'a> = dyn core::ops::Deref<Target = Status> + 'a;

/// What a connection may look at while it answers: the node's state and the process's.
pub struct Context<'a> {
    /// The node.
    pub node: &'a Look<'a>,
    /// The process.
    pub process: &'a Process,
}

impl core::fmt::Debug for Context<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Context").field("process", self.process).finish_non_exhaustive()
    }
}

/// Facts about the process for INFO, CONFIG GET and CLIENT; filled by the driver.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Process {
    /// The process id.
    pub pid: u32,
    /// When it started, on the monotonic clock.
    pub started: Micros,
    /// The port clients reach it by.
    pub port: u16,
    /// Connected clients.
    pub clients: u64,
    /// Connections taken since the start.
    pub connections_received: u64,
    /// Bytes of memory in use, if known.
    pub memory: u64,
    /// Calls of fdatasync on the log since the start.
    pub log_syncs: u64,
    /// Microseconds spent in them.
    pub log_sync_us: u64,
    /// The longest of them, in microseconds.
    pub log_sync_max_us: u64,
    /// What the state machine spent long on; the driver adds to it.
    pub slow_log: SlowLog,
    /// What connections have answered; they count by themselves.
    pub command_stats: CommandStats,
}

/// Limits of a connection.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Longest value, in bytes.
    pub max_value: usize,
    /// Longest key, in bytes.
    pub max_key: usize,
    /// Longest command, in bytes. So many bytes of commands may be under way, too, before no more are taken.
    pub max_command: usize,
    /// Most commands under way for one connection.
    pub max_pipeline: usize,
    /// Most bytes of short commands in a row that go to the node as one request, which has to be one that it takes: at least 256
    /// fewer than `max_entry_bytes`. With 0 each goes by itself.
    pub max_joined: usize,
    /// Output above which no more input is taken.
    pub output_soft_limit: usize,
    /// Output above which the connection is closed.
    pub output_hard_limit: usize,
    /// Answer `MOVED` instead of forwarding to the leader.
    pub redirect: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_value: crate::kv::MAX_VALUE,
            max_key: crate::kv::MAX_KEY,
            max_command: 16 << 20,
            max_pipeline: 1024,
            max_joined: 16 << 10,
            output_soft_limit: 1 << 20,
            output_hard_limit: 256 << 20,
            redirect: false,
        }
    }
}

/// How long a connection may keep its driver waiting. Microseconds; `None` for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadlines {
    /// From the connection to the end of its first command.
    pub first_command: Option<Micros>,
    /// From the first byte of a command to its last, if no byte comes meanwhile.
    pub stalled_command: Option<Micros>,
    /// Between commands (Redis's `timeout`).
    pub idle: Option<Micros>,
}

impl Default for Deadlines {
    /// A minute, a minute, for ever.
    fn default() -> Self {
        Self { first_command: Some(60_000_000), stalled_command: Some(60_000_000), idle: None }
    }
}

/// The version of the protocol that a connection speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Protocol {
    Resp2,
    Resp3,
}

impl Protocol {
    fn number(self) -> u8 {
        match self {
            Self::Resp2 => 2,
            Self::Resp3 => 3,
        }
    }
}

/// What a connection goes by in one step, and where its actions go.
struct Step<'a> {
    now: Now,
    context: &'a Context<'a>,
    out: &'a mut Actions,
}

/// What may be under way beside what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Write,
    Read,
    /// CLIENT LIST, which the driver answers.
    List,
}

/// One client's connection.
#[derive(Debug)]
pub struct Connection {
    id: u64,
    about: client::About,
    settings: Settings,
    deadlines: Deadlines,
    protocol: Protocol,
    /// READONLY: reads are answered from this node's own state.
    reads_local: bool,
    input: Input,
    parser: RequestParser,
    arguments: alloc::vec::Vec<Bytes>,
    /// A command that has to wait for those before it. While there is one, no more are parsed.
    held: Option<Held>,
    queue: Queue,
    /// The command that was parsed last, which is also the one that is held.
    current: Stamp,
    output: Output,
    /// What MULTI began.
    transaction: Option<transaction::Transaction>,
    /// Keys with the versions that they had when they were watched.
    watched: alloc::collections::BTreeMap<Bytes, u64>,
    /// What is to be done with replies that are not simply passed on, by the numbers of their requests.
    then: alloc::collections::BTreeMap<u64, transaction::Then>,
    /// Whether the versions of watched keys are on their way.
    asks_versions: bool,
    epoch: u32,
    /// Bytes of input taken by the parser.
    consumed: u64,
    /// Where in the input the command that is being parsed begins.
    command_start: u64,
    /// While a refusal is in force: what had been received when it came.
    refused_up_to: Option<u64>,
    phase: connection::Phase,
    input_ended: bool,
    /// Whether a whole command has come.
    has_spoken: bool,
    /// Whether input waits only because too much output did when it was stepped.
    stopped_by_output: bool,
    /// Whether the client has read something since the last step: a sign of life, too.
    has_written: bool,
    /// Filters of the CLIENT LISTs that the driver is gathering.
    lists: alloc::collections::VecDeque<client::Filter>,
    answered: u64,
    /// Requests under way that are several commands.
    pipelines: pipeline::Pipelines,
}

impl Connection {
    /// A new connection by the name `id`, from `peer` (`host:port`).
    pub fn new(id: u64, peer: &str, now: Now, settings: &Settings) -> Self {
        Self::open(id, peer, now, settings)
    }

    /// The same connection with other deadlines than the default ones.
    pub fn with_deadlines(self, deadlines: Deadlines) -> Self {
        Self { deadlines, ..self }
    }

    /// Takes one of the driver's spare buffers to read into, if it has none. A connection that is idle needs none: one that
    /// has little memory of its own is one of which there may be many.
    pub fn lend(&mut self, spares: &mut alloc::vec::Vec<bytes::BytesMut>) {
        self.input.lend(spares);
    }

    /// Puts its buffer back into `spares`, of which at most `most` are kept, if nothing that was read waits in it.
    pub fn give_back(&mut self, spares: &mut alloc::vec::Vec<bytes::BytesMut>, most: usize) {
        self.input.give_back(spares, most);
    }

    /// Space to read into, at least `min` bytes; then call [`advance`](Self::advance) and step `Event::Input`.
    pub fn space(&mut self, min: usize) -> &mut [u8] {
        self.input.space(min, self.parser.needed())
    }

    /// The first `n` bytes of the last [`space`](Self::space) are filled.
    pub fn advance(&mut self, n: usize) {
        self.input.advance(n);
    }

    /// Steps one event; what is to be done is added to `out`, what is to be written to [`output`](Self::output).
    pub fn step(&mut self, now: Now, event: Event, context: &Context<'_>, out: &mut Actions) {
        self.on_event(event, &mut Step { now, context, out });
    }

    /// Bytes that wait to be written to the client.
    pub fn output(&self) -> &[u8] {
        self.output.waiting()
    }

    /// The first `n` bytes of [`output`](Self::output) were written. When commands had to wait for that,
    /// [`wake_at`](Self::wake_at) is 0 afterwards: at once.
    pub fn written(&mut self, n: usize) {
        self.output.written(n);
        self.has_written = true;
    }

    /// Takes all of [`output`](Self::output), which counts as [`written`](Self::written): for who has no socket to write to.
    pub fn take_output(&mut self) -> alloc::vec::Vec<u8> {
        self.has_written = true;
        self.output.take()
    }

    /// Whether more input is wanted now: not while too much output or too many requests wait.
    pub fn wants_input(&self) -> bool {
        self.takes_input()
    }

    /// When to step `Event::Wake`, if ever. May change with every step and with [`written`](Self::written).
    pub fn wake_at(&self) -> Option<Micros> {
        self.deadline()
    }

    /// Its line in CLIENT LIST.
    pub fn describe(&self, now: Now, out: &mut alloc::vec::Vec<u8>) {
        self.describe_line(now, out);
    }

    /// Commands answered since the connection began.
    pub fn commands_answered(&self) -> u64 {
        self.answered
    }
}
