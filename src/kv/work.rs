//! How much work a command is. A step does so much of it and no more, and a transaction may ask for so much and no more.
//!
//! Work is counted in nanoseconds, about as many as it takes with a million keys. Every node must count alike: what one
//! refuses to run, all must. So these numbers mean what they mean for ever, like the opcodes.

use alloc::collections::BTreeMap;

use super::packed::{Fields, Read, Scan, SetFlags, Write};
use super::set::Set;
use super::store::KvStore;
use super::{MAX_LISTED_KEYS, MAX_REPLY, MAX_SCAN_KEYS, MAX_VALUE};

/// Most work of a transaction: while it runs, nobody is served.
const MAX_TRANSACTION: u64 = 50_000_000;

/// Less than this is not worth to look at values for.
const LITTLE: u64 = 20_000;

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

/// How long values are, at most.
enum Lengths<'a> {
    /// As long as any.
    Limit,
    /// As long as the store's, or as what commands before have made of them.
    Known(&'a KvStore, BTreeMap<&'a [u8], usize>),
}

impl<'a> Lengths<'a> {
    fn of(&self, key: &[u8]) -> usize {
        match self {
            Self::Limit => MAX_VALUE,
            Self::Known(store, made) => {
                let there = store.record(key).map_or(0, |record| record.value().len());
                made.get(key).map_or(there, |&made| made.max(there))
            }
        }
    }

    /// A command may have made the value of `key` so long.
    fn made(&mut self, key: &'a [u8], len: usize) {
        if let Self::Known(_, made) = self {
            let longest = made.entry(key).or_default();
            *longest = len.max(*longest);
        }
    }

    fn made_all(&mut self, mut pairs: Fields<'a>) {
        if matches!(self, Self::Known(..)) {
            while let (Some(key), Some(value)) = (pairs.next(), pairs.next()) {
                self.made(key, value.len());
            }
        }
    }

    fn of_write(&mut self, write: Write<'a>) -> u64 {
        match write {
            Write::Set(Set { flags, key, value, .. }) => {
                let told = if flags.has(SetFlags::GET) { self.of(key) } else { 0 };
                self.made(key, value.len());
                STORE + bytes(value.len()) + bytes(told)
            }
            Write::SetNx { key, value } => {
                self.made(key, value.len());
                STORE + bytes(value.len())
            }
            Write::GetDel { key } | Write::GetEx { key, .. } => STORE + bytes(self.of(key)),
            Write::Append { key, tail } => {
                let len = MAX_VALUE.min(self.of(key) + tail.len());
                self.made(key, len);
                STORE + bytes(len)
            }
            Write::Del { keys } => keys.len() as u64 * STORE,
            Write::MSet { pairs } | Write::MSetNx { pairs } | Write::MSetEx { pairs, .. } => {
                self.made_all(pairs);
                pairs.len() as u64 / 2 * STORE + bytes(pairs.packed_len())
            }
            Write::IncrBy { .. } | Write::Expire { .. } | Write::Persist { .. } | Write::Flush => STORE,
            Write::DelEx { key, .. } => STORE + seen(self.of(key)),
            Write::SetRange { key, offset, part } => self.patched(key, offset, part.len()),
            Write::SetBit { key, offset, .. } => self.patched(key, offset / 8, 1),
            Write::IncrByFloat { key, .. } => 2 * STORE + bytes(self.of(key)).min(20_000),
            Write::Rename { from, to, .. } | Write::Copy { from, to, .. } => {
                let len = self.of(from);
                self.made(to, len);
                2 * STORE + 2 * bytes(len)
            }
            Write::Exec(transaction) => self.of_commands(transaction.commands),
        }
    }

    /// A part was put into a value: a picture of the state may make that a copy of the value.
    fn patched(&mut self, key: &'a [u8], at: u64, part: usize) -> u64 {
        let end = usize::try_from(at).unwrap_or(MAX_VALUE).saturating_add(part).min(MAX_VALUE);
        let len = self.of(key).max(end);
        self.made(key, len);
        STORE + bytes(len)
    }

    fn of_read(&mut self, read: Read<'a>, keys: usize) -> u64 {
        match read {
            Read::Get { key } | Read::GetRange { key, .. } => FIND + bytes(self.of(key)),
            Read::StrLen { .. }
            | Read::DbSize
            | Read::Ttl { .. }
            | Read::GetBit { .. }
            | Read::Type { .. } => FIND,
            Read::Exists { keys } | Read::Versions { keys } => keys.len() as u64 * FIND,
            Read::MGet { keys } => {
                let told = keys.fold(0, |sum, key| MAX_REPLY.min(sum + self.of(key)));
                keys.len() as u64 * FIND + bytes(told)
            }
            Read::Scan(Scan { count, pattern, .. }) => {
                matched(usize::try_from(count).unwrap_or(MAX_SCAN_KEYS).min(MAX_SCAN_KEYS), pattern)
            }
            Read::Exec(transaction) => self.of_commands(transaction.commands),
            Read::BitCount { key, .. } | Read::BitPos { key, .. } => FIND + 2 * seen(self.of(key)),
            Read::Lcs { one, other, .. } => {
                let cells = self.of(one).saturating_add(1).saturating_mul(self.of(other).saturating_add(1));
                2 * FIND + 2 * (cells as u64).min(MAX_VALUE as u64 / 4)
            }
            Read::Keys { pattern } => matched(keys.min(MAX_LISTED_KEYS), Some(pattern)),
            Read::RandomKey { .. } => 10 * FIND,
        }
    }

    fn of_commands(&mut self, commands: Fields<'a>) -> u64 {
        let mut sum = 0_u64;
        for packed in commands {
            sum = sum.saturating_add(self.of_command(packed));
            if sum > MAX_TRANSACTION {
                break;
            }
        }
        sum
    }

    fn of_command(&mut self, packed: &'a [u8]) -> u64 {
        let keys = match self {
            Self::Limit => MAX_LISTED_KEYS,
            Self::Known(store, _) => store.len(),
        };
        if let Ok(write) = Write::decode(packed) {
            self.of_write(write)
        } else {
            Read::decode(packed).map_or(0, |read| self.of_read(read, keys))
        }
    }
}

impl KvStore {
    /// Whether commands, as one transaction, are more work than one may be. Nothing of it may run then: it is all or none.
    pub(super) fn is_too_much(&self, commands: Fields<'_>) -> bool {
        Lengths::Limit.of_commands(commands) > MAX_TRANSACTION
            && Lengths::Known(self, BTreeMap::new()).of_commands(commands) > MAX_TRANSACTION
    }

    /// About how many nanoseconds a command takes.
    pub(super) fn work_of(&self, packed: &[u8]) -> u64 {
        match Read::decode(packed) {
            // The bytes that reads answer are counted by themselves.
            Ok(Read::Get { .. } | Read::GetRange { .. }) => FIND,
            Ok(Read::MGet { keys }) => keys.len() as u64 * FIND,
            _ => {
                let most = Lengths::Limit.of_command(packed);
                if most <= LITTLE { most } else { Lengths::Known(self, BTreeMap::new()).of_command(packed) }
            }
        }
    }
}
