//! The configuration: who the members are, where they are reached, which disk each one's word counts from.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{LogIndex, NodeId};

/// Most members of a cluster, learners included.
pub const MAX_MEMBERS: usize = 128;

/// Most bytes of an address.
pub const MAX_ADDRESS: usize = 255;

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
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
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
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
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

    /// Whether this node is a member, with this disk.
    pub fn names(&self, id: NodeId, disk: DiskId) -> bool {
        self.members.get(&id).is_some_and(|member| member.disk == disk)
    }

    /// Whether it names this id with another disk: that is another voter.
    pub(super) fn names_twin(&self, id: NodeId, disk: DiskId) -> bool {
        self.members.get(&id).is_some_and(|member| member.disk != disk)
    }

    /// Whether `id` has a vote, in either half.
    pub fn is_voter(&self, id: NodeId) -> bool {
        self.voters.binary_search(&id).is_ok() || self.outgoing.binary_search(&id).is_ok()
    }

    /// What a node is here, for people: a voter, in a joint configuration of which half if not of both; a learner; or "none".
    pub fn role(&self, id: NodeId) -> &'static str {
        match (self.voters.contains(&id), self.outgoing.contains(&id)) {
            _ if !self.members.contains_key(&id) => "none",
            (true, false) if self.is_joint() => "incoming voter",
            (true, _) => "voter",
            (false, true) => "outgoing voter",
            (false, false) => "learner",
        }
    }

    /// Whether a change is under way.
    pub fn is_joint(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// The form in which it lies in an [`EntryKind::Configuration`](super::EntryKind::Configuration) entry: CBOR.
    pub fn to_cbor(&self) -> Bytes {
        let mut out = Vec::new();
        // A Vec takes every byte, and every field has a CBOR form: this cannot fail.
        let written = ciborium::into_writer(self, &mut out);
        debug_assert!(written.is_ok());
        out.into()
    }

    /// Reads what [`to_cbor`](Self::to_cbor) wrote: all of `data`, and only a configuration that makes sense.
    pub fn from_cbor(data: &[u8]) -> Result<Self, ConfigurationError> {
        let mut rest = data;
        let read: Self = ciborium::de::from_reader_with_recursion_limit(&mut rest, 16)
            .map_err(|_| ConfigurationError::Malformed)?;
        if !rest.is_empty() {
            return Err(ConfigurationError::Malformed);
        }
        read.validate()?;
        Ok(read)
    }

    /// Whether lists are in order and name only members, somebody votes, and nothing is longer than it may be.
    pub fn validate(&self) -> Result<(), ConfigurationError> {
        if self.members.len() > MAX_MEMBERS {
            return Err(ConfigurationError::TooManyMembers);
        }
        let mut disks = BTreeSet::new();
        for (&id, member) in &self.members {
            if member.peer_address.len() > MAX_ADDRESS || member.client_address.len() > MAX_ADDRESS {
                return Err(ConfigurationError::LongAddress(id));
            }
            if !disks.insert(member.disk) {
                return Err(ConfigurationError::SameDisk(id));
            }
        }
        for list in [&self.voters, &self.outgoing, &self.learners_next] {
            if !list.is_sorted_by(|a, b| a < b) {
                return Err(ConfigurationError::Unordered);
            }
            if let Some(&stranger) = list.iter().find(|id| !self.members.contains_key(id)) {
                return Err(ConfigurationError::Stranger(stranger));
            }
        }
        if self.voters.is_empty() {
            return Err(ConfigurationError::NoVoters);
        }
        if self.members.contains_key(&NodeId(0)) {
            return Err(ConfigurationError::Stranger(NodeId(0)));
        }
        Ok(())
    }
}

/// What is wrong with a configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfigurationError {
    /// The bytes are no configuration.
    Malformed,
    /// A list of nodes is not ascending.
    Unordered,
    /// A list names somebody who is not a member (0 is never one).
    Stranger(NodeId),
    /// Nobody votes.
    NoVoters,
    /// More than [`MAX_MEMBERS`] members.
    TooManyMembers,
    /// An address of this member is longer than [`MAX_ADDRESS`] bytes.
    LongAddress(NodeId),
    /// This member's disk is another one's.
    SameDisk(NodeId),
}

impl fmt::Display for ConfigurationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed => f.write_str("the bytes are not a configuration"),
            Self::Unordered => f.write_str("a list of nodes in a configuration is not ascending"),
            Self::Stranger(id) => write!(f, "a configuration names node {id}, which cannot be in it"),
            Self::NoVoters => f.write_str("a configuration without voters"),
            Self::TooManyMembers => write!(f, "a configuration of more than {MAX_MEMBERS} members"),
            Self::LongAddress(id) => write!(f, "an address of node {id} is longer than {MAX_ADDRESS} bytes"),
            Self::SameDisk(id) => write!(f, "the disk of node {id} is another member's"),
        }
    }
}

impl core::error::Error for ConfigurationError {}

/// The configuration as a function of log position (trap 16): each takes effect where it is appended, and goes with the
/// entry that it came in.
#[derive(Debug, Clone)]
pub(super) struct Membership {
    /// Ascending by index; the first is in force from the log's base on.
    pub(super) history: Vec<(LogIndex, Configuration)>,
    nobody: Configuration,
    /// How often [`latest`](Self::latest) may have become another one, or was committed.
    changes: u64,
}

impl Membership {
    /// `configuration` is in force from `index` on.
    pub(super) fn new(index: LogIndex, configuration: Configuration) -> Self {
        Self { history: [(index, configuration)].into(), nobody: Configuration::default(), changes: 0 }
    }

    /// Begins anew with `configuration`, in force from `index` on.
    pub(super) fn reset(&mut self, index: LogIndex, configuration: Configuration) {
        *self = Self { changes: self.changes + 1, ..Self::new(index, configuration) };
    }

    /// A number that grows whenever the configuration in force may have become another one, or is committed.
    pub(super) fn changes(&self) -> u64 {
        self.changes
    }

    /// The configuration in force.
    pub(super) fn latest(&self) -> &Configuration {
        self.history.last().map_or(&self.nobody, |(_, c)| c)
    }

    /// The configuration as of `index`; `None` if that is before the log's base.
    pub(super) fn at(&self, index: LogIndex) -> Option<&Configuration> {
        let later = self.history.partition_point(|(since, _)| *since <= index);
        self.history.get(later.checked_sub(1)?).map(|(_, c)| c)
    }

    /// An entry at `index` brings `configuration`.
    pub(super) fn push(&mut self, index: LogIndex, configuration: Configuration) {
        self.history.push((index, configuration));
        self.changes += 1;
    }

    /// The commit index goes from `before` to `commit`: what is replaced for certain is in force for nobody any more.
    pub(super) fn committed(&mut self, before: LogIndex, commit: LogIndex) {
        let mut later = self.history.iter().rev().take_while(|(since, _)| *since > before);
        self.changes += u64::from(later.any(|(since, _)| *since <= commit));
    }

    /// The configuration as of `index` and all later ones, oldest first.
    pub(super) fn since(&self, index: LogIndex) -> impl DoubleEndedIterator<Item = &Configuration> {
        let later = self.history.partition_point(|(since, _)| *since <= index);
        self.history.iter().skip(later.saturating_sub(1)).map(|(_, configuration)| configuration)
    }

    /// The log loses its entries from `from` on.
    pub(super) fn truncate(&mut self, from: LogIndex) {
        let before = self.history.len();
        self.history.retain(|(since, _)| *since < from || planted!("cut-configuration-stays"));
        self.changes += u64::from(self.history.len() != before);
    }

    /// The log's base is at `index` now.
    pub(super) fn compact(&mut self, index: LogIndex) {
        let later = self.history.partition_point(|(since, _)| *since <= index);
        self.history.drain(..later.saturating_sub(1));
    }

    /// The index that the last configuration came at.
    pub(super) fn latest_index(&self) -> LogIndex {
        self.history.last().map_or(0, |(since, _)| *since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn voters<const N: usize>(ids: [u64; N]) -> Configuration {
        let member = |id: u64| Member {
            disk: DiskId(u128::MAX - u128::from(id)),
            peer_address: "p".into(),
            client_address: "c".into(),
        };
        Configuration::of_voters(ids.into_iter().map(|id| (NodeId(id), member(id))).collect())
    }

    #[test]
    fn a_configuration_comes_back_from_its_entry() {
        let mut joint = voters([1, 2, 3]);
        joint.outgoing = [NodeId(1), NodeId(2)].into();
        joint.auto_leave = true;
        assert_eq!(Configuration::from_cbor(&joint.to_cbor()), Ok(joint));
    }

    #[test]
    fn a_role_says_in_which_half_a_voter_counts() {
        let mut joint = voters([1, 2, 3, 4]);
        joint.voters = [1, 2].map(NodeId).into();
        assert_eq!(joint.role(NodeId(1)), "voter");
        joint.outgoing = [2, 3].map(NodeId).into();
        let roles = [1, 2, 3, 4, 5].map(|id| joint.role(NodeId(id)));
        assert_eq!(roles, ["incoming voter", "voter", "outgoing voter", "learner", "none"]);
    }

    #[test]
    fn nonsense_is_refused() {
        let good = voters([1, 2]);
        let image = good.to_cbor();
        for cut in 0..image.len() {
            assert_eq!(Configuration::from_cbor(&image[..cut]), Err(ConfigurationError::Malformed));
        }
        let mut long = image.to_vec();
        long.push(0);
        assert_eq!(Configuration::from_cbor(&long), Err(ConfigurationError::Malformed));
        let with = |change: fn(&mut Configuration)| {
            let mut c = good.clone();
            change(&mut c);
            Configuration::from_cbor(&c.to_cbor())
        };
        assert_eq!(with(|c| c.voters.reverse()), Err(ConfigurationError::Unordered));
        assert_eq!(with(|c| c.voters.clear()), Err(ConfigurationError::NoVoters));
        assert_eq!(with(|c| c.outgoing.push(NodeId(9))), Err(ConfigurationError::Stranger(NodeId(9))));
    }

    #[test]
    fn trap_16_truncation_restores_the_earlier_configuration() {
        let mut membership = Membership::new(0, Configuration::default());
        membership.push(1, voters([1, 2, 3]));
        membership.push(5, voters([1, 2, 4]));
        assert_eq!(membership.at(4), Some(&voters([1, 2, 3])));
        assert_eq!(membership.at(5), Some(&voters([1, 2, 4])));
        membership.truncate(5);
        assert_eq!(membership.latest(), &voters([1, 2, 3]));
    }

    #[test]
    fn trap_16_whatever_changes_the_configuration_in_force_is_counted() {
        type Step = fn(&mut Membership);
        let mut membership = Membership::new(0, voters([1]));
        let steps: [(Step, bool); 7] = [
            (|m| m.push(1, voters([1, 2])), true),
            (|m| m.truncate(2), false),
            (|m| m.push(5, voters([1, 2, 3])), true),
            (|m| m.compact(4), false),
            (|m| m.truncate(5), true),
            (|m| m.compact(4), false),
            (|m| m.reset(9, voters([3])), true),
        ];
        for (number, (step, changes)) in steps.into_iter().enumerate() {
            let before = (membership.latest().clone(), membership.changes());
            step(&mut membership);
            assert_eq!(*membership.latest() != before.0, changes, "step {number}");
            assert_eq!(membership.changes() > before.1, changes, "step {number}");
        }
    }

    #[test]
    fn compaction_keeps_what_is_in_force_at_the_base() {
        let mut membership = Membership::new(0, Configuration::default());
        membership.push(1, voters([1]));
        membership.push(5, voters([1, 2]));
        membership.compact(4);
        assert_eq!(membership.at(4), Some(&voters([1])));
        assert_eq!(membership.at(0), None);
        membership.compact(5);
        assert_eq!(membership.at(4), None);
        assert_eq!(membership.latest(), &voters([1, 2]));
    }
}
