//! A replicated state machine: exactly-once sessions, linearizable reads, snapshots.
//!
//! A [`Replica`] puts a [`StateMachine`] of the user's on top of a [`Raft`] core and answers requests
//! by the truth. It is stepped like the core: events in, actions out, and nothing in between.
//!
//! - A **write** is proposed, and answered when the entry of its own (index, term) is applied. When another entry is
//!   applied there it was certainly not done; when its deadline passes, or a snapshot jumps over its index, it is
//!   [undetermined](Outcome::Undetermined). A lost leadership alone says nothing: the entry may still commit.
//! - A **command of a session** ([`Request::Once`]) runs once, however often it is sent (see `session.rs`).
//! - A **linearizable read** waits for a round of heartbeats that began after it arrived (ReadIndex, dissertation §6.4)
//!   and for the state to reach the index of that round. The reads that arrive in one batch share one round.
//! - A **snapshot** holds the state, the sessions with their replies, and the log's clocks. It is a picture taken between
//!   two commands and written elsewhere while commands go on.
//!
//! All requests of a batch go to the core in one step, so that they share one write to disk and one message per peer.

mod action;
mod apply;
mod backlog;
mod config;
mod envelope;
mod event;
mod pending;
mod policy;
mod replay;
mod reply;
mod request;
mod session;
mod snapshot;
mod state_machine;
mod step;
#[cfg(any(test, feature = "sim"))]
pub mod testing;
#[cfg(test)]
mod tests;
mod tick;

pub use action::{Action, Actions, Garbage};
pub(crate) use apply::EXPIRED_BY_ENTRY;
pub use config::Config;
pub use event::{Event, Tag};
pub use policy::Saves;
pub use replay::Replay;
pub use request::{Outcome, Refused, Request, SessionError, SessionId};
pub use snapshot::{ReplicaRestorer, ReplicaView, Restored};
pub use state_machine::{Context, RestoreError, Restorer, StateMachine, StateSize, View, Whole};

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use bytes::BytesMut;

use crate::raft::{self, ConfigError, LogIndex, NodeId, Raft, ReadId, Recovered, SnapshotId};
use crate::time::{Micros, Millis, Now};
use apply::Machine;
use backlog::Backlog;
use pending::Pending;
use policy::SnapshotPolicy;
use reply::Replies;
use tick::Tick;

/// Most bytes of a session's nonce.
pub const MAX_NONCE: usize = 64;

/// What a client asked for with a command entry of the log; `None` when nobody did.
#[cfg(feature = "sim")]
pub fn request_of(data: &[u8]) -> Option<Request> {
    envelope::Envelope::decode(data).and_then(envelope::Envelope::to_request)
}

/// A core, a state machine, its sessions, and the requests that wait for them.
#[derive(Debug)]
pub struct Replica<S: StateMachine> {
    config: Config,
    raft: Raft,
    machine: Machine<S>,
    /// Committed and not applied.
    backlog: Backlog,
    /// Up to here entries were committed before the start.
    recovered_commit: LogIndex,
    pending: Pending,
    policy: SnapshotPolicy,
    /// Loaded snapshots that the core has not decided about, beside the running state.
    aside: BTreeMap<SnapshotId, Box<Restored<S>>>,
    /// The leader of the current term, if known.
    leader: Option<NodeId>,
    /// The core's count of changes of the configuration when they were last reported.
    configuration_changes: u64,
    life: Life,
    disk_room: bool,
    snapshot_asked: bool,
    tick: Tick,
    /// The monotonic clock at the current step; never backwards.
    mono: Micros,
    /// This node's wall clock at the current step.
    wall: Millis,
    /// When the core wants to be woken.
    core_wake: Option<Micros>,
    done: Done,
    /// The last `WakeAt` that was asked for.
    wake: Option<Micros>,
    /// The round that further reads of this batch may join.
    round: Option<ReadId>,
    // The rest is empty between steps; kept for its space.
    inbox: Vec<raft::Event>,
    /// Taken out while the core's actions are performed, and put back: by its pointer, for they are large.
    outbox: Option<Box<raft::Actions>>,
    replies: Replies,
    entries: BytesMut,
    ended: Vec<(Tag, Outcome)>,
}

/// What one step has done.
#[derive(Debug, Clone, Copy, Default)]
struct Done {
    /// Work on commands.
    applying: u64,
    /// Work on queries.
    reading: u64,
    /// Bytes of replies to queries.
    read_bytes: usize,
}

/// How far a replica is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Life {
    Running,
    /// Takes no requests, and steps its core.
    Stopping,
    /// Takes no requests, and does nothing.
    Halted,
}

impl<S: StateMachine> Replica<S> {
    /// A replica over what its disk holds: `restored` is the state of `recovered.snapshot`, if there is one.
    ///
    /// # Errors
    ///
    /// A setting that cannot work, or a `restored` that is not the state of `recovered.snapshot`.
    pub fn new(
        config: Config,
        recovered: Recovered,
        restored: Option<Restored<S>>,
        now: Now,
    ) -> Result<Self, ConfigError> {
        config.validate()?;
        let snapshot_len = recovered.snapshot.as_ref().map_or(0, |snapshot| snapshot.len);
        let recovered_commit = recovered.commit;
        let backlog = Backlog::of_recovered(recovered_commit);
        let machine = Machine::recovered(recovered.snapshot.as_ref(), restored)?;
        let raft = Raft::new(config.raft.clone(), recovered, now)?;
        Ok(Self {
            policy: SnapshotPolicy::new(
                config.snapshot_log_bytes,
                config.snapshot_growth_percent,
                snapshot_len,
            ),
            configuration_changes: raft.configuration_changes(),
            config,
            raft,
            machine,
            backlog,
            recovered_commit,
            pending: Pending::default(),
            aside: BTreeMap::new(),
            leader: None,
            life: Life::Running,
            disk_room: true,
            snapshot_asked: false,
            tick: Tick::default(),
            wall: now.wall,
            mono: now.mono,
            core_wake: None,
            wake: None,
            round: None,
            inbox: Vec::new(),
            outbox: None,
            replies: Replies::default(),
            done: Done::default(),
            entries: BytesMut::new(),
            ended: Vec::new(),
        })
    }

    /// How the saving of snapshots stands.
    pub fn saves(&self) -> Saves {
        self.policy.saves()
    }

    /// Whether the next snapshot is due while one is still being saved.
    pub fn is_snapshot_pressing(&self) -> bool {
        self.policy.is_pressing()
    }

    /// The settings.
    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    /// The core, for its status and configuration.
    pub fn raft(&self) -> &Raft {
        &self.raft
    }

    /// The core's status, as far as this node's state has come: the core counts as applied what it has handed out.
    pub fn status(&self) -> raft::Status {
        raft::Status { applied: self.machine.applied.index, ..self.raft.status() }
    }

    /// The state machine, for queries of this node's own state and for its digest. Before the founding entry or a
    /// snapshot is applied it is empty.
    pub fn state(&self) -> &S {
        &self.machine.state
    }

    /// Where the last applied entry is: the context of queries of [`state`](Self::state).
    pub fn context(&self) -> Context {
        self.machine.context()
    }

    /// Live sessions and requests under way.
    pub fn load(&self) -> (usize, usize) {
        (self.machine.sessions.len(), self.pending.len())
    }
}
