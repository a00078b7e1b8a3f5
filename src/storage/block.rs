//! The block: 128 bytes with a magic, a version and a checksum of its own. Identity, vote, and the headers of segments
//! and records are blocks.
//!
//! Every version keeps this frame (magic, version, checksum in the last eight bytes), so that a build can tell a newer
//! version from rot and refuse it by name (STORAGE row 22).

use bytes::Bytes;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use super::ClusterId;
use crate::raft::{DiskId, NodeId};

/// Length of a block in bytes. Records begin at multiples of it, so that their headers can be found.
pub(super) const BLOCK: usize = 128;
const CHECKED: usize = BLOCK - 8;
/// The one version of every file that this build writes and reads.
pub(super) const VERSION: u16 = 1;

/// `len` rounded up to whole blocks, or the largest number.
pub(super) fn align(len: u64) -> u64 {
    len.checked_next_multiple_of(BLOCK as u64).unwrap_or(u64::MAX)
}

/// Whose files these are: in every file, and in every record's checksum (STORAGE rows 11 and 18).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Owner {
    pub(super) cluster: ClusterId,
    pub(super) node: NodeId,
    pub(super) disk: DiskId,
}

impl Owner {
    /// The seed of the checksums of a segment's records: a record verifies nowhere else.
    pub(super) fn seed(&self, segment: u64) -> u64 {
        let mut key = [0; 48];
        let parts: [&[u8]; 4] = [
            &self.cluster.to_le_bytes(),
            &self.disk.0.to_le_bytes(),
            &self.node.0.to_le_bytes(),
            &segment.to_le_bytes(),
        ];
        let mut rest = key.as_mut_slice();
        for part in parts {
            let (head, tail) = rest.split_at_mut(part.len());
            head.copy_from_slice(part);
            rest = tail;
        }
        xxh3_64(&key)
    }
}

/// A block that is being written. Fields follow each other, little-endian.
#[derive(Debug, Clone)]
pub(super) struct Sealer {
    bytes: [u8; BLOCK],
    at: usize,
}

impl Sealer {
    /// An empty block of this version.
    pub(super) fn new(magic: [u8; 4]) -> Self {
        Self { bytes: [0; BLOCK], at: 0 }.put(&magic).put(&VERSION.to_le_bytes()).put(&[0; 2])
    }

    fn put(mut self, field: &[u8]) -> Self {
        let end = self.at + field.len();
        debug_assert!(end <= CHECKED, "a block's fields fit it");
        if let Some(space) = self.bytes.get_mut(self.at..end) {
            space.copy_from_slice(field);
        }
        self.at = end;
        self
    }

    /// Adds a number.
    pub(super) fn u64(self, value: u64) -> Self {
        self.put(&value.to_le_bytes())
    }

    /// Adds a long number.
    pub(super) fn u128(self, value: u128) -> Self {
        self.put(&value.to_le_bytes())
    }

    /// Adds whose block it is.
    pub(super) fn owner(self, owner: &Owner) -> Self {
        self.u128(owner.cluster).u128(owner.disk.0).u64(owner.node.0)
    }

    /// The whole block.
    pub(super) fn seal(mut self, seed: u64) -> [u8; BLOCK] {
        if let Some((checked, checksum)) = self.bytes.split_last_chunk_mut::<8>() {
            *checksum = xxh3_64_with_seed(checked, seed).to_le_bytes();
        }
        self.bytes
    }

    /// The whole block, for a write.
    pub(super) fn seal_bytes(self, seed: u64) -> Bytes {
        Bytes::copy_from_slice(&self.seal(seed))
    }
}

/// Why bytes are not a block of this build.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unreadable {
    /// Something else, or nothing.
    Absent,
    /// The magic is right and the checksum is not.
    Checksum,
    /// A sound block of a version that this build does not know.
    Version(u16),
}

/// The fields of a verified block, in order.
#[derive(Debug, Clone)]
pub(super) struct Fields<'a>(&'a [u8]);

/// Verifies the block at the start of `bytes`.
pub(super) fn open(bytes: &[u8], magic: [u8; 4], seed: u64) -> Result<Fields<'_>, Unreadable> {
    let (block, _) = bytes.split_first_chunk::<BLOCK>().ok_or(Unreadable::Absent)?;
    let Some((fields, checksum)) = block.split_last_chunk::<8>() else { return Err(Unreadable::Absent) };
    let Some((found, rest)) = fields.split_first_chunk::<4>() else { return Err(Unreadable::Absent) };
    if *found != magic {
        return Err(Unreadable::Absent);
    }
    if xxh3_64_with_seed(fields, seed) != u64::from_le_bytes(*checksum) {
        return Err(Unreadable::Checksum);
    }
    let mut rest = Fields(rest);
    let version = u16::from_le_bytes(rest.take());
    let _reserved: [u8; 2] = rest.take();
    if version == VERSION { Ok(rest) } else { Err(Unreadable::Version(version)) }
}

/// Makes a block one of a later version, soundly sealed: for whoever tests what is then refused.
#[cfg(any(test, feature = "sim"))]
pub(super) fn raise_version(block: &mut [u8; BLOCK]) {
    block[4..6].copy_from_slice(&(VERSION + 8).to_le_bytes());
    if let Some((checked, checksum)) = block.split_last_chunk_mut::<8>() {
        *checksum = xxh3_64(checked).to_le_bytes();
    }
}

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        // A block is longer than the fields of any of its uses; past its end there would be zeros.
        let (head, rest) = self.0.split_first_chunk().unwrap_or((&[0; N], &[]));
        self.0 = rest;
        *head
    }

    /// The next number.
    pub(super) fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.take())
    }

    /// The next long number.
    pub(super) fn u128(&mut self) -> u128 {
        u128::from_le_bytes(self.take())
    }

    /// Whose block it is.
    pub(super) fn owner(&mut self) -> Owner {
        let cluster = self.u128();
        let disk = DiskId(self.u128());
        let node = NodeId(self.u64());
        Owner { cluster, node, disk }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_comes_back_and_any_flipped_bit_is_refused() {
        let block = Sealer::new(*b"QTST").u64(7).u128(9).seal(3);
        let mut fields = open(&block, *b"QTST", 3).unwrap();
        assert_eq!((fields.u64(), fields.u128()), (7, 9));
        assert_eq!(open(&block, *b"QTST", 4).unwrap_err(), Unreadable::Checksum);
        assert_eq!(open(&block, *b"QTSU", 3).unwrap_err(), Unreadable::Absent);
        for bit in 0..BLOCK * 8 {
            let mut bad = block;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(open(&bad, *b"QTST", 3).is_err(), "bit {bit}");
        }
        assert_eq!(open(&block[..BLOCK - 1], *b"QTST", 3).unwrap_err(), Unreadable::Absent);
    }

    #[test]
    fn row_22_a_sound_block_of_another_version_is_told_from_rot() {
        let mut block = Sealer::new(*b"QTST").u64(7).seal(0);
        raise_version(&mut block);
        assert_eq!(open(&block, *b"QTST", 0).unwrap_err(), Unreadable::Version(9));
    }

    #[test]
    fn row_11_seeds_differ_by_cluster_node_disk_and_segment() {
        let owner = Owner { cluster: 1, node: NodeId(1), disk: DiskId(1) };
        let seeds = [
            owner.seed(1),
            owner.seed(2),
            Owner { cluster: 2, ..owner }.seed(1),
            Owner { node: NodeId(2), ..owner }.seed(1),
            Owner { disk: DiskId(2), ..owner }.seed(1),
        ];
        let distinct: alloc::collections::BTreeSet<u64> = seeds.into_iter().collect();
        assert_eq!(distinct.len(), seeds.len());
    }

    #[test]
    fn alignment_does_not_overflow() {
        assert_eq!([align(0), align(1), align(128), align(u64::MAX)], [0, 128, 128, u64::MAX]);
    }
}
