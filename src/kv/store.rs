//! The state: the tree of records, and a digest of it that is kept as it changes.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::any::Any;
use core::fmt;
use core::mem;
use core::ops::Range;

use siphasher::sip::SipHasher13;

use super::deadlines::Deadlines;
use super::packed::{self, Malformed, Read, Write, opcode};
use super::record::{ALL, Meta, Record};
use super::reply;
use super::snapshot::{KvRestorer, KvView};
use super::tree::Tree;
use crate::replica::{Context, StateMachine, StateSize};
use crate::time::Millis;

/// Redis's strings, replicated: the state machine of the `quorate` command.
pub struct KvStore {
    pub(super) keyed: Keyed,
    pub(super) tree: Tree,
    pub(super) deadlines: Deadlines,
    /// The log's clock: what dies by then is dead.
    pub(super) now: Millis,
    pub(super) digest: u128,
    pub(super) scratch: Vec<u8>,
    /// Trees that FLUSHALL replaced, until somebody takes them: to drop one takes long.
    pub(super) flushed: Vec<(Tree, Deadlines)>,
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

    /// What a record that stands at `place` adds to the digest, as far as a change of these bytes of it may change that.
    pub(super) fn digest(&self, place: u64, record: &Record, changed: Range<usize>) -> u128 {
        record.digest(self.digest_seed, place, changed)
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

    /// The record of `key`, if it lives.
    pub(super) fn record(&self, key: &[u8]) -> Option<&Record> {
        self.tree.get(self.keyed.place(key), key).filter(|record| self.lives(record))
    }

    /// Whether a record's deadline has not come. By the log's clock alone: all nodes must agree, and a read with them.
    pub(super) fn lives(&self, record: &Record) -> bool {
        let Meta { deadline, .. } = record.meta();
        deadline == 0 || deadline > self.now || planted!("dead-keys-are-read")
    }

    /// Gives `key` a value, in place where that can be.
    pub(super) fn put(&mut self, meta: Meta, key: &[u8], value: &[u8]) {
        let place = self.keyed.place(key);
        let Self { keyed, tree, digest, scratch, .. } = self;
        let mut deadline = 0;
        tree.upsert(place, key, |found| {
            let Some(record) = found else {
                let record = Record::new(meta, key, value, scratch);
                *digest = digest.wrapping_add(keyed.digest(place, &record, ALL));
                return Some(record);
            };
            deadline = record.meta().deadline;
            let before = keyed.digest(place, record, ALL);
            record.set_value(meta, value, scratch);
            *digest = digest.wrapping_sub(before).wrapping_add(keyed.digest(place, record, ALL));
            None
        });
        self.moved(place, deadline, meta.deadline);
    }

    /// Gives `key`, which must be there, another version and deadline.
    pub(super) fn touch(&mut self, meta: Meta, key: &[u8]) {
        let place = self.keyed.place(key);
        let Some(record) = self.tree.get_mut(place, key) else { return };
        let deadline = record.meta().deadline;
        let before = self.keyed.digest(place, record, 0..0);
        record.set_meta(meta);
        let after = self.keyed.digest(place, record, 0..0);
        self.digest = self.digest.wrapping_sub(before).wrapping_add(after);
        self.moved(place, deadline, meta.deadline);
    }

    /// Adds `tail` to the value of `key`, which must be there and have room for it.
    pub(super) fn extend(&mut self, version: u64, key: &[u8], tail: &[u8]) {
        let place = self.keyed.place(key);
        let Some(record) = self.tree.get_mut(place, key) else { return };
        let end = record.bytes().len();
        let before = self.keyed.digest(place, record, end..usize::MAX);
        let meta = Meta { version, ..record.meta() };
        record.append(meta, tail, &mut self.scratch);
        let end = if planted!("append-digests-from-its-end") { record.bytes().len() } else { end };
        let after = self.keyed.digest(place, record, end..usize::MAX);
        self.digest = self.digest.wrapping_sub(before).wrapping_add(after);
    }

    /// Puts `part` into the value of `key`, which must be there, from byte `at` on, for a cost that does not grow with the
    /// value. The length with it must be within its limit.
    pub(super) fn patch(&mut self, version: u64, key: &[u8], at: usize, part: &[u8]) {
        let place = self.keyed.place(key);
        let Some(record) = self.tree.get_mut(place, key) else { return };
        let start = record.value_start() + at;
        // Zeros that come between the old end and the part are a change, too.
        let changed = start.min(record.bytes().len())..start + part.len();
        let before = self.keyed.digest(place, record, changed.clone());
        let meta = Meta { version, ..record.meta() };
        record.patch(meta, at, part, &mut self.scratch);
        let after = self.keyed.digest(place, record, changed);
        self.digest = self.digest.wrapping_sub(before).wrapping_add(after);
    }

    /// Takes all keys out, at once.
    pub(super) fn clear(&mut self) {
        let tree = mem::replace(&mut self.tree, Tree::new());
        let deadlines = mem::take(&mut self.deadlines);
        self.digest = 0;
        if tree.len() > 0 {
            self.flushed.push((tree, deadlines));
        }
    }

    /// Takes `key` out; its record, if it lived.
    pub(super) fn take(&mut self, key: &[u8]) -> Option<Record> {
        let place = self.keyed.place(key);
        let record = self.tree.remove(place, key)?;
        self.digest = self.digest.wrapping_sub(self.keyed.digest(place, &record, ALL));
        self.moved(place, record.meta().deadline, 0);
        Some(record).filter(|record| self.lives(record))
    }

    /// The deadline of a key at `place` has changed, or went with the key.
    fn moved(&mut self, place: u64, from: Millis, to: Millis) {
        if from == to {
            return;
        }
        // Another key there may die at the same time.
        if from != 0 && self.dying(from, place).is_none() {
            self.deadlines.remove(from, place);
        }
        self.deadlines.insert(to, place);
    }

    /// A record at `place` that dies at `deadline`.
    fn dying(&self, deadline: Millis, place: u64) -> Option<&Record> {
        let mut there = self.tree.range(place).take_while(|(hash, _)| *hash == place);
        there.find(|(_, record)| record.meta().deadline == deadline).map(|(_, record)| record)
    }

    /// Takes at most so many dead records out.
    pub(super) fn bury_some(&mut self, most: usize) {
        for _ in 0..most {
            if !self.bury() {
                return;
            }
        }
    }

    /// Takes the first dead record out, if there is one.
    fn bury(&mut self) -> bool {
        let Some((deadline, place)) = self.deadlines.first().filter(|(deadline, _)| *deadline <= self.now)
        else {
            return false;
        };
        let Some(key) = self.dying(deadline, place).map(|record| record.key().to_vec()) else {
            self.deadlines.remove(deadline, place);
            return true;
        };
        self.take(&key);
        true
    }
}

impl StateMachine for KvStore {
    type View = KvView;
    type Restorer = KvRestorer;

    fn empty(seed: u128) -> Self {
        Self {
            keyed: Keyed::new(seed),
            tree: Tree::new(),
            deadlines: Deadlines::default(),
            now: 0,
            digest: 0,
            scratch: Vec::new(),
            flushed: Vec::new(),
        }
    }

    fn next_deadline(&self) -> Option<Millis> {
        self.deadlines.first().map(|(deadline, _)| deadline)
    }

    /// Takes dead keys out. They are dead already, to whoever asks: when they are taken out is a matter of memory.
    fn expire(&mut self, context: Context, most: usize) {
        self.now = context.unix_ms;
        self.bury_some(most);
    }

    /// Runs a packed command, or answers a packed read as of its entry.
    fn apply(&mut self, context: Context, command: &[u8], out: &mut Vec<u8>) {
        self.now = context.unix_ms;
        if command.first().is_some_and(|op| op & opcode::READ != 0) {
            return self.query(context, command, out);
        }
        match Write::decode(command) {
            Ok(write) => self.write(context, write, out),
            Err(malformed) => refuse(malformed, out),
        }
    }

    fn query(&self, context: Context, query: &[u8], out: &mut Vec<u8>) {
        match Read::decode(query) {
            Ok(read) => self.read(context, read, out),
            Err(malformed) => refuse(malformed, out),
        }
    }

    fn work(&self, command: &[u8]) -> u64 {
        self.work_of(command)
    }

    /// Looks for the first keys of the commands.
    fn prefetch<'a>(&self, commands: impl Iterator<Item = &'a [u8]>) {
        let keys = commands.filter_map(packed::first_key);
        self.tree.prefetch(keys.map(|key| self.keyed.place(key)));
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

    fn take_garbage(&mut self) -> Option<Box<dyn Any + Send>> {
        if self.flushed.is_empty() { None } else { Some(Box::new(mem::take(&mut self.flushed))) }
    }

    fn size(&self) -> StateSize {
        StateSize { keys: self.tree.len() as u64, mortal: self.deadlines.len() as u64 }
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

pub(super) fn refuse(malformed: Malformed, out: &mut Vec<u8>) {
    let text = match malformed {
        Malformed::Opcode(op) => alloc::format!("ERR no command of this version has the opcode {op:#04x}"),
        Malformed::Arguments(op) => alloc::format!("ERR malformed arguments of the opcode {op:#04x}"),
        Malformed::Empty => alloc::string::String::from("ERR empty command"),
    };
    reply::error(out, text.as_bytes());
}
