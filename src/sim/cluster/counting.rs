//! What a cluster meets and does about it, counted where it can be seen from outside: see [`met`].

use super::{Cluster, Machine, Moment};
use crate::node::Fault;
use crate::raft::{Configuration, LogIndex, NodeId, Role, SnapshotId, Status};
use crate::replica::{Outcome, Refused, Replica, SessionError, StateMachine};
use crate::sim::census::met;
use crate::sim::disk::{Counts, Disk};
use crate::sim::tally::Tally;
use crate::storage::{DiskOp, DiskResult, FileName};
use crate::time::Micros;

/// From then on a sync is a slow one.
const SLOW_SYNC: Micros = 10_000;

/// What the core of a process has shown in its last step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shown {
    role: Role,
    commit: LogIndex,
    snapshot: Option<SnapshotId>,
}

impl Shown {
    fn of(status: &Status) -> Self {
        let Status { role, commit, snapshot, .. } = *status;
        Self { role, commit, snapshot }
    }
}

impl<S: StateMachine> Cluster<S> {
    /// A process is about to start on what the disk of its machine holds.
    pub(super) fn count_start(&mut self, node: NodeId) {
        let nodes = self.machines.len();
        let Some(machine) = self.machines.get(&node).filter(|machine| machine.lives > 0) else { return };
        let tally = &mut self.tally;
        tally.add(met::STARTED_AGAIN);
        if nodes == 1 {
            tally.add(met::SINGLE_START);
        }
        if machine.disk.has_cache_only() {
            tally.add(met::CACHE_ONLY);
        }
        let Some(survey) = machine.disk.survey() else { return };
        if survey.vote.is_empty() {
            tally.add(met::ONE_VOTE_COPY);
        }
        if survey.records.last().is_some_and(|record| record.proven) {
            tally.add(met::QUIET_TAIL);
        }
        let named = survey.snapshot.map(|snapshot| snapshot.file);
        if snapshots(&machine.disk).any(|file| named.is_none_or(|named| file > named)) {
            tally.add(met::UNNAMED_SNAPSHOT);
        }
    }

    /// A core was stepped; `is_cut` when it has dropped entries that a leader contradicts. What seldom happens, if it did.
    pub(super) fn count_step(&mut self, node: NodeId, status: &Status, is_cut: bool) -> Option<Moment> {
        let nodes = self.machines.len();
        let now = Shown::of(status);
        let process = self.machines.get_mut(&node)?.process.as_mut()?;
        let before = process.shown.replace(now);
        if before == Some(now) && !is_cut {
            return None;
        }
        let tally = &mut self.tally;
        let mut moment = None;
        if is_cut {
            tally.add(met::TRUNCATED);
            moment = Some(Moment::Cut);
        }
        let Some(before) = before else {
            if now.snapshot.is_some() {
                tally.add(met::FROM_SNAPSHOT);
            }
            return None;
        };
        match (before.role == Role::Leader, now.role == Role::Leader) {
            (false, true) => tally.add(met::LEADER),
            (true, false) => tally.add(met::DEPOSED),
            _ => {}
        }
        if nodes == 1 && now.commit > before.commit {
            tally.add(met::SINGLE_COMMIT);
        }
        if let Some(snapshot) = now.snapshot.filter(|_| now.snapshot != before.snapshot) {
            let is_taken = snapshot.last.index <= before.commit;
            let raft = self.machines.get(&node)?.node()?.replica().map(Replica::raft);
            let configuration = raft.and_then(|raft| raft.configurations(snapshot.last.index).next());
            if configuration.is_some_and(Configuration::is_joint) {
                tally.add(met::JOINT_SNAPSHOT);
            }
            tally.add(if is_taken { met::SNAPSHOT_TAKEN } else { met::SNAPSHOT_INSTALLED });
            moment = if is_taken { moment } else { Some(Moment::Install) };
        }
        moment
    }

    /// An operation of a disk is going to take so long.
    pub(super) fn count_duration(&mut self, is_sync: bool, takes: Micros) {
        if is_sync && takes > SLOW_SYNC {
            self.tally.add(met::SLOW_SYNC);
        }
    }

    /// A node halts. Whether the disk is at fault, if that is what it says.
    pub(super) fn count_halt(&mut self, node: NodeId, fault: &Fault) -> bool {
        let Some(machine) = self.machines.get(&node) else { return true };
        let is_removed = || machine.node()?.replica().map(|replica| replica.raft().is_removed());
        if matches!(fault, Fault::Fenced(_)) && is_removed() == Some(true) {
            self.tally.add(met::REMOVED);
        }
        if !matches!(fault, Fault::Disk(_)) {
            return true;
        }
        let (before, now) = (machine.failures_before, Failures::of(machine.disk.counts()));
        if now.reads > before.reads {
            self.tally.add(met::FAILED_READ);
        } else if now.changes > before.changes {
            self.tally.add(met::FAILED_SYNC);
        } else if now.full > before.full {
            self.tally.add(met::NO_ROOM_TO_START);
        }
        now != before
    }

    /// A node answers.
    pub(super) fn count_outcome(&mut self, outcome: &Outcome) {
        self.tally.add(match outcome {
            Outcome::Undetermined => met::UNDETERMINED,
            Outcome::Refused(Refused::DiskFull) => met::NO_ROOM,
            Outcome::Refused(Refused::Busy) => met::BUSY,
            Outcome::Refused(Refused::NoLeader) => met::NO_LEADER,
            Outcome::Session(SessionError::Expired) => met::EXPIRED,
            _ => return,
        });
    }
}

/// An operation of a disk has ended.
pub(super) fn operation(op: &DiskOp, result: &DiskResult, tally: &mut Tally) {
    match op {
        _ if result.is_err() => {}
        DiskOp::Rename { to: FileName::Cut { .. }, .. } => tally.add(met::TORN_TAIL),
        DiskOp::Rename { from: FileName::Segment(_), to: FileName::Spare(_) } => tally.add(met::RECYCLED),
        _ => {}
    }
}

/// How often operations of a disk have failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Failures {
    reads: u64,
    changes: u64,
    full: u64,
}

impl Failures {
    pub(super) fn of(counts: &Counts) -> Self {
        let changes = counts.failed_writes + counts.failed_syncs + counts.failed_names;
        Self { reads: counts.failed_reads, changes, full: counts.full }
    }
}

impl<S: StateMachine> Machine<S> {
    /// A process starts: what failed before is no reason for it to halt.
    pub(super) fn begin_life(&mut self) {
        self.lives += 1;
        self.fault = None;
        self.crash_within = None;
        self.failures_before = Failures::of(self.disk.counts());
    }
}

fn snapshots(disk: &Disk) -> impl Iterator<Item = FileName> {
    disk.list().into_iter().map(|(file, _)| file).filter(|file| matches!(file, FileName::Snapshot { .. }))
}

#[cfg(test)]
mod tests {
    use super::super::{Crash, Settings};
    use super::*;
    use crate::kv::KvStore;

    #[test]
    fn what_a_single_node_does_is_counted() {
        let mut cluster: Cluster<KvStore> = Cluster::new(Settings::new(3, 1));
        for _ in 0..2 {
            cluster.start_all().expect("starts");
            assert_eq!(cluster.settle(5_000_000).expect("keeps its promises"), Some(NodeId(1)));
            cluster.run_for(100_000).expect("goes on");
            cluster.crash(NodeId(1), Crash::Power);
        }
        let of = |what| cluster.tally().of(what);
        let counts = [met::LEADER, met::STARTED_AGAIN, met::SINGLE_START, met::POWER_FAILED].map(of);
        assert_eq!(counts, [2, 1, 1, 2]);
        assert!(of(met::SINGLE_COMMIT) >= 2);
    }

    #[test]
    fn a_halt_over_a_disk_that_did_not_fail_is_not_believed() {
        let mut cluster: Cluster<KvStore> = Cluster::new(Settings::new(3, 1));
        cluster.start_all().expect("starts");
        let fault = Fault::Disk(crate::storage::DiskError::NotFound(FileName::Vote));
        assert!(!cluster.count_halt(NodeId(1), &fault));
        assert!(
            cluster.count_halt(NodeId(1), &Fault::Directory("another's".into())),
            "that is another matter"
        );
        cluster.machine(NodeId(1)).disk.fail_after(crate::sim::disk::OpKind::Read, 0);
        let mut rng = crate::rng::Rng::new(1);
        let failed = cluster.machine(NodeId(1)).disk.perform(&DiskOp::List, &mut rng);
        assert!(failed.is_err() && cluster.count_halt(NodeId(1), &fault));
        assert_eq!(cluster.tally().of(met::FAILED_READ), 1);
    }
}
