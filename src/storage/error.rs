//! Why a directory or a snapshot cannot be used, in words that a person can act on.

use core::fmt;

use super::{DiskError, FileName};
use crate::replica::RestoreError;

/// Why a data directory cannot be opened.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum OpenError {
    /// The disk failed, which is never taken for an empty log.
    Disk(DiskError),
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disk(e) => e.fmt(f),
        }
    }
}

impl core::error::Error for OpenError {}

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
        }
    }
}

impl core::error::Error for LoadError {}
