use bytes::{Bytes, BytesMut};
use quorate::codec::forward::*;
use quorate::codec::peer::*;
use quorate::kv::*;
use quorate::raft::*;
use quorate::replica::Request;
use quorate::replica::{Context, StateMachine, View};
use std::fs;
fn put(t: &str, n: &str, b: Vec<u8>) {
    let d = format!("{}/fuzz/corpus/{t}", env!("CARGO_MANIFEST_DIR"));
    fs::create_dir_all(&d).unwrap();
    fs::write(format!("{d}/{n}"), b).unwrap();
}
#[test]
fn seeds() {
    let resp: [&[u8]; 8] = [
        b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n*2\r\n$3\r\nGET\r\n$1\r\nk\r\n",
        b"PING\r\nSET k \"a b\\x41\"\r\n",
        b"*-1\r\n*0\r\n\r\nPING\r\n",
        b"*1\r\n$99999999999\r\n",
        b"*99999999999\r\n",
        b"*2\r\n:1\r\n",
        b"set k 'a\\'b' px 10\r\n",
        b"*4\r\n$8\r\nGETRANGE\r\n$1\r\nk\r\n$1\r\n0\r\n$2\r\n-1\r\n",
    ];
    for (i, r) in resp.iter().enumerate() {
        for s in [1u8, 3, 255] {
            let mut v = vec![0, s];
            v.extend_from_slice(r);
            put("decoders", &format!("req{i}_{s}"), v);
        }
    }
    let rep: [&[u8]; 9] = [
        b"+OK\r\n",
        b"%2\r\n+a\r\n:1\r\n$1\r\nb\r\n_\r\n",
        b"|1\r\n+k\r\n+v\r\n*2\r\n#t\r\n,1.5\r\n",
        b"*2\r\n*1\r\n:5\r\n~1\r\n(123\r\n",
        b"=7\r\ntxt:abc\r\n",
        b"!5\r\nERR x\r\n",
        b">1\r\n+m\r\n",
        b"$-1\r\n",
        b"*-1\r\n",
    ];
    for (i, r) in rep.iter().enumerate() {
        let mut v = vec![1, 2];
        v.extend_from_slice(r);
        put("decoders", &format!("rep{i}"), v);
    }
    let member =
        |n: u128| Member { disk: DiskId(n), peer_address: "a:1".into(), client_address: "a:2".into() };
    let conf = Configuration::of_voters([(NodeId(1), member(1)), (NodeId(2), member(2))].into());
    let e = |k, d: &'static [u8]| Entry {
        id: LogId::new(3, 7),
        kind: k,
        stamp: Stamp { unix_ms: 1, cluster_ms: 2 },
        data: Bytes::from_static(d),
    };
    let entries: Entries =
        vec![e(EntryKind::Command, b"hi"), Entry { id: LogId::new(3, 8), ..e(EntryKind::NoOp, b"") }].into();
    let meta = SnapshotMeta {
        id: SnapshotId { last: LogId::new(2, 5), checksum: 9 },
        len: 30,
        stamp: Stamp::default(),
        configuration: conf.clone(),
    };
    let facts = Facts {
        node: NodeId(1),
        disk: DiskId(7),
        cluster: Some(5),
        boots: 2,
        last: 9,
        founders: 11,
        complete: true,
    };
    let msgs = vec![
        PeerMessage::Hello(facts.clone()),
        PeerMessage::Welcome(facts),
        PeerMessage::Refuse { text: "no".into(), severity: Severity::Retry },
        PeerMessage::Formed { cluster: 1 },
        PeerMessage::Digest { index: 1, digest: 2 },
        PeerMessage::Forward {
            term: 1,
            requests: vec![
                Forwarded {
                    id: 1,
                    connection: 2,
                    epoch: 0,
                    budget: 9,
                    request: Request::Write(Bytes::from_static(b"x")),
                },
                Forwarded {
                    id: 2,
                    connection: 2,
                    epoch: 0,
                    budget: 9,
                    request: Request::Once { session: 1, seq: 2, ack: 1, command: Bytes::from_static(b"y") },
                },
            ],
        },
        PeerMessage::ForwardReply(vec![]),
        PeerMessage::Raft(Message::Vote { term: 1, last: LogId::new(1, 1) }),
        PeerMessage::Raft(Message::Append {
            term: 3,
            previous: LogId::new(2, 6),
            entries: entries.clone(),
            commit: 6,
        }),
        PeerMessage::Raft(Message::SnapshotChunk {
            term: 1,
            snapshot: meta.clone(),
            offset: 0,
            data: Bytes::from_static(b"abc"),
        }),
        PeerMessage::Raft(Message::SnapshotReply {
            term: 1,
            snapshot: meta.id,
            progress: SnapshotProgress::Written(4),
        }),
        PeerMessage::Raft(Message::HeartbeatReply { term: 1, round: 3, wall: 1 }),
        PeerMessage::Raft(Message::AppendRejected { term: 1, probed: 2, hint: LogId::new(1, 1) }),
    ];
    for (i, m) in msgs.iter().enumerate() {
        let w = m
            .seal(|e| {
                let mut p = BytesMut::new();
                e.pack(&mut p);
                p.freeze()
            })
            .0
            .concat();
        let mut v = vec![3];
        v.extend_from_slice(&w[8..]);
        put("decoders", &format!("peer{i}"), v);
        let mut v = vec![2, 50];
        v.extend_from_slice(&w);
        put("decoders", &format!("frame{i}"), v);
    }
    let mut p = BytesMut::new();
    entries.pack(&mut p);
    let mut v = vec![4];
    v.extend_from_slice(&p);
    put("decoders", "packed", v);
    let lines = [
        "SET k v",
        "SET k v NX GET",
        "GET k",
        "APPEND k x",
        "INCR n",
        "INCRBY n 5",
        "DECRBY n 3",
        "MSET a 1 b 2",
        "MGET a b",
        "DEL a b",
        "EXISTS a",
        "GETRANGE k 0 -1",
        "STRLEN k",
        "SCAN 0 COUNT 5 MATCH a*",
        "DBSIZE",
        "GETDEL k",
        "SETNX k v",
    ];
    let mut all = vec![5u8];
    let mut log = vec![6u8];
    let mut store = KvStore::empty(3);
    for (i, l) in lines.iter().enumerate() {
        let w: Vec<Bytes> = l.split(' ').map(|x| Bytes::copy_from_slice(x.as_bytes())).collect();
        let mut v = vec![5u8];
        let n = w.len() as u8;
        if n < 6 {
            let c = 1 + 2 * n;
            v.push(c);
            all.push(c);
            for x in &w {
                v.push(x.len() as u8);
                v.extend_from_slice(x);
                all.push(x.len() as u8);
                all.extend_from_slice(x);
            }
        }
        put("decoders", &format!("cmd{i}"), v);
        let (c, b) = match parse(&w).unwrap() {
            Call::Write(b) => (0u8, b),
            Call::Read(b) => (2, b),
            #[allow(unreachable_patterns)]
            _ => continue,
        };
        let mut v = vec![5u8, c, b.len() as u8];
        v.extend_from_slice(&b);
        put("decoders", &format!("packed{i}"), v);
        if c == 0 {
            store.apply(Context { index: i as u64 + 2, unix_ms: 5 }, &b, &mut Vec::new());
            log.push(b.len() as u8 + 1);
            log.push(1);
            log.extend_from_slice(&b);
            log.push(b.len() as u8 + 25);
            log.push(2);
            log.extend_from_slice(&2u64.to_le_bytes());
            log.extend_from_slice(&(i as u64 + 1).to_le_bytes());
            log.extend_from_slice(&0u64.to_le_bytes());
            log.extend_from_slice(&b);
        }
    }
    let mut open = vec![33u8, 3];
    for x in [9u64, 8, 100, 1000] {
        open.extend_from_slice(&x.to_le_bytes());
    }
    let mut l2 = vec![6u8];
    l2.extend_from_slice(&open);
    l2.extend_from_slice(&log[1..]);
    l2.extend_from_slice(&[9, 4, 2, 0, 0, 0, 0, 0, 0, 0]);
    put("decoders", "cmdall", all);
    put("decoders", "log", log);
    put("decoders", "log2", l2);
    let mut v = vec![7u8];
    let mut view = store.view();
    while view.read(64, &mut v) {}
    put("decoders", "view", v);
}
