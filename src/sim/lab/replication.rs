//! Part 2B: agreement on a log.

use std::format;
use std::string::String;
use std::vec::Vec;

use super::servers::{ET, MS, Servers};
use super::{LabReport, LabTest};
use crate::raft::NodeId;
use crate::sim::cluster::Checked;
use crate::sim::network::Kinds;

pub(super) fn basic_agree(test: &LabTest, seed: u64) -> Checked<LabReport> {
    let mut servers = Servers::new(test, seed)?;
    for number in 1..=3 {
        servers.none_applied(number)?;
        servers.agree_at(format!("{}", number * 100), 3, number)?;
    }
    Ok(servers.report())
}

/// Each command crosses to each peer once.
pub(super) fn rpc_bytes(test: &LabTest, seed: u64) -> Checked<LabReport> {
    let mut servers = Servers::new(test, seed)?;
    servers.agree(String::from("99"), 3, false)?;
    let bytes = |servers: &Servers| servers.sim.network.counts().sent(Kinds::ALL).bytes;
    let before = bytes(&servers);
    let mut sent = 0;
    for number in 2..12 {
        let command: String =
            (0..5000).map(|_| char::from(b'a' + servers.workload.below(26) as u8)).collect();
        sent += command.len() as u64;
        servers.agree_at(command, 3, number)?;
    }
    let (used, most) = (bytes(&servers) - before, test.servers * sent + 50_000);
    servers.require(used <= most, || format!("{used} bytes for {sent} bytes of commands; at most {most}"))?;
    Ok(servers.report())
}

pub(super) fn follower_failure(test: &LabTest, seed: u64) -> Checked<LabReport> {
    let mut servers = Servers::new(test, seed)?;
    servers.agree("101", 3, false)?;
    let leader = servers.leader_check()?;
    servers.disconnect(servers.after(leader, 1));
    servers.agree("102", 2, false)?;
    servers.sleep(ET)?;
    servers.agree("103", 2, false)?;
    // Now the other follower too.
    let leader = servers.leader_check()?;
    servers.disconnect(servers.after(leader, 1));
    servers.disconnect(servers.after(leader, 2));
    servers.start_at(leader, "104", 4)?;
    servers.sleep(2 * ET)?;
    servers.none_applied(4)?;
    Ok(servers.report())
}

pub(super) fn leader_failure(test: &LabTest, seed: u64) -> Checked<LabReport> {
    let mut servers = Servers::new(test, seed)?;
    servers.agree("101", 3, false)?;
    let first = servers.leader_check()?;
    servers.disconnect(first);
    servers.agree("102", 2, false)?;
    servers.sleep(ET)?;
    servers.agree("103", 2, false)?;
    let second = servers.leader_check()?;
    servers.disconnect(second);
    let offers: Vec<_> = servers.all().into_iter().map(|node| (node, "104".into())).collect();
    servers.start_each(&offers)?;
    servers.sleep(2 * ET)?;
    servers.none_applied(4)?;
    Ok(servers.report())
}

pub(super) fn fail_agree(test: &LabTest, seed: u64) -> Checked<LabReport> {
    let mut servers = Servers::new(test, seed)?;
    servers.agree("101", 3, false)?;
    let leader = servers.leader_check()?;
    let follower = servers.after(leader, 1);
    servers.disconnect(follower);
    servers.agree("102", 2, false)?;
    servers.agree("103", 2, false)?;
    servers.sleep(ET)?;
    servers.agree("104", 2, false)?;
    servers.agree("105", 2, false)?;
    servers.connect(follower);
    servers.agree("106", 3, true)?;
    servers.sleep(ET)?;
    servers.agree("107", 3, true)?;
    Ok(servers.report())
}

pub(super) fn fail_no_agree(test: &LabTest, seed: u64) -> Checked<LabReport> {
    let mut servers = Servers::new(test, seed)?;
    servers.agree("10", 5, false)?;
    let leader = servers.leader_check()?;
    let away = [1, 2, 3].map(|places| servers.after(leader, places));
    away.iter().for_each(|&node| servers.disconnect(node));
    servers.start_at(leader, "20", 2)?;
    servers.sleep(2 * ET)?;
    servers.none_applied(2)?;
    // The majority that comes back may have chosen a leader of its own, which forgets the second command.
    away.iter().for_each(|&node| servers.connect(node));
    let leader = servers.leader_check()?;
    let number = servers.start(leader, "30")?.map(|accepted| accepted.number);
    servers.require(matches!(number, Some(2 | 3)), || format!("a command was taken as number {number:?}"))?;
    servers.agree("1000", 5, true)?;
    Ok(servers.report())
}

pub(super) fn concurrent_starts(test: &LabTest, seed: u64) -> Checked<LabReport> {
    let mut servers = Servers::new(test, seed)?;
    for attempt in 0..5 {
        if attempt > 0 {
            servers.sleep(3 * ET)?;
        }
        let leader = servers.leader_check()?;
        let Some(first) = servers.start(leader, "1")? else { continue };
        let offers: Vec<_> = (0..5).map(|number| (leader, format!("{}", 100 + number))).collect();
        let taken = servers.start_each(&offers)?;
        if taken.iter().flatten().any(|accepted| accepted.term != first.term) {
            continue;
        }
        for accepted in taken.iter().flatten() {
            if !servers.wait_for(accepted.number, 3, Some(first.term))? {
                break;
            }
        }
        if servers.role(leader) != Some((first.term, true)) {
            continue;
        }
        for (accepted, (_, value)) in taken.iter().zip(&offers) {
            let is_there = accepted
                .as_ref()
                .is_some_and(|accepted| servers.oracle.command(accepted.number) == Some(&accepted.command));
            servers
                .require(is_there, || format!("{value} was offered to the leader and is not in the log"))?;
        }
        return Ok(servers.report());
    }
    Err(servers.violation("the term changed too often".into()))
}

pub(super) fn rejoin(test: &LabTest, seed: u64) -> Checked<LabReport> {
    let mut servers = Servers::new(test, seed)?;
    servers.agree("101", 3, true)?;
    let first = servers.leader_check()?;
    servers.disconnect(first);
    for value in ["102", "103", "104"] {
        servers.start(first, value)?;
    }
    // The new leader commits under the same numbers.
    servers.agree("103", 2, true)?;
    let second = servers.leader_check()?;
    servers.disconnect(second);
    servers.connect(first);
    servers.agree("104", 2, true)?;
    servers.connect(second);
    servers.agree("105", 3, true)?;
    Ok(servers.report())
}

/// Commands that cannot be committed.
fn offer_in_vain(servers: &mut Servers, node: NodeId) -> Checked<()> {
    let offers: Vec<_> = (0..50).map(|_| (node, servers.number())).collect();
    servers.start_each(&offers).map(drop)
}

fn agree_often(servers: &mut Servers) -> Checked<()> {
    for _ in 0..50 {
        let value = servers.number();
        servers.agree(value, 3, true)?;
    }
    Ok(())
}

pub(super) fn backup(test: &LabTest, seed: u64) -> Checked<LabReport> {
    let mut servers = Servers::new(test, seed)?;
    let value = servers.number();
    servers.agree(value, 5, true)?;
    let first = servers.leader_check()?;
    let [friend, trio @ ..] = [1, 2, 3, 4].map(|places| servers.after(first, places));
    trio.iter().for_each(|&node| servers.disconnect(node));
    offer_in_vain(&mut servers, first)?;
    servers.sleep(ET / 2)?;
    servers.disconnect(first);
    servers.disconnect(friend);
    trio.iter().for_each(|&node| servers.connect(node));
    agree_often(&mut servers)?;
    // Another leader and one other that cannot commit.
    let second = servers.leader_check()?;
    let other = if second == trio[0] { trio[1] } else { trio[0] };
    servers.disconnect(other);
    offer_in_vain(&mut servers, second)?;
    servers.sleep(ET / 2)?;
    // The first pair again, with the one that has missed the last commands.
    servers.all().into_iter().for_each(|node| servers.disconnect(node));
    [first, friend, other].into_iter().for_each(|node| servers.connect(node));
    agree_often(&mut servers)?;
    servers.all().into_iter().for_each(|node| servers.connect(node));
    let value = servers.number();
    servers.agree(value, 5, true)?;
    Ok(servers.report())
}

/// Calls that were made between servers so far.
fn calls(servers: &Servers) -> u64 {
    servers.sim.network.counts().sent(Kinds::CORE_REQUESTS).frames
}

pub(super) fn count(test: &LabTest, seed: u64) -> Checked<LabReport> {
    const COMMANDS: u64 = 10;
    let mut servers = Servers::new(test, seed)?;
    let mut leader = servers.leader_check()?;
    let to_elect = calls(&servers);
    servers.require((1..=30).contains(&to_elect), || format!("{to_elect} calls to elect a leader"))?;
    for attempt in 0..5 {
        if attempt > 0 {
            servers.sleep(3 * ET)?;
            leader = servers.leader_check()?;
        }
        let before = calls(&servers);
        let Some(first) = servers.start(leader, "1")? else { continue };
        let offers: Vec<_> = (0..=COMMANDS).map(|_| (leader, servers.number())).collect();
        let taken = servers.start_each(&offers)?;
        let Some(taken) = taken.into_iter().collect::<Option<Vec<_>>>() else { continue };
        if taken.iter().any(|accepted| accepted.term != first.term) {
            continue;
        }
        for (accepted, number) in taken.iter().zip(first.number + 1..) {
            servers.require(accepted.number == number, || {
                format!("a command was taken as number {} instead of {number}", accepted.number)
            })?;
        }
        let mut is_stable = true;
        for accepted in taken.iter().take(COMMANDS as usize) {
            is_stable = is_stable && servers.wait_for(accepted.number, 3, Some(first.term))?;
            let is_it = servers.oracle.command(accepted.number) == Some(&accepted.command);
            servers
                .require(is_it || !is_stable, || format!("another command is number {}", accepted.number))?;
        }
        if !is_stable || servers.role(leader) != Some((first.term, true)) {
            continue;
        }
        let (used, most) = (calls(&servers) - before, (COMMANDS + 1 + 3) * 3);
        servers.require(used <= most, || format!("{used} calls for {COMMANDS} commands; at most {most}"))?;
        let before = calls(&servers);
        servers.sleep(1_000 * MS)?;
        let idle = calls(&servers) - before;
        servers.require(idle <= 3 * 20, || format!("{idle} calls in an idle second"))?;
        return Ok(servers.report());
    }
    Err(servers.violation("the term changed too often".into()))
}
