//! Who a data directory belongs to: the identity file.
//!
//! The file is two copies of one block in different 4 KiB blocks. A change writes and syncs the first copy, then the
//! second, so that at every moment one of them is whole, and rot in one leaves the other.

use alloc::string::String;
use alloc::vec::Vec;

use bytes::Bytes;
use smallvec::smallvec;

use super::block::{self, Owner, Sealer, Unreadable};
use super::{DiskOp, FileName, OpenError};
use crate::raft::{DiskId, NodeId};

/// The name of a cluster: a hash over its founders.
pub type ClusterId = u128;

/// Who a data directory belongs to, as its identity file says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// The node.
    pub node: NodeId,
    /// The name of this disk, drawn when the directory was made.
    pub disk: DiskId,
    /// The cluster; `None` until it is formed.
    pub cluster: Option<ClusterId>,
    /// How often this directory was recovered, this time included. Synced before anything else is written, so that a
    /// peer that remembers a higher number knows this disk to be rolled back.
    pub boots: u64,
}

/// What storage has to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Whose directory it should be.
    pub node: NodeId,
    /// A fresh random name for the disk, used only when the directory is empty.
    pub fresh_disk: DiskId,
    /// Length of a segment, in bytes: 16 MiB is a good one. Raised to 4 KiB if it is less.
    pub segment_bytes: u64,
    /// Longest packed entries of one record, in bytes. [`LogWriter::has_room`](super::LogWriter::has_room) is false for
    /// more.
    pub max_record_bytes: usize,
}

impl Settings {
    /// The length of a segment that is used: whole blocks, and not absurdly few.
    pub(super) fn segment_len(&self) -> u64 {
        block::align(self.segment_bytes.clamp(4096, 1 << 40))
    }
}

const MAGIC: [u8; 4] = *b"QIDN";
/// Distance of the copies: they never share a sector or a page.
const STRIDE: u64 = 4096;
/// Length of the file in bytes.
pub(super) const IDENTITY_LEN: u64 = STRIDE + block::BLOCK as u64;

impl Identity {
    /// Whose files lie in the directory, once it is formed.
    pub(super) fn owner(&self) -> Option<Owner> {
        self.cluster.map(|cluster| Owner { cluster, node: self.node, disk: self.disk })
    }

    fn seal(&self, generation: u64) -> Bytes {
        Sealer::new(MAGIC)
            .u64(self.node.0)
            .u128(self.disk.0)
            .u64(u64::from(self.cluster.is_some()))
            .u128(self.cluster.unwrap_or(0))
            .u64(self.boots)
            .u64(generation)
            .seal_bytes(0)
    }
}

/// An identity and which writing of the file it is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stored {
    pub(super) identity: Identity,
    pub(super) generation: u64,
    /// Which copy says so; the other one may be torn.
    pub(super) sound: CopyOf,
}

/// One of the two copies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CopyOf {
    First,
    Second,
}

impl CopyOf {
    fn offset(self) -> u64 {
        match self {
            Self::First => 0,
            Self::Second => STRIDE,
        }
    }
}

impl Stored {
    /// The operations that make `identity` what the file says. The copy that is known to be sound is written last, when
    /// the other one is synced.
    pub(super) fn replace(&mut self, identity: Identity) -> [DiskOp; 4] {
        self.identity = identity;
        self.generation = self.generation.saturating_add(1);
        let [first, second] = self.writes(FileName::Identity);
        let sync = DiskOp::Sync { file: FileName::Identity };
        match self.sound {
            CopyOf::First => [second, sync.clone(), first, sync],
            CopyOf::Second => [first, sync.clone(), second, sync],
        }
    }

    /// Both copies, for `file`.
    pub(super) fn writes(&self, file: FileName) -> [DiskOp; 2] {
        let block = self.identity.seal(self.generation);
        [CopyOf::First, CopyOf::Second].map(|copy| DiskOp::WriteAt {
            file,
            offset: copy.offset(),
            data: smallvec![block.clone()],
        })
    }

    /// What a whole identity file says.
    pub(super) fn read(file: &Bytes, notes: &mut Vec<String>) -> Result<Self, OpenError> {
        let mut newest: Option<Self> = None;
        let mut version = None;
        for sound in [CopyOf::First, CopyOf::Second] {
            let offset = sound.offset();
            let copy = usize::try_from(offset).ok().and_then(|at| file.get(at..)).unwrap_or(&[]);
            match block::open(copy, MAGIC, 0) {
                Ok(mut fields) => {
                    let node = NodeId(fields.u64());
                    let disk = DiskId(fields.u128());
                    let formed = fields.u64() != 0;
                    let cluster = Some(fields.u128()).filter(|_| formed);
                    let boots = fields.u64();
                    let identity = Identity { node, disk, cluster, boots };
                    let stored = Self { identity, generation: fields.u64(), sound };
                    if newest.is_none_or(|n| stored.generation > n.generation) {
                        newest = Some(stored);
                    }
                }
                Err(Unreadable::Version(v)) => version = Some(v),
                Err(Unreadable::Absent | Unreadable::Checksum) => {
                    notes.push(alloc::format!("identity: the copy at offset {offset} was unreadable"));
                }
            }
        }
        match (version, newest) {
            (Some(found), _) => Err(OpenError::Version { file: FileName::Identity, found }),
            (None, Some(stored)) => Ok(stored),
            (None, None) => Err(OpenError::IdentityLost),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(writes: &[DiskOp]) -> Vec<u8> {
        let mut bytes = alloc::vec![0; IDENTITY_LEN as usize];
        for op in writes {
            if let DiskOp::WriteAt { offset, data, .. } = op {
                let at = *offset as usize;
                bytes[at..at + data[0].len()].copy_from_slice(&data[0]);
            }
        }
        bytes
    }

    #[test]
    fn either_copy_is_enough_the_newer_wins_and_the_loss_of_both_is_a_refusal() {
        let identity = Identity { node: NodeId(1), disk: DiskId(2), cluster: None, boots: 1 };
        let mut stored = Stored { identity, generation: 1, sound: CopyOf::Second };
        let mut bytes = file(&stored.writes(FileName::Identity));
        let newer = Identity { cluster: Some(0), boots: 2, ..identity };
        let ops = stored.replace(newer);
        if let DiskOp::WriteAt { data, .. } = &ops[0] {
            bytes[..128].copy_from_slice(&data[0]);
        }
        let mut notes = Vec::new();
        let read = |bytes: &[u8], notes: &mut Vec<String>| {
            Stored::read(&Bytes::copy_from_slice(bytes), notes).map(|s| s.identity)
        };
        assert_eq!(read(&bytes, &mut notes), Ok(newer));
        assert!(notes.is_empty());
        bytes[20] ^= 1;
        assert_eq!(read(&bytes, &mut notes), Ok(identity));
        assert_eq!(notes.len(), 1);
        bytes[4096 + 20] ^= 1;
        assert_eq!(read(&bytes, &mut notes), Err(OpenError::IdentityLost));
        assert_eq!(read(&[], &mut notes), Err(OpenError::IdentityLost));
    }

    #[test]
    fn the_copy_that_is_sound_is_written_last() {
        let identity = Identity { node: NodeId(1), disk: DiskId(2), cluster: None, boots: 1 };
        let stored = Stored { identity, generation: 1, sound: CopyOf::First };
        let whole = file(&stored.writes(FileName::Identity));
        for (torn, sound) in [(0, STRIDE), (STRIDE, 0)] {
            let mut bytes = whole.clone();
            bytes[torn as usize + 9] ^= 1;
            let mut stored = Stored::read(&bytes.into(), &mut Vec::new()).unwrap();
            let ops = stored.replace(Identity { boots: 2, ..identity });
            let offset =
                |op: &DiskOp| if let DiskOp::WriteAt { offset, .. } = op { Some(*offset) } else { None };
            assert_eq!(ops.iter().filter_map(offset).collect::<Vec<_>>(), [torn, sound]);
            assert!(matches!(ops[1], DiskOp::Sync { .. }) && matches!(ops[3], DiskOp::Sync { .. }));
        }
    }
}
