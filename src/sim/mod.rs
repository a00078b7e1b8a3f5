//! The deterministic simulator: a cluster of real nodes on a network and disks that lie.
//!
//! One seed decides everything that happens, so that a failure is a number and one command away. The nodes run
//! the code that production runs: [`Node`](crate::node::Node) with its recovery, its log and its replica, gateways and clerks. Only what a
//! driver performs is simulated: [`disk`], [`network`], [`clock`] and who asks.
//!
//! ```text
//!  seed ─► Plan (faults, workload) ─► run ─► Report ─► shrink ─► timeline, NDJSON, page
//!                                      │
//!              nemesis ─► cluster ◄────┴─── actors ─► clerks ─► gateways
//!                           │ ▲                │
//!                           ▼ │                ▼
//!                 network · disks · clocks     history ─► replay, linearizable
//!                           │
//!                           └─► safety, promises (after every step), ledger of all log entries
//! ```
//!
//! # Who it is for
//!
//! * **Us:** `quorate sim --runs 1000`. What it has found is told in [the page on testing](crate::docs::testing).
//! * **You, with a state machine of your own:** [`run`](fn@run) a [`Plan`] with [`Requests`]; `examples/bank.rs` is the whole of it.
//! * **Whoever wants to watch:** `quorate sim --seed 7 --html run.html`.

pub mod census;
pub mod check;
pub mod clock;
pub mod cluster;
pub mod disk;
pub mod exhaustive;
pub mod faults;
pub mod fuzz;
pub mod lab;
pub mod network;
#[cfg(any(test, feature = "planted-bugs"))]
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

/// Whether what the code notices itself is a violation: not with a planted bug, which a checker from outside has to find.
fn own_alarms_count() -> bool {
    #[cfg(any(test, feature = "planted-bugs"))]
    return !crate::sim::planted::is_any_active();
    #[cfg(not(any(test, feature = "planted-bugs")))]
    true
}
