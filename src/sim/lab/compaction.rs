//! Part 2D: log compaction.

use std::format;

use super::persistence::restart_all;
use super::servers::Servers;
use super::{LabReport, LabTest};
use crate::sim::cluster::Checked;

/// Most bytes of Raft state that a server may keep: the lab's `MAXLOGSIZE`.
const MAX_STATE: usize = 2000;

fn check_sizes(servers: &Servers) -> Checked<()> {
    for node in servers.all() {
        let bytes = servers.state_bytes(node);
        servers.require(bytes < MAX_STATE, || format!("{node:?} keeps {bytes} bytes of Raft state"))?;
    }
    Ok(())
}

fn agree_on_any(servers: &mut Servers, count: usize) -> Checked<usize> {
    let value = servers.number();
    servers.agree(value, count, true)
}

/// Thirty rounds of commands, in each of which one server may be away, and has to catch up by a snapshot.
fn compact(test: &LabTest, seed: u64, disconnect: bool) -> Checked<LabReport> {
    let mut servers = Servers::new(test, seed)?;
    agree_on_any(&mut servers, 3)?;
    let mut leader = servers.leader_check()?;
    for round in 0..30 {
        let next = servers.after(leader, 1);
        let (sender, victim) = if round % 3 == 1 { (next, leader) } else { (leader, next) };
        if disconnect {
            servers.disconnect(victim);
            agree_on_any(&mut servers, 2)?;
        }
        if test.crash {
            servers.crash(victim);
            agree_on_any(&mut servers, 2)?;
        }
        let burst = 5 + servers.rng.below(10);
        for _ in 0..burst {
            // Not awaited: where the sender does not lead, it refuses.
            let value = servers.number();
            servers.offer(sender, &value);
        }
        let everyone = if disconnect || test.crash { 2 } else { 3 };
        agree_on_any(&mut servers, everyone)?;
        check_sizes(&servers)?;
        if disconnect {
            servers.connect(victim);
        }
        if test.crash {
            servers.restart_connected(victim)?;
        }
        if disconnect || test.crash {
            agree_on_any(&mut servers, 3)?;
            leader = servers.leader_check()?;
        }
    }
    Ok(servers.report())
}

/// Nobody leaves, or servers crash, as the test's row says.
pub(super) fn snapshots(test: &LabTest, seed: u64) -> Checked<LabReport> {
    compact(test, seed, false)
}

/// Servers are cut off.
pub(super) fn snapshots_disconnected(test: &LabTest, seed: u64) -> Checked<LabReport> {
    compact(test, seed, true)
}

pub(super) fn all_crash(test: &LabTest, seed: u64) -> Checked<LabReport> {
    let mut servers = Servers::new(test, seed)?;
    agree_on_any(&mut servers, 3)?;
    for _ in 0..5 {
        let commands = 5 + servers.rng.below(10);
        for _ in 0..commands {
            agree_on_any(&mut servers, 3)?;
        }
        let before = agree_on_any(&mut servers, 3)?;
        restart_all(&mut servers)?;
        let after = agree_on_any(&mut servers, 3)?;
        servers.require(after > before, || format!("number {after} came after number {before}"))?;
    }
    Ok(servers.report())
}

/// A snapshot is not lost when the state is saved for the first time after a restart.
pub(super) fn init(test: &LabTest, seed: u64) -> Checked<LabReport> {
    let mut servers = Servers::new(test, seed)?;
    agree_on_any(&mut servers, 3)?;
    for _ in 0..=10 {
        agree_on_any(&mut servers, 3)?;
    }
    restart_all(&mut servers)?;
    agree_on_any(&mut servers, 3)?;
    restart_all(&mut servers)?;
    agree_on_any(&mut servers, 3)?;
    Ok(servers.report())
}
