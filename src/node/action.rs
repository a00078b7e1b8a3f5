//! The door out of a node: what its driver has to perform.

use alloc::string::String;

use smallvec::SmallVec;

use super::Garbage;
use super::event::{LinkId, RequestId};
use super::fault::Fault;
use super::job::Job;
use crate::codec::frame::Frame;
use crate::raft::NodeId;
use crate::replica::{Outcome, StateMachine};
use crate::storage::DiskBatch;
use crate::time::Micros;

/// Something a driver performs. None needs to be waited for.
#[derive(Debug)]
#[allow(
    clippy::large_enum_variant,
    reason = "a batch of the log lane is in every busy turn: no allocation for it"
)]
#[non_exhaustive]
pub enum Action<S: StateMachine> {
    /// Perform on the log lane, in the order of ids; then step `Event::DiskDone`.
    Log(DiskBatch),
    /// Run beside the log lane, one after the other, in this order; then step `Event::JobDone`.
    Job(Job<S>),
    /// Connect to a peer; then step `Event::LinkOpened` or `Event::DialFailed`.
    Dial {
        /// Whom.
        peer: NodeId,
        /// Where: `host:port`.
        address: String,
    },
    /// Write a frame to a connection, after those before it. Frames of a connection that is gone are dropped.
    Send {
        /// Which connection.
        link: LinkId,
        /// The bytes.
        frame: Frame,
    },
    /// Close a connection after what was sent on it is written; then step `Event::LinkClosed`.
    CloseLink {
        /// Which one.
        link: LinkId,
    },
    /// Answer a client.
    Reply {
        /// Which request.
        request: RequestId,
        /// How it ended.
        outcome: Outcome,
    },
    /// Step `Event::Wake` at this time. Replaces every earlier one.
    WakeAt(Micros),
    /// Drop this where it does not delay anything.
    Discard(Garbage<S>),
    /// A line for the log that people read.
    Note(Note),
    /// The answer to `Event::Stop`: nothing is under way any more.
    Stopped,
    /// The node does nothing any more; the process ends with the fault's exit code.
    Halt(Fault),
}

/// Something worth a line in the log that people read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note(pub String);

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

#[cfg(test)]
mod tests {
    use crate::kv::KvStore;
    use crate::{node, raft, replica};

    /// Each request is moved through all of these, many thousand times a second: what is large and rare is in a box.
    #[test]
    fn what_every_request_is_moved_in_is_small() {
        for (name, bytes) in [
            ("node::Event", size_of::<node::Event<KvStore>>()),
            ("node::Action", size_of::<node::Action<KvStore>>()),
            ("replica::Event", size_of::<replica::Event<KvStore>>()),
            ("replica::Action", size_of::<replica::Action<KvStore>>()),
            ("raft::Event", size_of::<raft::Event>()),
            ("raft::Action", size_of::<raft::Action>()),
        ] {
            assert!(bytes <= 128, "{name} has {bytes} bytes");
        }
    }
}
