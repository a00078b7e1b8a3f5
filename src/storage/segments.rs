//! Which segments there are, and which of them no recovery needs any more.

use alloc::collections::VecDeque;

use crate::raft::LogIndex;

/// A segment of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) number: u64,
    /// Bytes that it has space for.
    pub(super) len: u64,
    /// Whether that space was allocated ahead.
    pub(super) allocated: bool,
    /// Bytes that are in use.
    pub(super) used: u64,
    /// The number of its first record.
    pub(super) first: u64,
    /// The highest index of its entries that may still matter; 0 without entries.
    pub(super) last_index: LogIndex,
}

/// A spare: allocated ahead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Spare {
    pub(super) number: u64,
    pub(super) len: u64,
}

/// The segments of the log, ascending; the last one is being written.
#[derive(Debug, Clone, Default)]
pub(super) struct Segments(VecDeque<Segment>);

impl Segments {
    /// The one that is being written.
    pub(super) fn current(&self) -> Option<&Segment> {
        self.0.back()
    }

    /// The one that is being written.
    pub(super) fn current_mut(&mut self) -> Option<&mut Segment> {
        self.0.back_mut()
    }

    /// Goes on in another one.
    pub(super) fn push(&mut self, segment: Segment) {
        self.0.push_back(segment);
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.0.len()
    }

    /// Bytes in use in all of them.
    pub(super) fn used(&self) -> u64 {
        self.0.iter().map(|s| s.used).sum()
    }

    /// The record `sequence` is durable, and no entry above `index` that was written before it matters any more.
    ///
    /// Only segments that end before that record are concerned; its own one took note when the record was planned.
    pub(super) fn cut(&mut self, sequence: u64, index: LogIndex) {
        let ends = self.0.iter().skip(1).filter(|s| s.first <= sequence).count();
        for segment in self.0.iter_mut().take(ends) {
            segment.last_index = segment.last_index.min(index);
        }
    }

    /// The oldest segment, if no recovery needs it: all its entries are covered by the durable snapshot, and the next
    /// segment's first record, which repeats the switch, is durable.
    pub(super) fn removable(&self, snapshot: LogIndex, synced: u64) -> Option<Segment> {
        let oldest = self.0.front()?;
        let next = self.0.get(1)?;
        let next_too =
            oldest.last_index == snapshot.saturating_add(1) && planted!("segment-goes-one-entry-early");
        ((oldest.last_index <= snapshot || next_too) && next.first <= synced).then_some(*oldest)
    }

    /// The oldest segment is gone.
    pub(super) fn remove(&mut self, number: u64) {
        if self.0.front().is_some_and(|s| s.number == number) {
            self.0.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segments() -> Segments {
        let segment = |number, first, last_index| Segment {
            number,
            len: 4096,
            allocated: true,
            used: 10,
            first,
            last_index,
        };
        Segments([segment(1, 1, 50), segment(2, 10, 90), segment(3, 20, 95)].into())
    }

    #[test]
    fn the_oldest_goes_first_and_only_below_a_durable_snapshot() {
        let mut segments = segments();
        assert_eq!(segments.removable(49, 30), None);
        assert_eq!(segments.removable(50, 9), None);
        assert_eq!(segments.removable(50, 10).map(|s| s.number), Some(1));
        segments.remove(2);
        segments.remove(1);
        assert_eq!(segments.removable(90, 30).map(|s| s.number), Some(2));
        segments.remove(2);
        assert_eq!(segments.removable(100, 30), None, "the current one stays");
    }

    #[test]
    fn a_durable_cut_frees_what_lies_above_it_in_earlier_segments_only() {
        let mut segments = segments();
        segments.cut(15, 40);
        let indexes: alloc::vec::Vec<_> = segments.0.iter().map(|s| s.last_index).collect();
        assert_eq!(indexes, [40, 90, 95]);
    }
}
