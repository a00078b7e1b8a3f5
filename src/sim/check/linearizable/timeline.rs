//! The calls and returns of what was answered, in the order in which they happened, from which operations are taken out
//! and put back.

use std::vec::Vec;

/// Something that happened; the number is an operation's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark {
    Call(usize),
    Return(usize),
}

/// A doubly linked list over all marks. Place 0 is before the first and behind the last.
#[derive(Debug)]
pub(super) struct Timeline {
    marks: Vec<Mark>,
    next: Vec<usize>,
    previous: Vec<usize>,
    /// Where the call and the return of each operation stand.
    places: Vec<(usize, usize)>,
}

impl Timeline {
    /// The timeline of operations that were called and returned at these moments. `None` is an operation without marks.
    pub(super) fn new(spans: impl Iterator<Item = Option<(u64, u64)>>) -> Self {
        let (mut moments, mut count) = (Vec::new(), 0);
        for (number, span) in spans.enumerate() {
            count = number + 1;
            if let Some((called, returned)) = span {
                moments.extend([(called, Mark::Call(number)), (returned, Mark::Return(number))]);
            }
        }
        moments.sort_unstable_by_key(|&(moment, _)| moment);
        let mut places = std::vec![(0, 0); count];
        for (at, (_, mark)) in moments.iter().enumerate() {
            match *mark {
                Mark::Call(number) => places[number].0 = at + 1,
                Mark::Return(number) => places[number].1 = at + 1,
            }
        }
        let len = moments.len() + 1;
        Self {
            marks: moments.into_iter().map(|(_, mark)| mark).collect(),
            next: (1..len).chain([0]).collect(),
            previous: [len - 1].into_iter().chain(0..len - 1).collect(),
            places,
        }
    }

    /// The place of the first mark left; 0 if there is none.
    pub(super) fn first(&self) -> usize {
        self.next[0]
    }

    /// The place behind this one.
    pub(super) fn after(&self, place: usize) -> usize {
        self.next[place]
    }

    /// What stands at a place.
    pub(super) fn mark(&self, place: usize) -> Option<Mark> {
        self.marks.get(place.checked_sub(1)?).copied()
    }

    /// Takes an operation out.
    pub(super) fn lift(&mut self, number: usize) {
        let (call, back) = self.places[number];
        for place in [call, back] {
            let (before, behind) = (self.previous[place], self.next[place]);
            self.next[before] = behind;
            self.previous[behind] = before;
        }
    }

    /// Puts the operation back that was taken out last.
    pub(super) fn put_back(&mut self, number: usize) {
        let (call, back) = self.places[number];
        for place in [back, call] {
            let (before, behind) = (self.previous[place], self.next[place]);
            self.next[before] = place;
            self.previous[behind] = place;
        }
    }
}
