//! A packed command in a client's words again, for people to read.

use alloc::vec::Vec;

use bytes::Bytes;

use super::number::Decimal;
use super::packed::{Fields, Read, Scan, SetFlags, Write};

/// A command's words, as a client could have sent it: equal packed bytes may have come from several commands (INCR and
/// INCRBY), and give the most general of them. No words at all when the bytes are no command of this build.
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

    fn option(self, name: &[u8], value: Option<&[u8]>) -> Self {
        match value {
            Some(value) => self.and(name).and(value),
            None => self,
        }
    }
}

fn write(command: Write<'_>) -> Words {
    match command {
        Write::Set { flags, key, value } => {
            let options = [
                (SetFlags::NX, &b"NX"[..]),
                (SetFlags::XX, b"XX"),
                (SetFlags::GET, b"GET"),
                (SetFlags::KEEPTTL, b"KEEPTTL"),
            ];
            let given = options.into_iter().filter(|&(flag, _)| flags.has(flag)).map(|(_, name)| name);
            given.fold(Words::of("SET").and(key).and(value), Words::and)
        }
        Write::SetNx { key, value } => Words::of("SETNX").and(key).and(value),
        Write::GetDel { key } => Words::of("GETDEL").and(key),
        Write::Append { key, tail } => Words::of("APPEND").and(key).and(tail),
        Write::Del { keys } => Words::of("DEL").all(keys),
        Write::MSet { pairs } => Words::of("MSET").all(pairs),
        Write::IncrBy { key, by } => Words::of("INCRBY").and(key).signed(by),
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
