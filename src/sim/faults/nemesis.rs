//! Who carries out a plan's faults, and mends what they broke when their time is over.

use std::boxed::Box;
use std::collections::{BTreeMap, BTreeSet};
use std::vec::Vec;

use super::disks::{Disks, can_spare};
use super::weather::{FAILING, client_weather, draw_weather};
use super::{Fault, Who};
use crate::node::Fault as Halt;
use crate::raft::NodeId;
use crate::replica::StateMachine;
use crate::rng::Rng;
use crate::sim::census::met;
use crate::sim::cluster::{Checked, Cluster};
use crate::sim::disk::Disk;
use crate::sim::network::{ClientWeather, Cuts, Region, Shape, Weather};
use crate::sim::queue::Queue;
use crate::time::Micros;

const MS: Micros = 1_000;
const SECOND: Micros = 1_000_000;

/// How often the nemesis looks for nodes that went down by themselves.
const ROUND: Micros = 20 * MS;

/// Something that the nemesis is going to do.
#[derive(Debug)]
pub(super) enum Deed {
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

/// Carries out faults.
#[derive(Debug)]
pub struct Nemesis {
    pub(super) rng: Rng,
    pub(super) agenda: Queue<Deed>,
    pub(super) disks: Disks,
    /// Nodes that are going to be started.
    starting: BTreeSet<NodeId>,
    /// Nodes that are going to go down by what they do, and how long they are down then.
    traps: BTreeMap<NodeId, Micros>,
    partitions: BTreeMap<u64, Cuts>,
    /// Rates of clocks that run wild, before they did.
    rates: BTreeMap<NodeId, i32>,
    /// Until when connections of clients are bad.
    clients_until: Micros,
    usual: Weather,
    weathers: BTreeMap<u64, (Option<Region>, Weather)>,
    /// Until then nothing new befalls anybody.
    pub(super) quiet_until: Micros,
    last_token: u64,
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
            disks: Disks::new(rng.chance(1, 40)),
            starting: BTreeSet::new(),
            traps: BTreeMap::new(),
            partitions: BTreeMap::new(),
            rates: BTreeMap::new(),
            clients_until: 0,
            usual,
            weathers: BTreeMap::new(),
            quiet_until: 0,
            last_token: 0,
            rng,
        }
    }

    /// Whose disk counts.
    pub fn disks(&self) -> &Disks {
        &self.disks
    }

    /// A process is about to end: how long it is down then.
    pub fn down_for(&mut self, node: NodeId, down: Micros) {
        self.traps.insert(node, down);
    }

    /// When it next does something.
    pub fn next_at(&self) -> Option<Micros> {
        self.agenda.next_at()
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
        // Whoever goes down by itself after that, such as a process that was told to stop, is still started again.
        self.agenda.push(cluster.now() + ROUND, Deed::Round);
        self.traps.clear();
        self.mend(cluster)
    }

    pub(super) fn mend<S: StateMachine>(&mut self, cluster: &mut Cluster<S>) -> Checked<()> {
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
                let is_own = |node: &NodeId| self.disks.is_own(*node);
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
                machine.provoked.insert(Halt::DISK);
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
    pub(super) fn start<S: StateMachine>(&mut self, node: NodeId, cluster: &mut Cluster<S>) -> Checked<()> {
        if self.disks.is_own(node) { cluster.start(node) } else { Ok(()) }
    }

    fn start_after<S: StateMachine>(&mut self, node: NodeId, pause: Micros, cluster: &Cluster<S>) {
        if self.starting.insert(node) {
            self.agenda.push(cluster.now() + pause, Deed::Start(node));
        }
    }

    /// The victim, unless it is lost already.
    pub(super) fn pick<S: StateMachine>(&self, who: Who, cluster: &Cluster<S>) -> Option<NodeId> {
        let nodes = cluster.nodes();
        let counted = |n: u64| nodes.get((n % nodes.len().max(1) as u64) as usize).copied();
        let node = match who {
            Who::Leader => cluster.leader().or_else(|| counted(0)),
            Who::Node(n) => counted(n),
        };
        node.filter(|node| self.disks.is_own(*node))
    }

    fn impose<S: StateMachine>(&mut self, cuts: Cuts, lasts: Micros, cluster: &mut Cluster<S>) {
        let token = self.token();
        cluster.network.impose(cuts.clone());
        self.partitions.insert(token, cuts);
        self.agenda.push(cluster.now() + lasts, Deed::EndPartition(token));
    }

    fn leave_bare_majority<S: StateMachine>(&mut self, draw: u64, lasts: Micros, cluster: &mut Cluster<S>) {
        let Some(configuration) = cluster.committed_configuration() else { return };
        let (nodes, mut rng, mut cuts) = (cluster.nodes(), Rng::new(draw), Cuts::new());
        let mut voters: Vec<NodeId> =
            configuration.voters.iter().chain(&configuration.outgoing).copied().collect();
        let mut out: BTreeSet<NodeId> = self.disks.lost().collect();
        while !voters.is_empty() {
            let drawn = voters.swap_remove(rng.below(voters.len() as u64) as usize);
            let is_new = out.insert(drawn);
            if is_new && !can_spare(configuration, &out) {
                out.remove(&drawn);
            }
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

    fn token(&mut self) -> u64 {
        self.last_token += 1;
        self.last_token
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::kv::KvStore;
    use crate::sim::cluster::{Crash, Settings};
    use std::vec::Vec;

    pub(in crate::sim::faults) fn formed(nodes: u64) -> Cluster<KvStore> {
        let mut cluster = Cluster::new(Settings::new(7, nodes));
        cluster.start_all().expect("starts");
        cluster.settle(5 * SECOND).expect("keeps its promises").expect("a leader");
        cluster
    }

    /// Lets these befall the cluster, a tenth of a second apart, then ends all faults.
    pub(in crate::sim::faults) fn befalls(
        cluster: &mut Cluster<KvStore>,
        seed: u64,
        faults: &[Fault],
    ) -> Nemesis {
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
}
