//! Upkeep of the data directory: spares made ahead, what is no longer needed removed.

use super::{DiskJob, DiskOp, DiskResult};

/// Job: makes or recycles a spare segment, removes segments and snapshots that no recovery needs.
#[derive(Debug)]
pub struct Upkeep {}

impl DiskJob for Upkeep {
    fn next(&mut self, _last: Option<DiskResult>) -> Option<DiskOp> {
        todo!("storage helper")
    }
}
