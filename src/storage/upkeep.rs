//! Upkeep of the data directory: spares made ahead, what is no longer needed removed.

use smallvec::SmallVec;

use super::segments::Spare;
use super::steps::Steps;
use super::{DiskError, DiskJob, DiskOp, DiskResult, FileName};
use crate::raft::LogId;

/// One thing that is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Task {
    /// Make a spare.
    Spare(Spare),
    /// Make a spare of the oldest segment. Its bytes stay: no record of it verifies under another number.
    Recycle { segment: u64, spare: Spare },
    /// Remove the oldest segment.
    Remove { segment: u64 },
    /// Remove a snapshot.
    Snapshot(LogId),
}

impl Task {
    /// What to do. Each removal is synced before the next may begin: after a crash the oldest segments are gone without
    /// a gap.
    fn steps(self) -> SmallVec<[DiskOp; 5]> {
        let sync = DiskOp::SyncDirectory;
        match self {
            Self::Spare(spare) => new_spare(spare),
            Self::Recycle { segment, spare } => {
                let (from, to) = (FileName::Segment(segment), FileName::Spare(spare.number));
                SmallVec::from_iter([DiskOp::Rename { from, to }, sync])
            }
            Self::Remove { segment } => {
                SmallVec::from_iter([DiskOp::Remove { file: FileName::Segment(segment) }, sync])
            }
            Self::Snapshot(last) => {
                SmallVec::from_iter([DiskOp::Remove { file: FileName::snapshot(last) }, sync])
            }
        }
    }
}

/// Makes a spare: its space is allocated and synced before it gets its name (STORAGE row 12).
pub(super) fn new_spare(spare: Spare) -> SmallVec<[DiskOp; 5]> {
    let file = FileName::Temporary(spare.number);
    SmallVec::from_buf([
        DiskOp::Create { file },
        DiskOp::Zero { file, offset: 0, len: spare.len },
        DiskOp::Sync { file },
        DiskOp::Rename { from: file, to: FileName::Spare(spare.number) },
        DiskOp::SyncDirectory,
    ])
}

/// Job: one piece of upkeep, from [`LogWriter::upkeep`](super::LogWriter::upkeep); goes back to
/// [`LogWriter::upkeep_done`](super::LogWriter::upkeep_done).
#[derive(Debug)]
pub struct Upkeep {
    task: Task,
    steps: Steps,
    finished: bool,
    clean_up: bool,
}

impl Upkeep {
    pub(super) fn new(task: Task) -> Self {
        Self { task, steps: task.steps().into_iter().collect(), finished: false, clean_up: false }
    }

    /// What was to be done, and how it went.
    pub(super) fn take(self) -> (Task, Result<(), DiskError>) {
        let outcome = self.steps.outcome();
        let unfinished = Err(DiskError::Io(None, 0));
        (self.task, if self.finished { outcome } else { outcome.and(unfinished) })
    }
}

impl DiskJob for Upkeep {
    fn next(&mut self, last: Option<DiskResult>) -> Option<DiskOp> {
        if self.clean_up {
            // Whether the remains could be removed changes nothing: recovery removes them too.
            self.finished = true;
            return None;
        }
        let failed = matches!(last, Some(Err(_)));
        let next = self.steps.next(last);
        if let (true, Task::Spare(spare)) = (failed, self.task) {
            self.clean_up = true;
            return Some(DiskOp::Remove { file: FileName::Temporary(spare.number) });
        }
        self.finished = next.is_none();
        next
    }
}
