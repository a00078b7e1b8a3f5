//! EXPIRE and its kin: when a key dies, set, told and taken back.

use alloc::vec::Vec;

use bytes::Bytes;

use super::error::CommandError;
use super::lifetime::Lifetime;
use super::record::Meta;
use super::reply;
use super::store::KvStore;
use crate::replica::Context;

/// The options of EXPIRE: which deadlines it replaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Replaces(u8);

impl Replaces {
    const NX: u8 = 1;
    const XX: u8 = 1 << 1;
    const GT: u8 = 1 << 2;
    const LT: u8 = 1 << 3;

    pub(super) fn parse(options: &[Bytes]) -> Result<Self, CommandError> {
        let mut flags = 0;
        for option in options {
            let is = |name: &str| option.eq_ignore_ascii_case(name.as_bytes());
            flags |= match () {
                () if is("nx") => Self::NX,
                () if is("xx") => Self::XX,
                () if is("gt") => Self::GT,
                () if is("lt") => Self::LT,
                () => return Err(CommandError::UnsupportedOption(option.to_vec())),
            };
        }
        Self::from_byte(flags).ok_or(if flags & Self::NX != 0 {
            CommandError::Text("ERR NX and XX, GT or LT options at the same time are not compatible")
        } else {
            CommandError::Text("ERR GT and LT options at the same time are not compatible")
        })
    }

    pub(super) fn from_byte(flags: u8) -> Option<Self> {
        let all = Self::NX | Self::XX | Self::GT | Self::LT;
        let is_contradiction = (flags & Self::NX != 0 && flags != Self::NX)
            || flags & (Self::GT | Self::LT) == Self::GT | Self::LT
            || flags & !all != 0;
        (!is_contradiction).then_some(Self(flags))
    }

    pub(super) const fn byte(self) -> u8 {
        self.0
    }

    /// Its options' names.
    pub(super) fn names(self) -> impl Iterator<Item = &'static [u8]> {
        let all = [(Self::NX, &b"NX"[..]), (Self::XX, b"XX"), (Self::GT, b"GT"), (Self::LT, b"LT")];
        all.into_iter().filter(move |(flag, _)| self.0 & flag != 0).map(|(_, name)| name)
    }

    /// Whether a deadline may take the place of another one; 0 is none, and later than any.
    fn admits(self, old: u64, new: u64) -> bool {
        let has = |flag| self.0 & flag != 0;
        let has_old = old != 0;
        !(has(Self::NX) && has_old
            || has(Self::XX) && !has_old
            || has(Self::GT) && (!has_old || new <= old)
            || has(Self::LT) && has_old && new >= old)
    }
}

/// What TTL and its kin tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tells {
    /// In milliseconds, or in seconds.
    pub(super) millis: bool,
    /// When it dies, or for how long it still lives.
    pub(super) absolute: bool,
}

impl Tells {
    /// The command's name.
    pub(super) const fn name(self) -> &'static str {
        match (self.millis, self.absolute) {
            (false, false) => "TTL",
            (true, false) => "PTTL",
            (false, true) => "EXPIRETIME",
            (true, true) => "PEXPIRETIME",
        }
    }

    pub(super) const fn byte(self) -> u8 {
        self.millis as u8 | (self.absolute as u8) << 1
    }

    pub(super) fn from_byte(byte: u8) -> Option<Self> {
        (byte < 4).then_some(Self { millis: byte & 1 != 0, absolute: byte & 2 != 0 })
    }
}

impl KvStore {
    /// A deadline that has come already takes the key out, as in Redis.
    pub(super) fn expire_key(
        &mut self,
        at: Context,
        replaces: Replaces,
        lifetime: Lifetime,
        key: &[u8],
        out: &mut Vec<u8>,
    ) {
        let Some(old) = self.record(key).map(|record| record.meta().deadline) else {
            return reply::count(out, 0);
        };
        let new = lifetime.deadline(at.unix_ms, Some(old));
        if !replaces.admits(old, new) {
            return reply::count(out, 0);
        }
        self.set_deadline(at, new, key);
        reply::count(out, 1);
    }

    pub(super) fn persist_key(&mut self, at: Context, key: &[u8], out: &mut Vec<u8>) {
        let is_mortal = self.record(key).is_some_and(|record| record.meta().deadline != 0);
        if is_mortal {
            self.set_deadline(at, 0, key);
        }
        reply::count(out, usize::from(is_mortal));
    }

    pub(super) fn getex(&mut self, at: Context, lifetime: Lifetime, key: &[u8], out: &mut Vec<u8>) {
        let Some(record) = self.record(key) else { return reply::null(out) };
        reply::bulk(out, record.value());
        let (old, new) = (record.meta().deadline, lifetime.deadline(at.unix_ms, None));
        if old != 0 || new != 0 {
            self.set_deadline(at, new, key);
        }
    }

    fn set_deadline(&mut self, at: Context, deadline: u64, key: &[u8]) {
        if deadline != 0 && deadline <= at.unix_ms {
            self.take(key);
        } else {
            self.touch(Meta { version: at.index, deadline }, key);
        }
    }

    /// How long a key still lives is told by the asked node's clock; whether it lives, by the log's.
    pub(super) fn tell_deadline(&self, at: Context, tells: Tells, key: &[u8], out: &mut Vec<u8>) {
        let Some(deadline) = self.record(key).map(|record| record.meta().deadline) else {
            return reply::integer(out, -2);
        };
        if deadline == 0 {
            return reply::integer(out, -1);
        }
        let millis = if tells.absolute { deadline } else { deadline.saturating_sub(at.now_ms) };
        let told = if tells.millis { millis } else { millis.saturating_add(500) / 1_000 };
        reply::integer(out, i64::try_from(told).unwrap_or(i64::MAX));
    }
}
