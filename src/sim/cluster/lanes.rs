//! The two lanes of a driver's disk work, an operation at a time, so that a crash may fall between any two of them and
//! within any one.

use std::collections::VecDeque;
use std::vec::Vec;

use crate::node::Job;
use crate::replica::StateMachine;
use crate::rng::Rng;
use crate::storage::{BatchId, DiskBatch, DiskError, DiskJob, DiskOp, DiskResult};

/// The log lane: batches in order, several of them joined by chance, as a driver may do it.
#[derive(Debug, Default)]
pub(super) struct LogLane {
    waiting: VecDeque<DiskBatch>,
    ops: VecDeque<DiskOp>,
    /// Done when `ops` are.
    group: Vec<BatchId>,
    /// After an error nothing more is performed.
    failed: bool,
}

impl LogLane {
    pub(super) fn push(&mut self, batch: DiskBatch) {
        if !self.failed {
            self.waiting.push_back(batch);
        }
    }

    /// The operation under way.
    pub(super) fn op(&self) -> Option<&DiskOp> {
        self.ops.front()
    }

    /// Starts on what waits, if nothing is under way; `true` when there is an operation to perform.
    pub(super) fn start(&mut self, rng: &mut Rng) -> bool {
        if self.group.is_empty() {
            let join = if rng.chance(1, 2) { self.waiting.len() } else { self.waiting.len().min(1) };
            let mut syncs: Vec<DiskOp> = Vec::new();
            for batch in self.waiting.drain(..join) {
                self.group.push(batch.id);
                let trailing =
                    batch.ops.iter().rev().take_while(|op| matches!(op, DiskOp::Sync { .. })).count();
                let first = batch.ops.len() - trailing;
                let mut ops = batch.ops.into_iter();
                self.ops.extend(ops.by_ref().take(first));
                for sync in ops {
                    // Equal syncs at the end of joined batches are one.
                    if !syncs.contains(&sync) {
                        syncs.push(sync);
                    }
                }
            }
            self.ops.extend(syncs);
        }
        !self.group.is_empty()
    }

    /// The operation under way ended like this: what to report, in order.
    pub(super) fn ended(&mut self, result: DiskResult) -> Vec<(BatchId, Result<(), DiskError>)> {
        self.ops.pop_front();
        match result {
            Err(error) => {
                self.failed = true;
                self.ops.clear();
                self.waiting.clear();
                self.group.drain(..).take(1).map(|id| (id, Err(error.clone()))).collect()
            }
            Ok(_) if self.ops.is_empty() => self.group.drain(..).map(|id| (id, Ok(()))).collect(),
            Ok(_) => Vec::new(),
        }
    }
}

/// The job lane: one job after the other.
#[derive(Debug)]
pub(super) struct JobLane<S: StateMachine> {
    waiting: VecDeque<Job<S>>,
    job: Option<Job<S>>,
    op: Option<DiskOp>,
}

impl<S: StateMachine> Default for JobLane<S> {
    fn default() -> Self {
        Self { waiting: VecDeque::new(), job: None, op: None }
    }
}

impl<S: StateMachine> JobLane<S> {
    pub(super) fn push(&mut self, job: Job<S>) {
        self.waiting.push_back(job);
    }

    /// The operation under way.
    pub(super) fn op(&self) -> Option<&DiskOp> {
        self.op.as_ref()
    }

    /// Goes on after `last` until there is an operation to perform (`true`) or no job is left; the jobs that ended on the
    /// way go to `done`.
    pub(super) fn advance(&mut self, mut last: Option<DiskResult>, done: &mut Vec<Job<S>>) -> bool {
        self.op = None;
        loop {
            let Some(mut job) = self.job.take().or_else(|| self.waiting.pop_front()) else { return false };
            match job.next(last.take()) {
                Some(op) => {
                    self.op = Some(op);
                    self.job = Some(job);
                    return true;
                }
                None => done.push(job),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::{DiskReply, FileName};

    const SYNC: DiskOp = DiskOp::Sync { file: FileName::Vote };

    fn batch(id: BatchId) -> DiskBatch {
        DiskBatch { id, ops: alloc::vec![DiskOp::Create { file: FileName::Segment(id) }, SYNC] }
    }

    /// Performs everything; the operations in order and the reports, with the number of operations before each.
    fn run(seed: u64) -> (Vec<DiskOp>, Vec<(usize, BatchId)>) {
        let mut lane = LogLane::default();
        (1..=3).for_each(|id| lane.push(batch(id)));
        let (mut ops, mut reports) = (Vec::new(), Vec::new());
        let mut rng = Rng::new(seed);
        while lane.start(&mut rng) {
            ops.push(lane.op().expect("under way").clone());
            let ended = lane.ended(Ok(DiskReply::Done));
            reports.extend(ended.into_iter().map(|(id, result)| {
                assert_eq!(result, Ok(()));
                (ops.len(), id)
            }));
        }
        (ops, reports)
    }

    #[test]
    fn joined_batches_sync_once_and_are_reported_after_it() {
        let runs: Vec<_> = (0..20).map(run).collect();
        assert!(runs.iter().any(|(ops, _)| ops.len() == 6), "one by one");
        let joined = runs.iter().find(|(ops, _)| ops.len() == 4).expect("joined");
        assert_eq!(joined.0[3], SYNC);
        assert_eq!(joined.1, [(4, 1), (4, 2), (4, 3)]);
        assert!(runs.iter().all(|(_, reports)| reports.iter().map(|r| r.1).eq(1..=3)));
    }

    #[test]
    fn the_first_error_ends_the_lane() {
        let mut lane = LogLane::default();
        lane.push(batch(1));
        lane.push(batch(2));
        assert!(lane.start(&mut Rng::new(0)));
        let error = DiskError::Io(None, 5);
        assert_eq!(lane.ended(Err(error.clone())), [(1, Err(error))]);
        lane.push(batch(3));
        assert!(!lane.start(&mut Rng::new(0)) && lane.op().is_none());
    }
}
