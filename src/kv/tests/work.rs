//! How much work commands are: what a step counts, and what a transaction may not ask for.

use super::*;
use crate::kv::{CommandError, MAX_KEYS, transaction};

/// The most that a transaction may be.
const MOST: u64 = 50_000_000;

fn calls<'a>(lines: impl IntoIterator<Item = &'a str>) -> Vec<Call> {
    lines.into_iter().map(|line| parse(&words(line)).unwrap()).collect()
}

fn exec(client: &mut Client, calls: &[Call]) -> String {
    let mut out = Vec::new();
    match transaction(&[], calls) {
        Call::Write(packed) => {
            client.index += 1;
            client.store.apply(client.context(), &packed, &mut out);
        }
        Call::Read(packed) => client.store.query(client.context(), &packed, &mut out),
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn work(client: &Client, line: &str) -> u64 {
    let (Call::Write(packed) | Call::Read(packed)) = parse(&words(line)).unwrap();
    client.store.work(&packed)
}

const REFUSED: &str =
    "-ERR the transaction is too much work for one, and nothing of it was done: divide it\r\n";

#[test]
fn a_transaction_that_is_too_much_does_nothing_whether_it_writes_or_reads() {
    let mut client = Client::new();
    client.say("setrange long 8388607 x");
    let digest = client.store.digest();
    let copies: Vec<String> = (0..40).map(|n| alloc::format!("copy long copy{n}")).collect();
    let copies = calls(core::iter::once("set small v").chain(copies.iter().map(String::as_str)));
    assert_eq!(exec(&mut client, &copies), REFUSED);
    assert_eq!(client.store.digest(), digest, "not the first of them, either");
    assert!(exec(&mut client, &copies[..5]).starts_with("*5\r\n+OK\r\n:1\r\n"));
    let reads = calls(core::iter::repeat_n("bitcount long", 40));
    assert_eq!(exec(&mut client, &reads), REFUSED);
    assert!(exec(&mut client, &reads[..5]).starts_with("*5\r\n:"));
    // The same keys, when they are short, are nothing.
    client.say("set long short");
    assert!(exec(&mut client, &copies).starts_with("*41\r\n"));
}

/// What the page on compatibility gives as examples.
#[test]
fn the_limit_of_a_transaction_is_where_it_is_said_to_be() {
    let mut client = Client::new();
    let value = "x".repeat(1_000);
    client.say(&alloc::format!("mset a {value} b {value}"));
    client.say("setrange long 8388607 x");
    for (line, refused) in [("lcs a b len", 25), ("copy long other replace", 6)] {
        let all = calls(core::iter::repeat_n(line, refused));
        assert_eq!(exec(&mut client, &all), REFUSED, "{line}");
        assert!(exec(&mut client, &all[1..]).starts_with('*'), "{line}");
    }
}

#[test]
fn what_a_transaction_makes_long_itself_counts_for_what_follows() {
    let makers: [&[&str]; 4] = [
        &["setrange long 8388607 x"],
        &["setbit long 67108863 1"],
        &["setrange other 8388607 x", "rename other long"],
        &["setrange other 8388607 x", "copy other another", "copy another long"],
    ];
    for maker in makers {
        let mut client = Client::new();
        let all = maker.iter().copied().chain(core::iter::repeat_n("bitcount long", 40));
        assert_eq!(exec(&mut client, &calls(all)), REFUSED, "{maker:?}");
        assert!(client.store.is_empty());
    }
    let value = "x".repeat(1 << 20);
    let appends: Vec<String> = (0..9).map(|_| alloc::format!("append long {value}")).collect();
    let all = appends.iter().map(String::as_str).chain(core::iter::repeat_n("bitcount long", 40));
    assert_eq!(exec(&mut Client::new(), &calls(all)), REFUSED);
}

#[test]
fn numbers_and_keys_that_a_transaction_makes_count_for_what_follows() {
    // Counterexample: both ran for minutes, and nobody was served.
    let numbers = ["incrbyfloat a 1e1400", "incrbyfloat b 1e1400"];
    let all = numbers.into_iter().chain(core::iter::repeat_n("lcs a b len", 1_000));
    assert_eq!(exec(&mut Client::new(), &calls(all)), REFUSED);
    let pairs: String = (0..15_000).map(|n| alloc::format!(" key{n} v")).collect();
    let mset = alloc::format!("mset{pairs}");
    let all = core::iter::once(mset.as_str()).chain(core::iter::repeat_n("keys none", 1_000));
    assert_eq!(exec(&mut Client::new(), &calls(all)), REFUSED);
    let counters: Vec<String> = (0..10_000).map(|n| alloc::format!("incr key{n}")).collect();
    let all = counters.iter().map(String::as_str).chain(core::iter::repeat_n("keys none", 1_000));
    assert_eq!(exec(&mut Client::new(), &calls(all)), REFUSED);
}

#[test]
fn as_many_ordinary_commands_as_a_transaction_may_have_are_not_too_much() {
    let mut client = Client::new();
    let lines = ["set a b", "get a", "incr n", "append s xyz", "del gone", "exists a", "expire a 100"];
    let all = calls(lines.into_iter().cycle().take(16_384));
    assert!(exec(&mut client, &all).starts_with("*16384\r\n"));
    client.say(&alloc::format!("set a {}", "x".repeat(8_000)));
    let reads = calls(core::iter::repeat_n("get a", 1_000));
    assert!(exec(&mut client, &reads).starts_with("*1000\r\n$8000\r\n"));
}

#[test]
fn work_is_counted_by_what_a_command_looks_at() {
    let mut client = Client::new();
    assert!(work(&client, "lcs a b") < 10_000 && work(&client, "bitcount a") < 10_000);
    let value = "x".repeat(1_000);
    client.say(&alloc::format!("mset a {value} b {value}"));
    assert!((1_000_000..MOST).contains(&work(&client, "lcs a b")));
    client.say("setrange long 8388607 x");
    for line in ["bitcount long", "bitpos long 1", "copy long c", "setbit long 1 1", "getex long ex 5"] {
        assert!((1_000_000..MOST).contains(&work(&client, line)), "{line}");
    }
    assert!((1_000_000..MOST).contains(&work(&client, "scan 0 count 1000000")));
    for n in 0..2_000 {
        client.say(&alloc::format!("set k{n} v"));
    }
    assert!((200_000..2_000_000).contains(&work(&client, "keys *")));
    // What commands of every day are is known without a look at the data.
    for line in ["del long", "expire long 9", "persist long"] {
        assert!((1_000_000..MOST).contains(&work(&client, line)), "{line}");
    }
    for line in
        ["get long", "set long v", "incr long", "mget long long", "del k1 k2", "ttl long", "expire k1 9"]
    {
        assert!((1..5_000).contains(&work(&client, line)), "{line}");
    }
    assert_eq!(client.store.work(b"\xee"), 0, "what cannot be read is refused at once");
    assert!(work(&client, "randomkey") < 10_000);
    client.say("flushall");
    client.say("setex k 1000 v");
    assert!(work(&client, "randomkey") > 100_000, "it may have to look for one that lives");
}

#[test]
fn a_command_has_so_many_keys_and_no_more() {
    for (name, words_of_key) in [("del", 1), ("exists", 1), ("mget", 1), ("mset", 2), ("msetnx", 2)] {
        let line = |keys: usize| words(&alloc::format!("{name}{}", " k".repeat(keys * words_of_key)));
        assert!(parse(&line(MAX_KEYS)).is_ok());
        assert_eq!(parse(&line(MAX_KEYS + 1)), Err(CommandError::TooManyKeys), "{name}");
    }
    let many = MAX_KEYS + 1;
    let line = alloc::format!("msetex {many}{}", " k v".repeat(many));
    let error = parse(&words(&line)).unwrap_err();
    assert_eq!(alloc::format!("{error}"), "ERR too many keys: at most 16384 in one command");
}
