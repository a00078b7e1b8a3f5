//! What storage asks of a disk, and what a disk answers. One flat directory; names are given by the library.

use alloc::vec::Vec;
use core::fmt;

use bytes::Bytes;
use smallvec::SmallVec;

use crate::raft::LogId;

/// A file of a data directory. [`Display`](fmt::Display) is its name on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum FileName {
    /// Who this directory belongs to: `identity`.
    Identity,
    /// Term and vote: `vote`.
    Vote,
    /// A segment of the log, by its number: `segment-<16 hex>`.
    Segment(u64),
    /// A spare, pre-zeroed segment that has not been put to use: `spare-<16 hex>`.
    Spare(u64),
    /// A snapshot by its last index and term: `snapshot-<index 16 hex>-<term 16 hex>`.
    Snapshot {
        /// Last index covered.
        index: u64,
        /// Its term.
        term: u64,
    },
    /// A snapshot being received from a leader: `incoming-<index 16 hex>-<term 16 hex>`.
    Incoming {
        /// Last index covered.
        index: u64,
        /// Its term.
        term: u64,
    },
    /// Bytes that recovery cut off a log's end, kept for a person: `cut-<segment 16 hex>-<offset 16 hex>`.
    Cut {
        /// The segment.
        segment: u64,
        /// Where the cut was.
        offset: u64,
    },
    /// A file that is being made and is worth nothing until it is renamed: `temporary-<16 hex>`.
    Temporary(u64),
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Identity => f.write_str("identity"),
            Self::Vote => f.write_str("vote"),
            Self::Segment(n) => write!(f, "segment-{n:016x}"),
            Self::Spare(n) => write!(f, "spare-{n:016x}"),
            Self::Snapshot { index, term } => write!(f, "snapshot-{index:016x}-{term:016x}"),
            Self::Incoming { index, term } => write!(f, "incoming-{index:016x}-{term:016x}"),
            Self::Cut { segment, offset } => write!(f, "cut-{segment:016x}-{offset:016x}"),
            Self::Temporary(n) => write!(f, "temporary-{n:016x}"),
        }
    }
}

impl FileName {
    /// Where the snapshot lies whose last entry is `last`.
    pub const fn snapshot(last: LogId) -> Self {
        Self::Snapshot { index: last.index, term: last.term }
    }

    /// The file that a directory entry names; `None` for a foreign one, which is left alone.
    pub fn parse(name: &str) -> Option<Self> {
        let hex = |s: &str| (s.len() == 16).then(|| u64::from_str_radix(s, 16).ok()).flatten();
        let pair = |s: &str| s.split_once('-').and_then(|(a, b)| Some((hex(a)?, hex(b)?)));
        let parsed = match name.split_once('-') {
            None if name == "identity" => Self::Identity,
            None if name == "vote" => Self::Vote,
            None => return None,
            Some(("segment", n)) => Self::Segment(hex(n)?),
            Some(("spare", n)) => Self::Spare(hex(n)?),
            Some(("temporary", n)) => Self::Temporary(hex(n)?),
            Some(("snapshot", p)) => pair(p).map(|(index, term)| Self::Snapshot { index, term })?,
            Some(("incoming", p)) => pair(p).map(|(index, term)| Self::Incoming { index, term })?,
            Some(("cut", p)) => pair(p).map(|(segment, offset)| Self::Cut { segment, offset })?,
            Some(_) => return None,
        };
        Some(parsed)
    }
}

/// One operation. Those of one [`DiskBatch`] or job are performed in order; the first error ends the rest.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum DiskOp {
    /// The names and lengths of all files; foreign names are left out.
    List,
    /// Up to `len` bytes at `offset`; fewer only at the end of the file.
    ReadAt {
        /// Which file.
        file: FileName,
        /// From where.
        offset: u64,
        /// How many.
        len: u64,
    },
    /// Makes an empty file, or empties an old one.
    Create {
        /// Which file.
        file: FileName,
    },
    /// Writes the pieces one after the other at `offset`, all of them (a short write is an error).
    WriteAt {
        /// Which file; it exists.
        file: FileName,
        /// Where the first piece goes.
        offset: u64,
        /// The bytes.
        data: SmallVec<[Bytes; 2]>,
    },
    /// Writes `len` zeros at `offset`, in pieces, so that later writes there change no metadata.
    Zero {
        /// Which file; it exists.
        file: FileName,
        /// From where.
        offset: u64,
        /// How many.
        len: u64,
    },
    /// Makes the file's bytes durable (fdatasync), with its length.
    Sync {
        /// Which file.
        file: FileName,
    },
    /// Renames; an old `to` is replaced. Durable only after [`SyncDirectory`](Self::SyncDirectory).
    Rename {
        /// The old name.
        from: FileName,
        /// The new name.
        to: FileName,
    },
    /// Removes; a missing file is no error.
    Remove {
        /// Which file.
        file: FileName,
    },
    /// Makes names durable: creations, renames, removals.
    SyncDirectory,
}

/// What a successful operation yields.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum DiskReply {
    /// Nothing to tell.
    Done,
    /// The answer to [`DiskOp::List`]: names with lengths in bytes, ascending.
    Files(Vec<(FileName, u64)>),
    /// The answer to [`DiskOp::ReadAt`].
    Bytes(Bytes),
}

/// What an operation failed with.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum DiskError {
    /// There is no such file.
    NotFound(FileName),
    /// The disk is full.
    NoSpace(FileName),
    /// Anything else: the operating system's error number, or 0.
    Io(Option<FileName>, i32),
}

impl fmt::Display for DiskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound(file) => write!(f, "{file} is missing"),
            Self::NoSpace(file) => write!(f, "no space left on the disk for {file}"),
            Self::Io(Some(file), code) => write!(f, "input/output error {code} on {file}"),
            Self::Io(None, code) => write!(f, "input/output error {code} on the directory"),
        }
    }
}

impl core::error::Error for DiskError {}

/// The result of one operation.
pub type DiskResult = Result<DiskReply, DiskError>;

/// Numbers the batches of the log lane; grows by one.
pub type BatchId = u64;

/// Operations of the log lane. Batches are performed in the order of their ids; the driver may perform several before it
/// syncs, and perform equal syncs once, as long as each is reported done only after the syncs it asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskBatch {
    /// To be reported when all of it is done, or with the first error.
    pub id: BatchId,
    /// What to do, in order.
    pub ops: Vec<DiskOp>,
}

/// A conversation with the disk: given the result of its last operation, a job names the next, until it is done. Recovery,
/// saving and loading a snapshot, making a spare segment are jobs; they run beside the log lane.
pub trait DiskJob {
    /// The next operation, given the result of the last (`None` at the start); `None` when the job is done or has failed.
    /// Its outcome stays inside until it is taken by who made the job.
    fn next(&mut self, last: Option<DiskResult>) -> Option<DiskOp>;
}
