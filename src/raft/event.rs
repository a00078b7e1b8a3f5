//! The door in: everything that can happen to a core.

use alloc::boxed::Box;

use bytes::Bytes;

use super::action::{PersistId, ProposalId, ReadId};
use super::{Change, Message, NodeId, SnapshotId, SnapshotMeta, TransferId};

/// Something that happened. Each variant says what must have happened before it, and what may be lost.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Event {
    /// A message of `from`, whose identity the embedder has verified. Messages may be lost, doubled, delayed, reordered
    /// or wrong: the core checks everything it reads. Only one thing may not be: a message that left one disk must not
    /// arrive as that of another disk under the same id, after the id was removed and added again.
    Receive {
        /// Who sent it.
        from: NodeId,
        /// What it says.
        message: Message,
    },
    /// Append a command to the log. Answered in the same step by `Proposed` or `ProposalRefused`.
    Propose {
        /// The embedder's name for it; only echoed.
        proposal: ProposalId,
        /// The command.
        data: Bytes,
    },
    /// Change the membership (dissertation §4). Answered in the same step by `Proposed` or `ProposalRefused`. In force
    /// from then on, done when the entry is committed and, after a change of several voters, its joint configuration is
    /// left.
    Reconfigure {
        /// The embedder's name for it; only echoed.
        proposal: ProposalId,
        /// What is to change.
        change: Change,
    },
    /// Hand leadership over (dissertation §3.10). Answered by exactly one `TransferEnded`, an election timeout and a
    /// heartbeat later at the latest. Proposals are refused until then; reads go on.
    Transfer {
        /// The embedder's name for it; only echoed.
        transfer: TransferId,
        /// To whom; `None` for the voter that has most of the log.
        to: Option<NodeId>,
    },
    /// Find the index from which a linearizable read of this node's state may be served (dissertation §6.4): at a leader,
    /// or at a follower or learner, which asks the leader. Answered by exactly one `ReadReady` or `ReadAborted`, perhaps
    /// much later.
    Read {
        /// The embedder's name for it; only echoed.
        read: ReadId,
    },
    /// Everything asked for by `Persist` actions up to and including `id` is on disk, synced. Cumulative; an older or
    /// repeated id is harmless. An id is never reported before its bytes are durable: all safety rests on this.
    Persisted {
        /// The id of the last of them.
        id: PersistId,
    },
    /// The embedder's state up to `snapshot.id.last.index` is in a durable, verified snapshot file, so the log up to there
    /// may go. Any applied index at any moment, also while an `Apply` is being handled; one at or below the current
    /// snapshot is ignored. `snapshot`'s position, stamp and configuration are those of
    /// [`Raft::snapshot_point`](super::Raft::snapshot_point).
    Snapshotted {
        /// The file.
        snapshot: Box<SnapshotMeta>,
    },
    /// The bytes of a `WriteSnapshotChunk` action, and all before them, are written (not necessarily synced).
    SnapshotChunkWritten {
        /// The snapshot being received.
        snapshot: SnapshotId,
        /// Bytes below this offset are written.
        written: u64,
    },
    /// The snapshot of an `InstallSnapshot` action is verified, durable under its own name, and its state is loaded beside
    /// the running one, ready to be switched to. Answered by `SwitchSnapshot` or `DropSnapshot`.
    SnapshotInstalled {
        /// Which one.
        snapshot: SnapshotId,
    },
    /// The snapshot of an `InstallSnapshot` action did not verify or could not be loaded; its bytes are gone. Or the bytes of
    /// a `WriteSnapshotChunk` action could not be written, for want of space: the leader sends them again after a while.
    SnapshotFailed {
        /// Which one.
        snapshot: SnapshotId,
    },
    /// The connection to `peer` broke: what was in flight is probably lost. Only an optimisation; may be omitted.
    Unreachable {
        /// Whose connection.
        peer: NodeId,
    },
    /// Bytes of an unfinished frame arrived from `peer`: if it leads, it is alive. Only an optimisation.
    Contact {
        /// Whose bytes.
        peer: NodeId,
    },
    /// The time of the last `WakeAt` has come, or an earlier one; an early wake is harmless. Stepped last in a batch.
    Wake,
}
