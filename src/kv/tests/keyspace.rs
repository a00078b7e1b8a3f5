//! Commands about many keys: bounds, choices, and what FLUSHALL leaves behind.

use super::*;
use crate::kv::record::{ALL, Meta};
use crate::kv::{MAX_LISTED_KEYS, MAX_VALUE};
use crate::rng::Rng;
use alloc::collections::{BTreeMap, BTreeSet};

fn random_key(store: &KvStore, draw: u64) -> Vec<u8> {
    let call = parse(&words("randomkey")).unwrap().drawing(|| draw);
    let Call::Read(query) = call else { panic!("RANDOMKEY is a read") };
    let mut out = Vec::new();
    store.query(Context::at(1, 1), &query, &mut out);
    out
}

#[test]
fn a_random_key_is_any_and_the_same_for_the_same_number() {
    for keys in [1, 2, 50, 600] {
        let mut client = Client::new();
        (0..keys).for_each(|n| drop(client.say(&alloc::format!("set k{n} v"))));
        let mut seen: BTreeMap<Vec<u8>, u32> = BTreeMap::new();
        for draw in 0..keys * 30 {
            let key = random_key(&client.store, draw);
            assert_eq!(key, random_key(&client.store, draw));
            *seen.entry(key).or_default() += 1;
        }
        // With 30 draws a key even a chance of a third of the fair one leaves few out.
        assert!(seen.len() as u64 >= keys - keys / 100, "{} of {keys}", seen.len());
        assert!(seen.values().all(|&times| times < 200));
    }
    assert_eq!(random_key(&Client::new().store, 7), b"_\r\n");
}

#[test]
fn only_a_random_key_needs_a_number() {
    for line in ["get k", "dbsize", "set k v", "keys *"] {
        let call = parse(&words(line)).unwrap();
        assert_eq!(call.clone().drawing(|| 7), call);
    }
}

#[test]
fn keys_are_listed_whole_or_not_at_all() {
    let mut client = Client::new();
    let meta = Meta { version: 1, deadline: 0 };
    for n in 0..MAX_LISTED_KEYS {
        client.store.put(meta, alloc::format!("key:{n}").as_bytes(), b"v");
    }
    let all = client.say("keys *");
    assert!(all.starts_with("*30000|"));
    let distinct: BTreeSet<&str> = all.split('|').filter(|part| part.starts_with("key:")).collect();
    assert_eq!(distinct.len(), MAX_LISTED_KEYS);
    assert_eq!(client.say("keys key:29999"), "*1|$9|key:29999|");
    let expensive = alloc::format!("keys *[{}]", "x".repeat(200));
    assert_eq!(client.say(&expensive), "-ERR KEYS pattern is too expensive: use SCAN|");
    client.store.put(meta, b"one more", b"v");
    let text = "-ERR KEYS looks at no more than 30000 keys, and there are 30001: use SCAN|";
    assert_eq!(client.say("keys nothing"), text);
}

#[test]
fn keys_reply_is_bounded() {
    let mut client = Client::new();
    let mut last = Vec::new();
    for n in 0..256_u16 {
        let mut key = alloc::vec![b'k'; crate::kv::MAX_KEY];
        key[..2].copy_from_slice(&n.to_le_bytes());
        last.clone_from(&key);
        client.store.put(Meta { version: 1, deadline: 0 }, &key, b"v");
    }
    assert_eq!(client.say("keys *"), "-ERR reply exceeds maximum allowed size|");
    client.store.take(&last).expect("it is there");
    let reply = client.run(&words("keys *"));
    assert!(reply.starts_with(b"*255\r\n") && reply.len() <= crate::kv::MAX_REPLY + 6);
}

#[test]
fn a_flushed_tree_is_handed_over_whole_and_once() {
    let mut client = Client::new();
    assert!(client.store.take_garbage().is_none());
    client.say("flushall");
    assert!(client.store.take_garbage().is_none(), "nothing was there");
    for _ in 0..2 {
        client.say("mset a 1 b 2");
        client.say("flushall");
    }
    assert_eq!((client.store.len(), client.store.digest()), (0, 0));
    let garbage = client.store.take_garbage().expect("two trees");
    let trees =
        garbage.downcast::<Vec<(crate::kv::tree::Tree, crate::kv::deadlines::Deadlines)>>().expect("trees");
    assert_eq!(trees.iter().map(|(tree, _)| tree.len()).collect::<Vec<_>>(), [2, 2]);
    assert!(client.store.take_garbage().is_none());
    let before = read_all(client.store.view(), 100);
    assert_eq!(before, read_all(Client::new().store.view(), 100), "as if there had never been a key");
}

#[test]
fn a_view_outlives_what_is_flushed() {
    let mut client = Client::new();
    client.say("mset a 1 b 2");
    let (view, whole) = (client.store.view(), read_all(client.store.view(), 10));
    client.say("flushall");
    drop(client.store.take_garbage());
    assert_eq!(read_all(view, 10), whole);
}

#[test]
fn what_is_renamed_and_copied_keeps_its_deadline() {
    for (line, from) in [("rename k to", None), ("renamenx k to", None), ("copy k to", Some(9_999_999))] {
        let mut client = Client::new();
        client.store.put(Meta { version: 0, deadline: 9_999_999 }, b"k", b"1");
        client.say(line);
        let deadline = |key: &[u8]| client.store.record(key).map(|record| record.meta().deadline);
        assert_eq!((deadline(b"k"), deadline(b"to")), (from, Some(9_999_999)), "{line}");
    }
}

#[test]
fn a_patched_value_is_what_an_array_would_be_and_its_digest_is_kept() {
    let mut rng = Rng::new(17);
    for round in 0..40 {
        let mut client = Client::new();
        let mut expected: Vec<u8> = Vec::new();
        let mut views = Vec::new();
        for _ in 0..40 {
            // Around the ends of the digest's blocks, too.
            let at = match rng.below(3) {
                0 => rng.below(6_000),
                1 => (rng.below(5) * 1024).saturating_sub(rng.below(40)),
                _ => expected.len() as u64,
            } as usize;
            if rng.chance(1, 4) {
                views.push(client.store.view());
            }
            if rng.chance(1, 2) {
                let part: Vec<u8> = (0..1 + rng.below(1_500)).map(|_| rng.next_u64() as u8).collect();
                expected.resize(expected.len().max(at + part.len()), 0);
                expected[at..at + part.len()].copy_from_slice(&part);
                let args =
                    ["setrange", "k", &alloc::format!("{at}")].map(|word| Bytes::from(String::from(word)));
                let args: Vec<_> = args.into_iter().chain([Bytes::from(part)]).collect();
                assert_eq!(client.run(&args), alloc::format!(":{}\r\n", expected.len()).as_bytes());
            } else {
                expected.resize(expected.len().max(at + 1), 0);
                let (bit, mask) = (rng.below(2) as u8, 1 << rng.below(8));
                let was = u8::from(expected[at] & mask != 0);
                expected[at] = expected[at] & !mask | (bit * mask);
                let offset = 8 * at as u32 + 7 - mask.trailing_zeros();
                assert_eq!(client.say(&alloc::format!("setbit k {offset} {bit}")), alloc::format!(":{was}|"));
            }
            let record = client.store.record(b"k").unwrap();
            assert_eq!(record.value(), expected, "{round}");
            let place = client.store.keyed.place(b"k");
            assert_eq!(client.store.digest(), client.store.keyed.digest(place, record, ALL), "{round}");
        }
    }
}

#[test]
fn a_value_is_made_no_longer_than_its_limit() {
    let mut client = Client::new();
    let longest = MAX_VALUE - 1;
    assert_eq!(client.say(&alloc::format!("setrange k {longest} x")), ":8388608|");
    let digest = client.store.digest();
    for line in
        ["setrange k 8388608 x", "setrange k 8388607 xy", "setbit k 67108864 1", "setrange k 4294967295 x"]
    {
        assert!(client.say(line).starts_with("-ERR "), "{line}");
    }
    assert_eq!(client.store.digest(), digest);
    assert_eq!(client.say("setbit k 67108863 1"), ":0|");
    // A packed command that no parser wrote.
    for offset in [67_108_864_u64, u64::MAX] {
        use crate::kv::packed::{Packer, opcode};
        let mut out = Vec::new();
        let packed =
            Packer::new(&mut BytesMut::new(), opcode::SETBIT, 0).bytes(b"k").varint(offset).byte(1).finish();
        client.store.apply(client.context(), &packed, &mut out);
        assert_eq!(out, b"-ERR malformed arguments of the opcode 0x11\r\n");
        let mut out = Vec::new();
        let packed = Packer::new(&mut BytesMut::new(), opcode::SETRANGE, 0)
            .bytes(b"k")
            .varint(offset)
            .bytes(b"x")
            .finish();
        client.store.apply(client.context(), &packed, &mut out);
        assert_eq!(out, b"-ERR string exceeds maximum allowed size (proto-max-bulk-len)\r\n");
    }
}

#[test]
fn the_arguments_of_bit_commands_are_checked_whether_the_key_is_there_or_not() {
    // Redis 7.0 answers as for any absent key; it does this from 7.2 on.
    let mut client = Client::new();
    assert_eq!(client.say("bitcount none a b"), "-ERR value is not an integer or out of range|");
    assert_eq!(client.say("bitcount none 1"), "-ERR syntax error|");
    assert_eq!(client.say("bitcount none -1 -2 foo"), "-ERR syntax error|");
    assert_eq!(client.say("bitpos none 1 a"), "-ERR value is not an integer or out of range|");
    assert_eq!(client.say("bitpos none 1 0 0 foo"), "-ERR syntax error|");
}
