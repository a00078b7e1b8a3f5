//! The repair of a directory that was read and judged: known operations, and copies of pieces of files.

use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec::Vec;

use smallvec::smallvec;

use super::block::Owner;
use super::identity::{Identity, Stored};
use super::log_reader::ReadLog;
use super::vote::VoteRecord;
use super::{DiskError, DiskOp, DiskReply, DiskResult, FileName};

/// Bytes that are copied at once.
const PIECE: u64 = 256 << 10;
/// Cuts that are kept for a person; older ones go.
const MAX_CUTS: usize = 8;

#[derive(Debug)]
enum Step {
    Op(DiskOp),
    Copy { from: FileName, offset: u64, len: u64, to: FileName, at: u64 },
    Write { to: FileName, at: u64 },
}

/// Operations in order, up to the first error.
#[derive(Debug, Default)]
pub(super) struct Repair {
    steps: VecDeque<Step>,
}

impl Repair {
    fn op(&mut self, op: DiskOp) {
        self.steps.push_back(Step::Op(op));
    }

    /// The next operation, given the result of the last.
    pub(super) fn next(&mut self, last: Option<DiskResult>) -> Result<Option<DiskOp>, DiskError> {
        let reply = last.transpose()?;
        let Some(step) = self.steps.pop_front() else { return Ok(None) };
        match (step, reply) {
            (Step::Op(op), _) => Ok(Some(op)),
            (Step::Copy { from, offset, len, to, at }, _) => {
                let piece = len.min(PIECE);
                if len > piece {
                    let (offset, at) = (offset.saturating_add(piece), at.saturating_add(piece));
                    self.steps.push_front(Step::Copy { from, offset, len: len - piece, to, at });
                }
                self.steps.push_front(Step::Write { to, at });
                Ok(Some(DiskOp::ReadAt { file: from, offset, len: piece }))
            }
            (Step::Write { to, at }, Some(DiskReply::Bytes(bytes))) => {
                Ok(Some(DiskOp::WriteAt { file: to, offset: at, data: smallvec![bytes] }))
            }
            (Step::Write { to, .. }, _) => Err(DiskError::Io(Some(to), 0)),
        }
    }

    /// Counts the boot. Comes first: every record that is written later bears the new number.
    pub(super) fn count_boot(&mut self, stored: &mut Stored) {
        let boots = stored.identity.boots.saturating_add(1);
        for op in stored.replace(Identity { boots, ..stored.identity }) {
            self.op(op);
        }
    }

    /// Keeps what lies behind the end of the log aside, and clears it (STORAGE rows 1 and 9).
    pub(super) fn cut(&mut self, log: &ReadLog, files: &[(FileName, u64)], notes: &mut Vec<String>) {
        let (segment, offset, len) = log.end;
        let file = FileName::Segment(segment);
        if log.torn > 0 {
            let kept = FileName::Cut { segment, offset };
            notes.push(alloc::format!(
                "{file}: cut at offset {offset}: nothing proves that the {} bytes behind it were ever synced; kept in {kept}",
                log.torn
            ));
            // A repair that was interrupted may have cleared some of it: the longer copy is kept.
            if !files.iter().any(|&(name, len)| name == kept && len >= log.torn) {
                let to = FileName::Temporary(0);
                self.op(DiskOp::Create { file: to });
                self.steps.push_back(Step::Copy { from: file, offset, len: log.torn, to, at: 0 });
                self.op(DiskOp::Sync { file: to });
                self.op(DiskOp::Rename { from: to, to: kept });
                self.op(DiskOp::SyncDirectory);
            }
        }
        for &(number, useful) in &log.behind {
            let from = FileName::Segment(number);
            if useful {
                let to = FileName::Cut { segment: number, offset: 0 };
                notes.push(alloc::format!(
                    "{from}: nothing proves that any of it was ever synced; kept in {to}"
                ));
                self.op(DiskOp::Rename { from, to });
            } else {
                self.op(DiskOp::Remove { file: from });
            }
        }
        if !log.behind.is_empty() {
            self.op(DiskOp::SyncDirectory);
        }
        if log.torn > 0 {
            self.op(DiskOp::Zero { file, offset, len: len.saturating_sub(offset) });
            self.op(DiskOp::Sync { file });
        }
    }

    /// Writes and syncs again what nothing proves to be on the disk: after a failed sync the bytes that were read may
    /// have come from memory only (STORAGE row 5). The same bytes at the same place, so that a crash harms nothing.
    pub(super) fn rewrite(&mut self, log: &ReadLog) {
        if planted!("tail-is-not-rewritten") {
            return;
        }
        let mut written: Option<u64> = None;
        for piece in &log.unproven {
            let file = FileName::Segment(piece.segment);
            if let Some(before) = written.filter(|&before| before != piece.segment) {
                self.op(DiskOp::Sync { file: FileName::Segment(before) });
            }
            written = Some(piece.segment);
            let data = smallvec![piece.bytes.clone()];
            self.op(DiskOp::WriteAt { file, offset: piece.offset, data });
        }
        if let Some(segment) = written {
            self.op(DiskOp::Sync { file: FileName::Segment(segment) });
        }
        // The names of these segments may have come from memory too, and the vote that follows vouches for them.
        self.op(DiskOp::SyncDirectory);
    }

    /// Writes the vote anew, in another slot.
    pub(super) fn vote(&mut self, owner: &Owner, record: &VoteRecord, slot: u64) {
        for op in record.writes(owner, FileName::Vote, slot) {
            self.op(op);
        }
        self.op(DiskOp::Sync { file: FileName::Vote });
    }

    /// Removes what no start needs: unfinished files, snapshots that the log does not name, spares of another length,
    /// old cuts. Whatever the directory's names are now is synced.
    pub(super) fn clean(&mut self, files: &[(FileName, u64)], snapshot: Option<FileName>, segment_len: u64) {
        let cuts = files.iter().filter(|(file, _)| matches!(file, FileName::Cut { .. })).count();
        let mut surplus = cuts.saturating_sub(MAX_CUTS);
        for &(file, len) in files {
            let remove = match file {
                FileName::Temporary(_) | FileName::Incoming { .. } => true,
                FileName::Snapshot { .. } => Some(file) != snapshot,
                FileName::Spare(_) => len != segment_len,
                FileName::Cut { .. } => {
                    let old = surplus > 0;
                    surplus = surplus.saturating_sub(1);
                    old
                }
                FileName::Identity | FileName::Vote | FileName::Segment(_) => false,
            };
            if remove {
                self.op(DiskOp::Remove { file });
            }
        }
        self.op(DiskOp::SyncDirectory);
    }
}
