//! The door out: everything a core asks of its embedder.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::iter;

use bytes::Bytes;

use super::log::Piece;
use super::{
    ChangeRefused, Entries, Fault, LogIndex, Message, NodeId, SnapshotId, SnapshotMeta, Term, TransferFailed,
    TransferId,
};
use crate::time::Micros;

/// Numbers the writes of one incarnation of a core, from 1; never reused, so that a completion can be mistaken for no
/// other.
pub type PersistId = u64;

/// The embedder's name for a proposal.
pub type ProposalId = u64;

/// The embedder's name for a read.
pub type ReadId = u64;

/// Something to be done. Actions are in the order in which they were decided; each says how much of that order matters.
///
/// What is rare and large is boxed, here and in [`Event`](super::Event) and [`Message`]: each is moved several times on its
/// way, and all are as long as the largest.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Action {
    /// Write to disk and sync; then step `Event::Persisted`. Writes are performed in the order of their ids. Nothing else
    /// has to wait: the core itself withholds what must not leave before.
    Persist(Persist),
    /// Send a message. It may leave at once, whatever the disk does, and may be lost.
    Send {
        /// To whom.
        to: NodeId,
        /// What to say.
        message: Message,
    },
    /// Committed entries, in log order without a gap, each exactly once in this incarnation. A single node's entries come
    /// only after its own sync.
    Apply(Entries),
    /// The proposal is in the log of this leader at this position. It commits there, or never (then another entry is
    /// applied at this index, or a snapshot passes it).
    Proposed {
        /// Which proposal.
        proposal: ProposalId,
        /// Its index.
        index: LogIndex,
        /// Its term.
        term: Term,
    },
    /// The proposal was certainly not appended.
    ProposalRefused {
        /// Which proposal.
        proposal: ProposalId,
        /// Why.
        reason: Refusal,
    },
    /// A transfer of leadership has ended.
    TransferEnded {
        /// Which one.
        transfer: TransferId,
        /// Whether this node has given its leadership up, or why not. Who leads next is known when it is heard.
        outcome: Result<(), TransferFailed>,
    },
    /// A read of state in which everything up to `index` is applied is linearizable.
    ReadReady {
        /// Which read.
        read: ReadId,
        /// What must be applied first.
        index: LogIndex,
    },
    /// This core cannot serve the read.
    ReadAborted {
        /// Which read.
        read: ReadId,
        /// Why.
        reason: Refusal,
    },
    /// Read `len` bytes at `offset` of the snapshot file and send them to `to` as a `SnapshotChunk` of `term`. May be
    /// dropped at will: the core asks again after a deadline.
    SendSnapshotChunk {
        /// To whom.
        to: NodeId,
        /// The leader's term, for the message.
        term: Term,
        /// Which file. It is pinned until a newer one is sent or the receiver has it.
        snapshot: Box<SnapshotMeta>,
        /// Where to start.
        offset: u64,
        /// How many bytes.
        len: u64,
    },
    /// Write these bytes of a snapshot that is being received to a temporary file, starting it anew at offset 0; then step
    /// `Event::SnapshotChunkWritten`, or `Event::SnapshotFailed` if that cannot be done now.
    WriteSnapshotChunk {
        /// Which snapshot.
        snapshot: Box<SnapshotMeta>,
        /// Where.
        offset: u64,
        /// What.
        data: Bytes,
    },
    /// All bytes of `snapshot` are written: verify them, make the file durable under its own name, load its state beside
    /// the running one; then step `Event::SnapshotInstalled` or `Event::SnapshotFailed`.
    InstallSnapshot {
        /// Which snapshot.
        snapshot: Box<SnapshotMeta>,
    },
    /// Replace the running state by the loaded one: from here on `Apply` continues after `snapshot.id.last.index`.
    SwitchSnapshot {
        /// Which snapshot.
        snapshot: Box<SnapshotMeta>,
    },
    /// The received or loaded snapshot is not needed any more: forget it, its file and its state.
    DropSnapshot {
        /// Which snapshot.
        snapshot: SnapshotId,
    },
    /// Drop these where it delays nothing: a long log that a snapshot has replaced.
    Discard(Discarded),
    /// The core's role, term or known leader changed.
    RoleChanged(RoleChange),
    /// Step `Event::Wake` at this time. Replaces every earlier one. At most one a batch, and only when a deadline has come
    /// nearer than the last one asked for, or after an `Event::Wake`: deadlines that move away, as a follower's does with
    /// each heartbeat, are caught up with when the earlier wake-up comes.
    WakeAt(Micros),
    /// The core found its own state or its disk to be wrong, and does nothing any more.
    Halt(Fault),
}

/// One write of the log stream: the vote record first, then the snapshot switch, then the entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Persist {
    /// To be reported by `Event::Persisted`.
    pub id: PersistId,
    /// Term and vote, when they changed.
    pub vote: Option<HardState>,
    /// The log now begins after this snapshot, when that changed.
    pub snapshot: Option<Box<SnapshotSwitch>>,
    /// Entries to append; where the log on disk already has the first one's index, it is cut there before.
    pub entries: Entries,
    /// The commit index as far as known: only a hint that shortens recovery.
    pub commit: LogIndex,
}

/// Entries that are in no log any more.
#[derive(Debug, Clone, PartialEq)]
pub struct Discarded(pub(super) Vec<Piece>);

/// The log record that names a snapshot (STORAGE: log and snapshot change as one).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotSwitch {
    /// The snapshot that precedes the log.
    pub snapshot: SnapshotMeta,
    /// Whether the log's entries after it stay; otherwise the log is empty after this record.
    pub keeps_suffix: bool,
}

/// What must never be forgotten (§5.1, figure 2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct HardState {
    /// The latest term seen.
    pub term: Term,
    /// Who got this node's vote in that term.
    pub vote: Option<NodeId>,
}

/// The role of a core in its term.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Role {
    /// Follows, knowing the leader or not.
    Follower,
    /// Asks whether an election would be won.
    PreCandidate,
    /// Campaigns.
    Candidate,
    /// Leads.
    Leader,
}

/// What `RoleChanged` reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RoleChange {
    /// The role now.
    pub role: Role,
    /// The term now.
    pub term: Term,
    /// The leader of that term, if known.
    pub leader: Option<NodeId>,
}

/// Why a request was certainly not carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// This node does not lead; who does, if known.
    NotLeader(Option<NodeId>),
    /// More than `Config::max_uncommitted_bytes` wait for a majority already.
    UncommittedFull,
    /// The command is longer than `Config::max_entry_bytes`.
    TooLarge,
    /// `Config::max_pending_reads` reads wait already.
    ReadsFull,
    /// This leader is handing over to that node, and takes nothing until that has succeeded or failed.
    Transferring(NodeId),
    /// The membership cannot be changed like this, or not now.
    Change(ChangeRefused),
    /// The core has halted.
    Halted,
}

/// The actions of one step, in order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Actions(Vec<Action>);

impl Actions {
    /// No actions yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one at the end.
    pub fn push(&mut self, action: Action) {
        self.0.push(action);
    }

    /// Adds the one that `make` makes, and makes it in its place. One that is pushed is put together elsewhere, and copied in
    /// larger pieces than it was just written in: processors wait for that. For what every entry leads to.
    #[inline]
    pub(super) fn add(&mut self, make: impl FnOnce() -> Action) {
        self.0.extend(iter::once_with(make));
    }

    /// Takes all of them, in order, and keeps the space.
    pub fn drain(&mut self) -> impl Iterator<Item = Action> + '_ {
        self.0.drain(..)
    }

    /// Looks at all of them, in order.
    pub fn iter(&self) -> core::slice::Iter<'_, Action> {
        self.0.iter()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

impl IntoIterator for Actions {
    type Item = Action;
    type IntoIter = alloc::vec::IntoIter<Action>;
    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a> IntoIterator for &'a Actions {
    type Item = &'a Action;
    type IntoIter = core::slice::Iter<'a, Action>;
    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}
