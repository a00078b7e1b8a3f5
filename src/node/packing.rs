//! Entries are packed once: the same bytes go to the disk and to every peer, and a follower writes the very bytes that
//! came in the leader's frame.

use alloc::collections::VecDeque;

use bytes::{Bytes, BytesMut};

use crate::raft::{Entries, Entry};

/// Runs that are remembered: what a turn persists, and what it sends to peers that are a little behind.
const RUNS: usize = 8;

/// Packed bytes that are remembered, unless the newest run alone has more.
const BYTES: usize = 4 << 20;

/// Recently packed runs of entries.
#[derive(Debug, Default)]
pub(super) struct Packing {
    recent: VecDeque<(Entries, Bytes)>,
    bytes: usize,
}

impl Packing {
    /// The packed form of `entries`, from memory where it is there.
    pub(super) fn pack(&mut self, entries: &Entries) -> Bytes {
        if entries.is_empty() {
            return Bytes::new();
        }
        if let Some(packed) = self.recent.iter().rev().find_map(|(run, packed)| part(run, packed, entries)) {
            return packed;
        }
        let mut out = BytesMut::new();
        entries.pack(&mut out);
        let packed = out.freeze();
        self.remember(entries.clone(), packed.clone());
        packed
    }

    /// Takes note that `packed` is what `entries` are when packed.
    pub(super) fn remember(&mut self, entries: Entries, packed: Bytes) {
        self.bytes += packed.len();
        self.recent.push_back((entries, packed));
        while self.recent.len() > RUNS || (self.bytes > BYTES && self.recent.len() > 1) {
            if let Some((_, old)) = self.recent.pop_front() {
                self.bytes = self.bytes.saturating_sub(old.len());
            }
        }
    }
}

/// The bytes of `wanted` within a packed `run`, if it is a part of it: entries of one position are one entry (the log
/// matching property, §5.3), and what lies between two of the same leader's log is the same too.
fn part(run: &Entries, packed: &Bytes, wanted: &Entries) -> Option<Bytes> {
    let (first, last) = (wanted.first()?, wanted.last()?);
    let start = place(run, first)?;
    let end = place(run, last)?;
    if start == 0 && end + 1 == run.len() {
        return Some(packed.clone());
    }
    let from: usize = run.get(..start)?.iter().map(Entry::packed_len).sum();
    let len: usize = run.get(start..=end)?.iter().map(Entry::packed_len).sum();
    (from + len <= packed.len()).then(|| packed.slice(from..from + len))
}

fn place(run: &Entries, entry: &Entry) -> Option<usize> {
    let first = run.first()?;
    let at = usize::try_from(entry.id.index.checked_sub(first.id.index)?).ok()?;
    (run.get(at)?.id == entry.id).then_some(at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raft::{EntryKind, LogId, Stamp};

    fn run(term: u64, indexes: core::ops::RangeInclusive<u64>) -> Entries {
        let entry = |index| Entry {
            id: LogId::new(term, index),
            kind: EntryKind::Command,
            stamp: Stamp::default(),
            data: Bytes::from(alloc::vec![term as u8; index as usize]),
        };
        indexes.map(entry).collect()
    }

    fn fresh(entries: &Entries) -> Bytes {
        let mut out = BytesMut::new();
        entries.pack(&mut out);
        out.freeze()
    }

    #[test]
    fn a_part_of_a_run_is_a_slice_of_its_bytes() {
        let mut packing = Packing::default();
        let whole = packing.pack(&run(1, 5..=9));
        for (from, to) in [(5, 9), (5, 5), (6, 8), (9, 9), (7, 9)] {
            let part = packing.pack(&run(1, from..=to));
            assert_eq!(part, fresh(&run(1, from..=to)));
            assert!(whole.as_ptr_range().contains(&part.as_ptr()), "{from}..={to} was packed anew");
        }
    }

    #[test]
    fn another_term_or_a_longer_run_is_packed_anew() {
        let mut packing = Packing::default();
        packing.pack(&run(1, 5..=9));
        for other in [run(2, 5..=9), run(1, 5..=10), run(1, 4..=9)] {
            assert_eq!(packing.pack(&other), fresh(&other));
        }
    }

    #[test]
    fn memory_is_bounded_in_runs_and_bytes() {
        let mut packing = Packing::default();
        for index in 1..100 {
            packing.pack(&run(index, 1..=3));
        }
        assert_eq!(packing.recent.len(), RUNS);
        packing.remember(run(1, 1..=1), Bytes::from(alloc::vec![0; BYTES + 1]));
        assert_eq!(packing.recent.len(), 1);
        assert_eq!(packing.bytes, BYTES + 1);
    }
}
