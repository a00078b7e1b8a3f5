//! Seeded lives of a directory: writes, truncations, switches, upkeep, crashes between and within operations. After every
//! crash the directory opens, holds everything that was reported durable, and nothing that was never written.
//!
//! `QUORATE_STORAGE_SEEDS` says how many lives, `QUORATE_STORAGE_FIRST` from which seed.

use std::boxed::Box;
use std::vec::Vec;

use super::test_disk::TestDisk;
use super::tests::*;
use super::*;
use crate::raft::*;
use crate::rng::Rng;

/// What a log should hold.
#[derive(Debug, Clone, PartialEq)]
struct Model {
    vote: HardState,
    snapshot: Option<SnapshotMeta>,
    entries: Vec<Entry>,
}

impl Model {
    fn of(recovered: &Recovered) -> Self {
        let entries = recovered.entries.to_vec();
        Self { vote: recovered.vote, snapshot: recovered.snapshot.clone(), entries }
    }

    fn base(&self) -> LogIndex {
        self.snapshot.as_ref().map_or(0, |s| s.id.last.index)
    }

    fn last(&self) -> LogIndex {
        self.base() + self.entries.len() as u64
    }

    fn apply(&mut self, persist: &Persist) {
        self.vote = persist.vote.unwrap_or(self.vote);
        if let Some(switch) = &persist.snapshot {
            let last = switch.snapshot.id.last.index;
            self.entries.retain(|e| switch.keeps_suffix && e.id.index > last);
            self.snapshot = Some(switch.snapshot.clone());
        }
        if let Some(first) = persist.entries.first() {
            self.entries.retain(|e| e.id.index < first.id.index);
            self.entries.extend(persist.entries.iter().cloned());
        }
    }

    fn same_log(&self, other: &Self) -> bool {
        self.snapshot == other.snapshot && self.entries == other.entries
    }
}

/// One life between two crashes.
struct Life {
    log: LogWriter,
    /// After each batch that was planned; the first is what recovery found.
    states: Vec<Model>,
    /// Which boot this is.
    boots: u64,
    /// Batches that were reported durable.
    done: usize,
    lane: Vec<DiskBatch>,
    upkeep: Option<(Upkeep, Option<DiskResult>)>,
}

impl Life {
    fn begin(disk: &mut TestDisk) -> Self {
        let member = reopen(disk);
        let states = std::vec![Model::of(&member.recovered)];
        let boots = member.identity.boots;
        Self { log: member.log, states, boots, done: 0, lane: Vec::new(), upkeep: None }
    }

    fn model(&self) -> Model {
        self.states.last().unwrap().clone()
    }

    fn random_persist(&self, disk: &mut TestDisk, rng: &mut Rng) -> Persist {
        let mut model = self.model();
        let mut persist =
            Persist { id: 1, vote: None, snapshot: None, entries: Entries::empty(), commit: model.base() };
        if rng.chance(1, 6) {
            let term = model.vote.term + 1 + rng.below(2);
            persist.vote = Some(HardState { term, vote: Some(NodeId(rng.below(3) + 1)) });
        }
        if rng.chance(1, 12) {
            let inside: Vec<LogId> = model.entries.iter().map(|e| e.id).collect();
            let snapshot = match inside.get(rng.below(inside.len() as u64 + 1) as usize) {
                Some(&last) => Some((last, rng.chance(9, 10))),
                None => Some((LogId::new(model.vote.term, model.last() + 1 + rng.below(9)), false)),
            };
            persist.snapshot = snapshot.map(|(last, keeps_suffix)| {
                let snapshot = save(disk, last, rng.below(300) as usize);
                Box::new(SnapshotSwitch { snapshot, keeps_suffix })
            });
        }
        model.apply(&persist);
        if rng.chance(4, 5) {
            let from = if rng.chance(1, 6) { model.base() } else { model.last() };
            let first = from + 1 + rng.below(model.last() - from + 1);
            let count = rng.below(4);
            let len = if rng.chance(1, 40) { 6000 } else { rng.below(500) as usize };
            let term = model.vote.term;
            persist.entries = (0..=count).map(|i| entry(term, first + i, len)).collect();
        }
        persist
    }

    /// Plans something new.
    fn plan(&mut self, disk: &mut TestDisk, rng: &mut Rng) {
        let batch = if rng.chance(1, 5) {
            let Some(batch) = self.log.idle_mark() else { return };
            self.states.push(self.model());
            batch
        } else {
            let persist = self.random_persist(disk, rng);
            let mut model = self.model();
            model.apply(&persist);
            self.states.push(model);
            self.log.persist(&persist, pack(&persist.entries))
        };
        assert_eq!(batch.id as usize, self.states.len() - 1);
        self.lane.push(batch);
    }

    /// Performs what the lane holds as a driver may: one batch after the other, or all writes before all syncs; perhaps
    /// not to its end (if `torn`), and perhaps without a report.
    fn perform(&mut self, disk: &mut TestDisk, rng: &mut Rng, torn: bool) -> bool {
        let batches = core::mem::take(&mut self.lane);
        let last = batches.last().map_or(0, |b| b.id);
        let mut ops: Vec<DiskOp> = batches.into_iter().flat_map(|b| b.ops).collect();
        let sync = |op: &DiskOp| matches!(op, DiskOp::Sync { .. } | DiskOp::SyncDirectory);
        if rng.chance(1, 2) {
            ops.sort_by_key(sync);
            if rng.chance(1, 2) {
                ops.dedup();
            }
        }
        let stop =
            if torn && rng.chance(1, 8) { rng.below(ops.len() as u64 + 1) as usize } else { usize::MAX };
        for (at, op) in ops.into_iter().enumerate() {
            if at == stop {
                return false;
            }
            disk.perform(op).unwrap();
            self.step_upkeep(disk, rng);
        }
        if last > 0 && !rng.chance(1, 20) {
            self.log.done(last);
            self.done = self.done.max(last as usize);
        }
        true
    }

    fn step_upkeep(&mut self, disk: &mut TestDisk, rng: &mut Rng) {
        match self.upkeep.take() {
            None if rng.chance(1, 3) => self.upkeep = self.log.upkeep().map(|job| (job, None)),
            None => {}
            Some((mut job, last)) => match job.next(last) {
                Some(op) => self.upkeep = Some((job, Some(disk.perform(op)))),
                None => assert_eq!(self.log.upkeep_done(job), None),
            },
        }
    }

    /// What was recovered is the state after some batch that is not older than the last one reported; the vote may be
    /// a little newer than the log.
    fn check(&self, found: &Model) -> Result<(), std::string::String> {
        let at = (self.done..self.states.len()).rev().find(|&at| found.same_log(&self.states[at]));
        let Some(_) = at else {
            return Err(std::format!("lost or invented: {found:?}, of {:?}", &self.states[self.done..]));
        };
        let earliest = (self.done..self.states.len()).find(|&at| found.same_log(&self.states[at]));
        let votes = &self.states[earliest.unwrap_or(self.done)..];
        if votes.iter().any(|s| s.vote == found.vote) { Ok(()) } else { Err("the vote is lost".into()) }
    }
}

/// Recovery that is interrupted a few times before it comes to its end.
fn recover_through_crashes(disk: &mut TestDisk, rng: &mut Rng) -> Model {
    while rng.chance(1, 3) {
        let mut fuel = rng.below(40) as usize;
        recover_within(disk, &mut fuel);
        disk.crash(rng);
    }
    Model::of(&reopen(disk).recovered)
}

fn live(seed: u64) {
    let rng = &mut Rng::stream(seed, 3);
    let (mut disk, _) = formed();
    let mut boots = 1;
    for _ in 0..6 {
        let mut life = Life::begin(&mut disk);
        assert!(life.boots > boots, "seed {seed}: the boot counter is durable before it is used");
        boots = life.boots;
        for _ in 0..rng.below(60) {
            for _ in 0..=rng.below(3) {
                life.plan(&mut disk, rng);
            }
            if !life.perform(&mut disk, rng, true) {
                break;
            }
        }
        if rng.chance(1, 10) {
            // The process dies and the memory stays.
        } else {
            disk.crash(rng);
        }
        let found = recover_through_crashes(&mut disk, rng);
        if let Err(why) = life.check(&found) {
            panic!("seed {seed}: {why}");
        }
        disk.lose_unsynced();
        let again = Model::of(&reopen(&mut disk).recovered);
        assert_eq!(again, found, "seed {seed}: what was recovered is durable");
    }
}

#[test]
fn trap_23_and_rows_01_05_09_12_13_16_any_crash_loses_nothing_that_was_durable() {
    let runs = std::env::var("QUORATE_STORAGE_SEEDS").ok().and_then(|n| n.parse().ok()).unwrap_or(300);
    let first = std::env::var("QUORATE_STORAGE_FIRST").ok().and_then(|n| n.parse().ok()).unwrap_or(0);
    for seed in first..first + runs {
        live(seed);
    }
}

/// Every crash point of recovery and of upkeep, one by one.
#[test]
fn row_12_a_crash_at_any_operation_of_recovery_or_upkeep_is_harmless() {
    for seed in 0..12 {
        let rng = &mut Rng::stream(seed, 5);
        let (mut disk, _) = formed();
        let mut life = Life::begin(&mut disk);
        for _ in 0..30 {
            life.plan(&mut disk, rng);
            life.perform(&mut disk, rng, false);
        }
        let batches = [0; 3].map(|_| {
            life.plan(&mut disk, rng);
            life.lane.pop()
        });
        for batch in batches.iter().flatten() {
            perform(&mut disk, batch);
        }
        disk.crash(rng);
        let expected = Model::of(&reopen(&mut disk.clone()).recovered);
        for stop in 0.. {
            let mut disk = disk.clone();
            let mut fuel = stop;
            let finished = recover_within(&mut disk, &mut fuel);
            disk.crash(rng);
            assert_eq!(Model::of(&reopen(&mut disk).recovered), expected, "seed {seed}, recovery, {stop}");
            if finished {
                break;
            }
        }
        for stop in 0.. {
            let mut disk = disk.clone();
            let mut log = reopen(&mut disk).log;
            let mut fuel = stop;
            let mut finished = true;
            while let (true, Some(mut upkeep)) = (finished, log.upkeep()) {
                finished = disk.run(&mut upkeep, &mut fuel);
                log.upkeep_done(upkeep);
            }
            disk.crash(rng);
            assert_eq!(Model::of(&reopen(&mut disk).recovered), expected, "seed {seed}, upkeep, {stop}");
            if finished {
                break;
            }
        }
    }
}

/// Rot anywhere in what a record proves to be synced is a refusal or is healed; it never changes what comes out.
#[test]
fn row_02_rot_of_marked_bytes_is_never_taken_for_a_shorter_log() {
    for seed in 0..6 {
        let rng = &mut Rng::stream(seed, 6);
        let (mut disk, _) = formed();
        let mut life = Life::begin(&mut disk);
        for _ in 0..25 {
            life.plan(&mut disk, rng);
            life.perform(&mut disk, rng, false);
            life.log.done(life.states.len() as u64 - 1);
        }
        if let Some(mark) = life.log.idle_mark() {
            perform(&mut disk, &mark);
        }
        let expected = Model::of(&reopen(&mut disk.clone()).recovered);
        let files: Vec<FileName> = disk.names().collect();
        for _ in 0..400 {
            let mut rotten = disk.clone();
            let file = files[rng.below(files.len() as u64) as usize];
            let len = rotten.bytes(file).len() as u64;
            if len == 0 {
                continue;
            }
            let at = rng.below(len) as usize;
            rotten.spoil(file, |bytes| bytes[at] ^= 1 << rng.below(8));
            match recover(&mut rotten) {
                Ok(Opened::Formed { recovered, .. }) => {
                    let found = Model::of(&recovered);
                    // The mark itself is the one record that nothing follows.
                    assert_eq!(found, expected, "seed {seed}: {file} at {at}");
                }
                Ok(Opened::Unformed(_)) => panic!("seed {seed}: {file} at {at}: unformed"),
                Err(OpenError::Disk(error)) => panic!("{error}"),
                Err(_) => {}
            }
        }
    }
}

#[test]
fn trap_23_is_felt_without_its_guard() {
    let test: fn() = trap_23_and_rows_01_05_09_12_13_16_any_crash_loses_nothing_that_was_durable;
    let dull = crate::sim::planted::not_felt_by("removal-before-the-switch", &[("trap 23", test)]);
    assert!(dull.is_empty());
}
