//! Clusters of real processes: what they survive.

mod support;

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use quorate::codec::resp::Value;
use quorate_driver::blocking_client::BlockingConnection;
use redis::Commands;
use rustix::process::Signal;
use support::{Cluster, PATIENCE, ask, get};

/// The segments of a node's log, oldest first.
fn segments(directory: &PathBuf) -> Vec<PathBuf> {
    let names = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let is_segment = |p: &PathBuf| p.file_name().unwrap().to_str().unwrap().starts_with("segment-");
    let mut found: Vec<_> = names.filter(is_segment).collect();
    found.sort();
    found
}

#[test]
fn what_was_acknowledged_outlives_the_leader() {
    let mut cluster = Cluster::start(3, &[]);
    let leader = cluster.leader();
    let stop = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..4)
        .map(|writer| {
            let (mut client, stop) = (cluster.client(), Arc::clone(&stop));
            thread::spawn(move || {
                let mut n = 0;
                while !stop.load(Ordering::Relaxed) {
                    client.write(&["APPEND", &format!("diary-{writer}"), &format!("{n},")]).unwrap();
                    n += 1;
                }
                n
            })
        })
        .collect();
    thread::sleep(Duration::from_millis(300));
    cluster.fleet.kill(leader);
    let successor = cluster.leader();
    assert_ne!(successor, leader);
    thread::sleep(Duration::from_millis(300));
    stop.store(true, Ordering::Relaxed);
    let written: Vec<u64> = writers.into_iter().map(|writer| writer.join().unwrap()).collect();
    cluster.restart(leader);
    cluster.converged();
    let mut client = cluster.client();
    for (writer, n) in written.iter().enumerate() {
        assert!(*n > 0);
        let expected: String = (0..*n).map(|n| format!("{n},")).collect();
        assert_eq!(get(&mut client, &format!("diary-{writer}")).unwrap(), Some(expected));
    }
}

#[test]
fn what_was_acknowledged_outlives_all_nodes_at_once() {
    let mut cluster = Cluster::start(3, &[]);
    let mut connection = cluster.redis(cluster.leader());
    for n in 0..200 {
        let () = connection.set(format!("key-{n}"), n).unwrap();
    }
    for id in cluster.ids() {
        cluster.fleet.kill(id);
    }
    cluster.fleet.start_all(Instant::now() + PATIENCE).unwrap();
    let mut connection = cluster.redis(cluster.leader());
    for n in 0..200 {
        assert_eq!(connection.get::<_, Option<u64>>(format!("key-{n}")).unwrap(), Some(n));
    }
}

#[test]
fn a_cluster_of_one_needs_nobody_and_forgets_nothing() {
    let mut cluster = Cluster::start(1, &[]);
    let mut connection = cluster.redis(1);
    let () = connection.set("k", "v").unwrap();
    cluster.fleet.kill(1);
    cluster.restart(1);
    cluster.leader();
    assert_eq!(cluster.redis(1).get::<_, String>("k").unwrap(), "v");
}

#[test]
fn two_hundred_clients_at_once_count_without_an_error() {
    // However busy the machine is: this is not about elections.
    let cluster = Cluster::start(3, &["--election-timeout-ms=2000"]);
    let ids = cluster.ids();
    let clients: Vec<_> = (0..200)
        .map(|n| {
            // Of all nodes: two thirds are forwarded to the leader.
            let address = cluster.address(ids[n % ids.len()]).to_owned();
            thread::spawn(move || {
                let until = Instant::now() + PATIENCE;
                let mut connection = BlockingConnection::connect(&address, until).unwrap();
                for _ in 0..10 {
                    let reply = connection.ask(&["INCR", "count"], until).unwrap();
                    assert!(matches!(reply, Value::Integer(_)), "{reply:?}");
                }
                let own = format!("own-{n}");
                connection.ask(&["SET", &own, &n.to_string()], until).unwrap();
                let read = connection.ask(&["GET", &own], until).unwrap();
                assert_eq!(read, Value::Bulk(n.to_string().into()));
            })
        })
        .collect();
    for client in clients {
        client.join().unwrap();
    }
    assert_eq!(get(&mut cluster.client(), "count").unwrap().as_deref(), Some("2000"));
    cluster.converged();
}

#[test]
fn a_pipeline_is_answered_in_order() {
    let cluster = Cluster::start(3, &[]);
    for id in cluster.ids() {
        let mut connection = cluster.redis(id);
        let mut pipeline = redis::pipe();
        for n in 0..500 {
            pipeline.cmd("SET").arg("p").arg(n).ignore().cmd("GET").arg("p");
        }
        let read: Vec<u64> = pipeline.query(&mut connection).unwrap();
        assert_eq!(read, (0..500).collect::<Vec<_>>(), "node {id}");
    }
}

#[test]
fn a_pipeline_goes_on_when_its_long_replies_are_written() {
    // All requests arrive at once; a connection stops at its output's soft limit, and nothing but its own output wakes it.
    let cluster = Cluster::start(1, &[]);
    let mut stream = TcpStream::connect(&cluster.fleet.clients()[0]).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(("COMMAND\r\n".repeat(1000) + "ECHO the-end\r\n").as_bytes()).unwrap();
    let (mut read, mut tail) = (0, Vec::new());
    while !tail.ends_with(b"$7\r\nthe-end\r\n") {
        let mut chunk = [0; 1 << 16];
        let n = stream.read(&mut chunk).expect("the replies go on");
        assert_ne!(n, 0, "closed after {read} bytes");
        read += n;
        tail.drain(..tail.len().saturating_sub(32));
        tail.extend_from_slice(&chunk[..n]);
    }
    assert!(read > 2 << 20, "{read} bytes fit below the soft limit");
}

#[test]
fn a_large_value_passes_whole() {
    // However busy the machine is: this is not about elections.
    let cluster = Cluster::start(3, &["--election-timeout-ms=2000"]);
    let value: Vec<u8> = (0..7_000_000u32).map(|n| (n % 251) as u8).collect();
    for id in cluster.ids() {
        let mut connection = cluster.redis(id);
        let () = connection.set(format!("large-{id}"), &value).unwrap();
        assert!(connection.get::<_, Vec<u8>>(format!("large-{id}")).unwrap() == value, "node {id}");
    }
    cluster.converged();
}

#[test]
fn a_follower_that_was_away_for_long_catches_up_by_a_snapshot() {
    let mut cluster = Cluster::start(3, &["--snapshot-log-bytes=256KiB"]);
    let away = cluster.follower();
    cluster.fleet.kill(away);
    let mut client = cluster.client();
    // More than a leader keeps behind a snapshot for those who are a little late.
    let value = "v".repeat(100_000);
    for n in 0..120 {
        client.write(&["SET", &format!("key-{}", n % 20), &format!("{n}-{value}")]).unwrap();
    }
    let leader = cluster.leader();
    cluster.wait_for("a compacted log", || {
        cluster.info(leader)?.number("first_index").filter(|first| *first > 10)
    });
    cluster.restart(away);
    cluster.converged();
    let info = cluster.info(away).unwrap();
    assert!(info.number("snapshots_installed") >= Some(1), "{info:?}");
    // And it goes on from there, over a restart of its own.
    cluster.fleet.kill(away);
    client.write(&["SET", "after", "it"]).unwrap();
    cluster.restart(away);
    cluster.converged();
}

#[test]
fn a_paused_leader_is_replaced_and_follows_when_it_wakes() {
    let cluster = Cluster::start(3, &[]);
    let mut client = cluster.client();
    client.write(&["SET", "k", "before"]).unwrap();
    let paused = cluster.leader();
    cluster.fleet.signal(paused, Signal::STOP);
    let others: Vec<_> = cluster.ids().into_iter().filter(|id| *id != paused).collect();
    cluster.wait_for("a new leader", || {
        others.iter().find(|id| cluster.info(**id).is_some_and(|info| info.leads())).copied()
    });
    client.write(&["SET", "k", "after"]).unwrap();
    // What waited for the paused leader must not be answered from its old state.
    let address = cluster.address(paused).to_owned();
    let mut connection = cluster.connection(paused);
    let until = Instant::now() + PATIENCE;
    let asked = thread::spawn(move || connection.ask(&["GET", "k"], until));
    cluster.fleet.signal(paused, Signal::CONT);
    let answer = asked.join().unwrap().unwrap();
    assert!(
        answer == Value::Bulk("after".into()) || answer.error_code().is_some(),
        "{answer:?} of {address}"
    );
    assert_ne!(cluster.leader(), 0);
    cluster.converged();
}

#[test]
fn without_a_majority_nothing_is_acknowledged_and_with_it_all_goes_on() {
    let mut cluster = Cluster::start(3, &["--request-timeout-ms=500"]);
    let leader = cluster.leader();
    let others: Vec<_> = cluster.ids().into_iter().filter(|id| *id != leader).collect();
    for id in &others {
        cluster.fleet.kill(*id);
    }
    let mut connection = cluster.connection(leader);
    let first = ask(&mut connection, &["SET", "k", "v"]);
    let code = first.error_code().map(|code| String::from_utf8_lossy(code).into_owned());
    assert!(["UNDETERMINED", "CLUSTERDOWN"].contains(&code.as_deref().unwrap_or("")), "{first:?}");
    let read = ask(&mut connection, &["GET", "k"]);
    assert!(read.error_code().is_some(), "{read:?}");
    for id in others {
        cluster.restart(id);
    }
    cluster.leader();
    cluster.client().write(&["SET", "k2", "v"]).unwrap();
    cluster.converged();
}

#[test]
fn a_clean_end_is_quick_and_loses_nothing() {
    let mut cluster = Cluster::start(3, &[]);
    cluster.client().write(&["SET", "k", "v"]).unwrap();
    for id in cluster.ids() {
        let started = Instant::now();
        let status = cluster.fleet.stop(id, PATIENCE).unwrap();
        assert_eq!(status.code(), Some(0), "{}", cluster.log(id));
        assert!(started.elapsed() < Duration::from_secs(5));
    }
    cluster.fleet.start_all(Instant::now() + PATIENCE).unwrap();
    assert_eq!(get(&mut cluster.client(), "k").unwrap().as_deref(), Some("v"));
}

#[test]
fn row_19_a_wiped_directory_is_refused_with_the_cure() {
    let mut cluster = Cluster::start(3, &[]);
    cluster.client().write(&["SET", "k", "v"]).unwrap();
    let wiped = cluster.follower();
    cluster.fleet.kill(wiped);
    fs::remove_dir_all(cluster.data(wiped)).unwrap();
    let (code, said) = cluster.refused(wiped);
    assert_eq!(code, Some(4), "{said}");
    assert!(said.contains("remove") && said.contains("add"), "no cure is named: {said}");
    cluster.client().write(&["SET", "k", "v2"]).unwrap();
}

#[test]
fn row_18_a_foreign_directory_is_refused_by_name() {
    let mut cluster = Cluster::start(3, &[]);
    cluster.client().write(&["SET", "k", "v"]).unwrap();
    cluster.fleet.kill(1);
    cluster.fleet.kill(2);
    let (one, two) = (cluster.data(1), cluster.data(2));
    let aside = one.with_file_name("aside");
    fs::rename(&one, &aside).unwrap();
    fs::rename(&two, &one).unwrap();
    fs::rename(&aside, &two).unwrap();
    let (code, said) = cluster.refused(1);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("node 2"), "{said}");
}

#[test]
fn row_17_a_second_process_on_one_directory_is_refused() {
    let cluster = Cluster::start(1, &[]);
    let data = cluster.data(1);
    let output = std::process::Command::new(support::QUORATE)
        .args(["serve", "--id=1", "--cluster=1=127.0.0.1:19998/127.0.0.1:19999", "--data-dir"])
        .arg(&data)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    let pid = cluster.fleet.pid(1).unwrap();
    assert!(said.contains(data.to_str().unwrap()) && said.contains(&format!("process {pid}")), "{said}");
    assert_eq!(said.lines().count(), 1);
}

#[test]
fn row_02_a_corrupt_log_is_refused_and_the_others_go_on() {
    let mut cluster = Cluster::start(3, &[]);
    let mut client = cluster.client();
    for n in 0..50 {
        client.write(&["SET", &format!("key-{n}"), "v"]).unwrap();
    }
    let broken = cluster.follower();
    cluster.fleet.kill(broken);
    // Bytes in the midst of what was synced long ago.
    let first = segments(&cluster.data(broken)).remove(0);
    let file = OpenOptions::new().read(true).write(true).open(&first).unwrap();
    let mut bytes = [0; 1];
    for at in (4096..12_288).step_by(97) {
        file.read_exact_at(&mut bytes, at).unwrap();
        file.write_all_at(&[bytes[0] ^ 0x55], at).unwrap();
    }
    let (code, said) = cluster.refused(broken);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("segment-"), "the file is not named: {said}");
    client.write(&["SET", "k", "v"]).unwrap();
}

#[test]
fn malformed_requests_end_their_connection_and_nothing_else() {
    let cluster = Cluster::start(3, &[]);
    let until = Instant::now() + PATIENCE;
    let garbage: &[&[u8]] = &[
        b"*1\r\n$-5\r\n",
        b"*9999999999\r\n",
        b"*1\r\n$99999999999\r\n",
        b"*1\r\nhello\r\n",
        b"GET \"unbalanced\r\n",
    ];
    for bytes in garbage {
        let mut connection = cluster.connection(1);
        connection.send(bytes, until).unwrap();
        let reply = connection.reply(until).unwrap();
        let Value::Error(text) = &reply else { panic!("{reply:?}") };
        assert!(text.starts_with(b"ERR Protocol error"), "{reply:?}");
        assert!(connection.reply(until).is_err(), "the connection should be closed");
    }
    cluster.client().write(&["SET", "k", "v"]).unwrap();
}

#[test]
fn malformed_frames_end_their_link_and_nothing_else() {
    let cluster = Cluster::start(3, &[]);
    let peer = cluster.fleet.place(1).unwrap().peer.clone();
    let until = Instant::now() + PATIENCE;
    for bytes in [
        &[0xff; 64][..],
        &[16, 0, 0, 0, 1, 2, 3, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        b"PING\r\n\r\n\r\n",
    ] {
        let mut connection = BlockingConnection::connect(&peer, until).unwrap();
        connection.send(bytes, until).unwrap();
        assert!(connection.reply(until).is_err(), "the connection should be closed");
    }
    cluster.wait_for("both to be counted", || {
        cluster.info(1)?.number("frames_malformed").filter(|malformed| *malformed >= 2)
    });
    cluster.client().write(&["SET", "k", "v"]).unwrap();
    cluster.converged();
}

#[test]
fn one_client_too_many_is_told_so() {
    let cluster = Cluster::start(1, &["--max-clients=2"]);
    let mut first = cluster.connection(1);
    ask(&mut first, &["PING"]);
    let mut second = cluster.connection(1);
    ask(&mut second, &["PING"]);
    let mut third = cluster.connection(1);
    let reply = third.reply(Instant::now() + PATIENCE).unwrap();
    assert_eq!(reply, Value::Error("ERR max number of clients reached".into()));
    drop(second);
    cluster.wait_for("room for another client", || {
        let until = Instant::now() + PATIENCE;
        let mut again = BlockingConnection::connect(cluster.address(1), until).ok()?;
        (again.ask(&["PING"], until).ok()? == Value::Simple("PONG".into())).then_some(())
    });
}

#[test]
fn a_client_that_does_not_read_does_not_stop_the_others() {
    let cluster = Cluster::start(1, &[]);
    let mut writer = cluster.connection(1);
    ask(&mut writer, &["SET", "big", &"x".repeat(1 << 20)]);
    let mut greedy = cluster.connection(1);
    let mut request = Vec::new();
    for _ in 0..200 {
        request.extend_from_slice(b"*2\r\n$3\r\nGET\r\n$3\r\nbig\r\n");
    }
    greedy.send(&request, Instant::now() + PATIENCE).unwrap();
    for n in 0..100 {
        ask(&mut writer, &["SET", "k", &n.to_string()]);
    }
    // It gets what it asked for when it reads at last, or it was cut off; it never gets anything else.
    let until = Instant::now() + PATIENCE;
    for _ in 0..200 {
        match greedy.reply(until) {
            Ok(Value::Bulk(value)) => assert_eq!(value.len(), 1 << 20),
            Ok(other) => panic!("{other:?}"),
            Err(_) => break,
        }
    }
}

#[test]
fn a_follower_redirects_when_told_to() {
    let cluster = Cluster::start(3, &["--redirect=moved"]);
    let (leader, follower) = (cluster.leader(), cluster.follower());
    let reply = ask(&mut cluster.connection(follower), &["SET", "k", "v"]);
    let Value::Error(text) = &reply else { panic!("{reply:?}") };
    let text = String::from_utf8_lossy(text);
    assert!(text.starts_with("MOVED ") && text.ends_with(cluster.address(leader)), "{text}");
    cluster.client().write(&["SET", "k", "v"]).unwrap();
}

#[test]
fn the_commands_about_a_key_and_their_exit_codes() {
    let cluster = Cluster::start(3, &[]);
    let run = |words: &[&str]| {
        let output = cluster.run(words);
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    assert_eq!(run(&["get", "k"]), (Some(1), String::new()));
    assert_eq!(run(&["put", "k", "v"]), (Some(0), "OK\n".into()));
    assert_eq!(run(&["append", "k", "w"]), (Some(0), "2\n".into()));
    assert_eq!(run(&["get", "k"]), (Some(0), "vw\n".into()));
    assert_eq!(run(&["del", "k"]), (Some(0), "OK\n".into()));
    assert_eq!(run(&["del", "k"]), (Some(1), String::new()));
    let (code, table) = run(&["status"]);
    assert_eq!(code, Some(0));
    assert_eq!(table.lines().count(), 4, "{table}");
    assert!(table.contains("leader") && table.contains("follower"), "{table}");
    let (code, json) = run(&["status", "--json"]);
    assert_eq!(code, Some(0));
    assert_eq!(
        json.lines().filter(|line| line.starts_with("{\"address\":\"127.0.0.1:")).count(),
        3,
        "{json}"
    );
}

#[test]
fn a_cluster_that_is_not_there_is_said_to_be_so() {
    let cluster = Cluster::planned(1, &[]);
    let output = cluster.run(&["put", "k", "v", "--timeout-ms=300"]);
    assert_eq!(output.status.code(), Some(3));
    let output = cluster.run(&["status"]);
    assert_eq!(output.status.code(), Some(3));
}

#[test]
fn a_real_client_library_at_work() {
    let cluster = Cluster::start(3, &[]);
    let mut connection = cluster.redis(cluster.follower());
    let () = connection.mset(&[("a", 1), ("b", 2)]).unwrap();
    let values: BTreeMap<String, u64> =
        ["a", "b"].map(|key| (key.to_owned(), connection.get::<_, u64>(key).unwrap())).into();
    assert_eq!(values, BTreeMap::from([("a".to_owned(), 1), ("b".to_owned(), 2)]));
    assert_eq!(connection.del::<_, u64>(&["a", "b"]).unwrap(), 2);
    let error = redis::cmd("INCR").arg("text").arg("x").query::<u64>(&mut connection).unwrap_err();
    assert!(error.to_string().contains("wrong number of arguments"), "{error}");
}
