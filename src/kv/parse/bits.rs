//! SETBIT, GETBIT, BITCOUNT, BITPOS.

use bytes::{Bytes, BytesMut};

use super::{Call, Parsed, integer, key};
use crate::kv::CommandError;
use crate::kv::bits::{BitRange, MAX_BITS, Unit};
use crate::kv::number::parse_i64;
use crate::kv::packed::{Packer, opcode};

pub(in crate::kv) fn setbit(args: &[Bytes], space: &mut BytesMut) -> Parsed {
    let offset = offset(args)?;
    let bit = args.get(3).and_then(|arg| parse_i64(arg));
    let bit = bit.and_then(|bit| u8::try_from(bit).ok()).filter(|&bit| bit <= 1).ok_or(CommandError::Bit)?;
    let key = key(args, 1)?;
    let to = Packer::new(space, opcode::SETBIT, Packer::room(key) + Packer::VARINT + 1);
    Ok(Call::Write(to.bytes(key).varint(offset).byte(bit).finish()))
}

pub(in crate::kv) fn getbit(args: &[Bytes], space: &mut BytesMut) -> Parsed {
    let offset = offset(args)?;
    let key = key(args, 1)?;
    let to = Packer::new(space, opcode::GETBIT, Packer::room(key) + Packer::VARINT);
    Ok(Call::Read(to.bytes(key).varint(offset).finish()))
}

/// `BITCOUNT key [start end [BYTE | BIT]]`
pub(in crate::kv) fn bitcount(args: &[Bytes], space: &mut BytesMut) -> Parsed {
    let range = match args.len() {
        2 => None,
        4 | 5 => {
            let (start, end) = (integer(args, 2)?, integer(args, 3)?);
            Some(BitRange { start, end: Some(end), unit: unit(args.get(4))? })
        }
        _ => return Err(CommandError::Syntax),
    };
    let key = key(args, 1)?;
    let to = Packer::new(space, opcode::BITCOUNT, Packer::room(key) + 1 + 2 * Packer::VARINT);
    Ok(Call::Read(pack_range(to.bytes(key), range).finish()))
}

/// `BITPOS key bit [start [end [BYTE | BIT]]]`
pub(in crate::kv) fn bitpos(args: &[Bytes], space: &mut BytesMut) -> Parsed {
    let bit = u8::try_from(integer(args, 2)?).ok().filter(|&bit| bit <= 1).ok_or(CommandError::BitSought)?;
    let range = match args.len() {
        3 => None,
        4..=6 => {
            let start = integer(args, 3)?;
            let unit = unit(args.get(5))?;
            let end = if args.len() > 4 { Some(integer(args, 4)?) } else { None };
            Some(BitRange { start, end, unit })
        }
        _ => return Err(CommandError::Syntax),
    };
    let key = key(args, 1)?;
    let to = Packer::new(space, opcode::BITPOS, Packer::room(key) + 2 + 2 * Packer::VARINT);
    Ok(Call::Read(pack_range(to.bytes(key).byte(bit), range).finish()))
}

fn offset(args: &[Bytes]) -> Result<u64, CommandError> {
    let offset = args.get(2).and_then(|arg| u64::try_from(parse_i64(arg)?).ok());
    offset.filter(|&offset| offset < MAX_BITS).ok_or(CommandError::BitOffset)
}

fn unit(arg: Option<&Bytes>) -> Result<Unit, CommandError> {
    match arg {
        None => Ok(Unit::Byte),
        Some(arg) if arg.eq_ignore_ascii_case(b"byte") => Ok(Unit::Byte),
        Some(arg) if arg.eq_ignore_ascii_case(b"bit") => Ok(Unit::Bit),
        Some(_) => Err(CommandError::Syntax),
    }
}

fn pack_range(to: Packer<'_>, range: Option<BitRange>) -> Packer<'_> {
    match range {
        None => to.byte(0),
        Some(BitRange { start, end: None, .. }) => to.byte(1).signed(start),
        Some(BitRange { start, end: Some(end), unit }) => {
            to.byte(if unit == Unit::Bit { 3 } else { 2 }).signed(start).signed(end)
        }
    }
}
