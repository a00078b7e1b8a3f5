//! Committed entries on their way into the state: a step applies as many as it has time for.
//!
//! Few bytes of the log can be much work, and the core hands out all that is committed at once. What a step leaves here is
//! applied by the next ones, before anything that comes later.

use alloc::collections::VecDeque;

use crate::raft::Entries;

/// Entries that the core handed out and that are not applied, in the log's order.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    runs: VecDeque<Entries>,
    /// How many of the first run were taken; never all.
    taken: usize,
    /// How many entries wait.
    len: usize,
    /// How many waited at the end of the last step, or are committed on the disk at the start.
    stood: usize,
}

impl Backlog {
    /// The core is about to hand out at most so many entries that were committed in an earlier life.
    pub(super) fn of_recovered(committed: u64) -> Self {
        Self { stood: usize::try_from(committed).unwrap_or(usize::MAX), ..Self::default() }
    }

    /// Whether more entries wait than are wanted, and more than did at the end of the last step.
    pub(super) fn has_outgrown(&self, wanted: usize) -> bool {
        self.len > wanted.max(self.stood)
    }

    /// A step ends.
    pub(super) fn stand(&mut self) {
        self.stood = self.len;
    }

    /// How many entries wait.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The core handed these out.
    pub(super) fn push(&mut self, entries: Entries) {
        if !entries.is_empty() {
            self.len += entries.len();
            self.runs.push_back(entries);
        }
    }

    /// The run of entries to which the next one belongs, and where in it that is.
    pub(super) fn first_run(&self) -> Option<(Entries, usize)> {
        self.runs.front().map(|run| (run.clone(), self.taken))
    }

    /// The next entry is taken.
    pub(super) fn take_one(&mut self) {
        let Some(run) = self.runs.front() else { return };
        self.taken += 1;
        self.len -= 1;
        if self.taken == run.len() {
            self.runs.pop_front();
            self.taken = 0;
        }
    }

    /// A snapshot that is newer than all of them took their place.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}
