//! Part 2A: leader election.

use std::vec::Vec;

use super::servers::{ET, MS, Servers};
use super::{LabReport, LabTest};
use crate::raft::NodeId;
use crate::sim::cluster::Checked;

pub(super) fn initial_election(test: &LabTest, seed: u64) -> Checked<LabReport> {
    let mut servers = Servers::new(test, seed)?;
    servers.leader_check()?;
    servers.sleep(50 * MS)?;
    let term = servers.term_check()?;
    servers.require(term >= 1, || "the term is 0 although there is a leader".into())?;
    servers.sleep(2 * ET)?;
    // The lab only warns when the term has moved. Nothing was lost and nobody was slow: it may not move here.
    let later = servers.term_check()?;
    servers.require(later == term, || "the term moved although nothing failed".into())?;
    servers.leader_check()?;
    Ok(servers.report())
}

pub(super) fn re_election(test: &LabTest, seed: u64) -> Checked<LabReport> {
    let mut servers = Servers::new(test, seed)?;
    let first = servers.leader_check()?;
    servers.disconnect(first);
    servers.leader_check()?;
    // The old leader comes back and steps down.
    servers.connect(first);
    let second = servers.leader_check()?;
    // Without a majority there is no leader.
    let other = servers.after(second, 1);
    servers.disconnect(second);
    servers.disconnect(other);
    servers.sleep(2 * ET)?;
    servers.no_leader_check()?;
    servers.connect(other);
    servers.leader_check()?;
    servers.connect(second);
    servers.leader_check()?;
    Ok(servers.report())
}

pub(super) fn many_elections(test: &LabTest, seed: u64) -> Checked<LabReport> {
    let mut servers = Servers::new(test, seed)?;
    servers.leader_check()?;
    for _ in 0..9 {
        // Some may be the same.
        let away: Vec<NodeId> = (0..3).map(|_| servers.random()).collect();
        away.iter().for_each(|&node| servers.disconnect(node));
        servers.leader_check()?;
        away.iter().for_each(|&node| servers.connect(node));
    }
    servers.leader_check()?;
    Ok(servers.report())
}
