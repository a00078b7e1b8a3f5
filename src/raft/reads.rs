//! Linearizable reads by ReadIndex (dissertation §6.4): the noun, and the verbs of the core.

use alloc::collections::VecDeque;

use super::role::State;
use super::{Action, Actions, LogIndex, Message, NodeId, QueryId, Raft, ReadId, Refusal, Round, quorum};

/// Who is to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Asker {
    /// This node's embedder.
    Own(ReadId),
    /// A peer.
    Peer(NodeId, QueryId),
}

/// One read.
#[derive(Debug, Clone, Copy, Hash)]
struct Pending {
    asker: Asker,
    /// The commit index when it came; unknown before the first commit of the term (trap 21).
    index: Option<LogIndex>,
    /// The round that left after it came; a round that left before proves nothing for it (trap 21).
    round: Option<Round>,
}

/// Reads that wait, oldest first.
#[derive(Debug, Clone, Default, Hash)]
pub(super) struct PendingReads {
    queue: VecDeque<Pending>,
    /// How many, at the back, have no round yet.
    without_round: usize,
}

impl PendingReads {
    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    /// Takes a read; `index` is the commit index, if it is known for sure.
    pub(super) fn push(&mut self, asker: Asker, index: Option<LogIndex>) {
        self.queue.push_back(Pending { asker, index, round: None });
        self.without_round += 1;
    }

    /// From now on the commit index is known: it is `commit`.
    pub(super) fn open(&mut self, commit: LogIndex) {
        for pending in self.queue.iter_mut().filter(|p| p.index.is_none()) {
            pending.index = Some(commit);
        }
    }

    /// Whether a read waits for a round to leave. One without an index waits for the first commit, not for a round.
    pub(super) fn wants_round(&self) -> bool {
        self.without_round > 0 && self.queue.back().is_some_and(|p| p.index.is_some())
    }

    /// A round leaves now, and will speak for every read that has come so far.
    pub(super) fn depart(&mut self, round: Round) {
        let start = self.queue.len() - self.without_round;
        for pending in self.queue.range_mut(start..).filter(|p| p.index.is_some()) {
            pending.round = Some(round);
            self.without_round -= 1;
        }
    }

    /// The next read that round `confirmed` or an earlier one spoke for.
    pub(super) fn pop_confirmed(&mut self, confirmed: Round) -> Option<(Asker, LogIndex)> {
        let front = self.queue.front()?;
        let index = front.index?;
        let confirmed = confirmed.saturating_add(u64::from(planted!("older-round-confirms-read")));
        if front.round? > confirmed && !planted!("read-without-a-round") {
            return None;
        }
        let asker = front.asker;
        self.queue.pop_front();
        Some((asker, index))
    }

    /// These, with every node called by another name.
    #[cfg(feature = "sim")]
    pub(super) fn named(&self, names: &dyn Fn(NodeId) -> NodeId) -> Self {
        let mut named = self.clone();
        for pending in &mut named.queue {
            if let Asker::Peer(id, _) = &mut pending.asker {
                *id = names(*id);
            }
        }
        named
    }

    /// Everything that waits, to be aborted. Peers need not be told: they see that nobody leads.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = ReadId> + '_ {
        self.without_round = 0;
        self.queue.drain(..).filter_map(|pending| match pending.asker {
            Asker::Own(read) => Some(read),
            Asker::Peer(..) => None,
        })
    }
}

impl Raft {
    /// A read at a leader.
    pub(super) fn on_read(&mut self, asker: Asker, out: &mut Actions) {
        // What came before it in the batch may have made room, as it would have by itself.
        if self.is_full_of_reads() {
            self.count_round(out);
        }
        if self.is_full_of_reads() {
            // A peer asks again.
            if let Asker::Own(read) = asker {
                out.push(Action::ReadAborted { read, reason: Refusal::ReadsFull });
            }
            return;
        }
        let (commit, now) = (self.commit, self.now.mono);
        let State::Leader(lead) = &mut self.state else { return };
        let known = commit >= lead.first || planted!("read-before-the-no-op");
        if known && lead.lease.holds(now) {
            return self.answer_read(asker, commit, out);
        }
        lead.reads.push(asker, known.then_some(commit));
    }

    fn is_full_of_reads(&self) -> bool {
        matches!(&self.state, State::Leader(lead) if lead.reads.len() >= self.config.max_pending_reads)
    }

    fn answer_read(&mut self, asker: Asker, index: LogIndex, out: &mut Actions) {
        match asker {
            Asker::Own(read) => out.push(Action::ReadReady { read, index }),
            Asker::Peer(to, query) => {
                self.send(to, Message::ReadIndexReply { term: self.hard.term, query, index }, out);
                let now = self.now.mono;
                if let State::Leader(lead) = &mut self.state
                    && lead.peers.get(to).is_some_and(|peer| peer.told < index)
                {
                    // It can answer only when it knows that so much is committed.
                    lead.tell_at = Some(now);
                }
            }
        }
    }

    /// A peer has answered `round`.
    pub(super) fn note_round(&mut self, from: NodeId, round: Round) {
        let now = self.now.mono;
        let State::Leader(lead) = &mut self.state else { return };
        if let Some(peer) = lead.peers.get_mut(from) {
            // A round that never left is not answered.
            if round <= lead.round {
                peer.answered(round, now);
            }
        }
    }

    /// Where the leader is a majority by itself nobody has to confirm anything. After each event, so that a change of the
    /// membership later in the batch makes no difference.
    #[inline]
    pub(super) fn settle_reads_alone(&mut self, out: &mut Actions) {
        if self.has_reads() {
            let latest = self.membership.latest();
            if latest.voters.as_slice() == [self.config.id] && !latest.is_joint() {
                self.settle_reads(out);
            }
        }
    }

    /// Whether a round's answers mean anything to anybody: a read waits for them, or a lease grows by them.
    #[inline]
    fn has_reads(&self) -> bool {
        matches!(&self.state, State::Leader(lead) if lead.reads.len() > 0 || self.config.lease.is_some())
    }

    /// Lets a round leave if a read wants one, and answers the reads that are confirmed.
    #[inline]
    pub(super) fn settle_reads(&mut self, out: &mut Actions) {
        if self.has_reads() {
            self.send_wanted_round(out);
            self.count_round(out);
        }
    }

    fn send_wanted_round(&mut self, out: &mut Actions) {
        if let State::Leader(lead) = &self.state
            && lead.reads.wants_round()
        {
            self.ask_nearest(out);
        }
    }

    /// Lets a round leave to as few as are a majority with the leader, the nearest ones: those who are not asked have nothing
    /// to do. To everybody if one of the few may be slow, and again to everybody if they turn out to be.
    fn ask_nearest(&mut self, out: &mut Actions) {
        let Some(few) = self.nearest() else { return self.send_round(out) };
        let State::Leader(lead) = &mut self.state else { return };
        let at = self.now.mono.saturating_add(self.config.read_patience());
        lead.widen_at = lead.widen_at.or(Some(at));
        self.send_round_to(|id| few.contains(&id), out);
    }

    /// Whom to ask: `None` for everybody.
    pub(super) fn nearest(&self) -> Option<quorum::Few> {
        let State::Leader(lead) = &self.state else { return None };
        let (last, now, patience) = (self.log.last().index, self.now.mono, self.config.read_patience());
        let few = quorum::nearest(self.membership.latest(), self.config.id, |id| {
            lead.peers.get(id).and_then(|peer| peer.distance(last, patience, now))
        })?;
        (few.len() < lead.peers.len()).then_some(few)
    }

    /// Answers the reads whose round a majority has answered.
    #[inline]
    pub(super) fn answer_reads(&mut self, out: &mut Actions) {
        if self.has_reads() {
            self.count_round(out);
        }
    }

    fn count_round(&mut self, out: &mut Actions) {
        let me = self.config.id;
        let State::Leader(lead) = &mut self.state else { return };
        let (own, peers) = (lead.round, &lead.peers);
        let confirmed = quorum::agreed(self.membership.latest(), |id| {
            if id == me { own } else { peers.get(id).map_or(0, |p| p.round) }
        });
        if let Some(length) = self.config.lease {
            lead.lease.confirm(confirmed, length);
        }
        let mut answered = false;
        while let State::Leader(lead) = &mut self.state
            && let Some((asker, index)) = lead.reads.pop_confirmed(confirmed)
        {
            self.answer_read(asker, index, out);
            answered = true;
        }
        if answered && let State::Leader(lead) = &mut self.state {
            // The few do answer: they have as long again for what still waits.
            let at = self.now.mono.saturating_add(self.config.read_patience());
            lead.widen_at = lead.widen_at.filter(|_| lead.reads.len() > 0).map(|_| at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trap_21_a_round_speaks_only_for_reads_that_came_before_it() {
        let mut reads = PendingReads::default();
        reads.push(Asker::Own(1), Some(5));
        reads.depart(1);
        reads.push(Asker::Own(2), Some(6));
        assert_eq!(reads.pop_confirmed(1), Some((Asker::Own(1), 5)));
        assert_eq!(reads.pop_confirmed(1), None);
        assert!(reads.wants_round());
        reads.depart(2);
        assert_eq!(reads.pop_confirmed(1), None);
        assert_eq!(reads.pop_confirmed(2), Some((Asker::Own(2), 6)));
    }

    #[test]
    fn trap_21_a_read_before_the_first_commit_gets_neither_round_nor_answer() {
        let mut reads = PendingReads::default();
        reads.push(Asker::Own(1), None);
        assert!(!reads.wants_round());
        reads.depart(1);
        assert_eq!(reads.pop_confirmed(9), None);
        reads.open(7);
        assert!(reads.wants_round());
        reads.depart(2);
        assert_eq!(reads.pop_confirmed(1), None);
        assert_eq!(reads.pop_confirmed(2), Some((Asker::Own(1), 7)));
        assert_eq!(reads.len(), 0);
    }

    #[test]
    fn none_is_forgotten() {
        let mut reads = PendingReads::default();
        reads.push(Asker::Own(1), Some(1));
        reads.depart(1);
        reads.push(Asker::Own(2), Some(1));
        assert!(reads.drain().eq([1, 2]));
        assert!(!reads.wants_round());
    }
}
