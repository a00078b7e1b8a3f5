//! The two languages: frames between peers, and RESP with clients, written and read.

use std::hint::black_box;

use bytes::{Bytes, BytesMut};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use quorate::codec::frame::Decoder;
use quorate::codec::input::Input;
use quorate::codec::peer::PeerMessage;
use quorate::codec::resp::{ReplyParser, RequestLimits, RequestParser, downgrade, write};
use quorate::raft::{Entries, Entry, EntryKind, LogId, Message, Stamp};

/// Entries in an append, and commands in a pipeline.
const MANY: usize = 64;

fn append() -> (Entries, PeerMessage) {
    let entry = |index| Entry {
        id: LogId::new(3, index),
        kind: EntryKind::Command,
        stamp: Stamp { unix_ms: 1_700_000_000_000, cluster_ms: 1 },
        data: Bytes::from(vec![7; 100]),
    };
    let entries: Entries = (8..8 + MANY as u64).map(entry).collect();
    let previous = LogId::new(3, 7);
    let message = Message::Append { term: 3, previous, entries: entries.clone(), commit: 7 };
    (entries, PeerMessage::Raft(message))
}

fn peer(c: &mut Criterion) {
    let (entries, message) = append();
    let mut packed = BytesMut::new();
    entries.pack(&mut packed);
    let packed = packed.freeze();
    let wire = message.seal(|_| packed.clone()).0.concat();
    let mut group = c.benchmark_group("peer append of 64");
    group.throughput(Throughput::Elements(MANY as u64));
    group.bench_function("pack and seal", |b| {
        b.iter(|| {
            message.seal(|entries| {
                let mut packed = BytesMut::new();
                entries.pack(&mut packed);
                packed.freeze()
            })
        });
    });
    // What a leader's second peer costs: the entries are packed already.
    group.bench_function("seal", |b| b.iter(|| message.seal(|_| packed.clone())));
    let mut decoder = Decoder::new(1 << 20);
    group.bench_function("frame and open", |b| {
        b.iter(|| {
            decoder.space(wire.len())[..wire.len()].copy_from_slice(&wire);
            decoder.advance(wire.len());
            let payload = decoder.next_frame().expect("sound").expect("whole");
            PeerMessage::open(&payload).expect("sound")
        });
    });
    group.finish();
}

fn resp(c: &mut Criterion) {
    let mut requests = Vec::new();
    let mut replies = Vec::new();
    for i in 0..MANY {
        let key = format!("key:{i:012}");
        write::request(&mut requests, &[b"SET".as_slice(), key.as_bytes(), &[b'x'; 100]]);
        write::bulk(&mut replies, &[b'x'; 100]);
    }
    let mut group = c.benchmark_group("resp pipeline of 64");
    group.throughput(Throughput::Elements(MANY as u64));
    group.bench_function("write requests", |b| {
        let mut out = Vec::new();
        b.iter(|| {
            out.clear();
            for _ in 0..MANY {
                write::request(&mut out, &[b"SET".as_slice(), b"key:000000000001", &[b'x'; 100]]);
            }
            black_box(out.len())
        });
    });
    group.bench_function("parse requests", |b| {
        let (mut parser, mut input) = (RequestParser::new(RequestLimits::default()), Input::new(16 << 10));
        let mut arguments = Vec::new();
        b.iter(|| {
            input.space(requests.len(), 0)[..requests.len()].copy_from_slice(&requests);
            input.advance(requests.len());
            while parser.parse(&mut input, &mut arguments).expect("sound") {
                black_box(&arguments);
                arguments.clear();
            }
        });
    });
    group.bench_function("parse replies", |b| {
        let (mut parser, mut input) = (ReplyParser::new(1 << 20), Input::new(16 << 10));
        b.iter(|| {
            input.space(replies.len(), 0)[..replies.len()].copy_from_slice(&replies);
            input.advance(replies.len());
            while let Some(reply) = parser.next_reply(&mut input).expect("sound") {
                black_box(reply);
            }
        });
    });
    group.finish();
    c.bench_function("resp3 map of 16 to resp2", |b| {
        let mut map = Vec::new();
        write::map(&mut map, 16);
        for i in 0..16 {
            write::bulk(&mut map, b"a field's name");
            write::integer(&mut map, i);
        }
        let mut out = Vec::new();
        b.iter(|| {
            out.clear();
            downgrade(&map, &mut out).expect("sound");
            black_box(out.len())
        });
    });
}

criterion_group!(benches, peer, resp);
criterion_main!(benches);
