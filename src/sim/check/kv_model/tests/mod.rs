//! The model against Redis's own replies, and against the store that it judges.

mod draw;
mod time;

use std::string::String;

use super::*;
use crate::kv::{COMMANDS, KvStore, MAX_VALUE, parse};
use crate::replica::StateMachine;
use crate::rng::Rng;
use crate::sim::check::testing::{value, words};

const NOWHERE: Context = Context::at(0, 0);

/// Where the table of replies begins: its clock is at 1,000,000.
const START: Context = Context::at(0, 1_000_000);

fn ask(store: &mut KvStore, at: Context, op: &KvOp) -> Value {
    let mut out = Vec::new();
    // As a replica does it at each entry.
    store.expire(at, 8);
    match (KvModel::request(op), op) {
        (Some(Request::Write(command)), _) => store.apply(at, &command, &mut out),
        (Some(Request::Read(query)), _) => store.query(at, &query, &mut out),
        (None, KvOp::Command(words)) => parse(words).expect_err("has no request").reply(&mut out),
        (request, op) => panic!("{op:?}: {request:?}"),
    }
    KvModel::reply(&out)
}

#[test]
fn the_model_answers_what_redis_answers() {
    let (mut model, mut at) = (KvModel::default(), START);
    let mut checked = 0;
    for line in include_str!("../../../../kv/tests/commands.txt").lines() {
        if let Some(ms) = line.strip_prefix("pass ") {
            at.unix_ms += ms.trim().parse::<u64>().unwrap();
            at.now_ms = at.unix_ms;
            continue;
        }
        let Some((command, reply)) = line.split_once("=> ").filter(|_| !line.starts_with('#')) else {
            (model, at) = (KvModel::default(), START);
            continue;
        };
        // Hexadecimal digits are no number to the model.
        if command.contains("0x") {
            continue;
        }
        let (expected, op) = (value(reply), words(command).into());
        let said = model.step(at, &op);
        assert!(KvModel::admits(&op, &said, &expected), "{command}: {expected:?}, not {said:?}");
        assert_eq!(encoded_len(&expected), reply.len() + reply.matches('|').count(), "{command}");
        checked += 1;
    }
    assert!(checked > 150);
}

#[test]
fn the_model_knows_every_command_of_the_store_and_whether_it_writes() {
    for template in &draw::TEMPLATES[..draw::TEMPLATES.len() - 1] {
        let line = template.line.replace("K K", "a b").replace(char::is_uppercase, "1");
        let words = words(&line);
        let op = KvOp::Command(words.clone());
        let command = Command::of(&words).unwrap_or_else(|text| panic!("{line}: {text:?}"));
        let name = line.split(' ').next().unwrap_or_default();
        assert!(command::KNOWN.iter().any(|known| known.0 == name), "{name}");
        if name != "flushall" && name != "flushdb" {
            assert!(KvModel::is_read(&words[..words.len() - 1].to_vec().into()), "{name}: nothing happens");
        }
        let info = COMMANDS.iter().find(|info| info.name == name).expect("a command of the store");
        // Without an option GETEX changes nothing.
        let may_write = name == "getex";
        assert!(may_write || command.is_read() == info.flags.contains(&"readonly"), "{name}");
        assert_eq!(KvModel::is_read(&op), matches!(KvModel::request(&op), Some(Request::Read(_))), "{name}");
    }
    let arity = |name| command::KNOWN.iter().find(|known| known.0 == name).map(|known| known.1);
    assert!(COMMANDS.iter().all(|info| arity(info.name) == Some(info.arity)));
    let has_template = |name: &str| draw::TEMPLATES.iter().any(|t| t.line.split(' ').next() == Some(name));
    assert!(command::KNOWN.iter().all(|known| has_template(known.0)));
}

#[test]
fn the_store_answers_what_the_model_admits() {
    let mut rng = Rng::new(7);
    let (mut model, mut store) = (KvModel::default(), KvStore::empty(1));
    let (mut errors, mut at) = (0, Context::at(0, 1_700_000_000_000));
    let (mut watched, mut given_up, mut done) = (Vec::new(), 0, 0);
    for _ in 0..20_000 {
        at.index += 1;
        at.unix_ms += if rng.chance(1, 10) { rng.below(100_000) } else { rng.below(3) };
        at.now_ms = at.unix_ms;
        let op = draw::op(&mut rng, at.unix_ms as i64, &mut watched);
        let (expected, seen) = (model.step(at, &op), ask(&mut store, at, &op));
        assert!(KvModel::admits(&op, &expected, &seen), "{op:?}: {seen:?}, not {expected:?}");
        match (&op, seen) {
            (KvOp::Command(_), seen) => errors += usize::from(matches!(seen, Value::Error(_))),
            (KvOp::Versions(keys), Value::Array(versions)) => {
                let versions = versions.iter().map(|version| match version {
                    Value::Integer(version) => *version as u64,
                    other => panic!("{other:?}"),
                });
                watched = keys.iter().cloned().zip(versions).collect();
            }
            (_, Value::Null) => given_up += 1,
            _ => done += 1,
        }
    }
    assert!((1_000..10_000).contains(&errors), "{errors}");
    assert!(given_up > 100 && done > 1_000, "{given_up} {done}");
}

#[test]
fn limits_are_the_stores() {
    let of = |len: usize| Bytes::from(std::vec![b'x'; len]);
    let (mut model, mut store) = (KvModel::default(), KvStore::empty(1));
    let word = |name: &'static str| Bytes::from_static(name.as_bytes());
    let get = || std::vec![word("get"), of(crate::kv::MAX_KEY)];
    let commands = std::vec![get(), get(), get(), words("dbsize")];
    for op in [
        std::vec![word("set"), of(crate::kv::MAX_KEY), of(MAX_VALUE)],
        std::vec![word("set"), of(crate::kv::MAX_KEY + 1), of(1)],
        std::vec![word("set"), of(1), of(MAX_VALUE + 1)],
        std::vec![word("append"), of(crate::kv::MAX_KEY), of(1)],
        std::vec![word("mget"), of(crate::kv::MAX_KEY), of(1)],
        std::vec![word("mget"), of(crate::kv::MAX_KEY), of(crate::kv::MAX_KEY)],
        std::vec![word("getrange"), of(crate::kv::MAX_KEY + 1), word("x"), word("0")],
    ] {
        let lengths: Vec<_> = op.iter().map(Bytes::len).collect();
        let op = op.into();
        assert!(model.step(NOWHERE, &op) == ask(&mut store, NOWHERE, &op), "{lengths:?}");
    }
    let op = KvOp::Transaction { watched: Vec::new(), commands };
    let Value::Array(replies) = ask(&mut store, NOWHERE, &op) else { panic!() };
    assert!(matches!(replies[..], [Value::Bulk(_), Value::Error(_), Value::Error(_), Value::Integer(1)]));
    assert!(model.step(NOWHERE, &op) == Value::Array(replies));
}

#[test]
fn scan_may_answer_some_of_the_keys_and_no_other() {
    let mut model = KvModel::default();
    model.step(NOWHERE, &words("mset a 1 b 2 c 3").into());
    let admits = |call: &str, reply: &str| {
        let op = words(call).into();
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
        let of = |part: Part<KvOp, Value>| {
            let words: Vec<_> = part
                .op
                .words()
                .unwrap()
                .iter()
                .map(|word| String::from_utf8_lossy(word).into_owned())
                .collect();
            let reply = part.reply.map_or(String::from("?"), |reply| std::format!("{reply:?}"));
            std::format!("{} = {reply}", words.join(" "))
        };
        let reply = value(reply);
        KvModel::parts(&words(call).into(), Some(&reply)).into_iter().map(of).collect::<Vec<_>>()
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
    assert_eq!(parts("keys *", "*1|$1|a|"), ["EXISTS a = Integer(1)"]);
    assert_eq!(parts("randomkey", "$1|a|"), ["EXISTS a = Integer(1)"]);
    assert!(parts("dbsize", ":1|").is_empty() && parts("incr", "-ERR|").is_empty());
}

#[test]
fn keys_that_decide_about_each_other_are_looked_at_together() {
    let parts = |op: KvOp, reply: Option<&str>| {
        let said = |part: Part<KvOp, Value>| {
            let keys: Vec<_> =
                part.keys.iter().map(|key| String::from_utf8_lossy(key).into_owned()).collect();
            std::format!(
                "{} of {}{}",
                part.op.words().is_some(),
                keys.join(" "),
                if part.needs_log { "!" } else { "" }
            )
        };
        KvModel::parts(&op, reply.map(value).as_ref()).into_iter().map(said).collect::<Vec<_>>()
    };
    let command = |line: &str| parts(words(line).into(), None);
    assert_eq!(command("rename b a"), ["true of a b"]);
    assert_eq!(command("msetnx a 1 b 2 a 3"), ["true of a b"]);
    assert_eq!(command("msetex 2 a 1 b 2 ex 9"), ["true of a b!"]);
    assert_eq!(command("set a 1 ex 9"), ["true of a!"]);
    assert_eq!(command("set a 1 keepttl"), ["true of a"]);
    assert_eq!(command("getex a persist"), ["true of a"]);
    assert_eq!(command("flushall"), ["true of "]);
    let exec = |lines: &[&str], reply| {
        let watched = std::vec![(Bytes::from_static(b"w"), 7)];
        parts(KvOp::Transaction { watched, commands: lines.iter().map(|line| words(line)).collect() }, reply)
    };
    assert_eq!(exec(&["set a 1", "dbsize", "get b"], Some("*3|+OK|:1|_|")), ["false of a b"]);
    assert!(exec(&["set a 1"], Some("_|")).is_empty() && exec(&["dbsize"], Some("*1|:1|")).is_empty());
    assert_eq!(exec(&["set a 1"], None), ["false of a"], "it may have been done");
    assert_eq!(exec(&["expire a 1"], None), ["false of a!"]);
    assert_eq!(exec(&["get a", "flushall"], None), ["false of !"]);
    assert!(parts(KvOp::Versions(words("a")), Some("*1|:1|")).is_empty());
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
