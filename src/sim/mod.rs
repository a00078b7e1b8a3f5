//! The deterministic simulator: a cluster of real nodes on a network and disks that lie.
//!
//! One seed decides everything that happens, so that a failure is a number and one command away. The nodes run
//! the code that production runs: [`Node`](crate::node::Node) with its recovery, its log and its replica. Only what a
//! driver performs is simulated: [`disk`], [`network`], [`clock`] and clients.

pub mod check;
pub mod clock;
pub mod cluster;
pub mod disk;
pub mod fuzz;
pub mod network;
pub mod queue;
pub mod trace;

pub use clock::Clock;
pub use cluster::{Answer, Checked, ClerkId, Cluster, Crash, Settings, Violation};
pub use disk::{Disk, OpKind};
pub use network::{Care, Network, Weather};
pub use queue::Queue;
pub use trace::Trace;
