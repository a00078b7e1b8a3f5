//! TYPE, KEYS, RANDOMKEY, RENAME, RENAMENX, COPY, FLUSHALL, FLUSHDB.

use bytes::{Bytes, BytesMut};

use super::{Call, Parsed, integer, key, read_key, value};
use crate::kv::CommandError;
use crate::kv::packed::{Packer, opcode};

pub(in crate::kv) fn type_of(args: &[Bytes], space: &mut BytesMut) -> Parsed {
    read_key(opcode::TYPE, args, space)
}

pub(in crate::kv) fn keys(args: &[Bytes], space: &mut BytesMut) -> Parsed {
    let pattern = value(args, 1)?;
    Ok(Call::Read(Packer::new(space, opcode::KEYS, Packer::room(pattern)).bytes(pattern).finish()))
}

pub(in crate::kv) fn randomkey(_: &[Bytes], space: &mut BytesMut) -> Parsed {
    Ok(pack_randomkey(0, space))
}

pub(super) fn pack_randomkey(draw: u64, space: &mut BytesMut) -> Call {
    Call::Read(Packer::new(space, opcode::RANDOMKEY, Packer::VARINT).varint(draw).finish())
}

pub(in crate::kv) fn rename(args: &[Bytes], space: &mut BytesMut) -> Parsed {
    pack_move(opcode::RENAME, false, args, space)
}

pub(in crate::kv) fn renamenx(args: &[Bytes], space: &mut BytesMut) -> Parsed {
    pack_move(opcode::RENAME, true, args, space)
}

/// `COPY source destination [DB destination-db] [REPLACE]`
pub(in crate::kv) fn copy(args: &[Bytes], space: &mut BytesMut) -> Parsed {
    let mut replace = false;
    let mut at = 3;
    while let Some(option) = args.get(at) {
        if option.eq_ignore_ascii_case(b"replace") {
            replace = true;
        } else if option.eq_ignore_ascii_case(b"db") && at + 1 < args.len() {
            at += 1;
            let number = i32::try_from(integer(args, at)?).map_err(|_| CommandError::NotInt32)?;
            if number != 0 {
                return Err(CommandError::Database);
            }
        } else {
            return Err(CommandError::Syntax);
        }
        at += 1;
    }
    if args.get(1) == args.get(2) {
        return Err(CommandError::SameKey);
    }
    pack_move(opcode::COPY, replace, args, space)
}

/// `FLUSHALL [ASYNC | SYNC]`: either way the keys are gone at once, and dropped where it delays nobody.
pub(in crate::kv) fn flush(args: &[Bytes], space: &mut BytesMut) -> Parsed {
    let is_mode = |mode: &Bytes| mode.eq_ignore_ascii_case(b"async") || mode.eq_ignore_ascii_case(b"sync");
    match args.get(1..) {
        None | Some([]) => {}
        Some([mode]) if is_mode(mode) => {}
        Some(_) => return Err(CommandError::Syntax),
    }
    Ok(Call::Write(Packer::new(space, opcode::FLUSH, 0).finish()))
}

fn pack_move(op: u8, flag: bool, args: &[Bytes], space: &mut BytesMut) -> Parsed {
    let (from, to) = (key(args, 1)?, key(args, 2)?);
    let packer = Packer::new(space, op, 1 + Packer::room(from) + Packer::room(to)).byte(u8::from(flag));
    Ok(Call::Write(packer.bytes(from).bytes(to).finish()))
}
