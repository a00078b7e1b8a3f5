//! What the model says to an operation in a state, counted.

use std::hash::Hash;
use std::vec::Vec;

use xxhash_rust::xxh3::{Xxh3, xxh3_128};

use super::super::model::Model;
use super::NOWHERE;
use super::objects::Call;

/// The operations of an object, and how often the model was asked.
pub(super) struct Rules<'a, M: Model> {
    calls: &'a [Call<M>],
    /// For each operation of unknown outcome an equal one that was asked before it.
    twins: Vec<Option<usize>>,
    steps: u64,
    budget: u64,
}

impl<'a, M: Model + Clone + Hash> Rules<'a, M> {
    pub(super) fn new(calls: &'a [Call<M>], budget: u64) -> Self {
        let is_unknown = |call: &&usize| calls[**call].returned.is_none();
        let unknown: Vec<usize> = (0..calls.len()).filter(|call| is_unknown(&call)).collect();
        let mut twins = std::vec![None; calls.len()];
        for (at, &call) in unknown.iter().enumerate() {
            let twin = unknown[..at].iter().rev().find(|&&other| calls[other].op == calls[call].op);
            twins[call] = twin.copied();
        }
        Self { calls, twins, steps: 0, budget }
    }

    pub(super) fn call(&self, call: usize) -> &'a Call<M> {
        &self.calls[call]
    }

    pub(super) fn twin(&self, call: usize) -> Option<usize> {
        self.twins[call]
    }

    pub(super) const fn steps(&self) -> u64 {
        self.steps
    }

    /// Whether the budget is used up.
    pub(super) const fn is_tired(&self) -> bool {
        self.steps >= self.budget
    }

    /// Whether the operation is a read that is answered in `state` as it was answered.
    pub(super) fn read_fits(&mut self, state: &mut M, call: usize) -> bool {
        let Call { op, is_read: true, reply, .. } = &self.calls[call] else { return false };
        self.steps += 1;
        let expected = state.step(NOWHERE, op);
        reply.as_ref().is_none_or(|reply| M::admits(op, &expected, reply))
    }

    /// The state after a write, and its fingerprint, if it is answered as it was answered.
    pub(super) fn write(&mut self, state: &M, call: usize) -> Option<(M, u128)> {
        let Call { op, is_read: false, reply, .. } = &self.calls[call] else { return None };
        self.steps += 1;
        let mut state = state.clone();
        let expected = state.step(NOWHERE, op);
        let fits = reply.as_ref().is_none_or(|reply| M::admits(op, &expected, reply));
        fits.then(|| {
            let print = fingerprint(&state);
            (state, print)
        })
    }

    /// A number that stands for an operation in the fingerprint of what is placed.
    pub(super) fn print_of(call: usize) -> u128 {
        xxh3_128(&(call as u64).to_le_bytes())
    }
}

/// A number that stands for a state.
pub(super) fn fingerprint(state: &impl Hash) -> u128 {
    let mut hasher = Xxh3::new();
    state.hash(&mut hasher);
    hasher.digest128()
}
