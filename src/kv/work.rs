//! How much work a command is. A step does so much of it and no more, and a transaction may ask for so much and no more.
//!
//! Work is counted in nanoseconds, about as many as it takes with a million keys. Every node must count alike: what one
//! refuses to run, all must. So these numbers mean what they mean for ever, like the opcodes.

use alloc::collections::BTreeMap;

use super::packed::{Fields, Read, Scan, SetFlags, Unpacker, Write, opcode};
use super::set::Set;
use super::store::KvStore;
use super::{MAX_LISTED_KEYS, MAX_REPLY, MAX_SCAN_KEYS, MAX_VALUE};

/// Most work of a transaction: while it runs, nobody is served.
const MAX_TRANSACTION: u64 = 50_000_000;

/// Less than this is not worth to look at values for.
const LITTLE: u64 = 20_000;

/// Longest texts of the numbers that INCRBY and INCRBYFLOAT make.
const MAX_INTEGER: usize = 20;
const MAX_FLOAT: usize = 5 * 1024;

/// To find a key.
const FIND: u64 = 500;

/// To find a key and write a record.
const STORE: u64 = 1_000;

/// To come to the next key of many.
const NEXT: u64 = 150;

/// To fill, or to copy, so many bytes of new memory.
const fn bytes(len: usize) -> u64 {
    len as u64 / 2
}

/// To look at so many bytes.
const fn seen(len: usize) -> u64 {
    len as u64 / 4
}

/// To hold so many keys against a pattern. Matching has a limit of its own.
fn matched(keys: usize, pattern: Option<&[u8]>) -> u64 {
    let each = NEXT + 4 * pattern.map_or(0, <[u8]>::len) as u64;
    (keys as u64).saturating_mul(each).min(keys as u64 * NEXT + (1 << 24))
}

/// What is known of the data that a command meets.
struct Meter<'a> {
    /// `None`: nothing is known, and all is as much as it can be.
    store: Option<&'a KvStore>,
    /// How long the commands of a transaction may have made values that those after them meet.
    made: Option<BTreeMap<&'a [u8], usize>>,
}

impl<'a> Meter<'a> {
    /// For how much a command can be at most.
    const fn worst() -> Self {
        Self { store: None, made: None }
    }

    /// For a command that the store meets next.
    const fn of(store: &'a KvStore) -> Self {
        Self { store: Some(store), made: None }
    }

    /// How long the value of `key` is, at most.
    fn len(&self, key: &[u8]) -> usize {
        let there = |store: &KvStore| store.record(key).map_or(0, |record| record.value().len());
        let made = self.made.as_ref().and_then(|made| made.get(key)).copied().unwrap_or_default();
        self.store.map_or(MAX_VALUE, there).max(made)
    }

    /// How many keys there are, at most.
    fn keys(&self) -> usize {
        let made = self.made.as_ref().map_or(0, BTreeMap::len);
        self.store.map_or(MAX_LISTED_KEYS, |store| store.len().saturating_add(made))
    }

    /// Whether most keys may be dead.
    fn may_be_dying(&self) -> bool {
        let made = self.made.as_ref().map_or(0, BTreeMap::len);
        self.store.is_none_or(|store| 2 * store.deadlines.len().saturating_add(made) > store.len())
    }

    /// A command may have made the value of `key` so long.
    fn made(&mut self, key: &'a [u8], len: usize) {
        if let Some(made) = &mut self.made {
            let longest = made.entry(key).or_default();
            *longest = len.max(*longest);
        }
    }

    fn made_all(&mut self, mut pairs: Fields<'a>) {
        if self.made.is_some() {
            while let (Some(key), Some(value)) = (pairs.next(), pairs.next()) {
                self.made(key, value.len());
            }
        }
    }

    fn of_write(&mut self, write: Write<'a>) -> u64 {
        match write {
            Write::Set(Set { flags, key, value, .. }) => {
                let told = if flags.has(SetFlags::GET) { self.len(key) } else { 0 };
                self.made(key, value.len());
                STORE + bytes(value.len()) + bytes(told)
            }
            Write::SetNx { key, value } => {
                self.made(key, value.len());
                STORE + bytes(value.len())
            }
            Write::GetDel { key } | Write::GetEx { key, .. } => STORE + bytes(self.len(key)),
            Write::Append { key, tail } => {
                let len = MAX_VALUE.min(self.len(key) + tail.len());
                self.made(key, len);
                STORE + bytes(len)
            }
            // What is taken out is looked at, and what a picture of the state shares is copied when its deadline changes.
            Write::Del { mut keys } => {
                let count = keys.len() as u64;
                keys.try_fold(count * STORE, |sum, key| {
                    // More would not change a thing.
                    (sum <= MAX_TRANSACTION).then(|| sum + bytes(self.len(key)))
                })
                .unwrap_or(MAX_TRANSACTION + 1)
            }
            Write::MSet { pairs } | Write::MSetNx { pairs } | Write::MSetEx { pairs, .. } => {
                self.made_all(pairs);
                pairs.len() as u64 / 2 * STORE + bytes(pairs.packed_len())
            }
            Write::IncrBy { key, .. } => {
                self.made(key, MAX_INTEGER);
                STORE
            }
            Write::Expire { key, .. } | Write::Persist { key } => STORE + bytes(self.len(key)),
            Write::Flush => STORE,
            Write::DelEx { key, .. } => STORE + seen(self.len(key)),
            Write::SetRange { key, offset, part } => self.patched(key, offset, part.len()),
            Write::SetBit { key, offset, .. } => self.patched(key, offset / 8, 1),
            Write::IncrByFloat { key, .. } => {
                let work = 2 * STORE + bytes(self.len(key)).min(20_000);
                self.made(key, MAX_FLOAT);
                work
            }
            Write::Rename { from, to, .. } | Write::Copy { from, to, .. } => {
                let len = self.len(from);
                self.made(to, len);
                2 * STORE + 2 * bytes(len)
            }
            Write::Exec(transaction) => self.of_transaction(transaction.commands),
            Write::Pipeline { commands } => commands.len() as u64 * STORE + bytes(commands.packed_len()),
        }
    }

    /// A part was put into a value: a picture of the state may make that a copy of the value.
    fn patched(&mut self, key: &'a [u8], at: u64, part: usize) -> u64 {
        let end = usize::try_from(at).unwrap_or(MAX_VALUE).saturating_add(part).min(MAX_VALUE);
        let len = self.len(key).max(end);
        self.made(key, len);
        STORE + bytes(len)
    }

    fn of_read(&self, read: Read<'a>) -> u64 {
        match read {
            Read::Get { key } | Read::GetRange { key, .. } => FIND + bytes(self.len(key)),
            Read::StrLen { .. }
            | Read::DbSize
            | Read::Ttl { .. }
            | Read::GetBit { .. }
            | Read::Type { .. } => FIND,
            Read::Exists { keys } | Read::Versions { keys } => keys.len() as u64 * FIND,
            Read::MGet { keys } => {
                let told = keys.fold(0, |sum, key| MAX_REPLY.min(sum + self.len(key)));
                keys.len() as u64 * FIND + bytes(told)
            }
            Read::Scan(Scan { count, pattern, .. }) => {
                matched(usize::try_from(count).unwrap_or(MAX_SCAN_KEYS).min(MAX_SCAN_KEYS), pattern)
            }
            Read::Exec(transaction) => self.of_transaction(transaction.commands),
            Read::Pipeline { commands } => commands.map(of_piped_read).sum(),
            Read::BitCount { key, .. } | Read::BitPos { key, .. } => FIND + 2 * seen(self.len(key)),
            Read::Lcs { one, other, .. } => {
                let cells = self.len(one).saturating_add(1).saturating_mul(self.len(other).saturating_add(1));
                2 * FIND + 2 * (cells as u64).min(MAX_VALUE as u64 / 4)
            }
            Read::Keys { pattern } => matched(self.keys().min(MAX_LISTED_KEYS), Some(pattern)),
            // Among the dead it may look for a living one for long.
            Read::RandomKey { .. } if self.may_be_dying() => MAX_SCAN_KEYS as u64 * NEXT / 8,
            Read::RandomKey { .. } => 10 * FIND,
        }
    }

    fn of_transaction(&self, commands: Fields<'a>) -> u64 {
        let mut meter = Self { store: self.store, made: self.store.map(|_| BTreeMap::new()) };
        let mut sum = 0_u64;
        for packed in commands {
            sum = sum.saturating_add(meter.of_command(packed));
            if sum > MAX_TRANSACTION {
                break;
            }
        }
        sum
    }

    fn of_command(&mut self, packed: &'a [u8]) -> u64 {
        if let Ok(write) = Write::decode(packed) {
            self.of_write(write)
        } else {
            Read::decode(packed).map_or(0, |read| self.of_read(read))
        }
    }
}

/// A read among others. The bytes that it answers are counted by themselves.
fn of_piped_read(packed: &[u8]) -> u64 {
    match packed.first() {
        Some(&(opcode::EXISTS | opcode::MGET)) => match Read::decode(packed) {
            Ok(Read::Exists { keys } | Read::MGet { keys }) => keys.len() as u64 * FIND,
            _ => FIND,
        },
        _ => FIND,
    }
}

impl KvStore {
    /// Whether commands, as one transaction, are more work than one may be. Nothing of it may run then: it is all or none.
    pub(super) fn is_too_much(&self, commands: Fields<'_>) -> bool {
        Meter::worst().of_transaction(commands) > MAX_TRANSACTION
            && Meter::of(self).of_transaction(commands) > MAX_TRANSACTION
    }

    /// About how many nanoseconds a command takes.
    pub(super) fn work_of(&self, packed: &[u8]) -> u64 {
        // The commonest first. The bytes that reads answer are counted by themselves.
        match packed.split_first() {
            Some((&opcode::GET | &opcode::GETRANGE, _)) => return FIND,
            Some((&opcode::SET, rest)) => {
                if let Some(set) = Unpacker::new(rest).set().filter(|set| !set.flags.has(SetFlags::GET)) {
                    return STORE + bytes(set.value.len());
                }
            }
            _ => {}
        }
        match Read::decode(packed) {
            Ok(Read::MGet { keys }) => keys.len() as u64 * FIND,
            _ => {
                let most = Meter::worst().of_command(packed);
                if most <= LITTLE { most } else { Meter::of(self).of_command(packed) }
            }
        }
    }
}
