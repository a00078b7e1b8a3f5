//! EXEC: one entry, all or nothing, and only over the versions that were watched.

use super::*;
use crate::kv::packed::{Malformed, Packer, Read, Write, opcode};
use crate::kv::{MAX_VALUE, transaction, versions};

/// The versions of keys, as WATCH asks for them.
fn watch(client: &Client, line: &str) -> Vec<(Bytes, u64)> {
    let keys = words(line);
    let Ok(Call::Read(packed)) = versions(&keys) else { panic!("it is a read") };
    let mut out = Vec::new();
    client.store.query(client.context(), &packed, &mut out);
    let reply = String::from_utf8(out).unwrap();
    let told = reply.split("\r\n:").skip(1).map(|number| number.trim_end().parse().unwrap());
    keys.into_iter().zip(told).collect()
}

fn exec(client: &mut Client, watched: &[(Bytes, u64)], lines: &[&str]) -> String {
    let calls: Vec<Call> = lines.iter().map(|line| parse(&words(line)).unwrap()).collect();
    let mut out = Vec::new();
    match transaction(watched, &calls) {
        Call::Write(packed) => {
            client.index += 1;
            client.store.apply(client.context(), &packed, &mut out);
        }
        Call::Read(packed) => client.store.query(client.context(), &packed, &mut out),
    }
    assert_one_value(&out);
    String::from_utf8(out).unwrap().replace("\r\n", "|")
}

#[test]
fn commands_run_in_order_and_an_error_of_one_is_in_its_place() {
    let mut client = Client::new();
    let reply = exec(&mut client, &[], &["set a x", "incr a", "append a y", "get a", "ttl a", "incr n"]);
    assert_eq!(
        reply, "*6|+OK|-ERR value is not an integer or out of range|:2|$2|xy|:-1|:1|",
        "as in Redis, an error rolls nothing back"
    );
    assert_eq!(exec(&mut client, &[], &[]), "*0|");
    assert_eq!(
        client.store.record(b"a").unwrap().meta().version,
        client.store.record(b"n").unwrap().meta().version
    );
}

#[test]
fn a_changed_key_that_was_watched_lets_nothing_run() {
    let changes = [
        "set k v",
        "append k x",
        "expire k 100",
        "persist t",
        "del k",
        "getdel k",
        "set none v",
        "getex k ex 5",
        "msetex 1 k v",
        "set k w ifeq v",
        "delex k",
    ];
    for change in changes {
        let mut client = Client::new();
        client.say("set k v");
        client.say("set t v ex 10");
        let watched = watch(&client, "k t none");
        assert_eq!(watched[2].1, 0);
        assert_eq!(exec(&mut client, &watched, &["get k"]), "*1|$1|v|");
        client.say(change);
        assert_eq!(exec(&mut client, &watched, &["set x y"]), "_|", "{change}");
        assert_eq!(exec(&mut client, &watched, &["get x"]), "_|", "{change}");
        assert_eq!(client.say("exists x"), ":0|");
        let watched = watch(&client, "k t none");
        assert_eq!(exec(&mut client, &watched, &["set x y"]), "*1|+OK|", "{change}");
    }
}

#[test]
fn what_changes_nothing_disturbs_no_watch() {
    let mut client = Client::new();
    client.say("set k v");
    let watched = watch(&client, "k none");
    for line in
        ["setnx k w", "set k w nx", "persist k", "expire k 10 xx", "del none", "get k", "set k w ifeq x"]
    {
        client.say(line);
        assert_eq!(exec(&mut client, &watched, &["get k"]), "*1|$1|v|", "{line}");
    }
}

#[test]
fn a_watched_key_that_dies_has_changed_and_one_that_was_dead_has_not() {
    let mut client = Client::new();
    client.say("set k v px 10");
    let living = watch(&client, "k");
    client.tick(10, 0);
    let dead = watch(&client, "k");
    assert_eq!(exec(&mut client, &living, &["set x y"]), "_|");
    assert_eq!(exec(&mut client, &dead, &["set x y"]), "*1|+OK|");
    client.tick(10, 100);
    assert_eq!(exec(&mut client, &dead, &["set x y"]), "*1|+OK|", "taken out it is as dead as before");
}

#[test]
fn only_reads_are_a_read_and_one_write_makes_all_a_write() {
    let call = |line: &str| parse(&words(line)).unwrap();
    assert!(matches!(transaction(&[], &[call("get a"), call("ttl a")]), Call::Read(_)));
    assert!(matches!(transaction(&[], &[call("get a"), call("del a")]), Call::Write(_)));
    let packed =
        Packer::new(&mut BytesMut::new(), opcode::EXEC_READS, 0).varint(0).bytes(b"\x05\x01a").finish();
    let mut out = Vec::new();
    let mut client = Client::new();
    client.say("set a 1");
    client.store.query(client.context(), &packed, &mut out);
    assert!(out.starts_with(b"*1\r\n-ERR"), "a query writes nothing");
    assert_eq!(client.say("exists a"), ":1|");
}

#[test]
fn a_transaction_holds_no_transaction_and_nothing_that_cannot_be_read() {
    let inner = Packer::new(&mut BytesMut::new(), opcode::EXEC, 0).varint(0).finish();
    for bad in [
        &inner[..],
        b"",
        b"\x99",
        b"\x05",
        &Packer::new(&mut BytesMut::new(), opcode::EXEC_READS, 0).varint(0).finish(),
    ] {
        let packed =
            Packer::new(&mut BytesMut::new(), opcode::EXEC, 0).varint(0).bytes(b"\x86").bytes(bad).finish();
        assert_eq!(Write::decode(&packed), Err(Malformed::Arguments(opcode::EXEC)));
    }
    let deep = (0..100_000).fold(inner, |inner, _| {
        let head = [&[opcode::EXEC, 0][..], &[0xff, 0xff, 0x7f]].concat();
        Bytes::from([&head[..], &inner[..inner.len().min(100)]].concat())
    });
    assert!(Write::decode(&deep).is_err() && Read::decode(&deep).is_err());
}

#[test]
fn replies_that_grow_too_long_say_that_the_command_ran() {
    let mut client = Client::new();
    let value = Bytes::from(alloc::vec![b'x'; MAX_VALUE]);
    for key in ["a", "b", "c"] {
        client.run(&[Bytes::from("set"), Bytes::from(key), value.clone()]);
    }
    let reply = exec(&mut client, &[], &["get a", "getdel b", "get c", "exists b"]);
    assert!(
        reply.ends_with(
            "|-ERR the command ran, and its reply exceeds maximum allowed size|-ERR the command ran, \
                             and its reply exceeds maximum allowed size|:0|"
        ),
        "{}",
        &reply[reply.len() - 200..]
    );
}
