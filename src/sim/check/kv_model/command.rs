//! What a command's words mean, by Redis's documentation, and what Redis says to words that mean nothing.

use std::format;
use std::string::{String, ToString};
use std::vec::Vec;

use bytes::Bytes;

use super::glob::Glob;
use crate::kv::{MAX_KEY, MAX_VALUE};

/// A command of the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Command<'a> {
    Append { key: &'a Bytes, tail: &'a Bytes },
    DbSize,
    Del { keys: &'a [Bytes] },
    Exists { keys: &'a [Bytes] },
    Get { key: &'a Bytes },
    GetDel { key: &'a Bytes },
    GetRange { key: &'a Bytes, start: i64, end: i64 },
    IncrBy { key: &'a Bytes, by: i64 },
    MGet { keys: &'a [Bytes] },
    MSet { pairs: &'a [Bytes] },
    Scan(Scan<'a>),
    Set(Set<'a>),
    SetNx { key: &'a Bytes, value: &'a Bytes },
    StrLen { key: &'a Bytes },
}

/// SET and GETSET.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Set<'a> {
    pub(super) key: &'a Bytes,
    pub(super) value: &'a Bytes,
    /// Whether the key must be there (XX) or must not (NX).
    pub(super) only_if_there: Option<bool>,
    /// Answer the old value.
    pub(super) get: bool,
}

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
        let of_type = self.only_type.is_none_or(|name| name.eq_ignore_ascii_case(b"string"));
        let glob = self.pattern.map(|pattern| Glob::new(pattern));
        keys.filter(move |key| of_type && glob.as_ref().is_none_or(|glob| glob.matches(key)))
    }
}

impl<'a> Command<'a> {
    /// Whether it leaves the store as it is.
    pub(super) const fn is_read(&self) -> bool {
        match self {
            Self::DbSize
            | Self::Exists { .. }
            | Self::Get { .. }
            | Self::GetRange { .. }
            | Self::MGet { .. }
            | Self::Scan(_)
            | Self::StrLen { .. } => true,
            Self::Append { .. }
            | Self::Del { .. }
            | Self::GetDel { .. }
            | Self::IncrBy { .. }
            | Self::MSet { .. }
            | Self::Set(_)
            | Self::SetNx { .. } => false,
        }
    }

    /// The command that `words` are, or the error that they are answered.
    pub(super) fn of(words: &'a [Bytes]) -> Result<Self, String> {
        let (name, arguments) = words.split_first().ok_or("ERR empty command")?;
        let name = name.to_ascii_lowercase();
        let arity =
            || format!("ERR wrong number of arguments for '{}' command", String::from_utf8_lossy(&name));
        let command = match (&name[..], arguments) {
            (b"append", [key, tail]) => Self::Append { key, tail },
            (b"dbsize", []) => Self::DbSize,
            (b"decr", [key]) => Self::IncrBy { key, by: -1 },
            (b"decrby", [key, by]) => {
                let by = integer(by)?.checked_neg().ok_or("ERR decrement would overflow")?;
                Self::IncrBy { key, by }
            }
            (b"del", keys @ [_, ..]) => Self::Del { keys },
            (b"exists", keys @ [_, ..]) => Self::Exists { keys },
            (b"get", [key]) => Self::Get { key },
            (b"getdel", [key]) => Self::GetDel { key },
            (b"getrange" | b"substr", [key, start, end]) => {
                Self::GetRange { key, start: integer(start)?, end: integer(end)? }
            }
            (b"getset", [key, value]) => Self::Set(Set { key, value, only_if_there: None, get: true }),
            (b"incr", [key]) => Self::IncrBy { key, by: 1 },
            (b"incrby", [key, by]) => Self::IncrBy { key, by: integer(by)? },
            (b"mget", keys @ [_, ..]) => Self::MGet { keys },
            (b"mset", pairs @ [_, ..]) if pairs.len().is_multiple_of(2) => Self::MSet { pairs },
            (b"scan", [cursor, options @ ..]) => Self::Scan(scan(cursor, options)?),
            (b"set", [key, value, options @ ..]) => Self::Set(set(key, value, options)?),
            (b"setnx", [key, value]) => Self::SetNx { key, value },
            (b"strlen", [key]) => Self::StrLen { key },
            (known, _) if KNOWN.contains(&known) => return Err(arity()),
            _ => return Err(unknown(words)),
        };
        command.check_lengths()?;
        Ok(command)
    }

    fn check_lengths(&self) -> Result<(), String> {
        let keys = |keys: &[Bytes]| keys.iter().try_for_each(check_key);
        match self {
            Self::DbSize => Ok(()),
            Self::Del { keys: all } | Self::Exists { keys: all } | Self::MGet { keys: all } => keys(all),
            Self::Get { key }
            | Self::GetDel { key }
            | Self::GetRange { key, .. }
            | Self::IncrBy { key, .. }
            | Self::StrLen { key } => check_key(key),
            Self::Append { key, tail: value }
            | Self::Set(Set { key, value, .. })
            | Self::SetNx { key, value } => {
                check_key(key)?;
                check_value(value)
            }
            Self::MSet { pairs } => pairs.chunks(2).try_for_each(|pair| {
                check_key(&pair[0])?;
                check_value(&pair[1])
            }),
            Self::Scan(scan) => {
                [scan.pattern, scan.only_type].into_iter().flatten().try_for_each(check_value)
            }
        }
    }
}

/// All names.
pub(super) const KNOWN: [&[u8]; 19] = [
    b"append",
    b"dbsize",
    b"decr",
    b"decrby",
    b"del",
    b"exists",
    b"get",
    b"getdel",
    b"getrange",
    b"getset",
    b"incr",
    b"incrby",
    b"mget",
    b"mset",
    b"scan",
    b"set",
    b"setnx",
    b"strlen",
    b"substr",
];

/// A value that is a number by Redis's rule: written as the number is.
pub(super) fn number(text: &[u8]) -> Option<i64> {
    let number: i64 = core::str::from_utf8(text).ok()?.parse().ok()?;
    (number.to_string().as_bytes() == text).then_some(number)
}

fn integer(argument: &[u8]) -> Result<i64, String> {
    number(argument).ok_or_else(|| NOT_A_NUMBER.into())
}

pub(super) const NOT_A_NUMBER: &str = "ERR value is not an integer or out of range";

pub(super) const TOO_LONG: &str = "ERR string exceeds maximum allowed size (proto-max-bulk-len)";

const SYNTAX: &str = "ERR syntax error";

fn check_key(key: &Bytes) -> Result<(), String> {
    if key.len() > MAX_KEY {
        return Err(format!("ERR key exceeds maximum allowed size ({MAX_KEY} bytes)"));
    }
    Ok(())
}

fn check_value(value: &Bytes) -> Result<(), String> {
    if value.len() > MAX_VALUE { Err(TOO_LONG.into()) } else { Ok(()) }
}

fn set<'a>(key: &'a Bytes, value: &'a Bytes, options: &[Bytes]) -> Result<Set<'a>, String> {
    let (mut only_if_there, mut get) = (None, false);
    for option in options {
        match &option.to_ascii_lowercase()[..] {
            b"nx" if only_if_there != Some(true) => only_if_there = Some(false),
            b"xx" if only_if_there != Some(false) => only_if_there = Some(true),
            b"get" => get = true,
            // There are no deadlines that could be kept.
            b"keepttl" => {}
            _ => return Err(SYNTAX.into()),
        }
    }
    Ok(Set { key, value, only_if_there, get })
}

fn scan<'a>(cursor: &Bytes, options: &'a [Bytes]) -> Result<Scan<'a>, String> {
    let cursor = cursor_of(cursor).ok_or("ERR invalid cursor")?;
    let (mut pattern, mut only_type) = (None, None);
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

/// A cursor by C's `strtoul`, which takes signs, and no digits at all if there is nothing else either.
fn cursor_of(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return Some(0);
    }
    let text = core::str::from_utf8(text).ok()?;
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let number: u64 = digits.parse().ok().filter(|_| digits.bytes().all(|b| b.is_ascii_digit()))?;
    Some(if text.starts_with('-') { number.wrapping_neg() } else { number })
}

/// Redis shows 128 bytes of the name and, quoted, about as many of the arguments.
fn unknown(words: &[Bytes]) -> String {
    let shown =
        |word: &[u8], most: usize| String::from_utf8_lossy(&word[..word.len().min(most)]).into_owned();
    let mut arguments = String::new();
    for word in words.iter().skip(1) {
        if arguments.len() >= 128 {
            break;
        }
        let left = 128 - arguments.len();
        arguments += &format!("'{}' ", shown(word, left));
    }
    let name = words.first().map(|name| shown(name, 128)).unwrap_or_default();
    format!("ERR unknown command '{name}', with args beginning with: {arguments}").replace(['\r', '\n'], " ")
}

/// The distinct keys among `keys`.
pub(super) fn distinct(keys: &[Bytes]) -> Vec<&Bytes> {
    let mut distinct: Vec<&Bytes> = keys.iter().collect();
    distinct.sort_unstable();
    distinct.dedup();
    distinct
}
