//! One element of a reply: the piece of which both versions of the protocol are built.

use super::reply::ReplyError;
use super::request::parse_integer;

/// Longest line of a reply: an error, a simple string, a number.
const MAX_LINE: usize = 64 * 1024;

/// The first element of some bytes. The elements of an aggregate follow it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Element<'a> {
    /// `+ - : , # (`: kind and text.
    Line(u8, &'a [u8]),
    /// `$ = !`: kind and text.
    Blob(u8, &'a [u8]),
    /// `_`, and the old `$-1` and `*-1`.
    Null,
    /// `* ~ > % |`: kind, and how many elements follow (two for each pair of a map).
    Aggregate(u8, usize),
}

/// What [`read`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Read<'a> {
    /// An element, and its length in bytes.
    Whole(Element<'a>, usize),
    /// At least so many bytes are needed (or one more than there are, if that is not known).
    Needs(usize),
}

/// Reads the element at the start of `bytes`; blobs of more than `max_blob` bytes are an error.
pub(super) fn read(bytes: &[u8], max_blob: usize) -> Result<Read<'_>, ReplyError> {
    let more = Ok(Read::Needs(bytes.len().saturating_add(1)));
    let Some((&kind, rest)) = bytes.split_first() else { return more };
    let known = b"+-:,#($=!_*~>%|".contains(&kind);
    if !known {
        return Err(ReplyError::Kind(kind));
    }
    let Some(end) = rest.iter().take(MAX_LINE).position(|&b| b == b'\r') else {
        return if rest.len() < MAX_LINE { more } else { Err(ReplyError::TooLong) };
    };
    let line = rest.get(..end).unwrap_or_default();
    match rest.get(end + 1) {
        None => return more,
        Some(b'\n') => {}
        Some(_) => return Err(ReplyError::Malformed),
    }
    let length = end + 3;
    if matches!(kind, b'+' | b'-' | b':' | b',' | b'#' | b'(') {
        return Ok(Read::Whole(Element::Line(kind, line), length));
    }
    if kind == b'_' {
        return if line.is_empty() {
            Ok(Read::Whole(Element::Null, length))
        } else {
            Err(ReplyError::Malformed)
        };
    }
    let count = parse_integer(line).ok_or(ReplyError::Malformed)?;
    if count == -1 && matches!(kind, b'$' | b'*') {
        return Ok(Read::Whole(Element::Null, length));
    }
    let count = usize::try_from(count).map_err(|_| ReplyError::Malformed)?;
    match kind {
        b'$' | b'=' | b'!' => blob(bytes, kind, length, count, max_blob),
        b'%' | b'|' => {
            let elements = count.checked_mul(2).ok_or(ReplyError::TooLong)?;
            Ok(Read::Whole(Element::Aggregate(kind, elements), length))
        }
        _ => Ok(Read::Whole(Element::Aggregate(kind, count), length)),
    }
}

fn blob(bytes: &[u8], kind: u8, start: usize, count: usize, max: usize) -> Result<Read<'_>, ReplyError> {
    if count > max {
        return Err(ReplyError::TooLong);
    }
    let end = start.saturating_add(count);
    let whole = end.saturating_add(2);
    if bytes.len() < whole {
        return Ok(Read::Needs(whole));
    }
    if bytes.get(end..whole) != Some(b"\r\n") {
        return Err(ReplyError::Malformed);
    }
    let text = bytes.get(start..end).unwrap_or_default();
    if kind == b'=' && text.get(3) != Some(&b':') {
        return Err(ReplyError::Malformed);
    }
    Ok(Read::Whole(Element::Blob(kind, text), whole))
}
