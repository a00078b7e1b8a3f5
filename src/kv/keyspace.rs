//! Commands about keys, whatever their values: TYPE, KEYS, RANDOMKEY, RENAME, COPY, FLUSHALL.

use alloc::vec::Vec;

use smallvec::SmallVec;

use super::record::Meta;
use super::store::KvStore;
use super::{MAX_LISTED_KEYS, MAX_REPLY, MAX_SCAN_KEYS, glob, reply};
use crate::rng::Rng;

/// Most steps of pattern matching in one KEYS: some milliseconds.
const MAX_STEPS: u64 = 1 << 22;

/// How many keys KEYS finds before it looks at them.
const BATCH: usize = 64;

/// How many keys RANDOMKEY draws before it takes any one.
const DRAWS: u32 = 100;

impl KvStore {
    pub(super) fn type_of(&self, key: &[u8], out: &mut Vec<u8>) {
        let name: &[u8] = if self.record(key).is_some() { b"string" } else { b"none" };
        reply::simple(out, name);
    }

    /// All keys that fit, in one turn; so there may not be too many to look at.
    pub(super) fn keys(&self, pattern: &[u8], out: &mut Vec<u8>) {
        let there_are = self.tree.len();
        if there_are > MAX_LISTED_KEYS {
            let text = alloc::format!(
                "ERR KEYS looks at no more than {MAX_LISTED_KEYS} keys, and there are {there_are}: use SCAN"
            );
            return reply::error(out, text.as_bytes());
        }
        let start = out.len();
        let (mut found, mut steps) = (0, MAX_STEPS);
        let live = self.tree.range(0).filter(|(_, record)| self.lives(record));
        let mut live = live.map(|(_, record)| record.key());
        loop {
            // To find keys is to wait for memory; a loop that does nothing else waits for many at a time.
            let batch: SmallVec<[&[u8]; BATCH]> = live.by_ref().take(BATCH).collect();
            if batch.is_empty() {
                break;
            }
            for key in batch {
                match glob::matches(pattern, key, &mut steps) {
                    Some(true) => {
                        reply::bulk(out, key);
                        found += 1;
                    }
                    Some(false) => continue,
                    None => {
                        out.truncate(start);
                        return reply::error(out, b"ERR KEYS pattern is too expensive: use SCAN");
                    }
                }
                if out.len().saturating_sub(start) > MAX_REPLY {
                    out.truncate(start);
                    return reply::too_long(out);
                }
            }
        }
        let mut head = Vec::new();
        reply::array(&mut head, found);
        out.splice(start..start, head);
    }

    /// A key that `draw` decides, so that the same query of the same state has the same answer.
    pub(super) fn randomkey(&self, draw: u64, out: &mut Vec<u8>) {
        let mut rng = Rng::new(draw);
        let mut drawn = (0..DRAWS).map_while(|_| self.tree.draw(&mut rng));
        let found = drawn.find(|record| self.lives(record)).or_else(|| {
            // Nearly all are dead and not removed yet.
            let mut all = self.tree.range(0).take(MAX_SCAN_KEYS);
            all.find(|(_, record)| self.lives(record)).map(|(_, record)| record)
        });
        match found {
            Some(record) => reply::bulk(out, record.key()),
            None => reply::null(out),
        }
    }

    pub(super) fn rename(&mut self, version: u64, from: &[u8], to: &[u8], only_new: bool, out: &mut Vec<u8>) {
        let stays = from == to || only_new && self.record(to).is_some();
        if self.record(from).is_none() {
            return reply::error(out, b"ERR no such key");
        }
        if !stays && let Some(record) = self.take(from) {
            self.put(Meta { version, ..record.meta() }, to, record.value());
        }
        if only_new { reply::count(out, usize::from(!stays)) } else { reply::ok(out) }
    }

    pub(super) fn copy(&mut self, version: u64, from: &[u8], to: &[u8], replace: bool, out: &mut Vec<u8>) {
        let source = self.record(from).filter(|_| replace || self.record(to).is_none()).cloned();
        if let Some(record) = &source {
            self.put(Meta { version, ..record.meta() }, to, record.value());
        }
        reply::count(out, usize::from(source.is_some()));
    }

    pub(super) fn flush(&mut self, out: &mut Vec<u8>) {
        self.clear();
        reply::ok(out);
    }
}
