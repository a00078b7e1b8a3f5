//! Changes of the membership (dissertation §4), as data: what is asked for, which configuration comes of it, and why it may
//! be refused.
//!
//! ```text
//!            voters differ by one at most
//!  C ───────────────────────────────────────────────────► C'
//!    ╲                                                   ╱
//!     ╲ by more                              committed, ╱  by itself or when told
//!      ╰────────► joint: C and C' both decide ─────────╯
//! ```

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use super::{Configuration, ConfigurationError, LogIndex, Member, NodeId};

/// A change of the membership: arbitrary steps that take effect together.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Change {
    /// What is to be done, in order. None leaves a joint configuration that does not leave by itself.
    pub steps: Vec<MemberChange>,
    /// When more than one voter comes or goes, two majorities decide for a while (joint consensus, dissertation §4.3).
    /// Whether the leader ends that by itself as soon as it is committed.
    pub auto_leave: bool,
    /// Make it although a learner that gets a vote is far behind, or so few of the voters are reachable that the change
    /// may never commit. Then nothing else commits either.
    pub force: bool,
}

/// One step of a [`Change`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MemberChange {
    /// A new member receives the log and does not count (dissertation §4.2.1).
    AddLearner {
        /// Its name. A node that was removed may come back under its old one, with the same disk or another one.
        id: NodeId,
        /// Its disk and addresses.
        member: Member,
    },
    /// A learner gets a vote.
    Promote(NodeId),
    /// A voter becomes a learner.
    Demote(NodeId),
    /// A member leaves.
    Remove(NodeId),
    /// A member is reached elsewhere.
    Readdress {
        /// Which one.
        id: NodeId,
        /// Where peers reach it.
        peer_address: String,
        /// Where clients reach it.
        client_address: String,
    },
}

impl Change {
    /// One step. Every single step is a change of at most one voter, and needs no joint configuration.
    pub fn one(step: MemberChange) -> Self {
        Self::all([step].into())
    }

    /// Steps that take effect together; a joint configuration is left without further ado.
    pub fn all(steps: Vec<MemberChange>) -> Self {
        Self { steps, auto_leave: true, force: false }
    }

    /// Leaves a joint configuration that was entered with [`auto_leave`](Self::auto_leave) off.
    pub fn leave() -> Self {
        Self::all(Vec::new())
    }

    /// The configuration that `current` becomes when this is appended.
    ///
    /// # Errors
    ///
    /// A step that makes no sense for who is a member by then, or a result without voters or with too many members.
    pub fn apply(&self, current: &Configuration) -> Result<Configuration, ChangeRefused> {
        if self.steps.is_empty() {
            return if current.is_joint() { Ok(left(current)) } else { Err(ChangeRefused::NoChange) };
        }
        let mut next = current.clone();
        for step in &self.steps {
            take(&mut next, current, step)?;
        }
        next.voters.sort_unstable();
        if next == *current {
            return Err(ChangeRefused::NoChange);
        }
        let came = next.voters.iter().filter(|id| !current.voters.contains(id)).count();
        let mut went = current.voters.clone();
        went.retain(|id| !next.voters.contains(id));
        if came + went.len() > 1 {
            next.learners_next = went.iter().filter(|id| next.members.contains_key(id)).copied().collect();
            // Who goes counts in the old half until the joint configuration is left, and so needs the log until then.
            for (&id, member) in current.members.iter().filter(|(id, _)| went.contains(id)) {
                next.members.entry(id).or_insert_with(|| member.clone());
            }
            next.outgoing.clone_from(&current.voters);
            next.auto_leave = self.auto_leave;
        }
        next.validate().map_err(ChangeRefused::Invalid)?;
        Ok(next)
    }

    /// The learners that get a vote by it.
    pub(super) fn promoted(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.steps.iter().filter_map(|step| match step {
            MemberChange::Promote(id) => Some(*id),
            MemberChange::AddLearner { .. }
            | MemberChange::Demote(_)
            | MemberChange::Remove(_)
            | MemberChange::Readdress { .. } => None,
        })
    }
}

/// One step, with `current` as it was before all of them.
fn take(next: &mut Configuration, current: &Configuration, step: &MemberChange) -> Result<(), ChangeRefused> {
    match step {
        // An id that this very change removes still counts with its old disk in the old half.
        MemberChange::AddLearner { id, .. }
            if next.members.contains_key(id) || current.members.contains_key(id) =>
        {
            return Err(ChangeRefused::AlreadyMember(*id));
        }
        MemberChange::AddLearner { id, member } => {
            next.members.insert(*id, member.clone());
        }
        MemberChange::Promote(id) => {
            known(next, *id)?;
            if next.voters.contains(id) {
                return Err(ChangeRefused::AlreadyVoter(*id));
            }
            next.voters.push(*id);
        }
        MemberChange::Demote(id) => {
            known(next, *id)?;
            if !next.voters.contains(id) {
                return Err(ChangeRefused::NotVoter(*id));
            }
            next.voters.retain(|voter| voter != id);
        }
        MemberChange::Remove(id) => {
            known(next, *id)?;
            next.members.remove(id);
            next.voters.retain(|voter| voter != id);
        }
        MemberChange::Readdress { id, peer_address, client_address } => {
            let Some(member) = next.members.get_mut(id) else { return Err(ChangeRefused::NotMember(*id)) };
            member.peer_address.clone_from(peer_address);
            member.client_address.clone_from(client_address);
        }
    }
    Ok(())
}

fn known(configuration: &Configuration, id: NodeId) -> Result<(), ChangeRefused> {
    configuration.members.contains_key(&id).then_some(()).ok_or(ChangeRefused::NotMember(id))
}

/// What a joint configuration becomes when it is left (dissertation §4.3): the new half decides alone.
pub(super) fn left(joint: &Configuration) -> Configuration {
    let mut next = joint.clone();
    next.members.retain(|id, _| {
        joint.voters.binary_search(id).is_ok()
            || joint.outgoing.binary_search(id).is_err()
            || joint.learners_next.binary_search(id).is_ok()
    });
    next.outgoing.clear();
    next.learners_next.clear();
    next.auto_leave = false;
    next
}

/// Why a change was refused: nothing was appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ChangeRefused {
    /// Another change is not committed, or its joint configuration is not left: one at a time.
    UnderWay {
        /// The index of its entry.
        index: LogIndex,
    },
    /// No entry of this leader's own term is committed yet (the erratum to dissertation §4.1): try again at once.
    TooEarly,
    /// It would change nothing.
    NoChange,
    /// This node is not a member.
    NotMember(NodeId),
    /// This node is a member already, or this very change removes it.
    AlreadyMember(NodeId),
    /// This node has a vote already.
    AlreadyVoter(NodeId),
    /// This node has no vote.
    NotVoter(NodeId),
    /// What would come of it is no configuration.
    Invalid(ConfigurationError),
    /// A learner that is to get a vote lacks more than [`Config::max_promotion_lag_bytes`](super::Config::max_promotion_lag_bytes)
    /// of the log (dissertation §4.2.1): with its vote in force nothing would commit until it has caught up.
    NotCaughtUp {
        /// The learner.
        node: NodeId,
        /// It certainly has the log up to here.
        matched: LogIndex,
        /// The log goes on to here.
        last: LogIndex,
        /// What it lacks, in packed bytes, as far as the log still has it.
        bytes: usize,
    },
    /// A learner that is to get a vote was not heard of within an election timeout.
    Unreachable(NodeId),
    /// Of the voters that would decide, too few were heard of within an election timeout: the change, and everything after
    /// it, could never commit.
    CouldNotCommit {
        /// Voters that were heard of.
        reachable: usize,
        /// As many are needed.
        needed: usize,
    },
}

impl fmt::Display for ChangeRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnderWay { index } => {
                write!(f, "the change at index {index} is not done yet; wait for it, then try again")
            }
            Self::TooEarly => f.write_str("the leader was elected just now; try again"),
            Self::NoChange => f.write_str("this changes nothing"),
            Self::NotMember(id) => write!(f, "node {id} is not a member"),
            Self::AlreadyMember(id) => {
                write!(f, "node {id} is a member; remove it first, then add it by a change of its own")
            }
            Self::AlreadyVoter(id) => write!(f, "node {id} has a vote already"),
            Self::NotVoter(id) => write!(f, "node {id} has no vote"),
            Self::Invalid(error) => write!(f, "no configuration would come of it: {error}"),
            Self::NotCaughtUp { node, matched, last, bytes } => write!(
                f,
                "node {node} has the log up to index {matched} of {last}, {bytes} bytes behind; \
                 try again when it has caught up"
            ),
            Self::Unreachable(id) => write!(f, "node {id} cannot be reached; start it first, or force it"),
            Self::CouldNotCommit { reachable, needed } => write!(
                f,
                "it could not commit: of the voters that decide {reachable} can be reached and {needed} are needed; \
                 start or remove the others first, or force it"
            ),
        }
    }
}

impl core::error::Error for ChangeRefused {}

#[cfg(test)]
mod tests {
    use std::vec;

    use super::super::{DiskId, MAX_ADDRESS, MAX_MEMBERS};
    use super::MemberChange::{AddLearner, Demote, Promote, Readdress, Remove};
    use super::*;

    fn member(id: u64) -> Member {
        Member { disk: DiskId(id.into()), peer_address: "p".into(), client_address: "c".into() }
    }

    fn of(voters: &[u64], learners: &[u64]) -> Configuration {
        let ids = voters.iter().chain(learners);
        let mut configuration = Configuration::of_voters(ids.map(|&id| (NodeId(id), member(id))).collect());
        configuration.voters = nodes(voters);
        configuration
    }

    fn nodes(ids: &[u64]) -> Vec<NodeId> {
        ids.iter().map(|&id| NodeId(id)).collect()
    }

    fn add(id: u64) -> MemberChange {
        AddLearner { id: NodeId(id), member: member(id) }
    }

    fn after(
        configuration: &Configuration,
        steps: Vec<MemberChange>,
    ) -> Result<Configuration, ChangeRefused> {
        Change::all(steps).apply(configuration)
    }

    #[test]
    fn a_single_change_needs_no_joint_configuration() {
        let three = of(&[1, 2, 3], &[]);
        assert_eq!(after(&three, vec![add(4)]), Ok(of(&[1, 2, 3], &[4])));
        assert_eq!(after(&of(&[1, 2], &[3]), vec![Promote(NodeId(3))]), Ok(three.clone()));
        assert_eq!(after(&three, vec![Demote(NodeId(1))]), Ok(of(&[2, 3], &[1])));
        assert_eq!(after(&three, vec![Remove(NodeId(2))]), Ok(of(&[1, 3], &[])));
        // Learners count for nothing: any number of them may come and go beside one voter.
        let many = vec![add(5), add(6), Remove(NodeId(4)), Promote(NodeId(5))];
        assert_eq!(after(&of(&[1, 2, 3], &[4]), many), Ok(of(&[1, 2, 3, 5], &[6])));
    }

    #[test]
    fn several_voters_change_jointly_and_who_goes_stays_until_the_end() {
        let start = of(&[1, 2, 3], &[4, 5]);
        let steps = vec![Promote(NodeId(4)), Promote(NodeId(5)), Remove(NodeId(1)), Demote(NodeId(2))];
        let joint = after(&start, steps).unwrap();
        let expected = Configuration {
            voters: nodes(&[3, 4, 5]),
            outgoing: nodes(&[1, 2, 3]),
            learners_next: nodes(&[2]),
            auto_leave: true,
            ..start
        };
        assert_eq!(joint, expected);
        assert_eq!(left(&joint), of(&[3, 4, 5], &[2]));
        assert_eq!(Change::leave().apply(&joint), Ok(of(&[3, 4, 5], &[2])));
    }

    #[test]
    fn learners_beside_a_joint_change_stay() {
        let start = of(&[1, 2], &[3, 4]);
        let joint = after(&start, vec![Promote(NodeId(3)), Remove(NodeId(2)), add(5)]).unwrap();
        assert!(joint.is_joint());
        assert_eq!(left(&joint), of(&[1, 3], &[4, 5]));
    }

    #[test]
    fn an_address_changes_and_nothing_else() {
        let moved = Readdress { id: NodeId(2), peer_address: "new".into(), client_address: "c".into() };
        let mut expected = of(&[1, 2, 3], &[]);
        expected.members.get_mut(&NodeId(2)).unwrap().peer_address = "new".into();
        assert_eq!(after(&of(&[1, 2, 3], &[]), vec![moved]), Ok(expected));
    }

    #[test]
    fn nonsense_is_refused_and_says_what() {
        use ChangeRefused::*;
        use ConfigurationError::*;
        let start = of(&[1, 2, 3], &[4]);
        let long = Member { peer_address: "x".repeat(MAX_ADDRESS + 1), ..member(9) };
        let twin = Member { disk: DiskId(2), ..member(9) };
        let cases = [
            (vec![add(3)], AlreadyMember(NodeId(3))),
            (vec![add(0)], Invalid(Stranger(NodeId(0)))),
            (vec![Remove(NodeId(3)), add(3)], AlreadyMember(NodeId(3))),
            (vec![Promote(NodeId(9))], NotMember(NodeId(9))),
            (vec![Promote(NodeId(1))], AlreadyVoter(NodeId(1))),
            (vec![Demote(NodeId(4))], NotVoter(NodeId(4))),
            (vec![Demote(NodeId(9))], NotMember(NodeId(9))),
            (vec![Remove(NodeId(9))], NotMember(NodeId(9))),
            (vec![Remove(NodeId(1)), Demote(NodeId(2)), Demote(NodeId(3))], Invalid(NoVoters)),
            (vec![Demote(NodeId(1)), Promote(NodeId(1))], NoChange),
            (vec![], NoChange),
            (vec![AddLearner { id: NodeId(9), member: long }], Invalid(LongAddress(NodeId(9)))),
            (vec![AddLearner { id: NodeId(9), member: twin }], Invalid(SameDisk(NodeId(9)))),
            ((5..=MAX_MEMBERS as u64 + 1).map(add).collect(), Invalid(TooManyMembers)),
        ];
        for (steps, refused) in cases {
            assert_eq!(after(&start, steps.clone()), Err(refused), "{steps:?}");
        }
    }

    /// Every majority of the voters before a single change meets every one of those after it; joint ones are met by both.
    #[test]
    fn majorities_before_and_after_a_change_always_meet() {
        let subsets =
            |n: u64| (1..1u32 << n).map(move |bits| (1..=n).filter(move |i| bits >> (i - 1) & 1 == 1));
        let is_quorum = |configuration: &Configuration, yes: u32| {
            super::super::quorum::agreed(configuration, |id| u64::from(yes >> (id.0 - 1) & 1)) == 1
        };
        for before in subsets(4) {
            let before: Vec<u64> = before.collect();
            let others: Vec<u64> = (1..=4).filter(|id| !before.contains(id)).collect();
            let current = of(&before, &others);
            for after in subsets(4) {
                let after = nodes(&after.collect::<Vec<_>>());
                let promote = after.iter().filter(|id| !current.voters.contains(id)).map(|&id| Promote(id));
                let demote = current.voters.iter().filter(|id| !after.contains(id)).map(|&id| Demote(id));
                let Ok(next) = Change::all(promote.chain(demote).collect()).apply(&current) else { continue };
                let mut steps = vec![current.clone(), next.clone()];
                steps.extend(next.is_joint().then(|| left(&next)));
                for pair in steps.windows(2) {
                    for (one, other) in (0..16).flat_map(|a| (0..16).map(move |b| (a, b))) {
                        let both = is_quorum(&pair[0], one) && is_quorum(&pair[1], other);
                        assert!(!both || one & other != 0, "{pair:?} {one:b} {other:b}");
                    }
                }
                assert_eq!(steps.last().map(|c| &c.voters), Some(&after));
            }
        }
    }
}
