//! The door out of a replica.

use alloc::boxed::Box;
use core::any::Any;

use bytes::Bytes;
use smallvec::SmallVec;

use super::event::Tag;
use super::snapshot::{ReplicaRestorer, ReplicaView, Restored};
use super::{Outcome, StateMachine};
use crate::raft::{
    Discarded, Fault, Message, NodeId, Persist, RoleChange, SnapshotId, SnapshotMeta, SnapshotPoint, Term,
};
use crate::time::Micros;

/// Something that an embedder does for a replica. What is not about requests or states is the core's own action of that
/// name.
#[derive(Debug)]
#[non_exhaustive]
pub enum Action<S: StateMachine> {
    /// Write and sync, then step `Event::Persisted`.
    Persist(Persist),
    /// Send a message.
    Send {
        /// To whom.
        to: NodeId,
        /// What to say.
        message: Message,
    },
    /// A request's end.
    Reply {
        /// Which request.
        tag: Tag,
        /// How it ended.
        outcome: Outcome,
    },
    /// Save this picture of the state elsewhere, then step `Event::SnapshotSaved` or `SnapshotNotSaved`.
    SaveSnapshot {
        /// What the file has to say besides the state.
        point: Box<SnapshotPoint>,
        /// The state.
        view: Box<ReplicaView<S>>,
    },
    /// Read a piece of a snapshot file and send it as a `SnapshotChunk`.
    SendSnapshotChunk {
        /// To whom.
        to: NodeId,
        /// The leader's term.
        term: Term,
        /// Which file.
        snapshot: Box<SnapshotMeta>,
        /// From where.
        offset: u64,
        /// How many bytes.
        len: u64,
    },
    /// Write a piece of a snapshot being received, then step `Event::SnapshotChunkWritten`.
    WriteSnapshotChunk {
        /// Which one.
        snapshot: Box<SnapshotMeta>,
        /// Where.
        offset: u64,
        /// What.
        data: Bytes,
    },
    /// Verify what was received, make it durable, push its state through `restorer`; then step
    /// `Event::SnapshotInstalled` or `SnapshotFailed`.
    InstallSnapshot {
        /// Which one.
        snapshot: Box<SnapshotMeta>,
        /// Takes the state's bytes.
        restorer: Box<ReplicaRestorer<S>>,
    },
    /// Forget a received snapshot and its file.
    DropSnapshot {
        /// Which one.
        snapshot: SnapshotId,
    },
    /// Role, term or known leader changed.
    RoleChanged(RoleChange),
    /// Another configuration is in force, or one is committed: others may be members, or be to be talked to.
    ConfigurationChanged,
    /// Drop this where it delays nothing.
    Discard(Garbage<S>),
    /// Step `Event::Wake` at this time.
    WakeAt(Micros),
    /// The core found itself or its disk to be wrong.
    Halt(Fault),
}

/// Something large that nobody needs any more: dropping it may take long.
#[derive(Debug)]
#[non_exhaustive]
pub enum Garbage<S: StateMachine> {
    /// A state, with its sessions, that another has replaced or that is not needed.
    State(Box<Restored<S>>),
    /// A log that a snapshot has replaced.
    Entries(Discarded),
    /// What a state machine's commands left behind ([`StateMachine::take_garbage`]), or a state that was never whole.
    Leftovers(Box<dyn Any + Send>),
}

/// The actions of one step, in order.
#[derive(Debug)]
pub struct Actions<S: StateMachine>(SmallVec<[Action<S>; 8]>);

impl<S: StateMachine> Default for Actions<S> {
    fn default() -> Self {
        Self(SmallVec::new())
    }
}

impl<S: StateMachine> Actions<S> {
    /// No actions yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one at the end.
    pub fn push(&mut self, action: Action<S>) {
        self.0.push(action);
    }

    /// Takes all of them, in order, and keeps the space.
    pub fn drain(&mut self) -> impl Iterator<Item = Action<S>> + '_ {
        self.0.drain(..)
    }

    /// Looks at all of them, in order.
    pub fn iter(&self) -> core::slice::Iter<'_, Action<S>> {
        self.0.iter()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
