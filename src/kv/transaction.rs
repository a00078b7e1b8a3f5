//! MULTI and EXEC: commands that run as one entry, all or none.
//!
//! WATCH asks for the versions of keys; they travel in the entry with the commands, and the entry runs nothing if one of
//! them has changed. So a watch needs no memory at any node, and survives a change of leader, a restart and a snapshot.

use alloc::vec::Vec;

use bytes::{Bytes, BytesMut};

use super::error::CommandError;
use super::packed::{Fields, Packer, Read, Unpacker, Write, opcode};
use super::parse::{Call, pack_keys};
use super::store::KvStore;
use super::{MAX_REPLY, reply};
use crate::replica::Context;

/// A transaction, borrowed from its packed bytes. All of it was looked at: whatever is in it can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Transaction<'a> {
    watched: Watched<'a>,
    pub(super) commands: Fields<'a>,
}

/// Keys with the versions that they must have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Watched<'a> {
    rest: &'a [u8],
    len: usize,
}

impl<'a> Iterator for Watched<'a> {
    type Item = (&'a [u8], u64);

    fn next(&mut self) -> Option<Self::Item> {
        self.len = self.len.checked_sub(1)?;
        let mut from = Unpacker::new(self.rest);
        let watched = (from.key()?, from.varint()?);
        self.rest = from.rest();
        Some(watched)
    }
}

/// The commands of a transaction as one, which runs if each of `watched` still has the version that [`versions`] told.
/// It is a read if all of them are.
///
/// The reply is an array of theirs, or null if a version is another one.
pub fn transaction(watched: &[(Bytes, u64)], calls: &[Call]) -> Call {
    let packed = |call: &Call| match call {
        Call::Write(packed) | Call::Read(packed) => packed.clone(),
    };
    let is_read = calls.iter().all(|call| matches!(call, Call::Read(_)));
    let room = watched.iter().map(|(key, _)| Packer::room(key) + Packer::VARINT).sum::<usize>();
    let room = room + calls.iter().map(|call| Packer::room(&packed(call))).sum::<usize>();
    let op = if is_read { opcode::EXEC_READS } else { opcode::EXEC };
    let mut space = BytesMut::new();
    let mut to = Packer::new(&mut space, op, Packer::VARINT + room).varint(watched.len() as u64);
    for (key, version) in watched {
        to = to.bytes(key).varint(*version);
    }
    for call in calls {
        to = to.bytes(&packed(call));
    }
    if is_read { Call::Read(to.finish()) } else { Call::Write(to.finish()) }
}

/// The query for the versions of keys, for WATCH: the reply is an array of integers, 0 for a key that is not there.
///
/// # Errors
///
/// A key is too long.
pub fn versions(keys: &[Bytes]) -> Result<Call, CommandError> {
    Ok(Call::Read(pack_keys(opcode::VERSIONS, keys, &mut BytesMut::new())?))
}

/// What a transaction that writes watches, and the same transaction watching nothing; `None` for any other command.
#[cfg(feature = "sim")]
pub(crate) fn unwatched(packed: &[u8]) -> Option<(Vec<(Bytes, u64)>, Bytes)> {
    let Ok(Write::Exec(Transaction { watched, commands })) = Write::decode(packed) else { return None };
    let watched = watched.map(|(key, version)| (Bytes::copy_from_slice(key), version)).collect();
    let calls: Vec<Call> = commands.map(|packed| Call::Write(Bytes::copy_from_slice(packed))).collect();
    let (Call::Write(packed) | Call::Read(packed)) = transaction(&[], &calls);
    Some((watched, packed))
}

impl<'a> Unpacker<'a> {
    pub(super) fn transaction(&mut self) -> Option<Transaction<'a>> {
        let watched = self.watched()?;
        let mut commands = self.all_bytes()?;
        let all = commands;
        // One transaction in another would be a stack as deep as the bytes are many.
        let is_command = |packed: &[u8]| match packed.first().copied() {
            None => false,
            Some(opcode::EXEC | opcode::EXEC_READS | opcode::PIPELINE | opcode::PIPELINE_READS) => false,
            Some(op) if op & opcode::READ == 0 => Write::decode(packed).is_ok(),
            Some(_) => Read::decode(packed).is_ok(),
        };
        commands.all(is_command).then_some(Transaction { watched, commands: all })
    }

    fn watched(&mut self) -> Option<Watched<'a>> {
        let len = usize::try_from(self.varint()?).ok()?;
        let rest = self.rest();
        for _ in 0..len {
            self.key()?;
            self.varint()?;
        }
        Some(Watched { rest, len })
    }
}

impl KvStore {
    pub(super) fn exec(&mut self, at: Context, transaction: Transaction<'_>, out: &mut Vec<u8>) {
        if !self.is_as_watched(transaction.watched) && !planted!("exec-ignores-watch") {
            return reply::null(out);
        }
        if self.is_too_much(transaction.commands) {
            return too_much(out);
        }
        let start = out.len();
        reply::array(out, transaction.commands.len());
        for packed in transaction.commands {
            let before = out.len();
            if let Ok(write) = Write::decode(packed) {
                self.write(at, write, out);
            } else if let Ok(read) = Read::decode(packed) {
                self.read(at, read, out);
            }
            bound(start, before, out);
        }
    }

    pub(super) fn exec_reads(&self, at: Context, transaction: Transaction<'_>, out: &mut Vec<u8>) {
        if !self.is_as_watched(transaction.watched) {
            return reply::null(out);
        }
        if self.is_too_much(transaction.commands) {
            return too_much(out);
        }
        let start = out.len();
        reply::array(out, transaction.commands.len());
        for packed in transaction.commands {
            let before = out.len();
            match Read::decode(packed) {
                Ok(read) => self.read(at, read, out),
                // In a read nothing may be written.
                Err(_) => reply::error(out, b"ERR a transaction of reads has a write in it"),
            }
            bound(start, before, out);
        }
    }

    fn is_as_watched(&self, mut watched: Watched<'_>) -> bool {
        watched.all(|(key, version)| self.version(key) == version)
    }

    fn version(&self, key: &[u8]) -> u64 {
        self.record(key).map_or(0, |record| record.meta().version)
    }

    pub(super) fn versions(&self, keys: Fields<'_>, out: &mut Vec<u8>) {
        reply::array(out, keys.len());
        for key in keys {
            reply::integer(out, i64::try_from(self.version(key)).unwrap_or(i64::MAX));
        }
    }
}

fn too_much(out: &mut Vec<u8>) {
    reply::error(out, b"ERR the transaction is too much work for one, and nothing of it was done: divide it");
}

/// What a command has answered, `before` being the end of the earlier replies, is dropped if the reply gets too long with it:
/// the command ran, and says so.
fn bound(start: usize, before: usize, out: &mut Vec<u8>) {
    if out.len().saturating_sub(start) > MAX_REPLY {
        out.truncate(before);
        reply::error(out, b"ERR the command ran, and its reply exceeds maximum allowed size");
    }
}
