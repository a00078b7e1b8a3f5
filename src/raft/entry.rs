//! Log entries, positions in the log, and the packed form in which entries travel and lie on disk.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::ops::Deref;

use bytes::{BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};

use crate::time::Millis;

/// A term of office (§5.1): 0 before the first election.
pub type Term = u64;

/// An index into the log; the first entry has index 1.
pub type LogIndex = u64;

/// The name of a node, unique in its cluster for ever. Never 0.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NodeId(pub u64);

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "n{}", self.0)
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// The position of an entry: its term and its index.
///
/// The order is that of §5.4.1: a log is at least as up to date as another exactly when the position of its last
/// entry is not less.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct LogId {
    /// The term of the entry's leader.
    pub term: Term,
    /// The entry's index.
    pub index: LogIndex,
}

impl LogId {
    /// The position before the first entry.
    pub const ZERO: Self = Self { term: 0, index: 0 };

    /// The position of the entry `index` of `term`.
    pub const fn new(term: Term, index: LogIndex) -> Self {
        Self { term, index }
    }
}

impl fmt::Debug for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.index, self.term)
    }
}

/// The two clocks of the log, set by the leader that appends an entry and the same on every node that applies it.
///
/// Neither ever goes backwards along the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Stamp {
    /// Milliseconds of Unix time by the leader's wall clock, held near the majority's; for expiry of keys.
    pub unix_ms: Millis,
    /// Milliseconds that the cluster has spent with a leader since its formation; for expiry of sessions.
    pub cluster_ms: Millis,
}

/// What an entry's data is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EntryKind {
    /// Nothing: a leader's first entry, by which earlier terms' entries commit (§5.4.2, §8).
    NoOp,
    /// Opaque bytes of whoever embeds the core.
    Command,
    /// A [`Configuration`](super::Configuration), as CBOR.
    Configuration,
}

impl EntryKind {
    const fn to_byte(self) -> u8 {
        match self {
            Self::NoOp => 0,
            Self::Command => 1,
            Self::Configuration => 2,
        }
    }

    const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            0 => Some(Self::NoOp),
            1 => Some(Self::Command),
            2 => Some(Self::Configuration),
            _ => None,
        }
    }
}

/// One entry of the log. A clone shares its data.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Entry {
    /// Its position.
    pub id: LogId,
    /// What `data` is.
    pub kind: EntryKind,
    /// When its leader appended it.
    pub stamp: Stamp,
    /// The payload.
    pub data: Bytes,
}

impl Entry {
    /// Bytes that the entry occupies packed: what every limit in bytes counts.
    pub fn packed_len(&self) -> usize {
        PACKED_HEADER + self.data.len()
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {:?}({} bytes)", self.id, self.kind, self.data.len())
    }
}

/// A run of consecutive entries. A clone is a reference count.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Entries(Option<Arc<[Entry]>>);

impl Entries {
    /// The run of no entries.
    pub fn empty() -> Self {
        Self(None)
    }

    /// The position of the last entry, if there is one.
    pub fn last_id(&self) -> Option<LogId> {
        self.last().map(|e| e.id)
    }

    /// Bytes that [`pack`](Self::pack) yields.
    pub fn packed_len(&self) -> usize {
        self.iter().map(Entry::packed_len).sum()
    }

    /// Appends the packed form to `out`. The first entry's index is not in it: the envelope (frame or record) has it.
    pub fn pack(&self, out: &mut BytesMut) {
        out.reserve(self.packed_len());
        for e in self.iter() {
            // Entries are bounded far below 4 GiB when they are proposed or unpacked.
            out.put_u32_le(e.data.len() as u32);
            out.put_u32_le(u32::from(e.kind.to_byte()));
            out.put_u64_le(e.id.term);
            out.put_u64_le(e.stamp.unix_ms);
            out.put_u64_le(e.stamp.cluster_ms);
            out.put_slice(&e.data);
        }
    }

    /// Reads what [`pack`](Self::pack) wrote, all of `packed`; `first` is the index of its first entry. The entries'
    /// data are slices of `packed`.
    pub fn unpack(first: LogIndex, packed: &Bytes) -> Result<Self, UnpackError> {
        let mut entries = Vec::new();
        let mut at = 0;
        let mut index = first;
        while at < packed.len() {
            let header = packed.get(at..at + PACKED_HEADER).ok_or(UnpackError::Truncated)?;
            let (len, rest) = take_u32(header);
            let (kind, rest) = take_u32(rest);
            let (term, rest) = take_u64(rest);
            let (unix_ms, rest) = take_u64(rest);
            let (cluster_ms, _) = take_u64(rest);
            let kind =
                u8::try_from(kind).ok().and_then(EntryKind::from_byte).ok_or(UnpackError::Kind(kind))?;
            let start = at + PACKED_HEADER;
            let end = start.checked_add(len as usize).filter(|&end| end <= packed.len());
            let end = end.ok_or(UnpackError::Truncated)?;
            entries.push(Entry {
                id: LogId::new(term, index),
                kind,
                stamp: Stamp { unix_ms, cluster_ms },
                data: packed.slice(start..end),
            });
            at = end;
            index = index.checked_add(1).ok_or(UnpackError::Index)?;
        }
        Ok(entries.into())
    }
}

/// Bytes of an entry's packed header: length, kind, term and the two stamps, little-endian.
pub const PACKED_HEADER: usize = 32;

fn take_u32(b: &[u8]) -> (u32, &[u8]) {
    let (head, rest) = b.split_first_chunk().unwrap_or((&[0; 4], &[]));
    (u32::from_le_bytes(*head), rest)
}

fn take_u64(b: &[u8]) -> (u64, &[u8]) {
    let (head, rest) = b.split_first_chunk().unwrap_or((&[0; 8], &[]));
    (u64::from_le_bytes(*head), rest)
}

/// Why packed entries cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum UnpackError {
    /// The bytes end within an entry.
    Truncated,
    /// An entry is of a kind that this version does not know.
    Kind(u32),
    /// The indexes pass the end of the number range.
    Index,
}

impl fmt::Display for UnpackError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated => f.write_str("the bytes end within an entry"),
            Self::Kind(kind) => write!(f, "entry kind {kind} is unknown to this version"),
            Self::Index => f.write_str("the entries' indexes pass the end of the number range"),
        }
    }
}

impl core::error::Error for UnpackError {}

impl Deref for Entries {
    type Target = [Entry];
    #[inline]
    fn deref(&self) -> &[Entry] {
        self.0.as_deref().unwrap_or_default()
    }
}

impl From<Entry> for Entries {
    fn from(entry: Entry) -> Self {
        Self(Some(Arc::new([entry])))
    }
}

impl From<Vec<Entry>> for Entries {
    fn from(entries: Vec<Entry>) -> Self {
        Self((!entries.is_empty()).then(|| entries.into()))
    }
}

impl FromIterator<Entry> for Entries {
    fn from_iter<I: IntoIterator<Item = Entry>>(iter: I) -> Self {
        let entries: Arc<[Entry]> = iter.into_iter().collect();
        Self((!entries.is_empty()).then_some(entries))
    }
}

impl fmt::Debug for Entries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(term: Term, index: LogIndex, data: &'static [u8]) -> Entry {
        let stamp = Stamp { unix_ms: 5, cluster_ms: 6 };
        Entry { id: LogId::new(term, index), kind: EntryKind::Command, stamp, data: Bytes::from_static(data) }
    }

    #[test]
    fn packed_entries_come_back() {
        let run: Entries = [entry(1, 7, b"a"), entry(2, 8, b""), entry(2, 9, b"long")].into_iter().collect();
        let mut out = BytesMut::new();
        run.pack(&mut out);
        assert_eq!(out.len(), run.packed_len());
        assert_eq!(Entries::unpack(7, &out.freeze()), Ok(run));
    }

    #[test]
    fn any_cut_is_refused_or_a_prefix() {
        let run: Entries = [entry(1, 1, b"abc"), entry(1, 2, b"defg")].into_iter().collect();
        let mut out = BytesMut::new();
        run.pack(&mut out);
        let whole = out.freeze();
        for cut in 0..whole.len() {
            match Entries::unpack(1, &whole.slice(..cut)) {
                Ok(prefix) => assert!(run.starts_with(&prefix) && prefix.len() < run.len()),
                Err(e) => assert_eq!(e, UnpackError::Truncated),
            }
        }
    }

    #[test]
    fn an_unknown_kind_is_refused_by_name() {
        let mut image = BytesMut::zeroed(PACKED_HEADER);
        image[4] = 9;
        assert_eq!(Entries::unpack(1, &image.freeze()), Err(UnpackError::Kind(9)));
    }

    #[test]
    fn positions_order_as_5_4_1_says() {
        assert!(LogId::new(2, 1) > LogId::new(1, 9));
        assert!(LogId::new(2, 3) > LogId::new(2, 2));
    }
}
