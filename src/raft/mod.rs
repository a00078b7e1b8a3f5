//! Consensus over opaque entries: Raft (Ongaro & Ousterhout, extended version; Ongaro's dissertation, 2014).

mod action;
mod config;
mod entry;
mod event;
mod fault;
mod membership;
mod message;

pub use action::{
    Action, Actions, HardState, Persist, PersistId, ProposalId, ReadId, Refusal, Role, RoleChange,
    SnapshotSwitch,
};
pub use config::{Config, ConfigError};
pub use entry::{
    Entries, Entry, EntryKind, LogId, LogIndex, NodeId, PACKED_HEADER, Stamp, Term, UnpackError,
};
pub use event::Event;
pub use fault::Fault;
pub use membership::{Configuration, DiskId, Member};
pub use message::{Message, Round, SnapshotId, SnapshotMeta, SnapshotProgress};

use crate::time::Now;
use alloc::collections::BTreeMap;

/// What a core starts from: all that its disk holds, or [`Recovered::formed`] on a first start.
#[derive(Debug, Clone)]
pub struct Recovered {
    /// Term and vote.
    pub vote: HardState,
    /// The snapshot before the log, if there is one. Its state is already loaded by the embedder.
    pub snapshot: Option<SnapshotMeta>,
    /// The log after the snapshot (or from index 1), without a gap.
    pub entries: Entries,
    /// The commit index as far as the disk knows; clamped to the log.
    pub commit: LogIndex,
}

impl Recovered {
    /// The start of a newly formed cluster: one committed entry at index 1, term 0, that holds `configuration`. Every
    /// member has it on disk before any of them votes.
    pub fn formed(_configuration: &Configuration) -> Self {
        todo!("raft helper")
    }
}

/// One member's core. Generic over nothing: it steps, and the embedder performs.
#[derive(Debug)]
pub struct Raft {}

/// What a snapshot of the state at an applied index has to carry besides the state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotPoint {
    /// The last entry covered.
    pub last: LogId,
    /// The clocks there.
    pub stamp: Stamp,
    /// The configuration committed there.
    pub configuration: Configuration,
}

/// A core's state for people and for INFO; plain data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// This node.
    pub id: NodeId,
    /// Its role.
    pub role: Role,
    /// Its term.
    pub term: Term,
    /// The leader, if known.
    pub leader: Option<NodeId>,
    /// First index still in the log.
    pub first_index: LogIndex,
    /// Last position in the log.
    pub last: LogId,
    /// Commit index.
    pub commit: LogIndex,
    /// Last index handed out by `Apply` or switched to.
    pub applied: LogIndex,
    /// Last index on this node's own disk.
    pub persisted: LogIndex,
    /// The snapshot before the log.
    pub snapshot: Option<SnapshotId>,
    /// Packed bytes of the log in memory.
    pub log_bytes: usize,
    /// A leader's view of each peer's match index.
    pub matched: BTreeMap<NodeId, LogIndex>,
}

#[allow(unused_variables)]
impl Raft {
    /// A core over what its disk holds. It follows, knows no leader, and grants no vote for one election timeout.
    pub fn new(config: Config, recovered: Recovered, now: Now) -> Result<Self, ConfigError> {
        todo!("raft helper")
    }

    /// Steps one event.
    pub fn step(&mut self, now: Now, event: Event) -> Actions {
        todo!("raft helper")
    }

    /// Steps a batch of events: the same state and the same answers as one by one, with one `Persist` and one append
    /// per peer. The primitive.
    pub fn step_into(&mut self, now: Now, events: impl IntoIterator<Item = Event>, out: &mut Actions) {
        todo!("raft helper")
    }

    /// What a snapshot of the state at `index` carries; `None` unless `index` is applied and still in the log (or is the
    /// current snapshot's).
    pub fn snapshot_point(&self, index: LogIndex) -> Option<SnapshotPoint> {
        todo!("raft helper")
    }

    /// The configuration in force: the last one in the log, committed or not.
    pub fn configuration(&self) -> &Configuration {
        todo!("raft helper")
    }

    /// The state, for people.
    pub fn status(&self) -> Status {
        todo!("raft helper")
    }

    /// The first broken invariant, for tests and the simulator: called after every step.
    pub fn check_invariants(&self) -> Result<(), Fault> {
        todo!("raft helper")
    }
}
