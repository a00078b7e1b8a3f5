//! Commands as bytes: what the log keeps of a write, and what a query carries.
//!
//! ```text
//! command  = opcode (1 byte) arguments
//! argument = a byte of flags | a varint | a zigzag varint | a varint length and that many bytes
//! ```
//!
//! An opcode names one command with one layout of its arguments, for ever: a command whose arguments change gets a new
//! opcode, so that an old log means what it meant. Opcodes below 0x80 are writes, the others are reads. 0 is none,
//! 0x40–0x4f are kept for commands that carry commands (transactions, pipelines), and 0x7f and 0xff for opcodes of two bytes.

use bytes::{BufMut, Bytes, BytesMut};

use super::bits::BitRange;
use super::expire::{Replaces, Tells};
use super::float::Extended;
use super::lcs::LcsForm;
use super::lifetime::Lifetime;
use super::set::{Compare, Set};
use super::transaction::Transaction;
use super::{MAX_KEY, MAX_PIPELINE, MAX_VALUE};

mod unpack;

/// The opcodes.
pub(super) mod opcode {
    pub(in crate::kv) const SET: u8 = 0x01;
    pub(in crate::kv) const SETNX: u8 = 0x02;
    pub(in crate::kv) const GETDEL: u8 = 0x03;
    pub(in crate::kv) const APPEND: u8 = 0x04;
    pub(in crate::kv) const DEL: u8 = 0x05;
    pub(in crate::kv) const MSET: u8 = 0x06;
    pub(in crate::kv) const INCRBY: u8 = 0x07;
    pub(in crate::kv) const SET_WITH: u8 = 0x08;
    pub(in crate::kv) const GETEX: u8 = 0x09;
    pub(in crate::kv) const EXPIRE: u8 = 0x0a;
    pub(in crate::kv) const PERSIST: u8 = 0x0b;
    pub(in crate::kv) const DELEX: u8 = 0x0c;
    pub(in crate::kv) const MSETEX: u8 = 0x0d;
    pub(in crate::kv) const EXEC: u8 = 0x40;
    pub(in crate::kv) const PIPELINE: u8 = 0x41;
    pub(in crate::kv) const SETRANGE: u8 = 0x10;
    pub(in crate::kv) const SETBIT: u8 = 0x11;
    pub(in crate::kv) const INCRBYFLOAT: u8 = 0x12;
    pub(in crate::kv) const MSETNX: u8 = 0x13;
    pub(in crate::kv) const RENAME: u8 = 0x14;
    pub(in crate::kv) const COPY: u8 = 0x15;
    pub(in crate::kv) const FLUSH: u8 = 0x16;
    pub(in crate::kv) const GET: u8 = 0x81;
    pub(in crate::kv) const STRLEN: u8 = 0x82;
    pub(in crate::kv) const GETRANGE: u8 = 0x83;
    pub(in crate::kv) const EXISTS: u8 = 0x84;
    pub(in crate::kv) const MGET: u8 = 0x85;
    pub(in crate::kv) const DBSIZE: u8 = 0x86;
    pub(in crate::kv) const SCAN: u8 = 0x87;
    pub(in crate::kv) const TTL: u8 = 0x88;
    pub(in crate::kv) const VERSIONS: u8 = 0x89;
    pub(in crate::kv) const EXEC_READS: u8 = 0xc0;
    pub(in crate::kv) const PIPELINE_READS: u8 = 0xc1;
    pub(in crate::kv) const GETBIT: u8 = 0x90;
    pub(in crate::kv) const BITCOUNT: u8 = 0x91;
    pub(in crate::kv) const BITPOS: u8 = 0x92;
    pub(in crate::kv) const LCS: u8 = 0x93;
    pub(in crate::kv) const TYPE: u8 = 0x94;
    pub(in crate::kv) const KEYS: u8 = 0x95;
    pub(in crate::kv) const RANDOMKEY: u8 = 0x96;
    /// Set in the opcodes of reads.
    pub(in crate::kv) const READ: u8 = 0x80;
}

/// The options of SET.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct SetFlags(u8);

impl SetFlags {
    /// Only a key that does not exist.
    pub(super) const NX: Self = Self(1);
    /// Only a key that exists.
    pub(super) const XX: Self = Self(1 << 1);
    /// Answer the old value.
    pub(super) const GET: Self = Self(1 << 2);
    const ALL: u8 = (1 << 3) - 1;

    /// Whether all of `other` are set.
    pub(super) const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Both together.
    pub(super) const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// As a byte.
    pub(super) const fn byte(self) -> u8 {
        self.0
    }

    pub(super) fn from_byte(byte: u8) -> Option<Self> {
        let flags = Self(byte);
        (byte & !Self::ALL == 0 && !flags.has(Self::NX.with(Self::XX))).then_some(flags)
    }
}

/// A write, borrowed from its packed bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Write<'a> {
    Set(Set<'a>),
    SetNx { key: &'a [u8], value: &'a [u8] },
    GetDel { key: &'a [u8] },
    Append { key: &'a [u8], tail: &'a [u8] },
    Del { keys: Fields<'a> },
    MSet { pairs: Fields<'a> },
    IncrBy { key: &'a [u8], by: i64 },
    GetEx { lifetime: Lifetime, key: &'a [u8] },
    Expire { replaces: Replaces, lifetime: Lifetime, key: &'a [u8] },
    Persist { key: &'a [u8] },
    DelEx { compare: Compare<'a>, key: &'a [u8] },
    MSetEx { flags: SetFlags, lifetime: Lifetime, pairs: Fields<'a> },
    Exec(Transaction<'a>),
    Pipeline { commands: Fields<'a> },
    SetRange { key: &'a [u8], offset: u64, part: &'a [u8] },
    SetBit { key: &'a [u8], offset: u64, bit: bool },
    IncrByFloat { key: &'a [u8], by: Extended },
    MSetNx { pairs: Fields<'a> },
    Rename { from: &'a [u8], to: &'a [u8], only_new: bool },
    Copy { from: &'a [u8], to: &'a [u8], replace: bool },
    Flush,
}

/// A read, borrowed from its packed bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Read<'a> {
    Get { key: &'a [u8] },
    StrLen { key: &'a [u8] },
    GetRange { key: &'a [u8], start: i64, end: i64 },
    Exists { keys: Fields<'a> },
    MGet { keys: Fields<'a> },
    DbSize,
    Scan(Scan<'a>),
    Ttl { tells: Tells, key: &'a [u8] },
    Versions { keys: Fields<'a> },
    Exec(Transaction<'a>),
    Pipeline { commands: Fields<'a> },
    GetBit { key: &'a [u8], offset: u64 },
    BitCount { key: &'a [u8], range: Option<BitRange> },
    BitPos { key: &'a [u8], bit: bool, range: Option<BitRange> },
    Lcs { one: &'a [u8], other: &'a [u8], form: LcsForm },
    Type { key: &'a [u8] },
    Keys { pattern: &'a [u8] },
    RandomKey { draw: u64 },
}

/// The arguments of SCAN.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Scan<'a> {
    pub(super) cursor: u64,
    pub(super) count: u64,
    pub(super) pattern: Option<&'a [u8]>,
    pub(super) only_type: Option<&'a [u8]>,
}

/// Why packed bytes are not a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Malformed {
    /// No command of this build has the opcode.
    Opcode(u8),
    /// The arguments are cut off, too long, or not the opcode's.
    Arguments(u8),
    /// There are no bytes.
    Empty,
}

impl<'a> Write<'a> {
    /// Reads a whole command; nothing of it runs unless all of it can be read.
    pub(super) fn decode(packed: &'a [u8]) -> Result<Self, Malformed> {
        let (&op, rest) = packed.split_first().ok_or(Malformed::Empty)?;
        let mut from = Unpacker(rest);
        let write = match op {
            opcode::SET => from.set().map(Self::Set),
            opcode::SETNX => from.key().zip(from.value()).map(|(key, value)| Self::SetNx { key, value }),
            opcode::GETDEL => from.key().map(|key| Self::GetDel { key }),
            opcode::APPEND => from.key().zip(from.value()).map(|(key, tail)| Self::Append { key, tail }),
            opcode::DEL => from.keys().map(|keys| Self::Del { keys }),
            opcode::MSET => from.pairs().map(|pairs| Self::MSet { pairs }),
            opcode::INCRBY => from.key().zip(from.signed()).map(|(key, by)| Self::IncrBy { key, by }),
            opcode::SET_WITH => from.set_with().map(Self::Set),
            opcode::GETEX => from.getex(),
            opcode::EXPIRE => from.expire(),
            opcode::PERSIST => from.key().map(|key| Self::Persist { key }),
            opcode::DELEX => from.delex(),
            opcode::MSETEX => from.msetex(),
            opcode::EXEC => from.transaction().map(Self::Exec),
            opcode::PIPELINE => from.commands().map(|commands| Self::Pipeline { commands }),
            opcode::SETRANGE => from.set_range(),
            opcode::SETBIT => from.set_bit(),
            opcode::INCRBYFLOAT => {
                from.key().zip(from.extended()).map(|(key, by)| Self::IncrByFloat { key, by })
            }
            opcode::MSETNX => from.pairs().map(|pairs| Self::MSetNx { pairs }),
            opcode::RENAME => from.rename(),
            opcode::COPY => from.copy(),
            opcode::FLUSH => Some(Self::Flush),
            _ => return Err(Malformed::Opcode(op)),
        };
        write.filter(|_| from.0.is_empty()).ok_or(Malformed::Arguments(op))
    }
}

impl<'a> Read<'a> {
    /// Reads a whole query.
    pub(super) fn decode(packed: &'a [u8]) -> Result<Self, Malformed> {
        let (&op, rest) = packed.split_first().ok_or(Malformed::Empty)?;
        let mut from = Unpacker(rest);
        let read = match op {
            opcode::GET => from.key().map(|key| Self::Get { key }),
            opcode::STRLEN => from.key().map(|key| Self::StrLen { key }),
            opcode::GETRANGE => from.range(),
            opcode::EXISTS => from.keys().map(|keys| Self::Exists { keys }),
            opcode::MGET => from.keys().map(|keys| Self::MGet { keys }),
            opcode::DBSIZE => Some(Self::DbSize),
            opcode::SCAN => from.scan().map(Self::Scan),
            opcode::TTL => from.ttl(),
            opcode::VERSIONS => from.keys().map(|keys| Self::Versions { keys }),
            opcode::EXEC_READS => from.transaction().map(Self::Exec),
            opcode::PIPELINE_READS => from.commands().map(|commands| Self::Pipeline { commands }),
            opcode::GETBIT => {
                from.key().zip(from.bit_offset()).map(|(key, offset)| Self::GetBit { key, offset })
            }
            opcode::BITCOUNT => from.bit_count(),
            opcode::BITPOS => from.bit_pos(),
            opcode::LCS => from.lcs(),
            opcode::TYPE => from.key().map(|key| Self::Type { key }),
            opcode::KEYS => from.value().map(|pattern| Self::Keys { pattern }),
            opcode::RANDOMKEY => from.varint().map(|draw| Self::RandomKey { draw }),
            _ => return Err(Malformed::Opcode(op)),
        };
        read.filter(|_| from.0.is_empty()).ok_or(Malformed::Arguments(op))
    }
}

/// The first key of a packed command, if that is quickly found.
pub(super) fn first_key(packed: &[u8]) -> Option<&[u8]> {
    let (&op, rest) = packed.split_first()?;
    if op == opcode::SET {
        return Unpacker(rest).set().map(|set| set.key);
    }
    let begins_with_key = matches!(
        op,
        opcode::SETNX
            | opcode::GETDEL
            | opcode::APPEND
            | opcode::DEL
            | opcode::MSET
            | opcode::INCRBY
            | opcode::PERSIST
            | opcode::SETRANGE
            | opcode::SETBIT
            | opcode::INCRBYFLOAT
            | opcode::MSETNX
            | opcode::GET
            | opcode::STRLEN
            | opcode::GETRANGE
            | opcode::EXISTS
            | opcode::MGET
            | opcode::VERSIONS
            | opcode::GETBIT
            | opcode::BITCOUNT
            | opcode::BITPOS
            | opcode::TYPE
    );
    if begins_with_key { Unpacker(rest).key() } else { None }
}

/// Several byte strings, each known to be whole and within its limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fields<'a> {
    rest: &'a [u8],
    len: usize,
}

impl Fields<'_> {
    /// How many are left.
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    /// Their bytes, and those that tell how long they are.
    pub(super) const fn packed_len(&self) -> usize {
        self.rest.len()
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        self.len = self.len.checked_sub(1)?;
        let mut from = Unpacker(self.rest);
        let field = from.bytes(usize::MAX)?;
        self.rest = from.0;
        Some(field)
    }
}

/// Takes arguments from the front of what is left.
pub(super) struct Unpacker<'a>(&'a [u8]);

impl<'a> Unpacker<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// What is left.
    pub(super) const fn rest(&self) -> &'a [u8] {
        self.0
    }

    /// Everything that is left, as byte strings.
    pub(super) fn all_bytes(&mut self) -> Option<Fields<'a>> {
        let all = self.0;
        let mut len = 0;
        while !self.0.is_empty() {
            self.bytes(all.len())?;
            len += 1;
        }
        Some(Fields { rest: all, len })
    }

    /// Everything that is left, as the commands of a pipeline.
    fn commands(&mut self) -> Option<Fields<'a>> {
        self.all_bytes().filter(|commands| (1..=MAX_PIPELINE).contains(&commands.len()))
    }

    /// A byte string of any length.
    pub(super) fn field(&mut self) -> Option<&'a [u8]> {
        self.bytes(usize::MAX)
    }

    pub(super) fn byte(&mut self) -> Option<u8> {
        let (&byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(byte)
    }

    pub(super) fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let part = u64::from(byte & 0x7f);
            if shift == 63 && part > 1 {
                return None;
            }
            value |= part << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    pub(super) fn signed(&mut self) -> Option<i64> {
        let coded = self.varint()?;
        Some((coded >> 1) as i64 ^ -((coded & 1) as i64))
    }

    fn bytes(&mut self, most: usize) -> Option<&'a [u8]> {
        let len = usize::try_from(self.varint()?).ok().filter(|&len| len <= most)?;
        let (bytes, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(bytes)
    }

    pub(super) fn key(&mut self) -> Option<&'a [u8]> {
        self.bytes(MAX_KEY)
    }

    pub(super) fn value(&mut self) -> Option<&'a [u8]> {
        self.bytes(MAX_VALUE)
    }

    fn keys(&mut self) -> Option<Fields<'a>> {
        let all = self.0;
        let mut len = 0;
        while !self.0.is_empty() {
            self.key()?;
            len += 1;
        }
        (len > 0).then_some(Fields { rest: all, len })
    }

    pub(super) fn pairs(&mut self) -> Option<Fields<'a>> {
        let all = self.0;
        let mut len = 0;
        while !self.0.is_empty() {
            self.key()?;
            self.value()?;
            len += 2;
        }
        (len > 0).then_some(Fields { rest: all, len })
    }

    fn range(&mut self) -> Option<Read<'a>> {
        Some(Read::GetRange { key: self.key()?, start: self.signed()?, end: self.signed()? })
    }

    fn scan(&mut self) -> Option<Scan<'a>> {
        let (cursor, count) = (self.varint()?, self.varint()?);
        let options = self.byte().filter(|&options| options <= 3)?;
        let pattern = if options & 1 != 0 { Some(self.bytes(MAX_VALUE)?) } else { None };
        let only_type = if options & 2 != 0 { Some(self.bytes(MAX_VALUE)?) } else { None };
        Some(Scan { cursor, count, pattern, only_type })
    }
}

/// Writes a command, into space that others' commands share.
pub(super) struct Packer<'a>(&'a mut BytesMut);

impl<'a> Packer<'a> {
    /// Room that any argument's length, or number, needs at most.
    pub(super) const VARINT: usize = 10;

    /// The command `op`, whose arguments need about `room` bytes of `space`.
    pub(super) fn new(space: &'a mut BytesMut, op: u8, room: usize) -> Self {
        // What was begun and not finished.
        space.clear();
        space.reserve(1 + room);
        space.put_u8(op);
        Self(space)
    }

    pub(super) fn byte(self, byte: u8) -> Self {
        self.0.put_u8(byte);
        self
    }

    pub(super) fn varint(self, mut value: u64) -> Self {
        while value >= 0x80 {
            self.0.put_u8(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.put_u8(value as u8);
        self
    }

    pub(super) fn signed(self, value: i64) -> Self {
        self.varint((value << 1 ^ value >> 63) as u64)
    }

    pub(super) fn bytes(self, bytes: &[u8]) -> Self {
        let to = self.varint(bytes.len() as u64);
        to.0.put_slice(bytes);
        to
    }

    /// Byte strings, one after the other.
    pub(super) fn all(self, fields: &[Bytes]) -> Self {
        fields.iter().fold(self, |to, field| to.bytes(field))
    }

    /// What is packed already.
    pub(super) fn raw(self, packed: &[u8]) -> Self {
        self.0.put_slice(packed);
        self
    }

    /// Room for one byte string.
    pub(super) fn room(bytes: &[u8]) -> usize {
        let bits = (usize::BITS - bytes.len().leading_zeros()).max(1) as usize;
        bits.div_ceil(7) + bytes.len()
    }

    pub(super) fn finish(self) -> Bytes {
        self.0.split().freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;
    use alloc::vec::Vec;

    #[test]
    fn numbers_come_back() {
        let mut rng = Rng::new(3);
        let edges = [0, 1, -1, 63, 64, -64, -65, i64::MAX, i64::MIN];
        let drawn = (0..1000).map(|i| rng.next_u64() as i64 >> (i % 64));
        for value in edges.into_iter().chain(drawn.collect::<Vec<_>>()) {
            let packed = Packer::new(&mut BytesMut::new(), 1, 20).signed(value).varint(value as u64).finish();
            let mut from = Unpacker(&packed[1..]);
            assert_eq!((from.signed(), from.varint()), (Some(value), Some(value as u64)));
            assert!(from.0.is_empty());
        }
    }

    #[test]
    fn a_varint_of_more_than_64_bits_is_refused() {
        let mut long = alloc::vec![0xff; 9];
        long.push(2);
        assert_eq!(Unpacker(&long).varint(), None);
        assert_eq!(Unpacker(&[0xff; 11]).varint(), None);
        assert_eq!(Unpacker(&[0x80]).varint(), None);
    }

    #[test]
    fn commands_share_space_and_what_was_not_finished_is_in_none() {
        let mut space = BytesMut::with_capacity(64);
        let at = space.as_ptr();
        let one = Packer::new(&mut space, 1, 10).bytes(b"one").finish();
        let _ = Packer::new(&mut space, 2, 10).bytes(b"given up");
        let other = Packer::new(&mut space, 3, 10).bytes(b"other").finish();
        assert_eq!((&one[..], &other[..]), (&b"\x01\x03one"[..], &b"\x03\x05other"[..]));
        assert_eq!((one.as_ptr(), other.as_ptr()), (at, at.wrapping_add(one.len())));
    }

    #[test]
    fn room_is_exact() {
        for len in [0, 1, 127, 128, 16_383, 16_384] {
            let bytes = alloc::vec![7; len];
            assert_eq!(
                Packer::new(&mut BytesMut::new(), 1, 0).bytes(&bytes).finish().len(),
                1 + Packer::room(&bytes)
            );
        }
    }

    #[test]
    fn bytes_cut_off_or_left_over_are_malformed() {
        let set =
            Packer::new(&mut BytesMut::new(), opcode::SET, 0).byte(0).bytes(b"key").bytes(b"value").finish();
        assert!(Write::decode(&set).is_ok());
        for cut in 1..set.len() {
            assert_eq!(Write::decode(&set[..cut]), Err(Malformed::Arguments(opcode::SET)));
        }
        let mut more = set.to_vec();
        more.push(0);
        assert_eq!(Write::decode(&more), Err(Malformed::Arguments(opcode::SET)));
        assert_eq!(Write::decode(b""), Err(Malformed::Empty));
        assert_eq!(Write::decode(&[opcode::GET, 0]), Err(Malformed::Opcode(opcode::GET)));
        assert_eq!(Read::decode(&set), Err(Malformed::Opcode(opcode::SET)));
    }

    #[test]
    fn what_the_parser_would_refuse_is_malformed_too() {
        let both = Packer::new(&mut BytesMut::new(), opcode::SET, 0).byte(3).bytes(b"k").bytes(b"v").finish();
        let unknown =
            Packer::new(&mut BytesMut::new(), opcode::SET, 0).byte(16).bytes(b"k").bytes(b"v").finish();
        let key = alloc::vec![0; MAX_KEY + 1];
        let long = Packer::new(&mut BytesMut::new(), opcode::SET, 0).byte(0).bytes(&key).bytes(b"v").finish();
        for packed in [both, unknown, long] {
            assert_eq!(Write::decode(&packed), Err(Malformed::Arguments(opcode::SET)));
        }
        let half =
            Packer::new(&mut BytesMut::new(), opcode::MSET, 0).bytes(b"k").bytes(b"v").bytes(b"k").finish();
        assert_eq!(Write::decode(&half), Err(Malformed::Arguments(opcode::MSET)));
        assert_eq!(Write::decode(&[opcode::DEL]), Err(Malformed::Arguments(opcode::DEL)));
    }

    #[test]
    fn the_first_key_of_a_command_is_found_where_the_parser_put_it() {
        for line in [
            "set k v",
            "set k v keepttl",
            "set k v nx",
            "setnx k v",
            "getdel k",
            "append k v",
            "del k other",
            "mset k v other v",
            "msetnx k v",
            "incr k",
            "decrby k 7",
            "persist k",
            "setrange k 3 v",
            "setbit k 3 1",
            "incrbyfloat k 1.5",
            "get k",
            "strlen k",
            "getrange k 1 -1",
            "exists k other",
            "mget k other",
            "getbit k 3",
            "bitcount k 1 2",
            "bitpos k 1",
            "type k",
        ] {
            let words: Vec<_> = line.split(' ').map(|word| Bytes::copy_from_slice(word.as_bytes())).collect();
            let packed = match crate::kv::parse(&words) {
                Ok(crate::kv::Call::Write(packed)) => packed,
                Ok(crate::kv::Call::Read(packed)) => packed,
                other => panic!("{line}: {other:?}"),
            };
            assert_eq!(first_key(&packed), Some(&b"k"[..]), "{line}");
        }
        assert_eq!(first_key(&[]), None);
        assert_eq!(first_key(&[opcode::FLUSH]), None);
        assert_eq!(first_key(&[opcode::DEL, 5, b'k']), None, "cut off");
    }
}
