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
use core::hint::black_box;
use core::mem;

use smallvec::SmallVec;

pub(super) use self::build::Builder;
pub(super) use self::walk::Remaining;
use super::record::Record;
use crate::rng::Rng;

mod build;
mod walk;

/// Most slots of a leaf (but for a run of one hash), and most children of an inner node.
const MAX: usize = 64;

/// A node with fewer is merged with its neighbour.
const MIN: usize = 16;

/// A merged node with more is split again, evenly.
const MERGED: usize = 48;

/// One slot of so many is on nearly every line of a leaf's memory.
const SLOTS_OF_LINE: usize = 3;

/// Most searches that are meant to go on at the same time: enough for the memory that a processor asks for at once.
const WAVE: usize = 32;

/// The records of a state. A clone is a picture of it, for the cost of a reference count.
#[derive(Clone)]
pub(super) struct Tree {
    root: Node,
    len: usize,
}

#[derive(Clone)]
enum Node {
    Leaf(Arc<Leaf>),
    Inner(Arc<Inner>),
}

/// Slots lie in the leaf's own allocation, since a search through a large tree waits for memory and little else. Only a
/// run of one hash that is longer than a leaf lies elsewhere.
type Leaf = SmallVec<[Slot; MAX]>;

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

/// What a write did to a node.
struct Upserted {
    /// There is one record more.
    is_new: bool,
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
        let (mut node, mut span) = (&self.root, Span::ALL);
        loop {
            match node {
                Node::Inner(inner) => {
                    let at = inner.child_of(hash);
                    span = span.of_child(inner, at);
                    node = inner.children.get(at)?;
                }
                Node::Leaf(slots) => {
                    let at = position(slots, span, hash, key).ok()?;
                    return slots.get(at).map(|slot| &slot.record);
                }
            }
        }
    }

    /// The record of `key`, to be changed; neither its key nor its hash may change.
    pub(super) fn get_mut(&mut self, hash: u64, key: &[u8]) -> Option<&mut Record> {
        let (mut node, mut span) = (&mut self.root, Span::ALL);
        loop {
            match node {
                Node::Inner(inner) => {
                    let at = inner.child_of(hash);
                    span = span.of_child(inner, at);
                    node = Arc::make_mut(inner).children.get_mut(at)?;
                }
                Node::Leaf(slots) => {
                    let at = position(slots, span, hash, key).ok()?;
                    return Arc::make_mut(slots).get_mut(at).map(|slot| &mut slot.record);
                }
            }
        }
    }

    /// Brings the records of these hashes nearer to the processor, `WAVE` of them at a time.
    pub(super) fn prefetch(&self, mut hashes: impl Iterator<Item = u64>) {
        let start = Way { hash: 0, span: Span::ALL, node: &self.root, place: &[] };
        let mut ways = [start; WAVE];
        loop {
            let mut count = 0;
            for (way, hash) in ways.iter_mut().zip(&mut hashes) {
                *way = Way { hash, ..start };
                count += 1;
            }
            match ways.get_mut(..count) {
                Some(ways) if count > 1 => follow(ways),
                // One alone waits for its memory anyway.
                _ => return,
            }
        }
    }

    /// Hands `write` the record of `key`, to be changed, or puts in the one that it makes when there is none. Neither may
    /// have another key.
    pub(super) fn upsert(
        &mut self,
        hash: u64,
        key: &[u8],
        write: impl FnOnce(Option<&mut Record>) -> Option<Record>,
    ) {
        let Upserted { is_new, split } = self.root.upsert(Span::ALL, hash, key, write);
        if let Some((bound, right)) = split {
            let left = mem::replace(&mut self.root, Node::Leaf(Arc::default()));
            let inner = Inner { bounds: alloc::vec![bound], children: alloc::vec![left, right] };
            self.root = Node::Inner(Arc::new(inner));
        }
        self.len += usize::from(is_new);
    }

    /// Takes the record of `key` out.
    pub(super) fn remove(&mut self, hash: u64, key: &[u8]) -> Option<Record> {
        // Looked for first, so that the removal of nothing copies nothing.
        self.get(hash, key)?;
        let record = self.root.remove(Span::ALL, hash, key)?;
        self.len = self.len.saturating_sub(1);
        while let Node::Inner(inner) = &self.root {
            let [only] = inner.children.as_slice() else { break };
            self.root = only.clone();
        }
        Some(record)
    }

    /// A record that `rng` chooses; `None` when there are none. Each has about the same chance: a node's children are not
    /// equally full.
    pub(super) fn draw(&self, rng: &mut Rng) -> Option<&Record> {
        let mut node = &self.root;
        loop {
            let at = rng.below(node.len() as u64) as usize;
            match node {
                Node::Inner(inner) => node = inner.children.get(at)?,
                Node::Leaf(slots) => return slots.get(at).map(|slot| &slot.record),
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

    fn upsert(
        &mut self,
        span: Span,
        hash: u64,
        key: &[u8],
        write: impl FnOnce(Option<&mut Record>) -> Option<Record>,
    ) -> Upserted {
        match self {
            Self::Leaf(slots) => match position(slots, span, hash, key) {
                Ok(at) => {
                    write(Arc::make_mut(slots).get_mut(at).map(|slot| &mut slot.record));
                    Upserted { is_new: false, split: None }
                }
                Err(at) => {
                    let Some(record) = write(None) else { return Upserted { is_new: false, split: None } };
                    let split = insert_at(Arc::make_mut(slots), at, Slot { hash, record });
                    Upserted { is_new: true, split }
                }
            },
            Self::Inner(inner) => {
                let at = inner.child_of(hash);
                let span = span.of_child(inner, at);
                let inner = Arc::make_mut(inner);
                let Some(child) = inner.children.get_mut(at) else {
                    return Upserted { is_new: false, split: None };
                };
                let Upserted { is_new, split } = child.upsert(span, hash, key, write);
                let split = split.and_then(|(bound, right)| inner.add(at, bound, right));
                Upserted { is_new, split }
            }
        }
    }

    fn remove(&mut self, span: Span, hash: u64, key: &[u8]) -> Option<Record> {
        match self {
            Self::Leaf(slots) => {
                let at = position(slots, span, hash, key).ok()?;
                let slots = Arc::make_mut(slots);
                let record = slots.remove(at).record;
                if slots.spilled() && slots.len() <= MAX {
                    slots.shrink_to_fit();
                }
                Some(record)
            }
            Self::Inner(inner) => {
                let at = inner.child_of(hash);
                let span = span.of_child(inner, at);
                let inner = Arc::make_mut(inner);
                let child = inner.children.get_mut(at)?;
                let record = child.remove(span, hash, key);
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
            Self::Leaf(slots) => {
                let (bound, right) = split_leaf(Arc::make_mut(slots))?;
                Some((bound, Self::Leaf(Arc::new(right))))
            }
            Self::Inner(inner) => Arc::make_mut(inner).split(),
        }
    }
}

impl Inner {
    /// The position of the child that holds `hash`.
    fn child_of(&self, hash: u64) -> usize {
        self.bounds.partition_point(|&bound| bound <= hash)
    }

    /// Puts `right`, which begins at `bound`, behind the child at `at`; answers the new right neighbour when that is one too
    /// many.
    fn add(&mut self, at: usize, bound: u64, right: Node) -> Option<(u64, Node)> {
        self.bounds.insert(at, bound);
        self.children.insert(at + 1, right);
        if self.children.len() > MAX { self.split() } else { None }
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

/// A search under way.
#[derive(Clone, Copy)]
struct Way<'a> {
    hash: u64,
    /// What `node` may hold.
    span: Span,
    node: &'a Node,
    /// In a leaf: the slots from the first one on that is not before `hash`.
    place: &'a [Slot],
}

impl<'a> Way<'a> {
    /// The leaf that it has come to.
    fn leaf(&self) -> Option<&'a Arc<Leaf>> {
        match self.node {
            Node::Leaf(slots) => Some(slots),
            Node::Inner(_) => None,
        }
    }
}

/// Takes searches from the root to their records. Each loop takes one step for all of them, so that none waits for the memory
/// of another, as one search after the other would; and it is short, so that a processor is in many of its turns at once.
fn follow(ways: &mut [Way<'_>]) {
    // All leaves are at one height.
    while let Some(Way { node: Node::Inner(_), .. }) = ways.first() {
        for way in &mut *ways {
            let Node::Inner(inner) = way.node else { continue };
            let at = inner.child_of(way.hash);
            way.span = way.span.of_child(inner, at);
            if let Some(child) = inner.children.get(at) {
                way.node = child;
            }
        }
    }
    // Of a leaf first its ends, where its count and its length are.
    let ends = |leaf: &Arc<Leaf>| Arc::strong_count(leaf) ^ leaf.len();
    black_box(ways.iter().filter_map(Way::leaf).fold(0, |sum, leaf| sum ^ ends(leaf)));
    let guess = |way: &Way<'_>| {
        let slots = way.leaf()?;
        slots.get(way.span.guess(way.hash, slots.len())).map(|slot| slot.hash)
    };
    black_box(ways.iter().filter_map(guess).fold(0, |sum, hash| sum ^ hash));
    for way in &mut *ways {
        let Some(slots) = way.leaf() else { continue };
        way.place = slots.get(first_at(slots, way.span, way.hash)..).unwrap_or_default();
    }
    // Where there is no record, one may be about to be put in, which moves all behind its place.
    black_box(ways.iter().fold(0, |sum, way| match way.place.first() {
        Some(slot) if slot.hash == way.hash => sum ^ u64::from(slot.record.touch()),
        _ => way.place.iter().step_by(SLOTS_OF_LINE).fold(sum, |sum, slot| sum ^ slot.hash),
    }));
}

/// The hashes that a node may hold: from `low` to `high`.
#[derive(Clone, Copy)]
struct Span {
    low: u64,
    high: u64,
}

impl Span {
    const ALL: Self = Self { low: 0, high: u64::MAX };

    fn of_child(self, inner: &Inner, at: usize) -> Self {
        let bound = |at: usize| inner.bounds.get(at).copied();
        Self { low: bound(at.wrapping_sub(1)).unwrap_or(self.low), high: bound(at).unwrap_or(self.high) }
    }

    /// Where `hash` would be among `len` evenly spread ones.
    fn guess(self, hash: u64, len: usize) -> usize {
        // In units that leave room for the product; at least one, so that the division is of something.
        let unit = |distance: u64| distance >> 12;
        let (part, whole) = (unit(hash.saturating_sub(self.low)), unit(self.high.saturating_sub(self.low)));
        (part.saturating_mul(len as u64) / (whole + 1)) as usize
    }
}

/// Where the first record of this hash, or of a greater one, is in a leaf for the hashes of `span`.
///
/// Hashes are spread evenly, so the search begins at the guess: a few slots from there is one or two lines of memory,
/// where halving would wait for four.
fn first_at(slots: &[Slot], span: Span, hash: u64) -> usize {
    let guess = span.guess(hash, slots.len()).min(slots.len());
    let (before, after) = slots.split_at(guess);
    let back = before.iter().rev().take_while(|slot| slot.hash >= hash).count();
    let ahead = if back > 0 { 0 } else { after.iter().take_while(|slot| slot.hash < hash).count() };
    guess - back + ahead
}

/// Where the record of `key` is, or would be, in a leaf for the hashes of `span`.
fn position(slots: &[Slot], span: Span, hash: u64, key: &[u8]) -> Result<usize, usize> {
    let first = first_at(slots, span, hash);
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

/// Puts a slot in its place, after a split when the leaf is full; answers the new right neighbour.
fn insert_at(slots: &mut Leaf, at: usize, slot: Slot) -> Option<(u64, Node)> {
    let split = if slots.len() < MAX { None } else { split_leaf(slots) };
    let Some((bound, mut right)) = split else {
        slots.insert(at, slot);
        return None;
    };
    if slot.hash < bound {
        slots.insert(at, slot);
    } else {
        right.insert(at.saturating_sub(slots.len()), slot);
    }
    Some((bound, Node::Leaf(Arc::new(right))))
}

/// Moves about half of the slots into a new leaf, without parting a run of one hash; `None` when there is only one.
fn split_leaf(slots: &mut Leaf) -> Option<(u64, Leaf)> {
    let begins_run = |at: &usize| match (slots.get(at.wrapping_sub(1)), slots.get(*at)) {
        (Some(before), Some(slot)) => before.hash != slot.hash,
        _ => false,
    };
    let half = slots.len() / 2;
    let at = (half..slots.len()).find(begins_run).or_else(|| (1..half).rev().find(begins_run))?;
    let bound = slots.get(at)?.hash;
    let right = slots.drain(at..).collect();
    slots.shrink_to_fit();
    Some((bound, right))
}

#[cfg(test)]
mod tests;
