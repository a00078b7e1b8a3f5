//! SCAN: the keys in the order of their hashes, some at a time.
//!
//! A cursor is the upper part of a hash: the place where the next call begins. The order depends on nothing but the keys
//! and the cluster's seed, so a cursor means the same on every node, and after a snapshot. A key that is there from the
//! first call to the last is returned: it never moves, and keys that share a cursor are returned together.
//!
//! 0 begins a scan and ends it. It never means a later place: the next call's hash is above one already returned.

use alloc::vec::Vec;

use super::number::Decimal;
use super::packed::Scan;
use super::store::KvStore;
use super::{MAX_SCAN_KEYS, glob, reply};

/// Bits of a hash that a cursor leaves out: with 53 bits it survives clients that keep it in a floating-point number.
const SHIFT: u32 = 11;

/// A call ends early when its keys have so many bytes.
const MAX_BYTES: usize = 1 << 20;

/// Most steps of pattern matching in one call: some milliseconds.
const MAX_STEPS: u64 = 1 << 22;

/// Keys of one cursor, which are returned together or not at all.
struct Group {
    cursor: u64,
    /// Whether the call began with them.
    first: bool,
    /// How many keys were found before them.
    found_before: usize,
}

impl KvStore {
    pub(super) fn scan(&self, scan: Scan<'_>, out: &mut Vec<u8>) {
        // There is one type.
        let of_type = scan.only_type.is_none_or(|name| name.eq_ignore_ascii_case(b"string"));
        let from = scan.cursor.checked_mul(1 << SHIFT).filter(|_| of_type);
        let Some(from) = from else { return answer(0, &[], out) };
        let from = from.saturating_add(u64::from(from > 0 && planted!("scan-skips-its-cursor")) << SHIFT);
        let most = usize::try_from(scan.count).unwrap_or(usize::MAX).clamp(1, MAX_SCAN_KEYS);
        let mut keys = Vec::new();
        let (mut bytes, mut seen, mut steps) = (0, 0, MAX_STEPS);
        let mut group: Option<Group> = None;
        for (hash, record) in self.tree.range(from) {
            let cursor = hash >> SHIFT;
            if group.as_ref().is_none_or(|group| group.cursor != cursor) {
                if seen >= most || bytes >= MAX_BYTES {
                    return answer(cursor, &keys, out);
                }
                group = Some(Group { cursor, first: group.is_none(), found_before: keys.len() });
            }
            seen += 1;
            if !self.lives(record) {
                continue;
            }
            let key = record.key();
            let fits = scan.pattern.map_or(Some(true), |pattern| glob::matches(pattern, key, &mut steps));
            match fits {
                Some(true) => {
                    bytes += key.len();
                    keys.push(key);
                }
                Some(false) => {}
                None => match group {
                    Some(Group { first: false, found_before, .. }) => {
                        keys.truncate(found_before);
                        return answer(cursor, &keys, out);
                    }
                    _ => return reply::error(out, b"ERR MATCH pattern is too expensive for a key"),
                },
            }
        }
        answer(0, &keys, out);
    }
}

fn answer(cursor: u64, keys: &[&[u8]], out: &mut Vec<u8>) {
    reply::array(out, 2);
    reply::bulk(out, Decimal::unsigned(cursor).as_bytes());
    reply::array(out, keys.len());
    for key in keys {
        reply::bulk(out, key);
    }
}
