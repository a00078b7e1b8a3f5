//! What a command's words mean, by Redis's documentation.

use std::vec::Vec;

use bytes::Bytes;

use super::arguments::{Refusal, Word, unknown, wrong_number};
use super::expiry::{Expire, GetEx, Lifetime, Ttl};
use super::keyspace::Scan;
use super::lcs::Lcs;
use super::strings::{Condition, MSetEx, Set};
use super::{bits, expiry, keyspace, lcs, strings};

/// A command of the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Command<'a> {
    Append {
        key: &'a Bytes,
        tail: &'a Bytes,
    },
    BitCount {
        key: &'a Bytes,
        range: &'a [Bytes],
    },
    BitPos {
        key: &'a Bytes,
        bit: bool,
        range: &'a [Bytes],
    },
    Copy {
        from: &'a Bytes,
        to: &'a Bytes,
        replace: bool,
    },
    DbSize,
    /// DEL and UNLINK.
    Del {
        keys: &'a [Bytes],
    },
    DelEx {
        key: &'a Bytes,
        condition: Option<Condition<'a>>,
    },
    /// EXISTS and TOUCH.
    Exists {
        keys: &'a [Bytes],
    },
    Expire(Expire<'a>),
    FlushAll,
    Get {
        key: &'a Bytes,
    },
    GetBit {
        key: &'a Bytes,
        offset: u64,
    },
    GetDel {
        key: &'a Bytes,
    },
    GetEx(GetEx<'a>),
    GetRange {
        key: &'a Bytes,
        start: i64,
        end: i64,
    },
    IncrBy {
        key: &'a Bytes,
        by: i64,
    },
    IncrByFloat {
        key: &'a Bytes,
        by: &'a Bytes,
    },
    Keys {
        pattern: &'a Bytes,
    },
    Lcs(Lcs<'a>),
    MGet {
        keys: &'a [Bytes],
    },
    MSet {
        pairs: &'a [Bytes],
    },
    /// MSETNX and SETNX too.
    MSetEx(MSetEx<'a>),
    Persist {
        key: &'a Bytes,
    },
    RandomKey,
    Rename {
        from: &'a Bytes,
        to: &'a Bytes,
        only_if_new: bool,
    },
    Scan(Scan<'a>),
    Set(Set<'a>),
    SetBit {
        key: &'a Bytes,
        offset: u64,
        bit: bool,
    },
    SetRange {
        key: &'a Bytes,
        offset: u64,
        value: &'a Bytes,
    },
    StrLen {
        key: &'a Bytes,
    },
    Ttl {
        key: &'a Bytes,
        ttl: Ttl,
    },
    Type {
        key: &'a Bytes,
    },
}

/// What a command's words are: `None` if they are not one of the commands that were looked for.
pub(super) type Parsed<'a> = Result<Option<Command<'a>>, Refusal>;

/// All names, and how many words each command has, its name among them; so many or more, if negative.
pub(super) const KNOWN: [(&str, i32); 51] = [
    ("append", 3),
    ("bitcount", -2),
    ("bitpos", -3),
    ("copy", -3),
    ("dbsize", 1),
    ("decr", 2),
    ("decrby", 3),
    ("del", -2),
    ("delex", -2),
    ("exists", -2),
    ("expire", -3),
    ("expireat", -3),
    ("expiretime", 2),
    ("flushall", -1),
    ("flushdb", -1),
    ("get", 2),
    ("getbit", 3),
    ("getdel", 2),
    ("getex", -2),
    ("getrange", 4),
    ("getset", 3),
    ("incr", 2),
    ("incrby", 3),
    ("incrbyfloat", 3),
    ("keys", 2),
    ("lcs", -3),
    ("mget", -2),
    ("mset", -3),
    ("msetex", -4),
    ("msetnx", -3),
    ("persist", 2),
    ("pexpire", -3),
    ("pexpireat", -3),
    ("pexpiretime", 2),
    ("psetex", 4),
    ("pttl", 2),
    ("randomkey", 1),
    ("rename", 3),
    ("renamenx", 3),
    ("scan", -2),
    ("set", -3),
    ("setbit", 4),
    ("setex", 4),
    ("setnx", 3),
    ("setrange", 4),
    ("strlen", 2),
    ("substr", 4),
    ("touch", -2),
    ("ttl", 2),
    ("type", 2),
    ("unlink", -2),
];

impl<'a> Command<'a> {
    /// The command that `words` are, or the error that they are answered.
    pub(super) fn of(words: &'a [Bytes]) -> Result<Self, Refusal> {
        let (name, arguments) = words.split_first().ok_or("ERR empty command")?;
        let name = &name.to_ascii_lowercase()[..];
        unfit(words).map_or(Ok(()), Err)?;
        for parse in [strings::parse, expiry::parse, keyspace::parse, bits::parse, lcs::parse] {
            if let Some(command) = parse(name, arguments)? {
                command.words().into_iter().try_for_each(Word::check_length)?;
                return Ok(command);
            }
        }
        // The pairs of MSET that are not whole.
        Err(wrong_number(name))
    }

    /// Whether it leaves the store as it is.
    pub(super) fn is_read(&self) -> bool {
        match self {
            Self::GetEx(GetEx { lifetime, .. }) => matches!(lifetime, Lifetime::Kept),
            Self::BitCount { .. }
            | Self::BitPos { .. }
            | Self::DbSize
            | Self::Exists { .. }
            | Self::Get { .. }
            | Self::GetBit { .. }
            | Self::GetRange { .. }
            | Self::Keys { .. }
            | Self::Lcs(_)
            | Self::MGet { .. }
            | Self::RandomKey
            | Self::Scan(_)
            | Self::StrLen { .. }
            | Self::Ttl { .. }
            | Self::Type { .. } => true,
            Self::Append { .. }
            | Self::Copy { .. }
            | Self::Del { .. }
            | Self::DelEx { .. }
            | Self::Expire(_)
            | Self::FlushAll
            | Self::GetDel { .. }
            | Self::IncrBy { .. }
            | Self::IncrByFloat { .. }
            | Self::MSet { .. }
            | Self::MSetEx(_)
            | Self::Persist { .. }
            | Self::Rename { .. }
            | Self::Set(_)
            | Self::SetBit { .. }
            | Self::SetRange { .. } => false,
        }
    }

    /// Whether it may give a key a deadline.
    pub(super) fn sets_deadline(&self) -> bool {
        let is_until = |lifetime: &Lifetime| matches!(lifetime, Lifetime::Until(_));
        match self {
            Self::Expire(_) => true,
            Self::GetEx(GetEx { lifetime, .. }) => is_until(lifetime),
            Self::MSetEx(MSetEx { lifetime, .. }) | Self::Set(Set { lifetime, .. }) => is_until(lifetime),
            _ => false,
        }
    }

    /// Its keys and values, in their order.
    pub(super) fn words(&self) -> Vec<Word<'a>> {
        use Word::{Key, Value};
        let pairs = |pairs: &'a [Bytes]| {
            pairs.chunks(2).flat_map(|pair| [Key(&pair[0]), Value(&pair[1])]).collect::<Vec<_>>()
        };
        match *self {
            Self::DbSize | Self::FlushAll | Self::RandomKey => Vec::new(),
            Self::Del { keys } | Self::Exists { keys } | Self::MGet { keys } => {
                keys.iter().map(Key).collect()
            }
            Self::BitCount { key, .. }
            | Self::BitPos { key, .. }
            | Self::Expire(Expire { key, .. })
            | Self::Get { key }
            | Self::GetBit { key, .. }
            | Self::GetDel { key }
            | Self::GetEx(GetEx { key, .. })
            | Self::GetRange { key, .. }
            | Self::IncrBy { key, .. }
            | Self::Persist { key }
            | Self::SetBit { key, .. }
            | Self::StrLen { key }
            | Self::Ttl { key, .. }
            | Self::Type { key } => std::vec![Key(key)],
            Self::Append { key, tail: value }
            | Self::IncrByFloat { key, by: value }
            | Self::SetRange { key, value, .. } => std::vec![Key(key), Value(value)],
            Self::Copy { from, to, .. } | Self::Rename { from, to, .. } => std::vec![Key(from), Key(to)],
            Self::DelEx { key, ref condition } => {
                let operand = condition.as_ref().and_then(Condition::operand);
                core::iter::once(Key(key)).chain(operand.map(Value)).collect()
            }
            Self::Keys { pattern } => std::vec![Value(pattern)],
            Self::Lcs(Lcs { a, b, .. }) => std::vec![Key(a), Key(b)],
            Self::MSet { pairs: all } => pairs(all),
            Self::MSetEx(MSetEx { pairs: all, .. }) => pairs(all),
            Self::Scan(Scan { pattern, only_type, .. }) => {
                [pattern, only_type].into_iter().flatten().map(Value).collect()
            }
            Self::Set(Set { key, value, ref condition, .. }) => {
                let operand = condition.as_ref().and_then(Condition::operand);
                [Key(key), Value(value)].into_iter().chain(operand.map(Value)).collect()
            }
        }
    }

    /// Its keys, in their order.
    pub(super) fn keys(&self) -> Vec<&'a Bytes> {
        let key = |word| if let Word::Key(key) = word { Some(key) } else { None };
        self.words().into_iter().filter_map(key).collect()
    }
}

/// What a command is answered that cannot even be queued: its name is unknown, or not for so many words.
pub(super) fn unfit(words: &[Bytes]) -> Option<Refusal> {
    let name = words.first().map(|name| name.to_ascii_lowercase()).unwrap_or_default();
    let Some((_, arity)) = KNOWN.iter().find(|(known, _)| known.as_bytes() == name) else {
        return Some(unknown(words));
    };
    let least = arity.unsigned_abs() as usize;
    let is_fit = if *arity < 0 { words.len() >= least } else { words.len() == least };
    (!is_fit).then(|| wrong_number(&name))
}
