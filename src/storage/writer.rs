//! The writer of the log: from a core's `Persist` to a batch of disk operations.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

use bytes::{Bytes, BytesMut};
use smallvec::{SmallVec, smallvec};

use super::block::{BLOCK, Owner, align};
use super::record::{self, RecordHeader, SegmentHeader};
use super::segments::{Segment, Segments, Spare};
use super::upkeep::Task;
use super::vote::{VoteRecord, VoteSlots};
use super::{BatchId, DiskBatch, DiskError, DiskOp, FileName, Settings, Upkeep};
use crate::raft::{LogId, LogIndex, Persist, Recovered, SnapshotId, SnapshotMeta, SnapshotSwitch};

/// Spares that are kept ready.
const SPARES: usize = 2;
/// Old segments beyond so many spares are removed instead of recycled, unless the log was longer than that.
const MAX_SPARES: usize = 4;
/// Without a spare, so much of the current segment is left for what admission does not ask about: the no-op of a new
/// leader, a configuration, the snapshot switch that makes room. Bytes.
const RESERVE: u64 = 64 << 10;

/// What a batch makes durable.
#[derive(Debug, Clone)]
struct Outstanding {
    batch: BatchId,
    /// The last record that is planned.
    sequence: u64,
    /// The last vote that is planned.
    vote: u64,
    /// The snapshot that the log goes on from, when the batch changed it.
    switch: Option<LogId>,
    /// No entry above this that was written before the batch matters, when that changed.
    cut: Option<LogIndex>,
}

/// Where a log ends: what a writer starts from.
#[derive(Debug)]
pub(super) struct LogEnd {
    /// The last record; all of them are durable.
    pub(super) sequence: u64,
    /// Whether a record says so.
    pub(super) marked: bool,
    pub(super) last_index: LogIndex,
    pub(super) segments: Segments,
    pub(super) spares: VecDeque<Spare>,
    /// The next free number of a spare.
    pub(super) next_spare: u64,
    pub(super) snapshot: Option<SnapshotMeta>,
    pub(super) votes: VoteSlots,
}

/// Plans the writes of the log lane. See the [module](super) for what it keeps true.
#[derive(Debug)]
pub struct LogWriter {
    owner: Owner,
    life: u64,
    segment_len: u64,
    max_record_bytes: usize,
    next_batch: BatchId,
    /// The last record that is planned.
    sequence: u64,
    /// The last record that is known to be durable.
    synced: u64,
    /// Whether the last planned record only says what is synced.
    marked: bool,
    last_index: LogIndex,
    pub(super) segments: Segments,
    spares: VecDeque<Spare>,
    next_spare: u64,
    /// How many segments the log had when the last snapshot became durable: it will need as many until the next one, and
    /// to make a spare costs as much as to write what goes into it.
    span: usize,
    votes: VoteSlots,
    /// The snapshot that the log goes on from, durable or not; every segment's first record repeats it.
    snapshot: Option<SnapshotMeta>,
    /// The same, as far as it is durable.
    durable_snapshot: Option<LogId>,
    /// Snapshot files that are there.
    files: Vec<LogId>,
    pins: Vec<SnapshotId>,
    outstanding: VecDeque<Outstanding>,
    upkeep_busy: bool,
    /// The last spare could not be made: the disk is full.
    starved: bool,
}

impl LogWriter {
    pub(super) fn new(settings: &Settings, owner: Owner, life: u64, end: LogEnd) -> Self {
        let durable_snapshot = end.snapshot.as_ref().map(|s| s.id.last);
        Self {
            owner,
            life,
            segment_len: settings.segment_len(),
            max_record_bytes: settings.max_record_bytes,
            next_batch: 1,
            sequence: end.sequence,
            synced: end.sequence,
            marked: end.marked,
            last_index: end.last_index,
            segments: end.segments,
            spares: end.spares,
            next_spare: end.next_spare,
            span: 0,
            votes: end.votes,
            snapshot: end.snapshot,
            durable_snapshot,
            files: durable_snapshot.into_iter().collect(),
            pins: Vec::new(),
            outstanding: VecDeque::new(),
            upkeep_busy: false,
            starved: false,
        }
    }

    /// The batch that makes `persist` durable. `packed` is `persist.entries` as [`Entries::pack`] writes it; it is not
    /// copied. Ids are consecutive from 1, shared with [`idle_mark`](Self::idle_mark); a batch ends in the syncs that it
    /// needs, and one that changes nothing has no operations.
    ///
    /// [`Entries::pack`]: crate::raft::Entries::pack
    pub fn persist(&mut self, persist: &Persist, packed: Bytes) -> DiskBatch {
        let mut ops = Vec::new();
        if let Some(state) = persist.vote {
            let (generation, slot) = self.votes.plan();
            let vote = VoteRecord { state, generation, synced: self.synced };
            if planted!("vote-file-is-emptied") {
                ops.push(DiskOp::Create { file: FileName::Vote });
            }
            ops.extend(vote.writes(&self.owner, FileName::Vote, slot));
            if !planted!("vote-is-not-synced") {
                ops.push(DiskOp::Sync { file: FileName::Vote });
            }
        }
        let switch = persist.snapshot.as_deref();
        let cut = self.note(persist);
        if switch.is_some() || !persist.entries.is_empty() {
            self.append(header_of(persist), switch, packed, &mut ops);
            self.marked = false;
        }
        self.batch(ops, switch.map(|s| s.snapshot.id.last), cut)
    }

    /// The bytes of the first segment of a log that has none: its header, the snapshot that it goes on from, if there is one,
    /// and the founding entries, if any (a node that joins a cluster gets all of them from its leader). They are durable, and so
    /// is `spare`, before the writer is used.
    pub(super) fn found(&mut self, recovered: &Recovered, spare: Spare) -> SmallVec<[Bytes; 2]> {
        let mut packed = BytesMut::new();
        recovered.entries.pack(&mut packed);
        let (entries, commit) = (recovered.entries.clone(), recovered.commit);
        let switch =
            |snapshot: &SnapshotMeta| SnapshotSwitch { snapshot: snapshot.clone(), keeps_suffix: false };
        let snapshot = recovered.snapshot.as_ref().map(switch).map(Box::new);
        let persist = Persist { id: 0, vote: None, snapshot, entries, commit };
        self.note(&persist);
        self.durable_snapshot = persist.snapshot.as_ref().map(|switch| switch.snapshot.id.last);
        let mut ops = Vec::new();
        // Formation allocates the file of the first segment itself.
        self.spares.push_front(Spare { number: 0, len: self.segment_len });
        // A record even without entries: a log without any record has lost its first one.
        self.append(header_of(&persist), persist.snapshot.as_deref(), packed.freeze(), &mut ops);
        self.synced = self.sequence;
        self.add_spare(spare);
        let data = |op| if let DiskOp::WriteAt { data, .. } = op { Some(data) } else { None };
        ops.into_iter().find_map(data).unwrap_or_default()
    }

    /// Takes note of what `persist` does to the log; returns the index above which older entries do not matter any more.
    fn note(&mut self, persist: &Persist) -> Option<LogIndex> {
        let mut cut = None;
        if let Some(switch) = &persist.snapshot {
            let last = switch.snapshot.id.last;
            if !switch.keeps_suffix {
                cut = Some(last.index);
                self.last_index = last.index;
            }
            self.last_index = self.last_index.max(last.index);
            self.snapshot = Some(switch.snapshot.clone());
            if !self.files.contains(&last) {
                self.files.push(last);
            }
        }
        if let Some(first) = persist.entries.first().map(|e| e.id.index) {
            if first <= self.last_index {
                let below = first.saturating_sub(1);
                cut = Some(cut.map_or(below, |c: LogIndex| c.min(below)));
            }
            self.last_index = first.saturating_add(persist.entries.len() as u64 - 1);
        }
        if let (Some(cut), Some(current)) = (cut, self.segments.current_mut()) {
            // What replaces these entries is written before any later segment, and a segment goes only when a later one
            // is durable.
            current.last_index = current.last_index.min(cut);
        }
        cut
    }

    fn batch(&mut self, ops: Vec<DiskOp>, switch: Option<LogId>, cut: Option<LogIndex>) -> DiskBatch {
        let id = self.next_batch;
        self.next_batch = self.next_batch.saturating_add(1);
        let (sequence, vote) = (self.sequence, self.votes.newest());
        self.outstanding.push_back(Outstanding { batch: id, sequence, vote, switch, cut });
        DiskBatch { id, ops }
    }

    /// Plans a record at the end of the log, in the current segment or in the next.
    fn append(
        &mut self,
        header: RecordHeader,
        switch: Option<&SnapshotSwitch>,
        packed: Bytes,
        ops: &mut Vec<DiskOp>,
    ) {
        let empty = self.segments.current().is_none_or(|current| current.used <= BLOCK as u64);
        let switch = match switch {
            Some(switch) => record::pack_switch(switch),
            None if empty => self.repeated_switch(),
            None => Vec::new(),
        };
        let len = (BLOCK + switch.len() + packed.len()) as u64;
        let synced = if planted!("record-vouches-for-itself") { self.sequence + 1 } else { self.synced };
        let header = RecordHeader { life: self.life, synced, vote: self.votes.newest(), ..header };
        match self.segments.current().filter(|current| fits(current, len)) {
            Some(&current) => self.append_here(current, header, &switch, packed, ops),
            None => self.append_next(header, switch, packed, ops),
        }
    }

    fn append_here(
        &mut self,
        current: Segment,
        header: RecordHeader,
        switch: &[u8],
        packed: Bytes,
        ops: &mut Vec<DiskOp>,
    ) {
        let file = FileName::Segment(current.number);
        let data = self.record(current.number, None, header, switch, packed);
        ops.push(DiskOp::WriteAt { file, offset: current.used, data });
        if !planted!("log-is-not-synced") {
            ops.push(DiskOp::Sync { file });
        }
    }

    /// Begins the next segment with the record. Its first record repeats the snapshot that the log goes on from, so that
    /// no older segment is needed to know it.
    fn append_next(&mut self, header: RecordHeader, switch: Vec<u8>, packed: Bytes, ops: &mut Vec<DiskOp>) {
        let switch = if switch.is_empty() { self.repeated_switch() } else { switch };
        let number = self.segments.current().map_or(1, |s| next_number(s.number, self.life));
        let file = FileName::Segment(number);
        let spare = self.spares.pop_front();
        ops.push(match spare {
            Some(spare) => DiskOp::Rename { from: FileName::Spare(spare.number), to: file },
            None => DiskOp::Create { file },
        });
        let first = self.sequence.saturating_add(1);
        let (owner, life, synced) = (self.owner, self.life, self.synced);
        let allocated = spare.map_or(0, |s| s.len);
        let segment = SegmentHeader { owner, number, life, first, synced, allocated };
        let len = spare.map_or(self.segment_len, |s| s.len);
        let allocated = spare.is_some();
        self.segments.push(Segment { number, len, allocated, used: BLOCK as u64, first, last_index: 0 });
        let data = self.record(number, Some(&segment), header, &switch, packed);
        ops.push(DiskOp::WriteAt { file, offset: 0, data });
        ops.push(DiskOp::Sync { file });
        if !planted!("directory-is-not-synced") {
            ops.push(DiskOp::SyncDirectory);
        }
    }

    fn repeated_switch(&self) -> Vec<u8> {
        let repeat = |snapshot: &SnapshotMeta| {
            record::pack_switch(&SnapshotSwitch { snapshot: snapshot.clone(), keeps_suffix: true })
        };
        self.snapshot.as_ref().map(repeat).unwrap_or_default()
    }

    /// Numbers the record, seals it, and takes note of the space that it uses in the current segment, `number`.
    fn record(
        &mut self,
        number: u64,
        segment: Option<&SegmentHeader>,
        header: RecordHeader,
        switch: &[u8],
        packed: Bytes,
    ) -> SmallVec<[Bytes; 2]> {
        self.sequence = self.sequence.saturating_add(1);
        let seed = self.owner.seed(number);
        let header = RecordHeader {
            segment: number,
            sequence: self.sequence,
            switch_len: switch.len() as u64,
            packed_len: packed.len() as u64,
            body: record::checksum(switch, &packed, seed),
            ..header
        };
        if let Some(current) = self.segments.current_mut() {
            let end = current.used.saturating_add((BLOCK + switch.len() + packed.len()) as u64);
            current.used = align(end);
            current.len = current.len.max(end);
            if header.count > 0 {
                current.last_index = current.last_index.max(self.last_index);
            }
        }
        let head = record::head(segment, &header, seed, switch);
        if packed.is_empty() { smallvec![head] } else { smallvec![head, packed] }
    }

    /// `batch`, and all before it, are durable.
    pub fn done(&mut self, batch: BatchId) {
        while self.outstanding.front().is_some_and(|next| next.batch <= batch) {
            let Some(next) = self.outstanding.pop_front() else { return };
            self.synced = self.synced.max(next.sequence);
            self.votes.done(next.vote);
            if next.switch.is_some() {
                self.durable_snapshot = next.switch;
                self.span = self.segments.count();
            }
            if let Some(index) = next.cut {
                self.segments.cut(next.sequence, index);
            }
        }
    }

    /// Whether a record of entries with `bytes` packed bytes finds space that was allocated ahead (STORAGE row 7). Count
    /// everything that was admitted and is not yet persisted.
    ///
    /// A record that is longer than a segment gets a segment of its own, which grows beyond what was allocated; it has
    /// room as long as spares could be made the last time.
    pub fn has_room(&self, bytes: usize) -> bool {
        let Some(current) = self.segments.current() else { return false };
        if bytes > self.max_record_bytes {
            return false;
        }
        let len = (BLOCK as u64).saturating_add(bytes as u64);
        let Some(spare) = self.spares.front() else {
            let reserve = RESERVE.min(self.segment_len / 8);
            return current.allocated && fits(current, len.saturating_add(reserve));
        };
        let in_spare = len.saturating_add(self.repeated_switch_bound()).saturating_add(BLOCK as u64);
        fits(current, len) || in_spare <= spare.len || !self.starved
    }

    /// Whether the disk was full when a spare was to be made the last time.
    pub fn is_starved(&self) -> bool {
        self.starved
    }

    fn repeated_switch_bound(&self) -> u64 {
        let member = |m: &crate::raft::Member| 128 + m.peer_address.len() + m.client_address.len();
        let bound = self
            .snapshot
            .as_ref()
            .map_or(0, |s| 512 + s.configuration.members.values().map(member).sum::<usize>());
        bound as u64
    }

    /// The next upkeep that is due, one at a time: a spare when none is left, then the removal of what the durable
    /// snapshot made superfluous, then more spares. After [`upkeep_done`](Self::upkeep_done) ask again.
    pub fn upkeep(&mut self) -> Option<Upkeep> {
        if self.upkeep_busy {
            return None;
        }
        let task = self.due()?;
        self.upkeep_busy = true;
        Some(Upkeep::new(task))
    }

    fn due(&mut self) -> Option<Task> {
        let mut durable = self.durable_snapshot.map_or(0, |s| s.index);
        if planted!("removal-before-the-switch") {
            durable = self.snapshot.as_ref().map_or(0, |s| s.id.last.index);
        }
        if let Some(oldest) = self.segments.removable(durable, self.synced) {
            let whole = oldest.allocated && oldest.len == self.segment_len;
            let keep = whole && self.spares.len() < self.span.max(MAX_SPARES);
            let spare = Spare { number: self.next_spare, len: oldest.len };
            return Some(if keep {
                Task::Recycle { segment: oldest.number, spare }
            } else {
                Task::Remove { segment: oldest.number }
            });
        }
        if self.spares.is_empty() {
            return Some(Task::Spare(Spare { number: self.next_spare, len: self.segment_len }));
        }
        let pinned = |file: &LogId| self.pins.iter().any(|pin| pin.last == *file);
        let superfluous = |file: &&LogId| file.index < durable && !pinned(file);
        if let Some(&file) = self.files.iter().find(superfluous) {
            return Some(Task::Snapshot(file));
        }
        let spare = Spare { number: self.next_spare, len: self.segment_len };
        (self.spares.len() < SPARES).then_some(Task::Spare(spare))
    }

    /// Takes the outcome of an upkeep job. `Some` is what failed: `NoSpace` is not fatal, ask again later (say, after a
    /// second); anything else is a failed disk.
    pub fn upkeep_done(&mut self, upkeep: Upkeep) -> Option<DiskError> {
        self.upkeep_busy = false;
        let (task, outcome) = upkeep.take();
        if matches!(task, Task::Spare(_)) {
            self.starved = matches!(outcome, Err(DiskError::NoSpace(_)));
        }
        if let Err(error) = outcome {
            return Some(error);
        }
        match task {
            Task::Spare(spare) => self.add_spare(spare),
            Task::Recycle { segment, spare } => {
                self.segments.remove(segment);
                self.add_spare(spare);
            }
            Task::Remove { segment } => self.segments.remove(segment),
            Task::Snapshot(file) => self.files.retain(|f| *f != file),
        }
        None
    }

    fn add_spare(&mut self, spare: Spare) {
        self.spares.push_back(spare);
        self.next_spare = self.next_spare.saturating_add(1);
        self.starved = false;
    }

    /// After a quiet tail: a record that says that all before it is synced (STORAGE row 3). `None` when that is said
    /// already, while anything is outstanding, or when there is no space: every segment keeps some for it, except one that
    /// had to be written without being allocated ahead.
    pub fn idle_mark(&mut self) -> Option<DiskBatch> {
        if self.marked || !self.outstanding.is_empty() || self.synced != self.sequence {
            return None;
        }
        let current = *self.segments.current()?;
        let mut ops = Vec::new();
        let header = RecordHeader {
            life: self.life,
            synced: self.synced,
            vote: self.votes.newest(),
            ..Default::default()
        };
        // A segment's first record repeats the snapshot, which a mark alone does not.
        let begun = current.used > BLOCK as u64;
        if begun && current.used.saturating_add(BLOCK as u64) <= current.len {
            self.append_here(current, header, &[], Bytes::new(), &mut ops);
        } else if self.spares.is_empty() {
            return None;
        } else {
            self.append(header, None, Bytes::new(), &mut ops);
        }
        self.marked = true;
        Some(self.batch(ops, None, None))
    }

    /// The file of `snapshot` is there, saved or received. It goes when the log goes on from a later one, even if the log
    /// never named it: a picture that was overtaken by a leader's snapshot while it was being saved.
    pub fn keep_track(&mut self, snapshot: SnapshotId) {
        if !self.files.contains(&snapshot.last) {
            self.files.push(snapshot.last);
        }
    }

    /// Keeps a snapshot's file as long as it is pinned. Pins are counted.
    pub fn pin(&mut self, snapshot: SnapshotId) {
        self.pins.push(snapshot);
    }

    /// Takes one pin away.
    pub fn unpin(&mut self, snapshot: SnapshotId) {
        if let Some(at) = self.pins.iter().position(|pin| *pin == snapshot) {
            self.pins.swap_remove(at);
        }
    }

    /// Bytes of the log that a recovery would read.
    pub fn live_bytes(&self) -> u64 {
        self.segments.used()
    }

    /// The number of segments and of spares, for people.
    pub fn segments(&self) -> (usize, usize) {
        (self.segments.count(), self.spares.len())
    }
}

/// What the header of a record says about `persist`.
fn header_of(persist: &Persist) -> RecordHeader {
    RecordHeader {
        first: persist.entries.first().map_or(0, |e| e.id.index),
        last_term: persist.entries.last().map_or(0, |e| e.id.term),
        count: persist.entries.len() as u64,
        commit: persist.commit,
        ..RecordHeader::default()
    }
}

/// The number of the segment after `number`: never one that an earlier life may have used. A spare may hold a whole
/// segment whose renaming was lost in a crash; under another number nothing of it verifies.
fn next_number(number: u64, life: u64) -> u64 {
    number.saturating_add(1).max(life << 32)
}

/// Whether a record of `len` bytes fits, and an idle mark behind it.
fn fits(segment: &Segment, len: u64) -> bool {
    align(segment.used.saturating_add(len)).saturating_add(BLOCK as u64) <= segment.len
}
