//! Commitment (§5.3, §5.4.2), and what is committed on its way to the embedder.

use super::role::State;
use super::{Action, Actions, LogIndex, Raft, quorum};

/// Most packed bytes of one `Apply`, unless its only entry is longer.
const APPLY_BYTES: usize = 1 << 20;

impl Raft {
    /// The last entry that a leader has on its own disk.
    #[inline]
    pub(super) fn counts_itself_up_to(&self) -> LogIndex {
        if planted!("own-disk-is-not-awaited") { self.log.last().index } else { self.writes.persisted() }
    }

    /// Counts: the leader's commit index is the last one that a majority holds on disk, the leader only if it does itself.
    pub(super) fn advance_commit(&mut self) {
        let State::Leader(lead) = &self.state else { return };
        let (me, own) = (self.config.id, self.counts_itself_up_to());
        let index = quorum::agreed(self.membership.latest(), |id| {
            if id == me { own } else { lead.peers.get(id).map_or(0, |p| p.matched) }
        });
        // An entry of an earlier term may be on a majority and be replaced all the same (figure 8, trap 9): only under an
        // entry of this term it cannot.
        if self.log.term(index) == Some(self.hard.term) || planted!("earlier-term-is-counted") {
            self.commit_to(index);
        }
    }

    /// Entries up to `index`, which are in the log, are committed.
    pub(super) fn commit_to(&mut self, index: LogIndex) {
        if index <= self.commit {
            return;
        }
        if let State::Leader(lead) = &mut self.state {
            let committed = self.log.bytes_between(self.commit + 1, index);
            lead.uncommitted = lead.uncommitted.saturating_sub(committed);
            if index >= lead.first && self.commit < lead.first {
                lead.reads.open(index);
            }
        }
        self.membership.committed(self.commit, index);
        self.commit = index;
    }

    /// Hands out what is committed and was not handed out.
    #[inline]
    pub(super) fn apply(&mut self, out: &mut Actions) {
        while self.applied < self.commit {
            let from = self.applied + 1;
            out.add(|| {
                let entries = self.log.fitting_run(from, self.commit, APPLY_BYTES);
                self.applied = entries.last_id().map_or(from, |last| last.index);
                Action::Apply(entries)
            });
        }
    }
}
