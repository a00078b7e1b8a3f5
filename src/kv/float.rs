//! INCRBYFLOAT: Redis computes with C's `long double`, on its usual machines the 80-bit format of the x87.
//!
//! A sum is part of the replicated state, so it has to be the same bits on every node, whatever the machine: it is computed
//! in software. Numbers are read as `strtold` reads them, and written as `%.17Lf` writes them, less trailing zeros.

use alloc::vec::Vec;

use rustc_apfloat::Float as _;
use rustc_apfloat::ieee::X87DoubleExtended;

use super::record::{Meta, Record};
use super::store::KvStore;
use super::{CommandError, reply};

/// Longer texts are no numbers, Redis has decided.
const MAX_TEXT: usize = 5 * 1024 - 1;

/// Digits behind the point.
const FRACTION_DIGITS: u32 = 17;

/// A number of the x87's format that is not NaN.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Extended {
    is_negative: bool,
    /// With a bias of 16383; all ones for infinity, 0 for what is too small for a leading one.
    exponent: u16,
    /// With its leading one.
    significand: u64,
}

impl KvStore {
    pub(super) fn incrbyfloat(&mut self, version: u64, key: &[u8], by: Extended, out: &mut Vec<u8>) {
        let old = self.record(key);
        let Some(number) = old.map_or(Some(Extended::ZERO), |record| Extended::parse(record.value())) else {
            return CommandError::NotFloat.reply(out);
        };
        let Some(sum) = number.plus(by) else {
            return reply::error(out, b"ERR increment would produce NaN or Infinity");
        };
        let deadline = old.map_or(0, |record: &Record| record.meta().deadline);
        let text = sum.to_text();
        self.put(Meta { version, deadline }, key, &text);
        reply::bulk(out, &text);
    }
}

impl Extended {
    const ZERO: Self = Self { is_negative: false, exponent: 0, significand: 0 };
    const MAX_EXPONENT: u16 = 0x7fff;
    const LEADING_ONE: u64 = 1 << 63;
    const INFINITY: Self =
        Self { is_negative: false, exponent: Self::MAX_EXPONENT, significand: Self::LEADING_ONE };

    /// The number that is all of `text`, in decimal or hexadecimal, or infinity; `None` when it is none, or too large, or
    /// too small and not 0.
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        if text.len() > MAX_TEXT {
            return None;
        }
        let (is_negative, magnitude) = match text {
            [b'-', rest @ ..] => (true, rest),
            [b'+', rest @ ..] => (false, rest),
            all => (false, all),
        };
        let parsed = if is_infinity(magnitude) { Self::INFINITY } else { Self::parse_finite(magnitude)? };
        Some(Self { is_negative, ..parsed })
    }

    fn parse_finite(text: &[u8]) -> Option<Self> {
        let parts = Parts::of(text)?;
        // The other parser wants hexadecimal digits to have an exponent.
        let mut given = alloc::string::String::from(core::str::from_utf8(text).ok()?);
        if parts.is_hexadecimal && !parts.has_exponent {
            given.push_str("p0");
        }
        let parsed = Self::from_soft(given.parse().ok()?)?;
        let is_lost = parsed.significand == 0 && !parts.is_zero;
        (!is_lost && parsed.exponent != Self::MAX_EXPONENT).then_some(parsed)
    }

    /// The sum, rounded to even where it is half-way; `None` when it is no finite number.
    fn plus(self, other: Self) -> Option<Self> {
        let sum = Self::from_soft((self.to_soft() + other.to_soft()).value)?;
        (sum.exponent != Self::MAX_EXPONENT).then_some(sum)
    }

    fn to_soft(self) -> X87DoubleExtended {
        let high = u16::from(self.is_negative) << 15 | self.exponent;
        X87DoubleExtended::from_bits(u128::from(high) << 64 | u128::from(self.significand))
    }

    fn from_soft(soft: X87DoubleExtended) -> Option<Self> {
        Self::from_bytes(*soft.to_bits().to_le_bytes().first_chunk()?)
    }

    /// As it lies in an x87's memory: the significand, then the exponent with the sign above it.
    pub(super) fn to_bytes(self) -> [u8; 10] {
        let [a, b, c, d, e, f, g, h] = self.significand.to_le_bytes();
        let [i, j] = (u16::from(self.is_negative) << 15 | self.exponent).to_le_bytes();
        [a, b, c, d, e, f, g, h, i, j]
    }

    /// `None` for NaN, and for what no x87 writes.
    pub(super) fn from_bytes(bytes: [u8; 10]) -> Option<Self> {
        let (significand, rest) = bytes.split_first_chunk()?;
        let significand = u64::from_le_bytes(*significand);
        let high = u16::from_le_bytes(*rest.first_chunk()?);
        let (is_negative, exponent) = (high >> 15 != 0, high & Self::MAX_EXPONENT);
        let is_well_formed = match exponent {
            0 => significand < Self::LEADING_ONE,
            Self::MAX_EXPONENT => significand == Self::LEADING_ONE,
            _ => significand >= Self::LEADING_ONE,
        };
        is_well_formed.then_some(Self { is_negative, exponent, significand })
    }

    /// A finite number in decimal, with at most 17 digits behind the point, rounded to even where it is half-way.
    pub(super) fn to_text(self) -> Vec<u8> {
        // The number is the significand times two to this.
        let power = i32::from(self.exponent.max(1)) - 16383 - 63;
        let mut text = Vec::new();
        if self.is_negative {
            text.push(b'-');
        }
        let Some(down) = u32::try_from(-power).ok().filter(|&down| down > 0) else {
            write_shifted(&mut text, self.significand, power.unsigned_abs());
            return text;
        };
        let one = 10_u128.pow(FRACTION_DIGITS);
        // At most 64 and 57 bits.
        let scaled = shift_right_to_even(u128::from(self.significand) * one, down);
        let (whole, mut fraction) = (scaled / one, scaled % one);
        if scaled == 0 {
            return b"0".to_vec();
        }
        text.extend_from_slice(alloc::format!("{whole}").as_bytes());
        if fraction > 0 {
            let mut digits = FRACTION_DIGITS as usize;
            while fraction % 10 == 0 {
                fraction /= 10;
                digits -= 1;
            }
            text.extend_from_slice(alloc::format!(".{fraction:0digits$}").as_bytes());
        }
        text
    }
}

fn is_infinity(text: &[u8]) -> bool {
    text.eq_ignore_ascii_case(b"inf") || text.eq_ignore_ascii_case(b"infinity")
}

/// `value` / 2^`by`, rounded to even where it is half-way.
fn shift_right_to_even(value: u128, by: u32) -> u128 {
    // What is here has at most 121 bits: below a half.
    let (Some(whole), Some(half)) = (value.checked_shr(by), 1_u128.checked_shl(by.saturating_sub(1))) else {
        return 0;
    };
    let rest = value & (half << 1).wrapping_sub(1);
    whole + u128::from(rest > half || rest == half && whole & 1 == 1)
}

/// Appends `value` · 2^`by` in decimal.
fn write_shifted(out: &mut Vec<u8>, value: u64, mut by: u32) {
    const BASE: u64 = 1_000_000_000;
    // The lowest digits first, nine in each.
    let mut limbs = alloc::vec![value % BASE, value / BASE % BASE, value / BASE / BASE];
    while by > 0 {
        let now = by.min(32);
        by -= now;
        let mut carry = 0;
        for limb in &mut limbs {
            let shifted = (*limb << now) + carry;
            (*limb, carry) = (shifted % BASE, shifted / BASE);
        }
        while carry > 0 {
            limbs.push(carry % BASE);
            carry /= BASE;
        }
    }
    let mut limbs = limbs.iter().rev().skip_while(|&&limb| limb == 0);
    out.extend_from_slice(alloc::format!("{}", limbs.next().unwrap_or(&0)).as_bytes());
    for limb in limbs {
        out.extend_from_slice(alloc::format!("{limb:09}").as_bytes());
    }
}

/// What the text of a finite number without a sign is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Parts {
    is_hexadecimal: bool,
    has_exponent: bool,
    is_zero: bool,
}

impl Parts {
    /// `None` when some of `text` would be left over: digits with at most one point among them, then perhaps an exponent.
    fn of(text: &[u8]) -> Option<Self> {
        let (is_hexadecimal, mut rest) = match text {
            [b'0', b'x' | b'X', rest @ ..] => (true, rest),
            all => (false, all),
        };
        let is_digit =
            |byte: u8| if is_hexadecimal { byte.is_ascii_hexdigit() } else { byte.is_ascii_digit() };
        let (mut digits, mut has_point, mut is_zero) = (0, false, true);
        while let Some((&byte, after)) = rest.split_first() {
            match byte {
                b'.' if !has_point => has_point = true,
                _ if is_digit(byte) => {
                    digits += 1;
                    is_zero &= byte == b'0';
                }
                _ => break,
            }
            rest = after;
        }
        let exponent = match rest {
            [] => None,
            [b'p' | b'P', exponent @ ..] if is_hexadecimal => Some(exponent),
            [b'e' | b'E', exponent @ ..] if !is_hexadecimal => Some(exponent),
            _ => return None,
        };
        let is_integer = |exponent: &[u8]| {
            let digits = exponent.strip_prefix(b"-").or(exponent.strip_prefix(b"+")).unwrap_or(exponent);
            !digits.is_empty() && digits.iter().all(u8::is_ascii_digit)
        };
        let is_number = digits > 0 && exponent.is_none_or(is_integer);
        is_number.then_some(Self { is_hexadecimal, has_exponent: exponent.is_some(), is_zero })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;
    use alloc::string::{String, ToString};

    fn text(number: &str) -> Option<String> {
        let number = Extended::parse(number.as_bytes())?;
        (number.exponent != Extended::MAX_EXPONENT).then(|| String::from_utf8(number.to_text()).unwrap())
    }

    #[test]
    fn numbers_are_read_and_written_as_c_does() {
        // What redis-server 7.0 answers to INCRBYFLOAT of an absent key on x86-64.
        let cases = [
            ("0", "0"),
            ("-0", "0"),
            ("-0.0e5", "0"),
            ("+3", "3"),
            ("10.5", "10.5"),
            ("5.0e3", "5000"),
            (".5", "0.5"),
            ("5.", "5"),
            ("3.14159", "3.14159"),
            ("-1e-30", "0"),
            ("0.1", "0.1"),
            ("1e-17", "0.00000000000000001"),
            ("-0.000000000000000005", "0"),
            ("0.0000000000000000051", "0.00000000000000001"),
            ("0.000000000000000015", "0.00000000000000002"),
            ("100.10", "100.1"),
            ("1.00000000000000000001", "1"),
            ("18446744073709551615", "18446744073709551615"),
            ("18446744073709551617", "18446744073709551616"),
            ("18446744073709551619", "18446744073709551620"),
            ("1e25", "10000000000000000000000000"),
            ("1e28", "9999999999999999999731564544"),
            ("0x1p3", "8"),
            ("0X.8", "0.5"),
            ("-0x1.8P+1", "-3"),
            ("0xffffffffffffffff", "18446744073709551615"),
            ("0x1p-17", "0.00000762939453125"),
            ("0e99999999999999999999999", "0"),
            ("3.6e-4951", "0"),
            ("0x1p-16445", "0"),
            ("0x1.8p-16446", "0"),
        ];
        for (given, expected) in cases {
            assert_eq!(text(given).as_deref(), Some(expected), "{given}");
        }
        for bad in [
            "",
            "-",
            "+",
            ".",
            "e5",
            "1e",
            "1e+",
            "1e1.5",
            " 1",
            "1 ",
            "--1",
            "+-1",
            "1_0",
            "1,5",
            "1\0",
            "0x",
            "0x.",
            "0xg",
            "0x1p",
            "0xp1",
            "0x1e+1",
            "1p3",
            "1.2.3",
            "nan",
            "-nan",
            "nan(1)",
            "infi",
            "infinit",
            "1e5000",
            "-1e4933",
            "1e-4952",
            "1e-99999999999999999999",
            "0x1p16384",
            "0x1p-16446",
            "0x1p-16447",
            "\u{661}",
        ] {
            assert_eq!(Extended::parse(bad.as_bytes()), None, "{bad:?}");
        }
        for infinity in ["inf", "INF", "+Infinity"] {
            assert_eq!(Extended::parse(infinity.as_bytes()), Some(Extended::INFINITY));
        }
        assert!(
            Extended::parse(&[b'0'; MAX_TEXT]).is_some() && Extended::parse(&[b'0'; MAX_TEXT + 1]).is_none()
        );
    }

    #[test]
    fn the_largest_number_is_written_in_full() {
        let largest = Extended { exponent: 0x7ffe, significand: u64::MAX, ..Extended::ZERO };
        let written = String::from_utf8(largest.to_text()).unwrap();
        assert_eq!(written.len(), 4933);
        assert!(
            written.starts_with("1189731495357231765021263853030970205169063322294624200440323733891737")
        );
        assert_eq!(Extended::parse(written.as_bytes()), Some(largest));
        assert_eq!(largest.plus(largest), None);
        let negative = Extended { is_negative: true, ..largest };
        assert_eq!(largest.plus(negative), Some(Extended::ZERO));
    }

    #[test]
    fn whatever_is_made_of_the_parts_of_numbers_is_read_or_refused() {
        let mut rng = Rng::new(12);
        let mut read = 0;
        for _ in 0..20_000 {
            let mut digits = |alphabet: &[u8], most: u64| -> Vec<u8> {
                (0..rng.below(most)).map(|_| alphabet[rng.below(alphabet.len() as u64) as usize]).collect()
            };
            let whole = digits(b"00000189", 60);
            let fraction = digits(b"00000189", 60);
            let exponent = digits(b"0123456789", 7);
            let (head, mark) = if rng.chance(1, 2) { ("0x", "p") } else { ("", "e") };
            let sign = if rng.chance(1, 2) { "-" } else { "" };
            let text =
                [head.as_bytes(), &whole, b".", &fraction, mark.as_bytes(), sign.as_bytes(), &exponent]
                    .concat();
            if let Some(number) = Extended::parse(&text) {
                read += 1;
                let written = number.to_text();
                let again = Extended::parse(&written).expect("what is written can be read");
                assert_eq!(again.to_text(), written);
            }
        }
        assert!(read > 5_000, "{read}");
    }

    #[test]
    fn infinities_are_no_sum() {
        let one = Extended::parse(b"1").unwrap();
        let minus = Extended { is_negative: true, ..Extended::INFINITY };
        for (a, b) in [(Extended::INFINITY, one), (one, minus), (Extended::INFINITY, minus)] {
            assert_eq!(a.plus(b), None);
        }
    }

    #[test]
    fn integers_are_exact() {
        let mut rng = Rng::new(4);
        for _ in 0..5_000 {
            let mut draw = || rng.next_u64() as i64 >> (1 + rng.below(60));
            let (a, b) = (draw(), draw());
            let parse = |n: i64| Extended::parse(n.to_string().as_bytes()).unwrap();
            let sum = parse(a).plus(parse(b)).unwrap();
            assert_eq!(sum.to_text(), (a + b).to_string().as_bytes());
        }
    }

    #[test]
    fn seventeen_digits_are_exact_where_they_are_few() {
        let mut rng = Rng::new(6);
        for _ in 0..5_000 {
            // Below a thousand the format has more than the digits need.
            let digits = rng.next_u64() % 100_000_000_000_000_000;
            let number = alloc::format!("{}.{digits:017}", rng.below(4));
            let expected = number.trim_end_matches('0').trim_end_matches('.');
            assert_eq!(text(&number).as_deref(), Some(expected));
        }
    }

    #[test]
    fn halves_go_to_the_even_neighbour() {
        for (value, by, expected) in [
            (3, 1, 2),
            (5, 1, 2),
            (7, 1, 4),
            (9, 2, 2),
            (10, 2, 2),
            (11, 2, 3),
            (1 << 120, 121, 0),
            (1, 200, 0),
        ] {
            assert_eq!(shift_right_to_even(value, by), expected, "{value} {by}");
        }
        assert_eq!(shift_right_to_even((1 << 120) + 1, 121), 1);
        assert_eq!(shift_right_to_even(u128::MAX >> 7, 127), 0);
    }

    #[test]
    fn bytes_come_back_and_what_no_x87_writes_is_refused() {
        let mut rng = Rng::new(8);
        for _ in 0..300 {
            let number = alloc::format!("{}e{}", rng.next_u64() as i64, rng.below(9_800) as i64 - 4_950);
            if let Some(number) = Extended::parse(number.as_bytes()) {
                assert_eq!(Extended::from_bytes(number.to_bytes()), Some(number));
            }
        }
        let bytes = |high: u16, significand: u64| {
            let mut bytes = [0; 10];
            bytes[..8].copy_from_slice(&significand.to_le_bytes());
            bytes[8..].copy_from_slice(&high.to_le_bytes());
            Extended::from_bytes(bytes)
        };
        assert_eq!(bytes(0x7fff, 1 << 63), Some(Extended::INFINITY));
        assert!(bytes(0, 1).is_some() && bytes(1, 1 << 63).is_some());
        let (nan, unnormal, pseudo_denormal) = ((0x7fff, 3 << 62), (1, 1), (0, 1 << 63));
        for (high, significand) in [nan, unnormal, pseudo_denormal, (0x7fff, 0), (0xffff, u64::MAX)] {
            assert_eq!(bytes(high, significand), None);
        }
    }
}
