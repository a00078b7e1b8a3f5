//! RESP3 replies for a connection that speaks RESP2.

use alloc::vec::Vec;

use super::element::{Element, Read, read};
use super::reply::ReplyError;
use super::request::short_length;
use super::write;

/// Appends the one RESP3 reply in `reply` to `out` as RESP2: `_` becomes `$-1`, a map of n pairs an array of 2n, a set or
/// push an array, a boolean an integer, a double, big number or verbatim string a bulk string, a blob error an error, and
/// an attribute is left out. It needs no recursion: what is nested follows its header in both versions.
///
/// On an error `out` is as it was.
pub fn downgrade(reply: &[u8], out: &mut Vec<u8>) -> Result<(), ReplyError> {
    match reply.first() {
        Some(b'+' | b'-' | b':' | b'$') => {
            out.extend_from_slice(reply);
            return Ok(());
        }
        Some(_) => {}
        None => return Err(ReplyError::Malformed),
    }
    let start = out.len();
    let result = convert(reply, out);
    if result.is_err() {
        out.truncate(start);
    }
    result
}

fn convert(reply: &[u8], out: &mut Vec<u8>) -> Result<(), ReplyError> {
    let mut rest = reply;
    let mut wanted: usize = 1;
    while wanted > 0 {
        let Read::Whole(element, length) = read(rest, usize::MAX)? else { return Err(ReplyError::Malformed) };
        let raw;
        (raw, rest) = rest.split_at_checked(length).ok_or(ReplyError::Malformed)?;
        wanted -= 1;
        match element {
            Element::Line(b'+' | b'-' | b':', _) | Element::Blob(b'$', _) => out.extend_from_slice(raw),
            Element::Line(b'#', value) => write::integer(out, i64::from(value == b"t")),
            Element::Line(_, number) => write::bulk(out, number),
            Element::Blob(b'!', text) => write::error_bytes(out, &[text]),
            Element::Blob(_, text) => write::bulk(out, text.get(4..).unwrap_or_default()),
            Element::Null => {
                out.extend_from_slice(if raw.first() == Some(&b'*') { b"*-1\r\n" } else { b"$-1\r\n" })
            }
            Element::Aggregate(b'|', count) => rest = skip(rest, count)?.ok_or(ReplyError::Malformed)?,
            Element::Aggregate(_, count) => {
                write::array(out, count);
                wanted = wanted.checked_add(count).ok_or(ReplyError::TooLong)?;
            }
        }
        if matches!(element, Element::Aggregate(b'|', _)) {
            wanted += 1;
        }
    }
    if rest.is_empty() { Ok(()) } else { Err(ReplyError::Malformed) }
}

/// What follows the next `count` elements, with all that is inside them; `None` if not all of that is there.
fn skip(bytes: &[u8], count: usize) -> Result<Option<&[u8]>, ReplyError> {
    let (mut rest, mut wanted) = (bytes, count);
    while wanted > 0 {
        let Read::Whole(element, length) = read(rest, usize::MAX)? else { return Ok(None) };
        rest = rest.get(length..).ok_or(ReplyError::Malformed)?;
        wanted -= 1;
        if let Element::Aggregate(kind, inner) = element {
            let inner = inner.checked_add(usize::from(kind == b'|')).ok_or(ReplyError::TooLong)?;
            wanted = wanted.checked_add(inner).ok_or(ReplyError::TooLong)?;
        }
    }
    Ok(Some(rest))
}

/// How long the first reply of either version in `replies` is; `None` if it is not whole yet.
pub fn reply_length(replies: &[u8]) -> Result<Option<usize>, ReplyError> {
    if let Some(length) = common_length(replies) {
        return Ok(Some(length));
    }
    Ok(skip(replies, 1)?.map(|rest| replies.len().saturating_sub(rest.len())))
}

/// The same for what most replies are, in a short way.
fn common_length(replies: &[u8]) -> Option<usize> {
    if replies.starts_with(b"+OK\r\n") {
        return Some(5);
    }
    let (length, line) = short_length(replies).filter(|_| replies.first() == Some(&b'$'))?;
    let end = line + length + 2;
    (replies.get(line + length..end)? == b"\r\n").then_some(end)
}

/// Whether `reply` is exactly one whole reply of either version.
pub fn is_whole_reply(reply: &[u8]) -> bool {
    skip(reply, 1).is_ok_and(|rest| rest.is_some_and(<[u8]>::is_empty))
}

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::string::String;

    use bytes::Bytes;

    use super::*;
    use crate::rng::Rng;

    #[test]
    fn every_type_has_its_older_form() {
        let cases: [(&str, &str); 19] = [
            ("+OK\r\n", "+OK\r\n"),
            ("-ERR x\r\n", "-ERR x\r\n"),
            (":1\r\n", ":1\r\n"),
            ("$3\r\na\rb\r\n", "$3\r\na\rb\r\n"),
            ("_\r\n", "$-1\r\n"),
            ("$-1\r\n", "$-1\r\n"),
            ("*-1\r\n", "*-1\r\n"),
            ("#t\r\n", ":1\r\n"),
            ("#f\r\n", ":0\r\n"),
            (",1.5\r\n", "$3\r\n1.5\r\n"),
            (",-inf\r\n", "$4\r\n-inf\r\n"),
            ("(12345678901234567890\r\n", "$20\r\n12345678901234567890\r\n"),
            ("=7\r\ntxt:a\nb\r\n", "$3\r\na\nb\r\n"),
            ("!8\r\nERR a\r\nb\r\n", "-ERR a  b\r\n"),
            ("*3\r\n_\r\n:1\r\n*1\r\n_\r\n", "*3\r\n$-1\r\n:1\r\n*1\r\n$-1\r\n"),
            ("%2\r\n+a\r\n:1\r\n+b\r\n*0\r\n", "*4\r\n+a\r\n:1\r\n+b\r\n*0\r\n"),
            ("~1\r\n+a\r\n", "*1\r\n+a\r\n"),
            (">2\r\n+message\r\n%1\r\n#t\r\n_\r\n", "*2\r\n+message\r\n*2\r\n:1\r\n$-1\r\n"),
            ("*2\r\n|1\r\n+ttl\r\n*1\r\n:3\r\n:7\r\n:8\r\n", "*2\r\n:7\r\n:8\r\n"),
        ];
        for (resp3, resp2) in cases {
            let mut out = b"before".to_vec();
            assert_eq!(downgrade(resp3.as_bytes(), &mut out), Ok(()), "{resp3:?}");
            assert_eq!(Bytes::copy_from_slice(&out[6..]), resp2, "{resp3:?}");
            assert!(is_whole_reply(resp3.as_bytes()) && is_whole_reply(&out[6..]));
        }
    }

    #[test]
    fn what_is_not_one_reply_is_refused_and_leaves_nothing() {
        for bad in [
            "",
            "*1\r\n",
            "*1\r\n:1\r\n:2\r\n",
            "%1\r\n:1\r\n",
            "_",
            "_x\r\n",
            "?\r\n",
            "*x\r\n",
            "=2\r\nab\r\n",
            "*2\r\n:1\r\n",
        ] {
            let mut out = b"before".to_vec();
            assert!(downgrade(bad.as_bytes(), &mut out).is_err(), "{bad:?}");
            assert_eq!(out, b"before");
            assert!(!is_whole_reply(bad.as_bytes()));
        }
    }

    #[test]
    fn a_reply_has_a_length_when_it_is_whole_and_no_sooner() {
        let replies = b"*2\r\n$3\r\na\rb\r\n%1\r\n+k\r\n_\r\n:1\r\n";
        let first = replies.len() - 4;
        for cut in 0..=replies.len() {
            let expected = (cut >= first).then_some(first);
            assert_eq!(reply_length(&replies[..cut]), Ok(expected), "{cut}");
        }
        assert_eq!(reply_length(b"HTTP/1.1 400 Bad Request\r\n"), Err(ReplyError::Kind(b'H')));
        assert_eq!(reply_length(b"*1\r\n$1\r\nabc"), Err(ReplyError::Malformed));
    }

    #[test]
    fn the_short_way_to_a_length_ends_where_the_long_one_does() {
        let mut rng = Rng::new(6);
        let mut short = 0;
        for _ in 0..20_000 {
            let mut bytes = match rng.below(3) {
                0 => b"+OK\r\n".to_vec(),
                1 => {
                    format!("${}\r\n{}\r\n", rng.below(120), "x".repeat(rng.below(120) as usize)).into_bytes()
                }
                _ => {
                    let value = "x".repeat(rng.below(120) as usize);
                    format!("${}\r\n{value}\r\n+more\r\n", value.len()).into_bytes()
                }
            };
            if rng.chance(1, 3) {
                let at = rng.below(bytes.len() as u64) as usize;
                bytes[at] = b"\r\n$+0x"[rng.below(6) as usize];
            }
            bytes.truncate(rng.below(2 * bytes.len() as u64) as usize);
            if let Some(length) = common_length(&bytes) {
                let rest = skip(&bytes, 1).expect("a reply").expect("a whole one");
                assert_eq!(length, bytes.len() - rest.len(), "{:?}", String::from_utf8_lossy(&bytes));
                short += 1;
            }
        }
        assert!(short > 3_000, "{short}");
    }

    #[test]
    fn arbitrary_bytes_do_not_panic_and_depth_needs_no_stack() {
        const ALPHABET: &[u8] = b"+-:$*%~>|_#,(=!0123t\r\n\r\n\r\n";
        for seed in 0..2000 {
            let mut rng = Rng::new(seed);
            let bytes: Vec<u8> =
                (0..rng.below(60)).map(|_| ALPHABET[rng.below(ALPHABET.len() as u64) as usize]).collect();
            let mut out = Vec::new();
            if downgrade(&bytes, &mut out).is_ok() && !b"+-:$".contains(&bytes[0]) {
                assert!(is_whole_reply(&out), "{:?}", Bytes::from(bytes));
            }
        }
        let mut deep = b"*1\r\n".repeat(200_000);
        deep.extend_from_slice(b"_\r\n");
        assert_eq!(downgrade(&deep, &mut Vec::new()), Ok(()));
    }
}
