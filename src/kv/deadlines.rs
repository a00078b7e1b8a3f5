//! When keys die: all deadlines in their order, for whoever takes the dead ones out.
//!
//! A deadline stands with the key's place in the tree, not with the key: sixteen bytes, whatever its length. Keys that share
//! both share one entry.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use crate::time::Millis;

/// The deadlines of a state.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Deadlines(BTreeSet<(Millis, u64)>);

impl Deadlines {
    /// Those of a state that is built, in any order.
    pub(super) fn of(all: Vec<(Millis, u64)>) -> Self {
        // Sorted and taken over at once, which is faster than one by one.
        Self(all.into_iter().collect())
    }

    /// A key at `place` dies at `deadline`, or never if that is 0.
    pub(super) fn insert(&mut self, deadline: Millis, place: u64) {
        if deadline != 0 {
            self.0.insert((deadline, place));
        }
    }

    /// No key at `place` dies at `deadline` any more.
    pub(super) fn remove(&mut self, deadline: Millis, place: u64) {
        if deadline != 0 {
            self.0.remove(&(deadline, place));
        }
    }

    /// The first of them, with its place.
    pub(super) fn first(&self) -> Option<(Millis, u64)> {
        self.0.first().copied()
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}
