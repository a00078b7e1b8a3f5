//! Part 2C: persistence and churn.

use std::format;
use std::string::String;
use std::vec::Vec;

use bytes::Bytes;

use super::agreement::{Accepted, Agreement, Offer, Verdict};
use super::servers::{ET, MS, Servers};
use super::{LabReport, LabTest, pace};
use crate::raft::NodeId;
use crate::sim::cluster::Checked;
use crate::time::Micros;

pub(super) fn persist_1(test: &LabTest, seed: u64) -> Checked<LabReport> {
    let mut servers = Servers::new(test, seed)?;
    servers.agree("11", 3, true)?;
    restart_all(&mut servers)?;
    servers.agree("12", 3, true)?;
    let leader = servers.leader_check()?;
    servers.disconnect(leader);
    servers.restart_connected(leader)?;
    servers.agree("13", 3, true)?;
    let leader = servers.leader_check()?;
    servers.disconnect(leader);
    servers.agree("14", 2, true)?;
    servers.restart_connected(leader)?;
    // Before the next leader is made to fail.
    servers.wait_for(4, 3, None)?;
    let leader = servers.leader_check()?;
    let follower = servers.after(leader, 1);
    servers.disconnect(follower);
    servers.agree("15", 2, true)?;
    servers.restart_connected(follower)?;
    servers.agree("16", 3, true)?;
    Ok(servers.report())
}

pub(super) fn restart_all(servers: &mut Servers) -> Checked<()> {
    servers.all().into_iter().for_each(|node| servers.crash(node));
    servers.all().into_iter().try_for_each(|node| servers.restart_connected(node))
}

pub(super) fn persist_2(test: &LabTest, seed: u64) -> Checked<LabReport> {
    let mut servers = Servers::new(test, seed)?;
    let mut value = 10;
    let mut next = || {
        value += 1;
        format!("{value}")
    };
    for _ in 0..5 {
        servers.agree(next(), 5, true)?;
        let leader = servers.leader_check()?;
        let [a, b, c, d] = [1, 2, 3, 4].map(|places| servers.after(leader, places));
        [a, b].into_iter().for_each(|node| servers.disconnect(node));
        servers.agree(next(), 3, true)?;
        [leader, c, d].into_iter().for_each(|node| servers.disconnect(node));
        servers.restart_connected(a)?;
        servers.restart_connected(b)?;
        servers.sleep(ET)?;
        servers.restart_connected(c)?;
        servers.agree(next(), 3, true)?;
        servers.connect(d);
        servers.connect(leader);
    }
    servers.agree("1000", 5, true)?;
    Ok(servers.report())
}

pub(super) fn persist_3(test: &LabTest, seed: u64) -> Checked<LabReport> {
    let mut servers = Servers::new(test, seed)?;
    servers.agree("101", 3, true)?;
    let leader = servers.leader_check()?;
    let [a, b] = [1, 2].map(|places| servers.after(leader, places));
    servers.disconnect(b);
    servers.agree("102", 2, true)?;
    servers.crash(leader);
    servers.crash(a);
    servers.connect(b);
    servers.restart_connected(leader)?;
    servers.agree("103", 2, true)?;
    servers.restart_connected(a)?;
    servers.agree("104", 3, true)?;
    Ok(servers.report())
}

/// The pause between two rounds of a Figure 8 test: mostly next to nothing, now and then long enough for an election.
fn figure_8_pause(servers: &mut Servers) -> Micros {
    if servers.rng.chance(100, 1000) { servers.rng.below(500) * MS } else { servers.rng.below(13) * MS }
}

/// Offers a random command to each server that runs, and returns the last connected one that took its command.
fn last_to_take(servers: &mut Servers) -> Checked<Option<NodeId>> {
    let up: Vec<NodeId> = servers.all().into_iter().filter(|&node| servers.is_up(node)).collect();
    let offers: Vec<_> = up.into_iter().map(|node| (node, servers.number())).collect();
    let takers = servers.start_each(&offers)?.into_iter().flatten().map(|accepted| accepted.node);
    Ok(takers.filter(|&node| servers.is_connected(node)).last())
}

/// The Figure 8 of the paper: leaders crash with entries of older terms in their logs.
pub(super) fn figure_8(test: &LabTest, seed: u64) -> Checked<LabReport> {
    let mut servers = Servers::new(test, seed)?;
    let value = servers.number();
    servers.agree(value, 1, true)?;
    let all = servers.all();
    for _ in 0..1000 {
        let leader = last_to_take(&mut servers)?;
        let pause = figure_8_pause(&mut servers);
        servers.sleep(pause)?;
        if let Some(leader) = leader {
            servers.crash(leader);
        }
        if all.iter().filter(|&&node| servers.is_up(node)).count() < 3 {
            let one = servers.random();
            if !servers.is_up(one) {
                servers.restart_connected(one)?;
            }
        }
    }
    for node in all.into_iter() {
        if !servers.is_up(node) {
            servers.restart_connected(node)?;
        }
    }
    let value = servers.number();
    servers.agree(value, 5, true)?;
    Ok(servers.report())
}

pub(super) fn unreliable_agree(test: &LabTest, seed: u64) -> Checked<LabReport> {
    let mut servers = Servers::new(test, seed)?;
    for round in 1..50 {
        let now = servers.sim.now();
        let beside = (0..4).map(|place| Agreement::new(format!("{}", 100 * round + place), 1, true, now));
        servers.background.extend(beside);
        servers.agree(format!("{round}"), 1, true)?;
    }
    pace::set_weather(test, false, &mut servers.sim.network);
    while !servers.background.is_empty() {
        servers.sleep(MS)?;
    }
    servers.agree("100", 5, true)?;
    let count = servers.oracle.count();
    servers.require(count >= 246, || format!("only {count} commands are committed"))?;
    Ok(servers.report())
}

/// Figure 8 with cuts instead of crashes, and replies that come late.
pub(super) fn figure_8_unreliable(test: &LabTest, seed: u64) -> Checked<LabReport> {
    let mut servers = Servers::new(test, seed)?;
    let value = servers.number();
    servers.agree(value, 1, true)?;
    let all = servers.all();
    for round in 0..1000 {
        if round == 200 {
            pace::reorder_replies(test, &mut servers.sim.network);
        }
        let leader = last_to_take(&mut servers)?;
        let pause = figure_8_pause(&mut servers);
        servers.sleep(pause)?;
        if let Some(leader) = leader.filter(|_| servers.rng.chance(1, 2)) {
            servers.disconnect(leader);
        }
        if servers.connected() < 3 {
            let one = servers.random();
            servers.connect(one);
        }
    }
    all.into_iter().for_each(|node| servers.connect(node));
    let value = servers.number();
    servers.agree(value, 5, true)?;
    Ok(servers.report())
}

/// A client of the churn tests: offers one value after the other to everyone, and remembers those that it saw committed.
#[derive(Debug)]
struct Churner {
    me: u64,
    value: u64,
    stage: Stage,
    saw: Vec<Bytes>,
}

#[derive(Debug)]
enum Stage {
    Idle(Micros),
    /// Since when, what is not answered yet, and the last that was taken.
    Offering(Micros, Vec<Offer>, Option<Accepted>),
    /// Looking whether it is committed, with ever longer pauses.
    Looking(Accepted, usize, Micros),
}

impl Churner {
    const LOOKS: [Micros; 5] = [10, 20, 50, 100, 200];

    fn new(me: u64) -> Self {
        Self { me, value: 0, stage: Stage::Idle(0), saw: Vec::new() }
    }

    fn advance(&mut self, servers: &mut Servers, is_stopping: bool) {
        let now = servers.sim.now();
        match &mut self.stage {
            Stage::Idle(until) if *until > now || is_stopping => {}
            Stage::Idle(_) => {
                let value: String = format!("{}-{}", self.me, self.value);
                self.value += 1;
                let up: Vec<NodeId> = servers.all().into_iter().filter(|&node| servers.is_up(node)).collect();
                let offers = up.into_iter().map(|node| servers.offer(node, &value)).collect();
                self.stage = Stage::Offering(now, offers, None);
            }
            Stage::Offering(since, open, taken) => {
                open.retain_mut(|offer| match servers.verdict(offer) {
                    Verdict::Open => true,
                    Verdict::Refused => false,
                    Verdict::Accepted(accepted) => {
                        *taken = Some(accepted);
                        false
                    }
                });
                if open.is_empty() {
                    self.stage = match taken.take() {
                        // The first look is at once, and finds nothing.
                        Some(accepted) => Stage::Looking(accepted, 1, *since + Self::LOOKS[0] * MS),
                        None => Stage::Idle(now + (79 + 17 * self.me) * MS),
                    };
                }
            }
            Stage::Looking(_, _, look_at) if *look_at > now => {}
            Stage::Looking(accepted, looks, look_at) => match servers.oracle.command(accepted.number) {
                Some(command) => {
                    if *command == accepted.command {
                        self.saw.push(accepted.command.clone());
                    }
                    self.stage = Stage::Idle(now);
                }
                None if *looks == Self::LOOKS.len() => self.stage = Stage::Idle(now),
                None => {
                    *look_at = now + Self::LOOKS[*looks] * MS;
                    *looks += 1;
                }
            },
        }
    }

    fn is_idle(&self) -> bool {
        matches!(self.stage, Stage::Idle(_))
    }
}

fn churn_on(servers: &mut Servers, clients: &mut [Churner], micros: Micros) -> Checked<()> {
    let end = servers.sim.now() + micros;
    while servers.sim.now() < end {
        clients.iter_mut().for_each(|client| client.advance(servers, false));
        servers.sleep(MS)?;
    }
    Ok(())
}

/// One round of what happens to the servers meanwhile.
fn disturb(servers: &mut Servers) -> Checked<()> {
    if servers.rng.chance(200, 1000) {
        let one = servers.random();
        servers.disconnect(one);
    }
    if servers.rng.chance(500, 1000) {
        let one = servers.random();
        if !servers.is_up(one) {
            servers.restart(one)?;
        }
        servers.connect(one);
    }
    if servers.rng.chance(200, 1000) {
        let one = servers.random();
        if servers.is_up(one) {
            servers.crash(one);
        }
    }
    Ok(())
}

/// Clients go on while servers crash, come back, and are cut off; what a client saw committed stays.
pub(super) fn churn(test: &LabTest, seed: u64) -> Checked<LabReport> {
    let mut servers = Servers::new(test, seed)?;
    let mut clients: Vec<Churner> = (0..3).map(Churner::new).collect();
    for _ in 0..20 {
        disturb(&mut servers)?;
        churn_on(&mut servers, &mut clients, 700 * MS)?;
    }
    churn_on(&mut servers, &mut clients, ET)?;
    pace::set_weather(test, false, &mut servers.sim.network);
    for node in servers.all() {
        if !servers.is_up(node) {
            servers.restart(node)?;
        }
        servers.connect(node);
    }
    while !clients.iter().all(Churner::is_idle) {
        clients.iter_mut().for_each(|client| client.advance(&mut servers, true));
        servers.sleep(MS)?;
    }
    servers.sleep(ET)?;
    let value = servers.number();
    let last = servers.agree(value, 5, true)?;
    for number in 1..=last {
        servers.wait_for(number, 5, None)?;
    }
    let committed: std::collections::BTreeSet<&Bytes> =
        (1..=last).filter_map(|number| servers.oracle.command(number)).collect();
    let lost = clients.iter().flat_map(|client| &client.saw).find(|command| !committed.contains(command));
    servers.require(lost.is_none(), || format!("{lost:?} was seen committed and is not in the log"))?;
    Ok(servers.report())
}
