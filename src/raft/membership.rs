//! The configuration: who the members are, where they are reached, which disk each one's word counts from.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use serde::{Deserialize, Serialize};

use super::NodeId;

/// The name of one disk: 128 random bits drawn when a data directory is made. A node with another disk is another
/// voter, whatever its [`NodeId`] says.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DiskId(pub u128);

impl fmt::Debug for DiskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Display for DiskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// One member of the cluster. The core carries the addresses; it never uses them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// The disk whose votes and acknowledgements count.
    pub disk: DiskId,
    /// Where peers reach it, `host:port`.
    pub peer_address: String,
    /// Where clients reach it, `host:port`.
    pub client_address: String,
}

/// The members and the two majorities that a decision needs (§6; dissertation §4.3).
///
/// Outside a change `outgoing` is empty. A member in neither list is a learner: it receives the log and does not count.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Configuration {
    /// Everyone who receives the log, voter or learner.
    pub members: BTreeMap<NodeId, Member>,
    /// The voters; during a joint configuration those of the new half. Ascending, without duplicates.
    pub voters: Vec<NodeId>,
    /// During a joint configuration the voters of the old half, otherwise empty. Ascending, without duplicates.
    pub outgoing: Vec<NodeId>,
    /// Outgoing voters that become learners when the joint configuration is left.
    pub learners_next: Vec<NodeId>,
    /// Whether the leader leaves the joint configuration by itself as soon as it is committed.
    pub auto_leave: bool,
}

impl Configuration {
    /// A configuration in which every one of `members` votes.
    pub fn of_voters(members: BTreeMap<NodeId, Member>) -> Self {
        let voters = members.keys().copied().collect();
        Self { members, voters, ..Self::default() }
    }

    /// Whether `id` has a vote, in either half.
    pub fn is_voter(&self, id: NodeId) -> bool {
        self.voters.binary_search(&id).is_ok() || self.outgoing.binary_search(&id).is_ok()
    }

    /// Whether a change is under way.
    pub fn is_joint(&self) -> bool {
        !self.outgoing.is_empty()
    }
}
