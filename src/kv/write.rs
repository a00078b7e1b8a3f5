//! The commands that change something. Each appends exactly one reply, a pipeline one for each
//! of its commands.

use alloc::vec::Vec;

use super::number::{Decimal, parse_i64};
use super::packed::{Fields, Write};
use super::record::{Meta, Record};
use super::store::KvStore;
use super::{CommandError, MAX_VALUE, reply};
use crate::replica::Context;

impl KvStore {
    pub(super) fn write(&mut self, at: Context, write: Write<'_>, out: &mut Vec<u8>) {
        let version = at.index;
        match write {
            Write::Set(set) => self.set(at, set, out),
            Write::SetNx { key, value } => self.setnx(version, key, value, out),
            Write::GetDel { key } => match self.take(key) {
                Some(record) => reply::bulk(out, record.value()),
                None => reply::null(out),
            },
            Write::Append { key, tail } => self.append(version, key, tail, out),
            Write::Del { keys } => {
                let removed = keys.filter(|key| self.take(key).is_some()).count();
                reply::count(out, removed);
            }
            Write::MSet { pairs } => {
                self.put_all(version, pairs);
                reply::ok(out);
            }
            Write::IncrBy { key, by } => self.incrby(version, key, by, out),
            Write::GetEx { lifetime, key } => self.getex(at, lifetime, key, out),
            Write::Expire { replaces, lifetime, key } => self.expire_key(at, replaces, lifetime, key, out),
            Write::Persist { key } => self.persist_key(at, key, out),
            Write::DelEx { compare, key } => self.delex(compare, key, out),
            Write::MSetEx { flags, lifetime, pairs } => self.msetex(at, flags, lifetime, pairs, out),
            Write::Exec(transaction) => self.exec(at, transaction, out),
            Write::Pipeline { commands } => self.pipeline(at, commands, out),
            Write::SetRange { key, offset, part } => self.setrange(version, key, offset, part, out),
            Write::SetBit { key, offset, bit } => self.setbit(version, key, offset, bit, out),
            Write::IncrByFloat { key, by } => self.incrbyfloat(version, key, by, out),
            Write::MSetNx { pairs } => self.msetnx(version, pairs, out),
            Write::Rename { from, to, only_new } => self.rename(version, from, to, only_new, out),
            Write::Copy { from, to, replace } => self.copy(version, from, to, replace, out),
            Write::Flush => self.flush(out),
        }
    }

    fn setnx(&mut self, version: u64, key: &[u8], value: &[u8], out: &mut Vec<u8>) {
        let new = self.record(key).is_none();
        if new {
            self.put(Meta { version, deadline: 0 }, key, value);
        }
        reply::count(out, usize::from(new));
    }

    fn append(&mut self, version: u64, key: &[u8], tail: &[u8], out: &mut Vec<u8>) {
        let Some(old) = self.record(key).map(|record| record.value().len()) else {
            self.put(Meta { version, deadline: 0 }, key, tail);
            return reply::count(out, tail.len());
        };
        if old + tail.len() > MAX_VALUE {
            return CommandError::ValueTooLong.reply(out);
        }
        self.extend(version, key, tail);
        reply::count(out, old + tail.len());
    }

    /// Gives keys their values, and no deadlines.
    pub(super) fn put_all(&mut self, version: u64, mut pairs: Fields<'_>) {
        while let (Some(key), Some(value)) = (pairs.next(), pairs.next()) {
            if planted!("mset-stops-half-way") && self.record(key).is_some() {
                break;
            }
            self.put(Meta { version, deadline: 0 }, key, value);
        }
    }

    fn incrby(&mut self, version: u64, key: &[u8], by: i64, out: &mut Vec<u8>) {
        let old = self.record(key);
        let Some(number) = old.map_or(Some(0), |record| parse_i64(record.value())) else {
            return CommandError::NotInteger.reply(out);
        };
        let Some(sum) = number.checked_add(by) else {
            return reply::error(out, b"ERR increment or decrement would overflow");
        };
        let deadline = old.map_or(0, |record: &Record| record.meta().deadline);
        self.put(Meta { version, deadline }, key, Decimal::signed(sum).as_bytes());
        reply::integer(out, sum);
    }
}
