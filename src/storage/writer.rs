//! The writer of the log: from a core's `Persist` to a batch of disk operations.

use bytes::Bytes;

use super::{BatchId, DiskBatch, DiskError, Upkeep};
use crate::raft::{Persist, SnapshotId};

/// Plans the writes of the log lane.
#[derive(Debug)]
pub struct LogWriter {}

#[allow(unused_variables)]
impl LogWriter {
    /// The batch that makes `persist` durable. `packed` is `persist.entries` as `Entries::pack` writes it. Ids are
    /// consecutive from 1; a batch ends in the syncs that it needs.
    pub fn persist(&mut self, persist: &Persist, packed: Bytes) -> DiskBatch {
        todo!("storage helper")
    }

    /// `batch`, and all before it, are durable.
    pub fn done(&mut self, batch: BatchId) {
        todo!("storage helper")
    }

    /// Whether a record of entries with `bytes` packed bytes (all that were admitted and not yet persisted, together)
    /// finds space that was allocated ahead (STORAGE row 7).
    pub fn has_room(&self, bytes: usize) -> bool {
        todo!("storage helper")
    }

    /// The next upkeep that is due; one at a time.
    pub fn upkeep(&mut self) -> Option<Upkeep> {
        todo!("storage helper")
    }

    /// Takes the outcome of an upkeep job. `Some` is what failed: `NoSpace` is not fatal, ask again later (say, after a
    /// second); anything else is a failed disk.
    pub fn upkeep_done(&mut self, upkeep: Upkeep) -> Option<DiskError> {
        todo!("storage helper")
    }

    /// After a quiet tail: a record that says that all before it is synced (STORAGE row 3). `None` when that is said
    /// already, or while anything is outstanding.
    pub fn idle_mark(&mut self) -> Option<DiskBatch> {
        todo!("storage helper")
    }

    /// Keeps a snapshot's file as long as it is pinned. Pins are counted.
    pub fn pin(&mut self, snapshot: SnapshotId) {
        todo!("storage helper")
    }

    /// Takes one pin away.
    pub fn unpin(&mut self, snapshot: SnapshotId) {
        todo!("storage helper")
    }

    /// Bytes of the log that a recovery would read.
    pub fn live_bytes(&self) -> u64 {
        todo!("storage helper")
    }
}
