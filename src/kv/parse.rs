//! From a command's arguments to its packed bytes, with Redis's own checks in Redis's own order.

use bytes::{Bytes, BytesMut};

use super::command::CommandInfo;
use super::error::CommandError;
use super::lifetime::Lifetime;
use super::number::{parse_cursor, parse_i64};
use super::packed::{Packer, SetFlags, opcode};
use super::set::{Compare, Set};
use super::{MAX_KEY, MAX_KEYS, MAX_VALUE};

pub(super) mod bits;
pub(super) mod expire;
pub(super) mod keyspace;
pub(super) mod set;
pub(super) mod strings;

/// A command, checked and packed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    /// For the log: it may change something.
    Write(Bytes),
    /// For a query: it changes nothing.
    Read(Bytes),
}

impl Call {
    /// Gives RANDOMKEY the number by which it chooses; every other command stays as it is.
    ///
    /// A state machine draws no random numbers, and with the same one the same state answers the same key: whoever sends
    /// the command draws, once for each.
    pub fn drawing(self, draw: impl FnOnce() -> u64) -> Self {
        match self {
            Self::Read(packed) if packed.first() == Some(&opcode::RANDOMKEY) => {
                keyspace::pack_randomkey(draw(), &mut BytesMut::new())
            }
            other => other,
        }
    }
}

pub(super) type Parsed = Result<Call, CommandError>;

/// Checks a command's arguments, its name first, and packs it.
///
/// ```
/// use bytes::Bytes;
/// use quorate::kv::{Call, parse};
///
/// let args = [Bytes::from_static(b"GET"), Bytes::from_static(b"answer")];
/// assert!(matches!(parse(&args), Ok(Call::Read(_))));
/// assert_eq!(parse(&args[..1]).unwrap_err().to_string(), "ERR wrong number of arguments for 'get' command");
/// ```
pub fn parse(args: &[Bytes]) -> Result<Call, CommandError> {
    let name = args.first().ok_or(CommandError::Empty)?;
    CommandInfo::find(name).ok_or_else(|| CommandError::unknown(args))?.call(args, &mut BytesMut::new())
}

pub(super) fn get(args: &[Bytes], space: &mut BytesMut) -> Parsed {
    read_key(opcode::GET, args, space)
}

pub(super) fn strlen(args: &[Bytes], space: &mut BytesMut) -> Parsed {
    read_key(opcode::STRLEN, args, space)
}

pub(super) fn getdel(args: &[Bytes], space: &mut BytesMut) -> Parsed {
    write_key(opcode::GETDEL, args, space)
}

pub(super) fn getrange(args: &[Bytes], space: &mut BytesMut) -> Parsed {
    let (start, end) = (integer(args, 2)?, integer(args, 3)?);
    let key = key(args, 1)?;
    let to = Packer::new(space, opcode::GETRANGE, Packer::room(key) + 2 * Packer::VARINT);
    Ok(Call::Read(to.bytes(key).signed(start).signed(end).finish()))
}

pub(super) fn getset(args: &[Bytes], space: &mut BytesMut) -> Parsed {
    let (key, value) = (key(args, 1)?, value(args, 2)?);
    set::pack(
        Set { flags: SetFlags::GET, compare: Compare::Any, lifetime: Lifetime::Forever, key, value },
        space,
    )
}

pub(super) fn setnx(args: &[Bytes], space: &mut BytesMut) -> Parsed {
    write_pair(opcode::SETNX, args, space)
}

pub(super) fn append(args: &[Bytes], space: &mut BytesMut) -> Parsed {
    write_pair(opcode::APPEND, args, space)
}

pub(super) fn del(args: &[Bytes], space: &mut BytesMut) -> Parsed {
    Ok(Call::Write(pack_keys(opcode::DEL, args.get(1..).unwrap_or_default(), space)?))
}

pub(super) fn exists(args: &[Bytes], space: &mut BytesMut) -> Parsed {
    Ok(Call::Read(pack_keys(opcode::EXISTS, args.get(1..).unwrap_or_default(), space)?))
}

pub(super) fn mget(args: &[Bytes], space: &mut BytesMut) -> Parsed {
    Ok(Call::Read(pack_keys(opcode::MGET, args.get(1..).unwrap_or_default(), space)?))
}

pub(super) fn mset(args: &[Bytes], space: &mut BytesMut) -> Parsed {
    pack_pairs(opcode::MSET, "mset", args, space)
}

pub(super) fn incr(args: &[Bytes], space: &mut BytesMut) -> Parsed {
    pack_incr(args, 1, space)
}

pub(super) fn decr(args: &[Bytes], space: &mut BytesMut) -> Parsed {
    pack_incr(args, -1, space)
}

pub(super) fn incrby(args: &[Bytes], space: &mut BytesMut) -> Parsed {
    pack_incr(args, integer(args, 2)?, space)
}

pub(super) fn decrby(args: &[Bytes], space: &mut BytesMut) -> Parsed {
    let by = integer(args, 2)?.checked_neg().ok_or(CommandError::DecrementOverflow)?;
    pack_incr(args, by, space)
}

fn pack_incr(args: &[Bytes], by: i64, space: &mut BytesMut) -> Parsed {
    let key = key(args, 1)?;
    let to = Packer::new(space, opcode::INCRBY, Packer::room(key) + Packer::VARINT);
    Ok(Call::Write(to.bytes(key).signed(by).finish()))
}

pub(super) fn dbsize(_: &[Bytes], space: &mut BytesMut) -> Parsed {
    Ok(Call::Read(Packer::new(space, opcode::DBSIZE, 0).finish()))
}

pub(super) fn scan(args: &[Bytes], space: &mut BytesMut) -> Parsed {
    let cursor = args.get(1).and_then(|arg| parse_cursor(arg)).ok_or(CommandError::Cursor)?;
    let (mut count, mut pattern, mut only_type) = (10, None, None);
    for option in args.get(2..).unwrap_or_default().chunks(2) {
        let [name, value] = option else { return Err(CommandError::Syntax) };
        if name.eq_ignore_ascii_case(b"count") {
            let given = parse_i64(value).ok_or(CommandError::NotInteger)?;
            count = u64::try_from(given).ok().filter(|&n| n > 0).ok_or(CommandError::Syntax)?;
        } else if name.eq_ignore_ascii_case(b"match") {
            pattern = Some(bounded_value(value)?);
        } else if name.eq_ignore_ascii_case(b"type") {
            only_type = Some(bounded_value(value)?);
        } else {
            return Err(CommandError::Syntax);
        }
    }
    let room = 2 * Packer::VARINT + 1 + pattern.map_or(0, Packer::room) + only_type.map_or(0, Packer::room);
    let options = u8::from(pattern.is_some()) | u8::from(only_type.is_some()) << 1;
    let to = Packer::new(space, opcode::SCAN, room).varint(cursor).varint(count).byte(options);
    Ok(Call::Read([pattern, only_type].into_iter().flatten().fold(to, Packer::bytes).finish()))
}

fn read_key(op: u8, args: &[Bytes], space: &mut BytesMut) -> Parsed {
    let key = key(args, 1)?;
    Ok(Call::Read(Packer::new(space, op, Packer::room(key)).bytes(key).finish()))
}

fn write_key(op: u8, args: &[Bytes], space: &mut BytesMut) -> Parsed {
    let key = key(args, 1)?;
    Ok(Call::Write(Packer::new(space, op, Packer::room(key)).bytes(key).finish()))
}

fn write_pair(op: u8, args: &[Bytes], space: &mut BytesMut) -> Parsed {
    let (key, value) = (key(args, 1)?, value(args, 2)?);
    let to = Packer::new(space, op, Packer::room(key) + Packer::room(value));
    Ok(Call::Write(to.bytes(key).bytes(value).finish()))
}

fn pack_pairs(op: u8, name: &'static str, args: &[Bytes], space: &mut BytesMut) -> Parsed {
    if args.len().is_multiple_of(2) {
        return Err(CommandError::Arity(name));
    }
    let pairs = args.get(1..).unwrap_or_default();
    Ok(Call::Write(Packer::new(space, op, room_of_pairs(pairs)?).all(pairs).finish()))
}

/// Room for keys and values in turn, which are found to be within their limits.
fn room_of_pairs(pairs: &[Bytes]) -> Result<usize, CommandError> {
    if pairs.len() / 2 > MAX_KEYS {
        return Err(CommandError::TooManyKeys);
    }
    let mut room = 0;
    for at in (0..pairs.len()).step_by(2) {
        room += Packer::room(key(pairs, at)?) + Packer::room(value(pairs, at + 1)?);
    }
    Ok(room)
}

pub(super) fn pack_keys(op: u8, keys: &[Bytes], space: &mut BytesMut) -> Result<Bytes, CommandError> {
    if keys.len() > MAX_KEYS {
        return Err(CommandError::TooManyKeys);
    }
    let mut room = 0;
    for at in 0..keys.len() {
        room += Packer::room(key(keys, at)?);
    }
    Ok(Packer::new(space, op, room).all(keys).finish())
}

fn key(args: &[Bytes], at: usize) -> Result<&[u8], CommandError> {
    let key: &[u8] = args.get(at).ok_or(CommandError::Syntax)?;
    if key.len() > MAX_KEY { Err(CommandError::KeyTooLong) } else { Ok(key) }
}

fn value(args: &[Bytes], at: usize) -> Result<&[u8], CommandError> {
    bounded_value(args.get(at).ok_or(CommandError::Syntax)?)
}

pub(super) fn bounded_value(value: &[u8]) -> Result<&[u8], CommandError> {
    if value.len() > MAX_VALUE { Err(CommandError::ValueTooLong) } else { Ok(value) }
}

fn integer(args: &[Bytes], at: usize) -> Result<i64, CommandError> {
    args.get(at).and_then(|arg| parse_i64(arg)).ok_or(CommandError::NotInteger)
}
