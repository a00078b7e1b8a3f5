//! Loading a snapshot.

use core::fmt;

use super::{DiskJob, DiskOp, DiskResult, FileName, Identity, LoadError};
use crate::raft::SnapshotMeta;
use crate::replica::Restorer;

/// Job: verifies a snapshot file and builds its state; a received one is then made durable under its own name.
pub struct LoadSnapshot<R: Restorer> {
    _restorer: R,
}

impl<R: Restorer> fmt::Debug for LoadSnapshot<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoadSnapshot").finish_non_exhaustive()
    }
}

#[allow(unused_variables)]
impl<R: Restorer> LoadSnapshot<R> {
    /// Loads `snapshot` `from` its `Incoming` or `Snapshot` file.
    pub fn new(identity: &Identity, snapshot: SnapshotMeta, from: FileName, restorer: R) -> Self {
        Self { _restorer: restorer }
    }

    /// The outcome, when the job is done.
    pub fn take(self) -> Result<R::State, LoadError> {
        todo!("storage helper")
    }
}

impl<R: Restorer> DiskJob for LoadSnapshot<R> {
    fn next(&mut self, _last: Option<DiskResult>) -> Option<DiskOp> {
        todo!("storage helper")
    }
}
