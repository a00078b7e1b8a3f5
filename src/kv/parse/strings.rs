//! SETRANGE, INCRBYFLOAT, MSETNX, LCS.

use bytes::{Bytes, BytesMut};

use super::{Call, Parsed, integer, key, pack_pairs, value};
use crate::kv::CommandError;
use crate::kv::float::Extended;
use crate::kv::lcs::LcsForm;
use crate::kv::packed::{Packer, opcode};

pub(in crate::kv) fn setrange(args: &[Bytes], space: &mut BytesMut) -> Parsed {
    let offset = u64::try_from(integer(args, 2)?).map_err(|_| CommandError::Offset)?;
    let (key, part) = (key(args, 1)?, value(args, 3)?);
    let to = Packer::new(space, opcode::SETRANGE, Packer::room(key) + Packer::VARINT + Packer::room(part));
    Ok(Call::Write(to.bytes(key).varint(offset).bytes(part).finish()))
}

pub(in crate::kv) fn incrbyfloat(args: &[Bytes], space: &mut BytesMut) -> Parsed {
    let by = args.get(2).and_then(|arg| Extended::parse(arg)).ok_or(CommandError::NotFloat)?;
    let (key, by) = (key(args, 1)?, by.to_bytes());
    let to = Packer::new(space, opcode::INCRBYFLOAT, Packer::room(key) + by.len()).bytes(key);
    Ok(Call::Write(by.into_iter().fold(to, Packer::byte).finish()))
}

pub(in crate::kv) fn msetnx(args: &[Bytes], space: &mut BytesMut) -> Parsed {
    pack_pairs(opcode::MSETNX, "msetnx", args, space)
}

/// `LCS key1 key2 [LEN] [IDX] [MINMATCHLEN length] [WITHMATCHLEN]`
pub(in crate::kv) fn lcs(args: &[Bytes], space: &mut BytesMut) -> Parsed {
    let (mut is_len, mut is_idx, mut min_length, mut with_lengths) = (false, false, 0, false);
    let mut at = 3;
    while let Some(option) = args.get(at) {
        let is = |name: &str| option.eq_ignore_ascii_case(name.as_bytes());
        if is("idx") {
            is_idx = true;
        } else if is("len") {
            is_len = true;
        } else if is("withmatchlen") {
            with_lengths = true;
        } else if is("minmatchlen") && at + 1 < args.len() {
            at += 1;
            min_length = u64::try_from(integer(args, at)?).unwrap_or_default();
        } else {
            return Err(CommandError::Syntax);
        }
        at += 1;
    }
    let form = match (is_len, is_idx) {
        (true, true) => return Err(CommandError::LcsForms),
        (true, false) => LcsForm::Length,
        (false, true) => LcsForm::Indexes { min_length, with_lengths },
        (false, false) => LcsForm::Text,
    };
    let (one, other) = (key(args, 1)?, key(args, 2)?);
    let to = Packer::new(space, opcode::LCS, Packer::room(one) + Packer::room(other) + 1 + Packer::VARINT);
    let to = to.bytes(one).bytes(other);
    let to = match form {
        LcsForm::Text => to.byte(0),
        LcsForm::Length => to.byte(1),
        LcsForm::Indexes { min_length, with_lengths } => {
            to.byte(if with_lengths { 3 } else { 2 }).varint(min_length)
        }
    };
    Ok(Call::Read(to.finish()))
}
