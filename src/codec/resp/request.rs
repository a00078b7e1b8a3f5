//! Requests: arrays of bulk strings, and inline commands.

use alloc::vec::Vec;
use core::fmt;

use bytes::{Buf, Bytes};

use super::inline::split_inline;
use crate::codec::input::Input;

/// Arrays of so many arguments are a few.
const FEW: usize = 8;

/// Limits of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestLimits {
    /// Most bytes of an inline command, and of a length's digits (Redis: 64 KiB).
    pub line: usize,
    /// Most arguments (Redis up to 6.2: 1,024 × 1,024).
    pub arguments: usize,
    /// Most bytes of all arguments together, which bounds each of them too (Redis: 512 MiB for each).
    pub bytes: usize,
}

impl Default for RequestLimits {
    fn default() -> Self {
        Self { line: 64 * 1024, arguments: 1024 * 1024, bytes: 16 * 1024 * 1024 }
    }
}

/// What is wrong with a client's bytes. Displays what Redis says, without the leading `ERR `.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProtocolError {
    /// The number behind `*` is none, or passes the limit.
    MultibulkLength,
    /// The number behind `$` is none, is negative, or passes the limit.
    BulkLength,
    /// An argument does not begin with `$` but with this.
    ExpectedDollar(u8),
    /// An inline command passes the limit.
    TooBigInline,
    /// The line of a `*` passes the limit.
    TooBigMultibulkCount,
    /// The line of a `$` passes the limit.
    TooBigBulkCount,
    /// The quotes of an inline command do not fit together.
    UnbalancedQuotes,
    /// All arguments together pass the limit (Redis closes without a word).
    TooBigRequest,
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Protocol error: ")?;
        match self {
            Self::MultibulkLength => f.write_str("invalid multibulk length"),
            Self::BulkLength => f.write_str("invalid bulk length"),
            Self::ExpectedDollar(b'\r' | b'\n') => f.write_str("expected '$', got ' '"),
            Self::ExpectedDollar(got @ b' '..=b'~') => write!(f, "expected '$', got '{}'", char::from(*got)),
            // Redis sends the byte itself; an error's text stays readable here.
            Self::ExpectedDollar(got) => write!(f, "expected '$', got '{}'", got.escape_ascii()),
            Self::TooBigInline => f.write_str("too big inline request"),
            Self::TooBigMultibulkCount => f.write_str("too big mbulk count string"),
            Self::TooBigBulkCount => f.write_str("too big bulk count string"),
            Self::UnbalancedQuotes => f.write_str("unbalanced quotes in request"),
            Self::TooBigRequest => f.write_str("too big request"),
        }
    }
}

impl core::error::Error for ProtocolError {}

/// Parses the requests of one connection, each byte once, however they are divided.
#[derive(Debug)]
pub struct RequestParser {
    limits: RequestLimits,
    /// Arguments still to come of an array; 0 between requests.
    arguments_left: usize,
    /// The length of the argument that comes next, once it is read.
    bulk: Option<usize>,
    /// Bytes of the current request's arguments.
    bytes: usize,
    /// Waiting bytes that hold no line break.
    scanned: usize,
    failed: Option<ProtocolError>,
}

impl RequestParser {
    /// A parser for a new connection.
    pub fn new(limits: RequestLimits) -> Self {
        Self { limits, arguments_left: 0, bulk: None, bytes: 0, scanned: 0, failed: None }
    }

    /// Takes bytes of `input` until `arguments` are those of a whole request: then `true`, and the caller clears
    /// `arguments` before it calls again. `false` when more bytes are needed; then `arguments` belongs to the parser. Empty
    /// requests are skipped.
    ///
    /// Arguments share the input's memory. After an error the connection must be closed; every later call yields the same.
    pub fn parse(&mut self, input: &mut Input, arguments: &mut Vec<Bytes>) -> Result<bool, ProtocolError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let result = loop {
            if self.arguments_left > 0 {
                break self.bulks(input, arguments);
            }
            match input.filled().first().copied() {
                None => break Ok(false),
                Some(b'*') if self.whole_array(input, arguments) => break Ok(true),
                Some(b'*') => match self.multibulk(input) {
                    Ok(true) => arguments.reserve(self.arguments_left.min(64)),
                    other => break other,
                },
                Some(_) => match self.inline(input, arguments) {
                    Ok(true) if arguments.is_empty() => {}
                    other => break other,
                },
            }
        };
        self.failed = result.err();
        result
    }

    /// Whether a request has begun and is not whole.
    pub fn is_midway(&self, input: &Input) -> bool {
        self.arguments_left > 0 || !input.filled().is_empty()
    }

    /// Whether an array has begun and is not whole.
    pub fn is_in_array(&self) -> bool {
        self.arguments_left > 0
    }

    /// How many waiting bytes the next step needs, if it is known.
    pub fn needed(&self) -> usize {
        self.bulk.map_or(0, |length| length.saturating_add(2))
    }

    /// Takes an array of a few arguments that waits whole and whose lengths are short lines, as nearly all are; `false`, and
    /// nothing is taken, for every other.
    fn whole_array(&mut self, input: &mut Input, arguments: &mut Vec<Bytes>) -> bool {
        let mut spans = [(0, 0); FEW];
        let Some((count, end)) = self.few_bulks(input.filled(), &mut spans) else { return false };
        let Some(((start, length), before)) = spans.get(..count).and_then(<[_]>::split_last) else {
            return false;
        };
        self.scanned = 0;
        let mut taken = input.take(end);
        arguments.extend(before.iter().map(|&(start, length)| taken.slice(start..start + length)));
        // The last takes over what the others share with it.
        taken.advance(*start);
        taken.truncate(*length);
        arguments.push(taken);
        true
    }

    /// Where the arguments of such an array are: how many, and the array's end.
    fn few_bulks(&self, waiting: &[u8], spans: &mut [(usize, usize); FEW]) -> Option<(usize, usize)> {
        let (count, mut at) = short_length(waiting)?;
        let mut bytes = 0;
        for span in spans.get_mut(..count)? {
            let rest = waiting.get(at..).filter(|rest| rest.first() == Some(&b'$'))?;
            let (length, head) = short_length(rest)?;
            bytes += length;
            *span = (at + head, length);
            at += head + length + 2;
        }
        (count <= self.limits.arguments && bytes <= self.limits.bytes && at <= waiting.len())
            .then_some((count, at))
    }

    /// The line of a `*`.
    fn multibulk(&mut self, input: &mut Input) -> Result<bool, ProtocolError> {
        if let Some((count, end)) = short_length(input.filled())
            && count <= self.limits.arguments
        {
            self.scanned = 0;
            self.bytes = 0;
            input.skip(end);
            self.arguments_left = count;
            return Ok(true);
        }
        let Some(end) = self.line_end(input.filled(), 0, b'\r', ProtocolError::TooBigMultibulkCount)? else {
            return Ok(false);
        };
        if input.filled().len() < end + 2 {
            return Ok(false);
        }
        let count = input.filled().get(1..end).and_then(parse_integer);
        self.scanned = 0;
        self.bytes = 0;
        let count = count.ok_or(ProtocolError::MultibulkLength)?;
        let count = usize::try_from(count.max(0)).map_err(|_| ProtocolError::MultibulkLength)?;
        if count > self.limits.arguments {
            return Err(ProtocolError::MultibulkLength);
        }
        input.skip(end + 2);
        self.arguments_left = count;
        Ok(true)
    }

    /// The arguments of an array: all that are whole are taken at once and then divided.
    fn bulks(&mut self, input: &mut Input, arguments: &mut Vec<Bytes>) -> Result<bool, ProtocolError> {
        let mut spans: smallvec::SmallVec<[(usize, usize); 16]> = smallvec::SmallVec::new();
        let mut at = 0;
        let result = self.scan_bulks(input.filled(), &mut at, &mut spans);
        let taken = input.take(at);
        arguments.extend(spans.iter().map(|&(start, length)| taken.slice(start..start + length)));
        result
    }

    fn scan_bulks(
        &mut self,
        waiting: &[u8],
        at: &mut usize,
        spans: &mut smallvec::SmallVec<[(usize, usize); 16]>,
    ) -> Result<bool, ProtocolError> {
        while self.arguments_left > 0 {
            let length = match self.bulk {
                Some(length) => length,
                None => match self.bulk_length(waiting, at)? {
                    Some(length) => length,
                    None => return Ok(false),
                },
            };
            if waiting.len() - *at < length.saturating_add(2) {
                return Ok(false);
            }
            spans.push((*at, length));
            *at += length + 2;
            self.bulk = None;
            self.arguments_left -= 1;
        }
        Ok(true)
    }

    /// The line of a `$` at `at`, which moves behind it.
    fn bulk_length(&mut self, waiting: &[u8], at: &mut usize) -> Result<Option<usize>, ProtocolError> {
        let rest = waiting.get(*at..).unwrap_or_default();
        if rest.first() == Some(&b'$')
            && let Some((length, end)) = short_length(rest)
            && self.bytes.saturating_add(length) <= self.limits.bytes
        {
            self.scanned = 0;
            self.bytes += length;
            *at += end;
            self.bulk = Some(length);
            return Ok(Some(length));
        }
        let Some(end) = self.line_end(rest, 0, b'\r', ProtocolError::TooBigBulkCount)? else {
            return Ok(None);
        };
        if rest.len() < end + 2 {
            return Ok(None);
        }
        self.scanned = 0;
        match rest.first() {
            Some(b'$') => {}
            Some(&other) => return Err(ProtocolError::ExpectedDollar(other)),
            None => return Ok(None),
        }
        let length = rest.get(1..end).and_then(parse_integer).ok_or(ProtocolError::BulkLength)?;
        let length = usize::try_from(length).map_err(|_| ProtocolError::BulkLength)?;
        if length > self.limits.bytes {
            return Err(ProtocolError::BulkLength);
        }
        self.bytes = self.bytes.saturating_add(length);
        if self.bytes > self.limits.bytes {
            return Err(ProtocolError::TooBigRequest);
        }
        *at += end + 2;
        self.bulk = Some(length);
        Ok(Some(length))
    }

    /// An inline command.
    fn inline(&mut self, input: &mut Input, arguments: &mut Vec<Bytes>) -> Result<bool, ProtocolError> {
        let Some(end) = self.line_end(input.filled(), 0, b'\n', ProtocolError::TooBigInline)? else {
            return Ok(false);
        };
        self.scanned = 0;
        let mut line = input.take(end + 1);
        line.truncate(end);
        if line.last() == Some(&b'\r') {
            line.truncate(end - 1);
        }
        if split_inline(&line, arguments) { Ok(true) } else { Err(ProtocolError::UnbalancedQuotes) }
    }

    /// Where the first `mark` is; what was searched before is not searched again.
    fn line_end(
        &mut self,
        waiting: &[u8],
        from: usize,
        mark: u8,
        too_big: ProtocolError,
    ) -> Result<Option<usize>, ProtocolError> {
        let from = from.max(self.scanned.min(waiting.len()));
        let found = waiting.get(from..).unwrap_or_default().iter().position(|&b| b == mark).map(|n| from + n);
        if found.unwrap_or(waiting.len()) > self.limits.line {
            return Err(too_big);
        }
        self.scanned = found.unwrap_or(waiting.len());
        Ok(found)
    }
}

/// The number of a whole line that is one byte and up to seven digits without a leading zero, as nearly all lines of
/// lengths are, and where the line ends. `None` for every other line, right or wrong: those take the long way.
pub(super) fn short_length(line: &[u8]) -> Option<(usize, usize)> {
    match *line {
        [_, one, b'\r', b'\n', ..] => return Some((digit(one)?, 4)),
        [_, ten @ b'1'..=b'9', one, b'\r', b'\n', ..] => return Some((10 * digit(ten)? + digit(one)?, 5)),
        _ => {}
    }
    let (first, rest) = line.get(1..)?.split_first()?;
    let mut length = digit(*first)?;
    for (at, &byte) in rest.iter().take(7).enumerate() {
        match digit(byte) {
            Some(next) if length > 0 => length = 10 * length + next,
            None if byte == b'\r' && rest.get(at + 1) == Some(&b'\n') => return Some((length, at + 4)),
            _ => return None,
        }
    }
    None
}

fn digit(byte: u8) -> Option<usize> {
    byte.is_ascii_digit().then(|| usize::from(byte - b'0'))
}

/// A decimal number exactly as Redis's `string2ll` takes it: no sign but `-`, no leading zero, no space, within 64 bits.
pub fn parse_integer(text: &[u8]) -> Option<i64> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    match digits {
        [b'0'] if digits.len() == text.len() => return Some(0),
        [b'1'..=b'9', ..] if digits.len() <= 19 => {}
        _ => return None,
    }
    let mut value: i64 = 0;
    for &digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        // Counted downwards, because the least number has no positive counterpart.
        value = value.checked_mul(10)?.checked_sub(i64::from(digit - b'0'))?;
    }
    if digits.len() == text.len() { value.checked_neg() } else { Some(value) }
}

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::string::{String, ToString};
    use alloc::vec;

    use super::*;
    use crate::rng::Rng;

    const LIMITS: RequestLimits = RequestLimits { line: 64 * 1024, arguments: 1024, bytes: 1 << 20 };

    /// All requests of `bytes` when they arrive in pieces of the lengths that `cut` gives, and the error that ended it.
    fn parse(bytes: &[u8], mut cut: impl FnMut() -> usize) -> (Vec<Vec<Bytes>>, Option<ProtocolError>) {
        let mut input = Input::new(1024);
        let mut parser = RequestParser::new(LIMITS);
        let (mut requests, mut arguments) = (Vec::new(), Vec::new());
        let mut rest = bytes;
        while !rest.is_empty() {
            let n = cut().clamp(1, rest.len());
            input.space(n, parser.needed())[..n].copy_from_slice(&rest[..n]);
            input.advance(n);
            rest = &rest[n..];
            loop {
                match parser.parse(&mut input, &mut arguments) {
                    Ok(true) => requests.push(core::mem::take(&mut arguments)),
                    Ok(false) => break,
                    Err(error) => {
                        assert_eq!(parser.parse(&mut input, &mut arguments), Err(error));
                        return (requests, Some(error));
                    }
                }
            }
        }
        (requests, None)
    }

    fn shown(bytes: &[u8]) -> String {
        let (requests, error) = parse(bytes, || usize::MAX);
        for step in 1..bytes.len().min(40) {
            assert_eq!(parse(bytes, || step), (requests.clone(), error), "in pieces of {step}");
        }
        let mut text: Vec<String> = requests.iter().map(|r| format!("{r:?}")).collect();
        text.extend(error.map(|e| e.to_string()));
        text.join(" ")
    }

    #[test]
    fn requests_are_parsed_in_any_division() {
        assert_eq!(shown(b"*2\r\n$3\r\nGET\r\n$1\r\na\r\nPING\r\n"), "[b\"GET\", b\"a\"] [b\"PING\"]");
        assert_eq!(
            shown(b"*1\r\n$4\r\nPINGxxPING\r\n"),
            "[b\"PING\"] [b\"PING\"]",
            "as Redis: not looked at"
        );
        assert_eq!(shown(b"*0\r\n*-1\r\n\r\n  \r\nPING\nPING\r\n"), "[b\"PING\"] [b\"PING\"]");
        assert_eq!(shown(b"*2\r\n$0\r\n\r\n$2\r\n\r\n\r\n"), "[b\"\", b\"\\r\\n\"]");
        assert_eq!(shown(b"*1\r\n$4\r\nPIN"), "");
    }

    #[test]
    fn an_array_of_any_length_is_parsed_in_any_division() {
        for count in 1..=FEW + 2 {
            let mut bytes = format!("*{count}\r\n").into_bytes();
            (0..count).for_each(|n| bytes.extend_from_slice(format!("$2\r\n{n:02}\r\n").as_bytes()));
            let expected: Vec<String> = (0..count).map(|n| format!("b\"{n:02}\"")).collect();
            assert_eq!(shown(&bytes), format!("[{}]", expected.join(", ")));
        }
    }

    #[test]
    fn what_is_whole_is_held_to_the_limits_too() {
        let parse = |limits, bytes: &[u8]| {
            let mut input = Input::new(64);
            input.push(bytes);
            RequestParser::new(limits).parse(&mut input, &mut Vec::new())
        };
        let bytes = b"*2\r\n$3\r\nGET\r\n$3\r\nabc\r\n";
        assert_eq!(parse(RequestLimits { arguments: 2, bytes: 6, ..LIMITS }, bytes), Ok(true));
        let few = RequestLimits { arguments: 1, ..LIMITS };
        assert_eq!(parse(few, bytes), Err(ProtocolError::MultibulkLength));
        let short = RequestLimits { bytes: 5, ..LIMITS };
        assert_eq!(parse(short, bytes), Err(ProtocolError::TooBigRequest));
    }

    #[test]
    fn errors_are_worded_as_redis_words_them() {
        let cases: [(&[u8], &str); 16] = [
            (b"*x\r\n", "invalid multibulk length"),
            (b"*\r\nPING\r\n", "invalid multibulk length"),
            (b"*01\r\n", "invalid multibulk length"),
            (b"*+1\r\n", "invalid multibulk length"),
            (b"*1025\r\n", "invalid multibulk length"),
            (b"*9999999999999999999999\r\n", "invalid multibulk length"),
            (b"*1\r\n$x\r\n", "invalid bulk length"),
            (b"*1\r\n$-1\r\n", "invalid bulk length"),
            (b"*1\r\n$04\r\n", "invalid bulk length"),
            (b"*1\r\n$1048577\r\n", "invalid bulk length"),
            (b"*1\r\n@4\r\n", "expected '$', got '@'"),
            (b"*1\r\n\r\n", "expected '$', got ' '"),
            (b"*1\r\n'\r\n", "expected '$', got '''"),
            (b"SET a \"b\r\n", "unbalanced quotes in request"),
            (b"SET a \"b\"c\r\n", "unbalanced quotes in request"),
            (b"*2\r\n$3\r\nabc\r\n$1048576\r\n", "too big request"),
        ];
        for (bytes, text) in cases {
            assert_eq!(shown(bytes), format!("Protocol error: {text}"));
        }
        for (start, text) in [
            (&b"a"[..], "too big inline request"),
            (b"*", "too big mbulk count string"),
            (b"*1\r\n$", "too big bulk count string"),
        ] {
            let mut bytes = start.to_vec();
            bytes.extend_from_slice(&vec![b'1'; LIMITS.line + 10]);
            for step in [1000, usize::MAX] {
                let (requests, error) = parse(&bytes, || step);
                assert!(requests.is_empty());
                assert_eq!(error.unwrap().to_string(), format!("Protocol error: {text}"));
            }
        }
    }

    #[test]
    fn arguments_share_the_input_and_a_large_one_is_not_scanned_again_and_again() {
        let value = vec![b'v'; 1_000_000];
        let mut bytes = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1000000\r\n".to_vec();
        bytes.extend_from_slice(&value);
        bytes.extend_from_slice(b"\r\n");
        let (requests, error) = parse(&bytes, || 1500);
        assert_eq!((requests.len(), error), (1, None));
        assert_eq!(requests[0][2], value);
        let mut input = Input::new(64);
        let small = b"*1\r\n$4\r\nPING\r\n";
        input.space(small.len(), 0)[..small.len()].copy_from_slice(small);
        input.advance(small.len());
        let at = input.filled().as_ptr();
        let mut arguments = Vec::new();
        assert_eq!(RequestParser::new(LIMITS).parse(&mut input, &mut arguments), Ok(true));
        assert_eq!(arguments[0].as_ptr(), at.wrapping_add(8));
    }

    #[test]
    fn numbers_are_those_of_string2ll() {
        for (text, value) in [("0", Some(0)), ("7", Some(7)), ("-1", Some(-1)), ("12345", Some(12345))] {
            assert_eq!(parse_integer(text.as_bytes()), value);
        }
        for bound in [i64::MAX, i64::MIN] {
            assert_eq!(parse_integer(bound.to_string().as_bytes()), Some(bound));
        }
        for text in
            ["", "-", "-0", "00", "01", "+1", " 1", "1 ", "1a", "9223372036854775808", "-9223372036854775809"]
        {
            assert_eq!(parse_integer(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn arbitrary_bytes_do_not_panic_and_any_division_gives_the_same() {
        const ALPHABET: &[u8] = b"*$+-:0123 \r\n\r\n\"'\\xaPING";
        for seed in 0..500 {
            let mut rng = Rng::new(seed);
            let bytes: Vec<u8> =
                (0..rng.below(200)).map(|_| ALPHABET[rng.below(ALPHABET.len() as u64) as usize]).collect();
            let whole = parse(&bytes, || usize::MAX);
            assert_eq!(parse(&bytes, || 1), whole);
            assert_eq!(parse(&bytes, || rng.below(20) as usize), whole);
        }
    }
}
