//! The log in memory: a run of entries after a base, and the shared runs that are handed out of it.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::mem;
use core::ops::Range;

use super::{Discarded, Entries, Entry, LogId, LogIndex, Stamp, Term};

/// Runs remembered for reuse: enough for a write, the appends beside it, and the commits of a few steps before.
const RUNS: usize = 4;

/// Entries `base.index + 1 ..= last().index`, without a gap.
#[derive(Debug, Clone)]
pub(super) struct Log {
    base: LogId,
    base_stamp: Stamp,
    entries: VecDeque<Logged>,
    /// The position of the last entry, or the base: every step asks for it several times.
    last: LogId,
    last_stamp: Stamp,
    /// Packed bytes of all that was ever before the first entry, by the count that `Logged::end` goes on with.
    start: u64,
    /// The same up to the end of the last entry.
    end: u64,
    runs: Vec<Run>,
    /// Which run is forgotten for the next one.
    oldest: usize,
    none: Entries,
}

/// An entry in its place.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Logged {
    entry: Entry,
    /// Packed bytes of the log up to its end: the length of any run is a difference of two.
    end: u64,
}

/// A run that was handed out, and where it is: it is looked for by that, without a look into it.
#[derive(Debug, Clone)]
struct Run {
    from: LogIndex,
    to: LogIndex,
    /// Packed bytes.
    bytes: usize,
    entries: Entries,
}

impl Log {
    /// A log of no entries after `base`.
    pub(super) fn new(base: LogId, base_stamp: Stamp) -> Self {
        Self {
            base,
            base_stamp,
            entries: VecDeque::new(),
            last: base,
            last_stamp: base_stamp,
            start: 0,
            end: 0,
            runs: Vec::new(),
            oldest: 0,
            none: Entries::empty(),
        }
    }

    /// The position before the first entry.
    pub(super) fn base(&self) -> LogId {
        self.base
    }

    /// The position of the last entry, or the base.
    pub(super) fn last(&self) -> LogId {
        self.last
    }

    /// The clocks at the last entry, or at the base.
    pub(super) fn last_stamp(&self) -> Stamp {
        self.last_stamp
    }

    /// Packed bytes of all entries.
    pub(super) fn bytes(&self) -> usize {
        (self.end - self.start) as usize
    }

    /// The entry at `index`.
    pub(super) fn entry(&self, index: LogIndex) -> Option<&Entry> {
        self.entries.get(self.place(index)?).map(|logged| &logged.entry)
    }

    /// The term at `index`; known for the base too.
    #[inline]
    pub(super) fn term(&self, index: LogIndex) -> Option<Term> {
        match index {
            _ if index == self.last.index => Some(self.last.term),
            _ if index == self.base.index => Some(self.base.term),
            _ => self.entry(index).map(|e| e.id.term),
        }
    }

    /// The clocks at `index`; known for the base too.
    #[inline]
    pub(super) fn stamp(&self, index: LogIndex) -> Option<Stamp> {
        match index {
            _ if index == self.last.index => Some(self.last_stamp),
            _ if index == self.base.index => Some(self.base_stamp),
            _ => self.entry(index).map(|e| e.stamp),
        }
    }

    /// Whether the log (or its base) is at `id`.
    pub(super) fn holds(&self, id: LogId) -> bool {
        self.term(id.index) == Some(id.term)
    }

    /// The last index not past `id` whose term is not past `id`'s: where another log that ends in `id` may agree with this
    /// one (§5.3). The base's index if all of ours is of later terms; `id.index` itself if it is before the base.
    pub(super) fn agreement(&self, id: LogId) -> LogIndex {
        // Terms never fall along the log, so that this is a search.
        let not_later = self.entries.partition_point(|e| e.entry.id.term <= id.term) as u64;
        id.index.min(self.base.index + not_later)
    }

    /// Packed bytes of the entries from `from` to `to`, both included.
    #[inline]
    pub(super) fn bytes_between(&self, from: LogIndex, to: LogIndex) -> usize {
        self.remembered(from, to).map_or_else(|| self.count_bytes(from, to), |run| run.bytes)
    }

    #[inline(never)]
    fn count_bytes(&self, from: LogIndex, to: LogIndex) -> usize {
        let places = self.places(from, to);
        (self.offset(places.end) - self.offset(places.start)) as usize
    }

    /// The last index not past `to` such that the entries from `from` on fit in `max` bytes, and how many bytes they are;
    /// `from` itself always fits.
    #[inline]
    pub(super) fn fitting(&self, from: LogIndex, to: LogIndex, max: usize) -> (LogIndex, usize) {
        match self.remembered(from, to) {
            Some(run) if run.bytes <= max => (to, run.bytes),
            _ => self.count_fitting(from, to, max),
        }
    }

    #[inline(never)]
    fn count_fitting(&self, from: LogIndex, to: LogIndex, max: usize) -> (LogIndex, usize) {
        let places = self.places(from, to);
        let start = self.offset(places.start);
        let mut end = places.end;
        if self.offset(end) - start > max as u64 {
            let fits = |logged: &Logged| logged.end.saturating_sub(start) <= max as u64;
            end = self.entries.partition_point(fits).max(places.start + 1);
        }
        if end == places.start {
            return (from, 0);
        }
        (self.base.index + end as u64, (self.offset(end) - start) as usize)
    }

    /// The entries from `from` to `to`, both included, as a shared run; the same run again if it was asked for lately.
    #[inline]
    pub(super) fn run(&mut self, from: LogIndex, to: LogIndex) -> Entries {
        match self.remembered(from, to) {
            Some(run) => run.entries.clone(),
            None => self.copy_run(from, to),
        }
    }

    /// As many of the entries from `from` on, up to `to`, as fit in `max` bytes, but at least one.
    #[inline]
    pub(super) fn fitting_run(&mut self, from: LogIndex, to: LogIndex, max: usize) -> Entries {
        match self.remembered(from, to) {
            Some(run) if run.bytes <= max => run.entries.clone(),
            _ => {
                let (end, _) = self.count_fitting(from, to, max);
                self.run(from, end)
            }
        }
    }

    // Apart, so that to be handed what is there takes no more than to find it: so with the others of this kind.
    #[inline(never)]
    fn copy_run(&mut self, from: LogIndex, to: LogIndex) -> Entries {
        let places = self.places(from, to);
        if places.is_empty() {
            return self.none.clone();
        }
        let (from, to) = (self.base.index + 1 + places.start as u64, self.base.index + places.end as u64);
        let bytes = (self.offset(places.end) - self.offset(places.start)) as usize;
        let only = self.entries.get(places.start).filter(|_| from == to);
        let entries: Entries = match only {
            Some(only) => only.entry.clone().into(),
            None => self.entries.range(places).map(|logged| logged.entry.clone()).collect(),
        };
        self.remember(Run { from, to, bytes, entries: entries.clone() });
        entries
    }

    /// The run of no entries.
    pub(super) fn none(&self) -> Entries {
        self.none.clone()
    }

    /// Adds an entry, whose index must follow the last.
    pub(super) fn push(&mut self, entry: Entry) {
        debug_assert_eq!(entry.id.index, self.last.index + 1);
        (self.last, self.last_stamp) = (entry.id, entry.stamp);
        self.end += entry.packed_len() as u64;
        self.entries.push_back(Logged { entry, end: self.end });
    }

    /// Adds those of `run`, consecutive and from at most the next index on, that are past the end.
    pub(super) fn extend(&mut self, run: Entries) {
        let Some(from) = run.first().map(|e| e.id.index) else { return };
        let next = self.last.index + 1;
        debug_assert!(from <= next);
        let overlap = usize::try_from(next - from).unwrap_or(usize::MAX);
        let Some(news) = run.get(overlap..) else { return };
        let Some(last) = news.last() else { return };
        (self.last, self.last_stamp) = (last.id, last.stamp);
        let before = self.end;
        self.entries.extend(news.iter().map(|entry| {
            self.end += entry.packed_len() as u64;
            Logged { entry: entry.clone(), end: self.end }
        }));
        if from == next {
            // Whoever is handed these entries next gets the run they came in.
            self.remember(Run {
                from,
                to: self.last.index,
                bytes: (self.end - before) as usize,
                entries: run,
            });
        }
    }

    /// Removes all entries from `from` on.
    pub(super) fn truncate(&mut self, from: LogIndex) {
        let stays = self.place(from).unwrap_or(0).min(self.entries.len());
        self.entries.truncate(stays);
        self.find_end();
        self.runs.retain(|run| run.to < from || planted!("cut-run-is-remembered"));
    }

    /// Lets go of entries at or below `index`, but keeps those of the last `trailing` bytes before it. The work is in
    /// proportion to what is kept: dropping what is returned is for whoever has the time.
    pub(super) fn compact(&mut self, index: LogIndex, trailing: usize) -> Discarded {
        let covered = usize::try_from(index.saturating_sub(self.base.index)).unwrap_or(usize::MAX);
        let covered = covered.min(self.entries.len());
        let end = self.offset(covered);
        let is_early = |logged: &Logged| {
            let before = logged.end - logged.entry.packed_len() as u64;
            end.saturating_sub(before) > trailing as u64
        };
        let cut = self.entries.partition_point(is_early).min(covered);
        let kept = self.entries.split_off(cut);
        let gone = mem::replace(&mut self.entries, kept);
        if let Some(last) = gone.back() {
            (self.base, self.base_stamp, self.start) = (last.entry.id, last.entry.stamp, last.end);
        }
        self.find_end();
        let base = self.base.index;
        self.runs.retain(|run| run.from > base);
        Discarded(gone)
    }

    /// Becomes the log of no entries after `base`, and returns those that it had.
    pub(super) fn reset(&mut self, base: LogId, base_stamp: Stamp) -> Discarded {
        Discarded(mem::replace(self, Self::new(base, base_stamp)).entries)
    }

    /// The entries from `from` to `to`, both included, as far as they are there.
    pub(super) fn between(&self, from: LogIndex, to: LogIndex) -> impl DoubleEndedIterator<Item = &Entry> {
        self.entries.range(self.places(from, to)).map(|logged| &logged.entry)
    }

    /// What is wrong with the log itself, for `check_invariants`.
    pub(super) fn defect(&self) -> Option<&'static str> {
        let mut last = self.base;
        let mut stamp = self.base_stamp;
        let mut end = self.start;
        for Logged { entry, end: counted } in &self.entries {
            end += entry.packed_len() as u64;
            if end != *counted {
                return Some("the log's bytes are miscounted");
            }
            if entry.id.index != last.index + 1 {
                return Some("the log has a gap");
            }
            if entry.id.term < last.term {
                return Some("terms fall along the log");
            }
            if entry.stamp.unix_ms < stamp.unix_ms || entry.stamp.cluster_ms < stamp.cluster_ms {
                return Some("log time goes backwards");
            }
            last = entry.id;
            stamp = entry.stamp;
        }
        if (last, stamp, end) != (self.last, self.last_stamp, self.end) {
            return Some("the log's end is misplaced");
        }
        let is_held = |entry: &Entry| self.entry(entry.id.index).is_some_and(|held| is_same(held, entry));
        let stale = |run: &Run| !run.entries.iter().all(is_held);
        self.runs.iter().any(stale).then_some("a remembered run is not the log's")
    }

    fn place(&self, index: LogIndex) -> Option<usize> {
        usize::try_from(index.checked_sub(self.base.index)?.checked_sub(1)?).ok()
    }

    /// The places of the entries from `from` to `to`, both included, as far as they are there.
    fn places(&self, from: LogIndex, to: LogIndex) -> Range<usize> {
        let len = self.entries.len();
        let start = self.place(from.max(self.base.index + 1)).unwrap_or(len).min(len);
        let end = self.place(to).map_or(0, |place| place.saturating_add(1)).clamp(start, len);
        start..end
    }

    /// Packed bytes before the entry in this place, or, past the last, of all.
    fn offset(&self, place: usize) -> u64 {
        let before = place.checked_sub(1).and_then(|before| self.entries.get(before));
        before.map_or(self.start, |logged| logged.end)
    }

    /// Where the log ends after a cut.
    fn find_end(&mut self) {
        (self.last, self.last_stamp, self.end) = match self.entries.back() {
            Some(Logged { entry, end }) => (entry.id, entry.stamp, *end),
            None => (self.base, self.base_stamp, self.start),
        };
    }

    #[inline]
    fn remembered(&self, from: LogIndex, to: LogIndex) -> Option<&Run> {
        self.runs.iter().find(|run| run.from == from && run.to == to)
    }

    fn remember(&mut self, run: Run) {
        if self.runs.len() < RUNS {
            return self.runs.push(run);
        }
        if let Some(oldest) = self.runs.get_mut(self.oldest) {
            *oldest = run;
        }
        self.oldest = (self.oldest + 1) % RUNS;
    }
}

/// As `==`, but entries that share their data need not have it compared.
fn is_same(one: &Entry, other: &Entry) -> bool {
    let (a, b) = (&one.data, &other.data);
    let shares = a.len() == b.len() && core::ptr::eq(a.as_ptr(), b.as_ptr());
    (one.id, one.kind, one.stamp) == (other.id, other.kind, other.stamp) && (shares || a == b)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::super::EntryKind;
    use super::*;

    fn entry(term: Term, index: LogIndex) -> Entry {
        let stamp = Stamp { unix_ms: index, cluster_ms: index };
        Entry {
            id: LogId::new(term, index),
            kind: EntryKind::Command,
            stamp,
            data: Bytes::from_static(b"12345678"),
        }
    }

    /// Entries after 10@2 of these terms.
    fn log(terms: &[Term]) -> Log {
        let mut log = Log::new(LogId::new(2, 10), Stamp { unix_ms: 1, cluster_ms: 1 });
        for (&term, index) in terms.iter().zip(11..) {
            log.push(entry(term, index));
        }
        log
    }

    const BYTES: usize = super::super::PACKED_HEADER + 8;

    #[test]
    fn terms_are_known_from_the_base_to_the_end() {
        let log = log(&[2, 3, 3]);
        assert_eq!(
            [9, 10, 11, 12, 13, 14].map(|i| log.term(i)),
            [None, Some(2), Some(2), Some(3), Some(3), None]
        );
        assert_eq!(log.last(), LogId::new(3, 13));
        assert_eq!(log.stamp(10), Some(Stamp { unix_ms: 1, cluster_ms: 1 }));
        assert!(
            log.holds(LogId::new(2, 11)) && !log.holds(LogId::new(3, 11)) && !log.holds(LogId::new(0, 0))
        );
    }

    #[test]
    fn agreement_skips_later_terms_and_stays_in_the_log() {
        let log = log(&[3, 3, 5, 5]);
        let at = |term, index| log.agreement(LogId::new(term, index));
        assert_eq!(at(5, 14), 14);
        assert_eq!(at(9, 99), 14);
        assert_eq!(at(4, 14), 12);
        assert_eq!(at(3, 11), 11);
        assert_eq!(at(2, 14), 10);
        assert_eq!(at(2, 4), 4);
    }

    #[test]
    fn a_run_is_shared_until_its_entries_go() {
        let mut log = log(&[2, 2, 2, 2]);
        let same = |a: &Entries, b: &Entries| core::ptr::eq(&a[..], &b[..]);
        let first = log.run(11, 12);
        assert!(same(&first, &log.run(11, 12)));
        let tail = log.run(12, 14);
        log.truncate(14);
        log.push(entry(3, 14));
        assert!(same(&first, &log.run(11, 12)));
        assert_eq!(log.run(12, 14).last_id(), Some(LogId::new(3, 14)));
        assert_eq!(tail.last_id(), Some(LogId::new(2, 14)));
        assert_eq!(log.defect(), None);
        assert!(log.run(15, 20).is_empty() && log.run(13, 12).is_empty());
    }

    #[test]
    fn what_arrives_as_a_run_leaves_as_the_same_run() {
        let mut log = log(&[2]);
        let run: Entries = [entry(2, 12), entry(3, 13)].into_iter().collect();
        log.extend(run.clone());
        assert!(core::ptr::eq(&run[..], &log.run(12, 13)[..]));
        let overlap: Entries = [entry(3, 13), entry(3, 14)].into_iter().collect();
        log.extend(overlap);
        assert_eq!(log.last(), LogId::new(3, 14));
        assert_eq!(log.defect(), None);
    }

    #[test]
    fn fitting_takes_at_least_one_entry() {
        let log = log(&[2, 2, 2, 2]);
        assert_eq!(log.fitting(11, 14, 0), (11, BYTES));
        assert_eq!(log.fitting(11, 14, 2 * BYTES), (12, 2 * BYTES));
        assert_eq!(log.fitting(11, 14, 3 * BYTES - 1), (12, 2 * BYTES));
        assert_eq!(log.fitting(12, 13, 99 * BYTES), (13, 2 * BYTES));
    }

    #[test]
    fn compaction_keeps_the_trailing_bytes_and_the_suffix() {
        let mut log = log(&[2, 2, 3, 3]);
        log.compact(13, BYTES);
        assert_eq!(log.base(), LogId::new(2, 12));
        assert_eq!(log.stamp(12), Some(Stamp { unix_ms: 12, cluster_ms: 12 }));
        assert_eq!(log.bytes(), 2 * BYTES);
        log.compact(13, 0);
        assert_eq!(log.base(), LogId::new(3, 13));
        assert_eq!(log.last(), LogId::new(3, 14));
        assert_eq!(log.defect(), None);
    }

    #[test]
    fn truncation_stops_at_the_base() {
        let mut log = log(&[2, 2]);
        log.truncate(1);
        assert_eq!(log.last(), LogId::new(2, 10));
        assert_eq!(log.bytes(), 0);
    }
}
