//! What belongs to requests, by their tags.
//!
//! Tags only grow, and nearly all requests end about as they began, in order. So they stand in a queue in which a tag tells
//! the place; those that outlast many others make room and move to a map.

use alloc::collections::{BTreeMap, VecDeque};

use crate::replica::Tag;

/// How many empty places there may be beside as many as are taken.
const SPARE: usize = 1024;

/// Values by tags that are put in in ascending order.
#[derive(Debug)]
pub(super) struct Tagged<T> {
    /// Those before `first`.
    old: BTreeMap<Tag, T>,
    /// By tag, from `first` on. The first place is taken.
    recent: VecDeque<Option<T>>,
    first: Tag,
    /// How many places of `recent` are taken.
    taken: usize,
}

impl<T> Default for Tagged<T> {
    fn default() -> Self {
        Self { old: BTreeMap::new(), recent: VecDeque::new(), first: 0, taken: 0 }
    }
}

impl<T> Tagged<T> {
    pub(super) fn len(&self) -> usize {
        self.old.len() + self.taken
    }

    /// Puts in the value of a tag that is greater than all before.
    pub(super) fn insert(&mut self, tag: Tag, value: T) {
        let next = self.first.saturating_add(self.recent.len() as u64);
        let gap = tag.saturating_sub(next);
        if self.recent.is_empty() || gap > SPARE as u64 {
            while self.retire() {}
            self.first = tag;
        } else if gap > 0 {
            self.recent.extend((0..gap).map(|_| None));
        }
        self.recent.push_back(Some(value));
        self.taken += 1;
        self.make_room();
    }

    pub(super) fn get(&self, tag: Tag) -> Option<&T> {
        match self.place(tag) {
            Some(place) => self.recent.get(place)?.as_ref(),
            None => self.old.get(&tag),
        }
    }

    pub(super) fn remove(&mut self, tag: Tag) -> Option<T> {
        let Some(place) = self.place(tag) else { return self.old.remove(&tag) };
        let value = self.recent.get_mut(place)?.take()?;
        self.taken -= 1;
        self.drop_empty();
        self.make_room();
        Some(value)
    }

    /// The value of the smallest tag.
    pub(super) fn first(&self) -> Option<(Tag, &T)> {
        let recent = || Some((self.first, self.recent.front()?.as_ref()?));
        self.old.first_key_value().map(|(&tag, value)| (tag, value)).or_else(recent)
    }

    /// All, in the order of their tags.
    pub(super) fn values(&self) -> impl Iterator<Item = &T> {
        self.old.values().chain(self.recent.iter().flatten())
    }

    fn place(&self, tag: Tag) -> Option<usize> {
        tag.checked_sub(self.first).map(|place| usize::try_from(place).unwrap_or(usize::MAX))
    }

    fn make_room(&mut self) {
        while self.recent.len() > 2 * self.taken + SPARE && self.retire() {}
    }

    /// Moves the first of the queue to the map; `false` if there is none.
    fn retire(&mut self) -> bool {
        let Some(Some(value)) = self.recent.pop_front() else { return false };
        self.old.insert(self.first, value);
        self.first += 1;
        self.taken -= 1;
        self.drop_empty();
        true
    }

    fn drop_empty(&mut self) {
        while let Some(None) = self.recent.front() {
            self.recent.pop_front();
            self.first += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;
    use alloc::vec::Vec;

    #[test]
    fn it_agrees_with_a_map_and_its_room_is_bounded() {
        let mut rng = Rng::new(3);
        let (mut tagged, mut map) = (Tagged::default(), BTreeMap::new());
        let (mut tag, mut retired) = (0, 0);
        for step in 0..60_000_u64 {
            let gap = match rng.below(2_000) {
                0 => 5_000,
                1..20 => rng.below(600),
                _ => 0,
            };
            tag += 1 + gap;
            tagged.insert(tag, step);
            map.insert(tag, step);
            // In order but for some, of which a few stay for long.
            while map.len() > 40 + rng.below(20) as usize {
                let back = if rng.chance(1, 9) { rng.below(map.len() as u64) } else { rng.below(3) };
                let (&chosen, _) = map.iter().nth(back as usize).expect("there are more");
                if chosen % 997 == 0 && rng.chance(99, 100) {
                    continue;
                }
                assert_eq!(tagged.get(chosen), map.get(&chosen));
                assert_eq!(tagged.remove(chosen), map.remove(&chosen));
                assert_eq!(tagged.get(chosen), None);
                assert_eq!(tagged.remove(chosen), None);
            }
            assert_eq!(tagged.len(), map.len());
            assert_eq!(tagged.first(), map.first_key_value().map(|(&tag, value)| (tag, value)));
            assert!(tagged.recent.len() <= 2 * tagged.taken + SPARE);
            retired = retired.max(tagged.old.len());
        }
        assert!(retired > 3, "{retired}");
        assert_eq!(tagged.values().collect::<Vec<_>>(), map.values().collect::<Vec<_>>());
        assert_eq!(tagged.get(tag + 1), None);
        assert_eq!(tagged.remove(u64::MAX), None);
        while let Some((tag, _)) = tagged.first() {
            assert_eq!(tagged.remove(tag), map.remove(&tag));
        }
        assert!(map.is_empty() && tagged.len() == 0);
    }
}
