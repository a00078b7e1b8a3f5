//! What arguments are drawn from: what a command takes, and what looks like it.

use quorate::rng::Rng;

/// An argument's meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arg {
    Key,
    Value,
    Integer,
    Float,
    /// A time to live in seconds.
    Seconds,
    /// The same in milliseconds.
    Millis,
    /// A point in time in seconds.
    AtSeconds,
    /// The same in milliseconds.
    AtMillis,
    /// A place in a string, from its start or its end.
    Index,
    /// A place to write at.
    Offset,
    BitOffset,
    Bit,
    Pattern,
    Cursor,
    Count,
    Length,
    Type,
    Name,
    Slot,
    CommandName,
    Database,
    /// The word itself.
    Word(&'static str),
    /// One of these.
    OneOf(&'static [&'static str]),
}

const KEYS: &[&[u8]] = &[b"a", b"b", b"c", b"{t}:d", b"", b"\x00\xff\r\n *", b"a[b]?\\"];

const VALUES: &[&[u8]] = &[
    b"",
    b"0",
    b"1",
    b"10",
    b"-7",
    b"41.5",
    b"3.0e3",
    b"0.1",
    b"9223372036854775807",
    b"-9223372036854775808",
    b"9223372036854775800",
    b"abc",
    b"ohmytext",
    b"mynewtext",
    b"the quick brown fox jumps over the lazy dog",
    b"\x00\xff\r\n",
    b"\xff\xff\xff\xf0",
    b"\x00\x00\x00",
    b" 1",
    b"01",
    b"+1",
    b"1e400",
];

/// Numbers and near-numbers: what they mean differs from command to command.
const ODD: &[&[u8]] = &[
    b"",
    b"-",
    b"+",
    b"00",
    b"01",
    b"-0",
    b"+1",
    b" 1",
    b"1 ",
    b"1.0",
    b"1e3",
    b"0x10",
    b"one",
    b"\x001",
    b"1\x00",
    b"-1",
    b"4294967295",
    b"4294967296",
    b"67108864",
    b"536870912",
    b"9223372036854775",
    b"9223372036854775000",
    b"9223372036854775807",
    b"9223372036854775808",
    b"-9223372036854775808",
    b"-9223372036854775809",
    b"18446744073709551615",
    b"18446744073709551616",
    b"123456789012345678901234567890",
    b"nan",
    b"inf",
    b"-inf",
    b"1e5000",
    b"1e308",
    b"\xff\xfe",
];

const FLOATS: &[&[u8]] = &[
    b"1",
    b"-1",
    b"0",
    b"1.5",
    b"-2.25",
    b"0.1",
    b"3.0e3",
    b"5e-1",
    b".5",
    b"5.",
    b"+2.5",
    b"1e-5",
    b"-0.001",
    b"100000.125",
    b"0x1p3",
    b"1e17",
    b"-0",
];

const PATTERNS: &[&[u8]] = &[
    b"*",
    b"?",
    b"a*",
    b"*b*",
    b"[ab]",
    b"[^a]",
    b"[a-c]",
    b"[c-a]*",
    b"\\a",
    b"*\\*",
    b"{t}*",
    b"",
    b"[",
    b"[a",
    b"[^",
    b"a\\",
    b"**",
    b"*?*",
    b"[\\]]",
    b"a\\[b\\]\\?\\\\",
    b"[a-",
    b"\xff",
    b"*\xff*",
    b"[]",
    b"[]a]",
    b"a[[]b*",
];

const WORDS: &[&[u8]] = &[
    b"",
    b"NX",
    b"XX",
    b"GET",
    b"EX",
    b"KEEPTTL",
    b"PERSIST",
    b"REPLACE",
    b"COUNT",
    b"MATCH",
    b"LEN",
    b"BIT",
    b"GT",
    b"nonsense",
    b"\x00",
    b"0",
];

/// Seconds between two drawn times: the two servers' clocks stay far nearer to each other than that, so that a comparison
/// of two deadlines has the same result on both.
const STEP: u64 = 1000;

pub(crate) fn pick<T: Copy>(rng: &mut Rng, all: &[T]) -> T {
    all[usize::try_from(rng.below(all.len() as u64)).unwrap()]
}

fn number(number: impl ToString) -> Vec<u8> {
    number.to_string().into_bytes()
}

impl Arg {
    /// What the command takes.
    pub(crate) fn good(self, rng: &mut Rng) -> Vec<u8> {
        // Until the year 2060 by a relative time, later by an absolute one: they never meet.
        let relative = STEP * (10 + rng.below(1_000_000));
        let absolute = 4_000_000_000 + STEP * rng.below(1_000_000);
        match self {
            Self::Key if rng.chance(3, 4) => pick(rng, &KEYS[..4]).to_vec(),
            Self::Key => pick(rng, KEYS).to_vec(),
            Self::Value if rng.chance(1, 50) => vec![b'x'; usize::try_from(rng.below(20_000)).unwrap()],
            Self::Value if rng.chance(1, 3) => number(rng.below(1000)),
            Self::Value => pick(rng, VALUES).to_vec(),
            Self::Integer if rng.chance(1, 8) => number(rng.next_u64().cast_signed()),
            Self::Integer => number(rng.below(200).cast_signed() - 50),
            Self::Float => pick(rng, FLOATS).to_vec(),
            Self::Seconds => number(relative),
            Self::Millis => number(1000 * relative),
            Self::AtSeconds if rng.chance(1, 10) => number(rng.below(1_000_000_000)),
            Self::AtMillis if rng.chance(1, 10) => number(rng.below(1_000_000_000_000)),
            Self::AtSeconds => number(absolute),
            Self::AtMillis => number(1000 * absolute),
            Self::Index => number(rng.below(60).cast_signed() - 30),
            Self::Offset if rng.chance(1, 20) => number(rng.below(30_000)),
            Self::Offset => number(rng.below(30)),
            Self::BitOffset if rng.chance(1, 20) => number(rng.below(200_000)),
            Self::BitOffset => number(rng.below(200)),
            Self::Bit => number(rng.below(2)),
            Self::Pattern => pick(rng, PATTERNS).to_vec(),
            Self::Cursor | Self::Database => b"0".to_vec(),
            Self::Count => number(1 + rng.below(20)),
            Self::Length => number(rng.below(6)),
            Self::Type => pick(rng, &[&b"string"[..], b"list", b"zset", b"STRING", b"stream"]).to_vec(),
            Self::Name => pick(rng, &[&b"worker"[..], b"w-1", b"", b"a:b"]).to_vec(),
            Self::Slot => number(rng.below(16_384)),
            Self::CommandName => {
                pick(rng, &[&b"get"[..], b"SET", b"mget", b"del", b"incr", b"ping", b"lpush", b"nonsense"])
                    .to_vec()
            }
            Self::Word(word) => word.as_bytes().to_vec(),
            Self::OneOf(words) => pick(rng, words).as_bytes().to_vec(),
        }
    }

    /// What it may not take.
    pub(crate) fn odd(self, rng: &mut Rng) -> Vec<u8> {
        match self {
            // Any bytes are a key or a value.
            Self::Key => pick(rng, KEYS).to_vec(),
            Self::Value => pick(rng, ODD).to_vec(),
            Self::Word(_) | Self::OneOf(_) | Self::Type | Self::CommandName => pick(rng, WORDS).to_vec(),
            Self::Name => pick(rng, &[&b"a b"[..], b"\n", b"\x80", b"~!", b" "]).to_vec(),
            Self::Pattern => (0..rng.below(8)).map(|_| pick(rng, b"ab[]^-\\*?\xff\0")).collect(),
            Self::Cursor => {
                pick(rng, &[&b"-"[..], b"x", b"1x", b" 0", b"0 ", b"18446744073709551616", b"00", b"7"])
                    .to_vec()
            }
            // A short time: the key would live or not by chance.
            Self::Seconds | Self::Millis | Self::AtSeconds | Self::AtMillis if rng.chance(1, 3) => {
                number(-rng.below(3).cast_signed())
            }
            _ => loop {
                let odd = pick(rng, ODD);
                if !(matches!(self, Self::Seconds | Self::Millis) && is_short(odd)) {
                    return odd.to_vec();
                }
            },
        }
    }
}

/// Whether it is a number of seconds or milliseconds that may be over before the test is.
fn is_short(text: &[u8]) -> bool {
    str::from_utf8(text)
        .ok()
        .and_then(|text| text.parse::<i64>().ok())
        .is_some_and(|n| (1..10_000_000_000).contains(&n))
}

/// A word in another case.
pub(crate) fn recased(word: &[u8], rng: &mut Rng) -> Vec<u8> {
    match rng.below(4) {
        0 => word.to_ascii_lowercase(),
        1 => word
            .iter()
            .map(|b| if rng.chance(1, 2) { b.to_ascii_lowercase() } else { b.to_ascii_uppercase() })
            .collect(),
        _ => word.to_vec(),
    }
}

/// A word that no command expects where it stands.
pub(crate) fn stray(rng: &mut Rng) -> Vec<u8> {
    pick(rng, WORDS).to_vec()
}
