//! Members that come and go under load, by the command line.

mod support;

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use quorate_driver::blocking_client::Client;
use quorate_driver::fleet::{Place, local_places};
use support::{Cluster, PATIENCE, get};

/// Writers that append numbers to diaries of their own, exactly once each.
struct Writers {
    stop: Arc<AtomicBool>,
    /// How many each has written, and its longest wait.
    threads: Vec<JoinHandle<(u64, Duration)>>,
}

impl Writers {
    /// Writers that know all of these nodes.
    fn start(nodes: &[String], count: u64) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let writer = |number| {
            let (mut client, stop) = (Client::new(nodes.to_vec(), PATIENCE).unwrap(), Arc::clone(&stop));
            thread::spawn(move || {
                let (mut n, mut longest) = (0, Duration::ZERO);
                while !stop.load(Ordering::Relaxed) {
                    let asked = Instant::now();
                    client.write(&["APPEND", &format!("diary-{number}"), &format!("{n},")]).unwrap();
                    longest = longest.max(asked.elapsed());
                    n += 1;
                }
                (n, longest)
            })
        };
        let threads = (0..count).map(writer).collect();
        Self { stop, threads }
    }

    /// Stops them; each acknowledged write is there once, in order.
    fn finish(self, cluster: &Cluster) -> Duration {
        self.stop.store(true, Ordering::Relaxed);
        let mut client = cluster.client();
        let mut longest = Duration::ZERO;
        for (number, thread) in self.threads.into_iter().enumerate() {
            let (written, waited) = thread.join().unwrap();
            assert!(written > 0);
            longest = longest.max(waited);
            let expected: String = (0..written).map(|n| format!("{n},")).collect();
            assert_eq!(get(&mut client, &format!("diary-{number}")).unwrap(), Some(expected));
        }
        longest
    }
}

fn done(cluster: &Cluster, words: &[&str]) {
    let output = cluster.run(words);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{words:?}: {said}");
}

/// The members, each with its role.
fn members(cluster: &Cluster) -> Vec<(u64, String)> {
    let output = cluster.run(&["member", "list"]);
    let text = String::from_utf8(output.stdout).unwrap();
    let member = |line: &str| {
        let mut words = line.split_whitespace();
        Some((words.next()?.parse().ok()?, words.next()?.to_owned()))
    };
    text.lines().filter_map(member).collect()
}

fn at(place: &Place) -> String {
    format!("{}={}/{}", place.id, place.peer, place.client)
}

/// Places for nodes beyond those that found the cluster.
fn more_places(cluster: &Cluster, count: u64) -> Vec<Place> {
    let first = cluster.fleet.place(1).unwrap();
    let base: u16 = first.client.rsplit(':').next().unwrap().parse().unwrap();
    let founders = cluster.ids().len() as u64;
    let all = local_places(cluster.directory.path(), founders + count, base);
    all.into_iter().skip(usize::try_from(founders).unwrap()).collect()
}

#[test]
fn three_nodes_become_three_others_under_load_and_no_write_is_lost() {
    let mut cluster = Cluster::start(3, &[]);
    let places = more_places(&cluster, 3);
    let mut nodes = cluster.fleet.clients();
    nodes.extend(places.iter().map(|place| place.client.clone()));
    let writers = Writers::start(&nodes, 8);
    for place in places {
        cluster.fleet.join(place.clone());
        cluster.restart(place.id);
        done(&cluster, &["member", "add", &at(&place)]);
        done(&cluster, &["member", "promote", &place.id.to_string()]);
        // The old ones go in their order, the leader among them.
        let old = (place.id - 3).to_string();
        done(&cluster, &["member", "remove", &old]);
        let status = cluster.fleet.wait(place.id - 3, PATIENCE).expect("who is removed ends by itself");
        assert_eq!(status.code(), Some(4));
        assert!(cluster.log(place.id - 3).contains("was removed from the cluster"));
    }
    let voters = [4, 5, 6].map(|id| (id, "voter".to_owned()));
    assert_eq!(members(&cluster), voters);
    let longest = writers.finish(&cluster);
    println!("longest wait for a write: {longest:?}");
}

#[test]
fn a_wiped_node_comes_back_by_the_commands_that_its_refusal_names() {
    let mut cluster = Cluster::start(3, &[]);
    let mut client = cluster.client();
    client.write(&["SET", "k", "v"]).unwrap();
    cluster.fleet.kill(3);
    fs::remove_dir_all(cluster.data(3)).unwrap();
    let (code, log) = cluster.refused(3);
    assert_eq!(code, Some(4));
    let place = cluster.fleet.place(3).unwrap().clone();
    for command in
        ["quorate member remove 3", "--join", "quorate member add 3=PEER/CLIENT", "quorate member promote 3"]
    {
        assert!(log.contains(command), "{command} is not in {log}");
    }
    done(&cluster, &["member", "remove", "3"]);
    cluster.fleet.join(place.clone());
    cluster.restart(3);
    done(&cluster, &["member", "add", &at(&place)]);
    done(&cluster, &["member", "promote", "3"]);
    cluster.converged();
    assert_eq!(members(&cluster).len(), 3);
}

#[test]
fn a_leader_that_is_told_to_stop_hands_over_first() {
    let mut cluster = Cluster::start(3, &[]);
    for _ in 0..3 {
        let leader = cluster.leader();
        let writers = Writers::start(&cluster.fleet.clients(), 4);
        thread::sleep(Duration::from_millis(100));
        let status = cluster.fleet.stop(leader, PATIENCE);
        assert_eq!(status.and_then(|status| status.code()), Some(0));
        assert_ne!(cluster.leader(), leader);
        writers.finish(&cluster);
        cluster.restart(leader);
        cluster.wait_for("everybody", || (cluster.converged() > 0).then_some(()));
        // Another node campaigned because it was told to, and nobody's patience ended.
        assert!(cluster.log(cluster.leader()).contains("Leader in term"));
        let mut client = cluster.client();
        for number in 0..4 {
            client.write(&["DEL", &format!("diary-{number}")]).unwrap();
        }
    }
}

#[test]
fn leadership_goes_where_it_is_told_to() {
    let cluster = Cluster::start(3, &[]);
    let to = cluster.follower();
    done(&cluster, &["transfer", &to.to_string()]);
    assert_eq!(cluster.leader(), to);
    let output = cluster.run(&["transfer", "9", "--timeout-ms", "1000"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&output.stderr).contains("node 9 has no vote"));
}
