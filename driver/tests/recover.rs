//! A cluster that lost its majority for good goes on from what one disk holds.

mod support;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use quorate::codec::resp::Value;
use quorate_driver::fleet::{Fleet, Logs, Place};
use support::{Cluster, PATIENCE, QUORATE, ask, at, done, get};

fn recover(old: &Path, new: &Path, flags: &[&str]) -> Output {
    let mut command = Command::new(QUORATE);
    command.arg("recover").arg("--data-dir").arg(old).arg("--into").arg(new).args(flags);
    command.stdin(Stdio::null()).output().unwrap()
}

fn refused(old: &Path, new: &Path, flags: &[&str], expected: &str) {
    let output = recover(old, new, flags);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains(expected), "'{expected}' is not in: {said}");
    let parent = fs::read_dir(new.parent().unwrap()).unwrap().map(|file| file.unwrap().file_name());
    let made: Vec<_> = parent.filter(|name| name.to_str().unwrap().starts_with("new")).collect();
    assert!(made.is_empty(), "something was made: {made:?}");
}

fn contents(directory: &Path) -> BTreeMap<OsString, Vec<u8>> {
    let files = fs::read_dir(directory).unwrap().map(Result::unwrap);
    files.map(|file| (file.file_name(), fs::read(file.path()).unwrap())).collect()
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for (name, bytes) in contents(from) {
        fs::write(to.join(name), bytes).unwrap();
    }
}

fn fleet(places: Vec<Place>) -> Fleet {
    Fleet::new(Path::new(QUORATE), places, vec!["--segment-bytes=1MiB".into()], Logs::Files)
}

#[test]
fn what_one_disk_holds_becomes_a_cluster_that_old_nodes_cannot_come_back_into() {
    // Snapshots are taken at once, so that state comes from a snapshot and from the log after it.
    let mut cluster = Cluster::start(3, &["--snapshot-log-bytes=4k", "--trailing-log-bytes=0"]);
    let mut client = cluster.client();
    let mut diary = String::new();
    for n in 0..200 {
        client.write(&["APPEND", "diary", &format!("{n},")]).unwrap();
        diary.push_str(&format!("{n},"));
    }
    for n in 1..=5 {
        let node = cluster.leader();
        assert_eq!(ask(&mut cluster.connection(node), &["INCR", "count"]), Value::Integer(n));
    }
    cluster.converged();
    let root = cluster.directory.path().to_owned();
    let (old, new, kept) = (cluster.data(3), root.join("new"), root.join("kept"));
    refused(&old, &new, &["--yes"], "in use by process");
    for id in cluster.ids() {
        cluster.fleet.kill(id);
    }
    copy(&cluster.data(1), &kept);
    fs::remove_dir_all(cluster.data(1)).unwrap();
    fs::remove_dir_all(cluster.data(2)).unwrap();

    let before = contents(&old);
    assert!(before.keys().any(|name| name.to_str().unwrap().starts_with("snapshot-")));
    refused(&old, &new, &[], "give --yes");
    let rotten = root.join("rotten");
    copy(&old, &rotten);
    fs::write(rotten.join("identity"), [0; 5000]).unwrap();
    refused(&rotten, &new, &["--yes"], "identity is missing or unreadable");
    let look = recover(&old, &new, &["--dry-run"]);
    let said = String::from_utf8(look.stdout).unwrap();
    assert_eq!(look.status.code(), Some(0));
    assert!(said.contains("keys        2\n") && !new.exists(), "{said}");

    let recovered = recover(&old, &new, &["--yes"]);
    let said = String::from_utf8(recovered.stdout).unwrap();
    assert_eq!(recovered.status.code(), Some(0), "{}", String::from_utf8_lossy(&recovered.stderr));
    assert_eq!(contents(&old), before, "not one byte of the old directory is written");
    let places = cluster.fleet.places().to_vec();
    let start = format!("quorate serve --id 3 --data-dir {} --cluster {}", new.display(), at(&places[2]));
    assert!(said.contains(&start), "{said}");
    assert!(said.contains(&format!("quorate member add {}", at(&places[1]))), "{said}");

    // The node goes on, at its addresses, and so do clients of the old cluster, sessions and all.
    cluster.fleet = fleet(vec![Place { directory: new, ..places[2].clone() }]);
    cluster.restart(3);
    cluster.leader();
    assert_eq!(get(&mut client, "diary").unwrap(), Some(diary.clone()));
    client.write(&["APPEND", "diary", "and on"]).unwrap();
    diary.push_str("and on");
    assert_eq!(ask(&mut cluster.connection(3), &["INCR", "count"]), Value::Integer(6));

    // A wiped node joins.
    cluster.fleet.join(places[1].clone());
    cluster.restart(2);
    done(&cluster, &["member", "add", &at(&places[1])]);
    done(&cluster, &["member", "promote", "2"]);
    cluster.converged();

    // An old one does not.
    let stray = Place { directory: kept, ..places[0].clone() };
    let mut strays = fleet([&[stray], &places[1..]].concat());
    strays.start(1).unwrap();
    let status = strays.wait(1, PATIENCE).expect("it is refused, and ends");
    let log = fs::read_to_string(strays.log_file(1).unwrap()).unwrap();
    assert_eq!(status.code(), Some(4), "{log}");
    assert!(log.contains("another cluster's"), "{log}");
    assert_eq!(get(&mut cluster.client(), "diary").unwrap(), Some(diary));
    cluster.client().write(&["SET", "k", "v"]).unwrap();
    cluster.converged();
}
