//! The records of a tree, one after the other: of one that stays, or of a picture that is let go on the way.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::slice;

use smallvec::SmallVec;

use super::{Leaf, Node, Slot, Tree};
use crate::kv::record::Record;

impl Tree {
    /// All records in order, each node let go when the last of its records is passed.
    pub(in crate::kv) fn into_remaining(self) -> Remaining {
        let mut remaining = Remaining { ahead: alloc::vec![self.root], leaf: None, at: 0 };
        remaining.open();
        remaining
    }

    /// The records from `hash` on, in order, with their hashes.
    pub(in crate::kv) fn range(&self, hash: u64) -> Iter<'_> {
        let mut iter = Iter { above: SmallVec::new(), leaf: [].iter() };
        let mut node = &self.root;
        loop {
            match node {
                Node::Inner(inner) => {
                    let mut children = inner.children.get(inner.child_of(hash)..).unwrap_or_default().iter();
                    let Some(child) = children.next() else { return iter };
                    iter.above.push(children);
                    node = child;
                }
                Node::Leaf(slots) => {
                    let at = slots.partition_point(|slot| slot.hash < hash);
                    iter.leaf = slots.get(at..).unwrap_or_default().iter();
                    return iter;
                }
            }
        }
    }
}

/// Records in order, with their hashes.
pub(in crate::kv) struct Iter<'a> {
    /// What is still to come at each height.
    above: SmallVec<[slice::Iter<'a, Node>; 8]>,
    leaf: slice::Iter<'a, Slot>,
}

impl<'a> Iterator for Iter<'a> {
    type Item = (u64, &'a Record);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(slot) = self.leaf.next() {
                return Some((slot.hash, &slot.record));
            }
            match self.above.last_mut()?.next() {
                None => {
                    self.above.pop();
                }
                Some(Node::Leaf(slots)) => self.leaf = slots.iter(),
                Some(Node::Inner(inner)) => self.above.push(inner.children.iter()),
            }
        }
    }
}

/// What is still to come of a tree's records, in order. No node of which all has passed is held, nor any above one that has
/// begun: whoever else has the tree may write there in place again.
pub(in crate::kv) struct Remaining {
    /// The nodes behind `leaf`, the next one last.
    ahead: Vec<Node>,
    /// Where the next record is, at `at`; `None` if there is none.
    leaf: Option<Arc<Leaf>>,
    at: usize,
}

impl Remaining {
    /// The next record.
    pub(in crate::kv) fn first(&self) -> Option<&Record> {
        self.leaf.as_ref()?.get(self.at).map(|slot| &slot.record)
    }

    /// Goes on to the one after it.
    pub(in crate::kv) fn pass(&mut self) {
        self.at += 1;
        self.open();
    }

    /// Lets go of a leaf that has passed, and opens the next one.
    fn open(&mut self) {
        while self.first().is_none() {
            self.leaf = None;
            match self.ahead.pop() {
                None => return,
                Some(Node::Leaf(slots)) => (self.leaf, self.at) = (Some(slots), 0),
                Some(Node::Inner(inner)) => self.ahead.extend(inner.children.iter().rev().cloned()),
            }
        }
    }
}
