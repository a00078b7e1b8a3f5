//! EXPIRE and its kin, PERSIST, TTL and its kin, GETEX.

use bytes::Bytes;

use super::{Call, Parsed, key, write_key};
use crate::kv::CommandError;
use crate::kv::expire::{Replaces, Tells};
use crate::kv::lifetime::{Lifetime, LifetimeOption, Unit};
use crate::kv::packed::{Packer, opcode};

fn parse_expire(unit: Unit, name: &'static str, args: &[Bytes]) -> Parsed {
    let replaces = Replaces::parse(args.get(3..).unwrap_or_default())?;
    let text = args.get(2).ok_or(CommandError::Syntax)?;
    let lifetime = unit.parse(text, name, true)?;
    let key = key(args, 1)?;
    let to = Packer::new(opcode::EXPIRE, 1 + Lifetime::ROOM + Packer::room(key)).byte(replaces.byte());
    Ok(Call::Write(lifetime.pack(to).bytes(key).finish()))
}

pub(in crate::kv) fn expire(args: &[Bytes]) -> Parsed {
    parse_expire(Unit::Seconds, "expire", args)
}

pub(in crate::kv) fn pexpire(args: &[Bytes]) -> Parsed {
    parse_expire(Unit::Millis, "pexpire", args)
}

pub(in crate::kv) fn expireat(args: &[Bytes]) -> Parsed {
    parse_expire(Unit::UnixSeconds, "expireat", args)
}

pub(in crate::kv) fn pexpireat(args: &[Bytes]) -> Parsed {
    parse_expire(Unit::UnixMillis, "pexpireat", args)
}

pub(in crate::kv) fn persist(args: &[Bytes]) -> Parsed {
    write_key(opcode::PERSIST, args)
}

fn parse_tells(tells: Tells, args: &[Bytes]) -> Parsed {
    let key = key(args, 1)?;
    Ok(Call::Read(Packer::new(opcode::TTL, 1 + Packer::room(key)).byte(tells.byte()).bytes(key).finish()))
}

pub(in crate::kv) fn ttl(args: &[Bytes]) -> Parsed {
    parse_tells(Tells { millis: false, absolute: false }, args)
}

pub(in crate::kv) fn pttl(args: &[Bytes]) -> Parsed {
    parse_tells(Tells { millis: true, absolute: false }, args)
}

pub(in crate::kv) fn expiretime(args: &[Bytes]) -> Parsed {
    parse_tells(Tells { millis: false, absolute: true }, args)
}

pub(in crate::kv) fn pexpiretime(args: &[Bytes]) -> Parsed {
    parse_tells(Tells { millis: true, absolute: true }, args)
}

/// GETEX: without an option it changes nothing, and is a read.
pub(in crate::kv) fn getex(args: &[Bytes]) -> Parsed {
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
        return super::get(args);
    }
    debug_assert!(lifetime != Lifetime::Forever || option.persists());
    let to = lifetime.pack(Packer::new(opcode::GETEX, Lifetime::ROOM + Packer::room(key)));
    Ok(Call::Write(to.bytes(key).finish()))
}
