//! Why a node stops for good, in words that a person can act on.

use core::fmt;

use crate::raft;
use crate::storage::DiskError;

/// A reason to stop.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// The core found itself or its disk to be wrong.
    Raft(raft::Fault),
    /// The disk failed; what waited on it is not acknowledged.
    Disk(DiskError),
    /// The data directory cannot be used as it is; the text says what and how to mend it.
    Directory(alloc::string::String),
    /// The cluster refuses this node; the text says why and what to do.
    Fenced(alloc::string::String),
    /// This node's state differs from the majority's at the same index.
    Diverged {
        /// The index at which the digests were compared.
        index: u64,
    },
}

impl Fault {
    /// The exit code of a directory that cannot be used.
    pub const DIRECTORY: u8 = 2;
    /// The exit code of a disk that failed.
    pub const DISK: u8 = 3;
    /// The exit code of a node that the cluster refuses, or has removed.
    pub const FENCED: u8 = 4;
    /// The exit code of a broken invariant.
    pub const BROKEN: u8 = 5;

    /// The exit code of a process that ends by it.
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Directory(_) => Self::DIRECTORY,
            Self::Disk(_) => Self::DISK,
            Self::Fenced(_) => Self::FENCED,
            Self::Raft(_) | Self::Diverged { .. } => Self::BROKEN,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Raft(fault) => fault.fmt(f),
            Self::Disk(error) => {
                write!(f, "the disk failed: {error}; mend the disk, then start the node again")
            }
            Self::Directory(text) | Self::Fenced(text) => f.write_str(text),
            Self::Diverged { index } => write!(
                f,
                "this node's state differs from the majority's at index {index}; remove and re-add the node"
            ),
        }
    }
}

impl core::error::Error for Fault {}
