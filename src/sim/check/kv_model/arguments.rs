//! What Redis demands of a command's words, and what it says of those that it refuses.

use std::format;
use std::string::ToString;
use std::vec::Vec;

use bytes::Bytes;

use crate::kv::{MAX_KEY, MAX_VALUE};

/// The error that a command is answered.
pub(super) type Refusal = Bytes;

pub(super) const NOT_A_NUMBER: &str = "ERR value is not an integer or out of range";

pub(super) const TOO_LONG: &str = "ERR string exceeds maximum allowed size (proto-max-bulk-len)";

pub(super) const SYNTAX: &str = "ERR syntax error";

/// A word of a command, as the limits see it.
#[derive(Debug, Clone, Copy)]
pub(super) enum Word<'a> {
    Key(&'a Bytes),
    Value(&'a Bytes),
}

impl Word<'_> {
    pub(super) fn check_length(self) -> Result<(), Refusal> {
        match self {
            Self::Key(key) if key.len() > MAX_KEY => {
                Err(format!("ERR key exceeds maximum allowed size ({MAX_KEY} bytes)").into())
            }
            Self::Value(value) if value.len() > MAX_VALUE => Err(TOO_LONG.into()),
            Self::Key(_) | Self::Value(_) => Ok(()),
        }
    }
}

/// Whether a word is this option, in letters of any case.
pub(super) fn is(word: &Bytes, option: &str) -> bool {
    word.eq_ignore_ascii_case(option.as_bytes())
}

/// A value that is a number by Redis's rule: written as the number is.
pub(super) fn number(text: &[u8]) -> Option<i64> {
    let number: i64 = core::str::from_utf8(text).ok()?.parse().ok()?;
    (number.to_string().as_bytes() == text).then_some(number)
}

pub(super) fn integer(argument: &[u8]) -> Result<i64, Refusal> {
    number(argument).ok_or_else(|| NOT_A_NUMBER.into())
}

/// A cursor by C's `strtoul`, which takes signs, and no digits at all if there is nothing else either.
pub(super) fn cursor(text: &[u8]) -> Result<u64, Refusal> {
    let cursor = || {
        if text.is_empty() {
            return Some(0);
        }
        let text = core::str::from_utf8(text).ok()?;
        let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
        let number: u64 = digits.parse().ok().filter(|_| digits.bytes().all(|b| b.is_ascii_digit()))?;
        Some(if text.starts_with('-') { number.wrapping_neg() } else { number })
    };
    cursor().ok_or_else(|| "ERR invalid cursor".into())
}

/// From `start` to `end` of `len` places, both included; negative ones count from the end. `None` if there is nothing.
pub(super) fn range(len: usize, start: i64, end: i64) -> Option<core::ops::Range<usize>> {
    let place = |at: i64| if at < 0 { (len as i128 + i128::from(at)).max(0) } else { at.into() };
    let (start, end) = (place(start), (place(end) + 1).min(len as i128));
    (start < end).then_some(start as usize..end as usize)
}

/// What is said to a command with too few words or too many.
pub(super) fn wrong_number(name: &[u8]) -> Refusal {
    [b"ERR wrong number of arguments for '", name, b"' command"].concat().into()
}

/// Redis shows 128 bytes of the name and, quoted, about as many of the arguments.
pub(super) fn unknown(words: &[Bytes]) -> Refusal {
    let mut arguments = Vec::new();
    for word in words.iter().skip(1) {
        let Some(left) = 128_usize.checked_sub(arguments.len()).filter(|&left| left > 0) else { break };
        arguments.extend([b"'", shown(word, left), b"' "].concat());
    }
    let name = words.first().map(|name| shown(name, 128)).unwrap_or_default();
    one_line(&[b"ERR unknown command '", name, b"', with args beginning with: ", &arguments])
}

/// An error that says a word.
pub(super) fn about(text: &str, word: &[u8]) -> Refusal {
    one_line(&[text.as_bytes(), shown(word, usize::MAX)])
}

/// As much of a word as C prints: nothing from a zero on.
fn shown(word: &[u8], most: usize) -> &[u8] {
    let text = word.split(|&byte| byte == 0).next().unwrap_or_default();
    &text[..text.len().min(most)]
}

fn one_line(parts: &[&[u8]]) -> Refusal {
    let is_break = |byte| matches!(byte, b'\r' | b'\n');
    parts.concat().into_iter().map(|byte| if is_break(byte) { b' ' } else { byte }).collect()
}

/// The distinct keys among `keys`.
pub(super) fn distinct<'a>(keys: impl IntoIterator<Item = &'a Bytes>) -> Vec<&'a Bytes> {
    let mut distinct: Vec<&Bytes> = keys.into_iter().collect();
    distinct.sort_unstable();
    distinct.dedup();
    distinct
}
