//! The model against Redis's own replies, and against the store that it judges.

use std::string::String;

use super::*;
use crate::kv::{COMMANDS, KvStore};
use crate::replica::StateMachine;
use crate::rng::Rng;
use crate::sim::check::testing::{value, words};

const NOWHERE: Context = Context::at(0, 0);

fn ask(store: &mut KvStore, op: &[Bytes]) -> Value {
    let mut out = Vec::new();
    match parse(op) {
        Ok(Call::Write(command)) => store.apply(NOWHERE, &command, &mut out),
        Ok(Call::Read(query)) => store.query(NOWHERE, &query, &mut out),
        Err(error) => error.reply(&mut out),
    }
    value(core::str::from_utf8(&out).expect("words are text"))
}

#[test]
fn the_model_answers_what_redis_answers() {
    let mut model = KvModel::default();
    let mut checked = 0;
    for line in include_str!("../../../kv/tests/commands.txt").lines() {
        let Some((command, reply)) = line.split_once("=> ").filter(|_| !line.starts_with('#')) else {
            model = KvModel::default();
            continue;
        };
        let expected = value(reply);
        assert_eq!(model.step(NOWHERE, &words(command)), expected, "{command}");
        assert_eq!(encoded_len(&expected), reply.len() + reply.matches('|').count(), "{command}");
        checked += 1;
    }
    assert!(checked > 150);
}

#[test]
fn the_model_knows_every_command_of_the_store_and_whether_it_writes() {
    for info in COMMANDS {
        assert!(command::KNOWN.contains(&info.name.as_bytes()), "{}", info.name);
        let mut op = words(info.name);
        op.resize(info.arity.unsigned_abs() as usize, Bytes::from_static(b"1"));
        assert_eq!(KvModel::is_read(&op), info.flags.contains(&"readonly"), "{}", info.name);
        assert!(
            KvModel::is_read(&op[..op.len() - 1].to_vec()),
            "{}: nothing happens without arguments",
            info.name
        );
        assert_eq!(KvModel::is_read(&op), !matches!(KvModel::request(&op), Some(Request::Write(_))));
    }
    assert_eq!(COMMANDS.len(), command::KNOWN.len());
}

/// A command of random words, most of them right.
fn random_command(rng: &mut Rng) -> Vec<Bytes> {
    let name = COMMANDS[rng.below(COMMANDS.len() as u64) as usize];
    let mut line = String::from(name.name);
    let count = name.arity.unsigned_abs() as u64 - 1
        + if name.arity < 0 { rng.below(4) } else { u64::from(rng.chance(1, 30)) };
    for at in 0..count {
        line.push(' ');
        let is_key = at == 0 || matches!(name.name, "del" | "exists" | "mget" | "mset");
        line += &match rng.below(12) {
            _ if is_key && name.name == "scan" => "0".into(),
            _ if is_key => std::format!("k{}", rng.below(6)),
            0..=3 => std::format!("{}", rng.below(200) as i64 - 100),
            4 => std::format!("{}", rng.next_u64() as i64),
            5..=7 => (0..rng.below(20)).map(|_| 'x').chain(['y']).collect(),
            8 => ["nx", "xx", "get", "keepttl"][rng.below(4) as usize].into(),
            9 => ["count 5", "match k[0-3]", "type string", "type hash"][rng.below(4) as usize].into(),
            10 => "''".into(),
            _ => std::format!("k{}", rng.below(6)),
        };
    }
    words(&line)
}

#[test]
fn the_store_answers_what_the_model_admits() {
    let mut rng = Rng::new(7);
    let (mut model, mut store) = (KvModel::default(), KvStore::empty(1));
    let mut errors = 0;
    for _ in 0..20_000 {
        let op = random_command(&mut rng);
        let (expected, seen) = (model.step(NOWHERE, &op), ask(&mut store, &op));
        assert!(KvModel::admits(&op, &expected, &seen), "{op:?}: {seen:?}, not {expected:?}");
        errors += usize::from(matches!(seen, Value::Error(_)));
    }
    assert_eq!(model.values.len(), store.len());
    assert!((1_000..10_000).contains(&errors), "{errors}");
}

#[test]
fn limits_are_the_stores() {
    let of = |len: usize| Bytes::from(std::vec![b'x'; len]);
    let (mut model, mut store) = (KvModel::default(), KvStore::empty(1));
    let word = |name: &'static str| Bytes::from_static(name.as_bytes());
    for op in [
        std::vec![word("set"), of(crate::kv::MAX_KEY), of(MAX_VALUE)],
        std::vec![word("set"), of(crate::kv::MAX_KEY + 1), of(1)],
        std::vec![word("set"), of(1), of(MAX_VALUE + 1)],
        std::vec![word("append"), of(crate::kv::MAX_KEY), of(1)],
        std::vec![word("mget"), of(crate::kv::MAX_KEY), of(1)],
        std::vec![word("mget"), of(crate::kv::MAX_KEY), of(crate::kv::MAX_KEY)],
        std::vec![word("getrange"), of(crate::kv::MAX_KEY + 1), word("x"), word("0")],
    ] {
        assert!(
            model.step(NOWHERE, &op) == ask(&mut store, &op),
            "{:?}",
            op.iter().map(Bytes::len).collect::<Vec<_>>()
        );
    }
}

#[test]
fn scan_may_answer_some_of_the_keys_and_no_other() {
    let mut model = KvModel::default();
    model.step(NOWHERE, &words("mset a 1 b 2 c 3"));
    let admits = |call: &str, reply: &str| {
        let op = words(call);
        let expected = model.clone().step(NOWHERE, &op);
        KvModel::admits(&op, &expected, &value(reply))
    };
    assert!(admits("scan 0", "*2|$1|7|*2|$1|c|$1|a|"));
    assert!(admits("scan 7", "*2|$1|0|*1|$1|b|"));
    assert!(admits("scan 0", "*2|$1|0|*3|$1|c|$1|b|$1|a|"));
    assert!(!admits("scan 0", "*2|$1|0|*2|$1|c|$1|a|"), "a whole scan has all");
    assert!(!admits("scan 0", "*2|$1|7|*2|$1|c|$1|c|"), "once");
    assert!(!admits("scan 0", "*2|$1|7|*1|$1|d|"), "never there");
    assert!(!admits("scan 0 match a", "*2|$1|7|*1|$1|b|"), "not asked for");
    assert!(!admits("scan 0", "*2|$1|7|:1|"));
    assert!(!admits("scan 0", "-ERR MATCH pattern is too expensive for a key|"));
    assert!(admits("scan 0 match x", "-ERR MATCH pattern is too expensive for a key|"));
    assert!(!admits("scan x", "*2|$1|0|*0|"));
}

#[test]
fn a_command_of_several_keys_says_to_each_what_it_surely_means() {
    let parts = |call: &str, reply: &str| {
        let of = |part: Part<Vec<Bytes>, Value>| {
            let words: Vec<_> =
                part.op.iter().map(|word| String::from_utf8_lossy(word).into_owned()).collect();
            let reply = part.reply.map_or(String::from("?"), |reply| std::format!("{reply:?}"));
            std::format!("{} = {reply}", words.join(" "))
        };
        let reply = value(reply);
        KvModel::parts(&words(call), Some(&reply)).into_iter().map(of).collect::<Vec<_>>()
    };
    assert_eq!(parts("incr a", ":7|"), ["incr a = Integer(7)"]);
    assert_eq!(parts("mget b a", "*2|_|$1|1|"), ["GET b = Null", "GET a = Bulk(b\"1\")"]);
    assert_eq!(parts("mset a 1 b 2 a 3", "+OK|"), ["SET a 3 = Simple(b\"OK\")", "SET b 2 = Simple(b\"OK\")"]);
    assert_eq!(parts("del a b", ":1|"), ["del a = ?", "del b = ?"]);
    assert_eq!(parts("del a b a", ":2|"), ["del a = Integer(1)", "del b = Integer(1)"]);
    assert_eq!(parts("exists a b", ":0|"), ["exists a = Integer(0)", "exists b = Integer(0)"]);
    assert_eq!(parts("exists a a", ":2|"), ["exists a = Integer(1)"]);
    assert_eq!(parts("exists a a", ":1|"), ["exists a = ?"]);
    assert_eq!(parts("del a", "-ERR what|"), ["del a = Error(b\"ERR what\")"]);
    assert_eq!(parts("scan 0", "*2|$1|7|*1|$1|a|"), ["EXISTS a = Integer(1)"]);
    assert!(parts("dbsize", ":1|").is_empty() && parts("incr", "-ERR|").is_empty());
}

#[test]
fn an_iteration_of_scan_that_misses_a_key_is_found() {
    use crate::sim::check::testing::{history, replayed};
    let missed = |script: &str, log: &str| {
        let replayed = replayed(script, log).unwrap_or_else(|broken| panic!("{broken}"));
        check_scans(&history(script), &replayed).err().map(|missed| missed.rule)
    };
    let log = "set a 1\nset b 1\nset c 1\ndel c";
    let script = "
        1 > set a 1
        1 < +OK|
        1 > set b 1
        1 < +OK|
        1 > set c 1
        1 < +OK|
        2 > scan 0
        2 < *2|$1|5|*1|$1|a|
        1 > del c
        1 < :1|
        2 > scan 5
        2 < *2|$1|0|*1|$1|b|";
    assert_eq!(missed(script, log), None, "c was not there to the end");
    let without_b = script.replace("*1|$1|b|", "*0|");
    assert_eq!(missed(&without_b, log), Some(super::super::Rule::Scan));
    assert_eq!(missed(&without_b.replace("> scan 5", "> scan 7"), log), None, "not the call of the cursor");
    let matched = |pattern: &str| {
        without_b
            .replace("scan 0", &std::format!("scan 0 match {pattern}"))
            .replace("scan 5", &std::format!("scan 5 match {pattern}"))
    };
    assert_eq!(missed(&matched("[a-z]"), log), Some(super::super::Rule::Scan));
    assert_eq!(missed(&matched("a*"), log), None);
    // As long as DEL may come before the last call, whose key it takes may be missed; and one that comes in between.
    let late = script.replace("1 > del c\n        1 < :1|\n", "").replace("> scan 5", "> scan 5\n 1 > del c");
    assert_eq!(missed(&late, log), None);
    let later = std::format!("{}\n 1 > del c", script.replace("1 > del c\n        1 < :1|\n", ""));
    assert_eq!(missed(&later, log), Some(super::super::Rule::Scan));
    let new = script.replace("> del c", "> set d 1").replace("< :1|", "< +OK|");
    assert_eq!(missed(&new.replace("*1|$1|b|", "*2|$1|b|$1|c|"), "set a 1\nset b 1\nset c 1\nset d 1"), None);
}
