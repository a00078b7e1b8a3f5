//! A connection between a scripted client and a node that is a bare key-value store.

mod clerk;
mod control;
mod course;
mod fuzz;
mod membership;
mod pipelines;
mod transactions;

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::string::String;
use alloc::vec::Vec;

use bytes::Bytes;

use super::{Action, Actions, Connection, Context, Event, Process, Settings};
use crate::kv::KvStore;
use crate::node::{Addresses, Counters, Phase, Status};
use crate::raft::{self, LogId, NodeId, Role};
use crate::replica::{self, Outcome, Request, StateMachine};
use crate::time::Now;

/// Three members; node 1 leads.
pub(super) fn status() -> Status {
    let addresses = |n: u64| Addresses {
        peer: alloc::format!("10.0.0.{n}:720{n}"),
        client: alloc::format!("10.0.0.{n}:710{n}"),
    };
    let raft = raft::Status {
        id: NodeId(1),
        role: Role::Leader,
        term: 7,
        vote: None,
        leader: Some(NodeId(1)),
        first_index: 1,
        last: LogId { term: 7, index: 42 },
        commit: 41,
        applied: 40,
        persisted: 42,
        snapshot: None,
        log_bytes: 1234,
    };
    Status {
        roster: alloc::sync::Arc::default(),
        id: NodeId(1),
        phase: Phase::Running,
        cluster: Some(0xc0ffee),
        raft: Some(raft),
        matched: BTreeMap::from([(NodeId(2), 42), (NodeId(3), 40)]),
        members: (1..=3).map(|n| (NodeId(n), addresses(n))).collect(),
        connected: BTreeSet::from([NodeId(1), NodeId(2)]),
        digest: 0xd16e57,
        size: replica::StateSize { keys: 12, mortal: 3 },
        sessions: 0,
        pending: 0,
        saves: replica::Saves::default(),
        counters: Counters { log_batches: 9, ..Counters::default() },
    }
}

/// Both sides of one connection.
pub(super) struct Harness {
    pub(super) connection: Connection,
    pub(super) status: Status,
    pub(super) process: Process,
    pub(super) now: Now,
    pub(super) store: KvStore,
    /// Requests that wait for their outcome, in the order in which they came.
    pub(super) requests: VecDeque<(u64, u32, Request)>,
    pub(super) lists: usize,
    pub(super) snapshots: usize,
    pub(super) closed: bool,
    pub(super) actions: Actions,
    applied: u64,
}

impl Harness {
    pub(super) fn new() -> Self {
        Self::with(&Settings::default())
    }

    pub(super) fn with(settings: &Settings) -> Self {
        let now = Now::new(1_000_000, 1_700_000_000_000);
        Self {
            connection: Connection::new(5, "10.9.9.9:4711", now, settings),
            status: status(),
            process: Process { pid: 77, port: 7101, clients: 3, log_syncs: 11, ..Process::default() },
            now,
            store: KvStore::empty(1),
            requests: VecDeque::new(),
            lists: 0,
            snapshots: 0,
            closed: false,
            actions: Actions::new(),
            applied: 0,
        }
    }

    pub(super) fn step(&mut self, event: Event) {
        let context = Context { node: &&self.status, process: &self.process };
        self.connection.step(self.now, event, &context, &mut self.actions);
        assert!(self.actions.gathered.is_empty(), "the next step may be another connection's");
        while let Some(action) = self.actions.pop() {
            assert!(!self.closed, "nothing comes after Close: {action:?}");
            match action {
                Action::Request { id, epoch, request } => {
                    assert_eq!(id.connection, 5);
                    self.requests.push_back((id.number, epoch, request));
                }
                Action::ListClients => self.lists += 1,
                Action::TakeSnapshot => self.snapshots += 1,
                Action::Close => self.closed = true,
            }
        }
    }

    /// Puts bytes in without looking at whether they are wanted.
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        self.connection.space(bytes.len())[..bytes.len()].copy_from_slice(bytes);
        self.connection.advance(bytes.len());
        self.step(Event::Input);
    }

    /// What the store says to the next request; sessions count from 100.
    pub(super) fn outcome(&mut self, request: &Request) -> Outcome {
        let mut out = Vec::new();
        match request {
            Request::Write(command) | Request::Once { command, .. } => {
                self.applied += 1;
                let context = replica::Context::at(self.applied, self.now.wall);
                self.store.apply(context, command, &mut out);
            }
            Request::Read(query) | Request::ReadLocal(query) => {
                let context = replica::Context::at(self.applied, self.now.wall);
                self.store.query(context, query, &mut out);
            }
            Request::OpenSession { .. } => return Outcome::SessionOpened(100),
            Request::CloseSession { .. } => return Outcome::SessionClosed,
            Request::Reconfigure(_) => return Outcome::Reconfigured(self.applied),
            Request::Transfer(_) => return Outcome::Transferred,
        }
        Outcome::Reply(out.into())
    }

    /// Another client's command, whose words are these.
    pub(super) fn store_runs(&mut self, line: &str) {
        let words: Vec<Bytes> = line.split(' ').map(|word| Bytes::copy_from_slice(word.as_bytes())).collect();
        let Ok(crate::kv::Call::Write(command)) = crate::kv::parse(&words) else { panic!("it is a write") };
        self.outcome(&Request::Write(command));
    }

    /// Answers the first request that waits by `outcome`.
    pub(super) fn answer(&mut self, outcome: Outcome) {
        let (number, ..) = self.requests.pop_front().expect("a request waits");
        self.step(Event::Reply { number, outcome });
    }

    /// Answers everything by the store until nothing waits.
    pub(super) fn settle(&mut self) {
        loop {
            if let Some((number, _, request)) = self.requests.pop_front() {
                let outcome = self.outcome(&request);
                self.step(Event::Reply { number, outcome });
            } else if self.lists > 0 {
                self.lists -= 1;
                let mut lines = Vec::new();
                self.connection.describe(self.now, &mut lines);
                lines.extend_from_slice(b"id=9 addr=x\n");
                self.step(Event::Clients(lines));
            } else {
                return;
            }
        }
    }

    /// Takes what is to be written.
    pub(super) fn output(&mut self) -> Bytes {
        let output = Bytes::copy_from_slice(self.connection.output());
        self.connection.written(output.len());
        output
    }

    /// Takes what is to be written, as text.
    pub(super) fn text(&mut self) -> String {
        String::from_utf8_lossy(&self.output()).into_owned()
    }

    /// Feeds, settles, and takes the output as text.
    pub(super) fn say(&mut self, bytes: impl AsRef<[u8]>) -> String {
        self.feed(bytes.as_ref());
        self.settle();
        self.text()
    }

    /// The names of the requests that wait: W, R, L (local read), O (once), S (session), A (administration).
    pub(super) fn waiting(&self) -> String {
        let letter = |(_, _, request): &(u64, u32, Request)| match request {
            Request::Write(_) => 'W',
            Request::Read(_) => 'R',
            Request::ReadLocal(_) => 'L',
            Request::Once { .. } => 'O',
            Request::OpenSession { .. } | Request::CloseSession { .. } => 'S',
            Request::Reconfigure(_) | Request::Transfer(_) => 'A',
        };
        self.requests.iter().map(letter).collect()
    }
}
