//! Why a core halts: because of what it finds in itself, or because what a peer says and what is here cannot both be true,
//! so that a disk has lost what it promised. Never because of what a client said.

use core::fmt;

use super::{LogId, LogIndex, NodeId};

/// A reason to stop that a person has to act on.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// A leader's log contradicts an entry that this node knows to be committed: one of the disks lost what it promised.
    CommittedConflict {
        /// Who sent it.
        leader: NodeId,
        /// Our committed entry.
        ours: LogId,
        /// What the leader has there.
        theirs: LogId,
    },
    /// A member claims to have on disk what this leader never had.
    MatchBeyondLog {
        /// Who claims it.
        peer: NodeId,
        /// The index claimed.
        matched: LogIndex,
        /// This leader's last index.
        last: LogIndex,
    },
    /// The leader says that this node has on disk, and acknowledged in this term, what it has not.
    CommitBeyondLog {
        /// Who says it.
        leader: NodeId,
        /// What this node certainly has.
        commit: LogIndex,
        /// This node's last index.
        last: LogIndex,
    },
    /// The embedder broke the contract of a door.
    Contract(&'static str),
    /// An invariant of the core does not hold: a defect of this library.
    Invariant(&'static str),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CommittedConflict { leader, ours, theirs } => write!(
                f,
                "node {leader} sent entry {theirs:?} where entry {ours:?} is committed: a disk lost synced data; \
                 remove and re-add the node whose disk is at fault"
            ),
            Self::MatchBeyondLog { peer, matched, last } => write!(
                f,
                "node {peer} acknowledged index {matched}, past this leader's last index {last}: \
                 this node's disk lost synced data; remove and re-add this node"
            ),
            Self::CommitBeyondLog { leader, commit, last } => write!(
                f,
                "node {leader} has this node's acknowledgement of index {commit}, past this node's last index {last}: \
                 this node's disk lost synced data; remove and re-add this node"
            ),
            Self::Contract(what) => write!(f, "the embedder broke the contract: {what}"),
            Self::Invariant(what) => write!(f, "a defect in quorate: {what}; please report it"),
        }
    }
}

impl core::error::Error for Fault {}
