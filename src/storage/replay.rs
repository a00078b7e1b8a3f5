//! What the records of a log, in order, amount to: a snapshot, and the entries after it.

use alloc::vec::Vec;

use crate::raft::{Entries, Entry, LogIndex, SnapshotMeta, SnapshotSwitch};

/// The log as far as it is read.
#[derive(Debug)]
pub(super) struct Replay {
    snapshot: Option<SnapshotMeta>,
    entries: Vec<Entry>,
    commit: LogIndex,
    /// The index that follows.
    next: LogIndex,
    /// Whether entries were seen at all: the first ones may begin anywhere, since segments below a snapshot go.
    begun: bool,
}

/// Entries do not follow those before them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Gap {
    pub(super) expected: LogIndex,
    pub(super) found: LogIndex,
}

impl Replay {
    /// The empty log.
    pub(super) fn new() -> Self {
        Self { snapshot: None, entries: Vec::new(), commit: 0, next: 1, begun: false }
    }

    /// The index that follows the last one.
    pub(super) fn next_index(&self) -> LogIndex {
        self.next
    }

    /// The snapshot that the log goes on from, so far.
    pub(super) fn snapshot(&self) -> Option<&SnapshotMeta> {
        self.snapshot.as_ref()
    }

    fn base(&self) -> LogIndex {
        self.snapshot.as_ref().map_or(0, |s| s.id.last.index)
    }

    /// Takes a record's snapshot switch. Entries at or below the snapshot go (STORAGE row 13).
    pub(super) fn switch(&mut self, switch: SnapshotSwitch) {
        let last = switch.snapshot.id.last.index;
        if switch.keeps_suffix || planted!("recovery-keeps-the-suffix") {
            let held = last.saturating_sub(u64::from(planted!("snapshot-covers-one-less")));
            let covered = self.entries.partition_point(|e| e.id.index <= held);
            self.entries.drain(..covered);
        } else {
            self.entries.clear();
        }
        if self.entries.is_empty() {
            self.next = last.saturating_add(1);
        }
        self.commit = self.commit.max(last);
        self.snapshot = Some(switch.snapshot);
    }

    /// Takes a record's entries; where the log has the first one's index already, it is cut there.
    pub(super) fn append(&mut self, entries: &Entries) -> Result<(), Gap> {
        let Some(first) = entries.first().map(|e| e.id.index) else { return Ok(()) };
        if first == 0 || (self.begun && first > self.next) {
            return Err(Gap { expected: self.next, found: first });
        }
        self.begun = true;
        let kept = self.entries.partition_point(|e| e.id.index < first);
        let is_cut = kept < self.entries.len();
        if is_cut && !planted!("recovery-keeps-what-was-cut") {
            self.entries.truncate(kept);
        }
        let end = self.entries.last().map_or(self.base(), |e| e.id.index);
        self.entries.extend(entries.iter().filter(|e| e.id.index > end).cloned());
        let after = first.saturating_add(entries.len() as u64);
        self.next = after.max(end.saturating_add(1));
        Ok(())
    }

    /// Takes a record's commit index.
    pub(super) fn commit(&mut self, commit: LogIndex) {
        self.commit = self.commit.max(commit);
    }

    /// The snapshot, the entries after it, the commit index within them.
    pub(super) fn finish(self) -> Result<(Option<SnapshotMeta>, Entries, LogIndex), Gap> {
        let expected = self.base().saturating_add(1);
        match self.entries.first().map(|e| e.id.index) {
            Some(found) if found != expected => Err(Gap { expected, found }),
            None if self.next != expected => Err(Gap { expected, found: self.next }),
            Some(_) | None => {
                let commit = self.commit.min(self.next.saturating_sub(1));
                Ok((self.snapshot, self.entries.into(), commit))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raft::{Configuration, EntryKind, LogId, SnapshotId, Stamp};
    use bytes::Bytes;

    fn entries(term: u64, indexes: core::ops::RangeInclusive<u64>) -> Entries {
        let entry = |index| Entry {
            id: LogId::new(term, index),
            kind: EntryKind::NoOp,
            stamp: Stamp::default(),
            data: Bytes::new(),
        };
        indexes.map(entry).collect()
    }

    fn switch(index: u64, keeps_suffix: bool) -> SnapshotSwitch {
        let id = SnapshotId { last: LogId::new(1, index), checksum: 0 };
        let configuration = Configuration::default();
        let snapshot = SnapshotMeta { id, len: 0, stamp: Stamp::default(), configuration };
        SnapshotSwitch { snapshot, keeps_suffix }
    }

    fn indexes(replay: Replay) -> Result<Vec<(u64, u64)>, Gap> {
        replay.finish().map(|(_, e, _)| e.iter().map(|e| (e.id.index, e.id.term)).collect())
    }

    #[test]
    fn a_record_cuts_where_the_log_has_its_first_index() {
        let mut replay = Replay::new();
        replay.append(&entries(1, 1..=4)).unwrap();
        replay.append(&entries(2, 3..=3)).unwrap();
        assert_eq!(replay.next_index(), 4);
        assert_eq!(indexes(replay), Ok([(1, 1), (2, 1), (3, 2)].into()));
    }

    #[test]
    fn row_13_entries_at_or_below_the_snapshot_are_skipped_and_a_gap_is_a_refusal() {
        let mut replay = Replay::new();
        replay.append(&entries(1, 1..=5)).unwrap();
        replay.switch(switch(3, true));
        assert_eq!(replay.append(&entries(1, 7..=7)), Err(Gap { expected: 6, found: 7 }));
        assert_eq!(indexes(replay), Ok([(4, 1), (5, 1)].into()));

        let mut replay = Replay::new();
        replay.append(&entries(1, 1..=5)).unwrap();
        replay.switch(switch(9, false));
        replay.append(&entries(2, 10..=10)).unwrap();
        assert_eq!(indexes(replay), Ok([(10, 2)].into()));
    }

    #[test]
    fn row_13_the_oldest_segment_may_begin_behind_its_snapshot_only_if_a_later_one_covers_the_hole() {
        let mut replay = Replay::new();
        replay.switch(switch(3, true));
        replay.append(&entries(1, 7..=9)).unwrap();
        replay.append(&entries(2, 5..=9)).unwrap();
        replay.switch(switch(6, true));
        assert_eq!(indexes(replay), Ok([(7, 2), (8, 2), (9, 2)].into()));

        let mut replay = Replay::new();
        replay.switch(switch(3, true));
        replay.append(&entries(1, 7..=9)).unwrap();
        assert_eq!(indexes(replay), Err(Gap { expected: 4, found: 7 }));
    }

    #[test]
    fn the_commit_hint_is_held_within_the_log() {
        let mut replay = Replay::new();
        replay.append(&entries(1, 1..=5)).unwrap();
        replay.commit(9);
        assert_eq!(replay.finish().map(|r| r.2), Ok(5));
        let mut replay = Replay::new();
        replay.switch(switch(3, true));
        assert_eq!(replay.finish().map(|r| r.2), Ok(3));
    }
}
