//! Inline commands: a line of words, with the quoting rules of redis-cli and of Redis's configuration file.

use alloc::vec::Vec;

use bytes::Bytes;

/// Splits a line (without its line break) into words and appends them to `words`; `false` when quotes are unbalanced.
///
/// In double quotes `\n \r \t \b \a \xHH` and any escaped character are understood, in single quotes only `\'`. A closing
/// quote must be followed by white space or the end. Words without quotes share the line's memory.
pub fn split_inline(line: &Bytes, words: &mut Vec<Bytes>) -> bool {
    let mut at = 0;
    loop {
        while line.get(at).is_some_and(is_space) {
            at += 1;
        }
        if at >= line.len() {
            return true;
        }
        match word(line, at) {
            Some((word, next)) => {
                words.push(word);
                at = next;
            }
            None => return false,
        }
    }
}

/// The space of C's `isspace`, and NUL, at which Redis stops reading a line.
fn is_space(byte: &u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c | 0)
}

/// What ends a word that has begun outside of quotes: not all space does.
fn ends_word(byte: &u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0)
}

/// One word from `start`, and where it ends.
fn word(line: &Bytes, start: usize) -> Option<(Bytes, usize)> {
    let mut at = start;
    while line.get(at).is_some_and(|b| !ends_word(b) && !matches!(b, b'"' | b'\'')) {
        at += 1;
    }
    if line.get(at).is_none_or(ends_word) {
        return Some((line.slice(start..at), at));
    }
    let mut unquoted = line.get(start..at)?.to_vec();
    loop {
        match line.get(at) {
            None => break,
            Some(b) if ends_word(b) => break,
            Some(&quote @ (b'"' | b'\'')) => {
                at = quoted(line, at + 1, quote, &mut unquoted)?;
                if line.get(at).is_some_and(|b| !is_space(b)) {
                    return None;
                }
                break;
            }
            Some(&plain) => {
                unquoted.push(plain);
                at += 1;
            }
        }
    }
    Some((unquoted.into(), at))
}

/// The inside of quotes from `at`; where it ends, behind the closing quote.
fn quoted(line: &[u8], mut at: usize, quote: u8, out: &mut Vec<u8>) -> Option<usize> {
    loop {
        let byte = *line.get(at)?;
        at += 1;
        if byte == quote {
            return Some(at);
        }
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        if quote == b'\'' {
            if line.get(at) == Some(&b'\'') {
                out.push(b'\'');
                at += 1;
            } else {
                out.push(b'\\');
            }
            continue;
        }
        if let Some(hex) = hex_escape(line, at) {
            out.push(hex);
            at += 3;
            continue;
        }
        let Some(&escaped) = line.get(at) else {
            out.push(b'\\');
            continue;
        };
        at += 1;
        out.push(match escaped {
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'b' => 0x08,
            b'a' => 0x07,
            other => other,
        });
    }
}

fn hex_escape(line: &[u8], at: usize) -> Option<u8> {
    let digits = line.get(at..at.checked_add(3)?)?.strip_prefix(b"x")?;
    let digit = |i: usize| digits.get(i).and_then(|&b| char::from(b).to_digit(16));
    Some((digit(0)? * 16 + digit(1)?) as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(line: &'static [u8]) -> Option<Vec<Bytes>> {
        let mut words = Vec::new();
        split_inline(&Bytes::from_static(line), &mut words).then_some(words)
    }

    #[test]
    fn words_are_split_as_redis_splits_them() {
        let cases: [(&[u8], &[&[u8]]); 11] = [
            (b"", &[]),
            (b"  \t ", &[]),
            (b"PING", &[b"PING"]),
            (b"  set  a   b ", &[b"set", b"a", b"b"]),
            (b"ECHO \"a\\x41\\n\\q\"", &[b"ECHO", b"aA\nq"]),
            (b"ECHO 'a\\x41\\'b'", &[b"ECHO", b"a\\x41'b"]),
            (b"ECHO a\"b c\"", &[b"ECHO", b"ab c"]),
            (b"ECHO \"\" ''", &[b"ECHO", b"", b""]),
            (b"ECHO \"\\r\\t\\b\\a\\\\\\\"\\xzz\"", &[b"ECHO", b"\r\t\x08\x07\\\"xzz"]),
            (b"a\x00b", &[b"a", b"b"]),
            (b"\x0b\x0ca\x0bb\x0c 'c'\x0cd", &[b"a\x0bb\x0c", b"c", b"d"]),
        ];
        for (line, expected) in cases {
            let words = split(line).unwrap();
            assert_eq!(words, expected, "{:?}", Bytes::from_static(line));
        }
    }

    #[test]
    fn unbalanced_quotes_are_refused() {
        for line in [&b"SET a \"b"[..], b"SET a 'b", b"SET a \"b\"c", b"SET a 'b'c", b"\"\\", b"\"\"\"\""] {
            assert_eq!(split(line), None, "{:?}", Bytes::from_static(line));
        }
    }
}
