//! EXPIRE and its kin, PERSIST, TTL and its kin, GETEX.

use bytes::{Bytes, BytesMut};

use super::{Call, Parsed, key, write_key};
use crate::kv::CommandError;
use crate::kv::expire::{Replaces, Tells};
use crate::kv::lifetime::{Lifetime, LifetimeOption, Unit};
use crate::kv::packed::{Packer, opcode};

fn parse_expire(unit: Unit, name: &'static str, args: &[Bytes], space: &mut BytesMut) -> Parsed {
    let replaces = Replaces::parse(args.get(3..).unwrap_or_default())?;
    let text = args.get(2).ok_or(CommandError::Syntax)?;
    let lifetime = unit.parse(text, name, true)?;
    let key = key(args, 1)?;
    let to = Packer::new(space, opcode::EXPIRE, 1 + Lifetime::ROOM + Packer::room(key)).byte(replaces.byte());
    Ok(Call::Write(lifetime.pack(to).bytes(key).finish()))
}

pub(in crate::kv) fn expire(args: &[Bytes], space: &mut BytesMut) -> Parsed {
    parse_expire(Unit::Seconds, "expire", args, space)
}

pub(in crate::kv) fn pexpire(args: &[Bytes], space: &mut BytesMut) -> Parsed {
    parse_expire(Unit::Millis, "pexpire", args, space)
}

pub(in crate::kv) fn expireat(args: &[Bytes], space: &mut BytesMut) -> Parsed {
    parse_expire(Unit::UnixSeconds, "expireat", args, space)
}

pub(in crate::kv) fn pexpireat(args: &[Bytes], space: &mut BytesMut) -> Parsed {
    parse_expire(Unit::UnixMillis, "pexpireat", args, space)
}

pub(in crate::kv) fn persist(args: &[Bytes], space: &mut BytesMut) -> Parsed {
    write_key(opcode::PERSIST, args, space)
}

fn parse_tells(tells: Tells, args: &[Bytes], space: &mut BytesMut) -> Parsed {
    let key = key(args, 1)?;
    Ok(Call::Read(
        Packer::new(space, opcode::TTL, 1 + Packer::room(key)).byte(tells.byte()).bytes(key).finish(),
    ))
}

pub(in crate::kv) fn ttl(args: &[Bytes], space: &mut BytesMut) -> Parsed {
    parse_tells(Tells { millis: false, absolute: false }, args, space)
}

pub(in crate::kv) fn pttl(args: &[Bytes], space: &mut BytesMut) -> Parsed {
    parse_tells(Tells { millis: true, absolute: false }, args, space)
}

pub(in crate::kv) fn expiretime(args: &[Bytes], space: &mut BytesMut) -> Parsed {
    parse_tells(Tells { millis: false, absolute: true }, args, space)
}

pub(in crate::kv) fn pexpiretime(args: &[Bytes], space: &mut BytesMut) -> Parsed {
    parse_tells(Tells { millis: true, absolute: true }, args, space)
}

/// GETEX: without an option it changes nothing, and is a read.
pub(in crate::kv) fn getex(args: &[Bytes], space: &mut BytesMut) -> Parsed {
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
        return super::get(args, space);
    }
    debug_assert!(lifetime != Lifetime::Forever || option.persists());
    let to = lifetime.pack(Packer::new(space, opcode::GETEX, Lifetime::ROOM + Packer::room(key)));
    Ok(Call::Write(to.bytes(key).finish()))
}
