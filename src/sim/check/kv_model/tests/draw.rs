//! Random commands, most of them right.

use std::string::{String, ToString};
use std::vec::Vec;

use bytes::Bytes;

use super::super::KvOp;
use crate::kv::parse;
use crate::raft::LogIndex;
use crate::rng::Rng;

/// A command and what may follow it. A capital letter is a word to be drawn.
pub(super) struct Template {
    pub(super) line: &'static str,
    pub(super) options: &'static [&'static str],
}

const fn of(line: &'static str) -> Template {
    Template { line, options: &[] }
}

const fn with(line: &'static str, options: &'static [&'static str]) -> Template {
    Template { line, options }
}

const EXPIRE: &[&str] = &["nx", "xx", "gt", "lt", "Q"];

pub(super) const TEMPLATES: [Template; 53] = [
    of("append K V"),
    with("bitcount K", &["S S", "S S bit", "S S byte", "S", "S S Q"]),
    with("bitpos K B", &["S", "S S", "S S bit", "S S byte", "S S Q"]),
    with("copy K K", &["replace", "replace", "db 0", "db I", "db", "Q"]),
    of("dbsize"),
    of("decr N"),
    of("decrby N I"),
    with("del K", &["K", "K K"]),
    with("delex K", &["ifeq V", "ifne V", "Q V"]),
    with("exists K", &["K", "K K"]),
    with("expire K T", EXPIRE),
    with("expireat K A", EXPIRE),
    of("expiretime K"),
    with("flushall", &["sync", "async", "Q"]),
    with("flushdb", &["SYNC", "aSync", "Q"]),
    of("get K"),
    of("getbit K O"),
    of("getdel K"),
    with("getex K", &["ex T", "px M", "exat A", "pxat D", "persist", "keepttl", "nx"]),
    of("getrange K S S"),
    of("getset K V"),
    of("incr N"),
    of("incrby N I"),
    of("incrbyfloat F G"),
    of("keys P"),
    with("lcs K K", &["len", "idx", "minmatchlen S", "withmatchlen", "idx withmatchlen", "Q"]),
    with("mget K", &["K", "K K"]),
    with("mset K V", &["K V", "K"]),
    with("msetex 1 K V", &["nx", "xx", "ex T", "px M", "exat A", "pxat D", "keepttl", "get", "Q"]),
    with("msetex 2 K V K V", &["nx", "xx", "ex T", "px M", "exat A", "pxat D", "keepttl"]),
    with("msetnx K V", &["K V", "K"]),
    of("persist K"),
    with("pexpire K M", EXPIRE),
    with("pexpireat K D", EXPIRE),
    of("pexpiretime K"),
    of("psetex K M V"),
    of("pttl K"),
    of("randomkey"),
    of("rename K K"),
    of("renamenx K K"),
    with("scan 0", &["count 1000", "match P", "type string", "count I", "Q"]),
    with(
        "set K V",
        &["nx", "xx", "get", "keepttl", "ex T", "px M", "exat A", "pxat D", "ifeq V", "ifne V", "Q"],
    ),
    of("setbit K O B"),
    of("setex K T V"),
    of("setnx K V"),
    of("setrange K O V"),
    of("strlen K"),
    of("substr K S S"),
    with("touch K", &["K"]),
    of("ttl K"),
    of("type K"),
    with("unlink K", &["K", "K K"]),
    of("nonsense K"),
];

/// A command; now and then WATCH, or EXEC of what was `watched`.
pub(super) fn op(rng: &mut Rng, now: i64, watched: &mut Vec<(Bytes, LogIndex)>) -> KvOp {
    match rng.below(10) {
        0 => KvOp::Versions((0..1 + rng.below(2)).map(|_| word("K", rng, now)).collect()),
        1 => {
            // Arguments that are wrong are answered by the gateway, which queues them.
            let mut fit = || loop {
                let command = command(rng, now);
                if parse(&command).is_ok() {
                    return command;
                }
            };
            let commands = [fit(), fit(), fit()].into();
            KvOp::Transaction { watched: core::mem::take(watched), commands }
        }
        _ => KvOp::Command(command(rng, now)),
    }
}

/// A command, as of the time `now`.
fn command(rng: &mut Rng, now: i64) -> Vec<Bytes> {
    let template = &TEMPLATES[rng.below(TEMPLATES.len() as u64) as usize];
    // What empties the store leaves little to see.
    if template.line.starts_with("flush") && !rng.chance(1, 30) {
        return command(rng, now);
    }
    let mut line = String::from(template.line);
    while !template.options.is_empty() && rng.chance(1, 2) {
        line.push(' ');
        line += template.options[rng.below(template.options.len() as u64) as usize];
    }
    let mut words: Vec<Bytes> = line.split(' ').map(|letter| word(letter, rng, now)).collect();
    if rng.chance(1, 50) {
        words.pop();
    } else if rng.chance(1, 50) {
        words.push(word("V", rng, now));
    }
    if words.is_empty() {
        words.push(Bytes::from_static(b"get"))
    }
    if rng.chance(1, 20) {
        words[0] = words[0].to_ascii_uppercase().into();
    }
    words
}

fn word(letter: &str, rng: &mut Rng, now: i64) -> Bytes {
    // Now and then a word of another kind.
    let letters = ["K", "N", "V", "I", "O", "B", "S", "T", "M", "A", "D", "P", "F", "G", "Q"];
    let is_odd = letters.contains(&letter) && rng.chance(1, 40);
    let letter = if is_odd { letters[rng.below(letters.len() as u64) as usize] } else { letter };
    let text: String = match letter {
        "K" => std::format!("k{}", rng.below(5)),
        "N" => std::format!("n{}", rng.below(3)),
        "F" => std::format!("f{}", rng.below(3)),
        "V" => return value(rng),
        "I" => match rng.below(12) {
            0 => (i64::MIN + rng.below(2) as i64).to_string(),
            1 => (i64::MAX - rng.below(2) as i64).to_string(),
            2 => ["01", "-0", "+1", " 1", "1.0", "", "9223372036854775808"][rng.below(7) as usize].into(),
            _ => (rng.below(200) as i64 - 100).to_string(),
        },
        "O" => match rng.below(10) {
            0 => "67108863".into(),
            1 => (67_108_864 + rng.below(2)).to_string(),
            2 => "-1".into(),
            3 => return word("I", rng, now),
            _ => rng.below(200).to_string(),
        },
        "B" => ["0", "1", "0", "1", "0", "1", "2"][rng.below(7) as usize].into(),
        "S" => match rng.below(12) {
            0 => return word("I", rng, now),
            _ => (rng.below(24) as i64 - 12).to_string(),
        },
        "T" => seconds_or_worse(rng, 0),
        "M" => match rng.below(8) {
            0 => return word("I", rng, now),
            _ => rng.below(400_000).to_string(),
        },
        "A" => seconds_or_worse(rng, now / 1000),
        "D" => match rng.below(8) {
            0 => return word("I", rng, now),
            1 => (now - rng.below(10_000) as i64).to_string(),
            _ => (now + rng.below(400_000) as i64).to_string(),
        },
        "P" => ["*", "k*", "k[0-2]", "?1", "[^k]*", "n\\1", "zz"][rng.below(7) as usize].into(),
        "G" => float(rng),
        "Q" => ["foo", "ex", "NX", "xX", "get", "ifeq", "ifdeq", "bit", "withmatchlen"]
            [rng.below(9) as usize]
            .into(),
        fixed => fixed.into(),
    };
    text.into()
}

fn seconds_or_worse(rng: &mut Rng, base: i64) -> String {
    match rng.below(12) {
        0 => (base - rng.below(100) as i64).to_string(),
        1 => (i64::MAX / 1000 + 1 - rng.below(2) as i64).to_string(),
        2 => (i64::MIN / 1000 - rng.below(2) as i64).to_string(),
        3 => ["x", "", "01", "9223372036854775807"][rng.below(4) as usize].into(),
        _ => (base + rng.below(300) as i64).to_string(),
    }
}

fn value(rng: &mut Rng) -> Bytes {
    let text: String = match rng.below(10) {
        0 => return (0..rng.below(40)).map(|_| rng.next_u64() as u8).collect(),
        1 => return (0..rng.below(6)).map(|_| [0, 0xff][rng.below(2) as usize]).collect(),
        2 | 3 => (0..rng.below(30)).map(|_| char::from(b'a' + rng.below(3) as u8)).collect(),
        4 => (rng.below(200) as i64 - 100).to_string(),
        5 => float(rng),
        _ => ["", "1", "10", "a", "ab", "inf"][rng.below(6) as usize].into(),
    };
    text.into()
}

/// A number that INCRBYFLOAT's specification covers, or none.
fn float(rng: &mut Rng) -> String {
    let sign = ["", "-", "", "-", "", "-", "+"][rng.below(7) as usize];
    match rng.below(12) {
        0 => ["", ".", "x", "1.5x", " 1", "1 ", "1e", "--1", "nan", "-inf", "Infinity"]
            [rng.below(11) as usize]
            .into(),
        1 => std::format!("{sign}{}e{}", rng.below(1000), rng.below(20) as i64 - 10),
        2 => std::format!("{sign}.{}", rng.below(1000)),
        3 => std::format!("{sign}{}.", rng.below(1000)),
        4 => std::format!("{sign}{}", rng.next_u64()),
        5 => std::format!("{sign}{}.{:017}", rng.below(100), rng.below(100_000_000_000_000_000)),
        6 | 7 => std::format!("{sign}{}.{}", rng.below(1_000_000), rng.below(1_000_000)),
        _ => std::format!(
            "{sign}{}.{}",
            rng.below(100),
            ["5", "25", "75", "125", "1", "2"][rng.below(6) as usize]
        ),
    }
}
