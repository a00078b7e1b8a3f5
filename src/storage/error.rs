//! Why a directory or a snapshot cannot be used, in words that a person can act on.

use core::fmt;

use super::block::Owner;
use super::{ClusterId, DiskError, FileName};
use crate::raft::{DiskId, LogIndex, NodeId};
use crate::replica::RestoreError;

/// Why a data directory cannot be opened. Nothing in it was changed, unless it belongs to no cluster yet and the disk failed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum OpenError {
    /// The disk failed, which is never taken for an empty log (STORAGE row 8).
    Disk(DiskError),
    /// The directory is another node's.
    WrongNode {
        /// Which file says so.
        file: FileName,
        /// Whose it is.
        found: NodeId,
        /// Whose it should be.
        expected: NodeId,
    },
    /// A file of another disk: it was copied here.
    WrongDisk {
        /// Which file.
        file: FileName,
        /// The disk it was made for.
        found: DiskId,
        /// This disk.
        expected: DiskId,
    },
    /// A file of another cluster.
    WrongCluster {
        /// Which file.
        file: FileName,
        /// Its cluster.
        found: ClusterId,
        /// This cluster.
        expected: ClusterId,
    },
    /// A file is of a version that this build does not know (STORAGE row 22).
    Version {
        /// Which file.
        file: FileName,
        /// Its version.
        found: u16,
    },
    /// Both copies of the identity are unreadable, or the file is gone from a directory that holds a log.
    IdentityLost,
    /// The directory belongs to no cluster, where a member's was asked for.
    Unformed,
    /// No copy of the last vote is left (STORAGE row 16).
    VoteLost,
    /// A record that was synced cannot be read any more (STORAGE row 2).
    SyncedRecordLost {
        /// The segment.
        file: FileName,
        /// Where in it.
        offset: u64,
        /// The first log index that is lost.
        index: LogIndex,
        /// What is wrong with it.
        what: &'static str,
    },
    /// A segment is shorter than what was allocated for it and synced (STORAGE row 2).
    SegmentShortened {
        /// The segment.
        file: FileName,
        /// Its length in bytes.
        found: u64,
        /// The length that was synced.
        expected: u64,
    },
    /// The log has a gap (STORAGE row 13).
    Gap {
        /// The segment after the gap.
        file: FileName,
        /// Where in it.
        offset: u64,
        /// The index that should come next.
        expected: LogIndex,
        /// The index that comes.
        found: LogIndex,
    },
    /// A sound record holds what this build cannot read.
    Malformed {
        /// The segment.
        file: FileName,
        /// Where in it.
        offset: u64,
        /// The log index.
        index: LogIndex,
        /// What is wrong with it.
        what: &'static str,
    },
    /// The snapshot that the log goes on from is missing, or not as long as it should be.
    SnapshotLost {
        /// Which file.
        file: FileName,
        /// Its length, if it is there.
        found: Option<u64>,
        /// The length that it should have.
        expected: u64,
    },
    /// The job was taken before it was done: a defect of the embedder.
    Unfinished,
}

impl OpenError {
    /// Whether a file is this directory's (STORAGE row 18).
    pub(super) fn check_owner(file: FileName, expected: &Owner, found: &Owner) -> Result<(), Self> {
        if found.cluster != expected.cluster {
            return Err(Self::WrongCluster { file, found: found.cluster, expected: expected.cluster });
        }
        if found.node != expected.node {
            return Err(Self::WrongNode { file, found: found.node, expected: expected.node });
        }
        if found.disk != expected.disk {
            return Err(Self::WrongDisk { file, found: found.disk, expected: expected.disk });
        }
        Ok(())
    }
}

/// What to do about a disk that lost what it promised.
const CURE: &str = "this disk lost synced data: remove this node from the cluster and add it again with an empty \
                    data directory";

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disk(e) => write!(f, "the data directory cannot be read or repaired: {e}"),
            Self::WrongNode { file, found, expected } => write!(
                f,
                "{file} belongs to node {found}, and this is node {expected}: give each node its own data directory"
            ),
            Self::WrongDisk { file, found, expected } => write!(
                f,
                "{file} was written on disk {found}, and this is disk {expected}: do not copy files between data \
                 directories"
            ),
            Self::WrongCluster { file, found, expected } => write!(
                f,
                "{file} belongs to cluster {found:032x}, and this is cluster {expected:032x}: do not copy files \
                 between data directories"
            ),
            Self::Version { file, found } => write!(
                f,
                "{file} is of version {found}, which this build does not know: start the build that wrote it, or a \
                 newer one"
            ),
            Self::IdentityLost => {
                write!(f, "identity is missing or unreadable in a directory that was used; {CURE}")
            }
            Self::Unformed => f.write_str("it belongs to no cluster yet, and holds nothing"),
            Self::VoteLost => write!(f, "vote is missing or unreadable; {CURE}"),
            Self::SyncedRecordLost { file, offset, index, what } => {
                write!(f, "{file} at offset {offset}, log index {index}: {what}; {CURE}")
            }
            Self::SegmentShortened { file, found, expected } => write!(
                f,
                "{file} has {found} bytes where {expected} were synced: what was behind them is lost; {CURE}"
            ),
            Self::Gap { file, offset, expected, found } => write!(
                f,
                "{file} at offset {offset}: the log goes on with index {found} where {expected} should follow; {CURE}"
            ),
            Self::Malformed { file, offset, index, what } => write!(
                f,
                "{file} at offset {offset}, log index {index}: {what}: start the build that wrote it, or a newer one"
            ),
            Self::SnapshotLost { file, found: None, expected } => {
                write!(f, "{file} ({expected} bytes) is missing; {CURE}")
            }
            Self::SnapshotLost { file, found: Some(found), expected } => {
                write!(f, "{file} has {found} bytes and should have {expected}; {CURE}")
            }
            Self::Unfinished => f.write_str("the recovery was taken before it was done"),
        }
    }
}

impl core::error::Error for OpenError {}

impl From<DiskError> for OpenError {
    fn from(error: DiskError) -> Self {
        Self::Disk(error)
    }
}

/// Why a snapshot cannot be loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum LoadError {
    /// The disk failed.
    Disk(DiskError),
    /// The bytes are not those of the snapshot that was asked for.
    Corrupt {
        /// Which file.
        file: FileName,
        /// What is wrong.
        what: &'static str,
    },
    /// The file is of a version that this build does not know.
    Version {
        /// Which file.
        file: FileName,
        /// The version.
        found: u16,
    },
    /// The bytes verify, but the state machine does not accept them.
    Restore(RestoreError),
    /// The job was taken before it was done: a defect of the embedder.
    Unfinished,
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disk(e) => e.fmt(f),
            Self::Corrupt { file, what } => write!(f, "{file} is corrupt: {what}"),
            Self::Version { file, found } => {
                write!(f, "{file} is of version {found}, which this build does not know")
            }
            Self::Restore(e) => e.fmt(f),
            Self::Unfinished => f.write_str("the loading was taken before it was done"),
        }
    }
}

impl core::error::Error for LoadError {}

impl From<DiskError> for LoadError {
    fn from(error: DiskError) -> Self {
        Self::Disk(error)
    }
}
