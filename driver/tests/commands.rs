//! `quorate demo` and `quorate dev` as a newcomer runs them.

use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use quorate_driver::node_info::NodeInfo;
use rustix::process::{Pid, Signal, kill_process};

const QUORATE: &str = env!("CARGO_BIN_EXE_quorate");

#[test]
fn the_demo_shows_that_nothing_is_lost() {
    let directory = tempfile::tempdir().unwrap();
    let output = Command::new(QUORATE).arg("demo").env("TMPDIR", directory.path()).output().unwrap();
    let (said, failed) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}{failed}");
    for step in ["kill -9", "leads in term", "acknowledged", "caught up", "nothing is lost"] {
        assert!(said.contains(step), "{step} is not in: {said}");
    }
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0, "the demo's data is left behind");
}

#[test]
fn an_interrupted_demo_leaves_nothing_behind() {
    let directory = tempfile::tempdir().unwrap();
    let mut demo = Command::new(QUORATE)
        .arg("demo")
        .env("TMPDIR", directory.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(demo.stdout.take().unwrap()).lines().map_while(Result::ok);
    assert!(lines.by_ref().any(|line| line.contains("clients write")));
    kill_process(Pid::from_raw(i32::try_from(demo.id()).unwrap()).unwrap(), Signal::INT).unwrap();
    assert_eq!(demo.wait().unwrap().code(), Some(1));
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0, "data is left behind");
}

#[test]
fn dev_stays_up_until_it_is_told_to_stop_and_leaves_nothing_behind() {
    let directory = tempfile::tempdir().unwrap();
    let mut dev = Command::new(QUORATE)
        .args(["dev", "--nodes=3", "--base-port=18501"])
        .env("TMPDIR", directory.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(dev.stdout.take().unwrap()).lines().map_while(Result::ok);
    let addresses: Vec<String> = (18501..18504).map(|port| format!("127.0.0.1:{port}")).collect();
    assert!(lines.by_ref().any(|line| line.contains("Ctrl-C stops")));
    let soon = Instant::now() + Duration::from_secs(10);
    let leaders: Vec<_> = addresses.iter().map(|a| NodeInfo::fetch(a, soon).unwrap().leader()).collect();
    assert!(leaders[0].is_some() && leaders.iter().all(|l| *l == leaders[0]), "up means led: {leaders:?}");
    kill_process(Pid::from_raw(i32::try_from(dev.id()).unwrap()).unwrap(), Signal::INT).unwrap();
    assert_eq!(dev.wait().unwrap().code(), Some(0));
    assert!(addresses.iter().all(|address| TcpStream::connect(address).is_err()), "a node is left running");
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0, "data is left behind");
}

#[test]
fn the_nodes_of_dev_end_with_it_even_when_it_is_killed() {
    let directory = tempfile::tempdir().unwrap();
    let mut dev = Command::new(QUORATE)
        .args(["dev", "--nodes=1", "--base-port=18601", "--data-dir"])
        .arg(directory.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(dev.stdout.take().unwrap()).lines().map_while(Result::ok);
    assert!(lines.by_ref().any(|line| line.contains("Ctrl-C stops")));
    dev.kill().unwrap();
    dev.wait().unwrap();
    let give_up = Instant::now() + Duration::from_secs(20);
    while TcpStream::connect("127.0.0.1:18601").is_ok() {
        assert!(Instant::now() < give_up, "a node has outlived its parent");
        thread::sleep(Duration::from_millis(10));
    }
}
