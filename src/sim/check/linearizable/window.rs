//! The ways to reach one return: what of all that is under way is placed before it, and in which order.

use std::collections::{BTreeSet, VecDeque};
use std::hash::Hash;
use std::vec::Vec;

use super::super::model::Model;
use super::rules::Rules;

/// Operations placed one behind the other, and where they lead.
pub(super) struct Path<M> {
    pub(super) placed: Vec<usize>,
    pub(super) state: M,
    pub(super) print: u128,
    /// If the last one is of unknown outcome, the state before it.
    before_unknown: Option<M>,
    is_closed: bool,
}

impl<M> Path<M> {
    pub(super) const fn new(placed: Vec<usize>, state: M, print: u128) -> Self {
        Self { placed, state, print, before_unknown: None, is_closed: false }
    }
}

/// The paths to one return that are left, the shortest first.
pub(super) struct Window<M> {
    closing: usize,
    candidates: Vec<usize>,
    open: VecDeque<Path<M>>,
    /// Paths that reached the return on the way.
    reached: VecDeque<Path<M>>,
    seen: BTreeSet<u128>,
}

impl<M: Model + Clone + Hash> Window<M> {
    /// All ways to place some of `candidates` and then `closing`, beginning at `root`, where `closing` alone was tried.
    pub(super) fn new(closing: usize, candidates: Vec<usize>, mut root: Path<M>) -> Self {
        root.is_closed = true;
        let seen = BTreeSet::from([root.print]);
        Self { closing, candidates, open: VecDeque::from([root]), reached: VecDeque::new(), seen }
    }

    /// The next path that ends with `closing`. `is_placed` says what stands before the window.
    pub(super) fn next(&mut self, rules: &mut Rules<'_, M>, is_placed: &[bool]) -> Option<Path<M>> {
        loop {
            if let Some(path) = self.reached.pop_front() {
                return Some(path);
            }
            let path = self.open.front_mut()?;
            if rules.is_tired() {
                return None;
            }
            if !core::mem::replace(&mut path.is_closed, true) {
                if let Some(path) = extend(path, self.closing, rules) {
                    return Some(path);
                }
                continue;
            }
            if let Some(path) = self.open.pop_front() {
                self.branch(&path, rules, is_placed);
            }
        }
    }

    /// Places one more operation behind `path`, each in turn.
    fn branch(&mut self, path: &Path<M>, rules: &mut Rules<'_, M>, is_placed: &[bool]) {
        for at in 0..self.candidates.len() {
            let call = self.candidates[at];
            let stands = |call: usize| is_placed[call] || path.placed.contains(&call);
            // Of equal operations of unknown outcome the first asked goes first.
            let waits = rules.twin(call).is_some_and(|twin| !stands(twin));
            if call == self.closing || stands(call) || waits {
                continue;
            }
            let Some(mut next) = extend(path, call, rules) else { continue };
            self.absorb(&mut next, rules);
            let set = next.placed.iter().fold(0, |set, &call| set ^ Rules::<M>::print_of(call));
            if !self.seen.insert(next.print ^ set) {
                continue;
            }
            if next.placed.contains(&self.closing) {
                self.reached.push_back(next);
            } else {
                self.open.push_back(next);
            }
        }
    }

    /// Places all reads that fit: none can have a better place.
    fn absorb(&self, path: &mut Path<M>, rules: &mut Rules<'_, M>) {
        for &call in &self.candidates {
            if !path.placed.contains(&call) && rules.read_fits(&mut path.state, call) {
                path.placed.push(call);
                path.before_unknown = None;
            }
        }
    }
}

/// `path` and one write behind it, if it is answered as it was answered, and if it needs what is before it: an operation
/// of unknown outcome is placed only for the sake of the one behind it.
fn extend<M: Model + Clone + Hash>(path: &Path<M>, call: usize, rules: &mut Rules<'_, M>) -> Option<Path<M>> {
    if path.before_unknown.is_some() && rules.call(call).overwrites {
        return None;
    }
    let (state, print) = rules.write(&path.state, call)?;
    let is_unknown = rules.call(call).returned.is_none();
    if is_unknown && print == path.print {
        return None;
    }
    let without = path.before_unknown.as_ref().and_then(|before| rules.write(before, call));
    if without.is_some_and(|(_, without)| without == print) {
        return None;
    }
    let placed = path.placed.iter().copied().chain([call]).collect();
    let before_unknown = is_unknown.then(|| path.state.clone());
    Some(Path { placed, state, print, before_unknown, is_closed: false })
}
