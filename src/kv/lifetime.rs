//! How long a key lives: the options EX, PX, EXAT, PXAT, KEEPTTL and PERSIST.
//!
//! A length of time counts from the log's clock at the entry that sets it, which is its leader's clock when it appended it.

use bytes::Bytes;

use super::error::CommandError;
use super::number::parse_i64;
use super::packed::{Packer, Unpacker};
use crate::time::Millis;

/// No time may be longer, nor end later, than what leaves so many milliseconds of room below 2⁶³: Redis leaves as many as it
/// is late when it is asked, and the time that a command will have in the log is not known before it is there.
const ROOM: i64 = 1 << 42;

/// How long a key lives that is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Lifetime {
    /// For ever.
    #[default]
    Forever,
    /// As long as it would have.
    Kept,
    /// So many milliseconds from now; negative ones are over.
    For(i64),
    /// To this millisecond of Unix time.
    Until(i64),
}

/// In which unit, and from when on, a number counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    Seconds,
    Millis,
    UnixSeconds,
    UnixMillis,
}

impl Unit {
    /// The option of this name.
    pub(super) fn of_option(name: &[u8]) -> Option<Self> {
        let is = |option: &str| name.eq_ignore_ascii_case(option.as_bytes());
        let units = [
            ("ex", Self::Seconds),
            ("px", Self::Millis),
            ("exat", Self::UnixSeconds),
            ("pxat", Self::UnixMillis),
        ];
        units.into_iter().find(|(option, _)| is(option)).map(|(_, unit)| unit)
    }

    /// The lifetime that `text` gives in this unit to the command of this name, which takes what is over if it `may_be_over`.
    pub(super) fn parse(
        self,
        text: &[u8],
        command: &'static str,
        may_be_over: bool,
    ) -> Result<Lifetime, CommandError> {
        let number = parse_i64(text).ok_or(CommandError::NotInteger)?;
        let is_seconds = matches!(self, Self::Seconds | Self::UnixSeconds);
        let millis = if is_seconds { number.checked_mul(1_000) } else { Some(number) };
        let is_relative = matches!(self, Self::Seconds | Self::Millis);
        let most = if is_relative { i64::MAX - ROOM } else { i64::MAX };
        let millis = millis.filter(|&millis| millis <= most && (may_be_over || millis > 0));
        let millis = millis.ok_or(CommandError::ExpireTime(command))?;
        Ok(if is_relative { Lifetime::For(millis) } else { Lifetime::Until(millis) })
    }
}

impl Lifetime {
    /// Most bytes that it is packed into.
    pub(super) const ROOM: usize = 1 + Packer::VARINT;

    /// Among the flags of a plain SET, for [`Kept`](Self::Kept).
    pub(super) const KEPT_FLAG: u8 = 1 << 3;

    /// When a key dies that is written at `now` and whose deadline was `old`; 0 for never.
    pub(super) fn deadline(self, now: Millis, old: Option<Millis>) -> Millis {
        match self {
            Self::Forever => 0,
            Self::Kept => old.unwrap_or(0),
            Self::For(millis) => now.saturating_add_signed(millis).max(1),
            // What is over by the clock is over at any time after 0, which would mean never.
            Self::Until(at) => Millis::try_from(at).unwrap_or(0).max(1),
        }
    }

    pub(super) fn pack(self, to: Packer<'_>) -> Packer<'_> {
        match self {
            Self::Forever => to.byte(0),
            Self::Kept => to.byte(1),
            Self::For(millis) => to.byte(2).signed(millis),
            Self::Until(at) => to.byte(3).signed(at),
        }
    }

    pub(super) fn unpack(from: &mut Unpacker<'_>) -> Option<Self> {
        Some(match from.byte()? {
            0 => Self::Forever,
            1 => Self::Kept,
            2 => Self::For(from.signed()?),
            3 => Self::Until(from.signed()?),
            _ => return None,
        })
    }
}

/// The options about time among a command's options, of which one kind may be given, and the last counts.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct LifetimeOption<'a> {
    timed: Option<(Unit, &'a Bytes)>,
    keeps: bool,
    persists: bool,
}

impl<'a> LifetimeOption<'a> {
    /// Takes the option `name`, whose value would be `next`: how many words that was, or `None` if it is no such option, or
    /// contradicts an earlier one.
    pub(super) fn take(&mut self, name: &[u8], next: Option<&'a Bytes>) -> Option<usize> {
        let is = |option: &str| name.eq_ignore_ascii_case(option.as_bytes());
        if is("keepttl") || is("persist") {
            let other = if is("keepttl") { self.persists } else { self.keeps };
            if other || self.timed.is_some() {
                return None;
            }
            self.keeps |= is("keepttl");
            self.persists |= is("persist");
            return Some(1);
        }
        let unit = Unit::of_option(name)?;
        let is_other = self.timed.is_some_and(|(earlier, _)| earlier != unit);
        if is_other || self.keeps || self.persists {
            return None;
        }
        self.timed = Some((unit, next?));
        Some(2)
    }

    /// Whether PERSIST was given.
    pub(super) const fn persists(&self) -> bool {
        self.persists
    }

    /// Whether any was given.
    pub(super) const fn is_given(&self) -> bool {
        self.timed.is_some() || self.keeps || self.persists
    }

    /// The lifetime that they mean.
    pub(super) fn lifetime(&self, command: &'static str) -> Result<Lifetime, CommandError> {
        match self.timed {
            Some((unit, text)) => unit.parse(text, command, false),
            None if self.keeps => Ok(Lifetime::Kept),
            None => Ok(Lifetime::Forever),
        }
    }
}
