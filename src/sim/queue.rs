//! What is going to happen, in order of time; at equal times in the order in which it was planned.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use slab::Slab;

use crate::time::Micros;

/// A queue of events. Two of the same time come out as they went in, so that a run depends on nothing but its seed.
#[derive(Debug)]
pub struct Queue<T> {
    /// Time, sequence and place of each event, the next one first: the events themselves are large, and stay where they are.
    order: BinaryHeap<Reverse<(Micros, u64, usize)>>,
    events: Slab<T>,
    sequence: u64,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self { order: BinaryHeap::new(), events: Slab::new(), sequence: 0 }
    }
}

impl<T> Queue<T> {
    /// Plans `event` for the time `at`.
    pub fn push(&mut self, at: Micros, event: T) {
        self.order.push(Reverse((at, self.sequence, self.events.insert(event))));
        self.sequence += 1;
    }

    /// The next event and its time.
    pub fn pop(&mut self) -> Option<(Micros, T)> {
        let Reverse((at, _, place)) = self.order.pop()?;
        Some((at, self.events.try_remove(place)?))
    }

    /// When the next event happens.
    pub fn next_at(&self) -> Option<Micros> {
        self.order.peek().map(|Reverse((at, ..))| *at)
    }

    /// How many events are planned.
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Whether nothing is planned.
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    #[test]
    fn earliest_first_and_equal_times_in_order() {
        let mut queue = Queue::default();
        for (at, event) in [(5, 'c'), (1, 'a'), (5, 'd'), (2, 'b')] {
            queue.push(at, event);
        }
        assert_eq!((queue.len(), queue.next_at()), (4, Some(1)));
        let order: Vec<_> = core::iter::from_fn(|| queue.pop()).collect();
        assert_eq!(order, [(1, 'a'), (2, 'b'), (5, 'c'), (5, 'd')]);
        assert!(queue.is_empty());
    }
}
