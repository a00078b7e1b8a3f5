//! Writes on their way to the disk, and what is on it.
//!
//! A write is known by its id alone, never by (term, index), which may come back after a truncation. Counterexample (trap
//! 13): entry 7 of term 2 is handed to the disk as write 1; a new leader replaces it by entry 7 of term 3, write 2; the
//! completion of write 1 must not say that entry 7 is durable. Therefore a truncation clamps what the writes before it
//! confirm.

use alloc::collections::VecDeque;

use super::{LogIndex, PersistId};

/// One write under way.
#[derive(Debug, Clone, Copy)]
pub(super) struct Write {
    pub(super) id: PersistId,
    /// The log is on disk up to here once this write is.
    pub(super) last: LogIndex,
    pub(super) bytes: usize,
}

/// The stream of writes of one incarnation.
#[derive(Debug, Clone)]
pub(super) struct Writes {
    issued: PersistId,
    done: PersistId,
    handed: LogIndex,
    persisted: LogIndex,
    pub(super) under_way: VecDeque<Write>,
    bytes: usize,
}

impl Writes {
    /// A stream over a disk that holds the log up to `last`.
    pub(super) fn new(last: LogIndex) -> Self {
        Self { issued: 0, done: 0, handed: last, persisted: last, under_way: VecDeque::new(), bytes: 0 }
    }

    /// The id of the last write.
    pub(super) fn issued(&self) -> PersistId {
        self.issued
    }

    /// All writes up to this one are durable.
    pub(super) fn done(&self) -> PersistId {
        self.done
    }

    /// The last index of the log that was handed to the disk.
    pub(super) fn handed(&self) -> LogIndex {
        self.handed
    }

    /// The last index of the log, as it is now, that is durable.
    pub(super) fn persisted(&self) -> LogIndex {
        self.persisted
    }

    /// Packed bytes of entries on their way.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Hands out the id of a write of `bytes` bytes of entries, after which the log on disk ends at `last`.
    pub(super) fn issue(&mut self, last: LogIndex, bytes: usize) -> PersistId {
        self.issued += 1;
        self.handed = last;
        self.bytes += bytes;
        self.under_way.push_back(Write { id: self.issued, last, bytes });
        self.issued
    }

    /// The log was cut (or replaced) so that only what is at or below `index` is what was written.
    pub(super) fn clamp(&mut self, index: LogIndex) {
        self.handed = self.handed.min(index);
        self.persisted = self.persisted.min(index);
        for write in self.under_way.iter_mut().filter(|_| !planted!("overtaken-write-counts")) {
            write.last = write.last.min(index);
        }
    }

    /// The log in memory now begins after `index`, and the next write names the snapshot that replaces what was before.
    pub(super) fn replace(&mut self, index: LogIndex, committed: LogIndex) {
        self.clamp(committed);
        self.handed = index;
    }

    /// Writes up to `id` are durable. False if there never was such a write.
    pub(super) fn complete(&mut self, id: PersistId) -> bool {
        if id > self.issued {
            return false;
        }
        self.done = self.done.max(id);
        while let Some(write) = self.under_way.front().copied().filter(|w| w.id <= id) {
            self.persisted = self.persisted.max(write.last);
            self.bytes -= write.bytes;
            self.under_way.pop_front();
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn completions_are_cumulative_and_repeats_are_harmless() {
        let mut writes = Writes::new(3);
        assert_eq!([writes.issue(4, 10), writes.issue(6, 20), writes.issue(6, 0)], [1, 2, 3]);
        assert!(writes.complete(2) && writes.complete(1) && writes.complete(0));
        assert_eq!((writes.persisted(), writes.done(), writes.bytes()), (6, 2, 0));
        assert!(!writes.complete(4));
    }

    #[test]
    fn trap_13_a_write_overtaken_by_a_truncation_confirms_nothing_past_it() {
        let mut writes = Writes::new(5);
        let old = writes.issue(9, 1);
        writes.clamp(6);
        let new = writes.issue(9, 1);
        writes.complete(old);
        assert_eq!(writes.persisted(), 6);
        writes.complete(new);
        assert_eq!(writes.persisted(), 9);
    }

    #[test]
    fn trap_13_a_truncation_takes_back_what_was_durable() {
        let mut writes = Writes::new(5);
        writes.clamp(3);
        assert_eq!((writes.persisted(), writes.handed()), (3, 3));
    }

    #[test]
    fn a_replaced_log_is_durable_with_the_write_that_names_its_snapshot() {
        let mut writes = Writes::new(5);
        let old = writes.issue(9, 1);
        writes.replace(100, 4);
        assert_eq!(writes.handed(), 100);
        writes.complete(old);
        assert_eq!(writes.persisted(), 4);
        let switch = writes.issue(100, 0);
        writes.complete(switch);
        assert_eq!(writes.persisted(), 100);
    }
}
