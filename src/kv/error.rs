//! Why a command is refused before it costs anything.

use alloc::vec::Vec;
use core::fmt;

use bytes::Bytes;

use super::{MAX_KEY, MAX_KEYS, reply};

/// Why a command cannot run; it displays Redis's own text, with the `ERR` that begins it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum CommandError {
    /// No such command: its name and the beginning of its arguments, as Redis words them.
    Unknown(Vec<u8>),
    /// The command of this name takes another number of arguments.
    Arity(&'static str),
    /// An option is unknown, is missing its value, or contradicts another.
    Syntax,
    /// An argument is not a 64-bit integer in canonical decimal form.
    NotInteger,
    /// The amount of DECRBY has no negative.
    DecrementOverflow,
    /// The offset of SETRANGE is negative.
    Offset,
    /// The offset of a bit is no integer, negative, or past the longest value.
    BitOffset,
    /// The bit of SETBIT is neither 0 nor 1.
    Bit,
    /// The bit of BITPOS is an integer, but neither 0 nor 1.
    BitSought,
    /// An argument is not a floating-point number.
    NotFloat,
    /// LCS is asked for LEN and IDX.
    LcsForms,
    /// An argument is not an integer of 32 bits.
    NotInt32,
    /// There is no database of this number.
    Database,
    /// The source and the destination of COPY are one key.
    SameKey,
    /// A SCAN cursor is not a decimal number of 64 bits.
    Cursor,
    /// A key passes [`MAX_KEY`].
    KeyTooLong,
    /// There are more keys than [`MAX_KEYS`].
    TooManyKeys,
    /// A value passes [`MAX_VALUE`](super::MAX_VALUE).
    ValueTooLong,
    /// A time of EXPIRE and its kin, or an option about time, is none or out of range; the command's name.
    ExpireTime(&'static str),
    /// EXPIRE does not know this option.
    UnsupportedOption(Vec<u8>),
    /// What is wrong, in Redis's words.
    Text(&'static str),
    /// There was no command at all.
    Empty,
}

/// Redis shows at most so many bytes of an unknown command's name, and about as many of its arguments.
const SHOWN: usize = 128;

impl CommandError {
    /// The error of a command whose name is not in the table.
    pub fn unknown(args: &[Bytes]) -> Self {
        let Some((name, rest)) = args.split_first() else { return Self::Empty };
        // Redis formats them as C strings, which end at a NUL.
        let cut = |bytes: &Bytes, most: usize| {
            bytes.iter().copied().take(most).take_while(|&byte| byte != 0).collect::<Vec<u8>>()
        };
        let mut text = b"ERR unknown command '".to_vec();
        text.extend(cut(name, SHOWN));
        text.extend_from_slice(b"', with args beginning with: ");
        let mut shown = 0;
        for arg in rest {
            if shown >= SHOWN {
                break;
            }
            let part = cut(arg, SHOWN - shown);
            shown += part.len() + 3;
            text.push(b'\'');
            text.extend(part);
            text.extend_from_slice(b"' ");
        }
        Self::Unknown(one_line(text))
    }

    /// Appends the error as a RESP reply, byte for byte what Redis sends (its text need not be UTF-8).
    pub fn reply(&self, out: &mut Vec<u8>) {
        match self {
            Self::Unknown(text) => reply::error(out, text),
            Self::UnsupportedOption(name) => {
                // Redis shows it as C does, where a NUL is the end.
                let shown = name.split(|&byte| byte == 0).next().unwrap_or_default();
                let text = [b"ERR Unsupported option ", shown].concat();
                reply::error(out, &one_line(text));
            }
            other => {
                let text = alloc::format!("{other}");
                reply::error(out, text.as_bytes());
            }
        }
    }
}

/// An error is one line: Redis writes a space for whatever would end it.
fn one_line(mut text: Vec<u8>) -> Vec<u8> {
    for byte in &mut text {
        if matches!(byte, b'\r' | b'\n') {
            *byte = b' ';
        }
    }
    text
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(text) => f.write_str(&alloc::string::String::from_utf8_lossy(text)),
            Self::Arity(name) => write!(f, "ERR wrong number of arguments for '{name}' command"),
            Self::Syntax => f.write_str("ERR syntax error"),
            Self::NotInteger => f.write_str("ERR value is not an integer or out of range"),
            Self::DecrementOverflow => f.write_str("ERR decrement would overflow"),
            Self::Offset => f.write_str("ERR offset is out of range"),
            Self::BitOffset => f.write_str("ERR bit offset is not an integer or out of range"),
            Self::Bit => f.write_str("ERR bit is not an integer or out of range"),
            Self::BitSought => f.write_str("ERR The bit argument must be 1 or 0."),
            Self::NotFloat => f.write_str("ERR value is not a valid float"),
            Self::LcsForms => {
                f.write_str("ERR If you want both the length and indexes, please just use IDX.")
            }
            Self::NotInt32 => {
                write!(f, "ERR value is out of range, value must between {} and {}", i32::MIN, i32::MAX)
            }
            Self::Database => f.write_str("ERR DB index is out of range"),
            Self::SameKey => f.write_str("ERR source and destination objects are the same"),
            Self::Cursor => f.write_str("ERR invalid cursor"),
            Self::KeyTooLong => write!(f, "ERR key exceeds maximum allowed size ({MAX_KEY} bytes)"),
            Self::TooManyKeys => write!(f, "ERR too many keys: at most {MAX_KEYS} in one command"),
            Self::ValueTooLong => f.write_str("ERR string exceeds maximum allowed size (proto-max-bulk-len)"),
            Self::ExpireTime(name) => write!(f, "ERR invalid expire time in '{name}' command"),
            Self::UnsupportedOption(name) => write!(f, "ERR Unsupported option {}", name.escape_ascii()),
            Self::Text(text) => f.write_str(text),
            Self::Empty => f.write_str("ERR empty command"),
        }
    }
}

impl core::error::Error for CommandError {}
