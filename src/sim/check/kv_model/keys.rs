//! The keys as they are at one moment of the log.

use std::collections::BTreeMap;
use std::fmt::{self, Debug};

use bytes::Bytes;

use crate::raft::LogIndex;
use crate::replica::Context;

/// What a key holds.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Entry {
    pub(super) value: Bytes,
    /// In milliseconds of the log's clock. From then on the key is dead, whether anybody has removed it or not.
    pub(super) deadline: Option<i64>,
    /// The index of the entry that changed it last.
    pub(super) version: LogIndex,
}

impl Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value.fmt(f)?;
        self.deadline.map_or(Ok(()), |deadline| write!(f, " until {deadline}"))
    }
}

/// All entries by their keys, dead ones until they are written over.
pub(super) type Entries = BTreeMap<Bytes, Entry>;

/// The entries, seen at one moment: the dead ones are not there.
pub(super) struct Keys<'a> {
    pub(super) entries: &'a mut Entries,
    pub(super) at: Context,
}

impl Keys<'_> {
    /// The log's clock.
    pub(super) const fn now(&self) -> i64 {
        self.at.unix_ms as i64
    }

    /// All live keys, in their order.
    pub(super) fn live(&self) -> impl Iterator<Item = (&Bytes, &Entry)> {
        let now = self.now();
        self.entries.iter().filter(move |(_, entry)| is_live(entry, now))
    }

    pub(super) fn entry(&self, key: &Bytes) -> Option<&Entry> {
        self.entries.get(key).filter(|entry| is_live(entry, self.now()))
    }

    pub(super) fn get(&self, key: &Bytes) -> Option<&Bytes> {
        self.entry(key).map(|entry| &entry.value)
    }

    pub(super) fn has(&self, key: &Bytes) -> bool {
        self.entry(key).is_some()
    }

    pub(super) fn deadline(&self, key: &Bytes) -> Option<i64> {
        self.entry(key).and_then(|entry| entry.deadline)
    }

    /// The version of a key; 0 if there is none.
    pub(super) fn version(&self, key: &Bytes) -> LogIndex {
        self.entry(key).map_or(0, |entry| entry.version)
    }

    /// Gives a key a value and a deadline, or none.
    pub(super) fn put(&mut self, key: &Bytes, value: Bytes, deadline: Option<i64>) {
        self.entries.insert(key.clone(), Entry { value, deadline, version: self.at.index });
    }

    /// Gives a key another value, which lives as long as the old one would have.
    pub(super) fn rewrite(&mut self, key: &Bytes, value: Bytes) {
        self.put(key, value, self.deadline(key));
    }

    /// Takes a live key away.
    pub(super) fn take(&mut self, key: &Bytes) -> Option<Entry> {
        if self.has(key) { self.entries.remove(key) } else { None }
    }
}

const fn is_live(entry: &Entry, now: i64) -> bool {
    match entry.deadline {
        Some(deadline) => deadline > now,
        None => true,
    }
}
