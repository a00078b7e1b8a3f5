//! A packed command in a client's words again, for people to read.

use alloc::vec::Vec;

use bytes::Bytes;

use super::bits::{BitRange, Unit};
use super::lcs::LcsForm;
use super::lifetime::Lifetime;
use super::number::Decimal;
use super::packed::{Fields, Read, Scan, SetFlags, Write};
use super::set::{Compare, Set};

/// A command's words, as a client could have sent it: equal packed bytes may have come from several commands (INCR and
/// INCRBY), and give the most general of them. Of several commands in one only what they are together, EXEC or PIPELINE. No
/// words at all when the bytes are no command of this build.
pub fn words(packed: &[u8]) -> Vec<Bytes> {
    let words =
        Write::decode(packed).map_or_else(|_| Read::decode(packed).map(read), |found| Ok(write(found)));
    words.map(|words| words.0).unwrap_or_default()
}

struct Words(Vec<Bytes>);

impl Words {
    fn of(name: &'static str) -> Self {
        Self(alloc::vec![Bytes::from_static(name.as_bytes())])
    }

    fn and(mut self, word: &[u8]) -> Self {
        self.0.push(Bytes::copy_from_slice(word));
        self
    }

    fn all(self, fields: Fields<'_>) -> Self {
        fields.fold(self, Self::and)
    }

    fn signed(self, value: i64) -> Self {
        self.and(Decimal::signed(value).as_bytes())
    }

    fn unsigned(self, value: u64) -> Self {
        self.and(Decimal::unsigned(value).as_bytes())
    }

    fn flags(self, flags: SetFlags) -> Self {
        let options = [(SetFlags::NX, &b"NX"[..]), (SetFlags::XX, b"XX"), (SetFlags::GET, b"GET")];
        options
            .into_iter()
            .filter(|&(flag, _)| flags.has(flag))
            .fold(self, |words, (_, name)| words.and(name))
    }

    fn lifetime(self, lifetime: Lifetime) -> Self {
        match lifetime {
            Lifetime::Forever => self,
            Lifetime::Kept => self.and(b"KEEPTTL"),
            Lifetime::For(millis) => self.and(b"PX").signed(millis),
            Lifetime::Until(at) => self.and(b"PXAT").signed(at),
        }
    }

    fn compare(self, compare: Compare<'_>) -> Self {
        match compare {
            Compare::Any => self,
            Compare::Equal(text) => self.and(b"IFEQ").and(text),
            Compare::Unequal(text) => self.and(b"IFNE").and(text),
        }
    }

    fn range(self, range: Option<BitRange>) -> Self {
        let Some(BitRange { start, end, unit }) = range else { return self };
        let Some(end) = end else { return self.signed(start) };
        self.signed(start).signed(end).and(match unit {
            Unit::Byte => b"BYTE",
            Unit::Bit => b"BIT",
        })
    }

    fn flag(self, is_set: bool, name: &[u8]) -> Self {
        if is_set { self.and(name) } else { self }
    }

    fn option(self, name: &[u8], value: Option<&[u8]>) -> Self {
        match value {
            Some(value) => self.and(name).and(value),
            None => self,
        }
    }
}

fn write(command: Write<'_>) -> Words {
    match command {
        Write::Set(Set { flags, compare, lifetime, key, value }) => {
            Words::of("SET").and(key).and(value).flags(flags).compare(compare).lifetime(lifetime)
        }
        Write::SetNx { key, value } => Words::of("SETNX").and(key).and(value),
        Write::GetDel { key } => Words::of("GETDEL").and(key),
        Write::Append { key, tail } => Words::of("APPEND").and(key).and(tail),
        Write::Del { keys } => Words::of("DEL").all(keys),
        Write::MSet { pairs } => Words::of("MSET").all(pairs),
        Write::IncrBy { key, by } => Words::of("INCRBY").and(key).signed(by),
        Write::GetEx { lifetime, key } => {
            let persists = lifetime == Lifetime::Forever;
            Words::of("GETEX").and(key).lifetime(lifetime).flag(persists, b"PERSIST")
        }
        Write::Expire { replaces, lifetime, key } => {
            let (name, number) = match lifetime {
                Lifetime::Until(at) => ("PEXPIREAT", at),
                Lifetime::For(millis) => ("PEXPIRE", millis),
                Lifetime::Forever | Lifetime::Kept => ("PEXPIRE", 0),
            };
            replaces.names().fold(Words::of(name).and(key).signed(number), Words::and)
        }
        Write::Persist { key } => Words::of("PERSIST").and(key),
        Write::DelEx { compare, key } => Words::of("DELEX").and(key).compare(compare),
        Write::MSetEx { flags, lifetime, pairs } => {
            Words::of("MSETEX").unsigned(pairs.len() as u64 / 2).all(pairs).flags(flags).lifetime(lifetime)
        }
        Write::SetRange { key, offset, part } => Words::of("SETRANGE").and(key).unsigned(offset).and(part),
        Write::SetBit { key, offset, bit } => {
            Words::of("SETBIT").and(key).unsigned(offset).signed(bit.into())
        }
        Write::IncrByFloat { key, by } => Words::of("INCRBYFLOAT").and(key).and(&by.to_text()),
        Write::MSetNx { pairs } => Words::of("MSETNX").all(pairs),
        Write::Rename { from, to, only_new } => {
            Words::of(if only_new { "RENAMENX" } else { "RENAME" }).and(from).and(to)
        }
        Write::Copy { from, to, replace } => Words::of("COPY").and(from).and(to).flag(replace, b"REPLACE"),
        Write::Flush => Words::of("FLUSHALL"),
        Write::Exec(_) => Words::of("EXEC"),
        Write::Pipeline { .. } => Words::of("PIPELINE"),
    }
}

fn read(query: Read<'_>) -> Words {
    match query {
        Read::Get { key } => Words::of("GET").and(key),
        Read::StrLen { key } => Words::of("STRLEN").and(key),
        Read::GetRange { key, start, end } => Words::of("GETRANGE").and(key).signed(start).signed(end),
        Read::Exists { keys } => Words::of("EXISTS").all(keys),
        Read::MGet { keys } => Words::of("MGET").all(keys),
        Read::DbSize => Words::of("DBSIZE"),
        Read::Scan(Scan { cursor, count, pattern, only_type }) => Words::of("SCAN")
            .unsigned(cursor)
            .and(b"COUNT")
            .unsigned(count)
            .option(b"MATCH", pattern)
            .option(b"TYPE", only_type),
        Read::Ttl { tells, key } => Words::of(tells.name()).and(key),
        Read::Versions { keys } => Words::of("WATCH").all(keys),
        Read::Exec(_) => Words::of("EXEC"),
        Read::Pipeline { .. } => Words::of("PIPELINE"),
        Read::GetBit { key, offset } => Words::of("GETBIT").and(key).unsigned(offset),
        Read::BitCount { key, range } => Words::of("BITCOUNT").and(key).range(range),
        Read::BitPos { key, bit, range } => Words::of("BITPOS").and(key).signed(bit.into()).range(range),
        Read::Lcs { one, other, form } => {
            let words = Words::of("LCS").and(one).and(other);
            match form {
                LcsForm::Text => words,
                LcsForm::Length => words.and(b"LEN"),
                LcsForm::Indexes { min_length, with_lengths } => {
                    let words = words.and(b"IDX").and(b"MINMATCHLEN").unsigned(min_length);
                    words.flag(with_lengths, b"WITHMATCHLEN")
                }
            }
        }
        Read::Type { key } => Words::of("TYPE").and(key),
        Read::Keys { pattern } => Words::of("KEYS").and(pattern),
        Read::RandomKey { .. } => Words::of("RANDOMKEY"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kv::{COMMANDS, Call, parse};

    fn split(line: &str) -> Vec<Bytes> {
        line.split(' ').map(|word| Bytes::copy_from_slice(word.as_bytes())).collect()
    }

    #[test]
    fn the_words_of_a_packed_command_pack_to_the_same_bytes() {
        let lines = [
            "append k v",
            "dbsize",
            "decr k",
            "decrby k 5",
            "del a b",
            "exists a b",
            "get k",
            "getdel k",
            "getrange k -3 7",
            "getset k v",
            "incr k",
            "incrby k -5",
            "mget a b c",
            "mset a 1 b 2",
            "scan 0",
            "scan 17 match a* count 3 type string",
            "set k v",
            "set k v xx get keepttl",
            "set k v nx",
            "setnx k v",
            "strlen k",
            "substr k 0 1",
            "bitcount k",
            "bitcount k 1 -2",
            "bitcount k 1 -2 bit",
            "bitpos k 1",
            "bitpos k 0 3",
            "bitpos k 0 3 5 bit",
            "copy a b",
            "copy a b replace db 0",
            "delex k",
            "delex k ifne v",
            "expire k 10 xx gt",
            "expireat k 10 nx",
            "expiretime k",
            "flushall",
            "flushdb async",
            "getbit k 7",
            "getex k",
            "getex k persist",
            "getex k exat 5",
            "incrbyfloat k -1.50",
            "keys a*",
            "lcs a b",
            "lcs a b len",
            "lcs a b idx minmatchlen 3 withmatchlen",
            "msetex 2 a 1 b 2 xx px 5",
            "msetex 1 a 1 keepttl",
            "msetnx a 1 b 2",
            "persist k",
            "pexpire k -10 lt",
            "pexpireat k 10",
            "pexpiretime k",
            "psetex k 10 v",
            "pttl k",
            "randomkey",
            "rename a b",
            "renamenx a b",
            "set k v ifeq w get ex 10",
            "set k v ifne w keepttl",
            "set k v nx pxat 10",
            "setbit k 7 1",
            "setex k 10 v",
            "setrange k 5 x",
            "touch a b",
            "ttl k",
            "type k",
            "unlink a b",
        ];
        for line in lines {
            let (Call::Write(packed) | Call::Read(packed)) = parse(&split(line)).expect(line);
            let (Call::Write(again) | Call::Read(again)) = parse(&words(&packed)).expect(line);
            assert_eq!(packed, again, "{line}");
        }
        for info in COMMANDS {
            let is_there = lines.iter().any(|line| line.split(' ').next() == Some(info.name));
            assert!(is_there, "{} has no line here", info.name);
        }
        assert_eq!(words(b""), Vec::<Bytes>::new());
        assert_eq!(words(&[0x7f, 1]), Vec::<Bytes>::new());
    }
}
