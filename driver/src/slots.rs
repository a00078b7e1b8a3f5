//! A slab whose entries have names that are never used again.

use slab::Slab;

/// The lower bits of a name are the entry's place, the upper ones a number that only grows.
const PLACE_BITS: u32 = 16;

/// Most entries at once.
pub(crate) const MAX_SLOTS: usize = 1 << PLACE_BITS;

/// Entries by place, for sockets' tokens, and by name, for all that may outlive them.
#[derive(Debug)]
pub(crate) struct Slots<T> {
    slab: Slab<(u64, T)>,
    named: u64,
}

impl<T> Slots<T> {
    pub(crate) fn new() -> Self {
        Self { slab: Slab::new(), named: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.slab.len()
    }

    /// Puts in what `make` builds for its name and place; `None` if it builds nothing or all places are taken.
    pub(crate) fn insert_with(&mut self, make: impl FnOnce(u64, usize) -> Option<T>) -> Option<u64> {
        let entry = self.slab.vacant_entry();
        let place = entry.key();
        if place >= MAX_SLOTS {
            return None;
        }
        let name = (self.named + 1) << PLACE_BITS | place as u64;
        entry.insert((name, make(name, place)?));
        self.named += 1;
        Some(name)
    }

    pub(crate) fn get_mut(&mut self, name: u64) -> Option<&mut T> {
        let (held, value) = self.slab.get_mut(place(name))?;
        (*held == name).then_some(value)
    }

    /// The name at a place.
    pub(crate) fn name_at(&self, place: usize) -> Option<u64> {
        self.slab.get(place).map(|(name, _)| *name)
    }

    pub(crate) fn remove(&mut self, name: u64) -> Option<T> {
        let (held, _) = self.slab.get(place(name))?;
        (*held == name).then(|| self.slab.remove(place(name)).1)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, &T)> {
        self.slab.iter().map(|(_, (name, value))| (*name, value))
    }
}

fn place(name: u64) -> usize {
    (name & (MAX_SLOTS as u64 - 1)) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_never_used_again_though_its_place_is() {
        let mut slots = Slots::new();
        let first = slots.insert_with(|_, _| Some('a')).unwrap();
        assert_eq!(slots.remove(first), Some('a'));
        let second = slots.insert_with(|_, _| Some('b')).unwrap();
        assert_eq!(place(first), place(second));
        assert_ne!(first, second);
        assert_eq!(slots.get_mut(first), None);
        assert_eq!(slots.remove(first), None);
        assert_eq!(slots.get_mut(second), Some(&mut 'b'));
        assert_eq!(slots.name_at(place(second)), Some(second));
    }

    #[test]
    fn what_could_not_be_built_takes_no_place() {
        let mut slots = Slots::<char>::new();
        assert_eq!(slots.insert_with(|_, _| None), None);
        assert_eq!(slots.len(), 0);
    }
}
