//! One cumulative stream of writes, and the answers that wait for it.
//!
//! What must not leave before the disk has answered: a granted vote, a candidate's requests, an acknowledgement of entries
//! or of a snapshot, and any answer in a term that a crash would forget. Everything else leaves at once.

use core::mem;

use super::role::State;
use super::{Action, Actions, Fault, Message, Persist, PersistId, Raft, SnapshotProgress};

impl Raft {
    /// Asks for one write of all that changed since the last one.
    #[inline]
    pub(super) fn write(&mut self, out: &mut Actions) {
        if self.hard_is_new || self.switch.is_some() || self.writes.handed() < self.log.last().index {
            self.write_news(out);
        }
    }

    fn write_news(&mut self, out: &mut Actions) {
        let last = self.log.last().index;
        let first = self.writes.handed() + 1;
        let id = self.writes.issue(last, mem::take(&mut self.staged_bytes));
        let mut vote = mem::take(&mut self.hard_is_new).then_some(self.hard);
        if vote.is_some() {
            self.hard_write = id;
        }
        if planted!("vote-is-forgotten") {
            vote = vote.map(|hard| super::HardState { vote: None, ..hard });
        }
        let snapshot = self.switch.take();
        let commit = self.commit;
        out.add(|| {
            let entries = self.log.run(first, last);
            Action::Persist(Persist { id, vote, snapshot, entries, commit })
        });
    }

    /// Writes up to `id` are durable.
    #[inline]
    pub(super) fn on_persisted(&mut self, id: PersistId, out: &mut Actions) -> Result<(), Fault> {
        if !self.writes.complete(id) {
            return Err(Fault::Contract("a write was reported durable that was never asked for"));
        }
        self.count_own_vote(out);
        if self.counts_itself_up_to() > self.commit {
            self.advance_commit();
        }
        Ok(())
    }

    /// Whether the term and vote of now are on disk.
    pub(super) fn is_vote_durable(&self) -> bool {
        (!self.hard_is_new && self.writes.done() >= self.hard_write) || planted!("vote-leaves-before-sync")
    }

    /// Sends the answers that the disk has released.
    pub(super) fn pay(&mut self, out: &mut Actions) {
        if !self.is_vote_durable() {
            return;
        }
        let term = self.hard.term;
        if let Some(candidate) = self.owed.vote.take() {
            self.send(candidate, Message::VoteReply { term, granted: true, wall: self.now.wall }, out);
        }
        let (State::Follower, Some(leader)) = (&self.state, self.leader) else { return };
        if let Some(round) = self.owed.beat.take() {
            self.send(leader, Message::HeartbeatReply { term, round, wall: self.now.wall }, out);
        }
        let done = self.writes.done();
        if let Some((_, snapshot)) = self.owed.installed.take_if(|(write, _)| *write <= done) {
            let progress = SnapshotProgress::Installed(snapshot.last.index);
            self.send(leader, Message::SnapshotReply { term, snapshot, progress }, out);
        }
        let persisted =
            if planted!("ack-before-sync") { self.writes.handed() } else { self.writes.persisted() };
        let matched = self.owed.agreed.min(persisted);
        // All that was asked about is on disk: also an answer that is no news is due.
        let due = self.owed.acknowledge && persisted >= self.owed.agreed;
        if due || matched > self.owed.acknowledged {
            self.owed.acknowledged = matched;
            self.owed.acknowledge &= !due;
            out.add(|| Action::Send { to: leader, message: Message::AppendAccepted { term, matched } });
        }
    }
}
