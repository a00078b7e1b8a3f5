//! What nodes promise each other, held against their disks: no vote, acknowledgement or answer before its persistence.
//!
//! A promise is known by the frame that carries it. It is checked three times, each time from outside the node:
//!
//! * when it leaves: a node never gives two votes in a term, and never acknowledges what its log does not hold;
//! * when it leaves, now and then, on an image of the disk from which everything unsynced is gone: recovery must find what was
//!   promised there;
//! * when the node starts again: what it promised in any earlier life is what it comes back with.

use std::collections::BTreeMap;
use std::format;
use std::string::String;

use super::ledger::{Ledger, Log};
use crate::codec::peer::PeerMessage;
use crate::raft::{DiskId, HardState, LogIndex, Message, NodeId, Recovered, SnapshotProgress, Status, Term};
use crate::sim::network::{Kind, Kinds};

/// Kinds of frames that may promise something; [`Promises::leaves`] tells which of them do.
pub(super) const PROMISING: Kinds = Kinds::of(&[
    Kind::Vote,
    Kind::VoteReply,
    Kind::HeartbeatReply,
    Kind::AppendAccepted,
    Kind::SnapshotReply,
]);

/// What a node's disk must hold by the time that a frame leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Claim {
    /// At least this term; and if it is exactly this one, then this vote, if there is one.
    vote: HardState,
    /// The log up to this index, with the chain there; none for what is behind a snapshot.
    log: Option<(LogIndex, Option<u64>)>,
}

/// What nodes have promised.
#[derive(Debug, Default)]
pub(super) struct Promises {
    /// By the disk that gave it: another disk is another voter.
    votes: BTreeMap<(Option<DiskId>, Term), NodeId>,
    made: BTreeMap<NodeId, Claim>,
}

impl Promises {
    /// A frame leaves: what its sender's disk must hold, if it promises anything.
    pub(super) fn leaves(
        &mut self,
        (from, disk): (NodeId, Option<DiskId>),
        to: NodeId,
        message: &PeerMessage,
        log: &Log,
        ledger: &Ledger,
    ) -> Result<Option<Claim>, String> {
        let PeerMessage::Raft(message) = message else { return Ok(None) };
        let of_term = |vote| Claim { vote: HardState { term: message.term(), vote }, log: None };
        let claim = match message {
            Message::Vote { .. } => of_term(Some(from)),
            Message::VoteReply { granted: true, .. } => of_term(Some(to)),
            // Round 0 answers a leader whose term is over: it promises nothing, and may leave before the disk has answered.
            Message::HeartbeatReply { round: 1.., .. } => of_term(None),
            Message::AppendAccepted { matched, .. } => {
                Claim { log: Some((*matched, acknowledged(*matched, log, ledger)?)), ..of_term(None) }
            }
            Message::SnapshotReply { progress: SnapshotProgress::Installed(index), .. } => {
                Claim { log: Some((*index, acknowledged(*index, log, ledger)?)), ..of_term(None) }
            }
            _ => return Ok(None),
        };
        if let HardState { term, vote: Some(vote) } = claim.vote {
            let first = *self.votes.entry((disk, term)).or_insert(vote);
            if first != vote {
                return Err(format!(
                    "one vote: in term {term} the vote went to {first:?}, now it goes to {vote:?}"
                ));
            }
        }
        let made = self.made.entry(from).or_default();
        if claim.vote.term > made.vote.term
            || (claim.vote.term == made.vote.term && claim.vote.vote.is_some())
        {
            made.vote = claim.vote;
        }
        if claim.log.map(|(index, _)| index) > made.log.map(|(index, _)| index) {
            made.log = claim.log;
        }
        Ok(Some(claim))
    }

    /// The log of a node was cut at `from`, as a later leader's contradicts it: older promises hold up to there.
    pub(super) fn cut(&mut self, node: NodeId, from: LogIndex, log: &Log, ledger: &Ledger) {
        let Some(claim) = self.made.get_mut(&node) else { return };
        if claim.log.is_some_and(|(index, _)| index >= from) {
            let index = from.saturating_sub(1);
            claim.log = (index > 0).then(|| (index, log.chain(ledger, index)));
        }
    }

    /// The node's disk is another one: what was promised on the old one is known to be lost.
    pub(super) fn disk_changed(&mut self, node: NodeId) {
        self.made.remove(&node);
    }

    /// The core of a new life has shown itself.
    pub(super) fn started(
        &self,
        node: NodeId,
        status: &Status,
        log: &Log,
        ledger: &Ledger,
    ) -> Result<(), String> {
        let Some(claim) = self.made.get(&node) else { return Ok(()) };
        let vote = HardState { term: status.term, vote: status.vote };
        claim.vote.is_kept_by(vote)?;
        let Some((index, Some(chain))) = claim.log else { return Ok(()) };
        if index < status.first_index || log.chain(ledger, index) == Some(chain) {
            return Ok(());
        }
        Err(format!(
            "promise: the log was acknowledged up to {index}, and came back as {:?} with {:?} there",
            status.last,
            log.position(index)
        ))
    }
}

/// The chain up to which a log is acknowledged.
fn acknowledged(index: LogIndex, log: &Log, ledger: &Ledger) -> Result<Option<u64>, String> {
    if index > log.last.index {
        return Err(format!("promise: {index} is acknowledged, and the log ends with {:?}", log.last));
    }
    Ok(log.chain(ledger, index))
}

impl HardState {
    /// Whether this promise is kept by what a disk says.
    fn is_kept_by(self, found: Self) -> Result<(), String> {
        let is_kept = found.term > self.term
            || (found.term == self.term && (self.vote.is_none() || self.vote == found.vote));
        if is_kept {
            Ok(())
        } else {
            Err(format!("promise: {self:?} was promised, and the disk says {found:?}"))
        }
    }
}

impl Claim {
    /// Whether the promise survives the loss of everything unsynced.
    pub(super) fn is_held_by(&self, disk: &Recovered, ledger: &Ledger) -> Result<(), String> {
        self.vote.is_kept_by(disk.vote)?;
        let Some((index, Some(chain))) = self.log else { return Ok(()) };
        if ledger.holds(disk, index, chain) {
            return Ok(());
        }
        let last = disk.entries.last_id();
        let snapshot = disk.snapshot.as_ref().map_or(0, |snapshot| snapshot.id.last.index);
        Err(format!(
            "persistence: the log is acknowledged up to {index}, and synced up to {last:?} after snapshot {snapshot}"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raft::{Entries, LogId, SnapshotId};

    const A: NodeId = NodeId(1);
    const B: NodeId = NodeId(2);
    const C: NodeId = NodeId(3);

    fn grants(term: Term) -> PeerMessage {
        PeerMessage::Raft(Message::VoteReply { term, granted: true, wall: 0 })
    }

    #[test]
    fn a_second_vote_in_a_term_is_caught() {
        let (mut promises, log, ledger) = (Promises::default(), Log::default(), Ledger::default());
        let mut leaves = |to, term| promises.leaves((A, Some(DiskId(1))), to, &grants(term), &log, &ledger);
        assert!(leaves(B, 1).is_ok() && leaves(B, 1).is_ok() && leaves(C, 2).is_ok());
        assert!(leaves(B, 2).is_err_and(|text| text.starts_with("one vote")));
    }

    #[test]
    fn only_an_answer_to_a_round_of_its_term_promises_the_term() {
        let (mut promises, log, ledger) = (Promises::default(), Log::default(), Ledger::default());
        let mut leaves = |round| {
            let message = PeerMessage::Raft(Message::HeartbeatReply { term: 3, round, wall: 0 });
            promises
                .leaves((A, Some(DiskId(1))), B, &message, &log, &ledger)
                .map(|claim| claim.map(|claim| claim.vote.term))
        };
        assert_eq!((leaves(0), leaves(1)), (Ok(None), Ok(Some(3))));
    }

    #[test]
    fn every_frame_that_promises_is_of_a_kind_that_is_looked_at() {
        let (mut promises, log, ledger) = (Promises::default(), Log::default(), Ledger::default());
        let (term, last, entries) = (1, LogId::ZERO, Entries::empty());
        let snapshot = SnapshotId { last, checksum: 0 };
        let messages = [
            (Message::PreVote { term, last }, false),
            (Message::PreVoteReply { term, granted: true }, false),
            (Message::Vote { term, last, transfer: false }, true),
            (Message::VoteReply { term, granted: true, wall: 0 }, true),
            (Message::Append { term, previous: last, entries, commit: 0 }, false),
            (Message::AppendAccepted { term, matched: 0 }, true),
            (Message::AppendRejected { term, probed: 1, hint: last }, false),
            (Message::Heartbeat { term, round: 1, commit: 0 }, false),
            (Message::HeartbeatReply { term, round: 1, wall: 0 }, true),
            (Message::SnapshotReply { term, snapshot, progress: SnapshotProgress::Installed(0) }, true),
        ];
        for (from, (message, promising)) in (10..).map(NodeId).zip(messages) {
            let message = PeerMessage::Raft(message);
            let wire = message.seal(|_| bytes::Bytes::new()).0.concat();
            let kind = Kind::of(&wire[crate::codec::frame::FRAME_HEADER..]);
            let claim = promises
                .leaves((from, Some(DiskId(from.0.into()))), A, &message, &log, &ledger)
                .expect("a sound promise");
            assert_eq!((claim.is_some(), PROMISING.contains(kind)), (promising, promising), "{message:?}");
        }
    }

    #[test]
    fn what_is_not_in_the_log_cannot_be_acknowledged() {
        let (mut promises, log, ledger) = (Promises::default(), Log::default(), Ledger::default());
        let message = PeerMessage::Raft(Message::AppendAccepted { term: 1, matched: 1 });
        let error =
            promises.leaves((A, Some(DiskId(1))), B, &message, &log, &ledger).expect_err("the log is empty");
        assert!(error.starts_with("promise"), "{error}");
    }

    #[test]
    fn a_vote_is_kept_by_itself_and_by_any_later_term() {
        let promised = HardState { term: 3, vote: Some(B) };
        let kept = |term, vote| promised.is_kept_by(HardState { term, vote }).is_ok();
        assert!(kept(3, Some(B)) && kept(4, None));
        assert!(!kept(3, None) && !kept(3, Some(C)) && !kept(2, Some(B)));
    }
}
