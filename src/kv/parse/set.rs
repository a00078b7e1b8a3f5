//! SET with its options, SETEX, PSETEX, MSETEX, DELEX.

use bytes::{Bytes, BytesMut};

use super::{Call, Parsed, key, room_of_pairs, value};
use crate::kv::CommandError;
use crate::kv::lifetime::{Lifetime, LifetimeOption, Unit};
use crate::kv::number::parse_i64;
use crate::kv::packed::{Packer, SetFlags, opcode};
use crate::kv::set::{Compare, Set};

pub(in crate::kv) fn set(args: &[Bytes], space: &mut BytesMut) -> Parsed {
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
    let lifetime = time.lifetime("set")?;
    pack(Set { flags, compare, lifetime, key: key(args, 1)?, value: value(args, 2)? }, space)
}

/// The shorter form wherever it will do.
pub(super) fn pack(set: Set<'_>, space: &mut BytesMut) -> Parsed {
    let Set { flags, compare, lifetime, key, value } = set;
    let room = Packer::room(key) + Packer::room(value);
    let short = match (compare, lifetime) {
        (Compare::Any, Lifetime::Forever) => Some(flags.byte()),
        (Compare::Any, Lifetime::Kept) => Some(flags.byte() | Lifetime::KEPT_FLAG),
        _ => None,
    };
    let to = match short {
        Some(flags) => Packer::new(space, opcode::SET, 1 + room).byte(flags),
        None => {
            let room = 1 + compare.room() + Lifetime::ROOM + room;
            let to = Packer::new(space, opcode::SET_WITH, room).byte(flags.byte());
            lifetime.pack(compare.pack(to))
        }
    };
    Ok(Call::Write(to.bytes(key).bytes(value).finish()))
}

fn set_for(unit: Unit, name: &'static str, args: &[Bytes], space: &mut BytesMut) -> Parsed {
    let lifetime = unit.parse(args.get(2).ok_or(CommandError::Syntax)?, name, false)?;
    let (key, value) = (key(args, 1)?, value(args, 3)?);
    pack(Set { flags: SetFlags::default(), compare: Compare::Any, lifetime, key, value }, space)
}

pub(in crate::kv) fn setex(args: &[Bytes], space: &mut BytesMut) -> Parsed {
    set_for(Unit::Seconds, "setex", args, space)
}

pub(in crate::kv) fn psetex(args: &[Bytes], space: &mut BytesMut) -> Parsed {
    set_for(Unit::Millis, "psetex", args, space)
}

pub(in crate::kv) fn delex(args: &[Bytes], space: &mut BytesMut) -> Parsed {
    let mut compare = Compare::Any;
    match args.get(2..).unwrap_or_default() {
        [] => {}
        [option, text] => compare.take(option, Some(text)).ok_or(CommandError::Syntax)??,
        _ => return Err(CommandError::Arity("delex")),
    }
    let key = key(args, 1)?;
    let to = compare.pack(Packer::new(space, opcode::DELEX, compare.room() + Packer::room(key)));
    Ok(Call::Write(to.bytes(key).finish()))
}

/// MSETEX numkeys key value … [NX | XX] [EX seconds | PX … | EXAT … | PXAT … | KEEPTTL].
pub(in crate::kv) fn msetex(args: &[Bytes], space: &mut BytesMut) -> Parsed {
    let keys = args.get(1).and_then(|text| parse_i64(text)).filter(|n| (1..=i64::from(i32::MAX)).contains(n));
    let keys =
        keys.and_then(|n| usize::try_from(n).ok()).ok_or(CommandError::Text("ERR invalid numkeys value"))?;
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
    let lifetime = time.lifetime("msetex")?;
    let to =
        Packer::new(space, opcode::MSETEX, 1 + Lifetime::ROOM + room_of_pairs(pairs)?).byte(flags.byte());
    Ok(Call::Write(lifetime.pack(to).all(pairs).finish()))
}
