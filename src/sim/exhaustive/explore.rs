//! The search: breadth first, so that the first way found to a violation is a shortest one.

use core::mem;
use core::ops::ControlFlow;
use std::string::String;
use std::vec::Vec;

use super::bounds::{Bounds, Counterexample, Exploration, MOST_NODES, Progress};
use super::cast::Cast;
use super::member::Member;
use super::seen::Seen;
use super::words;
use super::world::{Move, World};

/// How many states are left between two reports of progress.
const REPORT_EVERY: usize = 1 << 16;

/// How a state was reached: from which one, by what.
type Link = (u32, Move);

pub(super) struct Search<'a> {
    bounds: &'a Bounds,
    /// Most states.
    most: usize,
    cast: Cast,
    start: World,
    seen: Seen,
    /// One for each state but the first, in the order in which they were found.
    links: Vec<Link>,
    transitions: u64,
    depth: u32,
}

/// Why a search ends before everything is explored.
enum End {
    Limit,
    /// Something is broken before the start.
    Unable(String),
    Violation {
        at: u32,
        step: Move,
        broken: String,
    },
}

impl<'a> Search<'a> {
    pub(super) fn new(bounds: &'a Bounds) -> Self {
        Self::with(bounds, |_| {})
    }

    /// A search over a cluster whose members `change` has changed before anything happened.
    pub(super) fn with(bounds: &'a Bounds, change: impl Fn(&mut Member)) -> Self {
        assert!((1..=MOST_NODES).contains(&bounds.nodes), "an exploration has 1 to {MOST_NODES} nodes");
        let mut cast = Cast::new(bounds);
        let start = World::founded(&mut cast, bounds, change);
        // States have numbers of 32 bits.
        let most = bounds.states.min(u32::MAX as usize);
        Self { bounds, most, cast, start, seen: Seen::new(), links: Vec::new(), transitions: 0, depth: 0 }
    }

    pub(super) fn run(mut self, progress: &mut dyn FnMut(&Progress) -> ControlFlow<()>) -> Exploration {
        let end = self.search(progress).err();
        let complete = end.is_none();
        let violation = match end {
            Some(End::Violation { at, step, broken }) => Some(self.retrace(at, step, broken)),
            Some(End::Unable(broken)) => Some(Counterexample { broken, path: Vec::new() }),
            Some(End::Limit) | None => None,
        };
        Exploration {
            states: self.links.len() + 1,
            transitions: self.transitions,
            depth: self.depth,
            complete,
            node_states: self.cast.node_states(),
            node_steps: self.cast.node_steps(),
            reached: self.cast.reached,
            violation,
        }
    }

    /// Depth by depth, until nothing is new.
    fn search(&mut self, progress: &mut dyn FnMut(&Progress) -> ControlFlow<()>) -> Result<(), End> {
        self.start.begin(self.bounds.start, &mut self.cast).map_err(End::Unable)?;
        self.seen.insert(self.start.fingerprint(&self.cast));
        let mut layer: Vec<(u32, World)> = [(0, self.start.clone())].into();
        let mut moves = Vec::new();
        for depth in 0.. {
            let mut next = Vec::new();
            let (len, mut left) = (layer.len(), 0);
            for (at, world) in mem::take(&mut layer) {
                if left % REPORT_EVERY == 0 {
                    let (states, waiting) = (self.links.len() + 1, len - left + next.len());
                    let report = Progress { depth, states, transitions: self.transitions, waiting };
                    if progress(&report).is_break() {
                        return Err(End::Limit);
                    }
                }
                left += 1;
                world.moves(&self.cast, &mut moves);
                if depth == self.bounds.depth && !moves.is_empty() {
                    return Err(End::Limit);
                }
                self.leave(at, &world, &moves, &mut next)?;
            }
            if next.is_empty() {
                break;
            }
            self.depth = depth + 1;
            layer = next;
        }
        Ok(())
    }

    /// Takes every step from one state.
    fn leave(
        &mut self,
        at: u32,
        world: &World,
        moves: &[Move],
        next: &mut Vec<(u32, World)>,
    ) -> Result<(), End> {
        for &step in moves {
            self.transitions += 1;
            let after = match world.after(step, &mut self.cast) {
                Ok(after) => after,
                Err(broken) => return Err(End::Violation { at, step, broken }),
            };
            if !self.seen.insert(after.fingerprint(&self.cast)) {
                continue;
            }
            if self.links.len() + 1 >= self.most {
                return Err(End::Limit);
            }
            self.links.push((at, step));
            next.push((self.links.len() as u32, after));
        }
        Ok(())
    }

    /// The way from the start to the state of number `at`, and the step that breaks something there.
    fn retrace(&mut self, at: u32, last: Move, broken: String) -> Counterexample {
        let mut steps = Vec::from([last]);
        let mut at = at as usize;
        while let Some(&(from, step)) = at.checked_sub(1).and_then(|link| self.links.get(link)) {
            steps.push(step);
            at = from as usize;
        }
        let mut world = self.start.clone();
        let mut path = Vec::new();
        for step in steps.into_iter().rev() {
            path.push(words::step(&world, step, &mut self.cast));
            if let Ok(after) = world.after(step, &mut self.cast) {
                world = after;
            }
        }
        Counterexample { broken, path }
    }
}
