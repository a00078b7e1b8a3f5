//! SETRANGE and MSETNX.

use alloc::vec::Vec;

use super::packed::Fields;
use super::record::Meta;
use super::store::KvStore;
use super::{CommandError, MAX_VALUE, reply};

impl KvStore {
    pub(super) fn setrange(&mut self, version: u64, key: &[u8], offset: u64, part: &[u8], out: &mut Vec<u8>) {
        let old = self.record(key).map_or(0, |record| record.value().len());
        if part.is_empty() {
            // Nothing is written, so nothing is made longer.
            return reply::count(out, old);
        }
        let end = usize::try_from(offset).ok().and_then(|offset| offset.checked_add(part.len()));
        let Some(end) = end.filter(|&end| end <= MAX_VALUE) else {
            return CommandError::ValueTooLong.reply(out);
        };
        self.overwrite(version, key, end - part.len(), part);
        reply::count(out, old.max(end));
    }

    pub(super) fn msetnx(&mut self, version: u64, pairs: Fields<'_>, out: &mut Vec<u8>) {
        let taken = pairs.step_by(2).any(|key| self.record(key).is_some());
        if !taken {
            self.put_all(version, pairs);
        }
        reply::count(out, usize::from(!taken));
    }

    /// Puts `part` into the value of `key` from byte `at` on; what is missing before it becomes zeros. The length with it
    /// must be within its limit.
    pub(super) fn overwrite(&mut self, version: u64, key: &[u8], at: usize, part: &[u8]) {
        if self.record(key).is_some() {
            return self.patch(version, key, at, part);
        }
        let mut value = alloc::vec![0; at];
        value.extend_from_slice(part);
        self.put(Meta { version, deadline: 0 }, key, &value);
    }
}
