//! The independent objects of a history.

use std::collections::BTreeMap;
use std::vec::Vec;

use bytes::Bytes;

use super::super::history::{End, HistoryOf, OpId};
use super::super::model::{Model, Part};

/// A part of the state, and what was done to it.
pub(super) struct Object<M: Model> {
    pub(super) keys: Vec<Bytes>,
    /// In the order in which they were asked.
    pub(super) calls: Vec<Call<M>>,
}

/// An operation, as far as it concerns the object.
pub(super) struct Call<M: Model> {
    pub(super) id: OpId,
    pub(super) op: M::Op,
    pub(super) is_read: bool,
    /// Whether nothing of the object's state shows through it.
    pub(super) overwrites: bool,
    /// What it was answered, if it says anything.
    pub(super) reply: Option<M::Reply>,
    pub(super) asked: u64,
    /// `None` for an unknown outcome.
    pub(super) returned: Option<u64>,
}

impl<M: Model> Clone for Call<M> {
    fn clone(&self) -> Self {
        Self { op: self.op.clone(), reply: self.reply.clone(), ..*self }
    }
}

/// Keys, in sets of those that some operation touches together: each key points to another of its set, the last to itself.
#[derive(Default)]
struct Sets {
    numbers: BTreeMap<Bytes, usize>,
    parents: Vec<usize>,
}

impl Sets {
    /// The number of a key.
    fn number(&mut self, key: &Bytes) -> usize {
        let next = self.parents.len();
        let number = *self.numbers.entry(key.clone()).or_insert(next);
        if number == next {
            self.parents.push(next);
        }
        number
    }

    /// The number that stands for the set of this one.
    fn root(&mut self, mut number: usize) -> usize {
        while self.parents[number] != number {
            self.parents[number] = self.parents[self.parents[number]];
            number = self.parents[number];
        }
        number
    }

    fn join(&mut self, one: usize, other: usize) {
        let (one, other) = (self.root(one), self.root(other));
        self.parents[one.max(other)] = one.min(other);
    }
}

/// Divides a history into the objects that its keys form, without those that only the log can tell about.
pub(super) fn objects<M: Model>(history: &HistoryOf<M>) -> Vec<Object<M>> {
    let (mut sets, mut calls, mut left_out) = (Sets::default(), Vec::new(), Vec::new());
    for (id, operation) in history.operations().iter().enumerate() {
        let asked = operation.asked.order;
        let (returned, reply) = match &operation.end {
            End::NotDone => continue,
            End::Unknown => (None, None),
            End::Replied { when, reply } => (Some(when.order), Some(reply)),
        };
        for Part { keys, op, reply, needs_log } in M::parts(&operation.op, reply) {
            let is_read = M::is_read(&op);
            if is_read && reply.is_none() {
                continue;
            }
            let numbers: Vec<usize> = keys.iter().map(|key| sets.number(key)).collect();
            let first = numbers.first().copied();
            numbers.iter().for_each(|&other| sets.join(numbers[0], other));
            if needs_log {
                left_out.push(first);
            }
            let overwrites = M::overwrites(&op);
            calls.push((first, Call { id, op, is_read, overwrites, reply, asked, returned }));
        }
    }
    if left_out.contains(&None) {
        return Vec::new();
    }
    let mut objects: BTreeMap<usize, Object<M>> = BTreeMap::new();
    for (key, number) in core::mem::take(&mut sets.numbers) {
        let object = objects.entry(sets.root(number));
        object.or_insert_with(|| Object { keys: Vec::new(), calls: Vec::new() }).keys.push(key);
    }
    for key in left_out.into_iter().flatten() {
        objects.remove(&sets.root(key));
    }
    for (key, call) in calls {
        match key {
            Some(key) => {
                if let Some(object) = objects.get_mut(&sets.root(key)) {
                    object.add(call);
                }
            }
            None => objects.values_mut().for_each(|object| object.add(call.clone())),
        }
    }
    objects.into_values().collect()
}

impl<M: Model> Object<M> {
    fn add(&mut self, mut call: Call<M>) {
        // Of an object of several keys it leaves the others as they were.
        call.overwrites &= self.keys.len() == 1;
        self.calls.push(call);
    }
}
