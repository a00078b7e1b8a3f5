//! What a frame between nodes is, as far as its first bytes tell, so that weather may differ by it.

use super::Care;
use crate::codec::peer::PEER_VERSION;

/// The kind of a frame between nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Kind {
    /// The first word of who dialled.
    Hello,
    /// The first word of who was dialled.
    Welcome,
    /// The last word of who will not talk.
    Refuse,
    /// "My disk is formed."
    Formed,
    /// Clients' requests on their way to the leader.
    Forward,
    /// How they ended.
    ForwardReply,
    /// The digest of a state.
    Digest,
    /// A request for a pre-vote.
    PreVote,
    /// The answer to it.
    PreVoteReply,
    /// A request for a vote.
    Vote,
    /// The answer to it.
    VoteReply,
    /// Entries, or a probe.
    Append,
    /// An acknowledgement of entries.
    AppendAccepted,
    /// A refusal of entries.
    AppendRejected,
    /// A leader's heartbeat.
    Heartbeat,
    /// The answer to it.
    HeartbeatReply,
    /// A piece of a snapshot.
    SnapshotChunk,
    /// How far a snapshot has come.
    SnapshotReply,
    /// A leader's word to its successor.
    TimeoutNow,
    /// A follower's question from where it may read.
    ReadIndex,
    /// The answer to it.
    ReadIndexReply,
    /// None of these: of another version, or damaged.
    Unknown,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 22] = [
        Self::Hello,
        Self::Welcome,
        Self::Refuse,
        Self::Formed,
        Self::Forward,
        Self::ForwardReply,
        Self::Digest,
        Self::PreVote,
        Self::PreVoteReply,
        Self::Vote,
        Self::VoteReply,
        Self::Append,
        Self::AppendAccepted,
        Self::AppendRejected,
        Self::Heartbeat,
        Self::HeartbeatReply,
        Self::SnapshotChunk,
        Self::SnapshotReply,
        Self::TimeoutNow,
        Self::ReadIndex,
        Self::ReadIndexReply,
        Self::Unknown,
    ];

    /// The kind of a frame's payload.
    pub fn of(payload: &[u8]) -> Self {
        // An array of three that begins with the version and the kind; kinds from 24 on take two bytes in CBOR.
        let kind = match payload {
            [0x83, version, kind, ..] if u16::from(*version) == PEER_VERSION && *kind < 0x18 => *kind,
            [0x83, version, 0x18, kind, ..] if u16::from(*version) == PEER_VERSION => *kind,
            _ => return Self::Unknown,
        };
        match kind {
            1..=7 => Self::ALL[usize::from(kind) - 1],
            16..=29 => Self::ALL[usize::from(kind) - 16 + 7],
            _ => Self::Unknown,
        }
    }

    /// What it can bear: messages between cores may be lost, doubled and reordered on the way (raft's doors say so);
    /// everything else that nodes say to each other relies on its connection.
    pub const fn care(self) -> Care {
        if Kinds::CORE.contains(self) { Care::Loose } else { Care::Ordered }
    }
}

/// A set of kinds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kinds(u32);

impl Kinds {
    /// Every kind.
    pub const ALL: Self = Self::of(&Kind::ALL);
    /// What one core says to another and expects an answer to.
    pub const CORE_REQUESTS: Self = Self::of(&[
        Kind::PreVote,
        Kind::Vote,
        Kind::Append,
        Kind::Heartbeat,
        Kind::SnapshotChunk,
        Kind::TimeoutNow,
        Kind::ReadIndex,
    ]);
    /// The answers to it.
    pub const CORE_REPLIES: Self = Self::of(&[
        Kind::PreVoteReply,
        Kind::VoteReply,
        Kind::AppendAccepted,
        Kind::AppendRejected,
        Kind::HeartbeatReply,
        Kind::SnapshotReply,
        Kind::ReadIndexReply,
    ]);
    /// What cores say to each other.
    pub const CORE: Self = Self(Self::CORE_REQUESTS.0 | Self::CORE_REPLIES.0);

    /// These.
    pub const fn of(kinds: &[Kind]) -> Self {
        let (mut set, mut at) = (0, 0);
        while at < kinds.len() {
            set |= 1 << kinds[at] as u32;
            at += 1;
        }
        Self(set)
    }

    /// These and one more.
    pub const fn with(self, kind: Kind) -> Self {
        Self(self.0 | 1 << kind as u32)
    }

    /// Whether this kind is one of them.
    pub const fn contains(self, kind: Kind) -> bool {
        self.0 & (1 << kind as u32) != 0
    }
}

#[cfg(test)]
mod tests {
    use std::boxed::Box;

    use super::*;
    use crate::codec::frame::FRAME_HEADER;
    use crate::codec::peer::{Facts, PeerMessage, Severity};
    use crate::raft::{
        Configuration, DiskId, Entries, LogId, Message, NodeId, QueryId, SnapshotId, SnapshotMeta,
        SnapshotProgress, Stamp,
    };
    use bytes::Bytes;
    use std::vec::Vec;

    fn core_messages() -> Vec<Message> {
        let (term, last) = (300, LogId::new(2, 70_000));
        let id = SnapshotId { last, checksum: 9 };
        let configuration = Configuration::default();
        let meta = SnapshotMeta { id, len: 3, stamp: Stamp::default(), configuration };
        std::vec![
            Message::PreVote { term, last },
            Message::PreVoteReply { term, granted: true },
            Message::Vote { term, last, transfer: false },
            Message::VoteReply { term, granted: true, wall: 1 },
            Message::Append { term, previous: last, entries: Entries::empty(), commit: 1 },
            Message::AppendAccepted { term, matched: 1 },
            Message::AppendRejected { term, probed: 1, hint: last },
            Message::Heartbeat { term, round: 1, commit: 1 },
            Message::HeartbeatReply { term, round: 1, wall: 1 },
            Message::SnapshotChunk {
                term,
                snapshot: Box::new(meta),
                offset: 0,
                data: Bytes::from_static(b"abc")
            },
            Message::SnapshotReply { term, snapshot: id, progress: SnapshotProgress::Corrupt },
            Message::TimeoutNow { term },
            Message::ReadIndex { term, query: QueryId { life: 1, number: 1 } },
            Message::ReadIndexReply { term, query: QueryId { life: 1, number: 1 }, index: 1 },
        ]
    }

    #[test]
    fn every_message_has_its_kind_and_only_those_of_cores_are_loose() {
        let facts = Facts {
            node: NodeId(1),
            disk: DiskId(1),
            cluster: Some(1),
            boots: 1,
            last: 1,
            founders: 1,
            complete: true,
        };
        let mut messages = std::vec![
            PeerMessage::Hello(facts.clone()),
            PeerMessage::Welcome(facts),
            PeerMessage::Refuse { text: "no".into(), severity: Severity::Retry },
            PeerMessage::Formed { cluster: 1 },
            PeerMessage::Forward { term: 1, requests: std::vec![] },
            PeerMessage::ForwardReply(std::vec![]),
            PeerMessage::Digest { index: 1, digest: 1 },
        ];
        messages.extend(core_messages().into_iter().map(PeerMessage::Raft));
        let kinds = Kind::ALL.into_iter().filter(|&kind| kind != Kind::Unknown);
        for (message, kind) in messages.into_iter().zip(kinds.clone()) {
            let wire = message.seal(|_| Bytes::new()).0.concat();
            assert_eq!(Kind::of(&wire[FRAME_HEADER..]), kind, "{message:?}");
            let care = if matches!(message, PeerMessage::Raft(_)) { Care::Loose } else { Care::Ordered };
            assert_eq!(kind.care(), care, "{kind:?}");
        }
        assert_eq!(kinds.count(), 21);
    }

    #[test]
    fn what_is_no_frame_of_this_version_is_unknown_and_ordered() {
        for payload in
            [&b""[..], b"\x83", b"\x83\x02\x10", b"\x83\x01\x08", b"\x83\x01\x18\x1e", b"\x82\x01\x10"]
        {
            assert_eq!(Kind::of(payload), Kind::Unknown, "{payload:?}");
        }
        assert_eq!(Kind::Unknown.care(), Care::Ordered);
    }
}
