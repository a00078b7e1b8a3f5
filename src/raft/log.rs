//! The log in memory: the runs of entries that came after a base, and shared runs that are handed out of it.
//!
//! What comes as a run stays one, and what comes one by one becomes one when it is first handed out. What is written, sent and
//! applied is mostly such a run as it is, and then costs a reference count, however many entries it has.

use alloc::vec::Vec;
use core::{iter, mem};

use super::{Discarded, Entries, Entry, LogId, LogIndex, Stamp, Term};

/// Copies remembered for reuse: enough for the appends to several peers, and the commits of a few steps before.
const COPIES: usize = 4;

/// So many of the last pieces are looked at before a search among all.
const NEAR: usize = 3;

/// Most entries that came one by one and become one run: for how long a search in it takes.
const LONGEST: usize = 1024;

/// Entries `base.index + 1 ..= last().index`, without a gap.
#[derive(Debug, Clone)]
pub(super) struct Log {
    base: LogId,
    base_stamp: Stamp,
    pieces: Vec<Piece>,
    /// What came one by one after the last of them.
    open: Vec<Entry>,
    /// The position of the last entry, or the base: every step asks for it several times.
    last: LogId,
    last_stamp: Stamp,
    /// The position before the last run, or before what came one by one after it; the base if that is not known. What a leader
    /// sends goes on from there.
    before: LogId,
    /// Packed bytes of all that was ever before the first entry, by the count that `Piece::end` goes on with.
    start: u64,
    /// The same up to the end of the last entry.
    end: u64,
    /// Runs across pieces, or of parts of them.
    copies: Vec<Run>,
    /// Which of them is forgotten for the next one.
    oldest: usize,
}

/// A run of the log in its place.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Piece {
    run: Run,
    /// Packed bytes of the log up to its end.
    end: u64,
}

/// Entries `from ..= to`, and where they are: a run is looked for by that, without a look into it.
#[derive(Debug, Clone, PartialEq)]
struct Run {
    from: LogIndex,
    to: LogIndex,
    /// Packed bytes.
    bytes: usize,
    /// Them, and what was cut off around them.
    entries: Entries,
}

impl Run {
    fn is(&self, from: LogIndex, to: LogIndex) -> bool {
        self.from == from && self.to == to
    }

    /// Whether nothing was cut off.
    fn is_whole(&self) -> bool {
        self.entries.len() as u64 == self.to - self.from + 1
    }

    fn last(&self) -> Option<&Entry> {
        self.part(self.to, self.to).first()
    }

    /// Those from `from` to `to`, both included, as far as they are here.
    fn part(&self, from: LogIndex, to: LogIndex) -> &[Entry] {
        part(&self.entries, from.max(self.from), to.min(self.to))
    }
}

impl Discarded {
    /// How many entries they are.
    pub(super) fn len(&self) -> u64 {
        let ends = self.0.first().zip(self.0.last());
        ends.map_or(0, |(first, last)| last.run.to + 1 - first.run.from)
    }
}

/// Those of `entries`, consecutive, from `from` to `to`, both included, as far as they are there.
fn part(entries: &[Entry], from: LogIndex, to: LogIndex) -> &[Entry] {
    let Some(first) = entries.first().map(|e| e.id.index) else { return &[] };
    let place = |index: LogIndex| usize::try_from(index.saturating_sub(first)).unwrap_or(usize::MAX);
    let end = place(to.saturating_add(1)).min(entries.len());
    entries.get(place(from)..end).unwrap_or_default()
}

fn packed(entries: &[Entry]) -> usize {
    entries.iter().map(Entry::packed_len).sum()
}

impl Log {
    /// A log of no entries after `base`.
    pub(super) fn new(base: LogId, base_stamp: Stamp) -> Self {
        Self {
            base,
            base_stamp,
            pieces: Vec::new(),
            open: Vec::new(),
            last: base,
            last_stamp: base_stamp,
            before: base,
            start: 0,
            end: 0,
            copies: Vec::new(),
            oldest: 0,
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
    #[inline(never)]
    pub(super) fn entry(&self, index: LogIndex) -> Option<&Entry> {
        let entries = match self.pieces.get(self.place(index)) {
            Some(piece) if index < piece.run.from => return None,
            Some(piece) => &piece.run.entries[..],
            None => &self.open[..],
        };
        let place = index.checked_sub(entries.first()?.id.index)?;
        entries.get(usize::try_from(place).ok()?)
    }

    /// The term at `index`; known for the base too.
    #[inline]
    pub(super) fn term(&self, index: LogIndex) -> Option<Term> {
        match index {
            _ if index == self.last.index => Some(self.last.term),
            _ if index == self.base.index => Some(self.base.term),
            _ if index == self.before.index => Some(self.before.term),
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
        let not_later = |e: &Entry| e.id.term <= id.term;
        let place = self.pieces.partition_point(|piece| piece.run.last().is_none_or(not_later));
        let before = place.checked_sub(1).and_then(|before| self.pieces.get(before));
        let before = before.map_or(self.base.index, |piece| piece.run.to);
        let part = self.pieces.get(place).map_or(&self.open[..], |piece| piece.run.part(0, LogIndex::MAX));
        id.index.min(before + part.partition_point(not_later) as u64)
    }

    /// Packed bytes of the entries from `from` to `to`, both included.
    #[inline]
    pub(super) fn bytes_between(&self, from: LogIndex, to: LogIndex) -> usize {
        self.shared(from, to).map_or_else(|| self.count_bytes(from, to), |run| run.bytes)
    }

    // Apart, so that to be handed what is there takes no more than to find it: so with the others of this kind.
    #[inline(never)]
    fn count_bytes(&self, from: LogIndex, to: LogIndex) -> usize {
        let before = self.offset(from.saturating_sub(1));
        self.offset(to).saturating_sub(before) as usize
    }

    /// The last index not past `to` such that the entries from `from` on fit in `max` bytes, and how many bytes they are;
    /// `from` itself always fits.
    #[inline]
    pub(super) fn fitting(&self, from: LogIndex, to: LogIndex, max: usize) -> (LogIndex, usize) {
        match self.shared(from, to) {
            Some(run) if run.bytes <= max => (to, run.bytes),
            _ => self.count_fitting(from, to, max),
        }
    }

    #[inline(never)]
    fn count_fitting(&self, from: LogIndex, to: LogIndex, max: usize) -> (LogIndex, usize) {
        let (first, to) = (from.max(self.base.index + 1), to.min(self.last.index));
        if first > to {
            return (from, 0);
        }
        let start = self.offset(first - 1);
        let (all, limit) = (self.offset(to), start.saturating_add(max as u64));
        if all <= limit {
            return (to, (all - start) as usize);
        }
        let before = self.pieces.partition_point(|piece| piece.end <= limit).checked_sub(1);
        let before = before.and_then(|before| self.pieces.get(before)).filter(|piece| piece.run.to >= first);
        let (mut last, mut end) = before.map_or((first - 1, start), |piece| (piece.run.to, piece.end));
        for entry in self.between(last + 1, to) {
            let next = end + entry.packed_len() as u64;
            if next > limit && last >= first {
                break;
            }
            (last, end) = (entry.id.index, next);
        }
        (last, (end - start) as usize)
    }

    /// The entries from `from` to `to`, both included, as a shared run; the same run again if it was asked for lately.
    #[inline]
    pub(super) fn run(&mut self, from: LogIndex, to: LogIndex) -> Entries {
        self.close();
        match self.shared(from, to) {
            Some(run) => run.entries.clone(),
            None => self.copy(from, to),
        }
    }

    /// As many of the entries from `from` on, up to `to`, as fit in `max` bytes, but at least one.
    #[inline]
    pub(super) fn fitting_run(&mut self, from: LogIndex, to: LogIndex, max: usize) -> Entries {
        match self.shared(from, to) {
            Some(run) if run.bytes <= max => run.entries.clone(),
            _ => {
                let (end, _) = self.count_fitting(from, to, max);
                self.run(from, end)
            }
        }
    }

    #[inline(never)]
    fn copy(&mut self, from: LogIndex, to: LogIndex) -> Entries {
        if from > to.min(self.last.index) {
            return Entries::empty();
        }
        let entries: Entries = self.between(from, to).cloned().collect();
        let (Some(first), Some(last)) = (entries.first(), entries.last()) else { return Entries::empty() };
        let (from, to) = (first.id.index, last.id.index);
        self.remember(Run { from, to, bytes: packed(&entries), entries: entries.clone() });
        entries
    }

    /// Adds an entry, whose index must follow the last.
    pub(super) fn push(&mut self, entry: Entry) {
        debug_assert_eq!(entry.id.index, self.last.index + 1);
        if self.open.len() == LONGEST {
            self.close();
        }
        if self.open.is_empty() {
            self.before = self.last;
        }
        (self.last, self.last_stamp) = (entry.id, entry.stamp);
        self.end += entry.packed_len() as u64;
        self.open.push(entry);
    }

    /// Adds those of `run`, consecutive and from at most the next index on, that are past the end.
    pub(super) fn extend(&mut self, run: Entries) {
        self.close();
        let next = self.last.index + 1;
        debug_assert!(run.first().is_none_or(|first| first.id.index <= next));
        let news = part(&run, next, LogIndex::MAX);
        let Some(last) = news.last() else { return };
        let bytes = packed(news);
        self.before = self.last;
        (self.last, self.last_stamp) = (last.id, last.stamp);
        self.end += bytes as u64;
        let (to, end) = (self.last.index, self.end);
        // Made in its place, for the same reason as what `Actions::add` adds; so is the other one.
        let piece = || Piece { run: Run { from: next, to, bytes, entries: run }, end };
        self.pieces.extend(iter::once_with(piece));
    }

    /// What came one by one is a run from now on.
    #[inline]
    fn close(&mut self) {
        if !self.open.is_empty() {
            self.make_piece();
        }
    }

    #[inline(never)]
    fn make_piece(&mut self) {
        let start = self.pieces.last().map_or(self.start, |piece| piece.end);
        let (to, bytes) = (self.last.index, (self.end - start) as usize);
        let from = to + 1 - self.open.len() as u64;
        let end = self.end;
        self.pieces.extend(iter::once_with(|| {
            let entries = match self.open.pop() {
                Some(only) if self.open.is_empty() => only.into(),
                last => self.open.drain(..).chain(last).collect(),
            };
            Piece { run: Run { from, to, bytes, entries }, end }
        }));
    }

    /// Removes all entries from `from` on.
    pub(super) fn truncate(&mut self, from: LogIndex) {
        self.close();
        self.before = self.base;
        let from = from.max(self.base.index + 1);
        self.copies.retain(|run| run.to < from);
        let mut gone = self.pieces.split_off(self.place(from));
        if let Some(piece) = gone.first().filter(|piece| piece.run.from < from).cloned() {
            let Piece { mut run, end } = piece;
            let lost = packed(run.part(from, LogIndex::MAX));
            (run.to, run.bytes) = (from - 1, run.bytes - lost);
            self.pieces.push(Piece { run, end: end - lost as u64 });
        }
        for piece in gone.drain(..).filter(|_| planted!("cut-run-is-remembered")) {
            self.remember(piece.run);
        }
        (self.last, self.last_stamp, self.end) = (self.base, self.base_stamp, self.start);
        if let Some(Piece { run, end }) = self.pieces.last()
            && let Some(last) = run.last()
        {
            (self.last, self.last_stamp, self.end) = (last.id, last.stamp, *end);
        }
    }

    /// Lets go of entries at or below `index`, but keeps those of the last `trailing` bytes before it. The work is in
    /// proportion to what is kept: dropping what is returned is for whoever has the time.
    pub(super) fn compact(&mut self, index: LogIndex, trailing: usize) -> Discarded {
        self.close();
        let end = self.offset(index);
        let is_early = |before: u64| end.saturating_sub(before) > trailing as u64;
        let is_gone = |Piece { run, end }: &Piece| {
            run.to <= index && is_early(end - packed(run.part(run.to, run.to)) as u64)
        };
        let kept = self.pieces.split_off(self.pieces.partition_point(is_gone));
        let mut gone = mem::replace(&mut self.pieces, kept);
        if let Some(Piece { run, end }) = self.pieces.first_mut() {
            let mut cut = Run { to: run.from - 1, bytes: 0, ..run.clone() };
            let start = *end - run.bytes as u64;
            for entry in run.part(run.from, index) {
                if !is_early(start + cut.bytes as u64) {
                    break;
                }
                (cut.to, cut.bytes) = (entry.id.index, cut.bytes + entry.packed_len());
            }
            (run.from, run.bytes) = (cut.to + 1, run.bytes - cut.bytes);
            if cut.to >= cut.from {
                gone.push(Piece { end: start + cut.bytes as u64, run: cut });
            }
        }
        if let Some(Piece { run, end }) = gone.last()
            && let Some(last) = run.last()
        {
            (self.base, self.base_stamp, self.start) = (last.id, last.stamp, *end);
        }
        self.before = self.base;
        let base = self.base.index;
        self.copies.retain(|run| run.from > base);
        Discarded(gone)
    }

    /// Becomes the log of no entries after `base`, and returns those that it had.
    pub(super) fn reset(&mut self, base: LogId, base_stamp: Stamp) -> Discarded {
        self.close();
        Discarded(mem::replace(self, Self::new(base, base_stamp)).pieces)
    }

    /// The entries from `from` to `to`, both included, as far as they are there.
    pub(super) fn between(&self, from: LogIndex, to: LogIndex) -> impl DoubleEndedIterator<Item = &Entry> {
        let end = self.pieces.len().min(self.place(to) + 1);
        let pieces = self.pieces.get(self.place(from)..end).unwrap_or_default();
        pieces.iter().flat_map(move |piece| piece.run.part(from, to)).chain(part(&self.open, from, to))
    }

    /// What is wrong with the log itself, for `check_invariants`.
    pub(super) fn defect(&self) -> Option<&'static str> {
        let mut last = self.base;
        let mut stamp = self.base_stamp;
        let mut end = self.start;
        for entry in self.between(0, LogIndex::MAX) {
            end += entry.packed_len() as u64;
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
        if (last, stamp) != (self.last, self.last_stamp) {
            return Some("the log's end is misplaced");
        }
        let is_there =
            |id: LogId| id == self.base || self.entry(id.index).is_some_and(|entry| entry.id == id);
        if !is_there(self.before) {
            return Some("the position before the last run is misplaced");
        }
        let mut counted = self.start;
        let miscounted = |Piece { run, end }: &Piece| {
            counted += packed(run.part(run.from, run.to)) as u64;
            counted != *end || run.last().is_none_or(|last| last.id.index != run.to)
        };
        if end != self.end || self.pieces.iter().any(miscounted) {
            return Some("the log's bytes are miscounted");
        }
        let is_held = |entry: &Entry| self.entry(entry.id.index).is_some_and(|held| is_same(held, entry));
        let stale = |run: &Run| !run.entries.iter().all(is_held);
        self.copies.iter().any(stale).then_some("a remembered run is not the log's")
    }

    /// The place of the piece that `index` is in, or of the first one past it.
    #[inline]
    fn place(&self, index: LogIndex) -> usize {
        // Mostly it is one of the last.
        for (back, piece) in self.pieces.iter().rev().take(NEAR).enumerate() {
            if piece.run.from <= index {
                return self.pieces.len() - back - usize::from(index <= piece.run.to);
            }
        }
        self.pieces.partition_point(|piece| piece.run.to < index)
    }

    /// Packed bytes of the log up to the end of `index`, as far as it is there.
    fn offset(&self, index: LogIndex) -> u64 {
        if index >= self.last.index {
            return self.end;
        }
        if index <= self.base.index {
            return self.start;
        }
        match self.pieces.get(self.place(index)) {
            Some(Piece { run, end }) if run.to == index => *end,
            Some(piece) => piece.end - packed(piece.run.part(index + 1, piece.run.to)) as u64,
            None => self.end - packed(part(&self.open, index + 1, LogIndex::MAX)) as u64,
        }
    }

    /// The run from `from` to `to`, if there is one.
    #[inline]
    fn shared(&self, from: LogIndex, to: LogIndex) -> Option<&Run> {
        let copy = self.copies.iter().find(|run| run.is(from, to));
        copy.or_else(|| {
            let run = &self.pieces.get(self.place(from))?.run;
            (run.is(from, to) && run.is_whole()).then_some(run)
        })
    }

    fn remember(&mut self, run: Run) {
        if self.copies.len() < COPIES {
            return self.copies.push(run);
        }
        if let Some(oldest) = self.copies.get_mut(self.oldest) {
            *oldest = run;
        }
        self.oldest = (self.oldest + 1) % COPIES;
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

    #[test]
    fn what_comes_one_by_one_is_handed_out_as_one_run() {
        let mut log = log(&[2, 2, 2]);
        let all = log.run(11, 13);
        log.push(entry(2, 14));
        assert!(core::ptr::eq(&all[..], &log.run(11, 13)[..]));
        assert_eq!(log.run(14, 14).len(), 1);
        assert_eq!(log.run(12, 14).len(), 3);
        assert_eq!(log.defect(), None);
    }

    /// All that a log can be asked, by a list of its entries.
    fn compare(log: &mut Log, base: LogId, entries: &[Entry], rng: &mut crate::rng::Rng) {
        assert_eq!(log.defect(), None);
        assert_eq!((log.base(), log.last()), (base, entries.last().map_or(base, |e| e.id)));
        let (low, high) = (base.index.saturating_sub(2), log.last().index + 3);
        let among = |from, to| entries.iter().filter(move |e| e.id.index >= from && e.id.index <= to);
        assert!(log.between(low, high).eq(entries));
        assert!(log.between(low, high).rev().eq(entries.iter().rev()));
        for index in low..high {
            assert_eq!(log.entry(index), among(index, index).next());
            let term = rng.below(6);
            let not_later = entries.iter().take_while(|e| e.id.term <= term).count() as u64;
            assert_eq!(log.agreement(LogId::new(term, index)), index.min(base.index + not_later));
        }
        for _ in 0..8 {
            let from = base.index + 1 + rng.below(high - base.index);
            let to = from + rng.below(4);
            assert_eq!(log.bytes_between(from, to), among(from, to).map(Entry::packed_len).sum());
            let max = rng.below(5 * BYTES as u64) as usize;
            let (mut end, mut bytes) = (from, 0);
            for entry in among(from, to) {
                if bytes > 0 && bytes + entry.packed_len() > max {
                    break;
                }
                (end, bytes) = (entry.id.index, bytes + entry.packed_len());
            }
            assert_eq!(log.fitting(from, to, max), (end, bytes));
            assert!(log.fitting_run(from, to, max).iter().eq(among(from, end)));
            assert!(log.run(from, to).iter().eq(among(from, to)));
        }
    }

    #[test]
    fn however_it_is_cut_a_log_is_the_list_of_its_entries() {
        let mut rng = crate::rng::Rng::new(5);
        for _ in 0..200 {
            let mut base = LogId::new(2, 10);
            let mut log = Log::new(base, Stamp { unix_ms: 1, cluster_ms: 1 });
            let mut entries: Vec<Entry> = Vec::new();
            for _ in 0..30 {
                let last = entries.last().map_or(base, |e| e.id);
                let term = last.term + rng.below(8) / 7;
                match rng.below(5) {
                    0 | 1 => {
                        log.push(entry(term, last.index + 1));
                        entries.push(entry(term, last.index + 1));
                    }
                    2 => {
                        // With some that are there already before it.
                        let held = rng.below(3).min(entries.len() as u64) as usize;
                        let news: Vec<_> = (1..=rng.below(4)).map(|i| entry(term, last.index + i)).collect();
                        let run = entries[entries.len() - held..].iter().chain(&news).cloned();
                        log.extend(run.collect());
                        entries.extend(news);
                    }
                    3 => {
                        let from = last.index + 2 - rng.below(5).min(last.index);
                        log.truncate(from);
                        entries.retain(|e| e.id.index < from);
                    }
                    _ => {
                        let index = base.index + rng.below(entries.len() as u64 + 1);
                        let trailing = rng.below(3) as usize;
                        let before = log.bytes();
                        let gone = log.compact(index, trailing * BYTES);
                        let covered = entries.iter().filter(|e| e.id.index <= index).count();
                        let cut: Vec<_> = entries.drain(..covered.saturating_sub(trailing)).collect();
                        base = cut.last().map_or(base, |e| e.id);
                        assert_eq!(gone.len(), cut.len() as u64);
                        assert_eq!(before - log.bytes(), cut.len() * BYTES);
                    }
                }
                compare(&mut log, base, &entries, &mut rng);
            }
        }
    }
}
