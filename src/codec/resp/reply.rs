//! Replies: for the clerk, the command line and the tests.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use bytes::Bytes;
use smallvec::SmallVec;

use super::element::{Element, Read, read};
use crate::codec::input::Input;

/// Deepest nesting of a reply.
const MAX_DEPTH: usize = 32;

/// A reply of either version of the protocol.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Value {
    /// `_`, `$-1`, `*-1`.
    Null,
    /// `+`.
    Simple(Bytes),
    /// `-` or `!`: the code and the sentence.
    Error(Bytes),
    /// `:`.
    Integer(i64),
    /// `$`.
    Bulk(Bytes),
    /// `*`.
    Array(Vec<Value>),
    /// `%`, in the order in which it came.
    Map(Vec<(Value, Value)>),
    /// `~`, in the order in which it came.
    Set(Vec<Value>),
    /// `>`: not the answer to a request.
    Push(Vec<Value>),
    /// `#`.
    Boolean(bool),
    /// `,`.
    Double(f64),
    /// `(`: its digits.
    BigNumber(Bytes),
    /// `=`: a format of three letters and the text.
    Verbatim(Bytes, Bytes),
}

impl Value {
    /// The text of a string of any kind.
    pub fn text(&self) -> Option<&Bytes> {
        match self {
            Self::Simple(text) | Self::Bulk(text) | Self::Verbatim(_, text) => Some(text),
            _ => None,
        }
    }

    /// An error's first word: `ERR`, `MOVED`, `UNDETERMINED`.
    pub fn error_code(&self) -> Option<&[u8]> {
        match self {
            Self::Error(text) => text.split(|&b| b == b' ').next(),
            _ => None,
        }
    }
}

/// What is wrong with a reply's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReplyError {
    /// No element begins with this byte.
    Kind(u8),
    /// A length, a number or a line break is wrong, or the reply ends too early or too late.
    Malformed,
    /// A line, a string or a count passes the limit.
    TooLong,
    /// Nested more than 32 deep.
    TooDeep,
}

impl fmt::Display for ReplyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kind(byte) => write!(f, "no element of a reply begins with '{}'", byte.escape_ascii()),
            Self::Malformed => f.write_str("a reply is malformed"),
            Self::TooLong => f.write_str("a reply passes the limit"),
            Self::TooDeep => write!(f, "a reply is nested more than {MAX_DEPTH} deep"),
        }
    }
}

impl core::error::Error for ReplyError {}

/// Takes the bytes of a connection to a server and yields its replies. Each element is looked at once to find the reply's
/// end, and once more to build its value, however the bytes are divided.
#[derive(Debug)]
pub struct ReplyParser {
    max_reply: usize,
    /// Bytes of the current reply that hold whole elements.
    scanned: usize,
    /// For each aggregate that is open, how many elements are still to come.
    open: SmallVec<[usize; 8]>,
    needed: usize,
    failed: Option<ReplyError>,
}

impl ReplyParser {
    /// A parser for a new connection; replies of more than `max_reply` bytes are an error.
    pub fn new(max_reply: usize) -> Self {
        Self { max_reply, scanned: 0, open: SmallVec::new(), needed: 0, failed: None }
    }

    /// How many waiting bytes the next step needs, if it is known.
    pub fn needed(&self) -> usize {
        self.needed
    }

    /// The next whole reply. Its strings share the input's memory. After an error the connection must be closed.
    pub fn next_reply(&mut self, input: &mut Input) -> Result<Option<Value>, ReplyError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let result = self.advance(input);
        self.failed = result.as_ref().err().copied();
        result
    }

    fn advance(&mut self, input: &mut Input) -> Result<Option<Value>, ReplyError> {
        while !self.scan_element(input.filled())? {
            if self.needed > 0 {
                return Ok(None);
            }
        }
        let bytes = input.take(self.scanned);
        self.scanned = 0;
        self.open.clear();
        let mut at = 0;
        let value = build(&bytes, &mut at, 0)?;
        if at == bytes.len() { Ok(Some(value)) } else { Err(ReplyError::Malformed) }
    }

    /// Steps over one element; `true` when it was the reply's last. `needed` is not 0 when it is not whole.
    fn scan_element(&mut self, waiting: &[u8]) -> Result<bool, ReplyError> {
        let rest = waiting.get(self.scanned..).unwrap_or_default();
        self.needed = 0;
        let (element, length) = match read(rest, self.max_reply)? {
            Read::Whole(element, length) => (element, length),
            Read::Needs(more) => {
                self.needed = self.scanned.saturating_add(more);
                if self.scanned.saturating_add(rest.len()) > self.max_reply.saturating_add(64) {
                    return Err(ReplyError::TooLong);
                }
                return Ok(false);
            }
        };
        self.scanned = self.scanned.saturating_add(length);
        if self.scanned > self.max_reply.saturating_add(64) {
            return Err(ReplyError::TooLong);
        }
        let inside = match element {
            // The element that an attribute describes comes behind it, in its place.
            Element::Aggregate(b'|', count) => count.checked_add(1).ok_or(ReplyError::TooLong)?,
            Element::Aggregate(_, count) => count,
            _ => 0,
        };
        if inside > 0 {
            if self.open.len() >= MAX_DEPTH {
                return Err(ReplyError::TooDeep);
            }
            self.open.push(inside);
            return Ok(false);
        }
        while let Some(left) = self.open.last_mut() {
            *left -= 1;
            if *left > 0 {
                return Ok(false);
            }
            self.open.pop();
        }
        Ok(true)
    }
}

/// Builds the value at `at`, which moves behind it. `bytes` hold whole elements only.
fn build(bytes: &Bytes, at: &mut usize, depth: usize) -> Result<Value, ReplyError> {
    if depth > MAX_DEPTH {
        return Err(ReplyError::TooDeep);
    }
    let rest = bytes.get(*at..).unwrap_or_default();
    let Read::Whole(element, length) = read(rest, usize::MAX)? else { return Err(ReplyError::Malformed) };
    *at += length;
    Ok(match element {
        Element::Null => Value::Null,
        Element::Line(kind, line) => line_value(kind, bytes.slice_ref(line))?,
        Element::Blob(b'=', text) => {
            let (format, rest) = text.split_at_checked(4).ok_or(ReplyError::Malformed)?;
            Value::Verbatim(bytes.slice_ref(format.get(..3).unwrap_or_default()), bytes.slice_ref(rest))
        }
        Element::Blob(b'!', text) => Value::Error(bytes.slice_ref(text)),
        Element::Blob(_, text) => Value::Bulk(bytes.slice_ref(text)),
        Element::Aggregate(kind, count) => {
            // Every element takes at least three bytes, so a count alone allocates nothing.
            let mut elements = Vec::with_capacity(count.min(rest.len() / 3));
            for _ in 0..count {
                elements.push(build(bytes, at, depth + 1)?);
            }
            match kind {
                b'|' => build(bytes, at, depth + 1)?,
                b'%' => Value::Map(pairs(elements)),
                b'~' => Value::Set(elements),
                b'>' => Value::Push(elements),
                _ => Value::Array(elements),
            }
        }
    })
}

fn pairs(elements: Vec<Value>) -> Vec<(Value, Value)> {
    let mut pairs = Vec::with_capacity(elements.len() / 2);
    let mut elements = elements.into_iter();
    while let (Some(key), Some(value)) = (elements.next(), elements.next()) {
        pairs.push((key, value));
    }
    pairs
}

fn line_value(kind: u8, line: Bytes) -> Result<Value, ReplyError> {
    Ok(match kind {
        b'+' => Value::Simple(line),
        b'-' => Value::Error(line),
        b'(' => Value::BigNumber(line),
        b':' => Value::Integer(super::parse_integer(&line).ok_or(ReplyError::Malformed)?),
        b'#' => match &line[..] {
            b"t" => Value::Boolean(true),
            b"f" => Value::Boolean(false),
            _ => return Err(ReplyError::Malformed),
        },
        _ => {
            let text = String::from_utf8_lossy(&line);
            Value::Double(text.parse().map_err(|_| ReplyError::Malformed)?)
        }
    })
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;
    use crate::rng::Rng;

    fn parse(bytes: &[u8], mut cut: impl FnMut() -> usize) -> (Vec<Value>, Option<ReplyError>) {
        let mut input = Input::new(256);
        let mut parser = ReplyParser::new(1 << 20);
        let mut replies = Vec::new();
        let mut rest = bytes;
        while !rest.is_empty() {
            let n = cut().clamp(1, rest.len());
            input.space(n, parser.needed())[..n].copy_from_slice(&rest[..n]);
            input.advance(n);
            rest = &rest[n..];
            loop {
                match parser.next_reply(&mut input) {
                    Ok(Some(reply)) => replies.push(reply),
                    Ok(None) => break,
                    Err(error) => return (replies, Some(error)),
                }
            }
        }
        (replies, None)
    }

    fn bulk(text: &'static str) -> Value {
        Value::Bulk(Bytes::from_static(text.as_bytes()))
    }

    #[test]
    fn every_type_is_read_in_any_division() {
        let stream = b"+OK\r\n-ERR no\r\n:-5\r\n$3\r\na\rb\r\n$-1\r\n*-1\r\n_\r\n#t\r\n,1.5\r\n,inf\r\n(123\r\n=5\r\ntxt:a\r\n!5\r\nERR x\r\n\
            *2\r\n*0\r\n%1\r\n$1\r\nk\r\n~1\r\n:1\r\n>1\r\n+m\r\n*2\r\n|1\r\n+ttl\r\n:3\r\n:7\r\n:8\r\n*0\r\n";
        let text = |s: &'static str| Bytes::from_static(s.as_bytes());
        let expected = vec![
            Value::Simple(text("OK")),
            Value::Error(text("ERR no")),
            Value::Integer(-5),
            bulk("a\rb"),
            Value::Null,
            Value::Null,
            Value::Null,
            Value::Boolean(true),
            Value::Double(1.5),
            Value::Double(f64::INFINITY),
            Value::BigNumber(text("123")),
            Value::Verbatim(text("txt"), text("a")),
            Value::Error(text("ERR x")),
            Value::Array(vec![
                Value::Array(vec![]),
                Value::Map(vec![(bulk("k"), Value::Set(vec![Value::Integer(1)]))]),
            ]),
            Value::Push(vec![Value::Simple(text("m"))]),
            Value::Array(vec![Value::Integer(7), Value::Integer(8)]),
            Value::Array(vec![]),
        ];
        for step in [1, 2, 3, 5, 8, 13, 1000] {
            assert_eq!(parse(stream, || step), (expected.clone(), None), "in pieces of {step}");
        }
        assert_eq!(expected[1].error_code(), Some(&b"ERR"[..]));
    }

    #[test]
    fn depth_and_length_are_limited() {
        let deep = |n: usize| {
            let mut bytes = b"*1\r\n".repeat(n);
            bytes.extend_from_slice(b":1\r\n");
            parse(&bytes, || usize::MAX)
        };
        assert_eq!(deep(MAX_DEPTH).1, None);
        assert_eq!(deep(MAX_DEPTH + 1).1, Some(ReplyError::TooDeep));
        assert_eq!(deep(100_000).1, Some(ReplyError::TooDeep));
        assert_eq!(parse(b"$1048577\r\n", || 3).1, Some(ReplyError::TooLong));
        assert_eq!(
            parse(b"*9223372036854775807\r\n:1\r\n", || 3),
            (vec![], None),
            "a count alone costs nothing"
        );
        assert_eq!(parse(&[&b"+"[..], &[b'x'; 70_000]].concat(), || 999).1, Some(ReplyError::TooLong));
        assert_eq!(
            parse(&[&b"*300000\r\n"[..], &b":11\r\n".repeat(290_000)].concat(), || 999).1,
            Some(ReplyError::TooLong)
        );
    }

    #[test]
    fn arbitrary_bytes_do_not_panic_and_any_division_gives_the_same() {
        const ALPHABET: &[u8] = b"+-:$*%~>|_#,(=!0123t\r\n\r\n\r\n";
        for seed in 0..2000 {
            let mut rng = Rng::new(seed);
            let bytes: Vec<u8> =
                (0..rng.below(60)).map(|_| ALPHABET[rng.below(ALPHABET.len() as u64) as usize]).collect();
            let whole = parse(&bytes, || usize::MAX);
            let same = |other: (Vec<Value>, Option<ReplyError>)| {
                assert_eq!(alloc::format!("{other:?}"), alloc::format!("{whole:?}"));
            };
            same(parse(&bytes, || 1));
            same(parse(&bytes, || rng.below(9) as usize));
        }
    }
}
