//! Pipelines: several commands as one do what each does by itself.

use alloc::string::String;
use alloc::vec::Vec;

use bytes::{Bytes, BytesMut};

use super::super::packed::{Malformed, Packer, Read, Write, opcode};
use super::super::{Call, KvStore, MAX_PIPELINE, may_join, parse, pipeline, transaction, unanswered};
use super::{Client, SEED, words};
use crate::replica::{Context, StateMachine};
use crate::rng::Rng;

fn packed(line: &str) -> Bytes {
    match parse(&words(line)) {
        Ok(Call::Write(packed) | Call::Read(packed)) => packed,
        Err(error) => panic!("{line}: {error}"),
    }
}

fn join(lines: &[&str]) -> Bytes {
    let commands: Vec<_> = lines.iter().map(|line| packed(line)).collect();
    pipeline(&commands, &mut BytesMut::new())
}

fn apply(store: &mut KvStore, context: Context, command: &[u8]) -> String {
    let mut out = Vec::new();
    store.apply(context, command, &mut out);
    String::from_utf8_lossy(&out).replace("\r\n", "|")
}

fn query(store: &KvStore, command: &[u8]) -> String {
    let mut out = Vec::new();
    store.query(Context::at(9, 9), command, &mut out);
    String::from_utf8_lossy(&out).replace("\r\n", "|")
}

#[test]
fn what_is_little_work_and_answers_little_may_join() {
    for line in
        ["set k v", "set k v nx", "set k v px 9", "set k v keepttl", "setnx k v", "incr k", "decrby k 4"]
    {
        assert!(may_join(&packed(line)), "{line}");
    }
    for line in
        ["get k", "strlen k", "ttl k", "expiretime k", "mget k l", "exists k", "getrange k 0 1", "dbsize"]
    {
        assert!(may_join(&packed(line)), "{line}");
    }
    for line in ["set k v get", "getset k v", "set k v ifeq w", "append k v", "del k", "mset k v", "getdel k"]
    {
        assert!(!may_join(&packed(line)), "{line}");
    }
    for line in ["keys *", "scan 0", "lcs k l", "bitcount k", "randomkey"] {
        assert!(!may_join(&packed(line)), "{line}");
    }
    let Call::Write(exec) = transaction(&[], &[Call::Write(packed("incr n"))]) else {
        panic!("it is a write")
    };
    assert!(!may_join(&exec) && !may_join(&join(&["incr n"])) && !may_join(&join(&["get n"])));
    assert!(!may_join(b"") && !may_join(b"\x01") && !may_join(b"\x7e"));
}

#[test]
fn commands_do_together_what_they_do_one_by_one() {
    let mut rng = Rng::new(8);
    let (mut one, mut other) = (KvStore::empty(SEED), KvStore::empty(SEED));
    let mut replies = 0;
    for index in 0..400 {
        let context = Context::at(index, index * 10);
        let lines: Vec<String> = (0..1 + rng.below(80))
            .map(|_| match (rng.below(5), rng.below(40)) {
                (0, key) => alloc::format!("set k{key} {}", rng.below(100)),
                (1, key) => alloc::format!("set k{key} {} px {}", rng.below(100), 1 + rng.below(60)),
                (2, key) => alloc::format!("set k{key} word xx"),
                (3, key) => alloc::format!("setnx k{key} 7"),
                (_, key) => alloc::format!("incr k{key}"),
            })
            .collect();
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let mut each = String::new();
        for line in &lines {
            one.expire(context, 8);
            each += &apply(&mut one, context, &packed(line));
        }
        other.expire(context, 8);
        assert_eq!(apply(&mut other, context, &join(&lines)), each);
        assert_eq!((one.digest(), one.size()), (other.digest(), other.size()));
        replies += lines.len();
        let reads: Vec<String> = (0..40).map(|key| alloc::format!("get k{key}")).collect();
        let reads: Vec<&str> = reads.iter().map(String::as_str).collect();
        let each: String = reads.iter().map(|line| query(&one, &packed(line))).collect();
        assert_eq!(query(&other, &join(&reads)), each);
    }
    assert!(replies > 10_000);
}

#[test]
fn the_dead_are_taken_out_before_each_command_as_before_an_entry() {
    let mut client = Client::new();
    for n in 0..30 {
        client.say(&alloc::format!("set k{n} v px 5"));
    }
    client.ms += 5;
    let context = client.context();
    apply(&mut client.store, context, &join(&["incr n", "incr n", "incr n"]));
    assert_eq!(client.store.len(), 30 - 3 * 8 + 1);
}

#[test]
fn a_command_that_may_not_join_is_refused_and_those_beside_it_run() {
    let mut client = Client::new();
    let own = packed("incr n");
    let nested = join(&["incr n"]);
    let Call::Write(exec) = transaction(&[], &[Call::Write(own.clone())]) else { panic!("it is a write") };
    for bad in [&b""[..], b"\x7e", b"\x01", &nested, &exec, &packed("append n 1"), &packed("get n")] {
        let both = Packer::new(&mut BytesMut::new(), opcode::PIPELINE, 0).bytes(bad).bytes(&own).finish();
        let before = client.say("incr n");
        let told = apply(&mut client.store, Context::at(1, client.ms), &both);
        let (error, reply) = told.split_once('|').expect("two replies");
        assert!(error.starts_with("-ERR "), "{told}");
        let number = |reply: &str| reply.trim_matches([':', '|']).parse::<i64>().expect("a number");
        assert_eq!(number(reply), number(&before) + 1);
        let mut space = BytesMut::new();
        let reads = Packer::new(&mut space, opcode::PIPELINE_READS, 0);
        let reads = reads.bytes(&packed("strlen n")).bytes(bad).finish();
        let told = query(&client.store, &reads);
        assert!(
            bad == &packed("get n")[..] || told.starts_with(":1|-ERR ") || told.starts_with(":2|-ERR "),
            "{told}"
        );
    }
    for op in [opcode::PIPELINE, opcode::PIPELINE_READS] {
        let malformed = Malformed::Arguments(op);
        assert!(Write::decode(&[op]) == Err(malformed) || Read::decode(&[op]) == Err(malformed));
    }
    let cut = join(&["set k v", "set k w"]);
    let before = client.store.digest();
    assert!(apply(&mut client.store, Context::at(1, 1), &cut[..cut.len() - 1]).starts_with("-ERR "));
    assert_eq!(client.store.digest(), before, "nothing of what cannot be read runs");
}

/// Each may be answered by an error, which is longer than what it takes to ask for it.
#[test]
fn what_has_too_many_commands_is_no_pipeline() {
    for (op, command) in [(opcode::PIPELINE, &b""[..]), (opcode::PIPELINE_READS, b"\x86")] {
        for (count, fits) in [(MAX_PIPELINE, true), (MAX_PIPELINE + 1, false)] {
            let mut space = BytesMut::new();
            let many = (0..count).fold(Packer::new(&mut space, op, 0), |to, _| to.bytes(command)).finish();
            assert_eq!(Write::decode(&many).is_ok() || Read::decode(&many).is_ok(), fits, "{op} {count}");
        }
    }
}

#[test]
fn a_transaction_holds_no_pipeline() {
    for (op, inner) in [(opcode::EXEC, join(&["incr n"])), (opcode::EXEC_READS, join(&["get n"]))] {
        let exec = Packer::new(&mut BytesMut::new(), op, 0).varint(0).bytes(&inner).finish();
        let malformed = Malformed::Arguments(op);
        assert!(Write::decode(&exec) == Err(malformed) || Read::decode(&exec) == Err(malformed));
    }
}

#[test]
fn reads_are_answered_until_it_is_enough_and_the_others_are_left() {
    let mut client = Client::new();
    for key in ["a", "b", "c"] {
        client.run(&[Bytes::from_static(b"set"), key.into(), alloc::vec![b'x'; 600 << 10].into()]);
    }
    let mut rest = Some(join(&["get a", "get nothing", "get b", "get c", "ttl a"]));
    let mut told = Vec::new();
    while let Some(asked) = rest {
        let reply = query(&client.store, &asked);
        let replies = reply.matches(['$', '_', ':']).count();
        told.push((replies, reply.len() > 1 << 20));
        rest = unanswered(&asked, replies);
    }
    assert_eq!(told, [(3, true), (2, false)]);
    let one = join(&["get a"]);
    assert_eq!(unanswered(&one, 0), Some(one.clone()));
    assert_eq!(unanswered(&one, 2), None);
}

#[test]
fn a_pipeline_is_as_much_work_as_its_commands() {
    let client = Client::new();
    let sum = |lines: &[&str]| lines.iter().map(|line| client.store.work(&packed(line))).sum::<u64>();
    let writes = ["set k 0123456789", "incr n", "setnx m 1"];
    assert!(client.store.work(&join(&writes)).abs_diff(sum(&writes)) < 50);
    let reads = ["get a", "strlen b", "exists a b c", "mget a b"];
    assert_eq!(client.store.work(&join(&reads)), sum(&reads));
}
