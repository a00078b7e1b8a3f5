//! Deadlines, versions and transactions, each at its place in a log.

use super::*;

/// Says lines to an empty model, each at an index of its own: `+500` lets the clock go on, `set x 1 => +OK|` is answered so
/// (by Redis 7.0, or by its documentation where it is newer).
fn check(script: &str) {
    let (mut model, mut at) = (KvModel::default(), Context::at(0, 1_000_000));
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
        if let Some(ms) = line.strip_prefix('+') {
            at.unix_ms += ms.parse::<u64>().expect("a number");
            continue;
        }
        at.index += 1;
        let (command, reply) = line.split_once(" => ").expect("a command and its reply");
        let op = words(command).into();
        let expected = model.step(at, &op);
        assert!(KvModel::admits(&op, &expected, &value(reply)), "{command}: {expected:?}, not {reply}");
    }
}

#[test]
fn a_key_is_dead_from_its_deadline_on() {
    check(
        "set k v px 100 => +OK|
         +99
         get k => $1|v|
         pttl k => :1|
         +1
         get k => _|
         pttl k => :-2|
         persist k => :0|
         set k w xx => _|
         set k w nx => +OK|
         pttl k => :-1|
         expire k 10 => :1|
         append k w => :2|
         +9999
         get k => $2|ww|
         expire k 10 gt => :1|
         ttl k => :10|
         pexpire k 5 gt => :0|
         pexpire k 5 lt => :1|
         rename k l => +OK|
         copy l m => :1|
         pttl m => :5|
         set l x keepttl => +OK|
         set m x => +OK|
         +5
         exists l m => :1|
         randomkey => $1|m|
         dbsize => :1|
         dbsize => :2|",
    );
}

#[test]
fn a_deadline_that_has_passed_takes_the_key_away() {
    check(
        "set k v pxat 1 => +OK|
         get k => _|
         set k v => +OK|
         pexpireat k 1 => :1|
         exists k => :0|
         set k v => +OK|
         getex k exat 1 => $1|v|
         exists k => :0|
         expire k 1 => :0|
         setex k 0 v => -ERR invalid expire time in 'setex' command|
         pexpire k 9223372036854775807 => -ERR invalid expire time in 'pexpire' command|",
    );
}

#[test]
fn what_is_newer_than_the_reference_does_what_is_documented() {
    check(
        "set k v ifeq v => _|
         exists k => :0|
         set k v ifne v => +OK|
         set k w ifeq v get => $1|v|
         set k x ifeq v get => $1|w|
         set k x ifne w => _|
         set k x ifeq w nx => -ERR syntax error|
         delex k ifeq x => :0|
         delex k ifne w => :0|
         delex k ifdeq w => -ERR syntax error|
         delex k ifeq w => :1|
         delex k ifne w => :0|
         msetex 2 a 1 b 2 px 10 => :1|
         msetex 2 a 1 c 2 nx => :0|
         msetex 2 a 1 c 2 xx => :0|
         msetex 2 a 3 b 4 xx keepttl => :1|
         mget a b c => *3|$1|3|$1|4|_|
         +10
         mget a b => *2|_|_|
         msetex 0 a 1 => -ERR invalid numkeys value|
         msetex 2 a 1 b => -ERR wrong number of key-value pairs|
         msetex 1 a 1 ex 1 px 1 => -ERR syntax error|",
    );
}

#[test]
fn what_is_left_of_a_life_may_be_less_by_another_clock_but_not_in_an_entry() {
    let (mut model, at) = (KvModel::default(), Context::at(1, 1000));
    model.step(at, &words("set k v px 1600").into());
    let admitted = |op: &KvOp, seen: &str| {
        let expected = model.clone().step(at, op);
        KvModel::admits(op, &expected, &value(seen))
    };
    let plain = |line: &str, seen: &str| admitted(&words(line).into(), seen);
    assert!(
        plain("pttl k", ":1600|") && plain("pttl k", ":0|") && plain("ttl k", ":2|") && plain("ttl k", ":1|")
    );
    assert!(
        !plain("pttl k", ":1601|")
            && !plain("pttl k", ":-1|")
            && !plain("pttl k", ":-2|")
            && !plain("ttl k", ":3|")
    );
    assert!(plain("pexpiretime k", ":2600|") && !plain("pexpiretime k", ":2599|"));
    let exec = |lines: &[&str]| KvOp::Transaction {
        watched: Vec::new(),
        commands: lines.iter().map(|line| words(line)).collect(),
    };
    assert!(admitted(&exec(&["pttl k"]), "*1|:1599|"), "a transaction that only reads is a query");
    assert!(!admitted(&exec(&["append k w", "pttl k"]), "*2|:2|:1599|"));
    assert!(admitted(&exec(&["append k w", "pttl k"]), "*2|:2|:1600|"));
}

#[test]
fn a_transaction_is_done_if_what_it_watches_is_unchanged() {
    let mut model = KvModel::default();
    let mut at = Context::at(0, 1000);
    let mut say = |ms: u64, op: KvOp| {
        (at.index, at.unix_ms) = (at.index + 1, at.unix_ms + ms);
        model.step(at, &op)
    };
    let versions = |keys: &str| KvOp::Versions(words(keys));
    let exec = |key: &'static str, version| KvOp::Transaction {
        watched: std::vec![(Bytes::from_static(key.as_bytes()), version)],
        commands: std::vec![words("get k"), words("incr k"), words("append k x")],
    };
    say(0, words("set k v").into()); // Index 1.
    assert_eq!(say(0, versions("k none")), value("*2|:1|:0|"));
    assert_eq!(say(0, exec("k", 1)), value("*3|$1|v|-ERR value is not an integer or out of range|:2|"));
    assert_eq!(say(0, exec("k", 1)), Value::Null, "changed by the one before");
    assert_eq!(say(0, exec("none", 0)), value("*3|$2|vx|-ERR value is not an integer or out of range|:3|"));
    assert_eq!(say(0, versions("k")), value("*1|:5|"));
    // What changes no key leaves its version; what gives it a deadline does not.
    for line in [
        "set k v nx",
        "persist k",
        "getex k",
        "getex k persist",
        "expire k 9 xx",
        "setrange k 1 ''",
        "setbit k 1 1",
        "rename k k",
    ] {
        say(0, words(line).into());
    }
    assert_eq!(say(0, versions("k")), value("*1|:5|"));
    say(0, words("pexpire k 10").into());
    assert_eq!(say(9, versions("k")), value("*1|:16|"));
    assert_eq!(say(1, versions("k")), value("*1|:0|"), "dead");
    assert_eq!(say(0, exec("k", 16)), Value::Null);
    let refused =
        KvOp::Transaction { watched: Vec::new(), commands: std::vec![words("set k 1"), words("get")] };
    assert_eq!(say(0, refused), value("-EXECABORT Transaction discarded because of previous errors.|"));
    assert_eq!(say(0, versions("k")), value("*1|:0|"), "nothing was done");
}

#[test]
fn lcs_of_either_protocol_is_the_same() {
    let mut model = KvModel::default();
    model.step(NOWHERE, &words("mset a ohmytext b mynewtext").into());
    let op = words("lcs a b idx withmatchlen").into();
    let expected = model.step(NOWHERE, &op);
    let matches = "*2|*3|*2|:4|:7|*2|:5|:8|:4|*3|*2|:2|:3|*2|:0|:1|:2|";
    assert!(KvModel::admits(&op, &expected, &value(&std::format!("%2|$7|matches|{matches}$3|len|:6|"))));
    assert!(KvModel::admits(&op, &expected, &value(&std::format!("*4|$7|matches|{matches}$3|len|:6|"))));
    assert!(!KvModel::admits(&op, &expected, &value(&std::format!("*4|$7|matches|{matches}$3|len|:5|"))));
}

/// Sums that Redis 7.0 prints.
#[test]
fn floats_are_those_of_eighty_bits() {
    check(
        "incrbyfloat f 0.1 => $3|0.1|
         incrbyfloat f 0.2 => $3|0.3|
         incrbyfloat f -0.3 => $1|0|
         set f 3.0e3 => +OK|
         incrbyfloat f 200 => $4|3200|
         set f 100 => +OK|
         incrbyfloat f .1 => $5|100.1|
         set f 1000000 => +OK|
         incrbyfloat f 0.3 => $25|1000000.30000000000001137|
         incrbyfloat f x => -ERR value is not a valid float|
         incrbyfloat f inf => -ERR increment would produce NaN or Infinity|
         incrbyfloat f '' => -ERR value is not a valid float|",
    );
}
