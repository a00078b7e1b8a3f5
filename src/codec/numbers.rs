//! CBOR of unsigned numbers and short lists of them: what the messages that are sent all the time are made of.
//!
//! ciborium reads and writes anything that serde can describe, at a thousand instructions a message. These few lines do the
//! same for this one shape. They write what it writes, byte for byte, and leave what they do not know to it.

use alloc::vec::Vec;

const UNSIGNED: u8 = 0 << 5;
const ARRAY: u8 = 4 << 5;

/// Adds a number, in the shortest form.
pub(super) fn put(out: &mut Vec<u8>, number: u64) {
    put_head(out, UNSIGNED, number);
}

/// Adds the head of a list of `len` items, which are to follow.
pub(super) fn put_list(out: &mut Vec<u8>, len: usize) {
    put_head(out, ARRAY, len as u64);
}

/// Bytes that a number, or the head of a list of so many, takes.
pub(super) const fn len(value: u64) -> usize {
    match value {
        0..=23 => 1,
        24..=0xff => 2,
        0x100..=0xffff => 3,
        0x1_0000..=0xffff_ffff => 5,
        _ => 9,
    }
}

fn put_head(out: &mut Vec<u8>, major: u8, value: u64) {
    let len = len(value);
    let info = match len {
        1 => return out.push(major | value as u8),
        2 => 24,
        3 => 25,
        5 => 26,
        _ => 27,
    };
    out.push(major | info);
    out.extend_from_slice(value.to_be_bytes().get(9 - len..).unwrap_or_default());
}

/// Takes a number off the front, in any of its forms; `None` for anything else.
pub(super) fn take(from: &mut &[u8]) -> Option<u64> {
    take_head(from, UNSIGNED)
}

/// Takes the head of a list of known length off the front; `None` for anything else.
pub(super) fn take_list(from: &mut &[u8]) -> Option<u64> {
    take_head(from, ARRAY)
}

/// Takes a list of exactly `N` numbers off the front; `None` for anything else.
pub(super) fn take_all<const N: usize>(from: &mut &[u8]) -> Option<[u64; N]> {
    if take_list(from)? != N as u64 {
        return None;
    }
    let mut numbers = [0; N];
    for number in &mut numbers {
        *number = take(from)?;
    }
    Some(numbers)
}

fn take_head(from: &mut &[u8], major: u8) -> Option<u64> {
    let (&head, rest) = from.split_first()?;
    let info = head.checked_sub(major)?;
    let len = match info {
        0..=23 => {
            *from = rest;
            return Some(info.into());
        }
        24..=27 => 1 << (info - 24),
        _ => return None,
    };
    let (bytes, rest) = rest.split_at_checked(len)?;
    *from = rest;
    Some(bytes.iter().fold(0, |value, &byte| value << 8 | u64::from(byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Those where the form changes, and their neighbours.
    const EDGES: [u64; 13] = [
        0,
        1,
        23,
        24,
        0xff,
        0x100,
        0xffff,
        0x1_0000,
        0xffff_ffff,
        0x1_0000_0000,
        1 << 53,
        u64::MAX - 1,
        u64::MAX,
    ];

    #[test]
    fn numbers_and_lists_are_written_as_ciborium_does() {
        for (a, b) in EDGES.iter().flat_map(|a| EDGES.iter().map(move |b| (*a, *b))) {
            let (mut ours, mut theirs) = (Vec::new(), Vec::new());
            put_list(&mut ours, 2);
            put(&mut ours, a);
            put(&mut ours, b);
            ciborium::into_writer(&(a, b), &mut theirs).expect("memory takes everything");
            assert_eq!(ours, theirs);
            assert_eq!(ours.len(), len(2) + len(a) + len(b));
            let mut rest = &ours[..];
            assert_eq!((take_all(&mut rest), rest.len()), (Some([a, b]), 0));
        }
    }

    #[test]
    fn longer_forms_are_read_as_ciborium_does() {
        for image in
            [&b"\x81\x18\x05"[..], b"\x81\x19\x00\x05", b"\x98\x01\x05", b"\x81\x1b\0\0\0\0\0\0\0\x05"]
        {
            let theirs: (u64,) = ciborium::from_reader(image).expect("well formed");
            assert_eq!(take_all(&mut &image[..]), Some([theirs.0]), "{image:x?}");
        }
    }

    #[test]
    fn anything_else_is_not_taken() {
        for image in [
            &b""[..],
            b"\x80",
            b"\x81",
            b"\x81\x18",
            b"\x81\x20",
            b"\x81\x1c",
            b"\x82\x05",
            b"\x9f\x05\xff",
            b"\x81\x61a",
        ] {
            assert_eq!(take_all::<1>(&mut &image[..]), None, "{image:x?}");
        }
    }
}
