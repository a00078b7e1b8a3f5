//! Strings: getting, setting, and what makes one longer.

use std::string::ToString;
use std::vec::Vec;

use bytes::Bytes;

use super::arguments::{NOT_A_NUMBER, Refusal, SYNTAX, TOO_LONG, integer, is, number, range, wrong_number};
use super::command::{Command, Parsed};
use super::expiry::{DeadlineOption, Lifetime, Until, deadline_option};
use super::float;
use super::keys::Keys;
use super::replies::{REPLY_TOO_LONG, bulk, count, encoded_len, error, ok};
use crate::codec::resp::Value;
use crate::kv::{MAX_REPLY, MAX_VALUE};

/// What must be true of a key before a command changes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Condition<'a> {
    /// NX.
    Absent,
    /// XX.
    Present,
    /// IFEQ: there, and with this value.
    Equal(&'a Bytes),
    /// IFNE: with another value, or absent.
    Differs(&'a Bytes),
}

impl<'a> Condition<'a> {
    pub(super) fn holds(self, value: Option<&Bytes>) -> bool {
        match self {
            Self::Absent => value.is_none(),
            Self::Present => value.is_some(),
            Self::Equal(wanted) => value == Some(wanted),
            Self::Differs(unwanted) => value != Some(unwanted),
        }
    }

    pub(super) const fn operand(&self) -> Option<&'a Bytes> {
        match *self {
            Self::Absent | Self::Present => None,
            Self::Equal(value) | Self::Differs(value) => Some(value),
        }
    }
}

/// SET, SETEX, PSETEX and GETSET.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Set<'a> {
    pub(super) key: &'a Bytes,
    pub(super) value: &'a Bytes,
    pub(super) condition: Option<Condition<'a>>,
    /// Answer the old value.
    pub(super) get: bool,
    pub(super) lifetime: Lifetime,
}

/// MSETEX, MSETNX and SETNX.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct MSetEx<'a> {
    pub(super) pairs: &'a [Bytes],
    /// Of all keys.
    pub(super) condition: Option<Condition<'a>>,
    pub(super) lifetime: Lifetime,
}

pub(super) fn parse<'a>(name: &[u8], arguments: &'a [Bytes]) -> Parsed<'a> {
    let plain = |key, value, get| Set { key, value, condition: None, get, lifetime: Lifetime::Endless };
    let until = |key, value, until| Set { lifetime: Lifetime::Until(until), ..plain(key, value, false) };
    Ok(Some(match (name, arguments) {
        (b"append", [key, tail]) => Command::Append { key, tail },
        (b"decr", [key]) => Command::IncrBy { key, by: -1 },
        (b"decrby", [key, by]) => {
            let by = integer(by)?.checked_neg().ok_or("ERR decrement would overflow")?;
            Command::IncrBy { key, by }
        }
        (b"get", [key]) => Command::Get { key },
        (b"getdel", [key]) => Command::GetDel { key },
        (b"getrange" | b"substr", [key, start, end]) => {
            Command::GetRange { key, start: integer(start)?, end: integer(end)? }
        }
        (b"getset", [key, value]) => Command::Set(plain(key, value, true)),
        (b"incr", [key]) => Command::IncrBy { key, by: 1 },
        (b"incrby", [key, by]) => Command::IncrBy { key, by: integer(by)? },
        (b"incrbyfloat", [key, by]) => Command::IncrByFloat { key, by },
        (b"mget", keys @ [_, ..]) => Command::MGet { keys },
        (b"mset", pairs @ [_, ..]) if pairs.len().is_multiple_of(2) => Command::MSet { pairs },
        (b"msetex", [count, rest @ ..]) if rest.len() >= 2 => Command::MSetEx(msetex(count, rest)?),
        (b"msetnx" | b"setnx", pairs @ [_, ..]) if pairs.len().is_multiple_of(2) => {
            let condition = Some(Condition::Absent);
            Command::MSetEx(MSetEx { pairs, condition, lifetime: Lifetime::Endless })
        }
        (b"psetex", [key, ms, value]) => {
            Command::Set(until(key, value, Until::after("psetex", 1, integer(ms)?)?))
        }
        (b"set", [key, value, options @ ..]) => {
            let options = Options::of(options)?;
            let (condition, get) = (options.condition, options.get);
            Command::Set(Set { key, value, condition, get, lifetime: options.lifetime("set")? })
        }
        (b"setex", [key, seconds, value]) => {
            Command::Set(until(key, value, Until::after("setex", 1000, integer(seconds)?)?))
        }
        (b"setrange", [key, offset, value]) => {
            let offset = integer(offset)?.try_into().map_err(|_| "ERR offset is out of range")?;
            Command::SetRange { key, offset, value }
        }
        (b"strlen", [key]) => Command::StrLen { key },
        _ => return Ok(None),
    }))
}

/// What may follow SET's value.
#[derive(Default)]
struct Options<'a> {
    condition: Option<Condition<'a>>,
    get: bool,
    keeps_ttl: bool,
    deadline: Option<DeadlineOption<'a>>,
}

impl<'a> Options<'a> {
    fn of(mut rest: &'a [Bytes]) -> Result<Self, Refusal> {
        let mut options = Self::default();
        while let Some(option) = rest.split_off_first() {
            if let Some(condition) = condition_option(option, &mut rest) {
                options.condition = Some(allowed(options.condition, condition)?);
            } else if is(option, "get") {
                options.get = true;
            } else if is(option, "keepttl") && options.deadline.is_none() {
                options.keeps_ttl = true;
            } else if !options.keeps_ttl
                && let Some(deadline) = deadline_option(option, &mut rest, &options.deadline)
            {
                options.deadline = Some(deadline);
            } else {
                return Err(SYNTAX.into());
            }
        }
        Ok(options)
    }

    fn lifetime(&self, command: &'static str) -> Result<Lifetime, Refusal> {
        match &self.deadline {
            Some(deadline) => deadline.until(command).map(Lifetime::Until),
            None if self.keeps_ttl => Ok(Lifetime::Kept),
            None => Ok(Lifetime::Endless),
        }
    }
}

fn msetex<'a>(number_of_keys: &Bytes, rest: &'a [Bytes]) -> Result<MSetEx<'a>, Refusal> {
    let keys = number(number_of_keys).filter(|keys| (1..=i64::from(i32::MAX)).contains(keys));
    let words = 2 * keys.ok_or("ERR invalid numkeys value")? as usize;
    let (pairs, options) = rest.split_at_checked(words).ok_or("ERR wrong number of key-value pairs")?;
    let options = Options::of(options)?;
    if options.get || options.condition.is_some_and(|condition| condition.operand().is_some()) {
        return Err(SYNTAX.into());
    }
    Ok(MSetEx { pairs, condition: options.condition, lifetime: options.lifetime("msetex")? })
}

/// NX, XX, IFEQ or IFNE; what it is compared with is taken off the `rest`.
fn condition_option<'a>(option: &Bytes, rest: &mut &'a [Bytes]) -> Option<Condition<'a>> {
    match &option.to_ascii_lowercase()[..] {
        b"nx" => Some(Condition::Absent),
        b"xx" => Some(Condition::Present),
        b"ifeq" => rest.split_off_first().map(Condition::Equal),
        b"ifne" => rest.split_off_first().map(Condition::Differs),
        _ => None,
    }
}

/// NX and XX may be said twice; otherwise there is one condition.
fn allowed<'a>(before: Option<Condition<'a>>, condition: Condition<'a>) -> Result<Condition<'a>, Refusal> {
    let is_fine = before.is_none_or(|before| before == condition && condition.operand().is_none());
    if is_fine { Ok(condition) } else { Err(SYNTAX.into()) }
}

/// What follows DELEX's key.
pub(super) fn delex_condition(options: &[Bytes]) -> Result<Option<Condition<'_>>, Refusal> {
    match options {
        [] => Ok(None),
        [name, value] if is(name, "ifeq") => Ok(Some(Condition::Equal(value))),
        [name, value] if is(name, "ifne") => Ok(Some(Condition::Differs(value))),
        [_, _] => Err(SYNTAX.into()),
        _ => Err(wrong_number(b"delex")),
    }
}

impl Keys<'_> {
    pub(super) fn mget(&self, keys: &[Bytes]) -> Value {
        let values = Value::Array(keys.iter().map(|key| bulk(self.get(key))).collect());
        if encoded_len(&values) > MAX_REPLY { error(REPLY_TOO_LONG) } else { values }
    }

    pub(super) fn set(&mut self, set: &Set<'_>) -> Value {
        let lifetime = match self.lifetime(set.key, &set.lifetime) {
            Ok(deadline) => deadline,
            Err(text) => return Value::Error(text),
        };
        let old = bulk(self.get(set.key));
        let is_done = set.condition.is_none_or(|condition| condition.holds(self.get(set.key)));
        if is_done {
            self.put(set.key, set.value.clone(), lifetime);
        }
        match (set.get, is_done) {
            (true, _) => old,
            (false, true) => ok(),
            (false, false) => Value::Null,
        }
    }

    pub(super) fn msetex(&mut self, msetex: &MSetEx<'_>) -> Value {
        let MSetEx { pairs, condition, lifetime } = msetex;
        if let Err(text) = self.lifetime(&pairs[0], lifetime) {
            return Value::Error(text);
        }
        let may = |pair: &[Bytes]| condition.is_none_or(|condition| condition.holds(self.get(&pair[0])));
        let is_done = pairs.chunks(2).all(may);
        for pair in pairs.chunks(2).filter(|_| is_done) {
            let deadline = self.lifetime(&pair[0], lifetime).unwrap_or(None);
            self.put(&pair[0], pair[1].clone(), deadline);
        }
        count(is_done.into())
    }

    pub(super) fn append(&mut self, key: &Bytes, tail: &Bytes) -> Value {
        let value = self.get(key).cloned().unwrap_or_default();
        self.grown(key, value.len() as u64, &value, tail)
    }

    pub(super) fn setrange(&mut self, key: &Bytes, offset: u64, patch: &Bytes) -> Value {
        let value = self.get(key).cloned().unwrap_or_default();
        if patch.is_empty() { count(value.len()) } else { self.grown(key, offset, &value, patch) }
    }

    /// Writes `patch` over `value` from `offset` on, with zeros where there was nothing.
    fn grown(&mut self, key: &Bytes, offset: u64, value: &[u8], patch: &[u8]) -> Value {
        let end = u128::from(offset) + patch.len() as u128;
        if end > MAX_VALUE as u128 {
            return error(TOO_LONG);
        }
        let mut value = Vec::from(value);
        value.resize(value.len().max(end as usize), 0);
        value[offset as usize..end as usize].copy_from_slice(patch);
        let len = value.len();
        self.rewrite(key, value.into());
        count(len)
    }

    pub(super) fn incrby(&mut self, key: &Bytes, by: i64) -> Value {
        let Some(old) = self.get(key).map_or(Some(0), |value| number(value)) else {
            return error(NOT_A_NUMBER);
        };
        let Some(sum) = old.checked_add(by) else {
            return error("ERR increment or decrement would overflow");
        };
        self.rewrite(key, sum.to_string().into());
        Value::Integer(sum)
    }

    pub(super) fn incrbyfloat(&mut self, key: &Bytes, by: &Bytes) -> Value {
        let old = self.get(key).cloned().unwrap_or(Bytes::from_static(b"0"));
        match float::sum(&old, by) {
            Ok(sum) => {
                self.rewrite(key, sum.clone().into());
                Value::Bulk(sum.into())
            }
            Err(text) => error(text),
        }
    }

    pub(super) fn getrange(&self, key: &Bytes, start: i64, end: i64) -> Value {
        let value = self.get(key).cloned().unwrap_or_default();
        let is_backwards = start < 0 && end < 0 && start > end;
        let bytes = range(value.len(), start, end).filter(|_| !is_backwards);
        Value::Bulk(bytes.map(|bytes| value.slice(bytes)).unwrap_or_default())
    }
}
