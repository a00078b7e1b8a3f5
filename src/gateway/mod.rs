//! One client connection as a step machine: bytes to commands to replies in order.

use crate::node::{RequestId, Status};
use crate::replica::{Outcome, Request};
use crate::time::{Micros, Now};

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

/// Something a connection asks of its driver.
#[derive(Debug)]
#[non_exhaustive]
pub enum Action {
    /// Step `node::Event::Request` with these.
    Request {
        /// The request's name.
        id: RequestId,
        /// The connection's epoch.
        epoch: u32,
        /// What is asked.
        request: Request,
    },
    /// Gather the lines of all connections and step `Event::Clients`.
    ListClients,
    /// Close the connection as soon as its output is written.
    Close,
}

/// What a connection may look at while it answers: the node's state and the process's.
#[derive(Debug)]
pub struct Context<'a> {
    /// The node.
    pub node: &'a Status,
    /// The process.
    pub process: &'a Process,
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
    /// Commands answered since the start.
    pub commands: u64,
    /// Bytes of memory in use, if known.
    pub memory: u64,
    /// Calls of fdatasync on the log since the start.
    pub log_syncs: u64,
    /// Microseconds spent in them.
    pub log_sync_us: u64,
    /// The longest of them, in microseconds.
    pub log_sync_max_us: u64,
}

/// Limits of a connection.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Longest value, in bytes.
    pub max_value: usize,
    /// Longest key, in bytes.
    pub max_key: usize,
    /// Longest command, in bytes.
    pub max_command: usize,
    /// Most requests under way for one connection.
    pub max_pipeline: usize,
    /// Output above which no more input is taken.
    pub output_soft_limit: usize,
    /// Output above which the connection is closed.
    pub output_hard_limit: usize,
    /// Answer `MOVED` instead of forwarding to the leader.
    pub redirect: bool,
}

/// One client's connection.
#[derive(Debug)]
pub struct Connection {}

#[allow(unused_variables, clippy::todo)]
impl Connection {
    /// A new connection by the name `id`, from `peer` (`host:port`).
    pub fn new(id: u64, peer: &str, now: Now, settings: &Settings) -> Self {
        todo!("gateway helper")
    }

    /// Space to read into, at least `min` bytes; then call [`advance`](Self::advance) and step `Event::Input`.
    pub fn space(&mut self, min: usize) -> &mut [u8] {
        todo!("gateway helper")
    }

    /// The first `n` bytes of the last [`space`](Self::space) are filled.
    pub fn advance(&mut self, n: usize) {
        todo!("gateway helper")
    }

    /// Steps one event; what is to be done is added to `out`, what is to be written to [`output`](Self::output).
    pub fn step(&mut self, now: Now, event: Event, context: &Context<'_>, out: &mut alloc::vec::Vec<Action>) {
        todo!("gateway helper")
    }

    /// Bytes that wait to be written to the client.
    pub fn output(&self) -> &[u8] {
        todo!("gateway helper")
    }

    /// The first `n` bytes of [`output`](Self::output) were written.
    pub fn written(&mut self, n: usize) {
        todo!("gateway helper")
    }

    /// Whether more input is wanted now: not while too much output or too many requests wait.
    pub fn wants_input(&self) -> bool {
        todo!("gateway helper")
    }

    /// When to step `Event::Wake`, if ever.
    pub fn wake_at(&self) -> Option<Micros> {
        todo!("gateway helper")
    }

    /// Its line in CLIENT LIST.
    pub fn describe(&self, now: Now, out: &mut alloc::vec::Vec<u8>) {
        todo!("gateway helper")
    }
}
