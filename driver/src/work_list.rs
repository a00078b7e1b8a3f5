//! Names of what has work, for one turn after the other.

use std::mem;

/// A list that is gone through while new names are put in, which are for the next time. It allocates only to grow.
#[derive(Debug, Default)]
pub(crate) struct WorkList {
    names: Vec<u64>,
    spare: Vec<u64>,
}

impl WorkList {
    pub(crate) fn push(&mut self, name: u64) {
        self.names.push(name);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Takes all names out; [`give_back`](Self::give_back) when they are gone through.
    pub(crate) fn take(&mut self) -> Vec<u64> {
        mem::replace(&mut self.names, mem::take(&mut self.spare))
    }

    /// Keeps the memory of a list that was taken.
    pub(crate) fn give_back(&mut self, mut taken: Vec<u64>) {
        taken.clear();
        self.spare = taken;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_in_meanwhile_is_for_the_next_time_and_memory_is_kept() {
        let mut list = WorkList::default();
        let mut memory = std::collections::BTreeSet::new();
        for turn in 0..10 {
            list.push(turn);
            let taken = list.take();
            memory.insert(taken.as_ptr());
            list.push(100);
            assert_eq!(taken.first(), Some(&(if turn == 0 { 0 } else { 100 })));
            assert_eq!(taken.last(), Some(&turn));
            list.give_back(taken);
        }
        assert!(!list.is_empty());
        assert!(memory.len() <= 2, "{memory:?}");
    }
}
