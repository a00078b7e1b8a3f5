//! `quorate bench` against real nodes, and against servers that misbehave. What is asserted are counts, never times.

mod support;

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output};
use std::thread;

use quorate::codec::resp::Value;
use support::{Cluster, PATIENCE, QUORATE, ask};

/// Runs `quorate bench` with the words of `line` against `address`, in `directory`.
fn bench(directory: &Path, address: &str, line: &str) -> Output {
    let words = line.split_whitespace();
    Command::new(QUORATE)
        .current_dir(directory)
        .args(["bench", "--json", "--warm-up=0", "--address", address])
        .args(words)
        .output()
        .unwrap()
}

/// The object that a run has printed, which has to have ended well.
fn measured(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!((output.status.code(), said.as_ref()), (Some(0), ""));
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
    text
}

/// The number behind the first `name` in `object` after `place`.
fn number(object: &str, place: &str, name: &str) -> u64 {
    let (_, after) = object.split_once(place).unwrap_or_else(|| panic!("no {place} in {object}"));
    let (_, after) = after.split_once(&format!("\"{name}\":")).unwrap();
    let digits = after.find(|c: char| !c.is_ascii_digit()).unwrap();
    after[..digits].parse().unwrap()
}

#[test]
fn every_command_of_a_run_is_done_and_counted() {
    let cluster = Cluster::start(1, &[]);
    let (directory, address) = (cluster.directory.path(), cluster.address(1));

    // Each key is written once, however the requests are spread over the connections.
    let fill = "--reads 0 --distribution sequential --keys 500 --requests 500 --connections 7 --pipeline 5 \
                --value-bytes 33 --plot picture.svg";
    let object = measured(&bench(directory, address, fill));
    assert_eq!(number(&object, "\"writes\":", "commands"), 500, "{object}");
    assert!(object.contains("\"reads\":{\"commands\":0,") && object.contains("\"errors\":[]"), "{object}");
    let picture = std::fs::read_to_string(directory.join("picture.svg")).unwrap();
    assert!(picture.starts_with("<svg") && picture.contains("99 %") && picture.contains("writes"));

    let mut connection = cluster.connection(1);
    assert_eq!(ask(&mut connection, &["DBSIZE"]), Value::Integer(500));
    assert_eq!(ask(&mut connection, &["STRLEN", "key:000000000499"]), Value::Integer(33));

    // Every other key that is read is one that nobody has written.
    let read =
        "--reads 100 --distribution sequential --keys 1000 --requests 3000 --connections 3 --pipeline 16";
    let object = measured(&bench(directory, address, read));
    assert_eq!(number(&object, "\"reads\":", "commands"), 3000, "{object}");
    assert_eq!(number(&object, "\"reads\":", "not_found"), 1500, "{object}");

    let open = "--reads 40 --distribution zipf --keys 500 --requests 200 --connections 2 --rate 5000";
    let object = measured(&bench(directory, address, open));
    assert_eq!(number(&object, "\"interrupted\"", "commands"), 200, "{object}");
    assert!(object.contains("\"behind\":0,\"unanswered\":0}"), "{object}");
}

#[test]
fn a_connection_goes_where_it_is_pointed_to_and_the_errors_are_counted() {
    let cluster = Cluster::start(3, &["--redirect=moved"]);
    let follower = cluster.address(cluster.follower());
    for pace in ["", "--rate 5000"] {
        let line = format!("--requests 400 --connections 4 --pipeline 3 --reads 0 {pace}");
        let object = measured(&bench(cluster.directory.path(), follower, &line));
        // At least the first command of each connection came to the follower, and no command is forgotten.
        assert!(number(&object, "{\"kind\":\"MOVED\"", "count") >= 4, "{object}");
        let errors = object.match_indices("{\"kind\"").map(|(at, _)| number(&object[at..], "", "count"));
        let errors: u64 = errors.sum();
        assert_eq!(number(&object, "\"writes\":", "commands") + errors, 400, "{object}");
    }
}

/// A server that answers whatever comes first on each connection with `reply` and closes the connection.
fn misbehaving(reply: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(reply.as_bytes());
        }
    });
    address
}

#[test]
fn servers_that_are_not_there_or_misbehave_are_named_with_what_they_did() {
    let directory = tempfile::tempdir().unwrap();
    // A port that was free just now, and on which nothing listens.
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let table = [
        (nobody, 3, "cannot be reached"),
        (misbehaving("+OK\r\n+OK\r\n"), 4, "closed a connection"),
        (misbehaving("HTTP/1.1 400 Bad Request\r\n\r\n"), 4, "this is not RESP"),
        (misbehaving("-ERR max number of clients reached\r\n"), 4, "it has said 'ERR max number of clients"),
        (misbehaving("+OK\r\n+OK\r\n+OK\r\n+OK\r\n+OK\r\n"), 3, "nothing had asked for"),
    ];
    for (address, code, expected) in table {
        // The whole pipeline is one write.
        let output = bench(directory.path(), &address, "--connections 1 --pipeline 4 --requests 4");
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(said.contains(expected) && said.contains(&address), "{said}");
        assert!(output.stdout.is_empty(), "nothing was measured");
    }
}

#[test]
fn a_run_of_nothing_but_errors_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let refusing = misbehaving("-NOAUTH Authentication required.\r\n");
    let output = bench(directory.path(), &refusing, "--connections 1 --requests 1");
    assert_eq!(output.status.code(), Some(3));
    let object = String::from_utf8(output.stdout).unwrap();
    assert!(object.contains(r#"{"kind":"NOAUTH","count":1,"outside":0,"first":"NOAUTH Auth"#), "{object}");
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("no command was done"), "{said}");
}

#[test]
fn a_write_with_a_wait_is_done_when_both_are_answered_and_fails_if_either_does() {
    let directory = tempfile::tempdir().unwrap();
    // Two writes and their waits. What comes after a connection's last reply is never read.
    let table = [
        ("+OK\r\n:1\r\n+OK\r\n:1\r\n", 0, 2, r#""errors":[]"#),
        (
            "-ERR full\r\n:1\r\n+OK\r\n:1\r\n",
            0,
            1,
            r#"{"kind":"ERR","count":1,"outside":0,"first":"ERR full"}"#,
        ),
        (
            "+OK\r\n:1\r\n+OK\r\n-ERR replica\r\n",
            0,
            1,
            r#"{"kind":"ERR","count":1,"outside":0,"first":"ERR replica"}"#,
        ),
        ("+OK\r\n:1\r\n+OK\r\n", 4, 0, ""),
    ];
    for (replies, code, writes, expected) in table {
        let line = "--connections 1 --pipeline 2 --requests 2 --reads 0 --wait 1";
        let output = bench(directory.path(), &misbehaving(replies), line);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{said}");
        if code == 0 {
            let object = measured(&output);
            assert_eq!(number(&object, "\"writes\":", "commands"), writes, "{object}");
            assert!(object.contains(expected) && object.contains("\"wait\":1"), "{object}");
        }
    }
}
