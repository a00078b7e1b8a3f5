//! Keys that die: the index of deadlines, pieces, snapshots, and what reads see.

use super::*;
use crate::kv::deadlines::Deadlines;
use crate::kv::store::Keyed;
use crate::replica::Restorer;
use crate::rng::Rng;

/// The deadlines, from nothing but the records.
fn deadlines_from_scratch(store: &KvStore) -> Deadlines {
    let records = store.tree.range(0).map(|(place, record)| (record.meta().deadline, place));
    Deadlines::of(records.filter(|(deadline, _)| *deadline != 0).collect())
}

fn random_command(rng: &mut Rng) -> String {
    let key = |rng: &mut Rng| alloc::format!("k{}", rng.below(40));
    let (one, other, ms) = (key(rng), key(rng), 1 + rng.below(300));
    match rng.below(14) {
        0 => alloc::format!("set {one} v"),
        1 | 2 => alloc::format!("set {one} v px {ms}"),
        3 => alloc::format!("set {one} w keepttl"),
        4 => alloc::format!("pexpire {one} {ms}"),
        5 => alloc::format!("persist {one}"),
        6 => alloc::format!("del {one} {other}"),
        7 => alloc::format!("append {one} x"),
        8 => alloc::format!("getex {one} px {ms}"),
        9 => alloc::format!("msetex 2 {one} a {other} b px {ms}"),
        10 => alloc::format!("getdel {one}"),
        11 => alloc::format!("incr n:{one}"),
        12 => alloc::format!("delex {one} ifne w"),
        _ => alloc::format!("pexpireat {one} {}", 999_000 + ms * 10),
    }
}

#[test]
fn the_index_of_deadlines_is_that_of_the_records_whatever_happens() {
    // Hashes of few bits: keys share places.
    for mask in [u64::MAX, 7, 0] {
        let mut keyed = Keyed::new(SEED);
        keyed.mask = mask;
        let mut client = Client { store: KvStore { keyed, ..KvStore::empty(SEED) }, ..Client::new() };
        let mut rng = Rng::new(41);
        for step in 0..6_000 {
            client.say(&random_command(&mut rng));
            if rng.chance(1, 4) {
                client.tick(rng.below(40), rng.below(4) as usize);
            }
            if step % 20 == 0 {
                assert_eq!(client.store.deadlines, deadlines_from_scratch(&client.store));
            }
        }
        client.tick(100_000_000, 1_000);
        assert_eq!(client.store.next_deadline(), None);
        assert_eq!(client.store.deadlines, deadlines_from_scratch(&client.store));
        assert!(client.store.len() > 5, "keys without a deadline stay");
    }
}

#[test]
fn dead_keys_are_taken_out_in_pieces_and_are_dead_before_that() {
    let mut client = Client::new();
    for n in 0..100 {
        client.say(&alloc::format!("set k{n} v px {}", 10 + n % 3));
    }
    client.say("set stays v");
    assert_eq!(client.store.next_deadline(), Some(1_000_010));
    client.tick(20, 30);
    assert_eq!(client.store.len(), 71);
    assert_eq!(client.say("exists k0 k1 k2 k97 k98 k99 stays"), ":1|");
    assert_eq!(client.say("scan 0 count 1000"), "*2|$1|0|*1|$5|stays|");
    client.tick(0, 1_000);
    assert_eq!((client.store.len(), client.store.next_deadline()), (1, None));
    assert_eq!(client.say("dbsize"), ":1|");
}

#[test]
fn a_key_that_is_written_after_its_death_is_a_new_one() {
    for write in ["setnx k w", "set k w nx", "append k w", "msetex 1 k w nx", "set k w ifne v"] {
        let mut client = Client::new();
        client.say("set k v px 10");
        client.tick(10, 0);
        assert!(["+OK|", ":1|"].contains(&&client.say(write)[..]), "{write}");
        assert_eq!(client.say("get k"), "$1|w|", "{write}");
        assert_eq!(client.say("ttl k"), ":-1|", "{write}");
        client.tick(1_000, 100);
        assert_eq!(client.say("get k"), "$1|w|", "its old deadline is nobody's: {write}");
    }
}

#[test]
fn deadlines_survive_a_snapshot() {
    let mut client = Client::new();
    for n in 0..200 {
        client.say(&alloc::format!("set k{n} v px {}", 1 + n));
    }
    client.tick(50, 7);
    let mut restorer = KvStore::restorer();
    restorer.push(&read_all(client.store.view(), 100)).unwrap();
    let mut store = restorer.finish().unwrap();
    assert_eq!(store.deadlines, client.store.deadlines);
    assert_eq!(store.digest(), client.store.digest());
    // A replica tells it the time.
    store.expire(client.context(), 0);
    let mut again = Client { store, ..Client { store: KvStore::empty(0), ..client } };
    assert_eq!(again.say("exists k48 k49 k50"), ":1|");
    again.tick(1_000, 1_000);
    assert_eq!(again.store.len(), 0);
}

#[test]
fn how_long_is_told_by_the_asked_node_and_whether_by_the_log() {
    let mut client = Client::new();
    client.say("set k v px 1000");
    let ask = |line: &str, now_ms: u64| {
        let Ok(Call::Read(packed)) = parse(&words(line)) else { panic!("it is a read") };
        let mut out = Vec::new();
        client.store.query(Context { now_ms, ..client.context() }, &packed, &mut out);
        String::from_utf8(out).unwrap()
    };
    assert_eq!(ask("pttl k", 1_000_300), ":700\r\n");
    assert_eq!(ask("pttl k", 1_005_000), ":0\r\n", "by the log it lives");
    assert_eq!(ask("get k", 1_005_000), "$1\r\nv\r\n");
    assert_eq!(ask("pexpiretime k", 1_005_000), ":1001000\r\n");
}
