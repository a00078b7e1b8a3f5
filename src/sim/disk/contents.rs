//! The bytes of one file: what a reader sees, and what the medium holds.

use std::borrow::Cow;
use std::vec::Vec;

use bytes::Bytes;

use super::{Counts, DiskFault};
use crate::rng::Rng;

/// The unit in which a medium may lose parts of a write independently of each other.
const SECTOR: usize = 512;

/// One file's bytes. Changes reach the medium when they are synced, or by chance when the power fails.
///
/// The bytes are kept once: a change remembers what it replaced, so that a sync has only to forget it, and a power
/// failure takes it back.
#[derive(Debug, Clone, Default)]
pub(super) struct Contents {
    seen: Vec<u8>,
    unsynced: Vec<Unsynced>,
    /// What the unsynced changes replaced, one after the other.
    replaced: Vec<u8>,
    /// What the medium holds without the unsynced changes, where that is not what taking them back would leave: after a
    /// sync that failed.
    medium: Option<Vec<u8>>,
    /// Writes that were acknowledged and did not arrive where they should: what is there instead, once the cache is gone.
    astray: Vec<Astray>,
}

/// A change that is not synced, and what it replaced.
#[derive(Debug, Clone)]
struct Unsynced {
    change: Change,
    len_before: usize,
    /// How many bytes were overwritten, from the change's offset on.
    overwritten: usize,
}

#[derive(Debug, Clone)]
enum Change {
    Empty,
    Write { offset: usize, data: Bytes },
}

/// What a write that went astray left in some place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Astray {
    pub(super) fault: DiskFault,
    pub(super) offset: usize,
    pub(super) bytes: Vec<u8>,
}

impl Astray {
    /// Whether it lies, in part or as a whole, on these bytes.
    pub(super) fn touches(&self, offset: u64, len: u64) -> bool {
        let start = self.offset as u64;
        start < offset + len && offset < start + self.bytes.len() as u64
    }
}

/// What became of one unsynced change when the power failed.
#[derive(Clone, Copy)]
enum Fate {
    Lost,
    /// The file grew and the bytes did not arrive: a reader finds zeros.
    LengthOnly,
    Whole,
    /// The bytes before this one arrived.
    Torn(usize),
    /// Each sector arrived or not, by the bits of this seed.
    Sectors(u64),
}

impl Contents {
    /// A file that was on the medium before the simulation began.
    pub(super) fn durable(bytes: Vec<u8>) -> Self {
        Self { seen: bytes, ..Self::default() }
    }

    /// What a reader sees, synced or not.
    pub(super) fn seen(&self) -> &[u8] {
        &self.seen
    }

    /// Makes the file empty.
    pub(super) fn empty(&mut self) {
        self.astray.clear();
        let len_before = self.seen.len();
        self.replaced.append(&mut self.seen);
        self.unsynced.push(Unsynced { change: Change::Empty, len_before, overwritten: len_before });
    }

    /// Writes `data` at `offset`; a gap before it reads as zeros.
    pub(super) fn write(&mut self, offset: usize, data: Bytes) {
        self.astray.retain(|astray| !astray.touches(offset as u64, data.len() as u64));
        let len_before = self.seen.len();
        let before = self.seen.get(offset..len_before.min(offset + data.len())).unwrap_or_default();
        let overwritten = before.len();
        self.replaced.extend_from_slice(before);
        put(&mut self.seen, offset, &data);
        self.unsynced.push(Unsynced { change: Change::Write { offset, data }, len_before, overwritten });
    }

    /// When the cache is gone there are other bytes in this place.
    pub(super) fn leads_astray(&mut self, astray: Astray) {
        self.astray.push(astray);
    }

    /// Takes what went astray.
    pub(super) fn take_astray(&mut self) -> Vec<Astray> {
        core::mem::take(&mut self.astray)
    }

    /// Makes all changes durable.
    pub(super) fn sync(&mut self) {
        for Unsynced { change, .. } in self.unsynced.drain(..) {
            if let Some(medium) = &mut self.medium {
                apply(medium, &change, Fate::Whole);
            }
        }
        self.replaced.clear();
    }

    /// A sync that reports an error: some of the bytes arrived, and the cache takes all of them for clean, so that no
    /// later sync writes them again (*Can Applications Recover from fsync Failures?*, ATC'20).
    pub(super) fn sync_failed(&mut self, rng: &mut Rng) {
        if self.unsynced.is_empty() {
            return;
        }
        let mut medium = self.medium.take().unwrap_or_else(|| self.taken_back(self.seen.clone()));
        for Unsynced { change, .. } in self.unsynced.drain(..) {
            apply(&mut medium, &change, Fate::draw(&change, rng));
        }
        self.replaced.clear();
        self.medium = Some(medium);
    }

    /// The power fails: any subset of the unsynced changes survives, each of them perhaps in part.
    pub(super) fn crash(&mut self, rng: &mut Rng, counts: &mut Counts) {
        let seen = core::mem::take(&mut self.seen);
        let mut medium = self.medium.take().unwrap_or_else(|| self.taken_back(seen));
        for Unsynced { change, .. } in self.unsynced.drain(..) {
            let fate = Fate::draw(&change, rng);
            match fate {
                Fate::Whole => {}
                Fate::Lost => counts.lost_changes += 1,
                Fate::LengthOnly | Fate::Torn(_) | Fate::Sectors(_) => counts.torn_writes += 1,
            }
            apply(&mut medium, &change, fate);
        }
        self.replaced.clear();
        self.seen = medium;
    }

    /// The file when every unsynced change is lost.
    pub(super) fn without_unsynced(&self) -> Self {
        Self::durable(self.durable_bytes().into_owned())
    }

    /// Its bytes then.
    pub(super) fn durable_bytes(&self) -> Cow<'_, [u8]> {
        match &self.medium {
            Some(medium) => Cow::Borrowed(medium),
            None if self.unsynced.is_empty() => Cow::Borrowed(&self.seen),
            None => Cow::Owned(self.taken_back(self.seen.clone())),
        }
    }

    /// Whether all changes are durable.
    pub(super) fn is_synced(&self) -> bool {
        self.unsynced.is_empty()
    }

    /// The medium holds other bytes here from now on, for every reader; nothing happens past the file's end.
    pub(super) fn spoil(&mut self, offset: usize, bytes: &[u8]) {
        overlay(&mut self.seen, offset, bytes);
        if let Some(medium) = &mut self.medium {
            overlay(medium, offset, bytes);
        }
    }

    /// The file ends here from now on, for every reader. Only for a file that is synced.
    pub(super) fn shorten(&mut self, len: usize) {
        self.seen.truncate(len);
        if let Some(medium) = &mut self.medium {
            medium.truncate(len);
        }
    }

    /// Whether a reader finds bytes that the medium does not have and no later sync will write: those of a failed sync.
    pub(super) fn is_cache_only(&self) -> bool {
        self.medium.as_ref().is_some_and(|medium| *medium != self.seen)
    }

    /// `bytes`, which a reader sees, without the changes that are not synced.
    fn taken_back(&self, mut bytes: Vec<u8>) -> Vec<u8> {
        let mut replaced = self.replaced.as_slice();
        for Unsynced { change, len_before, overwritten } in self.unsynced.iter().rev() {
            let (earlier, before) = replaced.split_at(replaced.len() - overwritten);
            replaced = earlier;
            bytes.resize(*len_before, 0);
            match change {
                Change::Empty => bytes.copy_from_slice(before),
                Change::Write { offset, .. } => overlay(&mut bytes, *offset, before),
            }
        }
        bytes
    }
}

impl Fate {
    fn draw(change: &Change, rng: &mut Rng) -> Self {
        let len = match change {
            Change::Empty => return if rng.chance(1, 2) { Self::Whole } else { Self::Lost },
            Change::Write { data, .. } => data.len(),
        };
        match rng.below(8) {
            0..3 => Self::Whole,
            3..5 => Self::Lost,
            5 => Self::LengthOnly,
            6 => Self::Torn(rng.below(len as u64) as usize),
            _ => Self::Sectors(rng.next_u64()),
        }
    }
}

/// Puts `data` over what is at `offset`; the length stays.
fn overlay(bytes: &mut [u8], offset: usize, data: &[u8]) {
    let end = bytes.len().min(offset.saturating_add(data.len()));
    if let Some(place) = bytes.get_mut(offset..end) {
        place.copy_from_slice(&data[..place.len()]);
    }
}

fn put(bytes: &mut Vec<u8>, offset: usize, data: &[u8]) {
    if bytes.len() < offset {
        bytes.resize(offset, 0);
    }
    let (over, beyond) = data.split_at(data.len().min(bytes.len() - offset));
    overlay(bytes, offset, over);
    bytes.extend_from_slice(beyond);
}

fn apply(bytes: &mut Vec<u8>, change: &Change, fate: Fate) {
    let Change::Write { offset, data } = change else {
        if matches!(fate, Fate::Whole) {
            bytes.clear();
        }
        return;
    };
    match fate {
        Fate::Lost => {}
        Fate::Whole => put(bytes, *offset, data),
        Fate::Torn(at) => put(bytes, *offset, &data[..at]),
        Fate::LengthOnly => bytes.resize(bytes.len().max(offset + data.len()), 0),
        Fate::Sectors(seed) => {
            let mut rng = Rng::new(seed);
            let mut start = 0;
            while start < data.len() {
                // The first piece ends where the medium's sector ends, not where the write's first 512 bytes do.
                let end = data.len().min(start + SECTOR - (offset + start) % SECTOR);
                if rng.chance(1, 2) {
                    put(bytes, offset + start, &data[start..end]);
                }
                start = end;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::vec;

    fn crashed(mut file: Contents, seed: u64) -> Vec<u8> {
        file.crash(&mut Rng::new(seed), &mut Counts::default());
        assert!(file.is_synced());
        file.seen().to_vec()
    }

    #[test]
    fn synced_bytes_survive_every_crash() {
        let mut file = Contents::default();
        file.write(0, vec![1; 2000].into());
        file.sync();
        file.write(1000, vec![2; 1000].into());
        for seed in 0..200 {
            let after = crashed(file.clone(), seed);
            assert_eq!(after.len(), 2000);
            assert_eq!(after[..1000], [1; 1000], "seed {seed}");
            assert!(after[1000..].iter().all(|b| [1, 2].contains(b)));
        }
    }

    #[test]
    fn an_unsynced_write_has_every_fate() {
        let mut file = Contents::default();
        file.write(0, vec![7; 1500].into());
        let outcomes: BTreeSet<Vec<u8>> = (0..500).map(|seed| crashed(file.clone(), seed)).collect();
        assert!(outcomes.contains(&vec![]), "lost");
        assert!(outcomes.contains(&vec![7; 1500]), "whole");
        assert!(outcomes.contains(&vec![0; 1500]), "the length without the bytes");
        assert!(outcomes.iter().any(|o| o.len() % SECTOR != 0 && o.len() < 1500), "torn within a sector");
        assert!(outcomes.iter().any(|o| o.starts_with(&[0; SECTOR]) && o.ends_with(&[7])), "a hole");
    }

    #[test]
    fn a_later_write_may_survive_an_earlier_one() {
        let mut file = Contents::default();
        file.write(0, vec![1; 10].into());
        file.write(10, vec![2; 10].into());
        assert!((0..500).any(|seed| {
            let after = crashed(file.clone(), seed);
            after.len() == 20 && after[..10] == [0; 10] && after[10..] == [2; 10]
        }));
    }

    #[test]
    fn bytes_of_a_failed_sync_are_seen_and_never_written_again() {
        let mut file = Contents::default();
        file.write(0, vec![1; 100].into());
        let lost = (0..100).find_map(|seed| {
            let mut file = file.clone();
            file.sync_failed(&mut Rng::new(seed));
            file.without_unsynced().seen().is_empty().then_some(file)
        });
        let mut file = lost.expect("some seed loses the write");
        assert_eq!(file.seen(), [1; 100]);
        file.sync();
        file.crash(&mut Rng::new(0), &mut Counts::default());
        assert_eq!(file.seen(), []);
    }

    #[test]
    fn an_emptied_file_may_come_back() {
        let mut file = Contents::durable(vec![9; 10]);
        file.empty();
        let outcomes: BTreeSet<Vec<u8>> = (0..50).map(|seed| crashed(file.clone(), seed)).collect();
        assert_eq!(outcomes, BTreeSet::from([vec![], vec![9; 10]]));
    }

    #[test]
    fn what_is_not_synced_can_be_taken_back_in_any_order_of_changes() {
        let mut rng = Rng::new(1);
        for _ in 0..300 {
            let mut file = Contents::durable((0..rng.below(60)).map(|_| rng.next_u64() as u8).collect());
            let before = file.seen().to_vec();
            for _ in 0..rng.below(6) {
                let (offset, len) = (rng.below(80) as usize, rng.below(40) as usize);
                match rng.below(6) {
                    0 => file.empty(),
                    _ => file.write(offset, vec![rng.next_u64() as u8; len].into()),
                }
            }
            assert_eq!(file.without_unsynced().seen(), before);
            file.sync();
            let synced = file.seen().to_vec();
            assert_eq!(file.without_unsynced().seen(), synced);
        }
    }

    #[test]
    fn a_write_that_went_astray_is_forgotten_when_its_place_is_written_again() {
        let mut file = Contents::durable(vec![0; 1000]);
        let astray = Astray { fault: DiskFault::StaleWrite, offset: 100, bytes: vec![9; 50] };
        file.leads_astray(astray.clone());
        file.write(150, vec![1; 10].into());
        assert_eq!(file.clone().take_astray(), [astray]);
        file.write(149, vec![1; 10].into());
        assert_eq!(file.take_astray(), []);
    }
}
