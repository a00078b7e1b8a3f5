//! Leadership transfer (dissertation §3.10), with a deadline, and the end of a leader that lost its vote (§4.2.2).
//!
//! The leader takes no more proposals, brings the successor's log to the end of its own, and tells it to campaign at once
//! (`TimeoutNow`). The successor asks for votes as one that its leader makes way for: nobody is loyal to that leader then.

use super::role::State;
use super::{Action, Actions, LogIndex, Message, NodeId, Raft};
use crate::time::Micros;

/// The embedder's name for a transfer.
pub type TransferId = u64;

/// Why leadership was not transferred: this node leads on, or did not lead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum TransferFailed {
    /// This node does not lead; who does, if known.
    NotLeader(Option<NodeId>),
    /// This node leads already.
    AlreadyLeads,
    /// A transfer to this node is under way.
    UnderWay(NodeId),
    /// This node has no vote, or has none any more.
    NotVoter(NodeId),
    /// This node was not heard of within an election timeout.
    Unreachable(NodeId),
    /// No other voter was heard of within an election timeout.
    NoSuccessor,
    /// The successor did not take over within an election timeout.
    TimedOut(NodeId),
    /// The core has halted.
    Halted,
}

impl core::fmt::Display for TransferFailed {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::NotLeader(Some(leader)) => write!(f, "node {leader} leads"),
            Self::NotLeader(None) => f.write_str("no leader is known"),
            Self::AlreadyLeads => f.write_str("this node leads already"),
            Self::UnderWay(to) => write!(f, "a transfer to node {to} is under way"),
            Self::NotVoter(to) => write!(f, "node {to} has no vote"),
            Self::Unreachable(to) => write!(f, "node {to} cannot be reached"),
            Self::NoSuccessor => f.write_str("no other voter can be reached"),
            Self::TimedOut(to) => write!(f, "node {to} did not take over in time; try again"),
            Self::Halted => f.write_str("the node has halted"),
        }
    }
}

impl core::error::Error for TransferFailed {}

/// A transfer under way at a leader.
#[derive(Debug, Clone, Hash)]
pub(super) struct Handover {
    /// The successor.
    pub(super) to: NodeId,
    /// Until when; looked at with each heartbeat.
    pub(super) deadline: Micros,
    /// It was told to campaign, and that was not lost as far as known.
    pub(super) told: bool,
    /// Who asked for it; `None` when the leader has lost its vote.
    pub(super) transfer: Option<TransferId>,
}

impl Raft {
    /// Whom this leader is handing over to. Until that has succeeded or failed it takes no proposals.
    pub fn transferring(&self) -> Option<NodeId> {
        match &self.state {
            State::Leader(lead) => lead.handover.as_ref().map(|handover| handover.to),
            State::Follower | State::PreCandidate(_) | State::Candidate(_) => None,
        }
    }

    /// A leader is asked to hand over to `to`, or to whom it thinks best.
    pub(super) fn on_transfer(&mut self, transfer: TransferId, to: Option<NodeId>, out: &mut Actions) {
        match self.successor(to) {
            Ok(to) => self.begin_handover(to, Some(transfer)),
            Err(reason) => out.push(Action::TransferEnded { transfer, outcome: Err(reason) }),
        }
    }

    /// A transfer at anybody else.
    pub(super) fn refuse_transfer(&self, transfer: TransferId, out: &mut Actions) {
        let outcome = Err(TransferFailed::NotLeader(self.leader));
        out.push(Action::TransferEnded { transfer, outcome });
    }

    /// Who is to lead next: somebody who has a vote and keeps it. While a handover is under way the membership is not changed,
    /// so that the successor stays one (trap 18).
    fn successor(&self, to: Option<NodeId>) -> Result<NodeId, TransferFailed> {
        let State::Leader(lead) = &self.state else { return Err(TransferFailed::NotLeader(self.leader)) };
        if let Some(handover) = &lead.handover {
            return Err(TransferFailed::UnderWay(handover.to));
        }
        let Some(to) = to else { return self.best_successor().ok_or(TransferFailed::NoSuccessor) };
        if to == self.config.id {
            Err(TransferFailed::AlreadyLeads)
        } else if !self.membership.latest().voters.contains(&to) {
            Err(TransferFailed::NotVoter(to))
        } else if !self.is_in_contact(to) {
            Err(TransferFailed::Unreachable(to))
        } else {
            Ok(to)
        }
    }

    /// The voter in contact that has most of the log; of equals the first.
    fn best_successor(&self) -> Option<NodeId> {
        let State::Leader(lead) = &self.state else { return None };
        let matched = |id: &NodeId| lead.peers.get(*id).map_or(0, |peer| peer.matched);
        let voters = self.membership.latest().voters.iter().copied();
        voters.filter(|&id| self.is_in_contact(id)).rev().max_by_key(matched)
    }

    fn begin_handover(&mut self, to: NodeId, transfer: Option<TransferId>) {
        let deadline = self.now.mono.saturating_add(self.config.election_timeout);
        let State::Leader(lead) = &mut self.state else { return };
        // A message that tells the successor to campaign may come at any time of this term, also when this is long given
        // up: then nobody is loyal to this leader, and no promise of loyalty holds any more.
        if !planted!("lease-outlives-a-transfer") {
            lead.lease.revoke();
        }
        lead.handover = Some(Handover { to, deadline, told: false, transfer });
    }

    /// A leader whose removal (or loss of its vote) is committed: hands over, if somebody is there, and follows.
    pub(super) fn resign(&mut self, out: &mut Actions) {
        let best = self.best_successor();
        let State::Leader(lead) = &self.state else { return };
        if lead.handover.is_some() {
            return;
        }
        match best {
            Some(to) => self.begin_handover(to, None),
            None => self.become_follower(self.hard.term, None, out),
        }
    }

    /// With each heartbeat: a handover that takes too long is given up; one whose word may be lost is repeated. False when
    /// this node leads no more.
    pub(super) fn tend_handover(&mut self, out: &mut Actions) -> bool {
        let State::Leader(lead) = &mut self.state else { return false };
        let Some(handover) = &mut lead.handover else { return true };
        handover.told = false;
        if self.now.mono < handover.deadline {
            return true;
        }
        let to = handover.to;
        self.abort_handover(TransferFailed::TimedOut(to), out)
    }

    /// Gives a handover up; a leader without a vote has no other way than to follow. False when it does.
    fn abort_handover(&mut self, reason: TransferFailed, out: &mut Actions) -> bool {
        let votes = self.membership.latest().is_voter(self.config.id);
        let State::Leader(lead) = &mut self.state else { return false };
        if let Some(transfer) = lead.handover.take().and_then(|handover| handover.transfer) {
            out.push(Action::TransferEnded { transfer, outcome: Err(reason) });
        }
        if !votes && lead.settled == Some(self.membership.latest_index()) {
            self.become_follower(self.hard.term, None, out);
            return false;
        }
        true
    }

    /// Tells the successor to campaign, as soon as it has the whole log.
    #[inline]
    pub(super) fn hand_over(&mut self, out: &mut Actions) {
        if matches!(&self.state, State::Leader(lead) if lead.handover.is_some()) {
            self.tell_successor(out);
        }
    }

    fn tell_successor(&mut self, out: &mut Actions) {
        let (term, last): (_, LogIndex) = (self.hard.term, self.log.last().index);
        let State::Leader(lead) = &mut self.state else { return };
        let Some(handover) = lead.handover.as_mut().filter(|handover| !handover.told) else { return };
        let has_all = |matched: LogIndex| matched == last || planted!("successor-lacks-entries");
        if lead.peers.get(handover.to).is_some_and(|peer| has_all(peer.matched)) {
            handover.told = true;
            out.push(Action::Send { to: handover.to, message: Message::TimeoutNow { term } });
        }
    }

    /// The leader makes way for this node: campaign at once, and without asking before.
    pub(super) fn on_timeout_now(&mut self, from: NodeId, out: &mut Actions) {
        if self.hear_leader(from, out) && self.may_campaign() {
            self.campaign(true);
        }
    }
}
