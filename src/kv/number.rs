//! Integers as Redis reads and writes them.

/// Reads a 64-bit integer in canonical decimal form: what [`Decimal`] writes and nothing else, so neither spaces, `+`,
/// leading zeros nor `-0`.
pub(super) fn parse_i64(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        all => (false, all),
    };
    match digits {
        [b'0'] if !negative => return Some(0),
        [b'1'..=b'9', ..] if digits.len() <= 19 => {}
        _ => return None,
    }
    // Nineteen digits cannot overflow 64 bits without a sign.
    let magnitude = digits.iter().try_fold(0_u64, |sum, digit| {
        digit.is_ascii_digit().then(|| sum.wrapping_mul(10).wrapping_add(u64::from(digit - b'0')))
    })?;
    if negative { 0_i64.checked_sub_unsigned(magnitude) } else { i64::try_from(magnitude).ok() }
}

/// Reads a SCAN cursor as `strtoul` does, whose leniency Redis's clients may rely on: a sign is allowed, and no digits
/// at all are 0. A NUL ends the text.
pub(super) fn parse_cursor(text: &[u8]) -> Option<u64> {
    let text = text.split(|&byte| byte == 0).next().unwrap_or_default();
    let (negative, digits) = match text {
        [] => return Some(0),
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        all => (false, all),
    };
    if digits.is_empty() {
        return None;
    }
    let magnitude = digits.iter().try_fold(0_u64, |sum, digit| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        sum.checked_mul(10)?.checked_add(digit)
    })?;
    Some(if negative { magnitude.wrapping_neg() } else { magnitude })
}

/// A 64-bit integer in decimal, without an allocation.
#[derive(Debug, Clone, Copy)]
pub(super) struct Decimal {
    text: [u8; 20],
    start: usize,
}

impl Decimal {
    /// The decimal form of `value`.
    pub(super) fn signed(value: i64) -> Self {
        let mut decimal = Self::unsigned(value.unsigned_abs());
        // A negative magnitude has at most 19 digits, which leaves room for the sign.
        if value < 0
            && let Some(start) = decimal.start.checked_sub(1)
            && let Some(place) = decimal.text.get_mut(start)
        {
            *place = b'-';
            decimal.start = start;
        }
        decimal
    }

    /// The decimal form of `value`.
    pub(super) fn unsigned(mut value: u64) -> Self {
        let mut decimal = Self { text: [b'0'; 20], start: 20 };
        for (at, place) in decimal.text.iter_mut().enumerate().rev() {
            *place = b'0' + (value % 10) as u8;
            decimal.start = at;
            value /= 10;
            if value == 0 {
                break;
            }
        }
        decimal
    }

    /// The digits.
    pub(super) fn as_bytes(&self) -> &[u8] {
        self.text.get(self.start..).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn only_canonical_integers_are_integers() {
        for good in ["0", "1", "-1", "10", "9223372036854775807", "-9223372036854775808"] {
            assert_eq!(parse_i64(good.as_bytes()), good.parse().ok(), "{good}");
        }
        for bad in [
            "",
            "-",
            "+1",
            " 1",
            "1 ",
            "01",
            "-0",
            "-01",
            "00",
            "1a",
            "--1",
            "0x1",
            "1.0",
            "1e3",
            "9223372036854775808",
            "-9223372036854775809",
            "99999999999999999999",
            "123456789012345678901",
        ] {
            assert_eq!(parse_i64(bad.as_bytes()), None, "{bad:?}");
        }
    }

    #[test]
    fn decimals_are_what_the_standard_library_writes() {
        for value in [0, 1, -1, 9, 10, -10, 99, 100, i64::MAX, i64::MIN, i64::MIN + 1] {
            assert_eq!(Decimal::signed(value).as_bytes(), value.to_string().as_bytes());
        }
        for value in [0, 7, u64::MAX, u64::MAX - 1, 1 << 63] {
            assert_eq!(Decimal::unsigned(value).as_bytes(), value.to_string().as_bytes());
        }
    }

    #[test]
    fn cursors_are_read_as_strtoul_does() {
        assert_eq!(parse_cursor(b"18446744073709551615"), Some(u64::MAX));
        assert_eq!(parse_cursor(b"18446744073709551616"), None);
        assert_eq!(parse_cursor(b"007"), Some(7));
        assert_eq!(parse_cursor(b"+7"), Some(7));
        assert_eq!(parse_cursor(b"-1"), Some(u64::MAX));
        assert_eq!(parse_cursor(b""), Some(0));
        assert_eq!(parse_cursor(b"7\0x"), Some(7));
        for bad in ["x", " 1", "1 ", "0x10", "1.5", "--1"] {
            assert_eq!(parse_cursor(bad.as_bytes()), None, "{bad:?}");
        }
    }
}
