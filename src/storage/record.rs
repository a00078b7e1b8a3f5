//! Segments and records: the log as bytes.
//!
//! A segment begins with a block that says whose it is, which one, and with which record it begins. A record is a block
//! (its header, with a checksum of its own), then the snapshot switch as CBOR if there is one, then the packed entries;
//! both are covered by one checksum in the header. The next record begins at the next multiple of [`BLOCK`]; the bytes
//! between are left as they are and never read.

use alloc::vec::Vec;

use bytes::{BufMut, Bytes, BytesMut};
use xxhash_rust::xxh3::{Xxh3, xxh3_64_with_seed};

use super::block::{self, BLOCK, Fields, Owner, Sealer, Unreadable};
use crate::raft::{LogIndex, SnapshotMeta, SnapshotSwitch, Term};

const SEGMENT_MAGIC: [u8; 4] = *b"QSEG";
/// How a record begins: what recovery looks for behind the end of a log.
pub(super) const RECORD_MAGIC: [u8; 4] = *b"QREC";

/// Where a record's header has the lengths of its snapshot switch and its entries.
#[cfg(any(test, feature = "sim"))]
pub(super) const LENGTHS: [u64; 2] = [80, 88];

/// The header of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SegmentHeader {
    pub(super) owner: Owner,
    /// Its number, as in the file's name.
    pub(super) number: u64,
    /// The boot that began it.
    pub(super) life: u64,
    /// The number of its first record.
    pub(super) first: u64,
    /// The last record that was known to be synced then.
    pub(super) synced: u64,
    /// Bytes of the file that were allocated ahead and synced; 0 if none were.
    pub(super) allocated: u64,
}

impl SegmentHeader {
    pub(super) fn seal(&self) -> [u8; BLOCK] {
        Sealer::new(SEGMENT_MAGIC)
            .owner(&self.owner)
            .u64(self.number)
            .u64(self.life)
            .u64(self.first)
            .u64(self.synced)
            .u64(self.allocated)
            .seal(0)
    }

    pub(super) fn open(bytes: &[u8]) -> Result<Self, Unreadable> {
        let mut fields = block::open(bytes, SEGMENT_MAGIC, 0)?;
        Ok(Self {
            owner: fields.owner(),
            number: fields.u64(),
            life: fields.u64(),
            first: fields.u64(),
            synced: fields.u64(),
            allocated: fields.u64(),
        })
    }
}

/// The header of a record, without its checksums.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct RecordHeader {
    /// The segment it was written to.
    pub(super) segment: u64,
    /// The boot that wrote it. Along a log it never falls: a record of an older life than the one before it is a
    /// leftover (STORAGE row 9).
    pub(super) life: u64,
    /// Its number: one more than the record before it, across segments.
    pub(super) sequence: u64,
    /// The number of the last record that was known to be synced when this one was made.
    pub(super) synced: u64,
    /// The last vote that must be durable when this record is.
    pub(super) vote: u64,
    /// Index of the first entry; 0 without entries. Where the log has it already, it is cut there.
    pub(super) first: LogIndex,
    /// Term of the last entry.
    pub(super) last_term: Term,
    /// How many entries.
    pub(super) count: u64,
    /// The commit index, as a hint.
    pub(super) commit: LogIndex,
    /// Bytes of the snapshot switch.
    pub(super) switch_len: u64,
    /// Bytes of the packed entries.
    pub(super) packed_len: u64,
    /// The checksum of both.
    pub(super) body: u64,
}

impl RecordHeader {
    pub(super) fn seal(&self, seed: u64) -> [u8; BLOCK] {
        Sealer::new(RECORD_MAGIC)
            .u64(self.segment)
            .u64(self.life)
            .u64(self.sequence)
            .u64(self.synced)
            .u64(self.vote)
            .u64(self.first)
            .u64(self.last_term)
            .u64(self.count)
            .u64(self.commit)
            .u64(self.switch_len)
            .u64(self.packed_len)
            .u64(self.body)
            .seal(seed)
    }

    pub(super) fn open(bytes: &[u8], seed: u64) -> Result<Self, Unreadable> {
        block::open(bytes, RECORD_MAGIC, seed).map(Self::read)
    }

    fn read(mut fields: Fields<'_>) -> Self {
        Self {
            segment: fields.u64(),
            life: fields.u64(),
            sequence: fields.u64(),
            synced: fields.u64(),
            vote: fields.u64(),
            first: fields.u64(),
            last_term: fields.u64(),
            count: fields.u64(),
            commit: fields.u64(),
            switch_len: fields.u64(),
            packed_len: fields.u64(),
            body: fields.u64(),
        }
    }

    /// Bytes of the body, or `None` when no file is so long.
    pub(super) fn body_len(&self) -> Option<u64> {
        self.switch_len.checked_add(self.packed_len)
    }
}

/// Whether bytes that are no sound record were written as one to `segment`: a torn header of it, not the rest of an
/// older life of the file.
pub(super) fn looks_torn(bytes: &[u8], segment: u64) -> bool {
    bytes.starts_with(&RECORD_MAGIC) && bytes.get(8..16).is_some_and(|number| number == segment.to_le_bytes())
}

/// The checksum of a record's body, which is in two pieces.
pub(super) fn checksum(switch: &[u8], packed: &[u8], seed: u64) -> u64 {
    if switch.is_empty() {
        return xxh3_64_with_seed(packed, seed);
    }
    let mut hash = Xxh3::with_seed(seed);
    hash.update(switch);
    hash.update(packed);
    hash.digest()
}

/// A snapshot switch as CBOR: the pair of its fields.
pub(super) fn pack_switch(switch: &SnapshotSwitch) -> Vec<u8> {
    let mut out = Vec::new();
    // Writing to memory does not fail, and none of these types refuses to be written; if one did, the empty form would
    // be refused by recovery by name.
    if ciborium::into_writer(&(&switch.snapshot, switch.keeps_suffix), &mut out).is_err() {
        out.clear();
    }
    out
}

/// What [`pack_switch`] wrote, all of `bytes`.
pub(super) fn unpack_switch(mut bytes: &[u8]) -> Option<SnapshotSwitch> {
    // Room for the longest name of a field; without it ciborium clears 4 KiB for each switch.
    let mut scratch = [0; 256];
    let (snapshot, keeps_suffix): (SnapshotMeta, bool) =
        ciborium::de::from_reader_with_buffer(&mut bytes, &mut scratch).ok()?;
    bytes.is_empty().then_some(SnapshotSwitch { snapshot, keeps_suffix })
}

/// The first bytes of a record, in one piece: the header, behind the segment's header if it is the first there, and the
/// snapshot switch. The packed entries follow, uncopied.
pub(super) fn head(
    segment: Option<&SegmentHeader>,
    header: &RecordHeader,
    seed: u64,
    switch: &[u8],
) -> Bytes {
    // Exactly as much as is written: freezing then needs no second allocation.
    let blocks = if segment.is_some() { 2 } else { 1 };
    let mut out = BytesMut::with_capacity(blocks * BLOCK + switch.len());
    if let Some(segment) = segment {
        out.put_slice(&segment.seal());
    }
    out.put_slice(&header.seal(seed));
    out.put_slice(switch);
    out.freeze()
}
