//! The search for an order of one object's operations.

use std::collections::BTreeSet;
use std::hash::Hash;
use std::vec::Vec;

use super::super::history::OpId;
use super::super::model::Model;
use super::objects::Call;
use super::rules::{Rules, fingerprint};
use super::timeline::{Mark, Timeline};
use super::window::{Path, Window};

/// How many operations of the longest order are shown.
const SHOWN: usize = 12;

/// What a search ends in.
pub(super) enum Found<M> {
    Order {
        steps: u64,
    },
    None(DeadEnd<M>),
    /// The budget is used up.
    Nothing,
}

/// The furthest that any order comes.
pub(super) struct DeadEnd<M> {
    /// The operation whose return is not reached.
    pub(super) unexplained: OpId,
    pub(super) order: Vec<OpId>,
    pub(super) concurrent: Vec<OpId>,
    pub(super) state: M,
}

/// A return that was to be reached, and how it was.
struct Level<M> {
    /// The operation that returns.
    closing: usize,
    /// The state before.
    before: M,
    before_print: u128,
    /// What is placed to reach it, and the reads behind it that fit.
    placed: Vec<usize>,
    /// Whether the operation itself was tried, alone.
    is_tried: bool,
    /// What else may be placed before it.
    window: Option<Window<M>>,
}

struct Search<'a, M: Model> {
    rules: Rules<'a, M>,
    timeline: Timeline,
    /// Operations of unknown outcome, and which operations are placed.
    unknown: Vec<usize>,
    is_placed: Vec<bool>,
    state: M,
    state_print: u128,
    placed_print: u128,
    levels: Vec<Level<M>>,
    /// What was reached already.
    seen: BTreeSet<u128>,
    /// The moment of the furthest return that was not reached, and what is known about it.
    dead_end: Option<(u64, DeadEnd<M>)>,
}

/// Looks for an order of `calls`, which are in the order in which they were asked.
pub(super) fn search<M: Model + Clone + Hash>(initial: &M, calls: &[Call<M>], budget: u64) -> Found<M> {
    let mut search = Search::new(initial, calls, budget);
    search.absorb();
    while let Some(closing) = search.first_return() {
        search.levels.push(Level {
            closing,
            before: search.state.clone(),
            before_print: search.state_print,
            placed: Vec::new(),
            is_tried: false,
            window: None,
        });
        while !search.advance() {
            if search.rules.is_tired() {
                return Found::Nothing;
            }
            search.remember();
            search.levels.pop();
            if search.levels.is_empty() {
                return search.dead_end.map_or(Found::Nothing, |(_, dead_end)| Found::None(dead_end));
            }
        }
    }
    Found::Order { steps: search.rules.steps() }
}

impl<'a, M: Model + Clone + Hash> Search<'a, M> {
    fn new(initial: &M, calls: &'a [Call<M>], budget: u64) -> Self {
        let spans = calls.iter().map(|call| call.returned.map(|returned| (call.asked, returned)));
        Self {
            rules: Rules::new(calls, budget),
            timeline: Timeline::new(spans),
            unknown: (0..calls.len()).filter(|&call| calls[call].returned.is_none()).collect(),
            is_placed: std::vec![false; calls.len()],
            state: initial.clone(),
            state_print: fingerprint(initial),
            placed_print: 0,
            levels: Vec::new(),
            seen: BTreeSet::new(),
            dead_end: None,
        }
    }

    /// The operation that returns first of those that are not placed.
    fn first_return(&self) -> Option<usize> {
        let mut place = self.timeline.first();
        loop {
            match self.timeline.mark(place)? {
                Mark::Return(call) => return Some(call),
                Mark::Call(_) => place = self.timeline.after(place),
            }
        }
    }

    /// Reaches the return of the last level in the next way that leads to something new; `false` if there is none.
    fn advance(&mut self) -> bool {
        self.undo();
        while let Some(path) = self.next_path() {
            self.follow(path);
            if self.seen.insert(self.state_print ^ self.placed_print) {
                return true;
            }
            self.undo();
        }
        false
    }

    /// The next way to reach the return of the last level, the shortest first.
    fn next_path(&mut self) -> Option<Path<M>> {
        let level = self.levels.last_mut()?;
        let closing = level.closing;
        if !core::mem::replace(&mut level.is_tried, true)
            && let Some((state, print)) = self.rules.write(&self.state, closing)
        {
            return Some(Path::new(std::vec![closing], state, print));
        }
        if level.window.is_none() {
            let candidates = self.candidates(closing);
            let root = Path::new(Vec::new(), self.state.clone(), self.state_print);
            self.levels.last_mut()?.window = Some(Window::new(closing, candidates, root));
        }
        let window = self.levels.last_mut()?.window.as_mut()?;
        window.next(&mut self.rules, &self.is_placed)
    }

    /// What may be placed before the return of `closing`: what is not placed and was called before it.
    fn candidates(&self, closing: usize) -> Vec<usize> {
        let mut candidates = self.under_way();
        let returned = self.rules.call(closing).returned.unwrap_or_default();
        let early = |&&call: &&usize| self.rules.call(call).asked < returned && !self.is_placed[call];
        candidates.extend(self.unknown.iter().filter(early));
        candidates
    }

    /// What was called before the first return left, and is answered and not placed.
    fn under_way(&self) -> Vec<usize> {
        let (mut under_way, mut place) = (Vec::new(), self.timeline.first());
        while let Some(Mark::Call(call)) = self.timeline.mark(place) {
            under_way.push(call);
            place = self.timeline.after(place);
        }
        under_way
    }

    fn follow(&mut self, path: Path<M>) {
        for &call in &path.placed {
            self.toggle(call, true);
        }
        (self.state, self.state_print) = (path.state, path.print);
        let mut placed = path.placed;
        placed.extend(self.absorb());
        if let Some(level) = self.levels.last_mut() {
            level.placed = placed;
        }
    }

    /// Puts back what the last level has placed.
    fn undo(&mut self) {
        let Some(level) = self.levels.last_mut() else { return };
        let placed = core::mem::take(&mut level.placed);
        if !placed.is_empty() {
            self.state = level.before.clone();
            self.state_print = level.before_print;
        }
        placed.into_iter().rev().for_each(|call| self.toggle(call, false));
    }

    /// Places all reads that may be placed and fit: none can have a better place.
    fn absorb(&mut self) -> Vec<usize> {
        let (mut absorbed, mut place) = (Vec::new(), self.timeline.first());
        while let Some(Mark::Call(call)) = self.timeline.mark(place) {
            place = self.timeline.after(place);
            if self.rules.read_fits(&mut self.state, call) {
                // Its return may be the very next mark.
                let is_next = self.timeline.mark(place) == Some(Mark::Return(call));
                place = if is_next { self.timeline.after(place) } else { place };
                self.toggle(call, true);
                absorbed.push(call);
            }
        }
        absorbed
    }

    fn toggle(&mut self, call: usize, is_placed: bool) {
        self.placed_print ^= Rules::<M>::print_of(call);
        self.is_placed[call] = is_placed;
        if self.rules.call(call).returned.is_none() {
            return;
        }
        if is_placed {
            self.timeline.lift(call);
        } else {
            self.timeline.put_back(call);
        }
    }

    /// Remembers the last level, whose return cannot be reached, if it is the furthest.
    fn remember(&mut self) {
        let Some(level) = self.levels.last() else { return };
        let Call { id: unexplained, returned: Some(returned), .. } = *self.rules.call(level.closing) else {
            return;
        };
        if self.dead_end.as_ref().is_some_and(|&(furthest, _)| furthest >= returned) {
            return;
        }
        let id = |call: usize| self.rules.call(call).id;
        let last = self.levels.iter().rev().flat_map(|level| level.placed.iter().rev()).take(SHOWN);
        let mut order: Vec<OpId> = last.map(|&call| id(call)).collect();
        order.reverse();
        let others = self.under_way().into_iter().filter(|&call| call != level.closing);
        let dead_end =
            DeadEnd { unexplained, order, concurrent: others.map(id).collect(), state: self.state.clone() };
        self.dead_end = Some((returned, dead_end));
    }
}
