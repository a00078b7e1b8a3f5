//! SET with its options, SETEX, PSETEX, MSETEX and DELEX: writes that look first.

use alloc::vec::Vec;

use bytes::Bytes;

use super::error::CommandError;
use super::lifetime::Lifetime;
use super::packed::{Fields, Packer, SetFlags, Unpacker};
use super::parse::bounded_value;
use super::record::Meta;
use super::reply;
use super::store::KvStore;
use crate::replica::Context;

/// What must be true of a key's value: Redis 8.4's compare-and-set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compare<'a> {
    /// Nothing.
    Any,
    /// It is this. A key that is not there has no value.
    Equal(&'a [u8]),
    /// It is not this.
    Unequal(&'a [u8]),
}

impl<'a> Compare<'a> {
    /// Takes the option `name` with its value; `None` if it is no such option, or the second.
    pub(super) fn take(&mut self, name: &[u8], next: Option<&'a Bytes>) -> Option<Result<(), CommandError>> {
        let is = |option: &str| name.eq_ignore_ascii_case(option.as_bytes());
        if *self != Self::Any || !(is("ifeq") || is("ifne")) {
            return None;
        }
        Some(bounded_value(next?).map(|text| {
            *self = if is("ifeq") { Self::Equal(text) } else { Self::Unequal(text) };
        }))
    }

    fn holds_of(self, value: Option<&[u8]>) -> bool {
        match self {
            Self::Any => true,
            Self::Equal(text) => value == Some(text),
            Self::Unequal(text) => value != Some(text),
        }
    }

    pub(super) fn room(self) -> usize {
        match self {
            Self::Any => 1,
            Self::Equal(text) | Self::Unequal(text) => 1 + Packer::room(text),
        }
    }

    pub(super) fn pack(self, to: Packer<'_>) -> Packer<'_> {
        match self {
            Self::Any => to.byte(0),
            Self::Equal(text) => to.byte(1).bytes(text),
            Self::Unequal(text) => to.byte(2).bytes(text),
        }
    }

    pub(super) fn unpack(from: &mut Unpacker<'a>) -> Option<Self> {
        Some(match from.byte()? {
            0 => Self::Any,
            1 => Self::Equal(from.value()?),
            2 => Self::Unequal(from.value()?),
            _ => return None,
        })
    }
}

/// The arguments of SET.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Set<'a> {
    pub(super) flags: SetFlags,
    pub(super) compare: Compare<'a>,
    pub(super) lifetime: Lifetime,
    pub(super) key: &'a [u8],
    pub(super) value: &'a [u8],
}

impl KvStore {
    pub(super) fn set(&mut self, at: Context, set: Set<'_>, out: &mut Vec<u8>) {
        let Set { flags, compare, lifetime, key, value } = set;
        // What asks nothing of the old value does not look for it.
        let is_blind = flags == SetFlags::default() && compare == Compare::Any && lifetime != Lifetime::Kept;
        let old = if is_blind { None } else { self.record(key) };
        let is_refused = match old {
            Some(old) => flags.has(SetFlags::NX) || !compare.holds_of(Some(old.value())),
            None => flags.has(SetFlags::XX) || !compare.holds_of(None),
        };
        match old {
            Some(old) if flags.has(SetFlags::GET) => reply::bulk(out, old.value()),
            None if flags.has(SetFlags::GET) => reply::null(out),
            _ if is_refused => reply::null(out),
            _ => reply::ok(out),
        }
        if is_refused && !(flags.has(SetFlags::NX.with(SetFlags::GET)) && planted!("set-nx-get-overwrites")) {
            return;
        }
        let deadline = lifetime.deadline(at.unix_ms, old.map(|old| old.meta().deadline));
        self.put(Meta { version: at.index, deadline }, key, value);
    }

    pub(super) fn delex(&mut self, compare: Compare<'_>, key: &[u8], out: &mut Vec<u8>) {
        let is_due = self.record(key).is_some_and(|record| compare.holds_of(Some(record.value())));
        if is_due {
            self.take(key);
        }
        reply::count(out, usize::from(is_due));
    }

    /// All or nothing.
    pub(super) fn msetex(
        &mut self,
        at: Context,
        flags: SetFlags,
        lifetime: Lifetime,
        pairs: Fields<'_>,
        out: &mut Vec<u8>,
    ) {
        let mut keys = pairs.step_by(2);
        let is_refused = flags.has(SetFlags::NX) && keys.clone().any(|key| self.record(key).is_some())
            || flags.has(SetFlags::XX) && keys.any(|key| self.record(key).is_none());
        if is_refused {
            return reply::count(out, 0);
        }
        let mut pairs = pairs;
        while let (Some(key), Some(value)) = (pairs.next(), pairs.next()) {
            let old = self.record(key).map(|old| old.meta().deadline);
            self.put(Meta { version: at.index, deadline: lifetime.deadline(at.unix_ms, old) }, key, value);
        }
        reply::count(out, 1);
    }
}
