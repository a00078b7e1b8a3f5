//! The key-value store as Redis documents it: a specification of all commands of [`kv`](crate::kv), written apart from them.
//!
//! An operation is a command's words, as a client says them; a reply is the value that the client reads, in either version
//! of the protocol. A command with wrong arguments is a read of nothing: it is answered by its error, whatever the state.

mod command;
mod glob;
mod parts;
mod scans;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::string::ToString;
use std::vec;
use std::vec::Vec;

use bytes::Bytes;

use super::model::{Model, Part};
use crate::codec::resp::Value;
use crate::kv::{Call, MAX_REPLY, MAX_VALUE, parse};
use crate::replica::{Context, Request};
use command::{Command, NOT_A_NUMBER, Scan, Set, TOO_LONG, number};
pub use scans::check_scans;

/// Strings by their keys.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct KvModel {
    values: BTreeMap<Bytes, Bytes>,
}

impl Model for KvModel {
    type Op = Vec<Bytes>;
    type Reply = Value;

    fn step(&mut self, _: Context, op: &Vec<Bytes>) -> Value {
        match Command::of(op) {
            Ok(command) => self.run(&command),
            Err(text) => Value::Error(text.into()),
        }
    }

    fn request(op: &Vec<Bytes>) -> Option<Request> {
        match parse(op) {
            Ok(Call::Write(command)) => Some(Request::Write(command)),
            Ok(Call::Read(query)) => Some(Request::Read(query)),
            Err(_) => None,
        }
    }

    fn is_read(op: &Vec<Bytes>) -> bool {
        Command::of(op).map_or(true, |command| command.is_read())
    }

    /// SCAN may answer any of the keys that [`step`](Self::step) does; all of them, if it begins and ends with this call.
    /// A pattern may be too much work.
    fn admits(op: &Vec<Bytes>, expected: &Value, seen: &Value) -> bool {
        match (Command::of(op), expected) {
            (Ok(Command::Scan(scan)), Value::Array(_)) => admits_scan(&scan, expected, seen),
            _ => expected == seen,
        }
    }

    fn parts(op: &Vec<Bytes>, reply: Option<&Value>) -> Vec<Part<Vec<Bytes>, Value>> {
        parts::of(op, reply)
    }

    fn overwrites(op: &Vec<Bytes>) -> bool {
        let is_plain = |set: &Set<'_>| set.only_if_there.is_none() && !set.get;
        matches!(Command::of(op), Ok(Command::Set(ref set)) if is_plain(set))
    }

    fn kept_bytes(reply: &Value) -> u64 {
        encoded_len(reply) as u64
    }
}

impl KvModel {
    fn run(&mut self, command: &Command<'_>) -> Value {
        match *command {
            Command::Append { key, tail } => self.append(key, tail),
            Command::DbSize => count(self.values.len()),
            Command::Del { keys } => {
                count(keys.iter().filter(|&key| self.values.remove(key).is_some()).count())
            }
            Command::Exists { keys } => {
                count(keys.iter().filter(|&key| self.values.contains_key(key)).count())
            }
            Command::Get { key } => self.get(key),
            Command::GetDel { key } => self.values.remove(key).map_or(Value::Null, Value::Bulk),
            Command::GetRange { key, start, end } => {
                let value = self.values.get(key).cloned().unwrap_or_default();
                Value::Bulk(range(&value, start, end))
            }
            Command::IncrBy { key, by } => self.incrby(key, by),
            Command::MGet { keys } => {
                let values = Value::Array(keys.iter().map(|key| self.get(key)).collect());
                if encoded_len(&values) > MAX_REPLY { error(REPLY_TOO_LONG) } else { values }
            }
            Command::MSet { pairs } => {
                for pair in pairs.chunks(2) {
                    self.values.insert(pair[0].clone(), pair[1].clone());
                }
                ok()
            }
            Command::Scan(ref scan) => {
                let keys = scan.select(self.values.keys()).cloned().map(Value::Bulk).collect();
                Value::Array(vec![Value::Bulk(Bytes::from_static(b"0")), Value::Array(keys)])
            }
            Command::Set(ref set) => self.set(set),
            Command::SetNx { key, value } => self.setnx(key, value),
            Command::StrLen { key } => count(self.values.get(key).map_or(0, Bytes::len)),
        }
    }

    fn get(&self, key: &Bytes) -> Value {
        self.values.get(key).cloned().map_or(Value::Null, Value::Bulk)
    }

    fn set(&mut self, set: &Set<'_>) -> Value {
        let old = self.get(set.key);
        let is_there = old != Value::Null;
        let is_refused = set.only_if_there.is_some_and(|wanted| wanted != is_there);
        if !is_refused {
            self.values.insert(set.key.clone(), set.value.clone());
        }
        match (set.get, is_refused) {
            (true, _) => old,
            (false, true) => Value::Null,
            (false, false) => ok(),
        }
    }

    fn setnx(&mut self, key: &Bytes, value: &Bytes) -> Value {
        let is_new = !self.values.contains_key(key);
        if is_new {
            self.values.insert(key.clone(), value.clone());
        }
        count(is_new.into())
    }

    fn append(&mut self, key: &Bytes, tail: &Bytes) -> Value {
        let mut value = self.values.get(key).map(|value| value.to_vec()).unwrap_or_default();
        if value.len() + tail.len() > MAX_VALUE {
            return error(TOO_LONG);
        }
        value.extend_from_slice(tail);
        let len = value.len();
        self.values.insert(key.clone(), value.into());
        count(len)
    }

    fn incrby(&mut self, key: &Bytes, by: i64) -> Value {
        let Some(old) = self.values.get(key).map_or(Some(0), |value| number(value)) else {
            return error(NOT_A_NUMBER);
        };
        let Some(sum) = old.checked_add(by) else {
            return error("ERR increment or decrement would overflow");
        };
        self.values.insert(key.clone(), sum.to_string().into());
        Value::Integer(sum)
    }
}

const REPLY_TOO_LONG: &str = "ERR reply exceeds maximum allowed size";

const TOO_EXPENSIVE: &str = "ERR MATCH pattern is too expensive for a key";

fn ok() -> Value {
    Value::Simple(Bytes::from_static(b"OK"))
}

fn error(text: &'static str) -> Value {
    Value::Error(Bytes::from_static(text.as_bytes()))
}

fn count(number: usize) -> Value {
    Value::Integer(number as i64)
}

/// From `start` to `end`, both included; negative ones count from the end.
fn range(value: &Bytes, start: i64, end: i64) -> Bytes {
    if start < 0 && end < 0 && start > end {
        return Bytes::new();
    }
    let len = value.len() as i128;
    let place = |at: i64| if at < 0 { (len + i128::from(at)).max(0) } else { at.into() };
    let (start, end) = (place(start), (place(end) + 1).min(len));
    if start < end { value.slice(start as usize..end as usize) } else { Bytes::new() }
}

fn admits_scan(scan: &Scan<'_>, expected: &Value, seen: &Value) -> bool {
    if *seen == error(TOO_EXPENSIVE) {
        return scan.pattern.is_some();
    }
    let (Some((_, there)), Some((cursor, returned))) = (scan_reply(expected), scan_reply(seen)) else {
        return false;
    };
    let mut distinct = returned.clone();
    distinct.sort_unstable();
    distinct.dedup();
    let is_whole = scan.cursor == 0 && &cursor[..] == b"0";
    distinct.len() == returned.len()
        && (!is_whole || distinct.len() == there.len())
        && distinct.iter().all(|key| there.binary_search(key).is_ok())
}

/// The cursor and the keys of a reply to SCAN.
fn scan_reply(reply: &Value) -> Option<(&Bytes, Vec<&Bytes>)> {
    let Value::Array(parts) = reply else { return None };
    let [Value::Bulk(cursor), Value::Array(keys)] = &parts[..] else { return None };
    Some((cursor, keys.iter().map(bulk).collect::<Option<_>>()?))
}

fn bulk(value: &Value) -> Option<&Bytes> {
    if let Value::Bulk(text) = value { Some(text) } else { None }
}

/// Bytes of a reply in RESP3.
fn encoded_len(reply: &Value) -> usize {
    let blob = |len: usize| 1 + len.to_string().len() + 2 + len + 2;
    match reply {
        Value::Null => 3,
        Value::Simple(text) | Value::Error(text) => 1 + text.len() + 2,
        Value::Integer(number) => 1 + number.to_string().len() + 2,
        Value::Bulk(text) => blob(text.len()),
        Value::Array(values) => {
            1 + values.len().to_string().len() + 2 + values.iter().map(encoded_len).sum::<usize>()
        }
        // No command of the store answers anything else.
        _ => 0,
    }
}
