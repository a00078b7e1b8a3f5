//! The state: the tree of records, and a digest of it that is kept as it changes.

use alloc::vec::Vec;
use core::fmt;

use siphasher::sip::SipHasher13;

use super::packed::{Malformed, Read, Write, opcode};
use super::record::{Meta, Record};
use super::reply;
use super::snapshot::{KvRestorer, KvView};
use super::tree::Tree;
use crate::replica::{Context, StateMachine};

/// Redis's strings, replicated: the state machine of the `quorate` command.
pub struct KvStore {
    pub(super) keyed: Keyed,
    pub(super) tree: Tree,
    pub(super) digest: u128,
    pub(super) scratch: Vec<u8>,
}

/// The hashes of a cluster: keyed by its seed, so that clients can neither choose keys that collide nor states whose
/// digests do.
#[derive(Clone)]
pub(super) struct Keyed {
    pub(super) seed: u128,
    order: SipHasher13,
    digest_seed: u64,
    /// Tests take bits away to make collisions.
    #[cfg(test)]
    pub(super) mask: u64,
}

impl Keyed {
    pub(super) fn new(seed: u128) -> Self {
        let (high, low) = ((seed >> 64) as u64, seed as u64);
        let order = SipHasher13::new_with_keys(high, low);
        let digest_seed = order.hash(b"digest");
        Self {
            seed,
            order,
            digest_seed,
            #[cfg(test)]
            mask: u64::MAX,
        }
    }

    /// The hash that places a key in the order of all keys.
    pub(super) fn place(&self, key: &[u8]) -> u64 {
        let hash = self.order.hash(key);
        #[cfg(test)]
        let hash = hash & self.mask;
        hash
    }

    /// What a record that stands at `place` adds to the digest, from byte `from` of it on.
    pub(super) fn digest(&self, place: u64, record: &Record, from: usize) -> u128 {
        record.digest(self.digest_seed, place, from)
    }
}

impl KvStore {
    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.tree.len()
    }

    /// Whether there are no keys.
    pub fn is_empty(&self) -> bool {
        self.tree.len() == 0
    }

    pub(super) fn record(&self, key: &[u8]) -> Option<&Record> {
        self.tree.get(self.keyed.place(key), key)
    }

    /// Gives `key` a value, in place where that can be.
    pub(super) fn put(&mut self, meta: Meta, key: &[u8], value: &[u8]) {
        let place = self.keyed.place(key);
        let Some(record) = self.tree.get_mut(place, key) else {
            let record = Record::new(meta, key, value, &mut self.scratch);
            self.digest = self.digest.wrapping_add(self.keyed.digest(place, &record, 0));
            self.tree.insert(place, record);
            return;
        };
        let before = self.keyed.digest(place, record, 0);
        record.set_value(meta, value, &mut self.scratch);
        let after = self.keyed.digest(place, record, 0);
        self.digest = self.digest.wrapping_sub(before).wrapping_add(after);
    }

    /// Adds `tail` to the value of `key`, which must be there and have room for it.
    pub(super) fn extend(&mut self, version: u64, key: &[u8], tail: &[u8]) {
        let place = self.keyed.place(key);
        let Some(record) = self.tree.get_mut(place, key) else { return };
        let end = record.bytes().len();
        let before = self.keyed.digest(place, record, end);
        let meta = Meta { version, ..record.meta() };
        record.append(meta, tail, &mut self.scratch);
        let end = if planted!("append-digests-from-its-end") { record.bytes().len() } else { end };
        let after = self.keyed.digest(place, record, end);
        self.digest = self.digest.wrapping_sub(before).wrapping_add(after);
    }

    /// Takes `key` out.
    pub(super) fn take(&mut self, key: &[u8]) -> Option<Record> {
        let place = self.keyed.place(key);
        let record = self.tree.remove(place, key)?;
        self.digest = self.digest.wrapping_sub(self.keyed.digest(place, &record, 0));
        Some(record)
    }
}

impl StateMachine for KvStore {
    type View = KvView;
    type Restorer = KvRestorer;

    fn empty(seed: u128) -> Self {
        Self { keyed: Keyed::new(seed), tree: Tree::new(), digest: 0, scratch: Vec::new() }
    }

    /// Runs a packed command, or answers a packed read as of its entry.
    fn apply(&mut self, context: Context, command: &[u8], out: &mut Vec<u8>) {
        if command.first().is_some_and(|op| op & opcode::READ != 0) {
            return self.query(context, command, out);
        }
        match Write::decode(command) {
            Ok(write) => self.write(context, write, out),
            Err(malformed) => refuse(malformed, out),
        }
    }

    fn query(&self, _: Context, query: &[u8], out: &mut Vec<u8>) {
        match Read::decode(query) {
            Ok(read) => self.read(read, out),
            Err(malformed) => refuse(malformed, out),
        }
    }

    fn view(&self) -> KvView {
        KvView::new(self)
    }

    fn restorer() -> KvRestorer {
        KvRestorer::new()
    }

    fn digest(&self) -> u128 {
        self.digest
    }

    fn key_count(&self) -> u64 {
        self.len() as u64
    }
}

impl fmt::Debug for KvStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KvStore")
            .field("keys", &self.tree.len())
            .field("digest", &format_args!("{:032x}", self.digest))
            .finish_non_exhaustive()
    }
}

fn refuse(malformed: Malformed, out: &mut Vec<u8>) {
    let text = match malformed {
        Malformed::Opcode(op) => alloc::format!("ERR no command of this version has the opcode {op:#04x}"),
        Malformed::Arguments(op) => alloc::format!("ERR malformed arguments of the opcode {op:#04x}"),
        Malformed::Empty => alloc::string::String::from("ERR empty command"),
    };
    reply::error(out, text.as_bytes());
}
