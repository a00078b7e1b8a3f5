//! Strings as rows of bits, the highest of each byte first.

use bytes::Bytes;

use super::arguments::{Refusal, SYNTAX, integer, is, number, range};
use super::command::{Command, Parsed};
use super::keys::Keys;
use super::replies::count;
use crate::codec::resp::Value;
use crate::kv::MAX_VALUE;

const NO_BIT: &str = "ERR bit is not an integer or out of range";

const NO_OFFSET: &str = "ERR bit offset is not an integer or out of range";

pub(super) fn parse<'a>(name: &[u8], arguments: &'a [Bytes]) -> Parsed<'a> {
    Ok(Some(match (name, arguments) {
        (b"bitcount", [key, range @ ..]) => {
            counted(b"", range)?;
            Command::BitCount { key, range }
        }
        (b"bitpos", [key, bit, range @ ..]) => {
            let bit = match integer(bit)? {
                0 => false,
                1 => true,
                _ => return Err("ERR The bit argument must be 1 or 0.".into()),
            };
            found(b"", bit, range)?;
            Command::BitPos { key, bit, range }
        }
        (b"getbit", [key, offset]) => Command::GetBit { key, offset: offset_of(offset)? },
        (b"setbit", [key, offset, bit]) => {
            let offset = offset_of(offset)?;
            let bit = match number(bit) {
                Some(0) => false,
                Some(1) => true,
                _ => return Err(NO_BIT.into()),
            };
            Command::SetBit { key, offset, bit }
        }
        _ => return Ok(None),
    }))
}

/// A bit of a value that is not too long.
fn offset_of(word: &Bytes) -> Result<u64, Refusal> {
    let offset = number(word).and_then(|offset| u64::try_from(offset).ok());
    offset.filter(|&offset| offset / 8 < MAX_VALUE as u64).ok_or_else(|| NO_OFFSET.into())
}

fn bit(value: &[u8], at: u64) -> bool {
    value.get((at / 8) as usize).is_some_and(|byte| byte >> (7 - at % 8) & 1 == 1)
}

fn is_bits(unit: &Bytes) -> Result<bool, Refusal> {
    if is(unit, "bit") {
        Ok(true)
    } else if is(unit, "byte") {
        Ok(false)
    } else {
        Err(SYNTAX.into())
    }
}

/// The bits from `start` to `end`, in bytes or in bits.
fn bits(value: &[u8], start: i64, end: i64, is_bits: bool) -> core::ops::Range<u64> {
    let (len, unit) = if is_bits { (8 * value.len(), 1) } else { (value.len(), 8) };
    range(len, start, end).map_or(0..0, |range| unit * range.start as u64..unit * range.end as u64)
}

/// The words are looked at when the command is parsed, too: unlike Redis 7.0 the store refuses those that make no range whether
/// the key is there or not.
fn counted(value: &[u8], words: &[Bytes]) -> Result<usize, Refusal> {
    let bits = match words {
        [] => bits(value, 0, -1, false),
        [start, end, unit @ ..] if unit.len() < 2 => {
            let (start, end) = (integer(start)?, integer(end)?);
            let is_bits = unit.first().map_or(Ok(false), is_bits)?;
            let is_backwards = start < 0 && end < 0 && start > end;
            if is_backwards { 0..0 } else { bits(value, start, end, is_bits) }
        }
        _ => return Err(SYNTAX.into()),
    };
    Ok(bits.filter(|&at| bit(value, at)).count())
}

/// The place of the first such bit. Without an end there are zeros behind the value.
fn found(value: &[u8], wanted: bool, words: &[Bytes]) -> Result<i64, Refusal> {
    let (bits, is_open) = match words {
        [] => (bits(value, 0, -1, false), true),
        [start] => (bits(value, integer(start)?, -1, false), true),
        [start, end, unit @ ..] if unit.len() < 2 => {
            let start = integer(start)?;
            let is_bits = unit.first().map_or(Ok(false), is_bits)?;
            (bits(value, start, integer(end)?, is_bits), false)
        }
        _ => return Err(SYNTAX.into()),
    };
    let behind = (!wanted && is_open && !bits.is_empty()).then_some(bits.end);
    let found = bits.into_iter().find(|&at| bit(value, at) == wanted).or(behind);
    Ok(found.map_or(-1, |at| at as i64))
}

impl Keys<'_> {
    pub(super) fn bitcount(&self, key: &Bytes, range: &[Bytes]) -> Value {
        let Some(value) = self.get(key) else { return count(0) };
        counted(value, range).map_or_else(Value::Error, count)
    }

    pub(super) fn bitpos(&self, key: &Bytes, wanted: bool, range: &[Bytes]) -> Value {
        let Some(value) = self.get(key) else { return Value::Integer(if wanted { -1 } else { 0 }) };
        found(value, wanted, range).map_or_else(Value::Error, Value::Integer)
    }

    pub(super) fn getbit(&self, key: &Bytes, offset: u64) -> Value {
        count(self.get(key).is_some_and(|value| bit(value, offset)).into())
    }

    /// A bit that is as it was leaves the key's version, by which WATCH judges, unless the value got longer.
    pub(super) fn setbit(&mut self, key: &Bytes, offset: u64, bit_now: bool) -> Value {
        let before = self.get(key).cloned().unwrap_or_default();
        let (old, at) = (bit(&before, offset), (offset / 8) as usize);
        let mut value = before.to_vec();
        value.resize(value.len().max(at + 1), 0);
        let mask = 0x80 >> (offset % 8);
        value[at] = if bit_now { value[at] | mask } else { value[at] & !mask };
        if value != before {
            self.rewrite(key, value.into());
        }
        count(old.into())
    }
}
