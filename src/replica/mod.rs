//! A replicated state machine: exactly-once sessions, linearizable reads, snapshots.

mod action;
mod event;
mod request;
mod snapshot;
mod state_machine;

pub use action::{Action, Actions};
pub use event::{Event, Tag};
pub use request::{Outcome, Refused, Request, SessionError, SessionId};
pub use snapshot::{ReplicaRestorer, ReplicaView, Restored};
pub use state_machine::{Context, RestoreError, Restorer, StateMachine, View};

use crate::raft::{self, ConfigError, Recovered};
use crate::time::Now;

/// Most bytes of a session's nonce.
pub const MAX_NONCE: usize = 64;

/// Settings of a replica.
#[derive(Debug, Clone)]
pub struct Config {
    /// The core's.
    pub raft: raft::Config,
    /// Take a snapshot when the log since the last one has this many packed bytes; `None` for never.
    pub snapshot_log_bytes: Option<u64>,
    /// ... and at least this share of the last snapshot's length, in percent.
    pub snapshot_growth_percent: u32,
    /// Most sessions at once.
    pub max_sessions: usize,
    /// Most replies kept for one session: the window of numbers above its floor.
    pub session_window: u64,
    /// Most bytes of replies kept for one session.
    pub session_reply_bytes: usize,
    /// A session that is idle for so long, in milliseconds of time with a leader, expires.
    pub session_ttl_ms: u64,
    /// Most requests under way.
    pub max_pending: usize,
}

/// A core, a state machine, its sessions, and the requests that wait for them.
#[derive(Debug)]
pub struct Replica<S: StateMachine> {
    _state: Option<S>,
}

#[allow(unused_variables)]
impl<S: StateMachine> Replica<S> {
    /// A replica over what its disk holds: `restored` is the state of `recovered.snapshot`, if there is one.
    pub fn new(
        config: Config,
        recovered: Recovered,
        restored: Option<Restored<S>>,
        now: Now,
    ) -> Result<Self, ConfigError> {
        todo!("replica helper")
    }

    /// Steps a batch of events and adds the actions to `out`.
    pub fn step_into(&mut self, now: Now, events: impl IntoIterator<Item = Event<S>>, out: &mut Actions<S>) {
        todo!("replica helper")
    }

    /// The core, for its status and configuration.
    pub fn raft(&self) -> &raft::Raft {
        todo!("replica helper")
    }

    /// The state machine, for queries of this node's own state and for its digest.
    pub fn state(&self) -> &S {
        todo!("replica helper")
    }

    /// Live sessions and requests under way.
    pub fn load(&self) -> (usize, usize) {
        todo!("replica helper")
    }
}
