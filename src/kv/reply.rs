//! Replies in canonical RESP3, appended to a buffer.

use alloc::vec::Vec;

use super::number::Decimal;

/// `+OK`.
pub(super) fn ok(out: &mut Vec<u8>) {
    out.extend_from_slice(b"+OK\r\n");
}

/// RESP3's null.
pub(super) fn null(out: &mut Vec<u8>) {
    out.extend_from_slice(b"_\r\n");
}

/// A 64-bit integer.
pub(super) fn integer(out: &mut Vec<u8>, value: i64) {
    line(out, b':', Decimal::signed(value).as_bytes());
}

/// A number of things.
pub(super) fn count(out: &mut Vec<u8>, value: usize) {
    line(out, b':', Decimal::unsigned(value as u64).as_bytes());
}

/// The head of an array of `len` values, which must follow.
pub(super) fn array(out: &mut Vec<u8>, len: usize) {
    line(out, b'*', Decimal::unsigned(len as u64).as_bytes());
}

/// A string of any bytes.
pub(super) fn bulk(out: &mut Vec<u8>, value: &[u8]) {
    line(out, b'$', Decimal::unsigned(value.len() as u64).as_bytes());
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// An error; `text` begins with its code and is one line.
pub(super) fn error(out: &mut Vec<u8>, text: &[u8]) {
    line(out, b'-', text);
}

fn line(out: &mut Vec<u8>, kind: u8, text: &[u8]) {
    out.push(kind);
    out.extend_from_slice(text);
    out.extend_from_slice(b"\r\n");
}
