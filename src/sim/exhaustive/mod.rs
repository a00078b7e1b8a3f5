//! All interleavings of a few real cores within bounds: every order in which messages arrive, are doubled or are lost,
//! disks finish, timers fire and processes crash, and after each step everything that must hold.
//!
//! A random run visits one way through a large cluster; this visits every way through a small one. What is explored is
//! [`Raft`](crate::raft::Raft) itself, the code that production runs, and not a model of it; modelled are the disk, the
//! network and time.
//!
//! # What may happen
//!
//! From each situation one of these leads to the next, to one node:
//!
//! * a message that is on its way to it arrives, in any order; one that is never taken is lost, so that loss needs no step;
//! * a message arrives and stays on its way (duplication);
//! * its disk completes the oldest write, or its embedder reports a snapshot job;
//! * it hears nothing for two election timeouts, or for one, or its heartbeat is due;
//! * a command is proposed, a read asked for, a snapshot saved;
//! * it crashes, between any two pieces of its unfinished writes, and starts again from its disk. A node that is down
//!   is one to which nothing happens for a while, so that crash and restart are one step.
//!
//! [`Budget`] bounds those that could go on for ever; the others end by themselves.
//!
//! # What is checked
//!
//! In every situation: election safety, log matching, leader completeness, state machine safety, that what is committed
//! is on a majority of disks, that no read misses what was committed before it, that no vote, request for votes or
//! acknowledgement leaves before it is true of the disk, that no answer confirms another term's round of heartbeats, that no
//! term, vote or commit index goes back, that no core halts, and
//! [`Raft::check_invariants`](crate::raft::Raft::check_invariants).
//!
//! # How so many situations are visited
//!
//! * **Situations that go on alike are one.** Time, write ids and random draws count only by what they still decide
//!   ([`Raft::fingerprint`](crate::raft::Raft::fingerprint)), what is on its way is a multiset, and who is who does not matter
//!   ([`Bounds::symmetry`]).
//! * **A core is asked once.** Each different state of a node has a number, and its answer to each event is remembered.
//!   A situation is then some ten numbers, and a step of it a look into a table: 17 thousand steps of cores make 60
//!   million steps of the cluster in [`Bounds::three_nodes_long`].
//! * **Memory is bounded** by [`Bounds::states`]: 16 bytes for the way to each state and 21 to 43 for its 128-bit
//!   fingerprint, which is all that is kept of it, and some 250 for each state of the two outermost depths.
//!
//! What cannot be told from outside is not told here either: that something happens at all (liveness), what takes more
//! steps than there is time for (figure 8 of the paper takes four campaigns and appends of one entry each), and what
//! lies outside of the core. The random runs of the rest of the simulator are for these.
//!
//! ```
//! use core::ops::ControlFlow;
//! use quorate::sim::exhaustive::{Bounds, Budget, explore};
//!
//! let budget = Budget { timeouts: 1, proposals: 1, ..Budget::NONE };
//! let bounds = Bounds { budget, ..Bounds::new(2) };
//! let found = explore(&bounds, &mut |_| ControlFlow::Continue(()));
//! assert!(found.complete && found.violation.is_none());
//! println!("{} states, at most {} steps from the start", found.states, found.depth);
//! ```
//!
//! # Why not the crate stateright
//!
//! A core would fit version 0.31.0: it is clonable and has a hash of its own. But the crate brings 37 others with it, among
//! them an HTTP server and a JSON writer, and none of them can be switched off. Its checkers start threads even when
//! asked for one, which this library never does. It keeps 64-bit fingerprints in a concurrent map, and with each waiting
//! state the whole path to it. And it clones and hashes a whole state for each step, where here a step changes one
//! number. The search itself, which is what the crate would have saved, is a hundred lines.

mod bounds;
mod cast;
mod check;
mod disk;
mod explore;
mod member;
mod presets;
mod seen;
mod start;
#[cfg(test)]
mod tests;
mod words;
mod world;

use core::ops::ControlFlow;

pub use bounds::{Bounds, Budget, Counterexample, Exploration, MOST_NODES, Progress, Start};

/// Visits every situation within `bounds`, and stops at the first violation. `progress` is told now and then how far it
/// is, and may end it.
///
/// # Panics
///
/// If `bounds` has no node or more than [`MOST_NODES`].
pub fn explore(bounds: &Bounds, progress: &mut dyn FnMut(&Progress) -> ControlFlow<()>) -> Exploration {
    explore::Search::new(bounds).run(progress)
}
