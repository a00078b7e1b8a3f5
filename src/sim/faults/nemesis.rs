//! Who carries out a plan's faults, and mends what they broke when their time is over.

use std::boxed::Box;
use std::collections::{BTreeMap, BTreeSet};
use std::format;
use std::string::String;
use std::vec::Vec;

use super::{Fault, Who};
use crate::raft::{Configuration, NodeId};
use crate::replica::StateMachine;
use crate::rng::Rng;
use crate::sim::census::met;
use crate::sim::cluster::{Checked, Cluster, Crash};
use crate::sim::disk::{Disk, DiskFault, DiskWeather, Expectation};
use crate::sim::network::{ClientWeather, Cuts, Kinds, Region, Shape, Weather};
use crate::sim::queue::Queue;
use crate::time::Micros;

const MS: Micros = 1_000;
const SECOND: Micros = 1_000_000;

/// Exit code of a node whose disk failed.
const DISK_FAILED: u8 = 3;

/// The worst weather of a disk in a run. Writes that go astray are dealt one by one: whoever loses them is lost.
const FAILING: DiskWeather = DiskWeather { stale_writes: 0, misdirected_writes: 0, ..DiskWeather::WILD };

/// How often the nemesis looks for nodes that went down by themselves.
const ROUND: Micros = 20 * MS;

/// How long a node that has to refuse may take to do so after all faults have ended: it has to hear from a majority first.
const REFUSAL: Micros = 10 * SECOND;

/// Something that the nemesis is going to do.
#[derive(Debug)]
enum Deed {
    Fault(Fault),
    Start(NodeId),
    EndPartition(u64),
    EndWeather(u64),
    EndSlowness(NodeId),
    EndDisk(NodeId),
    EndClock(NodeId),
    EndClients,
    /// Steps of a disk that goes back in time.
    RollBack(NodeId, u8, Option<Box<Disk>>),
    SwapBack(NodeId, NodeId),
    Round,
}

/// A node that is lost for the rest of the run, with what it must say.
#[derive(Debug)]
struct Loss {
    fault: DiskFault,
    expected: Expectation,
}

/// Carries out faults.
#[derive(Debug)]
pub struct Nemesis {
    rng: Rng,
    agenda: Queue<Deed>,
    lost: BTreeMap<NodeId, Loss>,
    /// Nodes whose disks are exchanged: they refuse to start.
    strangers: BTreeSet<NodeId>,
    /// Nodes that are going to be started.
    starting: BTreeSet<NodeId>,
    /// Nodes that are going to be killed by what they do, and how long they are down then.
    traps: BTreeMap<NodeId, Micros>,
    partitions: BTreeMap<u64, Cuts>,
    /// Rates of clocks that run wild, before they did.
    rates: BTreeMap<NodeId, i32>,
    /// Until when connections of clients are bad.
    clients_until: Micros,
    usual: Weather,
    weathers: BTreeMap<u64, (Option<Region>, Weather)>,
    /// Until then nothing new befalls anybody.
    quiet_until: Micros,
    last_token: u64,
    /// Whether more disks than a minority may be lost.
    reckless: bool,
}

impl Nemesis {
    /// The nemesis of a run with this seed, these faults and this weather between them.
    pub fn new(seed: u64, faults: &[(Micros, Fault)], usual: Weather) -> Self {
        let mut agenda = Queue::default();
        for (at, fault) in faults {
            agenda.push(*at, Deed::Fault(*fault));
        }
        agenda.push(ROUND, Deed::Round);
        let mut rng = Rng::stream(seed, 301);
        Self {
            agenda,
            lost: BTreeMap::new(),
            strangers: BTreeSet::new(),
            starting: BTreeSet::new(),
            traps: BTreeMap::new(),
            partitions: BTreeMap::new(),
            rates: BTreeMap::new(),
            clients_until: 0,
            usual,
            weathers: BTreeMap::new(),
            quiet_until: 0,
            last_token: 0,
            reckless: rng.chance(1, 40),
            rng,
        }
    }

    /// When it next does something.
    pub fn next_at(&self) -> Option<Micros> {
        self.agenda.next_at()
    }

    /// Nodes that no longer have a disk that counts.
    pub fn lost(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.lost.keys().copied()
    }

    /// Does what is due.
    pub fn act<S: StateMachine>(&mut self, cluster: &mut Cluster<S>) -> Checked<()> {
        while self.agenda.next_at().is_some_and(|at| at <= cluster.now()) {
            let Some((_, deed)) = self.agenda.pop() else { break };
            self.do_one(deed, cluster)?;
        }
        Ok(())
    }

    /// Ends all faults: everything is mended that can be, and nothing more happens.
    pub fn end<S: StateMachine>(&mut self, cluster: &mut Cluster<S>) -> Checked<()> {
        while let Some((_, deed)) = self.agenda.pop() {
            // Disks go home. One that was to go back in time does not: peers had no time to remember it.
            if let Deed::SwapBack(..) = deed {
                self.do_one(deed, cluster)?;
            }
        }
        self.mend(cluster)
    }

    /// After the end: whether each node that was lost has said what it had to say.
    ///
    /// # Errors
    ///
    /// The first one that did not, and what it did instead.
    pub fn judge<S: StateMachine>(&self, cluster: &mut Cluster<S>) -> Result<(), (NodeId, String)> {
        let members = cluster.committed_configuration().map(|configuration| configuration.members.clone());
        let is_member = |node| members.as_ref().is_none_or(|members| members.contains_key(&node));
        let spare = (cluster.nodes().len() - 1) / 2;
        for (&node, loss) in &self.lost {
            let fault = cluster.fault(node).cloned();
            // Whose machine was taken away had one start to refuse in, which another failure may have ended.
            if !cluster.nodes().contains(&node)
                && fault.as_ref().is_none_or(|fault| fault.exit_code() == DISK_FAILED)
            {
                continue;
            }
            // It takes peers to say that a disk is not the one they know, or was set back: a majority of them, or one who
            // remembers. Where more than a minority is lost there may be none; then a wiped disk still is no member's.
            let peers_are_lost = (self.lost.len() > spare || !is_member(node)) && fault.is_none();
            match loss.fault {
                DiskFault::Wiped if peers_are_lost && cluster.replica(node).is_none() => continue,
                DiskFault::RolledBack if peers_are_lost => continue,
                _ => {}
            }
            loss.expected.met_by(fault.as_ref()).map_err(|what| (node, format!("refusal: {what}")))?;
        }
        Ok(())
    }

    /// What was met, for each node that was lost.
    pub fn refused(&self) -> impl Iterator<Item = &'static str> {
        self.lost.values().filter_map(|loss| loss.fault.refusal())
    }

    /// How long the refusals may take.
    pub const fn patience(&self) -> Micros {
        REFUSAL
    }

    fn mend<S: StateMachine>(&mut self, cluster: &mut Cluster<S>) -> Checked<()> {
        self.partitions.clear();
        self.weathers.clear();
        cluster.network.heal();
        cluster.network.set_weather(Weather::FAIR);
        cluster.network.clients = ClientWeather::FAIR;
        for node in cluster.nodes() {
            cluster.resume(node);
            let machine = cluster.machine(node);
            machine.slowness = 100;
            machine.crash_within = None;
            machine.crash_at = None;
            machine.disk.disarm();
            cluster.relieve_disk(node);
            self.end_clock(node, cluster);
            self.start(node, cluster)?;
        }
        Ok(())
    }

    fn do_one<S: StateMachine>(&mut self, deed: Deed, cluster: &mut Cluster<S>) -> Checked<()> {
        match deed {
            Deed::Fault(fault) if self.quiet_until <= cluster.now() => self.befall(fault, cluster)?,
            Deed::Fault(_) => {}
            Deed::Start(node) => {
                self.starting.remove(&node);
                self.start(node, cluster)?;
            }
            Deed::EndPartition(token) => {
                self.partitions.remove(&token);
                cluster.network.heal();
                for cuts in self.partitions.values() {
                    cluster.network.impose(cuts.clone());
                }
                cluster.count(met::HEALED);
            }
            Deed::EndWeather(token) => {
                self.weathers.remove(&token);
                self.set_weather(cluster);
            }
            Deed::EndSlowness(node) => cluster.machine(node).slowness = 100,
            Deed::EndDisk(node) => cluster.relieve_disk(node),
            Deed::EndClock(node) => self.end_clock(node, cluster),
            Deed::EndClients if self.clients_until <= cluster.now() => {
                cluster.network.clients = ClientWeather::FAIR;
            }
            Deed::EndClients => {}
            Deed::RollBack(node, step, image) => self.roll_back(node, step, image, cluster)?,
            Deed::SwapBack(one, other) => self.swap_back(one, other, cluster)?,
            Deed::Round => {
                self.agenda.push(cluster.now() + ROUND, Deed::Round);
                for node in cluster.nodes() {
                    if !cluster.machine(node).is_up() && !self.starting.contains(&node) {
                        let any = super::duration(&mut self.rng, 50 * MS, 4 * SECOND);
                        let pause = self.traps.remove(&node).unwrap_or(any);
                        self.start_after(node, pause, cluster);
                    }
                }
            }
        }
        Ok(())
    }

    fn befall<S: StateMachine>(&mut self, fault: Fault, cluster: &mut Cluster<S>) -> Checked<()> {
        let now = cluster.now();
        match fault {
            Fault::Kill { who, crash, down } => {
                let Some(node) = self.pick(who, cluster) else { return Ok(()) };
                cluster.crash(node, crash);
                self.start_after(node, down, cluster);
            }
            Fault::KillWithin { who, crash, operations, down } => {
                let Some(node) = self.pick(who, cluster) else { return Ok(()) };
                cluster.machine(node).crash_within = Some((operations, crash));
                self.traps.insert(node, down);
            }
            Fault::KillAt { who, moment, crash, operations, down } => {
                let Some(node) = self.pick(who, cluster) else { return Ok(()) };
                // It is counted when it happens.
                cluster.machine(node).crash_at = Some((moment, operations, crash));
                self.traps.insert(node, down);
                return Ok(());
            }
            Fault::KillAll { crash, down } => {
                // Whose disk is not its own is left to say so: nobody would start it again.
                let is_own = |node: &NodeId| !self.lost.contains_key(node) && !self.strangers.contains(node);
                let nodes: Vec<NodeId> = cluster.nodes().into_iter().filter(is_own).collect();
                for node in nodes {
                    cluster.crash(node, crash);
                    self.start_after(node, down, cluster);
                }
            }
            Fault::Pause { who, lasts } => {
                let Some(node) = self.pick(who, cluster) else { return Ok(()) };
                cluster.machine(node).paused_until = now + lasts;
            }
            Fault::Slow { who, percent, lasts } => {
                let Some(node) = self.pick(who, cluster) else { return Ok(()) };
                cluster.machine(node).slowness = percent;
                self.agenda.push(now + lasts, Deed::EndSlowness(node));
            }
            Fault::Partition { shape, lasts } => {
                let (shape, cuts) = Shape::draw(&mut Rng::new(shape), &cluster.nodes(), cluster.leader());
                cluster.count(shape.name());
                self.impose(cuts, lasts, cluster);
            }
            Fault::BareMajority { leaves_out, lasts } => self.leave_bare_majority(leaves_out, lasts, cluster),
            Fault::Weather { draw, lasts } => {
                let token = self.token();
                self.weathers.insert(token, draw_weather(&mut Rng::new(draw), &cluster.nodes()));
                self.set_weather(cluster);
                self.agenda.push(now + lasts, Deed::EndWeather(token));
            }
            Fault::Clog { from, to, lasts } => {
                let (Some(from), Some(to)) = (self.pick(from, cluster), self.pick(to, cluster)) else {
                    return Ok(());
                };
                cluster.network.clog(from, to, now + lasts);
            }
            Fault::BreakConnections { count } => {
                for _ in 0..count {
                    cluster.break_a_connection();
                }
            }
            Fault::WallJump { who, by_ms } => {
                let Some(node) = self.pick(who, cluster) else { return Ok(()) };
                let clock = &mut cluster.machine(node).clock;
                clock.wall_ahead_ms = clock.wall_ahead_ms.saturating_add(by_ms);
            }
            Fault::Drift { who, ppm } => {
                let Some(node) = self.pick(who, cluster) else { return Ok(()) };
                let clock = &mut cluster.machine(node).clock;
                *clock = clock.at_another_rate(now, ppm);
            }
            Fault::Disk { who, fault, lasts } => return self.strike(fault, who, lasts, cluster),
            Fault::DiskWeather { who, draw, lasts } => {
                let Some(node) = self.pick(who, cluster) else { return Ok(()) };
                let machine = cluster.machine(node);
                machine.disk.set_weather(FAILING.draw(&mut Rng::new(draw)));
                machine.provoked.insert(DISK_FAILED);
                self.agenda.push(now + lasts, Deed::EndDisk(node));
            }
            Fault::ClientWeather { draw, lasts } => {
                cluster.network.clients = client_weather(&mut Rng::new(draw));
                self.clients_until = self.clients_until.max(now + lasts);
                self.agenda.push(now + lasts, Deed::EndClients);
            }
            Fault::WildClock { who, draw, lasts } => {
                let Some(node) = self.pick(who, cluster) else { return Ok(()) };
                let clock = &mut cluster.machine(node).clock;
                self.rates.entry(node).or_insert(clock.drift_ppm);
                let mut rng = Rng::new(draw);
                // Up to ten times as fast, or down to a tenth.
                let ppm =
                    if rng.chance(1, 2) { rng.below(9_000_000) as i32 } else { -(rng.below(900_000) as i32) };
                *clock = clock.at_another_rate(now, ppm);
                let ahead = rng.below(40_000_000) as i64 - 20_000_000;
                clock.wall_ahead_ms = clock.wall_ahead_ms.saturating_add(ahead);
                self.agenda.push(now + lasts, Deed::EndClock(node));
            }
            Fault::Wipe { who } => return self.wipe(who, cluster),
            Fault::RollBack { who } => {
                let Some(node) = self.expendable(who, cluster) else { return Ok(()) };
                // What peers remember is what it is caught by: they must all be there to remember it.
                self.mend(cluster)?;
                self.quiet_until = now + 8 * SECOND;
                self.agenda.push(now + 3 * SECOND, Deed::RollBack(node, 0, None));
                return Ok(());
            }
            Fault::SwapDisks { one, other, lasts } => return self.swap(one, other, lasts, cluster),
        }
        cluster.count(fault.name());
        Ok(())
    }

    /// A clock that ran wild runs as before.
    fn end_clock<S: StateMachine>(&mut self, node: NodeId, cluster: &mut Cluster<S>) {
        if let Some(rate) = self.rates.remove(&node) {
            let now = cluster.now();
            let clock = &mut cluster.machine(node).clock;
            *clock = clock.at_another_rate(now, rate);
        }
    }

    /// Starts a node whose disk is its own.
    fn start<S: StateMachine>(&mut self, node: NodeId, cluster: &mut Cluster<S>) -> Checked<()> {
        if self.lost.contains_key(&node) || self.strangers.contains(&node) {
            return Ok(());
        }
        cluster.start(node)
    }

    fn start_after<S: StateMachine>(&mut self, node: NodeId, pause: Micros, cluster: &Cluster<S>) {
        if self.starting.insert(node) {
            self.agenda.push(cluster.now() + pause, Deed::Start(node));
        }
    }

    /// The victim, unless it is lost already.
    fn pick<S: StateMachine>(&self, who: Who, cluster: &Cluster<S>) -> Option<NodeId> {
        let nodes = cluster.nodes();
        let counted = |n: u64| nodes.get((n % nodes.len().max(1) as u64) as usize).copied();
        let node = match who {
            Who::Leader => cluster.leader().or_else(|| counted(0)),
            Who::Node(n) => counted(n),
        };
        node.filter(|node| !self.lost.contains_key(node) && !self.strangers.contains(node))
    }

    /// The victim, if the cluster can do without its disk: once it is complete, a minority of disks may be lost.
    fn expendable<S: StateMachine>(&self, who: Who, cluster: &Cluster<S>) -> Option<NodeId> {
        let node = self.pick(who, cluster)?;
        let mut out = self.away();
        out.insert(node);
        let spare = cluster.configurations().all(|configuration| can_spare(configuration, &out));
        let several = cluster.committed_configuration().is_some_and(|c| c.voters.len() > 2);
        // Nobody campaigns before every founder has the founding entry on its disk.
        let is_formed = cluster.committed().len() > 1;
        (is_formed && (spare || (self.reckless && several))).then_some(node)
    }

    /// Nodes that have no disk of their own.
    pub fn away(&self) -> BTreeSet<NodeId> {
        self.lost.keys().chain(&self.strangers).copied().collect()
    }

    fn impose<S: StateMachine>(&mut self, cuts: Cuts, lasts: Micros, cluster: &mut Cluster<S>) {
        let token = self.token();
        cluster.network.impose(cuts.clone());
        self.partitions.insert(token, cuts);
        self.agenda.push(cluster.now() + lasts, Deed::EndPartition(token));
    }

    fn leave_bare_majority<S: StateMachine>(&mut self, draw: u64, lasts: Micros, cluster: &mut Cluster<S>) {
        let (nodes, mut rng, mut cuts) = (cluster.nodes(), Rng::new(draw), Cuts::new());
        let mut out: BTreeSet<NodeId> = self.lost.keys().copied().collect();
        while out.len() < (nodes.len() - 1) / 2 {
            out.insert(nodes[rng.below(nodes.len() as u64) as usize]);
        }
        for &node in &out {
            cuts.extend(Shape::Isolated(node).cuts(&nodes));
        }
        self.impose(cuts, lasts, cluster);
    }

    fn set_weather<S: StateMachine>(&self, cluster: &mut Cluster<S>) {
        cluster.network.set_weather(self.usual);
        for (region, weather) in self.weathers.values() {
            match region {
                Some(region) => cluster.network.set_weather_in(*region, *weather),
                None => cluster.network.set_weather(*weather),
            }
        }
    }

    fn strike<S: StateMachine>(
        &mut self,
        fault: DiskFault,
        who: Who,
        lasts: Micros,
        cluster: &mut Cluster<S>,
    ) -> Checked<()> {
        let name = Fault::Disk { who, fault, lasts }.name();
        let is_loss = matches!(fault.expected(), Expectation::Refuses { .. });
        let node = if is_loss { self.expendable(who, cluster) } else { self.pick(who, cluster) };
        let Some(node) = node else { return Ok(()) };
        if fault.while_down() {
            cluster.crash(node, Crash::Process);
        }
        let rng = &mut self.rng;
        let Some(expected) = cluster.machine(node).disk.strike(fault, rng) else {
            return Ok(());
        };
        cluster.befell(node, name);
        match &expected {
            Expectation::Survives => {
                if fault == DiskFault::Full {
                    // A start that cuts a torn tail needs room to keep it aside, and halts without.
                    cluster.machine(node).provoked.insert(DISK_FAILED);
                }
                self.agenda.push(cluster.now() + lasts, Deed::EndDisk(node));
            }
            Expectation::Halts { exit_code, .. } => {
                cluster.machine(node).provoked.insert(*exit_code);
            }
            Expectation::Refuses { exit_code, .. } => {
                // It must be refused for this, and not for an error that was to come later.
                cluster.machine(node).disk.disarm();
                cluster.machine(node).provoked.insert(*exit_code);
                cluster.start(node)?;
                self.lost.insert(node, Loss { fault, expected });
            }
        }
        Ok(())
    }

    fn wipe<S: StateMachine>(&mut self, who: Who, cluster: &mut Cluster<S>) -> Checked<()> {
        let Some(node) = self.expendable(who, cluster) else { return Ok(()) };
        cluster.wipe(node);
        cluster.machine(node).disk.disarm();
        cluster.machine(node).provoked.insert(4);
        cluster.start(node)?;
        let fault = DiskFault::Wiped;
        self.lost.insert(node, Loss { fault, expected: fault.expected() });
        cluster.count(Fault::Wipe { who }.name());
        Ok(())
    }

    /// Three lives, and then the disk of the first: each life counts one boot, and peers remember the last.
    fn roll_back<S: StateMachine>(
        &mut self,
        node: NodeId,
        step: u8,
        image: Option<Box<Disk>>,
        cluster: &mut Cluster<S>,
    ) -> Checked<()> {
        if self.lost.contains_key(&node) {
            return Ok(());
        }
        cluster.crash(node, Crash::Process);
        let image = image.unwrap_or_else(|| Box::new(cluster.machine(node).disk.clone()));
        if step == 2 {
            cluster.roll_back(node, *image);
            cluster.machine(node).provoked.insert(4);
            let fault = DiskFault::RolledBack;
            self.lost.insert(node, Loss { fault, expected: fault.expected() });
            cluster.count("fault: rolled-back disk");
        } else if self.quiet_until > cluster.now() {
            self.agenda.push(cluster.now() + SECOND, Deed::RollBack(node, step + 1, Some(image)));
        }
        cluster.start(node)
    }

    /// Two directories change places: each node finds another's, and refuses by name (STORAGE row 18).
    fn swap<S: StateMachine>(
        &mut self,
        one: Who,
        other: Who,
        lasts: Micros,
        cluster: &mut Cluster<S>,
    ) -> Checked<()> {
        let (Some(a), Some(b)) = (self.expendable(one, cluster), self.expendable(other, cluster)) else {
            return Ok(());
        };
        if a == b {
            return Ok(());
        }
        cluster.swap_disks(a, b);
        for node in [a, b] {
            self.strangers.insert(node);
            let machine = cluster.machine(node);
            machine.disk.disarm();
            machine.provoked.insert(2);
            // A process that is stopped could not refuse.
            cluster.resume(node);
            cluster.start(node)?;
        }
        self.agenda.push(cluster.now() + lasts, Deed::SwapBack(a, b));
        cluster.count("fault: exchanged disks");
        Ok(())
    }

    fn swap_back<S: StateMachine>(&mut self, a: NodeId, b: NodeId, cluster: &mut Cluster<S>) -> Checked<()> {
        for node in [a, b] {
            let fault = cluster.fault(node).cloned();
            let says = [String::from("node")].into();
            let expected = Expectation::Refuses { exit_code: 2, says };
            if let Err(what) = expected.met_by(fault.as_ref()) {
                return Err(cluster.violation(node, format!("refusal: another node's directory: {what}")));
            }
            cluster.count(met::WRONG_DIRECTORY);
            cluster.crash(node, Crash::Process);
            self.strangers.remove(&node);
            cluster.machine(node).provoked.remove(&2);
        }
        cluster.swap_disks(a, b);
        for node in [a, b] {
            self.start(node, cluster)?;
        }
        Ok(())
    }

    fn token(&mut self) -> u64 {
        self.last_token += 1;
        self.last_token
    }
}

/// Whether a majority of each half is left without these.
pub(crate) fn can_spare(configuration: &Configuration, out: &BTreeSet<NodeId>) -> bool {
    let halves = [&configuration.voters, &configuration.outgoing];
    halves
        .into_iter()
        .filter(|voters| !voters.is_empty())
        .all(|voters| voters.iter().filter(|id| !out.contains(id)).count() > voters.len() / 2)
}

/// Some weather, and where it prevails: everywhere, over a direction, or over some kinds of messages.
fn draw_weather(rng: &mut Rng, nodes: &[NodeId]) -> (Option<Region>, Weather) {
    let one = |rng: &mut Rng| nodes[rng.below(nodes.len() as u64) as usize];
    let region = match rng.below(4) {
        0 => None,
        1 => Some(Region::direction(one(rng), one(rng))),
        2 => Some(Region::kinds(Kinds::CORE_REQUESTS)),
        _ => Some(Region::kinds(Kinds::CORE_REPLIES)),
    };
    (region, weather(rng))
}

/// Connections of clients that are slow and break.
fn client_weather(rng: &mut Rng) -> ClientWeather {
    let mut delay = || (20, super::duration(rng, 150, 500 * MS));
    let (request_delay, reply_delay) = (delay(), delay());
    let mut some = || if rng.chance(1, 2) { rng.below(101) as u32 } else { 0 };
    let (lost_requests, lost_replies) = (some(), some());
    ClientWeather { request_delay, reply_delay, lost_requests, lost_replies }
}

/// A weather of any badness; each ingredient is there or not.
pub(super) fn weather(rng: &mut Rng) -> Weather {
    let mut some = |most: u32| if rng.chance(1, 2) { rng.below(u64::from(most) + 1) as u32 } else { 0 };
    let [lost, doubled, overtaken, late] = [300, 200, 500, 100].map(&mut some);
    let [clogged, broken] = [2_000, 1_000].map(&mut some);
    let max_delay = super::duration(rng, 150, 50 * MS);
    Weather {
        min_delay: 50,
        max_delay,
        lost,
        doubled,
        overtaken,
        late,
        late_least: max_delay,
        late_tail: 2 * SECOND,
        clogged,
        clog: super::duration(rng, 10 * MS, SECOND),
        broken,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kv::KvStore;
    use crate::sim::cluster::Settings;
    use std::vec::Vec;

    fn formed(nodes: u64) -> Cluster<KvStore> {
        let mut cluster = Cluster::new(Settings::new(7, nodes));
        cluster.start_all().expect("starts");
        cluster.settle(5 * SECOND).expect("keeps its promises").expect("a leader");
        cluster
    }

    /// Lets these befall the cluster, a tenth of a second apart, then ends all faults.
    fn befalls(cluster: &mut Cluster<KvStore>, seed: u64, faults: &[Fault]) -> Nemesis {
        let begin = cluster.now();
        let faults: Vec<_> = (1..).map(|n| begin + n * 100 * MS).zip(faults.iter().copied()).collect();
        let mut nemesis = Nemesis::new(seed, &faults, Weather::FAIR);
        for (at, _) in &faults {
            cluster.run_for(at - cluster.now()).expect("keeps its promises");
            nemesis.act(cluster).expect("keeps its promises");
        }
        nemesis
    }

    #[test]
    fn what_faults_have_changed_is_as_before_when_they_end() {
        let mut cluster = formed(3);
        let state = |cluster: &mut Cluster<KvStore>| {
            let machines = cluster.nodes().into_iter().map(|node| {
                let machine = cluster.machine(node);
                (machine.clock.drift_ppm, *machine.disk.weather(), machine.slowness, machine.is_up())
            });
            machines.collect::<Vec<_>>()
        };
        let before = state(&mut cluster);
        let (who, draw, lasts) = (Who::Node(1), 5, 9 * SECOND);
        let faults = [
            Fault::WildClock { who, draw, lasts },
            Fault::WildClock { who, draw: 6, lasts },
            Fault::DiskWeather { who, draw, lasts },
            Fault::ClientWeather { draw, lasts },
            Fault::Partition { shape: 3, lasts },
            Fault::Slow { who, percent: 300, lasts },
            Fault::Kill { who: Who::Node(2), crash: Crash::Power, down: lasts },
        ];
        let mut nemesis = befalls(&mut cluster, 1, &faults);
        assert_ne!(state(&mut cluster), before);
        assert!(cluster.network.has_cuts() && cluster.network.clients != ClientWeather::FAIR);
        nemesis.end(&mut cluster).expect("keeps its promises");
        assert_eq!(state(&mut cluster), before);
        assert!(!cluster.network.has_cuts() && cluster.network.clients == ClientWeather::FAIR);
    }

    /// Seed 10308 of ten minutes: what a stopped process had to do still waited for the end that its pause would have had.
    #[test]
    fn a_process_that_was_stopped_goes_on_when_all_is_mended() {
        let mut cluster = formed(2);
        let mut nemesis =
            befalls(&mut cluster, 1, &[Fault::Pause { who: Who::Node(1), lasts: 100 * SECOND }]);
        cluster.run_for(2 * SECOND).expect("keeps its promises");
        nemesis.end(&mut cluster).expect("keeps its promises");
        assert!(cluster.settle(5 * SECOND).expect("keeps its promises").is_some(), "both are there again");
    }

    #[test]
    fn no_more_disks_than_a_minority_are_lost() {
        for (nodes, most) in [(1, 0), (3, 1), (5, 2)] {
            let mut cluster = formed(nodes);
            let faults: Vec<_> = (0..nodes).map(|n| Fault::Wipe { who: Who::Node(n) }).collect();
            // Of this seed they are not dealt more.
            let nemesis = befalls(&mut cluster, 2, &faults);
            assert!(!nemesis.reckless);
            assert_eq!(nemesis.lost().count(), most, "of {nodes}");
        }
    }

    #[test]
    fn a_disk_goes_back_in_time_only_when_its_peers_can_tell() {
        let mut cluster = formed(3);
        let mut nemesis = befalls(&mut cluster, 1, &[Fault::RollBack { who: Who::Node(1) }]);
        nemesis.end(&mut cluster).expect("keeps its promises");
        assert_eq!(nemesis.lost().count(), 0, "the faults ended before");
        let mut nemesis = befalls(&mut cluster, 1, &[Fault::RollBack { who: Who::Node(1) }]);
        for _ in 0..80 {
            cluster.run_for(100 * MS).expect("keeps its promises");
            nemesis.act(&mut cluster).expect("keeps its promises");
        }
        assert_eq!(nemesis.lost().collect::<Vec<_>>(), [NodeId(2)]);
        cluster.run_for(nemesis.patience()).expect("keeps its promises");
        assert_eq!(nemesis.judge(&mut cluster), Ok(()));
        assert_eq!(nemesis.refused().collect::<Vec<_>>(), [met::ROLLED_BACK]);
    }
}
