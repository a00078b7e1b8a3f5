//! What time alone brings about: ticks, and what is due at entries.

use alloc::format;
use alloc::vec::Vec;

use super::cluster::{Cluster, config, read, reply, write};
use crate::replica::Request;

/// The log's clock in a cluster whose nodes' clocks agree.
fn clock(cluster: &Cluster) -> u64 {
    cluster.now / 1_000
}

fn alarm(at: u64) -> Request {
    Request::Write(format!("alarm {at}").into())
}

fn last_item(cluster: &Cluster, id: u64) -> &[u8] {
    cluster.replica(id).state().items().last().map_or(b"", |item| item)
}

#[test]
fn a_leader_appends_an_entry_when_something_is_due_and_nobody_writes() {
    let mut cluster = Cluster::new(3, config);
    let leader = cluster.elect();
    let (at, later) = (clock(&cluster) + 500, clock(&cluster) + 900);
    cluster.ask(leader, alarm(later));
    cluster.ask(leader, alarm(at));
    let entries = cluster.entries_on_disk(leader);
    cluster.advance(499_000);
    assert_eq!(cluster.entries_on_disk(leader), entries, "nothing is due");
    cluster.advance(5_000);
    assert_eq!(cluster.ask(leader, read()), reply(&format!("alarm {later},alarm {at},rang {at},")));
    assert_eq!(cluster.entries_on_disk(leader), entries + 1, "one entry for it");
    cluster.advance(2_000_000);
    for id in 1..=3 {
        assert_eq!(last_item(&cluster, id), format!("rang {later}").as_bytes());
    }
    assert_eq!(cluster.entries_on_disk(leader), entries + 2, "and nothing after the last");
}

#[test]
fn a_client_s_entry_does_what_is_due_before_its_command() {
    let mut cluster = Cluster::new(3, config);
    let leader = cluster.elect();
    let at = clock(&cluster) + 5;
    cluster.ask(leader, alarm(at));
    // The clock goes on, and the leader is not woken.
    cluster.now += 5_000;
    assert_eq!(cluster.ask(leader, write("a")), reply("3"));
    assert_eq!(cluster.ask(leader, read()), reply(&format!("alarm {at},rang {at},a,")));
}

#[test]
fn whoever_leads_next_does_what_has_become_due() {
    let mut cluster = Cluster::new(3, config);
    let leader = cluster.elect();
    let at = clock(&cluster) + 100;
    cluster.ask(leader, alarm(at));
    cluster.kill(leader);
    let next = cluster.elect();
    cluster.advance(10_000);
    assert_eq!(last_item(&cluster, next), format!("rang {at}").as_bytes());
    assert_ne!(next, leader);
}

#[test]
fn what_is_due_at_once_is_done_in_pieces() {
    let mut cluster = Cluster::new(1, config);
    let leader = cluster.elect();
    let at = clock(&cluster) + 10;
    (0..1_500).for_each(|n| drop(cluster.ask(leader, alarm(at + n % 7 * 1_000_000 + n))));
    let due = |cluster: &Cluster| {
        let items = cluster.replica(leader).state().items();
        items.iter().filter(|item| item.starts_with(b"rang")).count()
    };
    assert_eq!(due(&cluster), 0);
    cluster.now += 7_000_000_000;
    cluster.ask(leader, write("a"));
    assert_eq!(due(&cluster), 8);
    let mut seen = Vec::new();
    for _ in 0..4 {
        cluster.advance(1_000);
        seen.push(due(&cluster));
    }
    assert!(seen.windows(2).all(|pair| pair[1] - pair[0] <= 1_024), "{seen:?}");
    assert_eq!(seen.last(), Some(&1_500));
}

#[test]
fn while_the_disk_is_full_nothing_is_appended_and_nobody_is_woken_for_it() {
    let mut cluster = Cluster::new(1, config);
    let leader = cluster.elect();
    let at = clock(&cluster) + 10;
    cluster.ask(leader, alarm(at));
    cluster.step(leader, [crate::replica::Event::DiskRoom(false)].into());
    cluster.advance(1_000_000);
    assert_ne!(last_item(&cluster, leader), format!("rang {at}").as_bytes());
    cluster.step(leader, [crate::replica::Event::DiskRoom(true)].into());
    cluster.advance(100_000);
    assert_eq!(last_item(&cluster, leader), format!("rang {at}").as_bytes());
}
