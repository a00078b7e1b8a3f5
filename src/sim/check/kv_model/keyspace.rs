//! Keys themselves: which there are, and where a value lies.

use std::vec;
use std::vec::Vec;

use bytes::Bytes;

use super::arguments::{Refusal, SYNTAX, cursor, distinct, integer, is};
use super::command::{Command, Parsed};
use super::glob::Glob;
use super::keys::Keys;
use super::replies::{REPLY_TOO_LONG, count, encoded_len, error, ok, scanned, simple, strings};
use super::strings::{Condition, delex_condition};
use crate::codec::resp::Value;
use crate::kv::MAX_REPLY;

/// SCAN without its COUNT, which promises nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Scan<'a> {
    /// The cursor's words; 0 begins.
    pub(super) cursor: u64,
    pub(super) pattern: Option<&'a Bytes>,
    pub(super) only_type: Option<&'a Bytes>,
}

impl Scan<'_> {
    /// Those of `keys` that the call is about.
    pub(super) fn select<'k>(
        &self,
        keys: impl Iterator<Item = &'k Bytes>,
    ) -> impl Iterator<Item = &'k Bytes> {
        let of_type = self.only_type.is_none_or(|name| is(name, "string"));
        let glob = self.pattern.map(|pattern| Glob::new(pattern));
        keys.filter(move |key| of_type && glob.as_ref().is_none_or(|glob| glob.matches(key)))
    }
}

pub(super) fn parse<'a>(name: &[u8], arguments: &'a [Bytes]) -> Parsed<'a> {
    Ok(Some(match (name, arguments) {
        (b"copy", [from, to, options @ ..]) => copy(from, to, options)?,
        (b"dbsize", []) => Command::DbSize,
        (b"del" | b"unlink", keys @ [_, ..]) => Command::Del { keys },
        (b"delex", [key, options @ ..]) => Command::DelEx { key, condition: delex_condition(options)? },
        (b"exists" | b"touch", keys @ [_, ..]) => Command::Exists { keys },
        (b"flushall" | b"flushdb", []) => Command::FlushAll,
        (b"flushall" | b"flushdb", [how]) if is(how, "sync") || is(how, "async") => Command::FlushAll,
        (b"flushall" | b"flushdb", _) => return Err(SYNTAX.into()),
        (b"keys", [pattern]) => Command::Keys { pattern },
        (b"randomkey", []) => Command::RandomKey,
        (b"rename", [from, to]) => Command::Rename { from, to, only_if_new: false },
        (b"renamenx", [from, to]) => Command::Rename { from, to, only_if_new: true },
        (b"scan", [cursor, options @ ..]) => Command::Scan(scan(cursor, options)?),
        (b"type", [key]) => Command::Type { key },
        _ => return Ok(None),
    }))
}

fn scan<'a>(word: &Bytes, options: &'a [Bytes]) -> Result<Scan<'a>, Refusal> {
    let (cursor, mut pattern, mut only_type) = (cursor(word)?, None, None);
    for option in options.chunks(2) {
        let [name, value] = option else { return Err(SYNTAX.into()) };
        match &name.to_ascii_lowercase()[..] {
            b"count" if integer(value)? > 0 => {}
            b"match" => pattern = Some(value),
            b"type" => only_type = Some(value),
            _ => return Err(SYNTAX.into()),
        }
    }
    Ok(Scan { cursor, pattern, only_type })
}

/// There is one database, number 0.
fn copy<'a>(from: &'a Bytes, to: &'a Bytes, mut options: &[Bytes]) -> Result<Command<'a>, Refusal> {
    let mut replace = false;
    while let Some(option) = options.split_off_first() {
        if is(option, "replace") {
            replace = true;
        } else if is(option, "db")
            && let Some(number) = options.split_off_first()
        {
            match i32::try_from(integer(number)?) {
                Ok(0) => {}
                Ok(_) => return Err("ERR DB index is out of range".into()),
                Err(_) => return Err(NO_INT.into()),
            }
        } else {
            return Err(SYNTAX.into());
        }
    }
    if from == to {
        return Err("ERR source and destination objects are the same".into());
    }
    Ok(Command::Copy { from, to, replace })
}

const NO_INT: &str = "ERR value is out of range, value must between -2147483648 and 2147483647";

const NO_SUCH_KEY: &str = "ERR no such key";

const TOO_EXPENSIVE: &str = "ERR MATCH pattern is too expensive for a key";

impl Keys<'_> {
    pub(super) fn del(&mut self, keys: &[Bytes]) -> Value {
        count(keys.iter().filter(|&key| self.take(key).is_some()).count())
    }

    pub(super) fn delex(&mut self, key: &Bytes, condition: Option<Condition<'_>>) -> Value {
        let value = self.get(key);
        let is_done = value.is_some() && condition.is_none_or(|condition| condition.holds(value));
        count(usize::from(is_done && self.take(key).is_some()))
    }

    pub(super) fn exists(&self, keys: &[Bytes]) -> Value {
        count(keys.iter().filter(|&key| self.has(key)).count())
    }

    pub(super) fn kind(&self, key: &Bytes) -> Value {
        simple(if self.has(key) { "string" } else { "none" })
    }

    pub(super) fn rename(&mut self, from: &Bytes, to: &Bytes, only_if_new: bool) -> Value {
        let Some(entry) = self.entry(from).cloned() else { return error(NO_SUCH_KEY) };
        let is_done = !only_if_new || !self.has(to);
        if is_done && from != to {
            self.take(from);
            self.put(to, entry.value, entry.deadline);
        }
        if only_if_new { count(is_done.into()) } else { ok() }
    }

    pub(super) fn copy(&mut self, from: &Bytes, to: &Bytes, replace: bool) -> Value {
        let source = self.entry(from).cloned().filter(|_| replace || !self.has(to));
        let is_done = source.is_some();
        if let Some(source) = source {
            self.put(to, source.value, source.deadline);
        }
        count(is_done.into())
    }

    pub(super) fn flush(&mut self) -> Value {
        self.entries.clear();
        ok()
    }

    /// How many keys there are; where some are dead, also how many there are with these, which may be removed or not.
    pub(super) fn dbsize(&self) -> Value {
        let (live, all) = (count(self.live().count()), count(self.entries.len()));
        if live == all { live } else { Value::Array(vec![live, all]) }
    }

    /// All keys of the pattern, in their order.
    pub(super) fn keys(&self, pattern: &Bytes) -> Value {
        let glob = Glob::new(pattern);
        let keys = self.live().map(|(key, _)| key).filter(|key| glob.matches(key));
        let keys = Value::Array(keys.cloned().map(Value::Bulk).collect());
        if encoded_len(&keys) > MAX_REPLY { error(REPLY_TOO_LONG) } else { keys }
    }

    /// All keys that a call of SCAN may answer.
    pub(super) fn scan(&self, scan: &Scan<'_>) -> Value {
        let keys = scan.select(self.live().map(|(key, _)| key)).cloned().map(Value::Bulk).collect();
        Value::Array(vec![Value::Bulk(Bytes::from_static(b"0")), Value::Array(keys)])
    }

    /// All keys, of which one is to be answered.
    pub(super) fn random(&self) -> Value {
        let keys: Vec<_> = self.live().map(|(key, _)| Value::Bulk(key.clone())).collect();
        if keys.is_empty() { Value::Null } else { Value::Array(keys) }
    }
}

pub(super) fn admits_dbsize(expected: &Value, seen: &Value) -> bool {
    match (expected, seen) {
        (Value::Array(bounds), Value::Integer(seen)) => {
            matches!(bounds[..], [Value::Integer(live), Value::Integer(all)] if (live..=all).contains(seen))
        }
        _ => expected == seen,
    }
}

pub(super) fn admits_random(expected: &Value, seen: &Value) -> bool {
    if let Value::Array(keys) = expected { keys.contains(seen) } else { expected == seen }
}

pub(super) fn admits_keys(expected: &Value, seen: &Value) -> bool {
    match (strings(expected), strings(seen)) {
        (Some(expected), Some(mut seen)) => {
            seen.sort_unstable();
            seen == expected
        }
        _ => *seen == error(TOO_EXPENSIVE) || expected == seen,
    }
}

pub(super) fn admits_scan(scan: &Scan<'_>, expected: &Value, seen: &Value) -> bool {
    if *seen == error(TOO_EXPENSIVE) {
        return scan.pattern.is_some();
    }
    let (Some((_, there)), Some((cursor, returned))) = (scanned(expected), scanned(seen)) else {
        return false;
    };
    let distinct = distinct(returned.iter().copied());
    let is_whole = scan.cursor == 0 && &cursor[..] == b"0";
    distinct.len() == returned.len()
        && (!is_whole || distinct.len() == there.len())
        && distinct.iter().all(|key| there.binary_search(key).is_ok())
}
