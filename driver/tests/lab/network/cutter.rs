//! A connection's bytes, cut into whole messages that are passed on as they came.

use bytes::{Bytes, BytesMut};
use quorate::codec::frame::Decoder;
use quorate::codec::input::Input;
use quorate::codec::peer::PeerMessage;
use quorate::codec::resp::{ReplyParser, RequestLimits, RequestParser};

use super::fate::Class;

/// Longest frame or reply that is passed on; longer ones do not occur in the lab.
const MAX: usize = 64 << 20;

/// Bytes that parsers allocate at a time.
const CHUNK: usize = 64 << 10;

/// A whole message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) bytes: Bytes,
    pub(crate) class: Class,
    /// Who speaks, if the message says so: the first frame of who dialled.
    pub(crate) speaker: Option<u64>,
}

/// Cuts one direction of a connection.
#[derive(Debug)]
pub(crate) struct Cutter {
    language: Language,
    /// What has come and is not part of a whole message yet.
    raw: BytesMut,
}

#[derive(Debug)]
enum Language {
    Frames(Decoder),
    Requests(RequestParser, Input, Vec<Bytes>),
    Replies(ReplyParser, Input),
}

impl Cutter {
    /// For frames between nodes.
    pub(crate) fn of_frames() -> Self {
        Self::new(Language::Frames(Decoder::new(MAX)))
    }

    /// For what a clerk sends.
    pub(crate) fn of_requests() -> Self {
        let parser = RequestParser::new(RequestLimits::default());
        Self::new(Language::Requests(parser, Input::new(CHUNK), Vec::new()))
    }

    /// For what a clerk is sent.
    pub(crate) fn of_replies() -> Self {
        Self::new(Language::Replies(ReplyParser::new(MAX), Input::new(CHUNK)))
    }

    fn new(language: Language) -> Self {
        Self { language, raw: BytesMut::new() }
    }

    /// The messages that are whole with these bytes.
    ///
    /// # Errors
    ///
    /// The bytes are none of the language, in words.
    pub(crate) fn cut(&mut self, mut bytes: &[u8]) -> Result<Vec<Message>, String> {
        self.raw.extend_from_slice(bytes);
        let mut messages = Vec::new();
        while !bytes.is_empty() {
            let n = self.language.fill(bytes);
            let later = bytes.len() - n;
            bytes = &bytes[n..];
            while let Some((class, speaker, left)) = self.language.next()? {
                let bytes = self.raw.split_to(self.raw.len() - left - later).freeze();
                messages.push(Message { bytes, class, speaker });
            }
        }
        Ok(messages)
    }
}

impl Language {
    /// Takes as many of the bytes as there is space for, and says how many.
    fn fill(&mut self, bytes: &[u8]) -> usize {
        let space = match self {
            Self::Frames(decoder) => decoder.space(1),
            Self::Requests(parser, input, _) => input.space(1, parser.needed()),
            Self::Replies(parser, input) => input.space(1, parser.needed()),
        };
        let n = space.len().min(bytes.len());
        space[..n].copy_from_slice(&bytes[..n]);
        match self {
            Self::Frames(decoder) => decoder.advance(n),
            Self::Requests(_, input, _) | Self::Replies(_, input) => input.advance(n),
        }
        n
    }

    /// The next whole message: what it is, who speaks, and how many of the bytes taken lie behind it.
    fn next(&mut self) -> Result<Option<(Class, Option<u64>, usize)>, String> {
        match self {
            Self::Frames(decoder) => {
                let Some(payload) = decoder.next_frame().map_err(|error| error.to_string())? else {
                    return Ok(None);
                };
                Ok(Some((class_of(&payload), speaker_of(&payload), decoder.unfinished())))
            }
            Self::Requests(parser, input, arguments) => {
                let whole = parser.parse(input, arguments).map_err(|error| error.to_string())?;
                Ok(whole.then(|| {
                    arguments.clear();
                    (Class::Call, None, input.filled().len())
                }))
            }
            Self::Replies(parser, input) => {
                let reply = parser.next_reply(input).map_err(|error| error.to_string())?;
                Ok(reply.map(|_| (Class::Return, None, input.filled().len())))
            }
        }
    }
}

/// What a frame between nodes is, by its first bytes: an array of three, the version and the kind.
fn class_of(payload: &[u8]) -> Class {
    match payload {
        // Pre-vote, vote, append, heartbeat, a piece of a snapshot, a word to a successor, a follower's read.
        [0x83, 0x01, 16 | 18 | 20 | 23, ..] | [0x83, 0x01, 0x18, 25 | 27 | 28, ..] => Class::Request,
        [0x83, 0x01, 17 | 19 | 21 | 22, ..] | [0x83, 0x01, 0x18, 24 | 26 | 29, ..] => Class::Reply,
        // Hello and forwarded requests are answered; everything else is not, or is an answer.
        [0x83, 0x01, 1 | 5, ..] => Class::Ordered(true),
        _ => Class::Ordered(false),
    }
}

/// Who says hello, if this frame does.
fn speaker_of(payload: &Bytes) -> Option<u64> {
    if !payload.starts_with(&[0x83, 0x01, 1]) {
        return None;
    }
    match PeerMessage::open(payload) {
        Ok((PeerMessage::Hello(facts), _)) => Some(facts.node.0),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate::codec::peer::{Facts, Severity};
    use quorate::codec::resp::write;
    use quorate::raft::{
        DiskId, Entries, LogId, Message as Core, NodeId, QueryId, SnapshotId, SnapshotProgress,
    };

    fn wire(message: &PeerMessage) -> Vec<u8> {
        message.seal(|_: &Entries| Bytes::new()).0.concat()
    }

    fn hello(node: u64) -> PeerMessage {
        let (disk, cluster) = (DiskId(u128::MAX), Some(7));
        PeerMessage::Hello(Facts {
            node: NodeId(node),
            disk,
            cluster,
            boots: 1,
            last: 2,
            founders: 3,
            complete: true,
        })
    }

    /// Cuts `bytes`, which come in pieces of `step` bytes.
    fn cut(mut cutter: Cutter, bytes: &[u8], step: usize) -> Vec<Message> {
        bytes.chunks(step).flat_map(|piece| cutter.cut(piece).unwrap()).collect()
    }

    #[test]
    fn frames_are_told_apart_by_what_they_can_bear() {
        let (term, last) = (1, LogId::ZERO);
        let snapshot = SnapshotId { last, checksum: 0 };
        let core = |message| PeerMessage::Raft(message);
        let refusal = PeerMessage::Refuse { text: "no".into(), severity: Severity::Retry };
        let (empty, query) = (Entries::empty(), QueryId { life: 1, number: 1 });
        for (message, class) in [
            (core(Core::PreVote { term, last }), Class::Request),
            (core(Core::Vote { term, last, transfer: false }), Class::Request),
            (core(Core::Append { term, previous: last, entries: empty, commit: 0 }), Class::Request),
            (core(Core::Heartbeat { term, round: 1, commit: 0 }), Class::Request),
            (core(Core::TimeoutNow { term }), Class::Request),
            (core(Core::ReadIndex { term, query }), Class::Request),
            (core(Core::ReadIndexReply { term, query, index: 1 }), Class::Reply),
            (core(Core::PreVoteReply { term, granted: true }), Class::Reply),
            (core(Core::VoteReply { term, granted: true, wall: 0 }), Class::Reply),
            (core(Core::AppendAccepted { term, matched: 1 }), Class::Reply),
            (core(Core::AppendRejected { term, probed: 1, hint: last }), Class::Reply),
            (core(Core::HeartbeatReply { term, round: 1, wall: 0 }), Class::Reply),
            (core(Core::SnapshotReply { term, snapshot, progress: SnapshotProgress::Corrupt }), Class::Reply),
            (hello(3), Class::Ordered(true)),
            (PeerMessage::Forward { term, requests: vec![] }, Class::Ordered(true)),
            (PeerMessage::ForwardReply(vec![]), Class::Ordered(false)),
            (PeerMessage::Formed { cluster: 1 }, Class::Ordered(false)),
            (PeerMessage::Digest { index: 1, digest: 1 }, Class::Ordered(false)),
            (refusal, Class::Ordered(false)),
        ] {
            let cut = cut(Cutter::of_frames(), &wire(&message), 1000);
            assert_eq!(cut.len(), 1);
            assert_eq!(cut[0].class, class, "{message:?}");
        }
    }

    #[test]
    fn the_first_frame_says_who_speaks() {
        let bytes = [wire(&hello(5)), wire(&PeerMessage::Formed { cluster: 1 })].concat();
        let speakers: Vec<_> = cut(Cutter::of_frames(), &bytes, 7).iter().map(|m| m.speaker).collect();
        assert_eq!(speakers, [Some(5), None]);
    }

    #[test]
    fn what_is_passed_on_is_what_came_however_it_was_divided() {
        let frames: Vec<_> = (1..5).map(|node| wire(&hello(node))).collect();
        let mut requests = vec![b"PING inline\r\n".to_vec()];
        let mut request = Vec::new();
        write::request(&mut request, &[&b"SET"[..], b"k", &[b'v'; 100]]);
        requests.push(request);
        let replies = [&b"+OK\r\n"[..], b"$3\r\na\r\n\r\n", b"*2\r\n:1\r\n$-1\r\n"].map(<[u8]>::to_vec);
        for step in [1, 2, 5, 16, 1000] {
            for (cutter, messages) in [
                (Cutter::of_frames(), &frames[..]),
                (Cutter::of_requests(), &requests[..]),
                (Cutter::of_replies(), &replies[..]),
            ] {
                let cut = cut(cutter, &messages.concat(), step);
                let cut: Vec<_> = cut.iter().map(|message| message.bytes.to_vec()).collect();
                assert_eq!(cut, messages, "in pieces of {step}");
            }
        }
    }

    #[test]
    fn nonsense_is_an_error() {
        assert!(Cutter::of_frames().cut(&[0; 16]).is_err());
        assert!(Cutter::of_replies().cut(b"hello\r\n").is_err());
        assert!(Cutter::of_requests().cut(b"*1\r\nhello\r\n").is_err());
    }
}
