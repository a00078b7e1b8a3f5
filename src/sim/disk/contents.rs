//! The bytes of one file: what a reader sees, and what the medium holds.

use std::vec::Vec;

use crate::rng::Rng;

/// The unit in which a medium may lose parts of a write independently of each other.
const SECTOR: usize = 512;

/// One file's bytes. Changes reach the medium when they are synced, or by chance when the power fails.
#[derive(Debug, Clone, Default)]
pub(super) struct Contents {
    seen: Vec<u8>,
    durable: Vec<u8>,
    unsynced: Vec<Change>,
}

#[derive(Debug, Clone)]
enum Change {
    Empty,
    Write { offset: usize, data: Vec<u8> },
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
        Self { seen: bytes.clone(), durable: bytes, unsynced: Vec::new() }
    }

    /// What a reader sees, synced or not.
    pub(super) fn seen(&self) -> &[u8] {
        &self.seen
    }

    /// Makes the file empty.
    pub(super) fn empty(&mut self) {
        self.seen.clear();
        self.unsynced.push(Change::Empty);
    }

    /// Writes `data` at `offset`; a gap before it reads as zeros.
    pub(super) fn write(&mut self, offset: usize, data: Vec<u8>) {
        put(&mut self.seen, offset, &data);
        self.unsynced.push(Change::Write { offset, data });
    }

    /// Makes all changes durable.
    pub(super) fn sync(&mut self) {
        for change in self.unsynced.drain(..) {
            apply(&mut self.durable, &change, Fate::Whole);
        }
    }

    /// A sync that reports an error: some of the bytes arrived, and the cache takes all of them for clean, so that no
    /// later sync writes them again (*Can Applications Recover from fsync Failures?*, ATC'20).
    pub(super) fn sync_failed(&mut self, rng: &mut Rng) {
        for change in self.unsynced.drain(..) {
            apply(&mut self.durable, &change, Fate::draw(&change, rng));
        }
    }

    /// The power fails: any subset of the unsynced changes survives, each of them perhaps in part.
    pub(super) fn crash(&mut self, rng: &mut Rng) {
        self.sync_failed(rng);
        self.seen.clone_from(&self.durable);
    }

    /// The file when every unsynced change is lost.
    pub(super) fn without_unsynced(&self) -> Self {
        Self::durable(self.durable.clone())
    }

    /// Whether all changes are durable.
    pub(super) fn is_synced(&self) -> bool {
        self.unsynced.is_empty()
    }

    /// The medium rots: the byte at `offset` is another one from now on, for every reader.
    pub(super) fn rot(&mut self, offset: usize, mask: u8) {
        for bytes in [&mut self.seen, &mut self.durable] {
            if let Some(byte) = bytes.get_mut(offset) {
                *byte ^= mask;
            }
        }
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

fn put(bytes: &mut Vec<u8>, offset: usize, data: &[u8]) {
    let end = offset + data.len();
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    bytes[offset..end].copy_from_slice(data);
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
        file.crash(&mut Rng::new(seed));
        assert!(file.is_synced());
        file.seen().to_vec()
    }

    #[test]
    fn synced_bytes_survive_every_crash() {
        let mut file = Contents::default();
        file.write(0, vec![1; 2000]);
        file.sync();
        file.write(1000, vec![2; 1000]);
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
        file.write(0, vec![7; 1500]);
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
        file.write(0, vec![1; 10]);
        file.write(10, vec![2; 10]);
        assert!((0..500).any(|seed| {
            let after = crashed(file.clone(), seed);
            after.len() == 20 && after[..10] == [0; 10] && after[10..] == [2; 10]
        }));
    }

    #[test]
    fn bytes_of_a_failed_sync_are_seen_and_never_written_again() {
        let mut file = Contents::default();
        file.write(0, vec![1; 100]);
        let lost = (0..100).find_map(|seed| {
            let mut file = file.clone();
            file.sync_failed(&mut Rng::new(seed));
            file.durable.is_empty().then_some(file)
        });
        let mut file = lost.expect("some seed loses the write");
        assert_eq!(file.seen(), [1; 100]);
        file.sync();
        file.crash(&mut Rng::new(0));
        assert_eq!(file.seen(), []);
    }

    #[test]
    fn an_emptied_file_may_come_back() {
        let mut file = Contents::durable(vec![9; 10]);
        file.empty();
        let outcomes: BTreeSet<Vec<u8>> = (0..50).map(|seed| crashed(file.clone(), seed)).collect();
        assert_eq!(outcomes, BTreeSet::from([vec![], vec![9; 10]]));
    }
}
