//! What a disk did and what befell it, counted: a run in which a fault never happened says nothing about it.

use super::OpKind;

/// Makes the struct and the list of its names from one place.
macro_rules! counts {
    ($($(#[$doc:meta])* $name:ident = $words:literal,)+) => {
        /// Counts since the disk was made. Each only grows.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
        #[non_exhaustive]
        pub struct Counts {
            $($(#[$doc])* pub $name: u64,)+
        }

        impl Counts {
            /// Every count with its name, in words.
            pub fn each(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$(($words, self.$name)),+].into_iter()
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
    reads = "disk: reads",
    /// Writes and zeroings.
    writes = "disk: writes",
    /// Syncs of files.
    syncs = "disk: syncs",
    /// Creations, renames, removals and syncs of the directory.
    names = "disk: operations on names",
    /// Reads that ended with EIO.
    failed_reads = "disk: EIO on read",
    /// Writes that ended with EIO, a part of them perhaps done.
    failed_writes = "disk: EIO on write",
    /// Syncs that ended with EIO; what they were to sync is on the medium or not.
    failed_syncs = "disk: failed sync",
    /// Creations, renames, removals and directory syncs that ended with EIO.
    failed_names = "disk: EIO on names",
    /// Writes for which there was no space.
    full = "disk: no room",
    /// Those of them of which a part was written.
    short_writes = "disk: short write",
    /// Operations that the end of a process cut off.
    interrupted = "disk: operation cut off by a crash",
    /// Power failures.
    power_failures = "disk: power failure",
    /// Unsynced writes that a power failure undid.
    lost_changes = "disk: unsynced write lost",
    /// Unsynced writes of which a power failure left a part.
    torn_writes = "disk: unsynced write torn",
    /// Unsynced creations, renames and removals that a power failure undid.
    lost_names = "disk: unsynced name lost",
    /// Writes that were acknowledged, synced, and never reached the medium.
    stale_writes = "disk: stale write",
    /// Writes that landed in another place, or whose place was hit by another one.
    misdirected_writes = "disk: misdirected write",
    /// Bytes that rotted.
    rotten_bytes = "disk: rotten byte",
    /// Operations that stalled.
    stalls = "disk: stall",
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
        assert_eq!(nonzero, [("disk: reads", 1), ("disk: stall", 5)]);
    }
}
