//! The commands that change nothing. Each appends exactly one reply, but for a pipeline.

use alloc::vec::Vec;

use super::packed::{Fields, Read};
use super::record::Record;
use super::store::KvStore;
use super::{MAX_REPLY, reply};
use crate::replica::Context;

impl KvStore {
    pub(super) fn read(&self, at: Context, read: Read<'_>, out: &mut Vec<u8>) {
        match read {
            Read::Get { key } => value_or_null(self.record(key), out),
            Read::StrLen { key } => {
                reply::count(out, self.record(key).map_or(0, |record| record.value().len()))
            }
            Read::GetRange { key, start, end } => {
                let value = self.record(key).map_or(&[][..], Record::value);
                reply::bulk(out, range(value, start, end));
            }
            Read::Exists { keys } => reply::count(out, keys.filter(|key| self.record(key).is_some()).count()),
            Read::MGet { keys } => self.mget(keys, out),
            Read::DbSize => reply::count(out, self.tree.len()),
            Read::Scan(scan) => self.scan(scan, out),
            Read::Ttl { tells, key } => self.tell_deadline(at, tells, key, out),
            Read::Versions { keys } => self.versions(keys, out),
            Read::Exec(transaction) => self.exec_reads(at, transaction, out),
            Read::Pipeline { commands } => self.pipeline_reads(at, commands, out),
            Read::GetBit { key, offset } => self.getbit(key, offset, out),
            Read::BitCount { key, range } => self.bitcount(key, range, out),
            Read::BitPos { key, bit, range } => self.bitpos(key, bit, range, out),
            Read::Lcs { one, other, form } => self.lcs(one, other, form, out),
            Read::Type { key } => self.type_of(key, out),
            Read::Keys { pattern } => self.keys(pattern, out),
            Read::RandomKey { draw } => self.randomkey(draw, out),
        }
    }

    fn mget(&self, keys: Fields<'_>, out: &mut Vec<u8>) {
        let start = out.len();
        reply::array(out, keys.len());
        for key in keys {
            value_or_null(self.record(key), out);
            // One long value named a thousand times would be a reply of gigabytes.
            if out.len().saturating_sub(start) > MAX_REPLY {
                out.truncate(start);
                return reply::too_long(out);
            }
        }
    }
}

fn value_or_null(record: Option<&Record>, out: &mut Vec<u8>) {
    match record {
        Some(record) => reply::bulk(out, record.value()),
        None => reply::null(out),
    }
}

/// The bytes from `start` to `end`, both included; negative ones count from the end.
fn range(value: &[u8], start: i64, end: i64) -> &[u8] {
    if start < 0 && end < 0 && start > end {
        return &[];
    }
    let len = value.len() as i64;
    let from_end = |at: i64| if at < 0 { len.saturating_add(at).max(0) } else { at };
    let (start, end) = (from_end(start), from_end(end).min(len - 1));
    if start > end {
        return &[];
    }
    usize::try_from(start)
        .ok()
        .zip(usize::try_from(end).ok())
        .and_then(|(s, e)| value.get(s..=e))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::range;

    #[test]
    fn ranges_are_redis_own() {
        let cases: [(i64, i64, &[u8]); 14] = [
            (0, -1, b"hello"),
            (0, 0, b"h"),
            (1, 3, b"ell"),
            (-3, -1, b"llo"),
            (-1, -3, b""),
            (3, 1, b""),
            (5, 9, b""),
            (4, 9, b"o"),
            (-100, 2, b"hel"),
            (-100, -100, b"h"),
            (-100, -99, b"h"),
            (i64::MIN, i64::MAX, b"hello"),
            (i64::MAX, i64::MIN, b""),
            (2, -100, b""),
        ];
        for (start, end, expected) in cases {
            assert_eq!(range(b"hello", start, end), expected, "{start} {end}");
        }
        for (start, end) in [(0, -1), (0, 0), (-1, -1), (i64::MIN, i64::MAX), (1, 0)] {
            assert_eq!(range(b"", start, end), b"", "{start} {end}");
        }
    }
}
