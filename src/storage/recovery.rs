//! Recovery of a data directory.

use alloc::string::String;
use alloc::vec::Vec;

use super::{DiskJob, DiskOp, DiskResult, Identity, LogWriter, OpenError, Settings};
use crate::raft::Recovered;

/// What a data directory turned out to be.
#[derive(Debug)]
pub enum Opened {
    /// It belongs to no cluster yet.
    Unformed(Identity),
    /// It is a member's.
    Formed {
        /// Whose.
        identity: Identity,
        /// What the core starts from. The state of its snapshot is to be loaded first.
        recovered: Recovered,
        /// Goes on where the log ends.
        log: LogWriter,
        /// What a person should know of: cuts, healed copies.
        notes: Vec<String>,
    },
}

/// Job: reads a data directory, repairs its tail, counts the boot.
#[derive(Debug)]
pub struct Recovery {
    settings: Settings,
}

impl Recovery {
    /// Recovery of the directory that the driver has locked.
    pub fn new(settings: Settings) -> Self {
        Self { settings }
    }

    /// The outcome, when the job is done.
    pub fn take(self) -> Result<Opened, OpenError> {
        let _ = self.settings;
        todo!("storage helper")
    }
}

impl DiskJob for Recovery {
    fn next(&mut self, _last: Option<DiskResult>) -> Option<DiskOp> {
        todo!("storage helper")
    }
}
