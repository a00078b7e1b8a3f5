//! What nodes say to each other: one message a frame.
//!
//! ```text
//! payload = [version, kind, [field, …]]   CBOR, a header of a few dozen bytes
//!           packed bytes …                entries, a piece of a snapshot, forwarded requests: taken out without a copy
//! ```
//!
//! The version comes first, so that a frame of another version is refused by name and not as nonsense. The header says how
//! many packed bytes follow, and a frame with one byte more or less is refused: nothing can hide behind what was read.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use bytes::{Bytes, BytesMut};
use serde::de::{DeserializeOwned, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::forward::{Answered, Forwarded};
use super::frame::{FRAME_HEADER, Frame, FrameError};
use super::numbers;
use crate::raft::{
    DiskId, Entries, LogId, LogIndex, Message, NodeId, QueryId, SnapshotId, SnapshotMeta, SnapshotProgress,
};

/// The version of all frames between peers that this build writes and understands.
pub const PEER_VERSION: u16 = 1;

/// Most bytes of a payload beside its packed part: a header with the largest configuration that a log entry may hold.
pub const MAX_HEADER: usize = 256 << 10;

/// Most bytes of a refusal's text.
pub const MAX_TEXT: usize = 1024;

/// How deep a header may nest: a snapshot's metadata with its members needs 7.
const MAX_DEPTH: usize = 16;

/// Who is speaking: the first thing that both ends of a connection say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// The speaker.
    pub node: NodeId,
    /// Its disk.
    pub disk: DiskId,
    /// The cluster that its disk belongs to; `None` before formation.
    pub cluster: Option<u128>,
    /// How often the process has started on this disk.
    pub boots: u64,
    /// The last log index on its disk.
    pub last: LogIndex,
    /// A hash of the founders' ids and addresses that it was started with.
    pub founders: u128,
    /// Whether it knows that every founder's disk is formed.
    pub complete: bool,
}

/// What a refusal means for who is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Severity {
    /// It may be different later: try again.
    Retry,
    /// The same: by a configuration that is committed at this index the listener is no member. Whoever knows that it was one
    /// before has been removed.
    Stranger(LogIndex),
    /// A member of a formed cluster finds the listener's identity at fault. The speaker may know an old configuration, so
    /// that only a majority's word counts.
    Identity,
    /// By a configuration that is committed at this index the listener's id is another disk's. It is proof for a member that
    /// knows of its own place only from before that.
    Replaced(LogIndex),
    /// The speaker remembers what the listener's disk has forgotten: proof.
    Proof,
}

impl Severity {
    const fn wire(self) -> (u8, LogIndex) {
        match self {
            Self::Retry => (0, 0),
            Self::Identity => (1, 0),
            Self::Proof => (2, 0),
            Self::Replaced(index) => (3, index),
            Self::Stranger(index) => (4, index),
        }
    }

    const fn from_wire(severity: u8, index: LogIndex) -> Option<Self> {
        Some(match severity {
            0 => Self::Retry,
            1 => Self::Identity,
            2 => Self::Proof,
            3 => Self::Replaced(index),
            4 => Self::Stranger(index),
            _ => return None,
        })
    }
}

/// One message between two nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum PeerMessage {
    /// The first frame of who dialled.
    Hello(Facts),
    /// The first frame of who was dialled.
    Welcome(Facts),
    /// Instead of a `Welcome`, or as the answer to one; the connection is closed behind it.
    Refuse {
        /// Why, and what a person can do. At most [`MAX_TEXT`] bytes.
        text: String,
        /// What follows from it for the listener.
        severity: Severity,
    },
    /// The speaker's disk is formed.
    Formed {
        /// Into which cluster.
        cluster: u128,
    },
    /// A message between cores.
    Raft(Message),
    /// Requests of the speaker's clients, in order, for the leader.
    Forward {
        /// The term in which the speaker takes the listener to lead: requests of an older one are refused, so that none
        /// overtakes what was sent elsewhere in the meantime.
        term: u64,
        /// The requests.
        requests: Vec<Forwarded>,
    },
    /// How forwarded requests ended.
    ForwardReply(Vec<Answered>),
    /// The speaker's state machine at an applied index.
    Digest {
        /// The index.
        index: LogIndex,
        /// The digest.
        digest: u128,
    },
}

mod kind {
    pub(super) const HELLO: u8 = 1;
    pub(super) const WELCOME: u8 = 2;
    pub(super) const REFUSE: u8 = 3;
    pub(super) const FORMED: u8 = 4;
    pub(super) const FORWARD: u8 = 5;
    pub(super) const FORWARD_REPLY: u8 = 6;
    pub(super) const DIGEST: u8 = 7;
    pub(super) const PRE_VOTE: u8 = 16;
    pub(super) const PRE_VOTE_REPLY: u8 = 17;
    pub(super) const VOTE: u8 = 18;
    pub(super) const VOTE_REPLY: u8 = 19;
    pub(super) const APPEND: u8 = 20;
    pub(super) const APPEND_ACCEPTED: u8 = 21;
    pub(super) const APPEND_REJECTED: u8 = 22;
    pub(super) const HEARTBEAT: u8 = 23;
    pub(super) const HEARTBEAT_REPLY: u8 = 24;
    pub(super) const SNAPSHOT_CHUNK: u8 = 25;
    pub(super) const SNAPSHOT_REPLY: u8 = 26;
    pub(super) const TIMEOUT_NOW: u8 = 27;
    pub(super) const READ_INDEX: u8 = 28;
    pub(super) const READ_INDEX_REPLY: u8 = 29;
}

impl PeerMessage {
    /// The frame of this message. Entries are packed by `pack`, which may have them packed already: the bytes go to every
    /// peer and to the disk.
    pub fn seal(&self, pack: impl FnOnce(&Entries) -> Bytes) -> Frame {
        match self {
            Self::Hello(facts) => header(kind::HELLO, &facts.wire()),
            Self::Welcome(facts) => header(kind::WELCOME, &facts.wire()),
            Self::Refuse { text, severity } => {
                let (severity, index) = severity.wire();
                header(kind::REFUSE, &(text, severity, index))
            }
            Self::Formed { cluster } => header(kind::FORMED, &(Halves::from(*cluster),)),
            Self::Digest { index, digest } => header(kind::DIGEST, &(index, Halves::from(*digest))),
            Self::Raft(message) => seal_raft(message, pack),
            Self::Forward { term, requests } => {
                let mut packed = BytesMut::with_capacity(requests.iter().map(Forwarded::packed_len).sum());
                requests.iter().for_each(|request| request.pack(&mut packed));
                with_packed(kind::FORWARD, &(term, packed.len()), packed.freeze())
            }
            Self::ForwardReply(answers) => {
                let mut packed = BytesMut::with_capacity(answers.iter().map(Answered::packed_len).sum());
                answers.iter().for_each(|answer| answer.pack(&mut packed));
                with_packed(kind::FORWARD_REPLY, &(packed.len(),), packed.freeze())
            }
        }
    }

    /// Reads a frame's payload, all of it. The second part of the result is its packed bytes.
    pub fn open(payload: &Bytes) -> Result<(Self, Bytes), FrameError> {
        let mut rest: &[u8] = payload;
        let wire = match Wire::of_numbers(&mut rest) {
            Some(wire) => wire,
            None => {
                let Envelope(wire) = ciborium::de::from_reader_with_recursion_limit(&mut rest, MAX_DEPTH)
                    .map_err(|_| FrameError::Malformed("the header is not what this version writes"))?;
                wire?
            }
        };
        let read = payload.len().saturating_sub(rest.len());
        if read > MAX_HEADER {
            return Err(FrameError::Malformed("the header passes its limit"));
        }
        let packed = payload.slice(read..);
        if packed.len() as u64 != wire.packed_len() {
            return Err(FrameError::Malformed("the packed bytes are not as many as the header says"));
        }
        Ok((wire.message(&packed)?, packed))
    }
}

fn seal_raft(message: &Message, pack: impl FnOnce(&Entries) -> Bytes) -> Frame {
    match message {
        Message::PreVote { term, last } => header(kind::PRE_VOTE, &(term, last.term, last.index)),
        Message::PreVoteReply { term, granted } => header(kind::PRE_VOTE_REPLY, &(term, granted)),
        Message::Vote { term, last, transfer } => {
            header(kind::VOTE, &(term, last.term, last.index, transfer))
        }
        Message::VoteReply { term, granted, wall } => header(kind::VOTE_REPLY, &(term, granted, wall)),
        Message::Append { term, previous, entries, commit } => {
            let packed = if entries.is_empty() { Bytes::new() } else { pack(entries) };
            let fields = [*term, previous.term, previous.index, *commit, packed.len() as u64];
            Frame::seal_in_place(put_numbers(FRAME_HEADER, kind::APPEND, fields), packed)
        }
        Message::AppendAccepted { term, matched } => numbers(kind::APPEND_ACCEPTED, [*term, *matched]),
        Message::AppendRejected { term, probed, hint } => {
            numbers(kind::APPEND_REJECTED, [*term, *probed, hint.term, hint.index])
        }
        Message::Heartbeat { term, round, commit } => numbers(kind::HEARTBEAT, [*term, *round, *commit]),
        Message::HeartbeatReply { term, round, wall } => {
            numbers(kind::HEARTBEAT_REPLY, [*term, *round, *wall])
        }
        Message::TimeoutNow { term } => numbers(kind::TIMEOUT_NOW, [*term]),
        Message::ReadIndex { term, query } => numbers(kind::READ_INDEX, [*term, query.life, query.number]),
        Message::ReadIndexReply { term, query, index } => {
            numbers(kind::READ_INDEX_REPLY, [*term, query.life, query.number, *index])
        }
        Message::SnapshotChunk { term, snapshot, offset, data } => {
            with_packed(kind::SNAPSHOT_CHUNK, &(term, snapshot, offset, data.len()), data.clone())
        }
        Message::SnapshotReply { term, snapshot, progress } => {
            let (state, value) = match progress {
                SnapshotProgress::Written(offset) => (0u8, *offset),
                SnapshotProgress::Installed(index) => (1, *index),
                SnapshotProgress::Corrupt => (2, 0),
            };
            let id = (snapshot.last.term, snapshot.last.index, snapshot.checksum);
            header(kind::SNAPSHOT_REPLY, &(term, id, state, value))
        }
    }
}

fn encode(kind: u8, fields: &impl Serialize) -> Bytes {
    let mut out = Vec::with_capacity(64);
    // Writing numbers, strings and lists into memory cannot fail; a frame cut short by a defect here would be refused by
    // its reader, which is the right end for it.
    let _ = ciborium::into_writer(&(PEER_VERSION, kind, fields), &mut out);
    Bytes::from(out)
}

fn header(kind: u8, fields: &impl Serialize) -> Frame {
    Frame::seal([encode(kind, fields)])
}

fn with_packed(kind: u8, fields: &impl Serialize, packed: Bytes) -> Frame {
    behind(encode(kind, fields), packed)
}

fn numbers<const N: usize>(kind: u8, fields: [u64; N]) -> Frame {
    Frame::seal_in_place(put_numbers(FRAME_HEADER, kind, fields), Bytes::new())
}

/// What [`encode`] gives for fields that are all numbers, behind `space` zeros, in exactly as much memory as it takes.
fn put_numbers<const N: usize>(space: usize, kind: u8, fields: [u64; N]) -> Vec<u8> {
    let head = [3, PEER_VERSION.into(), kind.into(), N as u64];
    let len: usize = head.iter().chain(&fields).map(|&number| numbers::len(number)).sum();
    let mut out = Vec::with_capacity(space + len);
    out.resize(space, 0);
    numbers::put_list(&mut out, 3);
    numbers::put(&mut out, PEER_VERSION.into());
    numbers::put(&mut out, kind.into());
    numbers::put_list(&mut out, N);
    fields.into_iter().for_each(|field| numbers::put(&mut out, field));
    out
}

fn behind(head: Bytes, packed: Bytes) -> Frame {
    if packed.is_empty() { Frame::seal([head]) } else { Frame::seal([head, packed]) }
}

/// 128 bits as two numbers: shorter than CBOR's big numbers, and of one form only.
#[derive(Serialize, Deserialize, Clone, Copy)]
#[cfg_attr(test, derive(Debug, PartialEq))]
struct Halves(u64, u64);

impl From<u128> for Halves {
    fn from(whole: u128) -> Self {
        Self((whole >> 64) as u64, whole as u64)
    }
}

impl Halves {
    fn whole(self) -> u128 {
        (u128::from(self.0) << 64) | u128::from(self.1)
    }
}

type FactsFields = (u64, Halves, Option<Halves>, u64, u64, Halves, bool);

impl Facts {
    fn wire(&self) -> FactsFields {
        let Self { node, disk, cluster, boots, last, founders, complete } = self;
        let cluster = cluster.map(Halves::from);
        (node.0, disk.0.into(), cluster, *boots, *last, (*founders).into(), *complete)
    }

    fn from_wire(
        (node, disk, cluster, boots, last, founders, complete): FactsFields,
    ) -> Result<Self, FrameError> {
        if node == 0 {
            return Err(FrameError::Malformed("node 0 is nobody"));
        }
        let (node, disk) = (NodeId(node), DiskId(disk.whole()));
        let (cluster, founders) = (cluster.map(Halves::whole), founders.whole());
        Ok(Self { node, disk, cluster, boots, last, founders, complete })
    }
}

/// The fields of each kind, in the order in which they travel.
#[cfg_attr(test, derive(Debug, PartialEq))]
enum Wire {
    Hello(FactsFields),
    Welcome(FactsFields),
    Refuse((String, u8, LogIndex)),
    Formed((Halves,)),
    Forward((u64, u64)),
    ForwardReply((u64,)),
    Digest((u64, Halves)),
    PreVote((u64, u64, u64)),
    PreVoteReply((u64, bool)),
    Vote((u64, u64, u64, bool)),
    VoteReply((u64, bool, u64)),
    Append((u64, u64, u64, u64, u64)),
    AppendAccepted((u64, u64)),
    AppendRejected((u64, u64, u64, u64)),
    Heartbeat((u64, u64, u64)),
    HeartbeatReply((u64, u64, u64)),
    TimeoutNow((u64,)),
    ReadIndex((u64, u64, u64)),
    ReadIndexReply((u64, u64, u64, u64)),
    SnapshotChunk((u64, SnapshotMeta, u64, u64)),
    SnapshotReply((u64, (u64, u64, u64), u8, u64)),
}

impl Wire {
    /// Takes one of the messages that are sent all the time off the front, all of whose fields are numbers. `None`, with nothing
    /// taken, for any other, and for what ciborium has to judge.
    fn of_numbers(from: &mut &[u8]) -> Option<Self> {
        let mut rest = *from;
        if numbers::take_list(&mut rest)? != 3 || numbers::take(&mut rest)? != PEER_VERSION.into() {
            return None;
        }
        let wire = match u8::try_from(numbers::take(&mut rest)?).ok()? {
            kind::APPEND => Self::Append(numbers::take_all(&mut rest)?.into()),
            kind::APPEND_ACCEPTED => Self::AppendAccepted(numbers::take_all(&mut rest)?.into()),
            kind::APPEND_REJECTED => Self::AppendRejected(numbers::take_all(&mut rest)?.into()),
            kind::HEARTBEAT => Self::Heartbeat(numbers::take_all(&mut rest)?.into()),
            kind::HEARTBEAT_REPLY => Self::HeartbeatReply(numbers::take_all(&mut rest)?.into()),
            kind::TIMEOUT_NOW => Self::TimeoutNow(numbers::take_all(&mut rest)?.into()),
            kind::READ_INDEX => Self::ReadIndex(numbers::take_all(&mut rest)?.into()),
            kind::READ_INDEX_REPLY => Self::ReadIndexReply(numbers::take_all(&mut rest)?.into()),
            _ => return None,
        };
        *from = rest;
        Some(wire)
    }

    fn packed_len(&self) -> u64 {
        match self {
            Self::Forward((_, len))
            | Self::ForwardReply((len,))
            | Self::Append((_, _, _, _, len))
            | Self::SnapshotChunk((_, _, _, len)) => *len,
            _ => 0,
        }
    }

    fn message(self, packed: &Bytes) -> Result<PeerMessage, FrameError> {
        Ok(PeerMessage::Raft(match self {
            Self::Hello(fields) => return Ok(PeerMessage::Hello(Facts::from_wire(fields)?)),
            Self::Welcome(fields) => return Ok(PeerMessage::Welcome(Facts::from_wire(fields)?)),
            Self::Refuse((text, ..)) if text.len() > MAX_TEXT => {
                return Err(FrameError::Malformed("a refusal's text passes its limit"));
            }
            Self::Refuse((text, severity, index)) => {
                let severity = Severity::from_wire(severity, index);
                let severity = severity.ok_or(FrameError::Malformed("a refusal is of an unknown kind"))?;
                return Ok(PeerMessage::Refuse { text, severity });
            }
            Self::Formed((cluster,)) => return Ok(PeerMessage::Formed { cluster: cluster.whole() }),
            Self::Digest((index, digest)) => {
                return Ok(PeerMessage::Digest { index, digest: digest.whole() });
            }
            Self::Forward((term, _)) => {
                return Ok(PeerMessage::Forward { term, requests: Forwarded::unpack(packed)? });
            }
            Self::ForwardReply(_) => return Ok(PeerMessage::ForwardReply(Answered::unpack(packed)?)),
            Self::PreVote((term, t, i)) => Message::PreVote { term, last: LogId::new(t, i) },
            Self::PreVoteReply((term, granted)) => Message::PreVoteReply { term, granted },
            Self::Vote((term, t, i, transfer)) => Message::Vote { term, last: LogId::new(t, i), transfer },
            Self::VoteReply((term, granted, wall)) => Message::VoteReply { term, granted, wall },
            Self::Append((term, t, i, commit, _)) => {
                let first =
                    i.checked_add(1).ok_or(FrameError::Malformed("an index passes the number range"))?;
                let entries = Entries::unpack(first, packed).map_err(|_| {
                    FrameError::Malformed("the packed entries are damaged or of an unknown kind")
                })?;
                Message::Append { term, previous: LogId::new(t, i), entries, commit }
            }
            Self::AppendAccepted((term, matched)) => Message::AppendAccepted { term, matched },
            Self::AppendRejected((term, probed, t, i)) => {
                Message::AppendRejected { term, probed, hint: LogId::new(t, i) }
            }
            Self::Heartbeat((term, round, commit)) => Message::Heartbeat { term, round, commit },
            Self::HeartbeatReply((term, round, wall)) => Message::HeartbeatReply { term, round, wall },
            Self::TimeoutNow((term,)) => Message::TimeoutNow { term },
            Self::ReadIndex((term, life, number)) => {
                Message::ReadIndex { term, query: QueryId { life, number } }
            }
            Self::ReadIndexReply((term, life, number, index)) => {
                Message::ReadIndexReply { term, query: QueryId { life, number }, index }
            }
            Self::SnapshotChunk((term, snapshot, offset, _)) => {
                Message::SnapshotChunk { term, snapshot: Box::new(snapshot), offset, data: packed.clone() }
            }
            Self::SnapshotReply((term, (t, i, checksum), state, value)) => {
                let progress = match state {
                    0 => SnapshotProgress::Written(value),
                    1 => SnapshotProgress::Installed(value),
                    2 => SnapshotProgress::Corrupt,
                    _ => return Err(FrameError::Malformed("a snapshot's progress is of an unknown kind")),
                };
                let snapshot = SnapshotId { last: LogId::new(t, i), checksum };
                Message::SnapshotReply { term, snapshot, progress }
            }
        }))
    }
}

/// Version, kind, fields. An unknown version or kind ends the reading there and then: what follows may be of any shape.
struct Envelope(Result<Wire, FrameError>);

impl<'de> Deserialize<'de> for Envelope {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_tuple(3, EnvelopeVisitor)
    }
}

struct EnvelopeVisitor;

impl<'de> Visitor<'de> for EnvelopeVisitor {
    type Value = Envelope;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("version, kind and fields")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Envelope, A::Error> {
        let version: u16 = next(&mut seq)?;
        if version != PEER_VERSION {
            return Ok(Envelope(Err(FrameError::Version(version))));
        }
        let kind: u8 = next(&mut seq)?;
        let wire = match kind {
            kind::HELLO => Wire::Hello(next(&mut seq)?),
            kind::WELCOME => Wire::Welcome(next(&mut seq)?),
            kind::REFUSE => Wire::Refuse(next(&mut seq)?),
            kind::FORMED => Wire::Formed(next(&mut seq)?),
            kind::FORWARD => Wire::Forward(next(&mut seq)?),
            kind::FORWARD_REPLY => Wire::ForwardReply(next(&mut seq)?),
            kind::DIGEST => Wire::Digest(next(&mut seq)?),
            kind::PRE_VOTE => Wire::PreVote(next(&mut seq)?),
            kind::PRE_VOTE_REPLY => Wire::PreVoteReply(next(&mut seq)?),
            kind::VOTE => Wire::Vote(next(&mut seq)?),
            kind::VOTE_REPLY => Wire::VoteReply(next(&mut seq)?),
            kind::APPEND => Wire::Append(next(&mut seq)?),
            kind::APPEND_ACCEPTED => Wire::AppendAccepted(next(&mut seq)?),
            kind::APPEND_REJECTED => Wire::AppendRejected(next(&mut seq)?),
            kind::HEARTBEAT => Wire::Heartbeat(next(&mut seq)?),
            kind::HEARTBEAT_REPLY => Wire::HeartbeatReply(next(&mut seq)?),
            kind::TIMEOUT_NOW => Wire::TimeoutNow(next(&mut seq)?),
            kind::READ_INDEX => Wire::ReadIndex(next(&mut seq)?),
            kind::READ_INDEX_REPLY => Wire::ReadIndexReply(next(&mut seq)?),
            kind::SNAPSHOT_CHUNK => Wire::SnapshotChunk(next(&mut seq)?),
            kind::SNAPSHOT_REPLY => Wire::SnapshotReply(next(&mut seq)?),
            _ => return Ok(Envelope(Err(FrameError::Malformed("a message is of an unknown kind")))),
        };
        Ok(Envelope(Ok(wire)))
    }
}

fn next<'de, A: SeqAccess<'de>, T: DeserializeOwned>(seq: &mut A) -> Result<T, A::Error> {
    seq.next_element()?.ok_or_else(|| serde::de::Error::custom("a field is missing"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raft::{Configuration, Entry, EntryKind, Member, Stamp};
    use crate::replica::{Outcome, Request};
    use crate::rng::Rng;

    fn pack(entries: &Entries) -> Bytes {
        let mut out = BytesMut::new();
        entries.pack(&mut out);
        out.freeze()
    }

    fn payload(message: &PeerMessage) -> Bytes {
        let wire: Vec<u8> = message.seal(pack).0.iter().flatten().copied().collect();
        Bytes::from(wire).slice(8..)
    }

    fn entry(term: u64, index: u64, data: &'static [u8]) -> Entry {
        let stamp = Stamp { unix_ms: 5, cluster_ms: 6 };
        Entry { id: LogId::new(term, index), kind: EntryKind::Command, stamp, data: Bytes::from_static(data) }
    }

    fn meta() -> SnapshotMeta {
        let member = |n: u128| Member {
            disk: DiskId(u128::MAX - n),
            peer_address: "127.0.0.1:7201".into(),
            client_address: "127.0.0.1:7101".into(),
        };
        let members = [(NodeId(1), member(1)), (NodeId(2), member(2))].into_iter().collect();
        SnapshotMeta {
            id: SnapshotId { last: LogId::new(3, 900), checksum: u64::MAX },
            len: 77,
            stamp: Stamp { unix_ms: 1, cluster_ms: 2 },
            configuration: Configuration::of_voters(members),
        }
    }

    fn facts(cluster: Option<u128>) -> Facts {
        Facts {
            node: NodeId(3),
            disk: DiskId(u128::MAX / 3),
            cluster,
            boots: 4,
            last: 99,
            founders: 1 << 100,
            complete: true,
        }
    }

    fn all() -> Vec<PeerMessage> {
        let last = LogId::new(2, 10);
        let snapshot = meta();
        let id = snapshot.id;
        let entries: Entries = [entry(1, 11, b"abc"), entry(2, 12, b"")].into_iter().collect();
        let raft = [
            Message::PreVote { term: 3, last },
            Message::PreVoteReply { term: 3, granted: true },
            Message::Vote { term: u64::MAX, last, transfer: false },
            Message::Vote { term: 3, last, transfer: true },
            Message::TimeoutNow { term: 3 },
            Message::ReadIndex { term: 3, query: QueryId { life: 4, number: 5 } },
            Message::ReadIndexReply { term: 3, query: QueryId { life: 4, number: 5 }, index: 9 },
            Message::VoteReply { term: 3, granted: false, wall: 1_700_000_000_000 },
            Message::Append { term: 3, previous: last, entries, commit: 9 },
            Message::Append { term: 3, previous: last, entries: Entries::empty(), commit: 9 },
            Message::AppendAccepted { term: 3, matched: 10 },
            Message::AppendRejected { term: 3, probed: 10, hint: last },
            Message::Heartbeat { term: 3, round: 8, commit: 9 },
            Message::HeartbeatReply { term: 3, round: 8, wall: 1_700_000_000_000 },
            Message::SnapshotChunk {
                term: 3,
                snapshot: Box::new(snapshot),
                offset: 5,
                data: Bytes::from_static(b"chunk"),
            },
            Message::SnapshotReply { term: 3, snapshot: id, progress: SnapshotProgress::Written(5) },
            Message::SnapshotReply { term: 3, snapshot: id, progress: SnapshotProgress::Installed(900) },
            Message::SnapshotReply { term: 3, snapshot: id, progress: SnapshotProgress::Corrupt },
        ];
        let request = Request::Write(Bytes::from_static(b"put"));
        let requests = alloc::vec![Forwarded { id: 1, connection: 2, epoch: 0, budget: 4, request }];
        let outcome = Outcome::Reply(Bytes::from_static(b"+OK\r\n"));
        let mut all = alloc::vec![
            PeerMessage::Hello(facts(None)),
            PeerMessage::Welcome(facts(Some(5))),
            PeerMessage::Refuse { text: "no".into(), severity: Severity::Proof },
            PeerMessage::Refuse { text: "no".into(), severity: Severity::Replaced(7) },
            PeerMessage::Refuse { text: "no".into(), severity: Severity::Stranger(7) },
            PeerMessage::Formed { cluster: u128::MAX - 1 },
            PeerMessage::Forward { term: 7, requests },
            PeerMessage::ForwardReply(alloc::vec![Answered { id: 1, outcome }]),
            PeerMessage::Digest { index: 4096, digest: 1 << 127 },
        ];
        all.extend(raft.map(PeerMessage::Raft));
        all
    }

    #[test]
    fn every_message_comes_back() {
        for message in all() {
            let opened = PeerMessage::open(&payload(&message)).map(|(message, _)| message);
            assert_eq!(opened, Ok(message));
        }
    }

    /// The header as ciborium alone reads it.
    fn slowly(payload: &Bytes) -> Option<Wire> {
        let mut rest: &[u8] = payload;
        let read: Result<Envelope, _> = ciborium::de::from_reader_with_recursion_limit(&mut rest, MAX_DEPTH);
        read.ok()?.0.ok()
    }

    #[test]
    fn headers_of_numbers_are_written_and_read_as_ciborium_does() {
        let mut rng = Rng::new(7);
        let images: Vec<Bytes> = all().iter().map(payload).collect();
        let mut quick = 0;
        for round in 0..6_000 {
            let mut image = images[round % images.len()].to_vec();
            for _ in 0..rng.below(3) {
                let at = rng.below(image.len().min(16) as u64) as usize;
                image[at] = rng.next_u64() as u8;
            }
            let image = Bytes::from(image);
            let mut rest = &image[..];
            let Some(wire) = Wire::of_numbers(&mut rest) else { continue };
            quick += 1;
            assert_eq!(Some(&wire), slowly(&image).as_ref(), "{image:x?}");
        }
        assert!(quick > 500, "{quick}");
        let fields = [300, 0, u64::MAX, 1 << 40];
        assert_eq!(put_numbers(0, kind::APPEND_REJECTED, fields), encode(kind::APPEND_REJECTED, &fields));
    }

    #[test]
    fn entries_are_slices_of_the_frame() {
        let entries_of = |message: PeerMessage| match message {
            PeerMessage::Raft(Message::Append { entries, .. }) => Some(entries).filter(|e| !e.is_empty()),
            _ => None,
        };
        let message = all().into_iter().find(|message| entries_of(message.clone()).is_some());
        let frame = payload(&message.expect("there is an append"));
        let (opened, packed) = PeerMessage::open(&frame).expect("it is whole");
        let entries = entries_of(opened).expect("an append");
        let range = frame.as_ptr_range();
        assert!(range.contains(&entries[0].data.as_ptr()) && range.contains(&packed.as_ptr()));
    }

    #[test]
    fn one_byte_more_or_less_is_refused() {
        for message in all() {
            let whole = payload(&message);
            for cut in 0..whole.len() {
                assert!(PeerMessage::open(&whole.slice(..cut)).is_err(), "{message:?} cut at {cut}");
            }
            let longer: Vec<u8> = whole.iter().copied().chain([0]).collect();
            assert!(PeerMessage::open(&Bytes::from(longer)).is_err(), "{message:?} and a byte");
        }
    }

    #[test]
    fn row_22_an_unknown_version_is_refused_by_name() {
        let mut out = Vec::new();
        ciborium::into_writer(&(9u16, "whatever comes", 3), &mut out).expect("it fits");
        assert_eq!(PeerMessage::open(&Bytes::from(out)), Err(FrameError::Version(9)));
    }

    #[test]
    fn deep_nesting_and_wild_lengths_are_refused() {
        for image in [[0x9b; 4096], [0x81; 4096], [0x7b; 4096], [0xc2; 4096], [0xff; 4096]] {
            assert!(PeerMessage::open(&Bytes::copy_from_slice(&image)).is_err());
        }
        let text: String = core::iter::repeat_n('x', MAX_TEXT + 1).collect();
        let long = payload(&PeerMessage::Refuse { text, severity: Severity::Retry });
        assert!(PeerMessage::open(&long).is_err());
    }

    #[test]
    fn arbitrary_bytes_give_an_error_or_a_message_but_never_a_panic() {
        let mut rng = Rng::new(3);
        let images: Vec<Bytes> = all().iter().map(payload).collect();
        for round in 0..6_000 {
            let mut image = images[round % images.len()].to_vec();
            for _ in 0..=rng.below(3) {
                let at = rng.below(image.len() as u64) as usize;
                image[at] = rng.next_u64() as u8;
            }
            if let Ok((message, _)) = PeerMessage::open(&Bytes::from(image)) {
                // What is taken for a message can be said again.
                let _ = payload(&message);
            }
        }
    }
}
