//! Pipelines: short commands that a client has sent in a row, as one.
//!
//! To bring a command through a cluster, a request, an entry of the log and a reply in several rooms of several nodes, costs
//! more than to run it. Together they pay for that once. No more is promised of them than of the same commands one by one;
//! each has its own reply, and the reply to the pipeline is these, one after the other.

use alloc::vec::Vec;

use bytes::{Bytes, BytesMut};

use super::packed::{Fields, Malformed, Packer, Read, SetFlags, Unpacker, Write, first_key, opcode};
use super::set::{Compare, Set};
use super::store::{KvStore, refuse};
use crate::replica::{Context, EXPIRED_BY_ENTRY};

/// So many keys are looked for at once.
const AHEAD: usize = 32;

/// Most commands of a pipeline. What has more is none, on every node and for ever.
pub const MAX_PIPELINE: usize = 512;

/// When the replies to reads have so many bytes together, the reads after them are left for another time: values may be long.
const ENOUGH: usize = 1 << 20;

/// Whether a packed command may be one of a pipeline: what it does besides copying values takes little, and if it is a write
/// its reply is short.
pub fn may_join(packed: &[u8]) -> bool {
    match packed.first() {
        Some(op) if op & opcode::READ != 0 => read(packed).is_ok(),
        _ => write(packed).is_ok(),
    }
}

/// These commands as one: a write if the first of them is, and then all must be writes; a read otherwise. Each
/// [may join](may_join).
///
/// The replies to writes are as many as they are. Those to reads are at least one, and as many as are not too long together;
/// [`unanswered`] are the others.
pub fn pipeline(commands: &[Bytes], space: &mut BytesMut) -> Bytes {
    let is_read = commands.first().and_then(|packed| packed.first()).is_some_and(|op| op & opcode::READ != 0);
    let op = if is_read { opcode::PIPELINE_READS } else { opcode::PIPELINE };
    let room = commands.iter().map(|packed| Packer::room(packed)).sum();
    Packer::new(space, op, room).all(commands).finish()
}

/// A pipeline of reads without the first `answered` of them; `None` if there are no more.
pub fn unanswered(pipeline: &[u8], answered: usize) -> Option<Bytes> {
    let (&op, commands) = pipeline.split_first()?;
    let mut from = Unpacker::new(commands);
    for _ in 0..answered {
        from.field()?;
    }
    let rest = Some(from.rest()).filter(|rest| !rest.is_empty())?;
    Some(Packer::new(&mut BytesMut::new(), op, rest.len()).raw(rest).finish())
}

/// The commands of a pipeline of writes; `None` for any other command.
#[cfg(feature = "sim")]
pub(crate) fn pipelined(packed: &[u8]) -> Option<Vec<Bytes>> {
    let Ok(Write::Pipeline { commands }) = Write::decode(packed) else { return None };
    Some(commands.map(Bytes::copy_from_slice).collect())
}

/// A command of a pipeline of writes.
fn write(packed: &[u8]) -> Result<Write<'_>, Malformed> {
    let joins = |write: &Write<'_>| match write {
        Write::Set(Set { flags, compare, .. }) => !flags.has(SetFlags::GET) && *compare == Compare::Any,
        Write::SetNx { .. } | Write::IncrBy { .. } => true,
        _ => false,
    };
    Write::decode(packed).and_then(|write| if joins(&write) { Ok(write) } else { Err(no_part(packed)) })
}

/// A command of a pipeline of reads.
fn read(packed: &[u8]) -> Result<Read<'_>, Malformed> {
    match Read::decode(packed)? {
        read @ (Read::Get { .. }
        | Read::StrLen { .. }
        | Read::GetRange { .. }
        | Read::Exists { .. }
        | Read::MGet { .. }
        | Read::DbSize
        | Read::Ttl { .. }
        | Read::GetBit { .. }
        | Read::Type { .. }) => Ok(read),
        _ => Err(no_part(packed)),
    }
}

/// What a command of this build is that may not be part of a pipeline; another pipeline in it, for one, would be a stack as
/// deep as the bytes are many.
fn no_part(packed: &[u8]) -> Malformed {
    packed.first().map_or(Malformed::Empty, |&op| Malformed::Opcode(op))
}

impl KvStore {
    pub(super) fn pipeline(&mut self, at: Context, commands: Fields<'_>, out: &mut Vec<u8>) {
        let mut ahead = commands;
        for (n, packed) in commands.enumerate() {
            if n % AHEAD == 0 {
                self.look_ahead(&mut ahead);
            }
            // As before each entry: the dead must not grow in number with what is joined.
            self.bury_some(EXPIRED_BY_ENTRY);
            match write(packed) {
                Ok(write) => self.write(at, write, out),
                Err(malformed) => refuse(malformed, out),
            }
        }
    }

    pub(super) fn pipeline_reads(&self, at: Context, commands: Fields<'_>, out: &mut Vec<u8>) {
        let (mut ahead, start) = (commands, out.len());
        for (n, packed) in commands.enumerate() {
            if out.len().saturating_sub(start) >= ENOUGH {
                return;
            }
            if n % AHEAD == 0 {
                self.look_ahead(&mut ahead);
            }
            match read(packed) {
                Ok(read) => self.read(at, read, out),
                Err(malformed) => refuse(malformed, out),
            }
        }
    }

    fn look_ahead(&self, ahead: &mut Fields<'_>) {
        let keys = ahead.take(AHEAD).filter_map(first_key);
        self.tree.prefetch(keys.map(|key| self.keyed.place(key)));
    }
}
