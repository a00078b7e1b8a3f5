//! What a frame between nodes says, without its bulk: entries are marks, a snapshot's bytes are a length.

use std::string::String;
use std::vec::Vec;

use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_64;

use crate::codec::peer::{Facts, PeerMessage};
use crate::raft::{Entry, EntryKind, LogId, Message, NodeId, QueryId, SnapshotProgress, Term};
use crate::sim::network::Kind;

/// One entry of a log, told apart from others by its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EntryMark {
    /// Its term.
    pub term: Term,
    /// Its kind.
    pub kind: EntryKind,
    /// The low half of its data's hash.
    pub hash: u32,
}

impl EntryMark {
    /// The mark of an entry.
    pub fn of(entry: &Entry) -> Self {
        Self { term: entry.id.term, kind: entry.kind, hash: xxh3_64(&entry.data) as u32 }
    }
}

/// What a frame says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// Which message it is.
    pub kind: Kind,
    /// Its fields by name, in the order in which a person wants to read them.
    pub fields: Vec<(&'static str, Value)>,
}

/// A field of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// A term, an index, a count.
    Number(u64),
    /// Yes or no.
    Flag(bool),
    /// A position in a log.
    Position(LogId),
    /// Words.
    Text(String),
    /// Entries.
    Entries(Vec<EntryMark>),
}

/// The names of a sending and a receiving of each kind.
macro_rules! names {
    ($($kind:ident)*) => {
        /// What the sending and the receiving of a message of this kind are called.
        pub(super) const fn names(kind: Kind) -> (&'static str, &'static str) {
            match kind {
                $(Kind::$kind => (concat!("Send", stringify!($kind)), concat!("Receive", stringify!($kind))),)*
            }
        }
    };
}

names! {
    Hello Welcome Refuse Formed Forward ForwardReply Digest
    PreVote PreVoteReply Vote VoteReply Append AppendAccepted AppendRejected Heartbeat HeartbeatReply
    SnapshotChunk SnapshotReply TimeoutNow ReadIndex ReadIndexReply Unknown
}

impl Said {
    /// What the payload of a frame says.
    pub fn read(payload: &Bytes) -> Self {
        match PeerMessage::open(payload) {
            Ok((message, _)) => Self::of(&message),
            Err(error) => Self {
                kind: Kind::Unknown,
                fields: std::vec![("error", Value::Text(std::format!("{error}")))],
            },
        }
    }

    /// What a message says.
    pub fn of(message: &PeerMessage) -> Self {
        let (kind, fields) = match message {
            PeerMessage::Raft(message) => of_core(message),
            PeerMessage::Hello(facts) => (Kind::Hello, of_facts(facts)),
            PeerMessage::Welcome(facts) => (Kind::Welcome, of_facts(facts)),
            PeerMessage::Refuse { text, .. } => {
                (Kind::Refuse, std::vec![("reason", Value::Text(text.clone()))])
            }
            PeerMessage::Formed { .. } => (Kind::Formed, Vec::new()),
            PeerMessage::Forward { term, requests } => {
                (Kind::Forward, std::vec![number("term", *term), number("requests", requests.len() as u64)])
            }
            PeerMessage::ForwardReply(answers) => {
                (Kind::ForwardReply, std::vec![number("answers", answers.len() as u64)])
            }
            PeerMessage::Digest { index, digest } => {
                let digest = Value::Text(std::format!("{digest:032x}"));
                (Kind::Digest, std::vec![number("index", *index), ("digest", digest)])
            }
        };
        Self { kind, fields }
    }
}

type Fields = Vec<(&'static str, Value)>;

fn of_facts(facts: &Facts) -> Fields {
    let NodeId(node) = facts.node;
    std::vec![
        number("speaker", node),
        number("boots", facts.boots),
        number("last", facts.last),
        flag("formed", facts.cluster.is_some()),
    ]
}

fn of_core(message: &Message) -> (Kind, Fields) {
    let (kind, more) = match message {
        Message::PreVote { last, .. } => (Kind::PreVote, std::vec![position("last", *last)]),
        Message::PreVoteReply { granted, .. } => (Kind::PreVoteReply, std::vec![flag("granted", *granted)]),
        Message::Vote { last, transfer, .. } => {
            (Kind::Vote, std::vec![position("last", *last), flag("transfer", *transfer)])
        }
        Message::VoteReply { granted, .. } => (Kind::VoteReply, std::vec![flag("granted", *granted)]),
        Message::Append { previous, entries, commit, .. } => {
            let entries = entries.iter().map(EntryMark::of).collect();
            let entries = ("entries", Value::Entries(entries));
            (Kind::Append, std::vec![position("previous", *previous), entries, number("commit", *commit)])
        }
        Message::AppendAccepted { matched, .. } => {
            (Kind::AppendAccepted, std::vec![number("matched", *matched)])
        }
        Message::AppendRejected { probed, hint, .. } => {
            (Kind::AppendRejected, std::vec![number("probed", *probed), position("hint", *hint)])
        }
        Message::Heartbeat { round, commit, .. } => {
            (Kind::Heartbeat, std::vec![number("round", *round), number("commit", *commit)])
        }
        Message::HeartbeatReply { round, .. } => (Kind::HeartbeatReply, std::vec![number("round", *round)]),
        Message::TimeoutNow { .. } => (Kind::TimeoutNow, std::vec![]),
        Message::ReadIndex { query, .. } => (Kind::ReadIndex, query_fields(*query)),
        Message::ReadIndexReply { query, index, .. } => {
            let mut fields = query_fields(*query);
            fields.push(number("index", *index));
            (Kind::ReadIndexReply, fields)
        }
        Message::SnapshotChunk { snapshot, offset, data, .. } => (
            Kind::SnapshotChunk,
            std::vec![
                position("snapshot", snapshot.id.last),
                number("offset", *offset),
                number("bytes", data.len() as u64),
                number("of", snapshot.len),
            ],
        ),
        Message::SnapshotReply { snapshot, progress, .. } => {
            let progress = match progress {
                SnapshotProgress::Written(offset) => number("written", *offset),
                SnapshotProgress::Installed(index) => number("installed", *index),
                SnapshotProgress::Corrupt => flag("corrupt", true),
            };
            (Kind::SnapshotReply, std::vec![position("snapshot", snapshot.last), progress])
        }
    };
    let mut fields = std::vec![number("term", message.term())];
    fields.extend(more);
    (kind, fields)
}

fn query_fields(query: QueryId) -> Fields {
    std::vec![number("life", query.life), number("query", query.number)]
}

fn number(name: &'static str, value: u64) -> (&'static str, Value) {
    (name, Value::Number(value))
}

fn flag(name: &'static str, value: bool) -> (&'static str, Value) {
    (name, Value::Flag(value))
}

fn position(name: &'static str, value: LogId) -> (&'static str, Value) {
    (name, Value::Position(value))
}
