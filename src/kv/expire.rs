//! EXPIRE and its kin: when a key dies, set, told and taken back.

use alloc::vec::Vec;

use bytes::Bytes;

use super::error::CommandError;
use super::lifetime::{Lifetime, LifetimeOption, Unit};
use super::packed::{Packer, Read, Unpacker, Write, opcode};
use super::parse::{Call, Parsed, key};
use super::record::Meta;
use super::reply;
use super::store::KvStore;
use crate::replica::Context;

/// The options of EXPIRE: which deadlines it replaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Replaces(u8);

impl Replaces {
    const NX: u8 = 1;
    const XX: u8 = 1 << 1;
    const GT: u8 = 1 << 2;
    const LT: u8 = 1 << 3;

    fn parse(options: &[Bytes]) -> Result<Self, CommandError> {
        let mut flags = 0;
        for option in options {
            let is = |name: &str| option.eq_ignore_ascii_case(name.as_bytes());
            flags |= match () {
                () if is("nx") => Self::NX,
                () if is("xx") => Self::XX,
                () if is("gt") => Self::GT,
                () if is("lt") => Self::LT,
                () => return Err(CommandError::UnsupportedOption(option.to_vec())),
            };
        }
        Self::from_byte(flags).ok_or(if flags & Self::NX != 0 {
            CommandError::Text("ERR NX and XX, GT or LT options at the same time are not compatible")
        } else {
            CommandError::Text("ERR GT and LT options at the same time are not compatible")
        })
    }

    fn from_byte(flags: u8) -> Option<Self> {
        let all = Self::NX | Self::XX | Self::GT | Self::LT;
        let is_contradiction = (flags & Self::NX != 0 && flags != Self::NX)
            || flags & (Self::GT | Self::LT) == Self::GT | Self::LT
            || flags & !all != 0;
        (!is_contradiction).then_some(Self(flags))
    }

    /// Its options' names.
    pub(super) fn names(self) -> impl Iterator<Item = &'static [u8]> {
        let all = [(Self::NX, &b"NX"[..]), (Self::XX, b"XX"), (Self::GT, b"GT"), (Self::LT, b"LT")];
        all.into_iter().filter(move |(flag, _)| self.0 & flag != 0).map(|(_, name)| name)
    }

    /// Whether a deadline may take the place of another one; 0 is none, and later than any.
    fn admits(self, old: u64, new: u64) -> bool {
        let has = |flag| self.0 & flag != 0;
        let has_old = old != 0;
        !(has(Self::NX) && has_old
            || has(Self::XX) && !has_old
            || has(Self::GT) && (!has_old || new <= old)
            || has(Self::LT) && has_old && new >= old)
    }
}

/// What TTL and its kin tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tells {
    /// In milliseconds, or in seconds.
    millis: bool,
    /// When it dies, or for how long it still lives.
    absolute: bool,
}

impl Tells {
    /// The command's name.
    pub(super) const fn name(self) -> &'static str {
        match (self.millis, self.absolute) {
            (false, false) => "TTL",
            (true, false) => "PTTL",
            (false, true) => "EXPIRETIME",
            (true, true) => "PEXPIRETIME",
        }
    }

    const fn byte(self) -> u8 {
        self.millis as u8 | (self.absolute as u8) << 1
    }

    fn from_byte(byte: u8) -> Option<Self> {
        (byte < 4).then_some(Self { millis: byte & 1 != 0, absolute: byte & 2 != 0 })
    }
}

fn parse_expire(unit: Unit, name: &'static str, args: &[Bytes]) -> Parsed {
    let replaces = Replaces::parse(args.get(3..).unwrap_or_default())?;
    let text = args.get(2).ok_or(CommandError::Syntax)?;
    let lifetime = unit.parse(text, name, true)?;
    let key = key(args, 1)?;
    let to = Packer::new(opcode::EXPIRE, 1 + Lifetime::ROOM + Packer::room(key)).byte(replaces.0);
    Ok(Call::Write(lifetime.pack(to).bytes(key).finish()))
}

pub(super) fn expire(args: &[Bytes]) -> Parsed {
    parse_expire(Unit::Seconds, "expire", args)
}

pub(super) fn pexpire(args: &[Bytes]) -> Parsed {
    parse_expire(Unit::Millis, "pexpire", args)
}

pub(super) fn expireat(args: &[Bytes]) -> Parsed {
    parse_expire(Unit::UnixSeconds, "expireat", args)
}

pub(super) fn pexpireat(args: &[Bytes]) -> Parsed {
    parse_expire(Unit::UnixMillis, "pexpireat", args)
}

pub(super) fn persist(args: &[Bytes]) -> Parsed {
    pack_persist(key(args, 1)?)
}

fn pack_persist(key: &[u8]) -> Parsed {
    Ok(Call::Write(Packer::new(opcode::PERSIST, Packer::room(key)).bytes(key).finish()))
}

fn parse_tells(tells: Tells, args: &[Bytes]) -> Parsed {
    let key = key(args, 1)?;
    Ok(Call::Read(Packer::new(opcode::TTL, 1 + Packer::room(key)).byte(tells.byte()).bytes(key).finish()))
}

pub(super) fn ttl(args: &[Bytes]) -> Parsed {
    parse_tells(Tells { millis: false, absolute: false }, args)
}

pub(super) fn pttl(args: &[Bytes]) -> Parsed {
    parse_tells(Tells { millis: true, absolute: false }, args)
}

pub(super) fn expiretime(args: &[Bytes]) -> Parsed {
    parse_tells(Tells { millis: false, absolute: true }, args)
}

pub(super) fn pexpiretime(args: &[Bytes]) -> Parsed {
    parse_tells(Tells { millis: true, absolute: true }, args)
}

/// GETEX: without an option it changes nothing, and is a read.
pub(super) fn getex(args: &[Bytes]) -> Parsed {
    let mut option = LifetimeOption::default();
    let mut at = 2;
    while let Some(name) = args.get(at) {
        if name.eq_ignore_ascii_case(b"keepttl") {
            return Err(CommandError::Syntax);
        }
        at += option.take(name, args.get(at + 1)).ok_or(CommandError::Syntax)?;
    }
    let lifetime = option.lifetime("getex")?;
    let key = key(args, 1)?;
    if !option.is_given() {
        return super::parse::get(args);
    }
    debug_assert!(lifetime != Lifetime::Forever || option.persists());
    let to = lifetime.pack(Packer::new(opcode::GETEX, Lifetime::ROOM + Packer::room(key)));
    Ok(Call::Write(to.bytes(key).finish()))
}

impl<'a> Unpacker<'a> {
    pub(super) fn expire(&mut self) -> Option<Write<'a>> {
        let replaces = Replaces::from_byte(self.byte()?)?;
        let lifetime =
            Lifetime::unpack(self).filter(|of| matches!(of, Lifetime::For(_) | Lifetime::Until(_)))?;
        Some(Write::Expire { replaces, lifetime, key: self.key()? })
    }

    pub(super) fn getex(&mut self) -> Option<Write<'a>> {
        let lifetime = Lifetime::unpack(self).filter(|of| *of != Lifetime::Kept)?;
        Some(Write::GetEx { lifetime, key: self.key()? })
    }

    pub(super) fn ttl(&mut self) -> Option<Read<'a>> {
        Some(Read::Ttl { tells: Tells::from_byte(self.byte()?)?, key: self.key()? })
    }
}

impl KvStore {
    /// A deadline that has come already takes the key out, as in Redis.
    pub(super) fn expire_key(
        &mut self,
        at: Context,
        replaces: Replaces,
        lifetime: Lifetime,
        key: &[u8],
        out: &mut Vec<u8>,
    ) {
        let Some(old) = self.record(key).map(|record| record.meta().deadline) else {
            return reply::count(out, 0);
        };
        let new = lifetime.deadline(at.unix_ms, Some(old));
        if !replaces.admits(old, new) {
            return reply::count(out, 0);
        }
        self.set_deadline(at, new, key);
        reply::count(out, 1);
    }

    pub(super) fn persist_key(&mut self, at: Context, key: &[u8], out: &mut Vec<u8>) {
        let is_mortal = self.record(key).is_some_and(|record| record.meta().deadline != 0);
        if is_mortal {
            self.set_deadline(at, 0, key);
        }
        reply::count(out, usize::from(is_mortal));
    }

    pub(super) fn getex(&mut self, at: Context, lifetime: Lifetime, key: &[u8], out: &mut Vec<u8>) {
        let Some(record) = self.record(key) else { return reply::null(out) };
        reply::bulk(out, record.value());
        let (old, new) = (record.meta().deadline, lifetime.deadline(at.unix_ms, None));
        if old != 0 || new != 0 {
            self.set_deadline(at, new, key);
        }
    }

    fn set_deadline(&mut self, at: Context, deadline: u64, key: &[u8]) {
        if deadline != 0 && deadline <= at.unix_ms {
            self.take(key);
        } else {
            self.touch(Meta { version: at.index, deadline }, key);
        }
    }

    /// How long a key still lives is told by the asked node's clock; whether it lives, by the log's.
    pub(super) fn tell_deadline(&self, at: Context, tells: Tells, key: &[u8], out: &mut Vec<u8>) {
        let Some(deadline) = self.record(key).map(|record| record.meta().deadline) else {
            return reply::integer(out, -2);
        };
        if deadline == 0 {
            return reply::integer(out, -1);
        }
        let millis = if tells.absolute { deadline } else { deadline.saturating_sub(at.now_ms) };
        let told = if tells.millis { millis } else { millis.saturating_add(500) / 1_000 };
        reply::integer(out, i64::try_from(told).unwrap_or(i64::MAX));
    }
}
