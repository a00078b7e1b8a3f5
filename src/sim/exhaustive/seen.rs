//! The states that were visited, by their fingerprints: 128 bits each, in one flat table.
//!
//! Two different states of one fingerprint would be taken for one. Among 10⁸ states the chance of that is below 10⁻²².

use std::vec::Vec;

/// A set of fingerprints. It has no order that anybody could see.
#[derive(Debug)]
pub(super) struct Seen {
    /// A power of two of places; 0 is an empty one.
    places: Vec<u128>,
    len: usize,
}

impl Seen {
    pub(super) fn new() -> Self {
        Self { places: std::vec![0; 1024], len: 0 }
    }

    /// Adds a fingerprint. False if it was there.
    pub(super) fn insert(&mut self, fingerprint: u128) -> bool {
        // 0 is taken: that fingerprint shares a place with 1.
        let fingerprint = fingerprint.max(1);
        if self.len >= self.places.len() / 4 * 3 {
            self.grow();
        }
        let added = put(&mut self.places, fingerprint);
        self.len += usize::from(added);
        added
    }

    fn grow(&mut self) {
        let mut larger = std::vec![0; self.places.len() * 2];
        for &fingerprint in self.places.iter().filter(|&&place| place != 0) {
            put(&mut larger, fingerprint);
        }
        self.places = larger;
    }
}

fn put(places: &mut [u128], fingerprint: u128) -> bool {
    let mask = places.len() - 1;
    let mut at = fingerprint as usize & mask;
    while places[at] != 0 {
        if places[at] == fingerprint {
            return false;
        }
        at = (at + 1) & mask;
    }
    places[at] = fingerprint;
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    #[test]
    fn each_fingerprint_is_new_once() {
        let mut seen = Seen::new();
        let mut rng = Rng::new(1);
        // Many that fall into few places, so that they push each other on.
        let prints: Vec<u128> =
            (0..5000).map(|_| (u128::from(rng.next_u64()) << 64) | u128::from(rng.below(64))).collect();
        assert!(prints.iter().all(|&print| seen.insert(print)));
        assert!(!prints.iter().any(|&print| seen.insert(print)));
        assert!(seen.insert(0) && !seen.insert(1));
    }
}
