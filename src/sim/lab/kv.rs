//! The tests of parts 3A and 3B that are not rows of the generic one.

use std::collections::BTreeSet;
use std::format;
use std::vec::Vec;

use super::servers::{ET, MS};
use super::service::{Call, Service};
use super::{LabReport, LabTest};
use crate::raft::NodeId;
use crate::sim::cluster::{Checked, ClerkId};

/// A thousand appends of one clerk, one after the other: at least three in the time of a heartbeat.
pub(super) fn speed(test: &LabTest, seed: u64) -> Checked<LabReport> {
    const OPERATIONS: u64 = 1000;
    let mut service = Service::new(test, seed)?;
    let clerk = service.clerk();
    service.get(clerk, "x")?;
    let (start, mut expected) = (service.sim.now(), std::string::String::new());
    for number in 0..OPERATIONS {
        let piece = format!("x 0 {number} y");
        expected += &piece;
        service.call(clerk, &Call::Append("x".into(), piece))?;
    }
    let (used, most) = (service.sim.now() - start, OPERATIONS * 100 * MS / 3);
    service.require(used <= most, || format!("{OPERATIONS} appends took {used} us; at most {most}"))?;
    service.expect(clerk, "x", &expected)?;
    service.check_sizes()?;
    Ok(service.report())
}

/// Five clients append to one key of an unreliable service.
pub(super) fn one_key(test: &LabTest, seed: u64) -> Checked<LabReport> {
    const APPENDS: u64 = 10;
    let mut service = Service::new(test, seed)?;
    let first = service.clerk();
    service.put(first, "k", "")?;
    let mut clients: Vec<(ClerkId, u64)> = (0..test.clients).map(|_| (service.clerk(), 0)).collect();
    let piece = |client: usize, number: u64| format!("x {client} {number} y");
    for (number, (clerk, done)) in clients.iter().enumerate() {
        service.begin(*clerk, &Call::Append("k".into(), piece(number, *done)), true);
    }
    let mut open = clients.len();
    while open > 0 {
        let ended = service.next_ended(30_000 * MS)?;
        service.require(!ended.is_empty(), || "appends do not end".into())?;
        for ended in ended {
            let found = clients.iter_mut().enumerate().find(|(_, (clerk, _))| *clerk == ended.clerk);
            let Some((number, (clerk, done))) = found else { continue };
            *done += 1;
            if *done == APPENDS {
                open -= 1;
            } else {
                service.begin(*clerk, &Call::Append("k".into(), piece(number, *done)), true);
            }
        }
    }
    let value = service.get(first, "k")?;
    for client in 0..clients.len() {
        let mut from = 0;
        for piece in (0..APPENDS).map(|number| piece(client, number)) {
            let at = value.find(&piece);
            let is_once = at.is_some_and(|at| at >= from) && at == value.rfind(&piece);
            service.require(is_once, || format!("{piece:?} is missing, doubled or out of order"))?;
            from = at.unwrap_or(from) + 1;
        }
    }
    service.check_history()?;
    Ok(service.report())
}

/// What the parts of the lab's test of one partition came to: it is printed as three.
struct OnePartition {
    majority: LabReport,
    minority: LabReport,
    healed: LabReport,
}

fn one_partition(test: &LabTest, seed: u64) -> Checked<OnePartition> {
    let mut service = Service::new(test, seed)?;
    let clerk = service.clerk();
    service.put(clerk, "1", "13")?;
    let leader = service.sim.leader().ok_or_else(|| service.violation("no leader after a write".into()))?;
    // The leader is in the minority.
    let nodes = service.sim.nodes();
    let friend = nodes.iter().copied().find(|&node| node != leader).unwrap_or(leader);
    let minority = [leader, friend];
    let majority: Vec<NodeId> = nodes.into_iter().filter(|node| !minority.contains(node)).collect();
    let begun = service.report();

    service.partition(&minority.into_iter().collect());
    let with_majority = service.clerk_of(&majority);
    let with_minority = [service.clerk_of(&minority), service.clerk_of(&minority)];
    service.put(with_majority, "1", "14")?;
    service.expect(with_majority, "1", "14")?;
    let progressed = service.report();

    let (put, get) = (Call::Put("1".into(), "15".into()), Call::Get("1".into()));
    service.begin(with_minority[0], &put, true);
    service.begin(with_minority[1], &get, true);
    service.sleep(ET)?;
    service.expect(with_majority, "1", "14")?;
    service.put(with_majority, "1", "16")?;
    service.expect(with_majority, "1", "16")?;
    let waited = service.report();

    service.sim.network.heal();
    with_minority.into_iter().for_each(|clerk| service.sim.confine(clerk, None));
    let settled = service.sim.now() + ET;
    let end = settled + 3_000 * MS;
    let mut open: BTreeSet<ClerkId> = with_minority.into_iter().collect();
    while open.contains(&with_minority[0]) && service.sim.now() < end {
        let left = end - service.sim.now();
        for ended in service.next_ended(left)? {
            open.remove(&ended.clerk);
        }
    }
    service
        .require(!open.contains(&with_minority[0]), || "a write does not complete after the heal".into())?;
    // The lab's read has ended too, by and by.
    if !open.is_empty() {
        service.await_clerk(with_minority[1])?;
    }
    let now = service.sim.now();
    service.sleep(settled.saturating_sub(now))?;
    service.expect(clerk, "1", "15")?;
    service.check_history()?;
    let ended = service.report();
    Ok(OnePartition {
        majority: progressed.since(&begun),
        minority: waited.since(&progressed),
        healed: ended.since(&waited),
    })
}

pub(super) fn progress_in_majority(test: &LabTest, seed: u64) -> Checked<LabReport> {
    one_partition(test, seed).map(|parts| parts.majority)
}

pub(super) fn no_progress_in_minority(test: &LabTest, seed: u64) -> Checked<LabReport> {
    one_partition(test, seed).map(|parts| parts.minority)
}

pub(super) fn completion_after_heal(test: &LabTest, seed: u64) -> Checked<LabReport> {
    one_partition(test, seed).map(|parts| parts.healed)
}

/// A server that was away while the log was compacted catches up by a snapshot.
pub(super) fn snapshot_rpc(test: &LabTest, seed: u64) -> Checked<LabReport> {
    let mut service = Service::new(test, seed)?;
    let clerk = service.clerk();
    service.put(clerk, "a", "A")?;
    service.expect(clerk, "a", "A")?;
    let [first, second, third] = [1, 2, 3].map(NodeId);

    service.partition(&[first, second].into());
    let with_two = service.clerk_of(&[first, second]);
    for number in 0..50 {
        let number = format!("{number}");
        service.put(with_two, &number, &number)?;
    }
    service.sleep(ET)?;
    service.put(with_two, "b", "B")?;
    service.check_sizes()?;

    // Now the third has to have what only a snapshot holds.
    service.partition(&[first, third].into());
    let with_third = service.clerk_of(&[first, third]);
    service.put(with_third, "c", "C")?;
    service.put(with_third, "d", "D")?;
    for (key, value) in [("a", "A"), ("b", "B"), ("1", "1"), ("49", "49")] {
        service.expect(with_third, key, value)?;
    }
    let installed = service.sim.status(third).map_or(0, |status| status.counters.snapshots_installed);
    service.require(installed > 0, || "the third server caught up without a snapshot".into())?;

    service.sim.network.heal();
    service.put(clerk, "e", "E")?;
    for (key, value) in [("c", "C"), ("e", "E"), ("1", "1")] {
        service.expect(clerk, key, value)?;
    }
    service.check_history()?;
    Ok(service.report())
}

/// Few keys that change often do not make the snapshot long.
pub(super) fn snapshot_size(test: &LabTest, seed: u64) -> Checked<LabReport> {
    const MOST: u64 = 500;
    let mut service = Service::new(test, seed)?;
    let clerk = service.clerk();
    for _ in 0..200 {
        for value in ["0", "1"] {
            service.put(clerk, "x", value)?;
            service.expect(clerk, "x", value)?;
        }
    }
    service.check_sizes()?;
    for node in service.sim.nodes() {
        let bytes = service.snapshot_bytes(node);
        service.require((1..=MOST).contains(&bytes), || format!("{node:?}'s snapshot has {bytes} bytes"))?;
    }
    Ok(service.report())
}
