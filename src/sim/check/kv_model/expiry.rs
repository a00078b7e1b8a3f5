//! Deadlines, in the log's time.

use std::format;

use bytes::Bytes;

use super::arguments::{Refusal, SYNTAX, about, integer, is};
use super::command::{Command, Parsed};
use super::keys::Keys;
use super::replies::{bulk, count};
use crate::codec::resp::Value;

/// A deadline that a command names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Until {
    /// Milliseconds from the beginning of Unix time, or from the command on.
    ms: i64,
    is_relative: bool,
    /// The command, in the words of the error.
    command: &'static str,
}

/// How long a key lives that a command writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Lifetime {
    /// Until somebody deletes it.
    Endless,
    /// As long as it would have lived without the command.
    Kept,
    /// Until a deadline.
    Until(Until),
}

/// EXPIRE, PEXPIRE, EXPIREAT and PEXPIREAT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Expire<'a> {
    pub(super) key: &'a Bytes,
    until: Until,
    only: Only,
}

/// What must be true of a key's deadline before EXPIRE changes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Only {
    /// NX: it has none.
    if_none: bool,
    /// XX: it has one.
    if_some: bool,
    /// GT: it is earlier; none is later than all.
    if_later: bool,
    /// LT: it is later.
    if_earlier: bool,
}

/// GETEX.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct GetEx<'a> {
    pub(super) key: &'a Bytes,
    pub(super) lifetime: Lifetime,
}

/// What is asked of a deadline by TTL and its like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ttl {
    /// The time itself instead of what is left.
    pub(super) is_absolute: bool,
    in_seconds: bool,
}

/// EX, PX, EXAT or PXAT and its number, not looked at yet.
#[derive(Debug, Clone)]
pub(super) struct DeadlineOption<'a> {
    name: &'static str,
    number: &'a Bytes,
}

pub(super) fn parse<'a>(name: &[u8], arguments: &'a [Bytes]) -> Parsed<'a> {
    let expire = |command, unit, is_relative| {
        let [key, number, only @ ..] = arguments else { return Ok(None) };
        let only = only_if(only)?;
        let until = Until::new(command, unit, is_relative, integer(number)?)?;
        Ok(Some(Command::Expire(Expire { key, until, only })))
    };
    let ttl = |is_absolute, in_seconds| {
        let [key] = arguments else { return Ok(None) };
        Ok(Some(Command::Ttl { key, ttl: Ttl { is_absolute, in_seconds } }))
    };
    match (name, arguments) {
        (b"expire", _) => expire("expire", 1000, true),
        (b"expireat", _) => expire("expireat", 1000, false),
        (b"pexpire", _) => expire("pexpire", 1, true),
        (b"pexpireat", _) => expire("pexpireat", 1, false),
        (b"ttl", _) => ttl(false, true),
        (b"pttl", _) => ttl(false, false),
        (b"expiretime", _) => ttl(true, true),
        (b"pexpiretime", _) => ttl(true, false),
        (b"persist", [key]) => Ok(Some(Command::Persist { key })),
        (b"getex", [key, options @ ..]) => Ok(Some(Command::GetEx(GetEx { key, lifetime: getex(options)? }))),
        _ => Ok(None),
    }
}

fn only_if(options: &[Bytes]) -> Result<Only, Refusal> {
    let mut only = Only::default();
    for option in options {
        match &option.to_ascii_lowercase()[..] {
            b"nx" => only.if_none = true,
            b"xx" => only.if_some = true,
            b"gt" => only.if_later = true,
            b"lt" => only.if_earlier = true,
            _ => return Err(about("ERR Unsupported option ", option)),
        }
    }
    let Only { if_none, if_some, if_later, if_earlier } = only;
    if if_none && (if_some || if_later || if_earlier) {
        return Err("ERR NX and XX, GT or LT options at the same time are not compatible".into());
    }
    if if_later && if_earlier {
        return Err("ERR GT and LT options at the same time are not compatible".into());
    }
    Ok(only)
}

/// Unlike Redis 7.0 the store looks at the number whether the key is there or not.
fn getex(options: &[Bytes]) -> Result<Lifetime, Refusal> {
    let (mut rest, mut deadline, mut persists) = (options, None, false);
    while let Some(option) = rest.split_off_first() {
        if is(option, "persist") && deadline.is_none() {
            persists = true;
        } else if !persists && let Some(found) = deadline_option(option, &mut rest, &deadline) {
            deadline = Some(found);
        } else {
            return Err(SYNTAX.into());
        }
    }
    Ok(match deadline {
        Some(deadline) => Lifetime::Until(deadline.until("getex")?),
        None if persists => Lifetime::Endless,
        None => Lifetime::Kept,
    })
}

/// EX, PX, EXAT or PXAT, whose number is taken off the `rest`. One may follow itself, but no other.
pub(super) fn deadline_option<'a>(
    option: &Bytes,
    rest: &mut &'a [Bytes],
    before: &Option<DeadlineOption<'_>>,
) -> Option<DeadlineOption<'a>> {
    let name = ["ex", "px", "exat", "pxat"].into_iter().find(|name| is(option, name))?;
    if before.as_ref().is_some_and(|before| before.name != name) {
        return None;
    }
    rest.split_off_first().map(|number| DeadlineOption { name, number })
}

impl DeadlineOption<'_> {
    pub(super) fn until(&self, command: &'static str) -> Result<Until, Refusal> {
        let unit = if self.name.starts_with('e') { 1000 } else { 1 };
        let until = Until::new(command, unit, !self.name.ends_with("at"), integer(self.number)?)?;
        if until.ms > 0 { Ok(until) } else { Err(until.error()) }
    }
}

impl Until {
    fn new(command: &'static str, unit: i64, is_relative: bool, number: i64) -> Result<Self, Refusal> {
        let mut until = Self { ms: 0, is_relative, command };
        until.ms = number.checked_mul(unit).ok_or_else(|| until.error())?;
        Ok(until)
    }

    /// So many units from the command on, which must be more than none.
    pub(super) fn after(command: &'static str, unit: i64, number: i64) -> Result<Self, Refusal> {
        let until = Self::new(command, unit, true, number)?;
        if until.ms > 0 { Ok(until) } else { Err(until.error()) }
    }

    fn error(&self) -> Refusal {
        format!("ERR invalid expire time in '{}' command", self.command).into()
    }

    fn deadline(&self, now: i64) -> Result<i64, Refusal> {
        let base = if self.is_relative { now } else { 0 };
        self.ms.checked_add(base).ok_or_else(|| self.error())
    }
}

impl Keys<'_> {
    /// The deadline of a key that is written.
    pub(super) fn lifetime(&self, key: &Bytes, lifetime: &Lifetime) -> Result<Option<i64>, Refusal> {
        match lifetime {
            Lifetime::Endless => Ok(None),
            Lifetime::Kept => Ok(self.deadline(key)),
            Lifetime::Until(until) => until.deadline(self.now()).map(Some),
        }
    }

    /// Gives a live key a deadline; one that has passed takes it away.
    fn end(&mut self, key: &Bytes, deadline: i64) {
        let Some(entry) = self.take(key) else { return };
        if deadline > self.now() {
            self.put(key, entry.value, Some(deadline));
        }
    }

    pub(super) fn expire(&mut self, expire: &Expire<'_>) -> Value {
        let Expire { key, until, only } = expire;
        let deadline = match until.deadline(self.now()) {
            Ok(deadline) => deadline,
            Err(text) => return Value::Error(text),
        };
        let old = self.deadline(key);
        let is_refused = !self.has(key)
            || (only.if_none && old.is_some())
            || (only.if_some && old.is_none())
            || (only.if_later && old.is_none_or(|old| deadline <= old))
            || (only.if_earlier && old.is_some_and(|old| deadline >= old));
        if !is_refused {
            self.end(key, deadline);
        }
        count(usize::from(!is_refused))
    }

    pub(super) fn persist(&mut self, key: &Bytes) -> Value {
        let Some(entry) = self.entry(key).filter(|entry| entry.deadline.is_some()) else { return count(0) };
        let value = entry.value.clone();
        self.put(key, value, None);
        count(1)
    }

    pub(super) fn getex(&mut self, getex: &GetEx<'_>) -> Value {
        let value = bulk(self.get(getex.key));
        if value == Value::Null {
            return value;
        }
        let deadline = match &getex.lifetime {
            Lifetime::Kept => return value,
            Lifetime::Endless => {
                self.persist(getex.key);
                return value;
            }
            Lifetime::Until(until) => until.deadline(self.now()),
        };
        match deadline {
            Ok(deadline) => {
                self.end(getex.key, deadline);
                value
            }
            Err(text) => Value::Error(text),
        }
    }

    /// What is left at most, since the clock may have gone on; or the deadline itself.
    pub(super) fn ttl(&self, key: &Bytes, ttl: Ttl) -> Value {
        let Some(entry) = self.entry(key) else { return Value::Integer(-2) };
        let Some(deadline) = entry.deadline else { return Value::Integer(-1) };
        let ms = if ttl.is_absolute { deadline } else { deadline - self.now() };
        Value::Integer(if ttl.in_seconds { ((i128::from(ms) + 500) / 1000) as i64 } else { ms })
    }
}
