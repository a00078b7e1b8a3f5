//! The state as a stream of bytes.
//!
//! ```text
//! snapshot = version u32 · seed u128 · records u64 · (length u32 · record)* · digest u128       (little-endian)
//! ```
//!
//! Records are as they stand in memory (see `record`) and in the tree's order, so equal states have equal snapshots, and
//! a state is rebuilt in time proportional to its size.

use alloc::vec::Vec;
use core::fmt;
use core::hint::black_box;

use super::deadlines::Deadlines;
use super::record::{ALL, HEADER, MAX_RECORD, Record};
use super::store::{Keyed, KvStore};
use super::tree::{Builder, Remaining};
use crate::replica::{RestoreError, Restorer, StateMachine, View};
use crate::time::Millis;

/// The version of what follows it.
const VERSION: u32 = 1;

/// Bytes of the version, the seed and the number of records.
const HEAD: usize = 4 + 16 + 8;

/// For each byte of a snapshot, at most about so many of memory: short records have a header in the allocator and a slot in
/// the tree.
const MEMORY: usize = 2;

/// A picture of a [`KvStore`], which is let go bit by bit while it is read: no write copies what lies behind, and what only the
/// picture holds is freed on the way. At its end, all at once, that would hold up whoever allocates meanwhile.
pub struct KvView {
    left: Remaining,
    records: usize,
    seed: u128,
    digest: u128,
    /// How many bytes of the next record were written, once its length was.
    written: Option<usize>,
    begun: bool,
    ended: bool,
}

impl KvView {
    pub(super) fn new(store: &KvStore) -> Self {
        Self {
            left: store.tree.clone().into_remaining(),
            records: store.tree.len(),
            seed: store.keyed.seed,
            digest: store.digest,
            written: None,
            begun: false,
            ended: false,
        }
    }
}

impl View for KvView {
    fn read(&mut self, target: usize, out: &mut Vec<u8>) -> bool {
        if self.ended {
            return false;
        }
        let end = out.len().saturating_add(target.max(1));
        if !self.begun {
            self.begun = true;
            out.extend_from_slice(&VERSION.to_le_bytes());
            out.extend_from_slice(&self.seed.to_le_bytes());
            out.extend_from_slice(&(self.records as u64).to_le_bytes());
        }
        while let Some(record) = self.left.first() {
            if self.written.is_none() && out.len() >= end {
                return true;
            }
            let bytes = record.bytes();
            let written = self.written.unwrap_or_else(|| {
                out.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
                0
            });
            let rest = bytes.get(written..).unwrap_or_default();
            let now = rest.len().min(end.saturating_sub(out.len()));
            out.extend_from_slice(rest.get(..now).unwrap_or_default());
            if now < rest.len() {
                self.written = Some(written + now);
                return true;
            }
            self.written = None;
            self.left.pass();
        }
        out.extend_from_slice(&self.digest.to_le_bytes());
        self.ended = true;
        true
    }
}

impl fmt::Debug for KvView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KvView").field("keys", &self.records).finish_non_exhaustive()
    }
}

/// Builds a [`KvStore`] from a view's bytes.
pub struct KvRestorer {
    awaits: Awaits,
    /// The beginning of the awaited part, when a piece ended inside of it.
    partial: Vec<u8>,
    pub(super) keyed: Keyed,
    records_left: u64,
    builder: Builder,
    /// Of the records so far, with their places.
    deadlines: Vec<(Millis, u64)>,
    digest: u128,
}

/// The next part of a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Awaits {
    Head,
    Length,
    Record(usize),
    Digest,
    Nothing,
    /// It was no snapshot, and stays so.
    Failed(RestoreError),
}

impl KvRestorer {
    pub(super) fn new() -> Self {
        Self {
            awaits: Awaits::Head,
            partial: Vec::new(),
            keyed: Keyed::new(0),
            records_left: 0,
            builder: Builder::new(),
            deadlines: Vec::new(),
            digest: 0,
        }
    }

    /// How many bytes the awaited part has.
    const fn needs(&self) -> usize {
        match self.awaits {
            Awaits::Head => HEAD,
            Awaits::Length => 4,
            Awaits::Record(len) => len,
            Awaits::Digest => 16,
            Awaits::Nothing | Awaits::Failed(_) => 0,
        }
    }

    /// Takes the awaited part, which is whole.
    fn take(&mut self, part: &[u8]) -> Result<(), RestoreError> {
        self.awaits = match self.awaits {
            Awaits::Head => self.take_head(part)?,
            Awaits::Length => {
                let len = u32::from_le_bytes(array(part)?) as usize;
                if !(HEADER..=MAX_RECORD).contains(&len) {
                    return Err(RestoreError::Malformed("a record's length"));
                }
                Awaits::Record(len)
            }
            Awaits::Record(_) => self.take_record(part)?,
            Awaits::Digest => {
                if u128::from_le_bytes(array(part)?) != self.digest {
                    return Err(RestoreError::Malformed("the digest is not that of the records"));
                }
                Awaits::Nothing
            }
            Awaits::Nothing => return Err(RestoreError::Length),
            Awaits::Failed(error) => return Err(error),
        };
        Ok(())
    }

    fn take_head(&mut self, part: &[u8]) -> Result<Awaits, RestoreError> {
        let (version, rest) = part.split_first_chunk().ok_or(RestoreError::Length)?;
        let version = u32::from_le_bytes(*version);
        if version != VERSION {
            return Err(RestoreError::Version(version));
        }
        let (seed, records) = rest.split_first_chunk().ok_or(RestoreError::Length)?;
        // Tests that take bits of the hash away do so before they push.
        #[cfg(test)]
        let mask = self.keyed.mask;
        self.keyed = Keyed::new(u128::from_le_bytes(*seed));
        #[cfg(test)]
        {
            self.keyed.mask = mask;
        }
        self.records_left = u64::from_le_bytes(array(records)?);
        Ok(self.next_record())
    }

    fn take_record(&mut self, part: &[u8]) -> Result<Awaits, RestoreError> {
        let record = Record::from_bytes(part).ok_or(RestoreError::Malformed("a record's lengths"))?;
        let place = self.keyed.place(record.key());
        self.digest = self.digest.wrapping_add(self.keyed.digest(place, &record, ALL));
        let deadline = record.meta().deadline;
        if deadline != 0 {
            self.deadlines.push((deadline, place));
        }
        if !self.builder.push(place, record) {
            return Err(RestoreError::Malformed("the records are out of order"));
        }
        self.records_left = self.records_left.saturating_sub(1);
        Ok(self.next_record())
    }

    const fn next_record(&self) -> Awaits {
        if self.records_left == 0 { Awaits::Digest } else { Awaits::Length }
    }
}

impl Restorer for KvRestorer {
    type State = KvStore;

    fn push(&mut self, mut chunk: &[u8]) -> Result<(), RestoreError> {
        // Had at once and given back, so that the allocator has it for the records: glibc's takes memory from the system by
        // single pages in every thread but the first. Without it the records find theirs as well.
        let mut room = Vec::<u8>::new();
        let _ = room.try_reserve_exact(MEMORY.saturating_mul(chunk.len()));
        drop(black_box(room));
        while !chunk.is_empty() {
            let missing = self.needs().saturating_sub(self.partial.len());
            let Some((part, rest)) = chunk.split_at_checked(missing) else {
                self.partial.extend_from_slice(chunk);
                return Ok(());
            };
            chunk = rest;
            let taken = if self.partial.is_empty() {
                self.take(part)
            } else {
                let mut whole = core::mem::take(&mut self.partial);
                whole.extend_from_slice(part);
                let taken = self.take(&whole);
                whole.clear();
                self.partial = whole;
                taken
            };
            if let Err(error) = taken {
                self.awaits = Awaits::Failed(error);
                return Err(error);
            }
        }
        Ok(())
    }

    fn finish(self) -> Result<KvStore, RestoreError> {
        match self.awaits {
            Awaits::Nothing => {}
            Awaits::Failed(error) => return Err(error),
            _ => return Err(RestoreError::Length),
        }
        let mut store = KvStore::empty(self.keyed.seed);
        store.keyed = self.keyed;
        store.tree = self.builder.finish();
        if !planted!("snapshot-without-deadlines") {
            store.deadlines = Deadlines::of(self.deadlines);
        }
        store.digest = self.digest;
        Ok(store)
    }
}

impl fmt::Debug for KvRestorer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KvRestorer")
            .field("keys", &self.builder.len())
            .field("awaits", &self.awaits)
            .finish_non_exhaustive()
    }
}

fn array<const N: usize>(bytes: &[u8]) -> Result<[u8; N], RestoreError> {
    bytes.try_into().map_err(|_| RestoreError::Length)
}
