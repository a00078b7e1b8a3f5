//! Saving a snapshot.

use core::fmt;

use super::{DiskError, DiskJob, DiskOp, DiskResult, Identity};
use crate::raft::{SnapshotMeta, SnapshotPoint};
use crate::replica::View;

/// Job: writes a view to a file, durably, under its own name.
pub struct SaveSnapshot<V: View> {
    _view: V,
}

impl<V: View> fmt::Debug for SaveSnapshot<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SaveSnapshot").finish_non_exhaustive()
    }
}

#[allow(unused_variables)]
impl<V: View> SaveSnapshot<V> {
    /// Saves `view`, which is the state at `point`.
    pub fn new(identity: &Identity, point: SnapshotPoint, view: V) -> Self {
        Self { _view: view }
    }

    /// The outcome, when the job is done.
    pub fn take(self) -> Result<SnapshotMeta, DiskError> {
        todo!("storage helper")
    }
}

impl<V: View> DiskJob for SaveSnapshot<V> {
    fn next(&mut self, _last: Option<DiskResult>) -> Option<DiskOp> {
        todo!("storage helper")
    }
}
