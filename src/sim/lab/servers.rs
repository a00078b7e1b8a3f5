//! The servers of the Raft tests: their connections, their crashes, and what time does to them.

use std::collections::{BTreeMap, BTreeSet};
use std::format;
use std::string::String;
use std::vec::Vec;

use super::agreement::Agreement;
use super::oracle::Oracle;
use super::tester::Tester;
use super::{LabReport, LabTest, pace};
use crate::node::Event;
use crate::raft::{NodeId, Role, Term};
use crate::rng::Rng;
use crate::sim::cluster::{Checked, Cluster, Crash, Settings, Violation};
use crate::time::Micros;

/// A millisecond, in microseconds.
pub(super) const MS: Micros = 1_000;

/// What the lab's formulas call an election timeout.
pub(super) const ET: Micros = 1_000 * MS;

/// How often the tester looks at its servers.
const TICK: Micros = MS;

/// The tester takes a snapshot after so many commands, if the test has any.
const SNAPSHOT_EVERY: usize = 10;

/// The servers of a Raft test, and their tester.
#[derive(Debug)]
pub(super) struct Servers {
    pub(super) sim: Cluster<Tester>,
    /// Decides the schedule: who is disconnected, how long a pause is.
    pub(super) rng: Rng,
    /// Decides what the commands are.
    pub(super) workload: Rng,
    pub(super) oracle: Oracle,
    connected: BTreeSet<NodeId>,
    seed: u64,
    /// The tester hands its servers snapshots.
    takes_snapshots: bool,
    /// Agreements that are sought beside what the test does.
    pub(super) background: Vec<Agreement>,
    /// Bytes of Raft state that servers left behind when they went down.
    left_behind: BTreeMap<NodeId, usize>,
    /// Offers made so far.
    pub(super) offers: u32,
}

impl Servers {
    /// Empty servers, started and connected.
    pub(super) fn new(test: &LabTest, seed: u64) -> Checked<Self> {
        let mut settings = Settings::new(seed, test.servers);
        pace::of_servers(test, &mut settings);
        let mut sim = Cluster::new(settings);
        pace::set_weather(test, test.unreliable, &mut sim.network);
        pace::speed_disks(&mut sim);
        sim.start_all()?;
        Ok(Self {
            connected: sim.nodes().into_iter().collect(),
            sim,
            rng: Rng::stream(seed, 300),
            workload: Rng::stream(seed, 301),
            oracle: Oracle::default(),
            seed,
            takes_snapshots: test.snapshots,
            background: Vec::new(),
            left_behind: BTreeMap::new(),
            offers: 0,
        })
    }

    /// Lets so much time pass, and does meanwhile what goes on in the background.
    pub(super) fn sleep(&mut self, micros: Micros) -> Checked<()> {
        let end = self.sim.now() + micros;
        while self.sim.now() < end {
            self.tick(TICK.min(end - self.sim.now()))?;
            self.pursue_agreements()?;
        }
        Ok(())
    }

    /// Lets a little time pass, and looks at the servers.
    pub(super) fn tick(&mut self, micros: Micros) -> Checked<()> {
        self.sim.run_for(micros)?;
        self.look()
    }

    /// The tester's part in everything that is applied.
    fn look(&mut self) -> Checked<()> {
        self.oracle.learn(self.sim.committed());
        for node in self.sim.nodes() {
            let Some(replica) = self.sim.replica(node) else { continue };
            let checked = self.oracle.check(node, replica);
            checked.map_err(|what| self.violation(format!("{node:?}: {what}")))?;
            if self.takes_snapshots && self.wants_snapshot(node) {
                self.sim.tell(node, Event::TakeSnapshot);
            }
        }
        Ok(())
    }

    /// Whether the server has applied a command whose number ends in 9, and has no snapshot that covers it.
    fn wants_snapshot(&self, node: NodeId) -> bool {
        let due = (self.oracle.applied(node) + 1) / SNAPSHOT_EVERY * SNAPSHOT_EVERY;
        let Some(replica) = self.sim.replica(node).filter(|_| due > 0) else { return false };
        let covered = replica.raft().status().snapshot.map_or(0, |snapshot| snapshot.last.index);
        self.oracle.count_upto(covered) + 1 < due
    }

    /// All servers.
    pub(super) fn all(&self) -> Vec<NodeId> {
        self.sim.nodes()
    }

    /// The server so many places after this one, in a ring.
    pub(super) fn after(&self, node: NodeId, places: u64) -> NodeId {
        let n = self.sim.nodes().len() as u64;
        NodeId((node.0 - 1 + places) % n + 1)
    }

    /// Any server.
    pub(super) fn random(&mut self) -> NodeId {
        NodeId(1 + self.rng.below(self.sim.nodes().len() as u64))
    }

    /// A number as the lab's tests offer it.
    pub(super) fn number(&mut self) -> String {
        format!("{}", self.workload.below(1 << 30))
    }

    /// Whether the server is connected to those that are.
    pub(super) fn is_connected(&self, node: NodeId) -> bool {
        self.connected.contains(&node)
    }

    /// How many are.
    pub(super) fn connected(&self) -> usize {
        self.connected.len()
    }

    /// Cuts the server off; it runs on.
    pub(super) fn disconnect(&mut self, node: NodeId) {
        self.connected.remove(&node);
        self.cut_off_the_disconnected();
    }

    /// Connects the server with those that are connected.
    pub(super) fn connect(&mut self, node: NodeId) {
        self.connected.insert(node);
        self.cut_off_the_disconnected();
    }

    fn cut_off_the_disconnected(&mut self) {
        let nodes = self.sim.nodes();
        self.sim.network.heal();
        for &node in nodes.iter().filter(|node| !self.connected.contains(node)) {
            self.sim.network.partition(&[node], nodes.iter().copied());
        }
    }

    /// Whether its process runs.
    pub(super) fn is_up(&self, node: NodeId) -> bool {
        self.sim.is_up(node)
    }

    /// Ends the server's process, if it runs, and cuts it off.
    pub(super) fn crash(&mut self, node: NodeId) {
        let bytes = self.state_bytes(node);
        self.left_behind.insert(node, bytes);
        self.sim.crash(node, Crash::Process);
        self.disconnect(node);
    }

    /// Starts the server with what its disk holds, after ending its process if it runs. It is not connected yet.
    pub(super) fn restart(&mut self, node: NodeId) -> Checked<()> {
        self.crash(node);
        self.oracle.restarted(node);
        self.sim.start(node)
    }

    /// [Restarts](Self::restart) and connects the server.
    pub(super) fn restart_connected(&mut self, node: NodeId) -> Checked<()> {
        self.restart(node)?;
        self.connect(node);
        Ok(())
    }

    /// The server's term, and whether it takes itself for the leader.
    pub(super) fn role(&self, node: NodeId) -> Option<(Term, bool)> {
        let status = self.sim.replica(node)?.raft().status();
        Some((status.term, status.role == Role::Leader))
    }

    /// What the lab's persister would hold of this server's Raft state: term and vote, and the entries after the snapshot
    /// in their packed form.
    ///
    /// It is the logical size: our records are padded to blocks and our segments are written ahead, which the lab's
    /// in-memory persister knows nothing of. The lab's bound is on what compaction leaves, and that is counted in full.
    pub(super) fn state_bytes(&self, node: NodeId) -> usize {
        const TERM_AND_VOTE: usize = 16;
        match self.sim.replica(node) {
            Some(replica) => TERM_AND_VOTE + replica.raft().status().log_bytes,
            None => self.left_behind.get(&node).copied().unwrap_or(0),
        }
    }

    /// What this test came to.
    pub(super) fn report(&self) -> LabReport {
        LabReport::of(&self.sim, self.oracle.count() as u64)
    }

    /// A violation of the test's own.
    pub(super) fn violation(&self, what: String) -> Violation {
        Violation { seed: self.seed, at: self.sim.now(), node: NodeId(0), what }
    }

    /// A violation of the test's own, unless `holds`.
    pub(super) fn require(&self, holds: bool, what: impl FnOnce() -> String) -> Checked<()> {
        if holds { Ok(()) } else { Err(self.violation(what())) }
    }
}
