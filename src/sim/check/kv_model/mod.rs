//! The key-value store as Redis documents it: a specification of all commands of [`kv`](crate::kv), written apart from them.
//!
//! An operation is a command's words, as a client says them, or a transaction of several ([`KvOp`]); a reply is the value
//! that the client reads, in either version of the protocol. A command with wrong arguments is a read of nothing: it is
//! answered by its error, whatever the state.
//!
//! Time is the log's ([`Context::unix_ms`]): a key is dead from its deadline on, and what a command does depends on nothing else
//! than the entries up to it. Replies that this leaves open are admitted within bounds:
//!
//! | reply | is admitted |
//! | --- | --- |
//! | TTL, PTTL of a read | what is left by the log's clock, or less: the clock of the node that was asked is ahead of it |
//! | SCAN | any of the keys, each once; all of them from a call that begins and ends an iteration |
//! | KEYS | all of the keys, in any order |
//! | RANDOMKEY | any of the keys |
//! | DBSIZE | the live keys, and as many of the dead ones as are not removed yet |
//! | LCS with IDX | a map or, in the older version of the protocol, a flat array |
//!
//! Of the numbers that INCRBYFLOAT takes only some are covered: `float.rs` says which.

mod arguments;
mod bits;
mod command;
mod expiry;
mod float;
mod glob;
mod keys;
mod keyspace;
mod lcs;
mod parts;
mod replies;
mod scans;
mod strings;
#[cfg(test)]
mod tests;
mod transaction;

use std::vec::Vec;

use bytes::Bytes;

use super::model::{Model, Part};
use crate::codec::input::Input;
use crate::codec::resp::{ReplyParser, Value};
use crate::kv::pipelined;
use crate::replica::{Context, Request};
use command::Command;
use keys::{Entries, Keys};
use replies::{bulk, count, encoded_len, is_same, ok};
pub use scans::check_scans;
use strings::Set;
pub use transaction::{KvOp, UNSEEN};

/// Strings by their keys.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct KvModel {
    entries: Entries,
}

impl Model for KvModel {
    type Op = KvOp;
    type Reply = Value;

    fn step(&mut self, at: Context, op: &KvOp) -> Value {
        let mut keys = Keys { entries: &mut self.entries, at };
        match op {
            KvOp::Command(words) => keys.say(words),
            KvOp::Versions(of) | KvOp::Watch(of) => keys.versions(of),
            KvOp::Transaction { watched, commands } => keys.exec(watched, commands),
        }
    }

    fn request(op: &KvOp) -> Option<Request> {
        transaction::request(op)
    }

    fn commands(command: &Bytes) -> Vec<Bytes> {
        pipelined(command).unwrap_or_else(|| std::vec![command.clone()])
    }

    fn is_read(op: &KvOp) -> bool {
        op.is_read()
    }

    fn admits(op: &KvOp, expected: &Value, seen: &Value) -> bool {
        match (op, expected, seen) {
            (KvOp::Command(words), ..) => admits(words, true, expected, seen),
            (KvOp::Watch(_), ..) => expected == seen || *seen == ok(),
            (KvOp::Transaction { commands, .. }, Value::Array(expected), Value::Array(seen)) => {
                let is_query = op.is_read();
                let each = commands.iter().zip(expected).zip(seen);
                seen.len() == commands.len()
                    && each
                        .into_iter()
                        .all(|((words, expected), seen)| admits(words, is_query, expected, seen))
            }
            _ => expected == seen,
        }
    }

    fn parts(op: &KvOp, reply: Option<&Value>) -> Vec<Part<KvOp, Value>> {
        parts::of(op, reply)
    }

    fn overwrites(op: &KvOp) -> bool {
        let KvOp::Command(words) = op else { return false };
        let is_plain = |set: &Set<'_>| set.condition.is_none() && !set.get;
        match Command::of(words) {
            Ok(Command::Set(ref set)) => is_plain(set),
            Ok(Command::FlushAll) => true,
            _ => false,
        }
    }

    fn kept_bytes(reply: &Value) -> u64 {
        encoded_len(reply) as u64
    }
}

impl KvModel {
    /// A reply of the store in its own bytes, read. What is none reads as an error, which no operation is answered.
    pub fn reply(bytes: &[u8]) -> Value {
        let mut input = Input::new(bytes.len());
        input.space(bytes.len(), bytes.len())[..bytes.len()].copy_from_slice(bytes);
        input.advance(bytes.len());
        match ReplyParser::new(64 << 20).next_reply(&mut input) {
            Ok(Some(reply)) => reply,
            Ok(None) | Err(_) => replies::error("no reply"),
        }
    }
}

/// Whether a command may be answered so. A query is answered by a node whose clock may be ahead of the log's.
fn admits(words: &[Bytes], is_query: bool, expected: &Value, seen: &Value) -> bool {
    let Ok(command) = Command::of(words) else { return expected == seen };
    match (command, expected, seen) {
        (Command::Scan(scan), Value::Array(_), _) => keyspace::admits_scan(&scan, expected, seen),
        (Command::Keys { .. }, ..) => keyspace::admits_keys(expected, seen),
        (Command::RandomKey, ..) => keyspace::admits_random(expected, seen),
        (Command::DbSize, ..) => keyspace::admits_dbsize(expected, seen),
        (Command::Ttl { ttl, .. }, Value::Integer(most @ 0..), Value::Integer(seen)) => {
            seen == most || (is_query && !ttl.is_absolute && (0..*most).contains(seen))
        }
        _ => is_same(expected, seen),
    }
}

impl Keys<'_> {
    fn run(&mut self, command: &Command<'_>) -> Value {
        match *command {
            Command::Append { key, tail } => self.append(key, tail),
            Command::BitCount { key, range } => self.bitcount(key, range),
            Command::BitPos { key, bit, range } => self.bitpos(key, bit, range),
            Command::Copy { from, to, replace } => self.copy(from, to, replace),
            Command::DbSize => self.dbsize(),
            Command::Del { keys } => self.del(keys),
            Command::DelEx { key, condition } => self.delex(key, condition),
            Command::Exists { keys } => self.exists(keys),
            Command::Expire(ref expire) => self.expire(expire),
            Command::FlushAll => self.flush(),
            Command::Get { key } => bulk(self.get(key)),
            Command::GetBit { key, offset } => self.getbit(key, offset),
            Command::GetDel { key } => bulk(self.take(key).map(|entry| entry.value).as_ref()),
            Command::GetEx(ref getex) => self.getex(getex),
            Command::GetRange { key, start, end } => self.getrange(key, start, end),
            Command::IncrBy { key, by } => self.incrby(key, by),
            Command::IncrByFloat { key, by } => self.incrbyfloat(key, by),
            Command::Keys { pattern } => self.keys(pattern),
            Command::Lcs(ref lcs) => self.lcs(lcs),
            Command::MGet { keys } => self.mget(keys),
            Command::MSet { pairs } => {
                pairs.chunks(2).for_each(|pair| self.put(&pair[0], pair[1].clone(), None));
                ok()
            }
            Command::MSetEx(ref msetex) => self.msetex(msetex),
            Command::Persist { key } => self.persist(key),
            Command::RandomKey => self.random(),
            Command::Rename { from, to, only_if_new } => self.rename(from, to, only_if_new),
            Command::Scan(ref scan) => self.scan(scan),
            Command::Set(ref set) => self.set(set),
            Command::SetBit { key, offset, bit } => self.setbit(key, offset, bit),
            Command::SetRange { key, offset, value } => self.setrange(key, offset, value),
            Command::StrLen { key } => count(self.get(key).map_or(0, Bytes::len)),
            Command::Ttl { key, ttl } => self.ttl(key, ttl),
            Command::Type { key } => self.kind(key),
        }
    }
}
