//! A tree from records in order, as a snapshot has them.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::mem;

use super::{Inner, Leaf, MERGED, MIN, Node, Slot, Tree};
use crate::kv::record::Record;

/// How full a tree built in order is: the next writes should not split every leaf.
const BUILT: usize = 56;

/// Builds a tree from records in order, in time proportional to their number.
pub(in crate::kv) struct Builder {
    /// Finished leaves, each with its first hash.
    leaves: Vec<(u64, Node)>,
    slots: Leaf,
    len: usize,
}

impl Builder {
    /// Nothing yet.
    pub(in crate::kv) fn new() -> Self {
        Self { leaves: Vec::new(), slots: Leaf::new(), len: 0 }
    }

    /// How many records there are.
    pub(in crate::kv) const fn len(&self) -> usize {
        self.len
    }

    /// Adds a record that must come after all before it; `false`, and nothing done, when it does not.
    pub(in crate::kv) fn push(&mut self, hash: u64, record: Record) -> bool {
        if let Some(last) = self.slots.last() {
            if (hash, record.key()) <= (last.hash, last.record.key()) {
                return false;
            }
            if self.slots.len() >= BUILT && hash != last.hash {
                self.close_leaf();
            }
        }
        self.slots.push(Slot { hash, record });
        self.len += 1;
        true
    }

    /// The tree of all records.
    pub(in crate::kv) fn finish(mut self) -> Tree {
        self.close_leaf();
        let mut level = self.leaves;
        // Only the last leaf may be too small; the levels above are divided evenly.
        if let Some((bound, last)) = level.pop_if(|(_, leaf)| leaf.len() < MIN) {
            match level.last_mut() {
                None => level.push((bound, last)),
                Some((_, before)) => {
                    before.absorb(bound, last);
                    let split = if before.len() > MERGED { before.split() } else { None };
                    level.extend(split);
                }
            }
        }
        while level.len() > 1 {
            level = Self::above(level);
        }
        let root = level.pop().map_or_else(|| Node::Leaf(Arc::default()), |(_, node)| node);
        Tree { root, len: self.len }
    }

    fn close_leaf(&mut self) {
        let slots = mem::take(&mut self.slots);
        if let Some(first) = slots.first() {
            self.leaves.push((first.hash, Node::Leaf(Arc::new(slots))));
        }
    }

    /// The nodes above `level`, with about equally many children each.
    fn above(level: Vec<(u64, Node)>) -> Vec<(u64, Node)> {
        let nodes = level.len().div_ceil(BUILT);
        let (each, more) = (level.len() / nodes, level.len() % nodes);
        let mut above = Vec::with_capacity(nodes);
        let mut from = level.into_iter();
        for number in 0..nodes {
            let (starts, children): (Vec<_>, Vec<_>) =
                from.by_ref().take(each + usize::from(number < more)).unzip();
            if let Some((&start, bounds)) = starts.split_first() {
                above.push((start, Node::Inner(Arc::new(Inner { bounds: bounds.to_vec(), children }))));
            }
        }
        above
    }
}
