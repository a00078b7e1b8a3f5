//! One key with its value, version and deadline, in one allocation.
//!
//! ```text
//! record = version u64 · deadline u64 · key length u32 · key · value        (little-endian)
//! ```
//!
//! The same bytes stand in a snapshot. Records are shared between the state and its views, and changed in place only
//! while nobody shares them.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Range;

use xxhash_rust::xxh3::xxh3_128_with_seed;

use super::{MAX_KEY, MAX_VALUE};

/// Bytes before the key.
pub(super) const HEADER: usize = 20;

/// Longest record.
pub(super) const MAX_RECORD: usize = HEADER + MAX_KEY + MAX_VALUE;

/// From this many bytes on a record that APPEND touches has room to grow, so that a value that is built piece by piece
/// is not copied for every piece.
const GROWING_FROM: usize = 256;

/// From this many bytes on a new record is written straight into its own vector, for one copy less.
const LARGE: usize = 4096;

/// The digest covers a record in blocks of so many bytes, so that a change at the end of a long value costs two blocks.
const DIGEST_BLOCK: usize = 1024;

/// All bytes of a record, however long.
pub(super) const ALL: Range<usize> = 0..usize::MAX;

/// A key and what belongs to it. A clone shares the bytes.
#[derive(Clone)]
pub(super) enum Record {
    /// Exactly its bytes; the second pointer-sized word is their length.
    Exact(Arc<[u8]>),
    /// Long, or appended to: with room to grow.
    Growing(Arc<Vec<u8>>),
}

/// What a record holds besides its key and value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Meta {
    /// The index of the log entry that wrote it last.
    pub(super) version: u64,
    /// When it dies, in milliseconds of Unix time; 0 for never.
    pub(super) deadline: u64,
}

impl Record {
    /// A record of a key and a value within their limits. `scratch` is overwritten.
    pub(super) fn new(meta: Meta, key: &[u8], value: &[u8], scratch: &mut Vec<u8>) -> Self {
        let len = HEADER + key.len() + value.len();
        if len >= LARGE {
            let mut bytes = Vec::with_capacity(len);
            write(&mut bytes, meta, key, value);
            return Self::Growing(Arc::new(bytes));
        }
        scratch.clear();
        write(scratch, meta, key, value);
        Self::Exact(Arc::from(scratch.as_slice()))
    }

    /// A record of bytes from outside; `None` when they are not a record.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let value = bytes.len().checked_sub(HEADER)?.checked_sub(key_len(bytes)).filter(|&n| n <= MAX_VALUE);
        value.filter(|_| key_len(bytes) <= MAX_KEY)?;
        if bytes.len() >= LARGE {
            return Some(Self::Growing(Arc::new(bytes.to_vec())));
        }
        Some(Self::Exact(Arc::from(bytes)))
    }

    /// All of it, as a snapshot has it.
    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Self::Exact(bytes) => bytes,
            Self::Growing(bytes) => bytes,
        }
    }

    pub(super) fn key(&self) -> &[u8] {
        let bytes = self.bytes();
        bytes.get(HEADER..HEADER + key_len(bytes)).unwrap_or_default()
    }

    pub(super) fn value(&self) -> &[u8] {
        let bytes = self.bytes();
        bytes.get(HEADER + key_len(bytes)..).unwrap_or_default()
    }

    pub(super) fn meta(&self) -> Meta {
        let word = |at: usize| self.bytes().get(at..).and_then(|b| b.first_chunk()).copied();
        Meta {
            version: u64::from_le_bytes(word(0).unwrap_or_default()),
            deadline: u64::from_le_bytes(word(8).unwrap_or_default()),
        }
    }

    /// Reads as much of it as a write of a short record does, to have it near.
    pub(super) fn touch(&self) -> u8 {
        const LINE: usize = 64;
        self.bytes().iter().step_by(LINE).take(4).fold(0, |sum, byte| sum ^ byte)
    }

    /// Replaces the value: in place when nobody shares the record and the length stays.
    pub(super) fn set_value(&mut self, meta: Meta, value: &[u8], scratch: &mut Vec<u8>) {
        if self.value().len() == value.len()
            && let Some(bytes) = self.unshared()
        {
            let at = HEADER + key_len(bytes);
            if let Some(place) = bytes.get_mut(at..).filter(|place| place.len() == value.len()) {
                place.copy_from_slice(value);
            }
            write_meta(bytes, meta);
            return;
        }
        *self = Self::new(meta, self.key(), value, scratch);
    }

    /// Replaces version and deadline: in place when nobody shares the record.
    pub(super) fn set_meta(&mut self, meta: Meta) {
        if self.unshared().is_none() {
            *self = match self {
                Self::Exact(bytes) => Self::Exact(Arc::from(&bytes[..])),
                Self::Growing(bytes) => Self::Growing(Arc::new(bytes.to_vec())),
            };
        }
        if let Some(bytes) = self.unshared() {
            write_meta(bytes, meta);
        }
    }

    /// Adds `tail` to the value, whose length with it must be within its limit.
    pub(super) fn append(&mut self, meta: Meta, tail: &[u8], scratch: &mut Vec<u8>) {
        let len = self.bytes().len() + tail.len();
        match self {
            Self::Growing(bytes) => {
                let bytes = Arc::make_mut(bytes);
                if bytes.capacity() < len {
                    // A quarter more bounds the waste, and doubling is not needed for a constant cost per byte.
                    bytes.reserve_exact(tail.len() + len / 4);
                }
                bytes.extend_from_slice(tail);
                write_meta(bytes, meta);
            }
            Self::Exact(bytes) if len >= GROWING_FROM => {
                let mut longer = Vec::with_capacity(len + len / 4);
                longer.extend_from_slice(bytes);
                longer.extend_from_slice(tail);
                write_meta(&mut longer, meta);
                *self = Self::Growing(Arc::new(longer));
            }
            Self::Exact(bytes) => {
                scratch.clear();
                scratch.extend_from_slice(bytes);
                scratch.extend_from_slice(tail);
                write_meta(scratch, meta);
                *self = Self::Exact(Arc::from(scratch.as_slice()));
            }
        }
    }

    /// Puts `part` into the value from byte `at` on; what is missing before it becomes zeros. The length with it must be
    /// within its limit.
    pub(super) fn patch(&mut self, meta: Meta, at: usize, part: &[u8], scratch: &mut Vec<u8>) {
        let start = self.value_start() + at;
        let end = start + part.len();
        let missing = end.saturating_sub(self.bytes().len());
        if missing > 0 {
            self.append(meta, &alloc::vec![0; missing], scratch);
        }
        let bytes = match self {
            Self::Exact(bytes) => Arc::make_mut(bytes),
            Self::Growing(bytes) => Arc::make_mut(bytes).as_mut_slice(),
        };
        if let Some(place) = bytes.get_mut(start..end) {
            place.copy_from_slice(part);
        }
        write_meta(bytes, meta);
    }

    /// Where in [`bytes`](Self::bytes) the value begins.
    pub(super) fn value_start(&self) -> usize {
        HEADER + key_len(self.bytes())
    }

    /// The part of the record's digest that a change of these bytes of the record may change: its first block, which has
    /// the version, and all blocks that have one of them. For [`ALL`] it is the whole digest.
    ///
    /// The digest of a record is the wrapping sum of its blocks' hashes, each keyed by `seed`, the key's own hash and
    /// the block's number.
    pub(super) fn digest(&self, seed: u64, key_hash: u64, changed: Range<usize>) -> u128 {
        let bytes = self.bytes();
        let (head, _) = bytes.split_at(bytes.len().min(DIGEST_BLOCK));
        let first = (changed.start / DIGEST_BLOCK).max(1);
        let end = changed.end.div_ceil(DIGEST_BLOCK).saturating_mul(DIGEST_BLOCK).min(bytes.len());
        let part = |number: usize, block: &[u8]| {
            let key = seed ^ key_hash.wrapping_add((number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
            xxh3_128_with_seed(block, key)
        };
        let rest = bytes.get(first * DIGEST_BLOCK..end).unwrap_or_default().chunks(DIGEST_BLOCK);
        rest.zip(first..).fold(part(0, head), |sum, (block, number)| sum.wrapping_add(part(number, block)))
    }

    /// The bytes, if nobody shares them.
    fn unshared(&mut self) -> Option<&mut [u8]> {
        match self {
            Self::Exact(bytes) => Arc::get_mut(bytes),
            Self::Growing(bytes) => Arc::get_mut(bytes).map(Vec::as_mut_slice),
        }
    }
}

fn key_len(record: &[u8]) -> usize {
    let word = record.get(16..).and_then(|b| b.first_chunk()).copied();
    word.map_or(0, |word| u32::from_le_bytes(word) as usize)
}

fn write(out: &mut Vec<u8>, meta: Meta, key: &[u8], value: &[u8]) {
    out.extend_from_slice(&meta.version.to_le_bytes());
    out.extend_from_slice(&meta.deadline.to_le_bytes());
    out.extend_from_slice(&(key.len() as u32).to_le_bytes());
    out.extend_from_slice(key);
    out.extend_from_slice(value);
}

fn write_meta(record: &mut [u8], meta: Meta) {
    if let Some((version, rest)) = record.split_first_chunk_mut()
        && let Some((deadline, _)) = rest.split_first_chunk_mut()
    {
        *version = meta.version.to_le_bytes();
        *deadline = meta.deadline.to_le_bytes();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meta(version: u64) -> Meta {
        Meta { version, deadline: version * 10 }
    }

    #[test]
    fn a_record_is_two_words() {
        assert_eq!(size_of::<Record>(), 16);
    }

    #[test]
    fn parts_come_back_whatever_the_lengths() {
        for (key, value) in [(0, 0), (0, 5), (5, 0), (16, 100), (300, 1), (10, 5000), (MAX_KEY, MAX_VALUE)] {
            let (key, value) = (alloc::vec![b'k'; key], alloc::vec![b'v'; value]);
            let record = Record::new(meta(7), &key, &value, &mut Vec::new());
            assert_eq!((record.key(), record.value(), record.meta()), (&key[..], &value[..], meta(7)));
            let again = Record::from_bytes(record.bytes()).unwrap();
            assert_eq!(again.bytes(), record.bytes());
        }
    }

    #[test]
    fn bytes_that_are_no_record_are_refused() {
        let good = Record::new(meta(1), b"key", b"", &mut Vec::new()).bytes().to_vec();
        assert!(Record::from_bytes(&good).is_some());
        assert!(Record::from_bytes(&good[..good.len() - 1]).is_none());
        assert!(Record::from_bytes(&good[..HEADER - 1]).is_none());
        assert!(Record::from_bytes(&[]).is_none());
        let long_key = Record::new(meta(1), &alloc::vec![0; MAX_KEY + 1], b"", &mut Vec::new());
        assert!(Record::from_bytes(long_key.bytes()).is_none());
        let long_value = Record::new(meta(1), b"", &alloc::vec![0; MAX_VALUE + 1], &mut Vec::new());
        assert!(Record::from_bytes(long_value.bytes()).is_none());
    }

    #[test]
    fn a_shared_record_is_never_changed_in_place() {
        for len in [10, 5000] {
            let mut record = Record::new(meta(1), b"k", &alloc::vec![b'a'; len], &mut Vec::new());
            let shared = record.clone();
            record.set_value(meta(2), &alloc::vec![b'b'; len], &mut Vec::new());
            record.append(meta(3), b"c", &mut Vec::new());
            assert_eq!((shared.value(), shared.meta()), (&alloc::vec![b'a'; len][..], meta(1)));
            assert_eq!((record.value().len(), record.meta()), (len + 1, meta(3)));
        }
    }

    #[test]
    fn a_value_of_the_same_length_stays_where_it_is() {
        for len in [1, 10, 5000] {
            let mut record = Record::new(meta(1), b"k", &alloc::vec![b'a'; len], &mut Vec::new());
            let place = record.bytes().as_ptr();
            record.set_value(meta(2), &alloc::vec![b'b'; len], &mut Vec::new());
            assert_eq!(record.bytes().as_ptr(), place);
            assert_eq!((record.key(), record.meta()), (&b"k"[..], meta(2)));
        }
    }

    #[test]
    fn appending_piece_by_piece_copies_rarely() {
        let mut record = Record::new(meta(1), b"k", b"", &mut Vec::new());
        let mut moved = 0;
        for i in 0..100_000_u32 {
            let place = record.bytes().as_ptr();
            record.append(meta(1), &i.to_le_bytes(), &mut Vec::new());
            moved += usize::from(i > 100 && place != record.bytes().as_ptr());
        }
        assert_eq!(record.value().len(), 400_000);
        assert!(moved < 50, "{moved}");
    }

    #[test]
    fn a_digest_from_somewhere_on_is_what_an_append_changes() {
        for len in [0, 1, 4000, 4075, 4076, 4096, 10_000, 12_267] {
            let mut record = Record::new(meta(1), b"k", &alloc::vec![b'a'; len], &mut Vec::new());
            let (whole, from) = (record.digest(5, 6, ALL), record.bytes().len());
            let before = record.digest(5, 6, from..usize::MAX);
            record.append(meta(2), b"tail", &mut Vec::new());
            let after = whole.wrapping_sub(before).wrapping_add(record.digest(5, 6, from..usize::MAX));
            assert_eq!(after, record.digest(5, 6, ALL), "{len}");
            assert_ne!(after, whole);
        }
    }
}
