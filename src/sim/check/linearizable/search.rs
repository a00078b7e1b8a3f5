//! The search for an order of one object's operations.

use std::collections::BTreeSet;
use std::hash::Hash;
use std::vec::Vec;

use xxhash_rust::xxh3::{Xxh3, xxh3_128};

use super::super::history::OpId;
use super::super::model::Model;
use super::NOWHERE;
use super::objects::Call;
use super::timeline::{Mark, Timeline};

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

/// What is tried next.
#[derive(Debug, Clone, Copy)]
struct Cursor {
    /// The place in the timeline, up to the first return.
    place: usize,
    /// Then the operations of unknown outcome from this one on.
    unknown: usize,
}

/// An operation that was placed.
struct Placed<M> {
    call: usize,
    /// What is tried in its place when it is put back.
    then: Cursor,
    /// The state before it, if it may have changed it.
    before: Option<(M, u128)>,
}

struct Search<'a, M: Model> {
    calls: &'a [Call<M>],
    timeline: Timeline,
    unknown: Vec<Unknown>,
    state: M,
    /// The fingerprint of the state.
    state_print: u128,
    /// The fingerprint of what is placed.
    placed_print: u128,
    placed: Vec<Placed<M>>,
    /// The moment of the furthest return that was not reached, and what is known about it.
    dead_end: Option<(u64, DeadEnd<M>)>,
}

/// An operation of unknown outcome.
struct Unknown {
    call: usize,
    /// An equal one that was asked before it.
    twin: Option<usize>,
    is_placed: bool,
}

/// Looks for an order of `calls`, which are in the order in which they were asked.
pub(super) fn search<M: Model + Clone + Hash>(initial: &M, calls: &[Call<M>], budget: u64) -> Found<M> {
    let mut search = Search::new(initial, calls);
    let answered = calls.iter().filter(|call| call.returned.is_some()).count();
    let mut seen = BTreeSet::new();
    let (mut left, mut steps) = (answered, 0);
    let mut cursor = search.start();
    while left > 0 {
        let Some(call) = search.candidate(&mut cursor) else {
            search.remember(cursor);
            match search.put_back() {
                Some((call, then)) => {
                    left += usize::from(calls[call].returned.is_some());
                    cursor = then;
                }
                None => return search.dead_end.map_or(Found::Nothing, |(_, dead_end)| Found::None(dead_end)),
            }
            continue;
        };
        if steps == budget {
            return Found::Nothing;
        }
        steps += 1;
        if search.place(call, cursor) {
            if seen.insert(search.state_print ^ search.placed_print) {
                left -= usize::from(calls[call].returned.is_some());
                cursor = search.start();
            } else {
                search.put_back();
            }
        }
    }
    Found::Order { steps }
}

impl<'a, M: Model + Clone + Hash> Search<'a, M> {
    fn new(initial: &M, calls: &'a [Call<M>]) -> Self {
        let mut unknown: Vec<Unknown> = Vec::new();
        for (call, of) in calls.iter().enumerate().filter(|(_, call)| call.returned.is_none()) {
            let twin = unknown.iter().rposition(|other| calls[other.call].op == of.op);
            unknown.push(Unknown { call, twin, is_placed: false });
        }
        let spans = calls.iter().map(|call| call.returned.map(|returned| (call.asked, returned)));
        Self {
            calls,
            timeline: Timeline::new(spans),
            unknown,
            state: initial.clone(),
            state_print: fingerprint(initial),
            placed_print: 0,
            placed: Vec::new(),
            dead_end: None,
        }
    }

    /// Everything is tried again.
    fn start(&self) -> Cursor {
        Cursor { place: self.timeline.first(), unknown: 0 }
    }

    /// The next operation that may come next.
    fn candidate(&self, cursor: &mut Cursor) -> Option<usize> {
        let first_returned = match self.timeline.mark(cursor.place)? {
            Mark::Call(call) => {
                cursor.place = self.timeline.after(cursor.place);
                return Some(call);
            }
            Mark::Return(call) => self.calls[call].returned?,
        };
        while let Some(unknown) = self.unknown.get(cursor.unknown) {
            if self.calls[unknown.call].asked > first_returned {
                return None;
            }
            cursor.unknown += 1;
            let waits = unknown.twin.is_some_and(|twin| !self.unknown[twin].is_placed);
            if !unknown.is_placed && !waits {
                return Some(unknown.call);
            }
        }
        None
    }

    /// Places an operation, if the model answers it as it was answered.
    fn place(&mut self, call: usize, then: Cursor) -> bool {
        let Call { op, is_read, reply, returned, .. } = &self.calls[call];
        let fits = |expected: &M::Reply| reply.as_ref().is_none_or(|reply| M::admits(op, expected, reply));
        let mut before = None;
        if *is_read {
            if !fits(&self.state.step(NOWHERE, op)) {
                return false;
            }
        } else {
            let mut state = self.state.clone();
            if !fits(&state.step(NOWHERE, op)) {
                return false;
            }
            let print = fingerprint(&state);
            if returned.is_none() && print == self.state_print {
                return false;
            }
            let old = (core::mem::replace(&mut self.state, state), self.state_print);
            before = Some(old);
            self.state_print = print;
        }
        self.toggle(call, true);
        self.placed.push(Placed { call, then, before });
        true
    }

    /// Puts back what was placed last. Yields it, and what is to be tried in its place.
    fn put_back(&mut self) -> Option<(usize, Cursor)> {
        let Placed { call, then, before } = self.placed.pop()?;
        if let Some((state, print)) = before {
            (self.state, self.state_print) = (state, print);
        }
        self.toggle(call, false);
        Some((call, then))
    }

    fn toggle(&mut self, call: usize, is_placed: bool) {
        self.placed_print ^= xxh3_128(&(call as u64).to_le_bytes());
        if self.calls[call].returned.is_none() {
            if let Ok(at) = self.unknown.binary_search_by_key(&call, |unknown| unknown.call) {
                self.unknown[at].is_placed = is_placed;
            }
        } else if is_placed {
            self.timeline.lift(call);
        } else {
            self.timeline.put_back(call);
        }
    }

    /// Remembers a dead end, if it is the furthest: nothing can be placed before the return at `cursor`.
    fn remember(&mut self, cursor: Cursor) {
        let Some(Mark::Return(call)) = self.timeline.mark(cursor.place) else { return };
        let Call { id: unexplained, returned: Some(returned), .. } = self.calls[call] else { return };
        if self.dead_end.as_ref().is_some_and(|&(furthest, _)| furthest >= returned) {
            return;
        }
        let order = &self.placed[self.placed.len().saturating_sub(SHOWN)..];
        let (mut concurrent, mut place) = (Vec::new(), self.timeline.first());
        while let Some(Mark::Call(other)) = self.timeline.mark(place) {
            concurrent.extend((other != call).then_some(self.calls[other].id));
            place = self.timeline.after(place);
        }
        let dead_end = DeadEnd {
            unexplained,
            order: order.iter().map(|placed| self.calls[placed.call].id).collect(),
            concurrent,
            state: self.state.clone(),
        };
        self.dead_end = Some((returned, dead_end));
    }
}

fn fingerprint(state: &impl Hash) -> u128 {
    let mut hasher = Xxh3::new();
    state.hash(&mut hasher);
    hasher.digest128()
}
