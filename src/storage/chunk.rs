//! Pieces of snapshot files on their way from one node to another.

use bytes::Bytes;

use super::steps::Steps;
use super::{DiskError, DiskJob, DiskOp, DiskReply, DiskResult, FileName};
use crate::raft::{SnapshotId, SnapshotMeta};

/// Written bytes of a received snapshot are synced about this often, so that no flush at its end stalls the log's.
const SYNC_EVERY: u64 = 1 << 20;

/// Job: reads a piece of a snapshot file.
#[derive(Debug)]
pub struct ReadChunk {
    op: Option<DiskOp>,
    file: FileName,
    expected: u64,
    outcome: Result<Bytes, DiskError>,
}

impl ReadChunk {
    /// Up to `len` bytes at `offset` of the file of `snapshot`; fewer only at its end.
    pub fn new(snapshot: &SnapshotMeta, offset: u64, len: u64) -> Self {
        let file = FileName::snapshot(snapshot.id.last);
        let expected = len.min(snapshot.len.saturating_sub(offset));
        let op = (expected > 0).then_some(DiskOp::ReadAt { file, offset, len: expected });
        Self { op, file, expected, outcome: Ok(Bytes::new()) }
    }

    /// The bytes, when the job is done.
    pub fn take(self) -> Result<Bytes, DiskError> {
        self.outcome
    }
}

impl DiskJob for ReadChunk {
    fn next(&mut self, last: Option<DiskResult>) -> Option<DiskOp> {
        if let Some(result) = last {
            self.outcome = match result {
                Ok(DiskReply::Bytes(bytes)) if bytes.len() as u64 == self.expected => Ok(bytes),
                Ok(_) => Err(DiskError::Io(Some(self.file), 0)),
                Err(error) => Err(error),
            };
        }
        self.op.take()
    }
}

/// Job: writes a piece of a snapshot that is being received.
#[derive(Debug)]
pub struct WriteChunk {
    ops: Steps,
    written: u64,
}

impl WriteChunk {
    /// Writes `data` at `offset` of the incoming file of `snapshot`, which is made anew at offset 0.
    pub fn new(snapshot: SnapshotId, offset: u64, data: Bytes) -> Self {
        let file = FileName::Incoming { index: snapshot.last.index, term: snapshot.last.term };
        let written = offset.saturating_add(data.len() as u64);
        let create = (offset == 0).then_some(DiskOp::Create { file });
        let write = DiskOp::WriteAt { file, offset, data: smallvec::smallvec![data] };
        let sync = (offset / SYNC_EVERY != written / SYNC_EVERY).then_some(DiskOp::Sync { file });
        let ops = create.into_iter().chain([write]).chain(sync).collect();
        Self { ops, written }
    }

    /// Bytes of the file that are written, when the job is done: the end of this piece.
    pub fn take(self) -> Result<u64, DiskError> {
        self.ops.outcome().map(|()| self.written)
    }
}

impl DiskJob for WriteChunk {
    fn next(&mut self, last: Option<DiskResult>) -> Option<DiskOp> {
        self.ops.next(last)
    }
}

/// Job: removes a file, durably.
#[derive(Debug)]
pub struct RemoveFile {
    ops: Steps,
}

impl RemoveFile {
    /// Removes `file`, if there is one.
    pub fn new(file: FileName) -> Self {
        Self { ops: [DiskOp::Remove { file }, DiskOp::SyncDirectory].into_iter().collect() }
    }

    /// How it went, when the job is done.
    pub fn take(self) -> Result<(), DiskError> {
        self.ops.outcome()
    }
}

impl DiskJob for RemoveFile {
    fn next(&mut self, last: Option<DiskResult>) -> Option<DiskOp> {
        self.ops.next(last)
    }
}
