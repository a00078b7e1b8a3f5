//! Faults that a scenario or a random run lets strike a disk, each with what the node must then do (the STORAGE table).

use std::format;
use std::string::{String, ToString};
use std::vec::Vec;

use crate::node::Fault;
use crate::raft::LogIndex;
use crate::sim::census::met;
use crate::storage::FileName;

/// Something that goes wrong with a disk, once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum DiskFault {
    /// A read or list ends with EIO (STORAGE row 8).
    FailedRead,
    /// A write ends with EIO, done in part (row 4).
    FailedWrite,
    /// A sync ends with EIO (row 4).
    FailedSync,
    /// A creation, rename, removal or sync of the directory ends with EIO (row 4).
    FailedNames,
    /// Hardly any space is left, until [`Disk::set_capacity`](super::Disk::set_capacity) makes some (row 7).
    Full,
    /// Everything takes ten times as long, until [`Disk::set_weather`](super::Disk::set_weather) ends it (row 6).
    Slow,
    /// A bit rots in a record that something else on the disk proves to have been synced (row 2).
    RottenRecord,
    /// A bit rots in the header of a segment whose first record is proven (row 2).
    RottenSegmentHeader,
    /// The lengths in a proven record's header are wild (row 10).
    WildLength,
    /// A bit rots in the snapshot that the log goes on from (row 14).
    RottenSnapshot,
    /// That snapshot ends too early (row 14).
    ShortSnapshot,
    /// A bit rots in one copy of the newest vote (row 16).
    RottenVoteCopy,
    /// Both copies of the newest vote rot, and a proven record was written after it (row 16).
    RottenVote,
    /// A bit rots in one copy of the identity.
    RottenIdentityCopy,
    /// Both copies of the identity rot (row 18).
    RottenIdentity,
    /// Identity or vote are of a version that this build does not know (row 22).
    UnknownVersion,
    /// A record that is proven to have been synced never reached the medium (row 11).
    StaleWrite,
    /// A record that is proven to have been synced lies in the place of another one instead of its own (row 11).
    MisdirectedWrite,
    /// The disk is another one, empty, under the old node's id (row 19): `Cluster::wipe`.
    Wiped,
    /// The disk is as it was some lives ago, and peers remember (row 19): `Cluster::roll_back`.
    RolledBack,
}

/// What a node must do about a fault of its disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expectation {
    /// It goes on, and nothing is lost.
    Survives,
    /// The process that meets the fault halts.
    Halts {
        /// The exit code.
        exit_code: u8,
        /// What the reason says, among other things.
        says: Vec<String>,
    },
    /// It refuses to start, or to take part.
    Refuses {
        /// The exit code.
        exit_code: u8,
        /// What the reason says, among other things.
        says: Vec<String>,
    },
}

impl Expectation {
    /// Whether a node that met the fault, and then halted for this reason or did not halt, did what it must.
    ///
    /// # Errors
    ///
    /// What it did instead, in words.
    pub fn met_by(&self, fault: Option<&Fault>) -> Result<(), String> {
        let (phrases, text) = match (self, fault) {
            (Self::Survives, None) => return Ok(()),
            (Self::Survives, Some(fault)) => return Err(format!("halted: {fault}")),
            (Self::Halts { .. } | Self::Refuses { .. }, None) => {
                return Err(format!("goes on, and should not: {self:?}"));
            }
            (Self::Halts { exit_code, says } | Self::Refuses { exit_code, says }, Some(fault)) => {
                if fault.exit_code() != *exit_code {
                    return Err(format!("exit code {} instead of {exit_code}: {fault}", fault.exit_code()));
                }
                (says, fault.to_string())
            }
        };
        match phrases.iter().find(|phrase| !text.contains(phrase.as_str())) {
            Some(missing) => Err(format!("does not say {missing:?}: {text}")),
            None => Ok(()),
        }
    }
}

impl DiskFault {
    /// Every fault.
    pub const ALL: [Self; 20] = [
        Self::FailedRead,
        Self::FailedWrite,
        Self::FailedSync,
        Self::FailedNames,
        Self::Full,
        Self::Slow,
        Self::RottenRecord,
        Self::RottenSegmentHeader,
        Self::WildLength,
        Self::RottenSnapshot,
        Self::ShortSnapshot,
        Self::RottenVoteCopy,
        Self::RottenVote,
        Self::RottenIdentityCopy,
        Self::RottenIdentity,
        Self::UnknownVersion,
        Self::StaleWrite,
        Self::MisdirectedWrite,
        Self::Wiped,
        Self::RolledBack,
    ];

    /// What a node must do about it, wherever it struck.
    pub fn expected(&self) -> Expectation {
        let refuses = |exit_code, says: &str| Expectation::Refuses { exit_code, says: [says.into()].into() };
        match self {
            Self::FailedRead | Self::FailedWrite | Self::FailedSync | Self::FailedNames => {
                Expectation::Halts { exit_code: 3, says: ["the disk failed".into()].into() }
            }
            Self::Full | Self::Slow | Self::RottenVoteCopy | Self::RottenIdentityCopy => {
                Expectation::Survives
            }
            Self::RottenRecord
            | Self::RottenSegmentHeader
            | Self::WildLength
            | Self::StaleWrite
            | Self::MisdirectedWrite => refuses(2, "this disk lost synced data"),
            Self::RottenSnapshot => refuses(2, "the snapshot before the log cannot be loaded"),
            Self::ShortSnapshot => refuses(2, "bytes and should have"),
            Self::RottenVote => refuses(2, "vote is missing or unreadable"),
            Self::RottenIdentity => refuses(2, "identity is missing or unreadable"),
            Self::UnknownVersion => refuses(2, "is of version"),
            Self::Wiped | Self::RolledBack => refuses(4, "remove"),
        }
    }

    /// What has been met when a node has refused to start by it, as it is counted; `None` if it is no reason to refuse.
    pub fn refusal(&self) -> Option<&'static str> {
        Some(match self {
            Self::FailedRead
            | Self::FailedWrite
            | Self::FailedSync
            | Self::FailedNames
            | Self::Full
            | Self::Slow
            | Self::RottenVoteCopy
            | Self::RottenIdentityCopy => return None,
            Self::RottenRecord | Self::RottenSegmentHeader => met::LOST_RECORD,
            Self::WildLength => met::WILD_LENGTH,
            Self::RottenSnapshot | Self::ShortSnapshot => met::BAD_SNAPSHOT,
            Self::RottenVote => met::NO_VOTE,
            Self::RottenIdentity => met::NO_IDENTITY,
            Self::UnknownVersion => met::VERSION,
            Self::StaleWrite | Self::MisdirectedWrite => met::ASTRAY,
            Self::Wiped => met::WIPED,
            Self::RolledBack => met::ROLLED_BACK,
        })
    }

    /// Whether it strikes what lies on the disk, and so has to strike while no process uses it: what a process has read
    /// already it does not miss, and may write anew.
    pub fn while_down(&self) -> bool {
        match self {
            Self::FailedRead
            | Self::FailedWrite
            | Self::FailedSync
            | Self::FailedNames
            | Self::Full
            | Self::Slow => false,
            Self::RottenRecord
            | Self::RottenSegmentHeader
            | Self::WildLength
            | Self::RottenSnapshot
            | Self::ShortSnapshot
            | Self::RottenVoteCopy
            | Self::RottenVote
            | Self::RottenIdentityCopy
            | Self::RottenIdentity
            | Self::UnknownVersion
            | Self::StaleWrite
            | Self::MisdirectedWrite
            | Self::Wiped
            | Self::RolledBack => true,
        }
    }
}

/// Something synced that a disk has lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wound {
    /// By which fault.
    pub fault: DiskFault,
    /// In which file.
    pub file: FileName,
    /// Where what is lost begins.
    pub offset: u64,
    /// The first log index that is lost, if it is a record.
    pub index: Option<LogIndex>,
}

impl Wound {
    /// What the next start must do: it names the place.
    pub fn expected(&self) -> Expectation {
        let mut expected = self.fault.expected();
        let place = match self.index {
            Some(index) => format!("{} at offset {}, log index {index}", self.file, self.offset),
            // Of a segment that does not begin it is known only where the one before it ends.
            None if matches!(self.file, FileName::Segment(_)) => "log index".into(),
            None => self.file.to_string(),
        };
        if let Expectation::Refuses { says, .. } = &mut expected {
            says.push(place);
        }
        expected
    }
}
