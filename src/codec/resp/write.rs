//! Writers: each appends one element to a buffer. Replies are written as RESP3, the canonical form, and
//! [`downgrade`](super::downgrade)d for a connection that speaks RESP2.

use alloc::vec::Vec;
use core::fmt::{self, Write};

/// `+text`. Line breaks become spaces.
pub fn simple(out: &mut Vec<u8>, text: &str) {
    out.push(b'+');
    line(out, text.as_bytes());
}

/// `-text`: a code in capitals, then a sentence. Line breaks become spaces, as in Redis.
pub fn error(out: &mut Vec<u8>, text: &str) {
    out.push(b'-');
    line(out, text.as_bytes());
}

/// `-…` of pieces that need not be UTF-8. Line breaks become spaces.
pub fn error_bytes(out: &mut Vec<u8>, pieces: &[&[u8]]) {
    out.push(b'-');
    for piece in pieces {
        out.extend(piece.iter().map(|&b| flat(b)));
    }
    out.extend_from_slice(b"\r\n");
}

/// `:number`.
pub fn integer(out: &mut Vec<u8>, number: i64) {
    header(out, b':', number);
}

/// `$length text`.
pub fn bulk(out: &mut Vec<u8>, text: &[u8]) {
    header(out, b'$', text.len() as u64);
    out.extend_from_slice(text);
    out.extend_from_slice(b"\r\n");
}

/// `=length txt:text`: text for people, which redis-cli shows as it is.
pub fn verbatim(out: &mut Vec<u8>, text: &[u8]) {
    header(out, b'=', text.len() as u64 + 4);
    out.extend_from_slice(b"txt:");
    out.extend_from_slice(text);
    out.extend_from_slice(b"\r\n");
}

/// `_`.
pub fn null(out: &mut Vec<u8>) {
    out.extend_from_slice(b"_\r\n");
}

/// `#t` or `#f`.
pub fn boolean(out: &mut Vec<u8>, value: bool) {
    out.extend_from_slice(if value { b"#t\r\n" } else { b"#f\r\n" });
}

/// `,number` in the shortest form that reads back the same.
pub fn double(out: &mut Vec<u8>, value: f64) {
    out.push(b',');
    if value.is_nan() {
        out.extend_from_slice(b"nan");
    } else {
        text(out, format_args!("{value}"));
    }
    out.extend_from_slice(b"\r\n");
}

/// `*count`; so many elements follow.
pub fn array(out: &mut Vec<u8>, count: usize) {
    header(out, b'*', count as u64);
}

/// `%pairs`; twice so many elements follow.
pub fn map(out: &mut Vec<u8>, pairs: usize) {
    header(out, b'%', pairs as u64);
}

/// `~count`; so many elements follow.
pub fn set(out: &mut Vec<u8>, count: usize) {
    header(out, b'~', count as u64);
}

/// `>count`; so many elements follow, of which the first names the kind of message.
pub fn push(out: &mut Vec<u8>, count: usize) {
    header(out, b'>', count as u64);
}

/// A request: an array of bulk strings.
pub fn request<A: AsRef<[u8]>>(out: &mut Vec<u8>, arguments: &[A]) {
    array(out, arguments.len());
    for argument in arguments {
        bulk(out, argument.as_ref());
    }
}

/// Formats into the buffer as UTF-8, without a line break.
pub fn text(out: &mut Vec<u8>, arguments: fmt::Arguments<'_>) {
    struct Sink<'a>(&'a mut Vec<u8>);
    impl Write for Sink<'_> {
        fn write_str(&mut self, s: &str) -> fmt::Result {
            self.0.extend_from_slice(s.as_bytes());
            Ok(())
        }
    }
    // The sink never fails; only a Display of the caller's could.
    let _ = Sink(out).write_fmt(arguments);
}

fn header(out: &mut Vec<u8>, kind: u8, number: impl fmt::Display) {
    out.push(kind);
    text(out, format_args!("{number}\r\n"));
}

fn line(out: &mut Vec<u8>, text: &[u8]) {
    out.extend(text.iter().map(|&b| flat(b)));
    out.extend_from_slice(b"\r\n");
}

fn flat(byte: u8) -> u8 {
    if matches!(byte, b'\r' | b'\n') { b' ' } else { byte }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_writer_writes_its_element() {
        let mut out = Vec::new();
        simple(&mut out, "OK");
        error(&mut out, "ERR a\r\nb");
        error_bytes(&mut out, &[b"ERR '", b"\xff\n", b"'"]);
        integer(&mut out, i64::MIN);
        bulk(&mut out, b"a\r\nb");
        verbatim(&mut out, b"hi");
        null(&mut out);
        boolean(&mut out, true);
        double(&mut out, 1.5);
        double(&mut out, f64::NEG_INFINITY);
        array(&mut out, 0);
        map(&mut out, 1);
        request(&mut out, &[&b"GET"[..], b"k"]);
        let expected = b"+OK\r\n-ERR a  b\r\n-ERR '\xff '\r\n:-9223372036854775808\r\n$4\r\na\r\nb\r\n=6\r\ntxt:hi\r\n_\r\n\
            #t\r\n,1.5\r\n,-inf\r\n*0\r\n%1\r\n*2\r\n$3\r\nGET\r\n$1\r\nk\r\n";
        assert_eq!(out, expected);
    }
}
