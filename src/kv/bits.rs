//! SETBIT, GETBIT, BITCOUNT, BITPOS: a value as a row of bits, the highest bit of its first byte first.

use alloc::vec::Vec;

use super::record::Record;
use super::store::KvStore;
use super::{MAX_VALUE, reply};

/// Bits of the longest value.
pub(super) const MAX_BITS: u64 = 8 * MAX_VALUE as u64;

/// What a range of bits is counted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    Byte,
    Bit,
}

/// A part of a value as a client gives it: both ends included, and negative ones count from the end of the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BitRange {
    pub(super) start: i64,
    /// The last one when it is not given.
    pub(super) end: Option<i64>,
    pub(super) unit: Unit,
}

impl BitRange {
    /// The first and the last bit of it in a value of `len` bytes; `None` when there are none.
    fn bits_in(self, len: usize) -> Option<(u64, u64)> {
        let width = match self.unit {
            Unit::Byte => 8,
            Unit::Bit => 1,
        };
        let total = len as i64 * 8 / width;
        let from_end = |at: i64| if at < 0 { total.saturating_add(at).max(0) } else { at };
        let start = from_end(self.start);
        let end = self.end.map_or(total - 1, from_end).min(total - 1);
        if start > end {
            return None;
        }
        Some(((start * width) as u64, (end * width + width - 1) as u64))
    }
}

impl KvStore {
    pub(super) fn setbit(&mut self, version: u64, key: &[u8], offset: u64, bit: bool, out: &mut Vec<u8>) {
        let old = self.record(key).and_then(|record| byte_of(record.value(), offset));
        let mask = mask_of(offset);
        let was = old.unwrap_or_default() & mask != 0;
        // A bit that is as it was changes nothing, but a value that becomes longer is a change.
        if old.is_none() || was != bit {
            let byte = old.unwrap_or_default() & !mask | if bit { mask } else { 0 };
            self.overwrite(version, key, (offset / 8) as usize, &[byte]);
        }
        reply::count(out, usize::from(was));
    }

    pub(super) fn getbit(&self, key: &[u8], offset: u64, out: &mut Vec<u8>) {
        let byte = self.record(key).and_then(|record| byte_of(record.value(), offset));
        reply::count(out, usize::from(byte.unwrap_or_default() & mask_of(offset) != 0));
    }

    pub(super) fn bitcount(&self, key: &[u8], range: Option<BitRange>, out: &mut Vec<u8>) {
        let value = self.record(key).map_or(&[][..], Record::value);
        // Redis looks at these two before it knows the length; so it is with GETRANGE.
        let is_reversed =
            |range: &BitRange| range.end.is_some_and(|end| range.start < 0 && end < 0 && range.start > end);
        let bits = match range {
            Some(range) if is_reversed(&range) => None,
            range => range.unwrap_or(WHOLE).bits_in(value.len()),
        };
        let ones = bits.map_or(0, |(first, last)| ones(value, first, last));
        reply::integer(out, i64::try_from(ones).unwrap_or(i64::MAX));
    }

    pub(super) fn bitpos(&self, key: &[u8], bit: bool, range: Option<BitRange>, out: &mut Vec<u8>) {
        let Some(record) = self.record(key) else {
            // An absent key is zeros without end.
            return reply::integer(out, if bit { -1 } else { 0 });
        };
        let value = record.value();
        let range = range.unwrap_or(WHOLE);
        let Some((first, last)) = range.bits_in(value.len()) else { return reply::integer(out, -1) };
        let found = position(value, bit, first, last);
        // Behind a value that ends by itself, and not where the client said, zeros go on.
        let found = found.or_else(|| (!bit && range.end.is_none()).then_some(last + 1));
        reply::integer(out, found.and_then(|at| i64::try_from(at).ok()).unwrap_or(-1));
    }
}

/// All of a value.
const WHOLE: BitRange = BitRange { start: 0, end: None, unit: Unit::Byte };

fn byte_of(value: &[u8], offset: u64) -> Option<u8> {
    value.get((offset / 8) as usize).copied()
}

fn mask_of(offset: u64) -> u8 {
    0x80 >> (offset % 8)
}

/// The bytes that have the bits from `first` to `last`, which are in the value.
fn bytes_of(value: &[u8], first: u64, last: u64) -> &[u8] {
    value.get((first / 8) as usize..=(last / 8) as usize).unwrap_or_default()
}

/// How many bits from `first` to `last` are set.
fn ones(value: &[u8], first: u64, last: u64) -> u64 {
    let bytes = bytes_of(value, first, last);
    let (words, rest) = bytes.as_chunks();
    let whole = words.iter().map(|word| u64::from(u64::from_le_bytes(*word).count_ones())).sum::<u64>()
        + rest.iter().map(|byte| u64::from(byte.count_ones())).sum::<u64>();
    let (Some(head), Some(tail)) = (bytes.first(), bytes.last()) else { return 0 };
    let before = head & !(0xff >> (first % 8));
    let after = tail & (0x7f >> (last % 8));
    whole.saturating_sub(u64::from(before.count_ones() + after.count_ones()))
}

/// The first bit from `first` to `last` that is `bit`.
fn position(value: &[u8], bit: bool, first: u64, last: u64) -> Option<u64> {
    let none = if bit { 0 } else { 0xff };
    let (&head, rest) = bytes_of(value, first, last).split_first()?;
    let head = (head ^ none) & (0xff >> (first % 8));
    let (at, byte) = if head != 0 {
        (first / 8, head)
    } else {
        let at = rest.iter().position(|&byte| byte != none)?;
        (first / 8 + 1 + at as u64, rest.get(at)? ^ none)
    };
    Some(at * 8 + u64::from(byte.leading_zeros())).filter(|&found| found <= last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    fn bits(value: &[u8]) -> Vec<bool> {
        (0..value.len() as u64 * 8).map(|at| value[(at / 8) as usize] & mask_of(at) != 0).collect()
    }

    fn draw(rng: &mut Rng) -> Vec<u8> {
        // Mostly bytes without a difference: there the search is long.
        let byte = |rng: &mut Rng| match rng.below(8) {
            0 => rng.next_u64() as u8,
            1..=4 => 0,
            _ => 0xff,
        };
        (0..rng.below(30)).map(|_| byte(rng)).collect()
    }

    #[test]
    fn counts_and_positions_are_those_of_the_row_of_bits() {
        let mut rng = Rng::new(5);
        for _ in 0..20_000 {
            let value = draw(&mut rng);
            let row = bits(&value);
            let first = rng.below(row.len() as u64);
            let last = first + rng.below(row.len() as u64 - first);
            if value.is_empty() {
                continue;
            }
            let part = &row[first as usize..=last as usize];
            assert_eq!(ones(&value, first, last), part.iter().filter(|&&bit| bit).count() as u64);
            for bit in [false, true] {
                let expected = part.iter().position(|&b| b == bit).map(|at| first + at as u64);
                assert_eq!(position(&value, bit, first, last), expected, "{value:?} {bit} {first} {last}");
            }
        }
    }

    #[test]
    fn ranges_are_redis_own() {
        let bytes = |start, end, len| BitRange { start, end, unit: Unit::Byte }.bits_in(len);
        let bits = |start, end, len| BitRange { start, end: Some(end), unit: Unit::Bit }.bits_in(len);
        assert_eq!(bytes(0, None, 2), Some((0, 15)));
        assert_eq!(bytes(-1, None, 2), Some((8, 15)));
        assert_eq!(bytes(2, None, 2), None);
        assert_eq!(bytes(-9, Some(-9), 2), Some((0, 7)));
        assert_eq!(bytes(i64::MIN, Some(i64::MAX), 2), Some((0, 15)));
        assert_eq!(bytes(1, Some(0), 2), None);
        assert_eq!((bytes(0, None, 0), bits(0, -1, 0)), (None, None));
        assert_eq!(bits(-3, -2, 2), Some((13, 14)));
        assert_eq!(bits(0, i64::MAX, 2), Some((0, 15)));
        assert_eq!(bits(i64::MAX, i64::MAX, 2), None);
    }
}
