//! The door in of a node: what sockets, disks, clients and the clock did.

use bytes::Bytes;

use super::job::Job;
use crate::codec::frame::FrameError;
use crate::raft::NodeId;
use crate::replica::{Request, StateMachine};
use crate::storage::{BatchId, DiskError};
use crate::time::Micros;

/// Names one connection to a peer, in either direction; never reused by the driver while the process lives.
pub type LinkId = u64;

/// Names a request: the connection it came from and its number there, which only grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId {
    /// The client's connection; never reused while the process lives.
    pub connection: u64,
    /// Grows with each request of that connection.
    pub number: u64,
}

/// Something that happened to a node.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<S: StateMachine> {
    /// All operations of the log lane's batch, or the first error among them. Batches are reported in order.
    DiskDone {
        /// Which batch.
        batch: BatchId,
        /// How it went.
        result: Result<(), DiskError>,
    },
    /// A job came to its end, well or not: it knows.
    JobDone(Job<S>),
    /// A connection is open: ours, by `Action::Dial`, or a peer's.
    LinkOpened {
        /// Its name.
        link: LinkId,
        /// Whom we dialled; `None` if it came to us.
        dialled: Option<NodeId>,
    },
    /// A dial failed. The node asks again later.
    DialFailed {
        /// Whom.
        peer: NodeId,
    },
    /// A whole frame, as [`frame::Decoder`](crate::codec::frame::Decoder) yields it.
    LinkFrame {
        /// From which connection.
        link: LinkId,
        /// Its payload, checksum verified.
        frame: Bytes,
    },
    /// Bytes of an unfinished frame arrived.
    LinkProgress {
        /// On which connection.
        link: LinkId,
    },
    /// A connection ended. `error` tells when the decoder refused its bytes.
    LinkClosed {
        /// Which one.
        link: LinkId,
        /// What the peer did wrong, if it did.
        error: Option<FrameError>,
    },
    /// A client's request. Answered by exactly one `Action::Reply`.
    Request {
        /// Its name.
        id: RequestId,
        /// Grows by one when the connection has taken note of a refusal: a write that was refused refuses every later
        /// write of the same epoch, so that a pipeline is never half applied out of order.
        epoch: u32,
        /// When to give up, on the monotonic clock; `None` for the configured time from now.
        deadline: Option<Micros>,
        /// What is asked.
        request: Request,
    },
    /// A client's connection is gone: its requests go on, their replies go nowhere.
    ConnectionClosed {
        /// Which one.
        connection: u64,
    },
    /// Save a snapshot of this node's applied state now, whatever the policy says (unless one is being saved).
    TakeSnapshot,
    /// Stop cleanly: refuse new requests, then `Action::Stopped`.
    Stop,
    /// The time of the last `WakeAt` has come. Stepped last in a batch.
    Wake,
}
