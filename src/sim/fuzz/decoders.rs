//! Any bytes into everything that reads bytes.

use std::vec::Vec;

use bytes::{Bytes, BytesMut};

use super::Source;
use crate::codec::frame::{Decoder, FRAME_HEADER};
use crate::codec::input::Input;
use crate::codec::peer::PeerMessage;
use crate::codec::resp::{
    ProtocolError, ReplyParser, RequestLimits, RequestParser, downgrade, is_whole_reply,
};
use crate::kv::{Call, KvStore, parse};
use crate::raft::{self, Configuration, Entries, Entry, EntryKind, LogId, NodeId, Recovered, Stamp};
use crate::replica::{self, Context, Replica, Restorer, StateMachine};
use crate::time::Now;

/// Hands `data` to one of the readers, which its first byte chooses.
///
/// # Panics
/// When a reader panics, takes more than its limits allow, depends on how the bytes are divided, or writes what it would
/// not read.
pub fn decoders(data: &[u8]) {
    let mut source = Source(data);
    match source.byte().unwrap_or(0) % 8 {
        0 => requests(source),
        1 => replies(source),
        2 => frames(source),
        3 => peer_messages(source.0),
        4 => packed_entries(source.0),
        5 => commands(source),
        6 => log_entries(source),
        _ => restorers(source.0),
    }
}

/// The rest of the source in pieces, whose length its next byte says.
fn pieces<'a>(source: &mut Source<'a>) -> core::slice::Chunks<'a, u8> {
    let step = usize::from(source.byte().unwrap_or(0)).max(1);
    source.0.chunks(step)
}

fn fill(input: &mut Input, bytes: &[u8], needed: usize) {
    input.space(bytes.len(), needed.min(1 << 20))[..bytes.len()].copy_from_slice(bytes);
    input.advance(bytes.len());
}

fn requests(mut source: Source<'_>) {
    let divided = parse_requests(pieces(&mut source));
    let whole = core::iter::once(source.0);
    assert_eq!(divided, parse_requests(whole), "the same requests however they are divided");
    for request in &divided.0 {
        // What the commands are is judged elsewhere: here only that judging does not panic.
        let _ = parse(request);
    }
}

fn parse_requests<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<Vec<Bytes>>, Option<ProtocolError>) {
    let limits = RequestLimits { line: 64, arguments: 16, bytes: 256 };
    let (mut parser, mut input) = (RequestParser::new(limits), Input::new(64));
    let (mut requests, mut arguments) = (Vec::new(), Vec::new());
    for piece in pieces {
        fill(&mut input, piece, parser.needed());
        loop {
            match parser.parse(&mut input, &mut arguments) {
                Ok(true) => requests.push(core::mem::take(&mut arguments)),
                Ok(false) => break,
                Err(error) => return (requests, Some(error)),
            }
        }
    }
    for request in &requests {
        // The words of an inline command are bounded by its line.
        assert!(!request.is_empty() && request.len() <= limits.arguments.max(limits.line));
        assert!(request.iter().map(Bytes::len).sum::<usize>() <= limits.bytes);
    }
    (requests, None)
}

fn replies(mut source: Source<'_>) {
    let pieces = pieces(&mut source);
    let mut resp2 = Vec::new();
    let downgraded = downgrade(source.0, &mut resp2);
    if downgraded.is_err() {
        assert!(resp2.is_empty(), "a refused reply leaves nothing");
    } else if is_whole_reply(source.0) {
        assert!(is_whole_reply(&resp2), "RESP2 made from RESP3 is whole: {resp2:?}");
    }
    let (mut parser, mut input) = (ReplyParser::new(1 << 10), Input::new(64));
    for piece in pieces {
        fill(&mut input, piece, parser.needed());
        while let Ok(Some(_)) = parser.next_reply(&mut input) {}
    }
}

fn frames(mut source: Source<'_>) {
    const MAX: usize = 256;
    let mut decoder = Decoder::new(MAX);
    for piece in pieces(&mut source) {
        decoder.space(piece.len())[..piece.len()].copy_from_slice(piece);
        decoder.advance(piece.len());
        while let Ok(Some(payload)) = decoder.next_frame() {
            assert!(payload.len() <= MAX);
            let _ = PeerMessage::open(&payload);
        }
    }
}

fn peer_messages(data: &[u8]) {
    let payload = Bytes::copy_from_slice(data);
    let Ok((message, _)) = PeerMessage::open(&payload) else { return };
    let frame = message.seal(|entries| {
        let mut packed = BytesMut::new();
        entries.pack(&mut packed);
        packed.freeze()
    });
    let again = Bytes::from(frame.0.concat()).slice(FRAME_HEADER..);
    assert_eq!(PeerMessage::open(&again).map(|(m, _)| m), Ok(message), "what is read can be written");
}

fn packed_entries(data: &[u8]) {
    let packed = Bytes::copy_from_slice(data);
    if let Ok(entries) = Entries::unpack(1, &packed) {
        let mut again = BytesMut::new();
        entries.pack(&mut again);
        assert_eq!(again.freeze(), packed, "packed entries have one form");
    }
}

/// Commands as clients write them and as a log may hold them.
fn commands(mut source: Source<'_>) {
    let mut store = KvStore::empty(1);
    let mut out = Vec::new();
    let mut index = 1;
    while let Some(choice) = source.byte() {
        out.clear();
        index += 1;
        let context = Context::at(index, u64::from(choice));
        if choice % 2 == 0 {
            let Some(command) = source.bytes(255) else { return };
            if choice % 4 == 0 {
                store.apply(context, command, &mut out);
            } else {
                store.query(context, command, &mut out);
            }
        } else {
            let words: Option<Vec<Bytes>> =
                (0..choice / 2 % 6).map(|_| source.bytes(64).map(Bytes::copy_from_slice)).collect();
            match words.map(|words| parse(&words)) {
                Some(Ok(Call::Write(command))) => store.apply(context, &command, &mut out),
                Some(Ok(Call::Read(query))) => store.query(context, &query, &mut out),
                Some(Err(error)) => drop(std::format!("{error}")),
                None => return,
            }
        }
        assert!(out.is_empty() || is_whole_reply(&out), "one whole reply: {:?}", out.escape_ascii());
    }
}

/// A log whose commands are any bytes, applied by a replica as its own: sessions and commands inside.
fn log_entries(mut source: Source<'_>) {
    let id = NodeId(1);
    let member = raft::Member { disk: raft::DiskId(1), peer_address: "p".into(), client_address: "c".into() };
    let mut recovered =
        Recovered::formed(member.disk, &Configuration::of_voters([(id, member.clone())].into()));
    let mut entries = recovered.entries.to_vec();
    while let Some(data) = source.bytes(255) {
        let index = entries.len() as u64 + 1;
        let stamp = Stamp { unix_ms: index, cluster_ms: index };
        let data = Bytes::copy_from_slice(data);
        entries.push(Entry { id: LogId::new(1, index), kind: EntryKind::Command, stamp, data });
    }
    recovered.commit = entries.len() as u64;
    recovered.vote.term = 1;
    recovered.entries = entries.into();
    let last = recovered.commit;
    let config = replica::Config::new(raft::Config::new(id, 1));
    let Ok(mut replica) = Replica::<KvStore>::new(config, recovered, None, Now::default()) else { return };
    let mut out = replica::Actions::new();
    replica.step_into(Now::default(), [replica::Event::Wake], &mut out);
    assert_eq!(replica.raft().status().applied, last, "committed entries are applied");
}

fn restorers(data: &[u8]) {
    let mut restorer = KvStore::restorer();
    let mut pieces = data.chunks(7);
    if pieces.all(|piece| restorer.push(piece).is_ok())
        && let Ok(store) = restorer.finish()
    {
        let mut again = Vec::new();
        let mut view = store.view();
        while replica::View::read(&mut view, 64, &mut again) {}
        let mut restorer = KvStore::restorer();
        let restored = restorer.push(&again).and_then(|()| restorer.finish());
        assert_eq!(restored.map(|s| s.digest()), Ok(store.digest()), "what is read can be written");
    }
}
