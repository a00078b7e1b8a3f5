//! What a disk did and what befell it, counted: a run in which a fault never happened says nothing about it.

use super::OpKind;

/// Makes the struct and the list of its names from one place.
macro_rules! counts {
    ($($(#[$doc:meta])* $name:ident,)+) => {
        /// Counts since the disk was made. Each only grows.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
        #[non_exhaustive]
        pub struct Counts {
            $($(#[$doc])* pub $name: u64,)+
        }

        impl Counts {
            /// Every count with its name, in words.
            pub fn each(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($name), self.$name)),+].into_iter()
            }

            /// Adds those of another disk.
            pub fn add(&mut self, other: &Self) {
                $(self.$name += other.$name;)+
            }
        }
    };
}

counts! {
    /// Lists and reads.
    reads,
    /// Writes and zeroings.
    writes,
    /// Syncs of files.
    syncs,
    /// Creations, renames, removals and syncs of the directory.
    names,
    /// Reads that ended with EIO.
    failed_reads,
    /// Writes that ended with EIO, a part of them perhaps done.
    failed_writes,
    /// Syncs that ended with EIO; what they were to sync is on the medium or not.
    failed_syncs,
    /// Creations, renames, removals and directory syncs that ended with EIO.
    failed_names,
    /// Writes for which there was no space.
    full,
    /// Those of them of which a part was written.
    short_writes,
    /// Operations that the end of a process cut off.
    interrupted,
    /// Power failures.
    power_failures,
    /// Unsynced writes that a power failure undid.
    lost_changes,
    /// Unsynced writes of which a power failure left a part.
    torn_writes,
    /// Unsynced creations, renames and removals that a power failure undid.
    lost_names,
    /// Writes that were acknowledged, synced, and never reached the medium.
    stale_writes,
    /// Writes that landed in another place, or whose place was hit by another one.
    misdirected_writes,
    /// Bytes that rotted.
    rotten_bytes,
    /// Operations that stalled.
    stalls,
}

impl Counts {
    /// Operations of this kind.
    pub(super) fn performed(&mut self, kind: OpKind) -> &mut u64 {
        match kind {
            OpKind::Read => &mut self.reads,
            OpKind::Write => &mut self.writes,
            OpKind::Sync => &mut self.syncs,
            OpKind::Names => &mut self.names,
        }
    }

    /// Operations of this kind that ended with EIO.
    pub(super) fn failed(&mut self, kind: OpKind) -> &mut u64 {
        match kind {
            OpKind::Read => &mut self.failed_reads,
            OpKind::Write => &mut self.failed_writes,
            OpKind::Sync => &mut self.failed_syncs,
            OpKind::Names => &mut self.failed_names,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_add_up_by_name() {
        let mut sum = Counts { reads: 1, stalls: 2, ..Counts::default() };
        sum.add(&Counts { stalls: 3, ..Counts::default() });
        let nonzero: std::vec::Vec<_> = sum.each().filter(|(_, count)| *count > 0).collect();
        assert_eq!(nonzero, [("reads", 1), ("stalls", 5)]);
    }
}
