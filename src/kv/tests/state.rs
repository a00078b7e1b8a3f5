//! The digest, views, SCAN, and bytes that no parser wrote.

use super::*;
use crate::codec::resp::reply_length;
use crate::kv::packed::{Packer, Read, Write, opcode};
use crate::kv::record::{ALL, Meta};
use crate::kv::store::Keyed;
use crate::kv::{MAX_KEY, MAX_VALUE};
use crate::rng::Rng;
use alloc::collections::BTreeMap;

/// The digest, from nothing but the records.
fn digest_from_scratch(store: &KvStore) -> u128 {
    let records = store.tree.range(0);
    records.map(|(place, record)| store.keyed.digest(place, record, ALL)).fold(0, u128::wrapping_add)
}

fn word(rng: &mut Rng) -> Bytes {
    let long = rng.chance(1, 200);
    let len = if long { rng.below(9_000) } else { rng.below(12) } as usize;
    Bytes::from(alloc::vec![b'a' + rng.below(26) as u8; len])
}

fn random_command(rng: &mut Rng, keys: u64) -> Vec<Bytes> {
    let names = "get set set set setnx getset getdel append append strlen getrange del exists mget mset incr decr \
                 incrby decrby dbsize scan setrange setrange setbit setbit getbit bitcount bitpos incrbyfloat lcs msetnx \
                 unlink touch type keys randomkey rename renamenx copy flushall";
    let names: Vec<&str> = names.split_whitespace().collect();
    let name = names[rng.below(names.len() as u64) as usize];
    // Mostly not, so that there are keys.
    let name = if name == "flushall" && rng.chance(24, 25) { "get" } else { name };
    let mut args = alloc::vec![Bytes::from_static(name.as_bytes())];
    let key = |rng: &mut Rng| Bytes::from(alloc::format!("k{}", rng.below(keys)));
    let offset = |rng: &mut Rng| Bytes::from(alloc::format!("{}", rng.below(4) * rng.below(4_000)));
    let number = |rng: &mut Rng| Bytes::from(alloc::format!("{}", rng.next_u64() as i64 >> rng.below(64)));
    match name {
        "dbsize" | "randomkey" | "flushall" => {}
        "keys" => args.push(Bytes::from(alloc::format!("k{}*", rng.below(10)))),
        "setrange" => args.extend([key(rng), offset(rng), word(rng)]),
        "setbit" => {
            args.extend([key(rng), offset(rng), Bytes::from_static([b"0", b"1"][rng.below(2) as usize])])
        }
        "getbit" => args.extend([key(rng), offset(rng)]),
        "bitpos" => args.extend([key(rng), Bytes::from_static(b"1"), number(rng)]),
        "rename" | "renamenx" | "copy" | "lcs" => {
            args.extend([key(rng), key(rng)]);
            if name == "copy" && rng.chance(1, 2) {
                args.push(Bytes::from_static(b"replace"));
            }
        }
        "scan" => args.push(Bytes::from(alloc::format!("{}", rng.next_u64() >> 11))),
        "set" | "setnx" | "getset" | "append" => {
            args.push(key(rng));
            args.push(if rng.chance(1, 3) { number(rng) } else { word(rng) });
            if name == "set" && rng.chance(1, 3) {
                let option = ["NX", "XX", "GET", "KEEPTTL"][rng.below(4) as usize];
                args.push(Bytes::from_static(option.as_bytes()));
            }
        }
        "getrange" => args.extend([key(rng), number(rng), number(rng)]),
        "incrby" | "decrby" | "incrbyfloat" => args.extend([key(rng), number(rng)]),
        "del" | "exists" | "mget" | "unlink" | "touch" => {
            (0..=rng.below(3)).for_each(|_| args.push(key(rng)))
        }
        "mset" | "msetnx" => (0..=rng.below(3)).for_each(|_| args.extend([key(rng), word(rng)])),
        _ => args.push(key(rng)),
    }
    args
}

#[test]
fn the_digest_kept_is_the_digest_computed_and_a_second_node_agrees_to_the_byte() {
    let mut rng = Rng::new(21);
    let (mut one, mut two) = (Client::new(), Client::new());
    let mut views = Vec::new();
    for step in 0..20_000 {
        let args = random_command(&mut rng, 200);
        if step % 500 == 0 {
            // A view on one node only must change nothing.
            views.push(one.store.view());
        }
        let reply = one.run(&args);
        assert_one_value(&reply);
        assert_eq!(reply, two.run(&args));
        if step % 250 == 0 {
            assert_eq!(one.store.digest(), digest_from_scratch(&one.store));
            assert_eq!(one.store.digest(), two.store.digest());
        }
    }
    assert!(one.store.len() > 20);
    assert_eq!(one.store.digest(), digest_from_scratch(&one.store));
}

#[test]
fn the_digest_tells_states_apart() {
    let digest = |script: &[&str]| {
        let mut client = Client::new();
        script.iter().for_each(|line| drop(client.say(line)));
        client.store.digest()
    };
    let base = digest(&["set a 1", "set b 2"]);
    assert_eq!(base, digest(&["set a 1", "set b 2", "get a"]));
    assert_ne!(base, digest(&["set a 2", "set b 1"]));
    assert_ne!(base, digest(&["set a 1", "set b 3"]));
    assert_ne!(base, digest(&["set b 2", "set a 1"]), "versions are part of the state");
    assert_ne!(base, digest(&["set a 1"]));
    assert_eq!(digest(&[]), digest(&["set a 1", "del a"]));
    let other_seed = {
        let mut client = Client { store: KvStore::empty(SEED + 1), ..Client::new() };
        client.say("set a 1");
        client.store.digest()
    };
    assert_ne!(other_seed, digest(&["set a 1"]));
}

#[test]
fn the_digest_of_a_long_value_is_kept_too() {
    let mut client = Client::new();
    for len in [4_070, 20, 9_000, 1, 4_096, 0, 12_288, 3] {
        client.run(&[
            Bytes::from_static(b"append"),
            Bytes::from_static(b"k"),
            Bytes::from(alloc::vec![b'x'; len]),
        ]);
        assert_eq!(client.store.digest(), digest_from_scratch(&client.store), "{len}");
    }
    client.say("set k short");
    assert_eq!(client.store.digest(), digest_from_scratch(&client.store));
}

fn count_replies(mut replies: &[u8]) -> usize {
    let mut count = 0;
    while !replies.is_empty() {
        let length = reply_length(replies).expect("a reply").expect("a whole reply");
        assert_one_value(&replies[..length]);
        replies = &replies[length..];
        count += 1;
    }
    count
}

#[test]
fn arbitrary_bytes_get_one_reply_and_do_the_same_everywhere() {
    let mut rng = Rng::new(33);
    let (mut one, mut two) = (KvStore::empty(SEED), KvStore::empty(SEED));
    let writes = (1..=0x0d).chain(0x10..=0x16).chain([opcode::EXEC, opcode::PIPELINE]);
    let reads = (0x81..=0x89).chain(0x90..=0x96).chain([opcode::EXEC_READS, opcode::PIPELINE_READS]);
    let opcodes: Vec<u8> = writes.chain(reads).collect();
    let mut good = Vec::new();
    for step in 0..60_000_u64 {
        let mut bytes: Vec<u8> = match rng.below(3) {
            // Noise, noise behind a known opcode, and a good command with a few bytes changed.
            0 => (0..rng.below(40)).map(|_| rng.next_u64() as u8).collect(),
            1 => {
                let mut bytes = alloc::vec![opcodes[rng.below(opcodes.len() as u64) as usize]];
                bytes.extend((0..rng.below(20)).map(|_| rng.below(6) as u8));
                bytes
            }
            _ => match parse(&random_command(&mut rng, 20)) {
                Ok(Call::Write(packed) | Call::Read(packed)) => packed.to_vec(),
                Err(_) => Vec::new(),
            },
        };
        if rng.chance(1, 2) && !bytes.is_empty() {
            let at = rng.below(bytes.len() as u64) as usize;
            bytes[at] = rng.next_u64() as u8;
            bytes.truncate(1 + rng.below(bytes.len() as u64 * 2) as usize);
        }
        drop(crate::kv::words(&bytes));
        let context = Context::at(step, step);
        let (mut first, mut second, mut asked) = (Vec::new(), Vec::new(), Vec::new());
        let before = one.digest();
        one.query(context, &bytes, &mut asked);
        assert_eq!(one.digest(), before);
        one.apply(context, &bytes, &mut first);
        two.apply(context, &bytes, &mut second);
        let reads = match Read::decode(&bytes) {
            Ok(Read::Pipeline { commands }) => commands.len(),
            _ => 1,
        };
        let writes = match Write::decode(&bytes) {
            Ok(Write::Pipeline { commands }) => commands.len(),
            _ => reads,
        };
        assert_eq!((count_replies(&first), count_replies(&asked)), (writes, reads));
        assert_eq!((&first, one.digest()), (&second, two.digest()));
        good.push(!first.starts_with(b"-"));
    }
    assert_eq!(one.digest(), digest_from_scratch(&one));
    assert!(good.iter().filter(|&&good| good).count() > 10_000);
}

#[test]
fn a_command_that_breaks_off_changes_nothing() {
    let mut client = Client::new();
    let whole = Packer::new(&mut BytesMut::new(), opcode::MSET, 0)
        .bytes(b"a")
        .bytes(b"1")
        .bytes(b"b")
        .bytes(b"2")
        .finish();
    for cut in 0..whole.len() {
        let mut out = Vec::new();
        client.store.apply(client.context(), &whole[..cut], &mut out);
        assert_one_value(&out);
        // A cut between two pairs leaves a shorter command, and nothing else runs.
        assert_eq!(client.store.len(), usize::from(out.starts_with(b"+")));
        client.say("del a b");
    }
}

#[test]
fn limits_hold_at_the_byte() {
    let mut client = Client::new();
    let of = |len: usize| Bytes::from(alloc::vec![b'x'; len]);
    let set = Bytes::from_static(b"set");
    assert_eq!(client.run(&[set.clone(), of(MAX_KEY), of(MAX_VALUE)]), b"+OK\r\n");
    let long_key = b"-ERR key exceeds maximum allowed size (65536 bytes)\r\n";
    let long_value = b"-ERR string exceeds maximum allowed size (proto-max-bulk-len)\r\n";
    assert_eq!(client.run(&[set.clone(), of(MAX_KEY + 1), of(1)]), long_key);
    assert_eq!(client.run(&[set.clone(), of(1), of(MAX_VALUE + 1)]), long_value);
    for name in ["get", "strlen", "getdel", "del", "exists", "mget", "incr"] {
        assert_eq!(client.run(&[Bytes::from(name), of(MAX_KEY + 1)]), long_key, "{name}");
    }
    assert_eq!(client.run(&[Bytes::from("mset"), of(1), of(1), of(2), of(MAX_VALUE + 1)]), long_value);
    assert_eq!(client.say("exists x"), ":0|");
    let append = Bytes::from_static(b"append");
    assert_eq!(client.run(&[append.clone(), of(MAX_KEY), of(1)]), long_value);
    assert_eq!(client.run(&[append.clone(), of(1), of(MAX_VALUE - 1)]), b":8388607\r\n");
    assert_eq!(client.run(&[append.clone(), of(1), of(1)]), b":8388608\r\n");
    let digest = client.store.digest();
    assert_eq!(client.run(&[append.clone(), of(1), of(1)]), long_value);
    assert_eq!(client.run(&[append, of(1), of(0)]), b":8388608\r\n");
    assert_eq!(client.say("strlen x"), ":8388608|");
    assert_ne!(client.store.digest(), digest, "an empty APPEND is a write, as in Redis");
    let three = client.run(&[Bytes::from("mget"), of(1), of(MAX_KEY), of(1)]);
    assert_eq!(three, b"-ERR reply exceeds maximum allowed size\r\n");
}

/// Scans to the end and returns how often each key came; `between` runs after each call.
fn scan_all(
    client: &mut Client,
    options: &str,
    mut between: impl FnMut(&mut Client),
) -> BTreeMap<String, usize> {
    let (mut found, mut cursor) = (BTreeMap::new(), String::from("0"));
    for _ in 0..100_000 {
        let reply = client.say(&alloc::format!("scan {cursor} {options}"));
        let parts: Vec<&str> = reply.split('|').collect();
        cursor = String::from(parts[2]);
        for key in parts[4..].iter().skip(1).step_by(2) {
            *found.entry(String::from(*key)).or_default() += 1;
        }
        if cursor == "0" {
            return found;
        }
        between(client);
    }
    panic!("the scan does not end");
}

#[test]
fn a_scan_returns_each_key_that_stays_exactly_once() {
    for count in [1, 3, 10, 1_000_000] {
        let mut client = Client::new();
        for n in 0..2_000 {
            client.say(&alloc::format!("set stays:{n} v"));
        }
        let mut n = 0;
        let options = alloc::format!("count {count}");
        let found = scan_all(&mut client, &options, |client| {
            for _ in 0..3 {
                n += 1;
                client.say(&alloc::format!("set comes:{n} v"));
                client.say(&alloc::format!("del comes:{}", n / 2));
            }
        });
        assert_eq!(found.keys().filter(|key| key.starts_with("stays")).count(), 2_000);
        assert!(found.values().all(|&times| times == 1));
    }
}

#[test]
fn a_scan_goes_on_after_a_snapshot_and_on_another_node() {
    use crate::replica::Restorer;
    let mut client = Client::new();
    for n in 0..500 {
        client.say(&alloc::format!("set k{n} v"));
    }
    let found = scan_all(&mut client, "count 7", |client| {
        let mut restorer = KvStore::restorer();
        restorer.push(&read_all(client.store.view(), 1_000)).unwrap();
        client.store = restorer.finish().unwrap();
    });
    assert_eq!(found.len(), 500);
    assert!(found.values().all(|&times| times == 1));
}

#[test]
fn keys_whose_hashes_collide_are_scanned_and_kept() {
    for mask in [0, 0xf << 60, 1 << 63, 7] {
        let mut keyed = Keyed::new(SEED);
        keyed.mask = mask;
        let mut client = Client { store: KvStore { keyed, ..KvStore::empty(SEED) }, ..Client::new() };
        for n in 0..300 {
            client.say(&alloc::format!("set k{n} {n}"));
        }
        assert!(
            (0..300).all(|n| client
                .say(&alloc::format!("getrange k{n} 0 -1"))
                .ends_with(&alloc::format!("|{n}|")))
        );
        let found = scan_all(&mut client, "count 1", |_| {});
        assert_eq!((found.len(), found.values().sum::<usize>()), (300, 300));
        assert_eq!(client.store.digest(), digest_from_scratch(&client.store));
        for n in 0..300 {
            assert_eq!(client.say(&alloc::format!("del k{n}")), ":1|");
        }
        assert_eq!((client.store.len(), client.store.digest()), (0, 0));
    }
}

#[test]
fn a_cursor_survives_the_ends_of_the_hashes() {
    let mut client = Client::new();
    client.say("set a 1");
    // Below, at and above the greatest cursor, and what a floating-point number can hold.
    for cursor in [(1_u64 << 53) - 1, 1 << 53, u64::MAX - 1, u64::MAX] {
        assert_eq!(client.say(&alloc::format!("scan {cursor}")), "*2|$1|0|*0|", "{cursor}");
    }
    for n in 0..1_000 {
        client.say(&alloc::format!("set k{n} 1"));
    }
    for _ in 0..50 {
        let reply = client.say("scan 0 count 5");
        let cursor: u64 = reply.split('|').nth(2).unwrap().parse().unwrap();
        assert!(cursor > 0 && cursor < 1 << 53);
    }
}

#[test]
fn a_scan_is_bounded_in_keys_bytes_and_steps() {
    let mut client = Client::new();
    for n in 0..12_000 {
        client.say(&alloc::format!("set k{n} v"));
    }
    let reply = client.say("scan 0 count 9223372036854775807");
    let keys = reply.split('|').nth(3).unwrap();
    assert!(keys == "*10000", "{keys}");

    let mut client = Client::new();
    for n in 0..40_u8 {
        let key = Bytes::from(alloc::vec![b'a' + n; MAX_KEY]);
        client.run(&[Bytes::from("set"), key, Bytes::new()]);
    }
    let reply = client.run(&words("scan 0 count 40"));
    assert!(reply.len() > 1 << 20 && reply.len() < (1 << 20) + 2 * MAX_KEY);

    // A key that needs few steps, then one that needs too many: the scan stops before it, and then says so.
    let mut client = Client::new();
    client.run(&[Bytes::from("set"), Bytes::from(alloc::vec![b'a'; MAX_KEY]), Bytes::new()]);
    for n in 0..100 {
        client.say(&alloc::format!("set k{n} v"));
    }
    let pattern = alloc::format!("*{}b", "a".repeat(200));
    let reply = client.say(&alloc::format!("scan 0 count 1000 match {pattern}"));
    assert!(reply.starts_with("*2|") && !reply.starts_with("*2|$1|0|"), "{reply}");
    let cursor = String::from(reply.split('|').nth(2).unwrap());
    let reply = client.say(&alloc::format!("scan {cursor} count 1000 match {pattern}"));
    assert_eq!(reply, "-ERR MATCH pattern is too expensive for a key|");
}

#[test]
fn keys_of_one_cursor_come_together_or_not_at_all() {
    let mut client = Client::new();
    client.store.keyed.mask = 1 << 63;
    let half = |client: &Client, key: &[u8]| client.store.keyed.place(key) >> 63;
    // A key that fits and one that is too expensive, in this order and with one hash; and others before them.
    let expensive = alloc::vec![b'c'; MAX_KEY];
    let hard = half(&client, &expensive);
    let fits: Vec<u8> = (b'A'..=b'Z')
        .map(|first| [&[first][..], &[b'c'; 200], b"d"].concat())
        .find(|key| half(&client, key) == hard)
        .unwrap();
    let others =
        (0..100).map(|n| alloc::format!("k{n}").into_bytes()).filter(|key| half(&client, key) < hard);
    let others: Vec<_> = others.collect();
    assert_eq!((hard, others.is_empty()), (1, false), "another seed is needed");
    for key in others.into_iter().chain([fits, expensive]) {
        client.run(&[Bytes::from("set"), Bytes::from(key), Bytes::new()]);
    }
    let pattern = alloc::format!("*{}d", "c".repeat(200));
    let reply = client.say(&alloc::format!("scan 0 count 1000 match {pattern}"));
    assert_eq!(reply, alloc::format!("*2|$16|{}|*0|", 1_u64 << 52));
    let reply = client.say(&alloc::format!("scan {} count 1000 match {pattern}", 1_u64 << 52));
    assert_eq!(reply, "-ERR MATCH pattern is too expensive for a key|");
}

#[test]
fn a_deadline_stays_and_goes_as_in_redis() {
    let cases = [
        ("set k 2 keepttl", 9_999_999),
        ("set k 2 keepttl get", 9_999_999),
        ("incr k", 9_999_999),
        ("append k 0", 9_999_999),
        ("append k ''", 9_999_999),
        ("set k 2 nx", 9_999_999),
        ("setnx k 2", 9_999_999),
        ("set k 2", 0),
        ("set k 2 xx", 0),
        ("getset k 2", 0),
        ("mset a 1 k 2", 0),
        ("setrange k 0 2", 9_999_999),
        ("setrange k 9 2", 9_999_999),
        ("setrange k 0 ''", 9_999_999),
        ("setbit k 1 0", 9_999_999),
        ("setbit k 100 0", 9_999_999),
        ("incrbyfloat k 1", 9_999_999),
        ("copy other k replace", 8_888_888),
        ("copy k other replace", 9_999_999),
        ("msetnx k 1", 9_999_999),
    ];
    for (line, deadline) in cases {
        let mut client = Client::new();
        client.store.put(Meta { version: 0, deadline: 9_999_999 }, b"k", b"1");
        client.store.put(Meta { version: 0, deadline: 8_888_888 }, b"other", b"1");
        client.say(line);
        assert_eq!(client.store.record(b"k").unwrap().meta().deadline, deadline, "{line}");
        assert_eq!(client.store.digest(), digest_from_scratch(&client.store));
    }
}

#[test]
fn every_record_has_its_entry_as_version() {
    let mut client = Client::new();
    let mut last = 0;
    for line in [
        "set k 1",
        "incr k",
        "append k 0",
        "set k 5 keepttl",
        "getset k 6",
        "mset a 1 k 2",
        "incrby k 3",
        "setrange k 0 4",
        "setrange k 5 4",
        "setbit k 0 1",
        "setbit k 900 0",
        "set k 1",
        "incrbyfloat k 1",
        "copy a k replace",
        "rename a k",
    ] {
        client.say(line);
        let version = client.store.record(b"k").unwrap().meta().version;
        assert_eq!(version, client.index, "{line}");
        assert!(version > last);
        last = version;
    }
    for line in [
        "set k 9 nx",
        "setnx k 9",
        "get k",
        "setrange k 0 ''",
        "setbit k 0 0",
        "rename k k",
        "copy b k replace",
        "renamenx k k",
        "msetnx b 1 k 1",
    ] {
        client.say(line);
        assert_eq!(client.store.record(b"k").unwrap().meta().version, last, "{line}");
    }
}
