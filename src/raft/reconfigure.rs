//! Changes of the membership (dissertation §4): when one may be appended, and what follows when it is in force, committed,
//! or both.
//!
//! A configuration is in force from where it is appended. While it is not committed, whoever was a member before it still has
//! a part: a leader that it removes leads on without counting itself (§4.2.2), and whoever it removes gets the log until
//! it is committed, so that it learns of its removal.

use alloc::collections::BTreeMap;

use super::change::left;
use super::progress::{Progress, Sending};
use super::quorum::majority;
use super::role::State;
use super::{
    Action, Actions, Change, ChangeRefused, Configuration, Entries, EntryKind, LogId, LogIndex, Member,
    Message, NodeId, ProposalId, Raft, Refusal,
};

impl Raft {
    /// A change at a leader: appended, and in force, or refused, in this step.
    pub(super) fn on_reconfigure(&mut self, proposal: ProposalId, change: &Change, out: &mut Actions) {
        let State::Leader(lead) = &self.state else { return };
        let checked = match &lead.handover {
            Some(handover) => Err(Refusal::Transferring(handover.to)),
            None => self.check_change(change).map_err(Refusal::Change),
        };
        match checked {
            Ok(next) => {
                let index = self.append_configuration(next);
                out.push(Action::Proposed { proposal, index, term: self.hard.term });
            }
            Err(reason) => out.push(Action::ProposalRefused { proposal, reason }),
        }
    }

    /// What the configuration would become.
    fn check_change(&self, change: &Change) -> Result<Configuration, ChangeRefused> {
        let State::Leader(lead) = &self.state else { return Err(ChangeRefused::TooEarly) };
        let current = self.membership.latest();
        // Two changes of two leaders might share no majority, unless the later leader has committed something after the
        // earlier one's (trap 15).
        if self.commit < lead.first && !planted!("change-before-an-own-entry") {
            return Err(ChangeRefused::TooEarly);
        }
        let index = self.membership.latest_index();
        let leaves = change.steps.is_empty() && !current.auto_leave;
        if (index > self.commit || (current.is_joint() && !leaves)) && !planted!("changes-overlap") {
            return Err(ChangeRefused::UnderWay { index });
        }
        let next = change.apply(current)?;
        if !change.force {
            change.promoted().try_for_each(|id| self.check_caught_up(id))?;
            self.check_reachable(&next.voters)?;
            self.check_reachable(&next.outgoing)?;
        }
        Ok(next)
    }

    /// Whether a learner is there and has so much of the log that its vote stops nothing (dissertation §4.2.1).
    fn check_caught_up(&self, node: NodeId) -> Result<(), ChangeRefused> {
        if !self.is_in_contact(node) {
            return Err(ChangeRefused::Unreachable(node));
        }
        let matched = self.progress_of(node).map_or(0, |peer| peer.matched);
        let last = self.log.last().index;
        let bytes = self.log.bytes_between(matched + 1, last);
        if matched < self.log.base().index || bytes > self.config.max_promotion_lag_bytes {
            return Err(ChangeRefused::NotCaughtUp { node, matched, last, bytes });
        }
        Ok(())
    }

    /// Whether a majority of these voters is there (trap 20).
    fn check_reachable(&self, voters: &[NodeId]) -> Result<(), ChangeRefused> {
        let reachable = voters.iter().filter(|&&id| id == self.config.id || self.is_in_contact(id)).count();
        let needed = majority(voters);
        if reachable < needed && !voters.is_empty() && !planted!("hopeless-change-is-made") {
            return Err(ChangeRefused::CouldNotCommit { reachable, needed });
        }
        Ok(())
    }

    fn progress_of(&self, id: NodeId) -> Option<&Progress> {
        match &self.state {
            State::Leader(lead) => lead.peers.get(id),
            State::Follower | State::PreCandidate(_) | State::Candidate(_) => None,
        }
    }

    /// Whether this leader has heard of a peer within an election timeout, and in its term: that a leader gives everybody
    /// time when it begins means nothing here.
    pub(super) fn is_in_contact(&self, id: NodeId) -> bool {
        let is_heard = |peer: &&Progress| peer.matched > 0 || peer.round > 0;
        let Some(peer) = self.progress_of(id).filter(is_heard) else { return false };
        self.now.mono.saturating_sub(peer.contact) < self.config.election_timeout
    }

    /// A leader's next configuration, in force from here on.
    fn append_configuration(&mut self, next: Configuration) -> LogIndex {
        let index = self.append(EntryKind::Configuration, next.to_cbor()).index;
        self.membership.push(index, next);
        self.configuration_switched();
        index
    }

    /// Another configuration is in force at a leader: whoever came gets the log, and what a majority had to say is counted
    /// anew (trap 18).
    fn configuration_switched(&mut self) {
        let (me, next) = (self.config.id, self.log.last().index + 1);
        // Who is new was not heard yet.
        let contact = self.now.mono.saturating_sub(self.config.election_timeout);
        let State::Leader(lead) = &mut self.state else { return };
        for &id in self.membership.latest().members.keys().filter(|&&id| id != me) {
            lead.peers.add(id, Progress::new(next, contact));
        }
        lead.stamp = None;
        lead.lease.lose();
        // Reads are counted anew when the batch ends.
        if !planted!("switch-counts-nothing-anew") {
            self.advance_commit();
        }
    }

    /// What follows when the configuration in force is committed: a joint one is left, whoever was removed is let go, and a
    /// leader without a vote hands over. After each event, so that a batch leaves the same log as its events one by one.
    #[inline]
    pub(super) fn tend_membership(&mut self, out: &mut Actions) {
        let State::Leader(lead) = &mut self.state else { return };
        let index = self.membership.latest_index();
        if lead.settled == Some(index) || self.commit < index.max(lead.first) {
            return;
        }
        lead.settled = Some(index);
        self.settle_membership(out);
    }

    #[cold]
    fn settle_membership(&mut self, out: &mut Actions) {
        self.dismiss(out);
        let latest = self.membership.latest();
        if !latest.is_joint() {
            if !latest.is_voter(self.config.id) {
                self.resign(out);
            }
        } else if latest.auto_leave && !planted!("joint-is-not-left") {
            // A new leader finishes what the one before began (trap 17).
            let next = left(latest);
            self.append_configuration(next);
        }
    }

    /// Lets go of those who are no members any more, with a last word: who has the entry that removes it learns that it is
    /// committed.
    fn dismiss(&mut self, out: &mut Actions) {
        let (term, commit) = (self.hard.term, self.commit);
        let State::Leader(lead) = &mut self.state else { return };
        let members = &self.membership.latest().members;
        for (to, peer) in lead.peers.iter().filter(|(id, _)| !members.contains_key(id)) {
            let Sending::Replicate(_) = &peer.sending else { continue };
            let Some(at) = self.log.term(peer.next - 1) else { continue };
            let previous = LogId::new(at, peer.next - 1);
            let message = Message::Append { term, previous, entries: Entries::empty(), commit };
            out.push(Action::Send { to, message });
        }
        lead.peers.retain(|id| members.contains_key(&id));
    }

    /// Whether this node may campaign: it has a vote, or it had one in a configuration that is not replaced for certain.
    /// Such a one may have the only log that can commit the change that removes it; it does not count itself
    /// (dissertation §4.2.2, trap 19). One that is installing a snapshot would lead, or lose, with a log that is about to be
    /// replaced (trap 5). One with another disk than a configuration names has no vote there (trap 25): it may be the first
    /// to read, on its way to its own addition, how its predecessor was a voter.
    pub(super) fn may_campaign(&self) -> bool {
        let (me, disk) = (self.config.id, self.disk);
        let installing = self.incoming.as_ref().is_some_and(|incoming| incoming.installing);
        if installing && !planted!("installing-node-campaigns") {
            return false;
        }
        let latest = if planted!("removed-node-never-campaigns") { LogIndex::MAX } else { self.commit };
        // Who has taken this node's place was added after the removal of this disk was committed.
        let is_replaced = self.membership.latest().names_twin(me, disk);
        let has_vote = |c: &Configuration| {
            c.is_voter(me) && (c.names(me, disk) || planted!("fresh-disk-inherits-a-vote"))
        };
        !is_replaced && self.membership.since(latest).any(has_vote)
    }

    /// Whether this node was a member in this life, is none any more for certain, and no leader speaks to it for an election
    /// timeout. One that does may be about to tell that this node was added again.
    pub fn is_removed(&self) -> bool {
        let (me, disk) = (self.config.id, self.disk);
        let mut configurations = self.membership.since(self.commit);
        self.was_member && self.leader.is_none() && configurations.all(|c| !c.names(me, disk))
    }

    /// Everyone whom this node may have to talk to, with the newest addresses: the members of the committed configuration
    /// and of all later ones. Until a removal is committed, who is removed may lead it to its end.
    pub fn acquaintances(&self) -> BTreeMap<NodeId, &Member> {
        let known = self.membership.since(self.commit).flat_map(|configuration| &configuration.members);
        known.map(|(&id, member)| (id, member)).collect()
    }
}
