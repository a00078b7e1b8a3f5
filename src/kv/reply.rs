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

/// The head of a map of `len` pairs, which must follow.
pub(super) fn map(out: &mut Vec<u8>, len: usize) {
    line(out, b'%', Decimal::unsigned(len as u64).as_bytes());
}

/// One line of text that is a name or a state.
pub(super) fn simple(out: &mut Vec<u8>, text: &[u8]) {
    line(out, b'+', text);
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

/// The error of a reply that would pass [`MAX_REPLY`](super::MAX_REPLY).
pub(super) fn too_long(out: &mut Vec<u8>) {
    error(out, b"ERR reply exceeds maximum allowed size");
}

fn line(out: &mut Vec<u8>, kind: u8, text: &[u8]) {
    out.push(kind);
    out.extend_from_slice(text);
    out.extend_from_slice(b"\r\n");
}
