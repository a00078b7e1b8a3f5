//! The names of a directory: as a reader sees them, and as they lie on the medium.

use std::collections::{BTreeMap, BTreeSet};
use std::vec::Vec;

use crate::rng::Rng;
use crate::storage::FileName;

/// A file apart from its names.
pub(super) type Inode = u64;

/// One flat directory. Changes are durable when the directory is synced, or by chance when the power fails.
#[derive(Debug, Clone, Default)]
pub(super) struct Directory {
    seen: BTreeMap<FileName, Inode>,
    durable: BTreeMap<FileName, Inode>,
    unsynced: Vec<Change>,
}

#[derive(Debug, Clone, Copy)]
enum Change {
    Link { name: FileName, inode: Inode },
    Rename { from: FileName, to: FileName, inode: Inode },
    Unlink { name: FileName },
}

impl Change {
    fn apply(self, names: &mut BTreeMap<FileName, Inode>) {
        match self {
            Self::Link { name, inode } => {
                names.insert(name, inode);
            }
            Self::Rename { from, to, inode } => {
                names.remove(&from);
                names.insert(to, inode);
            }
            Self::Unlink { name } => {
                names.remove(&name);
            }
        }
    }

    fn names(self) -> [FileName; 2] {
        match self {
            Self::Link { name, .. } | Self::Unlink { name } => [name, name],
            Self::Rename { from, to, .. } => [from, to],
        }
    }
}

impl Directory {
    /// The file that a name means to a reader.
    pub(super) fn find(&self, name: FileName) -> Option<Inode> {
        self.seen.get(&name).copied()
    }

    /// All names that a reader sees, ascending.
    pub(super) fn names(&self) -> impl Iterator<Item = (FileName, Inode)> + '_ {
        self.seen.iter().map(|(&name, &inode)| (name, inode))
    }

    /// Whether some name, seen or durable, means this file.
    pub(super) fn keeps(&self, inode: Inode) -> bool {
        self.seen.values().chain(self.durable.values()).any(|&kept| kept == inode)
            || self.unsynced.iter().any(
                |c| matches!(c, Change::Link { inode: i, .. } | Change::Rename { inode: i, .. } if *i == inode),
            )
    }

    /// Gives a file a name.
    pub(super) fn link(&mut self, name: FileName, inode: Inode) {
        self.change(Change::Link { name, inode });
    }

    /// Renames; `false` when there is no `from`.
    pub(super) fn rename(&mut self, from: FileName, to: FileName) -> bool {
        let Some(inode) = self.find(from) else { return false };
        if from != to {
            self.change(Change::Rename { from, to, inode });
        }
        true
    }

    /// Removes a name, if it is there.
    pub(super) fn unlink(&mut self, name: FileName) {
        if self.seen.contains_key(&name) {
            self.change(Change::Unlink { name });
        }
    }

    /// Makes all names durable.
    pub(super) fn sync(&mut self) {
        self.unsynced.clear();
        self.durable.clone_from(&self.seen);
    }

    /// The names when every unsynced change is lost.
    pub(super) fn without_unsynced(&self) -> Self {
        Self { seen: self.durable.clone(), durable: self.durable.clone(), unsynced: Vec::new() }
    }

    /// Those names with their files, ascending.
    pub(super) fn durable_names(&self) -> impl Iterator<Item = (FileName, Inode)> + '_ {
        self.durable.iter().map(|(&name, &inode)| (name, inode))
    }

    /// The power fails. Unsynced changes survive or not, each for itself, except that changes which share a name keep
    /// their order: where an earlier one is lost, so are the later ones. No file system promises more without a sync of
    /// the directory (*All File Systems Are Not Created Equal*, OSDI'14). Yields how many were lost.
    pub(super) fn crash(&mut self, rng: &mut Rng) -> u64 {
        let survive_of_4 = [0, 2, 2, 4][rng.below(4) as usize];
        let (mut lost, mut count) = (BTreeSet::new(), 0);
        for change in self.unsynced.drain(..) {
            let after_a_lost_one = change.names().iter().any(|name| lost.contains(name));
            if after_a_lost_one || !rng.chance(survive_of_4, 4) {
                lost.extend(change.names());
                count += 1;
            } else {
                change.apply(&mut self.durable);
            }
        }
        self.seen.clone_from(&self.durable);
        count
    }

    fn change(&mut self, change: Change) {
        change.apply(&mut self.seen);
        self.unsynced.push(change);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: FileName = FileName::Temporary(1);
    const NEW: FileName = FileName::Vote;

    fn outcomes(directory: &Directory) -> BTreeSet<Vec<(FileName, Inode)>> {
        let crash = |seed| {
            let mut directory = directory.clone();
            directory.crash(&mut Rng::new(seed));
            directory.names().collect()
        };
        (0..200).map(crash).collect()
    }

    #[test]
    fn synced_names_survive() {
        let mut directory = Directory::default();
        directory.link(OLD, 1);
        assert!(directory.rename(OLD, NEW));
        directory.sync();
        assert_eq!(outcomes(&directory), BTreeSet::from([std::vec![(NEW, 1)]]));
    }

    #[test]
    fn a_rename_is_all_or_nothing() {
        let mut directory = Directory::default();
        directory.link(NEW, 1);
        directory.link(OLD, 2);
        directory.sync();
        assert!(directory.rename(OLD, NEW));
        let old = std::vec![(NEW, 1), (OLD, 2)];
        let new = std::vec![(NEW, 2)];
        assert_eq!(outcomes(&directory), BTreeSet::from([old, new]));
    }

    #[test]
    fn a_removal_may_overtake_a_creation_of_another_name() {
        let mut directory = Directory::default();
        directory.link(OLD, 1);
        directory.sync();
        directory.link(NEW, 2);
        directory.unlink(OLD);
        let outcomes = outcomes(&directory);
        assert!(outcomes.contains(&Vec::new()), "the removal alone");
        assert_eq!(outcomes.len(), 4, "{outcomes:?}");
    }

    #[test]
    fn a_file_never_has_two_names() {
        let mut directory = Directory::default();
        directory.link(OLD, 1);
        directory.sync();
        directory.rename(OLD, NEW);
        directory.rename(NEW, FileName::Identity);
        for names in outcomes(&directory) {
            assert_eq!(names.len(), 1, "{names:?}");
        }
    }

    #[test]
    fn what_is_missing_is_not_renamed() {
        let mut directory = Directory::default();
        assert!(!directory.rename(OLD, NEW));
        directory.unlink(OLD);
        assert_eq!(directory.names().count(), 0);
    }
}
