//! All interleavings of a few real cores within bounds: every order in which messages arrive, are doubled or are lost,
//! disks finish, timers fire and processes crash, and after each step everything that must hold.
//!
//! A random run visits one way through a large cluster; this visits every way through a small one. What is
//! explored is [`Raft`](crate::raft::Raft) itself, the code that production runs, and not a model of it; modelled are the disk, the network
//! and time.
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
//! acknowledgement leaves before it is true of the disk, that no term, vote or commit index goes back, that no core
//! halts, and [`Raft::check_invariants`](crate::raft::Raft::check_invariants).
//!
//! # How so many situations are visited
//!
//! * **Situations that go on alike are one.** Time, write ids and random draws count only by what they still decide
//!   ([`Raft::fingerprint`](crate::raft::Raft::fingerprint)), what is on its way is a multiset, and who is who does not matter
//!   ([`Bounds::symmetry`]).
//! * **A core is asked once.** Each different state of a node has a number, and its answer to each event is remembered.
//!   A situation is then some ten numbers and a step of it a look into a table: a few thousand steps of cores make millions of steps
//!   of clusters.
//! * **Memory is bounded** by [`Bounds::states`]: 16 bytes for the way to each state and 21 to 43 for its 128-bit fingerprint, which
//!   is all that is kept of it, and some 300 for each state of the two outermost depths.
//!
//! # Why not the crate stateright
//!
//! Version 0.31.0 was tried against what this room needs. It is made for models written as its `Model` or `Actor`, and a core would fit (clonable, with a
//! hash of its own), but: it brings 37 crates with it, among them an HTTP server, a JSON writer, two generators of randomness
//! and three of locks and maps, none of which can be switched off; its checkers start threads and read the clock even
//! when asked for one thread, which this library never does; it keeps 64-bit fingerprints in a map and with each waiting state
//! the whole path to it; and it hashes whole states, where remembering the nodes' steps makes this search ten times
//! faster. The search itself, which is what it would have saved, is a hundred lines.

mod bounds;
mod cast;
mod check;
mod disk;
mod explore;
mod member;
mod presets;
mod seen;
#[cfg(test)]
mod tests;
mod words;
mod world;

use core::ops::ControlFlow;

pub use bounds::{Bounds, Budget, Counterexample, Exploration, MOST_NODES, Progress};

/// Visits every situation within `bounds`, and stops at the first violation. `progress` is told now and then how far it
/// is, and may end it.
///
/// # Panics
///
/// If `bounds` has no node or more than [`MOST_NODES`].
pub fn explore(bounds: &Bounds, progress: &mut dyn FnMut(&Progress) -> ControlFlow<()>) -> Exploration {
    explore::Search::new(bounds).run(progress)
}
