//! The tests of the MIT lab (6.824, later 6.5840), in simulated time over the real node, gateway and clerk.
//!
//! Each test of the lab's Raft and key-value parts is here under its own name, with the same servers, clients, durations,
//! network, crashes and partitions, and the same assertions ([`catalogue`]). The scenarios were written anew from a
//! description of the lab; none of its code is here. The edition is that of 2022, whose figures are the seeds', with the tests
//! of 2020 to 2023 that it leaves out.
//!
//! # How the lab's world is made here
//!
//! | in the lab | here |
//! | --- | --- |
//! | a call between servers | two messages of the cores, each with its own fate; a call that fails is silence |
//! | the unreliable network | requests delayed by 0 to 26 ms, one request in ten lost, one reply in ten lost |
//! | long reordering | two replies in three come 200 to 2,199 ms late, most of them a little |
//! | calls to a dead server take up to 7 s | a core waits for no call, so nothing takes long |
//! | `disconnect`, `connect` | both directions between a server and everyone else are cut, and mended |
//! | `crash`, `start` | the process is killed wherever its disk operations are; the next one recovers from the disk |
//! | `Start(command)` | a request handed to a node that does not forward; it is accepted when the command is in the node's log |
//! | `applyCh` | the state machine's list of commands, compared after each millisecond with what is committed; the cluster's own checks look after every step |
//! | a log index | the number of a client's command: a leader's no-op is an entry and has no number |
//! | `Snapshot(index)` | [`Event::TakeSnapshot`](crate::node::Event::TakeSnapshot) when the server has applied a command whose number ends in 9 |
//! | size of the Raft state | term, vote, and the packed entries after the snapshot |
//! | size of the snapshot | length of the snapshot file |
//! | a clerk | the clerk, over RESP, with the gateway of a node; a lost request or reply breaks their connection |
//! | `Get`, `Put`, `Append` | `GET`, `SET`, `APPEND` |
//! | RPCs | requests between nodes and what clerks write; replies are not counted, as the lab counts calls |
//!
//! The lab's simulated network takes no time and its disks neither. Ours take what a row says, so that a client makes about
//! as many operations in the lab's seconds as the seeds' servers made, or more.

mod agreement;
mod catalogue;
mod checks;
mod compaction;
mod election;
mod kv;
mod oracle;
mod pace;
mod persistence;
mod replication;
mod servers;
mod service;
mod tester;
mod workload;

pub use catalogue::catalogue;

use std::format;
use std::string::String;

use super::cluster::{Checked, Cluster, Violation};
use super::network::{Kind, Kinds};
use crate::raft::NodeId;
use crate::replica::StateMachine;
use crate::time::Micros;

/// A test of the lab ends within so much time.
const LONGEST: Micros = 120_000_000;

/// What one run of a lab test printed in the seeds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Figures {
    /// Seconds, where they were printed.
    pub seconds: Option<f64>,
    /// Calls between servers, and of clerks.
    pub rpcs: u64,
    /// Bytes of them, where they were printed.
    pub bytes: Option<u64>,
    /// Commands or clerks' calls.
    pub operations: u64,
}

/// A test of the lab.
#[derive(Debug, Clone, Copy)]
pub struct LabTest {
    /// Its name: the lab's, in our spelling.
    pub name: &'static str,
    /// What the lab prints.
    pub title: &'static str,
    /// The part of the lab: `2A` to `2D`, `3A`, `3B`.
    pub part: &'static str,
    /// Servers.
    pub servers: u64,
    /// Clients at once; 0 when the test itself is the client.
    pub clients: u64,
    /// Whether the network delays and loses.
    pub unreliable: bool,
    /// Whether servers crash and restart.
    pub crash: bool,
    /// Whether the network is partitioned at random.
    pub partitions: bool,
    /// Whether clients share keys, drawn at random.
    pub random_keys: bool,
    /// The lab's `maxraftstate` in bytes; `None` for no snapshots.
    pub max_state: Option<u64>,
    /// Whether the tester of a Raft test takes snapshots.
    pub snapshots: bool,
    /// The longest that a message takes on the reliable network, in microseconds; the shortest is half of it.
    pub delay: Micros,
    /// What the seeds printed.
    pub seed_figures: Option<Figures>,
    script: fn(&LabTest, u64) -> Checked<LabReport>,
}

impl LabTest {
    /// Runs it once. The same seed gives the same run.
    ///
    /// # Errors
    ///
    /// The first assertion of the test, or of the cluster's own checks, that does not hold.
    pub fn run(&self, seed: u64) -> Result<LabReport, Violation> {
        let report = (self.script)(self, seed)?;
        if report.time <= LONGEST {
            return Ok(report);
        }
        let what = format!("the test took {} s, and may take 120", report.time / 1_000_000);
        Err(Violation { seed, at: report.time, node: NodeId(0), what })
    }
}

/// What a run came to, in simulated time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LabReport {
    /// How long it took, in microseconds.
    pub time: Micros,
    /// Servers.
    pub peers: u64,
    /// Requests between servers, and of clerks.
    pub rpcs: u64,
    /// Bytes between servers, and between clerks and servers.
    pub bytes: u64,
    /// Commands that were committed, or calls of clerks.
    pub operations: u64,
}

impl LabReport {
    fn of<S: StateMachine>(cluster: &Cluster<S>, operations: u64) -> Self {
        const REQUESTS: Kinds = Kinds::CORE_REQUESTS.with(Kind::Forward);
        let counts = cluster.network.counts();
        Self {
            time: cluster.now(),
            peers: cluster.nodes().len() as u64,
            rpcs: counts.sent(REQUESTS).frames + counts.requests.frames,
            bytes: counts.sent(Kinds::ALL).bytes + counts.requests.bytes + counts.replies.bytes,
            operations,
        }
    }

    /// What was added since this earlier report of the same run.
    fn since(&self, earlier: &Self) -> Self {
        Self {
            time: self.time - earlier.time,
            peers: self.peers,
            rpcs: self.rpcs - earlier.rpcs,
            bytes: self.bytes - earlier.bytes,
            operations: self.operations - earlier.operations,
        }
    }

    /// Adds another run of the same test.
    pub fn add(&mut self, other: &Self) {
        self.time += other.time;
        self.peers = other.peers;
        self.rpcs += other.rpcs;
        self.bytes += other.bytes;
        self.operations += other.operations;
    }
}

/// The head of the table whose lines [`summary`] makes.
pub fn summary_head() -> String {
    format!(
        "{:<52} {:>6} {:>7} {:>9} {:>9} {:>11} {:>10}",
        "test (means of all seeds; in brackets the seed runs')",
        "seeds",
        "peers",
        "time",
        "rpcs",
        "bytes",
        "ops"
    )
}

/// One line: what so many seeds of a test came to, `sum` being the sum of their reports.
pub fn summary(test: &LabTest, seeds: u64, sum: &LabReport) -> String {
    let runs = seeds.max(1);
    let seconds = sum.time as f64 / runs as f64 / 1e6;
    let known = test.seed_figures.map_or(String::new(), |known| {
        let bytes = known.bytes.map_or(String::new(), |bytes| format!(", {bytes} B"));
        let seconds = known.seconds.map_or(String::new(), |seconds| format!("{seconds} s, "));
        format!("  ({seconds}{} rpcs{bytes}, {} ops)", known.rpcs, known.operations)
    });
    format!(
        "{:<52} {seeds:>6} {:>7} {seconds:>7.1} s {:>9} {:>11} {:>10}{known}",
        format!("{} {}", test.part, test.name),
        sum.peers,
        sum.rpcs / runs,
        sum.bytes / runs,
        sum.operations / runs,
    )
}
