//! A disk by itself: what it performs, refuses and forgets.

use super::*;
use crate::kv::{Call, KvStore, parse};
use crate::node::Fault;
use crate::raft::NodeId;
use crate::replica::Request;
use crate::sim::{Cluster, Crash, Settings};
use smallvec::smallvec;
use std::collections::VecDeque;
use std::format;

const FILE: FileName = FileName::Vote;
const TEMPORARY: FileName = FileName::Temporary(1);

fn write(file: FileName, offset: u64, data: &'static [u8]) -> DiskOp {
    DiskOp::WriteAt { file, offset, data: smallvec![Bytes::from_static(data)] }
}

/// Performs all of them; none may fail.
fn perform(disk: &mut Disk, ops: &[DiskOp]) {
    for op in ops {
        disk.perform(op, &mut Rng::new(0)).expect("performs");
    }
}

/// Temporary name, write, sync, rename, sync of the directory (STORAGE row 12), in ten steps and more.
fn replacement(data: &'static [u8]) -> [DiskOp; 5] {
    [
        DiskOp::Create { file: TEMPORARY },
        write(TEMPORARY, 0, data),
        DiskOp::Sync { file: TEMPORARY },
        DiskOp::Rename { from: TEMPORARY, to: FILE },
        DiskOp::SyncDirectory,
    ]
}

#[test]
fn reads_are_short_only_at_the_end() {
    let mut disk = Disk::with_files([(FILE, b"hello".to_vec())]);
    let mut read = |offset, len| disk.perform(&DiskOp::ReadAt { file: FILE, offset, len }, &mut Rng::new(0));
    assert_eq!(read(1, 3), Ok(DiskReply::Bytes(Bytes::from_static(b"ell"))));
    assert_eq!(read(3, 9), Ok(DiskReply::Bytes(Bytes::from_static(b"lo"))));
    assert_eq!(read(u64::MAX, u64::MAX), Ok(DiskReply::Bytes(Bytes::new())));
    let missing = disk.perform(&DiskOp::ReadAt { file: TEMPORARY, offset: 0, len: 1 }, &mut Rng::new(0));
    assert_eq!(missing, Err(DiskError::NotFound(TEMPORARY)));
}

#[test]
fn row_12_a_replaced_file_is_the_old_or_the_new_one_after_a_crash_anywhere() {
    let ops = replacement(b"new");
    for seed in 0..300 {
        let mut rng = Rng::new(seed);
        let mut disk = Disk::new();
        perform(&mut disk, &replacement(b"old"));
        let done = rng.below(ops.len() as u64 + 1) as usize;
        perform(&mut disk, &ops[..done]);
        if let Some(op) = ops.get(done) {
            disk.interrupt(op, &mut rng);
        }
        disk.crash(&mut rng);
        let found = disk.read(FILE).expect("never missing");
        let expected: &[&[u8]] = if done == ops.len() { &[b"new"] } else { &[b"old", b"new"] };
        assert!(expected.contains(&found), "seed {seed}: {found:?} after {done} operations");
    }
}

#[test]
fn a_rename_without_the_sync_before_it_loses_the_bytes() {
    let ops = replacement(b"new");
    let careless = [ops[0].clone(), ops[1].clone(), ops[3].clone(), ops[4].clone()];
    let torn = |seed| {
        let mut disk = Disk::new();
        perform(&mut disk, &careless);
        disk.crash(&mut Rng::new(seed));
        disk.read(FILE) != Some(b"new")
    };
    assert!((0..20).any(torn), "the disk forgives what a real one does not");
}

#[test]
fn a_killed_process_loses_nothing_that_was_written() {
    let mut disk = Disk::new();
    perform(&mut disk, &replacement(b"old")[..2]);
    disk.interrupt(&write(TEMPORARY, 3, b"more"), &mut Rng::new(3));
    let found = disk.read(TEMPORARY).expect("is there");
    assert!(found.starts_with(b"old") && b"oldmore".starts_with(found));
}

#[test]
fn a_full_disk_writes_short_and_says_so() {
    let mut disk = Disk::with_files([(FILE, b"0123456789".to_vec())]);
    perform(&mut disk, &[DiskOp::Create { file: TEMPORARY }]);
    disk.set_capacity(Some(12));
    let full = disk.perform(&write(TEMPORARY, 0, b"abcd"), &mut Rng::new(0));
    assert_eq!(full, Err(DiskError::NoSpace(TEMPORARY)));
    assert_eq!(disk.read(TEMPORARY), Some(&b"ab"[..]));
    perform(&mut disk, &[write(FILE, 0, b"overwrites")]);
    perform(&mut disk, &[DiskOp::Remove { file: FILE }, write(TEMPORARY, 2, b"cd")]);
    assert_eq!(disk.read(TEMPORARY), Some(&b"abcd"[..]));
}

#[test]
fn a_fault_strikes_once_at_its_place() {
    let mut disk = Disk::with_files([(FILE, b"x".to_vec())]);
    disk.fail_after(OpKind::Read, 1);
    let results: Vec<bool> = (0..3).map(|_| disk.perform(&DiskOp::List, &mut Rng::new(0)).is_ok()).collect();
    assert_eq!(results, [true, false, true]);
}

#[test]
fn row_04_after_a_failed_sync_the_next_one_promises_nothing_about_old_bytes() {
    let lost = |seed| {
        let mut rng = Rng::new(seed);
        let mut disk = Disk::with_files([(FILE, Vec::new())]);
        perform(&mut disk, &[write(FILE, 0, b"bytes")]);
        disk.fail_after(OpKind::Sync, 0);
        let failed = disk.perform(&DiskOp::Sync { file: FILE }, &mut rng);
        assert_eq!(failed, Err(DiskError::Io(Some(FILE), EIO)));
        assert_eq!(disk.perform(&DiskOp::Sync { file: FILE }, &mut rng), Ok(DiskReply::Done));
        disk.crash(&mut rng);
        disk.read(FILE) != Some(b"bytes")
    };
    assert!((0..20).any(lost));
}

#[test]
fn wild_offsets_are_refused() {
    let mut disk = Disk::with_files([(FILE, Vec::new())]);
    let far = DiskOp::WriteAt { file: FILE, offset: u64::MAX, data: smallvec![Bytes::from_static(b"x")] };
    assert!(disk.perform(&far, &mut Rng::new(0)).is_err());
    let long = DiskOp::Zero { file: FILE, offset: 1, len: u64::MAX };
    assert!(disk.perform(&long, &mut Rng::new(0)).is_err());
    assert_eq!(disk.read(FILE), Some(&b""[..]));
}

#[test]
fn same_seed_same_disk() {
    let after = |seed| {
        let mut disk = Disk::new();
        perform(&mut disk, &replacement(b"bytes that may be torn")[..4]);
        disk.crash(&mut Rng::new(seed));
        disk.list()
    };
    assert!((0..20).all(|seed| after(seed) == after(seed)));
}

#[test]
fn files_without_a_name_are_forgotten() {
    let mut disk = Disk::new();
    perform(&mut disk, &replacement(b"one"));
    perform(&mut disk, &replacement(b"two"));
    perform(&mut disk, &[DiskOp::Remove { file: FILE }, DiskOp::SyncDirectory]);
    assert!(disk.files.is_empty());
}

/// A cluster of one that has written for a while, several snapshots and segments long, with its process killed or its power
/// cut.
fn used(seed: u64, weather: DiskWeather) -> Cluster<KvStore> {
    used_as(Settings::new(seed, 1), weather)
}

fn used_as(mut settings: Settings, weather: DiskWeather) -> Cluster<KvStore> {
    let seed = settings.seed;
    settings.tolerated = |_| true;
    settings.node.segment_bytes = 16 << 10;
    settings.node.snapshot_log_bytes = Some(20 << 10);
    let mut cluster = Cluster::new(settings);
    cluster.start_all().expect("starts");
    cluster.settle(10_000_000).expect("no promise is broken").expect("leads");
    let pace = cluster.machine(NodeId(1)).disk.weather().pace;
    cluster.machine(NodeId(1)).disk.set_weather(DiskWeather { pace, ..weather });
    for n in 0..60 + seed % 40 {
        let key = Bytes::from(format!("key-{}", n % 7).into_bytes());
        let words = [Bytes::from_static(b"SET"), key, Bytes::from(std::vec![b'v'; 900])];
        let Ok(Call::Write(command)) = parse(&words) else { panic!("is a command") };
        let request = cluster.request(NodeId(1), Request::Write(command));
        cluster.answer(request).expect("no promise is broken");
    }
    let crash = if seed.is_multiple_of(2) { Crash::Power } else { Crash::Process };
    cluster.crash(NodeId(1), crash);
    cluster
}

fn restart(cluster: &mut Cluster<KvStore>) -> Option<Fault> {
    cluster.start_all().expect("no promise is broken");
    cluster.run_for(600_000).expect("no promise is broken");
    cluster.fault(NodeId(1)).cloned()
}

#[test]
fn every_fault_of_what_lies_on_a_disk_is_met_as_the_table_says() {
    let mut struck = BTreeMap::new();
    for seed in 0..12 {
        // One disk, set back again and again.
        let settings = Settings { watched: false, ..Settings::new(seed, 1) };
        let mut cluster = used_as(settings, DiskWeather::CALM);
        let image = cluster.machine(NodeId(1)).disk.clone();
        let mut rng = Rng::stream(seed, 9);
        for fault in DiskFault::ALL.into_iter().filter(DiskFault::while_down) {
            cluster.roll_back(NodeId(1), image.clone());
            let Some(expected) = cluster.machine(NodeId(1)).disk.strike(fault, &mut rng) else { continue };
            *struck.entry(fault).or_insert(0) += 1;
            let found = restart(&mut cluster);
            let found = found.as_ref();
            expected.met_by(found).unwrap_or_else(|what| panic!("seed {seed}, {fault:?}: {what}"));
            let judged = cluster.machine(NodeId(1)).disk.judge_start(found);
            judged.unwrap_or_else(|what| panic!("seed {seed}, {fault:?}: {what}"));
        }
    }
    let expected = DiskFault::ALL
        .into_iter()
        .filter(|fault| fault.while_down() && !matches!(fault, DiskFault::Wiped | DiskFault::RolledBack));
    for fault in expected {
        assert!(
            struck.get(&fault).is_some_and(|&times| times >= 3),
            "{fault:?} strikes too rarely: {struck:?}"
        );
    }
}

/// A write that went astray is missed at the next start if anything proves it, and only then; the node's own promises hold
/// either way, or the cluster would say so.
#[test]
fn row_11_writes_that_went_astray_are_refused_or_were_never_promised() {
    let mut wounded = Counts::default();
    let mut sound = 0;
    for seed in 0..30 {
        let weather = DiskWeather { stale_writes: 20_000, misdirected_writes: 10_000, ..DiskWeather::CALM };
        let mut cluster = used(2 * seed, weather);
        let disk = &cluster.machine(NodeId(1)).disk;
        wounded.add(disk.counts());
        sound += u64::from(disk.wounds().is_empty());
        let found = restart(&mut cluster);
        let judged = cluster.machine(NodeId(1)).disk.judge_start(found.as_ref());
        judged.unwrap_or_else(|what| panic!("seed {seed}: {what}"));
    }
    assert!(wounded.stale_writes > 3 && wounded.misdirected_writes > 3 && sound > 3, "{wounded:?}, {sound}");
}

#[test]
fn what_strikes_a_process_is_met_as_the_table_says() {
    let faults = DiskFault::ALL.into_iter().filter(|fault| !fault.while_down());
    for fault in faults {
        for seed in 0..2 {
            let mut cluster = used(seed, DiskWeather::CALM);
            let expected = match fault {
                // A process that runs seldom reads.
                DiskFault::FailedRead => cluster.machine(NodeId(1)).disk.strike(fault, &mut Rng::new(seed)),
                _ => {
                    assert_eq!(restart(&mut cluster), None);
                    cluster.machine(NodeId(1)).disk.strike(fault, &mut Rng::new(seed))
                }
            };
            cluster.start_all().expect("starts");
            for n in 0..150 {
                let words = [
                    Bytes::from_static(b"SET"),
                    Bytes::from(format!("{}", n % 5)),
                    Bytes::from(std::vec![0; 900]),
                ];
                let Ok(Call::Write(command)) = parse(&words) else { panic!("is a command") };
                cluster.request(NodeId(1), Request::Write(command));
                cluster.run_for(20_000).expect("no promise is broken");
            }
            let expected = expected.expect("strikes anything");
            let met = expected.met_by(cluster.fault(NodeId(1)));
            met.unwrap_or_else(|what| panic!("seed {seed}, {fault:?}: {what}"));
        }
    }
}

#[test]
fn what_nothing_proves_is_not_spoilt() {
    for seed in 0..6 {
        let mut cluster = used(seed, DiskWeather::CALM);
        assert_eq!(restart(&mut cluster), None);
        // The last record: nothing says that it was synced.
        cluster.machine(NodeId(1)).disk.go_stale_after(0);
        let words = [Bytes::from_static(b"SET"), Bytes::from_static(b"last"), Bytes::from_static(b"v")];
        let Ok(Call::Write(command)) = parse(&words) else { panic!("is a command") };
        let request = cluster.request(NodeId(1), Request::Write(command));
        cluster.answer(request).expect("no promise is broken");
        cluster.crash(NodeId(1), Crash::Power);
        assert_eq!(cluster.machine(NodeId(1)).disk.wounds(), []);
        // The newest vote, which the next life writes: no record follows it yet.
        cluster.start_all().expect("no promise is broken");
        let mended =
            |cluster: &mut Cluster<KvStore>| cluster.status(NodeId(1)).is_some_and(|s| s.raft.is_some());
        assert!(cluster.run_until(1_000_000, mended).expect("no promise is broken"));
        cluster.crash(NodeId(1), Crash::Process);
        let struck = cluster.machine(NodeId(1)).disk.strike(DiskFault::RottenVote, &mut Rng::new(seed));
        assert_eq!((struck, restart(&mut cluster)), (None, None));
    }
}

/// Does these operations, and keeps what they were answered.
struct Does(VecDeque<DiskOp>, Vec<DiskResult>);

impl DiskJob for Does {
    fn next(&mut self, last: Option<DiskResult>) -> Option<DiskOp> {
        self.1.extend(last);
        self.0.pop_front()
    }
}

#[test]
fn a_job_on_what_is_durable_finds_what_a_copy_of_it_would_hold() {
    let mut disk = Disk::with_files([(FileName::Vote, b"synced".to_vec())]);
    let mut rng = Rng::new(1);
    let read = |file| DiskOp::ReadAt { file, offset: 1, len: 100 };
    let (new, list) = (FileName::Segment(1), DiskOp::List);
    for op in [write(FileName::Vote, 2, b"changed"), DiskOp::Create { file: new }, write(new, 2, b"lost")] {
        disk.perform(&op, &mut rng).expect("a sound disk");
    }
    let ops = [
        list.clone(),
        read(FileName::Vote),
        read(new),
        write(FileName::Vote, 2, b"own"),
        read(FileName::Vote),
        list,
    ];
    let (mut ours, mut theirs) = (Does(ops.into(), Vec::new()), Does(VecDeque::new(), Vec::new()));
    theirs.0.clone_from(&ours.0);
    disk.run_on_durable(&mut ours);
    disk.without_unsynced().run(&mut theirs, &mut rng);
    assert_eq!((ours.1.len(), &ours.1), (6, &theirs.1));
    assert_eq!(ours.1[1], Ok(DiskReply::Bytes(Bytes::from_static(b"ynced"))));
    assert_eq!(disk.read(FileName::Vote), Some(&b"sychanged"[..]), "the disk itself is as it was");
}
