//! What always holds between two steps, whatever peers and disks do.

use super::progress::Sending;
use super::role::State;
use super::{LogIndex, Raft};

impl Raft {
    /// The first invariant that does not hold.
    pub(super) fn broken_invariant(&self) -> Option<&'static str> {
        let (base, last) = (self.log.base(), self.log.last());
        let snapshot = self.snapshot.as_ref().map_or(0, |s| s.id.last.index);
        let checks = [
            (base.index <= snapshot, "the log was compacted past the snapshot"),
            (snapshot <= self.applied, "the snapshot is past what is applied"),
            (self.applied <= self.commit, "an entry was applied before it was committed"),
            (self.commit <= last.index, "the commit index is past the log"),
            (last.term <= self.hard.term, "the log is of a later term than this node"),
            (self.writes.persisted() <= last.index, "more is on disk than in the log"),
            (self.writes.handed() <= last.index, "more was handed to the disk than is in the log"),
            (self.writes.done() <= self.writes.issued(), "a write is done that was not issued"),
            (self.membership.latest_index() <= last.index, "the configuration is past the log"),
            (self.membership.at(base.index).is_some(), "no configuration is known at the log's base"),
            (
                self.halted
                    || (self.writes.handed() == last.index && !self.hard_is_new && self.switch.is_none()),
                "a step ended with something unwritten",
            ),
        ];
        checks
            .into_iter()
            .find(|(holds, _)| !holds)
            .map(|(_, what)| what)
            .or_else(|| self.log.defect())
            .or_else(|| match &self.state {
                State::PreCandidate(_) | State::Candidate(_) | State::Leader(_)
                    if self.membership.latest().names_twin(self.config.id, self.disk) =>
                {
                    Some("this node counts itself for another disk under its id")
                }
                State::Leader(_) => self.broken_as_leader(last.index),
                State::Candidate(_) if self.hard.vote != Some(self.config.id) => {
                    Some("a candidate voted for another")
                }
                State::Follower | State::PreCandidate(_) | State::Candidate(_) => {
                    (self.leader == Some(self.config.id)).then_some("a follower believes that it leads")
                }
            })
    }

    fn broken_as_leader(&self, last: LogIndex) -> Option<&'static str> {
        let State::Leader(lead) = &self.state else { return None };
        if self.leader != Some(self.config.id) || self.hard.vote != Some(self.config.id) {
            return Some("a leader does not know that it leads");
        }
        if lead.uncommitted != self.log.bytes_between(self.commit + 1, last) {
            return Some("a leader's uncommitted bytes are miscounted");
        }
        if lead.widen_at.is_some() && lead.reads.len() == 0 && !self.halted {
            return Some("a leader would ask everybody for the sake of no read");
        }
        for (_, peer) in lead.peers.iter() {
            if peer.next <= peer.matched {
                return Some("a peer's next is not past its matched");
            }
            if peer.matched > last || peer.next > last + 1 {
                return Some("a peer is past its leader's log");
            }
            if peer.round > lead.round {
                return Some("a peer answered a round that never left");
            }
            if let Sending::Snapshot(transfer) = &peer.sending
                && transfer.written > transfer.meta.len
            {
                return Some("more of a snapshot was written than there is");
            }
        }
        let known = self.acquaintances();
        if lead.peers.iter().any(|(id, _)| !known.contains_key(&id)) {
            return Some("a leader has a peer that is not a member");
        }
        let members = &self.membership.latest().members;
        let without = members.keys().any(|&id| id != self.config.id && !lead.peers.contains(id));
        without.then_some("a leader sends nothing to a member")
    }
}
