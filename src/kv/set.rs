//! SET with its options, SETEX, PSETEX, MSETEX and DELEX: writes that look first.

use alloc::vec::Vec;

use bytes::Bytes;

use super::error::CommandError;
use super::lifetime::{Lifetime, LifetimeOption, Unit};
use super::number::parse_i64;
use super::packed::{Fields, Packer, SetFlags, Unpacker, Write, opcode};
use super::parse::{Call, Parsed, bounded_value, key, pack_set, value};
use super::record::Meta;
use super::reply;
use super::store::KvStore;
use crate::replica::Context;

/// What must be true of a key's value: Redis 8.4's compare-and-set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compare<'a> {
    /// Nothing.
    Any,
    /// It is this. A key that is not there has no value.
    Equal(&'a [u8]),
    /// It is not this.
    Unequal(&'a [u8]),
}

impl<'a> Compare<'a> {
    /// Takes the option `name` with its value; `None` if it is no such option, or the second.
    fn take(&mut self, name: &[u8], next: Option<&'a Bytes>) -> Option<Result<(), CommandError>> {
        let is = |option: &str| name.eq_ignore_ascii_case(option.as_bytes());
        if *self != Self::Any || !(is("ifeq") || is("ifne")) {
            return None;
        }
        Some(bounded_value(next?).map(|text| {
            *self = if is("ifeq") { Self::Equal(text) } else { Self::Unequal(text) };
        }))
    }

    fn holds_of(self, value: Option<&[u8]>) -> bool {
        match self {
            Self::Any => true,
            Self::Equal(text) => value == Some(text),
            Self::Unequal(text) => value != Some(text),
        }
    }

    fn room(self) -> usize {
        match self {
            Self::Any => 1,
            Self::Equal(text) | Self::Unequal(text) => 1 + Packer::room(text),
        }
    }

    fn pack(self, to: Packer) -> Packer {
        match self {
            Self::Any => to.byte(0),
            Self::Equal(text) => to.byte(1).bytes(text),
            Self::Unequal(text) => to.byte(2).bytes(text),
        }
    }

    fn unpack(from: &mut Unpacker<'a>) -> Option<Self> {
        Some(match from.byte()? {
            0 => Self::Any,
            1 => Self::Equal(from.value()?),
            2 => Self::Unequal(from.value()?),
            _ => return None,
        })
    }
}

/// The arguments of SET, of which a plain SET needs no more than flags.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Set<'a> {
    pub(super) flags: SetFlags,
    pub(super) compare: Compare<'a>,
    pub(super) lifetime: Lifetime,
    pub(super) key: &'a [u8],
    pub(super) value: &'a [u8],
}

pub(super) fn set(args: &[Bytes]) -> Parsed {
    let (mut flags, mut time, mut compare) = (SetFlags::default(), LifetimeOption::default(), Compare::Any);
    let mut at = 3;
    while let Some(option) = args.get(at) {
        let (next, is) = (args.get(at + 1), |name: &str| option.eq_ignore_ascii_case(name.as_bytes()));
        let condition = |other: SetFlags| !flags.has(other) && compare == Compare::Any;
        at += if is("nx") && condition(SetFlags::XX) {
            flags = flags.with(SetFlags::NX);
            1
        } else if is("xx") && condition(SetFlags::NX) {
            flags = flags.with(SetFlags::XX);
            1
        } else if is("get") {
            flags = flags.with(SetFlags::GET);
            1
        } else if is("persist") {
            return Err(CommandError::Syntax);
        } else if let Some(words) = time.take(option, next) {
            words
        } else if !flags.has(SetFlags::NX)
            && !flags.has(SetFlags::XX)
            && let Some(taken) = compare.take(option, next)
        {
            taken?;
            2
        } else {
            return Err(CommandError::Syntax);
        };
    }
    match time.lifetime("set")? {
        Lifetime::Forever if compare == Compare::Any => pack_set(flags, args),
        Lifetime::Kept if compare == Compare::Any => pack_set(flags.with(SetFlags::KEEPTTL), args),
        lifetime => pack(Set { flags, compare, lifetime, key: key(args, 1)?, value: value(args, 2)? }),
    }
}

fn pack(set: Set<'_>) -> Parsed {
    let Set { flags, compare, lifetime, key, value } = set;
    let room = 1 + compare.room() + Lifetime::ROOM + Packer::room(key) + Packer::room(value);
    let to = compare.pack(Packer::new(opcode::SET_WITH, room).byte(flags.byte()));
    Ok(Call::Write(lifetime.pack(to).bytes(key).bytes(value).finish()))
}

fn set_for(unit: Unit, name: &'static str, args: &[Bytes]) -> Parsed {
    let lifetime = unit.parse(args.get(2).ok_or(CommandError::Syntax)?, name, false)?;
    let (key, value) = (key(args, 1)?, value(args, 3)?);
    pack(Set { flags: SetFlags::default(), compare: Compare::Any, lifetime, key, value })
}

pub(super) fn setex(args: &[Bytes]) -> Parsed {
    set_for(Unit::Seconds, "setex", args)
}

pub(super) fn psetex(args: &[Bytes]) -> Parsed {
    set_for(Unit::Millis, "psetex", args)
}

pub(super) fn delex(args: &[Bytes]) -> Parsed {
    let mut compare = Compare::Any;
    match args.get(2..).unwrap_or_default() {
        [] => {}
        [option, text] => compare.take(option, Some(text)).ok_or(CommandError::Syntax)??,
        _ => return Err(CommandError::Syntax),
    }
    let key = key(args, 1)?;
    let to = compare.pack(Packer::new(opcode::DELEX, compare.room() + Packer::room(key)));
    Ok(Call::Write(to.bytes(key).finish()))
}

/// MSETEX numkeys key value … [NX | XX] [EX seconds | PX … | EXAT … | PXAT … | KEEPTTL].
pub(super) fn msetex(args: &[Bytes]) -> Parsed {
    let keys = args.get(1).and_then(|text| parse_i64(text)).and_then(|n| usize::try_from(n).ok());
    let keys = keys.filter(|&keys| keys > 0).ok_or(CommandError::Text("ERR invalid numkeys value"))?;
    let end = keys.checked_mul(2).and_then(|words| words.checked_add(2));
    let Some((pairs, options)) = end.and_then(|end| Some((args.get(2..end)?, args.get(end..)?))) else {
        return Err(CommandError::Text("ERR wrong number of key-value pairs"));
    };
    let (mut flags, mut time) = (SetFlags::default(), LifetimeOption::default());
    let mut at = 0;
    while let Some(option) = options.get(at) {
        let is = |name: &str| option.eq_ignore_ascii_case(name.as_bytes());
        at += match time.take(option, options.get(at + 1)) {
            Some(words) if !time.persists() => words,
            None if is("nx") && !flags.has(SetFlags::XX) => {
                flags = flags.with(SetFlags::NX);
                1
            }
            None if is("xx") && !flags.has(SetFlags::NX) => {
                flags = flags.with(SetFlags::XX);
                1
            }
            _ => return Err(CommandError::Syntax),
        };
    }
    pack_msetex(flags, time.lifetime("msetex")?, pairs)
}

fn pack_msetex(flags: SetFlags, lifetime: Lifetime, pairs: &[Bytes]) -> Parsed {
    let mut room = 1 + Lifetime::ROOM;
    for at in (0..pairs.len()).step_by(2) {
        room += Packer::room(key(pairs, at)?) + Packer::room(value(pairs, at + 1)?);
    }
    let to = lifetime.pack(Packer::new(opcode::MSETEX, room).byte(flags.byte()));
    Ok(Call::Write(pairs.iter().fold(to, |to, field| to.bytes(field)).finish()))
}

impl<'a> Unpacker<'a> {
    pub(super) fn set_with(&mut self) -> Option<Write<'a>> {
        let flags = SetFlags::from_byte(self.byte()?)?;
        let (compare, lifetime) = (Compare::unpack(self)?, Lifetime::unpack(self)?);
        let (key, value) = (self.key()?, self.value()?);
        Some(Write::SetWith(Set { flags, compare, lifetime, key, value }))
    }

    pub(super) fn delex(&mut self) -> Option<Write<'a>> {
        Some(Write::DelEx { compare: Compare::unpack(self)?, key: self.key()? })
    }

    pub(super) fn msetex(&mut self) -> Option<Write<'a>> {
        let flags = SetFlags::from_byte(self.byte()?)?;
        Some(Write::MSetEx { flags, lifetime: Lifetime::unpack(self)?, pairs: self.pairs()? })
    }
}

impl KvStore {
    pub(super) fn set_with(&mut self, at: Context, set: Set<'_>, out: &mut Vec<u8>) {
        let Set { flags, compare, lifetime, key, value } = set;
        let old = self.record(key);
        let is_refused = match old {
            Some(old) => flags.has(SetFlags::NX) || !compare.holds_of(Some(old.value())),
            None => flags.has(SetFlags::XX) || !compare.holds_of(None),
        };
        match old {
            Some(old) if flags.has(SetFlags::GET) => reply::bulk(out, old.value()),
            None if flags.has(SetFlags::GET) => reply::null(out),
            _ if is_refused => reply::null(out),
            _ => reply::ok(out),
        }
        if !is_refused {
            let old = old.map(|old| old.meta().deadline);
            let deadline = lifetime.deadline(at.unix_ms, old);
            self.put(Meta { version: at.index, deadline }, key, value);
        }
    }

    pub(super) fn delex(&mut self, compare: Compare<'_>, key: &[u8], out: &mut Vec<u8>) {
        let is_due = self.record(key).is_some_and(|record| compare.holds_of(Some(record.value())));
        if is_due {
            self.take(key);
        }
        reply::count(out, usize::from(is_due));
    }

    /// All or nothing.
    pub(super) fn msetex(
        &mut self,
        at: Context,
        flags: SetFlags,
        lifetime: Lifetime,
        pairs: Fields<'_>,
        out: &mut Vec<u8>,
    ) {
        let mut keys = pairs.step_by(2);
        let is_refused = flags.has(SetFlags::NX) && keys.clone().any(|key| self.record(key).is_some())
            || flags.has(SetFlags::XX) && keys.any(|key| self.record(key).is_none());
        if is_refused {
            return reply::count(out, 0);
        }
        let mut pairs = pairs;
        while let (Some(key), Some(value)) = (pairs.next(), pairs.next()) {
            let old = self.record(key).map(|old| old.meta().deadline);
            self.put(Meta { version: at.index, deadline: lifetime.deadline(at.unix_ms, old) }, key, value);
        }
        reply::count(out, 1);
    }
}
