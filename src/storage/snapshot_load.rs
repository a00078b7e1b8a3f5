//! Loading a snapshot.

use alloc::vec::Vec;
use core::fmt;
use core::mem;

use bytes::Bytes;
use xxhash_rust::xxh3::Xxh3Default;

use super::block::{BLOCK, Unreadable};
use super::snapshot_format as format;
use super::{ClusterId, DiskError, DiskJob, DiskOp, DiskReply, DiskResult, FileName, Identity, LoadError};
use crate::raft::{SnapshotId, SnapshotMeta, SnapshotPoint};
use crate::replica::{RestoreError, Restorer};

const PIECE: u64 = 256 << 10;
const TAIL: u64 = BLOCK as u64;

#[derive(Debug)]
enum Phase {
    /// Reads on at the offset, as far as the file is written.
    Read,
    Sync,
    Rename,
    SyncDirectory,
    Finish,
    Failed,
}

#[derive(Debug)]
struct Wanted {
    /// A disk that belongs to none has no snapshot.
    cluster: Option<ClusterId>,
    snapshot: SnapshotMeta,
}

/// Job: verifies a snapshot file and builds its state in one pass over it; a received one is then made durable under its
/// own name. One that does not verify is removed if it was received, and left for a person if it was in use.
///
/// Nothing of the state comes out before length and checksum are right (STORAGE row 14).
pub struct LoadSnapshot<R: Restorer> {
    /// What the file has to hold; `None` for any snapshot.
    wanted: Option<Wanted>,
    from: FileName,
    /// The length of the file in bytes, and how many of them are written.
    len: u64,
    written: u64,
    /// What its header says that it holds.
    found: Option<(ClusterId, SnapshotPoint)>,
    restorer: Option<R>,
    phase: Phase,
    offset: u64,
    asked: u64,
    hash: Xxh3Default,
    /// The file's first bytes until all of them are read; `None` afterwards.
    head: Option<Vec<u8>>,
    /// The file's last block as far as it is read.
    tail: Vec<u8>,
    /// The state, when it is whole and the file verified.
    state: Option<R::State>,
    /// The restorer refused bytes: told only if they verify, for otherwise they are just corrupt.
    refused: Option<RestoreError>,
    outcome: Option<Result<R::State, LoadError>>,
}

impl<R: Restorer> fmt::Debug for LoadSnapshot<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoadSnapshot")
            .field("wanted", &self.wanted)
            .field("from", &self.from)
            .finish_non_exhaustive()
    }
}

impl<R: Restorer> LoadSnapshot<R> {
    /// Loads `snapshot` `from` its `Incoming` or `Snapshot` file.
    pub fn new(identity: &Identity, snapshot: SnapshotMeta, from: FileName, restorer: R) -> Self {
        let len = snapshot.len;
        Self::open(Some(Wanted { cluster: identity.cluster, snapshot }), from, len, restorer)
    }

    /// Loads `snapshot` from its `Incoming` file while that is being written. The job comes to its end whenever it has read
    /// what is written ([`go_on`](Self::go_on)), and leaves the file alone until all is.
    pub fn growing(identity: &Identity, snapshot: SnapshotMeta, restorer: R) -> Self {
        let SnapshotId { last, .. } = snapshot.id;
        let from = FileName::Incoming { index: last.index, term: last.term };
        Self { written: 0, ..Self::new(identity, snapshot, from, restorer) }
    }

    /// The file is written up to `written`: as a job again, it reads on.
    pub fn go_on(&mut self, written: u64) {
        self.written = written.min(self.len);
    }

    /// How many bytes are written and not read.
    pub fn unread(&self) -> u64 {
        self.written.saturating_sub(self.offset)
    }

    /// Whether it has failed before all was written.
    pub fn has_failed(&self) -> bool {
        matches!(self.phase, Phase::Failed)
    }

    /// Loads whatever snapshot the file of `len` bytes holds.
    pub(super) fn any(from: FileName, len: u64, restorer: R) -> Self {
        Self::open(None, from, len, restorer)
    }

    fn open(wanted: Option<Wanted>, from: FileName, len: u64, restorer: R) -> Self {
        Self {
            wanted,
            from,
            len,
            written: len,
            found: None,
            restorer: Some(restorer),
            phase: Phase::Read,
            offset: 0,
            asked: 0,
            hash: Xxh3Default::new(),
            head: Some(Vec::new()),
            tail: Vec::new(),
            state: None,
            refused: None,
            outcome: None,
        }
    }

    /// The outcome, when the job is done.
    pub fn take(self) -> Result<R::State, LoadError> {
        self.outcome.unwrap_or(Err(LoadError::Unfinished))
    }

    /// What the file turned out to hold, with its state, when the job is done.
    pub(super) fn take_found(self) -> Option<(ClusterId, SnapshotMeta, R::State)> {
        let state = self.outcome?.ok()?;
        let (cluster, SnapshotPoint { last, stamp, configuration }) = self.found?;
        let id = SnapshotId { last, checksum: self.hash.digest() };
        Some((cluster, SnapshotMeta { id, len: self.len, stamp, configuration }, state))
    }

    fn corrupt<T>(&self, what: &'static str) -> Result<T, LoadError> {
        Err(LoadError::Corrupt { file: self.from, what })
    }

    /// Asks for the next piece, and at the end for one byte more than there should be; `None` when more is yet to be written.
    fn read(&mut self) -> Option<DiskOp> {
        let unread = self.unread();
        if unread == 0 && self.written < self.len {
            return None;
        }
        self.asked = unread.min(PIECE);
        let is_last = self.offset.saturating_add(self.asked) == self.len;
        let len = self.asked.saturating_add(u64::from(is_last));
        Some(DiskOp::ReadAt { file: self.from, offset: self.offset, len })
    }

    /// Takes a piece; the phase that follows.
    fn take_piece(&mut self, piece: &Bytes) -> Result<Phase, LoadError> {
        match (piece.len() as u64).cmp(&self.asked) {
            core::cmp::Ordering::Less => return self.corrupt("it ends too early"),
            core::cmp::Ordering::Greater => return self.corrupt("it goes on too long"),
            core::cmp::Ordering::Equal => {}
        }
        // The last block is not covered by the checksum that it holds.
        let end = self.len.saturating_sub(TAIL).saturating_sub(self.offset);
        let split = usize::try_from(end).unwrap_or(usize::MAX).min(piece.len());
        self.hash.update(piece.get(..split).unwrap_or(&[]));
        self.push(piece.slice(..split))?;
        self.tail.extend_from_slice(piece.get(split..).unwrap_or(&[]));
        self.offset = self.offset.saturating_add(self.asked);
        if self.offset < self.len {
            return Ok(Phase::Read);
        }
        self.verify()?;
        self.finish()?;
        Ok(if matches!(self.from, FileName::Incoming { .. }) { Phase::Sync } else { Phase::Finish })
    }

    /// Feeds the state's bytes to the restorer; before them the file's first bytes are judged.
    fn push(&mut self, piece: Bytes) -> Result<(), LoadError> {
        let Some(mut head) = self.head.take() else {
            self.restore(&piece);
            return Ok(());
        };
        head.extend_from_slice(&piece);
        if head.len() < BLOCK {
            self.head = Some(head);
            return Ok(());
        }
        let (cluster, point_len) = match format::open_head(&head) {
            Ok(fields) => fields,
            Err(Unreadable::Version(found)) => return Err(LoadError::Version { file: self.from, found }),
            Err(Unreadable::Absent | Unreadable::Checksum) => {
                return self.corrupt("its header cannot be read");
            }
        };
        if self.wanted.as_ref().is_some_and(|wanted| wanted.cluster != Some(cluster)) {
            return self.corrupt("it belongs to another cluster");
        }
        if point_len > format::MAX_POINT.min(self.len) {
            return self.corrupt("its header is too long");
        }
        let start = BLOCK.saturating_add(usize::try_from(point_len).unwrap_or(usize::MAX));
        let Some((all, state)) = head.split_at_checked(start) else {
            self.head = Some(head);
            return Ok(());
        };
        let Some(point) = format::open_point(all.get(BLOCK..).unwrap_or(&[])) else {
            return self.corrupt("its header cannot be read");
        };
        let SnapshotPoint { last, stamp, configuration } = &point;
        if let Some(Wanted { snapshot: wanted, .. }) = &self.wanted
            && (*last, *stamp, configuration) != (wanted.id.last, wanted.stamp, &wanted.configuration)
        {
            return self.corrupt("it covers something else than was asked for");
        }
        self.found = Some((cluster, point));
        self.restore(state);
        Ok(())
    }

    fn restore(&mut self, state: &[u8]) {
        let Some(restorer) = self.restorer.as_mut().filter(|_| !state.is_empty()) else { return };
        if let Err(error) = restorer.push(state) {
            self.refused = Some(error);
            self.restorer = None;
        }
    }

    fn verify(&mut self) -> Result<(), LoadError> {
        if self.head.is_some() {
            return self.corrupt("it ends within its header");
        }
        let Ok((len, checksum)) = format::open_tail(&self.tail) else {
            return self.corrupt("its trailer cannot be read");
        };
        if len != self.len {
            return self.corrupt("its length does not fit its trailer");
        }
        if checksum != self.hash.digest() {
            return self.corrupt("its checksum does not fit its trailer");
        }
        self.hash.update(&mem::take(&mut self.tail));
        let checksum = self.hash.digest();
        if self.wanted.as_ref().is_some_and(|wanted| wanted.snapshot.id.checksum != checksum) {
            return self.corrupt("it is another snapshot than was asked for");
        }
        Ok(())
    }

    /// Builds the state of a verified file.
    fn finish(&mut self) -> Result<(), LoadError> {
        if let Some(error) = self.refused.take() {
            return Err(LoadError::Restore(error));
        }
        let state = self.restorer.take().map(R::finish).transpose().map_err(LoadError::Restore)?;
        self.state = state;
        Ok(())
    }

    /// A failure ends the job; what was received and is worth nothing goes.
    fn fail(&mut self, error: LoadError) -> Option<DiskOp> {
        self.restorer = None;
        self.phase = Phase::Failed;
        self.outcome = Some(Err(error));
        let is_received = self.written == self.len && matches!(self.from, FileName::Incoming { .. });
        is_received.then_some(DiskOp::Remove { file: self.from })
    }
}

impl<R: Restorer> DiskJob for LoadSnapshot<R> {
    fn next(&mut self, last: Option<DiskResult>) -> Option<DiskOp> {
        if self.outcome.is_some() {
            return None;
        }
        match last.transpose() {
            Err(error) => return self.fail(error.into()),
            Ok(Some(DiskReply::Bytes(piece))) => match self.take_piece(&piece) {
                Ok(phase) => self.phase = phase,
                Err(error) => return self.fail(error),
            },
            Ok(Some(DiskReply::Files(_))) => return self.fail(DiskError::Io(Some(self.from), 0).into()),
            Ok(Some(DiskReply::Done) | None) => {}
        }
        match self.phase {
            Phase::Read => self.read(),
            Phase::Sync => {
                self.phase = Phase::Rename;
                Some(DiskOp::Sync { file: self.from })
            }
            Phase::Rename => {
                self.phase = Phase::SyncDirectory;
                let own = |wanted: &Wanted| FileName::snapshot(wanted.snapshot.id.last);
                Some(DiskOp::Rename { from: self.from, to: self.wanted.as_ref().map_or(self.from, own) })
            }
            Phase::SyncDirectory => {
                self.phase = Phase::Finish;
                Some(DiskOp::SyncDirectory)
            }
            Phase::Finish => {
                self.outcome = Some(self.state.take().ok_or(LoadError::Unfinished));
                None
            }
            Phase::Failed => None,
        }
    }
}
