//! What the command says to those who mistype: exit code 2, one line that names the thing and the cure, nothing on disk.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output, Stdio};

const CLUSTER: &str = "1=127.0.0.1:27201/127.0.0.1:27101,2=127.0.0.1:27202/127.0.0.1:27102";

fn quorate(directory: &Path, line: &str) -> Output {
    let words = line.split_whitespace().map(|word| word.replace("CLUSTER", CLUSTER));
    Command::new(env!("CARGO_BIN_EXE_quorate")).current_dir(directory).args(words).output().unwrap()
}

fn refused(directory: &Path, line: &str, expected: &[&str]) {
    let output = quorate(directory, line);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{line}: {said}");
    assert_eq!(said.lines().count(), 1, "{line}: {said}");
    assert!(said.starts_with("quorate: "), "{line}: {said}");
    assert!(output.stdout.is_empty(), "{line}: something on standard output");
    for text in expected {
        assert!(said.contains(text), "{line}: '{text}' is not in: {said}");
    }
}

#[test]
fn every_bad_flag_of_serve_is_named_with_its_cure() {
    let directory = tempfile::tempdir().unwrap();
    let table: &[(&str, &[&str])] = &[
        ("serve", &["--id is missing", "serve --help"]),
        ("serve --id", &["--id", "serve --help"]),
        ("serve --id x", &["--id", "'x'", "whole number from 1"]),
        ("serve --id 0 --data-dir d --cluster CLUSTER", &["--id", "'0'", "from 1"]),
        ("serve --id -1 --data-dir d --cluster CLUSTER", &["--id", "'-1'"]),
        ("serve --id 1 --cluster CLUSTER", &["--data-dir is missing"]),
        ("serve --id 1 --data-dir= --cluster CLUSTER", &["--data-dir", "names no directory"]),
        ("serve --id 1 --data-dir d", &["--cluster is missing"]),
        ("serve --id 3 --data-dir d --cluster CLUSTER", &["--id: 3", "1, 2", "add it there"]),
        ("serve --id 1 --data-dir d --cluster 1=127.0.0.1:0/127.0.0.1:27101", &["--cluster", "port 0"]),
        ("serve --id 1 --data-dir d --cluster 1=127.0.0.1:27201", &["--cluster", "ID=PEER/CLIENT"]),
        (
            "serve --id 1 --data-dir d --cluster CLUSTER --listen-client 0.0.0.0:27101",
            &["--listen-client", "--insecure"],
        ),
        (
            "serve --id 1 --data-dir d --cluster CLUSTER --listen-peer 0.0.0.0:27201",
            &["--listen-peer", "--insecure"],
        ),
        (
            "serve --id 1 --data-dir d --cluster CLUSTER --listen-peer 127.0.0.1:27101",
            &["--listen-peer", "clients"],
        ),
        (
            "serve --id 1 --data-dir d --cluster CLUSTER --listen-client nonsense",
            &["--listen-client", "no port"],
        ),
        ("serve --id 1 --data-dir d --cluster CLUSTER --redirect maybe", &["--redirect", "moved or forward"]),
        ("serve --id 1 --data-dir d --cluster CLUSTER --heartbeat-ms 0", &["--heartbeat-ms", "from 1"]),
        ("serve --id 1 --data-dir d --cluster CLUSTER --heartbeat-ms 200", &["--heartbeat-ms", "half"]),
        (
            "serve --id 1 --data-dir d --cluster CLUSTER --election-timeout-ms soon",
            &["--election-timeout-ms", "'soon'"],
        ),
        ("serve --id 1 --data-dir d --cluster CLUSTER --request-timeout-ms 0", &["--request-timeout-ms"]),
        (
            "serve --id 1 --data-dir d --cluster CLUSTER --snapshot-log-bytes few",
            &["--snapshot-log-bytes", "64MiB"],
        ),
        ("serve --id 1 --data-dir d --cluster CLUSTER --segment-bytes 1", &["--segment-bytes", "from 65536"]),
        ("serve --id 1 --data-dir d --cluster CLUSTER --max-clients 0", &["--max-clients"]),
        ("serve --id 1 --data-dir d --cluster CLUSTER --insecure=yes", &["--insecure", "serve --help"]),
        ("serve --id 1 --data-dir d --cluster CLUSTER --frobnicate", &["--frobnicate", "serve --help"]),
        ("serve --id 1 --data-dir d --cluster CLUSTER d2", &["d2", "serve --help"]),
    ];
    for (line, expected) in table {
        refused(directory.path(), line, expected);
    }
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0, "nothing may be created");
}

#[test]
fn every_bad_flag_of_the_other_commands_is_named_with_its_cure() {
    let directory = tempfile::tempdir().unwrap();
    let table: &[(&str, &[&str])] = &[
        ("frobnicate", &["'frobnicate'", "quorate help"]),
        ("dev --nodes 0", &["--nodes", "from 1"]),
        ("dev --nodes many", &["--nodes", "'many'"]),
        ("dev --base-port 65530", &["--base-port", "from"]),
        ("dev --frobnicate", &["--frobnicate", "dev --help"]),
        ("demo now", &["now", "demo --help"]),
        ("get", &["KEY", "get --help"]),
        ("get a b", &["\"b\"", "get --help"]),
        ("put a", &["VALUE", "put --help"]),
        ("append a", &["VALUE", "append --help"]),
        ("del", &["KEY", "del --help"]),
        ("get a --connect nowhere", &["--connect", "'nowhere'", "host:port"]),
        ("get a --timeout-ms 0", &["--timeout-ms"]),
        ("status --connect 127.0.0.1:0", &["--connect", "port 0"]),
        ("status --frobnicate", &["--frobnicate", "status --help"]),
        ("bench --connections 0", &["--connections", "'0'", "from 1"]),
        ("bench --pipeline 0", &["--pipeline", "from 1"]),
        ("bench --reads 101", &["--reads", "'101'", "from 0 to 100"]),
        ("bench --keys 0", &["--keys", "from 1"]),
        ("bench --distribution normal", &["--distribution", "'normal'", "uniform, zipf, sequential"]),
        ("bench --value-bytes 0", &["--value-bytes", "from 1"]),
        ("bench --rate 0", &["--rate", "from 1"]),
        ("bench --seconds 0", &["--seconds", "from 1"]),
        ("bench --requests 0", &["--requests", "from 1"]),
        ("bench --seconds 1 --requests 1", &["--requests", "not --seconds"]),
        ("bench --warm-up soon", &["--warm-up", "'soon'"]),
        ("bench --address 127.0.0.1:0", &["--address", "port 0"]),
        ("bench --plot picture.png", &["--plot", "picture.png", ".svg"]),
        ("bench --plot no/such/directory.svg", &["--plot", "directory that does not exist"]),
        ("bench --frobnicate", &["--frobnicate", "bench --help"]),
        ("bench now", &["now", "bench --help"]),
        ("recover --into new", &["--data-dir is missing", "recover --help"]),
        ("recover --data-dir d", &["--into is missing", "recover --help"]),
        ("recover --data-dir d --into new", &["no terminal to ask on", "--dry-run", "--yes"]),
        ("recover --data-dir d --into new --yes", &["--data-dir", "data directory d", "No such file"]),
        ("recover --data-dir d --dry-run", &["--data-dir", "data directory d", "No such file"]),
        ("recover --data-dir . --into new --yes", &["--into", "new", "within the old directory"]),
        ("recover --data-dir . --dry-run", &["--data-dir", "belongs to no cluster"]),
    ];
    for (line, expected) in table {
        refused(directory.path(), line, expected);
    }
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0, "nothing may be created");
}

#[test]
fn an_address_in_use_is_refused_before_anything_is_created() {
    let directory = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let line = format!("serve --id 1 --data-dir d --cluster CLUSTER --listen-client {address}");
    refused(directory.path(), &line, &["--listen-client", &address, "another port"]);
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0, "nothing may be created");
}

#[test]
fn a_cluster_that_does_not_answer_is_named_with_its_addresses() {
    let directory = tempfile::tempdir().unwrap();
    // A port that was free just now, and on which nothing listens.
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    for command in ["get k", "put k v"] {
        let output = quorate(directory.path(), &format!("{command} --connect {address} --timeout-ms 100"));
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(3), "{said}");
        assert!(said.contains(&address) && said.contains("not done"), "{said}");
    }
    for command in ["member list", "member remove 1", "transfer"] {
        let output = quorate(directory.path(), &format!("{command} --connect {address} --timeout-ms 100"));
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(3), "{said}");
        assert!(said.contains(&format!("no node answers (asked {address})")), "{said}");
    }
}

#[test]
fn a_file_in_the_place_of_the_data_directory_is_named_with_the_cure() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("d"), "mine").unwrap();
    let line = "serve --id 1 --data-dir d --cluster 1=127.0.0.1:27303/127.0.0.1:27304";
    refused(directory.path(), line, &["data directory d is a file", "name a directory"]);
    assert_eq!(fs::read_to_string(directory.path().join("d")).unwrap(), "mine");
}

#[test]
fn the_directory_of_another_node_is_named_with_its_path() {
    let directory = tempfile::tempdir().unwrap();
    let serve = |id: u64| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_quorate"));
        let cluster = "1=127.0.0.1:27305/127.0.0.1:27306,2=127.0.0.1:27307/127.0.0.1:27308";
        command.current_dir(directory.path()).args(["serve", "--data-dir=d", "--cluster", cluster]);
        command.args(["--id", &id.to_string()]);
        command
    };
    let mut first =
        serve(1).arg("--exit-with-parent").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    // The identity is renamed into its place when it is whole.
    let identity = directory.path().join("d/identity");
    while !identity.exists() {
        assert!(first.try_wait().unwrap().is_none(), "it ended");
        std::thread::yield_now();
    }
    drop(first.stdin.take());
    assert!(first.wait().unwrap().success());
    let before = fs::read(&identity).unwrap();
    let output = serve(2).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("data directory d: identity belongs to node 1"), "{said}");
    assert_eq!(fs::read(&identity).unwrap(), before, "nothing may be changed");
}

#[test]
fn status_tells_a_cluster_that_was_never_formed_from_one_without_a_majority() {
    let directory = tempfile::tempdir().unwrap();
    let mut first = Command::new(env!("CARGO_BIN_EXE_quorate"))
        .current_dir(directory.path())
        .args(["serve", "--id=1", "--data-dir=d", "--exit-with-parent", "--cluster"])
        .arg("1=127.0.0.1:27309/127.0.0.1:27310,2=127.0.0.1:27311/127.0.0.1:27312")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut ready = String::new();
    BufReader::new(first.stdout.take().unwrap()).read_line(&mut ready).unwrap();
    assert!(ready.starts_with("ready id=1"), "{ready}");
    // It accepts clients before it has read its directory.
    let said = loop {
        let output = quorate(directory.path(), "status --connect 127.0.0.1:27310");
        assert_eq!(output.status.code(), Some(3));
        if String::from_utf8_lossy(&output.stdout).contains("forming") {
            break String::from_utf8(output.stderr).unwrap();
        }
    };
    assert!(said.contains("not formed yet") && said.contains("every node of --cluster"), "{said}");
    drop(first.stdin.take());
    assert!(first.wait().unwrap().success());
}

#[test]
fn row_17_a_directory_in_use_is_refused_by_name() {
    let directory = tempfile::tempdir().unwrap();
    let _held = quorate_driver::disk::Disk::open(&directory.path().join("d")).unwrap();
    let process = format!("process {}", std::process::id());
    // Ports of its own, as tests run beside each other.
    let line = "serve --id 1 --data-dir d --cluster 1=127.0.0.1:27301/127.0.0.1:27302";
    refused(directory.path(), line, &["data directory d is in use", &process]);
}

#[test]
fn every_command_explains_itself() {
    let directory = tempfile::tempdir().unwrap();
    let commands = [
        "serve", "dev", "demo", "get", "put", "append", "del", "status", "member", "transfer", "recover",
        "bench",
    ];
    for command in commands {
        let output = quorate(directory.path(), &format!("{command} --help"));
        assert!(output.status.success(), "{command}");
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(said.starts_with(&format!("usage: quorate {command}")), "{said}");
        assert!(output.stderr.is_empty());
        assert!(said.lines().all(|line| line.chars().count() <= 120), "{command}: a line is too long");
    }
    let output = quorate(directory.path(), "help");
    assert!(output.status.success());
    let output = quorate(directory.path(), "version");
    assert!(String::from_utf8(output.stdout).unwrap().starts_with("quorate 0."));
    assert_eq!(quorate(directory.path(), "").status.code(), Some(2));
}
