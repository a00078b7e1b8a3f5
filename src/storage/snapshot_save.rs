//! Saving a snapshot.

use alloc::vec::Vec;
use core::fmt;
use core::mem;

use bytes::Bytes;
use smallvec::smallvec;
use xxhash_rust::xxh3::Xxh3Default;

use super::block::BLOCK;
use super::snapshot_format as format;
use super::{DiskError, DiskJob, DiskOp, DiskResult, FileName, Identity};
use crate::raft::{SnapshotId, SnapshotMeta, SnapshotPoint};
use crate::replica::View;

/// Bytes that are asked of the view at once.
const PIECE: usize = 256 << 10;
/// Written bytes are synced about this often, so that no flush stalls the log's for long. A driver may rest after each.
const SYNC_EVERY: u64 = 256 << 10;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Start,
    Write,
    Sync,
    Tail,
    LastSync,
    Rename,
    SyncDirectory,
    Done,
    Failed,
}

/// Job: writes a view to a temporary file, in pieces that are synced as they go, then renames it to its own name and
/// syncs the directory (STORAGE row 12).
///
/// Not for a position at which the log's present snapshot is: raft ignores such a snapshot, and it would take the place
/// of the present one's file.
pub struct SaveSnapshot<V: View> {
    cluster: u128,
    point: SnapshotPoint,
    view: Option<V>,
    phase: Phase,
    file: FileName,
    hash: Xxh3Default,
    written: u64,
    synced: u64,
    checksum: u64,
    piece: Vec<u8>,
    error: Option<DiskError>,
}

impl<V: View> fmt::Debug for SaveSnapshot<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SaveSnapshot").field("last", &self.point.last).finish_non_exhaustive()
    }
}

impl<V: View> SaveSnapshot<V> {
    /// Saves `view`, which is the state at `point`.
    pub fn new(identity: &Identity, point: SnapshotPoint, view: V) -> Self {
        Self {
            cluster: identity.cluster.unwrap_or(0),
            // Spares have small numbers; jobs run one after the other, and this one owns its name all the same.
            file: FileName::Temporary(point.last.index | 1 << 63),
            point,
            view: Some(view),
            phase: Phase::Start,
            hash: Xxh3Default::new(),
            written: 0,
            synced: 0,
            checksum: 0,
            piece: Vec::new(),
            error: None,
        }
    }

    /// The outcome, when the job is done.
    pub fn take(self) -> Result<SnapshotMeta, DiskError> {
        if let Some(error) = self.error {
            return Err(error);
        }
        if self.phase != Phase::Done {
            return Err(DiskError::Io(Some(self.file), 0));
        }
        let SnapshotPoint { last, stamp, configuration } = self.point;
        let id = SnapshotId { last, checksum: self.checksum };
        Ok(SnapshotMeta { id, len: self.written, stamp, configuration })
    }

    fn write(&mut self, data: Bytes) -> DiskOp {
        self.hash.update(&data);
        let offset = self.written;
        self.written = self.written.saturating_add(data.len() as u64);
        DiskOp::WriteAt { file: self.file, offset, data: smallvec![data] }
    }

    /// The next piece of the state, behind the file's first bytes if nothing is written yet; `None` at its end.
    fn piece(&mut self) -> Option<Bytes> {
        let mut out = mem::take(&mut self.piece);
        if self.written == 0 && out.is_empty() {
            out = format::head(self.cluster, &self.point);
        }
        while out.len() < PIECE {
            let more = self.view.as_mut().is_some_and(|view| view.read(PIECE, &mut out));
            if !more {
                self.view = None;
                break;
            }
        }
        (!out.is_empty()).then(|| Bytes::from(out))
    }

    fn tail(&mut self) -> DiskOp {
        let len = self.written.saturating_add(BLOCK as u64);
        let tail = Bytes::copy_from_slice(&format::tail(len, self.hash.digest()));
        let op = self.write(tail);
        self.checksum = self.hash.digest();
        op
    }
}

impl<V: View> DiskJob for SaveSnapshot<V> {
    fn next(&mut self, last: Option<DiskResult>) -> Option<DiskOp> {
        if self.phase == Phase::Failed {
            return None;
        }
        if let Some(Err(error)) = last {
            self.error = Some(error);
            self.view = None;
            self.phase = Phase::Failed;
            return Some(DiskOp::Remove { file: self.file });
        }
        let file = self.file;
        loop {
            match self.phase {
                Phase::Start => {
                    self.phase = Phase::Write;
                    return Some(DiskOp::Create { file });
                }
                Phase::Write if self.written.saturating_sub(self.synced) >= SYNC_EVERY => {
                    self.phase = Phase::Sync;
                }
                Phase::Write => match self.piece() {
                    Some(data) => return Some(self.write(data)),
                    None => self.phase = Phase::Tail,
                },
                Phase::Sync => {
                    self.synced = self.written;
                    self.phase = Phase::Write;
                    return Some(DiskOp::Sync { file });
                }
                Phase::Tail => {
                    self.phase = Phase::LastSync;
                    return Some(self.tail());
                }
                Phase::LastSync => {
                    self.phase = Phase::Rename;
                    if !planted!("snapshot-is-not-synced") {
                        return Some(DiskOp::Sync { file });
                    }
                }
                Phase::Rename => {
                    self.phase = Phase::SyncDirectory;
                    return Some(DiskOp::Rename { from: file, to: FileName::snapshot(self.point.last) });
                }
                Phase::SyncDirectory => {
                    self.phase = Phase::Done;
                    return Some(DiskOp::SyncDirectory);
                }
                Phase::Done | Phase::Failed => return None,
            }
        }
    }
}
