//! The door in of a replica.

use alloc::boxed::Box;

use super::snapshot::Restored;
use super::{Request, StateMachine};
use crate::raft::{Message, NodeId, PersistId, SnapshotId, SnapshotMeta};
use crate::time::Micros;

/// Names a request of the embedder's; never reused.
pub type Tag = u64;

/// Something that happened to a replica. What is not about requests or states is the core's own event of that name.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<S: StateMachine> {
    /// A message of a member.
    Receive {
        /// Who sent it.
        from: NodeId,
        /// What it says.
        message: Message,
    },
    /// Writes up to `id` are durable.
    Persisted {
        /// The id of the last of them.
        id: PersistId,
    },
    /// A request. Answered by exactly one `Action::Reply`, at `deadline` at the latest (a write that is still under way
    /// then is reported undetermined).
    Request {
        /// The embedder's name for it.
        tag: Tag,
        /// Whose it is: the reads of one client are answered in their order, and make way for those of others when they are
        /// much work. Any number; 0 for all will do.
        client: u64,
        /// When to give up, on the monotonic clock.
        deadline: Micros,
        /// What is asked.
        request: Request,
    },
    /// The job of `Action::SaveSnapshot` succeeded.
    SnapshotSaved {
        /// The durable file.
        snapshot: Box<SnapshotMeta>,
    },
    /// The job of `Action::SaveSnapshot` failed; the policy tries again later.
    SnapshotNotSaved,
    /// The job of `Action::InstallSnapshot` succeeded: here is the state.
    SnapshotInstalled {
        /// Which one.
        snapshot: SnapshotId,
        /// What its bytes hold.
        restored: Box<Restored<S>>,
    },
    /// The job of `Action::InstallSnapshot` failed, or the bytes of a `WriteSnapshotChunk` could not be written.
    SnapshotFailed {
        /// Which one.
        snapshot: SnapshotId,
    },
    /// Bytes of a snapshot being received are written.
    SnapshotChunkWritten {
        /// Which one.
        snapshot: SnapshotId,
        /// Bytes below this offset are written.
        written: u64,
    },
    /// The connection to a member broke.
    Unreachable {
        /// Whose.
        peer: NodeId,
    },
    /// Bytes of an unfinished frame arrived from a member.
    Contact {
        /// Whose.
        peer: NodeId,
    },
    /// Take a snapshot of the applied state now, whatever the policy says (unless one is being saved).
    TakeSnapshot,
    /// The disk has room for the log, or not: while not, writes are refused and reads go on.
    DiskRoom(bool),
    /// Stop: refuse what comes, answer what waits by the truth.
    Stop,
    /// The time of the last `WakeAt` has come. Stepped last in a batch.
    Wake,
}
