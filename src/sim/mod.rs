//! The deterministic simulator: a cluster of real nodes on a network and disks that lie.
//!
//! One seed decides everything that happens, so that a failure is a number and one command away. The nodes run
//! the code that production runs: [`Node`](crate::node::Node) with its recovery, its log and its replica. Only what a
//! driver performs is simulated: [`disk`], [`network`], [`clock`] and clients.

pub mod check;
pub mod clock;
pub mod cluster;
pub mod disk;
pub mod exhaustive;
pub mod faults;
pub mod fuzz;
pub mod lab;
pub mod network;
#[cfg(feature = "planted-bugs")]
pub mod planted;
pub mod queue;
pub mod run;
pub mod shrink;
pub mod tally;
pub mod trace;
pub mod workload;

pub use clock::Clock;
pub use cluster::{Answer, Checked, ClerkId, Cluster, Committed, Crash, Finished, Settings, Violation};
pub use disk::{Disk, DiskFault, DiskWeather, Expectation, OpKind, Pace};
pub use faults::{Plan, Profile};
pub use network::{Care, Network, Shape, Weather};
pub use queue::Queue;
pub use run::{Report, run, run_recorded};
pub use shrink::{Shrunk, shrink};
pub use tally::Tally;
pub use trace::{Trace, TraceEvent};
pub use workload::{KvWorkload, Requests, Workload};
