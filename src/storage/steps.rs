//! Operations that are known from the start, as a job.

use alloc::collections::VecDeque;

use super::{DiskError, DiskOp, DiskResult};

/// Operations to be performed one after the other, up to the first error.
#[derive(Debug, Default)]
pub(super) struct Steps {
    ops: VecDeque<DiskOp>,
    error: Option<DiskError>,
}

impl Steps {
    /// Adds an operation at the end.
    pub(super) fn push(&mut self, op: DiskOp) {
        self.ops.push_back(op);
    }

    /// The next operation, given the result of the last; `None` after the last or after an error.
    pub(super) fn next(&mut self, last: Option<DiskResult>) -> Option<DiskOp> {
        if let Some(Err(error)) = last {
            self.ops.clear();
            self.error = Some(error);
        }
        self.ops.pop_front()
    }

    /// The error that ended the operations, if one did.
    pub(super) fn outcome(self) -> Result<(), DiskError> {
        self.error.map_or(Ok(()), Err)
    }
}

impl FromIterator<DiskOp> for Steps {
    fn from_iter<I: IntoIterator<Item = DiskOp>>(ops: I) -> Self {
        Self { ops: ops.into_iter().collect(), error: None }
    }
}
