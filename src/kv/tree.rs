//! All records, ordered by a 64-bit hash of their keys: a copy-on-write B+tree.
//!
//! A copy of the tree costs one reference count. Afterwards whoever writes first to a node that both share copies that
//! node; with no copy about, every write is in place. Records stand in the leaves, ordered by hash and then by key, so
//! the order is a function of the keys alone, whatever the history.
//!
//! Records of one hash always share a leaf: then an inner node can tell its children apart by hashes. Such a run is as
//! good as always one record long, since clients do not know what the hash is keyed with; a leaf with a longer one grows
//! past its limit.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::mem;
use core::slice;

use smallvec::SmallVec;

use super::record::Record;

/// Most slots of a leaf (but for a run of one hash), and most children of an inner node.
const MAX: usize = 64;

/// A node with fewer is merged with its neighbour.
const MIN: usize = 16;

/// A merged node with more is split again, evenly.
const MERGED: usize = 48;

/// How full a tree built in order is: the next writes should not split every leaf.
const BUILT: usize = 56;

/// By how many slots a leaf grows: half-filled leaves are the rule, and spare slots are a quarter of a small record.
const GROWTH: usize = 8;

/// The records of a state. A clone is a picture of it, for the cost of a reference count.
#[derive(Clone)]
pub(super) struct Tree {
    root: Node,
    len: usize,
}

#[derive(Clone)]
enum Node {
    Leaf(Arc<Vec<Slot>>),
    Inner(Arc<Inner>),
}

#[derive(Clone)]
struct Slot {
    hash: u64,
    record: Record,
}

/// `children[i]` holds the hashes from `bounds[i - 1]` up to, but without, `bounds[i]`.
#[derive(Clone)]
struct Inner {
    bounds: Vec<u64>,
    children: Vec<Node>,
}

/// What an insertion did to a node.
struct Inserted {
    old: Option<Record>,
    /// The node's new right neighbour, and where it begins.
    split: Option<(u64, Node)>,
}

impl Tree {
    /// No records.
    pub(super) fn new() -> Self {
        Self { root: Node::Leaf(Arc::default()), len: 0 }
    }

    /// How many records there are.
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    /// The record of `key`, whose hash is `hash`.
    pub(super) fn get(&self, hash: u64, key: &[u8]) -> Option<&Record> {
        let mut node = &self.root;
        loop {
            match node {
                Node::Inner(inner) => node = inner.children.get(inner.child_of(hash))?,
                Node::Leaf(slots) => {
                    return slots.get(position(slots, hash, key).ok()?).map(|slot| &slot.record);
                }
            }
        }
    }

    /// The record of `key`, to be changed; neither its key nor its hash may change.
    pub(super) fn get_mut(&mut self, hash: u64, key: &[u8]) -> Option<&mut Record> {
        let mut node = &mut self.root;
        loop {
            match node {
                Node::Inner(inner) => {
                    let at = inner.child_of(hash);
                    node = Arc::make_mut(inner).children.get_mut(at)?;
                }
                Node::Leaf(slots) => {
                    let at = position(slots, hash, key).ok()?;
                    return Arc::make_mut(slots).get_mut(at).map(|slot| &mut slot.record);
                }
            }
        }
    }

    /// Puts a record in; the one that had its key before comes out.
    pub(super) fn insert(&mut self, hash: u64, record: Record) -> Option<Record> {
        let Inserted { old, split } = self.root.insert(hash, record);
        if let Some((bound, right)) = split {
            let left = mem::replace(&mut self.root, Node::Leaf(Arc::default()));
            let inner = Inner { bounds: alloc::vec![bound], children: alloc::vec![left, right] };
            self.root = Node::Inner(Arc::new(inner));
        }
        if old.is_none() {
            self.len += 1;
        }
        old
    }

    /// Takes the record of `key` out.
    pub(super) fn remove(&mut self, hash: u64, key: &[u8]) -> Option<Record> {
        // Looked for first, so that the removal of nothing copies nothing.
        self.get(hash, key)?;
        let record = self.root.remove(hash, key)?;
        self.len = self.len.saturating_sub(1);
        while let Node::Inner(inner) = &self.root {
            let [only] = inner.children.as_slice() else { break };
            self.root = only.clone();
        }
        Some(record)
    }

    /// The records from `hash` on, in order, with their hashes.
    pub(super) fn range(&self, hash: u64) -> Iter<'_> {
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

impl Node {
    /// Slots or children.
    fn len(&self) -> usize {
        match self {
            Self::Leaf(slots) => slots.len(),
            Self::Inner(inner) => inner.children.len(),
        }
    }

    fn insert(&mut self, hash: u64, record: Record) -> Inserted {
        match self {
            Self::Leaf(slots) => {
                let slots = Arc::make_mut(slots);
                match position(slots, hash, record.key()) {
                    Ok(at) => {
                        let old = slots.get_mut(at).map(|slot| mem::replace(&mut slot.record, record));
                        Inserted { old, split: None }
                    }
                    Err(at) => {
                        if slots.len() == slots.capacity() {
                            slots.reserve_exact(GROWTH);
                        }
                        slots.insert(at, Slot { hash, record });
                        let split = if slots.len() > MAX { split_leaf(slots) } else { None };
                        Inserted { old: None, split }
                    }
                }
            }
            Self::Inner(inner) => {
                let at = inner.child_of(hash);
                let inner = Arc::make_mut(inner);
                let Some(child) = inner.children.get_mut(at) else {
                    return Inserted { old: None, split: None };
                };
                let Inserted { old, split } = child.insert(hash, record);
                if let Some((bound, right)) = split {
                    inner.bounds.insert(at, bound);
                    inner.children.insert(at + 1, right);
                }
                let split = if inner.children.len() > MAX { inner.split() } else { None };
                Inserted { old, split }
            }
        }
    }

    fn remove(&mut self, hash: u64, key: &[u8]) -> Option<Record> {
        match self {
            Self::Leaf(slots) => {
                let at = position(slots, hash, key).ok()?;
                let slots = Arc::make_mut(slots);
                let record = slots.remove(at).record;
                if slots.capacity() > slots.len() + 2 * GROWTH {
                    slots.shrink_to(slots.len() + GROWTH);
                }
                Some(record)
            }
            Self::Inner(inner) => {
                let at = inner.child_of(hash);
                let inner = Arc::make_mut(inner);
                let child = inner.children.get_mut(at)?;
                let record = child.remove(hash, key);
                if child.len() < MIN {
                    inner.merge(at);
                }
                record
            }
        }
    }

    /// Takes in the right neighbour, which begins at `bound`.
    fn absorb(&mut self, bound: u64, right: Self) {
        match (self, right) {
            (Self::Leaf(left), Self::Leaf(right)) => {
                let left = Arc::make_mut(left);
                let right = Arc::unwrap_or_clone(right);
                left.reserve_exact(right.len());
                left.extend(right);
            }
            (Self::Inner(left), Self::Inner(right)) => {
                let left = Arc::make_mut(left);
                let right = Arc::unwrap_or_clone(right);
                left.bounds.push(bound);
                left.bounds.extend(right.bounds);
                left.children.extend(right.children);
            }
            _ => debug_assert!(false, "the children of a node are all of one height"),
        }
    }

    fn split(&mut self) -> Option<(u64, Self)> {
        match self {
            Self::Leaf(slots) => split_leaf(Arc::make_mut(slots)),
            Self::Inner(inner) => Arc::make_mut(inner).split(),
        }
    }
}

impl Inner {
    /// The position of the child that holds `hash`.
    fn child_of(&self, hash: u64) -> usize {
        self.bounds.partition_point(|&bound| bound <= hash)
    }

    /// Moves the right half of the children into a new neighbour.
    fn split(&mut self) -> Option<(u64, Node)> {
        let half = self.children.len() / 2;
        let children = self.children.split_off(half);
        let bounds = self.bounds.split_off(half);
        let bound = self.bounds.pop()?;
        Some((bound, Node::Inner(Arc::new(Self { bounds, children }))))
    }

    /// Merges the child at `at`, which has become small, with a neighbour, and splits the two again when they are much.
    fn merge(&mut self, at: usize) {
        let left = at.saturating_sub(1);
        if left + 1 >= self.children.len() || left >= self.bounds.len() {
            return;
        }
        let right = self.children.remove(left + 1);
        let bound = self.bounds.remove(left);
        let Some(child) = self.children.get_mut(left) else { return };
        child.absorb(bound, right);
        if child.len() > MERGED
            && let Some((bound, right)) = child.split()
        {
            self.bounds.insert(left, bound);
            self.children.insert(left + 1, right);
        }
    }
}

/// Where the record of `key` is, or would be.
fn position(slots: &[Slot], hash: u64, key: &[u8]) -> Result<usize, usize> {
    let first = slots.partition_point(|slot| slot.hash < hash);
    let run = slots.get(first..).unwrap_or_default();
    for (i, slot) in run.iter().enumerate() {
        if slot.hash != hash {
            return Err(first + i);
        }
        match slot.record.key().cmp(key) {
            core::cmp::Ordering::Less => {}
            core::cmp::Ordering::Equal => return Ok(first + i),
            core::cmp::Ordering::Greater => return Err(first + i),
        }
    }
    Err(slots.len())
}

/// Moves about half of the slots into a new leaf, without parting a run of one hash; `None` when there is only one.
fn split_leaf(slots: &mut Vec<Slot>) -> Option<(u64, Node)> {
    let begins_run = |at: &usize| match (slots.get(at.wrapping_sub(1)), slots.get(*at)) {
        (Some(before), Some(slot)) => before.hash != slot.hash,
        _ => false,
    };
    let half = slots.len() / 2;
    let at = (half..slots.len()).find(begins_run).or_else(|| (1..half).rev().find(begins_run))?;
    let bound = slots.get(at)?.hash;
    let mut right = Vec::with_capacity(slots.len() - at + GROWTH);
    right.extend(slots.drain(at..));
    slots.shrink_to(slots.len() + GROWTH);
    Some((bound, Node::Leaf(Arc::new(right))))
}

/// Records in order, with their hashes.
pub(super) struct Iter<'a> {
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

/// Builds a tree from records in order, in time proportional to their number.
pub(super) struct Builder {
    /// Finished leaves, each with its first hash.
    leaves: Vec<(u64, Node)>,
    slots: Vec<Slot>,
    len: usize,
}

impl Builder {
    /// Nothing yet.
    pub(super) const fn new() -> Self {
        Self { leaves: Vec::new(), slots: Vec::new(), len: 0 }
    }

    /// How many records there are.
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    /// Adds a record that must come after all before it; `false`, and nothing done, when it does not.
    pub(super) fn push(&mut self, hash: u64, record: Record) -> bool {
        if let Some(last) = self.slots.last() {
            if (hash, record.key()) <= (last.hash, last.record.key()) {
                return false;
            }
            if self.slots.len() >= BUILT && hash != last.hash {
                self.close_leaf();
            }
        }
        if self.slots.len() == self.slots.capacity() {
            self.slots.reserve_exact(if self.slots.is_empty() { BUILT } else { GROWTH });
        }
        self.slots.push(Slot { hash, record });
        self.len += 1;
        true
    }

    /// The tree of all records.
    pub(super) fn finish(mut self) -> Tree {
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

#[cfg(test)]
mod tests;
