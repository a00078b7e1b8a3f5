//! What a cluster is made of.

use std::collections::BTreeMap;
use std::format;

use crate::node::{self, Addresses, Fault};
use crate::raft::{self, DiskId, NodeId};
use crate::rng::Rng;
use crate::sim::clock::Clock;
use crate::sim::disk::{DiskWeather, Pace};
use crate::sim::network::{Care, Kind};

/// Settings of a cluster. The same settings give the same run.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Decides everything.
    pub seed: u64,
    /// How many nodes, with ids from 1.
    pub nodes: u64,
    /// Machines beyond them, which may be taken into the cluster.
    pub spares: u64,
    /// What all nodes have in common; identity, seed and founders are filled in for each.
    pub node: node::Config,
    /// Of a thousand disk operations, how many stall for up to 30 milliseconds.
    pub stalls: u64,
    /// Whether clocks differ in rate (by up to 200 millionths) and in Unix time (by up to 2 seconds).
    pub clocks_differ: bool,
    /// Of a thousand frames that promise something, for how many the disk is looked at as after a power failure.
    pub probed: u64,
    /// Whether every step is checked. Off only for scenarios that set a whole cluster back: who could remember?
    pub watched: bool,
    /// Which frames between nodes may be lost, doubled and reordered: [messages between cores](Kind::care).
    pub care: fn(payload: &[u8]) -> Care,
    /// Halts that the scenario provokes; any other is a violation.
    pub tolerated: fn(&Fault) -> bool,
}

/// Where a node is reached.
pub(super) fn addresses(id: NodeId) -> Addresses {
    Addresses { peer: format!("n{id}:7200"), client: format!("n{id}:7100") }
}

impl Settings {
    /// Settings under which a small cluster soon meets every edge: segments of 64 KiB, a snapshot every 32 KiB of log.
    pub fn new(seed: u64, nodes: u64) -> Self {
        let raft = raft::Config { trailing_bytes: 4 << 10, ..raft::Config::new(NodeId(1), 0) };
        let node = node::Config {
            raft,
            segment_bytes: 64 << 10,
            snapshot_log_bytes: Some(32 << 10),
            max_sessions: 1000,
            ..node::Config::new(NodeId(1), BTreeMap::new(), DiskId(0), 0)
        };
        Self {
            seed,
            nodes,
            spares: 0,
            node,
            stalls: 2,
            probed: 20,
            watched: true,
            clocks_differ: true,
            care: |payload| Kind::of(payload).care(),
            tolerated: |_| false,
        }
    }

    /// The configuration of each node.
    pub(super) fn configs(&self) -> impl Iterator<Item = node::Config> + '_ {
        let founders: BTreeMap<_, _> =
            (1..=self.nodes).map(|id| (NodeId(id), addresses(NodeId(id)))).collect();
        (1..=self.nodes + self.spares).map(move |id| {
            let mut rng = Rng::stream(self.seed, 200 + id);
            let fresh_disk = DiskId(u128::from(rng.next_u64()) << 64 | u128::from(rng.next_u64()));
            let raft = raft::Config { id: NodeId(id), seed: self.seed, ..self.node.raft.clone() };
            node::Config { raft, founders: founders.clone(), fresh_disk, ..self.node.clone() }
        })
    }

    /// How disks are where nothing befalls them.
    pub(super) fn usual_disk(&self) -> DiskWeather {
        let stalls = self.stalls.try_into().unwrap_or(u32::MAX);
        DiskWeather { pace: Pace { stalls, ..Pace::BRISK }, ..DiskWeather::CALM }
    }

    pub(super) fn clock(&self, rng: &mut Rng) -> Clock {
        if !self.clocks_differ {
            return Clock::default();
        }
        Clock {
            origin: rng.below(1 << 40),
            drift_ppm: rng.below(401) as i32 - 200,
            wall_ahead_ms: rng.below(4001) as i64 - 2000,
            ..Clock::default()
        }
    }
}
