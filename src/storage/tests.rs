//! Storage as a whole, on a disk that crashes.

use std::boxed::Box;
use std::string::{String, ToString};
use std::vec::Vec;

use bytes::{Bytes, BytesMut};

use super::test_disk::TestDisk;
use super::*;
use crate::raft::*;
use crate::replica::{RestoreError, Restorer, View};
use crate::rng::Rng;

pub(super) const CLUSTER: ClusterId = 0xc1;

pub(super) fn settings() -> Settings {
    Settings { node: NodeId(1), fresh_disk: DiskId(77), segment_bytes: 4096, max_record_bytes: 1 << 20 }
}

pub(super) fn entry(term: Term, index: LogIndex, len: usize) -> Entry {
    let stamp = Stamp { unix_ms: index, cluster_ms: term };
    let kind = if len == 0 { EntryKind::NoOp } else { EntryKind::Command };
    Entry { id: LogId::new(term, index), kind, stamp, data: std::vec![index as u8; len].into() }
}

pub(super) fn run_of(term: Term, indexes: core::ops::RangeInclusive<u64>, len: usize) -> Entries {
    indexes.map(|index| entry(term, index, len)).collect()
}

fn founding() -> Recovered {
    Recovered {
        disk: settings().fresh_disk,
        vote: HardState::default(),
        snapshot: None,
        entries: run_of(0, 1..=1, 30),
        commit: 1,
        life: 1,
    }
}

pub(super) fn pack(entries: &Entries) -> Bytes {
    let mut out = BytesMut::new();
    entries.pack(&mut out);
    out.freeze()
}

pub(super) fn recover(disk: &mut TestDisk) -> Result<Opened, OpenError> {
    disk.finish(Recovery::new(settings())).take()
}

/// Reads a directory and mends it, unless the fuel ends before; whether it came to its end.
pub(super) fn recover_within(disk: &mut TestDisk, fuel: &mut usize) -> bool {
    let mut recovery = Recovery::new(settings());
    disk.run(&mut recovery, fuel)
        && match recovery.take() {
            Ok(Opened::Formed { mut mend, .. }) => disk.run(&mut mend, fuel),
            Ok(Opened::Unformed(_)) | Err(_) => true,
        }
}

/// An open member.
pub(super) struct Member {
    pub(super) identity: Identity,
    pub(super) recovered: Recovered,
    pub(super) log: LogWriter,
    pub(super) notes: Vec<String>,
}

pub(super) fn reopen(disk: &mut TestDisk) -> Member {
    match recover(disk) {
        Ok(Opened::Formed { identity, recovered, mend, notes }) => {
            let log = disk.finish(mend).take().expect("a disk in order");
            Member { identity, recovered, log, notes }
        }
        other => panic!("{other:?}"),
    }
}

fn refusal(disk: &mut TestDisk) -> OpenError {
    let before = disk.clone();
    let error = match recover(disk) {
        Err(error) => error,
        Ok(opened) => panic!("no refusal: {opened:?}"),
    };
    for file in before.names() {
        assert_eq!(before.clone().bytes(file), disk.bytes(file), "a refusal leaves {file} as it was");
    }
    error
}

fn form(disk: &mut TestDisk) -> LogWriter {
    let Ok(Opened::Unformed(identity)) = recover(disk) else { panic!("not unformed") };
    disk.finish(Formation::new(settings(), identity, CLUSTER, &founding())).take().unwrap().1
}

pub(super) fn formed() -> (TestDisk, LogWriter) {
    let mut disk = TestDisk::default();
    let log = form(&mut disk);
    (disk, log)
}

impl LogWriter {
    fn plan(
        &mut self,
        vote: Option<HardState>,
        snapshot: Option<SnapshotSwitch>,
        entries: Entries,
    ) -> DiskBatch {
        let packed = pack(&entries);
        let snapshot = snapshot.map(Box::new);
        self.persist(&Persist { id: 1, vote, snapshot, entries, commit: 1 }, packed)
    }

    pub(super) fn write(&mut self, disk: &mut TestDisk, entries: Entries) {
        let batch = self.plan(None, None, entries);
        perform(disk, &batch);
        self.done(batch.id);
    }

    /// Goes on from a snapshot of the state after `index`, and lets go what that makes superfluous.
    fn compact(&mut self, disk: &mut TestDisk, index: LogIndex) {
        let snapshot = save(disk, LogId::new(1, index), 10);
        let switch = SnapshotSwitch { snapshot, keeps_suffix: true };
        let batch = self.plan(None, Some(switch), Entries::empty());
        perform(disk, &batch);
        self.done(batch.id);
        self.maintain(disk);
    }

    fn maintain(&mut self, disk: &mut TestDisk) {
        while let Some(upkeep) = self.upkeep() {
            let upkeep = disk.finish(upkeep);
            assert_eq!(self.upkeep_done(upkeep), None);
        }
    }
}

pub(super) fn perform(disk: &mut TestDisk, batch: &DiskBatch) {
    for op in &batch.ops {
        disk.perform(op.clone()).unwrap();
    }
}

fn vote(term: Term) -> HardState {
    HardState { term, vote: Some(NodeId(term % 3 + 1)) }
}

/// A view of `len` bytes, and a restorer that takes them back.
#[derive(Debug)]
struct Bits {
    left: usize,
}

impl View for Bits {
    fn read(&mut self, target: usize, out: &mut Vec<u8>) -> bool {
        let piece = target.min(self.left);
        out.extend((0..piece).map(|i| (self.left - i) as u8));
        self.left -= piece;
        piece > 0
    }
}

#[derive(Debug, Default)]
struct Collect(Vec<u8>);

impl Restorer for Collect {
    type State = Vec<u8>;
    fn push(&mut self, chunk: &[u8]) -> Result<(), RestoreError> {
        self.0.extend_from_slice(chunk);
        Ok(())
    }
    fn finish(self) -> Result<Vec<u8>, RestoreError> {
        Ok(self.0)
    }
}

fn configuration() -> Configuration {
    let member =
        crate::raft::Member { disk: DiskId(77), peer_address: "a:1".into(), client_address: "a:2".into() };
    Configuration::of_voters([(NodeId(1), member)].into())
}

fn identity() -> Identity {
    Identity { node: NodeId(1), disk: DiskId(77), cluster: Some(CLUSTER), boots: 1 }
}

fn save_job(last: LogId, len: usize) -> SaveSnapshot<Bits> {
    let stamp = Stamp { unix_ms: last.index, cluster_ms: 3 };
    let point = SnapshotPoint { last, stamp, configuration: configuration() };
    SaveSnapshot::new(&identity(), point, Bits { left: len })
}

pub(super) fn save(disk: &mut TestDisk, last: LogId, len: usize) -> SnapshotMeta {
    disk.finish(save_job(last, len)).take().unwrap()
}

fn load(disk: &mut TestDisk, meta: &SnapshotMeta, from: FileName) -> Result<Vec<u8>, LoadError> {
    disk.finish(LoadSnapshot::new(&identity(), meta.clone(), from, Collect::default())).take()
}

fn snapshot_file(meta: &SnapshotMeta) -> FileName {
    FileName::snapshot(meta.id.last)
}

fn indexes(recovered: &Recovered) -> Vec<(u64, u64)> {
    recovered.entries.iter().map(|e| (e.id.index, e.id.term)).collect()
}

/// Offsets of the blocks of `file` that begin a record.
fn records(disk: &mut TestDisk, file: FileName) -> Vec<usize> {
    let bytes = disk.bytes(file);
    (0..bytes.len()).step_by(128).filter(|&at| bytes[at..].starts_with(b"QREC")).collect()
}

#[test]
fn a_formed_directory_opens_with_its_founding_entry_and_counts_boots() {
    let (mut disk, _) = formed();
    let first = reopen(&mut disk);
    assert_eq!((first.identity.boots, first.identity.cluster), (2, Some(CLUSTER)));
    assert_eq!(first.recovered.entries, founding().entries);
    assert_eq!(first.recovered.vote, HardState::default());
    assert_eq!(first.recovered.commit, 1);
    assert_eq!(first.notes, Vec::<String>::new());
    assert_eq!(reopen(&mut disk).identity.boots, 3);
}

#[test]
fn a_node_that_joins_starts_with_an_empty_log() {
    let mut disk = TestDisk::default();
    let Ok(Opened::Unformed(identity)) = recover(&mut disk) else { panic!() };
    let nothing = Recovered { entries: Entries::empty(), commit: 0, ..founding() };
    let (_, mut log) = disk.finish(Formation::new(settings(), identity, CLUSTER, &nothing)).take().unwrap();
    let mut member = reopen(&mut disk.clone());
    assert_eq!((member.recovered.entries.len(), member.recovered.commit), (0, 0));
    assert_eq!(member.log.idle_mark(), None);
    log.write(&mut disk, run_of(1, 1..=3, 10));
    assert_eq!(reopen(&mut disk).recovered.entries.len(), 3);
}

#[test]
fn batches_are_numbered_from_one_and_do_not_copy_entries() {
    let (_, mut log) = formed();
    let entries = run_of(1, 2..=3, 100);
    let packed = pack(&entries);
    let persist = Persist { id: 1, vote: Some(vote(1)), snapshot: None, entries, commit: 1 };
    let batch = log.persist(&persist, packed.clone());
    assert_eq!(batch.id, 1);
    let shared = batch.ops.iter().any(|op| match op {
        DiskOp::WriteAt { data, .. } => data.iter().any(|d| d.as_ptr() == packed.as_ptr()),
        _ => false,
    });
    assert!(shared);
    let vote_sync = batch.ops.iter().position(|op| *op == DiskOp::Sync { file: FileName::Vote });
    let record =
        batch.ops.iter().position(|op| matches!(op, DiskOp::WriteAt { file: FileName::Segment(_), .. }));
    assert!(vote_sync < record);
    assert!(matches!(batch.ops.last(), Some(DiskOp::Sync { file: FileName::Segment(1) })));
    assert_eq!(log.plan(None, None, Entries::empty()).id, 2);
}

#[test]
fn row_01_a_torn_tail_is_cut_kept_aside_and_reported() {
    let (mut disk, mut log) = formed();
    log.write(&mut disk, run_of(1, 2..=3, 100));
    let batch = log.plan(None, None, run_of(1, 4..=5, 200));
    perform(&mut disk, &batch);
    let file = FileName::Segment(1);
    let at = *records(&mut disk, file).last().unwrap();
    disk.spoil(file, |bytes| bytes[at + 200] ^= 1);
    let torn = disk.bytes(file)[at..at + 128].to_vec();
    let member = reopen(&mut disk);
    assert_eq!(indexes(&member.recovered), [(1, 0), (2, 1), (3, 1)]);
    assert_eq!(member.notes.len(), 1, "{:?}", member.notes);
    let kept = disk.bytes(FileName::Cut { segment: 1, offset: at as u64 });
    assert_eq!(kept[..128], torn);
    assert!(kept.len() > 128 + 2 * 232 - 1);
    assert!(disk.bytes(file)[at..].iter().all(|&b| b == 0));
    assert_eq!(reopen(&mut disk).notes, Vec::<String>::new());
}

#[test]
fn row_02_a_bad_record_that_was_synced_is_a_refusal_that_names_it() {
    let (mut disk, mut log) = formed();
    log.write(&mut disk, run_of(1, 2..=3, 100));
    log.write(&mut disk, run_of(1, 4..=5, 100));
    log.write(&mut disk, run_of(1, 6..=6, 100));
    let file = FileName::Segment(1);
    let at = records(&mut disk, file)[2];
    for spoil in [at + 130, at + 50] {
        let mut disk = disk.clone();
        disk.spoil(file, |bytes| bytes[spoil] ^= 4);
        let error = refusal(&mut disk);
        let OpenError::SyncedRecordLost { file: named, offset, index, .. } = &error else {
            panic!("{error:?}")
        };
        assert_eq!((*named, *offset, *index), (file, at as u64, 4));
        let text = error.to_string();
        assert!(text.contains("segment-0000000000000001") && text.contains("index 4"), "{text}");
        assert!(text.contains("remove this node from the cluster and add it again"), "{text}");
    }
    disk.spoil(file, |bytes| bytes[at..at + 128].fill(0));
    assert!(matches!(refusal(&mut disk), OpenError::SyncedRecordLost { .. }), "zeros prove nothing");
}

/// A tear leaves a file's length alone, since its space was allocated and synced ahead: a shorter file has lost records,
/// although nothing behind its end is left to say so.
#[test]
fn row_02_a_segment_that_was_cut_short_is_a_refusal_that_names_it() {
    let (mut disk, mut log) = formed();
    log.write(&mut disk, run_of(1, 2..=3, 100));
    let file = FileName::Segment(1);
    let end = records(&mut disk, file)[1];
    disk.spoil(file, |bytes| bytes.truncate(end));
    let error = refusal(&mut disk);
    let OpenError::SegmentShortened { file: named, found, expected } = &error else { panic!("{error:?}") };
    assert_eq!((*named, *found), (file, end as u64));
    assert!(expected > found);
    assert!(error.to_string().contains("segment-0000000000000001 has"), "{error}");
}

#[test]
fn row_02_any_subset_of_unsynced_records_is_only_a_tear() {
    let (mut disk, mut log) = formed();
    log.write(&mut disk, run_of(1, 2..=3, 100));
    for batch in [log.plan(None, None, run_of(1, 4..=4, 50)), log.plan(None, None, run_of(1, 5..=5, 50))] {
        perform(&mut disk, &batch);
    }
    let file = FileName::Segment(1);
    let at = records(&mut disk, file)[2];
    disk.spoil(file, |bytes| bytes[at..at + 128].fill(0));
    let mut member = reopen(&mut disk);
    assert_eq!(member.recovered.entries.len(), 3);
    assert_eq!(member.notes.len(), 1);
    member.log.write(&mut disk, run_of(2, 4..=4, 50));
    assert_eq!(indexes(&reopen(&mut disk).recovered).last(), Some(&(4, 2)));
}

#[test]
fn row_03_an_idle_mark_proves_the_last_record_and_is_written_once() {
    let (mut disk, mut log) = formed();
    log.write(&mut disk, run_of(1, 2..=3, 100));
    let outstanding = log.plan(None, None, run_of(1, 4..=4, 10));
    assert_eq!(log.idle_mark(), None);
    perform(&mut disk, &outstanding);
    log.done(outstanding.id);
    let mark = log.idle_mark().unwrap();
    assert_eq!(mark.id, outstanding.id + 1);
    perform(&mut disk, &mark);
    assert_eq!(log.idle_mark(), None);
    log.done(mark.id);
    assert_eq!(log.idle_mark(), None);
    let mut intact = disk.clone();
    assert!(reopen(&mut intact).log.idle_mark().is_none(), "recovery finds the mark");
    let file = FileName::Segment(1);
    let at = records(&mut disk, file)[2];
    disk.spoil(file, |bytes| bytes[at + 130] ^= 1);
    assert!(matches!(refusal(&mut disk), OpenError::SyncedRecordLost { index: 4, .. }));
}

#[test]
fn row_03_every_segment_keeps_space_for_the_mark() {
    let (mut disk, mut log) = formed();
    for index in 2..200 {
        log.write(&mut disk, run_of(1, index..=index, (index as usize * 37) % 900));
        assert!(reopen(&mut disk.clone()).log.idle_mark().is_some());
        log.maintain(&mut disk);
    }
}

#[test]
fn row_05_what_was_only_in_memory_is_written_and_synced_again() {
    let (mut disk, mut log) = formed();
    log.write(&mut disk, run_of(1, 2..=3, 100));
    let batch = log.plan(Some(vote(4)), None, run_of(4, 4..=5, 100));
    disk.fail_syncs = true;
    for op in &batch.ops {
        let _ = disk.perform(op.clone());
    }
    disk.fail_syncs = false;
    let member = reopen(&mut disk);
    assert_eq!(member.recovered.entries.len(), 5, "the memory still has it");
    disk.lose_unsynced();
    let again = reopen(&mut disk);
    assert_eq!(again.recovered.entries, member.recovered.entries);
    assert_eq!(again.recovered.vote, vote(4));
}

#[test]
fn row_07_without_a_spare_admission_ends_and_begins_again_when_there_is_room() {
    let (mut disk, mut log) = formed();
    assert!(log.has_room(1000) && log.has_room(100_000));
    assert!(!log.has_room((1 << 20) + 1), "longer than a record may be");
    disk.full = true;
    let mut index = 1;
    while log.has_room(300) {
        index += 1;
        log.write(&mut disk, run_of(1, index..=index, 268));
        if let Some(upkeep) = log.upkeep() {
            let upkeep = disk.finish(upkeep);
            assert!(matches!(log.upkeep_done(upkeep), Some(DiskError::NoSpace(_))));
            assert!(!disk.names().any(|f| matches!(f, FileName::Temporary(_))), "no remains");
        }
        assert!(!log.has_room(100_000));
    }
    assert!(index > 10);
    assert!(log.segments.current().unwrap().allocated, "nothing was written beyond what was allocated");
    let batch = log.plan(Some(vote(2)), None, run_of(2, index + 1..=index + 1, 0));
    assert!(batch.ops.iter().all(|op| !matches!(op, DiskOp::Create { .. })), "the reserve");
    perform(&mut disk, &batch);
    log.done(batch.id);
    disk.full = false;
    log.maintain(&mut disk);
    assert!(log.has_room(300) && log.has_room(100_000));
}

#[test]
fn row_07_the_vote_file_and_the_next_segment_are_allocated_ahead() {
    let (mut disk, mut log) = formed();
    let len = disk.bytes(FileName::Vote).len();
    for term in 1..20 {
        let batch = log.plan(Some(vote(term)), None, Entries::empty());
        perform(&mut disk, &batch);
        log.done(batch.id);
    }
    assert_eq!(disk.bytes(FileName::Vote).len(), len);
    assert_eq!(disk.bytes(FileName::Spare(1)).len(), 4096);
    assert_eq!(disk.bytes(FileName::Segment(1)).len(), 4096);
}

#[test]
fn row_08_a_read_error_is_never_taken_for_an_empty_log() {
    let (mut disk, mut log) = formed();
    log.write(&mut disk, run_of(1, 2..=3, 100));
    for file in [FileName::Identity, FileName::Vote, FileName::Segment(1)] {
        disk.unreadable = Some(file);
        assert_eq!(refusal(&mut disk), OpenError::Disk(DiskError::Io(Some(file), 5)));
    }
}

#[test]
fn row_09_leftovers_of_an_older_life_never_follow_new_records() {
    let (mut disk, mut log) = formed();
    log.write(&mut disk, run_of(1, 2..=2, 60));
    for index in 3..6 {
        let batch = log.plan(None, None, run_of(1, index..=index, 60));
        perform(&mut disk, &batch);
    }
    let file = FileName::Segment(1);
    let at = records(&mut disk, file);
    disk.spoil(file, |bytes| bytes[at[2]] ^= 1);
    let before = disk.bytes(file);
    let mut member = reopen(&mut disk);
    assert!(records(&mut disk, file).len() == 2, "cleared");
    // Even if the clearing had not reached the disk, the life of the leftovers gives them away.
    disk.spoil(file, |bytes| bytes[at[3]..].copy_from_slice(&before[at[3]..]));
    member.log.write(&mut disk, run_of(2, 3..=3, 60));
    assert_eq!(indexes(&reopen(&mut disk).recovered), [(1, 0), (2, 1), (3, 2)]);
}

#[test]
fn row_09_a_recycled_segment_needs_no_zeros() {
    let (mut disk, mut log) = formed();
    let mut index = 1;
    for _ in 0..6 {
        while log.segments.count() < 4 {
            index += 1;
            log.write(&mut disk, run_of(1, index..=index, 500));
        }
        log.compact(&mut disk, index - 1);
        let member = reopen(&mut disk.clone());
        assert_eq!(member.notes, Vec::<String>::new());
        assert_eq!(indexes(&member.recovered), [(index, 1)]);
    }
    assert_eq!(disk.names().filter(|f| matches!(f, FileName::Snapshot { .. })).count(), 1);
    assert!(disk.names().filter(|f| matches!(f, FileName::Segment(_))).count() <= 3);
    assert!(disk.names().filter(|f| matches!(f, FileName::Spare(_))).count() <= 4);
}

#[test]
fn as_many_spares_are_kept_as_the_log_was_long() {
    let (mut disk, mut log) = formed();
    let mut index = 1;
    let mut spares_after = |entries: u64| {
        for _ in 0..entries {
            index += 1;
            log.write(&mut disk, run_of(1, index..=index, 2500));
            log.maintain(&mut disk);
        }
        log.compact(&mut disk, index - 1);
        disk.names().filter(|file| matches!(file, FileName::Spare(_))).count()
    };
    let kept = spares_after(12);
    assert!(kept > 4, "{kept}");
    assert!(spares_after(12) > 4, "again");
    // Where it is shorter from then on they go, one for each segment that it needs.
    let last = (0..20).map(|_| spares_after(1)).last();
    assert!(last <= Some(4), "{last:?}");
}

#[test]
fn row_10_a_wild_length_is_bounded_by_the_file() {
    let (mut disk, mut log) = formed();
    log.write(&mut disk, run_of(1, 2..=2, 60));
    let file = FileName::Segment(1);
    let owner = block::Owner { cluster: CLUSTER, node: NodeId(1), disk: DiskId(77) };
    for (switch_len, packed_len) in [(0, u64::MAX), (u64::MAX, u64::MAX), (1 << 40, 0), (4000, 4000)] {
        let header = record::RecordHeader {
            segment: 1,
            life: 1,
            sequence: 3,
            synced: 1,
            switch_len,
            packed_len,
            ..Default::default()
        };
        let mut disk = disk.clone();
        let at = log.segments.current().unwrap().used as usize;
        disk.spoil(file, |bytes| bytes[at..at + 128].copy_from_slice(&header.seal(owner.seed(1))));
        assert_eq!(reopen(&mut disk).recovered.entries.len(), 2);
    }
}

#[test]
fn row_10_a_record_longer_than_a_segment_gets_one_of_its_own() {
    let (mut disk, mut log) = formed();
    log.write(&mut disk, run_of(1, 2..=2, 400_000));
    log.write(&mut disk, run_of(1, 3..=3, 10));
    log.maintain(&mut disk);
    let member = reopen(&mut disk);
    assert_eq!(member.recovered.entries.len(), 3);
    assert_eq!(member.recovered.entries[1].data.len(), 400_000);
    assert_eq!(member.log.segments().0, 3);
}

#[test]
fn row_11_a_record_of_another_place_or_time_does_not_verify() {
    let (mut disk, mut log) = formed();
    log.write(&mut disk, run_of(1, 2..=2, 60));
    log.write(&mut disk, run_of(1, 3..=3, 60));
    let file = FileName::Segment(1);
    let at = records(&mut disk, file);
    let end = log.segments.current().unwrap().used as usize;
    // A stale write: were it taken for the next record, it would cut the log.
    let mut doubled = disk.clone();
    doubled.spoil(file, |bytes| bytes.copy_within(at[1]..at[2], end));
    assert_eq!(indexes(&reopen(&mut doubled).recovered), [(1, 0), (2, 1), (3, 1)]);
    // A misdirected one: the next record, of the segment of that number in another directory.
    let mut other = TestDisk::default();
    let Ok(Opened::Unformed(identity)) = recover(&mut other) else { panic!() };
    let mut foreign = other.finish(Formation::new(settings(), identity, 0xc2, &founding())).take().unwrap().1;
    for index in 2..=4 {
        foreign.write(&mut other, run_of(1, index..=index, 60));
    }
    let record = other.bytes(file)[end..end + 256].to_vec();
    assert!(record.starts_with(b"QREC"));
    disk.spoil(file, |bytes| bytes[end..end + 256].copy_from_slice(&record));
    assert_eq!(indexes(&reopen(&mut disk).recovered), [(1, 0), (2, 1), (3, 1)]);
}

#[test]
fn row_12_and_formation_a_crash_anywhere_in_it_is_harmless() {
    for seed in 0..4 {
        for stop in 0.. {
            let mut rng = Rng::stream(seed, stop as u64);
            let mut disk = TestDisk::default();
            let mut fuel = stop;
            let mut recovery = Recovery::new(settings());
            let mut finished = disk.run(&mut recovery, &mut fuel);
            if finished {
                let Ok(Opened::Unformed(identity)) = recovery.take() else { panic!() };
                let mut formation = Formation::new(settings(), identity, CLUSTER, &founding());
                finished = disk.run(&mut formation, &mut fuel);
            }
            disk.crash(&mut rng);
            let formed = match recover(&mut disk) {
                Ok(Opened::Unformed(identity)) => {
                    assert!(!finished, "a finished formation is durable");
                    disk.finish(Formation::new(settings(), identity, CLUSTER, &founding())).take().unwrap();
                    reopen(&mut disk)
                }
                Ok(Opened::Formed { identity, recovered, mend, notes }) => {
                    let log = disk.finish(mend).take().unwrap();
                    Member { identity, recovered, log, notes }
                }
                Err(error) => panic!("seed {seed}, stop {stop}: {error}"),
            };
            assert_eq!(formed.recovered.entries, founding().entries);
            if finished {
                break;
            }
        }
    }
}

#[test]
fn row_13_a_missing_segment_is_a_refusal() {
    let (mut disk, mut log) = formed();
    for index in 2..40 {
        log.write(&mut disk, run_of(1, index..=index, 300));
    }
    assert!(log.segments().0 > 3);
    let segments: Vec<_> = disk.names().filter(|f| matches!(f, FileName::Segment(_))).collect();
    for &file in &segments[..2] {
        let mut disk = disk.clone();
        disk.perform(DiskOp::Remove { file }).unwrap();
        let error = refusal(&mut disk);
        assert!(matches!(error, OpenError::SyncedRecordLost { .. } | OpenError::Gap { .. }), "{error:?}");
    }
    for file in segments {
        disk.perform(DiskOp::Remove { file }).unwrap();
    }
    assert!(matches!(refusal(&mut disk), OpenError::SyncedRecordLost { .. }), "no segment at all");
}

#[test]
fn row_13_a_snapshot_without_its_switch_changes_nothing_and_the_other_way_round_it_is_a_refusal() {
    let (mut disk, mut log) = formed();
    log.write(&mut disk, run_of(1, 2..=9, 10));
    let snapshot = save(&mut disk, LogId::new(1, 6), 100);
    let file = snapshot_file(&snapshot);
    let mut unnamed = disk.clone();
    let member = reopen(&mut unnamed);
    assert_eq!((member.recovered.snapshot, member.recovered.entries.len()), (None, 9));
    assert!(unnamed.bytes(file).is_empty(), "worth nothing");

    let switch = SnapshotSwitch { snapshot: snapshot.clone(), keeps_suffix: true };
    let batch = log.plan(None, Some(switch), Entries::empty());
    perform(&mut disk, &batch);
    log.done(batch.id);
    let member = reopen(&mut disk);
    assert_eq!(member.recovered.snapshot, Some(snapshot.clone()));
    assert_eq!(indexes(&member.recovered), [(7, 1), (8, 1), (9, 1)]);
    assert_eq!(member.recovered.commit, 6);
    let mut short = disk.clone();
    short.spoil(file, |bytes| bytes.truncate(50));
    assert!(matches!(refusal(&mut short), OpenError::SnapshotLost { found: Some(50), .. }));
    disk.perform(DiskOp::Remove { file }).unwrap();
    let error = refusal(&mut disk);
    assert!(error.to_string().contains("snapshot-0000000000000006-0000000000000001"), "{error}");
}

#[test]
fn row_14_any_flipped_bit_or_lost_byte_of_a_snapshot_is_found() {
    let mut disk = TestDisk::default();
    let meta = save(&mut disk, LogId::new(1, 6), 700);
    let file = snapshot_file(&meta);
    let whole = disk.bytes(file);
    assert_eq!(whole.len() as u64, meta.len);
    let state = load(&mut disk, &meta, file).unwrap();
    assert_eq!(state.len(), 700);
    for at in 0..whole.len() {
        disk.spoil(file, |bytes| bytes[at] ^= 1 << (at % 8));
        assert!(load(&mut disk, &meta, file).is_err(), "byte {at}");
        disk.spoil(file, |bytes| bytes[at] ^= 1 << (at % 8));
        disk.spoil(file, |bytes| bytes.truncate(at));
        assert!(load(&mut disk, &meta, file).is_err(), "cut at {at}");
        disk.spoil(file, |bytes| *bytes = whole.clone());
    }
    disk.spoil(file, |bytes| bytes.push(0));
    assert!(matches!(load(&mut disk, &meta, file), Err(LoadError::Corrupt { .. })));
    assert!(!disk.bytes(file).is_empty(), "a snapshot in use is left for a person");
}

#[test]
fn row_14_what_was_loaded_early_counts_only_as_the_snapshot_that_the_log_names() {
    fn early(disk: &mut TestDisk, identity: &Identity, snapshot: &SnapshotMeta) -> Option<Vec<u8>> {
        disk.finish(EarlyLoad::new(Collect::default())).take(identity, snapshot)
    }
    let mut disk = TestDisk::default();
    let older = save(&mut disk, LogId::new(1, 6), 700);
    assert_eq!(early(&mut disk, &identity(), &older).map(|state| state.len()), Some(700));

    let stranger = Identity { cluster: Some(CLUSTER + 1), ..identity() };
    assert_eq!(early(&mut disk, &stranger, &older), None);
    let (mut other, mut longer, mut later) = (older.clone(), older.clone(), older.clone());
    other.id.checksum ^= 1;
    longer.len += 1;
    later.stamp.unix_ms += 1;
    for wanted in [other, longer, later] {
        assert_eq!(early(&mut disk, &identity(), &wanted), None, "{wanted:?}");
    }

    // The name is what the log would go by.
    let mut renamed = disk.clone();
    let to = FileName::Snapshot { index: 5, term: 1 };
    renamed.perform(DiskOp::Rename { from: snapshot_file(&older), to }).unwrap();
    assert_eq!(early(&mut renamed, &identity(), &older), None);

    let newer = save(&mut disk, LogId::new(2, 7), 800);
    assert_eq!(early(&mut disk, &identity(), &older), None, "it was the newest");
    assert_eq!(early(&mut disk, &identity(), &newer).map(|state| state.len()), Some(800));
    let file = snapshot_file(&newer);
    let whole = disk.bytes(file);
    for at in 0..whole.len() {
        disk.spoil(file, |bytes| bytes[at] ^= 1 << (at % 8));
        assert_eq!(early(&mut disk, &identity(), &newer), None, "byte {at}");
        disk.spoil(file, |bytes| *bytes = whole[..at].to_vec());
        assert_eq!(early(&mut disk, &identity(), &newer), None, "cut at {at}");
        assert_eq!(disk.bytes(file).len(), at, "it writes nothing");
        disk.spoil(file, |bytes| *bytes = whole.clone());
    }
    assert_eq!(early(&mut TestDisk::default(), &identity(), &newer), None, "there is none");
}

/// The snapshot that the log goes on from is loaded between recovery and mending: when it does not verify, the directory is
/// refused as it was found, boot counter and vote included.
#[test]
fn row_14_nothing_is_written_before_the_snapshot_could_be_refused() {
    let (mut disk, _) = formed();
    let mut before = disk.clone();
    let Ok(Opened::Formed { identity, mend, .. }) = recover(&mut disk) else { panic!("not formed") };
    for file in before.clone().names() {
        assert_eq!(before.bytes(file), disk.bytes(file), "{file}");
    }
    assert!(mend_and_count(&mut disk, mend) == identity.boots && identity.boots > 1);
}

/// Mends, and yields the boot that the directory has counted.
fn mend_and_count(disk: &mut TestDisk, mend: Mend) -> u64 {
    disk.finish(mend).take().expect("a disk in order");
    let Ok(Opened::Formed { identity, .. }) = recover(disk) else { panic!("not formed") };
    identity.boots - 1
}

#[test]
fn row_14_a_received_snapshot_is_durable_under_its_name_before_it_is_loaded() {
    let mut sender = TestDisk::default();
    let meta = save(&mut sender, LogId::new(3, 60), 2_500_000);
    let mut disk = TestDisk::default();
    let mut offset = 0;
    while offset < meta.len {
        let piece = sender.finish(ReadChunk::new(&meta, offset, 100_000)).take().unwrap();
        let written = disk.finish(WriteChunk::new(meta.id, offset, piece)).take().unwrap();
        assert!(written > offset);
        offset = written;
    }
    assert_eq!(sender.finish(ReadChunk::new(&meta, offset, 1)).take(), Ok(Bytes::new()));
    let from = FileName::Incoming { index: 60, term: 3 };
    let mut bad = disk.clone();
    bad.spoil(from, |bytes| bytes[2_000_000] ^= 1);
    assert!(matches!(load(&mut bad, &meta, from), Err(LoadError::Corrupt { .. })));
    assert_eq!(bad.names().count(), 0, "what was received is gone");
    let state = load(&mut disk, &meta, from).unwrap();
    assert_eq!(state.len(), 2_500_000);
    disk.lose_unsynced();
    assert_eq!(load(&mut disk, &meta, snapshot_file(&meta)), Ok(state));
    let again = disk.finish(WriteChunk::new(meta.id, 0, Bytes::from_static(b"x"))).take();
    assert_eq!((again, disk.bytes(from).len()), (Ok(1), 1));
}

#[test]
fn a_received_snapshot_is_loaded_while_it_is_written_and_like_a_whole_one() {
    let mut sender = TestDisk::default();
    let meta = save(&mut sender, LogId::new(3, 60), 700_000);
    let all = sender.bytes(snapshot_file(&meta)).to_vec();
    let from = FileName::Incoming { index: 60, term: 3 };
    let receive = |spoiled: Option<usize>, piece: usize| {
        let mut disk = TestDisk::default();
        let mut load = LoadSnapshot::growing(&identity(), meta.clone(), Collect::default());
        assert_eq!(load.next(None), None, "nothing is written");
        let mut bytes = all.clone();
        if let Some(at) = spoiled {
            bytes[at] ^= 1;
        }
        for (number, part) in bytes.chunks(piece).enumerate() {
            let write = WriteChunk::new(meta.id, (number * piece) as u64, Bytes::copy_from_slice(part));
            let written = disk.finish(write).take().unwrap();
            load.go_on(written);
            load = disk.finish(load);
            assert!(load.has_failed() || load.unread() == 0);
            // Pieces are still to come: the file stays until all of it can be judged.
            assert!(written == meta.len || !disk.bytes(from).is_empty());
        }
        (load.take(), disk)
    };
    for piece in [1_000, 100_000, 300_000, all.len()] {
        let (state, mut disk) = receive(None, piece);
        assert_eq!(state.unwrap().len(), 700_000);
        disk.lose_unsynced();
        assert!(load(&mut disk, &meta, snapshot_file(&meta)).is_ok());
        for at in [0, 5_000, 350_000, all.len() - 1] {
            let (state, _) = receive(Some(at), piece);
            assert!(matches!(state, Err(LoadError::Corrupt { .. })), "a byte at {at}, pieces of {piece}");
        }
    }
}

#[test]
fn row_14_the_older_snapshot_stays_until_the_switch_is_durable_and_while_it_is_pinned() {
    let (mut disk, mut log) = formed();
    log.write(&mut disk, run_of(1, 2..=9, 10));
    let mut metas = Vec::new();
    for index in [4, 6] {
        let snapshot = save(&mut disk, LogId::new(1, index), 100);
        metas.push(snapshot.clone());
        let switch = SnapshotSwitch { snapshot, keeps_suffix: true };
        let batch = log.plan(None, Some(switch), Entries::empty());
        perform(&mut disk, &batch);
        log.maintain(&mut disk);
        assert_eq!(disk.names().filter(|f| matches!(f, FileName::Snapshot { .. })).count(), metas.len());
        if index == 6 {
            log.pin(metas[0].id);
        }
        log.done(batch.id);
    }
    log.maintain(&mut disk);
    assert!(!disk.bytes(snapshot_file(&metas[0])).is_empty());
    log.unpin(metas[0].id);
    log.maintain(&mut disk);
    assert!(disk.bytes(snapshot_file(&metas[0])).is_empty());
    assert!(!disk.bytes(snapshot_file(&metas[1])).is_empty());
}

#[test]
fn a_snapshot_that_the_log_never_named_is_removed_when_it_goes_on_from_a_later_one() {
    let (mut disk, mut log) = formed();
    log.write(&mut disk, run_of(1, 2..=9, 10));
    let overtaken = save(&mut disk, LogId::new(1, 4), 100);
    let snapshot = save(&mut disk, LogId::new(1, 6), 100);
    let batch = log.plan(None, Some(SnapshotSwitch { snapshot, keeps_suffix: true }), Entries::empty());
    perform(&mut disk, &batch);
    log.keep_track(overtaken.id);
    log.maintain(&mut disk);
    assert!(!disk.bytes(snapshot_file(&overtaken)).is_empty(), "not before that is durable");
    log.done(batch.id);
    log.maintain(&mut disk);
    assert!(disk.bytes(snapshot_file(&overtaken)).is_empty());
    assert_eq!(disk.names().filter(|f| matches!(f, FileName::Snapshot { .. })).count(), 1);
}

#[test]
fn a_durable_switch_that_replaces_the_log_frees_its_segments() {
    let (mut disk, mut log) = formed();
    for index in 2..40 {
        log.write(&mut disk, run_of(1, index..=index, 300));
    }
    let snapshot = save(&mut disk, LogId::new(2, 20), 10);
    let batch =
        log.plan(None, Some(SnapshotSwitch { snapshot, keeps_suffix: false }), run_of(2, 21..=21, 1500));
    perform(&mut disk, &batch);
    log.maintain(&mut disk);
    assert!(log.segments().0 > 3, "not before it is durable");
    log.done(batch.id);
    log.maintain(&mut disk);
    assert!(log.segments().0 <= 2);
    assert_eq!(indexes(&reopen(&mut disk).recovered), [(21, 2)]);
}

#[test]
fn row_14_a_snapshot_is_synced_in_steps_and_its_failure_leaves_nothing() {
    let mut disk = TestDisk::default();
    let mut job = save_job(LogId::new(1, 6), 5 << 20);
    let (mut last, mut unsynced, mut most) = (None, 0, 0);
    while let Some(op) = job.next(last) {
        match &op {
            DiskOp::WriteAt { data, .. } => unsynced += data.iter().map(Bytes::len).sum::<usize>(),
            DiskOp::Sync { .. } => unsynced = 0,
            _ => {}
        }
        most = most.max(unsynced);
        last = Some(disk.perform(op));
    }
    assert!(most <= 512 << 10, "{most}");
    let mut disk = TestDisk::default();
    disk.fail_syncs = true;
    let job = disk.finish(save_job(LogId::new(1, 6), 5 << 20));
    assert!(job.take().is_err());
    assert_eq!(disk.names().count(), 0);
}

#[test]
fn row_16_the_loss_of_the_vote_is_a_refusal_never_term_zero() {
    let (mut disk, mut log) = formed();
    let batch = log.plan(Some(vote(3)), None, Entries::empty());
    perform(&mut disk, &batch);
    log.done(batch.id);
    let mut one = disk.clone();
    one.spoil(FileName::Vote, |bytes| {
        let at = (0..bytes.len()).step_by(4096).rfind(|&at| bytes[at..].starts_with(b"QVOT")).unwrap();
        bytes[at + 60] ^= 1;
    });
    let member = reopen(&mut one);
    assert_eq!(member.recovered.vote, vote(3));
    assert_eq!(member.notes.len(), 1);
    assert_eq!(reopen(&mut one).notes.len(), 0, "healed");
    let mut all = disk.clone();
    all.spoil(FileName::Vote, |bytes| bytes.fill(0));
    assert_eq!(refusal(&mut all), OpenError::VoteLost);
    disk.perform(DiskOp::Remove { file: FileName::Vote }).unwrap();
    assert_eq!(refusal(&mut disk), OpenError::VoteLost);
}

#[test]
fn row_16_a_vote_that_a_synced_record_was_written_after_cannot_be_lost_unnoticed() {
    let (mut disk, mut log) = formed();
    let old = disk.bytes(FileName::Vote);
    let batch = log.plan(Some(vote(3)), None, run_of(3, 2..=2, 10));
    perform(&mut disk, &batch);
    let mut torn = disk.clone();
    torn.spoil(FileName::Vote, |bytes| *bytes = old.clone());
    let member = reopen(&mut torn);
    assert_eq!(member.recovered.entries.len(), 1, "nothing proves that either was synced: neither was");
    log.done(batch.id);
    log.write(&mut disk, run_of(3, 3..=3, 10));
    disk.spoil(FileName::Vote, |bytes| *bytes = old);
    assert_eq!(refusal(&mut disk), OpenError::VoteLost);
}

#[test]
fn row_16_a_log_that_a_vote_knows_to_be_synced_cannot_be_lost_unnoticed() {
    let (mut disk, mut log) = formed();
    log.write(&mut disk, run_of(1, 2..=2, 10));
    let batch = log.plan(Some(vote(3)), None, Entries::empty());
    perform(&mut disk, &batch);
    let at = records(&mut disk, FileName::Segment(1))[1];
    disk.spoil(FileName::Segment(1), |bytes| bytes[at + 5] ^= 1);
    assert!(matches!(refusal(&mut disk), OpenError::SyncedRecordLost { index: 2, .. }));
}

#[test]
fn row_03_a_restart_proves_the_whole_log() {
    let (mut disk, mut log) = formed();
    log.write(&mut disk, run_of(1, 2..=2, 10));
    reopen(&mut disk);
    let at = records(&mut disk, FileName::Segment(1))[1];
    disk.spoil(FileName::Segment(1), |bytes| bytes[at + 5] ^= 1);
    assert!(matches!(refusal(&mut disk), OpenError::SyncedRecordLost { index: 2, .. }));
}

#[test]
fn row_18_a_foreign_directory_or_file_is_refused_by_name() {
    let (disk, _) = formed();
    let other = Settings { node: NodeId(2), ..settings() };
    let error = disk.clone().finish(Recovery::new(other)).take().unwrap_err();
    assert!(error.to_string().contains("belongs to node 1, and this is node 2"), "{error}");

    let mut foreign = TestDisk::default();
    let Ok(Opened::Unformed(identity)) = recover(&mut foreign) else { panic!() };
    foreign.finish(Formation::new(settings(), identity, 0xc2, &founding())).take().unwrap();
    for file in [FileName::Vote, FileName::Segment(1)] {
        let mut mixed = disk.clone();
        mixed.spoil(file, |bytes| *bytes = foreign.bytes(file));
        assert_eq!(refusal(&mut mixed), OpenError::WrongCluster { file, found: 0xc2, expected: CLUSTER });
    }
    for (settings, wrong) in [
        (Settings { node: NodeId(9), ..settings() }, "node 9"),
        (Settings { fresh_disk: DiskId(9), ..settings() }, "disk 00000000000000000000000000000009"),
    ] {
        let mut foreign = TestDisk::default();
        let Ok(Opened::Unformed(identity)) = foreign.finish(Recovery::new(settings)).take() else { panic!() };
        foreign.finish(Formation::new(settings, identity, CLUSTER, &founding())).take().unwrap();
        let mut mixed = disk.clone();
        mixed.spoil(FileName::Segment(1), |bytes| *bytes = foreign.bytes(FileName::Segment(1)));
        let text = refusal(&mut mixed).to_string();
        assert!(text.contains(wrong) && text.contains("segment-"), "{text}");
    }
    let mut lost = disk.clone();
    lost.perform(DiskOp::Remove { file: FileName::Identity }).unwrap();
    assert_eq!(refusal(&mut lost), OpenError::IdentityLost);
}

#[test]
fn row_22_an_unknown_version_is_refused_by_name() {
    use xxhash_rust::xxh3::xxh3_64_with_seed;
    let (disk, _) = formed();
    let owner = block::Owner { cluster: CLUSTER, node: NodeId(1), disk: DiskId(77) };
    let cases = [
        (FileName::Identity, 0, 0),
        (FileName::Vote, 0, 0),
        (FileName::Segment(1), 0, 0),
        (FileName::Segment(1), 128, owner.seed(1)),
    ];
    for (file, at, seed) in cases {
        let mut disk = disk.clone();
        disk.spoil(file, |bytes| {
            bytes[at + 4] = 9;
            let checksum = xxh3_64_with_seed(&bytes[at..at + 120], seed);
            bytes[at + 120..at + 128].copy_from_slice(&checksum.to_le_bytes());
        });
        assert_eq!(refusal(&mut disk), OpenError::Version { file, found: 9 });
    }
}

#[test]
fn leftovers_are_cleaned_and_spares_adopted() {
    let (mut disk, mut log) = formed();
    log.maintain(&mut disk);
    for file in [
        FileName::Temporary(5),
        FileName::Incoming { index: 3, term: 1 },
        FileName::Snapshot { index: 3, term: 1 },
    ] {
        disk.perform(DiskOp::Create { file }).unwrap();
    }
    disk.perform(DiskOp::Create { file: FileName::Spare(9) }).unwrap();
    let mut member = reopen(&mut disk);
    let spares: Vec<_> = disk.names().filter(|f| matches!(f, FileName::Spare(_))).collect();
    assert_eq!(spares, [FileName::Spare(1), FileName::Spare(2)]);
    assert_eq!(disk.names().count(), 5);
    assert_eq!(member.log.segments(), (1, 2));
    assert!(member.log.upkeep().is_none());
    assert_eq!(disk.finish(RemoveFile::new(FileName::Spare(1))).take(), Ok(()));
    assert_eq!(disk.names().count(), 4);
}
