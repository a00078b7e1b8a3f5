//! Three replicas: leader changes, retries, and a follower that catches up by a snapshot.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use bytes::Bytes;

use super::cluster::{Cluster, TIMEOUT, config, once, open, read, reply, write};
use crate::raft::NodeId;
use crate::replica::{Config, Outcome, Refused, Request};
use crate::rng::Rng;

fn session(cluster: &mut Cluster, leader: u64) -> u64 {
    match cluster.ask(leader, open("nonce")) {
        Outcome::SessionOpened(id) => id,
        other => panic!("no session: {other:?}"),
    }
}

/// All running nodes have the same state and sessions at the same index.
fn assert_equal(cluster: &Cluster) {
    let picture = |id: u64| {
        let machine = &cluster.replica(id).machine;
        (machine.applied, machine.state.clone(), machine.sessions.clone())
    };
    for id in 2..=3 {
        assert_eq!(picture(id), picture(1), "node {id} differs from node 1");
    }
}

#[test]
fn a_write_is_applied_by_all_and_answered_by_the_leader() {
    let mut cluster = Cluster::new(3, config);
    let leader = cluster.elect();
    assert_eq!(cluster.ask(leader, write("a")), reply("1"));
    assert_eq!(cluster.ask(leader, read()), reply("a,"));
    cluster.advance(200_000);
    assert_equal(&cluster);
    assert_ne!(cluster.replica(1).state().seed(), 0);
}

#[test]
fn followers_say_who_leads_and_read_all_the_same_and_a_node_that_knows_none_says_so() {
    let mut cluster = Cluster::new(3, config);
    assert_eq!(cluster.ask(1, write("a")), Outcome::Refused(Refused::NoLeader));
    assert_eq!(cluster.ask(1, read()), Outcome::Refused(Refused::NoLeader));
    let leader = cluster.elect();
    let follower = leader % 3 + 1;
    let refused = Outcome::Refused(Refused::NotLeader(NodeId(leader)));
    assert_eq!(cluster.ask(follower, write("a")), refused);
    assert_eq!(cluster.ask(follower, open("n")), refused);
    // From where on its own state serves, it asks the leader.
    assert_eq!(cluster.ask(leader, write("a")), reply("1"));
    assert_eq!(cluster.ask(follower, read()), reply("a,"));
    let local = Request::ReadLocal(Bytes::from_static(b"all"));
    assert_eq!(cluster.ask(follower, local), reply("a,"));
}

#[test]
fn exactly_once_append_under_duplicated_retries_through_a_leader_change() {
    let mut cluster = Cluster::new(3, config);
    let leader = cluster.elect();
    let id = session(&mut cluster, leader);
    assert_eq!(cluster.ask(leader, once(id, 1, 1, "a")), reply("1"));
    // Committed by the others, but the leader's reply is lost with the leader.
    let lost = cluster.request(leader, once(id, 2, 2, "b"));
    let doubled = cluster.request(leader, once(id, 2, 2, "b"));
    cluster.settle();
    assert_eq!(cluster.end(lost), cluster.end(doubled));
    cluster.kill(leader);
    let second = cluster.elect();
    assert_ne!(second, leader);
    for _ in 0..3 {
        assert_eq!(cluster.ask(second, once(id, 2, 2, "b")), reply("2"));
    }
    assert_eq!(cluster.ask(second, once(id, 3, 2, "c")), reply("3"));
    cluster.start(leader);
    cluster.advance(500_000);
    let third = cluster.elect();
    assert_eq!(cluster.ask(third, once(id, 2, 2, "b")), reply("2"));
    assert_eq!(cluster.ask(third, read()), reply("a,b,c,"));
    cluster.advance(500_000);
    assert_equal(&cluster);
}

#[test]
fn a_replaced_write_is_certainly_not_done_and_a_lost_leadership_alone_says_nothing() {
    let mut cluster = Cluster::new(3, config);
    let old = cluster.elect();
    cluster.isolate(old);
    let tag = cluster.request(old, write("lost"));
    let stale = cluster.request(old, read());
    let new = cluster.elect();
    assert_ne!(new, old);
    assert_eq!(cluster.end(tag), None, "not yet known");
    assert_eq!(cluster.ask(new, write("kept")), reply("1"));
    assert!(
        matches!(cluster.end(stale), None | Some(Outcome::Refused(_))),
        "a deposed leader serves no read"
    );
    cluster.heal();
    cluster.advance(1_000_000);
    let leader = cluster.leader().expect("a leader");
    assert_eq!(cluster.end(tag), Some(&Outcome::Refused(Refused::NotLeader(NodeId(leader)))));
    assert!(matches!(cluster.end(stale), Some(Outcome::Refused(_))));
    assert_eq!(cluster.ask(leader, read()), reply("kept,"));
    assert_equal(&cluster);
}

#[test]
fn what_is_never_resolved_ends_at_its_deadline_by_the_truth() {
    let mut cluster = Cluster::new(3, config);
    let old = cluster.elect();
    cluster.isolate(old);
    let tag = cluster.request(old, write("lost"));
    let stale = cluster.request(old, read());
    cluster.advance(TIMEOUT + 10_000);
    assert_eq!(cluster.end(tag), Some(&Outcome::Undetermined));
    assert!(matches!(cluster.end(stale), Some(Outcome::Refused(_))));
    cluster.heal();
    cluster.advance(2_000_000);
    assert_eq!(cluster.end(tag), Some(&Outcome::Undetermined), "and is not answered again");
    assert_eq!(cluster.replica(old).load(), (0, 0));
}

fn eager(id: u64) -> Config {
    Config { snapshot_log_bytes: Some(400), snapshot_growth_percent: 0, ..config(id) }
}

#[test]
fn a_follower_catches_up_by_a_snapshot_with_equal_digest_and_sessions() {
    let mut cluster = Cluster::new(3, eager);
    let leader = cluster.elect();
    let id = session(&mut cluster, leader);
    let behind = leader % 3 + 1;
    cluster.isolate(behind);
    for seq in 1..=60 {
        let item = format!("{seq}");
        assert_eq!(cluster.ask(leader, once(id, seq, seq - 2.min(seq), &item)), reply(&item));
    }
    assert_eq!(cluster.leader(), Some(leader));
    cluster.heal();
    cluster.advance(3_000_000);
    assert!(cluster.nodes[&behind].seen.contains(&"install"), "{:?}", cluster.nodes[&behind].seen);
    assert!(cluster.nodes[&behind].seen.contains(&"discard"), "the old state is dropped elsewhere");
    assert_equal(&cluster);
    let digests: Vec<u128> =
        (1..=3).map(|id| crate::replica::StateMachine::digest(cluster.replica(id).state())).collect();
    assert!(digests.iter().all(|&digest| digest == digests[0]));
    // The one that caught up leads, and knows what has run.
    let others: Vec<u64> = (1..=3).filter(|&other| other != behind).collect();
    let leader = cluster.leader().expect("a leader");
    if leader != behind {
        cluster.isolate(leader);
        let _ = cluster.elect();
    }
    let leader = cluster.leader().expect("a leader");
    assert_eq!(cluster.ask(leader, once(id, 60, 59, "60")), reply("60"));
    assert_eq!(others.len(), 2);
    // A restart from the received snapshot gives the same.
    cluster.heal();
    cluster.advance(1_000_000);
    let before = cluster.replica(behind).state().clone();
    cluster.kill(behind);
    cluster.start(behind);
    cluster.advance(2_000_000);
    assert_eq!(cluster.replica(behind).state(), &before);
    assert_equal(&cluster);
}

/// A client that retries without mercy while leaders come and go and messages are lost and doubled: each command runs
/// exactly once, in order, and no read misses what was answered.
#[test]
fn a_storm_of_retries_and_restarts_runs_each_command_once() {
    for seed in 0..20 {
        storm(seed);
    }
}

fn storm(seed: u64) {
    let mut rng = Rng::new(seed);
    let mut cluster = Cluster::new(3, eager);
    let leader = cluster.elect();
    let id = session(&mut cluster, leader);
    cluster.chaos = Some(Rng::stream(seed, 1));
    let mut expected = String::new();
    for seq in 1..=30 {
        let item = format!("{seq}");
        expected.push_str(&item);
        expected.push(',');
        run_once(&mut cluster, &mut rng, once(id, seq, seq, &item), &reply(&item));
        let reads: Vec<_> = (1..=3).map(|node| cluster.request(node, read())).collect();
        cluster.advance(100_000);
        for tag in reads {
            if let Some(Outcome::Reply(seen)) = cluster.end(tag) {
                assert_eq!(seen, &expected, "seed {seed}: a stale read");
            }
        }
    }
    cluster.heal();
    cluster.chaos = None;
    cluster.advance(3_000_000);
    let leader = cluster.elect();
    assert_eq!(cluster.ask(leader, read()), reply(&expected), "seed {seed}");
    cluster.advance(500_000);
    assert_equal(&cluster);
    cluster.advance(TIMEOUT);
    assert!((1..=3).all(|node| cluster.replica(node).load() == (1, 0)), "seed {seed}: a request still waits");
}

/// Sends a command again and again, to whomever, until one of its requests ends with `expected`.
fn run_once(cluster: &mut Cluster, rng: &mut Rng, request: Request, expected: &Outcome) {
    let mut tags = Vec::new();
    for _ in 0..500 {
        match rng.below(8) {
            0 => {
                cluster.heal();
                cluster.isolate(1 + rng.below(3));
            }
            1 => {
                let node = 1 + rng.below(3);
                cluster.kill(node);
                cluster.start(node);
            }
            2 => cluster.heal(),
            _ => {}
        }
        for _ in 0..=rng.below(2) {
            tags.push(cluster.request(1 + rng.below(3), request.clone()));
        }
        cluster.advance(rng.below(400_000));
        let ends = tags.iter().filter_map(|&tag| cluster.end(tag));
        let mut replies = ends.filter(|end| matches!(end, Outcome::Reply(_) | Outcome::Session(_)));
        if let Some(reply) = replies.next() {
            assert_eq!(reply, expected);
            return;
        }
    }
    panic!("{request:?} never ran");
}
