//! Values of flags, and what is said when they cannot be used: one line that names the flag, the value and the cure.

use std::ffi::{OsStr, OsString};
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::address;

/// A command line that cannot be used, in one line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Usage(pub(crate) String);

impl Usage {
    /// What is wrong with a flag.
    pub(crate) fn flag(flag: &str, what: impl Display) -> Self {
        Self(format!("--{flag}: {what}"))
    }

    /// What [`lexopt`] refuses, and where to read more.
    pub(crate) fn refused(command: &str, error: &lexopt::Error) -> Self {
        Self(format!("{error}; see 'quorate {command} --help'"))
    }

    /// A flag that has to be given.
    pub(crate) fn missing(command: &str, flag: &str) -> Self {
        Self(format!("--{flag} is missing; see 'quorate {command} --help'"))
    }
}

/// Where the nodes of a local cluster are reached by clients, if nobody says otherwise.
pub(crate) const LOCAL_NODES: [&str; 3] = ["127.0.0.1:7101", "127.0.0.1:7102", "127.0.0.1:7103"];

/// Which nodes are asked, and for how long: `--connect` and `--timeout-ms`.
#[derive(Debug)]
pub(crate) struct Reach {
    /// Client addresses.
    pub(crate) connect: Vec<String>,
    pub(crate) timeout: Duration,
    /// The longest timeout that is taken, in milliseconds.
    max_ms: u64,
}

impl Reach {
    /// The flags that it takes.
    pub(crate) const FLAGS: &[&str] = &["connect", "timeout-ms"];

    /// What holds where no flag is given.
    pub(crate) fn new(connect: &[&str], timeout: Duration, max_ms: u64) -> Self {
        Self { connect: connect.iter().map(|&address| address.to_owned()).collect(), timeout, max_ms }
    }

    /// Takes the value of one of [`FLAGS`](Self::FLAGS).
    pub(crate) fn take(&mut self, flag: &str, value: OsString) -> Result<(), Usage> {
        match flag {
            "connect" => self.connect = address::connect(flag, &text(flag, value)?)?,
            _ => self.timeout = Duration::from_millis(number(flag, &value, 1..=self.max_ms)?),
        }
        Ok(())
    }
}

/// The value as text.
pub(crate) fn text(flag: &str, value: OsString) -> Result<String, Usage> {
    value
        .into_string()
        .map_err(|value| Usage::flag(flag, format_args!("'{}' is not valid UTF-8", value.to_string_lossy())))
}

/// A whole number within `range`.
pub(crate) fn number(flag: &str, value: &OsStr, range: RangeInclusive<u64>) -> Result<u64, Usage> {
    let parsed = value.to_str().and_then(|text| text.parse().ok()).filter(|n| range.contains(n));
    parsed.ok_or_else(|| {
        let (least, most) = (range.start(), range.end());
        let value = value.to_string_lossy();
        Usage::flag(flag, format_args!("'{value}' is not a whole number from {least} to {most}"))
    })
}

/// A number of bytes within `range`: digits, with k, m or g (or KiB, MiB, GiB) for powers of 1,024.
pub(crate) fn bytes(flag: &str, value: &OsStr, range: RangeInclusive<u64>) -> Result<u64, Usage> {
    let parse = |text: &str| -> Option<u64> {
        let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let shift = match text[digits.len()..].to_ascii_lowercase().as_str() {
            "" | "b" => 0,
            "k" | "kb" | "kib" => 10,
            "m" | "mb" | "mib" => 20,
            "g" | "gb" | "gib" => 30,
            _ => return None,
        };
        digits.parse::<u64>().ok()?.checked_mul(1 << shift)
    };
    let parsed = value.to_str().and_then(parse).filter(|n| range.contains(n));
    parsed.ok_or_else(|| {
        let (least, most) = (range.start(), range.end());
        let value = value.to_string_lossy();
        Usage::flag(
            flag,
            format_args!("'{value}' is not a number of bytes from {least} to {most}, such as 65536 or 64MiB"),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_in_bytes_and_in_powers_of_1024() {
        let parse = |text: &str| bytes("x", OsStr::new(text), 1..=1 << 40).ok();
        assert_eq!(parse("4096"), Some(4096));
        assert_eq!(parse("64k"), Some(64 << 10));
        assert_eq!(parse("64MiB"), Some(64 << 20));
        assert_eq!(parse("2g"), Some(2 << 30));
        for bad in ["", "k", "-1", "1.5m", "12parsecs", "0", "18446744073709551615g"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
