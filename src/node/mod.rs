//! Replica and storage together: the door that a driver uses.

mod action;
mod event;
mod fault;
mod job;

pub use action::{Action, Actions, Note};
pub use event::{Event, LinkId, RequestId};
pub use fault::Fault;
pub use job::{Garbage, Job};

use alloc::collections::BTreeMap;
use alloc::string::String;

use crate::raft::{DiskId, NodeId};
use crate::replica::StateMachine;
use crate::time::{Micros, Now};

/// Where a member is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addresses {
    /// By peers, `host:port`.
    pub peer: String,
    /// By clients, `host:port`.
    pub client: String,
}

/// Settings of one node.
#[derive(Debug, Clone)]
pub struct Config {
    /// The core's.
    pub raft: crate::raft::Config,
    /// The members of a cluster that is yet to be formed. Once it is, the log's configuration wins.
    pub founders: BTreeMap<NodeId, Addresses>,
    /// A fresh random name for the disk, used only when the data directory is empty.
    pub fresh_disk: DiskId,
    /// How long a request may take before it is answered by the truth. Microseconds.
    pub request_timeout: Micros,
    /// Send clients' requests on to the leader instead of refusing them.
    pub forward: bool,
    /// Length of a log segment, in bytes.
    pub segment_bytes: u64,
    /// Take a snapshot when the log since the last one has this many bytes; `None` for never.
    pub snapshot_log_bytes: Option<u64>,
    /// ... and at least this share of the last snapshot's length, in percent.
    pub snapshot_growth_percent: u32,
    /// Most sessions at once.
    pub max_sessions: usize,
    /// A session that is idle for so long, in milliseconds of time with a leader, expires.
    pub session_ttl_ms: u64,
}

/// A member of the cluster, as a process: starts with an empty or a used directory, and is stepped from then on.
#[derive(Debug)]
pub struct Node<S: StateMachine> {
    _state: Option<S>,
}

#[allow(unused_variables)]
impl<S: StateMachine> Node<S> {
    /// A node that has not looked at its disk yet; the first actions (recovery) are in `out`.
    pub fn new(config: Config, now: Now, out: &mut Actions<S>) -> Result<Self, crate::raft::ConfigError> {
        todo!("node helper")
    }

    /// Steps a batch of events and adds the actions to `out`.
    pub fn step_into(&mut self, now: Now, events: impl IntoIterator<Item = Event<S>>, out: &mut Actions<S>) {
        todo!("node helper")
    }

    /// What INFO, CLUSTER and `status` show.
    pub fn status(&self) -> Status {
        todo!("node helper")
    }
}

/// A node's state for people and for redirects; plain data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// This node.
    pub id: NodeId,
    /// Where it is in its life.
    pub phase: Phase,
    /// The cluster, once formed.
    pub cluster: Option<u128>,
    /// The core's status, once it runs.
    pub raft: Option<crate::raft::Status>,
    /// The members by the configuration in force; the founders before that.
    pub members: BTreeMap<NodeId, Addresses>,
    /// Members with a working connection, this node included.
    pub connected: alloc::collections::BTreeSet<NodeId>,
    /// The state machine's digest at the applied index.
    pub digest: u128,
    /// Live sessions.
    pub sessions: usize,
    /// Requests under way.
    pub pending: usize,
    /// Counters since the start.
    pub counters: Counters,
}

/// Where a node is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Phase {
    /// Reading its disk.
    Recovering,
    /// Waiting for every founder.
    Forming,
    /// A member.
    Running,
    /// Stopping.
    Stopping,
    /// Halted.
    Halted,
}

/// Counts since the process started. Each only grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Counters {
    /// Batches of the log lane that asked for a sync of the log.
    pub log_batches: u64,
    /// Entries written to the log.
    pub log_entries: u64,
    /// Bytes written to the log.
    pub log_bytes: u64,
    /// Entries applied.
    pub applied: u64,
    /// Frames from peers that were refused as malformed.
    pub malformed_frames: u64,
    /// Frames received from peers.
    pub frames_in: u64,
    /// Frames sent to peers.
    pub frames_out: u64,
    /// Snapshots saved.
    pub snapshots_saved: u64,
    /// Snapshots installed from a leader.
    pub snapshots_installed: u64,
    /// Elections this node won.
    pub elections_won: u64,
    /// Requests forwarded to the leader.
    pub forwarded: u64,
    /// Requests that ended undetermined.
    pub undetermined: u64,
}
