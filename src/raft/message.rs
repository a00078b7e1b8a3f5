//! What one core says to another. Any message may be lost, doubled, delayed or reordered.

use alloc::boxed::Box;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{Configuration, Entries, LogId, LogIndex, Stamp, Term};
use crate::time::Millis;

/// The number of a round of heartbeats; grows within a leader's term, starts at 1 in each.
pub type Round = u64;

/// Names a question of one node to its leader; never used twice on one disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct QueryId {
    /// Which life of the asking node: [`Recovered::life`](super::Recovered::life).
    pub life: u64,
    /// Grows with each question of that life.
    pub number: u64,
}

/// A message between two members.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Message {
    /// Asks whether an election would be won, before any term is disturbed (dissertation §9.6).
    PreVote {
        /// The term that the sender would campaign in: one above its own.
        term: Term,
        /// The end of the sender's log.
        last: LogId,
    },
    /// The answer to a [`PreVote`](Self::PreVote).
    PreVoteReply {
        /// The request's term when granted, the answerer's own when refused.
        term: Term,
        /// Whether the sender would get this vote.
        granted: bool,
    },
    /// RequestVote (§5.2). Leaves only after the candidate's own term and vote are on its disk.
    Vote {
        /// The candidate's term.
        term: Term,
        /// The end of the candidate's log.
        last: LogId,
        /// The leader makes way for this campaign: nobody need be loyal to it (dissertation §4.2.3).
        transfer: bool,
    },
    /// The answer to a [`Vote`](Self::Vote). A granted one leaves only after the vote is on disk.
    VoteReply {
        /// The answerer's term.
        term: Term,
        /// Whether the vote was given.
        granted: bool,
        /// The answerer's wall clock: a leader knows a majority's clocks from its first entry on.
        wall: Millis,
    },
    /// AppendEntries (§5.3) with at least one entry, or a probe with none.
    Append {
        /// The leader's term.
        term: Term,
        /// The position before the first of `entries`.
        previous: LogId,
        /// What follows it.
        entries: Entries,
        /// The leader's commit index.
        commit: LogIndex,
    },
    /// The follower's log holds, durably, the leader's up to `matched`.
    AppendAccepted {
        /// The follower's term.
        term: Term,
        /// The last index that agrees and is on the follower's disk.
        matched: LogIndex,
    },
    /// The follower's log has no entry at the probed position.
    AppendRejected {
        /// The follower's term.
        term: Term,
        /// `previous.index` of the append that is refused.
        probed: LogIndex,
        /// Where the leader should look next: the last position of the follower's log that could agree.
        hint: LogId,
    },
    /// The leader is alive, tells what is committed, and asks whether it still is the leader (§8, dissertation §6.4).
    Heartbeat {
        /// The leader's term.
        term: Term,
        /// This round's number; 0, which no round is, when nothing is asked.
        round: Round,
        /// min(match index of the receiver, commit index): what the receiver certainly has.
        commit: LogIndex,
    },
    /// The answer to a [`Heartbeat`](Self::Heartbeat).
    HeartbeatReply {
        /// The answerer's term.
        term: Term,
        /// The round that is answered; 0, which no round is, when it was one of an earlier term.
        round: Round,
        /// The answerer's wall clock: the leader keeps log time near the majority's.
        wall: Millis,
    },
    /// The leader makes way for the receiver, which has the whole log: campaign at once (dissertation §3.10).
    TimeoutNow {
        /// The leader's term.
        term: Term,
    },
    /// Asks the leader from which index on a state serves a linearizable read (dissertation §6.4).
    ReadIndex {
        /// The asker's term.
        term: Term,
        /// Names the question.
        query: QueryId,
    },
    /// The answer to a [`ReadIndex`](Self::ReadIndex).
    ReadIndexReply {
        /// The leader's term.
        term: Term,
        /// The question.
        query: QueryId,
        /// What must be applied first.
        index: LogIndex,
    },
    /// A piece of a snapshot (§7).
    SnapshotChunk {
        /// The leader's term.
        term: Term,
        /// Which snapshot, and what it covers.
        snapshot: Box<SnapshotMeta>,
        /// Where in the file `data` begins.
        offset: u64,
        /// The bytes.
        data: Bytes,
    },
    /// How far a snapshot has come; also the receiver's request to resume from there.
    SnapshotReply {
        /// The answerer's term.
        term: Term,
        /// Which snapshot.
        snapshot: SnapshotId,
        /// Its state at the receiver.
        progress: SnapshotProgress,
    },
}

/// A receiver's state of one snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum SnapshotProgress {
    /// Bytes below this offset are written; the next chunk starts here.
    Written(u64),
    /// The snapshot is installed, or was not needed: the receiver's log durably agrees up to this index.
    Installed(LogIndex),
    /// The bytes did not verify: start again.
    Corrupt,
}

impl Message {
    /// The term that the message carries.
    pub fn term(&self) -> Term {
        match self {
            Self::PreVote { term, .. }
            | Self::PreVoteReply { term, .. }
            | Self::Vote { term, .. }
            | Self::VoteReply { term, .. }
            | Self::Append { term, .. }
            | Self::AppendAccepted { term, .. }
            | Self::AppendRejected { term, .. }
            | Self::Heartbeat { term, .. }
            | Self::HeartbeatReply { term, .. }
            | Self::TimeoutNow { term }
            | Self::ReadIndex { term, .. }
            | Self::ReadIndexReply { term, .. }
            | Self::SnapshotChunk { term, .. }
            | Self::SnapshotReply { term, .. } => *term,
        }
    }
}

impl Message {
    /// Whether this is an answer, whose word counts by whose it is.
    pub fn is_reply(&self) -> bool {
        match self {
            Self::PreVoteReply { .. }
            | Self::VoteReply { .. }
            | Self::AppendAccepted { .. }
            | Self::AppendRejected { .. }
            | Self::HeartbeatReply { .. }
            | Self::ReadIndexReply { .. }
            | Self::SnapshotReply { .. } => true,
            Self::PreVote { .. }
            | Self::Vote { .. }
            | Self::Append { .. }
            | Self::Heartbeat { .. }
            | Self::TimeoutNow { .. }
            | Self::ReadIndex { .. }
            | Self::SnapshotChunk { .. } => false,
        }
    }
}

/// Names a snapshot file by its contents: two files of one id are the same bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SnapshotId {
    /// The last entry that the snapshot covers.
    pub last: LogId,
    /// The checksum of the whole file.
    pub checksum: u64,
}

/// A saved snapshot, and what a log needs to go on from it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SnapshotMeta {
    /// Its name.
    pub id: SnapshotId,
    /// The length of the file in bytes.
    pub len: u64,
    /// The clocks of the log at `id.last`.
    pub stamp: Stamp,
    /// The configuration committed at `id.last`.
    pub configuration: Configuration,
}
