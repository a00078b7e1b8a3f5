//! INCRBYFLOAT, which Redis computes with the x87's 80-bit numbers: 64 bits of mantissa, rounded to the nearest even.
//!
//! What is covered: decimal numbers of up to 33 significant digits, with an exponent or without, as long as the last digit
//! stands for no less than 10⁻²⁷ and the first for no more than 10³²; and infinities. What INCRBYFLOAT itself has written in this
//! range is among them. Anything else, such as hexadecimal digits, is taken for no number here; Redis knows more.

use std::string::String;
use std::vec::Vec;

use super::arguments::number;

const NOT_A_FLOAT: &str = "ERR value is not a valid float";

const NOT_FINITE: &str = "ERR increment would produce NaN or Infinity";

/// Decimals that Redis prints, before it takes the zeros at the end away.
const DECIMALS: usize = 17;

/// The sum of two numbers, as Redis prints it.
pub(super) fn sum(a: &[u8], b: &[u8]) -> Result<String, &'static str> {
    let (a, b) = (read(a).ok_or(NOT_A_FLOAT)?, read(b).ok_or(NOT_A_FLOAT)?);
    match (a, b) {
        (Read::Finite(a), Read::Finite(b)) => Ok(a.plus(b).print()),
        (Read::Infinite, _) | (_, Read::Infinite) => Err(NOT_FINITE),
    }
}

enum Read {
    Finite(Extended),
    Infinite,
}

/// A number that is `mantissa` × 2^`exponent`; the mantissa's highest bit is set unless it is 0.
#[derive(Debug, Clone, Copy)]
struct Extended {
    is_negative: bool,
    mantissa: u64,
    exponent: i32,
}

/// A decimal number as C's `strtold` reads it.
fn read(text: &[u8]) -> Option<Read> {
    let text = core::str::from_utf8(text).ok()?;
    let (is_negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if digits.eq_ignore_ascii_case("inf") || digits.eq_ignore_ascii_case("infinity") {
        return Some(Read::Infinite);
    }
    let (digits, exponent) = digits.split_once(['e', 'E']).unwrap_or((digits, "0"));
    let exponent: i32 = number(exponent.strip_prefix('+').unwrap_or(exponent).as_bytes())?.try_into().ok()?;
    let (whole, decimals) = digits.split_once('.').unwrap_or((digits, ""));
    let all: Vec<u8> = whole.bytes().chain(decimals.bytes()).collect();
    if all.is_empty() || !all.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let trailing = all.iter().rev().take_while(|&&digit| digit == b'0').count();
    let significant = core::str::from_utf8(&all[..all.len() - trailing]).ok()?.trim_start_matches('0');
    let places = exponent.checked_sub(decimals.len() as i32)?.checked_add(trailing as i32)?;
    if significant.is_empty() {
        return Some(Read::Finite(Extended { is_negative, mantissa: 0, exponent: 0 }));
    }
    let is_covered = places >= -27 && significant.len() <= 33 && places <= 33 - significant.len() as i32;
    let digits: u128 = significant.parse().ok().filter(|_| is_covered)?;
    let ten = |power: i32| 10_u128.pow(power.unsigned_abs());
    let number =
        if places < 0 { divided(digits, ten(places)) } else { rounded(digits * ten(places), 0, false) };
    Some(Read::Finite(Extended { is_negative, ..number }))
}

/// `number` / `divisor`, rounded.
fn divided(number: u128, divisor: u128) -> Extended {
    let (mut quotient, mut rest, mut exponent) = (number / divisor, number % divisor, 0);
    while quotient.leading_zeros() > 128 - 66 {
        rest *= 2;
        quotient = 2 * quotient + u128::from(rest >= divisor);
        rest %= divisor;
        exponent -= 1;
    }
    rounded(quotient, exponent, rest > 0)
}

/// `number` × 2^`exponent`, which is not 0, and a little more if there `is_more`, rounded to 64 bits.
fn rounded(number: u128, exponent: i32, is_more: bool) -> Extended {
    let excess = 64 - number.leading_zeros() as i32;
    if excess <= 0 {
        return Extended {
            is_negative: false,
            mantissa: (number << -excess) as u64,
            exponent: exponent + excess,
        };
    }
    let (kept, cut, half) = (number >> excess, number & ((1 << excess) - 1), 1_u128 << (excess - 1));
    let is_up = cut > half || (cut == half && (is_more || kept % 2 == 1));
    match u64::try_from(kept + u128::from(is_up)) {
        Ok(mantissa) => Extended { is_negative: false, mantissa, exponent: exponent + excess },
        Err(_) => Extended { is_negative: false, mantissa: 1 << 63, exponent: exponent + excess + 1 },
    }
}

impl Extended {
    fn plus(self, other: Self) -> Self {
        let is_larger = self.mantissa > 0
            && (other.mantissa == 0 || (self.exponent, self.mantissa) >= (other.exponent, other.mantissa));
        let (large, small) = if is_larger { (self, other) } else { (other, self) };
        if small.mantissa == 0 {
            // Of two zeros one is negative only if both are.
            let is_negative = large.is_negative && (large.mantissa > 0 || small.is_negative);
            return Self { is_negative, ..large };
        }
        let distance = (large.exponent - small.exponent) as u32;
        let aligned = u128::from(large.mantissa) << 62;
        let whole = u128::from(small.mantissa) << 62;
        let other = whole.checked_shr(distance).unwrap_or(0);
        let is_cut = distance >= 126 || other << distance != whole;
        let exponent = large.exponent - 62;
        let sum = if large.is_negative == small.is_negative {
            rounded(aligned + other, exponent, is_cut)
        } else if aligned == other {
            return Self { is_negative: false, mantissa: 0, exponent: 0 };
        } else {
            rounded(aligned - other - u128::from(is_cut), exponent, is_cut)
        };
        Self { is_negative: large.is_negative, ..sum }
    }

    /// With 17 decimals, without the zeros at their end.
    fn print(self) -> String {
        let (whole, digits) = self.digits();
        let text: String = digits.iter().map(|digit| char::from(b'0' + digit)).collect();
        let decimals = text.trim_end_matches('0');
        let sign = if self.is_negative && (whole > 0 || !decimals.is_empty()) { "-" } else { "" };
        let point = if decimals.is_empty() { "" } else { "." };
        std::format!("{sign}{whole}{point}{decimals}")
    }

    /// What stands before the point, and the decimals.
    fn digits(self) -> (u128, Vec<u8>) {
        let mantissa = u128::from(self.mantissa);
        // What is smaller than half of the last decimal by far is none.
        let Ok(below @ 0..=124) = u32::try_from(-self.exponent) else {
            return if self.exponent > 0 { (mantissa << self.exponent, Vec::new()) } else { (0, Vec::new()) };
        };
        let one = 1_u128 << below;
        let (mut whole, mut rest) = (mantissa / one, mantissa % one);
        let mut digits = Vec::with_capacity(DECIMALS);
        for _ in 0..DECIMALS {
            rest *= 10;
            digits.push((rest / one) as u8);
            rest %= one;
        }
        let last = digits.last().copied().unwrap_or(0);
        if 2 * rest > one || (2 * rest == one && last % 2 == 1) {
            let nines = digits.iter().rev().take_while(|&&digit| digit == 9).count();
            digits.iter_mut().rev().take(nines).for_each(|digit| *digit = 0);
            match digits.iter_mut().rev().nth(nines) {
                Some(digit) => *digit += 1,
                None => whole += 1,
            }
        }
        (whole, digits)
    }
}
