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
    /// How many of the first run are applied; never all.
    begun: usize,
    /// How many entries wait.
    len: usize,
}

impl Backlog {
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

    /// The run that the next entry is in, and its place there.
    pub(super) fn first(&self) -> Option<(Entries, usize)> {
        self.runs.front().map(|run| (run.clone(), self.begun))
    }

    /// The first `count` entries of the run are applied.
    pub(super) fn applied(&mut self, count: usize) {
        let Some(run) = self.runs.front() else { return };
        self.len = self.len.saturating_sub(count.saturating_sub(self.begun));
        self.begun = count;
        if self.begun >= run.len() {
            self.runs.pop_front();
            self.begun = 0;
        }
    }

    /// A snapshot that is newer than all of them took their place.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}
