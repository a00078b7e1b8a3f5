//! What a client sees: every reply and error to the byte.

use super::*;
use crate::kv::{COMMANDS, CommandError, transaction, versions};

#[test]
fn replies_are_redis_own_to_the_byte() {
    let mut client = Client::new();
    let mut checked = 0;
    for (number, line) in include_str!("commands.txt").lines().enumerate() {
        if line.is_empty() {
            client = Client::new();
        }
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(ms) = line.strip_prefix("pass ") {
            // Nothing is taken out: what is dead is dead before that.
            client.tick(ms.trim().parse().unwrap(), 0);
            continue;
        }
        let (command, expected) = line.split_once("=>").unwrap();
        let expected = expected.strip_prefix(' ').unwrap();
        assert_one_value(&client.run(&words("dbsize")));
        assert_eq!(client.say(command), expected, "line {}: {command}", number + 1);
        checked += 1;
    }
    assert!(checked > 150);
}

#[test]
fn every_command_of_the_table_is_in_the_table_of_replies() {
    for command in COMMANDS {
        let begins =
            |line: &str| line.split(' ').next().is_some_and(|word| word.eq_ignore_ascii_case(command.name));
        assert!(include_str!("commands.txt").lines().any(begins), "{}", command.name);
        assert!(!command.summary.is_empty() && !command.flags.is_empty(), "{}", command.name);
    }
}

#[test]
fn flags_say_whether_a_command_goes_to_the_log() {
    for command in COMMANDS {
        let mut args = alloc::vec![Bytes::from_static(command.name.as_bytes())];
        // Numbers, no two next to each other the same.
        let some = [b"1", b"2"].into_iter().cycle().map(|arg| Bytes::from_static(arg));
        args.extend(some.take(command.arity.unsigned_abs() as usize - 1));
        match command.name {
            // Without an option it changes nothing.
            "getex" => args.push(Bytes::from_static(b"persist")),
            "bitpos" => args[2] = Bytes::from_static(b"0"),
            _ => {}
        }
        let write = matches!(parse(&args), Ok(Call::Write(_)));
        assert!(parse(&args).is_ok(), "{}", command.name);
        assert_eq!(write, command.flags.contains(&"write"), "{}", command.name);
        assert_eq!(!write, command.flags.contains(&"readonly"), "{}", command.name);
    }
}

#[test]
fn trap_incr_takes_no_spaces_and_no_noise_around_a_number() {
    let mut client = Client::new();
    let error = b"-ERR value is not an integer or out of range\r\n";
    for bad in [" 1", "1 ", "+1", "01", "-0", "0x1", "1\n", "1\0", "-", "\u{661}"] {
        let set = [Bytes::from("set"), Bytes::from("k"), Bytes::from(bad)];
        client.run(&set);
        assert_eq!(client.run(&words("incr k")), error, "{bad:?}");
        assert_eq!(
            client.run(&[Bytes::from("incrby"), Bytes::from("n"), Bytes::from(bad)]),
            error,
            "{bad:?}"
        );
        assert_eq!(client.run(&words("get k"))[4..], [bad.as_bytes(), b"\r\n"].concat());
    }
    assert_eq!(client.say("exists n"), ":0|");
}

#[test]
fn values_and_keys_are_any_bytes() {
    let mut client = Client::new();
    let all: Bytes = (0..=255_u8).collect();
    assert_eq!(client.run(&[Bytes::from("SET"), all.clone(), all.clone()]), b"+OK\r\n");
    let reply = client.run(&[Bytes::from("GET"), all.clone()]);
    assert_eq!(reply, [b"$256\r\n", &all[..], b"\r\n"].concat());
}

#[test]
fn an_unknown_command_shows_the_beginning_of_its_arguments_on_one_line() {
    let mut client = Client::new();
    let unknown = [Bytes::from("a\r\nb"), Bytes::from("x\ny\0z"), Bytes::from_static(b"\xff")];
    assert_eq!(
        client.run(&unknown),
        b"-ERR unknown command 'a  b', with args beginning with: 'x y' '\xff' \r\n"
    );
    let long = [
        Bytes::from("n".repeat(200)),
        Bytes::from("a".repeat(120)),
        Bytes::from("b".repeat(50)),
        Bytes::from("c"),
    ];
    let expected = alloc::format!(
        "-ERR unknown command '{}', with args beginning with: '{}' '{}' \r\n",
        "n".repeat(128),
        "a".repeat(120),
        "b".repeat(5),
    );
    assert_eq!(client.run(&long), expected.as_bytes());
    assert_eq!(parse(&[]), Err(CommandError::Empty));
    assert_eq!(alloc::format!("{}", parse(&unknown).unwrap_err()).lines().count(), 1);
}

#[test]
fn packed_commands_stay_as_the_log_has_them() {
    // A log is read by later builds: these bytes may never mean anything else.
    let packed = |line: &str| match parse(&words(line)) {
        Ok(Call::Write(packed) | Call::Read(packed)) => packed,
        Err(error) => panic!("{error}"),
    };
    assert_eq!(&packed("set k val")[..], b"\x01\x00\x01k\x03val");
    assert_eq!(&packed("set k val nx get keepttl")[..], b"\x01\x0d\x01k\x03val");
    assert_eq!(&packed("set k val xx")[..], b"\x01\x02\x01k\x03val");
    assert_eq!(&packed("getset k val")[..], b"\x01\x04\x01k\x03val");
    assert_eq!(&packed("setnx k v")[..], b"\x02\x01k\x01v");
    assert_eq!(&packed("getdel k")[..], b"\x03\x01k");
    assert_eq!(&packed("append k v")[..], b"\x04\x01k\x01v");
    assert_eq!(&packed("del a bc")[..], b"\x05\x01a\x02bc");
    assert_eq!(&packed("mset a 1 b ''")[..], b"\x06\x01a\x011\x01b\x00");
    assert_eq!(&packed("incr k")[..], b"\x07\x01k\x02");
    assert_eq!(&packed("decrby k 64")[..], b"\x07\x01k\x7f");
    assert_eq!(&packed("set k v ex 10")[..], b"\x08\x00\x00\x02\xa0\x9c\x01\x01k\x01v");
    assert_eq!(packed("setex k 10 v"), packed("set k v ex 10"));
    assert_eq!(&packed("set k v xx pxat 7")[..], b"\x08\x02\x00\x03\x0e\x01k\x01v");
    assert_eq!(&packed("set k v get ifeq w keepttl")[..], b"\x08\x04\x01\x01w\x01\x01k\x01v");
    assert_eq!(&packed("set k v ifne w")[..], b"\x08\x00\x02\x01w\x00\x01k\x01v");
    assert_eq!(&packed("getex k persist")[..], b"\x09\x00\x01k");
    assert_eq!(&packed("getex k px 5")[..], b"\x09\x02\x0a\x01k");
    assert_eq!(packed("getex k"), packed("get k"));
    assert_eq!(&packed("expire k 10 xx gt")[..], b"\x0a\x06\x02\xa0\x9c\x01\x01k");
    assert_eq!(&packed("pexpire k 1 nx")[..], b"\x0a\x01\x02\x02\x01k");
    assert_eq!(&packed("pexpireat k -1 lt")[..], b"\x0a\x08\x03\x01\x01k");
    assert_eq!(&packed("persist k")[..], b"\x0b\x01k");
    assert_eq!(&packed("delex k")[..], b"\x0c\x00\x01k");
    assert_eq!(&packed("delex k ifeq v")[..], b"\x0c\x01\x01v\x01k");
    assert_eq!(&packed("msetex 2 a 1 b '' xx keepttl")[..], b"\x0d\x02\x01\x01a\x011\x01b\x00");
    assert_eq!(&packed("setrange k 300 ab")[..], b"\x10\x01k\xac\x02\x02ab");
    assert_eq!(&packed("setbit k 9 1")[..], b"\x11\x01k\x09\x01");
    assert_eq!(&packed("incrbyfloat k -1.5")[..], b"\x12\x01k\0\0\0\0\0\0\0\xc0\xff\xbf");
    assert_eq!(&packed("msetnx a 1 b ''")[..], b"\x13\x01a\x011\x01b\x00");
    assert_eq!(&packed("rename a b")[..], b"\x14\x00\x01a\x01b");
    assert_eq!(&packed("renamenx a b")[..], b"\x14\x01\x01a\x01b");
    assert_eq!(&packed("copy a b db 0")[..], b"\x15\x00\x01a\x01b");
    assert_eq!(&packed("copy a b replace")[..], b"\x15\x01\x01a\x01b");
    assert_eq!(&packed("flushall async")[..], b"\x16");
    assert_eq!(&packed("flushdb")[..], b"\x16");
    assert_eq!(packed("unlink a bc"), packed("del a bc"));
    assert_eq!(&packed("get k")[..], b"\x81\x01k");
    assert_eq!(&packed("getrange k 0 -1")[..], b"\x83\x01k\x00\x01");
    assert_eq!(&packed("scan 300 match a* type string")[..], b"\x87\xac\x02\x0a\x03\x02a*\x06string");
    assert_eq!(&packed("ttl k")[..], b"\x88\x00\x01k");
    assert_eq!(&packed("pttl k")[..], b"\x88\x01\x01k");
    assert_eq!(&packed("expiretime k")[..], b"\x88\x02\x01k");
    assert_eq!(&packed("pexpiretime k")[..], b"\x88\x03\x01k");
    assert_eq!(versions(&words("a b")), Ok(Call::Read(Bytes::from_static(b"\x89\x01a\x01b"))));
    assert_eq!(&packed("getbit k 9")[..], b"\x90\x01k\x09");
    assert_eq!(&packed("bitcount k")[..], b"\x91\x01k\x00");
    assert_eq!(&packed("bitcount k 1 -1")[..], b"\x91\x01k\x02\x02\x01");
    assert_eq!(&packed("bitcount k 1 -1 bit")[..], b"\x91\x01k\x03\x02\x01");
    assert_eq!(&packed("bitpos k 1")[..], b"\x92\x01k\x01\x00");
    assert_eq!(&packed("bitpos k 0 1")[..], b"\x92\x01k\x00\x01\x02");
    assert_eq!(&packed("bitpos k 0 1 -1 bit")[..], b"\x92\x01k\x00\x03\x02\x01");
    assert_eq!(&packed("lcs a b")[..], b"\x93\x01a\x01b\x00");
    assert_eq!(&packed("lcs a b len minmatchlen 4")[..], b"\x93\x01a\x01b\x01");
    assert_eq!(&packed("lcs a b idx minmatchlen 4")[..], b"\x93\x01a\x01b\x02\x04");
    assert_eq!(&packed("lcs a b idx withmatchlen")[..], b"\x93\x01a\x01b\x03\x00");
    assert_eq!(&packed("type k")[..], b"\x94\x01k");
    assert_eq!(&packed("keys a*")[..], b"\x95\x02a*");
    assert_eq!(&packed("randomkey")[..], b"\x96\x00");
    assert_eq!(packed("touch a bc"), packed("exists a bc"));
    let (set, get) = (Call::Write(packed("set k v")), Call::Read(packed("get k")));
    let exec = transaction(&[(Bytes::from("w"), 300)], &[set, get.clone()]);
    let expected = b"\x40\x01\x01w\xac\x02\x06\x01\x00\x01k\x01v\x03\x81\x01k";
    assert_eq!(exec, Call::Write(Bytes::from_static(expected)));
    assert_eq!(transaction(&[], &[get]), Call::Read(Bytes::from_static(b"\xc0\x00\x03\x81\x01k")));
}
