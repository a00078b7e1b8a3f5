//! How far an exploration goes, and what it reports.

use std::collections::BTreeMap;
use std::string::String;
use std::vec::Vec;

/// What may happen at most, over all nodes. Messages and disks need no budget: what was sent may arrive and what was asked
/// for may be written at any moment, or never.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Budget {
    /// Two election timeouts pass at a node that hears nothing: it campaigns or, as a leader, steps down.
    pub timeouts: u8,
    /// A leader's heartbeat is due.
    pub beats: u8,
    /// A command is proposed to a leader.
    pub proposals: u8,
    /// A linearizable read is asked of a leader.
    pub reads: u8,
    /// A node crashes and is restarted; of its unfinished writes any first few pieces are on disk.
    pub crashes: u8,
    /// A message arrives and stays on its way, to arrive again.
    pub repeats: u8,
    /// A node saves a snapshot of all that it has applied, and compacts its log up to there.
    pub snapshots: u8,
}

impl Budget {
    /// Nothing happens.
    pub const NONE: Self =
        Self { timeouts: 0, beats: 0, proposals: 0, reads: 0, crashes: 0, repeats: 0, snapshots: 0 };
}

/// Where an exploration begins. What led there costs no budget and no depth: they are left to what comes after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// Just after the foundation.
    Founded,
    /// The first node leads term 1, and everything is at rest.
    Established,
    /// A leader has committed an entry, and sent a snapshot of it to the last node, where it waits to be installed. The
    /// others have the entry, and have not heard that it is committed. Of three nodes or more.
    SnapshotComes,
}

/// What is explored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// How many nodes, all of them voters: 1 to [`MOST_NODES`].
    pub nodes: usize,
    /// [`Config::pre_vote`](crate::raft::Config::pre_vote) of every node.
    pub pre_vote: bool,
    /// [`Config::check_quorum`](crate::raft::Config::check_quorum) of every node.
    pub check_quorum: bool,
    /// Where it begins.
    pub start: Start,
    /// What may happen at most.
    pub budget: Budget,
    /// Most steps from the start; states at that depth are checked, and not left.
    pub depth: u32,
    /// Most states visited; each takes about 50 bytes, and those of the two outermost depths 250 more.
    pub states: usize,
    /// Take situations that differ only in who is who for one.
    pub symmetry: bool,
}

/// Most nodes of an exploration.
pub const MOST_NODES: usize = 5;

impl Bounds {
    /// `nodes` nodes with the core's default settings, of which nothing is asked yet.
    pub const fn new(nodes: usize) -> Self {
        Self {
            nodes,
            pre_vote: true,
            check_quorum: true,
            start: Start::Founded,
            budget: Budget::NONE,
            depth: u32::MAX,
            states: 20_000_000,
            symmetry: true,
        }
    }

    /// These, with other choices of the core's two settings that change elections.
    pub const fn with_elections(self, pre_vote: bool, check_quorum: bool) -> Self {
        Self { pre_vote, check_quorum, ..self }
    }
}

/// How far an exploration has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Steps from the start of the states that are being left now.
    pub depth: u32,
    /// Different states found.
    pub states: usize,
    /// Steps taken, to new states and to known ones.
    pub transitions: u64,
    /// States found whose steps were not taken yet.
    pub waiting: usize,
}

/// What an exploration found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exploration {
    /// Different states.
    pub states: usize,
    /// Steps taken between them.
    pub transitions: u64,
    /// The most steps from the start that it takes to reach one of them.
    pub depth: u32,
    /// All that the budget allows was explored: no limit of depth, states or patience ended it.
    pub complete: bool,
    /// Different states of a single node.
    pub node_states: usize,
    /// Different steps of a single node: so often was a core stepped.
    pub node_steps: usize,
    /// In how many of these what happened, so that an exploration shows what it has explored.
    pub reached: BTreeMap<&'static str, u64>,
    /// The first violation, if there is one.
    pub violation: Option<Counterexample>,
}

/// A shortest way to a violation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counterexample {
    /// What does not hold.
    pub broken: String,
    /// Each step, in words; the last one breaks it.
    pub path: Vec<String>,
}
