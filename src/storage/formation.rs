//! Formation: an unformed directory becomes a member's.

use super::{ClusterId, DiskError, DiskJob, DiskOp, DiskResult, Identity, LogWriter, Settings};
use crate::raft::Recovered;

/// Job: writes the vote record, the first segment with the founding entries, a spare, and last the identity with the
/// cluster's id.
#[derive(Debug)]
pub struct Formation {}

#[allow(unused_variables)]
impl Formation {
    /// Formation of `cluster` in the directory of `identity`, which is unformed.
    pub fn new(settings: Settings, identity: Identity, cluster: ClusterId, recovered: &Recovered) -> Self {
        Self {}
    }

    /// The outcome, when the job is done.
    pub fn take(self) -> Result<(Identity, LogWriter), DiskError> {
        todo!("storage helper")
    }
}

impl DiskJob for Formation {
    fn next(&mut self, _last: Option<DiskResult>) -> Option<DiskOp> {
        todo!("storage helper")
    }
}
